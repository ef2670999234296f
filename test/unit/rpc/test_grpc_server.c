/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A gRPC server whose methods keep their calls, against a client of the C core: answers from
 * another thread, clients that go, streams that nobody takes, and calls that are ended only when
 * the server has stopped.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "lib/rpc/grpc.h"
#include "lib/rpc/grpc_message.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "proto/health.pb-c.h"
#include "proto/registry.pb-c.h"

#define PATIENCE_S 60
#define BIG        (16u << 20) /* bytes: more than a client takes that does not read */

/* gRPC's libraries are not built with the thread sanitizer, so it does not see how their threads
 * wait for each other. All of our code is, and is looked at all the same. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

/* ---- the server ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct xrpc_grpc_call *kept;
static unsigned nr_cancels, nr_frees;
static int first_rc, second_rc; /* of sending on a stream */

static void keep(struct xrpc_grpc_call *call, const ProtobufCMessage *request, void *arg)
{
	pthread_mutex_lock(&mutex);
	kept = call;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
}

static void on_ready(struct xrpc_grpc_call *call, void *arg)
{
}

static void on_cancel(struct xrpc_grpc_call *call, void *arg)
{
	pthread_mutex_lock(&mutex);
	nr_cancels++;
	pthread_mutex_unlock(&mutex);
	xrpc_grpc_end(call);
}

static void on_free(void *arg)
{
	pthread_mutex_lock(&mutex);
	nr_frees++;
	pthread_mutex_unlock(&mutex);
}

static void keep_stream(struct xrpc_grpc_call *call, const ProtobufCMessage *request, void *arg)
{
	static const struct xrpc_grpc_stream_ops ops = {on_ready, on_cancel, on_free};
	Xdevice__Nvmeof__Registry__TargetEvent event =
		XDEVICE__NVMEOF__REGISTRY__TARGET_EVENT__INIT;
	char *text = malloc(BIG + 1);

	assert_non_null(text);
	memset(text, 'x', BIG);
	text[BIG] = '\0';
	event.target_id = text;
	xrpc_grpc_stream(call, &ops, NULL);
	first_rc = xrpc_grpc_send(call, &event.base);
	second_rc = xrpc_grpc_send(call, &event.base);
	free(text);
	keep(call, request, arg);
}

static const struct xrpc_grpc_method methods[] = {
	{"/test.Test/Keep", &grpc__health__v1__health_check_request__descriptor, .fn = keep},
	{"/test.Test/Stream", &grpc__health__v1__health_check_request__descriptor,
		.is_streaming = true, .fn = keep_stream},
	{0},
};

static struct xrpc_grpc_call *wait_kept(void)
{
	struct xrpc_grpc_call *call;
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&mutex);
	while (kept == NULL && rc == 0) {
		rc = pthread_cond_timedwait(&changed, &mutex, &end);
	}
	call = kept;
	kept = NULL;
	pthread_mutex_unlock(&mutex);
	assert_non_null(call);
	return call;
}

/* ---- the client ---- */

struct client {
	grpc_completion_queue *queue;
	grpc_channel *channel;
	grpc_call *call;
	grpc_byte_buffer *sent, *received;
	grpc_metadata_array initial, trailing;
	grpc_status_code code;
	grpc_slice details;
};

/* Calls a method with an empty message; a stream is not read. */
static void begin(struct client *client, const struct xrpc_grpc *server, const char *method)
{
	Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	char where[32];
	grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
		{.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
		{.op = GRPC_OP_RECV_INITIAL_METADATA,
			.data.recv_initial_metadata.recv_initial_metadata = &client->initial},
		{.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
			.data.recv_status_on_client = {&client->trailing, &client->code,
				&client->details, NULL}},
		{.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &client->received}};
	bool is_stream = strcmp(method, "/test.Test/Stream") == 0;

	*client = (struct client){0};
	grpc_metadata_array_init(&client->initial);
	grpc_metadata_array_init(&client->trailing);
	snprintf(where, sizeof(where), "127.0.0.1:%u", xrpc_grpc_port(server));
	client->queue = grpc_completion_queue_create_for_next(NULL);
	client->channel = grpc_channel_create(where, credentials, NULL);
	grpc_channel_credentials_release(credentials);
	client->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
		client->queue, grpc_slice_from_static_string(method), NULL,
		gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	client->sent = xrpc__message_pack(&request.base);
	ops[1].data.send_message.send_message = client->sent;
	assert_int_equal(grpc_call_start_batch(client->call, ops, is_stream ? 5 : 6, client, NULL),
		GRPC_CALL_OK);
}

/* Waits for the end of the call and frees the client. */
static grpc_status_code end(struct client *client)
{
	gpr_timespec deadline = gpr_time_add(
		gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(PATIENCE_S, GPR_TIMESPAN));

	assert_int_equal(
		grpc_completion_queue_next(client->queue, deadline, NULL).type, GRPC_OP_COMPLETE);
	grpc_byte_buffer_destroy(client->sent);
	grpc_byte_buffer_destroy(client->received);
	grpc_metadata_array_destroy(&client->initial);
	grpc_metadata_array_destroy(&client->trailing);
	grpc_slice_unref(client->details);
	grpc_call_unref(client->call);
	grpc_channel_destroy(client->channel);
	grpc_completion_queue_shutdown(client->queue);
	assert_int_equal(grpc_completion_queue_next(client->queue, deadline, NULL).type,
		GRPC_QUEUE_SHUTDOWN);
	grpc_completion_queue_destroy(client->queue);
	return client->code;
}

