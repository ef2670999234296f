/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Anchors and units of a journal from and to their bytes, little endian. Whether the roles and
 * sectors of a unit are the array's is for the replay to compare; here it is whole, and no number
 * in it is out of all bounds.
 */
#include "lib/xbdev/raid/journal_format.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/xbdev/raid/geometry.h"

#define ANCHOR_MAGIC     "XSANJRNL"
#define UNIT_MAGIC       "XSANUNIT"
#define VERSION          1u
#define ALIGN            8u /* sectors: 4 KiB */
#define SLOT_SECTORS_MAX 8192u
#define FLAG_WHOLE       1u

struct disk_anchor {
	char magic[8];
	uint32_t version;
	uint32_t crc; /* of these 512 bytes, with 0 here */
	uint8_t set_uuid[16];
	uint8_t device_uuid[16];
	uint64_t epoch;
	uint64_t min_seq;
	uint64_t events;
	uint64_t resync_sector;
	uint32_t super_crc;
	uint32_t old_super_crc;
	uint32_t slot_sectors;
	uint32_t nr_lanes;
	uint8_t rest[416];
} __attribute__((packed));
_Static_assert(sizeof(struct disk_anchor) == 512, "anchor");
_Static_assert(offsetof(struct disk_anchor, epoch) == 48, "anchor");

struct disk_entry {
	uint64_t sector;
	uint32_t count;
	uint32_t role;
	uint32_t flags;
	uint32_t zero;
} __attribute__((packed));
_Static_assert(sizeof(struct disk_entry) == 24, "entry");

struct disk_unit {
	char magic[8];
	uint32_t nr_entries;
	uint32_t crc; /* of these 4096 bytes, with 0 here */
	uint8_t set_uuid[16];
	uint64_t epoch;
	uint64_t seq;
	uint32_t lane;
	uint32_t payload_sectors;
	uint32_t payload_crc;
	uint32_t zero;
	struct disk_entry entries[XBDEV_MD_UNIT_ENTRIES];
} __attribute__((packed));
_Static_assert(sizeof(struct disk_unit) == XBDEV_MD_UNIT_HEADER_BYTES, "unit");
_Static_assert(offsetof(struct disk_unit, entries) == 64, "unit");

/* ---- the place ---- */

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

uint64_t xbdev__md_journal_place(const struct xbdev_md_super *super)
{
	return super->bblog_offset > 0
		       ? round_up(xbdev__md_super_place(super->bblog_offset) + super->bblog_size,
				 ALIGN)
		       : 0;
}

uint64_t xbdev__md_journal_sectors(uint32_t nr_lanes, uint32_t slot_sectors)
{
	return XBDEV_MD_ANCHOR_BYTES / XBDEV_MD_SECTOR + (uint64_t)nr_lanes * slot_sectors;
}

bool xbdev__md_journal_fits(const struct xbdev_md_super *super, uint64_t sectors)
{
	uint64_t place = xbdev__md_journal_place(super);
	bool is_bitmap_before = !xbdev__md_super_has(super, XBDEV_MD_F_BITMAP) ||
				super->bitmap_offset < super->bblog_offset;

	return place != 0 && is_bitmap_before && place <= super->data_offset &&
	       super->data_offset - place >= sectors;
}

/* ---- the anchor ---- */

/* Of `count` bytes, those of the checksum at `at` as 0. */
static uint32_t checksum(const void *bytes, size_t at, size_t count)
{
	static const uint32_t zero;
	uint32_t crc = xu_crc32c_update(XU_CRC32C_INIT, bytes, at);

	crc = xu_crc32c_update(crc, &zero, sizeof(zero));
	crc = xu_crc32c_update(
		crc, (const char *)bytes + at + sizeof(zero), count - at - sizeof(zero));
	return xu_crc32c_final(crc);
}

int xbdev__md_anchor_parse(
	const void *bytes, struct xbdev_md_anchor *ret_anchor, struct xu_error *err)
{
	const struct disk_anchor *disk = bytes;
	struct xbdev_md_anchor anchor = {0};

	if (memcmp(disk->magic, ANCHOR_MAGIC, sizeof(disk->magic)) != 0) {
		return xu_error_set(err, -ENOENT, "there is no journal");
	}
	if (checksum(disk, offsetof(struct disk_anchor, crc), sizeof(*disk)) !=
		le32toh(disk->crc)) {
		return xu_error_set(err, -EILSEQ, "the checksum of the journal's anchor is wrong");
	}
	if (le32toh(disk->version) != VERSION) {
		return xu_error_set(err, -EOPNOTSUPP,
			"the journal is of version %" PRIu32 "; only %u is known",
			le32toh(disk->version), VERSION);
	}
	memcpy(anchor.set_uuid.bytes, disk->set_uuid, sizeof(disk->set_uuid));
	memcpy(anchor.device_uuid.bytes, disk->device_uuid, sizeof(disk->device_uuid));
	anchor.epoch = le64toh(disk->epoch);
	anchor.min_seq = le64toh(disk->min_seq);
	anchor.events = le64toh(disk->events);
	anchor.resync_sector = le64toh(disk->resync_sector);
	anchor.super_crc = le32toh(disk->super_crc);
	anchor.old_super_crc = le32toh(disk->old_super_crc);
	anchor.slot_sectors = le32toh(disk->slot_sectors);
	anchor.nr_lanes = le32toh(disk->nr_lanes);
	if (anchor.nr_lanes == 0 || anchor.nr_lanes > XBDEV_MD_MAX_DISKS ||
		anchor.slot_sectors <= XBDEV_MD_UNIT_HEADER_BYTES / XBDEV_MD_SECTOR ||
		anchor.slot_sectors > SLOT_SECTORS_MAX || anchor.slot_sectors % ALIGN != 0) {
		return xu_error_set(err, -EINVAL,
			"the journal has %" PRIu32 " lanes of %" PRIu32
			" sectors; 1 to %u of 9 to %u in multiples of %u were expected",
			anchor.nr_lanes, anchor.slot_sectors, XBDEV_MD_MAX_DISKS, SLOT_SECTORS_MAX,
			ALIGN);
	}
	*ret_anchor = anchor;
	return 0;
}

