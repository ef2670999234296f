/* SPDX-License-Identifier: BSD-3-Clause */
/* The store: each change and each refusal, views, events, waiting, a backend that fails, and
 * readers beside the writer. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "test/unit/xregistry/fixture.h"

static struct xreg_change registration(const struct xreg_spec *spec)
{
	return (struct xreg_change){.op = XREG_REGISTER,
		.spec = spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};
}

static void release(struct xreg_change *change)
{
	xreg_target_unref(change->result);
	change->result = NULL;
}

/* ---- changes ---- */

static void test_store_registers_and_finds(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = registration(&spec);
	struct xreg_view *before = xreg_store_view(store), *view;
	const struct xreg_target *target;

	assert_int_equal(xreg_store_change(store, &change), 0);
	assert_int_equal(change.revision, 1);
	assert_memory_equal(change.result->origin.id, "tgt-", 4);
	assert_int_equal(xreg_view_count(before), 0);

	view = xreg_store_view(store);
	assert_int_equal(xreg_view_revision(view), 1);
	target = xreg_view_get(view, change.result->origin.id);
	assert_ptr_equal(target, change.result);
	assert_int_equal(target->origin.revision, 1);
	assert_int_equal(target->origin.created_revision, 1);
	assert_ptr_equal(xreg_view_first(view, XREG_BY_NQN, spec.nqn), target);
	assert_ptr_equal(xreg_view_first(view, XREG_BY_NODE, spec.node_id), target);
	assert_ptr_equal(xreg_view_first(view, XREG_BY_ADDRESS, spec.address), target);
	assert_ptr_equal(xreg_view_first(view, XREG_BY_LOCATION, "rack-1-slot-3"), target);
	assert_ptr_equal(xreg_view_first(view, XREG_BY_TAG, "fast"), target);
	assert_ptr_equal(xreg_view_first(view, XREG_BY_TAG, "lab"), target);
	assert_null(xreg_view_first(view, XREG_BY_LOCATION, "rack-1"));
	assert_null(xreg_view_get(view, "tgt-none"));
	release(&change);
	xreg_view_unref(before);
	xreg_store_close(store);
	/* A view outlives the store. */
	assert_int_equal(xreg_view_count(view), 1);
	xreg_view_unref(view);
}

static void test_store_knows_a_place(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xreg_spec spec = fixture_spec(), moved = spec;
	struct xreg_change first = registration(&spec), again = registration(&spec),
			   other = registration(&moved),
			   update = {.op = XREG_UPDATE, .spec = &moved};

	assert_int_equal(xreg_store_change(store, &first), 0);
	assert_int_equal(xreg_store_change(store, &again), -EEXIST);
	assert_ptr_equal(again.result, first.result);
	assert_non_null(strstr(again.err.text, first.result->origin.id));
	release(&again);

	/* Asked for, it becomes a change of what is there. */
	spec.max_iops = 7;
	again.may_update = true;
	assert_int_equal(xreg_store_change(store, &again), 0);
	assert_string_equal(again.result->origin.id, first.result->origin.id);
	assert_int_equal(again.result->spec.max_iops, 7);
	assert_int_equal(again.result->origin.created_revision, 1);
	assert_int_equal(again.revision, 2);
	release(&again);

	/* Another port is another place, and stays its own. */
	moved.port = 4421;
	assert_int_equal(xreg_store_change(store, &other), 0);
	update.id = first.result->origin.id;
	assert_int_equal(xreg_store_change(store, &update), -EEXIST);
	assert_string_equal(update.result->origin.id, other.result->origin.id);
	release(&update);
	moved.port = 4422;
	assert_int_equal(xreg_store_change(store, &update), 0);
	release(&update);
	release(&first);
	release(&other);
	xreg_store_close(store);
}

