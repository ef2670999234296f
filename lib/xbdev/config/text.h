/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON texts that people write: a file is read whole and parsed, and what is wrong in it is told
 * with its place: `FILE:LINE:COLUMN: path.to[3].value: sentence`. Blocks; any thread.
 */
#ifndef XBDEV_CONFIG_TEXT_H
#define XBDEV_CONFIG_TEXT_H

#include <jansson.h>
#include <stddef.h>

struct xu_error;

#define XBDEV_TEXT_MAX       (16u << 20) /* bytes of a file */
#define XBDEV_TEXT_PATH_SIZE 512u        /* of a path in a document */

struct xbdev_text {
	char *name; /* of the file, as it was given */
	char *text;
	size_t len;
	json_t *root;
};

/* Reads and parses a regular file; `what` is for the sentence ("cannot read the configuration
 * FILE: …"). -EISDIR, -EFBIG: not a regular file, or too large; -EINVAL: it is not JSON, or says
 * one key twice; what opening gives. */
int xbdev_text_read(
	const char *path, const char *what, struct xbdev_text **ret_text, struct xu_error *err);
/* The same with bytes that are there already, called `name` in errors. */
int xbdev_text_parse(const char *name, const char *bytes, size_t len, struct xbdev_text **ret_text,
	struct xu_error *err);
void xbdev_text_free(struct xbdev_text *text); /* NULL is fine */

/* Puts "FILE:LINE:COLUMN: PATH: " in front of the sentence; a path that does not exist has the
 * place of its deepest part that does. No text (NULL): no place. Returns the error's code. */
int xbdev_text_fail(const struct xbdev_text *text, const char *path, struct xu_error *err);

/* Takes "NAME: " off the front of a sentence that goes behind a path which ends in NAME. */
void xbdev_text_strip_name(struct xu_error *err, const char *name);

#endif
