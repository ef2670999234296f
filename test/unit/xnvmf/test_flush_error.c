/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A flush that failed, as hosts see it. The kernel tells of lost writes once and then forgets them,
 * so a later fdatasync that succeeds says nothing about what was written before: every Flush has to
 * fail from then on, on every queue and for every host, until the device is made again.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "test/unit/xnvmf/sim_target.h"

#define BYTES 16384u

static void start(struct sim_target *t, uint64_t seed, bool no_direct)
{
	const struct sim_disk_opts disk = {
		.size_bytes = SIM_TARGET_DISK_BYTES, .no_direct = no_direct};

	sim_target_start(
		t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2, .disk = &disk});
}

/* The next operation of this kind fails. */
static void fail_next(struct sim_target *t, enum xr_opcode opcode, int error)
{
	const struct sim_fault fault = {
		.kind = SIM_FAULT_ERROR, .ops = 1u << opcode, .count = 1, .error = error};

	sim_disk_fault_add(t->disk_a, &fault);
}

static struct wire_result write_some(struct wire_conn *io, bool fua)
{
	static const char data[BYTES] = "data";

	return wire_write(io, 0, data, sizeof(data), fua);
}

/* Every flush fails, whoever asks and whatever was written; the rest works. */
static void check_no_flush(struct sim_target *t, struct sim_initiator *h)
{
	struct sim_initiator other = {0};

	sim_initiator_attach(&other, t, 1, 2);
	for (uint32_t i = 0; i < 6; i++) {
		struct wire_conn *io = i % 3 == 2 ? &other.io[i % 2] : &h->io[i % 2];
		struct wire_result result = wire_flush(io);

		assert_int_equal(result.error, 0);
		assert_int_equal(result.status, NVME_SC_WRITE_FAULT);
		assert_ok(write_some(io, false));
	}
	sim_initiator_check(h, 0);
	sim_initiator_check(&other, 1);
	sim_initiator_detach(&other);
}

