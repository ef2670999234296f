/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The formats on disk: super blocks, masks, metadata pages and chains of a store that SPDK made say
 * what the manifest says, give the same bytes when they are written again, and are refused with a
 * sentence where a number in them leads astray.
 */
#include "lib/xbdev/lvol/chain.h"
#include "lib/xbdev/lvol/mask.h"
#include "test/unit/xbdev/lvol/fixture.h"

#define PAGE XBDEV_LVS_PAGE_BYTES

static void put_u32(uint8_t *at, uint32_t value)
{
	for (uint32_t i = 0; i < 4; i++) {
		at[i] = (uint8_t)(value >> 8 * i);
	}
}

/* ---- the super block ---- */

static void test_super_reads_the_worked_example(void **state)
{
	uint8_t bytes[PAGE], again[PAGE];
	struct xbdev_lvs_super super;
	struct lvol_fixture f;
	struct xu_error err = {0};

	(void)state;
	lvol_fixture_open(&f, "thin-thick-512-1m");
	lvol_fixture_read(&f, 0, bytes, PAGE);
	assert_int_equal(xbdev__lvs_super_parse(bytes, f.size_bytes, &super, &err), 0);
	assert_true(super.is_clean);
	assert_int_equal(super.super_blob, 0x100000000);
	assert_int_equal(super.cluster_size, 1 << 20);
	assert_int_equal(super.page_mask_start, 1);
	assert_int_equal(super.cluster_mask_start, 2);
	assert_int_equal(super.blobid_mask_start, 3);
	assert_int_equal(super.md_start, 4);
	assert_int_equal(super.md_len, 64);
	assert_int_equal(super.disk_size, 64 << 20);
	assert_int_equal(super.io_unit_size, 512);
	assert_int_equal(super.nr_clusters, 64);
	assert_int_equal(super.nr_md_clusters, 1);
	assert_true(xbdev__lvs_super_has_masks(&super));
	memcpy(again, bytes, PAGE);
	xbdev__lvs_super_format(&super, again);
	assert_memory_equal(again, bytes, PAGE);
	lvol_fixture_close(&f);
}

/* What we would lay out on the same device is what SPDK laid out. */
static void test_super_plans_as_spdk_does(void **state)
{
	uint32_t nr_planned = 0;

	(void)state;
	for (uint32_t i = 0; i < lvol_fixture_count(); i++) {
		uint8_t bytes[PAGE], ours[PAGE] = {0};
		struct xbdev_lvs_super super, plan;
		struct xbdev_lvs_super_opts opts;
		struct lvol_fixture f;
		struct xu_error err = {0};

		lvol_fixture_open(&f, lvol_fixture_name(i));
		lvol_fixture_read(&f, 0, bytes, PAGE);
		lvol_fixture_close(&f);
		if (xbdev__lvs_super_parse(bytes, f.size_bytes, &super, &err) != 0 ||
			strstr(f.name, "grown") != NULL) {
			continue;
		}
		opts = (struct xbdev_lvs_super_opts){
			.dev_bytes = super.disk_size,
			.block_size = f.block_size,
			.cluster_size = super.cluster_size,
			.page_size = super.page_size,
		};
		if (super.md_len != super.nr_clusters) {
			continue; /* made with a ratio of its own */
		}
		assert_int_equal(xbdev__lvs_super_plan(&opts, &plan, &err), 0);
		plan.super_blob = super.super_blob;
		plan.is_clean = super.is_clean;
		xbdev__lvs_super_format(&plan, ours);
		assert_memory_equal(ours, bytes, PAGE);
		nr_planned++;
	}
	assert_in_range(nr_planned, 15, UINT32_MAX);
}

