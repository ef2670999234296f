/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raid_spares DISK...: seven disks: a mirror and a raid5, a spare, and the replacement of a disk
 * while the mirror goes on. Each disk has one user: what belongs to one array is refused by the
 * others.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

#define NR_DISKS 7

static int check(const char *what, int rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

static void add_spare(void)
{
	xbdev_raid_spare_params_t spare = {.disk_name = "disk5", .is_global = true};
	int rc = xbdev_raid_update("raid1_dev", XBDEV_RAID_ADD_SPARE, &spare);

	/* A version that has no spares for all arrays has them for one. */
	if (rc == -EOPNOTSUPP) {
		spare.is_global = false;
		rc = xbdev_raid_update("raid1_dev", XBDEV_RAID_ADD_SPARE, &spare);
	}
	check("the spare", rc);
}

/* Waits until nothing is rebuilt any more, at most a minute. */
static void wait_for_rebuild(void)
{
	xbdev_raid_status_t status;

	for (int i = 0; i < 600; i++) {
		check("the status", xbdev_raid_get_status("raid1_dev", &status));
		if (!status.rebuild_active || status.rebuild_progress >= 1.0f) {
			return;
		}
		printf("rebuilt: %.1f %%\n", (double)status.rebuild_progress * 100);
		usleep(100000);
	}
	fprintf(stderr, "the rebuild takes too long\n");
	exit(1);
}

int main(int argc, char **argv)
{
	const char *raid1_disks[] = {"disk0", "disk1"};
	const char *raid5_disks[] = {"disk2", "disk3", "disk4"}, *twice[] = {"disk0", "disk6"};
	const xbdev_raid_replace_params_t replace = {
		.failed_disk_name = "disk1", .new_disk_name = "disk6", .auto_rebuild = true};
	xbdev_raid_status_t status;
	char name[16];

	if (argc != 1 + NR_DISKS) {
		fprintf(stderr, "usage: raid_spares DISK (seven times; what is on them is lost)\n");
		return 2;
	}
	check("starting", xbdev_init());
	for (int i = 0; i < NR_DISKS; i++) {
		snprintf(name, sizeof(name), "disk%d", i);
		check("a disk", xbdev_config_aio(argv[1 + i], name));
	}
	check("the mirror", xbdev_raid1_create("raid1_dev", raid1_disks, 2));
	if (xbdev_raid1_create("raid1_too", twice, 2) != -EBUSY) {
		fprintf(stderr, "a disk was taken twice\n");
		return 1;
	}
	printf("a disk of another array is refused: %s\n", xbdev_last_error());
	check("the raid5", xbdev_raid5_create("raid5_dev", raid5_disks, 3, 128));
	add_spare();
	wait_for_rebuild(); /* the first synchronisation */

	check("the status", xbdev_raid_get_status("raid1_dev", &status));
	printf("the mirror is %s: %d disks, %d spares\n",
		status.status == XBDEV_RAID_STATUS_OPTIMAL ? "well" : "not well", status.disk_count,
		status.spare_count);

	/* Disk 1 is to go; it serves until the new one has what it has. */
	check("replacing", xbdev_raid_update("raid1_dev", XBDEV_RAID_REPLACE_DISK, &replace));
	wait_for_rebuild();
	check("the status", xbdev_raid_get_status("raid1_dev", &status));
	printf("the rebuild is done, %d disk is out\n", status.failed_count);

	check("stopping", xbdev_raid_remove("raid1_dev"));
	check("stopping", xbdev_raid_remove("raid5_dev"));
	check("ending", xbdev_fini());
	return 0;
}
