/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what reads MD's formats: superblock, bitmap, bad block log, partial parity log, our
 * journal, and the choice of members from several superblocks. The first byte chooses; its top bit
 * makes the checksum right, so that what lies behind it is reached. What was taken is written and
 * read again and must be the same; nothing that was taken may lead off the device; a selection must
 * be one.
 */
#include <errno.h>

#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/xbdev/raid/badblocks.h"
#include "lib/xbdev/raid/bitmap_format.h"
#include "lib/xbdev/raid/journal_format.h"
#include "lib/xbdev/raid/ppl_format.h"
#include "lib/xbdev/raid/select.h"
#include "lib/xbdev/raid/super.h"
#include "test/fuzz/fuzz.h"

#define PAGE        4096u
#define MAX_DEVICES 6u
#define NR_ROLES    16u /* in the tables of a selection */
#define RECORD      (256u + 2 * NR_ROLES)
#define MAX_OPS     200u

static void check_error(int rc, const struct xu_error *err)
{
	FUZZ_CHECK(rc < 0 && err->code == rc && err->text[0] != '\0', "%d '%s'", rc, err->text);
	FUZZ_CHECK(memchr(err->text, '\0', sizeof(err->text)) != NULL, "the sentence has no end");
}

/* The rest of the input, zeros behind it. */
static void take_page(struct fuzz_input *in, uint8_t *page)
{
	size_t len;
	const uint8_t *from = fuzz_take(in, PAGE, &len);

	memset(page, 0, PAGE);
	if (len != 0) {
		memcpy(page, from, len);
	}
}

static void put_u32(uint8_t *at, uint32_t value)
{
	for (uint32_t i = 0; i < 4; i++) {
		at[i] = (uint8_t)(value >> 8 * i);
	}
}

/* ---- the superblock ---- */

static void fix_super(uint8_t *bytes)
{
	uint32_t max_dev = bytes[220] | (uint32_t)bytes[221] << 8;
	uint64_t sum = 0;

	put_u32(bytes + 216, 0);
	for (uint32_t i = 0; i < 256 + 2 * max_dev && i < PAGE; i++) {
		sum += (uint64_t)bytes[i] << 8 * (i % 4);
	}
	put_u32(bytes + 216, (uint32_t)((sum & UINT32_MAX) + (sum >> 32)));
}

/* From the superblock to where nothing else is. */
static void check_area(
	const struct xbdev_md_super *super, uint64_t dev_sectors, int64_t offset, uint64_t count)
{
	uint64_t first = (uint64_t)(8 + offset);

	FUZZ_CHECK(8 + offset >= 16 && first < dev_sectors && count <= dev_sectors - first,
		"at %lld", (long long)offset);
	FUZZ_CHECK(first + count <= super->data_offset ||
			   first >= super->data_offset + super->data_size,
		"%llu sectors at %lld overlap the data", (unsigned long long)count,
		(long long)offset);
}

static void check_super(const struct xbdev_md_super *super, uint64_t dev_sectors)
{
	uint64_t room = xbdev__md_super_bitmap_room(super, dev_sectors);

	FUZZ_CHECK(super->data_offset >= 16 && super->data_size >= 10 &&
			   super->data_offset <= dev_sectors &&
			   super->data_size <= dev_sectors - super->data_offset,
		"data");
	FUZZ_CHECK((room > 0) == xbdev__md_super_has(super, XBDEV_MD_F_BITMAP), "bitmap");
	if (room > 0) {
		check_area(super, dev_sectors, super->bitmap_offset, room);
	}
	if (super->bblog_offset != 0) {
		check_area(super, dev_sectors, super->bblog_offset, 8);
	}
	if (super->ppl_size != 0) {
		check_area(super, dev_sectors, super->ppl_offset, super->ppl_size);
	}
}

