/* SPDX-License-Identifier: BSD-3-Clause */
/* The "registry" part of a configuration: where the node's targets are registered. */
#ifndef XSAND_CONFIG_REGISTRY_H
#define XSAND_CONFIG_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct check;

struct config_registry {
	const char *url;     /* NULL: it is registered nowhere */
	const char *node_id; /* NULL: the machine's name */
	const char *address; /* of listeners on all addresses; NULL: none */
	const char *token_path, *ca_path, *cert_path, *key_path;
	uint32_t interval_s;
	uint32_t leave; /* enum xreg_agent_leave */
	json_t *metadata, *tags;

	bool has_multicast; /* a registry finds it by multicast */
	struct {
		const char *group, *interface, *key_path, *key_variable;
		uint32_t port;
	} multicast;
};

/* `object` may be NULL. */
int check_registry(struct check *c, json_t *object, struct config_registry *ret_registry);

#endif
