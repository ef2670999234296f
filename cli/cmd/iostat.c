/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iostat: what devices do now. Each report is the difference of two samples of the node's counters,
 * over the time between them by the node's own clock; so nothing is reset and several may watch.
 * Latencies at the 99th percentile come from differences of the node's histograms. A device that
 * comes is reported from its second sample on; one that goes is reported no more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"
#include "lib/util/base64.h"
#include "lib/util/clock.h"
#include "lib/util/hist.h"

#define MIB 1048576.0

/* ---- samples ---- */

enum counter {
	READ_OPS,
	WRITE_OPS,
	OTHER_OPS, /* flush, discard … */
	READ_BYTES,
	WRITE_BYTES,
	READ_TICKS,
	WRITE_TICKS,
	ERRORS,
	NR_COUNTERS
};

struct sample {
	double ticks; /* when it was taken */
	uint64_t counters[NR_COUNTERS];
	uint64_t queue_depth;
	bool has_hist;
	uint64_t buckets[XU_HIST_BUCKETS];
};

struct device {
	char *name;
	struct sample before, now;
	bool has_before, is_seen;
};

struct watch {
	struct cli *cli;
	struct device *devices;
	size_t nr_devices;
	double tick_rate, ticks; /* of the last answer */
};

static uint64_t count_all(json_t *stats)
{
	json_t *latency = json_object_get(stats, "latency"), *op;
	const char *name;
	uint64_t sum = 0;

	json_object_foreach (latency, name, op) {
		sum += get_u64(op, "count");
	}
	return sum;
}

static void read_counters(json_t *stats, struct sample *sample)
{
	static const char *const keys[NR_COUNTERS] = {
		[READ_OPS] = "num_read_ops",
		[WRITE_OPS] = "num_write_ops",
		[READ_BYTES] = "bytes_read",
		[WRITE_BYTES] = "bytes_written",
		[READ_TICKS] = "read_latency_ticks",
		[WRITE_TICKS] = "write_latency_ticks",
	};
	uint64_t all = count_all(stats), moved;

	for (size_t i = 0; i < NR_COUNTERS; i++) {
		sample->counters[i] = keys[i] != NULL ? get_u64(stats, keys[i]) : 0;
	}
	moved = sample->counters[READ_OPS] + sample->counters[WRITE_OPS];
	sample->counters[OTHER_OPS] = all > moved ? all - moved : 0;
	sample->counters[ERRORS] = get_u64(json_object_get(stats, "io_error"), "all");
	sample->queue_depth = get_u64(stats, "queue_depth");
}

/* The buckets of the node's histogram, when they are like ours and count nanoseconds. */
static bool read_buckets(json_t *histogram, uint64_t buckets[XU_HIST_BUCKETS])
{
	size_t len = 0;
	uint8_t *bytes;

	if (get_u64(histogram, "bucket_shift") != XU_HIST_SUB_BITS ||
		get_u64(histogram, "tsc_rate") != XU_NS_PER_S) {
		return false;
	}
	bytes = xu_base64_decode(get_text(histogram, "histogram"), &len);
	if (bytes == NULL || len < XU_HIST_BUCKETS * sizeof(uint64_t)) {
		free(bytes);
		return false;
	}
	for (size_t i = 0; i < XU_HIST_BUCKETS; i++) {
		buckets[i] = 0;
		for (size_t k = 0; k < sizeof(uint64_t); k++) {
			buckets[i] |= (uint64_t)bytes[8 * i + k] << (8 * k);
		}
	}
	free(bytes);
	return true;
}

/* Nodes without histograms, and devices that have just gone, leave no latency to show. */
static enum cli_exit sample_histogram(struct watch *watch, struct device *device)
{
	json_t *histogram;
	enum cli_exit rc = cli_try(watch->cli, "bdev_get_histogram",
		json_pack("{s:s}", "name", device->name), &histogram);

	device->now.has_hist = rc == CLI_OK && read_buckets(histogram, device->now.buckets);
	json_decref(histogram);
	return rc == CLI_UNREACHABLE ? rc : CLI_OK;
}

static struct device *find_device(struct watch *watch, const char *name)
{
	struct device *devices;

	for (size_t i = 0; i < watch->nr_devices; i++) {
		if (strcmp(watch->devices[i].name, name) == 0) {
			return &watch->devices[i];
		}
	}
	devices = realloc(watch->devices, (watch->nr_devices + 1) * sizeof(*devices));
	if (devices == NULL) {
		return NULL;
	}
	watch->devices = devices;
	devices += watch->nr_devices;
	memset(devices, 0, sizeof(*devices));
	devices->name = strdup(name);
	watch->nr_devices += devices->name != NULL;
	return devices->name != NULL ? devices : NULL;
}

static enum cli_exit sample_device(struct watch *watch, json_t *stats)
{
	struct device *device = find_device(watch, get_text(stats, "name"));