static void fuzz_super(struct fuzz_input *in, bool is_fixed)
{
	struct xbdev_md_super super, again;
	uint64_t dev_sectors = fuzz_number(in, 5);
	uint8_t bytes[PAGE], formatted[PAGE];
	struct xu_error err = {0};
	int rc;

	take_page(in, bytes);
	if (is_fixed) {
		fix_super(bytes);
	}
	rc = xbdev__md_super_parse(bytes, dev_sectors, &super, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	check_super(&super, dev_sectors);
	xbdev__md_super_format(&super, formatted);
	rc = xbdev__md_super_parse(formatted, dev_sectors, &again, &err);
	FUZZ_CHECK(rc == 0 && memcmp(&super, &again, sizeof(super)) == 0, "%s", err.text);
	/* Only what has no feature bit, and with it the checksum, may have changed. */
	for (uint32_t i = 0; i < 256 + 2 * super.max_dev; i++) {
		FUZZ_CHECK(bytes[i] == formatted[i] || (i >= 96 && i < 128) ||
				   (i >= 152 && i < 160) || (i >= 216 && i < 220),
			"byte %u", i);
	}
}

/* ---- the bitmap ---- */

static void fuzz_bitmap(struct fuzz_input *in)
{
	struct xbdev_md_bitmap_header header, again;
	uint8_t bytes[PAGE], formatted[XBDEV_MD_BITMAP_HEADER_BYTES];
	struct xu_error err = {0};
	uint64_t nr_bits;
	int rc;

	take_page(in, bytes);
	memset(&header, 0, sizeof(header));
	memset(&again, 0, sizeof(again));
	rc = xbdev__md_bitmap_parse(bytes, &header, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	nr_bits = xbdev__md_bitmap_nr_bits(&header);
	FUZZ_CHECK((unsigned __int128)nr_bits * (header.chunksize / 512) >= header.sync_size &&
			   (nr_bits == 0 ||
				   (unsigned __int128)(nr_bits - 1) * (header.chunksize / 512) <
					   header.sync_size),
		"%llu bits", (unsigned long long)nr_bits);
	xbdev__md_bitmap_format(&header, formatted);
	FUZZ_CHECK(memcmp(formatted, bytes, 72) == 0, "the header");
	FUZZ_CHECK(xbdev__md_bitmap_parse(formatted, &again, &err) == 0, "%s", err.text);
}

/* ---- the bad blocks ---- */

static void check_bad_blocks(const struct xbdev_md_bad_blocks *bad)
{
	uint64_t end = 0, unit = UINT64_C(1) << bad->shift;

	FUZZ_CHECK(bad->count <= XBDEV_MD_BAD_BLOCKS, "%u", bad->count);
	for (uint32_t i = 0; i < bad->count; i++) {
		const struct xbdev_md_bad_range *range = &bad->ranges[i];

		FUZZ_CHECK(range->sector >= end && range->count != 0 &&
				   range->count >> bad->shift <= 512 &&
				   ((range->sector | range->count) & (unit - 1)) == 0,
			"range %u", i);
		end = range->sector + range->count;
	}
}

static bool is_bad(const struct xbdev_md_bad_blocks *bad, uint64_t first, uint64_t count)
{
	uint64_t sector, nr;

	return xbdev__md_bad_blocks_find(bad, first, count, &sector, &nr) && sector == first &&
	       nr == count;
}

static void change_bad_blocks(struct xbdev_md_bad_blocks *bad, struct fuzz_input *in)
{
	uint64_t unit = UINT64_C(1) << bad->shift, found, nr;

	for (uint32_t i = 0; i < MAX_OPS && in->left > 0; i++) {
		uint8_t op = fuzz_u8(in);
		uint64_t sector = op & 2 ? fuzz_number(in, 5) : fuzz_u16(in);
		uint64_t count = op & 4 ? fuzz_u16(in) : fuzz_u8(in);
		struct xbdev_md_bad_blocks before = *bad;
		int rc = op & 1 ? xbdev__md_bad_blocks_add(bad, sector, count)
				: xbdev__md_bad_blocks_remove(bad, sector, count);

		check_bad_blocks(bad);
		FUZZ_CHECK(rc == 0 || rc == -ENOSPC, "%d", rc);
		if (rc != 0) {
			FUZZ_CHECK(memcmp(&before, bad, sizeof(before)) == 0, "changed");
		} else if ((op & 1) != 0) {
			FUZZ_CHECK(count == 0 || is_bad(bad, sector, count), "not added");
		} else if (count >= 2 * unit) {
			sector = (sector + unit - 1) / unit * unit;
			FUZZ_CHECK(!xbdev__md_bad_blocks_find(
					   bad, sector, count - unit, &found, &nr) ||
					   found >= sector + (count - unit) / unit * unit,
				"not removed");
		}
	}
}

static void fuzz_bad_blocks(struct fuzz_input *in)
{
	static struct xbdev_md_bad_blocks bad, again;
	uint32_t shift = fuzz_u8(in) % 20;
	uint8_t bytes[PAGE], formatted[PAGE];
	size_t nr_bytes = (size_t)(fuzz_u16(in) % (PAGE / 8 + 1)) * 8, len;
	struct xu_error err = {0};
	const uint8_t *from = fuzz_take(in, nr_bytes, &len);
	int rc;

	memset(bytes, 0xff, sizeof(bytes));
	if (len != 0) {
		memcpy(bytes, from, len / 8 * 8);
	}
	rc = xbdev__md_bad_blocks_parse(bytes, shift, &bad, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	check_bad_blocks(&bad);
	change_bad_blocks(&bad, in);
	xbdev__md_bad_blocks_format(&bad, formatted);
	rc = xbdev__md_bad_blocks_parse(formatted, shift, &again, &err);
	FUZZ_CHECK(rc == 0 && again.count == bad.count, "%s", err.text);
}

/* ---- the partial parity log ---- */

static void fuzz_ppl(struct fuzz_input *in, bool is_fixed)
{
	struct xbdev_md_ppl_header header;
	uint8_t bytes[PAGE], formatted[PAGE];
	struct xu_error err = {0};
	uint32_t signature;
	int rc;

	take_page(in, bytes);
	if (is_fixed) {
		memset(bytes, 0xff, 512);
		put_u32(bytes + 532, 0);
		put_u32(bytes + 532, xbdev__md_ppl_checksum(bytes, PAGE));
	}
	memcpy(&signature, bytes + 512, sizeof(signature));
	rc = xbdev__md_ppl_parse(bytes, signature, &header, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	FUZZ_CHECK(header.nr_entries <= XBDEV_MD_PPL_ENTRIES, "%u entries", header.nr_entries);
	for (uint32_t i = 0; i < header.nr_entries; i++) {
		FUZZ_CHECK(header.entries[i].parity_disk < XBDEV_MD_MAX_DISKS &&
				   header.entries[i].pp_size % 512 == 0,
			"entry %u", i);
	}
	xbdev__md_ppl_format(&header, formatted);
	FUZZ_CHECK(memcmp(bytes + 536, formatted + 536, header.nr_entries * 24) == 0, "entries");
	FUZZ_CHECK(xbdev__md_ppl_parse(formatted, signature, &header, &err) == 0, "%s", err.text);
}

/* ---- the journal ---- */

static void fuzz_anchor(uint8_t *bytes, bool is_fixed)
{
	struct xbdev_md_anchor anchor, again;
	uint8_t formatted[PAGE];
	struct xu_error err = {0};
	int rc;

	memset(&anchor, 0, sizeof(anchor));
	memset(&again, 0, sizeof(again));
	if (is_fixed) {
		memcpy(bytes, "XSANJRNL", 8);
		put_u32(bytes + 8, 1);
		put_u32(bytes + 12, 0);
		put_u32(bytes + 12, xu_crc32c(bytes, 512));
	}
	rc = xbdev__md_anchor_parse(bytes, &anchor, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	FUZZ_CHECK(xbdev__md_journal_sectors(anchor.nr_lanes, anchor.slot_sectors) <= 262152,
		"%u lanes of %u sectors", anchor.nr_lanes, anchor.slot_sectors);
	xbdev__md_anchor_format(&anchor, formatted);
	FUZZ_CHECK(xbdev__md_anchor_parse(formatted, &again, &err) == 0 &&
			   memcmp(&anchor, &again, sizeof(anchor)) == 0,
		"%s", err.text);
}

static void fuzz_unit(uint8_t *bytes, bool is_fixed)
{
	static struct xbdev_md_unit unit, again;
	uint8_t formatted[PAGE];
	struct xu_error err = {0};
	uint64_t sectors = 0;
	int rc;

	if (is_fixed) {
		memcpy(bytes, "XSANUNIT", 8);
		put_u32(bytes + 12, 0);
		put_u32(bytes + 12, xu_crc32c(bytes, PAGE));
	}
	rc = xbdev__md_unit_parse(bytes, &unit, &err);
	if (rc != 0) {
		check_error(rc, &err);
		return;
	}
	FUZZ_CHECK(unit.nr_entries <= XBDEV_MD_UNIT_ENTRIES, "%u entries", unit.nr_entries);
	for (uint32_t i = 0; i < unit.nr_entries; i++) {
		FUZZ_CHECK(unit.entries[i].role < XBDEV_MD_MAX_DISKS && unit.entries[i].count != 0,
			"entry %u", i);
		sectors += unit.entries[i].is_whole ? 0 : unit.entries[i].count;
	}
	FUZZ_CHECK(sectors == unit.payload_sectors, "%u sectors", unit.payload_sectors);
	xbdev__md_unit_format(&unit, formatted);
	FUZZ_CHECK(xbdev__md_unit_parse(formatted, &again, &err) == 0 &&
			   memcmp(&unit, &again, sizeof(unit)) == 0,
		"%s", err.text);
}

static void fuzz_journal(struct fuzz_input *in, bool is_fixed)
{
	bool is_anchor = (fuzz_u8(in) & 1) != 0;
	uint8_t bytes[PAGE];

	take_page(in, bytes);
	if (is_anchor) {
		fuzz_anchor(bytes, is_fixed);
	} else {
		fuzz_unit(bytes, is_fixed);
	}
}

/* ---- the choice of members ---- */

struct devices {
	uint32_t count;
	struct xbdev_md_super supers[MAX_DEVICES];
	struct xbdev_md_candidate candidates[MAX_DEVICES];
	struct xbdev_md_selection result;
};

static const char *const names[MAX_DEVICES] = {"a", "b", "c", "d", "e", "f"};

/* Chooses from a copy of the superblocks: force may change them. */
static int choose(const struct devices *from, struct devices *d, bool force, bool run)
{
	struct xbdev_md_select_opts opts = {.force = force, .run = run};
	struct xu_error err = {0};
	int rc;

	*d = *from;
	memset(d->candidates, 0x5a, sizeof(d->candidates));
	for (uint32_t i = 0; i < d->count; i++) {
		d->candidates[i].name = names[i];
		d->candidates[i].super = &d->supers[i];
	}
	rc = xbdev__md_select(d->candidates, d->count, &opts, &d->result, &err);
	if (rc != 0) {
		check_error(rc, &err);
		FUZZ_CHECK(rc == -EINVAL || rc == -ENODEV || (rc == -EUCLEAN && !force) ||
				   (rc == -EAGAIN && !run),
			"%d '%s'", rc, err.text);
	}
	return rc;
}

static bool is_newest(const struct devices *d, uint32_t index)
{
	for (uint32_t i = 0; i < d->count; i++) {
		if (xbdev__md_super_role(&d->supers[i]) < d->supers[i].raid_disks &&
			d->supers[i].events > d->supers[index].events) {
			return false;
		}
	}
	return true;
}

/* Each verdict is one, and who is taken is in one place and fresh. */
static void check_candidate(const struct devices *d, uint32_t index)
{
	const struct xbdev_md_candidate *c = &d->candidates[index];
	const struct xbdev_md_super *super = c->super;
	uint64_t newest = d->supers[d->result.freshest].events;
	uint32_t nr_places = 0;

	FUZZ_CHECK(c->verdict <= XBDEV_MD_LEFT_OUT, "%d", (int)c->verdict);
	FUZZ_CHECK(memchr(c->reason, '\0', sizeof(c->reason)) != NULL, "reason");
	for (uint32_t role = 0; role < XBDEV_MD_MAX_DISKS; role++) {
		nr_places += d->result.members[role] == (int32_t)index;
		nr_places += d->result.replacements[role] == (int32_t)index;
	}
	if (c->verdict > XBDEV_MD_REPLACING) {
		FUZZ_CHECK(nr_places == 0, "%s was left out", c->name);
		return;
	}
	FUZZ_CHECK(nr_places == 1 && c->role < super->raid_disks &&
			   c->role == xbdev__md_super_role(super),
		"%s has role %u", c->name, c->role);
	FUZZ_CHECK(newest >= super->events && newest - super->events <= 1, "%s is old", c->name);
	FUZZ_CHECK(c->verdict != XBDEV_MD_IN_SYNC ||
			   !xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET),
		"%s recovers", c->name);
}

static void check_selection(const struct devices *d)
{
	const struct xbdev_md_super *super = &d->supers[0];
	struct xbdev_md_geometry geo = {
		.level = super->level,
		.raid_disks = super->raid_disks,
		.near = super->layout & 0xff,
		.far = super->layout >> 8 & 0xff,
	};
	uint32_t roles = 0;

	FUZZ_CHECK(d->result.freshest < d->count && is_newest(d, d->result.freshest), "freshest");
	for (uint32_t i = 0; i < d->count; i++) {
		check_candidate(d, i);
		if (d->candidates[i].verdict == XBDEV_MD_IN_SYNC) {
			roles |= 1u << d->candidates[i].role;
		}
	}
	FUZZ_CHECK(xbdev__md_is_enough(&geo, roles), "not enough");
	FUZZ_CHECK((uint32_t)__builtin_popcount(roles) == d->result.nr_in_sync &&
			   d->result.nr_in_sync + d->result.nr_missing == super->raid_disks,
		"%u in sync, %u missing", d->result.nr_in_sync, d->result.nr_missing);
}

static void fuzz_select(struct fuzz_input *in)
{
	static struct devices given, plain, other;
	uint8_t bytes[PAGE];
	int rc, rc_run, rc_force;

	given.count = 0;
	for (uint32_t i = 2 + fuzz_u8(in) % (MAX_DEVICES - 1); i > 0; i--) {
		size_t len;
		const uint8_t *record = fuzz_take(in, RECORD, &len);

		memset(bytes, 0, sizeof(bytes));
		if (len != 0) {
			memcpy(bytes, record, len);
		}
		put_u32(bytes + 220, NR_ROLES);
		fix_super(bytes);
		if (xbdev__md_super_parse(bytes, UINT32_MAX, &given.supers[given.count], NULL) ==
			0) {
			given.count++;
		}
	}
	rc = choose(&given, &plain, false, false);
	if (rc == 0) {
		check_selection(&plain);
	}
	rc_run = choose(&given, &other, false, true);
	FUZZ_CHECK(rc == rc_run || rc == -EAGAIN, "%d, to be run %d", rc, rc_run);
	if (rc_run == 0) {
		check_selection(&other);
		plain = other;
	}
	rc_force = choose(&given, &other, true, true);
	if (rc_force == 0) {
		check_selection(&other);
	}
	/* Force changes nothing where it is not needed. */
	FUZZ_CHECK(
		rc_run != 0 ||
			(rc_force == 0 &&
				memcmp(&plain.result, &other.result, sizeof(plain.result)) == 0 &&
				memcmp(plain.supers, other.supers, sizeof(plain.supers)) == 0),
		"forced %d", rc_force);
	FUZZ_CHECK(rc_run != -EINVAL || rc_force == -EINVAL, "forced %d", rc_force);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t choice = fuzz_u8(&in);
	bool is_fixed = (choice & 0x80) != 0;

	switch ((choice & 0x7f) % 6) {
	case 0:
		fuzz_super(&in, is_fixed);
		break;
	case 1:
		fuzz_bitmap(&in);
		break;
	case 2:
		fuzz_bad_blocks(&in);
		break;
	case 3:
		fuzz_ppl(&in, is_fixed);
		break;
	case 5:
		fuzz_journal(&in, is_fixed);
		break;
	default:
		fuzz_select(&in);
		break;
	}
	return 0;
}
