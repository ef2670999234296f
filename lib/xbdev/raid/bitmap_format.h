/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: the header of the write-intent bitmap on a member, from and to its
 * 256 bytes on disk. The bits follow at byte 256: bit i is byte 256 + i/8, mask 1 << i%8.
 */
#ifndef XBDEV_RAID_BITMAP_FORMAT_H
#define XBDEV_RAID_BITMAP_FORMAT_H

#include "lib/util/uuid.h"

struct xu_error;

#define XBDEV_MD_BITMAP_HEADER_BYTES 256u
#define XBDEV_MD_BITMAP_STALE        2u
#define XBDEV_MD_BITMAP_WRITE_ERROR  4u

struct xbdev_md_bitmap_header {
	uint32_t version; /* 4, or 3 */
	struct xu_uuid uuid;
	uint64_t events;
	uint64_t events_cleared;
	uint64_t sync_size; /* sectors covered: of the member, for raid10 of the array */
	uint32_t state;
	uint32_t chunksize; /* bytes */
	uint32_t daemon_sleep_s;
	uint32_t write_behind;
	uint32_t sectors_reserved;
	uint32_t nodes;
};

/* -ENOENT: no magic; -EOPNOTSUPP: a version that is not ours; -EINVAL. */
int xbdev__md_bitmap_parse(
	const void *bytes, struct xbdev_md_bitmap_header *ret_header, struct xu_error *err);
void xbdev__md_bitmap_format(const struct xbdev_md_bitmap_header *header, void *ret_bytes);

static inline uint64_t xbdev__md_bitmap_nr_bits(const struct xbdev_md_bitmap_header *header)
{
	uint64_t chunk_sectors = header->chunksize / 512;

	return header->sync_size / chunk_sectors + (header->sync_size % chunk_sectors != 0);
}

#endif