static void test_super_refuses_what_cannot_be(void **state)
{
	static const struct {
		uint32_t at, value;
		int code;
		const char *text;
	} wrong[] = {
		{8, 4, -EILSEQ, "version 4"},
		{28, 1000, -EILSEQ, "clusters of 1000"},
		{28, 0, -EILSEQ, "clusters of 0"},
		{28, 2048, -EILSEQ, "clusters of 2048"},
		{32, 0, -EILSEQ, "mask of metadata pages"},
		{36, 2, -EILSEQ, "mask of clusters"},
		{40, 0xffffffff, -EILSEQ, "mask of clusters"},
		{44, 0xffffffff, -EILSEQ, "mask of clusters"},
		{48, 3, -EILSEQ, "metadata on pages 3"},
		{52, 0, -EILSEQ, "metadata on pages 4 and 0"},
		{52, 0x10000, -EILSEQ, "metadata"},
		{56, 0x20202020, -ENXIO, "another kind"},
		{72, 0xfffffff0, -EILSEQ, "mask of volumes"},
		{84, 1, -EILSEQ, "shrunk"},
		{88, 513, -EILSEQ, "blocks of 513"},
		{92, 4097, -EILSEQ, "pages of 4097"},
	};
	uint8_t good[PAGE], bytes[PAGE];
	struct lvol_fixture f;

	(void)state;
	lvol_fixture_open(&f, "thin-thick-512-1m");
	lvol_fixture_read(&f, 0, good, PAGE);
	for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct xbdev_lvs_super super;
		struct xu_error err = {0};

		memcpy(bytes, good, PAGE);
		put_u32(bytes + wrong[i].at, wrong[i].value);
		assert_int_equal(
			xbdev__lvs_super_parse(bytes, f.size_bytes, &super, &err), -EILSEQ);
		lvol_fixture_fix(bytes);
		assert_int_equal(
			xbdev__lvs_super_parse(bytes, f.size_bytes, &super, &err), wrong[i].code);
		if (strstr(err.text, wrong[i].text) == NULL) {
			fail_msg("'%s' lacks '%s'", err.text, wrong[i].text);
		}
	}
	lvol_fixture_close(&f);
}

static void test_super_grows_into_its_reserve(void **state)
{
	struct xbdev_lvs_super super, grown;
	struct xu_error err = {0};
	const struct xbdev_lvs_super_opts opts = {
		.dev_bytes = 24 << 20, .block_size = 4096, .cluster_size = 65536};

	(void)state;
	assert_int_equal(xbdev__lvs_super_plan(&opts, &super, &err), 0);
	assert_int_equal(xbdev__lvs_super_grow(&super, 40 << 20, &grown, &err), 0);
	assert_int_equal(grown.nr_clusters, 640);
	assert_int_equal(grown.md_len, super.md_len);
	/* One page of mask has room for (4096 - 5) * 8 clusters. */
	assert_int_equal(xbdev__lvs_super_grow(&super, 4091ull * 8 * 65536, &grown, &err), 0);
	assert_int_equal(
		xbdev__lvs_super_grow(&super, (4091ull * 8 + 1) * 65536, &grown, &err), -ENOSPC);
	assert_int_equal(xbdev__lvs_super_grow(&super, 24 << 20, &grown, &err), -EINVAL);
}

/* ---- masks ---- */

static void test_mask_reads_and_writes_the_worked_example(void **state)
{
	static const struct {
		enum xbdev_lvs_mask type;
		uint64_t at, set;
	} masks[] = {
		{XBDEV_LVS_MASK_PAGES, 0x1000, 0x3ff},
		{XBDEV_LVS_MASK_CLUSTERS, 0x2000, 0xffff},
		{XBDEV_LVS_MASK_BLOBIDS, 0x3000, 0xbb},
	};
	uint8_t bytes[PAGE], again[PAGE];
	struct lvol_fixture f;

	(void)state;
	lvol_fixture_open(&f, "thin-thick-512-1m");
	for (uint32_t i = 0; i < ARRAY_SIZE(masks); i++) {
		struct xbdev_lvs_bits bits;

		assert_int_equal(xbdev__lvs_bits_init(&bits, 64), 0);
		lvol_fixture_read(&f, masks[i].at, bytes, PAGE);
		/* In pieces, the first within the header. */
		xbdev__lvs_mask_parse(&bits, bytes, 0, 3);
		xbdev__lvs_mask_parse(&bits, bytes + 3, 3, 3);
		xbdev__lvs_mask_parse(&bits, bytes + 6, 6, PAGE - 6);
		assert_int_equal(bits.words[0], masks[i].set);
		assert_int_equal(bits.nr_set, __builtin_popcountll(masks[i].set));
		xbdev__lvs_mask_format(&bits, masks[i].type, 0, 4, again);
		xbdev__lvs_mask_format(&bits, masks[i].type, 4, PAGE - 4, again + 4);
		assert_memory_equal(again, bytes, PAGE);
		xbdev__lvs_bits_fini(&bits);
	}
	lvol_fixture_close(&f);
}

