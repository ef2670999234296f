/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is to be done about a device. Three entries may meet: what the document says, what the last
 * document said of the device, and what the device is now. Where the two documents agree, what is
 * now stays, however it came about: a file that is larger than its entry says, a parameter that its
 * driver writes in another way, or one that nobody has said and the driver has chosen.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/lvol/op.h"

/* ---- one that is to go ---- */

/* What is in memory is lost with it. */
static bool is_volatile(const struct xbdev_item *now)
{
	return strcmp(json_string_value(json_object_get(now->entry, "method")), "malloc") == 0;
}

uint32_t xbdev__base_nr_openers(const struct xbdev_device *dev)
{
	const struct xu_list *node;
	uint32_t count = 0;

	xu_list_for_each (node, &dev->descs) {
		const struct xbdev_desc *desc = xu_list_entry(node, struct xbdev_desc, link);

		count += atomic_load(&desc->nr_channels) != 0 || dev->claim == desc;
	}
	return count;
}

uint32_t xbdev__base_nr_others(const struct xbdev_device *dev)
{
	return xbdev__base_nr_openers(dev) - xbdev__lvol_is_esnap(dev);
}

static int plan_to_go(struct xbdev_planning *planning)
{
	const struct xbdev_device *dev = xbdev_device_find(planning->ctx, planning->now->name);

	planning->action = XBDEV_ACTION_REMOVE;
	planning->is_final = is_volatile(planning->now);
	if (dev == NULL) {
		return 0;
	}
	return xbdev__base_nr_others(dev) <= planning->nr_users
		       ? 0
		       : xu_error_set(planning->err, -EBUSY, "it is open; close it first");
}

/* ---- one that is to be made ---- */

static int plan_to_make(struct xbdev_planning *planning, json_t *flat)
{
	int rc = 0;

	planning->action = XBDEV_ACTION_MAKE;
	if (planning->older != NULL) {
		json_t *older = xbdev__base_flat(planning->older->entry);

		rc = older != NULL ? xbdev_config_keep(flat, older) : -ENOMEM;
		json_decref(older);
	}
	planning->to = rc == 0 ? xbdev__base_entry(flat) : NULL;
	return planning->to != NULL ? 0 : -ENOMEM;
}

/* ---- one that is there ---- */

static bool is_same(const json_t *a, const json_t *b)
{
	return a == b || json_equal(a, b);
}

/* Gives `flat` what `now` has in this member. */
static int take(json_t *flat, const json_t *now, const char *key)
{
	json_t *value = json_object_get(now, key);

	if (value == NULL) {
		json_object_del(flat, key);
		return 0;
	}
	return json_object_set(flat, key, value) == 0 ? 0 : -ENOMEM;
}

/* The base by its name, as the device that is there tells it. */
static int name_base(struct xbdev_ctx *ctx, json_t *flat)
{
	const char *base = xbdev_config_base(flat);
	const struct xbdev_device *dev = base != NULL ? xbdev_device_find(ctx, base) : NULL;

	return dev == NULL || json_object_set_new(flat, "base", json_string(dev->name)) == 0
		       ? 0
		       : -ENOMEM;
}

/* Whether what is now stays in this parameter: the document says what it said before, or is silent
 * about what nobody has said. What the program made is not to be guessed at either. */
static bool stays(const struct xbdev_planning *planning, const json_t *flat, const json_t *now,
	const json_t *was, const char *key)
{
	const json_t *value = json_object_get(flat, key);

	if (was == NULL) {
		return value == NULL;
	}
	return is_same(value, json_object_get(was, key)) ||
	       (value == NULL &&
		       is_same(json_object_get(planning->chosen, key), json_object_get(now, key)));
}

/* Fills in what stays. */
static int complete(
	struct xbdev_planning *planning, json_t *flat, const json_t *now, const json_t *was)
{
	const struct xbdev_driver *driver =
		xbdev_driver_find(json_string_value(json_object_get(flat, "driver")));
	const struct xu_param *param;
	int rc = 0;

