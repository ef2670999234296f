/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xnvmf: the target's objects and who owns them.
 *
 *   control reactor   target, ports, subsystems, namespaces, controllers, admin queues, and every
 *                     queue until its Connect has succeeded
 *   each reactor      its group: the I/O queues that live there, and its copy of each subsystem's
 *                     namespaces with their channels (struct xnvmf_group_ns)
 *
 * A queue pair moves at most once: an I/O queue goes from the control reactor, where Connect is
 * decided, to its group's reactor. So admin commands see the configuration without messages, and
 * I/O commands see only their group.
 */
#ifndef XNVMF_TARGET_PRIVATE_H
#define XNVMF_TARGET_PRIVATE_H

#include <stdatomic.h>

#include "lib/reactor/platform.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/device.h"
#include "lib/xnvmf/target/discovery.h"
#include "lib/xnvmf/target/target.h"
#include "lib/xnvmf/wire/nvme.h"

#define XNVMF_AERL          4u   /* asynchronous event requests held */
#define XNVMF_ABORTS        4u   /* Abort commands of a controller that are under way */
#define XNVMF_ERROR_ENTRIES 64u  /* of the error log */
#define XNVMF_ADMIN_DEPTH   128u /* largest admin queue taken */
#define XNVMF_VERSION       0x00010400u
#define XNVMF_MAX_HOSTS     1024u /* allowed hosts of a subsystem, and sights of the node's log */

struct xnvmf_ctrl;
struct xnvmf_group;
struct xnvmf_initiator;
struct xnvmf_port;
struct xnvmf_qpair;
struct xnvmf_req;
struct xnvmf_share;
struct policy;

/* ---- transports ---- */

/*
 * What the target knows of a transport; one table per transport, listed in transports.c. A
 * transport makes queue pairs (from connections), feeds requests to xnvmf__req_start(), and
 * carries data and completions.
 */
struct xnvmf_transport_ops {
	const char *name; /* "tcp" */
	uint8_t trtype;   /* as in a discovery log entry */
	/* Starts to accept connections at port->address, port->service; sets port->listener. */
	int (*listen)(struct xnvmf_port *port, struct xu_error *err);
	void (*unlisten)(struct xnvmf_port *port);
	/* Makes room for `depth` commands at a time, at Connect. -ENOMEM. */
	int (*set_depth)(struct xnvmf_qpair *qpair, uint32_t depth, bool is_admin);
	/* Stops working on the connection and, when the kernel has nothing of it any more, runs
	 * paused(qpair) on the old reactor. */
	void (*pause)(struct xnvmf_qpair *qpair, void (*paused)(struct xnvmf_qpair *qpair));
	/* Goes on, on qpair->reactor, called there. */
	void (*resume)(struct xnvmf_qpair *qpair);
	/* Brings req->buf the data of the host; then xnvmf__req_execute(), or nothing when the
	 * connection ends. */
	void (*fetch)(struct xnvmf_req *req);
	/* Sends the completion, before it the data when there is any, then xnvmf__req_free(). */
	void (*respond)(struct xnvmf_req *req);
	/* Takes a request back without an answer. */
	void (*drop)(struct xnvmf_req *req);
	/* Ends the command `cid` of the queue with Command Abort Requested, on its reactor, when it
	 * waits for a buffer or for the host; false: it does not. */
	bool (*abort)(struct xnvmf_qpair *qpair, uint16_t cid);
	/* Ends the connection. When no request is left: xnvmf__qpair_gone(). May be called again.
	 */
	void (*disconnect)(struct xnvmf_qpair *qpair);
	/* Frees what the transport has of a qpair that is gone. */
	void (*free)(struct xnvmf_qpair *qpair);
	/* The connection's own and peer's address. */
	int (*address)(struct xnvmf_qpair *qpair, bool is_peer, char address[XR_ADDRESS_SIZE],
		uint16_t *ret_port);
};

extern const struct xnvmf_transport_ops *const xnvmf__transports[];
const struct xnvmf_transport_ops *xnvmf__transport_find(const char *name);
extern const struct xnvmf_transport_ops xnvmf__transport_tcp;

/* ---- ports and listeners ---- */

