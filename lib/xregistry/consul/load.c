/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading from Consul, which has neither pages nor ranges nor old states: a transaction of reads
 * tells what was true at one time, of single keys and of all that begin with something.
 *
 * Following reads `meta` and the next events in one such transaction. The numbers in the events'
 * keys are decimal and have leading zeroes, so the keys from one number to the next hundred are
 * those with one of at most nineteen beginnings.
 *
 * Loading cannot have everything at once. It reads the targets, while others change them, then the
 * events, and makes again what these did since it began; so what it hands over is what was true at
 * the revision of the last event, however busy the others are.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/consul/private.h"
#include "lib/xregistry/target.h"

#define ROUNDS_MAX 10000u

/* ---- meta ---- */

int xreg__consul_read_meta(
	const struct xreg__consul_kv *kv, struct xreg__consul_meta *ret_meta, struct xu_error *err)
{
	ret_meta->index = kv->index;
	return xreg_shared_read_meta(&kv->is, &ret_meta->is, err);
}

int xreg__consul_no_meta(struct xreg__consul *b, struct xu_error *err)
{
	return xreg_shared_no_meta("Consul", b->meta_key, err);
}

void xreg__consul_know(struct xreg__consul *b, const struct xreg__consul_meta *meta)
{
	b->revision = meta->is.revision;
	b->nr_documents = meta->is.nr_documents;
	atomic_store(&b->meta_index, meta->index);
}

/* `meta`, and the first of the reply's keys that is none of it. What the token may not read is left
 * out of an answer. */
static int find_meta(struct xreg__consul *b, const struct xreg__consul_reply *reply,
	struct xreg__consul_meta *ret_meta, struct xu_error *err)
{
	if (reply->nr_kvs == 0 || !xreg_shared_is_key(&reply->kvs[0].is, b->meta_key)) {
		return xu_error_set(err, -EACCES,
			"Consul does not let this registry read %s; give it a token with "
			"key_prefix write",
			b->meta_key);
	}
	return xreg__consul_read_meta(&reply->kvs[0], ret_meta, err);
}

/* `meta`, which is made when this is the first registry. */
static int get_meta(
	struct xreg__consul *b, struct xreg__consul_meta *ret_meta, struct xu_error *err)
{
	char text[XREG_SHARED_META_SIZE];
	struct xreg__consul_reply reply;
	json_t *ops = json_array();
	int rc;

	xreg_shared_write_meta(text, &(const struct xreg_shared_meta){0});
	xreg__consul_add(ops, "cas", b->meta_key, text, 0);
	rc = xreg__consul_txn(b, ops, true, &reply, err);
	if (rc == 0) {
		xreg__consul_reply_free(&reply);
	} else if (rc != -EAGAIN) {
		return rc;
	}
	ops = json_array();
	xreg__consul_add(ops, "get", b->meta_key, NULL, 0);
	rc = xreg__consul_txn(b, ops, false, &reply, err);
	if (rc != 0) {
		return rc == -EAGAIN ? xreg__consul_no_meta(b, err) : rc;
	}
	rc = find_meta(b, &reply, ret_meta, err);
	xreg__consul_reply_free(&reply);
	return rc;
}

/* ---- events ---- */

/* Adds reads of all events from revision `from` on, and before the hundred after the next. */
static void add_next_events(struct xreg__consul *b, json_t *ops, uint64_t from)
{
	char key[XREG_SHARED_KEY_SIZE];
	uint64_t step = 1;

	while (step <= 100) {
		uint64_t end = step < 100 ? (from / (step * 10) + 1) * (step * 10) : from + 1;

		for (; from < end; from += step) {
			xreg_shared_event_key(b->where.prefix, from, key);
			/* Without as many digits as `step` has zeroes. */
			key[strlen(key) - (step == 1 ? 0 : step == 10 ? 1 : 2)] = '\0';
			xreg__consul_add(ops, "get-tree", key, NULL, 0);
		}
		step *= 10;
	}
}

/* Follows the events from what is known to `revision` on. */
struct follower {
	uint64_t revision;
	const struct xreg_loader *loader;
};

static int on_next_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	struct follower *follower = arg;

	if (event->revision != follower->revision + 1) {
		return xu_error_set(err, -ESTALE,
			"revision %" PRIu64 " of another registry is missing in Consul",
			follower->revision + 1);
	}
	follower->revision++;
	return follower->loader->event(follower->loader->arg, event, err);
}

