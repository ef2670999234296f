/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the client of etcd: between its calls and its watches. */
#ifndef LIB_ETCD_PRIVATE_H
#define LIB_ETCD_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "lib/etcd/etcd.h"

#define TOKEN_SIZE 1024u

struct xetcd {
	struct xu_logger *log;
	uint32_t patience_ms;
	char *user, *password;
	uint32_t nr_endpoints;
	char *names[XETCD_ENDPOINTS_MAX]; /* host:port */
	grpc_channel *channels[XETCD_ENDPOINTS_MAX];
	_Atomic uint32_t current; /* the endpoint that answered last */

	pthread_mutex_t mutex; /* for what follows */
	char token[TOKEN_SIZE];
	uint32_t nr_tokens; /* which of those that we were given it is */
};

struct xetcd__call {
	const char *path;
	const ProtobufCMessage *request;
	const ProtobufCMessageDescriptor *answer_type;
	bool needs_no_token;
};

/* Asks members until one answers or the patience is over. */
int xetcd__run(struct xetcd *client, const struct xetcd__call *call, ProtobufCMessage **ret_answer,
	struct xu_error *err);

/* Gets a token where one is needed and there is none, or the one of that number does not count any
 * more; copies it to `ret_token` ("" for none). */
int xetcd__token(struct xetcd *client, uint32_t refused, char ret_token[TOKEN_SIZE],
	uint32_t *ret_number, struct xu_error *err);

/* The metadata of a call; returns how many. */
size_t xetcd__metadata(const char *token, bool needs_leader, grpc_metadata ret_metadata[2]);
void xetcd__metadata_free(grpc_metadata *metadata, size_t count);

/* Waits so long, on a queue of the caller's in which nothing is under way. */
void xetcd__pause(grpc_completion_queue *queue, uint32_t ms);

/* As an error of ours; true in *ret_try_next: another member may say something else. */
int xetcd__status(const char *what, grpc_status_code code, grpc_slice details, bool *ret_try_next,
	struct xu_error *err);

#endif
