/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Aligned memory, and the pool of I/O buffers. A pool reserves addresses for its whole bound at the
 * first get and turns them into memory 2 MiB at a time, huge pages first, until the bound is met.
 * A buffer comes from the free list of its size class, and goes back there: one pop, one push. Only
 * when that list is empty the buddy system underneath is asked, then new memory, and at the bound
 * all free lists are poured back into the buddy system, where neighbours grow together again; so
 * memory that once served small buffers serves large ones later, and a get fails only when no free
 * block of that size can be made. Each buffer poured back was put by somebody since the last time,
 * so the work per put stays constant even when gets fail all the time.
 *
 * Under AddressSanitizer a free buffer is poisoned but for the links in its first bytes.
 */
#include "lib/util/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(addr, size)   ((void)(addr), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(addr, size) ((void)(addr), (void)(size))
#endif

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define MAX_BYTES       ((size_t)1 << XU_BUF_CLASS_MAX)

/* A free block of the buddy system. */
struct block {
	struct block *next;
	struct block *prev;
};

/* The addresses of a pool; pool->taken_bytes of them, from the start, are memory. */
struct region {
	unsigned char *base; /* aligned to the largest class, so a block's buddy is offset ^ size */
	size_t bytes;
	struct block *free_blocks[XU_BUF_NR_CLASSES];
	uint8_t first_of[]; /* per 4 KiB: the order of the free block that begins here, or 0 */
};

static size_t round_up(size_t size, size_t align)
{
	return (size + align - 1) & ~(align - 1);
}

/* Address space without memory behind it, `bytes` long and aligned; NULL when there is none. */
static void *reserve_addresses(size_t bytes, size_t align)
{
	unsigned char *start, *base;
	size_t head;

	if (bytes > SIZE_MAX - align) {
		return NULL;
	}
	start = mmap(
		NULL, bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED) {
		return NULL;
	}
	head = -(uintptr_t)start & (align - 1);
	base = start + head;
	if (head > 0) {
		munmap(start, head);
	}
	munmap(base + bytes, align - head);
	return base;
}

/*
 * Zeroed huge pages, somewhere; NULL when there are none. They are touched at once: when another
 * control group or node has taken them, that must be an answer here and not a SIGBUS later.
 */
static void *map_huge_pages(size_t bytes)
{
	void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (start == MAP_FAILED) {
		return NULL;
	}
	if (madvise(start, bytes, MADV_POPULATE_WRITE) != 0) {
		munmap(start, bytes);
		return NULL;
	}
	return start;
}

/* Puts zeroed ordinary memory behind reserved addresses. */
static bool commit_pages(void *base, size_t bytes)
{
	if (mprotect(base, bytes, PROT_READ | PROT_WRITE) != 0) {
		return false;
	}
	/* Only a wish: kernels without transparent huge pages refuse it. */
	(void)madvise(base, bytes, MADV_HUGEPAGE);
	return true;
}

/*
 * Puts zeroed memory behind reserved addresses, huge pages if there are some. These are mapped
 * elsewhere first and moved: an mmap() that fails at a fixed address leaves a hole there, into
 * which another thread's memory may fall.
 */
static bool commit_memory(void *base, size_t bytes)
{
	void *huge = bytes % HUGE_PAGE_BYTES == 0 ? map_huge_pages(bytes) : NULL;

	if (huge != NULL) {
		if (mremap(huge, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, base) == base) {
			return true;
		}
		munmap(huge, bytes);
	}
	return commit_pages(base, bytes);
}

void *xu_buf_alloc(size_t size)
{
	void *buf;

	if (size == 0) {
		size = 1;
	}
	if (size > SIZE_MAX - HUGE_PAGE_BYTES) {
		return NULL;
	}
	if (size < HUGE_PAGE_BYTES) {
		size = round_up(size, XU_BUF_ALIGN);
		buf = aligned_alloc(XU_BUF_ALIGN, size);
		if (buf != NULL) {
			memset(buf, 0, size);
		}
		return buf;
	}
	size = round_up(size, HUGE_PAGE_BYTES);
	buf = map_huge_pages(size);
	if (buf != NULL) {
		return buf;
	}
	buf = reserve_addresses(size, HUGE_PAGE_BYTES);
	if (buf != NULL && !commit_pages(buf, size)) {
		munmap(buf, size);
		buf = NULL;
	}
	return buf;
}

