/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The standard health service: Check answers at once, Watch tells how it is and once more when the
 * server stops. It needs no token, so there are only so many who watch.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/grpc_private.h"
#include "proto/health.pb-c.h"

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct watch {
	struct xu_list link;
	struct xrpc_grpc *server;
	struct xrpc_grpc_call *call;
};

/* "" is the server; a service is known when a method's name is "/" it "/" something. */
static bool is_known(const struct xrpc_grpc *server, const char *service)
{
	size_t len = strlen(service);

	for (const struct xrpc_grpc_method *m = server->methods; m->name != NULL; m++) {
		if (strncmp(m->name + 1, service, len) == 0 && m->name[1 + len] == '/') {
			return true;
		}
	}
	return len == 0;
}

static Grpc__Health__V1__HealthCheckResponse response(
	Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
	Grpc__Health__V1__HealthCheckResponse response =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	response.status = status;
	return response;
}

static void check(struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
	Grpc__Health__V1__HealthCheckResponse answer = response(STATUS(SERVING));

	if (!is_known(arg, request->service)) {
		xrpc_grpc_fail(call, XRPC_GRPC_NOT_FOUND, "there is no service '%.128s'",
			request->service);
		return;
	}
	xrpc_grpc_answer(call, &answer.base);
}

/* ---- watching ---- */

/* Who takes a watch off the list ends its call. */
static bool take(struct watch *watch)
{
	struct xrpc_grpc *server = watch->server;
	bool is_taken;

	pthread_mutex_lock(&server->mutex);
	is_taken = xu_list_is_linked(&watch->link);
	xu_list_del(&watch->link);
	server->nr_watches -= is_taken;
	pthread_mutex_unlock(&server->mutex);
	return is_taken;
}

static void on_ready(struct xrpc_grpc_call *call, void *arg)
{
}

static void on_cancel(struct xrpc_grpc_call *call, void *arg)
{
	if (take(arg)) {
		xrpc_grpc_end(call);
	}
}

/* A place among those who watch. NULL: there is none. */
static struct watch *reserve(struct xrpc_grpc *server)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	bool has_place;

	if (watch == NULL) {
		return NULL;
	}
	watch->server = server;
	xu_list_init(&watch->link);
	pthread_mutex_lock(&server->mutex);
	has_place = server->nr_watches < XRPC__GRPC_WATCHES_MAX;
	server->nr_watches += has_place;
	pthread_mutex_unlock(&server->mutex);
	if (!has_place) {
		free(watch);
		return NULL;
	}
	return watch;
}

static void watch(struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	static const struct xrpc_grpc_stream_ops ops = {on_ready, on_cancel, free};
	const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
	struct xrpc_grpc *server = arg;
	Grpc__Health__V1__HealthCheckResponse answer = response(
		is_known(server, request->service) ? STATUS(SERVING) : STATUS(SERVICE_UNKNOWN));
	struct watch *watch = reserve(server);
	bool is_over;

	if (watch == NULL) {
		xrpc_grpc_fail(call, XRPC_GRPC_RESOURCE_EXHAUSTED, "there are %u who watch already",
			XRPC__GRPC_WATCHES_MAX);
		return;
	}
	watch->call = call;
	/* Before it is on the list: nobody else ends the call so far. */
	xrpc_grpc_send(call, &answer.base);
	pthread_mutex_lock(&server->mutex);
	is_over = server->is_stopping;
	server->nr_watches -= is_over;
	if (!is_over) {
		xu_list_add_tail(&server->watches, &watch->link);
	}
	pthread_mutex_unlock(&server->mutex);
	if (is_over) {
		free(watch);
		xrpc_grpc_end(call);
	} else {
		xrpc_grpc_stream(call, &ops, watch);
	}
}

void xrpc__grpc_health_stop(struct xrpc_grpc *server)
{
	Grpc__Health__V1__HealthCheckResponse answer = response(STATUS(NOT_SERVING));
	struct xu_list *link;

	for (;;) {
		struct watch *watch;

		pthread_mutex_lock(&server->mutex);
		link = xu_list_pop(&server->watches);
		server->nr_watches -= link != NULL;
		pthread_mutex_unlock(&server->mutex);
		if (link == NULL) {
			return;
		}
		watch = xu_list_entry(link, struct watch, link);
		xrpc_grpc_send(watch->call, &answer.base);
		xrpc_grpc_end(watch->call);
	}
}

const struct xrpc_grpc_method xrpc__grpc_health[] = {
	{"/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
		.fn = check},
	{"/grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
		.is_streaming = true, .fn = watch},
	{0},
};
