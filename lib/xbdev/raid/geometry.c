/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a sector of an array lies (docs/raid.md, "Mapping"): checks a shape, computes its geometry
 * once, and maps sectors of linear, raid0, raid1 and raid10 with one division each. Rows of the
 * levels with parity are layout.c's.
 *
 * Everything that comes from a superblock is checked in xbdev__md_geometry_init(), which fails with
 * a sentence; the mapping functions trust the geometry and assert that the sector is inside it.
 */
#include "lib/xbdev/raid/geometry.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/layout.h"

#define CHUNK_SECTORS_MIN 8u
/* So that every byte of an array has an offset in 63 bits, and no product here overflows. */
#define SECTORS_MAX ((uint64_t)1 << 54)

#define RAID10_NEAR(layout) ((layout)&0xff)
#define RAID10_FAR(layout)  ((layout) >> 8 & 0xff)
#define RAID10_OFFSET       0x10000u
#define RAID10_FAR_SETS     0x60000u
#define RAID10_LAYOUT_KNOWN 0x1ffffu

struct kind {
	int32_t level;
	const char *name;
	uint32_t disks_min;
	bool is_striped; /* the chunk counts */
	bool is_sized;   /* every member gives the same number of sectors */
	int (*init)(struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape,
		struct xu_error *err);
};

static int init_linear(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	uint32_t i;

	for (i = 0; i < geo->raid_disks; i++) {
		uint64_t size = shape->data_sizes[i];

		if (geo->chunk != 0) {
			size -= size % geo->chunk;
		}
		geo->member_sizes[i] = size;
		geo->starts[i + 1] = geo->starts[i] + size;
	}
	geo->array_size = geo->starts[geo->raid_disks];
	return 0;
}

/* The smallest member size above `start`, or 0. */
static uint64_t next_size(const struct xbdev_md_geometry *geo, uint64_t start)
{
	uint64_t size = 0;
	uint32_t i;

	for (i = 0; i < geo->raid_disks; i++) {
		if (geo->member_sizes[i] > start && (size == 0 || geo->member_sizes[i] < size)) {
			size = geo->member_sizes[i];
		}
	}
	return size;
}

/* The zone of the members' sectors [start, end), behind the zones that there are. */
static void add_zone(struct xbdev_md_geometry *geo, uint64_t start, uint64_t end)
{
	struct xbdev_md_zone *zone = &geo->zones[geo->nr_zones++];
	uint32_t i;

	zone->array_start = geo->array_size;
	zone->member_start = start;
	for (i = 0; i < geo->raid_disks; i++) {
		if (geo->member_sizes[i] > start) {
			zone->members[zone->nr_members++] = (uint8_t)i;
		}
	}
	geo->array_size += (end - start) * zone->nr_members;
	zone->array_end = geo->array_size;
}

/*
 * The original layout gives a zone's chunks to its members by their number in the array, the
 * alternate one by their number in the zone. The difference is who comes first.
 */
static int set_first_members(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	bool is_known =
		shape->has_raid0_layout && (shape->layout == XBDEV_MD_RAID0_ORIGINAL ||
						   shape->layout == XBDEV_MD_RAID0_ALTERNATE);
	uint32_t i;

	if (shape->has_raid0_layout && !is_known) {
		return xu_error_set(err, -EOPNOTSUPP,
			"raid0 layout %" PRIu32 " is unknown; 1 (original) and 2 (alternate) are",
			shape->layout);
	}
	geo->layout = is_known ? shape->layout : 0;
	if (geo->nr_zones == 1 || geo->zones[1].nr_members == 1) {
		return 0;
	}
	if (!is_known) {
		return xu_error_set(err, -EOPNOTSUPP,
			"raid0 of members of unequal sizes does not record its layout, so its data "
			"may be arranged in two ways; record the right one first (mdadm --assemble "
			"--update=layout-original or layout-alternate)");
	}
	if (geo->layout == XBDEV_MD_RAID0_ORIGINAL) {
		for (i = 0; i < geo->nr_zones; i++) {
			struct xbdev_md_zone *zone = &geo->zones[i];

			zone->first = (zone->array_start >> geo->chunk_shift) % zone->nr_members;
		}
	}
	return 0;
}

