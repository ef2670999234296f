/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's data in Consul's KV store, for any number of registries at the same time: any of
 * them may die, and so may any minority of Consul's servers. `where` is a list of agents or
 * servers, then a prefix for the keys, then options:
 *
 *   http://127.0.0.1:8500/xsan/registry?token_file=/etc/xsan/consul.token
 *
 * http or https, the port is 8500 or 8501 where none is given; the prefix is "xsan-registry" where
 * none is given. Options are token_file, token_env (a variable of the environment), ca, cert and
 * key (files of PEM, for https), and datacenter. The token needs key_prefix write on the prefix.
 */
#ifndef LIB_XREGISTRY_CONSUL_CONSUL_H
#define LIB_XREGISTRY_CONSUL_CONSUL_H

#include <stdint.h>

#include "lib/xregistry/backend.h"

#define XREG_CONSUL_ENDPOINTS_MAX 16u

extern const struct xreg_backend_ops xreg_consul;

/* What is in a connection string; all of it is to be freed with xreg_consul_where_free(). */
struct xreg_consul_where {
	char *endpoints[XREG_CONSUL_ENDPOINTS_MAX]; /* "http://HOST:PORT" */
	uint32_t nr_endpoints;
	char *prefix; /* without a slash at either end */
	char *token, *ca, *cert, *key, *datacenter;
};
int xreg_consul_where_parse(
	const char *text, struct xreg_consul_where *ret_where, struct xu_error *err);
void xreg_consul_where_free(struct xreg_consul_where *where);

#endif
