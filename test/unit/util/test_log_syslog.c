/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What arrives at /dev/log. A child process in a mount namespace of its own puts a socket there,
 * logs and passes the datagrams on; the machine's own /dev is not touched. Where namespaces are
 * forbidden, this is skipped and says so.
 */
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "test/unit/util/test.h"

#include <errno.h>
#include <regex.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#define EXIT_SKIP 77

/* Goes to a namespace with an empty /dev and a socket /dev/log in it, which is returned; or -errno.
 */
static int make_dev_log(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int fd;

	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
		return -errno;
	}
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount("tmpfs", "/dev", "tmpfs", 0, NULL) != 0) {
		return -errno;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		return -errno;
	}
	return fd;
}

/* The child: logs one message in each format and writes what /dev/log got, a line each, to `out`.
 */
static int log_and_pass_on(int out)
{
	struct xu_log_opts opts = {
		.level = XU_LOG_TRACE, .target = XU_LOG_TO_SYSLOG, .ident = "prog"};
	struct xu_logger *log = NULL;
	char datagram[5000];
	int fd = make_dev_log(), i;

	if (fd < 0) {
		return EXIT_SKIP;
	}
	for (i = 0; i < 2; i++) {
		opts.format = i == 0 ? XU_LOG_TEXT : XU_LOG_JSON;
		if (xu_logger_new(&opts, &log, NULL) != 0) {
			return 1;
		}
		xu_log_write(log, i == 0 ? XU_LOG_ERROR : XU_LOG_FATAL, "a/f.c", 7, "fn",
			"100%% \"%s\"\nx", "%s%n");
		xu_logger_free(log);
		ssize_t len = recv(fd, datagram, sizeof(datagram) - 1, MSG_DONTWAIT);

		if (len < 0) {
			return 2;
		}
		datagram[len] = '\0';
		dprintf(out, "%s\n", datagram);
	}
	return 0;
}

static void test_log_syslog_gets_priority_ident_and_message(void **state)
{
	char text[2000] = "", pattern[500];
	int fds[2], status;
	size_t len = 0;
	ssize_t got;
	regex_t regex;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		_exit(log_and_pass_on(fds[1]));
	}
	assert_true(pid > 0);
	close(fds[1]);
	while ((got = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)got;
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	snprintf(pattern, sizeof(pattern),
		"^<%d>[^<]* prog\\[%d\\]: f\\.c:7: 100%% \"%%s%%n\"\\\\nx\n"
		"<%d>[^<]* prog\\[%d\\]: "
		"[{]\"ts\":\"[^\"]*\",\"level\":\"fatal\",\"prog\":\"prog\","
		"\"src\":\"f\\.c:7\",\"func\":\"fn\",\"msg\":\"100%% "
		"\\\\\"%%s%%n\\\\\"\\\\nx\"[}]\n$",
		LOG_DAEMON | LOG_ERR, (int)pid, LOG_DAEMON | LOG_CRIT, (int)pid);
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0) {
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
	}
	regfree(&regex);
}

/* Whether namespaces can be had, tried in a child. */
static bool can_make_dev_log(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0) {
		_exit(make_dev_log() < 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_syslog_gets_priority_ident_and_message),
	};

	if (!can_make_dev_log()) {
		printf("skipped: no mount namespace can be made here to put a /dev/log in\n");
		return EXIT_SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
