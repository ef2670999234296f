/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a store's metadata, on a disk in memory: they are there after an unload and after a
 * crash once their commit has ended; power that fails at any moment of any operation leaves a store
 * that loads and recovers to the state before the operation or the one behind it, and a second
 * failure amid that recovery changes nothing of this; an I/O that fails leaves the store usable.
 * What is left, closed or not, is read the same by a reader that knows only SPDK's rules.
 * XSAN_LONG in the environment: more of each crash.
 */
#include "lib/xbdev/lvol/write.h"

#include "lib/xbdev/lvol/chain.h"
#include "test/unit/xbdev/lvol/session.h"

#define MAX_TEXT       (64u << 10)
#define METADATA_BYTES (3u << 20) /* more than the images have */

/* All that a store says of its volumes, but for where its metadata lies. */
static char *describe(const struct xbdev_lvs *store)
{
	char *text = calloc(1, MAX_TEXT);
	size_t at;

	assert_non_null(text);
	at = (size_t)snprintf(
		text, MAX_TEXT, "free %llu\n", (unsigned long long)xbdev__lvs_free_clusters(store));
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		const struct xbdev_lvs_blob *blob = store->blobs[i];
		const struct xu_list *node;
		uint64_t hash = 1469598103934665603u;

		assert_null(blob->reason);
		for (uint32_t k = xbdev__lvs_map_next(&blob->map, 0); k < blob->map.nr_clusters;
			k = xbdev__lvs_map_next(&blob->map, k + 1)) {
			hash = (hash ^ k) * 1099511628211u;
			hash = (hash ^ xbdev__lvs_map_get(&blob->map, k)) * 1099511628211u;
		}
		at += (size_t)snprintf(text + at, MAX_TEXT - at,
			"%s: parent %llx, flags %llx %llx, %u clusters, %llu allocated, %llx;",
			blob->name, (unsigned long long)blob->parent_id,
			(unsigned long long)(blob->invalid_flags & 9),
			(unsigned long long)blob->data_ro_flags, blob->map.nr_clusters,
			(unsigned long long)blob->map.nr_allocated, (unsigned long long)hash);
		xu_list_for_each (node, &blob->xattrs) {
			const struct xbdev_lvs_xattr *xattr =
				xu_list_entry(node, struct xbdev_lvs_xattr, link);

			at += (size_t)snprintf(text + at, MAX_TEXT - at, " %s[%u]", xattr->bytes,
				xattr->value_len);
		}
		at += (size_t)snprintf(text + at, MAX_TEXT - at, "\n");
		assert_true(at < MAX_TEXT);
	}
	return text;
}

/* ---- operations, as the layer above will do them ---- */

static struct xbdev_lvs_blob *volume(struct lvol_session *t, const char *name)
{
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_by_name(t->w.store, name);

	assert_non_null(blob);
	return blob;
}

static int touch_cluster(struct lvol_session *t, const char *name, uint32_t index)
{
	struct xbdev_lvs_blob *blob = volume(t, name);
	uint32_t slot = index / XBDEV_LVS_LEAF_CLUSTERS;
	uint32_t cluster = xbdev__lvs_cluster_take(t->w.store);
	struct xbdev_lvs_leaf *leaf = xbdev__lvs_map_leaf(&blob->map, slot);

	assert_true(cluster != 0 && leaf != NULL);
	assert_int_equal(xbdev__lvs_map_get(&blob->map, index), 0);
	leaf->count = (uint16_t)xbdev__lvs_slot_count(blob->map.nr_clusters, slot);
	xbdev__lvs_map_set(&blob->map, index, cluster);
	assert_int_equal(xbdev__lvs_leaf_touch(blob, slot, &t->err), 0);
	return lvol_session_commit(t);
}

static struct xbdev_lvs_blob *make(struct lvol_session *t, const char *name, uint32_t nr_clusters)
{
	uint32_t root = xbdev__lvs_page_take(t->w.store);
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(t->w.store, root);
	const struct xu_uuid uuid = {{(uint8_t)root, 2, 3, 4}};

