/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The HTTP server: libmicrohttpd's threads read a request, on_request() collects its body, finds
 * its route and calls the route's function. A call belongs to the thread that serves its connection
 * but for what its mutex guards, and is freed by on_completed(), the last of it.
 *
 * A call whose answer comes later is suspended: its connection is not looked at until the answer is
 * there (http_call.c), from whatever thread, and then on_request() runs once more and queues it.
 * Between those two nobody else resumes it, so it cannot go away meanwhile. A stream sleeps the
 * same way whenever it has nothing to say; meanwhile http_watch.c sees when its client goes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/reactor/address.h"
#include "lib/rpc/http_private.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/random.h"

#define CONNECTIONS_MAX 4096u
#define NR_THREADS      2u
#define IDLE_S          60u
#define STOP_NS         2000000000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- a call's beginning and end ---- */

/* A caller's own identity of the request is kept when it is a decent one. */
static void name_request(struct xrpc_http_call *call)
{
	const char *given = xrpc_http_header(call, "X-Request-Id");
	size_t len = given != NULL ? strlen(given) : 0;
	bool is_decent = len > 0 && len < XRPC_HTTP_ID_SIZE;

	for (size_t i = 0; is_decent && i < len; i++) {
		is_decent = given[i] > ' ' && given[i] <= '~' && given[i] != '"';
	}
	if (is_decent) {
		memcpy(call->id, given, len + 1);
		return;
	}
	snprintf(call->id, sizeof(call->id), "%016llx-%llx",
		(unsigned long long)call->http->first_id,
		(unsigned long long)atomic_fetch_add(&call->http->next_id, 1));
}

static void name_peer(struct xrpc_http_call *call)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct sockaddr_storage addr = {0};
	uint16_t port;

	if (info == NULL || info->client_addr == NULL) {
		return;
	}
	memcpy(&addr, info->client_addr,
		info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
							 : sizeof(struct sockaddr_in));
	xr_address_format(&addr, call->from, &port);
}

static void free_call(struct xrpc_http_call *call)
{
	for (uint32_t i = 0; i < call->nr_headers; i++) {
		free(call->headers[i].name);
		free(call->headers[i].value);
	}
	if (call->response != NULL) {
		MHD_destroy_response(call->response);
	}
	pthread_mutex_destroy(&call->mutex);
	free(call->path);
	free(call->pieces);
	free(call->body);
	free(call);
}

static struct xrpc_http_call *new_call(struct xrpc_http *http, struct MHD_Connection *connection,
	const char *path, const char *method)
{
	struct xrpc_http_call *call = calloc(1, sizeof(*call));

	if (call == NULL) {
		return NULL;
	}
	pthread_mutex_init(&call->mutex, NULL);
	call->http = http;
	call->connection = connection;
	call->method = method;
	call->path = strdup(path);
	call->pieces = strdup(path);
	if (call->path == NULL || call->pieces == NULL) {
		free_call(call);
		return NULL;
	}
	name_request(call);
	name_peer(call);
	pthread_mutex_lock(&http->calls_mutex);
	call->next = http->calls;
	call->at = &http->calls;
	if (call->next != NULL) {
		call->next->at = &call->next;
	}
	http->calls = call;
	pthread_mutex_unlock(&http->calls_mutex);
	return call;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode code)
{
	struct xrpc_http_call *call = *state;
	struct xrpc_http *http;

	if (call == NULL) {
		return;
	}
	http = call->http;
	xrpc__http_unwatch(call);
	if (call->stream.gone != NULL) {
		call->stream.gone(call->stream.arg);
	}
	pthread_mutex_lock(&http->calls_mutex);
	*call->at = call->next;
	if (call->next != NULL) {
		call->next->at = call->at;
	}
	pthread_mutex_unlock(&http->calls_mutex);
	free_call(call);
	*state = NULL;
}

/* ---- routes ---- */

