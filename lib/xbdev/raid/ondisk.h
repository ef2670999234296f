/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: MD's structures as they lie on a member (docs/raid.md), little endian
 * throughout, with the format's own names. Only the files that parse and format them include this.
 */
#ifndef XBDEV_RAID_ONDISK_H
#define XBDEV_RAID_ONDISK_H

#include <stddef.h>
#include <stdint.h>

/* ---- the superblock, 256 bytes and 2 for each of max_dev devices ---- */

#define MD_SB_MAGIC 0xa92b4efcu
#define MD_SB_MAJOR 1u

struct md_super {
	uint32_t magic;
	uint32_t major_version;
	uint32_t feature_map;
	uint32_t pad0;
	uint8_t set_uuid[16];
	char set_name[32];
	uint64_t ctime;
	int32_t level;
	uint32_t layout;
	uint64_t size;
	uint32_t chunksize;
	uint32_t raid_disks;
	union {
		int32_t bitmap_offset;
		struct {
			int16_t offset;
			uint16_t size;
		} __attribute__((packed)) ppl;
	} __attribute__((packed));
	uint32_t new_level;
	uint64_t reshape_position;
	uint32_t delta_disks;
	uint32_t new_layout;
	uint32_t new_chunk;
	uint32_t new_offset;
	uint64_t data_offset;
	uint64_t data_size;
	uint64_t super_offset;
	uint64_t recovery_offset; /* of a journal member: journal_tail */
	uint32_t dev_number;
	uint32_t cnt_corrected_read;
	uint8_t device_uuid[16];
	uint8_t devflags;
	uint8_t bblog_shift;
	uint16_t bblog_size;
	uint32_t bblog_offset;
	uint64_t utime;
	uint64_t events;
	uint64_t resync_offset;
	uint32_t sb_csum;
	uint32_t max_dev;
	uint32_t logical_block_size; /* the first bytes of pad3 up to Linux 6.17 */
	uint8_t pad3[28];
	uint16_t dev_roles[];
} __attribute__((packed));

_Static_assert(sizeof(struct md_super) == 256, "superblock");
_Static_assert(offsetof(struct md_super, set_uuid) == 16, "set_uuid");
_Static_assert(offsetof(struct md_super, set_name) == 32, "set_name");
_Static_assert(offsetof(struct md_super, ctime) == 64, "ctime");
_Static_assert(offsetof(struct md_super, level) == 72, "level");
_Static_assert(offsetof(struct md_super, size) == 80, "size");
_Static_assert(offsetof(struct md_super, chunksize) == 88, "chunksize");
_Static_assert(offsetof(struct md_super, raid_disks) == 92, "raid_disks");
_Static_assert(offsetof(struct md_super, bitmap_offset) == 96, "bitmap_offset");
_Static_assert(offsetof(struct md_super, ppl.offset) == 96, "ppl.offset");
_Static_assert(offsetof(struct md_super, ppl.size) == 98, "ppl.size");
_Static_assert(offsetof(struct md_super, new_level) == 100, "new_level");
_Static_assert(offsetof(struct md_super, reshape_position) == 104, "reshape_position");
_Static_assert(offsetof(struct md_super, delta_disks) == 112, "delta_disks");
_Static_assert(offsetof(struct md_super, new_offset) == 124, "new_offset");
_Static_assert(offsetof(struct md_super, data_offset) == 128, "data_offset");
_Static_assert(offsetof(struct md_super, data_size) == 136, "data_size");
_Static_assert(offsetof(struct md_super, super_offset) == 144, "super_offset");
_Static_assert(offsetof(struct md_super, recovery_offset) == 152, "recovery_offset");
_Static_assert(offsetof(struct md_super, dev_number) == 160, "dev_number");
_Static_assert(offsetof(struct md_super, device_uuid) == 168, "device_uuid");
_Static_assert(offsetof(struct md_super, devflags) == 184, "devflags");
_Static_assert(offsetof(struct md_super, bblog_shift) == 185, "bblog_shift");
_Static_assert(offsetof(struct md_super, bblog_size) == 186, "bblog_size");
_Static_assert(offsetof(struct md_super, bblog_offset) == 188, "bblog_offset");
_Static_assert(offsetof(struct md_super, utime) == 192, "utime");
_Static_assert(offsetof(struct md_super, events) == 200, "events");
_Static_assert(offsetof(struct md_super, resync_offset) == 208, "resync_offset");
_Static_assert(offsetof(struct md_super, sb_csum) == 216, "sb_csum");
_Static_assert(offsetof(struct md_super, max_dev) == 220, "max_dev");
_Static_assert(offsetof(struct md_super, logical_block_size) == 224, "logical_block_size");
_Static_assert(offsetof(struct md_super, pad3) == 228, "pad3");
_Static_assert(offsetof(struct md_super, dev_roles) == 256, "dev_roles");

