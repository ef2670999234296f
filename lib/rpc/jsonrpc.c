/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls: parse, check, run one request after the other, put the answers together.
 *
 * A request that is answered within its method must not recurse into the next one, or a batch would
 * go down the stack; so call_run() loops as long as answers come at once and is entered again by
 * the answer that came later. How it fails: what cannot be parsed or is no request is answered with
 * the specification's codes; without memory for an answer the client gets none and its connection
 * ends.
 */
#include "lib/rpc/jsonrpc.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/private.h"
#include "lib/util/error.h"

#define MESSAGE_SIZE 1024u

struct table {
	const struct xrpc_method *methods;
	void *arg;
};

struct xrpc_service {
	struct table *tables;
	size_t nr_tables;
	size_t nr_calls; /* under way */
};

struct xrpc_call;

/* The request that runs now; a call has one. */
struct xrpc_request {
	struct xrpc_call *call;
	const struct xrpc_method *method;
	json_t *id;     /* borrowed from the call's text; NULL: a notification */
	json_t *params; /* the same */
	void *opts;
	bool is_answered;
};

struct xrpc_call {
	struct xrpc_service *service;
	json_t *root;
	json_t *answers; /* array, in a batch; else the one answer */
	bool is_batch;
	bool is_running; /* call_run() is on the stack */
	bool is_out_of_memory;
	size_t next;
	struct xrpc_request req;
	void (*done)(void *arg, char *answer, bool is_broken);
	void *arg;
};

/* ---- the service ---- */

int xrpc_service_new(struct xrpc_service **ret_service)
{
	struct xrpc_service *service = calloc(1, sizeof(*service));

	if (service == NULL) {
		return -ENOMEM;
	}
	*ret_service = service;
	return 0;
}

void xrpc_service_free(struct xrpc_service *service)
{
	if (service != NULL) {
		assert(service->nr_calls == 0);
		free(service->tables);
		free(service);
	}
}

int xrpc_service_add(struct xrpc_service *service, const struct xrpc_method *methods, void *arg)
{
	struct table *tables = realloc(service->tables, (service->nr_tables + 1) * sizeof(*tables));

	if (tables == NULL) {
		return -ENOMEM;
	}
	service->tables = tables;
	service->tables[service->nr_tables++] = (struct table){.methods = methods, .arg = arg};
	return 0;
}

void xrpc_service_each(const struct xrpc_service *service,
	void (*fn)(void *arg, const struct xrpc_method *method), void *arg)
{
	for (size_t i = 0; i < service->nr_tables; i++) {
		for (const struct xrpc_method *m = service->tables[i].methods; m->name != NULL;
			m++) {
			fn(arg, m);
		}
	}
}

static const struct xrpc_method *find_method(
	const struct xrpc_service *service, const char *name, void **ret_arg)
{
	for (size_t i = 0; i < service->nr_tables; i++) {
		for (const struct xrpc_method *m = service->tables[i].methods; m->name != NULL;
			m++) {
			if (strcmp(m->name, name) == 0) {
				*ret_arg = service->tables[i].arg;
				return m;
			}
		}
	}
	return NULL;
}

/* ---- answers ---- */

json_t *xrpc__error_object(int code, const char *message)
{
	json_t *text = json_string(message);

	if (text == NULL) { /* foreign bytes that are not UTF-8, or no memory */
		text = json_string("an error whose message could not be made");
	}
	return json_pack("{s:i, s:o}", "code", code, "message", text);
}

static json_t *answer_object(json_t *id, const char *key, json_t *value)
{
	return json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id != NULL ? id : json_null(),
		key, value);
}

/* SPDK's client decodes each piece that it receives by itself, and loses one that ends within a
 * character. */
#define DUMP_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)