	assert_non_null(blob);
	blob->invalid_flags = XBDEV_LVS_F_THIN;
	assert_int_equal(xbdev__lvs_blob_set_name(blob, name), 0);
	assert_int_equal(xbdev__lvs_blob_set_uuid(blob, &uuid), 0);
	assert_int_equal(xbdev__lvs_map_reserve(&blob->map, nr_clusters), 0);
	blob->map.nr_clusters = nr_clusters;
	assert_int_equal(xbdev__lvs_blob_derive(blob, &t->err), 0);
	return blob;
}

static int op_first_write(struct lvol_session *t)
{
	const struct xbdev_lvs_map *map = &volume(t, "base")->map;
	uint32_t index = 0;

	while (xbdev__lvs_map_get(map, index) != 0) {
		index++;
	}
	return touch_cluster(
		t, "base", index); /* its extent page exists, but for after a snapshot */
}

static int op_create(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = make(t, "new", 2000);

	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	return lvol_session_commit(t);
}

static int op_first_write_new_page(struct lvol_session *t)
{
	return touch_cluster(t, "new", 1500);
}

static int op_long_chain(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = volume(t, "new");
	char value[4000];

	memset(value, 'x', sizeof(value));
	assert_int_equal(xbdev__lvs_xattr_set(blob, false, "big", 3, value, sizeof(value)), 0);
	assert_int_equal(xbdev__lvs_xattr_set(blob, false, "fat", 3, value, sizeof(value)), 0);
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	return lvol_session_commit(t);
}

static int op_other_chain(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = volume(t, "new");

	xbdev__lvs_xattr_remove(blob, false, "fat");
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	return lvol_session_commit(t);
}

static int op_rename(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = volume(t, "clone_of_1");

	assert_int_equal(xbdev__lvs_blob_set_name(blob, "another"), 0);
	assert_int_equal(xbdev__lvs_blob_derive(blob, &t->err), 0);
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	return lvol_session_commit(t);
}

static int op_snapshot(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = volume(t, "base"), *snap = make(t, "snap4", 0);
	struct xbdev_lvs_map empty = {0};
	int rc;

	/* S with V's map and a mark. */
	assert_int_equal(xbdev__lvs_map_reserve(&empty, blob->map.nr_clusters), 0);
	empty.nr_clusters = blob->map.nr_clusters;
	xbdev__lvs_map_fini(&snap->map);
	snap->map = blob->map;
	snap->invalid_flags = blob->invalid_flags;
	assert_int_equal(xbdev__lvs_xattr_set_id(snap, XBDEV_LVS_A_PARENT, blob->parent_id), 0);
	assert_int_equal(xbdev__lvs_xattr_set_id(snap, XBDEV_LVS_A_TAKING, blob->id), 0);
	assert_int_equal(xbdev__lvs_blob_derive(snap, &t->err), 0);
	assert_int_equal(xbdev__lvs_blob_touch(snap, &t->err), 0);
	rc = lvol_session_commit(t);
	/* V, empty, on top of it. */
	blob->map = empty;
	xbdev__lvs_blob_link(snap, blob->parent);
	xbdev__lvs_blob_link(blob, snap);
	assert_int_equal(xbdev__lvs_xattr_set_id(blob, XBDEV_LVS_A_PARENT, snap->id), 0);
	assert_int_equal(xbdev__lvs_blob_derive(blob, &t->err), 0);
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	rc = rc == 0 ? lvol_session_commit(t) : rc;
	/* S without its mark. */
	xbdev__lvs_xattr_remove(snap, true, XBDEV_LVS_A_TAKING);
	snap->data_ro_flags |= XBDEV_LVS_RO_DATA;
	assert_int_equal(xbdev__lvs_blob_derive(snap, &t->err), 0);
	assert_int_equal(xbdev__lvs_blob_touch(snap, &t->err), 0);
	return rc == 0 ? lvol_session_commit(t) : rc;
}

static int op_shrink(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = volume(t, "solid_snap");
	struct xbdev_lvs_leaf *leaf = blob->map.leaves[0];
	uint32_t clusters[32], nr = 0, size = blob->map.nr_clusters * 2 / 3;
	int rc;

	for (uint32_t i = size; i < blob->map.nr_clusters; i++) {
		clusters[nr++] = xbdev__lvs_map_set(&blob->map, i, 0);
	}
	blob->map.nr_clusters = leaf->count = (uint16_t)size;
	blob->write.is_root_first = true;
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	assert_int_equal(xbdev__lvs_leaf_touch(blob, 0, &t->err), 0);
	rc = lvol_session_commit(t);
	for (uint32_t i = 0; rc == 0 && i < nr; i++) {
		xbdev__lvs_cluster_free(t->w.store, clusters[i]);
	}
	return rc;
}

