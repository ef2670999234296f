/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the registry's REST interface as it is behind libmicrohttpd (mhd.h is here in its place):
 * up to 16 requests with a zero byte between them, each a line "METHOD PATH?QUERY", headers, an
 * empty line and a body. "@0" in a line is the id of the first target by place, "#0" its revision.
 * The store, its writer and whoever waits are real; the data is kept nowhere.
 *
 * Findings, besides what the sanitizers see: an answer that is no JSON or of a status that no
 * mistake of a caller's explains; a refusal that has changed something; a record that is not read
 * back as it was written; a target, a configuration or a zone group that is refused when it is put
 * as it was got, or is another then; pages that leave a target out; a call that is never answered.
 */
#include <ctype.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/rpc/http.h"
#include "lib/util/error.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/alert/notify.h"
#include "lib/xregistry/drain.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/rest/rest.h"
#include "lib/xregistry/select.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/wait.h"
#include "lib/xregistry/zone.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/memory.h"
#include "test/fuzz/mhd.h"

#define MAX_REQUESTS 16u
#define MAX_TARGETS  8u
#define MAX_EVENTS   16u
#define MAX_LINE     8192u
#define TARGETS      "/api/v1/targets"
#define ZONES        "/api/v1/zones"

struct world {
	struct xreg_store *store;
	struct xreg_waits *waits;
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	struct xreg_zones *zones;
	struct xreg_notifier *notifier;
	struct xreg_alerts *alerts; /* NULL: no request has to do with them */
	struct xrpc_access *access;
	struct xreg_rest *rest;
	struct MHD_Connection *staying[MAX_REQUESTS]; /* until there is something, or the end */
	uint32_t nr_staying;
	bool has_drain; /* one may be under way, and change things by itself */
};

struct answer {
	unsigned status;
	json_t *json; /* NULL: it is none */
	uint64_t revision;
};

/* A file of rules that nobody is told of. */
static char rules_path[64];

/* ---- the world ---- */

static void judge(void *arg, struct xreg_health_config *ret_config)
{
	xreg_health_config_default(ret_config);
}

static void measure(void *arg, double values[XREG_NR_METRICS])
{
}

static void start_alerts(struct world *w)
{
	const struct xreg_notifier_opts notifier = {.nr_tries = 1};
	struct xreg_alerts_opts opts = {.rules_path = rules_path,
		.data_dir = "/nowhere",
		.store = w->store,
		.interval_ms = 3600 * 1000,
		.measure = measure};
	struct xu_error err = {0};

	FUZZ_CHECK(xreg_notifier_start(&notifier, &w->notifier, &err) == 0, "%s", err.text);
	opts.notifier = w->notifier;
	FUZZ_CHECK(xreg_alerts_start(&opts, &w->alerts, &err) == 0, "%s", err.text);
}

static void start(struct world *w, bool has_alerts)
{
	const struct xreg_store_opts store = {.backend = &fuzz_memory,
		.nr_targets_max = MAX_TARGETS,
		.nr_events_kept = MAX_EVENTS};
	struct xrpc_http_opts http = {.address = "127.0.0.1", .nr_threads = 1};
	struct xreg_rest_opts rest = {.health = judge, .http = &http};
	struct xu_error err = {0};
	int rc = xreg_store_open(&store, &w->store, &err);

	rc = rc != 0 ? rc : xreg_waits_start(w->store, &w->waits, &err);
	rc = rc != 0 ? rc : xreg_drains_new(w->store, w->waits, &w->drains, &err);
	rc = rc != 0 ? rc : xreg_balancer_new(NULL, &w->balancer);
	rc = rc != 0 ? rc : xreg_zones_open(w->store, "/nowhere", NULL, NULL, &w->zones, &err);
	rc = rc != 0 ? rc : xrpc_access_new(&(const struct xrpc_access_opts){0}, &w->access);
	FUZZ_CHECK(rc == 0, "%d %s", rc, err.text);
	if (has_alerts) {
		start_alerts(w);
	}
	http.access = w->access;
	rest.store = w->store;
	rest.waits = w->waits;
	rest.drains = w->drains;
	rest.balancer = w->balancer;
	rest.zones = w->zones;
	rest.alerts = w->alerts;
	FUZZ_CHECK(xreg_rest_start(&rest, &w->rest, &err) == 0, "%s", err.text);
}

