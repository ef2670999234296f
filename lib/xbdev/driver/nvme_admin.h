/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/driver: what an NVMe controller says of itself. These block. */
#ifndef XBDEV_DRIVER_NVME_ADMIN_H
#define XBDEV_DRIVER_NVME_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/xbdev/driver/nvme_wire.h"

struct xu_error;

struct xbdev__nvme_features {
	uint32_t block_size;
	uint32_t metadata_bytes; /* of a block */
	uint32_t atomic_bytes;   /* written whole in spite of a power failure; 0: none told */
	bool has_cache;
	bool has_compare;
	bool has_dsm;
	bool has_zeroes;
	bool has_deac; /* WRITE ZEROES deallocates when asked */
	bool is_write_protected;
};

/* Of a namespace of the controller with this character device ("/dev/nvme0"). -errno. */
int xbdev__nvme_features_get(const char *path, uint32_t nsid,
	struct xbdev__nvme_features *ret_features, struct xu_error *err);

int xbdev__nvme_smart_log_get(
	const char *path, struct nvme_smart_log *ret_log, struct xu_error *err);

#endif
