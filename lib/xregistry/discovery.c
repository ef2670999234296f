/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery service of the registry: the table that lib/xnvmf asks, log entries made from
 * targets, and telling the target of changes. The store's writer tells us of each new view; one
 * message at a time takes that to the control reactor, which gathers bursts. What a reader holds is
 * a list of targets, and each piece that it reads makes the entries of that piece only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xregistry/discovery_private.h"
#include "lib/xregistry/pull.h"

#define NR_HOSTS_MAX 20000u
#define OWN_MAX      8u
#define ADMIN_DEPTH  32u /* what every subsystem has at least */
#define LABEL_BYTES  64u
#define ENTRY_BYTES  ((uint32_t)sizeof(struct nvme_discovery_entry))
#define EXT_BYTES                                                                                  \
	(ENTRY_BYTES + (uint32_t)sizeof(struct nvme_discovery_extension) +                         \
		(uint32_t)sizeof(struct nvme_discovery_attribute) + LABEL_BYTES)

_Static_assert(EXT_BYTES <= XNVMF_DISCOVERY_ENTRY_MAX && EXT_BYTES % 4 == 0, "extended entry");
_Static_assert(XREG_NAME_MAX < LABEL_BYTES, "the label is the name of a node");

/* The log as a reader began it. */
struct view {
	struct xreg_sight *sight;
	struct xnvmf_discovery_info info;
	uint32_t nr_own;
	struct nvme_discovery_entry own[]; /* of the service itself, and referrals: first */
};

/* ---- entries ---- */

const char *xreg__metadata(const struct xreg_target *target, const char *key)
{
	for (uint32_t i = 0; i < target->spec.nr_metadata; i++) {
		if (strcmp(target->spec.metadata[i].key, key) == 0) {
			return target->spec.metadata[i].value;
		}
	}
	return NULL;
}

const char *xreg__portid(const struct xreg_target *target)
{
	return xreg__metadata(
		target, target->origin.source == XREG_PULLED ? XREG_PULL_PORT : XREG_DIM_PORT);
}

bool xreg__is_disconnected(const struct xreg_target *target)
{
	return target->status.state == XREG_OFFLINE || target->status.state == XREG_FAILED;
}

static void put_text(char *field, size_t size, const char *text)
{
	size_t len = strlen(text);

	memcpy(field, text, len < size ? len : size - 1);
}

static void fill_transport(struct nvme_discovery_entry *entry, const struct xreg_spec *spec)
{
	bool is_v6 = strchr(spec->address, ':') != NULL;

	entry->adrfam = is_v6 ? NVME_ADRFAM_IPV6 : NVME_ADRFAM_IPV4;
	switch (spec->transport) {
	case XREG_TCP:
		entry->trtype = NVME_TRTYPE_TCP;
		if (spec->security == XREG_SECURITY_TLS) {
			entry->treq |= NVME_TREQ_SECURE_REQUIRED;
			entry->tsas[0] = NVME_TSAS_TLS13;
		}
		break;
	case XREG_RDMA:
		entry->trtype = NVME_TRTYPE_RDMA;
		entry->tsas[0] = 1; /* reliable connected, provider not told, RDMA_CM */
		entry->tsas[1] = 1;
		entry->tsas[2] = 1;
		break;
	default:
		entry->trtype = NVME_TRTYPE_FC;
		entry->adrfam = NVME_ADRFAM_FC;
		break;
	}
}

static void fill_entry(struct nvme_discovery_entry *entry, const struct xreg_target *target)
{
	const struct xreg_spec *spec = &target->spec;
	const char *port = xreg__portid(target);
	char service[16] = "none";

	entry->subtype = NVME_SUBTYPE_NVM;
	entry->treq = NVME_TREQ_SQFLOW_OPTIONAL;
	entry->portid = port != NULL ? (uint16_t)strtoul(port, NULL, 10) : 0;
	entry->cntlid = 0xffff;
	entry->asqsz = ADMIN_DEPTH;
	entry->eflags = xreg__is_disconnected(target) ? NVME_EFLAG_NOT_CONNECTED : 0;
	fill_transport(entry, spec);
	if (spec->transport != XREG_FC) {
		snprintf(service, sizeof(service), "%u", spec->port);
	}
	put_text(entry->trsvcid, sizeof(entry->trsvcid), service);
	put_text(entry->subnqn, sizeof(entry->subnqn), spec->nqn);
	put_text(entry->traddr, sizeof(entry->traddr), spec->address);
}

