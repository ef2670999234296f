/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line against the tables. Words name commands as long as the command reached is a
 * group; what follows are the words of the command. Options may stand anywhere after what they
 * belong to, those of all commands anywhere; "--" ends options. The first thing that is wrong is
 * said on stderr with where to look, and nothing is done.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"

/* Options of all commands; the order is that of this table. */
enum { COMMON_SOCKET, COMMON_JSON, COMMON_TIMEOUT, COMMON_HELP, COMMON_VERSION, NR_COMMON };

const struct cli_option cli_common_options[] = {
	[COMMON_SOCKET] = {"socket", 's', "SOCKET",
		"socket of the node (default: $XSAN_SOCKET, else ./var/xsand.sock if it exists, "
		"else /run/xsan/xsand.sock)",
		CLI_FILES},
	[COMMON_JSON] = {"json", 'j', .help = "print JSON for programs"},
	[COMMON_TIMEOUT] = {"timeout", 't', "SECONDS", "how long one call may take (default 120)"},
	[COMMON_HELP] = {"help", 'h', .help = "print the help of a command"},
	[COMMON_VERSION] = {"version", 'V', .help = "print the version of xsan"},
	{0},
};

/* ---- saying ---- */

void cli_say(const struct cli *cli, const char *fmt, ...)
{
	char text[2048];
	va_list args;

	if (cli->is_quiet) {
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fputs("xsan: ", stderr);
	format_clean(text, stderr);
	fputc('\n', stderr);
}

void cli_print(const char *fmt, ...)
{
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	format_clean(text, stdout);
	putchar('\n');
}

enum cli_exit cli_usage(const struct cli *cli, const char *fmt, ...)
{
	char text[1024], path[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_path_text(cli->path, cli->path_len, path, sizeof(path));
	cli_say(cli, "%s; see '%s --help'", text, path);
	return CLI_USAGE;
}

/* ---- reaching what was read ---- */

const struct cli_command *cli_command(const struct cli *cli)
{
	return cli->path[cli->path_len - 1];
}

const struct cli_command *cli_member(const struct cli_command *group, const char *name)
{
	for (size_t i = 0; group->members != NULL && group->members[i] != NULL; i++) {
		if (strcmp(group->members[i]->name, name) == 0) {
			return group->members[i];
		}
	}
	return NULL;
}

const char *cli_word(const struct cli *cli, size_t index)
{
	return index < cli->nr_words ? cli->words[index] : NULL;
}

/* The place of an option in a table, by its name or, when that is NULL, by its letter; -1. */
static int find_option(const struct cli_option *options, const char *name, size_t len, char letter)
{
	for (int i = 0; options != NULL && options[i].name != NULL; i++) {
		if (name == NULL ? options[i].letter == letter
				 : strlen(options[i].name) == len &&
					   strncmp(options[i].name, name, len) == 0) {
			return i;
		}
	}
	return -1;
}

const char *cli_option(const struct cli *cli, const char *name)
{
	int index = find_option(cli_command(cli)->options, name, strlen(name), 0);

	return index >= 0 ? cli->values[index] : NULL;
}

/* ---- numbers ---- */

enum cli_exit cli_parse_u64(const struct cli *cli, const char *what, const char *text, uint64_t min,
	uint64_t max, uint64_t *ret_value)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < min ||
		value > max) {
		return cli_usage(cli, "%s '%s' is not a whole number from %" PRIu64 " to %" PRIu64,
			what, text, min, max);
	}
	*ret_value = value;
	return CLI_OK;
}

enum cli_exit cli_parse_seconds(const struct cli *cli, const char *what, const char *text,
	uint64_t min_ms, uint64_t max_ms, uint64_t *ret_ms)
{
	uint64_t ms = 0;
	unsigned decimals = 0;
	bool has_point = false, is_bad = !isdigit((unsigned char)text[0]);

	for (const char *c = text; *c != '\0' && !is_bad; c++) {
		if (*c == '.' && !has_point) {
			has_point = true;
			continue;
		}
		decimals += has_point;
		is_bad = !isdigit((unsigned char)*c) || decimals > 3 || ms > max_ms;
		ms = ms * 10 + (uint64_t)(*c - '0');
	}
	for (; !is_bad && decimals < 3; decimals++) {
		ms *= 10;
	}
	if (is_bad || ms < min_ms || ms > max_ms) {
		return cli_usage(cli, "%s '%s' is not a number of seconds from %g to %g", what,
			text, (double)min_ms / 1000, (double)max_ms / 1000);
	}
	*ret_ms = ms;
	return CLI_OK;
}

/* ---- the command line ---- */

static enum cli_exit set_common(struct cli *cli, int index, const char *value)
{
	switch (index) {
	case COMMON_SOCKET:
		cli->socket = value;
		return value[0] != '\0' ? CLI_OK : cli_usage(cli, "--socket is empty");
	case COMMON_JSON:
		cli->is_json = true;
		return CLI_OK;
	case COMMON_TIMEOUT:
		return cli_parse_seconds(
			cli, "--timeout", value, 100, 24 * 3600 * 1000, &cli->timeout_ms);
	case COMMON_HELP:
		cli->wants_help = true;
		return CLI_OK;
	default:
		cli->wants_version = true;
		return CLI_OK;
	}
}

/* "a, b or c" */
static void choices_text(const char *const *choices, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; choices[i] != NULL && len < size; i++) {
		len += (size_t)snprintf(text + len, size - len, "%s%s",
			i == 0                   ? ""
			: choices[i + 1] != NULL ? ", "
						 : " or ",
			choices[i]);
	}
}

