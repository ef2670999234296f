/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list is an array under a mutex: a thousand entries are searched in less time than a
 * connection to one of them takes. Each entry has the NQN that each source said, and leaves with
 * its last source. Watchers have a mutex of their own, held while they are called, so that
 * unwatching waits for a call; the list's is not held then.
 */
#include "lib/xregistry/ddc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xnvmf/target/target.h"

struct entry {
	struct xreg_ddc ddc; /* its NQN is that of the first source that says one */
	char nqns[XREG_DDC_NR_SOURCES][XNVMF_NQN_MAX + 1];
};

struct watcher {
	void (*changed)(void *arg);
	void *arg;
};

struct xreg_ddcs {
	pthread_mutex_t mutex; /* of all but the watchers */
	struct entry *entries;
	uint32_t count;
	uint64_t revision;
	struct xreg_ddc own; /* port 0: not known */

	pthread_mutex_t watch_mutex; /* taken without the other one, which may be taken then */
	struct watcher watchers[XREG_DDC_WATCHERS];
};

/* ---- checking ---- */

/* Why an address cannot be told to others; NULL: it can. An IPv4 address that was written as an
 * IPv6 one becomes what it is. */
static const char *judge_address(struct sockaddr_storage *addr)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *v4 = (struct sockaddr_in *)addr;
	uint32_t number;

	if (addr->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		memcpy(&number, &v6->sin6_addr.s6_addr[12], sizeof(number));
		memset(addr, 0, sizeof(*addr));
		v4->sin_family = AF_INET;
		v4->sin_addr.s_addr = number;
	}
	if (addr->ss_family == AF_INET) {
		number = ntohl(v4->sin_addr.s_addr);
		return number >> 24 == 0                            ? "stands for every address"
		       : number >> 28 == 14 || number == UINT32_MAX ? "stands for many machines"
		       : number >> 16 == 0xa9fe ? "is link-local, another machine on each network"
						: NULL;
	}
	return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ? "stands for every address"
	       : IN6_IS_ADDR_MULTICAST(&v6->sin6_addr) ? "stands for many machines"
	       : IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)
		       ? "is link-local, another machine on each network"
		       : NULL;
}

int xreg_ddc_make(const char *address, uint32_t port, const char *nqn, struct xreg_ddc *ret_ddc,
	struct xu_error *err)
{
	struct xreg_ddc ddc = {.port = (uint16_t)port};
	struct sockaddr_storage addr;
	const char *why;
	uint16_t none;

	if (xr_address_parse(address, 0, &addr) < 0) {
		return xu_error_set(err, -EINVAL,
			"address: '%.64s' is no numeric IPv4 or IPv6 address", address);
	}
	why = judge_address(&addr);
	if (why != NULL) {
		return xu_error_set(err, -EINVAL,
			"address: '%.64s' %s; give the one that others reach", address, why);
	}
	if (port == 0 || port > UINT16_MAX) {
		return xu_error_set(
			err, -EINVAL, "port: %u is none, 1 to 65535 are accepted", port);
	}
	if (nqn != NULL && nqn[0] != '\0' && strcmp(nqn, XNVMF_DISCOVERY_NQN) != 0) {
		if (xnvmf_nqn_check(nqn, err) != 0) {
			return -EINVAL;
		}
		snprintf(ddc.nqn, sizeof(ddc.nqn), "%s", nqn);
	}
	xr_address_format(&addr, ddc.address, &none);
	*ret_ddc = ddc;
	return 0;
}

/* ---- this registry itself ---- */

static bool is_of_this_machine(const char *address)
{
	return xr_address_is_loopback(address) || xr_address_interface(address) != 0;
}

