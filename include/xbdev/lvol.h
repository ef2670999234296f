/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libxbdev: logical volumes. A store stands on one device, which it has to itself, and gives its
 * space to volumes cluster by cluster. On disk stores are SPDK's: what is made here opens there,
 * and the other way round. See base.h for the rules of all calls.
 *
 * A volume is a device named STORE/VOLUME: xbdev_open() opens it, others stand on it. Calls take
 * that name or the UUID; a store is named by its name or UUID. New names are one part: 1 to 63
 * printable ASCII characters without '/'. A snapshot is a read-only volume with the content of a
 * moment, a clone is a volume that begins with the content of a snapshot; both are in the store of
 * what they are made of, and take space only for what differs.
 *
 * A store that a device holds is found and its volumes are there as soon as the device is, without
 * a call. With the library's end, or with its device, it is given up.
 *
 * What a call has done when it returns survives the loss of power; what was cut off by one has been
 * done or has not begun. Errors that most calls have: -ENODEV: there is no such store or volume, or
 * its device goes; -EINVAL; -EROFS: it may not be changed; -EBUSY: something else is being done
 * with it, or it is in use; -ENOSPC: no free cluster, or no room for metadata; -EEXIST: the name or
 * UUID is taken; -ECANCELED: xbdev_lvol_cancel(), or the library ends; -EIO; -ENOMEM.
 */
#ifndef XBDEV_LVOL_H
#define XBDEV_LVOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is done with the space that a store begins with, or that a volume gives back. */
#define XBDEV_LVOL_CLEAR_DEFAULT 0 /* unmap */
#define XBDEV_LVOL_CLEAR_NONE    1 /* what was there may be read in new clusters by others */
#define XBDEV_LVOL_CLEAR_UNMAP   2 /* discarded, where the device can do that */
#define XBDEV_LVOL_CLEAR_ZEROES  3

/* ---- stores ---- */

/*
 * Makes a store on a device that holds nothing. `cluster_size` is the unit in which volumes take
 * space, in bytes: a multiple of 4096; 0: 4 MiB. Clusters of 64 KiB and more have a page of
 * metadata (4 KiB) each. Smaller ones share: a sixteenth of the device is metadata at most, which
 * is room for thirty volumes and snapshots as large as it. -EEXIST: the device holds a store, an
 * array, a file system or something else, which the sentence names; -EBUSY: it is in use; -ENOSPC:
 * it is too small.
 */
int xbdev_lvs_create(const char *bdev_name, const char *lvs_name, uint64_t cluster_size);

/* Everything that can be said at creation. Zeroes mean the defaults; `size` is
 * sizeof(xbdev_lvs_create_options_t), so that later versions can add members. */
typedef struct xbdev_lvs_create_options {
	size_t size;
	uint64_t cluster_size; /* bytes */
	uint32_t md_ratio;     /* pages of metadata per 100 clusters; 0: see above */
	int clear;             /* XBDEV_LVOL_CLEAR_…, of the whole device */
	const char *uuid;      /* 36 characters; NULL: a new one */
} xbdev_lvs_create_options_t;

int xbdev_lvs_create_with(
	const char *bdev_name, const char *lvs_name, const xbdev_lvs_create_options_t *options);

/* The end of a store and of all that is in it, none of which may be in use (-EBUSY). */
int xbdev_lvs_destroy(const char *lvs_name);

/* Another name, for the devices of its volumes too, none of which may be in use. */
int xbdev_lvs_rename(const char *lvs_name, const char *new_name);

/* Takes what the device has grown by. -EINVAL: it has not; -ENOSPC: the store has no room to note
 * so many clusters. */
int xbdev_lvs_grow(const char *lvs_name);

/* How long a write waits for free clusters, milliseconds (a day at most), before it fails with
 * -ENOSPC; 0, which is so at first: it fails at once. The store keeps it on its device. */
int xbdev_lvs_set_space_wait(const char *lvs_name, uint32_t wait_ms);

/*
 * Percentages of used clusters at which XBDEV_NOTIFICATION_LVS_THRESHOLD (mgmt.h) is told, the
 * first below the second; 80 and 95 at first; 0 and 0: none. Each is told once when it is reached,
 * and again when less was used meanwhile. The store keeps them. -EINVAL.
 */
int xbdev_lvs_set_thresholds(const char *lvs_name, uint32_t low_percent, uint32_t high_percent);

/* With that notification: of a store's clusters so many are used. */
typedef struct xbdev_lvs_threshold {
	char lvs_name[72];
	char bdev_name[256];
	uint32_t percent; /* the threshold; 0: it has been changed meanwhile */
	uint64_t used_clusters;
	uint64_t total_clusters;
	uint64_t promised_clusters; /* that would be used if all volumes were full */
	char text[256];             /* a sentence */
} xbdev_lvs_threshold_t;

