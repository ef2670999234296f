/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery service with a log of another's making: a simulated machine whose target is a
 * central discovery controller, and hosts that read its log in pieces, are told of changes,
 * register themselves, rightly and wrongly, and kick-start.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xnvmf/target/discovery.h"
#include "test/sim/sim.h"
#include "test/sim/sim_bdev.h"
#include "test/unit/xnvmf/wire_host.h"

#define NQN           "nqn.2026-11.io.xsan:registry"
#define PORT          8009u
#define PATIENCE_NS   (600 * XU_NS_PER_S)
#define ENTRY_BYTES   1024u
#define EXT_BYTES     1100u
#define RECORD_OFFSET 1024u

/* A log of numbered entries. */
struct view {
	uint32_t nr_refs;
	struct xnvmf_discovery_info info;
};

struct world {
	struct sim *sim;
	struct sim_host *node, *peer;
	struct xr_reactor *peer_reactor;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xu_error err;
	int rc;
	bool is_stopped;

	uint32_t nr_entries;
	uint64_t genctr;       /* of every host but host 1 */
	uint64_t other_genctr; /* of that one */
	uint32_t nr_views;     /* that are pinned */
	uint32_t nr_rendered_max;
	struct xnvmf_discovery_asker asker; /* of the last pin */
	char asker_nqn[256], asker_own[64];

	struct xnvmf_dim *dim; /* that waits for its answer */
	bool keeps_dim;
	uint32_t nr_dims;
	struct xnvmf_kick_start kick;
	struct xnvmf_kick_record kick_record;
	enum xnvmf_kick_result kick_result;
	uint32_t nr_kicks;
};

/* ---- the implementation of the log ---- */

static uint64_t log_genctr(void *arg, const struct xnvmf_discovery_asker *asker)
{
	const struct world *w = arg;

	return strstr(asker->hostnqn, "1112") != NULL ? w->other_genctr : w->genctr;
}

static void *log_pin(void *arg, const struct xnvmf_discovery_asker *asker)
{
	struct view *view = malloc(sizeof(*view));
	struct world *w = arg;

	assert_non_null(view);
	*view = (struct view){.nr_refs = 1,
		.info = {.options = asker->options,
			.genctr = log_genctr(w, asker),
			.nr_entries = w->nr_entries,
			.entry_bytes = asker->options & XNVMF_DISCOVERY_EXTENDED ? EXT_BYTES
										 : ENTRY_BYTES}};
	w->asker = *asker;
	snprintf(w->asker_nqn, sizeof(w->asker_nqn), "%s", asker->hostnqn);
	snprintf(w->asker_own, sizeof(w->asker_own), "%s", asker->own_address);
	w->nr_views++;
	return view;
}

static void log_unpin(void *arg, void *view)
{
	((struct world *)arg)->nr_views--;
	free(view);
}

static void log_describe(const void *view, struct xnvmf_discovery_info *ret_info)
{
	*ret_info = ((const struct view *)view)->info;
}

static struct world *rendering; /* whose entries are counted */

static void fill_entry(uint8_t *at, uint32_t bytes, uint32_t index, uint64_t genctr)
{
	for (uint32_t i = 0; i < bytes; i++) {
		at[i] = (uint8_t)(index * 31 + i * 7 + genctr);
	}
	memcpy(at, &index, sizeof(index));
}

static void log_render(const void *arg, uint32_t first, uint32_t count, void *buf)
{
	const struct view *view = arg;

	assert_true(count != 0 && first < view->info.nr_entries &&
		    count <= view->info.nr_entries - first);
	if (count > rendering->nr_rendered_max) {
		rendering->nr_rendered_max = count;
	}
	for (uint32_t i = 0; i < count; i++) {
		fill_entry((uint8_t *)buf + i * view->info.entry_bytes, view->info.entry_bytes,
			first + i, view->info.genctr);
	}
}

static void log_dim(void *arg, struct xnvmf_dim *dim)
{
	struct world *w = arg;

	w->nr_dims++;
	assert_null(w->dim);
	w->dim = dim;
	if (!w->keeps_dim) {
		xnvmf_dim_done(dim, NVME_SC_SUCCESS);
		w->dim = NULL;
	}
}

static enum xnvmf_kick_result log_kick_start(void *arg, const struct xnvmf_kick_start *kick)
{
	struct world *w = arg;

	w->nr_kicks++;
	w->kick = *kick;
	w->kick_record = kick->records[kick->nr_records - 1];
	return w->kick_result;
}

static const struct xnvmf_discovery_ops log_ops = {
	.log = {.options = XNVMF_DISCOVERY_EXTENDED | XNVMF_DISCOVERY_ALL,
		.pin = log_pin,
		.unpin = log_unpin,
		.describe = log_describe,
		.render = log_render,
		.genctr = log_genctr},
	.dim = log_dim,
	.kick_start = log_kick_start,
};

/* ---- the world ---- */

static void call(struct world *w, void (*fn)(void *arg))
{
	sim_call(w->sim, xbdev_ctx_control(w->ctx), fn, w);
}

static void make_target(void *arg)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "8009"};
	struct world *w = arg;
	const struct xnvmf_discovery_opts opts = {
		.ops = &log_ops, .arg = w, .nqn = NQN, .is_central = true};
	struct xnvmf_target_opts target_opts;

	xnvmf_target_opts_default(&target_opts);
	assert_int_equal(xnvmf_target_new(w->ctx, &target_opts, &w->target, &w->err), 0);
	assert_int_equal(xnvmf_target_set_discovery(w->target, &opts, &w->err), 0);
	assert_int_equal(xnvmf_discovery_listen(w->target, &listener, &w->err), 0);
}

static void world_start_with(struct world *w, void (*make)(void *arg))
{
	struct xr_reactor_opts opts = {0};

	*w = (struct world){.nr_entries = 10, .genctr = 1000, .other_genctr = 1000};
	rendering = w;
	w->sim = sim_new(1);
	w->node = sim_host_new(w->sim, "node", NULL);
	w->peer = sim_host_new(w->sim, "peer", NULL);
	opts.platform = sim_host_platform(w->peer);
	assert_int_equal(xr_reactor_new(&opts, &w->peer_reactor, &w->err), 0);
	w->ctx = sim_ctx_new(w->node, 1, NULL);
	call(w, make);
}

