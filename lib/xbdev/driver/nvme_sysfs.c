/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding an NVMe namespace in sysfs.
 *
 *   /sys/class/nvme/nvme0                  a controller: address, transport, model, serial...
 *   /sys/class/nvme/nvme0/nvme0n1          its namespace as a disk, with an attribute nsid
 *   /sys/class/nvme/nvme0/nvme0c1n1        with multipath: one path (hidden) to the disk nvme0n1
 *   /sys/class/nvme/nvme0/ng0n1            the same namespace as a generic character device
 *   /sys/block/nvme0n1/device              the controller, or with multipath the subsystem
 *
 * The number behind "n" in a disk's name is not the NSID. What is asked for is found or explained:
 * an error says what there is instead, or which driver has the controller.
 */
#include "lib/xbdev/driver/nvme_sysfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/util/error.h"

#define PCI_ADDR_SIZE   20u
#define PCI_CLASS_NVME  0x0108u /* mass storage, non-volatile memory */
#define MAX_NAMESPACES  1024u
#define IDENTITY_PRIME  0x100000001b3ull /* FNV-1a */
#define IDENTITY_OFFSET 0xcbf29ce484222325ull

/* ---- reading sysfs ---- */

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* The attribute's first line without blanks around it; false, and "", when there is none. */
static bool read_text(const char *dir, const char *attribute, char *text, size_t size)
{
	char path[PATH_MAX];
	size_t start = 0;
	ssize_t len = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, text, size - 1);
		close(fd);
	}
	text[len > 0 ? len : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	for (size_t end = strlen(text); end > 0 && isspace((unsigned char)text[end - 1]); end--) {
		text[end - 1] = '\0';
	}
	start = strspn(text, " \t");
	memmove(text, text + start, strlen(text + start) + 1);
	return len >= 0;
}

static uint64_t read_number(const char *dir, const char *attribute, uint64_t fallback)
{
	char text[32], *end;
	uint64_t value;

	if (!read_text(dir, attribute, text, sizeof(text)) || !isdigit((unsigned char)text[0])) {
		return fallback;
	}
	value = strtoull(text, &end, 10);
	return *end == '\0' ? value : fallback;
}

/* The last part of what a link points at; false when it is no link, or longer than a name is. */
static bool read_link_name(const char *path, char *name, size_t size)
{
	char target[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	const char *last;

	if (len <= 0) {
		return false;
	}
	target[len] = '\0';
	last = strrchr(target, '/');
	last = last != NULL ? last + 1 : target;
	if (strlen(last) >= size) {
		return false;
	}
	strcpy(name, last);
	return true;
}

/* Calls fn for every name in a directory, in the order of the names, until it returns false. */
static void each_name(
	const char *path, bool (*fn)(void *arg, const char *dir, const char *name), void *arg)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, versionsort);
	bool goes_on = true;

	for (int i = 0; i < count; i++) {
		if (goes_on && names[i]->d_name[0] != '.') {
			goes_on = fn(arg, path, names[i]->d_name);
		}
		free(names[i]);
	}
	if (count >= 0) {
		free(names);
	}
}

/* ---- names ---- */

/* Reads "PREFIX<number>" and returns what is behind it; NULL: it is not that. */
static const char *take_number(const char *text, const char *prefix, unsigned *ret_number)
{
	size_t len = strlen(prefix);
	unsigned long number;
	char *end;

	if (strncmp(text, prefix, len) != 0 || !isdigit((unsigned char)text[len])) {
		return NULL;
	}
	number = strtoul(text + len, &end, 10);
	if (number > UINT_MAX) {
		return NULL;
	}
	*ret_number = (unsigned)number;
	return end;
}

static bool is_controller_name(const char *name)
{
	unsigned number;
	const char *rest = take_number(name, "nvme", &number);

	return rest != NULL && *rest == '\0';
}

