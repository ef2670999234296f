/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory this process can have, so that a promise of more is refused before it is made. */
#ifndef XU_MEMORY_H
#define XU_MEMORY_H

#include <stdint.h>

#define XU_MEMORY_GROUP_SIZE 256u

struct xu_memory {
	/* The most that ordinary pages of this process can take: physical memory without the huge
	 * pages that are set aside, or what a control group allows where that is less. Swap does
	 * not count. */
	uint64_t limit_bytes;
	uint64_t free_bytes;      /* of it, what could be had now, page cache given up */
	uint64_t huge_free_bytes; /* free huge pages of the default size; in no group's limit */
	/* The path of the control group whose limit it is, cut when it is longer; "": the
	 * machine's. */
	char group[XU_MEMORY_GROUP_SIZE];
};

/*
 * Reads /proc/meminfo, and the limits of the process's control group and of those above it
 * (memory.max of version 2, memory.limit_in_bytes of version 1). `root` is put in front of every
 * path: "", or a directory of a test. -errno when /proc/meminfo cannot be read or understood; a
 * group's file that cannot be read sets no limit. Any thread; it allocates nothing.
 */
int xu_memory_read(const char *root, struct xu_memory *ret_memory);

/* What this process has of it; 0: unknown. Blocks for a moment. */
uint64_t xu_memory_resident(void);

#endif
