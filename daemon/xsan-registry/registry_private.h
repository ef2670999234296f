/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's parts: between its start and stop (registry.c) and reloading (reload.c). All of it
 * is the main thread's but what is said to be under the mutex. */
#ifndef XSAN_REGISTRY_PRIVATE_H
#define XSAN_REGISTRY_PRIVATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "daemon/xsan-registry/registry.h"
#include "lib/rpc/access.h"
#include "lib/rpc/pem.h"
#include "lib/xnvmf/wire/nqn.h"

/* The files of the certificate as they were last seen. */
struct certificate_files {
	char *paths[3]; /* certificate, key, CA of clients; NULL: none */
	struct stat seen[3], tried[3];
};

/* Who waits for a reload. */
struct reload_wait {
	struct reload_wait *next;
	void (*done)(void *arg, json_t *taken, const struct xu_error *err);
	void *arg;
};

struct registry {
	struct xu_logger *log, *audit;
	struct xrpc_access *access;
	struct xreg_store *store;
	struct xreg_waits *waits;
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	struct xreg_zones *zones;
	struct xreg_monitor *monitor;
	struct xreg_health_log *health_log;
	struct xreg_finder *finder;
	void *static_targets;         /* the finder's */
	bool has_multicast, has_dhcp; /* the finder asks by them */
	struct xreg_ddcs *ddcs;
	struct xreg_pull *pull;
	struct mdns_part *mdns; /* NULL: it was never wanted */
	struct alerts_part *alerts;
	struct central *central; /* NULL: none */
	struct grpc_part *grpc;  /* NULL: none */
	struct xreg_rest *rest;
	char nqn[XNVMF_NQN_MAX + 1]; /* its name as a discovery controller */
	bool has_led;                /* of the registries that share the data, when last looked */

	json_t *running;     /* what the members of the configuration say that is in use */
	bool is_open;        /* may be reached in clear text or without credentials */
	char *address;       /* of REST and gRPC */
	struct xrpc_pem pem; /* in use */
	struct certificate_files files;

	int reload_fd;         /* can be read when somebody waits for a reload; -1: none */
	pthread_mutex_t mutex; /* of what follows */
	struct reload_wait *waiting;
	bool is_stopping;
};

/* ---- reload.c ---- */

/* Remembers what the registry was started with. */
int reload_init(struct registry *registry, const struct config *config, struct xu_error *err);
void reload_fini(struct registry *registry);
/* Has it reloaded by the main thread; see struct xreg_rest_opts. */
int reload_ask(void *registry, void (*done)(void *arg, json_t *taken, const struct xu_error *err),
	void *arg);

#endif
