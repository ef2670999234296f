/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layouts by number and by name, and the rows of the levels with parity (docs/raid.md,
 * "Mapping"). What distinguishes the layouts of raid4, raid5 and raid6 is in one table: where P
 * lies, where Q lies, from which member the data goes on and how Q's exponents are counted. A
 * layout that is not in it is refused.
 */
#include "lib/xbdev/raid/layout.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/geometry.h"

/* The role of P in row r, among w members: all, or all but the one that always holds Q. */
enum p_place {
	P_LEFT,      /* w - 1 - r % w */
	P_RIGHT,     /* r % w */
	P_LEFT_NEXT, /* as P_LEFT, in row r + 1 */
	P_FIRST,
	P_LAST,
};

enum q_place {
	Q_NONE,
	Q_AFTER_P,
	Q_BEFORE_P,
	Q_LAST, /* the last member holds Q in every row */
};

struct xbdev_md_parity_layout {
	int32_t level;
	uint32_t number; /* on disk */
	const char *name;
	enum p_place p;
	enum q_place q;
	bool is_symmetric; /* data goes round, from the member behind the parity; else ascending */
	bool is_q_by_role; /* exponents: DDF counts roles; Linux counts data from behind Q on */
};

/* In the order in which messages list them. */
static const struct xbdev_md_parity_layout parity_layouts[] = {
	{4, 0, NULL, P_LAST, Q_NONE, false, false},
	/* A raid4 that Linux made of a raid0 has the number of raid5's parity-last. */
	{4, 5, NULL, P_LAST, Q_NONE, false, false},

	{5, 0, "left-asymmetric", P_LEFT, Q_NONE, false, false},
	{5, 1, "right-asymmetric", P_RIGHT, Q_NONE, false, false},
	{5, 2, "left-symmetric", P_LEFT, Q_NONE, true, false},
	{5, 3, "right-symmetric", P_RIGHT, Q_NONE, true, false},
	{5, 4, "parity-first", P_FIRST, Q_NONE, false, false},
	{5, 5, "parity-last", P_LAST, Q_NONE, false, false},

	{6, 0, "left-asymmetric", P_LEFT, Q_AFTER_P, false, false},
	{6, 1, "right-asymmetric", P_RIGHT, Q_AFTER_P, false, false},
	{6, 2, "left-symmetric", P_LEFT, Q_AFTER_P, true, false},
	{6, 3, "right-symmetric", P_RIGHT, Q_AFTER_P, true, false},
	{6, 4, "parity-first", P_FIRST, Q_AFTER_P, false, false},
	{6, 5, "parity-last", P_LAST, Q_LAST, false, false},
	{6, 8, "ddf-zero-restart", P_RIGHT, Q_AFTER_P, false, true},
	{6, 9, "ddf-N-restart", P_LEFT_NEXT, Q_AFTER_P, false, true},
	{6, 10, "ddf-N-continue", P_LEFT, Q_BEFORE_P, true, true},
	{6, 16, "left-asymmetric-6", P_LEFT, Q_LAST, false, false},
	{6, 17, "right-asymmetric-6", P_RIGHT, Q_LAST, false, false},
	{6, 18, "left-symmetric-6", P_LEFT, Q_LAST, true, false},
	{6, 19, "right-symmetric-6", P_RIGHT, Q_LAST, true, false},
	{6, 20, "parity-first-6", P_FIRST, Q_LAST, false, false},
};

#define NR_PARITY_LAYOUTS (sizeof(parity_layouts) / sizeof(parity_layouts[0]))

/* mdadm's other names. */
static const struct {
	int32_t level;
	const char *alias, *name;
} aliases[] = {
	{5, "la", "left-asymmetric"},
	{5, "ra", "right-asymmetric"},
	{5, "ls", "left-symmetric"},
	{5, "rs", "right-symmetric"},
	{5, "default", "left-symmetric"},
	{5, "ddf-zero-restart", "right-asymmetric"},
	{5, "ddf-N-restart", "left-asymmetric"},
	{5, "ddf-N-continue", "left-symmetric"},
	{6, "la", "left-asymmetric"},
	{6, "ra", "right-asymmetric"},
	{6, "ls", "left-symmetric"},
	{6, "rs", "right-symmetric"},
	{6, "default", "left-symmetric"},
};

