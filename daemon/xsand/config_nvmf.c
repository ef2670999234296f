/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking the "nvmf" part: the transport, and subsystems with their namespaces, hosts and
 * listeners. First each object by its table, then what the objects mean together: nothing twice,
 * and what namespaces use by themselves (config_uses.c). Nothing is opened or listened on.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/config_central.h"
#include "daemon/xsand/config_check.h"
#include "lib/reactor/address.h"

static const char *const trtypes[] = {"tcp", NULL};

const struct xu_param config_transport_params[] = {
	{"in_capsule_data_size", XU_PARAM_SIZE,
		offsetof(struct config_transport, in_capsule_data_size), .max = 65536,
		.help = "write data that a command capsule may carry, a multiple of 16 (default "
			"8192)"},
	{"max_io_size", XU_PARAM_SIZE, offsetof(struct config_transport, max_io_size), .min = 8192,
		.max = 4u << 20,
		.help = "largest transfer of one command, a power of two (default 1 MiB)"},
	{"max_h2c_data", XU_PARAM_SIZE, offsetof(struct config_transport, max_h2c_data),
		.max = 4u << 20,
		.help = "most data asked for by one R2T (default 0: as max_io_size)"},
	{"max_queue_depth", XU_PARAM_U32, offsetof(struct config_transport, max_queue_depth),
		.min = 16, .max = 4096, .help = "entries of an I/O queue (default 128)"},
	{"max_queues", XU_PARAM_U32, offsetof(struct config_transport, max_queues), .min = 1,
		.max = 1024, .help = "I/O queues of a controller (default 64)"},
	{"max_connections", XU_PARAM_U32, offsetof(struct config_transport, max_connections),
		.min = 2, .max = 65536, .help = "connections of the whole node (default 1024)"},
	{"connect_timeout_ms", XU_PARAM_U32, offsetof(struct config_transport, connect_timeout_ms),
		.min = 100, .max = 600000,
		.help = "time from accept to Connect, milliseconds (default 10000)"},
	{0},
};

const struct xu_param config_subsystem_params[] = {
	{"nqn", XU_PARAM_STRING, offsetof(struct config_subsystem, nqn), .is_required = true,
		.help = "NVMe qualified name"},
	{"serial_number", XU_PARAM_STRING, offsetof(struct config_subsystem, serial_number),
		.help = "1 to 20 printable ASCII characters (default: made from the NQN)"},
	{"model_number", XU_PARAM_STRING, offsetof(struct config_subsystem, model_number),
		.help = "1 to 40 printable ASCII characters (default \"XSAN\")"},
	{"allow_any_host", XU_PARAM_BOOL, offsetof(struct config_subsystem, allow_any_host),
		.help = "any host may connect (default false: those of \"hosts\")"},
	{"max_namespaces", XU_PARAM_U32, offsetof(struct config_subsystem, max_namespaces),
		.min = 1, .max = XNVMF_NSID_MAX, .help = "the highest NSID (default 32)"},
	{"hosts", XU_PARAM_JSON, offsetof(struct config_subsystem, hosts),
		.help = "list of the NQNs of hosts that may connect"},
	{"namespaces", XU_PARAM_JSON, offsetof(struct config_subsystem, namespaces),
		.help = "list of namespaces"},
	{"listeners", XU_PARAM_JSON, offsetof(struct config_subsystem, listeners),
		.help = "list of listeners"},
	{"registry", XU_PARAM_JSON, offsetof(struct config_subsystem, central),
		.help = "what a registry has set; the node writes it itself"},
	{0},
};

