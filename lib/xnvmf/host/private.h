/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xnvmf/host: a controller as we see it, and who owns what.
 *
 *   control reactor   the controller: its state, the admin queue, keep-alive, events, time limits
 *   each reactor      its slot: the I/O queue there, and the I/Os that wait for one
 *
 * They talk by messages. The control reactor tells a slot to start or stop its queue or to send its
 * I/Os to another slot; a slot asks for a queue when its first channel opens, and tells when its
 * queue is lost. Between a START or FORWARD and the STOPPED that follows, the slot may send and the
 * controller changes nothing that a slot reads.
 */
#ifndef XNVMF_HOST_PRIVATE_H
#define XNVMF_HOST_PRIVATE_H

#include "lib/util/ring.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xnvmf/host/queue.h"

#define HOST_ADMIN_ENTRIES 32u
#define HOST_ADMIN_NS      (15 * XU_NS_PER_S) /* for an admin command */
#define HOST_MAX_TRANSFER  (1u << 20)
#define HOST_MAX_RANGE     (1ull << 30) /* of DISCARD and WRITE_ZEROES, carried out in pieces */
#define HOST_MAX_LOSSES    16u          /* times that an I/O may be out when its connection ends */
#define HOST_OVERDUE_LOSS  5u   /* one that took too long counts as so many: it may be why */
#define HOST_MAX_CRDT      600u /* 100 ms: longer advice to wait is not followed */

struct host_ctrl;
struct host_slot;

/* ---- status.c ---- */

enum host_verdict {
	HOST_VERDICT_END,   /* tell the user */
	HOST_VERDICT_RETRY, /* the command may work in a moment */
	HOST_VERDICT_WAIT,  /* the same, and it may take a while: a path or namespace not there now
			     */
};

/* What a status other than success means: 0 or -errno for the user, and whether to try again. */
int host_status_errno(uint16_t status, enum host_verdict *ret_verdict);
#define HOST_STATUS_TEXT 24u
/* "2/81h", for people. */
const char *host_status_text(uint16_t status, char text[HOST_STATUS_TEXT]);

/* ---- steps.c: admin commands one after another ---- */

/* A command of a step, and what came back. */
struct host_call {
	struct nvme_cmd cmd;
	void *buf;
	uint32_t len;
	enum host_dir dir;
	uint16_t status;
	uint32_t dw0, dw1;
};

/* Or -errno, with the error set. AGAIN is after a moment. */
enum host_next { HOST_NEXT = 0, HOST_AGAIN = 1, HOST_REPEAT = 2 };

struct host_step {
	const char *what; /* "reading CAP", for the error */
	/* Fills the call, which is zeroed; false: the step is not needed. */
	bool (*build)(void *arg, struct host_call *call);
	/* Success: what next. May be NULL. */
	int (*done)(void *arg, const struct host_call *call, struct xu_error *err);
	/* Any other status. NULL: it is an error. */
	int (*refused)(void *arg, const struct host_call *call, struct xu_error *err);
};

/* A table of steps, which ends with a NULL `what`, and where their argument is. */
struct host_part {
	const struct host_step *steps; /* NULL ends a table of parts */
	size_t arg_offset;             /* in the argument of the whole */
};

struct host_steps {
	struct host_queue *queue;
	const struct host_part *parts;
	uint32_t index;
	void *arg;
	struct host_call call;
	struct xr_timer again_timer;
	struct host_req *req; /* that is out */
	/* Once; err->code is 0 when all went well. Not when the queue is lost, or after stop. */
	void (*finished)(void *arg, const struct xu_error *err);
};

void host_steps_start(struct host_steps *steps, struct host_queue *queue,
	const struct host_part *parts, void *arg,
	void (*finished)(void *arg, const struct xu_error *err));
void host_steps_stop(struct host_steps *steps);

/* From Connect to CSTS.RDY; used by controllers and by discovery. */
struct host_enable {
	struct xr_reactor *reactor;
	uint64_t start_ns;
	uint64_t cap;
	uint32_t vs;
};
extern const struct host_step host_enable_steps[];

/* ---- what is known of the controller and the namespace ---- */

struct host_info {
	struct host_enable enable; /* first */
	uint16_t cntlid;
	char model[41], serial[21], firmware[9];
	uint32_t max_transfer; /* bytes */
	uint32_t max_entries;  /* of a queue */
	uint32_t icd_bytes;
	uint32_t oaes;
	uint16_t oncs;
	uint16_t crdt[3]; /* 100 ms */
	uint16_t cqt;     /* ms */
	bool has_tbkas, has_vwc;
	uint32_t nr_queues; /* granted */
	uint32_t nsid;
	uint64_t nr_blocks;
	uint32_t block_size;
	bool is_read_only, has_deac;
	uint8_t nguid[16], eui64[8];
	struct xu_uuid uuid;
	uint64_t max_zeroes; /* bytes of one Write Zeroes */
	uint32_t optimal_io, discard_granularity;
};

