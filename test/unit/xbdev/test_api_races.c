/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public interface where things happen at the same time or in an unlucky order: the library
 * ends under threads that wait in it or come and go, devices vanish and descriptors are closed
 * under load, queues are replaced, completions come from a reactor that nobody looks at. Waits that
 * could be for ever are for ever here: a lost wake-up ends in SIGALRM, not in a slow success.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#include "lib/xbdev/api/private.h"
#include "lib/xbdev/driver/error.h"

#define BLOCK    4096u
#define FOREVER  UINT64_MAX
#define WATCHDOG 240 /* seconds for one test */
#define REST_MS  60000

/* An assertion for any thread, where cmocka's may not be used. */
#define MUST(expr)                                                                                 \
	do {                                                                                       \
		if (!(expr)) {                                                                     \
			fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #expr);       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void rest_us(long us)
{
	const struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	nanosleep(&ts, NULL);
}

/* ---- the library and its devices ---- */

static void init_with(uint32_t nr_reactors, bool is_embedded)
{
	const xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = nr_reactors, .is_embedded = is_embedded};

	MUST(xbdev_init_with(&options) == 0);
}

static int watch(void **state)
{
	alarm(WATCHDOG);
	return 0;
}

/* The reactor that owns a device; devices of memory are spread over them in turn. */
struct question {
	struct xr_msg msg;
	const char *name;
	uint32_t answer;
	_Atomic bool is_done;
};

static void on_owner_question(struct xr_msg *msg)
{
	struct question *q = xu_container_of(msg, struct question, msg);

	q->answer = xr_reactor_index(xbdev_device_find(api_lib.ctx, q->name)->owner);
	atomic_store(&q->is_done, true);
}

static void ask(struct question *q, uint32_t reactor, void (*fn)(struct xr_msg *msg))
{
	q->msg.fn = fn;
	atomic_init(&q->is_done, false);
	xr_msg_send(xbdev_ctx_reactor(api_lib.ctx, reactor), &q->msg);
	while (!atomic_load(&q->is_done)) {
		if (xbdev_poll(1000) < 0) {
			rest_us(100);
		}
	}
}

static void make(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void make(const char *format, ...)
{
	char json[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(json, sizeof(json), format, args);
	va_end(args);
	for (char *c = json; *c != '\0'; c++) {
		*c = *c == '\'' ? '"' : *c;
	}
	if (xbdev_config_device(json) != 0) {
		fprintf(stderr, "%s: %s\n", json, xbdev_last_error());
		abort();
	}
}

/* A device `name` of memory that this reactor owns, and one over it with a delay. */
static void make_slow(const char *name, uint32_t owner, uint64_t delay_us)
{
	struct question q = {.name = name};
	char base[64];

	for (uint32_t i = 0;; i++) {
		snprintf(base, sizeof(base), "%s-base%u", name, i);
		MUST(xbdev_config_malloc(1, BLOCK, base) == 0);
		q.name = base;
		ask(&q, 0, on_owner_question);
		if (q.answer == owner) {
			break;
		}
		MUST(i < API_MAX_FILES && xbdev_config_remove(base) == 0);
	}
	make("{'driver': 'delay', 'name': '%s', 'base': '%s', 'avg_read_latency_us': %llu, "
	     "'avg_write_latency_us': %llu}",
		name, base, (unsigned long long)delay_us, (unsigned long long)delay_us);
}

#define HOUR_US 3600000000ull

static int open_must(const char *name)
{
	int fd = xbdev_open(name);

	if (fd < 0) {
		fprintf(stderr, "opening %s: %s\n", name, xbdev_last_error());
		abort();
	}
	return fd;
}

/* Buffers whose content does not matter, of enough that no two requests in flight have one. */
static char buffers[256][BLOCK];
static _Atomic unsigned next_buffer;

static xbdev_request_t *new_request(int fd, int op, uint64_t offset)
{
	xbdev_request_t *req = xbdev_request_alloc();

	MUST(req != NULL);
	req->fd = fd;
	req->op_type = op;
	req->buf = buffers[atomic_fetch_add(&next_buffer, 1) % 256];
	req->count = BLOCK;
	req->offset = offset;
	return req;
}

/* It is refused when its reactor does not come to it within a second, as on a busy machine; what
 * that bound is worth is test_api_bounds's matter. */
static void cancel(xbdev_request_t *req)
{
	uint64_t end_ms = now_ms() + REST_MS;
	int rc;

	do {
		rc = xbdev_request_cancel(req);
	} while (rc == -EBUSY && now_ms() < end_ms);
	MUST(rc == 0);
}

static pthread_t start_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;

	MUST(pthread_create(&thread, NULL, fn, arg) == 0);
	return thread;
}

/* ---- embedded mode ---- */

/* Completions that the kernel brings are handed over in the round after: the wait for them must not
 * sleep through it. */
static void test_embedded_wait_sees_what_the_kernel_completes(void **state)
{
	char path[] = "api-races-XXXXXX";
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	xbdev_aio_event_t event;
	struct pollfd pfd;
	xbdev_request_t *req;
	int file = mkstemp(path), fd;

	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, 1 << 20), 0);
	close(file);
	init_with(2, true);
	assert_int_equal(xbdev_config_aio(path, "file"), 0);
	fd = open_must("file");
	req = new_request(fd, XBDEV_OP_WRITE, 0);
	req->buf = buf;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(xbdev_request_submit(req), 0);
		assert_int_equal(xbdev_request_wait(req, FOREVER), 0);
		assert_int_equal(req->result, BLOCK);
		assert_int_equal(xbdev_aio_read(fd, buf, BLOCK, 0, buf), 0);
		assert_int_equal(xbdev_aio_submit(), 1);
		assert_int_equal(xbdev_aio_get_events(&event, 1, FOREVER), 1);
		assert_int_equal(event.result, BLOCK);
		assert_int_equal(xbdev_flush(fd), 0);
	}
	/* And xbdev_poll() comes back when it has made the eventfd readable. */
	pfd = (struct pollfd){.fd = xbdev_queue_eventfd(), .events = POLLIN};
	while (xbdev_poll_completions(1, 0) != 0) {
	}
	for (int i = 0; i < 20; i++) {
		assert_int_equal(xbdev_request_submit(req), 0);
		while (poll(&pfd, 1, 0) == 0) {
			assert_true(xbdev_poll(FOREVER) >= 0);
		}
		assert_int_equal(xbdev_poll_completions(1, 0), 1);
		assert_int_equal(xbdev_poll_completions(1, 0), 0);
	}
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
	unlink(path);
	xbdev_dma_buffer_free(buf);
}

struct queue_user {
	int queue;
	int fd;
	xbdev_request_t *req;
	_Atomic pid_t tid; /* of the thread that waits */
	_Atomic bool is_in;
	int result;
};

