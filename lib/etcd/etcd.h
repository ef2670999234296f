/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of etcd (API v3, etcd 3.4 and later, through gRPC). Transactions decide, watches only
 * hint: what somebody else has changed is known when it was read, not when a watch has said so.
 *
 * Calls block, each no longer than the patience, and may be made by any number of threads. A call
 * goes to one member; when that one does not answer, or has no leader, the next is asked, so any
 * member may die. Everything here needs grpc_init() of nobody else.
 *
 * Errors: -ETIMEDOUT no member has answered in time; -E2BIG the request is larger than etcd takes;
 * -ENOSPC etcd's quota is used up; -EACCES it does not let us; -ESTALE the revision is compacted;
 * -EIO anything else, with etcd's words.
 */
#ifndef LIB_ETCD_ETCD_H
#define LIB_ETCD_ETCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xetcd;
struct xu_error;
struct xu_logger;

#define XETCD_ENDPOINTS_MAX 16u
#define XETCD_OPS_MAX       128u /* in a transaction, etcd's own default */

struct xetcd_opts {
	const char
		*endpoints;  /* "host:port", several with commas; "http://" or "https://" before */
	const char *ca_file; /* https: who signs the members' certificates; NULL: the system's */
	const char *cert_file, *key_file; /* our own, PEM; NULL: none */
	const char *user, *password;      /* NULL: etcd asks for none */
	uint32_t patience_ms;             /* of a call; 0: 5000 */
	struct xu_logger *log;            /* NULL: silent */
};

/* Takes nothing of `opts` beyond the call and does not talk to etcd yet. -EINVAL with a sentence.
 */
int xetcd_open(const struct xetcd_opts *opts, struct xetcd **ret_client, struct xu_error *err);
/* After the last call and watch. NULL is fine. */
void xetcd_close(struct xetcd *client);

/* One key and what it holds; borrowed from the reply. No NUL bytes follow. */
struct xetcd_kv {
	const char *key, *value;
	size_t key_len, len;
	int64_t create_revision, mod_revision;
};

struct xetcd_reply {
	int64_t revision; /* etcd's, at which this was true */
	bool succeeded;   /* a transaction: its comparisons held */
	bool more;        /* a range: the limit has cut it */
	uint32_t nr_kvs;
	struct xetcd_kv *kvs; /* by key; a transaction: those of its gets, in their order */
	void *message;        /* what they are borrowed from */
};
void xetcd_reply_free(struct xetcd_reply *reply); /* of zeroes is fine */

/* The keys from `key` on and before `end` (NULL: just `key`), at most `limit` (0: all), as they
 * were at etcd's revision `revision` (0: as they are now). */
int xetcd_get(struct xetcd *client, const char *key, const char *end, uint32_t limit,
	int64_t revision, struct xetcd_reply *ret_reply, struct xu_error *err);

struct xetcd_compare {
	enum { XETCD_MOD_REVISION_IS, XETCD_CREATE_REVISION_IS } what;
	const char *key;
	int64_t revision; /* 0: there is no such key */
};

struct xetcd_op {
	enum { XETCD_GET, XETCD_PUT, XETCD_DELETE } what;
	const char *key, *end; /* the end of a range, not of PUT; NULL: one key */
	const void *value;     /* PUT */
	size_t len;
	int64_t lease; /* PUT; 0: none */
};

struct xetcd_txn {
	const struct xetcd_compare *compares;
	const struct xetcd_op *then, *otherwise; /* when all comparisons hold; when not */
	uint32_t nr_compares, nr_then, nr_otherwise;
};

/*
 * Makes a transaction. It may be sent again when a member has not answered, so it may be made by
 * the first sending and answered by the second: let its comparisons not hold any more after it was
 * made, and read in `otherwise` what tells whose work is there. -ETIMEDOUT: it is not known whether
 * it was made, or will be.
 */
int xetcd_txn(struct xetcd *client, const struct xetcd_txn *txn, struct xetcd_reply *ret_reply,
	struct xu_error *err);

/* A lease: what is put with it goes when nobody has kept it alive for `ttl_s`. */
int xetcd_lease_grant(
	struct xetcd *client, uint32_t ttl_s, int64_t *ret_lease, struct xu_error *err);
/* -ENOENT: it has run out. */
int xetcd_lease_keep(struct xetcd *client, int64_t lease, struct xu_error *err);
int xetcd_lease_revoke(struct xetcd *client, int64_t lease, struct xu_error *err);

/*
 * Watches the keys from `key` on and before `end`. `fn` is called on the watch's thread whenever
 * something in them has changed, with the newest revision of etcd at which that was, and after each
 * time that the watch was lost and is there again. Several changes may come as one call.
 */
struct xetcd_watch;
typedef void (*xetcd_watch_fn)(void *arg, int64_t revision);
int xetcd_watch(struct xetcd *client, const char *key, const char *end, xetcd_watch_fn fn,
	void *arg, struct xetcd_watch **ret_watch, struct xu_error *err);
/* Whether etcd is heard at the moment. */
bool xetcd_watch_is_up(const struct xetcd_watch *watch);
/* Waits for a call of `fn` that is under way. NULL is fine. */
void xetcd_unwatch(struct xetcd_watch *watch);

#endif
