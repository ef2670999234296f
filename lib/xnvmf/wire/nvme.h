/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe structures as they are on the wire (NVM Express Base 2.1, NVM Command Set 1.1, little
 * endian). Names follow the specifications.
 */
#ifndef XNVMF_WIRE_NVME_H
#define XNVMF_WIRE_NVME_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire format is used in place");

/* ---- commands (Base 3.3.3) ---- */

struct nvme_sgl {
	uint64_t addr;
	uint32_t len;
	uint8_t rsvd[3];
	uint8_t type; /* 7:4 type, 3:0 subtype */
} __attribute__((packed));

#define NVME_SGL_DATA_OFFSET    0x01u /* data block, offset: in the capsule */
#define NVME_SGL_TRANSPORT_DATA 0x5au /* transport data block, transport specific */

struct nvme_cmd {
	uint8_t opc;
	uint8_t flags; /* FUSE 1:0, PSDT 7:6 */
	uint16_t cid;
	uint32_t nsid; /* Fabrics: fctype in the first byte */
	uint32_t cdw2;
	uint32_t cdw3;
	uint64_t mptr;
	struct nvme_sgl sgl;
	uint32_t cdw10;
	uint32_t cdw11;
	uint32_t cdw12;
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_cmd) == 64, "SQE");
_Static_assert(offsetof(struct nvme_cmd, sgl) == 24, "SQE.SGL1");

struct nvme_cpl {
	uint32_t dw0;
	uint32_t dw1;
	uint16_t sqhd;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status; /* phase 0, SC 8:1, SCT 11:9, CRD 13:12, M 14, DNR 15 */
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_cpl) == 16, "CQE");

#define NVME_PSDT_MASK 0xc0u
#define NVME_PSDT_SGL  0x40u

#define NVME_CMD_FUSE(cmd)   ((cmd)->flags & 0x03u)
#define NVME_CMD_FCTYPE(cmd) ((uint8_t)((cmd)->nsid & 0xffu))

enum nvme_admin_opcode {
	NVME_ADMIN_GET_LOG_PAGE = 0x02,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
	NVME_ADMIN_GET_FEATURES = 0x0a,
	NVME_ADMIN_ASYNC_EVENT = 0x0c,
	NVME_ADMIN_KEEP_ALIVE = 0x18,
	NVME_ADMIN_DISCOVERY_INFO = 0x21, /* Discovery Information Management, "DIM" */
	NVME_FABRICS = 0x7f,
};

enum nvme_io_opcode {
	NVME_IO_FLUSH = 0x00,
	NVME_IO_WRITE = 0x01,
	NVME_IO_READ = 0x02,
	NVME_IO_COMPARE = 0x05,
	NVME_IO_WRITE_ZEROES = 0x08,
	NVME_IO_DSM = 0x09,
	NVME_IO_VERIFY = 0x0c,
};

#define NVME_RW_FUA     (1u << 30)
#define NVME_WZ_DEAC    (1u << 25)
#define NVME_DSM_AD     (1u << 2)
#define NVME_NSID_ALL   0xffffffffu
#define NVME_DSM_RANGES 256u

struct nvme_dsm_range {
	uint32_t attributes;
	uint32_t nlb; /* a count, not 0-based */
	uint64_t slba;
} __attribute__((packed));

/* ---- status (Base 4.2.3) ---- */

#define NVME_STATUS(sct, sc) ((uint16_t)(((sct) << 9) | ((sc) << 1)))
#define NVME_DNR             0x8000u
#define NVME_STATUS_SCT(s)   (((s) >> 9) & 0x7u)
#define NVME_STATUS_SC(s)    (((s) >> 1) & 0xffu)
#define NVME_STATUS_CRD(s)   (((s) >> 12) & 0x3u) /* which of CRDT1 … 3, 0: none */

