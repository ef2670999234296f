/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connects at bad moments: when the time for it is over, and when the host's last association has
 * ended but a write of it is still with the disk. The first may succeed or not, but not half; the
 * second waits, so that the old write cannot land on top of a new one.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "test/unit/xnvmf/sim_target.h"

#define CONNECT_NS (10 * XU_NS_PER_S) /* the default time from accept to Connect */
#define BYTES      16384u
#define SLBA       64u

static int send_connect(
	struct wire_conn *conn, const struct sim_initiator *h, uint16_t qid, uint16_t *ret_cid)
{
	struct wire_connect_opts opts = h->opts;
	struct nvme_connect_data data;
	struct nvme_cmd cmd;
	int rc;

	opts.qid = qid;
	opts.cntlid = h->cntlid;
	cmd = wire_connect_cmd(&opts, &data);
	rc = wire_send_cmd(conn, &cmd, &data, sizeof(data));
	*ret_cid = cmd.cid;
	return rc;
}

/* What a connection gives within `ns`: 0: a PDU; -ETIMEDOUT: nothing. */
static int listen_for(struct wire_conn *conn, uint64_t ns)
{
	union wire_pdu pdu;
	int rc;

	conn->wait_ns = ns;
	rc = wire_recv_pdu(conn, &pdu);
	conn->wait_ns = 0;
	return rc;
}

/* ---- at the timeout ---- */

/* The answer to a late Connect: success, after which the queue works, or none (or an error), after
 * which the connection ends. Returns whether it was success. */
static bool judge_late(struct sim_initiator *h, struct wire_conn *late, uint16_t qid, uint16_t cid)
{
	struct wire_result result = wire_finish(late, cid, NULL, NULL, 0);

	if (result.error == 0 && result.status == 0) {
		sim_target_run(h->t, XU_NS_PER_S);
		if (qid != 0) {
			h->io[qid - 1] = *late;
			h->nr_io = qid;
			sim_initiator_check(h, qid - 1u);
		} else {
			assert_ok(wire_enable(late));
			wire_close(late);
		}
		return true;
	}
	if (result.error == 0) {
		assert_int_equal(result.status, NVME_SC_CONNECT_BUSY); /* try again */
		result.error = listen_for(late, XU_NS_PER_S);
	}
	assert_int_equal(result.error, -ECONNRESET);
	wire_close(late);
	return false;
}

/* The queue can be connected by a second attempt, and the others were not disturbed. */
static void check_after(struct sim_initiator *h, uint16_t qid, bool is_connected)
{
	uint16_t cid;

	if (qid != 0 && !is_connected) {
		struct wire_conn *io = &h->io[qid - 1];

		sim_target_open(h->t, io);
		h->nr_io = qid;
		assert_int_equal(send_connect(io, h, qid, &cid), 0);
		assert_ok(wire_finish(io, cid, NULL, NULL, 0));
		sim_initiator_check(h, qid - 1u);
	}
	sim_initiator_check(h, 0);
	assert_ok(sim_initiator_keep_alive(h));
}

/* The node was paused while its time for a connection ran out, and the Connect came meanwhile: the
 * timer and, for some seeds, all of the bytes are found in one round. The second I/O queue and the
 * third would move to another reactor. */
