/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A registry that speaks gRPC and nothing else, for test-registry-grpc.py: a store in the directory
 * given, the service on a free port of 127.0.0.1, which is the first line printed. Each line of its
 * standard input is told as the health monitor would tell it, "ID FROM TO": the connections of the
 * target went from so many to so many; "- 0 0": it is blind. Ends when its standard input does, and
 * then says how many calls are left.
 *
 *   registry-grpc DIR [key=value...]: token, read_token, cert, key, ca, calls, subscribers, events,
 *                                     request_timeout_ms, grace_ms, address, port, health (0: none)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/rpc/http.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/drain.h"
#include "lib/xregistry/grpc/grpc.h"
#include "lib/xregistry/health_log.h"
#include "lib/xregistry/select.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/wait.h"

static int nr_words;
static char **words;

static const char *option(const char *name)
{
	size_t len = strlen(name);

	for (int i = 2; i < nr_words; i++) {
		if (strncmp(words[i], name, len) == 0 && words[i][len] == '=') {
			return words[i] + len + 1;
		}
	}
	return NULL;
}

static uint32_t number(const char *name)
{
	const char *text = option(name);

	return text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static int die(const struct xu_error *err)
{
	fprintf(stderr, "registry-grpc: %d: %s\n", err->code, err->text);
	return 1;
}

struct world {
	struct xu_logger *log;
	struct xreg_store *store;
	struct xreg_waits *waits;
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	struct xrpc_access *access;
	struct xreg_grpc *grpc;
	struct xreg_health_log *health_log;
};

static void tell_health(struct world *world, const char *line)
{
	struct xreg_view *view = xreg_store_view(world->store);
	struct xreg_health_event event = {.at_ms = 5, .text = "told by the test"};
	char id[XREG_ID_SIZE];

	if (sscanf(line, "%63s %u %u", id, &event.connections_before, &event.connections) == 3) {
		event.target = xreg_view_get(view, id);
		event.kind = event.target != NULL ? XREG_HEALTH_CONNECTIONS : XREG_HEALTH_BLIND;
		xreg_health_log_add(world->health_log, &event);
	}
	xreg_view_unref(view);
}

static void wait_for_end(struct world *world)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		tell_health(world, line);
	}
}

static int start(struct world *world, const char *dir, struct xu_error *err)
{
	struct xrpc_token tokens[2];
	struct xrpc_access_opts access = {.tokens = tokens};
	const struct xu_log_opts log = {.level = XU_LOG_INFO, .ident = "registry-grpc"};
	struct xreg_store_opts store = {
		.backend = &xreg_sqlite, .nr_events_kept = number("events")};
	struct xreg_grpc_opts grpc = {.nr_subscribers_max = number("subscribers"),
		.server = {.address = option("address") != NULL ? option("address") : "127.0.0.1",
			.port = (uint16_t)number("port"),
			.cert_path = option("cert"),
			.key_path = option("key"),
			.client_ca_path = option("ca"),
			.nr_calls_max = number("calls"),
			.request_timeout_ms = number("request_timeout_ms")}};
	char path[256];

	snprintf(path, sizeof(path), "%s/targets.db", dir);
	store.where = path;
	if (option("token") != NULL) {
		tokens[access.nr_tokens++] =
			(struct xrpc_token){"admin", option("token"), XRPC_ROLE_ADMIN};
	}
	if (option("read_token") != NULL) {
		tokens[access.nr_tokens++] =
			(struct xrpc_token){"reader", option("read_token"), XRPC_ROLE_READ};
	}
	if (xu_logger_new(&log, &world->log, err) != 0 ||
		xreg_store_open(&store, &world->store, err) != 0 ||
		xreg_waits_start(world->store, &world->waits, err) != 0 ||
		xreg_drains_new(world->store, world->waits, &world->drains, err) != 0) {
		return err->code;
	}
	if (xreg_balancer_new(NULL, &world->balancer) != 0) {
		return xu_error_set_errno(err, -12, "making a balancer");
	}
	access.has_client_ca = option("ca") != NULL;
	access.certificate_role = XRPC_ROLE_ADMIN;
	if (xrpc_access_new(&access, &world->access) != 0) {
		return xu_error_set_errno(err, -12, "keeping tokens");
	}
	if (number("health") != 0) {
		if (xreg_health_log_new(number("health"), &world->health_log) != 0) {
			return xu_error_set_errno(err, -12, "keeping what the monitor tells");
		}
		grpc.health_log = world->health_log;
	}
	grpc.access = world->access;
	grpc.store = world->store;
	grpc.drains = world->drains;
	grpc.balancer = world->balancer;
	grpc.server.log = world->log;
	return xreg_grpc_start(&grpc, &world->grpc, err);
}

static void stop(struct world *world)
{
	if (world->grpc != NULL) {
		xreg_grpc_quiesce(world->grpc);
	}
	if (world->waits != NULL) {
		xreg_waits_end(world->waits);
	}
	xreg_drains_free(world->drains);
	xreg_grpc_stop(world->grpc, number("grace_ms"));
	xreg_waits_stop(world->waits);
	xreg_health_log_free(world->health_log);
	xreg_store_close(world->store);
	xreg_balancer_free(world->balancer);
	xrpc_access_free(world->access);
	xu_logger_free(world->log);
}

int main(int argc, char **argv)
{
	struct world world = {0};
	struct xu_error err = {0};
	struct xrpc_grpc_stats stats;
	int rc;

	nr_words = argc;
	words = argv;
	if (argc < 2) {
		fprintf(stderr, "usage: registry-grpc DIR [key=value...]\n");
		return 2;
	}
	rc = start(&world, argv[1], &err);
	if (rc == 0) {
		printf("%u\n", xreg_grpc_port(world.grpc));
		fflush(stdout);
		wait_for_end(&world);
		xreg_grpc_stats(world.grpc, &stats);
		printf("calls %llu refused %llu now %u messages %llu\n",
			(unsigned long long)stats.nr_calls, (unsigned long long)stats.nr_refused,
			stats.nr_now, (unsigned long long)stats.nr_messages_sent);
	}
	stop(&world);
	return rc == 0 ? 0 : die(&err);
}
