/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events of arrays: what the engine notes (core/note.h) and arrays that come and go, told to those
 * who watch. The list of callbacks is the control reactor's, where they run; taking one away is a
 * call there, so it does not run any more when that has returned.
 */
#include <errno.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/error.h"
#include "lib/xbdev/api/private.h"
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/raid/raid.h"

#define WATCHERS_MAX 64u

static struct {
	struct {
		xbdev_md_event_cb cb; /* NULL: free */
		void *ctx;
	} watchers[WATCHERS_MAX];
	bool is_listening;
	struct xbdev_note_listener notes;
	struct xbdev_graph_listener graph;
} monitor;

void api_md_monitor_forget(void)
{
	memset(&monitor, 0, sizeof(monitor));
}

static void tell(const xbdev_md_event_t *event)
{
	for (size_t i = 0; i < WATCHERS_MAX; i++) {
		if (monitor.watchers[i].cb != NULL) {
			monitor.watchers[i].cb(monitor.watchers[i].ctx, event);
		}
	}
}

static int kind_of(const char *name)
{
	static const struct {
		const char *name;
		int kind;
	} kinds[] = {
		{"stopped", XBDEV_MD_EVENT_ARRAY_STOPPED},
		{"added", XBDEV_MD_EVENT_DISK_ADDED},
		{"removed", XBDEV_MD_EVENT_DISK_REMOVED},
		{"failed", XBDEV_MD_EVENT_DISK_FAILED},
		{"error", XBDEV_MD_EVENT_DISK_ERROR},
		{"bad-blocks", XBDEV_MD_EVENT_BAD_BLOCKS},
		{"blocks-lost", XBDEV_MD_EVENT_BLOCKS_LOST},
		{"spare-moved", XBDEV_MD_EVENT_SPARE_MOVED},
		{"returning", XBDEV_MD_EVENT_RETURNING},
		{"in-sync", XBDEV_MD_EVENT_DISK_IN_SYNC},
		{"replaced", XBDEV_MD_EVENT_DISK_REPLACED},
		{"spare-taken", XBDEV_MD_EVENT_SPARE_TAKEN},
		{"sync-begun", XBDEV_MD_EVENT_SYNC_BEGUN},
		{"sync-done", XBDEV_MD_EVENT_SYNC_DONE},
		{"sync-ended", XBDEV_MD_EVENT_SYNC_ENDED},
		{"read-only", XBDEV_MD_EVENT_READ_ONLY},
		{"read-write", XBDEV_MD_EVENT_READ_WRITE},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, name) == 0) {
			return kinds[i].kind;
		}
	}
	return XBDEV_MD_EVENT_OTHER;
}

static void on_note(struct xbdev_note_listener *listener, const struct xbdev_note *note)
{
	const xbdev_md_event_t event = {
		.kind = kind_of(note->event),
		.name = note->event,
		.md_name = note->device,
		.disk = note->member,
		.text = note->text,
		.time_ns = note->time_ns,
		.nr_lost = note->nr_lost,
	};

	if (strncmp(note->event, "lvs_", 4) != 0) { /* of a store of volumes */
		tell(&event);
	}
}

static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event graph_event,
	struct xbdev_device *dev)
{
	const struct xu_clock *clock = xbdev_ctx_platform(api_lib.ctx)->clock;
	bool is_added = graph_event == XBDEV_GRAPH_ADDED;
	const xbdev_md_event_t event = {
		.kind = is_added ? XBDEV_MD_EVENT_ARRAY_ADDED : XBDEV_MD_EVENT_ARRAY_REMOVED,
		.name = is_added ? "array-added" : "array-removed",
		.md_name = dev->name,
		.disk = "",
		.text = is_added ? "the array runs" : "the array has been stopped",
		.time_ns = clock->wall_ns(clock),
	};

	if (graph_event != XBDEV_GRAPH_RESIZED && xbdev__md_is_array(dev)) {
		tell(&event);
	}
}

struct monitor_call {
	struct api_call call;
	xbdev_md_event_cb cb;
	void *ctx;
};

static void listen_to_events(void)
{
	if (!monitor.is_listening) {
		monitor.is_listening = true;
		monitor.notes.fn = on_note;
		monitor.graph.fn = on_graph;
		xbdev_ctx_add_note_listener(api_lib.ctx, &monitor.notes);
		xbdev_ctx_add_listener(api_lib.ctx, &monitor.graph);
	}
}

static void on_add(struct api_call *call)
{
	struct monitor_call *add = xu_container_of(call, struct monitor_call, call);
	size_t free_place = WATCHERS_MAX;

	for (size_t i = WATCHERS_MAX; i-- > 0;) {
		if (monitor.watchers[i].cb == NULL) {
			free_place = i;
		} else if (monitor.watchers[i].cb == add->cb &&
			   monitor.watchers[i].ctx == add->ctx) {
			xu_error_set(&call->err, -EEXIST,
				"this callback with this argument hears of events already");
		}
	}
	if (call->err.code == 0 && free_place == WATCHERS_MAX) {
		xu_error_set(
			&call->err, -ENOSPC, "%u callbacks hear of events already", WATCHERS_MAX);
	}
	if (call->err.code == 0) {
		listen_to_events();
		monitor.watchers[free_place].cb = add->cb;
		monitor.watchers[free_place].ctx = add->ctx;
	}
	api_call_done(call, call->err.code);
}

static void on_take_away(struct api_call *call)
{
	struct monitor_call *end = xu_container_of(call, struct monitor_call, call);

	for (size_t i = 0; i < WATCHERS_MAX; i++) {
		if (monitor.watchers[i].ctx == end->ctx) {
			monitor.watchers[i].cb = NULL;
			monitor.watchers[i].ctx = NULL;
		}
	}
	api_call_done(call, 0);
}

int xbdev_md_monitor(xbdev_md_event_cb event_cb, void *cb_ctx)
{
	struct monitor_call monitoring = {.cb = event_cb, .ctx = cb_ctx};
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(
			thread, &monitoring.call, event_cb != NULL ? on_add : on_take_away);
		api_leave(thread);
	}
	return rc;
}
