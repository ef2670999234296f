/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node: everything that one xsand has. Its objects belong to the control reactor, which the
 * main thread polls; there is no lock and no other thread but the reactors'.
 */
#ifndef XSAND_NODE_H
#define XSAND_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/reactor/reactor.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/mgmt/mgmt.h"

struct config;
struct node_registry;
struct state;
struct xnvmf_target;
struct xrpc_server;
struct xrpc_service;
struct xu_logger;

/* Exit codes of xsand; xsand(8). */
enum exit_code {
	EXIT_CLEAN = 0,
	EXIT_CANNOT_START = 1,
	EXIT_BAD_CONFIG = 2,
	EXIT_NOT_IN_TIME = 3,
};

struct node_opts {
	const char *config_path;
	const char *log_level; /* NULL: the configuration's */
	bool is_strict;        /* do not run without something of the configuration */
};

struct node {
	struct node_opts opts;
	struct xu_logger *log;
	struct config *started; /* as it was at the start */
	struct config *config;  /* as it was read last; may be `started` */
	struct state *state;
	struct xbdev_ctx *ctx;
	struct xbdev_graph_listener graph_listener;
	struct xnvmf_target *target;
	struct xrpc_service *service;
	struct xrpc_server *server;
	struct xbdev_mgmt mgmt;
	struct xbdev_mgmt_notes *notes;
	struct node_registry *registry; /* NULL: the node has none */
	uint64_t start_ns;
	enum exit_code exit_code;
	bool is_ready;
	bool is_over; /* the main loop ends */

	/* What is wanted and what has been made of it (model.h), and why not all of it. */
	json_t *wanted;
	json_t *made;
	json_t *failures; /* what plan_describe() says of a step: sentence */

	/* Changes take turns; change.h. */
	struct xu_list changes;
	struct xr_msg turn_msg;
	bool has_turn;
	bool is_turn_sent;
	uint32_t nr_jobs; /* steps under way, also those that were given up (apply.h) */

	/* Signals and the service manager. */
	int signal_fd;
	bool signals_closing;
	struct xr_op signal_op;
	uint64_t watchdog_ns;
	struct xr_timer watchdog_timer;
	struct xbdev_hop watchdog_hop;
	bool is_watchdog_out;

	/* The stop. */
	bool is_stopping;
	bool has_begun_stop;
	struct xr_timer stop_timer;
	struct xr_timer retry_timer;
};

/* Starts the node from its configuration and runs it until it is told to stop. On the main thread.
 */
enum exit_code node_run(const struct node_opts *opts);

/* Begins to stop; called again it ends the process at once. */
void node_stop(struct node *node, const char *why);
/* A turn or a late step is over, so a stop that waits for it can go on. */
void node_stop_continue(struct node *node);

/* What is not as it should be, as new arrays of sentences; NULL: out of memory. */
json_t *node_problems(struct node *node);
json_t *node_needs_restart(struct node *node);

/* signals.c. Opened before any thread is started, so that all of them have the mask. */
int node_signals_open(struct node *node, struct xu_error *err);
void node_signals_start(struct node *node);
/* Ends the waiting for signals; then is_over is set. */
void node_signals_close(struct node *node);
void node_watchdog_start(struct node *node);
void node_watchdog_stop(struct node *node);

/* rpc_bdev.c: how the methods of lib/xbdev/mgmt change this node. */
void node_mgmt_init(struct node *node);

/* rpc_node.c, rpc_nvmf.c, spdk_config.c: tables of methods, for a struct node. */
struct xrpc_method;
extern const struct xrpc_method node_methods[];
extern const struct xrpc_method transport_methods[];
extern const struct xrpc_method nvmf_methods[];
extern const struct xrpc_method spdk_config_methods[];

#endif
