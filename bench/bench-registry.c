/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-registry: the registry's store by itself. "register": clients that each register one target
 * after the other and wait until it is durable. "get": clients that take the current view and look
 * up a target in it, while nobody writes. The database is made for it and removed, or is the etcd
 * at --etcd. "http": clients that each register one target after the other with the registry that
 * listens at --port of this machine, on a connection of their own. "put": what etcd itself does:
 * clients that each put a key of a record's size. With --count they end after so many. Prints one
 * line of JSON: operations per second, CPU nanoseconds per operation of this process, and of
 * "register" the bytes of memory that a target and its event take.
 *
 * "memory": what the store takes for each of --count targets (10,000), by the allocator's own count
 * and as resident pages: once it has loaded them, and with as many events besides, each of which
 * holds a target before and after a change.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/etcd/etcd.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/memory.h"
#include "lib/xregistry/etcd/etcd.h"
#include "lib/xregistry/store.h"

#define NR_CLIENTS_MAX 256u
#define NR_READ        10000u /* targets that are there to be read */

static struct xreg_store *store;
static struct xetcd *etcd;
static uint16_t port;
static uint32_t count_max = UINT32_MAX;
static _Atomic bool must_stop;
static _Atomic uint32_t next_number;
static _Atomic uint64_t nr_done;

static void register_one(uint32_t number)
{
	const struct xreg_pair metadata[] = {{"location", "rack-1-slot-3"}};
	char nqn[64], node[32];
	struct xreg_spec spec = {.node_id = node,
		.nqn = nqn,
		.address = "192.0.2.7",
		.interface = "eth0",
		.device_path = "/dev/nvme0n1",
		.port = 4420,
		.capacity_bytes = 1ull << 40,
		.block_size = 4096,
		.max_iops = 500000,
		.weight = 1,
		.metadata = metadata,
		.nr_metadata = 1};
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};

	snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:volume-%08u", number);
	snprintf(node, sizeof(node), "node-%u", number % 100);
	if (xreg_store_change(store, &change) != 0) {
		fprintf(stderr, "bench-registry: %s\n", change.err.text);
		exit(1);
	}
	xreg_target_unref(change.result);
}

/* The number of what is to be done next; false: the end. */
static bool next(uint32_t *ret_number)
{
	*ret_number = atomic_fetch_add(&next_number, 1);
	return !atomic_load(&must_stop) && *ret_number < count_max;
}

static void *register_much(void *arg)
{
	uint32_t number;

	while (next(&number)) {
		register_one(number);
		atomic_fetch_add(&nr_done, 1);
	}
	return NULL;
}

/* What is read later. */
static void *fill(void *arg)
{
	uint32_t number;

	while ((number = atomic_fetch_add(&next_number, 1)) < NR_READ) {
		register_one(number);
	}
	return NULL;
}

static void *get_much(void *arg)
{
	uint32_t number = (uint32_t)(uintptr_t)arg;
	uint64_t count = 0;
	char nqn[64];

	while (!atomic_load_explicit(&must_stop, memory_order_relaxed)) {
		struct xreg_view *view = xreg_store_view(store);

		number = (number * 5 + 1) % NR_READ;
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:volume-%08u", number);
		if (xreg_view_first(view, XREG_BY_NQN, nqn) == NULL) {
			abort();
		}
		xreg_view_unref(view);
		count++;
	}
	atomic_fetch_add(&nr_done, count);
	return NULL;
}

/* ---- over HTTP ---- */

static int connect_to_registry(void)
{
	const struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		perror("bench-registry: connecting to the registry");
		exit(1);
	}
	return fd;
}

/* Reads an answer to the end of its body. */
static void expect_created(int fd)
{
	char text[4096];
	size_t len = 0, end = 0;

	while (end == 0 || len < end) {
		ssize_t done = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		const char *body, *length;

		if (done <= 0) {
			fprintf(stderr, "bench-registry: the registry has hung up\n");
			exit(1);
		}
		len += (size_t)done;
		text[len] = '\0';
		body = strstr(text, "\r\n\r\n");
		length = strcasestr(text, "content-length:");
		if (body != NULL && length != NULL) {
			end = (size_t)(body + 4 - text) + strtoul(length + 15, NULL, 10);
		}
	}
	if (strncmp(text, "HTTP/1.1 201", 12) != 0) {
		fprintf(stderr, "bench-registry: %s\n", text);
		exit(1);
	}
}

