/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hosts: the platform's table, clocks, descriptors, and how a host ends.
 *
 *   UP <--pause--> PAUSED      UP, PAUSED --power_fail, kill--> DEAD --bury--> BURIED
 *
 * A dead host's reactors are never polled; its operations lie among the orphans and its disks move
 * to the host that is booted in its place. Buried, it is polled again so that its objects can be
 * taken down, and everything that it asks for fails.
 *
 * Descriptors are small numbers, the lowest free one first, as everywhere: code that uses one after
 * closing it meets somebody else's.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "test/sim/sim_disk_private.h"

#define FIRST_FD         3u
#define FIRST_PORT       32768u
#define CLOCK_OFFSET_MAX (1000 * XU_NS_PER_S)
#define WALL_START_NS    1795132800000000000ull /* 2026-11-20T00:00:00Z */

/* ---- the clock and chance ---- */

static uint64_t host_now_ns(const struct xu_clock *clock)
{
	const struct sim_host *host = xu_container_of(clock, struct sim_host, clock);

	return host->clock_offset_ns + host->sim->now_ns;
}

static uint64_t host_wall_ns(const struct xu_clock *clock)
{
	const struct sim_host *host = xu_container_of(clock, struct sim_host, clock);

	return WALL_START_NS + host->sim->now_ns + (uint64_t)host->wall_skew_ns;
}

static void host_entropy(const struct xr_platform *platform, void *buf, size_t len_bytes)
{
	xu_random_bytes(&sim__host_of(platform)->entropy, buf, len_bytes);
}

/* ---- descriptors ---- */

void sim__object_init(
	struct sim_object *object, struct sim_host *host, const struct sim_object_ops *ops)
{
	object->host = host;
	object->ops = ops;
	object->refs = 1;
}

void sim__object_put(struct sim_object *object)
{
	assert(object->refs != 0);
	if (--object->refs == 0) {
		object->ops->release(object);
	}
}

int sim__fd_new(struct sim_host *host, struct sim_object *object)
{
	uint32_t fd = FIRST_FD;

	while (fd < host->nr_fds && host->fds[fd] != NULL) {
		fd++;
	}
	if (fd >= host->nr_fds) {
		uint32_t nr_fds = host->nr_fds * 2 + 16;
		struct sim_object **fds = sim__alloc(nr_fds * sizeof(struct sim_object *));

		if (host->nr_fds != 0) {
			memcpy(fds, host->fds, host->nr_fds * sizeof(*fds));
		}
		free(host->fds);
		host->fds = fds;
		host->nr_fds = nr_fds;
	}
	host->fds[fd] = object;
	host->nr_open++;
	return (int)fd;
}

struct sim_object *sim__fd_object(struct sim_host *host, int fd)
{
	return fd < 0 || (uint32_t)fd >= host->nr_fds ? NULL : host->fds[fd];
}

static void host_close(const struct xr_platform *platform, int fd)
{
	struct sim_host *host = sim__host_of(platform);
	struct sim_object *object = sim__fd_object(host, fd);

	if (object == NULL) {
		fprintf(stderr, "sim: host %s closes %d, which is not open\n", host->name, fd);
		abort();
	}
	sim__trace(host->sim, "close", host->machine, (uint64_t)fd, 0, 0);
	host->fds[fd] = NULL;
	host->nr_open--;
	sim__object_put(object);
}

uint32_t sim_host_nr_open(const struct sim_host *host)
{
	return host->nr_open;
}

/* ---- life ---- */

static const struct xr_platform platform_table = {
	.name = "simulator",
	.is_simulated = true,
	.entropy = host_entropy,
	.ring_new = sim__ring_new,
	.file_open = sim__file_open,
	.file_info = sim__file_info,
	.file_resize = sim__file_resize,
	.file_sync = sim__file_sync,
	.file_can = sim__file_can,
	.file_discard = sim__file_discard,
	.tcp_listen = sim__tcp_listen,
	.tcp_socket = sim__tcp_socket,
	.sock_name = sim__sock_name,
	.sock_tune = sim__sock_tune,
	.sock_shutdown = sim__sock_shutdown,
	.close = host_close,
	.work_submit = sim__work_submit,
};

static struct sim_host *host_new(struct sim *sim, const char *name, uint32_t machine)
{
	struct sim_host *host = sim__alloc(sizeof(*host));

	host->platform = platform_table;
	host->platform.clock = &host->clock;
	host->clock.now_ns = host_now_ns;
	host->clock.wall_ns = host_wall_ns;
	host->sim = sim;
	host->machine = machine;
	host->clock_offset_ns = sim__between(sim, XU_NS_PER_S, CLOCK_OFFSET_MAX);
	host->next_port = FIRST_PORT;
	snprintf(host->name, sizeof(host->name), "%s", name);
	xu_random_seed(&host->entropy, xu_random_u64(&sim->random));
	xu_list_init(&host->disks);
	xu_list_init(&host->sockets);
	xu_list_init(&host->works);
	xu_list_init(&host->orphans);
	xu_list_add_tail(&sim->hosts, &host->link);
	return host;
}

