/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registration by discovery information management. A discovery controller's subsystems become
 * targets of the store; they belong to the entity (EID) and the host NQN that registered them, and
 * nobody else changes them this way. Hosts are kept in memory.
 *
 * A request is resolved against the current view first: each entry to a change, or the whole is
 * refused and nothing is done. Then its changes go to the store's writer; the last of them to be
 * answered sends the request back to the control reactor with the first failure. An update is one
 * change, so it is there whole or not at all; of a registration with several entries some may be
 * made when the store fails between them, and the entity is told to do it again.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/error.h"
#include "lib/util/hash.h"
#include "lib/xregistry/discovery_private.h"

#define NR_CHANGES_MAX 2048u /* with the store, far from where it would make us wait */

/* One change of a request. */
struct part {
	struct xreg_change change;
	struct request *request;
	struct xreg_target *before; /* whose id is used */
	struct xreg_parsed parsed;  /* borrows from here and from the request */
	char node[XREG_NAME_MAX + 1], portid[8];
};

struct request {
	struct xreg_discovery *d;
	struct xnvmf_dim *dim;
	struct xu_list link; /* d->dims */
	struct xr_msg msg;
	_Atomic uint32_t nr_left;
	_Atomic uint16_t status; /* the first that is not 0 */
	bool is_again;           /* it was resolved once more */
	uint32_t nr_parts;
	struct part *parts[]; /* at most two of an entry */
};

static void free_parts(struct request *request)
{
	for (uint32_t i = 0; i < request->nr_parts; i++) {
		struct part *part = request->parts[i];

		xreg_target_unref(part->change.result);
		xreg_target_unref(part->before);
		free(part);
	}
	request->nr_parts = 0;
}

static void free_request(struct request *request)
{
	free_parts(request);
	free(request);
}

static void answer(struct xnvmf_dim *dim, uint16_t status, const char *why)
{
	struct xreg_discovery *d = dim->owner_data;

	if (status != 0) {
		xu_warn(d->opts.log, "registration by '%s' from %s was refused: %s", dim->eid,
			dim->address, why);
	}
	xnvmf_dim_done(dim, status);
}

/* ---- what an entry says of a target ---- */

/* The name of the node: what the entity calls itself when that is a name, else what there is. */
static void node_name(const struct xnvmf_dim *dim, char name[XREG_NAME_MAX + 1])
{
	const char *from = dim->ename[0] != '\0' ? dim->ename : dim->eid;
	size_t len = strlen(from);

	if (len > XREG_NAME_MAX) {
		/* Its end is what tells NQNs apart, and a hash what is cut off. */
		snprintf(name, XREG_NAME_MAX + 1, "%08x-%s", xu_hash32(from, len),
			from + len - (XREG_NAME_MAX - 9));
	} else {
		strcpy(name, from);
	}
	for (char *at = name; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && strchr("._-:@/", *at) == NULL) {
			*at = '_';
		}
	}
}

static uint32_t transport_of(uint8_t trtype)
{
	return trtype == NVME_TRTYPE_TCP    ? XREG_TCP
	       : trtype == NVME_TRTYPE_RDMA ? XREG_RDMA
					    : XREG_FC;
}

static uint32_t port_of(const struct xnvmf_dim_entry *entry)
{
	return entry->trtype == NVME_TRTYPE_FC ? 0 : (uint32_t)strtoul(entry->trsvcid, NULL, 10);
}