static void world_start(struct world *w)
{
	world_start_with(w, make_target);
}

static void on_stopped(void *arg)
{
	((struct world *)arg)->is_stopped = true;
}

static void begin_stop(void *arg)
{
	struct world *w = arg;

	assert_int_equal(xnvmf_target_stop(w->target, on_stopped, w), 0);
}

static bool is_stopped(void *arg)
{
	return ((struct world *)arg)->is_stopped;
}

/* Whatever hosts did: every view has been given back, every request answered. */
static void world_end(struct world *w)
{
	assert_int_equal(sim_run(w->sim, is_stopped, w, PATIENCE_NS), 0);
	assert_int_equal(w->nr_views, 0);
	assert_null(w->dim);
	xnvmf_target_free(w->target);
	sim_ctx_free(w->sim, w->ctx);
	assert_int_equal(sim_host_nr_open(w->node), 0);
	xr_reactor_free(w->peer_reactor);
	sim_free(w->sim);
}

static void world_stop(struct world *w)
{
	call(w, begin_stop);
	world_end(w);
}

static void open_host(struct world *w, struct wire_conn *conn, const char *nqn, uint16_t host)
{
	const struct wire_connect_opts opts = {.nqn = nqn, .host = host, .is_discovery = host == 2};
	struct wire_result result;

	assert_int_equal(
		wire_open(conn, w->sim, w->peer, w->peer_reactor, sim_host_address(w->node), PORT),
		0);
	result = wire_connect_as(conn, &opts);
	assert_int_equal(result.error | result.status, 0);
	assert_int_equal(wire_enable(conn).status, 0);
}

static struct wire_result get_log(struct wire_conn *conn, uint8_t lid, uint32_t options,
	uint64_t offset, void *buf, uint32_t len)
{
	uint32_t numd = len / 4 - 1;
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_GET_LOG_PAGE,
		.cdw10 = lid | options << 8 | (numd & 0xffff) << 16,
		.cdw11 = numd >> 16,
		.cdw12 = (uint32_t)offset,
		.cdw13 = (uint32_t)(offset >> 32)};

	return wire_command(conn, &cmd, NULL, 0, buf, len);
}

static void read_log(
	struct wire_conn *conn, uint32_t options, uint64_t offset, void *buf, uint32_t len)
{
	struct wire_result result = get_log(conn, NVME_LOG_DISCOVERY, options, offset, buf, len);

	assert_int_equal(result.error, 0);
	assert_int_equal(result.status, 0);
}

/* ---- who it is ---- */

static void test_discovery_central_tells_who_it_is(void **state)
{
	static const char *const names[] = {XNVMF_DISCOVERY_NQN, NQN};
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_IDENTIFY, .cdw10 = NVME_CNS_CTRL};
	static struct nvme_id_ctrl id;
	uint32_t pages[256];
	struct world w;

	world_start(&w);
	for (uint32_t i = 0; i < 2; i++) {
		struct wire_conn conn;

		open_host(&w, &conn, names[i], 0);
		assert_int_equal(wire_command(&conn, &cmd, NULL, 0, &id, sizeof(id)).status, 0);
		assert_string_equal(id.subnqn, NQN);
		assert_int_equal(id.dctype, NVME_DCTYPE_CENTRAL);
		assert_int_equal(id.cntrltype, NVME_CNTRLTYPE_DISCOVERY);
		assert_int_equal(
			get_log(&conn, NVME_LOG_SUPPORTED, 0, 0, pages, sizeof(pages)).status, 0);
		assert_int_equal(pages[NVME_LOG_DISCOVERY], 0x50001);
		wire_close(&conn);
	}
	world_stop(&w);
}

static void name_subsystem_like_it(void *arg)
{
	const struct xnvmf_subsystem_opts opts = {.nqn = NQN};
	struct world *w = arg;

	assert_int_equal(xnvmf_subsystem_add(w->target, &opts, NULL, &w->err), -EEXIST);
}

static void set_late(void *arg)
{
	struct world *w = arg;
	const struct xnvmf_discovery_opts opts = {.ops = &log_ops, .arg = w};

	assert_int_equal(xnvmf_target_set_discovery(w->target, &opts, &w->err), -EBUSY);
	assert_non_null(strstr(w->err.text, "while hosts are connected"));
}

static void test_discovery_is_set_before_hosts_come(void **state)
{
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	call(&w, name_subsystem_like_it);
	open_host(&w, &conn, NQN, 0);
	call(&w, set_late);
	wire_close(&conn);
	world_stop(&w);
}

/* ---- reading ---- */

/* What the whole log is. */
static uint8_t *whole_log(const struct world *w, uint32_t options, size_t *ret_bytes)
{
	uint32_t bytes = options & XNVMF_DISCOVERY_EXTENDED ? EXT_BYTES : ENTRY_BYTES;
	struct nvme_discovery_header *header;
	uint8_t *log;

	*ret_bytes = RECORD_OFFSET + (size_t)w->nr_entries * bytes;
	log = calloc(1, *ret_bytes);
	assert_non_null(log);
	header = (struct nvme_discovery_header *)log;
	header->genctr = w->genctr;
	header->numrec = w->nr_entries;
	header->dlpf = (uint8_t)options;
	header->tdlpl = options & XNVMF_DISCOVERY_EXTENDED ? (uint32_t)*ret_bytes : 0;
	for (uint32_t i = 0; i < w->nr_entries; i++) {
		fill_entry(log + RECORD_OFFSET + (size_t)i * bytes, bytes, i, w->genctr);
	}
	return log;
}

/* Any piece is what is there, and zeroes behind the end; no piece makes more entries than it
 * shows. */
