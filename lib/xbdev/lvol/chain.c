/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A blob's metadata, to and from pages (see chain.h). The order of what is written is SPDK's:
 * flags, attributes, internal attributes, then the extents; what does not fit begins a new page.
 * Numbers from disk are taken when they lie within the store and their sums stay below what a store
 * can have; the first that does not ends the parsing with a sentence.
 */
#include "lib/xbdev/lvol/chain.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- from disk ---- */

static bool is_data_cluster(const struct xbdev_lvs *store, uint32_t cluster)
{
	return cluster >= store->super.nr_md_clusters && cluster < store->super.nr_clusters;
}

static int no_memory(struct xu_error *err)
{
	return xu_error_set(err, -ENOMEM, "there is no memory for its extents");
}

static int set_size(struct xbdev_lvs_blob *blob, uint64_t nr_clusters, struct xu_error *err)
{
	if (nr_clusters > XBDEV_LVS_CLUSTERS_MAX) {
		return xu_error_set(err, -EILSEQ,
			"it would have %" PRIu64 " clusters, more than there can be", nr_clusters);
	}
	if (xbdev__lvs_map_reserve(&blob->map, (uint32_t)nr_clusters) != 0) {
		return no_memory(err);
	}
	blob->map.nr_clusters = (uint32_t)nr_clusters;
	return 0;
}

static int enter(struct xbdev_lvs_blob *blob, uint32_t index, uint32_t cluster)
{
	struct xbdev_lvs_leaf *leaf =
		xbdev__lvs_map_leaf(&blob->map, index / XBDEV_LVS_LEAF_CLUSTERS);

	if (leaf == NULL) {
		return -ENOMEM;
	}
	xbdev__lvs_map_set(&blob->map, index, cluster);
	return 0;
}

static int parse_run(struct xbdev_lvs_blob *blob, struct xbdev_lvs_pair run, struct xu_error *err)
{
	const struct xbdev_lvs_super *super = &blob->store->super;
	uint32_t first = blob->map.nr_clusters;
	int rc = set_size(blob, (uint64_t)first + run.count, err);

	if (rc != 0 || run.first == 0) {
		return rc;
	}
	/* No cluster is listed twice, so there cannot be more than the store has. */
	if (!is_data_cluster(blob->store, run.first) ||
		run.count > super->nr_clusters - run.first ||
		run.count > super->nr_clusters - blob->map.nr_allocated) {
		return xu_error_set(err, -EILSEQ,
			"it lists %" PRIu32 " clusters from %" PRIu32
			" on, which the store does not have",
			run.count, run.first);
	}
	for (uint32_t i = 0; i < run.count; i++) {
		if (enter(blob, first + i, run.first + i) != 0) {
			return no_memory(err);
		}
	}
	return 0;
}

static int parse_rle(struct xbdev_lvs_blob *blob, struct xbdev_lvs_chain *chain,
	const struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	int rc = 0;

	chain->has_rle = true;
	for (uint32_t i = 0; rc == 0 && i < desc->extents.nr_items; i++) {
		rc = parse_run(blob, xbdev__lvs_desc_pair(desc, i), err);
	}
	return rc;
}

static int parse_slots(struct xbdev_lvs_blob *blob, struct xbdev_lvs_chain *chain,
	struct xbdev_lvs_pair pair, struct xu_error *err)
{
	struct xbdev_lvs_leaf *leaf;

	if (pair.count > xbdev__lvs_slots_of(blob->map.nr_clusters) - chain->slot) {
		return xu_error_set(err, -EILSEQ,
			"its extent table is longer than its %" PRIu32 " clusters need",
			blob->map.nr_clusters);
	}
	if (pair.first == 0) {
		chain->slot += pair.count;
		return 0;
	}
	if (pair.first >= blob->store->super.md_len || pair.count != 1) {
		return xu_error_set(err, -EILSEQ,
			"its extent table names %" PRIu32 " extent pages from %" PRIu32
			" on, which cannot be",
			pair.count, pair.first);
	}
	leaf = xbdev__lvs_map_leaf(&blob->map, chain->slot++);
	if (leaf == NULL) {
		return no_memory(err);
	}
	leaf->page = pair.first;
	leaf->is_on_disk = true;
	return 0;
}

