/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/xregistry/backend_contract.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "test/unit/xregistry/fixture.h"

static const struct contract_server *server;
static char prefix[32]; /* one for each test */
static char where[640];

static void put(const char *key, const char *value)
{
	char whole[64];

	snprintf(whole, sizeof(whole), "%s/%s", prefix, key);
	server->put(whole, value);
}

static void del(const char *key, bool is_prefix)
{
	char whole[64];

	snprintf(whole, sizeof(whole), "%s/%s", prefix, key);
	server->del(whole, is_prefix);
}

static struct xreg_store *open_store(uint32_t nr_events_kept)
{
	return fixture_open(&(struct xreg_store_opts){
		.backend = server->ops, .where = where, .nr_events_kept = nr_events_kept});
}

static int new_prefix(void **state)
{
	static unsigned number;

	snprintf(prefix, sizeof(prefix), "test/%u", number++);
	snprintf(where, sizeof(where), "%s/%s%s", server->endpoints, prefix, server->options);
	return 0;
}

static uint64_t revision_of(struct xreg_store *store)
{
	struct xreg_view *view = xreg_store_view(store);
	uint64_t revision = xreg_view_revision(view);

	xreg_view_unref(view);
	return revision;
}

/* Waits until the store is at that revision or beyond. */
static void wait_for(struct xreg_store *store, uint64_t revision)
{
	assert_true(xreg_store_wait(store, revision - 1, 60000) >= revision);
}

static bool collect(void *arg, const struct xreg_target *target)
{
	json_object_set_new(arg, target->origin.id, xreg_target_to_json(target));
	return true;
}

/* All targets by id; new reference. */
static json_t *all_of(struct xreg_store *store)
{
	struct xreg_view *view = xreg_store_view(store);
	json_t *all = json_object();

	xreg_view_each(view, XREG_BY_ID, "", true, collect, all);
	assert_int_equal(json_object_size(all), xreg_view_count(view));
	xreg_view_unref(view);
	return all;
}

static void assert_same(struct xreg_store *one, struct xreg_store *other)
{
	json_t *a = all_of(one), *b = all_of(other);

	assert_int_equal(revision_of(one), revision_of(other));
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
}

static const char *id_or_none(const struct xreg_target *target)
{
	return target != NULL ? target->origin.id : "-";
}

/* Every event from `from` on is the same in both, without a gap. */
static void assert_same_events(struct xreg_store *one, struct xreg_store *other, uint64_t from)
{
	struct xreg_event a[64], b[64];
	uint32_t nr_a, nr_b;

	while (from < revision_of(one)) {
		assert_int_equal(xreg_store_events(one, from, a, 64, &nr_a), 0);
		assert_int_equal(xreg_store_events(other, from, b, 64, &nr_b), 0);
		assert_int_equal(nr_a, nr_b);
		for (uint32_t i = 0; i < nr_a; i++) {
			assert_int_equal(a[i].revision, from + i + 1);
			assert_int_equal(b[i].revision, from + i + 1);
			assert_int_equal(a[i].kind, b[i].kind);
			assert_int_equal(a[i].at_ms, b[i].at_ms);
			assert_string_equal(id_or_none(a[i].before), id_or_none(b[i].before));
			assert_string_equal(id_or_none(a[i].after), id_or_none(b[i].after));
		}
		xreg_events_free(a, nr_a);
		xreg_events_free(b, nr_b);
		from += nr_a;
	}
}

/* ---- one registry ---- */

static void test_contract_gives_back_what_was_there(void **state)
{
	struct xreg_store *store = open_store(0), *again;
	struct xreg_change change = {.op = XREG_UNREGISTER};
	uint64_t version;
	struct xu_error err;
	json_t *before, *after, *document = json_pack("{s:s}", "text", "ü");

	fixture_register(store, "n1", 1);
	fixture_register(store, "n2", 2);
	change.id = fixture_register(store, "n3", 3);
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
	assert_int_equal(xreg_store_put_document(store, "zones", document, 0, &version, &err), 0);
	before = all_of(store);
	xreg_store_close(store);

	store = open_store(0);
	after = all_of(store);
	assert_int_equal(json_object_size(after), 2);
	assert_true(json_equal(before, after));
	assert_int_equal(revision_of(store), 4);
	assert_int_equal(xreg_store_first_event(store), 1);
	json_decref(before);
	before = xreg_store_document(store, "zones", &version);
	assert_true(json_equal(before, document));
	again = open_store(0);
	assert_same_events(store, again, 0);
	xreg_store_close(again);
	json_decref(before);
	json_decref(after);
	json_decref(document);
	/* Revisions go on. */
	fixture_register(store, "n1", 5);
	assert_int_equal(revision_of(store), 5);
	xreg_store_close(store);
}

