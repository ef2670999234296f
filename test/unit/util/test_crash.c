/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/util/crash.c: what is said, that the process ends as it would have, and whose handler stays.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util/crash.h"

static void exit_quietly(int number)
{
	(void)number;
	_exit(7);
}

/* A child that takes the signal; `ret_said` is what it wrote to standard error. */
static int crash(int number, void (*handler)(int), char *ret_said, size_t size)
{
	size_t length = 0;
	ssize_t got;
	int ends[2], status;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit no_core = {0};

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(ends[1], STDERR_FILENO);
		signal(number, handler);
		xu_crash_report("test-crash");
		raise(number);
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], ret_said + length, size - 1 - length)) > 0) {
		length += (size_t)got;
	}
	ret_said[length] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void test_crash_is_told_and_ends_the_process(void **state)
{
	static const struct {
		int number;
		const char *line;
	} cases[] = {
		{SIGABRT, "test-crash: ended by SIGABRT at\n"},
		{SIGSEGV, "test-crash: ended by SIGSEGV at\n"},
		{SIGFPE, "test-crash: ended by SIGFPE at\n"},
	};
	char said[16384];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = crash(cases[i].number, SIG_DFL, said, sizeof(said));

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), cases[i].number);
		assert_memory_equal(said, cases[i].line, strlen(cases[i].line));
		/* The calls, this program's among them. */
		assert_non_null(strstr(said, "test-util-crash("));
		assert_non_null(strstr(said, "+0x"));
	}
}

static void test_crash_leaves_handlers_alone(void **state)
{
	char said[16384];
	int status = crash(SIGSEGV, exit_quietly, said, sizeof(said));

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_string_equal(said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_is_told_and_ends_the_process),
		cmocka_unit_test(test_crash_leaves_handlers_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