/* As the daemon ends: everybody who waits is answered. */
static void stop(struct world *w)
{
	xreg_rest_quiesce(w->rest);
	xreg_waits_end(w->waits);
	xreg_drains_free(w->drains);
	for (uint32_t i = 0; i < w->nr_staying; i++) {
		mhd_run(w->staying[i], false);
		mhd_close(w->staying[i]);
	}
	xreg_rest_stop(w->rest);
	xreg_alerts_stop(w->alerts);
	xreg_notifier_stop(w->notifier);
	xreg_waits_stop(w->waits);
	xreg_zones_close(w->zones);
	xreg_store_close(w->store);
	xreg_balancer_free(w->balancer);
	xrpc_access_free(w->access);
}

/* ---- targets by their number ---- */

struct nth {
	uint32_t left;
	char id[XREG_ID_SIZE]; /* "": there is none */
	uint64_t revision;
	bool has_connections; /* any of them */
};

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct nth *nth = arg;
	struct xreg_live_state state;

	xreg_live_get(target, &state);
	nth->has_connections |= state.metrics.active_connections != 0;
	if (nth->left-- == 0) {
		snprintf(nth->id, sizeof(nth->id), "%s", target->origin.id);
		nth->revision = target->origin.revision;
	}
	return true;
}

static struct nth nth_target(struct world *w, uint32_t number)
{
	struct xreg_view *view = xreg_store_view(w->store);
	struct nth nth = {.left = number};

	xreg_view_each(view, XREG_BY_PLACE, "", true, on_target, &nth);
	xreg_view_unref(view);
	return nth;
}

/* "@0" and "#0" become what they stand for, if there is such a target. */
static void expand(struct world *w, const char *from, size_t len, char to[MAX_LINE])
{
	size_t used = 0;

	for (size_t i = 0; i < len && used + XREG_ID_SIZE + 24 < MAX_LINE; i++) {
		bool is_id = from[i] == '@', is_revision = from[i] == '#';
		struct nth nth = {0};

		if ((is_id || is_revision) && i + 1 < len && isdigit((unsigned char)from[i + 1])) {
			nth = nth_target(w, (uint32_t)(from[i + 1] - '0'));
		}
		if (nth.id[0] == '\0') {
			to[used++] = from[i];
			continue;
		}
		used += is_id ? (size_t)sprintf(to + used, "%s", nth.id)
			      : (size_t)sprintf(
					to + used, "%llu", (unsigned long long)nth.revision);
		i++;
	}
	to[used] = '\0';
}

/* ---- answers ---- */

struct numbers {
	uint64_t revision, zones;
};

static struct numbers look(struct world *w)
{
	struct xreg_view *view = xreg_store_view(w->store);
	struct numbers numbers = {xreg_view_revision(view), xreg_zones_revision(w->zones)};

	xreg_view_unref(view);
	return numbers;
}

static void check_problem(const struct answer *answer)
{
	FUZZ_CHECK(json_integer_value(json_object_get(answer->json, "status")) == answer->status,
		"a problem of another status than %u", answer->status);
	FUZZ_CHECK(json_string_length(json_object_get(answer->json, "detail")) != 0 &&
			   json_string_length(json_object_get(answer->json, "request_id")) != 0 &&
			   json_is_string(json_object_get(answer->json, "instance")),
		"a problem without a sentence");
}

static void check_status(unsigned status, const char *what)
{
	static const unsigned statuses[] = {
		200, 201, 400, 404, 405, 409, 410, 412, 413, 422, 501, 507};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (statuses[i] == status) {
			return;
		}
	}
	FUZZ_CHECK(false, "%s is answered with %u", what, status);
}

