/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS in a build without OpenSSL: there is no context, so nothing else is ever called. */
#include <assert.h>
#include <errno.h>

#include "lib/rpc/tls.h"
#include "lib/util/error.h"

static int fail(struct xu_error *err)
{
	return xu_error_set(err, -ENOSYS,
		"this build has no TLS; build with OpenSSL's libssl (meson -Dtls=enabled), or use "
		"a token on a network that nobody else can listen on");
}

int xrpc_tls_new(const struct xrpc_tls_opts *opts, struct xrpc_tls **ret_tls, struct xu_error *err)
{
	return fail(err);
}

int xrpc_tls_check(const struct xrpc_pem *pem, struct xu_error *err)
{
	return fail(err);
}

int xrpc_tls_check_time(const struct xrpc_tls *tls, struct xu_error *err)
{
	return fail(err);
}

void xrpc_tls_replace(struct xrpc_tls *tls, struct xrpc_tls *next)
{
	assert(next == NULL);
}

void xrpc_tls_free(struct xrpc_tls *tls)
{
	assert(tls == NULL);
}

bool xrpc_tls_verifies_clients(const struct xrpc_tls *tls)
{
	return false;
}

int xrpc_tls_session_new(struct xrpc_tls *tls, struct xrpc_tls_session **ret_session)
{
	return -ENOSYS;
}

void xrpc_tls_session_free(struct xrpc_tls_session *session)
{
	assert(session == NULL);
}

struct iovec xrpc_tls_input(struct xrpc_tls_session *session)
{
	return (struct iovec){0};
}

int xrpc_tls_received(struct xrpc_tls_session *session, size_t len)
{
	return -ENOSYS;
}

bool xrpc_tls_has_output(const struct xrpc_tls_session *session)
{
	return false;
}

bool xrpc_tls_output(struct xrpc_tls_session *session, struct iovec *ret_iov)
{
	return false;
}

void xrpc_tls_sent(struct xrpc_tls_session *session)
{
}

ssize_t xrpc_tls_read(struct xrpc_tls_session *session, void *buf, size_t len)
{
	return -EPROTO;
}

ssize_t xrpc_tls_write(struct xrpc_tls_session *session, const void *buf, size_t len)
{
	return -EPROTO;
}

void xrpc_tls_end(struct xrpc_tls_session *session)
{
}

bool xrpc_tls_is_ready(const struct xrpc_tls_session *session)
{
	return false;
}

const char *xrpc_tls_problem(const struct xrpc_tls_session *session)
{
	return "no TLS in this build";
}
