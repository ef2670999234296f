/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a discovery log (Base 5.1.12.3.1): connect, enable, the header, the entries 4 KiB at a
 * time, the header again; and all of the log again while its generation has changed meanwhile. The
 * connection is closed before the answer is given.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/host/host.h"
#include "lib/xnvmf/host/private.h"
#include "lib/xnvmf/target/target.h"

#define PORT_DEFAULT       8009u
#define TIMEOUT_DEFAULT_MS 30000u
#define CHUNK_BYTES        4096u
#define MAX_ENTRIES        4096u
#define MAX_TRIES          6u
#define RECORD_BYTES       ((uint32_t)sizeof(struct nvme_discovery_entry))

struct discovery {
	struct xbdev_ctx *ctx;
	struct host_peer peer;
	struct host_queue queue;
	struct host_steps steps;
	struct host_enable enable;
	struct xr_timer timer;
	uint64_t timeout_ns;
	struct xr_work work;
	char hostnqn[256];
	struct nvme_discovery_header header;
	uint64_t genctr;
	uint32_t nr_entries, nr_read, nr_tries;
	struct nvme_discovery_entry *log;
	struct xnvmf_host_entry *entries;
	struct xu_error err;
	bool is_over;
	xnvmf_host_discovered_fn cb;
	void *arg;
};

/* ---- the end ---- */

static void answer(struct discovery *d)
{
	xr_timer_stop(xbdev_ctx_control(d->ctx), &d->timer);
	d->cb(d->arg, d->err.code == 0 ? d->entries : NULL, d->err.code == 0 ? d->nr_read : 0,
		d->genctr, &d->err);
	free(d->entries);
	free(d->log);
	free(d);
}

/* The first that goes wrong, or that all is there, decides. */
static void end(struct discovery *d, const struct xu_error *err)
{
	if (d->is_over) {
		return;
	}
	d->is_over = true;
	d->err = *err;
	host_steps_stop(&d->steps);
	if (host_queue_is_open(&d->queue)) {
		host_queue_close(&d->queue);
	} else {
		answer(d);
	}
}

static void end_with(struct discovery *d, int code, const char *why)
{
	struct xu_error err = {0};

	xu_error_set(&err, code, "%s", why);
	end(d, &err);
}

/* ---- what is in the log ---- */

/* A field of text, which ends at its size, a NUL, or the blanks behind it; false when it is longer
 * than `size` takes. */
static bool take_text(char *to, size_t size, const char *field, size_t field_size)
{
	size_t len = strnlen(field, field_size);

	while (len != 0 && field[len - 1] == ' ') {
		len--;
	}
	if (len >= size) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		to[i] = field[i] > ' ' && field[i] <= '~' ? field[i] : '?';
	}
	to[len] = '\0';
	return true;
}

static bool take_entry(struct xnvmf_host_entry *to, const struct nvme_discovery_entry *from)
{
	*to = (struct xnvmf_host_entry){
		.trtype = from->trtype,
		.adrfam = from->adrfam,
		.subtype = from->subtype,
		.treq = from->treq,
		.portid = from->portid,
		.cntlid = from->cntlid,
		.asqsz = from->asqsz,
		.eflags = from->eflags,
	};
	return take_text(to->trsvcid, sizeof(to->trsvcid), from->trsvcid, sizeof(from->trsvcid)) &&
	       take_text(to->subnqn, sizeof(to->subnqn), from->subnqn, sizeof(from->subnqn)) &&
	       take_text(to->traddr, sizeof(to->traddr), from->traddr, sizeof(from->traddr));
}

/* Entries whose texts are longer than they can be are left out. */
static void take_log(struct discovery *d)
{
	d->nr_read = 0;
	for (uint32_t i = 0; i < d->nr_entries; i++) {
		if (take_entry(&d->entries[d->nr_read], &d->log[i])) {
			d->nr_read++;
		}
	}
}

/* ---- reading it ---- */

static void get_log(struct host_call *call, uint64_t offset, void *buf, uint32_t len)
{
	call->cmd.opc = NVME_ADMIN_GET_LOG_PAGE;
	call->cmd.cdw10 = NVME_LOG_DISCOVERY | NVME_LOG_RAE | (len / 4 - 1) << 16;
	call->cmd.cdw12 = (uint32_t)offset;
	call->cmd.cdw13 = (uint32_t)(offset >> 32);
	call->buf = buf;
	call->len = len;
	call->dir = HOST_DIR_IN;
}

static bool build_header(void *arg, struct host_call *call)
{
	struct discovery *d = arg;

	get_log(call, 0, &d->header, sizeof(d->header));
	return true;
}

static int done_header(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct discovery *d = arg;

	(void)call;
	if (d->header.recfmt != 0) {
		return xu_error_set(err, -EPROTONOSUPPORT,
			"the discovery log has records of format %u, 0 is possible",
			d->header.recfmt);
	}
	if (d->header.numrec > MAX_ENTRIES) {
		return xu_error_set(err, -E2BIG,
			"the discovery log has %llu entries, at most %u are read",
			(unsigned long long)d->header.numrec, MAX_ENTRIES);
	}
	d->genctr = d->header.genctr;
	d->nr_entries = (uint32_t)d->header.numrec;
	d->nr_read = 0;
	free(d->log);
	free(d->entries);
	d->log = calloc(d->nr_entries + 1, RECORD_BYTES);
	d->entries = calloc(d->nr_entries + 1, sizeof(*d->entries));
	if (d->log == NULL || d->entries == NULL) {
		return xu_error_set_errno(
			err, -ENOMEM, "reading a discovery log of %u entries", d->nr_entries);
	}
	return HOST_NEXT;
}

