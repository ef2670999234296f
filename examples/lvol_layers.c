/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lvol_layers DISK DISK: disks of 128 MiB or more, a mirror of them, a store on that, volumes in
 * it, a snapshot and a clone; and all of it taken down again, from the top.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xbdev/xbdev.h>

#define BLOCK 4096u

static int check(const char *what, int rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

int main(int argc, char **argv)
{
	const char *raid1_disks[] = {"disk0", "disk1"};
	char buffer[BLOCK] = "all the way down";
	xbdev_lvs_info_t store = {.size = sizeof(store)};
	int thin_fd, clone_fd;

	if (argc != 3) {
		fprintf(stderr, "usage: lvol_layers DISK DISK (which hold nothing)\n");
		return 2;
	}
	check("starting", xbdev_init());
	check("a disk", xbdev_config_aio(argv[1], raid1_disks[0]));
	check("a disk", xbdev_config_aio(argv[2], raid1_disks[1]));
	check("the mirror", xbdev_raid1_create("raid1_dev", raid1_disks, 2));
	check("the store", xbdev_lvs_create("raid1_dev", "lvs_raid", 4096));

	/* A thin volume may be larger than what is below it: it takes what is written. */
	check("a thin volume", xbdev_lvol_create("lvs_raid", "thin_vol", 10240, true));
	check("a thick volume", xbdev_lvol_create("lvs_raid", "thick_vol", 64, false));
	thin_fd = check("opening", xbdev_open("lvs_raid/thin_vol"));
	check("writing", (int)xbdev_write(thin_fd, buffer, BLOCK, 0));
	check("closing", xbdev_close(thin_fd));

	check("a snapshot", xbdev_snapshot_create("lvs_raid/thin_vol", "thin_vol_snap1"));
	check("a clone", xbdev_clone_create("lvs_raid/thin_vol_snap1", "thin_vol_clone1"));
	memset(buffer, 0, sizeof(buffer));
	clone_fd = check("opening", xbdev_open("lvs_raid/thin_vol_clone1"));
	check("reading", (int)xbdev_read(clone_fd, buffer, BLOCK, 0));
	check("closing", xbdev_close(clone_fd));
	check("what is known of the store", xbdev_lvs_info("lvs_raid", &store));
	printf("the clone holds \"%s\"; the store has %u volumes, to which it has promised %llu "
	       "MiB of %llu\n",
		buffer, store.num_volumes,
		(unsigned long long)(store.promised_clusters * store.cluster_size) >> 20,
		(unsigned long long)(store.total_clusters * store.cluster_size) >> 20);

	/* What stands on something goes first. */
	check("the end of the clone", xbdev_lvol_destroy("lvs_raid/thin_vol_clone1"));
	check("the end of the snapshot", xbdev_snapshot_destroy("lvs_raid/thin_vol_snap1"));
	check("the end of a volume", xbdev_lvol_destroy("lvs_raid/thin_vol"));
	check("the end of a volume", xbdev_lvol_destroy("lvs_raid/thick_vol"));
	check("the end of the store", xbdev_lvs_destroy("lvs_raid"));
	check("stopping the mirror", xbdev_raid_remove("raid1_dev"));
	check("ending", xbdev_fini());
	return 0;
}
