/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From blobs to a store (see settle.h), in this order: names and links of each blob; operations
 * that were interrupted; the tree; clusters and pages; descendants of what cannot be used.
 *
 * An interrupted operation has left a mark on the snapshot: being taken of X, or being deleted in
 * favour of its clone X. If X names the snapshot as its parent, the snapshot stays: it was
 * complete, or its deletion had not begun. Then entries of X that are the same as the snapshot's
 * go: a clone never shares a cluster, so they are of a deletion that had begun to merge the maps.
 * Else the snapshot goes: its map is X's. What it alone lists is freed with it.
 *
 * Each cluster belongs to one blob. Where two list one, the first by root keeps it, the other
 * cannot be used; neither may be written, as nobody knows whose data it is.
 */
#include "lib/xbdev/lvol/settle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settling {
	struct xbdev_lvs *store;
	bool has_masks;
	struct xbdev_lvs_bits seen; /* clusters that a blob lists */
	bool has_failed;            /* for want of memory */
	uint8_t *colours;           /* of blobs, by place, while the tree is walked */
	struct xu_error *err;
};

enum colour { WHITE, GREY, BLACK };

void xbdev__lvs_make_read_only(struct xbdev_lvs *store, const struct xu_error *why)
{
	if (store->read_only_reason.code == 0) {
		store->read_only_reason = *why;
	}
}

static const char *label(const struct xbdev_lvs_blob *blob, char buf[static 96])
{
	if (blob->name[0] != '\0') {
		snprintf(buf, 96, "'%s'", blob->name);
	} else {
		snprintf(buf, 96, "blob %#" PRIx64, blob->id);
	}
	return buf;
}

static bool is_leaving(const struct xbdev_lvs_blob *blob)
{
	return blob->in_flight == XBDEV_LVS_REMOVE;
}

/* ---- each blob ---- */

static void derive(struct xbdev_lvs_blob *blob)
{
	struct xu_error err = {0};

	if (xbdev__lvs_blob_derive(blob, &err) != 0) {
		xbdev__lvs_blob_fail(blob, &err);
	}
}

static int find_super_blob(struct settling *s)
{
	struct xbdev_lvs *store = s->store;
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_by_id(store, store->super.super_blob);

	if (blob == NULL) {
		return xu_error_set(
			s->err, -ENODEV, "the store's own blob, which has its name, is missing");
	}
	if (blob->reason != NULL && blob->reason->code != -EINVAL) {
		return xu_error_set(s->err, -ENODEV,
			"the store's own blob, which has its name, cannot be read: %s",
			blob->reason->text);
	}
	if (blob->reason != NULL || xu_uuid_is_null(&blob->uuid)) {
		return xu_error_set(s->err, -EINVAL, "the store's own blob does not name it: %s",
			blob->reason != NULL ? blob->reason->text : "it has no UUID");
	}
	store->super_blob = blob;
	memcpy(store->name, blob->name, sizeof(store->name));
	store->uuid = blob->uuid;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct xbdev_lvs_blob *x = *(struct xbdev_lvs_blob *const *)a;
	const struct xbdev_lvs_blob *y = *(struct xbdev_lvs_blob *const *)b;
	int diff = strcmp(x->name, y->name);

	return diff != 0 ? diff : x->root < y->root ? -1 : 1;
}

static int find_equal_names(struct xbdev_lvs *store)
{
	struct xbdev_lvs_blob **sorted = calloc(store->nr_blobs + 1, sizeof(sorted[0]));
	uint32_t nr = 0;

	if (sorted == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		if (xbdev__lvs_blob_is_volume(store->blobs[i])) {
			sorted[nr++] = store->blobs[i];
		}
	}
	qsort(sorted, nr, sizeof(sorted[0]), compare_names);
	for (uint32_t i = 1; i < nr; i++) {
		sorted[i]->is_name_taken = sorted[i]->name[0] != '\0' &&
					   strcmp(sorted[i]->name, sorted[i - 1]->name) == 0;
	}
	free(sorted);
	return 0;
}

/* ---- what was interrupted ---- */

