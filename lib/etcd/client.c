/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls to etcd. Each has a completion queue of its own, from which its one completion is plucked,
 * so any thread may call and none takes another's answer. A channel for each member; a call begins
 * with the member that answered last and goes round when one does not answer within its share of
 * the patience. Names and passwords are exchanged for a token, which is fetched anew when etcd does
 * not take it any more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include "etcd.pb-c.h"
#include "lib/etcd/private.h"
#include "lib/rpc/grpc_message.h"
#include "lib/rpc/pem.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define PATIENCE_MS    5000u
#define TRY_MS_MIN     1000u
#define ROUND_PAUSE_MS 100u /* all members have been asked in vain */
#define RECONNECT_MS   200
#define RECONNECT_MAX  2000
#define KEEPALIVE_MS   10000 /* etcd refuses more often than 5 s */
#define KEEPALIVE_WAIT 5000
#define ANSWER_MAX     (256 << 20)

/* ---- errors ---- */

int xetcd__status(const char *what, grpc_status_code code, grpc_slice details, bool *ret_try_next,
	struct xu_error *err)
{
	int len = (int)GRPC_SLICE_LENGTH(details), rc = -EIO;
	const char *text = (const char *)GRPC_SLICE_START_PTR(details);

	*ret_try_next = false;
	switch (code) {
	case GRPC_STATUS_OK:
		return 0;
	case GRPC_STATUS_UNAVAILABLE:
	case GRPC_STATUS_DEADLINE_EXCEEDED:
	case GRPC_STATUS_CANCELLED:
	case GRPC_STATUS_UNKNOWN:
	case GRPC_STATUS_INTERNAL:
		*ret_try_next = true;
		rc = -ETIMEDOUT;
		break;
	case GRPC_STATUS_RESOURCE_EXHAUSTED:
		/* "database space exceeded", or "too many requests", or a request of megabytes */
		rc = memmem(text, (size_t)len, "space", 5) != NULL                ? -ENOSPC
		     : memmem(text, (size_t)len, "too many requests", 17) != NULL ? -EBUSY
										  : -E2BIG;
		break;
	case GRPC_STATUS_INVALID_ARGUMENT:
		rc = memmem(text, (size_t)len, "too large", 9) != NULL ||
				     memmem(text, (size_t)len, "too many", 8) != NULL
			     ? -E2BIG
			     : -EINVAL;
		break;
	case GRPC_STATUS_PERMISSION_DENIED:
	case GRPC_STATUS_UNAUTHENTICATED:
		rc = -EACCES;
		break;
	case GRPC_STATUS_OUT_OF_RANGE:
		rc = -ESTALE;
		break;
	case GRPC_STATUS_NOT_FOUND:
		rc = -ENOENT;
		break;
	default:
		break;
	}
	return xu_error_set(err, rc, "%s: %.*s", what, len > 300 ? 300 : len, text);
}

/* ---- one call ---- */

static grpc_op *add_op(grpc_op *ops, size_t *nr_ops, grpc_op_type type)
{
	grpc_op *op = &ops[(*nr_ops)++];

	*op = (grpc_op){.op = type};
	return op;
}

size_t xetcd__metadata(const char *token, bool needs_leader, grpc_metadata ret_metadata[2])
{
	size_t count = 0;

	if (token[0] != '\0') {
		ret_metadata[count++] =
			(grpc_metadata){.key = grpc_slice_from_static_string("token"),
				.value = grpc_slice_from_copied_string(token)};
	}
	/* The stream of a member that has lost its leader ends, instead of being silent. */
	if (needs_leader) {
		ret_metadata[count++] =
			(grpc_metadata){.key = grpc_slice_from_static_string("hasleader"),
				.value = grpc_slice_from_static_string("true")};
	}
	return count;
}

void xetcd__metadata_free(grpc_metadata *metadata, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		grpc_slice_unref(metadata[i].key);
		grpc_slice_unref(metadata[i].value);
	}
}

/* What the core fills. */
struct outcome {
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *answer;
	grpc_status_code code;
	grpc_slice details;
};

