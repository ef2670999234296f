/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC methods for block devices, with SPDK's names, parameters and results where SPDK has the
 * method (docs/rpc.md). What they read comes from the context; changes go through whoever keeps the
 * configuration, so that a device made by RPC is as well remembered as one from a file. Everything
 * here is for the control reactor.
 */
#ifndef XBDEV_MGMT_H
#define XBDEV_MGMT_H

#include <jansson.h>

#include "lib/rpc/jsonrpc.h"

struct xbdev_ctx;
struct xbdev_device;
struct xu_error;

typedef void (*xbdev_mgmt_done_fn)(void *arg, const struct xu_error *err);

/*
 * The owner of the methods. Each of the three changes calls `done` once, later or at once, with an
 * error (borrowed) whose code is 0 when it is done and remembered.
 */
struct xbdev_mgmt {
	struct xbdev_ctx *ctx;
	/* Makes the device of an entry that has been checked (lib/xbdev/config); takes the entry.
	 * -EEXIST. */
	void (*create)(struct xbdev_mgmt *mgmt, json_t *entry, xbdev_mgmt_done_fn done, void *arg);
	/* Takes a device away from those that use it and removes it. -ENODEV. */
	void (*remove)(
		struct xbdev_mgmt *mgmt, const char *name, xbdev_mgmt_done_fn done, void *arg);
	/* Changes members of the device's entry; takes them. -ENODEV, -EBUSY: not while it runs. */
	void (*change)(struct xbdev_mgmt *mgmt, const char *name, json_t *members,
		xbdev_mgmt_done_fn done, void *arg);
	/* Copies of volumes that clients have begun; NULL: none yet. The owner frees it. */
	struct xbdev_mgmt_copies *copies;
};

/* Making, changing and listing; statistics; faults made on purpose; SPDK's names for NVMe. Their
 * `arg` is the struct xbdev_mgmt. */
extern const struct xrpc_method xbdev_mgmt_methods[];
extern const struct xrpc_method xbdev_mgmt_stats_methods[];
extern const struct xrpc_method xbdev_mgmt_fault_methods[];
extern const struct xrpc_method xbdev_mgmt_nvme_methods[];
/* Arrays: made, looked at, changed; at once, and the owner is told: see raid_keep.c. */
extern const struct xrpc_method xbdev_mgmt_raid_methods[];
extern const struct xrpc_method xbdev_mgmt_raid_look_methods[];
extern const struct xrpc_method xbdev_mgmt_raid_manage_methods[];
/* Stores of logical volumes, and volumes; they are on their devices, so nobody is told. */
extern const struct xrpc_method xbdev_mgmt_lvs_methods[];
extern const struct xrpc_method xbdev_mgmt_lvol_methods[];
extern const struct xrpc_method xbdev_mgmt_lvol_look_methods[];
extern const struct xrpc_method xbdev_mgmt_lvol_copy_methods[];

/* When no call is under way any more; copies go on. NULL is fine. */
void xbdev_mgmt_copies_free(struct xbdev_mgmt_copies *copies);

/*
 * What has happened to the devices of a context since then, for the methods that tell clients of
 * it; a few hundred events are kept. _new() before the context runs or on its control reactor,
 * _free() before the context goes; NULL is fine. -ENOMEM.
 */
struct xbdev_mgmt_notes;
int xbdev_mgmt_notes_new(struct xbdev_ctx *ctx, struct xbdev_mgmt_notes **ret_notes);
void xbdev_mgmt_notes_free(struct xbdev_mgmt_notes *notes);

#define XBDEV_MGMT_NOTE_SIZE 256u
/* A health event is one more; what is too long is cut off. */
void xbdev_mgmt_notes_health(struct xbdev_mgmt_notes *notes, const char *device, const char *text);

/* Their `arg` is the notes. */
extern const struct xrpc_method xbdev_mgmt_notify_methods[];

/* For those tables. */

/* Finds the device of a method by name or UUID; NULL: the request has been answered. */
struct xbdev_device *xbdev_mgmt_find(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const char *name);
/* A `done` for a request that is answered with true; its argument is the request. */
void xbdev_mgmt_answer(void *arg, const struct xu_error *err);
/* Makes the device of an entry (taken) after checking it, and answers with `result` (taken; NULL:
 * its name). */
void xbdev_mgmt_create(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, json_t *entry, json_t *result);

#endif
