/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lvs check: the verification of a store on a file or block device that no node uses, by the code
 * that serves it. It runs in this process, on a reactor that this thread polls:
 *
 *   open the device ─ load ─ check ─ say what is wrong
 *      --repair: repair in the model ─ recover ─ unload, which write ─ load ─ check: what is left
 *
 * Without --repair the device is opened to be read only, so nothing can be written. A store that
 * was not given up cleanly is not wrong by that: whoever attaches it recovers it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "lib/util/error.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/lvol/check.h"
#include "lib/xbdev/lvol/load.h"
#include "lib/xbdev/lvol/write.h"

static const struct cli_arg check_args[] = {
	{"PATH", "the file or block device", CLI_FILES},
	{0},
};

static const struct cli_option check_options[] = {
	{"repair", 'r',
		.help = "repair what can be repaired without loss (default: write nothing)"},
	{0},
};

struct checking {
	struct cli *cli;
	const char *path;
	struct xbdev_ctx *ctx;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct xbdev_lvs *store;
	struct xbdev_lvs_report report; /* the last one */
	uint32_t nr_repaired, nr_left;  /* of its problems */
	bool needs_recovery;
	bool is_done; /* what is waited for */
	struct xu_error err;
};

/* ---- waiting ---- */

static void wait_for_done(struct checking *checking)
{
	while (!checking->is_done) {
		xr_reactor_poll(xbdev_ctx_control(checking->ctx), XR_IDLE);
	}
	checking->is_done = false;
}

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct checking *checking = arg;

	checking->dev = dev;
	if (dev == NULL) {
		checking->err = *err;
	}
	checking->is_done = true;
}

static void on_loaded(void *arg, struct xbdev_lvs *store, const struct xu_error *err)
{
	struct checking *checking = arg;

	checking->store = store;
	if (store == NULL) {
		checking->err = *err;
	}
	checking->is_done = true;
}

static void on_written(void *arg, const struct xu_error *err)
{
	struct checking *checking = arg;

	if (err != NULL) {
		checking->err = *err;
	}
	checking->is_done = true;
}

static void on_removed(void *arg)
{
	struct checking *checking = arg;

	checking->is_done = true;
}

/* ---- the store ---- */

/* Makes a device of the file and opens it. */
static int open_device(struct checking *checking, bool is_writable)
{
	char culprit[XU_PARAM_PATH_SIZE];
	json_t *params = json_pack("{s:s, s:s, s:b}", "name", "store", "filename", checking->path,
		"read_only", !is_writable);
	int rc;

	xbdev_device_create(
		checking->ctx, xbdev_driver_find("file"), params, culprit, on_created, checking);
	wait_for_done(checking);
	json_decref(params);
	if (checking->dev == NULL) {
		return checking->err.code;
	}
	rc = xbdev_desc_open(
		checking->ctx, "store", is_writable, NULL, NULL, &checking->desc, &checking->err);
	if (rc == 0) {
		rc = xbdev_channel_get(
			checking->desc, xbdev_ctx_control(checking->ctx), &checking->ch);
		if (rc != 0) {
			xu_error_set_errno(&checking->err, rc, "reading '%s'", checking->path);
		}
	}
	return rc;
}

static uint32_t count_all(const struct xbdev_lvs_report *report)
{
	return report->nr_problems + report->nr_untold;
}

static void forget(struct checking *checking)
{
	if (checking->store != NULL) {
		xbdev__lvs_report_fini(&checking->report);
		xbdev__lvs_free(checking->store);
		checking->store = NULL;
	}
}

/* Loads the store and looks. */
static int look(struct checking *checking)
{
	int rc;

	forget(checking);
	checking->report = (struct xbdev_lvs_report){0};
	xbdev__lvs_load(checking->ch, checking->path, on_loaded, checking);
	wait_for_done(checking);
	if (checking->store == NULL) {
		return checking->err.code;
	}
	rc = xbdev__lvs_check(checking->store, &checking->report);
	if (rc != 0) {
		return xu_error_set_errno(&checking->err, rc, "checking the store");
	}
	checking->needs_recovery = xbdev__lvs_needs_recovery(checking->store);
	checking->nr_left = count_all(&checking->report);
	return 0;
}

/* Writes what the check's repair has changed, and what a crash has left to be finished; then looks
 * again. */
static void repair(struct checking *checking)
{
	uint32_t nr_before = checking->nr_left;
	int rc = xbdev__lvs_write_init(checking->store);

	if (rc != 0) {
		xu_error_set_errno(&checking->err, rc, "repairing the store");
		return;
	}
	xbdev__lvs_check_repair(checking->store, &checking->report);
	xbdev__lvs_recover(checking->store, on_written, checking);
	wait_for_done(checking);
	if (checking->err.code == 0) {
		xbdev__lvs_unload(checking->store, on_written, checking);
		wait_for_done(checking);
	}
	xbdev__lvs_write_fini(checking->store);
	if (checking->err.code == 0 && look(checking) == 0) {
		checking->nr_repaired =
			nr_before > checking->nr_left ? nr_before - checking->nr_left : 0;
	}
}

static void clean_up(struct checking *checking)
{
	forget(checking);
	if (checking->ch != NULL) {
		xbdev_channel_put(checking->ch);
	}
	if (checking->desc != NULL) {
		xbdev_desc_close(checking->desc);
	}
	if (checking->dev != NULL) {
		xbdev_device_remove(checking->dev, on_removed, checking);
		wait_for_done(checking);
	}
	xbdev_ctx_stop(checking->ctx);
	xbdev_ctx_free(checking->ctx);
}

