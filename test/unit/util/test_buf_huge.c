/* SPDX-License-Identifier: BSD-3-Clause */
/* Real huge pages, where the system has some reserved; where not, this is skipped and says so. */
#include "lib/util/buf.h"
#include "test/unit/util/test.h"

#define MIB       ((size_t)1 << 20)
#define EXIT_SKIP 77

/* A number of /proc/meminfo. */
static long meminfo(const char *key)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[256];
	long value = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0) {
			value = strtol(line + strlen(key) + 1, NULL, 10);
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	return value;
}

/* The size of the pages behind an address, in KiB; 0 when the address is not mapped. */
static long page_kib_at(const void *address)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool is_here = false;
	char line[512];
	long kib = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			is_here = (uintptr_t)address >= start && (uintptr_t)address < end;
		} else if (is_here && strncmp(line, "KernelPageSize:", 15) == 0) {
			kib = strtol(line + 15, NULL, 10);
		}
	}
	fclose(file);
	return kib;
}

static void test_buf_alloc_takes_huge_pages(void **state)
{
	unsigned char *buf = xu_buf_alloc(2 * MIB);

	assert_non_null(buf);
	assert_int_equal(page_kib_at(buf), 2048);
	assert_int_equal(buf[0] | buf[2 * MIB - 1], 0);
	memset(buf, 1, 2 * MIB);
	xu_buf_free(buf, 2 * MIB);
	assert_int_equal(page_kib_at(buf), 0);
}

static void test_bufpool_takes_huge_pages(void **state)
{
	struct xu_bufpool pool;
	unsigned char *buf;

	xu_bufpool_init(&pool, 64 * MIB);
	buf = xu_bufpool_get(&pool, 4096);
	assert_non_null(buf);
	assert_int_equal(page_kib_at(buf), 2048);
	xu_bufpool_put(&pool, buf, 4096);
	xu_bufpool_fini(&pool);
	assert_int_equal(page_kib_at(buf), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_alloc_takes_huge_pages),
		cmocka_unit_test(test_bufpool_takes_huge_pages),
	};

	if (meminfo("Hugepagesize") != 2048 || meminfo("HugePages_Free") < 2) {
		printf("skipped: no two free huge pages of 2 MiB (sysctl vm.nr_hugepages=8 makes "
		       "some)\n");
		return EXIT_SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
