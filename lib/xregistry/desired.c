/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Desired configurations: read, checked, written, and what becomes of one by what is set and what
 * nodes say. A configuration is one block of memory, the hosts behind the structure.
 */
#include "lib/xregistry/desired.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/target.h"

static const char *const outcome_names[] = {"pending", "applied", "refused", "rolled-back"};

static const struct {
	uint32_t part;
	const char *name;
} part_names[] = {
	{XREG_CONFIG_QUEUE_DEPTH, "queue_depth"},
	{XREG_CONFIG_CONNECTIONS, "max_connections"},
	{XREG_CONFIG_IOPS, "max_iops"},
	{XREG_CONFIG_BANDWIDTH, "max_bandwidth_mbps"},
	{XREG_CONFIG_HOSTS, "access.hosts"},
	{XREG_CONFIG_READ_ONLY, "access.read_only"},
	{XREG_CONFIG_INTERVAL, "discovery_interval"},
	{XREG_CONFIG_WEIGHT, "weight"},
};
#define NR_PARTS (sizeof(part_names) / sizeof(part_names[0]))

const char *xreg_outcome_name(uint32_t outcome)
{
	return outcome <= XREG_CONFIG_ROLLED_BACK ? outcome_names[outcome] : NULL;
}

json_t *xreg_config_names(uint32_t parts)
{
	json_t *names = json_array();

	for (size_t i = 0; i < NR_PARTS; i++) {
		if (parts & part_names[i].part) {
			json_array_append_new(names, json_string(part_names[i].name));
		}
	}
	return names;
}

/* ---- reading ---- */

struct access_section {
	bool any_host, is_read_only;
	json_t *hosts;
};

static const struct xu_param access_params[] = {
	{"any_host", XU_PARAM_BOOL, offsetof(struct access_section, any_host),
		.help = "any host may connect (default false: those of hosts)"},
	{"hosts", XU_PARAM_JSON, offsetof(struct access_section, hosts),
		.help = "list of the NQNs of hosts that may connect"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct access_section, is_read_only),
		.help = "writes are refused"},
	{0},
};

struct config_sections {
	struct xreg_config config;
	json_t *access, *weight;
};

#define OFFSET(member)                                                                             \
	(offsetof(struct config_sections, config) + offsetof(struct xreg_config, member))

static const struct xu_param config_params[] = {
	{"queue_depth", XU_PARAM_U32, OFFSET(queue_depth), .min = 2, .max = 65536,
		.help = "entries of an I/O queue"},
	{"max_connections", XU_PARAM_U32, OFFSET(max_connections), .min = 1, .max = 65535,
		.help = "hosts that are connected at a time"},
	{"max_iops", XU_PARAM_U64, OFFSET(max_iops), .min = 1, .max = INT64_MAX,
		.help = "I/Os a second"},
	{"max_bandwidth_mbps", XU_PARAM_U64, OFFSET(max_bandwidth_mbps), .min = 1, .max = INT64_MAX,
		.help = "megabytes a second"},
	{"access", XU_PARAM_JSON, offsetof(struct config_sections, access),
		.help = "an object with any_host, hosts and read_only"},
	{"discovery_interval", XU_PARAM_U32, OFFSET(discovery_interval_s), .min = 1,
		.max = XREG_INTERVAL_S_MAX, .help = "seconds"},
	{"weight", XU_PARAM_JSON, offsetof(struct config_sections, weight),
		.help = "a number from 0 to 1000"},
	{0},
};

static int fail(char path[XU_PARAM_PATH_SIZE], const char *where)
{
	snprintf(path, XU_PARAM_PATH_SIZE, "%s", where);
	return -EINVAL;
}

