/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's data in etcd, for any number of registries at the same time: any of them may die,
 * and so may any minority of etcd's members. `where` is a list of endpoints, then a prefix for the
 * keys, then options:
 *
 *   http://10.0.0.1:2379,http://10.0.0.2:2379/xsan/registry?user=xsan&password_file=/etc/…
 *
 * http or https; the prefix is "/xsan-registry" where none is given; options are ca, cert, key
 * (files of PEM, for https), user, password_file and password_env (a variable of the environment).
 */
#ifndef LIB_XREGISTRY_ETCD_ETCD_H
#define LIB_XREGISTRY_ETCD_ETCD_H

#include "lib/xregistry/backend.h"

extern const struct xreg_backend_ops xreg_etcd;

/* Whether this program was built with what speaks to etcd. */
bool xreg_etcd_is_there(void);

/* What is in a connection string; all of it is to be freed with xreg_etcd_where_free(). */
struct xreg_etcd_where {
	char *endpoints, *prefix, *ca, *cert, *key, *user, *password;
};
int xreg_etcd_where_parse(
	const char *text, struct xreg_etcd_where *ret_where, struct xu_error *err);
void xreg_etcd_where_free(struct xreg_etcd_where *where);

#endif
