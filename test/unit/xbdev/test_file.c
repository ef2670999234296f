/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/file.c on real files in the working directory, on a loop device where the test
 * may make one, and, for what a good disk never does, over a ring that answers wrongly.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "test/unit/xbdev/model.h"

#define KIB        1024u
#define MIB        (1024u * KIB)
#define MASK(op)   (1u << XBDEV_OP_##op)
#define PUNCH_MODE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
/* A bit of fallocate() that no kernel knows: -EOPNOTSUPP. */
#define NO_SUCH_MODE 0x4000
/* What the file system may need to remember where the holes are. */
#define MAP_BYTES (16u * KIB)

struct fixture {
	struct harness h;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char path[256];
	char *buf, *other; /* 1 MiB each, aligned */
};

static void set_path(struct fixture *f, const char *name)
{
	snprintf(f->path, sizeof(f->path), "%s/%s", harness_dir(), name);
}

static void open_device(struct fixture *f, bool is_writable)
{
	f->desc = harness_open(&f->h, "f", is_writable);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

static void close_device(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_remove(&f->h, f->dev);
}

static void create(struct fixture *f, const char *params)
{
	f->dev =
		harness_create(&f->h, "file", "{'name': 'f', 'filename': '%s'%s}", f->path, params);
}

/* A context, and a fresh path in it. */
static void prepare(struct fixture *f, const struct xr_platform *platform)
{
	harness_start_opts(&f->h, &(struct xbdev_ctx_opts){.platform = platform}, 1);
	set_path(f, "file");
	unlink(f->path);
	f->buf = aligned_alloc(4096, MIB);
	f->other = aligned_alloc(4096, MIB);
	assert_true(f->buf != NULL && f->other != NULL);
}

static void finish(struct fixture *f)
{
	harness_stop(&f->h);
	free(f->buf);
	free(f->other);
}

static void start_on(struct fixture *f, const struct xr_platform *platform, const char *params)
{
	prepare(f, platform);
	create(f, params);
	open_device(f, true);
}

static void start(struct fixture *f, const char *params)
{
	start_on(f, NULL, params);
}

static void stop(struct fixture *f)
{
	close_device(f);
	finish(f);
}

static bool is_direct(const struct xbdev_device *dev)
{
	json_t *info = dev->ops->info(dev);
	bool value = json_is_true(json_object_get(info, "direct"));

	json_decref(info);
	return value;
}

static struct stat stat_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st;
}

/* Bytes of the file that take up space. */
static uint64_t allocated(struct fixture *f)
{
	assert_int_equal(harness_io(&f->h, f->ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	return (uint64_t)stat_of(f->path).st_blocks * 512;
}

static void assert_not_made(struct fixture *f, int code, const char *text, const char *params)
{
	struct xu_error err;

	assert_null(harness_try_create(
		&f->h, "file", &err, "{'name': 'f', 'filename': '%s'%s}", f->path, params));
	assert_int_equal(err.code, code);
	if (strstr(err.text, text) == NULL) {
		fail_msg("'%s' is not in '%s'", text, err.text);
	}
}

/* ---- data ---- */

static void test_file_keeps_what_is_written(void **state)
{
	static const char *const params[] = {
		", 'size': '4MiB'",
		", 'size': '4MiB', 'block_size': 4096",
		", 'size': '4MiB', 'direct': false",
		", 'size': '4MiB', 'direct': false, 'block_size': 4096",
	};
	uint64_t seed = harness_seed(3);

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(params); i++) {
		for (uint32_t is_aligned = 0; is_aligned < 2; is_aligned++) {
			struct fixture f;

			start(&f, params[i]);
			model_run(&f.h, &(struct model_opts){.ch = f.ch,
						.seed = seed + i,
						.len = 4 * MIB,
						.max_io_bytes = 1280 * KIB,
						.nr_ios = 300,
						.nr_slots = 16,
						.is_aligned = is_aligned});
			stop(&f);
		}
	}
}

/* What the device wrote is in the file, at its place, and there again for the next device. */
static void test_file_is_read_by_others(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	start(&f, ", 'size': '2MiB'");
	harness_fill(f.buf, MIB, 1);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 512 * KIB, f.buf, MIB, XBDEV_IO_FUA), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 4096, f.buf + 1, 4096, 0), 0);
	close_device(&f);
	fd = open(f.path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, f.other, MIB, 512 * KIB), MIB);
	assert_memory_equal(f.other, f.buf, MIB);
	assert_int_equal(pread(fd, f.other, 4096, 4096), 4096);
	assert_memory_equal(f.other, f.buf + 1, 4096);
	close(fd);
	create(&f, "");
	open_device(&f, true);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2 * MIB);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 512 * KIB, f.other, MIB, 0), 0);
	assert_memory_equal(f.other, f.buf, MIB);
	stop(&f);
}

static void test_file_bounces_what_direct_io_cannot_take(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '2MiB'");
	if (!is_direct(f.dev)) {
		print_message("skipped: this file system has no direct I/O\n");
		stop(&f);
		skip();
	}
	assert_true(f.dev->limits.buf_align > 1);
	harness_fill(f.buf, MIB, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 64 * KIB, 0), 0);
	assert_int_equal(harness_stats(&f.h, f.dev, false).nr_bounced, 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf + 1, 64 * KIB, 0), 0);
	assert_int_equal(harness_stats(&f.h, f.dev, false).nr_bounced, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other + 3, 64 * KIB, 0), 0);
	assert_memory_equal(f.other + 3, f.buf + 1, 64 * KIB);
	stop(&f);
	/* Through the page cache every buffer is as good as another. */
	start(&f, ", 'size': '2MiB', 'direct': false");
	assert_false(is_direct(f.dev));
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf + 1, 64 * KIB, 0), 0);
	assert_int_equal(harness_stats(&f.h, f.dev, false).nr_bounced, 0);
	stop(&f);
}

