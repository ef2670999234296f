/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration as SPDK's clients save it: for each subsystem ("bdev", "nvmf") the list of the
 * method calls that would make it. What cannot be said in SPDK's parameters is said in ours, of the
 * same methods, so that the list can be played back here.
 */
#include <errno.h>
#include <string.h>

#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xnvmf/target/target.h"

static void get_subsystems(struct xrpc_request *req, void *arg, const void *opts)
{
	(void)arg;
	(void)opts;
	xrpc_result(req, json_pack("[{s:s, s:[]}, {s:s, s:[s]}]", "subsystem", "bdev", "depends_on",
				 "subsystem", "nvmf", "depends_on", "bdev"));
}

/* The list under construction. */
struct calls {
	json_t *list;
	json_t *made; /* names of the devices so far */
	bool is_out_of_memory;
};

/* Adds a call; takes the parameters. */
static void add_call(struct calls *calls, const char *method, json_t *params)
{
	json_t *call =
		params != NULL ? json_pack("{s:s, s:o}", "method", method, "params", params) : NULL;

	if (json_array_append_new(calls->list, call) != 0) {
		calls->is_out_of_memory = true;
	}
}

/* ---- bdev ---- */

/* Whether all that the device of the entry stands on has been made by the calls so far. */
static bool has_bases(const struct calls *calls, const json_t *model, const json_t *entry)
{
	for (size_t nth = 0; nth < xbdev_config_nr_bases(entry); nth++) {
		const json_t *below = model_find_device(model, xbdev_config_base_at(entry, nth));
		const char *name = json_string_value(json_object_get(below, "name"));

		if (name == NULL || json_object_get(calls->made, name) == NULL) {
			return false;
		}
	}
	return true;
}

/* Those of an entry that stand on nothing, then what stands on them, and so on; an array comes
 * after the last of its members. */
static void add_devices(struct calls *calls, const json_t *model, const json_t *base, size_t depth)
{
	json_t *entry;
	const char *name;

	json_object_foreach (model_devices(model), name, entry) {
		if (base == NULL ? xbdev_config_nr_bases(entry) == 0
				 : xbdev_config_stands_on(entry, base) &&
					   has_bases(calls, model, entry)) {
			add_call(calls, "bdev_create", xbdev_config_copy(entry));
			calls->is_out_of_memory |=
				json_object_set_new(calls->made, name, json_true()) != 0;
			if (depth != 0) {
				add_devices(calls, model, entry, depth - 1);
			}
		}
	}
}

/* ---- nvmf ---- */

static json_t *address_json(const json_t *listener)
{
	const char *address = json_string_value(json_object_get(listener, "traddr"));
	json_t *object = json_pack("{s:s, s:s, s:s, s:O}", "trtype", "TCP", "adrfam",
		strchr(address, ':') != NULL ? "IPv6" : "IPv4", "traddr", address, "trsvcid",
		json_object_get(listener, "trsvcid"));
	json_t *advertise = json_object_get(listener, "advertise");

	if (advertise != NULL && json_object_set(object, "advertise", advertise) != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *ns_json(json_t *ns)
{
	json_t *object = xbdev_config_copy(ns);

	if (json_object_set(object, "bdev_name", json_object_get(ns, "device")) != 0 ||
		json_object_del(object, "device") != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static void add_subsystem(struct calls *calls, const char *nqn, json_t *subsystem)
{
	static const char *const parts[] = {"hosts", "namespaces", "listeners"};
	json_t *params = xbdev_config_copy(subsystem), *value;
	const char *key;

	for (size_t i = 0; i < 3; i++) {
		json_object_del(params, parts[i]);
	}
	if (json_object_set_new(params, "nqn", json_string(nqn)) != 0) {
		json_decref(params);
		params = NULL;
	}
	add_call(calls, "nvmf_create_subsystem", params);
	json_object_foreach (json_object_get(subsystem, "hosts"), key, value) {
		add_call(calls, "nvmf_subsystem_add_host",
			json_pack("{s:s, s:s}", "nqn", nqn, "host", key));
	}
	json_object_foreach (json_object_get(subsystem, "namespaces"), key, value) {
		add_call(calls, "nvmf_subsystem_add_ns",
			json_pack("{s:s, s:o}", "nqn", nqn, "namespace", ns_json(value)));
	}
	json_object_foreach (json_object_get(subsystem, "listeners"), key, value) {
		add_call(calls, "nvmf_subsystem_add_listener",
			json_pack("{s:s, s:o}", "nqn", nqn, "listen_address", address_json(value)));
	}
}

static void add_nvmf(struct calls *calls, struct node *node)
{
	const struct xnvmf_target_opts *t = xnvmf_target_get_opts(node->target);
	json_t *subsystem;
	const char *nqn;

	add_call(calls, "nvmf_create_transport",
		json_pack("{s:s, s:I, s:I, s:I, s:I}", "trtype", "TCP", "max_queue_depth",
			(json_int_t)t->max_queue_depth, "max_io_qpairs_per_ctrlr",
			(json_int_t)t->max_queues, "in_capsule_data_size",
			(json_int_t)t->in_capsule_data_size, "max_io_size",
			(json_int_t)t->max_io_size));
	json_object_foreach (model_subsystems(node->wanted), nqn, subsystem) {
		add_subsystem(calls, nqn, subsystem);
	}
}

static const char *const names[] = {"bdev", "nvmf", NULL};

struct config_opts {
	uint32_t name;
};

static const struct xu_param config_params[] = {
	{"name", XU_PARAM_ENUM, offsetof(struct config_opts, name), .is_required = true,
		.choices = names, .help = "the subsystem"},
	{0},
};

static void get_config(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct config_opts *opts = opts_ptr;
	struct node *node = arg;
	struct calls calls = {.list = json_array(), .made = json_object()};

	if (opts->name == 0) {
		add_devices(
			&calls, node->wanted, NULL, json_object_size(model_devices(node->wanted)));
	} else {
		add_nvmf(&calls, node);
	}
	json_decref(calls.made);
	if (calls.is_out_of_memory) { /* a part of it would pass for all of it */
		json_decref(calls.list);
		calls.list = NULL;
	}
	xrpc_result(req, calls.list);
}

const struct xrpc_method spdk_config_methods[] = {
	{"framework_get_subsystems", "Lists what framework_get_config can be asked for.",
		.fn = get_subsystems},
	{"framework_get_config", "Gives the calls that would make the configuration again.",
		config_params, sizeof(struct config_opts), .fn = get_config},
	{0},
};
