/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that fail under arrays: of each operation the Nth allocation is refused, for every N,
 * on an array of each family. An operation works or says -ENOMEM in a sentence; the array has its
 * content afterwards and takes the same operation when there is memory again; what an array does to
 * itself (a recovery) is done all the same. That nothing leaks the address sanitizer says, and a
 * wait that does not end fails the test.
 */
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/util/fail.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/raid/fixture.h"

#define KIB        1024ull
#define NR_DEVICES 7u
#define NR_MAX     5000u /* allocations of one operation */
#define IO_BYTES   (40 * KIB)

struct shape {
	const char *name;
	int32_t level;
	uint32_t nr_members;
	uint64_t chunk_bytes;
	enum xbdev_md_policy policy;
	bool has_bitmap;
};

static const struct shape shapes[] = {
	{"raid0", 0, 3, 16384},
	{"raid1, bitmap", 1, 3, 0, .has_bitmap = true},
	{"raid5", 5, 4, 16384},
	{"raid5, PPL", 5, 4, 16384, XBDEV_MD_POLICY_PPL},
	{"raid6, journal", 6, 5, 16384, XBDEV_MD_POLICY_JOURNAL},
	{"raid10", 10, 4, 16384},
};

static const char *const names[NR_DEVICES] = {"m0", "m1", "m2", "m3", "m4", "m5", "m6"};

struct world {
	struct harness h;
	const struct shape *shape;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	bool is_done;
	struct xu_error err;
	uint64_t seed; /* of the content */
	uint32_t next; /* the device that is no member */
};

static struct xbdev_md_array *array_of(const struct world *w)
{
	return xu_container_of(w->dev, struct xbdev_md_array, dev);
}

/* ---- operations ---- */

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct world *w = arg;

	w->dev = dev;
	w->err = dev == NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

/* It has worked, or there was no memory and a sentence says for what. */
static bool has_worked(const struct world *w)
{
	if (w->err.code != 0 && (w->err.code != -ENOMEM || strlen(w->err.text) < 10)) {
		fail_msg("%s: error %d: '%s'", w->shape->name, w->err.code, w->err.text);
	}
	return w->err.code == 0;
}

static bool create(struct world *w)
{
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = w->shape->level,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = w->shape->chunk_bytes,
		.members = names,
		.nr_members = w->shape->nr_members,
		.bitmap_chunk_bytes = w->shape->has_bitmap ? 65536 : 0,
		.policy = w->shape->policy,
		.assume_clean = true,
		.force = true,
	};

	w->is_done = false;
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	return has_worked(w);
}

static bool assemble(struct world *w)
{
	const struct xbdev_md_assemble_opts opts = {
		.name = "md0",
		.level = w->shape->level,
		.members = names,
		.nr_members = w->shape->nr_members,
	};

	w->is_done = false;
	xbdev__md_assemble(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	return has_worked(w);
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct world *w = arg;

	w->err = err != NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static bool manage(struct world *w, enum xbdev_md_command_kind kind, uint32_t device, uint32_t next)
{
	const struct xbdev_md_command what = {
		.kind = kind, .device = names[device], .new_device = names[next]};

	w->is_done = false;
	xbdev__md_manage(w->dev, &what, on_managed, w);
	harness_wait(&w->h, w->is_done);
	return has_worked(w);
}

static bool is_at_rest(const struct world *w)
{
	const struct xbdev_md_array *array = array_of(w);

	return array->is_running && array->sync == NULL && array->nr_degraded == 0 &&
	       !array->meta.is_writing;
}

static bool use(struct world *w)
{
	static char buf[IO_BYTES + 1], got[IO_BYTES + 1];
	int rc = xbdev_desc_open(w->h.ctx, "md0", true, NULL, NULL, &w->desc, &w->err);

	if (rc != 0) {
		w->desc = NULL;
		return has_worked(w);
	}
	rc = xbdev_channel_get(w->desc, xbdev_ctx_reactor(w->h.ctx, 0), &w->ch);
	if (rc != 0) {
		assert_int_equal(rc, -ENOMEM);
		w->ch = NULL;
		return false;
	}
	/* From here on there is always a way: buffers are waited for. */
	w->seed++;
	harness_fill(buf + 1, IO_BYTES, w->seed);
	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_WRITE, 4608, buf + 1, IO_BYTES, 0), 0);
	assert_int_equal(
		harness_io(&w->h, w->ch, XBDEV_OP_WRITE, 512, buf + 1, 512, XBDEV_IO_FUA), 0);
	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_READ, 4608, got + 1, IO_BYTES, 0), 0);
	assert_memory_equal(got + 1, buf + 1, IO_BYTES);
	return true;
}