static bool is_own(const struct xreg_ddcs *ddcs, const struct xreg_ddc *ddc)
{
	const struct xreg_ddc *own = &ddcs->own;

	if (own->nqn[0] != '\0' && strcmp(own->nqn, ddc->nqn) == 0) {
		return true;
	}
	return own->port != 0 && own->port == ddc->port &&
	       (strcmp(own->address, ddc->address) == 0 ||
		       (xr_address_is_wildcard(own->address) && is_of_this_machine(ddc->address)));
}

/* ---- the list; with the mutex ---- */

static struct entry *find(struct xreg_ddcs *ddcs, const struct xreg_ddc *ddc)
{
	for (uint32_t i = 0; i < ddcs->count; i++) {
		struct xreg_ddc *known = &ddcs->entries[i].ddc;

		if (known->port == ddc->port && strcmp(known->address, ddc->address) == 0) {
			return &ddcs->entries[i];
		}
	}
	return NULL;
}

/* Takes the NQN anew from what the sources say. True: it has changed. */
static bool choose_nqn(struct entry *entry)
{
	char before[sizeof(entry->ddc.nqn)];

	memcpy(before, entry->ddc.nqn, sizeof(before));
	entry->ddc.nqn[0] = '\0';
	for (uint32_t i = 0; i < XREG_DDC_NR_SOURCES && entry->ddc.nqn[0] == '\0'; i++) {
		memcpy(entry->ddc.nqn, entry->nqns[i], sizeof(before));
	}
	return strcmp(before, entry->ddc.nqn) != 0;
}

static int add(struct xreg_ddcs *ddcs, enum xreg_ddc_source source, const struct xreg_ddc *ddc,
	bool *has_changed)
{
	const uint32_t bit = 1u << source;
	struct entry *entry;

	if (is_own(ddcs, ddc)) {
		return -ELOOP;
	}
	entry = find(ddcs, ddc);
	if (entry == NULL) {
		if (ddcs->count == XREG_DDCS_MAX) {
			return -ENOSPC;
		}
		entry = &ddcs->entries[ddcs->count++];
		memset(entry, 0, sizeof(*entry));
		entry->ddc = *ddc;
		entry->ddc.nqn[0] = '\0';
		entry->ddc.sources = 0;
	}
	*has_changed |= (entry->ddc.sources & bit) == 0;
	entry->ddc.sources |= bit;
	memcpy(entry->nqns[source], ddc->nqn, sizeof(ddc->nqn));
	*has_changed |= choose_nqn(entry);
	return 0;
}

/* Takes what a source says of an entry from it, and an entry without a source from the list. */
static void forget(struct xreg_ddcs *ddcs, enum xreg_ddc_source source, struct entry *entry)
{
	entry->ddc.sources &= ~(1u << source);
	entry->nqns[source][0] = '\0';
	choose_nqn(entry);
	if (entry->ddc.sources == 0) {
		*entry = ddcs->entries[--ddcs->count];
	}
}

static bool names(const struct xreg_ddc *list, uint32_t count, const struct xreg_ddc *ddc)
{
	for (uint32_t i = 0; i < count; i++) {
		if (list[i].port == ddc->port && strcmp(list[i].address, ddc->address) == 0) {
			return true;
		}
	}
	return false;
}

/* Ends a change: releases the mutex, and tells who watches. */
static void settle(struct xreg_ddcs *ddcs, bool has_changed)
{
	ddcs->revision += has_changed;
	pthread_mutex_unlock(&ddcs->mutex);
	if (!has_changed) {
		return;
	}
	pthread_mutex_lock(&ddcs->watch_mutex);
	for (uint32_t i = 0; i < XREG_DDC_WATCHERS; i++) {
		if (ddcs->watchers[i].changed != NULL) {
			ddcs->watchers[i].changed(ddcs->watchers[i].arg);
		}
	}
	pthread_mutex_unlock(&ddcs->watch_mutex);
}

/* ---- changing it ---- */