static void test_file_is_shared_by_reactors(void **state)
{
	struct xbdev_channel *ch[3];
	struct model *models[3];
	struct xbdev_desc *desc;
	struct harness h;

	(void)state;
	harness_start(&h, 3, 1);
	harness_create(&h, "file", "{'name': 'f', 'filename': '%s/shared', 'size': '3MiB'}",
		harness_dir());
	desc = harness_open(&h, "f", true);
	for (uint32_t i = 0; i < 3; i++) {
		ch[i] = harness_channel(&h, desc, i);
		models[i] = model_new(&(struct model_opts){.ch = ch[i],
			.seed = i,
			.offset = i * MIB,
			.len = MIB,
			.max_io_bytes = 128 * KIB,
			.nr_ios = 300,
			.nr_slots = 16});
		model_start(models[i]);
	}
	for (uint32_t i = 0; i < 3; i++) {
		harness_wait(&h, atomic_load(&models[i]->is_done));
		model_free(models[i]);
		harness_put(&h, ch[i]);
	}
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* ---- making one ---- */

static void test_file_that_is_missing_is_not_made_up(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, NULL);
	assert_not_made(&f, -ENOENT, f.path, "");
	assert_not_made(&f, -ENOENT, "No such file or directory", "");
	assert_int_equal(access(f.path, F_OK), -1);
	assert_not_made(&f, -ENOENT, f.path, ", 'size': '1MiB', 'read_only': true");
	assert_int_equal(access(f.path, F_OK), -1);
	snprintf(f.path, sizeof(f.path), "%s/no/such/folder", harness_dir());
	assert_not_made(&f, -ENOENT, f.path, ", 'size': '1MiB'");
	finish(&f);
}

/* Where direct I/O wants larger blocks than the device is to have, the page cache is used. */
static int open_coarse(const struct xr_platform *platform, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	int fd = xr_platform_linux()->file_open(platform, path, opts, ret_info, err);

	if (fd >= 0 && opts->direct) {
		ret_info->is_direct = true;
		ret_info->io_align = 4096;
		ret_info->mem_align = 4096;
	}
	return fd;
}

static int fail_sync(const struct xr_platform *platform, int fd)
{
	(void)platform;
	(void)fd;
	return -EIO;
}

static int fail_second_open(const struct xr_platform *platform, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	int fd = opts->direct ? open_coarse(platform, path, opts, ret_info, err) : -1;

	return fd >= 0 ? fd : xu_error_set_errno(err, -EMFILE, "opening %s", path);
}

/* Whatever a device fails for, the file that was made for it goes; one that was there stays. */
static void test_file_of_a_device_that_fails_goes(void **state)
{
	struct xr_platform no_sync = *xr_platform_linux(), one_open = *xr_platform_linux();
	const struct {
		const struct xr_platform *platform;
		int code;
		const char *text, *params;
	} cases[] = {
		{NULL, -EINVAL, "block size 1024", ", 'size': '1MiB', 'block_size': 1024"},
		{NULL, -EINVAL, "block size 1024",
			", 'size': '1MiB', 'block_size': 1024, 'direct': false"},
		{NULL, -EINVAL, "smaller than one block", ", 'size': 512, 'block_size': 4096"},
		{NULL, -EFBIG, "growing", ", 'size': '4096PiB'"},
		{NULL, -EEXIST, "a device named 'f'", ", 'size': '1MiB'"},
		{&no_sync, -EIO, "writing the size", ", 'size': '1MiB'"},
		{&one_open, -EMFILE, "opening", ", 'size': '1MiB', 'block_size': 512"},
	};

	(void)state;
	no_sync.file_sync = fail_sync;
	one_open.file_open = fail_second_open;
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;

		prepare(&f, cases[i].platform);
		if (cases[i].code == -EEXIST) {
			harness_create(&f.h, "null", "{'name': 'f', 'size': 512}");
		}
		assert_not_made(&f, cases[i].code, cases[i].text, cases[i].params);
		assert_int_equal(access(f.path, F_OK), -1);
		close(open(f.path, O_CREAT | O_WRONLY, 0600));
		assert_not_made(&f, cases[i].code, cases[i].text, cases[i].params);
		assert_int_equal(access(f.path, F_OK), 0);
		finish(&f);
	}
}

static void test_file_that_is_no_file_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f, NULL);
	snprintf(f.path, sizeof(f.path), "%s", harness_dir());
	assert_not_made(&f, -EISDIR, "Is a directory", "");
	snprintf(f.path, sizeof(f.path), "/dev/null");
	assert_not_made(&f, -ENOTBLK, "neither a regular file nor a block device", "");
	finish(&f);
}

static void test_file_is_made_sparse_and_grown_but_never_cut(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1GiB'");
	assert_int_equal(xbdev_device_size_bytes(f.dev), 1u << 30);
	assert_int_equal(stat_of(f.path).st_size, 1u << 30);
	assert_true(allocated(&f) < MIB);
	assert_int_equal(stat_of(f.path).st_mode & 0777, 0600);
	harness_fill(f.buf, 4096, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), 0);
	close_device(&f);
	create(&f, ", 'size': '2GiB'");
	open_device(&f, true);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2u << 30);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, 4096, 0), 0);
	assert_memory_equal(f.other, f.buf, 4096);
	close_device(&f);
	create(&f, ", 'size': '1MiB'");
	open_device(&f, true);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2u << 30);
	stop(&f);
}

