/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a volume's clusters lie that it does not have itself: found once by walking down the chain
 * of what it stands on, then remembered, so that a read costs the same through one snapshot and
 * through a thousand.
 *
 * What is remembered stays true while nothing of the chain changes. Snapshots are read-only, so
 * only operations change it, and each of their steps begins a new epoch, before a cluster can be
 * given back; what was remembered in another epoch is forgotten when it is asked for. A write to
 * the volume itself needs nothing: its own map comes first.
 *
 * The memory is bounded for the store (XBDEV_LVOL_MAX_PLACES leaves); beyond that, and when there
 * is none, the chain is walked.
 */
#include "lib/xbdev/lvol/volume.h"

#define NOWHERE UINT32_MAX
#define OUTSIDE (UINT32_MAX - 1) /* on the device of volume->places_esnap */

void xbdev__lvol_forget_places(struct xbdev_lvol *volume)
{
	volume->store->nr_places -= volume->nr_places;
	volume->nr_places = 0;
	xbdev__lvs_map_fini(&volume->places);
}

/* The entry for a cluster; NULL: there is no room for it. */
static uint32_t *entry_of(struct xbdev_lvol *volume, uint32_t index)
{
	struct xbdev_lvol_store *store = volume->store;
	uint32_t slot = index / XBDEV_LVS_LEAF_CLUSTERS;
	struct xbdev_lvs_leaf *leaf;

	if (volume->places_epoch != store->epoch) {
		xbdev__lvol_forget_places(volume);
		volume->places_epoch = store->epoch;
	}
	if (slot >= volume->places.nr_slots &&
		xbdev__lvs_map_reserve(&volume->places, volume->blob->map.nr_clusters) != 0) {
		return NULL;
	}
	leaf = volume->places.leaves[slot];
	if (leaf == NULL) {
		if (store->nr_places == XBDEV_LVOL_MAX_PLACES) {
			return NULL;
		}
		leaf = xbdev__lvs_map_leaf(&volume->places, slot);
		if (leaf == NULL) {
			return NULL;
		}
		store->nr_places++;
		volume->nr_places++;
	}
	return &leaf->clusters[index % XBDEV_LVS_LEAF_CLUSTERS];
}

uint32_t xbdev__lvol_place_below(
	struct xbdev_lvol *volume, uint32_t index, const struct xbdev_lvs_blob **ret_esnap)
{
	uint32_t *entry = entry_of(volume, index), cluster;

	*ret_esnap = NULL;
	if (entry != NULL && *entry != 0) {
		*ret_esnap = *entry == OUTSIDE ? volume->places_esnap : NULL;
		return *entry >= OUTSIDE ? 0 : *entry;
	}
	xbdev__lvs_blob_find(volume->blob, index, &cluster, ret_esnap);
	if (*ret_esnap != NULL) {
		volume->places_esnap = *ret_esnap; /* a chain has one, at its end */
	}
	if (entry != NULL) {
		*entry = cluster != 0 ? cluster : *ret_esnap != NULL ? OUTSIDE : NOWHERE;
	}
	return cluster;
}
