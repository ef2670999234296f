/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the log of a discovery controller (Base 5.1.12.3.1): connect, enable, the header, the
 * entries some KiB at a time, the header again; and all of the log again while its generation has
 * changed meanwhile. With a keep-alive it goes on: Identify says whether the controller tells of
 * changes, an event request waits for that, and each event has the log read again, a moment later,
 * so a controller with an event for every request cannot keep us busy.
 *
 *   identity --> connecting --> enabling --> READING --> IDLE --event, again()--> READING
 *                    |                          |          |
 *                    +--- what goes wrong, or close() -----+--> the queue is closed --> end()
 *
 * Entries with attributes are asked for where the caller wants them; each tells its length, so they
 * are read as far as they come whole. Who knows no such entries sends plain ones; who says lengths
 * that cannot be is read again without.
 *
 * Nothing that the controller says is trusted: the length of its log is bounded before memory is
 * taken, texts are checked, and each reading has a time limit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/utf8.h"
#include "lib/xnvmf/host/host.h"
#include "lib/xnvmf/host/private.h"
#include "lib/xnvmf/target/target.h"

#define PORT_DEFAULT       8009u
#define TIMEOUT_DEFAULT_MS 30000u
#define CHUNK_BYTES        16384u
#define CHUNK_SMALL_BYTES  4096u /* what every controller can send at once */
#define MAX_ENTRIES        4096u
#define MAX_TRIES          6u
#define RECORD_BYTES       ((uint32_t)sizeof(struct nvme_discovery_entry))
#define EXTENDED_BYTES     (RECORD_BYTES + (uint32_t)sizeof(struct nvme_discovery_extension))
#define EVENT_GAP_NS       (100 * XU_NS_PER_MS)
#define EVENT_RETRY_NS     (10 * XU_NS_PER_S) /* after a request was refused */

struct xnvmf_host_reader {
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor;
	const struct xnvmf_host_reader_ops *ops;
	void *arg;
	struct host_peer peer;
	struct host_queue queue;
	struct host_steps steps;
	struct host_enable enable;
	struct xr_timer timer; /* of a reading */
	uint64_t timeout_ns;
	struct xr_work work;
	char hostnqn[256];
	uint32_t nr_entries_max, options, kato_ms;
	bool identifies;

	/* Of the controller. */
	char subnqn[HOST_NQN_SIZE];
	bool is_central, tells_changes;
	uint32_t chunk_bytes;

	/* Of the log. */
	struct nvme_discovery_header header;
	uint64_t genctr;
	uint32_t nr_entries, nr_taken, nr_left_out, nr_tries;
	uint64_t offset;   /* of the next entry */
	bool is_extended;  /* entries have attributes */
	bool is_malformed; /* their lengths cannot be */
	struct xnvmf_host_entry *entries;
	uint8_t chunk[CHUNK_BYTES];

	/* While it stays connected. */
	struct xr_timer event_timer, keep_alive_timer;
	uint64_t keep_alive_ns; /* when the last one went out */
	bool has_event_out, has_keep_alive_out;
	bool is_reading, must_read_again;

	bool must_reopen; /* without keep-alive */
	bool is_over;
	struct xu_error err;
};

/* ---- the end ---- */

static void stop_timers(struct xnvmf_host_reader *r)
{
	xr_timer_stop(r->reactor, &r->timer);
	xr_timer_stop(r->reactor, &r->event_timer);
	xr_timer_stop(r->reactor, &r->keep_alive_timer);
}

static void answer(struct xnvmf_host_reader *r)
{
	stop_timers(r);
	r->ops->end(r->arg, &r->err);
	free(r->entries);
	free(r);
}

/* The first that goes wrong decides. */
static void end(struct xnvmf_host_reader *r, const struct xu_error *err)
{
	if (r->is_over) {
		return;
	}
	r->is_over = true;
	r->must_reopen = false;
	r->err = *err;
	stop_timers(r);
	host_steps_stop(&r->steps);
	if (host_queue_is_open(&r->queue)) {
		host_queue_close(&r->queue);
	}
}