/* One listening address; subsystems share it. */
struct xnvmf_port {
	struct xnvmf_target *target;
	const struct xnvmf_transport_ops *transport;
	char address[XR_ADDRESS_SIZE];
	char service[8];
	uint16_t port_id;
	uint32_t nr_users;
	void *listener; /* the transport's */
	struct xu_list link;
};

struct xnvmf_listener {
	struct xnvmf_port *port;
	char advertise[XR_ADDRESS_SIZE]; /* "": the address itself */
	struct xu_list link;
};

struct xnvmf_host {
	char nqn[XNVMF_NQN_MAX + 1];
	struct xu_list link;
};

/* ---- namespaces ---- */

enum xnvmf_ns_state { XNVMF_NS_ADDING, XNVMF_NS_ACTIVE, XNVMF_NS_REMOVING };

/* The control reactor's. */
struct xnvmf_ns {
	struct xnvmf_subsystem *subsystem;
	uint32_t nsid;
	uint64_t id; /* unlike the NSID, never used again */
	enum xnvmf_ns_state state;
	struct xbdev_desc *desc;
	struct xu_uuid uuid;
	uint8_t nguid[16];
	uint8_t eui64[8];
	bool is_read_only;
	bool must_remove; /* asked for while it was being added */
	int add_error;    /* of the first reactor that could not have a channel */
	uint32_t add_error_reactor;
	struct xbdev_hop hop;
	_Atomic uint32_t nr_open; /* groups that have a channel, and the hop itself */
	struct xr_msg closed_msg;
	void (*cb)(void *arg, const struct xu_error *err); /* of the addition */
	void *arg;
	void (*removed_cb)(void *arg);
	void *removed_arg;
};

/* A group's copy. */
struct xnvmf_group_ns {
	struct xbdev_channel *ch; /* NULL: not there */
	uint64_t id;              /* of the namespace */
	uint32_t block_shift;
	bool is_read_only;
	bool is_removing;
	uint32_t nr_inflight;
	struct xnvmf_ns *ns;
};

struct xnvmf_io_counters {
	uint64_t reads, writes;
	uint64_t bytes_read, bytes_written;
	uint64_t errors;
};

/* One subsystem on one reactor. */
struct xnvmf_group_subsystem {
	struct xnvmf_group_ns *ns; /* max_namespaces entries, by NSID - 1 */
	struct xnvmf_io_counters counters;
};

/* ---- subsystems ---- */

struct xnvmf_subsystem {
	struct xnvmf_target *target;
	char nqn[XNVMF_NQN_MAX + 1];
	char serial[21];
	char model[41];
	bool is_discovery;
	bool allow_any_host;
	bool is_removing;
	bool is_draining;
	struct policy *policy;     /* policy.c; NULL: none */
	_Atomic bool is_read_only; /* by it; any reactor */
	uint32_t max_namespaces;
	uint16_t next_cntlid;
	struct xnvmf_ns **ns;                 /* by NSID - 1 */
	struct xnvmf_group_subsystem *groups; /* by reactor */
	struct xu_list hosts;
	struct xu_list listeners;
	struct xu_list ctrls;
	void (*removed_cb)(void *arg);
	void *removed_arg;
	struct xr_msg check_msg;
	bool is_check_sent;
	struct xu_list link;
};

/* ---- controllers ---- */

/* The flushes of a shutdown, see shutdown.c. */
struct xnvmf_shutdown {
	bool is_asked;    /* to be begun when the I/O queues have gone */
	bool is_flushing; /* `io` is out */
	bool has_failed;
	uint32_t nsid; /* that is being flushed */
	struct xnvmf_group_ns *ns;
	struct xbdev_io io;
};

/* An Abort on its way to the queue's reactor and back. */
struct xnvmf_abort {
	struct xr_msg msg;
	struct xnvmf_req *req; /* the Abort; NULL: not in use */
	struct xnvmf_qpair *qpair;
	uint16_t cid;
	bool is_done;
};

enum xnvmf_log { XNVMF_LOG_TARGETS, XNVMF_LOG_HOSTS, XNVMF_NR_LOGS }; /* pages 70h and 71h */

/* A log as it was when offset 0 was read. */
struct xnvmf_ctrl_log {
	uint32_t options;                 /* of the last reading */
	void *view;                       /* NULL: it has not been read yet */
	struct xnvmf_discovery_info info; /* of the view */
	uint64_t told_genctr;
	bool is_pending; /* an event is to be told */
	bool is_masked;  /* told, and not read yet */
};