/* One transaction of catch_up(). */
static int read_next(struct xreg__consul *b, struct follower *follower,
	struct xreg__consul_meta *ret_meta, struct xu_error *err)
{
	const struct xreg_loader loader = {.event = on_next_event, .arg = follower};
	struct xreg__consul_reply reply;
	json_t *ops = json_array();
	int rc;

	xreg__consul_add(ops, "get", b->meta_key, NULL, 0);
	add_next_events(b, ops, follower->revision + 1);
	rc = xreg__consul_txn(b, ops, false, &reply, err);
	if (rc != 0) {
		return rc == -EAGAIN ? xreg__consul_no_meta(b, err) : rc;
	}
	rc = find_meta(b, &reply, ret_meta, err);
	for (uint32_t i = 1; rc == 0 && i < reply.nr_kvs; i++) {
		rc = xreg_shared_load_events(&reply.kvs[i].is, &loader, err);
	}
	xreg__consul_reply_free(&reply);
	return rc;
}

/* Hands over all events behind the follower's revision, up to that of *ret_meta. -ESTALE: they are
 * not there any more. */
static int catch_up(struct xreg__consul *b, struct follower *follower,
	struct xreg__consul_meta *ret_meta, struct xu_error *err)
{
	for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
		uint64_t before = follower->revision;
		int rc = read_next(b, follower, ret_meta, err);

		if (rc != 0 || follower->revision == ret_meta->is.revision) {
			return rc;
		}
		if (follower->revision == before || follower->revision > ret_meta->is.revision) {
			return xu_error_set(err, -ESTALE,
				"what other registries did since revision %" PRIu64
				" is not in Consul any more",
				before);
		}
	}
	return xu_error_set(err, -EAGAIN, "Consul changes faster than it can be read");
}

/* ---- documents ---- */

struct documents {
	struct xreg__consul *b;
	const struct xreg_loader *loader;
};

static int load_document(void *arg, const struct xreg__consul_kv *kv, struct xu_error *err)
{
	struct documents *documents = arg;

	return xreg_shared_load_document(
		&kv->is, documents->b->where.prefix, kv->index, documents->loader, err);
}

/* They may be newer than `meta`, of which follow() will hear; their versions tell. */
static int load_documents(
	struct xreg__consul *b, const struct xreg_loader *loader, struct xu_error *err)
{
	return xreg__consul_each(
		b, "documents", load_document, &(struct documents){b, loader}, err);
}

/* ---- loading ---- */

struct loading {
	struct xreg__consul *b;
	const struct xreg_loader *loader;
	struct xreg__consul_meta meta; /* when it began */
	uint64_t revision;             /* what the records are made up to */
	uint64_t first_event;          /* 0: there was none yet */
	json_t *records;               /* by id */
};

static int no_memory(struct xu_error *err)
{
	return xu_error_set_errno(err, -ENOMEM, "reading from Consul");
}

static int keep_record(
	struct loading *loading, const char *id, json_t *record, struct xu_error *err)
{
	return json_object_set_new(loading->records, id, record) == 0 ? 0 : no_memory(err);
}

static int on_record(void *arg, const struct xreg__consul_kv *kv, struct xu_error *err)
{
	struct loading *loading = arg;
	struct xreg_target *target;
	int rc = xreg_backend_decode(kv->is.value, kv->is.len, &target, err);

	if (rc != 0) {
		return xu_error_prefix(err, "Consul's %s", kv->is.key);
	}
	rc = keep_record(loading, target->origin.id, xreg_target_to_json(target), err);
	xreg_target_unref(target);
	return rc;
}

/* Makes what an event did that is newer than the reading of the targets. */
static int apply(struct loading *loading, const struct xreg_event *event, struct xu_error *err)
{
	if (event->revision != loading->revision + 1) {
		return xu_error_set(
			err, -EAGAIN, "Consul's events went away while they were read; try again");
	}
	loading->revision++;
	if (event->after != NULL) {
		return keep_record(
			loading, event->after->origin.id, xreg_target_to_json(event->after), err);
	}
	if (event->before != NULL) {
		json_object_del(loading->records, event->before->origin.id);
	}
	return 0;
}

static int on_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	struct loading *loading = arg;
	int rc = 0;

	if (loading->first_event == 0) {
		loading->first_event = event->revision;
	}
	if (event->revision > loading->meta.is.revision) {
		rc = apply(loading, event, err);
	}
	return rc == 0 ? loading->loader->event(loading->loader->arg, event, err) : rc;
}

