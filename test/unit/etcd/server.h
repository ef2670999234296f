/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real etcd for tests: a cluster of one or three members on ports of its own, on loopback, with
 * its data in a directory that goes with it. Members can be killed, stopped for a while, and
 * started again.
 */
#ifndef TEST_UNIT_ETCD_SERVER_H
#define TEST_UNIT_ETCD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#define ETCD_MEMBERS_MAX 3u

struct etcd_server {
	uint32_t nr_members;
	int pids[ETCD_MEMBERS_MAX]; /* 0: it does not run */
	uint16_t ports[ETCD_MEMBERS_MAX], peer_ports[ETCD_MEMBERS_MAX];
	char dir[64], endpoints[256];
};

/* False: etcd is not installed. Otherwise starts it and waits until it answers; asserts that. */
bool etcd_server_start(struct etcd_server *server, uint32_t nr_members);
void etcd_server_kill(struct etcd_server *server, uint32_t member);   /* SIGKILL */
void etcd_server_revive(struct etcd_server *server, uint32_t member); /* with its data */
void etcd_server_signal(struct etcd_server *server, uint32_t member, int signal);
/* Runs etcdctl with what follows, for which a shell is used; asserts that it succeeds. */
void etcd_server_ctl(struct etcd_server *server, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void etcd_server_stop(struct etcd_server *server);

#endif