static void check_pieces(struct world *w, uint32_t options, uint32_t nr_entries)
{
	static const uint32_t sizes[] = {4, 20, 1020, 1024, 1028, 4096, 5000, 65536};
	struct wire_conn conn;
	uint8_t *log, *buf = malloc(65536);
	size_t bytes;

	w->nr_entries = nr_entries;
	log = whole_log(w, options, &bytes);
	open_host(w, &conn, NQN, 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		/* The header first, which pins; then along the log, and over its end. */
		for (uint64_t offset = 0; offset <= bytes; offset += bytes / 9 / 4 * 4) {
			size_t part = bytes - offset < sizes[i] ? bytes - offset : sizes[i];

			w->nr_rendered_max = 0;
			memset(buf, 0xa5, 65536);
			read_log(&conn, options, offset, buf, sizes[i]);
			assert_memory_equal(buf, log + offset, part);
			for (size_t k = part; k < sizes[i]; k++) {
				assert_int_equal(buf[k], 0);
			}
			assert_true(w->nr_rendered_max <= sizes[i] / ENTRY_BYTES + 1);
		}
	}
	assert_int_equal(
		get_log(&conn, NVME_LOG_DISCOVERY, options, (bytes + 7) / 4 * 4, buf, 4).status,
		NVME_SC_INVALID_FIELD);
	wire_close(&conn);
	free(buf);
	free(log);
}

static void test_discovery_log_is_read_in_pieces(void **state)
{
	struct world w;

	world_start(&w);
	check_pieces(&w, 0, 10);
	check_pieces(&w, 0, 1000);
	check_pieces(&w, XNVMF_DISCOVERY_EXTENDED, 100);
	check_pieces(&w, XNVMF_DISCOVERY_ALL, 3);
	world_stop(&w);
}

/* Options that are not offered are not told to the implementation, nor claimed in the header. */
static void test_discovery_options_are_those_offered(void **state)
{
	struct nvme_discovery_header header;
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	open_host(&w, &conn, NQN, 2);
	read_log(&conn, 0x7f, 0, &header, sizeof(header));
	assert_int_equal(w.asker.options, XNVMF_DISCOVERY_EXTENDED | XNVMF_DISCOVERY_ALL);
	assert_int_equal(header.dlpf, XNVMF_DISCOVERY_EXTENDED | XNVMF_DISCOVERY_ALL);
	assert_true(w.asker.is_controller);
	assert_int_equal(w.asker.own_port, PORT);
	assert_string_equal(w.asker_own, sim_host_address(w.node));
	wire_close(&conn);
	world_stop(&w);
}

/* A log that changes and shrinks while it is read is the old one until offset 0 is read. */
static void test_discovery_reader_keeps_its_view(void **state)
{
	uint8_t entry[ENTRY_BYTES], want[ENTRY_BYTES];
	struct nvme_discovery_header header;
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	open_host(&w, &conn, NQN, 0);
	read_log(&conn, 0, 0, &header, sizeof(header));
	fill_entry(want, sizeof(want), 9, w.genctr);
	w.genctr++;
	w.nr_entries = 2;
	read_log(&conn, 0, RECORD_OFFSET + 9 * ENTRY_BYTES, entry, sizeof(entry));
	assert_memory_equal(entry, want, sizeof(want));
	read_log(&conn, 0, 0, &header, sizeof(header));
	assert_int_equal(header.numrec, 2);
	assert_int_equal(header.genctr, w.genctr);
	assert_int_equal(w.nr_views, 1);
	assert_int_equal(get_log(&conn, NVME_LOG_DISCOVERY, 0, RECORD_OFFSET + 9 * ENTRY_BYTES,
				 entry, sizeof(entry))
				 .status,
		NVME_SC_INVALID_FIELD);
	wire_close(&conn);
	world_stop(&w);
}

/* ---- changes ---- */

static void changed(void *arg)
{
	xnvmf_target_discovery_changed(((struct world *)arg)->target);
}

static uint16_t ask_event(struct wire_conn *conn)
{
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_ASYNC_EVENT};

	assert_int_equal(wire_send_cmd(conn, &cmd, NULL, 0), 0);
	return cmd.cid;
}

/* A burst is one event, to those whose log has changed. */
static void test_discovery_change_is_told_to_whom_it_concerns(void **state)
{
	struct nvme_discovery_header header;
	struct wire_conn conns[3];
	struct wire_result result;
	uint16_t cids[3];
	struct world w;

	world_start(&w);
	for (uint16_t i = 0; i < 3; i++) {
		open_host(&w, &conns[i], NQN, i);
		read_log(&conns[i], 0, 0, &header, sizeof(header));
		cids[i] = ask_event(&conns[i]);
	}
	for (uint32_t i = 0; i < 10; i++) {
		w.genctr++;
		call(&w, changed);
	}
	result = wire_finish(&conns[0], cids[0], NULL, NULL, 0);
	assert_int_equal(result.error | result.status, 0);
	assert_int_equal(result.dw0, NVME_AEN_DISCOVERY);
	assert_int_equal(wire_finish(&conns[2], cids[2], NULL, NULL, 0).dw0, NVME_AEN_DISCOVERY);
	conns[1].wait_ns = XU_NS_PER_S;
	assert_int_equal(wire_finish(&conns[1], cids[1], NULL, NULL, 0).error, -ETIMEDOUT);
	/* One, until the log has been read. */
	cids[0] = ask_event(&conns[0]);
	conns[0].wait_ns = XU_NS_PER_S;
	assert_int_equal(wire_finish(&conns[0], cids[0], NULL, NULL, 0).error, -ETIMEDOUT);
	for (uint32_t i = 0; i < 3; i++) {
		wire_close(&conns[i]);
	}
	world_stop(&w);
}

/* Who has read the log since the change needs no event of it: neither one that waited for an event
 * request, nor one that was masked. */
