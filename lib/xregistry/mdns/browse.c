/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is seen. A browser tells of instances that come and go; each has a resolver, which stays, so
 * that a changed port, address or TXT record is heard too. When everything that was there has been
 * resolved, or has not answered for long, the picture is settled; from then on each change is
 * handed on, many at a time as one. While there is no daemon the last settled picture stays:
 * silence is no good-bye.
 */
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/ddc.h"
#include "lib/xregistry/mdns/mdns_private.h"

#define SETTLE_RESOLVE_MS 3000u  /* for addresses, when all names are known */
#define SETTLE_MS         10000u /* then the picture counts as whole anyway */
#define GATHER_MS         200u   /* changes that come together are one */
#define RETRY_MS          10000u /* to resolve again what could not be */
#define REBROWSE_MS       60000u /* to look again for what there was no room for */

/* ---- items ---- */

static struct xreg__mdns_item *find_item(struct xreg_mdns *mdns, AvahiIfIndex interface,
	AvahiProtocol protocol, const char *name, const char *type, const char *domain)
{
	for (uint32_t i = 0; i < XREG_MDNS_SERVICES_MAX; i++) {
		struct xreg__mdns_item *item = &mdns->items[i];

		if (item->is_used && item->interface == interface && item->protocol == protocol &&
			strcmp(item->name, name) == 0 && strcmp(item->type, type) == 0 &&
			strcmp(item->domain, domain) == 0) {
			return item;
		}
	}
	return NULL;
}

static struct xreg__mdns_item *free_item(struct xreg_mdns *mdns)
{
	for (uint32_t i = 0; i < XREG_MDNS_SERVICES_MAX; i++) {
		if (!mdns->items[i].is_used) {
			return &mdns->items[i];
		}
	}
	return NULL;
}

static void drop_item(struct xreg__mdns_item *item)
{
	if (item->resolver != NULL) {
		avahi_service_resolver_free(item->resolver);
	}
	memset(item, 0, sizeof(*item));
}

bool xreg__mdns_is_taken(const struct xreg_mdns *mdns, const char *name)
{
	for (uint32_t i = 0; i < XREG_MDNS_SERVICES_MAX; i++) {
		if (mdns->items[i].is_used && strcmp(mdns->items[i].name, name) == 0) {
			return true;
		}
	}
	return false;
}

/* ---- resolving ---- */

static bool is_loopback_interface(AvahiIfIndex index)
{
	char name[IF_NAMESIZE];
	struct ifaddrs *list, *at;
	bool is_loopback = false;

	if (index < 0 || if_indextoname((unsigned int)index, name) == NULL ||
		getifaddrs(&list) != 0) {
		return false;
	}
	for (at = list; at != NULL && !is_loopback; at = at->ifa_next) {
		is_loopback =
			strcmp(at->ifa_name, name) == 0 && (at->ifa_flags & IFF_LOOPBACK) != 0;
	}
	freeifaddrs(list);
	return is_loopback;
}

static void take_answer(struct xreg__mdns_item *item, const char *host, const AvahiAddress *address,
	uint16_t port, AvahiStringList *strings)
{
	char text[AVAHI_ADDRESS_STR_MAX] = "";
	struct xreg__mdns_txt txt = {0};
	const struct xreg__mdns_seen seen = {.name = item->name,
		.host = host != NULL ? host : "",
		.address = text,
		.port = port,
		.is_loopback = item->mdns->opts.is_local && is_loopback_interface(item->interface),
		.txt = &txt};
	struct xu_error err = {0};

	if (address != NULL) {
		avahi_address_snprint(text, sizeof(text), address);
	}
	for (; strings != NULL; strings = avahi_string_list_get_next(strings)) {
		xreg__mdns_txt_add(&txt, avahi_string_list_get_text(strings),
			avahi_string_list_get_size(strings));
	}
	item->is_good = xreg__mdns_judge(&seen, &item->service, &err) == 0;
	if (!item->is_good) {
		xreg__mdns_say(item->mdns, XU_LOG_DEBUG, "mDNS: '%s' is left alone: %s", item->name,
			err.text);
	}
}

