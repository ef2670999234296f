/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays under load while all kinds of things are done to them at random: members fail, are
 * removed, added and replaced, their devices vanish, checks and repairs run, resyncs are stopped,
 * several commands are under way at a time, and the array goes in the end. Two clients on two
 * threads compare all that they read with what they wrote; the array may be owned by any of three
 * reactors.
 *
 * XSAN_LONG=1 runs much longer, XSAN_TEST_SEED=n begins with another seed.
 */
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/model.h"

#define KIB         1024ull
#define NR_DEVICES  8u
#define NR_COMMANDS 4u

struct shape {
	int32_t level;
	uint32_t layout;
	uint32_t nr_members;
	uint64_t chunk_bytes;
	enum xbdev_md_policy policy;
};

static const struct shape shapes[] = {
	{1, 0, 3, 0},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 4, 16384},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 4, 16384, XBDEV_MD_POLICY_PPL},
	{10, 0x102, 4, 16384},
	{6, XBDEV_MD_LAYOUT_DEFAULT, 5, 4096},
	{10, 0x201, 3, 65536},
	{6, 8, 4, 16384},
	{6, 9, 5, 16384, XBDEV_MD_POLICY_JOURNAL},
	{4, 0, 3, 65536},
	{10, 0x10201, 3, 8192},
};

struct command {
	struct world *w;
	struct xbdev_md_command what;
	char device[8], new_device[8];
	bool is_busy;
};

struct world {
	struct harness h;
	const struct shape *shape;
	struct xu_random random;
	struct xbdev_device *dev;
	struct xbdev_desc *descs[2];
	struct xbdev_channel *channels[2];
	struct command commands[NR_COMMANDS];
	struct xbdev_md_info info;
	bool is_looked;
	bool is_removed;
	uint32_t nr_done, nr_refused, nr_vanished;
};

/* ---- making ---- */

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	if (dev == NULL) {
		fail_msg("%s", err->text);
	}
	((struct world *)arg)->dev = dev;
}

static void make_error(struct world *w, uint32_t i)
{
	harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
}

static void world_start(struct world *w, const struct shape *shape, uint64_t seed)
{
	static const char *const names[NR_DEVICES] = {
		"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"};
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = shape->level,
		.layout = shape->layout,
		.chunk_bytes = shape->chunk_bytes,
		.members = names,
		.nr_members = shape->nr_members,
		.nr_spares = 1,
		.policy = shape->policy,
		.assume_clean = shape->policy == XBDEV_MD_POLICY_PPL,
	};

	memset(w, 0, sizeof(*w));
	w->shape = shape;
	xu_random_seed(&w->random, seed);
	harness_start(&w->h, 3, 1);
	for (uint32_t i = 0; i < NR_DEVICES; i++) {
		harness_create(&w->h, "malloc", "{'name':'m%u','size':%llu,'block_size':512}", i,
			(shape->policy == XBDEV_MD_POLICY_RESYNC ? 2048 : 3072) * KIB);
		make_error(w, i);
	}
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->dev != NULL);
	for (uint32_t i = 0; i < 2; i++) {
		w->descs[i] = harness_open(&w->h, "md0", i == 0);
	}
	w->channels[0] = harness_channel(&w->h, w->descs[0], 1);
	w->channels[1] = harness_channel(&w->h, w->descs[0], 2);
}

static void world_stop(struct world *w)
{
	for (uint32_t i = 0; i < 2; i++) {
		harness_put(&w->h, w->channels[i]);
	}
	xbdev_desc_close(w->descs[0]);
	xbdev_desc_close(w->descs[1]);
	harness_stop(&w->h);
}

/* ---- looking ---- */

static void on_info(void *arg, const struct xbdev_md_info *info)
{
	struct world *w = arg;

	w->info = *info;
	w->is_looked = true;
}

static const struct xbdev_md_info *look(struct world *w)
{
	w->is_looked = false;
	xbdev__md_info_get(w->dev, on_info, w);
	harness_wait(&w->h, w->is_looked);
	return &w->info;
}

