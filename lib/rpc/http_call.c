/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a route's function, or whoever answers later, does with a call: reads it, answers it, lets
 * it sleep and wakes it. give() is the only place where an answer becomes the call's, and with
 * xrpc_http_wake() the only one that resumes a connection, each outside of the call's mutex and as
 * its last act: from then on the call may be gone.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/http_private.h"
#include "lib/util/error.h"

#define STREAM_BLOCK 4096u

/* ---- suspended calls ---- */

void xrpc_http_later(struct xrpc_http_call *call)
{
	call->is_later = true;
	call->is_suspended = true; /* no other thread knows of it yet */
	MHD_suspend_connection(call->connection);
}

void xrpc_http_untimed(struct xrpc_http_call *call)
{
	call->is_untimed = true;
}

/* Gives the call its answer (taken; NULL: there was no memory for one). */
static void give(struct xrpc_http_call *call, unsigned status, struct MHD_Response *response)
{
	static char nothing[] = "";
	struct MHD_Connection *connection = call->connection;
	bool was_suspended;

	if (response == NULL) {
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		response = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
	}
	if (response != NULL) {
		MHD_add_response_header(response, "X-Request-Id", call->id);
		for (uint32_t i = 0; i < call->nr_headers; i++) {
			MHD_add_response_header(
				response, call->headers[i].name, call->headers[i].value);
		}
	}
	pthread_mutex_lock(&call->mutex);
	call->status = status;
	call->response = response;
	was_suspended = call->is_suspended;
	call->is_suspended = false;
	pthread_mutex_unlock(&call->mutex);
	if (was_suspended) {
		MHD_resume_connection(connection);
	}
}

/* ---- answers ---- */

void xrpc_http_add_header(struct xrpc_http_call *call, const char *name, const char *value)
{
	char *own_name = strdup(name), *own_value = strdup(value);

	if (call->nr_headers == XRPC__HTTP_HEADERS || own_name == NULL || own_value == NULL) {
		free(own_name);
		free(own_value);
		return;
	}
	call->headers[call->nr_headers].name = own_name;
	call->headers[call->nr_headers++].value = own_value;
}

void xrpc_http_answer_text(
	struct xrpc_http_call *call, unsigned status, const char *content_type, char *text)
{
	struct MHD_Response *response = NULL;

	if (text != NULL) {
		response =
			MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	}
	if (response == NULL) {
		free(text);
	} else {
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	}
	give(call, status, response);
}

void xrpc_http_answer(struct xrpc_http_call *call, unsigned status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	xrpc_http_answer_text(call, status, "application/json", text);
}

static const char *title_of(unsigned status)
{
	const char *title = MHD_get_reason_phrase_for(status);

	return title != NULL ? title : "Error";
}

/* What strangers have sent, or what was cut, need not be UTF-8. */
static json_t *mended(const char *text)
{
	char *copy = strdup(text);
	json_t *json = NULL;

	if (copy != NULL) {
		xu_text_mend(copy);
		json = json_string(copy);
	}
	free(copy);
	return json;
}

void xrpc_http_problem_with(struct xrpc_http_call *call, unsigned status, const char *field,
	json_t *members, const char *text)
{
	json_t *body = json_pack("{s:s, s:s, s:i, s:o, s:o, s:s}", "type", "about:blank", "title",
		title_of(status), "status", (int)status, "detail", mended(text), "instance",
		mended(call->path), "request_id", call->id);
	char *body_text;

	if (body != NULL && field != NULL) {
		json_object_set_new(body, "field", mended(field));
	}
	if (body != NULL && members != NULL) {
		json_object_update_missing(body, members);
	}
	json_decref(members);
	body_text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	xrpc_http_answer_text(call, status, "application/problem+json", body_text);
}

void xrpc_http_problem(
	struct xrpc_http_call *call, unsigned status, const char *field, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	xrpc_http_problem_with(call, status, field, NULL, text);
}

/* ---- streams ---- */

