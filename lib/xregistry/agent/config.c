/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the registry wants of the node's targets. Three things say that there may be something new:
 * a registration, an event, and the answer to a report, which also tells when this registry (one
 * that was restarted) does not know what the node has said. Then the worker reads what is desired
 * and gives it to the node; what the node answers is told to the registry, until it has taken it.
 *
 * Of a known target are kept: "is_seen" (false: it is to be looked at), "asked" (the revision that
 * the node works on), and of what the registry was told last "told", "problem" and "actual"; "wish"
 * is the last list of targets that is older than that, and says nothing newer of what there is.
 */
#include <stdio.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xregistry/agent/private.h"

#define PATH_SIZE 160u

static void path_of(const json_t *entry, const char *rest, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "/api/v1/targets/%.100s/config%s",
		json_string_value(json_object_get(entry, "id")), rest);
}

static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

/* A number that may not be there; the values are revisions. */
static bool is_number(const json_t *object, const char *name, uint64_t value)
{
	const json_t *member = json_object_get(object, name);

	return member != NULL && (uint64_t)json_integer_value(member) == value;
}

static void look(json_t *entry)
{
	json_object_set_new(entry, "is_seen", json_false());
}

/* ---- what there may be ---- */

void agent_config_noticed(json_t *entry, const json_t *answer)
{
	const json_t *revision = json_object_get(answer, "config_revision");

	/* A registry of before this was there says nothing. */
	if (revision != NULL && json_object_get(entry, "asked") == NULL &&
		(!is_number(entry, "told", (uint64_t)json_integer_value(revision)) ||
			!json_is_true(json_object_get(answer, "config_reported")))) {
		json_object_del(entry, "told");
		look(entry);
	}
}

void agent_config_event(struct xreg_agent *agent, const char *id)
{
	json_object_set_new(agent->looks, id, json_true());
	pthread_cond_signal(&agent->cond);
}

static void take_events(struct xreg_agent *agent)
{
	json_t *entry, *id;
	const char *key;

	pthread_mutex_lock(&agent->mutex);
	json_object_foreach (agent->known, key, entry) {
		id = json_object_get(entry, "id");
		if (json_object_get(agent->looks, json_string_value(id)) != NULL) {
			look(entry);
		}
	}
	json_object_clear(agent->looks);
	pthread_mutex_unlock(&agent->mutex);
}

/* ---- to the node ---- */

/* Parts a key into the NQN and the place; `key` is written to. */
static const char *split(char *key)
{
	char *space = strchr(key, ' ');

	if (space == NULL) {
		return "";
	}
	*space = '\0';
	return space + 1;
}

static void tell_node(
	struct xreg_agent *agent, const char *key, json_t *entry, const json_t *config)
{
	uint64_t revision = number_of(config, "config_revision");
	char nqn[AGENT_KEY_SIZE];
	const char *place;

	if (is_number(entry, "asked", revision) || is_number(entry, "told", revision)) {
		return;
	}
	json_object_set_new(entry, "asked", json_integer((json_int_t)revision));
	snprintf(nqn, sizeof(nqn), "%s", key);
	place = split(nqn);
	agent->opts.on_config(
		agent->opts.arg, nqn, place, revision, json_object_get(config, "desired"));
}

void agent_config_gone(struct xreg_agent *agent, const char *key)
{
	char nqn[AGENT_KEY_SIZE];
	const char *place;

	snprintf(nqn, sizeof(nqn), "%s", key);
	place = split(nqn);
	if (agent->opts.on_config != NULL) {
		agent->opts.on_config(agent->opts.arg, nqn, place, 0, NULL);
	}
}

/* Reads what is desired of the targets that are to be looked at. */
static bool read_all(struct xreg_agent *agent)
{
	struct agent_answer answer;
	char path[PATH_SIZE];
	json_t *entry;
	const char *key, *id;
	long code;

	json_object_foreach (agent->known, key, entry) {
		id = json_string_value(json_object_get(entry, "id"));
		if (id[0] == '\0' || json_is_true(json_object_get(entry, "is_seen"))) {
			continue;
		}
		path_of(entry, "", path);
		code = agent_call(agent, "GET", path, NULL, &answer);
		if (code == 0) {
			return false;
		}
		json_object_set_new(entry, "is_seen", json_true());
		/* 404: of an older registry, or of a target that it has lost; then a report comes
		 * upon that. */
		if (code == 200) {
			tell_node(agent, key, entry, answer.body);
		} else if (code != 404) {
			xu_err(agent->opts.log,
				"the registry does not tell what it wants of %s: %s", key,
				answer.problem);
		}
		json_decref(answer.body);
	}
	return true;
}

/* ---- to the registry ---- */