static void fill_referral(struct nvme_discovery_entry *entry, const struct xreg_referral *referral)
{
	char service[8];

	memset(entry, 0, sizeof(*entry));
	entry->trtype = NVME_TRTYPE_TCP;
	entry->adrfam =
		strchr(referral->address, ':') != NULL ? NVME_ADRFAM_IPV6 : NVME_ADRFAM_IPV4;
	entry->subtype = NVME_SUBTYPE_REFERRAL;
	entry->cntlid = 0xffff;
	entry->asqsz = ADMIN_DEPTH;
	entry->eflags = referral->is_persistent ? NVME_EFLAG_PERSISTENT : 0;
	snprintf(service, sizeof(service), "%u", referral->port);
	put_text(entry->trsvcid, sizeof(entry->trsvcid), service);
	put_text(entry->subnqn, sizeof(entry->subnqn),
		referral->nqn[0] != '\0' ? referral->nqn : XNVMF_DISCOVERY_NQN);
	put_text(entry->traddr, sizeof(entry->traddr), referral->address);
}

/* All extended entries have one length, and those of targets the name of their node as a label. */
static void fill_extension(uint8_t *at, const char *label)
{
	struct nvme_discovery_extension extension = {.tel = EXT_BYTES, .numexat = label != NULL};
	struct nvme_discovery_attribute attribute = {NVME_EXAT_LABEL_ASCII, LABEL_BYTES};

	memcpy(at, &extension, sizeof(extension));
	if (label != NULL) {
		memcpy(at + sizeof(extension), &attribute, sizeof(attribute));
		memcpy(at + sizeof(extension) + sizeof(attribute), label, strlen(label));
	}
}

static void render(const void *arg, uint32_t first, uint32_t count, void *buf)
{
	const struct view *view = arg;
	uint32_t bytes = view->info.entry_bytes;

	memset(buf, 0, (size_t)count * bytes);
	for (uint32_t i = first; i < first + count; i++) {
		uint8_t *at = (uint8_t *)buf + (size_t)(i - first) * bytes;
		const char *label = NULL;

		if (i < view->nr_own) {
			memcpy(at, &view->own[i], ENTRY_BYTES);
		} else {
			const struct xreg_target *target = view->sight->targets[i - view->nr_own];

			fill_entry((struct nvme_discovery_entry *)at, target);
			label = target->spec.node_id;
		}
		if (bytes == EXT_BYTES) {
			fill_extension(at + ENTRY_BYTES, label);
		}
	}
}

/* ---- views ---- */

static void *pin(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct nvme_discovery_entry own[OWN_MAX + XREG_REFERRALS_MAX];
	struct xreg_discovery *d = arg;
	struct xreg_host_sight *host;
	struct xreg_sight *sight;
	struct view *view;
	uint32_t nr_own;

	xreg__discovery_refresh(d);
	host = xreg__host_sight(d, asker);
	sight = host != NULL ? xreg__host_targets(d, host) : NULL;
	if (sight == NULL) {
		return NULL;
	}
	nr_own = xnvmf_discovery_own_entries(d->target, asker->own_address, own, OWN_MAX);
	for (uint32_t i = 0; i < d->opts.nr_referrals && !(host->is_peer && host->is_all); i++) {
		fill_referral(&own[nr_own++], &d->referrals[i]);
	}
	view = malloc(sizeof(*view) + nr_own * sizeof(own[0]));
	if (view == NULL) {
		return NULL;
	}
	*view = (struct view){.sight = sight,
		.nr_own = nr_own,
		.info = {.options = (asker->options & XNVMF_DISCOVERY_EXTENDED) |
				    (host->is_all ? XNVMF_DISCOVERY_ALL : 0),
			.genctr = host->genctr,
			.nr_entries = nr_own + sight->nr_targets,
			.entry_bytes = asker->options & XNVMF_DISCOVERY_EXTENDED ? EXT_BYTES
										 : ENTRY_BYTES}};
	memcpy(view->own, own, nr_own * sizeof(own[0]));
	sight->nr_refs++;
	return view;
}

static void unpin(void *arg, void *pinned)
{
	struct view *view = pinned;

	xreg__sight_unref(view->sight);
	free(view);
}

static void describe(const void *view, struct xnvmf_discovery_info *ret_info)
{
	*ret_info = ((const struct view *)view)->info;
}

static uint64_t genctr(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct xreg_discovery *d = arg;
	const struct xreg_host_sight *host;

	xreg__discovery_refresh(d);
	host = xreg__host_sight(d, asker);
	return host != NULL ? host->genctr : 0;
}

