/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls. A call begins as a place that the core fills; then it is checked (method, token), its
 * request is received whole, and its method owns it until it ends it. The core completes each batch
 * of operations exactly once, on a thread of the server, whatever happens to the client:
 *
 *   accept ─▶ receive ─▶ method ─▶ answer: greeting, message, status ─▶ over
 *                          │
 *                          └─▶ stream: [greeting,] message ─▶ on_ready ─▶ … ─▶ status ─▶ over
 *
 * Beside these the core says once that a call is closed, and whether its client heard the end. The
 * memory goes with the last reference: one for each completion that is to come, one of the owner.
 * How it fails: what cannot be sent is dropped, and the call still completes all of that.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <grpc/byte_buffer.h>

#include "lib/rpc/grpc_message.h"
#include "lib/rpc/grpc_private.h"

static void on_accepted(struct xrpc_grpc_call *call, bool is_good);
static void on_received(struct xrpc_grpc_call *call, bool is_good);
static void on_closed(struct xrpc_grpc_call *call, bool is_good);
static void on_sent(struct xrpc_grpc_call *call, bool is_good);
static void on_ended(struct xrpc_grpc_call *call, bool is_good);

enum xrpc_grpc_code xrpc_grpc_code_of(int rc)
{
	static const struct {
		int rc;
		enum xrpc_grpc_code code;
	} codes[] = {
		{0, XRPC_GRPC_OK},
		{-EINVAL, XRPC_GRPC_INVALID_ARGUMENT},
		{-ENOENT, XRPC_GRPC_NOT_FOUND},
		{-EEXIST, XRPC_GRPC_ALREADY_EXISTS},
		{-EPERM, XRPC_GRPC_PERMISSION_DENIED},
		{-EACCES, XRPC_GRPC_PERMISSION_DENIED},
		{-ESTALE, XRPC_GRPC_ABORTED},
		{-EDQUOT, XRPC_GRPC_RESOURCE_EXHAUSTED},
		{-ENOMEM, XRPC_GRPC_RESOURCE_EXHAUSTED},
		{-ENOSPC, XRPC_GRPC_RESOURCE_EXHAUSTED},
		{-EBUSY, XRPC_GRPC_UNAVAILABLE},
		{-EAGAIN, XRPC_GRPC_UNAVAILABLE},
		{-ESHUTDOWN, XRPC_GRPC_UNAVAILABLE},
		{-ETIMEDOUT, XRPC_GRPC_DEADLINE_EXCEEDED},
		{-ECANCELED, XRPC_GRPC_CANCELLED},
		{-ENOSYS, XRPC_GRPC_UNIMPLEMENTED},
		{-EOPNOTSUPP, XRPC_GRPC_UNIMPLEMENTED},
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].rc == rc) {
			return codes[i].code;
		}
	}
	return XRPC_GRPC_INTERNAL;
}

/* ---- memory ---- */

static void free_call(struct xrpc_grpc_call *call)
{
	if (call->ops != NULL && call->ops->on_free != NULL) {
		call->ops->on_free(call->arg);
	}
	if (call->core != NULL) {
		grpc_call_unref(call->core);
	}
	grpc_byte_buffer_destroy(call->bytes);
	grpc_byte_buffer_destroy(call->message);
	if (call->request != NULL) {
		protobuf_c_message_free_unpacked(call->request, NULL);
	}
	grpc_call_details_destroy(&call->details);
	grpc_metadata_array_destroy(&call->metadata);
	pthread_mutex_destroy(&call->mutex);
	free(call);
}

static void ref(struct xrpc_grpc_call *call)
{
	atomic_fetch_add_explicit(&call->nr_refs, 1, memory_order_relaxed);
}

static void unref(struct xrpc_grpc_call *call)
{
	struct xrpc_grpc *server = call->server;
	bool was_begun;

	if (atomic_fetch_sub_explicit(&call->nr_refs, 1, memory_order_acq_rel) != 1) {
		return;
	}
	pthread_mutex_lock(&server->mutex);
	was_begun = xu_list_is_linked(&call->link);
	xu_list_del(&call->link);
	pthread_mutex_unlock(&server->mutex);
	free_call(call);
	/* Only now: who waits for the last call must find it gone. */
	pthread_mutex_lock(&server->mutex);
	server->nr_now -= was_begun;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->mutex);
	xrpc__grpc_unref(server);
}

