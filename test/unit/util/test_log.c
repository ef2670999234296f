/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log: what lines look like, that nothing in a message breaks them, rotation with every line
 * accounted for, many threads, and files that cannot be opened or written.
 */
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "test/unit/util/fail.h"
#include "test/unit/util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <regex.h>
#include <sys/stat.h>
#include <time.h>

#define ELLIPSIS "\xe2\x80\xa6"

/* A directory of its own for each case, and the usual log file in it. */
struct fixture {
	char dir[64];
	char path[96];
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (fixture == NULL) {
		return -1;
	}
	snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/test-util-log.XXXXXX");
	if (mkdtemp(fixture->dir) == NULL) {
		return -1;
	}
	snprintf(fixture->path, sizeof(fixture->path), "%s/log", fixture->dir);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char command[128];
	int rc;

	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
	rc = system(command);
	free(fixture);
	return rc;
}

static struct xu_logger *open_log(const struct fixture *fixture, enum xu_log_format format,
	uint64_t rotate_bytes, uint32_t rotate_keep)
{
	const struct xu_log_opts opts = {
		.level = XU_LOG_INFO,
		.target = XU_LOG_TO_FILE,
		.format = format,
		.path = fixture->path,
		.rotate_bytes = rotate_bytes,
		.rotate_keep = rotate_keep,
		.ident = "prog",
	};
	struct xu_logger *log = NULL;
	struct xu_error err = {0};

	assert_int_equal(xu_logger_new(&opts, &log, &err), 0);
	assert_non_null(log);
	return log;
}

/* A file's content, with a NUL after it; NULL when there is none. To be freed. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	struct stat st;

	if (file == NULL) {
		return NULL;
	}
	if (fstat(fileno(file), &st) == 0) {
		text = malloc((size_t)st.st_size + 1);
	}
	if (text != NULL) {
		text[fread(text, 1, (size_t)st.st_size, file)] = '\0';
	}
	fclose(file);
	return text;
}

/* Of "path.index", or of path for 0. */
static char *read_rotated(const struct fixture *fixture, unsigned index)
{
	char path[128];

	snprintf(path, sizeof(path), index == 0 ? "%s" : "%s.%u", fixture->path, index);
	return read_file(path);
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0) {
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
	}
	regfree(&regex);
}

/* What a message becomes in a text line: from after "file:line: " to before the newline. To be
 * freed. */
static char *text_of_message(const struct fixture *fixture, const char *message)
{
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 0, 0);
	char *text, *start;

	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "%s", message);
	xu_logger_free(log);
	text = read_file(fixture->path);
	assert_non_null(text);
	start = strstr(text, "f.c:1: ");
	assert_non_null(start);
	memmove(text, start + 7, strlen(start + 7) + 1);
	assert_true(strlen(text) > 0 && text[strlen(text) - 1] == '\n');
	text[strlen(text) - 1] = '\0';
	unlink(fixture->path);
	return text;
}

/* The JSON line for a message, parsed strictly. To be released. */
static json_t *json_of_message(const struct fixture *fixture, const char *message)
{
	struct xu_logger *log = open_log(fixture, XU_LOG_JSON, 0, 0);
	json_error_t error;
	json_t *json;
	char *text;

	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "%s", message);
	xu_logger_free(log);
	text = read_file(fixture->path);
	assert_non_null(text);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (json == NULL) {
		fail_msg("%s in %s", error.text, text);
	}
	free(text);
	unlink(fixture->path);
	return json;
}

static void test_log_text_line_has_all_parts(void **state)
{
	struct xu_logger *log = open_log(*state, XU_LOG_TEXT, 0, 0);
	const struct fixture *fixture = *state;
	char *text;

	xu_log_write(
		log, XU_LOG_INFO, "../lib/some/target.c", 120, "fn", "hello %d %s", 42, "wörld");
	xu_log_write(log, XU_LOG_ERROR, "b.c", 7, "fn", "again");
	xu_logger_free(log);
	text = read_file(fixture->path);
	assert_matches(text,
		"^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{6}Z "
		"INFO  prog target\\.c:120: hello 42 wörld\n"
		"[^ ]{27} ERROR prog b\\.c:7: again\n$");
	free(text);
}

