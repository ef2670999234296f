/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a queue and of its commands: connecting step by step, each with a time limit; handing
 * out commands; finding those that take too long; and the end, which waits until the kernel has
 * given back every buffer. The diagram is in queue.h.
 *
 * Commands. A CID is the command's place in the table with a count of its uses above it, so an
 * answer to an earlier use (a second completion, or one from a target that has lost count) is
 * known as such and ends the connection instead of another's command.
 */
#include "lib/xnvmf/host/queue.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RX_BYTES_ADMIN (16u << 10)
#define RX_BYTES_IO    (64u << 10)
#define TERM_WAIT_NS   XU_NS_PER_S
#define SCAN_MIN_NS    (10 * XU_NS_PER_MS)
#define SCANS          4u /* in the time that a command may take */

static const struct xr_platform *platform_of(const struct host_queue *queue)
{
	return xr_reactor_platform(queue->reactor);
}

/* ---- commands ---- */

void host_cursor_advance(struct host_cursor *cursor, const struct iovec *iov, size_t len)
{
	cursor->skip += len;
	while (cursor->skip != 0 && cursor->skip >= iov[cursor->index].iov_len) {
		cursor->skip -= iov[cursor->index].iov_len;
		cursor->index++;
	}
}

struct host_req *host_req_get(struct host_queue *queue)
{
	struct xu_list *node;
	struct host_req *req;

	if (queue->state != HOST_QUEUE_LIVE && queue->state != HOST_QUEUE_CONNECT) {
		return NULL;
	}
	node = xu_list_pop(&queue->free_reqs);
	if (node == NULL) {
		return NULL;
	}
	req = xu_list_entry(node, struct host_req, link);
	req->iov = NULL;
	req->nr_iov = 0;
	req->data_len = 0;
	req->dir = HOST_DIR_NONE;
	req->is_unbounded = false;
	return req;
}

void host_req_put(struct host_req *req)
{
	xu_list_add_head(&req->queue->free_reqs, &req->link);
}

void host_req_set_data(struct host_req *req, void *buf, uint32_t len, enum host_dir dir)
{
	req->own_iov = (struct iovec){buf, len};
	req->iov = &req->own_iov;
	req->nr_iov = 1;
	req->data_len = len;
	req->dir = (uint8_t)dir;
}

struct host_req *host_req_find(struct host_queue *queue, uint16_t cid)
{
	uint32_t index = cid & queue->index_mask;
	struct host_req *req = &queue->reqs[index];

	return index < queue->nr_reqs && req->state == HOST_REQ_OUT && req->cmd.cid == cid ? req
											   : NULL;
}

static uint32_t max_in_capsule(const struct host_queue *queue, const struct host_req *req)
{
	return queue->opts.qid == 0 || req->cmd.opc == NVME_FABRICS ? NVME_TCP_ADMIN_ICD
								    : queue->opts.icd_bytes;
}

static uint64_t scan_ns(const struct host_queue *queue)
{
	uint64_t ns = queue->opts.timeout_ns / SCANS;

	return ns > SCAN_MIN_NS ? ns : SCAN_MIN_NS;
}

void host_req_start(struct host_req *req)
{
	struct host_queue *queue = req->queue;
	struct nvme_cmd *cmd = &req->cmd;

	cmd->cid = (uint16_t)(cmd->cid + queue->index_mask + 1);
	cmd->flags = NVME_PSDT_SGL;
	req->is_in_capsule =
		req->dir == HOST_DIR_OUT && req->data_len <= max_in_capsule(queue, req);
	cmd->sgl = (struct nvme_sgl){
		.len = req->data_len,
		.type = req->is_in_capsule ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT_DATA,
	};
	req->state = HOST_REQ_OUT;
	req->is_sending = false;
	req->is_last_seen = false;
	req->has_bad_data = false;
	req->is_overdue = false;
	req->moved = 0;
	req->asked = 0;
	req->cursor = (struct host_cursor){0};
	req->r2t_first = 0;
	req->nr_r2t = 0;
	req->dw0 = 0;
	req->dw1 = 0;
	req->start_ns = xr_now_ns(queue->reactor);
	queue->nr_out++;
	if (!req->is_unbounded && queue->opts.timeout_ns != 0 &&
		!xr_timer_is_running(&queue->scan_timer)) {
		xr_timer_start(queue->reactor, &queue->scan_timer, scan_ns(queue));
	}
	host_tx_queue(queue, req, HOST_TX_CMD);
}

