/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the log of a discovery controller to targets: which of its entries are any, and what they
 * say. Each is checked as a registration is; what is none, or would lead back to this registry, is
 * left out and counted.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/hash.h"
#include "lib/xnvmf/target/target.h"
#include "lib/xregistry/pull_private.h"

/* ---- keys ---- */

void pull__key(const struct xreg_ddc *ddc, char key[PULL_KEY_SIZE])
{
	bool is_v6 = strchr(ddc->address, ':') != NULL;

	snprintf(key, PULL_KEY_SIZE, "%s%s%s:%u", is_v6 ? "[" : "", ddc->address, is_v6 ? "]" : "",
		ddc->port);
}

int pull__parse_key(const char *key, struct xreg_ddc *ret_ddc)
{
	char address[PULL_KEY_SIZE], *end = NULL;
	const char *colon = strrchr(key, ':');
	size_t skip = key[0] == '[', len;
	unsigned long port;

	if (colon == NULL || colon - key < 3 || strlen(key) >= sizeof(address) ||
		(skip != 0 && colon[-1] != ']')) {
		return -EINVAL;
	}
	len = (size_t)(colon - key) - 2 * skip;
	memcpy(address, key + skip, len);
	address[len] = '\0';
	port = strtoul(colon + 1, &end, 10);
	return *end == '\0' && port <= UINT16_MAX
		       ? xreg_ddc_make(address, (uint32_t)port, NULL, ret_ddc, NULL)
		       : -EINVAL;
}

/* ---- one entry ---- */

/* A target while it is made; its texts. */
struct maker {
	const struct pull_peer *peer;
	const struct xnvmf_host_log *log;
	char address[XR_ADDRESS_SIZE], node[XREG_NAME_MAX + 1], portid[8];
	char label[XREG_TEXT_MAX + 1];
	struct xreg_parsed parsed;
};

bool pull__take_address(
	const struct pull_peer *peer, const char *text, char address[XR_ADDRESS_SIZE])
{
	struct sockaddr_storage addr;
	uint16_t none;

	if (xr_address_parse(text, 0, &addr) < 0 || xr_address_format(&addr, address, &none) != 0) {
		return false;
	}
	/* Another machine's loopback is not ours. */
	return !xr_address_is_loopback(address) || xr_address_is_loopback(peer->ddc.address);
}

bool pull__take_port(const char *text, uint32_t *ret_port)
{
	char *end = NULL;
	unsigned long port = strtoul(text, &end, 10);

	*ret_port = (uint32_t)port;
	return isdigit((unsigned char)text[0]) && *end == '\0' && port <= UINT16_MAX;
}

/* The name of the node. A discovery controller that is not central is a node, and its NQN the name;
 * of another's targets nothing is known but where they are. */
static void take_node(struct maker *maker, const char *address)
{
	const char *nqn = maker->log->subnqn;
	bool has_name =
		!maker->log->is_central && nqn[0] != '\0' && strcmp(nqn, XNVMF_DISCOVERY_NQN) != 0;
	const char *from = has_name                 ? nqn
			   : maker->log->is_central ? address
						    : maker->peer->ddc.address;
	size_t len = strlen(from);

	if (len > XREG_NAME_MAX) {
		/* Its end is what tells NQNs apart, and a hash what is cut off. */
		snprintf(maker->node, sizeof(maker->node), "%08x-%s", xu_hash32(from, len),
			from + len - (XREG_NAME_MAX - 9));
	} else {
		strcpy(maker->node, from);
	}
	for (char *at = maker->node; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && strchr("._-:@/", *at) == NULL) {
			*at = '_';
		}
	}
}

static bool take_transport(struct maker *maker, const struct xnvmf_host_entry *entry)
{
	struct xreg_spec *spec = &maker->parsed.spec;

	if (entry->trtype == NVME_TRTYPE_FC) {
		spec->transport = XREG_FC;
		spec->address = entry->traddr;
		return true;
	}
	if ((entry->trtype != NVME_TRTYPE_TCP && entry->trtype != NVME_TRTYPE_RDMA) ||
		!pull__take_address(maker->peer, entry->traddr, maker->address) ||
		!pull__take_port(entry->trsvcid, &spec->port)) {
		return false;
	}
	spec->transport = entry->trtype == NVME_TRTYPE_TCP ? XREG_TCP : XREG_RDMA;
	spec->address = maker->address;
	if (spec->transport == XREG_TCP && entry->sectype == NVME_TSAS_TLS13) {
		spec->security = XREG_SECURITY_TLS;
	}
	return true;
}