/* Reads the answer, which has nothing that breaks a promise. */
static struct answer take(const struct MHD_Connection *connection, const char *what)
{
	struct answer answer = {.status = mhd_status(connection)};
	const char *type = mhd_header(connection, "Content-Type");
	const char *index = mhd_header(connection, "X-Registry-Index");
	const char *text = mhd_text(connection);
	json_error_t problem;

	fuzz_say("%s: %u %s\n", what, answer.status, text);
	check_status(answer.status, what);
	FUZZ_CHECK(mhd_header(connection, "X-Request-Id") != NULL && type != NULL, "%s", what);
	answer.revision = index != NULL ? strtoull(index, NULL, 10) : 0;
	if (strstr(type, "json") != NULL) {
		answer.json = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
		FUZZ_CHECK(answer.json != NULL, "%s: %s: %s", what, problem.text, text);
	}
	FUZZ_CHECK((answer.status >= 400) == (strcmp(type, "application/problem+json") == 0),
		"%s: %u as %s", what, answer.status, type);
	if (answer.status >= 400) {
		check_problem(&answer);
	}
	return answer;
}

/* A call of our own, which is answered at once. */
static struct answer ask(struct world *w, const char *method, const char *target, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	struct mhd_request request = {.method = method,
		.target = target,
		.headers = "",
		.body = text,
		.body_len = text != NULL ? strlen(text) : 0};
	struct MHD_Connection *connection;
	struct answer answer;

	connection = mhd_open(&request);
	mhd_run(connection, false);
	answer = take(connection, target);
	mhd_close(connection);
	free(text);
	return answer;
}

static json_t *ask_well(struct world *w, const char *method, const char *target, json_t *body)
{
	struct answer answer = ask(w, method, target, body);
	char *text = answer.status != 200 ? json_dumps(answer.json, 0) : NULL;

	FUZZ_CHECK(answer.status == 200 && answer.json != NULL, "%s %s: %s", method, target, text);
	return answer.json;
}

/* ---- what was accepted ---- */

/* What of a target a registration has. */
static json_t *registration_of(const json_t *full)
{
	static const char *const members[] = {"node_id", "target_info", "storage",
		"performance_caps", "config", "metadata", "ttl_seconds"};
	json_t *registration = json_object();

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_object_set(registration, members[i], json_object_get(full, members[i]));
	}
	return registration;
}

/* Puts what was got; it is taken, and is the same. */
static void check_target(struct world *w, const char *id)
{
	char target[sizeof(TARGETS) + XREG_ID_SIZE + 16];
	json_t *full, *again, *before, *after, *desired;

	snprintf(target, sizeof(target), TARGETS "/%s", id);
	full = ask_well(w, "GET", target, NULL);
	before = registration_of(full);
	again = ask_well(w, "PUT", target, before);
	after = registration_of(again);
	FUZZ_CHECK(json_equal(before, after), "target %s is another when it is put", id);
	json_decref(full);
	json_decref(again);
	json_decref(before);
	json_decref(after);

	strcat(target, "/config");
	full = ask_well(w, "GET", target, NULL);
	desired = json_object_get(full, "desired");
	again = ask_well(w, "PUT", target, desired);
	FUZZ_CHECK(json_equal(desired, json_object_get(again, "desired")),
		"the configuration of %s is another when it is put", id);
	json_decref(full);
	json_decref(again);
}

static void check_groups(struct world *w)
{
	json_t *all = ask_well(w, "GET", ZONES, NULL), *group;
	char target[MAX_LINE];
	size_t i;

	json_array_foreach (json_object_get(all, "groups"), i, group) {
		json_t *got, *put, *again;
		const char *name = json_string_value(json_object_get(group, "name"));
		size_t used = (size_t)sprintf(target, ZONES "/");

		for (; *name != '\0'; name++) {
			used += (size_t)sprintf(target + used, "%%%02x", (unsigned char)*name);
		}
		got = ask_well(w, "GET", target, NULL);
		put = ask_well(w, "PUT", target, got);
		again = ask_well(w, "GET", target, NULL);
		FUZZ_CHECK(json_equal(got, again) && json_equal(got, group),
			"a zone group is another when it is put");
		json_decref(got);
		json_decref(put);
		json_decref(again);
	}
	json_decref(all);
}

