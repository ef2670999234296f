/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/nvme_passthru.c and nvme_status.c over a ring whose controller is in memory: it
 * executes the commands as they come out of the driver, and answers what a good controller hardly
 * ever does. The real kernel and a real controller are in test/e2e/test-nvme.sh.
 */
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>

#include "lib/reactor/platform.h"
#include "lib/xbdev/driver/nvme_passthru.h"
#include "test/unit/xbdev/harness.h"

#define KIB       1024u
#define DISK_SIZE (1024u * KIB)
#define SHIFT     9u
#define MAX_SEEN  64u

/* ---- the controller ---- */

static struct {
	struct xr_platform platform;
	struct xr_reactor *reactor;
	struct xr_cmd *first, **end;
	struct xr_msg msg;
	bool is_msg_sent;
	char memory[DISK_SIZE];
	/* The next `nr_wrong` commands of this opcode are not executed and get this result. */
	uint8_t wrong_opcode;
	uint32_t nr_wrong;
	int32_t result;
	/* What came. */
	uint32_t nr_seen;
	struct nvme_uring_cmd seen[MAX_SEEN];
	uint32_t ops[MAX_SEEN];
} ctrl;

static void transfer(const struct nvme_uring_cmd *cmd, bool is_vec, char *at, uint64_t len, int how)
{
	struct iovec one = {(void *)(uintptr_t)cmd->addr, cmd->data_len};
	const struct iovec *iov = is_vec ? (void *)(uintptr_t)cmd->addr : &one;

	for (uint32_t i = 0; i < (is_vec ? cmd->data_len : 1); i++) {
		MUST(iov[i].iov_len <= len);
		memcpy(how == 'r' ? iov[i].iov_base : at, how == 'r' ? at : iov[i].iov_base,
			iov[i].iov_len);
		at += iov[i].iov_len;
		len -= iov[i].iov_len;
	}
	MUST(len == 0);
}

static int32_t execute(const struct nvme_uring_cmd *cmd, bool is_vec)
{
	uint64_t slba = cmd->cdw10 | (uint64_t)cmd->cdw11 << 32;
	uint64_t len = ((cmd->cdw12 & 0xffff) + 1ull) << SHIFT;
	char *at = ctrl.memory + (slba << SHIFT);
	char other[64 * KIB];

	MUST(cmd->nsid == 7);
	if (cmd->opcode == NVME_CMD_DSM || cmd->opcode == NVME_CMD_FLUSH) {
		return 0; /* a hint it does not take */
	}
	if ((slba << SHIFT) + len > DISK_SIZE) {
		return 0x4080;
	}
	switch (cmd->opcode) {
	case NVME_CMD_READ:
		transfer(cmd, is_vec, at, len, 'r');
		return 0;
	case NVME_CMD_WRITE:
		transfer(cmd, is_vec, at, len, 'w');
		return 0;
	case NVME_CMD_COMPARE:
		MUST(len <= sizeof(other));
		transfer(cmd, is_vec, other, len, 'w');
		return memcmp(other, at, len) == 0 ? 0 : 0x285;
	case NVME_CMD_WRITE_ZEROES:
		memset(at, 0, len);
		return 0;
	default:
		return 0x4001;
	}
}

static void on_doorbell(struct xr_msg *msg)
{
	struct xr_cmd *cmd = ctrl.first;

	(void)msg;
	ctrl.is_msg_sent = false;
	ctrl.first = NULL;
	ctrl.end = &ctrl.first;
	while (cmd != NULL) {
		union {
			struct nvme_uring_cmd cmd;
			char bytes[XR_CMD_BYTES];
		} payload = {0};
		struct xr_cmd *next = cmd->next_cmd;
		int32_t result;

		cmd->fill(cmd, &payload);
		MUST(ctrl.nr_seen < MAX_SEEN);
		ctrl.ops[ctrl.nr_seen] = cmd->cmd_op;
		ctrl.seen[ctrl.nr_seen++] = payload.cmd;
		if (ctrl.nr_wrong != 0 && payload.cmd.opcode == ctrl.wrong_opcode) {
			ctrl.nr_wrong--;
			result = ctrl.result;
		} else {
			result = execute(&payload.cmd, cmd->cmd_op == NVME_URING_CMD_IO_VEC);
		}
		cmd->is_pending = false;
		cmd->cb(cmd, result, 0);
		cmd = next;
	}
}

