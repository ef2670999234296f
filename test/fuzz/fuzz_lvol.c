/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what reads SPDK's lvol stores. The first byte chooses: a super block, a mask, one page of
 * any kind, or a whole small store: pages that are put together, blobs read from all that are
 * roots, and the judgement over them. The top bit makes checksums right, so that what lies behind
 * them is reached. What was taken is written and read again and must be the same; no number that
 * was taken leads off the device; after the judgement, blobs stand on blobs without a circle, none
 * shares a cluster with another, and all that is listed is marked as used.
 */
#include <errno.h>

#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/xbdev/lvol/chain.h"
#include "lib/xbdev/lvol/check.h"
#include "lib/xbdev/lvol/mask.h"
#include "lib/xbdev/lvol/settle.h"
#include "test/fuzz/fuzz.h"

#define PAGE     XBDEV_LVS_PAGE_BYTES
#define NR_PAGES 16u

static void check_error(int rc, const struct xu_error *err)
{
	FUZZ_CHECK(rc < 0 && err->code == rc && err->text[0] != '\0', "%d '%s'", rc, err->text);
	FUZZ_CHECK(memchr(err->text, '\0', sizeof(err->text)) != NULL, "the sentence has no end");
}

/* Up to `len` bytes of the input, zeroes behind them. */
static void take(struct fuzz_input *in, void *to, size_t len)
{
	size_t got;
	const uint8_t *from = fuzz_take(in, len, &got);

	memset(to, 0, len);
	if (got != 0) {
		memcpy(to, from, got);
	}
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (uint32_t i = 0; i < 4; i++) {
		at[i] = (uint8_t)(value >> 8 * i);
	}
}

static void fix(uint8_t *page)
{
	put_u32(page + PAGE - 4, xu_crc32c(page, PAGE - 4));
}

/* ---- the super block ---- */

