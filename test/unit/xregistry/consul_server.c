/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/xregistry/consul_server.h"

#include <arpa/inet.h>
#include <curl/curl.h>
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

#include "test/unit/util/free_port.h"

#define START_S 60

/* In the child: becomes Consul. */
static void exec_consul(const struct consul_server *server)
{
	char data[64], config[64], text[512];
	FILE *file;

	snprintf(data, sizeof(data), "%s/data", server->dir);
	snprintf(config, sizeof(config), "%s/config.hcl", server->dir);
	snprintf(text, sizeof(text),
		"ports { http = %u server = %u serf_lan = %u serf_wan = -1 dns = -1 grpc = -1 }\n"
		"performance { raft_multiplier = 1 }\n"
		"disable_update_check = true\n"
		"%s%s%s",
		server->port, server->server_port, server->serf_port,
		server->token != NULL
			? "acl { enabled = true default_policy = \"deny\" tokens { master = \""
			: "",
		server->token != NULL ? server->token : "",
		server->token != NULL ? "\" } }\n" : "");
	file = fopen(config, "w");
	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
		_exit(126);
	}
	execlp("consul", "consul", "agent", "-server", "-bootstrap-expect=1", "-node", "test",
		"-bind", "127.0.0.1", "-client", "127.0.0.1", "-data-dir", data, "-config-file",
		config, (char *)NULL);
	_exit(127);
}

/* In the child: becomes the stand-in. */
static void exec_standin(const struct consul_server *server)
{
	char data[64], port[16];

	snprintf(data, sizeof(data), "%s/data", server->dir);
	snprintf(port, sizeof(port), "%u", server->port);
	execlp("python3", "python3", CONSUL_STANDIN, "--port", port, "--data", data, "--token",
		server->token != NULL ? server->token : "", (char *)NULL);
	_exit(127);
}

void consul_server_revive(struct consul_server *server)
{
	char log[64];
	int pid = fork(), fd;

	assert_true(pid >= 0);
	if (pid != 0) {
		server->pid = pid;
		return;
	}
	snprintf(log, sizeof(log), "%s/log", server->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	if (server->is_real) {
		exec_consul(server);
	}
	exec_standin(server);
}

static size_t ignore(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

/* The status of the answer; 0: there is none. */
static long ask(
	struct consul_server *server, const char *method, const char *path, const char *body)
{
	struct curl_slist *headers = NULL;
	CURL *curl = curl_easy_init();
	char url[256], token[80];
	long status = 0;

	snprintf(url, sizeof(url), "%s%s", server->endpoint, path);
	if (server->token != NULL) {
		snprintf(token, sizeof(token), "X-Consul-Token: %s", server->token);
		headers = curl_slist_append(headers, token);
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
	if (body != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	if (curl_easy_perform(curl) == CURLE_OK) {
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return status;
}

void consul_server_ask(
	struct consul_server *server, const char *method, const char *path, const char *body)
{
	assert_int_equal(ask(server, method, path, body), 200);
}

/* With a leader, and with its token. */
static void wait_until_it_writes(struct consul_server *server)
{
	time_t until = time(NULL) + START_S;

	while (ask(server, "PUT", "/v1/kv/started", "yes") != 200) {
		if (time(NULL) >= until) {
			fail_msg("Consul does not answer, see %s/log", server->dir);
		}
		usleep(50000);
	}
}

void consul_server_start(struct consul_server *server, const char *token)
{
	*server = (struct consul_server){.port = free_port(),
		.server_port = free_port(),
		.serf_port = free_port(),
		.token = token,
		.is_real = system("command -v consul >/dev/null") == 0};
	snprintf(server->dir, sizeof(server->dir), "consul-test-XXXXXX");
	assert_non_null(mkdtemp(server->dir));
	snprintf(server->endpoint, sizeof(server->endpoint), "http://127.0.0.1:%u", server->port);
	consul_server_revive(server);
	wait_until_it_writes(server);
}

void consul_server_kill(struct consul_server *server)
{
	assert_int_equal(kill(server->pid, SIGKILL), 0);
	assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
	server->pid = 0;
}

void consul_server_stop(struct consul_server *server)
{
	char command[96];

	if (server->pid != 0) {
		consul_server_kill(server);
	}
	snprintf(command, sizeof(command), "rm -rf %s", server->dir);
	assert_int_equal(system(command), 0);
}
