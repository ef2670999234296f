/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: a store of volumes in memory. It mirrors what the disk says, or will
 * say when the changes marked here have been written (write.h), and belongs to the store's reactor:
 * whoever looks or changes runs there, so nothing is locked.
 *
 * A blob is a volume, a snapshot, or the store's own blob with its name. Who changes one changes
 * the model first, marks what he changed (xbdev__lvs_blob_touch(), xbdev__lvs_leaf_touch()) and
 * asks for a commit; marks are what one round of writing takes together.
 */
#ifndef XBDEV_LVOL_STORE_H
#define XBDEV_LVOL_STORE_H

#include <stddef.h>

#include "lib/util/error.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/bits.h"
#include "lib/xbdev/lvol/map.h"
#include "lib/xbdev/lvol/super.h"

#define XBDEV_LVS_NAME_MAX   63u   /* bytes, that we give */
#define XBDEV_LVS_NAME_BYTES 65u   /* one of 64 is found on disk, with its NUL */
#define XBDEV_LVS_XATTR_MAX  4063u /* name and value together */

/* invalid_flags */
#define XBDEV_LVS_F_THIN     UINT64_C(1)
#define XBDEV_LVS_F_INTERNAL UINT64_C(2) /* has internal attributes; not reliable */
#define XBDEV_LVS_F_TABLE    UINT64_C(4)
#define XBDEV_LVS_F_ESNAP    UINT64_C(8)
#define XBDEV_LVS_F_KNOWN    UINT64_C(15)
/* data_ro_flags */
#define XBDEV_LVS_RO_DATA  UINT64_C(1)
#define XBDEV_LVS_RO_KNOWN UINT64_C(1)
/* md_ro_flags: how clusters that are given back are cleared */
#define XBDEV_LVS_CLEAR_MASK    UINT64_C(3)
#define XBDEV_LVS_CLEAR_DEFAULT UINT64_C(0)
#define XBDEV_LVS_CLEAR_NONE    UINT64_C(1)
#define XBDEV_LVS_CLEAR_UNMAP   UINT64_C(2)
#define XBDEV_LVS_CLEAR_ZEROES  UINT64_C(3)

/* Internal attributes. */
#define XBDEV_LVS_A_PARENT   "SNAP"
#define XBDEV_LVS_A_TAKING   "SNAPTMP"
#define XBDEV_LVS_A_DELETING "SNAPRM"
#define XBDEV_LVS_A_ESNAP    "EXTSNAP"
/* Attributes. */
#define XBDEV_LVS_A_NAME "name"
#define XBDEV_LVS_A_UUID "uuid"

struct xbdev_lvs;

struct xbdev_lvs_xattr {
	struct xu_list link;
	uint16_t name_len, value_len;
	char bytes[]; /* name, NUL, value, NUL */
};

static inline const char *xbdev__lvs_xattr_value(const struct xbdev_lvs_xattr *xattr)
{
	return xattr->bytes + xattr->name_len + 1;
}

/* A growing list of numbers. */
struct xbdev_lvs_numbers {
	uint32_t *items;
	uint32_t count, room;
};
/* -ENOMEM. */
int xbdev__lvs_numbers_add(struct xbdev_lvs_numbers *numbers, uint32_t number);
void xbdev__lvs_numbers_fini(struct xbdev_lvs_numbers *numbers);

enum xbdev_lvs_encoding {
	XBDEV_LVS_TABLE, /* and all new volumes */
	XBDEV_LVS_RLE,
};

/* An operation that a crash has interrupted, told by a mark on the snapshot (facts of recovery in
 * README.md), and how it ends. */
enum xbdev_lvs_in_flight {
	XBDEV_LVS_SETTLED,
	XBDEV_LVS_KEEP,   /* the mark goes, the snapshot stays and is read-only */
	XBDEV_LVS_REMOVE, /* the blob goes; it is not among the volumes any more */
	XBDEV_LVS_STUCK,  /* the other blob cannot be read: nothing can be decided */
};

struct xbdev_lvs_blob {
	struct xbdev_lvs *store;
	uint64_t id;   /* XBDEV_LVS_ID_BASE + root */
	uint32_t root; /* md page */

	/* What the chain says. */
	uint64_t invalid_flags, data_ro_flags, md_ro_flags;
	struct xu_list xattrs, internal_xattrs; /* in their order, known or not */
	enum xbdev_lvs_encoding encoding;
	struct xbdev_lvs_map map;
	struct xbdev_lvs_numbers chain; /* md pages behind the root, as they are on disk */