/* What a discovery controller knows of its host, and what that has read. */
struct xnvmf_ctrl_sight {
	char address[XR_ADDRESS_SIZE], own_address[XR_ADDRESS_SIZE];
	uint16_t port, own_port;
	bool is_controller;
	struct xnvmf_ctrl_log logs[XNVMF_NR_LOGS];
};

struct xnvmf_ctrl {
	struct xnvmf_subsystem *subsystem;
	struct xnvmf_initiator *initiator;
	uint16_t cntlid;
	uint8_t hostid[16];
	char hostnqn[XNVMF_NQN_MAX + 1];
	uint32_t cc, csts;
	bool is_resetting;       /* EN has been cleared, and the I/O queues of before end */
	bool has_queue_deletion; /* the host too lets single queues come and go (CATTR bit 3) */
	uint32_t kato_ms;
	struct xr_timer keep_alive;
	uint64_t last_alive_ns;
	bool is_overdue;        /* nothing for KATO: it has until the slack is over */
	struct xr_timer idle;   /* EN never set, or a discovery controller without keep-alive */
	uint64_t idle_since_ns; /* its last admin command, while it is in target->idle_ctrls */
	struct xu_list idle_link;
	struct xnvmf_qpair *admin; /* NULL: gone */
	struct xu_list io_qpairs;  /* by control_link */
	uint32_t nr_io_qpairs;
	uint32_t nr_queues;   /* granted by feature 07h */
	uint32_t queue_depth; /* that its host was told */
	bool is_dead;         /* no new queues; goes when its queues have gone */

	struct xnvmf_shutdown shutdown;
	struct xnvmf_abort aborts[XNVMF_ABORTS];
	struct xnvmf_req *aers[XNVMF_AERL];
	uint32_t nr_aers;
	uint32_t aec;            /* feature 0Bh */
	bool is_ns_attr_pending; /* to be told */
	bool is_ns_attr_masked;  /* told, log not read yet */
	uint32_t changed_ns[XNVMF_NSID_MAX / 32];

	uint32_t features[32]; /* values of the plain features, by identifier */
	struct nvme_error_entry errors[XNVMF_ERROR_ENTRIES];
	uint64_t error_count;
	uint64_t start_ns;

	struct xnvmf_ctrl_sight sight; /* of discovery controllers */

	struct xu_list link;
};

/* ---- queue pairs and requests ---- */

enum xnvmf_qpair_state {
	XNVMF_QPAIR_NEW, /* no Connect yet */
	XNVMF_QPAIR_LIVE,
	XNVMF_QPAIR_ENDING, /* the connection ends; requests may still be with the device */
};

struct xnvmf_qpair {
	struct xnvmf_target *target;
	const struct xnvmf_transport_ops *transport;
	struct xnvmf_port *port;
	struct xr_reactor *reactor; /* where it lives now */
	enum xnvmf_qpair_state state;
	struct xnvmf_subsystem *subsystem;
	struct xnvmf_group_subsystem *group; /* of its reactor */
	struct xnvmf_ctrl *ctrl;
	uint16_t qid;
	uint16_t sq_size; /* entries */
	uint16_t sq_head;
	bool is_sqflow_off;
	uint32_t nr_requests;          /* out */
	struct xnvmf_share *share;     /* of its host, on its reactor */
	uint64_t buf_bytes;            /* of the pool that its requests hold, or want in the host's
					  line */
	struct xu_list buffer_waiters; /* requests over its own share of the pool */
	uint64_t id;                   /* for people */
	bool is_lost; /* the connection broke, or was ended for an error or a silence of its host;
		       * set by the transport before it is gone */
	struct xnvmf_req *disconnect_req; /* waits for the queue's other commands */
	struct xnvmf_req *connect_req;    /* while it moves */
	struct xnvmf_req *held_req;       /* an admin Connect in target->held_connects */
	uint32_t move_to;                 /* reactor number */

	/* The last error of an I/O queue, on its way to the controller's error log. */
	struct nvme_error_entry error;
	struct xr_msg error_msg;
	_Atomic bool is_error_sent;