static int init_raid0(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	uint64_t start = 0, end;
	uint32_t i;

	for (i = 0; i < geo->raid_disks; i++) {
		geo->member_sizes[i] = shape->data_sizes[i] & ~(uint64_t)(geo->chunk - 1);
		if (geo->member_sizes[i] == 0) {
			return xu_error_set(err, -EINVAL,
				"raid0: member %" PRIu32 " has %" PRIu64 " sectors for data, less "
				"than a chunk of %" PRIu32,
				i, shape->data_sizes[i], geo->chunk);
		}
	}
	while ((end = next_size(geo, start)) != 0) {
		add_zone(geo, start, end);
		start = end;
	}
	return set_first_members(geo, shape, err);
}

static int init_raid1(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	geo->member_size = shape->size;
	geo->array_size = shape->size;
	return 0;
}

static int init_parity(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	geo->parity = xbdev__md_parity_layout(geo->level, geo->layout);
	if (geo->parity == NULL) {
		return xu_error_set(err, -EOPNOTSUPP,
			"layout %" PRIu32 " of raid%" PRId32 " is unknown; see docs/raid.md, "
			"\"Mapping\", for those that are served",
			geo->layout, geo->level);
	}
	geo->nr_parity = geo->level == 6 ? 2 : 1;
	geo->nr_data = geo->raid_disks - geo->nr_parity;
	geo->member_size = shape->size & ~(uint64_t)(geo->chunk - 1);
	geo->array_size = geo->member_size * geo->nr_data;
	return 0;
}

static int check_raid10(const struct xbdev_md_geometry *geo, struct xu_error *err)
{
	uint32_t nr_copies = geo->near * geo->far;

	if ((geo->layout & RAID10_FAR_SETS) != 0) {
		return xu_error_set(err, -EOPNOTSUPP,
			"raid10 layout %#" PRIx32
			" keeps its far copies in sets of members, which is "
			"not served; near=N, far=N and offset=N are",
			geo->layout);
	}
	if ((geo->layout & ~RAID10_LAYOUT_KNOWN) != 0 || nr_copies < 2 ||
		nr_copies > geo->raid_disks) {
		return xu_error_set(err, -EINVAL,
			"raid10 layout %#" PRIx32 " is invalid for %" PRIu32
			" members; near=N, far=N "
			"and offset=N with N from 2 to the number of members are valid",
			geo->layout, geo->raid_disks);
	}
	/* Linux lays the copies of two chunks on one place there. */
	if (geo->is_offset && geo->far > 1 && geo->raid_disks % geo->near != 0) {
		return xu_error_set(err, -EOPNOTSUPP,
			"raid10 layout %#" PRIx32
			" mixes near and offset copies, which needs a number "
			"of members divisible by %" PRIu32 ", not %" PRIu32,
			geo->layout, geo->near, geo->raid_disks);
	}
	return 0;
}

static int init_raid10(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	uint64_t nr_rows;
	int rc;

	geo->near = RAID10_NEAR(geo->layout);
	geo->far = RAID10_FAR(geo->layout);
	geo->is_offset = (geo->layout & RAID10_OFFSET) != 0;
	rc = check_raid10(geo, err);
	if (rc != 0) {
		return rc;
	}
	/* Rows of first copies; every row lies on the members `far` times. The last row may not be
	 * full: a chunk whose near copies do not all fit in is left out. */
	nr_rows = (shape->size >> geo->chunk_shift) / geo->far;
	geo->nr_chunks = nr_rows * geo->raid_disks / geo->near;
	geo->array_size = geo->nr_chunks << geo->chunk_shift;
	geo->member_size = (nr_rows * geo->far) << geo->chunk_shift;
	geo->stride = geo->is_offset ? geo->chunk : nr_rows << geo->chunk_shift;
	return 0;
}

