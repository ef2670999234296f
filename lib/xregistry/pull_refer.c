/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Referrals: a discovery controller that is read may name others, which are read as well. Which
 * those are is found out anew whenever a log names others, from the controllers that somebody else
 * names on, so those that only name each other go with the last that led to them. Each is known by
 * its address and port and followed once, by the shortest way, which bounds loops; how far from the
 * others, and how many there are, bounds the rest. What would lead back to this registry is left
 * out.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/pull_private.h"

/* ---- what one names ---- */

/* False: it cannot be followed. */
static bool take_entry(const struct pull_peer *peer, const struct xnvmf_host_entry *entry,
	struct xreg_ddc *ret_ddc)
{
	char address[XR_ADDRESS_SIZE];
	uint32_t port;

	return entry->trtype == NVME_TRTYPE_TCP && entry->sectype != NVME_TSAS_TLS13 &&
	       strcmp(entry->subnqn, peer->pull->nqn) != 0 &&
	       pull__take_address(peer, entry->traddr, address) &&
	       pull__take_port(entry->trsvcid, &port) &&
	       xreg_ddc_make(address, port, entry->subnqn, ret_ddc, NULL) == 0;
}

static bool is_same(const struct xreg_ddc *a, const struct xreg_ddc *b)
{
	return a->port == b->port && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->nqn, b->nqn) == 0;
}

static bool is_same_list(const struct pull_peer *peer, const struct xreg_ddc *list, uint32_t count)
{
	bool is_equal = peer->nr_referrals == count;

	for (uint32_t i = 0; is_equal && i < count; i++) {
		is_equal = is_same(&peer->referrals[i], &list[i]);
	}
	return is_equal;
}

void pull__refer_take(struct pull_peer *peer, const struct xnvmf_host_log *log)
{
	struct xreg_ddc *list = NULL;
	uint32_t count = 0, room = 0;

	for (size_t i = 0; i < log->nr_entries; i++) {
		room += log->entries[i].subtype == NVME_SUBTYPE_REFERRAL;
	}
	room = room < XREG_REFERRED_MAX ? room : XREG_REFERRED_MAX;
	list = room != 0 ? calloc(room, sizeof(*list)) : NULL;
	if (room != 0 && list == NULL) {
		return; /* the next log has them again */
	}
	for (size_t i = 0; i < log->nr_entries && count < room; i++) {
		const struct xnvmf_host_entry *entry = &log->entries[i];

		count += entry->subtype == NVME_SUBTYPE_REFERRAL &&
			 take_entry(peer, entry, &list[count]);
	}
	if (is_same_list(peer, list, count)) {
		free(list);
		return;
	}
	free(peer->referrals);
	peer->referrals = list;
	peer->nr_referrals = count;
	pull__refer(peer->pull);
}

/* ---- all of them ---- */

struct referrals {
	struct pull_referral *list; /* by their distance */
	uint32_t count, max;
	bool is_full;
};

/* Somebody else than a controller names it. */
static bool is_root(const struct pull_peer *peer)
{
	return peer->is_listed && (peer->ddc.sources & ~(1u << XREG_DDC_REFERRAL)) != 0;
}

const struct pull_referral *pull__referral(const struct xreg_pull *pull, const struct xreg_ddc *ddc)
{
	for (uint32_t i = 0; i < pull->nr_referrals; i++) {
		const struct pull_referral *one = &pull->referrals[i];

		if (one->ddc.port == ddc->port && strcmp(one->ddc.address, ddc->address) == 0) {
			return one;
		}
	}
	return NULL;
}

static bool has(const struct referrals *all, const struct xreg_ddc *ddc)
{
	for (uint32_t i = 0; i < all->count; i++) {
		if (all->list[i].ddc.port == ddc->port &&
			strcmp(all->list[i].ddc.address, ddc->address) == 0) {
			return true;
		}
	}
	return false;
}

static void add_those_of(struct referrals *all, const struct pull_peer *peer, uint32_t depth)
{
	for (uint32_t i = 0; i < peer->nr_referrals; i++) {
		const struct xreg_ddc *ddc = &peer->referrals[i];
		const struct pull_peer *known;
		char key[PULL_KEY_SIZE];

		pull__key(ddc, key);
		known = pull__find(peer->pull, key);
		if ((known != NULL && is_root(known)) || has(all, ddc) ||
			xreg_ddcs_is_own(peer->pull->opts.ddcs, ddc->address, ddc->port)) {
			continue;
		}
		if (all->count == all->max) {
			all->is_full = true;
			return;
		}
		all->list[all->count] = (struct pull_referral){.ddc = *ddc, .depth = depth};
		memcpy(all->list[all->count++].from, peer->key, sizeof(peer->key));
	}
}

static void find_all(struct xreg_pull *pull, struct referrals *all)
{
	const uint32_t depth_max = pull->opts.limits.referral_depth_max;
	struct xu_list *node;

	xu_list_for_each (node, &pull->peers) {
		const struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		if (is_root(peer)) {
			add_those_of(all, peer, 1);
		}
	}
	for (uint32_t i = 0; i < all->count && all->list[i].depth < depth_max; i++) {
		const struct pull_peer *peer;
		char key[PULL_KEY_SIZE];

		pull__key(&all->list[i].ddc, key);
		peer = pull__find(pull, key);
		if (peer != NULL) {
			add_those_of(all, peer, all->list[i].depth + 1);
		}
	}
}

/* Also without memory: those that were followed before are. */
void pull__refer(struct xreg_pull *pull)
{
	const struct xreg_pull_limits *limits = &pull->opts.limits;
	struct referrals all = {.max = limits->follows_referrals ? limits->nr_referrals_max : 0};
	struct xreg_ddc *ddcs = calloc(all.max + 1, sizeof(*ddcs));
	struct pull_referral *before = pull->referrals;

	all.list = calloc(all.max + 1, sizeof(*all.list));
	if (ddcs == NULL || all.list == NULL) {
		free(ddcs);
		free(all.list);
		return;
	}
	if (limits->follows_referrals) {
		find_all(pull, &all);
	}
	if (all.is_full && !pull->has_too_many_referrals) {
		xu_warn(pull->opts.log,
			"discovery controllers name more than %u others, of which the rest is not "
			"read",
			all.max);
	}
	pull->has_too_many_referrals = all.is_full;
	for (uint32_t i = 0; i < all.count; i++) {
		ddcs[i] = all.list[i].ddc;
	}
	pthread_mutex_lock(&pull->mutex);
	pull->referrals = all.list;
	pull->nr_referrals = all.count;
	pthread_mutex_unlock(&pull->mutex);
	free(before);
	xreg_ddcs_replace(pull->opts.ddcs, XREG_DDC_REFERRAL, ddcs, all.count);
	free(ddcs);
}
