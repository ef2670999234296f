/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A namespace that is replaced under a write: removed, and another device added with its NSID,
 * between the write's command and its data, or while the disk has it. Wherever the change falls,
 * the write ends, and what it carries is on the device that the host wrote to or nowhere.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "test/unit/xnvmf/sim_target.h"

#define BYTES 16384u
#define SLBA  64u

struct change {
	struct sim_target *t;
	bool is_removed, is_added;
	int rc; /* of the last attempt to add */
};

static void on_added(void *arg, const struct xu_error *err)
{
	assert_int_equal(err->code, 0);
	((struct change *)arg)->is_added = true;
}

static void add_b(void *arg)
{
	const struct xnvmf_ns_opts opts = {.nsid = 1, .device = "b"};
	struct change *change = arg;
	struct xu_error err = {0};

	change->rc = xnvmf_ns_add(change->t->subsystem, &opts, NULL, on_added, change, &err);
}

static void on_removed(void *arg)
{
	((struct change *)arg)->is_removed = true;
}

static void remove_a(void *arg)
{
	struct change *change = arg;
	struct xu_error err = {0};

	assert_int_equal(xnvmf_ns_remove(change->t->subsystem, 1, on_removed, change, &err), 0);
}

static void on_removed_add_b(void *arg)
{
	on_removed(arg);
	add_b(arg);
}

/* Removes "a" and adds "b" as soon as that is possible. */
static void replace(void *arg)
{
	struct change *change = arg;
	struct xu_error err = {0};

	assert_int_equal(
		xnvmf_ns_remove(change->t->subsystem, 1, on_removed_add_b, change, &err), 0);
}

static void wait_for_b(struct change *change)
{
	sim_target_wait(change->t, &change->is_added, XU_NS_PER_S);
	assert_int_equal(change->rc, 0);
}

/* Whether a disk holds `data` at the write's place; else it holds what was there before, zeroes. */
static bool holds(const struct sim_disk *disk, const char *data)
{
	static const char zeroes[BYTES];
	static char back[BYTES];
	bool is_written;

	sim_disk_read(disk, SLBA * 512, back, sizeof(back));
	is_written = memcmp(back, data, sizeof(back)) == 0;
	if (!is_written) {
		assert_memory_equal(back, zeroes, sizeof(back));
	}
	return is_written;
}

