/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a configuration has made, and by which entry: so that the next document can tell what it
 * lacks (and is to go) from what the program made by itself, and what somebody has edited from what
 * stands there as before. Something that was removed and made again by other hands has another UUID
 * and is not known here any more.
 */
#ifndef XBDEV_CONFIG_ORIGIN_H
#define XBDEV_CONFIG_ORIGIN_H

#include "lib/util/uuid.h"
#include "lib/xbdev/config/section.h"

struct xbdev_origin {
	const struct xbdev_section *section;
	char *name;
	char uuid[XU_UUID_TEXT_SIZE];    /* "": it has none */
	json_t *entry;                   /* of the document */
	json_t *chosen;                  /* what it did not say, see xbdev_planning; or NULL */
	const struct xbdev_job *made_by; /* while a plan is carried out: where its UUID will be */
};

struct xbdev_origins {
	struct xbdev_origin *all;
	size_t count, size;
	json_t *names[XBDEV_NR_SPACES]; /* indexes */
};

/* Makes room for so many. -ENOMEM; xbdev_origins_fini() afterwards in any case. */
int xbdev_origins_init(struct xbdev_origins *origins, size_t size);
void xbdev_origins_fini(struct xbdev_origins *origins);

/* Adds a copy of one, to the room that there is. Texts are copied, values shared. -ENOMEM. */
int xbdev_origins_add(
	struct xbdev_origins *origins, const struct xbdev_origin *origin, const char *uuid);

/* The one of something that is there; NULL: no document made it. */
const struct xbdev_origin *xbdev_origins_find(
	const struct xbdev_origins *origins, const struct xbdev_item *now);

/* The jobs are done: takes over the UUIDs that they have found or made. */
void xbdev_origins_settle(struct xbdev_origins *origins);

#endif
