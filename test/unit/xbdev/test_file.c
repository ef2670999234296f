/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/file.c on real files in the working directory, and, for what a good disk never
 * does, over a ring that answers wrongly. Discards, zeroes and block devices: test_file_zeroes.c.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/xbdev/file_fixture.h"
#include "test/unit/xbdev/model.h"

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

			fixture_start(&f, params[i]);
			model_run(&f.h, &(struct model_opts){.ch = f.ch,
						.seed = seed + i,
						.len = 4 * MIB,
						.max_io_bytes = 1280 * KIB,
						.nr_ios = 300,
						.nr_slots = 16,
						.is_aligned = is_aligned});
			fixture_stop(&f);
		}
	}
}

/* What the device wrote is in the file, at its place, and there again for the next device. */
static void test_file_is_read_by_others(void **state)
{
	struct fixture f;
	int fd;

	(void)state;
	fixture_start(&f, ", 'size': '2MiB'");
	harness_fill(f.buf, MIB, 1);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 512 * KIB, f.buf, MIB, XBDEV_IO_FUA), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 4096, f.buf + 1, 4096, 0), 0);
	fixture_close_device(&f);
	fd = open(f.path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, f.other, MIB, 512 * KIB), MIB);
	assert_memory_equal(f.other, f.buf, MIB);
	assert_int_equal(pread(fd, f.other, 4096, 4096), 4096);
	assert_memory_equal(f.other, f.buf + 1, 4096);
	close(fd);
	fixture_create(&f, "");
	fixture_open_device(&f, true);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2 * MIB);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 512 * KIB, f.other, MIB, 0), 0);
	assert_memory_equal(f.other, f.buf, MIB);
	fixture_stop(&f);
}

static void test_file_bounces_what_direct_io_cannot_take(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '2MiB'");
	if (!fixture_is_direct(f.dev)) {
		print_message("skipped: this file system has no direct I/O\n");
		fixture_stop(&f);
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
	fixture_stop(&f);
	/* Through the page cache every buffer is as good as another. */
	fixture_start(&f, ", 'size': '2MiB', 'direct': false");
	assert_false(fixture_is_direct(f.dev));
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf + 1, 64 * KIB, 0), 0);
	assert_int_equal(harness_stats(&f.h, f.dev, false).nr_bounced, 0);
	fixture_stop(&f);
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
	fixture_prepare(&f, NULL);
	fixture_assert_not_made(&f, -ENOENT, f.path, "");
	fixture_assert_not_made(&f, -ENOENT, "No such file or directory", "");
	assert_int_equal(access(f.path, F_OK), -1);
	fixture_assert_not_made(&f, -ENOENT, f.path, ", 'size': '1MiB', 'read_only': true");
	assert_int_equal(access(f.path, F_OK), -1);
	snprintf(f.path, sizeof(f.path), "%s/no/such/folder", harness_dir());
	fixture_assert_not_made(&f, -ENOENT, f.path, ", 'size': '1MiB'");
	fixture_finish(&f);
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
	struct xr_platform coarse = *xr_platform_linux();
	const struct {
		const struct xr_platform *platform;
		int code;
		const char *text, *params;
	} cases[] = {
		{NULL, -EINVAL, "block size 1024", ", 'size': '1MiB', 'block_size': 1024"},
		{NULL, -EINVAL, "block size 1024",
			", 'size': '1MiB', 'block_size': 1024, 'direct': false"},
		{NULL, -EINVAL, "size 512 is not a multiple of the block size 4096",
			", 'size': 512, 'block_size': 4096"},
		{NULL, -EINVAL, "size 4608 is not a multiple of the block size 4096",
			", 'size': 4608, 'block_size': 4096"},
		{NULL, -EINVAL, "size 1000 is not a multiple of the block size 512",
			", 'size': 1000, 'direct': false"},
		{&coarse, -EINVAL, "size 4608 is not a multiple of the block size 4096",
			", 'size': 4608"},
		{NULL, -EFBIG, "growing", ", 'size': '4096PiB'"},
		{NULL, -EEXIST, "a device named 'f'", ", 'size': '1MiB'"},
		{&no_sync, -EIO, "writing the size", ", 'size': '1MiB'"},
		{&one_open, -EMFILE, "opening", ", 'size': '1MiB', 'block_size': 512"},
	};

	(void)state;
	no_sync.file_sync = fail_sync;
	one_open.file_open = fail_second_open;
	coarse.file_open = open_coarse;
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;

		fixture_prepare(&f, cases[i].platform);
		if (cases[i].code == -EEXIST) {
			harness_create(&f.h, "null", "{'name': 'f', 'size': 512}");
		}
		fixture_assert_not_made(&f, cases[i].code, cases[i].text, cases[i].params);
		assert_int_equal(access(f.path, F_OK), -1);
		close(open(f.path, O_CREAT | O_WRONLY, 0600));
		fixture_assert_not_made(&f, cases[i].code, cases[i].text, cases[i].params);
		assert_int_equal(access(f.path, F_OK), 0);
		fixture_finish(&f);
	}
}