static void end_with(struct xnvmf_host_reader *r, int code, const char *why)
{
	struct xu_error err = {0};

	xu_error_set(&err, code, "%s", why);
	end(r, &err);
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
		.sectype = from->tsas[0],
	};
	return take_text(to->trsvcid, sizeof(to->trsvcid), from->trsvcid, sizeof(from->trsvcid)) &&
	       take_text(to->subnqn, sizeof(to->subnqn), from->subnqn, sizeof(from->subnqn)) &&
	       take_text(to->traddr, sizeof(to->traddr), from->traddr, sizeof(from->traddr));
}

/* A label that cannot be shown is none. */
static void take_label(char *to, size_t size, const uint8_t *value, size_t value_len)
{
	size_t len = strnlen((const char *)value, value_len), bytes;
	uint32_t code;

	while (len != 0 && value[len - 1] == ' ') {
		len--;
	}
	for (size_t i = 0; i < len; i += bytes) {
		bytes = xu_utf8_char(value + i, len - i, &code);
		if (bytes == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			return;
		}
	}
	if (len < size) {
		memcpy(to, value, len);
		to[len] = '\0';
	}
}

/* The attributes behind an entry of `tel` bytes, until one that cannot be. Those of other types say
 * nothing of a subsystem. */
static void take_attributes(struct xnvmf_host_entry *to, const uint8_t *at, uint32_t tel)
{
	struct nvme_discovery_extension extension;
	struct nvme_discovery_attribute attribute;
	uint32_t offset = EXTENDED_BYTES;

	memcpy(&extension, at + RECORD_BYTES, sizeof(extension));
	for (uint32_t i = 0; i < extension.numexat && tel - offset >= sizeof(attribute); i++) {
		memcpy(&attribute, at + offset, sizeof(attribute));
		offset += (uint32_t)sizeof(attribute);
		if (attribute.len == 0 || attribute.len % 4 != 0 || attribute.len > tel - offset) {
			return;
		}
		if (attribute.type == NVME_EXAT_LABEL_ASCII ||
			attribute.type == NVME_EXAT_LABEL_UTF8) {
			take_label(to->label, sizeof(to->label), at + offset, attribute.len);
		}
		offset += attribute.len;
	}
}

/* One that begins at `at`; `tel` 0: it has no attributes. Entries whose texts are longer than they
 * can be are left out. */
static void take_one(struct xnvmf_host_reader *r, const uint8_t *at, uint32_t tel)
{
	struct xnvmf_host_entry *to = &r->entries[r->nr_taken - r->nr_left_out];

	r->nr_taken++;
	if (!take_entry(to, (const struct nvme_discovery_entry *)at)) {
		r->nr_left_out++;
	} else if (tel != 0) {
		take_attributes(to, at, tel);
	}
}

static void take_chunk(struct xnvmf_host_reader *r, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		take_one(r, r->chunk + i * RECORD_BYTES, 0);
	}
	r->offset += (uint64_t)count * RECORD_BYTES;
}

/* The length of an extended entry that has `left` bytes of the log; 0: it cannot be. */
static uint32_t length_of(const uint8_t *at, uint64_t left)
{
	struct nvme_discovery_extension extension;

	memcpy(&extension, at + RECORD_BYTES, sizeof(extension));
	return extension.tel >= EXTENDED_BYTES && extension.tel % 4 == 0 && extension.tel <= left
		       ? extension.tel
		       : 0;
}

/* Those that are whole in what was read. */
static void take_extended(struct xnvmf_host_reader *r, uint32_t len)
{
	uint32_t at = 0, nr_before = r->nr_taken;

	while (r->nr_taken < r->nr_entries && len - at >= EXTENDED_BYTES) {
		uint32_t tel = length_of(r->chunk + at, r->header.tdlpl - r->offset);

		if (tel == 0 || tel > len - at) {
			r->is_malformed |= tel == 0;
			break;
		}
		take_one(r, r->chunk + at, tel);
		at += tel;
		r->offset += tel;
	}
	/* Also one that is longer than what is read at a time. */
	r->is_malformed |= r->nr_taken == nr_before;
}

/* ---- whose it is ---- */

static bool build_identify(void *arg, struct host_call *call)
{
	struct xnvmf_host_reader *r = arg;

	memset(r->chunk, 0, NVME_IDENTIFY_BYTES);
	call->cmd.opc = NVME_ADMIN_IDENTIFY;
	call->cmd.cdw10 = NVME_CNS_CTRL;
	call->buf = r->chunk;
	call->len = NVME_IDENTIFY_BYTES;
	call->dir = HOST_DIR_IN;
	return r->identifies;
}

