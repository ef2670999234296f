/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET /targets and GET /targets/{id}. A list is made of one view, so it is of one moment. The
 * filter that an index knows narrows the walk; the others are asked of each target that is left. A
 * page ends with a cursor, the sort key and id of its last target, so what changes between two
 * pages moves nobody else from one to the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"

#define LIMIT     1000u
#define LIMIT_MAX 10000u

struct row {
	const struct xreg_target *target;
	const char *text; /* the sort key, when it is one of text */
	uint64_t number;  /* else */
	uint32_t score;
};

struct list {
	struct xreg_rest *rest;
	struct xrpc_http_call *call;
	struct xreg_health_config health;
	const char *values[9]; /* of the filters below */
	uint32_t state;
	uint64_t port, min_score, max_load;
	uint32_t sort;
	bool is_reverse, is_full;

	struct row *rows;
	uint32_t count, room, nr_healthy;
	bool has_failed;
};

/* Filters by texts of the target; the first that is asked for is the index that is walked. */
enum { BY_NODE, BY_NQN, BY_ADDRESS, BY_LOCATION, BY_TAG, BY_TRANSPORT, BY_SOURCE, BY_STATUS };

static const struct {
	const char *name;
	int index; /* enum xreg_index; -1: none */
	bool is_prefix;
} filters[] = {
	[BY_NODE] = {"node_id", XREG_BY_NODE},
	[BY_NQN] = {"nqn", XREG_BY_NQN},
	[BY_ADDRESS] = {"address", XREG_BY_ADDRESS},
	[BY_LOCATION] = {"location", XREG_BY_LOCATION, true},
	[BY_TAG] = {"tag", XREG_BY_TAG},
	[BY_TRANSPORT] = {"transport", -1},
	[BY_SOURCE] = {"source", -1},
	[BY_STATUS] = {"status", -1},
};
#define NR_FILTERS (sizeof(filters) / sizeof(filters[0]))

enum sort {
	SORT_ID,
	SORT_NODE,
	SORT_NQN,
	SORT_ADDRESS,
	SORT_STATUS,
	SORT_LOCATION,
	SORT_PORT,
	SORT_SCORE,
	SORT_LOAD,
	SORT_SEEN,
	SORT_REGISTERED,
};

static const char *const sort_names[] = {"target_id", "node_id", "nqn", "address", "status",
	"location", "port", "health_score", "load_percentage", "last_seen", "registered_at", NULL};

/* ---- filters ---- */

static bool has_tag(const struct xreg_spec *spec, const char *tag)
{
	for (uint32_t i = 0; i < spec->nr_tags; i++) {
		if (strcmp(spec->tags[i], tag) == 0) {
			return true;
		}
	}
	return false;
}

static bool passes(const struct list *list, const struct xreg_target *target)
{
	const struct xreg_spec *spec = &target->spec;
	const char *const have[NR_FILTERS] = {
		[BY_NODE] = spec->node_id,
		[BY_NQN] = spec->nqn,
		[BY_ADDRESS] = spec->address,
		[BY_LOCATION] = target->location,
		[BY_TRANSPORT] = xreg_transport_names[spec->transport],
		[BY_SOURCE] = xreg_source_name(target->origin.source),
	};

	for (uint32_t i = 0; i < NR_FILTERS; i++) {
		const char *want = list->values[i];

		if (want == NULL) {
			continue;
		}
		if (i == BY_TAG ? !has_tag(spec, want)
			: i == BY_STATUS
				? target->status.state != list->state
				: strncmp(have[i], want,
					  filters[i].is_prefix ? strlen(want) : SIZE_MAX) != 0) {
			return false;
		}
	}
	return list->port == 0 || spec->port == list->port;
}

/* ---- rows ---- */

static void set_key(struct list *list, struct row *row, const struct xreg_live_state *state)
{
	const struct xreg_target *target = row->target;

	switch ((enum sort)list->sort) {
	case SORT_ID:
		row->text = target->origin.id;
		break;
	case SORT_NODE:
		row->text = target->spec.node_id;
		break;
	case SORT_NQN:
		row->text = target->spec.nqn;
		break;
	case SORT_ADDRESS:
		row->text = target->spec.address;
		break;
	case SORT_STATUS:
		row->text = xreg_state_name(target->status.state);
		break;
	case SORT_LOCATION:
		row->text = target->location;
		break;
	case SORT_PORT:
		row->number = target->spec.port;
		break;
	case SORT_SCORE:
		row->number = row->score;
		break;
	case SORT_LOAD:
		row->number = state->metrics.load_percentage;
		break;
	case SORT_SEEN:
		row->number =
			state->last_seen_ms != 0 ? state->last_seen_ms : target->origin.updated_ms;
		break;
	case SORT_REGISTERED:
		row->number = target->origin.registered_ms;
		break;
	}
}