static int parse_table(struct xbdev_lvs_blob *blob, struct xbdev_lvs_chain *chain,
	const struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	int rc = 0;

	if (!chain->has_table && !chain->has_rle) {
		rc = set_size(blob, desc->extents.nr_clusters, err);
	} else if (desc->extents.nr_clusters != blob->map.nr_clusters) {
		rc = xu_error_set(err, -EILSEQ,
			"its extent table is for %" PRIu64 " clusters here and for %" PRIu32
			" there",
			desc->extents.nr_clusters, blob->map.nr_clusters);
	}
	chain->has_table = true;
	for (uint32_t i = 0; rc == 0 && i < desc->extents.nr_items; i++) {
		rc = parse_slots(blob, chain, xbdev__lvs_desc_pair(desc, i), err);
	}
	return rc;
}

static int parse_xattr(
	struct xbdev_lvs_blob *blob, const struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	int rc = xbdev__lvs_xattr_set(blob, desc->kind == XBDEV_LVS_DESC_XATTR_INTERNAL,
		desc->xattr.name, desc->xattr.name_len, desc->xattr.value, desc->xattr.value_len);

	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "taking one of its attributes");
}

static int parse_desc(struct xbdev_lvs_blob *blob, struct xbdev_lvs_chain *chain,
	const struct xbdev_lvs_desc *desc, struct xu_error *err)
{
	switch (desc->kind) {
	case XBDEV_LVS_DESC_FLAGS:
		blob->invalid_flags = desc->flags.invalid;
		blob->data_ro_flags = desc->flags.data_ro;
		blob->md_ro_flags = desc->flags.md_ro;
		return 0;
	case XBDEV_LVS_DESC_XATTR:
	case XBDEV_LVS_DESC_XATTR_INTERNAL:
		return parse_xattr(blob, desc, err);
	case XBDEV_LVS_DESC_RLE:
		return parse_rle(blob, chain, desc, err);
	case XBDEV_LVS_DESC_TABLE:
		return parse_table(blob, chain, desc, err);
	case XBDEV_LVS_DESC_EXTENTS:
		return xu_error_set(err, -EILSEQ, "an extent page is part of its chain");
	default:
		chain->has_unknown = true;
		chain->unknown_type = desc->type;
		return 0;
	}
}

int xbdev__lvs_chain_parse(struct xbdev_lvs_blob *blob, struct xbdev_lvs_chain *chain,
	const void *page, uint32_t *ret_next, struct xu_error *err)
{
	struct xbdev_lvs_page header;
	struct xbdev_lvs_desc desc;
	uint32_t at = 0;
	int rc;

	if (!xbdev__lvs_page_parse(page, &header)) {
		return xu_error_set(err, -EILSEQ,
			"the checksum of page %" PRIu32 " of its metadata is wrong",
			chain->nr_pages);
	}
	if (header.id != blob->id || header.sequence != chain->nr_pages) {
		return xu_error_set(err, -EILSEQ,
			"page %" PRIu32 " of its metadata is page %" PRIu32 " of blob %#" PRIx64
			": its chain is broken",
			chain->nr_pages, header.sequence, header.id);
	}
	chain->nr_pages++;
	do {
		rc = xbdev__lvs_desc_next(page, &at, &desc, err);
		if (rc == 0 && desc.kind != XBDEV_LVS_DESC_END) {
			rc = parse_desc(blob, chain, &desc, err);
		}
	} while (rc == 0 && desc.kind != XBDEV_LVS_DESC_END);
	if (rc == 0) {
		*ret_next = header.next;
	}
	return rc;
}

