/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev: what mdadm tells of a superblock beyond its fields. */
#ifndef XBDEV_RAID_DESCRIBE_H
#define XBDEV_RAID_DESCRIBE_H

#include <stddef.h>

#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/super.h"

/* Sectors of the whole array; 0 where they are not known from one member: raid0, linear. */
uint64_t xbdev__md_super_array_size(const struct xbdev_md_super *super);

/* mdadm's name of the layout; "" for what has none and for what is not served. In buf or static. */
const char *xbdev__md_super_layout_name(const struct xbdev_md_super *super, char buf[static 32]);

/* A letter for each role as this member saw them last: A active, R being replaced, . missing. */
void xbdev__md_super_roles_text(const struct xbdev_md_super *super, char *text, size_t size);

/* "Active device 0", "Replacement device 0", "Journal", "faulty", "spare". */
void xbdev__md_super_role_text(const struct xbdev_md_super *super, char *text, size_t size);

/* Sectors that nothing uses between superblock and data, and behind the data. */
void xbdev__md_super_unused(
	const struct xbdev_md_super *super, uint64_t *ret_before, uint64_t *ret_after);

#endif
