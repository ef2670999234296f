/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the registry shows as a central discovery controller: entries made from targets, who sees
 * which of them, and the change counter of each host, which moves when its log has changed and at
 * no other time. The table that the target asks is asked by the test itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/reactor/reactor.h"
#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xbdev/core/device.h"
#include "lib/xregistry/discovery_private.h"
#include "test/unit/util/fail.h"
#include "test/unit/xregistry/fixture.h"

#define NQN "nqn.2026-11.io.xsan:registry"

struct world {
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xreg_store *store;
	struct xreg_discovery *d;
	struct xu_error err;
	bool is_stopped;
	bool is_controller;  /* who pins */
	char hidden;         /* hosts whose NQN ends with it do not see what ends with it */
	enum xreg_sees sees; /* what is answered of all targets at once */
	uint32_t nr_visits;  /* of each, then */
	uint64_t nr_asked;
};

/* ---- the world ---- */

static bool may_see(void *arg, const char *hostnqn, const struct xreg_target *target)
{
	struct world *w = arg;

	w->nr_asked++;
	return hostnqn[strlen(hostnqn) - 1] != w->hidden ||
	       target->spec.nqn[strlen(target->spec.nqn) - 1] != w->hidden;
}

struct listing {
	struct world *w;
	const char *hostnqn;
	xreg_each_fn fn;
	void *arg;
};

static bool list_one(void *arg, const struct xreg_target *target)
{
	struct listing *l = arg;

	return !may_see(l->w, l->hostnqn, target) || l->fn(l->arg, target);
}

/* Not in the order of places, and some are visited twice. */
static enum xreg_sees each_seen(
	void *arg, const char *hostnqn, const struct xreg_view *view, xreg_each_fn fn, void *fn_arg)
{
	struct world *w = arg;
	struct listing l = {w, hostnqn, fn, fn_arg};

	if (w->sees == XREG_SEES_ALL && hostnqn[strlen(hostnqn) - 1] == w->hidden) {
		return XREG_SEES_SOME;
	}
	for (uint32_t i = 0; w->sees == XREG_SEES_LISTED && i < w->nr_visits; i++) {
		xreg_view_each(view, XREG_BY_NODE, "node-2", false, list_one, &l);
		xreg_view_each(view, XREG_BY_ID, "", true, list_one, &l);
	}
	return w->sees;
}

static void poll_some(struct world *w)
{
	for (uint32_t i = 0; i < 20; i++) {
		xr_reactor_poll(xbdev_ctx_control(w->ctx), XU_NS_PER_MS);
	}
}

static void discovery_start(struct world *w, bool has_filter, uint32_t nr_hosts_max)
{
	const struct xreg_discovery_opts opts = {.store = w->store,
		.reactor = xbdev_ctx_control(w->ctx),
		.nr_hosts_max = nr_hosts_max,
		.has_all = true,
		.may_see = has_filter ? may_see : NULL,
		.each_seen = has_filter ? each_seen : NULL,
		.arg = w};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	struct xnvmf_target_opts target_opts;

	xnvmf_target_opts_default(&target_opts);
	assert_int_equal(xnvmf_target_new(w->ctx, &target_opts, &w->target, &w->err), 0);
	assert_int_equal(xreg_discovery_new(&opts, &w->d, &w->err), 0);
	assert_int_equal(xreg_discovery_attach(w->d, w->target, NQN, &w->err), 0);
	assert_int_equal(xnvmf_discovery_listen(w->target, &listener, &w->err), 0);
}

static void on_stopped(void *arg)
{
	((struct world *)arg)->is_stopped = true;
}

static void discovery_stop(struct world *w)
{
	w->is_stopped = false;
	assert_int_equal(xnvmf_target_stop(w->target, on_stopped, w), 0);
	for (uint32_t i = 0; i < 60000 && !w->is_stopped; i++) {
		xr_reactor_poll(xbdev_ctx_control(w->ctx), XU_NS_PER_MS);
	}
	assert_true(w->is_stopped);
	xnvmf_target_free(w->target);
	xreg_discovery_free(w->d);
	poll_some(w);
}

static void world_start_with(struct world *w, bool has_filter, uint32_t nr_hosts_max)
{
	const struct xbdev_ctx_opts opts = {.nr_reactors = 1};

	*w = (struct world){.hidden = '?'};
	assert_int_equal(xbdev_ctx_new(&opts, &w->ctx, &w->err), 0);
	w->store = fixture_open(NULL);
	discovery_start(w, has_filter, nr_hosts_max);
}