void xreg_ddcs_set_own(struct xreg_ddcs *ddcs, const char *nqn, const char *address, uint16_t port)
{
	uint32_t before;

	pthread_mutex_lock(&ddcs->mutex);
	snprintf(ddcs->own.nqn, sizeof(ddcs->own.nqn), "%s", nqn);
	snprintf(ddcs->own.address, sizeof(ddcs->own.address), "%s", address);
	ddcs->own.port = port;
	before = ddcs->count;
	for (uint32_t i = ddcs->count; i > 0; i--) {
		if (is_own(ddcs, &ddcs->entries[i - 1].ddc)) {
			ddcs->entries[i - 1] = ddcs->entries[--ddcs->count];
		}
	}
	settle(ddcs, ddcs->count != before);
}

bool xreg_ddcs_is_own(struct xreg_ddcs *ddcs, const char *address, uint16_t port)
{
	struct xreg_ddc ddc = {.port = port};
	bool is_it;

	snprintf(ddc.address, sizeof(ddc.address), "%s", address);
	pthread_mutex_lock(&ddcs->mutex);
	is_it = is_own(ddcs, &ddc);
	pthread_mutex_unlock(&ddcs->mutex);
	return is_it;
}

int xreg_ddcs_add(struct xreg_ddcs *ddcs, enum xreg_ddc_source source, const struct xreg_ddc *ddc,
	struct xu_error *err)
{
	bool has_changed = false;
	int rc;

	pthread_mutex_lock(&ddcs->mutex);
	rc = add(ddcs, source, ddc, &has_changed);
	settle(ddcs, has_changed);
	return rc == 0 ? 0
	       : rc == -ELOOP
		       ? xu_error_set(err, rc, "%s port %u is this registry itself", ddc->address,
				 ddc->port)
		       : xu_error_set(err, rc,
				 "%s port %u is one more than the %u discovery controllers that "
				 "can be known",
				 ddc->address, ddc->port, XREG_DDCS_MAX);
}

int xreg_ddcs_remove(
	struct xreg_ddcs *ddcs, enum xreg_ddc_source source, const struct xreg_ddc *ddc)
{
	struct entry *entry;
	bool is_known;

	pthread_mutex_lock(&ddcs->mutex);
	entry = find(ddcs, ddc);
	is_known = entry != NULL && (entry->ddc.sources & 1u << source) != 0;
	if (is_known) {
		forget(ddcs, source, entry);
	}
	settle(ddcs, is_known);
	return is_known ? 0 : -ENOENT;
}

uint32_t xreg_ddcs_replace(struct xreg_ddcs *ddcs, enum xreg_ddc_source source,
	const struct xreg_ddc *list, uint32_t count)
{
	bool has_changed = false;
	uint32_t nr_in = 0;

	pthread_mutex_lock(&ddcs->mutex);
	for (uint32_t i = ddcs->count; i > 0; i--) {
		struct entry *entry = &ddcs->entries[i - 1];

		if ((entry->ddc.sources & 1u << source) != 0 && !names(list, count, &entry->ddc)) {
			forget(ddcs, source, entry);
			has_changed = true;
		}
	}
	for (uint32_t i = 0; i < count; i++) {
		if (!names(list, i, &list[i])) {
			nr_in += add(ddcs, source, &list[i], &has_changed) == 0;
		}
	}
	settle(ddcs, has_changed);
	return nr_in;
}

/* ---- reading it ---- */

uint64_t xreg_ddcs_revision(struct xreg_ddcs *ddcs)
{
	uint64_t revision;

	pthread_mutex_lock(&ddcs->mutex);
	revision = ddcs->revision;
	pthread_mutex_unlock(&ddcs->mutex);
	return revision;
}

int xreg_ddcs_copy(struct xreg_ddcs *ddcs, struct xreg_ddc **ret_list, uint32_t *ret_count,
	uint64_t *ret_revision)
{
	struct xreg_ddc *list;

	pthread_mutex_lock(&ddcs->mutex);
	list = calloc(ddcs->count + 1, sizeof(*list));
	if (list != NULL) {
		for (uint32_t i = 0; i < ddcs->count; i++) {
			list[i] = ddcs->entries[i].ddc;
		}
		*ret_list = list;
		*ret_count = ddcs->count;
		*ret_revision = ddcs->revision;
	}
	pthread_mutex_unlock(&ddcs->mutex);
	return list != NULL ? 0 : -ENOMEM;
}

