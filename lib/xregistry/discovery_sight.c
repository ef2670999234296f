/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hosts see of the store, and when that has changed. Of each host a sum of hashes is kept, one
 * of each target that it sees, made from what its log entry says. A change of the store takes one
 * summand out and puts another in, so whether a host's log has changed is known without making it;
 * where too much has changed since a host was asked last, its sum is made anew. The list of targets
 * is made when somebody reads, and shared by all who see the same. It is made from the list that
 * the host read before and the changes since, as far as they are known: to ask the filter about all
 * targets for every host that reads again after a change would take minutes where there are ten
 * thousand of both.
 *
 * The hashes have a seed of this process. They only decide that something has changed: who shares a
 * list is decided by comparing the lists.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/util/hash.h"
#include "lib/xregistry/discovery_private.h"

#define OWN_MAX    8u
#define SEEN_LEAST 64u

/* ---- hashes ---- */

/* FNV-1a of 64 bits from a seed, and its bits mixed well enough to be added up. */
static uint64_t hash_text(uint64_t seed, const char *text)
{
	uint64_t hash = 14695981039346656037u ^ seed;

	while (*text != '\0') {
		hash = (hash ^ (uint8_t)*text++) * 1099511628211u;
	}
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
	return hash ^ hash >> 31;
}

/* Of everything that the entry of a target says. */
static uint64_t hash_target(const struct xreg_discovery *d, const struct xreg_target *target)
{
	const struct xreg_spec *spec = &target->spec;
	const char *port = xreg__portid(target);
	uint64_t hash = hash_text(d->seed ^ spec->security, target->place);

	hash = hash_text(hash ^ xreg__is_disconnected(target), spec->node_id);
	return port != NULL ? hash_text(hash, port) : hash;
}

/* ---- sights ---- */

void xreg__sight_unref(struct xreg_sight *sight)
{
	if (sight != NULL && --sight->nr_refs == 0) {
		xu_list_del(&sight->link);
		xreg_view_unref(sight->view);
		free(sight);
	}
}

static struct xreg_sight *new_sight(struct xreg_view *view, uint32_t room)
{
	struct xreg_sight *sight = malloc(sizeof(*sight) + room * sizeof(sight->targets[0]));

	if (sight != NULL) {
		*sight = (struct xreg_sight){.nr_refs = 1, .view = xreg_view_ref(view)};
		xu_list_init(&sight->link);
	}
	return sight;
}

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct xreg_sight *sight = arg;

	sight->targets[sight->nr_targets++] = target;
	return true;
}

/* All targets of the view, and their hashes: made once for each view that is asked for. */
static int make_all(struct xreg_discovery *d)
{
	uint32_t count = xreg_view_count(d->view);

	if (d->all != NULL) {
		return 0;
	}
	d->all = new_sight(d->view, count);
	d->all_hashes = malloc((count + 1) * sizeof(*d->all_hashes));
	if (d->all == NULL || d->all_hashes == NULL) {
		xreg__sight_unref(d->all);
		free(d->all_hashes);
		d->all = NULL;
		d->all_hashes = NULL;
		return -ENOMEM;
	}
	xreg_view_each(d->view, XREG_BY_PLACE, "", true, on_target, d->all);
	for (uint32_t i = 0; i < count; i++) {
		d->all_hashes[i] = hash_target(d, d->all->targets[i]);
		d->all->hash += d->all_hashes[i];
	}
	return 0;
}

/* ---- the store ---- */

static void drop_all(struct xreg_discovery *d)
{
	xreg__sight_unref(d->all);
	free(d->all_hashes);
	d->all = NULL;
	d->all_hashes = NULL;
}

static void drop_delta(struct xreg_discovery *d, uint32_t count)
{
	xreg_events_free(d->delta, count);
	memmove(d->delta, d->delta + count, (d->nr_delta - count) * sizeof(d->delta[0]));
	d->nr_delta -= count;
}

/* Puts the changes up to a revision behind those that are known. The store shows a view a moment
 * before its changes can be asked for: those are fetched the next time. */