/* Compares a path with a route's, piece by piece; fills the segments. Cuts `pieces`. */
static bool fits(const char *pattern, char *pieces, const char *segments[XRPC__HTTP_SEGMENTS])
{
	uint32_t nr_segments = 0;

	while (*pattern == '/' && *pieces == '/') {
		size_t want = strcspn(pattern + 1, "/"), have = strcspn(pieces + 1, "/");

		if (pattern[1] == '{') {
			if (have == 0 || nr_segments == XRPC__HTTP_SEGMENTS) {
				return false;
			}
			segments[nr_segments++] = pieces + 1;
		} else if (want != have || memcmp(pattern + 1, pieces + 1, want) != 0) {
			return false;
		}
		pattern += 1 + want;
		pieces += 1 + have;
	}
	if (*pattern != '\0' || *pieces != '\0') {
		return false;
	}
	for (uint32_t i = 0; i < nr_segments; i++) {
		char *end = (char *)(uintptr_t)segments[i] + strcspn(segments[i], "/");

		*end = '\0';
	}
	return true;
}

/* The route of a call, or what other methods there are at its path. */
static void find_route(struct xrpc_http_call *call, char *allowed, size_t size)
{
	const char *method = strcmp(call->method, "HEAD") == 0 ? "GET" : call->method;
	const struct xrpc_http_route *route;
	size_t len = 0;

	allowed[0] = '\0';
	for (route = call->http->opts.routes; route->method != NULL; route++) {
		strcpy(call->pieces, call->path);
		if (!fits(route->path, call->pieces, call->segments)) {
			continue;
		}
		if (strcmp(route->method, method) == 0) {
			call->route = route;
			return;
		}
		if (len < size) {
			len += (size_t)snprintf(allowed + len, size - len, "%s%s",
				len != 0 ? ", " : "", route->method);
		}
	}
}

static void refuse_for_now(struct xrpc_http_call *call, const char *of_what)
{
	atomic_fetch_add(&call->http->nr_refused, 1);
	xrpc_http_add_header(call, "Retry-After", "1");
	xrpc_http_problem(
		call, 429, NULL, "too many %s from %s in this second", of_what, call->from);
}

