/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata on its way to the disk, so that at each instant what is there can be loaded by us and by
 * SPDK.
 *
 * A pass takes what is marked when it begins and writes it in batches; what is marked meanwhile
 * goes into the next pass, so a thousand first writes cost a few passes. A batch:
 *
 *   0  pages that may be torn are made whole from their copies, flush; once after loading: stale
 *      pages are erased, flush, super block with clean = 0, flush
 *   1  new pages (of longer chains, new extent pages) and copies of all that 2 to 4 overwrite;
 * flush 2  extent pages in place; flush 3  roots in place, or erased; flush 4  extent pages of
 * volumes that shrink; flush 5  pages that nobody names any more are erased, and are free then
 *
 * Why this order: until 3, no root names the new pages of 1, and loading passes over them. The
 * flush of 1 also makes the data durable that the new entries of 2 and 3 lead to, for its I/O had
 * ended before the map was changed. A root and its old chain are one or the other: chain pages are
 * never rewritten, and the old ones are erased (5) when the new root is durable. A doomed root is
 * erased before its chain and extent pages, else a root with a dead chain would remain. A volume
 * that shrinks has its new root before its extent pages get shorter: between them a page is longer
 * than the root says, which all can load, while the reverse would be refused.
 *
 * Where a block is smaller than a page, power that fails can leave a page half written. So each
 * page that is overwritten is first written elsewhere, as a copy that no program takes for anything
 * (page.h), and the flush of 1 makes that durable; loading uses the copy when the page is neither
 * whole nor zeroes. A page has one copy at most, which is its newest content, or none: when it is
 * written again its copy is overwritten first, and when it is freed its copy is erased with it. So
 * an old copy never brings back what has changed since. A page that may be torn, as it was when the
 * store was loaded or because its write has failed, is first written anew from its copy, for until
 * then there is nothing else of it. Copies take a few free pages; where there
 * are none, pages are overwritten without. The super block has no copy: its two states differ in
 * one field, and super.c tells which the checksum belongs to.
 *
 * An I/O that fails ends the pass; its waiters are told. What it was about stays marked, pages that
 * may or may not be on disk are kept until a root has been written, and a copy stays with its page:
 * the next commit does all of it again.
 */
#include "lib/xbdev/lvol/write.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/chain.h"
#include "lib/xbdev/lvol/write_private.h"

#define PAGE XBDEV_LVS_PAGE_BYTES

/* ---- marks ---- */

uint32_t xbdev__lvs_page_take(struct xbdev_lvs *store)
{
	uint64_t page = xbdev__lvs_bits_take(&store->pages);

	return page != UINT64_MAX ? (uint32_t)page : XBDEV_LVS_NO_PAGE;
}

static int check_writable(const struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	const struct xbdev_lvs *store = blob->store;

	if (store->read_only_reason.code != 0) {
		return xu_error_set(err, -EROFS, "the store '%s' cannot be changed: %s",
			store->name, store->read_only_reason.text);
	}
	if (blob->is_locked || blob->reason != NULL) {
		return xu_error_set(err, -EROFS,
			"volume '%s' cannot be changed: its metadata has what this program does "
			"not know, or is damaged%s%s",
			blob->name, blob->reason != NULL ? ": " : "",
			blob->reason != NULL ? blob->reason->text : "");
	}
	return 0;
}

int xbdev__lvs_no_pages(const struct xbdev_lvs *store, struct xu_error *err)
{
	return xu_error_set(err, -ENOSPC,
		"the store '%s' has no free metadata page (of %" PRIu32
		"); delete volumes or snapshots, or use a store with a higher metadata ratio",
		store->name, store->super.md_len);
}

static void mark(struct xbdev_lvs_blob *blob)
{
	if (!xu_list_is_linked(&blob->write.link)) {
		xu_list_add_tail(&blob->store->write->dirty, &blob->write.link);
	}
}

/* As many pages for the next chain as it needs. */
static int reserve_chain(struct xbdev_lvs_blob *blob, uint32_t nr_pages)
{
	struct xbdev_lvs_numbers *chain = &blob->write.next_chain;

	while (chain->count < nr_pages) {
		uint32_t page = xbdev__lvs_page_take(blob->store);

		if (page == XBDEV_LVS_NO_PAGE) {
			return -ENOSPC;
		}
		if (xbdev__lvs_numbers_add(chain, page) != 0) {
			xbdev__lvs_bits_clear(&blob->store->pages, page);
			return -ENOMEM;
		}
	}
	while (chain->count > nr_pages) { /* never written: as free as before */
		xbdev__lvs_bits_clear(&blob->store->pages, chain->items[--chain->count]);
	}
	return 0;
}