static void test_file_block_sizes(void **state)
{
	static const struct {
		const char *params;
		uint32_t block_size;
	} good[] = {
		{", 'block_size': 512, 'direct': false", 512},
		{", 'block_size': 4096", 4096},
		{", 'direct': false", 512},
	};
	struct fixture f;

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(good); i++) {
		prepare(&f, NULL);
		assert_int_equal(truncate(f.path, 0), -1);
		close(open(f.path, O_CREAT | O_RDWR, 0600));
		/* What is no whole block at the end is not part of the device. */
		assert_int_equal(truncate(f.path, 65536 + 4095), 0);
		create(&f, good[i].params);
		assert_int_equal(f.dev->limits.block_size, good[i].block_size);
		assert_int_equal(xbdev_device_size_bytes(f.dev),
			good[i].block_size == 512 ? 65536 + 7 * 512 : 65536);
		finish(&f);
	}
	prepare(&f, NULL);
	assert_not_made(&f, -EINVAL, "block size 1024", ", 'size': '1MiB', 'block_size': 1024");
	assert_not_made(&f, -EINVAL, "block_size: 256", ", 'size': '1MiB', 'block_size': 256");
	close(open(f.path, O_CREAT | O_RDWR, 0600));
	assert_int_equal(truncate(f.path, 511), 0);
	assert_not_made(&f, -EINVAL, "smaller than one block", ", 'direct': false");
	assert_int_equal(truncate(f.path, 4095), 0);
	assert_not_made(&f, -EINVAL, "smaller than one block", ", 'block_size': 4096");
	finish(&f);
}

static void test_file_without_small_direct_io_uses_the_page_cache(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.file_open = open_coarse;
	start_on(&f, &platform, ", 'size': '1MiB', 'block_size': 512");
	assert_false(is_direct(f.dev));
	assert_int_equal(f.dev->limits.block_size, 512);
	assert_int_equal(f.dev->limits.buf_align, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 512, f.buf + 1, 512, 0), 0);
	stop(&f);
	/* Without a wish it has the blocks that direct I/O wants. */
	start_on(&f, &platform, ", 'size': '1MiB'");
	assert_true(is_direct(f.dev));
	assert_int_equal(f.dev->limits.block_size, 4096);
	assert_int_equal(f.dev->limits.buf_align, 4096);
	stop(&f);
}

static void test_file_tells_its_parameters(void **state)
{
	json_t *config, *wanted;
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1MiB', 'block_size': 4096, 'direct': false,"
		  " 'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'");
	config = f.dev->ops->config(f.dev);
	wanted = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:b}", "driver", "file", "name",
		"f", "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "filename", f.path, "size",
		MIB, "block_size", 4096, "read_only", 0, "direct", 0);
	assert_true(json_equal(config, wanted));
	json_decref(config);
	json_decref(wanted);
	stop(&f);
}

/* ---- locks ---- */

static void test_file_is_locked_against_a_second_device(void **state)
{
	struct xu_error err;
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1MiB'");
	assert_null(
		harness_try_create(&f.h, "file", &err, "{'name': 'g', 'filename': '%s'}", f.path));
	assert_int_equal(err.code, -EBUSY);
	assert_non_null(strstr(err.text, f.path));
	assert_null(harness_try_create(
		&f.h, "file", &err, "{'name': 'g', 'filename': '%s', 'read_only': true}", f.path));
	assert_int_equal(err.code, -EBUSY);
	close_device(&f);
	/* Readers may share it, and keep the writers out. */
	create(&f, ", 'read_only': true");
	harness_create(&f.h, "file", "{'name': 'g', 'filename': '%s', 'read_only': true}", f.path);
	assert_null(
		harness_try_create(&f.h, "file", &err, "{'name': 'h', 'filename': '%s'}", f.path));
	assert_int_equal(err.code, -EBUSY);
	finish(&f);
}

static void test_file_is_locked_against_another_process(void **state)
{
	struct fixture f;
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	prepare(&f, NULL);
	create(&f, ", 'size': '1MiB'");
	harness_remove(&f.h, f.dev);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(f.path, O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		MUST(fd >= 0 && flock(fd, LOCK_EX) == 0);
		MUST(write(ready[1], "x", 1) == 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_not_made(&f, -EBUSY, "is locked", "");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	/* The end of the process is the end of its lock. */
	create(&f, "");
	finish(&f);
}

/* ---- read-only ---- */

static void test_file_read_only_is_never_written(void **state)
{
	struct xbdev_desc *desc;
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1MiB'");
	harness_fill(f.buf, 4096, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), 0);
	close_device(&f);
	assert_int_equal(chmod(f.path, 0400), 0);
	create(&f, ", 'read_only': true");
	assert_int_equal(xbdev_desc_open(f.h.ctx, "f", true, NULL, NULL, &desc, NULL), -EROFS);
	open_device(&f, false);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, 4096, 0), 0);
	assert_memory_equal(f.other, f.buf, 4096);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), -EROFS);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 4096, 0), -EROFS);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 4096, 0), -EROFS);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	stop(&f);
}

/* ---- discard and zeroes ---- */

static void discard_and_look(const char *params)
{
	struct fixture f;
	uint64_t full;

	start(&f, params);
	if (!(f.dev->ops_mask & MASK(DISCARD))) {
		print_message("skipped: this file system punches no holes\n");
		stop(&f);
		skip();
	}
	harness_fill(f.buf, MIB, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, MIB, 0), 0);
	full = allocated(&f);
	assert_true(full >= MIB);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 256 * KIB, NULL, 512 * KIB, 0), 0);
	assert_true(allocated(&f) <= full - 512 * KIB + MAP_BYTES);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, MIB, 0), 0);
	assert_memory_equal(f.other, f.buf, 256 * KIB);
	assert_true(harness_is_zero(f.other + 256 * KIB, 512 * KIB));
	assert_memory_equal(f.other + 768 * KIB, f.buf + 768 * KIB, 256 * KIB);
	/* A single block reads as zeroes too, though nothing may come free. */
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 4096, NULL, f.dev->limits.block_size, 0),
		0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, 8192, 0), 0);
	assert_memory_equal(f.other, f.buf, 4096);
	assert_true(harness_is_zero(f.other + 4096, f.dev->limits.block_size));
	assert_int_equal(stat_of(f.path).st_size, 2 * MIB);
	/* At the very end of the file its size stays. */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 2 * MIB, 0), 0);
	assert_int_equal(stat_of(f.path).st_size, 2 * MIB);
	assert_true(allocated(&f) <= 64 * KIB);
	stop(&f);
}