static bool add_row(void *arg, const struct xreg_target *target)
{
	struct xreg_live_state state;
	struct xreg_health health;
	struct list *list = arg;
	struct row *more;

	if (!passes(list, target)) {
		return true;
	}
	xreg_live_get(target, &state);
	xreg_health_score(target, &state, &list->health, &health);
	if (health.score < list->min_score || state.metrics.load_percentage > list->max_load) {
		return true;
	}
	if (list->count == list->room) {
		list->room = list->room != 0 ? 2 * list->room : 256;
		more = realloc(list->rows, list->room * sizeof(*more));
		if (more == NULL) {
			list->has_failed = true;
			return false;
		}
		list->rows = more;
	}
	list->rows[list->count] = (struct row){.target = target, .score = health.score};
	set_key(list, &list->rows[list->count++], &state);
	list->nr_healthy += target->status.state == XREG_AVAILABLE;
	return true;
}

static int compare_keys(const struct row *a, const struct row *b)
{
	int order = a->text != NULL ? strcmp(a->text, b->text)
				    : (a->number > b->number) - (a->number < b->number);

	return order != 0 ? order : strcmp(a->target->origin.id, b->target->origin.id);
}

static int compare_rows(const void *a, const void *b)
{
	return compare_keys(a, b);
}

static int compare_rows_reverse(const void *a, const void *b)
{
	return compare_keys(b, a);
}

/* ---- pages ---- */

/* The first row behind the cursor, "KEY,ID"; -1: it is none, and the call has been answered. */
static int64_t behind_cursor(const struct list *list, const char *cursor)
{
	struct xreg_target fake = {0};
	struct row last = {.target = &fake};
	const char *comma = cursor != NULL ? strrchr(cursor, ',') : NULL;
	char key[XREG_PLACE_SIZE];
	int64_t at = 0;

	if (cursor == NULL) {
		return 0;
	}
	if (comma == NULL || (size_t)(comma - cursor) >= sizeof(key)) {
		xrpc_http_problem(list->call, 400, "cursor",
			"cursor is the next_cursor of the page before, not '%.64s'", cursor);
		return -1;
	}
	memcpy(key, cursor, (size_t)(comma - cursor));
	key[comma - cursor] = '\0';
	fake.origin.id = comma + 1;
	if (list->sort < SORT_PORT) {
		last.text = key;
	} else {
		last.number = strtoull(key, NULL, 10);
	}
	while (at < list->count && (list->is_reverse ? compare_keys(&last, &list->rows[at])
						     : compare_keys(&list->rows[at], &last)) <= 0) {
		at++;
	}
	return at;
}

static json_t *cursor_of(const struct row *row)
{
	char text[XREG_PLACE_SIZE + XREG_ID_SIZE];

	if (row->text != NULL) {
		snprintf(text, sizeof(text), "%s,%s", row->text, row->target->origin.id);
	} else {
		snprintf(text, sizeof(text), "%llu,%s", (unsigned long long)row->number,
			row->target->origin.id);
	}
	return json_string(text);
}

static void answer_page(struct list *list, uint64_t first, uint64_t limit)
{
	json_t *targets = json_array(), *body;
	uint64_t end = first + limit < list->count ? first + limit : list->count;

	for (uint64_t i = first; i < end; i++) {
		json_array_append_new(targets,
			list->is_full ? rest_target_full(list->rest, list->rows[i].target)
				      : rest_target_line(list->rest, list->rows[i].target));
	}
	body = json_pack("{s:o, s:i, s:i}", "targets", targets, "total_count", (int)list->count,
		"healthy_count", (int)list->nr_healthy);
	if (body != NULL && end < list->count && end > first) {
		json_object_set_new(body, "next_cursor", cursor_of(&list->rows[end - 1]));
	}
	xrpc_http_answer(list->call, 200, body);
}

/* ---- the call ---- */

