/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/cancel.c: an I/O is cancelled at every station of its way (in line, at the driver,
 * in a relay, in a filter, on its way to another reactor and home), more than once, and when it has
 * ended already. Its callback runs once in every case. The probe aborts when it is asked about an
 * I/O that it was never given. At the end two reactors with threads of their own cancel at random.
 */
#include <unistd.h>

#include "lib/xbdev/driver/error.h"
#include "test/unit/xbdev/probe.h"

#define KIB 1024u

struct fixture {
	struct harness h;
	struct probe *probe;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
};

#define BUF_BYTES (1024 * KIB)

/* A probe that reactor `owner` of `nr_reactors` owns, and a channel to it on reactor 0. */
static void start(
	struct fixture *f, uint32_t nr_reactors, uint32_t owner, const struct probe_opts *opts)
{
	struct probe_opts with_owner = *opts;

	harness_start(&f->h, nr_reactors, nr_reactors);
	with_owner.owner = xbdev_ctx_reactor(f->h.ctx, owner);
	with_owner.nr_blocks = 4096;
	f->probe = probe_new(&f->h, &with_owner);
	f->desc = harness_open(&f->h, "probe", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
	f->buf = aligned_alloc(4096, BUF_BYTES);
	assert_non_null(f->buf);
	memset(f->buf, 0, BUF_BYTES);
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

static void poll_one(struct fixture *f, uint32_t index, uint32_t nr_rounds)
{
	while (nr_rounds-- > 0) {
		xr_reactor_poll(xbdev_ctx_reactor(f->h.ctx, index), 0);
	}
}

/* ---- in line ---- */

static void test_cancel_ends_at_once_what_waits_in_line(void **state)
{
	enum { NR = 6, DEPTH = 2 };
	struct harness_io hio[NR];
	struct fixture f;

	start(&f, 1, 0, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = DEPTH}});
	for (uint32_t i = 0; i < NR; i++) {
		submit(&f, &hio[i], XBDEV_OP_READ, 512);
	}
	/* In the middle, the last and the first; the others keep their order. */
	xbdev_io_cancel(&hio[3].io);
	xbdev_io_cancel(&hio[5].io);
	xbdev_io_cancel(&hio[2].io);
	assert_int_equal(hio[3].nr_done, 0); /* never from within the call */
	harness_poll_times(&f.h, 2);
	assert_int_equal(hio[2].status, -ECANCELED);
	assert_int_equal(hio[3].status, -ECANCELED);
	assert_int_equal(hio[5].status, -ECANCELED);
	assert_int_equal(probe_nr_held(f.probe), DEPTH);
	submit(&f, &hio[5], XBDEV_OP_READ, 512);
	for (uint32_t i = 0; i < 4; i++) {
		assert_true(probe_end_one(f.probe, 0, 0));
		harness_poll_times(&f.h, 2);
	}
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(hio[i].status, i == 2 || i == 3 ? -ECANCELED : 0);
	}
	assert_int_equal(f.probe->nr_cancels, 0);
	assert_int_equal(f.probe->nr_log, 4);
	stop(&f);
}

/* Until its callback has run it may be asked for again; the driver never had it. */
static void test_cancel_may_be_asked_twice_in_line(void **state)
{
	struct harness_io hio[2];
	struct fixture f;

	start(&f, 1, 0, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = 1}});
	submit(&f, &hio[0], XBDEV_OP_READ, 512);
	submit(&f, &hio[1], XBDEV_OP_READ, 512);
	xbdev_io_cancel(&hio[1].io);
	xbdev_io_cancel(&hio[1].io);
	harness_poll_times(&f.h, 2);
	assert_int_equal(hio[1].nr_done, 1);
	assert_int_equal(hio[1].status, -ECANCELED);
	assert_int_equal(f.probe->nr_cancels, 0);
	probe_end_all(f.probe, 0);
	harness_poll_times(&f.h, 2);
	stop(&f);
}