#define NVME_SC_SUCCESS              NVME_STATUS(0u, 0x00u)
#define NVME_SC_INVALID_OPCODE       (NVME_STATUS(0u, 0x01u) | NVME_DNR)
#define NVME_SC_INVALID_FIELD        (NVME_STATUS(0u, 0x02u) | NVME_DNR)
#define NVME_SC_INTERNAL             NVME_STATUS(0u, 0x06u)
#define NVME_SC_ABORTED              NVME_STATUS(0u, 0x07u)
#define NVME_SC_INVALID_NS           (NVME_STATUS(0u, 0x0bu) | NVME_DNR)
#define NVME_SC_SEQUENCE             (NVME_STATUS(0u, 0x0cu) | NVME_DNR)
#define NVME_SC_SGL_LENGTH           (NVME_STATUS(0u, 0x0fu) | NVME_DNR)
#define NVME_SC_SGL_TYPE             (NVME_STATUS(0u, 0x11u) | NVME_DNR)
#define NVME_SC_SGL_OFFSET           (NVME_STATUS(0u, 0x16u) | NVME_DNR)
#define NVME_SC_KATO_INVALID         (NVME_STATUS(0u, 0x1au) | NVME_DNR)
#define NVME_SC_WRITE_PROTECTED      (NVME_STATUS(0u, 0x20u) | NVME_DNR)
#define NVME_SC_TRANSPORT_TRANSIENT  NVME_STATUS(0u, 0x22u)
#define NVME_SC_LBA_RANGE            (NVME_STATUS(0u, 0x80u) | NVME_DNR)
#define NVME_SC_CAPACITY             (NVME_STATUS(0u, 0x81u) | NVME_DNR)
#define NVME_SC_NS_NOT_READY         NVME_STATUS(0u, 0x82u)
#define NVME_SC_ABORT_LIMIT          NVME_STATUS(1u, 0x03u)
#define NVME_SC_AER_LIMIT            (NVME_STATUS(1u, 0x05u) | NVME_DNR)
#define NVME_SC_INVALID_LOG_PAGE     (NVME_STATUS(1u, 0x09u) | NVME_DNR)
#define NVME_SC_FEATURE_NOT_SAVEABLE (NVME_STATUS(1u, 0x0du) | NVME_DNR)
#define NVME_SC_FEATURE_NOT_NS       (NVME_STATUS(1u, 0x0fu) | NVME_DNR)
#define NVME_SC_DISCOVERY_INFO       (NVME_STATUS(1u, 0x2fu) | NVME_DNR)
#define NVME_SC_DISCOVERY_FULL       (NVME_STATUS(1u, 0x32u) | NVME_DNR)
#define NVME_SC_CONNECT_FORMAT       (NVME_STATUS(1u, 0x80u) | NVME_DNR)
#define NVME_SC_CONNECT_BUSY         NVME_STATUS(1u, 0x81u)
#define NVME_SC_CONNECT_PARAM        (NVME_STATUS(1u, 0x82u) | NVME_DNR)
#define NVME_SC_CONNECT_HOST         (NVME_STATUS(1u, 0x84u) | NVME_DNR)
#define NVME_SC_QUEUE_TYPE           (NVME_STATUS(1u, 0x85u) | NVME_DNR)
#define NVME_SC_WRITE_FAULT          NVME_STATUS(2u, 0x80u)
#define NVME_SC_READ_ERROR           NVME_STATUS(2u, 0x81u)
#define NVME_SC_COMPARE_FAILURE      (NVME_STATUS(2u, 0x85u) | NVME_DNR)

/* ---- Fabrics (Base 6) ---- */

enum nvme_fctype {
	NVME_FCTYPE_PROPERTY_SET = 0x00,
	NVME_FCTYPE_CONNECT = 0x01,
	NVME_FCTYPE_PROPERTY_GET = 0x04,
	NVME_FCTYPE_DISCONNECT = 0x08,
};

#define NVME_NQN_FIELD 256u

struct nvme_connect_cmd {
	uint8_t opc;
	uint8_t flags;
	uint16_t cid;
	uint8_t fctype;
	uint8_t rsvd5[19];
	struct nvme_sgl sgl;
	uint16_t recfmt;
	uint16_t qid;
	uint16_t sqsize; /* 0-based */
	uint8_t cattr;
	uint8_t rsvd47;
	uint32_t kato;
	uint8_t rsvd52[12];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_connect_cmd) == 64, "Connect");
_Static_assert(offsetof(struct nvme_connect_cmd, recfmt) == 40, "Connect.RECFMT");

#define NVME_CATTR_DISABLE_SQFLOW 0x04u
#define NVME_CATTR_QUEUE_DELETION 0x08u
#define NVME_CATTR_DISCOVERY      0x10u /* the host is a discovery controller itself */

