/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-tcp: the limit of NVMe/TCP on this machine: two threads, each on a CPU of its own, that do
 * nothing but send and receive as many bytes over loopback as a request and its answer have, and
 * spin where they wait. Prints one line of JSON: requests per second and CPU nanoseconds per
 * request of both threads together.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/util/size.h"

#define BUF_BYTES (1u << 20)

/* One end of the connection. What it sends is counted in messages, and paid for by messages that
 * have come in whole. */
struct end {
	char *buf;
	uint64_t send_bytes, receive_bytes; /* of one message */
	uint64_t nr_to_send;                /* messages not begun yet */
	uint64_t left_to_send;              /* bytes of those begun */
	uint64_t nr_received;
	uint64_t partial; /* bytes of the message that is coming in */
	int fd;
};

static _Atomic bool must_stop;

static void die(const char *what)
{
	fprintf(stderr, "bench-tcp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
	       ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set); /* with one CPU it stays where it is */
}

static void send_some(struct end *end)
{
	uint64_t len;
	ssize_t rc;

	while (end->nr_to_send != 0 && end->left_to_send < BUF_BYTES) {
		end->left_to_send += end->send_bytes;
		end->nr_to_send--;
	}
	len = end->left_to_send < BUF_BYTES ? end->left_to_send : BUF_BYTES;
	if (len == 0) {
		return;
	}
	rc = send(end->fd, end->buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (rc < 0 && errno != EAGAIN && !atomic_load(&must_stop)) {
		die("send");
	}
	end->left_to_send -= rc > 0 ? (uint64_t)rc : 0;
}

/* Returns the number of messages that are whole now. */
static uint64_t receive_some(struct end *end)
{
	ssize_t rc = recv(end->fd, end->buf, BUF_BYTES, MSG_DONTWAIT);
	uint64_t count;

	if (rc <= 0) {
		if (rc < 0 && errno != EAGAIN && !atomic_load(&must_stop)) {
			die("recv");
		}
		return 0;
	}
	end->partial += (uint64_t)rc;
	count = end->partial / end->receive_bytes;
	end->partial %= end->receive_bytes;
	end->nr_received += count;
	return count;
}

static void *answer(void *arg)
{
	struct end *end = arg;

	pin(1);
	while (!atomic_load_explicit(&must_stop, memory_order_relaxed)) {
		end->nr_to_send += receive_some(end);
		send_some(end);
	}
	return NULL;
}

static void connect_both(struct end *here, struct end *there)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t len = sizeof(addr);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	here->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || here->fd < 0 ||
		bind(listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
		listen(listener, 1) != 0 ||
		getsockname(listener, (struct sockaddr *)&addr, &len) != 0 ||
		connect(here->fd, (struct sockaddr *)&addr, len) != 0) {
		die("connecting over loopback");
	}
	there->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (there->fd < 0) {
		die("accept");
	}
	close(listener);
	setsockopt(here->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(there->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	here->buf = calloc(1, BUF_BYTES);
	there->buf = calloc(1, BUF_BYTES);
	if (here->buf == NULL || there->buf == NULL) {
		die("memory");
	}
}

static void run(struct end *here, struct end *there, uint64_t depth, double seconds)
{
	const struct xu_clock *clock = xu_clock_system();
	uint64_t start_ns, now_ns, end_ns;
	pthread_t thread;
	double cpu;

	if (pthread_create(&thread, NULL, answer, there) != 0) {
		die("thread");
	}
	pin(0);
	here->nr_to_send = depth;
	start_ns = now_ns = xu_clock_now_ns(clock);
	end_ns = start_ns + (uint64_t)(seconds * XU_NS_PER_S);
	cpu = cpu_ns();
	while (now_ns < end_ns) {
		for (uint32_t i = 0; i < 64; i++) {
			send_some(here);
			here->nr_to_send += receive_some(here);
		}
		now_ns = xu_clock_now_ns(clock);
	}
	cpu = cpu_ns() - cpu;
	printf("{\"iops\": %.0f, \"gib_per_s\": %.2f, \"cpu_ns_per_io\": %.0f}\n",
		(double)here->nr_received * 1e9 / (double)(now_ns - start_ns),
		(double)here->nr_received *
			(double)(here->send_bytes > here->receive_bytes ? here->send_bytes
									: here->receive_bytes) /
			(double)(now_ns - start_ns) * 1e9 / (1u << 30),
		here->nr_received != 0 ? cpu / (double)here->nr_received : 0);
	atomic_store(&must_stop, true);
	pthread_join(thread, NULL);
	close(here->fd);
	close(there->fd);
	free(here->buf);
	free(there->buf);
}

static const char usage[] = "usage: bench-tcp [options]\n"
			    "  --send SIZE     bytes of a request, default 72\n"
			    "  --receive SIZE  bytes of its answer, default 4144\n"
			    "  --depth N       requests at once, default 1\n"
			    "  --seconds S     default 3\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {{"send", 1, NULL, 's'}, {"receive", 1, NULL, 'r'},
		{"depth", 1, NULL, 'd'}, {"seconds", 1, NULL, 't'}, {"help", 0, NULL, 'h'}, {0}};
	uint64_t send_bytes = 72, receive_bytes = 4144;
	struct end here = {0}, there = {0};
	int64_t depth = 1;
	double seconds = 3;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		bool is_ok = c != '?';

		switch (c) {
		case 's':
			is_ok = xu_size_parse(optarg, &send_bytes) == 0 && send_bytes != 0;
			break;
		case 'r':
			is_ok = xu_size_parse(optarg, &receive_bytes) == 0 && receive_bytes != 0;
			break;
		case 'd':
			depth = atol(optarg);
			is_ok = depth > 0;
			break;
		case 't':
			seconds = atof(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		}
		if (!is_ok) {
			fputs(usage, stderr);
			return 2;
		}
	}
	here.send_bytes = there.receive_bytes = send_bytes;
	here.receive_bytes = there.send_bytes = receive_bytes;
	connect_both(&here, &there);
	run(&here, &there, (uint64_t)depth, seconds);
	return 0;
}
