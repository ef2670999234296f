/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/Os of the device as commands, on the slot's reactor.
 *
 *   submit --> (FORWARD: to another slot) --> line --> a command --> done: end, try again, or lost
 *                                              ^                       |            |
 *                                              +---- after a delay ----+------------+
 *
 * An I/O whose command was out when the connection ended goes back into the line and is sent again
 * on the next connection, at most HOST_MAX_LOSSES times. If it writes, its fate is unknown until
 * the target has surely given up the old connection: until then it is in doubt, and another write
 * to the same blocks waits, because the old one might still be carried out after it. Reads and the
 * write itself need not wait: it writes what the old one would write.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/xnvmf/host/private.h"

#define RETRY_FIRST_NS (100 * XU_NS_PER_MS)
#define RETRY_MAX_NS   (2 * XU_NS_PER_S)
#define RETRIES        5u  /* of a command that may work in a moment: 3 s */
#define WAITS          16u /* of one that may take longer: 27 s */
#define MAX_NLB        65536u

/* In the I/O's part for the driver. */
struct host_io {
	struct xu_list link; /* slot->line or slot->retry */
	struct xr_msg msg;   /* to the slot that has a queue, and back */
	struct host_slot *home;
	struct host_slot *slot; /* where it is */
	uint64_t id;
	uint64_t due_ns;     /* on the list of retries */
	uint64_t done_bytes; /* of DISCARD and WRITE_ZEROES */
	uint32_t piece_bytes;
	int status;
	uint8_t nr_losses;
	uint8_t nr_retries;
	bool is_submitting; /* within submit(), abort or cancel: it must not end now */
	bool is_away;       /* the home's: forwarded and not come back */
};

static struct xbdev_io *xio_of(struct host_io *hio)
{
	return xbdev_io_of_driver(hio);
}

static bool is_writing(const struct xbdev_io *io)
{
	return io->op == XBDEV_OP_WRITE || io->op == XBDEV_OP_WRITE_ZEROES ||
	       io->op == XBDEV_OP_DISCARD;
}

/* ---- the end of an I/O ---- */

static void on_home(struct xr_msg *msg)
{
	struct host_io *hio = xu_container_of(msg, struct host_io, msg);

	xbdev_io_complete(xio_of(hio), hio->status);
}

static void end_io(struct host_io *hio, int status)
{
	if (hio->slot != hio->home) {
		hio->status = status;
		hio->msg.fn = on_home;
		xr_msg_send(hio->home->reactor, &hio->msg);
	} else if (hio->is_submitting) {
		xbdev_io_complete_later(xio_of(hio), status);
	} else {
		xbdev_io_complete(xio_of(hio), status);
	}
}

/* ---- later ---- */

static void put_in_line(struct host_slot *slot, struct host_io *hio)
{
	xu_list_add_tail(&slot->line, &hio->link);
}

static void arm_retry_timer(struct host_slot *slot)
{
	struct xu_list *first = xu_list_first(&slot->retry);
	uint64_t now_ns = xr_now_ns(slot->reactor), due_ns;

	xr_timer_stop(slot->reactor, &slot->retry_timer);
	if (first != NULL) {
		due_ns = xu_list_entry(first, struct host_io, link)->due_ns;
		xr_timer_start(
			slot->reactor, &slot->retry_timer, due_ns > now_ns ? due_ns - now_ns : 0);
	}
}

/* Enters it in the list of those that wait for their time, which is in order of time. */
static void put_off(struct host_slot *slot, struct host_io *hio, uint64_t due_ns)
{
	struct xu_list *place = slot->retry.prev;

	while (place != &slot->retry &&
		xu_list_entry(place, struct host_io, link)->due_ns > due_ns) {
		place = place->prev;
	}
	hio->due_ns = due_ns;
	xu_list_add_head(place, &hio->link);
	if (slot->retry.next == &hio->link) {
		arm_retry_timer(slot);
	}
}

void host_io_on_retry_timer(struct xr_timer *timer)
{
	struct host_slot *slot = xu_container_of(timer, struct host_slot, retry_timer);
	struct xu_list *node;

	while ((node = xu_list_first(&slot->retry)) != NULL) {
		struct host_io *hio = xu_list_entry(node, struct host_io, link);

		if (hio->due_ns > xr_now_ns(slot->reactor)) {
			break;
		}
		xu_list_del(&hio->link);
		put_in_line(slot, hio);
	}
	arm_retry_timer(slot);
	host_io_pump(slot);
}

