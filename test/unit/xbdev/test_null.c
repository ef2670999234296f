/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/xbdev/driver/null.c. */
#include "test/unit/xbdev/harness.h"

struct fixture {
	struct harness h;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
};

static void start(struct fixture *f, const char *params)
{
	harness_start(&f->h, 1, 1);
	f->dev = harness_create(&f->h, "null", "{'name': 'n', %s}", params);
	f->desc = harness_open(&f->h, "n", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

static void stop(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
}

static void test_null_reads_zeroes_and_forgets_writes(void **state)
{
	static const enum xbdev_op ranges[] = {XBDEV_OP_DISCARD, XBDEV_OP_WRITE_ZEROES};
	static char buf[8192];
	struct iovec iov[2] = {{buf + 1, 100}, {buf + 1000, 8192 - 100 - 4096}};
	struct fixture f;

	(void)state;
	start(&f, "'size': '1MiB'");
	memset(buf, 0x55, sizeof(buf));
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, buf, 4096, XBDEV_IO_FUA), 0);
	assert_int_equal(harness_iov(&f.h, f.ch, XBDEV_OP_READ, 0, iov, 2, 4096, 0), 0);
	/* The segments and nothing beside them. */
	assert_int_equal(buf[0], 0x55);
	assert_true(harness_is_zero(buf + 1, 100));
	assert_int_equal(buf[101], 0x55);
	assert_int_equal(buf[999], 0x55);
	assert_true(harness_is_zero(buf + 1000, 3996));
	assert_int_equal(buf[4996], 0x55);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(harness_io(&f.h, f.ch, ranges[i], 0, NULL, 1u << 20, 0), 0);
	}
	memset(buf, 0, 512);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, 0, buf, 512, 0), 0);
	buf[511] = 1;
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, 0, buf, 512, 0), -EBADE);
	stop(&f);
}

static void test_null_may_leave_the_buffer_alone(void **state)
{
	struct fixture f;
	char buf[512];

	(void)state;
	start(&f, "'size': '1MiB', 'zero_reads': false");
	harness_fill(buf, 512, 1);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, buf, 512, 0), 0);
	assert_true(harness_is_filled(buf, 512, 1));
	stop(&f);
}

static void test_null_size_is_given_in_bytes_or_blocks(void **state)
{
	static const struct {
		const char *params;
		uint64_t size;
		uint32_t block_size;
	} cases[] = {
		{"'size': 1048576", 1u << 20, 512},
		{"'size': '3TiB', 'block_size': 4096", 3ull << 40, 4096},
		{"'num_blocks': 7", 7 * 512, 512},
		{"'num_blocks': 7, 'block_size': 4096", 7 * 4096, 4096},
		{"'size': 28672, 'num_blocks': 7, 'block_size': 4096", 7 * 4096, 4096},
		{"'num_blocks': 1125899906842624, 'block_size': 4096", 1ull << 62, 4096},
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;
		char buf[4096];

		start(&f, cases[i].params);
		assert_int_equal(xbdev_device_size_bytes(f.dev), cases[i].size);
		assert_int_equal(f.dev->limits.block_size, cases[i].block_size);
		assert_int_equal(
			harness_io(&f.h, f.ch, XBDEV_OP_READ, cases[i].size - cases[i].block_size,
				buf, cases[i].block_size, 0),
			0);
		stop(&f);
	}
}

static void test_null_refuses_bad_sizes(void **state)
{
	static const struct {
		const char *params;
		const char *text;
	} bad[] = {
		{"'size': 0", "smaller than one block"},
		{"'block_size': 4096", "smaller than one block"},
		{"'size': 4096, 'block_size': 513", "block size 513"},
		{"'size': 4096, 'block_size': 511", "block_size: 511"},
		{"'size': 4096, 'block_size': 8192", "block_size: 8192"},
		{"'num_blocks': 1125899906842625", "num_blocks: 1125899906842625"},
		{"'size': 511",
			"size 511 is not a multiple of the block size 512; the next is 512"},
		{"'size': 1000", "size 1000 is not a multiple of the block size 512; the next is"},
		{"'size': '6KiB', 'block_size': 4096", "the next is 8192"},
		{"'size': '1MiB', 'num_blocks': 2047",
			"size 1048576 and num_blocks 2047 disagree, so many blocks of 512 bytes "
			"are 1048064 bytes; give one of the two"},
		{"'size': 512, 'num_blocks': 1125899906842624, 'block_size': 4096",
			"4611686018427387904 bytes"},
	};
	struct xu_error err;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(
			harness_try_create(&h, "null", &err, "{'name': 'n', %s}", bad[i].params));
		assert_int_equal(err.code, -EINVAL);
		if (strstr(err.text, bad[i].text) == NULL) {
			fail_msg("'%s' is not in '%s'", bad[i].text, err.text);
		}
	}
	harness_stop(&h);
}

struct resize {
	uint32_t nr_done;
	int code;
};

static void on_resized(void *arg, const struct xu_error *err)
{
	struct resize *resize = arg;

	resize->nr_done++;
	resize->code = err->code;
}

static void test_null_is_resized(void **state)
{
	struct resize resize = {0};
	struct fixture f;

	(void)state;
	start(&f, "'size': '1MiB', 'block_size': 4096");
	f.dev->ops->resize(f.dev, 2u << 20, on_resized, &resize);
	harness_wait(&f.h, resize.nr_done == 1);
	assert_int_equal(resize.code, 0);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2u << 20);
	f.dev->ops->resize(f.dev, 6000, on_resized, &resize);
	harness_wait(&f.h, resize.nr_done == 2);
	assert_int_equal(resize.code, -EINVAL);
	f.dev->ops->resize(f.dev, 0, on_resized, &resize);
	harness_wait(&f.h, resize.nr_done == 3);
	assert_int_equal(resize.code, -EINVAL);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2u << 20);
	stop(&f);
}

static void test_null_tells_its_parameters(void **state)
{
	json_t *config, *wanted;
	struct fixture f;

	(void)state;
	start(&f, "'size': '1MiB', 'zero_reads': false, 'block_size': 4096,"
		  " 'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'");
	config = f.dev->ops->config(f.dev);
	wanted = json_pack("{s:s, s:s, s:s, s:i, s:i, s:b}", "driver", "null", "name", "n", "uuid",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "size", 1 << 20, "block_size", 4096,
		"zero_reads", 0);
	assert_true(json_equal(config, wanted));
	json_decref(config);
	json_decref(wanted);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_null_reads_zeroes_and_forgets_writes),
		cmocka_unit_test(test_null_may_leave_the_buffer_alone),
		cmocka_unit_test(test_null_size_is_given_in_bytes_or_blocks),
		cmocka_unit_test(test_null_refuses_bad_sizes),
		cmocka_unit_test(test_null_is_resized),
		cmocka_unit_test(test_null_tells_its_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
