/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calling the node for a command: what goes wrong is said here, once for all commands, and becomes
 * an exit code. A call that takes long says so on a terminal, on one line that is wiped afterwards.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "lib/util/error.h"

#define PATIENCE_MS   2000u /* before a call counts as long */
#define LOCAL_SOCKET  "./var/xsand.sock"
#define SYSTEM_SOCKET "/run/xsan/xsand.sock"

static const char *default_socket(void)
{
	const char *path = getenv("XSAN_SOCKET");
	struct stat st;

	if (path != NULL && path[0] != '\0') {
		return path;
	}
	return stat(LOCAL_SOCKET, &st) == 0 ? LOCAL_SOCKET : SYSTEM_SOCKET;
}

enum cli_exit cli_connect(struct cli *cli)
{
	if (cli->socket == NULL) {
		cli->socket = default_socket();
	}
	if (client_new(cli->socket, &cli->client) != 0) {
		cli_say(cli, "out of memory");
		return CLI_REFUSED;
	}
	return CLI_OK;
}

void cli_disconnect(struct cli *cli)
{
	client_free(cli->client);
	cli->client = NULL;
}

/* ---- calls ---- */

struct wait {
	const char *method;
	bool is_shown;
};

static void on_waiting(void *arg, uint64_t elapsed_ms)
{
	struct wait *wait = arg;

	if (elapsed_ms < PATIENCE_MS || !isatty(STDERR_FILENO)) {
		return;
	}
	fprintf(stderr, "\rxsan: waiting for the node (%s), %" PRIu64 " s", wait->method,
		elapsed_ms / 1000);
	fflush(stderr);
	wait->is_shown = true;
}

/*
 * Says what the node answered. It speaks to programs: where it names the method that lists what
 * there is, a person is told the command.
 */
static void say_refusal(const struct cli *cli, const char *message)
{
	static const struct {
		const char *hint, *command;
	} hints[] = {
		{"bdev_get_bdevs lists them", "device list"},
		{"nvmf_get_subsystems lists them", "subsystem list"},
		{"nvmf_subsystem_get_listeners lists them", "listener list"},
		{"rpc_get_methods lists them", "methods"},
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		const char *found = strstr(message, hints[i].hint);

		if (found != NULL) {
			cli_say(cli, "%.*s'xsan %s' lists them%s", (int)(found - message), message,
				hints[i].command, found + strlen(hints[i].hint));
			return;
		}
	}
	cli_say(cli, "%s", message);
}

static enum cli_exit call(
	struct cli *cli, const char *method, json_t *params, json_t **ret_result, bool says_refusal)
{
	struct wait wait = {.method = method};
	enum client_outcome outcome;
	struct xu_error err = {0};
	json_t *value = NULL;

	*ret_result = NULL;
	outcome = client_call(cli->client, method, params, cli->timeout_ms,
		cli->is_quiet ? NULL : on_waiting, &wait, &value, &err);
	json_decref(params);
	if (wait.is_shown) {
		fputs("\r\033[K", stderr);
	}
	switch (outcome) {
	case CLIENT_RESULT:
		*ret_result = value;
		return CLI_OK;
	case CLIENT_ERROR:
		if (says_refusal) {
			say_refusal(cli, json_string_value(json_object_get(value, "message")));
		}
		json_decref(value);
		return CLI_REFUSED;
	default:
		cli_say(cli, "%s", err.text);
		return CLI_UNREACHABLE;
	}
}

enum cli_exit cli_call(struct cli *cli, const char *method, json_t *params, json_t **ret_result)
{
	return call(cli, method, params, ret_result, true);
}

enum cli_exit cli_try(struct cli *cli, const char *method, json_t *params, json_t **ret_result)
{
	return call(cli, method, params, ret_result, false);
}

void cli_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

enum cli_exit cli_finish_json(enum cli_exit rc, json_t *result)
{
	if (rc == CLI_OK) {
		cli_print_json(result);
		json_decref(result);
	}
	return rc;
}

enum cli_exit cli_do(struct cli *cli, const char *method, json_t *params, const char *fmt, ...)
{
	json_t *result;
	enum cli_exit rc = cli_call(cli, method, params, &result);
	char text[1024];
	va_list args;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_print("%s", text);
	json_decref(result);
	return CLI_OK;
}
