/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/forward.c: a device that is used from reactors which do not own it. First with
 * reactors that the test polls one by one, so that it decides who sees what when; then with a
 * thread for each.
 */
#include "test/unit/xbdev/model.h"

#define KIB      1024u
#define MASK(op) (1u << XBDEV_OP_##op)

static void poll_one(struct harness *h, uint32_t index, uint32_t nr_rounds)
{
	while (nr_rounds-- > 0) {
		xr_reactor_poll(xbdev_ctx_reactor(h->ctx, index), 0);
	}
}

/* A probe that reactor number `owner` owns. */
static struct probe *start_owner(struct harness *h, uint32_t nr_reactors, uint32_t nr_polled,
	uint32_t owner, const struct probe_opts *opts)
{
	struct probe_opts with_owner = *opts;

	harness_start(h, nr_reactors, nr_polled);
	with_owner.owner = xbdev_ctx_reactor(h->ctx, owner);
	with_owner.nr_blocks = opts->nr_blocks != 0 ? opts->nr_blocks : 2048;
	return probe_new(h, &with_owner);
}

/* The same on the last of them. */
static struct probe *start(
	struct harness *h, uint32_t nr_reactors, uint32_t nr_polled, const struct probe_opts *opts)
{
	return start_owner(h, nr_reactors, nr_polled, nr_reactors - 1, opts);
}

/* ---- one thread ---- */

static void test_forward_carries_io_to_the_owner_and_back(void **state)
{
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	char buf[512], other[512];

	(void)state;
	probe = start(&h, 2, 2, &(struct probe_opts){0});
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0);
	assert_true(ch->is_forwarding);
	harness_fill(buf, 512, 1);
	assert_int_equal(harness_io(&h, ch, XBDEV_OP_WRITE, 512, buf, 512, 0), 0);
	assert_memory_equal(probe->memory + 512, buf, 512);
	assert_int_equal(harness_io(&h, ch, XBDEV_OP_READ, 512, other, 512, 0), 0);
	assert_memory_equal(other, buf, 512);
	probe->status[XBDEV_OP_FLUSH] = -EIO;
	assert_int_equal(harness_io(&h, ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), -EIO);
	/* What is refused is refused here. */
	assert_int_equal(harness_io(&h, ch, XBDEV_OP_READ, 1, buf, 512, 0), -EINVAL);
	assert_int_equal(probe->nr_log, 3);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* A channel may be given back before the owner has heard of it. */
static void test_forward_closes_before_the_owner_has_opened(void **state)
{
	struct xbdev_channel *ch[5];
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	bool is_destroyed = false;

	(void)state;
	probe = start(&h, 2, 2, &(struct probe_opts){0});
	probe->ret_destroyed = &is_destroyed;
	desc = harness_open(&h, "probe", true);
	for (uint32_t i = 0; i < ARRAY_SIZE(ch); i++) {
		ch[i] = harness_channel(&h, desc, 0);
		xbdev_channel_put(ch[i]);
	}
	poll_one(&h, 1, 3);
	assert_int_equal(probe->nr_open, 0);
	xbdev_desc_close(desc);
	harness_remove(&h, &probe->dev);
	assert_true(is_destroyed);
	harness_stop(&h);
}

static void test_forward_fails_io_with_the_reason_the_owner_cannot_open(void **state)
{
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	char buf[512];

	(void)state;
	probe = start(&h, 2, 2, &(struct probe_opts){0});
	probe->open_error = -EMFILE;
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(harness_io(&h, ch, XBDEV_OP_READ, 0, buf, 512, 0), -EMFILE);
	}
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

