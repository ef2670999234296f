/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of a connection: their memory, the wait for the host's data, and what becomes of
 * them when they are aborted or the connection ends. There is one before Connect and as many as the
 * queue has entries, and some, after it; a TTAG is the index of one.
 *
 * A command that is aborted while an R2T of it is out is completed, and its buffer is free at once;
 * but the host may have sent the data before it heard of that. So its TTAG stays taken until all
 * that the R2T asked for has come and was thrown away. Hosts may do without sending it, and what
 * they send late must not land in another command; so a TTAG is never given up by time, and when
 * TCP_DRAINING_MAX of them are taken in this way, no more commands that wait for data are aborted.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/xnvmf/tcp/private.h"

#define DATA_WAIT_NS (60 * XU_NS_PER_S) /* hosts give a command up earlier */
#define SLAB_TTAG    0x8000u            /* set in the TTAGs of the second slab */

/* ---- memory ---- */

int tcp_slab_init(struct tcp_conn *conn, uint32_t index, uint32_t count, uint32_t icd_bytes)
{
	struct tcp_slab *slab = &conn->slabs[index];

	slab->reqs = calloc(count, sizeof(*slab->reqs));
	if (slab->reqs == NULL) {
		return -ENOMEM;
	}
	if (icd_bytes != 0) {
		size_t bytes = (size_t)count * icd_bytes;

		/* Not zeroed: what no capsule has come into costs no memory. */
		slab->icd_memory = aligned_alloc(
			XU_BUF_ALIGN, (bytes + XU_BUF_ALIGN - 1) / XU_BUF_ALIGN * XU_BUF_ALIGN);
		if (slab->icd_memory == NULL) {
			free(slab->reqs);
			slab->reqs = NULL;
			return -ENOMEM;
		}
	}
	slab->count = count;
	slab->icd_bytes = icd_bytes;
	xu_list_init(&conn->free_reqs);
	for (uint32_t i = 0; i < count; i++) {
		struct tcp_req *treq = &slab->reqs[i];

		treq->conn = conn;
		treq->req.qpair = &conn->qpair;
		treq->ttag = (uint16_t)(i | (index != 0 ? SLAB_TTAG : 0));
		if (icd_bytes != 0) {
			treq->icd_buf = (char *)slab->icd_memory + (size_t)i * icd_bytes;
		}
		xu_list_init(&treq->tx.link);
		xu_list_add_tail(&conn->free_reqs, &treq->link);
	}
	return 0;
}

void tcp_slab_fini(struct tcp_slab *slab)
{
	free(slab->icd_memory);
	free(slab->reqs);
}

struct tcp_req *tcp_req_get(struct tcp_conn *conn)
{
	struct xu_list *node = xu_list_pop(&conn->free_reqs);
	struct tcp_req *treq;

	if (node == NULL) {
		return NULL;
	}
	treq = xu_list_entry(node, struct tcp_req, link);
	treq->is_r2t_due = false;
	treq->is_response_due = false;
	treq->is_draining = false;
	treq->nr_fetched = 0;
	treq->r2t_end = 0;
	conn->qpair.nr_requests++;
	return treq;
}

static void make_free(struct tcp_req *treq)
{
	struct tcp_conn *conn = treq->conn;

	treq->state = TCP_REQ_FREE;
	/* The last used is used first. The one from before Connect is not used again. */
	if (conn->slabs[1].reqs == NULL || (treq->ttag & SLAB_TTAG)) {
		xu_list_add_head(&conn->free_reqs, &treq->link);
	}
}

void tcp_req_put(struct tcp_req *treq)
{
	struct tcp_conn *conn = treq->conn;

	xnvmf__req_free(&treq->req);
	conn->qpair.nr_requests--;
	if (treq->is_draining) {
		treq->state = TCP_REQ_DRAINING;
	} else {
		make_free(treq);
	}
	xnvmf__qpair_request_done(&conn->qpair);
}

void tcp_req_drained(struct tcp_req *treq)
{
	treq->is_draining = false;
	treq->conn->nr_draining--;
	if (treq->state == TCP_REQ_DRAINING) { /* else its completion is still on its way */
		make_free(treq);
	}
}

struct tcp_req *tcp_req_find(struct tcp_conn *conn, uint16_t ttag)
{
	struct tcp_slab *slab = &conn->slabs[(ttag & SLAB_TTAG) != 0];
	uint32_t index = ttag & ~SLAB_TTAG;

	return index < slab->count ? &slab->reqs[index] : NULL;
}

/* ---- the end of the connection ---- */