static ssize_t read_stream(void *arg, uint64_t pos, char *buf, size_t size)
{
	struct xrpc_http_call *call = arg;
	ssize_t got;

	if (call->is_gone) {
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	got = call->stream.read(call->stream.arg, buf, size);
	if (got < 0) {
		return got == -1 ? MHD_CONTENT_READER_END_OF_STREAM
				 : MHD_CONTENT_READER_END_WITH_ERROR;
	}
	if (got == 0) {
		pthread_mutex_lock(&call->mutex);
		if (!call->is_woken) {
			call->is_suspended = true;
			MHD_suspend_connection(call->connection);
		}
		call->is_woken = false;
		pthread_mutex_unlock(&call->mutex);
	}
	return got;
}

void xrpc_http_answer_stream(struct xrpc_http_call *call, const char *content_type,
	const struct xrpc_http_stream *stream)
{
	struct MHD_Response *response;

	call->stream = *stream;
	call->is_untimed = true;
	xrpc__http_watch(call);
	response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, call, NULL);
	if (response != NULL) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	}
	give(call, MHD_HTTP_OK, response);
}

void xrpc__http_rouse(struct xrpc_http_call *call)
{
	struct MHD_Connection *connection = call->connection;
	bool was_suspended;

	pthread_mutex_lock(&call->mutex);
	was_suspended = call->is_suspended;
	call->is_suspended = false;
	call->is_woken = !was_suspended;
	pthread_mutex_unlock(&call->mutex);
	if (was_suspended) {
		MHD_resume_connection(connection);
	}
}

void xrpc_http_wake(struct xrpc_http_call *call)
{
	xrpc__http_rouse(call);
}

/* ---- what a call says ---- */

const char *xrpc_http_segment(const struct xrpc_http_call *call, uint32_t index)
{
	return call->segments[index];
}

const char *xrpc_http_query(const struct xrpc_http_call *call, const char *name)
{
	const char *value = NULL;
	size_t len;

	if (MHD_lookup_connection_value_n(call->connection, MHD_GET_ARGUMENT_KIND, name,
		    strlen(name), &value, &len) == MHD_NO) {
		return NULL;
	}
	return value != NULL ? value : "";
}

struct each_query {
	bool (*fn)(void *arg, const char *name, const char *value);
	void *arg;
};

static enum MHD_Result on_query(
	void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
	const struct each_query *each = arg;

	return each->fn(each->arg, name, value != NULL ? value : "") ? MHD_YES : MHD_NO;
}

void xrpc_http_each_query(const struct xrpc_http_call *call,
	bool (*fn)(void *arg, const char *name, const char *value), void *arg)
{
	struct each_query each = {fn, arg};

	MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, on_query, &each);
}

const char *xrpc_http_header(const struct xrpc_http_call *call, const char *name)
{
	return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

const char *xrpc_http_body(const struct xrpc_http_call *call, size_t *ret_len)
{
	*ret_len = call->body_len;
	return call->body != NULL ? call->body : "";
}

json_t *xrpc_http_json(struct xrpc_http_call *call)
{
	json_error_t problem;
	json_t *body;

	if (call->body_len == 0) {
		body = json_object();
	} else {
		body = json_loadb(call->body, call->body_len, JSON_REJECT_DUPLICATES, &problem);
	}
	if (body == NULL) {
		xrpc_http_problem(call, 400, NULL, "the body is no JSON, line %d column %d: %s",
			problem.line, problem.column, problem.text);
	} else if (!json_is_object(body)) {
		json_decref(body);
		body = NULL;
		xrpc_http_problem(call, 400, NULL, "the body is no JSON object");
	}
	return body;
}

const char *xrpc_http_id(const struct xrpc_http_call *call)
{
	return call->id;
}

const char *xrpc_http_who(const struct xrpc_http_call *call)
{
	return call->who.name;
}

enum xrpc_role xrpc_http_role(const struct xrpc_http_call *call)
{
	return call->who.role;
}

const char *xrpc_http_from(const struct xrpc_http_call *call)
{
	return call->from;
}

const char *xrpc_http_method(const struct xrpc_http_call *call)
{
	return call->method;
}

const char *xrpc_http_path(const struct xrpc_http_call *call)
{
	return call->path;
}