static void test_mask_passes_over_bits_beyond_its_end(void **state)
{
	uint8_t bytes[PAGE];
	struct xbdev_lvs_bits bits;

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(xbdev__lvs_bits_init(&bits, 70), 0);
	xbdev__lvs_mask_parse(&bits, bytes, 0, PAGE);
	assert_int_equal(bits.nr_set, 70);
	assert_int_equal(xbdev__lvs_bits_take(&bits), UINT64_MAX);
	xbdev__lvs_bits_fini(&bits);
}

/* ---- chains ---- */

/* A super block and the pages of one image, read without the loader. */
struct disk {
	struct lvol_fixture f;
	struct xbdev_lvs *store;
};

static void open_disk(struct disk *d, const char *name)
{
	struct xbdev_lvs_super super;
	struct xu_error err = {0};
	uint8_t bytes[PAGE];

	lvol_fixture_open(&d->f, name);
	lvol_fixture_read(&d->f, 0, bytes, PAGE);
	assert_int_equal(xbdev__lvs_super_parse(bytes, d->f.size_bytes, &super, &err), 0);
	d->store = xbdev__lvs_new(&super);
	assert_non_null(d->store);
}

static void close_disk(struct disk *d)
{
	xbdev__lvs_free(d->store);
	lvol_fixture_close(&d->f);
}

static void read_page(const struct disk *d, uint32_t page, uint8_t *bytes)
{
	lvol_fixture_read(&d->f, xbdev__lvs_page_at(&d->store->super, page), bytes, PAGE);
}

/* All of a volume whose metadata is whole, and its bytes, which must be the same when they are made
 * anew. */
static struct xbdev_lvs_blob *load_and_remake(struct disk *d, uint32_t root)
{
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(d->store, root);
	struct xbdev_lvs_chain chain = {0};
	struct xu_error err = {0};
	uint8_t bytes[8 * PAGE], again[8 * PAGE];
	uint32_t next = root, nr_more;
	bool is_cut;

	assert_non_null(blob);
	while (next != XBDEV_LVS_NO_PAGE) {
		uint8_t *page = bytes + chain.nr_pages * PAGE;

		assert_true(chain.nr_pages < 8);
		if (chain.nr_pages > 0) {
			assert_int_equal(xbdev__lvs_numbers_add(&blob->chain, next), 0);
		}
		read_page(d, next, page);
		if (xbdev__lvs_chain_parse(blob, &chain, page, &next, &err) != 0) {
			fail_msg("%s: page %u: %s", d->f.name, next, err.text);
		}
	}
	for (uint32_t slot = 0; slot < blob->map.nr_slots; slot++) {
		struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];
		uint8_t page[PAGE], made[PAGE];

		if (leaf == NULL || leaf->page == 0) {
			continue;
		}
		read_page(d, leaf->page, page);
		assert_int_equal(xbdev__lvs_leaf_parse(blob, leaf, page, &err), 0);
		xbdev__lvs_extents_format(made, XBDEV_LVS_ID_BASE + page[0],
			slot * XBDEV_LVS_LEAF_CLUSTERS, leaf->clusters, leaf->count);
		assert_memory_equal(made + 8, page + 8, PAGE - 12); /* but for the writer's id */
	}
	assert_int_equal(xbdev__lvs_chain_finish(blob, &chain, &is_cut, &err), 0);
	assert_false(is_cut);
	assert_int_equal(xbdev__lvs_chain_count(blob, &nr_more), chain.nr_pages);
	xbdev__lvs_chain_format(blob, blob->chain.items, again);
	for (uint32_t i = 0; i < chain.nr_pages; i++) {
		/* Bit 1 of the flags is not reliable in what SPDK writes. */
		uint8_t bit = (bytes[i * PAGE + 21] ^ again[i * PAGE + 21]) & 2;

		if (i == 0 && bit != 0) {
			again[21] ^= 2;
			lvol_fixture_fix(again);
		}
		assert_memory_equal(again + i * PAGE, bytes + i * PAGE, PAGE);
	}
	return blob;
}