/* When the write may be sent: 0 is now. */
static uint64_t doubted_until_ns(struct host_slot *slot, const struct host_io *hio)
{
	const struct xbdev_io *io = xbdev_io_of_driver(hio);
	uint64_t now_ns = xr_now_ns(slot->reactor), until_ns = 0;

	if (now_ns >= slot->doubt_until_ns) {
		slot->nr_doubts = 0;
	}
	for (uint32_t i = 0; i < slot->nr_doubts; i++) {
		const struct host_doubt *doubt = &slot->doubts[i];

		if (doubt->id != hio->id && io->offset < doubt->end &&
			doubt->start < io->offset + io->len && doubt->deadline_ns > now_ns &&
			doubt->deadline_ns > until_ns) {
			until_ns = doubt->deadline_ns;
		}
	}
	return until_ns;
}

/* ---- commands ---- */

static void set_range(struct nvme_cmd *cmd, uint64_t slba, uint32_t nlb)
{
	cmd->cdw10 = (uint32_t)slba;
	cmd->cdw11 = (uint32_t)(slba >> 32);
	cmd->cdw12 = nlb - 1;
}

/* Write Zeroes for the next piece of a range. DISCARD is one that may deallocate: it is a command
 * and not, as Dataset Management, advice, so the range reads as zeroes whatever the target does. */
static void build_zeroes(struct host_io *hio, struct nvme_cmd *cmd)
{
	const struct xbdev_io *io = xio_of(hio);
	const struct host_info *info = &hio->slot->ctrl->info;
	uint64_t left = io->len - hio->done_bytes, max = (uint64_t)MAX_NLB * info->block_size;

	max = max < info->max_zeroes ? max : info->max_zeroes;
	hio->piece_bytes = (uint32_t)(left < max ? left : max);
	cmd->opc = NVME_IO_WRITE_ZEROES;
	set_range(cmd, (io->offset + hio->done_bytes) / info->block_size,
		hio->piece_bytes / info->block_size);
	if (info->has_deac &&
		(io->op == XBDEV_OP_DISCARD || (io->flags & XBDEV_IO_MAY_UNMAP) != 0)) {
		cmd->cdw12 |= NVME_WZ_DEAC;
	}
}

static void build_transfer(struct host_req *req, const struct host_io *hio)
{
	const struct xbdev_io *io = xbdev_io_of_driver(hio);
	uint32_t block_size = hio->slot->ctrl->info.block_size;

	static const uint8_t opcodes[XBDEV_NR_OPS] = {
		[XBDEV_OP_READ] = NVME_IO_READ,
		[XBDEV_OP_WRITE] = NVME_IO_WRITE,
		[XBDEV_OP_COMPARE] = NVME_IO_COMPARE,
	};

	req->cmd.opc = opcodes[io->op];
	set_range(&req->cmd, io->offset / block_size, (uint32_t)(io->len / block_size));
	if (io->op == XBDEV_OP_WRITE && (io->flags & XBDEV_IO_FUA)) {
		req->cmd.cdw12 |= NVME_RW_FUA;
	}
	req->iov = io->iov;
	req->nr_iov = io->nr_iov;
	req->data_len = (uint32_t)io->len;
	req->dir = io->op == XBDEV_OP_READ ? HOST_DIR_IN : HOST_DIR_OUT;
}

static void on_done(struct host_req *req, uint16_t status);

