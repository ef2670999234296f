/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every store made by SPDK loads or is refused as the manifest says, and each volume has the name,
 * size, parent, flags and content that SPDK read of it. Where we do better than SPDK the cases are
 * named here with the reason. Then stores that SPDK gets wrong or does not check, made from its
 * images.
 */
#include "test/unit/xbdev/lvol/session.h"

#include <unistd.h>

#include "lib/xbdev/lvol/chain.h"

#define PAGE XBDEV_LVS_PAGE_BYTES

/* ---- the images ---- */

static int errno_of(const char *name)
{
	static const struct {
		const char *name;
		int code;
	} codes[] = {{"EILSEQ", -EILSEQ}, {"ENXIO", -ENXIO}, {"ENODEV", -ENODEV}};

	for (uint32_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (strcmp(codes[i].name, name) == 0) {
			return codes[i].code;
		}
	}
	fail_msg("what is %s?", name);
	return 0;
}

static void unpack_esnap(char *path, size_t size)
{
	char command[600];

	snprintf(path, size, "%s/esnap.base", harness_dir());
	snprintf(command, sizeof(command), "zstd -dcq '%s/esnap-512-64k.base.img.zst' > '%s'",
		LVOL_FIXTURE_DIR, path);
	assert_int_equal(system(command), 0);
}

static void check_volume(struct lvol_world *w, json_t *volume, const char *esnap_path)
{
	const char *name = lvol_fixture_text(volume, "name");
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_by_name(w->store, name);
	json_t *parent = json_object_get(volume, "clone_of"), *esnap;
	char uuid[XU_UUID_TEXT_SIZE], sum[LVOL_SHA256_TEXT];

	if (blob == NULL || blob->reason != NULL) {
		fail_msg("%s: %s", name, blob != NULL ? blob->reason->text : "it is missing");
	}
	xu_uuid_format(&blob->uuid, uuid);
	assert_string_equal(uuid, lvol_fixture_text(volume, "uuid"));
	assert_int_equal(xbdev__lvs_blob_size(blob), lvol_fixture_u64(volume, "size"));
	assert_int_equal(xbdev__lvs_blob_is_thin(blob), lvol_fixture_bool(volume, "thin"));
	assert_int_equal(xbdev__lvs_blob_is_snapshot(blob), lvol_fixture_bool(volume, "snapshot"));
	assert_int_equal(
		xbdev__lvs_blob_is_read_only(blob), lvol_fixture_bool(volume, "read_only"));
	assert_int_equal(blob->map.nr_allocated, lvol_fixture_u64(volume, "allocated_clusters"));
	if (json_is_string(parent)) {
		assert_string_equal(blob->parent->name, json_string_value(parent));
	} else {
		assert_null(blob->parent);
	}
	esnap = json_object_get(volume, "esnap");
	assert_int_equal(blob->esnap != NULL, json_is_string(esnap));
	if (blob->esnap != NULL) {
		assert_string_equal(xbdev__lvs_xattr_value(blob->esnap), json_string_value(esnap));
	}
	lvol_world_sha256(w, blob, esnap_path, sum);
	assert_string_equal(sum, lvol_fixture_text(volume, "sha256"));
}

static void check_store(struct lvol_world *w, const struct lvol_fixture *f)
{
	json_t *lvs = json_object_get(f->json, "lvs"), *volume;
	uint64_t free_clusters = lvol_fixture_u64(lvs, "free_clusters");
	char esnap_path[300], uuid[XU_UUID_TEXT_SIZE];
	json_t *volumes = json_object_get(f->json, "lvols");
	size_t i;

	assert_string_equal(w->store->name, lvol_fixture_text(lvs, "name"));
	xu_uuid_format(&w->store->uuid, uuid);
	assert_string_equal(uuid, lvol_fixture_text(lvs, "uuid"));
	assert_int_equal(w->store->super.cluster_size, lvol_fixture_u64(lvs, "cluster_size"));
	assert_int_equal(w->store->block_size, lvol_fixture_u64(lvs, "block_size"));
	assert_int_equal(
		xbdev__lvs_data_clusters(w->store), lvol_fixture_u64(lvs, "total_data_clusters"));
	if (strcmp(f->name, "cluster-mask-missing-bit") == 0) {
		free_clusters--; /* SPDK would use it again; we know that it is in use */
	}
	assert_int_equal(xbdev__lvs_free_clusters(w->store), free_clusters);
	assert_int_equal(w->store->read_only_reason.code, 0);
	unpack_esnap(esnap_path, sizeof(esnap_path));
	json_array_foreach (volumes, i, volume) {
		check_volume(w, volume, esnap_path);
	}
	unlink(esnap_path);
	assert_int_equal(lvol_world_nr_usable(w), json_array_size(volumes));
}

