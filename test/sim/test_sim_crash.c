/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a power failure may and may not do: what is durable stays, of the rest any part may be
 * there, sector by sector; at every crash point of the log as well as at this moment. And what
 * becomes of a host that has failed or was killed.
 */
#include "test/sim/test_op.h"

#include <errno.h>

#include "lib/util/clock.h"

#define BLOCK 4096u
#define SIZE  (8 * BLOCK)

struct fixture {
	struct sim *sim;
	struct sim_host *host;
	struct xr_reactor *reactor;
	struct sim_disk *disk;
	int fd;
};

static struct fixture fixture_new(uint64_t seed, const struct sim_disk_opts *opts)
{
	struct sim_disk_opts plain = {.size_bytes = SIZE};
	struct fixture f = {.sim = sim_new(seed)};

	f.host = sim_host_new(f.sim, "a", NULL);
	f.reactor = test_reactor(f.host);
	f.disk = sim_disk_new(f.host, "/d", opts != NULL ? opts : &plain);
	f.fd = test_open(f.host, "/d", NULL);
	assert_true(f.fd >= 0);
	return f;
}

static void fixture_free(struct fixture *f)
{
	test_close(f->host, f->fd);
	xr_reactor_free(f->reactor);
	sim_free(f->sim);
}

/* Writes `len` bytes of one value. */
static void put(struct fixture *f, uint8_t flags, uint64_t offset, char value, size_t len)
{
	char buf[BLOCK];

	memset(buf, value, len);
	assert_int_equal(
		test_do_rw(f->sim, f->reactor, XR_OP_WRITE, flags, f->fd, offset, buf, len), len);
}

static void flush(struct fixture *f)
{
	assert_int_equal(test_do_fsync(f->sim, f->reactor, f->fd), 0);
}

/* The first byte at `offset` after a crash at `point`. */
static char byte_after(
	struct fixture *f, uint64_t point, enum sim_tail tail, uint64_t seed, uint64_t offset)
{
	const struct sim_crash crash = {.tail = tail, .seed = seed};
	struct sim_image *image = sim_disk_crash_image(f->disk, point, &crash);
	char byte;

	sim_image_read(image, offset, &byte, 1);
	sim_image_free(image);
	return byte;
}

static char byte_now(struct fixture *f, enum sim_tail tail, uint64_t offset)
{
	return byte_after(f, sim_disk_point(f->disk), tail, 0, offset);
}

static void test_write_is_volatile_until_flushed(void **state)
{
	struct fixture f = fixture_new(1, NULL);

	put(&f, 0, 0, 1, 512);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
	assert_int_equal(byte_now(&f, SIM_TAIL_ALL, 0), 1);
	flush(&f);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	put(&f, 0, 0, 2, 512);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	assert_int_equal(byte_now(&f, SIM_TAIL_ALL, 0), 2);
	fixture_free(&f);
}

static void test_dsync_write_is_durable_and_nothing_else(void **state)
{
	struct fixture f = fixture_new(1, NULL);

	put(&f, 0, 0, 1, 512);
	put(&f, XR_OP_DSYNC, 512, 2, 512);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 512), 2);
	fixture_free(&f);
}

static void test_write_through_disk_keeps_everything(void **state)
{
	struct fixture f =
		fixture_new(1, &(struct sim_disk_opts){.size_bytes = SIZE, .no_write_cache = true});

	put(&f, 0, 0, 1, 512);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	fixture_free(&f);
}

/* A flush is about what had completed when it was submitted, and only once it has completed. */
static void test_flush_covers_what_had_completed_before(void **state)
{
	uint32_t nr_overlaps = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct fixture f = fixture_new(seed, NULL);
		struct test_op write = {0}, fsync = {0};
		char buf[512];

		memset(buf, 2, sizeof(buf));
		put(&f, 0, 0, 1, 512);
		test_rw(f.sim, f.reactor, &write, XR_OP_WRITE, f.fd, 512, buf, sizeof(buf));
		assert_int_equal(sim_run_for(f.sim, 0), 0); /* the kernel has the write */
		test_submit(f.sim, f.reactor, &fsync, XR_OP_FSYNC, f.fd);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
		test_wait(&fsync);
		nr_overlaps += write.result != PENDING;
		test_wait(&write);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 512), 0); /* even if it was earlier */
		flush(&f);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 512), 2);
		fixture_free(&f);
	}
	assert_in_range(nr_overlaps, 5, 35);
}

