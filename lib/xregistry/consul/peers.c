/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What registries of the same data tell each other besides the data itself, on a thread of its own:
 *
 *   leader             which of them leads: its number, and a count that it raises every round
 *   heard/<number>-<x> when nodes have last reported to one of them, in Unix ms, a sixteenth of
 *                      the nodes each; not exact, for it is written at most once in HEARD_MS
 *
 * The leader judges targets and looks for new ones, so that several registries do not do and undo
 * the same. It leads for as long as surely nobody else has taken the lead: LEAD_MS from before it
 * asked. Another takes it when `leader` has not changed for TAKE_MS since that one saw it first,
 * which is later. All of that is by each one's own monotonic clock, and every write of `leader` is
 * a transaction that holds only when it is as it was seen. So there may be no leader for some
 * seconds, but never two. When none can reach Consul nobody leads, and nobody needs to: nothing can
 * be changed.
 *
 * What a registry that is gone has told stays until it is older than FORGET_MS; then the leader
 * deletes it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/consul/private.h"
#include "lib/xregistry/rounds.h"

#define LEAD_MS    8000u
#define TAKE_MS    10000u
#define HEARD_MS   4000u
#define FORGET_MS  (2u * 3600u * 1000u)
#define NR_PARTS   16u
#define NODES_MAX  100000u
#define VALUE_SIZE (XU_UUID_TEXT_SIZE + 32)

struct xreg__consul_peers {
	struct xreg__consul *b;
	struct xreg__consul
		line; /* of this thread: what requests need, and a connection of its own */
	struct xreg_rounds rounds;
	char self[XU_UUID_TEXT_SIZE];
	/* The thread's. */
	uint64_t count;        /* of our rounds */
	uint64_t leader_index; /* ModifyIndex of `leader` as it was seen last */
	uint64_t seen_ms;      /* since when it has that */
	uint64_t told_ms;      /* monotonic */

	_Atomic uint64_t leads_until_ms; /* monotonic; 0: it does not lead */

	pthread_mutex_t mutex; /* for what follows */
	bool is_part_new[NR_PARTS];
	json_t *here[NR_PARTS]; /* node: Unix ms, as it has reported to us */
	json_t *elsewhere;      /* node: Unix ms, as it has reported to any */
};

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / 1000000;
}

static uint64_t unix_ms(void)
{
	return xu_clock_system()->wall_ns(xu_clock_system()) / 1000000;
}

/* ---- leading ---- */

bool xreg__consul_leads(void *backend)
{
	struct xreg__consul *b = backend;

	return b->peers == NULL || now_ms() < atomic_load(&b->peers->leads_until_ms);
}

/* `leader` as it is; index 0: there is none. */
static int see_leader(struct xreg__consul_peers *p, const char *key, bool *ret_is_ours,
	uint64_t *ret_index, struct xu_error *err)
{
	struct xreg__consul_reply reply;
	json_t *ops = json_array();
	int rc;

	xreg__consul_add(ops, "get-tree", key, NULL, 0);
	rc = xreg__consul_txn(&p->line, ops, false, &reply, err);
	if (rc != 0) {
		return rc;
	}
	*ret_index = reply.nr_kvs != 0 ? reply.kvs[0].index : 0;
	*ret_is_ours = reply.nr_kvs != 0 && reply.kvs[0].is.len > strlen(p->self) &&
		       memcmp(reply.kvs[0].is.value, p->self, strlen(p->self)) == 0;
	xreg__consul_reply_free(&reply);
	return 0;
}

/* Writes `leader` when it still has that index; -EAGAIN: it has not. */
static int take_lead(
	struct xreg__consul_peers *p, const char *key, uint64_t index, struct xu_error *err)
{
	struct xreg__consul_reply reply;
	char value[VALUE_SIZE];
	json_t *ops = json_array();
	int rc;

	snprintf(value, sizeof(value), "%s %" PRIu64, p->self, ++p->count);
	xreg__consul_add(ops, "cas", key, value, index);
	rc = xreg__consul_txn(&p->line, ops, true, &reply, err);
	if (rc == 0) {
		p->leader_index = reply.nr_kvs != 0 ? reply.kvs[0].index : 0;
		xreg__consul_reply_free(&reply);
	}
	return rc;
}

