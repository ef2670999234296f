/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection to a node: JSON-RPC 2.0 over a UNIX socket, one call at a time, each within a time
 * and a size. Requests and answers are JSON values back to back, without any delimiter.
 */
#ifndef XSAN_CLIENT_H
#define XSAN_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#define CLIENT_MAX_ANSWER (64u << 20) /* bytes */

struct client;
struct xu_error;

/* What became of a call. */
enum client_outcome {
	CLIENT_RESULT,
	CLIENT_ERROR,       /* the node answered with an error */
	CLIENT_UNREACHABLE, /* there was no answer, or none that makes sense */
};

/* For the node at `path` (borrowed); connects with the first call. -ENOMEM. */
int client_new(const char *path, struct client **ret_client);
/* NULL is fine. */
void client_free(struct client *client);

/*
 * Calls a method; `params` is borrowed, may be NULL. `waiting` (may be NULL) is told about once a
 * second how long it has been. CLIENT_RESULT: *ret_value is the result; CLIENT_ERROR: it is the
 * error, an object with "message"; both new. CLIENT_UNREACHABLE: *err has a sentence, and the
 * connection is closed, so another call connects again.
 */
enum client_outcome client_call(struct client *client, const char *method, json_t *params,
	uint64_t timeout_ms, void (*waiting)(void *arg, uint64_t elapsed_ms), void *arg,
	json_t **ret_value, struct xu_error *err);

#endif
