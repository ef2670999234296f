/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading a store, on its reactor:
 *
 *   the super block
 *   clean:    the masks, in pieces; the roots are the bits of the mask of blobs
 *   unclean:  all md pages, in pieces; a root is a page that says so, and copies of pages whose
 *             writing was cut off are kept. The masks are not looked at.
 *   then, many at a time, chain pages and extent pages as they are found
 *   then settle.c, and the store is the caller's
 *
 * What cannot be read in a chain or an extent page makes that blob unusable, with the reason; on an
 * unclean store it also means that clusters in use may be unknown, so nothing may be written. What
 * cannot be read anywhere else ends the loading.
 */
#include "lib/xbdev/lvol/load.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/chain.h"
#include "lib/xbdev/lvol/mask.h"
#include "lib/xbdev/lvol/settle.h"

#define PIECE_BYTES (1u << 20)
#define NR_READERS  32u
#define PAGE        XBDEV_LVS_PAGE_BYTES

/* A blob while its pages are read. */
struct job {
	struct xbdev_lvs_blob *blob;
	struct xbdev_lvs_chain chain;
	uint32_t nr_leaves; /* extent pages still to come */
	bool is_restored;   /* its root was read from a copy */
};

/* A page to be read for it: the next of its chain, or that of a leaf. */
struct item {
	struct job *job;
	uint32_t page;
	struct xbdev_lvs_leaf *leaf; /* NULL: of the chain */
};

struct load;

struct reader {
	struct load *load;
	struct xbdev_io io;
	struct iovec iov;
	struct item item;
	bool is_busy;
};

struct copy {
	struct xu_list link;
	uint32_t at;     /* page where it lies */
	uint32_t page;   /* that it is for; XBDEV_LVS_NO_PAGE: none */
	bool is_erasure; /* the page was to be erased */
	bool is_used;    /* and it was read in place of that page */
	uint8_t bytes[PAGE];
};

struct load {
	struct xbdev_channel *ch;
	const char *device;
	uint64_t dev_bytes;
	void (*done)(void *arg, struct xbdev_lvs *store, const struct xu_error *err);
	void *arg;
	struct xu_error err;
	struct xr_msg msg;
	struct xbdev_lvs *store;
	bool has_masks;

	/* Reading in pieces. */
	struct xbdev_io io;
	struct iovec iov;
	char *piece; /* PIECE_BYTES; the readers' pages later */
	uint64_t at, end;
	void (*take)(struct load *load, uint64_t at, uint64_t len);
	void (*then)(struct load *load);
	uint32_t mask;

	/* Reading single pages. */
	struct item *items;
	uint32_t nr_items, room_items, next_item;
	struct job **jobs;
	uint32_t nr_jobs, room_jobs;
	struct reader readers[NR_READERS];
	uint32_t nr_busy;
	bool is_starting;

	struct xbdev_lvs_bits roots;   /* clean: what the mask says */
	struct xbdev_lvs_bits claimed; /* pages of chains */
	struct xbdev_lvs_bits torn;    /* unclean: neither whole nor zeroes */
	struct xu_list copies;
};

/* ---- the end ---- */

static void free_copies(struct load *load)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&load->copies)) != NULL) {
		free(xu_list_entry(node, struct copy, link));
	}
}

static void end(struct load *load)
{
	struct xbdev_lvs *store = load->store;

	free_copies(load);
	for (uint32_t i = 0; i < load->nr_jobs; i++) {
		free(load->jobs[i]);
	}
	free(load->jobs);
	free(load->items);
	xbdev__lvs_bits_fini(&load->roots);
	xbdev__lvs_bits_fini(&load->claimed);
	xbdev__lvs_bits_fini(&load->torn);
	xu_buf_free(load->piece, PIECE_BYTES);
	if (load->err.code != 0) {
		xu_error_prefix(&load->err, "'%s'", load->device);
		xbdev__lvs_free(store);
		store = NULL;
	}
	load->done(load->arg, store, &load->err);
	free(load);
}

static void fail_memory(struct load *load)
{
	if (load->err.code == 0) {
		xu_error_set_errno(&load->err, -ENOMEM, "loading the store");
	}
}

/* ---- reading in pieces ---- */

