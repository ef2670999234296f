/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a path to disks, by what the kernel tells in sysfs:
 *
 *   file -> st_dev ---+
 *   block node -------+-> /sys/dev/block/M:m -> whole disk -> slaves/ of it, and so on -> a leaf
 *   character node -> /sys/dev/char/M:m -> an NVMe controller, or what belongs to one
 *
 * A leaf is NVMe by its name, ATA by what its SCSI vendor says (libata and SAS adapters write "ATA"
 * there); others are not asked, because a pass-through command is for nobody else. The node that is
 * opened for a disk must have the number that sysfs gives.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xbdev/health/smart.h"

#define MAX_DEPTH  8u
#define MAX_VISITS 256u

struct search {
	struct xbdev_disk *disks;
	uint32_t nr_disks;
	uint32_t nr_visits;
};

/* ---- sysfs ---- */

/* The first line of a file, without its end; false: it cannot be read. */
static bool read_line(const char *dir, const char *name, char *line, size_t size)
{
	char path[PATH_MAX];
	ssize_t len;
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path)) {
		return false;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	len = read(fd, line, size - 1);
	close(fd);
	if (len < 0) {
		return false;
	}
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

/* The real path of dir/name. */
static bool resolve(const char *dir, const char *name, char ret_path[PATH_MAX])
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) &&
	       realpath(path, ret_path) != NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* "nvme0", but neither "nvme0n1" nor "nvme-subsys0". */
static bool is_controller(const char *name)
{
	size_t nr_digits;

	if (strncmp(name, "nvme", 4) != 0) {
		return false;
	}
	nr_digits = strspn(name + 4, "0123456789");
	return nr_digits != 0 && name[4 + nr_digits] == '\0';
}

/* ---- leaves ---- */

static struct xbdev_disk *add(struct search *search, enum xbdev_disk_kind kind, const char *name)
{
	struct xbdev_disk *disk;

	for (uint32_t i = 0; i < search->nr_disks; i++) {
		if (strcmp(search->disks[i].name, name) == 0) {
			return NULL; /* reached twice */
		}
	}
	if (search->nr_disks == XBDEV_MAX_DISKS || strlen(name) >= sizeof(disk->name)) {
		return NULL;
	}
	disk = &search->disks[search->nr_disks++];
	*disk = (struct xbdev_disk){.kind = kind};
	strcpy(disk->name, name);
	return disk;
}

static bool add_controller(struct search *search, const char *dir)
{
	struct xbdev_disk *disk = add(search, XBDEV_DISK_NVME, base_name(dir));

	if (disk != NULL) {
		disk->is_char = true;
		read_line(dir, "dev", disk->dev_text, sizeof(disk->dev_text));
	}
	return disk != NULL;
}

/* The controller of a namespace; of a namespace with several paths, the first that is live. */
static void add_nvme(struct search *search, const char *dir)
{
	char device[PATH_MAX], path[PATH_MAX], state[32];
	struct dirent *entry;
	DIR *list;

	if (!resolve(dir, "device", device)) {
		return;
	}
	if (is_controller(base_name(device))) {
		add_controller(search, device);
		return;
	}
	list = opendir(device);
	while (list != NULL && (entry = readdir(list)) != NULL) {
		if (is_controller(entry->d_name) && resolve(device, entry->d_name, path) &&
			read_line(path, "state", state, sizeof(state)) &&
			strcmp(state, "live") == 0 && add_controller(search, path)) {
			break;
		}
	}
	if (list != NULL) {
		closedir(list);
	}
}

static void add_leaf(struct search *search, const char *dir)
{
	struct xbdev_disk *disk;
	char vendor[32];

	if (strncmp(base_name(dir), "nvme", 4) == 0) {
		add_nvme(search, dir);
		return;
	}
	disk = add(search,
		read_line(dir, "device/vendor", vendor, sizeof(vendor)) &&
				strncmp(vendor, "ATA", 3) == 0 &&
				vendor[3 + strspn(vendor + 3, " ")] == '\0'
			? XBDEV_DISK_ATA
			: XBDEV_DISK_OTHER,
		base_name(dir));
	if (disk != NULL) {
		read_line(dir, "dev", disk->dev_text, sizeof(disk->dev_text));
	}
}

/* ---- the way down ---- */

static void walk(struct search *search, const char *dir, uint32_t depth)
{
	char whole[PATH_MAX], below[PATH_MAX];
	struct dirent *entry;
	uint32_t count = 0;
	DIR *slaves;

	if (search->nr_visits++ >= MAX_VISITS) {
		return;
	}
	/* A partition is a directory of its disk. */
	if (!resolve(dir, "partition", below) || !resolve(dir, "..", whole)) {
		snprintf(whole, sizeof(whole), "%s", dir);
	}
	if (snprintf(below, sizeof(below), "%s/slaves", whole) >= (int)sizeof(below)) {
		return;
	}
	slaves = depth < MAX_DEPTH ? opendir(below) : NULL;
	while (slaves != NULL && (entry = readdir(slaves)) != NULL) {
		char slave[PATH_MAX];

		if (entry->d_name[0] != '.' && resolve(below, entry->d_name, slave)) {
			walk(search, slave, depth + 1);
			count++;
		}
	}
	if (slaves != NULL) {
		closedir(slaves);
	}
	if (count == 0) {
		add_leaf(search, whole);
	}
}

int xbdev_disks_find(const char *path, const char *sysfs, struct xbdev_disk disks[XBDEV_MAX_DISKS],
	struct xu_error *err)
{
	struct search search = {.disks = disks};
	char link[64], dir[PATH_MAX], device[PATH_MAX];
	struct stat st;
	bool is_char;
	dev_t dev;

	if (stat(path, &st) != 0) {
		return xu_error_set_errno(err, -errno, "looking for the disk of %s", path);
	}
	is_char = S_ISCHR(st.st_mode);
	dev = is_char || S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	snprintf(link, sizeof(link), "dev/%s/%u:%u", is_char ? "char" : "block", major(dev),
		minor(dev));
	if (!resolve(sysfs != NULL ? sysfs : "/sys", link, dir)) {
		return xu_error_set(err, -ENODEV,
			"the system does not tell which disk %s is on (device %u:%u)", path,
			major(dev), minor(dev));
	}
	if (!is_char) {
		walk(&search, dir, 0);
	} else if (is_controller(base_name(dir))) {
		add_controller(&search, dir);
	} else if (resolve(dir, "device", device) && is_controller(base_name(device))) {
		add_controller(&search, device);
	}
	if (search.nr_disks == 0) {
		return xu_error_set(err, -ENODEV, "no disk is found below %s", path);
	}
	return (int)search.nr_disks;
}

int xbdev_disk_open(const struct xbdev_disk *disk, struct xu_error *err)
{
	char path[sizeof(disk->name) + 8], number[32];
	struct stat st;
	int fd, rc;

	snprintf(path, sizeof(path), "/dev/%s", disk->name);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		return xu_error_set_errno(err, -errno, "opening %s for SMART data", path);
	}
	rc = fstat(fd, &st) != 0 ? -errno : 0;
	snprintf(number, sizeof(number), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (rc == 0 && (disk->is_char ? S_ISCHR(st.st_mode) : S_ISBLK(st.st_mode)) &&
		strcmp(number, disk->dev_text) == 0) {
		return fd;
	}
	close(fd);
	return xu_error_set(err, -ENODEV, "%s is not the device %s that the system calls so", path,
		disk->dev_text);
}