int xbdev__lvs_blob_touch(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	int rc = check_writable(blob, err);
	uint32_t nr_more;

	if (rc != 0) {
		return rc;
	}
	blob->write.nr_more = 0;
	rc = reserve_chain(blob, xbdev__lvs_chain_count(blob, &nr_more) - 1);
	if (rc == -ENOSPC) {
		return xbdev__lvs_no_pages(blob->store, err);
	}
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "changing volume '%s'", blob->name);
	}
	blob->write.is_dirty = true;
	blob->write.nr_more = nr_more;
	mark(blob);
	return 0;
}

/* A leaf has got a page. The chain is counted, slot by slot, only when it may take one more page: a
 * volume of many leaves is not looked at as a whole for each of them. */
static int touch_table(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	int rc;

	if (!blob->write.is_dirty || blob->write.nr_more == 0) {
		return xbdev__lvs_blob_touch(blob, err);
	}
	rc = check_writable(blob, err);
	if (rc == 0) {
		blob->write.nr_more--;
		mark(blob);
	}
	return rc;
}

int xbdev__lvs_leaf_touch(struct xbdev_lvs_blob *blob, uint32_t slot, struct xu_error *err)
{
	struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];
	int rc;

	if (blob->encoding == XBDEV_LVS_RLE) {
		return xbdev__lvs_blob_touch(blob, err);
	}
	if (leaf->page == 0) {
		uint32_t page = xbdev__lvs_page_take(blob->store);

		if (page == XBDEV_LVS_NO_PAGE) {
			return xbdev__lvs_no_pages(blob->store, err);
		}
		leaf->page = page;
		rc = touch_table(blob, err);
		if (rc != 0) {
			leaf->page = 0;
			xbdev__lvs_bits_clear(&blob->store->pages, page);
			return rc;
		}
	} else {
		rc = check_writable(blob, err);
		if (rc != 0) {
			return rc;
		}
		mark(blob);
	}
	if (!xu_list_is_linked(&leaf->dirty)) {
		xu_list_add_tail(&blob->write.leaves, &leaf->dirty);
	}
	return 0;
}

int xbdev__lvs_blob_doom(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	int rc = check_writable(blob, err);

	if (rc == 0) {
		blob->write.is_doomed = true;
		mark(blob);
	}
	return rc;
}

bool xbdev__lvs_blob_is_marked(const struct xbdev_lvs_blob *blob)
{
	return xu_list_is_linked(&blob->write.link);
}

void xbdev__lvs_blob_unmark(struct xbdev_lvs_blob *blob)
{
	const struct xbdev_lvs_map *map = &blob->map;

	reserve_chain(blob, 0);
	for (uint32_t slot = xbdev__lvs_map_next_slot(map, 0); slot < map->nr_slots;
		slot = xbdev__lvs_map_next_slot(map, slot + 1)) {
		struct xbdev_lvs_leaf *leaf = map->leaves[slot];

		if (leaf->page != 0) {
			xbdev__lvs_bits_clear(&blob->store->pages, leaf->page);
			leaf->page = 0;
			xu_list_del(&leaf->dirty);
		}
	}
	blob->write.is_dirty = false;
	blob->write.nr_more = 0;
	xu_list_del(&blob->write.link);
}

void xbdev__lvs_commit(struct xbdev_lvs *store, struct xbdev_lvs_waiter *waiter)
{
	struct xbdev_lvs_write *write = store->write;

	waiter->pass = write->pass + 1;
	xu_list_add_tail(&write->waiters, &waiter->link);
	xbdev__lvs_write_schedule(write);
}

/* ---- a pass ---- */

static void on_pass(struct xr_msg *msg);

void xbdev__lvs_write_schedule(struct xbdev_lvs_write *write)
{
	if (!write->is_running && !write->is_scheduled) {
		write->is_scheduled = true;
		write->msg.fn = on_pass;
		xr_msg_defer(write->store->reactor, &write->msg);
	}
}

static void wake(struct xbdev_lvs_write *write, int status)
{
	struct xu_list ready, *node, *next;

	xu_list_init(&ready);
	xu_list_for_each_safe (node, next, &write->waiters) {
		if (xu_list_entry(node, struct xbdev_lvs_waiter, link)->pass <= write->pass) {
			xu_list_del(node);
			xu_list_add_tail(&ready, node);
		}
	}
	if (!xu_list_is_empty(&write->waiters)) {
		xbdev__lvs_write_schedule(write);
	}
	while ((node = xu_list_pop(&ready)) != NULL) {
		struct xbdev_lvs_waiter *waiter =
			xu_list_entry(node, struct xbdev_lvs_waiter, link);

		waiter->fn(waiter, status);
	}
}

