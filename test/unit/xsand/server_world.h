/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the JSON-RPC server share: a reactor that the test polls, a service with a few
 * methods, and clients that are the same thread. Every wait is bounded and fails the test.
 */
#ifndef TEST_SERVER_WORLD_H
#define TEST_SERVER_WORLD_H

#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/server.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "test/unit/util/test.h"

struct world {
	char dir[64], path[96];
	struct xr_reactor *reactor;
	struct xrpc_service *service;
	struct xrpc_server *server;
	struct xrpc_request *held; /* of the method "hold" */
	bool is_stopped;
};

extern struct world world;

/* With `may_jump` the reactor's clock goes forward by world_jump() only. */
int world_set_up(bool may_jump);
int world_tear_down(void);
void world_jump(uint64_t ns);
void world_on_stopped(void *arg);
void world_stop(void);
/* Some rounds of the reactor. */
void world_poll(uint32_t nr_rounds);

/* Clients' sockets do not block: on world.path, or on TCP. */
int world_client(void);
int world_client_tcp(void);
/* Sends all of it while the server runs; false when the server has closed. */
bool send_all(int fd, const char *text, size_t len);
bool send_text(int fd, const char *text);
/* Receives what comes until the server has closed, or `count` bytes are there. */
char *receive(int fd, size_t count, bool *ret_closed);
void expect(int fd, const char *expected);
void expect_end(int fd);
/* Nothing comes and the connection stays. */
void expect_nothing(int fd);

#define CALL(method, id, rest) "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"id\":" id rest "}"
#define RESULT(id, value)      "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":" value "}"
#define ERROR(code, text)                                                                          \
	"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":" code ",\"message\":\"" text "\"}}"

#endif
