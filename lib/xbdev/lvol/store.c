/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model of a store: see store.h. Blobs are kept in an array by root, so that an id is found by
 * halving and all are visited in the order in which SPDK would. Nothing here touches the disk; the
 * only failure is memory.
 */
#include "lib/xbdev/lvol/store.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/hash.h"

#define NAME_VALUE 64u /* bytes of a name that SPDK gives a volume */

/* ---- numbers ---- */

int xbdev__lvs_numbers_add(struct xbdev_lvs_numbers *numbers, uint32_t number)
{
	if (numbers->count == numbers->room) {
		uint32_t room = numbers->room != 0 ? numbers->room * 2 : 4;
		uint32_t *items = realloc(numbers->items, room * sizeof(items[0]));

		if (items == NULL) {
			return -ENOMEM;
		}
		numbers->items = items;
		numbers->room = room;
	}
	numbers->items[numbers->count++] = number;
	return 0;
}

void xbdev__lvs_numbers_fini(struct xbdev_lvs_numbers *numbers)
{
	free(numbers->items);
	*numbers = (struct xbdev_lvs_numbers){0};
}

/* ---- the store ---- */

struct xbdev_lvs *xbdev__lvs_new(const struct xbdev_lvs_super *super)
{
	struct xbdev_lvs *store = calloc(1, sizeof(*store));

	if (store == NULL) {
		return NULL;
	}
	store->super = *super;
	store->block_size = super->io_unit_size;
	store->super_bytes = xu_buf_alloc(XBDEV_LVS_PAGE_BYTES);
	if (store->super_bytes == NULL || xbdev__lvs_bits_init(&store->pages, super->md_len) != 0 ||
		xbdev__lvs_bits_init(&store->clusters, super->nr_clusters) != 0) {
		xbdev__lvs_free(store);
		return NULL;
	}
	for (uint32_t i = 0; i < super->nr_md_clusters; i++) {
		xbdev__lvs_bits_set(&store->clusters, i);
	}
	return store;
}

static void blob_destroy(struct xbdev_lvs_blob *blob);

void xbdev__lvs_free(struct xbdev_lvs *store)
{
	if (store == NULL) {
		return;
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		blob_destroy(store->blobs[i]);
	}
	free(store->blobs);
	xbdev__lvs_bits_fini(&store->pages);
	xbdev__lvs_bits_fini(&store->clusters);
	xbdev__lvs_numbers_fini(&store->stale);
	xbdev__lvs_numbers_fini(&store->stale_last);
	xbdev__lvs_numbers_fini(&store->copies);
	xbdev__lvs_numbers_fini(&store->unmarked_clusters);
	xbdev__lvs_numbers_fini(&store->unmarked_pages);
	xu_buf_free(store->super_bytes, XBDEV_LVS_PAGE_BYTES);
	free(store);
}

uint32_t xbdev__lvs_cluster_take(struct xbdev_lvs *store)
{
	uint64_t cluster;

	if (store->read_only_reason.code != 0) {
		return 0;
	}
	cluster = xbdev__lvs_bits_take(&store->clusters);
	if (store->space_changed != NULL) {
		store->space_changed(store);
	}
	return cluster != UINT64_MAX ? (uint32_t)cluster : 0;
}

void xbdev__lvs_cluster_free(struct xbdev_lvs *store, uint32_t cluster)
{
	assert(cluster >= store->super.nr_md_clusters);
	xbdev__lvs_bits_clear(&store->clusters, cluster);
	if (store->space_changed != NULL) {
		store->space_changed(store);
	}
}

/* ---- blobs ---- */