static int check_hosts(
	json_t *hosts, bool any_host, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	json_t *host;
	size_t i;

	if (!json_is_array(hosts) || json_array_size(hosts) > XREG_ALLOWED_HOSTS_MAX) {
		xu_error_set(err, -EINVAL, "access.hosts: a list of at most %u NQNs is needed",
			XREG_ALLOWED_HOSTS_MAX);
		return fail(path, "access.hosts");
	}
	if (any_host && json_array_size(hosts) != 0) {
		xu_error_set(err, -EINVAL,
			"access.hosts: any host may connect (any_host), so a list means nothing; "
			"leave one of the two out");
		return fail(path, "access.hosts");
	}
	json_array_foreach (hosts, i, host) {
		const char *nqn = json_string_value(host);

		if (nqn == NULL || strlen(nqn) != json_string_length(host)) {
			xu_error_set(err, -EINVAL, "access.hosts: element %zu is no text", i);
			return fail(path, "access.hosts");
		}
		if (xnvmf_nqn_check(nqn, err) != 0) {
			xu_error_prefix(err, "access.hosts");
			return fail(path, "access.hosts");
		}
	}
	return 0;
}

static int parse_access(json_t *object, struct xreg_config *config, json_t **ret_hosts,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	struct access_section access = {0};
	char inner[XU_PARAM_PATH_SIZE] = "";

	if (xu_params_parse(access_params, &access, object, inner, err) != 0) {
		snprintf(path, XU_PARAM_PATH_SIZE, "access%s%.200s", inner[0] != '\0' ? "." : "",
			inner);
		return -EINVAL;
	}
	if (json_object_get(object, "any_host") != NULL || access.hosts != NULL) {
		config->set |= XREG_CONFIG_HOSTS;
		config->any_host = access.any_host;
	}
	if (json_object_get(object, "read_only") != NULL) {
		config->set |= XREG_CONFIG_READ_ONLY;
		config->is_read_only = access.is_read_only;
	}
	*ret_hosts = access.hosts;
	return access.hosts != NULL ? check_hosts(access.hosts, access.any_host, path, err) : 0;
}

