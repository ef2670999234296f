/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps. Each kind has a function that begins it and one that notes in node->made that it is
 * done, in one table. A job is one step under way; it owns copies of all it needs, so that it can
 * outlive its turn when the kernel or a host keeps it waiting.
 */
#include "daemon/xsand/apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/config_central.h"
#include "daemon/xsand/config_check.h"
#include "daemon/xsand/lvol.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/raid/driver.h"

struct apply {
	struct node *node;
	struct plan *plan;
	size_t next;
	bool is_running;   /* apply_run() is on the stack */
	bool is_holding;   /* devices are not searched for stores of volumes yet */
	bool is_step_over; /* the step that was begun last has ended */
	json_t *steps, *failed;
	struct xu_error first;
	void (*done)(void *arg, json_t *steps, json_t *failed, const struct xu_error *first);
	void *arg;
};

struct job {
	struct apply *apply; /* NULL: it has been given up */
	struct node *node;
	struct step step; /* its texts are the job's own, its value has a reference */
	json_t *sentence;
	struct xr_timer timer;
	struct xr_timer retry_timer;
	uint32_t nr_retries;
};

/* A node that was killed leaves its ports and its locks to the kernel for a moment, as long as I/O
 * is under way; so the node that starts after it tries for a while. */
#define RETRY_NS    (100 * XU_NS_PER_MS)
#define MAX_RETRIES 50u
/* How often is looked whether an array has given a device back. */
#define RELEASE_NS (5 * XU_NS_PER_MS)

static void apply_run(struct apply *apply);

/* ---- the end of a step ---- */

static void job_free(struct job *job)
{
	free((char *)job->step.nqn);
	free((char *)job->step.key);
	json_decref(job->step.value);
	json_decref(job->sentence);
	free(job);
}

static void note_made(struct job *job);
static void begin(struct job *job);

static void on_retry(struct xr_timer *timer)
{
	begin(xu_container_of(timer, struct job, retry_timer));
}

static bool must_retry(const struct job *job, const struct xu_error *err)
{
	bool is_held = (job->step.kind == STEP_LISTENER_ADD && err->code == -EADDRINUSE) ||
		       (job->step.kind == STEP_DEVICE_ADD && err->code == -EBUSY);

	return is_held && job->apply != NULL && !job->node->is_ready && !job->node->is_stopping &&
	       job->nr_retries < MAX_RETRIES;
}

static void note_failed(struct apply *apply, const struct job *job, const struct xu_error *err)
{
	const char *sentence = json_string_value(job->sentence);

	if (apply->first.code == 0) {
		apply->first = *err;
	}
	json_array_append_new(
		apply->failed, json_pack("{s:s, s:s}", "step", sentence, "error", err->text));
	xu_err(apply->node->log, "%s: %s", sentence, err->text);
}

/* Ends the job: err NULL or with code 0 when it is done. */
static void job_done(struct job *job, const struct xu_error *err)
{
	struct apply *apply = job->apply;
	bool is_good = err == NULL || err->code == 0;

	if (!is_good && must_retry(job, err)) {
		job->nr_retries++;
		job->retry_timer.fn = on_retry;
		xr_timer_start(xbdev_ctx_control(job->node->ctx), &job->retry_timer, RETRY_NS);
		return;
	}
	xr_timer_stop(xbdev_ctx_control(job->node->ctx), &job->timer);
	if (is_good) {
		note_made(job);
		xu_info(job->node->log, "done: %s", json_string_value(job->sentence));
	}
	if (apply != NULL && is_good) {
		json_array_append(apply->steps, job->sentence);
	} else if (apply != NULL) {
		note_failed(apply, job, err);
	}
	job->node->nr_jobs--;
	if (apply == NULL) {
		node_stop_continue(job->node);
	}
	job_free(job);
	if (apply != NULL) {
		apply->is_step_over = true;
		if (!apply->is_running) {
			apply_run(apply);
		}
	}
}

static void job_fail(struct job *job, int code, const char *text)
{
	struct xu_error err;

	xu_error_set(&err, code, "%s", text);
	job_done(job, &err);
}

/* For the callbacks of the target and the devices. */
static void on_job_done(void *arg)
{
	job_done(arg, NULL);
}

static void on_job_result(void *arg, const struct xu_error *err)
{
	job_done(arg, err);
}

