/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted NVMe/TCP target in the simulator: a small right one, which judges every PDU of the
 * host, and a hook through which each PDU that it sends can be made wrong, held back, or sent
 * twice.
 */
#ifndef TEST_BAD_TARGET_H
#define TEST_BAD_TARGET_H

#include "lib/reactor/reactor.h"
#include "lib/xnvmf/wire/tcp.h"
#include "test/sim/sim.h"

#define BAD_MAX_CONNS  64u
#define BAD_MAX_CMDS   160u
#define BAD_BYTES      (1u << 20) /* of its namespace, in blocks of 512 */
#define BAD_RX_BYTES   (64u << 10)
#define BAD_MAX_WRITES 256u
#define BAD_HEAD_MAX   128u

struct bad_target;
struct bad_conn;

/* Something that it sends, before digests are made. */
struct bad_pdu {
	struct bad_conn *conn;
	union {
		uint8_t head[BAD_HEAD_MAX];
		struct nvme_tcp_hdr hdr;
		struct nvme_tcp_icresp icresp;
		struct nvme_tcp_rsp rsp;
		struct nvme_tcp_data data;
		struct nvme_tcp_r2t r2t;
	};
	uint32_t head_len;
	uint8_t *payload; /* of data; NULL: none */
	uint32_t payload_len;
	uint8_t opc; /* of the command that it belongs to */
	/* What the hook may ask for. */
	bool is_dropped;
	uint32_t nr_times;
	uint32_t spoil_hdgst, spoil_ddgst; /* is xored to the digest */
	uint32_t noise_at; /* which byte of all that is sent (modulo its length) is changed */
	uint8_t noise;     /* and how; 0: not */
	bool is_cut;       /* the connection is closed in the middle of it */
};

struct bad_write {
	uint64_t time_ns;
	uint64_t slba;
	uint32_t nlb;
	uint32_t word; /* the first of its data; 0 while that has not come */
	uint16_t nr_conn;
};

struct bad_cmd {
	bool is_used;
	struct nvme_cmd sqe;
	uint8_t *data;
	uint32_t len, got, asked;
	struct bad_write *write;
};

struct bad_chunk {
	struct bad_chunk *next;
	uint32_t len, done;
	uint8_t data[];
};

struct bad_conn {
	struct bad_target *target;
	uint32_t number; /* of all that there were, from 0 */
	int fd;
	bool is_open, is_initialized, has_hdgst, has_ddgst, is_sqflow_off, is_silent, is_ending,
		is_terminated;
	uint16_t qid;
	struct xr_op recv_op, send_op;
	struct iovec recv_iov, send_iov;
	struct xr_timer dribble_timer;
	uint8_t *rx;
	uint32_t rx_len;
	struct bad_chunk *first, **end;
	struct bad_cmd cmds[BAD_MAX_CMDS]; /* by TTAG */
	uint16_t aer_cid;
	bool has_aer;
};

struct bad_opts {
	uint8_t cpda;
	uint32_t maxh2cdata; /* 0: 8192 */
	uint32_t icd_bytes;
	uint32_t r2t_bytes; /* 0: all of it */
	uint32_t nr_r2ts;   /* out at a time; 0: 1 */
	uint8_t vwc;
	uint8_t mdts;
	uint16_t crdt1;
	bool holds_data_back; /* no SUCCESS flag, a completion behind the data */
	bool dribbles;        /* one byte every ten milliseconds */
	bool is_lenient;      /* a host that seems wrong is cut off, and not a failure */
	/* Called for each PDU; may change it. NULL: none. */
	void (*hook)(struct bad_target *target, struct bad_pdu *pdu);
	/* Called for each command; true: it has dealt with it. NULL: none. */
	bool (*on_command)(struct bad_conn *conn, struct bad_cmd *cmd);
	void *arg;
};

struct bad_target {
	struct sim *sim;
	struct sim_host *host;
	struct xr_reactor *reactor;
	const struct xr_platform *platform;
	struct bad_opts opts;
	int fd;
	struct xr_op accept_op;
	struct bad_conn *conns[BAD_MAX_CONNS];
	uint32_t nr_conns;
	uint8_t *disk;
	uint64_t nr_blocks;
	struct bad_write writes[BAD_MAX_WRITES];
	uint32_t nr_writes;
	uint32_t nr_reads, nr_flushes, nr_aborts;
	uint32_t nr_sent; /* for hooks: how often they have done their work */
	/* The last termination request of the host. */
	uint32_t nr_terms;
	uint16_t fes;
	uint32_t fei;
};

void bad_start(struct bad_target *t, struct sim *sim, const struct bad_opts *opts);
void bad_stop(struct bad_target *t);
/* Ends all connections; new ones are taken. */
void bad_cut(struct bad_target *t);
/* For on_command: ends a command with a status, or reads' data and success. */
void bad_complete(struct bad_conn *conn, struct bad_cmd *cmd, uint16_t status, uint32_t dw0);
void bad_send_data(struct bad_conn *conn, struct bad_cmd *cmd);
/* The next R2T of a write. */
void bad_send_r2t(struct bad_conn *conn, struct bad_cmd *cmd);
/* Completes the event request that is out. */
void bad_event(struct bad_target *t, uint32_t dw0);

#endif
