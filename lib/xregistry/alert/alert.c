/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules are under a mutex, which is held for a round and for each call; measuring is done
 * before, notifications are only queued (notify.h). What registries share is in the store (kept.h)
 * and is read when it is needed; nothing waits for the store under the mutex. Times of durations
 * are of the monotonic clock, those that people see and set, or that are shared, Unix time.
 *
 * Every registry judges its rules, so that one which begins to lead knows how they stand; only the
 * one that leads tells. That a rule was told is saved when its notifications have ended, not
 * before: who leads after a crash tells again what may not have been told, and nothing is lost.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/param.h"
#include "lib/xbdev/config/text.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/alert/kept.h"
#include "lib/xregistry/alert/notify.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/store.h"

#define RULES_MAX   256u
#define PLACES_MAX  16u /* of one rule */
#define REPEAT_S    (4u * 3600u)
#define PLACES_SIZE 512u

enum state { INACTIVE, PENDING, FIRING };

static const char *const state_names[] = {"inactive", "pending", "firing"};

const char *const xreg_metric_names[] = {"healthy_target_ratio", "average_health_score",
	"failure_rate", "api_response_time", "memory_usage", "cpu_usage", "disk_usage",
	"registrations_per_hour", "recoveries_per_hour", "api_requests_per_minute", NULL};

static const char *const operators[] = {
	"greater_than", "less_than", "equals", "not_equals", ">", "<", "==", "!=", NULL};
static const char *const severities[] = {"low", "medium", "high", "critical", NULL};

struct rule {
	char name[64];
	uint32_t metric, op, severity; /* op: 0 … 3 */
	double threshold;
	uint32_t duration_s, repeat_s;
	bool is_enabled;
	char places[PLACES_SIZE]; /* as they are written, cut at the commas */
	uint32_t nr_places;

	enum state state;
	double value;
	uint64_t held_since_ms; /* monotonic */
	uint64_t since_ms;      /* Unix time of the last change of state */
	uint64_t told_ms;       /* that it is firing, Unix time; 0: not, or that it is resolved */
	bool was_well;          /* here, since it was told: what fires now is something new */
	bool is_unsaved;        /* the store does not have told_ms yet */
	bool is_written;        /* a letter of this round tells of it */
	uint64_t letter;        /* the last that told of it; the notifier's number */
};

struct xreg_alerts {
	struct xreg_alerts_opts opts;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool must_stop;
	bool has_ended; /* some notification */
	struct rule *rules;
	uint32_t nr_rules;
	uint64_t nr_rounds;
	bool has_failed; /* to save what was told, when last tried; the thread's */
};

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- rules ---- */

struct rule_opts {
	const char *name, *places;
	uint32_t metric, op, severity, duration_s, repeat_s;
	double threshold;
	bool is_enabled;
};

static const struct xu_param rule_params[] = {
	{"rule_name", XU_PARAM_STRING, offsetof(struct rule_opts, name), .is_required = true,
		.help = "its name"},
	{"metric_type", XU_PARAM_ENUM, offsetof(struct rule_opts, metric), .is_required = true,
		.choices = xreg_metric_names, .help = "what is looked at"},
	{"operator", XU_PARAM_ENUM, offsetof(struct rule_opts, op), .is_required = true,
		.choices = operators, .help = "how it is compared"},
	{"threshold_value", XU_PARAM_REAL, offsetof(struct rule_opts, threshold),
		.is_required = true, .help = "with what"},
	{"duration_sec", XU_PARAM_U32, offsetof(struct rule_opts, duration_s), .max = 86400},
	{"repeat_interval_sec", XU_PARAM_U32, offsetof(struct rule_opts, repeat_s), .min = 1,
		.max = 30 * 86400},
	{"severity", XU_PARAM_ENUM, offsetof(struct rule_opts, severity), .choices = severities},
	{"enabled", XU_PARAM_BOOL, offsetof(struct rule_opts, is_enabled)},
	{"notification_targets", XU_PARAM_STRING, offsetof(struct rule_opts, places)},
	{0},
};