#define NR_MANY 600u

static void test_contract_takes_large_batches(void **state)
{
	static struct xreg_change changes[NR_MANY];
	static char nqns[NR_MANY][64], blob[XREG_TEXT_MAX + 1];
	static struct xreg_spec specs[NR_MANY];
	static struct xreg_pair metadata[XREG_METADATA_MAX];
	static char keys[XREG_METADATA_MAX][8];
	struct xreg_store *store = open_store(0), *other = open_store(0);

	memset(blob, 'x', sizeof(blob) - 1);
	for (uint32_t i = 0; i < XREG_METADATA_MAX; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%02u", i);
		metadata[i] = (struct xreg_pair){keys[i], blob};
	}
	for (uint32_t i = 0; i < NR_MANY; i++) {
		snprintf(nqns[i], sizeof(nqns[i]), "nqn.2026-11.io.xsan:m%u", i);
		specs[i] = fixture_spec();
		specs[i].nqn = nqns[i];
		specs[i].metadata = metadata;
		specs[i].nr_metadata = XREG_METADATA_MAX;
		changes[i] = (struct xreg_change){.op = XREG_REGISTER,
			.spec = &specs[i],
			.status = {.state = XREG_AVAILABLE, .reason = ""}};
	}
	fixture_change_all(store, changes, NR_MANY);
	assert_int_equal(revision_of(store), NR_MANY);
	wait_for(other, NR_MANY);
	assert_same(store, other);
	assert_same_events(store, other, 0);
	xreg_store_close(other);
	/* Larger than a request may be, and read back in more than one page. */
	other = open_store(0);
	assert_same(store, other);
	xreg_store_close(other);
	xreg_store_close(store);
}

static void test_contract_forgets_old_events(void **state)
{
	struct xreg_store *store = open_store(100), *again;
	const char *id = fixture_register(store, "n1", 1);
	static struct xreg_change changes[600];

	for (uint32_t i = 0; i < 600; i++) {
		changes[i] = (struct xreg_change){.op = XREG_SET_STATUS,
			.id = id,
			.status = {.state = XREG_BUSY, .reason = "", .until_ms = i}};
	}
	for (uint32_t i = 0; i < 600; i += 20) {
		fixture_change_all(store, changes + i, 20);
	}
	again = open_store(10000);
	assert_int_equal(revision_of(again), 601);
	/* 100 are kept, with a batch that began before them, and a tenth more. */
	assert_true(xreg_store_first_event(again) <= 501);
	assert_true(xreg_store_first_event(again) > 601 - 100 - 100 - 10 - 20);
	assert_same_events(store, again, 501);
	xreg_store_close(again);
	xreg_store_close(store);
}

/* ---- several registries ---- */

struct revisions {
	struct xreg_watcher watcher;
	_Atomic uint64_t last;
};

static void on_revision(struct xreg_watcher *watcher, uint64_t revision)
{
	struct revisions *revisions = (struct revisions *)watcher;

	assert_true(revision > atomic_load(&revisions->last));
	atomic_store(&revisions->last, revision);
}

static void test_contract_is_shared(void **state)
{
	struct xreg_store *one = open_store(0), *other = open_store(0);
	struct revisions revisions = {.watcher.fn = on_revision};
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};

	xreg_store_watch(other, &revisions.watcher);
	assert_int_equal(xreg_store_change(one, &change), 0);
	xreg_target_unref(change.result);
	wait_for(other, 1);
	assert_same(one, other);
	for (int i = 0; i < 6000 && atomic_load(&revisions.last) != 1; i++) {
		usleep(10000);
	}
	assert_int_equal(atomic_load(&revisions.last), 1);
	/* The place is taken, for everybody. */
	assert_int_equal(xreg_store_change(other, &change), -EEXIST);
	xreg_target_unref(change.result);
	fixture_register(other, "n2", 2);
	wait_for(one, 2);
	assert_same(one, other);
	xreg_store_unwatch(other, &revisions.watcher);
	xreg_store_close(one);
	fixture_register(other, "n3", 3);
	xreg_store_close(other);
}

