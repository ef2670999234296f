/* SPDX-License-Identifier: BSD-3-Clause */
/* See volume.h. */
#include "bench/volume.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/util/clock.h"

static void check(const struct xu_error *err)
{
	if (err != NULL && err->code != 0) {
		fprintf(stderr, "bench: %s\n", err->text);
		exit(1);
	}
}

static void on_done(void *arg, const struct xu_error *err)
{
	check(err);
	((struct bench_pool *)arg)->nr_done++;
}

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct bench_pool *pool = arg;

	pool->store = store;
	on_done(pool, err);
}

static void wait_for(struct bench_pool *pool, uint32_t nr_done)
{
	while (pool->nr_done < nr_done) {
		xr_reactor_poll(pool->reactor, XU_NS_PER_MS);
	}
}

void bench_pool_start(
	struct bench_pool *pool, struct xbdev_ctx *ctx, const char *device, uint32_t cluster_size)
{
	const struct xbdev_lvs_create_opts opts = {.name = "pool", .cluster_size = cluster_size};

	*pool = (struct bench_pool){.ctx = ctx, .reactor = xbdev_ctx_control(ctx)};
	xbdev__lvol_store_create(ctx, device, &opts, on_done, pool);
	wait_for(pool, 1);
	pool->store = xbdev__lvol_store_find(ctx, "pool");
}

void bench_pool_stop(struct bench_pool *pool)
{
	uint32_t nr = pool->nr_done;

	xbdev__lvol_detach(pool->store, on_done, pool);
	wait_for(pool, nr + 1);
}

void bench_pool_load(struct bench_pool *pool, const char *device)
{
	uint32_t nr = pool->nr_done;

	xbdev__lvol_attach(pool->ctx, device, false, on_attached, pool);
	wait_for(pool, nr + 1);
}

struct xbdev_lvol *bench_volume_find(struct bench_pool *pool, const char *name)
{
	char full[XBDEV_NAME_SIZE];

	snprintf(full, sizeof(full), "pool/%s", name);
	return xbdev__lvol_find(pool->ctx, full);
}

void bench_volume_create(struct bench_pool *pool, const char *name, uint64_t size, bool is_thin)
{
	const struct xbdev_lvol_create_opts opts = {.name = name, .size = size, .is_thin = is_thin};
	uint32_t nr = pool->nr_done;

	xbdev__lvol_create(pool->store, &opts, on_done, pool);
	wait_for(pool, nr + 1);
}

void bench_volume_snapshot(struct bench_pool *pool, const char *name, const char *snapshot)
{
	uint32_t nr = pool->nr_done;

	xbdev__lvol_snapshot(bench_volume_find(pool, name), snapshot, NULL, on_done, pool);
	wait_for(pool, nr + 1);
}