/* The removal has ended what was in line, and its callback is still to come. */
static void test_cancel_after_removal_leaves_what_was_in_line_alone(void **state)
{
	for (uint32_t owner = 0; owner < 2; owner++) {
		struct harness_io hio[3];
		struct fixture f;
		bool is_destroyed = false;

		start(&f, 2, owner,
			&(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = 1}});
		f.probe->ret_destroyed = &is_destroyed;
		for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
			submit(&f, &hio[i], XBDEV_OP_READ, 512);
		}
		poll_one(&f, owner, 1);
		assert_int_equal(xbdev_device_remove(&f.probe->dev, NULL, NULL), 0);
		poll_one(&f, 0, 1);
		assert_true(f.ch->is_removed);
		for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
			xbdev_io_cancel(&hio[i].io);
		}
		harness_wait(&f.h, hio[0].nr_done + hio[1].nr_done + hio[2].nr_done == 3);
		harness_poll_times(&f.h, 4);
		for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
			assert_int_equal(hio[i].nr_done, 1);
			assert_int_equal(hio[i].status, -ENODEV);
		}
		xbdev_channel_put(f.ch);
		xbdev_desc_close(f.desc);
		harness_wait(&f.h, is_destroyed);
		harness_stop(&f.h);
		free(f.buf);
	}
}

/* ---- at the driver ---- */

static void test_cancel_is_the_drivers_to_grant(void **state)
{
	for (int gives_up = 0; gives_up < 2; gives_up++) {
		struct harness_io hio;
		struct fixture f;

		start(&f, 1, 0,
			&(struct probe_opts){.mode = PROBE_HOLD, .gives_up = gives_up != 0});
		submit(&f, &hio, XBDEV_OP_WRITE, 512);
		xbdev_io_cancel(&hio.io);
		xbdev_io_cancel(&hio.io);
		assert_int_equal(hio.nr_done, 0);
		harness_poll_times(&f.h, 3);
		assert_int_equal(hio.nr_done, gives_up);
		probe_end_all(f.probe, 0);
		harness_poll_times(&f.h, 2);
		assert_int_equal(hio.nr_done, 1);
		assert_int_equal(hio.status, gives_up ? -ECANCELED : 0);
		stop(&f);
	}
}

/* The driver has ended it from within submit(); the callback comes in the next round. */
static void test_cancel_of_what_has_ended_keeps_its_result(void **state)
{
	struct harness_io hio;
	struct fixture f;

	start(&f, 1, 0, &(struct probe_opts){.mode = PROBE_AT_ONCE, .gives_up = true});
	submit(&f, &hio, XBDEV_OP_READ, 512);
	xbdev_io_cancel(&hio.io);
	harness_poll_times(&f.h, 3);
	assert_int_equal(hio.nr_done, 1);
	assert_int_equal(hio.status, 0);
	stop(&f);
}

static struct harness_io *neighbour;

static void cancel_neighbour(struct xbdev_io *io, int status)
{
	struct harness_io *hio = xu_container_of(io, struct harness_io, io);

	hio->nr_done++;
	hio->status = status;
	xbdev_io_cancel(&neighbour->io);
}

/* From the callback of another one, which lets the next in line in at the same time. */
static void test_cancel_may_be_asked_from_a_callback(void **state)
{
	struct harness_io hio[3];
	struct fixture f;

	start(&f, 1, 0,
		&(struct probe_opts){
			.mode = PROBE_HOLD, .gives_up = true, .limits = {.queue_depth = 1}});
	for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
		submit(&f, &hio[i], XBDEV_OP_READ, 512);
	}
	hio[0].io.cb = cancel_neighbour;
	hio[1].io.cb = cancel_neighbour;
	neighbour = &hio[1]; /* just given to the driver */
	assert_true(probe_end_one(f.probe, 0, 0));
	assert_int_equal(hio[0].nr_done, 1);
	neighbour = &hio[2];
	harness_poll_times(&f.h, 4);
	for (uint32_t i = 1; i < ARRAY_SIZE(hio); i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(hio[i].status, -ECANCELED);
	}
	assert_int_equal(probe_nr_held(f.probe), 0);
	stop(&f);
}

/* ---- in a relay ---- */

