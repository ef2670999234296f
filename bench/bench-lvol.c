/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-lvol: what is done with logical volumes besides I/O, on a device in memory, by the
 * benchmark's own thread. Prints one line of JSON.
 *
 *   bench-lvol snapshots [--size SIZE] [--count N]
 *   bench-lvol load [--count N]
 *   bench-lvol first-writes|bare [--size SIZE] [--count N] [--depth N]
 *                              [--block SIZE] [--sequential]
 *
 * snapshots: the time that each of the last ten snapshots of a thin volume took, its chain N long.
 * load: the time to load a store of N thin volumes, and the memory that it takes. first-writes:
 * 4 KiB into each of N clusters of a thin volume that have none yet, in random order or in theirs;
 * what the device with blocks of so many bytes did for each of them besides the data. bare: the
 * same writes to the device itself. Whatever fails ends the program.
 */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/volume.h"
#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/random.h"
#include "lib/util/size.h"
#include "lib/xbdev/driver/driver.h"

#define CLUSTER     (64u << 10)
#define DATA_BYTES  4096u
#define DEPTH_MAX   1024u
#define MEMORY_SIZE (1ull << 30)

struct what {
	uint64_t size;
	uint32_t count;
	uint32_t depth;
	uint64_t block_size;
	bool is_sequential;
};

/* N writes of DATA_BYTES, each at its own place. */
struct writes {
	struct xbdev_channel *ch;
	uint64_t *offsets;
	uint32_t nr, next, nr_done;
};

struct slot {
	struct xbdev_io io;
	struct iovec iov;
	struct writes *writes;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	if (dev == NULL) {
		fprintf(stderr, "bench-lvol: %s\n", err->text);
		exit(1);
	}
	*(bool *)arg = true;
}

static void make_memory(struct xbdev_ctx *ctx, uint64_t block_size)
{
	json_t *params = json_pack("{s:s, s:I, s:I}", "name", "memory", "size",
		(json_int_t)MEMORY_SIZE, "block_size", (json_int_t)block_size);
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

/* ---- first writes ---- */

static void issue(struct slot *slot)
{
	struct writes *writes = slot->writes;

	if (writes->next == writes->nr) {
		return;
	}
	slot->io.offset = writes->offsets[writes->next++];
	if (xbdev_io_submit(&slot->io) != 0) {
		fprintf(stderr, "bench-lvol: a write was refused\n");
		exit(1);
	}
}

static void on_written(struct xbdev_io *io, int status)
{
	struct slot *slot = xu_container_of(io, struct slot, io);

	if (status != 0) {
		fprintf(stderr, "bench-lvol: writing: %s\n", strerror(-status));
		exit(1);
	}
	slot->writes->nr_done++;
	issue(slot);
}

/* Of each cluster one place, random as their order is; sequential: where they begin. */
static uint64_t *make_offsets(const struct what *what, uint64_t size)
{
	uint64_t nr = size / CLUSTER;
	uint64_t *offsets = calloc(nr, sizeof(*offsets));
	struct xu_random random;

	if (offsets == NULL || nr < what->count) {
		fprintf(stderr, "bench-lvol: there are no %u clusters to write\n", what->count);
		exit(1);
	}
	xu_random_seed(&random, 1);
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t other = what->is_sequential ? i : xu_random_below(&random, i + 1);

		offsets[i] = offsets[other];
		offsets[other] = i * CLUSTER;
		if (!what->is_sequential) {
			offsets[other] +=
				DATA_BYTES * xu_random_below(&random, CLUSTER / DATA_BYTES);
		}
	}
	return offsets;
}

static void write_all(struct xbdev_ctx *ctx, struct writes *writes, uint32_t depth)
{
	struct slot *slots = calloc(depth, sizeof(*slots));
	char *data = xu_buf_alloc(DATA_BYTES);

	if (slots == NULL || data == NULL) {
		fprintf(stderr, "bench-lvol: out of memory\n");
		exit(1);
	}
	memset(data, 0x5a, DATA_BYTES);
	for (uint32_t i = 0; i < depth; i++) {
		slots[i].writes = writes;
		slots[i].iov = (struct iovec){data, DATA_BYTES};
		slots[i].io = (struct xbdev_io){.ch = writes->ch,
			.cb = on_written,
			.op = XBDEV_OP_WRITE,
			.iov = &slots[i].iov,
			.nr_iov = 1,
			.len = DATA_BYTES};
		issue(&slots[i]);
	}
	while (writes->nr_done < writes->nr) {
		xr_reactor_poll(xbdev_ctx_control(ctx), XU_NS_PER_MS);
	}
	xu_buf_free(data, DATA_BYTES);
	free(slots);
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	memcpy(arg, stats, sizeof(*stats));
}

/* What the device has done since it was asked last. */
static const struct xbdev_stats *take_stats(struct xbdev_ctx *ctx)
{
	static struct xbdev_stats stats;

	xbdev_device_stats(xbdev_device_find(ctx, "memory"), true, on_stats, &stats);
	for (uint32_t i = 0; i < 16; i++) {
		xr_reactor_poll(xbdev_ctx_control(ctx), 0);
	}
	return &stats;
}