static int op_delete_volume(struct lvol_session *t, const char *name)
{
	struct xbdev_lvs_blob *blob = volume(t, name);
	int rc;

	assert_int_equal(xbdev__lvs_blob_doom(blob, &t->err), 0);
	rc = lvol_session_commit(t);
	if (rc == 0) {
		for (uint32_t i = xbdev__lvs_map_next(&blob->map, 0); i < blob->map.nr_clusters;
			i = xbdev__lvs_map_next(&blob->map, i + 1)) {
			xbdev__lvs_cluster_free(t->w.store, xbdev__lvs_map_get(&blob->map, i));
		}
		xbdev__lvs_blob_free(blob);
	}
	return rc;
}

static int op_grow(struct lvol_session *t)
{
	struct xbdev_lvs_blob *blob = volume(t, "solid_snap");
	uint32_t old = blob->map.nr_clusters, size = old + 5;

	assert_int_equal(xbdev__lvs_map_reserve(&blob->map, size), 0);
	for (uint32_t i = old; i < size; i++) {
		xbdev__lvs_map_set(&blob->map, i, xbdev__lvs_cluster_take(t->w.store));
	}
	blob->map.leaves[0]->count = (uint16_t)size;
	blob->map.nr_clusters = size;
	assert_int_equal(xbdev__lvs_leaf_touch(blob, 0, &t->err), 0);
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t->err), 0);
	return lvol_session_commit(t);
}

/* The clone takes over what the snapshot has and it has not. */
static void merge(struct lvol_session *t, struct xbdev_lvs_blob *clone, struct xbdev_lvs_blob *snap)
{
	struct xbdev_lvs_leaf *to = clone->map.leaves[0];

	if (to == NULL) {
		xbdev__lvs_map_move(&clone->map, &snap->map, 0);
		return;
	}
	for (uint32_t i = 0; i < clone->map.nr_clusters; i++) {
		uint32_t cluster = xbdev__lvs_map_get(&snap->map, i);

		if (cluster != 0 && xbdev__lvs_map_get(&clone->map, i) == 0) {
			xbdev__lvs_map_set(&snap->map, i, 0);
			xbdev__lvs_map_set(&clone->map, i, cluster);
		}
	}
	/* On a new page: what the old one says must not change before the root does. */
	assert_int_equal(xbdev__lvs_numbers_add(&clone->write.garbage, to->page), 0);
	to->page = xbdev__lvs_page_take(t->w.store);
	to->is_on_disk = false;
	assert_int_equal(xbdev__lvs_leaf_touch(clone, 0, &t->err), 0);
}

static int op_delete_snapshot(struct lvol_session *t)
{
	struct xbdev_lvs_blob *snap = volume(t, "snap4"), *clone = volume(t, "base");
	int rc;

	assert_ptr_equal(clone->parent, snap);
	assert_int_equal(xbdev__lvs_xattr_set_id(snap, XBDEV_LVS_A_DELETING, clone->id), 0);
	assert_int_equal(xbdev__lvs_blob_derive(snap, &t->err), 0);
	assert_int_equal(xbdev__lvs_blob_touch(snap, &t->err), 0);
	rc = lvol_session_commit(t);
	merge(t, clone, snap);
	assert_int_equal(xbdev__lvs_xattr_set_id(clone, XBDEV_LVS_A_PARENT, snap->parent_id), 0);
	assert_int_equal(xbdev__lvs_blob_derive(clone, &t->err), 0);
	xbdev__lvs_blob_link(clone, snap->parent);
	assert_int_equal(xbdev__lvs_blob_touch(clone, &t->err), 0);
	rc = rc == 0 ? lvol_session_commit(t) : rc;
	return rc == 0 ? op_delete_volume(t, "snap4") : rc;
}

static int op_delete(struct lvol_session *t)
{
	return op_delete_volume(t, "new");
}

