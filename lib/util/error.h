/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An error with a sentence, for configuration and control paths: what was tried, on what, why it
 * failed and what to do. The I/O path uses bare -errno.
 */
#ifndef XU_ERROR_H
#define XU_ERROR_H

struct xu_error {
	int code;       /* 0 or -errno */
	char text[512]; /* one sentence without a final newline; "" when code is 0 */
};

/*
 * Writes `code` (-errno) and the formatted sentence to `err` and returns `code`, so that a
 * function can end in `return xu_error_set(err, -EINVAL, "…")`. A NULL `err` is allowed.
 */
int xu_error_set(struct xu_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As xu_error_set(), with ": " and the system's text for `code` at the end of the sentence. */
int xu_error_set_errno(struct xu_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts a formatted text and ": " in front of the sentence; returns the error's code. The name that
 * both end and begin with ("devices[0].size" and "size: …") is told once. */
int xu_error_prefix(struct xu_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Replaces, in place, bytes that are no UTF-8: a text that was cut in the middle of a character, or
 * that strangers sent. The sentences above are mended so. */
void xu_text_mend(char *text);

#endif
