/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery log (page 70h) of this node: what a host may use, and where. Each host NQN has a
 * view with a change counter that moves only when what that host sees has changed; one for each of
 * our addresses that it comes by, because a wildcard listener is told as that address. The counter
 * starts at the wall clock, so after a restart it is higher than before. A change is told to the
 * persistent discovery controllers whose view it changes, a tenth of a second after the first of a
 * burst.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/crc32c.h"
#include "lib/xnvmf/target/private.h"

#define CHANGE_DELAY_NS (100 * XU_NS_PER_MS)

struct xnvmf_view {
	char hostnqn[XNVMF_NQN_MAX + 1];
	char own_address[XR_ADDRESS_SIZE];
	uint8_t *entries;
	size_t bytes;
	uint64_t genctr;
	struct xu_list link;
};

/* ---- entries ---- */

struct builder {
	struct nvme_discovery_entry *entries;
	uint32_t count, room;
};

static struct nvme_discovery_entry *new_entry(struct builder *b)
{
	struct nvme_discovery_entry *entry;

	if (b->count == b->room) {
		uint32_t room = b->room != 0 ? 2 * b->room : 8;
		struct nvme_discovery_entry *more = realloc(b->entries, room * sizeof(*b->entries));

		if (more == NULL) {
			return NULL;
		}
		b->entries = more;
		b->room = room;
	}
	entry = &b->entries[b->count++];
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

static int add_entry(struct builder *b, const struct xnvmf_listener *listener, const char *nqn,
	uint8_t subtype, const char *own_address)
{
	const char *address = address_for(listener, own_address);
	struct nvme_discovery_entry *entry = new_entry(b);

	if (entry == NULL) {
		return -ENOMEM;
	}
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
	return 0;
}

/* True when an earlier entry of the discovery service has this listener's address already. */
static bool has_discovery_entry(const struct builder *b, const struct xnvmf_listener *listener)
{
	for (uint32_t i = 0; i < b->count; i++) {
		if (b->entries[i].subtype == NVME_SUBTYPE_CURRENT_DISCOVERY &&
			b->entries[i].portid == listener->port->port_id) {
			return true;
		}
	}
	return false;
}

static int build(struct builder *b, struct xnvmf_ctrl *ctrl, const char *own_address)
{
	struct xnvmf_target *target = ctrl->subsystem->target;
	struct xnvmf_subsystem *subsystem = NULL;
	struct xu_list *node;
	int rc = 0;

	while ((subsystem = xnvmf_subsystem_next(target, subsystem)) != NULL) {
		xu_list_for_each (node, &subsystem->listeners) {
			struct xnvmf_listener *listener =
				xu_list_entry(node, struct xnvmf_listener, link);

			if (rc == 0 && !has_discovery_entry(b, listener)) {
				rc = add_entry(b, listener, XNVMF_DISCOVERY_NQN,
					NVME_SUBTYPE_CURRENT_DISCOVERY, own_address);
			}
			if (rc == 0 && !subsystem->is_removing &&
				xnvmf__subsystem_allows(subsystem, ctrl->hostnqn)) {
				rc = add_entry(
					b, listener, subsystem->nqn, NVME_SUBTYPE_NVM, own_address);
			}
		}
	}
	return rc;
}

/* ---- views ---- */

static void free_view(struct xnvmf_target *target, struct xnvmf_view *view)
{
	xu_list_del(&view->link);
	target->nr_views--;
	free(view->entries);
	free(view);
}

/* The host's view, made when it is new; the one that was used longest ago makes room. */
static struct xnvmf_view *find_view(
	struct xnvmf_target *target, const char *hostnqn, const char *own_address)
{
	struct xnvmf_view *view;
	struct xu_list *node;