static uint64_t wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void test_log_time_is_utc_to_the_microsecond(void **state)
{
	const struct fixture *fixture = *state;
	uint64_t before_us, after_us, logged_us;
	struct xu_logger *log;
	struct tm tm = {0};
	char *text, *rest;

	assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
	tzset();
	log = open_log(fixture, XU_LOG_TEXT, 0, 0);
	before_us = wall_us();
	xu_info(log, "x");
	after_us = wall_us();
	xu_logger_free(log);
	text = read_file(fixture->path);
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S.", &tm);
	assert_non_null(rest);
	logged_us = (uint64_t)timegm(&tm) * 1000000 + strtoull(rest, NULL, 10);
	assert_in_range(logged_us, before_us, after_us);
	free(text);
	unsetenv("TZ");
	tzset();
}

static void test_log_macros_say_where(void **state)
{
	struct xu_logger *log = open_log(*state, XU_LOG_JSON, 0, 0);
	const struct fixture *fixture = *state;
	json_t *json;
	char src[64];
	char *text;
	int line;

	line = __LINE__ + 1;
	xu_warn(log, "%s", "m");
	xu_logger_free(log);
	text = read_file(fixture->path);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	snprintf(src, sizeof(src), "test_log.c:%d", line);
	assert_string_equal(json_string_value(json_object_get(json, "src")), src);
	assert_string_equal(json_string_value(json_object_get(json, "func")), __func__);
	assert_string_equal(json_string_value(json_object_get(json, "level")), "warn");
	json_decref(json);
	free(text);
}

static void test_log_json_line_has_all_keys(void **state)
{
	json_t *json = json_of_message(*state, "say \"hi\" \\ and\tgo\n");

	assert_int_equal(json_object_size(json), 6);
	assert_matches(json_string_value(json_object_get(json, "ts")),
		"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$");
	assert_string_equal(json_string_value(json_object_get(json, "level")), "info");
	assert_string_equal(json_string_value(json_object_get(json, "prog")), "prog");
	assert_string_equal(json_string_value(json_object_get(json, "src")), "f.c:1");
	assert_string_equal(json_string_value(json_object_get(json, "func")), "fn");
	assert_string_equal(
		json_string_value(json_object_get(json, "msg")), "say \"hi\" \\ and\tgo\n");
	json_decref(json);
}

/* Every character that a C string can hold alone: JSON gives valid ones back as they were. */
static void test_log_json_carries_every_character(void **state)
{
	char message[64], expected[64];
	int c;

	for (c = 1; c < 256; c++) {
		json_t *json;

		snprintf(message, sizeof(message), "<%c>", c);
		/* a byte above 7Fh alone is no UTF-8 */
		snprintf(expected, sizeof(expected), c < 0x80 ? "<%c>" : "<\xef\xbf\xbd>", c);
		json = json_of_message(*state, message);
		assert_string_equal(json_string_value(json_object_get(json, "msg")), expected);
		json_decref(json);
	}
}

