/* SPDX-License-Identifier: BSD-3-Clause */
/* libxbdev: what NVMe disks say of themselves. See base.h for the rules of all calls. */
#ifndef XBDEV_NVME_H
#define XBDEV_NVME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The SMART log of a controller. Counters are since it was made; those that do not fit are
 * UINT64_MAX. */
typedef struct xbdev_nvme_smart {
	char model[41];
	char serial[21];
	char firmware[9];
	uint8_t critical_warning;    /* bits: 0 spare is low, 1 temperature, 2 unreliable, 3
				      * read-only, 4 backup of memory failed */
	int32_t temperature_celsius; /* of the whole */
	uint8_t available_spare;     /* percent */
	uint8_t available_spare_threshold;
	uint8_t percentage_used; /* of its expected life; may be beyond 100 */
	uint64_t bytes_read;     /* by hosts */
	uint64_t bytes_written;
	uint64_t host_reads; /* commands */
	uint64_t host_writes;
	uint64_t busy_minutes;
	uint64_t power_cycles;
	uint64_t power_on_hours;
	uint64_t unsafe_shutdowns;
	uint64_t media_errors;
	uint64_t error_log_entries;
	uint32_t warning_temperature_minutes;
	uint32_t critical_temperature_minutes;
} xbdev_nvme_smart_t;

/* Reads it from the controller of an NVMe device, by the device's name. -ENODEV; -EOPNOTSUPP: the
 * device is no NVMe disk; or what the controller says. */
int xbdev_nvme_smart_get(const char *name, xbdev_nvme_smart_t *ret_smart);

#ifdef __cplusplus
}
#endif

#endif