static void end_pass(struct xbdev_lvs_write *write)
{
	/* What was not reached stays marked. */
	xu_list_splice_tail(&write->dirty, &write->taking);
	write->is_running = false;
	wake(write, write->status);
}

static void next_batch(struct xbdev_lvs_write *write)
{
	if (write->status == 0 && !xu_list_is_empty(&write->taking)) {
		write->status = xbdev__lvs_batch_build(write);
	}
	if (write->status != 0) {
		xbdev__lvs_batch_abandon(write);
		end_pass(write);
	} else if (write->nr_pages == 0 && write->erase.count == 0 && write->is_flushed) {
		end_pass(write);
	} else {
		xbdev__lvs_batch_write(write);
	}
}

void xbdev__lvs_batch_done(struct xbdev_lvs_write *write)
{
	next_batch(write);
}

static void on_pass(struct xr_msg *msg)
{
	struct xbdev_lvs_write *write = xu_container_of(msg, struct xbdev_lvs_write, msg);

	write->is_scheduled = false;
	if (write->is_running) {
		return; /* the store grows, and goes on with this afterwards */
	}
	write->is_running = true;
	write->is_flushed = false; /* even with nothing to write a commit is a flush */
	write->status = 0;
	write->pass++;
	xu_list_splice_tail(&write->taking, &write->dirty);
	next_batch(write);
}

/* ---- building a batch ---- */

static struct xbdev_lvs_wpage *add_page(
	struct xbdev_lvs_write *write, enum xbdev_lvs_step step, uint32_t page)
{
	struct xbdev_lvs_wpage *wpage = &write->pages[write->nr_pages];

	wpage->write = write;
	wpage->page = page;
	wpage->step = step;
	wpage->slot = NULL;
	wpage->blob = NULL;
	wpage->leaf = NULL;
	wpage->bytes = write->bytes + (size_t)write->nr_pages * PAGE;
	write->nr_pages++;
	return wpage;
}

/* A place for the copy of a page that is to be overwritten; false: not in this batch. */
static bool find_slot(struct xbdev_lvs_write *write, uint32_t page, struct xbdev_lvs_slot **ret)
{
	struct xbdev_lvs_slot *best = NULL;

	*ret = NULL;
	if (!write->can_tear) {
		return true;
	}
	for (uint32_t i = 0; i < write->nr_slots; i++) {
		struct xbdev_lvs_slot *slot = &write->slots[i];

		if (slot->target == page) {
			best = slot;
			break;
		}
		if (!slot->is_busy && (best == NULL || slot->used < best->used)) {
			best = slot;
		}
	}
	if ((best == NULL || (best->target != page && best->target != XBDEV_LVS_NO_PAGE)) &&
		write->nr_slots < write->max_slots) {
		uint32_t home = xbdev__lvs_page_take(write->store);

		if (home != XBDEV_LVS_NO_PAGE) {
			best = &write->slots[write->nr_slots++];
			*best = (struct xbdev_lvs_slot){.page = home, .target = XBDEV_LVS_NO_PAGE};
		}
	}
	if (best == NULL) {
		return write->nr_copies == 0; /* none at all: without */
	}
	best->target = page;
	best->is_busy = true;
	best->used = ++write->nr_used;
	write->nr_copies++;
	*ret = best;
	return true;
}

static bool is_full(const struct xbdev_lvs_write *write, uint32_t nr_more)
{
	return nr_more > write->room_pages - write->nr_pages;
}

/* As many of its extent pages as there is room for; true: all. */
static bool build_leaves(struct xbdev_lvs_write *write, struct xbdev_lvs_blob *blob)
{
	struct xu_list *node;

	while ((node = xu_list_first(&blob->write.leaves)) != NULL) {
		struct xbdev_lvs_leaf *leaf = xu_list_entry(node, struct xbdev_lvs_leaf, dirty);
		enum xbdev_lvs_step step = !leaf->is_on_disk           ? XBDEV_LVS_STEP_FRESH
					   : blob->write.is_root_first ? XBDEV_LVS_STEP_LATE
								       : XBDEV_LVS_STEP_LEAVES;
		struct xbdev_lvs_slot *slot = NULL;
		struct xbdev_lvs_wpage *wpage;

		if (is_full(write, 1) ||
			(leaf->is_on_disk && !find_slot(write, leaf->page, &slot))) {
			return false;
		}
		wpage = add_page(write, step, leaf->page);
		wpage->slot = slot;
		wpage->blob = blob;
		wpage->leaf = leaf;
		xbdev__lvs_extents_format(wpage->bytes, blob->id,
			leaf->slot * XBDEV_LVS_LEAF_CLUSTERS, leaf->clusters, leaf->count);
		xu_list_del(node);
	}
	return true;
}