int xbdev__lvs_leaf_parse(struct xbdev_lvs_blob *blob, struct xbdev_lvs_leaf *leaf,
	const void *page, struct xu_error *err)
{
	uint32_t first = leaf->slot * XBDEV_LVS_LEAF_CLUSTERS;
	struct xbdev_lvs_desc desc;
	int rc = xbdev__lvs_extents_parse(page, first, &desc, err);

	for (uint32_t i = 0; rc == 0 && i < desc.extents.nr_items; i++) {
		uint32_t cluster = xbdev__lvs_desc_number(&desc, i);

		if (cluster != 0 && !is_data_cluster(blob->store, cluster)) {
			rc = xu_error_set(err, -EILSEQ,
				"it lists cluster %" PRIu32 ", which is not one of %" PRIu32
				" to %" PRIu32,
				cluster, blob->store->super.nr_md_clusters,
				blob->store->super.nr_clusters - 1);
		}
	}
	if (rc != 0) {
		return xu_error_prefix(err, "extent page %" PRIu32, leaf->page);
	}
	leaf->count = (uint16_t)desc.extents.nr_items;
	for (uint32_t i = 0; i < leaf->count; i++) {
		xbdev__lvs_map_set(&blob->map, first + i, xbdev__lvs_desc_number(&desc, i));
	}
	return 0;
}

/* ---- a whole volume ---- */

/* Takes the entries [from, 512) of a leaf out of the map. */
static int cut_leaf(struct xbdev_lvs_blob *blob, struct xbdev_lvs_leaf *leaf, uint32_t from)
{
	uint32_t first = leaf->slot * XBDEV_LVS_LEAF_CLUSTERS;
	int rc = 0;

	for (uint32_t i = from; rc == 0 && i < leaf->count; i++) {
		uint32_t cluster = xbdev__lvs_map_set(&blob->map, first + i, 0);

		if (cluster != 0) {
			rc = xbdev__lvs_numbers_add(&blob->excess_clusters, cluster);
		}
	}
	return rc;
}

/* Everything from slot `slot` on goes. */
static int cut_slots(struct xbdev_lvs_blob *blob, uint32_t slot)
{
	int rc = 0;

	for (; rc == 0 && slot < blob->map.nr_slots; slot++) {
		struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf == NULL) {
			continue;
		}
		rc = cut_leaf(blob, leaf, 0);
		if (rc == 0) {
			rc = xbdev__lvs_numbers_add(&blob->excess_pages, leaf->page);
			xu_list_del(&leaf->dirty); /* it may have been torn */
			xbdev__lvs_map_drop(&blob->map, slot);
		}
	}
	return rc;
}

static int cut(struct xbdev_lvs_blob *blob, bool *ret_is_cut)
{
	int rc = 0;

	for (uint32_t slot = 0; rc == 0 && slot < blob->map.nr_slots; slot++) {
		struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];
		uint32_t should = xbdev__lvs_slot_count(blob->map.nr_clusters, slot);

		if (leaf == NULL || leaf->count == should) {
			continue;
		}
		*ret_is_cut = true;
		if (leaf->count > should) { /* the last one: it was to grow, or has to shrink */
			rc = cut_leaf(blob, leaf, should);
			leaf->count = (uint16_t)should;
			if (!xu_list_is_linked(&leaf->dirty)) { /* else it was torn, too */
				xu_list_add_tail(&blob->write.leaves, &leaf->dirty);
			}
			continue;
		}
		blob->map.nr_clusters = slot * XBDEV_LVS_LEAF_CLUSTERS + leaf->count;
		rc = cut_slots(blob, leaf->count == 0 ? slot : slot + 1);
	}
	return rc;
}

static int check_thick(const struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	if (xbdev__lvs_blob_is_thin(blob) || blob->map.nr_allocated == blob->map.nr_clusters) {
		return 0;
	}
	return xu_error_set(err, -EILSEQ,
		"it is not thin but has %" PRIu64 " of its %" PRIu32 " clusters only",
		blob->map.nr_allocated, blob->map.nr_clusters);
}