static void test_broken_disks_lose_what_they_acknowledged(void **state)
{
	struct fixture f =
		fixture_new(1, &(struct sim_disk_opts){.size_bytes = SIZE, .drops_flush = true});

	put(&f, 0, 0, 1, 512);
	flush(&f);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
	put(&f, XR_OP_DSYNC, 0, 1, 512);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	fixture_free(&f);
	f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = SIZE, .drops_dsync = true});
	put(&f, XR_OP_DSYNC, 0, 1, 512);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
	flush(&f);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	fixture_free(&f);
}

static void test_discards_and_zeroes_are_volatile_too(void **state)
{
	static const int modes[] = {PUNCH_MODE, ZERO_MODE};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct fixture f = fixture_new(1, NULL);

		put(&f, XR_OP_DSYNC, 0, 1, BLOCK);
		assert_int_equal(test_do_fallocate(f.sim, f.reactor, f.fd, modes[i], 0, BLOCK), 0);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
		assert_int_equal(byte_now(&f, SIM_TAIL_ALL, 0), 0);
		flush(&f);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
		fixture_free(&f);
	}
}

static void test_size_is_volatile_too(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1024});
	const struct xr_platform *platform = sim_host_platform(f.host);
	const struct sim_crash none = {.tail = SIM_TAIL_NONE};
	struct sim_image *image;

	assert_int_equal(platform->file_resize(platform, f.fd, 4096), 0);
	put(&f, 0, 2048, 1, 512);
	put(&f, 0, 4096, 1, 512); /* grows by itself */
	image = sim_disk_crash_image(f.disk, sim_disk_point(f.disk), &none);
	assert_int_equal(sim_image_size(image), 1024);
	sim_image_free(image);
	put(&f, XR_OP_DSYNC, 3072, 1, 512); /* needs the size that was set, not the other data */
	image = sim_disk_crash_image(f.disk, sim_disk_point(f.disk), &none);
	assert_int_equal(sim_image_size(image), 4096);
	sim_image_free(image);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 3072), 1);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 2048), 0);
	flush(&f);
	image = sim_disk_crash_image(f.disk, sim_disk_point(f.disk), &none);
	assert_int_equal(sim_image_size(image), 4608);
	sim_image_free(image);
	fixture_free(&f);
}

static void test_blocking_sync_is_a_flush(void **state)
{
	struct fixture f = fixture_new(1, &(struct sim_disk_opts){.size_bytes = 1024});
	const struct xr_platform *platform = sim_host_platform(f.host);
	const struct sim_crash none = {.tail = SIM_TAIL_NONE};
	struct sim_image *image;

	put(&f, 0, 0, 1, 512);
	assert_int_equal(platform->file_resize(platform, f.fd, 4096), 0);
	assert_int_equal(platform->file_sync(platform, f.fd), 0);
	put(&f, 0, 512, 1, 512);
	image = sim_disk_crash_image(f.disk, sim_disk_point(f.disk), &none);
	assert_int_equal(sim_image_size(image), 4096);
	sim_image_free(image);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 512), 0);
	assert_int_equal(platform->file_sync(platform, 99), -EBADF);
	fixture_free(&f);
}

/* Three unflushed writes in a row: over many crashes every subset of them is seen. */
static void test_any_subset_of_the_tail_survives(void **state)
{
	struct fixture f = fixture_new(1, NULL);
	uint32_t seen[8] = {0};

	for (uint32_t i = 0; i < 3; i++) {
		put(&f, 0, i * BLOCK, 1, 512);
	}
	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint32_t subset = 0;

		for (uint32_t i = 0; i < 3; i++) {
			char byte = byte_after(
				&f, sim_disk_point(f.disk), SIM_TAIL_RANDOM, seed, i * BLOCK);

			subset |= (uint32_t)byte << i;
		}
		seen[subset]++;
	}
	for (int i = 0; i < 8; i++) {
		assert_true(seen[i] > 0);
	}
	fixture_free(&f);
}

/* Of two unflushed writes to one place, nothing, the first or the second is left. */
static void test_overwritten_data_may_come_back_until_flushed(void **state)
{
	struct fixture f = fixture_new(1, NULL);
	uint32_t seen[4] = {0};

	put(&f, 0, 0, 1, 512);
	put(&f, 0, 0, 2, 512);
	for (uint64_t seed = 1; seed <= 100; seed++) {
		seen[(int)byte_after(&f, sim_disk_point(f.disk), SIM_TAIL_RANDOM, seed, 0)]++;
	}
	assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
	flush(&f);
	put(&f, 0, 0, 3, 512);
	for (uint64_t seed = 1; seed <= 100; seed++) {
		assert_in_range(
			byte_after(&f, sim_disk_point(f.disk), SIM_TAIL_RANDOM, seed, 0), 2, 3);
	}
	fixture_free(&f);
}