/* It can be had again at once; what it holds stays until then. */
static void finish(struct host_req *req, uint16_t status)
{
	req->state = HOST_REQ_FREE;
	req->queue->nr_out--;
	host_req_put(req);
	req->done(req, status);
}

void host_req_complete(struct host_req *req, uint16_t status)
{
	struct host_queue *queue = req->queue;

	if (status == NVME_SC_SUCCESS && req->moved != req->data_len) {
		host_queue_fail(queue, -EPROTO,
			"a command of %u bytes was ended with success after %u", req->data_len,
			req->moved);
		return;
	}
	if (status == NVME_SC_SUCCESS && req->has_bad_data) {
		status = NVME_SC_TRANSPORT_TRANSIENT;
	}
	if (req->is_sending && req->dir == HOST_DIR_OUT) {
		req->state = HOST_REQ_ENDED; /* when the kernel has let go of its data */
		req->status = status;
		return;
	}
	if (xu_list_is_linked(&req->link)) {
		xu_list_del(&req->link);
	}
	finish(req, status);
}

/* A command that takes too long is told once; when it is still out some time later the queue is
 * lost. */
static void on_scan_timer(struct xr_timer *timer)
{
	struct host_queue *queue = xu_container_of(timer, struct host_queue, scan_timer);
	uint64_t now_ns = xr_now_ns(queue->reactor), limit_ns = queue->opts.timeout_ns;
	bool must_go_on = false;

	for (uint32_t i = 0; i < queue->nr_reqs; i++) {
		struct host_req *req = &queue->reqs[i];

		if (req->state == HOST_REQ_FREE || req->is_unbounded) {
			continue;
		}
		must_go_on = true;
		if (now_ns - req->start_ns < limit_ns) {
			continue;
		}
		if (queue->ops->overdue == NULL ||
			now_ns - req->start_ns >= limit_ns + queue->opts.grace_ns) {
			host_queue_fail(queue, -ETIMEDOUT,
				"command %02xh was not answered within %llu ms", req->cmd.opc,
				(unsigned long long)((now_ns - req->start_ns) / XU_NS_PER_MS));
			return;
		}
		if (!req->is_overdue && req->state == HOST_REQ_OUT) {
			req->is_overdue = true;
			queue->ops->overdue(queue, req);
		}
	}
	if (must_go_on && queue->state == HOST_QUEUE_LIVE) {
		xr_timer_start(queue->reactor, &queue->scan_timer, scan_ns(queue));
	}
}

/* ---- the end ---- */

static void end_now(struct host_queue *queue)
{
	const struct xr_platform *platform = platform_of(queue);

	queue->state = HOST_QUEUE_CLOSING;
	xr_timer_stop(queue->reactor, &queue->phase_timer);
	xr_timer_stop(queue->reactor, &queue->scan_timer);
	platform->sock_shutdown(platform, queue->fd);
	xr_op_cancel(queue->reactor, &queue->connect_op);
	xr_op_cancel(queue->reactor, &queue->recv_op);
	xr_op_cancel(queue->reactor, &queue->send_op);
	host_queue_settle(queue);
}

void host_queue_close(struct host_queue *queue)
{
	queue->is_close_asked = true;
	if (queue->state == HOST_QUEUE_LOST && queue->is_terminating) {
		return; /* the target closes first, or its time is over */
	}
	if (queue->state != HOST_QUEUE_CLOSED && queue->state != HOST_QUEUE_CLOSING) {
		end_now(queue);
	}
}

