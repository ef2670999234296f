/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The places for notes are the context's. Whoever has something to say takes a free one, fills it
 * and sends it to the control reactor, which tells the listeners and frees the place. With no place
 * free the note is counted instead; the count travels with the next one that finds a place.
 */
#include "lib/xbdev/core/note.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/xbdev/core/context_private.h"

struct place {
	_Atomic bool is_taken;
	struct xr_msg msg;
	struct xbdev__notes *notes;
	struct xbdev_note note;
};

struct xbdev__notes {
	struct xu_list listeners; /* the control reactor's */
	_Atomic uint32_t nr_lost;
	_Atomic uint32_t next; /* where looking for a free place begins */
	struct place places[XBDEV_NOTES_MAX];
};

struct xbdev__notes *xbdev__notes_new(void)
{
	struct xbdev__notes *notes = calloc(1, sizeof(*notes));

	if (notes != NULL) {
		xu_list_init(&notes->listeners);
		for (uint32_t i = 0; i < XBDEV_NOTES_MAX; i++) {
			notes->places[i].notes = notes;
		}
	}
	return notes;
}

void xbdev__notes_free(struct xbdev__notes *notes)
{
	free(notes);
}

static struct place *take_place(struct xbdev__notes *notes)
{
	uint32_t first = atomic_fetch_add_explicit(&notes->next, 1, memory_order_relaxed);

	for (uint32_t i = 0; i < XBDEV_NOTES_MAX; i++) {
		struct place *place = &notes->places[(first + i) % XBDEV_NOTES_MAX];

		if (!atomic_exchange_explicit(&place->is_taken, true, memory_order_acquire)) {
			return place;
		}
	}
	return NULL;
}

static void on_note(struct xr_msg *msg)
{
	struct place *place = xu_container_of(msg, struct place, msg);
	struct xu_list *node, *next;

	place->note.nr_lost = atomic_exchange(&place->notes->nr_lost, 0);
	xu_list_for_each_safe (node, next, &place->notes->listeners) {
		struct xbdev_note_listener *listener =
			xu_list_entry(node, struct xbdev_note_listener, link);

		listener->fn(listener, &place->note);
	}
	atomic_store_explicit(&place->is_taken, false, memory_order_release);
}

void xbdev_ctx_note(struct xbdev_ctx *ctx, const char *device, const char *event,
	const char *member, const char *fmt, ...)
{
	const struct xu_clock *clock = ctx->platform->clock;
	struct place *place = take_place(ctx->notes);
	va_list args;

	if (place == NULL) {
		atomic_fetch_add(&ctx->notes->nr_lost, 1);
		return;
	}
	snprintf(place->note.device, sizeof(place->note.device), "%s", device);
	snprintf(
		place->note.member, sizeof(place->note.member), "%s", member != NULL ? member : "");
	place->note.event = event;
	va_start(args, fmt);
	vsnprintf(place->note.text, sizeof(place->note.text), fmt, args);
	va_end(args);
	place->note.time_ns = clock->wall_ns(clock);
	place->msg.fn = on_note;
	xr_msg_send(xbdev_ctx_control(ctx), &place->msg);
}

void xbdev_ctx_add_note_listener(struct xbdev_ctx *ctx, struct xbdev_note_listener *listener)
{
	xu_list_add_tail(&ctx->notes->listeners, &listener->link);
}

void xbdev_ctx_del_note_listener(struct xbdev_note_listener *listener)
{
	xu_list_del(&listener->link);
}
