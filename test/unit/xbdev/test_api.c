/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public interface as an application uses it: life of the library, descriptors, synchronous
 * I/O, requests, events, named queues, from several threads and in embedded mode. Everything goes
 * through <xbdev/xbdev.h> only.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/stats.h>
#include <xbdev/xbdev.h>

#define BLOCK 4096u

static int is_embedded;

static void start(void)
{
	xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = 2, .is_embedded = is_embedded != 0};

	assert_int_equal(xbdev_init_with(&options), 0);
	assert_int_equal(xbdev_config_malloc(16, BLOCK, "mem"), 0);
}

static int start_threads(void **state)
{
	is_embedded = 0;
	start();
	return 0;
}

static int start_embedded(void **state)
{
	is_embedded = 1;
	start();
	return 0;
}

static int stop(void **state)
{
	return xbdev_fini();
}

static void fill(void *buf, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++) {
		((uint8_t *)buf)[i] = (uint8_t)(seed + i * 7 + (i >> 8));
	}
}

/* ---- life ---- */

static void test_library_refuses_calls_while_it_does_not_run(void **state)
{
	char buf[BLOCK];

	assert_int_equal(xbdev_open("mem"), -ESHUTDOWN);
	assert_int_equal(xbdev_read(0, buf, BLOCK, 0), -ESHUTDOWN);
	assert_int_equal(xbdev_poll_completions(1, 0), -ESHUTDOWN);
	assert_int_equal(xbdev_fini(), -ESHUTDOWN);
	assert_string_not_equal(xbdev_last_error(), "");
}

static void test_library_starts_and_ends_several_times(void **state)
{
	char out[BLOCK], in[BLOCK];

	assert_string_equal(xbdev_version(), XSAN_VERSION);
	for (int round = 0; round < 5; round++) {
		int fd;

		assert_int_equal(xbdev_init(), 0);
		assert_int_equal(xbdev_init(), 0);
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "mem"), 0);
		fd = xbdev_open("mem");
		assert_true(fd >= 0);
		fill(out, BLOCK, (uint8_t)round);
		assert_int_equal(xbdev_write(fd, out, BLOCK, BLOCK), BLOCK);
		assert_int_equal(xbdev_read(fd, in, BLOCK, BLOCK), BLOCK);
		assert_memory_equal(in, out, BLOCK);
		assert_int_equal(xbdev_fini(), 0);
		assert_int_equal(xbdev_read(fd, in, BLOCK, BLOCK), BLOCK); /* one user is left */
		assert_int_equal(xbdev_fini(), 0);                         /* closes what is open */
		assert_int_equal(xbdev_read(fd, in, BLOCK, BLOCK), -ESHUTDOWN);
	}
}

static void test_options_are_those_of_the_first_user(void **state)
{
	xbdev_init_options_t options = {.size = sizeof(options)};

	assert_int_equal(xbdev_init(), 0);
	assert_int_equal(xbdev_init_with(&options), -EALREADY);
	assert_int_equal(xbdev_fini(), 0);
	options.size = 3;
	assert_int_equal(xbdev_init_with(&options), -EINVAL);
}

/* ---- descriptors and synchronous I/O ---- */

static void test_open_tells_what_is_wrong(void **state)
{
	assert_int_equal(xbdev_open("nobody"), -ENODEV);
	assert_non_null(strstr(xbdev_last_error(), "nobody"));
	assert_int_equal(xbdev_open(NULL), -EINVAL);
	assert_int_equal(xbdev_open_with("mem", 0x40), -EINVAL);
	assert_int_equal(xbdev_close(0), -EBADF);
	assert_int_equal(xbdev_close(-1), -EBADF);
	assert_int_equal(xbdev_close(1 << 30), -EBADF);
	assert_int_equal(xbdev_config_aio("/nonexistent/file", "f"), -ENOENT);
	assert_int_equal(xbdev_config_malloc(1, 777, "odd"), -EINVAL);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "mem"), -EEXIST);
	assert_int_equal(xbdev_config_device("{\"driver\": \"nothing\"}"), -EINVAL);
	assert_int_equal(xbdev_config_device("{"), -EINVAL);
}

