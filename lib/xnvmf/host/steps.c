/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Admin commands one after another, from a table: each step builds its command, looks at what came
 * back and says what next. And the steps that every controller begins with: CAP, VS, CC.EN and the
 * wait for CSTS.RDY (Base 3.5.1).
 *
 * The run ends by finished(), by host_steps_stop(), or silently with its queue, whose loss is told
 * by the queue itself.
 */
#include <errno.h>
#include <string.h>

#include "lib/xnvmf/host/private.h"

#define AGAIN_NS     (20 * XU_NS_PER_MS)
#define READY_MIN_NS (15 * XU_NS_PER_S)

static void run(struct host_steps *steps);

static void finish(struct host_steps *steps, const struct xu_error *err)
{
	steps->parts = NULL;
	steps->finished(steps->arg, err);
}

static void *arg_of(const struct host_steps *steps)
{
	return (char *)steps->arg + steps->parts->arg_offset;
}

static void on_call_done(struct host_req *req, uint16_t status)
{
	struct host_steps *steps = req->arg;
	struct host_call *call;
	const struct host_step *step;
	struct xu_error err = {0};
	char text[HOST_STATUS_TEXT];
	int rc = HOST_NEXT;

	if (steps == NULL || status == HOST_LOST) {
		return;
	}
	steps->req = NULL;
	step = &steps->parts->steps[steps->index];
	call = &steps->call;
	call->status = status;
	call->dw0 = req->dw0;
	call->dw1 = req->dw1;
	if (status == NVME_SC_SUCCESS) {
		rc = step->done != NULL ? step->done(arg_of(steps), call, &err) : HOST_NEXT;
	} else if (step->refused != NULL) {
		rc = step->refused(arg_of(steps), call, &err);
	} else {
		rc = xu_error_set(&err, -EIO, "%s: the target answers with status %s", step->what,
			host_status_text(status, text));
	}
	if (rc < 0) {
		finish(steps, &err);
		return;
	}
	if (rc == HOST_AGAIN) {
		xr_timer_start(steps->queue->reactor, &steps->again_timer, AGAIN_NS);
		return;
	}
	steps->index += rc != HOST_REPEAT;
	run(steps);
}

static void on_again_timer(struct xr_timer *timer)
{
	run(xu_container_of(timer, struct host_steps, again_timer));
}

/* The next step that is needed; true when its call is filled in. */
static bool find_next(struct host_steps *steps)
{
	for (; steps->parts->steps != NULL; steps->parts++, steps->index = 0) {
		for (; steps->parts->steps[steps->index].what != NULL; steps->index++) {
			steps->call = (struct host_call){0};
			if (steps->parts->steps[steps->index].build(arg_of(steps), &steps->call)) {
				return true;
			}
		}
	}
	return false;
}

static void run(struct host_steps *steps)
{
	const struct xu_error none = {0};
	struct host_req *req;
	uint16_t cid;

	if (!find_next(steps)) {
		finish(steps, &none);
		return;
	}
	req = host_req_get(steps->queue);
	if (req == NULL) {
		if (steps->queue->state == HOST_QUEUE_LIVE) {
			xr_timer_start(steps->queue->reactor, &steps->again_timer, AGAIN_NS);
		}
		return;
	}
	cid = req->cmd.cid;
	req->cmd = steps->call.cmd;
	req->cmd.cid = cid;
	req->done = on_call_done;
	req->arg = steps;
	if (steps->call.len != 0) {
		host_req_set_data(req, steps->call.buf, steps->call.len, steps->call.dir);
	}
	steps->req = req;
	host_req_start(req);
}

void host_steps_start(struct host_steps *steps, struct host_queue *queue,
	const struct host_part *parts, void *arg,
	void (*finished)(void *arg, const struct xu_error *err))
{
	steps->queue = queue;
	steps->parts = parts;
	steps->index = 0;
	steps->arg = arg;
	steps->finished = finished;
	steps->again_timer.fn = on_again_timer;
	steps->req = NULL;
	run(steps);
}

