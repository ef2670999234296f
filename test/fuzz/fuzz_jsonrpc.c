/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management of a node: the input is what a client sends on the socket, a stream of JSON-RPC
 * calls. They run on a real node (devices, target, models, state) whose platform opens no file and
 * listens nowhere. Every call is answered, every answer is a JSON-RPC answer, and whatever was
 * called, what the node wants is a possible configuration. An input that begins with '#' is a
 * configuration file instead.
 */
#include <errno.h>
#include <unistd.h>

#include "daemon/xsand/change.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "daemon/xsand/state.h"
#include "lib/reactor/platform.h"
#include "lib/rpc/frame.h"
#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/server.h"
#include "lib/util/clock.h"
#include "lib/xbdev/core/device.h"
#include "lib/xnvmf/target/target.h"
#include "test/fuzz/fuzz.h"

#define MAX_CALLS 64u                /* of one input */
#define PATIENCE  (30 * XU_NS_PER_S) /* for one call */

static struct xr_platform platform;
static struct node node;
static char dir[64];

/* ---- the world ---- */

static int refuse_file(const struct xr_platform *p, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	return xu_error_set(err, -EACCES, "%s is not opened here", path);
}

static int refuse_listen(
	const struct xr_platform *p, const struct xr_listen_opts *opts, struct xu_error *err)
{
	return xu_error_set(err, -EADDRNOTAVAIL, "nothing listens here");
}

/* All methods but those that reach out of the world. */
static void add_methods(const struct xrpc_method *methods, void *arg)
{
	static const char *const left_out[] = {"spdk_kill_instance", "config_reload"};
	struct xrpc_method *copy = calloc(64, sizeof(*copy));
	size_t count = 0;

	for (; methods->name != NULL; methods++) {
		if (strcmp(methods->name, left_out[0]) != 0 &&
			strcmp(methods->name, left_out[1]) != 0) {
			copy[count++] = *methods;
		}
	}
	FUZZ_CHECK(xrpc_service_add(node.service, copy, arg) == 0, "no memory");
}