/* A write's command, up to the R2T. */
static void start_write(struct wire_conn *io, struct nvme_cmd *ret_cmd, struct nvme_tcp_r2t *r2t)
{
	union wire_pdu pdu;

	*ret_cmd = wire_io_cmd(NVME_IO_WRITE, 1, SLBA, BYTES);
	assert_int_equal(wire_send_cmd(io, ret_cmd, NULL, BYTES), 0);
	assert_int_equal(wire_recv_pdu(io, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	assert_int_equal(pdu.r2t.r2tl, BYTES);
	*r2t = pdu.r2t;
}

/* What the host reads from the namespace now is what was written to `disk`. */
static void check_ns(struct sim_initiator *h, const struct sim_disk *disk)
{
	static char back[BYTES], expected[BYTES];

	sim_disk_read(disk, SLBA * 512, expected, sizeof(expected));
	assert_ok(wire_read(&h->io[0], SLBA, back, sizeof(back)));
	assert_memory_equal(back, expected, sizeof(back));
	sim_initiator_check(h, 0);
}

static void test_data_comes_after_the_change(void **state)
{
	static char data[BYTES];

	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct sim_initiator h = {0};
		struct change change = {0};
		struct nvme_tcp_r2t r2t;
		struct wire_result result;
		struct nvme_cmd cmd;
		struct sim_target t;

		sim_target_start(&t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
		sim_initiator_attach(&h, &t, 0, 2);
		xu_random_bytes(sim_random(t.sim), data, sizeof(data));
		change.t = &t;
		start_write(&h.io[seed % 2], &cmd, &r2t);
		sim_target_call(&t, replace, &change);
		wait_for_b(&change);
		assert_int_equal(wire_send_data(&h.io[seed % 2], &r2t, data, BYTES), 0);
		result = wire_finish(&h.io[seed % 2], cmd.cid, data, NULL, 0);
		assert_int_equal(result.error, 0);
		assert_int_equal(result.status, NVME_SC_INVALID_NS);
		assert_false(holds(t.disk_a, data));
		assert_false(holds(t.disk_b, data));
		check_ns(&h, t.disk_b);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* The data is in the node's socket when the node goes on after a pause, and the change begins
 * `nr_rounds` rounds later. Returns whether the write was done before it. */
static bool race(uint64_t seed, uint32_t nr_rounds, const char *data)
{
	struct sim_initiator h = {0};
	struct change change = {0};
	struct nvme_tcp_r2t r2t;
	struct wire_result result;
	struct nvme_cmd cmd;
	struct sim_target t;
	bool is_done;

	sim_target_start(&t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
	sim_initiator_attach(&h, &t, 0, 2);
	change.t = &t;
	start_write(&h.io[1], &cmd, &r2t);
	sim_host_pause(t.node, true);
	assert_int_equal(wire_send_data(&h.io[1], &r2t, data, BYTES), 0);
	sim_target_run(&t, XU_NS_PER_MS);
	sim_host_pause(t.node, false);
	sim_target_step(&t, nr_rounds);
	sim_target_call(&t, replace, &change);
	result = wire_finish(&h.io[1], cmd.cid, data, NULL, 0);
	assert_int_equal(result.error, 0);
	is_done = result.status == 0;
	if (!is_done) {
		assert_int_equal(result.status, NVME_SC_INVALID_NS);
	}
	wait_for_b(&change);
	assert_int_equal(holds(t.disk_a, data), is_done);
	assert_false(holds(t.disk_b, data));
	check_ns(&h, t.disk_b);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
	return is_done;
}

static void test_data_and_change_race(void **state)
{
	static char data[BYTES];
	uint32_t nr_done = 0, nr_refused = 0;

	memset(data, 'w', sizeof(data));
	for (uint32_t nr_rounds = 0; nr_rounds < 120; nr_rounds++) {
		if (race(100 + nr_rounds, nr_rounds, data)) {
			nr_done++;
		} else {
			nr_refused++;
		}
	}
	assert_true(nr_done != 0 && nr_refused != 0); /* the sweep has seen both sides */
}

/* The disk has the write: the removal waits for it, and the NSID is not free before. */
static void test_disk_has_the_write(void **state)
{
	const struct sim_fault hang = {.kind = SIM_FAULT_HANG, .ops = 1u << XR_OP_WRITE};
	struct sim_initiator h = {0};
	struct change change = {0};
	static char data[BYTES];
	struct nvme_tcp_r2t r2t;
	struct nvme_cmd cmd;
	struct sim_target t;

	sim_target_start(&t, &(struct sim_target_opts){.seed = 5, .nr_reactors = 2});
	sim_initiator_attach(&h, &t, 0, 2);
	xu_random_bytes(sim_random(t.sim), data, sizeof(data));
	change.t = &t;
	sim_disk_fault_add(t.disk_a, &hang);
	start_write(&h.io[1], &cmd, &r2t);
	assert_int_equal(wire_send_data(&h.io[1], &r2t, data, BYTES), 0);
	sim_target_run(&t, XU_NS_PER_S);
	assert_int_equal(sim_disk_nr_faults(t.disk_a), 1);
	sim_target_call(&t, remove_a, &change);
	sim_target_run(&t, 20 * XU_NS_PER_S);
	assert_false(change.is_removed);
	sim_target_call(&t, add_b, &change);
	assert_int_equal(change.rc, -EEXIST);
	assert_int_equal(wire_read(&h.io[0], SLBA, data, BYTES).status, NVME_SC_INVALID_NS);

	sim_disk_faults_clear(t.disk_a);
	sim_disk_release(t.disk_a);
	assert_ok(wire_finish(&h.io[1], cmd.cid, data, NULL, 0)); /* it was done */
	sim_target_wait(&t, &change.is_removed, XU_NS_PER_S);
	sim_target_call(&t, add_b, &change);
	wait_for_b(&change);
	assert_true(holds(t.disk_a, data));
	assert_false(holds(t.disk_b, data));
	check_ns(&h, t.disk_b);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_comes_after_the_change),
		cmocka_unit_test(test_data_and_change_race),
		cmocka_unit_test(test_disk_has_the_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
