/* SPDX-License-Identifier: BSD-3-Clause */
/* The result: for people, or one object of JSON with the same content. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/number.h"
#include "perf/perf.h"

static const double percents[] = {50, 90, 95, 99, 99.9, 99.99};
#define NR_PERCENTS (sizeof(percents) / sizeof(percents[0]))

struct sums {
	struct {
		uint64_t nr_ios;
		double iops, bytes_per_s;
		struct tool_hist latency;
	} directions[2];
	uint64_t nr_ios;
	uint64_t nr_errors;
	struct perf_verify_counts verified;
};

void perf_sum(const struct perf_run *run, uint64_t ret_ios[2])
{
	ret_ios[0] = ret_ios[1] = 0;
	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		for (uint32_t d = 0; d < 2; d++) {
			ret_ios[d] += atomic_load_explicit(
				&run->jobs[i].directions[d].nr_ios, memory_order_relaxed);
		}
	}
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static void add_up(const struct perf_run *run, struct sums *sums)
{
	uint64_t ios[2];

	perf_sum(run, ios);
	for (uint32_t d = 0; d < 2; d++) {
		sums->directions[d].nr_ios = ios[d];
		sums->directions[d].iops =
			run->elapsed_ns != 0 ? (double)ios[d] / seconds(run->elapsed_ns) : 0;
		sums->directions[d].bytes_per_s = sums->directions[d].iops * run->options.bs;
		sums->nr_ios += ios[d];
	}
	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		const struct perf_job *job = &run->jobs[i];

		for (uint32_t d = 0; d < 2; d++) {
			tool_hist_merge(&sums->directions[d].latency, &job->directions[d].latency);
		}
		sums->nr_errors += job->nr_errors;
		sums->verified.nr_good += job->verified.nr_good;
		sums->verified.nr_bad += job->verified.nr_bad;
		sums->verified.nr_blank += job->verified.nr_blank;
	}
}

static double per_io(uint64_t ns, const struct sums *sums)
{
	return sums->nr_ios != 0 ? (double)ns / (double)sums->nr_ios : 0;
}

/* ---- for people ---- */

static void print_direction(const struct perf_run *run, const struct sums *sums, uint32_t d)
{
	const struct tool_hist *latency = &sums->directions[d].latency;
	char iops[TOOL_TEXT_SIZE], rate[TOOL_TEXT_SIZE], bytes[TOOL_TEXT_SIZE],
		text[TOOL_TEXT_SIZE];
	uint64_t nr_ios = sums->directions[d].nr_ios;

	if (nr_ios == 0) {
		return;
	}
	printf("%-6s %s IOPS, %s/s (%.1f MB/s), %s in %.2f s\n", d == 1 ? "read" : "write",
		tool_format_count((uint64_t)sums->directions[d].iops, iops),
		tool_format_size(sums->directions[d].bytes_per_s, rate),
		sums->directions[d].bytes_per_s / 1e6,
		tool_format_size((double)nr_ios * run->options.bs, bytes),
		seconds(run->elapsed_ns));
	printf("       latency: least %s,", tool_format_time(latency->min_ns, text));
	printf(" mean %s,", tool_format_time(tool_hist_mean(latency), text));
	printf(" largest %s\n      ", tool_format_time(latency->max_ns, text));
	for (size_t i = 0; i < NR_PERCENTS; i++) {
		printf(" %g %%: %s%s", percents[i],
			tool_format_time(tool_hist_percentile(latency, percents[i]), text),
			i + 1 < NR_PERCENTS ? "," : "\n");
	}
}

static void print_text(const struct perf_run *run, const struct sums *sums)
{
	char good[TOOL_TEXT_SIZE], bad[TOOL_TEXT_SIZE], blank[TOOL_TEXT_SIZE];
	double elapsed = seconds(run->elapsed_ns);

	print_direction(run, sums, 1);
	print_direction(run, sums, 0);
	printf("cpu    user %.0f ns, system %.0f ns per I/O; %.0f %% of a CPU\n",
		per_io(run->user_ns, sums), per_io(run->system_ns, sums),
		elapsed > 0 ? seconds(run->user_ns + run->system_ns) / elapsed * 100 : 0);
	if (run->options.verifies) {
		printf("verify %s blocks are right, %s are wrong, %s have never been written\n",
			tool_format_count(sums->verified.nr_good, good),
			tool_format_count(sums->verified.nr_bad, bad),
			tool_format_count(sums->verified.nr_blank, blank));
	}
	if (sums->nr_errors != 0) {
		printf("errors %" PRIu64 "\n", sums->nr_errors);
	}
	if (run->is_interrupted) {
		printf("interrupted\n");
	}
}

/* ---- JSON ---- */

