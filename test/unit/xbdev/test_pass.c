/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/io.c: an I/O that a driver passes on to the device below (xbdev_io_pass()). The
 * driver is the test's: it moves I/Os by SHIFT and fails with -EAGAIN what cannot be passed on. An
 * I/O counts on both devices, comes back as it was, on whatever reactor it began, and is reached
 * below by who cancels it or removes one of the two.
 */
#include "test/unit/xbdev/probe.h"

#define KIB   1024u
#define SHIFT (64 * KIB)

struct mover {
	struct xbdev_device dev;
	struct xbdev_desc *below;
	uint32_t nr_passed, nr_back, nr_refused;
};

struct mover_channel {
	struct xbdev_channel *below;
};

struct fixture {
	struct harness h;
	struct probe *probe;
	struct mover *mover;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
};

/* ---- the driver ---- */

static struct mover *mover_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct mover, dev);
}

static int mover_open(struct xbdev_channel *ch)
{
	struct mover_channel *mch = ch->driver;

	return xbdev_channel_get(mover_of(ch->dev)->below, ch->reactor, &mch->below);
}

static void mover_close(struct xbdev_channel *ch)
{
	struct mover_channel *mch = ch->driver;

	xbdev_channel_put(mch->below);
}

static void mover_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct mover *mover = mover_of(ch->dev);
	struct mover_channel *mch = ch->driver;
	struct xbdev_channel *was = io->ch;
	uint64_t offset = io->offset;

	if (xbdev_io_pass(ch, io, mch->below, io->offset + SHIFT)) {
		mover->nr_passed++;
		return;
	}
	MUST(io->ch == was && io->offset == offset);
	mover->nr_refused++;
	xbdev_io_complete_later(io, -EAGAIN);
}

static void mover_passed(struct xbdev_channel *ch)
{
	mover_of(ch->dev)->nr_back++;
}

static void mover_destroy(struct xbdev_device *dev)
{
	struct mover *mover = mover_of(dev);

	MUST(mover->nr_back == mover->nr_passed);
	xbdev_desc_close(mover->below);
	free(mover);
}

static void on_below(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct mover *mover = arg;

	(void)desc;
	if (event == XBDEV_EVENT_REMOVE) {
		xbdev_device_remove(&mover->dev, NULL, NULL);
	}
}

static const struct xbdev_device_ops mover_ops = {
	.channel_bytes = sizeof(struct mover_channel),
	.channel_open = mover_open,
	.channel_close = mover_close,
	.submit = mover_submit,
	.passed = mover_passed,
	.destroy = mover_destroy,
};

static struct mover *mover_new(struct harness *h, const char *name, struct xbdev_device *below)
{
	struct mover *mover = calloc(1, sizeof(*mover));
	struct xu_error err = {0};

	assert_non_null(mover);
	assert_int_equal(
		xbdev_desc_open(h->ctx, below->name, true, on_below, mover, &mover->below, &err),
		0);
	mover->dev.limits = below->limits;
	/* Not those below: it is the core that has to see what does not fit there. */
	mover->dev.limits.max_transfer = 256 * KIB;
	mover->dev.limits.queue_depth = 100;
	mover->dev.limits.buf_align = 1;
	mover->dev.ops_mask = below->ops_mask;
	mover->dev.owner = below->owner;
	mover->dev.ops = &mover_ops;
	mover->dev.driver = mover->dev.product = "mover";
	strcpy(mover->dev.name, name);
	atomic_init(&mover->dev.nr_blocks, atomic_load(&below->nr_blocks));
	assert_int_equal(xbdev_device_register(h->ctx, &mover->dev, &err), 0);
	return mover;
}

/* ---- life ---- */

/* A mover over a probe, both of reactor `owner`, and a channel on reactor 0. */
static void start(
	struct fixture *f, uint32_t nr_reactors, uint32_t owner, const struct probe_opts *opts)
{
	struct probe_opts with_owner = *opts;