static void test_forward_keeps_the_order_of_what_waits(void **state)
{
	enum { NR = 60 };
	struct harness_io hio[NR];
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	static char buf[1024];

	(void)state;
	/* Each needs a bounce, and there are fewer relays than I/Os. */
	probe = start(&h, 2, 2,
		&(struct probe_opts){
			.mode = PROBE_HOLD, .limits = {.buf_align = 512, .queue_depth = 100}});
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], ch, XBDEV_OP_WRITE, i * 512, buf + 1, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	poll_one(&h, 1, 3);
	assert_true(probe_nr_held(probe) < NR);
	for (uint32_t i = 0; i < NR; i++) {
		assert_true(probe_end_one(probe, 0, 0));
		poll_one(&h, 0, 1);
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(probe->log[i].offset, i * 512);
	}
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* Pieces of large I/Os are counted in the owner's queue as everywhere (the probe checks). */
static void test_forward_keeps_to_the_depth(void **state)
{
	enum { NR = 12, DEPTH = 3 };
	struct harness_io hio[NR];
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	static char buf[256 * KIB];
	uint32_t nr_done = 0;

	(void)state;
	probe = start(&h, 2, 2,
		&(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = DEPTH}});
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], ch, XBDEV_OP_READ, 0, buf, i % 3 == 0 ? sizeof(buf) : 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	harness_poll_times(&h, 3);
	assert_int_equal(probe_nr_held(probe), DEPTH);
	while (nr_done < NR) {
		probe_end_one(probe, 0, 0);
		harness_poll_times(&h, 2);
		nr_done = 0;
		for (uint32_t i = 0; i < NR; i++) {
			nr_done += hio[i].nr_done;
		}
	}
	assert_int_equal(probe->nr_inflight_max, DEPTH);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* An I/O is counted once, though it goes through two channels, and what the owner's channel counts
 * (bounces and splits) outlives it. */
static void test_forward_counts_each_io_once(void **state)
{
	struct harness_io hio[3];
	struct xbdev_channel *ch;
	struct xbdev_stats stats;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	static _Alignas(4096) char buf[129 * KIB];

	(void)state;
	probe = start(
		&h, 2, 2, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.buf_align = 512}});
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t i = 0; i < 3; i++) {
		harness_io_set(
			&hio[i], ch, XBDEV_OP_WRITE, 0, buf + (i == 2), i == 1 ? 128 * KIB : 1024);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	poll_one(&h, 1, 2);
	stats = harness_stats(&h, &probe->dev, false);
	assert_int_equal(stats.queue_depth, 3);
	while (probe_end_one(probe, 0, 0)) {
		harness_poll_times(&h, 2);
	}
	/* What it has counted since, it brings home when it closes. */
	probe->mode = PROBE_AT_ONCE;
	assert_int_equal(harness_io(&h, ch, XBDEV_OP_WRITE, 0, buf + 1, 128 * KIB, 0), 0);
	xbdev_channel_put(ch);
	harness_poll_times(&h, 5);
	stats = harness_stats(&h, &probe->dev, false);
	assert_int_equal(stats.ops[XBDEV_OP_WRITE].latency.count, 4);
	assert_int_equal(stats.ops[XBDEV_OP_WRITE].bytes, 258 * KIB);
	assert_int_equal(stats.queue_depth, 0);
	assert_int_equal(stats.nr_split, 2);
	assert_int_equal(stats.nr_bounced, 3);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* Removal finds an I/O at each station of its way; at every one it ends once, with -ENODEV unless
 * it had ended before. */
static void remove_after(uint32_t nr_owner_rounds, uint32_t owner, bool owner_first)
{
	enum { NR = 10, DEPTH = 4 };
	uint32_t home = 3 - owner;
	struct harness_io hio[NR];
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	bool is_destroyed = false;
	char buf[512];

	probe = start_owner(&h, 3, 3, owner,
		&(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = DEPTH}});
	probe->ret_destroyed = &is_destroyed;
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, home);
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], ch, XBDEV_OP_READ, 0, buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	poll_one(&h, owner, nr_owner_rounds);
	assert_int_equal(xbdev_device_remove(&probe->dev, NULL, NULL), 0);
	for (uint32_t i = 0; i < 6; i++) {
		poll_one(&h, owner_first ? owner : home, 1);
		poll_one(&h, 0, 1);
		poll_one(&h, owner_first ? home : owner, 1);
	}
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(hio[i].status, -ENODEV);
	}
	assert_false(is_destroyed);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_wait(&h, is_destroyed);
	harness_stop(&h);
}

