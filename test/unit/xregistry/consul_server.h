/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Consul for tests, on ports of its own, on loopback, with its data in a directory that goes with
 * it. A real one when `consul` is in the PATH (one server, which is its own leader), else the
 * stand-in, consul_standin.py, which tells what it is and what it cannot show.
 */
#ifndef TEST_UNIT_XREGISTRY_CONSUL_SERVER_H
#define TEST_UNIT_XREGISTRY_CONSUL_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct consul_server {
	int pid; /* 0: it does not run */
	uint16_t port, server_port, serf_port;
	const char *token; /* what it wants; NULL: none */
	bool is_real;
	char dir[32], endpoint[64];
};

/* Starts it and waits until it answers; asserts that. `token` (a UUID) is borrowed. */
void consul_server_start(struct consul_server *server, const char *token);
void consul_server_kill(struct consul_server *server);   /* SIGKILL */
void consul_server_revive(struct consul_server *server); /* with its data; does not wait */
/* A request behind the backend's back; asserts that it is answered with 200. */
void consul_server_ask(
	struct consul_server *server, const char *method, const char *path, const char *body);
void consul_server_stop(struct consul_server *server);

#endif