static void test_flush_fails_after_a_failed_one(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct sim_initiator h = {0};
		struct sim_target t;

		start(&t, seed, seed % 2 == 0);
		sim_initiator_attach(&h, &t, 0, 2);
		assert_ok(write_some(&h.io[0], false));
		assert_ok(wire_flush(&h.io[1]));
		assert_ok(write_some(&h.io[0], false));
		fail_next(&t, XR_OP_FSYNC, seed < 3 ? 0 : -ENOSPC);
		assert_int_not_equal(wire_flush(&h.io[seed / 2 % 2]).status, 0);
		assert_int_equal(sim_disk_nr_faults(t.disk_a), 1);
		check_no_flush(&t, &h);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* Through the page cache a durable write is a write and a flush, which may be told of what others
 * have lost. */
static void test_flush_fails_after_a_durable_write_that_failed(void **state)
{
	struct sim_initiator h = {0};
	struct sim_target t;

	start(&t, 10, true);
	sim_initiator_attach(&h, &t, 0, 2);
	assert_ok(write_some(&h.io[0], false));
	fail_next(&t, XR_OP_FSYNC, 0);
	assert_int_equal(write_some(&h.io[1], true).status, NVME_SC_WRITE_FAULT);
	check_no_flush(&t, &h);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* Past the page cache it fails for itself, and a flush that was interrupted has lost nothing. */
static void test_flush_works_after_harmless_errors(void **state)
{
	struct sim_initiator h = {0};
	struct sim_target t;

	start(&t, 11, false);
	sim_initiator_attach(&h, &t, 0, 2);
	fail_next(&t, XR_OP_WRITE, 0);
	assert_int_equal(write_some(&h.io[0], true).status, NVME_SC_WRITE_FAULT);
	assert_ok(wire_flush(&h.io[0]));
	fail_next(&t, XR_OP_FSYNC, -EINTR);
	assert_int_not_equal(wire_flush(&h.io[1]).status, 0);
	assert_ok(wire_flush(&h.io[1]));
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* Through the page cache, on a disk that takes its time. */
static void start_slow(struct sim_target *t, struct sim_initiator *h, uint64_t seed)
{
	const struct sim_disk_opts disk = {.size_bytes = SIM_TARGET_DISK_BYTES,
		.no_direct = true,
		.latency_min_ns = 50000,
		.latency_max_ns = 50000};

	sim_target_start(
		t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2, .disk = &disk});
	sim_initiator_attach(h, t, 0, 2);
	assert_ok(write_some(&h->io[0], false));
}

/* Sends one command on each queue while the node stands still, so that they arrive together; both
 * must fail. */
static void check_fail_together(
	struct sim_target *t, struct sim_initiator *h, const struct nvme_cmd *cmd, uint32_t len)
{
	static const char data[BYTES] = "data";
	uint16_t cids[2];

	sim_host_pause(t->node, true);
	for (uint32_t i = 0; i < 2; i++) {
		struct nvme_cmd copy = *cmd;

		assert_int_equal(wire_send_cmd(&h->io[i], &copy, len != 0 ? data : NULL, len), 0);
		cids[i] = copy.cid;
	}
	sim_target_run(t, XU_NS_PER_MS);
	sim_host_pause(t->node, false);
	for (uint32_t i = 0; i < 2; i++) {
		struct wire_result result = wire_finish(&h->io[i], cids[i], NULL, NULL, 0);

		assert_int_equal(result.error, 0);
		assert_int_equal(result.status, NVME_SC_WRITE_FAULT);
	}
	assert_int_equal(sim_disk_nr_faults(t->disk_a), 1);
}

/* Two flushes are asked for at a time, on two reactors, for writes that both cover. The kernel
 * tells one of them of the loss; the other one must not say that all is well, whoever hears first.
 */
static void test_flushes_at_a_time_fail_together(void **state)
{
	const struct nvme_cmd cmd = {.opc = NVME_IO_FLUSH, .nsid = 1};

	for (uint64_t seed = 20; seed < 40; seed++) {
		struct sim_initiator h = {0};
		struct sim_target t;

		start_slow(&t, &h, seed);
		fail_next(&t, XR_OP_FSYNC, 0);
		check_fail_together(&t, &h, &cmd, 0);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* Durable writes are such flushes too. */
static void test_durable_writes_at_a_time_fail_together(void **state)
{
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, 0, 4096);

	cmd.cdw12 |= 1u << 30; /* FUA */
	for (uint64_t seed = 40; seed < 60; seed++) {
		struct sim_initiator h = {0};
		struct sim_target t;

		start_slow(&t, &h, seed);
		fail_next(&t, XR_OP_FSYNC, 0);
		check_fail_together(&t, &h, &cmd, 4096);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* ---- made again ---- */

struct change {
	struct sim_target *t;
	bool is_done;
};

static void on_removed(void *arg)
{
	((struct change *)arg)->is_done = true;
}

static void on_added(void *arg, const struct xu_error *err)
{
	assert_int_equal(err->code, 0);
	((struct change *)arg)->is_done = true;
}

static void remove_ns(void *arg)
{
	struct change *change = arg;
	struct xu_error err = {0};

	assert_int_equal(xnvmf_ns_remove(change->t->subsystem, 1, on_removed, change, &err), 0);
}

static void add_ns(void *arg)
{
	const struct xnvmf_ns_opts opts = {.nsid = 1, .device = "a"};
	struct change *change = arg;
	struct xu_error err = {0};

	assert_int_equal(
		xnvmf_ns_add(change->t->subsystem, &opts, NULL, on_added, change, &err), 0);
}

static void do_change(struct sim_target *t, void (*fn)(void *arg))
{
	struct change change = {.t = t};

	sim_target_call(t, fn, &change);
	sim_target_wait(t, &change.is_done, XU_NS_PER_S);
}

/* The namespace alone made again does not help; the device does. */
static void test_flush_works_when_the_device_is_made_again(void **state)
{
	struct sim_initiator h = {0};
	struct xu_error err = {0};
	struct sim_target t;

	start(&t, 12, false);
	sim_initiator_attach(&h, &t, 0, 2);
	fail_next(&t, XR_OP_FSYNC, 0);
	assert_int_not_equal(wire_flush(&h.io[0]).status, 0);
	do_change(&t, remove_ns);
	do_change(&t, add_ns);
	check_no_flush(&t, &h);
	do_change(&t, remove_ns);
	sim_bdev_remove(t.sim, xbdev_device_find(t.ctx, "a"));
	assert_non_null(sim_bdev_create(
		t.sim, t.ctx, "file", "{'name': 'a', 'filename': '/a', 'block_size': 512}", &err));
	do_change(&t, add_ns);
	assert_ok(write_some(&h.io[1], false));
	assert_ok(wire_flush(&h.io[1]));
	assert_ok(wire_flush(&h.io[0]));
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_fails_after_a_failed_one),
		cmocka_unit_test(test_flush_fails_after_a_durable_write_that_failed),
		cmocka_unit_test(test_flush_works_after_harmless_errors),
		cmocka_unit_test(test_flushes_at_a_time_fail_together),
		cmocka_unit_test(test_durable_writes_at_a_time_fail_together),
		cmocka_unit_test(test_flush_works_when_the_device_is_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
