/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * completion: prints what a shell needs to complete the command line of xsan. The scripts only hand
 * the words to `xsan complete`, which knows the tables and, for names of devices, subsystems and
 * methods, asks the node; so they need not change when a command comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "lib/xbdev/driver/driver.h"

#define NODE_TIMEOUT_MS 1000u

/* ---- completion ---- */

/*
 * A word ends for bash at ':' and '=' too, which names and parameters have in them; so the line is
 * split at spaces, and from the candidates is cut what stands before the last of these.
 */
static const char bash_script[] =
	"# bash completion of xsan, made by 'xsan completion bash'\n"
	"_xsan()\n"
	"{\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} last\n"
	"\tlocal -a words\n"
	"\n"
	"\t"
	"read -ra words <<<\"$line\"\n"
	"\t[[ $line == *[[:space:]] ]] && words+=('')\n"
	"\tlast=${words[-1]}\n"
	"\tmapfile -t COMPREPLY < <(\"${words[0]}\" complete -- \"${words[@]:1}\" 2>/dev/null)\n"
	"\tif [[ ${COMPREPLY[0]-} == @files ]]; then\n"
	"\t\tCOMPREPLY=()\n"
	"\t\tcompopt -o default\n"
	"\t\treturn\n"
	"\tfi\n"
	"\t[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n"
	"\tCOMPREPLY=(\"${COMPREPLY[@]#\"${last%\"${last##*[:=]}\"}\"}\")\n"
	"}\n"
	"complete -F _xsan xsan\n";

static const char zsh_script[] = "#compdef xsan\n"
				 "# zsh completion of xsan, made by 'xsan completion zsh'\n"
				 "_xsan()\n"
				 "{\n"
				 "\tlocal -a found\n"
				 "\n"
				 "\tfound=(\"${(@f)$(\"${words[1]}\" complete -- "
				 "\"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
				 "\tif [[ ${found[1]} == @files ]]; then\n"
				 "\t\t_files\n"
				 "\telif [[ ${found[1]} == *= ]]; then\n"
				 "\t\tcompadd -S '' -- \"${(@)found:#}\"\n"
				 "\telse\n"
				 "\t\tcompadd -- \"${(@)found:#}\"\n"
				 "\tfi\n"
				 "}\n"
				 "if [[ ${funcstack[1]-} == _xsan ]]; then\n"
				 "\t_xsan \"$@\"\n"
				 "else\n"
				 "\tcompdef _xsan xsan\n"
				 "fi\n";

static const char *const shells[] = {"bash", "zsh", NULL};

static const struct cli_arg completion_args[] = {
	{"SHELL", "the shell", .choices = shells},
	{0},
};

static enum cli_exit run_completion(struct cli *cli)
{
	fputs(strcmp(cli_word(cli, 0), "bash") == 0 ? bash_script : zsh_script, stdout);
	return CLI_OK;
}

const struct cli_command cli_completion = {
	.name = "completion",
	.help = "Prints the script by which a shell completes xsan's command line.",
	.about = "For bash:  source <(xsan completion bash)\n"
		 "For zsh:   source <(xsan completion zsh)\n"
		 "A package installs them where the shells find them.",
	.args = completion_args,
	.run = run_completion,
};

/* ---- complete ---- */

/* Prints a candidate if it begins with what is there already. */
static void offer(const char *word, const char *begin, const char *suffix)
{
	if (strncmp(word, begin, strlen(begin)) == 0) {
		printf("%s%s\n", word, suffix);
	}
}

static void offer_choices(const char *const *choices, const char *begin)
{
	for (size_t i = 0; choices[i] != NULL; i++) {
		offer(choices[i], begin, "");
	}
}

static void offer_members(const struct cli_command *group, const char *begin)
{
	for (size_t i = 0; group->members[i] != NULL; i++) {
		if (!group->members[i]->is_hidden) {
			offer(group->members[i]->name, begin, "");
		}
	}
}

static void offer_options(const struct cli_option *options, const char *begin)
{
	char text[64];

	for (size_t i = 0; options != NULL && options[i].name != NULL; i++) {
		snprintf(text, sizeof(text), "--%s", options[i].name);
		offer(text, begin, "");
	}
}

/* Names that the node knows: the texts of a list, or those under `key` in the objects of one. The
 * discovery subsystem cannot be changed, so it is left out. */
static void offer_names(struct cli *cli, const char *method, const char *key, const char *begin)
{
	json_t *list, *object;
	size_t i;

	if (cli_try(cli, method, NULL, &list) != CLI_OK) {
		return;
	}
	json_array_foreach (list, i, object) {
		json_t *name = key != NULL ? json_object_get(object, key) : object;

		if (json_is_string(name) && strcmp(get_text(object, "subtype"), "Discovery") != 0) {
			offer(json_string_value(name), begin, "");
		}
	}
	json_decref(list);
}

static void offer_snapshots(struct cli *cli, const char *begin)
{
	json_t *list, *lvol;
	size_t i;

	if (cli_try(cli, "bdev_lvol_get_lvols", NULL, &list) != CLI_OK) {
		return;
	}
	json_array_foreach (list, i, lvol) {
		if (get_bool(lvol, "read_only") && !get_bool(lvol, "hidden")) {
			offer(get_text(lvol, "alias"), begin, "");
		}
	}
	json_decref(list);
}

