/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The etcd backend; its keys and values are those of shared.h.
 *
 * Every commit is one transaction that writes `meta` and holds only when `meta` is as this registry
 * saw it last. So commits of all registries come one after the other, revisions have no gaps, and a
 * registry knows everything that was there before its own commit. When the transaction does not
 * hold, somebody was first, and -EAGAIN makes the store follow: all that was committed since is
 * read at one revision of etcd. The watch only says when to look.
 *
 * A transaction may be sent twice (lib/etcd/etcd.h). When the second sending does not hold, the
 * events at our first revision tell by their `batch` whether the first one did. When nobody answers
 * at all, the store hears -ETIMEDOUT; the transaction may still hold later, unless another takes
 * its turn: either way follow() finds out.
 *
 * etcd keeps every value that ever was until it is told to compact. That is its operator's to
 * decide (--auto-compaction-retention), for other programs use it too.
 */
#include "lib/xregistry/etcd/etcd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/etcd/private.h"

#define PAGE 500u /* keys in an answer */

/* ---- keys and values ---- */

struct xreg_kv xreg__etcd_kv(const struct xetcd_kv *kv)
{
	return (struct xreg_kv){"etcd", kv->key, kv->value, kv->key_len, kv->len};
}

/* The first key behind all of that kind: '0' follows '/'. */
static void end_of(const struct xreg__etcd *b, const char *kind, char *ret_key)
{
	snprintf(ret_key, XREG_SHARED_KEY_SIZE, "%s/%s0", b->prefix, kind);
}

bool xreg__etcd_is_key(const struct xetcd_kv *kv, const char *key)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);

	return xreg_shared_is_key(&it, key);
}

static int read_meta(
	const struct xetcd_kv *kv, struct xreg__etcd_meta *ret_meta, struct xu_error *err)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);

	ret_meta->mod = kv->mod_revision;
	return xreg_shared_read_meta(&it, &ret_meta->is, err);
}

int xreg__etcd_no_meta(const struct xreg__etcd *b, struct xu_error *err)
{
	return xreg_shared_no_meta("etcd", b->meta_key, err);
}

/* ---- opening ---- */

static void etcd_close(void *backend)
{
	struct xreg__etcd *b = backend;

	xreg__etcd_peers_stop(b);
	xetcd_unwatch(b->watch);
	xetcd_close(b->client);
	free(b);
}

static int etcd_open(
	const char *text, struct xu_logger *log, void **ret_backend, struct xu_error *err)
{
	struct xreg__etcd *b = calloc(1, sizeof(*b));
	struct xreg_etcd_where where;
	int rc;

	if (b == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "opening etcd");
	}
	rc = xreg_etcd_where_parse(text, &where, err);
	if (rc != 0) {
		free(b);
		return rc;
	}
	b->log = log;
	xu_random_seed_entropy(&b->random);
	if (strlen(where.prefix) > XREG_SHARED_PREFIX_MAX) {
		rc = xu_error_set(err, -EINVAL, "the prefix of etcd's keys is longer than %u bytes",
			XREG_SHARED_PREFIX_MAX);
	} else {
		snprintf(b->prefix, sizeof(b->prefix), "%s", where.prefix);
		snprintf(b->meta_key, sizeof(b->meta_key), "%s/meta", b->prefix);
		rc = xetcd_open(&(const struct xetcd_opts){.endpoints = where.endpoints,
					.ca_file = where.ca,
					.cert_file = where.cert,
					.key_file = where.key,
					.user = where.user,
					.password = where.password,
					.log = log},
			&b->client, err);
	}
	xreg_etcd_where_free(&where);
	if (rc != 0) {
		etcd_close(b);
		return rc;
	}
	*ret_backend = b;
	return 0;
}

/* ---- loading ---- */

/* `meta`, which is made when this is the first registry; etcd's revision at which it was so. */
static int get_meta(struct xreg__etcd *b, struct xreg__etcd_meta *ret_meta, int64_t *ret_at,
	struct xu_error *err)
{
	char text[XREG_SHARED_META_SIZE];
	const struct xetcd_compare is_new = {XETCD_CREATE_REVISION_IS, b->meta_key, 0};
	const struct xetcd_op ops[] = {
		{.what = XETCD_PUT, .key = b->meta_key, .value = text},
		{.what = XETCD_GET, .key = b->meta_key},
	};
	struct xetcd_op then[2];
	struct xetcd_reply reply;
	int rc;