/* What a value of the metadata has room for, in whole characters. */
static void take_label(struct maker *maker, const struct xnvmf_host_entry *entry)
{
	size_t len = strlen(entry->label);

	if (len > XREG_TEXT_MAX) {
		len = XREG_TEXT_MAX;
		while (((unsigned char)entry->label[len] & 0xc0) == 0x80) {
			len--;
		}
	}
	memcpy(maker->label, entry->label, len);
	maker->label[len] = '\0';
}

static void take_metadata(struct maker *maker, const struct xnvmf_host_entry *entry)
{
	struct xreg_parsed *parsed = &maker->parsed;
	uint32_t count = 0;

	parsed->metadata[count++] = (struct xreg_pair){XREG_PULL_DDC, maker->peer->key};
	parsed->metadata[count++] = (struct xreg_pair){XREG_PULL_PORT, maker->portid};
	parsed->metadata[count++] = (struct xreg_pair){XREG_PULL_VIA, maker->peer->pull->nqn};
	take_label(maker, entry);
	if (maker->label[0] != '\0') {
		parsed->metadata[count++] = (struct xreg_pair){XREG_PULL_LABEL, maker->label};
	}
	if (pull__is_stranger(maker->peer)) {
		parsed->metadata[count++] =
			(struct xreg_pair){XREG_PULL_BY, xreg_ddc_source_name(XREG_DDC_KICK)};
	}
	parsed->spec.nr_metadata = count;
}

/* NULL: it is no target. */
static struct xreg_target *make_target(struct maker *maker, const struct xnvmf_host_entry *entry)
{
	const struct xreg_pull *pull = maker->peer->pull;
	const struct xreg_origin origin = {.id = ""};
	const struct xreg_status status = {.state = XREG_UNKNOWN, .reason = ""};
	struct xreg_spec *spec = &maker->parsed.spec;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err;

	xreg_parsed_init(&maker->parsed);
	spec->nqn = entry->subnqn;
	if (strcmp(entry->subnqn, pull->nqn) == 0 ||
		strcmp(entry->subnqn, XNVMF_DISCOVERY_NQN) == 0 || !take_transport(maker, entry) ||
		xreg_ddcs_is_own(pull->opts.ddcs, spec->address, (uint16_t)spec->port)) {
		return NULL;
	}
	snprintf(maker->portid, sizeof(maker->portid), "%u", entry->portid);
	take_node(maker, spec->address);
	spec->node_id = maker->node;
	take_metadata(maker, entry);
	return xreg_parsed_check(&maker->parsed, path, &err) == 0
		       ? xreg_target_new(&origin, &status, spec)
		       : NULL;
}

/* ---- all of them ---- */

static int compare_places(const void *a, const void *b)
{
	return strcmp((*(const struct xreg_target *const *)a)->place,
		(*(const struct xreg_target *const *)b)->place);
}

/* Sorts them by place, and leaves out what is there twice. */
static void sort(struct pull_found *found)
{
	uint32_t count = 0;

	qsort(found->targets, found->count, sizeof(found->targets[0]), compare_places);
	for (uint32_t i = 0; i < found->count; i++) {
		if (count != 0 &&
			strcmp(found->targets[count - 1]->place, found->targets[i]->place) == 0) {
			xreg_target_unref(found->targets[i]);
			found->nr_ignored++;
		} else {
			found->targets[count++] = found->targets[i];
		}
	}
	found->count = count;
}

struct pull_found *pull__found_new(const struct pull_peer *peer, const struct xnvmf_host_log *log)
{
	struct pull_found *found =
		malloc(sizeof(*found) + log->nr_entries * sizeof(found->targets[0]));
	struct maker maker = {.peer = peer, .log = log};

	if (found == NULL) {
		return NULL;
	}
	found->count = 0;
	found->nr_ignored = log->nr_left_out;
	for (size_t i = 0; i < log->nr_entries; i++) {
		struct xreg_target *target;

		if (log->entries[i].subtype != NVME_SUBTYPE_NVM) {
			continue; /* of itself, and referrals, which are no targets */
		}
		target = make_target(&maker, &log->entries[i]);
		if (target != NULL) {
			found->targets[found->count++] = target;
		} else {
			found->nr_ignored++;
		}
	}
	sort(found);
	return found;
}

void pull__found_free(struct pull_found *found)
{
	for (uint32_t i = 0; found != NULL && i < found->count; i++) {
		xreg_target_unref(found->targets[i]);
	}
	free(found);
}
