/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nvmf_* methods but those of the transport: SPDK's names, parameters and results. Those that
 * change something edit the model; those that tell something ask the target.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/rpc_edit.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"

/* Of all methods but the one that makes a subsystem; each table fills its own part. */
struct nvmf_opts {
	const char *nqn;
	const char *tgt_name;
	const char *host;
	uint32_t nsid;
	bool allow_any_host;
	json_t *object; /* the namespace or the listen address */
	json_t *unused;
};

#define PARAM_NQN                                                                                  \
	{                                                                                          \
		"nqn", XU_PARAM_STRING, offsetof(struct nvmf_opts, nqn),                           \
			.is_required = true, .help = "NQN of the subsystem"                        \
	}
#define PARAM_TGT RPC_PARAM_TGT(struct nvmf_opts)

/* The method `name`, which makes the edit edit_name. */
#define EDIT_METHOD(name)                                                                          \
	static void name(struct xrpc_request *req, void *arg, const void *opts)                    \
	{                                                                                          \
		rpc_edit_start(arg, req, opts, edit_##name);                                       \
	}

/* The subsystem of an edit; the sentence when there is none. */
static json_t *find_subsystem(const json_t *model, const char *nqn, struct xu_error *err)
{
	json_t *subsystem = model_subsystem(model, nqn);

	if (subsystem == NULL) {
		xu_error_set(err, -ENOENT,
			"there is no subsystem '%.223s'; nvmf_get_subsystems lists them", nqn);
	}
	return subsystem;
}

/* A part ("hosts" …) of the edit's subsystem. */
static json_t *find_part(
	const struct rpc_edit *edit, const json_t *model, const char *part, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;

	return json_object_get(find_subsystem(model, opts->nqn, err), part);
}

/* Puts a value (taken) into a part; `sentence` when there is one already. */
static int add_member(
	json_t *part, const char *key, json_t *value, struct xu_error *err, const char *sentence)
{
	if (json_object_get(part, key) != NULL) {
		json_decref(value);
		return xu_error_set(err, -EEXIST, "%s", sentence);
	}
	return json_object_set_new(part, key, value) != 0 ? rpc_no_memory(err) : 0;
}

/* ---- subsystems ---- */

struct subsystem_opts {
	const char *nqn;
	const char *tgt_name;
	const char *serial_number;
	const char *model_number;
	uint32_t max_namespaces;
	bool allow_any_host;
	uint32_t cntlid;
};

static const struct xu_param create_subsystem_params[] = {
	{"nqn", XU_PARAM_STRING, offsetof(struct subsystem_opts, nqn), .is_required = true,
		.help = "NQN of the new subsystem"},
	RPC_PARAM_TGT(struct subsystem_opts),
	{"serial_number", XU_PARAM_STRING, offsetof(struct subsystem_opts, serial_number),
		.help = "1 to 20 printable ASCII characters (default: made from the NQN)"},
	{"model_number", XU_PARAM_STRING, offsetof(struct subsystem_opts, model_number),
		.help = "1 to 40 printable ASCII characters (default \"XSAN\")"},
	{"max_namespaces", XU_PARAM_U32, offsetof(struct subsystem_opts, max_namespaces),
		.max = XNVMF_NSID_MAX, .help = "the highest NSID (default and 0: 32)"},
	{"allow_any_host", XU_PARAM_BOOL, offsetof(struct subsystem_opts, allow_any_host),
		.help = "any host may connect (default false)"},
	{"ana_reporting", XU_PARAM_OFF,
		.help = "only false is possible: a node has one path to its namespaces"},
	{"min_cntlid", XU_PARAM_U32, offsetof(struct subsystem_opts, cntlid), .min = 1, .max = 1,
		.help = "only 1, the lowest controller identifier, is possible"},
	{"max_cntlid", XU_PARAM_U32, offsetof(struct subsystem_opts, cntlid), .min = 65519,
		.max = 65519, .help = "only 65519, the highest controller identifier, is possible"},
	{"passthrough", XU_PARAM_OFF, .help = "only false is possible: there is no passthrough"},
	{"enable_nssr", XU_PARAM_OFF,
		.help = "only false is possible: there is no reset of a subsystem"},
	{0},
};

static int set_text(json_t *object, const char *key, const char *text)
{
	return text != NULL ? json_object_set_new(object, key, json_string(text)) : 0;
}

static int edit_create_subsystem(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct subsystem_opts *opts = edit->opts;
	struct check c = {.err = err};
	json_t *object;
	int rc = 0;

	if (model_subsystem(model, opts->nqn) != NULL) {
		return xu_error_set(err, -EEXIST, "there is a subsystem '%s' already", opts->nqn);
	}
	object = json_pack("{s:s, s:b}", "nqn", opts->nqn, "allow_any_host", opts->allow_any_host);
	rc |= set_text(object, "serial_number", opts->serial_number);
	rc |= set_text(object, "model_number", opts->model_number);
	if (opts->max_namespaces != 0) {
		rc |= json_object_set_new(
			object, "max_namespaces", json_integer(opts->max_namespaces));
	}
	rc = rc != 0 ? rpc_no_memory(err) : rpc_name_culprit(&c, check_subsystem(&c, "", object));
	if (rc == 0 && json_object_set_new(model_subsystems(model), opts->nqn,
			       model_subsystem_new(object)) != 0) {
		rc = rpc_no_memory(err);
	}
	json_decref(object);
	return rc;
}

EDIT_METHOD(create_subsystem)

static const struct xu_param nqn_params[] = {PARAM_NQN, PARAM_TGT, {0}};

static int edit_delete_subsystem(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;

	if (find_subsystem(model, opts->nqn, err) == NULL) {
		return err->code;
	}
	return json_object_del(model_subsystems(model), opts->nqn);
}

EDIT_METHOD(delete_subsystem)

static const struct xu_param get_subsystems_params[] = {
	{"nqn", XU_PARAM_STRING, offsetof(struct nvmf_opts, nqn),
		.help = "NQN of one subsystem (default: all, and the discovery subsystem)"},
	PARAM_TGT,
	{0},
};

static void get_subsystems(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct nvmf_opts *opts = opts_ptr;
	struct node *node = arg;
	json_t *list = xnvmf_target_subsystems_json(node->target), *found, *object;
	size_t i;

	if (opts->nqn == NULL) {
		xrpc_result(req, list);
		return;
	}
	found = json_array();
	json_array_foreach (list, i, object) {
		const char *nqn = json_string_value(json_object_get(object, "nqn"));

		if (nqn != NULL && strcmp(nqn, opts->nqn) == 0) {
			json_array_append(found, object);
		}
	}
	json_decref(list);
	if (json_array_size(found) == 0) {
		json_decref(found);
		xrpc_error(req, -ENODEV, "there is no subsystem '%.223s'", opts->nqn);
		return;
	}
	xrpc_result(req, found);
}

/* The method `name`, which answers with what xnvmf_subsystem_…_json tells. */
#define TELL_METHOD(name, what)                                                                    \
	static void name(struct xrpc_request *req, void *arg, const void *opts)                    \
	{                                                                                          \
		tell(req, arg, opts, xnvmf_subsystem_##what##_json);                               \
	}

static void tell(struct xrpc_request *req, struct node *node, const struct nvmf_opts *opts,
	json_t *(*fn)(struct xnvmf_subsystem *subsystem))
{
	struct xnvmf_subsystem *subsystem = strcmp(opts->nqn, XNVMF_DISCOVERY_NQN) == 0
						    ? xnvmf_target_discovery(node->target)
						    : xnvmf_subsystem_find(node->target, opts->nqn);

	if (subsystem == NULL) {
		xrpc_error(req, -ENOENT,
			"there is no subsystem '%.223s'; nvmf_get_subsystems lists them",
			opts->nqn);
		return;
	}
	xrpc_result(req, fn(subsystem));
}

TELL_METHOD(get_controllers, controllers)
TELL_METHOD(get_qpairs, qpairs)
TELL_METHOD(get_listeners, listeners)

static const struct xu_param stats_params[] = {PARAM_TGT, {0}};

static void get_stats(struct xrpc_request *req, void *arg, const void *opts)
{
	struct node *node = arg;

	(void)opts;
	xrpc_result(req, xnvmf_target_stats_json(node->target));
}

/* ---- namespaces ---- */

static const struct xu_param add_ns_params[] = {
	PARAM_NQN,
	{"namespace", XU_PARAM_JSON, offsetof(struct nvmf_opts, object), .is_required = true,
		.help = "the namespace"},
	PARAM_TGT,
	{0},
};

/* SPDK's object "namespace". */
struct spdk_ns {
	const char *bdev_name;
	uint32_t nsid;
	const char *uuid, *nguid, *eui64;
	bool read_only;
	json_t *unused;
};

static const struct xu_param spdk_ns_params[] = {
	{"bdev_name", XU_PARAM_STRING, offsetof(struct spdk_ns, bdev_name), .is_required = true,
		.help = "name or UUID of the device"},
	{"nsid", XU_PARAM_U32, offsetof(struct spdk_ns, nsid), .max = XNVMF_NSID_MAX,
		.help = "namespace identifier (default and 0: the lowest free one)"},
	{"uuid", XU_PARAM_STRING, offsetof(struct spdk_ns, uuid),
		.help = "identity (default: the device's UUID)"},
	{"nguid", XU_PARAM_STRING, offsetof(struct spdk_ns, nguid),
		.help = "identity, 32 hexadecimal digits (default: from the UUID)"},
	{"eui64", XU_PARAM_STRING, offsetof(struct spdk_ns, eui64),
		.help = "identity, 16 hexadecimal digits (default: none)"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct spdk_ns, read_only),
		.help = "refuse writes (default false)"},
	{"no_auto_visible", XU_PARAM_OFF,
		.help = "only false is possible: every host of the subsystem sees its namespaces"},
	{"hide_metadata", XU_PARAM_OFF,
		.help = "only false is possible: there is no metadata here"},
	{"anagrpid", XU_PARAM_JSON, offsetof(struct spdk_ns, unused),
		.help = "accepted for SPDK's clients, without effect"},
	{0},
};

/* The namespace as the configuration has it. */
static json_t *ns_object(const struct spdk_ns *ns, uint32_t nsid)
{
	json_t *object = json_pack("{s:I, s:s, s:b}", "nsid", (json_int_t)nsid, "device",
		ns->bdev_name, "read_only", ns->read_only);
	int rc = set_text(object, "uuid", ns->uuid);

	rc |= set_text(object, "nguid", ns->nguid);
	rc |= set_text(object, "eui64", ns->eui64);
	if (rc != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static uint32_t lowest_free(json_t *namespaces)
{
	char key[MODEL_KEY_SIZE];
	uint32_t nsid = 0;

	do {
		model_ns_key(++nsid, key);
	} while (json_object_get(namespaces, key) != NULL);
	return nsid;
}

/* The number of the new namespace; -errno when it cannot be had. */
static int choose_nsid(const struct rpc_edit *edit, const json_t *model, uint32_t wanted,
	uint32_t *ret_nsid, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *namespaces = find_part(edit, model, "namespaces", err);
	uint32_t max = model_max_namespaces(model_subsystem(model, opts->nqn));
	uint32_t nsid = wanted != 0 ? wanted : lowest_free(namespaces);
	char key[MODEL_KEY_SIZE];

	model_ns_key(nsid, key);
	if (nsid > max && wanted == 0) {
		return xu_error_set(err, -ENOSPC,
			"the subsystem has all of its %u namespaces (max_namespaces)", max);
	}
	if (nsid > max) {
		return xu_error_set(err, -EINVAL,
			"namespace.nsid: %u is not accepted; it takes 1 to %u (max_namespaces of "
			"the subsystem)",
			nsid, max);
	}
	if (json_object_get(namespaces, key) != NULL) {
		return xu_error_set(err, -EEXIST, "there is a namespace %u already", nsid);
	}
	*ret_nsid = nsid;
	return 0;
}

/* Whether the namespace may have its device and identifiers, in the request's words. */
static int check_free(
	const struct rpc_edit *edit, const json_t *model, json_t *ns, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *root = model_to_config(model);
	struct check c = {.err = err};
	int rc;

	if (root == NULL) {
		return rpc_no_memory(err);
	}
	rc = check_new_ns(&c, "namespace", root, ns, opts->nqn);
	if (strcmp(c.path, "namespace.device") == 0) {
		check_path(c.path, "namespace.bdev_name");
	}
	json_decref(root);
	return rpc_name_culprit(&c, rc);
}

/* The name of the device as the configuration has it: SPDK's clients know a volume by its UUID,
 * which no entry has. NULL: there is none. */
static const char *name_of_device(
	const struct rpc_edit *edit, const json_t *model, const char *name_or_uuid)
{
	const struct xbdev_device *dev;

	if (model_find_device(model, name_or_uuid) != NULL) {
		return name_or_uuid;
	}
	dev = xbdev_device_find(edit->node->ctx, name_or_uuid);
	return dev != NULL && model_is_volume_name(dev->name) ? dev->name : NULL;
}

static int edit_add_ns(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *namespaces = find_part(edit, model, "namespaces", err), *object;
	char key[MODEL_KEY_SIZE], path[XU_PARAM_PATH_SIZE];
	struct config_ns parsed;
	struct check c = {.err = err};
	struct spdk_ns ns = {0};
	const char *name;
	uint32_t nsid = 0;
	int rc;

	if (namespaces == NULL) {
		return err->code;
	}
	rc = xu_params_parse(spdk_ns_params, &ns, opts->object, path, err);
	if (rc != 0) {
		return xu_error_prefix(err, "namespace");
	}
	name = name_of_device(edit, model, ns.bdev_name);
	if (name == NULL) {
		return xu_error_set(err, -ENODEV,
			"there is no device '%.128s'; bdev_get_bdevs lists them", ns.bdev_name);
	}
	ns.bdev_name = name;
	rc = choose_nsid(edit, model, ns.nsid, &nsid, err);
	if (rc != 0) {
		return rc;
	}
	object = ns_object(&ns, nsid);
	rc = object == NULL ? rpc_no_memory(err)
			    : rpc_name_culprit(&c, check_ns(&c, "namespace", object, &parsed));
	if (rc == 0) {
		rc = check_free(edit, model, object, err);
	}
	model_ns_key(nsid, key);
	if (rc == 0 && json_object_set_new(namespaces, key, model_ns_new(object)) != 0) {
		rc = rpc_no_memory(err);
	}
	json_decref(object);
	edit->result = json_integer(nsid);
	return rc;
}

EDIT_METHOD(add_ns)

static const struct xu_param remove_ns_params[] = {
	PARAM_NQN,
	{"nsid", XU_PARAM_U32, offsetof(struct nvmf_opts, nsid), .is_required = true, .min = 1,
		.max = XNVMF_NSID_MAX, .help = "namespace identifier"},
	PARAM_TGT,
	{0},
};

static int edit_remove_ns(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *namespaces = find_part(edit, model, "namespaces", err);
	char key[MODEL_KEY_SIZE];

	if (namespaces == NULL) {
		return err->code;
	}
	model_ns_key(opts->nsid, key);
	if (json_object_del(namespaces, key) != 0) {
		return xu_error_set(
			err, -ENOENT, "there is no namespace %u in %s", opts->nsid, opts->nqn);
	}
	return 0;
}

EDIT_METHOD(remove_ns)

/* ---- listeners ---- */

static const struct xu_param listener_params[] = {
	PARAM_NQN,
	{"listen_address", XU_PARAM_JSON, offsetof(struct nvmf_opts, object), .is_required = true,
		.help = "transport, address and port"},
	PARAM_TGT,
	{"secure_channel", XU_PARAM_BOOL, offsetof(struct nvmf_opts, allow_any_host),
		.help = "only false is possible"},
	{0},
};

static const char *const trtypes[] = {"tcp", NULL};
static const char *const adrfams[] = {"ipv4", "ipv6", NULL};

/* SPDK's object "listen_address". */
struct spdk_address {
	uint32_t trtype;
	uint32_t adrfam;
	const char *traddr;
	const char *trsvcid;
	const char *advertise;
};

static const struct xu_param spdk_address_params[] = {
	{"trtype", XU_PARAM_ENUM, offsetof(struct spdk_address, trtype), .choices = trtypes,
		.help = "transport (default \"TCP\")"},
	{"adrfam", XU_PARAM_ENUM, offsetof(struct spdk_address, adrfam), .choices = adrfams,
		.help = "\"IPv4\" or \"IPv6\" (default: as traddr)"},
	{"traddr", XU_PARAM_STRING, offsetof(struct spdk_address, traddr), .is_required = true,
		.help = "numeric address"},
	{"trsvcid", XU_PARAM_STRING, offsetof(struct spdk_address, trsvcid),
		.help = "port as a text (default \"4420\")"},
	{"advertise", XU_PARAM_STRING, offsetof(struct spdk_address, advertise),
		.help = "numeric address that hosts are told (default: traddr)"},
	{0},
};

/* The listener of a request as the model has it, and its key there; NULL with the sentence. */
static json_t *listener_of(
	const struct nvmf_opts *opts, char key[MODEL_KEY_SIZE], struct xu_error *err)
{
	struct spdk_address address = {0};
	struct config_listener parsed;
	char path[XU_PARAM_PATH_SIZE];
	struct check c = {.err = err};
	json_t *object, *listener;
	int rc = xu_params_parse(spdk_address_params, &address, opts->object, path, err);

	if (rc != 0) {
		xu_error_prefix(err, "listen_address");
		return NULL;
	}
	object = json_pack("{s:s}", "traddr", address.traddr);
	rc = set_text(object, "trsvcid", address.trsvcid) |
	     set_text(object, "advertise", address.advertise);
	rc = rc != 0 ? rpc_no_memory(err)
		     : rpc_name_culprit(&c, check_listener(&c, "listen_address", object, &parsed));
	listener = rc == 0 ? model_listener_new(object) : NULL;
	if (listener != NULL) {
		model_listener_key(listener, key);
	} else if (rc == 0) {
		rpc_no_memory(err);
	}
	json_decref(object);
	return listener;
}

/* SPDK's clients ask for discovery to be answered; every listener of a subsystem does that. */
static int check_discovery(const json_t *model, const struct nvmf_opts *opts, struct xu_error *err)
{
	char key[MODEL_KEY_SIZE];
	json_t *listener = listener_of(opts, key, err), *subsystem;
	const char *nqn;

	if (listener == NULL) {
		return err->code;
	}
	json_decref(listener);
	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		if (json_object_get(json_object_get(subsystem, "listeners"), key) != NULL) {
			return 0;
		}
	}
	return xu_error_set(err, -EOPNOTSUPP,
		"discovery has no listeners of its own; let a subsystem listen there, and the "
		"listener will answer as a discovery controller too");
}

static int edit_add_listener(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *listeners, *listener;
	char key[MODEL_KEY_SIZE];

	if (strcmp(opts->nqn, XNVMF_DISCOVERY_NQN) == 0) {
		return check_discovery(model, opts, err);
	}
	listeners = find_part(edit, model, "listeners", err);
	listener = listeners != NULL ? listener_of(edit->opts, key, err) : NULL;
	if (listener == NULL) {
		return err->code;
	}
	return add_member(listeners, key, listener, err, "the subsystem listens there already");
}

static void add_listener(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct nvmf_opts *opts = opts_ptr;

	if (!rpc_refuse(req, opts->allow_any_host, /* secure_channel is read there */
		    "secure_channel: only false is accepted; there is no TLS here")) {
		rpc_edit_start(arg, req, opts, edit_add_listener);
	}
}

static int edit_remove_listener(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	json_t *listeners = find_part(edit, model, "listeners", err), *listener;
	char key[MODEL_KEY_SIZE];

	listener = listeners != NULL ? listener_of(edit->opts, key, err) : NULL;
	if (listener == NULL) {
		return err->code;
	}
	json_decref(listener);
	if (json_object_del(listeners, key) != 0) {
		return xu_error_set(err, -ENOENT,
			"the subsystem has no such listener; nvmf_subsystem_get_listeners lists "
			"them");
	}
	return 0;
}

EDIT_METHOD(remove_listener)

/* ---- hosts ---- */

static const struct xu_param host_params[] = {
	PARAM_NQN,
	{"host", XU_PARAM_STRING, offsetof(struct nvmf_opts, host), .is_required = true,
		.help = "NQN of the host"},
	PARAM_TGT,
	{0},
};

static int edit_add_host(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *hosts = find_part(edit, model, "hosts", err);
	struct check c = {.err = err};

	if (hosts == NULL) {
		return err->code;
	}
	if (check_nqn(&c, "host", opts->host) != 0) {
		return xu_error_prefix(err, "host");
	}
	return add_member(hosts, opts->host, json_true(), err, "the host is allowed already");
}

EDIT_METHOD(add_host)

static int edit_remove_host(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *hosts = find_part(edit, model, "hosts", err);

	if (hosts == NULL) {
		return err->code;
	}
	if (json_object_del(hosts, opts->host) != 0) {
		return xu_error_set(err, -ENOENT,
			"the host '%.223s' is not in the list of the subsystem", opts->host);
	}
	return 0;
}

EDIT_METHOD(remove_host)

static const struct xu_param allow_params[] = {
	PARAM_NQN,
	{"allow_any_host", XU_PARAM_BOOL, offsetof(struct nvmf_opts, allow_any_host),
		.is_required = true, .help = "true: any host may connect"},
	PARAM_TGT,
	{0},
};

static int edit_allow_any_host(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct nvmf_opts *opts = edit->opts;
	json_t *subsystem = find_subsystem(model, opts->nqn, err);

	if (subsystem == NULL) {
		return err->code;
	}
	return json_object_set_new(
		       subsystem, "allow_any_host", json_boolean(opts->allow_any_host)) != 0
		       ? rpc_no_memory(err)
		       : 0;
}

EDIT_METHOD(allow_any_host)

#define OPTS sizeof(struct nvmf_opts)

const struct xrpc_method nvmf_methods[] = {
	{"nvmf_create_subsystem", "Makes a subsystem.", create_subsystem_params,
		sizeof(struct subsystem_opts), .fn = create_subsystem},
	{"nvmf_delete_subsystem", "Removes a subsystem and ends its connections.", nqn_params, OPTS,
		.fn = delete_subsystem},
	{"nvmf_get_subsystems", "Lists subsystems.", get_subsystems_params, OPTS,
		.fn = get_subsystems},
	{"nvmf_subsystem_add_ns", "Adds a namespace; the result is its NSID.", add_ns_params, OPTS,
		.fn = add_ns},
	{"nvmf_subsystem_remove_ns", "Removes a namespace.", remove_ns_params, OPTS,
		.fn = remove_ns},
	{"nvmf_subsystem_add_listener", "Lets a subsystem listen on an address.", listener_params,
		OPTS, .fn = add_listener},
	{"nvmf_subsystem_remove_listener", "Removes a listener and ends its connections.",
		listener_params, OPTS, .fn = remove_listener},
	{"nvmf_subsystem_add_host", "Allows a host to connect.", host_params, OPTS, .fn = add_host},
	{"nvmf_subsystem_remove_host", "Takes that right away and ends the host's connections.",
		host_params, OPTS, .fn = remove_host},
	{"nvmf_subsystem_allow_any_host", "Lets any host connect, or only those of the list.",
		allow_params, OPTS, .fn = allow_any_host},
	{"nvmf_subsystem_get_controllers", "Lists the controllers of a subsystem.", nqn_params,
		OPTS, .fn = get_controllers},
	{"nvmf_subsystem_get_qpairs", "Lists the queues of a subsystem.", nqn_params, OPTS,
		.fn = get_qpairs},
	{"nvmf_subsystem_get_listeners", "Lists the listeners of a subsystem.", nqn_params, OPTS,
		.fn = get_listeners},
	{"nvmf_get_stats", "Shows the counters of the target.", stats_params, OPTS,
		.fn = get_stats},
	{0},
};
