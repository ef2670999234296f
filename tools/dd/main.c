/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xbdev-dd: copies between devices of libxbdev, files and pipes.
 *
 * Open both ends and check everything that can be known; copy; make the target durable; with
 * --verify read it back and compare checksums. What has been copied before an error or a signal is
 * made durable too, and told to the byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/device.h"
#include "common/number.h"
#include "common/progress.h"
#include "dd/dd.h"

#define PROGRESS_NS (TOOL_NS_PER_S / 2)

/* ---- what is said ---- */

static void progress_text(const struct dd_copy *copy, char *text, size_t text_size)
{
	double seconds = (double)(tool_now_ns() - copy->start_ns) / 1e9;
	double rate = seconds > 0 ? (double)copy->bytes_in / seconds : 0;
	char done[TOOL_TEXT_SIZE], total[TOOL_TEXT_SIZE], speed[TOOL_TEXT_SIZE];
	const char *what = copy->to != NULL ? "copied" : "compared";

	tool_format_size((double)copy->bytes_in, done);
	tool_format_size(rate, speed);
	if (copy->total == DD_UNKNOWN || copy->total == 0) {
		snprintf(text, text_size, "%s %s in %.0f s, %s/s", done, what, seconds, speed);
		return;
	}
	tool_format_size((double)copy->total, total);
	snprintf(text, text_size, "%s of %s %s (%.0f %%), %s/s, %.0f s left", done, total, what,
		(double)copy->bytes_in * 100 / (double)copy->total, speed,
		rate > 0 ? (double)(copy->total - copy->bytes_in) / rate : 0);
}

void dd_tell_progress(const struct dd_copy *copy)
{
	static uint64_t last_ns;
	uint64_t now_ns;
	char text[160];

	if (tool_wants_report()) {
		progress_text(copy, text, sizeof(text));
		tool_say("%s", text);
	}
	if (!tool_progress_is_shown()) {
		return;
	}
	now_ns = tool_now_ns();
	if (now_ns - last_ns >= PROGRESS_NS) {
		progress_text(copy, text, sizeof(text));
		tool_progress_show(text);
		last_ns = now_ns;
	}
}

static void say_result(const struct dd_copy *copy, uint64_t elapsed_ns, bool is_whole)
{
	double seconds = (double)elapsed_ns / 1e9;
	char size[TOOL_TEXT_SIZE], speed[TOOL_TEXT_SIZE], zeroes[TOOL_TEXT_SIZE];

	tool_format_size((double)copy->bytes_in, size);
	tool_format_size(seconds > 0 ? (double)copy->bytes_in / seconds : 0, speed);
	tool_format_size((double)copy->bytes_zero, zeroes);
	if (is_whole) {
		tool_say("%s (%" PRIu64 " bytes) copied in %.2f s, %s/s%s%s%s", size,
			copy->bytes_in, seconds, speed, copy->bytes_zero != 0 ? ", " : "",
			copy->bytes_zero != 0 ? zeroes : "",
			copy->bytes_zero != 0 ? " of it zeroes" : "");
	} else {
		tool_say("the first %" PRIu64 " bytes (%s) have been copied; more may have been "
			 "written behind them",
			copy->bytes_in, size);
	}
}

/* ---- before anything is written ---- */

/* How much is wanted: the count, as far as the source has it. */
static bool find_total(const struct dd_options *o, const struct dd_end *from, uint64_t *ret_total)
{
	uint64_t count = DD_UNKNOWN;

	if (o->count.is_given && !dd_amount_bytes(o, &o->count, &count)) {
		tool_say("count is too large");
		return false;
	}
	if (count != DD_UNKNOWN && count % from->block_size != 0) {
		tool_say("count is %" PRIu64 " bytes, which is not a multiple of the block size of "
			 "%s, %u",
			count, from->name, from->block_size);
		return false;
	}
	*ret_total = count < from->size ? count : from->size;
	return true;
}

static bool fits(const struct dd_options *o, const struct dd_end *from, const struct dd_end *to,
	uint64_t total)
{
	uint32_t rest = total != DD_UNKNOWN ? (uint32_t)(total % to->block_size) : 0;

	if (rest != 0 && o->tail == DD_TAIL_REFUSE) {
		tool_say("the last %u of the %" PRIu64 " bytes of %s fill no block of %u bytes of "
			 "%s; say tail=zero or tail=keep, or a count",
			rest, total, from->name, to->block_size, to->name);
		return false;
	}
	if (total != DD_UNKNOWN && total > to->size) {
		tool_say("%s has %" PRIu64 " bytes behind seek, but %" PRIu64
			 " are to be copied; say a count",
			to->name, to->size, total);
		return false;
	}
	if (o->must_verify && to->kind == DD_STREAM) {
		tool_say("%s cannot be read back: verify is not possible", to->name);
		return false;
	}
	return true;
}

/* A copy inside one device must not write what it has yet to read. */
static bool is_apart(const struct dd_end *from, const struct dd_end *to, uint64_t total)
{
	if (from->kind != DD_DEVICE || to->kind != DD_DEVICE ||
		strcmp(from->info.uuid, to->info.uuid) != 0 || from->base + total <= to->base ||
		to->base + total <= from->base) {
		return true;
	}
	tool_say("source and target are the same device, %s, and overlap", from->info.name);
	return false;
}

