/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The module rbd without a cluster: it is found and loaded by its driver's name, its parameters are
 * checked, and a cluster that is not there is said within the time that was given for it. With a
 * cluster: test/e2e/test-rbd.sh.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

static int start(void **state)
{
	(void)state;
	return xbdev_init();
}

static int stop(void **state)
{
	(void)state;
	return xbdev_fini();
}

static void assert_refused(const char *members, int code, const char *words)
{
	char json[512];

	snprintf(json, sizeof(json), "{\"driver\": \"rbd\", \"name\": \"r\"%s}", members);
	assert_int_equal(xbdev_config_device(json), code);
	if (strstr(xbdev_last_error(), words) == NULL) {
		fail_msg("'%s' is not in '%s'", words, xbdev_last_error());
	}
}

static void test_rbd_checks_its_parameters(void **state)
{
	(void)state;
	assert_refused("", -EINVAL, "pool_name");
	assert_refused(", \"pool_name\": \"p\"", -EINVAL, "image_name");
	assert_refused(", \"pool_name\": \"p\", \"image_name\": \"i\", \"timeout_s\": 601", -EINVAL,
		"use 1 to 600");
	assert_refused(", \"pool_name\": \"p\", \"image_name\": \"i\", \"block_size\": 1024",
		-EINVAL, "512 or 4096");
	assert_refused(", \"pool_name\": \"p\", \"image_name\": \"i\", \"config_file\": \"/none\"",
		-ENOENT, "configuration file '/none'");
	assert_int_equal(xbdev_config_rbd("p", NULL, "r"), -EINVAL);
}

static void test_rbd_says_that_there_is_no_cluster(void **state)
{
	xbdev_info_t info;
	time_t begin = time(NULL);

	(void)state;
	/* Nothing listens on that port. */
	assert_refused(", \"pool_name\": \"p\", \"image_name\": \"i\", \"timeout_s\": 2, "
		       "\"mon_host\": \"v1:127.0.0.1:1\", \"config_file\": \"/dev/null\"",
		-ETIMEDOUT, "connecting to the Ceph cluster as user 'admin'");
	assert_true(time(NULL) - begin < 20);
	assert_int_equal(xbdev_list(&info, 1), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rbd_checks_its_parameters, start, stop),
		cmocka_unit_test_setup_teardown(
			test_rbd_says_that_there_is_no_cluster, start, stop),
	};

	setenv("XBDEV_MODULE_DIR", argv[1], 1);
	return cmocka_run_group_tests_name("xbdev_rbd", tests, NULL, NULL);
}