static void check_unavailable(const struct lvol_world *w, const struct lvol_fixture *f)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < w->store->nr_blobs; i++) {
		const struct xbdev_lvs_blob *blob = w->store->blobs[i];

		if (blob->reason != NULL) {
			assert_true(blob->reason->code < 0 && blob->reason->text[0] != '\0');
			nr++;
		}
	}
	assert_int_equal(nr, json_array_size(json_object_get(f->json, "unavailable")));
}

static void test_load_every_image(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < lvol_fixture_count(); i++) {
		struct lvol_fixture f;
		struct lvol_world w;

		lvol_fixture_open(&f, lvol_fixture_name(i));
		printf("%s\n", f.name);
		lvol_world_start(&w, f.path, f.block_size);
		lvol_world_load(&w);
		if (lvol_fixture_opens(&f)) {
			if (w.store == NULL) {
				fail_msg("%s", w.err.text);
			}
			check_store(&w, &f);
			check_unavailable(&w, &f);
		} else if (strcmp(f.name, "bad-extent-page-unclean") == 0) {
			/* SPDK refuses the store; we show what is whole and change nothing. */
			assert_non_null(w.store);
			assert_int_equal(w.store->read_only_reason.code, -EUCLEAN);
			assert_int_equal(xbdev__lvs_cluster_take(w.store), 0);
			assert_non_null(xbdev__lvs_blob_by_name(w.store, "thick1")->reason);
			assert_int_equal(lvol_world_nr_usable(&w), 4);
		} else {
			const char *text = lvol_fixture_text(f.json, "errno");
			bool is_no_store = strcmp(f.name, "bad-super-signature") == 0;

			assert_int_equal(w.err.code, is_no_store ? -ENOENT : errno_of(text));
			assert_non_null(strstr(w.err.text, "'base'"));
		}
		lvol_world_stop(&w);
		lvol_fixture_close(&f);
	}
}

/* ---- what SPDK gets wrong or does not look at ---- */

struct edit {
	uint8_t *content;
	uint64_t size;
	uint32_t block_size, md_start;
	struct lvol_session t;
};

static void edit_start(struct edit *e, const char *name)
{
	e->content = lvol_session_content(name, &e->size, &e->block_size);
	memcpy(&e->md_start, e->content + 48, sizeof(e->md_start));
}

static uint8_t *page_of(struct edit *e, uint32_t page)
{
	return e->content + (size_t)(e->md_start + page) * PAGE;
}

static void set_unclean(struct edit *e)
{
	e->content[16] = 0;
	lvol_fixture_fix(e->content);
}

/* Changes a page's bytes and makes its checksum right. */
static void edit_page(struct edit *e, uint32_t page, uint32_t at, const void *bytes, size_t len)
{
	memcpy(page_of(e, page) + at, bytes, len);
	lvol_fixture_fix(page_of(e, page));
}

static void edit_load(struct edit *e)
{
	lvol_session_start(&e->t, e->content, e->size, e->block_size);
}

static void edit_stop(struct edit *e)
{
	lvol_session_stop(&e->t);
	free(e->content);
}

static const char *reason_of(struct edit *e, uint32_t root)
{
	const struct xbdev_lvs_blob *blob =
		xbdev__lvs_blob_by_id(e->t.w.store, XBDEV_LVS_ID_BASE + root);

	return blob != NULL && blob->reason != NULL ? blob->reason->text : "";
}