/* ---- the tests ---- */

static struct xrpc_grpc *start(void)
{
	const struct xrpc_grpc_opts opts = {.address = "127.0.0.1", .methods = methods};
	struct xrpc_grpc *server = NULL;
	struct xu_error err = {0};

	nr_cancels = nr_frees = 0;
	if (xrpc_grpc_start(&opts, &server, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return server;
}

static void test_answer_from_another_thread(void **state)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	struct xrpc_grpc *server = start();
	struct client client;
	ProtobufCMessage *message;
	struct xu_error err;

	begin(&client, server, "/test.Test/Keep");
	response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
	xrpc_grpc_answer(wait_kept(), &response.base);
	xrpc_grpc_stop(server, 10000); /* ends no call that is being answered */
	assert_int_equal(grpc_completion_queue_next(client.queue,
				 gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
					 gpr_time_from_seconds(PATIENCE_S, GPR_TIMESPAN)),
				 NULL)
				 .type,
		GRPC_OP_COMPLETE);
	assert_int_equal(client.code, GRPC_STATUS_OK);
	assert_int_equal(xrpc__message_receive(&grpc__health__v1__health_check_response__descriptor,
				 client.received, &message, &err),
		0);
	assert_int_equal(((Grpc__Health__V1__HealthCheckResponse *)message)->status,
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
	protobuf_c_message_free_unpacked(message, NULL);
	/* The completion has been taken: an empty batch makes another one. */
	assert_int_equal(grpc_call_start_batch(client.call, NULL, 0, &client, NULL), GRPC_CALL_OK);
	end(&client);
}

static void test_client_that_goes(void **state)
{
	struct xrpc_grpc *server = start();
	struct xrpc_grpc_call *call;
	struct client client;

	begin(&client, server, "/test.Test/Keep");
	call = wait_kept();
	assert_false(xrpc_grpc_is_cancelled(call));
	grpc_call_cancel(client.call, NULL);
	assert_int_equal(end(&client), GRPC_STATUS_CANCELLED);
	for (unsigned i = 0; i < PATIENCE_S * 100 && !xrpc_grpc_is_cancelled(call); i++) {
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	assert_true(xrpc_grpc_is_cancelled(call));
	xrpc_grpc_fail(call, XRPC_GRPC_INTERNAL, "nobody reads this");
	xrpc_grpc_stop(server, 0);
}

/* The store may answer long after: then the call is dead, and nothing happens. */
static void test_answer_after_the_end(void **state)
{
	struct xrpc_grpc *server = start();
	struct xrpc_grpc_call *call;
	struct client client;
	uint64_t began_ns = xu_clock_now_ns(xu_clock_system());

	begin(&client, server, "/test.Test/Keep");
	call = wait_kept();
	xrpc_grpc_stop(server, 100);
	assert_true(xu_clock_now_ns(xu_clock_system()) - began_ns < PATIENCE_S * 1000000000ull);
	assert_int_not_equal(end(&client), GRPC_STATUS_OK);
	assert_true(xrpc_grpc_is_cancelled(call));
	xrpc_grpc_fail(call, XRPC_GRPC_INTERNAL, "nobody reads this");
}

static void test_stream_that_nobody_takes(void **state)
{
	struct xrpc_grpc *server = start();
	struct xrpc_grpc_stats stats;
	struct client client;

	begin(&client, server, "/test.Test/Stream");
	wait_kept();
	assert_int_equal(first_rc, 0);
	assert_int_equal(second_rc, -EBUSY);
	xrpc_grpc_stats(server, &stats);
	assert_int_equal(stats.nr_calls, 1);
	assert_int_equal(stats.nr_now, 1);
	xrpc_grpc_stop(server, 0);
	assert_int_equal(nr_cancels, 1);
	assert_int_equal(nr_frees, 1);
	grpc_call_cancel(client.call, NULL); /* who does not read does not hear the end either */
	assert_int_not_equal(end(&client), GRPC_STATUS_OK);
}

static void test_stop_twice_in_parts(void **state)
{
	struct xrpc_grpc *server = start();
	struct client client;

	xrpc_grpc_quiesce(server);
	xrpc_grpc_quiesce(server);
	begin(&client, server, "/test.Test/Keep");
	xrpc_grpc_stop(server, 0);
	assert_int_equal(end(&client), GRPC_STATUS_UNAVAILABLE);
}

static int setup(void **state)
{
	grpc_init();
	return 0;
}

static int teardown(void **state)
{
	grpc_shutdown_blocking();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_from_another_thread),
		cmocka_unit_test(test_client_that_goes),
		cmocka_unit_test(test_answer_after_the_end),
		cmocka_unit_test(test_stream_that_nobody_takes),
		cmocka_unit_test(test_stop_twice_in_parts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