static void on_resolve(AvahiServiceResolver *resolver, AvahiIfIndex interface,
	AvahiProtocol protocol, AvahiResolverEvent event, const char *name, const char *type,
	const char *domain, const char *host, const AvahiAddress *address, uint16_t port,
	AvahiStringList *txt, AvahiLookupResultFlags flags, void *arg)
{
	struct xreg__mdns_item *item = arg;

	item->is_waiting = false;
	item->mdns->is_dirty = true;
	if (event == AVAHI_RESOLVER_FOUND) {
		take_answer(item, host, address, port, txt);
		return;
	}
	/* What it said before stays: whether it is gone is for the browser to say. */
	xreg__mdns_say(item->mdns, XU_LOG_DEBUG, "mDNS: '%s' does not say where it is: %s",
		item->name, avahi_strerror(avahi_client_errno(item->mdns->client)));
	item->retry_ms = xreg__mdns_now_ms() + RETRY_MS;
}

static void resolve(struct xreg__mdns_item *item, uint64_t now_ms)
{
	if (item->resolver != NULL) {
		avahi_service_resolver_free(item->resolver);
	}
	item->retry_ms = 0;
	item->resolver =
		avahi_service_resolver_new(item->mdns->client, item->interface, item->protocol,
			item->name, item->type, item->domain, item->protocol, 0, on_resolve, item);
	if (item->resolver == NULL) {
		item->is_waiting = false;
		item->retry_ms = now_ms + RETRY_MS;
	}
}

/* ---- browsing ---- */

static void add_item(struct xreg_mdns *mdns, AvahiIfIndex interface, AvahiProtocol protocol,
	const char *name, const char *type, const char *domain)
{
	struct xreg__mdns_item *item = find_item(mdns, interface, protocol, name, type, domain);

	if (item != NULL || strlen(name) >= sizeof(item->name) ||
		strlen(type) >= sizeof(item->type) || strlen(domain) >= sizeof(item->domain)) {
		return;
	}
	item = free_item(mdns);
	if (item == NULL) {
		mdns->nr_dropped++;
		return;
	}
	*item = (struct xreg__mdns_item){.mdns = mdns,
		.is_used = true,
		.interface = interface,
		.protocol = protocol,
		.retry_ms = 1, /* in the next turn */
		.is_waiting = true};
	snprintf(item->name, sizeof(item->name), "%s", name);
	snprintf(item->type, sizeof(item->type), "%s", type);
	snprintf(item->domain, sizeof(item->domain), "%s", domain);
}

static void on_browse(AvahiServiceBrowser *browser, AvahiIfIndex interface, AvahiProtocol protocol,
	AvahiBrowserEvent event, const char *name, const char *type, const char *domain,
	AvahiLookupResultFlags flags, void *arg)
{
	struct xreg_mdns *mdns = arg;
	struct xreg__mdns_item *item;

	switch (event) {
	case AVAHI_BROWSER_NEW:
		if ((flags & AVAHI_LOOKUP_RESULT_OUR_OWN) == 0) {
			add_item(mdns, interface, protocol, name, type, domain);
		}
		break;
	case AVAHI_BROWSER_REMOVE:
		item = find_item(mdns, interface, protocol, name, type, domain);
		if (item != NULL) {
			drop_item(item);
		} else if (mdns->nr_dropped != 0) {
			mdns->nr_dropped--;
		}
		mdns->is_dirty = true;
		break;
	case AVAHI_BROWSER_ALL_FOR_NOW:
		if (!mdns->has_all && mdns->settle_ms > xreg__mdns_now_ms() + SETTLE_RESOLVE_MS) {
			mdns->settle_ms = xreg__mdns_now_ms() + SETTLE_RESOLVE_MS;
		}
		mdns->has_all = true;
		break;
	case AVAHI_BROWSER_FAILURE:
		xreg__mdns_break(mdns, "looking for " XREG__MDNS_TYPE);
		break;
	default:
		break;
	}
}