/* A deletion had begun to enter the snapshot's clusters into its clone. */
static void take_back(struct xbdev_lvs_blob *clone, const struct xbdev_lvs_blob *snapshot)
{
	uint32_t index = xbdev__lvs_map_next(&clone->map, 0);

	for (; index < clone->map.nr_clusters;
		index = xbdev__lvs_map_next(&clone->map, index + 1)) {
		struct xbdev_lvs_leaf *leaf = clone->map.leaves[index / XBDEV_LVS_LEAF_CLUSTERS];

		if (index < snapshot->map.nr_clusters &&
			xbdev__lvs_map_get(&snapshot->map, index) ==
				xbdev__lvs_map_get(&clone->map, index)) {
			xbdev__lvs_map_set(&clone->map, index, 0);
			if (clone->encoding == XBDEV_LVS_RLE) {
				clone->write.is_dirty = true;
			} else if (!xu_list_is_linked(&leaf->dirty)) {
				xu_list_add_tail(&clone->write.leaves, &leaf->dirty);
			}
		}
	}
}

static bool is_stood_on(const struct xbdev_lvs_blob *blob)
{
	for (uint32_t i = 0; i < blob->store->nr_blobs; i++) {
		if (blob->store->blobs[i]->parent_id == blob->id) {
			return true;
		}
	}
	return false;
}

static void decide(struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvs *store = blob->store;
	uint64_t id = blob->taking_of != 0 ? blob->taking_of : blob->deleting_of;
	struct xbdev_lvs_blob *other = xbdev__lvs_blob_by_id(store, id);

	if (id == 0) {
		return;
	}
	if (blob->reason != NULL || other == NULL || other == blob || other->reason != NULL ||
		(other->parent_id != blob->id && is_stood_on(blob))) {
		blob->in_flight = XBDEV_LVS_STUCK;
		blob->is_locked = true;
		return;
	}
	if (other->parent_id != blob->id) {
		blob->in_flight = XBDEV_LVS_REMOVE;
		return;
	}
	blob->in_flight = XBDEV_LVS_KEEP;
	blob->data_ro_flags |= XBDEV_LVS_RO_DATA;
	if (blob->deleting_of != 0) {
		take_back(other, blob);
	}
}

/* ---- the tree ---- */

static struct xbdev_lvs_blob *parent_of(const struct xbdev_lvs_blob *blob)
{
	return blob->parent_id != 0 ? xbdev__lvs_blob_by_id(blob->store, blob->parent_id) : NULL;
}

static void fail_parentless(struct settling *s, struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvs_blob *parent = parent_of(blob);
	struct xu_error err;

	if (blob->parent_id == 0 || blob->reason != NULL) {
		return;
	}
	if (parent == NULL || is_leaving(parent) || parent == s->store->super_blob) {
		xu_error_set(&err, -EILSEQ,
			"the snapshot that it stands on, %#" PRIx64 ", is missing",
			blob->parent_id);
		xbdev__lvs_blob_fail(blob, &err);
		if (!s->has_masks && parent == NULL) {
			xu_error_set(&err, -EUCLEAN,
				"the snapshot %#" PRIx64
				" is missing, and which clusters it has is not known",
				blob->parent_id);
			xbdev__lvs_make_read_only(s->store, &err);
		}
	}
}

static uint32_t place_of(const struct settling *s, const struct xbdev_lvs_blob *blob)
{
	uint32_t low = 0, high = s->store->nr_blobs;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (s->store->blobs[middle]->root <= blob->root) {
			low = middle;
		} else {
			high = middle;
		}
	}
	return low;
}

/* Up from a blob until the way is known; who is met twice on it stands on itself. */
static void find_circle(struct settling *s, struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvs_blob *at = blob;
	struct xu_error err;

	while (at != NULL && s->colours[place_of(s, at)] == WHITE) {
		s->colours[place_of(s, at)] = GREY;
		at = parent_of(at);
	}
	if (at != NULL && s->colours[place_of(s, at)] == GREY) {
		xu_error_set(&err, -EILSEQ, "its snapshots stand on each other in a circle");
		for (struct xbdev_lvs_blob *in = at; in->reason == NULL; in = parent_of(in)) {
			xbdev__lvs_blob_fail(in, &err);
		}
	}
	for (at = blob; at != NULL && s->colours[place_of(s, at)] == GREY; at = parent_of(at)) {
		s->colours[place_of(s, at)] = BLACK;
	}
}

static void link_blobs(struct settling *s)
{
	struct xbdev_lvs *store = s->store;

	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		find_circle(s, store->blobs[i]);
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		struct xbdev_lvs_blob *blob = store->blobs[i];

		fail_parentless(s, blob);
		/* A blob in a circle, and one that goes, stays out of the tree. */
		if (blob->reason == NULL && !is_leaving(blob)) {
			xbdev__lvs_blob_link(blob, parent_of(blob));
		}
	}
}

