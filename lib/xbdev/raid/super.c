/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The superblock from and to its bytes. Parsing checks first that the bytes are whole (magic,
 * version, checksum), then that what they say can be so: features, then the places on the device,
 * none of which may reach into another. Nothing is allocated; an error is a sentence, and the
 * output is untouched then.
 */
#include "lib/xbdev/raid/super.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/badblocks.h"
#include "lib/xbdev/raid/ondisk.h"

#define MIN_DEV_SECTORS  24u /* less is no member of anything */
#define MIN_DATA_SECTORS 10u
#define SUPER_END        (XBDEV_MD_SUPER_OFFSET + XBDEV_MD_SUPER_BYTES / XBDEV_MD_SECTOR)
#define MIN_PPL_SECTORS  16u /* its header, and some parity */
#define BBLOG_SECTORS    (XBDEV_MD_BAD_BLOCKS_BYTES / XBDEV_MD_SECTOR)
#define F_ANY_PPL        (XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS)
#define F_KNOWN          0x1fffu

/* What to do about it. */
#define DAMAGED "leave this device out, and add it again when the array runs"

/*
 * All 32-bit words added up, the upper half of the sum added to the lower once. `bytes` has its own
 * checksum in it, which counts as 0.
 */
static uint32_t checksum(const void *bytes, uint32_t max_dev)
{
	const uint8_t *at = bytes;
	size_t len = sizeof(struct md_super) + max_dev * sizeof(uint16_t), i;
	uint64_t sum = 0;
	uint32_t word;
	uint16_t half;

	for (i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, at + i, sizeof(word));
		sum += i != offsetof(struct md_super, sb_csum) ? le32toh(word) : 0;
	}
	if (i < len) {
		memcpy(&half, at + i, sizeof(half));
		sum += le16toh(half);
	}
	return (uint32_t)sum + (uint32_t)(sum >> 32);
}

/* The bytes are those that were once written. */
static int check_whole(const struct md_super *disk, struct xu_error *err)
{
	uint32_t max_dev = le32toh(disk->max_dev), sum;

	if (le32toh(disk->magic) != MD_SB_MAGIC) {
		return xu_error_set(err, -ENOENT, "there is no MD superblock at sector %u",
			XBDEV_MD_SUPER_OFFSET);
	}
	if (le32toh(disk->major_version) != MD_SB_MAJOR) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock is of version %" PRIu32 "; only version 1.2 is read",
			le32toh(disk->major_version));
	}
	if (max_dev > XBDEV_MD_MAX_DEV_ROLES) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock has room for %" PRIu32
			" devices, more than the %u there can be: it is damaged; " DAMAGED,
			max_dev, XBDEV_MD_MAX_DEV_ROLES);
	}
	sum = checksum(disk, max_dev);
	if (sum != le32toh(disk->sb_csum)) {
		return xu_error_set(err, -EINVAL,
			"the checksum in the MD superblock is %08" PRIx32
			", its bytes give %08" PRIx32 ": it is damaged; " DAMAGED,
			le32toh(disk->sb_csum), sum);
	}
	if (le64toh(disk->super_offset) != XBDEV_MD_SUPER_OFFSET) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock at sector %u says that it lies at sector %" PRIu64
			": it belongs to another device, or the start of this one has moved",
			XBDEV_MD_SUPER_OFFSET, le64toh(disk->super_offset));
	}
	return 0;
}

static bool is_block_size(uint32_t bytes)
{
	return bytes >= XBDEV_MD_SECTOR && (bytes & (bytes - 1)) == 0;
}

/* Nothing is in it that a newer Linux has put there and that would be lost. */
static int check_pads(const struct md_super *disk, struct xu_error *err)
{
	uint32_t lbs = le32toh(disk->logical_block_size);
	uint8_t any = 0;

	for (size_t i = 0; i < sizeof(disk->pad3); i++) {
		any |= disk->pad3[i];
	}
	if (disk->pad0 != 0 || any != 0 || (lbs != 0 && !is_block_size(lbs))) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock has bytes where there should be zeros: the array was "
			"made "
			"by a newer Linux than this program knows");
	}
	return 0;
}