	harness_start(&f->h, nr_reactors, nr_reactors);
	with_owner.owner = xbdev_ctx_reactor(f->h.ctx, owner);
	with_owner.nr_blocks = 4096;
	f->probe = probe_new(&f->h, &with_owner);
	f->mover = mover_new(&f->h, "mover", &f->probe->dev);
	f->desc = harness_open(&f->h, "mover", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
	f->buf = aligned_alloc(4096, 1024 * KIB);
	assert_non_null(f->buf);
	memset(f->buf, 0x5a, 1024 * KIB);
}

static void stop(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
	free(f->buf);
}

static void submit(struct fixture *f, struct harness_io *hio, enum xbdev_op op, uint64_t len)
{
	harness_io_set(hio, f->ch, op, 0, f->buf, len);
	assert_int_equal(xbdev_io_submit(&hio->io), 0);
}

static void on_home_again(struct xbdev_io *io, int status)
{
	struct fixture *f = io->cb_arg;

	assert_int_equal(status, 0);
	assert_ptr_equal(io->ch, f->ch);
	assert_int_equal(io->offset, 8 * KIB);
	io->cb_arg = NULL;
}

/* ---- there and back ---- */

static void goes_there_and_back(uint32_t nr_reactors, uint32_t owner)
{
	struct xbdev_stats above, below;
	struct harness_io hio;
	struct fixture f;

	start(&f, nr_reactors, owner, &(struct probe_opts){.mode = PROBE_AT_ONCE});
	for (uint32_t i = 0; i < 2; i++) {
		harness_io_set(&hio, f.ch, i == 0 ? XBDEV_OP_WRITE : XBDEV_OP_READ, 8 * KIB,
			f.buf + i * 8 * KIB, 4 * KIB);
		harness_fill(f.buf, 4 * KIB, 7);
		hio.io.cb = on_home_again;
		hio.io.cb_arg = &f;
		assert_int_equal(xbdev_io_submit(&hio.io), 0);
		harness_wait(&f.h, hio.io.cb_arg == NULL);
	}
	assert_true(harness_is_filled(f.probe->memory + SHIFT + 8 * KIB, 4 * KIB, 7));
	assert_true(harness_is_filled(f.buf + 8 * KIB, 4 * KIB, 7));
	f.probe->status[XBDEV_OP_WRITE] = -EIO;
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 512, 0), -EIO);
	above = harness_stats(&f.h, &f.mover->dev, false);
	below = harness_stats(&f.h, &f.probe->dev, false);
	for (enum xbdev_op op = XBDEV_OP_READ; op <= XBDEV_OP_WRITE; op++) {
		assert_int_equal(above.ops[op].latency.count, op == XBDEV_OP_READ ? 1 : 2);
		assert_int_equal(below.ops[op].latency.count, above.ops[op].latency.count);
		assert_int_equal(above.ops[op].bytes, 4 * KIB);
		assert_int_equal(below.ops[op].bytes, 4 * KIB);
		assert_int_equal(below.ops[op].errors, op == XBDEV_OP_WRITE);
		assert_true(below.ops[op].latency.max_ns <= above.ops[op].latency.max_ns);
	}
	assert_int_equal(f.mover->nr_passed, 3);
	assert_int_equal(f.mover->nr_back, 3);
	stop(&f);
}

static void test_pass_goes_below_and_comes_back_as_it_was(void **state)
{
	(void)state;
	goes_there_and_back(1, 0);
}

static void test_pass_carries_what_another_reactor_has_sent(void **state)
{
	(void)state;
	goes_there_and_back(2, 1);
}

/* ---- what is not passed on ---- */