	/* The control reactor's view. */
	struct xr_reactor *home; /* where it lives, or moves to */
	bool is_moving;          /* still here, on its way to `home` */
	bool is_disconnect_asked;
	bool is_disconnect_acked;
	bool is_gone;
	uint32_t nr_aborts; /* messages about commands to abort that are under way */
	bool is_dropped;    /* to make room for another one */
	struct xr_timer connect_timer;
	uint64_t accepted_ns;
	struct xu_list unconnected_link; /* target->unconnected, until its Connect or its end */
	struct xr_msg move_msg;
	struct xr_msg disconnect_msg;
	struct xr_msg gone_msg;
	struct xu_list control_link; /* target->qpairs (new, admin) or ctrl->io_qpairs */
};

enum xnvmf_data_dir { XNVMF_DATA_NONE, XNVMF_DATA_FROM_HOST, XNVMF_DATA_TO_HOST };

/* One command. The transport embeds it in its own structure. */
struct xnvmf_req {
	struct xnvmf_qpair *qpair;
	struct nvme_cmd cmd;
	struct nvme_cpl cpl;
	enum xnvmf_data_dir dir;
	uint32_t data_len; /* bytes of buf: of the host's data, by the SGL, or of what Verify reads
			    */
	uint32_t icd_len;  /* bytes that came with the capsule */
	bool has_bad_data; /* the capsule's data failed its digest */
	void *buf;         /* data_len bytes */
	bool is_pool_buf;  /* from the reactor's pool, else the transport's */
	bool is_waiting;   /* for a buffer */
	bool is_in_host_line;
	uint32_t buf_epoch; /* group->epoch when the buffer was taken */
	struct iovec iov;
	struct xbdev_io io;
	struct xnvmf_group_ns *group_ns; /* counted in nr_inflight */
	uint64_t ns_id;                  /* of the namespace that the command was checked for */
	uint32_t step;                   /* of commands that take several I/Os */
	uint16_t status;                 /* collected so far */
	struct xu_list link;             /* waiting for a buffer */
};

/* ---- groups ---- */

/* What one host has of one reactor's data buffers, and its requests that wait for some. It is that
 * reactor's. */
struct xnvmf_share {
	_Alignas(XU_CACHE_LINE) uint64_t bytes; /* held */
	bool is_hungry;                         /* in group->hungry, not group->waiting */
	struct xu_list line;                    /* requests */
	struct xu_list link;
};

/* A host, by its NQN, that has controllers here. */
struct xnvmf_initiator {
	char nqn[XNVMF_NQN_MAX + 1];
	uint32_t nr_ctrls;
	struct xu_list link;
	struct xnvmf_share admin;    /* of its admin queues: they do not wait for its I/O */
	struct xnvmf_share shares[]; /* of its I/O queues, by reactor */
};

struct xnvmf_group {
	struct xr_reactor *reactor;
	/* Data buffers, see buffer.c. */
	struct xu_list hungry;            /* shares that wait and hold nothing, in order */
	struct xu_list waiting;           /* shares that wait for more, in turn */
	uint64_t min_need;                /* none of them needs less to be free */
	struct xnvmf_share *first_hungry; /* for which buffers are put by; NULL: nobody is hungry */
	uint64_t reserved;                /* bytes that are put by */
	uint32_t epoch;                   /* counts who was first */
	uint64_t buf_limit;               /* bytes of the pool that commands may hold */
	uint64_t qpair_share;             /* bytes of it that one queue may hold */
	uint64_t alone_left;              /* bytes of it that a host alone leaves free */
	uint64_t held_bytes;              /* by all shares */
	bool is_serving;
	bool must_serve;              /* again, something has changed meanwhile */
	struct xnvmf_share strangers; /* of connections without Connect, all together */
	uint32_t nr_qpairs;           /* the control reactor's count */
	_Atomic uint64_t nr_commands;
};

/* Lets a line into the log now and then, and counts those in between. */
struct xnvmf_log_limit {
	uint64_t next_ns;
	uint64_t nr_silent;
};