	if (device == NULL) {
		cli_say(watch->cli, "out of memory");
		return CLI_REFUSED;
	}
	device->is_seen = true;
	device->now.ticks = watch->ticks;
	read_counters(stats, &device->now);
	return sample_histogram(watch, device);
}

/* Samples one device, or all when `name` is NULL. */
static enum cli_exit sample(struct watch *watch, const char *name)
{
	json_t *result, *stats;
	enum cli_exit rc = cli_call(watch->cli, "bdev_get_iostat",
		name != NULL ? json_pack("{s:s}", "name", name) : NULL, &result);
	size_t i;

	if (rc == CLI_OK) {
		watch->tick_rate = get_number(result, "tick_rate");
		watch->ticks = get_number(result, "ticks");
	}
	json_array_foreach (json_object_get(result, "bdevs"), i, stats) {
		rc = rc == CLI_OK ? sample_device(watch, stats) : rc;
	}
	json_decref(result);
	return rc;
}

static enum cli_exit sample_all(struct watch *watch)
{
	struct cli *cli = watch->cli;
	enum cli_exit rc = cli->nr_words == 0 ? sample(watch, NULL) : CLI_OK;

	for (size_t i = 0; i < cli->nr_words && rc == CLI_OK; i++) {
		rc = sample(watch, cli->words[i]);
	}
	return rc;
}

/* What was now is before; devices that were not seen are forgotten. */
static void turn(struct watch *watch)
{
	size_t kept = 0;

	for (size_t i = 0; i < watch->nr_devices; i++) {
		struct device *device = &watch->devices[i];

		if (!device->is_seen) {
			free(device->name);
			continue;
		}
		device->before = device->now;
		device->has_before = true;
		device->is_seen = false;
		watch->devices[kept++] = *device;
	}
	watch->nr_devices = kept;
}

/* ---- rates ---- */

struct rates {
	double seconds; /* between the samples */
	double per_s[NR_COUNTERS];
	double read_ns, write_ns;
	uint64_t p99_ns;
	bool has_p99;
	uint64_t errors;
};

/* Counters that were reset in between have grown from zero. */
static uint64_t grown(uint64_t before, uint64_t now)
{
	return now >= before ? now - before : now;
}

static void set_p99(const struct device *device, struct rates *rates)
{
	struct xu_hist *hist;

	rates->has_p99 = device->before.has_hist && device->now.has_hist;
	hist = rates->has_p99 ? calloc(1, sizeof(*hist)) : NULL;
	if (hist == NULL) {
		rates->has_p99 = false;
		return;
	}
	for (uint32_t i = 0; i < XU_HIST_BUCKETS; i++) {
		hist->buckets[i] = grown(device->before.buckets[i], device->now.buckets[i]);
		hist->count += hist->buckets[i];
		hist->max_ns = hist->buckets[i] != 0 ? xu_hist_bucket_max_ns(i) : hist->max_ns;
	}
	rates->p99_ns = xu_hist_percentile_ns(hist, 99);
	rates->has_p99 = hist->count != 0;
	free(hist);
}

static struct rates rates_of(const struct watch *watch, const struct device *device)
{
	uint64_t by[NR_COUNTERS];
	struct rates rates = {0};

	if (watch->tick_rate > 0) {
		rates.seconds = (device->now.ticks - device->before.ticks) / watch->tick_rate;
	}
	for (size_t i = 0; i < NR_COUNTERS; i++) {
		by[i] = grown(device->before.counters[i], device->now.counters[i]);
		rates.per_s[i] = rates.seconds > 0 ? (double)by[i] / rates.seconds : 0;
	}
	if (by[READ_OPS] != 0 && watch->tick_rate > 0) {
		rates.read_ns = (double)by[READ_TICKS] / (double)by[READ_OPS] * XU_NS_PER_S /
				watch->tick_rate;
	}
	if (by[WRITE_OPS] != 0 && watch->tick_rate > 0) {
		rates.write_ns = (double)by[WRITE_TICKS] / (double)by[WRITE_OPS] * XU_NS_PER_S /
				 watch->tick_rate;
	}
	rates.errors = by[ERRORS];
	set_p99(device, &rates);
	return rates;
}

/* ---- reports ---- */

static void report_table(const struct watch *watch)
{
	static const struct table_column columns[] = {{"DEVICE"}, {"READ/S", true},
		{"WRITE/S", true}, {"OTHER/S", true}, {"READ MIB/S", true}, {"WRITE MIB/S", true},
		{"READ AVG", true}, {"WRITE AVG", true}, {"P99", true}, {"DEPTH", true},
		{"ERRORS", true}, {0}};
	struct table *table = table_new(columns);

	for (size_t i = 0; i < watch->nr_devices; i++) {
		const struct device *device = &watch->devices[i];
		struct rates rates = rates_of(watch, device);

		if (!device->has_before || !device->is_seen) {
			continue;
		}
		table_text(table, device->name);
		table_rate(table, rates.per_s[READ_OPS]);
		table_rate(table, rates.per_s[WRITE_OPS]);
		table_rate(table, rates.per_s[OTHER_OPS]);
		table_rate(table, rates.per_s[READ_BYTES] / MIB);
		table_rate(table, rates.per_s[WRITE_BYTES] / MIB);
		table_ns(table, (uint64_t)rates.read_ns);
		table_ns(table, (uint64_t)rates.write_ns);
		if (rates.has_p99) {
			table_ns(table, rates.p99_ns);
		} else {
			table_text(table, NULL);
		}
		table_format(table, "%" PRIu64, device->now.queue_depth);
		table_format(table, "%" PRIu64, rates.errors);
	}
	table_finish(table, "there are no devices");
}