	xu_list_for_each (node, &target->views) {
		view = xu_list_entry(node, struct xnvmf_view, link);
		if (strcmp(view->hostnqn, hostnqn) == 0 &&
			strcmp(view->own_address, own_address) == 0) {
			xu_list_del(&view->link);
			xu_list_add_head(&target->views, &view->link);
			return view;
		}
	}
	view = calloc(1, sizeof(*view));
	if (view == NULL) {
		return NULL;
	}
	if (target->nr_views == XNVMF_MAX_HOSTS) {
		free_view(target, xu_list_entry(target->views.prev, struct xnvmf_view, link));
	}
	strcpy(view->hostnqn, hostnqn);
	strcpy(view->own_address, own_address);
	view->genctr = target->first_genctr;
	xu_list_add_head(&target->views, &view->link);
	target->nr_views++;
	return view;
}

/* Brings a host's view up to date; it takes the entries that were built. */
static void update_view(struct xnvmf_view *view, struct builder *b)
{
	size_t bytes = b->count * sizeof(*b->entries);

	if (view->entries != NULL && bytes == view->bytes &&
		(bytes == 0 || memcmp(view->entries, b->entries, bytes) == 0)) {
		free(b->entries);
		return;
	}
	if (view->entries != NULL) {
		view->genctr++;
	}
	free(view->entries);
	view->entries = b->entries != NULL ? (uint8_t *)b->entries : calloc(1, 1);
	view->bytes = bytes;
}

static struct xnvmf_view *current_view(struct xnvmf_ctrl *ctrl)
{
	char own_address[XR_ADDRESS_SIZE] = "";
	struct xnvmf_view *view;
	struct builder b = {0};
	uint16_t port;

	if (ctrl->admin != NULL) {
		ctrl->admin->transport->address(ctrl->admin, false, own_address, &port);
	}
	view = find_view(ctrl->subsystem->target, ctrl->hostnqn, own_address);
	if (view == NULL) {
		return NULL;
	}
	if (build(&b, ctrl, own_address) != 0) {
		free(b.entries);
		return NULL;
	}
	update_view(view, &b);
	return view;
}

int xnvmf__discovery_pin(struct xnvmf_ctrl *ctrl)
{
	struct xnvmf_view *view = current_view(ctrl);
	struct nvme_discovery_header *header;
	uint8_t *log;

	if (view == NULL) {
		return -ENOMEM;
	}
	log = calloc(1, sizeof(*header) + view->bytes);
	if (log == NULL) {
		return -ENOMEM;
	}
	header = (struct nvme_discovery_header *)log;
	header->genctr = view->genctr;
	header->numrec = view->bytes / sizeof(struct nvme_discovery_entry);
	memcpy(log + sizeof(*header), view->entries, view->bytes);
	free(ctrl->log);
	ctrl->log = log;
	ctrl->log_bytes = sizeof(*header) + view->bytes;
	ctrl->told_genctr = view->genctr;
	return 0;
}

/* ---- changes ---- */

static void on_change_timer(struct xr_timer *timer)
{
	struct xnvmf_target *target = xu_container_of(timer, struct xnvmf_target, change_timer);
	struct xu_list *node, *next;

	if (target->discovery == NULL) {
		return;
	}
	xu_list_for_each_safe (node, next, &target->discovery->ctrls) {
		struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);
		struct xnvmf_view *view = ctrl->is_dead ? NULL : current_view(ctrl);

		if (view != NULL && view->genctr != ctrl->told_genctr) {
			ctrl->told_genctr = view->genctr;
			xnvmf__ctrl_discovery_changed(ctrl);
		}
	}
}

void xnvmf__discovery_changed(struct xnvmf_target *target)
{
	target->change_timer.fn = on_change_timer;
	if (!target->is_stopping && !xr_timer_is_running(&target->change_timer)) {
		xr_timer_start(xnvmf__control(target), &target->change_timer, CHANGE_DELAY_NS);
	}
}

void xnvmf__discovery_fini(struct xnvmf_target *target)
{
	struct xu_list *node;

	xr_timer_stop(xnvmf__control(target), &target->change_timer);
	while ((node = xu_list_first(&target->views)) != NULL) {
		free_view(target, xu_list_entry(node, struct xnvmf_view, link));
	}
}