/* Keeps the lead, or takes one that nobody keeps. */
static int keep_lead(struct xreg__consul_peers *p, struct xu_error *err)
{
	uint64_t begin_ms = now_ms(), index;
	bool led = xreg__consul_leads(p->b), is_ours;
	char key[XREG_SHARED_KEY_SIZE];
	int rc;

	snprintf(key, sizeof(key), "%s/leader", p->b->where.prefix);
	rc = see_leader(p, key, &is_ours, &index, err);
	if (rc != 0) {
		return rc;
	}
	if (index != p->leader_index) {
		p->leader_index = index;
		p->seen_ms = now_ms(); /* not before it was written */
	}
	rc = -EAGAIN;
	if (is_ours || index == 0 || now_ms() - p->seen_ms >= TAKE_MS) {
		rc = take_lead(p, key, index, err);
	}
	if (rc != 0 && rc != -EAGAIN) {
		return rc;
	}
	atomic_store(&p->leads_until_ms, rc == 0 ? begin_ms + LEAD_MS : 0);
	if ((rc == 0) != led) {
		xu_info(p->b->log, rc == 0 ? "this registry leads now"
					   : "another registry leads, this one stands by");
	}
	return 0;
}

/* The next one need not wait. */
static void give_up_lead(struct xreg__consul_peers *p)
{
	struct xreg__consul_reply reply;
	struct xu_error err;
	char key[XREG_SHARED_KEY_SIZE];
	json_t *ops = json_array();

	atomic_store(&p->leads_until_ms, 0);
	snprintf(key, sizeof(key), "%s/leader", p->b->where.prefix);
	xreg__consul_add(ops, "delete-cas", key, NULL, p->leader_index);
	if (xreg__consul_txn(&p->line, ops, true, &reply, &err) == 0) {
		xreg__consul_reply_free(&reply);
	}
}

/* ---- who has reported ---- */

static uint32_t part_of(const char *node_id)
{
	uint32_t sum = 0;

	for (; *node_id != '\0'; node_id++) {
		sum = sum * 31 + (unsigned char)*node_id;
	}
	return sum % NR_PARTS;
}

void xreg__consul_hear(void *backend, const char *node_id, uint64_t at_ms)
{
	struct xreg__consul_peers *p = ((struct xreg__consul *)backend)->peers;
	uint32_t part;

	if (p == NULL || node_id[0] == '\0' || strlen(node_id) >= XREG_SHARED_NAME_SIZE) {
		return;
	}
	part = part_of(node_id);
	pthread_mutex_lock(&p->mutex);
	if (json_object_size(p->here[part]) >= NODES_MAX / NR_PARTS) {
		json_object_clear(p->here[part]);
	}
	json_object_set_new(p->here[part], node_id, json_integer((json_int_t)at_ms));
	p->is_part_new[part] = true;
	pthread_mutex_unlock(&p->mutex);
}

uint64_t xreg__consul_heard_ms(void *backend, const char *node_id)
{
	struct xreg__consul_peers *p = ((struct xreg__consul *)backend)->peers;
	uint64_t heard_ms = 0;

	if (p != NULL) {
		pthread_mutex_lock(&p->mutex);
		heard_ms = (uint64_t)json_integer_value(json_object_get(p->elsewhere, node_id));
		pthread_mutex_unlock(&p->mutex);
	}
	return heard_ms;
}

/* Drops what is too old to count; the text of the rest, NULL when there is nothing new to tell. */
static char *text_of_part(struct xreg__consul_peers *p, uint32_t part, uint64_t oldest_ms)
{
	const char *node;
	json_t *at;
	void *next;
	char *text = NULL;

	pthread_mutex_lock(&p->mutex);
	if (p->is_part_new[part]) {
		json_object_foreach_safe (p->here[part], next, node, at) {
			if ((uint64_t)json_integer_value(at) < oldest_ms) {
				json_object_del(p->here[part], node);
			}
		}
		text = json_dumps(p->here[part], JSON_COMPACT);
		p->is_part_new[part] = false;
	}
	pthread_mutex_unlock(&p->mutex);
	return text;
}

/* Writes what nodes have reported here: the parts that changed, each in a transaction. */
static int tell(struct xreg__consul_peers *p, struct xu_error *err)
{
	uint64_t now = now_ms();
	int rc = 0;

	if (p->told_ms != 0 && now - p->told_ms < HEARD_MS) {
		return 0;
	}
	p->told_ms = now;
	for (uint32_t part = 0; rc == 0 && part < NR_PARTS; part++) {
		char *text = text_of_part(p, part, unix_ms() - FORGET_MS);
		char name[XREG_SHARED_NAME_SIZE], key[XREG_SHARED_KEY_SIZE];
		struct xreg__consul_reply reply;
		json_t *ops;

		if (text == NULL) {
			continue;
		}
		ops = json_array();
		snprintf(name, sizeof(name), "%s-%x", p->self, part);
		xreg_shared_key(p->b->where.prefix, "heard", name, key);
		xreg__consul_add(ops, "set", key, text, 0);
		free(text);
		rc = xreg__consul_txn(&p->line, ops, true, &reply, err);
		if (rc == 0) {
			xreg__consul_reply_free(&reply);
		}
	}
	return rc;
}