static int done_identify(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct xnvmf_host_reader *r = arg;
	const struct nvme_id_ctrl *id = call->buf;
	uint32_t shift = 12 + NVME_CAP_MPSMIN(r->enable.cap) + id->mdts;

	if (id->cntrltype != 0 && id->cntrltype != NVME_CNTRLTYPE_DISCOVERY) {
		return xu_error_set(err, -EPROTONOSUPPORT,
			"this is a controller of type %u and not one for discovery", id->cntrltype);
	}
	if (!take_text(r->subnqn, sizeof(r->subnqn), id->subnqn, sizeof(id->subnqn))) {
		return xu_error_set(
			err, -EPROTO, "the name of the controller is longer than an NQN");
	}
	r->is_central = id->dctype == NVME_DCTYPE_CENTRAL;
	/* The kernel's target tells no KAS here, though it takes KATO and keeps alive. */
	r->tells_changes = r->kato_ms != 0 && (id->oaes & NVME_OAES_DISCOVERY) != 0;
	if (r->is_central) {
		r->options &= ~XNVMF_HOST_PORT_LOCAL;
	}
	if (id->mdts == 0 || shift >= 14) {
		r->chunk_bytes = CHUNK_BYTES;
	}
	return HOST_NEXT;
}

static bool build_events(void *arg, struct host_call *call)
{
	call->cmd.opc = NVME_ADMIN_SET_FEATURES;
	call->cmd.cdw10 = NVME_FEAT_ASYNC_EVENTS;
	call->cmd.cdw11 = NVME_OAES_DISCOVERY;
	return ((struct xnvmf_host_reader *)arg)->tells_changes;
}

/* They are on where there is a keep-alive, whatever it says to this. */
static int refused_events(void *arg, const struct host_call *call, struct xu_error *err)
{
	(void)arg;
	(void)call;
	(void)err;
	return HOST_NEXT;
}

/* ---- reading it ---- */

static void get_log(
	const struct xnvmf_host_reader *r, struct host_call *call, uint64_t offset, uint32_t len)
{
	call->cmd.opc = NVME_ADMIN_GET_LOG_PAGE;
	call->cmd.cdw10 = NVME_LOG_DISCOVERY | r->options << 8 | NVME_LOG_RAE | (len / 4 - 1) << 16;
	call->cmd.cdw12 = (uint32_t)offset;
	call->cmd.cdw13 = (uint32_t)(offset >> 32);
	call->len = len;
	call->dir = HOST_DIR_IN;
}

static bool build_header(void *arg, struct host_call *call)
{
	struct xnvmf_host_reader *r = arg;

	get_log(r, call, 0, sizeof(r->header));
	call->buf = &r->header;
	return true;
}

static int done_header(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct xnvmf_host_reader *r = arg;

	(void)call;
	if (r->header.recfmt != 0) {
		return xu_error_set(err, -EPROTONOSUPPORT,
			"the discovery log has records of format %u, 0 is possible",
			r->header.recfmt);
	}
	if (r->header.numrec > r->nr_entries_max) {
		return xu_error_set(err, -E2BIG,
			"the discovery log has %llu entries, at most %u are read",
			(unsigned long long)r->header.numrec, r->nr_entries_max);
	}
	r->is_extended = (r->options & XNVMF_HOST_EXTENDED) != 0 &&
			 (r->header.dlpf & NVME_DLPF_EXTENDED) != 0;
	r->is_malformed = false;
	r->offset = sizeof(r->header);
	r->genctr = r->header.genctr;
	r->nr_entries = (uint32_t)r->header.numrec;
	r->nr_taken = 0;
	r->nr_left_out = 0;
	free(r->entries);
	r->entries = calloc(r->nr_entries + 1, sizeof(*r->entries));
	if (r->entries == NULL) {
		return xu_error_set_errno(
			err, -ENOMEM, "reading a discovery log of %u entries", r->nr_entries);
	}
	return HOST_NEXT;
}