static bool read_sort(struct list *list)
{
	const char *text = xrpc_http_query(list->call, "sort");

	if (text == NULL) {
		return true;
	}
	list->is_reverse = text[0] == '-';
	for (list->sort = 0; sort_names[list->sort] != NULL; list->sort++) {
		if (strcmp(sort_names[list->sort], text + list->is_reverse) == 0) {
			return true;
		}
	}
	xrpc_http_problem(list->call, 400, "sort",
		"sort is a field of the list (target_id, node_id, nqn, address, status, location, "
		"port, health_score, load_percentage, last_seen, registered_at), with a - in front "
		"for the other way round, not '%.64s'",
		text);
	return false;
}

/* Whether a filter's text is one of those that there are; else the call has been answered. */
static bool check_choice(struct list *list, uint32_t filter, const char *(*name_of)(uint32_t value))
{
	const char *given = list->values[filter];

	if (given == NULL) {
		return true;
	}
	for (uint32_t i = 0; name_of(i) != NULL; i++) {
		if (strcmp(name_of(i), given) == 0) {
			return true;
		}
	}
	xrpc_http_problem(list->call, 400, filters[filter].name, "there is no %s '%.32s'",
		filters[filter].name, given);
	return false;
}

static const char *transport_name(uint32_t transport)
{
	return xreg_transport_names[transport]; /* NULL at its end */
}

static bool read_filters(struct list *list)
{
	for (uint32_t i = 0; i < NR_FILTERS; i++) {
		list->values[i] = xrpc_http_query(list->call, filters[i].name);
	}
	if (list->values[BY_STATUS] != NULL &&
		xreg_state_parse(list->values[BY_STATUS], &list->state) != 0) {
		xrpc_http_problem(list->call, 400, "status",
			"'%.32s' is no state; there are unknown, available, busy, degraded, "
			"maintenance, failed and offline",
			list->values[BY_STATUS]);
		return false;
	}
	return check_choice(list, BY_TRANSPORT, transport_name) &&
	       check_choice(list, BY_SOURCE, xreg_source_name) &&
	       rest_query_number(list->call, "port", 1, UINT16_MAX, &list->port) &&
	       rest_query_number(list->call, "min_health_score", 0, 100, &list->min_score) &&
	       rest_query_number(list->call, "max_load_percentage", 0, 100, &list->max_load);
}

static void gather(struct list *list, const struct xreg_view *view)
{
	for (uint32_t i = 0; i < NR_FILTERS; i++) {
		if (list->values[i] != NULL && filters[i].index >= 0) {
			xreg_view_each(view, (enum xreg_index)filters[i].index, list->values[i],
				filters[i].is_prefix, add_row, list);
			return;
		}
	}
	xreg_view_each(view, XREG_BY_ID, "", true, add_row, list);
}

static void answer_list(struct xreg_rest *rest, struct xrpc_http_call *call)
{
	struct list list = {.rest = rest, .call = call, .max_load = 100};
	uint64_t limit = LIMIT;
	struct xreg_view *view;
	int64_t first;

	if (!read_filters(&list) || !read_sort(&list) ||
		!rest_query_bool(call, "full", &list.is_full) ||
		!rest_query_number(call, "limit", 1, LIMIT_MAX, &limit)) {
		return;
	}
	rest_health_config(rest, &list.health);
	view = xreg_store_view(rest->opts.store);
	gather(&list, view);
	if (list.has_failed) {
		xrpc_http_problem(call, 500, NULL, "no memory");
	} else {
		if (list.count != 0) {
			qsort(list.rows, list.count, sizeof(list.rows[0]),
				list.is_reverse ? compare_rows_reverse : compare_rows);
		}
		first = behind_cursor(&list, xrpc_http_query(call, "cursor"));
		if (first >= 0) {
			rest_add_index(call, xreg_view_revision(view));
			answer_page(&list, (uint64_t)first, limit);
		}
	}
	xreg_view_unref(view);
	free(list.rows);
}

void rest_targets_list(struct xrpc_http_call *call, void *arg)
{
	static const char *const known[] = {"node_id", "nqn", "address", "location", "tag",
		"transport", "source", "status", "port", "min_health_score", "max_load_percentage",
		"sort", "limit", "cursor", "full", "index", "wait", NULL};

	if (rest_query_check(call, known)) {
		rest_when_newer(arg, call, answer_list);
	}
}

static void answer_get(struct xreg_rest *rest, struct xrpc_http_call *call)
{
	rest_show(rest, call, rest_target_full);
}

void rest_target_get(struct xrpc_http_call *call, void *arg)
{
	static const char *const known[] = {"index", "wait", NULL};

	if (rest_query_check(call, known)) {
		rest_when_newer(arg, call, answer_get);
	}
}
