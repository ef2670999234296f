/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queue pairs, as far as the transports have no part in it.
 *
 *   NEW --Connect--> LIVE --connection lost or ended--> ENDING --last request back--> gone, freed
 *
 * The control reactor makes and frees them and knows where each lives. An I/O queue moves to its
 * home once, after Connect: the transport pauses, a message carries it over, the transport goes on
 * there and Connect is answered from there. To end a connection that lives elsewhere the control
 * reactor sends one message, which comes back as an acknowledgement; a queue pair is freed only
 * when it is gone and no such message is under way.
 */
#include "lib/xnvmf/target/private.h"

static void on_connect_timeout(struct xr_timer *timer)
{
	struct xnvmf_qpair *qpair = xu_container_of(timer, struct xnvmf_qpair, connect_timer);

	struct xnvmf_target *target = qpair->target;
	uint64_t nr_silent;

	if (xnvmf__log_allowed(target, &target->silent_limit, &nr_silent)) {
		xu_info(target->log,
			"connection %llu: no Connect in %u ms, closed (%llu more since the last "
			"such line)",
			(unsigned long long)qpair->id, target->opts.connect_timeout_ms,
			(unsigned long long)nr_silent);
	}
	xnvmf__qpair_disconnect(qpair);
}

void xnvmf__qpair_init(struct xnvmf_qpair *qpair, struct xnvmf_port *port)
{
	struct xnvmf_target *target = port->target;

	qpair->target = target;
	qpair->transport = port->transport;
	qpair->port = port;
	qpair->reactor = xnvmf__control(target);
	qpair->home = qpair->reactor;
	qpair->state = XNVMF_QPAIR_NEW;
	qpair->id = ++target->next_qpair_id;
	qpair->connect_timer.fn = on_connect_timeout;
	xu_list_init(&qpair->buffer_waiters);
	qpair->share = &target->groups[xr_reactor_index(qpair->reactor)].strangers;
	port->nr_users++;
	target->nr_qpairs++;
	target->nr_connections++;
	xu_list_add_tail(&target->qpairs, &qpair->control_link);
	qpair->accepted_ns = xr_now_ns(qpair->reactor);
	xu_list_init(&qpair->unconnected_link);
	xu_list_add_tail(&target->unconnected, &qpair->unconnected_link);
	xr_timer_start(qpair->reactor, &qpair->connect_timer,
		target->opts.connect_timeout_ms * XU_NS_PER_MS);
}

/* ---- moving ---- */

