/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands and the reactor's data buffers, where a host could once take the target down or stop it:
 * more writes outstanding than a queue's share of the buffers when its connection ends, compares
 * that hold every buffer while each needs another one, and data that is promised and never sent.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "test/unit/xnvmf/sim_target.h"

#define MIB       (1u << 20)
#define NR_WRITES 20u
#define NR_SHARE  8u /* writes of 1 MiB that a queue's eighth of 64 MiB holds */

static void check_no_buffers(const struct sim_target *t)
{
	for (uint32_t i = 0; i < xbdev_ctx_nr_reactors(t->ctx); i++) {
		assert_int_equal(sim_target_used_buffers(t, i), 0);
	}
}

static void recv_r2t(struct wire_conn *io, struct nvme_tcp_r2t *ret_r2t)
{
	union wire_pdu pdu;

	assert_int_equal(wire_recv_pdu(io, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	*ret_r2t = pdu.r2t;
}

/* ---- the end of a connection with writes in line ---- */

/* Some of the writes are asked for their data, the others wait in line for a buffer. */
static void send_writes(struct sim_target *t, struct wire_conn *io)
{
	for (uint32_t i = 0; i < NR_WRITES; i++) {
		struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, i * 2048ull, MIB);

		assert_int_equal(wire_send_cmd(io, &cmd, NULL, MIB), 0);
	}
	sim_target_run(t, XU_NS_PER_MS);
	assert_int_equal(
		sim_target_used_buffers(t, 0) + sim_target_used_buffers(t, 1), NR_SHARE * MIB);
}

/* Closed with its R2Ts unread the connection is reset, else it ends in good order. */
static void test_connection_ends_with_writes_in_line(void **state)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct sim_initiator h = {0}, other = {0};
		struct nvme_tcp_r2t r2t;
		struct sim_target t;

		/* The first I/O queue lives with the control reactor, the second does not. */
		sim_target_start(&t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
		sim_initiator_attach(&other, &t, 1, 1);
		sim_initiator_attach(&h, &t, 0, 2);
		send_writes(&t, &h.io[seed / 2 % 2]);
		for (uint32_t i = 0; i < NR_SHARE && seed % 2 == 0; i++) {
			recv_r2t(&h.io[seed / 2 % 2], &r2t);
		}
		wire_close(&h.io[seed / 2 % 2]);
		sim_target_run(&t, XU_NS_PER_S);
		check_no_buffers(&t);
		sim_initiator_check(&other, 0);
		sim_initiator_detach(&h);
		sim_initiator_detach(&other);
		sim_target_stop(&t);
	}
}

static void recv_termination(struct wire_conn *io)
{
	char culprit[128];
	union wire_pdu pdu;

	assert_int_equal(wire_recv_pdu(io, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_C2H_TERM);
	assert_in_range(pdu.hdr.plen, sizeof(pdu), sizeof(pdu) + sizeof(culprit));
	assert_int_equal(wire_recv_data(io, culprit, pdu.hdr.plen - (uint32_t)sizeof(pdu)), 0);
}

/* The target ends the connection for a wrong PDU. Then a write that the disk had comes back with
 * its buffer: nobody in line gets it, to be asked for data behind the termination request. */
static void test_termination_with_writes_in_line(void **state)
{
	const struct sim_fault hang = {
		.kind = SIM_FAULT_HANG, .ops = 1u << XR_OP_WRITE, .count = 1};
	struct sim_initiator h = {0}, other = {0};
	struct nvme_tcp_r2t r2ts[NR_SHARE];
	static char data[MIB];
	union wire_pdu pdu;
	struct sim_target t;

	sim_target_start(&t, &(struct sim_target_opts){.seed = 10, .nr_reactors = 2});
	sim_initiator_attach(&other, &t, 1, 1);
	sim_initiator_attach(&h, &t, 0, 1);
	send_writes(&t, &h.io[0]);
	for (uint32_t i = 0; i < NR_SHARE; i++) {
		recv_r2t(&h.io[0], &r2ts[i]);
	}
	sim_disk_fault_add(t.disk_a, &hang);
	assert_int_equal(wire_send_data(&h.io[0], &r2ts[0], data, MIB), 0);
	r2ts[1].cccid++; /* data for another command than the tag's */
	assert_int_equal(wire_send_data(&h.io[0], &r2ts[1], data, 0), 0);
	recv_termination(&h.io[0]);
	assert_int_equal(sim_disk_nr_faults(t.disk_a), 1);
	sim_disk_release(t.disk_a);
	assert_int_equal(wire_recv_pdu(&h.io[0], &pdu), -ECONNRESET);
	sim_target_run(&t, XU_NS_PER_S);
	check_no_buffers(&t);
	sim_initiator_check(&other, 0);
	sim_initiator_detach(&h);
	sim_initiator_detach(&other);
	sim_target_stop(&t);
}

/* ---- one host alone, and then another ---- */

#define LIMIT_MIB 60u /* 15/16 of the pool */

static uint32_t recv_r2ts(struct wire_conn *io, uint32_t max)
{
	uint32_t count = 0;
	union wire_pdu pdu;

	io->wait_ns = 10 * XU_NS_PER_MS;
	while (count < max && wire_recv_pdu(io, &pdu) == 0) {
		assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
		count++;
	}
	io->wait_ns = 0;
	return count;
}

static uint32_t send_more_writes(struct sim_target *t, struct wire_conn *io, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, 0, MIB);

		assert_int_equal(wire_send_cmd(io, &cmd, NULL, MIB), 0);
	}
	sim_target_run(t, XU_NS_PER_MS);
	return recv_r2ts(io, count);
}