/* A place in the queue below is one of those that bound it, and who finds none is not passed on. */
static void test_pass_keeps_to_the_depth_below(void **state)
{
	enum { DEPTH = 3 };
	struct harness_io hio[DEPTH + 1];
	struct fixture f;

	(void)state;
	start(&f, 1, 0, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = DEPTH}});
	for (uint32_t i = 0; i <= DEPTH; i++) {
		submit(&f, &hio[i], XBDEV_OP_READ, 512);
	}
	harness_poll_times(&f.h, 3);
	assert_int_equal(hio[DEPTH].status, -EAGAIN);
	probe_end_one(f.probe, 0, 0);
	assert_int_equal(hio[0].nr_done, 1);
	submit(&f, &hio[0], XBDEV_OP_READ, 512);
	assert_int_equal(probe_nr_held(f.probe), DEPTH);
	probe_end_all(f.probe, 0);
	assert_int_equal(f.mover->nr_passed, DEPTH + 1);
	assert_int_equal(f.mover->nr_refused, 1);
	stop(&f);
}

static void test_pass_refuses_what_the_device_below_cannot_take(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 1, 0,
		&(struct probe_opts){.limits = {.max_transfer = 64 * KIB, .buf_align = 512}});
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 128 * KIB, 0), -EAGAIN);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf + 1, 512, 0), -EAGAIN);
	/* It would lie behind the end there. */
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 4096 * 512 - SHIFT, f.buf, 512, 0), -EAGAIN);
	/* The core does this one by pieces of its own. */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 512 * KIB, 0), -EAGAIN);
	assert_int_equal(f.probe->nr_log, 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 64 * KIB, 0), 0);
	stop(&f);
}

/* There is one place in it for where it came from. */
static void test_pass_does_it_once(void **state)
{
	struct mover *upper;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct fixture f;

	(void)state;
	start(&f, 1, 0, &(struct probe_opts){.mode = PROBE_AT_ONCE});
	upper = mover_new(&f.h, "upper", &f.mover->dev);
	desc = harness_open(&f.h, "upper", true);
	ch = harness_channel(&f.h, desc, 0);
	assert_int_equal(harness_io(&f.h, ch, XBDEV_OP_READ, 0, f.buf, 512, 0), -EAGAIN);
	assert_int_equal(upper->nr_passed, 1);
	assert_int_equal(f.mover->nr_refused, 1);
	assert_int_equal(upper->nr_back, 1);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_remove(&f.h, &upper->dev);
	stop(&f);
}

/* ---- its end from outside ---- */

static void cancelled(uint32_t nr_reactors, uint32_t owner, bool gives_up)
{
	struct harness_io hio;
	struct fixture f;

	start(&f, nr_reactors, owner,
		&(struct probe_opts){.mode = PROBE_HOLD, .gives_up = gives_up});
	submit(&f, &hio, XBDEV_OP_READ, 512);
	harness_poll_times(&f.h, 3);
	assert_int_equal(probe_nr_held(f.probe), 1);
	xbdev_io_cancel(&hio.io);
	xbdev_io_cancel(&hio.io);
	harness_poll_times(&f.h, 4);
	assert_int_equal(f.probe->nr_cancels, nr_reactors == 1 ? 2 : 1);
	assert_int_equal(hio.nr_done, gives_up);
	probe_end_all(f.probe, 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, gives_up ? -ECANCELED : 0);
	assert_ptr_equal(hio.io.ch, f.ch);
	assert_int_equal(f.ch->nr_inflight, 0);
	stop(&f);
}

static void test_pass_is_cancelled_below(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		cancelled(1 + i / 2, i / 2, i % 2 != 0);
	}
}

/* Whichever of the two goes, and also when the kernel, as it were, keeps the I/O for a while. */
static void removed(uint32_t nr_reactors, bool is_below, bool holds_aborted)
{
	struct harness_io hio[4];
	struct fixture f;

	start(&f, nr_reactors, nr_reactors - 1,
		&(struct probe_opts){.mode = PROBE_HOLD, .holds_aborted = holds_aborted});
	for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
		submit(&f, &hio[i], XBDEV_OP_WRITE, 4 * KIB);
	}
	harness_poll_times(&f.h, 3);
	assert_int_equal(probe_nr_held(f.probe), ARRAY_SIZE(hio));
	assert_int_equal(
		xbdev_device_remove(is_below ? &f.probe->dev : &f.mover->dev, NULL, NULL), 0);
	harness_poll_times(&f.h, 10);
	assert_int_equal(hio[0].nr_done, is_below && !holds_aborted);
	if (hio[0].nr_done == 0) {
		probe_end_all(f.probe, 0);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, -ENODEV);
	}
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "mover") == NULL);
	harness_wait(&f.h, !is_below || xbdev_device_find(f.h.ctx, "probe") == NULL);
	harness_stop(&f.h);
	free(f.buf);
}

