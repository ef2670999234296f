/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a gRPC server: the core's arguments, its port, the threads that take completions off
 * its queue, and the end. One of the threads looks every second for calls that take too long.
 *
 * Stopping: no more calls; those under way have a grace, then they are cancelled; then those that
 * their owners still do not end are given up, so that the core can go; then the queue is emptied.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grpc/compression.h>
#include <grpc/support/log.h>

#include "lib/reactor/address.h"
#include "lib/rpc/grpc_private.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"

#define NR_THREADS         2
#define NR_CALLS_MAX       4096
#define REQUEST_BYTES_MAX  (256 << 10)
#define MEMORY_BYTES_MAX   (256 << 20)
#define REQUEST_TIMEOUT_MS 10000
#define HANDSHAKE_MS       10000
#define IDLE_MS            600000 /* a connection without calls */
#define KEEPALIVE_MS       30000  /* a connection that says nothing is asked … */
#define KEEPALIVE_WAIT_MS  20000  /* … and has so long to answer */
#define PING_MS_MIN        5000   /* clients may ask so often */
#define METADATA_BYTES_MAX (16 << 10)
#define CANCEL_MS          1000
#define SHUTDOWN_MS        5000

uint64_t xrpc__grpc_now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

/* ---- what the core says ---- */

/* The last error that the core logged on this thread: it has no other way to tell a reason. */
static _Thread_local char core_said[256];

static void on_core_log(gpr_log_func_args *args)
{
	if (args->severity == GPR_LOG_SEVERITY_ERROR) {
		snprintf(core_said, sizeof(core_said), "%s", args->message);
	}
}

/* ---- threads ---- */

static void look_for_late_calls(struct xrpc_grpc *server)
{
	uint64_t now_ns = xrpc__grpc_now_ns();
	struct xu_list *node;

	pthread_mutex_lock(&server->mutex);
	xu_list_for_each (node, &server->calls) {
		xrpc__grpc_hurry(xu_list_entry(node, struct xrpc_grpc_call, link), now_ns);
	}
	/* What could not be had when memory was short. */
	while (server->nr_awaited < XRPC__GRPC_AWAITED && xrpc__grpc_accept(server)) {
	}
	pthread_mutex_unlock(&server->mutex);
}

static void on_shut_down(struct xrpc_grpc *server)
{
	pthread_mutex_lock(&server->mutex);
	server->is_shut_down = true;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->mutex);
}

static void *thread_main(void *arg)
{
	struct xrpc_grpc *server = arg;
	bool is_first = atomic_fetch_add(&server->nr_begun, 1) == 0;
	uint64_t looked_ns = xrpc__grpc_now_ns();

	for (;;) {
		gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
		struct xrpc__grpc_tag *tag;
		grpc_event event;

		if (is_first && xrpc__grpc_now_ns() - looked_ns >= 1000000000u) {
			look_for_late_calls(server);
			looked_ns = xrpc__grpc_now_ns();
		}
		if (is_first) {
			deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
				gpr_time_from_seconds(1, GPR_TIMESPAN));
		}
		event = grpc_completion_queue_next(server->queue, deadline, NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN) {
			return NULL;
		}
		if (event.type == GRPC_OP_COMPLETE) {
			tag = event.tag;
			atomic_load_explicit(&tag->is_handed, memory_order_acquire);
			if (tag->call == NULL) {
				on_shut_down(server);
			} else {
				tag->fn(tag->call, event.success);
			}
		}
	}
}

/* ---- the core ---- */

static grpc_arg integer(const char *key, uint32_t value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER,
		.key = (char *)(uintptr_t)key,
		.value.integer = (int)value};
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value != 0 ? value : otherwise;
}

static grpc_server *make_core(const struct xrpc_grpc_opts *opts)
{
	grpc_resource_quota *quota = grpc_resource_quota_create("xsan");
	grpc_arg args[] = {
		/* Two daemons on one port would share its clients. */
		integer(GRPC_ARG_ALLOW_REUSEPORT, 0),
		integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			or_default(opts->request_bytes_max, REQUEST_BYTES_MAX)),
		integer(GRPC_ARG_MAX_CONCURRENT_STREAMS,
			or_default(opts->nr_calls_max, NR_CALLS_MAX)),
		integer(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX),
		integer(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
		integer(GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS),
		integer(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
		integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_WAIT_MS),
		integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_MS_MIN),
		/* A small message that grows when it is unpacked would pass the limit. */
		integer(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
			1u << GRPC_COMPRESS_NONE),
		integer(GRPC_ARG_ENABLE_CHANNELZ, 0),
		{.type = GRPC_ARG_POINTER,
			.key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
			.value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
	};
	const grpc_channel_args all = {sizeof(args) / sizeof(args[0]), args};
	grpc_server *core;

	grpc_resource_quota_resize(quota, or_default(opts->memory_bytes_max, MEMORY_BYTES_MAX));
	core = grpc_server_create(&all, NULL);
	grpc_resource_quota_unref(quota);
	return core;
}