/* Cuts "a, b" at its commas, without the spaces around; each is checked. */
static int cut_places(
	const struct xreg_alerts *alerts, struct rule *rule, const char *text, struct xu_error *err)
{
	char copy[PLACES_SIZE], *rest, *place;
	size_t used = 0;
	int rc = 0;

	if (text == NULL) {
		return 0;
	}
	if (strlen(text) >= sizeof(copy)) {
		return xu_error_set(err, -EINVAL, "notification_targets: more than %zu characters",
			sizeof(copy) - 1);
	}
	strcpy(copy, text);
	for (place = strtok_r(copy, ",", &rest); rc == 0 && place != NULL;
		place = strtok_r(NULL, ",", &rest)) {
		place += strspn(place, " ");
		place[strcspn(place, " ")] = '\0';
		rc = xreg_notify_check(alerts->opts.notifier, place, err);
		if (rc == 0 && rule->nr_places == PLACES_MAX) {
			rc = xu_error_set(err, -EINVAL, "more than %u places", PLACES_MAX);
		}
		if (rc == 0) {
			strcpy(rule->places + used, place);
			used += strlen(place) + 1;
			rule->nr_places++;
		}
	}
	return rc == 0 ? 0 : xu_error_prefix(err, "notification_targets");
}

static int read_rule(const struct xreg_alerts *alerts, json_t *object, struct rule *rule,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	struct rule_opts opts = {
		.severity = XREG_SEVERITY_MEDIUM, .repeat_s = REPEAT_S, .is_enabled = true};
	int rc = xu_params_parse(rule_params, &opts, object, path, err);

	if (rc != 0) {
		return rc;
	}
	if (strlen(opts.name) >= sizeof(rule->name) || strchr(opts.name, '/') != NULL) {
		snprintf(path, XU_PARAM_PATH_SIZE, "rule_name");
		return xu_error_set(err, -EINVAL, "a name has at most %zu characters and no slash",
			sizeof(rule->name) - 1);
	}
	*rule = (struct rule){.metric = opts.metric,
		.op = opts.op % 4,
		.severity = opts.severity,
		.threshold = opts.threshold,
		.duration_s = opts.duration_s,
		.repeat_s = opts.repeat_s,
		.is_enabled = opts.is_enabled};
	snprintf(rule->name, sizeof(rule->name), "%s", opts.name);
	return cut_places(alerts, rule, opts.places, err);
}

static struct rule *find(struct rule *rules, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(rules[i].name, name) == 0) {
			return &rules[i];
		}
	}
	return NULL;
}

/* Reads the list; *ret_rules is NULL when there are none. */
static int read_list(struct xreg_alerts *alerts, json_t *list, struct rule **ret_rules,
	uint32_t *ret_count, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	size_t count = json_array_size(list), i;
	char inner[XU_PARAM_PATH_SIZE];
	struct rule *rules;
	json_t *object;
	int rc = 0;

	path[0] = '\0';
	if (!json_is_array(list) || count > RULES_MAX) {
		return xu_error_set(err, -EINVAL,
			"a list [ … ] of at most %u rules is needed, or an object with it as "
			"\"rules\"",
			RULES_MAX);
	}
	rules = calloc(count + 1, sizeof(*rules));
	if (rules == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "reading rules");
	}
	json_array_foreach (list, i, object) {
		inner[0] = '\0';
		rc = read_rule(alerts, object, &rules[i], inner, err);
		if (rc == 0 && find(rules, (uint32_t)i, rules[i].name) != NULL) {
			rc = xu_error_set(err, -EINVAL, "there are two rules '%s'", rules[i].name);
		}
		if (rc != 0) {
			xbdev_text_strip_name(err, inner);
			snprintf(path, XBDEV_TEXT_PATH_SIZE, "[%zu]%s%s", i,
				inner[0] != '\0' ? "." : "", inner);
			break;
		}
	}
	if (rc != 0) {
		free(rules);
		return rc;
	}
	*ret_rules = rules;
	*ret_count = (uint32_t)count;
	return 0;
}

static int read_rules(struct xreg_alerts *alerts, struct rule **ret_rules, uint32_t *ret_count,
	struct xu_error *err)
{
	char path[XBDEV_TEXT_PATH_SIZE], whole[XBDEV_TEXT_PATH_SIZE + 8];
	struct xbdev_text *text;
	bool is_object;
	int rc;

