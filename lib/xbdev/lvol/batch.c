/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch of metadata pages, carried out step by step: see write.c for the steps and why. All pages
 * of a step are written at the same time; a flush ends it. The first error ends the batch, when all
 * that was submitted has come back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/write_private.h"

#define PAGE XBDEV_LVS_PAGE_BYTES

static void step_begin(struct xbdev_lvs_write *write);

/* ---- I/O ---- */

static void unpend(struct xbdev_lvs_write *write, int status)
{
	if (status != 0 && write->status == 0) {
		write->status = status;
	}
	if (--write->nr_pending == 0) {
		write->then(write);
	}
}

static void on_io(struct xbdev_io *io, int status)
{
	unpend(io->cb_arg, status);
}

/* A page at `offset`; a flush has none. */
static void submit(struct xbdev_lvs_write *write, struct xbdev_io *io, struct iovec *iov,
	enum xbdev_op op, uint64_t offset, void *bytes)
{
	int rc;

	*iov = (struct iovec){bytes, PAGE};
	*io = (struct xbdev_io){
		.ch = write->store->ch,
		.cb = on_io,
		.cb_arg = write,
		.iov = iov,
		.nr_iov = bytes != NULL ? 1 : 0,
		.op = (uint8_t)op,
		.offset = offset,
		.len = bytes != NULL ? PAGE : 0,
	};
	write->nr_pending++;
	rc = xbdev_io_submit(io);
	if (rc != 0) {
		write->status = write->status != 0 ? write->status : rc;
		write->nr_pending--;
	}
}

static void submit_page(struct xbdev_lvs_write *write, struct xbdev_io *io, struct iovec *iov,
	uint32_t page, void *bytes)
{
	submit(write, io, iov, XBDEV_OP_WRITE, xbdev__lvs_page_at(&write->store->super, page),
		bytes);
}

/* Submission happens with one more pending, so that `then` runs after the last of it. */
static void io_begin(struct xbdev_lvs_write *write, void (*then)(struct xbdev_lvs_write *write))
{
	write->then = then;
	write->nr_pending = 1;
}

void xbdev__lvs_flush(struct xbdev_lvs_write *write, void (*then)(struct xbdev_lvs_write *write))
{
	io_begin(write, then);
	submit(write, &write->io, &write->iov, XBDEV_OP_FLUSH, 0, NULL);
	unpend(write, 0);
}

void xbdev__lvs_bytes_write(struct xbdev_lvs_write *write, uint64_t at, void *bytes,
	void (*then)(struct xbdev_lvs_write *write))
{
	io_begin(write, then);
	submit(write, &write->io, &write->iov, XBDEV_OP_WRITE, at, bytes);
	unpend(write, 0);
}

/* ---- erasing ---- */

static struct xbdev_lvs_slot *slot_of(struct xbdev_lvs_write *write, uint32_t page)
{
	for (uint32_t i = 0; i < write->nr_slots; i++) {
		if (write->slots[i].target == page) {
			return &write->slots[i];
		}
	}
	return NULL;
}

static void erase_some(struct xbdev_lvs_write *write);

static void on_erased(struct xbdev_lvs_write *write)
{
	struct xbdev_lvs_numbers *erase = &write->erase;

	if (write->status != 0) {
		write->erase_then(write);
		return;
	}
	for (uint32_t i = 0; i < write->nr_erasing; i++) {
		uint32_t page = erase->items[erase->count - 1 - i];
		struct xbdev_lvs_slot *slot = slot_of(write, page);

		if (slot != NULL) {
			*slot = (struct xbdev_lvs_slot){
				.page = slot->page, .target = XBDEV_LVS_NO_PAGE};
		}
		xbdev__lvs_bits_clear(&write->store->pages, page);
	}
	erase->count -= write->nr_erasing;
	erase_some(write);
}