static void test_cancel_stops_a_relay_between_its_pieces(void **state)
{
	for (int gives_up = 0; gives_up < 2; gives_up++) {
		struct harness_io hio;
		struct fixture f;

		start(&f, 1, 0,
			&(struct probe_opts){.mode = PROBE_HOLD,
				.gives_up = gives_up != 0,
				.limits = {.max_transfer = 4 * KIB}});
		submit(&f, &hio, XBDEV_OP_WRITE, 256 * KIB);
		assert_int_equal(f.probe->nr_log, 4);
		assert_true(probe_end_one(f.probe, 0, 0));
		assert_int_equal(f.probe->nr_log, 5);
		xbdev_io_cancel(&hio.io);
		harness_poll_times(&f.h, 3);
		/* What the driver keeps is waited for: the buffer is still in use. */
		assert_int_equal(hio.nr_done, gives_up);
		probe_end_all(f.probe, 0);
		harness_poll_times(&f.h, 2);
		assert_int_equal(hio.nr_done, 1);
		assert_int_equal(hio.status, -ECANCELED);
		assert_int_equal(f.probe->nr_log, 5);
		assert_int_equal(f.ch->nr_inflight, 0);
		stop(&f);
	}
}

static void test_cancel_takes_what_waits_for_a_relay_out_of_line(void **state)
{
	enum { NR = 40 };
	struct harness_io hio[NR];
	struct fixture f;
	uint32_t nr_relayed;

	start(&f, 1, 0,
		&(struct probe_opts){.mode = PROBE_HOLD,
			.limits = {.max_transfer = 4 * KIB, .queue_depth = 1000}});
	for (uint32_t i = 0; i < NR; i++) {
		submit(&f, &hio[i], XBDEV_OP_READ, 8 * KIB);
	}
	nr_relayed = f.ch->stats->nr_split;
	assert_true(nr_relayed < NR);
	for (uint32_t i = nr_relayed; i < NR; i++) {
		xbdev_io_cancel(&hio[i].io);
	}
	harness_poll_times(&f.h, 3);
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(hio[i].nr_done, i >= nr_relayed);
	}
	probe_end_all(f.probe, 0);
	harness_poll_times(&f.h, 3);
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(hio[i].status, i < nr_relayed ? 0 : -ECANCELED);
	}
	stop(&f);
}

/* A relay that has no child running and waits for memory ends too. */
static void test_cancel_ends_a_relay_that_waits_for_memory(void **state)
{
	struct xu_bufpool *pool;
	struct harness_io hio;
	struct fixture f;
	void *taken[64];
	uint32_t nr_taken = 0;

	start(&f, 1, 0, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.buf_align = 512}});
	pool = xr_reactor_buffers(xbdev_ctx_control(f.h.ctx));
	while (nr_taken < ARRAY_SIZE(taken)) {
		void *buf = xu_bufpool_get(pool, 1024 * KIB);

		if (buf == NULL) {
			break;
		}
		taken[nr_taken++] = buf;
	}
	for (uint32_t i = 0; i < 4096; i++) {
		assert_true(nr_taken < ARRAY_SIZE(taken) || xu_bufpool_get(pool, 512) == NULL);
	}
	f.buf++;
	submit(&f, &hio, XBDEV_OP_WRITE, 512);
	harness_poll_times(&f.h, 3);
	assert_int_equal(f.probe->nr_log, 0);
	xbdev_io_cancel(&hio.io);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ECANCELED);
	f.buf--;
	while (nr_taken > 0) {
		xu_bufpool_put(pool, taken[--nr_taken], 1024 * KIB);
	}
	stop(&f);
}

/* ---- on another reactor ---- */

/* The I/O is cancelled after so many rounds of its owner and then of its home, each a station. */
static void cancel_after(
	uint32_t nr_owner_rounds, uint32_t nr_home_rounds, bool gives_up, bool ends, uint32_t times)
{
	enum { NR = 6, DEPTH = 2 };
	struct harness_io hio[NR];
	struct fixture f;

	start(&f, 2, 1,
		&(struct probe_opts){.mode = PROBE_HOLD,
			.gives_up = gives_up,
			.limits = {.queue_depth = DEPTH, .max_transfer = 4 * KIB}});
	poll_one(&f, 1, 1);
	for (uint32_t i = 0; i < NR; i++) {
		/* Every other one in a relay. */
		submit(&f, &hio[i], XBDEV_OP_READ, i % 2 == 0 ? 512 : 16 * KIB);
	}
	poll_one(&f, 1, nr_owner_rounds);
	if (ends) {
		probe_end_one(f.probe, 0, 0);
	}
	poll_one(&f, 0, nr_home_rounds);
	for (uint32_t i = 0; i < times; i++) {
		for (uint32_t j = 0; j < NR; j++) {
			if (hio[j].nr_done == 0) {
				xbdev_io_cancel(&hio[j].io);
			}
		}
		poll_one(&f, i % 2 == 0 ? 1 : 0, 1);
	}
	for (uint32_t i = 0; i < 20; i++) {
		probe_end_all(f.probe, 0);
		harness_poll_times(&f.h, 2);
	}
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_true(hio[i].status == 0 || hio[i].status == -ECANCELED);
	}
	/* What had not come to the driver was ended by the call. */
	assert_int_equal(hio[NR - 1].status, -ECANCELED);
	assert_int_equal(f.ch->nr_inflight, 0);
	stop(&f);
}