const struct xbdev_md_parity_layout *xbdev__md_parity_layout(int32_t level, uint32_t layout)
{
	size_t i;

	for (i = 0; i < NR_PARITY_LAYOUTS; i++) {
		if (parity_layouts[i].level == level && parity_layouts[i].number == layout) {
			return &parity_layouts[i];
		}
	}
	return NULL;
}

static uint32_t place_p(enum p_place place, uint64_t row, uint32_t width)
{
	switch (place) {
	case P_LEFT:
		return width - 1 - (uint32_t)(row % width);
	case P_LEFT_NEXT:
		return width - 1 - (uint32_t)((row + 1) % width);
	case P_RIGHT:
		return (uint32_t)(row % width);
	case P_FIRST:
		return 0;
	case P_LAST:
	default:
		return width - 1;
	}
}

static uint32_t place_q(enum q_place place, uint32_t p, uint32_t nr_members)
{
	switch (place) {
	case Q_AFTER_P:
		return p + 1 == nr_members ? 0 : p + 1;
	case Q_BEFORE_P:
		return p == 0 ? nr_members - 1 : p - 1;
	case Q_NONE:
	case Q_LAST:
	default:
		return nr_members - 1;
	}
}

/* The exponent of every role in Q: counted from the member behind Q on, round all members. */
static void count_exponents(const struct xbdev_md_row *row, uint32_t nr_members,
	uint8_t ret_exponents[XBDEV_MD_MAX_DISKS])
{
	uint32_t role = row->q;
	uint8_t exponent = 0;
	uint32_t i;

	for (i = 1; i < nr_members; i++) {
		role = role + 1 == nr_members ? 0 : role + 1;
		if (role != row->p) {
			ret_exponents[role] = exponent++;
		}
	}
}

void xbdev__md_row(const struct xbdev_md_geometry *geo, uint64_t row, struct xbdev_md_row *ret_row)
{
	const struct xbdev_md_parity_layout *layout = geo->parity;
	uint32_t width = layout->q == Q_LAST ? geo->raid_disks - 1 : geo->raid_disks;
	uint32_t p = place_p(layout->p, row, width);
	uint32_t q = place_q(layout->q, p, geo->raid_disks);
	uint8_t exponents[XBDEV_MD_MAX_DISKS];
	uint32_t role = 0;
	uint32_t i;

	assert(geo->nr_parity > 0);
	ret_row->p = (uint8_t)p;
	ret_row->q = (uint8_t)q;
	if (layout->is_symmetric) {
		role = p;
	}
	for (i = 0; i < geo->nr_data; role = role + 1 == geo->raid_disks ? 0 : role + 1) {
		if (role != p && (role != q || layout->q == Q_NONE)) {
			ret_row->data[i++] = (uint8_t)role;
		}
	}
	if (geo->nr_parity < 2) {
		return;
	}
	if (!layout->is_q_by_role) {
		count_exponents(ret_row, geo->raid_disks, exponents);
	}
	for (i = 0; i < geo->nr_data; i++) {
		role = ret_row->data[i];
		ret_row->exponent[i] = layout->is_q_by_role ? (uint8_t)role : exponents[role];
	}
}

static const char *raid10_name(uint32_t layout, char buf[static 32])
{
	uint32_t near = layout & 0xff, far = layout >> 8 & 0xff;
	const char *kind = (layout & 0x10000) != 0 ? "offset" : "far";

	if (far == 1) {
		snprintf(buf, 32, "near=%" PRIu32, near);
	} else if (near == 1) {
		snprintf(buf, 32, "%s=%" PRIu32, kind, far);
	} else {
		snprintf(buf, 32, "near=%" PRIu32 ", %s=%" PRIu32, near, kind, far);
	}
	return buf;
}

const char *xbdev__md_layout_name(const struct xbdev_md_geometry *geo, char buf[static 32])
{
	switch (geo->level) {
	case 0:
		if (geo->layout == XBDEV_MD_RAID0_ORIGINAL) {
			return "original";
		}
		return geo->layout == XBDEV_MD_RAID0_ALTERNATE ? "alternate" : NULL;
	case 10:
		return raid10_name(geo->layout, buf);
	default:
		return geo->parity != NULL ? geo->parity->name : NULL;
	}
}