const char *xreg_ddc_source_name(uint32_t source)
{
	static const char *const source_names[XREG_DDC_NR_SOURCES] = {[XREG_DDC_STATIC] = "static",
		[XREG_DDC_MDNS] = "mdns",
		[XREG_DDC_DHCP] = "dhcp",
		[XREG_DDC_KICK] = "kick-start",
		[XREG_DDC_REFERRAL] = "referral"};

	return source < XREG_DDC_NR_SOURCES ? source_names[source] : NULL;
}

json_t *xreg_ddcs_json(struct xreg_ddcs *ddcs)
{
	struct xreg_ddc *list;
	uint64_t revision;
	uint32_t count;
	json_t *all;

	if (xreg_ddcs_copy(ddcs, &list, &count, &revision) != 0) {
		return NULL;
	}
	all = json_array();
	for (uint32_t i = 0; i < count; i++) {
		json_t *sources = json_array();

		for (uint32_t k = 0; k < XREG_DDC_NR_SOURCES; k++) {
			if ((list[i].sources & 1u << k) != 0) {
				json_array_append_new(
					sources, json_string(xreg_ddc_source_name(k)));
			}
		}
		json_array_append_new(
			all, json_pack("{s:s, s:i, s:s, s:o}", "address", list[i].address, "port",
				     (int)list[i].port, "nqn", list[i].nqn, "sources", sources));
	}
	free(list);
	return all;
}

/* ---- watching it ---- */

int xreg_ddcs_watch(struct xreg_ddcs *ddcs, void (*changed)(void *arg), void *arg)
{
	int rc = -ENOSPC;

	pthread_mutex_lock(&ddcs->watch_mutex);
	for (uint32_t i = 0; rc != 0 && i < XREG_DDC_WATCHERS; i++) {
		if (ddcs->watchers[i].changed == NULL) {
			ddcs->watchers[i] = (struct watcher){changed, arg};
			rc = 0;
		}
	}
	pthread_mutex_unlock(&ddcs->watch_mutex);
	return rc;
}

void xreg_ddcs_unwatch(struct xreg_ddcs *ddcs, void (*changed)(void *arg), void *arg)
{
	pthread_mutex_lock(&ddcs->watch_mutex);
	for (uint32_t i = 0; i < XREG_DDC_WATCHERS; i++) {
		if (ddcs->watchers[i].changed == changed && ddcs->watchers[i].arg == arg) {
			ddcs->watchers[i] = (struct watcher){0};
		}
	}
	pthread_mutex_unlock(&ddcs->watch_mutex);
}

/* ---- life ---- */

int xreg_ddcs_new(struct xreg_ddcs **ret_ddcs)
{
	struct xreg_ddcs *ddcs = calloc(1, sizeof(*ddcs));

	if (ddcs == NULL) {
		return -ENOMEM;
	}
	ddcs->entries = calloc(XREG_DDCS_MAX, sizeof(*ddcs->entries));
	if (ddcs->entries == NULL) {
		free(ddcs);
		return -ENOMEM;
	}
	pthread_mutex_init(&ddcs->mutex, NULL);
	pthread_mutex_init(&ddcs->watch_mutex, NULL);
	*ret_ddcs = ddcs;
	return 0;
}

void xreg_ddcs_free(struct xreg_ddcs *ddcs)
{
	if (ddcs == NULL) {
		return;
	}
	pthread_mutex_destroy(&ddcs->mutex);
	pthread_mutex_destroy(&ddcs->watch_mutex);
	free(ddcs->entries);
	free(ddcs);
}