/* Alone it is asked for the data of three quarters; the next host begins all the same, and what the
 * first one gives back is not the first one's again. */
static void test_host_alone_leaves_room_for_the_next(void **state)
{
	static char data[MIB];
	struct sim_initiator h = {0}, other = {0};
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, 0, MIB);
	uint32_t count = 0;
	union wire_pdu pdu;
	struct sim_target t;

	sim_target_start(&t, &(struct sim_target_opts){.seed = 20, .nr_reactors = 1});
	sim_initiator_attach(&h, &t, 0, SIM_TARGET_QUEUES);
	sim_initiator_attach(&other, &t, 1, 2);
	assert_int_equal(wire_send_cmd(&h.io[0], &cmd, NULL, MIB), 0);
	assert_int_equal(wire_recv_pdu(&h.io[0], &pdu), 0);
	count = 1 + send_more_writes(&t, &h.io[0], NR_SHARE - 1);
	for (uint32_t i = 1; i < SIM_TARGET_QUEUES; i++) {
		count += send_more_writes(&t, &h.io[i], NR_SHARE);
	}
	assert_int_equal(count, LIMIT_MIB * 3 / 4);
	assert_int_equal(sim_target_used_buffers(&t, 0), count * MIB);
	assert_in_range(send_more_writes(&t, &other.io[0], NR_SHARE), 6, 8);
	assert_int_equal(wire_send_data(&h.io[0], &pdu.r2t, data, MIB), 0);
	assert_ok(wire_finish(&h.io[0], cmd.cid, NULL, NULL, 0));
	wire_close(&h.io[1]);
	sim_target_run(&t, XU_NS_PER_MS);
	for (uint32_t i = 2; i < SIM_TARGET_QUEUES; i++) {
		assert_int_equal(recv_r2ts(&h.io[i], 1), 0);
	}
	assert_int_equal(send_more_writes(&t, &other.io[1], 2), 2);
	sim_initiator_detach(&h);
	sim_initiator_detach(&other);
	sim_target_stop(&t);
}

/* ---- compares ---- */

#define NR_QUEUES SIM_TARGET_QUEUES
#define COMPARE   (64u << 10)
#define DIFFERENT 3u

