/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raid_md DISK...: seven disks by the words of Linux MD: a raid5 with a spare that loses a disk and
 * goes on, and a mirror. What happens is told by a callback too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

#define BLOCK    4096u
#define NR_DISKS 7

static int check(const char *what, int rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

/* On a thread of the library. */
static void on_event(void *ctx, const xbdev_md_event_t *event)
{
	printf("event: %s %s: %s\n", event->md_name, event->name, event->text);
}

static void show(void)
{
	xbdev_md_detail_t detail;

	check("the detail", xbdev_md_detail("md0", &detail));
	printf("level %d, state %s, %d disks, %s\n", detail.level,
		detail.state == XBDEV_MD_STATE_ACTIVE || detail.state == XBDEV_MD_STATE_CLEAN
			? "good"
			: "other",
		detail.raid_disks, detail.uuid);
}

static void wait_for_rebuild(void)
{
	xbdev_md_detail_t detail;

	for (int i = 0; i < 600; i++) {
		check("the detail", xbdev_md_detail("md0", &detail));
		if (strcmp(detail.resync_status, "resyncing") != 0) {
			printf("nothing is being rebuilt\n");
			return;
		}
		printf("rebuilt: %.1f %%\n", (double)detail.resync_progress);
		usleep(100000);
	}
	fprintf(stderr, "the rebuild takes too long\n");
	exit(1);
}

int main(int argc, char **argv)
{
	const char *raid5_disks[] = {"disk0", "disk1", "disk2", "disk3"};
	const char *raid1_disks[] = {"disk5", "disk6"};
	xbdev_md_config_t raid5_config = {
		.chunk_size_kb = 128,
		.layout = 0, /* left-symmetric */
		.assume_clean = false,
	};
	char buf[BLOCK] = "still here", copy[BLOCK], name[16];
	int fd;

	if (argc != 1 + NR_DISKS) {
		fprintf(stderr, "usage: raid_md DISK (seven times; what is on them is lost)\n");
		return 2;
	}
	check("starting", xbdev_init());
	for (int i = 0; i < NR_DISKS; i++) {
		snprintf(name, sizeof(name), "disk%d", i);
		check("a disk", xbdev_config_aio(argv[1 + i], name));
	}
	check("watching", xbdev_md_monitor(on_event, NULL));
	check("md0", xbdev_md_create("md0", XBDEV_MD_LEVEL_RAID5, raid5_disks, 4, &raid5_config));
	check("md1", xbdev_md_create_raid1("md1", raid1_disks, 2));
	show();
	check("the spare", xbdev_md_manage("md0", XBDEV_MD_ADD_SPARE, "disk4"));

	fd = check("opening", xbdev_open("md0"));
	check("writing", (int)xbdev_write(fd, buf, BLOCK, 0));

	/* A disk fails, and the spare takes its place; naming that again changes nothing. */
	check("failing", xbdev_md_manage("md0", XBDEV_MD_SET_FAULTY, "disk1"));
	check("replacing", xbdev_md_manage("md0", XBDEV_MD_REPLACE_DISK, &(struct {
		const char *old_disk;
		const char *new_disk;
	}){"disk1", "disk4"}));
	wait_for_rebuild();
	check("reading", (int)xbdev_read(fd, copy, BLOCK, 0));
	printf("md0 holds \"%s\"\n", copy);
	check("closing", xbdev_close(fd));

	check("stopping", xbdev_md_stop("md0"));
	check("stopping", xbdev_md_stop("md1"));
	check("ending", xbdev_fini());
	return 0;
}