static void test_log_text_escapes_control_characters(void **state)
{
	static const struct {
		const char *message;
		const char *text;
	} cases[] = {
		{"two\nlines\r\n", "two\\nlines\\r\\n"},
		{"\ttab", "\\ttab"},
		{"\x1b[31mred", "\\x1b[31mred"},
		{"\x01\x1f\x7f", "\\x01\\x1f\\x7f"},
		{"\xc2\x9b[31m", "\\x9b[31m"}, /* CSI as one C1 character */
		{"a\\b \"q\"", "a\\b \"q\""},
		{"é€😀", "é€😀"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = text_of_message(*state, cases[i].message);

		assert_string_equal(text, cases[i].text);
		free(text);
	}
}

/* The table of RFC 3629's wrong forms, in both formats. */
static void test_log_replaces_invalid_utf8(void **state)
{
	static const struct {
		const char *message;
		const char *text;
		int nr_replaced;
	} cases[] = {
		{"a\xff z", "a\\xff z", 1}, {"a\x80z", "a\\x80z", 1}, {"a\xc3", "a\\xc3", 1},
		{"a\xc3z", "a\\xc3z", 1}, {"a\xe2\x82z", "a\\xe2\\x82z", 2},
		{"a\xf0\x9f\x98", "a\\xf0\\x9f\\x98", 3},
		{"a\xc0\xafz", "a\\xc0\\xafz", 2},               /* overlong / */
		{"a\xe0\x80\xafz", "a\\xe0\\x80\\xafz", 3},      /* the same, longer */
		{"a\xed\xa0\x80z", "a\\xed\\xa0\\x80z", 3},      /* a surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 4}, /* 110000h */
		{"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80", 5},
		{"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", 0}, /* 10FFFFh is the last */
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *json = json_of_message(*state, cases[i].message);
		char *text = text_of_message(*state, cases[i].message);
		const char *pos = json_string_value(json_object_get(json, "msg"));
		int nr_replaced = 0;

		assert_string_equal(text, cases[i].text);
		while ((pos = strstr(pos, "\xef\xbf\xbd")) != NULL) {
			nr_replaced++;
			pos++;
		}
		assert_int_equal(nr_replaced, cases[i].nr_replaced);
		json_decref(json);
		free(text);
	}
}

/* Messages around the limit, of one-byte and of wide characters: lines stay within 4096 bytes, what
 * is there is the beginning of the message, and the mark is there exactly when something is
 * missing. */
static void test_log_cuts_long_messages(void **state)
{
	const struct fixture *fixture = *state;
	static const char *const units[] = {"a", "é", "€", "😀", "\n", "\x01", "\xff"};
	size_t unit_len, len, i, fits;
	char message[8200];
	size_t u;

	for (u = 0; u < ARRAY_SIZE(units); u++) {
		unit_len = strlen(units[u]);
		for (len = 1000; len<8000; len += len> 3950 && len < 4110 ? 1 : 331) {
			struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 0, 0);
			char *line, *text;
			bool is_cut;

			memset(message, 'x', 5);
			for (i = 0; i + unit_len <= len; i += unit_len) {
				memcpy(message + i, units[u], unit_len);
			}
			message[i] = '\0';
			xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "%s", message);
			xu_logger_free(log);
			line = read_file(fixture->path);
			unlink(fixture->path);
			assert_true(strlen(line) <= 4096);
			assert_int_equal(line[strlen(line) - 1], '\n');
			line[strlen(line) - 1] = '\0';
			text = strstr(line, "f.c:1: ") + 7;
			is_cut = strlen(text) > 3 && strcmp(text + strlen(text) - 3, ELLIPSIS) == 0;
			if (u < 4) { /* those that are written as they are */
				fits = 4096 - 1 - (size_t)(text - line);
				assert_int_equal(is_cut, strlen(message) > fits - 3);
				assert_memory_equal(text, message, strlen(text) - (is_cut ? 3 : 0));
				if (!is_cut) {
					assert_int_equal(strlen(text), strlen(message));
				} else {
					assert_true(strlen(line) + 1 > 4096 - unit_len);
					assert_int_equal((strlen(text) - 3) % unit_len, 0);
				}
			} else { /* escapes are whole */
				static const char *const escapes[] = {"\\n", "\\x01", "\\xff"};
				const char *escape = escapes[u - 4];
				size_t end = strlen(text) - (is_cut ? 3 : 0);

				assert_int_equal(end % strlen(escape), 0);
				for (i = 0; i < end; i += strlen(escape)) {
					assert_memory_equal(text + i, escape, strlen(escape));
				}
				assert_int_equal(is_cut, end / strlen(escape) < strlen(message));
			}
			free(line);
		}
	}
}

