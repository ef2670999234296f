/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ends of a copy. A device goes through libxbdev; a regular file through the page cache, so any
 * length can be read and written; a pipe or a character device from front to back. A block device
 * of the kernel, named by its path, becomes a device of libxbdev.
 *
 * Files are locked as libxbdev locks those under its devices, so a file that is in use as one, or
 * that is source and target at once, is refused before a byte is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/device.h"
#include "dd/dd.h"

/* ---- opening ---- */

static bool check_base(const struct dd_end *end, uint64_t size, const char *option)
{
	if (end->base > size) {
		tool_say("%s: %s passes over %" PRIu64 " bytes, but it has %" PRIu64, end->name,
			option, end->base, size);
		return false;
	}
	if (end->base % end->block_size != 0) {
		tool_say("%s: %s passes over %" PRIu64 " bytes, which is not a multiple of its "
			 "block size, %u",
			end->name, option, end->base, end->block_size);
		return false;
	}
	return true;
}

static bool open_device(
	struct dd_end *end, const struct dd_options *o, const char *text, bool is_target)
{
	if (!tool_device_open(text, is_target ? XBDEV_OPEN_READWRITE : XBDEV_OPEN_READ, &end->fd,
		    &end->info)) {
		return false;
	}
	end->kind = DD_DEVICE;
	end->block_size = end->info.block_size;
	if (is_target && end->info.is_read_only) {
		tool_say("%s: the device is read-only", end->name);
		return false;
	}
	if (o->bs % end->block_size != 0) {
		tool_say("%s: bs is %u bytes, which is not a multiple of its block size, %u",
			end->name, o->bs, end->block_size);
		return false;
	}
	end->size = end->info.size_bytes - end->base;
	return check_base(end, end->info.size_bytes, is_target ? "seek" : "skip");
}

/* A kernel's block device: through libxbdev's driver for it. */
static bool open_disk(struct dd_end *end, const struct dd_options *o, bool is_target)
{
	char text[4096];

	close(end->fd);
	end->fd = -1;
	if (snprintf(text, sizeof(text), "file:%s%s", end->name,
		    is_target ? "" : ",read_only=true") >= (int)sizeof(text)) {
		tool_say("%s: the path is too long", end->name);
		return false;
	}
	return open_device(end, o, text, is_target);
}