static void test_exclusive_opener_keeps_others_from_writing(void **state)
{
	int fd = xbdev_open_with("mem", XBDEV_OPEN_EXCL), reader;
	char buf[BLOCK] = {0};

	assert_true(fd >= 0);
	assert_int_equal(xbdev_open("mem"), -EBUSY);
	reader = xbdev_open_with("mem", XBDEV_OPEN_READ);
	assert_true(reader >= 0);
	assert_int_equal(xbdev_read(reader, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_write(reader, buf, BLOCK, 0), -EROFS);
	assert_int_equal(xbdev_close(reader), 0);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_close(fd), -EBADF);
}

static void test_sync_io_keeps_the_contract(void **state)
{
	int fd = xbdev_open("mem");
	char *out = malloc(8 * BLOCK + 1), *in = calloc(1, 8 * BLOCK);
	struct iovec iov[2] = {{out + 1, 3 * BLOCK}, {out + 1 + 3 * BLOCK, 5 * BLOCK}};
	xbdev_info_t info;

	assert_true(fd >= 0);
	assert_int_equal(xbdev_get_info(fd, &info), 0);
	assert_int_equal(info.size_bytes, 16u << 20);
	assert_int_equal(info.block_size, BLOCK);
	assert_string_equal(info.name, "mem");
	assert_string_equal(info.driver, "malloc");
	assert_int_equal(info.health, XBDEV_HEALTH_OK);
	assert_int_equal(xbdev_list(&info, 1), 1);

	fill(out + 1, 8 * BLOCK, 3);
	assert_int_equal(xbdev_writev(fd, iov, 2, 4 * BLOCK), 8 * BLOCK);
	assert_int_equal(xbdev_read(fd, in, 8 * BLOCK, 4 * BLOCK), 8 * BLOCK);
	assert_memory_equal(in, out + 1, 8 * BLOCK);
	assert_int_equal(xbdev_compare(fd, in, 8 * BLOCK, 4 * BLOCK), 0);
	in[5 * BLOCK] ^= 1;
	assert_int_equal(xbdev_compare(fd, in, 8 * BLOCK, 4 * BLOCK), -EBADE);
	assert_int_equal(xbdev_write_zeroes(fd, 5 * BLOCK, BLOCK, 0), 0);
	assert_int_equal(xbdev_discard(fd, 6 * BLOCK, BLOCK), 0);
	assert_int_equal(xbdev_flush(fd), 0);
	assert_int_equal(xbdev_write_with(fd, out + 1, BLOCK, 0, XBDEV_IO_FUA), BLOCK);
	assert_int_equal(xbdev_read(fd, in, 4 * BLOCK, 4 * BLOCK), 4 * BLOCK);
	memset(out + 1 + BLOCK, 0, 2 * BLOCK);
	assert_memory_equal(in, out + 1, 4 * BLOCK);

	assert_int_equal(xbdev_read(fd, in, BLOCK, 1), -EINVAL);
	assert_int_equal(xbdev_read(fd, in, BLOCK + 1, 0), -EINVAL);
	assert_int_equal(xbdev_read(fd, in, BLOCK, 16u << 20), -EINVAL);
	assert_int_equal(xbdev_read(fd, in, BLOCK, UINT64_MAX - BLOCK + 1), -EINVAL);
	assert_int_equal(xbdev_readv(fd, iov, 0, 0), -EINVAL);
	assert_int_equal(xbdev_read(fd + 1, in, BLOCK, 0), -EBADF);
	assert_int_equal(xbdev_close(fd), 0);
	free(in);
	free(out);
}

static void test_removed_device_answers_enodev_until_closed(void **state)
{
	char buf[BLOCK];
	xbdev_info_t info;
	int fd = xbdev_open("mem"), other;

	assert_true(fd >= 0);
	assert_int_equal(xbdev_config_remove("mem"), 0);
	assert_int_equal(xbdev_config_remove("mem"), -ENODEV);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), -ENODEV);
	assert_int_equal(xbdev_get_info(fd, &info), -ENODEV);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "mem"), 0);
	other = xbdev_open("mem");
	assert_true(other >= 0 && other != fd);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), -ENODEV);
	assert_int_equal(xbdev_read(other, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), -EBADF);
	assert_int_equal(xbdev_close(other), 0);
}