struct xnvmf_target {
	struct xbdev_ctx *ctx;
	struct xu_logger *log;
	struct xnvmf_target_opts opts;
	struct xnvmf_group groups[XBDEV_MAX_REACTORS];
	struct xu_list subsystems;
	struct xu_list ports;
	struct xu_list qpairs;        /* without Connect, and admin queues; the control reactor's */
	struct xu_list held_connects; /* of hosts whose last association has not ended yet */
	struct xu_list
		unconnected; /* queues without Connect by unconnected_link, the oldest first */
	struct xu_list initiators; /* hosts that have controllers */
	struct xu_list idle_ctrls; /* that may be dropped, the one quiet for longest first */
	struct xnvmf_subsystem *discovery;
	uint16_t next_port_id;
	uint32_t nr_listening; /* sockets that accept, or are being closed */
	uint32_t nr_qpairs;    /* connections, all of them */
	uint32_t nr_dropped;   /* of them are being ended to make room */
	uint64_t next_qpair_id;
	uint64_t next_ns_id;
	uint64_t nr_connections, nr_refused, nr_dropped_total;
	struct xnvmf_log_limit full_limit, silent_limit, host_limit, policy_limit;
	bool is_stopping;
	void (*stopped_cb)(void *arg);
	void *stopped_arg;

	const struct xnvmf_discovery_ops *discovery_ops;
	void *discovery_arg;
	bool is_central;
	struct xr_timer change_timer;
	struct xu_list sights; /* of the node's own log */
	uint32_t nr_sights;
	uint32_t nr_hosts_readers; /* controllers whose host has read the log of hosts */
	uint64_t first_genctr;
};

static inline struct xr_reactor *xnvmf__control(const struct xnvmf_target *target)
{
	return xbdev_ctx_control(target->ctx);
}

static inline struct xnvmf_group *xnvmf__group_of(const struct xnvmf_qpair *qpair)
{
	return &qpair->target->groups[xr_reactor_index(qpair->reactor)];
}

/* ---- room.c ---- */

/* Whether one more connection may come. When the table is full, the one that is missed least is
 * ended for it. */
bool xnvmf__room_for_one(struct xnvmf_target *target);
/* Ends the connection that is missed least; false: all are in use. */
bool xnvmf__room_drop_one(struct xnvmf_target *target);
/* A controller has given a sign of life, or has become one that may be dropped when it is quiet. */
void xnvmf__room_touch(struct xnvmf_ctrl *ctrl);
/* True when a line may be written now; *ret_silent is how many were left out since the last. */
bool xnvmf__log_allowed(
	struct xnvmf_target *target, struct xnvmf_log_limit *limit, uint64_t *ret_silent);

/* ---- qpair.c ---- */

/* A connection has come in: on the control reactor, xnvmf__room_for_one() asked by the transport.
 */
void xnvmf__qpair_init(struct xnvmf_qpair *qpair, struct xnvmf_port *port);
/* The connection has begun to end: called by the transport on the qpair's reactor, once. Gives the
 * event requests that are held back to the transport. */
void xnvmf__qpair_ending(struct xnvmf_qpair *qpair);
/* The connection has ended and no request is out: called by the transport on the qpair's reactor,
 * once. The qpair is freed later. */
void xnvmf__qpair_gone(struct xnvmf_qpair *qpair);
/* Sends a qpair whose I/O Connect (connect_req) has succeeded to `home`, where the Connect is
 * then answered. */
void xnvmf__qpair_move(struct xnvmf_qpair *qpair, struct xr_reactor *home);
/* Ends a connection from the control reactor, wherever it lives. */
void xnvmf__qpair_disconnect(struct xnvmf_qpair *qpair);
/* Frees a qpair that has gone, when no message to it is under way. */
void xnvmf__qpair_free_if_done(struct xnvmf_qpair *qpair);

/* ---- req.c ---- */

/* A command has come in: the transport has set qpair, cmd, icd_len, buf (when icd_len != 0). */
void xnvmf__req_start(struct xnvmf_req *req);
/* All data of the host is in req->buf. */
void xnvmf__req_execute(struct xnvmf_req *req);
/* Ends the command with a status (NVME_SC_…); data goes to the host when that is success. */
void xnvmf__req_complete(struct xnvmf_req *req, uint16_t status);
/* The transport has done with it: gives its buffer back. The transport then reuses it. */
void xnvmf__req_free(struct xnvmf_req *req);
/* The transport has put a request back: a Disconnect may have waited for that. */
void xnvmf__qpair_request_done(struct xnvmf_qpair *qpair);
/* req->buf has data_len bytes: goes on with the host's data, or with the command. */
void xnvmf__req_have_buffer(struct xnvmf_req *req);
/* -errno of an I/O as a status. */
uint16_t xnvmf__status_of_errno(int error, bool is_write);

