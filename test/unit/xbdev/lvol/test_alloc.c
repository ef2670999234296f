/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that fail under operations on volumes: of each operation the Nth allocation is
 * refused, for every N, on a store that is loaded anew each time. The operation works or says
 * -ENOMEM in a sentence, and every volume is as before it or as after it; then there is memory
 * again: the operation, asked for once more, works, what is in use is used once, and all is the
 * same when the store is loaded again. That nothing leaks the address sanitizer says, and a wait
 * that does not end fails the test.
 */
#include "test/unit/util/fail.h"
#include "test/unit/xbdev/lvol/forest.h"

#define C      FOREST_CLUSTER
#define NR_MAX 2000u /* allocations of one operation */

/* A volume by name; it is there. */
static struct xbdev_lvol *volume(struct forest *f, const char *name)
{
	struct xbdev_lvol *found = NULL;

	while ((found = xbdev__lvol_next(f->store, found)) != NULL) {
		if (strcmp(found->shown.name, name) == 0) {
			return found;
		}
	}
	return NULL;
}

/* ---- operations: they begin it, and f->nr_done grows when it has ended ---- */

static void create(struct forest *f, bool is_thin, uint64_t size)
{
	const struct xbdev_lvol_create_opts opts = {
		.name = "new", .size = size, .is_thin = is_thin};

	xbdev__lvol_create(f->store, &opts, forest_done, f);
}

static void create_thin(struct forest *f)
{
	create(f, true, 9 * C);
}

static void create_thick(struct forest *f)
{
	create(f, false, 9 * C);
}

static void snapshot(struct forest *f)
{
	xbdev__lvol_snapshot(volume(f, "thin"), "new", NULL, forest_done, f);
}

static void snapshot_external(struct forest *f)
{
	xbdev__lvol_snapshot(volume(f, "outside"), "new", NULL, forest_done, f);
}

static void clone(struct forest *f)
{
	xbdev__lvol_clone(volume(f, "snap"), "new", NULL, forest_done, f);
}

static void clone_external(struct forest *f)
{
	xbdev__lvol_clone_external(f->store, "image1", "new", NULL, forest_done, f);
}

static void delete_thick(struct forest *f)
{
	xbdev__lvol_delete(volume(f, "thick"), forest_done, f);
}

static void delete_snapshot(struct forest *f)
{
	xbdev__lvol_delete(volume(f, "lower"), forest_done, f);
}

static void delete_shared(struct forest *f)
{
	xbdev__lvol_delete(volume(f, "snap"), forest_done, f);
}

static void delete_external(struct forest *f)
{
	xbdev__lvol_delete(volume(f, "outside"), forest_done, f);
}

static void rename_it(struct forest *f)
{
	xbdev__lvol_rename(volume(f, "thin"), "renamed", forest_done, f);
}

static void set_read_only(struct forest *f)
{
	xbdev__lvol_set_read_only(volume(f, "thin"), forest_done, f);
}

static void grow_thin(struct forest *f)
{
	xbdev__lvol_resize(volume(f, "thin"), 1200 * C, forest_done, f);
}

static void grow_thick(struct forest *f)
{
	xbdev__lvol_resize(volume(f, "thick"), 20 * C, forest_done, f);
}

static void shrink(struct forest *f)
{
	xbdev__lvol_resize(volume(f, "thick"), 2 * C, forest_done, f);
}

static void inflate(struct forest *f)
{
	xbdev__lvol_inflate(volume(f, "thin"), forest_done, f);
}

static void decouple(struct forest *f)
{
	xbdev__lvol_decouple(volume(f, "thin"), forest_done, f);
}

static void decouple_external(struct forest *f)
{
	xbdev__lvol_decouple(volume(f, "outside"), forest_done, f);
}

static void set_parent(struct forest *f)
{
	xbdev__lvol_set_parent(volume(f, "thin"), volume(f, "lower"), forest_done, f);
}

static void set_parent_external(struct forest *f)
{
	xbdev__lvol_set_parent_external(volume(f, "thin"), "image0", forest_done, f);
}