static void set_looking(struct xreg_mdns *mdns)
{
	struct xreg__mdns_shared *shared = &mdns->shared;

	pthread_mutex_lock(&shared->mutex);
	if (shared->phase != XREG__MDNS_STOPPED && shared->phase != XREG__MDNS_IDLE) {
		shared->phase = XREG__MDNS_LOOKING;
	}
	pthread_mutex_unlock(&shared->mutex);
}

void xreg__mdns_browse_begin(struct xreg_mdns *mdns)
{
	if (mdns->task.look == 0 || mdns->browser != NULL) {
		return;
	}
	mdns->has_all = mdns->is_settled = mdns->is_dirty = false;
	mdns->nr_dropped = 0;
	mdns->collect_ms = 0;
	mdns->settle_ms = xreg__mdns_now_ms() + SETTLE_MS;
	mdns->rebrowse_ms = xreg__mdns_now_ms() + REBROWSE_MS;
	set_looking(mdns);
	mdns->browser = avahi_service_browser_new(mdns->client, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC,
		XREG__MDNS_TYPE, NULL, 0, on_browse, mdns);
	if (mdns->browser == NULL) {
		xreg__mdns_break(mdns, "looking for " XREG__MDNS_TYPE);
	}
}

void xreg__mdns_browse_end(struct xreg_mdns *mdns)
{
	if (mdns->browser != NULL) {
		avahi_service_browser_free(mdns->browser);
		mdns->browser = NULL;
	}
	for (uint32_t i = 0; i < XREG_MDNS_SERVICES_MAX; i++) {
		drop_item(&mdns->items[i]);
	}
}

/* ---- handing on ---- */

static bool is_same_place(const struct xreg_ddc *a, const struct xreg_ddc *b)
{
	return a->port == b->port && strcmp(a->address, b->address) == 0;
}

static bool is_same_target(const struct xreg__mdns_service *a, const struct xreg__mdns_service *b)
{
	return is_same_place(&a->ddc, &b->ddc) && strcmp(a->subnqn, b->subnqn) == 0;
}

struct picture {
	uint32_t nr_ddcs, nr_targets, nr_services, nr_ignored;
};

/* Several interfaces and protocols show the same one: it counts once. */
static void add_target(
	struct xreg_mdns *mdns, struct picture *picture, const struct xreg__mdns_service *service)
{
	for (uint32_t i = 0; i < picture->nr_targets; i++) {
		if (is_same_target(&mdns->services[i], service)) {
			return;
		}
	}
	mdns->services[picture->nr_targets++] = *service;
}

static void add_ddc(struct xreg_mdns *mdns, struct picture *picture, const struct xreg_ddc *ddc)
{
	for (uint32_t i = 0; i < picture->nr_ddcs; i++) {
		if (is_same_place(&mdns->ddcs[i], ddc)) {
			return;
		}
	}
	mdns->ddcs[picture->nr_ddcs++] = *ddc;
}

/* Fills mdns->ddcs and mdns->services with what there is now, this registry left out. */
static void collect(struct xreg_mdns *mdns, struct picture *picture)
{
	for (uint32_t i = 0; i < XREG_MDNS_SERVICES_MAX; i++) {
		const struct xreg__mdns_item *item = &mdns->items[i];

		if (!item->is_used) {
			continue;
		}
		picture->nr_services++;
		if (!item->is_good) {
			picture->nr_ignored++;
			continue;
		}
		if (mdns->nqn[0] != '\0' && strcmp(item->service.ddc.nqn, mdns->nqn) == 0) {
			picture->nr_services--;
			continue;
		}
		if (item->service.is_ddc) {
			add_ddc(mdns, picture, &item->service.ddc);
		}
		if (item->service.is_target) {
			add_target(mdns, picture, &item->service);
		}
	}
	picture->nr_ignored += mdns->nr_dropped;
	picture->nr_services += mdns->nr_dropped;
}