static void report_writes(const struct xbdev_stats *stats, double ns, double cpu_ns, double nr)
{
	const struct xbdev_op_stats *writes = &stats->ops[XBDEV_OP_WRITE];
	const struct xbdev_op_stats *zeroes = &stats->ops[XBDEV_OP_WRITE_ZEROES];

	printf("{\"iops\": %.0f, \"cpu_ns_per_io\": %.0f, \"md_writes\": %.3f, \"md_bytes\": "
	       "%.0f, \"flushes\": %.3f, \"reads\": %.3f, \"zeroes\": %.3f, "
	       "\"zeroed_bytes\": %.0f}\n",
		nr * 1e9 / ns, cpu_ns / nr, (double)writes->latency.count / nr - 1,
		(double)writes->bytes / nr - DATA_BYTES,
		(double)stats->ops[XBDEV_OP_FLUSH].latency.count / nr,
		(double)stats->ops[XBDEV_OP_READ].latency.count / nr,
		(double)zeroes->latency.count / nr, (double)zeroes->bytes / nr);
}

static void write_device(struct xbdev_ctx *ctx, const char *name, const struct what *what)
{
	struct writes writes = {.nr = what->count};
	struct xbdev_desc *desc;
	struct xu_error err;
	uint64_t ns;
	clock_t cpu;

	if (xbdev_desc_open(ctx, name, true, NULL, NULL, &desc, &err) != 0 ||
		xbdev_channel_get(desc, xbdev_ctx_control(ctx), &writes.ch) != 0) {
		fprintf(stderr, "bench-lvol: device '%s' cannot be opened\n", name);
		exit(1);
	}
	writes.offsets = make_offsets(what, xbdev_device_size_bytes(desc->dev));
	take_stats(ctx);
	cpu = clock();
	ns = now_ns();
	write_all(ctx, &writes, what->depth);
	ns = now_ns() - ns;
	cpu = clock() - cpu;
	report_writes(take_stats(ctx), (double)ns, (double)cpu * 1e9 / CLOCKS_PER_SEC, what->count);
	free(writes.offsets);
	xbdev_channel_put(writes.ch);
	xbdev_desc_close(desc);
}

static void first_writes(struct bench_pool *pool, const struct what *what)
{
	bench_volume_create(pool, "v", what->size, true);
	write_device(pool->ctx, "pool/v", what);
}

/* The memory is there: a new store discards all of its device, which zeroes it. */
static void bare(struct bench_pool *pool, const struct what *what)
{
	bench_pool_stop(pool);
	write_device(pool->ctx, "memory", what);
}

static const struct kind {
	const char *name;
	void (*run)(struct bench_pool *pool, const struct what *what);
} kinds[] = {
	{"snapshots", snapshots}, {"load", load}, {"first-writes", first_writes}, {"bare", bare}};

static const char usage[] =
	"usage: bench-lvol snapshots|load|first-writes|bare [--size SIZE] [--count N] [--depth N]\n"
	"                  [--block 512|4096] [--sequential] [--seconds IGNORED]\n";

static void run(const struct kind *kind, const struct what *what)
{
	const struct xbdev_ctx_opts opts = {.spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};
	struct bench_pool pool;
	struct xbdev_ctx *ctx;
	struct xu_error err;

	if (xbdev_ctx_new(&opts, &ctx, &err) != 0) {
		fprintf(stderr, "bench-lvol: %s\n", err.text);
		exit(1);
	}
	make_memory(ctx, what->block_size);
	bench_pool_start(&pool, ctx, "memory", CLUSTER);
	kind->run(&pool, what);
	xbdev_device_remove_all(ctx);
	while (xbdev_device_next(ctx, NULL) != NULL) {
		xr_reactor_poll(xbdev_ctx_control(ctx), XU_NS_PER_MS);
	}
	xbdev_ctx_free(ctx);
}

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(name, kinds[i].name) == 0) {
			return &kinds[i];
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"size", 1, NULL, 's'}, {"count", 1, NULL, 'c'},
		{"depth", 1, NULL, 'd'}, {"block", 1, NULL, 'b'}, {"sequential", 0, NULL, 'q'},
		{"seconds", 1, NULL, 'i'}, {0}};
	struct what what = {.size = 1ull << 30, .count = 20, .depth = 1, .block_size = 512};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c') {
			what.count = (uint32_t)atoi(optarg);
		} else if (c == 'd') {
			what.depth = (uint32_t)atoi(optarg);
		} else if (c == 'q') {
			what.is_sequential = true;
		} else if (c == '?' || (c == 's' && xu_size_parse(optarg, &what.size) != 0) ||
			   (c == 'b' && xu_size_parse(optarg, &what.block_size) != 0)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc - 1 || what.count == 0 || what.depth == 0 || what.depth > DEPTH_MAX ||
		kind_of(argv[optind]) == NULL) {
		fputs(usage, stderr);
		return 2;
	}
	run(kind_of(argv[optind]), &what);
	return 0;
}