static void test_discovery_no_event_of_what_was_read(void **state)
{
	struct nvme_discovery_header header;
	struct wire_conn conn;
	uint16_t cid;
	struct world w;

	world_start(&w);
	open_host(&w, &conn, NQN, 0);
	read_log(&conn, 0, 0, &header, sizeof(header));
	w.genctr++;
	call(&w, changed);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	read_log(&conn, 0, 0, &header, sizeof(header));
	cid = ask_event(&conn);
	conn.wait_ns = XU_NS_PER_S;
	assert_int_equal(wire_finish(&conn, cid, NULL, NULL, 0).error, -ETIMEDOUT);
	for (uint32_t i = 0; i < 2; i++) {
		w.genctr++;
		call(&w, changed);
		assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	}
	assert_int_equal(wire_finish(&conn, cid, NULL, NULL, 0).dw0, NVME_AEN_DISCOVERY);
	read_log(&conn, 0, 0, &header, sizeof(header));
	cid = ask_event(&conn);
	assert_int_equal(wire_finish(&conn, cid, NULL, NULL, 0).error, -ETIMEDOUT);
	/* The next change is told. */
	w.genctr++;
	call(&w, changed);
	assert_int_equal(wire_finish(&conn, cid, NULL, NULL, 0).dw0, NVME_AEN_DISCOVERY);
	wire_close(&conn);
	world_stop(&w);
}

/* ---- who is connected ---- */

struct listing {
	struct world *w;
	uint32_t count, max;
};

static bool on_host(void *arg, const struct xnvmf_discovery_host *host)
{
	struct listing *listing = arg;

	assert_string_equal(host->address, sim_host_address(listing->w->peer));
	assert_string_equal(host->own_address, sim_host_address(listing->w->node));
	assert_int_equal(host->hostid[0], 1);
	assert_int_equal(host->hostid[1], listing->count);
	assert_true(host->is_persistent);
	assert_int_equal(host->is_controller, listing->count == 2);
	assert_true(host->age_ms >= 5000 && host->age_ms < 6000);
	assert_true(host->port != 0);
	listing->count++;
	return listing->count < listing->max;
}

static void list_hosts(void *arg)
{
	struct listing *listing = arg;

	xnvmf_discovery_each_host(listing->w->target, on_host, listing);
}

static void test_discovery_hosts_are_listed(void **state)
{
	struct wire_conn conns[3];
	struct world w;
	struct listing listing = {.w = &w, .max = 10};

	world_start(&w);
	for (uint16_t i = 0; i < 3; i++) {
		open_host(&w, &conns[i], NQN, i);
	}
	assert_int_equal(sim_run_for(w.sim, 5 * XU_NS_PER_S), 0);
	sim_call(w.sim, xbdev_ctx_control(w.ctx), list_hosts, &listing);
	assert_int_equal(listing.count, 3);
	listing = (struct listing){.w = &w, .max = 1};
	sim_call(w.sim, xbdev_ctx_control(w.ctx), list_hosts, &listing);
	assert_int_equal(listing.count, 1);
	for (uint32_t i = 0; i < 3; i++) {
		wire_close(&conns[i]);
	}
	world_stop(&w);
}

/* ---- listeners ---- */

static void unlisten(void *arg)
{
	struct world *w = arg;

	w->rc = xnvmf_discovery_unlisten(w->target, "0.0.0.0", "8009", &w->err);
}

static void test_discovery_unlisten_ends_its_connections(void **state)
{
	struct wire_conn conn, late;
	struct world w;

	world_start(&w);
	open_host(&w, &conn, NQN, 0);
	call(&w, unlisten);
	assert_int_equal(w.rc, 0);
	assert_int_not_equal(wire_enable(&conn).error, 0);
	assert_int_not_equal(
		wire_open(&late, w.sim, w.peer, w.peer_reactor, sim_host_address(w.node), PORT), 0);
	call(&w, unlisten);
	assert_int_equal(w.rc, -ENOENT);
	wire_close(&conn);
	world_stop(&w);
}

static void make_node(void *arg)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "8009"};
	const struct xnvmf_listener_opts io = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {
		.nqn = "nqn.2026-11.io.xsan:one", .allow_any_host = true};
	struct xnvmf_target_opts target_opts;
	struct xnvmf_subsystem *subsystem;
	struct world *w = arg;

	xnvmf_target_opts_default(&target_opts);
	assert_int_equal(xnvmf_target_new(w->ctx, &target_opts, &w->target, &w->err), 0);
	assert_int_equal(xnvmf_subsystem_add(w->target, &opts, &subsystem, &w->err), 0);
	assert_int_equal(xnvmf_listener_add(subsystem, &io, &w->err), 0);
	assert_int_equal(xnvmf_discovery_listen(w->target, &listener, &w->err), 0);
}

/* A node too may be asked on a port of its own; commands that only a central one has, it has not.
 */
static void test_discovery_node_listens_for_discovery(void **state)
{
	static const struct {
		const char *service;
		uint8_t subtype;
	} want[] = {{"8009", NVME_SUBTYPE_CURRENT_DISCOVERY},
		{"4420", NVME_SUBTYPE_CURRENT_DISCOVERY}, {"4420", NVME_SUBTYPE_NVM}};
	struct nvme_cmd dim = {.opc = NVME_ADMIN_DISCOVERY_INFO};
	static struct {
		struct nvme_discovery_header header;
		struct nvme_discovery_entry entries[4];
	} log;
	struct wire_conn conn;
	struct world w;

	world_start_with(&w, make_node);
	open_host(&w, &conn, XNVMF_DISCOVERY_NQN, 0);
	read_log(&conn, 0x7f, 0, &log, sizeof(log));
	assert_int_equal(log.header.numrec, 3);
	assert_int_equal(log.header.dlpf, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_string_equal(log.entries[i].trsvcid, want[i].service);
		assert_int_equal(log.entries[i].subtype, want[i].subtype);
		assert_string_equal(log.entries[i].traddr, sim_host_address(w.node));
	}
	assert_int_equal(
		wire_command(&conn, &dim, &log, 4096, NULL, 0).status, NVME_SC_INVALID_OPCODE);
	wire_close(&conn);
	world_stop(&w);
}

/* ---- registration ---- */

/* A request with one extended entry, as hosts send it; `mutate` makes it wrong. */
struct request {
	struct nvme_dim_data data;
	struct nvme_discovery_entry entry;
	struct nvme_discovery_extension extension;
	struct nvme_discovery_attribute id_head;
	uint8_t id[16];
	struct nvme_discovery_attribute label_head;
	char label[16];
} __attribute__((packed));