static bool is_asked(struct wire_conn *io, struct nvme_tcp_r2t *ret_r2t)
{
	union wire_pdu pdu;
	int rc;

	io->wait_ns = 10 * XU_NS_PER_MS;
	rc = wire_recv_pdu(io, &pdu);
	io->wait_ns = 0;
	if (rc == -ETIMEDOUT) {
		return false;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	*ret_r2t = pdu.r2t;
	return true;
}

/* More compares than the buffers hold, and all that get one hold it before the first has its data.
 * A file cannot compare, so each needs a second buffer for what it reads. */
static void test_compares_leave_each_other_a_buffer(void **state)
{
	static char data[COMPARE];
	struct nvme_tcp_r2t r2ts[NR_QUEUES];
	struct nvme_cmd cmds[NR_QUEUES];
	struct xnvmf_target_opts opts;
	struct sim_initiator h = {0};
	uint32_t nr_asked = 0;
	struct sim_target t;

	xnvmf_target_opts_default(&opts);
	opts.max_io_size = COMPARE;
	sim_target_start(&t,
		&(struct sim_target_opts){
			.seed = 11, .buf_limit_bytes = 2 * NR_QUEUES * COMPARE, .target = &opts});
	sim_initiator_attach(&h, &t, 0, NR_QUEUES);
	xu_random_bytes(sim_random(t.sim), data, sizeof(data));
	for (uint32_t i = 0; i < NR_QUEUES; i++) {
		cmds[i] = wire_io_cmd(NVME_IO_COMPARE, 1, i * (COMPARE / 512), COMPARE);
		sim_disk_write(t.disk_a, (uint64_t)i * COMPARE, data, sizeof(data));
		assert_int_equal(wire_send_cmd(&h.io[i], &cmds[i], NULL, COMPARE), 0);
	}
	sim_disk_write(t.disk_a, DIFFERENT * COMPARE + 777, "other", 5);
	while (nr_asked < NR_QUEUES && is_asked(&h.io[nr_asked], &r2ts[nr_asked])) {
		nr_asked++;
	}
	assert_in_range(nr_asked, NR_QUEUES / 4, NR_QUEUES); /* the buffers are well used */
	for (uint32_t i = 0; i < nr_asked; i++) {
		assert_int_equal(wire_send_data(&h.io[i], &r2ts[i], data, COMPARE), 0);
	}
	for (uint32_t i = 0; i < NR_QUEUES; i++) {
		struct wire_result result = wire_finish(&h.io[i], cmds[i].cid, data, NULL, 0);

		assert_int_equal(result.error, 0);
		assert_int_equal(result.status, i == DIFFERENT ? NVME_SC_COMPARE_FAILURE : 0);
	}
	check_no_buffers(&t);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* ---- data that never comes ---- */

#define STEP_NS  (5 * XU_NS_PER_S)
#define EARLIEST (60 * XU_NS_PER_S)
#define LATEST   (120 * XU_NS_PER_S)

/* Lets time pass while both hosts keep alive and `other` works, until the target ends the
 * connection; returns how long that took from `start_ns`. */
static uint64_t wait_for_the_end(
	struct sim_initiator *h, struct sim_initiator *other, uint64_t start_ns)
{
	union wire_pdu pdu;

	h->io[0].wait_ns = STEP_NS;
	for (uint32_t i = 0; i < 2 * LATEST / STEP_NS; i++) {
		int rc = wire_recv_pdu(&h->io[0], &pdu);

		if (rc == -ECONNRESET) {
			return sim_now_ns(h->t->sim) - start_ns;
		}
		assert_int_equal(rc, -ETIMEDOUT);
		assert_ok(sim_initiator_keep_alive(h));
		assert_ok(sim_initiator_keep_alive(other));
		sim_initiator_check(other, 0);
	}
	return UINT64_MAX;
}

/* Data of a whole share of the buffers is withheld, but for `nr_sent` bytes. Before that, `idle_ns`
 * ago, a write got its data, so the target's timer runs already. */
static void withhold(uint64_t seed, uint32_t nr_sent, uint64_t idle_ns)
{
	struct sim_initiator h = {0}, other = {0};
	struct nvme_tcp_r2t first, r2t;
	static char data[MIB];
	struct sim_target t;
	uint64_t start_ns;

	sim_target_start(&t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
	sim_initiator_attach(&h, &t, 0, 1);
	sim_initiator_attach(&other, &t, 1, 1);
	if (idle_ns != 0) {
		assert_ok(wire_write(&h.io[0], 0, data, sizeof(data), false));
		sim_target_run(&t, idle_ns);
		assert_ok(sim_initiator_keep_alive(&h));
		assert_ok(sim_initiator_keep_alive(&other));
	}
	start_ns = sim_now_ns(t.sim);
	send_writes(&t, &h.io[0]);
	recv_r2t(&h.io[0], &first);
	for (uint32_t i = 1; i < NR_SHARE; i++) {
		recv_r2t(&h.io[0], &r2t);
	}
	if (nr_sent != 0) {
		assert_int_equal(wire_send_data(&h.io[0], &first, data, nr_sent), 0);
	}
	assert_in_range(wait_for_the_end(&h, &other, start_ns), EARLIEST, LATEST);
	sim_target_run(&t, XU_NS_PER_S);
	check_no_buffers(&t);
	sim_initiator_check(&other, 0);
	sim_initiator_detach(&h);
	sim_initiator_detach(&other);
	sim_target_stop(&t);
}

static void test_withheld_data_ends_the_connection(void **state)
{
	withhold(12, 0, 0);
	withhold(13, MIB / 2, 0);
	withhold(14, 0, 25 * XU_NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connection_ends_with_writes_in_line),
		cmocka_unit_test(test_termination_with_writes_in_line),
		cmocka_unit_test(test_host_alone_leaves_room_for_the_next),
		cmocka_unit_test(test_compares_leave_each_other_a_buffer),
		cmocka_unit_test(test_withheld_data_ends_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