static int check_features(const struct md_super *disk, struct xu_error *err)
{
	uint32_t features = le32toh(disk->feature_map);
	/* One place is shared by the bitmap and both kinds of PPL, and a journal replaces them. */
	uint32_t logs = features & (XBDEV_MD_F_BITMAP | F_ANY_PPL);

	if ((features & ~F_KNOWN) != 0) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock has features %#" PRIx32
			" that this program does not know: the array was made by a newer Linux",
			features & ~F_KNOWN);
	}
	if ((logs & (logs - 1)) != 0 ||
		((features & F_ANY_PPL) != 0 && (features & XBDEV_MD_F_JOURNAL) != 0)) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock has features %#" PRIx32
			" that exclude each other (bitmap, PPL, journal): it is damaged; " DAMAGED,
			features);
	}
	if ((features & XBDEV_MD_F_RAID0_LAYOUT) != 0 && le32toh((uint32_t)disk->level) != 0) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock has a layout of raid0 but is of level %" PRId32
			": it is damaged; " DAMAGED,
			(int32_t)le32toh((uint32_t)disk->level));
	}
	if ((features & XBDEV_MD_F_BAD_BLOCKS) != 0 &&
		(disk->bblog_offset == 0 || disk->bblog_size == 0 ||
			le16toh(disk->bblog_size) > BBLOG_SECTORS)) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock tells of bad blocks but its log of them has %u sectors "
			"at "
			"offset %" PRId32 "; there should be 1 to %u, at an offset that is not 0",
			le16toh(disk->bblog_size), (int32_t)le32toh(disk->bblog_offset),
			BBLOG_SECTORS);
	}
	return 0;
}

static int check_data(
	const struct xbdev_md_super *super, uint64_t dev_sectors, struct xu_error *err)
{
	if (super->data_size < MIN_DATA_SECTORS || super->data_offset < SUPER_END) {
		return xu_error_set(err, -EINVAL,
			"the MD superblock puts %" PRIu64 " sectors of data at sector %" PRIu64
			"; there should be %u at least, from sector %u on",
			super->data_size, super->data_offset, MIN_DATA_SECTORS, SUPER_END);
	}
	if (super->data_offset > dev_sectors ||
		super->data_size > dev_sectors - super->data_offset) {
		return xu_error_set(err, -EINVAL,
			"the device has %" PRIu64 " sectors, less than the %" PRIu64 " + %" PRIu64
			" that its MD superblock counts on: it has shrunk, or this is "
			"a part of it",
			dev_sectors, super->data_offset, super->data_size);
	}
	return 0;
}

/* ---- what lies where on the device ---- */

enum place { PLACE_SUPER, PLACE_DATA, PLACE_BITMAP, PLACE_PPL, PLACE_BBLOG, NR_PLACES };

static const char *const place_names[NR_PLACES] = {
	"superblock", "data", "bitmap", "partial parity log", "bad block log"};

struct extent {
	int64_t first; /* sector of the device */
	uint64_t count;
};

static struct extent extent_of(const struct xbdev_md_super *super, enum place place)
{
	switch (place) {
	case PLACE_SUPER:
		return (struct extent){0, SUPER_END};
	case PLACE_DATA:
		return (struct extent){(int64_t)super->data_offset, super->data_size};
	case PLACE_BITMAP: /* How long it is, is in its own header. */
		return (struct extent){(int64_t)XBDEV_MD_SUPER_OFFSET + super->bitmap_offset,
			xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)};
	case PLACE_PPL:
		return (struct extent){(int64_t)XBDEV_MD_SUPER_OFFSET + super->ppl_offset,
			xbdev__md_super_has(super, F_ANY_PPL) ? super->ppl_size : 0};
	default:
		return (struct extent){(int64_t)XBDEV_MD_SUPER_OFFSET + super->bblog_offset,
			super->bblog_offset != 0 ? BBLOG_SECTORS : 0};
	}
}

/* Sectors from a place on that nothing else has. */
static uint64_t room_of(const struct xbdev_md_super *super, uint64_t dev_sectors, enum place place)
{
	int64_t first = extent_of(super, place).first;
	uint64_t room;

	if (first < 0 || (uint64_t)first >= dev_sectors) {
		return 0;
	}
	room = dev_sectors - (uint64_t)first;
	for (uint32_t i = 0; i < NR_PLACES; i++) {
		struct extent other = extent_of(super, (enum place)i);
		uint64_t distance = (uint64_t)(other.first - first);

		if (i == (uint32_t)place || other.count == 0) {
			continue;
		}
		if (other.first >= first) {
			room = distance < room ? distance : room;
		} else if ((uint64_t)(first - other.first) < other.count) {
			return 0;
		}
	}
	return room;
}

uint64_t xbdev__md_super_bitmap_room(const struct xbdev_md_super *super, uint64_t dev_sectors)
{
	return xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)
		       ? room_of(super, dev_sectors, PLACE_BITMAP)
		       : 0;
}

/* Nothing is off the device or overlaps: writing the one would destroy the other. */
static int check_places(
	const struct xbdev_md_super *super, uint64_t dev_sectors, struct xu_error *err)
{
	int rc = check_data(super, dev_sectors, err);

	if (rc == 0 && xbdev__md_super_has(super, F_ANY_PPL) && super->ppl_size < MIN_PPL_SECTORS) {
		rc = xu_error_set(err, -EINVAL,
			"the MD superblock has a partial parity log of %u sectors; there should be "
			"%u at least",
			super->ppl_size, MIN_PPL_SECTORS);
	}
	for (uint32_t i = PLACE_BITMAP; rc == 0 && i < NR_PLACES; i++) {
		struct extent extent = extent_of(super, (enum place)i);

		if (extent.count > 0 && room_of(super, dev_sectors, (enum place)i) < extent.count) {
			rc = xu_error_set(err, -EINVAL,
				"the MD superblock puts the %s at sector %" PRId64
				", which is off the device or inside of something else",
				place_names[i], extent.first);
		}
	}
	return rc;
}

