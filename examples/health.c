/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * health FILE [SECONDS]: how healthy the disk of a file is, and for so long a monitor that tells
 * when something is wrong. FILE may be a disk, "/dev/nvme0n1". Reading a disk's own data (SMART)
 * needs root; without, the program tells why there is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

static void check(const char *what, int rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
}

/* On a thread of the library. */
static void on_event(const xbdev_health_event_t *event, void *user_ctx)
{
	int *nr_events = user_ctx;

	printf("%s %s: %s\n", event->device, event->is_over ? "is better" : "needs care",
		event->text);
	++*nr_events;
}

static void show(const xbdev_health_info_t *health)
{
	printf("health: %d %%%s%s\n", health->health_percentage,
		health->reason[0] != '\0' ? ", because " : "", health->reason);
	if (health->estimated_lifetime_days >= 0) {
		printf("days left: %d, ", health->estimated_lifetime_days);
	} else {
		printf("days left: unknown, ");
	}
	printf("%s\n", health->estimate_method);
	printf("written: %llu MiB\n", health->total_bytes_written >> 20);
	if (health->temperature != XBDEV_HEALTH_UNKNOWN_TEMPERATURE) {
		printf("temperature: %d degrees Celsius\n", health->temperature);
	}
	printf("errors: %llu of %llu operations, %llu of the disk\n",
		(unsigned long long)health->io_errors, (unsigned long long)health->io_operations,
		(unsigned long long)health->media_errors);
	printf("from: %s\n", health->source);
}

int main(int argc, char **argv)
{
	const xbdev_health_config_t health_config = {
		.interval_s = 1, /* 60 would do */
		.smart_monitoring = true,
		.temperature_threshold = 65, /* degrees Celsius */
		.wear_level_threshold = 85,  /* percent */
	};
	xbdev_health_info_t health;
	int nr_events = 0;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: health FILE [SECONDS]\n");
		return 2;
	}
	check("starting", xbdev_init());
	check("the device", xbdev_config_aio(argv[1], "disk"));
	check("the callback", xbdev_register_health_callback(on_event, &nr_events));
	check("the monitor", xbdev_health_monitor_start(&health_config));

	check("the health", xbdev_health_status_get("disk", &health));
	show(&health);
	sleep(argc == 3 ? (unsigned)atoi(argv[2]) : 3);

	check("the monitor", xbdev_health_monitor_stop());
	/* When this has returned, the callback does not run any more. */
	check("the callback", xbdev_unregister_health_callback(on_event, &nr_events));
	printf("%d events\n", nr_events);
	check("ending", xbdev_fini());
	return 0;
}