static void on_moved(struct xr_msg *msg)
{
	struct xnvmf_qpair *qpair = xu_container_of(msg, struct xnvmf_qpair, move_msg);
	struct xnvmf_req *req = qpair->connect_req;

	qpair->connect_req = NULL;
	qpair->reactor = qpair->target->groups[qpair->move_to].reactor;
	qpair->group = &qpair->subsystem->groups[qpair->move_to];
	qpair->share = &qpair->ctrl->initiator->shares[qpair->move_to];
	qpair->transport->resume(qpair);
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

static void send_disconnect(struct xnvmf_qpair *qpair);

static void on_paused(struct xnvmf_qpair *qpair)
{
	qpair->is_moving = false;
	qpair->move_msg.fn = on_moved;
	xr_msg_send(qpair->home, &qpair->move_msg);
	if (qpair->is_disconnect_asked) {
		send_disconnect(qpair); /* arrives behind it */
	}
}

void xnvmf__qpair_move(struct xnvmf_qpair *qpair, struct xr_reactor *home)
{
	qpair->home = home;
	qpair->move_to = xr_reactor_index(home);
	qpair->is_moving = true;
	qpair->transport->pause(qpair, on_paused);
}

/* ---- ending ---- */

void xnvmf__qpair_request_done(struct xnvmf_qpair *qpair)
{
	struct xnvmf_req *req = qpair->disconnect_req;

	if (req != NULL && qpair->nr_requests == 1) {
		qpair->disconnect_req = NULL;
		xnvmf__req_complete(req, NVME_SC_SUCCESS);
	}
}

void xnvmf__qpair_ending(struct xnvmf_qpair *qpair)
{
	struct xnvmf_req *req = qpair->connect_req;

	qpair->state = XNVMF_QPAIR_ENDING;
	if (req != NULL) {
		/* It ends before it has moved: it stays here, and nobody is asked elsewhere. */
		qpair->connect_req = NULL;
		qpair->is_moving = false;
		qpair->is_disconnect_acked = qpair->is_disconnect_asked;
		qpair->target->groups[xr_reactor_index(qpair->home)].nr_qpairs--;
		qpair->home = qpair->reactor;
		qpair->target->groups[xr_reactor_index(qpair->home)].nr_qpairs++;
		xnvmf__req_complete(req, NVME_SC_ABORTED);
	}
	if (qpair->held_req != NULL) {
		req = qpair->held_req;
		qpair->held_req = NULL;
		xu_list_del(&req->link);
		qpair->transport->drop(req);
	}
	if (qpair->disconnect_req != NULL) {
		req = qpair->disconnect_req;
		qpair->disconnect_req = NULL;
		qpair->transport->drop(req);
	}
	if (qpair->ctrl != NULL && qpair->qid == 0) {
		xnvmf__ctrl_drop_aers(qpair->ctrl);
	}
}

void xnvmf__qpair_free_if_done(struct xnvmf_qpair *qpair)
{
	struct xnvmf_target *target = qpair->target;
	struct xnvmf_port *port = qpair->port;

	if (!qpair->is_gone || qpair->nr_aborts != 0 ||
		(qpair->is_disconnect_asked && !qpair->is_disconnect_acked)) {
		return;
	}
	xr_timer_stop(xnvmf__control(target), &qpair->connect_timer);
	xu_list_del(&qpair->control_link);
	xu_list_del(&qpair->unconnected_link);
	target->nr_dropped -= qpair->is_dropped;
	target->groups[xr_reactor_index(qpair->home)].nr_qpairs -= qpair->qid != 0;
	if (qpair->ctrl != NULL) {
		xnvmf__ctrl_qpair_gone(qpair->ctrl, qpair);
	}
	qpair->transport->free(qpair);
	xnvmf__port_put(port);
	target->nr_qpairs--; /* the target may go when this is the last */
	xnvmf__target_check(target);
}

static void on_gone(struct xr_msg *msg)
{
	struct xnvmf_qpair *qpair = xu_container_of(msg, struct xnvmf_qpair, gone_msg);

	qpair->is_gone = true;
	xnvmf__qpair_free_if_done(qpair);
}

void xnvmf__qpair_gone(struct xnvmf_qpair *qpair)
{
	qpair->gone_msg.fn = on_gone;
	xr_msg_send(xnvmf__control(qpair->target), &qpair->gone_msg);
}

static void on_disconnect_acked(struct xr_msg *msg)
{
	struct xnvmf_qpair *qpair = xu_container_of(msg, struct xnvmf_qpair, disconnect_msg);

	qpair->is_disconnect_acked = true;
	xnvmf__qpair_free_if_done(qpair);
}

static void on_disconnect(struct xr_msg *msg)
{
	struct xnvmf_qpair *qpair = xu_container_of(msg, struct xnvmf_qpair, disconnect_msg);

	qpair->transport->disconnect(qpair);
	qpair->disconnect_msg.fn = on_disconnect_acked;
	xr_msg_send(xnvmf__control(qpair->target), &qpair->disconnect_msg);
}

static void send_disconnect(struct xnvmf_qpair *qpair)
{
	qpair->disconnect_msg.fn = on_disconnect;
	xr_msg_send(qpair->home, &qpair->disconnect_msg);
}

void xnvmf__qpair_disconnect(struct xnvmf_qpair *qpair)
{
	if (qpair->is_disconnect_asked || qpair->is_gone) {
		return;
	}
	qpair->is_disconnect_asked = true;
	xu_list_del(&qpair->unconnected_link);
	if (!qpair->is_moving) {
		send_disconnect(qpair);
	}
}