static bool is_idle(const struct world *w)
{
	for (uint32_t i = 0; i < NR_COMMANDS; i++) {
		if (w->commands[i].is_busy) {
			return false;
		}
	}
	return true;
}

/* ---- doing ---- */

static void on_done(void *arg, const struct xu_error *err)
{
	struct command *command = arg;

	command->is_busy = false;
	command->w->nr_done++;
	command->w->nr_refused += err != NULL;
	assert_true(err == NULL || err->text[0] != '\0');
}

static void command(
	struct world *w, enum xbdev_md_command_kind kind, uint32_t device, uint32_t next)
{
	for (uint32_t i = 0; i < NR_COMMANDS; i++) {
		struct command *command = &w->commands[i];

		if (command->is_busy) {
			continue;
		}
		snprintf(command->device, sizeof(command->device), "e%u", device);
		snprintf(command->new_device, sizeof(command->new_device), "e%u", next);
		command->w = w;
		command->is_busy = true;
		command->what = (struct xbdev_md_command){
			.kind = kind,
			.device = command->device,
			.new_device = command->new_device,
			.speed_max_kib = xu_random_below(&w->random, 3) * 4096,
		};
		xbdev__md_manage(w->dev, &command->what, on_done, command);
		return;
	}
}

static void on_removed(void *arg)
{
	((struct world *)arg)->is_removed = true;
}

/* The device of a member goes, while the array can be without it, and comes back. */
static void vanish(struct world *w, uint32_t i)
{
	char name[8];

	harness_wait(&w->h, is_idle(w));
	if (look(w)->nr_degraded > 0) {
		return;
	}
	snprintf(name, sizeof(name), "e%u", i);
	w->is_removed = false;
	assert_int_equal(xbdev_device_remove(xbdev_device_find(w->h.ctx, name), on_removed, w), 0);
	if (xu_random_below(&w->random, 2) == 0) {
		command(w, XBDEV_MD_COMMAND_REMOVE, i, 0);
		command(w, XBDEV_MD_COMMAND_REPLACE, (i + 1) % w->shape->nr_members, i);
	}
	harness_wait(&w->h, w->is_removed);
	make_error(w, i);
	w->nr_vanished++;
}

static void do_something(struct world *w)
{
	static const enum xbdev_md_command_kind kinds[] = {XBDEV_MD_COMMAND_ADD,
		XBDEV_MD_COMMAND_ADD, XBDEV_MD_COMMAND_ADD, XBDEV_MD_COMMAND_REMOVE,
		XBDEV_MD_COMMAND_REMOVE, XBDEV_MD_COMMAND_FAIL, XBDEV_MD_COMMAND_REPLACE,
		XBDEV_MD_COMMAND_REPLACE, XBDEV_MD_COMMAND_SYNC_STOP, XBDEV_MD_COMMAND_SYNC_START,
		XBDEV_MD_COMMAND_SYNC_START, XBDEV_MD_COMMAND_SPEED, XBDEV_MD_COMMAND_CHECK,
		XBDEV_MD_COMMAND_REPAIR};
	uint32_t device = (uint32_t)xu_random_below(&w->random, NR_DEVICES);

	if (xu_random_below(&w->random, 12) == 0) {
		vanish(w, device);
	} else {
		command(w, kinds[xu_random_below(&w->random, ARRAY_SIZE(kinds))], device,
			(uint32_t)xu_random_below(&w->random, NR_DEVICES));
	}
	harness_poll_times(&w->h, (uint32_t)xu_random_below(&w->random, 30));
}

static bool is_at_rest(struct world *w)
{
	const struct xbdev_md_info *info = look(w);

	return strcmp(info->sync_action, "idle") == 0;
}

