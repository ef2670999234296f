/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who gets a reactor's data buffers. A host decides how long its commands hold theirs: it may be
 * slow to send what it wants written, or to take what it has read. So nobody may hold so much that
 * others have nothing, and who must wait does it in a line that is its own:
 *
 *   a queue  holds at most 1/8 of the pool      else waits in the queue's line
 *   a host   holds at most as much as is free   else waits in the host's line
 *            or, while no other has or wants any, all but a quarter
 *   all      hold at most 15/16 of the pool: the rest is the devices', whose bounce buffers the
 *            commands that hold the others may be waiting for
 *
 * The second rule is a moving bound: n hosts that take all they can have 1/(n+1) each, and as much
 * stays free for the next. One alone would leave half of the pool to nobody; it leaves a quarter,
 * and room for two of the largest commands, so that the next host can begin at once; the first one
 * then gets nothing more until it is within the bound. Hosts over it are served in turn. A host
 * that holds nothing may have one buffer whatever its size. While even that is not free it is
 * hungry, and for the hungry host that has waited for longest what others give back is put by:
 * buffers that were out before are reserved for it when they return. So small commands cannot
 * starve a large one, nor does a large one that waits for a host that has gone silent hold up the
 * small ones, which have what was free all along.
 *
 * The fast path, when nobody waits, is a few comparisons. When others wait, a command that gives
 * its buffer back first serves its own host. The other hosts are looked through only when what is
 * free has reached min_need, a lower bound of what any of them must see free to take one more.
 */
#include <string.h>

#include "lib/xnvmf/target/private.h"

/* What a request takes from the pool: its size class. */
static uint64_t cost_of(const struct xnvmf_req *req)
{
	uint64_t least = 1ull << XU_BUF_CLASS_MIN;

	return req->data_len <= least ? least
				      : 1ull << (64 - __builtin_clzll(req->data_len - 1ull));
}

static struct xnvmf_req *first_of(const struct xu_list *line)
{
	struct xu_list *node = xu_list_first(line);

	return node != NULL ? xu_list_entry(node, struct xnvmf_req, link) : NULL;
}

/* ---- shares ---- */

void xnvmf__share_init(struct xnvmf_share *share)
{
	share->bytes = 0;
	share->is_hungry = false;
	xu_list_init(&share->line);
	xu_list_init(&share->link);
}

/* Puts a share into the group's list that it belongs to. */
static void relink(struct xnvmf_group *group, struct xnvmf_share *share)
{
	bool is_hungry = share->bytes == 0 && !xu_list_is_empty(&share->line);

	if (xu_list_is_empty(&share->line)) {
		xu_list_del(&share->link);
	} else if (!xu_list_is_linked(&share->link) || is_hungry != share->is_hungry) {
		xu_list_del(&share->link);
		xu_list_add_tail(is_hungry ? &group->hungry : &group->waiting, &share->link);
	}
	share->is_hungry = is_hungry;
	if (share == group->first_hungry && !is_hungry) {
		group->first_hungry = NULL;
		group->reserved = 0;
	}
}

/* What must be free for a share to take one more: a host alone needs less than one among others. */
static uint64_t need_alone(const struct xnvmf_group *group, uint64_t cost)
{
	return group->alone_left + cost;
}

static uint64_t least_need(
	const struct xnvmf_group *group, const struct xnvmf_share *share, uint64_t cost)
{
	uint64_t alone = need_alone(group, cost), among = share->bytes + cost;

	return alone < among ? alone : among;
}

/* After every change of a share. What it needs may have become less; more does no harm. */
static void update_share(struct xnvmf_group *group, struct xnvmf_share *share)
{
	const struct xnvmf_req *req = first_of(&share->line);

	relink(group, share);
	if (req != NULL && least_need(group, share, cost_of(req)) < group->min_need) {
		group->min_need = least_need(group, share, cost_of(req));
	}
}

/* From here on, what is out now is put by for the one who has been hungry for longest. */
static void choose_first_hungry(struct xnvmf_group *group)
{
	struct xu_list *node = xu_list_first(&group->hungry);

	if (group->first_hungry == NULL && node != NULL) {
		group->first_hungry = xu_list_entry(node, struct xnvmf_share, link);
		group->epoch++;
	}
}

/* What a share may use of what is free. */
static uint64_t available(const struct xnvmf_group *group, const struct xnvmf_share *share)
{
	const struct xu_bufpool *pool = xr_reactor_buffers(group->reactor);
	uint64_t kept = pool->used_bytes + (share != group->first_hungry ? group->reserved : 0);

	return kept < group->buf_limit ? group->buf_limit - kept : 0;
}

/* No other host has a buffer; one that has none and wants one is hungry. */
static bool is_alone(const struct xnvmf_group *group, const struct xnvmf_share *share)
{
	return group->held_bytes == share->bytes && xu_list_is_empty(&group->hungry);
}

static bool may_take(
	const struct xnvmf_group *group, const struct xnvmf_share *share, uint64_t cost)
{
	uint64_t left = available(group, share);

	return share->bytes + cost <= left ||
	       (need_alone(group, cost) <= left && is_alone(group, share));
}