/* True when the I/O is on its way, or put off; false when there is no place for it now. */
static bool start(struct host_slot *slot, struct host_io *hio)
{
	struct xbdev_io *io = xio_of(hio);
	struct host_req *req;

	if (io->op == XBDEV_OP_FLUSH && !slot->has_vwc) {
		end_io(hio, 0); /* there is no cache: what has completed is on the media */
		return true;
	}
	if (slot->nr_doubts != 0 && is_writing(io)) {
		uint64_t until_ns = doubted_until_ns(slot, hio);

		if (until_ns != 0) {
			atomic_fetch_add(&slot->stats.nr_doubts, 1);
			put_off(slot, hio, until_ns);
			return true;
		}
	}
	req = host_req_get(&slot->queue);
	if (req == NULL) {
		return false;
	}
	req->cmd = (struct nvme_cmd){.cid = req->cmd.cid, .nsid = slot->ctrl->info.nsid};
	if (io->op == XBDEV_OP_FLUSH) {
		req->cmd.opc = NVME_IO_FLUSH;
	} else if (io->op == XBDEV_OP_DISCARD || io->op == XBDEV_OP_WRITE_ZEROES) {
		build_zeroes(hio, &req->cmd);
	} else {
		build_transfer(req, hio);
	}
	req->done = on_done;
	req->arg = hio;
	host_req_start(req);
	return true;
}

/* ---- what comes back ---- */

static uint64_t retry_delay_ns(const struct host_slot *slot, uint16_t status, uint32_t nr_retries)
{
	uint32_t crd = NVME_STATUS_CRD(status);
	uint64_t delay_ns = RETRY_FIRST_NS;

	if (crd != 0 && slot->ctrl->info.crdt[crd - 1] != 0) {
		return slot->ctrl->info.crdt[crd - 1] * 100 * XU_NS_PER_MS;
	}
	while (nr_retries-- != 0 && delay_ns < RETRY_MAX_NS) {
		delay_ns *= 2;
	}
	return delay_ns < RETRY_MAX_NS ? delay_ns : RETRY_MAX_NS;
}

static void fail_or_retry(
	struct host_slot *slot, struct host_io *hio, uint16_t status, bool is_overdue)
{
	enum host_verdict verdict;
	int error = host_status_errno(status, &verdict);
	uint32_t limit = verdict == HOST_VERDICT_WAIT ? WAITS : RETRIES;
	char text[HOST_STATUS_TEXT];

	if (is_overdue && (status | NVME_DNR) == (NVME_SC_ABORTED | NVME_DNR)) {
		end_io(hio, -ETIMEDOUT); /* as we asked */
		return;
	}
	if (verdict != HOST_VERDICT_END && hio->nr_retries < limit && slot->fail_errno == 0) {
		atomic_fetch_add(&slot->stats.nr_retries, 1);
		put_off(slot, hio,
			xr_now_ns(slot->reactor) + retry_delay_ns(slot, status, hio->nr_retries));
		hio->nr_retries++;
		return;
	}
	if (error != -EBADE) {
		const struct xbdev_io *io = xio_of(hio);

		xu_debug(slot->ctrl->log, "%s: %s of %llu bytes at %llu: status %s",
			slot->ctrl->dev.name, xbdev_op_name(io->op), (unsigned long long)io->len,
			(unsigned long long)io->offset, host_status_text(status, text));
	}
	end_io(hio, error);
}

static void lose(struct host_slot *slot, struct host_io *hio, bool is_overdue)
{
	struct xbdev_io *io = xio_of(hio);

	atomic_fetch_add(&slot->stats.nr_losses, 1);
	if (is_writing(io)) {
		host_slot_add_doubt(slot, hio->id, io->offset, io->offset + io->len);
	}
	hio->nr_losses += is_overdue ? HOST_OVERDUE_LOSS : 1;
	if (slot->fail_errno != 0) {
		end_io(hio, slot->fail_errno);
	} else if (hio->nr_losses > HOST_MAX_LOSSES) {
		end_io(hio, is_overdue ? -ETIMEDOUT : -EIO);
	} else {
		put_in_line(slot, hio);
	}
}

static void on_done(struct host_req *req, uint16_t status)
{
	struct host_io *hio = req->arg;
	struct host_slot *slot = hio->slot;
	struct xbdev_io *io = xio_of(hio);

	if (status == HOST_LOST) {
		lose(slot, hio, req->is_overdue);
		return;
	}
	if (status != NVME_SC_SUCCESS) {
		fail_or_retry(slot, hio, status, req->is_overdue);
	} else if (io->op == XBDEV_OP_DISCARD || io->op == XBDEV_OP_WRITE_ZEROES) {
		hio->done_bytes += hio->piece_bytes;
		if (hio->done_bytes == io->len) {
			end_io(hio, 0);
		} else {
			put_in_line(slot, hio);
		}
	} else {
		end_io(hio, 0);
	}
	if (!xu_list_is_empty(&slot->line)) {
		host_io_pump(slot);
	}
}

