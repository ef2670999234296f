/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * manage [ADDRESS [PORT]]: a program whose devices can be seen and changed from outside, by
 * JSON-RPC over TCP, and that hears of what changes. It ends when its input does; at SIGHUP it
 * reads the TLS files again.
 *
 *   printf '{"jsonrpc":"2.0","id":1,"method":"bdev_get_bdevs"}' | nc -q 1 127.0.0.1 PORT
 *
 * On a loopback address every user of this machine may call. On others the environment has to say
 * who may: XBDEV_MGMT_TOKEN, which clients send first, or XBDEV_MGMT_TLS_CERT, _TLS_KEY and
 * _TLS_CLIENT_CA, files, with which clients show a certificate of that CA.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

static void check(const char *what, int rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
}

/* On a thread of the library. */
static void on_notification(const xbdev_notification_t *notification, void *cb_arg)
{
	static const char *const words[] = {
		[XBDEV_NOTIFICATION_DEVICE_ADDED] = "added",
		[XBDEV_NOTIFICATION_DEVICE_REMOVED] = "removed",
		[XBDEV_NOTIFICATION_DEVICE_RESIZED] = "resized",
		[XBDEV_NOTIFICATION_HEALTH] = "health",
	};
	FILE *out = cb_arg;

	fprintf(out, "%s %s, %llu bytes%s%s\n", words[notification->type], notification->device,
		(unsigned long long)notification->size_bytes,
		notification->health != NULL ? ": " : "",
		notification->health != NULL ? notification->health->text : "");
	fflush(out);
}

static void take_certificate(void)
{
	int rc = xbdev_mgmt_server_reload_tls();

	printf("%s%s\n", rc == 0 ? "a new certificate is in use" : "the old certificate stays: ",
		rc == 0 ? "" : xbdev_last_error());
	fflush(stdout);
}

/* Until the input ends. */
static void wait_for_end(int hangups)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = hangups, .events = POLLIN}};
	struct signalfd_siginfo info;
	char bytes[256];

	while (poll(fds, 2, -1) > 0) {
		if (fds[1].revents != 0 && read(hangups, &info, sizeof(info)) == sizeof(info)) {
			take_certificate();
		}
		if (fds[0].revents != 0 && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0) {
			return;
		}
	}
}

int main(int argc, char **argv)
{
	const char *address = argc > 1 ? argv[1] : "127.0.0.1";
	int port = argc > 2 ? atoi(argv[2]) : 0; /* 0: any */
	int hangups;
	sigset_t set;

	/* Before there are threads, which take this over. */
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	hangups = signalfd(-1, &set, SFD_CLOEXEC);
	check("starting", xbdev_init());
	check("the device", xbdev_config_malloc(64, 4096, "disk"));
	check("the callback", xbdev_mgmt_register_notification_callback(on_notification, stdout));
	check("the server", xbdev_mgmt_server_init(address, port));
	printf("listening on %s port %d\n", address, xbdev_mgmt_server_port());
	fflush(stdout);

	wait_for_end(hangups);
	check("the server", xbdev_mgmt_server_fini());
	check("ending", xbdev_fini());
	printf("ended\n");
	return 0;
}