static void test_file_that_is_no_file_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	fixture_prepare(&f, NULL);
	snprintf(f.path, sizeof(f.path), "%s", harness_dir());
	fixture_assert_not_made(&f, -EISDIR, "Is a directory", "");
	snprintf(f.path, sizeof(f.path), "/dev/null");
	fixture_assert_not_made(&f, -ENOTBLK, "neither a regular file nor a block device", "");
	fixture_finish(&f);
}

static void test_file_is_made_sparse_and_grown_but_never_cut(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1GiB'");
	assert_int_equal(xbdev_device_size_bytes(f.dev), 1u << 30);
	assert_int_equal(fixture_stat_of(f.path).st_size, 1u << 30);
	assert_true(fixture_allocated(&f) < MIB);
	assert_int_equal(fixture_stat_of(f.path).st_mode & 0777, 0600);
	harness_fill(f.buf, 4096, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), 0);
	fixture_close_device(&f);
	fixture_create(&f, ", 'size': '2GiB'");
	fixture_open_device(&f, true);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2u << 30);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, 4096, 0), 0);
	assert_memory_equal(f.other, f.buf, 4096);
	fixture_close_device(&f);
	fixture_create(&f, ", 'size': '1MiB'");
	fixture_open_device(&f, true);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2u << 30);
	fixture_stop(&f);
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
		fixture_prepare(&f, NULL);
		assert_int_equal(truncate(f.path, 0), -1);
		close(open(f.path, O_CREAT | O_RDWR, 0600));
		/* What is no whole block at the end is not part of the device. */
		assert_int_equal(truncate(f.path, 65536 + 4095), 0);
		fixture_create(&f, good[i].params);
		assert_int_equal(f.dev->limits.block_size, good[i].block_size);
		assert_int_equal(xbdev_device_size_bytes(f.dev),
			good[i].block_size == 512 ? 65536 + 7 * 512 : 65536);
		fixture_finish(&f);
	}
	fixture_prepare(&f, NULL);
	fixture_assert_not_made(
		&f, -EINVAL, "block size 1024", ", 'size': '1MiB', 'block_size': 1024");
	fixture_assert_not_made(
		&f, -EINVAL, "block_size: 256", ", 'size': '1MiB', 'block_size': 256");
	close(open(f.path, O_CREAT | O_RDWR, 0600));
	assert_int_equal(truncate(f.path, 511), 0);
	fixture_assert_not_made(&f, -EINVAL, "smaller than one block", ", 'direct': false");
	assert_int_equal(truncate(f.path, 4095), 0);
	fixture_assert_not_made(&f, -EINVAL, "smaller than one block", ", 'block_size': 4096");
	fixture_finish(&f);
}

static void test_file_without_small_direct_io_uses_the_page_cache(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.file_open = open_coarse;
	fixture_start_on(&f, &platform, ", 'size': '1MiB', 'block_size': 512");
	assert_false(fixture_is_direct(f.dev));
	assert_int_equal(f.dev->limits.block_size, 512);
	assert_int_equal(f.dev->limits.buf_align, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 512, f.buf + 1, 512, 0), 0);
	fixture_stop(&f);
	/* Without a wish it has the blocks that direct I/O wants. */
	fixture_start_on(&f, &platform, ", 'size': '1MiB'");
	assert_true(fixture_is_direct(f.dev));
	assert_int_equal(f.dev->limits.block_size, 4096);
	assert_int_equal(f.dev->limits.buf_align, 4096);
	fixture_stop(&f);
}

