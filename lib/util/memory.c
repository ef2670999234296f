/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel tells of memory. The machine's comes from /proc/meminfo. The process's control
 * group is looked up in /proc/self/cgroup, and every group from there to the root of the hierarchy
 * may set a limit: the smallest holds. Inside a container the path may be one of the host that is
 * not visible; then only the root of what is mounted has files, and that is the container's own
 * group. Whatever cannot be read sets no limit: a bound too many is worse here than one too few,
 * because the kernel keeps the true one anyway.
 */
#include "lib/util/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_SIZE 16384u

/* The two versions of control groups: where their memory hierarchy is mounted, and its files. */
struct version {
	const char *mounts[2];
	const char *limit, *usage, *inactive;
};

static const struct version version_1 = {
	.mounts = {"/sys/fs/cgroup/memory"},
	.limit = "memory.limit_in_bytes",
	.usage = "memory.usage_in_bytes",
	.inactive = "total_inactive_file",
};

static const struct version version_2 = {
	.mounts = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"},
	.limit = "memory.max",
	.usage = "memory.current",
	.inactive = "inactive_file",
};

/* The beginning of a file as text; -errno. */
static int read_text(const char *path, char text[TEXT_SIZE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
	size_t len = 0;
	ssize_t got;

	if (fd < 0) {
		return -errno;
	}
	do {
		got = read(fd, text + len, TEXT_SIZE - 1 - len);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0 && len < TEXT_SIZE - 1);
	rc = got < 0 ? -errno : 0;
	close(fd);
	text[len] = '\0';
	return rc;
}

static const char *next_line(const char *line)
{
	line = strchr(line, '\n');
	return line != NULL ? line + 1 : NULL;
}

/* The number behind a word at the beginning of a line, times `unit`; 0 when there is none. */
static uint64_t number_of(const char *text, const char *word, uint64_t unit)
{
	size_t len = strlen(word);

	for (const char *line = text; line != NULL; line = next_line(line)) {
		if (strncmp(line, word, len) == 0 && strchr(": \t", line[len]) != NULL &&
			line[len] != '\0') {
			return strtoull(line + len + 1, NULL, 10) * unit;
		}
	}
	return 0;
}

static int read_machine(const char *root, struct xu_memory *memory, char text[TEXT_SIZE])
{
	uint64_t total, huge, page, free_pages, reserved;
	char path[PATH_MAX];
	int rc;

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	rc = read_text(path, text);
	if (rc != 0) {
		return rc;
	}
	total = number_of(text, "MemTotal", 1024);
	huge = number_of(text, "Hugetlb", 1024);
	page = number_of(text, "Hugepagesize", 1024);
	if (total == 0 || huge > total) {
		return -EINVAL;
	}
	memory->limit_bytes = total - huge;
	memory->free_bytes = number_of(text, "MemAvailable", 1024);
	free_pages = number_of(text, "HugePages_Free", 1);
	reserved = number_of(text, "HugePages_Rsvd", 1);
	memory->huge_free_bytes = free_pages > reserved ? (free_pages - reserved) * page : 0;
	return 0;
}

/* The number that a group's file holds; false for "max" and where there is none. */
static bool read_number(const char *dir, const char *name, uint64_t *ret_number)
{
	char path[PATH_MAX], text[TEXT_SIZE], *end;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path) ||
		read_text(path, text) != 0) {
		return false;
	}
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return end != text && errno == 0;
}

/* What the group in `dir` uses and could not give up at once. */
static uint64_t group_usage(const char *dir, const struct version *version, char text[TEXT_SIZE])
{
	uint64_t usage = 0, cache = 0;
	char path[PATH_MAX];

	if (!read_number(dir, version->usage, &usage)) {
		return 0;
	}
	if ((size_t)snprintf(path, sizeof(path), "%s/memory.stat", dir) < sizeof(path) &&
		read_text(path, text) == 0) {
		cache = number_of(text, version->inactive, 1);
	}
	return usage > cache ? usage - cache : 0;
}

/* Lowers what there is to what the group in `dir` allows. */
static void apply_group(const char *dir, const char *group, const struct version *version,
	struct xu_memory *memory, char text[TEXT_SIZE])
{
	uint64_t limit, usage, left;

	if (!read_number(dir, version->limit, &limit)) {
		return;
	}
	usage = group_usage(dir, version, text);
	left = limit > usage ? limit - usage : 0;
	if (left < memory->free_bytes) {
		memory->free_bytes = left;
	}
	if (limit < memory->limit_bytes) {
		memory->limit_bytes = limit;
		snprintf(
			memory->group, sizeof(memory->group), "%s", group[0] != '\0' ? group : "/");
	}
}

/* The group and those above it, up to the root of the hierarchy. */
static void apply_groups(const char *mount, const char *group, const struct version *version,
	struct xu_memory *memory, char text[TEXT_SIZE])
{
	char dir[PATH_MAX];
	int len = snprintf(dir, sizeof(dir), "%s", mount);
	char *below = dir + len, *slash;

	/* A group outside of what this process can see begins with "/.."; the root is what is
	 * left to look at then. */
	if (strstr(group, "..") == NULL && strcmp(group, "/") != 0 &&
		strlen(group) < sizeof(dir) - (size_t)len) {
		strcpy(below, group);
	}
	apply_group(dir, below, version, memory, text);
	while ((slash = strrchr(below, '/')) != NULL) {
		*slash = '\0';
		apply_group(dir, below, version, memory, text);
	}
}

static bool has_memory(char *controllers)
{
	char *rest, *word = strtok_r(controllers, ",", &rest);

	while (word != NULL && strcmp(word, "memory") != 0) {
		word = strtok_r(NULL, ",", &rest);
	}
	return word != NULL;
}

/* One line of /proc/self/cgroup: "4:cpu,memory:/a/b" of version 1, "0::/a/b" of version 2. */
static void apply_line(const char *root, char *line, struct xu_memory *memory, char text[TEXT_SIZE])
{
	char *controllers = strchr(line, ':'), *group, mount[PATH_MAX];
	const struct version *version;

	group = controllers != NULL ? strchr(++controllers, ':') : NULL;
	if (group == NULL || group[1] != '/') {
		return;
	}
	*group++ = '\0';
	version = controllers[0] == '\0' ? &version_2 : &version_1;
	if (version == &version_1 && !has_memory(controllers)) {
		return;
	}
	for (size_t i = 0; i < 2 && version->mounts[i] != NULL; i++) {
		snprintf(mount, sizeof(mount), "%s%s", root, version->mounts[i]);
		apply_groups(mount, group, version, memory, text);
	}
}

int xu_memory_read(const char *root, struct xu_memory *ret_memory)
{
	char path[PATH_MAX], groups[TEXT_SIZE], text[TEXT_SIZE], *line, *rest;
	struct xu_memory memory = {0};
	int rc = read_machine(root, &memory, text);

	if (rc != 0) {
		return rc;
	}
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	if (read_text(path, groups) == 0) {
		for (line = strtok_r(groups, "\n", &rest); line != NULL;
			line = strtok_r(NULL, "\n", &rest)) {
			apply_line(root, line, &memory, text);
		}
	}
	*ret_memory = memory;
	return 0;
}

uint64_t xu_memory_resident(void)
{
	unsigned long long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file != NULL) {
		if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
			resident = 0;
		}
		fclose(file);
	}
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