static int grow(struct xbdev_lvs_write *write, uint32_t nr_pages)
{
	assert(write->nr_pages == 0);
	xbdev__lvs_batch_fini(write);
	return xbdev__lvs_batch_init(write, nr_pages);
}

/* The chain, or zeroes in place of the root; 1: it is in the batch, 0: it does not fit any more. */
static int build_root(struct xbdev_lvs_write *write, struct xbdev_lvs_blob *blob)
{
	uint32_t nr_more,
		count = blob->write.is_doomed ? 1 : xbdev__lvs_chain_count(blob, &nr_more);
	struct xbdev_lvs_numbers swap;
	struct xbdev_lvs_slot *slot;
	struct xbdev_lvs_wpage *wpage;
	int rc = blob->write.is_doomed ? 0 : reserve_chain(blob, count - 1);

	if (rc == 0 && count > write->room_pages && write->nr_pages == 0) { /* a huge table */
		rc = grow(write, count);
	}
	if (rc != 0) {
		return rc;
	}
	if (is_full(write, count) || !find_slot(write, blob->root, &slot)) {
		return 0;
	}
	wpage = add_page(write, XBDEV_LVS_STEP_ROOTS, blob->root);
	wpage->slot = slot;
	wpage->blob = blob;
	if (blob->write.is_doomed) {
		memset(wpage->bytes, 0, PAGE);
		return 1;
	}
	xbdev__lvs_chain_format(blob, blob->write.next_chain.items, wpage->bytes);
	for (uint32_t i = 0; i < count - 1; i++) {
		add_page(write, XBDEV_LVS_STEP_FRESH, blob->write.next_chain.items[i]);
	}
	swap = blob->write.writing;
	blob->write.writing = blob->write.next_chain;
	blob->write.next_chain = swap;
	blob->write.next_chain.count = 0;
	blob->write.is_dirty = false;
	blob->write.nr_more = 0;
	return 1;
}

int xbdev__lvs_batch_build(struct xbdev_lvs_write *write)
{
	struct xu_list *node;

	while ((node = xu_list_first(&write->taking)) != NULL) {
		struct xbdev_lvs_blob *blob =
			xu_list_entry(node, struct xbdev_lvs_blob, write.link);
		int rc = 1;

		if (blob->write.is_root_first && blob->write.is_dirty) {
			rc = build_root(write, blob);
		}
		if (rc == 1 && !blob->write.is_doomed && !build_leaves(write, blob)) {
			rc = 0;
		}
		if (rc == 1 && (blob->write.is_dirty || blob->write.is_doomed)) {
			rc = build_root(write, blob);
		}
		if (rc < 0) {
			return rc;
		}
		if (rc == 0) {
			assert(write->nr_pages > 0);
			break;
		}
		blob->write.is_root_first = false;
		xu_list_del(node);
	}
	return 0;
}

/* ---- the end of a batch ---- */

static int erase_later(struct xbdev_lvs_write *write, struct xbdev_lvs_numbers *pages)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < pages->count; i++) {
		rc = xbdev__lvs_numbers_add(&write->erase, pages->items[i]);
	}
	/* Without memory they stay in use until the store is loaded again: leaked, not lost. */
	pages->count = 0;
	return rc;
}

static void erase_all(struct xbdev_lvs_write *write, struct xbdev_lvs_blob *blob)
{
	const struct xbdev_lvs_map *map = &blob->map;

	erase_later(write, &blob->write.next_chain);
	for (uint32_t slot = xbdev__lvs_map_next_slot(map, 0); slot < map->nr_slots;
		slot = xbdev__lvs_map_next_slot(map, slot + 1)) {
		struct xbdev_lvs_leaf *leaf = map->leaves[slot];

		if (leaf->page != 0) {
			(void)xbdev__lvs_numbers_add(&write->erase, leaf->page);
			leaf->page = 0;
			xu_list_del(&leaf->dirty);
		}
	}
	(void)xbdev__lvs_numbers_add(&write->erase, blob->root);
	blob->write.is_dirty = false;
	xu_list_del(&blob->write.link);
}

