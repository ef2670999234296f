/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the soak says before it gives up: who has which device open, what is in flight there and
 * since when, whether the reactors still run, and what the kernel tells of our rings and threads.
 * Nobody is asked, for the one who hangs would not answer. What belongs to reactors is read as it
 * is, which may be torn, or end in a crash; what has failed has been said by then.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"
#include "lib/xbdev/core/context.h"
#include "test/soak/soak.h"

static void tell_io(const struct api_io *aio)
{
	const struct xbdev_io *io = &aio->io;
	uint64_t ms = xu_ticks_to_ns(xu_ticks() - io->ticks) / XU_NS_PER_MS;

	fprintf(stderr, "    %s of %llu bytes at %llu, for %llu ms%s%s%s%s\n",
		xbdev_op_name(io->op), (unsigned long long)io->len, (unsigned long long)io->offset,
		(unsigned long long)ms, io->is_started ? "" : ", in line",
		io->relay != NULL ? ", in pieces" : "", io->is_away ? ", away" : "",
		io->is_cancelled ? ", cancelled" : "");
}

static void tell_port(const struct api_port *port, uint32_t fd)
{
	struct xu_list *node;

	fprintf(stderr, "  descriptor %u: %u I/Os in flight, refuses with %d\n", fd,
		port->nr_inflight, port->refusal);
	xu_list_for_each (node, &port->ios) {
		tell_io(xu_list_entry(node, struct api_io, link));
	}
}

static void tell_reactor(const struct xbdev_device *dev, uint32_t index)
{
	const struct api_shard *shard = &api_lib.shards[index];
	struct xu_list *node;

	xu_list_for_each (node, &dev->channels[index]) {
		const struct xbdev_channel *ch = xu_list_entry(node, struct xbdev_channel, link);

		fprintf(stderr, " reactor %u: a channel with %u in flight%s%s%s%s\n", index,
			ch->nr_inflight, ch->waiting_first != NULL ? ", some in line" : "",
			ch->starved != NULL ? ", some without memory" : "",
			ch->is_removed ? ", removed" : "",
			ch->desc == NULL ? ", a twin or put" : "");
	}
	for (uint32_t fd = 0; fd < API_MAX_FILES; fd++) {
		if (shard->ports[fd].ch != NULL && shard->ports[fd].ch->dev == dev) {
			tell_port(&shard->ports[fd], fd);
		}
	}
}

/* Whether they run, by how often they have in a second. */
static void tell_rounds(void)
{
	const struct timespec second = {.tv_sec = 1};
	struct xr_reactor_stats before[XBDEV_MAX_REACTORS], after;

	for (uint32_t i = 0; i < api_lib.nr_reactors; i++) {
		xr_reactor_stats_get(api_lib.shards[i].reactor, &before[i]);
	}
	nanosleep(&second, NULL);
	for (uint32_t i = 0; i < api_lib.nr_reactors; i++) {
		xr_reactor_stats_get(api_lib.shards[i].reactor, &after);
		fprintf(stderr,
			"reactor %u%s: %llu rounds in a second, %llu sleeps, %llu messages\n", i,
			i == 0 && api_lib.is_embedded ? " (embedded)" : "",
			(unsigned long long)(after.nr_rounds - before[i].nr_rounds),
			(unsigned long long)(after.nr_sleeps - before[i].nr_sleeps),
			(unsigned long long)(after.nr_messages - before[i].nr_messages));
	}
}

static void copy_out(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, text, sizeof(text)) : -1;

	if (got > 0) {
		fprintf(stderr, "-- %s\n%.*s", path, (int)got, text);
	}
	if (fd >= 0) {
		close(fd);
	}
}

/* The rings' own words, and where each thread is in the kernel (which only root may read). */
static void tell_kernel(void)
{
	static const char *const patterns[] = {
		"/proc/self/fd/*", "/proc/self/task/*/stat", "/proc/self/task/*/stack"};
	char target[64], path[64];
	glob_t found;

	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		if (glob(patterns[i], GLOB_NOSORT, NULL, &found) != 0) {
			continue;
		}
		for (size_t j = 0; j < found.gl_pathc; j++) {
			ssize_t len = readlink(found.gl_pathv[j], target, sizeof(target) - 1);

			if (i != 0) {
				copy_out(found.gl_pathv[j]);
			} else if (len > 0 && memmem(target, (size_t)len, "io_uring", 8) != NULL) {
				snprintf(path, sizeof(path), "/proc/self/fdinfo/%s",
					strrchr(found.gl_pathv[j], '/') + 1);
				copy_out(path);
			}
		}
		globfree(&found);
	}
}

static void tell_device(const struct xbdev_device *dev)
{
	struct xu_list *node;

	fprintf(stderr, "device %s, %s%s%s, %u channels and calls\n", dev->name,
		atomic_load(&dev->state) == XBDEV_DEVICE_READY ? "ready" : "being removed",
		dev->is_quiesced ? ", stopped everywhere" : "",
		dev->is_retiring ? ", retiring" : "", atomic_load(&dev->nr_channels));
	xu_list_for_each (node, &dev->descs) {
		const struct xbdev_desc *desc = xu_list_entry(node, struct xbdev_desc, link);

		fprintf(stderr, " open for %s, %u channels%s\n",
			desc->is_writable ? "writing" : "reading", atomic_load(&desc->nr_channels),
			desc->event_cb == NULL ? ", hears of nothing" : "");
	}
	for (uint32_t i = 0; i < api_lib.nr_reactors; i++) {
		tell_reactor(dev, i);
	}
}

static void tell_devices(void)
{
	struct xbdev_device *dev = NULL;

	while ((dev = xbdev_device_next(api_lib.ctx, dev)) != NULL) {
		tell_device(dev);
	}
}

/* Whether what stands still goes on when the reactor of this thread is driven again, and sleeps. */
static void tell_driven(void)
{
	const uint64_t end_ms = soak_now_ms() + 5000;
	uint64_t nr_rounds = 0;

	while (soak_now_ms() < end_ms && xbdev_poll(100000) >= 0) {
		nr_rounds++;
	}
	if (nr_rounds != 0) {
		fprintf(stderr, "== after 5 s and %llu rounds more of reactor 0\n",
			(unsigned long long)nr_rounds);
		tell_devices();
	}
}

void tell_state(void)
{
	static atomic_flag is_told = ATOMIC_FLAG_INIT;

	if (atomic_flag_test_and_set(&is_told) || api_lib.ctx == NULL) {
		return;
	}
	tell_devices();
	tell_rounds();
	tell_kernel();
	tell_driven();
}
