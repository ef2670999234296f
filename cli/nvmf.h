/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands on subsystems, namespaces, listeners and connections share. */
#ifndef XSAN_NVMF_H
#define XSAN_NVMF_H

#include "cli/cli.h"

#define NVMF_ADDRESS_SIZE 128u

/* Lists the subsystem `nqn`, or all when that is NULL, without the discovery subsystem. */
enum cli_exit nvmf_get_subsystems(struct cli *cli, const char *nqn, json_t **ret_subsystems);

/* "127.0.0.1:4420", "[::1]:4420" of an object with traddr and trsvcid. */
void nvmf_address_text(const json_t *address, char text[NVMF_ADDRESS_SIZE]);

#endif
