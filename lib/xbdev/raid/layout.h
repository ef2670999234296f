/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/raid: the layouts of the levels with parity, for geometry.c. */
#ifndef XBDEV_RAID_LAYOUT_H
#define XBDEV_RAID_LAYOUT_H

#include <stdint.h>

struct xbdev_md_parity_layout;

/* raid4, raid5, raid6: how their rows rotate in a layout (number on disk), or NULL. Static. */
const struct xbdev_md_parity_layout *xbdev__md_parity_layout(int32_t level, uint32_t layout);

#endif
