/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/etcd/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/etcd/etcd.h"
#include "lib/util/error.h"
#include "test/unit/util/free_port.h"

#define START_S 60

/* In the child: becomes the member. */
static void exec_member(struct etcd_server *server, uint32_t member)
{
	char name[16], dir[96], client[64], peer[64], cluster[256] = "", log[112];
	size_t len = 0;
	int fd;

	snprintf(name, sizeof(name), "m%u", member);
	snprintf(dir, sizeof(dir), "%s/m%u", server->dir, member);
	snprintf(log, sizeof(log), "%s/m%u.log", server->dir, member);
	snprintf(client, sizeof(client), "http://127.0.0.1:%u", server->ports[member]);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%u", server->peer_ports[member]);
	for (uint32_t i = 0; i < server->nr_members; i++) {
		len += (size_t)snprintf(cluster + len, sizeof(cluster) - len,
			"%sm%u=http://127.0.0.1:%u", i == 0 ? "" : ",", i, server->peer_ports[i]);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execlp("etcd", "etcd", "--name", name, "--data-dir", dir, "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
		"--initial-cluster-state", "new", "--heartbeat-interval", "100",
		"--election-timeout", "1000", "--log-level", "error", (char *)NULL);
	_exit(127);
}

static void start_member(struct etcd_server *server, uint32_t member)
{
	int pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		exec_member(server, member);
	}
	server->pids[member] = pid;
}

static void wait_until_it_answers(struct etcd_server *server)
{
	const struct xetcd_opts opts = {.endpoints = server->endpoints, .patience_ms = 1000};
	struct xetcd_reply reply = {0};
	time_t until = time(NULL) + START_S;
	struct xetcd *client;
	struct xu_error err;
	int rc;

	assert_int_equal(xetcd_open(&opts, &client, &err), 0);
	do {
		rc = xetcd_get(client, "anything", NULL, 0, 0, &reply, &err);
	} while (rc != 0 && time(NULL) < until);
	if (rc != 0) {
		fail_msg("etcd does not answer: %s", err.text);
	}
	xetcd_reply_free(&reply);
	xetcd_close(client);
}

bool etcd_server_start(struct etcd_server *server, uint32_t nr_members)
{
	size_t len = 0;

	if (system("command -v etcd >/dev/null && command -v etcdctl >/dev/null") != 0) {
		return false;
	}
	*server = (struct etcd_server){.nr_members = nr_members};
	snprintf(server->dir, sizeof(server->dir), "etcd-test-XXXXXX");
	assert_non_null(mkdtemp(server->dir));
	for (uint32_t i = 0; i < nr_members; i++) {
		server->ports[i] = free_port();
		server->peer_ports[i] = free_port();
		len += (size_t)snprintf(server->endpoints + len, sizeof(server->endpoints) - len,
			"%s"
			"http://127.0.0.1:%u",
			i == 0 ? "" : ",", server->ports[i]);
	}
	for (uint32_t i = 0; i < nr_members; i++) {
		start_member(server, i);
	}
	wait_until_it_answers(server);
	return true;
}

void etcd_server_signal(struct etcd_server *server, uint32_t member, int signal)
{
	assert_int_equal(kill(server->pids[member], signal), 0);
}

void etcd_server_kill(struct etcd_server *server, uint32_t member)
{
	etcd_server_signal(server, member, SIGKILL);
	assert_int_equal(waitpid(server->pids[member], NULL, 0), server->pids[member]);
	server->pids[member] = 0;
}

void etcd_server_revive(struct etcd_server *server, uint32_t member)
{
	start_member(server, member);
}

void etcd_server_ctl(struct etcd_server *server, const char *fmt, ...)
{
	char command[1024], args[512];
	va_list list;

	va_start(list, fmt);
	vsnprintf(args, sizeof(args), fmt, list);
	va_end(list);
	snprintf(command, sizeof(command),
		"ETCDCTL_API=3 etcdctl --endpoints=%s --dial-timeout=60s --command-timeout=60s %s "
		">%s/ctl.log 2>&1",
		server->endpoints, args, server->dir);
	if (system(command) != 0) {
		fail_msg("etcdctl %s has failed, see %s", args, server->dir);
	}
}

void etcd_server_stop(struct etcd_server *server)
{
	char command[96];

	for (uint32_t i = 0; i < server->nr_members; i++) {
		if (server->pids[i] != 0) {
			etcd_server_kill(server, i);
		}
	}
	snprintf(command, sizeof(command), "rm -rf %s", server->dir);
	assert_int_equal(system(command), 0);
}