	*ret_rules = NULL;
	*ret_count = 0;
	if (alerts->opts.rules_path == NULL) {
		return 0;
	}
	rc = xbdev_text_read(alerts->opts.rules_path, "rules", &text, err);
	if (rc != 0) {
		return rc;
	}
	is_object = json_is_object(text->root);
	rc = read_list(alerts, is_object ? json_object_get(text->root, "rules") : text->root,
		ret_rules, ret_count, path, err);
	if (rc != 0) {
		snprintf(whole, sizeof(whole), "%s%s", is_object ? "rules" : "", path);
		xbdev_text_fail(text, whole, err);
	}
	xbdev_text_free(text);
	return rc;
}

/* ---- telling ---- */

static json_t *alert_json(const struct rule *rule, const char *what)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:s, s:I}", "rule_name", rule->name,
		"state", what, "metric_type", xreg_metric_names[rule->metric], "operator",
		operators[rule->op], "threshold_value", rule->threshold, "value", rule->value,
		"severity", severities[rule->severity], "since_ms", (json_int_t)rule->since_ms);
}

/* What is to be sent in a round, by place. */
struct letters {
	json_t *by_place; /* PLACE: [alert…] */
};

static void write_letters(struct letters *letters, const struct rule *rule, const char *what)
{
	const char *place = rule->places;

	for (uint32_t i = 0; i < rule->nr_places; i++, place += strlen(place) + 1) {
		json_t *list = json_object_get(letters->by_place, place);

		if (list == NULL) {
			list = json_array();
			json_object_set_new(letters->by_place, place, list);
		}
		json_array_append_new(list, alert_json(rule, what));
	}
}

/* One notification to a place, of one alert or of several. Returns its number; 0: there is none. */
static uint64_t send_letter(struct xreg_alerts *alerts, const char *place, json_t *list)
{
	json_t *alert, *body = json_pack("{s:s, s:O}", "source", "xsan-registry", "alerts", list);
	char subject[256], *text = NULL;
	uint64_t number = 0;
	size_t size, i;
	FILE *out = body != NULL ? open_memstream(&text, &size) : NULL;

	if (out == NULL) {
		json_decref(body);
		return 0;
	}
	json_array_foreach (list, i, alert) {
		fprintf(out,
			"ALERT: %s is %s\nMetric: %s\nCurrent Value: %.2f\nThreshold: %s %.2f\n"
			"Severity: %s\n\n",
			json_string_value(json_object_get(alert, "rule_name")),
			json_string_value(json_object_get(alert, "state")),
			json_string_value(json_object_get(alert, "metric_type")),
			json_number_value(json_object_get(alert, "value")),
			json_string_value(json_object_get(alert, "operator")),
			json_number_value(json_object_get(alert, "threshold_value")),
			json_string_value(json_object_get(alert, "severity")));
	}
	if (fclose(out) == 0) {
		alert = json_array_get(list, 0);
		snprintf(subject, sizeof(subject), "[xsan-registry] %s is %s%s",
			json_string_value(json_object_get(alert, "rule_name")),
			json_string_value(json_object_get(alert, "state")),
			json_array_size(list) > 1 ? " and others" : "");
		number = xreg_notify(alerts->opts.notifier, place, subject, text, body);
	}
	free(text);
	json_decref(body);
	return number;
}

/* Returns the number of the last one. */
static uint64_t send_letters(struct xreg_alerts *alerts, struct letters *letters)
{
	uint64_t last = 0, number;
	const char *place;
	json_t *list;

	json_object_foreach (letters->by_place, place, list) {
		number = send_letter(alerts, place, list);
		last = number != 0 ? number : last;
	}
	json_decref(letters->by_place);
	return last;
}

/* ---- a round ---- */

static bool holds(const struct rule *rule, double value)
{
	switch (rule->op) {
	case 0:
		return value > rule->threshold;
	case 1:
		return value < rule->threshold;
	case 2:
		return fabs(value - rule->threshold) < 1e-9;
	default:
		return fabs(value - rule->threshold) >= 1e-9;
	}
}

static void enter(struct xreg_alerts *alerts, struct rule *rule, enum state state)
{
	xu_log(alerts->opts.log, state == FIRING ? XU_LOG_WARN : XU_LOG_INFO,
		"alert %s: %s, %s is %.2f", rule->name,
		state == INACTIVE && rule->state == FIRING ? "resolved" : state_names[state],
		xreg_metric_names[rule->metric], rule->value);
	rule->state = state;
	rule->since_ms = clock_ms(CLOCK_REALTIME);
}

