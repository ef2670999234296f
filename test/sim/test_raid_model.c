/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays against a plain array in memory. A client reads, writes, discards and flushes at random,
 * several I/Os at a time, while all that an array can go through happens to it: members fail by
 * command, by a write error, by read errors here and there; their devices vanish; they are removed,
 * come back, are replaced; checks and repairs run; the array is stopped and assembled; its process
 * is killed; its power fails. Every level and layout in turn, and arrays of arrays.
 *
 * I/Os in flight do not overlap a write, so each read has one right answer: the last version of
 * each sector. A crash leaves each sector with its last durable version or any that came later;
 * which one is read off, and from then on that is the only one. No I/O may fail: what the test does
 * to an array is always something that its redundancy covers; but where a log has to make good what
 * was being written, the blocks in flight of a member that was lost just then may be lost. At the
 * end of each life all is read, and a check of each array finds nothing.
 *
 * XSAN_LONG=1 does millions of operations, XSAN_TEST_SEED=n begins with another seed, SIM_KIND=n
 * runs only that row of the table, SIM_OPS=n so many operations of each.
 */
#include "test/sim/raid_model.h"

#define META_BYTES    (1u << 20) /* what space.c takes for disks of this size, */
#define PPL_BYTES     (1u << 20) /* and more with a log */
#define JOURNAL_BYTES (3u << 20)

/* ---- one life ---- */

/* Nothing that was done has left copies or parity behind. */
static void judge_rest(struct run *run)
{
	static char content[MAX_SECTORS * SECTOR];

	model_mend_disks(run);
	model_settle(run);
	model_read_all(run, content);
	model_check_read(run, "at rest", 0, run->nr_sectors, content);
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		struct array *array = &run->arrays[i];

		if (array->kind->level < 1) {
			continue;
		}
		assert_int_equal(model_manage(run, array, XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
		model_settle(run);
		if (model_md(array)->mismatch_sectors != 0) {
			fail_msg("array %s: %llu sectors do not agree", array->name,
				(unsigned long long)model_md(array)->mismatch_sectors);
		}
		assert_false(model_md(array)->is_broken);
	}
}

/* Room for the metadata of each array that a disk is below, the log's too, and little more. */
static uint64_t disk_bytes(const struct kind *kind)
{
	uint64_t meta_bytes = kind->inner != NULL ? 2 * META_BYTES : META_BYTES;

	if (kind->policy == XBDEV_MD_POLICY_PPL) {
		meta_bytes += PPL_BYTES;
	} else if (kind->policy == XBDEV_MD_POLICY_JOURNAL && kind->chunk_bytes > 16384) {
		meta_bytes += JOURNAL_BYTES;
	}
	return meta_bytes + (192 << 10);
}

static void run_init(struct run *run, const struct kind *kind, uint64_t seed)
{
	struct sim_disk_opts opts = {.is_block_device = true};

	memset(run, 0, sizeof(*run));
	run->kind = kind;
	run->sim = sim_new(seed);
	run->host = sim_host_new(run->sim, "node", NULL);
	model_plan(run);
	opts.size_bytes = disk_bytes(kind);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_new(run->host, path, &opts);
	}
	model_open_disks(run);
	model_make_all(run, true);
	run->data_offset = model_md(&run->arrays[0])->members[0]->super.data_offset * SECTOR;
	run->nr_sectors = xbdev_device_size_bytes(model_top(run)->dev) / SECTOR;
	assert_in_range(run->nr_sectors, MAX_COUNT, MAX_SECTORS);
	for (uint64_t i = 0; i < run->nr_sectors; i++) {
		run->sectors[i].nr_possible = 1;
	}
}

static void run_fini(struct run *run)
{
	model_close_top(run);
	sim_ctx_free(run->sim, run->ctx);
	assert_int_equal(sim_host_nr_open(run->host), 0);
	sim_free(run->sim);
}

static void live(struct run *run, uint64_t nr_ops)
{
	while (run->nr_ops < nr_ops) {
		model_submit(run);
		if (model_below(run, 25) == 0) {
			model_happen(run);
		}
		if (model_below(run, 8) == 0) {
			assert_int_equal(sim_run_for(run->sim, model_below(run, 3000000)), 0);
		}
		if (run->nr_ops % 512 == 0) {
			for (uint32_t i = 0; i < run->nr_disks; i++) {
				sim_disk_log_trim(run->disks[i]);
			}
		}
	}
	judge_rest(run);
}

/* ---- the tests ---- */

static const struct kind pair = {1, 0, 2, 0, false, NULL};
static const struct kind pair_with_bitmap = {1, 0, 2, 0, true, NULL};
static const struct kind stripes = {0, XBDEV_MD_LAYOUT_DEFAULT, 2, 8192, false, NULL};
static const struct kind five = {5, XBDEV_MD_LAYOUT_DEFAULT, 3, 8192, false, NULL};
static const struct kind six = {6, XBDEV_MD_LAYOUT_DEFAULT, 4, 4096, false, NULL};
static const struct kind ten = {10, 0x102, 3, 4096, false, NULL};