static void test_file_discard_frees_space_and_reads_zeroes(void **state)
{
	(void)state;
	discard_and_look(", 'size': '2MiB'");
	discard_and_look(", 'size': '2MiB', 'direct': false");
}

static void zero_and_look(struct fixture *f)
{
	uint64_t full;

	harness_fill(f->buf, MIB, 1);
	assert_int_equal(harness_io(&f->h, f->ch, XBDEV_OP_WRITE, 0, f->buf, MIB, 0), 0);
	full = allocated(f);
	assert_int_equal(harness_io(&f->h, f->ch, XBDEV_OP_WRITE_ZEROES, 256 * KIB, NULL, 512 * KIB,
				 XBDEV_IO_FUA),
		0);
	assert_true(allocated(f) >= full); /* zeroes are no hole: there is place to write later */
	assert_int_equal(harness_io(&f->h, f->ch, XBDEV_OP_READ, 0, f->other, MIB, 0), 0);
	assert_memory_equal(f->other, f->buf, 256 * KIB);
	assert_true(harness_is_zero(f->other + 256 * KIB, 512 * KIB));
	assert_memory_equal(f->other + 768 * KIB, f->buf + 768 * KIB, 256 * KIB);
}

static void test_file_zeroes_keep_their_space_unless_told(void **state)
{
	struct fixture f;
	uint64_t full;

	(void)state;
	start(&f, ", 'size': '2MiB'");
	zero_and_look(&f);
	if (f.dev->ops_mask & MASK(DISCARD)) {
		full = allocated(&f);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512 * KIB,
					 XBDEV_IO_MAY_UNMAP),
			0);
		assert_true(allocated(&f) <= full - 512 * KIB + MAP_BYTES);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, MIB, 0), 0);
		assert_true(harness_is_zero(f.other, 768 * KIB));
	}
	stop(&f);
}

static char tmpfs_path[64];

static int teardown_tmpfs(void **state)
{
	(void)state;
	unlink(tmpfs_path);
	return 0;
}

/* tmpfs punches holes but has no FALLOC_FL_ZERO_RANGE: holes are not what was asked for. */
static void test_file_zeroes_keep_their_space_on_tmpfs(void **state)
{
	struct statfs fs;
	struct fixture f;

	(void)state;
	if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC ||
		access("/dev/shm", W_OK) != 0) {
		print_message("skipped: /dev/shm is no tmpfs to write to\n");
		skip();
	}
	prepare(&f, NULL);
	snprintf(tmpfs_path, sizeof(tmpfs_path), "/dev/shm/xbdev-test-%d", (int)getpid());
	snprintf(f.path, sizeof(f.path), "%s", tmpfs_path);
	create(&f, ", 'size': '2MiB'");
	open_device(&f, true);
	zero_and_look(&f);
	stop(&f);
}

static bool can_nothing(const struct xr_platform *platform, int fd, int mode)
{
	(void)platform;
	(void)fd;
	(void)mode;
	return false;
}

static void test_file_without_holes_writes_zeroes(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.file_can = can_nothing;
	start_on(&f, &platform, ", 'size': '2MiB'");
	assert_int_equal(f.dev->ops_mask & (MASK(DISCARD) | MASK(WRITE_ZEROES)), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 4096, 0), -EOPNOTSUPP);
	zero_and_look(&f);
	stop(&f);
}

/* ---- resize ---- */

struct resize {
	uint32_t nr_done;
	struct xu_error err;
};

static void on_resized(void *arg, const struct xu_error *err)
{
	struct resize *resize = arg;

	resize->nr_done++;
	resize->err = *err;
}

static int resize_to(struct fixture *f, uint64_t size, struct xu_error *ret_err)
{
	struct resize resize = {0};

	f->dev->ops->resize(f->dev, size, on_resized, &resize);
	harness_wait(&f->h, resize.nr_done == 1);
	*ret_err = resize.err;
	return resize.err.code;
}

static void test_file_is_resized(void **state)
{
	struct xu_error err;
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1MiB', 'block_size': 4096");
	harness_fill(f.buf, 4096, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, MIB, f.other, 4096, 0), -EINVAL);
	assert_int_equal(resize_to(&f, 2 * MIB, &err), 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2 * MIB);
	assert_int_equal(stat_of(f.path).st_size, 2 * MIB);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, MIB, f.buf, 4096, 0), 0);
	assert_int_equal(resize_to(&f, MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "would lose data"));
	assert_int_equal(resize_to(&f, 2 * MIB + 512, &err), -EINVAL);
	assert_non_null(strstr(err.text, "block size 4096"));
	assert_int_equal(stat_of(f.path).st_size, 2 * MIB);
	/* 0: what the file has become by others. */
	assert_int_equal(truncate(f.path, 3 * MIB), 0);
	assert_int_equal(resize_to(&f, 0, &err), 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 3 * MIB);
	stop(&f);
}

static void test_file_is_resized_once_at_a_time(void **state)
{
	struct resize first = {0}, second = {0};
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1MiB'");
	f.dev->ops->resize(f.dev, 2 * MIB, on_resized, &first);
	f.dev->ops->resize(f.dev, 3 * MIB, on_resized, &second);
	assert_int_equal(second.nr_done, 1);
	assert_int_equal(second.err.code, -EBUSY);
	harness_wait(&f.h, first.nr_done == 1);
	assert_int_equal(first.err.code, 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2 * MIB);
	stop(&f);
}

