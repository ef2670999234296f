/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making and removing devices from code. Each call is an entry as a configuration file has it, so
 * it is checked by the same tables and explained in the same words.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/lvol/op.h"

#define REMOVE_WAIT_NS (10 * XU_NS_PER_S)

/* ---- making ---- */

struct create_call {
	struct api_call call;
	json_t *entry;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct create_call *create = arg;

	if (dev == NULL) {
		create->call.err = *err;
	}
	api_call_done(&create->call, dev == NULL ? err->code : 0);
}

static void on_create(struct api_call *call)
{
	struct create_call *create = xu_container_of(call, struct create_call, call);
	char path[XU_PARAM_PATH_SIZE];
	int rc = xbdev_config_check_device(create->entry, path, &call->err);

	if (rc != 0) {
		if (path[0] != '\0') {
			xu_error_prefix(&call->err, "%s", path);
		}
		api_call_done(call, rc);
		return;
	}
	xbdev_config_create(api_lib.ctx, create->entry, on_created, create);
}

/* Takes the entry. */
static int create(json_t *entry)
{
	struct create_call call = {.entry = entry};
	struct api_thread *thread;
	int rc;

	if (entry == NULL) {
		return api_fail(-ENOMEM, "making a device: out of memory, or its name is no UTF-8");
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &call.call, on_create);
		api_leave(thread);
	}
	json_decref(entry);
	return rc;
}

int xbdev_config_aio(const char *filename, const char *name)
{
	if (filename == NULL || name == NULL) {
		return api_fail(-EINVAL, "xbdev_config_aio: filename or name is NULL");
	}
	return create(
		json_pack("{s:s, s:s, s:s}", "driver", "file", "name", name, "filename", filename));
}

int xbdev_config_nvmf(const char *addr, int port, const char *nqn, const char *name)
{
	if (addr == NULL || nqn == NULL || name == NULL) {
		return api_fail(-EINVAL, "xbdev_config_nvmf: addr, nqn or name is NULL");
	}
	return create(json_pack("{s:s, s:s, s:s, s:i, s:s}", "driver", "nvmf", "name", name,
		"traddr", addr, "port", port, "subnqn", nqn));
}

static int create_sized(const char *driver, uint64_t size_mb, uint32_t block_size, const char *name)
{
	if (name == NULL || size_mb == 0 || size_mb > INT64_MAX >> 20) {
		return api_fail(-EINVAL, "%s device: %s", driver,
			name == NULL ? "the name is NULL" : "the size is 0 or too large");
	}
	return create(json_pack("{s:s, s:s, s:I, s:i}", "driver", driver, "name", name, "size",
		(json_int_t)(size_mb << 20), "block_size", (int)block_size));
}

int xbdev_config_malloc(uint64_t size_mb, uint32_t block_size, const char *name)
{
	return create_sized("malloc", size_mb, block_size, name);
}

int xbdev_config_null(uint64_t size_mb, uint32_t block_size, const char *name)
{
	return create_sized("null", size_mb, block_size, name);
}

int xbdev_config_nvme(const char *pci_addr, const char *name)
{
	if (pci_addr == NULL || name == NULL) {
		return api_fail(-EINVAL, "xbdev_config_nvme: the PCI address or the name is NULL");
	}
	return create(
		json_pack("{s:s, s:s, s:s}", "driver", "nvme", "name", name, "pci_addr", pci_addr));
}

int xbdev_config_rbd(const char *pool_name, const char *image_name, const char *name)
{
	if (pool_name == NULL || image_name == NULL || name == NULL) {
		return api_fail(-EINVAL, "xbdev_config_rbd: an argument is NULL");
	}
	return create(json_pack("{s:s, s:s, s:s, s:s}", "driver", "rbd", "name", name, "pool_name",
		pool_name, "image_name", image_name));
}

int xbdev_config_device(const char *json)
{
	json_error_t error;
	json_t *entry;

	if (json == NULL) {
		return api_fail(-EINVAL, "xbdev_config_device: the text is NULL");
	}
	entry = json_loads(json, JSON_REJECT_DUPLICATES, &error);
	if (entry == NULL) {
		return api_fail(
			-EINVAL, "line %d, column %d: %s", error.line, error.column, error.text);
	}
	return create(entry);
}

/* ---- removing ---- */

/* Outlives its caller when the device takes too long. */
struct removal {
	struct api_call *call; /* NULL: it has given up */
	struct xr_timer timer;
};

struct remove_call {
	struct api_call call;
	const char *name;
};

static void on_removed(void *arg)
{
	struct removal *removal = arg;

	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &removal->timer);
	if (removal->call != NULL) {
		api_call_done(removal->call, 0);
	}
	free(removal);
}

static void on_removal_timer(struct xr_timer *timer)
{
	struct removal *removal = xu_container_of(timer, struct removal, timer);

	xu_error_set(&removal->call->err, -EBUSY,
		"the device does not give back I/O that it has; it goes when it does");
	api_call_done(removal->call, -EBUSY);
	removal->call = NULL;
}

void api_device_remove(struct api_call *call, const char *name)
{
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, name);
	struct removal *removal;
	int rc;

	if (dev == NULL || dev->claim != NULL) {
		rc = dev == NULL ? -ENODEV : -EBUSY;
		xu_error_set(&call->err, rc,
			dev == NULL ? "there is no device named '%s'%s"
				    : "device '%s' is in use by %s; remove that first",
			name, dev == NULL ? "" : dev->claim_by);
		api_call_done(call, rc);
		return;
	}
	removal = calloc(1, sizeof(*removal));
	if (removal == NULL) {
		api_call_done(call, -ENOMEM);
		return;
	}
	removal->call = call;
	removal->timer.fn = on_removal_timer;
	rc = xbdev_device_remove(dev, on_removed, removal);
	if (rc != 0) {
		free(removal);
		xu_error_set(&call->err, rc, "device '%s' is being removed already", name);
		api_call_done(call, rc);
		return;
	}
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &removal->timer, REMOVE_WAIT_NS);
}

static void on_remove(struct api_call *call)
{
	const char *name = xu_container_of(call, struct remove_call, call)->name;

	if (xbdev__lvol_find(api_lib.ctx, name) != NULL) {
		xu_error_set(&call->err, -EINVAL,
			"'%s' is a logical volume and lies in its store; xbdev_lvol_destroy() ends "
			"it for good, xbdev_lvs_unload() gives the store up",
			name);
		api_call_done(call, -EINVAL);
	} else {
		api_device_remove(call, name);
	}
}

int xbdev_config_remove(const char *name)
{
	struct remove_call remove = {.name = name};
	struct api_thread *thread;
	int rc;

	if (name == NULL) {
		return api_fail(-EINVAL, "xbdev_config_remove: the name is NULL");
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &remove.call, on_remove);
		api_leave(thread);
	}
	return rc;
}