static json_t *latency_json(const struct tool_hist *latency)
{
	json_t *percentiles = json_object();
	char name[16];

	for (size_t i = 0; i < NR_PERCENTS; i++) {
		snprintf(name, sizeof(name), "%g", percents[i]);
		json_object_set_new(percentiles, name,
			json_real((double)tool_hist_percentile(latency, percents[i]) / 1e3));
	}
	return json_pack("{s:f, s:f, s:f, s:o}", "min", (double)latency->min_ns / 1e3, "mean",
		(double)tool_hist_mean(latency) / 1e3, "max", (double)latency->max_ns / 1e3,
		"percentiles", percentiles);
}

static json_t *direction_json(const struct perf_run *run, const struct sums *sums, uint32_t d)
{
	json_int_t nr_ios = (json_int_t)sums->directions[d].nr_ios;

	return json_pack("{s:I, s:I, s:f, s:f, s:f, s:o}", "ios", nr_ios, "bytes",
		nr_ios * run->options.bs, "iops", sums->directions[d].iops, "mb_per_s",
		sums->directions[d].bytes_per_s / 1e6, "mib_per_s",
		sums->directions[d].bytes_per_s / 1048576, "latency_us",
		latency_json(&sums->directions[d].latency));
}

static json_t *options_json(const struct perf_options *o)
{
	static const char *const modes[] = {
		[PERF_QUEUE] = "queue", [PERF_SYNC] = "sync", [PERF_EMBEDDED] = "embedded"};
	json_t *devices = json_array();

	for (uint32_t i = 0; i < o->nr_devices; i++) {
		json_array_append_new(devices, json_string(o->devices[i]));
	}
	return json_pack("{s:o, s:s, s:i, s:i, s:i, s:i, s:s, s:b}", "devices", devices, "rw",
		o->rw, "rwmixread", (int)o->read_percent, "bs", (int)o->bs, "iodepth",
		(int)o->depth, "jobs", (int)o->nr_jobs, "mode", modes[o->mode], "verify",
		(int)o->verifies);
}

static void print_json(const struct perf_run *run, const struct sums *sums)
{
	double elapsed = seconds(run->elapsed_ns);
	json_t *cpu = json_pack("{s:f, s:f, s:f, s:f, s:f}", "user_s", seconds(run->user_ns),
		"system_s", seconds(run->system_ns), "user_ns_per_io", per_io(run->user_ns, sums),
		"system_ns_per_io", per_io(run->system_ns, sums), "percent",
		elapsed > 0 ? seconds(run->user_ns + run->system_ns) / elapsed * 100 : 0);
	json_t *root = json_pack("{s:s, s:o, s:f, s:o, s:o, s:o, s:I, s:b}", "version",
		xbdev_version(), "options", options_json(&run->options), "elapsed_s", elapsed,
		"read", direction_json(run, sums, 1), "write", direction_json(run, sums, 0), "cpu",
		cpu, "errors", (json_int_t)sums->nr_errors, "interrupted",
		(int)run->is_interrupted);

	if (run->options.verifies) {
		json_object_set_new(root, "verify",
			json_pack("{s:I, s:I, s:I}", "good", (json_int_t)sums->verified.nr_good,
				"bad", (json_int_t)sums->verified.nr_bad, "unwritten",
				(json_int_t)sums->verified.nr_blank));
	}
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(root);
}

void perf_report(const struct perf_run *run)
{
	struct sums *sums = calloc(1, sizeof(*sums));

	if (sums == NULL) {
		tool_say("no memory for the report");
		return;
	}
	add_up(run, sums);
	if (run->options.is_json) {
		print_json(run, sums);
	} else {
		print_text(run, sums);
	}
	free(sums);
}

/* ---- while it runs ---- */

void perf_progress_text(const struct perf_run *run, const uint64_t before[2], const uint64_t now[2],
	uint64_t span_ns, uint64_t elapsed_ns, char *text, uint32_t text_size)
{
	static const char *const names[2] = {"write", "read"};
	char iops[TOOL_TEXT_SIZE], rate[TOOL_TEXT_SIZE];
	int len = snprintf(text, text_size, "%.0f s", seconds(elapsed_ns));

	if (run->options.runtime_ns != 0) {
		len += snprintf(text + len, text_size - (uint32_t)len, " of %.0f s",
			seconds(run->options.runtime_ns));
	}
	for (int d = 1; d >= 0; d--) {
		double rate_iops = (double)(now[d] - before[d]) / seconds(span_ns);

		if (now[d] != 0 && len < (int)text_size) {
			len += snprintf(text + len, text_size - (uint32_t)len, "  %s %s IOPS %s/s",
				names[d], tool_format_count((uint64_t)rate_iops, iops),
				tool_format_size(rate_iops * run->options.bs, rate));
		}
	}
}