static int ring_create(struct xr_reactor *reactor, void **ret_ring)
{
	ctrl.reactor = reactor;
	ctrl.first = NULL;
	ctrl.end = &ctrl.first;
	ctrl.msg.fn = on_doorbell;
	*ret_ring = &ctrl;
	return 0;
}

static void ring_submit(void *ring, struct xr_cmd *cmd)
{
	(void)ring;
	MUST(cmd->fd == 4711);
	cmd->next_cmd = NULL;
	*ctrl.end = cmd;
	ctrl.end = &cmd->next_cmd;
	if (!ctrl.is_msg_sent) {
		ctrl.is_msg_sent = true;
		xr_msg_defer(ctrl.reactor, &ctrl.msg);
	}
}

static uint32_t ring_run(void *ring)
{
	(void)ring;
	return 0;
}

static bool ring_has_events(void *ring)
{
	(void)ring;
	return false;
}

static void ring_free(void *ring)
{
	(void)ring;
}

static const struct xr_cmd_ring_ops ring_ops = {
	.create = ring_create,
	.submit = ring_submit,
	.run = ring_run,
	.has_events = ring_has_events,
	.free = ring_free,
};

/* ---- a device over it ---- */

struct fixture {
	struct harness h;
	struct xbdev_device dev;
	struct xbdev__nvme_pt pt;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	uint32_t nr_errors;
	int error;
	bool is_destroyed;
	char *buf;
};

static struct fixture *fixture_of(struct xbdev_device *dev)
{
	return xu_container_of(dev, struct fixture, dev);
}

static void submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	xbdev__nvme_pt_submit(&fixture_of(ch->dev)->pt, ch, io);
}

static void destroy(struct xbdev_device *dev)
{
	fixture_of(dev)->is_destroyed = true;
}

static void on_error(struct xbdev__nvme_pt *pt, int error)
{
	struct fixture *f = xu_container_of(pt, struct fixture, pt);

	f->nr_errors++;
	f->error = error;
}

static const struct xbdev_device_ops ops = {
	.channel_bytes = sizeof(struct xbdev__nvme_channel),
	.channel_open = xbdev__nvme_pt_channel_open,
	.channel_close = xbdev__nvme_pt_channel_close,
	.channel_abort = xbdev__nvme_pt_channel_abort,
	.submit = submit,
	.cancel = xbdev__nvme_pt_cancel,
	.destroy = destroy,
};

static const struct xbdev__nvme_features all_features = {
	.block_size = 1u << SHIFT,
	.has_cache = true,
	.has_compare = true,
	.has_dsm = true,
	.has_zeroes = true,
	.has_deac = true,
};

