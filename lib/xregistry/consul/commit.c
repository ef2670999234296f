/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits to Consul: one transaction each, whose first operation writes `meta` only when it is as
 * this registry saw it last (its ModifyIndex).
 *
 * A transaction may be sent more than once (http.c). When it does not hold, the events at our first
 * revision tell by their `batch` whether an earlier sending did. When nobody answers, the store
 * hears -ETIMEDOUT; the transaction may still be made, unless another takes its turn: either way
 * follow() finds out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/consul/private.h"

/* A transaction in the making. */
struct commit {
	json_t *ops;
	char batch[XU_UUID_TEXT_SIZE];
	const char *document;                /* of one that puts no events */
	char main_key[XREG_SHARED_KEY_SIZE]; /* of the events or the document: tells whose it is */
};

static int add_targets(struct xreg__consul *b, struct commit *commit,
	const struct xreg_event *events, uint32_t nr_events, struct xu_error *err)
{
	char key[XREG_SHARED_KEY_SIZE];
	char *record;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < nr_events; i++) {
		if (!xreg_shared_is_last_of_its_target(events, nr_events, i)) {
			continue;
		}
		xreg_shared_key(b->where.prefix, "targets", xreg_shared_target_id(&events[i]), key);
		rc = xreg_backend_encode(events[i].after, &record, err);
		if (rc == 0) {
			xreg__consul_add(
				commit->ops, record != NULL ? "set" : "delete", key, record, 0);
			free(record);
		}
	}
	return rc;
}

static int add_events(struct xreg__consul *b, struct commit *commit,
	const struct xreg_event *events, uint32_t nr_events, struct xu_error *err)
{
	struct xu_uuid uuid = xu_uuid_random(&b->random);
	char *text;
	int rc;

	xu_uuid_format(&uuid, commit->batch);
	rc = xreg_shared_write_events(commit->batch, events, nr_events, &text, err);
	if (rc == 0) {
		xreg_shared_event_key(b->where.prefix, events[0].revision, commit->main_key);
		xreg__consul_add(commit->ops, "set", commit->main_key, text, 0);
		free(text);
	}
	return rc;
}

/* Deletes batches all of whose events are older than those that are kept, a hundred revisions with
 * each operation. */
static void add_forgetting(
	struct xreg__consul *b, struct commit *commit, uint64_t last, uint32_t nr_kept)
{
	uint64_t kept = (uint64_t)nr_kept + XREG__CONSUL_EVENTS_MAX,
		 end = last > kept ? (last - kept) / XREG__CONSUL_BLOCK : 0,
		 block = b->forgotten / XREG__CONSUL_BLOCK;
	char key[XREG_SHARED_KEY_SIZE];

	for (uint32_t i = 0; block < end && i < XREG__CONSUL_FORGET_MAX; i++) {
		xreg_shared_event_key(b->where.prefix, block * XREG__CONSUL_BLOCK, key);
		key[strlen(key) - 2] = '\0';
		xreg__consul_add(commit->ops, "delete-tree", key, NULL, 0);
		b->forgotten = ++block * XREG__CONSUL_BLOCK;
	}
}

/* `meta` and what is under the main key, as they are together. */
static int look(struct xreg__consul *b, const struct commit *commit,
	struct xreg__consul_reply *ret_reply, struct xu_error *err)
{
	json_t *ops = json_array();
	int rc;

	xreg__consul_add(ops, "get", b->meta_key, NULL, 0);
	xreg__consul_add(ops, "get-tree", commit->main_key, NULL, 0);
	rc = xreg__consul_txn(b, ops, false, ret_reply, err);
	return rc == -EAGAIN ? xreg__consul_no_meta(b, err) : rc;
}

/* Whether what is there is ours, batch or document: an earlier sending did hold. */
static bool is_ours(const struct commit *commit, const struct xreg__consul_kv *kv)
{
	if (!xreg_shared_is_key(&kv->is, commit->main_key)) {
		return false;
	}
	if (commit->document != NULL) {
		return kv->is.len == strlen(commit->document) &&
		       memcmp(kv->is.value, commit->document, kv->is.len) == 0;
	}
	return xreg_shared_is_batch(&kv->is, commit->batch);
}

