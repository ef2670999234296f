/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two threads. The first brings the registry to what is wanted: registers what is new or different,
 * unregisters what is gone, reports in every interval, and begins anew when the registry has lost
 * a target or was gone itself (then it waits, a second at first, twice as long each time, half a
 * minute at most). The second follows the registry's events of this node's targets, so that the
 * node hears at once when one is drained.
 *
 * `wanted` is the node's and under the mutex; the first thread takes it over as a whole. `known` is
 * that thread's: what the registry has acknowledged, by NQN, address and port. A registry that is
 * started anew with its data, or another one, changes nothing of that: registrations are made with
 * ?update=true, so one too many does no harm.
 */
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/agent/private.h"

#define CALL_MS      5000u
#define WAIT_FIRST_S 1u
#define WAIT_MAX_S   30u
#define STOPPED      "node stopped"

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void agent_key_of(const json_t *body, char key[AGENT_KEY_SIZE])
{
	const json_t *info = json_object_get(body, "target_info");
	const char *nqn = json_string_value(json_object_get(info, "nqn"));
	const char *address = json_string_value(json_object_get(info, "address"));

	snprintf(key, AGENT_KEY_SIZE, "%s %s %lld", nqn != NULL ? nqn : "",
		address != NULL ? address : "",
		(long long)json_integer_value(json_object_get(info, "port")));
}

/* ---- calls ---- */

/* What is left of the time for a good-bye, or the usual bound. */
static uint32_t call_ms(const struct xreg_agent *agent)
{
	uint64_t now = now_ms();

	if (agent->stop_at_ms == 0) {
		return CALL_MS;
	}
	return now >= agent->stop_at_ms            ? 1
	       : agent->stop_at_ms - now < CALL_MS ? (uint32_t)(agent->stop_at_ms - now)
						   : CALL_MS;
}

/* Tells once when the registry is lost and once when it is back. */
static void note(struct xreg_agent *agent, bool is_connected, const char *problem)
{
	pthread_mutex_lock(&agent->mutex);
	if (is_connected && !agent->is_connected) {
		xu_info(agent->opts.log, "registry %s answers%s", agent->opts.url,
			agent->was_connected ? " again" : "");
	} else if (!is_connected && (agent->is_connected || agent->problem[0] == '\0')) {
		xu_warn(agent->opts.log,
			"registry %s does not answer: %s; the node works on, and its targets are "
			"registered when it does",
			agent->opts.url, problem);
	}
	agent->is_connected = is_connected;
	agent->was_connected |= is_connected;
	snprintf(agent->problem, sizeof(agent->problem), "%s", is_connected ? "" : problem);
	pthread_mutex_unlock(&agent->mutex);
}

long agent_call(struct xreg_agent *agent, const char *method, const char *path, json_t *body,
	struct agent_answer *answer)
{
	agent_http_call(agent->http, method, path, body, call_ms(agent), answer);
	if (answer->status == 0 || answer->status >= 500) {
		note(agent, false, answer->problem);
		json_decref(answer->body);
		answer->body = NULL;
		return 0;
	}
	note(agent, true, "");
	return answer->status;
}

static const char *text_of(const struct agent_answer *answer, const char *name)
{
	const char *text = json_string_value(json_object_get(answer->body, name));

	return text != NULL ? text : "";
}

/* Sets the state of a target; false: the registry is not there. */
static bool set_status(
	struct xreg_agent *agent, const char *id, const char *status, const char *reason)
{
	struct agent_answer answer;
	json_t *body = json_pack("{s:s, s:s}", "status", status, "reason", reason);
	char path[160];
	long code;

	snprintf(path, sizeof(path), "/api/v1/targets/%.100s/status", id);
	code = agent_call(agent, "PUT", path, body, &answer);
	json_decref(body);
	json_decref(answer.body);
	return code != 0;
}

