/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A desired configuration becomes an edit of the model: one step for the subsystem, so all of it
 * holds or nothing. What this node cannot do is refused by its name before. What is the same as
 * before is answered at once, for the agent asks again whenever it is not sure.
 */
#include "daemon/xsand/central.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/change.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/config_central.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "daemon/xsand/registry.h"
#include "lib/util/log.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xnvmf/target/target.h"

#define HOSTS_TOLD_MAX 256u

struct setting {
	struct node *node;
	json_t *config; /* the node's part; NULL: nothing */
	char *nqn, *place;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;
};

static void free_setting(struct setting *setting)
{
	json_decref(setting->config);
	free(setting->nqn);
	free(setting->place);
	free(setting);
}

static bool is_made(const struct setting *setting)
{
	json_t *subsystem = model_subsystem(setting->node->made, setting->nqn);
	json_t *now = json_object_get(json_object_get(subsystem, "registry"), setting->place);

	return now == NULL ? json_object_size(setting->config) == 0
			   : model_equal(now, setting->config);
}

static void on_done(void *arg, const struct xu_error *err)
{
	static const struct xu_error good;
	struct setting *setting = arg;

	/* It holds and could not be saved, which is in the log: after a restart it is set again. */
	if (err->code != 0 && setting->nqn != NULL && json_object_size(setting->config) != 0 &&
		is_made(setting)) {
		err = &good;
	}
	if (setting->done != NULL) {
		setting->done(setting->arg, err);
	} else if (err->code != 0 && err->code != -ESHUTDOWN && err->code != -ENOENT) {
		xu_warn(setting->node->log, "%s: %s", setting->nqn, err->text);
	}
	free_setting(setting);
}

/* ---- what this node can do ---- */

/* Whether its namespaces can be written to where the node itself decides. */
static bool is_read_only(const json_t *model, const char *nqn)
{
	json_t *namespaces = json_object_get(model_subsystem(model, nqn), "namespaces"), *ns;
	const char *nsid;

	json_object_foreach (namespaces, nsid, ns) {
		if (!json_is_true(json_object_get(ns, "read_only"))) {
			return false;
		}
	}
	return json_object_size(namespaces) != 0;
}

static int check(const struct setting *setting, struct xu_error *err)
{
	static const char *const unknown[] = {"max_iops", "max_bandwidth_mbps"};
	struct node *node = setting->node;
	json_int_t depth_max,
		depth = json_integer_value(json_object_get(setting->config, "queue_depth"));
	json_t *access = json_object_get(setting->config, "access");

	if (model_subsystem(node->wanted, setting->nqn) == NULL) {
		return xu_error_set(
			err, -ENOENT, "this node has no subsystem %s any more", setting->nqn);
	}
	depth_max = xnvmf_target_get_opts(node->target)->max_queue_depth;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		if (json_object_get(setting->config, unknown[i]) != NULL) {
			return xu_error_set(err, -ENOTSUP,
				"%s: this node cannot limit %s; unset it", unknown[i],
				i == 0 ? "I/Os a second" : "the bandwidth");
		}
	}
	if (depth > depth_max) {
		return xu_error_set(err, -ERANGE,
			"queue_depth: %lld is more than this node has, at most %lld "
			"(nvmf.transport.max_queue_depth of its configuration)",
			(long long)depth, (long long)depth_max);
	}
	if (json_is_false(json_object_get(access, "read_only")) &&
		is_read_only(node->wanted, setting->nqn)) {
		return xu_error_set(err, -EROFS,
			"access.read_only: the namespaces are read-only in this node's own "
			"configuration, which cannot be overruled");
	}
	return 0;
}

/* ---- the edit ---- */

/* Whether one of the subsystem's listeners is registered as this. */
static bool is_place(struct node *node, const json_t *subsystem, const char *place)
{
	json_t *listeners = json_object_get(subsystem, "listeners"), *listener;
	char text[CENTRAL_PLACE_SIZE];
	const char *key;

	json_object_foreach (listeners, key, listener) {
		const char *address = node_registry_address(node, listener);
		const char *port = json_string_value(json_object_get(listener, "trsvcid"));

		snprintf(text, sizeof(text), "%s %s", address != NULL ? address : "", port);
		if (strcmp(text, place) == 0) {
			return true;
		}
	}
	return false;
}

/* Takes out what is of listeners that are gone. */
static void prune(struct node *node, const json_t *subsystem, json_t *central)
{
	const char *place;
	json_t *config;
	void *tmp;

	json_object_foreach_safe (central, tmp, place, config) {
		if (!is_place(node, subsystem, place)) {
			json_object_del(central, place);
		}
	}
}