/* The specification, checked like that of any registration. */
static int make_spec(struct part *part, const struct xnvmf_dim *dim,
	const struct xnvmf_dim_entry *entry, struct xu_error *err)
{
	struct xreg_parsed *parsed = &part->parsed;
	char path[XU_PARAM_PATH_SIZE];

	xreg_parsed_init(parsed);
	node_name(dim, part->node);
	snprintf(part->portid, sizeof(part->portid), "%u", entry->portid);
	parsed->spec.node_id = part->node;
	parsed->spec.nqn = entry->nqn;
	parsed->spec.address = entry->address;
	parsed->spec.transport = transport_of(entry->trtype);
	parsed->spec.port = port_of(entry);
	if (entry->trtype == NVME_TRTYPE_TCP && entry->security == NVME_TSAS_TLS13) {
		parsed->spec.security = XREG_SECURITY_TLS;
	}
	parsed->metadata[0] = (struct xreg_pair){XREG_DIM_EID, dim->eid};
	parsed->metadata[1] = (struct xreg_pair){XREG_DIM_HOST, dim->hostnqn};
	parsed->metadata[2] = (struct xreg_pair){XREG_DIM_PORT, part->portid};
	parsed->spec.nr_metadata = 3;
	return xreg_parsed_check(parsed, path, err);
}

/* ---- whose a target is ---- */

static bool is_text(const char *text, const char *want)
{
	return text != NULL && strcmp(text, want) == 0;
}

static bool is_owner(const struct xnvmf_dim *dim, const struct xreg_target *target)
{
	return target->origin.source == XREG_DIM &&
	       is_text(xreg__metadata(target, XREG_DIM_EID), dim->eid) &&
	       is_text(xreg__metadata(target, XREG_DIM_HOST), dim->hostnqn);
}

/* What is at the place of the entry; NULL: nothing. */
static const struct xreg_target *at_place(
	const struct xreg_discovery *d, const struct xnvmf_dim_entry *entry)
{
	const struct xreg_spec spec = {.nqn = entry->nqn,
		.address = entry->address,
		.transport = transport_of(entry->trtype),
		.port = port_of(entry)};
	char place[XREG_PLACE_SIZE];

	xreg_spec_place(&spec, place);
	return xreg_view_first(d->view, XREG_BY_PLACE, place);
}

struct search {
	const struct xnvmf_dim *dim;
	const struct xnvmf_dim_entry *entry;
	const struct xreg_target *found;
};

static bool has_port(void *arg, const struct xreg_target *target)
{
	struct search *search = arg;
	char portid[8];

	snprintf(portid, sizeof(portid), "%u", search->entry->portid);
	if (target->spec.transport == transport_of(search->entry->trtype) &&
		is_owner(search->dim, target) &&
		is_text(xreg__metadata(target, XREG_DIM_PORT), portid)) {
		search->found = target;
	}
	return search->found == NULL;
}

/* The target that the key of an entry means, when it is the entity's own. */
static const struct xreg_target *find_own(const struct xreg_discovery *d,
	const struct xnvmf_dim *dim, const struct xnvmf_dim_entry *entry)
{
	struct search search = {.dim = dim, .entry = entry};
	const struct xreg_target *target;

	if (dim->is_key_port) {
		xreg_view_each(d->view, XREG_BY_NQN, entry->nqn, false, has_port, &search);
		return search.found;
	}
	target = at_place(d, entry);
	return target != NULL && is_owner(dim, target) ? target : NULL;
}

/* ---- from entries to changes ---- */

static void on_change_done(struct xreg_change *change);

static struct part *add_part(
	struct request *request, enum xreg_change_op op, const struct xreg_target *before)
{
	struct part *part = calloc(1, sizeof(*part));

	if (part == NULL) {
		return NULL;
	}
	part->request = request;
	part->change = (struct xreg_change){.op = op,
		.spec = &part->parsed.spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""},
		.source = XREG_DIM,
		.done = on_change_done,
		.arg = part};
	if (before != NULL) {
		part->before = xreg_target_ref(before);
		part->change.id = part->before->origin.id;
	}
	request->parts[request->nr_parts++] = part;
	return part;
}

static uint16_t refuse(struct xu_error *err, const char *why, const char *nqn)
{
	xu_error_set(err, -EINVAL, "'%s' %s", nqn, why);
	return NVME_SC_DISCOVERY_INFO;
}