int xbdev__lvs_chain_finish(struct xbdev_lvs_blob *blob, const struct xbdev_lvs_chain *chain,
	bool *ret_is_cut, struct xu_error *err)
{
	uint64_t unknown = blob->invalid_flags & ~XBDEV_LVS_F_KNOWN;

	*ret_is_cut = false;
	blob->encoding = chain->has_rle || (blob->map.nr_clusters == 0 && !chain->has_table)
				 ? XBDEV_LVS_RLE
				 : XBDEV_LVS_TABLE;
	if (unknown != 0) {
		return xu_error_set(err, -EILSEQ,
			"it has features %#" PRIx64
			" that this program does not know: a newer one made it",
			unknown);
	}
	if (chain->has_rle && chain->has_table) {
		return xu_error_set(err, -EILSEQ, "it lists its extents in two ways at once");
	}
	if (chain->has_table && cut(blob, ret_is_cut) != 0) {
		return no_memory(err);
	}
	return check_thick(blob, err);
}

/* ---- to disk ---- */

/* Pages one behind the other; without `bytes` they are only counted, on one page of scratch. */
struct builder {
	uint8_t *bytes;
	const uint32_t *pages;
	uint32_t nr_pages; /* begun */
	uint32_t at;
	uint64_t id;
	uint8_t scratch[XBDEV_LVS_PAGE_BYTES];
};

static uint8_t *current(struct builder *b)
{
	return b->bytes != NULL ? b->bytes + (size_t)(b->nr_pages - 1) * XBDEV_LVS_PAGE_BYTES
				: b->scratch;
}

static void next_page(struct builder *b)
{
	if (b->nr_pages > 0 && b->bytes != NULL) {
		xbdev__lvs_page_end(current(b), b->pages[b->nr_pages - 1]);
	}
	b->nr_pages++;
	b->at = 0;
	xbdev__lvs_page_begin(current(b), b->id, b->nr_pages - 1);
}

static void want_room(struct builder *b, uint32_t bytes)
{
	if (bytes > XBDEV_LVS_DESC_BYTES - b->at) {
		next_page(b);
	}
}

static void build_xattrs(struct builder *b, const struct xu_list *list, bool is_internal)
{
	const struct xu_list *node;

	xu_list_for_each (node, list) {
		const struct xbdev_lvs_xattr *xattr =
			xu_list_entry(node, struct xbdev_lvs_xattr, link);

		want_room(b, xbdev__lvs_xattr_bytes(xattr->name_len, xattr->value_len));
		xbdev__lvs_put_xattr(current(b), &b->at, is_internal, xattr->bytes, xattr->name_len,
			xbdev__lvs_xattr_value(xattr), xattr->value_len);
	}
}

/* Where a list of pairs was begun, so that a full page continues it in the next. */
struct pairs {
	struct builder *b;
	uint32_t begun;
	bool is_open, is_table;
	uint32_t nr_clusters;
	struct xbdev_lvs_pair last; /* count 0: none is waiting */
};

static void begin_pairs(struct pairs *p)
{
	p->begun = p->b->at;
	p->is_open = true;
	if (p->is_table) {
		xbdev__lvs_put_table(current(p->b), &p->b->at, p->nr_clusters);
	} else {
		xbdev__lvs_put_rle(current(p->b), &p->b->at);
	}
}

static void put_pair(struct pairs *p)
{
	uint32_t head = p->is_open ? 0 : p->is_table ? XBDEV_LVS_TABLE_BYTES : XBDEV_LVS_RLE_BYTES;

	if (p->last.count == 0) {
		return;
	}
	if (head + XBDEV_LVS_PAIR_BYTES > XBDEV_LVS_DESC_BYTES - p->b->at) {
		next_page(p->b);
		p->is_open = false;
	}
	if (!p->is_open) {
		begin_pairs(p);
	}
	xbdev__lvs_put_pair(current(p->b), &p->b->at, p->begun, p->last);
	p->last.count = 0;
}

