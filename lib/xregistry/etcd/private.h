/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the etcd backend: between what reads and what commits. */
#ifndef LIB_XREGISTRY_ETCD_PRIVATE_H
#define LIB_XREGISTRY_ETCD_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/etcd/etcd.h"
#include "lib/util/random.h"
#include "lib/xregistry/etcd/etcd.h"
#include "lib/xregistry/shared.h"

#define XREG__ETCD_EVENTS_MAX 100u /* in a commit; etcd takes 128 operations */

struct xreg__etcd_peers;

struct xreg__etcd {
	struct xetcd *client;
	struct xetcd_watch *watch;
	struct xreg__etcd_peers *peers;
	struct xu_logger *log;
	struct xu_random random;
	char prefix[XREG_SHARED_PREFIX_MAX + 1];
	char meta_key[XREG_SHARED_KEY_SIZE];
	/* What this registry knows: all up to this. */
	uint64_t revision;
	uint64_t nr_documents; /* how often they were put */
	int64_t meta_mod;      /* etcd's revision of `meta` */
	uint64_t forgotten;    /* events whose batch begins before this are deleted */

	bool is_behind; /* somebody was first, or may have been */

	_Atomic int64_t seen, newest; /* etcd's revisions: all up to it is known; there is one */
	void (*changed)(void *arg);
	void *arg;
};

struct xreg__etcd_meta {
	struct xreg_shared_meta is;
	int64_t mod;
};

/* ---- etcd.c ---- */

/* As the shared code takes it. */
struct xreg_kv xreg__etcd_kv(const struct xetcd_kv *kv);
bool xreg__etcd_is_key(const struct xetcd_kv *kv, const char *key);
int xreg__etcd_no_meta(const struct xreg__etcd *b, struct xu_error *err);
/* Takes over that everything up to `meta` is known, as it was at etcd's revision `at`. */
void xreg__etcd_know(struct xreg__etcd *b, const struct xreg__etcd_meta *meta, int64_t at);

/* Reads all keys of a kind as they were at etcd's revision `at` (0: as they are now). */
int xreg__etcd_each_key(struct xreg__etcd *b, const char *kind, int64_t at,
	int (*fn)(struct xreg__etcd *b, const struct xetcd_kv *kv, const struct xreg_loader *loader,
		struct xu_error *err),
	const struct xreg_loader *loader, struct xu_error *err);

/* ---- peers.c ---- */

int xreg__etcd_peers_start(struct xreg__etcd *b, struct xu_error *err);
void xreg__etcd_peers_stop(struct xreg__etcd *b);
bool xreg__etcd_leads(void *backend);
void xreg__etcd_hear(void *backend, const char *node_id, uint64_t unix_ms);
uint64_t xreg__etcd_heard_ms(void *backend, const char *node_id);

/* ---- commit.c: the backend's, see backend.h ---- */

int xreg__etcd_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err);
int xreg__etcd_put_document(void *backend, const char *name, const char *text, uint64_t if_version,
	uint64_t *ret_version, struct xu_error *err);

#endif