/* The place of a root in the array, or where it would be. */
static uint32_t place_of(const struct xbdev_lvs *store, uint32_t root)
{
	uint32_t low = 0, high = store->nr_blobs;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (store->blobs[middle]->root < root) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

struct xbdev_lvs_blob *xbdev__lvs_blob_new(struct xbdev_lvs *store, uint32_t root)
{
	struct xbdev_lvs_blob *blob;
	uint32_t place = place_of(store, root);

	if (store->nr_blobs == store->room_blobs) {
		uint32_t room = store->room_blobs != 0 ? store->room_blobs * 2 : 16;
		struct xbdev_lvs_blob **blobs = realloc(store->blobs, room * sizeof(blobs[0]));

		if (blobs == NULL) {
			return NULL;
		}
		store->blobs = blobs;
		store->room_blobs = room;
	}
	blob = calloc(1, sizeof(*blob));
	if (blob == NULL) {
		return NULL;
	}
	assert(place == store->nr_blobs || store->blobs[place]->root != root);
	blob->store = store;
	blob->root = root;
	blob->id = XBDEV_LVS_ID_BASE + root;
	xu_list_init(&blob->xattrs);
	xu_list_init(&blob->internal_xattrs);
	xu_list_init(&blob->children);
	xu_list_init(&blob->sibling);
	xu_list_init(&blob->write.link);
	xu_list_init(&blob->write.leaves);
	memmove(store->blobs + place + 1, store->blobs + place,
		(store->nr_blobs - place) * sizeof(store->blobs[0]));
	store->blobs[place] = blob;
	store->nr_blobs++;
	return blob;
}

static void free_xattrs(struct xu_list *list)
{
	struct xu_list *node;

	while ((node = xu_list_pop(list)) != NULL) {
		free(xu_list_entry(node, struct xbdev_lvs_xattr, link));
	}
}

static void blob_destroy(struct xbdev_lvs_blob *blob)
{
	free_xattrs(&blob->xattrs);
	free_xattrs(&blob->internal_xattrs);
	xbdev__lvs_map_fini(&blob->map);
	xbdev__lvs_numbers_fini(&blob->chain);
	xbdev__lvs_numbers_fini(&blob->excess_clusters);
	xbdev__lvs_numbers_fini(&blob->excess_pages);
	xbdev__lvs_numbers_fini(&blob->write.next_chain);
	xbdev__lvs_numbers_fini(&blob->write.writing);
	xbdev__lvs_numbers_fini(&blob->write.garbage);
	free(blob->reason);
	free(blob);
}

void xbdev__lvs_blob_free(struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvs *store = blob->store;
	uint32_t place = place_of(store, blob->root);

	assert(store->blobs[place] == blob && xu_list_is_empty(&blob->children));
	assert(!xu_list_is_linked(&blob->write.link));
	store->nr_blobs--;
	memmove(store->blobs + place, store->blobs + place + 1,
		(store->nr_blobs - place) * sizeof(store->blobs[0]));
	if (store->super_blob == blob) {
		store->super_blob = NULL;
	}
	xu_list_del(&blob->sibling);
	blob_destroy(blob);
}

struct xbdev_lvs_blob *xbdev__lvs_blob_by_id(const struct xbdev_lvs *store, uint64_t id)
{
	uint64_t root = id - XBDEV_LVS_ID_BASE;
	uint32_t place;

	if (id < XBDEV_LVS_ID_BASE || root >= store->super.md_len) {
		return NULL;
	}
	place = place_of(store, (uint32_t)root);
	return place < store->nr_blobs && store->blobs[place]->root == root ? store->blobs[place]
									    : NULL;
}

bool xbdev__lvs_blob_is_volume(const struct xbdev_lvs_blob *blob)
{
	return blob != blob->store->super_blob && blob->in_flight != XBDEV_LVS_REMOVE;
}

struct xbdev_lvs_blob *xbdev__lvs_blob_by_name(const struct xbdev_lvs *store, const char *name)
{
	uint32_t hash = xu_hash32(name, strlen(name));

	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		struct xbdev_lvs_blob *blob = store->blobs[i];

		if (blob->name_hash == hash && strcmp(blob->name, name) == 0 &&
			xbdev__lvs_blob_is_volume(blob) && !blob->is_name_taken) {
			return blob;
		}
	}
	return NULL;
}

void xbdev__lvs_blob_fail(struct xbdev_lvs_blob *blob, const struct xu_error *why)
{
	if (blob->reason != NULL) {
		return;
	}
	blob->store->has_failed = true;
	blob->reason = malloc(sizeof(*blob->reason));
	if (blob->reason == NULL) {
		/* It must not seem usable: nothing of it can be reached then. */
		static const struct xu_error no_memory = {-ENOMEM, "there is no memory"};

		blob->in_flight = XBDEV_LVS_STUCK;
		blob->store->read_only_reason = no_memory;
		return;
	}
	*blob->reason = *why;
}