void xbdev__md_anchor_format(const struct xbdev_md_anchor *anchor, void *ret_bytes)
{
	struct disk_anchor *disk = ret_bytes;

	memset(ret_bytes, 0, XBDEV_MD_ANCHOR_BYTES);
	memcpy(disk->magic, ANCHOR_MAGIC, sizeof(disk->magic));
	disk->version = htole32(VERSION);
	memcpy(disk->set_uuid, anchor->set_uuid.bytes, sizeof(disk->set_uuid));
	memcpy(disk->device_uuid, anchor->device_uuid.bytes, sizeof(disk->device_uuid));
	disk->epoch = htole64(anchor->epoch);
	disk->min_seq = htole64(anchor->min_seq);
	disk->events = htole64(anchor->events);
	disk->resync_sector = htole64(anchor->resync_sector);
	disk->super_crc = htole32(anchor->super_crc);
	disk->old_super_crc = htole32(anchor->old_super_crc);
	disk->slot_sectors = htole32(anchor->slot_sectors);
	disk->nr_lanes = htole32(anchor->nr_lanes);
	disk->crc = htole32(checksum(disk, offsetof(struct disk_anchor, crc), sizeof(*disk)));
}

/* ---- units ---- */

/* Entries, and whether they are as many sectors as the payload. */
static bool parse_entries(const struct disk_unit *disk, struct xbdev_md_unit *unit)
{
	uint64_t sectors = 0;

	for (uint32_t i = 0; i < unit->nr_entries; i++) {
		const struct disk_entry *from = &disk->entries[i];
		struct xbdev_md_unit_entry *entry = &unit->entries[i];

		entry->sector = le64toh(from->sector);
		entry->count = le32toh(from->count);
		entry->role = le32toh(from->role);
		entry->is_whole = (le32toh(from->flags) & FLAG_WHOLE) != 0;
		if (entry->count == 0 || entry->count > SLOT_SECTORS_MAX ||
			entry->role >= XBDEV_MD_MAX_DISKS ||
			(le32toh(from->flags) & ~FLAG_WHOLE) != 0) {
			return false;
		}
		sectors += entry->is_whole ? 0 : entry->count;
	}
	return sectors == unit->payload_sectors && sectors <= SLOT_SECTORS_MAX;
}

int xbdev__md_unit_parse(const void *bytes, struct xbdev_md_unit *ret_unit, struct xu_error *err)
{
	const struct disk_unit *disk = bytes;
	struct xbdev_md_unit unit;

	if (memcmp(disk->magic, UNIT_MAGIC, sizeof(disk->magic)) != 0) {
		return xu_error_set(err, -ENOENT, "there is no unit of a journal");
	}
	if (checksum(disk, offsetof(struct disk_unit, crc), sizeof(*disk)) != le32toh(disk->crc)) {
		return xu_error_set(err, -EILSEQ, "the checksum of a journal's unit is wrong");
	}
	memset(&unit, 0, sizeof(unit));
	memcpy(unit.set_uuid.bytes, disk->set_uuid, sizeof(disk->set_uuid));
	unit.epoch = le64toh(disk->epoch);
	unit.seq = le64toh(disk->seq);
	unit.lane = le32toh(disk->lane);
	unit.payload_sectors = le32toh(disk->payload_sectors);
	unit.payload_crc = le32toh(disk->payload_crc);
	unit.nr_entries = le32toh(disk->nr_entries);
	if (unit.nr_entries > XBDEV_MD_UNIT_ENTRIES || !parse_entries(disk, &unit)) {
		return xu_error_set(err, -EINVAL,
			"a journal's unit of %" PRIu32 " entries has %" PRIu32
			" sectors, which is not what its entries have",
			unit.nr_entries, unit.payload_sectors);
	}
	*ret_unit = unit;
	return 0;
}

void xbdev__md_unit_format(const struct xbdev_md_unit *unit, void *ret_bytes)
{
	struct disk_unit *disk = ret_bytes;

	assert(unit->nr_entries <= XBDEV_MD_UNIT_ENTRIES);
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->magic, UNIT_MAGIC, sizeof(disk->magic));
	memcpy(disk->set_uuid, unit->set_uuid.bytes, sizeof(disk->set_uuid));
	disk->epoch = htole64(unit->epoch);
	disk->seq = htole64(unit->seq);
	disk->lane = htole32(unit->lane);
	disk->payload_sectors = htole32(unit->payload_sectors);
	disk->payload_crc = htole32(unit->payload_crc);
	disk->nr_entries = htole32(unit->nr_entries);
	for (uint32_t i = 0; i < unit->nr_entries; i++) {
		const struct xbdev_md_unit_entry *entry = &unit->entries[i];

		disk->entries[i].sector = htole64(entry->sector);
		disk->entries[i].count = htole32(entry->count);
		disk->entries[i].role = htole32(entry->role);
		disk->entries[i].flags = htole32(entry->is_whole ? FLAG_WHOLE : 0);
	}
	disk->crc = htole32(checksum(disk, offsetof(struct disk_unit, crc), sizeof(*disk)));
}