static int parse_weight(json_t *weight, struct xreg_config *config, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err)
{
	config->weight = json_is_number(weight) ? json_number_value(weight) : -1;
	if (config->weight >= 0 && config->weight <= XREG_WEIGHT_MAX) {
		config->set |= XREG_CONFIG_WEIGHT;
		return 0;
	}
	xu_error_set(err, -EINVAL, "weight: a number from 0 to %g is needed", XREG_WEIGHT_MAX);
	return fail(path, "weight");
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A configuration of its own, with the hosts sorted. NULL: no memory. */
static struct xreg_config *config_new(const struct xreg_config *values, const json_t *hosts)
{
	size_t count = json_array_size(hosts), len = 0, nr = 0;
	struct xreg_config *config;
	const char **list;
	json_t *host;
	char *text;
	size_t i;

	json_array_foreach (hosts, i, host) {
		len += json_string_length(host) + 1;
	}
	config = calloc(1, sizeof(*config) + count * sizeof(*list) + len);
	if (config == NULL) {
		return NULL;
	}
	*config = *values;
	atomic_init(&config->nr_refs, 1);
	list = (const char **)(config + 1);
	text = (char *)(list + count);
	json_array_foreach (hosts, i, host) {
		strcpy(text, json_string_value(host));
		list[i] = text;
		text += json_string_length(host) + 1;
	}
	if (count != 0) {
		qsort(list, count, sizeof(*list), compare_texts);
	}
	for (i = 0; i < count; i++) {
		if (i == 0 || strcmp(list[i], list[nr - 1]) != 0) {
			list[nr++] = list[i];
		}
	}
	config->hosts = list;
	config->nr_hosts = (uint32_t)nr;
	return config;
}

int xreg_config_parse(json_t *body, struct xreg_config **ret_config, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err)
{
	struct config_sections sections = {0};
	struct xreg_config *config = &sections.config;
	json_t *hosts = NULL;
	int rc = xu_params_parse(config_params, &sections, body, path, err);

	for (size_t i = 0; rc == 0 && i < NR_PARTS; i++) {
		/* "weight" is looked at below. */
		if (json_object_get(body, part_names[i].name) != NULL &&
			part_names[i].part != XREG_CONFIG_WEIGHT) {
			config->set |= part_names[i].part;
		}
	}
	if (rc == 0 && sections.access != NULL) {
		rc = parse_access(sections.access, config, &hosts, path, err);
	}
	if (rc == 0 && sections.weight != NULL) {
		rc = parse_weight(sections.weight, config, path, err);
	}
	if (rc != 0) {
		return rc;
	}
	*ret_config = config_new(config, hosts);
	return *ret_config != NULL
		       ? 0
		       : xu_error_set_errno(err, -ENOMEM, "reading a desired configuration");
}

/* ---- writing ---- */

static void put(json_t *object, const char *name, json_t *value, int *failed)
{
	*failed += json_object_set_new(object, name, value) != 0;
}

static void put_number(json_t *object, const char *name, uint64_t number, int *failed)
{
	put(object, name, json_integer((json_int_t)number), failed);
}

static json_t *access_to_json(const struct xreg_config *config, int *failed)
{
	json_t *access = json_object(), *hosts;

	if (config->set & XREG_CONFIG_HOSTS) {
		hosts = json_array();
		for (uint32_t i = 0; i < config->nr_hosts; i++) {
			*failed += json_array_append_new(hosts, json_string(config->hosts[i])) != 0;
		}
		put(access, "any_host", json_boolean(config->any_host), failed);
		put(access, "hosts", hosts, failed);
	}
	if (config->set & XREG_CONFIG_READ_ONLY) {
		put(access, "read_only", json_boolean(config->is_read_only), failed);
	}
	return access;
}

json_t *xreg_config_to_json(const struct xreg_config *config)
{
	json_t *object = json_object();
	uint32_t set = config != NULL ? config->set : 0;
	int failed = object == NULL;

	if (set & XREG_CONFIG_QUEUE_DEPTH) {
		put_number(object, "queue_depth", config->queue_depth, &failed);
	}
	if (set & XREG_CONFIG_CONNECTIONS) {
		put_number(object, "max_connections", config->max_connections, &failed);
	}
	if (set & XREG_CONFIG_IOPS) {
		put_number(object, "max_iops", config->max_iops, &failed);
	}
	if (set & XREG_CONFIG_BANDWIDTH) {
		put_number(object, "max_bandwidth_mbps", config->max_bandwidth_mbps, &failed);
	}
	if (set & (XREG_CONFIG_HOSTS | XREG_CONFIG_READ_ONLY)) {
		put(object, "access", access_to_json(config, &failed), &failed);
	}
	if (set & XREG_CONFIG_INTERVAL) {
		put_number(object, "discovery_interval", config->discovery_interval_s, &failed);
	}
	if (set & XREG_CONFIG_WEIGHT) {
		put(object, "weight", json_real(config->weight), &failed);
	}
	if (failed != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* ---- references ---- */

struct xreg_config *xreg_config_ref(const struct xreg_config *config)
{
	struct xreg_config *own = (struct xreg_config *)(uintptr_t)config;

	if (own != NULL) {
		atomic_fetch_add_explicit(&own->nr_refs, 1, memory_order_relaxed);
	}
	return own;
}

void xreg_config_unref(const struct xreg_config *config)
{
	struct xreg_config *own = (struct xreg_config *)(uintptr_t)config;

	if (own != NULL && atomic_fetch_sub_explicit(&own->nr_refs, 1, memory_order_acq_rel) == 1) {
		free(own);
	}
}

struct xreg_desired *xreg_desired_ref(const struct xreg_desired *desired)
{
	struct xreg_desired *own = (struct xreg_desired *)(uintptr_t)desired;

	if (own != NULL) {
		atomic_fetch_add_explicit(&own->nr_refs, 1, memory_order_relaxed);
	}
	return own;
}

void xreg_desired_unref(const struct xreg_desired *desired)
{
	struct xreg_desired *own = (struct xreg_desired *)(uintptr_t)desired;

	if (own != NULL && atomic_fetch_sub_explicit(&own->nr_refs, 1, memory_order_acq_rel) == 1) {
		xreg_config_unref(own->config);
		xreg_config_unref(own->fallback);
		free(own);
	}
}

static struct xreg_desired *desired_new(
	uint64_t revision, const struct xreg_config *config, const struct xreg_config *fallback)
{
	struct xreg_desired *desired = calloc(1, sizeof(*desired));

	if (desired != NULL) {
		atomic_init(&desired->nr_refs, 1);
		desired->revision = revision;
		desired->config = xreg_config_ref(config);
		desired->fallback = xreg_config_ref(fallback);
	}
	return desired;
}

/* ---- what becomes of one ---- */

struct xreg_desired *xreg_desired_set(
	const struct xreg_desired *before, const struct xreg_config *config, uint64_t revision)
{
	const struct xreg_config *fallback = NULL;

	if (before != NULL) {
		fallback = before->is_confirmed ? before->config : before->fallback;
	}
	return desired_new(revision, config, fallback);
}

/* Back to the last that was applied; it is pushed like every other. */
static struct xreg_desired *roll_back(const struct xreg_desired *before, uint64_t revision)
{
	static const struct xreg_config nothing;
	struct xreg_config *config = before->fallback != NULL ? xreg_config_ref(before->fallback)
							      : config_new(&nothing, NULL);
	struct xreg_desired *desired =
		config != NULL ? desired_new(revision, config, before->fallback) : NULL;

	xreg_config_unref(config);
	if (desired != NULL) {
		desired->outcome = XREG_CONFIG_ROLLED_BACK;
	}
	return desired;
}

/* The same configuration with another outcome. */
static struct xreg_desired *copy_of(const struct xreg_desired *before, uint32_t outcome)
{
	struct xreg_desired *desired =
		desired_new(before->revision, before->config, before->fallback);

	if (desired != NULL) {
		desired->outcome = outcome;
		desired->is_confirmed = before->is_confirmed;
		desired->refused_revision = before->refused_revision;
		memcpy(desired->reason, before->reason, sizeof(desired->reason));
	}
	return desired;
}

static struct xreg_desired *applied(const struct xreg_desired *before)
{
	bool is_rolled_back = before->outcome == XREG_CONFIG_ROLLED_BACK;
	struct xreg_desired *desired =
		copy_of(before, is_rolled_back ? XREG_CONFIG_ROLLED_BACK : XREG_CONFIG_APPLIED);

	if (desired != NULL) {
		desired->is_confirmed = true;
		if (!is_rolled_back) {
			desired->refused_revision = 0;
			desired->reason[0] = '\0';
		}
	}
	return desired;
}

static struct xreg_desired *refused(
	const struct xreg_desired *before, const char *reason, uint64_t revision)
{
	/* Only what was never applied is rolled back, and only once. */
	struct xreg_desired *desired = before->outcome == XREG_CONFIG_PENDING
					       ? roll_back(before, revision)
					       : copy_of(before, XREG_CONFIG_REFUSED);

	if (desired != NULL) {
		desired->refused_revision = before->revision;
		snprintf(desired->reason, sizeof(desired->reason), "%s", reason);
	}
	return desired;
}

int xreg_desired_judge(const struct xreg_desired *before, const struct xreg_verdict *verdict,
	uint64_t revision, struct xreg_desired **ret_desired, struct xu_error *err)
{
	uint64_t current = before != NULL ? before->revision : 0;

	*ret_desired = NULL;
	if (verdict->revision != current) {
		return xu_error_set(err, -ESTALE,
			"the configuration that is desired has revision %llu, not %llu",
			(unsigned long long)current, (unsigned long long)verdict->revision);
	}
	if (before == NULL ||
		(verdict->is_applied
				? before->is_confirmed && before->outcome != XREG_CONFIG_REFUSED
				: before->outcome == XREG_CONFIG_REFUSED &&
					  strncmp(before->reason, verdict->reason,
						  XREG_REASON_SIZE - 1) == 0)) {
		return 0;
	}
	*ret_desired =
		verdict->is_applied ? applied(before) : refused(before, verdict->reason, revision);
	return *ret_desired != NULL ? 0
				    : xu_error_set_errno(err, -ENOMEM, "noting what a node says");
}

/* ---- stored ---- */

struct stored {
	uint64_t revision, refused_revision;
	uint32_t outcome;
	bool is_confirmed;
	const char *reason;
	json_t *config, *fallback;
};

static const struct xu_param stored_params[] = {
	{"revision", XU_PARAM_U64, offsetof(struct stored, revision), .is_required = true,
		.help = "at which it was set"},
	{"outcome", XU_PARAM_U32, offsetof(struct stored, outcome), .max = XREG_CONFIG_ROLLED_BACK,
		.help = "what became of it"},
	{"confirmed", XU_PARAM_BOOL, offsetof(struct stored, is_confirmed),
		.help = "whether the node has it"},
	{"refused_revision", XU_PARAM_U64, offsetof(struct stored, refused_revision),
		.help = "of what was refused last"},
	{"reason", XU_PARAM_STRING, offsetof(struct stored, reason), .help = "why it was refused"},
	{"config", XU_PARAM_JSON, offsetof(struct stored, config), .is_required = true,
		.help = "what is desired"},
	{"fallback", XU_PARAM_JSON, offsetof(struct stored, fallback),
		.help = "what was applied before"},
	{0},
};

json_t *xreg_desired_to_json(const struct xreg_desired *desired)
{
	json_t *object = json_object();
	int failed = object == NULL;

	put_number(object, "revision", desired->revision, &failed);
	put_number(object, "outcome", desired->outcome, &failed);
	put(object, "confirmed", json_boolean(desired->is_confirmed), &failed);
	if (desired->refused_revision != 0) {
		put_number(object, "refused_revision", desired->refused_revision, &failed);
	}
	if (desired->reason[0] != '\0') {
		put(object, "reason", json_string(desired->reason), &failed);
	}
	put(object, "config", xreg_config_to_json(desired->config), &failed);
	if (desired->fallback != NULL) {
		put(object, "fallback", xreg_config_to_json(desired->fallback), &failed);
	}
	if (failed != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int xreg_desired_from_json(json_t *object, struct xreg_desired **ret_desired, struct xu_error *err)
{
	struct stored stored = {.reason = ""};
	struct xreg_config *config = NULL, *fallback = NULL;
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_desired *desired;
	int rc = xu_params_parse(stored_params, &stored, object, path, err);

	if (rc == 0) {
		rc = xreg_config_parse(stored.config, &config, path, err);
	}
	if (rc == 0 && stored.fallback != NULL) {
		rc = xreg_config_parse(stored.fallback, &fallback, path, err);
	}
	desired = rc == 0 ? desired_new(stored.revision, config, fallback) : NULL;
	xreg_config_unref(config);
	xreg_config_unref(fallback);
	if (rc != 0) {
		return xu_error_prefix(err, "the desired configuration");
	}
	if (desired == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "loading a desired configuration");
	}
	desired->outcome = stored.outcome;
	desired->is_confirmed = stored.is_confirmed;
	desired->refused_revision = stored.refused_revision;
	snprintf(desired->reason, sizeof(desired->reason), "%s", stored.reason);
	*ret_desired = desired;
	return 0;
}

/* ---- what counts ---- */

/* The configuration, when it sets the part. */
static const struct xreg_config *setting(const struct xreg_target *target, uint32_t part)
{
	const struct xreg_desired *desired = target->origin.desired;

	return desired != NULL && (desired->config->set & part) ? desired->config : NULL;
}

double xreg_target_weight(const struct xreg_target *target)
{
	const struct xreg_config *config = setting(target, XREG_CONFIG_WEIGHT);

	return config != NULL ? config->weight : target->spec.weight;
}

uint32_t xreg_target_interval_s(const struct xreg_target *target)
{
	const struct xreg_config *config = setting(target, XREG_CONFIG_INTERVAL);

	if (!target->spec.has_auto_discovery) {
		return 0;
	}
	return config != NULL ? config->discovery_interval_s : target->spec.discovery_interval_s;
}

bool xreg_target_is_fixed(const struct xreg_target *target)
{
	return !target->spec.has_auto_discovery && target->origin.source != XREG_STATIC;
}

uint32_t xreg_target_max_connections(const struct xreg_target *target)
{
	const struct xreg_config *config = setting(target, XREG_CONFIG_CONNECTIONS);

	return config != NULL ? config->max_connections : target->spec.max_connections;
}

bool xreg_target_is_read_only(const struct xreg_target *target)
{
	const struct xreg_config *config = setting(target, XREG_CONFIG_READ_ONLY);

	return target->spec.is_read_only || (config != NULL && config->is_read_only);
}