static void leave(struct world *w)
{
	if (w->desc != NULL) {
		if (w->ch != NULL) {
			xbdev_channel_put(w->ch);
		}
		xbdev_desc_close(w->desc);
	}
	w->desc = NULL;
	w->ch = NULL;
}

/* ---- the array, with memory ---- */

static void world_start(struct world *w, const struct shape *shape)
{
	memset(w, 0, sizeof(*w));
	w->shape = shape;
	w->next = shape->nr_members;
	harness_start(&w->h, 1, 1);
	for (uint32_t i = 0; i <= shape->nr_members; i++) {
		harness_create(&w->h, "malloc", "{'name':'m%u','size':%llu,'block_size':512}", i,
			3072 * KIB);
	}
}

static void stop(struct world *w)
{
	if (w->dev != NULL) {
		harness_remove(&w->h, w->dev);
		w->dev = NULL;
	}
}

static void judge(struct world *w)
{
	static char got[IO_BYTES], wanted[IO_BYTES];

	if (w->dev == NULL) {
		return;
	}
	assert_false(array_of(w)->is_broken);
	leave(w);
	w->desc = harness_open(&w->h, "md0", true);
	w->ch = harness_channel(&w->h, w->desc, 0);
	if (w->seed != 0) {
		harness_fill(wanted, IO_BYTES, w->seed);
		assert_int_equal(
			harness_io(&w->h, w->ch, XBDEV_OP_READ, 4608, got, IO_BYTES, 0), 0);
		assert_memory_equal(got, wanted, IO_BYTES);
	}
	leave(w);
	assert_true(use(w));
	leave(w);
}

/* ---- steps: what is to work with memory, or to be refused without ---- */

struct step {
	const char *name;
	bool (*run)(struct world *w);
	void (*undo)(struct world *w, bool has_run); /* so that it can run once more */
	bool needs_redundancy;
	bool begins_stopped;
};

static void undo_nothing(struct world *w, bool has_run)
{
	leave(w);
}

static void undo_make(struct world *w, bool has_run)
{
	assert_int_equal(w->dev != NULL, has_run);
	w->seed = 0; /* a new array may hold anything */
	judge(w);
	stop(w);
}

static void undo_assemble(struct world *w, bool has_run)
{
	assert_int_equal(w->dev != NULL, has_run);
	judge(w);
	stop(w);
}

/* Its members say that they were in the middle of a write. */
static void make_dirty(struct world *w)
{
	for (uint32_t i = 0; i < w->shape->nr_members; i++) {
		static uint8_t bytes[4096];
		struct xbdev_desc *desc = harness_open(&w->h, names[i], true);
		struct xbdev_channel *ch = harness_channel(&w->h, desc, 0);

		assert_int_equal(
			harness_io(&w->h, ch, XBDEV_OP_READ, 4096, bytes, sizeof(bytes), 0), 0);
		memset(bytes + 208, 0, 8);
		md_fixture_fix_checksum(bytes);
		assert_int_equal(
			harness_io(&w->h, ch, XBDEV_OP_WRITE, 4096, bytes, sizeof(bytes), 0), 0);
		harness_put(&w->h, ch);
		xbdev_desc_close(desc);
	}
}

static void undo_assemble_dirty(struct world *w, bool has_run)
{
	undo_assemble(w, has_run);
	make_dirty(w);
}

static bool add(struct world *w)
{
	return manage(w, XBDEV_MD_COMMAND_ADD, w->next, 0);
}

/* Its array gives it back a moment after it has said so. */
static void take_out(struct world *w, uint32_t device)
{
	assert_true(manage(w, XBDEV_MD_COMMAND_REMOVE, device, 0));
	harness_wait(&w->h, xbdev_device_find(w->h.ctx, names[device])->claim == NULL);
}