static void erase_some(struct xbdev_lvs_write *write)
{
	const struct xbdev_lvs_numbers *erase = &write->erase;

	write->nr_erasing = erase->count < write->room_pages ? erase->count : write->room_pages;
	if (write->nr_erasing == 0) {
		write->erase_then(write);
		return;
	}
	io_begin(write, on_erased);
	for (uint32_t i = 0; i < write->nr_erasing; i++) {
		struct xbdev_lvs_wpage *wpage = &write->pages[i];
		uint32_t page = erase->items[erase->count - 1 - i];
		const struct xbdev_lvs_slot *slot = slot_of(write, page);

		submit_page(write, &wpage->io, &wpage->iov, page, write->zeroes);
		if (slot != NULL) {
			submit_page(write, &wpage->copy_io, &wpage->copy_iov, slot->page,
				write->zeroes);
		}
	}
	unpend(write, 0);
}

void xbdev__lvs_erase(struct xbdev_lvs_write *write, void (*then)(struct xbdev_lvs_write *write))
{
	write->erase_then = then;
	erase_some(write);
}

/* ---- the super block ---- */

static void on_super_flushed(struct xbdev_lvs_write *write)
{
	struct xbdev_lvs *store = write->store;

	if (write->status == 0) {
		store->super.is_clean = write->is_closing;
		write->is_begun = !write->is_closing;
		store->is_super_torn = false;
	}
	write->super_then(write);
}

static void on_super(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		write->super_then(write);
	} else {
		xbdev__lvs_flush(write, on_super_flushed);
	}
}

void xbdev__lvs_super_write(
	struct xbdev_lvs_write *write, bool is_clean, void (*then)(struct xbdev_lvs_write *write))
{
	struct xbdev_lvs *store = write->store;
	struct xbdev_lvs_super super = store->super;

	super.is_clean = write->is_closing = is_clean;
	xbdev__lvs_super_format(&super, store->super_bytes);
	write->super_then = then;
	io_begin(write, on_super);
	submit(write, &write->io, &write->iov, XBDEV_OP_WRITE, 0, store->super_bytes);
	unpend(write, 0);
}

/* ---- once after loading ---- */

static void on_begun(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		write->step = 0;
		step_begin(write);
	}
}

static int take_stale(struct xbdev_lvs_write *write, struct xbdev_lvs_numbers *stale)
{
	int rc = 0;

	for (; rc == 0 && stale->count > 0; stale->count--) {
		rc = xbdev__lvs_numbers_add(&write->erase, stale->items[stale->count - 1]);
	}
	return rc;
}

static void on_last_erased(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		xbdev__lvs_super_write(write, false, on_begun);
	}
}

static void on_stale_flushed(struct xbdev_lvs_write *write)
{
	if (write->status == 0) {
		write->status = take_stale(write, &write->store->stale_last);
	}
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		xbdev__lvs_erase(write, on_last_erased);
	}
}

static void on_stale_erased(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		xbdev__lvs_flush(write, on_stale_flushed);
	}
}

static void begin(struct xbdev_lvs_write *write)
{
	write->status = take_stale(write, &write->store->stale);
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		xbdev__lvs_erase(write, on_stale_erased);
	}
}

/* ---- the steps ---- */

static void on_batch_erased(struct xbdev_lvs_write *write)
{
	xbdev__lvs_batch_done(write);
}

static void step_next(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
		return;
	}
	if (write->step == XBDEV_LVS_STEP_FRESH) {
		write->is_flushed = true;
	}
	write->step++;
	step_begin(write);
}

static void on_step(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		xbdev__lvs_flush(write, step_next);
	}
}

static bool is_in_step(const struct xbdev_lvs_write *write)
{
	for (uint32_t i = 0; i < write->nr_pages; i++) {
		if (write->pages[i].step == write->step) {
			return true;
		}
	}
	return false;
}

static void submit_step(struct xbdev_lvs_write *write)
{
	io_begin(write, on_step);
	for (uint32_t i = 0; i < write->nr_pages; i++) {
		struct xbdev_lvs_wpage *wpage = &write->pages[i];
		uint8_t *copy = write->copies + (size_t)i * PAGE;

		if (write->step == XBDEV_LVS_STEP_FRESH && wpage->slot != NULL) {
			xbdev__lvs_copy_format(wpage->bytes, wpage->page, copy);
			submit_page(
				write, &wpage->copy_io, &wpage->copy_iov, wpage->slot->page, copy);
		}
		if (wpage->step == write->step) {
			submit_page(write, &wpage->io, &wpage->iov, wpage->page, wpage->bytes);
		}
	}
	unpend(write, 0);
}