bool xrpc__grpc_accept(struct xrpc_grpc *server)
{
	struct xrpc_grpc_call *call;

	if (server->is_stopping || (call = calloc(1, sizeof(*call))) == NULL) {
		return false;
	}
	call->server = server;
	atomic_init(&call->nr_refs, 1);
	atomic_fetch_add_explicit(&server->nr_refs, 1, memory_order_relaxed);
	pthread_mutex_init(&call->mutex, NULL);
	xu_list_init(&call->link);
	grpc_call_details_init(&call->details);
	grpc_metadata_array_init(&call->metadata);
	call->accepted = (struct xrpc__grpc_tag){.fn = on_accepted, .call = call};
	call->received = (struct xrpc__grpc_tag){.fn = on_received, .call = call};
	call->closed = (struct xrpc__grpc_tag){.fn = on_closed, .call = call};
	call->sent = (struct xrpc__grpc_tag){.fn = on_sent, .call = call};
	call->ended = (struct xrpc__grpc_tag){.fn = on_ended, .call = call};
	xrpc__grpc_hand(&call->accepted);
	/* Cannot fail with arguments that are right; a server that stops completes it. */
	if (grpc_server_request_call(server->core, &call->core, &call->details, &call->metadata,
		    server->queue, server->queue, &call->accepted) != GRPC_CALL_OK) {
		free_call(call);
		atomic_fetch_sub_explicit(&server->nr_refs, 1, memory_order_relaxed);
		return false;
	}
	server->nr_awaited++;
	return true;
}

/* ---- operations ---- */

/* Starts a batch whose completion holds a reference. Under the call's mutex. */
static bool start(
	struct xrpc_grpc_call *call, const grpc_op *ops, size_t nr_ops, struct xrpc__grpc_tag *tag)
{
	if (call->is_dead) {
		return false;
	}
	ref(call);
	xrpc__grpc_hand(tag);
	if (grpc_call_start_batch(call->core, ops, nr_ops, tag, NULL) != GRPC_CALL_OK) {
		atomic_fetch_sub_explicit(&call->nr_refs, 1, memory_order_relaxed);
		return false;
	}
	return true;
}

static grpc_op greeting(void)
{
	return (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
}

static grpc_op sending(grpc_byte_buffer *message)
{
	return (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message};
}

static bool start_receiving(
	struct xrpc_grpc_call *call, const grpc_op *op, struct xrpc__grpc_tag *tag)
{
	bool is_started;

	pthread_mutex_lock(&call->mutex);
	is_started = start(call, op, 1, tag);
	pthread_mutex_unlock(&call->mutex);
	return is_started;
}

/* The end, when nothing else is being sent. Under the call's mutex. */
static void send_end(struct xrpc_grpc_call *call)
{
	grpc_slice text = grpc_slice_from_copied_string(call->end_err.text);
	grpc_op ops[3];
	size_t nr_ops = 0;

	if (!call->is_greeted) {
		ops[nr_ops++] = greeting();
		call->is_greeted = true;
	}
	if (call->message != NULL) {
		ops[nr_ops++] = sending(call->message);
	}
	ops[nr_ops++] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
		.data.send_status_from_server = {
			.status = (grpc_status_code)call->end_code, .status_details = &text}};
	atomic_store(&call->until_ns, xrpc__grpc_now_ns() + XRPC__GRPC_TAIL_NS);
	start(call, ops, nr_ops, &call->ended);
	grpc_slice_unref(text);
}

/* Who listens may be gone when the call is dead. Under the call's mutex. */
static void audit(const struct xrpc_grpc_call *call, enum xrpc_grpc_code code)
{
	const struct xrpc_grpc *server = call->server;
	const struct xrpc_grpc_audit what = {
		call->method != NULL ? call->method->name : "", call->who, call->from, code};

	if (server->audit != NULL && !call->is_dead && call->method != NULL &&
		call->method->is_audited) {
		server->audit(server->arg, &what);
	}
}