/* Of a disk ("nvme0n1") or of one path to it ("nvme0c1n1") the two numbers of the disk. */
static bool parse_disk_name(const char *name, unsigned *ret_instance, unsigned *ret_head)
{
	unsigned path;
	const char *rest = take_number(name, "nvme", ret_instance);

	if (rest != NULL && *rest == 'c') {
		rest = take_number(rest, "c", &path);
	}
	rest = rest != NULL ? take_number(rest, "n", ret_head) : NULL;
	return rest != NULL && *rest == '\0';
}

/* "[dddd:]bb:dd.f" in hexadecimal, in the kernel's spelling. */
static int parse_pci_addr(const char *text, char addr[PCI_ADDR_SIZE])
{
	unsigned domain = 0, bus, device, function;
	int len = -1;

	if (text[strspn(text, "0123456789abcdefABCDEF:.")] != '\0') {
		return -EINVAL;
	}
	if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &len) != 4) {
		domain = 0;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &len) != 3) {
			return -EINVAL;
		}
	}
	if (len < 0 || text[len] != '\0' || device > 0x1f || function > 7) {
		return -EINVAL;
	}
	snprintf(addr, PCI_ADDR_SIZE, "%04x:%02x:%02x.%x", domain, bus, device, function);
	return 0;
}

/* ---- controllers ---- */

struct controller_search {
	const char *addr;
	bool is_found;
	char name[XBDEV__NVME_NAME_SIZE];
	char others[256]; /* "0000:00:04.0 (nvme0), ..." */
};

static bool look_at_controller(void *arg, const char *dir, const char *name)
{
	struct controller_search *search = arg;
	size_t len = strlen(search->others);
	char path[PATH_MAX], addr[128], transport[16];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!is_controller_name(name) ||
		!read_text(path, "transport", transport, sizeof(transport)) ||
		strcmp(transport, "pcie") != 0 || !read_text(path, "address", addr, sizeof(addr))) {
		return true;
	}
	if (strcmp(addr, search->addr) == 0) {
		search->is_found = true;
		snprintf(search->name, sizeof(search->name), "%s", name);
		return false;
	}
	snprintf(search->others + len, sizeof(search->others) - len, "%s%s (%s)",
		len != 0 ? ", " : "", addr, name);
	return true;
}

/* Says why there is no controller at a PCI address. */
static int explain_pci(const char *sys, const char *addr, const char *others, struct xu_error *err)
{
	char path[PATH_MAX], text[PATH_MAX + 16], class[16] = "", driver[64] = "";

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s", sys, addr);
	if (!exists(path)) {
		return xu_error_set(err, -ENODEV,
			"there is no PCI device at %s; NVMe controllers here: %s", addr,
			others[0] != '\0' ? others : "none");
	}
	read_text(path, "class", class, sizeof(class));
	if (strtoul(class, NULL, 16) >> 8 != PCI_CLASS_NVME) {
		return xu_error_set(err, -ENODEV,
			"the PCI device at %s is no NVMe controller (its class is %s); NVMe "
			"controllers here: %s",
			addr, class, others[0] != '\0' ? others : "none");
	}
	snprintf(text, sizeof(text), "%s/driver", path);
	if (!read_link_name(text, driver, sizeof(driver))) {
		return xu_error_set(err, -ENODEV,
			"the NVMe controller at %s has no driver; load the kernel's module nvme",
			addr);
	}
	if (strcmp(driver, "nvme") != 0) {
		return xu_error_set(err, -EBUSY,
			"the NVMe controller at %s belongs to the driver %s; give it back to the "
			"kernel's nvme driver",
			addr, driver);
	}
	return xu_error_set(err, -ENODEV,
		"the NVMe controller at %s is not ready: the kernel has not finished with it, or "
		"has given it up (see dmesg)",
		addr);
}

static int find_controller(
	const char *sys, const char *pci_addr, char *name, size_t size, struct xu_error *err)
{
	struct controller_search search = {0};
	char addr[PCI_ADDR_SIZE], path[PATH_MAX];

	if (parse_pci_addr(pci_addr, addr) != 0) {
		return xu_error_set(err, -EINVAL,
			"'%s' is no PCI address; it looks like 0000:01:00.0 or 01:00.0", pci_addr);
	}
	search.addr = addr;
	snprintf(path, sizeof(path), "%s/class/nvme", sys);
	each_name(path, look_at_controller, &search);
	if (!search.is_found) {
		return explain_pci(sys, addr, search.others, err);
	}
	snprintf(name, size, "%s", search.name);
	return 0;
}