/* Whoever does not know the options may know the log. */
static int refused_header(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct xnvmf_host_reader *r = arg;
	char text[HOST_STATUS_TEXT];

	if (r->options != 0 && (call->status & ~NVME_DNR) == (NVME_SC_INVALID_FIELD & ~NVME_DNR)) {
		r->options &= r->options & XNVMF_HOST_EXTENDED ? ~XNVMF_HOST_EXTENDED : 0;
		return HOST_REPEAT;
	}
	return xu_error_set(err, -EIO,
		"reading the header of the discovery log: the target answers with status %s",
		host_status_text(call->status, text));
}

static bool build_entries(void *arg, struct host_call *call)
{
	struct xnvmf_host_reader *r = arg;
	uint64_t left = (uint64_t)(r->nr_entries - r->nr_taken) * RECORD_BYTES;

	if (r->is_extended) {
		const uint64_t least = (uint64_t)(r->nr_entries - r->nr_taken) * EXTENDED_BYTES;

		left = r->header.tdlpl > r->offset ? (r->header.tdlpl - r->offset) & ~3ull : 0;
		r->is_malformed |= left < least;
		left = least != 0 ? left : 0;
	}
	if (left == 0 || r->is_malformed) {
		return false;
	}
	get_log(r, call, r->offset, left < r->chunk_bytes ? (uint32_t)left : r->chunk_bytes);
	call->buf = r->chunk;
	return true;
}

static int done_entries(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct xnvmf_host_reader *r = arg;

	(void)err;
	if (r->is_extended) {
		take_extended(r, call->len);
	} else {
		take_chunk(r, call->len / RECORD_BYTES);
	}
	return HOST_REPEAT;
}

/* The last command of a reading: from then on the controller may tell of the next change. */
static bool build_header_again(void *arg, struct host_call *call)
{
	struct xnvmf_host_reader *r = arg;

	build_header(arg, call);
	if (r->tells_changes) {
		call->cmd.cdw10 &= ~NVME_LOG_RAE;
	}
	return true;
}

static const struct host_step identify_steps[] = {
	{"identifying the discovery controller", build_identify, done_identify, NULL},
	{"asking for events", build_events, NULL, refused_events},
	{0},
};

static const struct host_step log_steps[] = {
	{"reading the header of the discovery log", build_header, done_header, refused_header},
	{"reading the discovery log", build_entries, done_entries, NULL},
	{"reading the header of the discovery log again", build_header_again, NULL, NULL},
	{0},
};

static const struct host_part all_parts[] = {
	{host_enable_steps, offsetof(struct xnvmf_host_reader, enable)},
	{identify_steps, 0},
	{log_steps, 0},
	{0},
};
static const struct host_part *const log_parts = &all_parts[2];

static void go_on(struct xnvmf_host_reader *r);
static void on_read(void *arg, const struct xu_error *err);

static void read_log(struct xnvmf_host_reader *r)
{
	r->is_reading = true;
	r->must_read_again = false;
	r->nr_tries = 0;
	xr_timer_start(r->reactor, &r->timer, r->timeout_ns);
	host_steps_start(&r->steps, &r->queue, log_parts, r, on_read);
}

static void tell_log(struct xnvmf_host_reader *r)
{
	const struct xnvmf_host_log log = {.entries = r->entries,
		.nr_entries = r->nr_taken - r->nr_left_out,
		.nr_left_out = r->nr_left_out,
		.genctr = r->genctr,
		.subnqn = r->subnqn,
		.is_central = r->is_central,
		.is_persistent = r->tells_changes};

	r->ops->log(r->arg, &log);
}

static void on_read(void *arg, const struct xu_error *err)
{
	const struct xu_error none = {0};
	struct xnvmf_host_reader *r = arg;

	if (err->code != 0) {
		end(r, err);
		return;
	}
	if (r->is_malformed || r->header.genctr != r->genctr || r->header.numrec != r->nr_entries) {
		r->options &= r->is_malformed ? ~XNVMF_HOST_EXTENDED : UINT32_MAX;
		if (++r->nr_tries == MAX_TRIES) {
			end_with(
				r, -EAGAIN, "the discovery log changes faster than it can be read");
			return;
		}
		host_steps_start(&r->steps, &r->queue, log_parts, r, on_read);
		return;
	}
	xr_timer_stop(r->reactor, &r->timer);
	r->is_reading = false;
	tell_log(r);
	if (!r->tells_changes) {
		end(r, &none);
		return;
	}
	free(r->entries);
	r->entries = NULL;
	if (!r->is_over) {
		go_on(r);
	}
}

/* ---- while it stays connected ---- */

