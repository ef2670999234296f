/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to stores.c, settings.c, find.c and attach.c: what a context knows of stores. It is the
 * control reactor's, and so are all calls.
 */
#ifndef XBDEV_LVOL_STORES_PRIVATE_H
#define XBDEV_LVOL_STORES_PRIVATE_H

#include "lib/xbdev/lvol/op_private.h"
#include "lib/xbdev/lvol/stores.h"

struct xbdev_lvol_stores {
	struct xbdev_ctx_part part;
	struct xbdev_ctx *ctx;
	struct xu_list stores; /* struct xbdev_lvol_store.link: whose names are taken */

	/* esnap.c's. */
	struct xbdev_graph_listener esnap_listener;
	struct xu_list holds; /* struct xbdev_lvol_hold.link */
	uint32_t nr_opening;  /* devices outside of stores */
	struct xr_msg scan_msg;
	bool is_scan_sent; /* scan_msg is under way */
	struct xr_timer retry;

	/* find.c's. */
	struct xbdev_graph_listener listener;
	bool is_finding;
	uint32_t nr_holds, nr_running;
	struct xu_list looks;   /* devices that are to be looked at, or are */
	struct xu_list waits;   /* for the end of that */
	struct xu_list refused; /* struct xbdev_lvol_refused.link */
};

/* Those of a context, made when they are first asked for. NULL: out of memory. */
struct xbdev_lvol_stores *xbdev__lvol_stores(struct xbdev_ctx *ctx);

/* Takes the name and the UUID for a store. -EEXIST: another store of the context has one of them;
 * -ENOMEM. */
int xbdev__lvol_store_enlist(struct xbdev_lvol_store *store, const char *name,
	const struct xu_uuid *uuid, struct xu_error *err);

/* Whether it may be changed as a whole now; -ENODEV, -EBUSY, -EROFS. Who does that sets is_changing
 * until it is over. */
int xbdev__lvol_store_check_changeable(const struct xbdev_lvol_store *store, struct xu_error *err);

/* As xbdev__lvol_attach(), but makes the store, on a device that is blank. */
void xbdev__lvol_attach_new(struct xbdev_ctx *ctx, const char *device,
	const struct xbdev_lvs_create_opts *opts,
	void (*done)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err),
	void *arg);

/* ---- signs.c ---- */

/*
 * Whether a device holds nothing that somebody may miss: `cb` runs once, later or at once, with an
 * error whose code is 0 when it does not; -EEXIST: it does, and what it looks like; -ENODEV, or
 * what reading gave. Nothing is claimed.
 */
void xbdev__lvol_look_blank(struct xbdev_ctx *ctx, const char *device,
	void (*cb)(void *arg, const struct xu_error *err), void *arg);

/* ---- find.c ---- */

void xbdev__lvol_find_init(struct xbdev_lvol_stores *stores);
/* Something that is waited for besides has ended. */
void xbdev__lvol_find_tell(struct xbdev_lvol_stores *stores);
/* After the reactors have gone. */
void xbdev__lvol_find_fini(struct xbdev_lvol_stores *stores);
/* The device has a store now that is attached: it was not refused. */
void xbdev__lvol_forget_refused(struct xbdev_ctx *ctx, const char *device);

#endif