static struct request good_request(void)
{
	struct request r = {
		.data = {.tdl = sizeof(r),
			.nument = 1,
			.entfmt = NVME_DIM_FORMAT_EXTEND,
			.etype = NVME_DIM_ENTITY_DIRECT,
			.portlcl = 1,
			.ektype = NVME_DIM_KEY_ADDRESS,
			.eid = "nqn.2026-11.io.xsan:ddc",
			.ename = "node-7   ",
			.ever = "1.0 "},
		.entry = {.trtype = NVME_TRTYPE_TCP,
			.adrfam = NVME_ADRFAM_IPV4,
			.subtype = NVME_SUBTYPE_NVM,
			.treq = NVME_TREQ_SECURE_REQUIRED,
			.portid = 7,
			.cntlid = 0xffff,
			.asqsz = 32,
			.trsvcid = "4420    ",
			.subnqn = "nqn.2026-11.io.xsan:one",
			.traddr = "192.0.2.7",
			.tsas = {NVME_TSAS_TLS13}},
		.extension = {.tel = sizeof(r) - sizeof(r.data), .numexat = 2},
		.id_head = {.type = NVME_EXAT_HOST_ID, .len = 16},
		.id = {1, 2, 3},
		.label_head = {.type = NVME_EXAT_LABEL_ASCII, .len = 16},
		.label = "rack 3",
	};

	return r;
}

static struct request good_host_request(void)
{
	struct request r = good_request();

	r.data.etype = NVME_DIM_ENTITY_HOST;
	r.data.portlcl = 0;
	r.entry = (struct nvme_discovery_entry){.trtype = NVME_TRTYPE_TCP,
		.adrfam = NVME_ADRFAM_IPV4,
		.subnqn = "nqn.2026-11.io.xsan:host"};
	return r;
}

static struct wire_result send_dim(
	struct wire_conn *conn, uint32_t task, const void *data, uint32_t len)
{
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO, .cdw10 = task};

	return wire_command(conn, &cmd, data, len, NULL, 0);
}

static void answer_dim(void *arg)
{
	struct world *w = arg;

	xnvmf_dim_done(w->dim, NVME_SC_DISCOVERY_FULL);
	w->dim = NULL;
}

static void check_entry(struct xnvmf_dim_entry *entry)
{
	assert_int_equal(entry->trtype, NVME_TRTYPE_TCP);
	assert_int_equal(entry->portid, 7);
	assert_int_equal(entry->security, NVME_TSAS_TLS13);
	assert_string_equal(entry->trsvcid, "4420");
	assert_string_equal(entry->nqn, "nqn.2026-11.io.xsan:one");
	assert_string_equal(entry->address, "192.0.2.7");
	assert_string_equal(entry->label, "rack 3");
	assert_true(entry->has_hostid);
	assert_int_equal(entry->hostid[2], 3);
}

/* It is parsed as it was said, and answered when its taker likes. */
static void test_discovery_registration_is_handed_on(void **state)
{
	struct request r = good_request();
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO, .cdw10 = NVME_DIM_REGISTER};
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	w.keeps_dim = true;
	open_host(&w, &conn, NQN, 2);
	assert_int_equal(wire_send_cmd(&conn, &cmd, &r, sizeof(r)), 0);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	assert_non_null(w.dim);
	assert_int_equal(w.dim->task, NVME_DIM_REGISTER);
	assert_int_equal(w.dim->entity, NVME_DIM_ENTITY_DIRECT);
	assert_true(w.dim->is_port_local);
	assert_false(w.dim->is_key_port);
	assert_string_equal(w.dim->eid, "nqn.2026-11.io.xsan:ddc");
	assert_string_equal(w.dim->ename, "node-7");
	assert_string_equal(w.dim->ever, "1.0");
	assert_string_equal(w.dim->address, sim_host_address(w.peer));
	assert_int_equal(w.dim->nr_entries, 1);
	check_entry(&w.dim->entries[0]);
	call(&w, answer_dim);
	assert_int_equal(wire_finish(&conn, cmd.cid, NULL, NULL, 0).status, NVME_SC_DISCOVERY_FULL);
	wire_close(&conn);
	world_stop(&w);
}

/* The connection may be gone, and the target be stopping, before it is answered. */
static void test_discovery_registration_outlives_its_connection(void **state)
{
	struct request r = good_request();
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO, .cdw10 = NVME_DIM_REGISTER};
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	w.keeps_dim = true;
	open_host(&w, &conn, NQN, 2);
	assert_int_equal(wire_send_cmd(&conn, &cmd, &r, sizeof(r)), 0);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	wire_close(&conn);
	call(&w, begin_stop);
	assert_int_equal(sim_run_for(w.sim, 5 * XU_NS_PER_S), 0);
	assert_false(w.is_stopped);
	assert_string_equal(w.dim->ename, "node-7");
	call(&w, answer_dim);
	world_end(&w);
}

/* Who leaves its address out has that of its connection. */
static void test_discovery_host_registers_itself(void **state)
{
	struct request r = good_host_request();
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	w.keeps_dim = true;
	open_host(&w, &conn, NQN, 0);
	conn.wait_ns = XU_NS_PER_S;
	assert_int_equal(send_dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r)).error, -ETIMEDOUT);
	assert_string_equal(w.dim->entries[0].address, sim_host_address(w.peer));
	assert_string_equal(w.dim->entries[0].nqn, "nqn.2026-11.io.xsan:host");
	call(&w, answer_dim);
	wire_close(&conn);
	world_stop(&w);
}