/* ---- buffer.c: the request's reactor ---- */

void xnvmf__share_init(struct xnvmf_share *share);
/* Finds data_len bytes for the request, which goes on by xnvmf__req_have_buffer(), now or when it
 * is its turn. */
void xnvmf__buffer_get(struct xnvmf_req *req);
/* Gives the buffer back, when it is the pool's, and goes on with those that waited for it. */
void xnvmf__buffer_put(struct xnvmf_req *req);
/* Takes a request that waits out of its line. After the last of several: xnvmf__buffers_serve(). */
void xnvmf__buffer_cancel(struct xnvmf_req *req);
/* Looks who can go on, because the queue's lines or the pool have changed. */
void xnvmf__buffers_serve(struct xnvmf_qpair *qpair);

/* ---- connect.c, ctrl.c, admin.c and friends: the control reactor ---- */

void xnvmf__fabrics_execute(struct xnvmf_req *req);
void xnvmf__connect(struct xnvmf_req *req);
/* A controller is gone: looks again at the Connects that were held back. */
void xnvmf__connect_held(struct xnvmf_target *target);
bool xnvmf__admin_exists(const struct xnvmf_req *req);
void xnvmf__admin_execute(struct xnvmf_req *req);
void xnvmf__abort(struct xnvmf_req *req);
void xnvmf__identify(struct xnvmf_req *req);
void xnvmf__get_log_page(struct xnvmf_req *req);
void xnvmf__get_features(struct xnvmf_req *req);
void xnvmf__set_features(struct xnvmf_req *req);

struct xnvmf_ctrl *xnvmf__ctrl_new(struct xnvmf_subsystem *subsystem,
	const struct nvme_connect_data *data, uint32_t kato_ms, struct xnvmf_qpair *admin);
struct xnvmf_ctrl *xnvmf__ctrl_find(struct xnvmf_subsystem *subsystem, uint16_t cntlid);
/* No more commands: ends all of its queues; it is freed when they have gone. */
void xnvmf__ctrl_kill(struct xnvmf_ctrl *ctrl, const char *why);
/* The way by `port` is closed to the controller: ends its queues that came by it, and with them the
 * association when it cannot do without one of them. */
void xnvmf__ctrl_leave_port(struct xnvmf_ctrl *ctrl, const struct xnvmf_port *port);
/* Gives the event requests that are held back to the transport, without an answer. */
void xnvmf__ctrl_drop_aers(struct xnvmf_ctrl *ctrl);
/* Frees a controller of which nothing is left. */
void xnvmf__ctrl_free_if_done(struct xnvmf_ctrl *ctrl);
void xnvmf__ctrl_qpair_gone(struct xnvmf_ctrl *ctrl, struct xnvmf_qpair *qpair);
void xnvmf__ctrl_keep_alive(struct xnvmf_ctrl *ctrl);
void xnvmf__ctrl_set_kato(struct xnvmf_ctrl *ctrl, uint32_t kato_ms);
uint64_t xnvmf__ctrl_cap(const struct xnvmf_ctrl *ctrl);
bool xnvmf__ctrl_is_ready(const struct xnvmf_ctrl *ctrl);
void xnvmf__ctrl_set_cc(struct xnvmf_ctrl *ctrl, uint32_t cc);
/* shutdown.c: the host has told the controller to shut down; and its last I/O queue has gone. */
void xnvmf__shutdown_start(struct xnvmf_ctrl *ctrl);
void xnvmf__shutdown_continue(struct xnvmf_ctrl *ctrl);
/* Any reactor: enters a command that failed in the error log, or in time. */
void xnvmf__log_error(struct xnvmf_req *req);
void xnvmf__ctrl_ns_changed(struct xnvmf_ctrl *ctrl, uint32_t nsid);
void xnvmf__ctrl_discovery_changed(struct xnvmf_ctrl *ctrl, enum xnvmf_log which);
void xnvmf__aer(struct xnvmf_req *req);
void xnvmf__aer_log_read(struct xnvmf_ctrl *ctrl, uint8_t lid);
bool xnvmf__aer_abort(struct xnvmf_ctrl *ctrl, uint16_t cid);