static void on_removed(void *arg)
{
	*(bool *)arg = true;
}

/* The worker that resizes holds the device. */
static void test_file_is_removed_after_it_has_been_resized(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		struct resize resize = {0};
		bool is_removed = false;
		struct fixture f;

		prepare(&f, NULL);
		create(&f, ", 'size': '1MiB'");
		f.dev->ops->resize(f.dev, 2 * MIB, on_resized, &resize);
		assert_int_equal(xbdev_device_remove(f.dev, on_removed, &is_removed), 0);
		harness_wait(&f.h, is_removed);
		assert_int_equal(resize.nr_done, 1);
		assert_int_equal(resize.err.code, 0);
		assert_int_equal(stat_of(f.path).st_size, 2 * MIB);
		finish(&f);
	}
}

static void test_file_read_only_is_not_resized(void **state)
{
	struct xu_error err;
	struct fixture f;

	(void)state;
	prepare(&f, NULL);
	create(&f, ", 'size': '1MiB'");
	harness_remove(&f.h, f.dev);
	create(&f, ", 'read_only': true");
	assert_int_equal(resize_to(&f, 2 * MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "read-only"));
	finish(&f);
}

/* ---- what goes wrong ---- */

static void test_file_that_was_cut_off_fails_reads(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, ", 'size': '1MiB'");
	assert_int_equal(truncate(f.path, 8192), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 8192, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 8192, f.buf, 4096, 0), -EIO);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 4096, f.buf, 8192, 0), -EIO);
	stop(&f);
}

/* A ring that gives the next `nr_wrong` operations on files another result, and remembers the last;
 * and that asks the kernel for an impossible fallocate() instead of those that are refused. */
static struct {
	struct xr_ring_ops ops;
	const struct xr_ring_ops *real;
	bool refuses_punch, refuses_zero;
	uint32_t nr_wrong, nr_ops, nr_fallocates;
	int32_t result;
	struct xr_op *op;
	void (*cb)(struct xr_op *op, int32_t result);
	struct xr_op last;
} wrong;

static void on_wrong(struct xr_op *op, int32_t result)
{
	(void)result;
	MUST(op == wrong.op);
	op->cb = wrong.cb;
	wrong.op = NULL;
	op->cb(op, wrong.result);
}

static void wrong_submit(void *ring, struct xr_op *op)
{
	bool is_refused = op->opcode == XR_OP_FALLOCATE &&
			  (op->mode == PUNCH_MODE ? wrong.refuses_punch : wrong.refuses_zero);

	wrong.nr_fallocates += op->opcode == XR_OP_FALLOCATE;
	if (op->opcode <= XR_OP_FALLOCATE) {
		wrong.nr_ops++;
		wrong.last = *op;
		if (wrong.nr_wrong != 0) {
			MUST(wrong.op == NULL); /* one at a time */
			wrong.nr_wrong--;
			wrong.op = op;
			wrong.cb = op->cb;
			op->cb = on_wrong;
		}
	}
	if (is_refused) {
		op->mode |= NO_SUCH_MODE;
	}
	wrong.real->submit(ring, op);
	if (is_refused) {
		op->mode &= ~NO_SUCH_MODE;
	}
}

static int wrong_ring_new(const struct xr_platform *platform, struct xr_reactor *reactor,
	uint32_t entries, const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err)
{
	int rc = xr_platform_linux()->ring_new(
		platform, reactor, entries, &wrong.real, ret_ring, err);

	if (rc == 0) {
		wrong.ops = *wrong.real;
		wrong.ops.submit = wrong_submit;
		*ret_ops = &wrong.ops;
	}
	return rc;
}

static int io_with_results(struct fixture *f, enum xbdev_op op, uint32_t nr_wrong, int32_t result)
{
	bool has_data = op == XBDEV_OP_READ || op == XBDEV_OP_WRITE;

	wrong.nr_wrong = nr_wrong;
	wrong.result = result;
	wrong.nr_ops = 0;
	return harness_io(
		&f->h, f->ch, op, 0, has_data ? f->buf : NULL, op == XBDEV_OP_FLUSH ? 0 : 8192, 0);
}

static void test_file_repeats_short_and_interrupted_transfers(void **state)
{
	static const int32_t results[] = {4096, 0, -EINTR, -EAGAIN};
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_on(&f, &platform, ", 'size': '1MiB'");
	harness_fill(f.buf, 8192, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(results); i++) {
		for (uint32_t op = XBDEV_OP_READ; op <= XBDEV_OP_WRITE; op++) {
			int last = results[i] < 0 ? results[i] : -EIO;

			assert_int_equal(io_with_results(&f, op, 1, results[i]), 0);
			assert_int_equal(wrong.nr_ops, 2);
			assert_int_equal(io_with_results(&f, op, 3, results[i]), 0);
			assert_int_equal(wrong.nr_ops, 4);
			/* Not for ever. */
			assert_int_equal(io_with_results(&f, op, 4, results[i]), last);
			assert_int_equal(wrong.nr_ops, 4);
		}
	}
	stop(&f);
}

static void test_file_reports_what_the_kernel_says(void **state)
{
	static const int32_t results[] = {-EIO, -ENOSPC, -EROFS, -EINVAL};
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_on(&f, &platform, ", 'size': '1MiB'");
	for (uint32_t i = 0; i < ARRAY_SIZE(results); i++) {
		for (uint32_t op = XBDEV_OP_READ; op <= XBDEV_OP_WRITE_ZEROES; op++) {
			if (!(f.dev->ops_mask & (1u << op))) {
				continue;
			}
			assert_int_equal(io_with_results(&f, op, 1, results[i]), results[i]);
			assert_int_equal(wrong.nr_ops, 1); /* an error is not tried again */
		}
	}
	stop(&f);
}

