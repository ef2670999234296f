/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * notify_get_types and notify_get_notifications: what has happened to devices and in arrays, for
 * clients that come back and ask. Events have numbers that go up by one, and the last 256 are kept
 * in a ring; a client that comes too late sees by the numbers how many it has missed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/mgmt/mgmt.h"

#define NR_KEPT 256u

enum note_type {
	NOTE_REGISTER,
	NOTE_UNREGISTER,
	NOTE_RESIZE,
	NOTE_HEALTH,
	NOTE_RAID,
	NOTE_LVS_THRESHOLD,
	NR_NOTE_TYPES
};

static const char *const type_names[NR_NOTE_TYPES] = {
	[NOTE_REGISTER] = "bdev_register",
	[NOTE_UNREGISTER] = "bdev_unregister",
	[NOTE_RESIZE] = "bdev_resize",
	[NOTE_HEALTH] = "bdev_health",
	[NOTE_RAID] = "bdev_raid",
	[NOTE_LVS_THRESHOLD] = "lvs_threshold",
};

struct note {
	enum note_type type;
	char device[XBDEV_NAME_SIZE];
	char text[XBDEV_MGMT_NOTE_SIZE]; /* of events of health and of arrays */
	const char *event;               /* of an array: a word; static */
	char member[XBDEV_NAME_SIZE];    /* the same, or "" */
	uint64_t time_ns;                /* the same */
	uint32_t nr_lost;                /* the same: events before it that found no room */
	uint64_t used, total, promised;  /* clusters of a store, when it was told */
};

struct xbdev_mgmt_notes {
	struct xbdev_graph_listener listener;
	struct xbdev_note_listener note_listener;
	struct xbdev_ctx *ctx;
	uint64_t next_id;           /* of the next event; so many there were */
	struct note notes[NR_KEPT]; /* ring, by number */
};

static struct note *add(
	struct xbdev_mgmt_notes *notes, enum note_type type, const char *device, const char *text)
{
	struct note *note = &notes->notes[notes->next_id++ % NR_KEPT];

	*note = (struct note){.type = type};
	snprintf(note->device, sizeof(note->device), "%s", device);
	snprintf(note->text, sizeof(note->text), "%s", text);
	return note;
}

static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	static const enum note_type types[] = {[XBDEV_GRAPH_ADDED] = NOTE_REGISTER,
		[XBDEV_GRAPH_REMOVED] = NOTE_UNREGISTER,
		[XBDEV_GRAPH_RESIZED] = NOTE_RESIZE};

	add(xu_container_of(listener, struct xbdev_mgmt_notes, listener), types[event], dev->name,
		"");
}

static void add_space(struct note *note, struct xbdev_ctx *ctx)
{
	const struct xbdev_lvol_store *store = xbdev__lvol_store_find(ctx, note->device);
	struct xbdev_lvol_store_info info;

	if (store != NULL) {
		xbdev__lvol_store_info(store, &info);
		note->used = info.total_clusters - info.free_clusters;
		note->total = info.total_clusters;
		note->promised = info.promised_clusters;
	}
}

static void on_note(struct xbdev_note_listener *listener, const struct xbdev_note *what)
{
	struct xbdev_mgmt_notes *notes =
		xu_container_of(listener, struct xbdev_mgmt_notes, note_listener);
	bool is_space = strcmp(what->event, type_names[NOTE_LVS_THRESHOLD]) == 0;
	struct note *note =
		add(notes, is_space ? NOTE_LVS_THRESHOLD : NOTE_RAID, what->device, what->text);

	if (is_space) {
		add_space(note, notes->ctx);
	}
	note->event = what->event;
	snprintf(note->member, sizeof(note->member), "%s", what->member);
	note->time_ns = what->time_ns;
	note->nr_lost = what->nr_lost;
}

int xbdev_mgmt_notes_new(struct xbdev_ctx *ctx, struct xbdev_mgmt_notes **ret_notes)
{
	struct xbdev_mgmt_notes *notes = calloc(1, sizeof(*notes));

	if (notes == NULL) {
		return -ENOMEM;
	}
	notes->ctx = ctx;
	notes->listener.fn = on_graph;
	xbdev_ctx_add_listener(ctx, &notes->listener);
	notes->note_listener.fn = on_note;
	xbdev_ctx_add_note_listener(ctx, &notes->note_listener);
	*ret_notes = notes;
	return 0;
}

void xbdev_mgmt_notes_free(struct xbdev_mgmt_notes *notes)
{
	if (notes != NULL) {
		xbdev_ctx_del_listener(&notes->listener);
		xbdev_ctx_del_note_listener(&notes->note_listener);
		free(notes);
	}
}

void xbdev_mgmt_notes_health(struct xbdev_mgmt_notes *notes, const char *device, const char *text)
{
	add(notes, NOTE_HEALTH, device, text);
}

/* ---- methods ---- */

static void get_types(struct xrpc_request *req, void *arg, const void *opts)
{
	json_t *list = json_array();

	for (size_t i = 0; i < NR_NOTE_TYPES; i++) {
		json_array_append_new(list, json_string(type_names[i]));
	}
	xrpc_result(req, list);
}

struct get_opts {
	uint64_t id;
	uint32_t max;
};

static const struct xu_param get_params[] = {
	{"id", XU_PARAM_U64, offsetof(struct get_opts, id),
		.help = "number of the first that is wanted (default: the oldest that is kept)"},
	{"max", XU_PARAM_U32, offsetof(struct get_opts, max),
		.help = "so many at most (default: all)"},
	{0},
};

static json_t *note_json(const struct note *note, uint64_t id)
{
	json_t *object = json_pack("{s:s, s:s, s:I}", "type", type_names[note->type], "ctx",
		note->device, "id", (json_int_t)id);

	if (note->text[0] != '\0') {
		json_object_set_new(object, "text", json_string(note->text));
	}
	if (note->type == NOTE_RAID) {
		json_object_update_new(object,
			json_pack("{s:s, s:s, s:I, s:i}", "event", note->event, "base_bdev",
				note->member, "time", (json_int_t)(note->time_ns / XU_NS_PER_S),
				"lost", (int)note->nr_lost));
	}
	if (note->type == NOTE_LVS_THRESHOLD) {
		json_object_update_new(
			object, json_pack("{s:s, s:I, s:I, s:I, s:I, s:i}", "base_bdev",
					note->member, "used_clusters", (json_int_t)note->used,
					"total_clusters", (json_int_t)note->total,
					"promised_clusters", (json_int_t)note->promised, "time",
					(json_int_t)(note->time_ns / XU_NS_PER_S), "lost",
					(int)note->nr_lost));
	}
	return object;
}

static void get_notifications(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct xbdev_mgmt_notes *notes = arg;
	const struct get_opts *opts = opts_ptr;
	uint64_t oldest = notes->next_id > NR_KEPT ? notes->next_id - NR_KEPT : 0;
	uint64_t id = opts->id > oldest ? opts->id : oldest;
	uint32_t max = opts->max != 0 ? opts->max : NR_KEPT;
	json_t *list = json_array();

	for (; id < notes->next_id && max > 0; id++, max--) {
		json_array_append_new(list, note_json(&notes->notes[id % NR_KEPT], id));
	}
	xrpc_result(req, list);
}

const struct xrpc_method xbdev_mgmt_notify_methods[] = {
	{"notify_get_types", "Lists the types of events.", .fn = get_types},
	{"notify_get_notifications", "Lists what has happened to devices, in its order.",
		get_params, sizeof(struct get_opts), .fn = get_notifications},
	{0},
};
