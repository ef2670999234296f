/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the gRPC server: between its life, its calls and its health service. */
#ifndef XRPC_GRPC_PRIVATE_H
#define XRPC_GRPC_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "lib/reactor/platform.h"
#include "lib/rpc/grpc.h"
#include "lib/rpc/pem.h"
#include "lib/util/error.h"
#include "lib/util/list.h"

#define XRPC__GRPC_THREADS_MAX 16u
#define XRPC__GRPC_WATCHES_MAX 64u          /* of the health service, which needs no token */
#define XRPC__GRPC_TAIL_NS     30000000000u /* for a client to take the end of its call */
#define XRPC__GRPC_AWAITED     8u

/* What a completion is for. */
struct xrpc__grpc_tag {
	void (*fn)(struct xrpc_grpc_call *call, bool is_good);
	struct xrpc_grpc_call *call; /* NULL: the server's shutdown */
	/* What was done before the tag went to the core is seen by who gets it back. The core sees
	 * to that too, but by means that a thread sanitizer does not know. */
	_Atomic bool is_handed;
};

static inline void xrpc__grpc_hand(struct xrpc__grpc_tag *tag)
{
	atomic_store_explicit(&tag->is_handed, true, memory_order_release);
}

struct xrpc_grpc {
	_Atomic uint32_t nr_refs; /* its owner's, and each call's */
	struct xu_logger *log;
	const struct xrpc_grpc_method *methods;
	int (*role_of)(
		void *arg, const struct xrpc_grpc_peer *peer, char ret_who[XRPC_GRPC_WHO_SIZE]);
	void (*audit)(void *arg, const struct xrpc_grpc_audit *audit);
	void *arg;
	uint32_t nr_calls_max;
	uint64_t request_timeout_ns;
	uint16_t port;

	grpc_server *core;
	grpc_completion_queue *queue;
	pthread_t threads[XRPC__GRPC_THREADS_MAX];
	uint32_t nr_threads;
	_Atomic uint32_t nr_begun; /* threads; the first looks for late calls */
	struct xrpc__grpc_tag shutdown_tag;

	pthread_mutex_t mutex;  /* for what follows; taken before a call's */
	pthread_cond_t changed; /* a call ended, the core has shut down */
	struct xu_list calls;   /* struct xrpc_grpc_call::link */
	uint32_t nr_now;
	uint32_t nr_awaited; /* calls that the core may fill */
	uint32_t nr_in_methods;
	bool is_stopping, is_shut_down;
	struct xu_list watches; /* struct watch, of the health service */
	uint32_t nr_watches;

	/* TLS. The core asks for a new certificate with each connection. */
	pthread_mutex_t pem_mutex;
	struct xrpc_pem pem;
	bool is_pem_new;

	_Atomic uint64_t nr_calls, nr_refused, nr_messages_sent;
};

struct xrpc_grpc_call {
	_Atomic uint32_t nr_refs; /* its owner's, and one for each completion that is to come */
	struct xrpc_grpc *server;
	struct xu_list link;
	const struct xrpc_grpc_method *method;
	bool is_of_health;
	struct xrpc__grpc_tag accepted, received, closed, sent, ended;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *bytes; /* of the request, until it is unpacked */
	ProtobufCMessage *request;
	int was_cancelled;         /* the core's answer */
	_Atomic uint64_t until_ns; /* cancelled then; 0: the client's deadline counts */
	_Atomic bool is_cancelled;
	char who[XRPC_GRPC_WHO_SIZE], from[XR_ADDRESS_SIZE]; /* for the audit log */

	pthread_mutex_t mutex; /* for what follows, and for batches of sends */
	grpc_call *core;
	bool is_greeted; /* the initial metadata went out */
	bool is_sending; /* a message of a stream */
	bool is_ended;   /* by its owner */
	bool is_closed;  /* for the core it is over */
	bool is_dead;    /* the server has stopped; the core is not to be called any more */
	bool is_told;    /* on_cancel was or is being called */
	grpc_byte_buffer *message; /* on its way */
	enum xrpc_grpc_code end_code;
	struct xu_error end_err;
	const struct xrpc_grpc_stream_ops *ops;
	void *arg;
};

/* ---- grpc.c ---- */

void xrpc__grpc_unref(struct xrpc_grpc *server);
uint64_t xrpc__grpc_now_ns(void);

/* ---- grpc_tls.c ---- */

/* What the core listens with; NULL with a sentence. The core asks the server for it until it ends.
 */
grpc_server_credentials *xrpc__grpc_credentials(
	struct xrpc_grpc *server, const struct xrpc_grpc_opts *opts, struct xu_error *err);
/* Fills in where it comes from and its certificate; *ret_context (may be NULL) is to be released
 * when that is not used any more. */
void xrpc__grpc_peer(
	struct xrpc_grpc_call *call, struct xrpc_grpc_peer *peer, grpc_auth_context **ret_context);

/* ---- grpc_call.c ---- */

/* Asks the core for one more call. False: no memory, or it stops. Under the server's mutex. */
bool xrpc__grpc_accept(struct xrpc_grpc *server);
/* Gives up a call that its owner does not end: the core may go. Under the server's mutex. */
void xrpc__grpc_abandon(struct xrpc_grpc_call *call);
/* Cancels a call that took too long. Under the server's mutex. */
void xrpc__grpc_hurry(struct xrpc_grpc_call *call, uint64_t now_ns);

/* ---- grpc_health.c ---- */

extern const struct xrpc_grpc_method xrpc__grpc_health[]; /* their arg is the server */
/* Tells who watches that the server stops. */
void xrpc__grpc_health_stop(struct xrpc_grpc *server);

#endif