static void on_timeout(struct xr_timer *timer)
{
	struct job *job = xu_container_of(timer, struct job, timer);
	struct apply *apply = job->apply;
	struct xu_error err;

	xu_error_set(&err, -ETIMEDOUT, "not done after %u s; it goes on by itself", STEP_TIMEOUT_S);
	note_failed(apply, job, &err);
	job->apply = NULL;
	apply_run(apply);
}

/* ---- devices ---- */

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct job *job = arg;

	if (dev != NULL && xbdev_config_pin(job->step.value, dev) != 0) {
		xu_err(job->node->log, "device %s: out of memory, its identity is not saved",
			dev->name);
	}
	job_done(job, err);
}

static void device_add(struct job *job)
{
	xbdev_config_create(job->node->ctx, job->step.value, on_created, job);
}

/* The device that has been made and stands on this one; NULL: none does. Of an array's members the
 * array knows best. */
static const struct xbdev_device *find_above(struct node *node, const struct xbdev_device *dev)
{
	const json_t *below = json_object_get(model_devices(node->made), dev->name);
	const char *name;
	json_t *entry;

	json_object_foreach (model_devices(node->made), name, entry) {
		const struct xbdev_device *above = xbdev_device_find(node->ctx, name);

		if (above != NULL && below != NULL && xbdev_config_stands_on(entry, below) &&
			(!xbdev__md_is_array(above) || xbdev__md_has_member(above, dev))) {
			return above;
		}
	}
	return NULL;
}

/* A device is not taken from under one that was to let go of it, or to go itself, and has not. */
static void device_remove(struct job *job)
{
	struct xbdev_device *dev = xbdev_device_find(job->node->ctx, job->step.key);
	const struct xbdev_device *above = dev != NULL ? find_above(job->node, dev) : NULL;
	struct xu_error err;

	if (above != NULL) {
		xu_error_set(&err, -EBUSY,
			"device '%s' still stands on it, so it stays; put it back into the "
			"configuration file, or see what keeps the other",
			above->name);
		job_done(job, &err);
	} else if (dev == NULL) { /* it could not be made, or has gone by itself */
		job_done(job, NULL);
	} else if (xbdev_device_remove(dev, on_job_done, job) != 0) {
		job_fail(job, -EBUSY, "it is being removed already");
	}
}

static void device_change(struct job *job)
{
	struct xbdev_device *dev = xbdev_device_find(job->node->ctx, job->step.key);

	if (dev == NULL) {
		job_fail(job, -ENODEV, "the device is gone");
		return;
	}
	xbdev_config_change(dev, job->step.value, on_job_result, job);
}

/* ---- members of arrays ---- */

static void member_command(struct job *job, enum xbdev_md_command_kind kind,
	void (*done)(void *arg, const struct xu_error *err))
{
	struct xbdev_device *dev = xbdev_device_find(job->node->ctx, job->step.nqn);
	const struct xbdev_md_command command = {.kind = kind, .device = job->step.key};

	if (dev == NULL) {
		job_fail(job, -ENODEV, "the array is gone");
		return;
	}
	xbdev__md_manage(dev, &command, done, job);
}

static void wait_released(struct job *job);

static void on_release_check(struct xr_timer *timer)
{
	wait_released(xu_container_of(timer, struct job, retry_timer));
}

/* It is out when the array says so, and free when its I/O has ended: only then it can go, or be
 * another's. */
static void wait_released(struct job *job)
{
	const struct xbdev_device *array = xbdev_device_find(job->node->ctx, job->step.nqn);
	const struct xbdev_device *member = xbdev_device_find(job->node->ctx, job->step.key);

	if (array == NULL) {
		job_fail(job, -ENODEV, "the array is gone");
		return;
	}
	if (member == NULL || !xbdev__md_is_array(array) || !xbdev__md_has_member(array, member)) {
		job_done(job, NULL);
		return;
	}
	job->retry_timer.fn = on_release_check;
	xr_timer_start(xbdev_ctx_control(job->node->ctx), &job->retry_timer, RELEASE_NS);
}

static void on_member_gone(void *arg, const struct xu_error *err)
{
	/* -ENOENT: it was no member, by a command or because it could not be made. */
	if (err != NULL && err->code != 0 && err->code != -ENOENT) {
		job_done(arg, err);
	} else {
		wait_released(arg);
	}
}

static void on_member_failed(void *arg, const struct xu_error *err)
{
	if (err != NULL && err->code != 0) {
		job_done(arg, err);
	} else {
		member_command(arg, XBDEV_MD_COMMAND_REMOVE, on_member_gone);
	}
}

