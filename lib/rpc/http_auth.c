/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who calls an HTTP server. A bearer token names its owner and role; without one that is right, a
 * certificate that the clients' CA has signed does (access.h). Where neither is asked for,
 * everybody who can reach the server may do everything.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/rpc/http_private.h"

#define SCHEME "Bearer "

int xrpc__http_identify(struct xrpc_http_call *call)
{
	struct xrpc_access *access = call->http->opts.access;
	const char *authorization = xrpc_http_header(call, "Authorization");
	const size_t scheme_len = sizeof(SCHEME) - 1;
	const void *certificate;
	size_t len;
	int rc = 0;

	if (xrpc_access_is_open(access)) {
		call->who.role = XRPC_ROLE_ADMIN;
		snprintf(call->who.name, sizeof(call->who.name), "anybody");
		return 0;
	}
	if (authorization != NULL && strncasecmp(authorization, SCHEME, scheme_len) == 0) {
		rc = xrpc_access_by_token(access, call->from, authorization + scheme_len,
			strlen(authorization + scheme_len), &call->who);
		if (rc == 0 || rc == -EBUSY) {
			return rc;
		}
	}
	if (xrpc__http_certificate(call, &certificate, &len)) {
		xrpc_access_by_certificate(access, certificate, len, false, &call->who);
	}
	return 0;
}
