/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent's calls of the registry: one at a time, each bounded in time, by libcurl. */
#ifndef LIB_XREGISTRY_AGENT_HTTP_H
#define LIB_XREGISTRY_AGENT_HTTP_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct agent_http;
struct xreg_agent_opts;

struct agent_answer {
	long status; /* of HTTP; 0: nobody answered, and `problem` says why */
	json_t *body;
	char problem[256];
};

/* NULL: no memory. The options are borrowed. While `must_end` is set, calls end at once. */
struct agent_http *agent_http_new(const struct xreg_agent_opts *opts, _Atomic bool *must_end);
void agent_http_free(struct agent_http *http);

/* Makes one call; `body` (may be NULL) is borrowed. The answer's body is the caller's. */
void agent_http_call(struct agent_http *http, const char *method, const char *path, json_t *body,
	uint32_t timeout_ms, struct agent_answer *ret_answer);

#define AGENT_FROM_NOW UINT64_MAX

/* Follows a stream of server-sent events until it breaks or `must_end`; `fn` is called for each
 * event with data. `since` is what was seen last, and is kept true. */
void agent_http_follow(struct agent_http *http, const char *path, uint64_t *since,
	void (*fn)(void *arg, const char *kind, json_t *data), void *arg);

/* Breaks the connection of a call that is under way, from another thread. */
void agent_http_abort(struct agent_http *http);

#endif