/* One that serves is given up only where the device itself is to be no more, and the array refuses
 * that when nobody else has the data. */
static void on_member_removed(void *arg, const struct xu_error *err)
{
	struct job *job = arg;

	if (err != NULL && err->code == -EBUSY &&
		model_find_device(job->node->wanted, job->step.key) == NULL) {
		member_command(job, XBDEV_MD_COMMAND_FAIL, on_member_failed);
	} else {
		on_member_gone(job, err);
	}
}

static void member_remove(struct job *job)
{
	member_command(job, XBDEV_MD_COMMAND_REMOVE, on_member_removed);
}

/* Of the array: made without the member. */
static void gone_member(struct job *job)
{
	json_object_set_new(
		model_devices(job->node->made), job->step.nqn, xbdev_config_copy(job->step.value));
}

/* ---- devices are made ---- */

static void made_device(struct job *job)
{
	json_object_set_new(
		model_devices(job->node->made), job->step.key, xbdev_config_copy(job->step.value));
}

static void gone_device(struct job *job)
{
	json_object_del(model_devices(job->node->made), job->step.key);
}

/* ---- stores and volumes ---- */

static const char *list_of(const struct job *job)
{
	return job->step.kind == STEP_STORE_MAKE ? "lvol_stores" : "lvol_volumes";
}

static void lvol_add(struct job *job)
{
	lvol_make(job->node->ctx, list_of(job), job->step.key, job->step.value,
		json_object_get(json_object_get(job->node->made, list_of(job)), job->step.key),
		on_job_result, job);
}

static void made_lvol(struct job *job)
{
	json_object_set_new(json_object_get(job->node->made, list_of(job)), job->step.key,
		xbdev_config_copy(job->step.value));
}

/* ---- subsystems ---- */

/* The subsystem of the step; NULL: the job has failed and is gone. */
static struct xnvmf_subsystem *subsystem_of(struct job *job)
{
	struct xnvmf_subsystem *subsystem = xnvmf_subsystem_find(job->node->target, job->step.nqn);

	if (subsystem == NULL) {
		job_fail(job, -ENOENT, "the subsystem is not there");
	}
	return subsystem;
}

/* The same where something goes: when even the subsystem is not there, the job is done, and
 * gone. */
static struct xnvmf_subsystem *subsystem_to_clean(struct job *job)
{
	struct xnvmf_subsystem *subsystem = xnvmf_subsystem_find(job->node->target, job->step.nqn);

	if (subsystem == NULL) {
		job_done(job, NULL);
	}
	return subsystem;
}

static void subsystem_add(struct job *job)
{
	const json_t *value = job->step.value;
	struct xnvmf_subsystem_opts opts = {
		.nqn = job->step.nqn,
		.serial_number = json_string_value(json_object_get(value, "serial_number")),
		.model_number = json_string_value(json_object_get(value, "model_number")),
		.allow_any_host = json_is_true(json_object_get(value, "allow_any_host")),
		.max_namespaces = model_max_namespaces(value),
	};
	struct xnvmf_subsystem *subsystem;
	struct xu_error err = {0};

	xnvmf_subsystem_add(job->node->target, &opts, &subsystem, &err);
	job_done(job, &err);
}

static void subsystem_remove(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_to_clean(job);

	if (subsystem != NULL && xnvmf_subsystem_remove(subsystem, on_job_done, job) != 0) {
		job_fail(job, -EBUSY, "it is being removed already");
	}
}

static void allow_any_host(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_of(job);

	if (subsystem != NULL) {
		xnvmf_subsystem_allow_any_host(subsystem, json_is_true(job->step.value));
		job_done(job, NULL);
	}
}

/* A subsystem is made without its parts, which are steps of their own. */
static void made_subsystem(struct job *job)
{
	json_t *copy = xbdev_config_copy(job->step.value);

	json_object_set_new(copy, "hosts", json_object());
	json_object_set_new(copy, "namespaces", json_object());
	json_object_set_new(copy, "listeners", json_object());
	json_object_del(copy, "registry");
	json_object_set_new(model_subsystems(job->node->made), job->step.nqn, copy);
}

static void gone_subsystem(struct job *job)
{
	json_object_del(model_subsystems(job->node->made), job->step.nqn);
}

static void made_allow_any_host(struct job *job)
{
	json_object_set(
		model_subsystem(job->node->made, job->step.nqn), "allow_any_host", job->step.value);
}