static void test_file_tells_its_parameters(void **state)
{
	json_t *config, *wanted;
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1MiB', 'block_size': 4096, 'direct': false,"
			  " 'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'");
	config = f.dev->ops->config(f.dev);
	wanted = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:b}", "driver", "file", "name",
		"f", "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "filename", f.path, "size",
		MIB, "block_size", 4096, "read_only", 0, "direct", 0);
	assert_true(json_equal(config, wanted));
	json_decref(config);
	json_decref(wanted);
	fixture_stop(&f);
}

/* ---- locks ---- */

static void test_file_is_locked_against_a_second_device(void **state)
{
	struct xu_error err;
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1MiB'");
	assert_null(
		harness_try_create(&f.h, "file", &err, "{'name': 'g', 'filename': '%s'}", f.path));
	assert_int_equal(err.code, -EBUSY);
	assert_non_null(strstr(err.text, f.path));
	assert_null(harness_try_create(
		&f.h, "file", &err, "{'name': 'g', 'filename': '%s', 'read_only': true}", f.path));
	assert_int_equal(err.code, -EBUSY);
	fixture_close_device(&f);
	/* Readers may share it, and keep the writers out. */
	fixture_create(&f, ", 'read_only': true");
	harness_create(&f.h, "file", "{'name': 'g', 'filename': '%s', 'read_only': true}", f.path);
	assert_null(
		harness_try_create(&f.h, "file", &err, "{'name': 'h', 'filename': '%s'}", f.path));
	assert_int_equal(err.code, -EBUSY);
	fixture_finish(&f);
}

static void test_file_is_locked_against_another_process(void **state)
{
	struct fixture f;
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	fixture_prepare(&f, NULL);
	fixture_create(&f, ", 'size': '1MiB'");
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
	fixture_assert_not_made(&f, -EBUSY, "is locked", "");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	/* The end of the process is the end of its lock. */
	fixture_create(&f, "");
	fixture_finish(&f);
}

/* ---- read-only ---- */

static void test_file_read_only_is_never_written(void **state)
{
	struct xbdev_desc *desc;
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1MiB'");
	harness_fill(f.buf, 4096, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), 0);
	fixture_close_device(&f);
	assert_int_equal(chmod(f.path, 0400), 0);
	fixture_create(&f, ", 'read_only': true");
	assert_int_equal(xbdev_desc_open(f.h.ctx, "f", true, NULL, NULL, &desc, NULL), -EROFS);
	fixture_open_device(&f, false);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, 4096, 0), 0);
	assert_memory_equal(f.other, f.buf, 4096);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), -EROFS);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 4096, 0), -EROFS);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 4096, 0), -EROFS);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	fixture_stop(&f);
}

/* ---- resize ---- */

static void test_file_is_resized(void **state)
{
	struct xu_error err;
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1MiB', 'block_size': 4096");
	harness_fill(f.buf, 4096, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, MIB, f.other, 4096, 0), -EINVAL);
	assert_int_equal(fixture_resize_to(&f, 2 * MIB, &err), 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2 * MIB);
	assert_int_equal(fixture_stat_of(f.path).st_size, 2 * MIB);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, MIB, f.buf, 4096, 0), 0);
	assert_int_equal(fixture_resize_to(&f, MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "would lose data"));
	assert_int_equal(fixture_resize_to(&f, 2 * MIB + 512, &err), -EINVAL);
	assert_non_null(strstr(err.text, "block size 4096"));
	assert_int_equal(fixture_stat_of(f.path).st_size, 2 * MIB);
	/* 0: what the file has become by others. */
	assert_int_equal(truncate(f.path, 3 * MIB), 0);
	assert_int_equal(fixture_resize_to(&f, 0, &err), 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 3 * MIB);
	fixture_stop(&f);
}

static void test_file_is_resized_once_at_a_time(void **state)
{
	struct fixture_resize first = {0}, second = {0};
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1MiB'");
	f.dev->ops->resize(f.dev, 2 * MIB, fixture_on_resized, &first);
	f.dev->ops->resize(f.dev, 3 * MIB, fixture_on_resized, &second);
	assert_int_equal(second.nr_done, 1);
	assert_int_equal(second.err.code, -EBUSY);
	harness_wait(&f.h, first.nr_done == 1);
	assert_int_equal(first.err.code, 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2 * MIB);
	fixture_stop(&f);
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
		struct fixture_resize resize = {0};
		bool is_removed = false;
		struct fixture f;

		fixture_prepare(&f, NULL);
		fixture_create(&f, ", 'size': '1MiB'");
		f.dev->ops->resize(f.dev, 2 * MIB, fixture_on_resized, &resize);
		assert_int_equal(xbdev_device_remove(f.dev, on_removed, &is_removed), 0);
		harness_wait(&f.h, is_removed);
		assert_int_equal(resize.nr_done, 1);
		assert_int_equal(resize.err.code, 0);
		assert_int_equal(fixture_stat_of(f.path).st_size, 2 * MIB);
		fixture_finish(&f);
	}
}