/* A target that this node put into maintenance when it was stopped is there again. */
static bool end_maintenance(struct xreg_agent *agent, const char *id)
{
	struct agent_answer answer;
	char path[160];
	bool is_ours, is_there;

	snprintf(path, sizeof(path), "/api/v1/targets/%.100s", id);
	is_there = agent_call(agent, "GET", path, NULL, &answer) != 0;
	is_ours = is_there && strcmp(text_of(&answer, "status"), "maintenance") == 0 &&
		  strcmp(text_of(&answer, "status_reason"), STOPPED) == 0;
	json_decref(answer.body);
	return is_there && (!is_ours || set_status(agent, id, "available", ""));
}

/* Registers a target, or what is different of it. False: the registry is not there. */
static bool register_one(struct xreg_agent *agent, const char *key, json_t *body)
{
	struct agent_answer answer;
	const char *id;
	bool is_there = true;
	long code = agent_call(agent, "POST", "/api/v1/targets?update=true", body, &answer);

	if (code == 0) {
		return false;
	}
	id = text_of(&answer, "target_id");
	if ((code == 200 || code == 201) && id[0] != '\0') {
		json_object_set_new(
			agent->known, key, json_pack("{s:s, s:O}", "id", id, "body", body));
		xu_info(agent->opts.log, "%s is %s with the registry as %s", key,
			code == 201 ? "registered" : "known", id);
		is_there = code == 201 || end_maintenance(agent, id);
	} else {
		/* It will not take it later either; not asked again before it is different. */
		json_object_set_new(
			agent->known, key, json_pack("{s:s, s:O}", "id", "", "body", body));
		xu_err(agent->opts.log, "the registry refuses %s: %s", key, answer.problem);
	}
	json_decref(answer.body);
	return is_there;
}

/* Takes a target off the registry. False: the registry is not there. */
static bool unregister_one(struct xreg_agent *agent, const char *key, const char *id)
{
	struct agent_answer answer;
	json_t *body = json_pack("{s:b}", "force", 1);
	char path[160];
	long code;

	if (id[0] == '\0') {
		json_decref(body);
		return true;
	}
	snprintf(path, sizeof(path), "/api/v1/targets/%.100s", id);
	code = agent_call(agent, "DELETE", path, body, &answer);
	json_decref(body);
	json_decref(answer.body);
	if (code >= 400 && code != 404) {
		xu_err(agent->opts.log, "the registry does not let go of %s: %s", key,
			answer.problem);
	}
	return code != 0;
}

/* ---- bringing the registry to what is wanted ---- */

/* The body of a registration without what changes all the time. */
static json_t *body_of(const json_t *target)
{
	json_t *body = json_copy((json_t *)(uintptr_t)target);

	if (body != NULL) {
		json_object_del(body, "metrics");
		json_object_del(body, "actual");
	}
	return body;
}

static bool register_all(struct xreg_agent *agent)
{
	char key[AGENT_KEY_SIZE];
	json_t *target;
	size_t i;

	json_array_foreach (agent->targets, i, target) {
		json_t *body = body_of(target);
		bool is_good = body != NULL;

		agent_key_of(target, key);
		if (is_good && !json_equal(body, json_object_get(json_object_get(agent->known, key),
							 "body"))) {
			is_good = register_one(agent, key, body);
		}
		json_decref(body);
		if (!is_good) {
			return false;
		}
	}
	return true;
}

static bool is_wanted(const struct xreg_agent *agent, const char *key)
{
	char other[AGENT_KEY_SIZE];
	json_t *target;
	size_t i;

	json_array_foreach (agent->targets, i, target) {
		agent_key_of(target, other);
		if (strcmp(key, other) == 0) {
			return true;
		}
	}
	return false;
}

static bool unregister_gone(struct xreg_agent *agent)
{
	json_t *entry;
	const char *key;
	void *next;

	json_object_foreach_safe (agent->known, next, key, entry) {
		if (is_wanted(agent, key)) {
			continue;
		}
		if (!unregister_one(agent, key, json_string_value(json_object_get(entry, "id")))) {
			return false;
		}
		xu_info(agent->opts.log, "%s is no longer registered", key);
		agent_config_gone(agent, key);
		json_object_del(agent->known, key);
	}
	return true;
}