/* ---- what a registry has set ---- */

static uint32_t number_of(const json_t *object, const char *name)
{
	return (uint32_t)json_integer_value(json_object_get(object, name));
}

/* A node whose transport was made shallower since is as deep as it can be. */
static int set_policy(struct job *job, struct xnvmf_subsystem *subsystem, const json_t *merged,
	struct xu_error *err)
{
	const json_t *any_host = json_object_get(merged, "any_host");
	const json_t *list = json_object_get(merged, "hosts"), *host;
	uint32_t depth_max = xnvmf_target_get_opts(job->node->target)->max_queue_depth;
	struct xnvmf_policy policy = {.queue_depth = number_of(merged, "queue_depth"),
		.max_controllers = number_of(merged, "max_connections"),
		.has_hosts = any_host != NULL || list != NULL,
		.allow_any_host = json_is_true(any_host),
		.nr_hosts = (uint32_t)json_array_size(list),
		.is_read_only = json_is_true(json_object_get(merged, "read_only"))};
	const char **hosts = calloc(policy.nr_hosts + 1, sizeof(*hosts));
	size_t i;
	int rc;

	if (hosts == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "setting what the registry wants");
	}
	json_array_foreach (list, i, host) {
		hosts[i] = json_string_value(host);
	}
	policy.hosts = hosts;
	if (policy.queue_depth > depth_max) {
		xu_warn(job->node->log,
			"%s: the registry wants queues of %u entries, and the transport has at "
			"most %u",
			job->step.nqn, policy.queue_depth, depth_max);
		policy.queue_depth = depth_max;
	}
	rc = xnvmf_subsystem_set_policy(subsystem, &policy, err);
	free(hosts);
	return rc;
}

static void policy(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_of(job);
	struct xu_error err = {0};
	json_t *merged;

	if (subsystem == NULL) {
		return;
	}
	if (job->step.value == NULL) {
		xnvmf_subsystem_set_policy(subsystem, NULL, &err);
	} else if (central_merge(job->step.value, &merged, &err) == 0) {
		set_policy(job, subsystem, merged, &err);
		json_decref(merged);
	}
	job_done(job, &err);
}

static void made_policy(struct job *job)
{
	json_t *subsystem = model_subsystem(job->node->made, job->step.nqn);

	if (job->step.value != NULL) {
		json_object_set(subsystem, "registry", job->step.value);
	} else {
		json_object_del(subsystem, "registry");
	}
}

/* ---- parts of subsystems ---- */

static void host_add(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_of(job);
	struct xu_error err = {0};

	if (subsystem != NULL) {
		xnvmf_subsystem_add_host(subsystem, job->step.key, &err);
		job_done(job, &err);
	}
}

static void host_remove(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_to_clean(job);
	struct xu_error err = {0};

	if (subsystem != NULL) {
		xnvmf_subsystem_remove_host(subsystem, job->step.key, &err);
		job_done(job, err.code == -ENOENT ? NULL : &err);
	}
}

