/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-lvol: what is done with logical volumes besides I/O, on a device in memory, by the
 * benchmark's own thread. Prints one line of JSON.
 *
 *   bench-lvol snapshots [--size SIZE] [--count N]   the time that each of the last ten snapshots
 * of a thin volume took, its chain N long bench-lvol load [--count N]                      the time
 * to load a store of N thin volumes, and the memory that it takes
 */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/volume.h"
#include "lib/util/clock.h"
#include "lib/util/size.h"
#include "lib/xbdev/driver/driver.h"

#define CLUSTER (64u << 10)

struct what {
	uint64_t size;
	uint32_t count;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	if (dev == NULL) {
		fprintf(stderr, "bench-lvol: %s\n", err->text);
		exit(1);
	}
	*(bool *)arg = true;
}

static void make_memory(struct xbdev_ctx *ctx)
{
	json_t *params = json_pack("{s:s, s:s}", "name", "memory", "size", "1GiB");
	char path[XU_PARAM_PATH_SIZE];
	bool is_done = false;

	xbdev_device_create(ctx, xbdev_driver_find("malloc"), params, path, on_created, &is_done);
	while (!is_done) {
		xr_reactor_poll(xbdev_ctx_control(ctx), XU_NS_PER_MS);
	}
	json_decref(params);
}

static uint64_t now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

static void snapshots(struct bench_pool *pool, const struct what *what)
{
	uint32_t begin = what->count > 10 ? what->count - 10 : 0;
	uint64_t ns = 0;

	bench_volume_create(pool, "v", what->size, true);
	for (uint32_t i = 0; i < what->count; i++) {
		uint64_t start_ns = now_ns();
		char name[32];

		snprintf(name, sizeof(name), "s%u", i);
		bench_volume_snapshot(pool, "v", name);
		ns += i >= begin ? now_ns() - start_ns : 0;
	}
	ns /= what->count - begin;
	printf("{\"iops\": %.0f, \"us\": %.1f, \"cpu_ns_per_io\": %llu}\n", 1e9 / (double)ns,
		(double)ns / 1e3, (unsigned long long)ns);
}

static void load(struct bench_pool *pool, const struct what *what)
{
	uint64_t ns;
	size_t bytes;

	for (uint32_t i = 0; i < what->count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "v%u", i);
		bench_volume_create(pool, name, what->size, true);
	}
	bench_pool_stop(pool);
	malloc_trim(0);
	bytes = mallinfo2().uordblks;
	ns = now_ns();
	bench_pool_load(pool, "memory");
	ns = now_ns() - ns;
	bytes = mallinfo2().uordblks - bytes;
	printf("{\"iops\": %.0f, \"ms\": %.1f, \"cpu_ns_per_io\": %.0f, \"bytes_per_volume\": "
	       "%zu}\n",
		what->count * 1e9 / (double)ns, (double)ns / 1e6, (double)ns / what->count,
		bytes / what->count);
}

static const char usage[] =
	"usage: bench-lvol snapshots|load [--size SIZE] [--count N] [--seconds IGNORED]\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"size", 1, NULL, 's'}, {"count", 1, NULL, 'c'}, {"seconds", 1, NULL, 'i'}, {0}};
	const struct xbdev_ctx_opts opts = {.spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};
	struct what what = {.size = 1ull << 30, .count = 20};
	struct bench_pool pool;
	struct xbdev_ctx *ctx;
	struct xu_error err;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c') {
			what.count = (uint32_t)atoi(optarg);
		} else if (c == '?' || (c == 's' && xu_size_parse(optarg, &what.size) != 0)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc - 1 || what.count == 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (xbdev_ctx_new(&opts, &ctx, &err) != 0) {
		fprintf(stderr, "bench-lvol: %s\n", err.text);
		return 1;
	}
	make_memory(ctx);
	bench_pool_start(&pool, ctx, "memory", CLUSTER);
	if (strcmp(argv[optind], "load") == 0) {
		load(&pool, &what);
	} else {
		snapshots(&pool, &what);
	}
	xbdev_device_remove_all(ctx);
	while (xbdev_device_next(ctx, NULL) != NULL) {
		xr_reactor_poll(xbdev_ctx_control(ctx), XU_NS_PER_MS);
	}
	xbdev_ctx_free(ctx);
	return 0;
}