const struct xu_param config_ns_params[] = {
	{"nsid", XU_PARAM_U32, offsetof(struct config_ns, nsid), .is_required = true, .min = 1,
		.max = XNVMF_NSID_MAX, .help = "namespace identifier"},
	{"device", XU_PARAM_STRING, offsetof(struct config_ns, device), .is_required = true,
		.help = "name or UUID of a device"},
	{"uuid", XU_PARAM_UUID, offsetof(struct config_ns, uuid),
		.help = "identity (default: the device's UUID)"},
	{"nguid", XU_PARAM_STRING, offsetof(struct config_ns, nguid),
		.help = "identity, 32 hexadecimal digits (default: from the UUID)"},
	{"eui64", XU_PARAM_STRING, offsetof(struct config_ns, eui64),
		.help = "identity, 16 hexadecimal digits (default: none)"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct config_ns, read_only),
		.help = "refuse writes (default false)"},
	{0},
};

const struct xu_param config_listener_params[] = {
	{"trtype", XU_PARAM_ENUM, offsetof(struct config_listener, trtype), .choices = trtypes,
		.help = "transport (default \"tcp\")"},
	{"traddr", XU_PARAM_STRING, offsetof(struct config_listener, traddr), .is_required = true,
		.help = "numeric IPv4 or IPv6 address to listen on"},
	{"trsvcid", XU_PARAM_STRING, offsetof(struct config_listener, trsvcid),
		.help = "port as a text (default \"4420\"; \"0\": any free one)"},
	{"advertise", XU_PARAM_STRING, offsetof(struct config_listener, advertise),
		.help = "numeric address that hosts are told (default: traddr)"},
	{0},
};

/* ---- the transport ---- */

void config_transport_default(struct config_transport *transport)
{
	struct xnvmf_target_opts opts;

	xnvmf_target_opts_default(&opts);
	*transport = (struct config_transport){
		.in_capsule_data_size = opts.in_capsule_data_size,
		.max_io_size = opts.max_io_size,
		.max_h2c_data = opts.max_h2c_data,
		.max_queue_depth = opts.max_queue_depth,
		.max_queues = opts.max_queues,
		.max_connections = opts.max_connections,
		.connect_timeout_ms = opts.connect_timeout_ms,
	};
}

void config_transport_opts(
	const struct config_transport *transport, struct xnvmf_target_opts *ret_opts)
{
	xnvmf_target_opts_default(ret_opts);
	ret_opts->in_capsule_data_size = (uint32_t)transport->in_capsule_data_size;
	ret_opts->max_io_size = (uint32_t)transport->max_io_size;
	ret_opts->max_h2c_data = (uint32_t)transport->max_h2c_data;
	ret_opts->max_queue_depth = transport->max_queue_depth;
	ret_opts->max_queues = transport->max_queues;
	ret_opts->max_connections = transport->max_connections;
	ret_opts->connect_timeout_ms = transport->connect_timeout_ms;
}

int check_transport(struct check *c, const char *path, json_t *object, struct config_transport *ret)
{
	char inner[CONFIG_PATH_SIZE];
	int rc;

	config_transport_default(ret);
	rc = check_params(c, path, config_transport_params, ret, object);
	if (rc != 0) {
		return rc;
	}
	if (ret->in_capsule_data_size % 16 != 0) {
		check_path(inner, "%s.in_capsule_data_size", path);
		return check_fail(c, inner, "%llu is not accepted; it takes a multiple of 16",
			(unsigned long long)ret->in_capsule_data_size);
	}
	if ((ret->max_io_size & (ret->max_io_size - 1)) != 0) {
		check_path(inner, "%s.max_io_size", path);
		return check_fail(c, inner,
			"%llu is not accepted; it takes a power of two, such as \"1MiB\"",
			(unsigned long long)ret->max_io_size);
	}
	if (ret->max_h2c_data % 4 != 0 || (ret->max_h2c_data != 0 && ret->max_h2c_data < 4096)) {
		check_path(inner, "%s.max_h2c_data", path);
		return check_fail(c, inner,
			"%llu is not accepted; it takes 0 or a multiple of 4 from 4096 on",
			(unsigned long long)ret->max_h2c_data);
	}
	return 0;
}

/* ---- single values ---- */

