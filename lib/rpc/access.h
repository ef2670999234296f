/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may do what at a server, and how often: bearer tokens and clients' certificates with their
 * roles, calls and wrong tokens of each address in a second. Servers share one, so that all of them
 * judge alike and guessing at one does not begin anew at the other; it can be exchanged while they
 * run.
 */
#ifndef XRPC_ACCESS_H
#define XRPC_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xrpc_access;
struct xu_error;

/* What a caller may do; each contains those before it. */
enum xrpc_role {
	XRPC_ROLE_NONE, /* nobody in particular */
	XRPC_ROLE_READ,
	XRPC_ROLE_REGISTER,
	XRPC_ROLE_OPERATE,
	XRPC_ROLE_ADMIN,
};

/* "none", "read", "register", "operate", "admin", NULL. */
extern const char *const xrpc_role_names[];

struct xrpc_token {
	const char *name; /* for the log */
	const char *token;
	enum xrpc_role role;
};

/* Certificates that have a role of their own, by one of the two. */
struct xrpc_certificate {
	const char *subject; /* the whole name as RFC 4514 writes it: "CN=node-1,O=example" */
	const char *san; /* an alternative name: "DNS:…", "IP:…", "URI:…" or "email:…" */
	enum xrpc_role role;
};

/* -EINVAL with a sentence: it cannot fit any certificate. */
int xrpc_certificate_check(const struct xrpc_certificate *certificate, struct xu_error *err);

struct xrpc_access_opts {
	const struct xrpc_token *tokens;
	uint32_t nr_tokens;
	bool has_client_ca;                          /* clients may show certificates */
	const struct xrpc_certificate *certificates; /* the first that fits counts */
	uint32_t nr_certificates;
	enum xrpc_role certificate_role; /* of those that none of them fits */
	uint32_t rate_max;               /* calls per second of one address; 0: no limit */
	uint32_t wrong_tokens_max;       /* likewise, wrong tokens */
};

/* `opts` is copied by these. -ENOMEM. */
int xrpc_access_new(const struct xrpc_access_opts *opts, struct xrpc_access **ret_access);
/* Others from now on; on a failure it stays as it was. Any thread. */
int xrpc_access_set(struct xrpc_access *access, const struct xrpc_access_opts *opts);
void xrpc_access_free(struct xrpc_access *access); /* NULL is fine */

/* ---- who calls; any thread ---- */

#define XRPC_CALLER_SIZE 256u

struct xrpc_caller {
	enum xrpc_role role;
	char name[XRPC_CALLER_SIZE]; /* for the log */
};

/* Nobody has to show anything. */
bool xrpc_access_is_open(const struct xrpc_access *access);
/* False: this address (a text) has called too often in this second. */
bool xrpc_access_may_call(struct xrpc_access *access, const char *from);
/* How many calls that are; for people. */
uint32_t xrpc_access_rate_max(struct xrpc_access *access);
/* Whose token this is. -EACCES: nobody's; -EBUSY: the address has sent too many wrong ones in this
 * second, and this one was not looked at. */
int xrpc_access_by_token(struct xrpc_access *access, const char *from, const char *token,
	size_t len, struct xrpc_caller *ret_caller);
/* Whose certificate this is (DER, or PEM), which has been found good by the server's CA. -EACCES:
 * none is asked for, or it is none. */
int xrpc_access_by_certificate(struct xrpc_access *access, const void *certificate, size_t len,
	bool is_pem, struct xrpc_caller *ret_caller);

/* Whether a server may listen there when it is not said to be open: -EPERM with a sentence. */
int xrpc_access_check_exposure(
	const char *address, bool has_tls, bool has_credentials, struct xu_error *err);

#endif