static uint16_t add_target(struct request *request, const struct xnvmf_dim_entry *entry,
	const struct xreg_target *before, struct xu_error *err)
{
	struct part *part = add_part(request, before != NULL ? XREG_UPDATE : XREG_REGISTER, before);

	if (part == NULL) {
		xu_error_set_errno(err, -ENOMEM, "taking a registration");
		return NVME_SC_INTERNAL;
	}
	if (make_spec(part, request->dim, entry, err) != 0) {
		return NVME_SC_DISCOVERY_INFO;
	}
	/* It is there again. */
	if (before != NULL && xreg__is_disconnected(before) &&
		add_part(request, XREG_SET_STATUS, before) == NULL) {
		xu_error_set_errno(err, -ENOMEM, "taking a registration");
		return NVME_SC_INTERNAL;
	}
	return 0;
}

/* A discovery controller tells of itself too; only subsystems become targets. */
static bool is_subsystem(const struct xnvmf_dim_entry *entry)
{
	return entry->subtype == NVME_SUBTYPE_NVM;
}

static uint16_t resolve_register(struct request *request, struct xu_error *err)
{
	const struct xnvmf_dim *dim = request->dim;
	uint16_t status = 0;

	for (uint32_t i = 0; i < dim->nr_entries && status == 0; i++) {
		const struct xnvmf_dim_entry *entry = &dim->entries[i];
		const struct xreg_target *before;

		if (!is_subsystem(entry)) {
			continue;
		}
		before = at_place(request->d, entry);
		if (before == NULL && dim->is_key_port) {
			before = find_own(request->d, dim, entry);
		}
		status = before != NULL && !is_owner(dim, before)
				 ? refuse(err, "was registered by another", entry->nqn)
				 : add_target(request, entry, before, err);
	}
	return status;
}

static uint16_t resolve_deregister(struct request *request, struct xu_error *err)
{
	const struct xnvmf_dim *dim = request->dim;

	for (uint32_t i = 0; i < dim->nr_entries; i++) {
		const struct xnvmf_dim_entry *entry = &dim->entries[i];
		const struct xreg_target *before;

		if (!is_subsystem(entry)) {
			continue;
		}
		before = find_own(request->d, dim, entry);
		if (before == NULL) {
			return refuse(err, "is not registered there by this entity", entry->nqn);
		}
		if (add_part(request, XREG_UNREGISTER, before) == NULL) {
			xu_error_set_errno(err, -ENOMEM, "taking a registration");
			return NVME_SC_INTERNAL;
		}
	}
	return 0;
}

/* The first entry is the key of what the second replaces. */
static uint16_t resolve_update(struct request *request, struct xu_error *err)
{
	const struct xnvmf_dim *dim = request->dim;
	const struct xreg_target *before = find_own(request->d, dim, &dim->entries[0]);

	if (before == NULL) {
		return refuse(err, "is not registered there by this entity", dim->entries[0].nqn);
	}
	return add_target(request, &dim->entries[1], before, err);
}

/* ---- to the store and back ---- */

static void start(struct request *request);
static void start_waiting(struct xreg_discovery *d);

/* What the request was resolved by had changed when it came to the writer: by the same entity on
 * another connection, as a rule. */
static bool was_overtaken(const struct request *request)
{
	for (uint32_t i = 0; i < request->nr_parts; i++) {
		int rc = request->parts[i]->change.rc;

		if (rc == -EEXIST || rc == -ENOENT) {
			return true;
		}
	}
	return false;
}

static void on_request_done(struct xr_msg *msg)
{
	struct request *request = xu_container_of(msg, struct request, msg);
	struct xreg_discovery *d = request->d;
	const char *why = "";

	d->nr_changes -= request->nr_parts;
	if (!request->is_again && was_overtaken(request)) {
		request->is_again = true;
		free_parts(request);
		atomic_store(&request->status, 0);
		start(request);
		start_waiting(d);
		return;
	}
	for (uint32_t i = 0; i < request->nr_parts && why[0] == '\0'; i++) {
		why = request->parts[i]->change.err.text;
	}
	answer(request->dim, atomic_load(&request->status), why);
	free_request(request);
	start_waiting(d);
}