static void on_event(struct host_req *req, uint16_t status)
{
	struct xnvmf_host_reader *r = req->arg;

	r->has_event_out = false;
	if (status == HOST_LOST || r->is_over) {
		return;
	}
	if (status != NVME_SC_SUCCESS) {
		xr_timer_start(r->reactor, &r->event_timer, EVENT_RETRY_NS);
		return;
	}
	r->must_read_again |= NVME_AEN_TYPE(req->dw0) == NVME_AEN_NOTICE &&
			      NVME_AEN_LID(req->dw0) == NVME_LOG_DISCOVERY;
	xr_timer_start(r->reactor, &r->event_timer, EVENT_GAP_NS);
}

static void ask_event(struct xnvmf_host_reader *r)
{
	struct host_req *req = r->has_event_out ? NULL : host_req_get(&r->queue);

	if (req == NULL) {
		return;
	}
	req->cmd = (struct nvme_cmd){.opc = NVME_ADMIN_ASYNC_EVENT, .cid = req->cmd.cid};
	req->done = on_event;
	req->arg = r;
	req->is_unbounded = true;
	r->has_event_out = true;
	host_req_start(req);
}

static void on_event_timer(struct xr_timer *timer)
{
	struct xnvmf_host_reader *r = xu_container_of(timer, struct xnvmf_host_reader, event_timer);

	ask_event(r);
	if (r->must_read_again && !r->is_reading) {
		read_log(r);
	}
}

static void on_keep_alive_done(struct host_req *req, uint16_t status)
{
	struct xnvmf_host_reader *r = req->arg;

	r->has_keep_alive_out = false;
	if (status != HOST_LOST && status != NVME_SC_SUCCESS) {
		end_with(r, -EIO, "Keep Alive was refused");
	}
}

static void on_keep_alive_timer(struct xr_timer *timer)
{
	struct xnvmf_host_reader *r =
		xu_container_of(timer, struct xnvmf_host_reader, keep_alive_timer);
	uint64_t kato_ns = r->kato_ms * XU_NS_PER_MS;
	struct host_req *req;

	if (r->has_keep_alive_out && xr_now_ns(r->reactor) - r->keep_alive_ns >= kato_ns) {
		end_with(r, -ETIMEDOUT, "Keep Alive was not answered");
		return;
	}
	xr_timer_start(r->reactor, timer, kato_ns / 2);
	req = r->has_keep_alive_out ? NULL : host_req_get(&r->queue);
	if (req == NULL) {
		return;
	}
	req->cmd = (struct nvme_cmd){.opc = NVME_ADMIN_KEEP_ALIVE, .cid = req->cmd.cid};
	req->done = on_keep_alive_done;
	req->arg = r;
	r->has_keep_alive_out = true;
	r->keep_alive_ns = xr_now_ns(r->reactor);
	host_req_start(req);
}

static void go_on(struct xnvmf_host_reader *r)
{
	ask_event(r);
	if (r->must_read_again && !xr_timer_is_running(&r->event_timer)) {
		xr_timer_start(r->reactor, &r->event_timer, EVENT_GAP_NS);
	}
}

/* ---- the connection ---- */

static void on_live(struct host_queue *queue, uint32_t dw0)
{
	struct xnvmf_host_reader *r = xu_container_of(queue, struct xnvmf_host_reader, queue);

	(void)dw0;
	r->enable.reactor = queue->reactor;
	if (r->kato_ms != 0) {
		xr_timer_start(r->reactor, &r->keep_alive_timer, r->kato_ms * XU_NS_PER_MS / 2);
	}
	host_steps_start(&r->steps, queue, all_parts, r, on_read);
}

static void on_lost(struct host_queue *queue)
{
	struct xnvmf_host_reader *r = xu_container_of(queue, struct xnvmf_host_reader, queue);

	/* One that knows no persistent connections says so (Base 3.1.3.3.2.1). */
	if (!r->is_over && r->kato_ms != 0 && queue->connect_status != 0 &&
		(queue->connect_status | NVME_DNR) == NVME_SC_CONNECT_PARAM) {
		r->kato_ms = 0;
		r->must_reopen = true;
	} else {
		end(r, &queue->err);
	}
	host_queue_close(queue);
}