static void remove_dir(void)
{
	static const char *const names[] = {"state.json", "state.json.new", "lock", "s"};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void make_dir(void)
{
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/xsan-fuzz-XXXXXX"
						  : "/tmp/xsan-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(dir) != NULL, "%s", strerror(errno));
	atexit(remove_dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct xbdev_ctx_opts ctx_opts = {.platform = &platform};
	struct xnvmf_target_opts target_opts;
	char path[128];

	make_dir();
	platform = *xr_platform_linux();
	platform.file_open = refuse_file;
	platform.tcp_listen = refuse_listen;
	xu_list_init(&node.changes);
	xnvmf_target_opts_default(&target_opts);
	node.opts.config_path = "none";
	node.is_ready = true;
	node.wanted = model_new();
	node.made = model_new();
	node.failures = json_object();
	snprintf(path, sizeof(path), "%s/s", dir);
	FUZZ_CHECK(config_parse("none", "{}", 2, &node.started, NULL) == 0 &&
			   state_open(dir, &node.state, NULL) == 0 &&
			   xbdev_ctx_new(&ctx_opts, &node.ctx, NULL) == 0 &&
			   xnvmf_target_new(node.ctx, &target_opts, &node.target, NULL) == 0 &&
			   xrpc_service_new(&node.service) == 0 &&
			   xbdev_mgmt_notes_new(node.ctx, &node.notes) == 0 &&
			   xrpc_server_new(xbdev_ctx_control(node.ctx), node.service, path,
				   &node.server, NULL) == 0,
		"the node cannot be made");
	node.config = node.started;
	node_mgmt_init(&node);
	add_methods(xrpc_service_methods, node.service);
	add_methods(node_methods, &node);
	add_methods(xbdev_mgmt_methods, &node.mgmt);
	add_methods(xbdev_mgmt_stats_methods, &node.mgmt);
	add_methods(xbdev_mgmt_fault_methods, &node.mgmt);
	add_methods(xbdev_mgmt_notify_methods, node.notes);
	add_methods(transport_methods, &node);
	add_methods(nvmf_methods, &node);
	add_methods(spdk_config_methods, &node);
	return 0;
}

static void poll_until(const bool *is_done)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE;

	while (!*is_done) {
		xr_reactor_poll(xbdev_ctx_control(node.ctx), XU_NS_PER_MS);
		FUZZ_CHECK(xu_clock_now_ns(xu_clock_system()) < end_ns, "no answer");
	}
}

/* ---- calls ---- */

struct answer {
	bool is_done;
	bool is_broken;
	char *text;
};

static void on_answer(void *arg, char *text, bool is_broken)
{
	struct answer *answer = arg;

	FUZZ_CHECK(!answer->is_done, "answered twice");
	answer->is_done = true;
	answer->is_broken = is_broken;
	answer->text = text;
}

static void check_one_answer(json_t *answer, const char *text)
{
	const char *version = json_string_value(json_object_get(answer, "jsonrpc"));
	json_t *error = json_object_get(answer, "error");

	FUZZ_CHECK(version != NULL && strcmp(version, "2.0") == 0 &&
			   json_object_get(answer, "id") != NULL,
		"%s", text);
	FUZZ_CHECK((error == NULL) != (json_object_get(answer, "result") == NULL), "%s", text);
	FUZZ_CHECK(error == NULL || (json_integer_value(json_object_get(error, "code")) < 0 &&
					    json_is_string(json_object_get(error, "message"))),
		"%s", text);
}

static void check_answer(const char *text)
{
	json_t *root = json_loads(text, 0, NULL), *one;
	size_t i;

	fuzz_say("%s\n", text);
	FUZZ_CHECK(root != NULL, "%s", text);
	if (json_is_array(root)) {
		FUZZ_CHECK(json_array_size(root) != 0, "%s", text);
		json_array_foreach (root, i, one) {
			check_one_answer(one, text);
		}
	} else {
		check_one_answer(root, text);
	}
	json_decref(root);
}

/* Calls one text; false when the stream is of no more use. */
static bool call(const char *text, size_t len)
{
	struct answer answer = {0};

	fuzz_say("%.*s\n", (int)len, text);
	xrpc_call(node.service, text, len, on_answer, &answer);
	poll_until(&answer.is_done);
	if (answer.text != NULL) {
		check_answer(answer.text);
	}
	free(answer.text);
	return !answer.is_broken;
}

static void run_stream(const char *text, size_t len)
{
	struct xrpc_frame frame = {0};
	size_t start, end, nr_calls = 0;

	while (nr_calls++ < MAX_CALLS && xrpc_frame_next(&frame, text, len, &start, &end) == 1 &&
		call(text + start, end - start)) {
		text += end;
		len -= end;
	}
}

/* ---- configurations ---- */

static void check_config(const char *text, size_t len)
{
	struct config *config = NULL;
	struct xu_error err = {0};
	json_t *root, *model;

	if (config_parse("fuzz", text, len, &config, &err) != 0) {
		FUZZ_CHECK(err.text[0] != '\0' && strchr(err.text, '\n') == NULL, "%s", err.text);
		return;
	}
	FUZZ_CHECK(model_check(config->model, &err) == 0, "%s", err.text);
	root = model_to_config(config->model);
	model = model_from_config(root);
	FUZZ_CHECK(json_equal(model, config->model), "not the same model again");
	json_decref(root);
	json_decref(model);
	config_free(config);
}

/* ---- one input ---- */

static void on_cleared(void *arg, json_t *report, const struct xu_error *err)
{
	FUZZ_CHECK(report != NULL && json_array_size(json_object_get(report, "failed")) == 0, "%s",
		err->text);
	json_decref(report);
	*(bool *)arg = true;
}

static void clear(void)
{
	json_t *nothing = json_object();
	bool is_done = false;

	change_load(&node, nothing, on_cleared, &is_done);
	poll_until(&is_done);
	json_decref(nothing);
	FUZZ_CHECK(xbdev_device_next(node.ctx, NULL) == NULL, "a device is left");
	FUZZ_CHECK(xnvmf_subsystem_next(node.target, NULL) == NULL, "a subsystem is left");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct xu_error err = {0};

	if (size != 0 && data[0] == '#') {
		check_config((const char *)data + 1, size - 1);
		return 0;
	}
	run_stream((const char *)data, size);
	FUZZ_CHECK(model_check(node.wanted, &err) == 0, "%s", err.text);
	clear();
	return 0;
}