/* Returns a bit for each sector that is new; a sector itself is old or new as a whole. */
static uint32_t new_sectors(const struct sim_image *image, uint32_t sector_bytes)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < BLOCK / sector_bytes; i++) {
		char sector[BLOCK];

		sim_image_read(image, (uint64_t)i * sector_bytes, sector, sector_bytes);
		for (uint32_t j = 1; j < sector_bytes; j++) {
			assert_int_equal(sector[j], sector[0]);
		}
		bits |= (uint32_t)(sector[0] == 2) << i;
	}
	return bits;
}

static void test_writes_are_torn_at_sectors(void **state)
{
	static const uint32_t sizes[] = {512, 1024, 4096};

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct fixture f = fixture_new(
			1, &(struct sim_disk_opts){.size_bytes = SIZE, .sector_bytes = sizes[s]});
		uint32_t all = (uint32_t)((1ull << (BLOCK / sizes[s])) - 1), nr_torn = 0, any = 0;

		put(&f, XR_OP_DSYNC, 0, 1, BLOCK);
		put(&f, 0, 0, 2, BLOCK);
		for (uint64_t seed = 1; seed <= 200; seed++) {
			struct sim_crash crash = {.seed = seed};
			struct sim_image *image =
				sim_disk_crash_image(f.disk, sim_disk_point(f.disk), &crash);
			uint32_t bits = new_sectors(image, sizes[s]);

			sim_image_free(image);
			nr_torn += bits != 0 && bits != all;
			any |= bits;
			crash.no_torn = true;
			image = sim_disk_crash_image(f.disk, sim_disk_point(f.disk), &crash);
			bits = new_sectors(image, sizes[s]);
			assert_true(bits == 0 || bits == all);
			sim_image_free(image);
		}
		assert_int_equal(any, all);
		assert_true(sizes[s] == BLOCK ? nr_torn == 0 : nr_torn > 20);
		fixture_free(&f);
	}
}

/* A write that the disk has not even finished may be on it, and one not submitted never. */
static void test_write_in_flight_is_possible(void **state)
{
	struct fixture f = fixture_new(1, NULL);
	struct test_op top = {0};
	uint64_t before = sim_disk_point(f.disk);
	char buf[512];

	memset(buf, 1, sizeof(buf));
	test_rw(f.sim, f.reactor, &top, XR_OP_WRITE, f.fd, 0, buf, sizeof(buf));
	assert_int_equal(sim_run_for(f.sim, 0), 0);
	assert_int_equal(sim_disk_point(f.disk), before + 1);
	assert_int_equal(byte_now(&f, SIM_TAIL_ALL, 0), 1);
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 0);
	assert_int_equal(byte_after(&f, before, SIM_TAIL_ALL, 0, 0), 0);
	test_wait(&top);
	assert_int_equal(sim_disk_point(f.disk), before + 3); /* submitted, applied, completed */
	for (uint64_t point = before + 1; point <= before + 3; point++) {
		assert_int_equal(byte_after(&f, point, SIM_TAIL_ALL, 0, 0), 1);
	}
	fixture_free(&f);
}

static void test_crash_points_walk_through_the_run(void **state)
{
	struct fixture f = fixture_new(1, NULL);
	const struct sim_log_entry *entry;
	uint64_t points[6];

	for (char i = 0; i < 5; i++) {
		points[(int)i] = sim_disk_point(f.disk);
		put(&f, XR_OP_DSYNC, 0, (char)(i + 1), 512);
	}
	points[5] = sim_disk_point(f.disk);
	for (int i = 0; i <= 5; i++) {
		assert_int_equal(byte_after(&f, points[i], SIM_TAIL_NONE, 0, 0), i);
		assert_int_equal(byte_after(&f, points[i], SIM_TAIL_RANDOM, 0, 0), i);
		assert_int_equal(byte_after(&f, points[i], SIM_TAIL_ALL, 0, 0), i);
	}
	assert_int_equal(sim_disk_log_count(f.disk), 5);
	entry = sim_disk_log_entry(f.disk, 3);
	assert_int_equal(entry->kind, SIM_LOG_WRITE);
	assert_true(entry->is_dsync && entry->len == 512 && entry->result == 512);
	assert_int_equal(*(char *)entry->data, 4);
	sim_disk_log_reset(f.disk);
	assert_int_equal(sim_disk_point(f.disk), 0);
	assert_int_equal(byte_after(&f, 0, SIM_TAIL_NONE, 0, 0), 5);
	fixture_free(&f);
}

