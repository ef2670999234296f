/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Aligned I/O memory. xu_buf_alloc() gives page-aligned memory from huge pages when there are any.
 * struct xu_bufpool serves one owner thread from size classes that are powers of two between
 * 4 KiB and 4 MiB (the MEDIUM and LARGE classes of spec/xsan.md 3.1), under one bound on all bytes
 * taken from the system, kept for reuse: no allocation in the steady state.
 */
#ifndef XU_BUF_H
#define XU_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XU_BUF_ALIGN      4096u
#define XU_BUF_CLASS_MIN  12u /* 4 KiB */
#define XU_BUF_CLASS_MAX  22u /* 4 MiB */
#define XU_BUF_NR_CLASSES (XU_BUF_CLASS_MAX - XU_BUF_CLASS_MIN + 1)

/* Zeroed memory of at least `size` bytes, aligned to 4 KiB; NULL when there is none. Sizes of 2 MiB
 * and more try huge pages first. Any thread. */
void *xu_buf_alloc(size_t size);
/* Frees what xu_buf_alloc(size) gave; NULL is fine. Any thread. */
void xu_buf_free(void *buf, size_t size);

struct xu_buf_class {
	void *free_list; /* linked through the first word of each free buffer */
	uint64_t nr_free;
};

struct xu_bufpool {
	size_t limit_bytes; /* most that may be taken from the system */
	size_t taken_bytes; /* taken from the system so far */
	size_t used_bytes;  /* handed out now */
	uint64_t nr_failed; /* times the bound was met */
	void *slabs;
	struct xu_buf_class classes[XU_BUF_NR_CLASSES];
};

void xu_bufpool_init(struct xu_bufpool *pool, size_t limit_bytes);
/* Gives everything back to the system; all buffers must have been put back (asserted). */
void xu_bufpool_fini(struct xu_bufpool *pool);

/* A 4 KiB aligned buffer of at least `size` bytes (1 … 4 MiB), content undefined, or NULL at the
 * bound. Put it back with the same size. A free larger class is not split while the bound allows
 * more. */
void *xu_bufpool_get(struct xu_bufpool *pool, size_t size);
void xu_bufpool_put(struct xu_bufpool *pool, void *buf, size_t size);

#endif