/* More than a capsule holds: fetched, and every entry of it parsed. */
static void test_discovery_many_entries_at_once(void **state)
{
	enum { NR = 200, LEN = 1024 + NR * 1024 };
	struct request r = good_request();
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_DISCOVERY_INFO, .cdw10 = NVME_DIM_REGISTER};
	uint8_t *data = calloc(1, LEN);
	struct wire_conn conn;
	union wire_pdu pdu;
	struct world w;

	world_start(&w);
	w.keeps_dim = true;
	r.data.entfmt = NVME_DIM_FORMAT_BASIC;
	r.data.nument = NR;
	r.data.tdl = LEN;
	memcpy(data, &r.data, sizeof(r.data));
	for (uint32_t i = 0; i < NR; i++) {
		r.entry.portid = (uint16_t)i;
		memcpy(data + 1024 + i * 1024, &r.entry, sizeof(r.entry));
	}
	open_host(&w, &conn, NQN, 0);
	assert_int_equal(wire_send_cmd(&conn, &cmd, NULL, LEN), 0);
	assert_int_equal(wire_recv_pdu(&conn, &pdu), 0);
	assert_int_equal(wire_send_data(&conn, &pdu.r2t, data, pdu.r2t.r2tl), 0);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	assert_int_equal(w.dim->nr_entries, NR);
	assert_int_equal(w.dim->entries[NR - 1].portid, NR - 1);
	call(&w, answer_dim);
	assert_int_equal(wire_finish(&conn, cmd.cid, NULL, NULL, 0).status, NVME_SC_DISCOVERY_FULL);
	wire_close(&conn);
	world_stop(&w);
	free(data);
}

struct wrong {
	const char *what;
	void (*spoil)(struct request *r);
	uint16_t status;
	bool is_host;
};

#define SPOIL(name, statement)                                                                     \
	static void name(struct request *r)                                                        \
	{                                                                                          \
		statement;                                                                         \
	}

SPOIL(long_tdl, r->data.tdl = sizeof(*r) + 4)
SPOIL(short_tdl, r->data.tdl = 1020)
SPOIL(small_tdl, r->data.tdl = sizeof(*r) - 4)
SPOIL(no_entry, r->data.nument = 0)
SPOIL(two_entries, r->data.nument = 2)
SPOIL(endless_entries, r->data.nument = UINT64_MAX)
SPOIL(format_0, r->data.entfmt = 0)
SPOIL(format_3, r->data.entfmt = 3)
SPOIL(entity_0, r->data.etype = 0)
SPOIL(entity_4, r->data.etype = 4)
SPOIL(key_0, r->data.ektype = 0)
SPOIL(host_by_port, r->data.ektype = NVME_DIM_KEY_PORT)
SPOIL(port_local_central, r->data.etype = NVME_DIM_ENTITY_CENTRAL)
SPOIL(no_eid, r->data.eid[0] = '\0')
SPOIL(long_eid, memset(r->data.eid, 'n', sizeof(r->data.eid)))
SPOIL(binary_name, r->data.ename[0] = '\x01')
SPOIL(short_tel, r->extension.tel = 1028)
SPOIL(long_tel, r->extension.tel += 4)
SPOIL(odd_tel, r->extension.tel -= 2)
SPOIL(endless_tel, r->extension.tel = UINT32_MAX - 3)
SPOIL(many_attributes, r->extension.numexat = 3)
SPOIL(endless_attributes, r->extension.numexat = UINT16_MAX)
SPOIL(odd_attribute, r->label_head.len = 14)
SPOIL(empty_attribute, r->label_head.len = 0)
SPOIL(long_attribute, r->label_head.len = 20)
SPOIL(short_hostid, r->id_head.len = 12)
SPOIL(no_nqn, r->entry.subnqn[0] = '\0')
SPOIL(spaced_nqn, r->entry.subnqn[5] = ' ')
SPOIL(long_nqn, memset(r->entry.subnqn, 'n', sizeof(r->entry.subnqn)))
SPOIL(wildcard, strcpy(r->entry.traddr, "0.0.0.0"))
SPOIL(name_for_address, strcpy(r->entry.traddr, "localhost"))
SPOIL(blank_address, memset(r->entry.traddr, ' ', sizeof(r->entry.traddr)))
SPOIL(other_family, r->entry.adrfam = NVME_ADRFAM_IPV6)
SPOIL(unknown_transport, r->entry.trtype = 9)
SPOIL(no_port, r->entry.trsvcid[0] = '\0')
SPOIL(port_0, strcpy(r->entry.trsvcid, "0"))
SPOIL(port_text, strcpy(r->entry.trsvcid, "44x"))
SPOIL(port_high, strcpy(r->entry.trsvcid, "65536"))
SPOIL(host_without_id, r->extension.numexat = 0)
SPOIL(host_with_subtype, r->entry.subtype = NVME_SUBTYPE_NVM)
SPOIL(host_with_port, strcpy(r->entry.trsvcid, "4420"))