static const struct kind kinds[] = {
	{-1, 0, 3, 4096, false, NULL},
	{0, 1, 3, 4096, false, NULL},
	{0, 2, 4, 65536, false, NULL},
	{1, 0, 2, 0, false, NULL},
	{1, 0, 3, 0, true, NULL},
	{4, 0, 3, 4096, false, NULL},
	{4, 0, 5, 16384, true, NULL},
	{5, 0, 3, 4096, false, NULL},
	{5, 1, 4, 8192, true, NULL},
	{5, 2, 4, 16384, true, NULL},
	{5, 2, 5, 65536, false, NULL},
	{5, 3, 6, 4096, false, NULL},
	{5, 4, 4, 8192, false, NULL},
	{5, 5, 4, 8192, true, NULL},
	{6, 0, 4, 4096, true, NULL},
	{6, 1, 5, 8192, false, NULL},
	{6, 2, 6, 16384, true, NULL},
	{6, 3, 5, 65536, false, NULL},
	{6, 4, 5, 4096, false, NULL},
	{6, 5, 5, 8192, false, NULL},
	{6, 8, 5, 4096, false, NULL},
	{6, 9, 4, 8192, false, NULL},
	{6, 10, 6, 4096, false, NULL},
	{6, 16, 5, 8192, false, NULL},
	{6, 17, 5, 4096, false, NULL},
	{6, 18, 5, 8192, true, NULL},
	{6, 19, 4, 4096, false, NULL},
	{6, 20, 5, 8192, false, NULL},
	{10, 0x102, 4, 4096, true, NULL},
	{10, 0x103, 5, 8192, false, NULL},
	{10, 0x201, 4, 16384, false, NULL},
	{10, 0x301, 3, 4096, true, NULL},
	{10, 0x202, 5, 8192, false, NULL},
	{10, 0x10201, 3, 4096, true, NULL},
	{10, 0x10301, 5, 8192, false, NULL},
	{5, 2, 3, 8192, false, &pair},
	{0, 2, 2, 4096, false, &five},
	{1, 0, 2, 0, true, &six},
	{6, 2, 4, 4096, false, &pair_with_bitmap},
	{1, 0, 2, 0, true, &stripes},
	{10, 0x102, 3, 4096, false, &pair},
	{5, 2, 3, 4096, true, &ten},
	{5, 0, 3, 4096, false, NULL, XBDEV_MD_POLICY_PPL},
	{5, 2, 4, 16384, false, NULL, XBDEV_MD_POLICY_PPL},
	{5, 3, 5, 65536, false, NULL, XBDEV_MD_POLICY_PPL},
	{5, 4, 6, 8192, false, NULL, XBDEV_MD_POLICY_PPL},
	{5, 2, 3, 8192, false, &pair, XBDEV_MD_POLICY_PPL},
	{4, 0, 3, 4096, false, NULL, XBDEV_MD_POLICY_JOURNAL},
	{4, 0, 5, 16384, false, NULL, XBDEV_MD_POLICY_JOURNAL},
	{6, 2, 4, 4096, false, NULL, XBDEV_MD_POLICY_JOURNAL},
	{6, 9, 5, 16384, false, NULL, XBDEV_MD_POLICY_JOURNAL},
	{6, 18, 6, 65536, false, NULL, XBDEV_MD_POLICY_JOURNAL},
	{6, 2, 4, 8192, false, &pair, XBDEV_MD_POLICY_JOURNAL},
};

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t from_environment(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : fallback;
}

static void test_arrays_hold_what_a_plain_array_holds(void **state)
{
	bool is_long = getenv("XSAN_LONG") != NULL;
	uint64_t nr_ops = from_environment("SIM_OPS", is_long ? 6000 : 1500);
	uint64_t nr_rounds = from_environment("SIM_ROUNDS", is_long ? 25 : 1);
	uint64_t only = from_environment("SIM_KIND", NEVER);
	uint64_t seed = from_environment("XSAN_TEST_SEED", 1), nr_all = 0;
	static struct run run;

	for (uint64_t round = 0; round < nr_rounds; round++, seed++) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (only != NEVER && only != i) {
				continue;
			}
			/* Said before it happens: it is what a failure is repeated with. */
			print_message("kind %zu (level %d layout %x), seed %llu\n", i,
				kinds[i].level, kinds[i].layout, (unsigned long long)seed);
			run_init(&run, &kinds[i], seed);
			live(&run, nr_ops);
			nr_all += run.nr_ops;
			print_message("  %llu crashes, %llu restarts, %llu failed, %llu vanished, "
				      "%llu sectors lost in flight, %llu commands, %llu of them "
				      "refused\n",
				(unsigned long long)run.nr_crashes,
				(unsigned long long)run.nr_restarts,
				(unsigned long long)run.nr_failed,
				(unsigned long long)run.nr_vanished,
				(unsigned long long)run.nr_lost,
				(unsigned long long)run.nr_commands,
				(unsigned long long)run.nr_refused);
			run_fini(&run);
		}
	}
	print_message("%llu operations\n", (unsigned long long)nr_all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arrays_hold_what_a_plain_array_holds),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