static void restore(struct forest *f)
{
	xbdev__lvol_restore(volume(f, "snap"), forest_done, f);
}

static void on_usage(void *arg, const struct xbdev_lvol_usage *usage, const struct xu_error *err)
{
	static const struct xu_error none;

	assert_true((usage == NULL) == (err != NULL && err->code != 0));
	forest_done(arg, usage == NULL ? err : &none);
}

static void usage(struct forest *f)
{
	xbdev__lvol_usage(volume(f, "thin"), on_usage, f);
}

static void on_diff(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
	const struct xu_error *err)
{
	static const struct xu_error none;
	bool has_failed = err != NULL && err->code != 0;

	(void)extents;
	assert_true(has_failed || nr_extents > 0);
	forest_done(arg, has_failed ? err : &none);
}

static void diff(struct forest *f)
{
	xbdev__lvol_diff(volume(f, "thin"), volume(f, "other"), on_diff, f);
}

static void shallow_copy(struct forest *f)
{
	xbdev__lvol_shallow_copy(volume(f, "snap"), "image0", forest_done, f);
}

static const struct {
	const char *name;
	void (*begin)(struct forest *f);
	bool needs_image; /* image0, on which otherwise a volume stands */
} operations[] = {
	{"create, thin", create_thin},
	{"create, thick", create_thick},
	{"snapshot", snapshot},
	{"snapshot of an external clone", snapshot_external},
	{"clone", clone},
	{"clone, external", clone_external},
	{"delete, thick", delete_thick},
	{"delete, a snapshot", delete_snapshot},
	{"delete, a snapshot with several clones", delete_shared},
	{"delete, external clone", delete_external},
	{"rename", rename_it},
	{"read-only", set_read_only},
	{"grow, thin", grow_thin},
	{"grow, thick", grow_thick},
	{"shrink", shrink},
	{"inflate", inflate},
	{"decouple", decouple},
	{"decouple, external", decouple_external},
	{"set parent", set_parent},
	{"set parent, external", set_parent_external},
	{"restore", restore},
	{"usage", usage},
	{"diff", diff},
	{"shallow copy", shallow_copy, true},
};

/* ---- the store ---- */

static void fill(struct forest *f, const char *name, uint32_t index, uint64_t seed)
{
	uint8_t bytes[C];

	harness_fill(bytes, sizeof(bytes), seed);
	assert_int_equal(forest_io(f, name, XBDEV_OP_WRITE, index * C, bytes, C), 0);
}

static void must(struct forest *f, uint32_t nr_done)
{
	assert_int_equal(forest_wait(f, nr_done), 0);
}

/* thin stands on snap on lower, other on snap too; outside on image0. */
static uint8_t *make_content(uint64_t *ret_size, bool has_external)
{
	const struct xbdev_lvol_create_opts thick = {.name = "thick", .size = 5 * C};
	const struct xbdev_lvol_create_opts thin = {.name = "thin", .size = 9 * C, .is_thin = true};
	struct forest f;
	uint8_t *content;

	forest_start(&f, 200, 1);
	xbdev__lvol_create(f.store, &thick, forest_done, &f);
	must(&f, f.nr_done);
	xbdev__lvol_create(f.store, &thin, forest_done, &f);
	must(&f, f.nr_done);
	fill(&f, "thick", 1, 1);
	fill(&f, "thin", 0, 2);
	fill(&f, "thin", 3, 3);
	xbdev__lvol_snapshot(volume(&f, "thin"), "lower", NULL, forest_done, &f);
	must(&f, f.nr_done);
	fill(&f, "thin", 3, 4);
	fill(&f, "thin", 5, 5);
	xbdev__lvol_snapshot(volume(&f, "thin"), "snap", NULL, forest_done, &f);
	must(&f, f.nr_done);
	fill(&f, "thin", 7, 6);
	xbdev__lvol_clone(volume(&f, "snap"), "other", NULL, forest_done, &f);
	must(&f, f.nr_done);
	fill(&f, "other", 0, 7);
	if (has_external) {
		xbdev__lvol_clone_external(f.store, "image0", "outside", NULL, forest_done, &f);
		must(&f, f.nr_done);
		fill(&f, "outside", 2, 8);
	}
	forest_detach(&f);
	*ret_size = f.disk->size_bytes;
	content = malloc(*ret_size);
	assert_non_null(content);
	memcpy(content, f.disk->memory, *ret_size);
	forest_stop(&f);
	return content;
}