/* ---- slots ---- */

enum host_slot_state {
	HOST_SLOT_WAITING, /* no queue: I/Os wait */
	HOST_SLOT_STARTING,
	HOST_SLOT_LIVE,
	HOST_SLOT_STOPPING,
	HOST_SLOT_FORWARD, /* I/Os go by message to another slot */
};

/* What the control reactor knows of a slot. */
enum host_slot_phase {
	HOST_PHASE_NONE,
	HOST_PHASE_STARTING,
	HOST_PHASE_LIVE,
	HOST_PHASE_FORWARD,
	HOST_PHASE_STOPPING,
};

/* A write whose fate the old connection took with it: until the deadline it may still be carried
 * out, so nothing else may be written there. */
struct host_doubt {
	uint64_t start, end; /* bytes */
	uint64_t id;         /* of the I/O, which itself may be sent again */
	uint64_t deadline_ns;
};

struct host_slot_stats {
	_Atomic uint64_t nr_retries; /* commands sent again because of their status */
	_Atomic uint64_t nr_losses;  /* I/Os that were out when a connection ended */
	_Atomic uint64_t nr_doubts;  /* times that one waited because of a write in doubt */
	_Atomic uint64_t nr_overdue; /* commands that took too long */
	_Atomic uint64_t nr_forwards;
};

struct host_slot {
	_Alignas(XU_CACHE_LINE) struct host_ctrl *ctrl;
	struct xr_reactor *reactor;
	uint32_t index;

	/* The reactor's. */
	enum host_slot_state state;
	struct host_slot *via;
	struct host_queue queue;
	int fail_errno; /* 0: I/Os wait while there is no queue */
	bool has_vwc;
	bool is_wanted;
	uint32_t next_id;
	const struct host_doubt *doubts; /* the controller's while the slot is live */
	uint32_t nr_doubts;
	uint64_t doubt_until_ns;
	struct xu_list line;  /* I/Os that wait for a place, or for a queue */
	struct xu_list retry; /* I/Os that wait for their time */
	struct xr_timer retry_timer;
	struct host_doubt *lost; /* of this connection, for the controller; room for lost_size */
	uint32_t nr_lost;
	struct host_slot_stats stats;

	/* Mailboxes: each is sent by one side only, and not again before the answer. */
	struct xr_msg want_msg, start_msg, started_msg, stop_msg, stopped_msg, lost_msg;
	struct host_queue_opts start_opts;
	bool start_has_vwc;
	const struct host_doubt *start_doubts;
	uint32_t start_nr_doubts;
	uint64_t start_doubt_until_ns;
	struct host_slot *start_via; /* not NULL: FORWARD */
	bool is_refused;             /* by status: others may still work */
	struct xu_error lost_err;
	struct xr_msg abort_msg;
	_Atomic bool is_abort_asked; /* until the Abort has been answered */
	uint16_t abort_cid;

	/* The control reactor's. */
	enum host_slot_phase phase;
	bool is_known; /* it wants a queue */
	bool must_forward;
};

/* ---- the controller ---- */

enum host_ctrl_state {
	HOST_CTRL_NEW,
	HOST_CTRL_CONNECTING,
	HOST_CTRL_LIVE,
	HOST_CTRL_RESETTING, /* queues are being ended */
	HOST_CTRL_BACKOFF,   /* waits to connect again */
	HOST_CTRL_DELETING,
	HOST_CTRL_DEAD,
	HOST_CTRL_NR_STATES
};

struct host_opts {
	const char *name;
	const char *traddr, *trsvcid, *subnqn, *hostnqn, *hostid;
	uint32_t trtype, adrfam, multipath; /* checked, not used */
	uint32_t port;
	uint32_t nsid;
	bool hdr_digest, data_digest;
	uint32_t nr_io_queues;
	uint32_t queue_size;
	uint32_t keep_alive_timeout_ms;
	uint32_t reconnect_delay_ms, reconnect_delay_s, reconnect_delay_max_ms;
	json_t *ctrl_loss_timeout_s; /* -1 … */
	uint32_t fast_io_fail_timeout_s;
	uint32_t io_timeout_ms;
	json_t *quiesce_ms;
	struct xu_uuid uuid;
};

struct host_ctrl {
	struct xbdev_device dev;
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor; /* the control reactor */
	struct xu_logger *log;
	struct host_peer peer;
	uint16_t port;

	/* Options; durations in ns. */
	uint32_t nsid_wanted;
	uint32_t nr_io_queues;
	uint32_t queue_size;
	uint32_t kato_ms;
	uint64_t delay_min_ns, delay_max_ns;
	int64_t loss_s; /* -1: never give up */
	uint64_t fast_fail_ns;
	uint64_t io_timeout_ns;
	int64_t quiesce_ms; /* -1: by KATO and CQT */