static void test_log_cut_json_still_parses(void **state)
{
	static const char *const units[] = {"a", "é", "😀", "\"", "\\", "\n", "\x01", "\xff"};
	char message[9000];
	size_t u, i, len;

	for (u = 0; u < ARRAY_SIZE(units); u++) {
		for (len = 3900; len < 4000; len++) {
			const char *got;
			json_t *json;

			for (i = 0; i < len; i += strlen(units[u])) {
				memcpy(message + i, units[u], strlen(units[u]) + 1);
			}
			json = json_of_message(*state, message);
			got = json_string_value(json_object_get(json, "msg"));
			assert_true(strlen(got) > 600);
			if (strcmp(got, message) != 0 && units[u][0] != '\xff') {
				assert_memory_equal(got, message, strlen(got) - 3);
				assert_string_equal(got + strlen(got) - 3, ELLIPSIS);
			}
			json_decref(json);
		}
	}
}

/* Names of any length and content leave room for the message. */
static void test_log_bounds_its_other_fields(void **state)
{
	const struct fixture *fixture = *state;
	char ident[300], file[5000], func[5000];
	struct xu_log_opts opts = {
		.level = XU_LOG_INFO,
		.target = XU_LOG_TO_FILE,
		.format = XU_LOG_JSON,
		.path = fixture->path,
		.ident = ident,
	};
	struct xu_logger *log = NULL;
	json_t *json;
	char *text;

	memset(ident, 1, sizeof(ident) - 1);
	memset(file, 2, sizeof(file) - 1);
	memset(func, 3, sizeof(func) - 1);
	ident[sizeof(ident) - 1] = file[sizeof(file) - 1] = func[sizeof(func) - 1] = '\0';
	assert_int_equal(xu_logger_new(&opts, &log, NULL), 0);
	memset(ident, 'z', sizeof(ident) - 1); /* the logger has its own copy */
	xu_log_write(log, XU_LOG_INFO, file, 5, func, "the message");
	xu_logger_free(log);
	text = read_file(fixture->path);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "msg")), "the message");
	assert_int_equal(json_string_length(json_object_get(json, "prog")), 64);
	assert_int_equal(json_string_value(json_object_get(json, "prog"))[63], 1);
	json_decref(json);
	free(text);
}

static void test_log_level_decides(void **state)
{
	struct xu_logger *log = open_log(*state, XU_LOG_TEXT, 0, 0);
	const struct fixture *fixture = *state;
	int nr_evaluated = 0;
	char *text;

	assert_true(xu_logger_wants(log, XU_LOG_FATAL));
	assert_true(xu_logger_wants(log, XU_LOG_INFO));
	assert_false(xu_logger_wants(log, XU_LOG_DEBUG));
	xu_fatal(log, "1");
	xu_err(log, "2");
	xu_debug(log, "not %d", ++nr_evaluated);
	assert_int_equal(nr_evaluated, 0);
	xu_log_write(log, XU_LOG_TRACE, "f.c", 1, "fn", "not");
	xu_logger_set_level(log, XU_LOG_TRACE);
	xu_log(log, XU_LOG_TRACE, "3");
	xu_debug(log, "4");
	xu_logger_set_level(log, XU_LOG_FATAL);
	xu_err(log, "not");
	xu_fatal(log, "5");
	xu_logger_free(log);
	text = read_file(fixture->path);
	assert_matches(text, "^[^ ]+ FATAL prog [^ ]+ 1\n[^ ]+ ERROR prog [^ ]+ 2\n"
			     "[^ ]+ TRACE prog [^ ]+ 3\n[^ ]+ DEBUG prog [^ ]+ 4\n"
			     "[^ ]+ FATAL prog [^ ]+ 5\n$");
	free(text);
}

static void test_log_null_is_silent(void **state)
{
	struct xu_error err = {0};

	assert_false(xu_logger_wants(NULL, XU_LOG_FATAL));
	xu_fatal(NULL, "x");
	xu_log_write(NULL, XU_LOG_FATAL, "f.c", 1, "fn", "x");
	xu_logger_set_level(NULL, XU_LOG_INFO);
	assert_int_equal(xu_logger_reopen(NULL, &err), 0);
	xu_logger_free(NULL);
}