/* Reports how the targets are doing; one that the registry has lost is registered anew. */
static bool report_all(struct xreg_agent *agent)
{
	struct agent_answer answer;
	char key[AGENT_KEY_SIZE], path[160];
	json_t *target, *metrics;
	const char *id;
	size_t i;
	long code;

	json_array_foreach (agent->targets, i, target) {
		agent_key_of(target, key);
		id = json_string_value(json_object_get(json_object_get(agent->known, key), "id"));
		metrics = json_object_get(target, "metrics");
		if (id == NULL || id[0] == '\0' || metrics == NULL) {
			continue;
		}
		snprintf(path, sizeof(path), "/api/v1/targets/%.100s/metrics", id);
		code = agent_call(agent, "PUT", path, metrics, &answer);
		if (code == 200) {
			agent_config_noticed(json_object_get(agent->known, key), answer.body);
		}
		json_decref(answer.body);
		if (code == 0) {
			return false;
		}
		if (code == 404) {
			json_object_del(agent->known, key);
			xu_warn(agent->opts.log, "the registry has lost %s", key);
		}
	}
	return register_all(agent);
}

static void say_goodbye(struct xreg_agent *agent)
{
	json_t *entry;
	const char *key, *id;
	bool is_there = true;

	json_object_foreach (agent->known, key, entry) {
		id = json_string_value(json_object_get(entry, "id"));
		if (!is_there || id[0] == '\0' || agent->opts.leave == XREG_LEAVE_SILENTLY) {
			continue;
		}
		is_there = agent->opts.leave == XREG_LEAVE_UNREGISTER
				   ? unregister_one(agent, key, id)
				   : set_status(agent, id, "maintenance", STOPPED);
	}
}

/* ---- the worker ---- */

/* What an operator has taken off the registry stays off, until it is exported in another way or the
 * node is started again. Under the mutex. */
static void forget_removed(struct xreg_agent *agent)
{
	json_t *entry, *id;
	const char *key;
	size_t i;

	json_array_foreach (agent->removed, i, id) {
		json_object_foreach (agent->known, key, entry) {
			if (json_equal(json_object_get(entry, "id"), id)) {
				xu_warn(agent->opts.log,
					"%s was taken off the registry, and stays off it", key);
				agent_config_gone(agent, key);
				json_object_set_new(entry, "id", json_string(""));
			}
		}
	}
	json_decref(agent->removed);
	agent->removed = NULL;
}

/* Sleeps until something is wanted, the time has come, or the end; false: the end. */
static bool sleep_until(struct xreg_agent *agent, uint64_t until_ms)
{
	struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
	bool goes_on;

	pthread_mutex_lock(&agent->mutex);
	while (agent->wanted == NULL && agent->removed == NULL && !agent->is_stopping &&
		json_object_size(agent->looks) == 0 && !agent->has_answer &&
		pthread_cond_timedwait(&agent->cond, &agent->mutex, &until) != ETIMEDOUT) {
	}
	forget_removed(agent);
	if (agent->wanted != NULL) {
		json_decref(agent->targets);
		agent->targets = agent->wanted;
		agent->wanted = NULL;
		agent->wish = agent->nr_wishes;
	}
	agent->nr_wanted = json_array_size(agent->targets);
	agent->nr_registered = json_object_size(agent->known);
	goes_on = !agent->is_stopping;
	pthread_mutex_unlock(&agent->mutex);
	return goes_on;
}