/* Registers the same place from somewhere; its state and source are as expected then. */
static void register_from(struct xreg_store *store, uint32_t source, uint32_t state,
	uint32_t expected_state, uint32_t expected_source)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = state, .reason = ""},
		.source = source,
		.may_update = true};

	assert_int_equal(xreg_store_change(store, &change), 0);
	assert_int_equal(change.result->origin.source, expected_source);
	assert_int_equal(change.result->status.state, expected_state);
	xreg_target_unref(change.result);
}

/* What was found is its node's when that registers it; nobody else loses it from then on. */
static void test_store_gives_what_was_found_to_who_registers(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xreg_change status = {.op = XREG_SET_STATUS};
	const struct xreg_target *target;
	struct xreg_view *view;

	register_from(store, XREG_MULTICAST, XREG_UNKNOWN, XREG_UNKNOWN, XREG_MULTICAST);
	register_from(store, XREG_REGISTERED, XREG_AVAILABLE, XREG_AVAILABLE, XREG_REGISTERED);
	register_from(store, XREG_MULTICAST, XREG_UNKNOWN, XREG_AVAILABLE, XREG_MULTICAST);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_count(view), 1);
	target = xreg_view_first(view, XREG_BY_NODE, fixture_spec().node_id);
	/* One that was lost is there again, one that an operator looks after is not touched. */
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t is = i == 0 ? XREG_OFFLINE : XREG_MAINTENANCE;

		status.id = target->origin.id;
		status.status = (struct xreg_status){.state = is, .reason = "not found"};
		status.result = NULL;
		assert_int_equal(xreg_store_change(store, &status), 0);
		xreg_target_unref(status.result);
		register_from(store, i == 0 ? XREG_REGISTERED : XREG_DHCP, XREG_AVAILABLE,
			i == 0 ? XREG_AVAILABLE : XREG_MAINTENANCE,
			i == 0 ? XREG_REGISTERED : XREG_DHCP);
	}
	xreg_view_unref(view);
	xreg_store_close(store);
}

static void test_store_changes_the_status(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	const char *id = fixture_register(store, "n1", 1);
	struct xreg_change change = {.op = XREG_SET_STATUS,
		.id = id,
		.status = {.state = XREG_MAINTENANCE, .reason = "disks", .until_ms = 5},
		.if_revision = 2};

	assert_int_equal(xreg_store_change(store, &change), -ESTALE);
	assert_int_equal(change.result->origin.revision, 1);
	release(&change);
	change.if_revision = 1;
	assert_int_equal(xreg_store_change(store, &change), 0);
	assert_int_equal(change.result->status.state, XREG_MAINTENANCE);
	assert_string_equal(change.result->status.reason, "disks");
	assert_string_equal(change.result->spec.node_id, "n1");
	release(&change);
	change.id = "tgt-nobody";
	assert_int_equal(xreg_store_change(store, &change), -ENOENT);
	assert_null(change.result);
	xreg_store_close(store);
}

static void test_store_unregisters(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	const char *id = fixture_register(store, "n1", 1);
	struct xreg_change change = {.op = XREG_UNREGISTER, .id = id};
	struct xreg_view *view;

	assert_int_equal(xreg_store_change(store, &change), 0);
	assert_string_equal(change.result->origin.id, id);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_count(view), 0);
	for (uint32_t i = 0; i < XREG_NR_INDEXES; i++) {
		assert_null(xreg_view_first(view, i, "n1"));
	}
	assert_null(xreg_view_first(view, XREG_BY_TAG, "fast"));
	xreg_view_unref(view);
	release(&change);
	assert_int_equal(xreg_store_change(store, &change), -ENOENT);
	/* The place is free. */
	fixture_register(store, "n2", 1);
	xreg_store_close(store);
}

