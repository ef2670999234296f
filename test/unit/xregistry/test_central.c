/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The central discovery controller on real sockets: its reactor in a thread, the store's writer in
 * another, and hosts here and in more threads, which register, read, wait for events and leave. Run
 * it under ThreadSanitizer and AddressSanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xregistry/discovery.h"
#include "test/unit/xnvmf/wire_host.h"
#include "test/unit/xregistry/fixture.h"

#define NQN        "nqn.2026-11.io.xsan:registry"
#define NR_ENTRIES 64u /* of a log that the tests read */

struct world {
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xreg_store *store;
	struct xreg_discovery *d;
	struct xu_error err;
	int rc;
	sem_t is_made; /* the context, or not */
	pthread_t thread;
	_Atomic bool must_end;
	_Atomic bool is_stopped;
	uint16_t port;
};

/* ---- the node: its control reactor has a thread ---- */

/* The reactor is made in its thread: the kernel does some of its work for who made it, and that
 * cuts short what a host in the same thread receives. */
static void *node_main(void *arg)
{
	const struct xbdev_ctx_opts opts = {.nr_reactors = 1};
	struct world *w = arg;

	w->rc = xbdev_ctx_new(&opts, &w->ctx, &w->err);
	sem_post(&w->is_made);
	while (w->rc == 0 && !atomic_load(&w->must_end)) {
		xr_reactor_poll(xbdev_ctx_control(w->ctx), 10 * XU_NS_PER_MS);
	}
	xbdev_ctx_free(w->rc == 0 ? w->ctx : NULL);
	return NULL;
}

struct call {
	struct xr_msg msg;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void on_call(struct xr_msg *msg)
{
	struct call *call = xu_container_of(msg, struct call, msg);

