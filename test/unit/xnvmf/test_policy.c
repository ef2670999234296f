/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A policy in place of a subsystem's own configuration: who may connect, how many, how deep their
 * queues are, whether they may write; that one which cannot be changes nothing; and that without it
 * all is as before. With hosts that are there when it comes.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "test/unit/xnvmf/sim_target.h"

/* As wire_host names its hosts 1 and 2. */
#define HOST_1 "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-1111-1111-111111111112"
#define HOST_2 "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-1111-1111-111111111113"
#define DEPTH  128u /* the target's */

struct world {
	struct sim_target t;
	const struct xnvmf_policy *policy; /* to be set */
	int rc;
	struct xu_error err;
	json_t *told;
};

static void do_set(void *arg)
{
	struct world *w = arg;

	w->rc = xnvmf_subsystem_set_policy(w->t.subsystem, w->policy, &w->err);
}

static int set(struct world *w, const struct xnvmf_policy *policy)
{
	w->policy = policy;
	sim_target_call(&w->t, do_set, w);
	sim_target_run(&w->t, 10 * XU_NS_PER_MS);
	return w->rc;
}

static void do_tell(void *arg)
{
	struct world *w = arg;

	w->told = xnvmf_subsystem_policy_json(w->t.subsystem);
}

/* The policy as it is told is this text. */
static void assert_told(struct world *w, const char *text)
{
	json_t *want = json_loads(text, 0, NULL);

	assert_non_null(want);
	sim_target_call(&w->t, do_tell, w);
	if (!json_equal(w->told, want)) {
		fail_msg("%s", json_dumps(w->told, JSON_COMPACT));
	}
	json_decref(w->told);
	json_decref(want);
}

static void start(struct world *w)
{
	*w = (struct world){0};
	sim_target_start(&w->t, &(struct sim_target_opts){.seed = 1, .nr_reactors = 2});
}

/* What a Connect of the admin queue by this host comes to; it is gone afterwards. */
static struct wire_result try_host(struct world *w, uint16_t host)
{
	struct wire_conn conn = {0};
	struct wire_result result;

	sim_target_open(&w->t, &conn);
	result = wire_connect_as(
		&conn, &(struct wire_connect_opts){.nqn = SIM_TARGET_NQN, .host = host});
	wire_close(&conn);
	sim_target_run(&w->t, 10 * XU_NS_PER_MS);
	return result;
}

static uint32_t max_queue_entries(struct sim_initiator *in)
{
	struct nvme_cmd cmd = {.opc = NVME_FABRICS,
		.nsid = NVME_FCTYPE_PROPERTY_GET,
		.cdw10 = 1, /* 8 bytes */
		.cdw11 = NVME_PROP_CAP};
	struct wire_result result = wire_command(&in->admin, &cmd, NULL, 0, NULL, 0);

	assert_int_equal(result.error, 0);
	assert_int_equal(result.status, 0);
	return (result.dw0 & 0xffffu) + 1;
}

/* Connects the I/O queue `qid` with so many entries. */
static struct wire_result connect_queue(struct sim_initiator *in, uint16_t qid, uint32_t entries)
{
	struct wire_connect_opts opts = in->opts;
	struct nvme_connect_data data;
	struct wire_conn conn = {0};
	struct wire_result result;
	struct nvme_cmd cmd;

	opts.qid = qid;
	opts.cntlid = in->cntlid;
	cmd = wire_connect_cmd(&opts, &data);
	((struct nvme_connect_cmd *)&cmd)->sqsize = (uint16_t)(entries - 1);
	sim_target_open(in->t, &conn);
	result = wire_command(&conn, &cmd, &data, sizeof(data), NULL, 0);
	wire_close(&conn);
	sim_target_run(in->t, 10 * XU_NS_PER_MS);
	return result;
}

static void assert_status(struct wire_result result, uint16_t status)
{
	assert_int_equal(result.error, 0);
	assert_int_equal(result.status & ~NVME_DNR, status & ~NVME_DNR);
}

/* ---- the cases ---- */

