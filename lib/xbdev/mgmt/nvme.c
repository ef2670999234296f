/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SPDK's bdev_nvme_… methods over the drivers `nvmf` (NVMe/TCP) and `nvme` (a local controller). A
 * device of ours is one namespace; it is named as SPDK names it, the controller's name and "n1" for
 * namespace 1. Parameters go to the driver by the names that it knows, SPDK's among them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/mgmt.h"

static bool is_nvme(const struct xbdev_device *dev)
{
	return strcmp(dev->driver, "nvmf") == 0 || strcmp(dev->driver, "nvme") == 0;
}

/* Whether `dev` is a namespace of the controller `name`: "Nvme0n1" is one of "Nvme0". */
static bool belongs_to(const struct xbdev_device *dev, const char *name)
{
	size_t len = strlen(name);
	const char *rest;

	if (!is_nvme(dev) || strncmp(dev->name, name, len) != 0 || dev->name[len] != 'n') {
		return false;
	}
	rest = dev->name + len + 1;
	return *rest != '\0' && strspn(rest, "0123456789") == strlen(rest);
}

static struct xbdev_device *next_of(
	struct xbdev_mgmt *mgmt, struct xbdev_device *dev, const char *name)
{
	while ((dev = xbdev_device_next(mgmt->ctx, dev)) != NULL) {
		if (name != NULL ? belongs_to(dev, name) : is_nvme(dev)) {
			return dev;
		}
	}
	return NULL;
}

/* ---- attaching ---- */

/* What SPDK's client says always, and a driver would not know. */
static const struct {
	const char *name, *why;
} offs[] = {
	{"prchk_reftag", "there is no protection information here"},
	{"prchk_guard", "there is no protection information here"},
	{"allow_unrecognized_csi", "there is no passthrough here"},
	{"multipath_opts", "a device has one path"},
};

#define NR_OFFS (sizeof(offs) / sizeof(offs[0]))

static bool is_off(const char *key)
{
	for (size_t i = 0; i < NR_OFFS; i++) {
		if (strcmp(offs[i].name, key) == 0) {
			return true;
		}
	}
	return false;
}

/* False: one of them is on, and the request has been answered. */
static bool check_offs(struct xrpc_request *req, json_t *params)
{
	for (size_t i = 0; i < NR_OFFS; i++) {
		json_t *value = json_object_get(params, offs[i].name);

		/* Groups of options come empty. */
		if (value != NULL && !json_is_false(value) &&
			!(json_is_object(value) && json_object_size(value) == 0)) {
			xrpc_error(req, XRPC_INVALID_PARAMS,
				"%s: only false, or an empty object, is possible: %s", offs[i].name,
				offs[i].why);
			return false;
		}
	}
	return true;
}

/* SPDK's name of a member, and the driver's; NULL: it says nothing that a driver wants to know. */
static const char *member_of(const char *key, bool is_local)
{
	if (strcmp(key, "num_io_queues") == 0) {
		return "nr_io_queues";
	}
	if (is_local && strcmp(key, "traddr") == 0) {
		return "pci_addr";
	}
	if (strcmp(key, "adrfam") == 0 || strcmp(key, "trtype") == 0 || strcmp(key, "name") == 0 ||
		is_off(key)) {
		return NULL;
	}
	return key;
}

static json_t *entry_of(struct xrpc_request *req, json_t *params, bool is_local)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	json_t *nsid = json_object_get(params, "nsid"), *value;
	json_t *entry = json_pack("{s:s, s:o}", "driver", is_local ? "nvme" : "nvmf", "name",
		json_sprintf(
			"%sn%lld", name, json_is_integer(nsid) ? json_integer_value(nsid) : 1));
	const char *key;

	json_object_foreach (params, key, value) {
		const char *ours = member_of(key, is_local);

		if (ours != NULL && json_object_set(entry, ours, value) != 0) {
			xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
			json_decref(entry);
			return NULL;
		}
	}
	return entry;
}