/*
 * Takes a store from its device by hand, after xbdev_lvs_unload() for instance; `is_read_only`:
 * nothing is written, not even what a crash has left to be done. -ENOENT: the device holds none.
 */
int xbdev_lvs_load(const char *bdev_name, bool is_read_only);
/* Gives a store up: its volumes go, its device is free, and all of it is on that. -EBUSY: one of
 * its volumes is in use. */
int xbdev_lvs_unload(const char *lvs_name);

typedef struct {
	size_t size; /* sizeof(xbdev_lvs_info_t), by the caller */
	char name[72];
	char uuid[37];
	char bdev_name[256];
	uint64_t cluster_size;      /* bytes */
	uint64_t total_clusters;    /* for data */
	uint64_t free_clusters;     /* of them */
	uint64_t promised_clusters; /* that its volumes would take if all of them were full */
	uint32_t block_size;        /* of its volumes, bytes */
	uint32_t num_volumes;       /* snapshots and clones too */
	bool is_read_only;
	char read_only_reason[256]; /* a sentence, cut; "" */
	uint32_t space_wait_ms;     /* a write waits so long for free clusters */
	uint32_t low_percent;       /* of its clusters used: told; 0: not */
	uint32_t high_percent;      /* the same */
	uint32_t reserved_too;
	uint64_t reserved[6];
} xbdev_lvs_info_t;

int xbdev_lvs_info(const char *lvs_name, xbdev_lvs_info_t *info);

/* Writes what is known of up to `max` stores; returns how many there are, which may be more. The
 * caller sets `size` of the first. */
int xbdev_lvs_list(xbdev_lvs_info_t *ret_infos, int max);

/* ---- volumes ---- */

/*
 * Makes a volume of `size_mb` MiB, rounded up to whole clusters. One that is thin takes space when
 * it is written; else all of it is taken, and reads as zeroes, before the call returns.
 */
int xbdev_lvol_create(
	const char *lvs_name, const char *lvol_name, uint64_t size_mb, bool thin_provision);

typedef struct xbdev_lvol_create_options {
	size_t size; /* sizeof(xbdev_lvol_create_options_t) */
	uint64_t size_bytes;
	bool thin_provision;
	int clear;        /* XBDEV_LVOL_CLEAR_… */
	const char *uuid; /* 36 characters; NULL: a new one */
} xbdev_lvol_create_options_t;

int xbdev_lvol_create_with(
	const char *lvs_name, const char *lvol_name, const xbdev_lvol_create_options_t *options);

/*
 * The end of a volume or snapshot that nobody has open (-EBUSY). What stands on a snapshot keeps
 * its content: with one clone that takes over its clusters; with several it is hidden, its name is
 * free, and it goes when one is left.
 */
int xbdev_lvol_destroy(const char *lvol_name);

/* Another size in MiB, rounded up to whole clusters. What lies beyond a smaller one is gone; what
 * is new reads as zeroes. */
int xbdev_lvol_resize(const char *lvol_name, uint64_t new_size_mb);

/* Another name in its store; nobody may have it open. */
int xbdev_lvol_rename(const char *lvol_name, const char *new_name);

/* Read-only for good; nobody may have it open to be written. */
int xbdev_lvol_set_read_only(const char *lvol_name);

/* All clusters become the volume's own: it stands on no snapshot any more and is not thin. It can
 * be used meanwhile. */
int xbdev_lvol_inflate(const char *lvol_name);
/* The clusters that its snapshot itself has become the volume's own: it stands on what that one
 * stands on, if anything. It can be used meanwhile. */
int xbdev_lvol_decouple(const char *lvol_name);

/* Lets a thin volume stand on another snapshot of its store and size; its own clusters stay. */
int xbdev_lvol_set_parent(const char *lvol_name, const char *snapshot_name);
/* The same with a device outside of the store, as xbdev_clone_create_external(). */
int xbdev_lvol_set_parent_external(const char *lvol_name, const char *bdev_name);

/* Asks what another thread has begun with a volume (making a thick one, filling it, clearing it) to
 * stop: that call ends with -ECANCELED, or has done it. -ENOENT: nothing is being done that can
 * stop. */
int xbdev_lvol_cancel(const char *lvol_name);