static void test_cancel_finds_a_forwarded_io_wherever_it_is(void **state)
{
	for (uint32_t i = 0; i < 3 * 3 * 2 * 2 * 4; i++) {
		cancel_after(i % 3, i / 3 % 3, i / 9 % 2 != 0, i / 18 % 2 != 0, 1 + i / 36);
	}
}

/* It comes home while the request travels; it is given back when that is home too, and may be
 * submitted anew at once. */
static void test_cancel_holds_an_io_until_its_message_is_home(void **state)
{
	struct harness_io hio;
	struct fixture f;

	start(&f, 2, 1, &(struct probe_opts){.mode = PROBE_HOLD});
	submit(&f, &hio, XBDEV_OP_READ, 512);
	poll_one(&f, 1, 1);
	assert_true(probe_end_one(f.probe, 0, 0));
	xbdev_io_cancel(&hio.io);
	poll_one(&f, 0, 2);
	assert_int_equal(hio.nr_done, 0);
	poll_one(&f, 1, 1);
	poll_one(&f, 0, 1);
	assert_int_equal(hio.nr_done, 1);
	assert_int_equal(hio.status, 0);
	submit(&f, &hio, XBDEV_OP_READ, 512);
	poll_one(&f, 1, 2);
	assert_int_equal(probe_nr_held(f.probe), 1);
	probe_end_all(f.probe, 0);
	harness_wait(&f.h, hio.nr_done == 1);
	stop(&f);
}

/* The channel's own line, and then again while its callback is to come: no message may leave with
 * an I/O that goes back to its owner meanwhile. */
static void test_cancel_sends_nothing_for_what_has_ended_at_home(void **state)
{
	struct harness_io hio[2], *last = malloc(sizeof(*last));
	struct fixture f;

	assert_non_null(last);
	start(&f, 2, 1, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = 1}});
	submit(&f, &hio[0], XBDEV_OP_READ, 512);
	submit(&f, last, XBDEV_OP_READ, 512);
	xbdev_io_cancel(&last->io);
	xbdev_io_cancel(&last->io);
	poll_one(&f, 0, 1);
	assert_int_equal(last->nr_done, 1);
	assert_int_equal(last->status, -ECANCELED);
	memset(last, 0x5a, sizeof(*last));
	poll_one(&f, 1, 2);
	probe_end_all(f.probe, 0);
	harness_wait(&f.h, hio[0].nr_done == 1);
	free(last);
	stop(&f);
}

/* ---- in a filter ---- */

struct filter_fixture {
	struct fixture base;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct xbdev_device *dev;
};

static void start_filter(struct filter_fixture *f, const struct probe_opts *opts,
	const char *driver, const char *params)
{
	struct probe_opts named = *opts;

	harness_start(&f->base.h, 1, 1);
	named.name = "base";
	named.nr_blocks = 4096;
	f->base.probe = probe_new(&f->base.h, &named);
	f->dev = harness_create(&f->base.h, driver, "{'name': 'top', 'base': 'base'%s}", params);
	f->desc = harness_open(&f->base.h, "top", true);
	f->ch = harness_channel(&f->base.h, f->desc, 0);
	f->base.ch = f->ch;
	f->base.buf = malloc(BUF_BYTES);
	assert_non_null(f->base.buf);
}

static void stop_filter(struct filter_fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->base.h);
	free(f->base.buf);
}