/* Takes a buffer for the request, when the pool has it and its host may. */
static bool take(struct xnvmf_group *group, struct xnvmf_req *req)
{
	struct xnvmf_share *share = req->qpair->share;
	uint64_t cost = cost_of(req);

	if (!may_take(group, share, cost)) {
		return false;
	}
	req->buf = xu_bufpool_get(xr_reactor_buffers(group->reactor), req->data_len);
	req->is_pool_buf = req->buf != NULL;
	if (req->is_pool_buf) {
		req->buf_epoch = group->epoch;
		share->bytes += cost;
		group->held_bytes += cost;
	}
	return req->is_pool_buf;
}

/* ---- lines ---- */

static bool has_qpair_share(const struct xnvmf_group *group, const struct xnvmf_req *req)
{
	uint64_t bytes = req->qpair->buf_bytes;

	return bytes == 0 || bytes + cost_of(req) <= group->qpair_share;
}

static void leave_line(struct xnvmf_req *req)
{
	xu_list_del(&req->link);
	req->is_waiting = false;
}

/* Gives the first of a share's line its buffer; false when it must go on waiting. */
static bool serve_first(struct xnvmf_group *group, struct xnvmf_share *share)
{
	struct xnvmf_req *req = first_of(&share->line);

	if (req == NULL || !take(group, req)) {
		return false;
	}
	leave_line(req);
	update_share(group, share);
	xnvmf__req_have_buffer(req);
	return true;
}

/* In turn, one request of each host at a time, the hungry first. */
static void serve_others(struct xnvmf_group *group)
{
	bool goes_on = true;

	while (goes_on && available(group, NULL) >= group->min_need) {
		struct xu_list turn, *node;

		goes_on = false;
		group->min_need = UINT64_MAX;
		xu_list_init(&turn);
		xu_list_splice_tail(&turn, &group->hungry);
		xu_list_splice_tail(&turn, &group->waiting);
		while ((node = xu_list_pop(&turn)) != NULL) {
			struct xnvmf_share *share = xu_list_entry(node, struct xnvmf_share, link);

			goes_on |= serve_first(group, share);
			update_share(group, share);
		}
	}
}

/* Gives out what is free; `own` (may be NULL) is the share that has just given something back. */
static void serve(struct xnvmf_group *group, struct xnvmf_share *own)
{
	if (xu_list_is_empty(&group->hungry) && xu_list_is_empty(&group->waiting)) {
		return;
	}
	if (own != NULL && group->is_serving) {
		update_share(group, own);
	}
	if (group->is_serving) { /* a command that was served has ended at once */
		group->must_serve = true;
		return;
	}
	group->is_serving = true;
	do {
		group->must_serve = false;
		if (group->first_hungry != NULL) {
			serve_first(group, group->first_hungry);
		}
		while (own != NULL && serve_first(group, own)) {
		}
		if (own != NULL) {
			update_share(group, own);
		}
		serve_others(group);
		choose_first_hungry(group);
	} while (group->must_serve);
	group->is_serving = false;
}

static void wait_in(struct xnvmf_req *req, struct xu_list *line, bool is_of_host)
{
	req->is_waiting = true;
	req->is_in_host_line = is_of_host;
	xu_list_add_tail(line, &req->link);
}

/* Goes on with a buffer, or joins the line of its host. */
static void join_host(struct xnvmf_group *group, struct xnvmf_req *req)
{
	struct xnvmf_share *share = req->qpair->share;

	req->qpair->buf_bytes += cost_of(req);
	if (xu_list_is_empty(&share->line) && take(group, req)) {
		xnvmf__req_have_buffer(req);
		return;
	}
	wait_in(req, &share->line, true);
	update_share(group, share);
	if (!group->is_serving) {
		choose_first_hungry(group);
	}
}

void xnvmf__buffer_get(struct xnvmf_req *req)
{
	struct xnvmf_group *group = xnvmf__group_of(req->qpair);

	if (!xu_list_is_empty(&req->qpair->buffer_waiters) || !has_qpair_share(group, req)) {
		wait_in(req, &req->qpair->buffer_waiters, false);
	} else {
		join_host(group, req);
	}
}

static void serve_qpair(struct xnvmf_group *group, struct xnvmf_qpair *qpair)
{
	struct xnvmf_req *req;

	while ((req = first_of(&qpair->buffer_waiters)) != NULL && has_qpair_share(group, req)) {
		leave_line(req);
		join_host(group, req);
	}
}

void xnvmf__buffer_put(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;
	struct xnvmf_group *group = xnvmf__group_of(qpair);
	uint64_t cost = cost_of(req);

	if (!req->is_pool_buf) {
		return;
	}
	xu_bufpool_put(xr_reactor_buffers(qpair->reactor), req->buf, req->data_len);
	qpair->buf_bytes -= cost;
	qpair->share->bytes -= cost;
	group->held_bytes -= cost;
	req->is_pool_buf = false;
	req->buf = NULL;
	if (group->first_hungry != NULL && req->buf_epoch != group->epoch) {
		group->reserved += cost;
	}
	relink(group, qpair->share); /* min_need when it has been served */
	serve(group, qpair->share);
	serve_qpair(group, qpair);
}

void xnvmf__buffer_cancel(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;

	if (!req->is_waiting) {
		return;
	}
	leave_line(req);
	if (req->is_in_host_line) {
		qpair->buf_bytes -= cost_of(req);
		update_share(xnvmf__group_of(qpair), qpair->share);
	}
}

void xnvmf__buffers_serve(struct xnvmf_qpair *qpair)
{
	struct xnvmf_group *group = xnvmf__group_of(qpair);

	serve(group, NULL);
	serve_qpair(group, qpair);
}