/* ---- the header of the write-intent bitmap ---- */

#define MD_BITMAP_MAGIC 0x6d746962u

struct md_bitmap_super {
	uint32_t magic;
	uint32_t version;
	uint8_t uuid[16];
	uint64_t events;
	uint64_t events_cleared;
	uint64_t sync_size;
	uint32_t state;
	uint32_t chunksize;
	uint32_t daemon_sleep;
	uint32_t write_behind;
	uint32_t sectors_reserved;
	uint32_t nodes;
	uint8_t cluster_name[64];
	uint8_t pad[120];
} __attribute__((packed));

_Static_assert(sizeof(struct md_bitmap_super) == 256, "bitmap");
_Static_assert(offsetof(struct md_bitmap_super, uuid) == 8, "uuid");
_Static_assert(offsetof(struct md_bitmap_super, events) == 24, "events");
_Static_assert(offsetof(struct md_bitmap_super, sync_size) == 40, "sync_size");
_Static_assert(offsetof(struct md_bitmap_super, state) == 48, "state");
_Static_assert(offsetof(struct md_bitmap_super, chunksize) == 52, "chunksize");
_Static_assert(offsetof(struct md_bitmap_super, write_behind) == 60, "write_behind");
_Static_assert(offsetof(struct md_bitmap_super, nodes) == 68, "nodes");
_Static_assert(offsetof(struct md_bitmap_super, cluster_name) == 72, "cluster_name");

/* ---- the bad block log: entries of 8 bytes ---- */

#define MD_BB_LEN_BITS 10u
#define MD_BB_LEN_MAX  512u
#define MD_BB_END      UINT64_MAX

/* ---- the header of the partial parity log ---- */

struct md_ppl_entry {
	uint64_t data_sector;
	uint32_t pp_size;
	uint32_t data_size;
	uint32_t parity_disk;
	uint32_t checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct md_ppl_entry) == 24, "PPL entry");

#define MD_PPL_OURS 0x544e53424e415358ull /* "XSANBSNT" */

struct md_ppl_header {
	union {
		uint8_t reserved[512]; /* FFh; nobody looks at it, so here is a mark of ours: */
		struct {
			uint64_t magic;
			uint32_t absent_role;
		} __attribute__((packed));
	};
	uint32_t signature;
	uint32_t padding;
	uint64_t generation;
	uint32_t entries_count;
	uint32_t checksum;
	struct md_ppl_entry entries[148];
	uint8_t rest[8];
} __attribute__((packed));
_Static_assert(sizeof(struct md_ppl_header) == 4096, "PPL header");
_Static_assert(offsetof(struct md_ppl_header, signature) == 512, "signature");
_Static_assert(offsetof(struct md_ppl_header, generation) == 520, "generation");
_Static_assert(offsetof(struct md_ppl_header, checksum) == 532, "checksum");
_Static_assert(offsetof(struct md_ppl_header, entries) == 536, "entries");

#endif
