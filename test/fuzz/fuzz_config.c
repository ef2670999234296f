/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the configuration of xsand: up to three documents with a zero byte between them. Each is
 * read and checked; an error must say where, an accepted one must be the same after it has been
 * written and read again. Two are a reload: the plan from one to the other is played on the model,
 * step by step, where each step must be possible, each change of devices leaves a model that could
 * be a file, and the last leads to what was asked for; where a part takes a restart, that nothing
 * is taken away from under what stays. Three are merged.
 */
#include <errno.h>
#include <jansson.h>

#include "daemon/xsand/config.h"
#include "daemon/xsand/merge.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/plan.h"
#include "lib/util/error.h"
#include "lib/xbdev/config/devices.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/place.h"

#define NAME          "fuzz.json"
#define MAX_DOCUMENTS 3u

/* ---- one document ---- */

static void check_settings(const struct config_settings *set)
{
	FUZZ_CHECK(set->nr_reactors >= 1 && set->nr_reactors <= XBDEV_MAX_REACTORS, "%u reactors",
		set->nr_reactors);
	for (uint32_t i = 0; set->has_cpus && i < set->nr_reactors; i++) {
		FUZZ_CHECK(set->cpus[i] >= 0, "CPU %d", set->cpus[i]);
	}
	FUZZ_CHECK(set->socket != NULL && set->state_dir != NULL && set->stop_timeout_s >= 1,
		"settings");
	FUZZ_CHECK(set->log.target != XU_LOG_TO_FILE || set->log.path != NULL, "log file");
}

/* The model as a file: it is accepted, and means the same. */
static void check_written(const struct config *config)
{
	struct xu_error err = {0};
	json_t *root = model_to_config(config->model);
	char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
	struct config *again = NULL;
	int rc;

	FUZZ_CHECK(text != NULL && model_check(config->model, &err) == 0, "%s", err.text);
	rc = config_parse(NAME, text, strlen(text), &again, &err);
	FUZZ_CHECK(rc == 0, "what was accepted is not when it is written again: %s", err.text);
	FUZZ_CHECK(model_equal(again->model, config->model), "it is read as something else:\n%s",
		text);
	config_free(again);
	free(text);
	json_decref(root);
}

static struct config *read_document(const char *text, size_t len)
{
	struct config *config = NULL;
	struct xu_error err = {0};
	int rc = config_parse(NAME, text, len, &config, &err);
	json_t *changes;

	if (rc != 0) {
		FUZZ_CHECK(config == NULL && rc == err.code, "%d, %d", rc, err.code);
		fuzz_check_place(NAME, text, len, &err);
		return NULL;
	}
	check_settings(&config->settings);
	check_written(config);
	changes = config_settings_diff(config, config);
	FUZZ_CHECK(changes != NULL && json_array_size(changes) == 0, "differs from itself");
	json_decref(changes);
	return config;
}

/* ---- a reload ---- */

static json_t *object_in(json_t *model, const char *nqn, const char *part)
{
	json_t *object = json_object_get(model_subsystem(model, nqn), part);

	FUZZ_CHECK(json_is_object(object), "subsystem %s is not there", nqn);
	return object;
}

/* No device and no namespace stands on it but those named. */
static void check_unused(json_t *model, const char *name)
{
	const char *key, *nqn, *nsid;
	json_t *entry, *subsystem, *ns, *device = json_object_get(model_devices(model), name);

	json_object_foreach (model_devices(model), key, entry) {
		for (size_t nth = 0; nth < xbdev_config_nr_bases(entry); nth++) {
			FUZZ_CHECK(model_find_device(model, xbdev_config_base_at(entry, nth)) !=
					   device,
				"device %s is used by %s", name, key);
		}
	}
	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		json_object_foreach (json_object_get(subsystem, "namespaces"), nsid, ns) {
			const char *user = json_string_value(json_object_get(ns, "device"));

			FUZZ_CHECK(user != NULL && model_find_device(model, user) != device,
				"device %s is namespace %s", name, nsid);
		}
	}
}

static void set_new(json_t *object, const char *key, json_t *value)
{
	FUZZ_CHECK(json_object_get(object, key) == NULL, "%s is there already", key);
	json_object_set_new(object, key, json_deep_copy(value));
}

static void take_away(json_t *object, const char *key)
{
	FUZZ_CHECK(json_object_del(object, key) == 0, "%s is not there", key);
}