/* ---- io.c: any reactor ---- */

bool xnvmf__io_exists(const struct xnvmf_req *req);
void xnvmf__io_execute(struct xnvmf_req *req);
/* Status that an I/O command fails with before its data is fetched; 0: none. */
uint16_t xnvmf__io_check(struct xnvmf_req *req);

/* ---- subsystem.c, ns.c ---- */

int xnvmf__subsystem_new(struct xnvmf_target *target, const struct xnvmf_subsystem_opts *opts,
	bool is_discovery, struct xnvmf_subsystem **ret_subsystem, struct xu_error *err);
bool xnvmf__subsystem_allows(const struct xnvmf_subsystem *subsystem, const char *host_nqn);
/* Ends the controllers whose hosts may not be here any more. */
void xnvmf__subsystem_enforce_hosts(struct xnvmf_subsystem *subsystem);
/* policy.c. False: the policy says nothing of hosts. */
bool xnvmf__policy_hosts(
	const struct xnvmf_subsystem *subsystem, const char *host_nqn, bool *ret_allows);
uint32_t xnvmf__policy_queue_depth(const struct xnvmf_subsystem *subsystem);
bool xnvmf__policy_is_full(const struct xnvmf_subsystem *subsystem);
struct xnvmf_listener *xnvmf__subsystem_listener(
	const struct xnvmf_subsystem *subsystem, const struct xnvmf_port *port);
/* Frees the subsystem, and calls back, when it is being removed and nothing of it is left. */
void xnvmf__subsystem_check(struct xnvmf_subsystem *subsystem);
void xnvmf__target_check(struct xnvmf_target *target);
/* An I/O of a namespace has ended that was counted in nr_inflight; the last one of a namespace that
 * is being removed closes it. */
void xnvmf__group_ns_leave(struct xnvmf_group_ns *group_ns);
static inline struct xnvmf_ns *xnvmf__ns_active(
	const struct xnvmf_subsystem *subsystem, uint32_t nsid)
{
	struct xnvmf_ns *ns = nsid - 1 < subsystem->max_namespaces ? subsystem->ns[nsid - 1] : NULL;

	return ns != NULL && ns->state == XNVMF_NS_ACTIVE ? ns : NULL;
}

/* ---- listener.c ---- */

void xnvmf__listener_free(struct xnvmf_listener *listener);
/* Gives up a use of a port; the last one stops listening. */
void xnvmf__port_put(struct xnvmf_port *port);

/* ---- discovery.c: the control reactor ---- */

/* A discovery controller has been made: notes what its Connect and its connection say. */
void xnvmf__discovery_connected(struct xnvmf_ctrl *ctrl, uint8_t cattr);
/* Pins the log as the host of this controller sees it now. -ENOMEM: the old one stays. */
/* The events of a discovery controller (OAES). */
uint32_t xnvmf__discovery_events(const struct xnvmf_target *target);
/* NULL: there is no such log. */
const struct xnvmf_discovery_log_ops *xnvmf__discovery_log(
	const struct xnvmf_target *target, enum xnvmf_log which);
int xnvmf__discovery_pin(struct xnvmf_ctrl *ctrl, enum xnvmf_log which, uint32_t options);
/* The end of a discovery controller. */
void xnvmf__discovery_gone(struct xnvmf_ctrl *ctrl);
uint64_t xnvmf__discovery_log_bytes(const struct xnvmf_ctrl *ctrl, enum xnvmf_log which);
/* Fills `buf` from the pinned log, and with zeroes beyond its end. */
void xnvmf__discovery_read(
	struct xnvmf_ctrl *ctrl, enum xnvmf_log which, uint64_t offset, uint8_t *buf, size_t len);
void xnvmf__discovery_fini(struct xnvmf_target *target);

/* ---- discovery_node.c ---- */

extern const struct xnvmf_discovery_ops xnvmf__discovery_node; /* arg: the target */
void xnvmf__discovery_node_fini(struct xnvmf_target *target);
void xnvmf__discovery_fill_entry(struct nvme_discovery_entry *entry,
	const struct xnvmf_listener *listener, const char *nqn, uint8_t subtype,
	const char *own_address);

/* ---- dim.c ---- */

void xnvmf__dim(struct xnvmf_req *req);

#endif