/* One line for each report. */
static void report_json(const struct watch *watch)
{
	json_t *list = json_array(), *report;

	for (size_t i = 0; i < watch->nr_devices; i++) {
		const struct device *device = &watch->devices[i];
		struct rates r = rates_of(watch, device);

		if (!device->has_before || !device->is_seen) {
			continue;
		}
		json_array_append_new(list,
			json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:I, s:I}",
				"name", device->name, "seconds", r.seconds, "reads_per_s",
				r.per_s[READ_OPS], "writes_per_s", r.per_s[WRITE_OPS],
				"others_per_s", r.per_s[OTHER_OPS], "read_bytes_per_s",
				r.per_s[READ_BYTES], "write_bytes_per_s", r.per_s[WRITE_BYTES],
				"read_mean_ns", r.read_ns, "write_mean_ns", r.write_ns, "p99_ns",
				r.has_p99 ? json_integer((json_int_t)r.p99_ns) : json_null(),
				"queue_depth", (json_int_t)device->now.queue_depth, "errors",
				(json_int_t)r.errors));
	}
	report = json_pack("{s:o}", "devices", list);
	json_dumpf(report, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(report);
}

/* Sleeps until the next report's time, which moves on. Reports that were missed (the process was
 * stopped, the node was slow) are not made up for. */
static void sleep_until_next(uint64_t *next_ns, uint64_t interval_ns)
{
	uint64_t now_ns = xu_clock_now_ns(xu_clock_system());
	struct timespec until;

	*next_ns += interval_ns;
	if (*next_ns < now_ns + interval_ns / 2) {
		*next_ns = now_ns + interval_ns;
	}
	until.tv_sec = (time_t)(*next_ns / XU_NS_PER_S);
	until.tv_nsec = (long)(*next_ns % XU_NS_PER_S);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
	}
}

static enum cli_exit watch_devices(struct watch *watch, uint64_t interval_ms, uint64_t count)
{
	enum cli_exit rc = sample_all(watch);
	uint64_t next_ns = xu_clock_now_ns(xu_clock_system());

	for (uint64_t i = 0; rc == CLI_OK && (count == 0 || i < count) && !ferror(stdout); i++) {
		turn(watch);
		sleep_until_next(&next_ns, interval_ms * XU_NS_PER_MS);
		rc = sample_all(watch);
		if (rc != CLI_OK) {
			break;
		}
		if (watch->cli->is_json) {
			report_json(watch);
		} else {
			fputs(i > 0 ? "\n" : "", stdout);
			report_table(watch);
		}
		fflush(stdout);
	}
	return rc;
}

/* ---- the command ---- */

static const struct cli_arg args[] = {
	{"DEVICE", "name or UUID of a device (default: all)", CLI_DEVICES, .is_optional = true,
		.is_repeated = true},
	{0},
};

static const struct cli_option options[] = {
	{"interval", 'i', "SECONDS", "time between reports (default 1)"},
	{"count", 'n', "COUNT", "how many reports (default: until interrupted)"},
	{0},
};

static enum cli_exit run(struct cli *cli)
{
	const char *interval = cli_option(cli, "interval"), *count_text = cli_option(cli, "count");
	struct watch watch = {.cli = cli};
	uint64_t interval_ms = 1000, count = 0;
	enum cli_exit rc = CLI_OK;

	if (interval != NULL) {
		rc = cli_parse_seconds(cli, "--interval", interval, 100, 86400000, &interval_ms);
	}
	if (rc == CLI_OK && count_text != NULL) {
		rc = cli_parse_u64(cli, "--count", count_text, 1, UINT32_MAX, &count);
	}
	if (rc == CLI_OK) {
		rc = watch_devices(&watch, interval_ms, count);
	}
	for (size_t i = 0; i < watch.nr_devices; i++) {
		free(watch.devices[i].name);
	}
	free(watch.devices);
	return rc;
}

const struct cli_command cli_iostat = {
	.name = "iostat",
	.help = "Shows live what devices do: operations, bytes, latencies, queue depth.",
	.about =
		"Averages are of reads and of writes, P99 is of all operations: 99 of 100 took no\n"
		"longer. DEPTH is how many are in flight at the end of the interval. With --json\n"
		"each report is one line.",
	.args = args,
	.options = options,
	.run = run,
};