/* Nothing that was done has left copies or parity behind. */
static void check(struct world *w)
{
	command(w, XBDEV_MD_COMMAND_SPEED, 0, 0);
	harness_wait(&w->h, is_idle(w));
	command(w, XBDEV_MD_COMMAND_SYNC_START, 0, 0);
	harness_wait(&w->h, is_idle(w));
	harness_wait(&w->h, is_at_rest(w));
	command(w, XBDEV_MD_COMMAND_CHECK, 0, 0);
	harness_wait(&w->h, is_idle(w));
	harness_wait(&w->h, is_at_rest(w));
	assert_int_equal(w->info.mismatch_sectors, 0);
	assert_int_not_equal(w->info.state, XBDEV_MD_ARRAY_BROKEN);
}

static struct model *start_client(struct world *w, uint32_t i, uint64_t seed, uint32_t nr_ios)
{
	struct model_opts opts = {
		.ch = w->channels[i],
		.seed = seed + i,
		.offset = i * 384 * KIB,
		.len = 384 * KIB,
		.max_io_bytes = 100 * KIB,
		.nr_ios = nr_ios,
		.nr_slots = 12,
		.may_be_removed = true,
	};
	struct model *model = model_new(&opts);

	model_start(model);
	return model;
}

static uint32_t nr_rounds(void)
{
	return getenv("XSAN_LONG") != NULL ? 40 : 1;
}

static void test_anything_may_happen_under_load(void **state)
{
	uint64_t seed = harness_seed(1);

	for (uint32_t n = 0; n < nr_rounds() * ARRAY_SIZE(shapes); n++, seed += 10) {
		static struct world w;
		struct model *models[2];

		world_start(&w, &shapes[n % ARRAY_SIZE(shapes)], seed);
		for (uint32_t i = 0; i < 2; i++) {
			models[i] = start_client(&w, i, seed, 4000);
		}
		while (!atomic_load(&models[0]->is_done) || !atomic_load(&models[1]->is_done)) {
			do_something(&w);
		}
		harness_wait(&w.h, is_idle(&w));
		check(&w);
		printf("level %d: seed %llu, %u commands, %u refused, %u devices vanished\n",
			w.shape->level, (unsigned long long)seed, w.nr_done, w.nr_refused,
			w.nr_vanished);
		model_free(models[0]);
		model_free(models[1]);
		world_stop(&w);
	}
}

/* The array goes while clients and commands are under way. */
static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
}

static void test_the_array_is_removed_under_load(void **state)
{
	uint64_t seed = harness_seed(1000);

	for (uint32_t n = 0; n < nr_rounds() * 2 * ARRAY_SIZE(shapes); n++, seed += 10) {
		static struct world w;
		struct model *models[2];
		struct xbdev_desc *desc;

		world_start(&w, &shapes[n % ARRAY_SIZE(shapes)], seed);
		assert_int_equal(
			xbdev_desc_open(w.h.ctx, "md0", false, on_event, NULL, &desc, NULL), 0);
		for (uint32_t i = 0; i < 2; i++) {
			models[i] = start_client(&w, i, seed, 1000000);
		}
		for (uint32_t i = xu_random_below(&w.random, 30) & 31; i > 0; i--) {
			do_something(&w);
		}
		w.is_removed = false;
		command(&w, XBDEV_MD_COMMAND_ADD, 7, 0);
		assert_int_equal(xbdev_device_remove(w.dev, on_removed, &w), 0);
		command(&w, XBDEV_MD_COMMAND_FAIL, 0, 0);
		harness_wait(
			&w.h, atomic_load(&models[0]->is_done) && atomic_load(&models[1]->is_done));
		for (uint32_t i = 0; i < 2; i++) {
			harness_put(&w.h, w.channels[i]);
			model_free(models[i]);
		}
		xbdev_desc_close(desc);
		xbdev_desc_close(w.descs[0]);
		xbdev_desc_close(w.descs[1]);
		harness_wait(&w.h, w.is_removed && is_idle(&w));
		harness_stop(&w.h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_anything_may_happen_under_load),
		cmocka_unit_test(test_the_array_is_removed_under_load),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
