/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A gRPC server over the C core: tables of methods, each answered at once or later, from any
 * thread. A few threads of its own carry bytes and call the methods; those must not wait.
 *
 * Everything is bounded: the size of a request, the calls at a time, the memory of connections, how
 * long a client may take to say what it calls for, how much of a stream waits for a slow client
 * (one message), how long stopping takes. Deadlines and cancellation end a call on this side too.
 * Every server also has the standard health service (grpc.health.v1), which needs no token and says
 * SERVING for "" and for each service of the table until the server stops.
 *
 * As on other TCP servers a client shows a certificate (TLS), a token, or both, as the server was
 * made; a server with neither listens on a loopback address only.
 */
#ifndef XRPC_GRPC_H
#define XRPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct xrpc_grpc;
struct xrpc_grpc_call;
struct xu_error;
struct xu_logger;

/* The numbers of gRPC. */
enum xrpc_grpc_code {
	XRPC_GRPC_OK = 0,
	XRPC_GRPC_CANCELLED = 1,
	XRPC_GRPC_UNKNOWN = 2,
	XRPC_GRPC_INVALID_ARGUMENT = 3,
	XRPC_GRPC_DEADLINE_EXCEEDED = 4,
	XRPC_GRPC_NOT_FOUND = 5,
	XRPC_GRPC_ALREADY_EXISTS = 6,
	XRPC_GRPC_PERMISSION_DENIED = 7,
	XRPC_GRPC_RESOURCE_EXHAUSTED = 8,
	XRPC_GRPC_FAILED_PRECONDITION = 9,
	XRPC_GRPC_ABORTED = 10,
	XRPC_GRPC_OUT_OF_RANGE = 11,
	XRPC_GRPC_UNIMPLEMENTED = 12,
	XRPC_GRPC_INTERNAL = 13,
	XRPC_GRPC_UNAVAILABLE = 14,
	XRPC_GRPC_UNAUTHENTICATED = 16,
};

/* The code for -errno. */
enum xrpc_grpc_code xrpc_grpc_code_of(int rc);

/*
 * One method. `fn` is called with a request that has been read whole and is of type `request`; it
 * stays until the call is ended. `fn`, or whoever it hands the call to, ends each call exactly once
 * with xrpc_grpc_answer(), xrpc_grpc_fail() or xrpc_grpc_end(), also one that has been cancelled.
 */
struct xrpc_grpc_method {
	const char *name; /* "/package.Service/Method"; NULL ends the table */
	const ProtobufCMessageDescriptor *request;
	uint32_t role;     /* who calls it needs this one or a higher one; 0: anybody may */
	bool is_streaming; /* any number of answers */
	bool is_audited;
	void (*fn)(struct xrpc_grpc_call *call, const ProtobufCMessage *request, void *arg);
};

/* Who calls. */
struct xrpc_grpc_peer {
	const char *from;  /* its numeric address */
	const char *token; /* what comes after "Bearer"; no text: it has a length */
	size_t token_len;
	const char *certificate; /* PEM, which the clients' CA has signed; NULL: none was shown */
	size_t certificate_len;
};

#define XRPC_GRPC_WHO_SIZE 256u

/* Called by the server's threads for each call that is over and whose method says so; must not
 * wait. */
struct xrpc_grpc_audit {
	const char *method, *who, *from;
	enum xrpc_grpc_code code;
};

struct xrpc_grpc_opts {
	const char *address; /* numeric IPv4 or IPv6 */
	uint16_t port;       /* 0: any; see xrpc_grpc_port() */
	/* TLS: PEM files as in lib/rpc/tls.h; see xrpc_grpc_set_pem(). NULL: clear text. */
	const char *cert_path, *key_path, *client_ca_path;
	/* The role of who calls, and a name for the log; 0: nobody's; -EBUSY: its address has tried
	 * too often. On the server's threads; must not wait. NULL: everybody may do everything. */
	int (*role_of)(
		void *arg, const struct xrpc_grpc_peer *peer, char ret_who[XRPC_GRPC_WHO_SIZE]);
	void (*audit)(void *arg, const struct xrpc_grpc_audit *audit); /* may be NULL */
	bool is_open; /* may be reached from elsewhere without either, or in clear text */
	const struct xrpc_grpc_method *methods; /* borrowed */
	void *arg;                              /* of role_of and of the methods */
	uint32_t nr_threads;                    /* 0: 2 */
	uint32_t nr_calls_max;       /* 0: 4096; one more is answered with RESOURCE_EXHAUSTED */
	uint32_t request_bytes_max;  /* 0: 256 KiB */
	uint32_t memory_bytes_max;   /* of connections; 0: 256 MiB */
	uint32_t request_timeout_ms; /* until a request has come whole; 0: 10 s */
	struct xu_logger *log;       /* NULL: silent */
};

