/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery log of this node, unless its owner shows another: what a host may use of the
 * target's own subsystems, and where. Each host NQN has a sight with a change counter that moves
 * only when what that host sees has changed; one for each of our addresses that it comes by,
 * because a wildcard listener is told as that address. The counter starts at the wall clock, so
 * after a restart it is higher than before. A view is what a sight was at one time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/xnvmf/target/private.h"

/* Entries that never change; counted by the sight and by who reads them. */
struct view {
	uint32_t nr_refs;
	uint32_t nr_entries;
	uint64_t genctr;
	struct nvme_discovery_entry entries[];
};

struct xnvmf_sight {
	char hostnqn[XNVMF_NQN_MAX + 1];
	char own_address[XR_ADDRESS_SIZE];
	struct view *view; /* NULL: it has none yet */
	struct xu_list link;
};

/* ---- entries ---- */

struct builder {
	struct view *view;
	uint32_t room;
};

static struct nvme_discovery_entry *new_entry(struct builder *b)
{
	struct nvme_discovery_entry *entry;

	if (b->view == NULL || b->view->nr_entries == b->room) {
		uint32_t room = b->room != 0 ? 2 * b->room : 8;
		struct view *more = realloc(
			b->view, sizeof(*more) + room * sizeof(struct nvme_discovery_entry));

		if (more == NULL) {
			return NULL;
		}
		if (b->view == NULL) {
			*more = (struct view){.nr_refs = 1};
		}
		b->view = more;
		b->room = room;
	}
	entry = &b->view->entries[b->view->nr_entries++];
	memset(entry, 0, sizeof(*entry));
	return entry;
}

/* Where a host reaches this listener: as told by the operator, or the address itself, or, for a
 * wildcard, the address that the host has reached already. */
static const char *address_for(const struct xnvmf_listener *listener, const char *own_address)
{
	if (listener->advertise[0] != '\0') {
		return listener->advertise;
	}
	return xr_address_is_wildcard(listener->port->address) ? own_address
							       : listener->port->address;
}

void xnvmf__discovery_fill_entry(struct nvme_discovery_entry *entry,
	const struct xnvmf_listener *listener, const char *nqn, uint8_t subtype,
	const char *own_address)
{
	const char *address = address_for(listener, own_address);

	memset(entry, 0, sizeof(*entry));
	entry->trtype = listener->port->transport->trtype;
	entry->adrfam = strchr(address, ':') != NULL ? NVME_ADRFAM_IPV6 : NVME_ADRFAM_IPV4;
	entry->subtype = subtype;
	/* "Not specified" for the secure channel: libnvme before 1.5 takes "not required" for a
	 * wish for TLS. */
	entry->treq = NVME_TREQ_SQFLOW_OPTIONAL;
	entry->portid = listener->port->port_id;
	entry->cntlid = 0xffff;
	entry->asqsz = XNVMF_ADMIN_DEPTH;
	entry->eflags = subtype == NVME_SUBTYPE_CURRENT_DISCOVERY ? NVME_EFLAG_PERSISTENT : 0;
	memcpy(entry->trsvcid, listener->port->service, strlen(listener->port->service));
	memcpy(entry->subnqn, nqn, strlen(nqn));
	memcpy(entry->traddr, address, strlen(address));
}

static int add_entry(struct builder *b, const struct xnvmf_listener *listener, const char *nqn,
	uint8_t subtype, const char *own_address)
{
	struct nvme_discovery_entry *entry = new_entry(b);

	if (entry == NULL) {
		return -ENOMEM;
	}
	xnvmf__discovery_fill_entry(entry, listener, nqn, subtype, own_address);
	return 0;
}

/* True when an earlier entry of the discovery service has this listener's address already. */
static bool has_discovery_entry(const struct builder *b, const struct xnvmf_listener *listener)
{
	for (uint32_t i = 0; b->view != NULL && i < b->view->nr_entries; i++) {
		const struct nvme_discovery_entry *entry = &b->view->entries[i];

		if (entry->subtype == NVME_SUBTYPE_CURRENT_DISCOVERY &&
			entry->portid == listener->port->port_id) {
			return true;
		}
	}
	return false;
}

/* The entries of one subsystem; of the discovery subsystem, which some may reach alone, no more
 * than where it is. */
static int add_subsystem(struct builder *b, const struct xnvmf_subsystem *subsystem,
	const struct xnvmf_discovery_asker *asker)
{
	const char *discovery_nqn = subsystem->target->discovery->nqn;
	bool is_shown = !subsystem->is_discovery && !subsystem->is_removing &&
			xnvmf__subsystem_allows(subsystem, asker->hostnqn);
	struct xu_list *node;
	int rc = 0;

	xu_list_for_each (node, &subsystem->listeners) {
		struct xnvmf_listener *listener = xu_list_entry(node, struct xnvmf_listener, link);

		if (rc == 0 && !has_discovery_entry(b, listener)) {
			rc = add_entry(b, listener, discovery_nqn, NVME_SUBTYPE_CURRENT_DISCOVERY,
				asker->own_address);
		}
		if (rc == 0 && is_shown) {
			rc = add_entry(
				b, listener, subsystem->nqn, NVME_SUBTYPE_NVM, asker->own_address);
		}
	}
	return rc;
}

