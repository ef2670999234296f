/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server's certificate, its key and who signs clients' certificates, as texts: read as a whole
 * and checked as a whole, so that a server never has the new half of a pair with the old one.
 */
#ifndef XRPC_PEM_H
#define XRPC_PEM_H

#include <stdbool.h>

struct xu_error;

struct xrpc_pem {
	char *cert, *key;
	char *client_ca; /* NULL: clients show none */
};

/* All of one file, for the caller to free. Blocks. -EINVAL with a sentence: it cannot be read, or
 * is too long for such a file; -ENOMEM. */
int xrpc_pem_read_text(const char *path, char **ret_text, struct xu_error *err);
/* Reads the files (`client_ca_path` may be NULL); blocks. -errno with a sentence; only a success
 * fills `ret_pem`. */
int xrpc_pem_read(const char *cert_path, const char *key_path, const char *client_ca_path,
	struct xrpc_pem *ret_pem, struct xu_error *err);
int xrpc_pem_copy(const struct xrpc_pem *pem, struct xrpc_pem *ret_pem); /* -ENOMEM */
/* Wipes the key, frees, and leaves an empty one; some or all of them may be NULL. */
void xrpc_pem_clear(struct xrpc_pem *pem);
bool xrpc_pem_is_same(const struct xrpc_pem *a, const struct xrpc_pem *b);

#endif