static uint16_t status_of(const struct xreg_change *change)
{
	switch (change->rc) {
	case 0:
		return 0;
	case -EDQUOT:
		return NVME_SC_DISCOVERY_FULL;
	case -EEXIST:
		return NVME_SC_DISCOVERY_INFO; /* another was faster */
	default:
		return NVME_SC_INTERNAL; /* without DNR: the entity may try again */
	}
}

/* The writer's thread. */
static void on_change_done(struct xreg_change *change)
{
	struct part *part = change->arg;
	struct request *request = part->request;
	struct xreg_discovery *d = request->d;
	uint16_t none = 0, status = status_of(change);

	if (status != 0) {
		atomic_compare_exchange_strong(&request->status, &none, status);
	}
	/* The reactor may run the message, and its owner end, before it has been sent in full. */
	pthread_mutex_lock(&d->send_mutex);
	if (atomic_fetch_sub(&request->nr_left, 1) == 1) {
		xr_msg_send(d->opts.reactor, &request->msg);
	}
	pthread_mutex_unlock(&d->send_mutex);
}

static uint16_t resolve(struct request *request, struct xu_error *err)
{
	switch (request->dim->task) {
	case NVME_DIM_REGISTER:
		return resolve_register(request, err);
	case NVME_DIM_DEREGISTER:
		return resolve_deregister(request, err);
	default:
		return resolve_update(request, err);
	}
}

static void start(struct request *request)
{
	struct xreg_discovery *d = request->d;
	struct xu_error err = {0};
	uint16_t status;

	xreg__discovery_refresh(d);
	status = resolve(request, &err);
	if (status != 0 || request->nr_parts == 0) {
		answer(request->dim, status, err.text);
		free_request(request);
		return; /* our caller looks after those who wait */
	}
	d->nr_changes += request->nr_parts;
	atomic_store(&request->nr_left, request->nr_parts);
	/* The request may be on its way back, not freed yet, when the last one has been given. */
	for (uint32_t i = 0, count = request->nr_parts; i < count; i++) {
		xreg_store_submit(d->opts.store, &request->parts[i]->change);
	}
}

static void start_waiting(struct xreg_discovery *d)
{
	struct xu_list *node;

	while (d->nr_changes < NR_CHANGES_MAX && (node = xu_list_pop(&d->dims)) != NULL) {
		start(xu_list_entry(node, struct request, link));
	}
}

/* ---- hosts ---- */

struct registered {
	struct xu_list link, bucket_link;
	struct xreg_host_record *record;
};

struct xreg_host_record *xreg__registered_record(struct xu_list *node)
{
	return xu_list_entry(node, struct registered, link)->record;
}

static struct xu_list *bucket_of(struct xreg_discovery *d, const char *nqn)
{
	return &d->registered_buckets[xu_hash32(nqn, strlen(nqn)) % XREG_HOST_BUCKETS];
}

static struct registered *find_registered(struct xreg_discovery *d, const char *nqn)
{
	struct xu_list *node;

	xu_list_for_each (node, bucket_of(d, nqn)) {
		struct registered *host = xu_list_entry(node, struct registered, bucket_link);

		if (strcmp(host->record->nqn, nqn) == 0) {
			return host;
		}
	}
	return NULL;
}

static void free_registered(struct xreg_discovery *d, struct registered *host)
{
	xu_list_del(&host->link);
	xu_list_del(&host->bucket_link);
	xreg__host_record_unref(host->record);
	free(host);
	d->nr_registered--;
}

