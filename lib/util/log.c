/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The logger. xu_log_write() formats the message and the line on the caller's stack, cuts what is
 * past 4 KiB and marks it with an ellipsis, then takes the lock for the one write(), before which a
 * full file is rotated. Foreign bytes come to the log (names that hosts send), so control
 * characters and invalid UTF-8 are never passed through: a message can neither forge a line nor
 * drive a terminal.
 *
 * How it fails: a line that cannot be written is lost, because there is nobody to tell. When part
 * of it was written (a full disk), the next line begins with a newline, so it stands alone. When a
 * rotation cannot open the new file, the old one goes on and the next try is after another
 * rotate_bytes.
 */
#include "lib/util/log.h"

#include "lib/util/error.h"
#include "lib/util/utf8.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES  4096u /* the newline counts; a pipe takes as much in one piece */
#define FIELD_MAX_BYTES 64u   /* of the program's, file's and function's name */

struct xu_logger {
	_Atomic int level;
	enum xu_log_target target;
	enum xu_log_format format;
	char ident[FIELD_MAX_BYTES + 1];
	char *path;
	uint64_t rotate_bytes;
	uint32_t rotate_keep;

	pthread_mutex_t lock; /* for what follows */
	int fd;
	bool is_regular;
	bool is_torn; /* the last line ends in the middle */
	uint64_t size_bytes;
};

/* A line under construction. text[0] is kept for the newline that ends a torn line before it. */
struct line {
	char text[1 + LINE_MAX_BYTES];
	size_t len;
	size_t max; /* `len` may not pass it */
	bool is_cut;
};

static const struct {
	const char *name;
	const char *shown; /* five columns */
	int priority;
} levels[] = {
	[XU_LOG_FATAL] = {"fatal", "FATAL", LOG_CRIT},
	[XU_LOG_ERROR] = {"error", "ERROR", LOG_ERR},
	[XU_LOG_WARN] = {"warn", "WARN ", LOG_WARNING},
	[XU_LOG_INFO] = {"info", "INFO ", LOG_INFO},
	[XU_LOG_DEBUG] = {"debug", "DEBUG", LOG_DEBUG},
	[XU_LOG_TRACE] = {"trace", "TRACE", LOG_DEBUG},
};

#define NR_LEVELS (sizeof(levels) / sizeof(levels[0]))

static const char ellipsis[] = "\xe2\x80\xa6"; /* U+2026 */

const char *xu_log_level_name(enum xu_log_level level)
{
	assert((size_t)level < NR_LEVELS);
	return levels[level].name;
}