static void test_policy_says_who_may(void **state)
{
	static const char *const only_2[] = {HOST_2};
	const struct xnvmf_policy policy = {.has_hosts = true, .hosts = only_2, .nr_hosts = 1};
	const struct xnvmf_policy nobody = {.has_hosts = true};
	struct sim_initiator one = {0}, two = {0};
	struct world w;

	start(&w);
	sim_initiator_attach(&one, &w.t, 1, 1);
	sim_initiator_attach(&two, &w.t, 2, 1);
	assert_int_equal(set(&w, &policy), 0);
	/* The one is ended, the other goes on. */
	assert_int_not_equal(sim_initiator_keep_alive(&one).error, 0);
	sim_initiator_check(&two, 0);
	assert_status(try_host(&w, 1), NVME_SC_CONNECT_HOST);
	assert_status(try_host(&w, 2), 0);
	assert_told(&w, "{\"is_set\": true, \"queue_depth\": 128, \"max_connections\": 0, "
			"\"allow_any_host\": false, \"hosts\": [\"" HOST_2 "\"], "
			"\"read_only\": false}");
	assert_int_equal(set(&w, &nobody), 0);
	assert_status(try_host(&w, 2), NVME_SC_CONNECT_HOST);
	/* Without it the subsystem's own word counts again: any host. */
	assert_int_equal(set(&w, NULL), 0);
	assert_status(try_host(&w, 1), 0);
	assert_told(&w, "{\"is_set\": false, \"queue_depth\": 128, \"max_connections\": 0, "
			"\"allow_any_host\": true, \"hosts\": [], \"read_only\": false}");
	sim_initiator_detach(&one);
	sim_initiator_detach(&two);
	sim_target_stop(&w.t);
}

static void test_policy_says_how_many(void **state)
{
	const struct xnvmf_policy policy = {.max_controllers = 1};
	struct sim_initiator one = {0}, two = {0};
	struct world w;

	start(&w);
	sim_initiator_attach(&one, &w.t, 1, 1);
	sim_initiator_attach(&two, &w.t, 2, 1);
	assert_int_equal(set(&w, &policy), 0);
	/* Those that are there stay. */
	sim_initiator_check(&one, 0);
	sim_initiator_check(&two, 0);
	assert_status(try_host(&w, 3), NVME_SC_CONNECT_BUSY);
	sim_initiator_detach(&one);
	sim_target_run(&w.t, 100 * XU_NS_PER_MS);
	assert_status(try_host(&w, 3), NVME_SC_CONNECT_BUSY);
	sim_initiator_detach(&two);
	sim_target_run(&w.t, 100 * XU_NS_PER_MS);
	assert_status(try_host(&w, 3), 0);
	assert_status(try_host(&w, 3), 0);
	sim_target_stop(&w.t);
}

static void test_policy_says_how_deep(void **state)
{
	const struct xnvmf_policy policy = {.queue_depth = 32};
	struct sim_initiator before = {0}, after = {0};
	struct world w;

	start(&w);
	sim_initiator_attach(&before, &w.t, 1, 1);
	assert_int_equal(set(&w, &policy), 0);
	sim_initiator_attach(&after, &w.t, 2, 1);
	assert_int_equal(max_queue_entries(&after), 32);
	assert_status(connect_queue(&after, 2, 33), NVME_SC_CONNECT_PARAM);
	assert_status(connect_queue(&after, 2, 32), 0);
	/* Who was told another depth when it came may have it. */
	assert_int_equal(max_queue_entries(&before), DEPTH);
	assert_status(connect_queue(&before, 2, DEPTH), 0);
	sim_initiator_check(&before, 0);
	sim_initiator_check(&after, 0);
	sim_initiator_detach(&before);
	sim_initiator_detach(&after);
	sim_target_stop(&w.t);
}

static uint8_t attributes(struct sim_initiator *in)
{
	static struct nvme_id_ns id;
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_IDENTIFY, .nsid = 1};
	struct wire_result result = wire_command(&in->admin, &cmd, NULL, 0, &id, sizeof(id));

	assert_int_equal(result.error, 0);
	assert_int_equal(result.status, 0);
	return id.nsattr;
}