struct listening {
	struct xreg__consul_peers *p;
	json_t *heard;
	uint64_t oldest_ms;
};

/* One part of what a registry has heard: the latest of each node counts. */
static int hear_part(void *arg, const struct xreg__consul_kv *kv, struct xu_error *err)
{
	struct listening *listening = arg;
	json_t *part = json_loadb(kv->is.value, kv->is.len, 0, NULL), *at;
	uint64_t newest_ms = 0;
	const char *node;
	int rc = 0;

	json_object_foreach (part, node, at) {
		uint64_t at_ms = (uint64_t)json_integer_value(at);
		json_t *before = json_object_get(listening->heard, node);

		newest_ms = at_ms > newest_ms ? at_ms : newest_ms;
		if (at_ms > (uint64_t)json_integer_value(before) &&
			json_object_size(listening->heard) < NODES_MAX) {
			json_object_set(listening->heard, node, at);
		}
	}
	json_decref(part);
	if (newest_ms < listening->oldest_ms && xreg__consul_leads(listening->p->b)) {
		struct xreg__consul_reply reply;
		json_t *ops = json_array();

		xreg__consul_add(ops, "delete-cas", kv->is.key, NULL, kv->index);
		rc = xreg__consul_txn(&listening->p->line, ops, true, &reply, err);
		if (rc == 0) {
			xreg__consul_reply_free(&reply);
		}
	}
	return rc == -EAGAIN ? 0 : rc;
}

/* Reads what has reported to any registry. */
static int listen_to_all(struct xreg__consul_peers *p, struct xu_error *err)
{
	struct listening listening = {p, json_object(), unix_ms() - FORGET_MS};
	json_t *before;
	int rc = xreg__consul_each(&p->line, "heard", hear_part, &listening, err);

	if (rc != 0) {
		json_decref(listening.heard);
		return rc;
	}
	pthread_mutex_lock(&p->mutex);
	before = p->elsewhere;
	p->elsewhere = listening.heard;
	pthread_mutex_unlock(&p->mutex);
	json_decref(before);
	return 0;
}

/* ---- life ---- */

static int run_round(void *arg, struct xu_error *err)
{
	struct xreg__consul_peers *p = arg;
	int rc = keep_lead(p, err);

	if (rc == 0) {
		rc = tell(p, err);
	}
	/* Also while another leads: who takes over knows already. */
	return rc == 0 ? listen_to_all(p, err) : rc;
}

static void free_peers(struct xreg__consul_peers *p)
{
	for (uint32_t part = 0; part < NR_PARTS; part++) {
		json_decref(p->here[part]);
	}
	json_decref(p->elsewhere);
	curl_easy_cleanup(p->line.curl);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

static struct xreg__consul_peers *new_peers(struct xreg__consul *b)
{
	struct xreg__consul_peers *p = calloc(1, sizeof(*p));
	struct xu_uuid uuid = xu_uuid_random(&b->random);

	if (p == NULL) {
		return NULL;
	}
	p->b = b;
	p->line.where = b->where;
	p->line.headers = b->headers;
	p->line.curl = curl_easy_init();
	xu_uuid_format(&uuid, p->self);
	for (uint32_t part = 0; part < NR_PARTS; part++) {
		p->here[part] = json_object();
	}
	p->elsewhere = json_object();
	pthread_mutex_init(&p->mutex, NULL);
	p->rounds = (struct xreg_rounds){.run = run_round, .arg = p, .log = b->log};
	return p;
}

int xreg__consul_peers_start(struct xreg__consul *b, struct xu_error *err)
{
	struct xreg__consul_peers *p = new_peers(b);
	int rc = -ENOMEM;

	if (p != NULL && p->line.curl != NULL) {
		xreg__consul_set_common(&p->line, p->line.curl);
		b->peers = p;
		rc = xreg_rounds_start(&p->rounds);
	}
	if (rc != 0) {
		b->peers = NULL;
		if (p != NULL) {
			free_peers(p);
		}
		return xu_error_set_errno(err, rc, "meeting other registries");
	}
	return 0;
}

void xreg__consul_peers_stop(struct xreg__consul *b)
{
	struct xreg__consul_peers *p = b->peers;

	if (p == NULL) {
		return;
	}
	xreg_rounds_stop(&p->rounds);
	if (xreg__consul_leads(b)) {
		give_up_lead(p);
	}
	b->peers = NULL;
	free_peers(p);
}