	call->fn(call->arg);
	sem_post(&call->done);
}

static void call(struct world *w, void (*fn)(void *arg), void *arg)
{
	struct call c = {.msg = {.fn = on_call}, .fn = fn, .arg = arg};

	sem_init(&c.done, 0, 0);
	xr_msg_send(xbdev_ctx_control(w->ctx), &c.msg);
	while (sem_wait(&c.done) != 0) {
	}
	sem_destroy(&c.done);
}

static void make_node(void *arg)
{
	struct world *w = arg;
	const struct xreg_discovery_opts opts = {
		.store = w->store, .reactor = xbdev_ctx_control(w->ctx)};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	struct xnvmf_target_opts target_opts;
	struct nvme_discovery_entry entry;

	xnvmf_target_opts_default(&target_opts);
	assert_int_equal(xnvmf_target_new(w->ctx, &target_opts, &w->target, &w->err), 0);
	assert_int_equal(xreg_discovery_new(&opts, &w->d, &w->err), 0);
	assert_int_equal(xreg_discovery_attach(w->d, w->target, NQN, &w->err), 0);
	assert_int_equal(xnvmf_discovery_listen(w->target, &listener, &w->err), 0);
	assert_int_equal(xnvmf_discovery_own_entries(w->target, "127.0.0.1", &entry, 1), 1);
	w->port = (uint16_t)atoi(entry.trsvcid);
}

static void world_start(struct world *w)
{
	*w = (struct world){0};
	sem_init(&w->is_made, 0, 0);
	w->store = fixture_open(NULL);
	assert_int_equal(pthread_create(&w->thread, NULL, node_main, w), 0);
	while (sem_wait(&w->is_made) != 0) {
	}
	assert_int_equal(w->rc, 0);
	call(w, make_node, w);
}

static void on_stopped(void *arg)
{
	atomic_store(&((struct world *)arg)->is_stopped, true);
}

static void begin_stop(void *arg)
{
	struct world *w = arg;

	assert_int_equal(xnvmf_target_stop(w->target, on_stopped, w), 0);
}

static void free_node(void *arg)
{
	struct world *w = arg;

	xnvmf_target_free(w->target);
	xreg_discovery_free(w->d);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void world_stop(struct world *w)
{
	call(w, begin_stop, w);
	for (uint32_t i = 0; i < 60000 && !atomic_load(&w->is_stopped); i++) {
		usleep(1000);
	}
	assert_true(atomic_load(&w->is_stopped));
	call(w, free_node, w);
	call(w, nothing, NULL); /* behind its last message */
	atomic_store(&w->must_end, true);
	pthread_join(w->thread, NULL);
	sem_destroy(&w->is_made);
	xreg_store_close(w->store);
}

/* ---- hosts: no assertions, they run in threads too ---- */

static bool open_host(const struct world *w, struct wire_conn *conn, uint16_t host)
{
	const struct wire_connect_opts opts = {
		.nqn = NQN, .host = host, .is_discovery = host >= 100};
	struct wire_result result;

	if (wire_open(conn, NULL, NULL, NULL, "127.0.0.1", w->port) != 0) {
		return false;
	}
	result = wire_connect_as(conn, &opts);
	return (result.error | result.status) == 0 && wire_enable(conn).status == 0;
}

/* A request with one basic entry. */
struct one_request {
	struct nvme_dim_data data;
	struct nvme_discovery_entry entry;
};

static struct one_request request_of(const char *eid, const char *nqn, uint16_t port)
{
	struct one_request r = {
		.data = {.tdl = sizeof(r),
			.nument = 1,
			.entfmt = NVME_DIM_FORMAT_BASIC,
			.etype = NVME_DIM_ENTITY_DIRECT,
			.ektype = NVME_DIM_KEY_ADDRESS},
		.entry = {.trtype = NVME_TRTYPE_TCP,
			.adrfam = NVME_ADRFAM_IPV4,
			.subtype = NVME_SUBTYPE_NVM,
			.portid = port,
			.traddr = "192.0.2.7"},
	};

	snprintf(r.data.eid, sizeof(r.data.eid), "%s", eid);
	snprintf(r.entry.subnqn, sizeof(r.entry.subnqn), "%s", nqn);
	snprintf(r.entry.trsvcid, sizeof(r.entry.trsvcid), "%u", port);
	return r;
}

static int dim(struct wire_conn *conn, uint32_t task, const void *data, uint32_t len)
{
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO, .cdw10 = task};
	struct wire_result result = wire_command(conn, &cmd, data, len, NULL, 0);

	return result.error != 0 ? result.error : result.status;
}

struct log {
	struct nvme_discovery_header header;
	struct nvme_discovery_entry entries[NR_ENTRIES];
};

static int read_log(struct wire_conn *conn, struct log *log)
{
	uint32_t numd = sizeof(*log) / 4 - 1;
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_GET_LOG_PAGE,
		.cdw10 = NVME_LOG_DISCOVERY | (numd & 0xffff) << 16,
		.cdw11 = numd >> 16};
	struct wire_result result = wire_command(conn, &cmd, NULL, 0, log, sizeof(*log));

	return result.error != 0 ? result.error : result.status;
}

/* The entry of that subsystem; NULL: there is none. */
static const struct nvme_discovery_entry *find_entry(const struct log *log, const char *nqn)
{
	for (uint64_t i = 0; i < log->header.numrec && i < NR_ENTRIES; i++) {
		if (strcmp(log->entries[i].subnqn, nqn) == 0) {
			return &log->entries[i];
		}
	}
	return NULL;
}

static struct log the_log;

static const struct nvme_discovery_entry *look(struct wire_conn *conn, const char *nqn)
{
	assert_int_equal(read_log(conn, &the_log), 0);
	return find_entry(&the_log, nqn);
}

/* The target with that NQN. New reference; NULL: there is none. */
static struct xreg_target *target_of(struct world *w, const char *nqn)
{
	struct xreg_view *view = xreg_store_view(w->store);
	const struct xreg_target *found = xreg_view_first(view, XREG_BY_NQN, nqn);
	struct xreg_target *target = found != NULL ? xreg_target_ref(found) : NULL;

	xreg_view_unref(view);
	return target;
}