/* Appends ", name" to the list of names in a message. */
static void list_name(char *list, size_t list_size, const char *name)
{
	size_t used = strlen(list);

	snprintf(list + used, list_size - used, "%s%s", used == 0 ? "" : ", ", name);
}

static int parse_parity(int32_t level, const char *text, uint32_t *ret_layout, struct xu_error *err)
{
	char list[320] = "";
	const char *name = text;
	size_t i;

	for (i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (aliases[i].level == level && strcmp(aliases[i].alias, text) == 0) {
			name = aliases[i].name;
		}
	}
	for (i = 0; i < NR_PARITY_LAYOUTS; i++) {
		const struct xbdev_md_parity_layout *layout = &parity_layouts[i];

		if (layout->level != level) {
			continue;
		}
		if (strcmp(layout->name, name) == 0) {
			*ret_layout = layout->number;
			return 0;
		}
		list_name(list, sizeof(list), layout->name);
	}
	return xu_error_set(err, -EINVAL,
		"raid%" PRId32 " has no layout \"%s\"; its layouts are %s", level, text, list);
}

static int parse_raid0(const char *text, uint32_t *ret_layout, struct xu_error *err)
{
	if (strcmp(text, "original") == 0 || strcmp(text, "default") == 0) {
		*ret_layout = XBDEV_MD_RAID0_ORIGINAL;
		return 0;
	}
	if (strcmp(text, "alternate") == 0) {
		*ret_layout = XBDEV_MD_RAID0_ALTERNATE;
		return 0;
	}
	return xu_error_set(err, -EINVAL,
		"raid0 has no layout \"%s\"; its layouts are original and alternate", text);
}

/* One of n2, near=2, f2, far=2, o2, offset=2; returns what follows it, or NULL. */
static const char *parse_copies(const char *text, char *ret_kind, uint32_t *ret_count)
{
	static const char *const kinds[] = {"near=", "far=", "offset=", "n", "f", "o"};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i]);
		char *end;
		unsigned long count;

		if (strncmp(text, kinds[i], len) != 0 || text[len] < '1' || text[len] > '9') {
			continue;
		}
		count = strtoul(text + len, &end, 10);
		if (count > XBDEV_MD_MAX_DISKS) {
			return NULL;
		}
		*ret_kind = kinds[i][0];
		*ret_count = (uint32_t)count;
		return end;
	}
	return NULL;
}

/* One kind of copies, or near copies and then one of the others: "near=2, far=2". */
static int parse_raid10(const char *text, uint32_t *ret_layout, struct xu_error *err)
{
	uint32_t near = 1, far = 1, count = 0;
	const char *rest;
	char kind = 0;

	if (strcmp(text, "default") == 0) {
		*ret_layout = xbdev__md_layout_default(10);
		return 0;
	}
	rest = parse_copies(text, &kind, &count);
	if (rest != NULL && kind == 'n') {
		near = count;
		if (*rest == ',') {
			rest += rest[1] == ' ' ? 2 : 1;
			rest = parse_copies(rest, &kind, &count);
		}
	}
	if (rest != NULL && kind != 'n') {
		far = count;
	}
	if (rest == NULL || *rest != '\0' || near * far < 2 || near * far > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL,
			"raid10 has no layout \"%s\"; its layouts are near=N, far=N and offset=N "
			"(or nN, "
			"fN, oN) with N copies, 2 to %u",
			text, XBDEV_MD_MAX_DISKS);
	}
	*ret_layout = near | far << 8 | (kind == 'o' ? 0x10000u : 0);
	return 0;
}

int xbdev__md_layout_parse(
	int32_t level, const char *text, uint32_t *ret_layout, struct xu_error *err)
{
	switch (level) {
	case 0:
		return parse_raid0(text, ret_layout, err);
	case 5:
	case 6:
		return parse_parity(level, text, ret_layout, err);
	case 10:
		return parse_raid10(text, ret_layout, err);
	default:
		return xu_error_set(err, -EINVAL,
			"layout \"%s\": only raid0, raid5, raid6 and raid10 have layouts", text);
	}
}

uint32_t xbdev__md_layout_default(int32_t level)
{
	switch (level) {
	case 0:
		return XBDEV_MD_RAID0_ORIGINAL;
	case 5:
	case 6:
		return 2; /* left-symmetric */
	case 10:
		return 0x102; /* near=2 */
	default:
		return 0;
	}
}