static void attach(struct xrpc_request *req, void *arg, const void *opts)
{
	json_t *params = xrpc_request_params(req), *entry, *result;
	const char *trtype, *name;

	(void)opts;
	trtype = json_string_value(json_object_get(params, "trtype"));
	name = json_string_value(json_object_get(params, "name"));
	if (name == NULL || trtype == NULL) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"'name' and 'trtype' are needed: a text for the controller, and \"TCP\" or "
			"\"PCIe\"");
		return;
	}
	if (strcasecmp(trtype, "tcp") != 0 && strcasecmp(trtype, "pcie") != 0) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"trtype: \"%.32s\" is not accepted; it takes \"TCP\" or \"PCIe\"", trtype);
		return;
	}
	if (!check_offs(req, params)) {
		return;
	}
	entry = entry_of(req, params, strcasecmp(trtype, "pcie") == 0);
	if (entry != NULL) {
		result = json_pack("[O]", json_object_get(entry, "name"));
		xbdev_mgmt_create(arg, req, entry, result);
	}
}

/* ---- detaching and listing ---- */

struct name_opts {
	const char *name;
};

static const struct xu_param name_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name of the controller"},
	{0},
};

static const struct xu_param get_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name),
		.help = "name of one controller (default: all)"},
	{0},
};

static void detach(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = next_of(mgmt, NULL, opts->name);

	if (dev == NULL) {
		xrpc_error(req, -ENODEV,
			"there is no controller '%.128s'; bdev_nvme_get_controllers lists them",
			opts->name);
		return;
	}
	mgmt->remove(mgmt, dev->name, xbdev_mgmt_answer, req);
}

static json_t *controller_json(const struct xbdev_device *dev)
{
	json_t *config = dev->ops->config(dev);
	json_t *info = dev->ops->info != NULL ? dev->ops->info(dev) : json_object();
	const char *const members[] = {"traddr", "subnqn", "pci_addr"};
	bool is_local = strcmp(dev->driver, "nvme") == 0;
	json_t *trid = json_pack("{s:s}", "trtype", is_local ? "PCIe" : "TCP"), *result;
	size_t len = strlen(dev->name);

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *value = json_object_get(config, members[i]);

		if (value != NULL) {
			json_object_set(trid, i == 2 ? "traddr" : members[i], value);
		}
	}
	if (!is_local) {
		const char *traddr = json_string_value(json_object_get(config, "traddr"));

		json_object_set_new(trid, "adrfam",
			json_string(
				traddr != NULL && strchr(traddr, ':') != NULL ? "IPv6" : "IPv4"));
		json_object_set_new(trid, "trsvcid",
			json_sprintf("%lld", json_integer_value(json_object_get(config, "port"))));
	}
	while (len > 0 && dev->name[len - 1] != 'n') {
		len--;
	}
	result = json_pack("{s:s%, s:[{s:o, s:o}]}", "name", dev->name, len > 0 ? len - 1 : 0,
		"ctrlrs", "trid", trid, "driver_specific", info);
	json_decref(config);
	return result;
}

static void get_controllers(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_device *dev = NULL;
	json_t *list = json_array();

	while ((dev = next_of(arg, dev, opts->name)) != NULL) {
		json_array_append_new(list, controller_json(dev));
	}
	if (opts->name != NULL && json_array_size(list) == 0) {
		json_decref(list);
		xrpc_error(req, -ENODEV, "there is no controller '%.128s'", opts->name);
		return;
	}
	xrpc_result(req, list);
}

const struct xrpc_method xbdev_mgmt_nvme_methods[] = {
	{"bdev_nvme_attach_controller",
		"Makes a device of a namespace behind an NVMe controller, over TCP or PCIe.",
		.is_raw = true, .fn = attach},
	{"bdev_nvme_detach_controller", "Removes the device of an NVMe controller.", name_params,
		sizeof(struct name_opts), .fn = detach},
	{"bdev_nvme_get_controllers", "Lists NVMe controllers.", get_params,
		sizeof(struct name_opts), .fn = get_controllers},
	{0},
};
