/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What disks say of themselves: NVMe's SMART / Health Information log and ATA's SMART, brought into
 * one form. Reading (which blocks, and needs rights) is separate from understanding, which is for
 * any bytes.
 */
#ifndef XBDEV_HEALTH_SMART_H
#define XBDEV_HEALTH_SMART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xu_error;

/* The disk's own warnings. */
#define XBDEV_SMART_HOT       0x01u
#define XBDEV_SMART_SPARE_LOW 0x02u
#define XBDEV_SMART_FAILING   0x04u /* it expects to fail, or cannot keep what it acknowledges */
#define XBDEV_SMART_READ_ONLY 0x08u

struct xbdev_smart {
	char source[128]; /* for people */
	uint32_t warnings;
	bool is_rotational;
	bool has_temperature;
	bool has_wear;
	bool has_spare;
	bool has_written;
	bool has_power_on;
	bool has_unsafe_shutdowns;
	bool has_bad_sectors;
	int32_t temperature_c;
	uint32_t wear_percent;            /* of the endurance, may be more than 100 */
	uint32_t spare_percent;           /* 0 … 100 */
	uint32_t spare_threshold_percent; /* 0 … 100 */
	uint64_t bytes_written;
	uint64_t power_on_hours;
	uint64_t unsafe_shutdowns;
	uint64_t media_errors; /* uncorrectable ones that the host saw */
	uint64_t bad_sectors;  /* reallocated, or waiting for it */
};

/* ---- understanding: parse.c; writes all but the source ---- */

#define XBDEV_NVME_SMART_SIZE 512u

/* NVM Express Base Specification 2.0, 5.16.1.3. */
void xbdev_smart_parse_nvme(
	const uint8_t log[XBDEV_NVME_SMART_SIZE], struct xbdev_smart *ret_smart);

#define XBDEV_ATA_SECTOR 512u

/* Pages of the log Device Statistics that are read. */
enum xbdev_ata_page {
	XBDEV_ATA_PAGE_GENERAL,     /* 1 */
	XBDEV_ATA_PAGE_ERRORS,      /* 4 */
	XBDEV_ATA_PAGE_TEMPERATURE, /* 5 */
	XBDEV_ATA_PAGE_SSD,         /* 7 */
	XBDEV_NR_ATA_PAGES
};

/* The number of a page. */
uint8_t xbdev_ata_page_number(enum xbdev_ata_page page);

enum xbdev_ata_status { XBDEV_ATA_STATUS_UNKNOWN, XBDEV_ATA_STATUS_GOOD, XBDEV_ATA_STATUS_FAILING };

/* What an ATA disk has given; NULL: it did not. Each is XBDEV_ATA_SECTOR bytes. */
struct xbdev_ata_data {
	const uint8_t *identify;
	const uint8_t *smart;
	const uint8_t *pages[XBDEV_NR_ATA_PAGES];
	enum xbdev_ata_status status;
};

/* ATA Command Set (ACS-4): IDENTIFY DEVICE and the log Device Statistics. The attributes of SMART
 * READ DATA are vendors' and only those are used that mean the same everywhere. Data whose checksum
 * is wrong is not used. */
void xbdev_smart_parse_ata(const struct xbdev_ata_data *data, struct xbdev_smart *ret_smart);

/* Whether IDENTIFY DEVICE says that SMART works, and that logs can be read. */
bool xbdev_ata_has_smart(const uint8_t identify[XBDEV_ATA_SECTOR]);
bool xbdev_ata_has_logs(const uint8_t identify[XBDEV_ATA_SECTOR]);

/* The registers that SMART RETURN STATUS left in SCSI sense data of either format. */
enum xbdev_ata_status xbdev_ata_status_of_sense(const uint8_t *sense, size_t len);

/* ---- finding disks: disk.c ---- */

#define XBDEV_MAX_DISKS 16u

enum xbdev_disk_kind { XBDEV_DISK_OTHER, XBDEV_DISK_NVME, XBDEV_DISK_ATA };

struct xbdev_disk {
	enum xbdev_disk_kind kind;
	char name[64];     /* of its node in /dev: "sda"; NVMe: of a controller, "nvme0" */
	char dev_text[32]; /* "8:0": what that node must be */
	bool is_char;      /* the node is a character device */
};

/*
 * The disks below a file or device node: what the file system or the node is on, through partitions
 * and device mapper or MD devices down to what has nothing below it. Returns how many. -ENODEV with
 * a sentence: the system does not tell; or what stat(2) says. `sysfs` NULL: "/sys". Blocks.
 */
int xbdev_disks_find(const char *path, const char *sysfs, struct xbdev_disk disks[XBDEV_MAX_DISKS],
	struct xu_error *err);

/* ---- reading; blocks, 5 s at most for a command ---- */

/* nvme.c, ata.c. -EACCES, -EPERM: no right to; -EOPNOTSUPP: the disk has none; what else the kernel
 * says, with a sentence. */
int xbdev_smart_read_nvme(
	const struct xbdev_disk *disk, struct xbdev_smart *ret_smart, struct xu_error *err);
int xbdev_smart_read_ata(
	const struct xbdev_disk *disk, struct xbdev_smart *ret_smart, struct xu_error *err);
/* Opens the disk's node for commands, having made sure that it is the disk's. */
int xbdev_disk_open(const struct xbdev_disk *disk, struct xu_error *err);

/* smart.c: finds the disks below a path and reads them; the least healthy one counts. */
int xbdev_smart_read(const char *path, struct xbdev_smart *ret_smart, struct xu_error *err);

#endif