struct nvme_connect_data {
	uint8_t hostid[16];
	uint16_t cntlid;
	uint8_t rsvd18[238];
	char subnqn[NVME_NQN_FIELD];
	char hostnqn[NVME_NQN_FIELD];
	uint8_t rsvd768[256];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_connect_data) == 1024, "Connect data");

/* Connect failure: where the wrong parameter is (Base 6.3). */
#define NVME_IPO_CMD(field)  ((uint32_t)offsetof(struct nvme_connect_cmd, field))
#define NVME_IPO_DATA(field) ((uint32_t)offsetof(struct nvme_connect_data, field) | 0x10000u)

enum nvme_property {
	NVME_PROP_CAP = 0x00,
	NVME_PROP_VS = 0x08,
	NVME_PROP_CC = 0x14,
	NVME_PROP_CSTS = 0x1c,
};

#define NVME_CAP_MQES(cap)   ((uint32_t)((cap)&0xffffu))       /* 0-based */
#define NVME_CAP_TO(cap)     ((uint32_t)((cap) >> 24 & 0xffu)) /* of 500 ms */
#define NVME_CAP_CSS(cap)    ((uint32_t)((cap) >> 37 & 0xffu))
#define NVME_CAP_MPSMIN(cap) ((uint32_t)((cap) >> 48 & 0xfu))
#define NVME_CAP_CSS_NVM     0x01u
#define NVME_CAP_CSS_IOCS    0x40u

#define NVME_CC_EN                0x00000001u
#define NVME_CC_CSS_IOCS          0x00000060u
#define NVME_CC_SHN_NORMAL        0x00004000u
#define NVME_CC_ENTRY_SIZES       0x00460000u /* 64 and 16 bytes */
#define NVME_CC_CSS(cc)           (((cc) >> 4) & 0x7u)
#define NVME_CC_MPS(cc)           (((cc) >> 7) & 0xfu)
#define NVME_CC_AMS(cc)           (((cc) >> 11) & 0x7u)
#define NVME_CC_SHN(cc)           (((cc) >> 14) & 0x3u)
#define NVME_CC_IOSQES(cc)        (((cc) >> 16) & 0xfu)
#define NVME_CC_IOCQES(cc)        (((cc) >> 20) & 0xfu)
#define NVME_CSTS_RDY             0x1u
#define NVME_CSTS_CFS             0x2u
#define NVME_CSTS_SHST_MASK       0xcu
#define NVME_CSTS_SHST_PROCESSING 0x4u
#define NVME_CSTS_SHST_DONE       0x8u

/* ---- Identify (Base 5.1.13) ---- */

enum nvme_cns {
	NVME_CNS_NS = 0x00,
	NVME_CNS_CTRL = 0x01,
	NVME_CNS_ACTIVE_NS = 0x02,
	NVME_CNS_NS_DESCS = 0x03,
	NVME_CNS_CSI_NS = 0x05,
	NVME_CNS_CSI_CTRL = 0x06,
	NVME_CNS_CSI_ACTIVE_NS = 0x07,
	NVME_CNS_INDEPENDENT_NS = 0x08,
};

#define NVME_IDENTIFY_BYTES 4096u

struct nvme_id_ctrl {
	uint16_t vid;
	uint16_t ssvid;
	char sn[20];
	char mn[40];
	char fr[8];
	uint8_t rab;
	uint8_t ieee[3];
	uint8_t cmic;
	uint8_t mdts;
	uint16_t cntlid;
	uint32_t ver;
	uint32_t rtd3r;
	uint32_t rtd3e;
	uint32_t oaes;
	uint32_t ctratt;
	uint8_t rsvd100[11];
	uint8_t cntrltype;
	uint8_t fguid[16];
	uint16_t crdt[3]; /* command retry delay times, 100 ms */
	uint8_t rsvd134[122];
	uint16_t oacs;
	uint8_t acl;
	uint8_t aerl;
	uint8_t frmw;
	uint8_t lpa;
	uint8_t elpe;
	uint8_t npss;
	uint8_t avscc;
	uint8_t apsta;
	uint16_t wctemp;
	uint16_t cctemp;
	uint8_t rsvd270[50];
	uint16_t kas;
	uint8_t rsvd322[64];
	uint16_t cqt;
	uint8_t rsvd388[124];
	uint8_t sqes;
	uint8_t cqes;
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs;
	uint16_t fuses;
	uint8_t fna;
	uint8_t vwc;
	uint16_t awun;
	uint16_t awupf;
	uint8_t icsvscc;
	uint8_t nwpc;
	uint16_t acwu;
	uint16_t cdfs;
	uint32_t sgls;
	uint32_t mnan;
	uint8_t rsvd544[224];
	char subnqn[NVME_NQN_FIELD];
	uint8_t rsvd1024[768];
	uint32_t ioccsz;
	uint32_t iorcsz;
	uint16_t icdoff;
	uint8_t fcatt;
	uint8_t msdbd;
	uint16_t ofcs;
	uint8_t dctype;
	uint8_t rsvd1807[241];
	uint8_t psd[32][32];
	uint8_t vs[1024];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_id_ctrl) == 4096, "Identify Controller");