static void set_offline(struct world *w, const char *nqn)
{
	struct xreg_target *target = target_of(w, nqn);
	struct xreg_change change = {.op = XREG_SET_STATUS,
		.id = target->origin.id,
		.status = {.state = XREG_OFFLINE, .reason = "silent"}};

	assert_int_equal(xreg_store_change(w->store, &change), 0);
	xreg_target_unref(change.result);
	xreg_target_unref(target);
}

/* ---- registration ---- */

#define EID "nqn.2026-11.io.xsan:ddc"
#define SUB "nqn.2026-11.io.xsan:sub"

/* What a discovery controller registers is a target, and an entry of the log, until it deregisters.
 */
static void test_central_registration_becomes_a_target(void **state)
{
	struct one_request r = request_of(EID, SUB, 4420);
	const struct nvme_discovery_entry *entry;
	struct xreg_target *target;
	struct wire_conn conn;
	struct world w;
	uint64_t genctr;

	world_start(&w);
	strcpy(r.data.ename, "shelf 7");
	assert_true(open_host(&w, &conn, 100));
	assert_null(look(&conn, SUB));
	genctr = the_log.header.genctr;
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	entry = look(&conn, SUB);
	assert_non_null(entry);
	assert_int_equal(entry->portid, 4420);
	assert_string_equal(entry->traddr, "192.0.2.7");
	assert_int_equal(the_log.header.genctr, genctr + 1);
	target = target_of(&w, SUB);
	assert_int_equal(target->origin.source, XREG_DIM);
	assert_string_equal(target->spec.node_id, "shelf_7");
	assert_int_equal(target->spec.ttl_s, 0);
	assert_int_equal(target->status.state, XREG_AVAILABLE);
	xreg_target_unref(target);
	/* Again is no change of the log; TLS is one. */
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	assert_non_null(look(&conn, SUB));
	assert_int_equal(the_log.header.genctr, genctr + 1);
	r.entry.tsas[0] = NVME_TSAS_TLS13;
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	entry = look(&conn, SUB);
	assert_int_equal(entry->tsas[0], NVME_TSAS_TLS13);
	assert_int_equal(the_log.header.genctr, genctr + 2);
	/* It is lost, and comes back. */
	set_offline(&w, SUB);
	assert_int_equal(look(&conn, SUB)->eflags, NVME_EFLAG_NOT_CONNECTED);
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	assert_int_equal(look(&conn, SUB)->eflags, 0);
	assert_int_equal(dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)), 0);
	assert_null(look(&conn, SUB));
	assert_null(target_of(&w, SUB));
	assert_int_equal(dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
	wire_close(&conn);
	world_stop(&w);
}