static void start_with(struct fixture *f, struct xbdev__nvme_features features)
{
	const struct xbdev__nvme_disk disk = {
		.max_transfer = 512 * KIB,
		.max_write_zeroes = 64 * KIB,
		.max_segments = 127,
		.nr_requests = 32,
	};

	memset(f, 0, sizeof(*f));
	memset(&ctrl, 0, sizeof(ctrl));
	ctrl.platform = *xr_platform_linux();
	ctrl.platform.cmd_ring = &ring_ops;
	harness_start_opts(&f->h, &(struct xbdev_ctx_opts){.platform = &ctrl.platform}, 1);
	f->pt = (struct xbdev__nvme_pt){.fd = 4711,
		.nsid = 7,
		.block_shift = SHIFT,
		.features = features,
		.on_error = on_error};
	f->dev = (struct xbdev_device){.name = "n",
		.driver = "nvme",
		.product = "test",
		.ops = &ops,
		.is_multi_reactor = true,
		.numa_node = -1};
	atomic_init(&f->dev.nr_blocks, DISK_SIZE >> SHIFT);
	xbdev__nvme_pt_fill(&f->pt, &disk, &f->dev);
	assert_int_equal(xbdev_device_register(f->h.ctx, &f->dev, NULL), 0);
	f->desc = harness_open(&f->h, "n", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
	f->buf = aligned_alloc(4096, DISK_SIZE);
	assert_non_null(f->buf);
}

static void start(struct fixture *f)
{
	start_with(f, all_features);
}

static void stop(struct fixture *f)
{
	if (f->ch != NULL) {
		xbdev_channel_put(f->ch);
		xbdev_desc_close(f->desc);
		harness_remove(&f->h, &f->dev);
	}
	assert_true(f->is_destroyed);
	harness_stop(&f->h);
	free(f->buf);
}

static void answer(uint8_t opcode, uint32_t times, int32_t result)
{
	ctrl.wrong_opcode = opcode;
	ctrl.nr_wrong = times;
	ctrl.result = result;
	ctrl.nr_seen = 0;
}

/* ---- commands ---- */

static void test_passthru_keeps_what_is_written(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	for (uint32_t i = 0; i < 40; i++) {
		ctrl.nr_seen = 0;
		assert_int_equal(ctrl.nr_wrong, 0);
		harness_fill(f.buf, 40 * KIB, i);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, i * 512, f.buf, 40 * KIB,
					 i % 2 ? XBDEV_IO_FUA : 0),
			0);
		assert_int_equal(ctrl.seen[0].opcode, NVME_CMD_WRITE);
		assert_int_equal(ctrl.seen[0].cdw10, i);
		assert_int_equal(
			ctrl.seen[0].cdw12, (i % 2 ? NVME_RW_FUA : 0) | (40 * KIB / 512 - 1));
		assert_true(harness_is_filled(ctrl.memory + i * 512, 40 * KIB, i));
		memset(f.buf, 0, 40 * KIB);
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_READ, i * 512, f.buf, 40 * KIB, 0), 0);
		assert_true(harness_is_filled(f.buf, 40 * KIB, i));
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, i * 512, f.buf, 40 * KIB, 0), 0);
		f.buf[40 * KIB - 1] ^= 1;
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, i * 512, f.buf, 40 * KIB, 0),
			-EBADE);
	}
	assert_int_equal(f.nr_errors, 0); /* what differs is no error of the disk */
	stop(&f);
}

static void test_passthru_takes_several_buffers(void **state)
{
	struct iovec iov[3];
	struct fixture f;

	(void)state;
	start(&f);
	harness_fill(f.buf, 4096, 1);
	iov[0] = (struct iovec){f.buf, 512};
	iov[1] = (struct iovec){f.buf + 512, 3072};
	iov[2] = (struct iovec){f.buf + 3584, 512};
	assert_int_equal(harness_iov(&f.h, f.ch, XBDEV_OP_WRITE, 512, iov, 3, 4096, 0), 0);
	assert_int_equal(ctrl.nr_seen, 1);
	assert_int_equal(ctrl.ops[0], NVME_URING_CMD_IO_VEC);
	assert_int_equal(ctrl.seen[0].data_len, 3);
	assert_true(harness_is_filled(ctrl.memory + 512, 4096, 1));
	stop(&f);
}

