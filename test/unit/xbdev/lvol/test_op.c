/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on volumes: random ones on random trees, against plain arrays, with restarts; power
 * that fails at any moment of each leaves the volumes as before or as after it, also when it fails
 * again while that is recovered; a write below that fails once is tried again, a disk that fails
 * for good gives a clean error and loses nothing.
 */
#include "test/unit/xbdev/lvol/forest.h"

static void test_op_many(void **state)
{
	uint64_t seed = harness_seed(1);
	uint32_t nr_steps = getenv("XSAN_LONG") != NULL ? 200000 : 1500;
	struct forest f;
	char why[200];

	(void)state;
	forest_start(&f, 160, seed);
	for (uint32_t i = 0; i < nr_steps; i++) {
		forest_step(&f);
		if (i % 7 == 0 && !forest_is(&f, &f.plan, why)) {
			fail_msg("seed %llu, step %u: %s", (unsigned long long)seed, i, why);
		}
		if (i % 50 == 0) {
			harness_poll_times(&f.h, 300); /* what is being reaped */
			forest_check_clusters(&f);
			forest_detach(&f);
			assert_string_equal(f.err.text, "");
			forest_attach(&f);
			assert_true(forest_is(&f, &f.plan, why));
		}
	}
	forest_stop(&f);
}

/* The store on this disk is as one of the two says; what it writes while it is loaded may be cut
 * off once more. */
static void judge(const uint8_t *content, uint64_t size, struct plan *before, struct plan *after,
	struct xu_random *random, bool again, const char *where)
{
	char why[200] = "", why_after[200] = "";
	struct forest f;

	forest_open(&f, content, size);
	if (!forest_is(&f, before, why) && !forest_is(&f, after, why_after)) {
		fail_msg("%s: it is neither as before (%s) nor as after (%s)", where, why,
			why_after);
	}
	harness_poll_times(&f.h, 300);
	forest_check_clusters(&f);
	if (again && f.disk->nr_log > 0) {
		uint8_t *twice = lvol_disk_crash(
			f.disk, (uint32_t)xu_random_below(random, f.disk->nr_log + 1), random);

		judge(twice, size, before, after, random, false, where);
		free(twice);
	}
	forest_stop(&f);
}

static void test_op_power_fails(void **state)
{
	uint64_t seed = harness_seed(7);
	uint32_t nr_steps = getenv("XSAN_LONG") != NULL ? 3000 : 120, nr_crashes = 0;
	struct plan before = {0};
	struct xu_random random;
	struct forest f;
	char where[100];

	(void)state;
	xu_random_seed(&random, seed);
	forest_start(&f, 136, seed);
	for (uint32_t i = 0; i < nr_steps; i++) {
		uint32_t step;
		bool is_op;

		forest_soil(&f);
		lvol_disk_begin(f.disk);
		forest_copy(&before, &f.plan);
		is_op = forest_step(&f); /* power that fails during I/O: test_volume.c */
		harness_poll_times(&f.h, 300);
		step = 1 + f.disk->nr_log / 6;
		for (uint32_t at = 0; is_op && at <= f.disk->nr_log; at += step) {
			uint8_t *content = lvol_disk_crash(f.disk, at, &random);

			snprintf(where, sizeof(where), "seed %llu, step %u, record %u of %u",
				(unsigned long long)seed, i, at, f.disk->nr_log);
			judge(content, f.disk->size_bytes, &before, &f.plan, &random, true, where);
			free(content);
			nr_crashes++;
		}
		forest_free(&before);
	}
	assert_true(nr_crashes > nr_steps);
	forest_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_op_many),
		cmocka_unit_test(test_op_power_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