/* Another entity, the same name from another host, and the operator's targets: hands off. */
static void test_central_registration_belongs_to_its_entity(void **state)
{
	struct one_request r = request_of(EID, SUB, 4420);
	struct one_request other = request_of(EID "2", SUB, 4420);
	struct one_request operators;
	struct wire_conn owner, stranger;
	struct xreg_target *target;
	struct world w;

	world_start(&w);
	fixture_register(w.store, "node-1", 1);
	operators = request_of(EID, "nqn.2026-11.io.xsan:000001", 4420);
	assert_true(open_host(&w, &owner, 100));
	assert_true(open_host(&w, &stranger, 101));
	assert_int_equal(dim(&owner, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	for (uint32_t task = NVME_DIM_REGISTER; task <= NVME_DIM_DEREGISTER; task++) {
		assert_int_equal(dim(&stranger, task, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
		assert_int_equal(dim(&owner, task, &other, sizeof(other)), NVME_SC_DISCOVERY_INFO);
		assert_int_equal(
			dim(&owner, task, &operators, sizeof(operators)), NVME_SC_DISCOVERY_INFO);
	}
	target = target_of(&w, "nqn.2026-11.io.xsan:000001");
	assert_string_equal(target->spec.node_id, "node-1");
	assert_int_equal(target->origin.source, XREG_REGISTERED);
	xreg_target_unref(target);
	target = target_of(&w, SUB);
	assert_non_null(target);
	xreg_target_unref(target);
	wire_close(&owner);
	wire_close(&stranger);
	world_stop(&w);
}

struct two_request {
	struct nvme_dim_data data;
	struct nvme_discovery_entry entries[2];
};

/* An update replaces one entry by another at once; known by its port, also its address. */
static void test_central_update(void **state)
{
	struct one_request r = request_of(EID, SUB, 4420);
	struct two_request update = {.data = r.data, .entries = {r.entry, r.entry}};
	const struct nvme_discovery_entry *entry;
	struct wire_conn conn;
	struct world w;
	uint64_t genctr;

	world_start(&w);
	update.data.nument = 2;
	update.data.tdl = sizeof(update);
	strcpy(update.entries[1].traddr, "192.0.2.8");
	assert_true(open_host(&w, &conn, 100));
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	assert_non_null(look(&conn, SUB));
	genctr = the_log.header.genctr;
	assert_int_equal(dim(&conn, NVME_DIM_UPDATE, &update, sizeof(update)), 0);
	entry = look(&conn, SUB);
	assert_string_equal(entry->traddr, "192.0.2.8");
	assert_int_equal(the_log.header.numrec, 2);
	assert_int_equal(the_log.header.genctr, genctr + 1);
	/* The old key is gone. */
	assert_int_equal(
		dim(&conn, NVME_DIM_UPDATE, &update, sizeof(update)), NVME_SC_DISCOVERY_INFO);
	update.data.ektype = NVME_DIM_KEY_PORT;
	strcpy(update.entries[1].traddr, "192.0.2.9");
	assert_int_equal(dim(&conn, NVME_DIM_UPDATE, &update, sizeof(update)), 0);
	assert_string_equal(look(&conn, SUB)->traddr, "192.0.2.9");
	r.data.ektype = NVME_DIM_KEY_PORT;
	r.entry.portid = 9;
	assert_int_equal(dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
	r.entry.portid = 4420;
	assert_int_equal(dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)), 0);
	assert_null(look(&conn, SUB));
	wire_close(&conn);
	world_stop(&w);
}

/* What no target may be is refused before it can get into the store. */
static void test_central_registration_is_checked_like_any(void **state)
{
	struct one_request r = request_of(EID, "not-an-nqn", 4420);
	struct two_request two;
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	assert_true(open_host(&w, &conn, 100));
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
	r = request_of(EID, SUB, 4420);
	r.entry.trtype = NVME_TRTYPE_FC;
	r.entry.adrfam = NVME_ADRFAM_FC;
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
	strcpy(r.entry.traddr, "nn-0x1000000000000001:pn-0x2000000000000002");
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	assert_int_equal(look(&conn, SUB)->trtype, NVME_TRTYPE_FC);
	/* Of several, one that is wrong keeps all of them out. Its own service is no target. */
	r = request_of(EID, SUB "2", 4420);
	two = (struct two_request){.data = r.data, .entries = {r.entry, r.entry}};
	two.data.nument = 2;
	two.data.tdl = sizeof(two);
	strcpy(two.entries[1].subnqn, "no-nqn");
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &two, sizeof(two)), NVME_SC_DISCOVERY_INFO);
	assert_null(look(&conn, SUB "2"));
	two.entries[1].subtype = NVME_SUBTYPE_CURRENT_DISCOVERY;
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &two, sizeof(two)), 0);
	assert_non_null(look(&conn, SUB "2"));
	assert_null(find_entry(&the_log, "no-nqn"));
	wire_close(&conn);
	world_stop(&w);
	/* All of it can be loaded again. */
	xreg_store_close(fixture_open(NULL));
}

/* ---- hosts ---- */

struct listing {
	struct world *w;
	uint32_t count;
	char name[64], nqn[256];
};

static bool on_registered(void *arg, const struct xreg_discovery_host *host)
{
	struct listing *listing = arg;

	listing->count++;
	snprintf(listing->name, sizeof(listing->name), "%.63s", host->name);
	snprintf(listing->nqn, sizeof(listing->nqn), "%s", host->nqn);
	return true;
}

static void list_registered(void *arg)
{
	struct listing *listing = arg;

	listing->count = 0;
	xreg_discovery_each_registered(listing->w->d, on_registered, listing);
}