void xbdev__lvs_blob_link(struct xbdev_lvs_blob *blob, struct xbdev_lvs_blob *parent)
{
	xu_list_del(&blob->sibling);
	blob->parent = parent;
	if (parent != NULL) {
		xu_list_add_tail(&parent->children, &blob->sibling);
	}
}

const struct xbdev_lvs_blob *xbdev__lvs_blob_find(const struct xbdev_lvs_blob *blob, uint32_t index,
	uint32_t *ret_cluster, const struct xbdev_lvs_blob **ret_esnap)
{
	*ret_esnap = NULL;
	*ret_cluster = 0;
	for (; blob != NULL; blob = blob->parent) {
		/* A clone may be larger than what is below it. */
		if (index < blob->map.nr_clusters) {
			*ret_cluster = xbdev__lvs_map_get(&blob->map, index);
		} else {
			return NULL;
		}
		if (*ret_cluster != 0) {
			return blob;
		}
		if (blob->esnap != NULL) {
			*ret_esnap = blob;
			return NULL;
		}
	}
	return NULL;
}

/* ---- attributes ---- */

static struct xu_list *list_of(const struct xbdev_lvs_blob *blob, bool is_internal)
{
	return (struct xu_list *)(is_internal ? &blob->internal_xattrs : &blob->xattrs);
}

static struct xbdev_lvs_xattr *find_xattr(
	const struct xbdev_lvs_blob *blob, bool is_internal, const char *name, size_t name_len)
{
	struct xu_list *list = list_of(blob, is_internal), *node;

	xu_list_for_each (node, list) {
		struct xbdev_lvs_xattr *xattr = xu_list_entry(node, struct xbdev_lvs_xattr, link);

		if (xattr->name_len == name_len && memcmp(xattr->bytes, name, name_len) == 0) {
			return xattr;
		}
	}
	return NULL;
}

const struct xbdev_lvs_xattr *xbdev__lvs_xattr_get(
	const struct xbdev_lvs_blob *blob, bool is_internal, const char *name)
{
	return find_xattr(blob, is_internal, name, strlen(name));
}

int xbdev__lvs_xattr_set(struct xbdev_lvs_blob *blob, bool is_internal, const char *name,
	uint16_t name_len, const void *value, uint16_t value_len)
{
	struct xbdev_lvs_xattr *old = find_xattr(blob, is_internal, name, name_len), *xattr;

	if ((uint32_t)name_len + value_len > XBDEV_LVS_XATTR_MAX) {
		return -E2BIG;
	}
	xattr = malloc(sizeof(*xattr) + name_len + value_len + 2u);
	if (xattr == NULL) {
		return -ENOMEM;
	}
	xattr->name_len = name_len;
	xattr->value_len = value_len;
	memcpy(xattr->bytes, name, name_len);
	xattr->bytes[name_len] = '\0';
	if (value_len != 0) {
		memcpy(xattr->bytes + name_len + 1, value, value_len);
	}
	xattr->bytes[name_len + 1u + value_len] = '\0';
	xu_list_add_tail(old != NULL ? &old->link : list_of(blob, is_internal), &xattr->link);
	if (old != NULL) {
		xu_list_del(&old->link);
		if (blob->esnap == old) {
			blob->esnap = xattr;
		}
		free(old);
	}
	return 0;
}

void xbdev__lvs_xattr_remove(struct xbdev_lvs_blob *blob, bool is_internal, const char *name)
{
	struct xbdev_lvs_xattr *xattr = find_xattr(blob, is_internal, name, strlen(name));

	if (xattr != NULL) {
		xu_list_del(&xattr->link);
		if (blob->esnap == xattr) {
			blob->esnap = NULL;
		}
		free(xattr);
	}
}

int xbdev__lvs_xattr_set_id(struct xbdev_lvs_blob *blob, const char *name, uint64_t id)
{
	id = htole64(id);
	return xbdev__lvs_xattr_set(
		blob, true, name, (uint16_t)strlen(name), &id, (uint16_t)sizeof(id));
}

