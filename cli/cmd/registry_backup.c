/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry backup and restore: the registry's data as a file. A backup is made by the running
 * registry and checked when it is here; a restore needs no registry, and refuses while one uses the
 * data. What was there before is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "lib/util/error.h"
#include "lib/xregistry/sqlite_file.h"

#define DEFAULT_DATABASE "/var/lib/xsan/registry/targets.db"

/* ---- backup ---- */

static const struct cli_arg backup_args[] = {
	{"FILE", "the file to write; an old one is replaced when the new one is whole", CLI_FILES},
	{0},
};

struct download {
	int fd, rc;
	uint64_t bytes;
};

static bool on_data(void *arg, const char *data, size_t len)
{
	struct download *download = arg;

	while (len > 0) {
		ssize_t done = write(download->fd, data, len);

		if (done < 0) {
			download->rc = -errno;
			return false;
		}
		data += done;
		len -= (size_t)done;
		download->bytes += (uint64_t)done;
	}
	return true;
}

/* Fetches into `part`; CLI_OK: all of it is there and on the disk. */
static enum cli_exit download(struct cli *cli, const char *part, uint64_t *ret_bytes)
{
	struct download to = {
		.fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600)};
	const struct registry_request request = {.method = "GET",
		.path = "/backup",
		.type = "application/vnd.sqlite3",
		.on_data = on_data,
		.arg = &to};
	json_t *none;
	enum cli_exit rc;

	if (to.fd < 0) {
		cli_say(cli, "%s cannot be written: %s", part, strerror(errno));
		return CLI_REFUSED;
	}
	rc = registry_request(cli, &request, &none, NULL);
	json_decref(none);
	if (rc == CLI_OK && to.rc == 0 && fsync(to.fd) != 0) {
		to.rc = -errno;
	}
	close(to.fd);
	if (rc == CLI_OK && to.rc != 0) {
		cli_say(cli, "%s cannot be written: %s", part, strerror(-to.rc));
		rc = CLI_REFUSED;
	}
	*ret_bytes = to.bytes;
	return rc;
}

static enum cli_exit keep(struct cli *cli, const char *part, const char *path, uint64_t bytes)
{
	struct xreg_sqlite_info info;
	struct xu_error err;

	if (xreg_sqlite_check(part, &info, &err) != 0) {
		cli_say(cli, "what the registry has sent is no good backup: %s", err.text);
		return CLI_REFUSED;
	}
	if (rename(part, path) != 0) {
		cli_say(cli, "%s cannot be written: %s", path, strerror(errno));
		return CLI_REFUSED;
	}
	if (cli->is_json) {
		json_t *result = json_pack("{s:s, s:I, s:I, s:I}", "file", path, "bytes",
			(json_int_t)bytes, "targets", (json_int_t)info.nr_targets, "revision",
			(json_int_t)info.revision);

		cli_print_json(result);
		json_decref(result);
	} else {
		cli_print("%s has %" PRIu64 " targets at revision %" PRIu64 ", %" PRIu64 " bytes",
			path, info.nr_targets, info.revision, bytes);
	}
	return CLI_OK;
}

static enum cli_exit run_backup(struct cli *cli)
{
	const char *path = cli_word(cli, 0);
	char part[PATH_MAX];
	uint64_t bytes;
	enum cli_exit rc;

	if ((size_t)snprintf(part, sizeof(part), "%s.part", path) >= sizeof(part)) {
		return cli_usage(cli, "FILE is too long");
	}
	if (!registry_may_write(cli, path)) {
		return CLI_REFUSED;
	}
	rc = download(cli, part, &bytes);
	if (rc == CLI_OK) {
		rc = keep(cli, part, path, bytes);
	}
	if (rc != CLI_OK) {
		unlink(part);
	}
	return rc;
}

const struct cli_command registry_backup_command = {
	.name = "backup",
	.help = "Writes all the data of a running registry to a file, and checks it.",
	.about = "It needs the role admin.",
	.args = backup_args,
	.options = registry_options,
	.run = run_backup,
};

/* ---- restore ---- */

static const struct cli_arg restore_args[] = {
	{"FILE", "a file of 'backup'", CLI_FILES},
	{"DATABASE", "the registry's (default " DEFAULT_DATABASE ")", CLI_FILES,
		.is_optional = true},
	{0},
};

static enum cli_exit run_restore(struct cli *cli)
{
	const char *from = cli_word(cli, 0), *to = cli_word(cli, 1);
	struct xreg_sqlite_info info;
	char aside[PATH_MAX];
	struct xu_error err;

	to = to != NULL ? to : DEFAULT_DATABASE;
	if (xreg_sqlite_restore(from, to, aside, sizeof(aside), &info, &err) != 0) {
		cli_say(cli, "nothing was restored: %s", err.text);
		return CLI_REFUSED;
	}
	if (cli->is_json) {
		json_t *result = json_pack("{s:s, s:I, s:I, s:s}", "database", to, "targets",
			(json_int_t)info.nr_targets, "revision", (json_int_t)info.revision, "kept",
			aside);

		cli_print_json(result);
		json_decref(result);
		return CLI_OK;
	}
	cli_print("%s has %" PRIu64 " targets at revision %" PRIu64, to, info.nr_targets,
		info.revision);
	if (aside[0] != '\0') {
		cli_print("what it was before is %s", aside);
	}
	return CLI_OK;
}

const struct cli_command registry_restore_command = {
	.name = "restore",
	.help = "Puts a backup in the place of the data of a registry that is stopped.",
	.about = "The file is checked first; what was there before is kept beside it.",
	.args = restore_args,
	.run = run_restore,
};