#define NR_WRITERS 6u
#define NR_EACH    60u

struct writer {
	struct xreg_store *store;
	unsigned number;
	_Atomic unsigned *nr_won;
};

/* Registers targets of its own, fights the others for the same places, and takes some away. */
static void *write_much(void *arg)
{
	struct writer *writer = arg;
	char nqn[64], node[16];

	snprintf(node, sizeof(node), "w%u", writer->number);
	for (unsigned i = 0; i < NR_EACH; i++) {
		struct xreg_spec spec = fixture_spec();
		struct xreg_change change = {.op = XREG_REGISTER,
			.spec = &spec,
			.status = {.state = XREG_AVAILABLE, .reason = ""}};
		int rc;

		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:shared%u", i);
		spec.nqn = nqn;
		rc = xreg_store_change(writer->store, &change);
		assert_true(rc == 0 || rc == -EEXIST);
		atomic_fetch_add(writer->nr_won, rc == 0);
		xreg_target_unref(change.result);
		change = (struct xreg_change){.op = XREG_UNREGISTER,
			.id = fixture_register(writer->store, node, 1000 * writer->number + i)};
		if (i % 2 == 0) {
			assert_int_equal(xreg_store_change(writer->store, &change), 0);
			xreg_target_unref(change.result);
		}
	}
	return NULL;
}

static void test_contract_with_registries_side_by_side(void **state)
{
	struct xreg_store *stores[3] = {open_store(0), open_store(0), open_store(0)};
	struct writer writers[NR_WRITERS];
	pthread_t threads[NR_WRITERS];
	_Atomic unsigned nr_won = 0;
	const uint64_t last = NR_EACH + NR_WRITERS * NR_EACH * 3 / 2;
	json_t *all;

	for (unsigned i = 0; i < NR_WRITERS; i++) {
		writers[i] = (struct writer){stores[i % 3], i, &nr_won};
		assert_int_equal(pthread_create(&threads[i], NULL, write_much, &writers[i]), 0);
	}
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		pthread_join(threads[i], NULL);
	}
	/* Each shared place has one who got it. */
	assert_int_equal(atomic_load(&nr_won), NR_EACH);
	for (unsigned i = 0; i < 3; i++) {
		wait_for(stores[i], last);
		assert_int_equal(revision_of(stores[i]), last);
		assert_same(stores[0], stores[i]);
		assert_same_events(stores[0], stores[i], 0);
	}
	all = all_of(stores[0]);
	assert_int_equal(json_object_size(all), NR_EACH + NR_WRITERS * NR_EACH / 2);
	json_decref(all);
	for (unsigned i = 0; i < 3; i++) {
		xreg_store_close(stores[i]);
	}
}

struct heard {
	struct xreg_document_watcher watcher;
	_Atomic uint64_t version;
};

static void on_document(
	struct xreg_document_watcher *watcher, const json_t *document, uint64_t version)
{
	atomic_store(&((struct heard *)watcher)->version, version);
}

