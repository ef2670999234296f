/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small NVMe/TCP host for tests: one call does one thing, to its end. In the simulator it runs
 * the world meanwhile; with `sim` NULL it blocks on a real socket, and may be used by any thread.
 * Every failure to get what the protocol promises is -errno, or the command's status.
 *
 * A second set of calls does one step each (a capsule, a PDU's header, a piece of data), for tests
 * that leave a step out, or do it late.
 */
#ifndef TEST_WIRE_HOST_H
#define TEST_WIRE_HOST_H

#include "lib/xnvmf/wire/tcp.h"
#include "test/sim/sim.h"

struct wire_conn {
	struct sim *sim; /* NULL: a real socket */
	const struct xr_platform *platform;
	struct xr_reactor *reactor; /* of the simulated host; borrowed */
	int fd;
	uint16_t next_cid;
	uint64_t wait_ns; /* in the simulator, how long a step may take; 0: a minute */
};

/* What a command came back with. */
struct wire_result {
	int error; /* -errno of the connection; 0: there is a completion */
	uint16_t status;
	uint32_t dw0;
};

/* Connects and exchanges ICReq and ICResp. 0 or -errno. */
int wire_open(struct wire_conn *conn, struct sim *sim, struct sim_host *host,
	struct xr_reactor *reactor, const char *address, uint16_t port);
/* The same in two steps: without ICReq; and ICReq with these flags, and ICResp. */
int wire_open_bare(struct wire_conn *conn, struct sim *sim, struct sim_host *host,
	struct xr_reactor *reactor, const char *address, uint16_t port);
int wire_begin(struct wire_conn *conn, uint8_t flags);
void wire_close(struct wire_conn *conn);

/* Connect of a queue; for qid 0 cntlid is FFFFh, and dw0 of the result tells it. */
struct wire_result wire_connect(
	struct wire_conn *conn, const char *nqn, uint16_t qid, uint16_t cntlid);
/* Sets CC.EN. */
struct wire_result wire_enable(struct wire_conn *conn);

/* I/O on namespace 1; writes of up to 8 KiB go in the capsule. */
struct wire_result wire_write(
	struct wire_conn *conn, uint64_t slba, const void *buf, uint32_t len, bool fua);
struct wire_result wire_read(struct wire_conn *conn, uint64_t slba, void *buf, uint32_t len);
struct wire_result wire_flush(struct wire_conn *conn);

/* ---- any command ---- */

/* Who connects, and how. Zero is the default of each. */
struct wire_connect_opts {
	const char *nqn; /* of the subsystem; no default */
	uint16_t qid;
	uint16_t cntlid;         /* of an I/O queue */
	uint32_t kato_ms;        /* of an admin queue; 30000 */
	bool has_queue_deletion; /* of an admin queue: CATTR bit 3 */
	bool is_discovery;       /* of an admin queue: CATTR bit 4 */
	uint16_t host; /* each number is another host: its NQN and its identifier differ */
};

/* A Connect and its data, to be sent with them in the capsule. */
struct nvme_cmd wire_connect_cmd(
	const struct wire_connect_opts *opts, struct nvme_connect_data *ret_data);
struct wire_result wire_connect_as(struct wire_conn *conn, const struct wire_connect_opts *opts);

/* A command of `len` bytes on a namespace. */
struct nvme_cmd wire_io_cmd(uint8_t opc, uint32_t nsid, uint64_t slba, uint32_t len);

/* Sends the command, with data of up to 8 KiB in the capsule, and does as it is told until it is
 * complete. Exactly one of `out_len` and `in_len` may be more than 0. */
struct wire_result wire_command(struct wire_conn *conn, struct nvme_cmd *cmd, const void *out,
	uint32_t out_len, void *in, uint32_t in_len);

/* ---- one step at a time: 0 or -errno, -ETIMEDOUT after wait_ns ---- */

/* The header of a PDU; its data, if any, is still to be received. */
union wire_pdu {
	struct nvme_tcp_hdr hdr;
	struct nvme_tcp_rsp rsp;
	struct nvme_tcp_r2t r2t;
	struct nvme_tcp_data data;
};

/* Sends the capsule of a command with `len` bytes of data, which are in the capsule or, with `icd`
 * NULL, are asked for or sent by the target. Sets cmd->cid, ->flags and ->sgl. */
int wire_send_cmd(struct wire_conn *conn, struct nvme_cmd *cmd, const void *icd, uint32_t len);
/* Any bytes. */
int wire_send_raw(struct wire_conn *conn, const void *buf, size_t len);
int wire_recv_pdu(struct wire_conn *conn, union wire_pdu *ret_pdu);
int wire_recv_data(struct wire_conn *conn, void *buf, uint32_t len);
/* Sends the data that an R2T asks for out of `out`, the command's whole buffer; `len` bytes of it,
 * at most r2t->r2tl, with the header of all. */
int wire_send_data(
	struct wire_conn *conn, const struct nvme_tcp_r2t *r2t, const void *out, uint32_t len);
/* Does as the target tells until command `cid`, the only one that is out, is complete. */
struct wire_result wire_finish(
	struct wire_conn *conn, uint16_t cid, const void *out, void *in, uint32_t in_len);

#endif
