/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The central's thread makes and polls a reactor that has a target without subsystems of its own;
 * what its log shows comes from the store (lib/xregistry/discovery). central_start() waits until it
 * listens, or is told why it cannot. At the end a message has the target stopped on its own thread,
 * which frees what it has made and ends.
 */
#include "daemon/xsan-registry/central.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/reactor/reactor.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/random.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/core/context.h"
#include "lib/xregistry/discovery.h"
#include "lib/xregistry/pull.h"
#include "lib/xregistry/zone.h"

#define BUFFER_BYTES (16u << 20)

struct central {
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xreg_discovery *discovery;
	pthread_t thread;
	const struct central_opts *opts; /* until `is_ready` */
	struct xreg_zones *zones;
	struct xreg_pull *pull;

	pthread_mutex_t mutex; /* for how the start went */
	pthread_cond_t has_started;
	bool is_ready;
	int rc;
	struct xu_error err;

	char nqn[XNVMF_NQN_MAX + 1];
	uint16_t port;
	struct xr_msg stop_msg, zones_msg;
	_Atomic bool is_zones_msg_sent;
	bool is_over; /* the thread's */
};

/* ---- its name ---- */

int central_name(
	const char *given, const char *data_dir, char name[XNVMF_NQN_MAX + 1], struct xu_error *err)
{
	const size_t size = XNVMF_NQN_MAX + 1;
	char path[1024], text[XU_UUID_TEXT_SIZE];
	struct xu_random random;
	struct xu_uuid uuid;
	ssize_t len;
	int fd;

	if (given != NULL) {
		snprintf(name, size, "%s", given);
		return 0;
	}
	snprintf(path, sizeof(path), "%s/discovery-nqn", data_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0) {
		return xu_error_set_errno(err, -errno, "opening %s", path);
	}
	len = read(fd, name, size - 1);
	name[len > 0 ? len : 0] = '\0';
	name[strcspn(name, "\n")] = '\0';
	if (xnvmf_nqn_check(name, NULL) != 0) {
		xu_random_seed_entropy(&random);
		uuid = xu_uuid_random(&random);
		xu_uuid_format(&uuid, text);
		len = snprintf(name, size, "nqn.2014-08.org.nvmexpress:uuid:%s", text);
		if (ftruncate(fd, 0) != 0 || pwrite(fd, name, (size_t)len, 0) != len ||
			fsync(fd) != 0) {
			close(fd);
			return xu_error_set_errno(err, -EIO, "writing %s", path);
		}
	}
	close(fd);
	return 0;
}

/* ---- the thread ---- */

static void on_target_stopped(void *arg)
{
	((struct central *)arg)->is_over = true;
}

static void on_stop(struct xr_msg *msg)
{
	struct central *central = xu_container_of(msg, struct central, stop_msg);

	xnvmf_target_stop(central->target, on_target_stopped, central);
}

/* ---- zones ---- */

static bool may_see(void *arg, const char *hostnqn, const struct xreg_target *target)
{
	return xreg_zones_may_see(((struct central *)arg)->zones, hostnqn, target);
}

static enum xreg_sees each_seen(
	void *arg, const char *hostnqn, const struct xreg_view *view, xreg_each_fn fn, void *fn_arg)
{
	return xreg_zones_each_seen(((struct central *)arg)->zones, hostnqn, view, fn, fn_arg);
}

static void on_zones(struct xr_msg *msg)
{
	struct central *central = xu_container_of(msg, struct central, zones_msg);

	central->is_zones_msg_sent = false;
	if (!central->is_over) {
		xreg_discovery_filter_changed(central->discovery);
	}
}

void central_zones_changed(struct central *central)
{
	if (!atomic_exchange(&central->is_zones_msg_sent, true)) {
		xr_msg_send(xbdev_ctx_control(central->ctx), &central->zones_msg);
	}
}

/* ---- life ---- */