/* Puts back the requests that wait for a buffer; then others may go on. */
void tcp_reqs_drop_waiting(struct tcp_conn *conn)
{
	for (uint32_t i = 0; i < 2; i++) {
		for (uint32_t k = 0; k < conn->slabs[i].count; k++) {
			struct tcp_req *treq = &conn->slabs[i].reqs[k];

			if (treq->req.is_waiting) {
				xnvmf__buffer_cancel(&treq->req);
				tcp_req_put(treq);
			}
		}
	}
	xnvmf__buffers_serve(&conn->qpair);
}

/* Puts back the requests whose data was still to come. */
static void drop_receiving(struct tcp_slab *slab)
{
	for (uint32_t i = 0; i < slab->count; i++) {
		struct tcp_req *treq = &slab->reqs[i];

		if (treq->state == TCP_REQ_FETCHING || treq->state == TCP_REQ_CAPSULE) {
			tcp_req_put(treq);
		}
	}
}

/* Puts back what waited for the host; what the device has comes back by itself. Who waits for a
 * buffer goes first, or it would be given one that another puts back, and ask the host for data. */
void tcp_reqs_drop(struct tcp_conn *conn)
{
	tcp_reqs_drop_waiting(conn);
	tcp_tx_drop(conn);
	drop_receiving(&conn->slabs[0]);
	drop_receiving(&conn->slabs[1]);
}

/* ---- data of the host ---- */

static bool is_late(const struct tcp_slab *slab, uint64_t now_ns, bool *ret_is_fetching)
{
	for (uint32_t i = 0; i < slab->count; i++) {
		const struct tcp_req *treq = &slab->reqs[i];

		if (treq->state == TCP_REQ_FETCHING) {
			*ret_is_fetching = true;
			/* Until the R2T has been sent it is the sending that is bounded. */
			if (!treq->is_tx_busy && now_ns - treq->fetch_ns >= DATA_WAIT_NS) {
				return true;
			}
		}
	}
	return false;
}

/* A host that never sends what it wants written would hold our buffers for ever. */
static void on_data_timer(struct xr_timer *timer)
{
	struct tcp_conn *conn = xu_container_of(timer, struct tcp_conn, data_timer);
	uint64_t now_ns = xr_now_ns(conn->qpair.reactor);
	bool is_fetching = false;

	if (is_late(&conn->slabs[0], now_ns, &is_fetching) ||
		is_late(&conn->slabs[1], now_ns, &is_fetching)) {
		tcp_conn_lose(conn, "the host does not send the data of its command");
		tcp_conn_settle(conn);
	} else if (is_fetching) {
		xr_timer_start(conn->qpair.reactor, &conn->data_timer, DATA_WAIT_NS);
	}
}

void tcp_fetch(struct xnvmf_req *req)
{
	struct tcp_req *treq = xu_container_of(req, struct tcp_req, req);
	struct tcp_conn *conn = treq->conn;

	treq->state = TCP_REQ_FETCHING;
	if (!xr_timer_is_running(&conn->data_timer)) {
		conn->data_timer.fn = on_data_timer;
		xr_timer_start(conn->qpair.reactor, &conn->data_timer, DATA_WAIT_NS);
	}
	tcp_send_r2t(treq);
}

void tcp_drop(struct xnvmf_req *req)
{
	tcp_req_put(xu_container_of(req, struct tcp_req, req));
}

/* ---- abort ---- */

/* Ends a command that waits for its data, unless some of it is just coming in. */
static bool abort_fetching(struct tcp_req *treq)
{
	struct tcp_conn *conn = treq->conn;

	if (conn->rx_req == treq || conn->nr_draining == TCP_DRAINING_MAX) {
		return false;
	}
	treq->is_r2t_due = false;
	treq->is_draining = treq->nr_fetched < treq->r2t_end;
	conn->nr_draining += treq->is_draining;
	treq->state = TCP_REQ_RUNNING;
	xnvmf__buffer_put(&treq->req);
	xnvmf__req_complete(&treq->req, NVME_SC_ABORTED);
	return true;
}

static bool abort_waiting(struct tcp_req *treq)
{
	xnvmf__buffer_cancel(&treq->req);
	xnvmf__req_complete(&treq->req, NVME_SC_ABORTED);
	xnvmf__buffers_serve(&treq->conn->qpair);
	return true;
}

bool tcp_abort(struct xnvmf_qpair *qpair, uint16_t cid)
{
	struct tcp_conn *conn = xu_container_of(qpair, struct tcp_conn, qpair);
	struct tcp_slab *slab = &conn->slabs[1];

	if (conn->state != TCP_CONN_OPEN) {
		return false;
	}
	for (uint32_t i = 0; i < slab->count; i++) {
		struct tcp_req *treq = &slab->reqs[i];

		if (treq->req.cmd.cid != cid) {
			continue;
		}
		if (treq->state == TCP_REQ_RUNNING && treq->req.is_waiting) {
			return abort_waiting(treq);
		}
		if (treq->state == TCP_REQ_FETCHING) {
			return abort_fetching(treq);
		}
	}
	return false;
}