static void *worker_main(void *arg)
{
	struct xreg_agent *agent = arg;
	uint64_t report_at_ms = now_ms(), wake_ms = now_ms();
	uint32_t wait_s = WAIT_FIRST_S;

	while (sleep_until(agent, wake_ms)) {
		bool is_there = unregister_gone(agent) && register_all(agent);

		if (is_there && now_ms() >= report_at_ms) {
			is_there = report_all(agent);
			report_at_ms = now_ms() + agent->opts.interval_s * 1000ull;
		}
		is_there = is_there && agent_config_sync(agent);
		wake_ms = is_there ? report_at_ms : now_ms() + wait_s * 1000ull;
		wait_s = is_there                  ? WAIT_FIRST_S
			 : 2 * wait_s < WAIT_MAX_S ? 2 * wait_s
						   : WAIT_MAX_S;
		if (!is_there) {
			report_at_ms = now_ms();
		}
		pthread_mutex_lock(&agent->mutex);
		agent->nr_registered = json_object_size(agent->known);
		pthread_mutex_unlock(&agent->mutex);
	}
	agent->must_end = false;
	say_goodbye(agent);
	return NULL;
}

/* ---- the follower ---- */

static void on_event(void *arg, const char *kind, json_t *data)
{
	struct xreg_agent *agent = arg;
	const char *id = json_string_value(json_object_get(data, "target_id"));
	json_t *target = json_object_get(data, "target");
	const char *nqn = json_string_value(json_object_get(target, "nqn"));
	const char *status = json_string_value(json_object_get(target, "status"));
	const char *reason = json_string_value(json_object_get(data, "reason"));
	bool is_stopping;

	pthread_mutex_lock(&agent->mutex);
	is_stopping = agent->is_stopping;
	pthread_mutex_unlock(&agent->mutex);
	if (is_stopping) {
		return;
	}
	if (strcmp(kind, "state_changed") == 0 && nqn != NULL && status != NULL) {
		agent->opts.on_state(agent->opts.arg, nqn, status, reason != NULL ? reason : "");
	}
	if (strcmp(kind, "config_changed") == 0 && id != NULL) {
		pthread_mutex_lock(&agent->mutex);
		agent_config_event(agent, id);
		pthread_mutex_unlock(&agent->mutex);
	}
	if (strcmp(kind, "unregistered") == 0 && nqn != NULL && id != NULL) {
		/* Whoever connects now was told of it by somebody else. */
		agent->opts.on_state(agent->opts.arg, nqn, "", "");
		pthread_mutex_lock(&agent->mutex);
		if (agent->removed == NULL) {
			agent->removed = json_array();
		}
		json_array_append_new(agent->removed, json_string(id));
		pthread_cond_signal(&agent->cond);
		pthread_mutex_unlock(&agent->mutex);
	}
}

static void *follower_main(void *arg)
{
	struct xreg_agent *agent = arg;
	uint64_t since = AGENT_FROM_NOW;
	char path[256];

	snprintf(path, sizeof(path), "/api/v1/events?own=true&node_id=%s", agent->opts.node_id);
	while (!agent->must_end_stream) {
		const struct timespec pause = {0, 100 * 1000 * 1000};

		agent_http_follow(agent->stream, path, &since, on_event, agent);
		for (uint32_t i = 0; i < 10 && !agent->must_end_stream; i++) {
			nanosleep(&pause, NULL);
		}
	}
	return NULL;
}

/* ---- life ---- */

static void free_agent(struct xreg_agent *agent)
{
	agent_http_free(agent->http);
	agent_http_free(agent->stream);
	json_decref(agent->wanted);
	json_decref(agent->removed);
	json_decref(agent->looks);
	json_decref(agent->answers);
	json_decref(agent->targets);
	json_decref(agent->known);
	pthread_mutex_destroy(&agent->mutex);
	pthread_cond_destroy(&agent->cond);
	for (size_t i = 0; i < sizeof(agent->texts) / sizeof(agent->texts[0]); i++) {
		free(agent->texts[i]);
	}
	free(agent);
}

