/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of libxbdev that goes to devices without a copy, and where it lies. Any thread; also from
 * callbacks. */
#ifndef XBDEV_MEMORY_H
#define XBDEV_MEMORY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed memory aligned to 4 KiB, from huge pages where they help and exist; NULL: none. */
void *xbdev_dma_buffer_alloc(size_t size);
/* Frees it; NULL is fine. */
void xbdev_dma_buffer_free(void *buf);

/* Memory and reactors' threads of the library go to this NUMA node from now on, if they can; -1: no
 * preference. -EINVAL: there is no such node. */
int xbdev_numa_set_preferred(int numa_node);

typedef enum {
	XBDEV_MEMORY_DEFAULT = 0,   /* as the thread's own policy says */
	XBDEV_MEMORY_PREFERRED = 1, /* the preferred node first, others when it is full */
	XBDEV_MEMORY_BIND = 2,      /* the preferred node only */
	XBDEV_MEMORY_INTERLEAVE = 3 /* spread over all nodes */
} xbdev_memory_policy_t;

/* How xbdev_dma_buffer_alloc() places memory from now on. -EINVAL; -ENOSYS: the kernel has none. */
int xbdev_memory_policy_set(xbdev_memory_policy_t policy);

#ifdef __cplusplus
}
#endif

#endif