/* ---- the phases ---- */

static bool finish(const struct dd_copy *copy)
{
	const struct dd_options *o = copy->options;
	struct dd_end *to = copy->to;
	int rc;

	if (copy->is_stuck) {
		return false;
	}
	if (to->kind == DD_DEVICE) {
		if (!o->must_not_flush && xbdev_flush(to->fd) != 0) {
			tool_say("making %s durable: %s", to->name, xbdev_last_error());
			return false;
		}
		return true;
	}
	rc = dd_file_finish(to, copy->bytes_out, !o->must_not_flush);
	if (rc != 0) {
		tool_say("making %s durable: %s", to->name, strerror(-rc));
	}
	return rc == 0;
}

/* Reads the target back; TOOL_OK when it holds what was written. */
static int verify(struct dd_copy *copied)
{
	struct dd_copy check = {.options = copied->options,
		.from = copied->to,
		.total = copied->bytes_out,
		.crcs = copied->crcs,
		.nr_crcs = copied->nr_crcs};
	int rc = TOOL_FAILED;

	copied->crcs = NULL;
	check.from->size = check.total;
	if (check.from->kind == DD_FILE) {
		/* As much of it as possible from the disk and not from memory. */
		posix_fadvise(check.from->fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	if (dd_copy_init(&check)) {
		dd_copy_run(&check);
		tool_progress_end_line();
		rc = check.nr_differ != 0            ? TOOL_DIFFERS
		     : check.bytes_in == check.total ? TOOL_OK
		     : tool_must_stop()              ? TOOL_INTERRUPTED
						     : TOOL_PARTIAL;
	}
	if (rc == TOOL_DIFFERS) {
		tool_say("%" PRIu64 " chunks of %s are not what was written", check.nr_differ,
			check.from->name);
	} else if (rc == TOOL_OK && !copied->options->is_quiet) {
		tool_say("verified");
	}
	copied->is_stuck |= check.is_stuck;
	dd_copy_fini(&check);
	return rc;
}

static int copy_all(struct dd_copy *copy)
{
	const struct dd_options *o = copy->options;
	bool is_whole, is_finished;
	int rc;

	if (!dd_copy_init(copy) || !dd_end_begin(copy->from, o) || !dd_end_begin(copy->to, o)) {
		return TOOL_FAILED;
	}
	dd_copy_run(copy);
	is_whole = !copy->has_failed && !copy->is_stuck && copy->is_at_end &&
		   copy->next_done == copy->next_read;
	is_finished = finish(copy);
	tool_progress_end_line();
	if (!o->is_quiet || !is_whole) {
		say_result(copy, tool_now_ns() - copy->start_ns, is_whole);
	}
	rc = is_whole && is_finished           ? TOOL_OK
	     : tool_must_stop() && is_finished ? TOOL_INTERRUPTED
					       : TOOL_PARTIAL;
	return rc == TOOL_OK && o->must_verify ? verify(copy) : rc;
}

static bool open_ends(const struct dd_options *o, struct dd_end *from, struct dd_end *to)
{
	if (!dd_amount_bytes(o, &o->skip, &from->base) ||
		!dd_amount_bytes(o, &o->seek, &to->base)) {
		tool_say("skip or seek is too large");
		return false;
	}
	if (o->config != NULL && !tool_config_load(o->config)) {
		return false;
	}
	return dd_end_open_source(from, o) && dd_end_open_target(to, o);
}

static int run(const struct dd_options *o, bool *ret_is_stuck)
{
	struct dd_end from = {.fd = -1, .kind = DD_FILE}, to = {.fd = -1, .kind = DD_FILE};
	struct dd_copy copy = {.options = o, .from = &from, .to = &to};
	int rc = TOOL_FAILED;

	if (xbdev_queue_init(o->depth, 1) != 0) {
		tool_say("%s", xbdev_last_error());
	} else if (open_ends(o, &from, &to) && find_total(o, &from, &copy.total) &&
		   fits(o, &from, &to, copy.total) && is_apart(&from, &to, copy.total)) {
		rc = copy_all(&copy);
	}
	*ret_is_stuck = copy.is_stuck;
	dd_copy_fini(&copy);
	if (copy.is_stuck) {
		return rc;
	}
	dd_end_close(&from);
	return !dd_end_close(&to) && rc == TOOL_OK ? TOOL_PARTIAL : rc;
}

int main(int argc, char **argv)
{
	struct dd_options options;
	bool is_stuck;
	int rc;

	tool_name = "xbdev-dd";
	if (!dd_options_parse(&options, argc, argv, &rc)) {
		if (rc == TOOL_OK && (fflush(stdout) != 0 || ferror(stdout))) {
			tool_say("cannot write the help: %s", strerror(errno));
			return TOOL_FAILED;
		}
		return rc;
	}
	tool_progress_init(!options.is_quiet);
	tool_signals_catch();
	if (!tool_library_start(&options.library)) {
		return TOOL_FAILED;
	}
	rc = run(&options, &is_stuck);
	if (is_stuck) {
		_exit(rc); /* The library cannot end with I/Os under way. */
	}
	return tool_library_end() || rc != TOOL_OK ? rc : TOOL_FAILED;
}