/* ---- requests ---- */

static int nr_called;
static int last_result;

static void on_complete(xbdev_request_t *req, int result, void *user_arg)
{
	char buf[BLOCK];

	assert_int_equal(req->result, result);
	assert_ptr_equal(user_arg, &nr_called);
	assert_int_equal(xbdev_read(req->fd, buf, BLOCK, 0), -EDEADLK);
	assert_int_equal(xbdev_poll_completions(1, 0), -EDEADLK);
	nr_called++;
	last_result = result;
}

static xbdev_request_t *make_request(int fd, int op, void *buf, size_t count, uint64_t offset)
{
	xbdev_request_t *req = xbdev_request_alloc();

	assert_non_null(req);
	req->op_type = op;
	req->fd = fd;
	req->buf = buf;
	req->count = count;
	req->offset = offset;
	req->user_cb = on_complete;
	req->user_arg = &nr_called;
	return req;
}

/* No bytes are no I/O, in every kind of call; what is wrong with the descriptor is said all the
 * same. */
static void test_no_bytes_are_nothing_to_do(void **state)
{
	static const int ops[] = {XBDEV_OP_READ, XBDEV_OP_WRITE, XBDEV_OP_DISCARD,
		XBDEV_OP_WRITE_ZEROES, XBDEV_OP_COMPARE};
	int fds[] = {xbdev_open("mem"), 999}, results[] = {0, -EBADF};
	char buf[BLOCK];
	struct iovec iov = {buf, 0};
	xbdev_aio_event_t event;
	xbdev_stats_t stats;

	for (int i = 0; i < 2; i++) {
		int fd = fds[i], result = results[i];

		assert_int_equal(xbdev_read(fd, buf, 0, 0), result);
		assert_int_equal(xbdev_write(fd, buf, 0, BLOCK), result);
		assert_int_equal(xbdev_write_with(fd, buf, 0, 0, XBDEV_IO_FUA), result);
		assert_int_equal(xbdev_readv(fd, &iov, 1, 0), result);
		assert_int_equal(xbdev_writev(fd, &iov, 1, 0), result);
		assert_int_equal(xbdev_compare(fd, buf, 0, 0), result);
		assert_int_equal(xbdev_discard(fd, 0, 0), result);
		assert_int_equal(xbdev_write_zeroes(fd, 0, 0, 0), result);
		assert_int_equal(xbdev_aio_write(fd, buf, 0, 0, buf), result);
		for (size_t k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
			xbdev_request_t *req = make_request(fd, ops[k], buf, 0, 0);

			assert_int_equal(xbdev_request_submit(req), result);
			if (result == 0) {
				assert_int_equal(xbdev_request_wait(req, UINT64_MAX), 0);
				assert_int_equal(req->result, 0);
			}
			assert_int_equal(xbdev_request_free(req), 0);
		}
	}
	assert_int_equal(xbdev_aio_submit(), 1);
	assert_int_equal(xbdev_aio_get_events(&event, 1, UINT64_MAX), 1);
	assert_int_equal(event.result, 0);
	assert_int_equal(xbdev_stats_get("mem", &stats), 0);
	assert_int_equal(stats.all.count, 0);
	assert_int_equal(xbdev_close(fds[0]), 0);
}