_Static_assert(offsetof(struct nvme_id_ctrl, crdt) == 128, "CRDT1");
_Static_assert(offsetof(struct nvme_id_ctrl, oacs) == 256, "OACS");
_Static_assert(offsetof(struct nvme_id_ctrl, kas) == 320, "KAS");
_Static_assert(offsetof(struct nvme_id_ctrl, cqt) == 386, "CQT");
_Static_assert(offsetof(struct nvme_id_ctrl, sqes) == 512, "SQES");
_Static_assert(offsetof(struct nvme_id_ctrl, sgls) == 536, "SGLS");
_Static_assert(offsetof(struct nvme_id_ctrl, subnqn) == 768, "SUBNQN");
_Static_assert(offsetof(struct nvme_id_ctrl, ioccsz) == 1792, "IOCCSZ");
_Static_assert(offsetof(struct nvme_id_ctrl, psd) == 2048, "PSD0");

struct nvme_lbaf {
	uint16_t ms;
	uint8_t lbads;
	uint8_t rp;
} __attribute__((packed));

struct nvme_id_ns {
	uint64_t nsze;
	uint64_t ncap;
	uint64_t nuse;
	uint8_t nsfeat;
	uint8_t nlbaf;
	uint8_t flbas;
	uint8_t mc;
	uint8_t dpc;
	uint8_t dps;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	uint8_t dlfeat;
	uint16_t nawun;
	uint16_t nawupf;
	uint16_t nacwu;
	uint16_t nabsn;
	uint16_t nabo;
	uint16_t nabspf;
	uint16_t noiob;
	uint64_t nvmcap[2];
	uint16_t npwg;
	uint16_t npwa;
	uint16_t npdg;
	uint16_t npda;
	uint16_t nows;
	uint16_t mssrl;
	uint32_t mcl;
	uint8_t msrc;
	uint8_t rsvd81[11];
	uint32_t anagrpid;
	uint8_t rsvd96[3];
	uint8_t nsattr;
	uint16_t nvmsetid;
	uint16_t endgid;
	uint8_t nguid[16];
	uint8_t eui64[8];
	struct nvme_lbaf lbaf[64];
	uint8_t vs[3712];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_id_ns) == 4096, "Identify Namespace");
_Static_assert(offsetof(struct nvme_id_ns, nvmcap) == 48, "NVMCAP");
_Static_assert(offsetof(struct nvme_id_ns, anagrpid) == 92, "ANAGRPID");
_Static_assert(offsetof(struct nvme_id_ns, nguid) == 104, "NGUID");
_Static_assert(offsetof(struct nvme_id_ns, lbaf) == 128, "LBAF0");

#define NVME_ONCS_COMPARE        (1u << 0)
#define NVME_ONCS_DSM            (1u << 2)
#define NVME_ONCS_WRITE_ZEROES   (1u << 3)
#define NVME_VWC_PRESENT         0x01u
#define NVME_CTRATT_TBKAS        (1u << 6)
#define NVME_CNTRLTYPE_IO        1u
#define NVME_CNTRLTYPE_DISCOVERY 2u
#define NVME_NSATTR_PROTECTED    0x01u
#define NVME_DLFEAT_READS(d)     ((d)&0x7u)
#define NVME_DLFEAT_ZEROES       1u    /* deallocated blocks read as zeroes */
#define NVME_DLFEAT_DEAC         0x08u /* Write Zeroes takes DEAC */

/* Identify, I/O command set specific controller (CNS 06h, NVM): powers of two of the smallest page,
 * 0: no limit told. */