/*
 * Listens and serves. `opts` is borrowed during the call, the table of methods until the end.
 * -EPERM: the address is not a loopback address, nobody would have to authenticate, and it is not
 * said to be open; -EINVAL, -EADDRINUSE and others with a sentence. Any thread, blocks.
 */
int xrpc_grpc_start(
	const struct xrpc_grpc_opts *opts, struct xrpc_grpc **ret_server, struct xu_error *err);

struct xrpc_pem;

/* Another certificate, key and CA from the next connection on; those that there are go on. Of a
 * server with TLS; whether clients show certificates stays as it was. -EINVAL with a sentence, and
 * nothing changed. Any thread. */
int xrpc_grpc_set_pem(struct xrpc_grpc *server, const struct xrpc_pem *pem, struct xu_error *err);

/* Takes no more calls: when it returns no method is running or will be called. Not from a method.
 */
void xrpc_grpc_quiesce(struct xrpc_grpc *server);

/*
 * Takes no more calls; those under way have `grace_ms` to end, then they are cancelled. Returns
 * when all are over, or a second after they were cancelled: what ends a call later finds it dead,
 * and does not call back. Blocks; not from a method. NULL is fine.
 */
void xrpc_grpc_stop(struct xrpc_grpc *server, uint32_t grace_ms);

/* The TCP port it listens on. Any thread. */
uint16_t xrpc_grpc_port(const struct xrpc_grpc *server);

struct xrpc_grpc_stats {
	uint64_t nr_calls;   /* ever */
	uint64_t nr_refused; /* of them: no token, no method, too many */
	uint32_t nr_now;     /* under way */
	uint64_t nr_messages_sent;
};
void xrpc_grpc_stats(struct xrpc_grpc *server, struct xrpc_grpc_stats *ret_stats);

/* ---- calls; any thread ---- */

/* End a call: with a message; with an error and its sentence; with what has been sent so far. */
void xrpc_grpc_answer(struct xrpc_grpc_call *call, const ProtobufCMessage *message);
void xrpc_grpc_fail(struct xrpc_grpc_call *call, enum xrpc_grpc_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void xrpc_grpc_end(struct xrpc_grpc_call *call);

/* The client has gone, or its deadline has passed: nobody will see an answer. */
bool xrpc_grpc_is_cancelled(const struct xrpc_grpc_call *call);

/* ---- streams ---- */

/*
 * What happens to a stream, on the server's threads: `on_ready`, the message was taken, another one
 * may be sent; `on_cancel`, once, nobody listens any more: end the call. They must not wait, and
 * may come while another thread ends the call. `on_free` (NULL: none) is the last: nothing of the
 * stream's will be called after it.
 */
struct xrpc_grpc_stream_ops {
	void (*on_ready)(struct xrpc_grpc_call *call, void *arg);
	void (*on_cancel)(struct xrpc_grpc_call *call, void *arg);
	void (*on_free)(void *arg);
};

/* Makes a stream of a call, in its method. When the client has gone already, on_cancel is called
 * by this. The client learns that the stream stands from its first message. */
void xrpc_grpc_stream(
	struct xrpc_grpc_call *call, const struct xrpc_grpc_stream_ops *ops, void *arg);

/* Sends one message. 0, also when nobody listens any more, and no on_ready comes then; -EBUSY: the
 * last one was not taken yet. */
int xrpc_grpc_send(struct xrpc_grpc_call *call, const ProtobufCMessage *message);

#endif
