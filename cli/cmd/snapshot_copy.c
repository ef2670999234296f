/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * snapshot copy: the clusters that a snapshot itself has go to a device. The node does it by
 * itself; here it is asked how far it is, which a bar shows on a terminal, and it is stopped when
 * somebody interrupts xsan: what was copied stays, and it ends with what the node says of that.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/md.h"

#define FIRST_MS 20u  /* before it is asked the first time; small ones are over by then */
#define MAX_MS   500u /* and later */

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
	(void)number;
	is_interrupted = 1;
}

static const struct cli_arg copy_args[] = {
	{"SNAPSHOT", "the snapshot: STORE/NAME or UUID", CLI_SNAPSHOTS},
	{"DEVICE", "what it is copied to: as large at least, and nobody uses it", CLI_DEVICES},
	{0},
};

/* Less when a signal comes. */
static void sleep_ms(uint32_t ms)
{
	const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

	(void)nanosleep(&time, NULL);
}

static void show(const struct cli *cli, const json_t *state)
{
	uint64_t copied = get_u64(state, "copied_clusters"), all = get_u64(state, "total_clusters");
	double percent = all > 0 ? (double)copied * 100 / (double)all : 100;
	char bar[MD_BAR_SIZE];

	if (cli->is_quiet || !isatty(STDERR_FILENO)) {
		return;
	}
	if (strcmp(get_text(state, "state"), "in progress") == 0) {
		md_bar(percent, bar);
		fprintf(stderr, "\r%s %5.1f %%", bar, percent);
	} else {
		fputs("\r\033[K", stderr);
	}
	fflush(stderr);
}

/* The node's last word on the copy, which is over; a new object. */
static enum cli_exit follow(struct cli *cli, json_int_t id, json_t **ret_state)
{
	bool is_cancelled = false;
	uint32_t ms = FIRST_MS;
	json_t *result;
	enum cli_exit rc;

	for (;;) {
		sleep_ms(ms);
		if (is_interrupted && !is_cancelled) {
			is_cancelled = true;
			rc = cli_call(cli, "bdev_lvol_cancel",
				json_pack("{s:s}", "name", cli_word(cli, 0)), &result);
			json_decref(result);
			if (rc != CLI_OK) {
				return rc;
			}
		}
		rc = cli_call(cli, "bdev_lvol_check_shallow_copy",
			json_pack("{s:I}", "operation_id", id), ret_state);
		if (rc != CLI_OK) {
			return rc;
		}
		show(cli, *ret_state);
		if (strcmp(get_text(*ret_state, "state"), "in progress") != 0) {
			return CLI_OK;
		}
		json_decref(*ret_state);
		*ret_state = NULL;
		ms = ms * 2 < MAX_MS ? ms * 2 : MAX_MS;
	}
}

static enum cli_exit run_copy(struct cli *cli)
{
	const struct sigaction action = {.sa_handler = on_signal};
	json_t *result, *state = NULL;
	enum cli_exit rc;

	sigaction(SIGINT, &action, NULL);
	rc = cli_call(cli, "bdev_lvol_start_shallow_copy",
		json_pack("{s:s, s:s}", "src_lvol_name", cli_word(cli, 0), "dst_bdev_name",
			cli_word(cli, 1)),
		&result);

	if (rc != CLI_OK) {
		return rc;
	}
	rc = follow(cli, (json_int_t)get_u64(result, "operation_id"), &state);
	json_decref(result);
	if (rc != CLI_OK) {
		return rc;
	}
	if (strcmp(get_text(state, "state"), "complete") != 0) {
		cli_say(cli, "%s", get_text(state, "error"));
		rc = CLI_REFUSED;
	}
	if (cli->is_json) {
		cli_print_json(state);
	} else if (rc == CLI_OK) {
		cli_print("%" PRIu64 " clusters of %s are on %s", get_u64(state, "copied_clusters"),
			cli_word(cli, 0), cli_word(cli, 1));
	}
	json_decref(state);
	return rc;
}

const struct cli_command cli_snapshot_copy = {
	.name = "copy",
	.help = "Copies what a snapshot itself has to a device.",
	.about = "Its clusters go to the same places there; those that it only reads from what it\n"
		 "stands on do not. A chain of snapshots, copied one after the other from the\n"
		 "lowest on, gives the content of the highest. Ctrl-C stops it.",
	.args = copy_args,
	.run = run_copy,
};
