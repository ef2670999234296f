/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of xbdev-perf. An option is an entry of one table, from which it is read and
 * explained; packaging/man/xbdev-perf.1 describes the same ones.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/number.h"
#include "perf/perf.h"

#define MAX_BS (64u << 20)

struct option_entry {
	const char *name;
	const char *arg; /* what --help calls the argument; NULL: it has none */
	const char *help;
	bool (*set)(struct perf_options *o, const char *text);
};

/* ---- each option ---- */

static bool set_device(struct perf_options *o, const char *text)
{
	if (o->nr_devices == PERF_MAX_DEVICES) {
		return false;
	}
	o->devices[o->nr_devices++] = text;
	return true;
}

static bool set_config(struct perf_options *o, const char *text)
{
	o->config = text;
	return true;
}

static bool set_rw(struct perf_options *o, const char *text)
{
	static const struct {
		const char *name;
		bool is_random;
		uint32_t read_percent;
	} loads[] = {
		{"read", false, 100},
		{"write", false, 0},
		{"rw", false, 50},
		{"randread", true, 100},
		{"randwrite", true, 0},
		{"randrw", true, 50},
	};

	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		if (strcmp(loads[i].name, text) == 0) {
			o->rw = loads[i].name;
			o->is_random = loads[i].is_random;
			o->read_percent = loads[i].read_percent;
			return true;
		}
	}
	return false;
}

static bool set_u32(const char *text, uint64_t min, uint64_t max, uint32_t *ret_number)
{
	uint64_t number;

	if (!tool_parse_number(text, min, max, &number)) {
		return false;
	}
	*ret_number = (uint32_t)number;
	return true;
}

/* Applied when everything has been read: --rw may come later. */
static uint32_t mix_percent;
static bool has_mix;

static bool set_rwmixread(struct perf_options *o, const char *text)
{
	has_mix = set_u32(text, 0, 100, &mix_percent);
	return has_mix;
}

static bool set_bs(struct perf_options *o, const char *text)
{
	uint64_t bytes;

	if (!tool_parse_size(text, &bytes, NULL) || bytes == 0 || bytes > MAX_BS) {
		return false;
	}
	o->bs = (uint32_t)bytes;
	return true;
}

static bool set_iodepth(struct perf_options *o, const char *text)
{
	return set_u32(text, 1, PERF_MAX_DEPTH, &o->depth);
}

static bool set_jobs(struct perf_options *o, const char *text)
{
	return set_u32(text, 1, PERF_MAX_JOBS, &o->nr_jobs);
}

static bool set_runtime(struct perf_options *o, const char *text)
{
	return tool_parse_time(text, &o->runtime_ns) && o->runtime_ns != 0;
}

static bool set_offset(struct perf_options *o, const char *text)
{
	return tool_parse_size(text, &o->offset, NULL);
}

static bool set_size(struct perf_options *o, const char *text)
{
	return tool_parse_size(text, &o->size, NULL) && o->size != 0;
}

static bool set_io_size(struct perf_options *o, const char *text)
{
	return tool_parse_size(text, &o->io_bytes, NULL) && o->io_bytes != 0;
}

static bool set_fill(struct perf_options *o, const char *text)
{
	o->fills = true;
	return true;
}

static bool set_verify(struct perf_options *o, const char *text)
{
	o->verifies = strcmp(text, "crc32c") == 0;
	return o->verifies;
}

static bool set_rate_iops(struct perf_options *o, const char *text)
{
	return tool_parse_number(text, 1, 1000000000, &o->rate_iops);
}

static bool set_rate(struct perf_options *o, const char *text)
{
	return tool_parse_size(text, &o->rate_bytes, NULL) && o->rate_bytes != 0;
}

static bool set_seed(struct perf_options *o, const char *text)
{
	return tool_parse_number(text, 0, UINT64_MAX, &o->seed);
}

static bool set_mode(struct perf_options *o, const char *text)
{
	static const char *const modes[] = {
		[PERF_QUEUE] = "queue", [PERF_SYNC] = "sync", [PERF_EMBEDDED] = "embedded"};

	for (uint32_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i], text) == 0) {
			o->mode = (enum perf_mode)i;
			return true;
		}
	}
	return false;
}

static bool set_reactors(struct perf_options *o, const char *text)
{
	return set_u32(text, 1, 64, &o->library.nr_reactors);
}

static bool set_spin(struct perf_options *o, const char *text)
{
	o->library.has_spin = true;
	return set_u32(text, 0, 1000000, &o->library.spin_us);
}

static bool set_cpus(struct perf_options *o, const char *text)
{
	o->library.nr_cpus = tool_parse_cpus(text, o->library.cpus, TOOL_MAX_CPUS);
	return o->library.nr_cpus != 0;
}

static bool set_job_cpus(struct perf_options *o, const char *text)
{
	o->nr_job_cpus = tool_parse_cpus(text, o->job_cpus, TOOL_MAX_CPUS);
	return o->nr_job_cpus != 0;
}

static bool set_json(struct perf_options *o, const char *text)
{
	o->is_json = true;
	return true;
}

static bool set_quiet(struct perf_options *o, const char *text)
{
	o->is_quiet = true;
	return true;
}