/* ---- listening ---- */

static int check_opts(const struct xrpc_grpc_opts *opts, struct xu_error *err)
{
	struct sockaddr_storage addr;

	if (xr_address_parse(opts->address, opts->port, &addr) < 0) {
		return xu_error_set(err, -EINVAL,
			"gRPC: '%.64s' is no numeric IPv4 or IPv6 address", opts->address);
	}
	if ((opts->cert_path == NULL) != (opts->key_path == NULL) ||
		(opts->client_ca_path != NULL && opts->cert_path == NULL)) {
		return xu_error_set(err, -EINVAL,
			"gRPC: TLS needs both a certificate and its key; a CA for clients goes "
			"with them");
	}
	if (opts->role_of == NULL && opts->client_ca_path == NULL && !opts->is_open &&
		!xr_address_is_loopback(opts->address)) {
		return xu_error_set(err, -EPERM,
			"gRPC: %s is not a loopback address, and there is neither a token nor a CA "
			"for clients' certificates: anybody who reaches this machine could change "
			"what is registered; set one of them, or listen on 127.0.0.1",
			opts->address);
	}
	return 0;
}

static int listen_on(
	struct xrpc_grpc *server, const struct xrpc_grpc_opts *opts, struct xu_error *err)
{
	grpc_server_credentials *credentials = xrpc__grpc_credentials(server, opts, err);
	char where[96];
	int port;

	if (credentials == NULL) {
		return xu_error_prefix(err, "gRPC on %s port %u", opts->address, opts->port);
	}
	snprintf(where, sizeof(where), strchr(opts->address, ':') != NULL ? "[%s]:%u" : "%s:%u",
		opts->address, opts->port);
	core_said[0] = '\0';
	port = grpc_server_add_http2_port(server->core, where, credentials);
	grpc_server_credentials_release(credentials);
	if (port <= 0) {
		return xu_error_set(err,
			strstr(core_said, "in use") != NULL ? -EADDRINUSE : -EADDRNOTAVAIL,
			"gRPC cannot listen on %s: %.200s", where,
			core_said[0] != '\0' ? core_said : "the port is taken or not allowed");
	}
	server->port = (uint16_t)port;
	return 0;
}

/* ---- life ---- */

void xrpc__grpc_unref(struct xrpc_grpc *server)
{
	if (atomic_fetch_sub_explicit(&server->nr_refs, 1, memory_order_acq_rel) == 1) {
		pthread_cond_destroy(&server->changed);
		pthread_mutex_destroy(&server->mutex);
		pthread_mutex_destroy(&server->pem_mutex);
		xrpc_pem_clear(&server->pem);
		free(server);
	}
}

static struct xrpc_grpc *new_server(const struct xrpc_grpc_opts *opts)
{
	struct xrpc_grpc *server = calloc(1, sizeof(*server));
	pthread_condattr_t attr;

	if (server == NULL) {
		return NULL;
	}
	atomic_init(&server->nr_refs, 1);
	server->log = opts->log;
	server->methods = opts->methods;
	server->role_of = opts->role_of;
	server->audit = opts->audit;
	server->arg = opts->arg;
	server->nr_calls_max = or_default(opts->nr_calls_max, NR_CALLS_MAX);
	server->request_timeout_ns =
		or_default(opts->request_timeout_ms, REQUEST_TIMEOUT_MS) * UINT64_C(1000000);
	xu_list_init(&server->calls);
	xu_list_init(&server->watches);
	pthread_mutex_init(&server->mutex, NULL);
	pthread_mutex_init(&server->pem_mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->changed, &attr);
	pthread_condattr_destroy(&attr);
	return server;
}

static int start_threads(struct xrpc_grpc *server, uint32_t count, struct xu_error *err)
{
	int rc = 0;

	count = count > XRPC__GRPC_THREADS_MAX ? XRPC__GRPC_THREADS_MAX : count;
	while (rc == 0 && server->nr_threads < count) {
		rc = -pthread_create(
			&server->threads[server->nr_threads], NULL, thread_main, server);
		server->nr_threads += rc == 0;
	}
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "gRPC: starting a thread");
}