void xu_buf_free(void *buf, size_t size)
{
	if (buf == NULL) {
		return;
	}
	if (size < HUGE_PAGE_BYTES) {
		free(buf);
	} else {
		munmap(buf, round_up(size, HUGE_PAGE_BYTES));
	}
}

static uint32_t order_of(size_t size)
{
	assert(size > 0 && size <= MAX_BYTES);
	if (size <= (size_t)1 << XU_BUF_CLASS_MIN) {
		return XU_BUF_CLASS_MIN;
	}
	return 64u - (uint32_t)__builtin_clzll(size - 1);
}

static struct xu_buf_class *class_at(struct xu_bufpool *pool, uint32_t order)
{
	return &pool->classes[order - XU_BUF_CLASS_MIN];
}

static uint8_t *first_of_at(struct region *region, size_t offset)
{
	return &region->first_of[offset >> XU_BUF_CLASS_MIN];
}

static void link_block(struct region *region, size_t offset, uint32_t order)
{
	struct block **list = &region->free_blocks[order - XU_BUF_CLASS_MIN];
	struct block *block = (struct block *)(region->base + offset);

	ASAN_UNPOISON_MEMORY_REGION(block, sizeof(*block));
	block->prev = NULL;
	block->next = *list;
	if (block->next != NULL) {
		block->next->prev = block;
	}
	*list = block;
	*first_of_at(region, offset) = (uint8_t)order;
}

static void unlink_block(struct region *region, size_t offset, uint32_t order)
{
	struct block *block = (struct block *)(region->base + offset);

	if (block->prev != NULL) {
		block->prev->next = block->next;
	} else {
		region->free_blocks[order - XU_BUF_CLASS_MIN] = block->next;
	}
	if (block->next != NULL) {
		block->next->prev = block->prev;
	}
	ASAN_POISON_MEMORY_REGION(block, sizeof(*block));
	*first_of_at(region, offset) = 0;
}

/* Takes a block back, together with its buddy while that is free too. */
static void join_block(struct region *region, size_t offset, uint32_t order)
{
	while (order < XU_BUF_CLASS_MAX) {
		size_t buddy = offset ^ (size_t)1 << order;

		if (buddy >= region->bytes || *first_of_at(region, buddy) != order) {
			break;
		}
		unlink_block(region, buddy, order);
		offset &= ~((size_t)1 << order);
		order++;
	}
	link_block(region, offset, order);
}

/* Cuts a block of `order` out of the smallest free one that holds it; NULL when there is none. */
static void *cut_block(struct region *region, uint32_t order)
{
	uint32_t from = order;
	size_t offset;

	while (region->free_blocks[from - XU_BUF_CLASS_MIN] == NULL) {
		if (++from > XU_BUF_CLASS_MAX) {
			return NULL;
		}
	}
	offset = (size_t)((unsigned char *)region->free_blocks[from - XU_BUF_CLASS_MIN] -
			  region->base);
	unlink_block(region, offset, from);
	while (from > order) {
		from--;
		link_block(region, offset + ((size_t)1 << from), from);
	}
	return region->base + offset;
}

/* Takes the next 2 MiB, or what the bound leaves, from the system; false when it gives no more. */
static bool grow(struct xu_bufpool *pool, struct region *region)
{
	size_t offset = pool->taken_bytes;
	size_t bytes = region->bytes - offset;

	if (bytes > HUGE_PAGE_BYTES) {
		bytes = HUGE_PAGE_BYTES;
	}
	if (bytes == 0 || !commit_memory(region->base + offset, bytes)) {
		return false;
	}
	ASAN_POISON_MEMORY_REGION(region->base + offset, bytes);
	pool->taken_bytes += bytes;
	while (bytes > 0) {
		/* The largest block that begins here; 2 MiB but for the pool's end. */
		uint32_t order = 63u - (uint32_t)__builtin_clzll(bytes);

		join_block(region, offset, order);
		offset += (size_t)1 << order;
		bytes -= (size_t)1 << order;
	}
	return true;
}

