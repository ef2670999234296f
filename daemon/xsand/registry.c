/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is registered is made of the model of what has been made (node->made): one target for each
 * subsystem and listener. A report adds the statistics of the devices behind a subsystem; they come
 * from all reactors, so devices are asked one after the other (a round), by name, for one may be
 * gone when its turn comes. Rates are the difference to the round before.
 */
#include "daemon/xsand/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/xsand/central.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/config_registry.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "lib/reactor/address.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/util/memory.h"
#include "lib/xbdev/core/device.h"
#include "lib/xnvmf/target/target.h"
#include "lib/xregistry/agent/agent.h"
#include "lib/xregistry/agent/responder.h"

#define GOODBYE_MS 5000u
#define TOKEN_MAX  256u

struct sums {
	uint64_t ops, bytes, errors, latency_ns;
};

struct node_registry {
	struct node *node;
	struct xreg_agent *agent;         /* NULL: it is registered nowhere */
	struct xreg_responder *responder; /* NULL: it is not found by multicast */
	char node_id[256];
	char *token;
	struct xr_timer timer;

	/* A round: pairs [NQN, device] and the next of them. Outlives the agent when the node stops
	 * while a device is being asked. */
	json_t *pairs;
	size_t next;
	bool is_asking, is_over;
	uint64_t round_ns, cpu_ns; /* when the last one ended, and what had been used by then */
	json_t *sums;              /* NQN: what has been added up in this round, as an array */
	json_t *last;              /* the same of the round before */
	json_t *metrics;           /* NQN: the report */
	json_t *central; /* "NQN PLACE": [NQN, PLACE, what the registry wants, and was made so] */
	bool has_told_wildcard;
};

/* ---- sums as JSON, by NQN ---- */

static struct sums sums_of(const json_t *all, const char *nqn)
{
	const json_t *list = json_object_get(all, nqn);

	return (struct sums){(uint64_t)json_integer_value(json_array_get(list, 0)),
		(uint64_t)json_integer_value(json_array_get(list, 1)),
		(uint64_t)json_integer_value(json_array_get(list, 2)),
		(uint64_t)json_integer_value(json_array_get(list, 3))};
}

static void add_stats(
	struct node_registry *registry, const char *nqn, const struct xbdev_stats *stats)
{
	struct sums sums = sums_of(registry->sums, nqn);

	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		if (op == XBDEV_OP_READ || op == XBDEV_OP_WRITE) {
			sums.ops += stats->ops[op].latency.count;
			sums.bytes += stats->ops[op].bytes;
			sums.latency_ns += stats->ops[op].latency.sum_ns;
		}
		sums.errors += stats->ops[op].errors;
	}
	json_object_set_new(registry->sums, nqn,
		json_pack("[I, I, I, I]", (json_int_t)sums.ops, (json_int_t)sums.bytes,
			(json_int_t)sums.errors, (json_int_t)sums.latency_ns));
}

/* ---- reports ---- */

static uint64_t process_cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * XU_NS_PER_S +
	       ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000;
}

