/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Probing a target over NVMe/TCP. The protocol (struct xreg__probe) knows bytes only, so that it
 * can be given any; the prober gives it sockets and time-outs. One thread.
 *
 * What is said: ICReq; Connect of an admin queue; CAP, CC.EN and CSTS until the controller is
 * ready; Identify Controller, whose SUBNQN must be the one that was asked for; Keep Alive, whose
 * round trip is the latency. Then the connection is closed, which ends the association.
 */
#ifndef LIB_XREGISTRY_PROBE_H
#define LIB_XREGISTRY_PROBE_H

#include "lib/util/list.h"
#include "lib/xnvmf/wire/tcp.h"
#include "lib/xregistry/live.h"

struct xreg_world;

/* ---- the protocol ---- */

struct xreg__probe_opts {
	enum xreg_probe_level level;
	const char *subnqn; /* borrowed until the end */
	const char *hostnqn;
	uint8_t hostid[16];
	bool is_discovery; /* of subnqn: SUBNQN may be any, there is no Keep Alive */
};

enum xreg__probe_step {
	XREG__STEP_ICREQ,
	XREG__STEP_CONNECT,
	XREG__STEP_CAP,
	XREG__STEP_ENABLE,
	XREG__STEP_READY,
	XREG__STEP_IDENTIFY,
	XREG__STEP_KEEP_ALIVE,
	XREG__STEP_DONE, /* good */
	XREG__STEP_BAD,  /* see failure, problem */
};

/* A command's header has 72 bytes, and what follows begins at a multiple of 4 to 128: at 136 (of
 * 68) at the latest. */
#define XREG__PROBE_OUT (136u + sizeof(struct nvme_connect_data))

struct xreg__probe {
	struct xreg__probe_opts opts;
	enum xreg__probe_step step;
	enum xreg_probe_level reached;
	uint32_t keep_alive_us;
	enum xreg_failure_type failure;
	char problem[XREG_DESCRIPTION_SIZE];

	uint64_t pause_us; /* other than 0: call xreg__probe_resume() then */
	uint64_t sent_us;  /* when the step began */
	uint8_t out[XREG__PROBE_OUT];
	uint32_t out_len, out_sent;

	uint8_t head[sizeof(struct nvme_tcp_icresp)]; /* of the PDU that comes */
	uint32_t head_len, head_want;
	uint32_t pad_left, data_left; /* of its data */
	uint32_t identify_len;        /* bytes of it that have come */
	bool is_identify_done;        /* its success came with its data */
	char subnqn[NVME_NQN_FIELD];
	uint64_t cap;
	uint16_t cid;
	uint8_t cpda;
};

void xreg__probe_begin(
	struct xreg__probe *probe, const struct xreg__probe_opts *opts, uint64_t now_us);
/* Bytes that have come; out[out_sent … out_len) is to be sent after it. */
void xreg__probe_input(struct xreg__probe *probe, const uint8_t *data, size_t len, uint64_t now_us);
void xreg__probe_resume(struct xreg__probe *probe, uint64_t now_us);
/* Ends it as bad. */
void xreg__probe_fail(struct xreg__probe *probe, enum xreg_failure_type type, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* What it is waiting for, for a sentence: "the answer to Connect". */
const char *xreg__probe_waits_for(const struct xreg__probe *probe);

static inline bool xreg__probe_is_over(const struct xreg__probe *probe)
{
	return probe->step >= XREG__STEP_DONE;
}

/* ---- probes on sockets ---- */

#define XREG__PROBES_MAX 4096u

struct xreg__probe_job {
	struct xu_list node;
	void *owner;
	uint32_t slot;
	uint64_t token;
	int sock;
	bool is_connected;
	bool was_refused; /* by the other machine: it can be reached */
	uint64_t started_us, deadline_us, resume_us;
	uint64_t end_us; /* the deadline when it is connected */
	char address[256];
	uint32_t port;
	char subnqn[256], hostnqn[256];
	struct xreg__probe probe;
};

struct xreg__prober {
	const struct xreg_world *world;
	void (*done)(
		void *arg, struct xreg__probe_job *job, uint64_t now_us); /* then it is freed */
	void *arg;
	struct xu_list jobs;
	struct xreg__probe_job *slots[XREG__PROBES_MAX];
	uint32_t nr_jobs, next_slot;
	uint32_t generation;
};

struct xreg__probe_order {
	void *owner;
	const char *address, *subnqn, *hostnqn; /* copied */
	uint32_t port;
	enum xreg_probe_level level;
	bool is_discovery;
	uint64_t timeout_us;
	uint64_t connect_us; /* of that, until it is connected; 0: all */
};

void xreg__prober_init(struct xreg__prober *prober, const struct xreg_world *world,
	void (*done)(void *arg, struct xreg__probe_job *job, uint64_t now_us), void *arg);
/* Starts one; done() is called later, or never when it is cancelled. -EMFILE, -ENOMEM and the like:
 * this machine has no room for it, which says nothing of the target. */
int xreg__prober_start(struct xreg__prober *prober, const struct xreg__probe_order *order,
	struct xreg__probe_job **ret_job);
void xreg__prober_cancel(struct xreg__prober *prober, struct xreg__probe_job *job);
/* What wait() of the world has given. */
void xreg__prober_event(struct xreg__prober *prober, uint64_t token);
/* Time-outs and pauses that are over; returns when to call again, UINT64_MAX: nothing
 * is planned. */
uint64_t xreg__prober_turn(struct xreg__prober *prober);

#endif
