/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that the health monitor knows of the world: two clocks, connections over TCP that never
 * block, and a place to wait. xreg__world_open() makes the system's; tests bring one with a clock
 * of their own. All calls come from the monitor's thread but wake(), which is for any thread.
 */
#ifndef LIB_XREGISTRY_WORLD_H
#define LIB_XREGISTRY_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct xu_error;

struct xreg_world {
	uint64_t (*now_us)(void *arg);  /* monotonic */
	uint64_t (*unix_ms)(void *arg); /* Unix time */
	/* Begins to connect to a numeric address. wait() gives `token` whenever something may have
	 * changed on the socket. -errno: it cannot even begin. */
	int (*open)(void *arg, const char *address, uint16_t port, uint64_t token, int *ret_sock);
	/* 0: connected; -EINPROGRESS; -errno: it failed. */
	int (*connected)(void *arg, int sock);
	/* Bytes taken or given, 0 of recv() is the end; -EAGAIN, -errno. */
	ssize_t (*send)(void *arg, int sock, const void *data, size_t len);
	ssize_t (*recv)(void *arg, int sock, void *data, size_t len);
	void (*close)(void *arg, int sock);
	/* Whether an address is this machine's own. */
	bool (*is_here)(void *arg, const char *address);
	/* Waits until something happens, wake() or `timeout_us`; returns how many tokens it gave.
	 */
	uint32_t (*wait)(void *arg, uint64_t *ret_tokens, uint32_t max, uint64_t timeout_us);
	void (*wake)(void *arg);
	void *arg;
};

int xreg__world_open(struct xreg_world *ret_world, struct xu_error *err);
void xreg__world_close(struct xreg_world *world);

#endif