static void test_file_read_only_is_not_resized(void **state)
{
	struct xu_error err;
	struct fixture f;

	(void)state;
	fixture_prepare(&f, NULL);
	fixture_create(&f, ", 'size': '1MiB'");
	harness_remove(&f.h, f.dev);
	fixture_create(&f, ", 'read_only': true");
	assert_int_equal(fixture_resize_to(&f, 2 * MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "read-only"));
	fixture_finish(&f);
}

/* ---- what goes wrong ---- */

static void test_file_that_was_cut_off_fails_reads(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, ", 'size': '1MiB'");
	assert_int_equal(truncate(f.path, 8192), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 8192, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 8192, f.buf, 4096, 0), -EIO);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 4096, f.buf, 8192, 0), -EIO);
	fixture_stop(&f);
}

static void test_file_repeats_short_and_interrupted_transfers(void **state)
{
	static const int32_t results[] = {4096, 0, -EINTR, -EAGAIN};
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	fixture_start_on(&f, &platform, ", 'size': '1MiB'");
	harness_fill(f.buf, 8192, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(results); i++) {
		for (uint32_t op = XBDEV_OP_READ; op <= XBDEV_OP_WRITE; op++) {
			int last = results[i] < 0 ? results[i] : -EIO;

			assert_int_equal(fixture_io_with_results(&f, op, 1, results[i]), 0);
			assert_int_equal(fixture_wrong.nr_ops, 2);
			assert_int_equal(fixture_io_with_results(&f, op, 3, results[i]), 0);
			assert_int_equal(fixture_wrong.nr_ops, 4);
			/* Not for ever. */
			assert_int_equal(fixture_io_with_results(&f, op, 4, results[i]), last);
			assert_int_equal(fixture_wrong.nr_ops, 4);
		}
	}
	fixture_stop(&f);
}

static void test_file_reports_what_the_kernel_says(void **state)
{
	static const int32_t results[] = {-EIO, -ENOSPC, -EROFS, -EINVAL};
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	fixture_start_on(&f, &platform, ", 'size': '1MiB'");
	for (uint32_t i = 0; i < ARRAY_SIZE(results); i++) {
		for (uint32_t op = XBDEV_OP_READ; op <= XBDEV_OP_WRITE_ZEROES; op++) {
			if (!(f.dev->ops_mask & (1u << op))) {
				continue;
			}
			assert_int_equal(
				fixture_io_with_results(&f, op, 1, results[i]), results[i]);
			assert_int_equal(fixture_wrong.nr_ops, 1); /* an error is not tried again */
		}
	}
	fixture_stop(&f);
}

/* Through the page cache a durable write is a write and a flush. */
static void test_file_flushes_for_durability_through_the_page_cache(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	fixture_start_on(&f, &platform, ", 'size': '1MiB', 'direct': false");
	fixture_wrong.nr_ops = 0;
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, XBDEV_IO_FUA), 0);
	assert_int_equal(fixture_wrong.nr_ops, 2);
	assert_int_equal(fixture_wrong.last.opcode, XR_OP_FSYNC);
	assert_int_equal(fixture_wrong.last.flags, XR_OP_DATASYNC);
	fixture_stop(&f);
}

/* ---- flushes at a time, through the page cache ---- */

#define NR_FLUSHES 8u

static void on_flushed(struct xbdev_io *io, int status)
{
	struct harness_io *hio = io->cb_arg;

	hio->status = status;
	hio->nr_done++;
}

static void start_flushes(struct fixture *f, struct harness_io flushes[NR_FLUSHES])
{
	for (uint32_t i = 0; i < NR_FLUSHES; i++) {
		harness_io_set(&flushes[i], f->ch, XBDEV_OP_FLUSH, 0, NULL, 0);
		flushes[i].io.cb = on_flushed;
		flushes[i].io.cb_arg = &flushes[i];
		assert_int_equal(xbdev_io_submit(&flushes[i].io), 0);
	}
}

