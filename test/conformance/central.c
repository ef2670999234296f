/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A central discovery controller for the suite: `central DIRECTORY COUNT` keeps a store with COUNT
 * targets in the directory, prints "port N", and then does what each line of its input says and
 * prints "ok" or what went wrong, until the input ends: "register NQN", "unregister NQN",
 * "state NQN NUMBER", "kicks" (prints how many kick-starts there were).
 *
 * Hosts whose NQN ends in "even" see the targets whose NQN ends in an even digit and no others.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/device.h"
#include "lib/xregistry/discovery.h"

#define NQN                "nqn.2026-11.io.xsan:central"
#define CONNECT_TIMEOUT_MS 4000u

static struct xbdev_ctx *ctx;
static struct xnvmf_target *target;
static struct xreg_store *store;
static struct xreg_discovery *discovery;
static struct xu_logger *logger;
static _Atomic bool must_end, is_ready, is_stopped;
static _Atomic uint32_t nr_kicks;

static _Noreturn void give_up(const char *what)
{
	fprintf(stderr, "central: %s\n", what);
	exit(1);
}

/* ---- what it does with hosts ---- */

static bool may_see(void *arg, const char *hostnqn, const struct xreg_target *of)
{
	size_t len = strlen(hostnqn);
	char last = of->spec.nqn[strlen(of->spec.nqn) - 1];

	return len < 4 || strcmp(hostnqn + len - 4, "even") != 0 || (last - '0') % 2 == 0;
}

static enum xnvmf_kick_result kick_start(void *arg, const struct xnvmf_kick_start *kick)
{
	for (uint32_t i = 0; i < kick->nr_records; i++) {
		if (kick->records[i].trtype != NVME_TRTYPE_TCP) {
			return XNVMF_KICK_TRTYPE;
		}
		if (kick->records[i].adrfam != NVME_ADRFAM_IPV4) {
			return XNVMF_KICK_ADRFAM;
		}
	}
	if (kick->nr_entries > 1000) {
		return XNVMF_KICK_FULL;
	}
	atomic_fetch_add(&nr_kicks, 1);
	return XNVMF_KICK_TAKEN;
}

/* ---- the node ---- */

static void make_node(void)
{
	const struct xreg_discovery_opts opts = {.store = store,
		.reactor = xbdev_ctx_control(ctx),
		.log = logger,
		.has_all = true,
		.may_see = may_see,
		.kick_start = kick_start};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	struct xnvmf_target_opts target_opts;
	struct nvme_discovery_entry entry;
	struct xu_error err = {0};

	xnvmf_target_opts_default(&target_opts);
	target_opts.connect_timeout_ms = CONNECT_TIMEOUT_MS;
	if (xnvmf_target_new(ctx, &target_opts, &target, &err) != 0 ||
		xreg_discovery_new(&opts, &discovery, &err) != 0 ||
		xreg_discovery_attach(discovery, target, NQN, &err) != 0 ||
		xnvmf_discovery_listen(target, &listener, &err) != 0) {
		give_up(err.text);
	}
	xnvmf_discovery_own_entries(target, "127.0.0.1", &entry, 1);
	printf("port %s\n", entry.trsvcid);
	fflush(stdout);
	atomic_store(&is_ready, true);
}

static void on_stopped(void *arg)
{
	atomic_store(&is_stopped, true);
}

static void *node_main(void *arg)
{
	const struct xbdev_ctx_opts opts = {.nr_reactors = 1};
	struct xu_error err = {0};

	if (xbdev_ctx_new(&opts, &ctx, &err) != 0) {
		give_up(err.text);
	}
	make_node();
	while (!atomic_load(&must_end)) {
		xr_reactor_poll(xbdev_ctx_control(ctx), 10 * XU_NS_PER_MS);
	}
	xnvmf_target_stop(target, on_stopped, NULL);
	while (!atomic_load(&is_stopped)) {
		xr_reactor_poll(xbdev_ctx_control(ctx), 10 * XU_NS_PER_MS);
	}
	xnvmf_target_free(target);
	xreg_discovery_free(discovery);
	xr_reactor_poll(xbdev_ctx_control(ctx), 0);
	xbdev_ctx_free(ctx);
	return NULL;
}

