/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raid DISK DISK DISK DISK: a stripe for speed and a mirror for safety, each on two disks, used as
 * one device each. On disk both are Linux MD's: mdadm --examine DISK reads them.
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
	static const char *const names[] = {"disk0", "disk1", "disk2", "disk3"};
	const char *raid0_disks[] = {"disk0", "disk1"};
	const char *raid1_disks[] = {"disk2", "disk3"};
	char buf[BLOCK] = "safe and sound";
	char copy[BLOCK];
	int fast_fd, safe_fd;

	if (argc != 5) {
		fprintf(stderr, "usage: raid DISK DISK DISK DISK (what is on them is lost)\n");
		return 2;
	}
	check("starting", xbdev_init());
	for (int i = 0; i < 4; i++) {
		check("a disk", xbdev_config_aio(argv[1 + i], names[i]));
	}

	check("the stripe", xbdev_raid0_create("raid0_dev", raid0_disks, 2, 128));
	check("the mirror", xbdev_raid1_create("raid1_dev", raid1_disks, 2));

	fast_fd = check("opening", xbdev_open("raid0_dev"));
	safe_fd = check("opening", xbdev_open("raid1_dev"));
	check("reading", (int)xbdev_read(fast_fd, copy, BLOCK, 0));
	check("writing", (int)xbdev_write(safe_fd, buf, BLOCK, 0));
	check("flushing", xbdev_flush(safe_fd));
	check("closing", xbdev_close(fast_fd));
	check("closing", xbdev_close(safe_fd));

	/* As after a restart: the members know what they are. */
	check("stopping", xbdev_md_stop("raid1_dev"));
	check("assembling", xbdev_md_assemble("raid1_dev", XBDEV_MD_LEVEL_RAID1, raid1_disks, 2));
	safe_fd = check("opening", xbdev_open("raid1_dev"));
	check("reading", (int)xbdev_read(safe_fd, copy, BLOCK, 0));
	printf("the mirror holds \"%s\"\n", copy);
	check("closing", xbdev_close(safe_fd));
	check("ending", xbdev_fini());
	return 0;
}
