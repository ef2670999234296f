/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loadable drivers through the public interface: a module made of the public header alone is found
 * by its driver's name, keeps the I/O contract with completions from a thread of its own, and what
 * is wrong with a module is said.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define RAM "{\"driver\": \"ram\", \"name\": \"r\", \"size\": \"4MiB\", \"label\": \"x\"}"

static int start(void **state)
{
	xbdev_init_options_t options = {.size = sizeof(options), .nr_reactors = 2};

	return xbdev_init_with(&options);
}

static int stop(void **state)
{
	return xbdev_fini();
}

static void test_module_keeps_the_contract(void **state)
{
	size_t len = 1u << 20; /* split into transfers of 64 KiB */
	char *out = malloc(len), *in = calloc(1, len);
	xbdev_info_t info;
	int fd;

	assert_int_equal(xbdev_config_device(RAM), 0);
	assert_int_equal(xbdev_config_device(RAM), -EEXIST);
	fd = xbdev_open("r");
	assert_true(fd >= 0);
	assert_int_equal(xbdev_get_info(fd, &info), 0);
	assert_int_equal(info.size_bytes, 4u << 20);
	assert_string_equal(info.driver, "ram");
	for (size_t i = 0; i < len; i++) {
		out[i] = (char)(i * 13 + (i >> 9));
	}
	assert_int_equal(xbdev_write(fd, out, len, 1u << 20), len);
	assert_int_equal(xbdev_read(fd, in, len, 1u << 20), len);
	assert_memory_equal(in, out, len);
	assert_int_equal(xbdev_compare(fd, out, len, 1u << 20), 0);
	assert_int_equal(xbdev_write_zeroes(fd, 1u << 20, 8192, XBDEV_IO_FUA), 0);
	assert_int_equal(xbdev_read(fd, in, 8192, 1u << 20), 8192);
	memset(out, 0, 8192);
	assert_memory_equal(in, out, 8192);
	assert_int_equal(xbdev_discard(fd, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(xbdev_flush(fd), 0);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_config_remove("r"), 0);
	free(in);
	free(out);
}

static void test_module_tells_a_new_size(void **state)
{
	char block[512] = "grow";
	xbdev_info_t info = {0};
	int fd;

	assert_int_equal(xbdev_config_device(RAM), 0);
	fd = xbdev_open("r");
	assert_int_equal(xbdev_write(fd, block, 512, 0), 512);
	for (int i = 0; i < 60000 && info.size_bytes != 5u << 20; i++) {
		assert_int_equal(xbdev_get_info(fd, &info), 0);
		usleep(1000);
	}
	assert_int_equal(info.size_bytes, 5u << 20);
	assert_int_equal(xbdev_write(fd, block, 512, (5u << 20) - 512), 512);
}

static void test_module_says_what_is_wrong(void **state)
{
	assert_int_equal(xbdev_config_device("{\"driver\": \"ram\", \"name\": \"r\"}"), -EINVAL);
	assert_non_null(strstr(xbdev_last_error(), "size"));
	assert_int_equal(
		xbdev_config_device("{\"driver\": \"ram\", \"name\": \"r\", \"size\": 4096, "
				    "\"fail\": true}"),
		-EACCES);
	assert_non_null(strstr(xbdev_last_error(), "told to fail, label none"));
	assert_int_equal(xbdev_config_device("{\"driver\": \"oldram\", \"name\": \"r\"}"), -EINVAL);
	assert_non_null(strstr(xbdev_last_error(), "version 99"));
	assert_int_equal(xbdev_config_device("{\"driver\": \"../ram\", \"name\": \"r\"}"), -EINVAL);
	assert_int_equal(
		xbdev_config_device("{\"driver\": \"nothing\", \"name\": \"r\"}"), -EINVAL);
	assert_non_null(strstr(xbdev_last_error(), "malloc"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_module_keeps_the_contract, start, stop),
		cmocka_unit_test_setup_teardown(test_module_tells_a_new_size, start, stop),
		cmocka_unit_test_setup_teardown(test_module_says_what_is_wrong, start, stop),
	};

	setenv("XBDEV_MODULE_DIR", argv[1], 1);
	return cmocka_run_group_tests_name("xbdev_module", tests, NULL, NULL);
}