/* What all volumes read as now. */
static void look(struct forest *f, struct plan *plan)
{
	struct xbdev_lvol *at = NULL;

	plan->nr = 0;
	while ((at = xbdev__lvol_next(f->store, at)) != NULL) {
		struct thing *thing;

		if (at->shown.is_hidden) {
			continue;
		}
		thing = forest_add(plan, at->shown.name, NULL, xbdev_device_size_bytes(&at->dev));
		thing->is_read_only = at->dev.is_read_only;
		assert_int_equal(
			forest_io(f, thing->name, XBDEV_OP_READ, 0, thing->bytes, thing->size), 0);
	}
}

/* As it was, or as it was to be. */
static void must_be(struct forest *f, const struct plan *before, const struct plan *after,
	const char *name, uint32_t n)
{
	char why[200] = "", why_after[200] = "";

	if ((before == NULL || !forest_is(f, before, why)) && !forest_is(f, after, why_after)) {
		fail_msg("%s, allocation %u: neither as before (%s) nor as after (%s)", name, n,
			why, why_after);
	}
}

/* True: the Nth allocation was refused. */
static bool run(size_t index, uint32_t n, const uint8_t *content, uint64_t size,
	const struct plan *before, struct plan *after)
{
	const char *name = operations[index].name;
	bool was_refused, has_failed;
	struct forest f;
	uint32_t nr;

	forest_open(&f, content, size);
	lvol_image_free(f.disk->begin); /* it records nothing, which takes memory */
	f.disk->begin = NULL;
	forest_soil(&f);
	nr = f.nr_done;
	fail_arm(n);
	operations[index].begin(&f);
	harness_wait(&f.h, f.nr_done > nr);
	was_refused = fail_disarm();
	has_failed = f.err.code != 0;
	if (has_failed && (f.err.code != -ENOMEM || strlen(f.err.text) < 10 || !was_refused)) {
		fail_msg("%s, allocation %u: error %d: '%s'", name, n, f.err.code, f.err.text);
	}
	harness_poll_times(&f.h, 5);
	assert_int_equal(f.nr_done, nr + 1);
	assert_int_equal(f.store->lvs->read_only_reason.code, 0);
	if (after->nr == 0) {
		assert_false(was_refused);
		look(&f, after);
	}
	if (has_failed) {
		must_be(&f, before, after, name, n);
		forest_check_clusters(&f);
		if (forest_is(&f, before, (char[200]){0})) {
			nr = f.nr_done;
			operations[index].begin(&f);
			assert_int_equal(forest_wait(&f, nr), 0);
		}
	}
	must_be(&f, NULL, after, name, n);
	forest_check_clusters(&f);
	forest_detach(&f);
	assert_string_equal(f.err.text, "");
	forest_attach(&f);
	must_be(&f, NULL, after, name, n);
	forest_check_clusters(&f);
	forest_stop(&f);
	return was_refused;
}

static void test_op_without_memory_says_so(void **state)
{
	uint32_t nr = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		struct plan before = {0}, after = {0};
		uint64_t size;
		uint8_t *content = make_content(&size, !operations[i].needs_image);
		struct forest f;
		uint32_t n = 1;

		forest_open(&f, content, size);
		look(&f, &before);
		forest_stop(&f);
		assert_false(run(i, NR_MAX, content, size, &before, &after));
		while (run(i, n, content, size, &before, &after)) {
			assert_true(n++ < NR_MAX);
		}
		print_message("%s: %u allocations\n", operations[i].name, n - 1);
		nr += n - 1;
		forest_free(&before);
		forest_free(&after);
		free(content);
	}
	assert_true(nr > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_op_without_memory_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
