/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct xu_pool: a fixed number of equal objects, allocated once, handed out last-in first-out
 * (the warmest first). One owner thread; no locks.
 */
#ifndef XU_POOL_H
#define XU_POOL_H

#include <stddef.h>
#include <stdint.h>

struct xu_pool {
	void *memory;
	void **free_objects;
	size_t object_bytes; /* rounded up to a cache line */
	uint32_t count;
	uint32_t nr_free;
};

/* Allocates `count` zeroed objects of `object_bytes`, cache-line aligned. -ENOMEM, -EINVAL. */
int xu_pool_init(struct xu_pool *pool, uint32_t count, size_t object_bytes);

/* Frees the memory; all objects must have been put back (asserted). */
void xu_pool_fini(struct xu_pool *pool);

/* An object with the content it was put back with, or NULL when all are out. */
static inline void *xu_pool_get(struct xu_pool *pool)
{
	return pool->nr_free == 0 ? NULL : pool->free_objects[--pool->nr_free];
}

static inline void xu_pool_put(struct xu_pool *pool, void *object)
{
	pool->free_objects[pool->nr_free++] = object;
}

/* The index of an object in its pool, 0 … count-1, and the object of an index. */
static inline uint32_t xu_pool_index(const struct xu_pool *pool, const void *object)
{
	return (uint32_t)(((const char *)object - (const char *)pool->memory) /
			  (ptrdiff_t)pool->object_bytes);
}

static inline void *xu_pool_object(const struct xu_pool *pool, uint32_t index)
{
	return (char *)pool->memory + (size_t)index * pool->object_bytes;
}

#endif