struct sim_host *sim_host_new(struct sim *sim, const char *name, const char *address)
{
	struct sim_host *host = host_new(sim, name, sim->nr_machines++);
	struct sockaddr_storage addr;
	uint16_t port;
	int rc;

	assert(sim->nr_machines <= SIM_MAX_MACHINES);
	if (address == NULL) {
		snprintf(host->address, sizeof(host->address), "10.0.0.%u", host->machine + 1);
	} else {
		rc = xr_address_parse(address, 0, &addr);
		assert(rc > 0);
		rc = xr_address_format(&addr, host->address, &port);
		assert(rc == 0);
	}
	return host;
}

const char *sim_host_name(const struct sim_host *host)
{
	return host->name;
}

const char *sim_host_address(const struct sim_host *host)
{
	return host->address;
}

const struct xr_platform *sim_host_platform(struct sim_host *host)
{
	return &host->platform;
}

const struct xr_platform *sim_platform(struct sim *sim)
{
	struct xu_list *node = xu_list_first(&sim->hosts);

	return &(node != NULL ? xu_list_entry(node, struct sim_host, link)
			      : sim_host_new(sim, "host", NULL))
			->platform;
}

void sim_host_set_wall_skew(struct sim_host *host, int64_t skew_ns)
{
	host->wall_skew_ns = skew_ns;
}

void sim__host_free(struct sim_host *host)
{
	struct xu_list *node;

	for (uint32_t fd = 0; fd < host->nr_fds; fd++) {
		if (host->fds[fd] != NULL) {
			host_close(&host->platform, (int)fd);
		}
	}
	while ((node = xu_list_first(&host->disks)) != NULL) {
		sim__disk_free(xu_list_entry(node, struct sim_disk, link));
	}
	sim__works_free(host);
	xu_list_del(&host->link);
	free(host->fds);
	free(host);
}

/* ---- ends and beginnings ---- */

bool sim__host_has_ended(const struct sim_host *host)
{
	return host->state == SIM_HOST_DEAD || host->state == SIM_HOST_BURIED;
}

struct sim_host *sim__host_at(struct sim *sim, const char *address)
{
	struct xu_list *node;

	xu_list_for_each (node, &sim->hosts) {
		struct sim_host *host = xu_list_entry(node, struct sim_host, link);

		if (!sim__host_has_ended(host) && strcmp(host->address, address) == 0) {
			return host;
		}
	}
	return NULL;
}

void sim_host_pause(struct sim_host *host, bool is_paused)
{
	assert(!sim__host_has_ended(host));
	host->state = is_paused ? SIM_HOST_PAUSED : SIM_HOST_UP;
}

static void end(struct sim_host *host)
{
	struct xu_list *node;

	host->state = SIM_HOST_DEAD;
	sim__rings_orphan(host);
	sim__works_freeze(host);
	for (uint32_t fd = 0; fd < host->nr_fds; fd++) {
		if (host->fds[fd] != NULL && host->fds[fd]->ops == &sim__file_object_ops) {
			sim__file_of(host->fds[fd])->disk = NULL;
		}
	}
	xu_list_for_each (node, &host->disks) {
		struct sim_disk *disk = xu_list_entry(node, struct sim_disk, link);

		disk->nr_exclusive = 0;
		disk->nr_shared = 0;
	}
}

void sim_host_power_fail(struct sim_host *host, const struct sim_crash *crash)
{
	struct xu_list *node;

	assert(!sim__host_has_ended(host));
	sim__trace(host->sim, "host_power", host->machine, 0, 0, 0);
	host->state = SIM_HOST_DEAD;
	sim__sockets_mute(host);
	xu_list_for_each (node, &host->disks) {
		sim_disk_power_fail(xu_list_entry(node, struct sim_disk, link), crash);
	}
	end(host);
}

void sim_host_kill(struct sim_host *host)
{
	struct xu_list *node;

	assert(!sim__host_has_ended(host));
	sim__trace(host->sim, "host_kill", host->machine, 0, 0, 0);
	host->state = SIM_HOST_DEAD;
	sim__sockets_close(host);
	xu_list_for_each (node, &host->disks) {
		sim__disk_settle(xu_list_entry(node, struct sim_disk, link));
	}
	end(host);
}

struct sim_host *sim_host_reboot(struct sim_host *dead)
{
	struct sim_host *host;
	struct xu_list *node;

	assert(sim__host_has_ended(dead) && sim__host_at(dead->sim, dead->address) == NULL);
	host = host_new(dead->sim, dead->name, dead->machine);
	memcpy(host->address, dead->address, sizeof(host->address));
	host->wall_skew_ns = dead->wall_skew_ns;
	while ((node = xu_list_first(&dead->disks)) != NULL) {
		sim__disk_move(xu_list_entry(node, struct sim_disk, link), host);
	}
	return host;
}

void sim_host_bury(struct sim_host *dead)
{
	assert(dead->state == SIM_HOST_DEAD);
	dead->state = SIM_HOST_BURIED;
	sim__rings_bury(dead);
	sim__works_bury(dead);
}