static enum xnvmf_kick_result kick_start(void *arg, const struct xnvmf_kick_start *kick)
{
	return xreg_pull_kick_start(((struct central *)arg)->pull, kick);
}

static int make_target(
	struct central *central, const struct central_opts *opts, struct xu_error *err)
{
	const struct xbdev_ctx_opts ctx_opts = {.log = opts->log,
		.nr_reactors = 1,
		.spin_max_ns = 0,
		.buf_limit_bytes = BUFFER_BYTES};
	struct xreg_discovery_opts discovery = {.store = opts->store,
		.log = opts->log,
		.has_all = true,
		.may_see = may_see,
		.each_seen = each_seen,
		.kick_start = opts->pull != NULL ? kick_start : NULL,
		.referrals = opts->referrals,
		.nr_referrals = opts->nr_referrals,
		.arg = central};
	struct xnvmf_target_opts target;
	int rc = xbdev_ctx_new(&ctx_opts, &central->ctx, err);

	if (rc != 0) {
		return rc;
	}
	xnvmf_target_opts_default(&target);
	target.max_connections = opts->nr_connections_max;
	rc = xnvmf_target_new(central->ctx, &target, &central->target, err);
	if (rc == 0) {
		discovery.reactor = xbdev_ctx_control(central->ctx);
		rc = xreg_discovery_new(&discovery, &central->discovery, err);
	}
	if (rc == 0) {
		rc = xreg_discovery_attach(central->discovery, central->target, central->nqn, err);
	}
	return rc;
}

static int listen_at(struct central *central, const struct central_opts *opts, struct xu_error *err)
{
	struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = opts->address, .advertise = opts->advertise};
	char service[8];
	int rc;

	snprintf(service, sizeof(service), "%u", opts->port);
	listener.trsvcid = service;
	rc = xnvmf_discovery_listen(central->target, &listener, err);
	if (rc == 0) {
		struct nvme_discovery_entry entry;

		central->port = opts->port;
		if (xnvmf_discovery_own_entries(central->target, opts->address, &entry, 1) == 1) {
			central->port = (uint16_t)atoi((const char *)entry.trsvcid);
		}
	}
	return rc;
}

/* Stops the target when there is one, and frees what the thread has made. */
static void end(struct central *central)
{
	struct xr_reactor *reactor;

	if (central->ctx == NULL) {
		return;
	}
	reactor = xbdev_ctx_control(central->ctx);
	if (central->target != NULL && !central->is_over) {
		on_stop(&central->stop_msg);
		while (!central->is_over) {
			xr_reactor_poll(reactor, XR_IDLE);
		}
	}
	xnvmf_target_free(central->target);
	xreg_discovery_free(central->discovery);
	/* The discovery's last message may be on its way. */
	for (uint32_t i = 0; i < 8; i++) {
		xr_reactor_poll(reactor, 0);
	}
}

static void *central_main(void *arg)
{
	struct central *central = arg;
	int rc = make_target(central, central->opts, &central->err);

	if (rc == 0) {
		rc = listen_at(central, central->opts, &central->err);
	}
	pthread_mutex_lock(&central->mutex);
	central->rc = rc;
	central->is_ready = true;
	pthread_cond_signal(&central->has_started);
	pthread_mutex_unlock(&central->mutex);
	while (rc == 0 && !central->is_over) {
		xr_reactor_poll(xbdev_ctx_control(central->ctx), XR_IDLE);
	}
	end(central);
	return NULL;
}

static void free_central(struct central *central)
{
	if (central->ctx != NULL) {
		xbdev_ctx_free(central->ctx);
	}
	pthread_mutex_destroy(&central->mutex);
	pthread_cond_destroy(&central->has_started);
	free(central);
}