	/* From these, by xbdev__lvs_blob_derive(). */
	char name[XBDEV_LVS_NAME_BYTES];
	uint32_t name_hash;
	struct xu_uuid uuid;                 /* null: it has none */
	uint64_t parent_id;                  /* 0: none */
	uint64_t taking_of;                  /* SNAPTMP; 0: none */
	uint64_t deleting_of;                /* SNAPRM; 0: none */
	const struct xbdev_lvs_xattr *esnap; /* what is below from outside; NULL: nothing */

	/* The tree. */
	struct xbdev_lvs_blob *parent;
	struct xu_list children; /* by `sibling` */
	struct xu_list sibling;

	/* What is wrong with it. */
	struct xu_error *reason; /* not NULL: cannot be used, and this is why */
	bool is_locked;          /* its metadata may not be changed: it has what we do not know */
	bool is_name_taken;      /* another volume of the store had this name first */
	enum xbdev_lvs_in_flight in_flight;
	/* A size change was interrupted: clusters and extent pages that the disk still lists and
	 * the map does not any more; free once the root and leaves have been written. */
	struct xbdev_lvs_numbers excess_clusters, excess_pages;

	/* write.c's. */
	struct {
		bool is_dirty;         /* the chain is to be written */
		uint32_t nr_more;      /* leaves that may get a page until it is counted again */
		bool is_root_first;    /* before extent pages that exist: the volume shrinks */
		bool is_doomed;        /* the root is to be erased */
		struct xu_list link;   /* in the store's list of blobs to be written */
		struct xu_list leaves; /* that are to be written */
		struct xbdev_lvs_numbers next_chain; /* pages taken for the next chain */
		struct xbdev_lvs_numbers writing;    /* and for the one being written */
		struct xbdev_lvs_numbers garbage;    /* pages to be erased and freed when the root
						      * has been written */
	} write;

	void *volume; /* of the layer above */
};

struct xbdev_lvs_write; /* write.c's */

struct xbdev_lvs {
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor; /* its owner */
	struct xbdev_channel *ch;   /* on the owner, of the device below; borrowed */
	const char *device;         /* its name, for sentences; borrowed */

	struct xbdev_lvs_super super;
	void *super_bytes;   /* 4096, as they are on disk; xu_buf_alloc() */
	uint32_t block_size; /* of volumes: what the store says, or the device's if that is more */
	char name[XBDEV_LVS_NAME_BYTES];
	struct xu_uuid uuid;

	struct xbdev_lvs_bits pages;    /* md pages in use */
	struct xbdev_lvs_bits clusters; /* clusters in use, those of the metadata too */

	struct xbdev_lvs_blob **blobs; /* by root; those that cannot be used too */
	uint32_t nr_blobs, room_blobs;
	struct xbdev_lvs_blob *super_blob;
	bool has_failed; /* there has been one that cannot be used */

	/* What the disk lists may be incomplete: nothing may be allocated or written; code 0: it is
	 * not so. */
	struct xu_error read_only_reason;

	/* Pages that are nobody's but do not hold zeroes: copies of pages that are whole, and roots
	 * whose erasure was cut off. They are erased before anything else is written; then
	 * stale_last, the copies that told of these erasures. */
	struct xbdev_lvs_numbers stale, stale_last;
	/* Pairs: the page of a copy that was read in place of a torn page, and that page. */
	struct xbdev_lvs_numbers copies;
	uint32_t nr_restored; /* such pages */
	/* In use, but free by the masks of a clean store. */
	struct xbdev_lvs_numbers unmarked_clusters, unmarked_pages;
	/* What is in super_bytes was found elsewhere: it was to be written over the super block. */
	bool is_super_torn;
	bool has_repairs; /* pages and clusters have changed with no blob: the masks are to be
			     written */

	/* Clusters have been taken or given back; of the layer above, NULL: it does not care. */
	void (*space_changed)(struct xbdev_lvs *store);

	struct xbdev_lvs_write *write;
	void *owner; /* of the layer above */
};

/* ---- the store ---- */

/* An empty store for a layout: masks with the metadata's own clusters set. NULL: out of memory. */
struct xbdev_lvs *xbdev__lvs_new(const struct xbdev_lvs_super *super);
/* Frees the store and all blobs. Nothing may be in flight. NULL is fine. */
void xbdev__lvs_free(struct xbdev_lvs *store);