static void read_piece(struct load *load);

static void on_piece(struct xbdev_io *io, int status)
{
	struct load *load = xu_container_of(io, struct load, io);

	if (status != 0) {
		xu_error_set_errno(&load->err, status,
			"reading %" PRIu64 " bytes of the store's metadata at %" PRIu64, io->len,
			io->offset);
	} else {
		load->take(load, io->offset, io->len);
		load->at += io->len;
	}
	if (load->err.code != 0) {
		end(load);
	} else if (load->at < load->end) {
		read_piece(load);
	} else {
		load->then(load);
	}
}

static void read_piece(struct load *load)
{
	uint64_t len = load->end - load->at < PIECE_BYTES ? load->end - load->at : PIECE_BYTES;
	int rc;

	load->iov = (struct iovec){load->piece, len};
	load->io = (struct xbdev_io){
		.ch = load->ch,
		.cb = on_piece,
		.iov = &load->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.offset = load->at,
		.len = len,
	};
	rc = xbdev_io_submit(&load->io);
	if (rc != 0) {
		xu_error_set_errno(&load->err, rc, "reading the store's metadata");
		end(load);
	}
}

/* Slots of the device, one piece after the other. */
static void read_slots(struct load *load, uint64_t first, uint64_t count,
	void (*take)(struct load *load, uint64_t at, uint64_t len), void (*then)(struct load *load))
{
	load->at = first * load->store->super.page_size;
	load->end = load->at + count * load->store->super.page_size;
	load->take = take;
	load->then = then;
	read_piece(load);
}

/* ---- what was found ---- */

static struct job *add_job(struct load *load, uint32_t root)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job != NULL && load->nr_jobs == load->room_jobs) {
		uint32_t room = load->room_jobs != 0 ? load->room_jobs * 2 : 64;
		struct job **jobs = realloc(load->jobs, room * sizeof(jobs[0]));

		if (jobs != NULL) {
			load->jobs = jobs;
			load->room_jobs = room;
		}
	}
	if (job == NULL || load->nr_jobs == load->room_jobs) {
		free(job);
		fail_memory(load);
		return NULL;
	}
	load->jobs[load->nr_jobs++] = job;
	job->blob = xbdev__lvs_blob_new(load->store, root);
	if (job->blob == NULL) {
		fail_memory(load);
		return NULL;
	}
	xbdev__lvs_bits_set(&load->claimed, root);
	return job;
}

static void add_item(struct load *load, struct job *job, uint32_t page, struct xbdev_lvs_leaf *leaf)
{
	if (load->nr_items == load->room_items) {
		uint32_t room = load->room_items != 0 ? load->room_items * 2 : 256;
		struct item *items = realloc(load->items, room * sizeof(items[0]));

		if (items == NULL) {
			fail_memory(load);
			return;
		}
		load->items = items;
		load->room_items = room;
	}
	load->items[load->nr_items++] = (struct item){job, page, leaf};
}

/* The blob cannot be used; what it lists is not all known. */
static void lose(struct load *load, struct job *job, const struct xu_error *why)
{
	struct xu_error err;

	xbdev__lvs_blob_fail(job->blob, why);
	if (!load->has_masks) {
		xu_error_set(&err, -EUCLEAN,
			"the store was not closed properly, and the metadata of blob %#" PRIx64
			" is damaged (%s): which clusters it has is not known",
			job->blob->id, why->text);
		xbdev__lvs_make_read_only(load->store, &err);
	}
}

static struct copy *find_copy(struct load *load, uint32_t page)
{
	struct xu_list *node;

	xu_list_for_each (node, &load->copies) {
		struct copy *copy = xu_list_entry(node, struct copy, link);

		if (copy->page == page) {
			return copy;
		}
	}
	return NULL;
}

/* ---- a blob ---- */