/* Every volume of every image that is whole, against the manifest. */
static void test_chain_is_the_same_when_written_again(void **state)
{
	uint32_t nr_volumes = 0;

	(void)state;
	for (uint32_t i = 0; i < lvol_fixture_count(); i++) {
		const char *name = lvol_fixture_name(i);
		json_t *volume;
		struct disk d;
		size_t at;

		if (strncmp(name, "bad-", 4) == 0 || strncmp(name, "unknown-", 8) == 0 ||
			strncmp(name, "inflight-", 9) == 0 ||
			strcmp(name, "truncated-device") == 0) {
			continue;
		}
		open_disk(&d, name);
		json_array_foreach (json_object_get(d.f.json, "lvols"), at, volume) {
			uint64_t id = strtoull(lvol_fixture_text(volume, "blob_id"), NULL, 16);
			struct xbdev_lvs_blob *blob = load_and_remake(&d, (uint32_t)id);
			struct xu_error err = {0};

			assert_int_equal(blob->id, id);
			assert_int_equal(xbdev__lvs_blob_derive(blob, &err), 0);
			assert_string_equal(blob->name, lvol_fixture_text(volume, "name"));
			assert_int_equal(
				xbdev__lvs_blob_size(blob), lvol_fixture_u64(volume, "size"));
			assert_int_equal(blob->map.nr_allocated,
				lvol_fixture_u64(volume, "allocated_clusters"));
			assert_int_equal(
				xbdev__lvs_blob_is_thin(blob), lvol_fixture_bool(volume, "thin"));
			if (json_object_get(volume, "extents") != NULL) {
				assert_int_equal(blob->encoding == XBDEV_LVS_RLE,
					strcmp(lvol_fixture_text(volume, "extents"), "rle") == 0);
				assert_int_equal(blob->chain.count + 1,
					lvol_fixture_u64(volume, "md_pages"));
			}
			nr_volumes++;
		}
		close_disk(&d);
	}
	assert_in_range(nr_volumes, 80, UINT32_MAX);
}

static void test_page_worked_example(void **state)
{
	struct xbdev_lvs_blob *blob;
	struct disk d;

	(void)state;
	open_disk(&d, "thin-thick-512-1m");
	blob = load_and_remake(&d, 3);
	assert_int_equal(blob->map.nr_clusters, 16);
	assert_int_equal(blob->map.leaves[0]->page, 8);
	assert_int_equal(xbdev__lvs_map_get(&blob->map, 0), 8);
	assert_int_equal(xbdev__lvs_map_get(&blob->map, 1), 9);
	assert_int_equal(xbdev__lvs_map_get(&blob->map, 7), 10);
	assert_int_equal(xbdev__lvs_map_get(&blob->map, 15), 11);
	assert_int_equal(xbdev__lvs_map_next(&blob->map, 2), 7);
	assert_int_equal(blob->map.nr_allocated, 4);
	close_disk(&d);
}

/* Changes one number in the root of thin1 and expects a refusal that says why. */
static void test_chain_refuses_what_leads_astray(void **state)
{
	/* Byte in the page; in the table at the end: 16 clusters, extent page 8, count 1. */
	static const struct {
		uint32_t at, value;
		const char *text;
	} wrong[] = {
		{8, 1, "chain is broken"},
		{0, 4, "chain is broken"},
		{17, 25, "24"},
		{17, 5000, "more than are left"},
		{50, 65, "an attribute of"},
		{173, 11, "cannot have 11"},
		{177, 0, "longer than"},
		{181, 1, "more than there can be"},
		{185, 64, "cannot be"},
		{189, 2, "longer than"},
	};
	uint8_t good[PAGE], bytes[PAGE];
	struct disk d;

	(void)state;
	open_disk(&d, "thin-thick-512-1m");
	read_page(&d, 3, good);
	assert_int_equal(good[172], 5);
	for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(d.store, 3);
		struct xbdev_lvs_chain chain = {0};
		struct xu_error err = {0};
		uint32_t next;

		memcpy(bytes, good, PAGE);
		put_u32(bytes + wrong[i].at, wrong[i].value);
		assert_int_equal(xbdev__lvs_chain_parse(blob, &chain, bytes, &next, &err), -EILSEQ);
		assert_non_null(strstr(err.text, "checksum"));
		lvol_fixture_fix(bytes);
		assert_int_equal(xbdev__lvs_chain_parse(blob, &chain, bytes, &next, &err), -EILSEQ);
		if (strstr(err.text, wrong[i].text) == NULL) {
			fail_msg("%u: '%s' lacks '%s'", i, err.text, wrong[i].text);
		}
		xbdev__lvs_blob_free(blob);
	}
	close_disk(&d);
}