static void test_log_level_names_go_both_ways(void **state)
{
	static const char *const names[] = {"fatal", "error", "warn", "info", "debug", "trace"};
	enum xu_log_level level;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(xu_log_level_name((enum xu_log_level)i), names[i]);
		level = (enum xu_log_level)((i + 1) % 6);
		assert_int_equal(xu_log_level_parse(names[i], &level), 0);
		assert_int_equal(level, i);
	}
	assert_int_equal(xu_log_level_parse("WARN", &level), 0);
	assert_int_equal(level, XU_LOG_WARN);
	assert_int_equal(xu_log_level_parse("Debug", &level), 0);
	assert_int_equal(level, XU_LOG_DEBUG);
	assert_int_equal(xu_log_level_parse("", &level), -EINVAL);
	assert_int_equal(xu_log_level_parse("warning", &level), -EINVAL);
	assert_int_equal(xu_log_level_parse("inf", &level), -EINVAL);
	assert_int_equal(level, XU_LOG_DEBUG);
}

static void test_log_keeps_errno(void **state)
{
	struct xu_logger *log = open_log(*state, XU_LOG_TEXT, 1, 3);

	errno = EXDEV; /* the rotation looks for files that are not there */
	xu_info(log, "one");
	xu_info(log, "two, with a rotation");
	assert_int_equal(errno, EXDEV);
	xu_logger_free(log);
}

static void test_log_new_appends_to_the_file(void **state)
{
	const struct fixture *fixture = *state;
	struct stat st;
	char *text;
	int i;

	for (i = 0; i < 2; i++) {
		struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 0, 0);

		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "run %d", i);
		xu_logger_free(log);
	}
	text = read_file(fixture->path);
	assert_matches(text, "^[^\n]* run 0\n[^\n]* run 1\n$");
	free(text);
	assert_int_equal(stat(fixture->path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0); /* not for others */
}

static void test_log_new_says_what_is_wrong(void **state)
{
	struct xu_log_opts opts = {.target = XU_LOG_TO_FILE, .path = "/nonexistent/dir/log"};
	struct xu_logger *log = (struct xu_logger *)state;
	struct xu_error err;

	assert_int_equal(xu_logger_new(&opts, &log, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text,
		"cannot open the log file /nonexistent/dir/log: No such file or directory");
	opts.path = NULL;
	assert_int_equal(xu_logger_new(&opts, &log, &err), -EINVAL);
	assert_string_equal(err.text, "the log goes to a file, but none is named");
	opts.path = "";
	assert_int_equal(xu_logger_new(&opts, &log, NULL), -EINVAL);
	assert_ptr_equal(log, state);
}

static void test_log_new_survives_no_memory(void **state)
{
	const struct fixture *fixture = *state;
	const struct xu_log_opts opts = {.target = XU_LOG_TO_FILE, .path = fixture->path};
	struct xu_logger *log = NULL;
	struct xu_error err;
	unsigned n;
	int rc;

	for (n = 1;; n++) {
		fail_arm(n);
		rc = xu_logger_new(&opts, &log, &err);
		if (!fail_disarm()) {
			break;
		}
		assert_int_equal(rc, -ENOMEM);
		assert_string_equal(err.text, "cannot make a logger: Cannot allocate memory");
		assert_null(log);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(n, 3);
	xu_logger_free(log);
}

/* Counts the lines of a file, which must be "… line N" with N from *next on; *next is advanced. */
static void count_lines(char *text, unsigned *next)
{
	char *line, *rest = text;

	assert_true(text[0] == '\0' || text[strlen(text) - 1] == '\n');
	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		char expected[32];

		snprintf(expected, sizeof(expected), "f.c:1: line %u", *next);
		assert_non_null(strstr(line, expected));
		assert_string_equal(strstr(line, expected), expected);
		(*next)++;
	}
}

static void test_log_rotates_without_losing_lines(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 1000, 50);
	unsigned i, next = 0, nr_files = 0;
	char *text;

	for (i = 0; i < 300; i++) {
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", i);
	}
	xu_logger_free(log);
	for (i = 51; i-- > 0;) {
		text = read_rotated(fixture, i);
		if (text == NULL) {
			continue;
		}
		nr_files++;
		assert_true(strlen(text) > 0 && strlen(text) <= 1000);
		if (i > 0) { /* rotated because one more did not fit */
			assert_true(strlen(text) > 1000 - 70);
		}
		count_lines(text, &next);
		free(text);
	}
	assert_int_equal(next, 300);
	assert_in_range(nr_files, 15, 20);
}