static void finish_job(struct load *load, struct job *job)
{
	struct xbdev_lvs_blob *blob = job->blob;
	struct xu_error err = {0};
	bool is_cut = false;

	if (xbdev__lvs_chain_finish(blob, &job->chain, &is_cut, &err) != 0) {
		xbdev__lvs_blob_fail(blob, &err);
		return;
	}
	blob->write.is_dirty = is_cut || job->is_restored;
	if (job->chain.has_unknown) {
		/* To write it anew would lose what is not understood. */
		blob->is_locked = true;
		blob->data_ro_flags |= XBDEV_LVS_RO_DATA;
		if (!load->has_masks) {
			xu_error_set(&err, -EILSEQ,
				"it has metadata of type %u, which this program does not know",
				job->chain.unknown_type);
			lose(load, job, &err);
		}
	}
	if ((blob->data_ro_flags & ~XBDEV_LVS_RO_KNOWN) != 0 ||
		(blob->md_ro_flags & ~XBDEV_LVS_CLEAR_MASK) != 0) {
		blob->is_locked = true;
	}
}

static void queue_leaves(struct load *load, struct job *job)
{
	const struct xbdev_lvs_map *map = &job->blob->map;

	for (uint32_t slot = 0; slot < map->nr_slots; slot++) {
		struct xbdev_lvs_leaf *leaf = map->leaves[slot];

		if (leaf != NULL && leaf->page != 0) {
			job->nr_leaves++;
			add_item(load, job, leaf->page, leaf);
		}
	}
	if (job->nr_leaves == 0) {
		finish_job(load, job);
	}
}

/* A page of the chain, the root first. */
static void take_page(struct load *load, struct job *job, const void *bytes)
{
	struct xbdev_lvs_blob *blob = job->blob;
	struct xu_error err = {0};
	uint32_t next;

	if (xbdev__lvs_chain_parse(blob, &job->chain, bytes, &next, &err) != 0) {
		lose(load, job, &err);
		return;
	}
	if (next == XBDEV_LVS_NO_PAGE) {
		queue_leaves(load, job);
		return;
	}
	if (next >= load->store->super.md_len || !xbdev__lvs_bits_set(&load->claimed, next)) {
		xu_error_set(&err, -EILSEQ,
			"its metadata goes on at page %" PRIu32
			", which the store does not have or which has been met before",
			next);
		lose(load, job, &err);
		return;
	}
	if (xbdev__lvs_numbers_add(&blob->chain, next) != 0) {
		fail_memory(load);
		return;
	}
	add_item(load, job, next, NULL);
}

static void take_leaf(
	struct load *load, struct job *job, struct xbdev_lvs_leaf *leaf, const void *bytes)
{
	struct copy *copy;
	struct xu_error err = {0};
	int rc = xbdev__lvs_leaf_parse(job->blob, leaf, bytes, &err);

	if (rc != 0 && !load->has_masks && xbdev__lvs_bits_test(&load->torn, leaf->page) &&
		(copy = find_copy(load, leaf->page)) != NULL) {
		err = (struct xu_error){0};
		rc = xbdev__lvs_leaf_parse(job->blob, leaf, copy->bytes, &err);
		if (rc == 0 && !xu_list_is_linked(&leaf->dirty)) {
			xu_list_add_tail(&job->blob->write.leaves, &leaf->dirty);
			copy->is_used = true;
		}
	}
	if (rc != 0) {
		lose(load, job, &err);
	}
	if (--job->nr_leaves == 0 && job->blob->reason == NULL) {
		finish_job(load, job);
	}
}

/* ---- single pages, many at a time ---- */

static void read_more(struct load *load);

/* What becomes of the copies: see store.h. */
static void sort_copies(struct load *load)
{
	struct xbdev_lvs *store = load->store;
	struct xu_list *node;
	int rc = 0;

	xu_list_for_each (node, &load->copies) {
		const struct copy *copy = xu_list_entry(node, struct copy, link);

		if (copy->is_used) {
			store->nr_restored++;
			rc = rc == 0 ? xbdev__lvs_numbers_add(&store->copies, copy->at) : rc;
			rc = rc == 0 ? xbdev__lvs_numbers_add(&store->copies, copy->page) : rc;
		} else if (copy->is_erasure && copy->page != XBDEV_LVS_NO_PAGE &&
			   xbdev__lvs_bits_test(&load->torn, copy->page)) {
			rc = rc == 0 ? xbdev__lvs_numbers_add(&store->stale_last, copy->at) : rc;
		} else {
			rc = rc == 0 ? xbdev__lvs_numbers_add(&store->stale, copy->at) : rc;
		}
	}
	if (rc != 0) {
		fail_memory(load);
	}
}