void host_queue_settle(struct host_queue *queue)
{
	if (queue->state == HOST_QUEUE_LOST && queue->is_close_asked && !queue->is_terminating) {
		end_now(queue);
		return;
	}
	if (queue->state == HOST_QUEUE_CLOSING && !queue->is_gone_asked &&
		!queue->connect_op.is_pending && !queue->recv_op.is_pending &&
		!queue->send_op.is_pending && !queue->is_flush_asked) {
		queue->is_gone_asked = true;
		xr_msg_defer(queue->reactor, &queue->gone_msg);
	}
}

/* Ends the commands that are out: nothing touches their data any more. */
static void drop_requests(struct host_queue *queue)
{
	for (uint32_t i = 0; i < queue->nr_reqs; i++) {
		struct host_req *req = &queue->reqs[i];

		if (req->state == HOST_REQ_FREE) {
			continue;
		}
		if (xu_list_is_linked(&req->link)) {
			xu_list_del(&req->link);
		}
		/* One that the target had ended has its end. */
		finish(req, req->state == HOST_REQ_ENDED ? req->status : HOST_LOST);
	}
}

static void free_memory(struct host_queue *queue)
{
	free(queue->reqs);
	free(queue->rx);
	free(queue->stage);
	queue->reqs = NULL;
	queue->rx = NULL;
	queue->stage = NULL;
	queue->nr_reqs = 0;
}

static void on_gone(struct xr_msg *msg)
{
	struct host_queue *queue = xu_container_of(msg, struct host_queue, gone_msg);
	const struct xr_platform *platform = platform_of(queue);

	platform->close(platform, queue->fd);
	drop_requests(queue);
	free_memory(queue);
	queue->is_gone_asked = false;
	queue->state = HOST_QUEUE_CLOSED;
	queue->ops->gone(queue);
}

static void tell_lost(struct host_queue *queue)
{
	queue->state = HOST_QUEUE_LOST;
	xr_timer_stop(queue->reactor, &queue->scan_timer);
	if (!queue->is_lost_told) {
		queue->is_lost_told = true;
		queue->ops->lost(queue);
	}
}

void host_queue_fail(struct host_queue *queue, int code, const char *fmt, ...)
{
	va_list args;

	if (queue->state >= HOST_QUEUE_LOST) {
		return;
	}
	va_start(args, fmt);
	vsnprintf(queue->err.text, sizeof(queue->err.text), fmt, args);
	va_end(args);
	queue->err.code = code;
	xr_timer_stop(queue->reactor, &queue->phase_timer);
	tell_lost(queue);
}

void host_queue_fatal(
	struct host_queue *queue, enum nvme_tcp_fes fes, uint32_t fei, const char *why)
{
	struct nvme_tcp_term *term = (struct nvme_tcp_term *)queue->own_pdu;
	const uint8_t *culprit = queue->rx + queue->rx_start;
	uint32_t len = queue->rx_end - queue->rx_start, hlen = culprit[2];

	if (queue->state >= HOST_QUEUE_LOST) {
		return;
	}
	if (hlen < sizeof(struct nvme_tcp_hdr) || hlen > NVME_TCP_TERM_DATA_MAX) {
		hlen = sizeof(struct nvme_tcp_hdr);
	}
	len = len < hlen ? len : hlen;
	if (queue->own_len == 0 && !queue->is_own_sending) { /* else ICReq is not even out */
		memset(term, 0, sizeof(*term));
		term->hdr.type = NVME_TCP_H2C_TERM;
		term->hdr.hlen = sizeof(*term);
		term->hdr.plen = (uint32_t)sizeof(*term) + len;
		term->fes = (uint16_t)fes;
		term->fei = fei;
		memcpy(queue->own_pdu + sizeof(*term), culprit, len);
		queue->own_len = term->hdr.plen;
		queue->is_terminating = true;
	}
	xu_error_set(&queue->err, -EPROTO, "the target broke the protocol: %s", why);
	xr_timer_start(queue->reactor, &queue->phase_timer, TERM_WAIT_NS);
	tell_lost(queue);
	host_tx_own(queue);
}