static const struct {
	const char *name;
	int (*fn)(struct lvol_session *t);
} ops[] = {
	{"first write", op_first_write},
	{"create", op_create},
	{"first write, new extent page", op_first_write_new_page},
	{"long chain", op_long_chain},
	{"other chain", op_other_chain},
	{"rename", op_rename},
	{"snapshot", op_snapshot},
	{"first write after it", op_first_write},
	{"delete the snapshot", op_delete_snapshot},
	{"snapshot again", op_snapshot},
	{"delete it before a write", op_delete_snapshot},
	{"shrink", op_shrink},
	{"grow", op_grow},
	{"delete", op_delete},
};

/* ---- what is left ---- */

/* Loads what is on a disk after a crash, and recovers; its description. */
static char *after_crash(const uint8_t *image, uint64_t size, uint32_t block_size,
	struct xu_random *random, const char *const *allowed)
{
	struct lvol_session t;
	char *text;

	lvol_session_start(&t, image, size, block_size);
	assert_string_equal(t.w.store->read_only_reason.text, "");
	lvol_disk_begin(t.disk);
	lvol_session_recover(&t);
	text = describe(t.w.store);
	if (allowed != NULL && t.disk->nr_log > 0) {
		/* And power fails amid the recovery. */
		const uint8_t *again = lvol_disk_crash(
			t.disk, (uint32_t)xu_random_below(random, t.disk->nr_log + 1), random);
		char *second = after_crash(again, size, block_size, random, NULL);

		if (strcmp(second, text) != 0) {
			fail_msg("after a second crash:\n%s\nafter the first:\n%s", second, text);
		}
		free(second);
		lvol_disk_crash_free(again);
	}
	/* It goes on as if nothing had been, and closes. */
	assert_int_equal(lvol_session_commit(&t), 0);
	lvol_session_unload(&t);
	assert_int_equal(t.err.code, 0);
	lvol_session_stop(&t);
	return text;
}

/* The lines of the volumes only: SPDK's count of free clusters differs while something is settled.
 */
static const char *lines(const char *text)
{
	assert_null(strstr(text, "refused"));
	return strchr(text, '\n') + 1;
}

/* SPDK too finds the state before or the one behind in what is left, whatever the moment. */
static void check_with_reader(const uint8_t *image, char *const *expected)
{
	char *text = lvol_session_reader(lvol_image_of(image), false);

	if (strcmp(lines(text), lines(expected[0])) != 0 &&
		strcmp(lines(text), lines(expected[1])) != 0) {
		fail_msg("the reader says\n%s\nbefore:\n%s\nafter:\n%s", text, expected[0],
			expected[1]);
	}
	free(text);
}

static void sweep(const char *name)
{
	bool is_long = getenv("XSAN_LONG") != NULL;
	uint32_t nr_tries = is_long ? 8 : 1, reader_step = is_long ? 1 : 16;
	uint64_t seed = harness_seed(1), size;
	struct xu_random random;
	uint32_t block_size, nr_crashes = 0;
	uint8_t *content = lvol_session_content(name, &size, &block_size);
	struct lvol_session t;

	xu_random_seed(&random, seed);
	memset(content + METADATA_BYTES, 0, size - METADATA_BYTES); /* it is copied many times */
	lvol_session_start(&t, content, size, block_size);
	free(content);
	for (uint32_t op = 0; op < ARRAY_SIZE(ops); op++) {
		char *states[2] = {describe(t.w.store), NULL};
		char *expected[2] = {lvol_session_expected(&t, false), NULL};

		lvol_disk_begin(t.disk);
		assert_int_equal(ops[op].fn(&t), 0);
		states[1] = describe(t.w.store);
		expected[1] = lvol_session_expected(&t, false);
		assert_string_not_equal(states[0], states[1]);
		for (uint32_t n = 0; n <= t.disk->nr_log; n++) {
			for (uint32_t try = 0; try < nr_tries; try++) {
				bool is_in_order = is_long ? try == 0 : n % 2 == 0;
				const uint8_t *image =
					lvol_disk_crash(t.disk, n, is_in_order ? NULL : &random);
				char *text = after_crash(image, size, block_size, &random,
					(const char *const *)states);
				bool is_old = strcmp(text, states[0]) == 0;
				bool is_new = strcmp(text, states[1]) == 0;

				if (!is_old && !is_new) {
					fail_msg("%s, after %u of %u, try %u:\n%s\nbefore:\n%s"
						 "\nafter:\n%s",
						ops[op].name, n, t.disk->nr_log, try, text,
						states[0], states[1]);
				}
				/* What has ended is durable. */
				assert_true(n < t.disk->nr_log || is_new);
				if (is_in_order && n % reader_step == 0) { /* it takes its time */
					check_with_reader(image, expected);
				}
				free(text);
				lvol_disk_crash_free(image);
				nr_crashes++;
			}
		}
		free(states[0]);
		free(states[1]);
		free(expected[0]);
		free(expected[1]);
	}
	printf("%u crashes\n", nr_crashes);
	assert_true(nr_crashes > 80);
	lvol_session_stop(&t);
}