	xreg_shared_write_meta(text, &(const struct xreg_shared_meta){0});
	memcpy(then, ops, sizeof(ops));
	then[0].len = strlen(text);
	rc = xetcd_txn(b->client,
		&(const struct xetcd_txn){.compares = &is_new,
			.nr_compares = 1,
			.then = then,
			.nr_then = 2,
			.otherwise = &ops[1],
			.nr_otherwise = 1},
		&reply, err);
	if (rc != 0) {
		return rc;
	}
	rc = reply.nr_kvs == 1 ? read_meta(&reply.kvs[0], ret_meta, err)
			       : xreg__etcd_no_meta(b, err);
	*ret_at = reply.revision;
	xetcd_reply_free(&reply);
	return rc;
}

int xreg__etcd_each_key(struct xreg__etcd *b, const char *kind, int64_t at,
	int (*fn)(struct xreg__etcd *b, const struct xetcd_kv *kv, const struct xreg_loader *loader,
		struct xu_error *err),
	const struct xreg_loader *loader, struct xu_error *err)
{
	char key[XREG_SHARED_KEY_SIZE], end[XREG_SHARED_KEY_SIZE];
	bool more = true;
	int rc = 0;

	xreg_shared_key(b->prefix, kind, "", key);
	end_of(b, kind, end);
	while (rc == 0 && more) {
		struct xetcd_reply reply;

		rc = xetcd_get(b->client, key, end, PAGE, at, &reply, err);
		if (rc != 0) {
			return rc;
		}
		more = reply.more && reply.nr_kvs != 0;
		for (uint32_t i = 0; rc == 0 && i < reply.nr_kvs; i++) {
			rc = fn(b, &reply.kvs[i], loader, err);
		}
		if (more) {
			const struct xetcd_kv *last = &reply.kvs[reply.nr_kvs - 1];

			/* The key behind it is itself and a NUL byte; '!' is the first that names
			 * of ours may have, and comes before all of them. */
			snprintf(key, sizeof(key), "%.*s!", (int)last->key_len, last->key);
		}
		xetcd_reply_free(&reply);
	}
	return rc;
}

static int load_target(struct xreg__etcd *b, const struct xetcd_kv *kv,
	const struct xreg_loader *loader, struct xu_error *err)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);

	return xreg_shared_load_target(&it, loader, err);
}

static int load_events(struct xreg__etcd *b, const struct xetcd_kv *kv,
	const struct xreg_loader *loader, struct xu_error *err)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);

	return xreg_shared_load_events(&it, loader, err);
}

static int load_document(struct xreg__etcd *b, const struct xetcd_kv *kv,
	const struct xreg_loader *loader, struct xu_error *err)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);

	return xreg_shared_load_document(&it, b->prefix, (uint64_t)kv->mod_revision, loader, err);
}

void xreg__etcd_know(struct xreg__etcd *b, const struct xreg__etcd_meta *meta, int64_t at)
{
	b->revision = meta->is.revision;
	b->nr_documents = meta->is.nr_documents;
	b->meta_mod = meta->mod;
	atomic_store(&b->seen, at);
}

static int etcd_load(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
	struct xu_error *err)
{
	struct xreg__etcd *b = backend;
	struct xreg__etcd_meta meta;
	int64_t at;
	int rc = get_meta(b, &meta, &at, err);

	if (rc == 0) {
		rc = xreg__etcd_each_key(b, "targets", at, load_target, loader, err);
	}
	if (rc == 0) {
		rc = xreg__etcd_each_key(b, "events", at, load_events, loader, err);
	}
	if (rc == 0) {
		rc = xreg__etcd_each_key(b, "documents", at, load_document, loader, err);
	}
	if (rc == 0) {
		xreg__etcd_know(b, &meta, at);
		b->is_behind = false;
		*ret_revision = meta.is.revision;
	}
	return rc == -ESTALE ? xu_error_set(err, -EAGAIN,
				       "etcd was compacted while its data was read; try again")
			     : rc;
}

/* ---- following ---- */

