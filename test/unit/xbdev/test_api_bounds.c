/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public interface over a device that keeps its I/O, whatever is asked of it, like a disk that
 * does not answer: cancelling, closing, destroying a queue, removing and ending say -EBUSY at their
 * time, nothing of the I/O is touched, and all of them succeed when it has come back. Most of this
 * is waiting.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#include "lib/xbdev/api/private.h"
#include "lib/xbdev/driver/driver.h"

#define BLOCK    4096u
#define WATCHDOG 240

/* ---- the device ---- */

struct stuck_device {
	struct xbdev_device dev;
	struct xu_list held; /* the owner's */
};

struct stuck_io {
	struct xu_list link;
};

struct stuck_opts {
	const char *name;
};

static struct stuck_device *stuck;

static void stuck_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct stuck_device *device = xu_container_of(ch->dev, struct stuck_device, dev);

	xu_list_add_tail(&device->held, &xbdev_io_driver(io, struct stuck_io)->link);
}

static void stuck_destroy(struct xbdev_device *dev)
{
	free(xu_container_of(dev, struct stuck_device, dev));
	stuck = NULL;
}

static const struct xbdev_device_ops stuck_ops = {
	.submit = stuck_submit, .destroy = stuck_destroy, .config = xbdev__config_common};

static void stuck_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct stuck_opts *opts = opts_ptr;
	struct xu_error err = {0};

	stuck = calloc(1, sizeof(*stuck));
	stuck->dev.driver = "stuck";
	stuck->dev.product = "stuck device";
	stuck->dev.ops = &stuck_ops;
	stuck->dev.limits = (struct xbdev_limits){.block_size = BLOCK,
		.buf_align = 1,
		.max_transfer = 1u << 20,
		.max_iov = 16,
		.max_zeroes = 1u << 20,
		.queue_depth = 16};
	stuck->dev.ops_mask =
		(1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) | (1u << XBDEV_OP_FLUSH);
	stuck->dev.owner = xbdev_ctx_reactor(ctx, xbdev_ctx_nr_reactors(ctx) - 1);
	atomic_init(&stuck->dev.nr_blocks, 1024);
	xu_list_init(&stuck->held);
	xbdev__set_name(&stuck->dev, opts->name);
	if (xbdev_device_register(ctx, &stuck->dev, &err) != 0) {
		free(stuck);
		stuck = NULL;
	}
	done(arg, stuck != NULL ? &stuck->dev : NULL, &err);
}

static const struct xu_param stuck_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct stuck_opts, name), .is_required = true,
		.help = "name of the device"},
	{0},
};

static const struct stuck_opts stuck_defaults;

static const struct xbdev_driver stuck_driver = {
	.name = "stuck",
	.help = "keeps its I/O",
	.params = stuck_params,
	.opts_bytes = sizeof(struct stuck_opts),
	.defaults = &stuck_defaults,
	.create = stuck_create,
};

/* What it has is given back. */
static void on_release(struct xr_msg *msg)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&stuck->held)) != NULL) {
		xbdev_io_complete(
			xbdev_io_of_driver(xu_list_entry(node, struct stuck_io, link)), 0);
	}
}

static struct xr_msg release_msg = {.fn = on_release};

static void release_all(void)
{
	xr_msg_send(xbdev_ctx_reactor(api_lib.ctx, api_lib.nr_reactors - 1), &release_msg);
}

/* ---- the calls ---- */

static char buffers[8][BLOCK];

static xbdev_request_t *new_request(int fd, uint32_t index)
{
	xbdev_request_t *req = xbdev_request_alloc();

	assert_non_null(req);
	req->fd = fd;
	req->op_type = XBDEV_OP_READ;
	req->buf = buffers[index];
	req->count = BLOCK;
	return req;
}

static uint64_t now_ms(void)
{
	return api_now_ns() / XU_NS_PER_MS;
}

struct call {
	pthread_t thread;
	int (*fn)(struct call *call);
	int fd;
	int queue;
	int rc;
	uint64_t took_ms;
	_Atomic bool is_refused; /* of a cancel */
	_Atomic bool is_over;
};

static int call_close(struct call *call)
{
	return xbdev_close(call->fd);
}

