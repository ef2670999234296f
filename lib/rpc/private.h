/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/rpc: between the server, its sockets and its connections. */
#ifndef XRPC_PRIVATE_H
#define XRPC_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/rpc/frame.h"
#include "lib/rpc/server.h"

#define XRPC__NAME_SIZE 128u /* of a socket, for people */

struct xrpc_tls_session;

struct xrpc_server {
	struct xr_reactor *reactor;
	struct xrpc_service *service;
	char name[XRPC__NAME_SIZE]; /* may be cut */
	int fd;
	bool is_stopping;

	/* A UNIX socket. */
	char *path; /* NULL: TCP */
	dev_t path_dev;
	ino_t path_ino;

	/* TCP. */
	bool is_tcp;
	uint16_t port;
	char *token;
	struct xrpc_tls *tls;

	struct xr_op accept_op;
	struct xr_timer timer; /* until accepting is tried again, or until the end of the grace */
	struct xu_list connections; /* struct xrpc_conn::link, oldest first */
	uint32_t nr_connections;
	uint32_t nr_unready;
	uint64_t guesses_since_ns; /* wrong tokens of all connections in one second */
	uint32_t nr_guesses;
	struct xr_msg stopped_msg;
	void (*stopped_cb)(void *arg);
	void *stopped_arg;
};

/* What a connection's timer is for; on TCP only. */
enum xrpc__timing {
	XRPC__TIMING_NONE,
	XRPC__TIMING_IDLE,
	XRPC__TIMING_REQUEST, /* from its first byte to its last */
	XRPC__TIMING_SEND,
	XRPC__TIMING_LINGER,
	XRPC__TIMING_PUNISH, /* a wrong token is answered late */
	XRPC__TIMING_HOLD,   /* too many wrong tokens lately: this one is not looked at yet */
};

struct xrpc_conn {
	struct xrpc_server *server;
	struct xu_list link;
	int fd;
	char peer[XR_ADDRESS_SIZE + 16]; /* for people */
	bool is_ready;                   /* may call: it has shown what the server asks for */
	bool is_in_call;                 /* xrpc_call() is on the stack */
	bool is_at_end;                  /* the client sends no more */
	bool must_close;                 /* when what is to be sent has been sent */
	bool is_broken;                  /* nothing more can be encrypted for it */
	bool is_end_told;                /* by TLS */
	bool is_dropped;
	bool was_sending;     /* when the server that stops looked last */
	uint32_t nr_failures; /* wrong tokens */
	struct xr_op op;
	struct iovec iov;
	struct xr_timer timer;    /* what it waits for takes too long */
	struct xr_timer deadline; /* it is not ready in time */
	enum xrpc__timing timing;
	struct xrpc_frame frame;
	char *buffer;
	size_t len, size;
	char *answer;
	size_t answer_len, answer_at; /* so many bytes of it have been encrypted */
	struct xrpc_tls_session *tls; /* NULL: clear text */
};

static inline const struct xr_platform *xrpc__platform(const struct xrpc_server *server)
{
	return xr_reactor_platform(server->reactor);
}

/* ---- server.c ---- */

/* A connection has been freed. */
void xrpc__server_conn_ended(struct xrpc_server *server);

/* ---- listen.c ---- */

/* Sets server->fd, name, path or port. */
int xrpc__listen_unix(struct xrpc_server *server, const char *path, struct xu_error *err);
int xrpc__listen_tcp(
	struct xrpc_server *server, const struct xrpc_tcp_opts *opts, struct xu_error *err);
/* Removes a UNIX socket's file, unless somebody has put another in its place. */
void xrpc__listen_unlink(const struct xrpc_server *server);

/* ---- conn.c ---- */

/* Serves the client at `fd`, which is taken when it succeeds. -ENOMEM. */
int xrpc__conn_start(struct xrpc_server *server, int fd);
/* The server stops: ends it if it waits for its client in this operation, or is being punished. It
 * is freed later, or at once. */
void xrpc__conn_stop(struct xrpc_conn *conn, enum xr_opcode opcode);
/* The server that stops asks again and again: ends it if its client has not taken an answer since
 * it was asked last. */
void xrpc__conn_hurry(struct xrpc_conn *conn);
/* Ends one that is not ready, in the same way. */
void xrpc__conn_drop(struct xrpc_conn *conn);

/* ---- auth.c ---- */

enum xrpc__verdict {
	XRPC__AUTH_RIGHT,
	XRPC__AUTH_WRONG, /* another token */
	XRPC__AUTH_OTHER, /* not the method `authenticate` */
};

/* Judges the first call of a client. `ret_answer` is its answer (free() it); NULL: none is wanted,
 * or no memory. */
enum xrpc__verdict xrpc__auth_check(
	const char *token, const char *text, size_t len, char **ret_answer);

/* -EINVAL with a sentence: it is too short, too long or not printable. */
int xrpc__token_check(const char *token, struct xu_error *err);
/* Compares in a time that only the given one's length decides. */
bool xrpc__token_is_same(const char *token, const char *given, size_t given_len);

/* ---- jsonrpc.c ---- */

/* The text of an answer to `id` (borrowed); `value` is taken. NULL: out of memory. */
char *xrpc__answer_text(json_t *id, const char *key, json_t *value);
json_t *xrpc__error_object(int code, const char *message);

#endif