static void test_contract_shares_documents(void **state)
{
	struct xreg_store *one = open_store(0), *other = open_store(0);
	struct heard heard = {.watcher = {.name = "zones", .fn = on_document}};
	json_t *a = json_pack("{s:i}", "a", 1), *b = json_pack("{s:i}", "b", 2), *now;
	uint64_t version, again, unused;
	struct xu_error err;

	xreg_store_watch_document(other, &heard.watcher);
	assert_int_equal(xreg_store_put_document(one, "zones", a, 0, &version, &err), 0);
	for (int i = 0; i < 6000 && atomic_load(&heard.version) != version; i++) {
		usleep(10000);
	}
	now = xreg_store_document(other, "zones", &again);
	assert_int_equal(again, version);
	assert_true(json_equal(now, a));
	json_decref(now);
	/* Who has not seen it does not overwrite it. */
	assert_int_equal(xreg_store_put_document(other, "zones", b, 0, &unused, &err), -ESTALE);
	assert_int_equal(xreg_store_put_document(other, "zones", b, version, &again, &err), 0);
	assert_true(again > version);
	assert_int_equal(xreg_store_put_document(one, "zones", a, version, &unused, &err), -ESTALE);
	/* Targets and documents do not get into each other's way. */
	fixture_register(one, "n1", 1);
	assert_int_equal(xreg_store_put_document(other, "silences", a, 0, &unused, &err), 0);
	fixture_register(other, "n1", 2);
	wait_for(one, 2);
	assert_same(one, other);
	now = xreg_store_document(one, "zones", &unused);
	assert_int_equal(unused, again);
	assert_true(json_equal(now, b));
	json_decref(now);
	json_decref(a);
	json_decref(b);
	xreg_store_unwatch_document(other, &heard.watcher);
	xreg_store_close(other);
	xreg_store_close(one);
}

/* ---- two that hear nothing of each other ---- */

static int take_target(void *arg, struct xreg_target *target, struct xu_error *err)
{
	return 0;
}

static int count_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	uint64_t *last = arg;

	assert_int_equal(event->revision, *last + 1);
	*last = event->revision;
	return 0;
}

static int take_document(void *arg, const char *name, const char *text, size_t len,
	uint64_t version, struct xu_error *err)
{
	return 0;
}

/* A backend without a store: it follows only when it is told to. */
static void *open_deaf(uint64_t *last)
{
	const struct xreg_loader loader = {take_target, count_event, take_document, last};
	struct xu_error err;
	uint64_t revision;
	void *backend;

	*last = 0;
	assert_int_equal(server->ops->open(where, NULL, &backend, &err), 0);
	assert_int_equal(server->ops->load(backend, &loader, &revision, &err), 0);
	assert_int_equal(revision, *last);
	return backend;
}

static int follow(void *backend, uint64_t *last)
{
	const struct xreg_loader loader = {take_target, count_event, take_document, last};
	struct xu_error err;

	return server->ops->follow(backend, &loader, &err);
}

/* Commits `nr_events` events of one target. */
static int commit(void *backend, uint64_t last, uint32_t nr_events)
{
	struct xreg_store *store = open_store(0);
	struct xreg_view *view = xreg_store_view(store);
	struct xreg_target *target;
	struct xreg_event events[16];
	struct xu_error err;
	int rc;

	assert_non_null(xreg_view_first(view, XREG_BY_NODE, "n1"));
	target = xreg_target_ref(xreg_view_first(view, XREG_BY_NODE, "n1"));
	for (uint32_t i = 0; i < nr_events; i++) {
		events[i] = (struct xreg_event){.revision = last + 1 + i,
			.kind = XREG_EVENT_UPDATED,
			.before = target,
			.after = target};
	}
	rc = server->ops->commit(backend, events, nr_events, 10000, &err);
	xreg_target_unref(target);
	xreg_view_unref(view);
	xreg_store_close(store);
	return rc;
}

/* Another has put just the same, behind an event that is not known here. */
static void test_contract_document_that_is_there_already(void **state)
{
	struct xreg_store *store = open_store(0);
	uint64_t last, other_last, version, other_version;
	struct xu_error err;
	void *one, *other;

	fixture_register(store, "n1", 1);
	xreg_store_close(store);
	one = open_deaf(&last);
	other = open_deaf(&other_last);
	assert_int_equal(commit(other, 1, 1), 0);
	assert_int_equal(
		server->ops->put_document(other, "zones", "{\"a\":1}", 0, &other_version, &err), 0);
	assert_int_equal(
		server->ops->put_document(one, "zones", "{\"a\":1}", 0, &version, &err), 0);
	assert_int_equal(version, other_version);
	/* Revision 2 is taken. */
	assert_int_equal(commit(one, 1, 1), -EAGAIN);
	assert_int_equal(follow(one, &last), 0);
	assert_int_equal(last, 2);
	assert_int_equal(commit(one, 2, 1), 0);
	server->ops->close(one);
	server->ops->close(other);
}