static void extend_delta(struct xreg_discovery *d, uint64_t to)
{
	uint64_t missing = to - d->delta_end;
	uint32_t want = missing > XREG_DELTA_MAX ? 0 : (uint32_t)missing, count = 0;
	int rc = missing > XREG_DELTA_MAX ? -ESTALE : 0;

	if (rc == 0) {
		if (d->nr_delta + want > XREG_DELTA_MAX) {
			drop_delta(d, d->nr_delta + want - XREG_DELTA_MAX);
		}
		rc = xreg_store_events(
			d->opts.store, d->delta_end, d->delta + d->nr_delta, want, &count);
	}
	if (rc != 0) { /* too many, or forgotten already */
		drop_delta(d, d->nr_delta);
		d->delta_end = to;
		return;
	}
	d->nr_delta += count;
	d->delta_end += count;
}

void xreg__discovery_refresh(struct xreg_discovery *d)
{
	struct xreg_view *view = xreg_store_view(d->opts.store);
	uint64_t revision = xreg_view_revision(view);

	if (revision != d->delta_end) {
		extend_delta(d, revision);
	}
	if (revision == xreg_view_revision(d->view)) {
		xreg_view_unref(view);
		return;
	}
	drop_all(d);
	xreg_view_unref(d->view);
	d->view = view;
}

/* ---- hosts ---- */

/* What was pulled is not told to those who may be pulled from: two that read each other would keep
 * alive between them what is gone. */
static bool sees(const struct xreg_discovery *d, const struct xreg_host_sight *host,
	const struct xreg_target *target)
{
	if (host->is_peer && target->origin.source == XREG_PULLED) {
		return false;
	}
	return host->is_all || d->opts.may_see == NULL ||
	       d->opts.may_see(d->opts.arg, host->hostnqn, target);
}

/* Brings the sum up to date by the changes since; false: they are not all known. */
static bool apply_delta(
	const struct xreg_discovery *d, const struct xreg_host_sight *host, uint64_t *ret_hash)
{
	uint64_t revision = xreg_view_revision(d->view);
	uint64_t missing = revision - host->revision, hash = host->hash;

	if (host->filter != d->filter || missing > d->nr_delta || d->delta_end != revision) {
		return false;
	}
	for (uint32_t i = d->nr_delta - (uint32_t)missing; i < d->nr_delta; i++) {
		const struct xreg_event *event = &d->delta[i];

		if (event->before != NULL && sees(d, host, event->before)) {
			hash -= hash_target(d, event->before);
		}
		if (event->after != NULL && sees(d, host, event->after)) {
			hash += hash_target(d, event->after);
		}
	}
	*ret_hash = hash;
	return true;
}

/* Whether the changes since what the host has read are all known. */
static bool can_patch(const struct xreg_discovery *d, const struct xreg_host_sight *host)
{
	uint64_t revision = xreg_view_revision(d->view);

	return host->sight != NULL && host->filter == d->filter && d->delta_end == revision &&
	       revision - xreg_view_revision(host->sight->view) <= d->nr_delta;
}

static bool on_seen(void *arg, const struct xreg_target *target)
{
	struct xreg_discovery *d = arg;

	if (d->nr_seen == xreg_view_count(d->view) / 4 + SEEN_LEAST) {
		d->has_missed = true; /* with so many it is quicker to ask */
		return false;
	}
	if (d->nr_seen == d->seen_room) {
		uint32_t room = d->seen_room != 0 ? 2 * d->seen_room : 64;
		const struct xreg_target **seen = realloc(d->seen, room * sizeof(*seen));

		if (seen == NULL) {
			d->has_missed = true;
			return false;
		}
		d->seen = seen;
		d->seen_room = room;
	}
	d->seen[d->nr_seen++] = target;
	return true;
}

static int compare_places(const void *a, const void *b)
{
	return strcmp((*(const struct xreg_target *const *)a)->place,
		(*(const struct xreg_target *const *)b)->place);
}

/* Makes d->seen what the host sees, in the order of places, when the filter lists it. So a host in
 * a zone costs what is in the zone, and not what there is: with ten thousand of both, asking for
 * each would take minutes. Where that is much, or comes more than once, it is asked for each. */
