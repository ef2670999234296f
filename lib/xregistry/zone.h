/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zoning: which hosts see which targets in the discovery log. A zone names hosts and targets that
 * see each other; zones are in zone groups. Groups are edited in the configured database, and take
 * effect when they are activated, by a copy into the active database; so an edit is seen by no host
 * before that. As with Fibre Channel, a host and a target see each other when an active zone has
 * both, or, when none has either of them, if the default policy allows it. Without an active group
 * everybody sees everything.
 *
 * Zones are a document of the store, so all registries that share its data have the same.
 *
 * Any thread. Changes block until they are durable.
 */
#ifndef LIB_XREGISTRY_ZONE_H
#define LIB_XREGISTRY_ZONE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/store.h"

struct xreg_zones;
struct xu_error;

#define XREG_ZONE_GROUPS_MAX  64u
#define XREG_ZONES_MAX        1024u /* of a group */
#define XREG_ZONE_MEMBERS_MAX 4096u /* hosts, or targets, of a zone */

/* Reads what is in `store`, nothing at first. Versions before had a file in `dir`: what is in it is
 * taken over, and it is renamed. `changed` (may be NULL) is called after each change of what hosts
 * see, on the thread that made it. */
int xreg_zones_open(struct xreg_store *store, const char *dir, void (*changed)(void *arg),
	void *arg, struct xreg_zones **ret_zones, struct xu_error *err);
/* From now on, also takes over what other registries change, and calls `changed` on the store's
 * writer, where it must not wait. */
void xreg_zones_follow(struct xreg_zones *zones);
void xreg_zones_unfollow(struct xreg_zones *zones);
/* Before the store is closed. NULL is fine. */
void xreg_zones_close(struct xreg_zones *zones);

/* Quick; for the discovery log. */
bool xreg_zones_may_see(
	struct xreg_zones *zones, const char *hostnqn, const struct xreg_target *target);

/* What a host sees of many targets, without being asked for each. */
enum xreg_sees {
	XREG_SEES_ALL,
	XREG_SEES_LISTED, /* those that were visited, and no others */
	XREG_SEES_SOME,   /* ask for each */
};

/* Visits the targets of a view that a host sees by its zones, in any order, some more than once.
 * `fn` returns whether to go on. */
enum xreg_sees xreg_zones_each_seen(struct xreg_zones *zones, const char *hostnqn,
	const struct xreg_view *view, xreg_each_fn fn, void *arg);

/*
 * Everything: {"revision", "default_policy", "groups": [GROUP…], "active": [GROUP…]}, where a GROUP
 * is
 * {"name", "zones": [{"name", "hosts": [NQN…], "targets": [NQN or "node:ID" or "tag:TAG"…]}…]}.
 * New reference; NULL: no memory.
 */
json_t *xreg_zones_json(struct xreg_zones *zones);
/* A configured group. New reference; NULL: there is none. */
json_t *xreg_zones_group(struct xreg_zones *zones, const char *name);

/*
 * Changes. `if_revision` 0: whatever there is, else -ESTALE when it is another. -EINVAL with a
 * sentence, -ENOENT, -EDQUOT, -EBUSY: the group is active; -ENOSPC, -EIO: nothing has changed.
 * `group` is borrowed; its name may be left out.
 */
int xreg_zones_put_group(struct xreg_zones *zones, const char *name, json_t *group,
	uint64_t if_revision, struct xu_error *err);
int xreg_zones_delete_group(
	struct xreg_zones *zones, const char *name, uint64_t if_revision, struct xu_error *err);
/* Copies the configured group into the active database, or takes it out of that. */
int xreg_zones_activate(struct xreg_zones *zones, const char *name, bool is_active,
	uint64_t if_revision, struct xu_error *err);
/* "allow" or "deny". */
int xreg_zones_set_policy(
	struct xreg_zones *zones, const char *policy, uint64_t if_revision, struct xu_error *err);

uint64_t xreg_zones_revision(struct xreg_zones *zones);

#endif
