/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/driver: finding an NVMe namespace in sysfs. All of it reads files and so may
 * block. */
#ifndef XBDEV_DRIVER_NVME_SYSFS_H
#define XBDEV_DRIVER_NVME_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/util/uuid.h"

#define XBDEV__NVME_NAME_SIZE 40u /* of a kernel device, with its NUL */

struct xu_error;

struct xbdev__nvme_disk {
	char controller[XBDEV__NVME_NAME_SIZE]; /* "nvme0"; of several paths the first */
	char disk[XBDEV__NVME_NAME_SIZE];       /* "nvme0n1" */
	char generic[XBDEV__NVME_NAME_SIZE];    /* "ng0n1"; "": this kernel has none */
	char transport[16];                     /* "pcie", "tcp"... */
	char address[128];                      /* of the controller, as the transport spells it */
	char model[41], serial[21], firmware[9];
	char wwid[160];      /* the kernel's text of the identity; "": it has none */
	struct xu_uuid uuid; /* its UUID or NGUID, else one made of the wwid; null: no wwid */
	uint32_t nsid;
	int32_t numa_node;         /* -1: unknown */
	uint64_t max_transfer;     /* bytes of one command */
	uint64_t max_write_zeroes; /* bytes; 0: the kernel does not use them */
	uint32_t max_segments;
	uint32_t optimal_io; /* bytes; 0: none told */
	uint32_t discard_granularity;
	uint32_t nr_requests; /* that the kernel has for one of its queues */
};

/* Whether `other` is a disk beside `disk`: another namespace of its controller (or, with several
 * paths, of its subsystem). Names as the kernel gives them, "nvme0n2" beside "nvme0n1". */
bool xbdev__nvme_is_sibling(const char *disk, const char *other);

/*
 * Finds one namespace: of the controller at `pci_addr` ("0000:01:00.0" or "01:00.0"), or of
 * `device`: a controller ("nvme0") or a disk ("nvme0n1", "ng0n1"), with or without its directory;
 * one of the two is NULL. `nsid` 0: the only one. `sys` is where sysfs is ("/sys"). -EINVAL,
 * -ENODEV, each with a sentence that says what there is instead.
 */
int xbdev__nvme_find(const char *sys, const char *pci_addr, const char *device, uint32_t nsid,
	struct xbdev__nvme_disk *ret_disk, struct xu_error *err);

/* Who uses the disk or a partition of it: "mounted on /srv", "held by dm-0"; "": nobody that is
 * seen. `mounts` is "/proc/self/mounts". */
void xbdev__nvme_user(
	const char *sys, const char *mounts, const char *disk, char *user, size_t size);

#endif