static void test_request_completes_once_and_never_from_submit(void **state)
{
	char buf[BLOCK];
	int fd = xbdev_open("mem");
	xbdev_request_t *req = make_request(fd, XBDEV_OP_READ, buf, BLOCK, 0);

	nr_called = 0;
	assert_int_equal(xbdev_request_wait(req, 0), -EINVAL);
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(nr_called, 0);
	assert_int_equal(xbdev_request_submit(req), -EBUSY);
	assert_int_equal(xbdev_request_free(req), -EBUSY);
	assert_int_equal(xbdev_request_wait(req, UINT64_MAX), 0);
	assert_int_equal(nr_called, 1);
	assert_int_equal(req->result, BLOCK);
	assert_int_equal(xbdev_poll_completions(10, 0), 0);
	assert_int_equal(xbdev_request_wait(req, 0), 0);

	req->offset = 1;
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_poll_completions(10, 60000000), 1);
	assert_int_equal(last_result, -EINVAL);
	req->fd = fd + 1;
	assert_int_equal(xbdev_request_submit(req), -EBADF);
	req->op_type = 99;
	assert_int_equal(xbdev_request_submit(req), -EINVAL);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_close(fd), 0);
}

struct chain {
	xbdev_request_t *req;
	int left;
};

static void on_chain(xbdev_request_t *req, int result, void *user_arg)
{
	struct chain *chain = user_arg;

	assert_int_equal(result, BLOCK);
	if (--chain->left != 0) {
		assert_int_equal(xbdev_request_submit(req), 0);
	} else {
		assert_int_equal(xbdev_request_free(req), 0);
		chain->req = NULL;
	}
}

static void test_callback_may_submit_and_free(void **state)
{
	char buf[BLOCK];
	int fd = xbdev_open("mem");
	struct chain chain = {make_request(fd, XBDEV_OP_READ, buf, BLOCK, 0), 100};

	chain.req->user_cb = on_chain;
	chain.req->user_arg = &chain;
	assert_int_equal(xbdev_request_submit(chain.req), 0);
	for (int i = 0; i < 1000 && chain.left != 0; i++) {
		assert_true(xbdev_poll_completions(1, 60000000) >= 0);
	}
	assert_int_equal(chain.left, 0);
	assert_null(chain.req);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_queue_takes_its_depth_and_says_eagain_beyond(void **state)
{
	static char buf[8][BLOCK];
	xbdev_request_t *reqs[9];
	int fd = xbdev_open("mem");

	assert_int_equal(xbdev_queue_init(0, 1), -EINVAL);
	assert_int_equal(xbdev_queue_init(8, 4), 0);
	nr_called = 0;
	for (int i = 0; i < 9; i++) {
		reqs[i] = make_request(fd, XBDEV_OP_READ, buf[i % 8], BLOCK, (uint64_t)i * BLOCK);
		assert_int_equal(xbdev_request_submit(reqs[i]), i < 8 ? 0 : -EAGAIN);
	}
	while (nr_called < 8) {
		assert_true(xbdev_poll_completions(3, 60000000) > 0);
	}
	assert_int_equal(xbdev_request_submit(reqs[8]), 0);
	assert_int_equal(xbdev_queue_fini(), -EBUSY);
	assert_int_equal(xbdev_request_wait(reqs[8], 60000000), 0);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(xbdev_request_free(reqs[i]), 0);
	}
	assert_int_equal(xbdev_queue_fini(), 0);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_eventfd_is_readable_when_there_are_completions(void **state)
{
	char buf[BLOCK];
	int fd = xbdev_open("mem");
	xbdev_request_t *req = make_request(fd, XBDEV_OP_READ, buf, BLOCK, 0);
	struct pollfd pfd = {.fd = xbdev_queue_eventfd(), .events = POLLIN};

	assert_true(pfd.fd >= 0);
	for (int round = 0; round < 100; round++) {
		while (xbdev_poll_completions(10, 0) > 0) {
		}
		assert_int_equal(poll(&pfd, 1, 0), 0);
		assert_int_equal(xbdev_request_submit(req), 0);
		for (int i = 0; i < 1000 && is_embedded && poll(&pfd, 1, 0) == 0; i++) {
			assert_true(xbdev_poll(100000) >= 0);
		}
		assert_int_equal(poll(&pfd, 1, 60000), 1);
		assert_int_equal(xbdev_poll_completions(10, 0), 1);
	}
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_aio_events_carry_their_argument(void **state)
{
	static char out[4][BLOCK], in[4][BLOCK];
	xbdev_aio_event_t events[8];
	int fd = xbdev_open("mem"), seen = 0;

	for (int i = 0; i < 4; i++) {
		fill(out[i], BLOCK, (uint8_t)(i * 3));
		assert_int_equal(
			xbdev_aio_write(fd, out[i], BLOCK, (uint64_t)i * BLOCK, out[i]), 0);
	}
	assert_int_equal(xbdev_aio_get_events(events, 8, 1000), 0); /* nothing has started */
	assert_int_equal(xbdev_aio_submit(), 4);
	assert_int_equal(xbdev_aio_submit(), 0);
	while (seen < 4) {
		int count = xbdev_aio_get_events(events, 3, 60000000);

		assert_true(count > 0);
		for (int i = 0; i < count; i++) {
			assert_int_equal(events[i].result, BLOCK);
		}
		seen += count;
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(xbdev_aio_read(fd, in[i], BLOCK, (uint64_t)i * BLOCK, in[i]), 0);
	}
	assert_int_equal(xbdev_aio_submit(), 4);
	for (seen = 0; seen < 4;) {
		seen += xbdev_aio_get_events(events, 8, 60000000);
	}
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(xbdev_close(fd), 0);
}

/* ---- what hangs ---- */

static int named_queue;

static int open_hanger(const char *extra)
{
	char json[512];

	snprintf(json, sizeof(json),
		"{\"driver\": \"delay\", \"name\": \"slow\", \"base\": \"mem\", "
		"\"avg_read_latency_us\": %s, \"avg_write_latency_us\": %s}",
		extra, extra);
	assert_int_equal(xbdev_config_device(json), 0);
	return xbdev_open("slow");
}

static void test_timeout_and_cancel_end_what_hangs(void **state)
{
	char buf[BLOCK];
	int fd = open_hanger("60000000");
	xbdev_request_t *req = make_request(fd, XBDEV_OP_READ, buf, BLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_request_wait(req, 10000), -ETIMEDOUT);
	assert_int_equal(req->result, -EINPROGRESS);
	assert_int_equal(xbdev_request_cancel(req), 0);
	assert_int_equal(req->result, -ECANCELED);
	assert_int_equal(xbdev_request_cancel(req), 0);

	req->timeout_us = 20000;
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_request_wait(req, 60000000), 0);
	assert_int_equal(req->result, -ETIMEDOUT);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_close(fd), 0);
}