struct host_request {
	struct nvme_dim_data data;
	struct nvme_discovery_entry entry;
	struct nvme_discovery_extension extension;
	struct nvme_discovery_attribute head;
	uint8_t hostid[16];
} __attribute__((packed));

/* A host registers itself, and nobody else. */
static void test_central_hosts_register(void **state)
{
	const struct wire_connect_opts who = {.nqn = NQN, .host = 3};
	struct nvme_connect_data connect;
	struct host_request r = {.data = {.tdl = sizeof(r),
					 .nument = 1,
					 .entfmt = NVME_DIM_FORMAT_EXTEND,
					 .etype = NVME_DIM_ENTITY_HOST,
					 .ektype = NVME_DIM_KEY_ADDRESS,
					 .ename = "db-3  "},
		.entry = {.trtype = NVME_TRTYPE_TCP, .adrfam = NVME_ADRFAM_IPV4},
		.extension = {.tel = sizeof(r) - sizeof(r.data), .numexat = 1},
		.head = {NVME_EXAT_HOST_ID, 16}};
	struct wire_conn conn;
	struct world w;
	struct listing listing = {.w = &w};

	world_start(&w);
	wire_connect_cmd(&who, &connect);
	memcpy(r.data.eid, connect.hostnqn, sizeof(r.data.eid));
	memcpy(r.entry.subnqn, connect.hostnqn, sizeof(r.entry.subnqn));
	assert_true(open_host(&w, &conn, 3));
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
		call(&w, list_registered, &listing);
		assert_int_equal(listing.count, 1);
		assert_string_equal(listing.name, "db-3");
		assert_string_equal(listing.nqn, connect.hostnqn);
	}
	strcpy(r.entry.subnqn, "nqn.2026-11.io.xsan:other");
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
	assert_int_equal(dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)), NVME_SC_DISCOVERY_INFO);
	memcpy(r.entry.subnqn, connect.hostnqn, sizeof(r.entry.subnqn));
	assert_int_equal(dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)), 0);
	call(&w, list_registered, &listing);
	assert_int_equal(listing.count, 0);
	wire_close(&conn);
	world_stop(&w);
}

/* ---- many ---- */

#define NR_THREADS 4u
#define NR_ROUNDS  26u

struct client {
	struct world *w;
	uint16_t number;
	pthread_t thread;
	const char *failure;
};

/* Registers, reads what it has registered, deregisters; each time on a new connection. */
static void *client_main(void *arg)
{
	struct client *c = arg;
	struct log *log = malloc(sizeof(*log));
	char eid[64], nqn[64];

	snprintf(eid, sizeof(eid), EID "-%u", c->number);
	for (uint32_t i = 0; i < NR_ROUNDS && c->failure == NULL; i++) {
		struct one_request r;
		struct wire_conn conn;

		snprintf(nqn, sizeof(nqn), SUB "-%u-%u", c->number, i);
		r = request_of(eid, nqn, 4420);
		if (!open_host(c->w, &conn, (uint16_t)(100 + c->number))) {
			c->failure = "connecting";
			break;
		}
		if (dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)) != 0) {
			c->failure = "registering";
		} else if (read_log(&conn, log) != 0 || find_entry(log, nqn) == NULL) {
			c->failure = "reading what was registered";
		} else if (i % 2 == 0 && dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)) != 0) {
			c->failure = "deregistering";
		} else if (i % 2 == 0 &&
			   (read_log(&conn, log) != 0 || find_entry(log, nqn) != NULL)) {
			c->failure = "reading what was deregistered";
		}
		wire_close(&conn);
	}
	free(log);
	return NULL;
}