struct nvme_id_ctrl_nvm {
	uint8_t vsl;
	uint8_t wzsl;
	uint8_t wusl;
	uint8_t dmrl;
	uint32_t dmrsl;
	uint64_t dmsl;
	uint8_t rsvd16[4080];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_id_ctrl_nvm) == 4096, "Identify NVM controller");

/* Namespace identification descriptors (CNS 03h): type, length, two reserved bytes, the value. */
#define NVME_NIDT_EUI64 1u
#define NVME_NIDT_NGUID 2u
#define NVME_NIDT_UUID  3u

#define NVME_OAES_NS_ATTR   (1u << 8)
#define NVME_OAES_HOSTS     (1u << 30) /* the host discovery log */
#define NVME_OAES_DISCOVERY (1u << 31)

/* ---- log pages ---- */

enum nvme_log_page {
	NVME_LOG_SUPPORTED = 0x00,
	NVME_LOG_ERROR = 0x01,
	NVME_LOG_SMART = 0x02,
	NVME_LOG_FIRMWARE = 0x03,
	NVME_LOG_CHANGED_NS = 0x04,
	NVME_LOG_EFFECTS = 0x05,
	NVME_LOG_DISCOVERY = 0x70,
	NVME_LOG_HOST_DISCOVERY = 0x71,
};

struct nvme_error_entry {
	uint64_t error_count;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status;
	uint16_t parm_error_location;
	uint64_t lba;
	uint32_t nsid;
	uint8_t vs;
	uint8_t trtype;
	uint8_t rsvd30[2];
	uint64_t cs;
	uint16_t trtype_spec;
	uint8_t rsvd42[22];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_error_entry) == 64, "error log entry");

struct nvme_smart_log {
	uint8_t critical_warning;
	uint16_t temperature; /* kelvin */
	uint8_t avail_spare;
	uint8_t spare_thresh;
	uint8_t percent_used;
	uint8_t endu_grp_crit_warn_sumry;
	uint8_t rsvd7[25];
	uint64_t data_units_read[2]; /* thousands of 512 bytes */
	uint64_t data_units_written[2];
	uint64_t host_reads[2];
	uint64_t host_writes[2];
	uint64_t ctrl_busy_time[2];
	uint64_t power_cycles[2];
	uint64_t power_on_hours[2];
	uint64_t unsafe_shutdowns[2];
	uint64_t media_errors[2];
	uint64_t num_err_log_entries[2];
	uint8_t rsvd192[320];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_smart_log) == 512, "SMART log");
_Static_assert(offsetof(struct nvme_smart_log, data_units_read) == 32, "data units read");

#define NVME_LOG_RAE (1u << 15) /* cdw10: leave the event masked */

/* ---- asynchronous events: completion DW0 ---- */

#define NVME_AEN(type, info, lid)                                                                  \
	((uint32_t)(type) | ((uint32_t)(info) << 8) | ((uint32_t)(lid) << 16))
#define NVME_AEN_TYPE(dw0) ((dw0)&0x7u)
#define NVME_AEN_INFO(dw0) ((uint8_t)((dw0) >> 8))
#define NVME_AEN_LID(dw0)  ((uint8_t)((dw0) >> 16))
#define NVME_AEN_NOTICE    2u
#define NVME_AEN_NS_ATTR   NVME_AEN(2u, 0x00u, NVME_LOG_CHANGED_NS)
#define NVME_AEN_DISCOVERY NVME_AEN(2u, 0xf0u, NVME_LOG_DISCOVERY)
#define NVME_AEN_HOSTS     NVME_AEN(2u, 0xf1u, NVME_LOG_HOST_DISCOVERY)

/* ---- features ---- */

enum nvme_feature {
	NVME_FEAT_ARBITRATION = 0x01,
	NVME_FEAT_POWER = 0x02,
	NVME_FEAT_TEMPERATURE = 0x04,
	NVME_FEAT_ERROR_RECOVERY = 0x05,
	NVME_FEAT_WRITE_CACHE = 0x06,
	NVME_FEAT_NR_QUEUES = 0x07,
	NVME_FEAT_WRITE_ATOMICITY = 0x0a,
	NVME_FEAT_ASYNC_EVENTS = 0x0b,
	NVME_FEAT_KEEP_ALIVE = 0x0f,
	NVME_FEAT_HOST_BEHAVIOR = 0x16,
	NVME_FEAT_HOST_ID = 0x81,
};