static void judge(struct xreg_alerts *alerts, struct rule *rule, uint64_t now_ms)
{
	bool is_bad = rule->is_enabled && holds(rule, rule->value);

	if (!is_bad && rule->state != INACTIVE) {
		enter(alerts, rule, INACTIVE);
	}
	if (is_bad && rule->state == INACTIVE) {
		enter(alerts, rule, PENDING);
		rule->held_since_ms = now_ms;
	}
	if (rule->state == PENDING && now_ms - rule->held_since_ms >= rule->duration_s * 1000ull) {
		enter(alerts, rule, FIRING);
	}
}

/* Whether it is time to tell that a rule is firing. A clock that has gone far back is no reason to
 * be silent. */
static bool is_due(const struct rule *rule, uint64_t unix_ms)
{
	uint64_t distance_ms =
		unix_ms > rule->told_ms ? unix_ms - rule->told_ms : rule->told_ms - unix_ms;

	return rule->told_ms == 0 || rule->was_well || distance_ms >= rule->repeat_s * 1000ull;
}

/* Takes over what the store has of the rule, whoever told it, and looks whether that is over. In
 * the first round a metric that is a difference is not known yet, so nothing is over that was told
 * before a restart. */
static void recall(struct xreg_alerts *alerts, struct rule *rule, const json_t *told)
{
	uint64_t told_ms = rule->is_unsaved ? rule->told_ms : xreg__told_ms(told, rule->name);

	if (told_ms != rule->told_ms) {
		rule->told_ms = told_ms;
		rule->was_well = false;
	}
	if (rule->state == INACTIVE && told_ms != 0 && alerts->nr_rounds > 1) {
		rule->was_well = true;
	}
}

/* The part of who leads. */
static void tell(struct rule *rule, bool is_silenced, struct letters *letters)
{
	uint64_t unix_ms = clock_ms(CLOCK_REALTIME);
	bool is_over = rule->state == INACTIVE && rule->was_well;

	if (!is_over && (rule->state != FIRING || is_silenced || !is_due(rule, unix_ms))) {
		return;
	}
	if (!is_silenced) {
		write_letters(letters, rule, is_over ? "resolved" : "firing");
		rule->is_written = true;
	}
	rule->told_ms = is_over ? 0 : unix_ms;
	rule->was_well = false;
	rule->is_unsaved = true;
}

static void run_round(struct xreg_alerts *alerts)
{
	struct letters letters = {json_object()};
	double values[XREG_NR_METRICS] = {0};
	uint64_t now_ms = clock_ms(CLOCK_MONOTONIC), unix_ms = clock_ms(CLOCK_REALTIME), last;
	bool leads = xreg_store_leads(alerts->opts.store);
	json_t *silences = xreg__silences(alerts->opts.store);
	json_t *told = xreg__told(alerts->opts.store);
	const char *comment;

	alerts->opts.measure(alerts->opts.arg, values);
	pthread_mutex_lock(&alerts->mutex);
	alerts->nr_rounds++;
	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		struct rule *rule = &alerts->rules[i];

		rule->value = values[rule->metric];
		judge(alerts, rule, now_ms);
		recall(alerts, rule, told);
		if (leads) {
			tell(rule, xreg__silence_of(silences, rule->name, &comment) > unix_ms,
				&letters);
		}
	}
	last = send_letters(alerts, &letters);
	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		if (alerts->rules[i].is_written) {
			alerts->rules[i].is_written = false;
			alerts->rules[i].letter = last;
		}
	}
	pthread_mutex_unlock(&alerts->mutex);
	json_decref(silences);
	json_decref(told);
}

/* ---- saving what was told ---- */

/* When rules were told whose notifications have ended, as xreg__told_put() wants it; and, of who
 * leads, what is still kept of rules that are no more. */
