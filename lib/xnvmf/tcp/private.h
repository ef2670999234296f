/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xnvmf/tcp: a connection and its commands. Everything of a connection happens on
 * one reactor at a time (qpair.reactor).
 */
#ifndef XNVMF_TCP_PRIVATE_H
#define XNVMF_TCP_PRIVATE_H

#include "lib/xnvmf/target/private.h"
#include "lib/xnvmf/wire/tcp.h"

#define TCP_RX_BYTES     (32u << 10)
#define TCP_DRAINING_MAX 8u /* aborted commands whose data may still come, of a connection */
#define TCP_SEND_IOV     96u
#define TCP_HEAD_BYTES   128u /* a header with digest and padding (HPDA at most 31) */
#define TCP_TAIL_BYTES   (NVME_TCP_DIGEST_BYTES + 24u + NVME_TCP_DIGEST_BYTES)

struct tcp_conn;
struct tcp_kick;

/* Something to send: up to three pieces, sent as a whole. */
struct tcp_tx {
	struct xu_list link;
	struct iovec iov[3];
	uint32_t nr_iov;
	void (*sent)(struct tcp_conn *conn, struct tcp_tx *tx);
};

enum tcp_req_state {
	TCP_REQ_FREE,
	TCP_REQ_CAPSULE,  /* its capsule's data is coming in */
	TCP_REQ_RUNNING,  /* the target's */
	TCP_REQ_FETCHING, /* an R2T is out */
	TCP_REQ_SENDING,  /* its completion is on its way */
	TCP_REQ_DRAINING, /* it was aborted and has ended, but its TTAG is taken */
};

struct tcp_req {
	struct xnvmf_req req;
	struct tcp_conn *conn;
	enum tcp_req_state state;
	uint16_t ttag;
	bool is_tx_busy; /* its tx is in a queue or with the kernel */
	bool is_r2t_due;
	bool is_response_due;
	bool is_draining;            /* aborted, with data of the host on its way */
	uint64_t fetch_ns;           /* when its first R2T had been sent */
	uint32_t nr_fetched;         /* bytes of the host's data that are here */
	uint32_t r2t_start, r2t_end; /* the current R2T */
	void *icd_buf;
	struct tcp_tx tx;
	struct xu_list link; /* free list */
	uint8_t head[TCP_HEAD_BYTES];
	uint8_t tail[TCP_TAIL_BYTES];
};

/* The commands of a connection: one before Connect, the queue's depth after it. */
struct tcp_slab {
	struct tcp_req *reqs;
	uint32_t count;
	uint32_t icd_bytes; /* of each */
	void *icd_memory;
};

enum tcp_conn_state {
	TCP_CONN_IC,   /* waits for ICReq */
	TCP_CONN_KICK, /* ICReq announced a KDReq: waits for it */
	TCP_CONN_OPEN,
	TCP_CONN_TERMINATING, /* the last PDU is out; input is thrown away */
	TCP_CONN_CLOSED,      /* waits for the kernel and the device to give things back */
	TCP_CONN_GONE,
};

enum tcp_rx_state { TCP_RX_HEADER, TCP_RX_PAYLOAD, TCP_RX_DIGEST };

struct tcp_conn {
	struct xnvmf_qpair qpair;
	int fd;
	enum tcp_conn_state state;
	bool has_hdgst, has_ddgst;
	uint32_t c2h_align;
	void (*paused)(struct xnvmf_qpair *qpair);
	struct xr_timer term_timer;
	struct xr_timer data_timer;

	/* Receiving. */
	enum tcp_rx_state rx_state;
	struct xr_op recv_op;
	struct iovec recv_iov[2];
	struct msghdr recv_msg;
	uint8_t *rx;
	uint32_t rx_start, rx_end;
	struct tcp_req *rx_req; /* whose data comes in */
	uint8_t *rx_to;         /* NULL: it is thrown away */
	uint32_t rx_left;
	uint32_t rx_direct; /* bytes of rx_left that the pending receive may fill directly */
	uint32_t rx_crc;
	bool rx_has_digest;

