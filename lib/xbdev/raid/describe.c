/* SPDX-License-Identifier: BSD-3-Clause */
/* What a superblock means, for people; see describe.h. */
#include "lib/xbdev/raid/describe.h"

#include <stdio.h>
#include <string.h>

/* Sectors from a superblock on that the kernel keeps free of anything else. */
#define SUPER_ROOM 72u

uint64_t xbdev__md_super_array_size(const struct xbdev_md_super *super)
{
	uint64_t copies = (uint64_t)(super->layout & 0xff) * (super->layout >> 8 & 0xff);

	switch (super->level) {
	case 1:
		return super->size;
	case 4:
	case 5:
		return super->size * (super->raid_disks - 1);
	case 6:
		return super->raid_disks > 2 ? super->size * (super->raid_disks - 2) : 0;
	case 10:
		return copies != 0 ? super->size * super->raid_disks / copies : 0;
	default:
		return 0;
	}
}

const char *xbdev__md_super_layout_name(const struct xbdev_md_super *super, char buf[static 32])
{
	struct xbdev_md_shape shape = {
		.level = super->level,
		.layout = super->layout,
		.has_raid0_layout = xbdev__md_super_has(super, XBDEV_MD_F_RAID0_LAYOUT),
		.raid_disks = super->raid_disks,
		.chunk = super->chunksize,
		.size = super->size,
	};
	struct xbdev_md_geometry geo;
	const char *name = NULL;

	for (uint32_t i = 0; i < XBDEV_MD_MAX_DISKS; i++) {
		shape.data_sizes[i] = super->data_size;
	}
	if (xbdev__md_geometry_init(&geo, &shape, NULL) == 0) {
		name = xbdev__md_layout_name(&geo, buf);
	}
	return name != NULL ? name : "";
}

void xbdev__md_super_roles_text(const struct xbdev_md_super *super, char *text, size_t size)
{
	uint32_t nr_roles = super->raid_disks < size ? super->raid_disks : (uint32_t)size - 1;

	memset(text, '.', nr_roles);
	text[nr_roles] = '\0';
	for (uint32_t i = 0; i < super->max_dev && i < XBDEV_MD_MAX_DEV_ROLES; i++) {
		if (super->dev_roles[i] < nr_roles) {
			char *letter = &text[super->dev_roles[i]];

			*letter = *letter == '.' ? 'A' : 'R';
		}
	}
}

void xbdev__md_super_role_text(const struct xbdev_md_super *super, char *text, size_t size)
{
	uint16_t role = xbdev__md_super_role(super);

	if (role < XBDEV_MD_ROLE_MAX) {
		snprintf(text, size, "%s device %u",
			xbdev__md_super_has(super, XBDEV_MD_F_REPLACEMENT) ? "Replacement"
									   : "Active",
			role);
	} else {
		snprintf(text, size, "%s",
			role == XBDEV_MD_ROLE_JOURNAL  ? "Journal"
			: role == XBDEV_MD_ROLE_FAULTY ? "faulty"
						       : "spare");
	}
}

void xbdev__md_super_unused(
	const struct xbdev_md_super *super, uint64_t *ret_before, uint64_t *ret_after)
{
	uint64_t used = XBDEV_MD_SUPER_OFFSET + SUPER_ROOM;
	uint64_t logs = xbdev__md_super_place(super->bblog_offset) + super->bblog_size;

	if (super->bblog_offset > 0 && logs > used) {
		used = logs;
	}
	*ret_before = super->data_offset > used ? super->data_offset - used : 0;
	*ret_after = super->size != 0 && super->data_size > super->size
			     ? super->data_size - super->size
			     : 0;
}