int central_start(
	const struct central_opts *opts, struct central **ret_central, struct xu_error *err)
{
	struct central *central = calloc(1, sizeof(*central));
	int rc;

	if (central == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the discovery controller");
	}
	central->stop_msg.fn = on_stop;
	central->zones_msg.fn = on_zones;
	central->opts = opts;
	pthread_mutex_init(&central->mutex, NULL);
	pthread_cond_init(&central->has_started, NULL);
	central->pull = opts->pull;
	central->zones = opts->zones;
	snprintf(central->nqn, sizeof(central->nqn), "%s", opts->nqn);
	rc = -pthread_create(&central->thread, NULL, central_main, central);
	if (rc != 0) {
		xu_error_set_errno(err, rc, "starting the discovery controller");
		free_central(central);
		return rc;
	}
	pthread_mutex_lock(&central->mutex);
	while (!central->is_ready) {
		pthread_cond_wait(&central->has_started, &central->mutex);
	}
	rc = central->rc;
	pthread_mutex_unlock(&central->mutex);
	if (rc != 0) {
		*err = central->err;
		pthread_join(central->thread, NULL);
		free_central(central);
		return rc;
	}
	*ret_central = central;
	return 0;
}

void central_stop(struct central *central)
{
	if (central != NULL) {
		xr_msg_send(xbdev_ctx_control(central->ctx), &central->stop_msg);
		pthread_join(central->thread, NULL);
		free_central(central);
	}
}

const char *central_nqn(const struct central *central)
{
	return central->nqn;
}

uint16_t central_port(const struct central *central)
{
	return central->port;
}

/* ---- hosts ---- */

struct ask {
	struct xr_msg msg;
	struct central *central;
	json_t *list;
	void (*done)(void *arg, json_t *hosts);
	void *arg;
};

static json_t *hostid_json(const uint8_t *hostid)
{
	char text[XU_UUID_TEXT_SIZE];
	struct xu_uuid uuid;

	memcpy(uuid.bytes, hostid, sizeof(uuid.bytes));
	xu_uuid_format(&uuid, text);
	return json_string(text);
}

static bool add_connected(void *arg, const struct xnvmf_discovery_host *host)
{
	json_array_append_new(
		arg, json_pack("{s:s, s:o, s:s, s:i, s:b, s:b, s:I}", "hostnqn", host->hostnqn,
			     "hostid", hostid_json(host->hostid), "address", host->address, "port",
			     (int)host->port, "persistent", (int)host->is_persistent,
			     "discovery_controller", (int)host->is_controller, "connected_seconds",
			     (json_int_t)(host->age_ms / 1000)));
	return true;
}

static bool add_registered(void *arg, const struct xreg_discovery_host *host)
{
	json_array_append_new(arg,
		json_pack("{s:s, s:o, s:s, s:s, s:s, s:I}", "hostnqn", host->nqn, "hostid",
			hostid_json(host->hostid), "name", host->name, "version", host->version,
			"address", host->address, "registered_ms", (json_int_t)host->at_ms));
	return true;
}

static void on_ask(struct xr_msg *msg)
{
	struct ask *ask = xu_container_of(msg, struct ask, msg);
	json_t *connected, *registered;

	if (ask->central->is_over) {
		ask->done(ask->arg, NULL);
		free(ask);
		return;
	}
	connected = json_array();
	registered = json_array();
	xnvmf_discovery_each_host(ask->central->target, add_connected, connected);
	xreg_discovery_each_registered(ask->central->discovery, add_registered, registered);
	ask->done(ask->arg,
		json_pack("{s:o, s:o}", "connected", connected, "registered", registered));
	free(ask);
}

int central_hosts(struct central *central, void (*done)(void *arg, json_t *hosts), void *arg)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	if (ask == NULL) {
		return -ENOMEM;
	}
	*ask = (struct ask){.msg = {.fn = on_ask}, .central = central, .done = done, .arg = arg};
	xr_msg_send(xbdev_ctx_control(central->ctx), &ask->msg);
	return 0;
}
