/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of hosts (page 71h): those that have registered themselves (discovery_dim.c), for other
 * discovery controllers. One sees the hosts that may use a target which it has registered, or all
 * when it asks for that; hosts see no others. A view is a list of records, which never change; what
 * a reader saw last is kept as a sum of hashes, by which its change counter moves.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/util/hash.h"
#include "lib/xregistry/discovery_private.h"

#define NR_READERS_MAX 256u /* whose change counters are kept, those used last */
#define ENTRY_BYTES    ((uint32_t)sizeof(struct nvme_discovery_entry))
#define EXT_BYTES                                                                                  \
	(ENTRY_BYTES + (uint32_t)sizeof(struct nvme_discovery_extension) +                         \
		(uint32_t)sizeof(struct nvme_discovery_attribute) + NVME_EXAT_HOSTID_BYTES)

_Static_assert(EXT_BYTES <= XNVMF_DISCOVERY_ENTRY_MAX && EXT_BYTES % 4 == 0, "entry of a host");

struct row {
	struct xreg_host_record *record;
	bool is_connected;
};

struct view {
	struct xnvmf_discovery_info info;
	struct row rows[];
};

/* What a discovery controller saw last. */
struct reader {
	struct xu_list link;
	uint64_t hash, genctr;
	bool is_all;
	char hostnqn[];
};

/* ---- records ---- */

struct xreg_host_record *xreg__host_record_ref(struct xreg_host_record *record)
{
	record->nr_refs++;
	return record;
}

void xreg__host_record_unref(struct xreg_host_record *record)
{
	if (record != NULL && --record->nr_refs == 0) {
		free(record);
	}
}

static uint64_t mix(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
	return hash ^ hash >> 31;
}

/* Of everything that its entry says. */
static uint64_t hash_row(const struct row *row)
{
	const struct xreg_host_record *record = row->record;
	uint64_t nqn = xu_hash32(record->nqn, strlen(record->nqn));
	uint64_t rest = xu_crc32c(record->address, strlen(record->address));

	rest ^= xu_crc32c(record->hostid, sizeof(record->hostid));
	return mix((nqn << 32 | rest) + row->is_connected);
}

/* ---- who sees which ---- */

/* The hosts that are to be looked at, and what they are looked at with. */
struct look {
	const struct xreg_discovery *d;
	const struct xnvmf_discovery_asker *asker;
	bool is_all;
	const char **connected; /* sorted */
	uint32_t nr_connected, room;
	const struct xreg_target **targets; /* of who asks */
	uint32_t nr_targets, targets_room;
	bool has_no_memory;
};

static bool grow(void *array_pointer, uint32_t count, uint32_t *room, size_t size)
{
	void **array = array_pointer, *more;

	if (count < *room) {
		return true;
	}
	more = realloc(*array, (*room != 0 ? 2 * *room : 64) * size);
	if (more == NULL) {
		return false;
	}
	*array = more;
	*room = *room != 0 ? 2 * *room : 64;
	return true;
}

static bool on_connected(void *arg, const struct xnvmf_discovery_host *host)
{
	struct look *look = arg;

	if (!grow(&look->connected, look->nr_connected, &look->room, sizeof(*look->connected))) {
		look->has_no_memory = true;
		return false;
	}
	look->connected[look->nr_connected++] = host->hostnqn;
	return true;
}

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct look *look = arg;
	const char *host =
		target->origin.source == XREG_DIM ? xreg__metadata(target, XREG_DIM_HOST) : NULL;

	if (host == NULL || strcmp(host, look->asker->hostnqn) != 0) {
		return true;
	}
	if (!grow(&look->targets, look->nr_targets, &look->targets_room,
		    sizeof(look->targets[0]))) {
		look->has_no_memory = true;
		return false;
	}
	look->targets[look->nr_targets++] = target;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* False: no memory. Ended by look_end() in any case. */
static bool look_begin(struct look *look)
{
	struct xreg_discovery *d = (struct xreg_discovery *)look->d;

	xnvmf_discovery_each_host(d->target, on_connected, look);
	if (look->nr_connected != 0) {
		qsort(look->connected, look->nr_connected, sizeof(*look->connected), compare_names);
	}
	if (!look->is_all) {
		xreg__discovery_refresh(d);
		xreg_view_each(d->view, XREG_BY_ID, "", true, on_target, look);
	}
	return !look->has_no_memory;
}

static void look_end(struct look *look)
{
	free(look->connected);
	free(look->targets);
}

static bool sees(const struct look *look, const struct xreg_host_record *record)
{
	const struct xreg_discovery_opts *opts = &look->d->opts;

	for (uint32_t i = 0; !look->is_all && i < look->nr_targets; i++) {
		if (opts->may_see(opts->arg, record->nqn, look->targets[i])) {
			return true;
		}
	}
	return look->is_all;
}

/* The hosts that are seen go to `rows` (NULL: they are only summed up). */
static uint32_t collect(const struct look *look, struct row *rows, uint64_t *ret_hash)
{
	struct xu_list *node;
	uint32_t count = 0;

	*ret_hash = 0;
	xu_list_for_each (node, &look->d->registered) {
		struct row row = {.record = xreg__registered_record(node)};
		const char *nqn = row.record->nqn;

		if (!look->asker->is_controller || !sees(look, row.record)) {
			continue;
		}
		row.is_connected = look->nr_connected != 0 &&
				   bsearch(&nqn, look->connected, look->nr_connected,
					   sizeof(*look->connected), compare_names) != NULL;
		*ret_hash += hash_row(&row);
		if (rows != NULL) {
			xreg__host_record_ref(row.record);
			rows[count] = row;
		}
		count++;
	}
	return count;
}

