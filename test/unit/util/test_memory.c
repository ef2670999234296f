/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/util/memory.c on this machine, and on trees of files as other machines and containers have
 * them.
 */
#include "test/unit/util/test.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>

#include "lib/util/memory.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static char root[] = "/tmp/test-memory.XXXXXX";

/* A file of the tree, with its directories. */
static void put(const char *path, const char *text)
{
	char full[512], *slash;
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root + sizeof(root) - 7, "XXXXXX");
	return mkdtemp(root) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* 16 GiB of which 10 can be had, and 1 GiB of huge pages of which 600 MiB are free. */
static void put_machine(void)
{
	put("/proc/meminfo", "MemTotal:       16777216 kB\n"
			     "MemFree:         1048576 kB\n"
			     "MemAvailable:   10485760 kB\n"
			     "HugePages_Total:     512\n"
			     "HugePages_Free:      310\n"
			     "HugePages_Rsvd:       10\n"
			     "Hugepagesize:       2048 kB\n"
			     "Hugetlb:         1048576 kB\n");
}

static struct xu_memory look(void)
{
	struct xu_memory memory;

	assert_int_equal(xu_memory_read(root, &memory), 0);
	return memory;
}

static void test_memory_of_this_machine(void **state)
{
	uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	struct xu_memory memory;

	(void)state;
	assert_int_equal(xu_memory_read("", &memory), 0);
	assert_true(memory.limit_bytes > 64 * MIB && memory.limit_bytes <= physical);
	assert_true(memory.free_bytes <= physical);
	if (memory.group[0] != '\0') {
		assert_true(memory.limit_bytes < physical);
		assert_true(memory.group[0] == '/');
	}
}

static void test_memory_without_groups_is_the_machines(void **state)
{
	struct xu_memory memory;

	(void)state;
	put_machine();
	memory = look();
	assert_int_equal(memory.limit_bytes, 15 * GIB);
	assert_int_equal(memory.free_bytes, 10 * GIB);
	assert_int_equal(memory.huge_free_bytes, 600 * MIB);
	assert_string_equal(memory.group, "");
	/* Groups without limits. */
	put("/proc/self/cgroup", "0::/a.slice/b\n");
	put("/sys/fs/cgroup/a.slice/b/memory.max", "max\n");
	put("/sys/fs/cgroup/a.slice/memory.max", "max\n");
	memory = look();
	assert_int_equal(memory.limit_bytes, 15 * GIB);
	assert_string_equal(memory.group, "");
}

static void test_memory_of_version_2(void **state)
{
	struct xu_memory memory;

	(void)state;
	put_machine();
	put("/proc/self/cgroup", "0::/a.slice/b.service\n");
	put("/sys/fs/cgroup/a.slice/b.service/memory.max", "4294967296\n");
	memory = look();
	assert_int_equal(memory.limit_bytes, 4 * GIB);
	assert_int_equal(memory.free_bytes, 4 * GIB);
	assert_string_equal(memory.group, "/a.slice/b.service");
	/* The page cache of the group can be given up, all but what is active. */
	put("/sys/fs/cgroup/a.slice/b.service/memory.current", "3221225472\n");
	put("/sys/fs/cgroup/a.slice/b.service/memory.stat",
		"anon 1073741824\nfile 2147483648\ninactive_file 1073741824\n");
	assert_int_equal(look().free_bytes, 2 * GIB);
	/* The smallest limit on the way to the root holds. */
	put("/sys/fs/cgroup/a.slice/memory.max", "1073741824\n");
	put("/sys/fs/cgroup/a.slice/memory.current", "2147483648\n");
	memory = look();
	assert_int_equal(memory.limit_bytes, GIB);
	assert_int_equal(memory.free_bytes, 0);
	assert_string_equal(memory.group, "/a.slice");
	/* A limit above what there is limits nothing. */
	put("/sys/fs/cgroup/a.slice/memory.max", "1099511627776\n");
	put("/sys/fs/cgroup/a.slice/b.service/memory.max", "1099511627776\n");
	memory = look();
	assert_int_equal(memory.limit_bytes, 15 * GIB);
	assert_string_equal(memory.group, "");
}