int xbdev__lvs_check_name(const char *name, struct xu_error *err)
{
	size_t len = strlen(name);

	if (len < 1 || len > XBDEV_LVS_NAME_MAX) {
		return xu_error_set(err, -EINVAL,
			"a name of %zu bytes cannot be given to a volume or store; it has 1 to %u",
			len, XBDEV_LVS_NAME_MAX);
	}
	return 0;
}

int xbdev__lvs_blob_set_name(struct xbdev_lvs_blob *blob, const char *name)
{
	char value[NAME_VALUE] = {0};
	size_t len = strlen(name);
	bool is_fixed = blob != blob->store->super_blob &&
			xbdev__lvs_xattr_get(blob, false, XBDEV_LVS_A_NAME) == NULL;

	assert(len >= 1 && len <= XBDEV_LVS_NAME_MAX);
	memcpy(value, name, len);
	return xbdev__lvs_xattr_set(blob, false, XBDEV_LVS_A_NAME, 4, value,
		is_fixed ? NAME_VALUE : (uint16_t)(len + 1));
}

int xbdev__lvs_blob_set_uuid(struct xbdev_lvs_blob *blob, const struct xu_uuid *uuid)
{
	char text[XU_UUID_TEXT_SIZE];

	xu_uuid_format(uuid, text);
	return xbdev__lvs_xattr_set(blob, false, XBDEV_LVS_A_UUID, 4, text, sizeof(text));
}

static int derive_name(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	const struct xbdev_lvs_xattr *xattr = xbdev__lvs_xattr_get(blob, false, XBDEV_LVS_A_NAME);
	size_t len;

	if (xattr == NULL) {
		return xu_error_set(err, -EINVAL, "it has no name");
	}
	len = strnlen(xbdev__lvs_xattr_value(xattr), xattr->value_len);
	if (len < 1 || len >= sizeof(blob->name)) {
		return xu_error_set(err, -EINVAL, "its name has %zu bytes, not 1 to 64", len);
	}
	memcpy(blob->name, xbdev__lvs_xattr_value(xattr), len);
	blob->name[len] = '\0';
	blob->name_hash = xu_hash32(blob->name, strlen(blob->name));
	return 0;
}

static int derive_id(
	const struct xbdev_lvs_blob *blob, const char *name, uint64_t *ret_id, struct xu_error *err)
{
	const struct xbdev_lvs_xattr *xattr = xbdev__lvs_xattr_get(blob, true, name);
	uint64_t id = 0;

	if (xattr != NULL && xattr->value_len != sizeof(id)) {
		return xu_error_set(err, -EINVAL, "its attribute %s has %u bytes, not 8", name,
			xattr->value_len);
	}
	if (xattr != NULL) {
		memcpy(&id, xbdev__lvs_xattr_value(xattr), sizeof(id));
	}
	*ret_id = le64toh(id);
	return 0;
}

int xbdev__lvs_blob_derive(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	const struct xbdev_lvs_xattr *uuid = xbdev__lvs_xattr_get(blob, false, XBDEV_LVS_A_UUID);
	bool has_esnap = (blob->invalid_flags & XBDEV_LVS_F_ESNAP) != 0;
	int rc = derive_name(blob, err);

	blob->uuid = (struct xu_uuid){{0}};
	if (uuid != NULL) {
		(void)xu_uuid_parse(xbdev__lvs_xattr_value(uuid), &blob->uuid);
	}
	blob->esnap = has_esnap ? xbdev__lvs_xattr_get(blob, true, XBDEV_LVS_A_ESNAP) : NULL;
	if (rc == 0 && has_esnap && blob->esnap == NULL) {
		rc = xu_error_set(err, -EINVAL,
			"it is a clone of an external device but does not say of which");
	}
	if (rc == 0) {
		rc = derive_id(blob, XBDEV_LVS_A_PARENT, &blob->parent_id, err);
	}
	if (rc == 0 && (has_esnap || !xbdev__lvs_blob_is_thin(blob))) {
		blob->parent_id = 0; /* left behind by an earlier life */
	}
	if (rc == 0) {
		rc = derive_id(blob, XBDEV_LVS_A_TAKING, &blob->taking_of, err);
	}
	if (rc == 0) {
		rc = derive_id(blob, XBDEV_LVS_A_DELETING, &blob->deleting_of, err);
	}
	return rc;
}