	for (param = driver->params; param->name != NULL && rc == 0; param++) {
		if (stays(planning, flat, now, was, param->name)) {
			rc = take(flat, now, param->name);
		}
	}
	if (rc == 0) {
		rc = xbdev_config_keep(flat, now);
	}
	if (rc == 0 && json_object_get(flat, "size") == NULL) {
		rc = take(flat, now, "size");
	}
	return rc == 0 ? name_base(planning->ctx, flat) : rc;
}

/* What is now and was not said, added to what was so already. */
static int note_chosen(struct xbdev_planning *planning, const json_t *now, const json_t *was)
{
	json_t *chosen, *value;
	const char *key;

	if (was == NULL) {
		return 0;
	}
	chosen = planning->chosen != NULL ? xbdev_config_copy(planning->chosen) : json_object();
	planning->ret_chosen = chosen;
	if (chosen == NULL) {
		return -ENOMEM;
	}
	json_object_foreach ((json_t *)now, key, value) {
		if (json_object_get(was, key) == NULL && json_object_set(chosen, key, value) != 0) {
			return -ENOMEM;
		}
	}
	return 0;
}

/* The first parameter in which two entries of one driver differ. */
static const char *find_difference(const json_t *flat, const json_t *now)
{
	const struct xu_param *param =
		xbdev_driver_find(json_string_value(json_object_get(flat, "driver")))->params;

	while (param->name != NULL &&
		is_same(json_object_get(flat, param->name), json_object_get(now, param->name))) {
		param++;
	}
	return param->name;
}

static void set_key(struct xbdev_planning *planning, const char *key)
{
	snprintf(planning->key, sizeof(planning->key), "%s", key);
}

/* The answer from the two complete entries. */
static int compare(struct xbdev_planning *planning, const json_t *flat, const json_t *now)
{
	const struct xbdev_device *dev = xbdev_device_find(planning->ctx, planning->now->name);
	const char *key;

	planning->action = XBDEV_ACTION_NONE;
	if (json_equal(flat, now)) {
		return 0;
	}
	key = xbdev_config_fixed(dev, now, flat);
	if (key != NULL) {
		planning->action = XBDEV_ACTION_REMAKE;
		set_key(planning, xbdev__base_spelling(flat, key));
		return 0;
	}
	planning->action = XBDEV_ACTION_CHANGE;
	set_key(planning, find_difference(flat, now));
	/* What has been written to the new part of a file must not be lost, so it stays. */
	planning->is_final = xbdev__base_makes_files(now) &&
			     !is_same(json_object_get(flat, "size"), json_object_get(now, "size"));
	planning->to = xbdev__base_entry(flat);
	return planning->to != NULL ? 0 : -ENOMEM;
}

static int plan_to_change(struct xbdev_planning *planning, json_t *flat)
{
	json_t *now = xbdev__base_flat(planning->now->entry);
	json_t *was = planning->was != NULL ? xbdev__base_flat(planning->was) : NULL;
	int rc = now == NULL || (planning->was != NULL && was == NULL) ? -ENOMEM : 0;

	if (rc == 0 && !is_same(json_object_get(flat, "driver"), json_object_get(now, "driver"))) {
		planning->action = XBDEV_ACTION_REMAKE;
		set_key(planning, "method");
	} else if (rc == 0) {
		rc = note_chosen(planning, now, was);
		rc = rc == 0 ? complete(planning, flat, now, was) : rc;
		rc = rc == 0 ? compare(planning, flat, now) : rc;
	}
	json_decref(now);
	json_decref(was);
	return rc;
}

int xbdev__base_plan(struct xbdev_planning *planning)
{
	json_t *flat;
	int rc;

	if (planning->wanted == NULL) {
		return plan_to_go(planning);
	}
	flat = xbdev__base_flat(planning->wanted->entry);
	/* A copy: what is filled in is not the document's. */
	if (flat == NULL) {
		rc = -ENOMEM;
	} else if (planning->now == NULL) {
		rc = plan_to_make(planning, flat);
	} else {
		rc = plan_to_change(planning, flat);
	}
	json_decref(flat);
	return rc == 0 ? 0 : xu_error_set_errno(planning->err, rc, "planning a device");
}
