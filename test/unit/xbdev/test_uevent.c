/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/uevent.c: messages of all kinds through a platform whose events the test writes,
 * and one that this machine's kernel is asked to send.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "lib/xbdev/core/uevent.h"
#include "test/unit/xbdev/harness.h"

static int ends[2]; /* what the test writes to, what is read */
static uint32_t nr_lost;

static int made_open(const struct xr_platform *platform)
{
	(void)platform;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	return ends[1];
}

static int made_read(const struct xr_platform *platform, int fd, void *buf, size_t size)
{
	ssize_t len;

	(void)platform;
	if (nr_lost != 0) {
		nr_lost--;
		return -ENOBUFS;
	}
	len = recv(fd, buf, size, 0);
	return len < 0 ? -errno : (int)len;
}

struct seen {
	struct xbdev_uevent_watch watch;
	uint32_t count, nr_lost;
	uint64_t diskseq;
	bool is_resize;
	char action[32], subsystem[32], devname[64], devpath[128];
	const char *wanted; /* count only this subsystem's; NULL: all */
};

static void on_event(struct xbdev_uevent_watch *watch, const struct xbdev_uevent *event)
{
	struct seen *seen = xu_container_of(watch, struct seen, watch);

	if (event->are_lost) {
		seen->nr_lost++;
		return;
	}
	if (seen->wanted != NULL && strcmp(seen->wanted, event->subsystem) != 0) {
		return;
	}
	seen->count++;
	seen->diskseq = event->diskseq;
	seen->is_resize = event->is_resize;
	snprintf(seen->action, sizeof(seen->action), "%s", event->action);
	snprintf(seen->subsystem, sizeof(seen->subsystem), "%s", event->subsystem);
	snprintf(seen->devname, sizeof(seen->devname), "%s", event->devname);
	snprintf(seen->devpath, sizeof(seen->devpath), "%s", event->devpath);
}

static void start(struct harness *h, struct xr_platform *platform)
{
	*platform = *xr_platform_linux();
	platform->uevent_open = made_open;
	platform->uevent_read = made_read;
	harness_start_opts(h, &(struct xbdev_ctx_opts){.platform = platform}, 1);
}

static void stop(struct harness *h)
{
	harness_stop(h);
	assert_int_equal(fcntl(ends[1], F_GETFD), -1); /* it was closed */
	close(ends[0]);
}

#define SEND(text) assert_int_equal(send(ends[0], text, sizeof(text) - 1, 0), sizeof(text) - 1)

static void test_uevent_is_told_to_every_watch(void **state)
{
	struct seen a = {.watch.fn = on_event}, b = {.watch.fn = on_event};
	struct xr_platform platform;
	struct harness h;

	(void)state;
	start(&h, &platform);
	assert_int_equal(xbdev_uevent_watch_add(h.ctx, &a.watch, NULL), 0);
	assert_int_equal(xbdev_uevent_watch_add(h.ctx, &b.watch, NULL), 0);
	SEND("change@/devices/x/nvme0n1\0ACTION=change\0DEVPATH=/devices/x/nvme0n1\0SUBSYSTEM=block"
	     "\0DEVNAME=nvme0n1\0DISKSEQ=17\0RESIZE=1\0SEQNUM=5\0");
	harness_wait(&h, a.count == 1 && b.count == 1);
	assert_string_equal(a.action, "change");
	assert_string_equal(a.subsystem, "block");
	assert_string_equal(a.devname, "nvme0n1");
	assert_string_equal(a.devpath, "/devices/x/nvme0n1");
	assert_int_equal(a.diskseq, 17);
	assert_true(a.is_resize);

	xbdev_uevent_watch_del(&a.watch);
	xbdev_uevent_watch_del(&a.watch); /* again is fine */
	SEND("remove@/x\0ACTION=remove\0");
	harness_wait(&h, b.count == 2);
	assert_int_equal(a.count, 1);
	assert_string_equal(b.action, "remove");
	assert_string_equal(b.devname, "");
	assert_int_equal(b.diskseq, 0);
	assert_false(b.is_resize);
	nr_lost = 1;
	SEND("add@/x\0ACTION=add\0");
	harness_wait(&h, b.count == 3);
	assert_int_equal(b.nr_lost, 1);
	xbdev_uevent_watch_del(&b.watch);
	stop(&h);
}