/* Whether the call may go to its route; else it has been answered. */
static bool check_call(struct xrpc_http_call *call)
{
	struct xrpc_access *access = call->http->opts.access;
	const char *length = xrpc_http_header(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
	char allowed[64];

	if (!xrpc_access_may_call(access, call->from)) {
		refuse_for_now(call, "calls");
		return false;
	}
	find_route(call, allowed, sizeof(allowed));
	if (call->route == NULL && allowed[0] == '\0') {
		xrpc_http_problem(call, 404, NULL, "there is nothing at %.200s", call->path);
		return false;
	}
	if (call->route == NULL) {
		xrpc_http_add_header(call, "Allow", allowed);
		xrpc_http_problem(call, 405, NULL, "%.200s takes %s, not %.16s", call->path,
			allowed, call->method);
		return false;
	}
	if (xrpc__http_identify(call) != 0) {
		refuse_for_now(call, "wrong tokens");
		return false;
	}
	if (call->who.role < call->route->role) {
		const bool is_nobody = call->who.role == XRPC_ROLE_NONE;

		atomic_fetch_add(&call->http->nr_refused, 1);
		xrpc_http_add_header(call, "WWW-Authenticate", "Bearer");
		xrpc_http_problem(call, is_nobody ? 401 : 403, NULL,
			"%s of %.200s needs the role '%s'%s", call->method, call->path,
			xrpc_role_names[call->route->role], is_nobody ? "; send a token" : "");
		return false;
	}
	if (length != NULL && strtoull(length, NULL, 10) > call->route->body_max) {
		xrpc_http_problem(call, 413, NULL,
			"the body has %.20s bytes, at most %zu are taken", length,
			call->route->body_max);
		return false;
	}
	return true;
}

/* ---- reading a request ---- */

/* Bytes of a body without a length that are too many are thrown away. */
static int add_body(struct xrpc_http_call *call, const char *data, size_t len)
{
	char *more;

	if (call->response != NULL || call->is_too_long) {
		return 0;
	}
	if (len > call->route->body_max - call->body_len) {
		call->is_too_long = true;
		return 0;
	}
	if (call->body_len + len + 1 > call->body_room) {
		size_t room = 2 * (call->body_len + len) + 1;

		more = realloc(call->body, room);
		if (more == NULL) {
			return -ENOMEM;
		}
		call->body = more;
		call->body_room = room;
	}
	memcpy(call->body + call->body_len, data, len);
	call->body_len += len;
	call->body[call->body_len] = '\0';
	return 0;
}

static void count_answer(struct xrpc_http_call *call)
{
	struct xrpc_http *http = call->http;

	atomic_fetch_add(&http->nr_calls, 1);
	if (call->status >= 500) {
		atomic_fetch_add(&http->nr_errors, 1);
	}
	if (!call->is_untimed && call->start_ns != 0) {
		atomic_fetch_add(&http->busy_us, (now_ns() - call->start_ns) / 1000);
		atomic_fetch_add(&http->nr_timed, 1);
	}
	if (http->opts.audit != NULL && strcmp(call->method, "GET") != 0 &&
		strcmp(call->method, "HEAD") != 0) {
		http->opts.audit(http->opts.arg, call, call->status);
	}
	xu_debug(http->opts.log, "%s %s from %s: %u (%s)", call->method, call->path, call->from,
		call->status, call->id);
}

static enum MHD_Result queue_answer(struct xrpc_http_call *call)
{
	count_answer(call);
	return MHD_queue_response(call->connection, call->status, call->response);
}

/* The whole request is here: asks the route. */
static enum MHD_Result run(struct xrpc_http_call *call)
{
	call->start_ns = now_ns();
	if (call->is_too_long) {
		xrpc_http_problem(
			call, 413, NULL, "the body has more than %zu bytes", call->route->body_max);
		return queue_answer(call);
	}
	call->route->fn(call, call->http->opts.arg);
	/* When the answer comes later it may be here by now, but it is this thread that will come
	 * by on_request() again, and not before this returns. */
	return call->is_later ? MHD_YES : queue_answer(call);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
	const char *method, const char *version, const char *data, size_t *len, void **state)
{
	struct xrpc_http_call *call = *state;

	if (call == NULL) {
		call = new_call(arg, connection, path, method);
		*state = call;
		return call == NULL ? MHD_NO : check_call(call) ? MHD_YES : queue_answer(call);
	}
	if (*len != 0) {
		if (add_body(call, data, *len) != 0) {
			return MHD_NO;
		}
		*len = 0;
		return MHD_YES;
	}
	return call->response != NULL ? queue_answer(call) : run(call);
}

/* ---- the server ---- */

static void on_problem(void *arg, const char *format, va_list args)
{
	struct xrpc_http *http = arg;
	char text[512];
	size_t len;

	vsnprintf(text, sizeof(text), format, args);
	len = strcspn(text, "\n");
	xu_debug(http->opts.log, "HTTP: %.*s", (int)len, text);
}

/* Whether a new connection is taken. Not by MHD_quiesce_daemon(): that was seen to end the process
 * ("Failed to remove listen FD from epoll set", libmicrohttpd 0.9.75), as it takes the listening
 * socket away from threads that may just do so themselves. */
static enum MHD_Result on_accept(void *arg, const struct sockaddr *addr, socklen_t len)
{
	const struct xrpc_http *http = arg;

	return http->is_quiesced ? MHD_NO : MHD_YES;
}

static int start_daemon(struct xrpc_http *http, struct xu_error *err)
{
	const bool has_tls = http->tls != NULL;
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			 MHD_USE_ERROR_LOG | (has_tls ? MHD_USE_TLS : 0);
	const struct xrpc_http_opts *opts = &http->opts;
	static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
	struct MHD_OptionItem items[10];
	uint32_t nr_threads = opts->nr_threads != 0 ? opts->nr_threads : NR_THREADS, n = 0;

	items[n++] = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, NULL};
	items[n++] = (struct MHD_OptionItem){MHD_OPTION_CONNECTION_LIMIT,
		opts->nr_connections_max != 0 ? opts->nr_connections_max : CONNECTIONS_MAX, NULL};
	if (nr_threads > 1) {
		items[n++] = (struct MHD_OptionItem){
			MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)nr_threads, NULL};
	}
	if (has_tls) {
		items[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, http->pem.cert};
		items[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, http->pem.key};
		items[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, priorities};
	}
	items[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
	http->daemon = MHD_start_daemon(flags, 0, on_accept, http, on_request, http,
		MHD_OPTION_EXTERNAL_LOGGER, on_problem, http, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, xrpc__http_on_connection, http,
		MHD_OPTION_LISTEN_SOCKET, http->fd, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
	if (http->daemon == NULL) {
		return xu_error_set(err, -EINVAL, "the HTTP server on %s port %u does not start",
			opts->address, http->port);
	}
	http->fd = -1; /* the daemon's now */
	return 0;
}

static int listen_at(struct xrpc_http *http, struct xu_error *err)
{
	const struct xr_platform *platform = xr_platform_linux();
	const struct xr_listen_opts opts = {
		.address = http->opts.address, .port = http->opts.port, .backlog = 1024};
	char text[XR_ADDRESS_SIZE];

	http->fd = platform->tcp_listen(platform, &opts, err);
	if (http->fd < 0) {
		return http->fd;
	}
	return platform->sock_name(platform, http->fd, false, text, &http->port);
}

int xrpc_http_start(
	const struct xrpc_http_opts *opts, struct xrpc_http **ret_http, struct xu_error *err)
{
	struct xrpc_http *http;
	struct sockaddr_storage addr;
	int rc;

	if (xr_address_parse(opts->address, opts->port, &addr) < 0) {
		return xu_error_set(err, -EINVAL,
			"'%.64s' is not a numeric IPv4 or IPv6 address to listen on",
			opts->address);
	}
	if (!opts->is_open) {
		rc = xrpc_access_check_exposure(
			opts->address, opts->pem != NULL, !xrpc_access_is_open(opts->access), err);
		if (rc != 0) {
			return rc;
		}
	}
	http = calloc(1, sizeof(*http));
	if (http == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the HTTP server");
	}
	http->opts = *opts;
	http->fd = http->watch_fd = http->watch_end_fd = -1;
	pthread_mutex_init(&http->tls_mutex, NULL);
	pthread_mutex_init(&http->calls_mutex, NULL);
	xr_platform_linux()->entropy(xr_platform_linux(), &http->first_id, sizeof(http->first_id));
	rc = opts->pem != NULL ? xrpc__http_tls_init(http, opts->pem, err) : 0;
	if (rc == 0) {
		rc = xrpc__http_watch_init(http, err);
	}
	if (rc == 0) {
		rc = listen_at(http, err);
	}
	if (rc == 0) {
		rc = start_daemon(http, err);
	}
	if (rc != 0) {
		xrpc_http_stop(http);
		return rc;
	}
	*ret_http = http;
	return 0;
}

void xrpc_http_quiesce(struct xrpc_http *http)
{
	http->is_quiesced = true;
}

/* The answers that are there are sent, as far as their clients take them in time. libmicrohttpd
 * ends the process when a connection still sleeps at its stop. */
static void end_calls(struct xrpc_http *http)
{
	uint64_t end_ns = now_ns() + STOP_NS;
	bool is_empty = false;

	while (!is_empty && now_ns() < end_ns) {
		pthread_mutex_lock(&http->calls_mutex);
		is_empty = http->calls == NULL;
		pthread_mutex_unlock(&http->calls_mutex);
		if (!is_empty) {
			usleep(2000);
		}
	}
	pthread_mutex_lock(&http->calls_mutex);
	for (struct xrpc_http_call *call = http->calls; call != NULL; call = call->next) {
		xrpc__http_rouse(call);
	}
	pthread_mutex_unlock(&http->calls_mutex);
}

void xrpc_http_stop(struct xrpc_http *http)
{
	if (http == NULL) {
		return;
	}
	if (http->daemon != NULL) {
		xrpc_http_quiesce(http);
		end_calls(http);
		MHD_stop_daemon(http->daemon);
	}
	xrpc__http_watch_fini(http);
	if (http->fd >= 0) {
		close(http->fd);
	}
	xrpc__http_tls_fini(http);
	pthread_mutex_destroy(&http->tls_mutex);
	pthread_mutex_destroy(&http->calls_mutex);
	free(http);
}

uint16_t xrpc_http_port(const struct xrpc_http *http)
{
	return http->port;
}

void xrpc_http_get_stats(const struct xrpc_http *http, struct xrpc_http_stats *ret_stats)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	*ret_stats = (struct xrpc_http_stats){
		.nr_calls = http->nr_calls,
		.nr_errors = http->nr_errors,
		.nr_refused = http->nr_refused,
		.busy_us = http->busy_us,
		.nr_timed = http->nr_timed,
		.nr_connections = info != NULL ? info->num_connections : 0,
	};
}
