/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of targets: one block of memory each, the texts behind the structure. It is filled in two
 * passes over the same code: the first only counts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/xregistry/desired.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/target.h"

static const char *const state_names[] = {
	"unknown", "available", "busy", "maintenance", "failed", "offline", "degraded"};
const char *const xreg_transport_names[] = {"tcp", "rdma", "fc", NULL};
static const char *const source_names[] = {
	"registered", "static", "mdns", "multicast", "dhcp", "dim", "pulled"};

#define NAME_OF(names, i) ((i) < sizeof(names) / sizeof((names)[0]) ? (names)[i] : NULL)

const char *xreg_state_name(uint32_t state)
{
	return NAME_OF(state_names, state);
}

const char *xreg_source_name(uint32_t source)
{
	return NAME_OF(source_names, source);
}

int xreg_state_parse(const char *name, uint32_t *ret_state)
{
	if (strcasecmp(name, "active") == 0) {
		*ret_state = XREG_AVAILABLE;
		return 0;
	}
	for (uint32_t i = 0; xreg_state_name(i) != NULL; i++) {
		if (strcasecmp(name, xreg_state_name(i)) == 0) {
			*ret_state = i;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- making one ---- */

/* Where the next thing goes; `at` is NULL while only counting. */
struct packer {
	char *at;
	size_t len;
};

static void *take(struct packer *p, size_t len)
{
	void *place = p->at != NULL ? p->at + p->len : NULL;

	p->len += len;
	return place;
}

static const char *pack_text(struct packer *p, const char *text)
{
	size_t size = strlen(text) + 1;
	char *place = take(p, size);

	if (place != NULL) {
		memcpy(place, text, size);
	}
	return place;
}

/* First what needs alignment, then the texts. */
static void pack(struct packer *p, struct xreg_target *target, const struct xreg_origin *origin,
	const struct xreg_status *status, const struct xreg_spec *spec, const char *place)
{
	struct xreg_pair *pairs = take(p, spec->nr_metadata * sizeof(*pairs));
	const char **tags = take(p, spec->nr_tags * sizeof(*tags));

	target->origin = *origin;
	target->status = *status;
	target->spec = *spec;
	target->spec.metadata = pairs;
	target->spec.tags = tags;
	target->origin.id = pack_text(p, origin->id);
	target->status.reason = pack_text(p, status->reason);
	target->spec.node_id = pack_text(p, spec->node_id);
	target->spec.nqn = pack_text(p, spec->nqn);
	target->spec.address = pack_text(p, spec->address);
	target->spec.interface = pack_text(p, spec->interface);
	target->spec.device_path = pack_text(p, spec->device_path);
	target->place = pack_text(p, place);
	target->location = "";
	for (uint32_t i = 0; i < spec->nr_metadata; i++) {
		const char *key = pack_text(p, spec->metadata[i].key);
		const char *value = pack_text(p, spec->metadata[i].value);

		if (pairs != NULL) {
			pairs[i] = (struct xreg_pair){key, value};
			target->location =
				strcmp(key, XREG_LOCATION) == 0 ? value : target->location;
		}
	}
	for (uint32_t i = 0; i < spec->nr_tags; i++) {
		const char *tag = pack_text(p, spec->tags[i]);

		if (tags != NULL) {
			tags[i] = tag;
		}
	}
}

void xreg_spec_place(const struct xreg_spec *spec, char place[XREG_PLACE_SIZE])
{
	snprintf(place, XREG_PLACE_SIZE, "%s %s %s %u", spec->nqn,
		xreg_transport_names[spec->transport], spec->address, spec->port);
}

struct xreg_target *xreg_target_new(const struct xreg_origin *origin,
	const struct xreg_status *status, const struct xreg_spec *spec)
{
	struct xreg_target counted, *target;
	struct packer p = {0};
	char place[XREG_PLACE_SIZE];

	xreg_spec_place(spec, place);
	pack(&p, &counted, origin, status, spec, place);
	target = malloc(sizeof(*target) + p.len);
	if (target == NULL) {
		return NULL;
	}
	p = (struct packer){.at = (char *)(target + 1)};
	pack(&p, target, origin, status, spec, place);
	target->origin.live = origin->live != NULL ? xreg_live_ref(origin->live) : xreg_live_new();
	if (target->origin.live == NULL) {
		free(target);
		return NULL;
	}
	target->origin.desired = xreg_desired_ref(origin->desired);
	atomic_init(&target->nr_refs, 1);
	return target;
}

struct xreg_target *xreg_target_ref(const struct xreg_target *target)
{
	struct xreg_target *own = (struct xreg_target *)(uintptr_t)target;

	atomic_fetch_add_explicit(&own->nr_refs, 1, memory_order_relaxed);
	return own;
}

void xreg_target_unref(const struct xreg_target *target)
{
	struct xreg_target *own = (struct xreg_target *)(uintptr_t)target;

	if (own != NULL && atomic_fetch_sub_explicit(&own->nr_refs, 1, memory_order_acq_rel) == 1) {
		xreg_live_unref(own->origin.live);
		xreg_desired_unref(own->origin.desired);
		free(own);
	}
}
