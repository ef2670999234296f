/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See check.h. Who lists what is counted anew here, from the blobs' maps and chains alone; then it
 * is compared with what loading took to be in use, which on a clean store began with the masks. The
 * only failure is memory.
 */
#include "lib/xbdev/lvol/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct checking {
	const struct xbdev_lvs *store;
	struct xbdev_lvs_report *report;
	struct xbdev_lvs_bits clusters, pages; /* that somebody lists */
	struct xbdev_lvs_problem untold;       /* one too many, or without memory */
	int rc;
};

__attribute__((format(printf, 4, 5))) static struct xbdev_lvs_problem *add(struct checking *c,
	enum xbdev_lvs_problem_kind kind, uint64_t blob_id, const char *fmt, ...)
{
	struct xbdev_lvs_report *report = c->report;
	struct xbdev_lvs_problem *problem;
	va_list args;

	if (report->nr_problems == XBDEV_LVS_PROBLEMS_MAX) {
		report->nr_untold++;
		return &c->untold;
	}
	if (report->nr_problems == report->room) {
		uint32_t room = report->room != 0 ? report->room * 2 : 16;

		problem = realloc(report->problems, room * sizeof(*problem));
		if (problem == NULL) {
			c->rc = -ENOMEM;
			return &c->untold;
		}
		report->problems = problem;
		report->room = room;
	}
	problem = &report->problems[report->nr_problems++];
	*problem = (struct xbdev_lvs_problem){.kind = kind, .blob_id = blob_id};
	va_start(args, fmt);
	vsnprintf(problem->text, sizeof(problem->text), fmt, args);
	va_end(args);
	return problem;
}

/* ---- blobs ---- */

static void check_blob(struct checking *c, const struct xbdev_lvs_blob *blob)
{
	static const char *const ends[] = {
		[XBDEV_LVS_KEEP] = "it is kept, and its mark goes",
		[XBDEV_LVS_REMOVE] = "it is removed; its clusters are another volume's",
		[XBDEV_LVS_STUCK] = "what becomes of it cannot be told, as the other volume cannot "
				    "be used",
	};
	struct xbdev_lvs_problem *problem;

	c->report->nr_volumes += xbdev__lvs_blob_is_volume(blob);
	if (blob->reason != NULL) {
		c->report->nr_unusable++;
		add(c, XBDEV_LVS_PROBLEM_UNREADABLE, blob->id, "volume '%s' (%#" PRIx64 "): %s",
			blob->name, blob->id, blob->reason->text);
	}
	if (blob->in_flight != XBDEV_LVS_SETTLED) {
		problem = add(c, XBDEV_LVS_PROBLEM_INTERRUPTED, blob->id,
			"snapshot '%s' was being %s when the store was last used: %s", blob->name,
			blob->taking_of != 0 ? "taken" : "deleted", ends[blob->in_flight]);
		problem->is_repairable = blob->in_flight != XBDEV_LVS_STUCK && !blob->is_locked;
	}
	if (blob->excess_clusters.count > 0 && blob->in_flight == XBDEV_LVS_SETTLED) {
		problem = add(c, XBDEV_LVS_PROBLEM_INTERRUPTED, blob->id,
			"volume '%s' was being resized when the store was last used: it has "
			"%" PRIu32 " clusters, %" PRIu32 " more go",
			blob->name, blob->map.nr_clusters, blob->excess_clusters.count);
		problem->is_repairable = !blob->is_locked;
	}
	if (blob->is_name_taken) {
		add(c, XBDEV_LVS_PROBLEM_NAME, blob->id,
			"another volume has the name '%s' too; rename this one (%#" PRIx64 ")",
			blob->name, blob->id);
	}
}

static void list_cluster(struct checking *c, const struct xbdev_lvs_blob *blob, uint32_t cluster)
{
	struct xbdev_lvs_problem *problem;

	/* One that goes shares its clusters rightly with the one they are for. */
	if (!xbdev__lvs_bits_set(&c->clusters, cluster) && blob->in_flight != XBDEV_LVS_REMOVE) {
		problem = add(c, XBDEV_LVS_PROBLEM_SHARED, blob->id,
			"volume '%s' lists cluster %" PRIu32 ", which is listed elsewhere too",
			blob->name, cluster);
		problem->first = cluster;
		problem->count = 1;
	}
}

static void list_numbers(struct xbdev_lvs_bits *bits, const struct xbdev_lvs_numbers *numbers)
{
	for (uint32_t i = 0; i < numbers->count; i++) {
		xbdev__lvs_bits_set(bits, numbers->items[i]);
	}
}

static void list_blob(struct checking *c, const struct xbdev_lvs_blob *blob)
{
	uint32_t index = xbdev__lvs_map_next(&blob->map, 0);

	for (; index < blob->map.nr_clusters; index = xbdev__lvs_map_next(&blob->map, index + 1)) {
		list_cluster(c, blob, xbdev__lvs_map_get(&blob->map, index));
	}
	list_numbers(&c->clusters, &blob->excess_clusters);
	xbdev__lvs_bits_set(&c->pages, blob->root);
	list_numbers(&c->pages, &blob->chain);
	list_numbers(&c->pages, &blob->excess_pages);
	for (uint32_t slot = 0; slot < blob->map.nr_slots; slot++) {
		const struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf != NULL && leaf->page != 0) {
			xbdev__lvs_bits_set(&c->pages, leaf->page);
		}
	}
}