/* Ends it, with `message` (taken, may be NULL) and what is in end_code and `text`; gives the
 * owner's reference back. */
static void finish(struct xrpc_grpc_call *call, enum xrpc_grpc_code code, const char *text,
	grpc_byte_buffer *message)
{
	pthread_mutex_lock(&call->mutex);
	assert(!call->is_ended);
	audit(call, code);
	call->is_ended = true;
	call->end_code = code;
	snprintf(call->end_err.text, sizeof(call->end_err.text), "%s", text);
	if (call->is_dead || call->is_closed || call->is_sending) {
		/* Nobody listens; or on_sent() goes on. */
		grpc_byte_buffer_destroy(message);
	} else {
		call->message = message;
		send_end(call);
	}
	pthread_mutex_unlock(&call->mutex);
	unref(call);
}

/* ---- the beginning ---- */

static bool is_equal(grpc_slice slice, const char *text)
{
	size_t len = strlen(text);

	return GRPC_SLICE_LENGTH(slice) == len &&
	       memcmp(GRPC_SLICE_START_PTR(slice), text, len) == 0;
}

static const struct xrpc_grpc_method *find(const struct xrpc_grpc_method *methods, grpc_slice name)
{
	for (; methods->name != NULL; methods++) {
		if (is_equal(name, methods->name)) {
			return methods;
		}
	}
	return NULL;
}

/* The token that it shows: that of the one "authorization" which it has. Empty: none. */
static grpc_slice token_of(const struct xrpc_grpc_call *call)
{
	static const char scheme[] = "Bearer ";
	const size_t scheme_len = sizeof(scheme) - 1;
	grpc_slice found = grpc_empty_slice();

	for (size_t i = 0; i < call->metadata.count; i++) {
		if (is_equal(call->metadata.metadata[i].key, "authorization")) {
			if (GRPC_SLICE_LENGTH(found) != 0) {
				return grpc_empty_slice();
			}
			found = call->metadata.metadata[i].value;
		}
	}
	if (GRPC_SLICE_LENGTH(found) <= scheme_len ||
		strncasecmp((const char *)GRPC_SLICE_START_PTR(found), scheme, scheme_len) != 0) {
		return grpc_empty_slice();
	}
	return grpc_slice_sub_no_ref(found, scheme_len, GRPC_SLICE_LENGTH(found));
}

/* The role of who calls; 0 and -EBUSY as role_of says. */
static int role_of(struct xrpc_grpc_call *call)
{
	const struct xrpc_grpc *server = call->server;
	grpc_auth_context *context = NULL;
	grpc_slice token = token_of(call);
	struct xrpc_grpc_peer peer = {.token = (const char *)GRPC_SLICE_START_PTR(token),
		.token_len = GRPC_SLICE_LENGTH(token)};
	int role;

	xrpc__grpc_peer(call, &peer, &context);
	role = server->role_of(server->arg, &peer, call->who);
	grpc_auth_context_release(context);
	return role;
}

/* Whether who calls may do so: XRPC_GRPC_OK, or with a sentence. */
static enum xrpc_grpc_code check_role(struct xrpc_grpc_call *call, const char **ret_sentence)
{
	int role;

	if (call->server->role_of == NULL || call->method->role == 0) {
		return XRPC_GRPC_OK;
	}
	role = role_of(call);
	if (role == -EBUSY) {
		*ret_sentence = "too many calls or wrong tokens from this address in this second";
		return XRPC_GRPC_RESOURCE_EXHAUSTED;
	}
	if (role <= 0) {
		*ret_sentence = "the call needs a token of the server's: authorization: Bearer …";
		return XRPC_GRPC_UNAUTHENTICATED;
	}
	*ret_sentence = "the role of the token or of the certificate does not allow this";
	return (uint32_t)role < call->method->role ? XRPC_GRPC_PERMISSION_DENIED : XRPC_GRPC_OK;
}