static void test_policy_says_who_writes(void **state)
{
	const struct xnvmf_policy policy = {.is_read_only = true};
	static char out[4096], back[4096];
	struct sim_initiator in = {0};
	struct wire_result result;
	struct nvme_cmd zeroes;
	union wire_pdu pdu;
	struct nvme_cmd aer = {.opc = NVME_ADMIN_ASYNC_EVENT};
	struct nvme_cmd events = {.opc = NVME_ADMIN_SET_FEATURES,
		.cdw10 = NVME_FEAT_ASYNC_EVENTS,
		.cdw11 = NVME_OAES_NS_ATTR};
	struct world w;

	memset(out, 0x5a, sizeof(out));
	start(&w);
	sim_initiator_attach(&in, &w.t, 1, 2);
	result = wire_write(&in.io[0], 8, out, sizeof(out), false);
	assert_status(result, 0);
	assert_int_equal(attributes(&in), 0);
	assert_status(wire_command(&in.admin, &events, NULL, 0, NULL, 0), 0);
	assert_int_equal(wire_send_cmd(&in.admin, &aer, NULL, 0), 0);
	assert_int_equal(set(&w, &policy), 0);
	/* Hosts are told that something is different, and what. */
	assert_int_equal(wire_recv_pdu(&in.admin, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_RSP);
	assert_int_equal(pdu.rsp.cqe.cid, aer.cid);
	assert_int_equal(attributes(&in), 1);
	for (uint32_t i = 0; i < in.nr_io; i++) {
		assert_status(wire_write(&in.io[i], 8, back, sizeof(back), false),
			NVME_SC_WRITE_PROTECTED);
		zeroes = wire_io_cmd(NVME_IO_WRITE_ZEROES, 1, 8, sizeof(out));
		assert_status(wire_command(&in.io[i], &zeroes, NULL, 0, NULL, 0),
			NVME_SC_WRITE_PROTECTED);
		assert_status(wire_read(&in.io[i], 8, back, sizeof(back)), 0);
		assert_memory_equal(back, out, sizeof(out));
		memset(back, 0, sizeof(back));
	}
	assert_int_equal(set(&w, NULL), 0);
	assert_int_equal(attributes(&in), 0);
	sim_initiator_check(&in, 0);
	sim_initiator_detach(&in);
	sim_target_stop(&w.t);
}

/* Nothing of one that cannot be holds, and what held before goes on. */
static void test_policy_holds_whole_or_not(void **state)
{
	static const char *const bad_hosts[] = {HOST_1, "tom"};
	static const struct xnvmf_policy good = {.queue_depth = 64, .max_controllers = 3},
					 deep = {.queue_depth = DEPTH + 1, .is_read_only = true},
					 shallow = {.queue_depth = 1, .has_hosts = true};
	const struct xnvmf_policy strangers = {.has_hosts = true,
		.hosts = bad_hosts,
		.nr_hosts = 2,
		.max_controllers = 1,
		.is_read_only = true};
	const struct xnvmf_policy *const bad[] = {&deep, &shallow, &strangers};
	struct sim_initiator in = {0};
	struct world w;

	start(&w);
	sim_initiator_attach(&in, &w.t, 1, 1);
	assert_int_equal(set(&w, &good), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(set(&w, bad[i]), -EINVAL);
		assert_told(&w, "{\"is_set\": true, \"queue_depth\": 64, \"max_connections\": 3, "
				"\"allow_any_host\": true, \"hosts\": [], \"read_only\": false}");
	}
	assert_status(try_host(&w, 2), 0);
	sim_initiator_check(&in, 0);
	sim_initiator_detach(&in);
	sim_target_stop(&w.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy_says_who_may),
		cmocka_unit_test(test_policy_says_how_many),
		cmocka_unit_test(test_policy_says_how_deep),
		cmocka_unit_test(test_policy_says_who_writes),
		cmocka_unit_test(test_policy_holds_whole_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