static void test_cancel_ends_what_the_error_driver_holds(void **state)
{
	struct xbdev_error_rule rule = {.kind = XBDEV_ERROR_HANG};
	struct filter_fixture f;
	struct harness_io hio[2];

	start_filter(&f, &(struct probe_opts){.mode = PROBE_AT_ONCE}, "error", "");
	assert_int_equal(xbdev_error_inject(f.dev, &rule, NULL, NULL, NULL), 0);
	harness_poll_times(&f.base.h, 3);
	submit(&f.base, &hio[0], XBDEV_OP_READ, 512);
	submit(&f.base, &hio[1], XBDEV_OP_READ, 512);
	harness_poll_times(&f.base.h, 2);
	assert_int_equal(hio[0].nr_done, 0);
	xbdev_io_cancel(&hio[0].io);
	xbdev_io_cancel(&hio[0].io);
	harness_poll_times(&f.base.h, 2);
	assert_int_equal(hio[0].nr_done, 1);
	assert_int_equal(hio[0].status, -ECANCELED);
	/* What was let go is not there any more to be resumed. */
	assert_int_equal(xbdev_error_clear(f.dev, NULL, NULL, NULL), 0);
	harness_wait(&f.base.h, hio[1].nr_done == 1);
	assert_int_equal(hio[1].status, 0);
	assert_int_equal(hio[0].nr_done, 1);
	assert_int_equal(f.base.probe->nr_log, 1);
	stop_filter(&f);
}

static void test_cancel_goes_through_a_filter_to_its_base(void **state)
{
	struct filter_fixture f;
	struct harness_io hio;

	start_filter(&f, &(struct probe_opts){.mode = PROBE_HOLD, .gives_up = true}, "error", "");
	submit(&f.base, &hio, XBDEV_OP_WRITE, 512);
	harness_poll_times(&f.base.h, 2);
	xbdev_io_cancel(&hio.io);
	harness_poll_times(&f.base.h, 3);
	assert_int_equal(f.base.probe->nr_cancels, 1);
	assert_int_equal(hio.nr_done, 1);
	assert_int_equal(hio.status, -ECANCELED);
	stop_filter(&f);
}

/* Whether the request finds the I/O held by the filter, or at a base that does not give it up and
 * from which it comes to be held only then: it does not wait for the hour to pass. */
static void test_cancel_is_remembered_by_the_delay_driver(void **state)
{
	const char *params = ", 'avg_read_latency_us': 3600000000";
	struct filter_fixture f;
	struct harness_io hio[2];

	start_filter(&f, &(struct probe_opts){.mode = PROBE_HOLD}, "delay", params);
	submit(&f.base, &hio[0], XBDEV_OP_READ, 512);
	submit(&f.base, &hio[1], XBDEV_OP_READ, 512);
	assert_true(probe_end_one(f.base.probe, 0, 0));
	harness_poll_times(&f.base.h, 2);
	assert_int_equal(hio[0].nr_done, 0);
	xbdev_io_cancel(&hio[0].io);
	xbdev_io_cancel(&hio[1].io);
	harness_poll_times(&f.base.h, 2);
	assert_int_equal(hio[0].nr_done, 1);
	assert_int_equal(hio[0].status, -ECANCELED);
	assert_int_equal(hio[1].nr_done, 0);
	assert_true(probe_end_one(f.base.probe, 0, 0));
	harness_poll_times(&f.base.h, 3);
	assert_int_equal(hio[1].nr_done, 1);
	assert_int_equal(hio[1].status, 0); /* the base has done it */
	stop_filter(&f);
}

/* ---- in the kernel ---- */

/* More reads than the submission queue holds, with twice as many requests: the kernel says what
 * became of each, and a request that comes too late finds nothing else in its place. */