static void world_stop(struct world *w)
{
	discovery_stop(w);
	xreg_store_close(w->store);
	xbdev_ctx_free(w->ctx);
}

static struct xnvmf_discovery_asker asker_of(const char *hostnqn, uint32_t options)
{
	static const uint8_t hostid[16];

	return (struct xnvmf_discovery_asker){.hostnqn = hostnqn,
		.hostid = hostid,
		.address = "192.0.2.1",
		.own_address = "127.0.0.1",
		.options = options};
}

static uint64_t counter(struct world *w, const char *hostnqn)
{
	struct xnvmf_discovery_asker asker = asker_of(hostnqn, 0);
	uint64_t genctr = w->d->ops.log.genctr(w->d, &asker);

	assert_int_not_equal(genctr, 0);
	return genctr;
}

static void *pin(struct world *w, const char *hostnqn, uint32_t options)
{
	struct xnvmf_discovery_asker asker = asker_of(hostnqn, options);
	struct xnvmf_discovery_info info;
	void *view;

	asker.is_controller = w->is_controller;
	view = w->d->ops.log.pin(w->d, &asker);
	assert_non_null(view);
	w->d->ops.log.describe(view, &info);
	assert_int_equal(info.options & XNVMF_DISCOVERY_ALL,
		w->is_controller || w->d->opts.may_see == NULL ? options & XNVMF_DISCOVERY_ALL : 0);
	return view;
}

static uint32_t count_of(struct world *w, const char *hostnqn, uint32_t options)
{
	void *view = pin(w, hostnqn, options);
	struct xnvmf_discovery_info info;

	w->d->ops.log.describe(view, &info);
	w->d->ops.log.unpin(w->d, view);
	return info.nr_entries - 1; /* of the service itself */
}

/* ---- changes of the store ---- */

static int change(struct world *w, struct xreg_change *c)
{
	int rc = xreg_store_change(w->store, c);

	xreg_target_unref(c->result);
	return rc;
}

static void put(struct world *w, const struct xreg_spec *spec, uint32_t source)
{
	struct xreg_change c = {.op = XREG_REGISTER,
		.spec = spec,
		.source = source,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};

	if (change(w, &c) != 0) {
		fail_msg("%s", c.err.text);
	}
}

static void set_state(struct world *w, const char *id, uint32_t state)
{
	struct xreg_change c = {
		.op = XREG_SET_STATUS, .id = id, .status = {.state = state, .reason = "test"}};

	assert_int_equal(change(w, &c), 0);
}

static void drop(struct world *w, const char *id)
{
	struct xreg_change c = {.op = XREG_UNREGISTER, .id = id};

	assert_int_equal(change(w, &c), 0);
}

/* The id of the only target with that NQN. */
static void id_of(struct world *w, const char *nqn, char id[XREG_ID_SIZE])
{
	struct xreg_view *view = xreg_store_view(w->store);

	strcpy(id, xreg_view_first(view, XREG_BY_NQN, nqn)->origin.id);
	xreg_view_unref(view);
}

/* ---- entries ---- */

static void read_entry(struct world *w, const char *nqn, struct nvme_discovery_entry *ret_entry)
{
	void *view = pin(w, "nqn.2026-11.io.xsan:h", 0);
	struct xnvmf_discovery_info info;

	w->d->ops.log.describe(view, &info);
	assert_int_equal(info.entry_bytes, sizeof(*ret_entry));
	for (uint32_t i = 0; i < info.nr_entries; i++) {
		w->d->ops.log.render(view, i, 1, ret_entry);
		if (strcmp(ret_entry->subnqn, nqn) == 0) {
			w->d->ops.log.unpin(w->d, view);
			return;
		}
	}
	fail_msg("no entry of %s", nqn);
}

