/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of levels. */
#include "lib/xbdev/raid/array.h"

static const struct xbdev_md_level *const levels[] = {
	&xbdev__md_linear,
	&xbdev__md_raid0,
	&xbdev__md_raid1,
	&xbdev__md_raid4,
	&xbdev__md_raid5,
	&xbdev__md_raid6,
	&xbdev__md_raid10,
};

const struct xbdev_md_level *xbdev__md_level_find(int32_t level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (levels[i]->level == level) {
			return levels[i];
		}
	}
	return NULL;
}