static void test_cancel_of_file_io_leaves_each_with_one_result(void **state)
{
	enum { NR = 600 };
	struct harness_io *hio = calloc(NR, sizeof(*hio));
	char *buf = aligned_alloc(4096, NR * 4096);
	struct xbdev_channel *ch;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct harness h;
	char path[256];
	uint32_t nr_done = 0;
	FILE *file;

	assert_true(hio != NULL && buf != NULL);
	snprintf(path, sizeof(path), "%s/cancel", harness_dir());
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), NR * 4096), 0);
	fclose(file);
	harness_start(&h, 1, 1);
	dev = harness_create(&h, "file", "{'name': 'f', 'filename': '%s'}", path);
	desc = harness_open(&h, "f", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], ch, XBDEV_OP_READ, i * 4096, buf + i * 4096, 4096);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	for (uint32_t i = 0; i < NR; i++) {
		xbdev_io_cancel(&hio[i].io);
		xbdev_io_cancel(&hio[i].io);
		assert_int_equal(hio[i].nr_done, 0);
	}
	for (harness__wait_begin(&h); nr_done < NR;) {
		harness__wait_step(&h, "all reads to end", __FILE__, __LINE__);
		nr_done = 0;
		for (uint32_t i = 0; i < NR; i++) {
			nr_done += hio[i].nr_done;
		}
	}
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_true(hio[i].status == 0 || hio[i].status == -ECANCELED);
	}
	assert_int_equal(
		harness_io(&h, ch, XBDEV_OP_READ, 0, buf, 4096, 0), 0); /* nothing is left over */
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_remove(&h, dev);
	harness_stop(&h);
	free(buf);
	free(hio);
}

struct file_fixture {
	struct harness h;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
};

static void start_file(struct file_fixture *f, const char *params, uint64_t bytes)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/steps", harness_dir());
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), (off_t)bytes), 0);
	fclose(file);
	harness_start(&f->h, 1, 1);
	f->dev = harness_create(&f->h, "file", "{'name': 'f', 'filename': '%s'%s}", path, params);
	f->desc = harness_open(&f->h, "f", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

static void stop_file(struct file_fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_remove(&f->h, f->dev);
	harness_stop(&f->h);
}

/* That a flush or a durable write was not done because it was not wanted any more says nothing of
 * the file: later flushes do not fail. */
static void test_cancelled_flush_loses_no_writes(void **state)
{
	const char *const params[] = {"", ", 'direct': false"};

	for (uint32_t round = 0; round < 2 * 8; round++) {
		struct harness_io hio[2];
		struct file_fixture f;
		char *buf = aligned_alloc(4096, 4096);

		assert_non_null(buf);
		memset(buf, 1, 4096);
		start_file(&f, params[round % 2], 1024 * KIB);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, buf, 4096, 0), 0);
		harness_io_set(&hio[0], f.ch, XBDEV_OP_FLUSH, 0, NULL, 0);
		harness_io_set(&hio[1], f.ch, XBDEV_OP_WRITE, 4096, buf, 4096);
		hio[1].io.flags = XBDEV_IO_FUA;
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
			if (round % 4 >= 2) {
				harness_poll_times(&f.h, 1);
			}
			xbdev_io_cancel(&hio[i].io);
		}
		for (uint32_t i = 0; i < 2; i++) {
			harness_wait(&f.h, hio[i].nr_done == 1);
			assert_true(hio[i].status == 0 || hio[i].status == -ECANCELED);
		}
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
		stop_file(&f);
		free(buf);
	}
}

/* ---- at random, with threads ---- */

enum { NR_SLOTS = 24, NR_IOS = 30000, NR_SIDES = 2 };

struct side {
	struct xr_msg msg;
	struct xbdev_channel *ch;
	struct xu_random random;
	uint32_t nr_submitted, nr_inflight;
	uint32_t nr_cancelled;
	_Atomic bool is_done;
	struct slot {
		struct xbdev_io io;
		struct side *side;
		struct iovec iov;
		bool is_busy;
	} slots[NR_SLOTS];
};

static char random_buf[64 * KIB + 1];

static void refill(struct side *side);

static void on_random_io(struct xbdev_io *io, int status)
{
	struct slot *slot = xu_container_of(io, struct slot, io);
	struct side *side = slot->side;

	MUST(slot->is_busy);
	MUST(xr_reactor_current() == io->ch->reactor);
	MUST(status == 0 || status == -ECANCELED);
	side->nr_cancelled += status != 0;
	slot->is_busy = false;
	side->nr_inflight--;
	memset(io, 0x5a, sizeof(*io)); /* nobody looks at it any more */
	refill(side);
}