static void *post_much(void *arg)
{
	int fd = connect_to_registry();
	char body[1024], head[256];
	uint32_t number;

	while (next(&number)) {
		int len = snprintf(body, sizeof(body),
			"{\"node_id\":\"node-%u\",\"target_info\":{\"nqn\":\"nqn.2026-11.io.xsan:"
			"volume-%08u\",\"transport\":\"tcp\",\"address\":\"192.0.2.7\",\"port\":"
			"4420,"
			"\"namespace_capacity\":1099511627776},\"performance_caps\":{\"max_iops\":"
			"500000},\"metadata\":{\"location\":\"rack-1-slot-3\"}}",
			number % 100, number);
		int head_len = snprintf(head, sizeof(head),
			"POST /api/v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
			"application/json\r\nContent-Length: %d\r\n\r\n",
			len);

		send(fd, head, (size_t)head_len, MSG_MORE | MSG_NOSIGNAL);
		send(fd, body, (size_t)len, MSG_NOSIGNAL);
		expect_created(fd);
		atomic_fetch_add(&nr_done, 1);
	}
	close(fd);
	return NULL;
}

/* ---- etcd itself ---- */

static void *put_much(void *arg)
{
	char key[64], value[700];
	const struct xetcd_op op = {
		.what = XETCD_PUT, .key = key, .value = value, .len = sizeof(value)};
	struct xetcd_reply reply;
	struct xu_error err;
	uint32_t number;

	memset(value, 'v', sizeof(value));
	while (next(&number)) {
		snprintf(key, sizeof(key), "/bench/%08u", number);
		if (xetcd_txn(etcd, &(const struct xetcd_txn){.then = &op, .nr_then = 1}, &reply,
			    &err) != 0) {
			fprintf(stderr, "bench-registry: %s\n", err.text);
			exit(1);
		}
		xetcd_reply_free(&reply);
		atomic_fetch_add(&nr_done, 1);
	}
	return NULL;
}

/* ---- measuring ---- */

static uint64_t cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * XU_NS_PER_S +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

/* Until they are told to end after `seconds`, or end by themselves. Their argument is `arg` or,
 * when that is NULL, their number. */
static void run_threads(void *(*fn)(void *), void *arg, uint32_t nr_clients, double seconds)
{
	pthread_t threads[NR_CLIENTS_MAX];

	for (uint32_t i = 0; i < nr_clients; i++) {
		pthread_create(&threads[i], NULL, fn, arg != NULL ? arg : (void *)(uintptr_t)i);
	}
	if (count_max == UINT32_MAX) {
		usleep((useconds_t)(seconds * 1e6));
		atomic_store(&must_stop, seconds != 0);
	}
	for (uint32_t i = 0; i < nr_clients; i++) {
		pthread_join(threads[i], NULL);
	}
}

static void run(void *(*fn)(void *), uint32_t nr_clients, double seconds)
{
	uint64_t start_ns = xu_clock_now_ns(xu_clock_system()), start_cpu = cpu_ns();
	uint64_t start_bytes = xu_memory_resident();
	double taken, done;

	run_threads(fn, NULL, nr_clients, seconds);
	taken = (double)(xu_clock_now_ns(xu_clock_system()) - start_ns) / 1e9;
	done = (double)atomic_load(&nr_done);
	printf("{\"iops\": %.0f, \"cpu_ns_per_io\": %.0f", done / taken,
		(double)(cpu_ns() - start_cpu) / done);
	if (fn == register_much) {
		printf(", \"bytes_per_target\": %.0f",
			(double)(xu_memory_resident() - start_bytes) / done);
	}
	printf("}\n");
}

/* ---- memory ---- */

struct memory {
	uint64_t allocated, resident;
};

static struct memory memory_now(void)
{
	malloc_trim(0);
	return (struct memory){mallinfo2().uordblks, xu_memory_resident()};
}

static void print_memory(const char *name, const struct memory *before)
{
	struct memory now = memory_now();

	printf("\"%s\": %.0f, \"%s_resident\": %.0f", name,
		((double)now.allocated - (double)before->allocated) / count_max, name,
		((double)now.resident - (double)before->resident) / count_max);
}

/* Changes each target once, to what it is. */
static void *update_much(void *arg)
{
	struct xreg_view *view = arg;
	uint32_t number;
	char nqn[64];

	while (next(&number)) {
		const struct xreg_target *target;
		struct xreg_change change = {.op = XREG_UPDATE};

		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:volume-%08u", number);
		target = xreg_view_first(view, XREG_BY_NQN, nqn);
		change.id = target->origin.id;
		change.spec = &target->spec;
		if (xreg_store_change(store, &change) != 0) {
			fprintf(stderr, "bench-registry: %s\n", change.err.text);
			exit(1);
		}
		xreg_target_unref(change.result);
	}
	return NULL;
}