static void random_op(struct fixture *f)
{
	struct xu_random *random = sim_random(f->sim);
	uint64_t offset = xu_random_below(random, SIZE / 512) * 512;
	uint8_t flags;

	switch (xu_random_below(random, 6)) {
	case 0:
		flush(f);
		break;
	case 1:
		assert_int_equal(
			test_do_fallocate(f->sim, f->reactor, f->fd, PUNCH_MODE, offset, 1024), 0);
		break;
	default:
		flags = xu_random_below(random, 4) == 0 ? XR_OP_DSYNC : 0;
		put(f, flags, offset, (char)xu_random_u64(random), 512);
		break;
	}
}

/* A log that forgets what is settled gives the same disks as one that keeps everything. */
static void test_trimmed_log_means_the_same(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct fixture whole = fixture_new(seed, NULL), trimmed = fixture_new(seed, NULL);
		uint64_t count = 0;

		for (int i = 0; i < 60; i++) {
			random_op(&whole);
			random_op(&trimmed);
			if (i % 7 == 6) {
				sim_disk_log_trim(trimmed.disk);
			}
			for (enum sim_tail tail = SIM_TAIL_NONE; tail <= SIM_TAIL_ALL; tail++) {
				const struct sim_crash crash = {.tail = tail};
				uint64_t point = sim_disk_point(whole.disk);
				struct sim_image *a, *b;

				assert_int_equal(sim_disk_point(trimmed.disk), point);
				a = sim_disk_crash_image(whole.disk, point, &crash);
				b = sim_disk_crash_image(trimmed.disk, point, &crash);
				assert_int_equal(sim_image_hash(a), sim_image_hash(b));
				sim_image_free(a);
				sim_image_free(b);
			}
			count += sim_disk_log_count(whole.disk) - sim_disk_log_count(trimmed.disk);
		}
		assert_true(count > 100);
		fixture_free(&whole);
		fixture_free(&trimmed);
	}
}

/* ---- disks and hosts that fail ---- */

static void test_disk_power_failure_fails_what_is_in_flight(void **state)
{
	const struct sim_crash none = {.tail = SIM_TAIL_NONE};
	const struct sim_fault hang = {.kind = SIM_FAULT_HANG, .count = 1};
	struct fixture f = fixture_new(1, NULL);
	struct test_op tops[2] = {0};
	char buf[512] = {1};

	put(&f, 0, 0, 1, 512);
	flush(&f);
	put(&f, 0, 0, 2, 512);
	sim_disk_fault_add(f.disk, &hang);
	for (int i = 0; i < 2; i++) {
		test_rw(f.sim, f.reactor, &tops[i], XR_OP_READ, f.fd, 0, buf, 512);
	}
	assert_int_equal(sim_run_for(f.sim, 0), 0);
	sim_disk_power_fail(f.disk, &none);
	assert_int_equal(test_wait(&tops[0]), -EIO);
	assert_int_equal(test_wait(&tops[1]), -EIO);
	assert_int_equal(test_do_rw(f.sim, f.reactor, XR_OP_READ, 0, f.fd, 0, buf, 512), 512);
	assert_int_equal(buf[0], 1);
	assert_int_equal(sim_disk_point(f.disk), 0); /* what is left is durable */
	assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 0), 1);
	fixture_free(&f);
}

struct chain {
	struct xr_work work;
	struct test_op top;
	struct fixture *f;
	char buf[512];
	uint32_t nr_done;
	bool is_over;
};

static void on_chain_work(struct xr_work *work)
{
	xu_container_of(work, struct chain, work)->nr_done++;
}

static void on_chain_done(struct xr_work *work)
{
	struct chain *chain = xu_container_of(work, struct chain, work);

	chain->is_over = true;
}

static bool is_chain_over(void *arg)
{
	return ((struct chain *)arg)->is_over;
}