/* Sends to one member and waits for the end, at most until `deadline`. */
static void run_once(struct xetcd *client, uint32_t endpoint, const struct xetcd__call *call,
	const char *token, gpr_timespec deadline, struct outcome *outcome)
{
	grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
	grpc_byte_buffer *message = xrpc__message_pack(call->request);
	grpc_call *core =
		grpc_channel_create_call(client->channels[endpoint], NULL, GRPC_PROPAGATE_DEFAULTS,
			queue, grpc_slice_from_static_string(call->path), NULL, deadline, NULL);
	grpc_metadata metadata[2];
	grpc_op ops[6], *op;
	size_t nr_ops = 0;

	op = add_op(ops, &nr_ops, GRPC_OP_SEND_INITIAL_METADATA);
	op->data.send_initial_metadata.count = xetcd__metadata(token, false, metadata);
	op->data.send_initial_metadata.metadata = metadata;
	op = add_op(ops, &nr_ops, GRPC_OP_SEND_MESSAGE);
	op->data.send_message.send_message = message;
	add_op(ops, &nr_ops, GRPC_OP_SEND_CLOSE_FROM_CLIENT);
	op = add_op(ops, &nr_ops, GRPC_OP_RECV_INITIAL_METADATA);
	op->data.recv_initial_metadata.recv_initial_metadata = &outcome->initial;
	op = add_op(ops, &nr_ops, GRPC_OP_RECV_MESSAGE);
	op->data.recv_message.recv_message = &outcome->answer;
	op = add_op(ops, &nr_ops, GRPC_OP_RECV_STATUS_ON_CLIENT);
	op->data.recv_status_on_client.trailing_metadata = &outcome->trailing;
	op->data.recv_status_on_client.status = &outcome->code;
	op->data.recv_status_on_client.status_details = &outcome->details;
	if (grpc_call_start_batch(core, ops, nr_ops, core, NULL) == GRPC_CALL_OK) {
		/* The deadline of the call ends it, so this has an end of its own. */
		grpc_completion_queue_pluck(queue, core, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	} else {
		outcome->code = GRPC_STATUS_INTERNAL;
	}
	grpc_call_unref(core);
	xetcd__metadata_free(metadata, ops[0].data.send_initial_metadata.count);
	grpc_byte_buffer_destroy(message);
	grpc_completion_queue_shutdown(queue);
	grpc_completion_queue_destroy(queue);
}

static int try_once(struct xetcd *client, uint32_t endpoint, const struct xetcd__call *call,
	const char *token, uint32_t timeout_ms, ProtobufCMessage **ret_answer, bool *ret_try_next,
	bool *ret_is_token_old, struct xu_error *err)
{
	gpr_timespec deadline = gpr_time_add(
		gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
	struct outcome outcome = {.details = grpc_empty_slice()};
	char what[128];
	int rc;

	grpc_metadata_array_init(&outcome.initial);
	grpc_metadata_array_init(&outcome.trailing);
	run_once(client, endpoint, call, token, deadline, &outcome);
	snprintf(what, sizeof(what), "etcd at %.64s", client->names[endpoint]);
	rc = xetcd__status(what, outcome.code, outcome.details, ret_try_next, err);
	*ret_is_token_old = outcome.code == GRPC_STATUS_UNAUTHENTICATED;
	if (rc == 0 && outcome.answer == NULL) {
		*ret_try_next = true;
		rc = xu_error_set(err, -ETIMEDOUT, "%s has answered nothing", what);
	}
	if (rc == 0) {
		rc = xrpc__message_receive(call->answer_type, outcome.answer, ret_answer, err);
		if (rc != 0) {
			rc = xu_error_prefix(err, "%s", what);
		}
	}
	grpc_byte_buffer_destroy(outcome.answer);
	grpc_metadata_array_destroy(&outcome.initial);
	grpc_metadata_array_destroy(&outcome.trailing);
	grpc_slice_unref(outcome.details);
	return rc;
}

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / 1000000;
}

/* What a try may take: so that another member can still be asked. */
static uint32_t share_of(const struct xetcd *client, uint64_t left_ms)
{
	uint64_t share = client->nr_endpoints > 1 ? client->patience_ms / 3 : left_ms;

	if (share < TRY_MS_MIN) {
		share = TRY_MS_MIN;
	}
	return (uint32_t)(share < left_ms ? share : left_ms);
}

/* Waits in the core: connections are made only while somebody does. */
static void pause_ms(uint32_t ms)
{
	grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);

	xetcd__pause(queue, ms);
	grpc_completion_queue_shutdown(queue);
	grpc_completion_queue_destroy(queue);
}

void xetcd__pause(grpc_completion_queue *queue, uint32_t ms)
{
	gpr_timespec until =
		gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));

	/* Nothing completes with that tag. */
	grpc_completion_queue_pluck(queue, &until, until, NULL);
}

int xetcd__run(struct xetcd *client, const struct xetcd__call *call, ProtobufCMessage **ret_answer,
	struct xu_error *err)
{
	uint64_t until_ms = now_ms() + client->patience_ms;
	uint32_t begin = atomic_load(&client->current), refused = 0, number = 0, nr_tries = 0;
	char token[TOKEN_SIZE] = "";
	bool try_next = true, is_token_old = false;
	int rc = -ETIMEDOUT;