static void settle(struct load *load)
{
	sort_copies(load);
	if (load->err.code == 0) {
		xbdev__lvs_settle(load->store, load->has_masks, &load->err);
	}
	end(load);
}

static void take_item(struct load *load, const struct item *item, const void *bytes, int status)
{
	struct xu_error err;

	if (status == -EIO || status == -EILSEQ) {
		xu_error_set_errno(
			&err, status, "reading page %" PRIu32 " of the metadata", item->page);
		lose(load, item->job, &err);
		if (item->leaf != NULL) {
			item->job->nr_leaves--;
		}
	} else if (status != 0) {
		xu_error_set_errno(
			&load->err, status, "reading page %" PRIu32 " of the metadata", item->page);
	} else if (item->leaf != NULL) {
		take_leaf(load, item->job, item->leaf, bytes);
	} else {
		take_page(load, item->job, bytes);
	}
}

static void on_page(struct xbdev_io *io, int status)
{
	struct reader *reader = xu_container_of(io, struct reader, io);
	struct load *load = reader->load;

	reader->is_busy = false;
	load->nr_busy--;
	take_item(load, &reader->item, reader->iov.iov_base, status);
	read_more(load);
}

static void read_one(struct load *load, struct reader *reader)
{
	const struct item *item = &load->items[load->next_item++];
	int rc;

	reader->item = *item;
	reader->io = (struct xbdev_io){
		.ch = load->ch,
		.cb = on_page,
		.iov = &reader->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.offset = xbdev__lvs_page_at(&load->store->super, item->page),
		.len = PAGE,
	};
	rc = xbdev_io_submit(&reader->io);
	if (rc != 0) {
		take_item(load, &reader->item, NULL, rc);
		return;
	}
	reader->is_busy = true;
	load->nr_busy++;
}

static void read_more(struct load *load)
{
	for (uint32_t i = 0; i < NR_READERS; i++) {
		while (!load->readers[i].is_busy && load->err.code == 0 &&
			load->next_item < load->nr_items) {
			read_one(load, &load->readers[i]);
		}
	}
	if (load->nr_busy == 0) {
		settle(load);
	}
}

static void start_reading(struct load *load)
{
	for (uint32_t i = 0; i < NR_READERS; i++) {
		load->readers[i].load = load;
		load->readers[i].iov = (struct iovec){load->piece + (size_t)i * PAGE, PAGE};
	}
	read_more(load);
}

/* ---- clean: the masks ---- */

static void take_roots(struct load *load)
{
	uint64_t root = xbdev__lvs_bits_next(&load->roots, 0);

	for (; root < load->roots.nr_bits; root = xbdev__lvs_bits_next(&load->roots, root + 1)) {
		struct job *job = add_job(load, (uint32_t)root);

		if (job == NULL) {
			break;
		}
		add_item(load, job, (uint32_t)root, NULL);
	}
	start_reading(load);
}

static void take_mask(struct load *load, uint64_t at, uint64_t len)
{
	const struct xbdev_lvs_super *super = &load->store->super;
	const struct {
		uint32_t start;
		struct xbdev_lvs_bits *bits;
	} masks[] = {
		{super->page_mask_start, &load->store->pages},
		{super->cluster_mask_start, &load->store->clusters},
		{super->blobid_mask_start, &load->roots},
	};

	xbdev__lvs_mask_parse(masks[load->mask].bits, load->piece,
		at - (uint64_t)masks[load->mask].start * super->page_size, len);
}

static void next_mask(struct load *load)
{
	const struct xbdev_lvs_super *super = &load->store->super;

	load->mask++;
	if (load->mask == XBDEV_LVS_MASK_CLUSTERS) {
		read_slots(load, super->cluster_mask_start, super->cluster_mask_len, take_mask,
			next_mask);
	} else if (load->mask == XBDEV_LVS_MASK_BLOBIDS) {
		read_slots(load, super->blobid_mask_start, super->blobid_mask_len, take_mask,
			next_mask);
	} else {
		take_roots(load);
	}
}

/* ---- unclean: all pages ---- */

