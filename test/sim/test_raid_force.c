/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays that are assembled by force after their power has failed. A client of the model test
 * writes; at a random moment all disks lose power; members are lost with it, or only one that had
 * failed long before is left to take their place. Then:
 *
 *   - without force the array is refused with a sentence where the rules say so (docs/raid.md,
 *     "Assembly"), and starts where they say so;
 *   - by force it starts;
 *   - a row of chunks that nobody was writing to, and that the stale member has not missed, holds
 *     what was written last; what else there is reads without an error and twice the same;
 *   - the array takes writes, comes to rest, and a check of it finds nothing.
 *
 * Power fails at random moments of many lives, and at every point of one short life of each kind of
 * array: whenever a disk is given a write or a flush, has done it, or has said so. The short form
 * takes some of these points, XSAN_LONG=1 all of them.
 *
 * SIM_ROUNDS=n runs n seeds of each kind of array, SIM_SEED=n starts at that seed, SIM_KIND=n is
 * one kind alone.
 */
#include "test/sim/raid_model.h"

#include <errno.h>

#define MAX_OPS   300u
#define NOBODY    UINT32_MAX
#define DISK_ROOM (1216u << 10)
#define LOG_ROOM  (1u << 20)
/* One short life: as many operations at a time, and no more points than this. */
#define MOMENT_OPS  8u
#define MOMENTS_MAX 3000u

static const struct kind kinds[] = {
	{1, 0, 2, 0, false, NULL},
	{1, 0, 3, 0, true, NULL},
	{4, 0, 4, 4096, false, NULL},
	{5, 2, 4, 16384, false, NULL},
	{5, 0, 3, 8192, true, NULL},
	{6, 2, 5, 8192, false, NULL},
	{6, 9, 4, 4096, true, NULL},
	{10, 0x102, 4, 4096, false, NULL},
	{10, 0x201, 3, 8192, false, NULL},
	{5, 2, 4, 16384, false, NULL, XBDEV_MD_POLICY_PPL},
	{6, 2, 5, 8192, false, NULL, XBDEV_MD_POLICY_JOURNAL},
};

/* Where in its life power fails: the moment when the disks have done so much. */
static struct {
	uint64_t at;  /* points of the disks' logs; NEVER: at random */
	bool is_over; /* the array was at rest before */
} moment = {.at = NEVER};

struct found {
	uint32_t nr_refused, nr_forced, nr_clean, nr_other;
};

/* ---- assembly of some ---- */

struct assembly {
	struct run *run;
	uint32_t missing; /* bit per disk */
	bool is_forced;
	bool is_done;
	struct xu_error err;
};

static void on_assembled(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct assembly *assembly = arg;

	model_top(assembly->run)->dev = dev;
	if (dev == NULL) {
		assembly->err = *err;
		assert_true(strlen(err->text) > 20);
	}
	assembly->is_done = true;
}

static void do_assemble(void *arg)
{
	struct assembly *assembly = arg;
	struct array *array = model_top(assembly->run);
	const char *members[MAX_DISKS];
	struct xbdev_md_assemble_opts opts = {
		.name = array->name,
		.level = array->kind->level,
		.members = members,
		.run = true,
		.force = assembly->is_forced,
	};

	for (uint32_t i = 0; i < array->kind->nr_members; i++) {
		if ((assembly->missing >> i & 1) == 0) {
			members[opts.nr_members++] = array->names[i];
		}
	}
	xbdev__md_assemble(assembly->run->ctx, &opts, on_assembled, assembly);
}

static bool is_done(void *arg)
{
	return ((struct assembly *)arg)->is_done;
}

static int assemble(struct run *run, uint32_t missing, bool is_forced)
{
	struct assembly assembly = {.run = run, .missing = missing, .is_forced = is_forced};

	sim_call(run->sim, xbdev_ctx_control(run->ctx), do_assemble, &assembly);
	assert_int_equal(sim_run(run->sim, is_done, &assembly, 60 * XU_NS_PER_S), 0);
	return assembly.err.code;
}

/* ---- a life that ends ---- */