static void test_log_rotation_keeps_so_many(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 1, 3);
	unsigned i, next;
	char *text;

	for (i = 0; i < 10; i++) {
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", i);
	}
	xu_logger_free(log);
	for (i = 0; i <= 3; i++) { /* one line per file, the newest in the first */
		text = read_rotated(fixture, i);
		assert_non_null(text);
		next = 9 - i;
		count_lines(text, &next);
		assert_int_equal(next, 10 - i);
		free(text);
	}
	assert_null(read_rotated(fixture, 4));
}

static void test_log_rotation_may_keep_none(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 1, 0);
	unsigned i, next = 9;
	char *text;

	for (i = 0; i < 10; i++) {
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", i);
	}
	xu_logger_free(log);
	text = read_rotated(fixture, 0);
	count_lines(text, &next);
	assert_int_equal(next, 10);
	free(text);
	assert_null(read_rotated(fixture, 1));
}

static void test_log_rotation_counts_what_was_there(void **state)
{
	const struct fixture *fixture = *state;
	FILE *file = fopen(fixture->path, "w");
	struct xu_logger *log;
	unsigned next = 0;
	char *text;

	assert_non_null(file);
	fprintf(file, "%0990d", 0);
	fclose(file);
	log = open_log(fixture, XU_LOG_TEXT, 1000, 1);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 0");
	xu_logger_free(log);
	text = read_rotated(fixture, 0);
	count_lines(text, &next);
	assert_int_equal(next, 1);
	free(text);
	text = read_rotated(fixture, 1);
	assert_int_equal(strlen(text), 990);
	free(text);
}

/* The name for the old file is taken by a directory that is not empty. */
static void test_log_goes_on_when_rotation_cannot_rename(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log;
	unsigned i, next = 0;
	char path[160];
	char *text;

	snprintf(path, sizeof(path), "%s.1", fixture->path);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s.1/x", fixture->path);
	assert_int_equal(mkdir(path, 0700), 0);
	log = open_log(fixture, XU_LOG_TEXT, 200, 1);
	for (i = 0; i < 50; i++) {
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", i);
	}
	xu_logger_free(log);
	text = read_rotated(fixture, 0);
	count_lines(text, &next);
	assert_int_equal(next, 50);
	free(text);
}

/* The new file cannot be opened: no file descriptors are left. */
static void test_log_goes_on_when_rotation_cannot_open(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 200, 5);
	struct rlimit old, none;
	unsigned i, next = 0;
	char *text;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (i = 0; i < 50; i++) {
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", i);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	text = read_rotated(fixture, 0);
	count_lines(text, &next);
	assert_int_equal(next, 50);
	free(text);
	assert_null(read_rotated(fixture, 1));
	/* and when they are back, it rotates */
	for (i = 50; i < 60; i++) {
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", i);
	}
	xu_logger_free(log);
	text = read_rotated(fixture, 1);
	assert_non_null(text);
	free(text);
}

static void test_log_rotation_survives_no_memory(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 100, 2);
	unsigned n, next = 0;
	char *text;

	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 0");
	for (n = 1; n <= 2; n++) {
		fail_arm(n);
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", 2 * n - 1);
		assert_true(fail_disarm());
		xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line %u", 2 * n);
	}
	xu_logger_free(log);
	text = read_rotated(fixture, 2);
	if (text != NULL) {
		count_lines(text, &next);
		free(text);
	}
	text = read_rotated(fixture, 1);
	assert_non_null(text);
	count_lines(text, &next);
	free(text);
	text = read_rotated(fixture, 0);
	count_lines(text, &next);
	assert_int_equal(next, 5);
	free(text);
}

