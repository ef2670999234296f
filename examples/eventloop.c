/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * eventloop: I/O in a program that has a poll() loop of its own. The queue's descriptor becomes
 * readable when there are completions; here a timer of the program's own is in the same loop.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

#define BLOCK    4096u
#define NR_READS 100

static long check(const char *what, long rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

static int fd;
static char buf[BLOCK];
static int nr_read;

static void on_read(xbdev_request_t *req, int result, void *arg)
{
	check("reading", result);
	if (++nr_read < NR_READS) {
		req->offset += BLOCK;
		check("submitting", xbdev_request_submit(req));
	}
}

static int make_timer(void)
{
	const struct itimerspec every_ms = {{0, 1000000}, {0, 1000000}};
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);

	if (timer < 0 || timerfd_settime(timer, 0, &every_ms, NULL) != 0) {
		perror("timerfd");
		exit(1);
	}
	return timer;
}

int main(void)
{
	xbdev_request_t *req;
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	uint64_t nr_ticks = 0, count;

	check("starting", xbdev_init());
	check("the device", xbdev_config_malloc(1, BLOCK, "mem"));
	/* So that the loop has something to wait for. */
	check("the device", xbdev_config_device("{\"driver\": \"delay\", \"name\": \"slow\", "
						"\"base\": \"mem\", "
						"\"avg_read_latency_us\": 200}"));
	fd = (int)check("opening", xbdev_open("slow"));
	req = xbdev_request_alloc();
	if (req == NULL) {
		return 1;
	}
	*req = (xbdev_request_t){
		.op_type = XBDEV_OP_READ, .fd = fd, .buf = buf, .count = BLOCK, .user_cb = on_read};
	fds[0].fd = (int)check("the queue", xbdev_queue_eventfd());
	fds[1].fd = make_timer();
	check("submitting", xbdev_request_submit(req));

	while (nr_read < NR_READS) {
		/* Until nothing is left: only then is the descriptor armed again. */
		while (check("polling", xbdev_poll_completions(64, 0)) > 0) {
		}
		if (nr_read < NR_READS && poll(fds, 2, -1) > 0 && (fds[1].revents & POLLIN) &&
			read(fds[1].fd, &count, sizeof(count)) == sizeof(count)) {
			nr_ticks += count;
		}
	}
	printf("%d reads while the timer ticked %s\n", nr_read,
		nr_ticks > 0 ? "several times" : "never");

	close(fds[1].fd);
	check("freeing", xbdev_request_free(req));
	check("closing", xbdev_close(fd));
	check("ending", xbdev_fini());
	return 0;
}
