/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notes: what a layer wants people to hear of, from the reactor on which it happens to those who
 * listen on the control reactor. A bounded queue without memory of its own to ask for: what finds
 * no room is lost and counted, and the next note that does says how many.
 */
#ifndef XBDEV_CORE_NOTE_H
#define XBDEV_CORE_NOTE_H

#include <stdint.h>

#include "lib/util/list.h"
#include "lib/xbdev/core/device.h"

#define XBDEV_NOTES_MAX  128u /* under way at a time */
#define XBDEV_NOTE_BYTES 256u /* of text, with its NUL */

struct xbdev_note {
	char device[XBDEV_NAME_SIZE];
	const char *event;            /* a word: "failed"; static */
	char member[XBDEV_NAME_SIZE]; /* "": it is of the whole device */
	char text[XBDEV_NOTE_BYTES];  /* a sentence for people */
	uint64_t time_ns;             /* wall clock */
	uint32_t nr_lost;             /* notes before this one, since the last that was told */
};

struct xbdev_note_listener {
	void (*fn)(struct xbdev_note_listener *listener, const struct xbdev_note *note);
	struct xu_list link;
};

/* Tells it, later, on the control reactor. `member` may be NULL. Notes of one reactor keep their
 * order. On any reactor. */
void xbdev_ctx_note(struct xbdev_ctx *ctx, const char *device, const char *event,
	const char *member, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* On the control reactor, or before it runs. As with the listeners of context.h, `fn` may take its
 * own listener away, no other; one that is not there (its link initialised) is left alone. */
void xbdev_ctx_add_note_listener(struct xbdev_ctx *ctx, struct xbdev_note_listener *listener);
void xbdev_ctx_del_note_listener(struct xbdev_note_listener *listener);

#endif