/* Zeroes are what counts; freeing is asked for where that is understood, else hinted at before. */
static void test_passthru_discards_to_zeroes(void **state)
{
	struct xbdev__nvme_features features = all_features;
	struct nvme_uring_cmd *seen = ctrl.seen;
	struct fixture f;

	(void)state;
	start(&f);
	memset(ctrl.memory, 1, DISK_SIZE);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 512, NULL, 1024, 0), 0);
	assert_int_equal(ctrl.nr_seen, 1);
	assert_int_equal(seen[0].opcode, NVME_CMD_WRITE_ZEROES);
	assert_int_equal(seen[0].cdw12, NVME_ZEROES_DEAC | 1);
	assert_true(harness_is_zero(ctrl.memory + 512, 1024));
	assert_int_equal(ctrl.memory[511] + ctrl.memory[1536], 2);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512, 0), 0);
	assert_int_equal(seen[1].cdw12, 0);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512, XBDEV_IO_MAY_UNMAP), 0);
	assert_int_equal(seen[2].cdw12, NVME_ZEROES_DEAC);
	/* In pieces of what the kernel takes. */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 160 * KIB, 0), 0);
	assert_int_equal(ctrl.nr_seen, 6);
	stop(&f);

	features.has_deac = false;
	start_with(&f, features);
	memset(ctrl.memory, 1, DISK_SIZE);
	answer(NVME_CMD_DSM, 1, 0x4002); /* a hint may fail */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 512, NULL, 1024, 0), 0);
	assert_int_equal(ctrl.nr_seen, 2);
	assert_int_equal(seen[0].opcode, NVME_CMD_DSM);
	assert_int_equal(seen[0].cdw11, NVME_DSM_AD);
	assert_int_equal(seen[0].data_len, 16);
	assert_int_equal(seen[1].opcode, NVME_CMD_WRITE_ZEROES);
	assert_int_equal(seen[1].cdw12, 1);
	assert_true(harness_is_zero(ctrl.memory + 512, 1024));
	assert_int_equal(f.nr_errors, 0);
	stop(&f);

	/* Without zeroes nothing may be promised. */
	features.has_zeroes = false;
	start_with(&f, features);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 512, NULL, 1024, 0), -EOPNOTSUPP);
	memset(ctrl.memory, 1, DISK_SIZE);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 512, NULL, 1024, 0), 0);
	assert_true(harness_is_zero(ctrl.memory + 512, 1024));
	stop(&f);
}

static void test_passthru_flushes_where_there_is_a_cache(void **state)
{
	struct xbdev__nvme_features features = all_features;
	struct fixture f;

	(void)state;
	start(&f);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	assert_int_equal(ctrl.nr_seen, 1);
	assert_int_equal(ctrl.seen[0].opcode, NVME_CMD_FLUSH);
	answer(NVME_CMD_FLUSH, 1, 0x4280);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), -EIO);
	stop(&f);
	features.has_cache = false;
	start_with(&f, features);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	assert_int_equal(ctrl.nr_seen, 0);
	assert_false(f.dev.has_write_cache);
	stop(&f);
}

static void test_passthru_limits(void **state)
{
	struct xbdev__nvme_disk disk = {
		.max_transfer = 512 * KIB, .max_segments = 127, .nr_requests = 1023};
	struct xbdev__nvme_pt pt = {.block_shift = 12, .features = all_features};
	struct xbdev_device dev;

	(void)state;
	pt.features.block_size = 4096;
	xbdev__nvme_pt_fill(&pt, &disk, &dev);
	assert_int_equal(dev.limits.block_size, 4096);
	assert_int_equal(dev.limits.max_iov, 31);
	assert_int_equal(dev.limits.max_transfer, 256 * KIB); /* 96 pages, whatever the buffers */
	assert_int_equal(dev.limits.max_zeroes, 65536ull * 4096);
	assert_int_equal(dev.limits.discard_granularity, 4096);
	disk.max_transfer = 128 * KIB;
	disk.max_write_zeroes = 128 * KIB + 512;
	xbdev__nvme_pt_fill(&pt, &disk, &dev);
	assert_int_equal(dev.limits.max_transfer, 128 * KIB);
	assert_int_equal(dev.limits.max_zeroes, 128 * KIB);
	disk.max_segments = 1;
	xbdev__nvme_pt_fill(&pt, &disk, &dev);
	assert_int_equal(dev.limits.max_iov, 1);
	assert_int_equal(dev.limits.max_transfer, 4096);
}

/* ---- what goes wrong ---- */

static void test_passthru_says_what_a_status_means(void **state)
{
	static const struct {
		int32_t result;
		int error;
	} cases[] = {
		{0x4281, -EIO},
		{0x281, -EIO},
		{0x4080, -EIO},
		{0x81, -ENOSPC},
		{0x4020, -EROFS},
		{0x83, -EBUSY},
		{0x4282, -EILSEQ},
		{0x400b, -ENODEV},
		{0x4021, -EIO}, /* might be tried again, but the controller says not to */
		{0x4007, -ETIMEDOUT},
		{0x7ff, -EIO}, /* nobody's */
		{-ENODEV, -ENODEV},
		{-EINVAL, -EINVAL},
	};
	struct fixture f;

	(void)state;
	start(&f);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		answer(NVME_CMD_READ, 1, cases[i].result);
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 512, 0), cases[i].error);
		assert_int_equal(ctrl.nr_seen, 1);
		assert_int_equal(f.nr_errors, i + 1);
		assert_int_equal(f.error, cases[i].error);
	}
	stop(&f);
}