/* ---- connecting ---- */

static void on_phase_timer(struct xr_timer *timer)
{
	static const char *const phases[] = {
		[HOST_QUEUE_TCP] = "take the connection",
		[HOST_QUEUE_IC] = "answer ICReq",
		[HOST_QUEUE_CONNECT] = "answer Connect",
	};
	struct host_queue *queue = xu_container_of(timer, struct host_queue, phase_timer);

	if (queue->state == HOST_QUEUE_LOST) {
		queue->is_terminating = false; /* the target does not close */
		host_queue_settle(queue);
		return;
	}
	host_queue_fail(queue, -ETIMEDOUT, "the target did not %s within %llu s",
		phases[queue->state], (unsigned long long)(HOST_PHASE_NS / XU_NS_PER_S));
}

static void on_connect_done(struct host_req *req, uint16_t status)
{
	struct host_queue *queue = req->queue;

	if (status == HOST_LOST || queue->state != HOST_QUEUE_CONNECT) {
		return;
	}
	queue->connect_status = status;
	queue->connect_dw0 = req->dw0;
	if (status != NVME_SC_SUCCESS) {
		host_queue_fail(queue, -ECONNREFUSED,
			"the target refused Connect of queue %u with status %u/%02xh (information "
			"%xh)",
			queue->opts.qid, NVME_STATUS_SCT(status), NVME_STATUS_SC(status),
			queue->connect_dw0);
		return;
	}
	xr_timer_stop(queue->reactor, &queue->phase_timer);
	queue->state = HOST_QUEUE_LIVE;
	queue->ops->live(queue, req->dw0);
}

void host_queue_initialized(struct host_queue *queue)
{
	const struct host_peer *peer = queue->opts.peer;
	struct nvme_connect_data *data = &queue->connect_data;
	struct nvme_connect_cmd *cmd;
	struct host_req *req;

	queue->state = HOST_QUEUE_CONNECT;
	req = host_req_get(queue); /* the first one: there are some */
	memset(data, 0, sizeof(*data));
	memcpy(data->hostid, peer->hostid, sizeof(data->hostid));
	data->cntlid = queue->opts.cntlid;
	strcpy(data->subnqn, peer->subnqn);
	strcpy(data->hostnqn, peer->hostnqn);
	cmd = (struct nvme_connect_cmd *)&req->cmd;
	*cmd = (struct nvme_connect_cmd){
		.opc = NVME_FABRICS,
		.cid = cmd->cid,
		.fctype = NVME_FCTYPE_CONNECT,
		.qid = queue->opts.qid,
		.sqsize = (uint16_t)(queue->opts.entries - 1),
		.cattr = (uint8_t)((peer->keeps_sqflow ? 0 : NVME_CATTR_DISABLE_SQFLOW) |
				   (peer->is_controller ? NVME_CATTR_DISCOVERY : 0)),
		.kato = queue->opts.qid == 0 ? queue->opts.kato_ms : 0,
	};
	req->done = on_connect_done;
	host_req_set_data(req, data, sizeof(*data), HOST_DIR_OUT);
	xr_timer_start(queue->reactor, &queue->phase_timer, HOST_PHASE_NS);
	host_req_start(req);
}

