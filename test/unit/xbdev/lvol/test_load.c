/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every store made by SPDK loads or is refused as the manifest says, and each volume has the name,
 * size, parent, flags and content that SPDK read of it. Where we do better than SPDK the cases are
 * named here with the reason. Then stores that SPDK gets wrong or does not check, made from its
 * images.
 */
#include "test/unit/xbdev/lvol/world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_every_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