static void add_run(struct pairs *p, uint32_t first, uint32_t count, bool may_join)
{
	bool joins = may_join && p->last.count != 0 &&
		     (first == 0 ? p->last.first == 0
				 : p->last.first != 0 && p->last.first + p->last.count == first);

	if (count == 0) {
		return;
	}
	if (joins) {
		p->last.count += count;
		return;
	}
	put_pair(p);
	p->last = (struct xbdev_lvs_pair){first, count};
}

static void build_table(struct builder *b, const struct xbdev_lvs_map *map)
{
	struct pairs p = {.b = b, .is_table = true, .nr_clusters = map->nr_clusters};
	uint32_t nr_slots = xbdev__lvs_slots_of(map->nr_clusters), slot = 0;

	want_room(b, XBDEV_LVS_TABLE_BYTES);
	begin_pairs(&p);
	while (slot < nr_slots) {
		uint32_t next = xbdev__lvs_map_next_slot(map, slot);
		const struct xbdev_lvs_leaf *leaf;

		next = next < nr_slots ? next : nr_slots;
		add_run(&p, 0, next - slot, true);
		slot = next;
		if (slot < nr_slots) {
			leaf = map->leaves[slot++];
			/* One without a page was made for clusters that did not come. */
			assert(leaf->page != 0 || leaf->nr_allocated == 0);
			add_run(&p, leaf->page, 1, leaf->page == 0);
		}
	}
	put_pair(&p);
}

static void build_rle(struct builder *b, const struct xbdev_lvs_map *map)
{
	struct pairs p = {.b = b};

	for (uint32_t index = 0; index < map->nr_clusters;) {
		uint32_t next = xbdev__lvs_map_next(map, index);

		add_run(&p, 0, next - index, true);
		if (next < map->nr_clusters) {
			add_run(&p, xbdev__lvs_map_get(map, next), 1, true);
			next++;
		}
		index = next;
	}
	put_pair(&p);
}

static uint32_t build(
	const struct xbdev_lvs_blob *blob, const uint32_t *pages, void *bytes, uint32_t *ret_room)
{
	struct builder b = {.bytes = bytes, .pages = pages, .id = blob->id};
	uint64_t invalid = blob->invalid_flags & ~(XBDEV_LVS_F_INTERNAL | XBDEV_LVS_F_TABLE);

	invalid |= xu_list_is_empty(&blob->internal_xattrs) ? 0 : XBDEV_LVS_F_INTERNAL;
	invalid |= blob->encoding == XBDEV_LVS_TABLE ? XBDEV_LVS_F_TABLE : 0;
	next_page(&b);
	xbdev__lvs_put_flags(current(&b), &b.at, invalid, blob->data_ro_flags, blob->md_ro_flags);
	build_xattrs(&b, &blob->xattrs, false);
	build_xattrs(&b, &blob->internal_xattrs, true);
	if (blob->encoding == XBDEV_LVS_TABLE) {
		build_table(&b, &blob->map);
	} else {
		build_rle(&b, &blob->map);
	}
	*ret_room = XBDEV_LVS_DESC_BYTES - b.at;
	xbdev__lvs_page_end(current(&b), XBDEV_LVS_NO_PAGE);
	return b.nr_pages;
}

uint32_t xbdev__lvs_chain_count(const struct xbdev_lvs_blob *blob, uint32_t *ret_nr_more)
{
	uint32_t room, nr_pages = build(blob, NULL, NULL, &room);

	/* One leaf cuts a run of absent ones in two at most: two pairs more. */
	*ret_nr_more = room / (2 * XBDEV_LVS_PAIR_BYTES);
	return nr_pages;
}

void xbdev__lvs_chain_format(
	const struct xbdev_lvs_blob *blob, const uint32_t *pages, void *ret_bytes)
{
	uint32_t room;

	build(blob, pages, ret_bytes, &room);
}
