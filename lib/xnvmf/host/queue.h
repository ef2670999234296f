/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xnvmf/host: one queue of a controller, which is one TCP connection, and the
 * commands on it. A queue belongs to one reactor and is used there only. It knows PDUs and
 * commands, not what they are for: controllers (ctrl.c), slots (slot.c) and discovery are its
 * users.
 *
 *   CLOSED --open--> TCP --> IC --> CONNECT --> LIVE
 *      ^              |      |         |         |
 *      |              +------+----+----+---------+--> LOST
 *      +--gone-- CLOSING <--close-+--------------------+
 *
 * What goes wrong is told by ops->lost(), once; then, or before, its user calls host_queue_close().
 * When the kernel has nothing of the connection any more, every command that is out ends with
 * HOST_LOST and ops->gone() says that all has been given back.
 */
#ifndef XNVMF_HOST_QUEUE_H
#define XNVMF_HOST_QUEUE_H

#include <netinet/in.h>

#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xnvmf/wire/tcp.h"

#define HOST_NQN_SIZE    224u /* with its NUL */
#define HOST_MAX_R2T     4u   /* of a command at a time; ICReq tells one less */
#define HOST_MAX_IOV     64u  /* segments of a command's data */
#define HOST_MAX_ENTRIES 1024u
#define HOST_SEND_IOV    128u
#define HOST_STAGE_BYTES (16u << 10) /* headers of one send */
#define HOST_PHASE_NS    (10 * XU_NS_PER_S)

/* Beside the statuses of NVMe (whose bit 0 is clear): the connection ended first. */
#define HOST_LOST 0xffffu

struct host_queue;

/* Who we are, and to whom we connect. Lives as long as its queues. */
struct host_peer {
	char address[XR_ADDRESS_SIZE];
	struct sockaddr_storage addr;
	uint32_t addr_len;
	char subnqn[HOST_NQN_SIZE];
	char hostnqn[HOST_NQN_SIZE];
	uint8_t hostid[16];
	bool wants_hdgst, wants_ddgst;
	bool keeps_sqflow;  /* the target does not take "flow control off" */
	bool is_controller; /* we are a discovery controller ourselves */
};

enum host_dir { HOST_DIR_NONE, HOST_DIR_OUT, HOST_DIR_IN };
enum host_req_state { HOST_REQ_FREE, HOST_REQ_OUT, HOST_REQ_ENDED };

/* What a request wants to send next. */
enum host_tx { HOST_TX_CMD, HOST_TX_DATA };

struct host_r2t {
	uint16_t ttag;
	uint32_t offset, len; /* what of it is still to be sent */
};

struct host_cursor {
	uint32_t index; /* of the segment */
	size_t skip;    /* bytes of it that are done */
};

/* A command. The user fills cmd (but for CID, flags and SGL), dir, the data and done(). */
struct host_req {
	struct nvme_cmd cmd;
	struct host_queue *queue;
	/* Once: a status of NVMe, or HOST_LOST; the request is free again when it returns. */
	void (*done)(struct host_req *req, uint16_t status);
	void *arg;
	const struct iovec *iov; /* data_len bytes; borrowed until done() */
	uint32_t nr_iov;
	uint32_t data_len;
	uint8_t dir;       /* enum host_dir */
	bool is_unbounded; /* may take for ever: an event request */

	/* The queue's. */
	uint8_t state;
	uint8_t tx; /* enum host_tx */
	bool is_in_capsule;
	bool is_sending; /* the kernel reads its data */
	bool is_last_seen;
	bool has_bad_data; /* a digest was wrong */
	bool is_overdue;
	uint16_t status;           /* while its end waits for the kernel */
	uint32_t moved;            /* bytes that have come, or have been given to the kernel */
	uint32_t asked;            /* bytes that R2Ts have asked for */
	struct host_cursor cursor; /* where `moved` is */
	uint8_t r2t_first, nr_r2t;
	struct host_r2t r2t[HOST_MAX_R2T];
	uint64_t start_ns;
	uint32_t dw0, dw1; /* of the completion */
	struct iovec own_iov;
	struct nvme_dsm_range range;
	struct xu_list link; /* free, to be sent, or being sent */
};

struct host_queue_ops {
	/* Connect has succeeded: dw0 of its completion. */
	void (*live)(struct host_queue *queue, uint32_t dw0);
	/* It cannot go on; queue->err tells why, queue->connect_status a refusal. */
	void (*lost)(struct host_queue *queue);
	/* After host_queue_close(), when nothing is left; it may be opened again. */
	void (*gone)(struct host_queue *queue);
	/* A request has been out for timeout_ns; told once. After grace_ns more the queue is lost.
	 * NULL: it is lost at once. */
	void (*overdue)(struct host_queue *queue, struct host_req *req);
};

struct host_queue_opts {
	const struct host_peer *peer;
	uint16_t qid;
	uint16_t cntlid;    /* FFFFh for the admin queue */
	uint32_t entries;   /* of the submission queue: one more than commands out at a time */
	uint32_t icd_bytes; /* data that a capsule may carry, Fabrics commands aside */
	uint32_t kato_ms;
	uint64_t timeout_ns; /* of a command; 0: none */
	uint64_t grace_ns;
};