/* The array stands on one less, which is there still, and on another. */
static void play_member(json_t *model, const struct step *step)
{
	json_t *array = json_object_get(model_devices(model), step->nqn);
	json_t *member = json_object_get(model_devices(model), step->key);

	FUZZ_CHECK(array != NULL && member != NULL, "%s, %s", step->nqn, step->key);
	FUZZ_CHECK(xbdev_config_stands_on(array, member) &&
			   !xbdev_config_stands_on(step->value, member) &&
			   xbdev_config_nr_bases(step->value) == xbdev_config_nr_bases(array) - 1 &&
			   xbdev_config_nr_bases(step->value) != 0,
		"%s without %s", step->nqn, step->key);
	json_object_set_new(model_devices(model), step->nqn, json_deep_copy(step->value));
}

/* What takes a restart may be in the way of what comes. */
static void play_device(json_t *model, const struct step *step, bool is_whole)
{
	json_t *devices = model_devices(model);
	size_t nr_bases = step->value != NULL ? xbdev_config_nr_bases(step->value) : 0;
	struct xu_error err = {0};

	switch (step->kind) {
	case STEP_MEMBER_REMOVE:
		play_member(model, step);
		break;
	case STEP_DEVICE_REMOVE:
		check_unused(model, step->key);
		take_away(devices, step->key);
		break;
	case STEP_DEVICE_ADD:
		for (size_t nth = 0; is_whole && nth < nr_bases; nth++) {
			const char *base = xbdev_config_base_at(step->value, nth);
			json_t *entry = model_find_device(model, base);

			FUZZ_CHECK(entry != NULL, "device %s comes before %s", step->key, base);
			check_unused(
				model, json_string_value(json_object_get(entry, "name")) != NULL
					       ? json_string_value(json_object_get(entry, "name"))
					       : base);
		}
		set_new(devices, step->key, step->value);
		break;
	default:
		take_away(devices, step->key);
		set_new(devices, step->key, step->value);
		break;
	}
	FUZZ_CHECK(!is_whole || model_check(model, &err) == 0, "%s", err.text);
}

/* Stores and volumes stay on their devices; `lvols` has those that are known. */
static void play_lvol(const json_t *model, json_t *lvols, const struct step *step)
{
	bool is_store = step->kind == STEP_STORE_MAKE;
	json_t *list = json_object_get(lvols, is_store ? "lvol_stores" : "lvol_volumes");
	const char *base = json_string_value(json_object_get(step->value, "base_bdev"));

	FUZZ_CHECK(
		!is_store || model_find_device(model, base) != NULL || model_is_volume_name(base),
		"store %s comes before what it is on", step->key);
	json_object_set_new(list, step->key, json_deep_copy(step->value));
}

static void play_subsystem(json_t *model, const struct step *step)
{
	static const char *const parts[] = {"hosts", "namespaces", "listeners"};
	json_t *subsystem;

	if (step->kind == STEP_SUBSYSTEM_REMOVE) {
		take_away(model_subsystems(model), step->key);
		return;
	}
	set_new(model_subsystems(model), step->key, step->value);
	subsystem = model_subsystem(model, step->key);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		json_object_clear(json_object_get(subsystem, parts[i]));
	}
}

static void play(json_t *model, json_t *lvols, const struct step *step, bool is_whole)
{
	const char *device;

	switch (step->kind) {
	case STEP_LOG_LEVEL:
		json_object_set_new(
			json_object_get(model, "log"), "level", json_deep_copy(step->value));
		break;
	case STEP_LISTENER_REMOVE:
		take_away(object_in(model, step->nqn, "listeners"), step->key);
		break;
	case STEP_NS_REMOVE:
		take_away(object_in(model, step->nqn, "namespaces"), step->key);
		break;
	case STEP_HOST_REMOVE:
		take_away(object_in(model, step->nqn, "hosts"), step->key);
		break;
	case STEP_SUBSYSTEM_REMOVE:
	case STEP_SUBSYSTEM_ADD:
		play_subsystem(model, step);
		break;
	case STEP_MEMBER_REMOVE:
	case STEP_DEVICE_REMOVE:
	case STEP_DEVICE_ADD:
	case STEP_DEVICE_CHANGE:
		play_device(model, step, is_whole);
		break;
	case STEP_STORE_MAKE:
	case STEP_VOLUME_MAKE:
		play_lvol(model, lvols, step);
		break;
	case STEP_TRANSPORT:
		FUZZ_CHECK(json_object_size(model_subsystems(model)) == 0,
			"the transport changes under subsystems");
		json_object_set_new(
			json_object_get(model, "nvmf"), "transport", json_deep_copy(step->value));
		break;
	case STEP_HOST_ADD:
		set_new(object_in(model, step->nqn, "hosts"), step->key, step->value);
		break;
	case STEP_ALLOW_ANY_HOST:
		json_object_set_new(model_subsystem(model, step->nqn), "allow_any_host",
			json_deep_copy(step->value));
		break;
	case STEP_NS_ADD:
		device = json_string_value(json_object_get(step->value, "device"));
		FUZZ_CHECK(device != NULL && (model_find_device(model, device) != NULL ||
						     model_is_volume_name(device)),
			"namespace %s comes before its device", step->key);
		set_new(object_in(model, step->nqn, "namespaces"), step->key, step->value);
		break;
	case STEP_LISTENER_ADD:
		set_new(object_in(model, step->nqn, "listeners"), step->key, step->value);
		break;
	default:
		FUZZ_CHECK(false, "step %d", step->kind);
	}
}

