/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/core: what is in a context. */
#ifndef XBDEV_CORE_CONTEXT_PRIVATE_H
#define XBDEV_CORE_CONTEXT_PRIVATE_H

#include "lib/xbdev/core/context.h"

#define XBDEV__NR_NAMES 4096u

struct xbdev_ctx {
	const struct xr_platform *platform;
	struct xu_logger *log;
	uint32_t nr_reactors;
	struct xr_reactor *reactors[XBDEV_MAX_REACTORS];
	int32_t numa_nodes[XBDEV_MAX_REACTORS]; /* of the CPUs they are pinned to; -1 */
	struct xu_list devices;                 /* in order of creation; the control reactor's */
	struct xbdev_device *by_name[XBDEV__NR_NAMES], *by_uuid[XBDEV__NR_NAMES]; /* names.c's */
	uint32_t next_owner;
	struct xu_list listeners; /* of the graph */
	struct xu_list parts;
	struct xbdev_rebuilds rebuilds;
	struct xbdev__notes *notes;
	struct xbdev__uevents *uevents; /* NULL: nobody has asked for them */
};

void xbdev__graph_event(
	struct xbdev_ctx *ctx, enum xbdev_graph_event event, struct xbdev_device *dev);

/* note.c; NULL: out of memory. Freed after the reactors have gone; NULL is fine. */
struct xbdev__notes *xbdev__notes_new(void);
void xbdev__notes_free(struct xbdev__notes *notes);

/* uevent.c: after the reactors have gone. NULL is fine. */
void xbdev__uevents_free(struct xbdev__uevents *uevents);

#endif