/* Gives all free buffers to the buddy system. */
static void pour_back(struct xu_bufpool *pool, struct region *region)
{
	uint32_t order;

	for (order = XU_BUF_CLASS_MIN; order <= XU_BUF_CLASS_MAX; order++) {
		struct xu_buf_class *list = class_at(pool, order);

		while (list->free_list != NULL) {
			unsigned char *buf = list->free_list;

			list->free_list = *(void **)list->free_list;
			join_block(region, (size_t)(buf - region->base), order);
		}
		list->nr_free = 0;
	}
}

static struct region *region_new(size_t limit_bytes)
{
	size_t bytes = limit_bytes & ~(size_t)(XU_BUF_ALIGN - 1);
	void *base = reserve_addresses(bytes, MAX_BYTES);
	struct region *region;

	if (base == NULL) {
		return NULL;
	}
	region = calloc(1, sizeof(*region) + (bytes >> XU_BUF_CLASS_MIN));
	if (region == NULL) {
		munmap(base, bytes);
		return NULL;
	}
	region->base = base;
	region->bytes = bytes;
	return region;
}

void xu_bufpool_init(struct xu_bufpool *pool, size_t limit_bytes)
{
	memset(pool, 0, sizeof(*pool));
	pool->limit_bytes = limit_bytes;
}

void xu_bufpool_fini(struct xu_bufpool *pool)
{
	struct region *region = pool->slabs;

	assert(pool->used_bytes == 0);
	if (region != NULL) {
		ASAN_UNPOISON_MEMORY_REGION(region->base, region->bytes);
		munmap(region->base, region->bytes);
		free(region);
	}
	memset(pool, 0, sizeof(*pool));
}

/* A buffer when the class has none ready. */
static void *get_slowly(struct xu_bufpool *pool, uint32_t order)
{
	struct region *region = pool->slabs;
	void *buf;

	if (region == NULL) {
		if (pool->limit_bytes < (size_t)1 << order) {
			return NULL;
		}
		region = region_new(pool->limit_bytes);
		if (region == NULL) {
			return NULL;
		}
		pool->slabs = region;
	}
	do {
		buf = cut_block(region, order);
	} while (buf == NULL && grow(pool, region));
	if (buf == NULL) {
		pour_back(pool, region);
		buf = cut_block(region, order);
	}
	return buf;
}

void *xu_bufpool_get(struct xu_bufpool *pool, size_t size)
{
	uint32_t order = order_of(size);
	struct xu_buf_class *list = class_at(pool, order);
	void *buf = list->free_list;

	if (buf != NULL) {
		list->free_list = *(void **)buf;
		list->nr_free--;
	} else {
		buf = get_slowly(pool, order);
		if (buf == NULL) {
			pool->nr_failed++;
			return NULL;
		}
	}
	pool->used_bytes += (size_t)1 << order;
	ASAN_UNPOISON_MEMORY_REGION(buf, (size_t)1 << order);
	return buf;
}

void xu_bufpool_put(struct xu_bufpool *pool, void *buf, size_t size)
{
	uint32_t order = order_of(size);
	struct xu_buf_class *list = class_at(pool, order);
	const struct region *region = pool->slabs;
	size_t offset = (size_t)((unsigned char *)buf - region->base);

	assert(offset < pool->taken_bytes && (offset & (((size_t)1 << order) - 1)) == 0);
	assert(pool->used_bytes >= (size_t)1 << order);
	(void)offset;
	pool->used_bytes -= (size_t)1 << order;
	ASAN_POISON_MEMORY_REGION((unsigned char *)buf + sizeof(struct block),
		((size_t)1 << order) - sizeof(struct block));
	*(void **)buf = list->free_list;
	list->free_list = buf;
	list->nr_free++;
}