/* What is no regular file is never renamed away. */
static void test_log_does_not_rotate_a_pipe(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log;
	char text[1000] = "";
	struct stat st;
	unsigned next = 0;
	int fd;

	assert_int_equal(mkfifo(fixture->path, 0600), 0);
	fd = open(fixture->path, O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	log = open_log(fixture, XU_LOG_TEXT, 1, 2);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 0");
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 1");
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	count_lines(text, &next);
	assert_int_equal(next, 2);
	assert_int_equal(stat(fixture->path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_null(read_rotated(fixture, 1));
	xu_logger_free(log);
	close(fd);
}

static void test_log_reopen_follows_the_name(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 0, 0);
	struct xu_error err = {0};
	char moved[160];
	unsigned next = 0;
	char *text;

	snprintf(moved, sizeof(moved), "%s.7", fixture->path);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 0");
	assert_int_equal(rename(fixture->path, moved), 0);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 1");
	assert_int_equal(xu_logger_reopen(log, &err), 0);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 2");
	xu_logger_free(log);
	text = read_rotated(fixture, 7);
	count_lines(text, &next);
	assert_int_equal(next, 2);
	free(text);
	text = read_rotated(fixture, 0);
	count_lines(text, &next);
	assert_int_equal(next, 3);
	free(text);
}

static void test_log_reopen_failure_keeps_the_old_file(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 0, 0);
	struct xu_error err = {0};
	char moved[160], *text;
	unsigned next = 0;

	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 0");
	snprintf(moved, sizeof(moved), "%s.7", fixture->path);
	assert_int_equal(rename(fixture->path, moved), 0);
	assert_int_equal(mkdir(fixture->path, 0700), 0);
	assert_int_equal(xu_logger_reopen(log, &err), -EISDIR);
	assert_int_equal(err.code, -EISDIR);
	assert_non_null(strstr(err.text, fixture->path));
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "line 1");
	xu_logger_free(log);
	text = read_rotated(fixture, 7);
	count_lines(text, &next);
	assert_int_equal(next, 2);
	free(text);
}

/* The file is full in the middle of a line; when there is room again, the next line stands alone.
 */
static void test_log_begins_anew_after_a_torn_line(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 0, 0);
	struct rlimit old, small;
	size_t before;
	char *text;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "first");
	text = read_file(fixture->path);
	before = strlen(text);
	free(text);
	small = old;
	small.rlim_cur = before + 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "torn");
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "lost");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "whole");
	xu_log_write(log, XU_LOG_INFO, "f.c", 1, "fn", "next");
	xu_logger_free(log);
	text = read_file(fixture->path);
	assert_int_equal(text[before + 20], '\n'); /* twenty bytes, then the next line's newline */
	assert_matches(text + before + 21, "^[^ \n]+ INFO  prog f.c:1: whole\n"
					   "[^ \n]+ INFO  prog f.c:1: next\n$");
	assert_null(strstr(text, "lost"));
	free(text);
}

static void test_log_stderr_gets_whole_lines(void **state)
{
	const struct xu_log_opts opts = {
		.level = XU_LOG_INFO, .target = XU_LOG_TO_STDERR, .ident = "prog"};
	struct xu_logger *log = NULL;
	char text[200] = "";
	int fds[2], saved;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(xu_logger_new(&opts, &log, NULL), 0);
	saved = dup(STDERR_FILENO);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	xu_log_write(log, XU_LOG_WARN, "f.c", 1, "fn", "to stderr");
	assert_int_equal(xu_logger_reopen(log, NULL), 0);
	xu_logger_free(log);
	/* freeing the logger left stderr open */
	assert_int_equal(dprintf(STDERR_FILENO, "still\n"), 6);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	close(saved);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_matches(text, "^[^ ]{27} WARN  prog f\\.c:1: to stderr\nstill\n$");
	close(fds[0]);
	close(fds[1]);
}

#define WRITERS          4u
#define LINES_PER_WRITER 1500u

struct writer {
	struct xu_logger *log;
	unsigned index;
	pthread_t thread;
};