static void test_memory_of_version_1(void **state)
{
	struct xu_memory memory;

	(void)state;
	put_machine();
	put("/proc/self/cgroup", "9:name=systemd:/s\n4:cpu,memory:/box/one\n3:cpuset:/s\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/s/memory.limit_in_bytes", "1\n");
	put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2147483648\n");
	put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1073741824\n");
	put("/sys/fs/cgroup/memory/box/memory.stat",
		"inactive_file 5\ntotal_inactive_file 536870912\n");
	put("/sys/fs/cgroup/memory/box/one/memory.limit_in_bytes", "9223372036854771712\n");
	memory = look();
	assert_int_equal(memory.limit_bytes, 2 * GIB);
	assert_int_equal(memory.free_bytes, GIB + 512 * MIB);
	assert_string_equal(memory.group, "/box");
}

/* A container sees its own group as the root; the path may be the host's, or lead out of it. */
static void test_memory_in_a_container(void **state)
{
	static const char *const paths[] = {"0::/\n", "0::/docker/0123456789abcdef\n",
		"0::/../../host.slice\n", "4:memory:/docker/0123\n", "4:memory:/\n"};

	(void)state;
	put_machine();
	put("/sys/fs/cgroup/memory.max", "1073741824\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
	for (uint32_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct xu_memory memory;

		put("/proc/self/cgroup", paths[i]);
		memory = look();
		assert_int_equal(memory.limit_bytes, GIB);
		assert_string_equal(memory.group, "/");
	}
}

static void test_memory_survives_nonsense(void **state)
{
	static const char *const groups[] = {"", "\n\n", "0", "0:", "0::", "0::x\n", ":::\n",
		"4:memory:", "4:,,,:/\n", "\xff\xfe\n0:memory\n"};
	struct xu_memory memory;
	char longest[3000];

	(void)state;
	memory.limit_bytes = 77;
	assert_int_equal(xu_memory_read(root, &memory), -ENOENT);
	put("/proc/meminfo", "nothing\n");
	assert_int_equal(xu_memory_read(root, &memory), -EINVAL);
	put("/proc/meminfo", "MemTotal: 1 kB\nHugetlb: 2 kB\n");
	assert_int_equal(xu_memory_read(root, &memory), -EINVAL);
	assert_int_equal(memory.limit_bytes, 77);
	put_machine();
	for (uint32_t i = 0; i < ARRAY_SIZE(groups); i++) {
		put("/proc/self/cgroup", groups[i]);
		assert_int_equal(look().limit_bytes, 15 * GIB);
	}
	memset(longest, 'x', sizeof(longest) - 1);
	memcpy(longest, "0::/", 4);
	longest[sizeof(longest) - 1] = '\0';
	put("/proc/self/cgroup", longest);
	put("/sys/fs/cgroup/memory.max", "not a number\n");
	assert_int_equal(look().limit_bytes, 15 * GIB);
	put("/sys/fs/cgroup/memory.max", "99999999999999999999999999\n");
	assert_int_equal(look().limit_bytes, 15 * GIB);
	put("/sys/fs/cgroup/memory.max", "");
	assert_int_equal(look().limit_bytes, 15 * GIB);
}

/* A group's name that does not fit is cut. */
static void test_memory_cuts_long_names(void **state)
{
	char line[400], path[512];
	struct xu_memory memory;

	(void)state;
	put_machine();
	memset(line, 'y', sizeof(line));
	memcpy(line, "0::/", 4);
	line[150] = '/';
	line[300] = '\0';
	put("/proc/self/cgroup", line);
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", line + 3);
	put(path, "1048576\n");
	memory = look();
	assert_int_equal(memory.limit_bytes, MIB);
	assert_int_equal(strlen(memory.group), sizeof(memory.group) - 1);
	assert_memory_equal(memory.group, line + 3, sizeof(memory.group) - 1);
}

/* A block that is written is seen; the size of the process's own pages is not known better. */
static void test_memory_resident(void **state)
{
	size_t size = 64u << 20;
	uint64_t before = xu_memory_resident(), after;
	volatile char *block = malloc(size);

	assert_non_null(block);
	assert_true(before > 0);
	for (size_t i = 0; i < size; i += 4096) {
		block[i] = 1;
	}
	after = xu_memory_resident();
	free((void *)block);
	assert_in_range(after, before + size / 2, before + 4 * size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_of_this_machine),
		cmocka_unit_test_setup_teardown(
			test_memory_without_groups_is_the_machines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_of_version_2, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_of_version_1, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_in_a_container, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_survives_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_cuts_long_names, setup, teardown),
		cmocka_unit_test(test_memory_resident),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
