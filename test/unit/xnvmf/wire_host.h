/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small NVMe/TCP host for tests: one call does one thing, to its end. In the simulator it runs
 * the world meanwhile; with `sim` NULL it blocks on a real socket, and may be used by any thread.
 * Every failure to get what the protocol promises is -errno, or the command's status.
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

#endif
