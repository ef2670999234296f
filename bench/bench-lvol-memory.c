/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-lvol-memory: what a loaded store with one volume takes of memory. Prints one line of JSON.
 *
 *   bench-lvol-memory none|thin|thick [--size SIZE] [--cluster SIZE] [--snapshots N]
 *
 * No volume, one with no cluster, or one with all of them, and N snapshots of it. The device is a
 * shared mapping of address space in which only what is written takes memory, so a TiB of clusters
 * costs its metadata. A child makes the store and gives it up clean; the parent, whose heap is
 * fresh, loads it, and what its own memory (RssAnon, which leaves the device out of VmRSS) grew by
 * is the figure. What fails ends the program, in the child too.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/volume.h"
#include "lib/util/clock.h"
#include "lib/util/size.h"
#include "lib/xbdev/driver/sized.h"

struct what {
	const char *kind;
	uint64_t size;
	uint64_t cluster;
	uint32_t nr_snapshots;
};

/* ---- the device ---- */

struct sparse {
	struct xbdev_device dev;
	char *memory;
};

static int sparse_do(const struct xbdev_io *io, char *at)
{
	for (uint32_t i = 0; i < io->nr_iov && io->op <= XBDEV_OP_WRITE; i++) {
		if (io->op == XBDEV_OP_READ) {
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		} else {
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		}
		at += io->iov[i].iov_len;
	}
	if (io->op == XBDEV_OP_DISCARD || io->op == XBDEV_OP_WRITE_ZEROES) {
		return madvise(at, io->len, MADV_REMOVE) != 0 ? -errno : 0;
	}
	return 0;
}

static void sparse_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	const struct sparse *sparse = xu_container_of(ch->dev, struct sparse, dev);

	xbdev_io_complete_later(io, sparse_do(io, sparse->memory + io->offset));
}

static void sparse_destroy(struct xbdev_device *dev)
{
	free(xu_container_of(dev, struct sparse, dev));
}

static const struct xbdev_device_ops sparse_ops = {
	.submit = sparse_submit, .destroy = sparse_destroy};

/* Blocks are pages, so that whatever is zeroed is pages too. */
static void make_sparse(struct xbdev_ctx *ctx, char *memory, uint64_t size)
{
	const struct xbdev__sized_opts opts = {.name = "sparse", .size = size, .block_size = 4096};
	struct sparse *sparse = calloc(1, sizeof(*sparse));
	struct xu_error err = {0};

	if (sparse == NULL) {
		fprintf(stderr, "bench-lvol-memory: out of memory\n");
		exit(1);
	}
	sparse->memory = memory;
	sparse->dev.driver = "sparse";
	sparse->dev.product = "sparse memory";
	sparse->dev.ops = &sparse_ops;
	sparse->dev.limits.max_transfer = 1u << 20;
	sparse->dev.limits.max_zeroes = 1ull << 40;
	if (xbdev__sized_init(&sparse->dev, &opts, &err) != 0 ||
		xbdev_device_register(ctx, &sparse->dev, &err) != 0) {
		fprintf(stderr, "bench-lvol-memory: %s\n", err.text);
		exit(1);
	}
}

/* ---- the two processes ---- */

static struct xbdev_ctx *start(char *memory, uint64_t size)
{
	const struct xbdev_ctx_opts opts = {.spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};
	struct xbdev_ctx *ctx;
	struct xu_error err;

	if (xbdev_ctx_new(&opts, &ctx, &err) != 0) {
		fprintf(stderr, "bench-lvol-memory: %s\n", err.text);
		exit(1);
	}
	make_sparse(ctx, memory, size);
	return ctx;
}

static void stop(struct xbdev_ctx *ctx)
{
	xbdev_device_remove_all(ctx);
	while (xbdev_device_next(ctx, NULL) != NULL) {
		xr_reactor_poll(xbdev_ctx_control(ctx), XU_NS_PER_MS);
	}
	xbdev_ctx_free(ctx);
}

static void make_store(const struct what *what, char *memory, uint64_t device_size)
{
	struct xbdev_ctx *ctx = start(memory, device_size);
	struct bench_pool pool;

	bench_pool_start(&pool, ctx, "sparse", (uint32_t)what->cluster);
	if (strcmp(what->kind, "none") != 0) {
		bench_volume_create(&pool, "v", what->size, strcmp(what->kind, "thin") == 0);
	}
	for (uint32_t i = 0; i < what->nr_snapshots; i++) {
		char name[32];

		snprintf(name, sizeof(name), "s%u", i);
		bench_volume_snapshot(&pool, "v", name);
	}
	bench_pool_stop(&pool);
	stop(ctx);
}

static uint64_t resident_bytes(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];

	while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1) {
			break;
		}
	}
	if (kib == 0) {
		fprintf(stderr, "bench-lvol-memory: /proc/self/status has no RssAnon\n");
		exit(1);
	}
	fclose(status);
	return kib << 10;
}

static void load_store(char *memory, uint64_t device_size)
{
	struct xbdev_ctx *ctx = start(memory, device_size);
	struct bench_pool pool = {.ctx = ctx, .reactor = xbdev_ctx_control(ctx)};
	uint64_t bytes = resident_bytes();
	uint64_t ns = xu_clock_now_ns(xu_clock_system());

	bench_pool_load(&pool, "sparse");
	ns = xu_clock_now_ns(xu_clock_system()) - ns;
	bytes = resident_bytes() - bytes;
	printf("{\"bytes\": %llu, \"ms\": %.1f}\n", (unsigned long long)bytes, (double)ns / 1e6);
	stop(ctx);
}

static int run(const struct what *what)
{
	uint64_t device_size = what->size + what->size / 8; /* with the metadata */
	char *memory = mmap(NULL, device_size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int status;
	pid_t child;

	if (memory == MAP_FAILED) {
		perror("bench-lvol-memory: address space for the device");
		return 1;
	}
	child = fork();
	if (child == 0) {
		make_store(what, memory, device_size);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
		fprintf(stderr, "bench-lvol-memory: the store could not be made\n");
		return 1;
	}
	load_store(memory, device_size);
	return 0;
}

static const char usage[] =
	"usage: bench-lvol-memory none|thin|thick [--size SIZE] [--cluster SIZE] [--snapshots N]\n"
	"                         [--seconds IGNORED]\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {{"size", 1, NULL, 's'}, {"cluster", 1, NULL, 'c'},
		{"snapshots", 1, NULL, 'n'}, {"seconds", 1, NULL, 'i'}, {0}};
	struct what what = {.size = 1ull << 40, .cluster = 4u << 20};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n') {
			what.nr_snapshots = (uint32_t)atoi(optarg);
		} else if (c == '?' || (c == 's' && xu_size_parse(optarg, &what.size) != 0) ||
			   (c == 'c' && xu_size_parse(optarg, &what.cluster) != 0)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	what.kind = optind == argc - 1 ? argv[optind] : "";
	if (what.size == 0 || (strcmp(what.kind, "none") != 0 && strcmp(what.kind, "thin") != 0 &&
				      strcmp(what.kind, "thick") != 0)) {
		fputs(usage, stderr);
		return 2;
	}
	return run(&what);
}
