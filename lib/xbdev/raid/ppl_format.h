/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: the header of a partial parity log on a member of a raid5
 * (docs/raid.md, "PPL"). The partial parities of its entries follow the 4096 bytes in order.
 */
#ifndef XBDEV_RAID_PPL_FORMAT_H
#define XBDEV_RAID_PPL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/util/uuid.h"

struct xu_error;

#define XBDEV_MD_PPL_HEADER_BYTES 4096u
#define XBDEV_MD_PPL_ENTRIES      148u

struct xbdev_md_ppl_entry {
	uint64_t data_sector; /* first array sector written */
	uint32_t pp_size;     /* bytes of partial parity; 0: a whole row was written */
	uint32_t data_size;   /* bytes */
	uint32_t parity_disk; /* role */
	uint32_t checksum;    /* CRC-32C of the partial parity */
};

#define XBDEV_MD_PPL_NOBODY UINT32_MAX

/* Of a header of ours without entries: where no log tells of something parity agrees. Linux never
 * writes one with a generation. */
#define XBDEV_MD_PPL_AGREES 1u

struct xbdev_md_ppl_header {
	uint32_t absent_role; /* ours alone: one that was not counted on, or XBDEV_MD_PPL_NOBODY */
	uint32_t signature;
	uint64_t generation;
	uint32_t nr_entries;
	struct xbdev_md_ppl_entry entries[XBDEV_MD_PPL_ENTRIES];
};

uint32_t xbdev__md_ppl_signature(const struct xu_uuid *set_uuid);
/* CRC-32C with initial and final inversion. */
uint32_t xbdev__md_ppl_checksum(const void *bytes, uint64_t count);
/* -EILSEQ: the checksum is wrong; -ESTALE: another array's signature; -EINVAL. */
int xbdev__md_ppl_parse(const void *bytes, uint32_t signature,
	struct xbdev_md_ppl_header *ret_header, struct xu_error *err);
/*
 * The newest header in an area of `count` bytes: headers follow each other, each behind the partial
 * parities of the one before, with growing generations; the last before one that is not that.
 * *ret_at is where what belongs to it begins. -ENOENT: the first is none.
 */
int xbdev__md_ppl_newest(const void *area, size_t count, uint32_t signature,
	struct xbdev_md_ppl_header *ret_header, size_t *ret_at);
void xbdev__md_ppl_format(const struct xbdev_md_ppl_header *header, void *ret_bytes);

#endif
