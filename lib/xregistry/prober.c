/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Probes on sockets: each goes on whenever something may have changed on its connection, and ends
 * at its time-out at the latest. A token names a place in a table and a generation, so what comes
 * late for a connection that is gone finds nobody.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/hash.h"
#include "lib/xregistry/probe.h"
#include "lib/xregistry/world.h"

#define NR_READS 64u /* of one event; a peer that sends more than that is talking nonsense */

void xreg__prober_init(struct xreg__prober *prober, const struct xreg_world *world,
	void (*done)(void *arg, struct xreg__probe_job *job, uint64_t now_us), void *arg)
{
	memset(prober, 0, sizeof(*prober));
	prober->world = world;
	prober->done = done;
	prober->arg = arg;
	xu_list_init(&prober->jobs);
}

static bool find_slot(struct xreg__prober *prober)
{
	for (uint32_t i = 0; i < XREG__PROBES_MAX; i++) {
		if (prober->slots[prober->next_slot] == NULL) {
			return true;
		}
		prober->next_slot = (prober->next_slot + 1) % XREG__PROBES_MAX;
	}
	return false;
}

void xreg__prober_cancel(struct xreg__prober *prober, struct xreg__probe_job *job)
{
	if (job->sock >= 0) {
		prober->world->close(prober->world->arg, job->sock);
	}
	prober->slots[job->slot] = NULL;
	prober->nr_jobs--;
	xu_list_del(&job->node);
	free(job);
}

static bool is_ours(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -ENOSPC ||
	       rc == -EADDRNOTAVAIL;
}

/* Hosts with different names are to have different identifiers, a host always the same. */
static void make_hostid(const char *hostnqn, uint8_t hostid[16])
{
	uint32_t hash = xu_hash32(hostnqn, strlen(hostnqn));

	for (uint32_t i = 0; i < 4; i++) {
		memcpy(hostid + i * sizeof(hash), &hash, sizeof(hash));
		hash = xu_hash32(hostid, 16);
	}
}

static void begin(struct xreg__prober *prober, struct xreg__probe_job *job,
	const struct xreg__probe_order *order)
{
	struct xreg__probe_opts opts = {.level = order->level,
		.subnqn = job->subnqn,
		.hostnqn = job->hostnqn,
		.is_discovery = order->is_discovery};

	job->owner = order->owner;
	job->port = order->port;
	job->started_us = prober->world->now_us(prober->world->arg);
	job->end_us = job->started_us + order->timeout_us;
	job->deadline_us = order->connect_us != 0 && order->connect_us < order->timeout_us
				   ? job->started_us + order->connect_us
				   : job->end_us;
	job->resume_us = UINT64_MAX;
	snprintf(job->address, sizeof(job->address), "%s", order->address);
	snprintf(job->subnqn, sizeof(job->subnqn), "%s", order->subnqn);
	snprintf(job->hostnqn, sizeof(job->hostnqn), "%s", order->hostnqn);
	make_hostid(job->hostnqn, opts.hostid);
	xreg__probe_begin(&job->probe, &opts, job->started_us);
}

int xreg__prober_start(struct xreg__prober *prober, const struct xreg__probe_order *order,
	struct xreg__probe_job **ret_job)
{
	struct xreg__probe_job *job;
	int rc;

	if (!find_slot(prober)) {
		return -ENOBUFS;
	}
	job = calloc(1, sizeof(*job));
	if (job == NULL) {
		return -ENOMEM;
	}
	job->slot = prober->next_slot;
	job->token = (uint64_t)++prober->generation << 32 | job->slot;
	job->sock = -1;
	begin(prober, job, order);
	rc = prober->world->open(
		prober->world->arg, job->address, (uint16_t)job->port, job->token, &job->sock);
	if (rc != 0 && is_ours(rc)) {
		free(job);
		return rc;
	}
	prober->slots[job->slot] = job;
	prober->nr_jobs++;
	xu_list_add_tail(&prober->jobs, &job->node);
	if (rc != 0) {
		job->sock = -1;
		job->resume_us = 0; /* it is told in the next turn */
		xreg__probe_fail(&job->probe, XREG_FAILURE_NETWORK_TIMEOUT,
			"no connection to %s port %u: %s", job->address, job->port, strerror(-rc));
	}
	*ret_job = job;
	return 0;
}

static void lose(struct xreg__probe_job *job, int rc)
{
	if (!job->is_connected) {
		job->was_refused = rc == -ECONNREFUSED;
		xreg__probe_fail(&job->probe, XREG_FAILURE_NETWORK_TIMEOUT,
			"no connection to %s port %u: %s", job->address, job->port, strerror(-rc));
	} else {
		xreg__probe_fail(&job->probe, XREG_FAILURE_NETWORK_TIMEOUT,
			"%s port %u closed the connection before its answer to %s%s%s",
			job->address, job->port, xreg__probe_waits_for(&job->probe),
			rc != 0 ? ": " : "", rc != 0 ? strerror(-rc) : "");
	}
}

