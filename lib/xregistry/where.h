/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connection strings of backends: endpoints, with commas between them; a prefix for the keys, from
 * the first '/' on; options behind a '?':
 *
 *   http://10.0.0.1:2379,http://10.0.0.2:2379/xsan/registry?ca=/etc/…&password_env=PASSWORD
 */
#ifndef LIB_XREGISTRY_WHERE_H
#define LIB_XREGISTRY_WHERE_H

#include <stdbool.h>

struct xu_error;

struct xreg_where_option {
	const char *name;
	char **to; /* NULL before; what is written to it is to be freed */
	enum {
		XREG_WHERE_TEXT,
		XREG_WHERE_FILE, /* the first line of the file that it names */
		XREG_WHERE_ENV,  /* the variable of the environment that it names */
	} what;
};

/*
 * Cuts `text`. *ret_endpoints and *ret_prefix ("" where there is none; without slashes at its end)
 * are to be freed, also when it fails. `options` ends with one without a name; `service` is for
 * sentences.
 */
int xreg_where_parse(const char *text, const char *service, const struct xreg_where_option *options,
	char **ret_endpoints, char **ret_prefix, struct xu_error *err);

/* Overwrites a secret and frees it; NULL is fine. */
void xreg_where_free_secret(char *secret);

#endif
