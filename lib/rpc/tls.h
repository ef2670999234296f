/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS 1.3 for TCP servers, by OpenSSL over memory: a session never touches a socket, its owner
 * carries bytes between the two. Built without OpenSSL (meson -Dtls=disabled) the same calls exist
 * and making a context says so.
 */
#ifndef XRPC_TLS_H
#define XRPC_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct xrpc_tls;
struct xrpc_tls_session;
struct xrpc_pem;
struct xu_error;

struct xrpc_tls_opts {
	const char *cert_path;      /* PEM: the server's certificate, then its chain */
	const char *key_path;       /* PEM, without a pass phrase */
	const char *client_ca_path; /* PEM: who may have signed clients' certificates, which each
				     * client must show then; NULL: clients show none */
};

/* Reads the files; blocks. -EINVAL with OpenSSL's reason, -ENOSYS: built without TLS. Any thread.
 */
int xrpc_tls_new(const struct xrpc_tls_opts *opts, struct xrpc_tls **ret_tls, struct xu_error *err);
/* Whether a server could be made of these. As xrpc_tls_new(). */
int xrpc_tls_check(const struct xrpc_pem *pem, struct xu_error *err);
/* -EINVAL with a sentence: its certificate has expired, or is not valid yet. Any thread. */
int xrpc_tls_check_time(const struct xrpc_tls *tls, struct xu_error *err);
/* Sessions that begin from now on are those of `next`, which is taken; others go on. Both verify
 * clients, or neither does. On the thread that makes sessions. */
void xrpc_tls_replace(struct xrpc_tls *tls, struct xrpc_tls *next);
/* NULL is fine. No session may be left. */
void xrpc_tls_free(struct xrpc_tls *tls);
bool xrpc_tls_verifies_clients(const struct xrpc_tls *tls);

/* ---- sessions; one thread at a time ---- */

/* The server's end of a new connection. -ENOMEM. */
int xrpc_tls_session_new(struct xrpc_tls *tls, struct xrpc_tls_session **ret_session);
/* NULL is fine. */
void xrpc_tls_session_free(struct xrpc_tls_session *session);

/* Where to receive into, and that `len` bytes of it have been received. -ENOMEM. */
struct iovec xrpc_tls_input(struct xrpc_tls_session *session);
int xrpc_tls_received(struct xrpc_tls_session *session, size_t len);

/* What is to be sent (false: nothing), and that all of it has been sent. The memory stays until
 * xrpc_tls_sent(). */
bool xrpc_tls_has_output(const struct xrpc_tls_session *session);
bool xrpc_tls_output(struct xrpc_tls_session *session, struct iovec *ret_iov);
void xrpc_tls_sent(struct xrpc_tls_session *session);

/* Plain text of what was received: a count; 0: more has to be received first, or what there is to
 * send has to be sent; -EPIPE: the client has ended the session; -EPROTO: it is broken. */
ssize_t xrpc_tls_read(struct xrpc_tls_session *session, void *buf, size_t len);
/* Encrypts up to `len` bytes and returns how many. -EPROTO. */
ssize_t xrpc_tls_write(struct xrpc_tls_session *session, const void *buf, size_t len);
/* Adds the end of the session to the output. */
void xrpc_tls_end(struct xrpc_tls_session *session);

/* The handshake is over, and the client's certificate is good if one was asked for. */
bool xrpc_tls_is_ready(const struct xrpc_tls_session *session);
/* Why the last call gave -EPROTO; for people. */
const char *xrpc_tls_problem(const struct xrpc_tls_session *session);

#endif
