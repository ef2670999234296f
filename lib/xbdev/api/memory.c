/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers for I/O. A buffer is a mapping of its own with a page before it that holds its length, so
 * it can be freed by its address alone; large ones come from huge pages when there are any. The
 * NUMA policy is the kernel's (mbind), asked for by system call: no library is needed for two
 * calls.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/xbdev/api/private.h"

#define PAGE      4096u
#define HUGE_PAGE (2u << 20)
#define MAGIC     0x78627566u /* in front of every buffer */
#define MAX_NODES 64

struct header {
	uint32_t magic;
	size_t mapped_bytes;
	void *mapping;
};

static _Atomic int preferred_node = -1;
static _Atomic int policy = XBDEV_MEMORY_DEFAULT;

static bool node_exists(int node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
	return access(path, F_OK) == 0 ||
	       (node == 0 && access("/sys/devices/system/node", F_OK) != 0);
}

/* Placement is a wish: a kernel without NUMA has only one place anyway. */
static void place(void *mapping, size_t bytes)
{
	static const int modes[] = {[XBDEV_MEMORY_DEFAULT] = MPOL_DEFAULT,
		[XBDEV_MEMORY_PREFERRED] = MPOL_PREFERRED,
		[XBDEV_MEMORY_BIND] = MPOL_BIND,
		[XBDEV_MEMORY_INTERLEAVE] = MPOL_INTERLEAVE};
	int node = atomic_load(&preferred_node), how = atomic_load(&policy);
	unsigned long mask = 0;

	if (how == XBDEV_MEMORY_DEFAULT && node >= 0) {
		how = XBDEV_MEMORY_PREFERRED;
	}
	if (how == XBDEV_MEMORY_DEFAULT) {
		return;
	}
	if (how == XBDEV_MEMORY_INTERLEAVE) {
		for (int i = 0; i < MAX_NODES; i++) {
			mask |= node_exists(i) ? 1ul << i : 0;
		}
	} else {
		mask = 1ul << (node >= 0 ? node : 0);
	}
	syscall(SYS_mbind, mapping, bytes, modes[how], &mask, MAX_NODES + 1, 0);
}

void *xbdev_dma_buffer_alloc(size_t size)
{
	struct header *header;
	char *mapping, *buf;
	size_t bytes;

	if (size == 0 || size > SIZE_MAX / 2) {
		api_fail(-EINVAL, "a buffer of %zu bytes is not possible", size);
		return NULL;
	}
	bytes = PAGE + (size + PAGE - 1) / PAGE * PAGE;
	mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED) {
		api_fail(-ENOMEM, "no memory for a buffer of %zu bytes", size);
		return NULL;
	}
	if (size >= HUGE_PAGE) {
		madvise(mapping, bytes, MADV_HUGEPAGE);
	}
	place(mapping, bytes);
	buf = mapping + PAGE;
	header = (struct header *)(void *)(buf - sizeof(*header));
	*header = (struct header){.magic = MAGIC, .mapped_bytes = bytes, .mapping = mapping};
	return buf;
}

void xbdev_dma_buffer_free(void *buf)
{
	struct header *header;

	if (buf == NULL) {
		return;
	}
	header = (struct header *)(void *)((char *)buf - sizeof(*header));
	if (header->magic != MAGIC) {
		api_fail(-EINVAL, "xbdev_dma_buffer_free: no buffer of xbdev_dma_buffer_alloc()");
		return;
	}
	munmap(header->mapping, header->mapped_bytes);
}

int xbdev_numa_set_preferred(int numa_node)
{
	if (numa_node < -1 || numa_node >= MAX_NODES ||
		(numa_node >= 0 && !node_exists(numa_node))) {
		return api_fail(-EINVAL, "there is no NUMA node %d", numa_node);
	}
	atomic_store(&preferred_node, numa_node);
	return 0;
}

int xbdev_memory_policy_set(xbdev_memory_policy_t new_policy)
{
	if ((int)new_policy < XBDEV_MEMORY_DEFAULT || new_policy > XBDEV_MEMORY_INTERLEAVE) {
		return api_fail(-EINVAL, "memory policy %d is not possible", (int)new_policy);
	}
	atomic_store(&policy, (int)new_policy);
	return 0;
}