/* Gives the agent texts of its own; false: no memory. */
static bool copy_texts(struct xreg_agent *agent)
{
	const char **const texts[] = {&agent->opts.url, &agent->opts.node_id, &agent->opts.token,
		&agent->opts.ca_path, &agent->opts.cert_path, &agent->opts.key_path};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (*texts[i] != NULL) {
			agent->texts[i] = strdup(*texts[i]);
			*texts[i] = agent->texts[i];
			if (agent->texts[i] == NULL) {
				return false;
			}
		}
	}
	return true;
}

static int start_threads(struct xreg_agent *agent)
{
	int rc = -pthread_create(&agent->worker, NULL, worker_main, agent);

	if (rc == 0 && agent->opts.on_state != NULL) {
		rc = -pthread_create(&agent->follower, NULL, follower_main, agent);
		if (rc != 0) {
			pthread_mutex_lock(&agent->mutex);
			agent->is_stopping = true;
			pthread_cond_signal(&agent->cond);
			pthread_mutex_unlock(&agent->mutex);
			pthread_join(agent->worker, NULL);
		}
	}
	return rc;
}

int xreg_agent_start(
	const struct xreg_agent_opts *opts, struct xreg_agent **ret_agent, struct xu_error *err)
{
	struct xreg_agent *agent = calloc(1, sizeof(*agent));
	pthread_condattr_t attr;
	int rc = -ENOMEM;

	if (agent == NULL) {
		return xu_error_set_errno(err, rc, "starting the registry's agent");
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	agent->opts = *opts;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&agent->mutex, NULL);
	pthread_cond_init(&agent->cond, &attr);
	pthread_condattr_destroy(&attr);
	agent->known = json_object();
	agent->looks = json_object();
	agent->answers = json_array();
	if (copy_texts(agent)) {
		agent->http = agent_http_new(&agent->opts, &agent->must_end);
		agent->stream = agent_http_new(&agent->opts, &agent->must_end_stream);
	}
	if (agent->http != NULL && agent->stream != NULL && agent->known != NULL &&
		agent->looks != NULL && agent->answers != NULL) {
		rc = start_threads(agent);
	}
	if (rc != 0) {
		free_agent(agent);
		return xu_error_set_errno(err, rc, "starting the registry's agent");
	}
	*ret_agent = agent;
	return 0;
}

void xreg_agent_set(struct xreg_agent *agent, json_t *targets)
{
	pthread_mutex_lock(&agent->mutex);
	json_decref(agent->wanted);
	agent->wanted = targets;
	agent->nr_wishes++;
	pthread_cond_signal(&agent->cond);
	pthread_mutex_unlock(&agent->mutex);
}

void xreg_agent_stop(struct xreg_agent *agent, uint32_t timeout_ms)
{
	if (agent == NULL) {
		return;
	}
	pthread_mutex_lock(&agent->mutex);
	agent->stop_at_ms = now_ms() + timeout_ms;
	agent->is_stopping = true;
	agent->must_end = true;
	pthread_cond_signal(&agent->cond);
	agent_http_abort(agent->http); /* what is under way, not the good-bye */
	pthread_mutex_unlock(&agent->mutex);
	pthread_join(agent->worker, NULL);
	/* Its end says that the node may be dead, so good-bye comes first. */
	agent->must_end_stream = true;
	agent_http_abort(agent->stream);
	if (agent->opts.on_state != NULL) {
		pthread_join(agent->follower, NULL);
	}
	free_agent(agent);
}

json_t *xreg_agent_status(struct xreg_agent *agent)
{
	json_t *status;

	pthread_mutex_lock(&agent->mutex);
	status = json_pack("{s:s, s:s, s:b, s:I, s:I, s:s}", "url", agent->opts.url, "node_id",
		agent->opts.node_id, "connected", (int)agent->is_connected, "registered",
		(json_int_t)agent->nr_registered, "wanted", (json_int_t)agent->nr_wanted, "problem",
		agent->problem);
	pthread_mutex_unlock(&agent->mutex);
	return status;
}
