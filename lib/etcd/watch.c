/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches of etcd: a thread for each, with a stream to one member. When the stream ends (the member
 * died, lost its leader, or the network did) the thread goes to the next member, after a pause that
 * grows to two seconds, and begins behind the last revision that it has told; when that is
 * compacted, it begins now. Either way whoever watches is told to look.
 *
 * Ending: the call is cancelled, which completes what the thread waits for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "etcd.pb-c.h"
#include "lib/etcd/private.h"
#include "lib/rpc/grpc_message.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define PAUSE_MS_MIN 100u
#define PAUSE_MS_MAX 2000u

struct xetcd_watch {
	struct xetcd *client;
	char *key, *end;
	xetcd_watch_fn fn;
	void *arg;
	pthread_t thread;
	grpc_completion_queue *queue;
	int64_t next;     /* the revision to begin with; 0: now; the thread's */
	bool was_refused; /* by a member, in words that do not tell why; the thread's */
	_Atomic bool is_up, must_stop;

	pthread_mutex_t mutex; /* for what follows */
	grpc_call *core;       /* the stream, while there is one */
};

/* What the core fills for a stream. */
struct stream {
	grpc_metadata_array initial, trailing;
	grpc_status_code code;
	grpc_slice details;
	grpc_byte_buffer *message;
};

/* Starts a batch and waits for its end; false: the stream is over. */
static bool run_batch(struct xetcd_watch *watch, const grpc_op *ops, size_t nr_ops)
{
	grpc_event event;

	if (grpc_call_start_batch(watch->core, ops, nr_ops, watch, NULL) != GRPC_CALL_OK) {
		return false;
	}
	event = grpc_completion_queue_pluck(
		watch->queue, watch, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	return event.success != 0;
}

/* Asks for the watch. */
static bool begin(struct xetcd_watch *watch, struct stream *stream, const char *token)
{
	Xsan__Etcd__WatchCreate create = XSAN__ETCD__WATCH_CREATE__INIT;
	Xsan__Etcd__WatchRequest request = XSAN__ETCD__WATCH_REQUEST__INIT;
	grpc_metadata metadata[2];
	grpc_byte_buffer *message;
	grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
		{.op = GRPC_OP_RECV_INITIAL_METADATA}};
	size_t count = xetcd__metadata(token, true, metadata);
	bool is_good;

	create.key = (ProtobufCBinaryData){strlen(watch->key), (uint8_t *)watch->key};
	create.range_end = (ProtobufCBinaryData){strlen(watch->end), (uint8_t *)watch->end};
	create.start_revision = watch->next;
	request.request_case = XSAN__ETCD__WATCH_REQUEST__REQUEST_CREATE;
	request.create = &create;
	message = xrpc__message_pack(&request.base);
	ops[0].data.send_initial_metadata.count = count;
	ops[0].data.send_initial_metadata.metadata = metadata;
	ops[1].data.send_message.send_message = message;
	ops[2].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
	is_good = run_batch(watch, ops, 3);
	grpc_byte_buffer_destroy(message);
	xetcd__metadata_free(metadata, count);
	return is_good;
}

/* One answer; false: the watch is over. */
static bool hear(struct xetcd_watch *watch, const Xsan__Etcd__WatchResponse *answer)
{
	int64_t revision = answer->header != NULL ? answer->header->revision : 0;

	if (answer->canceled) {
		xu_warn(watch->client->log, "etcd: a watch was ended: %.200s",
			answer->compact_revision != 0 ? "what it follows was compacted"
						      : answer->cancel_reason);
		watch->was_refused = answer->compact_revision == 0;
		watch->next = 0;
		return false;
	}
	if (answer->created) {
		atomic_store(&watch->is_up, true);
	} else if (answer->n_events == 0) {
		return true;
	}
	for (size_t i = 0; i < answer->n_events; i++) {
		const Xsan__Etcd__KeyValue *kv = answer->events[i]->kv;

		if (kv != NULL && kv->mod_revision > revision) {
			revision = kv->mod_revision;
		}
	}
	if (answer->n_events != 0) {
		watch->next = revision + 1;
	}
	watch->fn(watch->arg, revision);
	return true;
}

static void listen(struct xetcd_watch *watch, struct stream *stream)
{
	const grpc_op op = {
		.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->message};
	struct xu_error err;
	bool goes_on = true;

	while (goes_on && run_batch(watch, &op, 1) && stream->message != NULL) {
		ProtobufCMessage *message = NULL;

		goes_on = xrpc__message_receive(&xsan__etcd__watch_response__descriptor,
				  stream->message, &message, &err) == 0;
		grpc_byte_buffer_destroy(stream->message);
		stream->message = NULL;
		if (goes_on) {
			goes_on = hear(watch, (Xsan__Etcd__WatchResponse *)message);
			protobuf_c_message_free_unpacked(message, NULL);
		}
	}
}

