/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keep-alive: a host that is silent for KATO is ended soon after; one whose commands lie in the
 * socket because the node has not run for a while is not.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "test/unit/xnvmf/sim_target.h"

#define KATO_NS  (5 * XU_NS_PER_S)
#define SLACK_NS (2 * XU_NS_PER_S) /* within which a silent host is found out */

static void start(struct sim_target *t, struct sim_initiator *h, uint64_t seed)
{
	sim_target_start(t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 2});
	h->opts.kato_ms = KATO_NS / XU_NS_PER_MS;
	sim_initiator_attach(h, t, 0, 2);
}

static int send_keep_alive(struct sim_initiator *h, uint16_t *ret_cid)
{
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_KEEP_ALIVE};
	int rc = wire_send_cmd(&h->admin, &cmd, NULL, 0);

	*ret_cid = cmd.cid;
	return rc;
}

/* The association lasts as long as KATO says and ends soon after. */
static void check_expiry(struct sim_initiator *h)
{
	union wire_pdu pdu;

	h->io[0].wait_ns = KATO_NS - XU_NS_PER_MS;
	assert_int_equal(wire_recv_pdu(&h->io[0], &pdu), -ETIMEDOUT);
	h->io[0].wait_ns = SLACK_NS;
	assert_int_equal(wire_recv_pdu(&h->io[0], &pdu), -ECONNRESET);
	assert_int_equal(wire_recv_pdu(&h->admin, &pdu), -ECONNRESET);
}

static void test_silent_host_expires(void **state)
{
	struct sim_initiator h = {0};
	struct sim_target t;

	start(&t, &h, 1);
	for (uint32_t i = 0; i < 10; i++) {
		sim_target_run(&t, KATO_NS - XU_NS_PER_S);
		assert_ok(sim_initiator_keep_alive(&h));
	}
	sim_initiator_check(&h, 1);
	check_expiry(&h);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* The node is paused for up to an hour; the host has kept alive at the beginning of the pause only,
 * as one does that waits for the answer. */
static void test_pause_does_not_expire_a_host(void **state)
{
	static const uint64_t pauses_ns[] = {KATO_NS, KATO_NS + XU_NS_PER_S / 2,
		KATO_NS + XU_NS_PER_S, KATO_NS + 3 * XU_NS_PER_S / 2, 2 * KATO_NS, 10 * KATO_NS,
		720 * KATO_NS};

	for (uint32_t i = 0; i < 4 * sizeof(pauses_ns) / sizeof(pauses_ns[0]); i++) {
		struct sim_initiator h = {0};
		struct sim_target t;
		uint16_t cid;

		start(&t, &h, 10 + i);
		sim_target_run(&t, KATO_NS / 2);
		sim_host_pause(t.node, true);
		assert_int_equal(send_keep_alive(&h, &cid), 0);
		sim_target_run(&t, pauses_ns[i / 4]);
		sim_host_pause(t.node, false);
		assert_ok(wire_finish(&h.admin, cid, NULL, NULL, 0));
		sim_initiator_check(&h, 0);
		sim_initiator_check(&h, 1);
		assert_ok(sim_initiator_keep_alive(&h));
		check_expiry(&h);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* One pause after another, with time for some rounds of the reactors in between. */
static void test_pauses_in_a_row(void **state)
{
	struct sim_initiator h = {0};
	struct sim_target t;

	start(&t, &h, 50);
	for (uint32_t i = 0; i < 20; i++) {
		uint16_t cid;

		sim_host_pause(t.node, true);
		assert_int_equal(send_keep_alive(&h, &cid), 0);
		sim_target_run(&t, 2 * KATO_NS);
		sim_host_pause(t.node, false);
		assert_ok(wire_finish(&h.admin, cid, NULL, NULL, 0));
		sim_target_step(&t, i);
	}
	sim_initiator_check(&h, 0);
	assert_ok(sim_initiator_keep_alive(&h));
	check_expiry(&h);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* A pause does not make a silent host immortal either. */
static void test_silent_host_expires_after_a_pause(void **state)
{
	struct sim_initiator h = {0};
	union wire_pdu pdu;
	struct sim_target t;

	start(&t, &h, 60);
	sim_host_pause(t.node, true);
	sim_target_run(&t, 10 * KATO_NS);
	sim_host_pause(t.node, false);
	h.admin.wait_ns = SLACK_NS;
	assert_int_equal(wire_recv_pdu(&h.admin, &pdu), -ECONNRESET);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silent_host_expires),
		cmocka_unit_test(test_pause_does_not_expire_a_host),
		cmocka_unit_test(test_pauses_in_a_row),
		cmocka_unit_test(test_silent_host_expires_after_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
