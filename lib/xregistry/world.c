/* SPDX-License-Identifier: BSD-3-Clause */
/* The system's clocks and sockets behind world.h: one epoll for all connections, edge-triggered, so
 * that a socket is added once and no more said of it, and an eventfd to be woken by. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xregistry/world.h"

#define TOKEN_WAKE UINT64_MAX
#define NR_EVENTS  64u

struct system_world {
	int epoll_fd, wake_fd;
};

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t system_now_us(void *arg)
{
	return clock_us(CLOCK_MONOTONIC);
}

static uint64_t system_unix_ms(void *arg)
{
	return clock_us(CLOCK_REALTIME) / 1000;
}

union address {
	struct sockaddr any;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

static socklen_t parse_address(const char *text, uint16_t port, union address *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	if (inet_pton(AF_INET, text, &ret_address->ip4.sin_addr) == 1) {
		ret_address->ip4.sin_family = AF_INET;
		ret_address->ip4.sin_port = htons(port);
		return sizeof(ret_address->ip4);
	}
	if (inet_pton(AF_INET6, text, &ret_address->ip6.sin6_addr) == 1) {
		ret_address->ip6.sin6_family = AF_INET6;
		ret_address->ip6.sin6_port = htons(port);
		return sizeof(ret_address->ip6);
	}
	return 0;
}

static int system_open(void *arg, const char *address, uint16_t port, uint64_t token, int *ret_sock)
{
	struct system_world *world = arg;
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = token};
	union address to;
	socklen_t len = parse_address(address, port, &to);
	int sock, rc = 0, on = 1;

	if (len == 0) {
		return -EAFNOSUPPORT;
	}
	sock = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (sock < 0) {
		return -errno;
	}
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if ((connect(sock, &to.any, len) != 0 && errno != EINPROGRESS) ||
		epoll_ctl(world->epoll_fd, EPOLL_CTL_ADD, sock, &event) != 0) {
		rc = -errno;
		close(sock);
		return rc;
	}
	*ret_sock = sock;
	return 0;
}

static int system_connected(void *arg, int sock)
{
	struct pollfd at = {.fd = sock, .events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	if (poll(&at, 1, 0) <= 0) {
		return -EINPROGRESS;
	}
	return getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? -error : -errno;
}

static ssize_t system_send(void *arg, int sock, const void *data, size_t len)
{
	ssize_t count = send(sock, data, len, MSG_NOSIGNAL);

	return count >= 0 ? count : -errno;
}

static ssize_t system_recv(void *arg, int sock, void *data, size_t len)
{
	ssize_t count = recv(sock, data, len, 0);

	return count >= 0 ? count : -errno;
}

static void system_close(void *arg, int sock)
{
	close(sock); /* and epoll forgets it */
}

/* What can be bound is here. */
static bool system_is_here(void *arg, const char *address)
{
	struct sockaddr_storage addr;
	int len = xr_address_parse(address, 0, &addr), sock;
	bool is_here;

	if (len < 0) {
		return false;
	}
	sock = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	is_here = sock >= 0 && bind(sock, (struct sockaddr *)&addr, (socklen_t)len) == 0;
	if (sock >= 0) {
		close(sock);
	}
	return is_here;
}

static uint32_t system_wait(void *arg, uint64_t *ret_tokens, uint32_t max, uint64_t timeout_us)
{
	struct system_world *world = arg;
	struct epoll_event events[NR_EVENTS];
	uint64_t timeout_ms = (timeout_us + 999) / 1000;
	uint32_t nr_tokens = 0;
	int count = epoll_wait(world->epoll_fd, events, (int)(max < NR_EVENTS ? max : NR_EVENTS),
		timeout_ms < INT_MAX ? (int)timeout_ms : INT_MAX);

	for (int i = 0; i < count; i++) {
		if (events[i].data.u64 != TOKEN_WAKE) {
			ret_tokens[nr_tokens++] = events[i].data.u64;
		} else {
			uint64_t nr_wakes;

			(void)!read(world->wake_fd, &nr_wakes, sizeof(nr_wakes));
		}
	}
	return nr_tokens;
}

static void system_wake(void *arg)
{
	struct system_world *world = arg;
	uint64_t one = 1;

	(void)!write(world->wake_fd, &one, sizeof(one));
}

int xreg__world_open(struct xreg_world *ret_world, struct xu_error *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = TOKEN_WAKE};
	struct system_world *world = calloc(1, sizeof(*world));
	int rc;

	if (world == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the health monitor");
	}
	world->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	world->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (world->epoll_fd < 0 || world->wake_fd < 0 ||
		epoll_ctl(world->epoll_fd, EPOLL_CTL_ADD, world->wake_fd, &event) != 0) {
		rc = xu_error_set_errno(err, -errno, "opening the health monitor's epoll");
		close(world->epoll_fd);
		close(world->wake_fd);
		free(world);
		return rc;
	}
	*ret_world = (struct xreg_world){.now_us = system_now_us,
		.unix_ms = system_unix_ms,
		.open = system_open,
		.connected = system_connected,
		.send = system_send,
		.recv = system_recv,
		.close = system_close,
		.is_here = system_is_here,
		.wait = system_wait,
		.wake = system_wake,
		.arg = world};
	return 0;
}

void xreg__world_close(struct xreg_world *world)
{
	struct system_world *its = world->arg;

	close(its->epoll_fd);
	close(its->wake_fd);
	free(its);
}