static void hand_on(struct xreg_mdns *mdns)
{
	struct xreg__mdns_shared *shared = &mdns->shared;
	struct picture picture = {0};

	collect(mdns, &picture);
	pthread_mutex_lock(&shared->mutex);
	if (shared->phase == XREG__MDNS_LOOKING || shared->phase == XREG__MDNS_SETTLED) {
		memcpy(shared->targets, mdns->services,
			picture.nr_targets * sizeof(*shared->targets));
		shared->nr_targets = picture.nr_targets;
		shared->nr_services = picture.nr_services;
		shared->nr_ignored = picture.nr_ignored;
	}
	if (shared->phase == XREG__MDNS_LOOKING) {
		shared->phase = XREG__MDNS_SETTLED;
		shared->problem[0] = '\0';
		pthread_cond_broadcast(&shared->has_settled);
	}
	pthread_mutex_unlock(&shared->mutex);
	pthread_mutex_lock(&mdns->out_mutex);
	if (!mdns->must_stop && mdns->asked.look == mdns->task.look) {
		xreg_ddcs_replace(mdns->opts.ddcs, XREG_DDC_MDNS, mdns->ddcs, picture.nr_ddcs);
		if (mdns->opts.changed != NULL) {
			mdns->opts.changed(mdns->opts.arg);
		}
	}
	pthread_mutex_unlock(&mdns->out_mutex);
}

/* Resolves what is new or is to be tried again; returns when the next one is. */
static uint64_t resolve_all(struct xreg_mdns *mdns, uint64_t now_ms, bool *ret_is_waiting)
{
	uint64_t next_ms = UINT64_MAX;

	*ret_is_waiting = false;
	for (uint32_t i = 0; i < XREG_MDNS_SERVICES_MAX; i++) {
		struct xreg__mdns_item *item = &mdns->items[i];

		if (item->is_used && item->retry_ms != 0 && item->retry_ms <= now_ms) {
			resolve(item, now_ms);
		}
		if (item->is_used && item->retry_ms != 0 && item->retry_ms < next_ms) {
			next_ms = item->retry_ms;
		}
		*ret_is_waiting |= item->is_used && item->is_waiting;
	}
	return next_ms;
}

static void look_again(struct xreg_mdns *mdns)
{
	xreg__mdns_browse_end(mdns);
	xreg__mdns_browse_begin(mdns);
}

uint64_t xreg__mdns_browse_turn(struct xreg_mdns *mdns, uint64_t now_ms)
{
	bool is_waiting;
	uint64_t next_ms;

	if (mdns->browser == NULL) {
		return UINT64_MAX;
	}
	if (mdns->nr_dropped != 0 && now_ms >= mdns->rebrowse_ms && free_item(mdns) != NULL) {
		look_again(mdns);
	}
	next_ms = resolve_all(mdns, now_ms, &is_waiting);
	if (!mdns->is_settled) {
		if ((!mdns->has_all || is_waiting) && now_ms < mdns->settle_ms) {
			return mdns->settle_ms < next_ms ? mdns->settle_ms : next_ms;
		}
		mdns->is_settled = mdns->is_dirty = true;
		mdns->collect_ms = now_ms;
	}
	if (mdns->is_dirty) {
		mdns->is_dirty = false;
		mdns->collect_ms = mdns->collect_ms != 0 ? mdns->collect_ms : now_ms + GATHER_MS;
	}
	if (mdns->collect_ms != 0 && mdns->collect_ms <= now_ms) {
		mdns->collect_ms = 0;
		hand_on(mdns);
	}
	return mdns->collect_ms != 0 && mdns->collect_ms < next_ms ? mdns->collect_ms : next_ms;
}
