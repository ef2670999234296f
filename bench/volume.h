/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores and volumes for benchmarks, each call waiting for its end and ending the program when that
 * is an error. In embedded mode: the caller's thread polls the one reactor. */
#ifndef BENCH_VOLUME_H
#define BENCH_VOLUME_H

#include "lib/xbdev/lvol/stores.h"

struct bench_pool {
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor;
	struct xbdev_lvol_store *store;
	uint32_t nr_done;
};

/* A store "pool" on a device that is there. */
void bench_pool_start(
	struct bench_pool *pool, struct xbdev_ctx *ctx, const char *device, uint32_t cluster_size);
/* Gives it up, which leaves it clean, and loads it again. */
void bench_pool_stop(struct bench_pool *pool);
void bench_pool_load(struct bench_pool *pool, const char *device);

struct xbdev_lvol *bench_volume_find(struct bench_pool *pool, const char *name);
void bench_volume_create(struct bench_pool *pool, const char *name, uint64_t size, bool is_thin);
void bench_volume_snapshot(struct bench_pool *pool, const char *name, const char *snapshot);

#endif