static int call_destroy(struct call *call)
{
	return xbdev_io_queue_destroy(call->queue);
}

/* A timeout that the device does not heed, and a cancel that it does not either. */
static int call_cancel(struct call *call)
{
	xbdev_request_t *req = new_request(call->fd, 2);
	int rc;

	req->timeout_us = 1000;
	rc = xbdev_request_submit(req);
	if (rc == 0 && xbdev_request_wait(req, 20000) == -ETIMEDOUT) {
		rc = xbdev_request_cancel(req);
	}
	if (rc != -EBUSY || xbdev_request_free(req) != -EBUSY) {
		return 1;
	}
	atomic_store(&call->is_refused, true);
	return xbdev_request_wait(req, UINT64_MAX) == 0 && req->result == BLOCK &&
			       xbdev_request_free(req) == 0
		       ? -EBUSY
		       : 1;
}

static int call_init(struct call *call)
{
	(void)call;
	return xbdev_init();
}

static int call_fini(struct call *call)
{
	(void)call;
	return xbdev_fini();
}

static int call_read(struct call *call)
{
	return (int)xbdev_read(call->fd, buffers[3], BLOCK, 0);
}

static void *run_call(void *arg)
{
	struct call *call = arg;
	uint64_t start_ms = now_ms();

	call->rc = call->fn(call);
	call->took_ms = now_ms() - start_ms;
	atomic_store(&call->is_over, true);
	return NULL;
}

static void start_call(struct call *call)
{
	assert_int_equal(pthread_create(&call->thread, NULL, run_call, call), 0);
}

static void start_library(void)
{
	xbdev_init_options_t options = {.size = sizeof(options), .nr_reactors = 2};

	alarm(WATCHDOG);
	assert_int_equal(xbdev_driver_add(&stuck_driver), 0);
	assert_int_equal(xbdev_init_with(&options), 0);
	assert_int_equal(xbdev_config_device("{\"driver\": \"stuck\", \"name\": \"stuck\"}"), 0);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "healthy"), 0);
}

static void test_calls_end_in_time_over_a_stuck_device(void **state)
{
	enum { CLOSE, DESTROY, CANCEL, READ, NR };
	struct call calls[NR];
	xbdev_request_t *req;
	int fd, other, healthy, queue;
	char buf[BLOCK];

	start_library();
	fd = xbdev_open("stuck");
	other = xbdev_open("stuck");
	healthy = xbdev_open("healthy");
	queue = xbdev_io_queue_create("stuck", 4, 0);
	assert_true(fd >= 0 && other >= 0 && healthy >= 0 && queue >= 0);
	req = new_request(fd, 0);
	assert_int_equal(xbdev_io_queue_submit_request(queue, req), 0);
	calls[CLOSE] = (struct call){.fn = call_close, .fd = fd};
	calls[DESTROY] = (struct call){.fn = call_destroy, .queue = queue};
	calls[CANCEL] = (struct call){.fn = call_cancel, .fd = other};
	calls[READ] = (struct call){.fn = call_read, .fd = other};
	for (int i = 0; i < NR; i++) {
		start_call(&calls[i]);
	}
	for (int i = CLOSE; i <= DESTROY; i++) {
		pthread_join(calls[i].thread, NULL);
		assert_int_equal(calls[i].rc, -EBUSY);
		assert_in_range(calls[i].took_ms, 4900, 25000);
	}
	/* Others go on meanwhile, and the descriptor takes nothing any more. */
	assert_int_equal(xbdev_read(healthy, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), -EBADF);
	while (!atomic_load(&calls[CANCEL].is_refused) && !atomic_load(&calls[CANCEL].is_over)) {
		usleep(1000);
	}
	release_all();
	for (int i = CANCEL; i < NR; i++) {
		pthread_join(calls[i].thread, NULL);
	}
	assert_int_equal(calls[CANCEL].rc, -EBUSY);
	assert_int_equal(calls[READ].rc, BLOCK);
	assert_int_equal(xbdev_io_queue_poll(queue, 1, UINT64_MAX), 1);
	assert_int_equal(req->result, BLOCK);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_io_queue_destroy(queue), 0);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_close(fd), -EBADF);
	assert_int_equal(xbdev_fini(), 0);
}

