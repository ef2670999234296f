/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on volumes: random ones on random trees, against plain arrays, with restarts; power
 * that fails at any moment of each leaves the volumes as before or as after it, also when it fails
 * again while that is recovered; a write below that fails once is tried again, a disk that fails
 * for good gives a clean error and loses nothing. The long form (XSAN_LONG) has a million
 * operations on one store; all of it takes a core some ten minutes.
 */
#include "test/unit/xbdev/lvol/forest.h"

/* Counted are operations that were carried out: neither I/O nor what was refused. */
static void test_op_many(void **state)
{
	uint64_t seed = harness_seed(1);
	uint32_t nr_wanted = getenv("XSAN_LONG") != NULL ? 1000000 : 800, nr_ops = 0;
	struct forest f;
	char why[200];

	(void)state;
	forest_start(&f, 160, seed);
	for (uint32_t i = 0; nr_ops < nr_wanted; i++) {
		uint32_t nr_done = f.nr_done;

		assert_true(i < 4 * nr_wanted);
		nr_ops += forest_step(&f) && f.nr_done > nr_done && f.err.code == 0;
		if (i % 7 == 0 && !forest_is(&f, &f.plan, why)) {
			fail_msg("seed %llu, step %u: %s", (unsigned long long)seed, i, why);
		}
		if (i % 50 == 0) {
			forest_check_clusters(&f);
			forest_detach(&f);
			assert_string_equal(f.err.text, "");
			forest_attach(&f);
			assert_true(forest_is(&f, &f.plan, why));
		}
		if (nr_ops % 100000 == 0 && f.nr_done > nr_done && nr_ops > 0) {
			print_message("%u operations in %u steps\n", nr_ops, i + 1);
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
	forest_check_clusters(&f);
	if (again && f.disk->nr_log > 0) {
		const uint8_t *twice = lvol_disk_crash(
			f.disk, (uint32_t)xu_random_below(random, f.disk->nr_log + 1), random);

		judge(twice, size, before, after, random, false, where);
		lvol_disk_crash_free(twice);
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
		step = 1 + f.disk->nr_log / 6;
		for (uint32_t at = 0; is_op && at <= f.disk->nr_log; at += step) {
			const uint8_t *content = lvol_disk_crash(f.disk, at, &random);

			snprintf(where, sizeof(where), "seed %llu, step %u, record %u of %u",
				(unsigned long long)seed, i, at, f.disk->nr_log);
			judge(content, f.disk->size_bytes, &before, &f.plan, &random, true, where);
			lvol_disk_crash_free(content);
			nr_crashes++;
		}
		forest_free(&before);
	}
	assert_true(nr_crashes > nr_steps);
	forest_stop(&f);
}

static void test_op_a_write_fails_once(void **state)
{
	uint64_t seed = harness_seed(21);
	uint32_t nr_steps = getenv("XSAN_LONG") != NULL ? 20000 : 800, nr_failed = 0;
	struct forest f;
	char why[200];

	(void)state;
	forest_start(&f, 160, seed);
	f.is_faulty = true;
	for (uint32_t i = 0; i < nr_steps; i++) {
		f.err.code = 0;
		f.disk->fail_at = f.disk->nr_writes + 1 + (uint32_t)xu_random_below(&f.random, 12);
		forest_step(&f);
		nr_failed += f.err.code == -EIO;
		f.disk->fail_at = 0;
		assert_int_equal(f.store->lvs->read_only_reason.code, 0);
		if (!forest_is(&f, &f.plan, why)) {
			fail_msg("seed %llu, step %u: %s", (unsigned long long)seed, i, why);
		}
		if (i % 50 == 0) {
			forest_detach(&f);
			assert_string_equal(f.err.text, "");
			forest_attach(&f);
			forest_check_clusters(&f);
		}
	}
	assert_true(nr_failed > 0);
	forest_stop(&f);
}

/* What the next step would lead to on a disk that works. */
static bool look_ahead(struct forest *f, struct plan *after)
{
	struct forest g;
	bool is_op;

	forest_open(&g, f->disk->memory, f->disk->size_bytes);
	g.random = f->random;
	g.nr_named = f->nr_named;
	forest_copy(&g.plan, &f->plan);
	is_op = forest_step(&g);
	forest_copy(after, &g.plan);
	forest_stop(&g);
	return is_op;
}

static void must_be(struct forest *f, struct plan *before, struct plan *after, const char *where)
{
	char why[200] = "", why_after[200] = "";
	const struct plan *now = NULL;
	struct plan copy = {0};

	if (forest_is(f, before, why)) {
		now = before;
	} else if (forest_is(f, after, why_after)) {
		now = after;
	} else {
		fail_msg("%s: it is neither as before (%s) nor as after (%s)", where, why,
			why_after);
	}
	forest_copy(&copy, now);
	forest_free(&f->plan);
	f->plan = copy;
}

static void test_op_the_disk_fails(void **state)
{
	uint64_t seed = harness_seed(31);
	uint32_t nr_steps = getenv("XSAN_LONG") != NULL ? 5000 : 250, nr_failed = 0, fail_in;
	struct plan before = {0}, after = {0};
	struct forest f;
	char where[100];

	(void)state;
	forest_start(&f, 160, seed);
	for (uint32_t i = 0; i < nr_steps; i++) {
		snprintf(where, sizeof(where), "seed %llu, step %u", (unsigned long long)seed, i);
		forest_copy(&before, &f.plan);
		fail_in = 1 + (uint32_t)xu_random_below(&f.random, 10);
		/* What a failed write leaves is not for here: test_volume.c. */
		f.is_faulty = look_ahead(&f, &after) && i % 2 == 0;
		if (f.is_faulty) {
			f.disk->fail_at = f.disk->nr_writes + fail_in;
			f.disk->is_sick = true;
		}
		f.err.code = 0;
		forest_step(&f);
		must_be(&f, &before, &after, where);
		if (f.is_faulty) {
			nr_failed += f.err.code != 0;
			forest_detach(&f);
			f.disk->fail_at = 0;
			f.disk->is_sick = false;
			forest_attach(&f);
			must_be(&f, &before, &after, where);
			forest_check_clusters(&f);
		}
		forest_free(&before);
		forest_free(&after);
	}
	assert_true(nr_failed > nr_steps / 12);
	forest_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_op_many),
		cmocka_unit_test(test_op_power_fails),
		cmocka_unit_test(test_op_a_write_fails_once),
		cmocka_unit_test(test_op_the_disk_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