static const struct kind kinds[] = {
	{-1, "linear", 1, false, false, init_linear},
	{0, "raid0", 1, true, false, init_raid0},
	{1, "raid1", 1, false, true, init_raid1},
	{4, "raid4", 2, true, true, init_parity},
	{5, "raid5", 2, true, true, init_parity},
	{6, "raid6", 4, true, true, init_parity},
	{10, "raid10", 2, true, true, init_raid10},
};

static const struct kind *find_kind(int32_t level)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].level == level) {
			return &kinds[i];
		}
	}
	return NULL;
}

/* Every size is at most `max`, so that sums and products stay inside 64 bits. */
static int check_sizes(
	const struct kind *kind, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	uint32_t i;

	for (i = 0; i < (kind->is_sized ? 1 : shape->raid_disks); i++) {
		uint64_t size = kind->is_sized ? shape->size : shape->data_sizes[i];

		if (size == 0 || size > SECTORS_MAX) {
			return xu_error_set(err, -EINVAL,
				"%s: member %" PRIu32 " is said to hold %" PRIu64 " sectors; 1 to "
				"%" PRIu64 " are possible",
				kind->name, i, size, SECTORS_MAX);
		}
	}
	return 0;
}

static int check_shape(
	const struct kind *kind, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	if (shape->raid_disks < kind->disks_min || shape->raid_disks > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL,
			"%s has %" PRIu32 " to %u members here, not %" PRIu32, kind->name,
			kind->disks_min, XBDEV_MD_MAX_DISKS, shape->raid_disks);
	}
	if (kind->is_striped &&
		(shape->chunk < CHUNK_SECTORS_MIN || (shape->chunk & (shape->chunk - 1)) != 0)) {
		return xu_error_set(err, -EINVAL,
			"%s: a chunk of %" PRIu64
			" bytes is not possible; it is a power of two, 4 KiB "
			"or more",
			kind->name, (uint64_t)shape->chunk * 512);
	}
	return check_sizes(kind, shape, err);
}

int xbdev__md_geometry_init(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err)
{
	const struct kind *kind = find_kind(shape->level);
	int rc;

	if (kind == NULL) {
		return xu_error_set(err, -EOPNOTSUPP,
			"RAID level %" PRId32
			" is not served; linear (-1), 0, 1, 4, 5, 6 and 10 are",
			shape->level);
	}
	rc = check_shape(kind, shape, err);
	if (rc != 0) {
		return rc;
	}
	*geo = (struct xbdev_md_geometry){
		.level = shape->level,
		.layout = shape->layout,
		.raid_disks = shape->raid_disks,
		.chunk = shape->chunk,
	};
	if (kind->is_striped) {
		geo->chunk_shift = (uint32_t)__builtin_ctz(geo->chunk);
	}
	rc = kind->init(geo, shape, err);
	if (rc != 0) {
		return rc;
	}
	if (geo->array_size == 0 || geo->array_size > SECTORS_MAX) {
		return xu_error_set(err, -EINVAL,
			"%s: its %" PRIu32 " members make an array of %" PRIu64 " sectors; 1 to "
			"%" PRIu64 " are possible, and a member holds a chunk or more",
			kind->name, geo->raid_disks, geo->array_size, SECTORS_MAX);
	}
	return 0;
}

static uint32_t copies_linear(const struct xbdev_md_geometry *geo, uint64_t sector,
	struct xbdev_md_place *ret_place, uint64_t *ret_len)
{
	uint32_t role = 0;

	while (sector >= geo->starts[role + 1]) {
		role++;
	}
	*ret_place = (struct xbdev_md_place){.role = role, .sector = sector - geo->starts[role]};
	*ret_len = geo->starts[role + 1] - sector;
	return 1;
}

static uint32_t copies_raid0(const struct xbdev_md_geometry *geo, uint64_t sector,
	struct xbdev_md_place *ret_place, uint64_t *ret_len)
{
	const struct xbdev_md_zone *zone = geo->zones;
	uint64_t in_chunk = sector & (geo->chunk - 1);
	uint64_t chunk, row;
	uint32_t index;