/* Extent pages that SPDK leaves when a resize is interrupted. */
static void test_chain_cuts_what_a_resize_left(void **state)
{
	static const struct {
		uint32_t nr_clusters, counts[3], result, nr_excess, nr_pages;
	} cases[] = {
		{1100, {512, 512, 76}, 1100, 0, 0},
		{600, {512, 512, 0}, 600, 424, 0},  /* was to grow */
		{1100, {512, 100, 76}, 612, 76, 1}, /* was to shrink: the last one is short */
		{1100, {512, 0, 0}, 512, 0, 2},     /* and so on */
		{1100, {0, 0, 0}, 0, 0, 3},
	};
	struct disk d;

	(void)state;
	open_disk(&d, "frag-4k-16k");
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(d.store, 7);
		struct xbdev_lvs_chain chain = {.has_table = true};
		struct xu_error err = {0};
		uint32_t cluster = 100;
		bool is_cut;

		assert_int_equal(xbdev__lvs_map_reserve(&blob->map, cases[i].nr_clusters), 0);
		blob->map.nr_clusters = cases[i].nr_clusters;
		blob->invalid_flags = XBDEV_LVS_F_TABLE;
		for (uint32_t slot = 0; slot < blob->map.nr_slots; slot++) {
			struct xbdev_lvs_leaf *leaf = xbdev__lvs_map_leaf(&blob->map, slot);

			leaf->page = 20 + slot;
			leaf->count = (uint16_t)cases[i].counts[slot];
			for (uint32_t k = 0; k < leaf->count; k++) {
				xbdev__lvs_map_set(&blob->map, slot * 512 + k, cluster++);
			}
		}
		assert_int_equal(xbdev__lvs_chain_finish(blob, &chain, &is_cut, &err), 0);
		assert_int_equal(is_cut, i != 0);
		assert_int_equal(blob->map.nr_clusters, cases[i].result);
		assert_int_equal(blob->map.nr_allocated, cases[i].result);
		assert_int_equal(blob->excess_clusters.count, cases[i].nr_excess);
		assert_int_equal(blob->excess_pages.count, cases[i].nr_pages);
		xbdev__lvs_blob_free(blob);
	}
	close_disk(&d);
}

static void test_page_copy_comes_back(void **state)
{
	uint8_t bytes[PAGE], copy[PAGE], back[PAGE];
	struct xbdev_lvs_page header;
	uint32_t page;
	struct disk d;

	(void)state;
	open_disk(&d, "thin-thick-512-1m");
	for (uint32_t i = 0; i < 10; i++) {
		read_page(&d, i, bytes);
		xbdev__lvs_copy_format(bytes, i, copy);
		assert_false(xbdev__lvs_copy_parse(bytes, &page, back));
		assert_true(xbdev__lvs_copy_parse(copy, &page, back));
		assert_int_equal(page, i);
		assert_memory_equal(back, bytes, PAGE);
		/* Nobody takes it for a root, on whatever page it lies. */
		for (uint32_t on = 0; on < 64; on++) {
			assert_false(xbdev__lvs_page_is_root(copy, on));
		}
		assert_true(xbdev__lvs_page_parse(copy, &header));
		assert_true(header.sequence != 0);
		copy[600] ^= 1;
		assert_false(xbdev__lvs_copy_parse(copy, &page, back));
	}
	memset(bytes, 0, PAGE);
	xbdev__lvs_copy_format(bytes, 63, copy);
	memset(back, 1, PAGE);
	assert_true(xbdev__lvs_copy_parse(copy, &page, back));
	assert_memory_equal(back, bytes, PAGE);
	assert_false(xbdev__lvs_copy_parse(bytes, &page, back));
	close_disk(&d);
}