static void test_fini_ends_in_time_over_a_stuck_device(void **state)
{
	struct call end = {.fn = call_fini}, visit = {.fn = call_read}, init = {.fn = call_init};
	xbdev_request_t *req;
	char buf[BLOCK];
	int fd, healthy;

	start_library();
	fd = xbdev_open("stuck");
	healthy = xbdev_open("healthy");
	req = new_request(fd, 0);
	assert_int_equal(xbdev_request_submit(req), 0);
	start_call(&end);
	while (atomic_load(&api_lib.is_up)) {
		usleep(1000);
	}
	/* Threads come and go meanwhile; a new user of the library waits. */
	visit.fd = healthy;
	start_call(&visit);
	start_call(&init);
	pthread_join(visit.thread, NULL);
	assert_int_equal(visit.rc, -ESHUTDOWN);
	assert_true(visit.took_ms < 9000); /* not until the end */
	assert_false(atomic_load(&api_lib.is_up));
	pthread_join(end.thread, NULL);
	assert_int_equal(end.rc, -EBUSY);
	assert_in_range(end.took_ms, 9900, 30000);
	pthread_join(init.thread, NULL);
	assert_int_equal(init.rc, 0);
	/* The library goes on with what was closed closed. */
	assert_int_equal(xbdev_read(healthy, buf, BLOCK, 0), -EBADF);
	healthy = xbdev_open("healthy");
	assert_true(healthy >= 0);
	assert_int_equal(xbdev_read(healthy, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_request_free(req), -EBUSY);
	release_all();
	assert_int_equal(xbdev_request_wait(req, UINT64_MAX), 0);
	assert_int_equal(req->result, BLOCK);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
	assert_int_equal(xbdev_fini(), 0);
}

/* ---- the management server ---- */

static int call_server_fini(struct call *call)
{
	return xbdev_mgmt_server_fini();
}

/* Has the server remove the device; returns when it does so. */
static int begin_removal(int port)
{
	static const char text[] = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": "
				   "\"bdev_delete\", \"params\": {\"name\": \"stuck\"}}";
	const struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(client, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(client, text, sizeof(text) - 1, MSG_NOSIGNAL), sizeof(text) - 1);
	while (xbdev_open("stuck") >= 0) {
		usleep(1000); /* until it is being removed */
	}
	return client;
}

static void test_server_ends_in_time_under_a_call_over_a_stuck_device(void **state)
{
	struct call fini = {.fn = call_server_fini};
	char answer[512] = "";
	xbdev_request_t *req;
	uint64_t start_ms;
	int fd, client;

	start_library();
	assert_int_equal(xbdev_mgmt_server_init(NULL, 0), 0);
	fd = xbdev_open("stuck");
	req = new_request(fd, 0);
	assert_int_equal(xbdev_request_submit(req), 0);
	client = begin_removal(xbdev_mgmt_server_port());
	start_call(&fini);
	while (xbdev_mgmt_server_port() >= 0) {
		usleep(1000); /* until it is being stopped */
	}
	usleep(300000);
	assert_false(atomic_load(&fini.is_over));
	/* The end of the library waits in place of the server's, and then for the device. */
	start_ms = now_ms();
	assert_int_equal(xbdev_fini(), -EBUSY);
	assert_in_range(now_ms() - start_ms, 9900, 30000);
	assert_true(atomic_load(&fini.is_over)); /* not as late as that */
	pthread_join(fini.thread, NULL);
	assert_int_equal(fini.rc, -ESHUTDOWN);
	assert_true(recv(client, answer, sizeof(answer) - 1, 0) > 0);
	assert_non_null(strstr(answer, "does not give back I/O"));
	close(client);
	assert_int_equal(xbdev_mgmt_server_port(), -ENOENT);
	release_all();
	assert_int_equal(xbdev_request_wait(req, UINT64_MAX), 0);
	assert_int_equal(xbdev_request_free(req), 0);
	assert_int_equal(xbdev_fini(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_end_in_time_over_a_stuck_device),
		cmocka_unit_test(test_fini_ends_in_time_over_a_stuck_device),
		cmocka_unit_test(test_server_ends_in_time_under_a_call_over_a_stuck_device),
	};

	return cmocka_run_group_tests_name("xbdev_api_bounds", tests, NULL, NULL);
}