/* Nothing of these is an event, none does harm, and the next one that is good is told. */
static void test_uevent_passes_over_what_is_none(void **state)
{
	struct seen seen = {.watch.fn = on_event};
	struct xr_platform platform;
	char large[8192];
	struct harness h;

	(void)state;
	start(&h, &platform);
	assert_int_equal(xbdev_uevent_watch_add(h.ctx, &seen.watch, NULL), 0);
	SEND("libudev\0\376\355\312\376");
	SEND("add@/no-end\0ACTION");
	SEND("@");
	SEND("\0\0\0ACTION=add\0");
	SEND("add@/x\0ACTION=\0");
	memset(large, 'a', sizeof(large));
	large[1] = '@';
	assert_int_equal(send(ends[0], large, sizeof(large), 0), sizeof(large));
	SEND("add@/x\0DEVNAME\0ACTION=add\0DISKSEQ=-\0");
	harness_wait(&h, seen.count == 1);
	assert_string_equal(seen.action, "add");
	harness_poll_times(&h, 20);
	assert_int_equal(seen.count, 1);
	xbdev_uevent_watch_del(&seen.watch);
	stop(&h);
}

/* More than are read at a time. */
static void test_uevent_storm(void **state)
{
	struct seen seen = {.watch.fn = on_event};
	struct xr_platform platform;
	struct harness h;

	(void)state;
	start(&h, &platform);
	assert_int_equal(xbdev_uevent_watch_add(h.ctx, &seen.watch, NULL), 0);
	for (uint32_t i = 0; i < 150; i++) {
		SEND("add@/x\0ACTION=add\0");
	}
	harness_wait(&h, seen.count == 150);
	stop(&h);
}

static void test_uevent_needs_a_platform_that_has_them(void **state)
{
	struct seen seen = {.watch.fn = on_event};
	struct xr_platform platform;
	struct xu_error err = {0};
	struct harness h;

	(void)state;
	start(&h, &platform);
	platform.uevent_open = NULL;
	assert_int_equal(xbdev_uevent_watch_add(h.ctx, &seen.watch, &err), -EOPNOTSUPP);
	assert_true(err.text[0] != '\0');
	xbdev_uevent_watch_del(&seen.watch); /* was never added */
	harness_stop(&h);
}

static void test_uevent_of_the_kernel(void **state)
{
	struct seen seen = {.watch.fn = on_event, .wanted = "mem"};
	struct harness h;
	int fd;

	(void)state;
	fd = open("/sys/class/mem/null/uevent", O_WRONLY | O_CLOEXEC);
	if (fd < 0) {
		print_message(
			"skipped: the kernel cannot be asked for an event: %s\n", strerror(errno));
		skip();
	}
	harness_start(&h, 1, 1);
	assert_int_equal(xbdev_uevent_watch_add(h.ctx, &seen.watch, NULL), 0);
	assert_int_equal(write(fd, "change", 6), 6);
	harness_wait(&h, seen.count != 0);
	assert_string_equal(seen.action, "change");
	assert_string_equal(seen.devname, "null");
	xbdev_uevent_watch_del(&seen.watch);
	close(fd);
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uevent_is_told_to_every_watch),
		cmocka_unit_test(test_uevent_passes_over_what_is_none),
		cmocka_unit_test(test_uevent_storm),
		cmocka_unit_test(test_uevent_needs_a_platform_that_has_them),
		cmocka_unit_test(test_uevent_of_the_kernel),
	};

	return cmocka_run_group_tests_name("xbdev_uevent", tests, NULL, NULL);
}