static bool lock(const struct dd_end *end, bool is_target)
{
	if (flock(end->fd, (is_target ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 ||
		errno != EWOULDBLOCK) {
		return true;
	}
	tool_say("%s is in use: as a device, by another program, or as the other end of this copy",
		end->name);
	return false;
}

/* Sets the kind of an open file. */
static bool look_at(struct dd_end *end, const struct dd_options *o, bool is_target)
{
	bool is_standard = strcmp(end->name, "-") == 0;
	struct stat st;

	if (fstat(end->fd, &st) != 0) {
		tool_say("%s: %s", end->name, strerror(errno));
		return false;
	}
	if (!is_standard && S_ISBLK(st.st_mode)) {
		return open_disk(end, o, is_target);
	}
	if (S_ISDIR(st.st_mode)) {
		tool_say("%s is a directory", end->name);
		return false;
	}
	/* Standard input and output begin wherever whoever opened them wants it. */
	if (is_standard || !S_ISREG(st.st_mode)) {
		end->kind = DD_STREAM;
		if (is_target && end->base != 0) {
			tool_say("%s: seek is for devices and files that are named", end->name);
			return false;
		}
		return true;
	}
	end->kind = DD_FILE;
	if (!lock(end, is_target)) {
		return false;
	}
	if (is_target) {
		return true;
	}
	end->size = (uint64_t)st.st_size - end->base;
	return check_base(end, (uint64_t)st.st_size, "skip");
}

/* Whether the text names a device; ./NAME is always a file. */
static bool is_device(const char *text)
{
	return strcmp(text, "-") != 0 && tool_device_is_named(text);
}

bool dd_end_open_source(struct dd_end *end, const struct dd_options *o)
{
	end->name = o->from;
	end->block_size = 1;
	end->size = DD_UNKNOWN;
	if (is_device(o->from)) {
		return open_device(end, o, o->from, false);
	}
	end->fd =
		strcmp(o->from, "-") == 0 ? dup(STDIN_FILENO) : open(o->from, O_RDONLY | O_CLOEXEC);
	if (end->fd < 0) {
		tool_say("opening %s: %s", o->from, strerror(errno));
		return false;
	}
	return look_at(end, o, false);
}

bool dd_end_open_target(struct dd_end *end, const struct dd_options *o)
{
	end->name = o->to;
	end->block_size = 1;
	end->size = DD_UNKNOWN;
	if (is_device(o->to)) {
		return open_device(end, o, o->to, true);
	}
	if (strcmp(o->to, "-") == 0) {
		end->fd = dup(STDOUT_FILENO);
	} else {
		end->fd = open(o->to, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (end->fd < 0 && (errno == EACCES || errno == ENXIO || errno == EINVAL)) {
			/* A file that may be written only, a pipe. */
			end->fd = open(o->to, O_WRONLY | O_CLOEXEC);
		}
	}
	if (end->fd < 0) {
		tool_say("opening %s: %s", o->to, strerror(errno));
		return false;
	}
	return look_at(end, o, true);
}

/* Passes over the start of a stream. */
static bool skip_stream(struct dd_end *end)
{
	char buf[65536];
	uint64_t left = end->base;

	while (left != 0) {
		uint32_t want = left < sizeof(buf) ? (uint32_t)left : (uint32_t)sizeof(buf);
		int64_t got = dd_file_read(end, buf, want, 0);

		if (got < (int64_t)want) {
			tool_say("%s: skip passes over %" PRIu64 " bytes: %s", end->name, end->base,
				got < 0 ? strerror((int)-got) : "it has fewer");
			return false;
		}
		left -= want;
	}
	return true;
}

bool dd_end_begin(struct dd_end *end, const struct dd_options *o)
{
	bool is_target = end->name == o->to;

	if (end->kind == DD_STREAM && !is_target) {
		return skip_stream(end);
	}
	if (end->kind == DD_FILE && is_target && !o->must_not_truncate &&
		ftruncate(end->fd, (off_t)end->base) != 0) {
		tool_say("%s: cutting it off at %" PRIu64 " bytes: %s", end->name, end->base,
			strerror(errno));
		return false;
	}
	return true;
}

bool dd_end_close(struct dd_end *end)
{
	bool is_good = true;

	if (end->kind == DD_DEVICE) {
		return end->info.name[0] == '\0' || xbdev_close(end->fd) == 0;
	}
	if (end->fd >= 0 && close(end->fd) != 0 && errno != EINTR) {
		tool_say("closing %s: %s", end->name, strerror(errno));
		is_good = false;
	}
	end->fd = -1;
	return is_good;
}

/* ---- files and streams ---- */

int64_t dd_file_read(struct dd_end *end, void *buf, uint32_t len, uint64_t offset)
{
	uint32_t done = 0;

	while (done < len) {
		ssize_t rc = end->kind == DD_FILE ? pread(end->fd, (char *)buf + done, len - done,
							    (off_t)(end->base + offset + done))
						  : read(end->fd, (char *)buf + done, len - done);

		if (rc == 0 || (rc < 0 && errno == EINTR && tool_must_stop())) {
			break;
		}
		if (rc < 0 && errno != EINTR) {
			return -errno;
		}
		done += rc > 0 ? (uint32_t)rc : 0;
	}
	return done;
}

int dd_file_write(struct dd_end *end, const void *buf, uint32_t len, uint64_t offset)
{
	uint32_t done = 0;

	while (done < len) {
		ssize_t rc = end->kind == DD_FILE
				     ? pwrite(end->fd, (const char *)buf + done, len - done,
					       (off_t)(end->base + offset + done))
				     : write(end->fd, (const char *)buf + done, len - done);

		if (rc < 0 && errno != EINTR) {
			return -errno;
		}
		done += rc > 0 ? (uint32_t)rc : 0;
	}
	return 0;
}

/* Behind the file's end nothing needs to be done: it is made longer when the copy is over. */
static bool is_behind_end(const struct dd_end *end, uint64_t offset)
{
	struct stat st;

	return fstat(end->fd, &st) == 0 && (uint64_t)st.st_size <= end->base + offset;
}

int dd_file_zero(struct dd_end *end, uint32_t len, uint64_t offset, bool is_hole)
{
	off_t at = (off_t)(end->base + offset);
	int rc;

	if (end->kind == DD_FILE) {
		int mode =
			is_hole ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;

		if (is_hole && is_behind_end(end, offset)) {
			return 0;
		}
		if (fallocate(end->fd, mode, at, len) == 0) {
			return 0;
		}
	}
	/* A pipe, or a file system that cannot: zeroes as data. */
	for (uint32_t done = 0; done < len;) {
		static const char zeroes[65536];
		uint32_t part = len - done < sizeof(zeroes) ? len - done : (uint32_t)sizeof(zeroes);

		rc = dd_file_write(end, zeroes, part, offset + done);
		if (rc != 0) {
			return rc;
		}
		done += part;
	}
	return 0;
}

bool dd_file_is_hole(struct dd_end *end, uint32_t len, uint64_t offset)
{
	uint64_t begin = end->base + offset;
	off_t data;

	if (begin < end->data_begin || begin >= end->data_end) {
		data = lseek(end->fd, (off_t)begin, SEEK_DATA);
		if (data < 0 && errno != ENXIO) {
			return false;
		}
		end->data_begin = begin;
		end->data_end = data < 0 ? UINT64_MAX : (uint64_t)data;
	}
	return begin + len <= end->data_end;
}

int dd_file_finish(struct dd_end *end, uint64_t len, bool must_flush)
{
	struct stat st;

	if (end->kind != DD_FILE) {
		return 0;
	}
	if (fstat(end->fd, &st) != 0) {
		return -errno;
	}
	if ((uint64_t)st.st_size < end->base + len &&
		ftruncate(end->fd, (off_t)(end->base + len)) != 0) {
		return -errno;
	}
	if (must_flush && fsync(end->fd) != 0) {
		return -errno;
	}
	return 0;
}