/* ---- discovery log page (Base 5.1.12.3.1) ---- */

struct nvme_discovery_header {
	uint64_t genctr;
	uint64_t numrec;
	uint16_t recfmt;
	uint8_t dlpf;
	uint8_t rsvd19;
	uint32_t tdlpl;
	uint8_t rsvd24[1000];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_discovery_header) == 1024, "discovery header");

struct nvme_discovery_entry {
	uint8_t trtype;
	uint8_t adrfam;
	uint8_t subtype;
	uint8_t treq;
	uint16_t portid;
	uint16_t cntlid;
	uint16_t asqsz;
	uint16_t eflags;
	uint8_t rsvd12[20];
	char trsvcid[32];
	uint8_t rsvd64[192];
	char subnqn[NVME_NQN_FIELD];
	char traddr[256];
	uint8_t tsas[256];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_discovery_entry) == 1024, "discovery entry");

#define NVME_DLPF_EXTENDED             0x01u
#define NVME_SUBTYPE_REFERRAL          1u
#define NVME_SUBTYPE_NVM               2u
#define NVME_SUBTYPE_CURRENT_DISCOVERY 3u
#define NVME_TREQ_SECURE_REQUIRED      0x01u
#define NVME_TREQ_SQFLOW_OPTIONAL      0x04u
#define NVME_EFLAG_PERSISTENT          0x02u
#define NVME_EFLAG_NOT_CONNECTED       0x04u /* NCC */
#define NVME_ADRFAM_IPV4               1u
#define NVME_ADRFAM_IPV6               2u
#define NVME_ADRFAM_FC                 4u
#define NVME_TRTYPE_RDMA               1u
#define NVME_TRTYPE_FC                 2u
#define NVME_TRTYPE_TCP                3u
#define NVME_TSAS_TLS13                2u /* byte 0, TCP */
#define NVME_DCTYPE_CENTRAL            2u

/* What follows an entry that is extended; then the attributes. */
struct nvme_discovery_extension {
	uint32_t tel; /* bytes of the whole entry, a multiple of 4 */
	uint16_t numexat;
	uint8_t rsvd1030[2];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_discovery_extension) == 8, "extended discovery entry");

struct nvme_discovery_attribute {
	uint16_t type;
	uint16_t len; /* bytes of the value, a multiple of 4 */
} __attribute__((packed));

#define NVME_EXAT_HOST_ID      1u /* 16 bytes */
#define NVME_EXAT_LABEL_ASCII  2u /* 4 … 256 bytes, zeroes behind it */
#define NVME_EXAT_LABEL_UTF8   3u
#define NVME_EXAT_LABEL_BYTES  256u
#define NVME_EXAT_HOSTID_BYTES 16u

/* ---- Discovery Information Management (Base 5.3) ---- */

struct nvme_dim_data {
	uint32_t tdl; /* bytes, with the entries */
	uint8_t rsvd4[4];
	uint64_t nument;
	uint16_t entfmt;
	uint16_t etype;
	uint8_t portlcl;
	uint8_t rsvd21;
	uint16_t ektype;
	char eid[NVME_NQN_FIELD];
	char ename[256];
	char ever[64];
	uint8_t rsvd600[424];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_dim_data) == 1024, "DIM");
_Static_assert(offsetof(struct nvme_dim_data, eid) == 24, "DIM.EID");
_Static_assert(offsetof(struct nvme_dim_data, ename) == 280, "DIM.ENAME");
_Static_assert(offsetof(struct nvme_dim_data, ever) == 536, "DIM.EVER");

#define NVME_DIM_REGISTER       0u /* cdw10 3:0 */
#define NVME_DIM_DEREGISTER     1u
#define NVME_DIM_UPDATE         2u
#define NVME_DIM_FORMAT_BASIC   1u
#define NVME_DIM_FORMAT_EXTEND  2u
#define NVME_DIM_ENTITY_HOST    1u
#define NVME_DIM_ENTITY_DIRECT  2u /* direct discovery controller, DDC */
#define NVME_DIM_ENTITY_CENTRAL 3u /* CDC */
#define NVME_DIM_KEY_ADDRESS    0x5fu
#define NVME_DIM_KEY_PORT       0x3fu /* PORTID in the place of TRADDR */

#endif