static void test_connect_comes_during_a_pause(void **state)
{
	static const uint16_t qids[] = {0, 2, 3};

	for (uint32_t i = 0; i < 90; i++) {
		struct sim_initiator h = {0};
		struct wire_conn late;
		struct sim_target t;
		uint16_t cid;

		sim_target_start(&t, &(struct sim_target_opts){.seed = i + 1, .nr_reactors = 3});
		sim_initiator_attach(&h, &t, 0, qids[i % 3] == 3 ? 2 : 1);
		sim_target_open(&t, &late);
		sim_target_run(&t, CONNECT_NS - XU_NS_PER_S / 2);
		sim_host_pause(t.node, true);
		assert_int_equal(send_connect(&late, &h, qids[i % 3], &cid), 0);
		sim_target_run(&t, XU_NS_PER_S);
		sim_host_pause(t.node, false);
		check_after(&h, qids[i % 3], judge_late(&h, &late, qids[i % 3], cid));
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* The Connect is sent at every 20 us around the timeout. */
static void test_connect_comes_at_the_timeout(void **state)
{
	const struct sim_net_opts net = {.latency_min_ns = 20000, .latency_max_ns = 60000};
	uint32_t nr_connected = 0, nr_late = 0;

	for (uint32_t i = 0; i < 50; i++) {
		struct sim_initiator h = {0};
		struct wire_conn late;
		struct sim_target t;
		uint64_t start_ns;
		bool is_connected;
		uint16_t cid;

		sim_target_start(&t, &(struct sim_target_opts){.seed = i + 1, .nr_reactors = 2});
		sim_net_set(t.sim, &net);
		sim_initiator_attach(&h, &t, 0, 1);
		start_ns = sim_now_ns(t.sim);
		sim_target_open(&t, &late);
		sim_target_run(
			&t, start_ns + CONNECT_NS - 500000 + i * 20000ull - sim_now_ns(t.sim));
		if (send_connect(&late, &h, 2, &cid) != 0) {
			wire_close(&late); /* it has been closed already */
			is_connected = false;
		} else {
			is_connected = judge_late(&h, &late, 2, cid);
		}
		nr_connected += is_connected;
		nr_late += !is_connected;
		check_after(&h, 2, is_connected);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
	assert_true(nr_connected != 0 && nr_late != 0); /* the sweep has seen both sides */
}

/* ---- the host's last association ---- */

struct fence {
	struct sim_target t;
	struct sim_initiator h;
	struct wire_conn next; /* the admin connection of the next association */
	uint16_t cid;
	uint32_t nr_open; /* descriptors of the node without that one */
	char old[BYTES];
};

static void open_next(struct fence *f)
{
	sim_target_open(&f->t, &f->next);
	assert_int_equal(send_connect(&f->next, &f->h, 0, &f->cid), 0);
	sim_target_run(&f->t, XU_NS_PER_MS); /* it has arrived */
}

/* A host whose association has ended with a write on the disk, and which connects again. */
static void fence_start(struct fence *f, uint64_t seed, bool is_admin_left)
{
	const struct sim_fault hang = {
		.kind = SIM_FAULT_HANG, .ops = 1u << XR_OP_WRITE, .count = 1};
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, SLBA, BYTES);
	struct nvme_tcp_r2t r2t;
	union wire_pdu pdu;

	*f = (struct fence){0};
	sim_target_start(&f->t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
	sim_initiator_attach(&f->h, &f->t, 0, 2);
	sim_disk_fault_add(f->t.disk_a, &hang);
	memset(f->old, 'o', sizeof(f->old));
	assert_int_equal(wire_send_cmd(&f->h.io[1], &cmd, NULL, BYTES), 0);
	assert_int_equal(wire_recv_pdu(&f->h.io[1], &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	r2t = pdu.r2t;
	assert_int_equal(wire_send_data(&f->h.io[1], &r2t, f->old, BYTES), 0);
	sim_target_run(&f->t, XU_NS_PER_MS);
	assert_int_equal(sim_disk_nr_faults(f->t.disk_a), 1);
	if (is_admin_left) {
		assert_int_not_equal(sim_net_cut(f->t.sim, f->t.client, f->t.node), 0);
	}
	sim_initiator_detach(&f->h);
	f->h.nr_io = 0;
	sim_target_run(&f->t, XU_NS_PER_MS);
	f->nr_open = sim_host_nr_open(f->t.node);
	open_next(f);
}

static void release(struct fence *f)
{
	sim_disk_release(f->t.disk_a);
}

/* The held Connect has been answered: goes on as the next association. */
static void go_on(struct fence *f)
{
	struct wire_result result = wire_finish(&f->next, f->cid, NULL, NULL, 0);
	struct wire_conn *io = &f->h.io[0];
	uint16_t cid;

	assert_ok(result);
	f->h.admin = f->next;
	f->h.cntlid = (uint16_t)result.dw0;
	assert_ok(wire_enable(&f->h.admin));
	sim_target_open(&f->t, io);
	f->h.nr_io = 1;
	assert_int_equal(send_connect(io, &f->h, 1, &cid), 0);
	assert_ok(wire_finish(io, cid, NULL, NULL, 0));
	sim_initiator_check(&f->h, 0);
}

static void test_next_association_waits_for_the_last_write(void **state)
{
	static char data[BYTES], back[BYTES];
	static struct fence f;

	for (uint64_t seed = 20; seed < 26; seed++) {
		struct sim_initiator other = {0};

		fence_start(&f, seed, seed % 2 == 0);
		assert_int_equal(listen_for(&f.next, XU_NS_PER_S), -ETIMEDOUT);
		sim_initiator_attach(&other, &f.t, 1, 2); /* others need not wait */
		sim_initiator_check(&other, 1);
		assert_int_equal(listen_for(&f.next, XU_NS_PER_S), -ETIMEDOUT);
		release(&f);
		go_on(&f);
		sim_disk_read(f.t.disk_a, SLBA * 512, back, sizeof(back));
		assert_memory_equal(back, f.old, sizeof(back));
		memset(data, 'n', sizeof(data));
		assert_ok(wire_write(&f.h.io[0], SLBA, data, sizeof(data), true));
		sim_target_run(&f.t, XU_NS_PER_S);
		assert_ok(wire_read(&f.h.io[0], SLBA, back, sizeof(back)));
		assert_memory_equal(back, data, sizeof(back));
		sim_initiator_detach(&other);
		sim_initiator_detach(&f.h);
		sim_target_stop(&f.t);
	}
}

/* A Connect is not held for longer than a connection may be without one. */
static void test_held_connect_times_out(void **state)
{
	static struct fence f;

	fence_start(&f, 30, false);
	assert_int_equal(listen_for(&f.next, CONNECT_NS - XU_NS_PER_S), -ETIMEDOUT);
	assert_int_equal(listen_for(&f.next, 2 * XU_NS_PER_S), -ECONNRESET);
	wire_close(&f.next);
	sim_target_run(&f.t, XU_NS_PER_MS);
	assert_int_equal(sim_host_nr_open(f.t.node), f.nr_open);
	open_next(&f);
	assert_int_equal(listen_for(&f.next, XU_NS_PER_S), -ETIMEDOUT);
	release(&f);
	go_on(&f);
	sim_initiator_detach(&f.h);
	sim_target_stop(&f.t);
}

/* The host closes, or is cut off, while its Connect is held. */
static void test_host_leaves_while_it_is_held(void **state)
{
	static struct fence f;

	for (uint64_t seed = 31; seed < 35; seed++) {
		fence_start(&f, seed, false);
		assert_int_equal(listen_for(&f.next, XU_NS_PER_S), -ETIMEDOUT);
		if (seed % 2 == 0) {
			assert_int_not_equal(sim_net_cut(f.t.sim, f.t.client, f.t.node), 0);
		}
		wire_close(&f.next);
		if (seed < 33) {
			sim_target_run(&f.t, XU_NS_PER_MS);
			assert_int_equal(sim_host_nr_open(f.t.node), f.nr_open);
		}
		release(&f);
		sim_target_run(&f.t, XU_NS_PER_S);
		open_next(&f);
		go_on(&f);
		sim_initiator_detach(&f.h);
		sim_target_stop(&f.t);
	}
}

static void on_removed(void *arg)
{
	*(bool *)arg = true;
}

struct removal {
	struct sim_target *t;
	bool is_removed;
};

static void remove_subsystem(void *arg)
{
	struct removal *removal = arg;

	xnvmf_subsystem_remove(removal->t->subsystem, on_removed, &removal->is_removed);
}

/* The subsystem goes, or the target stops, while a Connect is held: it ends with an error, and both
 * wait for the write only. */
static void test_subsystem_goes_while_it_is_held(void **state)
{
	struct removal removal = {0};
	struct wire_result result;
	static struct fence f;

	fence_start(&f, 40, false);
	removal.t = &f.t;
	sim_target_call(&f.t, remove_subsystem, &removal);
	assert_int_equal(listen_for(&f.next, XU_NS_PER_S), -ETIMEDOUT);
	assert_false(removal.is_removed);
	release(&f);
	result = wire_finish(&f.next, f.cid, NULL, NULL, 0);
	assert_int_equal(result.error, 0);
	assert_int_equal(result.status, NVME_SC_CONNECT_PARAM); /* there is no such subsystem */
	sim_target_wait(&f.t, &removal.is_removed, XU_NS_PER_S);
	wire_close(&f.next);
	sim_target_stop(&f.t);
}

static void test_target_stops_while_it_is_held(void **state)
{
	static struct fence f;

	fence_start(&f, 41, false);
	sim_target_begin_stop(&f.t);
	assert_int_equal(listen_for(&f.next, XU_NS_PER_S), -ECONNRESET);
	assert_false(f.t.is_stopped);
	wire_close(&f.next);
	release(&f);
	sim_target_stop(&f.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_comes_during_a_pause),
		cmocka_unit_test(test_connect_comes_at_the_timeout),
		cmocka_unit_test(test_next_association_waits_for_the_last_write),
		cmocka_unit_test(test_held_connect_times_out),
		cmocka_unit_test(test_host_leaves_while_it_is_held),
		cmocka_unit_test(test_subsystem_goes_while_it_is_held),
		cmocka_unit_test(test_target_stops_while_it_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
