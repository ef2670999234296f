/* SPDX-License-Identifier: BSD-3-Clause */
/* The wrappers behind fail.h: each counts, refuses when it is its turn, or calls the real function.
 */
#include "test/unit/util/fail.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
void *__real_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
void *__real_mmap64(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int __real_mprotect(void *addr, size_t size, int prot);
int __real_madvise(void *addr, size_t size, int advice);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_mprotect(void *addr, size_t size, int prot);
int __wrap_madvise(void *addr, size_t size, int advice);

static unsigned countdown; /* 0: not armed */
static bool is_lasting, was_refused, is_huge_refused;

void fail_arm(unsigned n)
{
	countdown = n;
	is_lasting = false;
	was_refused = false;
}

void fail_arm_from(unsigned n)
{
	fail_arm(n);
	is_lasting = true;
}

bool fail_disarm(void)
{
	countdown = 0;
	is_huge_refused = false;
	return was_refused;
}

void fail_huge_pages(void)
{
	is_huge_refused = true;
	was_refused = false;
}

static bool must_fail(void)
{
	if (countdown == 0 || --countdown > 0) {
		return false;
	}
	if (is_lasting) {
		countdown = 1;
	}
	was_refused = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return must_fail() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return must_fail() ? NULL : __real_aligned_alloc(align, size);
}

char *__wrap_strdup(const char *text)
{
	return must_fail() ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (is_huge_refused) {
		flags &= ~MAP_HUGETLB;
	}
	return must_fail() ? MAP_FAILED : __real_mmap(addr, size, prot, flags, fd, offset);
}

void *__wrap_mmap64(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (is_huge_refused) {
		flags &= ~MAP_HUGETLB;
	}
	return must_fail() ? MAP_FAILED : __real_mmap64(addr, size, prot, flags, fd, offset);
}

int __wrap_mprotect(void *addr, size_t size, int prot)
{
	return must_fail() ? -1 : __real_mprotect(addr, size, prot);
}

int __wrap_madvise(void *addr, size_t size, int advice)
{
	if (is_huge_refused && advice == MADV_POPULATE_WRITE) {
		was_refused = true;
		errno = EFAULT;
		return -1;
	}
	return __real_madvise(addr, size, advice);
}