static struct xbdev_lvs_waiter second;
static bool has_second;

static void on_first(struct xbdev_lvs_waiter *waiter, int status)
{
	struct lvol_session *t = xu_container_of(waiter, struct lvol_session, waiter);

	assert_int_equal(status, 0);
	assert_false(has_second); /* in their order */
	t->nr_done++;
}

static void on_second(struct xbdev_lvs_waiter *waiter, int status)
{
	assert_int_equal(status, 0);
	has_second = true;
}

static void test_write_power_fails_with_torn_writes(void **state)
{
	(void)state;
	sweep("snapchain-512-64k-clean");
}

static void test_write_power_fails_with_whole_pages(void **state)
{
	(void)state;
	sweep("snapchain-4k-1m-clean");
}

/* More than a batch holds, marked at once; then again, while the first are being written. */
static void test_write_many_at_once(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("snapchain-512-64k-clean", &size, &block_size);
	char *before, *after, name[16];
	struct lvol_session t;

	(void)state;
	lvol_session_start(&t, content, size, block_size);
	for (uint32_t i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "many%u", i);
		assert_int_equal(xbdev__lvs_blob_touch(make(&t, name, 700), &t.err), 0);
	}
	t.waiter.fn = on_first;
	xbdev__lvs_commit(t.w.store, &t.waiter);
	harness_poll_times(&t.w.h, 3);
	assert_int_equal(t.nr_done, 0);
	for (uint32_t i = 0; i < 100; i++) {
		struct xbdev_lvs_blob *blob;
		struct xbdev_lvs_leaf *leaf;

		snprintf(name, sizeof(name), "many%u", i);
		blob = volume(&t, name);
		leaf = xbdev__lvs_map_leaf(&blob->map, i % 2);
		leaf->count = (uint16_t)xbdev__lvs_slot_count(700, i % 2);
		xbdev__lvs_map_set(&blob->map, i % 2 * 512, xbdev__lvs_cluster_take(t.w.store));
		assert_int_equal(xbdev__lvs_leaf_touch(blob, i % 2, &t.err), 0);
	}
	second.fn = on_second;
	has_second = false;
	xbdev__lvs_commit(t.w.store, &second);
	harness_wait(&t.w.h, has_second);
	assert_int_equal(t.nr_done, 1);
	before = describe(t.w.store);
	memcpy(content, t.disk->memory, size);
	lvol_session_stop(&t);
	lvol_session_start(&t, content, size, block_size);
	after = describe(t.w.store);
	assert_string_equal(after, before);
	free(before);
	free(after);
	free(content);
	lvol_session_stop(&t);
}