static void try_connect(struct xreg__prober *prober, struct xreg__probe_job *job)
{
	int rc = prober->world->connected(prober->world->arg, job->sock);

	if (rc == -EINPROGRESS) {
		return;
	}
	if (rc != 0) {
		lose(job, rc);
		return;
	}
	job->is_connected = true;
	job->deadline_us = job->end_us;
	job->probe.reached = XREG_PROBE_TCP;
	if (job->probe.opts.level == XREG_PROBE_TCP) {
		job->probe.step = XREG__STEP_DONE;
	}
}

static void try_send(struct xreg__prober *prober, struct xreg__probe_job *job)
{
	struct xreg__probe *probe = &job->probe;

	while (!xreg__probe_is_over(probe) && probe->out_sent < probe->out_len) {
		ssize_t count = prober->world->send(prober->world->arg, job->sock,
			probe->out + probe->out_sent, probe->out_len - probe->out_sent);

		if (count == -EAGAIN) {
			return;
		}
		if (count < 0) {
			lose(job, (int)count);
			return;
		}
		probe->out_sent += (uint32_t)count;
	}
}

static void try_recv(struct xreg__prober *prober, struct xreg__probe_job *job, uint64_t now_us)
{
	uint8_t data[4096];

	for (uint32_t i = 0; i < NR_READS && !xreg__probe_is_over(&job->probe); i++) {
		ssize_t count =
			prober->world->recv(prober->world->arg, job->sock, data, sizeof(data));

		if (count == -EAGAIN) {
			return;
		}
		if (count <= 0) {
			lose(job, (int)count);
			return;
		}
		xreg__probe_input(&job->probe, data, (size_t)count, now_us);
		try_send(prober, job);
	}
	if (!xreg__probe_is_over(&job->probe)) {
		xreg__probe_fail(&job->probe, XREG_FAILURE_PROTOCOL_ERROR,
			"far more came than an answer to %s", xreg__probe_waits_for(&job->probe));
	}
}

static void end_if_over(struct xreg__prober *prober, struct xreg__probe_job *job, uint64_t now_us)
{
	if (xreg__probe_is_over(&job->probe)) {
		prober->done(prober->arg, job, now_us);
		xreg__prober_cancel(prober, job);
	} else {
		job->resume_us = job->probe.pause_us != 0 ? job->probe.pause_us : UINT64_MAX;
	}
}

void xreg__prober_event(struct xreg__prober *prober, uint64_t token)
{
	struct xreg__probe_job *job = prober->slots[(uint32_t)token % XREG__PROBES_MAX];
	uint64_t now_us = prober->world->now_us(prober->world->arg);

	if (job == NULL || job->token != token || job->sock < 0) {
		return;
	}
	if (!job->is_connected) {
		try_connect(prober, job);
	}
	if (job->is_connected) {
		try_send(prober, job);
		try_recv(prober, job, now_us);
	}
	end_if_over(prober, job, now_us);
}

static void turn(struct xreg__prober *prober, struct xreg__probe_job *job, uint64_t now_us)
{
	if (job->resume_us <= now_us && !xreg__probe_is_over(&job->probe)) {
		xreg__probe_resume(&job->probe, now_us);
		try_send(prober, job);
	}
	if (job->deadline_us <= now_us && !xreg__probe_is_over(&job->probe)) {
		uint64_t took_ms = (now_us - job->started_us) / 1000;

		if (job->is_connected) {
			xreg__probe_fail(&job->probe, XREG_FAILURE_NETWORK_TIMEOUT,
				"%s port %u has not answered %s within %llu ms", job->address,
				job->port, xreg__probe_waits_for(&job->probe),
				(unsigned long long)took_ms);
		} else {
			xreg__probe_fail(&job->probe, XREG_FAILURE_NETWORK_TIMEOUT,
				"no connection to %s port %u within %llu ms", job->address,
				job->port, (unsigned long long)took_ms);
		}
	}
	end_if_over(prober, job, now_us);
}

uint64_t xreg__prober_turn(struct xreg__prober *prober)
{
	uint64_t now_us = prober->world->now_us(prober->world->arg), next_us = UINT64_MAX;
	struct xu_list *node, *tmp;

	xu_list_for_each_safe (node, tmp, &prober->jobs) {
		struct xreg__probe_job *job = xu_list_entry(node, struct xreg__probe_job, node);
		uint64_t due_us =
			job->deadline_us < job->resume_us ? job->deadline_us : job->resume_us;

		if (due_us <= now_us) {
			turn(prober, job, now_us);
			next_us = 0; /* what is next depends on what it did */
		} else if (due_us < next_us) {
			next_us = due_us;
		}
	}
	return next_us;
}