static void refuse(struct xrpc_grpc_call *call, enum xrpc_grpc_code code, const char *text)
{
	atomic_fetch_add(&call->server->nr_refused, 1);
	finish(call, code, text, NULL);
}

/* Receives the request. The owner's reference is the server's until the method is called. */
static void begin(struct xrpc_grpc_call *call, bool is_too_many)
{
	struct xrpc_grpc *server = call->server;
	const grpc_op closing = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
		.data.recv_close_on_server.cancelled = &call->was_cancelled};
	const grpc_op receiving = {
		.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->bytes};
	const char *sentence = "";
	enum xrpc_grpc_code code;

	atomic_fetch_add(&server->nr_calls, 1);
	start_receiving(call, &closing, &call->closed);
	call->method = find(server->methods, call->details.method);
	if (call->method == NULL) {
		call->method = find(xrpc__grpc_health, call->details.method);
		call->is_of_health = call->method != NULL;
	}
	if (is_too_many) {
		refuse(call, XRPC_GRPC_RESOURCE_EXHAUSTED,
			"the server has as many calls as it takes; try again later");
	} else if (call->method == NULL) {
		refuse(call, XRPC_GRPC_UNIMPLEMENTED, "there is no such method");
	} else if ((code = check_role(call, &sentence)) != XRPC_GRPC_OK) {
		refuse(call, code, sentence);
	} else {
		atomic_store(&call->until_ns, xrpc__grpc_now_ns() + server->request_timeout_ns);
		if (!start_receiving(call, &receiving, &call->received)) {
			finish(call, XRPC_GRPC_INTERNAL, "the request cannot be received", NULL);
		}
	}
}

static void on_accepted(struct xrpc_grpc_call *call, bool is_good)
{
	struct xrpc_grpc *server = call->server;
	bool is_too_many = false;

	pthread_mutex_lock(&server->mutex);
	server->nr_awaited--;
	if (is_good) {
		xrpc__grpc_accept(server);
		xu_list_add_tail(&server->calls, &call->link);
		is_too_many = ++server->nr_now > server->nr_calls_max;
	}
	pthread_mutex_unlock(&server->mutex);
	if (is_good) {
		begin(call, is_too_many);
	} else { /* the server stops */
		unref(call);
	}
}

/* A server that stops lets no method begin. */
static void call_method(struct xrpc_grpc_call *call)
{
	struct xrpc_grpc *server = call->server;
	bool is_stopping;

	pthread_mutex_lock(&server->mutex);
	is_stopping = server->is_stopping;
	server->nr_in_methods += !is_stopping;
	pthread_mutex_unlock(&server->mutex);
	if (is_stopping) {
		finish(call, XRPC_GRPC_UNAVAILABLE, "the server stops", NULL);
		return;
	}
	call->method->fn(call, call->request, call->is_of_health ? server : server->arg);
	pthread_mutex_lock(&server->mutex);
	server->nr_in_methods--;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->mutex);
}

static void on_received(struct xrpc_grpc_call *call, bool is_good)
{
	struct xu_error err = {0};
	int rc;

	atomic_store(&call->until_ns, 0);
	rc = is_good && call->bytes != NULL
		     ? xrpc__message_receive(
			       call->method->request, call->bytes, &call->request, &err)
		     : xu_error_set(&err, -EINVAL, "the call has no message");
	grpc_byte_buffer_destroy(call->bytes);
	call->bytes = NULL;
	if (rc != 0) {
		finish(call, xrpc_grpc_code_of(rc), err.text, NULL);
	} else {
		call_method(call);
	}
	unref(call);
}

/* ---- streams ---- */

/* Tells its owner, once, that nobody listens. */
static void tell_cancel(struct xrpc_grpc_call *call)
{
	bool must_tell;

	pthread_mutex_lock(&call->mutex);
	must_tell = call->ops != NULL && call->is_closed && !call->is_ended && !call->is_told;
	call->is_told |= must_tell;
	pthread_mutex_unlock(&call->mutex);
	if (must_tell) {
		call->ops->on_cancel(call, call->arg);
	}
}