static json_t *to_save(struct xreg_alerts *alerts, const json_t *told)
{
	uint64_t ended = xreg_notifier_ended(alerts->opts.notifier);
	json_t *changes = json_object(), *one;
	const char *name;

	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		const struct rule *rule = &alerts->rules[i];

		if (rule->is_unsaved && rule->letter <= ended) {
			json_object_set_new(
				changes, rule->name, json_integer((json_int_t)rule->told_ms));
		}
	}
	if (xreg_store_leads(alerts->opts.store)) {
		json_object_foreach ((json_t *)told, name, one) {
			if (find(alerts->rules, alerts->nr_rules, name) == NULL) {
				json_object_set_new(changes, name, json_integer(0));
			}
		}
	}
	return changes;
}

/* Those of which nothing was told meanwhile. */
static void mark_saved(struct xreg_alerts *alerts, const json_t *changes)
{
	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		struct rule *rule = &alerts->rules[i];
		const json_t *saved = json_object_get(changes, rule->name);

		if (saved != NULL && (uint64_t)json_integer_value(saved) == rule->told_ms) {
			rule->is_unsaved = false;
		}
	}
}

/* What cannot be saved now is tried again after the next round. */
static void save_told(struct xreg_alerts *alerts)
{
	json_t *told = xreg__told(alerts->opts.store), *changes;
	struct xu_error err;
	int rc = 0;

	pthread_mutex_lock(&alerts->mutex);
	changes = to_save(alerts, told);
	pthread_mutex_unlock(&alerts->mutex);
	json_decref(told);
	if (json_object_size(changes) != 0) {
		rc = xreg__told_put(alerts->opts.store, changes, &err);
		if (rc == 0) {
			pthread_mutex_lock(&alerts->mutex);
			mark_saved(alerts, changes);
			pthread_mutex_unlock(&alerts->mutex);
		} else if (!alerts->has_failed) {
			xu_warn(alerts->opts.log,
				"%s; what has been told of alerts may be told again after a "
				"restart, or by another registry",
				err.text);
		}
		alerts->has_failed = rc != 0;
	}
	json_decref(changes);
}

/* ---- the thread ---- */

static void on_ended(void *arg)
{
	struct xreg_alerts *alerts = arg;

	pthread_mutex_lock(&alerts->mutex);
	alerts->has_ended = true;
	pthread_cond_signal(&alerts->cond);
	pthread_mutex_unlock(&alerts->mutex);
}

static struct timespec next_round(const struct xreg_alerts *alerts)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += alerts->opts.interval_ms / 1000;
	until.tv_nsec += (long)(alerts->opts.interval_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return until;
}

/* Until the next round, and saves what has been told meanwhile. False: it is to stop. */
static bool sleep_on(struct xreg_alerts *alerts)
{
	struct timespec until = next_round(alerts);
	bool must_stop;

	save_told(alerts);
	pthread_mutex_lock(&alerts->mutex);
	while (!alerts->must_stop) {
		if (alerts->has_ended) {
			alerts->has_ended = false;
			pthread_mutex_unlock(&alerts->mutex);
			save_told(alerts);
			pthread_mutex_lock(&alerts->mutex);
		} else if (pthread_cond_timedwait(&alerts->cond, &alerts->mutex, &until) != 0) {
			break;
		}
	}
	must_stop = alerts->must_stop;
	pthread_mutex_unlock(&alerts->mutex);
	return !must_stop;
}

static void *alerts_main(void *arg)
{
	do {
		run_round(arg);
	} while (sleep_on(arg));
	save_told(arg);
	return NULL;
}

/* ---- the interface ---- */

int xreg_alerts_reload(struct xreg_alerts *alerts, struct xu_error *err)
{
	struct rule *rules, *before, *old;
	uint32_t count;
	int rc = read_rules(alerts, &rules, &count, err);

	if (rc != 0) {
		return rc;
	}
	pthread_mutex_lock(&alerts->mutex);
	for (uint32_t i = 0; i < count; i++) {
		old = find(alerts->rules, alerts->nr_rules, rules[i].name);
		if (old != NULL) {
			rules[i].state = old->state;
			rules[i].value = old->value;
			rules[i].held_since_ms = old->held_since_ms;
			rules[i].since_ms = old->since_ms;
			rules[i].told_ms = old->told_ms;
			rules[i].was_well = old->was_well;
			rules[i].is_unsaved = old->is_unsaved;
			rules[i].letter = old->letter;
		}
	}
	before = alerts->rules;
	alerts->rules = rules;
	alerts->nr_rules = count;
	pthread_mutex_unlock(&alerts->mutex);
	free(before);
	return 0;
}