static enum cli_exit check_choice(
	const struct cli *cli, const char *what, const char *text, const char *const *choices)
{
	char list[256];

	for (size_t i = 0; choices != NULL && choices[i] != NULL; i++) {
		if (strcmp(choices[i], text) == 0) {
			return CLI_OK;
		}
	}
	if (choices == NULL) {
		return CLI_OK;
	}
	choices_text(choices, list, sizeof(list));
	return cli_usage(cli, "%s '%s' is not %s", what, text, list);
}

/* Where the reading is. */
struct reader {
	struct cli *cli;
	const char *const *argv;
	int argc, next;
};

/* Gives an option, whose value may stick to it or be the next word, to whom it belongs. */
static enum cli_exit take_option(struct reader *r, const struct cli_option *options, int index,
	const char *written, const char *value)
{
	const struct cli_option *option = &options[index];
	struct cli *cli = r->cli;
	char what[64];
	enum cli_exit rc;

	if (option->value == NULL && value != NULL) {
		return cli_usage(cli, "option %s takes no value", written);
	}
	if (option->value != NULL && value == NULL) {
		if (r->next == r->argc) {
			cli->pending = option;
			return cli_usage(
				cli, "option %s is missing its %s", written, option->value);
		}
		value = r->argv[r->next++];
	}
	value = value != NULL ? value : "";
	if (options == cli_common_options) {
		return set_common(cli, index, value);
	}
	snprintf(what, sizeof(what), "--%s", option->name);
	rc = check_choice(cli, what, value, option->choices);
	cli->values[index] = value;
	return rc;
}

/* --name, --name=value */
static enum cli_exit read_long(struct reader *r, const char *word)
{
	const struct cli_option *options = cli_command(r->cli)->options;
	const char *name = word + 2, *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	char written[64];
	int index = find_option(options, name, len, 0);

	if (index < 0) {
		options = cli_common_options;
		index = find_option(options, name, len, 0);
	}
	snprintf(written, sizeof(written), "--%.*s", (int)len, name);
	if (index < 0) {
		return cli_usage(r->cli, "there is no option %s", written);
	}
	return take_option(r, options, index, written, equals != NULL ? equals + 1 : NULL);
}

/* -j, -i1, -i 1, -ji1 */
static enum cli_exit read_letters(struct reader *r, const char *word)
{
	enum cli_exit rc = CLI_OK;

	for (const char *letter = word + 1; *letter != '\0' && rc == CLI_OK; letter++) {
		const struct cli_option *options = cli_command(r->cli)->options;
		const char written[] = {'-', *letter, '\0'};
		int index = find_option(options, NULL, 0, *letter);
		bool has_value;

		if (index < 0) {
			options = cli_common_options;
			index = find_option(options, NULL, 0, *letter);
		}
		if (index < 0) {
			return cli_usage(r->cli, "there is no option %s", written);
		}
		has_value = options[index].value != NULL && letter[1] != '\0';
		rc = take_option(r, options, index, written, has_value ? letter + 1 : NULL);
		if (options[index].value != NULL) {
			break;
		}
	}
	return rc;
}

const struct cli_arg *cli_arg_at(const struct cli_command *command, size_t index)
{
	const struct cli_arg *arg = command->args;

	for (; arg != NULL && arg->name != NULL; arg++) {
		if (index == 0 || arg->is_repeated) {
			return arg;
		}
		index--;
	}
	return NULL;
}

static enum cli_exit read_word(struct reader *r, const char *word)
{
	const struct cli_command *command = cli_command(r->cli), *member;
	const struct cli_arg *arg;
	struct cli *cli = r->cli;

	if (command->members != NULL) {
		member = cli_member(command, word);
		if (member == NULL) {
			return cli_usage(cli, "there is no command '%s'", word);
		}
		cli->path[cli->path_len++] = member;
		return CLI_OK;
	}
	arg = cli_arg_at(command, cli->nr_words);
	if (arg == NULL) {
		return cli_usage(cli, "'%s' is one word too many", word);
	}
	cli->words[cli->nr_words++] = word;
	return check_choice(cli, arg->name, word, arg->choices);
}

enum cli_exit cli_args_check(const struct cli *cli)
{
	const struct cli_command *command = cli_command(cli);
	const struct cli_arg *arg;

	if (command->members != NULL) {
		return cli_usage(cli, "a command is missing");
	}
	arg = cli_arg_at(command, cli->nr_words);
	if (arg != NULL && !arg->is_optional && cli->nr_words <= (size_t)(arg - command->args)) {
		return cli_usage(cli, "%s is missing: %s", arg->name, arg->help);
	}
	return CLI_OK;
}

enum cli_exit cli_args_read(struct cli *cli, int argc, const char *const *argv)
{
	struct reader r = {.cli = cli, .argc = argc, .argv = argv, .next = 1};
	enum cli_exit rc = CLI_OK;

	cli->timeout_ms = CLI_DEFAULT_TIMEOUT_MS;
	cli->path[0] = &cli_root;
	cli->path_len = 1;
	cli->words = calloc((size_t)argc + 1, sizeof(*cli->words));
	if (cli->words == NULL) {
		cli_say(cli, "out of memory");
		return CLI_REFUSED;
	}
	while (rc == CLI_OK && r.next < argc) {
		const char *word = argv[r.next++];

		if (cli->has_no_more_options || word[0] != '-' || word[1] == '\0') {
			rc = read_word(&r, word);
		} else if (strcmp(word, "--") == 0) {
			cli->has_no_more_options = true;
		} else if (word[1] == '-') {
			rc = read_long(&r, word);
		} else {
			rc = read_letters(&r, word);
		}
	}
	return rc;
}

void cli_args_free(struct cli *cli)
{
	free(cli->words);
	cli->words = NULL;
}