/* Takes the stream's last words. */
static void finish(struct xetcd_watch *watch, struct stream *stream)
{
	grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
	struct xu_error err = {0};
	bool unused;

	op.data.recv_status_on_client.trailing_metadata = &stream->trailing;
	op.data.recv_status_on_client.status = &stream->code;
	op.data.recv_status_on_client.status_details = &stream->details;
	grpc_call_cancel(watch->core, NULL);
	run_batch(watch, &op, 1);
	if (atomic_exchange(&watch->is_up, false)) {
		xetcd__status("the watch was lost", stream->code, stream->details, &unused, &err);
		xu_info(watch->client->log, "etcd: %s", err.text);
	}
}

/* Follows one stream to its end. Returns whether it was up. */
static bool follow(struct xetcd_watch *watch, uint32_t endpoint)
{
	struct stream stream = {.details = grpc_empty_slice()};
	char token[TOKEN_SIZE];
	struct xu_error err;
	uint32_t number;
	bool was_up;

	if (xetcd__token(watch->client, 0, token, &number, &err) != 0) {
		return false;
	}
	grpc_metadata_array_init(&stream.initial);
	grpc_metadata_array_init(&stream.trailing);
	pthread_mutex_lock(&watch->mutex);
	if (!atomic_load(&watch->must_stop)) {
		watch->core = grpc_channel_create_call(watch->client->channels[endpoint], NULL,
			GRPC_PROPAGATE_DEFAULTS, watch->queue,
			grpc_slice_from_static_string("/etcdserverpb.Watch/Watch"), NULL,
			gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	}
	pthread_mutex_unlock(&watch->mutex);
	if (watch->core == NULL) {
		return false;
	}
	if (begin(watch, &stream, token)) {
		listen(watch, &stream);
	}
	was_up = atomic_load(&watch->is_up);
	finish(watch, &stream);
	/* Perhaps the token was old: the next stream has a new one. */
	if (stream.code == GRPC_STATUS_UNAUTHENTICATED || watch->was_refused) {
		xetcd__token(watch->client, number, token, &number, &err);
		watch->was_refused = false;
	}
	pthread_mutex_lock(&watch->mutex);
	grpc_call_unref(watch->core);
	watch->core = NULL;
	pthread_mutex_unlock(&watch->mutex);
	grpc_byte_buffer_destroy(stream.message);
	grpc_metadata_array_destroy(&stream.initial);
	grpc_metadata_array_destroy(&stream.trailing);
	grpc_slice_unref(stream.details);
	return was_up;
}

/* Waits, in parts that the end may come between; false: it is to stop. */
static bool wait_ms(struct xetcd_watch *watch, uint32_t ms)
{
	for (uint32_t done = 0; done < ms && !atomic_load(&watch->must_stop);
		done += PAUSE_MS_MIN) {
		xetcd__pause(watch->queue, PAUSE_MS_MIN);
	}
	return !atomic_load(&watch->must_stop);
}

static void *watch_main(void *arg)
{
	struct xetcd_watch *watch = arg;
	uint32_t endpoint = atomic_load(&watch->client->current), pause_ms = PAUSE_MS_MIN;

	do {
		pause_ms = follow(watch, endpoint) ? PAUSE_MS_MIN : pause_ms * 2;
		if (pause_ms > PAUSE_MS_MAX) {
			pause_ms = PAUSE_MS_MAX;
		}
		endpoint = (endpoint + 1) % watch->client->nr_endpoints;
	} while (wait_ms(watch, pause_ms));
	return NULL;
}

/* ---- life ---- */

static void free_watch(struct xetcd_watch *watch)
{
	grpc_completion_queue_shutdown(watch->queue);
	grpc_completion_queue_destroy(watch->queue);
	pthread_mutex_destroy(&watch->mutex);
	free(watch->key);
	free(watch->end);
	free(watch);
}

int xetcd_watch(struct xetcd *client, const char *key, const char *end, xetcd_watch_fn fn,
	void *arg, struct xetcd_watch **ret_watch, struct xu_error *err)
{
	struct xetcd_watch *watch = calloc(1, sizeof(*watch));
	int rc;

	if (watch == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "watching etcd");
	}
	watch->client = client;
	watch->fn = fn;
	watch->arg = arg;
	watch->key = strdup(key);
	watch->end = strdup(end);
	watch->queue = grpc_completion_queue_create_for_pluck(NULL);
	pthread_mutex_init(&watch->mutex, NULL);
	rc = watch->key == NULL || watch->end == NULL
		     ? -ENOMEM
		     : -pthread_create(&watch->thread, NULL, watch_main, watch);
	if (rc != 0) {
		free_watch(watch);
		return xu_error_set_errno(err, rc, "watching etcd");
	}
	*ret_watch = watch;
	return 0;
}

bool xetcd_watch_is_up(const struct xetcd_watch *watch)
{
	return atomic_load(&watch->is_up);
}

void xetcd_unwatch(struct xetcd_watch *watch)
{
	if (watch == NULL) {
		return;
	}
	pthread_mutex_lock(&watch->mutex);
	atomic_store(&watch->must_stop, true);
	if (watch->core != NULL) {
		grpc_call_cancel(watch->core, NULL);
	}
	pthread_mutex_unlock(&watch->mutex);
	pthread_join(watch->thread, NULL);
	free_watch(watch);
}