/* ---- namespaces ---- */

struct namespace_search {
	uint32_t nsid; /* 0: any */
	uint32_t count;
	uint32_t found_nsid;
	char disk[XBDEV__NVME_NAME_SIZE];
	char all[256]; /* "1, 3" */
};

static bool look_at_namespace(void *arg, const char *dir, const char *name)
{
	struct namespace_search *search = arg;
	size_t len = strlen(search->all);
	unsigned instance, head;
	char path[PATH_MAX];
	uint32_t nsid;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!parse_disk_name(name, &instance, &head)) {
		return true;
	}
	nsid = (uint32_t)read_number(path, "nsid", 0);
	if (nsid == 0) {
		return true;
	}
	snprintf(search->all + len, sizeof(search->all) - len, "%s%u", len != 0 ? ", " : "", nsid);
	if (search->nsid == 0 || search->nsid == nsid) {
		search->found_nsid = nsid;
		snprintf(search->disk, sizeof(search->disk), "nvme%un%u", instance, head);
		search->count++;
	}
	return search->count < MAX_NAMESPACES;
}

static int find_namespace(const char *sys, const char *controller, uint32_t nsid,
	struct xbdev__nvme_disk *disk, struct xu_error *err)
{
	struct namespace_search search = {.nsid = nsid};
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/class/nvme/%s", sys, controller);
	if (!exists(path)) {
		return xu_error_set(err, -ENODEV, "there is no NVMe controller %s", controller);
	}
	each_name(path, look_at_namespace, &search);
	if (search.all[0] == '\0') {
		return xu_error_set(
			err, -ENODEV, "the NVMe controller %s has no namespace", controller);
	}
	if (search.count == 0) {
		return xu_error_set(err, -ENODEV,
			"the NVMe controller %s has no namespace %u; it has %s", controller, nsid,
			search.all);
	}
	if (search.count > 1) {
		return xu_error_set(err, -EINVAL,
			"the NVMe controller %s has the namespaces %s; choose one by nsid",
			controller, search.all);
	}
	snprintf(disk->disk, sizeof(disk->disk), "%s", search.disk);
	disk->nsid = search.found_nsid;
	return 0;
}

static bool take_first_controller(void *arg, const char *dir, const char *name)
{
	struct xbdev__nvme_disk *disk = arg;

	(void)dir;
	if (is_controller_name(name)) {
		snprintf(disk->controller, sizeof(disk->controller), "%s", name);
	}
	return disk->controller[0] == '\0';
}

/* The controller of a disk, or, with multipath, the first of its subsystem. */
static int find_disk(const char *sys, const char *name, uint32_t nsid,
	struct xbdev__nvme_disk *disk, struct xu_error *err)
{
	char path[PATH_MAX], device[PATH_MAX + 16], parent[XBDEV__NVME_NAME_SIZE] = "";

	snprintf(path, sizeof(path), "%s/block/%s", sys, name);
	disk->nsid = (uint32_t)read_number(path, "nsid", 0);
	if (disk->nsid == 0) {
		return xu_error_set(err, -ENODEV, "there is no NVMe disk %s", name);
	}
	if (nsid != 0 && nsid != disk->nsid) {
		return xu_error_set(err, -EINVAL, "the NVMe disk %s is namespace %u and not %u",
			name, disk->nsid, nsid);
	}
	snprintf(disk->disk, sizeof(disk->disk), "%s", name);
	snprintf(device, sizeof(device), "%s/device", path);
	read_link_name(device, parent, sizeof(parent));
	if (is_controller_name(parent)) {
		snprintf(disk->controller, sizeof(disk->controller), "%s", parent);
	} else {
		each_name(device, take_first_controller, disk);
	}
	return 0;
}

