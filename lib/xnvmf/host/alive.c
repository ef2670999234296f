/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * While a controller is LIVE: keep-alive, and events. A keep-alive goes out twice in KATO and one
 * that is not answered within KATO ends the association. One event request is out at a time; an
 * event is looked into (a changed namespace is read anew, any other log is read so that the target
 * may tell the next), and the next request goes out a moment later, so a target that has an event
 * for every request cannot keep us busy.
 */
#include <errno.h>

#include "lib/xnvmf/host/private.h"

#define EVENT_GAP_NS   (20 * XU_NS_PER_MS)
#define EVENT_RETRY_NS (10 * XU_NS_PER_S) /* after a request was refused */
#define LOG_BYTES      512u

static void reset(struct host_ctrl *ctrl, int code, const char *why)
{
	struct xu_error err = {0};

	xu_error_set(&err, code, "%s", why);
	host_ctrl_reset(ctrl, &err);
}

/* ---- keep-alive ---- */

static void on_keep_alive_done(struct host_req *req, uint16_t status)
{
	struct host_ctrl *ctrl = req->arg;
	char text[HOST_STATUS_TEXT], why[64];

	ctrl->has_keep_alive_out = false;
	if (status != HOST_LOST && status != NVME_SC_SUCCESS && ctrl->state == HOST_CTRL_LIVE) {
		snprintf(why, sizeof(why), "Keep Alive was answered with status %s",
			host_status_text(status, text));
		reset(ctrl, -EIO, why);
	}
}

static void on_keep_alive_timer(struct xr_timer *timer)
{
	struct host_ctrl *ctrl = xu_container_of(timer, struct host_ctrl, keep_alive_timer);
	struct host_req *req;

	if (ctrl->has_keep_alive_out &&
		xr_now_ns(ctrl->reactor) - ctrl->keep_alive_ns >= ctrl->kato_ms * XU_NS_PER_MS) {
		reset(ctrl, -ETIMEDOUT, "Keep Alive was not answered");
		return;
	}
	xr_timer_start(ctrl->reactor, timer, ctrl->kato_ms * XU_NS_PER_MS / 2);
	req = ctrl->has_keep_alive_out ? NULL : host_req_get(&ctrl->admin);
	if (req == NULL) {
		return;
	}
	req->cmd = (struct nvme_cmd){.opc = NVME_ADMIN_KEEP_ALIVE, .cid = req->cmd.cid};
	req->done = on_keep_alive_done;
	req->arg = ctrl;
	ctrl->has_keep_alive_out = true;
	ctrl->keep_alive_ns = xr_now_ns(ctrl->reactor);
	host_req_start(req);
}

/* ---- events ---- */

static void ask_event(struct host_ctrl *ctrl);

static void on_log_read(struct host_req *req, uint16_t status)
{
	struct host_ctrl *ctrl = req->arg;

	if (status != HOST_LOST && ctrl->state == HOST_CTRL_LIVE) {
		xr_timer_start(ctrl->reactor, &ctrl->event_timer, EVENT_GAP_NS);
	}
}

/* Nothing in it is for us; it is read so that the target may tell of the next one. */
static void read_log(struct host_ctrl *ctrl, uint8_t lid)
{
	struct host_req *req = host_req_get(&ctrl->admin);

	if (req == NULL) {
		xr_timer_start(ctrl->reactor, &ctrl->event_timer, EVENT_GAP_NS);
		return;
	}
	req->cmd = (struct nvme_cmd){
		.opc = NVME_ADMIN_GET_LOG_PAGE,
		.cid = req->cmd.cid,
		.nsid = NVME_NSID_ALL,
		.cdw10 = lid | (LOG_BYTES / 4 - 1) << 16,
	};
	req->done = on_log_read;
	req->arg = ctrl;
	host_req_set_data(req, ctrl->page, LOG_BYTES, HOST_DIR_IN);
	host_req_start(req);
}

static void on_rescanned(void *arg, const struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	struct xu_error why = *err;

	if (err->code == 0 && ctrl->fresh.nr_blocks == 0) {
		host_driver_remove(ctrl, "its namespace is gone");
		return;
	}
	if (err->code == 0) {
		host_init_compare(ctrl, &why);
	}
	if (why.code == -ESTALE) {
		host_driver_remove(ctrl, why.text);
		return;
	}
	if (why.code != 0) {
		host_ctrl_reset(ctrl, &why);
		return;
	}
	ctrl->info.nr_blocks = ctrl->fresh.nr_blocks;
	xbdev_device_set_size(&ctrl->dev, ctrl->info.nr_blocks);
	xr_timer_start(ctrl->reactor, &ctrl->event_timer, EVENT_GAP_NS);
}

static void on_event(struct host_req *req, uint16_t status)
{
	struct host_ctrl *ctrl = req->arg;
	uint32_t dw0 = req->dw0;

	ctrl->has_event_out = false;
	if (status == HOST_LOST || ctrl->state != HOST_CTRL_LIVE) {
		return;
	}
	if (status != NVME_SC_SUCCESS) {
		xr_timer_start(ctrl->reactor, &ctrl->event_timer, EVENT_RETRY_NS);
		return;
	}
	xu_debug(ctrl->log, "%s: event %08x", ctrl->dev.name, dw0);
	if (NVME_AEN_TYPE(dw0) == NVME_AEN_NOTICE && NVME_AEN_LID(dw0) == NVME_LOG_CHANGED_NS) {
		ctrl->fresh = ctrl->info;
		host_steps_start(&ctrl->steps, &ctrl->admin, host_rescan_parts, ctrl, on_rescanned);
	} else {
		read_log(ctrl, NVME_AEN_LID(dw0));
	}
}

static void ask_event(struct host_ctrl *ctrl)
{
	struct host_req *req = ctrl->has_event_out ? NULL : host_req_get(&ctrl->admin);

	if (req == NULL) {
		return;
	}
	req->cmd = (struct nvme_cmd){.opc = NVME_ADMIN_ASYNC_EVENT, .cid = req->cmd.cid};
	req->done = on_event;
	req->arg = ctrl;
	req->is_unbounded = true;
	ctrl->has_event_out = true;
	host_req_start(req);
}

static void on_event_timer(struct xr_timer *timer)
{
	ask_event(xu_container_of(timer, struct host_ctrl, event_timer));
}

/* ---- both ---- */

void host_alive_start(struct host_ctrl *ctrl)
{
	ctrl->keep_alive_timer.fn = on_keep_alive_timer;
	ctrl->event_timer.fn = on_event_timer;
	xr_timer_start(ctrl->reactor, &ctrl->keep_alive_timer, ctrl->kato_ms * XU_NS_PER_MS / 2);
	if (ctrl->info.oaes & NVME_OAES_NS_ATTR) {
		ask_event(ctrl);
	}
}

void host_alive_stop(struct host_ctrl *ctrl)
{
	xr_timer_stop(ctrl->reactor, &ctrl->keep_alive_timer);
	xr_timer_stop(ctrl->reactor, &ctrl->event_timer);
	host_steps_stop(&ctrl->steps);
}
