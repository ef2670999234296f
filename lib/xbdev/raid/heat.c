/* SPDX-License-Identifier: BSD-3-Clause */
/* See heat.h. Nothing here does I/O or has timers: it is told what is used when, and asked. */
#include "lib/xbdev/raid/heat.h"

#include <string.h>

#define MIN_SHIFT  16u /* a rebuild takes 64 KiB at a time */
#define FEW        8u  /* touches that mean nothing */
#define SECTOR_LOG 9u

/* ---- heat ---- */

void xbdev__md_heat_init(struct xbdev_md_heat *heat, uint64_t array_bytes)
{
	memset(heat, 0, sizeof(*heat));
	heat->shift = MIN_SHIFT;
	while (array_bytes > (uint64_t)XBDEV_MD_NR_REGIONS << heat->shift) {
		heat->shift++;
	}
	heat->nr_zones = (uint32_t)((array_bytes + (1ull << heat->shift) - 1) >> heat->shift);
}

void xbdev__md_heat_cool(struct xbdev_md_heat *heat, uint64_t now_ns)
{
	uint64_t times = (now_ns - heat->cooled_ns) / XBDEV_MD_HEAT_HALF_NS;

	heat->cooled_ns += times * XBDEV_MD_HEAT_HALF_NS;
	times = times < 31 ? times : 31;
	heat->total = 0;
	for (uint32_t i = 0; i < heat->nr_zones; i++) {
		heat->touches[i] >>= times;
		heat->total += heat->touches[i];
	}
}

uint32_t xbdev__md_heat_of(const struct xbdev_md_heat *heat, uint64_t sector, uint64_t end)
{
	uint64_t first = sector >> (heat->shift - SECTOR_LOG);
	uint64_t last = (end - 1) >> (heat->shift - SECTOR_LOG);
	uint32_t most = 0;

	for (uint64_t i = first; i <= last && i < heat->nr_zones; i++) {
		most = heat->touches[i] > most ? heat->touches[i] : most;
	}
	return most;
}

uint32_t xbdev__md_heat_enough(const struct xbdev_md_heat *heat)
{
	uint64_t mean = heat->nr_zones == 0 ? 0 : heat->total / heat->nr_zones;

	return (uint32_t)(mean + mean / 2 + FEW);
}

/* ---- regions ---- */

void xbdev__md_regions_set(struct xbdev_md_regions *regions, uint64_t size, uint64_t index)
{
	regions->size = size;
	regions->bits[index / 64] |= 1ull << (index % 64);
}

void xbdev__md_regions_keep(struct xbdev_md_regions *regions, const struct xbdev_md_regions *others)
{
	for (uint32_t i = 0; i < XBDEV_MD_NR_REGIONS / 64; i++) {
		regions->bits[i] &= others->size != 0 ? others->bits[i] : 0;
	}
}

bool xbdev__md_regions_have(const struct xbdev_md_regions *regions, uint64_t sector, uint64_t end)
{
	while (sector < end && regions->size != 0) {
		if (!xbdev__md_regions_get(regions, sector / regions->size)) {
			return false;
		}
		sector += regions->size - sector % regions->size;
	}
	return sector >= end;
}

uint64_t xbdev__md_regions_sum(
	const struct xbdev_md_regions *regions, uint64_t sector, uint64_t end)
{
	uint64_t sum = 0;

	while (sector < end && regions->size != 0) {
		uint64_t len = regions->size - sector % regions->size;

		len = len < end - sector ? len : end - sector;
		sum += xbdev__md_regions_get(regions, sector / regions->size) ? len : 0;
		sector += len;
	}
	return sum;
}
