/* SPDX-License-Identifier: BSD-3-Clause */
/* Replacing a file: each step must have succeeded before the next is tried. */
#include "lib/xbdev/config/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *xbdev_config_dump(const json_t *value)
{
	size_t size = json_dumpb(value, NULL, 0, JSON_INDENT(1));
	char *text = size != 0 ? malloc(size + 2) : NULL;

	/* The room is made first: json_dumpb() needs little memory then, and says when it has less
	 * than it needs. */
	if (text != NULL && json_dumpb(value, text, size, JSON_INDENT(1)) != size) {
		free(text);
		return NULL;
	}
	if (text != NULL) {
		memcpy(text + size, "\n", 2);
	}
	return text;
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t done = write(fd, text, left);

		if (done < 0 && errno == EINTR) {
			continue;
		}
		if (done <= 0) {
			return done < 0 ? -errno : -EIO;
		}
		text += done;
		left -= (size_t)done;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

static int sync_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".";
	int fd, rc;

	if (slash != NULL) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path + 1), path);
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return -errno;
	}
	rc = fsync(fd) == 0 ? 0 : -errno;
	close(fd);
	return rc;
}

int xbdev_config_replace(const char *path, const char *new_path, mode_t mode, const char *text)
{
	int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode), rc;

	if (fd < 0) {
		return -errno;
	}
	rc = fchmod(fd, mode) == 0 ? write_all(fd, text) : -errno; /* whatever the umask is */
	if (close(fd) != 0 && rc == 0) {
		rc = -errno;
	}
	if (rc == 0 && rename(new_path, path) != 0) {
		rc = -errno;
	}
	if (rc != 0) {
		unlink(new_path);
		return rc;
	}
	return sync_dir_of(path);
}