	while (sector >= zone->array_end) {
		zone++;
	}
	chunk = (sector - zone->array_start) >> geo->chunk_shift;
	row = chunk / zone->nr_members;
	index = (uint32_t)(chunk - row * zone->nr_members) + zone->first;
	if (index >= zone->nr_members) {
		index -= zone->nr_members;
	}
	ret_place->role = zone->members[index];
	ret_place->sector = zone->member_start + (row << geo->chunk_shift) + in_chunk;
	/* The chunks of a member that is alone in its zone follow each other. */
	*ret_len = zone->nr_members == 1 ? zone->array_end - sector : geo->chunk - in_chunk;
	return 1;
}

static uint32_t copies_raid1(const struct xbdev_md_geometry *geo, uint64_t sector,
	struct xbdev_md_place *ret_places, uint64_t *ret_len)
{
	uint32_t i;

	for (i = 0; i < geo->raid_disks; i++) {
		ret_places[i] = (struct xbdev_md_place){.role = i, .sector = sector};
	}
	*ret_len = geo->array_size - sector;
	return geo->raid_disks;
}

static uint32_t copies_raid10(const struct xbdev_md_geometry *geo, uint64_t sector,
	struct xbdev_md_place *ret_places, uint64_t *ret_len)
{
	uint64_t in_chunk = sector & (geo->chunk - 1);
	uint64_t index = (sector >> geo->chunk_shift) * geo->near;
	uint64_t row = index / geo->raid_disks;
	uint32_t role = (uint32_t)(index - row * geo->raid_disks);
	uint64_t first = ((geo->is_offset ? row * geo->far : row) << geo->chunk_shift) + in_chunk;
	uint32_t nr_places = 0;
	uint32_t i, j;

	for (i = 0; i < geo->near; i++) {
		uint64_t place = first;
		uint32_t member = role;

		for (j = 0; j < geo->far; j++) {
			ret_places[nr_places++] =
				(struct xbdev_md_place){.role = member, .sector = place};
			member += geo->near;
			if (member >= geo->raid_disks) {
				member -= geo->raid_disks;
			}
			place += geo->stride;
		}
		/* Near copies may go on in the next row. */
		if (++role == geo->raid_disks) {
			role = 0;
			first += geo->chunk;
		}
	}
	*ret_len = geo->chunk - in_chunk;
	return nr_places;
}

uint32_t xbdev__md_copies(const struct xbdev_md_geometry *geo, uint64_t sector,
	struct xbdev_md_place ret_places[XBDEV_MD_MAX_DISKS], uint64_t *ret_len)
{
	assert(sector < geo->array_size);
	switch (geo->level) {
	case -1:
		return copies_linear(geo, sector, ret_places, ret_len);
	case 0:
		return copies_raid0(geo, sector, ret_places, ret_len);
	case 1:
		return copies_raid1(geo, sector, ret_places, ret_len);
	default:
		assert(geo->level == 10);
		return copies_raid10(geo, sector, ret_places, ret_len);
	}
}

uint64_t xbdev__md_raid10_sector(
	const struct xbdev_md_geometry *geo, uint32_t role, uint64_t member_sector)
{
	uint64_t row = member_sector >> geo->chunk_shift;
	uint64_t in_chunk = member_sector & (geo->chunk - 1);
	uint64_t copy, chunk;

	assert(geo->level == 10 && role < geo->raid_disks);
	if (member_sector >= geo->member_size) {
		return UINT64_MAX;
	}
	if (geo->is_offset) {
		copy = row % geo->far;
		row /= geo->far;
	} else {
		copy = member_sector / geo->stride;
		row -= copy * (geo->stride >> geo->chunk_shift);
	}
	/* The role of the first far copy; the product is below the number of members. */
	role += geo->raid_disks - (uint32_t)copy * geo->near;
	if (role >= geo->raid_disks) {
		role -= geo->raid_disks;
	}
	chunk = (row * geo->raid_disks + role) / geo->near;
	return chunk < geo->nr_chunks ? (chunk << geo->chunk_shift) + in_chunk : UINT64_MAX;
}
