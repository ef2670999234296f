/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules are under a mutex, which is held for a round and for each call; measuring is done
 * before, notifications are only queued (notify.h), and saving silences is rare. Times of durations
 * are of the monotonic clock, those that people see and set Unix time.
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
#include "lib/xregistry/alert/notify.h"
#include "lib/xregistry/document.h"
#include "lib/xregistry/live.h"

#define RULES_MAX   256u
#define PLACES_MAX  16u /* of one rule */
#define REPEAT_S    (4u * 3600u)
#define SILENCES    "silences"
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
	uint64_t held_since_ms, told_ms; /* monotonic */
	uint64_t since_ms;               /* Unix time of the last change of state */
	uint64_t silenced_until_ms;
	char comment[128];
};

struct xreg_alerts {
	struct xreg_alerts_opts opts;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool must_stop;
	struct rule *rules;
	uint32_t nr_rules;
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

/* ---- silences ---- */

static void load_silences(struct xreg_alerts *alerts)
{
	json_t *document = NULL, *silence;
	struct xu_error err;
	const char *name;
	struct rule *rule;

	if (xreg_document_load(alerts->opts.data_dir, SILENCES, &document, &err) != 0) {
		xu_err(alerts->opts.log, "%s; no rule is silenced", err.text);
	}
	json_object_foreach (document, name, silence) {
		const char *comment = json_string_value(json_object_get(silence, "comment"));

		rule = find(alerts->rules, alerts->nr_rules, name);
		if (rule != NULL) {
			rule->silenced_until_ms =
				(uint64_t)json_integer_value(json_object_get(silence, "until_ms"));
			snprintf(rule->comment, sizeof(rule->comment), "%.127s",
				comment != NULL ? comment : "");
		}
	}
	json_decref(document);
}

static int save_silences(struct xreg_alerts *alerts, struct xu_error *err)
{
	uint64_t now_ms = clock_ms(CLOCK_REALTIME);
	json_t *document = json_object();
	int rc;

	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		const struct rule *rule = &alerts->rules[i];

		if (rule->silenced_until_ms > now_ms) {
			json_object_set_new(document, rule->name,
				json_pack("{s:I, s:s}", "until_ms",
					(json_int_t)rule->silenced_until_ms, "comment",
					rule->comment));
		}
	}
	rc = xreg_document_save(alerts->opts.data_dir, SILENCES, document, err);
	json_decref(document);
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

/* One notification to a place, of one alert or of several. */
static void send_letter(struct xreg_alerts *alerts, const char *place, json_t *list)
{
	json_t *alert, *body = json_pack("{s:s, s:O}", "source", "xsan-registry", "alerts", list);
	char subject[256], *text = NULL;
	size_t size, i;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL || body == NULL) {
		json_decref(body);
		return;
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
	fclose(out);
	alert = json_array_get(list, 0);
	snprintf(subject, sizeof(subject), "[xsan-registry] %s is %s%s",
		json_string_value(json_object_get(alert, "rule_name")),
		json_string_value(json_object_get(alert, "state")),
		json_array_size(list) > 1 ? " and others" : "");
	xreg_notify(alerts->opts.notifier, place, subject, text, body);
	free(text);
	json_decref(body);
}

static void send_letters(struct xreg_alerts *alerts, struct letters *letters)
{
	const char *place;
	json_t *list;

	json_object_foreach (letters->by_place, place, list) {
		send_letter(alerts, place, list);
	}
	json_decref(letters->by_place);
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

static void judge(
	struct xreg_alerts *alerts, struct rule *rule, uint64_t now_ms, struct letters *letters)
{
	bool is_bad = rule->is_enabled && holds(rule, rule->value);
	bool is_silenced = rule->silenced_until_ms > clock_ms(CLOCK_REALTIME);

	if (!is_bad) {
		if (rule->state == FIRING) {
			enter(alerts, rule, INACTIVE);
			if (rule->told_ms != 0 && !is_silenced) {
				write_letters(letters, rule, "resolved");
			}
			rule->told_ms = 0;
		} else if (rule->state == PENDING) {
			enter(alerts, rule, INACTIVE);
		}
		return;
	}
	if (rule->state == INACTIVE) {
		enter(alerts, rule, PENDING);
		rule->held_since_ms = now_ms;
	}
	if (rule->state == PENDING && now_ms - rule->held_since_ms >= rule->duration_s * 1000ull) {
		enter(alerts, rule, FIRING);
	}
	if (rule->state == FIRING && !is_silenced &&
		(rule->told_ms == 0 || now_ms - rule->told_ms >= rule->repeat_s * 1000ull)) {
		write_letters(letters, rule, "firing");
		rule->told_ms = now_ms;
	}
}

static void run_round(struct xreg_alerts *alerts)
{
	struct letters letters = {json_object()};
	double values[XREG_NR_METRICS] = {0};
	uint64_t now_ms = clock_ms(CLOCK_MONOTONIC);

	alerts->opts.measure(alerts->opts.arg, values);
	pthread_mutex_lock(&alerts->mutex);
	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		alerts->rules[i].value = values[alerts->rules[i].metric];
		judge(alerts, &alerts->rules[i], now_ms, &letters);
	}
	pthread_mutex_unlock(&alerts->mutex);
	send_letters(alerts, &letters);
}

static bool sleep_on(struct xreg_alerts *alerts)
{
	struct timespec until;
	bool must_stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += alerts->opts.interval_ms / 1000;
	until.tv_nsec += (long)(alerts->opts.interval_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&alerts->mutex);
	while (!alerts->must_stop &&
		pthread_cond_timedwait(&alerts->cond, &alerts->mutex, &until) == 0) {
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
			rules[i].told_ms = old->told_ms;
			rules[i].since_ms = old->since_ms;
		}
	}
	before = alerts->rules;
	alerts->rules = rules;
	alerts->nr_rules = count;
	load_silences(alerts);
	pthread_mutex_unlock(&alerts->mutex);
	free(before);
	return 0;
}