static const struct wrong wrongs[] = {
	{"TDL beyond the data", long_tdl, NVME_SC_INVALID_FIELD},
	{"TDL below the head", short_tdl, NVME_SC_INVALID_FIELD},
	{"TDL cuts the entry", small_tdl, NVME_SC_INVALID_FIELD},
	{"NUMENT 0", no_entry, NVME_SC_INVALID_FIELD},
	{"NUMENT beyond TDL", two_entries, NVME_SC_INVALID_FIELD},
	{"NUMENT endless", endless_entries, NVME_SC_INVALID_FIELD},
	{"ENTFMT 0", format_0, NVME_SC_INVALID_FIELD},
	{"ENTFMT 3", format_3, NVME_SC_INVALID_FIELD},
	{"ETYPE 0", entity_0, NVME_SC_INVALID_FIELD},
	{"ETYPE 4", entity_4, NVME_SC_INVALID_FIELD},
	{"EKTYPE 0", key_0, NVME_SC_INVALID_FIELD},
	{"EKTYPE of a host", host_by_port, NVME_SC_INVALID_FIELD, true},
	{"PORTLCL of a CDC", port_local_central, NVME_SC_INVALID_FIELD},
	{"no EID", no_eid, NVME_SC_DISCOVERY_INFO},
	{"EID not terminated", long_eid, NVME_SC_DISCOVERY_INFO},
	{"ENAME not printable", binary_name, NVME_SC_DISCOVERY_INFO},
	{"TEL below an entry", short_tel, NVME_SC_INVALID_FIELD},
	{"TEL beyond TDL", long_tel, NVME_SC_INVALID_FIELD},
	{"TEL odd", odd_tel, NVME_SC_INVALID_FIELD},
	{"TEL endless", endless_tel, NVME_SC_INVALID_FIELD},
	{"an attribute too many", many_attributes, NVME_SC_INVALID_FIELD},
	{"attributes endless", endless_attributes, NVME_SC_INVALID_FIELD},
	{"EXATLEN odd", odd_attribute, NVME_SC_INVALID_FIELD},
	{"EXATLEN 0", empty_attribute, NVME_SC_INVALID_FIELD},
	{"EXATLEN beyond TEL", long_attribute, NVME_SC_INVALID_FIELD},
	{"host ID of 12 bytes", short_hostid, NVME_SC_INVALID_FIELD},
	{"no NQN", no_nqn, NVME_SC_DISCOVERY_INFO},
	{"NQN with a space", spaced_nqn, NVME_SC_DISCOVERY_INFO},
	{"NQN not terminated", long_nqn, NVME_SC_DISCOVERY_INFO},
	{"wildcard address", wildcard, NVME_SC_DISCOVERY_INFO},
	{"a name as address", name_for_address, NVME_SC_DISCOVERY_INFO},
	{"blank address", blank_address, NVME_SC_DISCOVERY_INFO},
	{"ADRFAM of another", other_family, NVME_SC_DISCOVERY_INFO},
	{"TRTYPE unknown", unknown_transport, NVME_SC_DISCOVERY_INFO},
	{"no TRSVCID", no_port, NVME_SC_DISCOVERY_INFO},
	{"TRSVCID 0", port_0, NVME_SC_DISCOVERY_INFO},
	{"TRSVCID no number", port_text, NVME_SC_DISCOVERY_INFO},
	{"TRSVCID too high", port_high, NVME_SC_DISCOVERY_INFO},
	{"host without ID", host_without_id, NVME_SC_DISCOVERY_INFO, true},
	{"host with SUBTYPE", host_with_subtype, NVME_SC_DISCOVERY_INFO, true},
	{"host with TRSVCID", host_with_port, NVME_SC_DISCOVERY_INFO, true},
};

/* Each is refused with its status, nobody is asked, and the connection goes on. */
static void test_discovery_wrong_registrations_are_refused(void **state)
{
	struct request r = good_request();
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	open_host(&w, &conn, NQN, 0);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct wire_result result;

		r = wrongs[i].is_host ? good_host_request() : good_request();
		wrongs[i].spoil(&r);
		result = send_dim(&conn, NVME_DIM_REGISTER, &r, sizeof(r));
		if (result.error != 0 || result.status != wrongs[i].status || w.nr_dims != 0) {
			fail_msg("%s: error %d, status %04x, %u handed on", wrongs[i].what,
				result.error, result.status, w.nr_dims);
		}
	}
	r = good_request();
	assert_int_equal(send_dim(&conn, 3, &r, sizeof(r)).status, NVME_SC_INVALID_FIELD);
	assert_int_equal(
		send_dim(&conn, NVME_DIM_UPDATE, &r, sizeof(r)).status, NVME_SC_INVALID_FIELD);
	assert_int_equal(
		send_dim(&conn, NVME_DIM_REGISTER, &r, 1020).status, NVME_SC_INVALID_FIELD);
	assert_int_equal(send_dim(&conn, NVME_DIM_REGISTER, NULL, 0).status, NVME_SC_INVALID_FIELD);
	assert_int_equal(w.nr_dims, 0);
	/* Who leaves need not say all that who comes does. */
	r = good_host_request();
	r.extension.numexat = 0;
	assert_int_equal(send_dim(&conn, NVME_DIM_DEREGISTER, &r, sizeof(r)).status, 0);
	assert_int_equal(w.nr_dims, 1);
	wire_close(&conn);
	world_stop(&w);
}

/* ---- kick-start ---- */

struct kick_pdu {
	struct nvme_tcp_kdreq req;
	struct nvme_tcp_kdrecord records[2];
} __attribute__((packed));

static struct kick_pdu good_kick(void)
{
	const struct nvme_tcp_kdrecord record = {.trtype = NVME_TRTYPE_TCP,
		.adrfam = NVME_ADRFAM_IPV4,
		.trsvcid = "8009 ",
		.traddr = "192.0.2.7"};
	struct kick_pdu pdu = {.req = {.hdr = {NVME_TCP_KDREQ, 0x40, 12, 12, sizeof(pdu)},
				       .numkr = 2,
				       .numdie = 9},
		.records = {record, record}};

	return pdu;
}

static void open_kick(struct world *w, struct wire_conn *conn)
{
	assert_int_equal(wire_open_bare(conn, w->sim, w->peer, w->peer_reactor,
				 sim_host_address(w->node), PORT),
		0);
	assert_int_equal(wire_begin(conn, NVME_TCP_F_KDCONN), 0);
}

static void check_kick(struct world *w, enum xnvmf_kick_result result)
{
	struct kick_pdu pdu = good_kick();
	struct nvme_tcp_kdresp resp;
	struct wire_conn conn;

	w->kick_result = result;
	open_kick(w, &conn);
	/* In two pieces, as TCP may. */
	assert_int_equal(wire_send_raw(&conn, &pdu, 100), 0);
	assert_int_equal(sim_run_for(w->sim, XU_NS_PER_MS), 0);
	assert_int_equal(wire_send_raw(&conn, (char *)&pdu + 100, sizeof(pdu) - 100), 0);
	assert_int_equal(wire_recv_data(&conn, &resp, sizeof(resp)), 0);
	assert_int_equal(resp.hdr.type, NVME_TCP_KDRESP);
	assert_int_equal(resp.hdr.hlen, 10);
	assert_int_equal(resp.hdr.plen, 274);
	assert_int_equal(resp.ksstat, result != 0);
	assert_int_equal(resp.failrsn, result);
	assert_string_equal(resp.cdcnqn, NQN);
	/* It is not kept for ever when the peer does not close. */
	assert_int_equal(wire_recv_data(&conn, &resp, 1), -ECONNRESET);
	wire_close(&conn);
}