/* ---- from disk ---- */

/* What is only valid with a bit of the feature map. */
static void parse_optional(const struct md_super *disk, struct xbdev_md_super *super)
{
	if (xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)) {
		super->bitmap_offset = (int32_t)le32toh((uint32_t)disk->bitmap_offset);
	} else if (xbdev__md_super_has(super, F_ANY_PPL)) {
		super->ppl_offset = (int16_t)le16toh((uint16_t)disk->ppl.offset);
		super->ppl_size = le16toh(disk->ppl.size);
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_RESHAPE)) {
		super->new_level = (int32_t)le32toh(disk->new_level);
		super->reshape_position = le64toh(disk->reshape_position);
		super->delta_disks = (int32_t)le32toh(disk->delta_disks);
		super->new_layout = le32toh(disk->new_layout);
		super->new_chunk = le32toh(disk->new_chunk);
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_NEW_OFFSET)) {
		super->new_offset = (int32_t)le32toh(disk->new_offset);
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET) ||
		xbdev__md_super_role(super) == XBDEV_MD_ROLE_JOURNAL) {
		super->recovery_offset = le64toh(disk->recovery_offset);
	}
}

static void parse_array(const struct md_super *disk, struct xbdev_md_super *super)
{
	super->feature_map = le32toh(disk->feature_map);
	memcpy(super->set_uuid.bytes, disk->set_uuid, sizeof(super->set_uuid.bytes));
	memcpy(super->set_name, disk->set_name, sizeof(disk->set_name));
	super->ctime = le64toh(disk->ctime);
	super->level = (int32_t)le32toh((uint32_t)disk->level);
	super->layout = le32toh(disk->layout);
	super->size = le64toh(disk->size);
	super->chunksize = le32toh(disk->chunksize);
	super->raid_disks = le32toh(disk->raid_disks);
	super->utime = le64toh(disk->utime);
	super->events = le64toh(disk->events);
	super->resync_offset = le64toh(disk->resync_offset);
	super->logical_block_size = le32toh(disk->logical_block_size);
	super->max_dev = le32toh(disk->max_dev);
	for (uint32_t i = 0; i < XBDEV_MD_MAX_DEV_ROLES; i++) {
		super->dev_roles[i] = i < super->max_dev ? le16toh(disk->dev_roles[i])
							 : (uint16_t)XBDEV_MD_ROLE_SPARE;
	}
}

static void parse_member(const struct md_super *disk, struct xbdev_md_super *super)
{
	super->data_offset = le64toh(disk->data_offset);
	super->data_size = le64toh(disk->data_size);
	super->dev_number = le32toh(disk->dev_number);
	super->cnt_corrected_read = le32toh(disk->cnt_corrected_read);
	memcpy(super->device_uuid.bytes, disk->device_uuid, sizeof(super->device_uuid.bytes));
	super->devflags = disk->devflags;
	super->bblog_shift = disk->bblog_shift;
	super->bblog_size = le16toh(disk->bblog_size);
	super->bblog_offset = (int32_t)le32toh(disk->bblog_offset);
}

int xbdev__md_super_parse(const void *bytes, uint64_t dev_sectors, struct xbdev_md_super *ret_super,
	struct xu_error *err)
{
	const struct md_super *disk = bytes;
	struct xbdev_md_super super;
	int rc;

	if (dev_sectors < MIN_DEV_SECTORS) {
		return xu_error_set(err, -ENOENT,
			"a device of %" PRIu64 " sectors is too small for an MD superblock",
			dev_sectors);
	}
	rc = check_whole(disk, err);
	if (rc == 0) {
		rc = check_pads(disk, err);
	}
	if (rc == 0) {
		rc = check_features(disk, err);
	}
	if (rc != 0) {
		return rc;
	}
	memset(&super, 0, sizeof(super));
	parse_array(disk, &super);
	parse_member(disk, &super);
	parse_optional(disk, &super);
	rc = check_places(&super, dev_sectors, err);
	if (rc == 0) {
		*ret_super = super;
	}
	return rc;
}

/* ---- to disk ---- */