/* A named queue can wait for one of its requests and take it back, also in another thread than the
 * one that submitted it; its descriptor is readable then. */
static void *cancel_there(void *arg)
{
	xbdev_request_t *req = arg;

	assert_int_equal(xbdev_request_cancel(req), -EINVAL); /* not of this thread's queue */
	assert_int_equal(xbdev_io_queue_wait_request(named_queue, req, 10000), -ETIMEDOUT);
	assert_int_equal(xbdev_io_queue_cancel_request(named_queue, req), 0);
	return NULL;
}

static void test_named_queue_gives_one_request_up(void **state)
{
	char buf[BLOCK], other_buf[BLOCK];
	int slow = open_hanger("60000000"), fd, other;
	xbdev_request_t *hanging = make_request(slow, XBDEV_OP_READ, buf, BLOCK, 0), *quick;
	struct pollfd ready = {.events = POLLIN};
	pthread_t thread;

	assert_int_equal(xbdev_config_malloc(1, BLOCK, "other"), 0);
	fd = xbdev_open("other");
	quick = make_request(fd, XBDEV_OP_READ, other_buf, BLOCK, 0);

	named_queue = xbdev_io_queue_create("n", 4, XBDEV_QUEUE_EVENTFD);
	other = xbdev_io_queue_create("o", 4, 0);
	assert_true(slow >= 0 && fd >= 0 && named_queue >= 0 && other >= 0);
	ready.fd = xbdev_io_queue_eventfd(named_queue);
	assert_true(ready.fd >= 0);
	assert_int_equal(xbdev_io_queue_submit_request(named_queue, hanging), 0);
	assert_int_equal(xbdev_io_queue_poll(named_queue, 8, 0), 0); /* that arms it */
	assert_int_equal(poll(&ready, 1, 10), 0);
	assert_int_equal(xbdev_io_queue_submit_request(named_queue, quick), 0);
	assert_int_equal(poll(&ready, 1, 60000), 1);
	assert_int_equal(xbdev_io_queue_wait_request(named_queue, quick, 60000000), 0);
	assert_int_equal(quick->result, BLOCK);
	assert_int_equal(xbdev_io_queue_cancel_request(other, hanging), -EINVAL);
	assert_int_equal(pthread_create(&thread, NULL, cancel_there, hanging), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(hanging->result, -ECANCELED);
	assert_int_equal(xbdev_io_queue_cancel_request(named_queue, hanging), 0); /* over already */
	assert_int_equal(xbdev_io_queue_destroy(named_queue), 0);
	assert_int_equal(xbdev_io_queue_cancel_request(named_queue, hanging), -EBADF);
	assert_int_equal(xbdev_io_queue_destroy(other), 0);
	assert_int_equal(xbdev_request_free(hanging), 0);
	assert_int_equal(xbdev_request_free(quick), 0);
	assert_int_equal(xbdev_close(slow), 0);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_close_cancels_what_hangs(void **state)
{
	char buf[BLOCK];
	int fd = open_hanger("60000000");
	xbdev_request_t *req = make_request(fd, XBDEV_OP_READ, buf, BLOCK, 0);

	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_request_wait(req, 60000000), 0);
	assert_int_equal(req->result, -ECANCELED);
	assert_int_equal(xbdev_request_free(req), 0);
}

/* ---- named queues ---- */

static void test_batch_goes_as_a_whole(void **state)
{
	xbdev_io_batch_t *batch = xbdev_io_batch_create(32);
	int queue = xbdev_io_queue_create("fast", 16, XBDEV_QUEUE_POLLING);
	int fd = xbdev_open("mem");
	char *buf = xbdev_dma_buffer_alloc(32 * BLOCK), *in = xbdev_dma_buffer_alloc(16 * BLOCK);

	assert_true(queue >= 0 && fd >= 0);
	assert_non_null(batch);
	assert_int_equal(xbdev_io_queue_create("fast", 16, 0), -EEXIST);
	fill(buf, 16 * BLOCK, 9);
	for (int i = 0; i < 17; i++) {
		assert_int_equal(xbdev_io_batch_add(batch, fd, buf + i * BLOCK, BLOCK,
					 (uint64_t)i * BLOCK, XBDEV_OP_WRITE),
			i);
	}
	assert_int_equal(xbdev_io_queue_submit(queue, batch), -EINVAL);
	assert_int_equal(xbdev_io_batch_reset(batch), 0);
	for (int i = 0; i < 16; i++) {
		xbdev_io_batch_add(
			batch, fd, buf + i * BLOCK, BLOCK, (uint64_t)i * BLOCK, XBDEV_OP_WRITE);
	}
	assert_int_equal(xbdev_io_queue_submit(queue, batch), 0);
	assert_int_equal(xbdev_io_queue_flush(queue), 0);
	assert_int_equal(xbdev_io_batch_result(batch, 15), BLOCK);
	assert_int_equal(xbdev_io_batch_reset(batch), 0);
	assert_int_equal(xbdev_io_batch_add(batch, fd, in, 16 * BLOCK, 0, XBDEV_OP_READ), 0);
	assert_int_equal(xbdev_io_batch_add(batch, fd, in, BLOCK, 1, XBDEV_OP_READ), 1);
	assert_int_equal(xbdev_io_queue_submit(queue, batch), 0);
	assert_int_equal(xbdev_io_queue_wait(queue), -EINVAL);
	assert_int_equal(xbdev_io_queue_wait(queue), 0);
	assert_int_equal(xbdev_io_batch_result(batch, 0), 16 * BLOCK);
	assert_int_equal(xbdev_io_batch_result(batch, 1), -EINVAL);
	assert_memory_equal(in, buf, 16 * BLOCK);
	assert_int_equal(xbdev_io_batch_free(batch), 0);
	assert_int_equal(xbdev_io_queue_destroy(queue), 0);
	assert_int_equal(xbdev_io_queue_destroy(queue), -EBADF);
	xbdev_dma_buffer_free(buf);
	xbdev_dma_buffer_free(in);
	assert_int_equal(xbdev_close(fd), 0);
}

/* ---- threads ---- */

#define NR_THREADS_MAX 20
#define PER_THREAD     16u

struct worker {
	pthread_t thread;
	int fd;
	unsigned index;
	bool is_sync;
	unsigned nr_done;
};

/* Each thread has blocks of its own and checks that what it reads is what it wrote last. */
static void *work(void *arg)
{
	struct worker *worker = arg;
	uint64_t base = (uint64_t)worker->index * PER_THREAD * BLOCK;
	static _Thread_local char out[PER_THREAD][BLOCK], in[PER_THREAD][BLOCK];

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < PER_THREAD; i++) {
			fill(out[i], BLOCK, (uint8_t)(worker->index * 31 + round * 5 + i));
			if (worker->is_sync) {
				worker->nr_done += xbdev_write(worker->fd, out[i], BLOCK,
							   base + i * BLOCK) == BLOCK;
				worker->nr_done += xbdev_read(worker->fd, in[i], BLOCK,
							   base + i * BLOCK) == BLOCK;
			} else {
				xbdev_aio_write(
					worker->fd, out[i], BLOCK, base + i * BLOCK, &out[i]);
			}
		}
		for (int pass = 0; pass < 2 && !worker->is_sync; pass++) {
			xbdev_aio_event_t events[PER_THREAD];
			int left = xbdev_aio_submit();

			while (left > 0) {
				int count = xbdev_aio_get_events(events, PER_THREAD, 10000000);

				if (count <= 0) {
					return NULL;
				}
				left -= count;
				for (int i = 0; i < count; i++) {
					worker->nr_done += events[i].result == BLOCK;
				}
			}
			for (unsigned i = 0; i < PER_THREAD && pass == 0; i++) {
				xbdev_aio_read(worker->fd, in[i], BLOCK, base + i * BLOCK, NULL);
			}
		}
		if (memcmp(in, out, sizeof(in)) != 0) {
			return NULL;
		}
	}
	return worker;
}