int xrpc_grpc_start(
	const struct xrpc_grpc_opts *opts, struct xrpc_grpc **ret_server, struct xu_error *err)
{
	struct xrpc_grpc *server;
	int rc = check_opts(opts, err);

	if (rc != 0) {
		return rc;
	}
	server = new_server(opts);
	if (server == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "gRPC: making a server");
	}
	gpr_set_log_function(on_core_log);
	grpc_init();
	server->core = make_core(opts);
	server->queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server->core, server->queue, NULL);
	rc = listen_on(server, opts, err);
	if (rc == 0) {
		grpc_server_start(server->core);
		rc = start_threads(server, or_default(opts->nr_threads, NR_THREADS), err);
	}
	if (rc != 0) {
		xrpc_grpc_stop(server, 0);
		return rc;
	}
	look_for_late_calls(server); /* awaits the first calls */
	*ret_server = server;
	return 0;
}

uint16_t xrpc_grpc_port(const struct xrpc_grpc *server)
{
	return server->port;
}

void xrpc_grpc_stats(struct xrpc_grpc *server, struct xrpc_grpc_stats *ret_stats)
{
	*ret_stats = (struct xrpc_grpc_stats){
		.nr_calls = atomic_load(&server->nr_calls),
		.nr_refused = atomic_load(&server->nr_refused),
		.nr_messages_sent = atomic_load(&server->nr_messages_sent),
	};
	pthread_mutex_lock(&server->mutex);
	ret_stats->nr_now = server->nr_now;
	pthread_mutex_unlock(&server->mutex);
}

/* ---- the end ---- */

/* Waits until no call is left, or until the core has shut down, and says whether. */
static bool wait_for(struct xrpc_grpc *server, bool for_core, uint32_t timeout_ms)
{
	struct timespec end;
	bool is_over;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	pthread_mutex_lock(&server->mutex);
	for (;;) {
		is_over = for_core ? server->is_shut_down : server->nr_now == 0;
		if (is_over || rc != 0) {
			break;
		}
		rc = pthread_cond_timedwait(&server->changed, &server->mutex, &end);
	}
	pthread_mutex_unlock(&server->mutex);
	return is_over;
}

static void abandon_calls(struct xrpc_grpc *server)
{
	struct xu_list *node;

	pthread_mutex_lock(&server->mutex);
	xu_warn(server->log, "gRPC stops with %u calls that nobody has ended", server->nr_now);
	xu_list_for_each (node, &server->calls) {
		xrpc__grpc_abandon(xu_list_entry(node, struct xrpc_grpc_call, link));
	}
	pthread_mutex_unlock(&server->mutex);
}

void xrpc_grpc_quiesce(struct xrpc_grpc *server)
{
	bool was_stopping;

	pthread_mutex_lock(&server->mutex);
	was_stopping = server->is_stopping;
	server->is_stopping = true;
	pthread_mutex_unlock(&server->mutex);
	if (!was_stopping) {
		grpc_server_shutdown_and_notify(server->core, server->queue, &server->shutdown_tag);
		xrpc__grpc_health_stop(server);
	}
	pthread_mutex_lock(&server->mutex);
	while (server->nr_in_methods != 0) {
		pthread_cond_wait(&server->changed, &server->mutex);
	}
	pthread_mutex_unlock(&server->mutex);
}

static void stop_core(struct xrpc_grpc *server, uint32_t grace_ms)
{
	xrpc_grpc_quiesce(server);
	wait_for(server, false, grace_ms);
	/* Also when there are none: it ends the connections, which otherwise wait for the client.
	 */
	grpc_server_cancel_all_calls(server->core);
	if (!wait_for(server, false, CANCEL_MS)) {
		abandon_calls(server);
	}
}

void xrpc_grpc_stop(struct xrpc_grpc *server, uint32_t grace_ms)
{
	if (server == NULL) {
		return;
	}
	if (server->nr_threads == 0) { /* it has never served */
		grpc_server_shutdown_and_notify(server->core, server->queue, &server->shutdown_tag);
		grpc_completion_queue_next(
			server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	} else {
		stop_core(server, grace_ms);
		if (!wait_for(server, true, SHUTDOWN_MS)) {
			/* Better to leave it where it is than to pull it away under its threads. */
			xu_err(server->log, "gRPC: the core does not end; its memory is lost");
			return;
		}
	}
	grpc_server_destroy(server->core);
	grpc_completion_queue_shutdown(server->queue);
	for (uint32_t i = 0; i < server->nr_threads; i++) {
		pthread_join(server->threads[i], NULL);
	}
	if (server->nr_threads == 0) {
		grpc_completion_queue_next(
			server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	}
	grpc_completion_queue_destroy(server->queue);
	grpc_shutdown_blocking();
	xrpc__grpc_unref(server);
}