/* Hands the batches over that came after what is known. */
static int hand_batches(struct xreg__etcd *b, const struct xetcd_reply *reply,
	const struct xreg__etcd_meta *meta, const struct xreg_loader *loader, struct xu_error *err)
{
	char expected[XREG_SHARED_KEY_SIZE];
	uint32_t nr_batches = 0;
	int rc = 0;

	xreg_shared_event_key(b->prefix, b->revision + 1, expected);
	for (uint32_t i = 0; i < reply->nr_kvs; i++) {
		nr_batches += !xreg__etcd_is_key(&reply->kvs[i], b->meta_key);
	}
	if (meta->is.revision < b->revision ||
		(meta->is.revision > b->revision &&
			(nr_batches == 0 || !xreg__etcd_is_key(&reply->kvs[1], expected)))) {
		return xu_error_set(err, -ESTALE,
			"what other registries did since revision %" PRIu64
			" is not in etcd any more",
			b->revision);
	}
	for (uint32_t i = 1; rc == 0 && i < reply->nr_kvs; i++) {
		rc = load_events(b, &reply->kvs[i], loader, err);
	}
	return rc;
}

/* `meta` and the batches behind what is known, as they were together. */
static int get_news(struct xreg__etcd *b, struct xetcd_reply *ret_reply, struct xu_error *err)
{
	char begin[XREG_SHARED_KEY_SIZE], end[XREG_SHARED_KEY_SIZE];
	const struct xetcd_op ops[] = {
		{.what = XETCD_GET, .key = b->meta_key},
		{.what = XETCD_GET, .key = begin, .end = end},
	};

	xreg_shared_event_key(b->prefix, b->revision + 1, begin);
	end_of(b, "events", end);
	return xetcd_txn(
		b->client, &(const struct xetcd_txn){.then = ops, .nr_then = 2}, ret_reply, err);
}

static int etcd_follow(void *backend, const struct xreg_loader *loader, struct xu_error *err)
{
	struct xreg__etcd *b = backend;
	struct xetcd_reply reply;
	struct xreg__etcd_meta meta;
	int rc;

	/* What has called us here was a commit of our own. */
	if (!b->is_behind && atomic_load(&b->newest) <= atomic_load(&b->seen)) {
		return 0;
	}
	rc = get_news(b, &reply, err);
	if (rc != 0) {
		return rc;
	}
	rc = reply.nr_kvs != 0 && xreg__etcd_is_key(&reply.kvs[0], b->meta_key)
		     ? read_meta(&reply.kvs[0], &meta, err)
		     : xreg__etcd_no_meta(b, err);
	if (rc == 0) {
		rc = hand_batches(b, &reply, &meta, loader, err);
	}
	if (rc == 0 && meta.is.nr_documents != b->nr_documents) {
		rc = xreg__etcd_each_key(
			b, "documents", reply.revision, load_document, loader, err);
	}
	if (rc == 0) {
		xreg__etcd_know(b, &meta, reply.revision);
		b->is_behind = false;
	}
	xetcd_reply_free(&reply);
	return rc;
}

/* On the watch's thread. Our own commits come by here too: when they are known already, there is
 * nothing to look for. */
static void on_watch(void *arg, int64_t revision)
{
	struct xreg__etcd *b = arg;

	atomic_store(&b->newest, revision);
	if (revision > atomic_load(&b->seen)) {
		b->changed(b->arg);
	}
}

static int etcd_watch(void *backend, void (*changed)(void *arg), void *arg, struct xu_error *err)
{
	struct xreg__etcd *b = backend;
	char end[XREG_SHARED_KEY_SIZE];
	int rc;

	b->changed = changed;
	b->arg = arg;
	/* Every commit writes `meta`. */
	snprintf(end, sizeof(end), "%s/metb", b->prefix);
	rc = xetcd_watch(b->client, b->meta_key, end, on_watch, b, &b->watch, err);
	return rc == 0 ? xreg__etcd_peers_start(b, err) : rc;
}

static bool etcd_is_up(void *backend)
{
	struct xreg__etcd *b = backend;

	return b->watch == NULL || xetcd_watch_is_up(b->watch);
}

const struct xreg_backend_ops xreg_etcd = {
	.name = "etcd",
	.nr_events_max = XREG__ETCD_EVENTS_MAX,
	.open = etcd_open,
	.load = etcd_load,
	.commit = xreg__etcd_commit,
	.put_document = xreg__etcd_put_document,
	.follow = etcd_follow,
	.watch = etcd_watch,
	.is_up = etcd_is_up,
	.leads = xreg__etcd_leads,
	.hear = xreg__etcd_hear,
	.heard_ms = xreg__etcd_heard_ms,
	.close = etcd_close,
};

bool xreg_etcd_is_there(void)
{
	return true;
}
