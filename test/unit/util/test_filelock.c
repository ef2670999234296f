/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/util/filelock.c: who gets the lock, and that it waits for one that is given up soon. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util/filelock.h"

static int open_again(char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void test_filelock_is_exclusive(void **state)
{
	char path[] = "/tmp/test-filelock.XXXXXX";
	int first = mkstemp(path), second;

	(void)state;
	assert_true(first >= 0);
	second = open_again(path);
	assert_int_equal(xu_file_lock(first, false), 0);
	assert_int_equal(xu_file_lock(second, false), -EBUSY);
	assert_int_equal(xu_file_lock(second, true), -EBUSY);
	close(first);
	assert_int_equal(xu_file_lock(second, false), 0);
	close(second);
	unlink(path);
}

static void test_filelock_readers_share(void **state)
{
	char path[] = "/tmp/test-filelock.XXXXXX";
	int first = mkstemp(path), second;

	(void)state;
	assert_true(first >= 0);
	second = open_again(path);
	assert_int_equal(xu_file_lock(first, true), 0);
	assert_int_equal(xu_file_lock(second, true), 0);
	close(first);
	close(second);
	unlink(path);
}

static void *close_soon(void *arg)
{
	const struct timespec pause = {.tv_nsec = 300000000};

	nanosleep(&pause, NULL);
	close(*(int *)arg);
	return NULL;
}

static void test_filelock_outwaits_a_dying_holder(void **state)
{
	char path[] = "/tmp/test-filelock.XXXXXX";
	int first = mkstemp(path), second;
	pthread_t thread;

	(void)state;
	assert_true(first >= 0);
	second = open_again(path);
	assert_int_equal(xu_file_lock(first, false), 0);
	assert_int_equal(pthread_create(&thread, NULL, close_soon, &first), 0);
	assert_int_equal(xu_file_lock(second, false), 0);
	pthread_join(thread, NULL);
	close(second);
	unlink(path);
}

static void test_filelock_refuses_what_is_no_file(void **state)
{
	(void)state;
	assert_int_equal(xu_file_lock(-1, false), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filelock_is_exclusive),
		cmocka_unit_test(test_filelock_readers_share),
		cmocka_unit_test(test_filelock_outwaits_a_dying_holder),
		cmocka_unit_test(test_filelock_refuses_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