static void test_forward_ends_io_with_enodev_wherever_it_is(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t owner = 1; owner <= 2; owner++) {
			remove_after(i, owner, false);
			remove_after(i, owner, true);
		}
	}
}

/* The owner has heard of the removal, the channel's own reactor has not: what it still sends ends
 * there without coming to the driver (the probe checks). */
static void test_forward_ends_io_that_comes_to_the_owner_too_late(void **state)
{
	struct harness_io hio;
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	bool is_destroyed = false;
	char buf[512];

	(void)state;
	probe = start_owner(&h, 3, 3, 1, &(struct probe_opts){0});
	probe->ret_destroyed = &is_destroyed;
	desc = harness_open(&h, "probe", true);
	ch = harness_channel(&h, desc, 2);
	poll_one(&h, 1, 1);
	assert_int_equal(xbdev_device_remove(&probe->dev, NULL, NULL), 0);
	poll_one(&h, 0, 1);
	poll_one(&h, 1, 1);
	assert_int_equal(probe->nr_aborts, 1);
	assert_false(ch->is_removed);
	harness_io_set(&hio, ch, XBDEV_OP_READ, 0, buf, 512);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	poll_one(&h, 1, 1);
	assert_int_equal(probe->nr_log, 0);
	harness_wait(&h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ENODEV);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_wait(&h, is_destroyed);
	harness_stop(&h);
}

/* ---- random order of everything, one thread ---- */

enum { FUZZ_REACTORS = 4, FUZZ_CHANNELS = 6, FUZZ_IOS = 8 };

struct fuzz_io {
	struct xbdev_io io;
	struct fuzz_channel *fch;
	struct iovec iov;
	bool is_busy;
};

struct fuzz_channel {
	struct xbdev_channel *ch;
	uint32_t nr_busy;
	struct fuzz_io ios[FUZZ_IOS];
};

static char fuzz_buf[64 * KIB + 1];

static void on_fuzz_io(struct xbdev_io *io, int status)
{
	struct fuzz_io *fio = xu_container_of(io, struct fuzz_io, io);

	MUST(fio->is_busy);
	MUST(xr_reactor_current() == io->ch->reactor);
	MUST(status == 0 || status == -ENODEV);
	fio->is_busy = false;
	fio->fch->nr_busy--;
}

static void fuzz_submit(struct fuzz_channel *fch, struct xu_random *random)
{
	struct fuzz_io *fio = &fch->ios[xu_random_below(random, FUZZ_IOS)];
	int rc;

	if (fio->is_busy) {
		return;
	}
	fio->fch = fch;
	fio->iov.iov_base = fuzz_buf + xu_random_below(random, 2);
	fio->iov.iov_len = 512 << xu_random_below(random, 8);
	fio->io.ch = fch->ch;
	fio->io.cb = on_fuzz_io;
	fio->io.iov = &fio->iov;
	fio->io.nr_iov = 1;
	fio->io.op = XBDEV_OP_READ;
	fio->io.flags = 0;
	fio->io.offset = 0;
	fio->io.len = fio->iov.iov_len;
	fio->is_busy = true;
	fch->nr_busy++;
	rc = xbdev_io_submit(&fio->io);
	if (rc != 0) {
		MUST(rc == -ENODEV);
		fio->is_busy = false;
		fch->nr_busy--;
	}
}

static void on_fuzz_removed(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	(void)desc;
	*(bool *)arg = event == XBDEV_EVENT_REMOVE;
}

static void on_fuzz_stats(void *arg, const struct xbdev_stats *stats)
{
	MUST(stats->queue_depth <= FUZZ_CHANNELS * FUZZ_IOS);
	(*(uint32_t *)arg)--;
}

/* One step of one fuzzed life: something is done on a channel, or a reactor runs a round. */
static void fuzz_step(struct harness *h, struct probe *probe, struct xbdev_desc *desc,
	struct fuzz_channel *fch, struct xu_random *random, uint32_t *nr_questions)
{
	uint32_t reactor = (uint32_t)xu_random_below(random, FUZZ_REACTORS);
	int rc;