enum host_queue_state {
	HOST_QUEUE_CLOSED,
	HOST_QUEUE_TCP,
	HOST_QUEUE_IC,
	HOST_QUEUE_CONNECT,
	HOST_QUEUE_LIVE,
	HOST_QUEUE_LOST,
	HOST_QUEUE_CLOSING,
};

enum host_rx_state { HOST_RX_HEADER, HOST_RX_PAD, HOST_RX_PAYLOAD, HOST_RX_DIGEST };

struct host_queue {
	struct xr_reactor *reactor;
	const struct host_queue_ops *ops;
	const char *name; /* for the log; the owner's */
	struct host_queue_opts opts;
	enum host_queue_state state;
	bool is_lost_told, is_close_asked;
	bool is_terminating; /* a termination request is out: input is thrown away until the end */
	int fd;
	struct xu_error err;
	uint16_t connect_status;
	uint32_t connect_dw0;
	struct xr_op connect_op;
	struct xr_timer phase_timer; /* until LIVE, and while terminating */
	struct xr_timer scan_timer;  /* looks for commands that take too long */
	struct xr_msg gone_msg;
	bool is_gone_asked;

	/* As agreed with the target. */
	bool has_hdgst, has_ddgst, is_sqflow_off;
	uint32_t h2c_align;
	uint32_t max_h2c;

	/* Commands. */
	struct host_req *reqs;
	uint32_t nr_reqs;
	uint32_t index_mask; /* of a CID; the bits above it change with each use */
	struct xu_list free_reqs;
	uint32_t nr_out;

	/* Receiving. */
	enum host_rx_state rx_state;
	struct xr_op recv_op;
	struct iovec recv_iov[HOST_MAX_IOV + 1];
	struct msghdr recv_msg;
	uint8_t *rx;
	uint32_t rx_bytes;
	uint32_t rx_start, rx_end;
	uint32_t rx_pad;
	uint32_t rx_left;
	uint32_t rx_direct; /* bytes of rx_left that the pending receive may fill */
	uint32_t rx_crc;
	uint8_t rx_flags; /* of the data PDU */
	struct host_req *rx_req;

	/* Sending. */
	struct xr_op send_op;
	struct msghdr send_msg;
	struct iovec send_iov[HOST_SEND_IOV];
	uint32_t nr_send_iov, stage_used;
	uint64_t send_bytes;
	uint8_t *stage;
	struct xu_list send_queue, sending;
	struct xr_msg flush_msg;
	bool is_flush_asked;
	uint32_t own_len; /* of own_pdu, to be sent before anything else; 0: none */
	bool is_own_sending;
	uint8_t own_pdu[sizeof(struct nvme_tcp_term) + NVME_TCP_TERM_DATA_MAX];

	struct nvme_connect_data connect_data;
};
_Static_assert(sizeof(struct nvme_tcp_icreq) <= sizeof(((struct host_queue *)0)->own_pdu), "ICReq");

/* ---- queue.c ---- */

void host_queue_init(struct host_queue *queue, struct xr_reactor *reactor,
	const struct host_queue_ops *ops, const char *name);
/* Starts to connect a queue that is CLOSED. 0: it will be live or lost; -errno with queue->err. */
int host_queue_open(struct host_queue *queue, const struct host_queue_opts *opts);
/* Ends it, in whatever state but CLOSED it is; may be called again. */
void host_queue_close(struct host_queue *queue);
static inline bool host_queue_is_open(const struct host_queue *queue)
{
	return queue->state != HOST_QUEUE_CLOSED;
}

/* A free request, NULL when as many as the queue takes are out. */
struct host_req *host_req_get(struct host_queue *queue);
/* Sends it. Never calls back before it has returned. */
void host_req_start(struct host_req *req);
/* One data buffer, instead of an iov of the user's. */
void host_req_set_data(struct host_req *req, void *buf, uint32_t len, enum host_dir dir);
/* For one that was not started after all. */
void host_req_put(struct host_req *req);

/* Between the files of the queue: */

/* Ends the queue because of what happened: -errno and a sentence. */
void host_queue_fail(struct host_queue *queue, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same because of the PDU at rx_start, about which the target is told (NVMe/TCP 3.5). */
void host_queue_fatal(
	struct host_queue *queue, enum nvme_tcp_fes fes, uint32_t fei, const char *why);
void host_queue_settle(struct host_queue *queue);
/* ICResp was right. */
void host_queue_initialized(struct host_queue *queue);
struct host_req *host_req_find(struct host_queue *queue, uint16_t cid);
/* The target has ended a command. */
void host_req_complete(struct host_req *req, uint16_t status);
/* Moves a cursor over `len` bytes of the request's segments. */
void host_cursor_advance(struct host_cursor *cursor, const struct iovec *iov, size_t len);

/* ---- rx.c ---- */

void host_rx_init(struct host_queue *queue);
void host_rx_arm(struct host_queue *queue);

/* ---- tx.c ---- */

void host_tx_init(struct host_queue *queue);
void host_tx_queue(struct host_queue *queue, struct host_req *req, enum host_tx tx);
/* Sends own_pdu, own_len bytes. */
void host_tx_own(struct host_queue *queue);
/* An R2T has been added. */
void host_tx_r2t(struct host_req *req);

#endif
