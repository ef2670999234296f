/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Consul backend; its keys and values are those of shared.h. A commit is one transaction
 * (commit.c), which is what Consul can do that its other writes cannot; what is read in one
 * transaction was true at one time (load.c); who changes what is not ours is heard of by a blocking
 * query (watch.c); who leads is a key, too (peers.c). Everything but the last two is on the
 * writer's thread.
 *
 * Consul's servers keep all of its data in memory, and all of it is in each of their snapshots: it
 * is meant for small things. Ten thousand targets with their history are some tens of MB.
 */
#include "lib/xregistry/consul/consul.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/consul/private.h"

static void consul_close(void *backend)
{
	struct xreg__consul *b = backend;

	xreg__consul_peers_stop(b);
	xreg__consul_unwatch(b);
	curl_easy_cleanup(b->curl);
	curl_slist_free_all(b->headers);
	xreg_consul_where_free(&b->where);
	free(b);
}

/* Adds a header of all requests; false: no memory. */
static bool add_header(struct xreg__consul *b, const char *text)
{
	struct curl_slist *headers = curl_slist_append(b->headers, text);

	if (headers != NULL) {
		b->headers = headers;
	}
	return headers != NULL;
}

static int set_up(struct xreg__consul *b, struct xu_error *err)
{
	char token[300];
	bool is_good;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	/* A request is small enough to be sent without asking whether it may be. */
	is_good = add_header(b, "Expect:") && add_header(b, "Content-Type: application/json");
	if (b->where.token != NULL) {
		snprintf(token, sizeof(token), "X-Consul-Token: %s", b->where.token);
		is_good = is_good && add_header(b, token);
		explicit_bzero(token, sizeof(token));
	}
	b->curl = curl_easy_init();
	if (!is_good || b->curl == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "opening Consul");
	}
	xreg__consul_set_common(b, b->curl);
	snprintf(b->meta_key, sizeof(b->meta_key), "%s/meta", b->where.prefix);
	return 0;
}

static int consul_open(
	const char *text, struct xu_logger *log, void **ret_backend, struct xu_error *err)
{
	struct xreg__consul *b = calloc(1, sizeof(*b));
	int rc;

	if (b == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "opening Consul");
	}
	b->log = log;
	atomic_store(&b->is_up, true);
	xu_random_seed_entropy(&b->random);
	rc = xreg_consul_where_parse(text, &b->where, err);
	if (rc == 0) {
		rc = set_up(b, err);
	}
	if (rc != 0) {
		consul_close(b);
		return rc;
	}
	*ret_backend = b;
	return 0;
}

static int consul_watch(void *backend, void (*changed)(void *arg), void *arg, struct xu_error *err)
{
	int rc = xreg__consul_watch(backend, changed, arg, err);

	return rc == 0 ? xreg__consul_peers_start(backend, err) : rc;
}

static bool consul_is_up(void *backend)
{
	struct xreg__consul *b = backend;

	return atomic_load(&b->is_up);
}

const struct xreg_backend_ops xreg_consul = {
	.name = "consul",
	.nr_events_max = XREG__CONSUL_EVENTS_MAX,
	.open = consul_open,
	.load = xreg__consul_load,
	.commit = xreg__consul_commit,
	.put_document = xreg__consul_put_document,
	.follow = xreg__consul_follow,
	.watch = consul_watch,
	.is_up = consul_is_up,
	.leads = xreg__consul_leads,
	.hear = xreg__consul_hear,
	.heard_ms = xreg__consul_heard_ms,
	.close = consul_close,
};
