/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/driver: what of the NVMe specifications (Base 2.0, NVM Command Set 1.0) the
 * NVMe driver needs. Little endian throughout. */
#ifndef XBDEV_DRIVER_NVME_WIRE_H
#define XBDEV_DRIVER_NVME_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NVM commands. */
#define NVME_CMD_FLUSH        0x00u
#define NVME_CMD_WRITE        0x01u
#define NVME_CMD_READ         0x02u
#define NVME_CMD_COMPARE      0x05u
#define NVME_CMD_WRITE_ZEROES 0x08u
#define NVME_CMD_DSM          0x09u

/* Dword 12 of READ, WRITE, COMPARE, WRITE ZEROES: blocks less one, and */
#define NVME_RW_FUA      (1u << 30)
#define NVME_ZEROES_DEAC (1u << 25)
#define NVME_MAX_BLOCKS  65536u
#define NVME_DSM_AD      (1u << 2) /* dword 11 of DSM: deallocate */

struct nvme_dsm_range {
	uint32_t attributes;
	uint32_t nr_blocks;
	uint64_t slba;
};
_Static_assert(sizeof(struct nvme_dsm_range) == 16, "DSM range");

/* Admin commands. */
#define NVME_ADMIN_GET_LOG  0x02u
#define NVME_ADMIN_IDENTIFY 0x06u
#define NVME_LOG_SMART      0x02u
#define NVME_CNS_NAMESPACE  0x00u
#define NVME_CNS_CONTROLLER 0x01u
#define NVME_NSID_ALL       0xffffffffu

#define NVME_ONCS_COMPARE (1u << 0)
#define NVME_ONCS_DSM     (1u << 2)
#define NVME_ONCS_ZEROES  (1u << 3)

struct nvme_id_ctrl {
	uint8_t before_oncs[520];
	uint16_t oncs;
	uint16_t fuses;
	uint8_t fna;
	uint8_t vwc; /* bit 0: there is a volatile write cache */
	uint16_t awun;
	uint16_t awupf; /* blocks less one written whole, power failure or not */
	uint8_t rest[3566];
};
_Static_assert(offsetof(struct nvme_id_ctrl, vwc) == 525, "VWC");
_Static_assert(offsetof(struct nvme_id_ctrl, awupf) == 528, "AWUPF");
_Static_assert(sizeof(struct nvme_id_ctrl) == 4096, "Identify Controller");

#define NVME_DLFEAT_DEAC  (1u << 3) /* WRITE ZEROES deallocates when asked */
#define NVME_NSATTR_WP    (1u << 0)
#define NVME_NSFEAT_ATOMS (1u << 1) /* NAWUPF and its kin count, not AWUPF */

struct nvme_lbaf {
	uint16_t ms; /* bytes of metadata per block */
	uint8_t lbads;
	uint8_t rp;
};

struct nvme_id_ns {
	uint64_t nsze, ncap, nuse; /* blocks */
	uint8_t nsfeat;
	uint8_t nlbaf;
	uint8_t flbas;
	uint8_t before_dlfeat[6];
	uint8_t dlfeat;
	uint16_t nawun, nawupf;
	uint8_t before_nsattr[61];
	uint8_t nsattr;
	uint8_t before_lbaf[28];
	struct nvme_lbaf lbaf[64];
	uint8_t rest[3712];
};
_Static_assert(offsetof(struct nvme_id_ns, dlfeat) == 33, "DLFEAT");
_Static_assert(offsetof(struct nvme_id_ns, nawupf) == 36, "NAWUPF");
_Static_assert(offsetof(struct nvme_id_ns, nsattr) == 99, "NSATTR");
_Static_assert(offsetof(struct nvme_id_ns, lbaf) == 128, "LBAF");
_Static_assert(sizeof(struct nvme_id_ns) == 4096, "Identify Namespace");

struct __attribute__((packed)) nvme_smart_log {
	uint8_t critical_warning;
	uint16_t temperature; /* kelvins */
	uint8_t available_spare, available_spare_threshold, percentage_used;
	uint8_t endurance_warning;
	uint8_t reserved_7[25];
	uint8_t data_units_read[16], data_units_written[16]; /* of 512000 bytes */
	uint8_t host_reads[16], host_writes[16];
	uint8_t controller_busy_minutes[16];
	uint8_t power_cycles[16], power_on_hours[16], unsafe_shutdowns[16];
	uint8_t media_errors[16], error_log_entries[16];
	uint32_t warning_temperature_minutes, critical_temperature_minutes;
	uint8_t rest[312];
};
_Static_assert(offsetof(struct nvme_smart_log, data_units_read) == 32, "SMART");
_Static_assert(offsetof(struct nvme_smart_log, media_errors) == 160, "SMART");
_Static_assert(sizeof(struct nvme_smart_log) == 512, "SMART");

/* A completion's status as the kernel gives it: code 7:0, type 10:8, do not retry 14. */
#define NVME_STATUS_CODE(status) ((status)&0x7ffu) /* with its type */
#define NVME_STATUS_DNR          0x4000u

/* -errno for a status that is not 0. */
int xbdev__nvme_errno(uint32_t status);
/* Whether the same command may succeed later. */
bool xbdev__nvme_is_retryable(uint32_t status);

#endif