	enum host_ctrl_state state;
	struct host_info info;  /* of the connection that is LIVE, or was */
	struct host_info fresh; /* being found out */
	struct host_queue admin;
	struct host_steps steps;
	void *page;            /* 4 KiB for admin commands */
	struct xu_error err;   /* why it is not LIVE */
	struct xr_timer timer; /* CONNECTING, BACKOFF, DELETING: their limit */
	struct xr_timer keep_alive_timer;
	struct xr_timer event_timer;
	struct xr_timer loss_timer, fast_fail_timer;
	bool is_registered;
	bool is_shut_down; /* the target has been told, or cannot be */
	bool is_shutting_down;
	bool must_try_again; /* at once, in another way */
	bool has_event_out, has_keep_alive_out;
	uint64_t keep_alive_ns; /* when the last one went out */
	uint64_t live_since_ns, lost_ns;
	uint64_t delay_ns;
	uint32_t nr_attempts; /* since it was LIVE */
	uint64_t nr_resets;

	/* Slots. */
	struct host_slot *slots;
	uint32_t nr_slots;
	_Atomic int policy_errno; /* what I/Os without a queue fail with; 0: they wait */
	struct xbdev_hop policy_hop;
	bool is_hopping, must_hop_again;

	/* Writes in doubt: changed only while all slots are stopped. */
	const struct host_doubt *doubts;
	struct host_doubt *doubt_memory;
	struct host_doubt all_in_doubt;
	uint32_t nr_doubts;
	uint64_t doubt_until_ns;

	/* The device. */
	struct xbdev_desc *keeper;     /* keeps it until the queues are gone */
	struct xr_work work;           /* finding out who we are */
	char hostnqn[256], hostid[64]; /* as given; "" when not */
	bool is_in_graph;
	bool has_failed; /* after it was registered: nobody was told of it */
	xbdev_created_fn created;
	void *created_arg;
};

/* ctrl.c */
void host_ctrl_start(struct host_ctrl *ctrl);
/* The device is being removed: ends everything, then closes ctrl->keeper. */
void host_ctrl_delete(struct host_ctrl *ctrl);
/* The association cannot go on. */
void host_ctrl_reset(struct host_ctrl *ctrl, const struct xu_error *err);
const char *host_ctrl_state_name(enum host_ctrl_state state);
/* Something that the end waits for has come. */
void host_ctrl_check(struct host_ctrl *ctrl);
void host_ctrl_free(struct host_ctrl *ctrl);

/* init.c: the steps from Connect to knowing the namespace. */
extern const struct host_part host_init_parts[];
/* The namespace again, after an event. */
extern const struct host_part host_rescan_parts[];
/* Whether what has been found out is the device that we had. */
int host_init_compare(const struct host_ctrl *ctrl, struct xu_error *err);

/* alive.c: keep-alive and events, while LIVE. */
void host_alive_start(struct host_ctrl *ctrl);
void host_alive_stop(struct host_ctrl *ctrl);

/* driver.c: LIVE for the first time; or ctrl->err says why not, and the controller is freed. */
void host_driver_ready(struct host_ctrl *ctrl);
void host_driver_failed(struct host_ctrl *ctrl);
/* The device must go: the controller is lost, or the namespace is. */
void host_driver_remove(struct host_ctrl *ctrl, const char *why);

/* slot.c */
void host_slot_init(struct host_slot *slot, struct host_ctrl *ctrl, uint32_t index);
/* Control reactor: starts the queues that are wanted; those beyond the granted number forward. */
void host_slots_start(struct host_ctrl *ctrl);
void host_slots_stop(struct host_ctrl *ctrl);
/* Makes every slot follow ctrl->policy_errno. */
void host_slots_set_policy(struct host_ctrl *ctrl, int policy_errno);
/* All slots are stopped: takes over the writes in doubt. */
void host_slots_gather_doubts(struct host_ctrl *ctrl, uint64_t quiesce_ns);
/* The slot's reactor: the first channel. */
void host_slot_want(struct host_slot *slot);
/* Adds a write that was out when the connection ended. */
void host_slot_add_doubt(struct host_slot *slot, uint64_t id, uint64_t start, uint64_t end);

/* io.c: the slot's reactor. */
struct host_io;
void host_io_submit(struct xbdev_channel *ch, struct xbdev_io *io);
void host_io_abort(struct xbdev_channel *ch);
void host_io_cancel(struct xbdev_channel *ch, struct xbdev_io *io);
/* Starts what waits in line, as far as there is room. */
void host_io_pump(struct host_slot *slot);
/* The slot has no queue now, or another policy: ends or keeps what waits. */
void host_io_settle(struct host_slot *slot);
void host_io_on_retry_timer(struct xr_timer *timer);

/* identity.c: may block. */
int host_identity_find(const struct xr_platform *platform, const char *hostnqn, const char *hostid,
	struct host_peer *peer, struct xu_error *err);
int host_peer_set(struct host_peer *peer, const char *address, uint16_t port, const char *subnqn,
	struct xu_error *err);

#endif