/* Blobs that stand on one that cannot be used, however far below. */
static void fail_descendants(struct xbdev_lvs *store)
{
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		struct xbdev_lvs_blob *top = store->blobs[i], *at = top;
		struct xu_error err;
		char buf[96];

		if (top->reason == NULL || (top->parent != NULL && top->parent->reason != NULL)) {
			continue;
		}
		/* All below `top`, children before their siblings. */
		while (at != NULL) {
			struct xu_list *next = xu_list_first(&at->children);

			if (at != top) {
				xu_error_set(&err, top->reason->code,
					"it stands on %s, which cannot be used: %s",
					label(top, buf), top->reason->text);
				xbdev__lvs_blob_fail(at, &err);
			}
			while (next == NULL && at != top) {
				next = at->sibling.next;
				at = at->parent;
				next = next == &at->children ? NULL : next;
			}
			at = next != NULL ? xu_list_entry(next, struct xbdev_lvs_blob, sibling)
					  : NULL;
		}
	}
}

/* ---- pages and clusters ---- */

static void fail_conflict(struct settling *s, struct xbdev_lvs_blob *blob, uint32_t cluster)
{
	struct xbdev_lvs *store = s->store;
	struct xu_error err;
	char buf[96];

	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		struct xbdev_lvs_blob *other = store->blobs[i];
		uint32_t index = xbdev__lvs_map_next(&other->map, 0);

		if (other == blob || is_leaving(other)) {
			continue;
		}
		while (index < other->map.nr_clusters) {
			if (xbdev__lvs_map_get(&other->map, index) == cluster) {
				other->data_ro_flags |= XBDEV_LVS_RO_DATA;
				other->is_locked = true;
				xu_error_set(&err, -EILSEQ,
					"it lists cluster %" PRIu32 ", which %s has too", cluster,
					label(other, buf));
				xbdev__lvs_blob_fail(blob, &err);
				return;
			}
			index = xbdev__lvs_map_next(&other->map, index + 1);
		}
	}
	xu_error_set(&err, -EILSEQ, "it lists cluster %" PRIu32 " twice", cluster);
	xbdev__lvs_blob_fail(blob, &err);
}

static void note(struct settling *s, struct xbdev_lvs_numbers *numbers, uint32_t number)
{
	if (xbdev__lvs_numbers_add(numbers, number) != 0) {
		s->has_failed = true;
	}
}

static void claim_cluster(struct settling *s, struct xbdev_lvs_blob *blob, uint32_t cluster)
{
	bool was_free = xbdev__lvs_bits_set(&s->store->clusters, cluster);
	struct xu_error err;

	if (was_free && s->has_masks) {
		note(s, &s->store->unmarked_clusters, cluster);
	}
	if (!xbdev__lvs_bits_set(&s->seen, cluster)) {
		if (blob->reason == NULL) {
			fail_conflict(s, blob, cluster);
		}
	} else if (was_free && s->has_masks && blob->reason == NULL) {
		xu_error_set(&err, -EILSEQ,
			"it lists cluster %" PRIu32
			", which the store's mask says is free: somebody else may have used it",
			cluster);
		xbdev__lvs_blob_fail(blob, &err);
	}
}

static void claim_page(struct settling *s, uint32_t page)
{
	if (xbdev__lvs_bits_set(&s->store->pages, page) && s->has_masks) {
		note(s, &s->store->unmarked_pages, page);
	}
}

static void claim_pages(struct settling *s, const struct xbdev_lvs_blob *blob)
{
	claim_page(s, blob->root);
	for (uint32_t i = 0; i < blob->chain.count; i++) {
		claim_page(s, blob->chain.items[i]);
	}
	for (uint32_t i = 0; i < blob->excess_pages.count; i++) {
		claim_page(s, blob->excess_pages.items[i]);
	}
}

static void claim(struct settling *s, struct xbdev_lvs_blob *blob)
{
	uint32_t index = xbdev__lvs_map_next(&blob->map, 0);

	for (; index < blob->map.nr_clusters; index = xbdev__lvs_map_next(&blob->map, index + 1)) {
		claim_cluster(s, blob, xbdev__lvs_map_get(&blob->map, index));
	}
	for (uint32_t i = 0; i < blob->excess_clusters.count; i++) {
		claim_cluster(s, blob, blob->excess_clusters.items[i]);
	}
	for (uint32_t slot = 0; slot < blob->map.nr_slots; slot++) {
		const struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf != NULL && leaf->page != 0) {
			claim_page(s, leaf->page);
		}
	}
	claim_pages(s, blob);
}