static void test_discovery_entries_say_what_targets_are(void **state)
{
	struct xreg_spec tcp = fixture_spec(), rdma = fixture_spec(), fc = fixture_spec();
	struct nvme_discovery_entry entry;
	struct world w;

	rdma.nqn = "nqn.2026-11.io.xsan:rdma";
	rdma.transport = XREG_RDMA;
	rdma.address = "2001:db8::7";
	rdma.port = 4421;
	fc.nqn = "nqn.2026-11.io.xsan:fc";
	fc.transport = XREG_FC;
	fc.address = "nn-0x1000000000000001:pn-0x2000000000000002";
	fc.port = 0;
	world_start_with(&w, false, 0);
	put(&w, &tcp, XREG_REGISTERED);
	put(&w, &rdma, XREG_REGISTERED);
	put(&w, &fc, XREG_REGISTERED);
	read_entry(&w, tcp.nqn, &entry);
	assert_int_equal(entry.trtype, NVME_TRTYPE_TCP);
	assert_int_equal(entry.adrfam, NVME_ADRFAM_IPV4);
	assert_int_equal(entry.subtype, NVME_SUBTYPE_NVM);
	assert_int_equal(entry.treq, NVME_TREQ_SQFLOW_OPTIONAL | NVME_TREQ_SECURE_REQUIRED);
	assert_int_equal(entry.tsas[0], NVME_TSAS_TLS13);
	assert_int_equal(entry.cntlid, 0xffff);
	assert_true(entry.asqsz >= 32);
	assert_int_equal(entry.eflags, 0);
	assert_string_equal(entry.trsvcid, "4420");
	assert_string_equal(entry.traddr, "192.0.2.7");
	read_entry(&w, rdma.nqn, &entry);
	assert_int_equal(entry.trtype, NVME_TRTYPE_RDMA);
	assert_int_equal(entry.adrfam, NVME_ADRFAM_IPV6);
	assert_int_equal(entry.treq, NVME_TREQ_SQFLOW_OPTIONAL);
	assert_string_equal(entry.trsvcid, "4421");
	assert_string_equal(entry.traddr, "2001:db8::7");
	read_entry(&w, fc.nqn, &entry);
	assert_int_equal(entry.trtype, NVME_TRTYPE_FC);
	assert_int_equal(entry.adrfam, NVME_ADRFAM_FC);
	assert_string_equal(entry.trsvcid, "none");
	assert_string_equal(entry.traddr, fc.address);
	read_entry(&w, NQN, &entry);
	assert_int_equal(entry.subtype, NVME_SUBTYPE_CURRENT_DISCOVERY);
	assert_int_equal(entry.eflags, NVME_EFLAG_PERSISTENT);
	assert_string_equal(entry.traddr, "127.0.0.1");
	world_stop(&w);
}

/* Extended entries all have one length; a target's has the name of its node. */
static void test_discovery_extended_entries(void **state)
{
	struct xreg_spec spec = fixture_spec();
	struct nvme_discovery_attribute attribute;
	struct nvme_discovery_extension extension;
	struct xnvmf_discovery_info info;
	uint8_t entries[2][XNVMF_DISCOVERY_ENTRY_MAX], *at;
	struct world w;
	void *view;

	world_start_with(&w, false, 0);
	put(&w, &spec, XREG_REGISTERED);
	view = pin(&w, "nqn.2026-11.io.xsan:h", XNVMF_DISCOVERY_EXTENDED);
	w.d->ops.log.describe(view, &info);
	assert_int_equal(info.nr_entries, 2);
	for (uint32_t i = 0; i < 2; i++) {
		w.d->ops.log.render(view, i, 1, entries[i]);
		memcpy(&extension, entries[i] + 1024, sizeof(extension));
		assert_int_equal(extension.tel, info.entry_bytes);
		assert_int_equal(extension.numexat, i);
	}
	at = entries[1] + 1024 + sizeof(extension);
	memcpy(&attribute, at, sizeof(attribute));
	assert_int_equal(attribute.type, NVME_EXAT_LABEL_ASCII);
	assert_int_equal(attribute.len, info.entry_bytes - 1024 - 8 - 4);
	assert_string_equal((char *)at + sizeof(attribute), "node-1");
	/* Both at once are the same bytes. */
	at = malloc(2 * info.entry_bytes);
	w.d->ops.log.render(view, 0, 2, at);
	assert_memory_equal(at, entries[0], info.entry_bytes);
	assert_memory_equal(at + info.entry_bytes, entries[1], info.entry_bytes);
	free(at);
	w.d->ops.log.unpin(w.d, view);
	world_stop(&w);
}

/* ---- when it changes ---- */