static int find_by_device(const char *sys, const char *device, uint32_t nsid,
	struct xbdev__nvme_disk *disk, struct xu_error *err)
{
	const char *slash = strrchr(device, '/'), *name = slash != NULL ? slash + 1 : device;
	char disk_name[XBDEV__NVME_NAME_SIZE], known[XBDEV__NVME_NAME_SIZE];
	unsigned instance, head;
	const char *rest;

	/* A name by which udev knows the disk is a link to the kernel's. */
	if (slash != NULL && read_link_name(device, known, sizeof(known))) {
		name = known;
	}
	if (is_controller_name(name)) {
		snprintf(disk->controller, sizeof(disk->controller), "%s", name);
		return find_namespace(sys, name, nsid, disk, err);
	}
	rest = take_number(name, "ng", &instance);
	rest = rest != NULL ? take_number(rest, "n", &head) : NULL;
	if ((rest != NULL && *rest == '\0') ||
		(parse_disk_name(name, &instance, &head) && strchr(name, 'c') == NULL)) {
		snprintf(disk_name, sizeof(disk_name), "nvme%un%u", instance, head);
		return find_disk(sys, disk_name, nsid, disk, err);
	}
	return xu_error_set(err, -EINVAL,
		"'%s' is no NVMe controller or disk such as nvme0 or nvme0n1; a partition or "
		"another disk is a device of the driver \"file\"",
		device);
}

/* ---- what it is ---- */

/* A UUID of version 8 that depends on the text alone. */
static struct xu_uuid uuid_of_text(const char *text)
{
	uint64_t hash[2] = {IDENTITY_OFFSET, ~IDENTITY_OFFSET};
	struct xu_uuid uuid;

	for (const char *c = text; *c != '\0'; c++) {
		hash[0] = (hash[0] ^ (unsigned char)*c) * IDENTITY_PRIME;
		hash[1] = (hash[1] ^ (unsigned char)*c) * IDENTITY_PRIME;
		hash[1] ^= hash[0] >> 29;
	}
	for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
		uuid.bytes[i] = (uint8_t)(hash[i / 8] >> (56 - 8 * (i % 8)));
	}
	uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x80);
	uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
	return uuid;
}

/* "uuid.<UUID>", "eui.<NGUID or EUI64>" or "nvme.<vendor>-<serial>-<model>-<NSID>". */
static struct xu_uuid uuid_of_wwid(const char *wwid)
{
	struct xu_uuid uuid = {0};

	if (wwid[0] == '\0' ||
		(strncmp(wwid, "uuid.", 5) == 0 && xu_uuid_parse(wwid + 5, &uuid) == 0)) {
		return uuid;
	}
	if (strncmp(wwid, "eui.", 4) == 0 && strlen(wwid) == 4 + 2 * sizeof(uuid.bytes)) {
		for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
			char digits[3] = {wwid[4 + 2 * i], wwid[5 + 2 * i], '\0'};

			uuid.bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
		}
		return uuid;
	}
	return uuid_of_text(wwid);
}

static void describe(const char *sys, struct xbdev__nvme_disk *disk)
{
	char path[PATH_MAX], text[32];
	unsigned instance, head;

	snprintf(path, sizeof(path), "%s/class/nvme/%s", sys, disk->controller);
	read_text(path, "transport", disk->transport, sizeof(disk->transport));
	read_text(path, "address", disk->address, sizeof(disk->address));
	read_text(path, "model", disk->model, sizeof(disk->model));
	read_text(path, "serial", disk->serial, sizeof(disk->serial));
	read_text(path, "firmware_rev", disk->firmware, sizeof(disk->firmware));
	disk->numa_node = read_text(path, "numa_node", text, sizeof(text)) && text[0] != '\0'
				  ? (int32_t)strtol(text, NULL, 10)
				  : -1;

	snprintf(path, sizeof(path), "%s/block/%s", sys, disk->disk);
	read_text(path, "wwid", disk->wwid, sizeof(disk->wwid));
	disk->uuid = uuid_of_wwid(disk->wwid);
	disk->max_transfer = read_number(path, "queue/max_hw_sectors_kb", 128) << 10;
	disk->max_write_zeroes = read_number(path, "queue/write_zeroes_max_bytes", 0);
	disk->max_segments = (uint32_t)read_number(path, "queue/max_segments", 1);
	disk->optimal_io = (uint32_t)read_number(path, "queue/optimal_io_size", 0);
	disk->nr_requests = (uint32_t)read_number(path, "queue/nr_requests", 64);
	disk->discard_granularity = (uint32_t)read_number(path, "queue/discard_granularity", 0);

	if (parse_disk_name(disk->disk, &instance, &head)) {
		snprintf(disk->generic, sizeof(disk->generic), "ng%un%u", instance, head);
		snprintf(path, sizeof(path), "%s/class/nvme-generic/%s", sys, disk->generic);
		if (!exists(path)) {
			disk->generic[0] = '\0';
		}
	}
}

