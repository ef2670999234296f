/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to write.c, batch.c and unload.c: a pass and its batch. See write.c for what they do.
 */
#ifndef XBDEV_LVOL_WRITE_PRIVATE_H
#define XBDEV_LVOL_WRITE_PRIVATE_H

#include "lib/xbdev/lvol/write.h"

#define XBDEV_LVS_BATCH_PAGES 64u
#define XBDEV_LVS_MAX_SLOTS   64u
_Static_assert(XBDEV_LVS_MAX_SLOTS <= XBDEV_LVS_BATCH_PAGES, "restored with a batch's buffers");

enum xbdev_lvs_step {
	XBDEV_LVS_STEP_FRESH,
	XBDEV_LVS_STEP_LEAVES,
	XBDEV_LVS_STEP_ROOTS,
	XBDEV_LVS_STEP_LATE,
	XBDEV_LVS_STEP_ERASE,
	XBDEV_LVS_NR_STEPS,
};

/* A page that holds the copy of another. */
struct xbdev_lvs_slot {
	uint32_t page;
	uint32_t target; /* XBDEV_LVS_NO_PAGE: none, and it holds zeroes */
	uint64_t used;   /* the higher, the later */
	bool is_busy;    /* its target is being written, or that has failed */
	bool is_needed;  /* its target may be torn on the disk: this is all there is of it */
};

struct xbdev_lvs_write;
struct xbdev_lvs_grow;

/* A page of the batch. */
struct xbdev_lvs_wpage {
	struct xbdev_lvs_write *write;
	struct xbdev_io io;
	struct iovec iov;
	uint32_t page;
	enum xbdev_lvs_step step;
	uint8_t *bytes;
	struct xbdev_lvs_slot *slot; /* for its copy; NULL: without */
	struct xbdev_lvs_blob *blob; /* NULL: a page of a chain behind the root */
	struct xbdev_lvs_leaf *leaf; /* NULL: a root */
	struct xbdev_io copy_io;
	struct iovec copy_iov;
};

struct xbdev_lvs_write {
	struct xbdev_lvs *store;
	struct xu_list dirty;  /* marked blobs */
	struct xu_list taking; /* those of the pass that are not in a batch yet */
	struct xu_list waiters;
	uint64_t pass; /* the one that is running, or was last */
	bool is_running, is_scheduled, is_flushed;
	bool is_begun; /* the super block on disk says that the store is not clean */
	int status;    /* of the pass */
	struct xr_msg msg;

	/* The batch. */
	struct xbdev_lvs_wpage *pages;
	uint32_t nr_pages, room_pages;
	uint8_t *bytes;  /* room_pages of 4096 */
	uint8_t *copies; /* as many */
	uint8_t *zeroes; /* one */
	uint32_t nr_copies;
	uint32_t step;
	uint32_t nr_pending;
	void (*then)(struct xbdev_lvs_write *write); /* when nr_pending falls to 0 */
	void (*erase_then)(struct xbdev_lvs_write *write);
	void (*super_then)(struct xbdev_lvs_write *write);
	bool is_closing;    /* what the super block being written says */
	struct xbdev_io io; /* flush, super block */
	struct iovec iov;

	/* Pages to be erased, and then free; the last so many are being erased. */
	struct xbdev_lvs_numbers erase;
	uint32_t nr_erasing;

	bool can_tear;
	struct xbdev_lvs_slot slots[XBDEV_LVS_MAX_SLOTS];
	uint32_t nr_slots, max_slots;
	uint64_t nr_used;

	/* Growing. */
	struct xbdev_lvs_grow *grow; /* NULL: it does not */

	/* Unloading and recovery. */
	struct xbdev_lvs_waiter waiter;
	void (*done)(void *arg, const struct xu_error *err);
	void *done_arg;
	struct xu_error err;
	uint32_t stage;
	uint64_t at, end;
	char *piece;
};

/* write.c */
void xbdev__lvs_write_schedule(struct xbdev_lvs_write *write);
int xbdev__lvs_batch_build(struct xbdev_lvs_write *write);
void xbdev__lvs_batch_settle(struct xbdev_lvs_write *write);
void xbdev__lvs_batch_abandon(struct xbdev_lvs_write *write);
void xbdev__lvs_batch_done(struct xbdev_lvs_write *write);

/* batch.c */
int xbdev__lvs_batch_init(struct xbdev_lvs_write *write, uint32_t nr_pages);
void xbdev__lvs_batch_fini(struct xbdev_lvs_write *write);
/* Carries out the batch, with write->status; then xbdev__lvs_batch_done(). */
void xbdev__lvs_batch_write(struct xbdev_lvs_write *write);
/* Erases the pages of write->erase and calls `then`; what could not be erased stays in the list. */
void xbdev__lvs_erase(struct xbdev_lvs_write *write, void (*then)(struct xbdev_lvs_write *write));
void xbdev__lvs_flush(struct xbdev_lvs_write *write, void (*then)(struct xbdev_lvs_write *write));
/* Writes 4096 bytes to a place of the device and calls `then`, with write->status. */
void xbdev__lvs_bytes_write(struct xbdev_lvs_write *write, uint64_t at, void *bytes,
	void (*then)(struct xbdev_lvs_write *write));
/* Writes the super block with `is_clean` and flushes. */
void xbdev__lvs_super_write(
	struct xbdev_lvs_write *write, bool is_clean, void (*then)(struct xbdev_lvs_write *write));

#endif
