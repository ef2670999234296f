/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections that the target ends because of what their host does, or does not do: when it does
 * so, and that the association ends with an I/O connection that is lost in this way, unless the
 * host can do without (Base 3.3.2.4).
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "test/unit/xnvmf/sim_target.h"

#define DATA_WAIT_NS (60 * XU_NS_PER_S) /* for what an R2T asks for */
#define BYTES        16384u
#define MUCH         (256u << 10) /* more than a connection takes that is not read */

static void start(struct sim_target *t, struct sim_initiator *h, uint64_t seed)
{
	sim_target_start(t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
	h->opts.kato_ms = 600000;
}

/* Data for a command that there is not: a fatal error. */
static void send_nonsense(struct sim_initiator *h, struct wire_conn *io)
{
	static const char data[512];
	const struct nvme_tcp_r2t r2t = {.ttag = 0x1234, .r2tl = sizeof(data)};
	union wire_pdu pdu;

	(void)h;
	assert_int_equal(wire_send_data(io, &r2t, data, sizeof(data)), 0);
	assert_int_equal(wire_recv_pdu(io, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_C2H_TERM);
}

/* The host asks the target to end it. */
static void send_termination(struct sim_initiator *h, struct wire_conn *io)
{
	const struct nvme_tcp_term term = {
		.hdr = {NVME_TCP_H2C_TERM, 0, sizeof(term), 0, sizeof(term)},
		.fes = NVME_TCP_FES_HDGST};

	assert_int_equal(wire_send_raw(io, &term, sizeof(term)), 0);
	sim_target_run(h->t, XU_NS_PER_S);
}

/* A write whose data does not come. */
static void send_no_data(struct sim_initiator *h, struct wire_conn *io)
{
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, 0, BYTES);

	assert_int_equal(wire_send_cmd(io, &cmd, NULL, BYTES), 0);
	sim_target_run(h->t, 3 * DATA_WAIT_NS);
}

/* A read whose data is not taken. */
static void take_no_data(struct sim_initiator *h, struct wire_conn *io)
{
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_READ, 1, 0, MUCH);

	assert_int_equal(wire_send_cmd(io, &cmd, NULL, MUCH), 0);
	sim_target_run(h->t, 3 * DATA_WAIT_NS);
}

typedef void (*lose_fn)(struct sim_initiator *h, struct wire_conn *io);

static const lose_fn losses[] = {send_nonsense, send_termination, send_no_data, take_no_data};

static void test_association_ends_with_a_lost_connection(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		struct sim_initiator h = {0};
		struct sim_target t;
		union wire_pdu pdu;

		start(&t, &h, 1 + i);
		sim_initiator_attach(&h, &t, 0, 3);
		losses[i](&h, &h.io[1]);
		wire_close(&h.io[1]);
		h.admin.wait_ns = 10 * XU_NS_PER_S;
		assert_int_equal(wire_recv_pdu(&h.admin, &pdu), -ECONNRESET);
		assert_int_equal(wire_recv_pdu(&h.io[0], &pdu), -ECONNRESET);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* A host that can do without a queue keeps the others. */
static void test_host_with_queue_deletion_keeps_its_association(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		struct sim_initiator h = {0};
		struct sim_target t;

		start(&t, &h, 11 + i);
		h.opts.has_queue_deletion = true;
		sim_initiator_attach(&h, &t, 0, 3);
		losses[i](&h, &h.io[1]);
		wire_close(&h.io[1]);
		sim_target_run(&t, 10 * XU_NS_PER_S);
		assert_ok(sim_initiator_keep_alive(&h));
		sim_initiator_check(&h, 0);
		sim_initiator_check(&h, 2);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* The time for a command's data begins when its R2T is sent, not while that waits behind what the
 * host has not read yet. */
static void test_time_for_data_begins_with_the_r2t(void **state)
{
	static char much[MUCH], data[BYTES];
	struct nvme_cmd read = wire_io_cmd(NVME_IO_READ, 1, 0, MUCH);
	struct nvme_cmd write = wire_io_cmd(NVME_IO_WRITE, 1, 0, BYTES);
	struct sim_initiator h = {0};
	struct sim_target t;
	union wire_pdu pdu;

	(void)state;
	start(&t, &h, 21);
	sim_initiator_attach(&h, &t, 0, 1);
	assert_int_equal(wire_send_cmd(&h.io[0], &read, NULL, MUCH), 0);
	sim_target_run(&t, XU_NS_PER_S);
	assert_int_equal(wire_send_cmd(&h.io[0], &write, NULL, BYTES), 0);
	sim_target_run(&t, DATA_WAIT_NS - 10 * XU_NS_PER_S);
	assert_ok(wire_finish(&h.io[0], read.cid, NULL, much, MUCH));
	assert_int_equal(wire_recv_pdu(&h.io[0], &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	sim_target_run(&t, DATA_WAIT_NS - 10 * XU_NS_PER_S);
	assert_int_equal(wire_send_data(&h.io[0], &pdu.r2t, data, BYTES), 0);
	assert_ok(wire_finish(&h.io[0], write.cid, NULL, NULL, 0));
	sim_initiator_check(&h, 0);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_association_ends_with_a_lost_connection),
		cmocka_unit_test(test_host_with_queue_deletion_keeps_its_association),
		cmocka_unit_test(test_time_for_data_begins_with_the_r2t),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