/* Every target is on one page, whatever the order. */
static void check_pages(struct world *w, const char *sort)
{
	char target[MAX_LINE] = TARGETS "?limit=2&sort=";
	const size_t base = strlen(target) + strlen(sort);
	json_t *seen = json_object(), *page, *line;
	const char *cursor;
	uint32_t count = 0;
	size_t i, used;
	bool is_end;

	strcat(target, sort);
	do {
		page = ask_well(w, "GET", target, NULL);
		json_array_foreach (json_object_get(page, "targets"), i, line) {
			json_object_set(
				seen, json_string_value(json_object_get(line, "target_id")), line);
			count++;
		}
		cursor = json_string_value(json_object_get(page, "next_cursor"));
		is_end = cursor == NULL;
		used = base + (is_end ? 0 : (size_t)sprintf(target + base, "&cursor="));
		for (; !is_end && *cursor != '\0' && used + 4 < sizeof(target); cursor++) {
			used += (size_t)sprintf(target + used, "%%%02x", (unsigned char)*cursor);
		}
		FUZZ_CHECK(count == json_object_size(seen) &&
				   count <= (uint32_t)json_integer_value(
						    json_object_get(page, "total_count")),
			"a target is on two pages, by %s", sort);
		FUZZ_CHECK(!is_end || count == (uint32_t)json_integer_value(
						       json_object_get(page, "total_count")),
			"%u targets are on pages, by %s", count, sort);
		json_decref(page);
	} while (!is_end);
	json_decref(seen);
}

/* What is told of a silence is what is kept of it, and nothing is kept of others. */
static void check_silences(struct world *w)
{
	json_t *told = xreg_alerts_json(w->alerts), *kept = fuzz_memory_document("silences");
	json_t *rule, *silence;
	size_t i, nr_silenced = 0;

	json_array_foreach (json_object_get(told, "rules"), i, rule) {
		const json_t *until = json_object_get(rule, "silenced_until_ms");

		silence = json_object_get(
			kept, json_string_value(json_object_get(rule, "rule_name")));
		if (silence == NULL) {
			FUZZ_CHECK(json_integer_value(until) == 0, "rule %zu is silenced", i);
			continue;
		}
		nr_silenced++;
		FUZZ_CHECK(json_equal(until, json_object_get(silence, "until_ms")) &&
				   json_integer_value(until) > 0,
			"rule %zu is silenced until another time", i);
		FUZZ_CHECK(json_equal(json_object_get(rule, "comment"),
				   json_object_get(silence, "comment")),
			"the comment of rule %zu is another", i);
	}
	FUZZ_CHECK(nr_silenced == json_object_size(kept), "%zu of %zu silences are told of",
		nr_silenced, json_object_size(kept));
	json_decref(told);
	json_decref(kept);
}

static void check_all(struct world *w, size_t choice)
{
	static const char *const sorts[] = {"target_id", "node_id", "nqn", "address", "status",
		"location", "port", "health_score", "load_percentage", "last_seen", "registered_at",
		"-location", "-port"};
	struct nth nth;

	for (uint32_t i = 0; (nth = nth_target(w, i)).id[0] != '\0'; i++) {
		FUZZ_CHECK(i < MAX_TARGETS, "more targets than there may be");
		check_target(w, nth.id);
	}
	check_groups(w);
	if (w->alerts != NULL) {
		check_silences(w);
	}
	check_pages(w, sorts[choice % (sizeof(sorts) / sizeof(sorts[0]))]);
	json_decref(ask_well(w, "GET", "/api/v1/status", NULL));
}

/* ---- the input ---- */