/* Only what an entry says moves the counter: each time by one. */
static void test_discovery_counter_moves_with_the_log(void **state)
{
	const char *host = "nqn.2026-11.io.xsan:h";
	struct xreg_spec spec = fixture_spec();
	struct xreg_change update = {.op = XREG_UPDATE, .spec = &spec};
	char id[XREG_ID_SIZE];
	uint64_t genctr;
	struct world w;

	world_start_with(&w, true, 0);
	genctr = counter(&w, host);
	put(&w, &spec, XREG_REGISTERED);
	assert_int_equal(counter(&w, host), ++genctr);
	assert_int_equal(counter(&w, host), genctr);
	id_of(&w, spec.nqn, id);
	set_state(&w, id, XREG_BUSY);
	set_state(&w, id, XREG_OFFLINE); /* it stays in the log, as it was */
	set_state(&w, id, XREG_MAINTENANCE);
	assert_int_equal(counter(&w, host), genctr);
	assert_int_equal(count_of(&w, host, 0), 1);
	update.id = id;
	spec.max_iops = 1; /* no part of an entry */
	assert_int_equal(change(&w, &update), 0);
	assert_int_equal(counter(&w, host), genctr);
	spec.security = XREG_SECURITY_NONE;
	assert_int_equal(change(&w, &update), 0);
	assert_int_equal(counter(&w, host), ++genctr);
	spec.address = "192.0.2.8";
	assert_int_equal(change(&w, &update), 0);
	assert_int_equal(counter(&w, host), ++genctr);
	drop(&w, id);
	assert_int_equal(counter(&w, host), ++genctr);
	assert_int_equal(count_of(&w, host, 0), 0);
	/* There and away again between two looks is no change. */
	put(&w, &spec, XREG_REGISTERED);
	id_of(&w, spec.nqn, id);
	drop(&w, id);
	assert_int_equal(counter(&w, host), genctr);
	world_stop(&w);
}

/* What is down is told, whoever had found it. */
static void test_discovery_targets_that_are_down_are_marked(void **state)
{
	static const uint32_t sources[] = {XREG_DIM, XREG_PULLED, XREG_REGISTERED, XREG_MDNS};
	const char *host = "nqn.2026-11.io.xsan:h";
	struct nvme_discovery_entry entry;
	struct world w;

	world_start_with(&w, false, 0);
	for (uint32_t i = 0; i < 4; i++) {
		struct xreg_spec spec = fixture_spec();
		char nqn[64], id[XREG_ID_SIZE];
		uint64_t genctr;

		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%u", i);
		spec.nqn = nqn;
		put(&w, &spec, sources[i]);
		genctr = counter(&w, host);
		id_of(&w, nqn, id);
		set_state(&w, id, XREG_OFFLINE);
		assert_int_equal(counter(&w, host), genctr + 1);
		set_state(&w, id, XREG_FAILED);
		assert_int_equal(counter(&w, host), genctr + 1);
		read_entry(&w, nqn, &entry);
		assert_int_equal(entry.eflags, NVME_EFLAG_NOT_CONNECTED);
		set_state(&w, id, XREG_AVAILABLE);
		assert_int_equal(counter(&w, host), genctr + 2);
		read_entry(&w, nqn, &entry);
		assert_int_equal(entry.eflags, 0);
	}
	world_stop(&w);
}

/* More changes than are looked at one by one give the same answer. */
static void test_discovery_many_changes_at_once(void **state)
{
	const char *host = "nqn.2026-11.io.xsan:h";
	struct xreg_spec spec = fixture_spec();
	char id[XREG_ID_SIZE];
	uint64_t genctr, late;
	struct world w;

	world_start_with(&w, true, 0);
	put(&w, &spec, XREG_REGISTERED);
	id_of(&w, spec.nqn, id);
	genctr = counter(&w, host);
	for (uint32_t i = 0; i < XREG_DELTA_MAX + 10; i++) {
		set_state(&w, id, i % 2 ? XREG_BUSY : XREG_AVAILABLE);
	}
	assert_int_equal(counter(&w, host), genctr);
	for (uint32_t i = 0; i < XREG_DELTA_MAX + 10; i++) {
		fixture_register(w.store, "node", i);
	}
	assert_int_equal(counter(&w, host), genctr + 1);
	assert_int_equal(count_of(&w, host, 0), XREG_DELTA_MAX + 11);
	/* In steps that are each small enough, with a host that is asked at the end only. */
	late = counter(&w, "nqn.2026-11.io.xsan:late");
	for (uint32_t i = 0; i < 3 * XREG_DELTA_MAX / 2; i++) {
		set_state(&w, id, i % 2 ? XREG_BUSY : XREG_AVAILABLE);
		if (i % 100 == 0) {
			assert_int_equal(counter(&w, host), genctr + 1);
		}
	}
	drop(&w, id);
	assert_int_equal(counter(&w, "nqn.2026-11.io.xsan:late"), late + 1);
	assert_int_equal(count_of(&w, "nqn.2026-11.io.xsan:late", 0), XREG_DELTA_MAX + 10);
	assert_int_equal(counter(&w, host), genctr + 2);
	world_stop(&w);
}

