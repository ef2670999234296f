/* SPDX-License-Identifier: BSD-3-Clause */
/* Connection strings of the etcd backend; see etcd.h for their form. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/etcd/etcd.h"
#include "lib/xregistry/where.h"

#define DEFAULT_PREFIX "/xsan-registry"

int xreg_etcd_where_parse(const char *text, struct xreg_etcd_where *ret_where, struct xu_error *err)
{
	const struct xreg_where_option options[] = {
		{"ca", &ret_where->ca, XREG_WHERE_TEXT},
		{"cert", &ret_where->cert, XREG_WHERE_TEXT},
		{"key", &ret_where->key, XREG_WHERE_TEXT},
		{"user", &ret_where->user, XREG_WHERE_TEXT},
		{"password_file", &ret_where->password, XREG_WHERE_FILE},
		{"password_env", &ret_where->password, XREG_WHERE_ENV},
		{0},
	};
	int rc;

	*ret_where = (struct xreg_etcd_where){0};
	rc = xreg_where_parse(
		text, "etcd", options, &ret_where->endpoints, &ret_where->prefix, err);
	if (rc == 0 && ret_where->prefix[0] == '\0') {
		free(ret_where->prefix);
		ret_where->prefix = strdup(DEFAULT_PREFIX);
		rc = ret_where->prefix != NULL ? 0
					       : xu_error_set_errno(err, -ENOMEM, "opening etcd");
	}
	if (rc != 0) {
		xreg_etcd_where_free(ret_where);
	}
	return rc;
}

void xreg_etcd_where_free(struct xreg_etcd_where *where)
{
	xreg_where_free_secret(where->password);
	free(where->endpoints);
	free(where->prefix);
	free(where->ca);
	free(where->cert);
	free(where->key);
	free(where->user);
	*where = (struct xreg_etcd_where){0};
}