int check_nqn(struct check *c, const char *path, const char *nqn)
{
	static const char form[] = "nqn.dddd-dd.";
	size_t len = strlen(nqn);
	bool is_good = len >= sizeof(form) && len <= XNVMF_NQN_MAX;

	/* "nqn." year "-" month "." and a name (NVM Express Base 2.0, 4.5). */
	for (size_t i = 0; is_good && i < len; i++) {
		is_good = nqn[i] > ' ' && nqn[i] <= '~';
		if (is_good && i < sizeof(form) - 1) {
			is_good = form[i] == 'd' ? isdigit(nqn[i]) : nqn[i] == form[i];
		}
	}
	if (!is_good) {
		return check_fail(c, path,
			"\"%.*s%s\" is not accepted; it takes an NQN such as "
			"\"nqn.2026-11.io.xsan:disk1\", at most %u ASCII characters without space",
			48, nqn, len > 48 ? "…" : "", XNVMF_NQN_MAX);
	}
	return 0;
}

static int check_ascii(
	struct check *c, const char *path, const char *key, const char *text, size_t max)
{
	char inner[CONFIG_PATH_SIZE];
	size_t len = 0;

	if (text == NULL) {
		return 0;
	}
	while (isascii(text[len]) && isprint(text[len])) {
		len++;
	}
	if (text[len] == '\0' && len <= max) {
		return 0;
	}
	check_path(inner, "%s.%s", path, key);
	return check_fail(c, inner, "it takes 1 to %zu printable ASCII characters", max);
}

static int check_hex(
	struct check *c, const char *path, const char *key, const char *text, size_t digits)
{
	char inner[CONFIG_PATH_SIZE];

	if (text == NULL ||
		(strlen(text) == digits && strspn(text, "0123456789abcdefABCDEF") == digits &&
			strspn(text, "0") != digits)) {
		return 0;
	}
	check_path(inner, "%s.%s", path, key);
	return check_fail(c, inner, "it takes %zu hexadecimal digits, not all 0", digits);
}

static int check_address(
	struct check *c, const char *path, const char *key, const char *text, bool may_be_wildcard)
{
	struct sockaddr_storage addr;
	char inner[CONFIG_PATH_SIZE];

	if (text == NULL) {
		return 0;
	}
	check_path(inner, "%s.%s", path, key);
	if (xr_address_parse(text, 0, &addr) < 0) {
		return check_fail(c, inner,
			"\"%.64s\" is not accepted; it takes a numeric IPv4 or IPv6 address such "
			"as \"192.0.2.1\" or \"::1\"",
			text);
	}
	if (!may_be_wildcard && xr_address_is_wildcard(text)) {
		return check_fail(c, inner,
			"\"%s\" is not accepted; it takes an address that hosts can connect to",
			text);
	}
	return 0;
}

static int check_port(struct check *c, const char *path, const char *text)
{
	char inner[CONFIG_PATH_SIZE];

	if (text == NULL || (strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) &&
				    atoi(text) <= UINT16_MAX)) {
		return 0;
	}
	check_path(inner, "%s.trsvcid", path);
	return check_fail(c, inner,
		"\"%.16s\" is not accepted; it takes a port from \"0\" to \"65535\"", text);
}

int check_ns(struct check *c, const char *path, json_t *object, struct config_ns *ret)
{
	int rc;

	*ret = (struct config_ns){0};
	rc = check_params(c, path, config_ns_params, ret, object);
	if (rc == 0) {
		rc = check_hex(c, path, "nguid", ret->nguid, 32);
	}
	return rc == 0 ? check_hex(c, path, "eui64", ret->eui64, 16) : rc;
}

int check_listener(struct check *c, const char *path, json_t *object, struct config_listener *ret)
{
	int rc;

	*ret = (struct config_listener){0};
	rc = check_params(c, path, config_listener_params, ret, object);
	if (rc == 0) {
		rc = check_address(c, path, "traddr", ret->traddr, true);
	}
	if (rc == 0) {
		rc = check_address(c, path, "advertise", ret->advertise, false);
	}
	return rc == 0 ? check_port(c, path, ret->trsvcid) : rc;
}