int xu_log_level_parse(const char *text, enum xu_log_level *ret_level)
{
	size_t i;

	for (i = 0; i < NR_LEVELS; i++) {
		if (strcasecmp(text, levels[i].name) == 0) {
			*ret_level = (enum xu_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void xu_logger_set_level(struct xu_logger *log, enum xu_log_level level)
{
	if (log != NULL) {
		atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
	}
}

bool xu_logger_wants(const struct xu_logger *log, enum xu_log_level level)
{
	return log != NULL && (int)level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* The file: opening, rotating, writing */

/* Opens log->path into the logger; the old descriptor is closed only when the new one is there. */
static int open_file(struct xu_logger *log)
{
	struct stat st;
	int fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

	if (fd < 0) {
		return -errno;
	}
	if (fstat(fd, &st) != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	if (log->fd >= 0) {
		close(log->fd);
	}
	log->fd = fd;
	log->is_regular = S_ISREG(st.st_mode);
	log->is_torn = false;
	log->size_bytes = (uint64_t)st.st_size;
	return 0;
}

/* Puts "path.index" in `name`. */
static void old_name(const struct xu_logger *log, char *name, size_t size, uint32_t index)
{
	snprintf(name, size, "%s.%u", log->path, index);
}

/* Moves path.1 to path.2 and so on, as far as there are such files, and the last one out. */
static void shift_old_files(const struct xu_logger *log, char *from, char *to, size_t size)
{
	uint32_t last = 1;

	for (; last < log->rotate_keep; last++) {
		old_name(log, to, size, last);
		if (access(to, F_OK) != 0) {
			break;
		}
	}
	for (; last > 1; last--) {
		old_name(log, from, size, last - 1);
		old_name(log, to, size, last);
		(void)rename(from, to);
	}
}

static void rotate(struct xu_logger *log)
{
	size_t size = strlen(log->path) + sizeof(".4294967295");
	char *from, *to;

	log->size_bytes = 0; /* if anything fails: when to try again */
	if (log->rotate_keep == 0) {
		if (ftruncate(log->fd, 0) == 0) {
			log->is_torn = false;
		}
		return;
	}
	from = malloc(size);
	to = malloc(size);
	if (from != NULL && to != NULL) {
		shift_old_files(log, from, to, size);
		old_name(log, to, size, 1);
		if (rename(log->path, to) == 0 && open_file(log) != 0) {
			(void)rename(to, log->path);
		}
	}
	free(from);
	free(to);
}

static void write_line(struct xu_logger *log, const struct line *line)
{
	const char *pos = line->text + 1;
	size_t left = line->len - 1;

	pthread_mutex_lock(&log->lock);
	if (log->rotate_bytes != 0 && log->is_regular && log->size_bytes > 0 &&
		log->size_bytes + left > log->rotate_bytes) {
		rotate(log);
	}
	if (log->is_torn) {
		pos--;
		left++;
	}
	while (left > 0) {
		ssize_t done = write(log->fd, pos, left);

		if (done < 0 && errno == EINTR) {
			continue;
		}
		if (done <= 0) {
			break;
		}
		pos += done;
		left -= (size_t)done;
		log->size_bytes += (uint64_t)done;
		log->is_torn = left > 0;
	}
	pthread_mutex_unlock(&log->lock);
}

int xu_logger_new(const struct xu_log_opts *opts, struct xu_logger **ret_log, struct xu_error *err)
{
	struct xu_logger *log = calloc(1, sizeof(*log));
	int rc;

	if (log == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "cannot make a logger");
	}
	atomic_init(&log->level, (int)opts->level);
	log->target = opts->target;
	log->format = opts->format;
	log->rotate_bytes = opts->rotate_bytes;
	log->rotate_keep = opts->rotate_keep;
	log->fd = -1;
	snprintf(log->ident, sizeof(log->ident), "%s", opts->ident != NULL ? opts->ident : "xsan");
	pthread_mutex_init(&log->lock, NULL);
	switch (log->target) {
	case XU_LOG_TO_STDERR:
		log->fd = STDERR_FILENO;
		break;
	case XU_LOG_TO_SYSLOG:
		/* syslog(3) has one ident per process and borrows it. */
		openlog(log->ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
		break;
	case XU_LOG_TO_FILE:
		if (opts->path == NULL || opts->path[0] == '\0') {
			rc = xu_error_set(
				err, -EINVAL, "the log goes to a file, but none is named");
			goto fail;
		}
		log->path = strdup(opts->path);
		if (log->path == NULL) {
			rc = xu_error_set_errno(err, -ENOMEM, "cannot make a logger");
			goto fail;
		}
		rc = open_file(log);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "cannot open the log file %s", log->path);
			goto fail;
		}
		break;
	}
	*ret_log = log;
	return 0;
fail:
	xu_logger_free(log);
	return rc;
}

void xu_logger_free(struct xu_logger *log)
{
	if (log == NULL) {
		return;
	}
	if (log->target == XU_LOG_TO_SYSLOG) {
		closelog();
	}
	if (log->target == XU_LOG_TO_FILE && log->fd >= 0) {
		close(log->fd);
	}
	pthread_mutex_destroy(&log->lock);
	free(log->path);
	free(log);
}

int xu_logger_reopen(struct xu_logger *log, struct xu_error *err)
{
	int rc;

	if (log == NULL || log->target != XU_LOG_TO_FILE) {
		return 0;
	}
	pthread_mutex_lock(&log->lock);
	rc = open_file(log);
	pthread_mutex_unlock(&log->lock);
	if (rc != 0) {
		return xu_error_set_errno(err, rc,
			"cannot open the log file %s again; the old one goes on", log->path);
	}
	return 0;
}

/* The line: putting it together */

static void line_init(struct line *line, size_t reserved)
{
	line->text[0] = '\n';
	line->len = 1;
	line->max = sizeof(line->text) - reserved;
	line->is_cut = false;
}

/* Appends all of `text` or, once something did not fit, nothing. */
static void append(struct line *line, const char *text, size_t len)
{
	if (line->is_cut || len > line->max - line->len) {
		line->is_cut = true;
		return;
	}
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void append_text(struct line *line, const char *text)
{
	append(line, text, strlen(text));
}

/* Appends a control character (below 20h, 7Fh … 9Fh) in the form of the format. */
static void append_control(struct line *line, enum xu_log_format format, uint32_t code)
{
	char escape[8];

	switch (code) {
	case '\n':
		append_text(line, "\\n");
		break;
	case '\r':
		append_text(line, "\\r");
		break;
	case '\t':
		append_text(line, "\\t");
		break;
	default:
		snprintf(escape, sizeof(escape), format == XU_LOG_JSON ? "\\u%04x" : "\\x%02x",
			code);
		append_text(line, escape);
	}
}

/* Appends foreign text, made harmless: whole characters and whole escapes only. */
static void append_escaped(
	struct line *line, enum xu_log_format format, const char *text, size_t len)
{
	const unsigned char *pos = (const unsigned char *)text;
	char escape[8];
	uint32_t code;
	size_t size;

	for (; len > 0 && !line->is_cut; pos += size, len -= size) {
		size = xu_utf8_char(pos, len, &code);
		if (size == 0) {
			size = 1;
			if (format == XU_LOG_JSON) {
				append_text(line, "\xef\xbf\xbd"); /* U+FFFD */
			} else {
				snprintf(escape, sizeof(escape), "\\x%02x", pos[0]);
				append_text(line, escape);
			}
		} else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			append_control(line, format, code);
		} else if (format == XU_LOG_JSON && (code == '"' || code == '\\')) {
			append(line, "\\", 1);
			append(line, (const char *)pos, 1);
		} else {
			append(line, (const char *)pos, size);
		}
	}
}

static void append_field(struct line *line, enum xu_log_format format, const char *text)
{
	append_escaped(line, format, text, strnlen(text, FIELD_MAX_BYTES));
}

/* Ends the message; what was kept back by line_init() is for this. */
static void line_finish(struct line *line, const char *end)
{
	bool is_cut = line->is_cut;

	line->max = sizeof(line->text);
	line->is_cut = false;
	if (is_cut) {
		append_text(line, ellipsis);
	}
	append_text(line, end);
	assert(!line->is_cut);
}

static void format_time(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000);
}

/* What a line says besides its message. */
struct origin {
	enum xu_log_level level;
	const char *file; /* without folders */
	const char *func;
	int line;
};

static void build_json(struct line *line, const struct xu_logger *log, const struct origin *origin,
	const char *msg, size_t msg_len)
{
	char time[64], number[16];

	line_init(line, sizeof(ellipsis) - 1 + strlen("\"}\n"));
	format_time(time, sizeof(time));
	snprintf(number, sizeof(number), ":%d", origin->line);
	append_text(line, "{\"ts\":\"");
	append_text(line, time);
	append_text(line, "\",\"level\":\"");
	append_text(line, levels[origin->level].name);
	append_text(line, "\",\"prog\":\"");
	append_field(line, XU_LOG_JSON, log->ident);
	append_text(line, "\",\"src\":\"");
	append_field(line, XU_LOG_JSON, origin->file);
	append_text(line, number);
	append_text(line, "\",\"func\":\"");
	append_field(line, XU_LOG_JSON, origin->func);
	append_text(line, "\",\"msg\":\"");
	append_escaped(line, XU_LOG_JSON, msg, msg_len);
}

static void build_text(struct line *line, const struct xu_logger *log, const struct origin *origin,
	const char *msg, size_t msg_len)
{
	char time[64], number[16];

	line_init(line, sizeof(ellipsis) - 1 + strlen("\n"));
	if (log->target != XU_LOG_TO_SYSLOG) { /* which has its own time, priority and ident */
		format_time(time, sizeof(time));
		append_text(line, time);
		append_text(line, " ");
		append_text(line, levels[origin->level].shown);
		append_text(line, " ");
		append_field(line, XU_LOG_TEXT, log->ident);
		append_text(line, " ");
	}
	snprintf(number, sizeof(number), ":%d: ", origin->line);
	append_field(line, XU_LOG_TEXT, origin->file);
	append_text(line, number);
	append_escaped(line, XU_LOG_TEXT, msg, msg_len);
}

void xu_log_write(struct xu_logger *log, enum xu_log_level level, const char *file, int line_nr,
	const char *func, const char *fmt, ...)
{
	const char *slash = strrchr(file, '/');
	struct origin origin = {
		.level = level,
		.file = slash != NULL ? slash + 1 : file,
		.func = func,
		.line = line_nr,
	};
	int saved_errno = errno; /* whoever logs an error often returns it next */
	char msg[LINE_MAX_BYTES + 1];
	struct line line;
	va_list args;
	int len;

	if (!xu_logger_wants(log, level)) {
		return;
	}
	assert((size_t)level < NR_LEVELS);
	/* One byte longer than any line, so what is cut here is cut again, and marked, below. */
	va_start(args, fmt);
	len = vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);
	if (len < 0) {
		len = snprintf(msg, sizeof(msg), "(message that cannot be formatted: %s)", fmt);
	}
	if ((size_t)len >= sizeof(msg)) {
		len = (int)sizeof(msg) - 1;
	}
	if (log->format == XU_LOG_JSON) {
		build_json(&line, log, &origin, msg, (size_t)len);
	} else {
		build_text(&line, log, &origin, msg, (size_t)len);
	}
	if (log->target == XU_LOG_TO_SYSLOG) {
		line_finish(&line, log->format == XU_LOG_JSON ? "\"}" : "");
		syslog(levels[level].priority, "%.*s", (int)line.len - 1, line.text + 1);
	} else {
		line_finish(&line, log->format == XU_LOG_JSON ? "\"}\n" : "\n");
		write_line(log, &line);
	}
	errno = saved_errno;
}
