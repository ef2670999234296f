/* SPDX-License-Identifier: BSD-3-Clause */
/* Commits to etcd: one transaction each; see etcd.c for its keys and for what it depends on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/etcd/private.h"

/* The transaction of a commit and the texts that it refers to. */
struct commit {
	struct xetcd_op ops[XREG__ETCD_EVENTS_MAX + 3];
	uint32_t nr_ops;
	char meta[XREG_SHARED_META_SIZE], batch[XU_UUID_TEXT_SIZE];
	const char *document; /* of one that puts no events */
	char *events;
	char *records[XREG__ETCD_EVENTS_MAX];
	char keys[XREG__ETCD_EVENTS_MAX][XREG_SHARED_KEY_SIZE];
	char main_key[XREG_SHARED_KEY_SIZE]; /* of the events or the document: tells whose work it
					      * is
					      */
	char forget_key[XREG_SHARED_KEY_SIZE], forget_end[XREG_SHARED_KEY_SIZE];
};

static struct xetcd_op *add_op(struct commit *commit)
{
	return &commit->ops[commit->nr_ops++];
}

static void add_put(struct commit *commit, const char *key, const char *text)
{
	*add_op(commit) = (struct xetcd_op){
		.what = XETCD_PUT, .key = key, .value = text, .len = strlen(text)};
}

static int add_targets(struct xreg__etcd *b, struct commit *commit, const struct xreg_event *events,
	uint32_t nr_events, struct xu_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < nr_events; i++) {
		if (!xreg_shared_is_last_of_its_target(events, nr_events, i)) {
			continue;
		}
		xreg_shared_key(
			b->prefix, "targets", xreg_shared_target_id(&events[i]), commit->keys[i]);
		rc = xreg_backend_encode(events[i].after, &commit->records[i], err);
		if (rc == 0 && commit->records[i] != NULL) {
			add_put(commit, commit->keys[i], commit->records[i]);
		} else if (rc == 0) {
			*add_op(commit) =
				(struct xetcd_op){.what = XETCD_DELETE, .key = commit->keys[i]};
		}
	}
	return rc;
}

static int add_events(struct xreg__etcd *b, struct commit *commit, const struct xreg_event *events,
	uint32_t nr_events, struct xu_error *err)
{
	struct xu_uuid uuid = xu_uuid_random(&b->random);
	int rc;

	xu_uuid_format(&uuid, commit->batch);
	rc = xreg_shared_write_events(commit->batch, events, nr_events, &commit->events, err);
	if (rc == 0) {
		xreg_shared_event_key(b->prefix, events[0].revision, commit->main_key);
		add_put(commit, commit->main_key, commit->events);
	}
	return rc;
}

/* Deletes batches all of whose events are older than those that are kept. Now and then: a deletion
 * of a range costs etcd more than a put. */
static void add_forgetting(
	struct xreg__etcd *b, struct commit *commit, uint64_t last, uint32_t nr_kept)
{
	uint64_t end =
		last > nr_kept + XREG__ETCD_EVENTS_MAX ? last - nr_kept - XREG__ETCD_EVENTS_MAX : 0;

	if (end <= b->forgotten + nr_kept / 10) {
		return;
	}
	xreg_shared_event_key(b->prefix, 0, commit->forget_key);
	xreg_shared_event_key(b->prefix, end, commit->forget_end);
	*add_op(commit) = (struct xetcd_op){
		.what = XETCD_DELETE, .key = commit->forget_key, .end = commit->forget_end};
	b->forgotten = end;
}

/* Whether what is there is ours, batch or document: the first sending did hold. */
static bool is_ours(const struct commit *commit, const struct xetcd_kv *kv)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);

	if (!xreg_shared_is_key(&it, commit->main_key)) {
		return false;
	}
	if (commit->document != NULL) {
		return kv->len == strlen(commit->document) &&
		       memcmp(kv->value, commit->document, kv->len) == 0;
	}
	return xreg_shared_is_batch(&it, commit->batch);
}

