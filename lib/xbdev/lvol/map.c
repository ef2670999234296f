/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See map.h. Nothing here knows of the disk or of who owns a cluster: entries are numbers. The only
 * failure is memory, and it changes nothing.
 */
#include "lib/xbdev/lvol/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(uint64_t) == sizeof(void *), "words lie behind pointers");

static uint32_t nr_words(uint32_t nr_slots)
{
	return nr_slots / 64 + (nr_slots % 64 != 0);
}

static void set_leaf(struct xbdev_lvs_map *map, uint32_t slot, struct xbdev_lvs_leaf *leaf)
{
	uint64_t bit = UINT64_C(1) << (slot % 64);

	map->leaves[slot] = leaf;
	map->present[slot / 64] =
		leaf != NULL ? map->present[slot / 64] | bit : map->present[slot / 64] & ~bit;
}

int xbdev__lvs_map_reserve(struct xbdev_lvs_map *map, uint32_t nr_clusters)
{
	uint32_t nr_slots = xbdev__lvs_slots_of(nr_clusters);
	struct xbdev_lvs_leaf **leaves;
	uint64_t *present;

	if (nr_slots <= map->nr_slots) {
		return 0;
	}
	/* Not realloc(): untouched pages of a large array of zeroes cost no memory. */
	leaves = calloc(nr_slots + (size_t)nr_words(nr_slots), sizeof(leaves[0]));
	if (leaves == NULL) {
		return -ENOMEM;
	}
	present = (uint64_t *)(void *)(leaves + nr_slots);
	if (map->nr_slots > 0) {
		memcpy(leaves, map->leaves, map->nr_slots * sizeof(leaves[0]));
		memcpy(present, map->present, nr_words(map->nr_slots) * sizeof(present[0]));
	}
	free(map->leaves);
	map->leaves = leaves;
	map->present = present;
	map->nr_slots = nr_slots;
	return 0;
}

struct xbdev_lvs_leaf *xbdev__lvs_map_leaf(struct xbdev_lvs_map *map, uint32_t slot)
{
	struct xbdev_lvs_leaf *leaf;

	assert(slot < map->nr_slots);
	leaf = map->leaves[slot];
	if (leaf == NULL) {
		leaf = calloc(1, sizeof(*leaf));
		if (leaf == NULL) {
			return NULL;
		}
		leaf->slot = slot;
		xu_list_init(&leaf->dirty);
		set_leaf(map, slot, leaf);
	}
	return leaf;
}

void xbdev__lvs_map_move(struct xbdev_lvs_map *to, struct xbdev_lvs_map *from, uint32_t slot)
{
	struct xbdev_lvs_leaf *leaf = from->leaves[slot];

	assert(leaf != NULL && slot < to->nr_slots && to->leaves[slot] == NULL);
	set_leaf(to, slot, leaf);
	to->nr_allocated += leaf->nr_allocated;
	set_leaf(from, slot, NULL);
	from->nr_allocated -= leaf->nr_allocated;
}

uint32_t xbdev__lvs_map_set(struct xbdev_lvs_map *map, uint32_t index, uint32_t cluster)
{
	struct xbdev_lvs_leaf *leaf = map->leaves[index / XBDEV_LVS_LEAF_CLUSTERS];
	uint32_t *entry = &leaf->clusters[index % XBDEV_LVS_LEAF_CLUSTERS];
	uint32_t old = *entry;

	*entry = cluster;
	leaf->nr_allocated = (uint16_t)(leaf->nr_allocated + (cluster != 0) - (old != 0));
	map->nr_allocated = map->nr_allocated + (cluster != 0) - (old != 0);
	return old;
}

void xbdev__lvs_map_drop(struct xbdev_lvs_map *map, uint32_t slot)
{
	struct xbdev_lvs_leaf *leaf = map->leaves[slot];

	if (leaf != NULL) {
		assert(!xu_list_is_linked(&leaf->dirty));
		map->nr_allocated -= leaf->nr_allocated;
		set_leaf(map, slot, NULL);
		free(leaf);
	}
}

uint32_t xbdev__lvs_map_next(const struct xbdev_lvs_map *map, uint32_t index)
{
	while (index < map->nr_clusters) {
		uint32_t slot = index / XBDEV_LVS_LEAF_CLUSTERS;
		const struct xbdev_lvs_leaf *leaf = map->leaves[slot];

		if (leaf == NULL || leaf->nr_allocated == 0) {
			slot = xbdev__lvs_map_next_slot(map, slot + 1);
			if (slot == map->nr_slots) {
				break;
			}
			index = slot * XBDEV_LVS_LEAF_CLUSTERS;
		} else if (leaf->clusters[index % XBDEV_LVS_LEAF_CLUSTERS] != 0) {
			return index;
		} else {
			index++;
		}
	}
	return map->nr_clusters;
}

void xbdev__lvs_map_fini(struct xbdev_lvs_map *map)
{
	for (uint32_t slot = xbdev__lvs_map_next_slot(map, 0); slot < map->nr_slots;
		slot = xbdev__lvs_map_next_slot(map, slot + 1)) {
		free(map->leaves[slot]);
	}
	free(map->leaves);
	*map = (struct xbdev_lvs_map){0};
}