void host_steps_stop(struct host_steps *steps)
{
	if (steps->queue == NULL) {
		return;
	}
	xr_timer_stop(steps->queue->reactor, &steps->again_timer);
	if (steps->req != NULL) {
		steps->req->arg = NULL;
		steps->req = NULL;
	}
	steps->parts = NULL;
}

/* ---- enabling a controller ---- */

static void property_get(struct host_call *call, uint32_t offset, bool is_64)
{
	call->cmd.opc = NVME_FABRICS;
	call->cmd.nsid = NVME_FCTYPE_PROPERTY_GET;
	call->cmd.cdw10 = is_64;
	call->cmd.cdw11 = offset;
}

static bool build_cap(void *arg, struct host_call *call)
{
	struct host_enable *enable = arg;

	enable->start_ns = xr_now_ns(enable->reactor);
	property_get(call, NVME_PROP_CAP, true);
	return true;
}

static int done_cap(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_enable *enable = arg;

	enable->cap = (uint64_t)call->dw1 << 32 | call->dw0;
	if ((NVME_CAP_CSS(enable->cap) & (NVME_CAP_CSS_NVM | NVME_CAP_CSS_IOCS)) == 0) {
		return xu_error_set(err, -EPROTONOSUPPORT,
			"the controller (CAP %016llx) does not do the NVM command set",
			(unsigned long long)enable->cap);
	}
	return HOST_NEXT;
}

static bool build_vs(void *arg, struct host_call *call)
{
	(void)arg;
	property_get(call, NVME_PROP_VS, false);
	return true;
}

static int done_vs(void *arg, const struct host_call *call, struct xu_error *err)
{
	(void)err;
	((struct host_enable *)arg)->vs = call->dw0;
	return HOST_NEXT;
}

static bool build_enable(void *arg, struct host_call *call)
{
	const struct host_enable *enable = arg;

	call->cmd.opc = NVME_FABRICS;
	call->cmd.nsid = NVME_FCTYPE_PROPERTY_SET;
	call->cmd.cdw11 = NVME_PROP_CC;
	call->cmd.cdw12 = NVME_CC_ENTRY_SIZES | NVME_CAP_MPSMIN(enable->cap) << 7 | NVME_CC_EN;
	if (NVME_CAP_CSS(enable->cap) & NVME_CAP_CSS_IOCS) {
		call->cmd.cdw12 |= NVME_CC_CSS_IOCS;
	}
	return true;
}

static bool build_csts(void *arg, struct host_call *call)
{
	(void)arg;
	property_get(call, NVME_PROP_CSTS, false);
	return true;
}

static int done_csts(void *arg, const struct host_call *call, struct xu_error *err)
{
	const struct host_enable *enable = arg;
	uint64_t limit_ns = NVME_CAP_TO(enable->cap) * 500 * XU_NS_PER_MS;

	if (call->dw0 & NVME_CSTS_CFS) {
		return xu_error_set(
			err, -EIO, "the controller reports a fatal error (CSTS %08x)", call->dw0);
	}
	if (call->dw0 & NVME_CSTS_RDY) {
		return HOST_NEXT;
	}
	limit_ns = limit_ns > READY_MIN_NS ? limit_ns : READY_MIN_NS;
	if (xr_now_ns(enable->reactor) - enable->start_ns > limit_ns) {
		return xu_error_set(err, -ETIMEDOUT,
			"the controller did not become ready within %llu s",
			(unsigned long long)(limit_ns / XU_NS_PER_S));
	}
	return HOST_AGAIN;
}

const struct host_step host_enable_steps[] = {
	{"reading CAP", build_cap, done_cap, NULL},
	{"reading VS", build_vs, done_vs, NULL},
	{"enabling the controller", build_enable, NULL, NULL},
	{"reading CSTS", build_csts, done_csts, NULL},
	{0},
};
