/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC 2.0 (https://www.jsonrpc.org/specification): methods, requests and their answers,
 * without a transport. A service is a set of method tables; a call is one JSON text (a request or a
 * batch) that is answered by one text. The requests of a batch run one after the other, each may be
 * answered later, and the answers keep their order. Error codes are the specification's, or -errno,
 * as SPDK's servers do.
 *
 * Everything here is for one thread, the reactor's that serves.
 */
#ifndef XRPC_JSONRPC_H
#define XRPC_JSONRPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/util/param.h"

#define XRPC_PARSE_ERROR      (-32700)
#define XRPC_INVALID_REQUEST  (-32600)
#define XRPC_METHOD_NOT_FOUND (-32601)
#define XRPC_INVALID_PARAMS   (-32602)
#define XRPC_INTERNAL_ERROR   (-32603)

#define XRPC_BATCH_MAX 256u /* requests of one batch */

struct xrpc_request;
struct xrpc_service;
struct xu_error;

struct xrpc_method {
	const char *name;              /* NULL ends a table */
	const char *help;              /* one sentence */
	const struct xu_param *params; /* NULL: it takes none */
	size_t opts_bytes;             /* of the struct the parameters are read into */
	const void *defaults;          /* opts_bytes; NULL: zeroes */
	bool is_raw;                   /* `params` is not checked: the method looks for itself */
	/* Does it and answers `req` once, before it returns or later. `opts` and what it points at
	 * live until the answer. */
	void (*fn)(struct xrpc_request *req, void *arg, const void *opts);
};

int xrpc_service_new(struct xrpc_service **ret_service);
/* No call may be under way (asserted). NULL is fine. */
void xrpc_service_free(struct xrpc_service *service);

/* Adds a table, which must live as long as the service; `arg` is for its methods. -ENOMEM. */
int xrpc_service_add(struct xrpc_service *service, const struct xrpc_method *methods, void *arg);

/* Calls `fn` for every method, in the order of the tables. */
void xrpc_service_each(const struct xrpc_service *service,
	void (*fn)(void *arg, const struct xrpc_method *method), void *arg);

/* rpc_get_methods and spdk_get_version; their `arg` is the service. */
extern const struct xrpc_method xrpc_service_methods[];

/* ---- for methods ---- */

/* Answers with a result, which is taken; NULL: out of memory. */
void xrpc_result(struct xrpc_request *req, json_t *result);
void xrpc_true(struct xrpc_request *req);
/* Answers with an error. */
void xrpc_error(struct xrpc_request *req, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with a sentence that is there already: -EINVAL is an invalid parameter, -ENOMEM an
 * internal error, all others are the code. `data` (taken, may be NULL) goes with it. */
void xrpc_fail(struct xrpc_request *req, const struct xu_error *err, json_t *data);

/* Reads a parameter that is an object by a table of its own; `where` is its name. False: the
 * request has been answered. */
bool xrpc_params(struct xrpc_request *req, const char *where, const struct xu_param *params,
	void *opts, json_t *object);
/* The parameters as they came, borrowed; NULL: none. */
json_t *xrpc_request_params(const struct xrpc_request *req);
const char *xrpc_request_method(const struct xrpc_request *req);

/* ---- for transports ---- */

/*
 * Runs the JSON text `text`, which is not needed after the call. `done` comes once, perhaps before
 * this returns, with the answer (taken by the callee, free() it), or NULL when there is none (only
 * notifications, or no memory for an answer). `is_broken`: the text was not JSON, so the stream it
 * came from has lost its step.
 */
void xrpc_call(struct xrpc_service *service, const char *text, size_t len,
	void (*done)(void *arg, char *answer, bool is_broken), void *arg);

/* The answer to what cannot even be called: a new text, NULL when out of memory. */
char *xrpc_error_text(int code, const char *message);

#endif
