/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What registries of the same data tell each other besides the data itself, on a thread of its own:
 *
 *   leader            which of them leads: the number of one, kept by a lease of LEASE_S seconds
 *   heard/<node>      when a node has last reported to any of them, in Unix ms; not exact, for it
 *                     is written at most once in HEARD_MS, and kept by a lease
 *
 * The leader judges targets and looks for new ones, so that several registries do not do and undo
 * the same. It believes that it leads no longer than its lease surely lasts, counted from before it
 * asked for more; etcd counts from later. So there may be no leader for some seconds, but never
 * two. When none can reach etcd nobody leads, and nobody needs to: nothing can be changed.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/etcd/private.h"
#include "lib/xregistry/rounds.h"

#define LEASE_S       6u
#define LEASE_MARGIN  1000u /* ms */
#define HEARD_LEASE_S 7200u
#define HEARD_MS      2000u /* from one telling of a node to the next */
#define NODES_MAX     100000u

struct xreg__etcd_peers {
	struct xreg__etcd *b;
	struct xreg_rounds rounds;
	char self[XU_UUID_TEXT_SIZE];
	/* The thread's. */
	int64_t lease, heard_lease; /* 0: none yet */
	uint64_t heard_lease_ms;

	_Atomic uint64_t leads_until_ms; /* monotonic; 0: it does not lead */

	pthread_mutex_t mutex; /* for what follows */
	json_t *told;          /* node: when it was written last, by us, monotonic ms */
	json_t *to_tell;       /* node: Unix ms */
	json_t *elsewhere;     /* node: Unix ms, as etcd has it */
};

static uint64_t now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / 1000000;
}

/* ---- leading ---- */

bool xreg__etcd_leads(void *backend)
{
	struct xreg__etcd *b = backend;

	return b->peers == NULL || now_ms() < atomic_load(&b->peers->leads_until_ms);
}

/* Asks for the lead: 0 with *ret_is_ours. */
static int campaign(struct xreg__etcd_peers *p, bool *ret_is_ours, struct xu_error *err)
{
	char key[XREG_SHARED_KEY_SIZE];
	const struct xetcd_compare is_free = {XETCD_CREATE_REVISION_IS, key, 0};
	const struct xetcd_op put = {.what = XETCD_PUT,
		.key = key,
		.value = p->self,
		.len = strlen(p->self),
		.lease = p->lease};
	const struct xetcd_op get = {.what = XETCD_GET, .key = key};
	struct xetcd_reply reply;
	int rc;

	snprintf(key, sizeof(key), "%s/leader", p->b->prefix);
	rc = xetcd_txn(p->b->client,
		&(const struct xetcd_txn){.compares = &is_free,
			.nr_compares = 1,
			.then = &put,
			.nr_then = 1,
			.otherwise = &get,
			.nr_otherwise = 1},
		&reply, err);
	if (rc != 0) {
		return rc;
	}
	*ret_is_ours = reply.succeeded ||
		       (reply.nr_kvs == 1 && reply.kvs[0].len == strlen(p->self) &&
			       memcmp(reply.kvs[0].value, p->self, reply.kvs[0].len) == 0);
	xetcd_reply_free(&reply);
	return 0;
}

/* Keeps the lease and the lead, or asks for them. */
static int keep_lead(struct xreg__etcd_peers *p, struct xu_error *err)
{
	uint64_t begin_ms = now_ms();
	bool led = xreg__etcd_leads(p->b), is_ours = false;
	int rc = p->lease != 0 ? xetcd_lease_keep(p->b->client, p->lease, err) : -ENOENT;

	if (rc == -ENOENT) {
		rc = xetcd_lease_grant(p->b->client, LEASE_S, &p->lease, err);
	}
	if (rc == 0) {
		rc = campaign(p, &is_ours, err);
	}
	if (rc != 0) {
		return rc;
	}
	atomic_store(&p->leads_until_ms, is_ours ? begin_ms + LEASE_S * 1000 - LEASE_MARGIN : 0);
	if (is_ours != led) {
		xu_info(p->b->log, is_ours ? "this registry leads now"
					   : "another registry leads, this one stands by");
	}
	return 0;
}

/* ---- who has reported ---- */

void xreg__etcd_hear(void *backend, const char *node_id, uint64_t unix_ms)
{
	struct xreg__etcd_peers *p = ((struct xreg__etcd *)backend)->peers;
	uint64_t now = now_ms();
	json_t *told;

	if (p == NULL || node_id[0] == '\0') {
		return;
	}
	pthread_mutex_lock(&p->mutex);
	told = json_object_get(p->told, node_id);
	if (told == NULL || now - (uint64_t)json_integer_value(told) >= HEARD_MS) {
		if (json_object_size(p->told) >= NODES_MAX) {
			json_object_clear(p->told);
		}
		json_object_set_new(p->told, node_id, json_integer((json_int_t)now));
		json_object_set_new(p->to_tell, node_id, json_integer((json_int_t)unix_ms));
	}
	pthread_mutex_unlock(&p->mutex);
}

uint64_t xreg__etcd_heard_ms(void *backend, const char *node_id)
{
	struct xreg__etcd_peers *p = ((struct xreg__etcd *)backend)->peers;
	uint64_t heard_ms = 0;

	if (p != NULL) {
		pthread_mutex_lock(&p->mutex);
		heard_ms = (uint64_t)json_integer_value(json_object_get(p->elsewhere, node_id));
		pthread_mutex_unlock(&p->mutex);
	}
	return heard_ms;
}