static void refill(struct side *side)
{
	struct slot *slot = &side->slots[xu_random_below(&side->random, NR_SLOTS)];

	if (slot->is_busy && xu_random_below(&side->random, 2) == 0) {
		xbdev_io_cancel(&slot->io);
	}
	for (uint32_t i = 0; i < NR_SLOTS && side->nr_submitted < NR_IOS; i++) {
		slot = &side->slots[i];
		if (slot->is_busy) {
			continue;
		}
		slot->side = side;
		slot->iov.iov_base = random_buf + xu_random_below(&side->random, 2);
		slot->iov.iov_len = 512u << xu_random_below(&side->random, 8);
		slot->io.ch = side->ch;
		slot->io.cb = on_random_io;
		slot->io.iov = &slot->iov;
		slot->io.nr_iov = 1;
		slot->io.op = XBDEV_OP_WRITE;
		slot->io.flags = 0;
		slot->io.offset = 0;
		slot->io.len = slot->iov.iov_len;
		slot->is_busy = true;
		side->nr_inflight++;
		side->nr_submitted++;
		MUST(xbdev_io_submit(&slot->io) == 0);
	}
	if (side->nr_inflight == 0) {
		atomic_store(&side->is_done, true);
	}
}

static void on_side(struct xr_msg *msg)
{
	refill(xu_container_of(msg, struct side, msg));
}

/* The owner's own side and a forwarding one; the device gives up what it holds, over a filter or
 * not, with its line and its relays full. */
static void test_cancel_at_random_ends_everything_once(void **state)
{
	uint64_t seed = harness_seed(7);
	struct side *sides = calloc(NR_SIDES, sizeof(*sides));
	struct probe *probe;
	struct xbdev_desc *desc;
	struct harness h;

	assert_non_null(sides);
	harness_start(&h, 3, 1);
	probe = probe_new(&h,
		&(struct probe_opts){.name = "base",
			.nr_blocks = 4096,
			.mode = PROBE_SHUFFLE,
			.gives_up = true,
			.owner = xbdev_ctx_reactor(h.ctx, 1),
			.limits = {.queue_depth = 8, .max_transfer = 16 * KIB, .buf_align = 512}});
	harness_create(&h, "delay", "{'name': 'top', 'base': 'base', 'avg_write_latency_us': 30}");
	desc = harness_open(&h, "top", true);
	for (uint32_t i = 0; i < NR_SIDES; i++) {
		sides[i].ch = harness_channel(&h, desc, 1 + i);
		sides[i].msg.fn = on_side;
		xu_random_seed(&sides[i].random, seed + i);
		xr_msg_send(sides[i].ch->reactor, &sides[i].msg);
	}
	for (uint32_t i = 0; i < NR_SIDES; i++) {
		harness_wait(&h, atomic_load(&sides[i].is_done));
		assert_true(sides[i].nr_cancelled > 0 && sides[i].nr_cancelled < NR_IOS);
		harness_put(&h, sides[i].ch);
	}
	assert_true(probe->nr_cancels > 0);
	xbdev_desc_close(desc);
	harness_stop(&h);
	free(sides);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancel_ends_at_once_what_waits_in_line),
		cmocka_unit_test(test_cancel_may_be_asked_twice_in_line),
		cmocka_unit_test(test_cancel_after_removal_leaves_what_was_in_line_alone),
		cmocka_unit_test(test_cancel_is_the_drivers_to_grant),
		cmocka_unit_test(test_cancel_of_what_has_ended_keeps_its_result),
		cmocka_unit_test(test_cancel_may_be_asked_from_a_callback),
		cmocka_unit_test(test_cancel_stops_a_relay_between_its_pieces),
		cmocka_unit_test(test_cancel_takes_what_waits_for_a_relay_out_of_line),
		cmocka_unit_test(test_cancel_ends_a_relay_that_waits_for_memory),
		cmocka_unit_test(test_cancel_finds_a_forwarded_io_wherever_it_is),
		cmocka_unit_test(test_cancel_holds_an_io_until_its_message_is_home),
		cmocka_unit_test(test_cancel_sends_nothing_for_what_has_ended_at_home),
		cmocka_unit_test(test_cancel_ends_what_the_error_driver_holds),
		cmocka_unit_test(test_cancel_goes_through_a_filter_to_its_base),
		cmocka_unit_test(test_cancel_is_remembered_by_the_delay_driver),
		cmocka_unit_test(test_cancel_of_file_io_leaves_each_with_one_result),
		cmocka_unit_test(test_cancelled_flush_loses_no_writes),
		cmocka_unit_test(test_cancel_at_random_ends_everything_once),
	};

	return cmocka_run_group_tests_name("xbdev_cancel", tests, NULL, NULL);
}