static struct xreg_host_record *new_record(const struct xreg_discovery *d,
	const struct xnvmf_dim *dim, const struct xnvmf_dim_entry *entry)
{
	struct xreg_host_record *record = calloc(1, sizeof(*record));

	if (record != NULL) {
		record->nr_refs = 1;
		strcpy(record->nqn, entry->nqn);
		snprintf(record->name, sizeof(record->name), "%.255s", dim->ename);
		snprintf(record->version, sizeof(record->version), "%s", dim->ever);
		snprintf(record->address, sizeof(record->address), "%.63s", entry->address);
		memcpy(record->hostid, entry->hostid, sizeof(record->hostid));
		record->at_ms = d->clock->wall_ns(d->clock) / XU_NS_PER_MS;
	}
	return record;
}

static uint16_t put_registered(
	struct xreg_discovery *d, const struct xnvmf_dim *dim, const struct xnvmf_dim_entry *entry)
{
	struct registered *host = find_registered(d, entry->nqn);
	struct xreg_host_record *record;

	if (host == NULL && d->nr_registered == d->opts.nr_hosts_max) {
		return NVME_SC_DISCOVERY_FULL;
	}
	record = new_record(d, dim, entry);
	if (host == NULL && record != NULL) {
		host = calloc(1, sizeof(*host));
		if (host != NULL) {
			xu_list_add_tail(&d->registered, &host->link);
			xu_list_add_tail(bucket_of(d, record->nqn), &host->bucket_link);
			d->nr_registered++;
		}
	}
	if (host == NULL || record == NULL) {
		free(record);
		return NVME_SC_INTERNAL;
	}
	xreg__host_record_unref(host->record);
	host->record = record;
	return 0;
}

/* A host speaks for itself and for nobody else. */
static uint16_t register_host(struct xreg_discovery *d, const struct xnvmf_dim *dim)
{
	uint16_t status = 0;

	for (uint32_t i = 0; i < dim->nr_entries; i++) {
		if (strcmp(dim->entries[i].nqn, dim->hostnqn) != 0 ||
			strcmp(dim->eid, dim->hostnqn) != 0) {
			return NVME_SC_DISCOVERY_INFO;
		}
	}
	if (dim->task == NVME_DIM_DEREGISTER) {
		struct registered *host = find_registered(d, dim->hostnqn);

		if (host != NULL) {
			free_registered(d, host);
			xnvmf_target_discovery_changed(d->target);
		}
		return 0;
	}
	for (uint32_t i = dim->task == NVME_DIM_UPDATE; i < dim->nr_entries && status == 0; i++) {
		status = put_registered(d, dim, &dim->entries[i]);
	}
	xnvmf_target_discovery_changed(d->target);
	return status;
}

void xreg_discovery_each_registered(struct xreg_discovery *d,
	bool (*fn)(void *arg, const struct xreg_discovery_host *host), void *arg)
{
	struct xu_list *node;

	xu_list_for_each (node, &d->registered) {
		const struct xreg_host_record *at = xreg__registered_record(node);
		const struct xreg_discovery_host host = {.nqn = at->nqn,
			.name = at->name,
			.version = at->version,
			.address = at->address,
			.hostid = at->hostid,
			.at_ms = at->at_ms};

		if (!fn(arg, &host)) {
			return;
		}
	}
}

void xreg__registered_free(struct xreg_discovery *d)
{
	struct xu_list *node;

	while ((node = xu_list_first(&d->registered)) != NULL) {
		free_registered(d, xu_list_entry(node, struct registered, link));
	}
}

/* ---- the command ---- */

void xreg__dim(void *arg, struct xnvmf_dim *dim)
{
	struct xreg_discovery *d = arg;
	struct request *request;

	dim->owner_data = d;
	if (dim->entity == NVME_DIM_ENTITY_HOST) {
		answer(dim, register_host(d, dim),
			"it is not the host itself, or there are too many");
		return;
	}
	request = calloc(1, sizeof(*request) + 2 * dim->nr_entries * sizeof(request->parts[0]));
	if (request == NULL) {
		answer(dim, NVME_SC_INTERNAL, "there is no memory");
		return;
	}
	request->d = d;
	request->dim = dim;
	request->msg.fn = on_request_done;
	xu_list_add_tail(&d->dims, &request->link);
	start_waiting(d);
}