typedef struct {
	size_t size;   /* sizeof(xbdev_lvol_info_t), by the caller */
	char name[72]; /* in its store */
	char lvs_name[72];
	char uuid[37];
	uint64_t size_bytes;
	uint64_t cluster_size;  /* bytes */
	uint64_t num_clusters;  /* that it has when it is full */
	uint64_t num_allocated; /* of its own; what it shares is its snapshot's */
	uint32_t num_clones;    /* volumes and snapshots directly on it; not 0: a snapshot */
	bool is_thin;
	bool is_read_only;
	char parent[72];  /* the snapshot it stands on, in its store; "": none */
	bool is_hidden;   /* a snapshot that has been ended while several stood on it: no device */
	char esnap[256];  /* the device outside of the store that it stands on: its name, or its
			   * UUID when it is not there; "": none */
	char reason[256]; /* why it cannot be used, or not now, and is no device, cut; "": it can */
	char busy[64];    /* what is being done with it; "": nothing */
	float progress;   /* of that, 0 to 100; 100 when it is nothing */
	uint64_t reserved[8];
} xbdev_lvol_info_t;

/* A volume that is being made by xbdev_lvol_create() is known already, though it is no device: it
 * is busy, and `progress` says how far it is. */
int xbdev_lvol_info(const char *lvol_name, xbdev_lvol_info_t *info);

/* Writes what is known of up to `max` volumes, snapshots and clones of a store, of all stores when
 * `lvs_name` is NULL, hidden and damaged ones and those that are being made too; returns how many
 * there are. The caller sets `size` of the first. */
int xbdev_lvol_list(const char *lvs_name, xbdev_lvol_info_t *ret_infos, int max);

typedef struct {
	size_t size;              /* sizeof(xbdev_lvol_usage_t), by the caller */
	uint64_t exclusive_bytes; /* in clusters of its own that nothing else reads */
	uint64_t shared_bytes;    /* in clusters that it reads, or has, and others read or have */
} xbdev_lvol_usage_t;

/* How much of its store a volume takes, now. */
int xbdev_lvol_usage(const char *lvol_name, xbdev_lvol_usage_t *usage);

/* ---- snapshots and clones ---- */

/*
 * Keeps the volume's content of now as a snapshot in its store, read-only. All that was
 * acknowledged before the call is in it. The volume may be in use; its writes wait for a moment.
 */
int xbdev_snapshot_create(const char *lvol_name, const char *snapshot_name);

typedef struct xbdev_snapshot_create_options {
	size_t size;      /* sizeof(xbdev_snapshot_create_options_t) */
	const char *uuid; /* of the snapshot, 36 characters; NULL: a new one */
} xbdev_snapshot_create_options_t;

int xbdev_snapshot_create_with(const char *lvol_name, const char *snapshot_name,
	const xbdev_snapshot_create_options_t *options);

/*
 * Gives the volume that the snapshot was taken of, which nobody may have open, the content and the
 * size that it had then. Later snapshots stay. -EINVAL: that volume is not known any more, and
 * several stand on the snapshot: the sentence names them.
 */
int xbdev_snapshot_restore(const char *snapshot_name);

/* xbdev_lvol_destroy(), of a read-only volume: -EINVAL for another. */
int xbdev_snapshot_destroy(const char *snapshot_name);

/* A thin volume that begins with the content of a snapshot, in its store. -EINVAL: that is not
 * read-only. */
int xbdev_clone_create(const char *snapshot_name, const char *clone_name);

typedef struct xbdev_clone_create_options {
	size_t size;      /* sizeof(xbdev_clone_create_options_t) */
	const char *uuid; /* of the clone, 36 characters; NULL: a new one */
} xbdev_clone_create_options_t;

int xbdev_clone_create_with(const char *snapshot_name, const char *clone_name,
	const xbdev_clone_create_options_t *options);

/*
 * A thin volume in a store that begins with the content of a device outside of it, as large as that
 * (SPDK: external snapshot). The store keeps the device's UUID; give it one that stays. Nobody can
 * write to the device while something stands on it; when it goes the volume goes too, and when it
 * is there again so is the volume. -EINVAL: its size is no whole clusters, its blocks are larger
 * than the store's, or it is a volume of the same store; -EBUSY: somebody can write to it.
 */
int xbdev_clone_create_external(
	const char *bdev_name, const char *lvs_name, const char *clone_name);

typedef struct {
	uint64_t offset, len; /* bytes; whole clusters */
} xbdev_lvol_extent_t;

/*
 * Where two volumes or snapshots of a store may differ: what they do not have from the same
 * cluster, as extents in order. Writes up to `max` of them; returns how many there are. -EINVAL:
 * they are of two stores.
 */
int xbdev_snapshot_diff(
	const char *one_name, const char *other_name, xbdev_lvol_extent_t *ret_extents, int max);

/*
 * Copies the clusters that a read-only volume itself has, not those that it reads from what it
 * stands on, to the same places of a device, which nobody may use. xbdev_lvol_info() tells how far
 * it is, xbdev_lvol_cancel() stops it. -EINVAL: it can be written, or the device is smaller.
 */
int xbdev_snapshot_shallow_copy(const char *snapshot_name, const char *bdev_name);

#ifdef __cplusplus
}
#endif

#endif