/* ---- who sees what ---- */

/* A change that a host does not see does not move its counter; a new filter moves those whose log
 * it changes; who sees the same shares one list. */
static void test_discovery_filter(void **state)
{
	const char *a = "nqn.2026-11.io.xsan:host-3", *b = "nqn.2026-11.io.xsan:host-4";
	const char *c = "nqn.2026-11.io.xsan:host-5";
	uint64_t of_a, of_b, nr_asked;
	struct xreg_host_sight *first, *second;
	struct xnvmf_discovery_asker asker;
	struct world w;

	world_start_with(&w, true, 0);
	w.hidden = '3';
	for (uint32_t i = 0; i < 10; i++) {
		fixture_register(w.store, "node", i);
	}
	of_a = counter(&w, a);
	of_b = counter(&w, b);
	assert_int_equal(count_of(&w, a, 0), 9);
	assert_int_equal(count_of(&w, b, 0), 10);
	fixture_register(w.store, "node", 13);
	assert_int_equal(counter(&w, a), of_a);
	assert_int_equal(counter(&w, b), ++of_b);
	/* Known changes are looked at, not all targets. */
	nr_asked = w.nr_asked;
	fixture_register(w.store, "node", 14);
	assert_int_equal(counter(&w, a), ++of_a);
	assert_int_equal(w.nr_asked, nr_asked + 1);
	assert_int_equal(counter(&w, b), ++of_b);
	/* Nobody is hidden from: a's log changes, b's does not. */
	w.hidden = '?';
	xreg_discovery_filter_changed(w.d);
	assert_int_equal(counter(&w, b), of_b);
	assert_int_equal(counter(&w, a), ++of_a);
	assert_int_equal(count_of(&w, a, 0), 12);
	/* Two hosts with the same sight have one list. */
	asker = asker_of(b, 0);
	first = xreg__host_sight(w.d, &asker);
	assert_non_null(xreg__host_targets(w.d, first));
	asker = asker_of(c, 0);
	second = xreg__host_sight(w.d, &asker);
	assert_ptr_equal(xreg__host_targets(w.d, second), xreg__host_targets(w.d, first));
	/* Asked for everything, it is everything for a discovery controller, and for nobody else.
	 */
	w.hidden = '3';
	xreg_discovery_filter_changed(w.d);
	assert_int_equal(count_of(&w, a, 0), 10);
	assert_int_equal(count_of(&w, a, XNVMF_DISCOVERY_ALL), 10);
	w.is_controller = true;
	assert_int_equal(count_of(&w, a, XNVMF_DISCOVERY_ALL), 12);
	assert_int_equal(count_of(&w, a, 0), 10);
	world_stop(&w);
}

/* A reader keeps what it began with, whatever becomes of the targets. */
static void test_discovery_reader_keeps_its_view(void **state)
{
	const char *host = "nqn.2026-11.io.xsan:h";
	struct nvme_discovery_entry entry;
	struct xnvmf_discovery_info info;
	char ids[5][XREG_ID_SIZE];
	struct world w;
	void *view;

	world_start_with(&w, true, 0);
	for (uint32_t i = 0; i < 5; i++) {
		strcpy(ids[i], fixture_register(w.store, "node", i));
	}
	view = pin(&w, host, 0);
	for (uint32_t i = 0; i < 5; i++) {
		drop(&w, ids[i]);
	}
	assert_int_equal(count_of(&w, host, 0), 0);
	w.d->ops.log.describe(view, &info);
	assert_int_equal(info.nr_entries, 6);
	w.d->ops.log.render(view, 5, 1, &entry);
	assert_string_equal(entry.subnqn, "nqn.2026-11.io.xsan:000004");
	w.d->ops.log.unpin(w.d, view);
	world_stop(&w);
}