/* The share of the machine's memory that the process has. */
static double memory_share(void)
{
	return (double)xu_memory_resident() /
	       ((double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
}

static uint64_t rate(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	return now > before && elapsed_ns != 0
		       ? (uint64_t)((double)(now - before) * XU_NS_PER_S / (double)elapsed_ns)
		       : 0;
}

static size_t nr_connections(struct node *node, const char *nqn)
{
	struct xnvmf_subsystem *subsystem = xnvmf_subsystem_find(node->target, nqn);
	json_t *list = subsystem != NULL ? xnvmf_subsystem_controllers_json(subsystem) : NULL;
	size_t count = json_array_size(list);

	json_decref(list);
	return count;
}

static json_t *report_of(
	struct node_registry *registry, const char *nqn, uint64_t elapsed_ns, double cpu_share)
{
	struct node *node = registry->node;
	struct sums now = sums_of(registry->sums, nqn), before = sums_of(registry->last, nqn);
	uint64_t ops = now.ops > before.ops ? now.ops - before.ops : 0;
	uint64_t errors = now.errors > before.errors ? now.errors - before.errors : 0;
	uint64_t ns = now.latency_ns > before.latency_ns ? now.latency_ns - before.latency_ns : 0;
	uint64_t up_ns = xu_clock_now_ns(xu_clock_system()) - node->start_ns;

	return json_pack("{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:f, s:f, s:I}", "current_iops",
		(json_int_t)rate(now.ops, before.ops, elapsed_ns), "current_bandwidth_mbps",
		(json_int_t)(rate(now.bytes, before.bytes, elapsed_ns) / 1000000), "avg_latency_us",
		(json_int_t)(ops != 0 ? ns / ops / 1000 : 0), "load_percentage",
		(json_int_t)(cpu_share * 100), "error_rate",
		ops + errors != 0 ? (double)errors / (double)(ops + errors) : 0.0,
		"active_connections", (json_int_t)nr_connections(node, nqn), "io_count",
		(json_int_t)now.ops, "error_count", (json_int_t)now.errors, "cpu_usage", cpu_share,
		"memory_usage", memory_share(), "uptime_seconds",
		(json_int_t)(up_ns / XU_NS_PER_S));
}

static void make_reports(struct node_registry *registry)
{
	uint64_t now_ns = xu_clock_now_ns(xu_clock_system()), cpu_ns = process_cpu_ns();
	uint64_t elapsed_ns = registry->round_ns != 0 ? now_ns - registry->round_ns : 0;
	uint32_t nr_reactors = xbdev_ctx_nr_reactors(registry->node->ctx);
	double share = elapsed_ns != 0 ? (double)(cpu_ns - registry->cpu_ns) /
						 ((double)elapsed_ns * nr_reactors)
				       : 0;
	json_t *subsystem;
	const char *nqn;

	json_object_clear(registry->metrics);
	json_object_foreach (model_subsystems(registry->node->made), nqn, subsystem) {
		json_object_set_new(registry->metrics, nqn,
			report_of(registry, nqn, elapsed_ns, share < 1 ? share : 1));
	}
	registry->round_ns = now_ns;
	registry->cpu_ns = cpu_ns;
	json_decref(registry->last);
	registry->last = registry->sums;
	registry->sums = json_object();
}

/* ---- what is exported ---- */

/* What a subsystem has: bytes of all its namespaces, and of the first what it is. */
static json_t *storage_of(struct node *node, json_t *subsystem, uint64_t *ret_bytes)
{
	json_t *namespaces = json_object_get(subsystem, "namespaces"), *ns, *storage = NULL;
	const char *nsid;

	*ret_bytes = 0;
	json_object_foreach (namespaces, nsid, ns) {
		const char *name = json_string_value(json_object_get(ns, "device"));
		struct xbdev_device *dev = name != NULL ? xbdev_device_find(node->ctx, name) : NULL;

		if (dev == NULL) {
			continue;
		}
		*ret_bytes += dev->nr_blocks * dev->limits.block_size;
		if (storage == NULL) {
			storage = json_pack("{s:s, s:I, s:I, s:b}", "device_path", dev->name,
				"block_size", (json_int_t)dev->limits.block_size, "namespace_id",
				(json_int_t)(json_object_size(namespaces) == 1
						     ? strtoul(nsid, NULL, 10)
						     : 0),
				"readonly", json_is_true(json_object_get(ns, "read_only")));
		}
	}
	return storage;
}

const char *node_registry_address(struct node *node, const json_t *listener)
{
	const char *advertise = json_string_value(json_object_get(listener, "advertise"));
	const char *address = json_string_value(json_object_get(listener, "traddr"));

	return advertise != NULL                  ? advertise
	       : !xr_address_is_wildcard(address) ? address
						  : node->started->settings.registry.address;
}

/* Where hosts reach a listener; NULL: it is not known. */
static const char *address_of(struct node_registry *registry, const json_t *listener)
{
	const char *address = node_registry_address(registry->node, listener);

	if (address == NULL && !registry->has_told_wildcard) {
		registry->has_told_wildcard = true;
		xu_warn(registry->node->log,
			"a listener on %s is not registered, for no host could be told where that "
			"is: give it \"advertise\", or \"address\" in \"registry\"",
			json_string_value(json_object_get(listener, "traddr")));
	}
	return address;
}

static json_t *target_of(
	struct node_registry *registry, const char *nqn, json_t *subsystem, json_t *listener)
{
	struct node *node = registry->node;
	const struct config_registry *config = &node->started->settings.registry;
	const char *port = json_string_value(json_object_get(listener, "trsvcid"));
	const char *address = address_of(registry, listener);
	json_t *storage, *metrics = json_object_get(registry->metrics, nqn), *body;
	uint64_t bytes;

	if (address == NULL || port == NULL) {
		return NULL;
	}
	storage = storage_of(node, subsystem, &bytes);
	body = json_pack("{s:s, s:{s:s, s:s, s:s, s:i, s:I}, s:{s:I}, s:I, s:o*, s:o*, s:o*}",
		"node_id", registry->node_id, "target_info", "nqn", nqn, "transport", "tcp",
		"address", address, "port", atoi(port), "namespace_capacity", (json_int_t)bytes,
		"performance_caps", "max_queue_depth",
		(json_int_t)xnvmf_target_get_opts(node->target)->max_queue_depth, "ttl_seconds",
		(json_int_t)config->interval_s * 3 + 5, "storage", storage, "metrics",
		metrics != NULL ? json_deep_copy(metrics) : NULL, "actual",
		central_actual(node, nqn));
	if (body != NULL && config->metadata != NULL) {
		json_object_set_new(body, "metadata", json_deep_copy(config->metadata));
	}
	if (body != NULL && config->tags != NULL) {
		json_object_set_new(
			body, "config", json_pack("{s:o}", "tags", json_deep_copy(config->tags)));
	}
	return body;
}

/* What the registry wants is put back where it has been lost: by a document that was loaded as a
 * whole, say. Not while something is being changed. */
static void keep_central(struct node_registry *registry)
{
	struct node *node = registry->node;
	json_t *entry;
	const char *key;

	if (!node->is_ready || node->has_turn || !xu_list_is_empty(&node->changes)) {
		return;
	}
	json_object_foreach (registry->central, key, entry) {
		const char *nqn = json_string_value(json_array_get(entry, 0));
		const char *place = json_string_value(json_array_get(entry, 1));
		json_t *subsystem = model_subsystem(node->wanted, nqn);
		json_t *config = json_array_get(entry, 2);

		if (subsystem != NULL &&
			!model_equal(json_object_get(json_object_get(subsystem, "registry"), place),
				config)) {
			xu_warn(node->log,
				"%s: what the registry wants of it was lost, and is set again",
				nqn);
			central_set(node, nqn, place, json_deep_copy(config), NULL, NULL);
		}
	}
}

static void tell(struct node_registry *registry)
{
	json_t *targets = json_array(), *subsystem, *listener, *target;
	const char *nqn, *key;

	json_object_foreach (model_subsystems(registry->node->made), nqn, subsystem) {
		json_object_foreach (json_object_get(subsystem, "listeners"), key, listener) {
			target = target_of(registry, nqn, subsystem, listener);
			if (target != NULL) {
				json_array_append_new(targets, target);
			}
		}
	}
	/* Before all of it is there, what there is would be a wrong answer. */
	if (targets != NULL && registry->responder != NULL && registry->node->is_ready) {
		xreg_responder_set(registry->responder, targets);
	}
	if (targets != NULL && registry->agent != NULL) {
		xreg_agent_set(registry->agent, targets);
	} else {
		json_decref(targets);
	}
	keep_central(registry);
}

/* ---- a round ---- */

static void free_registry(struct node_registry *registry)
{
	json_decref(registry->pairs);
	json_decref(registry->sums);
	json_decref(registry->last);
	json_decref(registry->metrics);
	json_decref(registry->central);
	free(registry->token);
	free(registry);
}

static void ask_next(struct node_registry *registry);

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	struct node_registry *registry = arg;
	json_t *pair = json_array_get(registry->pairs, registry->next - 1);

	registry->is_asking = false;
	if (registry->is_over) {
		free_registry(registry);
		return;
	}
	if (stats != NULL) {
		add_stats(registry, json_string_value(json_array_get(pair, 0)), stats);
	}
	ask_next(registry);
}

static void ask_next(struct node_registry *registry)
{
	struct node *node = registry->node;
	struct xbdev_device *dev = NULL;
	json_t *pair;

	while (dev == NULL && (pair = json_array_get(registry->pairs, registry->next)) != NULL) {
		registry->next++;
		dev = xbdev_device_find(node->ctx, json_string_value(json_array_get(pair, 1)));
	}
	if (dev != NULL) {
		registry->is_asking = true;
		xbdev_device_stats(dev, false, on_stats, registry);
		return;
	}
	json_decref(registry->pairs);
	registry->pairs = NULL;
	make_reports(registry);
	tell(registry);
}

static void on_timer(struct xr_timer *timer)
{
	struct node_registry *registry = xu_container_of(timer, struct node_registry, timer);
	struct node *node = registry->node;
	json_t *subsystem, *ns;
	const char *nqn, *nsid;

	xr_timer_start(xbdev_ctx_control(node->ctx), timer,
		node->started->settings.registry.interval_s * XU_NS_PER_S);
	if (registry->pairs != NULL) {
		return; /* the last round is still going on */
	}
	registry->pairs = json_array();
	registry->next = 0;
	json_object_clear(registry->sums);
	json_object_foreach (model_subsystems(node->made), nqn, subsystem) {
		json_object_foreach (json_object_get(subsystem, "namespaces"), nsid, ns) {
			json_array_append_new(registry->pairs,
				json_pack("[s, O]", nqn, json_object_get(ns, "device")));
		}
	}
	ask_next(registry);
}

/* ---- what the registry says of a target ---- */

struct state_msg {
	struct xr_msg msg;
	struct node *node;
	bool is_draining;
	char nqn[];
};

static void on_state_msg(struct xr_msg *msg)
{
	struct state_msg *state = xu_container_of(msg, struct state_msg, msg);
	struct xnvmf_subsystem *subsystem = NULL;

	if (state->node->target != NULL && !state->node->is_stopping) {
		subsystem = xnvmf_subsystem_find(state->node->target, state->nqn);
	}
	if (subsystem != NULL) {
		xnvmf_subsystem_set_draining(subsystem, state->is_draining);
	}
	free(state);
}

/* On the agent's thread. */
static void on_state(void *arg, const char *nqn, const char *status, const char *reason)
{
	struct node *node = arg;
	size_t len = strlen(nqn) + 1;
	struct state_msg *state = calloc(1, sizeof(*state) + len);

	if (state == NULL) {
		return;
	}
	state->msg.fn = on_state_msg;
	state->node = node;
	state->is_draining = strcmp(status, "maintenance") == 0 && strcmp(reason, "draining") == 0;
	memcpy(state->nqn, nqn, len);
	xr_msg_send(xbdev_ctx_control(node->ctx), &state->msg);
}

/* ---- what the registry wants of a target ---- */

/* On its way to the control reactor, and there until it has been carried out. */
struct config_msg {
	struct xr_msg msg;
	struct node *node;
	uint64_t revision;
	json_t *config; /* NULL: it is in no registry any more */
	char place[CENTRAL_PLACE_SIZE];
	char nqn[];
};

static void free_config_msg(struct config_msg *config)
{
	json_decref(config->config);
	free(config);
}

static void forget(struct node_registry *registry, const struct config_msg *config)
{
	char key[sizeof(config->place) + XNVMF_NQN_MAX + 2];

	snprintf(key, sizeof(key), "%s %s", config->nqn, config->place);
	json_object_del(registry->central, key);
}

/* Notes what has been made so; nothing where nothing is wanted. */
static void remember(struct node_registry *registry, const struct config_msg *config)
{
	json_t *subsystem = model_subsystem(registry->node->wanted, config->nqn);
	json_t *now = json_object_get(json_object_get(subsystem, "registry"), config->place);
	char key[sizeof(config->place) + XNVMF_NQN_MAX + 2];

	snprintf(key, sizeof(key), "%s %s", config->nqn, config->place);
	if (now != NULL) {
		json_object_set_new(registry->central, key,
			json_pack("[s, s, o]", config->nqn, config->place, json_deep_copy(now)));
	} else {
		json_object_del(registry->central, key);
	}
}

static void on_config_done(void *arg, const struct xu_error *err)
{
	struct config_msg *config = arg;
	struct node *node = config->node;

	if (node->registry != NULL && err->code == 0) {
		remember(node->registry, config);
	}
	/* A node that stops has refused nothing: it is asked again when it is back. */
	if (node->registry != NULL && err->code != -ESHUTDOWN) {
		xreg_agent_answer(node->registry->agent, config->nqn, config->place,
			config->revision, err->code != 0 ? err->text : NULL,
			central_actual(node, config->nqn));
	}
	free_config_msg(config);
}

static void on_config_msg(struct xr_msg *msg)
{
	struct config_msg *config = xu_container_of(msg, struct config_msg, msg);
	struct node *node = config->node;
	json_t *wanted = config->config;

	config->config = NULL;
	if (node->registry == NULL || node->is_stopping) {
		json_decref(wanted);
		free_config_msg(config);
	} else if (wanted == NULL) {
		forget(node->registry, config);
		central_set(node, config->nqn, config->place, NULL, NULL, NULL);
		free_config_msg(config);
	} else {
		central_set(node, config->nqn, config->place, wanted, on_config_done, config);
	}
}

/* On an agent's thread. */
static void on_config(
	void *arg, const char *nqn, const char *place, uint64_t revision, const json_t *wanted)
{
	struct node *node = arg;
	size_t len = strlen(nqn) + 1;
	struct config_msg *config = calloc(1, sizeof(*config) + len);

	if (config == NULL) {
		return;
	}
	config->msg.fn = on_config_msg;
	config->node = node;
	config->revision = revision;
	config->config = wanted != NULL ? json_deep_copy(wanted) : NULL;
	snprintf(config->place, sizeof(config->place), "%s", place);
	memcpy(config->nqn, nqn, len);
	xr_msg_send(xbdev_ctx_control(node->ctx), &config->msg);
}

/* ---- life ---- */

/* The first line of the file. */
static int read_token(struct node_registry *registry, const char *path, struct xu_error *err)
{
	char text[TOKEN_MAX + 2];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	int rc = len < 0 ? -errno : 0;

	if (fd >= 0) {
		close(fd);
	}
	if (rc == 0) {
		text[len] = '\0';
		text[strcspn(text, "\r\n")] = '\0';
		registry->token = strdup(text);
		rc = registry->token != NULL ? 0 : -ENOMEM;
	}
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "reading the registry's token %s", path);
}