static void open_queue(struct xnvmf_host_reader *r)
{
	const struct host_queue_opts opts = {
		.peer = &r->peer,
		.cntlid = 0xffff,
		.entries = HOST_ADMIN_ENTRIES,
		.kato_ms = r->kato_ms,
		.timeout_ns = r->timeout_ns < HOST_ADMIN_NS ? r->timeout_ns : HOST_ADMIN_NS,
	};

	if (host_queue_open(&r->queue, &opts) != 0) {
		end(r, &r->queue.err);
		answer(r);
	}
}

static void on_gone(struct host_queue *queue)
{
	struct xnvmf_host_reader *r = xu_container_of(queue, struct xnvmf_host_reader, queue);

	if (r->must_reopen) {
		r->must_reopen = false;
		open_queue(r);
		return;
	}
	answer(r);
}

static const struct host_queue_ops queue_ops = {
	.live = on_live,
	.lost = on_lost,
	.gone = on_gone,
};

static void on_timer(struct xr_timer *timer)
{
	end_with(xu_container_of(timer, struct xnvmf_host_reader, timer), -ETIMEDOUT,
		"reading the discovery log took too long");
}

/* ---- life ---- */

static void identity_work(struct xr_work *work)
{
	struct xnvmf_host_reader *r = xu_container_of(work, struct xnvmf_host_reader, work);

	if (r->err.code == 0) {
		host_identity_find(xbdev_ctx_platform(r->ctx),
			r->hostnqn[0] != '\0' ? r->hostnqn : NULL, NULL, &r->peer, &r->err);
	}
}

static void identity_done(struct xr_work *work)
{
	struct xnvmf_host_reader *r = xu_container_of(work, struct xnvmf_host_reader, work);

	if (r->is_over || r->err.code != 0) {
		answer(r);
		return;
	}
	r->is_reading = true;
	xr_timer_start(r->reactor, &r->timer, r->timeout_ns);
	open_queue(r);
}

struct xnvmf_host_reader *xnvmf_host_reader_open(struct xbdev_ctx *ctx,
	const struct xnvmf_host_discover_opts *opts, const struct xnvmf_host_reader_ops *ops,
	void *arg)
{
	struct xnvmf_host_reader *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		return NULL;
	}
	r->ctx = ctx;
	r->reactor = xbdev_ctx_control(ctx);
	r->ops = ops;
	r->arg = arg;
	r->timeout_ns =
		(opts->timeout_ms != 0 ? opts->timeout_ms : TIMEOUT_DEFAULT_MS) * XU_NS_PER_MS;
	r->nr_entries_max = opts->nr_entries_max != 0 ? opts->nr_entries_max : MAX_ENTRIES;
	r->options = opts->options & (XNVMF_HOST_EXTENDED | XNVMF_HOST_PORT_LOCAL | XNVMF_HOST_ALL);
	r->kato_ms = opts->kato_ms;
	r->identifies = opts->kato_ms != 0 || opts->is_controller;
	r->chunk_bytes = CHUNK_SMALL_BYTES;
	r->peer.wants_hdgst = opts->hdr_digest;
	r->peer.wants_ddgst = opts->data_digest;
	r->peer.keeps_sqflow = true;
	r->peer.is_controller = opts->is_controller;
	if (opts->hostnqn != NULL) {
		snprintf(r->hostnqn, sizeof(r->hostnqn), "%s", opts->hostnqn);
	}
	host_peer_set(&r->peer, opts->traddr, opts->port != 0 ? opts->port : PORT_DEFAULT,
		opts->subnqn != NULL ? opts->subnqn : XNVMF_DISCOVERY_NQN, &r->err);
	host_queue_init(&r->queue, r->reactor, &queue_ops, "discovery");
	r->timer.fn = on_timer;
	r->event_timer.fn = on_event_timer;
	r->keep_alive_timer.fn = on_keep_alive_timer;
	r->work.work = identity_work;
	r->work.done = identity_done;
	xr_work_submit(r->reactor, &r->work);
	return r;
}

void xnvmf_host_reader_again(struct xnvmf_host_reader *r)
{
	r->must_read_again = true;
	if (!r->is_over && !r->is_reading && !xr_timer_is_running(&r->event_timer)) {
		read_log(r);
	}
}

void xnvmf_host_reader_close(struct xnvmf_host_reader *r)
{
	const struct xu_error none = {0};

	end(r, &none);
}