/* Where the value of an internal attribute lies in a page. */
static uint32_t find_value(const uint8_t *page, const char *name)
{
	uint32_t len = (uint32_t)strlen(name);

	for (uint32_t at = 16; at + len < PAGE; at++) {
		if (memcmp(page + at, name, len) == 0) {
			return at + len;
		}
	}
	fail_msg("there is no %s", name);
	return 0;
}

static void test_load_deletion_that_had_begun_to_merge(void **state)
{
	struct xbdev_lvs_blob *snap, *clone;
	struct edit e;
	uint32_t index, nr_own;
	uint64_t free_clusters;

	(void)state;
	edit_start(&e, "inflight-delete-undo-512-16k");
	edit_load(&e);
	snap = xbdev__lvs_blob_by_name(e.t.w.store, "snap");
	clone = xbdev__lvs_blob_by_name(e.t.w.store, "vol");
	assert_int_equal(snap->in_flight, XBDEV_LVS_KEEP);
	free_clusters = xbdev__lvs_free_clusters(e.t.w.store);
	nr_own = (uint32_t)clone->map.nr_allocated;
	/* The clone's extent page takes in what the snapshot has in the same slot: step 2. */
	for (index = 0; index < 512; index++) {
		uint32_t cluster = xbdev__lvs_map_get(&snap->map, index);

		if (cluster != 0 && xbdev__lvs_map_get(&clone->map, index) == 0) {
			xbdev__lvs_map_set(&clone->map, index, cluster);
		}
	}
	assert_true(clone->map.nr_allocated > nr_own);
	assert_int_equal(xbdev__lvs_leaf_touch(clone, 0, &e.t.err), 0);
	assert_int_equal(lvol_session_commit(&e.t), 0);
	memcpy(e.content, e.t.disk->memory, e.size);
	lvol_session_stop(&e.t);

	for (uint32_t round = 0; round < 2; round++) { /* before and after the recovery */
		edit_load(&e);
		clone = xbdev__lvs_blob_by_name(e.t.w.store, "vol");
		assert_int_equal(clone->map.nr_allocated, nr_own);
		assert_string_equal(clone->parent->name, "snap");
		assert_int_equal(xbdev__lvs_free_clusters(e.t.w.store), free_clusters);
		assert_int_equal(xbdev__lvs_needs_recovery(e.t.w.store), round == 0);
		lvol_session_recover(&e.t);
		memcpy(e.content, e.t.disk->memory, e.size);
		if (round == 0) {
			lvol_session_stop(&e.t);
		}
	}
	edit_stop(&e);
}

static void test_load_unclean_with_a_bad_root_gives_nothing_away(void **state)
{
	struct edit e;

	(void)state;
	edit_start(&e, "bad-lvol-md-page");
	set_unclean(&e);
	edit_load(&e);
	assert_non_null(strstr(e.t.w.store->read_only_reason.text, "0x100000003"));
	assert_int_equal(lvol_world_nr_usable(&e.t.w), 4);
	assert_int_equal(xbdev__lvs_cluster_take(e.t.w.store), 0);
	assert_int_equal(
		xbdev__lvs_blob_touch(xbdev__lvs_blob_by_name(e.t.w.store, "thick1"), &e.t.err),
		-EROFS);
	lvol_session_recover(&e.t);
	lvol_session_unload(&e.t);
	assert_int_equal(e.t.err.code, 0);
	assert_memory_equal(e.t.disk->memory, e.content, e.size);
	edit_stop(&e);
}

static void test_load_unclean_with_a_missing_parent_gives_nothing_away(void **state)
{
	struct edit e;

	(void)state;
	edit_start(&e, "snapchain-512-64k-unclean");
	memset(page_of(&e, 3), 0xa5, PAGE); /* snap1, beyond recognition */
	edit_load(&e);
	assert_non_null(strstr(e.t.w.store->read_only_reason.text, "0x100000003"));
	assert_non_null(strstr(reason_of(&e, 5), "is missing"));
	assert_non_null(strstr(reason_of(&e, 7), "it stands on 'snap2'"));
	assert_int_equal(lvol_world_nr_usable(&e.t.w), 2); /* solid and its snapshot */
	edit_stop(&e);
}