/* ---- what stops working ---- */

/* A device whose kernel or disk refuses, from now on, what it said it could. */
static void start_refusing(
	struct fixture *f, const struct xr_platform *platform, const char *params)
{
	wrong.refuses_punch = wrong.refuses_zero = false;
	start_on(f, platform, params);
	wrong.nr_fallocates = 0;
}

static int teardown_refusing(void **state)
{
	(void)state;
	wrong.refuses_punch = wrong.refuses_zero = false;
	return 0;
}

/* Four MiB of something, so that a range of them takes several writes. */
static void fill_all(struct fixture *f)
{
	harness_fill(f->buf, MIB, 1);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(
			harness_io(&f->h, f->ch, XBDEV_OP_WRITE, i * MIB, f->buf, MIB, 0), 0);
	}
}

/* Whether what fill_all() has made is zeroes now in this range, and nowhere else. */
static void assert_zeroed(struct fixture *f, uint64_t offset, uint64_t len)
{
	for (uint64_t at = 0; at < 4 * MIB; at += 512) {
		bool is_in = at >= offset && at < offset + len;

		if (at % MIB == 0) {
			assert_int_equal(
				harness_io(&f->h, f->ch, XBDEV_OP_READ, at, f->other, MIB, 0), 0);
		}
		if (is_in ? !harness_is_zero(f->other + at % MIB, 512)
			  : memcmp(f->other + at % MIB, f->buf + at % MIB, 512) != 0) {
			fail_msg("the block at %llu is wrong", (unsigned long long)at);
		}
	}
}

static json_int_t info_of(const struct fixture *f, const char *key)
{
	json_t *info = f->dev->ops->info(f->dev), *value = json_object_get(info, key);
	json_int_t number =
		json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);

	assert_non_null(value);
	json_decref(info);
	return number;
}

static void skip_without(struct fixture *f, uint32_t ops)
{
	if ((f->dev->ops_mask & ops) != ops) {
		print_message("skipped: this file system has no such fallocate\n");
		stop(f);
		skip();
	}
}

static void test_file_writes_zeroes_when_it_must(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	const uint64_t offset = 512 * KIB + 512, len = 5 * MIB / 2;
	struct fixture f;
	uint64_t full;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '4MiB', 'block_size': 512");
	skip_without(&f, MASK(WRITE_ZEROES));
	fill_all(&f);
	full = allocated(&f);
	assert_int_equal(info_of(&f, "zero_range"), 1);
	wrong.refuses_zero = true;
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, offset, NULL, len, XBDEV_IO_FUA), 0);
	assert_zeroed(&f, offset, len);
	assert_true(allocated(&f) >= full);
	assert_int_equal(wrong.nr_fallocates, 1);
	assert_int_equal(info_of(&f, "zero_range"), 0);
	assert_int_equal(info_of(&f, "zeroes_written"), 1);
	/* It is not asked again. */
	fill_all(&f);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 512, NULL, 512, 0), 0);
	assert_zeroed(&f, 512, 512);
	assert_int_equal(wrong.nr_fallocates, 1);
	assert_int_equal(info_of(&f, "zeroes_written"), 2);
	/* A write of zeroes is as good as any other, and as bad. */
	assert_int_equal(io_with_results(&f, XBDEV_OP_WRITE_ZEROES, 3, 4096), 0);
	assert_int_equal(wrong.nr_ops, 4);
	assert_int_equal(io_with_results(&f, XBDEV_OP_WRITE_ZEROES, 4, 4096), -EIO);
	assert_int_equal(io_with_results(&f, XBDEV_OP_WRITE_ZEROES, 1, -ENOSPC), -ENOSPC);
	stop(&f);
}

static void test_file_zeroes_without_holes_when_it_must(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '4MiB'");
	skip_without(&f, MASK(WRITE_ZEROES) | MASK(DISCARD));
	fill_all(&f);
	wrong.refuses_punch = true;
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 4096, NULL, MIB, XBDEV_IO_MAY_UNMAP),
		0);
	assert_zeroed(&f, 4096, MIB);
	assert_int_equal(wrong.nr_fallocates, 2);
	assert_int_equal(info_of(&f, "punch_hole"), 0);
	assert_int_equal(info_of(&f, "zeroes_written"), 0);
	fill_all(&f);
	wrong.refuses_zero = true;
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 4096, NULL, 2 * MIB,
				 XBDEV_IO_MAY_UNMAP),
		0);
	assert_zeroed(&f, 4096, 2 * MIB);
	assert_int_equal(wrong.nr_fallocates, 3);
	assert_int_equal(info_of(&f, "zeroes_written"), 1);
	stop(&f);
}

/* Nothing says that old data is gone which is still there. */
static void test_file_refuses_discards_that_do_nothing(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '4MiB'");
	skip_without(&f, MASK(DISCARD));
	fill_all(&f);
	wrong.refuses_punch = true;
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 2 * MIB, 0), -EOPNOTSUPP);
		assert_int_equal(wrong.nr_fallocates, 1);
	}
	assert_zeroed(&f, 0, 0);
	/* It takes no more than "not supported" to give up; other errors pass. */
	stop(&f);
	start_refusing(&f, &platform, ", 'size': '4MiB'");
	assert_int_equal(io_with_results(&f, XBDEV_OP_DISCARD, 1, -EIO), -EIO);
	assert_int_equal(info_of(&f, "punch_hole"), 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 4096, 0), 0);
	stop(&f);
}