	switch (xu_random_below(random, 12)) {
	case 0:
		if (fch->ch == NULL) {
			rc = xbdev_channel_get(desc, xbdev_ctx_reactor(h->ctx, reactor), &fch->ch);
			MUST(rc == 0 || rc == -ENODEV);
		}
		break;
	case 1:
		if (fch->ch != NULL && fch->nr_busy == 0) {
			xbdev_channel_put(fch->ch);
			fch->ch = NULL;
		}
		break;
	case 2:
		if (*nr_questions < 3) {
			(*nr_questions)++;
			xbdev_device_stats(&probe->dev, xu_random_below(random, 2) == 0,
				on_fuzz_stats, nr_questions);
		}
		break;
	case 3:
	case 4:
	case 5:
		if (fch->ch != NULL) {
			fuzz_submit(fch, random);
		}
		break;
	default:
		poll_one(h, reactor, 1);
		break;
	}
}

static void fuzz_one_life(uint64_t seed)
{
	static struct fuzz_channel channels[FUZZ_CHANNELS];
	bool is_told = false, is_destroyed = false;
	uint32_t nr_questions = 0, nr_steps;
	struct xu_random random;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;

	xu_random_seed(&random, seed);
	memset(channels, 0, sizeof(channels));
	probe = start_owner(&h, FUZZ_REACTORS, FUZZ_REACTORS,
		(uint32_t)xu_random_below(&random, FUZZ_REACTORS),
		&(struct probe_opts){
			.mode = xu_random_below(&random, 2) == 0 ? PROBE_AT_ONCE : PROBE_SHUFFLE,
			.limits = {.buf_align = 512,
				.queue_depth = 1 + (uint32_t)xu_random_below(&random, 6)}});
	probe->ret_destroyed = &is_destroyed;
	assert_int_equal(
		xbdev_desc_open(h.ctx, "probe", true, on_fuzz_removed, &is_told, &desc, NULL), 0);
	nr_steps = (uint32_t)xu_random_below(&random, 600);
	for (uint32_t i = 0; i < nr_steps; i++) {
		fuzz_step(&h, probe, desc, &channels[xu_random_below(&random, FUZZ_CHANNELS)],
			&random, &nr_questions);
	}
	assert_int_equal(xbdev_device_remove(&probe->dev, NULL, NULL), 0);
	nr_steps = (uint32_t)xu_random_below(&random, 200);
	for (uint32_t i = 0; i < nr_steps; i++) {
		fuzz_step(&h, probe, desc, &channels[xu_random_below(&random, FUZZ_CHANNELS)],
			&random, &nr_questions);
	}
	harness_wait(&h, is_told);
	for (uint32_t i = 0; i < FUZZ_CHANNELS; i++) {
		harness_wait(&h, channels[i].nr_busy == 0);
		if (channels[i].ch != NULL) {
			xbdev_channel_put(channels[i].ch);
		}
	}
	xbdev_desc_close(desc);
	harness_wait(&h, is_destroyed && nr_questions == 0);
	harness_stop(&h);
}

static void test_forward_survives_any_order(void **state)
{
	uint64_t seed = harness_seed(7);

	(void)state;
	for (uint32_t i = 0; i < 200; i++) {
		fuzz_one_life(seed + i);
	}
}

/* ---- threads ---- */

enum { NR_REACTORS = 4 };