	/* Sending. */
	struct xr_op send_op;
	struct msghdr send_msg;
	struct iovec send_iov[TCP_SEND_IOV];
	uint64_t send_bytes;
	struct xr_timer send_timer;
	uint64_t nr_sends, nr_sends_seen;
	struct xu_list send_queue;
	struct xu_list sending;
	struct xr_msg flush_msg;
	bool is_flush_asked;
	struct tcp_kick *kick; /* the answer to a KDReq */
	struct tcp_tx own_tx;  /* ICResp, termination request */
	uint8_t own_pdu[sizeof(struct nvme_tcp_term) + NVME_TCP_TERM_DATA_MAX];

	struct tcp_slab slabs[2];
	struct xu_list free_reqs;
	uint32_t nr_draining;
};
_Static_assert(sizeof(struct nvme_tcp_icresp) <= sizeof(((struct tcp_conn *)0)->own_pdu), "ICResp");
_Static_assert(
	sizeof(struct nvme_tcp_kdreq) + NVME_TCP_KDRECORDS_MAX * sizeof(struct nvme_tcp_kdrecord) <=
		TCP_RX_BYTES,
	"a KDReq is parsed in place");

/* conn.c */
struct tcp_conn *tcp_conn_new(struct xnvmf_port *port, int fd);
/* Ends the connection at once, in good order. */
void tcp_conn_close(struct tcp_conn *conn, const char *why);
/* The same for one that is lost: broken, or ended because of what its host does or does not do. */
void tcp_conn_lose(struct tcp_conn *conn, const char *why);
/* Sends a termination request about the PDU at rx_start, then ends the connection. */
void tcp_conn_fatal(struct tcp_conn *conn, enum nvme_tcp_fes fes, uint32_t fei, const char *why);
/* Nothing more is received; when what has been queued is sent, the host has a while to close. */
void tcp_conn_end_after_send(struct tcp_conn *conn);
/* After anything that may have been the last: goes on to pausing or to being gone. */
void tcp_conn_settle(struct tcp_conn *conn);

/* kick.c */
/* Whether a connection that begins so is one. */
bool tcp_is_kick(const struct tcp_conn *conn, const struct nvme_tcp_icreq *req);
/* How long the PDU has to be by the number of its records. */
uint32_t tcp_kick_bytes(const struct nvme_tcp_kdreq *req);
/* All of it is here, and its length is right. */
void tcp_kick(struct tcp_conn *conn, const struct nvme_tcp_kdreq *req);
void tcp_kick_free(struct tcp_conn *conn);

/* req.c */
/* Makes `count` commands, with room for capsule data each. -ENOMEM. */
int tcp_slab_init(struct tcp_conn *conn, uint32_t index, uint32_t count, uint32_t icd_bytes);
void tcp_slab_fini(struct tcp_slab *slab);
struct tcp_req *tcp_req_get(struct tcp_conn *conn);
void tcp_req_put(struct tcp_req *treq);
struct tcp_req *tcp_req_find(struct tcp_conn *conn, uint16_t ttag);
/* Puts back what waits for a buffer; all that waits for the host; the transport's fetch and drop.
 */
void tcp_reqs_drop_waiting(struct tcp_conn *conn);
void tcp_reqs_drop(struct tcp_conn *conn);
void tcp_fetch(struct xnvmf_req *req);
void tcp_drop(struct xnvmf_req *req);
/* The transport's abort. */
bool tcp_abort(struct xnvmf_qpair *qpair, uint16_t cid);
/* All data of an aborted command has come that an R2T has asked for. */
void tcp_req_drained(struct tcp_req *treq);

/* rx.c */
void tcp_rx_start(struct tcp_conn *conn);
void tcp_rx_resume(struct tcp_conn *conn);

/* tx.c */
void tcp_tx_queue(struct tcp_conn *conn, struct tcp_tx *tx);
void tcp_tx_init(struct tcp_conn *conn);
/* Gives back what was queued and will not be sent. */
void tcp_tx_drop(struct tcp_conn *conn);
void tcp_send_r2t(struct tcp_req *treq);
void tcp_respond(struct xnvmf_req *req);

#endif