/* Makes the transaction; 0: it holds and `meta` has etcd's revision *ret_mod. -EAGAIN: somebody was
 * first. */
static int run_commit(
	struct xreg__etcd *b, struct commit *commit, int64_t *ret_mod, struct xu_error *err)
{
	const struct xetcd_compare is_known = {XETCD_MOD_REVISION_IS, b->meta_key, b->meta_mod};
	const struct xetcd_op otherwise[] = {
		{.what = XETCD_GET, .key = b->meta_key},
		{.what = XETCD_GET, .key = commit->main_key},
	};
	struct xetcd_reply reply;
	bool is_made;
	int rc;

	rc = xetcd_txn(b->client,
		&(const struct xetcd_txn){.compares = &is_known,
			.nr_compares = 1,
			.then = commit->ops,
			.nr_then = commit->nr_ops,
			.otherwise = otherwise,
			.nr_otherwise = 2},
		&reply, err);
	b->is_behind = rc != 0 || !reply.succeeded;
	if (rc != 0) {
		return rc;
	}
	is_made = reply.succeeded;
	*ret_mod = reply.revision;
	for (uint32_t i = 0; !is_made && i < reply.nr_kvs; i++) {
		is_made = is_ours(commit, &reply.kvs[i]);
		*ret_mod = reply.kvs[i].mod_revision;
	}
	if (!is_made) {
		rc = reply.nr_kvs != 0 && xreg__etcd_is_key(&reply.kvs[0], b->meta_key)
			     ? xu_error_set(err, -EAGAIN, "another registry was first")
			     : xreg__etcd_no_meta(b, err);
	}
	xetcd_reply_free(&reply);
	return rc;
}

static void free_commit(struct commit *commit)
{
	for (uint32_t i = 0; i < XREG__ETCD_EVENTS_MAX; i++) {
		free(commit->records[i]);
	}
	free(commit->events);
	free(commit);
}

int xreg__etcd_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err)
{
	struct xreg__etcd *b = backend;
	struct commit *commit = calloc(1, sizeof(*commit));
	const struct xreg_shared_meta next = {events[nr_events - 1].revision, b->nr_documents};
	uint64_t forgotten = b->forgotten;
	int64_t mod;
	int rc;

	if (commit == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "writing to etcd");
	}
	xreg_shared_write_meta(commit->meta, &next);
	add_put(commit, b->meta_key, commit->meta);
	rc = add_events(b, commit, events, nr_events, err);
	if (rc == 0) {
		rc = add_targets(b, commit, events, nr_events, err);
	}
	if (rc == 0) {
		add_forgetting(b, commit, next.revision, nr_kept);
		rc = run_commit(b, commit, &mod, err);
	}
	if (rc == 0) {
		xreg__etcd_know(b, &(const struct xreg__etcd_meta){next, mod}, mod);
	} else {
		b->forgotten = forgotten;
	}
	free_commit(commit);
	return rc;
}

int xreg__etcd_put_document(void *backend, const char *name, const char *text, uint64_t if_version,
	uint64_t *ret_version, struct xu_error *err)
{
	struct xreg__etcd *b = backend;
	struct commit *commit = calloc(1, sizeof(*commit));
	const struct xreg_shared_meta next = {b->revision, b->nr_documents + 1};
	int64_t mod;
	int rc;

	if (commit == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "writing to etcd");
	}
	xreg_shared_write_meta(commit->meta, &next);
	add_put(commit, b->meta_key, commit->meta);
	commit->document = text;
	xreg_shared_key(b->prefix, "documents", name, commit->main_key);
	add_put(commit, commit->main_key, text);
	rc = run_commit(b, commit, &mod, err);
	if (rc == 0) {
		*ret_version = (uint64_t)mod;
	}
	/* One that was as we want it before may be another's, behind events that are not known
	 * here: nothing is taken over then, and the next commit follows first. */
	if (rc == 0 && !b->is_behind) {
		xreg__etcd_know(b, &(const struct xreg__etcd_meta){next, mod}, mod);
	}
	free_commit(commit);
	return rc;
}