static void test_discovery_kick_start(void **state)
{
	struct world w;

	world_start(&w);
	check_kick(&w, XNVMF_KICK_TAKEN);
	assert_int_equal(w.nr_kicks, 1);
	assert_int_equal(w.kick.nr_records, 2);
	assert_int_equal(w.kick.nr_entries, 9);
	assert_int_equal(w.kick_record.trtype, NVME_TRTYPE_TCP);
	assert_string_equal(w.kick_record.trsvcid, "8009");
	assert_string_equal(w.kick_record.address, "192.0.2.7");
	check_kick(&w, XNVMF_KICK_FULL);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	world_stop(&w);
}

static void stop_before_kick(void *arg)
{
	struct world *w = arg;

	begin_stop(w);
	assert_int_equal(w->nr_kicks, 0);
}

/* A target that stops takes no kick-start any more; the connection just ends. */
static void test_discovery_kick_start_of_one_that_stops(void **state)
{
	struct kick_pdu pdu = good_kick();
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	open_kick(&w, &conn);
	assert_int_equal(wire_send_raw(&conn, &pdu, 100), 0);
	call(&w, stop_before_kick);
	wire_send_raw(&conn, (char *)&pdu + 100, sizeof(pdu) - 100);
	assert_int_not_equal(wire_recv_data(&conn, &pdu, 1), 0);
	assert_int_equal(w.nr_kicks, 0);
	wire_close(&conn);
	world_end(&w);
}

/* The connection that these are sent on is ended by a termination request. */
static void want_terminated(
	struct world *w, const void *pdu, size_t len, uint16_t fes, uint32_t fei)
{
	struct nvme_tcp_term term;
	struct wire_conn conn;

	open_kick(w, &conn);
	assert_int_equal(wire_send_raw(&conn, pdu, len), 0);
	assert_int_equal(wire_recv_data(&conn, &term, sizeof(term)), 0);
	assert_int_equal(term.hdr.type, NVME_TCP_C2H_TERM);
	assert_int_equal(term.fes, fes);
	assert_int_equal(term.fei, fei);
	wire_close(&conn);
}

static void test_discovery_wrong_kick_starts_are_ended(void **state)
{
	struct nvme_tcp_cmd cmd = {.hdr = {NVME_TCP_CMD, 0, sizeof(cmd), 0, sizeof(cmd)}};
	struct kick_pdu pdu = good_kick();
	struct nvme_tcp_kdresp resp;
	struct nvme_tcp_term term;
	struct wire_conn conn;
	struct world w;

	world_start(&w);
	want_terminated(&w, &cmd, sizeof(cmd), NVME_TCP_FES_SEQUENCE, 0);
	pdu.req.hdr.hlen = 16;
	want_terminated(&w, &pdu, sizeof(pdu), NVME_TCP_FES_HEADER_FIELD, 2);
	pdu = good_kick();
	pdu.req.hdr.pdo = 0;
	want_terminated(&w, &pdu, sizeof(pdu), NVME_TCP_FES_HEADER_FIELD, 3);
	pdu = good_kick();
	pdu.req.hdr.plen = 12;
	want_terminated(&w, &pdu, 12, NVME_TCP_FES_HEADER_FIELD, 4);
	pdu.req.hdr.plen = 4;
	want_terminated(&w, &pdu, 12, NVME_TCP_FES_HEADER_FIELD, 4);
	pdu.req.hdr.plen = 12 + 65 * 290;
	want_terminated(&w, &pdu, 12, NVME_TCP_FES_HEADER_FIELD, 4);
	pdu = good_kick();
	pdu.req.numkr = 1;
	want_terminated(&w, &pdu, sizeof(pdu), NVME_TCP_FES_HEADER_FIELD, 8);
	/* On a connection that was not announced it is a type like any unknown one. */
	pdu = good_kick();
	assert_int_equal(
		wire_open(&conn, w.sim, w.peer, w.peer_reactor, sim_host_address(w.node), PORT), 0);
	assert_int_equal(wire_send_raw(&conn, &pdu, sizeof(pdu)), 0);
	assert_int_equal(wire_recv_data(&conn, &term, sizeof(term)), 0);
	assert_int_equal(term.fes, NVME_TCP_FES_HEADER_FIELD);
	assert_int_equal(term.fei, 0);
	wire_close(&conn);
	assert_int_equal(w.nr_kicks, 0);
	/* Records that are no text are an answer, not an end. */
	pdu = good_kick();
	pdu.records[1].traddr[0] = '\n';
	open_kick(&w, &conn);
	assert_int_equal(wire_send_raw(&conn, &pdu, sizeof(pdu)), 0);
	assert_int_equal(wire_recv_data(&conn, &resp, sizeof(resp)), 0);
	assert_int_equal(resp.ksstat, 1);
	assert_int_equal(resp.failrsn, XNVMF_KICK_NO_INFORMATION);
	assert_int_equal(w.nr_kicks, 0);
	wire_close(&conn);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_discovery_central_tells_who_it_is),
		cmocka_unit_test(test_discovery_is_set_before_hosts_come),
		cmocka_unit_test(test_discovery_log_is_read_in_pieces),
		cmocka_unit_test(test_discovery_options_are_those_offered),
		cmocka_unit_test(test_discovery_reader_keeps_its_view),
		cmocka_unit_test(test_discovery_change_is_told_to_whom_it_concerns),
		cmocka_unit_test(test_discovery_no_event_of_what_was_read),
		cmocka_unit_test(test_discovery_hosts_are_listed),
		cmocka_unit_test(test_discovery_unlisten_ends_its_connections),
		cmocka_unit_test(test_discovery_node_listens_for_discovery),
		cmocka_unit_test(test_discovery_registration_is_handed_on),
		cmocka_unit_test(test_discovery_registration_outlives_its_connection),
		cmocka_unit_test(test_discovery_host_registers_itself),
		cmocka_unit_test(test_discovery_many_entries_at_once),
		cmocka_unit_test(test_discovery_wrong_registrations_are_refused),
		cmocka_unit_test(test_discovery_kick_start),
		cmocka_unit_test(test_discovery_kick_start_of_one_that_stops),
		cmocka_unit_test(test_discovery_wrong_kick_starts_are_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