/* What a transaction that does not hold means: -EAGAIN, or 0 when it did before. */
static int judge(struct xreg__consul *b, const struct commit *commit, uint64_t *ret_index,
	struct xu_error *err)
{
	struct xreg__consul_reply reply;
	int rc = look(b, commit, &reply, err);

	if (rc != 0) {
		return rc;
	}
	rc = xu_error_set(err, -EAGAIN, "another registry was first");
	for (uint32_t i = 0; i < reply.nr_kvs; i++) {
		if (is_ours(commit, &reply.kvs[i])) {
			*ret_index = reply.kvs[i].index;
			*err = (struct xu_error){0};
			rc = 0;
		}
	}
	xreg__consul_reply_free(&reply);
	return rc;
}

/*
 * Makes the transaction, after which `meta` is `next`. 0: it holds, and the main key's ModifyIndex
 * is *ret_index; -EAGAIN: somebody was first.
 *
 * Events that were found to be ours came right behind what is known, whatever came after them. Of a
 * document that is as we want it nobody knows that: another may have put the same, behind events
 * that are not known here. So nothing is taken over then, and the next commit follows first.
 */
static int run_commit(struct xreg__consul *b, struct commit *commit,
	const struct xreg_shared_meta *next, uint64_t *ret_index, struct xu_error *err)
{
	struct xreg__consul_reply reply;
	int rc = xreg__consul_txn(b, commit->ops, true, &reply, err);

	commit->ops = NULL;
	b->is_behind = rc != 0;
	if (rc == -EAGAIN) {
		rc = judge(b, commit, ret_index, err);
		if (rc == 0 && commit->document == NULL) {
			xreg__consul_know(b, &(const struct xreg__consul_meta){*next, *ret_index});
		}
		return rc;
	}
	if (rc != 0) {
		return rc;
	}
	/* Both are in the answer, in their order. */
	if (reply.nr_kvs < 2 || !xreg_shared_is_key(&reply.kvs[0].is, b->meta_key) ||
		!xreg_shared_is_key(&reply.kvs[1].is, commit->main_key)) {
		b->is_behind = true;
		rc = xu_error_set(err, -ETIMEDOUT,
			"Consul does not tell what a transaction did; whether it was made is not "
			"known yet");
	} else {
		*ret_index = reply.kvs[1].index;
		xreg__consul_know(b, &(const struct xreg__consul_meta){*next, reply.kvs[0].index});
	}
	xreg__consul_reply_free(&reply);
	return rc;
}

int xreg__consul_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err)
{
	struct xreg__consul *b = backend;
	const struct xreg_shared_meta next = {events[nr_events - 1].revision, b->nr_documents};
	struct commit commit = {.ops = json_array()};
	char meta[XREG_SHARED_META_SIZE];
	uint64_t forgotten = b->forgotten, index;
	int rc;

	xreg_shared_write_meta(meta, &next);
	xreg__consul_add(commit.ops, "cas", b->meta_key, meta, atomic_load(&b->meta_index));
	rc = add_events(b, &commit, events, nr_events, err);
	if (rc == 0) {
		rc = add_targets(b, &commit, events, nr_events, err);
	}
	if (rc == 0) {
		add_forgetting(b, &commit, next.revision, nr_kept);
		rc = run_commit(b, &commit, &next, &index, err);
	}
	if (rc != 0) {
		b->forgotten = forgotten;
	}
	json_decref(commit.ops);
	return rc;
}

int xreg__consul_put_document(void *backend, const char *name, const char *text,
	uint64_t if_version, uint64_t *ret_version, struct xu_error *err)
{
	struct xreg__consul *b = backend;
	const struct xreg_shared_meta next = {b->revision, b->nr_documents + 1};
	struct commit commit = {.ops = json_array(), .document = text};
	char meta[XREG_SHARED_META_SIZE];
	uint64_t index;
	int rc;

	xreg_shared_write_meta(meta, &next);
	xreg__consul_add(commit.ops, "cas", b->meta_key, meta, atomic_load(&b->meta_index));
	xreg_shared_key(b->where.prefix, "documents", name, commit.main_key);
	xreg__consul_add(commit.ops, "set", commit.main_key, text, 0);
	rc = run_commit(b, &commit, &next, &index, err);
	if (rc == 0) {
		*ret_version = index;
	}
	json_decref(commit.ops);
	return rc;
}