static void add_copy(struct load *load, uint32_t at, uint32_t page, const void *bytes)
{
	static const uint8_t zeroes[PAGE];
	bool is_for_none = page >= load->store->super.md_len || find_copy(load, page) != NULL;
	struct copy *copy = malloc(sizeof(*copy));

	if (copy == NULL) {
		fail_memory(load);
		return;
	}
	copy->at = at;
	copy->page = is_for_none ? XBDEV_LVS_NO_PAGE : page; /* there is one at most */
	copy->is_used = false;
	copy->is_erasure = memcmp(bytes, zeroes, PAGE) == 0;
	memcpy(copy->bytes, bytes, PAGE);
	xu_list_add_tail(&load->copies, &copy->link);
}

static void take_unknown_page(struct load *load, uint32_t page, const uint8_t *bytes)
{
	uint8_t original[PAGE];
	struct xbdev_lvs_page header;
	uint32_t target;
	struct job *job;

	if (xbdev__lvs_page_is_root(bytes, page)) {
		job = xbdev__lvs_bits_test(&load->claimed, page) ? NULL : add_job(load, page);
		if (job != NULL) {
			take_page(load, job, bytes);
		}
	} else if (xbdev__lvs_copy_parse(bytes, &target, original)) {
		add_copy(load, page, target, original);
	} else if (!xbdev__lvs_page_parse(bytes, &header)) {
		xbdev__lvs_bits_set(&load->torn, page);
		if (xbdev__lvs_page_was_root(bytes, page)) {
			xbdev__lvs_bits_set(&load->roots, page);
		}
	}
}

static void take_pages(struct load *load, uint64_t at, uint64_t len)
{
	static const uint8_t zeroes[PAGE];
	const struct xbdev_lvs_super *super = &load->store->super;
	uint32_t page = (uint32_t)(at / super->page_size - super->md_start);

	for (uint64_t i = 0; i < len && load->err.code == 0; i += super->page_size) {
		const uint8_t *bytes = (const uint8_t *)load->piece + i;

		if (memcmp(bytes, zeroes, PAGE) != 0) {
			take_unknown_page(load, page, bytes);
		}
		page++;
	}
}

static void take_torn_root(struct load *load, uint32_t page)
{
	struct copy *copy = find_copy(load, page);
	struct xu_error err;
	struct job *job;

	if (xbdev__lvs_bits_test(&load->claimed, page)) {
		return; /* another's chain goes through it */
	}
	if (copy != NULL && copy->is_erasure) {
		if (xbdev__lvs_numbers_add(&load->store->stale, page) != 0) {
			fail_memory(load);
		}
		return;
	}
	job = add_job(load, page);
	if (job == NULL) {
		return;
	}
	if (copy != NULL) {
		job->is_restored = true;
		copy->is_used = true;
		take_page(load, job, copy->bytes);
	} else {
		xu_error_set(&err, -EILSEQ, "the checksum of its root is wrong");
		lose(load, job, &err);
	}
}

/* Pages whose writing was cut off: by their copies, also those that lost their beginning. */
static void take_torn(struct load *load)
{
	struct xu_list *node;
	uint64_t page;

	xu_list_for_each (node, &load->copies) {
		const struct copy *copy = xu_list_entry(node, struct copy, link);

		if (copy->page != XBDEV_LVS_NO_PAGE &&
			xbdev__lvs_bits_test(&load->torn, copy->page) &&
			(copy->is_erasure || xbdev__lvs_page_is_root(copy->bytes, copy->page))) {
			xbdev__lvs_bits_set(&load->roots, copy->page);
		}
	}
	page = xbdev__lvs_bits_next(&load->roots, 0);
	for (; page < load->roots.nr_bits && load->err.code == 0;
		page = xbdev__lvs_bits_next(&load->roots, page + 1)) {
		take_torn_root(load, (uint32_t)page);
	}
	start_reading(load);
}

/* ---- the beginning ---- */