static uint32_t chunk(const struct discovery *d)
{
	uint32_t left = (d->nr_entries - d->nr_read) * RECORD_BYTES;

	return left < CHUNK_BYTES ? left : CHUNK_BYTES;
}

static bool build_entries(void *arg, struct host_call *call)
{
	struct discovery *d = arg;

	if (d->nr_read == d->nr_entries) {
		return false;
	}
	get_log(call, sizeof(d->header) + (uint64_t)d->nr_read * RECORD_BYTES, &d->log[d->nr_read],
		chunk(d));
	return true;
}

static int done_entries(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct discovery *d = arg;

	(void)err;
	d->nr_read += call->len / RECORD_BYTES;
	return HOST_REPEAT;
}

static const struct host_step log_steps[] = {
	{"reading the header of the discovery log", build_header, done_header, NULL},
	{"reading the discovery log", build_entries, done_entries, NULL},
	{"reading the header of the discovery log again", build_header, NULL, NULL},
	{0},
};

static const struct host_part all_parts[] = {
	{host_enable_steps, offsetof(struct discovery, enable)},
	{log_steps, 0},
	{0},
};
static const struct host_part *const log_parts = &all_parts[1];

static void on_read(void *arg, const struct xu_error *err)
{
	struct discovery *d = arg;

	if (err->code == 0 &&
		(d->header.genctr != d->genctr || d->header.numrec != d->nr_entries)) {
		if (++d->nr_tries == MAX_TRIES) {
			end_with(
				d, -EAGAIN, "the discovery log changes faster than it can be read");
			return;
		}
		host_steps_start(&d->steps, &d->queue, log_parts, d, on_read);
		return;
	}
	if (err->code == 0) {
		take_log(d);
	}
	end(d, err);
}

/* ---- the connection ---- */

static void on_live(struct host_queue *queue, uint32_t dw0)
{
	struct discovery *d = xu_container_of(queue, struct discovery, queue);

	(void)dw0;
	d->enable.reactor = queue->reactor;
	host_steps_start(&d->steps, queue, all_parts, d, on_read);
}

static void on_lost(struct host_queue *queue)
{
	struct discovery *d = xu_container_of(queue, struct discovery, queue);

	end(d, &queue->err);
	host_queue_close(queue);
}

static void on_gone(struct host_queue *queue)
{
	answer(xu_container_of(queue, struct discovery, queue));
}

static const struct host_queue_ops queue_ops = {
	.live = on_live,
	.lost = on_lost,
	.gone = on_gone,
};

static void on_timer(struct xr_timer *timer)
{
	end_with(xu_container_of(timer, struct discovery, timer), -ETIMEDOUT,
		"reading the discovery log took too long");
}

static void identity_work(struct xr_work *work)
{
	struct discovery *d = xu_container_of(work, struct discovery, work);

	host_identity_find(xbdev_ctx_platform(d->ctx), d->hostnqn[0] != '\0' ? d->hostnqn : NULL,
		NULL, &d->peer, &d->err);
}

static void identity_done(struct xr_work *work)
{
	struct discovery *d = xu_container_of(work, struct discovery, work);
	const struct host_queue_opts opts = {
		.peer = &d->peer,
		.cntlid = 0xffff,
		.entries = HOST_ADMIN_ENTRIES,
		.timeout_ns = HOST_ADMIN_NS,
	};

	if (d->err.code != 0) {
		answer(d);
		return;
	}
	xr_timer_start(work->reactor, &d->timer, d->timeout_ns);
	host_queue_init(&d->queue, work->reactor, &queue_ops, "discovery");
	if (host_queue_open(&d->queue, &opts) != 0) {
		end(d, &d->queue.err);
	}
}

void xnvmf_host_discover(struct xbdev_ctx *ctx, const struct xnvmf_host_discover_opts *opts,
	xnvmf_host_discovered_fn cb, void *arg)
{
	const uint32_t timeout_ms = opts->timeout_ms != 0 ? opts->timeout_ms : TIMEOUT_DEFAULT_MS;
	struct discovery *d = calloc(1, sizeof(*d));
	struct xu_error err = {0};

	if (d == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "reading a discovery log");
		cb(arg, NULL, 0, 0, &err);
		return;
	}
	d->ctx = ctx;
	d->cb = cb;
	d->arg = arg;
	d->peer.wants_hdgst = opts->hdr_digest;
	d->peer.wants_ddgst = opts->data_digest;
	d->peer.keeps_sqflow = true;
	if (opts->hostnqn != NULL) {
		snprintf(d->hostnqn, sizeof(d->hostnqn), "%s", opts->hostnqn);
	}
	host_peer_set(&d->peer, opts->traddr, opts->port != 0 ? opts->port : PORT_DEFAULT,
		opts->subnqn != NULL ? opts->subnqn : XNVMF_DISCOVERY_NQN, &d->err);
	d->timer.fn = on_timer;
	d->timeout_ns = timeout_ms * XU_NS_PER_MS;
	d->work.work = identity_work;
	d->work.done = identity_done;
	xr_work_submit(xbdev_ctx_control(ctx), &d->work);
}
