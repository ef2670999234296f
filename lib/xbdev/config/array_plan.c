/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is to be done about an array. Its shape lies on its members and cannot be changed; what can
 * is which devices it has. As with other devices, what the document says in the words of the one
 * before is left alone, so a spare that was added at run time stays, and a member that was taken
 * out is not put in again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/config/array.h"
#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"

static json_t *members_of(const json_t *entry)
{
	return json_object_get(json_object_get(entry, "params"), "base_bdevs");
}

/* Whether the list has what is called so, by its name or its UUID. */
static bool has(struct xbdev_ctx *ctx, const json_t *members, const char *name)
{
	const struct xbdev_device *dev = xbdev_device_find(ctx, name);
	json_t *member;
	size_t i;

	json_array_foreach ((json_t *)members, i, member) {
		const char *other = json_string_value(member);

		if (strcmp(other, name) == 0 ||
			(dev != NULL && xbdev_device_find(ctx, other) == dev)) {
			return true;
		}
	}
	return false;
}

/* ---- one that is to go ---- */

static int plan_to_go(struct xbdev_planning *planning)
{
	const struct xbdev_device *dev = xbdev_device_find(planning->ctx, planning->now->name);

	planning->action = XBDEV_ACTION_REMOVE;
	return dev == NULL || xbdev__base_nr_others(dev) <= planning->nr_users
		       ? 0
		       : xu_error_set(planning->err, -EBUSY, "it is open; close it first");
}

/* ---- one that is there ---- */

/* The first word about its shape that is not what is now; NULL: there is none. */
static const char *find_difference(const json_t *wanted, const json_t *now)
{
	static const char *const keys[] = {"uuid", "strip_size_kb", "layout", "raid_disks"};
	const json_t *to = json_object_get(wanted, "params"),
		     *from = json_object_get(now, "params");

	if (!json_equal(json_object_get(wanted, "method"), json_object_get(now, "method"))) {
		return "method";
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *value = json_object_get(to, keys[i]);
		const json_t *is = json_object_get(from, keys[i]);

		/* What is left out of `now` is the default, or as many as are named. */
		if (value != NULL && is != NULL && !json_equal(value, is)) {
			return keys[i];
		}
	}
	return NULL;
}

static bool has_common_member(struct xbdev_planning *planning)
{
	const json_t *now = members_of(planning->now->entry);
	json_t *member;
	size_t i;

	json_array_foreach (members_of(planning->wanted->entry), i, member) {
		if (has(planning->ctx, now, json_string_value(member))) {
			return true;
		}
	}
	return false;
}

/* The members that it is to have: those of now, with what the document has added since the one
 * before, without what that had and this one has not. NULL: out of memory. */
static json_t *members_to_be(struct xbdev_planning *planning)
{
	const json_t *now = members_of(planning->now->entry);
	const json_t *wanted = members_of(planning->wanted->entry);
	const json_t *was = planning->was != NULL ? members_of(planning->was) : NULL;
	json_t *members = json_array(), *member;
	int rc = members == NULL ? -1 : 0;
	size_t i;

	json_array_foreach ((json_t *)now, i, member) {
		const char *name = json_string_value(member);

		if (has(planning->ctx, wanted, name) || !has(planning->ctx, was, name)) {
			rc |= json_array_append(members, member);
		}
	}
	json_array_foreach ((json_t *)wanted, i, member) {
		const char *name = json_string_value(member);

		if (!has(planning->ctx, now, name) && !has(planning->ctx, was, name)) {
			rc |= json_array_append(members, member);
		}
	}
	if (rc != 0) {
		json_decref(members);
		return NULL;
	}
	return members;
}

static int plan_members(struct xbdev_planning *planning)
{
	json_t *members = members_to_be(planning);
	int rc = 0;

	if (members == NULL) {
		return -ENOMEM;
	}
	planning->action = XBDEV_ACTION_NONE;
	if (!json_equal(members, members_of(planning->now->entry))) {
		planning->action = XBDEV_ACTION_CHANGE;
		snprintf(planning->key, sizeof(planning->key), "base_bdevs");
		planning->is_final = true; /* what a spare has taken over cannot be taken back */
		planning->to = xbdev_config_copy(planning->now->entry);
		rc = planning->to == NULL ||
				     json_object_set(json_object_get(planning->to, "params"),
					     "base_bdevs", members) != 0
			     ? -ENOMEM
			     : 0;
	}
	json_decref(members);
	return rc;
}

static int plan_to_change(struct xbdev_planning *planning)
{
	const json_t *wanted = planning->wanted->entry, *now = planning->now->entry;
	const char *key;

	if (json_equal(wanted, planning->was) || json_equal(wanted, now)) {
		planning->action = XBDEV_ACTION_NONE;
		return 0;
	}
	key = find_difference(wanted, now);
	if (key == NULL && has_common_member(planning)) {
		return plan_members(planning);
	}
	snprintf(planning->key, sizeof(planning->key), "%s", key != NULL ? key : "base_bdevs");
	if (!has_common_member(planning)) {
		planning->action = XBDEV_ACTION_REMAKE; /* another array of that name */
		return 0;
	}
	return xu_error_set(planning->err, -EOPNOTSUPP,
		"array '%.128s' is on its members already and is different in this; arrays are not "
		"reshaped: erase it, or use other members",
		planning->now->name);
}

int xbdev__array_plan(struct xbdev_planning *planning)
{
	int rc;

	if (planning->wanted == NULL) {
		return plan_to_go(planning);
	}
	if (planning->now != NULL) {
		rc = plan_to_change(planning);
	} else {
		planning->action = XBDEV_ACTION_MAKE;
		planning->to = xbdev_config_copy(planning->wanted->entry);
		rc = planning->to != NULL ? 0 : -ENOMEM;
	}
	return rc != -ENOMEM ? rc : xu_error_set_errno(planning->err, rc, "planning an array");
}