static void root_written(struct xbdev_lvs_write *write, struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvs_numbers old = blob->chain;

	erase_later(write, &old);
	erase_later(write, &blob->write.garbage);
	blob->chain = blob->write.writing;
	blob->write.writing = old;
	if (blob->write.is_doomed) {
		erase_all(write, blob);
	}
}

void xbdev__lvs_batch_settle(struct xbdev_lvs_write *write)
{
	for (uint32_t i = 0; i < write->nr_pages; i++) {
		struct xbdev_lvs_wpage *wpage = &write->pages[i];

		if (wpage->slot != NULL) {
			wpage->slot->is_busy = false;
		}
		if (wpage->leaf != NULL) {
			wpage->leaf->is_on_disk = true;
		} else if (wpage->blob != NULL) {
			root_written(write, wpage->blob);
		}
	}
	write->nr_pages = 0;
	write->nr_copies = 0;
}

/* What was in the batch is marked again; its copies stay where they are, and are needed where their
 * pages may have been written in part. */
void xbdev__lvs_batch_abandon(struct xbdev_lvs_write *write)
{
	for (uint32_t i = 0; i < write->nr_pages; i++) {
		struct xbdev_lvs_wpage *wpage = &write->pages[i];
		struct xbdev_lvs_blob *blob = wpage->blob;
		struct xbdev_lvs_numbers *writing;

		if (wpage->slot != NULL && wpage->step <= write->step) {
			wpage->slot->is_needed = true;
		}
		if (blob == NULL) {
			continue;
		}
		if (wpage->leaf != NULL) {
			if (!xu_list_is_linked(&wpage->leaf->dirty)) {
				xu_list_add_tail(&blob->write.leaves, &wpage->leaf->dirty);
			}
		} else if (!blob->write.is_doomed) {
			writing = &blob->write.writing;
			for (uint32_t k = 0; k < writing->count; k++) {
				(void)xbdev__lvs_numbers_add(
					&blob->write.garbage, writing->items[k]);
			}
			writing->count = 0;
			blob->write.is_dirty = true;
		}
		mark(blob);
	}
	write->nr_pages = 0;
	write->nr_copies = 0;
}

/* ---- life ---- */

/* Copies that were read in place of their pages hold until these have been written again. */
static void adopt_copies(struct xbdev_lvs_write *write)
{
	const struct xbdev_lvs_numbers *copies = &write->store->copies;

	for (uint32_t i = 0; i < copies->count && write->nr_slots < XBDEV_LVS_MAX_SLOTS; i += 2) {
		write->slots[write->nr_slots++] = (struct xbdev_lvs_slot){.page = copies->items[i],
			.target = copies->items[i + 1],
			.is_busy = true,
			.is_needed = true};
	}
	if (write->max_slots < write->nr_slots + 1 && write->nr_slots < XBDEV_LVS_MAX_SLOTS) {
		write->max_slots = write->nr_slots + 1;
	}
}

int xbdev__lvs_write_init(struct xbdev_lvs *store)
{
	struct xbdev_lvs_write *write = calloc(1, sizeof(*write));
	uint32_t max_slots = store->super.md_len / 16;

	if (write == NULL) {
		return -ENOMEM;
	}
	write->store = store;
	write->can_tear = store->ch->dev->limits.block_size < PAGE;
	write->max_slots = max_slots < 1                     ? 1
			   : max_slots < XBDEV_LVS_MAX_SLOTS ? max_slots
							     : XBDEV_LVS_MAX_SLOTS;
	adopt_copies(write);
	xu_list_init(&write->dirty);
	xu_list_init(&write->taking);
	xu_list_init(&write->waiters);
	if (xbdev__lvs_batch_init(write, XBDEV_LVS_BATCH_PAGES) != 0) {
		free(write);
		return -ENOMEM;
	}
	store->write = write;
	return 0;
}

void xbdev__lvs_write_fini(struct xbdev_lvs *store)
{
	struct xbdev_lvs_write *write = store->write;

	if (write == NULL) {
		return;
	}
	assert(!write->is_running && !write->is_scheduled);
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		xu_list_del(&store->blobs[i]->write.link);
	}
	xbdev__lvs_batch_fini(write);
	xbdev__lvs_numbers_fini(&write->erase);
	free(write);
	store->write = NULL;
}