static enum xreg_sees list_seen(struct xreg_discovery *d, const struct xreg_host_sight *host)
{
	enum xreg_sees sees;
	uint32_t count = 0;

	if (host->is_all || host->is_peer || d->opts.each_seen == NULL) {
		return XREG_SEES_SOME;
	}
	d->nr_seen = 0;
	d->has_missed = false;
	sees = d->opts.each_seen(d->opts.arg, host->hostnqn, d->view, on_seen, d);
	if (sees != XREG_SEES_LISTED) {
		return sees;
	}
	if (d->has_missed) {
		return XREG_SEES_SOME;
	}
	if (d->nr_seen != 0) {
		qsort(d->seen, d->nr_seen, sizeof(d->seen[0]), compare_places);
	}
	for (uint32_t i = 0; i < d->nr_seen; i++) {
		if (i == 0 || d->seen[i] != d->seen[i - 1]) {
			d->seen[count++] = d->seen[i];
		}
	}
	d->nr_seen = count;
	return XREG_SEES_LISTED;
}

static int sum_all(struct xreg_discovery *d, const struct xreg_host_sight *host, uint64_t *ret_hash)
{
	enum xreg_sees listed = list_seen(d, host);
	uint64_t hash = 0;

	if (listed == XREG_SEES_LISTED) {
		for (uint32_t i = 0; i < d->nr_seen; i++) {
			hash += hash_target(d, d->seen[i]);
		}
		*ret_hash = hash;
		return 0;
	}
	if (make_all(d) != 0) {
		return -ENOMEM;
	}
	if (listed == XREG_SEES_ALL) {
		*ret_hash = d->all->hash;
		return 0;
	}
	for (uint32_t i = 0; i < d->all->nr_targets; i++) {
		if (sees(d, host, d->all->targets[i])) {
			hash += d->all_hashes[i];
		}
	}
	*ret_hash = hash;
	return 0;
}

static uint64_t hash_own(const struct xreg_discovery *d, const struct xreg_host_sight *host)
{
	struct nvme_discovery_entry entries[OWN_MAX];
	uint32_t count =
		xnvmf_discovery_own_entries(d->target, host->own_address, entries, OWN_MAX);

	return xu_crc32c(entries, count * sizeof(entries[0]));
}

uint64_t xreg__next_genctr(struct xreg_discovery *d)
{
	uint64_t wall_us = d->clock->wall_ns(d->clock) / XU_NS_PER_US;

	d->last_genctr = wall_us > d->last_genctr ? wall_us : d->last_genctr + 1;
	return d->last_genctr;
}

static int update(struct xreg_discovery *d, struct xreg_host_sight *host)
{
	uint64_t hash = host->hash, own_hash = hash_own(d, host);
	uint64_t revision = xreg_view_revision(d->view);
	bool is_new = host->genctr == 0;

	if ((is_new || host->revision != revision || host->filter != d->filter) &&
		(is_new || !apply_delta(d, host, &hash)) && sum_all(d, host, &hash) != 0) {
		return -ENOMEM;
	}
	host->is_stale |= hash != host->hash;
	if (host->is_stale && !can_patch(d, host)) {
		xreg__sight_unref(host->sight);
		host->sight = NULL;
	}
	if (is_new) {
		host->genctr = xreg__next_genctr(d);
	} else if (hash != host->hash || own_hash != host->own_hash) {
		host->genctr++;
		d->last_genctr = host->genctr > d->last_genctr ? host->genctr : d->last_genctr;
	}
	host->hash = hash;
	host->own_hash = own_hash;
	host->revision = revision;
	host->filter = d->filter;
	return 0;
}

static void free_host(struct xreg_discovery *d, struct xreg_host_sight *host)
{
	xu_list_del(&host->bucket_link);
	xu_list_del(&host->use_link);
	xreg__sight_unref(host->sight);
	free(host);
	d->nr_hosts--;
}