	while (try_next || is_token_old) {
		uint32_t endpoint = (begin + nr_tries) % client->nr_endpoints;
		uint64_t now = now_ms();

		if (now >= until_ms) {
			break;
		}
		if (!call->needs_no_token) {
			rc = xetcd__token(client, refused, token, &number, err);
			if (rc != 0) {
				return rc;
			}
		}
		rc = try_once(client, endpoint, call, token, share_of(client, until_ms - now),
			ret_answer, &try_next, &is_token_old, err);
		if (rc == 0) {
			atomic_store(&client->current, endpoint);
		}
		/* Once: a second refusal is what etcd means. */
		is_token_old = is_token_old && number != 0 && refused == 0;
		if (is_token_old) {
			refused = number;
			continue;
		}
		nr_tries++;
		if (try_next && nr_tries % client->nr_endpoints == 0) {
			pause_ms(ROUND_PAUSE_MS);
		}
	}
	return rc;
}

/* ---- names and passwords ---- */

static int fetch_token(struct xetcd *client, struct xu_error *err)
{
	Xsan__Etcd__AuthenticateRequest request = XSAN__ETCD__AUTHENTICATE_REQUEST__INIT;
	const struct xetcd__call call = {"/etcdserverpb.Auth/Authenticate", &request.base,
		&xsan__etcd__authenticate_response__descriptor, true};
	Xsan__Etcd__AuthenticateResponse *answer;
	ProtobufCMessage *message = NULL;
	int rc;

	request.name = client->user;
	request.password = client->password;
	rc = xetcd__run(client, &call, &message, err);
	if (rc != 0) {
		return rc == -EINVAL ? xu_error_set(err, -EACCES, "etcd: wrong user or password")
				     : rc;
	}
	answer = (Xsan__Etcd__AuthenticateResponse *)message;
	if (strlen(answer->token) >= TOKEN_SIZE) {
		rc = xu_error_set(err, -EIO, "etcd's token is too long");
	} else {
		snprintf(client->token, sizeof(client->token), "%s", answer->token);
		client->nr_tokens++;
	}
	protobuf_c_message_free_unpacked(message, NULL);
	return rc;
}

int xetcd__token(struct xetcd *client, uint32_t refused, char ret_token[TOKEN_SIZE],
	uint32_t *ret_number, struct xu_error *err)
{
	int rc = 0;

	ret_token[0] = '\0';
	*ret_number = 0;
	if (client->user == NULL) {
		return 0;
	}
	pthread_mutex_lock(&client->mutex);
	if (client->nr_tokens == refused) {
		rc = fetch_token(client, err);
	}
	memcpy(ret_token, client->token, TOKEN_SIZE);
	*ret_number = client->nr_tokens;
	pthread_mutex_unlock(&client->mutex);
	return rc;
}

/* ---- life ---- */

/* Those of all endpoints with TLS. */
static int make_credentials(
	const struct xetcd_opts *opts, grpc_channel_credentials **ret, struct xu_error *err)
{
	struct xrpc_pem pem = {.cert = NULL};
	grpc_ssl_pem_key_cert_pair pair;
	char *ca = NULL;
	int rc = 0;

	if ((opts->cert_file == NULL) != (opts->key_file == NULL)) {
		return xu_error_set(err, -EINVAL, "a certificate and its key go together");
	}
	if (opts->cert_file != NULL) {
		rc = xrpc_pem_read(opts->cert_file, opts->key_file, NULL, &pem, err);
	}
	if (rc == 0 && opts->ca_file != NULL) {
		rc = xrpc_pem_read_text(opts->ca_file, &ca, err);
	}
	if (rc == 0) {
		pair = (grpc_ssl_pem_key_cert_pair){pem.key, pem.cert};
		*ret = grpc_ssl_credentials_create(ca, pem.cert != NULL ? &pair : NULL, NULL, NULL);
		if (*ret == NULL) {
			rc = xu_error_set(err, -EINVAL, "the certificates for etcd are not usable");
		}
	}
	xrpc_pem_clear(&pem);
	free(ca);
	return rc;
}

