/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end of an NVMe/TCP connection, for the fuzzer: sends PDUs that are right but for the
 * flaw that is asked for, and judges everything that the target sends. A PDU that the specification
 * does not allow, a completion without a command, memory that was never filled: each is a finding.
 */
#ifndef TEST_FUZZ_INITIATOR_H
#define TEST_FUZZ_INITIATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/xnvmf/wire/tcp.h"

struct net;
struct net_sock;

#define INITIATOR_MAX_R2TS 64u
#define INITIATOR_MAX_DATA (64u << 10) /* of one PDU */
#define INITIATOR_MAX_AERS 4u          /* event requests that the target keeps */

/* What buffers of the target hold before their first use: none of it may ever be seen here. */
#define INITIATOR_MARKER 0x9d3fb1c7e2a64c55ull

/* How a PDU is wrong. Digests are of the flawed header, unless they are the flaw. */
enum flaw_kind {
	FLAW_NONE,
	FLAW_FLAGS,         /* flags ^= delta */
	FLAW_HLEN,          /* hlen += delta */
	FLAW_PDO,           /* pdo += delta */
	FLAW_PLEN,          /* plen += delta, or delta << 24 when odd */
	FLAW_HEADER_DIGEST, /* ^= delta | 1 */
	FLAW_DATA_DIGEST,   /* the same */
	FLAW_CUT,           /* only the first delta bytes are sent */
	NR_FLAWS
};

struct flaw {
	enum flaw_kind kind;
	uint8_t delta;
};

struct initiator_r2t {
	uint16_t cccid, ttag;
	uint32_t offset, len, done;
};

struct initiator {
	struct net_sock *sock; /* NULL: not connected */
	uint8_t index;         /* in the high byte of its command identifiers */

	/* What was sent. */
	bool is_wrong;         /* the target may end the connection, or think anything */
	bool has_icreq;        /* a right one */
	uint8_t dgst, hpda;    /* that it asked for */
	uint8_t connect_cid;   /* low byte, of the last Connect */
	bool may_be_admin;     /* there was a Connect for an admin queue */
	bool may_be_no_sqflow; /* there was one without flow control */
	uint16_t nr_commands[256];
	bool may_reset;   /* the controller, by CC.EN */
	uint32_t nr_aers; /* event requests */

	/* What came back. */
	bool has_icresp;
	bool is_terminated;
	uint32_t max_h2c_data;
	uint16_t nr_completions[256];
	struct initiator_r2t r2ts[INITIATOR_MAX_R2TS]; /* open ones, oldest first */
	uint32_t nr_r2ts;
	uint16_t cntlid; /* of the last Connect that succeeded; 0: none */
	uint64_t nr_bytes;
	uint8_t *rx; /* a part of a PDU */
	size_t rx_len, rx_room;
};

/* Connects; false when nobody listens. */
bool initiator_open(struct initiator *in, struct net *net, uint16_t port, uint8_t index);
/* Ends this side and starts anew. */
void initiator_close(struct initiator *in, bool is_reset);

/* Bytes as they are. */
void initiator_send_raw(struct initiator *in, const void *data, size_t len);
/* A PDU of any type; `body` is the header behind its common part. */
void initiator_send_pdu(struct initiator *in, uint8_t type, uint8_t flags, const void *body,
	size_t body_len, const void *data, size_t data_len, struct flaw flaw);
void initiator_send_icreq(
	struct initiator *in, uint16_t pfv, uint8_t hpda, uint8_t dgst, struct flaw flaw);
/* A command capsule; the identifier's high byte is replaced. `data_len` bytes come with it. */
void initiator_send_cmd(struct initiator *in, const struct nvme_cmd *cmd, const void *data,
	size_t data_len, struct flaw flaw);
void initiator_send_h2c(struct initiator *in, const struct nvme_tcp_data *fields, const void *data,
	struct flaw flaw);

/* Answers the oldest R2T with at most `max` bytes; false when there is none. */
bool initiator_answer(struct initiator *in, uint32_t max, struct flaw flaw);

/* Commands that have not been completed, but for event requests that the target may keep. */
uint32_t initiator_nr_lost(const struct initiator *in);
/* It is connected, and the target has no reason to complain. */
bool initiator_is_fine(const struct initiator *in);

#endif