json_t *xreg_alerts_json(struct xreg_alerts *alerts)
{
	json_t *rules = json_array(), *one, *silences = xreg__silences(alerts->opts.store);
	uint64_t until_ms;
	const char *comment;

	pthread_mutex_lock(&alerts->mutex);
	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		const struct rule *rule = &alerts->rules[i];

		one = alert_json(rule, state_names[rule->state]);
		json_object_set_new(one, "duration_sec", json_integer(rule->duration_s));
		json_object_set_new(one, "enabled", json_boolean(rule->is_enabled));
		until_ms = xreg__silence_of(silences, rule->name, &comment);
		json_object_set_new(one, "silenced_until_ms", json_integer((json_int_t)until_ms));
		json_object_set_new(one, "comment", json_string(comment));
		json_array_append_new(rules, one);
	}
	pthread_mutex_unlock(&alerts->mutex);
	json_decref(silences);
	return json_pack("{s:o, s:o}", "rules", rules, "notifications",
		xreg_notifier_json(alerts->opts.notifier));
}

static int no_rule(const char *name, struct xu_error *err)
{
	return xu_error_set(err, -ENOENT, "there is no rule '%.63s'", name);
}

int xreg_alerts_silence(struct xreg_alerts *alerts, const char *name, uint64_t until_ms,
	const char *comment, struct xu_error *err)
{
	bool is_known;

	pthread_mutex_lock(&alerts->mutex);
	is_known = find(alerts->rules, alerts->nr_rules, name) != NULL;
	pthread_mutex_unlock(&alerts->mutex);
	return is_known ? xreg__silence(alerts->opts.store, name, until_ms, comment, err)
			: no_rule(name, err);
}

int xreg_alerts_test(struct xreg_alerts *alerts, const char *name, struct xu_error *err)
{
	struct letters letters = {json_object()};
	struct rule *rule;
	int rc = 0;

	pthread_mutex_lock(&alerts->mutex);
	rule = find(alerts->rules, alerts->nr_rules, name);
	if (rule == NULL) {
		rc = no_rule(name, err);
	} else {
		write_letters(&letters, rule, "a test");
	}
	pthread_mutex_unlock(&alerts->mutex);
	send_letters(alerts, &letters);
	return rc;
}

int xreg_alerts_start(
	const struct xreg_alerts_opts *opts, struct xreg_alerts **ret_alerts, struct xu_error *err)
{
	struct xreg_alerts *alerts = calloc(1, sizeof(*alerts));
	pthread_condattr_t attr;
	struct xu_error problem;
	int rc;

	if (alerts == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing alerts");
	}
	alerts->opts = *opts;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&alerts->mutex, NULL);
	pthread_cond_init(&alerts->cond, &attr);
	pthread_condattr_destroy(&attr);
	/* Without them it is told more than is wanted: no reason not to begin. */
	if (xreg__silences_take_file(opts->store, opts->data_dir, &problem) != 0) {
		xu_err(opts->log, "silences of an earlier version do not count: %s", problem.text);
	}
	rc = xreg_alerts_reload(alerts, err);
	if (rc == 0) {
		xreg_notifier_watch(opts->notifier, on_ended, alerts);
		rc = -pthread_create(&alerts->thread, NULL, alerts_main, alerts);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "preparing alerts");
		}
	}
	if (rc != 0) {
		xreg_notifier_watch(opts->notifier, NULL, NULL);
		pthread_mutex_destroy(&alerts->mutex);
		pthread_cond_destroy(&alerts->cond);
		free(alerts->rules);
		free(alerts);
		return rc;
	}
	*ret_alerts = alerts;
	return 0;
}

void xreg_alerts_stop(struct xreg_alerts *alerts)
{
	if (alerts == NULL) {
		return;
	}
	pthread_mutex_lock(&alerts->mutex);
	alerts->must_stop = true;
	pthread_cond_signal(&alerts->cond);
	pthread_mutex_unlock(&alerts->mutex);
	pthread_join(alerts->thread, NULL);
	xreg_notifier_watch(alerts->opts.notifier, NULL, NULL);
	pthread_mutex_destroy(&alerts->mutex);
	pthread_cond_destroy(&alerts->cond);
	free(alerts->rules);
	free(alerts);
}
