/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xsan: reads the command line, finds the command in the table and runs it against one node. What
 * is printed on stdout must have arrived somewhere before the exit code is 0.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xnvmf/host/host.h"

static enum cli_exit run(struct cli *cli)
{
	enum cli_exit rc = CLI_OK;

	if (cli->wants_help) {
		cli_help_print(cli->path, cli->path_len);
		return CLI_OK;
	}
	if (cli->wants_version) {
		printf("xsan " XSAN_VERSION "\n");
		return CLI_OK;
	}
	rc = cli_args_check(cli);
	if (rc == CLI_OK) {
		rc = cli_connect(cli);
	}
	if (rc == CLI_OK) {
		rc = cli_command(cli)->run(cli);
		cli_disconnect(cli);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	enum cli_exit rc;

	xbdev_driver_add(&xnvmf_host_driver);
	rc = cli_args_read(&cli, argc, (const char *const *)argv);
	if (rc == CLI_OK) {
		rc = run(&cli);
	}
	cli_args_free(&cli);
	if ((fflush(stdout) != 0 || ferror(stdout)) && rc == CLI_OK) {
		cli_say(&cli, "cannot write the output: %s", strerror(errno));
		rc = CLI_REFUSED;
	}
	return (int)rc;
}
