/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands on subsystems, namespaces, listeners and connections share. */
#include "cli/nvmf.h"

#include <stdio.h>
#include <string.h>

#include "cli/json.h"

enum cli_exit nvmf_get_subsystems(struct cli *cli, const char *nqn, json_t **ret_subsystems)
{
	enum cli_exit rc = cli_call(cli, "nvmf_get_subsystems",
		nqn != NULL ? json_pack("{s:s}", "nqn", nqn) : NULL, ret_subsystems);

	for (size_t i = json_array_size(*ret_subsystems); nqn == NULL && i-- > 0;) {
		json_t *subsystem = json_array_get(*ret_subsystems, i);

		if (strcmp(get_text(subsystem, "subtype"), "Discovery") == 0) {
			json_array_remove(*ret_subsystems, i);
		}
	}
	return rc;
}

void nvmf_address_text(const json_t *address, char text[NVMF_ADDRESS_SIZE])
{
	const char *host = get_text(address, "traddr");

	snprintf(text, NVMF_ADDRESS_SIZE, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host,
		get_text(address, "trsvcid"));
}
