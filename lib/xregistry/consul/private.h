/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to the Consul backend: requests (http.c), transactions and what they answer (kv.c), what
 * reads (consul.c, load.c), what commits (commit.c) the thread that waits for others (watch.c), and
 * the one that says who leads and what has reported where (peers.c).
 */
#ifndef LIB_XREGISTRY_CONSUL_PRIVATE_H
#define LIB_XREGISTRY_CONSUL_PRIVATE_H

#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/util/random.h"
#include "lib/xregistry/consul/consul.h"
#include "lib/xregistry/shared.h"

/* Consul's own defaults: operations in a transaction of any version, and bytes of a request. */
#define XREG__CONSUL_OPS_MAX     64u
#define XREG__CONSUL_REQUEST_MAX (512u << 10)
/* Old events go by the hundred: a deletion takes a prefix, and a prefix is a decimal one. */
#define XREG__CONSUL_BLOCK      100u
#define XREG__CONSUL_FORGET_MAX 4u /* blocks in a commit */
/* With `meta`, the events' key and the blocks. */
#define XREG__CONSUL_EVENTS_MAX (XREG__CONSUL_OPS_MAX - 2 - XREG__CONSUL_FORGET_MAX)

struct xreg__consul_peers;

struct xreg__consul {
	struct xreg_consul_where where;
	struct curl_slist *headers;
	CURL *curl;       /* the writer's */
	uint32_t current; /* endpoint, the writer's */
	struct xu_logger *log;
	struct xu_random random;
	char meta_key[XREG_SHARED_KEY_SIZE];

	/* What this registry knows: all up to this. */
	uint64_t revision, nr_documents;
	_Atomic uint64_t meta_index; /* ModifyIndex of `meta` */
	uint64_t forgotten;          /* events before this are deleted */
	bool is_behind;              /* somebody was first, or may have been */

	/* The watch. */
	CURLM *multi; /* NULL: there is none */
	pthread_t watcher;
	_Atomic bool must_stop, is_up;
	_Atomic uint64_t newest; /* ModifyIndex of `meta` as it was seen last; 0: not yet */
	void (*changed)(void *arg);
	void *arg;

	struct xreg__consul_peers *peers; /* NULL: there are none */
};

/* ---- http.c ---- */

struct xreg__consul_answer {
	long status;
	char *body; /* to be freed; NULL: empty */
	size_t len;
	uint64_t index; /* X-Consul-Index; 0: none */
};
void xreg__consul_answer_free(struct xreg__consul_answer *answer);

/* What all handles have in common. */
void xreg__consul_set_common(struct xreg__consul *b, CURL *curl);
/* Points it at `path` ("/v1/…") of an endpoint, its answer at `answer`; -ENOMEM. */
int xreg__consul_set_request(struct xreg__consul *b, CURL *curl, uint32_t endpoint,
	const char *path, struct xreg__consul_answer *answer);
/* Whether another endpoint may do better; then `err` says why. */
bool xreg__consul_is_no_answer(struct xreg__consul *b, uint32_t endpoint, CURLcode code,
	const struct xreg__consul_answer *answer, struct xu_error *err);

/*
 * Asks endpoints until one answers: GET, or PUT of `body`. 0: *ret_answer is one that is to be
 * freed and no failure of a server. -ETIMEDOUT: none has answered, but one may have done it. A
 * request may be sent more than once.
 */
int xreg__consul_request(struct xreg__consul *b, const char *path, const char *body, size_t len,
	struct xreg__consul_answer *ret_answer, struct xu_error *err);
/* The error of a status that was not expected. */
int xreg__consul_refused(
	const struct xreg__consul_answer *answer, const char *what, struct xu_error *err);

/* ---- kv.c ---- */

struct xreg__consul_kv {
	struct xreg_kv is;
	uint64_t index; /* ModifyIndex */
};

struct xreg__consul_reply {
	json_t *json;
	struct xreg__consul_kv *kvs;
	uint32_t nr_kvs;
};
void xreg__consul_reply_free(struct xreg__consul_reply *reply);

/* Operations of a transaction are an array; adding fails at no memory, which is told when it is
 * sent. `text` NULL: of those without a value. */
void xreg__consul_add(
	json_t *ops, const char *verb, const char *key, const char *text, uint64_t index);

/*
 * Makes a transaction; takes `ops`. 0, and what was read or written, in the order of `ops`;
 * -EAGAIN: it does not hold; -E2BIG: it is larger than Consul takes; -EACCES, -ETIMEDOUT, -EIO.
 */
int xreg__consul_txn(struct xreg__consul *b, json_t *ops, bool is_write,
	struct xreg__consul_reply *ret_reply, struct xu_error *err);

/* Calls `fn` for all that is below a kind of key, by key. Not at one time: what is deleted
 * meanwhile is left out. */
int xreg__consul_each(struct xreg__consul *b, const char *kind,
	int (*fn)(void *arg, const struct xreg__consul_kv *kv, struct xu_error *err), void *arg,
	struct xu_error *err);

/* ---- load.c: the backend's, see backend.h ---- */

struct xreg__consul_meta {
	struct xreg_shared_meta is;
	uint64_t index;
};

int xreg__consul_read_meta(
	const struct xreg__consul_kv *kv, struct xreg__consul_meta *ret_meta, struct xu_error *err);
/* The error of a transaction that did not find `meta`. */
int xreg__consul_no_meta(struct xreg__consul *b, struct xu_error *err);
/* Takes over that everything up to `meta` is known. */
void xreg__consul_know(struct xreg__consul *b, const struct xreg__consul_meta *meta);

int xreg__consul_load(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
	struct xu_error *err);
int xreg__consul_follow(void *backend, const struct xreg_loader *loader, struct xu_error *err);

/* ---- commit.c: the backend's ---- */

int xreg__consul_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err);
int xreg__consul_put_document(void *backend, const char *name, const char *text,
	uint64_t if_version, uint64_t *ret_version, struct xu_error *err);

/* ---- watch.c: the backend's ---- */

int xreg__consul_watch(void *backend, void (*changed)(void *arg), void *arg, struct xu_error *err);
void xreg__consul_unwatch(struct xreg__consul *b);

/* ---- peers.c ---- */

int xreg__consul_peers_start(struct xreg__consul *b, struct xu_error *err);
void xreg__consul_peers_stop(struct xreg__consul *b);
bool xreg__consul_leads(void *backend);
void xreg__consul_hear(void *backend, const char *node_id, uint64_t at_ms);
uint64_t xreg__consul_heard_ms(void *backend, const char *node_id);

#endif