/* Hexadecimal digits, which have been checked, into bytes; NULL: none. */
static void parse_hex(const char *text, uint8_t *bytes, size_t count)
{
	char digits[3] = "";

	for (size_t i = 0; text != NULL && i < count; i++) {
		memcpy(digits, text + 2 * i, 2);
		bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
}

static void ns_add(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_of(job);
	struct config_ns ns;
	struct xnvmf_ns_opts opts;
	struct xu_error err = {0};
	struct check c = {.err = &err};
	uint32_t nsid;

	if (subsystem == NULL) {
		return;
	}
	if (check_ns(&c, "", job->step.value, &ns) == 0) {
		opts = (struct xnvmf_ns_opts){.nsid = ns.nsid,
			.device = ns.device,
			.uuid = ns.uuid,
			.read_only = ns.read_only};
		parse_hex(ns.nguid, opts.nguid, sizeof(opts.nguid));
		parse_hex(ns.eui64, opts.eui64, sizeof(opts.eui64));
		xnvmf_ns_add(subsystem, &opts, &nsid, on_job_result, job, &err);
	}
	if (err.code != 0) {
		job_done(job, &err);
	}
}

static void ns_remove(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_to_clean(job);
	struct xu_error err = {0};
	uint32_t nsid;

	if (subsystem == NULL) {
		return;
	}
	nsid = (uint32_t)strtoul(job->step.key, NULL, 10);
	if (xnvmf_ns_remove(subsystem, nsid, on_job_done, job, &err) != 0) {
		job_done(job, err.code == -ENOENT ? NULL : &err); /* gone with its device */
	}
}

static void listener_add(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_of(job);
	struct xu_error err = {0};
	const json_t *value;

	if (subsystem == NULL) {
		return;
	}
	value = job->step.value;
	xnvmf_listener_add(subsystem,
		&(struct xnvmf_listener_opts){
			.trtype = json_string_value(json_object_get(value, "trtype")),
			.traddr = json_string_value(json_object_get(value, "traddr")),
			.trsvcid = json_string_value(json_object_get(value, "trsvcid")),
			.advertise = json_string_value(json_object_get(value, "advertise")),
		},
		&err);
	job_done(job, &err);
}

static json_t *made_part(struct job *job, const char *part)
{
	return json_object_get(model_subsystem(job->node->made, job->step.nqn), part);
}

static void listener_remove(struct job *job)
{
	struct xnvmf_subsystem *subsystem = subsystem_to_clean(job);
	struct xu_error err = {0};
	json_t *made;

	if (subsystem == NULL) {
		return;
	}
	made = json_object_get(made_part(job, "listeners"), job->step.key);
	if (made != NULL) { /* else it could not be made */
		xnvmf_listener_remove(subsystem, json_string_value(json_object_get(made, "traddr")),
			json_string_value(json_object_get(made, "trsvcid")), &err);
	}
	job_done(job, &err);
}

static void made_host(struct job *job)
{
	json_object_set_new(made_part(job, "hosts"), job->step.key, json_true());
}

static void gone_host(struct job *job)
{
	json_object_del(made_part(job, "hosts"), job->step.key);
}

static void made_ns(struct job *job)
{
	json_object_set(made_part(job, "namespaces"), job->step.key, job->step.value);
}

static void gone_ns(struct job *job)
{
	json_object_del(made_part(job, "namespaces"), job->step.key);
}

static void made_listener(struct job *job)
{
	json_object_set(made_part(job, "listeners"), job->step.key, job->step.value);
}

static void gone_listener(struct job *job)
{
	json_object_del(made_part(job, "listeners"), job->step.key);
}

/* ---- the node ---- */

static void log_level(struct job *job)
{
	enum xu_log_level level = XU_LOG_INFO;

	xu_log_level_parse(json_string_value(job->step.value), &level);
	xu_logger_set_level(job->node->log, level);
	job_done(job, NULL);
}

static void made_log_level(struct job *job)
{
	json_object_set(json_object_get(job->node->made, "log"), "level", job->step.value);
}

static void on_target_stopped(void *arg)
{
	struct job *job = arg;
	struct node *node = job->node;
	struct config_transport transport;
	struct xnvmf_target_opts opts;
	struct xu_error err = {0};
	struct check c = {.err = &err};

	xnvmf_target_free(node->target);
	node->target = NULL;
	if (check_transport(&c, "", job->step.value, &transport) == 0) {
		config_transport_opts(&transport, &opts);
		xnvmf_target_new(node->ctx, &opts, &node->target, &err);
	}
	if (node->target == NULL) {
		xnvmf_target_opts_default(&opts);
		if (xnvmf_target_new(node->ctx, &opts, &node->target, NULL) != 0) {
			node_stop(node, "there is no memory for a target");
		}
	}
	job_done(job, &err);
}

/* The options of a target are fixed, so one without subsystems is replaced. */
static void transport(struct job *job)
{
	if (xnvmf_target_stop(job->node->target, on_target_stopped, job) != 0) {
		job_fail(job, -EBUSY, "it is being replaced already");
	}
}

static void made_transport(struct job *job)
{
	json_object_set(json_object_get(job->node->made, "nvmf"), "transport", job->step.value);
}

/* ---- running ---- */

static const struct {
	void (*begin)(struct job *job);
	void (*made)(struct job *job);
} kinds[] = {
	[STEP_LOG_LEVEL] = {log_level, made_log_level},
	[STEP_LISTENER_REMOVE] = {listener_remove, gone_listener},
	[STEP_NS_REMOVE] = {ns_remove, gone_ns},
	[STEP_SUBSYSTEM_REMOVE] = {subsystem_remove, gone_subsystem},
	[STEP_MEMBER_REMOVE] = {member_remove, gone_member},
	[STEP_DEVICE_REMOVE] = {device_remove, gone_device},
	[STEP_TRANSPORT] = {transport, made_transport},
	[STEP_DEVICE_ADD] = {device_add, made_device},
	[STEP_DEVICE_CHANGE] = {device_change, made_device},
	[STEP_STORE_MAKE] = {lvol_add, made_lvol},
	[STEP_VOLUME_MAKE] = {lvol_add, made_lvol},
	[STEP_SUBSYSTEM_ADD] = {subsystem_add, made_subsystem},
	[STEP_POLICY] = {policy, made_policy},
	[STEP_HOST_ADD] = {host_add, made_host},
	[STEP_ALLOW_ANY_HOST] = {allow_any_host, made_allow_any_host},
	[STEP_HOST_REMOVE] = {host_remove, gone_host},
	[STEP_NS_ADD] = {ns_add, made_ns},
	[STEP_LISTENER_ADD] = {listener_add, made_listener},
};

_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == STEP_NR_KINDS, "one for each kind");

