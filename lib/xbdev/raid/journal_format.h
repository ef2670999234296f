/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: a journal of ours on a member of a raid4 or raid6 (docs/raid.md,
 * "Journal"): an anchor, which binds it to the array and to the member's superblock, and a slot for
 * each lane, with the newest unit of that.
 */
#ifndef XBDEV_RAID_JOURNAL_FORMAT_H
#define XBDEV_RAID_JOURNAL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/util/uuid.h"
#include "lib/xbdev/raid/super.h"

struct xu_error;

#define XBDEV_MD_ANCHOR_BYTES      4096u /* of which 512 count: a torn one is the old or the new */
#define XBDEV_MD_UNIT_HEADER_BYTES 4096u
#define XBDEV_MD_UNIT_ENTRIES      168u

struct xbdev_md_anchor {
	struct xu_uuid set_uuid;
	struct xu_uuid device_uuid;
	uint64_t epoch;         /* of the array's current run: units with another are over */
	uint64_t min_seq;       /* units below are over */
	uint64_t events;        /* of the superblock that is written next */
	uint64_t resync_sector; /* parity from there on may be wrong; XBDEV_MD_CLEAN: none */
	uint32_t super_crc;     /* of that superblock's 4096 bytes, */
	uint32_t old_super_crc; /* and of the one before it */
	uint32_t slot_sectors;
	uint32_t nr_lanes;
};

struct xbdev_md_unit_entry {
	uint64_t sector; /* of the member */
	uint32_t count;  /* sectors */
	uint32_t role;
	bool is_whole; /* all data of these rows was written: no payload, parity is made from it */
};

struct xbdev_md_unit {
	struct xu_uuid set_uuid;
	uint64_t epoch;
	uint64_t seq;
	uint32_t lane;
	uint32_t payload_sectors; /* what the entries have, in their order */
	uint32_t payload_crc;
	uint32_t nr_entries;
	struct xbdev_md_unit_entry entries[XBDEV_MD_UNIT_ENTRIES];
};

/* The sector of the device where the journal begins, if there is one: behind the bad block log,
 * which nobody moves. 0: there is no place. */
uint64_t xbdev__md_journal_place(const struct xbdev_md_super *super);
/* Sectors of the whole journal, and whether they are free on this member. */
uint64_t xbdev__md_journal_sectors(uint32_t nr_lanes, uint32_t slot_sectors);
bool xbdev__md_journal_fits(const struct xbdev_md_super *super, uint64_t sectors);

/* -ENOENT: there is no anchor; -EILSEQ: its checksum is wrong; -EOPNOTSUPP: of another version;
 * -EINVAL: its numbers make no journal. */
int xbdev__md_anchor_parse(
	const void *bytes, struct xbdev_md_anchor *ret_anchor, struct xu_error *err);
void xbdev__md_anchor_format(const struct xbdev_md_anchor *anchor, void *ret_bytes);

/* The same for the header of a unit; the payload's checksum is the caller's to compare. */
int xbdev__md_unit_parse(const void *bytes, struct xbdev_md_unit *ret_unit, struct xu_error *err);
void xbdev__md_unit_format(const struct xbdev_md_unit *unit, void *ret_bytes);

#endif