/* What a blob that goes has for itself alone. */
static int claim_rest(struct settling *s, struct xbdev_lvs_blob *blob,
	const struct xbdev_lvs_bits *pages_of_others)
{
	uint32_t index = xbdev__lvs_map_next(&blob->map, 0);
	int rc = 0;

	for (; rc == 0 && index < blob->map.nr_clusters;
		index = xbdev__lvs_map_next(&blob->map, index + 1)) {
		uint32_t cluster = xbdev__lvs_map_get(&blob->map, index);

		if (xbdev__lvs_bits_set(&s->seen, cluster)) {
			xbdev__lvs_bits_set(&s->store->clusters, cluster);
			rc = xbdev__lvs_numbers_add(&blob->excess_clusters, cluster);
		}
	}
	for (uint32_t slot = 0; rc == 0 && slot < blob->map.nr_slots; slot++) {
		const struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf != NULL && leaf->page != 0 &&
			!xbdev__lvs_bits_test(pages_of_others, leaf->page)) {
			rc = xbdev__lvs_numbers_add(&blob->excess_pages, leaf->page);
		}
	}
	claim_pages(s, blob);
	return rc;
}

/* The extent pages of those that stay. */
static void note_pages(const struct xbdev_lvs_blob *blob, struct xbdev_lvs_bits *pages)
{
	for (uint32_t slot = 0; slot < blob->map.nr_slots; slot++) {
		const struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf != NULL && leaf->page != 0) {
			xbdev__lvs_bits_set(pages, leaf->page);
		}
	}
}

static int claim_all(struct settling *s)
{
	struct xbdev_lvs *store = s->store;
	struct xbdev_lvs_bits others;
	int rc = xbdev__lvs_bits_init(&others, store->super.md_len);

	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; i < store->super.nr_md_clusters; i++) {
		xbdev__lvs_bits_set(&store->clusters, i);
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		if (!is_leaving(store->blobs[i])) {
			claim(s, store->blobs[i]);
			note_pages(store->blobs[i], &others);
		}
	}
	for (uint32_t i = 0; rc == 0 && i < store->nr_blobs; i++) {
		if (is_leaving(store->blobs[i])) {
			rc = claim_rest(s, store->blobs[i], &others);
		}
	}
	for (uint32_t i = 0; i < store->stale.count; i++) {
		xbdev__lvs_bits_set(&store->pages, store->stale.items[i]);
	}
	for (uint32_t i = 0; i < store->stale_last.count; i++) {
		xbdev__lvs_bits_set(&store->pages, store->stale_last.items[i]);
	}
	for (uint32_t i = 0; i < store->copies.count; i += 2) {
		xbdev__lvs_bits_set(&store->pages, store->copies.items[i]);
	}
	xbdev__lvs_bits_fini(&others);
	return rc == 0 && s->has_failed ? -ENOMEM : rc;
}

/* ---- */

static int settle(struct settling *s)
{
	struct xbdev_lvs *store = s->store;
	int rc;

	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		derive(store->blobs[i]);
	}
	rc = find_super_blob(s);
	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		decide(store->blobs[i]);
	}
	link_blobs(s);
	rc = claim_all(s);
	if (rc != 0) {
		return xu_error_set_errno(s->err, rc, "counting what is in use");
	}
	fail_descendants(store);
	rc = find_equal_names(store);
	return rc == 0 ? 0 : xu_error_set_errno(s->err, rc, "comparing the volumes' names");
}

int xbdev__lvs_settle(struct xbdev_lvs *store, bool has_masks, struct xu_error *err)
{
	struct settling s = {.store = store, .has_masks = has_masks, .err = err};
	int rc = xbdev__lvs_bits_init(&s.seen, store->super.nr_clusters);

	s.colours = calloc(store->nr_blobs + 1, sizeof(s.colours[0]));
	if (rc != 0 || s.colours == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "counting what is in use");
	} else {
		rc = settle(&s);
	}
	free(s.colours);
	xbdev__lvs_bits_fini(&s.seen);
	return rc;
}
