/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/file.c: DISCARD and WRITE ZEROES, on real files, on files whose kernel stops
 * doing what it did, and on a loop device where the test may make one.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "test/unit/xbdev/file_fixture.h"
#include "test/unit/xbdev/model.h"

/* ---- what works ---- */

static void discard_and_look(const char *params)
{
	struct fixture f;
	uint64_t full;

	fixture_start(&f, params);
	if (!(f.dev->ops_mask & MASK(DISCARD))) {
		print_message("skipped: this file system punches no holes\n");
		fixture_stop(&f);
		skip();
	}
	harness_fill(f.buf, MIB, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, MIB, 0), 0);
	full = fixture_allocated(&f);
	assert_true(full >= MIB);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 256 * KIB, NULL, 512 * KIB, 0), 0);
	assert_true(fixture_allocated(&f) <= full - 512 * KIB + MAP_BYTES);
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
	assert_int_equal(fixture_stat_of(f.path).st_size, 2 * MIB);
	/* At the very end of the file its size stays. */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 2 * MIB, 0), 0);
	assert_int_equal(fixture_stat_of(f.path).st_size, 2 * MIB);
	assert_true(fixture_allocated(&f) <= 64 * KIB);
	fixture_stop(&f);
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
	full = fixture_allocated(f);
	assert_int_equal(harness_io(&f->h, f->ch, XBDEV_OP_WRITE_ZEROES, 256 * KIB, NULL, 512 * KIB,
				 XBDEV_IO_FUA),
		0);
	assert_true(fixture_allocated(f) >=
		    full); /* zeroes are no hole: there is place to write later */
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
	fixture_start(&f, ", 'size': '2MiB'");
	zero_and_look(&f);
	if (f.dev->ops_mask & MASK(DISCARD)) {
		full = fixture_allocated(&f);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512 * KIB,
					 XBDEV_IO_MAY_UNMAP),
			0);
		assert_true(fixture_allocated(&f) <= full - 512 * KIB + MAP_BYTES);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other, MIB, 0), 0);
		assert_true(harness_is_zero(f.other, 768 * KIB));
	}
	fixture_stop(&f);
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
	fixture_prepare(&f, NULL);
	snprintf(tmpfs_path, sizeof(tmpfs_path), "/dev/shm/xbdev-test-%d", (int)getpid());
	snprintf(f.path, sizeof(f.path), "%s", tmpfs_path);
	fixture_create(&f, ", 'size': '2MiB'");
	fixture_open_device(&f, true);
	zero_and_look(&f);
	fixture_stop(&f);
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
	fixture_start_on(&f, &platform, ", 'size': '2MiB'");
	assert_int_equal(f.dev->ops_mask & (MASK(DISCARD) | MASK(WRITE_ZEROES)), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 4096, 0), -EOPNOTSUPP);
	zero_and_look(&f);
	fixture_stop(&f);
}

/* ---- what stops working ---- */

/* A device whose kernel or disk refuses, from now on, what it said it could. */
static void start_refusing(
	struct fixture *f, const struct xr_platform *platform, const char *params)
{
	fixture_wrong.refuses_punch = fixture_wrong.refuses_zero = false;
	fixture_start_on(f, platform, params);
	fixture_wrong.nr_fallocates = 0;
}