static grpc_channel *make_channel(const char *name, grpc_channel_credentials *credentials)
{
	grpc_arg args[] = {
		{GRPC_ARG_INTEGER, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
			{.integer = RECONNECT_MS}},
		{GRPC_ARG_INTEGER, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, {.integer = RECONNECT_MAX}},
		{GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, {.integer = RECONNECT_MAX}},
		{GRPC_ARG_INTEGER, GRPC_ARG_KEEPALIVE_TIME_MS, {.integer = KEEPALIVE_MS}},
		{GRPC_ARG_INTEGER, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, {.integer = KEEPALIVE_WAIT}},
		{GRPC_ARG_INTEGER, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, {.integer = 0}},
		{GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, {.integer = ANSWER_MAX}},
		{GRPC_ARG_INTEGER, GRPC_ARG_ENABLE_HTTP_PROXY, {.integer = 0}},
		/* A connection of its own, which another client's flood does not fill. */
		{GRPC_ARG_INTEGER, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, {.integer = 1}},
	};
	const grpc_channel_args list = {sizeof(args) / sizeof(args[0]), args};

	return grpc_channel_create(name, credentials, &list);
}

/* "[http[s]://]host:port" of `len` bytes. `tls` is made for the first that needs it. */
static int add_endpoint(struct xetcd *client, const struct xetcd_opts *opts,
	grpc_channel_credentials **tls, const char *text, size_t len, struct xu_error *err)
{
	grpc_channel_credentials *credentials = NULL;
	bool is_secure = opts->ca_file != NULL || opts->cert_file != NULL;
	const char *colon;
	int rc = 0;

	if (len > 8 && memcmp(text, "https://", 8) == 0) {
		is_secure = true;
		text += 8;
		len -= 8;
	} else if (len > 7 && memcmp(text, "http://", 7) == 0) {
		is_secure = false;
		text += 7;
		len -= 7;
	}
	colon = memrchr(text, ':', len);
	if (colon == NULL || colon == text || colon + 1 == text + len ||
		memchr(text, '/', len) != NULL ||
		strspn(colon + 1, "0123456789") < (size_t)(text + len - colon - 1)) {
		return xu_error_set(err, -EINVAL,
			"'%.*s' is no endpoint of etcd; write host:port, with https:// for TLS",
			(int)len, text);
	}
	if (client->nr_endpoints == XETCD_ENDPOINTS_MAX) {
		return xu_error_set(
			err, -EINVAL, "more than %u endpoints of etcd", XETCD_ENDPOINTS_MAX);
	}
	client->names[client->nr_endpoints] = strndup(text, len);
	if (client->names[client->nr_endpoints] == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making a client of etcd");
	}
	if (is_secure && *tls == NULL) {
		rc = make_credentials(opts, tls, err);
	}
	if (rc == 0) {
		credentials = is_secure ? *tls : grpc_insecure_credentials_create();
		client->channels[client->nr_endpoints] =
			make_channel(client->names[client->nr_endpoints], credentials);
	}
	if (rc == 0 && !is_secure) {
		grpc_channel_credentials_release(credentials);
	}
	client->nr_endpoints++;
	return rc;
}

int xetcd_open(const struct xetcd_opts *opts, struct xetcd **ret_client, struct xu_error *err)
{
	struct xetcd *client = calloc(1, sizeof(*client));
	grpc_channel_credentials *tls = NULL;
	const char *at = opts->endpoints;
	int rc = 0;

	if (client == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making a client of etcd");
	}
	grpc_init();
	pthread_mutex_init(&client->mutex, NULL);
	client->log = opts->log;
	client->patience_ms = opts->patience_ms != 0 ? opts->patience_ms : PATIENCE_MS;
	do {
		size_t len = strcspn(at, ",");

		rc = add_endpoint(client, opts, &tls, at, len, err);
		at += len;
	} while (rc == 0 && *at++ == ',');
	if (tls != NULL) {
		grpc_channel_credentials_release(tls);
	}
	if (rc == 0 && opts->user != NULL) {
		client->user = strdup(opts->user);
		client->password = strdup(opts->password != NULL ? opts->password : "");
		if (client->user == NULL || client->password == NULL) {
			rc = xu_error_set_errno(err, -ENOMEM, "making a client of etcd");
		}
	}
	if (rc != 0) {
		xetcd_close(client);
		return rc;
	}
	*ret_client = client;
	return 0;
}

void xetcd_close(struct xetcd *client)
{
	if (client == NULL) {
		return;
	}
	for (uint32_t i = 0; i < client->nr_endpoints; i++) {
		if (client->channels[i] != NULL) {
			grpc_channel_destroy(client->channels[i]);
		}
		free(client->names[i]);
	}
	free(client->user);
	if (client->password != NULL) {
		explicit_bzero(client->password, strlen(client->password));
		free(client->password);
	}
	pthread_mutex_destroy(&client->mutex);
	free(client);
	grpc_shutdown_blocking();
}
