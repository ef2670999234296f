/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: the write-intent bitmap of a running array (docs/raid.md,
 * "Write-intent bitmap"): a bit per chunk that may not agree on all members, so that a resync after
 * a crash, and the recovery of a member that was away, walk over little. All on the owner.
 */
#ifndef XBDEV_RAID_BITMAP_H
#define XBDEV_RAID_BITMAP_H

#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/bitmap_format.h"

#define XBDEV_MD_BITMAP_PAGE 4096u

struct xbdev_md_bitmap {
	struct xbdev_md_array *array;
	struct xbdev_md_bitmap_header header;
	uint64_t chunk_sectors;
	uint64_t nr_bits;
	size_t bytes;                  /* of header and bits, whole pages */
	uint8_t *wanted;               /* as it is to be: header and bits as on disk */
	uint8_t *written;              /* as it is on every member */
	uint8_t *out;                  /* what is being written of it */
	uint16_t *nr_users;            /* writes in flight, per bit */
	uint8_t *idle;                 /* sweeps since the last of them, per bit */
	uint32_t first_page, end_page; /* that differ; equal: none */
	uint32_t out_first, out_end;   /* that are being written */
	struct xr_timer sweep_timer;
};

/* Takes what was read from a member (bitmap->bytes; freed by xbdev__md_bitmap_free() in any case).
 * One that is out of date counts as all ones. -EINVAL with a sentence. */
int xbdev__md_bitmap_start(
	struct xbdev_md_array *array, uint8_t *bytes, size_t count, struct xu_error *err);
/* Begins to sweep what is set; nothing without a bitmap. */
void xbdev__md_bitmap_watch(struct xbdev_md_array *array);
void xbdev__md_bitmap_free(struct xbdev_md_array *array);

/* The bytes that header and bits of this array take; 0: it has none. */
size_t xbdev__md_bitmap_bytes(const struct xbdev_md_super *super, uint64_t dev_sectors);

/* What a new array's bitmap is like: all ones. */
void xbdev__md_bitmap_make(uint8_t *bytes, size_t count, const struct xbdev_md_super *super,
	uint64_t sync_size, uint32_t chunk_bytes, uint32_t write_behind);

/*
 * A write to these sectors of the array begins or ends. _begin() sets its bits; it may go on when
 * _is_on_disk(), else it asks for a round of metadata and waits for that.
 */
void xbdev__md_bitmap_begin(struct xbdev_md_array *array, uint64_t sector, uint64_t count);
bool xbdev__md_bitmap_is_on_disk(
	const struct xbdev_md_array *array, uint64_t sector, uint64_t count);
void xbdev__md_bitmap_end(struct xbdev_md_array *array, uint64_t sector, uint64_t count);

/* From here on (array sectors for raid10, else member sectors) how many sectors agree: 0 where a
 * bit is set. */
uint64_t xbdev__md_bitmap_clean_run(const struct xbdev_md_array *array, uint64_t sector);

/* The array stops, complete and clean: all bits that nobody uses go. */
void xbdev__md_bitmap_settle(struct xbdev_md_array *array);
/* Nothing is known any more: all ones. */
void xbdev__md_bitmap_set_all(struct xbdev_md_array *array);

/* For meta.c: what is to be written in this round, from the start of the bitmap on; false: nothing.
 * `events` are those of the superblocks that follow, 0: none follow. */
bool xbdev__md_bitmap_take(struct xbdev_md_array *array, uint64_t events, uint8_t **ret_bytes,
	size_t *ret_offset, size_t *ret_count);
/* That has been written. */
void xbdev__md_bitmap_taken(struct xbdev_md_array *array);

#endif