static void test_write_without_free_pages(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("snapchain-512-64k-clean", &size, &block_size);
	struct xbdev_lvs_numbers taken = {0};
	char *before, *after, value[4000] = {0};
	struct xbdev_lvs_blob *blob;
	struct lvol_session t;
	uint32_t page;

	(void)state;
	lvol_session_start(&t, content, size, block_size);
	while ((page = xbdev__lvs_page_take(t.w.store)) != XBDEV_LVS_NO_PAGE) {
		assert_int_equal(xbdev__lvs_numbers_add(&taken, page), 0);
	}
	blob = volume(&t, "base");
	assert_int_equal(xbdev__lvs_xattr_set(blob, false, "big", 3, value, sizeof(value)), 0);
	assert_int_equal(xbdev__lvs_blob_touch(blob, &t.err), -ENOSPC);
	assert_non_null(strstr(t.err.text, "no free metadata page (of 512)"));
	xbdev__lvs_xattr_remove(blob, false, "big");
	/* What needs no new page is written, without a copy. */
	assert_int_equal(op_rename(&t), 0);
	assert_int_equal(op_delete_volume(&t, "clone_of_3"), 0);
	while (taken.count > 0) {
		xbdev__lvs_bits_clear(&t.w.store->pages, taken.items[--taken.count]);
	}
	xbdev__lvs_numbers_fini(&taken);
	before = describe(t.w.store);
	lvol_session_unload(&t);
	assert_int_equal(t.err.code, 0);
	memcpy(content, t.disk->memory, size);
	lvol_session_stop(&t);
	lvol_session_start(&t, content, size, block_size);
	after = describe(t.w.store);
	assert_string_equal(after, before);
	free(before);
	free(after);
	free(content);
	lvol_session_stop(&t);
}

static void test_write_is_there_after_unload(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("snapchain-512-64k-clean", &size, &block_size);
	char *before, *after, *expected;
	struct lvol_session t;

	(void)state;
	lvol_session_start(&t, content, size, block_size);
	for (uint32_t op = 0; op < ARRAY_SIZE(ops); op++) {
		assert_int_equal(ops[op].fn(&t), 0);
		before = describe(t.w.store);
		expected = lvol_session_expected(&t, true);
		lvol_session_unload(&t);
		assert_int_equal(t.err.code, 0);
		after = lvol_session_reader(t.disk->image, true);
		assert_string_equal(after, expected);
		free(after);
		free(expected);
		memcpy(content, t.disk->memory, size);
		lvol_session_stop(&t);
		lvol_session_start(&t, content, size, block_size);
		assert_true(t.w.store->super.is_clean);
		assert_false(xbdev__lvs_needs_recovery(t.w.store));
		after = describe(t.w.store);
		assert_string_equal(after, before);
		free(before);
		free(after);
	}
	free(content);
	lvol_session_stop(&t);
}

static void test_write_nothing_without_a_change(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("snapchain-512-64k-clean", &size, &block_size);
	struct lvol_session t;

	(void)state;
	lvol_session_start(&t, content, size, block_size);
	lvol_session_recover(&t);
	lvol_session_unload(&t);
	assert_memory_equal(t.disk->memory, content, size);
	free(content);
	lvol_session_stop(&t);
}

/* Each write and flush of each operation fails in turn; the same operation's commit again is good.
 */
static void test_write_io_fails(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("snapchain-512-64k-clean", &size, &block_size);

	(void)state;
	for (uint32_t op = 1; op < 5; op++) { /* each stands on those before */
		bool has_failed = true;

		for (uint32_t n = 1; has_failed; n++) {
			char *before, *after;
			const uint8_t *image;
			struct lvol_session t;

			assert_true(n < 100);
			lvol_session_start(&t, content, size, block_size);
			for (uint32_t i = 1; i < op; i++) {
				assert_int_equal(ops[i].fn(&t), 0);
			}
			t.disk->fail_at = t.disk->nr_writes + n;
			has_failed = ops[op].fn(&t) != 0;
			if (has_failed) {
				assert_int_equal(t.status, -EIO);
				assert_int_equal(lvol_session_commit(&t), 0);
			}
			before = describe(t.w.store);
			lvol_disk_begin(t.disk);
			image = lvol_disk_crash(t.disk, 0, NULL);
			lvol_session_stop(&t);
			lvol_session_start(&t, image, size, block_size);
			lvol_session_recover(&t);
			after = describe(t.w.store);
			assert_string_equal(after, before);
			free(before);
			free(after);
			lvol_session_unload(&t);
			assert_int_equal(t.err.code, 0);
			lvol_session_stop(&t);
			lvol_disk_crash_free(image);
		}
	}
	free(content);
}

