/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: where an array is used, and which regions of it are rebuilt before
 * their turn. All on the owner.
 *
 *   heat      a counter per zone of the array, one more with each read and write there, halved
 *             every few seconds: an addition for an I/O, and a fixed amount of memory
 *   regions   a set of equal parts of what a rebuild walks over, a bit for each
 *
 * Zones are of the array, regions of the walk (members' sectors, where sync_plan.c says so): what
 * lies where is the business of sync_walk.c.
 */
#ifndef XBDEV_RAID_HEAT_H
#define XBDEV_RAID_HEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/util/clock.h"

#define XBDEV_MD_NR_REGIONS   4096u /* zones and regions, at most */
#define XBDEV_MD_HEAT_HALF_NS (5 * XU_NS_PER_S)

struct xbdev_md_heat {
	uint32_t shift; /* bytes of the array to zones */
	uint32_t nr_zones;
	uint64_t cooled_ns;
	uint64_t total;
	uint32_t touches[XBDEV_MD_NR_REGIONS];
};

void xbdev__md_heat_init(struct xbdev_md_heat *heat, uint64_t array_bytes);
/* Halves all counters, as often as is due. */
void xbdev__md_heat_cool(struct xbdev_md_heat *heat, uint64_t now_ns);

/* These bytes of the array are read or written; at least one, and they are there. */
static inline void xbdev__md_heat_touch(
	struct xbdev_md_heat *heat, uint64_t offset, uint64_t len, uint64_t now_ns)
{
	if (now_ns - heat->cooled_ns >= XBDEV_MD_HEAT_HALF_NS) {
		xbdev__md_heat_cool(heat, now_ns);
	}
	for (uint64_t zone = offset >> heat->shift; zone <= (offset + len - 1) >> heat->shift;
		zone++) {
		heat->touches[zone]++;
		heat->total++;
	}
}

/* Of the warmest zone that these sectors of the array are in. */
uint32_t xbdev__md_heat_of(const struct xbdev_md_heat *heat, uint64_t sector, uint64_t end);
/* What that must be for "in frequent use": more than chance makes of a load that is even. */
uint32_t xbdev__md_heat_enough(const struct xbdev_md_heat *heat);

struct xbdev_md_regions {
	uint64_t size; /* sectors of each; 0: the set is empty */
	uint64_t bits[XBDEV_MD_NR_REGIONS / 64];
};

static inline bool xbdev__md_regions_get(const struct xbdev_md_regions *regions, uint64_t index)
{
	return regions->size != 0 && (regions->bits[index / 64] >> (index % 64) & 1) != 0;
}

void xbdev__md_regions_set(struct xbdev_md_regions *regions, uint64_t size, uint64_t index);
/* Leaves those that are in the other set too. */
void xbdev__md_regions_keep(
	struct xbdev_md_regions *regions, const struct xbdev_md_regions *others);
/* Are these sectors in the set? */
bool xbdev__md_regions_have(const struct xbdev_md_regions *regions, uint64_t sector, uint64_t end);
/* Sectors of the set in a range. */
uint64_t xbdev__md_regions_sum(
	const struct xbdev_md_regions *regions, uint64_t sector, uint64_t end);

#endif