/* NULL: no memory. */
static struct view *build(struct xnvmf_target *target, const struct xnvmf_discovery_asker *asker)
{
	struct xnvmf_subsystem *subsystem = NULL;
	struct builder b = {0};
	int rc = add_subsystem(&b, target->discovery, asker);

	while (rc == 0 && (subsystem = xnvmf_subsystem_next(target, subsystem)) != NULL) {
		rc = add_subsystem(&b, subsystem, asker);
	}
	if (rc != 0) {
		free(b.view);
		return NULL;
	}
	if (b.view == NULL) { /* nothing to see */
		b.view = calloc(1, sizeof(*b.view));
		if (b.view != NULL) {
			b.view->nr_refs = 1;
		}
	}
	return b.view;
}

/* ---- sights ---- */

static void unref(struct view *view)
{
	if (view != NULL && --view->nr_refs == 0) {
		free(view);
	}
}

static void free_sight(struct xnvmf_target *target, struct xnvmf_sight *sight)
{
	xu_list_del(&sight->link);
	target->nr_sights--;
	unref(sight->view);
	free(sight);
}

/* The host's sight, made when it is new; the one that was used longest ago makes room. */
static struct xnvmf_sight *find_sight(
	struct xnvmf_target *target, const struct xnvmf_discovery_asker *asker)
{
	struct xnvmf_sight *sight;
	struct xu_list *node;

	xu_list_for_each (node, &target->sights) {
		sight = xu_list_entry(node, struct xnvmf_sight, link);
		if (strcmp(sight->hostnqn, asker->hostnqn) == 0 &&
			strcmp(sight->own_address, asker->own_address) == 0) {
			xu_list_del(&sight->link);
			xu_list_add_head(&target->sights, &sight->link);
			return sight;
		}
	}
	sight = calloc(1, sizeof(*sight));
	if (sight == NULL) {
		return NULL;
	}
	if (target->nr_sights == XNVMF_MAX_HOSTS) {
		free_sight(target, xu_list_entry(target->sights.prev, struct xnvmf_sight, link));
	}
	strcpy(sight->hostnqn, asker->hostnqn);
	strcpy(sight->own_address, asker->own_address);
	xu_list_add_head(&target->sights, &sight->link);
	target->nr_sights++;
	return sight;
}

/* Brings a sight up to date; it takes the view that was built. */
static void update_sight(struct xnvmf_target *target, struct xnvmf_sight *sight, struct view *view)
{
	const struct view *old = sight->view;

	if (old != NULL && old->nr_entries == view->nr_entries &&
		memcmp(old->entries, view->entries, view->nr_entries * sizeof(view->entries[0])) ==
			0) {
		free(view);
		return;
	}
	view->genctr = old != NULL ? old->genctr + 1 : target->first_genctr;
	unref(sight->view);
	sight->view = view;
}

static struct view *current_view(
	struct xnvmf_target *target, const struct xnvmf_discovery_asker *asker)
{
	struct xnvmf_sight *sight = find_sight(target, asker);
	struct view *view = sight != NULL ? build(target, asker) : NULL;

	if (view == NULL) {
		return NULL;
	}
	update_sight(target, sight, view);
	return sight->view;
}

void xnvmf__discovery_node_fini(struct xnvmf_target *target)
{
	struct xu_list *node;

	while ((node = xu_list_first(&target->sights)) != NULL) {
		free_sight(target, xu_list_entry(node, struct xnvmf_sight, link));
	}
}

/* ---- the implementation's table ---- */

static void *node_pin(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct view *view = current_view(arg, asker);

	if (view != NULL) {
		view->nr_refs++;
	}
	return view;
}

static void node_unpin(void *arg, void *view)
{
	unref(view);
}

static void node_describe(const void *arg, struct xnvmf_discovery_info *ret_info)
{
	const struct view *view = arg;

	*ret_info = (struct xnvmf_discovery_info){.genctr = view->genctr,
		.nr_entries = view->nr_entries,
		.entry_bytes = sizeof(view->entries[0])};
}

static void node_render(const void *arg, uint32_t first, uint32_t count, void *buf)
{
	const struct view *view = arg;

	memcpy(buf, &view->entries[first], count * sizeof(view->entries[0]));
}

static uint64_t node_genctr(void *arg, const struct xnvmf_discovery_asker *asker)
{
	const struct view *view = current_view(arg, asker);

	return view != NULL ? view->genctr : 0;
}

const struct xnvmf_discovery_ops xnvmf__discovery_node = {
	.log = {.pin = node_pin,
		.unpin = node_unpin,
		.describe = node_describe,
		.render = node_render,
		.genctr = node_genctr},
};