static const char *const lvol_lists[] = {"lvol_stores", "lvol_volumes"};

/* A copy without stores and volumes, which are put into *ret_lvols. */
static json_t *split(const json_t *whole, json_t **ret_lvols)
{
	json_t *model = json_deep_copy(whole);

	*ret_lvols = json_object();
	for (size_t i = 0; i < 2; i++) {
		json_object_set(*ret_lvols, lvol_lists[i], json_object_get(model, lvol_lists[i]));
		json_object_set_new(model, lvol_lists[i], json_object());
	}
	return model;
}

/* The model is what was asked for, and so are all stores and volumes that were. */
static void check_end(const json_t *model, const json_t *lvols, const json_t *to)
{
	json_t *wanted_lvols, *wanted = split(to, &wanted_lvols), *entry;
	const char *name;

	if (!model_equal(model, wanted)) {
		char *got = json_dumps(model, JSON_COMPACT),
		     *want = json_dumps(wanted, JSON_COMPACT);

		FUZZ_CHECK(false, "the plan leads to\n%s\nnot to\n%s", got, want);
	}
	for (size_t i = 0; i < 2; i++) {
		json_object_foreach (json_object_get(wanted_lvols, lvol_lists[i]), name, entry) {
			FUZZ_CHECK(model_equal(json_object_get(
						       json_object_get(lvols, lvol_lists[i]), name),
					   entry),
				"%s has not been made", name);
		}
	}
	json_decref(wanted);
	json_decref(wanted_lvols);
}

static void check_plan(const json_t *from, const json_t *to)
{
	json_t *lvols, *model = split(from, &lvols), *text;
	struct plan plan;
	bool is_whole;

	FUZZ_CHECK(plan_make(&plan, NULL, from, to) == 0, "no plan");
	is_whole = json_array_size(plan.restart) == 0;
	for (size_t i = 0; i < plan.nr_steps; i++) {
		text = plan_describe(&plan.steps[i]);
		FUZZ_CHECK(json_is_string(text), "step %zu has no description", i);
		fuzz_say("step: %s\n", json_string_value(text));
		json_decref(text);
		play(model, lvols, &plan.steps[i], is_whole);
	}
	if (is_whole) {
		check_end(model, lvols, to);
	}
	FUZZ_CHECK(!model_equal(from, to) || (plan.nr_steps == 0 && is_whole),
		"there are steps from a model to itself");
	plan_fini(&plan);
	json_decref(model);
	json_decref(lvols);
}

/* ---- a merge ---- */

static void check_merge(const json_t *base, const json_t *file, const json_t *current)
{
	json_t *notes = json_array(), *merged = NULL;
	struct xu_error err = {0};
	int rc = merge_models(base, file, current, &merged, notes, &err);

	if (rc != 0) {
		FUZZ_CHECK(rc == -EINVAL && err.code == rc && err.text[0] != '\0', "%d '%s'", rc,
			err.text);
		FUZZ_CHECK(!model_equal(base, file), "an untouched file contradicts itself: %s",
			err.text);
	} else {
		FUZZ_CHECK(
			model_check(merged, &err) == 0, "the merge is not possible: %s", err.text);
		FUZZ_CHECK(!model_equal(base, file) || model_equal(merged, current),
			"the file is untouched, and changes made at run time are lost");
		check_plan(current, merged);
	}
	json_decref(merged);
	json_decref(notes);
}

/* ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *configs[MAX_DOCUMENTS] = {0};
	const char *at = (const char *)data, *end = at + size, *zero;
	size_t count = 0;

	do {
		zero = at != end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
		configs[count] = read_document(at, (size_t)((zero != NULL ? zero : end) - at));
		at = zero != NULL ? zero + 1 : end;
	} while (configs[count] != NULL && ++count < MAX_DOCUMENTS && zero != NULL);
	for (size_t i = 0; i < count; i++) {
		check_plan(configs[i]->model, configs[(i + 1) % count]->model);
		check_merge(configs[i]->model, configs[i]->model, configs[(i + 1) % count]->model);
	}
	if (count == MAX_DOCUMENTS) {
		check_merge(configs[0]->model, configs[1]->model, configs[2]->model);
	}
	for (size_t i = 0; i < count; i++) {
		config_free(configs[i]);
	}
	return 0;
}