/* Those that come while one runs share the next one, and its error; a cancel ends nothing early. */
static void test_file_shares_flushes(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct harness_io flushes[NR_FLUSHES] = {0};
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	fixture_start_on(&f, &platform, ", 'size': '1MiB', 'direct': false");
	for (uint32_t round = 0; round < 2; round++) {
		fixture_wrong.nr_ops = 0;
		fixture_wrong.nr_wrong = round; /* the first of the second round fails */
		fixture_wrong.result = -EIO;
		start_flushes(&f, flushes);
		xbdev_io_cancel(&flushes[NR_FLUSHES / 2].io);
		for (uint32_t i = 0; i < NR_FLUSHES; i++) {
			harness_wait(&f.h, flushes[i].nr_done == 1);
			assert_int_equal(flushes[i].status, round == 0 ? 0 : -EIO);
		}
		assert_true(fixture_wrong.nr_ops >= 1 && fixture_wrong.nr_ops <= 2);
	}
	fixture_stop(&f);
}

/* A sync of the file that was begun by a resize may be the one that is told of the loss. */
static atomic_bool is_sync_held, is_in_sync;

static int fail_held_sync(const struct xr_platform *platform, int fd)
{
	if (!atomic_load(&is_sync_held)) {
		return xr_platform_linux()->file_sync(platform, fd);
	}
	atomic_store(&is_in_sync, true);
	while (atomic_load(&is_sync_held)) {
		usleep(100);
	}
	return -EIO;
}

static void test_file_flush_ends_after_a_resize(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct harness_io flushes[NR_FLUSHES] = {0};
	struct fixture_resize resize = {0};
	struct fixture f;

	(void)state;
	platform.file_sync = fail_held_sync;
	fixture_start_on(&f, &platform, ", 'size': '1MiB', 'direct': false");
	atomic_store(&is_sync_held, true);
	f.dev->ops->resize(f.dev, 2 * MIB, fixture_on_resized, &resize);
	harness_wait(&f.h, atomic_load(&is_in_sync));
	start_flushes(&f, flushes);
	harness_poll_times(&f.h, 200);
	for (uint32_t i = 0; i < NR_FLUSHES; i++) {
		assert_int_equal(flushes[i].nr_done, 0);
	}
	atomic_store(&is_sync_held, false);
	for (uint32_t i = 0; i < NR_FLUSHES; i++) {
		harness_wait(&f.h, flushes[i].nr_done == 1);
		assert_int_equal(flushes[i].status, -EIO);
	}
	harness_wait(&f.h, resize.nr_done == 1);
	assert_int_equal(resize.err.code, -EIO);
	fixture_stop(&f);
}

static void test_file_asks_the_kernel_for_durability(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	fixture_start_on(&f, &platform, ", 'size': '1MiB'");
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, 0), 0);
	assert_int_equal(fixture_wrong.last.opcode, XR_OP_WRITE);
	assert_int_equal(fixture_wrong.last.flags, 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 4096, XBDEV_IO_FUA), 0);
	assert_int_equal(fixture_wrong.last.opcode, XR_OP_WRITE);
	assert_int_equal(fixture_wrong.last.flags, XR_OP_DSYNC);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	assert_int_equal(fixture_wrong.last.opcode, XR_OP_FSYNC);
	assert_int_equal(fixture_wrong.last.flags, XR_OP_DATASYNC);
	/* Zeroes with FUA end with a flush. */
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 4096, XBDEV_IO_FUA), 0);
	assert_int_equal(fixture_wrong.last.opcode,
		f.dev->ops_mask & MASK(WRITE_ZEROES) ? XR_OP_FSYNC : XR_OP_WRITE);
	fixture_stop(&f);
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
		cmocka_unit_test(test_file_is_resized),
		cmocka_unit_test(test_file_is_resized_once_at_a_time),
		cmocka_unit_test(test_file_is_removed_after_it_has_been_resized),
		cmocka_unit_test(test_file_read_only_is_not_resized),
		cmocka_unit_test(test_file_that_was_cut_off_fails_reads),
		cmocka_unit_test(test_file_repeats_short_and_interrupted_transfers),
		cmocka_unit_test(test_file_reports_what_the_kernel_says),
		cmocka_unit_test(test_file_asks_the_kernel_for_durability),
		cmocka_unit_test(test_file_flushes_for_durability_through_the_page_cache),
		cmocka_unit_test(test_file_shares_flushes),
		cmocka_unit_test(test_file_flush_ends_after_a_resize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