static struct xreg_host_sight *new_host(
	struct xreg_discovery *d, const char *hostnqn, const char *own_address)
{
	size_t nqn_size = strlen(hostnqn) + 1, own_size = strlen(own_address) + 1;
	struct xreg_host_sight *host = malloc(sizeof(*host) + nqn_size + own_size);

	if (host == NULL) {
		return NULL;
	}
	if (d->nr_hosts == d->opts.nr_hosts_max) {
		free_host(d, xu_list_entry(d->used.prev, struct xreg_host_sight, use_link));
	}
	*host = (struct xreg_host_sight){.own_address = host->hostnqn + nqn_size};
	memcpy(host->hostnqn, hostnqn, nqn_size);
	memcpy(host->hostnqn + nqn_size, own_address, own_size);
	d->nr_hosts++;
	return host;
}

struct xreg_host_sight *xreg__host_sight(
	struct xreg_discovery *d, const struct xnvmf_discovery_asker *asker)
{
	/* Past the filter come other discovery controllers, not hosts. */
	bool is_all = (asker->options & XNVMF_DISCOVERY_ALL) != 0 &&
		      (d->opts.may_see == NULL || asker->is_controller);
	/* Without a filter all hosts are one, and all discovery controllers another. */
	const char *hostnqn = is_all || d->opts.may_see == NULL ? "" : asker->hostnqn;
	struct xu_list *bucket =
		&d->buckets[xu_hash32(hostnqn, strlen(hostnqn)) % XREG_HOST_BUCKETS];
	struct xreg_host_sight *host = NULL;
	struct xu_list *node;

	xu_list_for_each (node, bucket) {
		struct xreg_host_sight *at =
			xu_list_entry(node, struct xreg_host_sight, bucket_link);

		if (at->is_all == is_all && at->is_peer == asker->is_controller &&
			strcmp(at->hostnqn, hostnqn) == 0 &&
			strcmp(at->own_address, asker->own_address) == 0) {
			host = at;
			xu_list_del(&host->use_link);
			break;
		}
	}
	if (host == NULL) {
		host = new_host(d, hostnqn, asker->own_address);
		if (host == NULL) {
			return NULL;
		}
		host->is_all = is_all;
		host->is_peer = asker->is_controller;
		xu_list_add_tail(bucket, &host->bucket_link);
	}
	xu_list_add_head(&d->used, &host->use_link);
	if (update(d, host) != 0) {
		if (host->genctr == 0) {
			free_host(d, host);
		}
		return NULL;
	}
	return host;
}

/* One that is there already, or the one that was made. */
static struct xreg_sight *share(struct xreg_discovery *d, struct xreg_sight *made)
{
	struct xu_list *bucket = &d->sights[made->hash % XREG_HOST_BUCKETS], *node;

	xu_list_for_each (node, bucket) {
		struct xreg_sight *sight = xu_list_entry(node, struct xreg_sight, link);

		if (sight->hash == made->hash && sight->nr_targets == made->nr_targets &&
			memcmp(sight->targets, made->targets,
				made->nr_targets * sizeof(made->targets[0])) == 0) {
			xreg__sight_unref(made);
			sight->nr_refs++;
			return sight;
		}
	}
	xu_list_add_head(bucket, &made->link);
	return made;
}

/* Gives back what it has more than it needs. It is in no list yet. */
static struct xreg_sight *shrink(struct xreg_sight *sight)
{
	struct xreg_sight *smaller =
		realloc(sight, sizeof(*sight) + sight->nr_targets * sizeof(sight->targets[0]));

	if (smaller == NULL) {
		return sight;
	}
	xu_list_init(&smaller->link);
	return smaller;
}

