/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: which cluster of the store each cluster of a volume is. Leaves of 512
 * entries, one for each extent page, under one array of pointers; leaves with nothing in them do
 * not exist, and a bit for each slot says so, so that whoever looks at all leaves passes over what
 * is not there. A TiB of thin volume costs 4 KiB with clusters of 4 MiB, and 1 MiB once all of it
 * is allocated.
 */
#ifndef XBDEV_LVOL_MAP_H
#define XBDEV_LVOL_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/util/list.h"
#include "lib/xbdev/lvol/page.h"

#define XBDEV_LVS_CLUSTERS_MAX (UINT32_MAX - 1) /* of one volume */

struct xbdev_lvs_leaf {
	uint32_t slot;
	uint32_t page;  /* its extent page; 0: none yet, or the volume has no table */
	uint16_t count; /* entries that its extent page has, or is to have */
	uint16_t nr_allocated;
	bool is_on_disk;      /* `page` was written: from now on it is rewritten in place */
	struct xu_list dirty; /* in the volume's list of leaves to be written */
	uint32_t clusters[XBDEV_LVS_LEAF_CLUSTERS]; /* 0: not allocated */
};

struct xbdev_lvs_map {
	uint32_t nr_clusters;  /* of the volume */
	uint32_t nr_slots;     /* of the array; nr_clusters may be fewer while the volume grows */
	uint64_t nr_allocated; /* in all leaves */
	struct xbdev_lvs_leaf **leaves;
	uint64_t *present; /* a bit for each slot that has a leaf; behind the leaves */
};

static inline uint32_t xbdev__lvs_slots_of(uint32_t nr_clusters)
{
	return nr_clusters / XBDEV_LVS_LEAF_CLUSTERS + (nr_clusters % XBDEV_LVS_LEAF_CLUSTERS != 0);
}

/* Entries that slot `slot` of a volume of so many clusters has. */
static inline uint32_t xbdev__lvs_slot_count(uint32_t nr_clusters, uint32_t slot)
{
	uint64_t first = (uint64_t)slot * XBDEV_LVS_LEAF_CLUSTERS;

	if (first >= nr_clusters) {
		return 0;
	}
	return nr_clusters - first < XBDEV_LVS_LEAF_CLUSTERS ? (uint32_t)(nr_clusters - first)
							     : XBDEV_LVS_LEAF_CLUSTERS;
}

/* The first slot at or behind `slot` that has a leaf; nr_slots: there is none. */
static inline uint32_t xbdev__lvs_map_next_slot(const struct xbdev_lvs_map *map, uint32_t slot)
{
	while (slot < map->nr_slots) {
		uint64_t left = map->present[slot / 64] >> (slot % 64);

		if (left != 0) {
			return slot + (uint32_t)__builtin_ctzll(left);
		}
		slot = (slot / 64 + 1) * 64;
	}
	return map->nr_slots;
}

/* The cluster of the store; 0: not allocated. `index` is below nr_clusters. */
static inline uint32_t xbdev__lvs_map_get(const struct xbdev_lvs_map *map, uint32_t index)
{
	const struct xbdev_lvs_leaf *leaf = map->leaves[index / XBDEV_LVS_LEAF_CLUSTERS];

	return leaf != NULL ? leaf->clusters[index % XBDEV_LVS_LEAF_CLUSTERS] : 0;
}

/* Room for so many clusters at least; never less than there is. -ENOMEM. nr_clusters stays. */
int xbdev__lvs_map_reserve(struct xbdev_lvs_map *map, uint32_t nr_clusters);
/* The leaf of a slot (below nr_slots), made if there is none, with no page and no entries in it.
 * NULL: out of memory. */
struct xbdev_lvs_leaf *xbdev__lvs_map_leaf(struct xbdev_lvs_map *map, uint32_t slot);
/* Enters a cluster (0: none) where the leaf exists; returns what was there. */
uint32_t xbdev__lvs_map_set(struct xbdev_lvs_map *map, uint32_t index, uint32_t cluster);
/* Forgets a leaf; it must not be in a list. */
void xbdev__lvs_map_drop(struct xbdev_lvs_map *map, uint32_t slot);
/* Gives a leaf, which is there, to another map, which has a place for it and none there. */
void xbdev__lvs_map_move(struct xbdev_lvs_map *to, struct xbdev_lvs_map *from, uint32_t slot);
/* The first allocated cluster at or behind index; nr_clusters: there is none. */
uint32_t xbdev__lvs_map_next(const struct xbdev_lvs_map *map, uint32_t index);
void xbdev__lvs_map_fini(struct xbdev_lvs_map *map);

#endif