static void note_made(struct job *job)
{
	kinds[job->step.kind].made(job);
}

static void begin(struct job *job)
{
	kinds[job->step.kind].begin(job);
}

static struct job *job_new(struct apply *apply, const struct step *step)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL) {
		return NULL;
	}
	job->apply = apply;
	job->node = apply->node;
	job->step = *step;
	job->step.nqn = step->nqn != NULL ? strdup(step->nqn) : NULL;
	job->step.key = strdup(step->key);
	json_incref(job->step.value);
	job->sentence = plan_describe(step);
	job->timer.fn = on_timeout;
	if (job->step.key == NULL || (step->nqn != NULL && job->step.nqn == NULL) ||
		job->sentence == NULL) {
		job_free(job);
		return NULL;
	}
	return job;
}

static void on_examined(void *arg)
{
	struct apply *apply = arg;

	apply->is_step_over = true;
	if (!apply->is_running) {
		apply_run(apply);
	}
}

/* All devices that stand on others are there. What comes next may use the volumes of the stores on
 * them; false: those are not there yet. */
static bool find_stores(struct apply *apply)
{
	apply->is_holding = false;
	apply->is_step_over = false;
	xbdev__lvol_release(apply->node->ctx);
	xbdev__lvol_examined(apply->node->ctx, NULL, on_examined, apply);
	return apply->is_step_over;
}

/* Whether no device is made or changed any more. */
static bool is_past_devices(const struct apply *apply)
{
	return apply->next == apply->plan->nr_steps ||
	       apply->plan->steps[apply->next].kind > STEP_DEVICE_CHANGE;
}

static void apply_finish(struct apply *apply)
{
	if (apply->is_holding) {
		xbdev__lvol_release(apply->node->ctx);
	}
	apply->done(apply->arg, apply->steps, apply->failed, &apply->first);
	json_decref(apply->steps);
	json_decref(apply->failed);
	free(apply);
}

/* Begins steps until one does not end at once. */
static void apply_run(struct apply *apply)
{
	apply->is_running = true;
	for (;;) {
		struct job *job;

		if (apply->is_holding && is_past_devices(apply) && !find_stores(apply)) {
			apply->is_running = false;
			return;
		}
		if (apply->next == apply->plan->nr_steps) {
			break;
		}
		job = job_new(apply, &apply->plan->steps[apply->next++]);
		if (job == NULL) {
			xu_error_set_errno(&apply->first, -ENOMEM, "changing the configuration");
			break;
		}
		apply->node->nr_jobs++;
		apply->is_step_over = false;
		xr_timer_start(xbdev_ctx_control(apply->node->ctx), &job->timer,
			STEP_TIMEOUT_S * XU_NS_PER_S);
		begin(job);
		if (!apply->is_step_over) {
			apply->is_running = false;
			return;
		}
	}
	apply_finish(apply);
}

int apply_start(struct node *node, struct plan *plan,
	void (*done)(void *arg, json_t *steps, json_t *failed, const struct xu_error *first),
	void *arg)
{
	struct apply *apply = calloc(1, sizeof(*apply));

	if (apply == NULL) {
		return -ENOMEM;
	}
	apply->node = node;
	apply->plan = plan;
	apply->steps = json_array();
	apply->failed = json_array();
	apply->done = done;
	apply->arg = arg;
	if (apply->steps == NULL || apply->failed == NULL) {
		json_decref(apply->steps);
		json_decref(apply->failed);
		free(apply);
		return -ENOMEM;
	}
	apply->is_holding = true;
	xbdev__lvol_hold(node->ctx);
	apply_run(apply);
	return 0;
}