int xbdev__nvme_find(const char *sys, const char *pci_addr, const char *device, uint32_t nsid,
	struct xbdev__nvme_disk *ret_disk, struct xu_error *err)
{
	struct xbdev__nvme_disk disk = {0};
	int rc;

	if (pci_addr != NULL) {
		rc = find_controller(sys, pci_addr, disk.controller, sizeof(disk.controller), err);
		if (rc == 0) {
			rc = find_namespace(sys, disk.controller, nsid, &disk, err);
		}
	} else {
		rc = find_by_device(sys, device, nsid, &disk, err);
	}
	if (rc == 0) {
		describe(sys, &disk);
		*ret_disk = disk;
	}
	return rc;
}

/* ---- users ---- */

struct user_search {
	const char *sys, *disk;
	char *user;
	size_t size;
};

static bool take_holder(void *arg, const char *dir, const char *name)
{
	struct user_search *search = arg;

	(void)dir;
	snprintf(search->user, search->size, "held by %s", name);
	return false;
}

/* Those of the disk itself and of its partitions. */
static bool look_for_holders(void *arg, const char *dir, const char *name)
{
	struct user_search *search = arg;
	char path[PATH_MAX];

	if (strncmp(name, search->disk, strlen(search->disk)) == 0) {
		snprintf(path, sizeof(path), "%s/%s/holders", dir, name);
		each_name(path, take_holder, search);
	}
	return search->user[0] == '\0';
}

/* Whether a mount's source is the disk or a partition of it. */
static bool is_of_disk(const char *source, const char *disk)
{
	size_t len = strlen(disk);

	if (strncmp(source, "/dev/", 5) != 0 || strncmp(source + 5, disk, len) != 0) {
		return false;
	}
	source += 5 + len;
	return *source == '\0' || (*source == 'p' && isdigit((unsigned char)source[1]));
}

bool xbdev__nvme_is_sibling(const char *disk, const char *other)
{
	const char *end = strrchr(disk, 'n');
	size_t len = end != NULL ? (size_t)(end - disk) + 1 : 0;

	/* A disk has nothing but digits behind its last n, a partition has a p. */
	return len > 1 && strcmp(disk, other) != 0 && strncmp(disk, other, len) == 0 &&
	       other[len] != '\0' && other[len + strspn(other + len, "0123456789")] == '\0';
}

void xbdev__nvme_user(
	const char *sys, const char *mounts, const char *disk, char *user, size_t size)
{
	struct user_search search = {.sys = sys, .disk = disk, .user = user, .size = size};
	char path[PATH_MAX], line[PATH_MAX], source[256], where[256];
	FILE *file = fopen(mounts, "re");

	user[0] = '\0';
	while (file != NULL && user[0] == '\0' && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%255s %255s", source, where) == 2 && is_of_disk(source, disk)) {
			snprintf(user, size, "mounted on %s", where);
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	if (user[0] == '\0') {
		snprintf(path, sizeof(path), "%s/block/%s/holders", sys, disk);
		each_name(path, take_holder, &search);
	}
	if (user[0] == '\0') {
		snprintf(path, sizeof(path), "%s/block/%s", sys, disk);
		each_name(path, look_for_holders, &search);
	}
}