/* The first free cluster, which is taken; 0: there is none, or the store is read-only. */
uint32_t xbdev__lvs_cluster_take(struct xbdev_lvs *store);
/* Gives a cluster back. What is on disk must not list it any more. */
void xbdev__lvs_cluster_free(struct xbdev_lvs *store, uint32_t cluster);
static inline uint64_t xbdev__lvs_free_clusters(const struct xbdev_lvs *store)
{
	return xbdev__lvs_bits_free(&store->clusters);
}
static inline uint64_t xbdev__lvs_data_clusters(const struct xbdev_lvs *store)
{
	return store->super.nr_clusters - store->super.nr_md_clusters;
}
/* Byte of the device where a cluster begins. */
static inline uint64_t xbdev__lvs_cluster_at(const struct xbdev_lvs *store, uint32_t cluster)
{
	return (uint64_t)cluster * store->super.cluster_size;
}

/* ---- blobs ---- */

/* A blob whose root is the md page `root`, which is the caller's to take; in the store's array.
 * NULL: out of memory. */
struct xbdev_lvs_blob *xbdev__lvs_blob_new(struct xbdev_lvs *store, uint32_t root);
/* Takes it out of the store and the tree and frees it; pages and clusters are the caller's matter.
 * No child may be left and nothing marked. */
void xbdev__lvs_blob_free(struct xbdev_lvs_blob *blob);

struct xbdev_lvs_blob *xbdev__lvs_blob_by_id(const struct xbdev_lvs *store, uint64_t id);
/* A volume that can be named: not the super blob, not one that is being removed. NULL: none. */
struct xbdev_lvs_blob *xbdev__lvs_blob_by_name(const struct xbdev_lvs *store, const char *name);
/* Whether it is shown at all: a volume or snapshot, usable or not. */
bool xbdev__lvs_blob_is_volume(const struct xbdev_lvs_blob *blob);

static inline bool xbdev__lvs_blob_is_thin(const struct xbdev_lvs_blob *blob)
{
	return (blob->invalid_flags & XBDEV_LVS_F_THIN) != 0;
}
/* Read-only by its flags, those that nobody knows too. */
static inline bool xbdev__lvs_blob_is_read_only(const struct xbdev_lvs_blob *blob)
{
	return blob->data_ro_flags != 0;
}
static inline bool xbdev__lvs_blob_is_snapshot(const struct xbdev_lvs_blob *blob)
{
	return !xu_list_is_empty(&blob->children);
}
static inline uint64_t xbdev__lvs_blob_size(const struct xbdev_lvs_blob *blob)
{
	return (uint64_t)blob->map.nr_clusters * blob->store->super.cluster_size;
}

/* Says why a blob cannot be used; the first reason stays. */
void xbdev__lvs_blob_fail(struct xbdev_lvs_blob *blob, const struct xu_error *why);

/* Makes the tree: `parent` NULL for none. */
void xbdev__lvs_blob_link(struct xbdev_lvs_blob *blob, struct xbdev_lvs_blob *parent);

/*
 * Where the content of a volume's cluster lies: the blob that has it, the volume itself or one
 * below it, and *ret_cluster of the store. NULL: nobody has, it reads as zeroes, unless *ret_esnap
 * is set to the blob whose external device has it.
 */
const struct xbdev_lvs_blob *xbdev__lvs_blob_find(const struct xbdev_lvs_blob *blob, uint32_t index,
	uint32_t *ret_cluster, const struct xbdev_lvs_blob **ret_esnap);

/* ---- attributes ---- */

/* NULL: there is none. */
const struct xbdev_lvs_xattr *xbdev__lvs_xattr_get(
	const struct xbdev_lvs_blob *blob, bool is_internal, const char *name);
/* Sets an attribute in its place, or appends it. -ENOMEM, -E2BIG: more than a page holds. Call
 * xbdev__lvs_blob_derive() when done. */
int xbdev__lvs_xattr_set(struct xbdev_lvs_blob *blob, bool is_internal, const char *name,
	uint16_t name_len, const void *value, uint16_t value_len);
void xbdev__lvs_xattr_remove(struct xbdev_lvs_blob *blob, bool is_internal, const char *name);
/* A blob id as an internal attribute (SNAP, SNAPTMP, SNAPRM). */
int xbdev__lvs_xattr_set_id(struct xbdev_lvs_blob *blob, const char *name, uint64_t id);

/* The name and UUID that a new volume or store has, as SPDK writes them. */
int xbdev__lvs_blob_set_name(struct xbdev_lvs_blob *blob, const char *name);
int xbdev__lvs_blob_set_uuid(struct xbdev_lvs_blob *blob, const struct xu_uuid *uuid);
/* -EINVAL with a sentence: a name has 1 to 63 bytes. */
int xbdev__lvs_check_name(const char *name, struct xu_error *err);

/* Fills what follows from flags and attributes. -EINVAL with a sentence when they cannot be: no
 * name, one of more than 64 bytes, a link of another length than 8. */
int xbdev__lvs_blob_derive(struct xbdev_lvs_blob *blob, struct xu_error *err);

#endif