/* ---- lists ---- */

/* Notes that the value `key` stands at `index`; the index where it stood before, or -1. */
static ssize_t note_key(json_t *seen, const char *key, size_t index)
{
	json_t *before = json_object_get(seen, key);

	if (before != NULL) {
		return (ssize_t)json_integer_value(before);
	}
	json_object_set_new(seen, key, json_integer((json_int_t)index));
	return -1;
}

static int check_list(struct check *c, const char *path, const json_t *list, const char *of_what)
{
	if (list == NULL || json_is_array(list)) {
		return 0;
	}
	return check_fail(c, path, "a list [ … ] of %s is needed here", of_what);
}

static int check_host(struct check *c, const char *path, json_t *host, json_t *seen, size_t index)
{
	ssize_t before;
	int rc;

	if (!json_is_string(host)) {
		return check_fail(c, path, "a text with the NQN of a host is needed here");
	}
	rc = check_nqn(c, path, json_string_value(host));
	if (rc != 0) {
		return rc;
	}
	before = note_key(seen, json_string_value(host), index);
	if (before >= 0) {
		return check_fail(c, path, "this host is in the list already, at [%zd]", before);
	}
	return 0;
}

static int check_hosts(struct check *c, const char *path, json_t *hosts)
{
	int rc = check_list(c, path, hosts, "host NQNs");
	char inner[CONFIG_PATH_SIZE];
	json_t *host, *seen = json_object();
	size_t i;

	json_array_foreach (hosts, i, host) {
		check_path(inner, "%s[%zu]", path, i);
		if (rc == 0) {
			rc = check_host(c, inner, host, seen, i);
		}
	}
	json_decref(seen);
	return rc;
}

static int check_nsid(struct check *c, const char *path, uint32_t nsid, uint32_t max_namespaces,
	json_t *seen, size_t index)
{
	char inner[CONFIG_PATH_SIZE], key[16];
	ssize_t before;

	check_path(inner, "%s.nsid", path);
	if (nsid > max_namespaces) {
		return check_fail(c, inner,
			"%u is not accepted; it takes 1 to %u (max_namespaces of the subsystem)",
			nsid, max_namespaces);
	}
	snprintf(key, sizeof(key), "%u", nsid);
	before = note_key(seen, key, index);
	if (before >= 0) {
		return check_fail(
			c, inner, "%u is the nsid of namespaces[%zd] already", nsid, before);
	}
	return 0;
}

static int check_namespaces(
	struct check *c, const char *path, json_t *namespaces, uint32_t max_namespaces)
{
	int rc = check_list(c, path, namespaces, "namespaces");
	char inner[CONFIG_PATH_SIZE];
	json_t *object, *seen = json_object();
	size_t i;

	json_array_foreach (namespaces, i, object) {
		struct config_ns ns;

		check_path(inner, "%s[%zu]", path, i);
		if (rc == 0) {
			rc = check_ns(c, inner, object, &ns);
		}
		if (rc == 0) {
			rc = check_nsid(c, inner, ns.nsid, max_namespaces, seen, i);
		}
	}
	json_decref(seen);
	return rc;
}

/* The address and port of a checked listener in one form. */
static void listener_name(const struct config_listener *listener, char name[XR_ADDRESS_SIZE + 16])
{
	struct sockaddr_storage addr;
	char text[XR_ADDRESS_SIZE] = "";
	uint16_t port;

	xr_address_parse(listener->traddr, 0, &addr);
	xr_address_format(&addr, text, &port);
	snprintf(name, XR_ADDRESS_SIZE + 16, "%s %d", text,
		listener->trsvcid != NULL ? atoi(listener->trsvcid) : 4420);
}

