/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An HTTP/1.1 server on libmicrohttpd, on threads of its own. A table of routes names what there
 * is; each call is given to its route's function, which answers it now or, from any thread, later,
 * or as a stream. Errors are "problem details" (RFC 9457) that name the field at fault.
 *
 * Who calls is known by a bearer token or by a certificate (TLS); a server that asks for neither
 * listens on a loopback address only, unless it is told to be open.
 */
#ifndef XRPC_HTTP_H
#define XRPC_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/rpc/access.h"

struct xrpc_http;
struct xrpc_http_call;
struct xrpc_pem;
struct xu_error;
struct xu_logger;

#define XRPC_HTTP_ID_SIZE 65u /* of a request's identity, with its NUL */

struct xrpc_http_route {
	const char *method;
	const char *path; /* "/api/v1/targets/{id}/status": {…} is one segment */
	void (*fn)(struct xrpc_http_call *call, void *arg);
	enum xrpc_role role;
	size_t body_max; /* bytes; 0: it takes no body */
	const char *summary;
};

struct xrpc_http_opts {
	const char *address;                  /* numeric IPv4 or IPv6 */
	uint16_t port;                        /* 0: any; see xrpc_http_port() */
	const struct xrpc_http_route *routes; /* until a method NULL; borrowed */
	void *arg;                            /* for the routes' functions */
	struct xrpc_access *access;           /* who may do what; borrowed until the end */
	const struct xrpc_pem *pem;  /* copied; NULL: clear text. With a CA for clients they are
					asked for certificates, and judged by `access` */
	bool is_open;                /* may be reached from elsewhere in clear text or without
					credentials */
	uint32_t nr_connections_max; /* 0: 4096 */
	uint32_t nr_threads;         /* 0: 2 */
	struct xu_logger *log;       /* NULL: silent */
	/* Called for each answered call that was no GET; any thread, must not wait. May be NULL. */
	void (*audit)(void *arg, const struct xrpc_http_call *call, unsigned status);
};

/* Listens and answers from now on. -EPERM: the address is public, and callers or what they say
 * would not be protected; -EINVAL: address, files; and what bind(2) says, with a sentence. */
int xrpc_http_start(
	const struct xrpc_http_opts *opts, struct xrpc_http **ret_http, struct xu_error *err);
/* Whether this could be the certificate of a server: a pair, and valid now. -EINVAL with a
 * sentence.
 */
int xrpc_http_check_pem(const struct xrpc_pem *pem, struct xu_error *err);
/* Another certificate from the next connection on; connections that there are go on with theirs,
 * but clients' certificates are judged by the new CA at their next call. Of a server with TLS.
 * -EINVAL, and it stays as it was. Any thread. */
int xrpc_http_set_pem(struct xrpc_http *http, const struct xrpc_pem *pem, struct xu_error *err);
/* Until when the certificate is valid, in Unix seconds; 0: there is none. */
uint64_t xrpc_http_valid_until(struct xrpc_http *http);
/* Takes no more connections, so that nothing new begins; what is out goes on. */
void xrpc_http_quiesce(struct xrpc_http *http);
/* Ends all connections and frees. No call may wait for its answer any more. NULL is fine. */
void xrpc_http_stop(struct xrpc_http *http);

uint16_t xrpc_http_port(const struct xrpc_http *http);

struct xrpc_http_stats {
	uint64_t nr_calls, nr_errors; /* errors: answered with 5xx */
	uint64_t nr_refused;          /* without credentials, or too many */
	uint64_t busy_us;             /* between the end of a call and its answer, summed up;
					 streams and waiting calls are not in it */
	uint64_t nr_timed;            /* how many calls that is the sum of */
	uint32_t nr_connections;
};
void xrpc_http_get_stats(const struct xrpc_http *http, struct xrpc_http_stats *ret_stats);

/* ---- a call; all that is returned is borrowed while it is not answered ---- */

/* The path's `index`th {…}, decoded. */
const char *xrpc_http_segment(const struct xrpc_http_call *call, uint32_t index);
/* A parameter behind the "?"; NULL: it is not there. "" when it has no value. */
const char *xrpc_http_query(const struct xrpc_http_call *call, const char *name);
/* Calls `fn` for each parameter behind the "?" until it returns false. */
void xrpc_http_each_query(const struct xrpc_http_call *call,
	bool (*fn)(void *arg, const char *name, const char *value), void *arg);
const char *xrpc_http_header(const struct xrpc_http_call *call, const char *name);
const char *xrpc_http_body(const struct xrpc_http_call *call, size_t *ret_len);
/* The body as a JSON object. New reference; NULL: it is none, and the call has been answered. No
 * body is an empty object. */
json_t *xrpc_http_json(struct xrpc_http_call *call);
const char *xrpc_http_id(const struct xrpc_http_call *call);  /* of the request */
const char *xrpc_http_who(const struct xrpc_http_call *call); /* the token's name and so on */
enum xrpc_role xrpc_http_role(const struct xrpc_http_call *call);
const char *xrpc_http_from(const struct xrpc_http_call *call); /* the peer's address */
const char *xrpc_http_method(const struct xrpc_http_call *call);
const char *xrpc_http_path(const struct xrpc_http_call *call);

/* ---- its answer ---- */

/* The answer comes later: said on the thread of the route's function, before another thread can
 * know of the call. */
void xrpc_http_later(struct xrpc_http_call *call);
/* A call that waits for something to happen: its time does not count. */
void xrpc_http_untimed(struct xrpc_http_call *call);

/* A header of the answer that is to come; copies. */
void xrpc_http_add_header(struct xrpc_http_call *call, const char *name, const char *value);
/* Each ends the call: with JSON (takes the reference; NULL is told as no memory), with a text
 * (taken, by malloc), or with a problem, whose `field` (NULL: none) is what was wrong. */
void xrpc_http_answer(struct xrpc_http_call *call, unsigned status, json_t *body);
void xrpc_http_answer_text(
	struct xrpc_http_call *call, unsigned status, const char *content_type, char *text);
void xrpc_http_problem(struct xrpc_http_call *call, unsigned status, const char *field,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A problem with more members (taken; may be NULL). */
void xrpc_http_problem_with(struct xrpc_http_call *call, unsigned status, const char *field,
	json_t *members, const char *text);

/*
 * An answer without an end. `read` fills the buffer and returns how much; 0: nothing now, and it is
 * asked again after xrpc_http_wake(); -1: the end; -2: a failure, which the client sees. `gone` is
 * the last that is heard of the call; it comes at once when the client closes its side, and after
 * `silence_ms` or little more when its machine is silent (0: when the system notices). Both run on
 * the server's threads. xrpc_http_wake() is for any thread that makes sure, by a lock which `gone`
 * takes, that the call is still there.
 */
struct xrpc_http_stream {
	ssize_t (*read)(void *arg, char *buf, size_t size);
	void (*gone)(void *arg);
	void *arg;
	uint32_t silence_ms;
};
void xrpc_http_answer_stream(struct xrpc_http_call *call, const char *content_type,
	const struct xrpc_http_stream *stream);
void xrpc_http_wake(struct xrpc_http_call *call);
/* Whether the machine of a stream's client has acknowledged all that was sent to it, or something
 * in the last `within_ms`, or in two round trips more where these are long. For those who may wake
 * it.
 */
bool xrpc_http_is_heard(const struct xrpc_http_call *call, uint32_t within_ms);

#endif