/* The lease of what is told: a new one before half of the old one is over. */
static int get_heard_lease(struct xreg__etcd_peers *p, struct xu_error *err)
{
	int rc;

	if (p->heard_lease != 0 && now_ms() - p->heard_lease_ms < HEARD_LEASE_S * 1000ull / 2) {
		return 0;
	}
	p->heard_lease_ms = now_ms();
	rc = xetcd_lease_grant(p->b->client, HEARD_LEASE_S, &p->heard_lease, err);
	if (rc != 0) {
		p->heard_lease = 0;
	}
	return rc;
}

/* Writes what nodes have reported here, as many as a transaction takes at a time. */
static int tell(struct xreg__etcd_peers *p, json_t *nodes, struct xu_error *err)
{
	static const uint32_t most = XREG__ETCD_EVENTS_MAX;
	char(*keys)[XREG_SHARED_KEY_SIZE] = calloc(most, sizeof(*keys));
	char(*values)[24] = calloc(most, sizeof(*values));
	struct xetcd_op *ops = calloc(most, sizeof(*ops));
	void *at = json_object_iter(nodes);
	int rc = keys != NULL && values != NULL && ops != NULL
			 ? get_heard_lease(p, err)
			 : xu_error_set_errno(err, -ENOMEM, "telling who has reported");

	while (rc == 0 && at != NULL) {
		struct xetcd_reply reply;
		uint32_t count = 0;

		for (; at != NULL && count < most; at = json_object_iter_next(nodes, at)) {
			xreg_shared_key(
				p->b->prefix, "heard", json_object_iter_key(at), keys[count]);
			snprintf(values[count], sizeof(values[count]), "%" JSON_INTEGER_FORMAT,
				json_integer_value(json_object_iter_value(at)));
			ops[count] = (struct xetcd_op){.what = XETCD_PUT,
				.key = keys[count],
				.value = values[count],
				.len = strlen(values[count]),
				.lease = p->heard_lease};
			count++;
		}
		rc = xetcd_txn(p->b->client,
			&(const struct xetcd_txn){.then = ops, .nr_then = count}, &reply, err);
		xetcd_reply_free(&reply);
	}
	free(keys);
	free(values);
	free(ops);
	return rc;
}

static int hear_one(struct xreg__etcd *b, const struct xetcd_kv *kv,
	const struct xreg_loader *loader, struct xu_error *err)
{
	const struct xreg_kv it = xreg__etcd_kv(kv);
	char name[XREG_SHARED_NAME_SIZE], text[24] = "";

	xreg_shared_name(&it, b->prefix, "heard", name);
	if (kv->len < sizeof(text) && name[0] != '\0') {
		memcpy(text, kv->value, kv->len);
		json_object_set_new(
			loader->arg, name, json_integer((json_int_t)strtoull(text, NULL, 10)));
	}
	return 0;
}

/* Reads what has reported to any registry. */
static int listen(struct xreg__etcd_peers *p, struct xu_error *err)
{
	json_t *heard = json_object(), *before;
	const struct xreg_loader loader = {.arg = heard};
	int rc = xreg__etcd_each_key(p->b, "heard", 0, hear_one, &loader, err);

	if (rc != 0) {
		json_decref(heard);
		return rc;
	}
	pthread_mutex_lock(&p->mutex);
	before = p->elsewhere;
	p->elsewhere = heard;
	pthread_mutex_unlock(&p->mutex);
	json_decref(before);
	return 0;
}

/* ---- life ---- */

static int run_round(void *arg, struct xu_error *err)
{
	struct xreg__etcd_peers *p = arg;
	json_t *nodes;
	int rc = keep_lead(p, err);

	pthread_mutex_lock(&p->mutex);
	nodes = p->to_tell;
	p->to_tell = json_object();
	pthread_mutex_unlock(&p->mutex);
	if (rc == 0 && json_object_size(nodes) != 0) {
		rc = tell(p, nodes, err);
	}
	json_decref(nodes);
	/* Also while another leads: who takes over knows already. */
	return rc == 0 ? listen(p, err) : rc;
}

static void free_peers(struct xreg__etcd_peers *p)
{
	json_decref(p->told);
	json_decref(p->to_tell);
	json_decref(p->elsewhere);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

int xreg__etcd_peers_start(struct xreg__etcd *b, struct xu_error *err)
{
	struct xreg__etcd_peers *p = calloc(1, sizeof(*p));
	struct xu_uuid uuid = xu_uuid_random(&b->random);
	int rc;

	if (p == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "meeting other registries");
	}
	p->b = b;
	xu_uuid_format(&uuid, p->self);
	p->told = json_object();
	p->to_tell = json_object();
	p->elsewhere = json_object();
	pthread_mutex_init(&p->mutex, NULL);
	p->rounds = (struct xreg_rounds){.run = run_round, .arg = p, .log = b->log};
	b->peers = p;
	rc = xreg_rounds_start(&p->rounds);
	if (rc != 0) {
		b->peers = NULL;
		free_peers(p);
		return xu_error_set_errno(err, rc, "meeting other registries");
	}
	return 0;
}

void xreg__etcd_peers_stop(struct xreg__etcd *b)
{
	struct xreg__etcd_peers *p = b->peers;
	struct xu_error err;

	if (p == NULL) {
		return;
	}
	xreg_rounds_stop(&p->rounds);
	/* The next one need not wait until the lease is over. */
	if (xreg__etcd_leads(b)) {
		atomic_store(&p->leads_until_ms, 0);
		xetcd_lease_revoke(b->client, p->lease, &err);
	}
	b->peers = NULL;
	free_peers(p);
}