/* Whether the thread waits for something, or has ended. */
static bool is_asleep(pid_t tid)
{
	char path[64], text[256] = "", *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	file = fopen(path, "r");
	if (file == NULL) {
		return true;
	}
	(void)fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	end = strrchr(text, ')');
	return end == NULL || end[2] == 'S';
}

static void *submit_to_queue(void *arg)
{
	struct queue_user *user = arg;

	user->result = xbdev_io_queue_submit_request(user->queue, user->req);
	return NULL;
}

/* Another thread's I/O runs on another reactor; its completion comes to the thread that drives the
 * first one and sleeps there. */
static void test_embedded_wait_is_woken_by_other_reactors(void **state)
{
	struct queue_user user;

	init_with(3, true);
	make_slow("slow", 2, 30000);
	user.fd = open_must("slow");
	user.queue = xbdev_io_queue_create("shared", 8, 0);
	assert_true(user.queue >= 0);
	user.req = new_request(user.fd, XBDEV_OP_READ, 0);
	for (int i = 0; i < 5; i++) {
		pthread_join(start_thread(submit_to_queue, &user), NULL);
		assert_int_equal(user.result, 0);
		assert_int_equal(xbdev_io_queue_poll(user.queue, 1, FOREVER), 1);
		assert_int_equal(user.req->result, BLOCK);
	}
	assert_int_equal(xbdev_request_free(user.req), 0);
	assert_int_equal(xbdev_io_queue_destroy(user.queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

static void *wait_in_queue(void *arg)
{
	struct queue_user *user = arg;

	submit_to_queue(user);
	atomic_store(&user->tid, gettid());
	atomic_store(&user->is_in, true);
	MUST(xbdev_io_queue_wait(user->queue) == 0);
	return NULL;
}

/* The thread that drives the first reactor wants a queue that another has until that reactor has
 * done its I/O. */
static void test_embedded_thread_drives_its_reactor_while_a_queue_is_taken(void **state)
{
	struct queue_user user = {0};
	pthread_t thread;

	init_with(1, true);
	make_slow("slow", 0, 100000);
	user.fd = open_must("slow");
	user.queue = xbdev_io_queue_create("taken", 8, 0);
	user.req = new_request(user.fd, XBDEV_OP_READ, 0);
	thread = start_thread(wait_in_queue, &user);
	while (!atomic_load(&user.is_in)) {
		assert_true(xbdev_poll(1000) >= 0);
	}
	/* On a busy machine it takes a while until it has the queue and waits. */
	for (int i = 0; i < 20; i = is_asleep(atomic_load(&user.tid)) ? i + 1 : 0) {
		assert_true(xbdev_poll(1000) >= 0);
	}
	assert_int_equal(xbdev_io_queue_poll(user.queue, 1, FOREVER), 0);
	pthread_join(thread, NULL);
	assert_int_equal(user.req->result, BLOCK);
	assert_int_equal(xbdev_request_free(user.req), 0);
	assert_int_equal(xbdev_io_queue_destroy(user.queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* ---- queues and the library's rounds ---- */

static void on_free(xbdev_request_t *req, int result, void *arg)
{
	MUST(xbdev_request_free(req) == 0);
	*(int *)arg = result;
}

/* What was staged starts by xbdev_aio_submit() and nothing else, in whichever round of the library
 * that is. */
static void test_staged_io_outlives_the_library(void **state)
{
	enum { DEPTH = 9 };
	xbdev_aio_event_t events[DEPTH];
	char buf[BLOCK];
	int fd;

	assert_int_equal(xbdev_queue_init(DEPTH, 16), 0);
	for (uint32_t round = 0; round < 4; round++) {
		int got = 0;

		init_with(1 + (round + 1) % 2, round == 2);
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
		fd = open_must("a");
		if (round != 0) {
			assert_int_equal(xbdev_aio_submit(), 3);
			assert_int_equal(xbdev_aio_submit(), 0);
			while (got < 3) {
				int count = xbdev_aio_get_events(events, DEPTH, FOREVER);

				for (int i = 0; i < count; i++) {
					assert_int_equal(events[i].result, -EBADF);
				}
				got += count;
			}
		}
		/* All places are free. */
		for (int i = 0; i < DEPTH; i++) {
			assert_int_equal(xbdev_aio_read(fd, buf, BLOCK, 0, NULL), 0);
		}
		assert_int_equal(xbdev_aio_read(fd, buf, BLOCK, 0, NULL), -EAGAIN);
		assert_int_equal(xbdev_aio_submit(), DEPTH);
		for (got = 0; got < DEPTH;) {
			got += xbdev_aio_get_events(events, DEPTH, FOREVER);
			assert_int_equal(events[0].result, BLOCK);
		}
		for (int i = 0; i < 3; i++) {
			assert_int_equal(xbdev_aio_read(fd, buf, BLOCK, 0, NULL), 0);
		}
		assert_int_equal(xbdev_fini(), 0);
	}
	init_with(1, false);
	assert_int_equal(xbdev_aio_submit(), 3);
	assert_int_equal(xbdev_aio_get_events(events, DEPTH, 0), 3);
	assert_int_equal(xbdev_fini(), 0);
	assert_int_equal(xbdev_queue_fini(), 0);
}

/* The buffer of a staged write may still be filled while requests come and go. */
static void test_staged_write_does_not_start_with_a_request(void **state)
{
	static char buf[BLOCK], in[BLOCK];
	xbdev_aio_event_t event;
	xbdev_request_t *req;
	int fd;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	fd = open_must("a");
	assert_int_equal(xbdev_aio_write(fd, buf, BLOCK, 0, buf), 0);
	req = new_request(fd, XBDEV_OP_FLUSH, 0);
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_request_wait(req, FOREVER), 0);
	rest_us(20000);
	assert_int_equal(xbdev_aio_get_events(&event, 1, 0), 0);
	memset(buf, 0x77, BLOCK);
	assert_int_equal(xbdev_aio_submit(), 1);
	assert_int_equal(xbdev_aio_get_events(&event, 1, FOREVER), 1);
	assert_int_equal(xbdev_read(fd, in, BLOCK, 0), BLOCK);
	assert_memory_equal(in, buf, BLOCK);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
}

struct resubmit {
	int left;
	_Atomic bool must_stop;
};

static void on_resubmit(xbdev_request_t *req, int result, void *arg)
{
	struct resubmit *chain = arg;

	if (chain->left != 0 && !atomic_load(&chain->must_stop)) {
		chain->left--;
		MUST(xbdev_request_submit(req) == 0);
	}
}

/* A callback's request starts though staged I/O has been counted and not been told yet. */
static void test_callbacks_request_starts_beside_staged_io(void **state)
{
	struct resubmit chain = {.left = 3};
	xbdev_aio_event_t events[4];
	xbdev_request_t *req;
	char buf[BLOCK];
	int fd;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	fd = open_must("a");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(xbdev_aio_read(fd, buf, BLOCK, 0, NULL), 0);
	}
	req = new_request(fd, XBDEV_OP_READ, 0);
	req->user_cb = on_resubmit;
	req->user_arg = &chain;
	assert_int_equal(xbdev_request_submit(req), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(xbdev_request_wait(req, 60000000), 0);
	}
	assert_int_equal(chain.left, 0);
	assert_int_equal(xbdev_aio_submit(), 3);
	for (int got = 0; got < 3;) {
		got += xbdev_aio_get_events(events, 4, FOREVER);
	}
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* An event's argument is the application's and may be any address, also a request's. */
static void test_cancel_ends_the_request_and_nothing_else(void **state)
{
	xbdev_aio_event_t event;
	xbdev_request_t *req;
	char buf[BLOCK];
	int fd;

	init_with(1, false);
	make_slow("slow", 0, 300000);
	fd = open_must("slow");
	req = new_request(fd, XBDEV_OP_READ, 0);
	assert_int_equal(xbdev_aio_read(fd, buf, BLOCK, 0, req), 0);
	assert_int_equal(xbdev_aio_submit(), 1);
	assert_int_equal(xbdev_request_submit(req), 0);
	rest_us(30000); /* both are held by then; if not, it may have its own result */
	cancel(req);
	assert_true(req->result == -ECANCELED || req->result == BLOCK);
	assert_int_equal(xbdev_aio_get_events(&event, 1, FOREVER), 1);
	assert_ptr_equal(event.cb_arg, req);
	assert_int_equal(event.result, BLOCK);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* Lengths that add up to the count only because they overflow. */
static void test_request_refuses_buffers_beyond_the_count(void **state)
{
	char buf[BLOCK];
	const struct iovec iov[3] = {
		{buf, SIZE_MAX / 2 + 1}, {buf, SIZE_MAX / 2 + 1}, {buf, BLOCK}};
	xbdev_request_t *req;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	req = new_request(open_must("a"), XBDEV_OP_READ, 0);
	req->iov = iov;
	req->iovcnt = 3;
	assert_int_equal(xbdev_request_submit(req), -EINVAL);
	req->iov = iov + 2;
	req->iovcnt = 1;
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_request_wait(req, FOREVER), 0);
	assert_int_equal(req->result, BLOCK);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* The library has ended and begun anew with fewer reactors since the request was submitted. */
static void test_cancel_of_a_request_of_the_last_round(void **state)
{
	for (int i = 0; i < 2; i++) {
		xbdev_request_t *req;
		int result = 1;

		init_with(2, i == 1);
		make_slow("slow", 1, HOUR_US);
		req = new_request(open_must("slow"), XBDEV_OP_READ, 0);
		req->user_cb = on_free;
		req->user_arg = &result;
		assert_int_equal(xbdev_request_submit(req), 0);
		assert_int_equal(xbdev_fini(), 0);
		init_with(1, i == 1);
		assert_int_equal(result, 1);
		cancel(req);
		assert_int_equal(result, -ECANCELED);
		assert_int_equal(xbdev_fini(), 0);
	}
}

/* The settings change while the queue's own callbacks run. */
static void on_change_settings(xbdev_request_t *req, int result, void *arg)
{
	int *left = arg;

	if ((*left)-- > 0) {
		MUST(xbdev_queue_init(16 + (uint32_t)*left % 8, 64) == 0);
		MUST(xbdev_request_submit(req) == 0);
	}
}

static void test_queue_is_not_replaced_under_its_callbacks(void **state)
{
	xbdev_request_t *req;
	int fd, left = 200;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	fd = open_must("a");
	req = new_request(fd, XBDEV_OP_READ, 0);
	req->user_cb = on_change_settings;
	req->user_arg = &left;
	assert_int_equal(xbdev_request_submit(req), 0);
	while (left >= 0) {
		assert_true(xbdev_poll_completions(1, FOREVER) >= 0);
	}
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_queue_fini(), 0);
	assert_int_equal(xbdev_fini(), 0);
}

static void *change_settings(void *arg)
{
	MUST(xbdev_queue_init(*(const uint32_t *)arg, 64) == 0);
	return NULL;
}

/* An event loop knows the eventfd; the queue behind it is replaced by an idle moment. */
static void test_eventfd_outlives_a_change_of_settings(void **state)
{
	struct pollfd pfd = {.events = POLLIN};
	xbdev_request_t *req;
	uint32_t depth;
	int fd;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	fd = open_must("a");
	req = new_request(fd, XBDEV_OP_READ, 0);
	pfd.fd = xbdev_queue_eventfd();
	assert_true(pfd.fd >= 0);
	for (depth = 2; depth < 40; depth++) {
		while (xbdev_poll_completions(1, 0) != 0) {
		}
		pthread_join(start_thread(change_settings, &depth), NULL);
		assert_int_equal(xbdev_request_submit(req), 0);
		assert_int_equal(xbdev_queue_eventfd(), pfd.fd);
		assert_int_equal(poll(&pfd, 1, 60000), 1);
		assert_true((pfd.revents & POLLNVAL) == 0);
		assert_int_equal(xbdev_poll_completions(8, 0), 1);
		assert_int_equal(req->result, BLOCK);
	}
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_queue_fini(), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* ---- time limits ---- */

/* Other I/O that completes all the time does not keep a wait beyond its time. */
static void test_waits_end_in_time_beside_a_busy_chain(void **state)
{
	enum { NR = 64 };
	struct resubmit chain = {.left = INT32_MAX};
	xbdev_aio_event_t event;
	xbdev_request_t *reqs[NR], *hung;
	int fd, slow;

	init_with(2, true); /* a poll of one always finds one */
	assert_int_equal(xbdev_config_null(1, BLOCK, "null"), 0);
	make_slow("slow", 1, HOUR_US);
	fd = open_must("null");
	slow = open_must("slow");
	for (int i = 0; i < NR; i++) {
		reqs[i] = new_request(fd, XBDEV_OP_READ, 0);
		reqs[i]->user_cb = on_resubmit;
		reqs[i]->user_arg = &chain;
		assert_int_equal(xbdev_request_submit(reqs[i]), 0);
	}
	hung = new_request(slow, XBDEV_OP_READ, 0);
	assert_int_equal(xbdev_request_submit(hung), 0);
	assert_int_equal(xbdev_request_wait(hung, 20000), -ETIMEDOUT);
	assert_int_equal(xbdev_aio_get_events(&event, 1, 20000), 0);
	cancel(hung);
	assert_int_equal(hung->result, -ECANCELED);
	atomic_store(&chain.must_stop, true);
	for (int i = 0; i < NR; i++) {
		assert_int_equal(xbdev_request_wait(reqs[i], FOREVER), 0);
		assert_int_equal(xbdev_request_free(reqs[i]), 0);
	}
	assert_int_equal(xbdev_request_free(hung), 0);
	assert_int_equal(xbdev_fini(), 0);
}

static void *wait_for_queue(void *arg)
{
	struct queue_user *user = arg;

	atomic_store(&user->is_in, true);
	user->result = xbdev_io_queue_wait(user->queue);
	atomic_store(&user->is_in, false);
	return NULL;
}

/* A poll of a queue that another thread has ends in its own time: while that one waits, and what it
 * waits for takes an hour. */
static void test_poll_of_a_queue_that_is_taken_ends_in_time(void **state)
{
	struct queue_user user = {0};
	pthread_t thread;

	init_with(1, false);
	make_slow("slow", 0, HOUR_US);
	user.fd = open_must("slow");
	user.queue = xbdev_io_queue_create("taken", 8, 0);
	user.req = new_request(user.fd, XBDEV_OP_READ, 0);
	assert_int_equal(xbdev_io_queue_submit_request(user.queue, user.req), 0);
	thread = start_thread(wait_for_queue, &user);
	while (!atomic_load(&user.is_in)) {
		rest_us(1000);
	}
	rest_us(50000);
	assert_int_equal(xbdev_io_queue_poll(user.queue, 1, 1000), 0);
	assert_true(atomic_load(&user.is_in));
	assert_int_equal(xbdev_close(user.fd), 0);
	pthread_join(thread, NULL);
	assert_int_equal(user.result, 0);
	assert_int_equal(user.req->result, -ECANCELED);
	assert_int_equal(xbdev_request_free(user.req), 0);
	assert_int_equal(xbdev_io_queue_destroy(user.queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* ---- a queue in embedded mode, with I/O on another reactor ---- */

/* The canceller sleeps in its reactor, and another one knows that the cancel has been asked for. */
static void test_embedded_cancel_on_another_reactor(void **state)
{
	struct queue_user user = {0};

	init_with(2, true);
	make_slow("slow", 1, HOUR_US);
	user.fd = open_must("slow");
	user.queue = xbdev_io_queue_create("embedded", 8, 0);
	user.req = new_request(user.fd, XBDEV_OP_READ, 0);
	for (int i = 0; i < 100; i++) {
		pthread_join(start_thread(submit_to_queue, &user), NULL);
		assert_int_equal(user.result, 0);
		assert_int_equal(xbdev_io_queue_cancel_request(user.queue, user.req), 0);
		/* It may have met the I/O before the delay. */
		assert_true(user.req->result == -ECANCELED || user.req->result == (int)BLOCK);
	}
	assert_int_equal(xbdev_request_free(user.req), 0);
	assert_int_equal(xbdev_io_queue_destroy(user.queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

#define NR_TURNS 30000u
#define TURNS_MS 3000 /* on a busy machine there are fewer of them */

struct submitter {
	int queue, fd;
	xbdev_request_t *req;
	_Atomic uint32_t turn; /* odd: the submitter's */
	_Atomic bool must_stop;
};

static void *submit_in_turn(void *arg)
{
	struct submitter *s = arg;

	for (uint32_t i = 0;; i++) {
		while (atomic_load(&s->turn) != 2 * i + 1) {
			if (atomic_load(&s->must_stop)) {
				return NULL;
			}
			sched_yield();
		}
		MUST(xbdev_io_queue_submit_request(s->queue, s->req) == 0);
		atomic_store(&s->turn, 2 * i + 2);
	}
}

/* The completion comes at any moment of a wait's beginning, also between its last look and its
 * sleep. */
static void test_embedded_wait_hears_of_another_reactor(void **state)
{
	struct question q = {.name = "memory"};
	struct submitter s = {.fd = -1};
	pthread_t thread;
	uint64_t end_ms;

	init_with(2, true);
	do {
		MUST(s.fd < 0 || (xbdev_close(s.fd) == 0 && xbdev_config_remove("memory") == 0));
		MUST(xbdev_config_malloc(1, BLOCK, "memory") == 0);
		s.fd = open_must("memory");
		ask(&q, 0, on_owner_question);
	} while (q.answer != 1);
	s.queue = xbdev_io_queue_create("embedded", 8, 0);
	s.req = new_request(s.fd, XBDEV_OP_READ, 0);
	thread = start_thread(submit_in_turn, &s);
	end_ms = now_ms() + TURNS_MS;
	for (uint32_t i = 0; i < NR_TURNS && now_ms() < end_ms; i++) {
		atomic_store(&s.turn, 2 * i + 1);
		while (atomic_load(&s.turn) != 2 * i + 2) {
			sched_yield();
		}
		for (uint32_t j = 0; j < i % 512; j++) {
			api_relax();
		}
		assert_int_equal(xbdev_io_queue_wait(s.queue), 0);
		assert_int_equal(s.req->result, BLOCK);
	}
	atomic_store(&s.must_stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(xbdev_request_free(s.req), 0);
	assert_int_equal(xbdev_io_queue_destroy(s.queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* ---- flushing a queue ---- */

struct injection {
	struct xr_msg msg;
	const char *name;
	struct xbdev_error_rule rule;
	_Atomic bool is_done;
};

static void on_injected(void *arg)
{
	atomic_store(&((struct injection *)arg)->is_done, true);
}

static void on_inject(struct xr_msg *msg)
{
	struct injection *injection = xu_container_of(msg, struct injection, msg);

	MUST(xbdev_error_inject(xbdev_device_find(api_lib.ctx, injection->name), &injection->rule,
		     on_injected, injection, NULL) == 0);
}

static void inject(const char *name, const struct xbdev_error_rule *rule)
{
	struct injection injection = {.msg.fn = on_inject, .name = name, .rule = *rule};

	xr_msg_send(xbdev_ctx_control(api_lib.ctx), &injection.msg);
	while (!atomic_load(&injection.is_done)) {
		rest_us(100);
	}
}

static void write_through(int queue, int fd)
{
	xbdev_request_t *req = new_request(fd, XBDEV_OP_WRITE, 0);
	int result = 0;

	req->user_cb = on_free;
	req->user_arg = &result;
	assert_int_equal(xbdev_io_queue_submit_request(queue, req), 0);
	assert_int_equal(xbdev_io_queue_poll(queue, 1, FOREVER), 1);
	assert_int_equal(result, BLOCK);
}

/* A flush that failed is still owed. */
static void test_queue_flush_is_not_forgotten_when_it_fails(void **state)
{
	const struct xbdev_error_rule rule = {
		.kind = XBDEV_ERROR_FAIL, .ops_mask = 1u << XBDEV_OP_FLUSH, .count = 2};
	int fd, queue;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "base"), 0);
	make("{'driver': 'error', 'name': 'bad', 'base': 'base'}");
	fd = open_must("bad");
	queue = xbdev_io_queue_create("flushed", 8, 0);
	write_through(queue, fd);
	inject("bad", &rule);
	assert_int_equal(xbdev_io_queue_flush(queue), -EIO);
	assert_int_equal(xbdev_io_queue_flush(queue), -EIO);
	assert_int_equal(xbdev_io_queue_flush(queue), 0);
	inject("bad", &rule);
	assert_int_equal(xbdev_io_queue_flush(queue), 0); /* nothing was written since */
	assert_int_equal(xbdev_io_queue_destroy(queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* The descriptor was closed and its number opened anew: another device's flush is no answer. */
static void test_queue_flush_knows_a_descriptor_that_was_closed(void **state)
{
	int fd, queue;

	init_with(1, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "b"), 0);
	fd = open_must("a");
	queue = xbdev_io_queue_create("flushed", 8, 0);
	write_through(queue, fd);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_open("b"), fd);
	assert_int_equal(xbdev_io_queue_flush(queue), -EBADF);
	write_through(queue, fd);
	assert_int_equal(xbdev_io_queue_flush(queue), 0);
	write_through(queue, fd);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_open("a"), fd);
	write_through(queue, fd);
	assert_int_equal(xbdev_io_queue_flush(queue), -EBADF);
	assert_int_equal(xbdev_io_queue_flush(queue), 0);
	assert_int_equal(xbdev_io_queue_destroy(queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* ---- over the reactors ---- */

static void on_messages_question(struct xr_msg *msg)
{
	struct question *q = xu_container_of(msg, struct question, msg);
	struct xr_reactor_stats stats;

	xr_reactor_stats_get(xr_reactor_current(), &stats);
	q->answer = (uint32_t)stats.nr_messages;
	atomic_store(&q->is_done, true);
}

#define NR_READERS 6u

/* None has ended before each has its reactor. */
static pthread_barrier_t all_read;

static void *read_many(void *arg)
{
	char buf[BLOCK];

	for (int i = 0; i < 500; i++) {
		MUST(xbdev_read(*(int *)arg, buf, BLOCK, 0) == BLOCK);
		if (i == 0) {
			pthread_barrier_wait(&all_read);
		}
	}
	return NULL;
}

/* A device that every reactor can serve is served by every reactor. */
static void test_threads_are_spread_over_the_reactors(void **state)
{
	for (int round = 0; round < 2; round++) {
		pthread_t threads[NR_READERS];
		int fd;

		init_with(3, false);
		assert_int_equal(xbdev_config_null(1, BLOCK, "null"), 0);
		fd = open_must("null");
		assert_int_equal(pthread_barrier_init(&all_read, NULL, NR_READERS), 0);
		for (uint32_t i = 0; i < NR_READERS; i++) {
			threads[i] = start_thread(read_many, &fd);
		}
		for (uint32_t i = 0; i < NR_READERS; i++) {
			pthread_join(threads[i], NULL);
		}
		pthread_barrier_destroy(&all_read);
		for (uint32_t i = 0; i < 3; i++) {
			struct question q;

			ask(&q, i, on_messages_question);
			assert_true(q.answer >= 900);
		}
		assert_int_equal(xbdev_fini(), 0);
	}
}

struct sync_reader {
	pthread_t thread;
	int fd;
	ssize_t result;
};

static void *read_once(void *arg)
{
	struct sync_reader *reader = arg;
	char buf[BLOCK];

	reader->result = xbdev_read(reader->fd, buf, BLOCK, 0);
	return NULL;
}

/* More synchronous calls than a reactor has I/Os for hang at one device: calls to others are done,
 * and all that hang end with their device. */
static void test_many_sync_calls_that_hang_are_in_nobodys_way(void **state)
{
	enum { NR = 560 };
	struct sync_reader *readers = calloc(NR, sizeof(*readers));
	pthread_attr_t attr;
	char buf[BLOCK];
	int healthy;

	init_with(1, false);
	make_slow("slow", 0, HOUR_US);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	healthy = open_must("a");
	readers[0].fd = open_must("slow");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (int i = 0; i < NR; i++) {
		readers[i].fd = readers[0].fd;
		MUST(pthread_create(&readers[i].thread, &attr, read_once, &readers[i]) == 0);
	}
	for (int i = 0; i < 100; i++) {
		rest_us(1000);
		assert_int_equal(xbdev_read(healthy, buf, BLOCK, 0), BLOCK);
	}
	assert_int_equal(xbdev_config_remove("slow"), 0);
	for (int i = 0; i < NR; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].result, -ENODEV);
	}
	pthread_attr_destroy(&attr);
	assert_int_equal(xbdev_fini(), 0);
	free(readers);
}

/* ---- the library ends ---- */

enum { NR_WAITERS = 6 };

struct waiter {
	pthread_t thread;
	int kind;
	int fd;
	int queue;
	_Atomic bool is_in;
	/* Not on the thread's stack: who is told -ESHUTDOWN has I/O that is still out. */
	char buf[BLOCK];
	bool is_back; /* the I/O has completed: nobody writes to `buf` any more */
};

#define BACK_BYTE 0x5a

static int waited_result;

static void note_back(struct waiter *waiter)
{
	waiter->is_back = true;
	memset(waiter->buf, BACK_BYTE, sizeof(waiter->buf));
}

static void check_back(const struct waiter *waiter)
{
	for (size_t i = 0; waiter->is_back && i < sizeof(waiter->buf); i++) {
		assert_int_equal(waiter->buf[i], BACK_BYTE);
	}
}

/* Each way of waiting for I/O that hangs. */
static void *wait_somehow(void *arg)
{
	struct waiter *waiter = arg;
	xbdev_request_t *req = new_request(waiter->fd, XBDEV_OP_READ, 0);
	xbdev_aio_event_t event;
	ssize_t rc;

	atomic_store(&waiter->is_in, true);
	switch (waiter->kind) {
	case 0:
		rc = xbdev_read(waiter->fd, waiter->buf, BLOCK, 0);
		MUST(rc == -ECANCELED || rc == -ESHUTDOWN || rc == -EBADF);
		note_back(waiter);
		break;
	case 1:
		if (xbdev_request_submit(req) == 0) {
			rc = xbdev_request_wait(req, FOREVER);
			MUST(rc == 0 ? req->result < 0 : rc == -ESHUTDOWN);
		}
		break;
	case 2:
		if (xbdev_request_submit(req) == 0) {
			rc = xbdev_poll_completions(8, FOREVER);
			MUST(rc == 1 || rc == -ESHUTDOWN);
		}
		break;
	case 3:
		req->user_cb = on_free; /* whoever reaps it */
		req->user_arg = &waited_result;
		if (xbdev_io_queue_submit_request(waiter->queue, req) == 0) {
			rc = xbdev_io_queue_wait(waiter->queue);
			MUST(rc == 0 || rc == -ESHUTDOWN);
			return NULL;
		}
		break;
	case 4:
		if (xbdev_aio_read(waiter->fd, waiter->buf, BLOCK, 0, waiter) == 0 &&
			xbdev_aio_submit() == 1) {
			rc = xbdev_aio_get_events(&event, 1, FOREVER);
			MUST(rc == 1 ? event.result < 0 : rc == -ESHUTDOWN);
			if (rc == 1) {
				note_back(waiter);
			}
		}
		break;
	default:
		rc = xbdev_close(waiter->fd);
		MUST(rc == 0 || rc == -ESHUTDOWN || rc == -EBADF);
		break;
	}
	return req;
}

/* All of them at once, each seeing the end at another point. */
static void test_fini_lets_everybody_out(void **state)
{
	int queue = xbdev_io_queue_create("waited", 8, 0);

	for (int round = 0; round < 2 * 2; round++) {
		struct waiter waiters[NR_WAITERS];
		uint64_t start_ms;
		int fd;

		init_with(1 + (uint32_t)round % 2, false);
		make_slow("slow", (uint32_t)round % 2, HOUR_US);
		fd = open_must("slow");
		while (xbdev_io_queue_poll(queue, 8, 0) > 0) {
		}
		for (int i = 0; i < NR_WAITERS; i++) {
			/* The closer on every second round only. */
			int kind = i == 5 && round % 2 == 0 ? 0 : i;

			waiters[i] = (struct waiter){.kind = kind, .fd = fd, .queue = queue};
			waiters[i].thread = start_thread(wait_somehow, &waiters[i]);
		}
		for (int i = 0; i < NR_WAITERS && round / 2 != 0; i++) {
			while (!atomic_load(&waiters[i].is_in)) {
				rest_us(100);
			}
		}
		rest_us(round / 2 * 10000);
		start_ms = now_ms();
		assert_int_equal(xbdev_fini(), 0);
		assert_true(now_ms() - start_ms < 9000);
		for (int i = 0; i < NR_WAITERS; i++) {
			void *req;

			pthread_join(waiters[i].thread, &req);
			assert_int_equal(xbdev_request_free(req), 0);
			check_back(&waiters[i]);
		}
	}
	init_with(1, false);
	while (xbdev_io_queue_poll(queue, 8, 0) > 0) {
	}
	assert_int_equal(xbdev_io_queue_destroy(queue), 0);
	assert_int_equal(xbdev_fini(), 0);
}

struct visitor {
	pthread_t thread;
	unsigned index;
	_Atomic bool must_stop;
	unsigned nr_done;
};

static bool is_expected(ssize_t rc)
{
	return rc == BLOCK || rc == -ESHUTDOWN || rc == -EBADF || rc == -ENODEV || rc == -ECANCELED;
}

/* Opens, reads, makes queues and destroys them, whatever the library does. */
static void *come_and_go(void *arg)
{
	struct visitor *visitor = arg;
	char buf[BLOCK], name[16];
	unsigned seed = visitor->index + 1;

	snprintf(name, sizeof(name), "v%u", visitor->index);
	while (!atomic_load(&visitor->must_stop)) {
		int queue = xbdev_io_queue_create(name, 8, 0);
		int fd = xbdev_open("a");

		MUST(fd >= 0 || fd == -ESHUTDOWN || fd == -ENODEV);
		if (fd >= 0) {
			ssize_t rc = xbdev_read(fd, buf, BLOCK, 0);

			MUST(is_expected(rc));
			visitor->nr_done += rc == BLOCK;
		}
		if (queue >= 0 && fd >= 0) {
			xbdev_request_t *req = new_request(fd, XBDEV_OP_READ, 0);
			int rc = xbdev_io_queue_submit_request(queue, req);

			MUST(rc == 0 || rc == -ESHUTDOWN || rc == -EBADF);
			if (rc == 0 && rand_r(&seed) % 2 == 0) {
				xbdev_io_queue_wait(queue);
			}
			while (rc == 0 && req->result == -EINPROGRESS) {
				MUST(xbdev_io_queue_poll(queue, 1, 1000) >= -ESHUTDOWN);
			}
			MUST(rc != 0 || is_expected(req->result));
			MUST(xbdev_request_free(req) == 0);
		}
		while (queue >= 0 && xbdev_io_queue_destroy(queue) != 0) {
			rest_us(50); /* the library does not run just now */
		}
		if (rand_r(&seed) % 4 == 0) {
			xbdev_queue_init(1 + (uint32_t)rand_r(&seed) % 64, 256);
			xbdev_poll_completions(1, 0);
		}
		if (fd >= 0 && rand_r(&seed) % 2 == 0) {
			int rc = xbdev_close(fd);

			MUST(rc == 0 || rc == -ESHUTDOWN || rc == -EBADF);
		}
		if (fd < 0) {
			rest_us(20);
		}
	}
	return NULL;
}

/* Nothing of one round is left over in the next: each begins with descriptor 0. */
static void test_library_ends_and_begins_under_threads(void **state)
{
	struct visitor visitors[4];
	unsigned nr_done = 0;

	for (unsigned i = 0; i < 4; i++) {
		visitors[i] = (struct visitor){.index = i};
		visitors[i].thread = start_thread(come_and_go, &visitors[i]);
	}
	for (uint32_t round = 0; round < 60; round++) {
		int fd;

		init_with(1 + round % 3, false);
		fd = xbdev_config_malloc(1, BLOCK, "b");
		assert_int_equal(fd, 0);
		/* Nobody else opens this one, and nobody can have opened "a" yet. */
		fd = xbdev_open("b");
		assert_int_equal(fd, 0);
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
		rest_us((long)(round % 10) * 1000);
		assert_int_equal(xbdev_fini(), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		atomic_store(&visitors[i].must_stop, true);
	}
	init_with(1, false);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(visitors[i].thread, NULL);
		nr_done += visitors[i].nr_done;
	}
	assert_int_equal(xbdev_fini(), 0);
	assert_true(nr_done != 0);
	assert_int_equal(xbdev_queue_fini(), 0);
}

static void *leave_hanging(void *arg)
{
	static char buf[32][BLOCK];

	for (int i = 0; i < 32; i++) {
		MUST(xbdev_aio_read(*(int *)arg, buf[i], BLOCK, 0, NULL) == 0);
	}
	MUST(xbdev_aio_submit() == 32);
	return NULL;
}

/* Queues of threads that are gone keep I/O that does not end by itself. */
static void test_fini_after_threads_that_left_io_hanging(void **state)
{
	for (uint32_t round = 0; round < 2; round++) {
		int fd;

		init_with(2, false);
		make_slow("slow", round, HOUR_US);
		fd = open_must("slow");
		for (int i = 0; i < 10; i++) {
			pthread_join(start_thread(leave_hanging, &fd), NULL);
		}
		assert_int_equal(xbdev_fini(), 0);
	}
}

struct left {
	int slow, fast;
	xbdev_request_t *hangs, *completes;
	_Atomic int nr_callbacks;
};

static void on_left(xbdev_request_t *req, int result, void *arg)
{
	(void)req;
	(void)result;
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static void *leave_requests(void *arg)
{
	struct left *left = arg;

	left->hangs = new_request(left->slow, XBDEV_OP_READ, 0);
	left->completes = new_request(left->fast, XBDEV_OP_READ, 1);
	left->hangs->user_cb = left->completes->user_cb = on_left;
	left->hangs->user_arg = left->completes->user_arg = &left->nr_callbacks;
	MUST(xbdev_request_submit(left->hangs) == 0);
	MUST(xbdev_request_submit(left->completes) == 0);
	return NULL;
}

/* 0 or the error after some seconds of trying. */
static int free_in_time(xbdev_request_t *req)
{
	int rc = xbdev_request_free(req);

	for (int i = 0; i < 60000 && rc == -EBUSY; i++) {
		rest_us(1000);
		rc = xbdev_request_free(req);
	}
	return rc;
}

/* They can be freed when the devices have given them back, though nobody reaps them. */
static void test_requests_of_a_thread_that_has_ended_are_freed(void **state)
{
	for (uint32_t round = 0; round < 8; round++) {
		struct left left = {0};

		init_with(1 + round % 2, false);
		make_slow("slow", 0, HOUR_US);
		assert_int_equal(xbdev_config_null(1, BLOCK, "fast"), 0);
		left.slow = open_must("slow");
		left.fast = open_must("fast");
		pthread_join(start_thread(leave_requests, &left), NULL);
		assert_int_equal(free_in_time(left.completes), 0);
		assert_int_equal(xbdev_request_free(left.hangs), -EBUSY);
		assert_int_equal(xbdev_request_wait(left.hangs, 0), -EINVAL);
		if (round < 4) {
			assert_int_equal(xbdev_config_remove("slow"), 0);
			assert_int_equal(free_in_time(left.hangs), 0);
			assert_int_equal(xbdev_fini(), 0);
		} else {
			assert_int_equal(xbdev_fini(), 0);
			assert_int_equal(xbdev_request_free(left.hangs), 0);
		}
		assert_int_equal(atomic_load(&left.nr_callbacks), 0);
	}
}

static void *count_users(void *arg)
{
	for (int i = 0; i < 300; i++) {
		int rc = xbdev_init();

		MUST(rc == 0);
		if (i % 3 == 0) {
			rc = xbdev_config_null(1, BLOCK, "null");
			MUST(rc == 0 || rc == -EEXIST);
			rc = xbdev_open("null");
			MUST(rc >= 0 || rc == -ENODEV);
			MUST(rc < 0 || xbdev_close(rc) == 0);
		}
		MUST(xbdev_fini() == 0);
	}
	return NULL;
}

static void test_each_user_of_the_library_counts(void **state)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++) {
		threads[i] = start_thread(count_users, NULL);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
	}
	assert_int_equal(xbdev_fini(), -ESHUTDOWN);
}

/* ---- cancelling, timeouts, removal and closing under load ---- */

enum { NR_LOADERS = 4, LOAD_DEPTH = 16 };

struct loader {
	pthread_t thread;
	unsigned seed;
	const char *device;
	_Atomic int *shared_fd; /* closed and opened anew by somebody else; NULL: its own */
	_Atomic bool must_stop;
	bool may_cancel;
	unsigned nr_done, nr_cancelled, nr_late, nr_gone;
	struct load_slot {
		xbdev_request_t *req;
		struct loader *loader;
		bool is_busy;
	} slots[LOAD_DEPTH];
};

static void on_load(xbdev_request_t *req, int result, void *arg)
{
	struct load_slot *slot = arg;
	struct loader *loader = slot->loader;

	MUST(slot->is_busy && req->result == result);
	slot->is_busy = false;
	loader->nr_done += result == BLOCK;
	loader->nr_cancelled += result == -ECANCELED;
	loader->nr_late += result == -ETIMEDOUT;
	loader->nr_gone += result == -ENODEV || result == -EBADF;
	MUST(is_expected(result) || result == -ETIMEDOUT);
}

static void load_once(struct loader *loader, int fd)
{
	struct load_slot *slot = &loader->slots[(unsigned)rand_r(&loader->seed) % LOAD_DEPTH];
	int rc;

	if (slot->is_busy) {
		if (loader->may_cancel && rand_r(&loader->seed) % 2 == 0) {
			cancel(slot->req);
			MUST(!slot->is_busy);
		} else {
			MUST(xbdev_poll_completions(4, 1000000) >= 0);
		}
		return;
	}
	slot->req->fd = fd;
	slot->req->op_type = rand_r(&loader->seed) % 4 == 0 ? XBDEV_OP_WRITE : XBDEV_OP_READ;
	slot->req->offset = (uint64_t)(rand_r(&loader->seed) % 256) * BLOCK;
	slot->req->timeout_us = loader->may_cancel && rand_r(&loader->seed) % 4 == 0
					? 1 + (unsigned)rand_r(&loader->seed) % 200
					: 0;
	slot->is_busy = true;
	rc = xbdev_request_submit(slot->req);
	if (rc != 0) {
		slot->is_busy = false;
		loader->nr_gone++;
		MUST(rc == -EBADF);
	}
}

static void *load(void *arg)
{
	struct loader *loader = arg;
	int fd = loader->shared_fd == NULL ? open_must(loader->device) : -1;

	for (int i = 0; i < LOAD_DEPTH; i++) {
		loader->slots[i].loader = loader;
		loader->slots[i].req = new_request(fd, XBDEV_OP_READ, 0);
		loader->slots[i].req->user_cb = on_load;
		loader->slots[i].req->user_arg = &loader->slots[i];
	}
	while (!atomic_load(&loader->must_stop)) {
		load_once(loader, fd >= 0 ? fd : atomic_load(loader->shared_fd));
	}
	for (int i = 0; i < LOAD_DEPTH; i++) {
		struct load_slot *slot = &loader->slots[i];

		MUST(!slot->is_busy || xbdev_request_wait(slot->req, FOREVER) == 0);
		MUST(!slot->is_busy && xbdev_request_free(slot->req) == 0);
	}
	MUST(fd < 0 || xbdev_close(fd) == 0);
	return NULL;
}

static void start_loaders(struct loader *loaders, const struct loader *like)
{
	for (unsigned i = 0; i < NR_LOADERS; i++) {
		loaders[i] = *like;
		loaders[i].seed = i + 1;
		loaders[i].thread = start_thread(load, &loaders[i]);
	}
}

static void stop_loaders(struct loader *loaders)
{
	for (unsigned i = 0; i < NR_LOADERS; i++) {
		atomic_store(&loaders[i].must_stop, true);
	}
	for (unsigned i = 0; i < NR_LOADERS; i++) {
		pthread_join(loaders[i].thread, NULL);
	}
}

static uint64_t cpu_us(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Reactors that were busy rest when nothing is left to do. */
static void check_rest(void)
{
	uint64_t end_ms = now_ms() + REST_MS, start_us;

	/* On a busy machine it may take them a while to come to the end of it. */
	do {
		assert_true(now_ms() < end_ms);
		rest_us(5000);
		start_us = cpu_us();
		rest_us(50000);
	} while (cpu_us() - start_us > 20000);
}

/* The request to cancel, the timeout and the end of the I/O cross each other, on the thread's own
 * reactor and on another. */
static void test_cancel_and_timeout_cross_the_end(void **state)
{
	for (uint32_t owner = 0; owner < 2; owner++) {
		struct loader *loaders = calloc(NR_LOADERS, sizeof(*loaders));
		unsigned nr_done = 0, nr_cancelled = 0, nr_late = 0;

		init_with(2, false);
		make_slow("slow", owner, 60);
		start_loaders(loaders, &(struct loader){.device = "slow", .may_cancel = true});
		rest_us(500000);
		stop_loaders(loaders);
		for (unsigned i = 0; i < NR_LOADERS; i++) {
			nr_done += loaders[i].nr_done;
			nr_cancelled += loaders[i].nr_cancelled;
			nr_late += loaders[i].nr_late;
		}
		assert_true(nr_done != 0 && nr_cancelled != 0 && nr_late != 0);
		check_rest();
		assert_int_equal(xbdev_fini(), 0);
		free(loaders);
	}
}

/* The device goes and comes again under sync and async I/O. */
static void test_removal_under_load(void **state)
{
	struct loader *loaders = calloc(NR_LOADERS, sizeof(*loaders));
	_Atomic int fd;
	unsigned nr_done = 0, nr_gone = 0;

	init_with(2, false);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
	atomic_init(&fd, open_must("a"));
	start_loaders(loaders, &(struct loader){.shared_fd = &fd});
	for (int i = 0; i < 60; i++) {
		char buf[BLOCK];
		int old = atomic_load(&fd);

		rest_us(2000);
		MUST(xbdev_read(old, buf, BLOCK, 0) == BLOCK);
		assert_int_equal(xbdev_config_remove("a"), 0);
		MUST(xbdev_read(old, buf, BLOCK, 0) == -ENODEV);
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "a"), 0);
		atomic_store(&fd, open_must("a"));
		assert_int_equal(xbdev_close(old), 0);
	}
	stop_loaders(loaders);
	for (unsigned i = 0; i < NR_LOADERS; i++) {
		nr_done += loaders[i].nr_done;
		nr_gone += loaders[i].nr_gone;
	}
	assert_true(nr_done != 0 && nr_gone != 0);
	assert_int_equal(xbdev_fini(), 0);
	free(loaders);
}

/* Descriptors are closed under load, with I/O that has to be cancelled first. */
static void test_close_under_load(void **state)
{
	struct loader *loaders = calloc(NR_LOADERS, sizeof(*loaders));
	_Atomic int fd;

	init_with(2, false);
	make_slow("slow", 1, 20);
	atomic_init(&fd, open_must("slow"));
	start_loaders(loaders, &(struct loader){.shared_fd = &fd, .may_cancel = true});
	for (int i = 0; i < 200; i++) {
		int old = atomic_load(&fd);

		atomic_store(&fd, open_must("slow"));
		rest_us(i % 2 == 0 ? 500 : 0);
		assert_int_equal(xbdev_close(old), 0);
	}
	stop_loaders(loaders);
	assert_int_equal(xbdev_fini(), 0);
	free(loaders);
}

struct closer {
	int fd;
	int rc;
};

static void *close_it(void *arg)
{
	struct closer *closer = arg;

	closer->rc = xbdev_close(closer->fd);
	return NULL;
}

/* The grace of a closer ends just when the last I/O does. */
static void test_close_meets_the_end_of_its_grace(void **state)
{
	enum { NR = 24 };
	struct closer closers[NR];
	pthread_t threads[NR];
	xbdev_request_t *reqs[NR];

	init_with(2, false);
	make_slow("slow", 1, 1000000);
	for (int i = 0; i < NR; i++) {
		closers[i].fd = open_must("slow");
		reqs[i] = new_request(closers[i].fd, XBDEV_OP_READ, 0);
		assert_int_equal(xbdev_request_submit(reqs[i]), 0);
		rest_us(i % 2 * 20);
		threads[i] = start_thread(close_it, &closers[i]);
	}
	for (int i = 0; i < NR; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(closers[i].rc, 0);
		assert_int_equal(xbdev_request_wait(reqs[i], FOREVER), 0);
		assert_true(reqs[i]->result == BLOCK || reqs[i]->result == -ECANCELED);
		assert_int_equal(xbdev_request_free(reqs[i]), 0);
	}
	assert_int_equal(xbdev_fini(), 0);
}

#define race_test(f) cmocka_unit_test_setup(f, watch)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		race_test(test_embedded_wait_sees_what_the_kernel_completes),
		race_test(test_embedded_wait_is_woken_by_other_reactors),
		race_test(test_embedded_thread_drives_its_reactor_while_a_queue_is_taken),
		race_test(test_staged_io_outlives_the_library),
		race_test(test_staged_write_does_not_start_with_a_request),
		race_test(test_callbacks_request_starts_beside_staged_io),
		race_test(test_cancel_ends_the_request_and_nothing_else),
		race_test(test_request_refuses_buffers_beyond_the_count),
		race_test(test_cancel_of_a_request_of_the_last_round),
		race_test(test_queue_is_not_replaced_under_its_callbacks),
		race_test(test_eventfd_outlives_a_change_of_settings),
		race_test(test_waits_end_in_time_beside_a_busy_chain),
		race_test(test_poll_of_a_queue_that_is_taken_ends_in_time),
		race_test(test_embedded_cancel_on_another_reactor),
		race_test(test_embedded_wait_hears_of_another_reactor),
		race_test(test_queue_flush_is_not_forgotten_when_it_fails),
		race_test(test_queue_flush_knows_a_descriptor_that_was_closed),
		race_test(test_threads_are_spread_over_the_reactors),
		race_test(test_many_sync_calls_that_hang_are_in_nobodys_way),
		race_test(test_fini_lets_everybody_out),
		race_test(test_library_ends_and_begins_under_threads),
		race_test(test_fini_after_threads_that_left_io_hanging),
		race_test(test_requests_of_a_thread_that_has_ended_are_freed),
		race_test(test_each_user_of_the_library_counts),
		race_test(test_cancel_and_timeout_cross_the_end),
		race_test(test_removal_under_load),
		race_test(test_close_under_load),
		race_test(test_close_meets_the_end_of_its_grace),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests_name("xbdev_api_races", tests, NULL, NULL);
}