/* What a call has changed, or rather not. */
static void check_change(const char *method, const struct answer *answer,
	const struct numbers *before, const struct numbers *after)
{
	const json_t *good = json_object_get(answer->json, "registered_count");
	uint64_t most = good != NULL ? (uint64_t)json_integer_value(good)
			: answer->status < 300 && strcmp(method, "GET") != 0 ? 2
									     : 0;

	FUZZ_CHECK(
		after->revision >= before->revision && after->revision - before->revision <= most,
		"%s with %u has made %llu changes", method, answer->status,
		(unsigned long long)(after->revision - before->revision));
	FUZZ_CHECK(after->zones >= before->zones &&
			   after->zones - before->zones <= (answer->status < 300),
		"%s with %u has changed zones", method, answer->status);
}

static void run_request(struct world *w, const char *text, size_t len)
{
	const char *end = text + len, *line_end = memchr(text, '\n', len), *body, *at;
	const char *space = line_end != NULL ? memchr(text, ' ', (size_t)(line_end - text)) : NULL;
	char method[32], target[MAX_LINE], headers[MAX_LINE];
	struct numbers before, after;
	struct MHD_Connection *connection;
	struct mhd_request request;
	struct answer answer;
	bool may_stay, is_get;

	if (space == NULL || (size_t)(space - text) >= sizeof(method)) {
		return;
	}
	body = memmem(line_end, (size_t)(end - line_end), "\n\n", 2);
	at = body != NULL ? body : end;
	snprintf(method, sizeof(method), "%.*s", (int)(space - text), text);
	expand(w, space + 1, (size_t)(line_end - space - 1), target);
	expand(w, line_end, (size_t)(at - line_end), headers);
	request = (struct mhd_request){.method = method,
		.target = target,
		.headers = headers,
		.body = body != NULL ? body + 2 : NULL,
		.body_len = body != NULL ? (size_t)(end - body - 2) : 0};
	/* Who waits for others: blocking queries, whose parameter may be hidden, streams, drains.
	 */
	is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	may_stay = is_get ? strstr(target, "index") != NULL || strchr(target, '%') != NULL ||
				    strstr(headers, "event-stream") != NULL
			  : strcmp(method, "DELETE") == 0 && nth_target(w, 0).has_connections;
	before = look(w);
	connection = mhd_open(&request);
	if (!mhd_run(connection, may_stay)) {
		fuzz_say("%s %s stays\n", method, target);
		w->staying[w->nr_staying++] = connection;
		w->has_drain |= !is_get;
		return;
	}
	answer = take(connection, target);
	mhd_close(connection);
	after = look(w);
	if (!w->has_drain) {
		check_change(method, &answer, &before, &after);
	}
	json_decref(answer.json);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char rules[] =
		"[{\"rule_name\": \"r\", \"metric_type\": \"cpu_usage\", \"operator\": \">\","
		" \"threshold_value\": 90},"
		" {\"rule_name\": \"two\", \"metric_type\": \"disk_usage\", \"operator\": \"<\","
		" \"threshold_value\": 50.5, \"duration_sec\": 60, \"severity\": \"critical\"}]";
	int fd = memfd_create("rules", MFD_CLOEXEC);

	json_object_seed(1);
	FUZZ_CHECK(fd >= 0 && write(fd, rules, strlen(rules)) == (ssize_t)strlen(rules), "rules");
	snprintf(rules_path, sizeof(rules_path), "/proc/self/fd/%d", fd);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size, *zero;
	struct world w = {0};

	start(&w, size != 0 && memmem(data, size, "alert", 5) != NULL);
	for (uint32_t i = 0; i < MAX_REQUESTS && at < end; i++) {
		zero = memchr(at, '\0', (size_t)(end - at));
		zero = zero != NULL ? zero : end;
		run_request(&w, at, (size_t)(zero - at));
		at = zero + 1;
	}
	if (!w.has_drain) {
		check_all(&w, size);
	}
	stop(&w);
	return 0;
}
