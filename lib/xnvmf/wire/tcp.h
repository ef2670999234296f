/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe/TCP protocol data units (NVMe/TCP Transport 1.0, section 3.6). */
#ifndef XNVMF_WIRE_TCP_H
#define XNVMF_WIRE_TCP_H

#include "lib/xnvmf/wire/nvme.h"

enum nvme_tcp_pdu_type {
	NVME_TCP_ICREQ = 0x00,
	NVME_TCP_ICRESP = 0x01,
	NVME_TCP_H2C_TERM = 0x02,
	NVME_TCP_C2H_TERM = 0x03,
	NVME_TCP_CMD = 0x04,
	NVME_TCP_RSP = 0x05,
	NVME_TCP_H2C_DATA = 0x06,
	NVME_TCP_C2H_DATA = 0x07,
	NVME_TCP_R2T = 0x09,
	NVME_TCP_KDREQ = 0x0a,
	NVME_TCP_KDRESP = 0x0b,
};

#define NVME_TCP_F_HDGST   0x01u
#define NVME_TCP_F_DDGST   0x02u
#define NVME_TCP_F_LAST    0x04u
#define NVME_TCP_F_SUCCESS 0x08u
#define NVME_TCP_F_KDCONN  0x80u /* of ICReq: a kick-start follows, no Connect */

#define NVME_TCP_DIGEST_BYTES  4u
#define NVME_TCP_TERM_DATA_MAX 128u
#define NVME_TCP_ADMIN_ICD     8192u /* in-capsule bytes of admin and Fabrics commands */
#define NVME_TCP_MAX_HPDA      31u

struct nvme_tcp_hdr {
	uint8_t type;
	uint8_t flags;
	uint8_t hlen;
	uint8_t pdo;
	uint32_t plen;
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_hdr) == 8, "PDU common header");

struct nvme_tcp_icreq {
	struct nvme_tcp_hdr hdr;
	uint16_t pfv;
	uint8_t hpda;
	uint8_t dgst;
	uint32_t maxr2t;
	uint8_t rsvd16[112];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_icreq) == 128, "ICReq");

struct nvme_tcp_icresp {
	struct nvme_tcp_hdr hdr;
	uint16_t pfv;
	uint8_t cpda;
	uint8_t dgst;
	uint32_t maxh2cdata;
	uint8_t rsvd16[112];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_icresp) == 128, "ICResp");

#define NVME_TCP_DGST_HEADER 0x01u
#define NVME_TCP_DGST_DATA   0x02u

struct nvme_tcp_term {
	struct nvme_tcp_hdr hdr;
	uint16_t fes;
	uint32_t fei;
	uint8_t rsvd14[10];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_term) == 24, "TermReq");

enum nvme_tcp_fes {
	NVME_TCP_FES_HEADER_FIELD = 1,
	NVME_TCP_FES_SEQUENCE = 2,
	NVME_TCP_FES_HDGST = 3,
	NVME_TCP_FES_OUT_OF_RANGE = 4,
	NVME_TCP_FES_LIMIT = 5,
	NVME_TCP_FES_UNSUPPORTED = 6,
};

struct nvme_tcp_cmd {
	struct nvme_tcp_hdr hdr;
	struct nvme_cmd sqe;
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_cmd) == 72, "CapsuleCmd");

struct nvme_tcp_rsp {
	struct nvme_tcp_hdr hdr;
	struct nvme_cpl cqe;
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_rsp) == 24, "CapsuleResp");

/* H2CData, C2HData (without TTAG). */
struct nvme_tcp_data {
	struct nvme_tcp_hdr hdr;
	uint16_t cccid;
	uint16_t ttag;
	uint32_t datao;
	uint32_t datal;
	uint8_t rsvd20[4];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_data) == 24, "H2CData");

struct nvme_tcp_r2t {
	struct nvme_tcp_hdr hdr;
	uint16_t cccid;
	uint16_t ttag;
	uint32_t r2to;
	uint32_t r2tl;
	uint8_t rsvd20[4];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_r2t) == 24, "R2T");

/* Kick-start: a discovery controller asks the central one to come and read its log. */
struct nvme_tcp_kdreq {
	struct nvme_tcp_hdr hdr;
	uint16_t numkr;
	uint16_t numdie;
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_kdreq) == 12, "KDReq");

struct nvme_tcp_kdrecord {
	uint8_t trtype;
	uint8_t adrfam;
	char trsvcid[32];
	char traddr[256];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_kdrecord) == 290, "kick-start record");

struct nvme_tcp_kdresp {
	struct nvme_tcp_hdr hdr;
	uint8_t ksstat; /* 0: it will come */
	uint8_t failrsn;
	char cdcnqn[NVME_NQN_FIELD];
	uint8_t rsvd266[8];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_tcp_kdresp) == 274, "KDResp");

#define NVME_TCP_KDRESP_HLEN   10u
#define NVME_TCP_KDRECORDS_MAX 64u /* that are taken at a time */

#endif