/* As json_dumps(), which forgets a key when it runs out of memory there: the room is made first. */
static char *dump(const json_t *value)
{
	size_t size = json_dumpb(value, NULL, 0, DUMP_FLAGS);
	char *text = size != 0 ? malloc(size + 1) : NULL;

	if (text != NULL && json_dumpb(value, text, size, DUMP_FLAGS) != size) {
		free(text);
		return NULL;
	}
	if (text != NULL) {
		text[size] = '\0';
	}
	return text;
}

char *xrpc__answer_text(json_t *id, const char *key, json_t *value)
{
	json_t *answer = answer_object(id, key, value);
	char *text = dump(answer);

	json_decref(answer);
	return text;
}

char *xrpc_error_text(int code, const char *message)
{
	return xrpc__answer_text(NULL, "error", xrpc__error_object(code, message));
}

static void call_run(struct xrpc_call *call);

/* Keeps the answer (taken) and goes on with the next request. */
static void answer(struct xrpc_request *req, const char *key, json_t *value)
{
	struct xrpc_call *call = req->call;

	assert(!req->is_answered);
	req->is_answered = true;
	if (req->id == NULL) {
		json_decref(value);
	} else {
		json_t *object = answer_object(req->id, key, value);

		if (object == NULL) {
			call->is_out_of_memory = true;
		} else if (call->is_batch) {
			call->is_out_of_memory |= json_array_append_new(call->answers, object) != 0;
		} else {
			call->answers = object;
		}
	}
	free(req->opts);
	req->opts = NULL;
	if (!call->is_running) {
		call_run(call);
	}
}

void xrpc_result(struct xrpc_request *req, json_t *result)
{
	if (result == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory for the answer");
		return;
	}
	answer(req, "result", result);
}

void xrpc_true(struct xrpc_request *req)
{
	answer(req, "result", json_true());
}

void xrpc_error(struct xrpc_request *req, int code, const char *fmt, ...)
{
	char message[MESSAGE_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	answer(req, "error", xrpc__error_object(code, message));
}

void xrpc_fail(struct xrpc_request *req, const struct xu_error *err, json_t *data)
{
	int code = err->code;
	json_t *object;

	if (code == -EINVAL) {
		code = XRPC_INVALID_PARAMS;
	} else if (code == -ENOMEM || code == 0) {
		code = XRPC_INTERNAL_ERROR;
	}
	object = xrpc__error_object(code, err->text);
	if (data != NULL) {
		json_object_set_new(object, "data", data);
	}
	answer(req, "error", object);
}

bool xrpc_params(struct xrpc_request *req, const char *where, const struct xu_param *params,
	void *opts, json_t *object)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err = {0};

	if (xu_params_parse(params, opts, object, path, &err) == 0) {
		return true;
	}
	if (where != NULL) {
		xu_error_prefix(&err, "%s", where);
	}
	xrpc_fail(req, &err, NULL);
	return false;
}

json_t *xrpc_request_params(const struct xrpc_request *req)
{
	return req->params;
}

const char *xrpc_request_method(const struct xrpc_request *req)
{
	return req->method->name;
}

/* ---- calls ---- */

