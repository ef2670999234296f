/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config …: checks a configuration file with the code that the node itself reads it with, so no
 * node is needed for that; makes a node read its file again; gives out what it has become.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/model.h"
#include "lib/util/error.h"

static const struct cli_arg file_args[] = {
	{"FILE", "path of a configuration file", CLI_FILES},
	{0},
};

/* ---- check ---- */

/* Reads the file, or says what is wrong with it. */
static enum cli_exit read_file(const struct cli *cli, const char *path, struct config **ret_config)
{
	struct xu_error err = {0};

	if (config_read(path, ret_config, &err) != 0) {
		cli_say(cli, "%s", err.text);
		return CLI_REFUSED;
	}
	return CLI_OK;
}

static enum cli_exit run_check(struct cli *cli)
{
	const char *path = cli_word(cli, 0);
	size_t nr_devices, nr_subsystems;
	struct config *config;
	enum cli_exit rc = read_file(cli, path, &config);

	if (rc != CLI_OK) {
		return rc;
	}
	nr_devices = json_object_size(model_devices(config->model));
	nr_subsystems = json_object_size(model_subsystems(config->model));
	config_free(config);
	if (cli->is_json) {
		return cli_finish_json(CLI_OK,
			json_pack("{s:s, s:I, s:I}", "file", path, "devices",
				(json_int_t)nr_devices, "subsystems", (json_int_t)nr_subsystems));
	}
	cli_print("%s is good; devices: %zu, subsystems: %zu", path, nr_devices, nr_subsystems);
	return CLI_OK;
}

static const struct cli_command check_command = {
	.name = "check",
	.help = "Checks a configuration file; no node is needed for it.",
	.about = "An error says where: FILE:LINE:COLUMN, and what is accepted there. The exit\n"
		 "code is 1 then.",
	.args = file_args,
	.run = run_check,
};

/* ---- reload, load ---- */

static void print_sentences(const char *title, json_t *list)
{
	json_t *sentence;
	size_t i;

	json_array_foreach (list, i, sentence) {
		cli_print("%s: %s", title,
			json_is_string(sentence) ? json_string_value(sentence) : "");
	}
}

/* Prints a report, which it takes; what failed is said on stderr. */
static enum cli_exit finish_report(struct cli *cli, json_t *report, const char *done_title)
{
	json_t *failed = json_object_get(report, "failed"), *failure;
	size_t i, nr_failed = json_array_size(failed);

	if (cli->is_json) {
		cli_print_json(report);
	} else {
		print_sentences(done_title, json_object_get(report, "done"));
		print_sentences("note", json_object_get(report, "notes"));
		print_sentences("only by a restart", json_object_get(report, "restart"));
		if (nr_failed == 0 && json_array_size(json_object_get(report, "done")) == 0) {
			cli_print("there is nothing to change");
		}
	}
	json_array_foreach (failed, i, failure) {
		cli_say(cli, "failed: %s: %s", get_text(failure, "step"),
			get_text(failure, "error"));
	}
	json_decref(report);
	return nr_failed == 0 ? CLI_OK : CLI_REFUSED;
}

static const struct cli_option reload_options[] = {
	{"dry-run", 'n', .help = "only say what would be done"},
	{0},
};

static enum cli_exit run_reload(struct cli *cli)
{
	bool is_dry = cli_option(cli, "dry-run") != NULL;
	json_t *report;
	enum cli_exit rc =
		cli_call(cli, "config_reload", json_pack("{s:b}", "dry_run", is_dry), &report);

	return rc == CLI_OK ? finish_report(cli, report, is_dry ? "would" : "done") : rc;
}

static const struct cli_command reload_command = {
	.name = "reload",
	.help = "Makes the node read its file again and change what differs.",
	.about = "What was changed at run time stays unless the file changed in the same place;\n"
		 "notes say so. The exit code is 1 when something could not be made.",
	.options = reload_options,
	.run = run_reload,
};

static enum cli_exit run_load(struct cli *cli)
{
	struct config *config;
	enum cli_exit rc = read_file(cli, cli_word(cli, 0), &config);
	json_t *params, *report;

	if (rc != CLI_OK) {
		return rc;
	}
	params = json_pack("{s:O}", "config", config->root);
	config_free(config);
	rc = cli_call(cli, "load_config", params, &report);
	return rc == CLI_OK ? finish_report(cli, report, "done") : rc;
}

static const struct cli_command load_command = {
	.name = "load",
	.help = "Makes what a file says, as changes at run time.",
	.args = file_args,
	.run = run_load,
};

/* ---- show, save ---- */

static enum cli_exit run_show(struct cli *cli)
{
	json_t *config;
	enum cli_exit rc = cli_call(cli, "save_config", NULL, &config);

	return cli_finish_json(rc, config);
}

static const struct cli_command show_command = {
	.name = "show",
	.help = "Prints the configuration of the node with all changes made at run time.",
	.run = run_show,
};

/* Writes to a new file beside `path`, which takes its place when all of it is on the disk. */
static int write_file(const char *path, const json_t *config)
{
	char temporary[PATH_MAX];
	int fd, rc = 0;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >=
		sizeof(temporary)) {
		return -ENAMETOOLONG;
	}
	fd = mkstemp(temporary);
	if (fd < 0) {
		return -errno;
	}
	if (json_dumpfd(config, fd, JSON_INDENT(2)) != 0 || write(fd, "\n", 1) != 1 ||
		fsync(fd) != 0) {
		rc = errno != 0 ? -errno : -EIO;
	}
	if (close(fd) != 0 && rc == 0) {
		rc = -errno;
	}
	if (rc == 0 && rename(temporary, path) != 0) {
		rc = -errno;
	}
	if (rc != 0) {
		unlink(temporary);
	}
	return rc;
}

static enum cli_exit run_save(struct cli *cli)
{
	const char *path = cli_word(cli, 0);
	json_t *config;
	enum cli_exit rc = cli_call(cli, "save_config", NULL, &config);
	int code;

	if (rc != CLI_OK) {
		return rc;
	}
	code = write_file(path, config);
	json_decref(config);
	if (code != 0) {
		cli_say(cli, "cannot write %s: %s", path, strerror(-code));
		return CLI_REFUSED;
	}
	if (cli->is_json) {
		return cli_finish_json(CLI_OK, json_pack("{s:s}", "file", path));
	}
	cli_print("the configuration of the node is in %s", path);
	return CLI_OK;
}

static const struct cli_command save_command = {
	.name = "save",
	.help = "Writes that to a file, which a node can be started with.",
	.about = "A node keeps what is changed at run time by itself; this is for a copy, or to\n"
		 "make the changes part of the file. The file is readable by its owner only.",
	.args = file_args,
	.run = run_save,
};

static const struct cli_command *const members[] = {
	&check_command, &reload_command, &load_command, &show_command, &save_command, NULL};

const struct cli_command cli_config = {
	.name = "config",
	.help = "Checks, reloads, prints and saves configurations.",
	.members = members,
};
