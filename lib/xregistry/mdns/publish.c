/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is announced: this registry's discovery controller, as one of the central kind too. It is
 * announced where it listens: under the machine's own name when that is everywhere, else under a
 * name that means that one address. A name that somebody else has is given a number: what others
 * are called is looked at first, because Avahi's own probing misses who has just answered somebody
 * else (an answer is not sent again so soon), and the two would share the name for good. A machine
 * whose own name is being settled has its services withdrawn by the rules (RFC 6762, 9), and
 * announced again. What fails is tried again after a while.
 */
#include <avahi-common/alternative.h>
#include <avahi-common/domain.h>
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/hash.h"
#include "lib/util/log.h"
#include "lib/xregistry/mdns/mdns_private.h"

#define RETRY_MS    10000u
#define RENAMED_MAX 100u /* names in a row that others had; then it waits */

static void set_published(struct xreg_mdns *mdns, bool is_published)
{
	pthread_mutex_lock(&mdns->shared.mutex);
	mdns->shared.is_published = is_published;
	memcpy(mdns->shared.published, mdns->name, sizeof(mdns->name));
	pthread_mutex_unlock(&mdns->shared.mutex);
}

/* ---- names ---- */

static void choose_name(struct xreg_mdns *mdns)
{
	const char *host = avahi_client_get_host_name(mdns->client);

	if (mdns->name[0] == '\0') {
		snprintf(mdns->name, sizeof(mdns->name), "xsan-registry %.40s",
			host != NULL ? host : "");
	}
}

static void rename_service(struct xreg_mdns *mdns)
{
	char *other = avahi_alternative_service_name(mdns->name);

	if (other != NULL) {
		snprintf(mdns->name, sizeof(mdns->name), "%s", other);
		avahi_free(other);
	}
	mdns->nr_renamed++;
	mdns->publish_ms = mdns->nr_renamed % RENAMED_MAX != 0 ? 1 : xreg__mdns_now_ms() + RETRY_MS;
}

/* Until what is there has been seen as a whole nobody knows which names are free. */
static bool knows_others(const struct xreg_mdns *mdns)
{
	return mdns->browser == NULL || mdns->is_settled;
}

/* A name of this service alone; the same at the next start. */
static void choose_host(struct xreg_mdns *mdns)
{
	const char *domain = avahi_client_get_domain_name(mdns->client);

	snprintf(mdns->host, sizeof(mdns->host), "xsan-registry-%08x.%.200s",
		xu_hash32(mdns->nqn, strlen(mdns->nqn)), domain != NULL ? domain : "local");
}

/* The interface that has the address it listens on; any when none has it. */
static AvahiIfIndex find_interface(const char *address)
{
	unsigned int index = xr_address_interface(address);

	return index != 0 ? (AvahiIfIndex)index : AVAHI_IF_UNSPEC;
}

/* ---- the group ---- */

static void on_group(AvahiEntryGroup *group, AvahiEntryGroupState state, void *arg)
{
	struct xreg_mdns *mdns = arg;

	mdns->group = group;
	switch (state) {
	case AVAHI_ENTRY_GROUP_ESTABLISHED:
		mdns->nr_renamed = 0;
		set_published(mdns, true);
		xreg__mdns_say(mdns, XU_LOG_INFO, "mDNS: announced as '%s'", mdns->name);
		break;
	case AVAHI_ENTRY_GROUP_COLLISION:
		set_published(mdns, false);
		xreg__mdns_say(
			mdns, XU_LOG_INFO, "mDNS: another service is called '%s'", mdns->name);
		rename_service(mdns);
		break;
	case AVAHI_ENTRY_GROUP_FAILURE:
		set_published(mdns, false);
		xreg__mdns_say(mdns, XU_LOG_WARN, "mDNS: '%s' is not announced: %s", mdns->name,
			avahi_strerror(avahi_client_errno(mdns->client)));
		mdns->publish_ms = xreg__mdns_now_ms() + RETRY_MS;
		break;
	default:
		break;
	}
}