/* The dead do nothing; buried, they hear of the end; the disk belongs to the next host. */
static void test_host_power_failure(void **state)
{
	const struct sim_crash none = {.tail = SIM_TAIL_NONE};
	struct fixture f = fixture_new(1, NULL);
	struct chain chain = {.work = {.work = on_chain_work, .done = on_chain_done}, .f = &f};
	struct xr_file_opts writer = {.exclusive = true};
	struct sim_host *dead = f.host;
	struct xr_reactor *reactor;
	int locked = test_open(dead, "/d", &writer), fd;
	char byte;

	put(&f, XR_OP_DSYNC, 0, 1, 512);
	put(&f, 0, 0, 2, 512);
	test_rw(f.sim, f.reactor, &chain.top, XR_OP_WRITE, f.fd, 512, chain.buf, 512);
	xr_work_submit(f.reactor, &chain.work);
	assert_int_equal(sim_run_for(f.sim, 0), 0);
	sim_host_power_fail(dead, &none);
	assert_int_equal(sim_run_for(f.sim, 10 * XU_NS_PER_S), 0);
	assert_int_equal(chain.nr_done, 0);
	assert_int_equal(chain.top.result, PENDING);

	f.host = sim_host_reboot(dead);
	assert_string_equal(sim_host_address(f.host), sim_host_address(dead));
	reactor = test_reactor(f.host);
	fd = test_open(f.host, "/d", &writer); /* locks have died with their holder */
	assert_true(fd >= 0);
	assert_int_equal(test_do_rw(f.sim, reactor, XR_OP_READ, 0, fd, 0, &byte, 1), 1);
	assert_int_equal(byte, 1);

	sim_host_bury(dead);
	assert_int_equal(sim_run(f.sim, is_chain_over, &chain, XU_NS_PER_S), 0);
	assert_int_equal(test_wait(&chain.top), -EIO);
	assert_int_equal(
		test_do_rw(f.sim, f.reactor, XR_OP_WRITE, 0, f.fd, 0, chain.buf, 512), -EIO);
	assert_int_equal(test_open(dead, "/d", NULL), -EIO);
	test_close(dead, locked);
	test_close(dead, f.fd);
	xr_reactor_free(f.reactor);
	assert_int_equal(test_open(f.host, "/d", &writer), -EBUSY); /* the new one's lock holds */
	assert_int_equal(test_do_rw(f.sim, reactor, XR_OP_READ, 0, fd, 0, &byte, 1), 1);
	assert_int_equal(byte, 1);
	f.fd = fd;
	f.reactor = reactor;
	fixture_free(&f);
}

/* A killed process loses nothing that has completed; what was in flight happens or not. */
static void test_host_kill(void **state)
{
	uint32_t seen[2] = {0};

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct fixture f = fixture_new(seed, NULL);
		struct sim_host *dead = f.host;
		struct test_op top = {0};
		char buf[512], byte;

		memset(buf, 1, sizeof(buf));
		put(&f, 0, 512, 7, 512);
		test_rw(f.sim, f.reactor, &top, XR_OP_WRITE, f.fd, 0, buf, sizeof(buf));
		assert_int_equal(sim_run_for(f.sim, 0), 0);
		sim_host_kill(dead);
		sim_host_bury(dead);
		assert_int_equal(test_wait(&top), -EIO);
		test_close(dead, f.fd);
		xr_reactor_free(f.reactor);
		f.host = sim_host_reboot(dead);
		f.reactor = test_reactor(f.host);
		f.fd = test_open(f.host, "/d", NULL);
		sim_disk_read(f.disk, 512, &byte, 1);
		assert_int_equal(byte, 7);
		/* It is still not durable: the power may fail later. */
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 512), 0);
		flush(&f);
		assert_int_equal(byte_now(&f, SIM_TAIL_NONE, 512), 7);
		sim_disk_read(f.disk, 0, &byte, 1);
		seen[(int)byte]++;
		fixture_free(&f);
	}
	assert_true(seen[0] > 5 && seen[1] > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_is_volatile_until_flushed),
		cmocka_unit_test(test_dsync_write_is_durable_and_nothing_else),
		cmocka_unit_test(test_write_through_disk_keeps_everything),
		cmocka_unit_test(test_flush_covers_what_had_completed_before),
		cmocka_unit_test(test_broken_disks_lose_what_they_acknowledged),
		cmocka_unit_test(test_discards_and_zeroes_are_volatile_too),
		cmocka_unit_test(test_size_is_volatile_too),
		cmocka_unit_test(test_blocking_sync_is_a_flush),
		cmocka_unit_test(test_any_subset_of_the_tail_survives),
		cmocka_unit_test(test_overwritten_data_may_come_back_until_flushed),
		cmocka_unit_test(test_writes_are_torn_at_sectors),
		cmocka_unit_test(test_write_in_flight_is_possible),
		cmocka_unit_test(test_crash_points_walk_through_the_run),
		cmocka_unit_test(test_trimmed_log_means_the_same),
		cmocka_unit_test(test_disk_power_failure_fails_what_is_in_flight),
		cmocka_unit_test(test_host_power_failure),
		cmocka_unit_test(test_host_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