/* A long range does not keep a device that is going. */
static void test_file_stops_writing_zeroes_when_it_goes(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct harness_io hio;
	struct fixture f;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '512MiB'");
	skip_without(&f, MASK(WRITE_ZEROES));
	wrong.refuses_zero = true;
	wrong.nr_ops = 0;
	harness_io_set(&hio, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512 * MIB);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_wait(&f.h, wrong.nr_ops >= 4);
	assert_int_equal(xbdev_device_remove(f.dev, NULL, NULL), 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ENODEV);
	assert_true(wrong.nr_ops < 100);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, xbdev_device_next(f.h.ctx, NULL) == NULL);
	finish(&f);
}

static void test_file_asks_the_kernel_for_durability(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = wrong_ring_new;
	start_on(&f, &platform, ", 'size': '1MiB'");
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), 0);
	assert_int_equal(wrong.last.opcode, XR_OP_WRITE);
	assert_int_equal(wrong.last.flags, 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, XBDEV_IO_FUA), 0);
	assert_int_equal(wrong.last.opcode, XR_OP_WRITE);
	assert_int_equal(wrong.last.flags, XR_OP_DSYNC);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	assert_int_equal(wrong.last.opcode, XR_OP_FSYNC);
	assert_int_equal(wrong.last.flags, XR_OP_DATASYNC);
	/* Zeroes with FUA end with a flush. */
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 4096, XBDEV_IO_FUA), 0);
	assert_int_equal(wrong.last.opcode,
		f.dev->ops_mask & MASK(WRITE_ZEROES) ? XR_OP_FSYNC : XR_OP_WRITE);
	stop(&f);
}

/* ---- a block device ---- */

static char loop_path[64];
static int loop_fd = -1;

/* The kernel has been told to give the device up at its last close, so that it does not stay behind
 * when the test dies. */
static void free_loop(void)
{
	close(loop_fd);
	loop_fd = -1;
}

/* A loop device of 8 MiB; false, having said why, when there can be none. */
static bool make_loop(uint32_t sector_size)
{
	char command[512], backing[256];
	FILE *output;
	int fd;

	if (geteuid() != 0) {
		print_message("skipped: only root makes loop devices\n");
		return false;
	}
	snprintf(backing, sizeof(backing), "%s/loop", harness_dir());
	fd = open(backing, O_CREAT | O_RDWR | O_TRUNC, 0600);
	assert_true(fd >= 0 && ftruncate(fd, 8 * MIB) == 0);
	close(fd);
	snprintf(command, sizeof(command), "losetup --show -f -b %u %s 2>&1", sector_size, backing);
	output = popen(command, "r");
	assert_non_null(output);
	if (fgets(loop_path, sizeof(loop_path), output) == NULL) {
		loop_path[0] = '\0';
	}
	loop_path[strcspn(loop_path, "\n")] = '\0';
	if (pclose(output) != 0) {
		print_message("skipped: %s: %s\n", command, loop_path);
		return false;
	}
	loop_fd = open(loop_path, O_RDONLY | O_CLOEXEC);
	snprintf(command, sizeof(command), "losetup -d %s", loop_path);
	assert_true(loop_fd >= 0);
	assert_int_equal(system(command), 0);
	return true;
}

static int teardown_loop(void **state)
{
	teardown_refusing(state);
	if (loop_fd >= 0) {
		free_loop();
	}
	return 0;
}

static void look_at_block_device(uint32_t sector_size, const struct xr_platform *platform)
{
	struct fixture f;
	struct stat st;

	prepare(&f, platform);
	snprintf(f.path, sizeof(f.path), "%s", loop_path);
	if (sector_size == 4096) {
		assert_not_made(&f, -EINVAL, "has blocks of 4096 bytes", ", 'block_size': 512");
	}
	create(&f, "");
	open_device(&f, true);
	assert_string_equal(f.dev->product, "block device");
	assert_int_equal(f.dev->limits.block_size, sector_size);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 8 * MIB);
	assert_true(is_direct(f.dev));
	assert_true(f.dev->ops_mask & MASK(DISCARD));
	model_run(&f.h, &(struct model_opts){.ch = f.ch,
				.seed = sector_size,
				.len = 4 * MIB,
				.max_io_bytes = 1280 * KIB,
				.nr_ios = 200,
				.nr_slots = 8});
	/* A discarded block reads as zeroes. */
	harness_fill(f.buf, MIB, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 5 * MIB, f.buf, MIB, 0), 0);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 5 * MIB + 4096, NULL, 512 * KIB, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 5 * MIB, f.other, MIB, 0), 0);
	assert_memory_equal(f.other, f.buf, 4096);
	assert_true(harness_is_zero(f.other + 4096, 512 * KIB));
	assert_memory_equal(f.other + 4096 + 512 * KIB, f.buf + 4096 + 512 * KIB, 256 * KIB);
	close_device(&f);
	/* The node itself is untouched, and somebody who has it for himself keeps us out. */
	assert_int_equal(stat(loop_path, &st), 0);
	assert_true(S_ISBLK(st.st_mode));
	finish(&f);
}

static void test_file_drives_a_block_device(void **state)
{
	static const uint32_t sector_sizes[] = {512, 4096};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(sector_sizes); i++) {
		if (!make_loop(sector_sizes[i])) {
			skip();
		}
		look_at_block_device(sector_sizes[i], NULL);
		free_loop();
	}
}

/* A discard is a hint that a disk may ignore. */
static int ignore_discard(
	const struct xr_platform *platform, int fd, uint64_t offset, uint64_t len, bool is_zero)
{
	return is_zero ? xr_platform_linux()->file_discard(platform, fd, offset, len, true)
		       : -EOPNOTSUPP;
}

