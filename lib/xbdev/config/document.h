/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration document of libxbdev: a JSON object with a list for each section (section.h),
 *
 *	{ "base_devices": [{"method": "aio", "params": {"name": "aio0", "filename": "/srv/a"}}],
 *	  "raid_devices": [{"method": "raid1", "params": {"name": "md0", "base_bdevs": […]}}],
 *	  "lvol_stores":  [{"name": "lvs0", "base_bdev": "md0", "cluster_size": 4194304}],
 *	  "lvol_volumes": [{"name": "data", "lvs_name": "lvs0", "size_mb": 1024}],
 *	  "snapshots":    [{"name": "snap", "source_vol": "lvs0/data"}],
 *	  "clones":       [{"name": "copy", "source_snap": "lvs0/snap"}] }
 *
 * which becomes a list of items that know what they need. Checking it touches nothing. Keys that
 * begin with "_" are comments, everywhere.
 */
#ifndef XBDEV_CONFIG_DOCUMENT_H
#define XBDEV_CONFIG_DOCUMENT_H

#include "lib/xbdev/config/section.h"

#define XBDEV_DOCUMENT_MAX_ITEMS   4096u
#define XBDEV_DOCUMENT_MAX_NESTING 16u   /* of JSON values */
#define XBDEV_DOCUMENT_MAX_USES    1920u /* of one entry: the members of an MD array */

struct xbdev_document {
	const struct xbdev_section *const *sections;
	struct xbdev_item *items; /* in the order of the document */
	size_t nr_items;
	json_t *names[XBDEV_NR_SPACES]; /* names and UUIDs: indexes of items */
	uint32_t nr_levels;
	bool is_now; /* what there is, not what is to be */
};

/*
 * Checks a document as a whole: the shape of each entry, that names, UUIDs and files are used once,
 * that what only one may use has one user, that nothing stands on itself or more than
 * XBDEV_CONFIG_MAX_DEPTH deep. A use of what is not in the document is left to whoever knows what
 * else there is. -EINVAL, -EBUSY (used twice), -ENOMEM, with a sentence and the culprit's path. On
 * the control reactor, or while nobody adds drivers.
 */
int xbdev_document_new(const struct xbdev_section *const *sections, json_t *root,
	struct xbdev_document **ret_doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err);
void xbdev_document_free(struct xbdev_document *doc); /* NULL is fine */

/* Whether this version can make all of it: -EOPNOTSUPP with a sentence and a path. */
int xbdev_document_can(
	const struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err);

/* What there is now, as a document; every device that can be described is in it. */
int xbdev_document_now(const struct xbdev_section *const *sections, struct xbdev_ctx *ctx,
	struct xbdev_document **ret_doc, struct xu_error *err);

/* In the form in which it is written; NULL: out of memory. */
json_t *xbdev_document_json(const struct xbdev_document *doc);

/* By name or UUID; NULL: there is none. */
struct xbdev_item *xbdev_document_find(
	const struct xbdev_document *doc, enum xbdev_space space, const char *name_or_uuid);

/* For xbdev_document_new(): checks the names and uses of the items, and finds their levels. */
int xbdev__document_link(
	struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err);

/* The path of an item, or of one of its members (or "method"), or of what it uses. */
void xbdev_item_path(
	const struct xbdev_item *item, const char *member, char path[XBDEV_TEXT_PATH_SIZE]);
void xbdev_use_path(const struct xbdev_item *item, const struct xbdev_use *use,
	char path[XBDEV_TEXT_PATH_SIZE]);

#endif