/* One in `sync_share` of them reads and writes synchronously. */
static void work_with(unsigned nr_threads, unsigned sync_share)
{
	struct worker workers[NR_THREADS_MAX];
	int fd = xbdev_open("mem");

	for (unsigned i = 0; i < nr_threads; i++) {
		workers[i] = (struct worker){.fd = fd, .index = i, .is_sync = i % sync_share == 0};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < nr_threads; i++) {
		void *result;

		pthread_join(workers[i].thread, &result);
		assert_non_null(result);
		assert_int_equal(workers[i].nr_done, 50 * PER_THREAD * 2);
	}
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_threads_each_see_their_own_data(void **state)
{
	work_with(6, 2);
}

/* More than have a slot at the reactor, which those that end give to those that come. */
static void test_many_threads_call_synchronously(void **state)
{
	for (int wave = 0; wave < 3; wave++) {
		work_with(NR_THREADS_MAX, 1);
	}
}

static void *leave_in_flight(void *arg)
{
	static char buf[64][BLOCK];
	int fd = *(int *)arg;

	for (int i = 0; i < 64; i++) {
		xbdev_aio_read(fd, buf[i], BLOCK, 0, NULL);
	}
	xbdev_aio_submit();
	return NULL;
}

static void test_thread_may_end_with_io_in_flight(void **state)
{
	int fd = xbdev_open("mem");

	for (int i = 0; i < 20; i++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, leave_in_flight, &fd), 0);
		pthread_join(thread, NULL);
	}
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_queue_survives_the_library(void **state)
{
	char buf[BLOCK];
	xbdev_request_t *req = NULL;

	for (int round = 0; round < 3; round++) {
		int fd;

		assert_int_equal(xbdev_init(), 0);
		assert_int_equal(xbdev_config_null(1, BLOCK, "null"), 0);
		fd = xbdev_open("null");
		if (req != NULL) {
			/* What the last round has completed is still to be had. */
			assert_int_equal(xbdev_poll_completions(10, 0), 1);
			assert_int_equal(req->result, BLOCK);
			assert_int_equal(xbdev_request_free(req), 0);
		}
		req = make_request(fd, XBDEV_OP_READ, buf, BLOCK, 0);
		assert_int_equal(xbdev_request_submit(req), 0);
		assert_int_equal(xbdev_fini(), 0);
	}
	assert_int_equal(xbdev_init(), 0);
	assert_int_equal(xbdev_poll_completions(10, 0), 1);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
}