static void format_optional(const struct xbdev_md_super *super, struct md_super *disk)
{
	if (xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)) {
		disk->bitmap_offset = (int32_t)htole32((uint32_t)super->bitmap_offset);
	} else if (xbdev__md_super_has(super, F_ANY_PPL)) {
		disk->ppl.offset = (int16_t)htole16((uint16_t)super->ppl_offset);
		disk->ppl.size = htole16(super->ppl_size);
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_RESHAPE)) {
		disk->new_level = htole32((uint32_t)super->new_level);
		disk->reshape_position = htole64(super->reshape_position);
		disk->delta_disks = htole32((uint32_t)super->delta_disks);
		disk->new_layout = htole32(super->new_layout);
		disk->new_chunk = htole32(super->new_chunk);
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_NEW_OFFSET)) {
		disk->new_offset = htole32((uint32_t)super->new_offset);
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET) ||
		xbdev__md_super_role(super) == XBDEV_MD_ROLE_JOURNAL) {
		disk->recovery_offset = htole64(super->recovery_offset);
	}
}

static void format_array(const struct xbdev_md_super *super, struct md_super *disk)
{
	disk->magic = htole32(MD_SB_MAGIC);
	disk->major_version = htole32(MD_SB_MAJOR);
	disk->super_offset = htole64(XBDEV_MD_SUPER_OFFSET);
	disk->feature_map = htole32(super->feature_map);
	memcpy(disk->set_uuid, super->set_uuid.bytes, sizeof(disk->set_uuid));
	memcpy(disk->set_name, super->set_name, sizeof(disk->set_name));
	disk->ctime = htole64(super->ctime);
	disk->level = (int32_t)htole32((uint32_t)super->level);
	disk->layout = htole32(super->layout);
	disk->size = htole64(super->size);
	disk->chunksize = htole32(super->chunksize);
	disk->raid_disks = htole32(super->raid_disks);
	disk->utime = htole64(super->utime);
	disk->events = htole64(super->events);
	disk->resync_offset = htole64(super->resync_offset);
	disk->logical_block_size = htole32(super->logical_block_size);
	disk->max_dev = htole32(super->max_dev);
	for (uint32_t i = 0; i < super->max_dev; i++) {
		disk->dev_roles[i] = htole16(super->dev_roles[i]);
	}
}

static void format_member(const struct xbdev_md_super *super, struct md_super *disk)
{
	disk->data_offset = htole64(super->data_offset);
	disk->data_size = htole64(super->data_size);
	disk->dev_number = htole32(super->dev_number);
	disk->cnt_corrected_read = htole32(super->cnt_corrected_read);
	memcpy(disk->device_uuid, super->device_uuid.bytes, sizeof(disk->device_uuid));
	disk->devflags = super->devflags;
	disk->bblog_shift = super->bblog_shift;
	disk->bblog_size = htole16(super->bblog_size);
	disk->bblog_offset = htole32((uint32_t)super->bblog_offset);
}

void xbdev__md_super_format(const struct xbdev_md_super *super, void *ret_bytes)
{
	struct md_super *disk = ret_bytes;

	assert(super->max_dev <= XBDEV_MD_MAX_DEV_ROLES);
	memset(ret_bytes, 0, XBDEV_MD_SUPER_BYTES);
	format_array(super, disk);
	format_member(super, disk);
	format_optional(super, disk);
	disk->sb_csum = htole32(checksum(disk, super->max_dev));
}

/* ---- */

uint16_t xbdev__md_super_role(const struct xbdev_md_super *super)
{
	return super->dev_number < super->max_dev ? super->dev_roles[super->dev_number]
						  : (uint16_t)XBDEV_MD_ROLE_SPARE;
}

const char *xbdev__md_level_name(int32_t level, char buf[static 24])
{
	if (level == -1) {
		return "linear";
	}
	if (level == 0 || level == 1 || level == 10 || (level >= 4 && level <= 6)) {
		snprintf(buf, 24, "raid%" PRId32, level);
	} else {
		snprintf(buf, 24, "level %" PRId32, level);
	}
	return buf;
}

void xbdev__md_uuid_format(const struct xu_uuid *uuid, char ret_text[static 36])
{
	static const char digits[] = "0123456789abcdef";
	char *to = ret_text;

	for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
		if (i != 0 && i % 4 == 0) {
			*to++ = ':';
		}
		*to++ = digits[uuid->bytes[i] >> 4];
		*to++ = digits[uuid->bytes[i] & 15];
	}
	*to = '\0';
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

int xbdev__md_uuid_parse(const char *text, struct xu_uuid *ret_uuid)
{
	struct xu_uuid uuid;

	for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
		if (i != 0 && i % 4 == 0 && *text++ != ':') {
			return -EINVAL;
		}
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1])) {
			return -EINVAL;
		}
		uuid.bytes[i] = (uint8_t)(digit_of(text[0]) << 4 | digit_of(text[1]));
		text += 2;
	}
	if (*text != '\0') {
		return -EINVAL;
	}
	*ret_uuid = uuid;
	return 0;
}