static void test_contract_far_behind(void **state)
{
	static const uint32_t sizes[] = {1, 7, 1, 16, 3, 16, 1, 16};
	struct xreg_store *store = open_store(0);
	uint64_t last, other_last, at = 1;
	void *one, *other;

	fixture_register(store, "n1", 1);
	xreg_store_close(store);
	one = open_deaf(&last);
	other = open_deaf(&other_last);
	for (uint32_t i = 0; i < 80; i++) {
		assert_int_equal(commit(other, at, sizes[i % 8]), 0);
		at += sizes[i % 8];
	}
	assert_int_equal(at, 611);
	assert_int_equal(commit(one, 1, 1), -EAGAIN);
	assert_int_equal(follow(one, &last), 0);
	assert_int_equal(last, 611);
	assert_int_equal(commit(one, 611, 1), 0);
	server->ops->close(one);
	server->ops->close(other);
	one = open_deaf(&last);
	assert_int_equal(last, 612);
	server->ops->close(one);
}

/* ---- faults ---- */

static void test_contract_away_for_a_while(void **state)
{
	struct xreg_store *one = open_store(0), *other = open_store(0);
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};
	struct xreg_view *view;

	fixture_register(one, "n1", 1);
	wait_for(other, 1);
	server->kill();
	assert_int_equal(xreg_store_change(one, &change), -ETIMEDOUT);
	assert_non_null(strstr(change.err.text, server->name));
	/* Reading goes on. */
	view = xreg_store_view(one);
	assert_int_equal(xreg_view_count(view), 1);
	xreg_view_unref(view);
	for (int i = 0; i < 6000 && xreg_store_is_up(one); i++) {
		usleep(10000);
	}
	assert_false(xreg_store_is_up(one));
	server->revive();
	/* What nobody knew: it is there or not, for both alike. */
	while (xreg_store_change(one, &change) == -ETIMEDOUT) {
	}
	assert_true(change.rc == 0 || change.rc == -EEXIST);
	xreg_target_unref(change.result);
	wait_for(other, 2);
	assert_same(one, other);
	for (int i = 0; i < 6000 && !xreg_store_is_up(one); i++) {
		usleep(10000);
	}
	assert_true(xreg_store_is_up(one));
	xreg_store_close(one);
	xreg_store_close(other);
}

#define PERSISTENT_MAX 65536u

struct persistent {
	struct xreg_store *store;
	_Atomic bool must_stop;
	unsigned nr_tried;
	_Atomic unsigned nr_made;
	bool is_made[PERSISTENT_MAX];
};

static void *register_on(void *arg)
{
	struct persistent *p = arg;
	char nqn[64];

	/* A little pause, so that it goes on for as long as there are kills. */
	for (; !atomic_load(&p->must_stop) && p->nr_tried < PERSISTENT_MAX; usleep(2000)) {
		struct xreg_spec spec = fixture_spec();
		struct xreg_change change = {.op = XREG_REGISTER,
			.spec = &spec,
			.status = {.state = XREG_AVAILABLE, .reason = ""}};

		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:p%u", p->nr_tried);
		spec.nqn = nqn;
		p->is_made[p->nr_tried] = xreg_store_change(p->store, &change) == 0;
		p->nr_made += p->is_made[p->nr_tried];
		assert_true(change.rc == 0 || change.rc == -ETIMEDOUT);
		xreg_target_unref(change.result);
		p->nr_tried++;
	}
	return NULL;
}

