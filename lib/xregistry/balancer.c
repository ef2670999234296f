/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The balancer's memory: how often each target was chosen since the last rebalancing. Reports come
 * every so often; until one tells of the new hosts, this does, so that many selections in a row do
 * not all go to whoever was the least loaded at the last report. Targets that are gone are
 * forgotten with everything else at the next rebalancing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/xregistry/balancer.h"

#define LOAD_THRESHOLD 0.8
#define REBALANCE_MS   30000u
#define NR_PLACES_MIN  64u

static const char *const policy_names[XREG_NR_POLICIES] = {[XREG_ROUND_ROBIN] = "round_robin",
	[XREG_LEAST_CONNECTIONS] = "least_connections",
	[XREG_LEAST_LOAD] = "least_load",
	[XREG_WEIGHTED] = "weighted",
	[XREG_HASH] = "hash",
	[XREG_SCORE] = "score"};

const char *xreg_policy_name(uint32_t policy)
{
	return policy < XREG_NR_POLICIES ? policy_names[policy] : NULL;
}

int xreg_policy_parse(const char *name, enum xreg_policy *ret_policy)
{
	for (uint32_t i = XREG_ROUND_ROBIN; i < XREG_NR_POLICIES; i++) {
		if (strcasecmp(name, policy_names[i]) == 0) {
			*ret_policy = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* What is not said becomes the default. */
static int complete(struct xreg_balancer_opts *opts)
{
	if (opts->policy >= XREG_NR_POLICIES || !(opts->load_threshold >= 0) ||
		opts->load_threshold > 1) {
		return -EINVAL;
	}
	opts->policy = opts->policy != XREG_POLICY_DEFAULT ? opts->policy : XREG_SCORE;
	opts->load_threshold = opts->load_threshold > 0 ? opts->load_threshold : LOAD_THRESHOLD;
	opts->rebalance_interval_ms =
		opts->rebalance_interval_ms > 0 ? opts->rebalance_interval_ms : REBALANCE_MS;
	return 0;
}

int xreg_balancer_new(const struct xreg_balancer_opts *opts, struct xreg_balancer **ret_balancer)
{
	struct xreg_balancer_opts what = opts != NULL ? *opts : (struct xreg_balancer_opts){0};
	struct xreg_balancer *balancer;

	if (complete(&what) != 0) {
		return -EINVAL;
	}
	balancer = calloc(1, sizeof(*balancer));
	if (balancer == NULL) {
		return -ENOMEM;
	}
	balancer->opts = what;
	pthread_mutex_init(&balancer->mutex, NULL);
	*ret_balancer = balancer;
	return 0;
}

int xreg_balancer_set(struct xreg_balancer *balancer, const struct xreg_balancer_opts *opts)
{
	struct xreg_balancer_opts what = *opts;
	int rc = complete(&what);

	if (rc == 0) {
		pthread_mutex_lock(&balancer->mutex);
		balancer->opts = what;
		pthread_mutex_unlock(&balancer->mutex);
	}
	return rc;
}

void xreg_balancer_free(struct xreg_balancer *balancer)
{
	if (balancer != NULL) {
		pthread_mutex_destroy(&balancer->mutex);
		free(balancer->shares);
		free(balancer);
	}
}

/* FNV-1a of 64 bits, then the last step of MurmurHash3 (Appleby), since the order of rendezvous
 * needs all bits to depend on all. */
uint64_t xreg__hash64(const char *one, const char *two)
{
	uint64_t hash = 14695981039346656037ull;
	const char *const texts[] = {one, two};

	for (uint32_t i = 0; i < 2; i++) {
		for (const char *at = texts[i]; *at != '\0'; at++) {
			hash = (hash ^ (uint8_t)*at) * 1099511628211ull;
		}
		hash = (hash ^ 0xffu) * 1099511628211ull; /* where the text ends */
	}
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
	hash ^= hash >> 33;
	return hash != 0 ? hash : 1;
}

/* A clock that was set back begins a new interval too. */
void xreg__balancer_turn(struct xreg_balancer *balancer, uint64_t now_ms)
{
	if (now_ms >= balancer->since_ms &&
		now_ms - balancer->since_ms < balancer->opts.rebalance_interval_ms) {
		return;
	}
	balancer->since_ms = now_ms;
	balancer->nr_used = 0;
	if (balancer->shares != NULL) {
		memset(balancer->shares, 0, balancer->nr_places * sizeof(*balancer->shares));
	}
}

static struct xreg_share *find_place(struct xreg_share *shares, uint32_t nr_places, uint64_t key)
{
	uint32_t at = (uint32_t)key & (nr_places - 1);

	while (shares[at].key != 0 && shares[at].key != key) {
		at = (at + 1) & (nr_places - 1);
	}
	return &shares[at];
}

/* Three quarters full is the most. */
static int make_room(struct xreg_balancer *balancer)
{
	uint32_t nr_places = balancer->nr_places;
	struct xreg_share *shares;

	if ((balancer->nr_used + 1) * 4ull <= nr_places * 3ull) {
		return 0;
	}
	nr_places = nr_places > 0 ? nr_places * 2 : NR_PLACES_MIN;
	shares = calloc(nr_places, sizeof(*shares));
	if (shares == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < balancer->nr_places; i++) {
		if (balancer->shares[i].key != 0) {
			*find_place(shares, nr_places, balancer->shares[i].key) =
				balancer->shares[i];
		}
	}
	free(balancer->shares);
	balancer->shares = shares;
	balancer->nr_places = nr_places;
	return 0;
}

struct xreg_share *xreg__balancer_share(
	struct xreg_balancer *balancer, const struct xreg_target *target)
{
	uint64_t key = xreg__hash64(target->origin.id, "");
	struct xreg_share *share;

	if (make_room(balancer) != 0) {
		return NULL;
	}
	share = find_place(balancer->shares, balancer->nr_places, key);
	if (share->key == 0) {
		share->key = key;
		balancer->nr_used++;
	}
	return share;
}