static void fuzz_super(struct fuzz_input *in, bool is_fixed)
{
	struct xbdev_lvs_super super = {0}, again = {0}, grown;
	uint64_t dev_bytes = fuzz_number(in, 5);
	uint8_t bytes[PAGE], formatted[PAGE];
	struct xu_error err = {0};
	int rc;

	take(in, bytes, PAGE);
	if (is_fixed) {
		fix(bytes);
	}
	rc = xbdev__lvs_super_parse(bytes, dev_bytes, &super, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	FUZZ_CHECK(super.size_bytes <= dev_bytes, "size");
	FUZZ_CHECK(super.nr_md_clusters <= super.nr_clusters, "metadata");
	FUZZ_CHECK(xbdev__lvs_page_at(&super, super.md_len - 1) + super.page_size <= dev_bytes,
		"the last page");
	memcpy(formatted, bytes, PAGE);
	xbdev__lvs_super_format(&super, formatted);
	rc = xbdev__lvs_super_parse(formatted, dev_bytes, &again, &err);
	FUZZ_CHECK(rc == 0 && memcmp(&super, &again, sizeof(super)) == 0, "%s", err.text);
	rc = xbdev__lvs_super_grow(&super, dev_bytes, &grown, &err);
	FUZZ_CHECK(rc != 0 || grown.nr_clusters > super.nr_clusters, "grown");
}

/* ---- a mask ---- */

static void fuzz_mask(struct fuzz_input *in)
{
	uint64_t nr_bits = fuzz_u16(in), cut = fuzz_u8(in), nr = 0;
	uint8_t bytes[PAGE], formatted[PAGE], again[PAGE];
	struct xbdev_lvs_bits bits;

	FUZZ_CHECK(xbdev__lvs_bits_init(&bits, nr_bits) == 0, "memory");
	take(in, bytes, PAGE);
	xbdev__lvs_mask_parse(&bits, bytes, 0, cut);
	xbdev__lvs_mask_parse(&bits, bytes + cut, cut, PAGE - cut);
	for (uint64_t bit = xbdev__lvs_bits_next(&bits, 0); bit < nr_bits;
		bit = xbdev__lvs_bits_next(&bits, bit + 1)) {
		FUZZ_CHECK((bytes[5 + bit / 8] >> bit % 8 & 1) != 0, "bit %u", (unsigned)bit);
		nr++;
	}
	FUZZ_CHECK(nr == bits.nr_set, "the count");
	xbdev__lvs_mask_format(&bits, XBDEV_LVS_MASK_PAGES, 0, PAGE, formatted);
	xbdev__lvs_mask_format(&bits, XBDEV_LVS_MASK_PAGES, 0, cut, again);
	xbdev__lvs_mask_format(&bits, XBDEV_LVS_MASK_PAGES, cut, PAGE - cut, again + cut);
	FUZZ_CHECK(memcmp(formatted, again, PAGE) == 0, "in pieces");
	xbdev__lvs_bits_fini(&bits);
}

/* ---- stores ---- */

static struct xbdev_lvs *make_store(void)
{
	const struct xbdev_lvs_super_opts opts = {.dev_bytes = 256u << 20,
		.block_size = 512,
		.cluster_size = 1u << 20,
		.md_ratio = 25};
	struct xbdev_lvs_super super;
	struct xbdev_lvs *store;

	FUZZ_CHECK(xbdev__lvs_super_plan(&opts, &super, NULL) == 0, "the plan");
	super.super_blob = XBDEV_LVS_ID_BASE;
	store = xbdev__lvs_new(&super);
	FUZZ_CHECK(store != NULL, "memory");
	return store;
}

/* Of one that was refused, what lies behind its end may be in the count: it was not cut. */
static void check_map(const struct xbdev_lvs_blob *blob, bool is_whole)
{
	const struct xbdev_lvs_super *super = &blob->store->super;
	uint64_t nr = 0;

	for (uint32_t i = xbdev__lvs_map_next(&blob->map, 0); i < blob->map.nr_clusters;
		i = xbdev__lvs_map_next(&blob->map, i + 1)) {
		uint32_t cluster = xbdev__lvs_map_get(&blob->map, i);

		FUZZ_CHECK(cluster >= super->nr_md_clusters && cluster < super->nr_clusters,
			"cluster %u", cluster);
		nr++;
	}
	FUZZ_CHECK(nr == blob->map.nr_allocated || (!is_whole && nr < blob->map.nr_allocated),
		"allocated");
}

/* What was read is the same when it is written and read again. */
static void check_again(const struct xbdev_lvs_blob *blob)
{
	static uint8_t bytes[64 * PAGE], second[64 * PAGE];
	uint32_t nr_more, count = xbdev__lvs_chain_count(blob, &nr_more), pages[64],
			  next = blob->root;
	struct xbdev_lvs *store = make_store();
	struct xbdev_lvs_blob *again = xbdev__lvs_blob_new(store, blob->root);
	struct xbdev_lvs_chain chain = {0};
	struct xu_error err = {0};

	FUZZ_CHECK(again != NULL, "memory");
	if (count <= 64) {
		for (uint32_t i = 0; i < 64; i++) {
			pages[i] = i;
		}
		xbdev__lvs_chain_format(blob, pages, bytes);
		for (uint32_t i = 0; i < count; i++) {
			FUZZ_CHECK(xbdev__lvs_chain_parse(
					   again, &chain, bytes + i * PAGE, &next, &err) == 0,
				"%s", err.text);
			FUZZ_CHECK(next == (i + 1 < count ? i : XBDEV_LVS_NO_PAGE), "next");
		}
		again->encoding = blob->encoding;
		FUZZ_CHECK(again->map.nr_clusters == blob->map.nr_clusters, "size");
		FUZZ_CHECK(xbdev__lvs_chain_count(again, &nr_more) == count, "pages");
		xbdev__lvs_chain_format(again, pages, second);
		FUZZ_CHECK(memcmp(bytes, second, count * PAGE) == 0, "other bytes");
	}
	xbdev__lvs_free(store);
}

/* As the loader does it, from memory. */
static void read_blob(struct xbdev_lvs *store, uint8_t pages[NR_PAGES][PAGE], uint32_t root)
{
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(store, root);
	struct xbdev_lvs_chain chain = {0};
	struct xu_error err = {0};
	uint32_t next = root;
	bool is_cut;
	int rc = 0;

	FUZZ_CHECK(blob != NULL, "memory");
	while (rc == 0 && next != XBDEV_LVS_NO_PAGE) {
		if (next >= NR_PAGES || chain.nr_pages > NR_PAGES) {
			rc = xu_error_set(&err, -EILSEQ, "astray");
			break;
		}
		if (chain.nr_pages > 0) {
			FUZZ_CHECK(xbdev__lvs_numbers_add(&blob->chain, next) == 0, "memory");
		}
		rc = xbdev__lvs_chain_parse(blob, &chain, pages[next], &next, &err);
	}
	for (uint32_t slot = 0; rc == 0 && slot < blob->map.nr_slots; slot++) {
		struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf != NULL && leaf->page != 0) {
			FUZZ_CHECK(leaf->page < store->super.md_len, "page %u", leaf->page);
			rc = leaf->page < NR_PAGES
				     ? xbdev__lvs_leaf_parse(blob, leaf, pages[leaf->page], &err)
				     : xu_error_set(&err, -EILSEQ, "astray");
		}
	}
	if (rc == 0) {
		rc = xbdev__lvs_chain_finish(blob, &chain, &is_cut, &err);
	}
	check_map(blob, rc == 0);
	if (rc != 0) {
		check_error(rc, &err);
		xbdev__lvs_blob_fail(blob, &err);
	} else {
		check_again(blob);
	}
}