static void open_store(const char *path, uint32_t nr_events_kept)
{
	const struct xreg_store_opts opts = {.backend = &xreg_sqlite,
		.where = path,
		.nr_targets_max = 1u << 24,
		.nr_events_kept = nr_events_kept};
	struct xu_error err;

	if (xreg_store_open(&opts, &store, &err) != 0) {
		fprintf(stderr, "bench-registry: %s\n", err.text);
		exit(1);
	}
}

/* Bytes per target. The store is loaded, as after a restart, so that threads that come and go are
 * not in the first figure. */
static void measure_memory(const char *path)
{
	struct memory before;
	struct xreg_view *view;

	open_store(path, 1);
	run_threads(register_much, NULL, NR_CLIENTS_MAX, 0);
	xreg_store_close(store);
	before = memory_now();
	open_store(path, count_max);
	printf("{");
	print_memory("loaded", &before);
	view = xreg_store_view(store);
	atomic_store(&next_number, 0);
	run_threads(update_much, view, NR_CLIENTS_MAX, 0);
	xreg_view_unref(view);
	printf(", ");
	print_memory("with_events", &before);
	printf(", \"targets\": %u}\n", count_max);
	xreg_store_close(store);
}

struct mode {
	const char *name;
	void *(*fn)(void *); /* NULL: "memory" */
};

static const struct mode modes[] = {{"register", register_much}, {"get", get_much},
	{"http", post_much}, {"put", put_much}, {"memory", NULL}};

struct options {
	const struct mode *mode;
	const char *etcd;
	uint32_t nr_clients;
	double seconds;
};

static bool read_options(int argc, char **argv, struct options *ret_options)
{
	static const struct option options[] = {{"clients", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 's'}, {"etcd", required_argument, NULL, 'e'},
		{"port", required_argument, NULL, 'p'}, {"count", required_argument, NULL, 'n'},
		{NULL, 0, NULL, 0}};
	int option;

	*ret_options = (struct options){.nr_clients = 64, .seconds = 3};
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			ret_options->nr_clients = (uint32_t)atoi(optarg);
			break;
		case 's':
			ret_options->seconds = atof(optarg);
			break;
		case 'e':
			ret_options->etcd = optarg;
			break;
		case 'p':
			port = (uint16_t)atoi(optarg);
			break;
		case 'n':
			count_max = (uint32_t)atoi(optarg);
			break;
		default:
			return false;
		}
	}
	for (size_t i = 0; optind + 1 == argc && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[optind], modes[i].name) == 0) {
			ret_options->mode = &modes[i];
		}
	}
	return ret_options->mode != NULL && ret_options->nr_clients != 0 &&
	       ret_options->nr_clients <= NR_CLIENTS_MAX &&
	       (ret_options->mode->fn != put_much || ret_options->etcd != NULL) &&
	       (ret_options->mode->fn != post_much || port != 0);
}

/* On a store of its own. */
static int bench_store(const struct options *options)
{
	char dir[] = "/tmp/bench-registry-XXXXXX", path[64];
	struct xreg_store_opts opts = {
		.backend = &xreg_sqlite, .where = path, .nr_targets_max = 1u << 24};
	struct xu_error err;

	if (mkdtemp(dir) == NULL) {
		perror(dir);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/targets.db", dir);
	if (options->etcd != NULL) {
		opts.backend = &xreg_etcd;
		opts.where = options->etcd;
	}
	if (options->mode->fn == NULL) {
		count_max = count_max != UINT32_MAX ? count_max : 10000;
		measure_memory(path);
	} else {
		if (xreg_store_open(&opts, &store, &err) != 0) {
			fprintf(stderr, "bench-registry: %s\n", err.text);
			return 1;
		}
		if (options->mode->fn == get_much) {
			run_threads(fill, NULL, NR_CLIENTS_MAX, 0);
		}
		run(options->mode->fn, options->nr_clients, options->seconds);
		xreg_store_close(store);
	}
	unlink(path);
	return rmdir(dir) != 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct xu_error err;

	if (!read_options(argc, argv, &options)) {
		fprintf(stderr,
			"usage: bench-registry [--clients N] [--seconds S] [--etcd ENDPOINTS] "
			"[--port PORT] [--count N] register|get|http|put|memory\n");
		return 2;
	}
	if (options.mode->fn != post_much && options.mode->fn != put_much) {
		return bench_store(&options);
	}
	if (options.mode->fn == put_much &&
		xetcd_open(&(const struct xetcd_opts){.endpoints = options.etcd}, &etcd, &err) !=
			0) {
		fprintf(stderr, "bench-registry: %s\n", err.text);
		return 1;
	}
	run(options.mode->fn, options.nr_clients, options.seconds);
	xetcd_close(etcd);
	return 0;
}
