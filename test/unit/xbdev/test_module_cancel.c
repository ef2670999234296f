/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/module.c: a request to cancel an I/O reaches the module while it has the I/O,
 * and not when it has completed it and the end is only on its way home. The module is in this
 * program, so that the test decides when it completes.
 */
#include <xbdev/module.h>

#include "lib/xbdev/driver/module.h"
#include "test/unit/xbdev/harness.h"

static const struct xbdev_module_host *host;
static struct xbdev_module_io *held; /* the I/O that the module has */
static uint32_t nr_cancels;

static int load(const struct xbdev_module_host *given)
{
	host = given;
	return 0;
}

static int open_device(struct xbdev_module_device *device, const union xbdev_module_value *values,
	struct xbdev_module_geometry *ret_geometry, void **ret_data, char *error, size_t error_size)
{
	(void)device;
	(void)values;
	(void)error;
	(void)error_size;
	*ret_data = NULL;
	*ret_geometry = (struct xbdev_module_geometry){
		.size_bytes = 1u << 20,
		.block_size = 512,
		.buffer_align = 1,
		.max_transfer = 64u << 10,
		.max_iov = 16,
		.queue_depth = 32,
		.ops = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH,
	};
	return 0;
}

static void close_device(void *data)
{
	(void)data;
}

static void submit(void *data, void *channel, struct xbdev_module_io *io)
{
	(void)data;
	(void)channel;
	held = io;
}

static void cancel(void *data, void *channel, struct xbdev_module_io *io)
{
	(void)data;
	(void)channel;
	assert_ptr_equal(io, held);
	nr_cancels++;
}

static const struct xbdev_module_param params[] = {{0}};

static const struct xbdev_module module = {
	.abi = XBDEV_MODULE_ABI,
	.size = sizeof(struct xbdev_module),
	.name = "held",
	.help = "holds its I/O until the test lets it go",
	.params = params,
	.load = load,
	.open = open_device,
	.close = close_device,
	.submit = submit,
	.cancel = cancel,
};

static void end_held(int status)
{
	struct xbdev_module_io *io = held;

	held = NULL;
	host->complete(io, status);
}

static void test_module_is_asked_to_cancel_what_it_has(void **state)
{
	const struct xbdev_driver *driver;
	struct xu_error err = {0};
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct harness_io hio;
	struct harness h;
	char buf[512];

	(void)state;
	assert_int_equal(xbdev__module_wrap(&module, &driver, &err), 0);
	assert_int_equal(xbdev_driver_add(driver), 0);
	harness_start(&h, 1, 1);
	harness_create(&h, "held", "{'name': 'h'}");
	desc = harness_open(&h, "h", true);
	ch = harness_channel(&h, desc, 0);
	for (uint32_t round = 0; round < 4; round++) {
		bool is_late = round % 2 != 0;

		nr_cancels = 0;
		harness_io_set(&hio, ch, XBDEV_OP_READ, 0, buf, sizeof(buf));
		assert_int_equal(xbdev_io_submit(&hio.io), 0);
		assert_non_null(held);
		if (is_late) {
			end_held(0);
		}
		assert_int_equal(hio.nr_done, 0);
		xbdev_io_cancel(&hio.io);
		assert_int_equal(nr_cancels, is_late ? 0 : 1);
		if (!is_late) {
			end_held(-ECANCELED);
		}
		harness_wait(&h, hio.nr_done == 1);
		assert_int_equal(hio.status, is_late ? 0 : -ECANCELED);
	}
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_module_is_asked_to_cancel_what_it_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