static void check_store(struct xbdev_lvs *store)
{
	struct xbdev_lvs_report report;

	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		const struct xbdev_lvs_blob *blob = store->blobs[i], *up = blob;
		uint32_t steps = 0;

		while (up->parent != NULL && steps <= store->nr_blobs) {
			FUZZ_CHECK(blob->reason != NULL || up->parent->reason == NULL, "stands");
			up = up->parent;
			steps++;
		}
		FUZZ_CHECK(steps <= store->nr_blobs, "a circle");
		FUZZ_CHECK(xbdev__lvs_bits_test(&store->pages, blob->root), "root");
	}
	FUZZ_CHECK(xbdev__lvs_check(store, &report) == 0, "memory");
	for (uint32_t i = 0; i < report.nr_problems; i++) {
		const struct xbdev_lvs_blob *blob =
			xbdev__lvs_blob_by_id(store, report.problems[i].blob_id);

		FUZZ_CHECK(report.problems[i].text[0] != '\0', "a sentence");
		FUZZ_CHECK(report.problems[i].kind != XBDEV_LVS_PROBLEM_SHARED ||
				   blob->reason != NULL || xbdev__lvs_blob_is_read_only(blob),
			"'%s' shares a cluster and can be written", blob->name);
	}
	xbdev__lvs_report_fini(&report);
}

/* Records of {page, length, bytes}: pages that are mostly zeroes need few bytes. */
static void fuzz_store(struct fuzz_input *in, bool is_fixed)
{
	static uint8_t pages[NR_PAGES][PAGE];
	struct xbdev_lvs *store = make_store();
	struct xu_error err = {0};
	bool has_masks = (fuzz_u8(in) & 1) != 0;
	int rc;

	memset(pages, 0, sizeof(pages));
	while (in->left > 0) {
		uint32_t page = fuzz_u8(in) % NR_PAGES, len = fuzz_u16(in) % (PAGE - 8);

		take(in, pages[page], len);
		put_u32(pages[page] + PAGE - 8, fuzz_u8(in) == 0 ? XBDEV_LVS_NO_PAGE : fuzz_u8(in));
		if (is_fixed) {
			fix(pages[page]);
		}
	}
	for (uint32_t i = 0; i < NR_PAGES; i++) {
		if (xbdev__lvs_page_is_root(pages[i], i)) {
			read_blob(store, pages, i);
		}
	}
	rc = xbdev__lvs_settle(store, has_masks, &err);
	if (rc != 0) {
		check_error(rc, &err);
	} else {
		check_store(store);
	}
	xbdev__lvs_free(store);
}

/* ---- one page ---- */

static void fuzz_page(struct fuzz_input *in, bool is_fixed)
{
	uint8_t page[PAGE], copy[PAGE], back[PAGE];
	struct xbdev_lvs_desc desc = {.kind = XBDEV_LVS_DESC_UNKNOWN};
	uint32_t number = fuzz_u16(in), at = 0, target;
	struct xu_error err = {0};
	int rc = 0;

	take(in, page, PAGE);
	if (is_fixed) {
		fix(page);
	}
	while (rc == 0 && desc.kind != XBDEV_LVS_DESC_END) {
		uint32_t before = at;

		rc = xbdev__lvs_desc_next(page, &at, &desc, &err);
		FUZZ_CHECK(rc != 0 || (at >= before && at <= XBDEV_LVS_DESC_BYTES), "at %u", at);
		FUZZ_CHECK(rc != 0 || desc.kind == XBDEV_LVS_DESC_END || at > before, "no end");
	}
	if (rc != 0) {
		check_error(rc, &err);
	}
	rc = xbdev__lvs_extents_parse(page, number, &desc, &err);
	if (rc != 0) {
		check_error(rc, &err);
	}
	if (!xbdev__lvs_copy_parse(page, &target, back)) {
		memset(page + 8, 0, 8);
		fix(page);
		xbdev__lvs_copy_format(page, number, copy);
		FUZZ_CHECK(!xbdev__lvs_page_is_root(copy, number), "a root");
		FUZZ_CHECK(xbdev__lvs_copy_parse(copy, &target, back) && target == number &&
				   memcmp(back, page, PAGE) == 0,
			"the copy");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t choice = fuzz_u8(&in);
	bool is_fixed = (choice & 0x80) != 0;

	switch ((choice & 0x7f) % 4) {
	case 0:
		fuzz_super(&in, is_fixed);
		break;
	case 1:
		fuzz_mask(&in);
		break;
	case 2:
		fuzz_page(&in, is_fixed);
		break;
	default:
		fuzz_store(&in, is_fixed);
		break;
	}
	return 0;
}