json_t *xreg_alerts_json(struct xreg_alerts *alerts)
{
	json_t *rules = json_array(), *one;

	pthread_mutex_lock(&alerts->mutex);
	for (uint32_t i = 0; i < alerts->nr_rules; i++) {
		const struct rule *rule = &alerts->rules[i];

		one = alert_json(rule, state_names[rule->state]);
		json_object_set_new(one, "duration_sec", json_integer(rule->duration_s));
		json_object_set_new(one, "enabled", json_boolean(rule->is_enabled));
		json_object_set_new(one, "silenced_until_ms",
			json_integer((json_int_t)rule->silenced_until_ms));
		json_object_set_new(one, "comment", json_string(rule->comment));
		json_array_append_new(rules, one);
	}
	pthread_mutex_unlock(&alerts->mutex);
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
	struct rule *rule, before;
	int rc;

	pthread_mutex_lock(&alerts->mutex);
	rule = find(alerts->rules, alerts->nr_rules, name);
	if (rule == NULL) {
		rc = no_rule(name, err);
	} else {
		before = *rule;
		rule->silenced_until_ms = until_ms;
		snprintf(rule->comment, sizeof(rule->comment), "%.127s", comment);
		xu_text_mend(rule->comment);
		rc = save_silences(alerts, err);
		if (rc != 0) {
			*rule = before;
		}
	}
	pthread_mutex_unlock(&alerts->mutex);
	return rc;
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
	rc = xreg_alerts_reload(alerts, err);
	if (rc == 0) {
		rc = -pthread_create(&alerts->thread, NULL, alerts_main, alerts);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "preparing alerts");
		}
	}
	if (rc != 0) {
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
	pthread_mutex_destroy(&alerts->mutex);
	pthread_cond_destroy(&alerts->cond);
	free(alerts->rules);
	free(alerts);
}