/* ---- on the way ---- */

static void on_arrive(struct xr_msg *msg);

static void forward(struct host_slot *slot, struct host_io *hio)
{
	atomic_fetch_add(&slot->stats.nr_forwards, 1);
	hio->is_away |= slot == hio->home;
	hio->slot = slot->via;
	hio->msg.fn = on_arrive;
	xr_msg_send(slot->via->reactor, &hio->msg);
}

static void enter(struct host_slot *slot, struct host_io *hio)
{
	if (slot->state == HOST_SLOT_FORWARD) {
		forward(slot, hio);
	} else if (slot->state != HOST_SLOT_LIVE && slot->fail_errno != 0) {
		end_io(hio, slot->fail_errno);
	} else if (slot->state != HOST_SLOT_LIVE || !xu_list_is_empty(&slot->line) ||
		   !start(slot, hio)) {
		put_in_line(slot, hio);
	}
}

static void on_arrive(struct xr_msg *msg)
{
	struct host_io *hio = xu_container_of(msg, struct host_io, msg);

	enter(hio->slot, hio);
}

void host_io_pump(struct host_slot *slot)
{
	struct xu_list *node;

	while ((slot->state == HOST_SLOT_LIVE || slot->state == HOST_SLOT_FORWARD) &&
		(node = xu_list_first(&slot->line)) != NULL) {
		struct host_io *hio = xu_list_entry(node, struct host_io, link);

		xu_list_del(&hio->link);
		if (slot->state == HOST_SLOT_FORWARD) {
			forward(slot, hio);
		} else if (!start(slot, hio)) {
			xu_list_add_head(&slot->line, &hio->link);
			return;
		}
	}
}

/* Ends what waits on a list; of one channel, or of all (NULL). */
static void end_list(struct xu_list *list, const struct xbdev_channel *ch, int status)
{
	struct xu_list ended, *node, *next;

	xu_list_init(&ended);
	xu_list_for_each_safe (node, next, list) {
		struct host_io *hio = xu_list_entry(node, struct host_io, link);

		if (ch == NULL || xio_of(hio)->ch == ch) {
			hio->is_submitting = ch != NULL;
			xu_list_del(node);
			xu_list_add_tail(&ended, node);
		}
	}
	while ((node = xu_list_pop(&ended)) != NULL) {
		end_io(xu_list_entry(node, struct host_io, link), status);
	}
}

void host_io_settle(struct host_slot *slot)
{
	if (slot->fail_errno != 0 && slot->state != HOST_SLOT_LIVE &&
		slot->state != HOST_SLOT_FORWARD) {
		end_list(&slot->line, NULL, slot->fail_errno);
		end_list(&slot->retry, NULL, slot->fail_errno);
		arm_retry_timer(slot);
	}
}

void host_io_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct host_slot *slot = *(struct host_slot **)ch->driver;
	struct host_io *hio = xbdev_io_driver(io, struct host_io);

	*hio = (struct host_io){
		.home = slot,
		.slot = slot,
		.id = (uint64_t)(slot->index + 1) << 32 | slot->next_id++,
		.is_submitting = true,
	};
	xu_list_init(&hio->link);
	if (slot->state == HOST_SLOT_FORWARD) {
		hio->is_submitting = false;
		forward(slot, hio); /* it is another reactor's now */
		return;
	}
	enter(slot, hio);
	hio->is_submitting = false;
}

void host_io_abort(struct xbdev_channel *ch)
{
	struct host_slot *slot = *(struct host_slot **)ch->driver;

	end_list(&slot->line, ch, -ENODEV);
	end_list(&slot->retry, ch, -ENODEV);
	arm_retry_timer(slot);
}

/* What waits here ends; what the target has, or another reactor, ends by itself. */
void host_io_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct host_io *hio = xbdev_io_driver(io, struct host_io);

	(void)ch;
	if (hio->is_away || !xu_list_is_linked(&hio->link)) {
		return;
	}
	xu_list_del(&hio->link);
	hio->is_submitting = true;
	end_io(hio, -ECANCELED);
}