static int start_agent(struct node_registry *registry, struct xu_error *err)
{
	struct node *node = registry->node;
	const struct config_registry *config = &node->started->settings.registry;
	struct xreg_agent_opts opts;
	int rc = config->token_path != NULL ? read_token(registry, config->token_path, err) : 0;

	opts = (struct xreg_agent_opts){.url = config->url,
		.node_id = registry->node_id,
		.token = registry->token,
		.ca_path = config->ca_path,
		.cert_path = config->cert_path,
		.key_path = config->key_path,
		.interval_s = config->interval_s,
		.leave = (enum xreg_agent_leave)config->leave,
		.log = node->log,
		.on_state = on_state,
		.on_config = on_config,
		.arg = node};
	return rc == 0 ? xreg_agent_start(&opts, &registry->agent, err) : rc;
}

static int start_responder(struct node_registry *registry, struct xu_error *err)
{
	struct node *node = registry->node;
	const struct config_registry *config = &node->started->settings.registry;
	struct xreg_responder_opts opts = {.net = {.group = config->multicast.group,
						   .port = (uint16_t)config->multicast.port,
						   .interface = config->multicast.interface},
		.node_id = registry->node_id,
		.log = node->log};
	const char *member;
	char *key = NULL;
	int rc = 0;

	if (config->multicast.key_path != NULL || config->multicast.key_variable != NULL) {
		rc = xreg_mcast_key_read(
			config->multicast.key_path, config->multicast.key_variable, &key, err);
	}
	opts.net.key = key;
	if (rc == 0 && xreg_mcast_check(&opts.net, &member, err) != 0) {
		rc = xu_error_prefix(err, "registry.%s", member);
	}
	rc = rc == 0 ? xreg_responder_start(&opts, &registry->responder, err) : rc;
	free(key);
	return rc;
}

