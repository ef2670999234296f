/* SPDX-License-Identifier: BSD-3-Clause */
/* --help of every level, and `xsan help`, made from the tables of the commands. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"

#define INDENT    2
#define HELP_AT   26 /* column of the explanations */
#define MAX_WIDTH 80

static const char exit_codes[] = "Exit codes:\n"
				 "  0  done\n"
				 "  1  the node or registry refused; the reason is on stderr\n"
				 "  2  the command line is wrong\n"
				 "  3  no node or registry answers, or not in time\n";

void cli_path_text(
	const struct cli_command *const *path, size_t path_len, char *text, size_t text_size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < path_len && len < text_size; i++) {
		len += (size_t)snprintf(
			text + len, text_size - len, "%s%s", i > 0 ? " " : "", path[i]->name);
	}
}

/* "  head      help, wrapped" */
static void print_entry(const char *head, const char *help)
{
	int column = printf("%*s%s", INDENT, "", head);

	if (column + 2 > HELP_AT) {
		printf("\n");
		column = 0;
	}
	printf("%*s", HELP_AT - column, "");
	format_wrapped(help, HELP_AT, MAX_WIDTH, stdout);
}

/* The help of a word or an option, with the texts it accepts. */
static void print_choices_entry(const char *head, const char *help, const char *const *choices)
{
	char text[512];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", help);

	for (size_t i = 0; choices != NULL && choices[i] != NULL && len < sizeof(text); i++) {
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "%s%s", i == 0 ? ": " : ", ", choices[i]);
	}
	print_entry(head, text);
}

static void print_members(const struct cli_command *group)
{
	printf("\nCommands:\n");
	for (size_t i = 0; group->members[i] != NULL; i++) {
		if (!group->members[i]->is_hidden) {
			print_entry(group->members[i]->name, group->members[i]->help);
		}
	}
}

static void print_args(const struct cli_arg *args)
{
	if (args == NULL) {
		return;
	}
	printf("\nArguments:\n");
	for (const struct cli_arg *arg = args; arg->name != NULL; arg++) {
		print_choices_entry(arg->name, arg->help, arg->choices);
	}
}

static void print_options(const char *title, const struct cli_option *options)
{
	char head[64];

	if (options == NULL) {
		return;
	}
	printf("\n%s:\n", title);
	for (const struct cli_option *option = options; option->name != NULL; option++) {
		size_t len = 0;

		if (option->letter != 0) {
			len = (size_t)snprintf(head, sizeof(head), "-%c, ", option->letter);
		}
		snprintf(head + len, sizeof(head) - len, "--%s%s%s", option->name,
			option->value != NULL ? " " : "",
			option->value != NULL ? option->value : "");
		print_choices_entry(head, option->help, option->choices);
	}
}

static void print_usage(const struct cli_command *const *path, size_t path_len)
{
	const struct cli_command *command = path[path_len - 1];
	char text[128];

	cli_path_text(path, path_len, text, sizeof(text));
	printf("Usage: %s", text);
	if (command->members != NULL) {
		printf(" COMMAND");
	}
	for (const struct cli_arg *arg = command->args; arg != NULL && arg->name != NULL; arg++) {
		printf(arg->is_optional ? " [%s]" : " %s", arg->name);
		printf("%s", arg->is_repeated ? "..." : "");
	}
	printf(" [OPTIONS]\n");
}

void cli_help_print(const struct cli_command *const *path, size_t path_len)
{
	const struct cli_command *command = path[path_len - 1];

	print_usage(path, path_len);
	printf("\n%s\n", command->help);
	if (command->about != NULL) {
		printf("\n%s\n", command->about);
	}
	if (command->members != NULL) {
		print_members(command);
	}
	print_args(command->args);
	print_options("Options", command->options);
	print_options("Options of all commands", cli_common_options);
	if (command->more_help != NULL) {
		printf("\n");
		command->more_help();
	}
	printf("\n%s", exit_codes);
}

/* ---- xsan help ---- */

static const struct cli_arg help_args[] = {
	{"COMMAND", "the command to explain (default: xsan itself)", CLI_COMMANDS,
		.is_optional = true, .is_repeated = true},
	{0},
};

static enum cli_exit run_help(struct cli *cli)
{
	const struct cli_command *path[CLI_MAX_DEPTH] = {&cli_root};
	size_t path_len = 1;

	for (size_t i = 0; i < cli->nr_words; i++) {
		const struct cli_command *member = cli_member(path[path_len - 1], cli->words[i]);

		if (member == NULL) {
			return cli_usage(cli, "there is no command '%s'", cli->words[i]);
		}
		path[path_len++] = member;
	}
	cli_help_print(path, path_len);
	return CLI_OK;
}

const struct cli_command cli_help = {
	.name = "help",
	.help = "Prints the help of a command.",
	.args = help_args,
	.run = run_help,
};