/* ---- what it says ---- */

static uint32_t count_repairable(const struct xbdev_lvs_report *report)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < report->nr_problems; i++) {
		nr += report->problems[i].is_repairable;
	}
	return nr;
}

static json_t *report_json(const struct checking *checking)
{
	static const char *const kinds[] = {
		[XBDEV_LVS_PROBLEM_UNREADABLE] = "unreadable",
		[XBDEV_LVS_PROBLEM_READ_ONLY] = "read_only",
		[XBDEV_LVS_PROBLEM_INTERRUPTED] = "interrupted",
		[XBDEV_LVS_PROBLEM_SHARED] = "shared_cluster",
		[XBDEV_LVS_PROBLEM_LOST] = "lost_clusters",
		[XBDEV_LVS_PROBLEM_UNMARKED] = "unmarked_clusters",
		[XBDEV_LVS_PROBLEM_PAGES_LOST] = "lost_pages",
		[XBDEV_LVS_PROBLEM_PAGES_UNMARKED] = "unmarked_pages",
		[XBDEV_LVS_PROBLEM_NAME] = "name",
	};
	const struct xbdev_lvs_report *report = &checking->report;
	json_t *problems = json_array();

	for (uint32_t i = 0; i < report->nr_problems; i++) {
		const struct xbdev_lvs_problem *problem = &report->problems[i];

		json_array_append_new(problems,
			json_pack("{s:s, s:s, s:I, s:b}", "kind", kinds[problem->kind], "text",
				problem->text, "count", (json_int_t)problem->count, "repairable",
				(int)problem->is_repairable));
	}
	return json_pack("{s:s, s:b, s:b, s:i, s:i, s:I, s:i, s:i, s:o}", "name",
		checking->store->name, "clean", (int)report->was_clean, "needs_recovery",
		(int)checking->needs_recovery, "volumes", (int)report->nr_volumes, "unusable",
		(int)report->nr_unusable, "used_clusters", (json_int_t)report->nr_used_clusters,
		"repaired", (int)checking->nr_repaired, "untold", (int)report->nr_untold,
		"problems", problems);
}

static void print_report(const struct checking *checking)
{
	const struct xbdev_lvs_report *report = &checking->report;

	cli_print("store %s: %" PRIu32 " volumes, %" PRIu64 " clusters in use, %s",
		checking->store->name, report->nr_volumes, report->nr_used_clusters,
		report->was_clean ? "given up cleanly"
				  : "not given up cleanly: it is recovered when it is attached");
	for (uint32_t i = 0; i < report->nr_problems; i++) {
		cli_print("%s%s", report->problems[i].text,
			report->problems[i].is_repairable ? " (can be repaired)" : "");
	}
	if (report->nr_untold != 0) {
		cli_print("%" PRIu32 " further problems", report->nr_untold);
	}
}

/* The last line. */
static void conclude(const struct checking *checking, bool is_repair)
{
	uint32_t nr_repairable = count_repairable(&checking->report);

	if (is_repair && checking->nr_repaired + checking->nr_left != 0) {
		cli_print("problems repaired: %" PRIu32 ", left: %" PRIu32, checking->nr_repaired,
			checking->nr_left);
	} else if (checking->nr_left == 0) {
		cli_print("nothing is wrong");
	} else if (nr_repairable > 0) {
		cli_print("%" PRIu32 " of %" PRIu32 " problems can be repaired without loss, by "
			  "--repair; nothing has been written",
			nr_repairable, checking->nr_left);
	} else {
		cli_print("none of it can be repaired without loss; what can be read is still "
			  "served, so copy it");
	}
}

static void check(struct checking *checking, bool is_repair)
{
	bool is_json = checking->cli->is_json;

	if (open_device(checking, is_repair) != 0 || look(checking) != 0) {
		return;
	}
	if (!is_json) {
		print_report(checking);
	}
	if (is_repair) {
		repair(checking);
	}
	if (checking->err.code != 0) {
		return;
	}
	if (is_json) {
		json_t *report = report_json(checking);

		cli_print_json(report);
		json_decref(report);
	} else {
		conclude(checking, is_repair);
	}
}

static enum cli_exit run_check(struct cli *cli)
{
	const struct xbdev_ctx_opts opts = {.nr_reactors = 1};
	struct checking checking = {.cli = cli, .path = cli_word(cli, 0)};

	if (xbdev_ctx_new(&opts, &checking.ctx, &checking.err) != 0 ||
		xbdev_ctx_start(checking.ctx, 1, &checking.err) != 0) {
		cli_say(cli, "%s", checking.err.text);
		xbdev_ctx_free(checking.ctx);
		return CLI_REFUSED;
	}
	check(&checking, cli_option(cli, "repair") != NULL);
	if (checking.err.code != 0) {
		cli_say(cli, "%s", checking.err.text);
	}
	clean_up(&checking);
	return checking.err.code == 0 && checking.nr_left == 0 ? CLI_OK : CLI_REFUSED;
}

const struct cli_command cli_lvs_check = {
	.name = "check",
	.help = "Verifies a store that no node uses, on a file or block device.",
	.about = "It needs no node. What is wrong is said, one line each, and whether it can be\n"
		 "repaired; nothing is written without --repair. The exit code is 0 when nothing\n"
		 "is wrong, or everything has been repaired.",
	.args = check_args,
	.options = check_options,
	.run = run_check,
};