static void test_load_circles(void **state)
{
	const uint64_t snap3 = XBDEV_LVS_ID_BASE + 7;
	struct edit e;
	uint32_t next = 3;

	(void)state;
	edit_start(&e, "snapchain-512-64k-clean");
	/* snap2 stands on snap3, which stands on snap2. */
	edit_page(&e, 5, find_value(page_of(&e, 5), "SNAP"), &snap3, sizeof(snap3));
	edit_load(&e);
	assert_non_null(strstr(reason_of(&e, 5), "circle"));
	assert_non_null(strstr(reason_of(&e, 7), "circle"));
	assert_non_null(strstr(reason_of(&e, 1), "it stands on")); /* base */
	assert_int_equal(lvol_world_nr_usable(&e.t.w), 4);
	edit_stop(&e);

	edit_start(&e, "snapchain-512-64k-clean");
	edit_page(&e, 3, 4088, &next, sizeof(next)); /* the chain of snap1 leads to its root */
	edit_load(&e);
	assert_non_null(strstr(reason_of(&e, 3), "met before"));
	assert_int_equal(lvol_world_nr_usable(&e.t.w), 2);
	edit_stop(&e);
	for (uint32_t i = 0; i < 2; i++) {
		edit_start(&e, "snapchain-512-64k-clean");
		next = i == 0 ? 0x200 : 0xfffffffe;
		edit_page(&e, 3, 4088, &next, sizeof(next)); /* off the metadata */
		edit_load(&e);
		assert_non_null(strstr(reason_of(&e, 3), "does not have"));
		edit_stop(&e);
	}
}

static void test_load_new_store_is_unclean_with_masks_of_zeroes(void **state)
{
	struct edit e;
	uint64_t free_clusters;

	(void)state;
	edit_start(&e, "thin-thick-512-1m");
	edit_load(&e);
	free_clusters = xbdev__lvs_free_clusters(e.t.w.store);
	lvol_session_stop(&e.t);
	set_unclean(&e);
	memset(e.content + PAGE, 0, 3 * PAGE);
	edit_load(&e);
	assert_int_equal(e.t.w.store->read_only_reason.code, 0);
	assert_int_equal(xbdev__lvs_free_clusters(e.t.w.store), free_clusters);
	assert_int_equal(lvol_world_nr_usable(&e.t.w), 5);
	edit_stop(&e);
}

/* The clean mark was being written: sector 0 has it, the checksum's does not. */
static void test_load_torn_super_block(void **state)
{
	struct edit e;

	(void)state;
	for (uint8_t clean = 0; clean < 2; clean++) {
		edit_start(&e, "thin-thick-512-1m");
		e.content[16] = 1 - clean;
		lvol_fixture_fix(e.content);
		e.content[16] = clean;
		edit_load(&e);
		assert_false(e.t.w.store->super.is_clean);
		assert_int_equal(lvol_world_nr_usable(&e.t.w), 5);
		lvol_session_unload(&e.t);
		memcpy(e.content, e.t.disk->memory, e.size);
		lvol_session_stop(&e.t);
		edit_load(&e);
		assert_true(e.t.w.store->super.is_clean);
		edit_stop(&e);
	}
}

/* A store of 4096-byte blocks by its super block, on a device of 512. */
static void test_load_blocks_larger_than_the_devices(void **state)
{
	struct edit e;

	(void)state;
	edit_start(&e, "thin-thick-4k-4m");
	e.block_size = 512;
	edit_load(&e);
	assert_int_equal(e.t.w.store->block_size, 4096);
	assert_int_equal(lvol_world_nr_usable(&e.t.w), 5);
	edit_stop(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_every_image),
		cmocka_unit_test(test_load_deletion_that_had_begun_to_merge),
		cmocka_unit_test(test_load_unclean_with_a_bad_root_gives_nothing_away),
		cmocka_unit_test(test_load_unclean_with_a_missing_parent_gives_nothing_away),
		cmocka_unit_test(test_load_circles),
		cmocka_unit_test(test_load_new_store_is_unclean_with_masks_of_zeroes),
		cmocka_unit_test(test_load_torn_super_block),
		cmocka_unit_test(test_load_blocks_larger_than_the_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
