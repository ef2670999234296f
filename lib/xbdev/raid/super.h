/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: the superblock of a member, version 1.2, in the machine's own byte
 * order, and its way from and to the 4096 bytes on disk (docs/raid.md has the format).
 *
 * Sectors are 512 bytes everywhere in lib/xbdev/raid. What the kernel keeps untouched on an update
 * is kept here too (set_name, ctime, device_uuid, dev_number, the place of the bad block log), and
 * what belongs to a feature bit that is not set is written as 0 and never read.
 */
#ifndef XBDEV_RAID_SUPER_H
#define XBDEV_RAID_SUPER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/util/uuid.h"

struct xu_error;

#define XBDEV_MD_SECTOR        512u
#define XBDEV_MD_SUPER_OFFSET  8u    /* sectors: where a 1.2 superblock lies */
#define XBDEV_MD_SUPER_BYTES   4096u /* what is read and written */
#define XBDEV_MD_MAX_DEV_ROLES 1920u
#define XBDEV_MD_CLEAN         UINT64_MAX /* resync_offset: nothing to do */
#define XBDEV_MD_NAME_BYTES    32u

/* dev_roles[]: below XBDEV_MD_ROLE_MAX the role itself. */
#define XBDEV_MD_ROLE_MAX     0xff00u
#define XBDEV_MD_ROLE_JOURNAL 0xfffdu
#define XBDEV_MD_ROLE_FAULTY  0xfffeu
#define XBDEV_MD_ROLE_SPARE   0xffffu

/* feature_map. */
#define XBDEV_MD_F_BITMAP          0x0001u
#define XBDEV_MD_F_RECOVERY_OFFSET 0x0002u
#define XBDEV_MD_F_RESHAPE         0x0004u
#define XBDEV_MD_F_BAD_BLOCKS      0x0008u
#define XBDEV_MD_F_REPLACEMENT     0x0010u
#define XBDEV_MD_F_RESHAPE_BACK    0x0020u
#define XBDEV_MD_F_NEW_OFFSET      0x0040u
#define XBDEV_MD_F_RECOVERY_BITMAP 0x0080u
#define XBDEV_MD_F_CLUSTERED       0x0100u
#define XBDEV_MD_F_JOURNAL         0x0200u
#define XBDEV_MD_F_PPL             0x0400u
#define XBDEV_MD_F_MULTIPLE_PPLS   0x0800u
#define XBDEV_MD_F_RAID0_LAYOUT    0x1000u

/* devflags. */
#define XBDEV_MD_DEV_WRITE_MOSTLY 0x01u
#define XBDEV_MD_DEV_FAILFAST     0x02u

struct xbdev_md_super {
	uint32_t feature_map;
	struct xu_uuid set_uuid;
	char set_name[XBDEV_MD_NAME_BYTES + 1];
	uint64_t ctime; /* as on disk: low 40 bits seconds, above them microseconds */
	int32_t level;  /* MD's: -1 linear, 0, 1, 4, 5, 6, 10 */
	uint32_t layout;
	uint64_t size;      /* sectors used per member; 0 for linear and raid0 */
	uint32_t chunksize; /* sectors */
	uint32_t raid_disks;
	int32_t bitmap_offset; /* sectors from the superblock; with F_BITMAP */
	int16_t ppl_offset;    /* sectors from the superblock; with F_PPL or F_MULTIPLE_PPLS */
	uint16_t ppl_size;     /* sectors */
	/* Reshape, with F_RESHAPE: kept for people, arrays with it are refused. */
	int32_t new_level;
	uint64_t reshape_position;
	int32_t delta_disks;
	uint32_t new_layout;
	uint32_t new_chunk;
	int32_t new_offset;
	uint64_t data_offset;     /* sectors from the start of the device */
	uint64_t data_size;       /* sectors from data_offset */
	uint64_t recovery_offset; /* sectors from data_offset, with F_RECOVERY_OFFSET; on a journal
				   * member its tail */
	uint32_t dev_number;
	uint32_t cnt_corrected_read;
	struct xu_uuid device_uuid;
	uint8_t devflags;
	uint8_t bblog_shift;
	uint16_t bblog_size;  /* sectors reserved */
	int32_t bblog_offset; /* sectors from the superblock; 0: no log */
	uint64_t utime;       /* seconds */
	uint64_t events;
	uint64_t resync_offset;      /* XBDEV_MD_CLEAN, or where a resync starts */
	uint32_t logical_block_size; /* bytes, newest kernels; 0: not recorded */
	uint32_t max_dev;
	uint16_t dev_roles[XBDEV_MD_MAX_DEV_ROLES];
};

/*
 * Reads a superblock out of the XBDEV_MD_SUPER_BYTES at sector 8 of a device of dev_sectors.
 * -ENOENT: there is none (no magic, or no room for one); -EINVAL with a sentence that says which
 * field is wrong and how: what the kernel would not import is not taken here either (docs/raid.md),
 * nor are logs that would overlap the data. Reshaping, clustered and journalled arrays are parsed:
 * refusing them is assembly's business. *ret_super is written only on success.
 */
int xbdev__md_super_parse(const void *bytes, uint64_t dev_sectors, struct xbdev_md_super *ret_super,
	struct xu_error *err);

/* Writes all XBDEV_MD_SUPER_BYTES, checksum included; what follows the roles is zero. */
void xbdev__md_super_format(const struct xbdev_md_super *super, void *ret_bytes);

/* This member's own role: dev_roles[dev_number], XBDEV_MD_ROLE_SPARE beyond the table. */
uint16_t xbdev__md_super_role(const struct xbdev_md_super *super);
/* The sector of the device at which something lies that is told from the superblock on. */
static inline uint64_t xbdev__md_super_place(int32_t sectors_from_super)
{
	return (uint64_t)((int64_t)XBDEV_MD_SUPER_OFFSET + sectors_from_super);
}
static inline bool xbdev__md_super_has(const struct xbdev_md_super *super, uint32_t feature)
{
	return (super->feature_map & feature) != 0;
}

/* Sectors from the start of the bitmap to the next thing on a device of dev_sectors: what its
 * header and bits may take at most. 0 without a bitmap. */
uint64_t xbdev__md_super_bitmap_room(const struct xbdev_md_super *super, uint64_t dev_sectors);

/* "raid5", "linear", … or "level N". Static or in buf. */
const char *xbdev__md_level_name(int32_t level, char buf[static 24]);
/* mdadm's spelling: four groups of eight hex digits. */
void xbdev__md_uuid_format(const struct xu_uuid *uuid, char ret_text[static 36]);
int xbdev__md_uuid_parse(const char *text, struct xu_uuid *ret_uuid);

#endif