static void start(struct run *run, const struct kind *kind, uint64_t seed)
{
	struct sim_disk_opts opts = {
		.is_block_device = true,
		.size_bytes = DISK_ROOM + (kind->policy == XBDEV_MD_POLICY_PPL ? LOG_ROOM : 0),
	};

	memset(run, 0, sizeof(*run));
	run->kind = kind;
	run->sim = sim_new(seed);
	run->host = sim_host_new(run->sim, "node", NULL);
	model_plan(run);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_new(run->host, path, &opts);
	}
	model_open_disks(run);
	model_make_all(run, true);
	run->nr_sectors = xbdev_device_size_bytes(model_top(run)->dev) / SECTOR;
	assert_in_range(run->nr_sectors, MAX_COUNT, MAX_SECTORS);
	for (uint64_t i = 0; i < run->nr_sectors; i++) {
		run->sectors[i].nr_possible = 1;
	}
	model_settle(run);
}

static void use(struct run *run, uint64_t nr_ops)
{
	while (nr_ops-- > 0) {
		model_submit(run);
		if (model_below(run, 8) == 0) {
			assert_int_equal(sim_run_for(run->sim, model_below(run, 3000000)), 0);
		}
	}
}

static uint64_t points(const struct run *run)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < run->nr_disks; i++) {
		sum += sim_disk_point(run->disks[i]);
	}
	return sum;
}

static bool is_moment(void *arg)
{
	struct run *run = arg;
	const struct xbdev_md_array *md = model_md(model_top(run));

	moment.is_over =
		run->nr_inflight == 0 && !md->is_active && md->sync == NULL && !md->meta.is_writing;
	return moment.is_over || points(run) >= moment.at;
}

/* The part of a life in which power fails. */
static void use_until_it_ends(struct run *run, uint64_t nr_ops)
{
	uint64_t at = moment.at;

	if (at == NEVER) {
		use(run, nr_ops);
		return;
	}
	moment.at += points(run);
	for (uint32_t i = 0; i < MOMENT_OPS; i++) {
		model_submit(run);
	}
	assert_int_equal(sim_run(run->sim, is_moment, run, 60 * XU_NS_PER_S), 0);
	moment.at = at;
}

static void power_fail(struct run *run)
{
	run->is_dead = true;
	sim_host_power_fail(run->host, NULL);
	sim_host_bury(run->host);
	model_wait_idle(run);
	model_close_top(run);
	sim_ctx_free(run->sim, run->ctx);
	run->host = sim_host_reboot(run->host);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_find(run->host, path);
	}
	model_open_disks(run);
}

/* ---- judging ---- */

/* Nobody was writing to it, and its last write was before `seq`. */
static bool is_settled(const struct run *run, uint64_t sector, uint64_t seq)
{
	const struct sector *s = &run->sectors[sector];

	return s->nr_possible == 1 && s->possible[0].sub_seq < seq;
}

/* Mirrors: the sector; else all of its row of chunks, for the parity has to do with all. */
static bool is_clean(struct run *run, uint64_t sector, uint64_t seq)
{
	const struct xbdev_md_geometry *geo = &model_md(model_top(run))->geo;
	uint64_t row_sectors = (uint64_t)geo->chunk * geo->nr_data, first;

	if (!model_is_parity(model_top(run))) {
		return is_settled(run, sector, seq);
	}
	first = sector / row_sectors * row_sectors;
	for (uint64_t i = first; i < first + row_sectors && i < run->nr_sectors; i++) {
		if (!is_settled(run, i, seq)) {
			return false;
		}
	}
	return true;
}

