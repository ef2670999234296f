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
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/md.h"
#include "cli/registry.h"
#include "lib/util/error.h"

#define PATIENCE_MS   2000u                        /* before a call counts as long */
#define LONG_MS       (7ull * 24 * 60 * 60 * 1000) /* for one that is */
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
	registry_hang_up(cli);
}

/* ---- calls ---- */

struct wait {
	const char *method;
	const char *volume;    /* whose progress is shown; NULL: none */
	struct client *second; /* a connection to ask for it */
	bool is_shown;
};

/* Shows how far the node is with the volume; false: it does not say. */
static bool show_progress(struct wait *wait)
{
	struct xu_error err;
	json_t *list = NULL, *lvol, *process = NULL;
	char bar[MD_BAR_SIZE];
	size_t i;

	if (wait->second == NULL ||
		client_call(wait->second, "bdev_lvol_get_lvols", NULL, PATIENCE_MS, NULL, NULL,
			&list, &err) != CLIENT_RESULT) {
		json_decref(list);
		return false;
	}
	json_array_foreach (list, i, lvol) {
		if (process == NULL && lvol_is_called(lvol, wait->volume)) {
			process = json_object_get(lvol, "process");
		}
	}
	if (process != NULL) {
		md_bar(get_number(process, "percent"), bar);
		fprintf(stderr, "\r%s %5.1f %%", bar, get_number(process, "percent"));
		fflush(stderr);
	}
	json_decref(list);
	return process != NULL;
}

static void on_waiting(void *arg, uint64_t elapsed_ms)
{
	struct wait *wait = arg;

	if (!isatty(STDERR_FILENO)) {
		return;
	}
	if (wait->volume != NULL && show_progress(wait)) {
		wait->is_shown = true;
		return;
	}
	if (elapsed_ms < PATIENCE_MS) {
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
		{"bdev_lvol_get_lvstores lists them", "lvs list"},
		{"bdev_lvol_get_lvols lists them", "volume list"},
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

static enum cli_exit call(struct cli *cli, const char *method, json_t *params, struct wait *wait,
	json_t **ret_result, bool says_refusal)
{
	enum client_outcome outcome;
	struct xu_error err = {0};
	json_t *value = NULL;

	*ret_result = NULL;
	wait->method = method;
	outcome = client_call(cli->client, method, params, cli->timeout_ms,
		cli->is_quiet ? NULL : on_waiting, wait, &value, &err);
	json_decref(params);
	if (wait->is_shown) {
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
	struct wait wait = {0};

	return call(cli, method, params, &wait, ret_result, true);
}

enum cli_exit cli_call_long(struct cli *cli, const char *method, json_t *params, const char *volume,
	json_t **ret_result)
{
	struct wait wait = {.volume = volume};
	uint64_t timeout_ms = cli->timeout_ms;
	enum cli_exit rc;

	if (client_new(cli->socket, &wait.second) != 0) {
		wait.second = NULL; /* then it is not shown */
	}
	if (cli->timeout_ms == CLI_DEFAULT_TIMEOUT_MS) {
		cli->timeout_ms = LONG_MS;
	}
	rc = call(cli, method, params, &wait, ret_result, true);
	cli->timeout_ms = timeout_ms;
	client_free(wait.second);
	return rc;
}

enum cli_exit cli_try(struct cli *cli, const char *method, json_t *params, json_t **ret_result)
{
	struct wait wait = {0};

	return call(cli, method, params, &wait, ret_result, false);
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