/* It is killed under load again and again: all that was acknowledged is there, and for all. */
static void test_contract_killed_under_load(void **state)
{
	struct xreg_store *store = open_store(0), *other = open_store(0);
	unsigned nr_rounds = getenv("XSAN_LONG") != NULL ? 50 : 4, nr_made;
	static struct persistent p;
	struct xreg_view *view;
	pthread_t thread;
	char nqn[64];

	p = (struct persistent){.store = store};
	assert_int_equal(pthread_create(&thread, NULL, register_on, &p), 0);
	for (unsigned round = 0; round < nr_rounds; round++) {
		usleep(100000 + 37000 * round);
		server->kill();
		server->revive();
		nr_made = atomic_load(&p.nr_made);
		for (int i = 0; i < 6000 && atomic_load(&p.nr_made) == nr_made; i++) {
			usleep(10000);
		}
		assert_true(atomic_load(&p.nr_made) > nr_made);
	}
	atomic_store(&p.must_stop, true);
	pthread_join(thread, NULL);
	assert_true(p.nr_tried < PERSISTENT_MAX);
	print_message(
		"%u rounds, %u of %u changes acknowledged\n", nr_rounds, p.nr_made, p.nr_tried);
	/* Brings `store` up to date, and `other` with it. */
	fixture_register(store, "n1", 1);
	wait_for(other, revision_of(store));
	assert_same(store, other);
	/* The long form makes more of them than are kept. */
	assert_int_equal(xreg_store_first_event(store), xreg_store_first_event(other));
	assert_same_events(store, other, xreg_store_first_event(store) - 1);
	view = xreg_store_view(other);
	for (unsigned i = 0; i < p.nr_tried; i++) {
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:p%u", i);
		if (p.is_made[i]) {
			assert_non_null(xreg_view_first(view, XREG_BY_NQN, nqn));
		}
	}
	xreg_view_unref(view);
	xreg_store_close(store);
	xreg_store_close(other);
}

/* What happened meanwhile is not known any more. */
static void test_contract_left_behind_loads_anew(void **state)
{
	struct xreg_store *store = open_store(0), *other;
	struct xreg_event events[4];
	uint32_t count;

	fixture_register(store, "n1", 1);
	del("events/", true);
	put("meta", "{\"version\":1,\"revision\":7,\"documents\":0}");
	wait_for(store, 7);
	assert_int_equal(xreg_store_events(store, 1, events, 4, &count), -ESTALE);
	assert_int_equal(xreg_store_first_event(store), 8);
	fixture_register(store, "n1", 2);
	assert_int_equal(revision_of(store), 8);
	other = open_store(0);
	assert_same(store, other);
	xreg_store_close(other);
	xreg_store_close(store);
}

static void test_contract_with_data_that_is_none(void **state)
{
	static const char *const metas[] = {"{", "[]", "{}", "{\"version\":1}",
		"{\"version\":1,\"revision\":-1,\"documents\":0}",
		"{\"version\":9,\"revision\":1,\"documents\":0}"};
	const struct xreg_store_opts opts = {.backend = server->ops, .where = where};
	struct xreg_store *store;
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};
	struct xu_error err;

	for (size_t i = 0; i < sizeof(metas) / sizeof(metas[0]); i++) {
		put("meta", metas[i]);
		assert_true(xreg_store_open(&opts, &store, &err) < 0);
		assert_true(err.text[0] != '\0');
	}
	del("meta", false);
	put("targets/x", "{}");
	assert_true(xreg_store_open(&opts, &store, &err) < 0);
	assert_non_null(strstr(err.text, "targets/x"));
	del("targets/x", false);
	store = open_store(0);
	fixture_register(store, "n1", 1);
	/* Somebody takes it all away: no changes, reading goes on. */
	del("", true);
	assert_int_equal(xreg_store_change(store, &change), -EILSEQ);
	assert_non_null(strstr(change.err.text, "gone"));
	assert_int_equal(revision_of(store), 1);
	xreg_store_close(store);
}

#define contract_test(f) cmocka_unit_test_setup(f, new_prefix)

int contract_run(const struct contract_server *the_server)
{
	const struct CMUnitTest tests[] = {
		contract_test(test_contract_gives_back_what_was_there),
		contract_test(test_contract_takes_large_batches),
		contract_test(test_contract_forgets_old_events),
		contract_test(test_contract_is_shared),
		contract_test(test_contract_with_registries_side_by_side),
		contract_test(test_contract_shares_documents),
		contract_test(test_contract_document_that_is_there_already),
		contract_test(test_contract_far_behind),
		contract_test(test_contract_away_for_a_while),
		contract_test(test_contract_killed_under_load),
		contract_test(test_contract_left_behind_loads_anew),
		contract_test(test_contract_with_data_that_is_none),
	};

	server = the_server;
	return cmocka_run_group_tests_name(server->name, tests, NULL, NULL);
}