static bool is_id(const json_t *id)
{
	return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

/* Reads the parameters and calls the method. */
static void run_method(struct xrpc_request *req, void *arg)
{
	const struct xrpc_method *method = req->method;
	json_t *empty;
	bool is_good;

	if (method->is_raw) {
		method->fn(req, arg, NULL);
		return;
	}
	if (method->params == NULL) {
		if (req->params != NULL && json_object_size(req->params) != 0) {
			xrpc_error(
				req, XRPC_INVALID_PARAMS, "%s takes no parameters", method->name);
			return;
		}
		method->fn(req, arg, NULL);
		return;
	}
	empty = json_object();
	req->opts = calloc(1, method->opts_bytes);
	if (empty == NULL || req->opts == NULL) {
		json_decref(empty);
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	if (method->defaults != NULL) {
		memcpy(req->opts, method->defaults, method->opts_bytes);
	}
	is_good = xrpc_params(
		req, NULL, method->params, req->opts, req->params != NULL ? req->params : empty);
	json_decref(empty);
	if (is_good) {
		method->fn(req, arg, req->opts);
	}
}

/* Checks one request of the call and runs it. */
static void run_request(struct xrpc_call *call, json_t *object)
{
	json_t *version = json_object_get(object, "jsonrpc");
	json_t *name = json_object_get(object, "method");
	json_t *id = json_object_get(object, "id");
	struct xrpc_request *req = &call->req;
	void *arg = NULL;

	*req = (struct xrpc_request){.call = call, .id = id};
	req->params = json_object_get(object, "params");
	if (json_is_null(req->params)) {
		req->params = NULL;
	}
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0 ||
		!json_is_string(name) || (id != NULL && !is_id(id))) {
		req->id = is_id(id) ? id : json_null();
		xrpc_error(req, XRPC_INVALID_REQUEST,
			"a request is an object with \"jsonrpc\": \"2.0\", a \"method\" and, if it "
			"is to be answered, an \"id\" that is a string or a number");
		return;
	}
	if (req->params != NULL && !json_is_object(req->params)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"parameters are given by name, in an object { … }");
		return;
	}
	req->method = find_method(call->service, json_string_value(name), &arg);
	if (req->method == NULL) {
		xrpc_error(req, XRPC_METHOD_NOT_FOUND,
			"there is no method '%.64s'; rpc_get_methods lists them",
			json_string_value(name));
		return;
	}
	run_method(req, arg);
}

static void call_finish(struct xrpc_call *call)
{
	char *text = NULL;

	if (call->answers != NULL && !call->is_out_of_memory &&
		!(call->is_batch && json_array_size(call->answers) == 0)) {
		text = dump(call->answers);
		call->is_out_of_memory = text == NULL;
	}
	call->service->nr_calls--;
	call->done(call->arg, text, call->is_out_of_memory);
	json_decref(call->answers);
	json_decref(call->root);
	free(call);
}

/* Runs requests until one is not answered at once or none is left. */
static void call_run(struct xrpc_call *call)
{
	size_t count = call->is_batch ? json_array_size(call->root) : 1;

	call->is_running = true;
	while (call->next < count) {
		size_t index = call->next++;

		run_request(call, call->is_batch ? json_array_get(call->root, index) : call->root);
		if (!call->req.is_answered) {
			call->is_running = false;
			return;
		}
	}
	call_finish(call);
}

/* Why a text is not to be called at all; NULL when it is. */
static const char *refuse(const json_t *root)
{
	if (json_is_array(root) && json_array_size(root) == 0) {
		return "a batch needs at least one request";
	}
	if (json_is_array(root) && json_array_size(root) > XRPC_BATCH_MAX) {
		return "a batch has at most 256 requests";
	}
	return NULL;
}

void xrpc_call(struct xrpc_service *service, const char *text, size_t len,
	void (*done)(void *arg, char *answer, bool is_broken), void *arg)
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	char message[sizeof(error.text) + 64];
	struct xrpc_call *call;

	_Static_assert(XRPC_BATCH_MAX == 256, "the sentence in refuse() says so");
	if (root == NULL) {
		snprintf(message, sizeof(message), "line %d, column %d: %s", error.line,
			error.column, error.text);
		done(arg, xrpc_error_text(XRPC_PARSE_ERROR, message), true);
		return;
	}
	if (refuse(root) != NULL) {
		done(arg, xrpc_error_text(XRPC_INVALID_REQUEST, refuse(root)), false);
		json_decref(root);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call == NULL) {
		json_decref(root);
		done(arg, NULL, true);
		return;
	}
	call->service = service;
	call->root = root;
	call->is_batch = json_is_array(root);
	call->answers = call->is_batch ? json_array() : NULL;
	call->done = done;
	call->arg = arg;
	service->nr_calls++;
	call_run(call);
}