static void test_central_many_register_at_once(void **state)
{
	struct client clients[NR_THREADS];
	struct xreg_view *view;
	struct world w;

	world_start(&w);
	for (uint16_t i = 0; i < NR_THREADS; i++) {
		clients[i] = (struct client){.w = &w, .number = i};
		assert_int_equal(
			pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
	}
	for (uint32_t i = 0; i < NR_THREADS; i++) {
		pthread_join(clients[i].thread, NULL);
		if (clients[i].failure != NULL) {
			fail_msg("client %u: %s", i, clients[i].failure);
		}
	}
	view = xreg_store_view(w.store);
	assert_int_equal(xreg_view_count(view), NR_THREADS * (NR_ROUNDS / 2));
	xreg_view_unref(view);
	world_stop(&w);
}

/* A change by anybody is told to all who are connected; the node stops while requests are out. */
static void test_central_changes_are_told(void **state)
{
	struct nvme_cmd aer = {.opc = NVME_ADMIN_ASYNC_EVENT};
	struct one_request r = request_of(EID, SUB, 4420);
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO, .cdw10 = NVME_DIM_REGISTER};
	struct wire_conn conns[8];
	uint16_t cids[8];
	struct world w;

	world_start(&w);
	for (uint16_t i = 0; i < 8; i++) {
		assert_true(open_host(&w, &conns[i], i));
		assert_int_equal(read_log(&conns[i], &the_log), 0);
		assert_int_equal(wire_send_cmd(&conns[i], &aer, NULL, 0), 0);
		cids[i] = aer.cid;
	}
	fixture_register(w.store, "node", 1);
	for (uint32_t i = 0; i < 8; i++) {
		struct wire_result result = wire_finish(&conns[i], cids[i], NULL, NULL, 0);

		assert_int_equal(result.error | result.status, 0);
		assert_int_equal(result.dw0, NVME_AEN_DISCOVERY);
		assert_non_null(look(&conns[i], "nqn.2026-11.io.xsan:000001"));
	}
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(wire_send_cmd(&conns[i], &cmd, &r, sizeof(r)), 0);
	}
	world_stop(&w);
	for (uint32_t i = 0; i < 8; i++) {
		wire_close(&conns[i]);
	}
}

/* A host that asks for much and takes nothing, so that everything to it is stuck, holds up nobody:
 * the others read, register and are told of it. */
static void test_central_a_host_that_does_not_read(void **state)
{
	enum { NR_READS = 24, READ_BYTES = 1 << 20, NUMD = READ_BYTES / 4 - 1 };
	struct nvme_cmd aer = {.opc = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cmd greedy = {.opc = NVME_ADMIN_GET_LOG_PAGE,
		.cdw10 = NVME_LOG_DISCOVERY | (NUMD & 0xffffu) << 16,
		.cdw11 = NUMD >> 16};
	struct one_request r = request_of(EID, SUB, 4420);
	struct wire_conn deaf, conn;
	const int rcvbuf = 4096;
	struct wire_result result;
	uint64_t start_ns;
	struct world w;

	world_start(&w);
	assert_true(open_host(&w, &deaf, 1));
	assert_true(open_host(&w, &conn, 2));
	assert_int_equal(setsockopt(deaf.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)), 0);
	assert_int_equal(wire_send_cmd(&deaf, &aer, NULL, 0), 0);
	for (uint32_t i = 0; i < NR_READS; i++) {
		assert_int_equal(wire_send_cmd(&deaf, &greedy, NULL, READ_BYTES), 0);
	}
	assert_null(look(&conn, SUB));
	assert_int_equal(wire_send_cmd(&conn, &aer, NULL, 0), 0);
	start_ns = xu_clock_now_ns(xu_clock_system());
	fixture_register(w.store, "node", 1);
	result = wire_finish(&conn, aer.cid, NULL, NULL, 0);
	assert_int_equal(result.error | result.status, 0);
	assert_int_equal(result.dw0, NVME_AEN_DISCOVERY);
	assert_true(xu_clock_now_ns(xu_clock_system()) - start_ns < 60 * XU_NS_PER_S);
	assert_int_equal(dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)), 0);
	assert_non_null(look(&conn, SUB));
	world_stop(&w);
	wire_close(&deaf);
	wire_close(&conn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_central_registration_becomes_a_target),
		TEST(test_central_registration_belongs_to_its_entity),
		TEST(test_central_update),
		TEST(test_central_registration_is_checked_like_any),
		TEST(test_central_hosts_register),
		TEST(test_central_many_register_at_once),
		TEST(test_central_changes_are_told),
		TEST(test_central_a_host_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
