/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets to listen on. A UNIX socket is its owner's only from its first moment, takes the place of
 * one that a dead process left, and is removed only while it is still ours. A TCP socket is made on
 * a loopback address, or on any other when clients have to authenticate: who may call a method of
 * this library may read and destroy whole devices.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/reactor/address.h"
#include "lib/rpc/private.h"
#include "lib/rpc/tls.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define BACKLOG 64

/* ---- UNIX ---- */

/* A process that was killed leaves its sockets open for a moment, as long as the kernel takes its
 * io_uring apart: a connection is taken there, but nobody will ever answer. */
static bool is_dead(pid_t pid)
{
	char path[64], text[256], *end;
	size_t len;
	FILE *file;

	if (pid <= 0) {
		return false; /* of another PID namespace */
	}
	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "re");
	if (file == NULL) {
		return kill(pid, 0) != 0 && errno == ESRCH;
	}
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	end = strrchr(text, ')'); /* "PID (name) state" */
	return end != NULL && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X');
}

/* Whether somebody answers at the address; then *ret_pid says who. */
static bool is_alive(const struct sockaddr_un *addr, pid_t *ret_pid)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	bool is_alive_there = true; /* in doubt it is somebody's */

	if (fd < 0) {
		return true;
	}
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0) {
		is_alive_there = errno != ECONNREFUSED && errno != ENOENT;
	} else {
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
		is_alive_there = !is_dead(cred.pid);
	}
	close(fd);
	*ret_pid = cred.pid;
	return is_alive_there;
}

/* Takes a socket out of the way that a dead process left. */
static int remove_stale(const struct sockaddr_un *addr, struct xu_error *err)
{
	struct stat st;
	pid_t pid = 0;

	if (lstat(addr->sun_path, &st) != 0) {
		return 0;
	}
	if (!S_ISSOCK(st.st_mode)) {
		return xu_error_set(err, -EEXIST,
			"%s is there and is no socket; choose another path or move it away",
			addr->sun_path);
	}
	if (is_alive(addr, &pid)) {
		return xu_error_set(err, -EADDRINUSE,
			"process %ld answers on %s already; stop it or choose another path",
			(long)pid, addr->sun_path);
	}
	unlink(addr->sun_path);
	return 0;
}

/* The mode of an unbound socket's inode is what bind(2) gives the file, so it is never open to
 * others, not even for a moment. */
static int listen_at(
	struct xrpc_server *server, const struct sockaddr_un *addr, struct xu_error *err)
{
	struct stat st;

	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->fd < 0 || fchmod(server->fd, 0600) != 0 ||
		bind(server->fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0 ||
		listen(server->fd, BACKLOG) != 0 || lstat(addr->sun_path, &st) != 0) {
		return xu_error_set_errno(
			err, -errno, "making the management socket %s", addr->sun_path);
	}
	server->path_dev = st.st_dev;
	server->path_ino = st.st_ino;
	return 0;
}

int xrpc__listen_unix(struct xrpc_server *server, const char *path, struct xu_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		return xu_error_set(err, -ENAMETOOLONG,
			"the path of the management socket has %zu characters, at most %zu are "
			"possible: %s",
			strlen(path), sizeof(addr.sun_path) - 1, path);
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	snprintf(server->name, sizeof(server->name), "%s", path);
	server->path = strdup(path);
	if (server->path == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making the management socket %s", path);
	}
	rc = remove_stale(&addr, err);
	return rc == 0 ? listen_at(server, &addr, err) : rc;
}

void xrpc__listen_unlink(const struct xrpc_server *server)
{
	struct stat st;

	if (server->path_ino != 0 && lstat(server->path, &st) == 0 &&
		st.st_dev == server->path_dev && st.st_ino == server->path_ino) {
		unlink(server->path);
	}
}

/* ---- TCP ---- */

/* Whether this server may be reached by others than this machine's users. */
static int check_exposure(const struct xrpc_tcp_opts *opts, struct xu_error *err)
{
	bool verifies = opts->tls != NULL && xrpc_tls_verifies_clients(opts->tls);

	if (opts->token != NULL || verifies || xr_address_is_loopback(opts->address)) {
		return 0;
	}
	return xu_error_set(err, -EPERM,
		"%s is not a loopback address, and there is neither a token nor a CA for clients' "
		"certificates: anybody who reaches this machine could read and destroy its "
		"devices; set one of them, or listen on 127.0.0.1",
		opts->address);
}

int xrpc__listen_tcp(
	struct xrpc_server *server, const struct xrpc_tcp_opts *opts, struct xu_error *err)
{
	const struct xr_platform *platform = xrpc__platform(server);
	const struct xr_listen_opts listen_opts = {
		.address = opts->address, .port = opts->port, .backlog = BACKLOG};
	struct sockaddr_storage addr;
	char text[XR_ADDRESS_SIZE];
	int rc = 0;

	if (xr_address_parse(opts->address, opts->port, &addr) < 0) {
		return xu_error_set(err, -EINVAL,
			"'%.64s' is not a numeric IPv4 or IPv6 address to listen on",
			opts->address);
	}
	if (opts->token != NULL) {
		rc = xrpc__token_check(opts->token, err);
	}
	if (rc == 0) {
		rc = check_exposure(opts, err);
	}
	if (rc != 0) {
		return rc;
	}
	server->is_tcp = true;
	server->tls = opts->tls;
	server->token = opts->token != NULL ? strdup(opts->token) : NULL;
	if (opts->token != NULL && server->token == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "listening on %s", opts->address);
	}
	server->fd = platform->tcp_listen(platform, &listen_opts, err);
	if (server->fd < 0) {
		return server->fd;
	}
	rc = platform->sock_name(platform, server->fd, false, text, &server->port);
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "listening on %s", opts->address);
	}
	snprintf(server->name, sizeof(server->name), "%s port %u", text, server->port);
	if (opts->tls == NULL && !xr_address_is_loopback(opts->address)) {
		xu_warn(xr_reactor_log(server->reactor),
			"management on %s is not encrypted: the token and all calls can be read on "
			"the way",
			server->name);
	}
	return 0;
}