static void test_threads_share_a_device_that_one_of_them_owns(void **state)
{
	struct xbdev_channel *ch[NR_REACTORS];
	struct model *models[NR_REACTORS];
	uint64_t seed = harness_seed(11);
	struct xbdev_stats stats;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	uint64_t count = 0;

	(void)state;
	probe = start(&h, NR_REACTORS, 1,
		&(struct probe_opts){.mode = PROBE_SHUFFLE,
			.nr_blocks = 4096,
			.limits = {.buf_align = 512, .queue_depth = 16},
			.ops_mask = MASK(DISCARD)});
	desc = harness_open(&h, "probe", true);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		ch[i] = harness_channel(&h, desc, i);
		assert_int_equal(ch[i]->is_forwarding, i != NR_REACTORS - 1);
		models[i] = model_new(&(struct model_opts){.ch = ch[i],
			.seed = seed + i,
			.offset = i * 512 * KIB,
			.len = 512 * KIB,
			.max_io_bytes = 128 * KIB,
			.nr_ios = 1000,
			.nr_slots = 24});
		model_start(models[i]);
	}
	/* Questions about it meanwhile disturb nobody. */
	for (uint32_t i = 0; i < 20; i++) {
		harness_stats(&h, &probe->dev, false);
	}
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		harness_wait(&h, atomic_load(&models[i]->is_done));
	}
	stats = harness_stats(&h, &probe->dev, false);
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		count += stats.ops[op].latency.count;
	}
	assert_int_equal(count, NR_REACTORS * 1000);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		assert_memory_equal(probe->memory + i * 512 * KIB, models[i]->flat, 512 * KIB);
		model_free(models[i]);
		harness_put(&h, ch[i]);
	}
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* The same over a device of every reactor and through both filters, which are of one. */
static void test_threads_share_a_stack_of_filters(void **state)
{
	struct xbdev_channel *ch[NR_REACTORS];
	struct model *models[NR_REACTORS];
	struct xbdev_desc *desc;
	struct harness h;

	(void)state;
	harness_start(&h, NR_REACTORS, 1);
	/* Moves the owner of the next to reactor 1. */
	harness_create(&h, "null", "{'name': 'other', 'size': 4096}");
	harness_create(&h, "malloc", "{'name': 'm', 'size': '2MiB'}");
	harness_create(&h, "error", "{'name': 'e', 'base': 'm'}");
	harness_create(&h, "delay",
		"{'name': 'd', 'base': 'e', 'avg_write_latency_us': 20, 'avg_read_latency_us': 5}");
	desc = harness_open(&h, "d", true);
	assert_ptr_equal(
		xbdev_device_find(h.ctx, "d")->owner, xbdev_device_find(h.ctx, "e")->owner);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		ch[i] = harness_channel(&h, desc, i);
		models[i] = model_new(&(struct model_opts){.ch = ch[i],
			.seed = 31 + i,
			.offset = i * 512 * KIB,
			.len = 512 * KIB,
			.max_io_bytes = 128 * KIB,
			.nr_ios = 500,
			.nr_slots = 16});
		model_start(models[i]);
	}
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		harness_wait(&h, atomic_load(&models[i]->is_done));
		model_free(models[i]);
		harness_put(&h, ch[i]);
	}
	xbdev_desc_close(desc);
	harness_stop(&h);
}

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	(void)desc;
	*(bool *)arg = event == XBDEV_EVENT_REMOVE;
}

static void remove_under_load(const char *removed, uint32_t nr_rounds)
{
	struct xbdev_channel *ch[NR_REACTORS];
	struct model *models[NR_REACTORS];
	struct xbdev_desc *desc;
	struct harness h;
	bool is_told = false;

	harness_start(&h, NR_REACTORS, 1);
	harness_create(&h, "malloc", "{'name': 'm', 'size': '2MiB'}");
	harness_create(&h, "error", "{'name': 'e', 'base': 'm'}");
	harness_create(&h, "delay",
		"{'name': 'd', 'base': 'e', 'avg_write_latency_us': 50, 'p99_write_latency_us': "
		"3600000000}");
	assert_int_equal(xbdev_desc_open(h.ctx, "d", true, on_event, &is_told, &desc, NULL), 0);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		ch[i] = harness_channel(&h, desc, i);
		models[i] = model_new(&(struct model_opts){.ch = ch[i],
			.seed = nr_rounds * 10 + i,
			.offset = i * 512 * KIB,
			.len = 512 * KIB,
			.max_io_bytes = 256 * KIB,
			.nr_ios = UINT32_MAX,
			.nr_slots = 24,
			.may_be_removed = true});
		model_start(models[i]);
	}
	harness_poll_times(&h, nr_rounds);
	assert_int_equal(xbdev_device_remove(xbdev_device_find(h.ctx, removed), NULL, NULL), 0);
	harness_wait(&h, is_told);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		harness_wait(&h, atomic_load(&models[i]->is_done));
		model_free(models[i]);
		harness_put(&h, ch[i]);
	}
	xbdev_desc_close(desc);
	/* With the base its filters go too. */
	harness_wait(&h, xbdev_device_find(h.ctx, "d") == NULL);
	harness_wait(&h, xbdev_device_find(h.ctx, removed) == NULL);
	harness_stop(&h);
}