/* The write that fails has been done in part, and power fails while it is done again. */
static void test_write_fails_and_leaves_a_torn_page(void **state)
{
	uint64_t size;
	uint32_t block_size, nr_crashes = 0;
	uint8_t *content = lvol_session_content("snapchain-512-64k-clean", &size, &block_size);
	struct xu_random random;

	(void)state;
	xu_random_seed(&random, harness_seed(1));
	memset(content + METADATA_BYTES, 0, size - METADATA_BYTES);
	for (uint32_t op = 3; op < 5; op++) { /* with chains of several pages */
		bool has_failed = true;

		for (uint32_t n = 1; has_failed; n++) {
			char *states[2];
			struct lvol_session t;

			assert_true(n < 100);
			lvol_session_start(&t, content, size, block_size);
			for (uint32_t i = 1; i < op; i++) {
				assert_int_equal(ops[i].fn(&t), 0);
			}
			states[0] = describe(t.w.store);
			t.disk->fail_at = t.disk->nr_writes + n;
			t.disk->is_tearing = true;
			has_failed = ops[op].fn(&t) != 0;
			t.disk->fail_at = 0;
			lvol_disk_begin(t.disk);
			assert_int_equal(lvol_session_commit(&t), 0);
			states[1] = describe(t.w.store);
			for (uint32_t i = 0; has_failed && i < 6 * t.disk->nr_log; i++) {
				uint32_t k = i / 6;
				const uint8_t *image = lvol_disk_crash(t.disk, k, &random);
				char *text = after_crash(image, size, block_size, &random,
					(const char *const *)states);

				if (strcmp(text, states[0]) != 0 && strcmp(text, states[1]) != 0) {
					fail_msg("%s, write %u failed, after %u of %u:\n%s"
						 "\nbefore:\n%s\nafter:\n%s",
						ops[op].name, n, k, t.disk->nr_log, text, states[0],
						states[1]);
				}
				free(text);
				lvol_disk_crash_free(image);
				nr_crashes++;
			}
			free(states[0]);
			free(states[1]);
			lvol_session_stop(&t);
		}
	}
	print_message("%u crashes\n", nr_crashes);
	free(content);
}

/* Images of SPDK that were interrupted: recovered, closed, loaded again. */
static void test_recover_images(void **state)
{
	static const char *const names[] = {"inflight-snapshot-undo-512-64k",
		"inflight-snapshot-redo-4k-64k", "inflight-delete-undo-512-16k",
		"inflight-delete-redo-512-16k", "snapchain-512-64k-unclean", "masks-stale-unclean"};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t size, free_clusters;
		uint32_t block_size;
		uint8_t *content = lvol_session_content(names[i], &size, &block_size);
		struct lvol_session t;

		lvol_session_start(&t, content, size, block_size);
		assert_false(t.w.store->super.is_clean);
		free_clusters = xbdev__lvs_free_clusters(t.w.store);
		assert_int_equal(xbdev__lvs_needs_recovery(t.w.store), i < 4);
		lvol_session_recover(&t);
		if (i == 3) { /* the clusters that the snapshot alone had */
			assert_true(xbdev__lvs_free_clusters(t.w.store) >= free_clusters);
		}
		for (uint32_t k = 0; k < t.w.store->nr_blobs; k++) {
			assert_int_equal(t.w.store->blobs[k]->in_flight, XBDEV_LVS_SETTLED);
			assert_int_equal(t.w.store->blobs[k]->taking_of, 0);
			assert_int_equal(t.w.store->blobs[k]->deleting_of, 0);
		}
		free_clusters = xbdev__lvs_free_clusters(t.w.store);
		lvol_session_unload(&t);
		assert_int_equal(t.err.code, 0);
		memcpy(content, t.disk->memory, size);
		lvol_session_stop(&t);
		lvol_session_start(&t, content, size, block_size);
		assert_true(t.w.store->super.is_clean);
		assert_false(xbdev__lvs_needs_recovery(t.w.store));
		assert_int_equal(xbdev__lvs_free_clusters(t.w.store), free_clusters);
		lvol_session_stop(&t);
		free(content);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_nothing_without_a_change),
		cmocka_unit_test(test_write_is_there_after_unload),
		cmocka_unit_test(test_write_io_fails),
		cmocka_unit_test(test_write_fails_and_leaves_a_torn_page),
		cmocka_unit_test(test_recover_images),
		cmocka_unit_test(test_write_many_at_once),
		cmocka_unit_test(test_write_without_free_pages),
		cmocka_unit_test(test_write_power_fails_with_torn_writes),
		cmocka_unit_test(test_write_power_fails_with_whole_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
