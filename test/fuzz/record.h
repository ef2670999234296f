/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The input of fuzz_nvmetcp: RECORD_HEADER_BYTES of choices for the whole run, then records. A
 * record is one byte (kind in bits 3:0, connection in 5:4, how long to run afterwards in 7:6), the
 * fixed part of its kind, and for some kinds a count byte and as many bytes. The mutator reads the
 * same table, so it can change a record without breaking those behind it.
 */
#ifndef TEST_FUZZ_RECORD_H
#define TEST_FUZZ_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_HEADER_BYTES 4u
#define RECORD_NR_CONNS     4u

/* Header byte 0: what stands when the records begin. */
#define RECORD_PREAMBLE(header) ((header)[0] & 0x3u)
enum { PREAMBLE_NONE, PREAMBLE_ICREQ, PREAMBLE_QUEUES, PREAMBLE_DISCOVERY };
#define RECORD_DIGESTS(header)   ((header)[0] >> 2 & 0x3u) /* as in ICReq.DGST */
#define RECORD_NO_SQFLOW(header) (((header)[0] & 0x10u) != 0)
#define RECORD_REACTORS(header)  (((header)[0] & 0x20u) != 0 ? 2u : 1u)
#define RECORD_HPDA(header)      ((header)[0] >> 6 & 0x3u)
/* Byte 1: the world. */
#define RECORD_CUT(header)          ((header)[1] & 0x3u) /* enum net_cut */
#define RECORD_SLOW_SENDS(header)   (((header)[1] & 0x04u) != 0)
#define RECORD_SLOW_CANCELS(header) (((header)[1] & 0x08u) != 0)
#define RECORD_FEW_BUFFERS(header)  (((header)[1] & 0x10u) != 0)
#define RECORD_NO_ICD(header)       (((header)[1] & 0x20u) != 0)
#define RECORD_STOP_FIRST(header)   (((header)[1] & 0x40u) != 0) /* before the hosts close */
#define RECORD_RESET(header)        (((header)[1] & 0x80u) != 0) /* how the hosts close */
/* Bytes 2 and 3: the seed. */

enum record_kind {
	RECORD_RAW,     /* bytes as they are */
	RECORD_PDU,     /* type, flags, u16 data length, flaw, delta; the header's body */
	RECORD_ICREQ,   /* hpda, dgst, pfv, flaw, delta */
	RECORD_CONNECT, /* CONNECT_…, qid, sqsize, cattr, u16 kato in 100 ms, flaw, delta */
	RECORD_COMMAND, /* opc, cid, nsid, COMMAND_…, u32 cdw10 … cdw12, u16 cdw13, cdw14, u32 len,
			   flaw, delta; the first data */
	RECORD_SQE,     /* u16 data length, flaw, delta; the entry, then data */
	RECORD_ANSWER,   /* how much of the oldest R2T, flaw, delta */
	RECORD_H2C_DATA, /* cid, u16 ttag, u32 datao, u16 datal, flags, flaw, delta */
	RECORD_OPEN,     /* a new connection, when there is none */
	RECORD_END,      /* by reset when odd */
	RECORD_BLOCK,    /* sends of the target do not get on when odd */
	RECORD_TIME,     /* which of the times */
	RECORD_MANAGE,   /* what, argument */
	NR_RECORD_KINDS
};

/* RECORD_CONNECT, the first byte. */
#define CONNECT_SUBSYSTEM(what) ((what)&0x3u)
#define CONNECT_CNTLID(what)    ((what) >> 2 & 0x3u)
#define CONNECT_BY_R2T          0x10u
#define CONNECT_OTHER_HOSTID    0x20u
#define CONNECT_OTHER_HOST      0x40u
#define CONNECT_OTHER_RECFMT    0x80u

/* RECORD_COMMAND, the fourth. */
#define COMMAND_IN_CAPSULE 0x01u
#define COMMAND_OWN_LEN    0x02u /* `len`, not what the command needs */
#define COMMAND_OWN_SGL    0x04u /* delta is the descriptor's type */
#define COMMAND_FLAGS(how) (((how) >> 4 & 0x3u) | (((how)&0xc0u) ^ 0x40u)) /* FUSE, PSDT */

enum manage_action {
	MANAGE_NS_ADD,
	MANAGE_NS_REMOVE,
	MANAGE_NS_RESIZE,
	MANAGE_HOST_ALLOW,
	MANAGE_HOST_REFUSE,
	MANAGE_LISTENER_ADD,
	MANAGE_LISTENER_REMOVE,
	MANAGE_SUBSYSTEM_REMOVE,
	MANAGE_SUBSYSTEM_ADD,
	MANAGE_DEVICE_REMOVE,
	MANAGE_ERROR_FAIL,
	MANAGE_ERROR_HANG,
	MANAGE_ERROR_CLEAR,
	MANAGE_REPORT,
	MANAGE_STOP,
	NR_MANAGE_ACTIONS
};

struct record_format {
	uint8_t fixed_bytes;
	bool has_bytes;
};

extern const struct record_format record_formats[NR_RECORD_KINDS];

#define RECORD_KIND(op)   ((enum record_kind)(((op)&0xfu) % NR_RECORD_KINDS))
#define RECORD_CONN(op)   ((op) >> 4 & 0x3u)
#define RECORD_ROUNDS(op) ((op) >> 6 & 0x3u)

/* The length of the record at `at`, at most `left`. */
size_t record_bytes(const uint8_t *at, size_t left);

#endif