static int make_store(struct load *load)
{
	struct xbdev_lvs_super super;
	struct xbdev_lvs *store;
	int rc = xbdev__lvs_super_parse(load->piece, load->dev_bytes, &super, &load->err);

	if (rc != 0) {
		return rc;
	}
	store = load->store = xbdev__lvs_new(&super);
	if (store == NULL || xbdev__lvs_bits_init(&load->roots, super.md_len) != 0 ||
		xbdev__lvs_bits_init(&load->claimed, super.md_len) != 0 ||
		xbdev__lvs_bits_init(&load->torn, super.md_len) != 0) {
		fail_memory(load);
		return -ENOMEM;
	}
	memcpy(store->super_bytes, load->piece, PAGE);
	store->ch = load->ch;
	store->reactor = load->ch->reactor;
	store->ctx = load->ch->dev->ctx;
	store->device = load->device;
	if (load->ch->dev->limits.block_size > store->block_size) {
		store->block_size = load->ch->dev->limits.block_size;
	}
	load->has_masks = super.is_clean && xbdev__lvs_super_has_masks(&super);
	return 0;
}

static void go_on(struct load *load)
{
	const struct xbdev_lvs_super *super = &load->store->super;

	if (load->has_masks) {
		load->mask = XBDEV_LVS_MASK_PAGES;
		read_slots(
			load, super->page_mask_start, super->page_mask_len, take_mask, next_mask);
	} else {
		read_slots(load, super->md_start, super->md_len, take_pages, take_torn);
	}
}

static void read_super(
	struct load *load, uint64_t at, char *to, void (*cb)(struct xbdev_io *io, int status));

/* The one that was written before the other was to grow. */
static void on_spare(struct xbdev_io *io, int status)
{
	struct load *load = xu_container_of(io, struct load, io);

	if (status == 0 && xbdev__lvs_super_restore(load->piece, load->piece + PAGE)) {
		load->err = (struct xu_error){0};
		if (make_store(load) == 0) {
			load->store->is_super_torn = load->store->has_repairs = true;
			go_on(load);
			return;
		}
	}
	end(load);
}

static void on_super(struct xbdev_io *io, int status)
{
	struct load *load = xu_container_of(io, struct load, io);
	uint64_t spare_at;
	int rc;

	if (status != 0) {
		xu_error_set_errno(&load->err, status, "reading the super block");
		end(load);
		return;
	}
	rc = make_store(load);
	if (rc == 0) {
		go_on(load);
	} else if (rc == -EILSEQ && xbdev__lvs_super_spare_at(load->piece, &spare_at)) {
		read_super(load, spare_at, load->piece + PAGE, on_spare);
	} else {
		end(load);
	}
}

static void read_super(
	struct load *load, uint64_t at, char *to, void (*cb)(struct xbdev_io *io, int status))
{
	int rc;

	load->iov = (struct iovec){to, PAGE};
	load->io = (struct xbdev_io){
		.ch = load->ch,
		.cb = cb,
		.iov = &load->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.offset = at,
		.len = PAGE,
	};
	rc = xbdev_io_submit(&load->io);
	if (rc != 0) {
		xu_error_set_errno(&load->err, rc, "reading the super block");
		end(load);
	}
}

static void on_start(struct xr_msg *msg)
{
	struct load *load = xu_container_of(msg, struct load, msg);

	if (load->dev_bytes < XBDEV_LVS_DEV_MIN) {
		xu_error_set(&load->err, -ENOSPC,
			"a device of %" PRIu64 " bytes is too small for a store of volumes",
			load->dev_bytes);
		end(load);
		return;
	}
	load->piece = xu_buf_alloc(PIECE_BYTES);
	if (load->piece == NULL) {
		fail_memory(load);
		end(load);
		return;
	}
	read_super(load, 0, load->piece, on_super);
}

void xbdev__lvs_load(struct xbdev_channel *ch, const char *device,
	void (*done)(void *arg, struct xbdev_lvs *store, const struct xu_error *err), void *arg)
{
	struct load *load = calloc(1, sizeof(*load));
	struct xu_error err;

	if (load == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "loading the store on '%s'", device);
		done(arg, NULL, &err);
		return;
	}
	xu_list_init(&load->copies);
	load->ch = ch;
	load->device = device;
	load->dev_bytes = xbdev_device_size_bytes(ch->dev);
	load->done = done;
	load->arg = arg;
	load->msg.fn = on_start;
	xr_msg_defer(ch->reactor, &load->msg);
}
