/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry over HTTP (spec/registry.md 4.1): the document's paths, bodies, status codes and
 * names, and beyond them paging, sorting, filters, conditional changes, blocking queries and
 * server-sent events. What is not in the document is in docs/registry-rest.md.
 */
#ifndef LIB_XREGISTRY_REST_H
#define LIB_XREGISTRY_REST_H

#include <jansson.h>
#include <stdint.h>

struct xreg_alerts;
struct xreg_balancer;
struct xreg_drains;
struct xreg_finder;
struct xreg_health_config;
struct xreg_health_log;
struct xreg_monitor;
struct xreg_rest;
struct xreg_store;
struct xreg_waits;
struct xreg_zones;
struct xrpc_http;
struct xrpc_http_opts;
struct xrpc_pem;
struct xu_error;
struct xu_logger;

struct xreg_rest_opts {
	struct xreg_store *store;
	struct xreg_waits *waits;
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	struct xreg_alerts *alerts;         /* NULL: none */
	struct xreg_finder *finder;         /* NULL: none */
	struct xreg_monitor *monitor;       /* whose counters are shown; NULL: none */
	struct xreg_zones *zones;           /* NULL: none */
	struct xreg_health_log *health_log; /* what the monitor has told; NULL: none */
	/* How targets are judged now. */
	void (*health)(void *arg, struct xreg_health_config *ret_config);
	void *health_arg;
	const struct xrpc_http_opts *http; /* routes and their argument are filled in */
	struct xu_logger *log, *audit_log; /* either may be NULL: silent */
	/* Asks who is known to the discovery controller; `done` is given a reference, later. NULL:
	 * there is none. */
	int (*hosts)(void *arg, void (*done)(void *done_arg, json_t *hosts), void *done_arg);
	void *hosts_arg;
	/* Has the configuration read again; `done` is told later, on another thread: what was taken
	 * (a reference), or NULL and what was wrong, and nothing has changed. NULL: it cannot. */
	int (*reload)(void *arg,
		void (*done)(void *done_arg, json_t *taken, const struct xu_error *err),
		void *done_arg);
	void *reload_arg;
};

/* All is borrowed until the end, but `http`, which is copied. */
int xreg_rest_start(
	const struct xreg_rest_opts *opts, struct xreg_rest **ret_rest, struct xu_error *err);
/* Takes no more calls. Then let waiting end (xreg_waits_end()), and */
void xreg_rest_quiesce(struct xreg_rest *rest);
/* end the connections and free. NULL is fine. */
void xreg_rest_stop(struct xreg_rest *rest);

/* As xrpc_http_set_pem(). */
int xreg_rest_set_pem(struct xreg_rest *rest, const struct xrpc_pem *pem, struct xu_error *err);

struct xrpc_http_stats;
void xreg_rest_get_stats(const struct xreg_rest *rest, struct xrpc_http_stats *ret_stats);
uint16_t xreg_rest_port(const struct xreg_rest *rest);

#endif