/* Sets (`text`), or judges with `reason`; the result is the caller's. */
static struct xreg_change configure(struct xreg_store *store, const char *id, const char *text,
	uint64_t revision, const char *reason)
{
	struct xreg_change change = {.op = text != NULL ? XREG_SET_CONFIG : XREG_JUDGE_CONFIG,
		.id = id,
		.verdict = {revision, reason == NULL, reason}};
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_config *config = NULL;
	json_t *body = text != NULL ? json_loads(text, 0, NULL) : NULL;
	struct xu_error err;

	if (text != NULL) {
		assert_int_equal(xreg_config_parse(body, &config, path, &err), 0);
		change.config = config;
	}
	xreg_store_change(store, &change);
	xreg_config_unref(config);
	json_decref(body);
	return change;
}

static void assert_config(
	const struct xreg_change *change, uint32_t outcome, uint64_t revision, uint32_t queue_depth)
{
	const struct xreg_desired *desired = change->result->origin.desired;

	assert_non_null(desired);
	assert_int_equal(desired->outcome, outcome);
	assert_int_equal(desired->revision, revision);
	assert_int_equal(desired->config->queue_depth, queue_depth);
}

/* Set, applied, refused and rolled back, over a registration made again and over a restart. */
static void test_store_keeps_what_is_desired(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	const char *id = fixture_register(store, "node-1", 1);
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = configure(store, id, "{\"queue_depth\": 64}", 0, NULL), again;
	struct xreg_event events[8];
	struct xreg_view *view;
	uint32_t count;

	assert_int_equal(change.rc, 0);
	assert_config(&change, XREG_CONFIG_PENDING, 2, 64);
	release(&change);
	/* A verdict of something else changes nothing, and has no revision. */
	change = configure(store, id, NULL, 1, NULL);
	assert_int_equal(change.rc, -ESTALE);
	release(&change);
	change = configure(store, id, NULL, 2, NULL);
	assert_config(&change, XREG_CONFIG_APPLIED, 2, 64);
	assert_int_equal(change.revision, 3);
	release(&change);
	change = configure(store, id, NULL, 2, NULL);
	assert_int_equal(change.rc, 0);
	assert_int_equal(change.revision, 3);
	release(&change);

	/* What the node says of itself leaves it alone. */
	spec.nqn = "nqn.2026-11.io.xsan:000001";
	spec.node_id = "node-1";
	spec.max_iops = 7;
	again = registration(&spec);
	again.may_update = true;
	assert_int_equal(xreg_store_change(store, &again), 0);
	assert_string_equal(again.result->origin.id, id);
	assert_config(&again, XREG_CONFIG_APPLIED, 2, 64);
	release(&again);

	change = configure(store, id, "{\"queue_depth\": 4000, \"weight\": 3}", 0, NULL);
	assert_config(&change, XREG_CONFIG_PENDING, 5, 4000);
	release(&change);
	change = configure(store, id, NULL, 5, "queue_depth: at most 128");
	assert_config(&change, XREG_CONFIG_ROLLED_BACK, 6, 64);
	assert_int_equal(change.result->origin.desired->refused_revision, 5);
	assert_false(change.result->origin.desired->is_confirmed);
	release(&change);
	xreg_store_close(store);

	store = fixture_open(NULL);
	change = configure(store, id, NULL, 6, NULL);
	assert_config(&change, XREG_CONFIG_ROLLED_BACK, 6, 64);
	assert_true(change.result->origin.desired->is_confirmed);
	assert_string_equal(change.result->origin.desired->reason, "queue_depth: at most 128");
	release(&change);
	assert_int_equal(xreg_store_events(store, 4, events, 8, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(events[1].kind, XREG_EVENT_CONFIG);
	assert_int_equal(events[1].before->origin.desired->config->queue_depth, 4000);
	assert_int_equal(events[1].after->origin.desired->config->queue_depth, 64);
	xreg_events_free(events, count);
	view = xreg_store_view(store);
	assert_true(xreg_target_weight(xreg_view_get(view, id)) == spec.weight);
	xreg_view_unref(view);
	change = configure(store, "tgt-none", "{}", 0, NULL);
	assert_int_equal(change.rc, -ENOENT);
	xreg_store_close(store);
}

static void test_store_has_a_limit(void **state)
{
	struct xreg_store *store = fixture_open(&(struct xreg_store_opts){.nr_targets_max = 2});
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = registration(&spec);

	fixture_register(store, "n1", 1);
	fixture_register(store, "n1", 2);
	assert_int_equal(xreg_store_change(store, &change), -EDQUOT);
	assert_non_null(strstr(change.err.text, "2 targets"));
	xreg_store_close(store);
}

/* ---- walking ---- */

struct walk {
	char text[256];
	unsigned max;
};

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct walk *walk = arg;

	strcat(walk->text, target->spec.nqn + strlen("nqn.2026-11.io.xsan:00000"));
	return --walk->max != 0;
}

static void assert_walk(struct xreg_store *store, enum xreg_index index, const char *key,
	bool is_prefix, unsigned max, const char *text)
{
	struct xreg_view *view = xreg_store_view(store);
	struct walk walk = {.max = max};

	xreg_view_each(view, index, key, is_prefix, on_target, &walk);
	assert_string_equal(walk.text, text);
	xreg_view_unref(view);
}

static void test_view_each_by_key_and_prefix(void **state)
{
	struct xreg_store *store = fixture_open(NULL);

	fixture_register(store, "a", 1);
	fixture_register(store, "ab", 2);
	fixture_register(store, "b", 3);
	assert_walk(store, XREG_BY_NODE, "a", false, 9, "1");
	assert_walk(store, XREG_BY_NODE, "a", true, 9, "12");
	assert_walk(store, XREG_BY_NODE, "", true, 9, "123");
	assert_walk(store, XREG_BY_NODE, "", true, 2, "12");
	assert_walk(store, XREG_BY_NODE, "c", true, 9, "");
	assert_walk(store, XREG_BY_NQN, "nqn.2026-11.io.xsan:000002", false, 9, "2");
	xreg_store_close(store);
}

/* ---- events ---- */

static void test_events_tell_what_happened(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	const char *id = fixture_register(store, "n1", 1);
	struct xreg_change change = {
		.op = XREG_SET_STATUS, .id = id, .status = {.state = XREG_FAILED, .reason = ""}};
	struct xreg_event events[8];
	uint32_t count;

	assert_int_equal(xreg_store_change(store, &change), 0);
	release(&change);
	change.op = XREG_UNREGISTER;
	assert_int_equal(xreg_store_change(store, &change), 0);
	release(&change);

	assert_int_equal(xreg_store_events(store, 0, events, 8, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(events[0].kind, XREG_EVENT_REGISTERED);
	assert_null(events[0].before);
	assert_int_equal(events[1].kind, XREG_EVENT_STATE);
	assert_int_equal(events[1].before->status.state, XREG_AVAILABLE);
	assert_int_equal(events[1].after->status.state, XREG_FAILED);
	assert_int_equal(events[2].kind, XREG_EVENT_UNREGISTERED);
	assert_null(events[2].after);
	assert_int_equal(events[2].revision, 3);
	xreg_events_free(events, count);

	assert_int_equal(xreg_store_events(store, 1, events, 1, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(events[0].revision, 2);
	xreg_events_free(events, count);
	assert_int_equal(xreg_store_events(store, 3, events, 8, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(xreg_store_events(store, 4, events, 8, &count), -ESTALE);
	xreg_store_close(store);
}

static void assert_events(struct xreg_store *store, uint64_t after, int rc, uint32_t count)
{
	struct xreg_event events[16];
	uint32_t got;

	assert_int_equal(xreg_store_events(store, after, events, 16, &got), rc);
	assert_int_equal(got, count);
	for (uint32_t i = 0; i < got; i++) {
		assert_int_equal(events[i].revision, after + i + 1);
	}
	xreg_events_free(events, got);
}

/* Also over a restart, and when more of them are kept then. */
static void test_events_are_compacted(void **state)
{
	struct xreg_store *store = fixture_open(&(struct xreg_store_opts){.nr_events_kept = 4});

	for (unsigned i = 1; i <= 10; i++) {
		fixture_register(store, "n1", i);
	}
	for (int round = 0; round < 2; round++) {
		assert_events(store, 5, -ESTALE, 0);
		assert_events(store, 6, 0, 4);
		assert_events(store, 9, 0, 1);
		assert_events(store, 10, 0, 0);
		xreg_store_close(store);
		store = fixture_open(
			&(struct xreg_store_opts){.nr_events_kept = round == 0 ? 4 : 8});
	}
	assert_events(store, 5, -ESTALE, 0);
	assert_events(store, 6, 0, 4);
	fixture_register(store, "n1", 11);
	assert_events(store, 5, -ESTALE, 0);
	assert_events(store, 6, 0, 5);
	xreg_store_close(store);
}

static void *register_later(void *arg)
{
	struct timespec ts = {.tv_nsec = 50000000};

	nanosleep(&ts, NULL);
	fixture_register(arg, "n1", 2);
	return NULL;
}

static void test_wait_for_a_revision(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	pthread_t thread;

	fixture_register(store, "n1", 1);
	assert_int_equal(xreg_store_wait(store, 0, 60000), 1);
	assert_int_equal(xreg_store_wait(store, 1, 20), 1);
	assert_int_equal(pthread_create(&thread, NULL, register_later, store), 0);
	assert_int_equal(xreg_store_wait(store, 1, 60000), 2);
	pthread_join(thread, NULL);
	xreg_store_close(store);
}

/* ---- a backend that fails ---- */

static int refuse_commit; /* what commit() returns */

static int fake_open(
	const char *where, struct xu_logger *log, void **ret_backend, struct xu_error *err)
{
	*ret_backend = &refuse_commit;
	return 0;
}

static int fake_load(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
	struct xu_error *err)
{
	*ret_revision = 41;
	return 0;
}

static int fake_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err)
{
	return refuse_commit == 0 ? 0 : xu_error_set(err, refuse_commit, "the disk says no");
}

static void fake_close(void *backend)
{
}

static const struct xreg_backend_ops fake = {.name = "fake",
	.open = fake_open,
	.load = fake_load,
	.commit = fake_commit,
	.close = fake_close};

static void test_store_shows_nothing_that_is_not_durable(void **state)
{
	struct xreg_store *store = fixture_open(&(struct xreg_store_opts){.backend = &fake});
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = registration(&spec);
	struct xreg_view *view;

	refuse_commit = -ENOSPC;
	assert_int_equal(xreg_store_change(store, &change), -ENOSPC);
	assert_string_equal(change.err.text, "the disk says no");
	assert_null(change.result);
	assert_int_equal(change.revision, 0);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_count(view), 0);
	assert_int_equal(xreg_view_revision(view), 41);
	xreg_view_unref(view);
	assert_events(store, 41, 0, 0);
	assert_events(store, 40, -ESTALE, 0);

	refuse_commit = 0;
	assert_int_equal(xreg_store_change(store, &change), 0);
	assert_int_equal(change.revision, 42);
	release(&change);
	assert_events(store, 41, 0, 1);
	xreg_store_close(store);
}

/* ---- several threads ---- */

#define NR_WRITERS 4
#define NR_READERS 2
#define NR_CHANGES 150u

struct crowd {
	struct xreg_store *store;
	unsigned index;
	_Atomic bool *must_stop;
	_Atomic uint64_t *nr_looks;
};

/* Registers targets of a node of its own and takes every other one away again. */
static void *write_much(void *arg)
{
	struct crowd *crowd = arg;
	char node[8], id[XREG_ID_SIZE];

	snprintf(node, sizeof(node), "w%u", crowd->index);
	for (unsigned i = 0; i < NR_CHANGES; i++) {
		snprintf(id, sizeof(id), "%s",
			fixture_register(crowd->store, node, crowd->index * NR_CHANGES + i));
		if (i % 2 != 0) {
			struct xreg_change change = {.op = XREG_UNREGISTER, .id = id};

			assert_int_equal(xreg_store_change(crowd->store, &change), 0);
			release(&change);
		}
	}
	return NULL;
}

static bool count_one(void *arg, const struct xreg_target *target)
{
	++*(uint32_t *)arg;
	return true;
}

/* Every index of a view has the same targets, and revisions only rise. */
static void *read_much(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t last = 0;

	while (!atomic_load(crowd->must_stop)) {
		struct xreg_view *view = xreg_store_view(crowd->store);
		uint32_t by_place = 0, by_node = 0;

		assert_true(xreg_view_revision(view) >= last);
		last = xreg_view_revision(view);
		xreg_view_each(view, XREG_BY_PLACE, "", true, count_one, &by_place);
		xreg_view_each(view, XREG_BY_NODE, "w", true, count_one, &by_node);
		assert_int_equal(by_place, xreg_view_count(view));
		assert_int_equal(by_node, xreg_view_count(view));
		xreg_view_unref(view);
		atomic_fetch_add(crowd->nr_looks, 1);
	}
	return NULL;
}

struct counter {
	struct xreg_watcher watcher;
	_Atomic uint64_t last;
};

static void on_revision(struct xreg_watcher *watcher, uint64_t revision)
{
	struct counter *counter = (struct counter *)watcher;

	assert_true(revision > atomic_load(&counter->last));
	atomic_store(&counter->last, revision);
}

static void test_store_with_readers_beside_writers(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	pthread_t threads[NR_WRITERS + NR_READERS];
	struct crowd crowd[NR_WRITERS + NR_READERS];
	struct counter counter = {.watcher.fn = on_revision};
	_Atomic bool must_stop = false;
	_Atomic uint64_t nr_looks = 0;
	struct xreg_view *view;

	xreg_store_watch(store, &counter.watcher);
	for (unsigned i = 0; i < NR_WRITERS + NR_READERS; i++) {
		crowd[i] = (struct crowd){store, i, &must_stop, &nr_looks};
		assert_int_equal(pthread_create(&threads[i], NULL,
					 i < NR_WRITERS ? write_much : read_much, &crowd[i]),
			0);
	}
	for (unsigned i = 0; i < NR_WRITERS; i++) {
		pthread_join(threads[i], NULL);
	}
	atomic_store(&must_stop, true);
	for (unsigned i = NR_WRITERS; i < NR_WRITERS + NR_READERS; i++) {
		pthread_join(threads[i], NULL);
	}
	xreg_store_unwatch(store, &counter.watcher);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_count(view), NR_WRITERS * NR_CHANGES / 2);
	assert_int_equal(xreg_view_revision(view), NR_WRITERS * NR_CHANGES * 3 / 2);
	assert_int_equal(atomic_load(&counter.last), xreg_view_revision(view));
	assert_true(atomic_load(&nr_looks) != 0);
	xreg_view_unref(view);
	xreg_store_close(store);
}

#define store_test(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_store_registers_and_finds),
		store_test(test_store_knows_a_place),
		store_test(test_store_gives_what_was_found_to_who_registers),
		store_test(test_store_changes_the_status),
		store_test(test_store_unregisters),
		store_test(test_store_keeps_what_is_desired),
		store_test(test_store_has_a_limit),
		store_test(test_view_each_by_key_and_prefix),
		store_test(test_events_tell_what_happened),
		store_test(test_events_are_compacted),
		store_test(test_wait_for_a_revision),
		store_test(test_store_shows_nothing_that_is_not_durable),
		store_test(test_store_with_readers_beside_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
