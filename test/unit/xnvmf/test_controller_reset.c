/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller reset (CC.EN to 0) while the disk has a write of one of its queues. The reset is
 * done when CSTS.RDY is 0, and what the host writes on new queues after it must not be overwritten
 * by what it had written before it.
 */
#include "lib/util/clock.h"
#include "test/unit/xnvmf/sim_target.h"

#define BYTES 16384u
#define SLBA  64u

static struct wire_result set_cc(struct sim_initiator *h, uint32_t cc)
{
	struct nvme_cmd cmd = {.opc = NVME_FABRICS,
		.nsid = NVME_FCTYPE_PROPERTY_SET,
		.cdw11 = NVME_PROP_CC,
		.cdw12 = cc};

	return wire_command(&h->admin, &cmd, NULL, 0, NULL, 0);
}

static bool is_ready(struct sim_initiator *h)
{
	struct nvme_cmd cmd = {
		.opc = NVME_FABRICS, .nsid = NVME_FCTYPE_PROPERTY_GET, .cdw11 = NVME_PROP_CSTS};
	struct wire_result result = wire_command(&h->admin, &cmd, NULL, 0, NULL, 0);

	assert_ok(result);
	return (result.dw0 & NVME_CSTS_RDY) != 0;
}

/* A write that the disk holds on to. */
static void hang_write(struct sim_target *t, struct wire_conn *io, const char *data)
{
	const struct sim_fault hang = {
		.kind = SIM_FAULT_HANG, .ops = 1u << XR_OP_WRITE, .count = 1};
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, SLBA, BYTES);
	struct nvme_tcp_r2t r2t;
	union wire_pdu pdu;

	sim_disk_fault_add(t->disk_a, &hang);
	assert_int_equal(wire_send_cmd(io, &cmd, NULL, BYTES), 0);
	assert_int_equal(wire_recv_pdu(io, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	r2t = pdu.r2t;
	assert_int_equal(wire_send_data(io, &r2t, data, BYTES), 0);
	sim_target_run(t, XU_NS_PER_MS);
	assert_int_equal(sim_disk_nr_faults(t->disk_a), 1);
}

/* Enables the controller again and connects queue 5; false when the target says "later". */
static bool connect_again(struct sim_initiator *h)
{
	struct wire_connect_opts opts = h->opts;
	struct wire_result result;

	opts.qid = 5;
	opts.cntlid = h->cntlid;
	assert_ok(wire_enable(&h->admin));
	sim_target_open(h->t, &h->io[2]);
	result = wire_connect_as(&h->io[2], &opts);
	assert_int_equal(result.error, 0);
	if (result.status != 0) {
		wire_close(&h->io[2]);
	}
	return result.status == 0;
}

static void test_reset_waits_for_the_last_write(void **state)
{
	static char old[BYTES], data[BYTES], back[BYTES];
	struct sim_initiator h = {0};
	struct sim_target t;
	bool is_released;

	memset(old, 'o', sizeof(old));
	memset(data, 'n', sizeof(data));
	sim_target_start(&t, &(struct sim_target_opts){.seed = 1, .nr_reactors = 2});
	sim_initiator_attach(&h, &t, 0, 2);
	hang_write(&t, &h.io[1], old);
	assert_ok(set_cc(&h, 0x00460000));
	sim_target_run(&t, XU_NS_PER_S);
	is_released = is_ready(&h) || !connect_again(&h); /* either makes the host wait */
	if (is_released) {
		sim_disk_release(t.disk_a);
		sim_target_run(&t, XU_NS_PER_S);
		assert_true(connect_again(&h));
	}
	assert_ok(wire_write(&h.io[2], SLBA, data, sizeof(data), true));
	if (!is_released) {
		sim_disk_release(t.disk_a);
	}
	sim_target_run(&t, XU_NS_PER_S);
	assert_ok(wire_read(&h.io[2], SLBA, back, sizeof(back)));
	assert_memory_equal(back, data, sizeof(back));
	wire_close(&h.io[2]);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* A host that enables again without waiting for RDY to be 0 finds it 0 then, and 1 after the last
 * write. */
static void test_enable_during_a_reset(void **state)
{
	static char old[BYTES], data[BYTES], back[BYTES];
	struct sim_initiator h = {0};
	struct sim_target t;

	memset(old, 'o', sizeof(old));
	memset(data, 'n', sizeof(data));
	sim_target_start(&t, &(struct sim_target_opts){.seed = 2, .nr_reactors = 2});
	sim_initiator_attach(&h, &t, 0, 2);
	hang_write(&t, &h.io[1], old);
	assert_ok(set_cc(&h, 0x00460000));
	assert_true(is_ready(&h));
	assert_ok(set_cc(&h, 0x00460001));
	sim_target_run(&t, XU_NS_PER_S);
	assert_false(is_ready(&h));
	sim_disk_release(t.disk_a);
	sim_target_run(&t, XU_NS_PER_S);
	assert_true(is_ready(&h));
	assert_true(connect_again(&h));
	assert_ok(wire_write(&h.io[2], SLBA, data, sizeof(data), true));
	assert_ok(wire_read(&h.io[2], SLBA, back, sizeof(back)));
	assert_memory_equal(back, data, sizeof(back));
	wire_close(&h.io[2]);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_waits_for_the_last_write),
		cmocka_unit_test(test_enable_during_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
