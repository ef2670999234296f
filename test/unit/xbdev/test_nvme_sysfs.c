/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/nvme_sysfs.c on a tree that looks like sysfs: plain and multipath disks as Linux
 * 6.1 shows them, controllers without a driver, and names that are none.
 */
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/xbdev/driver/nvme_sysfs.h"
#include "test/unit/xbdev/harness.h"

static char sys[] = "nvme-sysfs-XXXXXX";

/* ---- the tree ---- */

static void make_parents(const char *path)
{
	char dir[512];

	for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		assert_true(dir[0] == '\0' || mkdir(dir, 0700) == 0 || errno == EEXIST);
	}
}

/* put("class/nvme/nvme0/serial", "S1  \n") */
static void put(const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", sys, name);
	make_parents(path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void put_in(const char *dir, const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	put(path, text);
}

static void link_to(const char *target, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", sys, name);
	make_parents(path);
	assert_int_equal(symlink(target, path), 0);
}

static void put_controller(const char *name, const char *transport, const char *address)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "class/nvme/%s", name);
	put_in(dir, "transport", transport);
	put_in(dir, "address", address);
	put_in(dir, "model", "Good Disk 9                             \n");
	put_in(dir, "serial", "S-1                 \n");
	put_in(dir, "firmware_rev", "1.0     \n");
	put_in(dir, "numa_node", "1\n");
}