static int on_batch(void *arg, const struct xreg__consul_kv *kv, struct xu_error *err)
{
	const struct xreg_loader loader = {.event = on_event, .arg = arg};

	return xreg_shared_load_events(&kv->is, &loader, err);
}

static int hand_targets(struct loading *loading, struct xu_error *err)
{
	struct xreg_target *target;
	const char *id;
	json_t *record;
	int rc = 0;

	json_object_foreach (loading->records, id, record) {
		rc = xreg_target_from_json(record, &target, err);
		if (rc == 0) {
			rc = loading->loader->target(loading->loader->arg, target, err);
			xreg_target_unref(target);
		}
		if (rc != 0) {
			break;
		}
	}
	return rc;
}

static int load_all(struct loading *loading, struct xu_error *err)
{
	struct xreg__consul *b = loading->b;
	const struct xreg_loader loader = {.event = on_event, .arg = loading};
	struct follower follower = {.loader = &loader};
	struct xreg__consul_meta meta;
	int rc = get_meta(b, &loading->meta, err);

	if (rc != 0) {
		return rc;
	}
	loading->revision = loading->meta.is.revision;
	rc = xreg__consul_each(b, "targets", on_record, loading, err);
	if (rc == 0) {
		rc = xreg__consul_each(b, "events", on_batch, loading, err);
	}
	if (rc == 0) {
		follower.revision = loading->revision;
		rc = catch_up(b, &follower, &meta, err);
	}
	if (rc == 0) {
		rc = hand_targets(loading, err);
	}
	if (rc == 0) {
		rc = load_documents(b, loading->loader, err);
	}
	if (rc == 0) {
		xreg__consul_know(b, &meta);
		b->forgotten = loading->first_event;
		b->is_behind = false;
	}
	return rc == -ESTALE ? xu_error_set(err, -EAGAIN,
				       "Consul's events went away while they were read; try again")
			     : rc;
}

int xreg__consul_load(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
	struct xu_error *err)
{
	struct loading loading = {backend, loader, .records = json_object()};
	int rc = loading.records != NULL ? load_all(&loading, err) : no_memory(err);

	json_decref(loading.records);
	if (rc == 0) {
		*ret_revision = loading.revision;
	}
	return rc;
}

/* ---- following ---- */

/* What is read in several transactions is handed over together, or not at all: the store and we
 * must know the same. */
struct collected {
	struct xreg_event *events;
	size_t nr_events, room;
};

static int collect(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	struct collected *collected = arg;
	struct xreg_event *kept;

	if (collected->nr_events == collected->room) {
		size_t room = collected->room != 0 ? 2 * collected->room : 64;

		kept = reallocarray(collected->events, room, sizeof(*kept));
		if (kept == NULL) {
			return no_memory(err);
		}
		collected->events = kept;
		collected->room = room;
	}
	kept = &collected->events[collected->nr_events++];
	*kept = *event;
	kept->before = event->before != NULL ? xreg_target_ref(event->before) : NULL;
	kept->after = event->after != NULL ? xreg_target_ref(event->after) : NULL;
	return 0;
}

static void free_collected(struct collected *collected)
{
	for (size_t i = 0; i < collected->nr_events; i++) {
		xreg_target_unref(collected->events[i].before);
		xreg_target_unref(collected->events[i].after);
	}
	free(collected->events);
}

int xreg__consul_follow(void *backend, const struct xreg_loader *loader, struct xu_error *err)
{
	struct xreg__consul *b = backend;
	struct collected collected = {0};
	const struct xreg_loader collector = {.event = collect, .arg = &collected};
	struct follower follower = {b->revision, &collector};
	struct xreg__consul_meta meta;
	int rc;

	/* What has called us here was a commit of our own. */
	if (!b->is_behind && atomic_load(&b->newest) == atomic_load(&b->meta_index)) {
		return 0;
	}
	rc = catch_up(b, &follower, &meta, err);
	if (rc == 0 && meta.is.nr_documents != b->nr_documents) {
		rc = load_documents(b, loader, err);
	}
	for (size_t i = 0; rc == 0 && i < collected.nr_events; i++) {
		rc = loader->event(loader->arg, &collected.events[i], err);
	}
	free_collected(&collected);
	if (rc == 0) {
		xreg__consul_know(b, &meta);
		b->is_behind = false;
	}
	return rc;
}