/* ---- what it is told ---- */

static void answer(struct xreg_change *change)
{
	int rc = xreg_store_change(store, change);

	xreg_target_unref(change->result);
	printf("%s\n", rc == 0 ? "ok" : change->err.text);
}

static void do_register(const char *nqn)
{
	const struct xreg_spec spec = {.node_id = "node-1",
		.nqn = nqn,
		.address = "192.0.2.7",
		.interface = "",
		.device_path = "",
		.port = 4420,
		.discovery_interval_s = 60,
		.weight = 1};
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};

	answer(&change);
}

/* A change of the target with that NQN. */
static void do_existing(const char *nqn, enum xreg_change_op op, uint32_t state)
{
	struct xreg_change change = {.op = op, .status = {.state = state, .reason = "told so"}};
	struct xreg_view *view = xreg_store_view(store);
	const struct xreg_target *found = xreg_view_first(view, XREG_BY_NQN, nqn);

	if (found == NULL) {
		printf("there is no %s\n", nqn);
	} else {
		change.id = found->origin.id;
		answer(&change);
	}
	xreg_view_unref(view);
}

static void obey(const char *line)
{
	char nqn[256];
	unsigned number;

	if (sscanf(line, "register %255s", nqn) == 1) {
		do_register(nqn);
	} else if (sscanf(line, "unregister %255s", nqn) == 1) {
		do_existing(nqn, XREG_UNREGISTER, 0);
	} else if (sscanf(line, "state %255s %u", nqn, &number) == 2) {
		do_existing(nqn, XREG_SET_STATUS, number);
	} else if (strncmp(line, "kicks", 5) == 0) {
		printf("%u\n", atomic_load(&nr_kicks));
	} else {
		printf("what?\n");
	}
	fflush(stdout);
}

static void fill(uint32_t count)
{
	char nqn[64];

	for (uint32_t i = 0; i < count; i++) {
		struct xreg_spec spec = {.node_id = "node-1",
			.nqn = nqn,
			.address = "192.0.2.7",
			.interface = "",
			.device_path = "",
			.port = 4420,
			.discovery_interval_s = 60,
			.weight = 1};
		struct xreg_change change = {.op = XREG_REGISTER,
			.spec = &spec,
			.status = {.state = XREG_AVAILABLE, .reason = ""}};

		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:target-%05u", i);
		if (xreg_store_change(store, &change) != 0) {
			give_up(change.err.text);
		}
		xreg_target_unref(change.result);
	}
}

int main(int argc, char **argv)
{
	const struct xu_log_opts log_opts = {.level = XU_LOG_INFO, .target = XU_LOG_TO_STDERR};
	struct xreg_store_opts opts = {.backend = &xreg_sqlite};
	struct xu_error err = {0};
	char path[512], line[512];
	pthread_t thread;

	if (argc != 3) {
		give_up("usage: central DIRECTORY COUNT");
	}
	snprintf(path, sizeof(path), "%s/targets.db", argv[1]);
	opts.where = path;
	if (xu_logger_new(&log_opts, &logger, &err) != 0 ||
		xreg_store_open(&opts, &store, &err) != 0) {
		give_up(err.text);
	}
	fill((uint32_t)atoi(argv[2]));
	pthread_create(&thread, NULL, node_main, NULL);
	while (!atomic_load(&is_ready)) {
		usleep(1000);
	}
	while (fgets(line, sizeof(line), stdin) != NULL) {
		obey(line);
	}
	atomic_store(&must_end, true);
	pthread_join(thread, NULL);
	xreg_store_close(store);
	xu_logger_free(logger);
	return 0;
}