/* Adds what is to be announced. An error of Avahi's, or 0. */
static int fill(struct xreg_mdns *mdns)
{
	const bool is_everywhere = xr_address_is_wildcard(mdns->address),
		   is_v6 = strchr(mdns->address, ':') != NULL;
	/* Who listens on 0.0.0.0 is not reached over IPv6, :: is that alone, and who asks for the
	 * IPv6 address of what has none waits in vain. */
	const AvahiProtocol protocol = is_v6 ? AVAHI_PROTO_INET6 : AVAHI_PROTO_INET;
	AvahiIfIndex interface = AVAHI_IF_UNSPEC;
	const char *host = NULL;
	AvahiAddress address;
	char nqn[sizeof(mdns->nqn) + 4];
	int code = 0;

	if (!is_everywhere) {
		choose_host(mdns);
		host = mdns->host;
		interface = find_interface(mdns->address);
		avahi_address_parse(mdns->address, AVAHI_PROTO_UNSPEC, &address);
		code = avahi_entry_group_add_address(
			mdns->group, interface, protocol, AVAHI_PUBLISH_NO_REVERSE, host, &address);
	}
	snprintf(nqn, sizeof(nqn), "nqn=%s", mdns->nqn);
	code = code != 0 ? code
			 : avahi_entry_group_add_service(mdns->group, interface, protocol, 0,
				   mdns->name, XREG__MDNS_TYPE, NULL, host, mdns->opts.port,
				   "p=tcp", nqn, NULL);
	return code != 0 ? code
			 : avahi_entry_group_add_service_subtype(mdns->group, interface, protocol,
				   0, mdns->name, XREG__MDNS_TYPE, NULL, XREG__MDNS_SUBTYPE);
}

static void publish(struct xreg_mdns *mdns)
{
	int code = 0;

	mdns->publish_ms = 0;
	choose_name(mdns);
	if (xreg__mdns_is_taken(mdns, mdns->name)) {
		xreg__mdns_say(
			mdns, XU_LOG_INFO, "mDNS: another service is called '%s'", mdns->name);
		rename_service(mdns);
		return;
	}
	if (mdns->group == NULL) {
		mdns->group = avahi_entry_group_new(mdns->client, on_group, mdns);
	} else {
		code = avahi_entry_group_reset(mdns->group);
	}
	if (mdns->group == NULL) {
		code = avahi_client_errno(mdns->client);
	}
	code = code != 0 ? code : fill(mdns);
	code = code != 0 ? code : avahi_entry_group_commit(mdns->group);
	if (code == AVAHI_ERR_COLLISION) {
		rename_service(mdns);
	} else if (code != 0) {
		xreg__mdns_say(mdns, XU_LOG_WARN, "mDNS: '%s' is not announced: %s", mdns->name,
			avahi_strerror(code));
		mdns->publish_ms = xreg__mdns_now_ms() + RETRY_MS;
	}
}

/* ---- for the thread ---- */

void xreg__mdns_publish_state(struct xreg_mdns *mdns, AvahiClientState state)
{
	if (!mdns->task.is_published) {
		return;
	}
	if (state == AVAHI_CLIENT_S_RUNNING) {
		mdns->publish_ms = 1;
		return;
	}
	/* The machine's name is being settled; it will be running again. */
	mdns->publish_ms = 0;
	set_published(mdns, false);
	if (mdns->group != NULL) {
		avahi_entry_group_reset(mdns->group);
	}
}

uint64_t xreg__mdns_publish_turn(struct xreg_mdns *mdns, uint64_t now_ms)
{
	if (!knows_others(mdns)) {
		return UINT64_MAX; /* the browser's turn comes before */
	}
	if (mdns->publish_ms != 0 && mdns->publish_ms <= now_ms) {
		publish(mdns);
	}
	return mdns->publish_ms != 0 ? mdns->publish_ms : UINT64_MAX;
}

void xreg__mdns_publish_end(struct xreg_mdns *mdns)
{
	mdns->publish_ms = 0;
	set_published(mdns, false);
	if (mdns->group != NULL) {
		avahi_entry_group_free(mdns->group);
		mdns->group = NULL;
	}
}
