/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: where a sector of the array lies on its members, for every level and
 * layout of MD (docs/raid.md, "Mapping"). Pure arithmetic without memory or I/O of its own: a
 * geometry is computed once, when the array is created or assembled, and only read afterwards.
 *
 * Members are named by role, member sectors count from the member's data_offset.
 */
#ifndef XBDEV_RAID_GEOMETRY_H
#define XBDEV_RAID_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

struct xu_error;

#define XBDEV_MD_MAX_DISKS 32u

#define XBDEV_MD_RAID0_ORIGINAL  1u
#define XBDEV_MD_RAID0_ALTERNATE 2u

/* raid0: a range of the array whose rows lie on the same members. */
struct xbdev_md_zone {
	uint64_t array_start; /* sectors of the array */
	uint64_t array_end;
	uint64_t member_start; /* sectors of the members */
	uint32_t nr_members;
	uint32_t first; /* whose turn in members[] it is at array_start; depends on the layout */
	uint8_t members[XBDEV_MD_MAX_DISKS]; /* roles, ascending */
};

struct xbdev_md_parity_layout;

struct xbdev_md_geometry {
	int32_t level; /* MD's */
	uint32_t layout;
	uint32_t raid_disks;
	uint32_t chunk;       /* sectors; raid1 and linear: 0 or a rounding */
	uint64_t member_size; /* sectors used per member; raid0, linear: 0 */
	uint64_t array_size;  /* sectors */
	uint32_t nr_data;     /* members of a row that hold data: raid4/5/6 */
	uint32_t nr_parity;   /* raid4, raid5: 1; raid6: 2; else 0 */
	const struct xbdev_md_parity_layout *parity; /* raid4/5/6: how rows rotate; static */
	uint32_t chunk_shift;                        /* log2(chunk) where chunk is a power of two */
	uint64_t member_sizes[XBDEV_MD_MAX_DISKS];   /* raid0, linear: sectors used of each */

	/* linear: where each member begins in the array. */
	uint64_t starts[XBDEV_MD_MAX_DISKS + 1];
	/* raid0. */
	struct xbdev_md_zone zones[XBDEV_MD_MAX_DISKS];
	uint32_t nr_zones;
	/* raid10. */
	uint32_t near, far;
	bool is_offset;
	uint64_t stride;    /* sectors from one far copy of a member to the next */
	uint64_t nr_chunks; /* of the array */
};

/* What a geometry is made from. */
struct xbdev_md_shape {
	int32_t level;
	uint32_t layout;
	bool has_raid0_layout; /* feature bit 1000h: layout says which of raid0's two it is */
	uint32_t raid_disks;
	uint32_t chunk; /* sectors */
	uint64_t size;  /* sectors used per member; ignored for raid0, linear */
	uint64_t data_sizes[XBDEV_MD_MAX_DISKS]; /* sectors usable on each; raid0, linear */
};

/*
 * Checks a shape and computes its geometry. -EINVAL or -EOPNOTSUPP with a sentence that names the
 * level and what is wrong with it and what would be accepted.
 */
int xbdev__md_geometry_init(
	struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, struct xu_error *err);

/* One place of a member. */
struct xbdev_md_place {
	uint32_t role;
	uint64_t sector; /* of the member */
};

/*
 * linear, raid0, raid1, raid10: the copies of an array sector, in MD's order; returns how many
 * (1 to XBDEV_MD_MAX_DISKS). *ret_len: how many sectors from here on lie together in each copy.
 */
uint32_t xbdev__md_copies(const struct xbdev_md_geometry *geo, uint64_t sector,
	struct xbdev_md_place ret_places[XBDEV_MD_MAX_DISKS], uint64_t *ret_len);

/* raid10: the array sector that lies at a member's place, or UINT64_MAX where none does (the unused
 * rest of a last row). Inverse of xbdev__md_copies(). */
uint64_t xbdev__md_raid10_sector(
	const struct xbdev_md_geometry *geo, uint32_t role, uint64_t member_sector);

/* raid4/5/6: who holds what in one row of chunks. */
struct xbdev_md_row {
	uint8_t p;                            /* role of P */
	uint8_t q;                            /* role of Q; raid6 only */
	uint8_t data[XBDEV_MD_MAX_DISKS];     /* role of the i-th data chunk */
	uint8_t exponent[XBDEV_MD_MAX_DISKS]; /* raid6: of the i-th data chunk in Q */
};

/* Row number = member sector / chunk = array sector / (chunk * nr_data). */
void xbdev__md_row(const struct xbdev_md_geometry *geo, uint64_t row, struct xbdev_md_row *ret_row);

/* The layout's name as mdadm has it ("left-symmetric", "near=2", …), or NULL. In buf or static. */
const char *xbdev__md_layout_name(const struct xbdev_md_geometry *geo, char buf[static 32]);
/* By name for a level; -EINVAL with the accepted names. */
int xbdev__md_layout_parse(
	int32_t level, const char *text, uint32_t *ret_layout, struct xu_error *err);
/* The default layout of a level. */
uint32_t xbdev__md_layout_default(int32_t level);

#endif
