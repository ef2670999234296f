/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion that is due while its command's R2T has not left yet. The two share the command's
 * header memory and its place in the send queue, so the completion has to wait for the R2T, also
 * when the connection ends before either is sent.
 *
 * The way there: the host asks for more than the connection holds and does not read it, so that
 * what comes behind (an R2T) stays with the target; and it sends the data of its write all the
 * same, either because it has read the R2T out of the middle of a send that still goes on, or
 * because it has guessed the transfer tag.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "test/unit/xnvmf/sim_target.h"

#define BIG   (128u << 10) /* twice what a simulated connection holds */
#define SMALL 16384u

static void send_read(struct wire_conn *io, uint64_t slba, struct nvme_cmd *ret_cmd)
{
	*ret_cmd = wire_io_cmd(NVME_IO_READ, 1, slba, BIG);
	assert_int_equal(wire_send_cmd(io, ret_cmd, NULL, BIG), 0);
}

static void send_write(struct wire_conn *io, uint64_t slba, struct nvme_cmd *ret_cmd)
{
	*ret_cmd = wire_io_cmd(NVME_IO_WRITE, 1, slba, SMALL);
	assert_int_equal(wire_send_cmd(io, ret_cmd, NULL, SMALL), 0);
}

static void recv_r2t(struct wire_conn *io, const struct nvme_cmd *cmd, struct nvme_tcp_r2t *ret_r2t)
{
	union wire_pdu pdu;

	assert_int_equal(wire_recv_pdu(io, &pdu), 0);
	assert_int_equal(pdu.hdr.type, NVME_TCP_R2T);
	assert_int_equal(pdu.r2t.cccid, cmd->cid);
	assert_int_equal(pdu.r2t.r2to, 0);
	assert_int_equal(pdu.r2t.r2tl, SMALL);
	*ret_r2t = pdu.r2t;
}

static void check_disk(const struct sim_target *t, uint64_t slba, const char *data, uint32_t len)
{
	static char back[SMALL];

	sim_disk_read(t->disk_a, slba * 512, back, len);
	assert_memory_equal(back, data, len);
}

/* The R2T and a long read's data are one send. The host answers the R2T as soon as it has it, which
 * is its right, and takes the rest later: the write ends in the middle of that send. */
static void test_response_waits_for_a_send_that_goes_on(void **state)
{
	static char in[BIG], out[SMALL];

	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct sim_initiator h = {0};
		struct nvme_cmd first, second, write;
		struct nvme_tcp_r2t r2t;
		struct sim_target t;

		sim_target_start(&t, &(struct sim_target_opts){.seed = seed});
		sim_initiator_attach(&h, &t, 0, 1);
		xu_random_bytes(sim_random(t.sim), out, sizeof(out));
		send_read(&h.io[0], 0, &first);
		sim_target_run(&t, 20 * XU_NS_PER_MS); /* its data fills the connection */
		send_write(&h.io[0], 4096, &write);
		send_read(&h.io[0], 8192, &second);
		sim_target_run(&t, 20 * XU_NS_PER_MS); /* both wait for the next send */
		assert_ok(wire_finish(&h.io[0], first.cid, NULL, in, BIG));
		recv_r2t(&h.io[0], &write, &r2t);
		assert_int_equal(wire_send_data(&h.io[0], &r2t, out, SMALL), 0);
		sim_target_run(&t, 20 * XU_NS_PER_MS);
		check_disk(&t, 4096, out, SMALL); /* so its completion is due by now */
		assert_ok(wire_finish(&h.io[0], second.cid, NULL, in, BIG));
		assert_ok(wire_finish(&h.io[0], write.cid, NULL, NULL, 0));
		sim_initiator_check(&h, 0);
		sim_initiator_detach(&h);
		sim_target_stop(&t);
	}
}