static void offer_parameters(const struct cli *cli, const char *begin)
{
	const struct xbdev_driver *driver =
		cli->nr_words > 0 ? xbdev_driver_find(cli->words[0]) : NULL;

	for (const struct xu_param *p = driver != NULL ? driver->params : NULL;
		p != NULL && p->name != NULL; p++) {
		offer(p->name, begin, "=");
	}
}

static void offer_drivers(const char *begin)
{
	for (size_t i = 0; xbdev_drivers[i] != NULL; i++) {
		offer(xbdev_drivers[i]->name, begin, "");
	}
}

/* The commands below those that the words of `help` name. */
static void offer_commands(const struct cli *cli, const char *begin)
{
	const struct cli_command *group = &cli_root;

	for (size_t i = 0; i < cli->nr_words && group != NULL; i++) {
		group = cli_member(group, cli->words[i]);
	}
	if (group != NULL && group->members != NULL) {
		offer_members(group, begin);
	}
}

/* One page is enough for a shell. */
static void offer_targets(struct cli *cli, const char *begin)
{
	const struct registry_request request = {
		.method = "GET", .path = "/targets", .is_tried = true};
	json_t *page, *target;
	size_t i;

	if (registry_request(cli, &request, &page, NULL) != CLI_OK) {
		return;
	}
	json_array_foreach (json_object_get(page, "targets"), i, target) {
		offer(get_text(target, "target_id"), begin, "");
	}
	json_decref(page);
}

static void offer_words(struct cli *cli, enum cli_words words, const char *begin)
{
	switch (words) {
	case CLI_DEVICES:
		offer_names(cli, "bdev_get_bdevs", "name", begin);
		break;
	case CLI_ARRAYS:
		offer_names(cli, "bdev_raid_get_bdevs", "name", begin);
		break;
	case CLI_STORES:
		offer_names(cli, "bdev_lvol_get_lvstores", "name", begin);
		break;
	case CLI_VOLUMES:
		offer_names(cli, "bdev_lvol_get_lvols", "alias", begin);
		break;
	case CLI_SNAPSHOTS:
		offer_snapshots(cli, begin);
		break;
	case CLI_SUBSYSTEMS:
		offer_names(cli, "nvmf_get_subsystems", "nqn", begin);
		break;
	case CLI_METHODS:
		offer_names(cli, "rpc_get_methods", NULL, begin);
		break;
	case CLI_FILES:
		printf("@files\n");
		break;
	case CLI_DRIVERS:
		offer_drivers(begin);
		break;
	case CLI_PARAMETERS:
		offer_parameters(cli, begin);
		break;
	case CLI_COMMANDS:
		offer_commands(cli, begin);
		break;
	case CLI_TARGETS:
		offer_targets(cli, begin);
		break;
	case CLI_METRICS:
		for (size_t i = 0; registry_metrics[i] != NULL; i++) {
			offer(registry_metrics[i], begin, "=");
		}
		break;
	case CLI_SETTINGS:
		for (size_t i = 0; registry_settings[i] != NULL; i++) {
			offer(registry_settings[i], begin, "=");
		}
		break;
	case CLI_ANYTHING:
		break;
	}
}

/* Offers what may stand where `begin` stands, after the words that `cli` has read. */
static void complete(struct cli *cli, const char *begin)
{
	const struct cli_command *command = cli_command(cli);
	const struct cli_option *option = cli->pending;
	const struct cli_arg *arg = cli_arg_at(command, cli->nr_words);

	if (option != NULL && option->choices != NULL) {
		offer_choices(option->choices, begin);
	} else if (option != NULL) {
		offer_words(cli, option->words, begin);
	} else if (begin[0] == '-' && !cli->has_no_more_options) {
		offer_options(command->options, begin);
		offer_options(cli_common_options, begin);
	} else if (command->members != NULL) {
		offer_members(command, begin);
	} else if (arg != NULL && arg->choices != NULL) {
		offer_choices(arg->choices, begin);
	} else if (arg != NULL) {
		offer_words(cli, arg->words, begin);
	}
}

static const struct cli_arg complete_args[] = {
	{"WORD", "the words after xsan; the last is the one to complete", .is_repeated = true},
	{0},
};

/* The words but the last are read as a command line of their own, complete or not. */
static enum cli_exit run_complete(struct cli *cli)
{
	struct cli line = {.is_quiet = true};
	size_t nr_words = cli->nr_words;
	const char **argv = calloc(nr_words, sizeof(*argv));
	enum cli_exit rc;

	if (argv == NULL) {
		return CLI_REFUSED;
	}
	argv[0] = cli_root.name;
	for (size_t i = 1; i < nr_words; i++) {
		argv[i] = cli->words[i - 1];
	}
	rc = cli_args_read(&line, (int)nr_words, argv);
	line.timeout_ms = NODE_TIMEOUT_MS;
	if ((rc == CLI_OK || line.pending != NULL) && cli_connect(&line) == CLI_OK) {
		complete(&line, cli->words[nr_words - 1]);
		cli_disconnect(&line);
	}
	cli_args_free(&line);
	free(argv);
	return CLI_OK;
}

const struct cli_command cli_complete = {
	.name = "complete",
	.help = "Prints what may stand for the last word, for the scripts of 'completion'.",
	.args = complete_args,
	.run = run_complete,
	.is_hidden = true,
};