/* ---- readers ---- */

static void free_reader(struct xreg_discovery *d, struct reader *reader)
{
	xu_list_del(&reader->link);
	free(reader);
	d->nr_readers--;
}

/* The reader's change counter, now that it sees what sums up to `hash`; 0: no memory. */
static uint64_t count_up(struct xreg_discovery *d, const struct look *look, uint64_t hash)
{
	const char *hostnqn = look->is_all ? "" : look->asker->hostnqn;
	struct reader *reader = NULL;
	struct xu_list *node;

	xu_list_for_each (node, &d->readers) {
		struct reader *at = xu_list_entry(node, struct reader, link);

		if (at->is_all == look->is_all && strcmp(at->hostnqn, hostnqn) == 0) {
			reader = at;
			xu_list_del(&reader->link);
			break;
		}
	}
	if (reader == NULL) {
		reader = malloc(sizeof(*reader) + strlen(hostnqn) + 1);
		if (reader == NULL) {
			return 0;
		}
		if (d->nr_readers == NR_READERS_MAX) {
			free_reader(d, xu_list_entry(d->readers.prev, struct reader, link));
		}
		*reader = (struct reader){
			.hash = hash, .genctr = xreg__next_genctr(d), .is_all = look->is_all};
		strcpy(reader->hostnqn, hostnqn);
		d->nr_readers++;
	}
	xu_list_add_head(&d->readers, &reader->link);
	if (reader->hash != hash) {
		reader->hash = hash;
		reader->genctr++;
		d->last_genctr = reader->genctr > d->last_genctr ? reader->genctr : d->last_genctr;
	}
	return reader->genctr;
}

void xreg__readers_free(struct xreg_discovery *d)
{
	struct xu_list *node;

	while ((node = xu_list_first(&d->readers)) != NULL) {
		free_reader(d, xu_list_entry(node, struct reader, link));
	}
}

/* ---- the log ---- */

static struct look look_of(struct xreg_discovery *d, const struct xnvmf_discovery_asker *asker)
{
	return (struct look){.d = d,
		.asker = asker,
		.is_all = asker->is_controller &&
			  ((asker->options & XNVMF_DISCOVERY_ALL_HOSTS) != 0 ||
				  d->opts.may_see == NULL)};
}

static void hosts_unpin(void *arg, void *pinned)
{
	struct view *view = pinned;

	for (uint32_t i = 0; i < view->info.nr_entries; i++) {
		xreg__host_record_unref(view->rows[i].record);
	}
	free(view);
}

static void *hosts_pin(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct xreg_discovery *d = arg;
	struct look look = look_of(d, asker);
	struct view *view = NULL;
	uint64_t hash;

	if (look_begin(&look)) {
		view = malloc(sizeof(*view) + (asker->is_controller ? d->nr_registered : 0) *
						      sizeof(view->rows[0]));
	}
	if (view != NULL) {
		view->info = (struct xnvmf_discovery_info){.entry_bytes = EXT_BYTES,
			.nr_entries = collect(&look, view->rows, &hash),
			.options = look.is_all ? asker->options & XNVMF_DISCOVERY_ALL_HOSTS : 0};
		view->info.genctr = count_up(d, &look, hash);
	}
	look_end(&look);
	if (view != NULL && view->info.genctr == 0) {
		hosts_unpin(d, view);
		view = NULL;
	}
	return view;
}

static void hosts_describe(const void *view, struct xnvmf_discovery_info *ret_info)
{
	*ret_info = ((const struct view *)view)->info;
}

static uint64_t hosts_genctr(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct xreg_discovery *d = arg;
	struct look look = look_of(d, asker);
	uint64_t hash, genctr = 0;

	if (look_begin(&look)) {
		collect(&look, NULL, &hash);
		genctr = count_up(d, &look, hash);
	}
	look_end(&look);
	return genctr;
}

static void fill(uint8_t *at, const struct row *row)
{
	static const struct nvme_discovery_extension extension = {.tel = EXT_BYTES, .numexat = 1};
	static const struct nvme_discovery_attribute attribute = {
		NVME_EXAT_HOST_ID, NVME_EXAT_HOSTID_BYTES};
	struct nvme_discovery_entry *entry = (struct nvme_discovery_entry *)at;
	const struct xreg_host_record *record = row->record;

	memset(at, 0, EXT_BYTES);
	entry->trtype = NVME_TRTYPE_TCP;
	entry->adrfam = strchr(record->address, ':') != NULL ? NVME_ADRFAM_IPV6 : NVME_ADRFAM_IPV4;
	entry->eflags = row->is_connected ? 0 : NVME_EFLAG_NOT_CONNECTED;
	memcpy(entry->subnqn, record->nqn, strlen(record->nqn));
	memcpy(entry->traddr, record->address, strlen(record->address));
	at += sizeof(*entry);
	memcpy(at, &extension, sizeof(extension));
	memcpy(at + sizeof(extension), &attribute, sizeof(attribute));
	memcpy(at + sizeof(extension) + sizeof(attribute), record->hostid, sizeof(record->hostid));
}

static void hosts_render(const void *arg, uint32_t first, uint32_t count, void *buf)
{
	const struct view *view = arg;

	for (uint32_t i = 0; i < count; i++) {
		fill((uint8_t *)buf + (size_t)i * EXT_BYTES, &view->rows[first + i]);
	}
}

const struct xnvmf_discovery_log_ops xreg__hosts_log = {
	.options = XNVMF_DISCOVERY_ALL_HOSTS,
	.pin = hosts_pin,
	.unpin = hosts_unpin,
	.describe = hosts_describe,
	.render = hosts_render,
	.genctr = hosts_genctr,
};