/* Two writes tell two transfer tags; returned in the order in which the target takes them again. */
static void learn_tags(struct wire_conn *io, const char *out, uint16_t tags[2])
{
	struct nvme_tcp_r2t r2ts[2];
	struct nvme_cmd writes[2];

	for (uint32_t i = 0; i < 2; i++) {
		send_write(io, i * 64, &writes[i]);
		recv_r2t(io, &writes[i], &r2ts[i]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(wire_send_data(io, &r2ts[i], out, SMALL), 0);
		assert_ok(wire_finish(io, writes[i].cid, NULL, NULL, 0));
		tags[1 - i] = r2ts[i].ttag; /* the last that was given back is taken first */
	}
}

/* A write whose R2T cannot leave, and its data, sent without having been asked for: the completion
 * is due and the R2T is still in the queue. */
static void make_response_due(struct sim_initiator *h, const char *out, struct nvme_cmd *ret_read,
	struct nvme_cmd *ret_write)
{
	struct nvme_tcp_r2t guess = {.r2tl = SMALL};
	struct wire_conn *io = &h->io[0];
	uint16_t tags[2];

	learn_tags(io, out, tags);
	send_read(io, 0, ret_read);
	sim_target_run(h->t, 20 * XU_NS_PER_MS);
	send_write(io, 4096, ret_write);
	guess.cccid = ret_write->cid;
	guess.ttag = tags[1];
	assert_int_equal(wire_send_data(io, &guess, out, SMALL), 0);
	sim_target_run(h->t, 20 * XU_NS_PER_MS);
	check_disk(h->t, 4096, out, SMALL);
}

static void test_response_follows_the_r2t_in_the_queue(void **state)
{
	static char in[BIG], out[SMALL];
	struct sim_initiator h = {0};
	struct nvme_cmd read, write;
	struct nvme_tcp_r2t r2t;
	struct sim_target t;

	sim_target_start(&t, &(struct sim_target_opts){.seed = 20});
	sim_initiator_attach(&h, &t, 0, 1);
	xu_random_bytes(sim_random(t.sim), out, sizeof(out));
	make_response_due(&h, out, &read, &write);
	assert_ok(wire_finish(&h.io[0], read.cid, NULL, in, BIG));
	recv_r2t(&h.io[0], &write, &r2t);
	assert_ok(wire_finish(&h.io[0], write.cid, NULL, NULL, 0));
	sim_initiator_check(&h, 0);
	sim_initiator_detach(&h);
	sim_target_stop(&t);
}

/* The connection ends before the R2T is sent: the write is put back once, the connection is gone
 * once, and nobody else notices. Closing a socket with unread data resets the connection. */
static void test_response_behind_an_r2t_when_the_connection_ends(void **state)
{
	static char out[SMALL];

	for (uint64_t seed = 30; seed < 50; seed++) {
		struct sim_initiator h = {0}, other = {0};
		struct nvme_cmd read, write;
		struct sim_target t;

		sim_target_start(
			&t, &(struct sim_target_opts){.seed = seed, .nr_reactors = 1 + seed % 2});
		sim_initiator_attach(&other, &t, 1, 1);
		sim_initiator_attach(&h, &t, 0, 1);
		xu_random_bytes(sim_random(t.sim), out, sizeof(out));
		make_response_due(&h, out, &read, &write);
		wire_close(&h.io[0]);
		sim_target_run(&t, XU_NS_PER_S);
		for (uint32_t i = 0; i < xbdev_ctx_nr_reactors(t.ctx); i++) {
			assert_int_equal(sim_target_used_buffers(&t, i), 0);
		}
		sim_initiator_check(&other, 0);
		sim_initiator_detach(&h);
		sim_initiator_detach(&other);
		sim_target_stop(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_response_waits_for_a_send_that_goes_on),
		cmocka_unit_test(test_response_follows_the_r2t_in_the_queue),
		cmocka_unit_test(test_response_behind_an_r2t_when_the_connection_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