static void list_all(struct checking *c)
{
	const struct xbdev_lvs *store = c->store;

	for (uint32_t i = 0; i < store->super.nr_md_clusters; i++) {
		xbdev__lvs_bits_set(&c->clusters, i);
	}
	/* Those that stay first. */
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < store->nr_blobs; i++) {
			if ((store->blobs[i]->in_flight == XBDEV_LVS_REMOVE) == (pass == 1)) {
				list_blob(c, store->blobs[i]);
			}
		}
	}
	list_numbers(&c->pages, &store->stale);
	list_numbers(&c->pages, &store->stale_last);
	for (uint32_t i = 0; i < store->copies.count; i += 2) {
		xbdev__lvs_bits_set(&c->pages, store->copies.items[i]);
	}
}

/* ---- masks ---- */

/* Runs of what is in use and listed by nobody. */
static void find_lost(struct checking *c, const struct xbdev_lvs_bits *used,
	const struct xbdev_lvs_bits *listed, enum xbdev_lvs_problem_kind kind, const char *what)
{
	bool is_safe = c->report->nr_unusable == 0 && c->store->read_only_reason.code == 0;
	uint64_t at = xbdev__lvs_bits_next(used, 0);

	while (at < used->nr_bits) {
		struct xbdev_lvs_problem *problem;
		uint64_t end = at;

		while (end < used->nr_bits && xbdev__lvs_bits_test(used, end) &&
			!xbdev__lvs_bits_test(listed, end)) {
			end++;
		}
		if (end > at) {
			problem = add(c, kind, 0,
				"%" PRIu64 " %s from %" PRIu64
				" on are marked as used, and nobody has them%s",
				end - at, what, at,
				is_safe ? ""
					: "; they may be those of a volume that cannot be used");
			problem->first = (uint32_t)at;
			problem->count = end - at;
			problem->is_repairable = is_safe;
		}
		at = xbdev__lvs_bits_next(used, end > at ? end : at + 1);
	}
}

static void find_unmarked(struct checking *c, const struct xbdev_lvs_numbers *numbers,
	enum xbdev_lvs_problem_kind kind, const char *what)
{
	for (uint32_t i = 0; i < numbers->count; i++) {
		struct xbdev_lvs_problem *problem = add(c, kind, 0,
			"%s %" PRIu32 " is in use but marked as free", what, numbers->items[i]);

		problem->first = numbers->items[i];
		problem->count = 1;
		problem->is_repairable = c->store->read_only_reason.code == 0;
	}
}

static void check(struct checking *c)
{
	const struct xbdev_lvs *store = c->store;

	if (store->read_only_reason.code != 0) {
		add(c, XBDEV_LVS_PROBLEM_READ_ONLY, 0, "%s", store->read_only_reason.text);
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		check_blob(c, store->blobs[i]);
	}
	list_all(c);
	find_unmarked(c, &store->unmarked_clusters, XBDEV_LVS_PROBLEM_UNMARKED, "cluster");
	find_unmarked(c, &store->unmarked_pages, XBDEV_LVS_PROBLEM_PAGES_UNMARKED, "metadata page");
	find_lost(c, &store->clusters, &c->clusters, XBDEV_LVS_PROBLEM_LOST, "clusters");
	find_lost(c, &store->pages, &c->pages, XBDEV_LVS_PROBLEM_PAGES_LOST, "metadata pages");
	c->report->nr_used_clusters = c->clusters.nr_set;
	c->report->nr_used_pages = c->pages.nr_set;
}

int xbdev__lvs_check(const struct xbdev_lvs *store, struct xbdev_lvs_report *ret_report)
{
	struct checking c = {.store = store, .report = ret_report};

	*ret_report = (struct xbdev_lvs_report){.was_clean = store->super.is_clean};
	c.rc = xbdev__lvs_bits_init(&c.clusters, store->super.nr_clusters);
	if (c.rc == 0) {
		c.rc = xbdev__lvs_bits_init(&c.pages, store->super.md_len);
	}
	if (c.rc == 0) {
		check(&c);
	}
	xbdev__lvs_bits_fini(&c.clusters);
	xbdev__lvs_bits_fini(&c.pages);
	if (c.rc != 0) {
		xbdev__lvs_report_fini(ret_report);
	}
	return c.rc;
}

void xbdev__lvs_report_fini(struct xbdev_lvs_report *report)
{
	free(report->problems);
	*report = (struct xbdev_lvs_report){0};
}

/* ---- repair ---- */

static void give_back(struct xbdev_lvs_bits *bits, const struct xbdev_lvs_problem *problem)
{
	for (uint64_t i = 0; i < problem->count; i++) {
		xbdev__lvs_bits_clear(bits, problem->first + i);
	}
}

/* Whatever they hold must not be found again after a crash. */
static bool erase(struct xbdev_lvs *store, const struct xbdev_lvs_problem *problem)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < problem->count; i++) {
		rc = xbdev__lvs_numbers_add(&store->stale, problem->first + i);
	}
	return rc == 0;
}

uint32_t xbdev__lvs_check_repair(struct xbdev_lvs *store, struct xbdev_lvs_report *report)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < report->nr_problems; i++) {
		struct xbdev_lvs_problem *problem = &report->problems[i];

		if (!problem->is_repairable ||
			(problem->kind == XBDEV_LVS_PROBLEM_PAGES_LOST && !erase(store, problem))) {
			continue;
		}
		if (problem->kind == XBDEV_LVS_PROBLEM_LOST) {
			give_back(&store->clusters, problem);
		}
		/* The others are right in the model already: recovery and the masks write it. */
		store->has_repairs = true;
		problem->is_repairable = false;
		nr++;
	}
	return nr;
}