/* Where a place is in the list, or would be. */
static uint32_t position(const struct xreg_sight *sight, const char *place)
{
	uint32_t low = 0, high = sight->nr_targets;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(sight->targets[middle]->place, place) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

static bool is_at(const struct xreg_sight *sight, uint32_t at, const char *place)
{
	return at < sight->nr_targets && strcmp(sight->targets[at]->place, place) == 0;
}

static void take_out(struct xreg_sight *sight, const struct xreg_target *target)
{
	uint32_t at = position(sight, target->place);

	if (is_at(sight, at, target->place)) {
		sight->nr_targets--;
		memmove(&sight->targets[at], &sight->targets[at + 1],
			(sight->nr_targets - at) * sizeof(sight->targets[0]));
	}
}

/* There is room for it. */
static void put_in(struct xreg_sight *sight, const struct xreg_target *target)
{
	uint32_t at = position(sight, target->place);

	if (!is_at(sight, at, target->place)) {
		memmove(&sight->targets[at + 1], &sight->targets[at],
			(sight->nr_targets - at) * sizeof(sight->targets[0]));
		sight->nr_targets++;
	}
	sight->targets[at] = target;
}

/* What the host has read, with the changes since. NULL: no memory. */
static struct xreg_sight *patch(struct xreg_discovery *d, const struct xreg_host_sight *host)
{
	const struct xreg_sight *old = host->sight;
	uint32_t missing = (uint32_t)(xreg_view_revision(d->view) - xreg_view_revision(old->view));
	struct xreg_sight *sight = new_sight(d->view, old->nr_targets + missing);

	if (sight == NULL) {
		return NULL;
	}
	memcpy(sight->targets, old->targets, old->nr_targets * sizeof(old->targets[0]));
	sight->nr_targets = old->nr_targets;
	for (uint32_t i = d->nr_delta - missing; i < d->nr_delta; i++) {
		const struct xreg_event *event = &d->delta[i];

		if (event->before != NULL) {
			take_out(sight, event->before);
		}
		if (event->after != NULL && sees(d, host, event->after)) {
			put_in(sight, event->after);
		}
	}
	return sight;
}

/* All targets of the view that the host sees. NULL: no memory. */
static struct xreg_sight *choose(struct xreg_discovery *d, const struct xreg_host_sight *host)
{
	enum xreg_sees listed = list_seen(d, host);
	struct xreg_sight *sight;

	if (listed == XREG_SEES_LISTED) {
		sight = new_sight(d->view, d->nr_seen);
		if (sight != NULL && d->nr_seen != 0) {
			memcpy(sight->targets, d->seen, d->nr_seen * sizeof(d->seen[0]));
			sight->nr_targets = d->nr_seen;
		}
		return sight;
	}
	sight = make_all(d) == 0 ? new_sight(d->view, d->all->nr_targets) : NULL;
	if (sight != NULL && listed == XREG_SEES_ALL) {
		memcpy(sight->targets, d->all->targets,
			d->all->nr_targets * sizeof(sight->targets[0]));
		sight->nr_targets = d->all->nr_targets;
		return sight;
	}
	for (uint32_t i = 0; sight != NULL && i < d->all->nr_targets; i++) {
		if (sees(d, host, d->all->targets[i])) {
			sight->targets[sight->nr_targets++] = d->all->targets[i];
		}
	}
	return sight;
}

struct xreg_sight *xreg__host_targets(struct xreg_discovery *d, struct xreg_host_sight *host)
{
	bool sees_all = (host->is_all || d->opts.may_see == NULL) && !host->is_peer;
	struct xreg_sight *sight;

	if (host->sight != NULL && !host->is_stale) {
		return host->sight;
	}
	if (sees_all) {
		sight = make_all(d) == 0 ? d->all : NULL;
		if (sight != NULL) {
			sight->nr_refs++;
		}
	} else {
		sight = host->sight != NULL ? patch(d, host) : choose(d, host);
		if (sight != NULL) {
			sight->hash = host->hash;
			sight = share(d, shrink(sight));
		}
	}
	if (sight != NULL) {
		xreg__sight_unref(host->sight);
		host->sight = sight;
		host->is_stale = false;
	}
	return sight;
}

void xreg__discovery_forget(struct xreg_discovery *d)
{
	struct xu_list *node;

	while ((node = xu_list_first(&d->used)) != NULL) {
		free_host(d, xu_list_entry(node, struct xreg_host_sight, use_link));
	}
	drop_all(d);
	drop_delta(d, d->nr_delta);
	free(d->seen);
	xreg_view_unref(d->view);
}