void xreg_agent_answer(struct xreg_agent *agent, const char *nqn, const char *place,
	uint64_t revision, const char *problem, json_t *actual)
{
	json_t *answer = json_pack("{s:s++, s:I, s:s?, s:o?}", "key", nqn, " ", place, "revision",
		(json_int_t)revision, "problem", problem, "actual", actual);

	pthread_mutex_lock(&agent->mutex);
	json_object_set_new(answer, "wish", json_integer((json_int_t)agent->nr_wishes));
	json_array_append_new(agent->answers, answer);
	agent->has_answer = true;
	pthread_cond_signal(&agent->cond);
	pthread_mutex_unlock(&agent->mutex);
}

/* Tells the registry; false: it is not there. What it does not take is looked at again. */
static bool report(struct xreg_agent *agent, const char *key, json_t *entry, uint64_t revision,
	json_t *problem, json_t *actual)
{
	bool is_applied = !json_is_string(problem);
	json_t *body = json_pack("{s:I, s:s, s:s, s:O*}", "config_revision", (json_int_t)revision,
		"state", is_applied ? "applied" : "refused", "reason",
		is_applied ? "" : json_string_value(problem), "actual",
		json_is_object(actual) ? actual : NULL);
	struct agent_answer answer;
	char path[PATH_SIZE];
	long code;

	path_of(entry, "/report", path);
	code = agent_call(agent, "PUT", path, body, &answer);
	json_decref(body);
	if (code == 0) {
		return false;
	}
	if (code == 200) {
		json_object_set_new(entry, "told", json_integer((json_int_t)revision));
		json_object_set(entry, "problem", problem);
		json_object_set(entry, "actual", actual);
		if (number_of(answer.body, "config_revision") != revision) {
			look(entry);
		}
	} else if (code == 412) {
		look(entry);
	} else if (code != 404) {
		json_object_set_new(entry, "told", json_integer((json_int_t)revision));
		xu_err(agent->opts.log, "the registry does not take what became of %s: %s", key,
			answer.problem);
	}
	json_decref(answer.body);
	return true;
}

static bool take_answer(struct xreg_agent *agent, json_t *answer)
{
	const char *key = json_string_value(json_object_get(answer, "key"));
	json_t *entry = json_object_get(agent->known, key);
	json_t *problem = json_object_get(answer, "problem");
	uint64_t revision = number_of(answer, "revision");

	/* Of a target that has gone, or was registered anew and is asked again. */
	if (entry == NULL || !is_number(entry, "asked", revision)) {
		return true;
	}
	if (!report(agent, key, entry, revision, problem, json_object_get(answer, "actual"))) {
		return false;
	}
	if (json_is_string(problem)) {
		xu_warn(agent->opts.log, "what the registry wants of %s is refused: %s", key,
			json_string_value(problem));
	} else if (revision != 0) {
		xu_info(agent->opts.log, "%s is as the registry wants it (revision %llu)", key,
			(unsigned long long)revision);
	}
	json_object_set(entry, "wish", json_object_get(answer, "wish"));
	json_object_del(entry, "asked");
	return true;
}

/* The answers of the node, in their order. */
static bool take_answers(struct xreg_agent *agent)
{
	bool is_there = true;
	json_t *answer;

	while (is_there) {
		pthread_mutex_lock(&agent->mutex);
		answer = json_incref(json_array_get(agent->answers, 0));
		agent->has_answer = false;
		pthread_mutex_unlock(&agent->mutex);
		if (answer == NULL) {
			break;
		}
		is_there = take_answer(agent, answer);
		json_decref(answer);
		if (is_there) {
			pthread_mutex_lock(&agent->mutex);
			json_array_remove(agent->answers, 0);
			pthread_mutex_unlock(&agent->mutex);
		}
	}
	return is_there;
}

/* What the node has may change without the registry's doing. */
static bool report_changes(struct xreg_agent *agent)
{
	char key[AGENT_KEY_SIZE];
	json_t *target, *entry, *actual;
	size_t i;

	json_array_foreach (agent->targets, i, target) {
		agent_key_of(target, key);
		entry = json_object_get(agent->known, key);
		actual = json_object_get(target, "actual");
		if (actual == NULL || json_object_get(entry, "told") == NULL ||
			json_object_get(entry, "asked") != NULL ||
			number_of(entry, "wish") >= agent->wish ||
			json_equal(actual, json_object_get(entry, "actual"))) {
			continue;
		}
		if (!report(agent, key, entry, number_of(entry, "told"),
			    json_object_get(entry, "problem"), actual)) {
			return false;
		}
		json_object_set(entry, "actual", actual);
	}
	return true;
}

bool agent_config_sync(struct xreg_agent *agent)
{
	if (agent->opts.on_config == NULL) {
		return true;
	}
	take_events(agent);
	return take_answers(agent) && read_all(agent) && report_changes(agent);
}
