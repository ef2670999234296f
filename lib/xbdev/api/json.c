/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration documents. A call reads its file in the caller's thread, then takes its turn on the
 * control reactor, where the document is checked, compared with what there is, and carried out.
 * What earlier documents have made is remembered there for as long as the library runs.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util/random.h"
#include "lib/xbdev/api/private.h"
#include "lib/xbdev/config/configuration.h"
#include "lib/xbdev/config/replace.h"

/* The control reactor's. */
static struct {
	struct xbdev_configuration config;
	struct xu_list waiting; /* struct json_call::link */
	struct json_call *running;
} turns = {.waiting = {&turns.waiting, &turns.waiting}};

struct json_call {
	struct api_call call;
	struct xu_list link;
	void (*run)(struct json_call *json);

	/* A document that is carried out. */
	enum xbdev_config_mode mode;
	struct xbdev_text *text;
	struct xbdev_carry carry;

	/* A document that is written. */
	char *saved;
	uint64_t number; /* random, for the name of the file beside */
};

/* ---- turns ---- */

static void on_turn(struct xr_msg *msg)
{
	struct json_call *json = xu_container_of(msg, struct json_call, call.msg);

	json->run(json);
}

static void next_turn(void)
{
	struct xu_list *node = xu_list_pop(&turns.waiting);

	turns.running = node != NULL ? xu_list_entry(node, struct json_call, link) : NULL;
	if (turns.running != NULL) {
		turns.running->call.msg.fn = on_turn;
		xr_msg_defer(xbdev_ctx_control(api_lib.ctx), &turns.running->call.msg);
	}
}

static void end_turn(struct json_call *json, int rc)
{
	next_turn();
	api_call_done(&json->call, rc);
}

static void on_json_call(struct api_call *call)
{
	struct json_call *json = xu_container_of(call, struct json_call, call);

	xu_list_init(&json->link);
	xu_list_add_tail(&turns.waiting, &json->link);
	if (turns.running == NULL) {
		next_turn();
	}
}

static int take_turn(struct json_call *json)
{
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, &json->call, on_json_call);
		api_leave(thread);
	}
	return rc;
}

void api_json_forget(void)
{
	xbdev_configuration_fini(&turns.config);
}

/* ---- carrying out ---- */

static void on_carried_out(struct xbdev_carry *carry, const struct xu_error *err)
{
	struct json_call *json = xu_container_of(carry, struct json_call, carry);

	json->call.err = *err;
	/* Here and not by the caller: what is remembered shares values with it, and the JSON
	 * library's counts of users are no order between threads. */
	xbdev_text_free(json->text);
	json->text = NULL;
	end_turn(json, err->code);
}

static void run_document(struct json_call *json)
{
	xbdev_configuration_carry_out(
		&turns.config, &json->carry, api_lib.ctx, json->mode, json->text, on_carried_out);
}

static int carry_out(const char *function, const char *json_file, enum xbdev_config_mode mode)
{
	struct json_call json = {.run = run_document, .mode = mode};
	struct xu_error err = {0};
	int rc;

	if (json_file == NULL) {
		return api_fail(-EINVAL, "%s: the name of the file is NULL", function);
	}
	if (xbdev_text_read(json_file, "configuration", &json.text, &err) != 0) {
		return api_fail_with(&err);
	}
	rc = take_turn(&json);
	xbdev_text_free(json.text); /* there is one when it had no turn */
	return rc;
}

int xbdev_parse_config(const char *json_file)
{
	return carry_out("xbdev_parse_config", json_file, XBDEV_CONFIG_APPLY);
}

int xbdev_open_from_json(const char *json_file)
{
	return carry_out("xbdev_open_from_json", json_file, XBDEV_CONFIG_LOAD);
}

int xbdev_create_from_json(const char *json_file)
{
	return carry_out("xbdev_create_from_json", json_file, XBDEV_CONFIG_CREATE);
}

/* ---- saving ---- */

static void run_save(struct json_call *json)
{
	int rc =
		xbdev_configuration_dump(&turns.config, api_lib.ctx, &json->saved, &json->call.err);

	json->number = xu_random_u64(xr_reactor_random(xbdev_ctx_control(api_lib.ctx)));
	end_turn(json, rc);
}

/* Where the file really is, and its mode if it is there. -EINVAL: not a file. */
static int find_place(const char *json_file, char place[PATH_MAX], mode_t *ret_mode)
{
	struct stat st;

	if (realpath(json_file, place) == NULL) {
		/* What is not there yet is made under the name that was given; a link that leads
		 * nowhere would be replaced by that. */
		if (errno != ENOENT || lstat(json_file, &st) == 0) {
			return errno == ENOENT ? -EINVAL : -errno;
		}
		return snprintf(place, PATH_MAX, "%s", json_file) < PATH_MAX ? 0 : -ENAMETOOLONG;
	}
	if (stat(place, &st) != 0) {
		return -errno;
	}
	*ret_mode = st.st_mode & 0777;
	return S_ISREG(st.st_mode) ? 0 : -EINVAL;
}

static int write_saved(const struct json_call *json, const char *json_file)
{
	char place[PATH_MAX], beside[PATH_MAX];
	mode_t mode = 0600;
	int rc = find_place(json_file, place, &mode);

	if (rc == 0 && snprintf(beside, sizeof(beside), "%s.%016llx", place,
			       (unsigned long long)json->number) >= PATH_MAX) {
		rc = -ENAMETOOLONG;
	}
	if (rc == 0) {
		rc = xbdev_config_replace(place, beside, mode, json->saved);
	}
	return rc == 0         ? 0
	       : rc == -EINVAL ? api_fail(rc, "cannot write the configuration %s: it is not a file",
					 json_file)
			       : api_fail(rc, "cannot write the configuration %s: %s", json_file,
					 xbdev_strerror(rc));
}

int xbdev_save_config(const char *json_file)
{
	struct json_call json = {.run = run_save};
	int rc;

	if (json_file == NULL) {
		return api_fail(-EINVAL, "xbdev_save_config: the name of the file is NULL");
	}
	rc = take_turn(&json);
	if (rc == 0) {
		rc = write_saved(&json, json_file);
	}
	free(json.saved);
	return rc;
}
