/* SPDX-License-Identifier: BSD-3-Clause */
/* Written to NAME.new, synced, renamed to NAME.json, and the directory synced. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/document.h"

#define PATH_SIZE    1024u
#define DOCUMENT_MAX (64u << 20)

int xreg_document_load(
	const char *dir, const char *name, json_t **ret_document, struct xu_error *err)
{
	json_error_t problem;
	char path[PATH_SIZE];
	json_t *document;
	struct stat st;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.json", dir, name);
	file = fopen(path, "re");
	if (file == NULL && errno == ENOENT) {
		*ret_document = NULL;
		return 0;
	}
	if (file == NULL || fstat(fileno(file), &st) != 0) {
		int rc = -errno;

		if (file != NULL) {
			fclose(file);
		}
		return xu_error_set_errno(err, rc, "reading %s", path);
	}
	document = st.st_size <= DOCUMENT_MAX ? json_loadf(file, JSON_REJECT_DUPLICATES, &problem)
					      : NULL;
	fclose(file);
	if (!json_is_object(document)) {
		json_decref(document);
		return xu_error_set(err, -EILSEQ,
			"%s is not what was saved there; put a good one in its place, or move it "
			"away to begin without",
			path);
	}
	*ret_document = document;
	return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t done = write(fd, text, len);

		if (done < 0) {
			return -errno;
		}
		text += done;
		len -= (size_t)done;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) != 0) {
		rc = -errno;
	}
	if (fd >= 0) {
		close(fd);
	}
	return rc;
}

int xreg_document_save(
	const char *dir, const char *name, const json_t *document, struct xu_error *err)
{
	char path[PATH_SIZE], draft[PATH_SIZE], *text = json_dumps(document, JSON_INDENT(1));
	int fd, rc = text != NULL ? 0 : -ENOMEM;

	snprintf(path, sizeof(path), "%s/%s.json", dir, name);
	snprintf(draft, sizeof(draft), "%s/%s.new", dir, name);
	fd = rc == 0 ? open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640) : -1;
	if (rc == 0) {
		rc = fd < 0 ? -errno : write_all(fd, text, strlen(text));
	}
	if (fd >= 0 && close(fd) != 0 && rc == 0) {
		rc = -errno;
	}
	if (rc == 0 && rename(draft, path) != 0) {
		rc = -errno;
	}
	free(text);
	if (rc != 0) {
		unlink(draft);
		return xu_error_set_errno(err, rc, "saving %s", path);
	}
	/* When only this fails the new one is there, but perhaps not after a crash: not good enough
	 * to say yes, and nobody may be told that nothing has changed; it is tried again. */
	rc = sync_dir(dir);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "saving %s", path);
}

int xreg_document_retire(const char *dir, const char *name, struct xu_error *err)
{
	char from[PATH_SIZE], to[PATH_SIZE];
	int rc;

	snprintf(from, sizeof(from), "%s/%s.json", dir, name);
	snprintf(to, sizeof(to), "%s/%s.json.taken", dir, name);
	rc = rename(from, to) == 0 ? sync_dir(dir) : -errno;
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "renaming %s", from);
}