static void test_memory_is_where_it_was_asked_for(void **state)
{
	void *small = xbdev_dma_buffer_alloc(1), *large;

	assert_non_null(small);
	assert_int_equal((uintptr_t)small % 4096, 0);
	assert_int_equal(xbdev_numa_set_preferred(63), -EINVAL);
	assert_int_equal(xbdev_numa_set_preferred(0), 0);
	assert_int_equal(xbdev_memory_policy_set(XBDEV_MEMORY_BIND), 0);
	large = xbdev_dma_buffer_alloc(8u << 20);
	assert_non_null(large);
	memset(large, 1, 8u << 20);
	assert_int_equal(xbdev_memory_policy_set((xbdev_memory_policy_t)9), -EINVAL);
	assert_int_equal(xbdev_memory_policy_set(XBDEV_MEMORY_DEFAULT), 0);
	assert_int_equal(xbdev_numa_set_preferred(-1), 0);
	assert_null(xbdev_dma_buffer_alloc(0));
	xbdev_dma_buffer_free(small);
	xbdev_dma_buffer_free(large);
	xbdev_dma_buffer_free(NULL);
}

#define threads_test(f)  cmocka_unit_test_setup_teardown(f, start_threads, stop)
#define embedded_test(f) cmocka_unit_test_setup_teardown(f, start_embedded, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_library_refuses_calls_while_it_does_not_run),
		cmocka_unit_test(test_library_starts_and_ends_several_times),
		cmocka_unit_test(test_options_are_those_of_the_first_user),
		cmocka_unit_test(test_queue_survives_the_library),
		cmocka_unit_test(test_memory_is_where_it_was_asked_for),
		threads_test(test_open_tells_what_is_wrong),
		threads_test(test_exclusive_opener_keeps_others_from_writing),
		threads_test(test_sync_io_keeps_the_contract),
		threads_test(test_no_bytes_are_nothing_to_do),
		threads_test(test_removed_device_answers_enodev_until_closed),
		threads_test(test_request_completes_once_and_never_from_submit),
		threads_test(test_callback_may_submit_and_free),
		threads_test(test_queue_takes_its_depth_and_says_eagain_beyond),
		threads_test(test_eventfd_is_readable_when_there_are_completions),
		threads_test(test_aio_events_carry_their_argument),
		threads_test(test_timeout_and_cancel_end_what_hangs),
		threads_test(test_named_queue_gives_one_request_up),
		threads_test(test_close_cancels_what_hangs),
		threads_test(test_batch_goes_as_a_whole),
		threads_test(test_threads_each_see_their_own_data),
		threads_test(test_many_threads_call_synchronously),
		threads_test(test_thread_may_end_with_io_in_flight),
		embedded_test(test_open_tells_what_is_wrong),
		embedded_test(test_sync_io_keeps_the_contract),
		embedded_test(test_no_bytes_are_nothing_to_do),
		embedded_test(test_removed_device_answers_enodev_until_closed),
		embedded_test(test_request_completes_once_and_never_from_submit),
		embedded_test(test_callback_may_submit_and_free),
		embedded_test(test_queue_takes_its_depth_and_says_eagain_beyond),
		embedded_test(test_eventfd_is_readable_when_there_are_completions),
		embedded_test(test_aio_events_carry_their_argument),
		embedded_test(test_timeout_and_cancel_end_what_hangs),
		embedded_test(test_close_cancels_what_hangs),
		embedded_test(test_batch_goes_as_a_whole),
	};

	return cmocka_run_group_tests_name("xbdev_api", tests, NULL, NULL);
}