static void test_passthru_tries_again_what_a_reset_ended(void **state)
{
	static const int32_t results[] = {-EINTR, -EAGAIN, 0x371, 0x370, 0x82, 0x21};
	struct fixture f;

	(void)state;
	start(&f);
	for (uint32_t i = 0; i < ARRAY_SIZE(results); i++) {
		harness_fill(f.buf, 512, i);
		answer(NVME_CMD_WRITE, 2, results[i]);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 512, 0), 0);
		assert_int_equal(ctrl.nr_seen, 3);
		assert_true(harness_is_filled(ctrl.memory, 512, i));
	}
	assert_int_equal(f.nr_errors, 0);
	stop(&f);
}

/* Starts a read that the controller keeps putting off. */
static void start_waiting(struct fixture *f, struct harness_io *hio)
{
	answer(NVME_CMD_READ, UINT32_MAX, 0x82);
	harness_io_set(hio, f->ch, XBDEV_OP_READ, 0, f->buf, 512);
	assert_int_equal(xbdev_io_submit(&hio->io), 0);
	harness_wait(&f->h, ctrl.nr_seen >= 2);
	assert_int_equal(hio->nr_done, 0);
}

static void test_passthru_gives_up_what_waits(void **state)
{
	struct harness_io hio, second;
	bool is_removed = false;
	struct fixture f;

	(void)state;
	start(&f);
	start_waiting(&f, &hio);
	xbdev_io_cancel(&hio.io);
	assert_int_equal(hio.nr_done, 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ECANCELED);

	start_waiting(&f, &hio);
	ctrl.nr_seen = 0;
	start_waiting(&f, &second);
	assert_int_equal(xbdev_device_remove(&f.dev, NULL, &is_removed), 0);
	harness_wait(&f.h, hio.nr_done == 1 && second.nr_done == 1);
	assert_int_equal(hio.status, -ENODEV);
	assert_int_equal(second.status, -ENODEV);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	f.ch = NULL;
	harness_wait(&f.h, f.is_destroyed);
	stop(&f);
}

/* ---- the probe ---- */

struct probe {
	struct xbdev__nvme_probe probe;
	int error;
};

static void on_probed(struct xbdev__nvme_probe *probe, int error)
{
	xu_container_of(probe, struct probe, probe)->error = error;
}

static int probe(struct fixture *f, int32_t result)
{
	struct probe p = {.probe = {.pt = &f->pt, .done = on_probed}, .error = 1};

	answer(NVME_CMD_READ, 1, result);
	assert_int_equal(xbdev__nvme_probe(xbdev_ctx_control(f->h.ctx), &p.probe), 0);
	harness_wait(&f->h, p.error != 1);
	return p.error;
}

static void test_passthru_probe(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	assert_int_equal(probe(&f, 0), 0);
	assert_int_equal(probe(&f, 0x4281), 0); /* a bad first block is none of its business */
	assert_int_equal(probe(&f, -EACCES), -EACCES);
	assert_int_equal(probe(&f, 0x4001), -EOPNOTSUPP);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passthru_keeps_what_is_written),
		cmocka_unit_test(test_passthru_takes_several_buffers),
		cmocka_unit_test(test_passthru_discards_to_zeroes),
		cmocka_unit_test(test_passthru_flushes_where_there_is_a_cache),
		cmocka_unit_test(test_passthru_limits),
		cmocka_unit_test(test_passthru_says_what_a_status_means),
		cmocka_unit_test(test_passthru_tries_again_what_a_reset_ended),
		cmocka_unit_test(test_passthru_gives_up_what_waits),
		cmocka_unit_test(test_passthru_probe),
	};

	return cmocka_run_group_tests_name("xbdev_nvme_passthru", tests, NULL, NULL);
}