static int check_listeners(struct check *c, const char *path, json_t *listeners)
{
	int rc = check_list(c, path, listeners, "listeners");
	char inner[CONFIG_PATH_SIZE], name[XR_ADDRESS_SIZE + 16];
	json_t *object, *seen = json_object();
	ssize_t before;
	size_t i;

	json_array_foreach (listeners, i, object) {
		struct config_listener listener;

		check_path(inner, "%s[%zu]", path, i);
		if (rc == 0) {
			rc = check_listener(c, inner, object, &listener);
		}
		if (rc != 0) {
			break;
		}
		listener_name(&listener, name);
		before = note_key(seen, name, i);
		if (before >= 0) {
			rc = check_fail(c, inner,
				"listeners[%zd] has this address and port already", before);
		}
	}
	json_decref(seen);
	return rc;
}

int check_subsystem(struct check *c, const char *path, json_t *object)
{
	struct config_subsystem sub = {.max_namespaces = CONFIG_MAX_NAMESPACES_DEFAULT};
	char inner[CONFIG_PATH_SIZE];
	int rc = check_params(c, path, config_subsystem_params, &sub, object);

	if (rc != 0) {
		return rc;
	}
	check_path(inner, "%s.nqn", path);
	rc = check_nqn(c, inner, sub.nqn);
	if (rc == 0 && strcmp(sub.nqn, XNVMF_DISCOVERY_NQN) == 0) {
		rc = check_fail(
			c, inner, "the discovery subsystem is there by itself; choose another NQN");
	}
	if (rc == 0) {
		rc = check_ascii(c, path, "serial_number", sub.serial_number, 20);
	}
	if (rc == 0) {
		rc = check_ascii(c, path, "model_number", sub.model_number, 40);
	}
	if (rc == 0) {
		check_path(inner, "%s.hosts", path);
		rc = check_hosts(c, inner, sub.hosts);
	}
	if (rc == 0) {
		check_path(inner, "%s.namespaces", path);
		rc = check_namespaces(c, inner, sub.namespaces, sub.max_namespaces);
	}
	if (rc == 0) {
		check_path(inner, "%s.listeners", path);
		rc = check_listeners(c, inner, sub.listeners);
	}
	if (rc == 0) {
		check_path(inner, "%s.registry", path);
		rc = check_central(c, inner, sub.central);
	}
	return rc;
}

/* ---- all together ---- */

static int check_subsystems(struct check *c, json_t *subsystems)
{
	int rc = check_list(c, "nvmf.subsystems", subsystems, "subsystems");
	json_t *object, *seen = json_object();
	char path[CONFIG_PATH_SIZE];
	ssize_t before;
	size_t i;

	json_array_foreach (subsystems, i, object) {
		check_path(path, "nvmf.subsystems[%zu]", i);
		if (rc == 0) {
			rc = check_subsystem(c, path, object);
		}
		if (rc != 0) {
			break;
		}
		before = note_key(seen, json_string_value(json_object_get(object, "nqn")), i);
		if (before >= 0) {
			check_path(path, "nvmf.subsystems[%zu].nqn", i);
			rc = check_fail(c, path,
				"it is the nqn of subsystems[%zd] already; put their namespaces "
				"together",
				before);
		}
	}
	json_decref(seen);
	return rc;
}

int check_nvmf(struct check *c, json_t *nvmf, json_t *devices, json_t *stores)
{
	struct nvmf {
		json_t *transport;
		json_t *subsystems;
	} opts = {0};
	static const struct xu_param params[] = {
		{"transport", XU_PARAM_JSON, offsetof(struct nvmf, transport),
			.help = "limits of the transport"},
		{"subsystems", XU_PARAM_JSON, offsetof(struct nvmf, subsystems),
			.help = "list of subsystems"},
		{0},
	};
	struct config_transport transport;
	int rc = check_params(c, "nvmf", params, &opts, nvmf);

	if (rc == 0 && opts.transport != NULL) {
		rc = check_transport(c, "nvmf.transport", opts.transport, &transport);
	}
	if (rc == 0) {
		rc = check_subsystems(c, opts.subsystems);
	}
	return rc == 0 ? check_uses(c, opts.subsystems, devices, stores) : rc;
}
