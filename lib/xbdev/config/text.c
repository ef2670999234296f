/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading JSON texts. The JSON library tells the place of what does not parse; the place of what
 * parses and is wrong is looked up in the text by its path. Names of the document are in the
 * sentences, whatever bytes they have, so control characters are replaced: a sentence is one line.
 */
#include "lib/xbdev/config/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/util/jsonpos.h"

/* ---- errors ---- */

static void make_printable(struct xu_error *err)
{
	for (char *c = err->text; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f) {
			*c = '?';
		}
	}
}

int xbdev_text_fail(const struct xbdev_text *text, const char *path, struct xu_error *err)
{
	struct xu_jsonpos pos;

	if (err == NULL) {
		return -EINVAL;
	}
	if (text == NULL) {
		return err->code;
	}
	xu_jsonpos_find(text->text, text->len, path, &pos);
	xu_error_prefix(err, "%s:%u:%u%s%s", text->name, pos.line, pos.column,
		path[0] != '\0' ? ": " : "", path);
	make_printable(err);
	return err->code;
}

void xbdev_text_strip_name(struct xu_error *err, const char *name)
{
	size_t len = strlen(name);

	if (err != NULL && len != 0 && strncmp(err->text, name, len) == 0 &&
		strncmp(err->text + len, ": ", 2) == 0) {
		memmove(err->text, err->text + len + 2, strlen(err->text + len + 2) + 1);
	}
}

/* ---- parsing ---- */

static int parse(struct xbdev_text *text, struct xu_error *err)
{
	json_error_t error;

	text->root = json_loadb(text->text, text->len, JSON_REJECT_DUPLICATES, &error);
	if (text->root != NULL) {
		return 0;
	}
	xu_error_set(
		err, -EINVAL, "%s:%d:%d: %s", text->name, error.line, error.column, error.text);
	if (err != NULL) {
		make_printable(err);
	}
	return -EINVAL;
}

int xbdev_text_parse(const char *name, const char *bytes, size_t len, struct xbdev_text **ret_text,
	struct xu_error *err)
{
	struct xbdev_text *text = calloc(1, sizeof(*text));
	int rc;

	if (text != NULL) {
		text->name = strdup(name);
		text->text = malloc(len + 1);
	}
	if (text == NULL || text->name == NULL || text->text == NULL) {
		xbdev_text_free(text);
		return xu_error_set_errno(err, -ENOMEM, "reading %s", name);
	}
	if (len != 0) {
		memcpy(text->text, bytes, len);
	}
	text->text[len] = '\0';
	text->len = len;
	rc = parse(text, err);
	if (rc != 0) {
		xbdev_text_free(text);
		return rc;
	}
	*ret_text = text;
	return 0;
}

void xbdev_text_free(struct xbdev_text *text)
{
	if (text != NULL) {
		json_decref(text->root);
		free(text->text);
		free(text->name);
		free(text);
	}
}

/* ---- reading ---- */

/* Reads what is there into new memory. A file that is cut off meanwhile does not parse. */
static int read_bytes(int fd, size_t size, char **ret_bytes, size_t *ret_len)
{
	char *bytes = malloc(size + 1);
	size_t len = 0;

	if (bytes == NULL) {
		return -ENOMEM;
	}
	while (len < size) {
		ssize_t got = read(fd, bytes + len, size - len);

		if (got < 0 && errno != EINTR) {
			int rc = -errno;

			free(bytes);
			return rc;
		}
		if (got == 0) {
			break;
		}
		len += got > 0 ? (size_t)got : 0;
	}
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

/* The whole of a regular file. */
static int read_file(
	const char *path, const char *what, char **ret_bytes, size_t *ret_len, struct xu_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = xu_error_set_errno(err, -errno, "cannot read the %s %s", what, path);
	} else if (!S_ISREG(st.st_mode) || st.st_size > XBDEV_TEXT_MAX) {
		rc = xu_error_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EFBIG,
			"cannot read the %s %s: it is not a regular file of at most %u MiB", what,
			path, XBDEV_TEXT_MAX >> 20);
	} else {
		rc = read_bytes(fd, (size_t)st.st_size, ret_bytes, ret_len);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "cannot read the %s %s", what, path);
		}
	}
	if (fd >= 0) {
		close(fd);
	}
	return rc;
}

int xbdev_text_read(
	const char *path, const char *what, struct xbdev_text **ret_text, struct xu_error *err)
{
	char *bytes = NULL;
	size_t len = 0;
	int rc = read_file(path, what, &bytes, &len, err);

	if (rc == 0) {
		rc = xbdev_text_parse(path, bytes, len, ret_text, err);
	}
	free(bytes);
	return rc;
}