static int teardown_refusing(void **state)
{
	(void)state;
	fixture_wrong.refuses_punch = fixture_wrong.refuses_zero = false;
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

static void skip_without(struct fixture *f, uint32_t ops)
{
	if ((f->dev->ops_mask & ops) != ops) {
		print_message("skipped: this file system has no such fallocate\n");
		fixture_stop(f);
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
	platform.ring_new = fixture_wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '4MiB', 'block_size': 512");
	skip_without(&f, MASK(WRITE_ZEROES));
	fill_all(&f);
	full = fixture_allocated(&f);
	assert_int_equal(fixture_info_of(&f, "zero_range"), 1);
	fixture_wrong.refuses_zero = true;
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, offset, NULL, len, XBDEV_IO_FUA), 0);
	assert_zeroed(&f, offset, len);
	assert_true(fixture_allocated(&f) >= full);
	assert_int_equal(fixture_wrong.nr_fallocates, 1);
	assert_int_equal(fixture_info_of(&f, "zero_range"), 0);
	assert_int_equal(fixture_info_of(&f, "zeroes_written"), 1);
	/* It is not asked again. */
	fill_all(&f);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 512, NULL, 512, 0), 0);
	assert_zeroed(&f, 512, 512);
	assert_int_equal(fixture_wrong.nr_fallocates, 1);
	assert_int_equal(fixture_info_of(&f, "zeroes_written"), 2);
	/* A write of zeroes is as good as any other, and as bad. */
	assert_int_equal(fixture_io_with_results(&f, XBDEV_OP_WRITE_ZEROES, 3, 4096), 0);
	assert_int_equal(fixture_wrong.nr_ops, 4);
	assert_int_equal(fixture_io_with_results(&f, XBDEV_OP_WRITE_ZEROES, 4, 4096), -EIO);
	assert_int_equal(fixture_io_with_results(&f, XBDEV_OP_WRITE_ZEROES, 1, -ENOSPC), -ENOSPC);
	fixture_stop(&f);
}

static void test_file_zeroes_without_holes_when_it_must(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '4MiB'");
	skip_without(&f, MASK(WRITE_ZEROES) | MASK(DISCARD));
	fill_all(&f);
	fixture_wrong.refuses_punch = true;
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 4096, NULL, MIB, XBDEV_IO_MAY_UNMAP),
		0);
	assert_zeroed(&f, 4096, MIB);
	assert_int_equal(fixture_wrong.nr_fallocates, 2);
	assert_int_equal(fixture_info_of(&f, "punch_hole"), 0);
	assert_int_equal(fixture_info_of(&f, "zeroes_written"), 0);
	fill_all(&f);
	fixture_wrong.refuses_zero = true;
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 4096, NULL, 2 * MIB,
				 XBDEV_IO_MAY_UNMAP),
		0);
	assert_zeroed(&f, 4096, 2 * MIB);
	assert_int_equal(fixture_wrong.nr_fallocates, 3);
	assert_int_equal(fixture_info_of(&f, "zeroes_written"), 1);
	fixture_stop(&f);
}

/* Nothing says that old data is gone which is still there. */
static void test_file_refuses_discards_that_do_nothing(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '4MiB'");
	skip_without(&f, MASK(DISCARD));
	fill_all(&f);
	fixture_wrong.refuses_punch = true;
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 2 * MIB, 0), -EOPNOTSUPP);
		assert_int_equal(fixture_wrong.nr_fallocates, 1);
	}
	assert_zeroed(&f, 0, 0);
	/* It takes no more than "not supported" to give up; other errors pass. */
	fixture_stop(&f);
	start_refusing(&f, &platform, ", 'size': '4MiB'");
	assert_int_equal(fixture_io_with_results(&f, XBDEV_OP_DISCARD, 1, -EIO), -EIO);
	assert_int_equal(fixture_info_of(&f, "punch_hole"), 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 4096, 0), 0);
	fixture_stop(&f);
}

