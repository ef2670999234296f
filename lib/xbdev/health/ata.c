/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads SMART data of an ATA disk with SCSI's ATA PASS-THROUGH (16) through SG_IO: IDENTIFY DEVICE,
 * SMART READ DATA, SMART RETURN STATUS and four pages of the log Device Statistics. What a disk
 * does not have it refuses, and is left out; only without IDENTIFY DEVICE or SMART there is nothing
 * to tell. A disk that sleeps is not asked not to wake up.
 */
#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xbdev/health/smart.h"

#define TIMEOUT_MS 5000u
#define SENSE_SIZE 64u

#define ATA_IDENTIFY     0xec
#define ATA_SMART        0xb0
#define ATA_READ_LOG_EXT 0x2f

#define SMART_READ_DATA     0xd0
#define SMART_RETURN_STATUS 0xda
#define SMART_LBA_MID       0x4f
#define SMART_LBA_HIGH      0xc2

#define LOG_STATISTICS 0x04

struct ata_command {
	uint8_t command;
	uint8_t features;
	uint8_t lba_low, lba_mid, lba_high;
	bool is_extended;
	uint8_t *data; /* a sector from the disk; NULL: no data, the registers in the sense data */
};

/* SCSI / ATA Translation (SAT-4): ATA PASS-THROUGH (16). */
static void fill_cdb(const struct ata_command *c, uint8_t cdb[16])
{
	enum { NON_DATA = 3, PIO_IN = 4, CK_COND = 0x20, FROM_DEVICE = 0x08, BLOCKS = 0x04 };

	memset(cdb, 0, 16);
	cdb[0] = 0x85;
	cdb[1] = (uint8_t)((c->data != NULL ? PIO_IN : NON_DATA) << 1 | c->is_extended);
	/* The length is in the sector count. */
	cdb[2] = c->data != NULL ? FROM_DEVICE | BLOCKS | 2 : CK_COND;
	cdb[4] = c->features;
	cdb[6] = c->data != NULL ? 1 : 0;
	cdb[8] = c->lba_low;
	cdb[10] = c->lba_mid;
	cdb[12] = c->lba_high;
	cdb[14] = c->command;
}

/* 0: done; -EIO: the disk refuses; else what the kernel says. */
static int run(int fd, const struct ata_command *c, uint8_t sense[SENSE_SIZE])
{
	uint8_t cdb[16];
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.dxfer_direction = c->data != NULL ? SG_DXFER_FROM_DEV : SG_DXFER_NONE,
		.cmd_len = sizeof(cdb),
		.mx_sb_len = SENSE_SIZE,
		.dxfer_len = c->data != NULL ? XBDEV_ATA_SECTOR : 0,
		.dxferp = c->data,
		.cmdp = cdb,
		.sbp = sense,
		.timeout = TIMEOUT_MS,
	};

	fill_cdb(c, cdb);
	memset(sense, 0, SENSE_SIZE);
	if (ioctl(fd, SG_IO, &io) != 0) {
		return -errno;
	}
	if (io.host_status != 0) {
		return -EIO;
	}
	if (c->data == NULL) {
		/* It was asked for the sense data, so that comes as a condition. */
		return 0;
	}
	return io.status == 0 && io.driver_status == 0 && io.resid == 0 ? 0 : -EIO;
}

static int read_sector(int fd, struct ata_command command, uint8_t *data)
{
	uint8_t sense[SENSE_SIZE];

	command.data = data;
	memset(data, 0, XBDEV_ATA_SECTOR);
	return run(fd, &command, sense);
}

static enum xbdev_ata_status read_status(int fd)
{
	const struct ata_command command = {.command = ATA_SMART,
		.features = SMART_RETURN_STATUS,
		.lba_mid = SMART_LBA_MID,
		.lba_high = SMART_LBA_HIGH};
	uint8_t sense[SENSE_SIZE];

	return run(fd, &command, sense) == 0 ? xbdev_ata_status_of_sense(sense, sizeof(sense))
					     : XBDEV_ATA_STATUS_UNKNOWN;
}

struct sectors {
	uint8_t identify[XBDEV_ATA_SECTOR];
	uint8_t smart[XBDEV_ATA_SECTOR];
	uint8_t pages[XBDEV_NR_ATA_PAGES][XBDEV_ATA_SECTOR];
};

/* What the disk has beside IDENTIFY DEVICE. */
static void read_all(int fd, struct sectors *sectors, struct xbdev_ata_data *data)
{
	if (read_sector(fd,
		    (struct ata_command){.command = ATA_SMART,
			    .features = SMART_READ_DATA,
			    .lba_mid = SMART_LBA_MID,
			    .lba_high = SMART_LBA_HIGH},
		    sectors->smart) == 0) {
		data->smart = sectors->smart;
	}
	data->status = read_status(fd);
	if (!xbdev_ata_has_logs(sectors->identify)) {
		return;
	}
	for (uint32_t page = 0; page < XBDEV_NR_ATA_PAGES; page++) {
		if (read_sector(fd,
			    (struct ata_command){.command = ATA_READ_LOG_EXT,
				    .lba_low = LOG_STATISTICS,
				    .lba_mid = xbdev_ata_page_number(page),
				    .is_extended = true},
			    sectors->pages[page]) == 0) {
			data->pages[page] = sectors->pages[page];
		}
	}
}

int xbdev_smart_read_ata(
	const struct xbdev_disk *disk, struct xbdev_smart *ret_smart, struct xu_error *err)
{
	struct sectors sectors;
	struct xbdev_ata_data data = {.identify = sectors.identify};
	int fd = xbdev_disk_open(disk, err), rc;

	if (fd < 0) {
		return fd;
	}
	rc = read_sector(fd, (struct ata_command){.command = ATA_IDENTIFY}, sectors.identify);
	if (rc == 0 && xbdev_ata_has_smart(sectors.identify)) {
		read_all(fd, &sectors, &data);
	}
	close(fd);
	if (rc != 0) {
		return xu_error_set_errno(
			err, rc, "reading the identity of /dev/%s for SMART", disk->name);
	}
	if (!xbdev_ata_has_smart(sectors.identify)) {
		return xu_error_set(err, -EOPNOTSUPP,
			"/dev/%s has no SMART, or it is switched off (smartctl -s on)", disk->name);
	}
	xbdev_smart_parse_ata(&data, ret_smart);
	snprintf(ret_smart->source, sizeof(ret_smart->source), "ATA SMART of /dev/%s", disk->name);
	return 0;
}
