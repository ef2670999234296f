/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody has said of a store: how long writes wait for space, and at which thresholds it is
 * told that space is scarce. It is an attribute of the store's own blob, which SPDK keeps as it is,
 * so it is so again wherever the store is attached next; a store with the defaults has none.
 *
 *   control   checks it
 *   owner     the attribute, durably; then it holds
 *   control   tells the caller
 *
 * An attribute that cannot be understood is as none.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/lvol/stores_private.h"

#define NAME       "xsan.space" /* "wait_ms low high", decimal */
#define VALUE_SIZE 40u

struct setting {
	struct xr_msg msg;
	struct xbdev_lvs_waiter waiter;
	struct xbdev_lvol_store *store;
	struct xbdev_lvol_settings settings;
	char old[VALUE_SIZE]; /* value; "": there was none */
	struct xu_error err;
	xbdev_lvol_done_fn done;
	void *arg;
};

static const struct xbdev_lvol_settings defaults = XBDEV_LVOL_SETTINGS_DEFAULT;

/* ---- control, the end ---- */

static void on_end(struct xr_msg *msg)
{
	struct setting *setting = xu_container_of(msg, struct setting, msg);

	setting->done(setting->arg, &setting->err);
	free(setting);
}

static void on_set(struct xr_msg *msg)
{
	struct setting *setting = xu_container_of(msg, struct setting, msg);
	struct xbdev_lvol_store *store = setting->store;

	store->is_changing = false;
	xbdev__lvol_store_settle(store);
	on_end(msg);
}

/* ---- owner ---- */

static void go_home(struct setting *setting)
{
	setting->msg.fn = on_set;
	xr_msg_send(xbdev_ctx_control(setting->store->ctx), &setting->msg);
}

/* "" takes the attribute away. */
static int set_value(struct xbdev_lvs_blob *blob, const char *value, struct xu_error *err)
{
	int rc = 0;

	if (value[0] == '\0') {
		xbdev__lvs_xattr_remove(blob, false, NAME);
	} else {
		rc = xbdev__lvs_xattr_set(blob, false, NAME, (uint16_t)strlen(NAME), value,
			(uint16_t)(strlen(value) + 1));
	}
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "noting the settings of a store");
	}
	rc = xbdev__lvs_blob_derive(blob, err);
	return rc == 0 ? xbdev__lvs_blob_touch(blob, err) : rc;
}

static void on_written(struct xbdev_lvs_waiter *waiter, int status)
{
	struct setting *setting = xu_container_of(waiter, struct setting, waiter);
	struct xbdev_lvol_store *store = setting->store;
	struct xu_error ignored;

	if (status == 0) {
		xbdev__lvol_space_set(store, &setting->settings);
	} else {
		xu_error_set_errno(&setting->err, status, "noting the settings of store '%s'",
			store->lvs->name);
		/* The next commit writes the old ones, wherever this one got to. */
		(void)set_value(store->lvs->super_blob, setting->old, &ignored);
	}
	go_home(setting);
}

static void on_begin(struct xr_msg *msg)
{
	struct setting *setting = xu_container_of(msg, struct setting, msg);
	struct xbdev_lvs *lvs = setting->store->lvs;
	const struct xbdev_lvs_xattr *xattr = xbdev__lvs_xattr_get(lvs->super_blob, false, NAME);
	const struct xbdev_lvol_settings *settings = &setting->settings;
	char value[VALUE_SIZE] = "";

	if (xattr != NULL) {
		snprintf(setting->old, sizeof(setting->old), "%s", xbdev__lvs_xattr_value(xattr));
	}
	if (memcmp(settings, &defaults, sizeof(defaults)) != 0) {
		snprintf(value, sizeof(value), "%" PRIu32 " %" PRIu32 " %" PRIu32,
			settings->space_wait_ms, settings->percents[0], settings->percents[1]);
	}
	if (strcmp(value, setting->old) == 0) {
		go_home(setting);
	} else if (set_value(lvs->super_blob, value, &setting->err) != 0) {
		go_home(setting);
	} else {
		setting->waiter.fn = on_written;
		xbdev__lvs_commit(lvs, &setting->waiter);
	}
}

void xbdev__lvol_settings_load(
	const struct xbdev_lvs_blob *super_blob, struct xbdev_lvol_settings *ret)
{
	const struct xbdev_lvs_xattr *xattr = xbdev__lvs_xattr_get(super_blob, false, NAME);
	struct xbdev_lvol_settings settings;
	struct xu_error ignored;

	*ret = defaults;
	if (xattr != NULL &&
		sscanf(xbdev__lvs_xattr_value(xattr), "%8" SCNu32 " %3" SCNu32 " %3" SCNu32,
			&settings.space_wait_ms, &settings.percents[0],
			&settings.percents[1]) == 3 &&
		xbdev__lvol_settings_check(&settings, &ignored) == 0) {
		*ret = settings;
	}
}

/* ---- control ---- */

int xbdev__lvol_settings_check(const struct xbdev_lvol_settings *settings, struct xu_error *err)
{
	uint32_t low = settings->percents[0], high = settings->percents[1];

	if (settings->space_wait_ms > XBDEV_LVOL_SPACE_WAIT_MAX_MS) {
		return xu_error_set(err, -EINVAL,
			"a write that waits %" PRIu32 " ms for space waits too long; %u are "
			"possible",
			settings->space_wait_ms, XBDEV_LVOL_SPACE_WAIT_MAX_MS);
	}
	if (low > 100 || high > 100 || (low >= high && high != 0) || (low != 0 && high == 0)) {
		return xu_error_set(err, -EINVAL,
			"thresholds of %" PRIu32 " and %" PRIu32 " percent cannot be; the first is "
			"below the second, and neither is above 100 (0 and 0: none is told)",
			low, high);
	}
	return 0;
}

void xbdev__lvol_store_settings(
	const struct xbdev_lvol_store *store, struct xbdev_lvol_settings *ret)
{
	ret->space_wait_ms = atomic_load_explicit(&store->space.wait_ms, memory_order_relaxed);
	for (uint32_t i = 0; i < 2; i++) {
		ret->percents[i] =
			atomic_load_explicit(&store->space.percents[i], memory_order_relaxed);
	}
}

void xbdev__lvol_store_set(struct xbdev_lvol_store *store,
	const struct xbdev_lvol_settings *settings, xbdev_lvol_done_fn done, void *arg)
{
	struct setting *setting = calloc(1, sizeof(*setting));
	struct xu_error err;

	if (setting == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "noting the settings of store '%s'", store->name);
		done(arg, &err);
		return;
	}
	setting->store = store;
	setting->settings = *settings;
	setting->done = done;
	setting->arg = arg;
	if (xbdev__lvol_settings_check(settings, &setting->err) != 0 ||
		xbdev__lvol_store_check_changeable(store, &setting->err) != 0) {
		setting->msg.fn = on_end;
		xr_msg_defer(xbdev_ctx_control(store->ctx), &setting->msg);
		return;
	}
	store->is_changing = true;
	setting->msg.fn = on_begin;
	xr_msg_send(store->reactor, &setting->msg);
}
