/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-parity: the parity of rows of buffers and nothing else, which is the limit for RAID's
 * writes and rebuilds; or plain copies of the same data beside it. Rows follow each other through a
 * region: a small one stays in the caches, a large one comes from memory. Prints one line of JSON:
 * rows per second, GiB of data per second (parity not counted), CPU nanoseconds per row.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/size.h"
#include "lib/xbdev/raid/parity.h"

#define DATA_MAX 30u

struct bench {
	uint32_t nr_data;
	uint64_t len; /* bytes of a buffer */
	uint64_t region_bytes;
	size_t shift; /* bytes by which buffers are off an aligned address */
	double seconds;
};

/* One row: its data and behind it as many buffers of results as there is data. */
struct row {
	void *data[DATA_MAX];
	void *results[DATA_MAX];
	uint8_t exponents[DATA_MAX];
	uint32_t nr_data;
	size_t len;
};

static void do_memcpy(struct row *row)
{
	for (uint32_t i = 0; i < row->nr_data; i++) {
		memcpy(row->results[i], row->data[i], row->len);
	}
}

static void do_xor(struct row *row)
{
	xbdev__md_xor(row->results[0], row->data, row->nr_data, row->len);
}

static void do_pq(struct row *row)
{
	xbdev__md_pq(row->results[0], row->results[1], row->data, row->exponents, row->nr_data,
		row->len);
}

static void do_recover(struct row *row)
{
	static const uint32_t missing[] = {0, 1};

	xbdev__md_recover(row->results[0], row->results[1], row->data, row->exponents, row->nr_data,
		missing, 2, row->len);
}

static const struct {
	const char *name;
	void (*run)(struct row *row);
} works[] = {
	{"memcpy", do_memcpy},
	{"xor", do_xor},
	{"pq", do_pq},
	{"recover", do_recover},
};

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

static void place(const struct bench *b, char *region, uint64_t index, struct row *row)
{
	char *at = region + index * 2 * b->nr_data * b->len + b->shift;

	for (uint32_t i = 0; i < b->nr_data; i++) {
		row->data[i] = at + i * b->len;
		row->results[i] = at + (b->nr_data + i) * b->len;
	}
}

static void run(const struct bench *b, void (*work)(struct row *row))
{
	uint64_t nr_rows = b->region_bytes / (2 * b->nr_data * b->len), done = 0;
	const struct xu_clock *clock = xu_clock_system();
	struct row row = {.nr_data = b->nr_data, .len = b->len};
	size_t size = nr_rows * 2 * b->nr_data * b->len + b->shift;
	char *region = xu_buf_alloc(size);
	uint64_t start_ns, end_ns;
	double cpu, rows_per_s;

	if (region == NULL) {
		fprintf(stderr, "bench-parity: out of memory\n");
		exit(1);
	}
	for (size_t i = 0; i < size; i++) {
		region[i] = (char)(i * 251 >> 7);
	}
	for (uint32_t i = 0; i < b->nr_data; i++) {
		row.exponents[i] = (uint8_t)i;
	}
	start_ns = xu_clock_now_ns(clock);
	cpu = cpu_ns();
	do {
		for (uint32_t i = 0; i < 64; i++, done++) {
			place(b, region, done % nr_rows, &row);
			work(&row);
			__asm__ volatile("" : : "r"(region) : "memory");
		}
		end_ns = xu_clock_now_ns(clock);
	} while (end_ns - start_ns < (uint64_t)(b->seconds * 1e9));
	cpu = cpu_ns() - cpu;
	rows_per_s = (double)done * 1e9 / (double)(end_ns - start_ns);
	printf("{\"iops\": %.0f, \"gib_per_s\": %.2f, \"cpu_ns_per_io\": %.0f}\n", rows_per_s,
		rows_per_s * (double)(b->nr_data * b->len) / (double)(1 << 30), cpu / (double)done);
	xu_buf_free(region, size);
}

static const char usage[] = "usage: bench-parity [options] memcpy|xor|pq|recover\n"
			    "  --data N       buffers of data in a row, default 4\n"
			    "  --bs SIZE      of each, a multiple of 512 B, default 64KiB\n"
			    "  --region SIZE  memory that the rows pass through, default 512KiB, "
			    "in the caches; one row or more\n"
			    "  --shift BYTES  buffers are that far off an aligned address\n"
			    "  --seconds S    default 3\n";

static bool parse_option(struct bench *b, int option, const char *text)
{
	switch (option) {
	case 'd':
		b->nr_data = (uint32_t)atoi(text);
		return b->nr_data >= 2 && b->nr_data <= DATA_MAX;
	case 'b':
		return xu_size_parse(text, &b->len) == 0 && b->len > 0 && b->len % 512 == 0 &&
		       b->len <= 1u << 30;
	case 'r':
		return xu_size_parse(text, &b->region_bytes) == 0;
	case 's':
		b->seconds = atof(text);
		return true;
	case 'x':
		b->shift = (size_t)atoi(text);
		return b->shift < 4096;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"data", 1, NULL, 'd'}, {"bs", 1, NULL, 'b'},
		{"region", 1, NULL, 'r'}, {"seconds", 1, NULL, 's'}, {"shift", 1, NULL, 'x'},
		{"help", 0, NULL, 'h'}, {0}};
	struct bench b = {.nr_data = 4, .len = 64 << 10, .region_bytes = 512 << 10, .seconds = 3};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (!parse_option(&b, c, optarg)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (b.region_bytes < 2 * b.nr_data * b.len) {
		b.region_bytes = 2 * b.nr_data * b.len;
	}
	for (size_t i = 0; optind == argc - 1 && i < sizeof(works) / sizeof(works[0]); i++) {
		if (strcmp(works[i].name, argv[optind]) == 0) {
			run(&b, works[i].run);
			return 0;
		}
	}
	fputs(usage, stderr);
	return 2;
}
