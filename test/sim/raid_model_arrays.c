/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks and arrays of the model test: made, assembled, commanded. Whatever cannot be made ends the
 * test with the sentence that says why. See raid_model.h. */
#include "test/sim/raid_model.h"

#include <errno.h>

#include "lib/util/log.h"

/* ---- commands ---- */

struct making {
	struct run *run;
	struct array *array;
	bool is_done;
	struct xu_error err;
	struct xbdev_md_command what;
};

static bool is_done(void *arg)
{
	return ((struct making *)arg)->is_done;
}

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct making *making = arg;

	making->array->dev = dev;
	if (dev == NULL) {
		making->err = *err;
	}
	making->is_done = true;
}

static void do_create(void *arg)
{
	struct making *making = arg;
	struct array *array = making->array;
	const char *members[MAX_DISKS];
	struct xbdev_md_create_opts opts = {
		.name = array->name,
		.level = array->kind->level,
		.layout = array->kind->layout,
		.chunk_bytes = array->kind->chunk_bytes,
		.members = members,
		.nr_members = array->kind->nr_members,
		.bitmap_chunk_bytes = array->kind->has_bitmap ? 65536 : 0,
		.policy = array->kind->policy,
	};

	for (uint32_t i = 0; i < array->nr_names; i++) {
		members[i] = array->names[i];
		array->was_member[i] = i < opts.nr_members;
	}
	xbdev__md_create(making->run->ctx, &opts, on_made, making);
}

static void do_assemble(void *arg)
{
	struct making *making = arg;
	struct array *array = making->array;
	const char *members[MAX_DISKS];
	struct xbdev_md_assemble_opts opts = {.name = array->name,
		.level = array->kind->level,
		.members = members,
		.run = array->is_lacking};

	for (uint32_t i = 0; i < array->nr_names; i++) {
		if (array->was_member[i]) {
			members[opts.nr_members++] = array->names[i];
		}
	}
	xbdev__md_assemble(making->run->ctx, &opts, on_made, making);
}

static int try_to_make(
	struct run *run, struct array *array, void (*fn)(void *arg), struct xu_error *err)
{
	struct making making = {.run = run, .array = array};

	sim_call(run->sim, xbdev_ctx_control(run->ctx), fn, &making);
	assert_int_equal(sim_run(run->sim, is_done, &making, 60 * XU_NS_PER_S), 0);
	*err = making.err;
	return array->dev != NULL ? 0 : making.err.code;
}

/* Who was out and came back has its last place in its superblock until it is told of the next one:
 * the array asks whether it may start without. */
static void make(struct run *run, struct array *array, void (*fn)(void *arg))
{
	struct xu_error err;
	int rc = try_to_make(run, array, fn, &err);

	if (rc == -EAGAIN && array->may_lack) {
		array->is_lacking = true;
		rc = try_to_make(run, array, fn, &err);
	}
	if (rc != 0) {
		fail_msg("%s", err.text);
	}
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct making *making = arg;

	if (err != NULL) {
		assert_true(err->text[0] != '\0');
		making->err = *err;
	}
	making->is_done = true;
}

static void do_manage(void *arg)
{
	struct making *making = arg;

	xbdev__md_manage(making->array->dev, &making->what, on_managed, making);
}

int model_manage(struct run *run, struct array *array, enum xbdev_md_command_kind kind,
	const char *device, const char *new_device)
{
	struct making making = {.run = run,
		.array = array,
		.what = {.kind = kind, .device = device, .new_device = new_device}};

	sim_call(run->sim, xbdev_ctx_control(run->ctx), do_manage, &making);
	assert_int_equal(sim_run(run->sim, is_done, &making, 60 * XU_NS_PER_S), 0);
	run->nr_commands++;
	run->nr_refused += making.err.code != 0;
	return making.err.code;
}

/* ---- disks and arrays ---- */

void model_open_disk(struct run *run, uint32_t index)
{
	struct xu_error err = {0};
	char json[128];

	snprintf(json, sizeof(json), "{'name':'m%u','filename':'/d%u','block_size':512}", index,
		index);
	if (sim_bdev_create(run->sim, run->ctx, "file", json, &err) == NULL) {
		fail_msg("%s", err.text);
	}
}

void model_open_disks(struct run *run)
{
	static struct xu_logger *log;
	struct xu_error err = {0};

	if (log == NULL && getenv("SIM_LOG") != NULL) {
		const struct xu_log_opts opts = {.level = XU_LOG_INFO};

		assert_int_equal(xu_logger_new(&opts, &log, &err), 0);
	}
	run->is_dead = false;
	run->ctx = sim_ctx_new(run->host, 2, log);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		model_open_disk(run, i);
	}
}

/* Slow enough now and then for things to happen in the middle of a resync or recovery. */
static void set_pace(struct run *run, struct array *array)
{
	static const uint64_t speeds[] = {0, 0, 0, 4096, 16384};

	model_md(array)->sync_speed_min =
		speeds[model_below(run, sizeof(speeds) / sizeof(speeds[0]))];
	model_md(array)->sync_speed_max = model_md(array)->sync_speed_min;
}

void model_open_top(struct run *run)
{
	struct xu_error err = {0};

	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(sim_bdev_open(run->sim, run->ctx, model_top(run)->name, i,
					 &run->bdevs[i], &err),
			0);
	}
}

void model_make_all(struct run *run, bool is_new)
{
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		make(run, &run->arrays[i], is_new ? do_create : do_assemble);
		run->arrays[i].is_lacking = run->arrays[i].may_lack = false;
		set_pace(run, &run->arrays[i]);
	}
	model_open_top(run);
}

void model_close_top(struct run *run)
{
	for (uint32_t i = 0; i < 2; i++) {
		sim_bdev_close(&run->bdevs[i]);
	}
}

/* One more disk than members for each array of disks; an array of arrays has none. */
void model_plan(struct run *run)
{
	const struct kind *inner = run->kind->inner;
	uint32_t nr_inner = inner != NULL ? run->kind->nr_members : 0;
	struct array *top;

	run->nr_arrays = nr_inner + 1;
	for (uint32_t i = 0; i < nr_inner; i++) {
		struct array *array = &run->arrays[i];

		array->kind = inner;
		snprintf(array->name, sizeof(array->name), "in%u", i);
		array->nr_names = inner->nr_members;
		for (uint32_t n = 0; n < array->nr_names; n++) {
			snprintf(array->names[n], sizeof(array->names[n]), "m%u", run->nr_disks++);
		}
	}
	top = model_top(run);
	top->kind = run->kind;
	snprintf(top->name, sizeof(top->name), "top");
	for (uint32_t i = 0; i < nr_inner; i++) {
		snprintf(top->names[top->nr_names++], sizeof(top->names[0]), "in%u", i);
	}
	for (uint32_t i = 0; i < run->kind->nr_members + 2 && nr_inner == 0; i++) {
		snprintf(
			top->names[top->nr_names++], sizeof(top->names[0]), "m%u", run->nr_disks++);
	}
	assert_true(run->nr_disks <= MAX_DISKS);
}