/* ---- the counter over time ---- */

static void test_discovery_counter_is_higher_after_a_restart(void **state)
{
	const char *host = "nqn.2026-11.io.xsan:h";
	uint64_t genctr;
	struct world w;

	world_start_with(&w, false, 0);
	for (uint32_t i = 0; i < 20; i++) {
		fixture_register(w.store, "node", i);
		genctr = counter(&w, host);
	}
	discovery_stop(&w);
	discovery_start(&w, false, 0);
	assert_true(counter(&w, host) > genctr);
	world_stop(&w);
}

/* A host that was forgotten comes back with a counter that it never had. */
static void test_discovery_forgotten_hosts(void **state)
{
	static const char *const hosts[] = {
		"nqn.2026-11.io.xsan:h1", "nqn.2026-11.io.xsan:h2", "nqn.2026-11.io.xsan:h3"};
	uint64_t first, moved;
	struct world w;

	world_start_with(&w, true, 2);
	first = counter(&w, hosts[0]);
	fixture_register(w.store, "node", 1);
	moved = counter(&w, hosts[0]);
	assert_int_equal(moved, first + 1);
	counter(&w, hosts[1]);
	counter(&w, hosts[2]);
	assert_int_equal(w.d->nr_hosts, 2);
	assert_true(counter(&w, hosts[0]) > moved);
	world_stop(&w);
}

/* A listener more or less is a change of the log for everybody. */
static void test_discovery_own_listeners_are_in_the_log(void **state)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.2", .trsvcid = "0"};
	const char *host = "nqn.2026-11.io.xsan:h";
	uint64_t genctr;
	struct world w;

	world_start_with(&w, false, 0);
	genctr = counter(&w, host);
	assert_int_equal(xnvmf_discovery_listen(w.target, &listener, &w.err), 0);
	assert_int_equal(counter(&w, host), genctr + 1);
	assert_int_equal(count_of(&w, host, 0), 1);
	world_stop(&w);
}

/* ---- without memory ---- */

/* Whichever allocation is refused, the reader is told, nothing else changes, and the next one is
 * served. */
static void test_discovery_without_memory(void **state)
{
	char hostnqn[64] = "nqn.2026-11.io.xsan:first";
	struct xnvmf_discovery_asker asker;
	uint32_t nr_refused = 0;
	uint64_t genctr;
	struct world w;

	world_start_with(&w, true, 0);
	for (uint32_t i = 0; i < 5; i++) {
		fixture_register(w.store, "node", i);
	}
	genctr = counter(&w, "nqn.2026-11.io.xsan:first");
	for (unsigned n = 1;; n++) {
		void *view;

		/* What others have made already would not be asked for again. */
		fixture_register(w.store, "node", 100 + n);
		snprintf(hostnqn, sizeof(hostnqn), "nqn.2026-11.io.xsan:host-%u", n);
		asker = asker_of(hostnqn, 0);
		fail_arm(n);
		view = w.d->ops.log.pin(w.d, &asker);
		if (view != NULL) {
			w.d->ops.log.unpin(w.d, view);
		}
		if (!fail_disarm()) {
			assert_non_null(view);
			break;
		}
		nr_refused++;
		assert_int_equal(count_of(&w, hostnqn, 0), 5 + n);
		assert_int_equal(counter(&w, "nqn.2026-11.io.xsan:first"), genctr + n);
	}
	assert_true(nr_refused >= 4); /* all targets, their hashes, the host, its list, the view */
	world_stop(&w);
}

/* Who reads again after a change has the filter asked about the change only. */
static void test_discovery_read_again_costs_the_changes(void **state)
{
	const char *host = "nqn.2026-11.io.xsan:host-3";
	struct world w;

	world_start_with(&w, true, 0);
	w.hidden = '3';
	for (uint32_t i = 0; i < 200; i++) {
		fixture_register(w.store, "node", i);
	}
	assert_int_equal(count_of(&w, host, 0), 180);
	w.nr_asked = 0;
	fixture_register(w.store, "node", 1000);
	counter(&w, host);
	fixture_register(w.store, "node", 1003);
	fixture_register(w.store, "node", 1004);
	assert_int_equal(count_of(&w, host, 0), 182);
	assert_in_range(w.nr_asked, 1, 8);
	world_stop(&w);
}