static void undo_add(struct world *w, bool has_run)
{
	if (has_run) {
		take_out(w, w->next);
	} else {
		harness_wait(&w->h, xbdev_device_find(w->h.ctx, names[w->next])->claim == NULL);
	}
}

/* One fails, and the spare has its place when all is done. */
static bool rebuild(struct world *w)
{
	if (!manage(w, XBDEV_MD_COMMAND_FAIL, (w->next + 1) % (w->shape->nr_members + 1), 0)) {
		return false;
	}
	harness_wait(&w->h, is_at_rest(w));
	return true;
}

static void undo_rebuild(struct world *w, bool has_run)
{
	uint32_t old = (w->next + 1) % (w->shape->nr_members + 1);

	if (has_run) {
		take_out(w, old);
		assert_true(manage(w, XBDEV_MD_COMMAND_ADD, old, 0));
		w->next = old;
	}
}

static bool replace(struct world *w)
{
	uint32_t old = (w->next + 1) % (w->shape->nr_members + 1);

	if (!manage(w, XBDEV_MD_COMMAND_REPLACE, old, w->next)) {
		return false;
	}
	harness_wait(&w->h, is_at_rest(w) && array_of(w)->replacements[0] == NULL &&
				    array_of(w)->replacements[1] == NULL &&
				    array_of(w)->replacements[2] == NULL &&
				    array_of(w)->replacements[3] == NULL);
	return true;
}

static void undo_replace(struct world *w, bool has_run)
{
	uint32_t old = (w->next + 1) % (w->shape->nr_members + 1);

	if (has_run) {
		take_out(w, old);
		w->next = old;
	}
}

static bool check(struct world *w)
{
	if (!manage(w, XBDEV_MD_COMMAND_CHECK, 0, 0)) {
		return false;
	}
	harness_wait(&w->h, is_at_rest(w));
	assert_int_equal(array_of(w)->mismatch_sectors, 0);
	return true;
}

static void on_info(void *arg, const struct xbdev_md_info *info)
{
	struct world *w = arg;

	w->err.code = info != NULL ? 0 : -ENOMEM;
	w->is_done = true;
}

static bool look(struct world *w)
{
	w->is_done = false;
	xbdev__md_info_get(w->dev, on_info, w);
	harness_wait(&w->h, w->is_done);
	return w->err.code == 0;
}

static const struct step steps[] = {
	{"create", create, undo_make, .begins_stopped = true},
	{"assemble", assemble, undo_assemble, .begins_stopped = true},
	{"assemble dirty", assemble, undo_assemble_dirty, true, true},
	{"use", use, undo_nothing},
	{"look", look, undo_nothing},
	{"add", add, undo_add, true},
	{"rebuild", rebuild, undo_rebuild, true},
	{"replace", replace, undo_replace, true},
	{"check", check, undo_nothing, true},
};

/* How many allocations it makes. */
static uint32_t sweep(struct world *w, const struct step *step)
{
	uint32_t n, nr_refused = 0;

	for (n = 1; n < NR_MAX; n++) {
		bool has_run, was_refused;

		fail_arm(n);
		has_run = step->run(w);
		was_refused = fail_disarm();
		assert_true(has_run || was_refused);
		nr_refused += !has_run;
		step->undo(w, has_run);
		judge(w);
		if (!was_refused) {
			printf("%s, %s: %u allocations, %u refusals\n", w->shape->name, step->name,
				n - 1, nr_refused);
			break;
		}
	}
	assert_true(n < NR_MAX);
	return n - 1;
}

static void test_raid_without_memory_says_so(void **state)
{
	uint32_t nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(steps); k++) {
			const struct step *step = &steps[k];
			static struct world w;

			if (step->needs_redundancy && shapes[i].level < 1) {
				continue;
			}
			world_start(&w, &shapes[i]);
			assert_true(create(&w));
			assert_true(use(&w));
			leave(&w);
			if (step->run == rebuild) {
				assert_true(add(&w));
			}
			if (step->begins_stopped) {
				stop(&w);
			}
			if (step->undo == undo_assemble_dirty) {
				make_dirty(&w);
			}
			nr += sweep(&w, step);
			stop(&w);
			harness_stop(&w.h);
		}
	}
	assert_true(nr > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raid_without_memory_says_so),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