/* "registry" of the subsystem as it is to be; NULL: no memory. */
static json_t *next_central(const json_t *subsystem, const struct setting *setting)
{
	json_t *before = json_object_get(subsystem, "registry");
	json_t *next = before != NULL ? xbdev_config_copy(before) : json_object();

	if (json_object_size(setting->config) == 0) {
		json_object_del(next, setting->place);
	} else if (next != NULL && json_object_set(next, setting->place, setting->config) != 0) {
		json_decref(next);
		next = NULL;
	}
	return next;
}

static int edit(void *arg, json_t *model, struct xu_error *err)
{
	const struct setting *setting = arg;
	json_t *subsystem = model_subsystem(model, setting->nqn), *next, *merged;
	int rc;

	if (subsystem == NULL) {
		return xu_error_set(
			err, -ENOENT, "this node has no subsystem %s any more", setting->nqn);
	}
	next = next_central(subsystem, setting);
	if (next == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "setting what the registry wants");
	}
	prune(setting->node, subsystem, next);
	rc = central_merge(next, &merged, err);
	if (rc == 0) {
		json_decref(merged);
		if (json_object_size(next) != 0) {
			json_object_set(subsystem, "registry", next);
		} else {
			json_object_del(subsystem, "registry");
		}
	}
	json_decref(next);
	return rc;
}

/* Whether it is so already. */
static bool is_same(const struct setting *setting)
{
	struct node *node = setting->node;
	json_t *wanted = json_object_get(model_subsystem(node->wanted, setting->nqn), "registry");
	json_t *made = json_object_get(model_subsystem(node->made, setting->nqn), "registry");

	return model_equal(wanted, made) && !node->has_turn && xu_list_is_empty(&node->changes) &&
	       is_made(setting);
}

/* What only the registry itself looks at. */
static void drop_registrys(json_t *config)
{
	json_object_del(config, "weight");
	json_object_del(config, "discovery_interval");
}

void central_set(struct node *node, const char *nqn, const char *place, json_t *config,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct setting *setting = calloc(1, sizeof(*setting));
	struct xu_error err = {0};

	if (setting != NULL) {
		*setting = (struct setting){.node = node,
			.config = config,
			.nqn = strdup(nqn),
			.place = strdup(place),
			.done = done,
			.arg = arg};
	}
	if (setting == NULL || setting->nqn == NULL || setting->place == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "setting what the registry wants");
		if (setting != NULL) {
			on_done(setting, &err);
		} else {
			json_decref(config);
			if (done != NULL) {
				done(arg, &err);
			}
		}
		return;
	}
	if (config != NULL) {
		drop_registrys(config);
	}
	if ((config != NULL && check(setting, &err) != 0) || is_same(setting)) {
		on_done(setting, &err);
	} else {
		change_edit(node, edit, on_done, setting);
	}
}

void central_forget(struct node *node)
{
	json_t *subsystem;
	const char *nqn;

	json_object_foreach (model_subsystems(node->wanted), nqn, subsystem) {
		json_t *central = json_object_get(subsystem, "registry");

		if (node->config->settings.registry.url != NULL) {
			prune(node, subsystem, central);
		}
		if (node->config->settings.registry.url == NULL || json_object_size(central) == 0) {
			json_object_del(subsystem, "registry");
		}
	}
}

/* ---- what there is ---- */

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In order, as many as are told. */
static json_t *sorted(const json_t *hosts)
{
	size_t count = json_array_size(hosts);
	const char **names = calloc(count + 1, sizeof(*names));
	json_t *list = json_array(), *host;
	size_t i;

	if (names != NULL) {
		json_array_foreach (hosts, i, host) {
			names[i] = json_string_value(host);
		}
		qsort(names, count, sizeof(*names), compare_texts);
		for (i = 0; i < count && i < HOSTS_TOLD_MAX; i++) {
			json_array_append_new(list, json_string(names[i]));
		}
	}
	free(names);
	return list;
}

json_t *central_actual(struct node *node, const char *nqn)
{
	struct xnvmf_subsystem *subsystem =
		node->target != NULL ? xnvmf_subsystem_find(node->target, nqn) : NULL;
	json_t *policy, *hosts, *actual;

	if (subsystem == NULL) {
		return NULL;
	}
	policy = xnvmf_subsystem_policy_json(subsystem);
	hosts = json_object_get(policy, "hosts");
	actual = json_pack("{s:O, s:O, s:i, s:i, s:{s:O, s:o, s:I, s:O}}", "queue_depth",
		json_object_get(policy, "queue_depth"), "max_connections",
		json_object_get(policy, "max_connections"), "max_iops", 0, "max_bandwidth_mbps", 0,
		"access", "any_host", json_object_get(policy, "allow_any_host"), "hosts",
		sorted(hosts), "nr_hosts", (json_int_t)json_array_size(hosts), "read_only",
		json_object_get(policy, "read_only"));
	json_decref(policy);
	return actual;
}