static void judge(struct run *run, uint64_t seq, struct found *found)
{
	static char content[MAX_SECTORS * SECTOR], again[MAX_SECTORS * SECTOR];
	const struct array *top = model_top(run);

	model_read_all(run, content);
	for (uint64_t s = 0; s < run->nr_sectors; s++) {
		bool must_hold = is_clean(run, s, seq);

		found->nr_clean += must_hold;
		found->nr_other += !must_hold;
		if (must_hold) {
			model_check_read(run, "by force", s, 1, content + s * SECTOR);
		}
	}
	model_read_all(run, again);
	assert_memory_equal(again, content, run->nr_sectors * SECTOR);

	/* It serves as any other. */
	memset(content, 0x5f, PIECE);
	assert_int_equal(sim_bdev_io(&run->bdevs[0], XBDEV_OP_WRITE, 0, 0, content, PIECE), 0);
	assert_int_equal(sim_bdev_io(&run->bdevs[1], XBDEV_OP_READ, 0, 0, again, PIECE), 0);
	assert_memory_equal(again, content, PIECE);
	model_settle(run);
	model_read_all(run, again);
	assert_memory_equal(again, content, run->nr_sectors * SECTOR);
	assert_int_equal(model_manage(run, model_top(run), XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
	model_settle(run);
	assert_true(model_md(top)->mismatch_sectors == 0 && !model_md(top)->is_broken);
}

static void end(struct run *run)
{
	model_close_top(run);
	sim_ctx_free(run->sim, run->ctx);
	assert_int_equal(sim_host_nr_open(run->host), 0);
	sim_free(run->sim);
}

static uint32_t one_of(struct run *run, uint32_t but)
{
	uint32_t i;

	do {
		i = (uint32_t)model_below(run, run->kind->nr_members);
	} while ((but >> i & 1) != 0);
	return i;
}

/* ---- the tests ---- */

/* As many as the level can do without are lost together with the power. */
static void lose_amid_writes(struct run *run, struct found *found)
{
	uint32_t missing = 0, nr = run->kind->level == 6 ? 2 : 1;
	int rc;

	use_until_it_ends(run, 1 + model_below(run, MAX_OPS));
	power_fail(run);
	while (nr-- > 0) {
		missing |= 1u << one_of(run, missing);
	}
	rc = assemble(run, missing, false);
	if (rc != 0) {
		assert_int_equal(rc, -EUCLEAN);
		assert_true(model_is_parity(model_top(run)) &&
			    run->kind->policy == XBDEV_MD_POLICY_RESYNC);
		found->nr_refused++;
		assert_int_equal(assemble(run, missing, true), 0);
		found->nr_forced++;
	}
	model_open_top(run);
	judge(run, NEVER, found);
}

/* One (raid6: two) has failed a while ago; another is lost with the power, and the stale ones are
 * needed. */
static void need_a_stale_one(struct run *run, struct found *found)
{
	uint32_t stale = 0, nr = run->kind->level == 6 ? 2 : 1;
	uint64_t seq;
	char name[8];

	use(run, 1 + model_below(run, MAX_OPS));
	model_settle(run);
	while (nr-- > 0) {
		uint32_t i = one_of(run, stale);

		snprintf(name, sizeof(name), "m%u", i);
		assert_int_equal(
			model_manage(run, model_top(run), XBDEV_MD_COMMAND_FAIL, name, NULL), 0);
		stale |= 1u << i;
	}
	seq = run->seq;
	use_until_it_ends(run, model_below(run, MAX_OPS));
	if (moment.at == NEVER && model_below(run, 3) == 0) {
		model_settle(run);
	}
	power_fail(run);
	/* Of those in sync; where that is not enough without the stale ones, force is. */
	if (assemble(run, 1u << one_of(run, stale), false) != 0) {
		uint32_t missing = 1u << one_of(run, stale);

		found->nr_refused++;
		assert_int_equal(assemble(run, missing, true), 0);
		found->nr_forced++;
	}
	model_open_top(run);
	judge(run, seq, found);
}

/* Two that have been away since the same moment come back together, and one is more than what is
 * needed: parity and data are of different age. */
static void need_two_of_one_age(struct run *run, struct found *found)
{
	uint32_t away = 0, missing;
	uint64_t seq;

	use(run, 1 + model_below(run, MAX_OPS));
	model_settle(run);
	model_close_top(run);
	sim_bdev_remove(run->sim, model_top(run)->dev);
	away = 1u << one_of(run, 0);
	away |= 1u << one_of(run, away);
	assert_int_equal(assemble(run, away, false), 0);
	model_open_top(run);
	seq = run->seq;
	use_until_it_ends(run, model_below(run, MAX_OPS));
	if (moment.at == NEVER && model_below(run, 3) == 0) {
		model_settle(run);
	}
	power_fail(run);
	missing = 1u << one_of(run, away);
	/* Where nothing was written meanwhile they are not stale. */
	if (assemble(run, missing, false) != 0) {
		found->nr_refused++;
		assert_int_equal(assemble(run, missing, true), 0);
		found->nr_forced++;
	}
	model_open_top(run);
	judge(run, seq, found);
}

static uint64_t from_environment(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : fallback;
}

static void sweep(
	void (*live)(struct run *run, struct found *found), bool is_forced_always, int32_t level)
{
	uint64_t nr_rounds = from_environment("SIM_ROUNDS", getenv("XSAN_LONG") != NULL ? 200 : 8);
	uint64_t first = from_environment("SIM_SEED", 1),
		 only = from_environment("SIM_KIND", NEVER);
	static struct run run;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct found found = {0};
		bool is_safe = kinds[i].level < 4 || kinds[i].level == 10 ||
			       kinds[i].policy != XBDEV_MD_POLICY_RESYNC;

		for (uint64_t seed = first; seed < first + nr_rounds; seed++) {
			if ((only != NEVER && only != i) ||
				(level != 0 && kinds[i].level != level)) {
				continue;
			}
			print_message("kind %zu, seed %llu\n", i, (unsigned long long)seed);
			start(&run, &kinds[i], seed);
			live(&run, &found);
			end(&run);
		}
		print_message("level %d: %u refused, %u forced; %u sectors had to hold, %u not\n",
			kinds[i].level, found.nr_refused, found.nr_forced, found.nr_clean,
			found.nr_other);
		if (only == NEVER && nr_rounds >= 12 && (level == 0 || kinds[i].level == level)) {
			assert_true(found.nr_clean > 0);
			assert_true(found.nr_forced > 0 ||
				    (is_forced_always ? kinds[i].level == 1 : is_safe));
		}
	}
}

static void sweep_moments(void (*live)(struct run *run, struct found *found), int32_t level)
{
	uint64_t only = from_environment("SIM_KIND", NEVER), seed = from_environment("SIM_SEED", 1);
	uint64_t step = getenv("XSAN_LONG") != NULL ? 1 : 5, nr_clean = 0;
	static struct run run;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct found found = {0};

		if ((only != NEVER && only != i) || (level != 0 && kinds[i].level != level)) {
			continue;
		}
		moment.is_over = false;
		for (moment.at = i; !moment.is_over; moment.at += step) {
			assert_true(moment.at < MOMENTS_MAX);
			print_message("kind %zu, seed %llu, point %llu\n", i,
				(unsigned long long)seed, (unsigned long long)moment.at);
			start(&run, &kinds[i], seed);
			live(&run, &found);
			end(&run);
		}
		print_message("level %d: %llu points, %u refused, %u forced; %u sectors had to "
			      "hold, %u not\n",
			kinds[i].level, (unsigned long long)moment.at, found.nr_refused,
			found.nr_forced, found.nr_clean, found.nr_other);
		assert_true(moment.at > MOMENT_OPS);
		nr_clean += found.nr_clean;
	}
	assert_true(nr_clean > 0);
	moment.at = NEVER;
}

static void test_force_after_members_are_lost_at_any_moment(void **state)
{
	sweep_moments(lose_amid_writes, 0);
}

static void test_force_takes_a_stale_member_at_any_moment(void **state)
{
	sweep_moments(need_a_stale_one, 0);
}

static void test_force_takes_two_stale_members_at_any_moment(void **state)
{
	sweep_moments(need_two_of_one_age, 6);
}

static void test_force_after_members_are_lost_amid_writes(void **state)
{
	sweep(lose_amid_writes, false, 0);
}

static void test_force_takes_a_stale_member_where_it_is_needed(void **state)
{
	sweep(need_a_stale_one, true, 0);
}

static void test_force_takes_two_stale_members_of_one_age(void **state)
{
	sweep(need_two_of_one_age, true, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_force_after_members_are_lost_amid_writes),
		cmocka_unit_test(test_force_takes_a_stale_member_where_it_is_needed),
		cmocka_unit_test(test_force_takes_two_stale_members_of_one_age),
		cmocka_unit_test(test_force_after_members_are_lost_at_any_moment),
		cmocka_unit_test(test_force_takes_a_stale_member_at_any_moment),
		cmocka_unit_test(test_force_takes_two_stale_members_at_any_moment),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