struct expected {
	struct world *w;
	const char *hostnqn;
	void *view;
	uint32_t count;
};

static bool expect_next(void *arg, const struct xreg_target *target)
{
	struct expected *e = arg;
	struct nvme_discovery_entry entry;
	char service[8];

	if (may_see(e->w, e->hostnqn, target)) {
		e->w->d->ops.log.render(e->view, 1 + e->count++, 1, &entry);
		snprintf(service, sizeof(service), "%u", target->spec.port);
		assert_string_equal(entry.subnqn, target->spec.nqn);
		assert_string_equal(entry.traddr, target->spec.address);
		assert_string_equal(entry.trsvcid, service);
	}
	return true;
}

/* The log has what the host may see now, in the order of places. */
static void check_log(struct world *w, const char *hostnqn)
{
	struct xreg_view *now = xreg_store_view(w->store);
	struct expected e = {w, hostnqn, pin(w, hostnqn, 0), 0};
	struct xnvmf_discovery_info info;

	w->d->ops.log.describe(e.view, &info);
	xreg_view_each(now, XREG_BY_PLACE, "", true, expect_next, &e);
	assert_int_equal(info.nr_entries, 1 + e.count);
	w->d->ops.log.unpin(w->d, e.view);
	xreg_view_unref(now);
}

/* One change of one of twenty targets, which may not be there. */
static void change_any(struct world *w, struct xu_random *random)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_view *view = xreg_store_view(w->store);
	const struct xreg_target *target;
	char nqn[64], id[XREG_ID_SIZE] = "";

	snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:t%02u",
		(unsigned)xu_random_below(random, 20));
	spec.nqn = nqn;
	spec.port = 4420 + (uint32_t)xu_random_below(random, 3);
	spec.node_id = xu_random_below(random, 2) == 0 ? "node-1" : "node-2";
	target = xreg_view_first(view, XREG_BY_NQN, nqn);
	snprintf(id, sizeof(id), "%s", target != NULL ? target->origin.id : "");
	xreg_view_unref(view);
	if (id[0] == '\0') {
		put(w, &spec, XREG_REGISTERED);
	} else if (xu_random_below(random, 3) == 0) {
		drop(w, id);
	} else if (xu_random_below(random, 2) == 0) {
		set_state(w, id, xu_random_below(random, 2) == 0 ? XREG_BUSY : XREG_OFFLINE);
	} else {
		struct xreg_change update = {.op = XREG_UPDATE, .id = id, .spec = &spec};

		assert_int_equal(change(w, &update), 0);
	}
}

/* However many changes a host has missed, and whoever shared its list, it reads what is. */
static void test_discovery_reads_what_is_after_any_changes(void **state)
{
	static const char *const hosts[] = {"nqn.2026-11.io.xsan:host-3",
		"nqn.2026-11.io.xsan:host-4", "nqn.2026-11.io.xsan:host-5"};
	struct xu_random random;
	struct world w;

	xu_random_seed(&random, 1);
	world_start_with(&w, true, 0);
	w.hidden = '3';
	for (uint32_t i = 0; i < 1000; i++) {
		change_any(&w, &random);
		if (xu_random_below(&random, 4) == 0) {
			counter(&w, hosts[xu_random_below(&random, 3)]);
		}
		if (xu_random_below(&random, 4) == 0) {
			check_log(&w, hosts[xu_random_below(&random, 3)]);
		}
		if (xu_random_below(&random, 50) == 0) {
			w.hidden = (char)('3' + xu_random_below(&random, 3));
			w.sees = (enum xreg_sees)xu_random_below(&random, 3);
			w.nr_visits = xu_random_below(&random, 2) == 0 ? 1 : 20; /* too many */
			xreg_discovery_filter_changed(w.d);
		}
	}
	for (uint32_t i = 0; i < 3; i++) {
		check_log(&w, hosts[i]);
	}
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_discovery_entries_say_what_targets_are,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_extended_entries, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_counter_moves_with_the_log, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_discovery_targets_that_are_down_are_marked,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_many_changes_at_once, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_filter, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_reader_keeps_its_view, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_discovery_counter_is_higher_after_a_restart,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_forgotten_hosts, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_discovery_own_listeners_are_in_the_log,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_discovery_without_memory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_discovery_read_again_costs_the_changes,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_discovery_reads_what_is_after_any_changes,
			fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
