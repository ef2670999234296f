/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Setting up and taking down a pool of equal objects: one block of memory for the objects, one
 * array for the free ones. Fails only at set-up; handing out and putting back are inline in the
 * header.
 */
#include "lib/util/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_ALIGN ((size_t)64)

int xu_pool_init(struct xu_pool *pool, uint32_t count, size_t object_bytes)
{
	size_t size;
	uint32_t i;

	if (count == 0 || object_bytes == 0) {
		return -EINVAL;
	}
	if (object_bytes > SIZE_MAX - (OBJECT_ALIGN - 1)) {
		return -ENOMEM;
	}
	object_bytes = (object_bytes + OBJECT_ALIGN - 1) & ~(OBJECT_ALIGN - 1);
	if (__builtin_mul_overflow(object_bytes, (size_t)count, &size)) {
		return -ENOMEM;
	}
	pool->free_objects = calloc(count, sizeof(*pool->free_objects));
	if (pool->free_objects == NULL) {
		return -ENOMEM;
	}
	pool->memory = aligned_alloc(OBJECT_ALIGN, size);
	if (pool->memory == NULL) {
		free(pool->free_objects);
		pool->free_objects = NULL;
		return -ENOMEM;
	}
	memset(pool->memory, 0, size);
	pool->object_bytes = object_bytes;
	pool->count = count;
	pool->nr_free = 0;
	for (i = count; i-- > 0;) { /* so that object 0 comes first */
		xu_pool_put(pool, xu_pool_object(pool, i));
	}
	return 0;
}

void xu_pool_fini(struct xu_pool *pool)
{
	assert(pool->nr_free == pool->count);
	free(pool->memory);
	free(pool->free_objects);
	memset(pool, 0, sizeof(*pool));
}