/* Leaves get pages at random places; the chain takes one more page only when it was said to. */
static void test_chain_tells_for_how_many_leaves_it_suffices(void **state)
{
	enum { NR_SLOTS = 3000 };
	const struct xbdev_lvs_super super = {.cluster_size = 64u << 10,
		.io_unit_size = 512,
		.md_len = 8192,
		.nr_clusters = 4096,
		.nr_md_clusters = 600};
	struct xbdev_lvs *store = xbdev__lvs_new(&super);
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(store, 0);
	uint32_t nr_left = NR_SLOTS, nr_counted = 0, nr_pages = 1, nr_more;
	struct xu_random random;

	(void)state;
	xu_random_seed(&random, harness_seed(1));
	assert_int_equal(xbdev__lvs_blob_set_name(blob, "v"), 0);
	blob->map.nr_clusters = NR_SLOTS * XBDEV_LVS_LEAF_CLUSTERS;
	assert_int_equal(xbdev__lvs_map_reserve(&blob->map, blob->map.nr_clusters), 0);
	while (nr_left > 0) {
		uint32_t count = xbdev__lvs_chain_count(blob, &nr_more);

		assert_in_range(count, nr_pages, nr_pages + 1);
		nr_pages = count;
		nr_counted++;
		for (uint32_t i = 0; i < nr_more + 1 && nr_left > 0; i++, nr_left--) {
			uint32_t slot, ignored;

			if (i == nr_more) {
				assert_in_range(
					xbdev__lvs_chain_count(blob, &ignored), nr_pages, nr_pages);
			}
			do {
				slot = (uint32_t)xu_random_below(&random, NR_SLOTS);
			} while (blob->map.leaves[slot] != NULL);
			assert_non_null(xbdev__lvs_map_leaf(&blob->map, slot));
			blob->map.leaves[slot]->page = 1000 + slot;
		}
	}
	assert_in_range(nr_pages, 6, 8);
	assert_in_range(nr_counted, 6, 200);
	xbdev__lvs_free(store);
}

static void test_map_passes_over_what_is_not_there(void **state)
{
	static const uint32_t slots[] = {0, 1, 63, 64, 127, 128, 1000, 4095};
	struct xbdev_lvs_map map = {0}, other = {0};
	uint32_t at = 0;

	(void)state;
	assert_int_equal(xbdev__lvs_map_next_slot(&map, 0), 0);
	assert_int_equal(xbdev__lvs_map_reserve(&map, 130 * XBDEV_LVS_LEAF_CLUSTERS), 0);
	assert_int_equal(xbdev__lvs_map_next_slot(&map, 0), 130);
	for (uint32_t i = 0; i < ARRAY_SIZE(slots); i++) {
		/* Those that are there stay when it grows. */
		assert_int_equal(
			xbdev__lvs_map_reserve(&map, (slots[i] + 1) * XBDEV_LVS_LEAF_CLUSTERS), 0);
		assert_non_null(xbdev__lvs_map_leaf(&map, slots[i]));
	}
	map.nr_clusters = 4096 * XBDEV_LVS_LEAF_CLUSTERS;
	xbdev__lvs_map_set(&map, 1000 * XBDEV_LVS_LEAF_CLUSTERS + 7, 5);
	assert_int_equal(xbdev__lvs_map_next(&map, 0), 1000 * XBDEV_LVS_LEAF_CLUSTERS + 7);
	for (uint32_t i = 0; i < ARRAY_SIZE(slots); i++) {
		assert_int_equal(xbdev__lvs_map_next_slot(&map, at), slots[i]);
		at = slots[i] + 1;
	}
	assert_int_equal(xbdev__lvs_map_next_slot(&map, at), 4096);
	assert_int_equal(xbdev__lvs_map_reserve(&other, map.nr_clusters), 0);
	xbdev__lvs_map_move(&other, &map, 1000);
	assert_int_equal(map.nr_allocated, 0);
	assert_int_equal(other.nr_allocated, 1);
	assert_int_equal(xbdev__lvs_map_next_slot(&map, 129), 4095);
	assert_int_equal(xbdev__lvs_map_next_slot(&other, 0), 1000);
	xbdev__lvs_map_drop(&map, 4095);
	assert_int_equal(xbdev__lvs_map_next_slot(&map, 129), 4096);
	xbdev__lvs_map_fini(&map);
	xbdev__lvs_map_fini(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_super_reads_the_worked_example),
		cmocka_unit_test(test_super_plans_as_spdk_does),
		cmocka_unit_test(test_super_refuses_what_cannot_be),
		cmocka_unit_test(test_super_grows_into_its_reserve),
		cmocka_unit_test(test_mask_reads_and_writes_the_worked_example),
		cmocka_unit_test(test_mask_passes_over_bits_beyond_its_end),
		cmocka_unit_test(test_chain_is_the_same_when_written_again),
		cmocka_unit_test(test_page_worked_example),
		cmocka_unit_test(test_chain_refuses_what_leads_astray),
		cmocka_unit_test(test_chain_cuts_what_a_resize_left),
		cmocka_unit_test(test_page_copy_comes_back),
		cmocka_unit_test(test_chain_tells_for_how_many_leaves_it_suffices),
		cmocka_unit_test(test_map_passes_over_what_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
