/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log. A logger is an object: whoever logs was given one, and NULL is a logger that is silent,
 * so libraries print nothing of themselves. A message is formatted on the caller's stack and
 * written with one call, whole lines only; any thread. Levels are those of spec/xsan.md 5.2.
 */
#ifndef XU_LOG_H
#define XU_LOG_H

#include <stdbool.h>
#include <stdint.h>

struct xu_error;
struct xu_logger;

enum xu_log_level {
	XU_LOG_FATAL = 0,
	XU_LOG_ERROR = 1,
	XU_LOG_WARN = 2,
	XU_LOG_INFO = 3,
	XU_LOG_DEBUG = 4,
	XU_LOG_TRACE = 5,
};

enum xu_log_target { XU_LOG_TO_STDERR, XU_LOG_TO_FILE, XU_LOG_TO_SYSLOG };
enum xu_log_format { XU_LOG_TEXT, XU_LOG_JSON };

struct xu_log_opts {
	enum xu_log_level level;
	enum xu_log_target target;
	enum xu_log_format format;
	const char *path;      /* for XU_LOG_TO_FILE */
	uint64_t rotate_bytes; /* rename to path.1, path.2 … past this size; 0: never */
	uint32_t rotate_keep;  /* how many old files are kept */
	const char *ident;     /* program name in text and syslog lines */
};

/* Takes nothing of `opts` beyond the call. -errno with a sentence when the file cannot be opened.
 */
int xu_logger_new(const struct xu_log_opts *opts, struct xu_logger **ret_log, struct xu_error *err);
void xu_logger_free(struct xu_logger *log); /* NULL is fine */

/* Opens the log file anew (after an outside rotation). */
int xu_logger_reopen(struct xu_logger *log, struct xu_error *err);

void xu_logger_set_level(struct xu_logger *log, enum xu_log_level level);
bool xu_logger_wants(const struct xu_logger *log, enum xu_log_level level);

/* "info" and so on; the names are lower case, xu_log_level_parse() takes either case. */
const char *xu_log_level_name(enum xu_log_level level);
int xu_log_level_parse(const char *text, enum xu_log_level *ret_level);

/* Text lines: `2026-11-20T12:34:56.789012Z INFO  xsand target.c:120: message`. JSON lines: keys
 * ts, level, prog, src, func, msg. Control characters in the message are escaped in both. */
void xu_log_write(struct xu_logger *log, enum xu_log_level level, const char *file, int line,
	const char *func, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#define xu_log(log, level, ...)                                                                    \
	do {                                                                                       \
		if (xu_logger_wants(log, level)) {                                                 \
			xu_log_write(log, level, __FILE__, __LINE__, __func__, __VA_ARGS__);       \
		}                                                                                  \
	} while (0)

#define xu_fatal(log, ...) xu_log(log, XU_LOG_FATAL, __VA_ARGS__)
#define xu_err(log, ...)   xu_log(log, XU_LOG_ERROR, __VA_ARGS__)
#define xu_warn(log, ...)  xu_log(log, XU_LOG_WARN, __VA_ARGS__)
#define xu_info(log, ...)  xu_log(log, XU_LOG_INFO, __VA_ARGS__)
#define xu_debug(log, ...) xu_log(log, XU_LOG_DEBUG, __VA_ARGS__)

#endif