static void *write_lines(void *arg)
{
	const struct writer *writer = arg;
	unsigned i;

	for (i = 0; i < LINES_PER_WRITER; i++) {
		xu_log_write(writer->log, XU_LOG_INFO, "f.c", 1, "fn", "writer %u line %u %.*s.",
			writer->index, i, (int)(i % 300),
			"--------------------------------------------------------------------------"
			"--------------------------------------------------------------------------"
			"--------------------------------------------------------------------------"
			"--------------------------------------------------------------------------"
			"----");
	}
	return NULL;
}

/* Takes the lines of a file apart: each whole, and each writer's in order. */
static void count_writers_lines(char *text, unsigned next[WRITERS])
{
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		char *message = strstr(line, "f.c:1: writer ");
		unsigned writer, i;
		int end = 0;

		assert_non_null(message);
		assert_int_equal(message - line, 27 + strlen(" INFO  prog "));
		assert_int_equal(
			sscanf(message, "f.c:1: writer %u line %u %n", &writer, &i, &end), 2);
		assert_true(writer < WRITERS);
		assert_int_equal(i, next[writer]);
		next[writer]++;
		assert_int_equal(strspn(message + end, "-"), i % 300);
		assert_string_equal(message + end + i % 300, ".");
	}
}

static void test_log_threads_write_whole_lines_through_rotations(void **state)
{
	const struct fixture *fixture = *state;
	struct xu_logger *log = open_log(fixture, XU_LOG_TEXT, 50000, 100);
	struct writer writers[WRITERS];
	unsigned next[WRITERS] = {0}, nr_files = 0, i;
	char *text;

	for (i = 0; i < WRITERS; i++) {
		writers[i].log = log;
		writers[i].index = i;
		assert_int_equal(
			pthread_create(&writers[i].thread, NULL, write_lines, &writers[i]), 0);
	}
	for (i = 0; i < 50; i++) { /* meanwhile others set the level and reopen */
		xu_logger_set_level(log, i % 2 == 0 ? XU_LOG_DEBUG : XU_LOG_INFO);
		assert_int_equal(xu_logger_reopen(log, NULL), 0);
		sched_yield();
	}
	for (i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
	}
	xu_logger_free(log);
	for (i = 101; i-- > 0;) {
		text = read_rotated(fixture, i);
		if (text == NULL) {
			continue;
		}
		nr_files++;
		count_writers_lines(text, next);
		free(text);
	}
	for (i = 0; i < WRITERS; i++) {
		assert_int_equal(next[i], LINES_PER_WRITER);
	}
	assert_true(nr_files > 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_log_text_line_has_all_parts),
		CASE(test_log_time_is_utc_to_the_microsecond),
		CASE(test_log_macros_say_where),
		CASE(test_log_json_line_has_all_keys),
		CASE(test_log_json_carries_every_character),
		CASE(test_log_text_escapes_control_characters),
		CASE(test_log_replaces_invalid_utf8),
		CASE(test_log_cuts_long_messages),
		CASE(test_log_cut_json_still_parses),
		CASE(test_log_bounds_its_other_fields),
		CASE(test_log_level_decides),
		CASE(test_log_null_is_silent),
		CASE(test_log_level_names_go_both_ways),
		CASE(test_log_keeps_errno),
		CASE(test_log_new_appends_to_the_file),
		CASE(test_log_new_says_what_is_wrong),
		CASE(test_log_new_survives_no_memory),
		CASE(test_log_rotates_without_losing_lines),
		CASE(test_log_rotation_keeps_so_many),
		CASE(test_log_rotation_may_keep_none),
		CASE(test_log_rotation_counts_what_was_there),
		CASE(test_log_goes_on_when_rotation_cannot_rename),
		CASE(test_log_goes_on_when_rotation_cannot_open),
		CASE(test_log_rotation_survives_no_memory),
		CASE(test_log_does_not_rotate_a_pipe),
		CASE(test_log_reopen_follows_the_name),
		CASE(test_log_reopen_failure_keeps_the_old_file),
		CASE(test_log_begins_anew_after_a_torn_line),
		CASE(test_log_stderr_gets_whole_lines),
		CASE(test_log_threads_write_whole_lines_through_rotations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
