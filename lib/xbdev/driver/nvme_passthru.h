/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/driver: I/O on an NVMe namespace by passthrough. */
#ifndef XBDEV_DRIVER_NVME_PASSTHRU_H
#define XBDEV_DRIVER_NVME_PASSTHRU_H

#include "lib/xbdev/core/device.h"
#include "lib/xbdev/driver/nvme_admin.h"
#include "lib/xbdev/driver/nvme_sysfs.h"

struct xbdev__nvme_pt {
	int fd; /* of the generic character device; -1: none */
	uint32_t nsid;
	uint32_t block_shift;
	struct xbdev__nvme_features features;
	/* Told of every I/O that has failed, on its reactor. */
	void (*on_error)(struct xbdev__nvme_pt *pt, int error);
};

struct xbdev__nvme_channel {
	struct xu_list waiting; /* I/Os that are to be tried again */
	struct xr_timer timer;
};

/* Reads the first block, to see whether commands are taken here; `done` runs later, once, with 0
 * or -errno. On a reactor; `probe` must live until then. -errno: it never runs. */
struct xbdev__nvme_probe {
	struct xr_cmd cmd;
	const struct xbdev__nvme_pt *pt;
	void (*done)(struct xbdev__nvme_probe *probe, int error);
	void *buf;
};
int xbdev__nvme_probe(struct xr_reactor *reactor, struct xbdev__nvme_probe *probe);

/* Fills in limits and operations. */
void xbdev__nvme_pt_fill(const struct xbdev__nvme_pt *pt, const struct xbdev__nvme_disk *disk,
	struct xbdev_device *dev);

/* As in struct xbdev_device_ops; ch->driver is a struct xbdev__nvme_channel. */
int xbdev__nvme_pt_channel_open(struct xbdev_channel *ch);
void xbdev__nvme_pt_channel_close(struct xbdev_channel *ch);
void xbdev__nvme_pt_channel_abort(struct xbdev_channel *ch);
void xbdev__nvme_pt_submit(
	struct xbdev__nvme_pt *pt, struct xbdev_channel *ch, struct xbdev_io *io);
void xbdev__nvme_pt_cancel(struct xbdev_channel *ch, struct xbdev_io *io);

#endif