static void put_disk(const char *name, const char *nsid, const char *wwid)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "block/%s", name);
	put_in(dir, "nsid", nsid);
	put_in(dir, "wwid", wwid);
	put_in(dir, "queue/max_hw_sectors_kb", "512\n");
	put_in(dir, "queue/max_segments", "127\n");
	put_in(dir, "queue/write_zeroes_max_bytes", "524288\n");
	put_in(dir, "queue/discard_granularity", "4096\n");
	put_in(dir, "queue/optimal_io_size", "0\n");
	put_in(dir, "holders/.keep", "");
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(sys));
	put_controller("nvme0", "pcie\n", "0000:00:04.0\n");
	put("class/nvme/nvme0/nvme0n1/nsid", "1\n");
	put("class/nvme/nvme0/nvme0n2/nsid", "3\n");
	put("class/nvme/nvme0/ng0n1/dev", "244:0\n");
	put_disk("nvme0n1", "1\n", "uuid.11111111-2222-3333-4444-555555555555\n");
	put_disk("nvme0n2", "3\n", "eui.000102030405060708090A0b0c0d0e0f\n");
	link_to("../../nvme0", "block/nvme0n1/device");
	link_to("../../nvme0", "block/nvme0n2/device");
	put("class/nvme-generic/ng0n1/dev", "244:0\n");
	put("class/nvme-generic/ng0n2/dev", "244:1\n");

	put_controller("nvme10", "pcie\n", "10000:e1:00.0\n");
	put("class/nvme/nvme10/nvme10n1/nsid", "1\n");
	put_disk("nvme10n1", "1\n", "nvme.1b36-5331-51-00000001\n");
	link_to("../../nvme10", "block/nvme10n1/device");

	/* Two controllers of one subsystem. Its instance is not that of either. */
	put_controller("nvme2", "pcie\n", "0000:00:06.0\n");
	put_controller("nvme3", "tcp\n", "traddr=127.0.0.1,trsvcid=4420\n");
	put("class/nvme/nvme2/nvme5c2n1/nsid", "7\n");
	put("class/nvme/nvme3/nvme5c3n1/nsid", "7\n");
	put_disk("nvme5n1", "7\n", "nvme.other\n");
	put("class/nvme-generic/ng5n1/dev", "244:2\n");
	put("class/nvme-subsystem/nvme-subsys5/nvme3/dev", "");
	put("class/nvme-subsystem/nvme-subsys5/nvme2/dev", "");
	put("class/nvme-subsystem/nvme-subsys5/iopolicy", "numa\n");
	link_to("../../class/nvme-subsystem/nvme-subsys5", "block/nvme5n1/device");

	put_controller("nvme4", "pcie\n", "0000:00:07.0\n"); /* no namespace */
	put("bus/pci/devices/0000:00:02.0/class", "0x020000\n");
	put("bus/pci/devices/0000:00:08.0/class", "0x010802\n");
	link_to("../../drivers/vfio-pci", "bus/pci/devices/0000:00:08.0/driver");
	put("bus/pci/devices/0000:00:09.0/class", "0x010802\n");
	put("bus/pci/devices/0000:00:0a.0/class", "0x010802\n");
	link_to("../../drivers/nvme", "bus/pci/devices/0000:00:0a.0/driver");
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(sys, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- cases ---- */

static struct xbdev__nvme_disk find(const char *pci_addr, const char *device, uint32_t nsid)
{
	struct xbdev__nvme_disk disk;
	struct xu_error err = {0};

	if (xbdev__nvme_find(sys, pci_addr, device, nsid, &disk, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return disk;
}

static void assert_not_found(
	const char *pci_addr, const char *device, uint32_t nsid, int code, const char *words)
{
	struct xbdev__nvme_disk disk;
	struct xu_error err = {0};

	assert_int_equal(xbdev__nvme_find(sys, pci_addr, device, nsid, &disk, &err), code);
	assert_int_equal(err.code, code);
	if (strstr(err.text, words) == NULL) {
		fail_msg("'%s' is not in '%s'", words, err.text);
	}
}

static void test_nvme_is_found_by_pci_address(void **state)
{
	struct xbdev__nvme_disk disk = find("0000:00:04.0", NULL, 3);
	char uuid[XU_UUID_TEXT_SIZE];

	(void)state;
	assert_string_equal(disk.controller, "nvme0");
	assert_string_equal(disk.disk, "nvme0n2");
	assert_string_equal(disk.generic, "ng0n2");
	assert_string_equal(disk.transport, "pcie");
	assert_string_equal(disk.address, "0000:00:04.0");
	assert_string_equal(disk.model, "Good Disk 9");
	assert_string_equal(disk.serial, "S-1");
	assert_string_equal(disk.firmware, "1.0");
	assert_int_equal(disk.nsid, 3);
	assert_int_equal(disk.numa_node, 1);
	assert_int_equal(disk.max_transfer, 512u << 10);
	assert_int_equal(disk.max_write_zeroes, 524288);
	assert_int_equal(disk.max_segments, 127);
	assert_int_equal(disk.discard_granularity, 4096);
	assert_int_equal(disk.optimal_io, 0);
	xu_uuid_format(&disk.uuid, uuid);
	assert_string_equal(uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f");

	assert_string_equal(find("00:04.0", NULL, 1).disk, "nvme0n1");
	/* The only namespace needs no number; no generic device here. */
	disk = find("10000:E1:00.0", NULL, 0);
	assert_string_equal(disk.disk, "nvme10n1");
	assert_int_equal(disk.nsid, 1);
	assert_string_equal(disk.generic, "");
	assert_string_equal(find("0000:00:06.0", NULL, 0).disk, "nvme5n1");
}

static void test_nvme_is_found_by_name(void **state)
{
	char link[64];

	(void)state;
	assert_string_equal(find(NULL, "nvme0n2", 0).controller, "nvme0");
	assert_int_equal(find(NULL, "/dev/nvme0n2", 3).nsid, 3);
	assert_string_equal(find(NULL, "/dev/ng0n1", 0).disk, "nvme0n1");
	assert_string_equal(find(NULL, "nvme10", 0).disk, "nvme10n1");
	assert_string_equal(find(NULL, "/dev/nvme0", 1).disk, "nvme0n1");
	/* udev's names. */
	snprintf(link, sizeof(link), "%s/by-id", sys);
	assert_int_equal(symlink("../../nvme10n1", link), 0);
	assert_string_equal(find(NULL, link, 0).disk, "nvme10n1");
}

static void test_nvme_of_several_paths(void **state)
{
	struct xbdev__nvme_disk disk = find(NULL, "nvme5n1", 0);

	(void)state;
	assert_string_equal(disk.controller, "nvme2");
	assert_string_equal(disk.generic, "ng5n1");
	assert_int_equal(disk.nsid, 7);
	assert_string_equal(find(NULL, "nvme3", 0).disk, "nvme5n1");
	assert_string_equal(find(NULL, "nvme3", 0).transport, "tcp");
	assert_not_found(NULL, "nvme5c2n1", 0, -EINVAL, "no NVMe controller or disk");
}

/* The identity is the disk's own, or made of what it has, always the same and never another's. */
static void test_nvme_identity(void **state)
{
	struct xu_uuid own = find(NULL, "nvme0n1", 0).uuid;
	struct xu_uuid made = find(NULL, "nvme10n1", 0).uuid;
	struct xu_uuid other = find(NULL, "nvme5n1", 0).uuid;
	char uuid[XU_UUID_TEXT_SIZE];

	(void)state;
	xu_uuid_format(&own, uuid);
	assert_string_equal(uuid, "11111111-2222-3333-4444-555555555555");
	xu_uuid_format(&made, uuid);
	assert_string_equal(uuid, "b90cda26-3b5f-8b6b-8f60-f046f6660f31");
	/* What is made must stay what it is, and be of version 8. */
	assert_int_equal(made.bytes[6] >> 4, 8);
	assert_int_equal(made.bytes[8] >> 6, 2);
	assert_false(xu_uuid_is_equal(&made, &other));
	put("block/nvme10n1/wwid", "nvme.1b36-5331-51-00000002\n");
	other = find(NULL, "nvme10n1", 0).uuid;
	assert_false(xu_uuid_is_equal(&made, &other));
	put("block/nvme10n1/wwid", "\n");
	other = find(NULL, "nvme10n1", 0).uuid;
	assert_true(xu_uuid_is_null(&other));
	put("block/nvme10n1/wwid", "nvme.1b36-5331-51-00000001\n");
}

static void test_nvme_says_what_there_is_instead(void **state)
{
	(void)state;
	assert_not_found("0000:00:04.0", NULL, 0, -EINVAL, "namespaces 1, 3; choose one by nsid");
	assert_not_found("0000:00:04.0", NULL, 2, -ENODEV, "no namespace 2; it has 1, 3");
	assert_not_found("0000:00:07.0", NULL, 0, -ENODEV, "nvme4 has no namespace");
	assert_not_found("0000:00:05.0", NULL, 0, -ENODEV, "0000:00:04.0 (nvme0), ");
	assert_not_found("0000:00:02.0", NULL, 0, -ENODEV, "no NVMe controller (its class is 0x02");
	assert_not_found("0000:00:08.0", NULL, 0, -EBUSY, "belongs to the driver vfio-pci");
	assert_not_found("0000:00:09.0", NULL, 0, -ENODEV, "load the kernel's module nvme");
	assert_not_found("0000:00:0a.0", NULL, 0, -ENODEV, "is not ready");
	assert_not_found(NULL, "nvme9", 0, -ENODEV, "no NVMe controller nvme9");
	assert_not_found(NULL, "nvme9n1", 0, -ENODEV, "no NVMe disk nvme9n1");
	assert_not_found(NULL, "nvme0n1", 3, -EINVAL, "is namespace 1 and not 3");
	assert_not_found(NULL, "nvme0n1p1", 0, -EINVAL, "driver \"file\"");
	assert_not_found(NULL, "/dev/sda", 0, -EINVAL, "driver \"file\"");
}

static void test_nvme_names_that_are_none(void **state)
{
	static const char *const addresses[] = {"", "x", "0000:00:04", "00:04.8", "00:20.0",
		"0000:00:04.0 ", " 00:04.0", "0x0:00:04.0", "-1:00:04.0", "00:04.0.0",
		"000000000:00:04.0", "../..", "00:04.0/.."};
	static const char *const devices[] = {"", "/", "nvme", "nvmeX", "nvme0n", "nvme0n1x",
		"nvme-1", "nvme0/../nvme0n1p1", "../nvme0n1 ", "ng0", "nvme4294967296",
		"nvme99999999999999999999n1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		assert_not_found(addresses[i], NULL, 0, -EINVAL, "no PCI address");
	}
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		assert_not_found(NULL, devices[i], 0, -EINVAL, "no NVMe controller or disk");
	}
}

static void test_nvme_says_who_uses_a_disk(void **state)
{
	char mounts[64], user[64];

	(void)state;
	snprintf(mounts, sizeof(mounts), "%s/mounts", sys);
	put("mounts", "proc /proc proc rw 0 0\n/dev/nvme0n10 /a ext4 rw 0 0\n"
		      "/dev/nvme0n2p1 /srv/data ext4 rw 0 0\n/dev/nvme10n1 /b xfs rw 0 0\n");
	xbdev__nvme_user(sys, mounts, "nvme0n1", user, sizeof(user));
	assert_string_equal(user, "");
	xbdev__nvme_user(sys, mounts, "nvme0n2", user, sizeof(user));
	assert_string_equal(user, "mounted on /srv/data");
	xbdev__nvme_user(sys, mounts, "nvme10n1", user, sizeof(user));
	assert_string_equal(user, "mounted on /b");
	put("block/nvme0n1/nvme0n1p2/holders/md7/dev", "");
	xbdev__nvme_user(sys, mounts, "nvme0n1", user, sizeof(user));
	assert_string_equal(user, "held by md7");
	put("block/nvme0n1/holders/dm-0/dev", "");
	xbdev__nvme_user(sys, "/nowhere", "nvme0n1", user, sizeof(user));
	assert_string_equal(user, "held by dm-0");
	xbdev__nvme_user(sys, mounts, "nvme77n1", user, sizeof(user));
	assert_string_equal(user, "");
}

static void test_nvme_knows_a_disk_beside_another(void **state)
{
	static const struct {
		const char *disk, *other;
		bool is_sibling;
	} cases[] = {
		{"nvme0n1", "nvme0n2", true},
		{"nvme12n1", "nvme12n345", true},
		{"nvme0n1", "nvme0n1", false},
		{"nvme0n1", "nvme0n1p1", false},
		{"nvme0n1", "nvme0n2p1", false},
		{"nvme0n1", "nvme1n2", false},
		{"nvme1n1", "nvme11n2", false},
		{"nvme0n1", "nvme0", false},
		{"nvme0n1", "nvme0n", false},
		{"nvme0n1", "sda", false},
		{"nvme0n1", "", false},
		{"", "nvme0n1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
			xbdev__nvme_is_sibling(cases[i].disk, cases[i].other), cases[i].is_sibling);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nvme_is_found_by_pci_address),
		cmocka_unit_test(test_nvme_is_found_by_name),
		cmocka_unit_test(test_nvme_of_several_paths),
		cmocka_unit_test(test_nvme_identity),
		cmocka_unit_test(test_nvme_says_what_there_is_instead),
		cmocka_unit_test(test_nvme_names_that_are_none),
		cmocka_unit_test(test_nvme_says_who_uses_a_disk),
		cmocka_unit_test(test_nvme_knows_a_disk_beside_another),
	};

	return cmocka_run_group_tests_name("xbdev_nvme_sysfs", tests, set_up, tear_down);
}