static enum xnvmf_kick_result kick_start(void *arg, const struct xnvmf_kick_start *kick)
{
	struct xreg_discovery *d = arg;

	return d->opts.kick_start(d->opts.arg, kick);
}

/* ---- changes ---- */

static void on_changed(struct xr_msg *msg)
{
	struct xreg_discovery *d = xu_container_of(msg, struct xreg_discovery, changed_msg);

	atomic_store(&d->is_changed_sent, false);
	if (d->is_freed) {
		free(d);
	} else if (d->target != NULL) {
		xnvmf_target_discovery_changed(d->target);
	}
}

/* The writer's thread. */
static void on_new_view(struct xreg_watcher *watcher, uint64_t revision)
{
	struct xreg_discovery *d = xu_container_of(watcher, struct xreg_discovery, watcher);

	if (!atomic_exchange(&d->is_changed_sent, true)) {
		xr_msg_send(d->opts.reactor, &d->changed_msg);
	}
}

void xreg_discovery_filter_changed(struct xreg_discovery *d)
{
	d->filter++;
	if (d->target != NULL) {
		xnvmf_target_discovery_changed(d->target);
	}
}

/* ---- life ---- */

static void init_ops(struct xreg_discovery *d)
{
	d->ops = (struct xnvmf_discovery_ops){
		.log = {.options = XNVMF_DISCOVERY_EXTENDED |
				   (d->opts.has_all ? XNVMF_DISCOVERY_ALL : 0),
			.pin = pin,
			.unpin = unpin,
			.describe = describe,
			.render = render,
			.genctr = genctr},
		.hosts = &xreg__hosts_log,
		.dim = xreg__dim,
		.kick_start = d->opts.kick_start != NULL ? kick_start : NULL,
	};
}

int xreg_discovery_new(const struct xreg_discovery_opts *opts,
	struct xreg_discovery **ret_discovery, struct xu_error *err)
{
	struct xreg_discovery *d = calloc(1, sizeof(*d));
	struct xu_random random;

	if (d == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making the discovery service");
	}
	d->opts = *opts;
	if (d->opts.nr_hosts_max == 0) {
		d->opts.nr_hosts_max = NR_HOSTS_MAX;
	}
	if (d->opts.nr_referrals > XREG_REFERRALS_MAX) {
		free(d);
		return xu_error_set(err, -EINVAL, "there may be %u referrals", XREG_REFERRALS_MAX);
	}
	if (d->opts.nr_referrals != 0) {
		memcpy(d->referrals, opts->referrals,
			d->opts.nr_referrals * sizeof(d->referrals[0]));
	}
	d->clock = opts->clock != NULL ? opts->clock : xu_clock_system();
	xu_random_seed_entropy(&random);
	d->seed = xu_random_u64(&random);
	xu_list_init(&d->used);
	xu_list_init(&d->dims);
	xu_list_init(&d->registered);
	xu_list_init(&d->readers);
	for (uint32_t i = 0; i < XREG_HOST_BUCKETS; i++) {
		xu_list_init(&d->buckets[i]);
		xu_list_init(&d->sights[i]);
		xu_list_init(&d->registered_buckets[i]);
	}
	pthread_mutex_init(&d->send_mutex, NULL);
	init_ops(d);
	d->view = xreg_store_view(opts->store);
	d->delta_end = xreg_view_revision(d->view);
	d->changed_msg.fn = on_changed;
	d->watcher.fn = on_new_view;
	xreg_store_watch(opts->store, &d->watcher);
	*ret_discovery = d;
	return 0;
}

int xreg_discovery_attach(struct xreg_discovery *d, struct xnvmf_target *target, const char *nqn,
	struct xu_error *err)
{
	const struct xnvmf_discovery_opts opts = {
		.ops = &d->ops, .arg = d, .nqn = nqn, .is_central = true};
	int rc = xnvmf_target_set_discovery(target, &opts, err);

	if (rc == 0) {
		d->target = target;
	}
	return rc;
}

void xreg_discovery_free(struct xreg_discovery *d)
{
	if (d == NULL) {
		return;
	}
	/* After these the writer is nowhere in here, nor in the reactor on our behalf. */
	xreg_store_unwatch(d->opts.store, &d->watcher);
	pthread_mutex_lock(&d->send_mutex);
	pthread_mutex_unlock(&d->send_mutex);
	pthread_mutex_destroy(&d->send_mutex);
	xreg__discovery_forget(d);
	xreg__registered_free(d);
	xreg__readers_free(d);
	d->target = NULL;
	d->is_freed = true;
	if (!atomic_load(&d->is_changed_sent)) {
		free(d);
	}
}
