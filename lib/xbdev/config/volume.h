/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to the sections of logical volumes, and what the public interface shares with them: which
 * names and layouts are given, which volumes there are. On the control reactor.
 */
#ifndef XBDEV_CONFIG_VOLUME_H
#define XBDEV_CONFIG_VOLUME_H

#include "lib/xbdev/config/section.h"

struct xbdev_device;
struct xbdev_lvol;
struct xbdev_lvol_store;

/* SPDK refuses to load a store in which a name with its NUL has more than 64 bytes. */
#define XBDEV_VOLUME_NAME_MAX 63u

/* A name that is given to a store or in one: 1 to 63 printable characters, no '/'. -EINVAL. */
int xbdev__volume_check_name(const char *name, struct xu_error *err);

/* Pages of metadata per 100 clusters of a new store; 0: the default of the format. */
uint32_t xbdev__volume_md_ratio(uint64_t cluster_size);

/* The next device that is a logical volume and not going; NULL starts and ends. */
struct xbdev_device *xbdev__volume_next(struct xbdev_ctx *ctx, struct xbdev_device *dev);
/* Of such a device. */
struct xbdev_lvol *xbdev__volume_of(struct xbdev_device *dev);
/* A volume of the store that somebody has open; NULL: none. */
const struct xbdev_device *xbdev__store_in_use(
	struct xbdev_ctx *ctx, const struct xbdev_lvol_store *store);

/* The size that an entry says, in bytes. */
uint64_t xbdev__volume_size(const json_t *entry);

/* What is to be done so that what is there is what an entry says. */
enum xbdev_volume_change {
	XBDEV_VOLUME_SAME,
	XBDEV_VOLUME_GROW = 1,
	XBDEV_VOLUME_PROTECT = 2, /* read-only from then on; may come with the other */
};

/*
 * Compares what is there with an entry of one of the three sections; `was` NULL, or an entry whose
 * words have been carried out already. A mask of xbdev_volume_change, or -EEXIST, -EOPNOTSUPP with
 * a sentence that goes behind "it", and the member in which it differs in any case.
 */
int xbdev__volume_compare(const struct xbdev_section *section, const json_t *entry,
	const json_t *was, struct xbdev_lvol *volume, const char **ret_key, struct xu_error *err);

/* The same of a store: 0 or -EEXIST. */
int xbdev__store_compare(const json_t *entry, const struct xbdev_lvol_store *store,
	const char **ret_key, struct xu_error *err);
struct xbdev_lvol_settings;
/* What the entry says of the store's settings, and the rest as it is; whether that is another than
 * it is now. `was` as above. */
bool xbdev__store_differs(const json_t *entry, const json_t *was,
	const struct xbdev_lvol_store *store, struct xbdev_lvol_settings *ret);
/* The store that the device holds; NULL: none that is there. */
struct xbdev_lvol_store *xbdev__store_on(struct xbdev_ctx *ctx, const struct xbdev_device *dev);

/* For the table: volume_save.c, volume_plan.c, store_job.c, volume_job.c. */
int xbdev__store_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err);
int xbdev__volume_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err);
int xbdev__snapshot_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err);
int xbdev__clone_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err);
int xbdev__store_plan(struct xbdev_planning *planning);
int xbdev__volume_plan(struct xbdev_planning *planning);
void xbdev__store_apply(struct xbdev_job *job);
void xbdev__store_undo(struct xbdev_job *job);
void xbdev__store_forget(struct xbdev_job *job);
void xbdev__volume_apply(struct xbdev_job *job);
void xbdev__volume_undo(struct xbdev_job *job);
void xbdev__volume_forget(struct xbdev_job *job);

#endif
