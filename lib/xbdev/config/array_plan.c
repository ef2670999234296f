/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is to be done about an array. Its shape lies on its members and cannot be changed; what can
 * is which devices it has, who of them is write-mostly, its spare group and its priority. As with
 * other devices, what the document says in the words of the one before is left alone, so a spare
 * that was added at run time stays, and a member that was taken out is not put in again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/config/array.h"
#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/raid/raid.h"

static json_t *param_of(const json_t *entry, const char *key)
{
	return json_object_get(json_object_get(entry, "params"), key);
}

static json_t *members_of(const json_t *entry)
{
	return param_of(entry, "base_bdevs");
}

static bool is_missing(const json_t *member)
{
	return strcmp(json_string_value(member), XBDEV_MD_MISSING) == 0;
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
		if (!is_missing(member) && has(planning->ctx, now, json_string_value(member))) {
			return true;
		}
	}
	return false;
}

/*
 * A list as it is to be: that of now, with what the document has added since the one before,
 * without what that had and this one has not. Who is missing now is nothing that a document can
 * change. NULL: out of memory.
 */
static json_t *list_to_be(struct xbdev_planning *planning, const char *key)
{
	const json_t *now = param_of(planning->now->entry, key);
	const json_t *wanted = param_of(planning->wanted->entry, key);
	const json_t *was = planning->was != NULL ? param_of(planning->was, key) : NULL;
	json_t *list = json_array(), *member;
	int rc = list == NULL ? -1 : 0;
	size_t i;

	json_array_foreach ((json_t *)now, i, member) {
		const char *name = json_string_value(member);

		if (is_missing(member) || has(planning->ctx, wanted, name) ||
			!has(planning->ctx, was, name)) {
			rc |= json_array_append(list, member);
		}
	}
	json_array_foreach ((json_t *)wanted, i, member) {
		const char *name = json_string_value(member);

		if (!is_missing(member) && !has(planning->ctx, now, name) &&
			!has(planning->ctx, was, name)) {
			rc |= json_array_append(list, member);
		}
	}
	if (rc != 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static int note_change(struct xbdev_planning *planning, const char *key, json_t *value)
{
	if (planning->action == XBDEV_ACTION_NONE) {
		planning->action = XBDEV_ACTION_CHANGE;
		snprintf(planning->key, sizeof(planning->key), "%s", key);
		planning->to = xbdev_config_copy(planning->now->entry);
	}
	if (planning->to == NULL) {
		return -ENOMEM;
	}
	if (value == NULL) {
		json_object_del(json_object_get(planning->to, "params"), key);
		return 0;
	}
	return json_object_set(json_object_get(planning->to, "params"), key, value) == 0 ? 0
											 : -ENOMEM;
}

static int plan_list(struct xbdev_planning *planning, const char *key)
{
	const json_t *now = param_of(planning->now->entry, key);
	json_t *list = list_to_be(planning, key);
	int rc = 0;

	if (list == NULL) {
		return -ENOMEM;
	}
	/* A list that is not there is an empty one, which has to be said to those who had some. */
	if (now != NULL ? !json_equal(list, now) : json_array_size(list) != 0) {
		rc = note_change(planning, key, list);
	}
	json_decref(list);
	return rc;
}

/* What the document before said in the same words stays as it is. */
static int plan_value(struct xbdev_planning *planning, const char *key)
{
	json_t *wanted = param_of(planning->wanted->entry, key);
	const json_t *was = planning->was != NULL ? param_of(planning->was, key) : NULL;
	const json_t *now = param_of(planning->now->entry, key);

	return json_equal(wanted, was) || wanted == was || json_equal(wanted, now) || wanted == now
		       ? 0
		       : note_change(planning, key, wanted);
}

static int plan_changes(struct xbdev_planning *planning)
{
	int rc;

	planning->action = XBDEV_ACTION_NONE;
	rc = plan_list(planning, "base_bdevs");
	/* What a spare has taken over cannot be taken back. */
	planning->is_final = planning->action != XBDEV_ACTION_NONE;
	if (rc == 0) {
		rc = plan_list(planning, "write_mostly");
	}
	if (rc == 0) {
		rc = plan_value(planning, "spare_group");
	}
	return rc == 0 ? plan_value(planning, "priority") : rc;
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
		return plan_changes(planning);
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