static void test_pass_ends_when_one_of_the_devices_goes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		removed(1 + i / 4, i % 2 != 0, i / 2 % 2 != 0);
	}
}

/* ---- threads ---- */

struct racer {
	struct harness_io hio;
	struct xu_random *random;
	uint32_t nr_left;
	uint32_t nr_cancelled;
};

static void on_raced(struct xbdev_io *io, int status)
{
	struct racer *racer = io->cb_arg;

	MUST(status == 0 || status == -ECANCELED || status == -EAGAIN);
	MUST(io->offset % (4 * KIB) == 0);
	racer->nr_cancelled += status == -ECANCELED;
	if (--racer->nr_left > 0) {
		io->offset = 4 * KIB * xu_random_below(racer->random, 64);
		MUST(xbdev_io_submit(io) == 0);
	}
}

/* The owner passes on, ends and gives up while the reactor at home submits and cancels. */
static void test_pass_races_with_cancelling(void **state)
{
	enum { NR = 16, EACH = 400 };
	static struct racer racers[NR];
	static char buf[4 * KIB];
	uint32_t nr_left = NR, nr_cancelled = 0;
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct xu_random random;
	struct probe *probe;
	struct harness h;

	(void)state;
	xu_random_seed(&random, harness_seed(1));
	harness_start(&h, 2, 1);
	probe = probe_new(&h, &(struct probe_opts){.mode = PROBE_SHUFFLE,
				      .gives_up = true,
				      .nr_blocks = 4096,
				      .limits = {.queue_depth = 12},
				      .owner = xbdev_ctx_reactor(h.ctx, 1)});
	mover_new(&h, "mover", &probe->dev);
	desc = harness_open(&h, "mover", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t i = 0; i < NR; i++) {
		racers[i] = (struct racer){.random = &random, .nr_left = EACH};
		harness_io_set(&racers[i].hio, ch, XBDEV_OP_READ, 0, buf, sizeof(buf));
		racers[i].hio.io.cb = on_raced;
		racers[i].hio.io.cb_arg = &racers[i];
		assert_int_equal(xbdev_io_submit(&racers[i].hio.io), 0);
	}
	while (nr_left > 0) {
		struct racer *racer = &racers[xu_random_below(&random, NR)];

		xr_reactor_poll(xbdev_ctx_control(h.ctx), 0);
		if (racer->nr_left > 0 && xu_random_below(&random, 4) == 0) {
			xbdev_io_cancel(&racer->hio.io);
		}
		nr_left = 0;
		for (uint32_t i = 0; i < NR; i++) {
			nr_left += racers[i].nr_left > 0;
		}
	}
	for (uint32_t i = 0; i < NR; i++) {
		nr_cancelled += racers[i].nr_cancelled;
	}
	assert_true(nr_cancelled > 0 && nr_cancelled < NR * EACH);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass_goes_below_and_comes_back_as_it_was),
		cmocka_unit_test(test_pass_carries_what_another_reactor_has_sent),
		cmocka_unit_test(test_pass_keeps_to_the_depth_below),
		cmocka_unit_test(test_pass_refuses_what_the_device_below_cannot_take),
		cmocka_unit_test(test_pass_does_it_once),
		cmocka_unit_test(test_pass_is_cancelled_below),
		cmocka_unit_test(test_pass_ends_when_one_of_the_devices_goes),
		cmocka_unit_test(test_pass_races_with_cancelling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