static void on_tcp_connected(struct xr_op *op, int32_t result)
{
	struct host_queue *queue = xu_container_of(op, struct host_queue, connect_op);
	struct nvme_tcp_icreq *req = (struct nvme_tcp_icreq *)queue->own_pdu;
	const struct host_peer *peer = queue->opts.peer;

	if (queue->state != HOST_QUEUE_TCP) {
		host_queue_settle(queue);
		return;
	}
	if (result != 0) {
		host_queue_fail(queue, result, "connecting failed: %s", strerror(-result));
		return;
	}
	queue->state = HOST_QUEUE_IC;
	memset(req, 0, sizeof(*req));
	req->hdr.type = NVME_TCP_ICREQ;
	req->hdr.hlen = sizeof(*req);
	req->hdr.plen = sizeof(*req);
	req->dgst = (uint8_t)((peer->wants_hdgst ? NVME_TCP_DGST_HEADER : 0) |
			      (peer->wants_ddgst ? NVME_TCP_DGST_DATA : 0));
	req->maxr2t = HOST_MAX_R2T - 1;
	queue->own_len = sizeof(*req);
	xr_timer_start(queue->reactor, &queue->phase_timer, HOST_PHASE_NS);
	host_tx_own(queue);
	host_rx_arm(queue);
}

static int allocate(struct host_queue *queue, uint32_t nr_reqs)
{
	uint32_t mask = 1;

	while (mask <= nr_reqs) { /* no CID is FFFFh: the highest place is never used */
		mask <<= 1;
	}
	queue->index_mask = mask - 1;
	queue->rx_bytes = queue->opts.qid == 0 ? RX_BYTES_ADMIN : RX_BYTES_IO;
	queue->reqs = calloc(mask, sizeof(*queue->reqs));
	queue->rx = malloc(queue->rx_bytes);
	queue->stage = malloc(HOST_STAGE_BYTES);
	if (queue->reqs == NULL || queue->rx == NULL || queue->stage == NULL) {
		free_memory(queue);
		return -ENOMEM;
	}
	queue->nr_reqs = nr_reqs;
	xu_list_init(&queue->free_reqs);
	for (uint32_t i = 0; i < nr_reqs; i++) {
		queue->reqs[i].queue = queue;
		queue->reqs[i].cmd.cid = (uint16_t)i;
		xu_list_add_tail(&queue->free_reqs, &queue->reqs[i].link);
	}
	return 0;
}

int host_queue_open(struct host_queue *queue, const struct host_queue_opts *opts)
{
	const struct xr_platform *platform = platform_of(queue);
	int rc;

	queue->opts = *opts;
	queue->err = (struct xu_error){0};
	queue->connect_status = 0;
	queue->connect_dw0 = 0;
	queue->is_lost_told = false;
	queue->is_close_asked = false;
	queue->is_terminating = false;
	queue->has_hdgst = false;
	queue->has_ddgst = false;
	queue->nr_out = 0;
	queue->fd = platform->tcp_socket(platform, opts->peer->address);
	if (queue->fd < 0) {
		return xu_error_set_errno(
			&queue->err, queue->fd, "making a socket for %s", opts->peer->address);
	}
	rc = allocate(queue, opts->entries - 1);
	if (rc != 0) {
		platform->close(platform, queue->fd);
		return xu_error_set_errno(
			&queue->err, rc, "making a queue of %u entries", opts->entries);
	}
	platform->sock_tune(platform, queue->fd);
	host_rx_init(queue);
	host_tx_init(queue);
	queue->state = HOST_QUEUE_TCP;
	queue->connect_op.fd = queue->fd;
	queue->connect_op.addr = (const struct sockaddr *)&opts->peer->addr;
	queue->connect_op.addr_len = opts->peer->addr_len;
	xr_timer_start(queue->reactor, &queue->phase_timer, HOST_PHASE_NS);
	xr_op_submit(queue->reactor, &queue->connect_op);
	return 0;
}

void host_queue_init(struct host_queue *queue, struct xr_reactor *reactor,
	const struct host_queue_ops *ops, const char *name)
{
	memset(queue, 0, sizeof(*queue));
	queue->reactor = reactor;
	queue->ops = ops;
	queue->name = name;
	queue->fd = -1;
	queue->phase_timer.fn = on_phase_timer;
	queue->scan_timer.fn = on_scan_timer;
	queue->gone_msg.fn = on_gone;
	queue->connect_op.cb = on_tcp_connected;
	queue->connect_op.opcode = XR_OP_CONNECT;
}