/* A disk that cannot deallocate with zeroes is discarded and then zeroed, by a worker. */
static void test_file_zeroes_what_a_block_device_discards(void **state)
{
	struct xr_platform platform = *xr_platform_linux();

	(void)state;
	if (!make_loop(512)) {
		skip();
	}
	platform.file_can = can_nothing;
	platform.file_discard = ignore_discard;
	look_at_block_device(512, &platform);
	free_loop();
}

/* The disk knows no zeroing, but only says so when it is asked to. */
static int refuse_zeroing(
	const struct xr_platform *platform, int fd, uint64_t offset, uint64_t len, bool is_zero)
{
	(void)platform;
	(void)fd;
	(void)offset;
	(void)len;
	(void)is_zero;
	return -EOPNOTSUPP;
}

/* In each next best way: zeroed by a worker; and where the kernel does not even do that, written.
 */
static void test_file_zeroes_what_a_block_device_stops_discarding(void **state)
{
	struct xr_platform platform = *xr_platform_linux();

	(void)state;
	if (!make_loop(512)) {
		skip();
	}
	platform.ring_new = wrong_ring_new;
	for (uint32_t i = 0; i < 3; i++) {
		struct fixture f;

		if (i > 0) {
			platform.file_discard = i == 1 ? ignore_discard : refuse_zeroing;
		}
		wrong.refuses_punch = wrong.refuses_zero = false;
		prepare(&f, &platform);
		snprintf(f.path, sizeof(f.path), "%s", loop_path);
		create(&f, "");
		open_device(&f, true);
		if (info_of(&f, "punch_hole") == 0) {
			print_message("skipped: this loop device does not deallocate\n");
			stop(&f);
			skip();
		}
		fill_all(&f);
		wrong.nr_fallocates = 0;
		wrong.refuses_punch = wrong.refuses_zero = true;
		for (uint32_t n = 1; n < 3; n++) {
			assert_int_equal(
				harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 4096, NULL, n * MIB, 0),
				0);
			assert_zeroed(&f, 4096, n * MIB);
		}
		assert_int_equal(wrong.nr_fallocates, 1);
		assert_int_equal(info_of(&f, "punch_hole"), 0);
		assert_int_equal(info_of(&f, "zeroes_written"), i == 2 ? 2 : 0);
		stop(&f);
	}
	free_loop();
}

static void test_file_leaves_a_block_device_in_use_alone(void **state)
{
	struct xu_error err;
	struct fixture f;
	int fd;

	(void)state;
	if (!make_loop(512)) {
		skip();
	}
	prepare(&f, NULL);
	snprintf(f.path, sizeof(f.path), "%s", loop_path);
	fd = open(loop_path, O_RDWR | O_EXCL); /* as a mount does */
	assert_true(fd >= 0);
	assert_not_made(&f, -EBUSY, "mounted, or used by another program", "");
	close(fd);
	create(&f, "");
	assert_int_equal(resize_to(&f, 16 * MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "a block device"));
	assert_int_equal(resize_to(&f, 0, &err), 0);
	finish(&f);
	free_loop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_keeps_what_is_written),
		cmocka_unit_test(test_file_is_read_by_others),
		cmocka_unit_test(test_file_bounces_what_direct_io_cannot_take),
		cmocka_unit_test(test_file_is_shared_by_reactors),
		cmocka_unit_test(test_file_that_is_missing_is_not_made_up),
		cmocka_unit_test(test_file_of_a_device_that_fails_goes),
		cmocka_unit_test(test_file_that_is_no_file_is_refused),
		cmocka_unit_test(test_file_is_made_sparse_and_grown_but_never_cut),
		cmocka_unit_test(test_file_block_sizes),
		cmocka_unit_test(test_file_without_small_direct_io_uses_the_page_cache),
		cmocka_unit_test(test_file_tells_its_parameters),
		cmocka_unit_test(test_file_is_locked_against_a_second_device),
		cmocka_unit_test(test_file_is_locked_against_another_process),
		cmocka_unit_test(test_file_read_only_is_never_written),
		cmocka_unit_test(test_file_discard_frees_space_and_reads_zeroes),
		cmocka_unit_test(test_file_zeroes_keep_their_space_unless_told),
		cmocka_unit_test_teardown(
			test_file_zeroes_keep_their_space_on_tmpfs, teardown_tmpfs),
		cmocka_unit_test(test_file_without_holes_writes_zeroes),
		cmocka_unit_test(test_file_is_resized),
		cmocka_unit_test(test_file_is_resized_once_at_a_time),
		cmocka_unit_test(test_file_is_removed_after_it_has_been_resized),
		cmocka_unit_test(test_file_read_only_is_not_resized),
		cmocka_unit_test(test_file_that_was_cut_off_fails_reads),
		cmocka_unit_test(test_file_repeats_short_and_interrupted_transfers),
		cmocka_unit_test(test_file_reports_what_the_kernel_says),
		cmocka_unit_test_teardown(test_file_writes_zeroes_when_it_must, teardown_refusing),
		cmocka_unit_test_teardown(
			test_file_zeroes_without_holes_when_it_must, teardown_refusing),
		cmocka_unit_test_teardown(
			test_file_refuses_discards_that_do_nothing, teardown_refusing),
		cmocka_unit_test_teardown(
			test_file_stops_writing_zeroes_when_it_goes, teardown_refusing),
		cmocka_unit_test(test_file_asks_the_kernel_for_durability),
		cmocka_unit_test_teardown(test_file_drives_a_block_device, teardown_loop),
		cmocka_unit_test_teardown(
			test_file_zeroes_what_a_block_device_discards, teardown_loop),
		cmocka_unit_test_teardown(
			test_file_zeroes_what_a_block_device_stops_discarding, teardown_loop),
		cmocka_unit_test_teardown(
			test_file_leaves_a_block_device_in_use_alone, teardown_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
