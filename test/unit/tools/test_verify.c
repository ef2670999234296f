/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verification of xbdev-perf finds in blocks that a device gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/perf.h"

#define BS 4096u

struct world {
	struct perf_run run;
	struct perf_job job;
};

static void set_up(struct world *world, uint32_t read_percent)
{
	*world = (struct world){
		.run = {.options = {.bs = BS,
				.depth = 2,
				.read_percent = read_percent,
				.verifies = true},
			.id = 77},
		.job = {.first_byte = 1 << 20, .nr_blocks = 8, .device = "disk"},
	};
	world->job.run = &world->run;
	/* What is said of faults is not looked at here. */
	atomic_store(&world->run.nr_said, 100);
	assert_true(perf_verify_init(&world->job));
}

static void tear_down(struct world *world)
{
	free(world->job.generations);
}

/* Writes a block; `medium` is what the device then holds. */
static void write_block(struct world *world, uint64_t block, uint64_t *medium)
{
	struct perf_slot slot = {.buf = medium, .block = block};

	perf_verify_prepare(&world->job, &slot);
	assert_true(perf_verify_is_busy(&world->job, block));
	perf_verify_complete(&world->job, &slot, true);
	assert_false(perf_verify_is_busy(&world->job, block));
}

static void read_block(struct world *world, uint64_t block, const uint64_t *medium)
{
	static uint64_t buf[BS / 8];
	struct perf_slot slot = {.buf = buf, .block = block, .is_read = true};

	perf_verify_prepare(&world->job, &slot);
	memcpy(buf, medium, BS);
	perf_verify_complete(&world->job, &slot, true);
}

static void expect(const struct world *world, uint64_t good, uint64_t bad, uint64_t blank)
{
	assert_int_equal(world->job.verified.nr_good, good);
	assert_int_equal(world->job.verified.nr_bad, bad);
	assert_int_equal(world->job.verified.nr_blank, blank);
}

static void test_what_was_written_last_is_right(void **state)
{
	uint64_t medium[BS / 8];
	struct world world;

	set_up(&world, 50);
	for (uint32_t i = 0; i < 5; i++) {
		write_block(&world, 3, medium);
	}
	read_block(&world, 3, medium);
	expect(&world, 1, 0, 0);
	tear_down(&world);
}

static void test_a_lost_write_is_found(void **state)
{
	uint64_t old[BS / 8], medium[BS / 8];
	struct world world;

	set_up(&world, 50);
	write_block(&world, 3, old);
	write_block(&world, 3, medium);
	read_block(&world, 3, old);
	expect(&world, 0, 1, 0);
	memset(old, 0, sizeof(old));
	read_block(&world, 3, old);
	expect(&world, 0, 2, 0);
	tear_down(&world);
}

static void test_a_misdirected_write_is_found(void **state)
{
	uint64_t medium[BS / 8], other[BS / 8];
	struct world world;

	set_up(&world, 50);
	write_block(&world, 3, medium);
	write_block(&world, 4, other);
	read_block(&world, 3, other);
	expect(&world, 0, 1, 0);
	tear_down(&world);
}

static void test_a_block_of_an_earlier_run_is_found(void **state)
{
	uint64_t old[BS / 8], medium[BS / 8];
	struct world world;

	set_up(&world, 50);
	world.run.id = 76;
	write_block(&world, 3, old);
	world.run.id = 77;
	world.job.generations[3] = 0;
	write_block(&world, 3, medium);
	read_block(&world, 3, old);
	expect(&world, 0, 1, 0);
	tear_down(&world);
}

static void test_any_flipped_bit_is_found(void **state)
{
	uint64_t medium[BS / 8];
	struct world world;
	uint64_t nr_bad = 0;

	set_up(&world, 50);
	write_block(&world, 0, medium);
	for (uint32_t bit = 0; bit < BS * 8; bit += 61) {
		medium[bit / 64] ^= 1ull << bit % 64;
		read_block(&world, 0, medium);
		medium[bit / 64] ^= 1ull << bit % 64;
		expect(&world, 0, ++nr_bad, 0);
	}
	tear_down(&world);
}

static void test_a_failed_write_leaves_both_contents_possible(void **state)
{
	uint64_t old[BS / 8], medium[BS / 8];
	struct perf_slot slot = {.buf = medium, .block = 3};
	struct world world;

	set_up(&world, 50);
	write_block(&world, 3, old);
	perf_verify_prepare(&world.job, &slot);
	perf_verify_complete(&world.job, &slot, false);
	read_block(&world, 3, old);
	read_block(&world, 3, medium);
	expect(&world, 0, 0, 0);
	tear_down(&world);
}

static void test_blocks_of_nobody_are_judged_by_readers_only(void **state)
{
	uint64_t medium[BS / 8] = {0};
	struct world world;

	set_up(&world, 50);
	read_block(&world, 3, medium);
	expect(&world, 0, 0, 0);
	tear_down(&world);

	set_up(&world, 100);
	read_block(&world, 3, medium);
	expect(&world, 0, 0, 1);
	medium[9] = 1;
	read_block(&world, 3, medium);
	expect(&world, 0, 1, 1);
	write_block(&world, 3, medium);
	world.job.generations[3] = 0;
	world.run.id = 5;
	read_block(&world, 3, medium);
	expect(&world, 1, 1, 1);
	tear_down(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_last_is_right),
		cmocka_unit_test(test_a_lost_write_is_found),
		cmocka_unit_test(test_a_misdirected_write_is_found),
		cmocka_unit_test(test_a_block_of_an_earlier_run_is_found),
		cmocka_unit_test(test_any_flipped_bit_is_found),
		cmocka_unit_test(test_a_failed_write_leaves_both_contents_possible),
		cmocka_unit_test(test_blocks_of_nobody_are_judged_by_readers_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