static const struct option_entry entries[] = {
	{"device", "DEVICE", "what to load; may be given several times", set_device},
	{"filename", "DEVICE", "the same", set_device},
	{"config", "FILE", "make the devices of a configuration first", set_config},
	{"rw", "LOAD", "read, write, rw, randread, randwrite or randrw (read)", set_rw},
	{"rwmixread", "PERCENT", "reads among the I/Os of rw and randrw (50)", set_rwmixread},
	{"bs", "SIZE", "bytes of an I/O (4KiB)", set_bs},
	{"iodepth", "N", "I/Os of a job in flight (1)", set_iodepth},
	{"jobs", "N", "threads for each device (1)", set_jobs},
	{"runtime", "TIME", "end after 10, 10s, 500ms, 2m (when --io-size is done)", set_runtime},
	{"offset", "SIZE", "first byte of the device that is used (0)", set_offset},
	{"size", "SIZE", "how much of the device is used (all behind --offset)", set_size},
	{"io-size", "SIZE", "bytes that a job transfers (its region once)", set_io_size},
	{"fill", NULL, "write the region once before anything is measured", set_fill},
	{"verify", "crc32c", "write blocks that can be checked, and check what is read",
		set_verify},
	{"rate-iops", "N", "no more I/Os per second, all jobs together", set_rate_iops},
	{"rate", "SIZE", "no more bytes per second, all jobs together", set_rate},
	{"seed", "N", "begin of the random offsets (1)", set_seed},
	{"mode", "MODE",
		"queue: I/O through rings; sync: blocking calls; embedded: the job\n"
		"                       runs the reactor itself (queue)",
		set_mode},
	{"reactors", "N", "threads of the library (1, or one for each of --cpus)", set_reactors},
	{"spin-us", "N", "longest spin of a reactor before it sleeps; 0: none (20)", set_spin},
	{"cpus", "LIST", "CPUs of the reactors: 0,2-3", set_cpus},
	{"job-cpus", "LIST", "CPUs of the jobs, in turn", set_job_cpus},
	{"json", NULL, "print the result as JSON", set_json},
	{"quiet", NULL, "no progress line", set_quiet},
	{"version", NULL, "print the version", NULL},
	{"help", NULL, "print this", NULL},
};
#define NR_ENTRIES (sizeof(entries) / sizeof(entries[0]))

static void print_help(void)
{
	puts("usage: xbdev-perf [options] DEVICE...\n"
	     "Loads block devices of libxbdev and tells how fast they are.\n"
	     "DEVICE: a name of the configuration, malloc:512MiB, null:1TiB, file:PATH, or a "
	     "path.\n");
	for (size_t i = 0; i < NR_ENTRIES; i++) {
		char name[40];

		snprintf(name, sizeof(name), "--%s%s%s", entries[i].name,
			entries[i].arg != NULL ? " " : "",
			entries[i].arg != NULL ? entries[i].arg : "");
		printf("  %-20s %s\n", name, entries[i].help);
	}
	puts("\nexit status: 0 done, 1 cannot start, 2 wrong command line, 3 an I/O failed,\n"
	     "4 wrong data was read back, 130 interrupted (what was measured is printed)");
}

/* ---- all together ---- */

static bool check(const struct perf_options *o)
{
	if (o->nr_devices == 0) {
		tool_say("no device is named; see --help");
	} else if (o->nr_devices * o->nr_jobs > PERF_MAX_JOBS) {
		tool_say("%u jobs for each of %u devices; %u in all are possible", o->nr_jobs,
			o->nr_devices, PERF_MAX_JOBS);
	} else if (o->mode == PERF_SYNC && o->depth != 1) {
		tool_say("--mode sync has one I/O of a job in flight: use --jobs, not --iodepth");
	} else if (o->mode == PERF_EMBEDDED && o->nr_devices * o->nr_jobs != 1) {
		tool_say("--mode embedded has one job, which runs the reactor: one device, no "
			 "--jobs");
	} else if (has_mix && (o->read_percent == 0 || o->read_percent == 100)) {
		tool_say("--rwmixread is for --rw rw and --rw randrw");
	} else if (o->verifies && (o->bs < 512 || o->bs % 8 != 0)) {
		tool_say("--verify needs a --bs of 512 bytes at least");
	} else {
		return true;
	}
	return false;
}

static bool apply(
	struct perf_options *o, const struct option_entry *entry, const char *text, int *ret_exit)
{
	if (entry->set == NULL) {
		if (strcmp(entry->name, "help") == 0) {
			print_help();
		} else {
			printf("xbdev-perf %s\n", xbdev_version());
		}
		*ret_exit = TOOL_OK;
		return false;
	}
	if (!entry->set(o, text)) {
		tool_say("--%s: '%s' is not possible; see --help", entry->name, text);
		*ret_exit = TOOL_USAGE;
		return false;
	}
	return true;
}

bool perf_options_parse(struct perf_options *o, int argc, char **argv, int *ret_exit)
{
	struct option options[NR_ENTRIES + 1] = {0};
	int index = 0, c;

	*o = (struct perf_options){
		.rw = "read", .read_percent = 100, .bs = 4096, .depth = 1, .nr_jobs = 1, .seed = 1};
	for (size_t i = 0; i < NR_ENTRIES; i++) {
		options[i].name = entries[i].name;
		options[i].has_arg = entries[i].arg != NULL ? required_argument : no_argument;
	}
	while ((c = getopt_long(argc, argv, "h", options, &index)) != -1) {
		if (c == 'h') {
			index = NR_ENTRIES - 1;
		} else if (c != 0) {
			*ret_exit = TOOL_USAGE;
			return false;
		}
		if (!apply(o, &entries[index], optarg, ret_exit)) {
			return false;
		}
	}
	*ret_exit = TOOL_USAGE;
	for (; optind < argc; optind++) {
		if (!set_device(o, argv[optind])) {
			tool_say("more than %u devices", PERF_MAX_DEVICES);
			return false;
		}
	}
	if (!check(o)) {
		return false;
	}
	if (has_mix) {
		o->read_percent = mix_percent;
	}
	return true;
}