static void test_threads_lose_a_device_under_load(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 10; i++) {
		remove_under_load("d", i * 7);
		remove_under_load("m", i * 7);
	}
}

/* Channels come and go on every reactor, with an I/O and without. */
struct comer {
	struct xr_msg msg;
	struct xbdev_desc *desc;
	struct xr_reactor *reactor;
	struct xbdev_channel *ch;
	struct xbdev_io io;
	struct iovec iov;
	char buf[512];
	uint32_t nr_left;
	_Atomic bool is_done;
};

static void on_come(struct xr_msg *msg);

static void leave(struct comer *comer)
{
	xbdev_channel_put(comer->ch);
	if (--comer->nr_left == 0) {
		atomic_store(&comer->is_done, true);
		return;
	}
	xr_msg_send(comer->reactor, &comer->msg);
}

static void on_comer_io(struct xbdev_io *io, int status)
{
	MUST(status == 0);
	leave(xu_container_of(io, struct comer, io));
}

static void on_come(struct xr_msg *msg)
{
	struct comer *comer = xu_container_of(msg, struct comer, msg);

	MUST(xbdev_channel_get(comer->desc, comer->reactor, &comer->ch) == 0);
	if (comer->nr_left % 3 == 0) {
		leave(comer);
		return;
	}
	comer->iov = (struct iovec){.iov_base = comer->buf, .iov_len = 512};
	comer->io.ch = comer->ch;
	comer->io.cb = on_comer_io;
	comer->io.iov = &comer->iov;
	comer->io.nr_iov = 1;
	comer->io.op = XBDEV_OP_READ;
	comer->io.len = 512;
	MUST(xbdev_io_submit(&comer->io) == 0);
}

static void test_threads_come_and_go(void **state)
{
	static struct comer comers[NR_REACTORS * 2];
	struct xbdev_stats stats;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;

	(void)state;
	probe = start(&h, NR_REACTORS, 1, &(struct probe_opts){0});
	desc = harness_open(&h, "probe", true);
	memset(comers, 0, sizeof(comers));
	for (uint32_t i = 0; i < ARRAY_SIZE(comers); i++) {
		comers[i].desc = desc;
		comers[i].reactor = xbdev_ctx_reactor(h.ctx, i % NR_REACTORS);
		comers[i].nr_left = 150;
		comers[i].msg.fn = on_come;
		xr_msg_send(comers[i].reactor, &comers[i].msg);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(comers); i++) {
		while (!atomic_load(&comers[i].is_done)) {
			harness_stats(&h, &probe->dev, false);
		}
	}
	/* The last channels may still be on their way home with what they have counted. */
	do {
		stats = harness_stats(&h, &probe->dev, false);
		assert_true(stats.ops[XBDEV_OP_READ].latency.count <= ARRAY_SIZE(comers) * 100);
	} while (stats.ops[XBDEV_OP_READ].latency.count < ARRAY_SIZE(comers) * 100);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward_carries_io_to_the_owner_and_back),
		cmocka_unit_test(test_forward_closes_before_the_owner_has_opened),
		cmocka_unit_test(test_forward_fails_io_with_the_reason_the_owner_cannot_open),
		cmocka_unit_test(test_forward_keeps_the_order_of_what_waits),
		cmocka_unit_test(test_forward_keeps_to_the_depth),
		cmocka_unit_test(test_forward_counts_each_io_once),
		cmocka_unit_test(test_forward_ends_io_with_enodev_wherever_it_is),
		cmocka_unit_test(test_forward_ends_io_that_comes_to_the_owner_too_late),
		cmocka_unit_test(test_forward_survives_any_order),
		cmocka_unit_test(test_threads_share_a_device_that_one_of_them_owns),
		cmocka_unit_test(test_threads_share_a_stack_of_filters),
		cmocka_unit_test(test_threads_lose_a_device_under_load),
		cmocka_unit_test(test_threads_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