/* A long range does not keep a device that is going. */
static void test_file_stops_writing_zeroes_when_it_goes(void **state)
{
	struct xr_platform platform = *xr_platform_linux();
	struct harness_io hio;
	struct fixture f;

	(void)state;
	platform.ring_new = fixture_wrong_ring_new;
	start_refusing(&f, &platform, ", 'size': '512MiB'");
	skip_without(&f, MASK(WRITE_ZEROES));
	fixture_wrong.refuses_zero = true;
	fixture_wrong.nr_ops = 0;
	harness_io_set(&hio, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512 * MIB);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_wait(&f.h, fixture_wrong.nr_ops >= 4);
	assert_int_equal(xbdev_device_remove(f.dev, NULL, NULL), 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ENODEV);
	assert_true(fixture_wrong.nr_ops < 100);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, xbdev_device_next(f.h.ctx, NULL) == NULL);
	fixture_finish(&f);
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

	fixture_prepare(&f, platform);
	snprintf(f.path, sizeof(f.path), "%s", loop_path);
	if (sector_size == 4096) {
		fixture_assert_not_made(
			&f, -EINVAL, "has blocks of 4096 bytes", ", 'block_size': 512");
	}
	fixture_create(&f, "");
	fixture_open_device(&f, true);
	assert_string_equal(f.dev->product, "block device");
	assert_int_equal(f.dev->limits.block_size, sector_size);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 8 * MIB);
	assert_true(fixture_is_direct(f.dev));
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
	fixture_close_device(&f);
	/* The node itself is untouched, and somebody who has it for himself keeps us out. */
	assert_int_equal(stat(loop_path, &st), 0);
	assert_true(S_ISBLK(st.st_mode));
	fixture_finish(&f);
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
	platform.ring_new = fixture_wrong_ring_new;
	for (uint32_t i = 0; i < 3; i++) {
		struct fixture f;

		if (i > 0) {
			platform.file_discard = i == 1 ? ignore_discard : refuse_zeroing;
		}
		fixture_wrong.refuses_punch = fixture_wrong.refuses_zero = false;
		fixture_prepare(&f, &platform);
		snprintf(f.path, sizeof(f.path), "%s", loop_path);
		fixture_create(&f, "");
		fixture_open_device(&f, true);
		if (fixture_info_of(&f, "punch_hole") == 0) {
			print_message("skipped: this loop device does not deallocate\n");
			fixture_stop(&f);
			skip();
		}
		fill_all(&f);
		fixture_wrong.nr_fallocates = 0;
		fixture_wrong.refuses_punch = fixture_wrong.refuses_zero = true;
		for (uint32_t n = 1; n < 3; n++) {
			assert_int_equal(
				harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 4096, NULL, n * MIB, 0),
				0);
			assert_zeroed(&f, 4096, n * MIB);
		}
		assert_int_equal(fixture_wrong.nr_fallocates, 1);
		assert_int_equal(fixture_info_of(&f, "punch_hole"), 0);
		assert_int_equal(fixture_info_of(&f, "zeroes_written"), i == 2 ? 2 : 0);
		fixture_stop(&f);
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
	fixture_prepare(&f, NULL);
	snprintf(f.path, sizeof(f.path), "%s", loop_path);
	fd = open(loop_path, O_RDWR | O_EXCL); /* as a mount does */
	assert_true(fd >= 0);
	fixture_assert_not_made(&f, -EBUSY, "mounted, or used by another program", "");
	close(fd);
	fixture_create(&f, "");
	assert_int_equal(fixture_resize_to(&f, 16 * MIB, &err), -EINVAL);
	assert_non_null(strstr(err.text, "a block device"));
	assert_int_equal(fixture_resize_to(&f, 0, &err), 0);
	fixture_finish(&f);
	free_loop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_discard_frees_space_and_reads_zeroes),
		cmocka_unit_test(test_file_zeroes_keep_their_space_unless_told),
		cmocka_unit_test_teardown(
			test_file_zeroes_keep_their_space_on_tmpfs, teardown_tmpfs),
		cmocka_unit_test(test_file_without_holes_writes_zeroes),
		cmocka_unit_test_teardown(test_file_writes_zeroes_when_it_must, teardown_refusing),
		cmocka_unit_test_teardown(
			test_file_zeroes_without_holes_when_it_must, teardown_refusing),
		cmocka_unit_test_teardown(
			test_file_refuses_discards_that_do_nothing, teardown_refusing),
		cmocka_unit_test_teardown(
			test_file_stops_writing_zeroes_when_it_goes, teardown_refusing),
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