static void step_begin(struct xbdev_lvs_write *write)
{
	/* The first is for the flush, whatever is written. */
	while (write->step != XBDEV_LVS_STEP_FRESH && write->step < XBDEV_LVS_STEP_ERASE &&
		!is_in_step(write)) {
		write->step++;
	}
	if (write->step < XBDEV_LVS_STEP_ERASE) {
		submit_step(write);
		return;
	}
	xbdev__lvs_batch_settle(write);
	xbdev__lvs_erase(write, on_batch_erased);
}

static void start(struct xbdev_lvs_write *write)
{
	const struct xbdev_lvs *store = write->store;
	bool is_due = write->nr_pages > 0 || store->stale.count > 0 ||
		      store->stale_last.count > 0 || store->has_repairs;

	if (!write->is_begun && is_due && store->read_only_reason.code == 0) {
		begin(write);
	} else {
		step_begin(write);
	}
}

/* ---- before it: pages that may be torn ---- */

/* The copies lie where those of the batch are made later. */

static void on_whole(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
		return;
	}
	for (uint32_t i = 0; i < write->nr_slots; i++) {
		write->slots[i].is_needed = false;
	}
	start(write);
}

static void on_restored(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
	} else {
		xbdev__lvs_flush(write, on_whole);
	}
}

static void restore(struct xbdev_lvs_write *write, uint32_t i)
{
	struct xbdev_lvs_wpage *wpage = &write->pages[i];
	uint8_t *copy = write->copies + (size_t)i * PAGE, bytes[PAGE];
	uint32_t page;

	if (!xbdev__lvs_copy_parse(copy, &page, bytes) || page != write->slots[i].target) {
		write->status = write->status != 0 ? write->status : -EILSEQ;
		return;
	}
	memcpy(copy, bytes, PAGE);
	submit_page(write, &wpage->copy_io, &wpage->copy_iov, page, copy);
}

static void on_copies(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		xbdev__lvs_batch_done(write);
		return;
	}
	io_begin(write, on_restored);
	for (uint32_t i = 0; i < write->nr_slots; i++) {
		if (write->slots[i].is_needed) {
			restore(write, i);
		}
	}
	unpend(write, 0);
}

static void read_copies(struct xbdev_lvs_write *write)
{
	io_begin(write, on_copies);
	for (uint32_t i = 0; i < write->nr_slots; i++) {
		struct xbdev_lvs_wpage *wpage = &write->pages[i];

		if (write->slots[i].is_needed) {
			submit(write, &wpage->copy_io, &wpage->copy_iov, XBDEV_OP_READ,
				xbdev__lvs_page_at(&write->store->super, write->slots[i].page),
				write->copies + (size_t)i * PAGE);
		}
	}
	unpend(write, 0);
}

void xbdev__lvs_batch_write(struct xbdev_lvs_write *write)
{
	bool is_any_torn = false;

	for (uint32_t i = 0; i < write->nr_slots; i++) {
		is_any_torn = is_any_torn || write->slots[i].is_needed;
	}
	write->step = 0;
	if (is_any_torn && write->store->read_only_reason.code == 0) {
		read_copies(write);
	} else {
		start(write);
	}
}

/* ---- memory ---- */

int xbdev__lvs_batch_init(struct xbdev_lvs_write *write, uint32_t nr_pages)
{
	write->pages = calloc(nr_pages, sizeof(write->pages[0]));
	write->bytes = xu_buf_alloc((size_t)nr_pages * PAGE);
	write->copies = xu_buf_alloc((size_t)nr_pages * PAGE);
	write->zeroes = xu_buf_alloc(PAGE);
	write->room_pages = nr_pages;
	if (write->pages == NULL || write->bytes == NULL || write->copies == NULL ||
		write->zeroes == NULL) {
		xbdev__lvs_batch_fini(write);
		return -ENOMEM;
	}
	return 0;
}

void xbdev__lvs_batch_fini(struct xbdev_lvs_write *write)
{
	free(write->pages);
	xu_buf_free(write->bytes, (size_t)write->room_pages * PAGE);
	xu_buf_free(write->copies, (size_t)write->room_pages * PAGE);
	xu_buf_free(write->zeroes, PAGE);
	write->pages = NULL;
	write->bytes = write->copies = write->zeroes = NULL;
	write->room_pages = 0;
}