int node_registry_start(struct node *node, struct xu_error *err)
{
	const struct config_registry *config = &node->started->settings.registry;
	struct node_registry *registry;
	int rc;

	if (config->url == NULL && !config->has_multicast) {
		return 0;
	}
	registry = calloc(1, sizeof(*registry));
	if (registry == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the registry's agent");
	}
	registry->node = node;
	registry->sums = json_object();
	registry->last = json_object();
	registry->metrics = json_object();
	registry->central = json_object();
	registry->timer.fn = on_timer;
	gethostname(registry->node_id, sizeof(registry->node_id) - 1);
	if (config->node_id != NULL) {
		snprintf(registry->node_id, sizeof(registry->node_id), "%s", config->node_id);
	}
	rc = config->has_multicast ? start_responder(registry, err) : 0;
	if (rc == 0 && config->url != NULL) {
		rc = start_agent(registry, err);
	}
	if (rc != 0) {
		xreg_responder_stop(registry->responder);
		free_registry(registry);
		return rc;
	}
	node->registry = registry;
	on_timer(&registry->timer);
	return 0;
}

void node_registry_changed(struct node *node)
{
	if (node->registry != NULL && node->is_ready && !node->is_stopping) {
		tell(node->registry);
	}
}

void node_registry_stop(struct node *node)
{
	struct node_registry *registry = node->registry;

	if (registry == NULL) {
		return;
	}
	node->registry = NULL;
	xr_timer_stop(xbdev_ctx_control(node->ctx), &registry->timer);
	xreg_responder_stop(registry->responder);
	xreg_agent_stop(registry->agent, GOODBYE_MS);
	registry->is_over = true;
	if (!registry->is_asking) {
		free_registry(registry);
	}
}

json_t *node_registry_status(struct node *node)
{
	struct node_registry *registry = node->registry;
	json_t *status;

	if (registry == NULL) {
		return NULL;
	}
	status = registry->agent != NULL ? xreg_agent_status(registry->agent) : json_object();
	if (registry->responder != NULL) {
		json_object_set_new(
			status, "multicast", xreg_responder_status(registry->responder));
	}
	return status;
}
