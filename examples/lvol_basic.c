/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lvol_basic DISK: a store of logical volumes on a disk of 600 MiB or more, with a thin volume, a
 * thick one, a snapshot, and a clone of that.
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

static void show(const char *name)
{
	xbdev_lvol_info_t info = {.size = sizeof(info)};

	check("what is known of a volume", xbdev_lvol_info(name, &info));
	printf("%s: %llu MiB, %llu of %llu clusters of its own%s%s\n", name,
		(unsigned long long)info.size_bytes >> 20, (unsigned long long)info.num_allocated,
		(unsigned long long)info.num_clusters, info.parent[0] != '\0' ? ", on " : "",
		info.parent);
}

int main(int argc, char **argv)
{
	char buf[BLOCK] = "before the snapshot", copy[BLOCK];
	int data_fd, log_fd, clone_fd;

	if (argc != 2) {
		fprintf(stderr, "usage: lvol_basic DISK (which holds nothing)\n");
		return 2;
	}
	check("starting", xbdev_init());
	check("the disk", xbdev_config_aio(argv[1], "disk0"));
	check("the store", xbdev_lvs_create("disk0", "lvs0", 4096));
	check("a thin volume", xbdev_lvol_create("lvs0", "data_vol", 1024, true));
	check("a thick volume", xbdev_lvol_create("lvs0", "log_vol", 512, false));

	/* Volumes are devices like any other. */
	data_fd = check("opening", xbdev_open("lvs0/data_vol"));
	log_fd = check("opening", xbdev_open("lvs0/log_vol"));
	check("writing", (int)xbdev_write(data_fd, buf, BLOCK, 0));
	check("reading", (int)xbdev_read(data_fd, copy, BLOCK, 0));
	check("writing", (int)xbdev_write(log_fd, buf, BLOCK, 0));

	/* What is written from now on is not in the snapshot. */
	check("a snapshot", xbdev_snapshot_create("lvs0/data_vol", "data_snap1"));
	strcpy(buf, "after it");
	check("writing", (int)xbdev_write(data_fd, buf, BLOCK, 0));
	check("writing", (int)xbdev_write(data_fd, buf, BLOCK, 8192));

	check("a clone", xbdev_clone_create("lvs0/data_snap1", "data_clone1"));
	clone_fd = check("opening", xbdev_open("lvs0/data_clone1"));
	check("reading", (int)xbdev_read(clone_fd, copy, BLOCK, 0));
	printf("the clone holds \"%s\"\n", copy);
	show("lvs0/data_vol");
	show("lvs0/log_vol");
	show("lvs0/data_snap1");
	show("lvs0/data_clone1");

	check("closing", xbdev_close(data_fd));
	check("closing", xbdev_close(log_fd));
	check("closing", xbdev_close(clone_fd));
	check("the end of the clone", xbdev_lvol_destroy("lvs0/data_clone1"));
	check("the end of the snapshot", xbdev_snapshot_destroy("lvs0/data_snap1"));
	check("the end of a volume", xbdev_lvol_destroy("lvs0/data_vol"));
	check("the end of a volume", xbdev_lvol_destroy("lvs0/log_vol"));
	check("the end of the store", xbdev_lvs_destroy("lvs0"));
	check("ending", xbdev_fini());
	return 0;
}