static void on_closed(struct xrpc_grpc_call *call, bool is_good)
{
	pthread_mutex_lock(&call->mutex);
	call->is_closed = true;
	if (call->was_cancelled) {
		atomic_store(&call->is_cancelled, true);
	}
	pthread_mutex_unlock(&call->mutex);
	tell_cancel(call);
	unref(call);
}

void xrpc_grpc_stream(
	struct xrpc_grpc_call *call, const struct xrpc_grpc_stream_ops *ops, void *arg)
{
	assert(call->method->is_streaming);
	pthread_mutex_lock(&call->mutex);
	call->ops = ops;
	call->arg = arg;
	pthread_mutex_unlock(&call->mutex);
	tell_cancel(call);
}

int xrpc_grpc_send(struct xrpc_grpc_call *call, const ProtobufCMessage *message)
{
	grpc_byte_buffer *buffer = xrpc__message_pack(message);
	const grpc_op ops[] = {sending(buffer), greeting()};
	bool is_sent = false;
	int rc = 0;

	pthread_mutex_lock(&call->mutex);
	assert(!call->is_ended);
	if (call->is_sending) {
		rc = -EBUSY;
	} else if (!call->is_closed && !call->is_dead) {
		is_sent = start(call, ops, call->is_greeted ? 1 : 2, &call->sent);
	}
	if (is_sent) {
		call->is_greeted = true;
		call->is_sending = true;
		call->message = buffer;
	}
	pthread_mutex_unlock(&call->mutex);
	if (!is_sent) {
		grpc_byte_buffer_destroy(buffer);
	}
	return rc;
}

static void on_sent(struct xrpc_grpc_call *call, bool is_good)
{
	bool must_tell;

	atomic_fetch_add(&call->server->nr_messages_sent, is_good);
	pthread_mutex_lock(&call->mutex);
	grpc_byte_buffer_destroy(call->message);
	call->message = NULL;
	call->is_sending = false;
	if (call->is_ended && !call->is_closed && !call->is_dead) {
		send_end(call);
	}
	must_tell = is_good && call->ops != NULL && !call->is_ended && !call->is_closed;
	pthread_mutex_unlock(&call->mutex);
	if (must_tell) {
		call->ops->on_ready(call, call->arg);
	}
	unref(call);
}

/* ---- the end ---- */

static void on_ended(struct xrpc_grpc_call *call, bool is_good)
{
	atomic_fetch_add(&call->server->nr_messages_sent, is_good && call->message != NULL);
	unref(call);
}

void xrpc_grpc_answer(struct xrpc_grpc_call *call, const ProtobufCMessage *message)
{
	assert(!call->method->is_streaming);
	finish(call, XRPC_GRPC_OK, "", xrpc__message_pack(message));
}

void xrpc_grpc_fail(struct xrpc_grpc_call *call, enum xrpc_grpc_code code, const char *fmt, ...)
{
	struct xu_error err;
	va_list args;

	va_start(args, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, args);
	va_end(args);
	finish(call, code, err.text, NULL);
}

void xrpc_grpc_end(struct xrpc_grpc_call *call)
{
	finish(call, XRPC_GRPC_OK, "", NULL);
}

bool xrpc_grpc_is_cancelled(const struct xrpc_grpc_call *call)
{
	return atomic_load(&call->is_cancelled);
}

void xrpc__grpc_hurry(struct xrpc_grpc_call *call, uint64_t now_ns)
{
	uint64_t until_ns = atomic_load(&call->until_ns);

	if (until_ns == 0 || now_ns < until_ns) {
		return;
	}
	atomic_store(&call->until_ns, 0);
	pthread_mutex_lock(&call->mutex);
	if (!call->is_dead) {
		grpc_call_cancel(call->core, NULL);
	}
	pthread_mutex_unlock(&call->mutex);
}

void xrpc__grpc_abandon(struct xrpc_grpc_call *call)
{
	grpc_call *core;

	pthread_mutex_lock(&call->mutex);
	core = call->core;
	call->core = NULL;
	call->is_dead = true;
	pthread_mutex_unlock(&call->mutex);
	grpc_call_unref(core);
}
