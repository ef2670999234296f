/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench-registry: the registry's store by itself. "register": clients that each register one target
 * after the other and wait until it is durable. "get": clients that take the current view and look
 * up a target in it, while nobody writes. The database is made for it and removed. Prints one line
 * of JSON: operations per second, CPU nanoseconds per operation, and of "register" the bytes of
 * memory that a target and its event take.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xregistry/store.h"

#define NR_CLIENTS_MAX 256u
#define NR_READ        10000u /* targets that are there to be read */

static struct xreg_store *store;
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

static void *register_much(void *arg)
{
	while (!atomic_load(&must_stop)) {
		register_one(atomic_fetch_add(&next_number, 1));
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

static uint64_t cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * XU_NS_PER_S +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static uint64_t resident_bytes(void)
{
	unsigned long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file == NULL || fscanf(file, "%lu %lu", &size, &resident) != 2) {
		resident = 0;
	}
	if (file != NULL) {
		fclose(file);
	}
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Until they are told to end after `seconds`, or end by themselves. */
static void run_threads(void *(*fn)(void *), uint32_t nr_clients, double seconds)
{
	pthread_t threads[NR_CLIENTS_MAX];

	for (uint32_t i = 0; i < nr_clients; i++) {
		pthread_create(&threads[i], NULL, fn, (void *)(uintptr_t)i);
	}
	usleep((useconds_t)(seconds * 1e6));
	atomic_store(&must_stop, seconds != 0);
	for (uint32_t i = 0; i < nr_clients; i++) {
		pthread_join(threads[i], NULL);
	}
}

static void run(void *(*fn)(void *), uint32_t nr_clients, double seconds)
{
	uint64_t start_ns = xu_clock_now_ns(xu_clock_system()), start_cpu = cpu_ns();
	uint64_t start_bytes = resident_bytes();
	double taken, done;

	run_threads(fn, nr_clients, seconds);
	taken = (double)(xu_clock_now_ns(xu_clock_system()) - start_ns) / 1e9;
	done = (double)atomic_load(&nr_done);
	printf("{\"iops\": %.0f, \"cpu_ns_per_io\": %.0f", done / taken,
		(double)(cpu_ns() - start_cpu) / done);
	if (fn == register_much) {
		printf(", \"bytes_per_target\": %.0f",
			(double)(resident_bytes() - start_bytes) / done);
	}
	printf("}\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"clients", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
	char dir[] = "/tmp/bench-registry-XXXXXX", path[64];
	struct xreg_store_opts opts = {
		.backend = &xreg_sqlite, .where = path, .nr_targets_max = 1u << 24};
	uint32_t nr_clients = 64;
	double seconds = 3;
	struct xu_error err;
	bool is_get;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c') {
			nr_clients = (uint32_t)atoi(optarg);
		} else if (option == 's') {
			seconds = atof(optarg);
		} else {
			return 2;
		}
	}
	is_get = optind < argc && strcmp(argv[optind], "get") == 0;
	if (optind + 1 != argc || (!is_get && strcmp(argv[optind], "register") != 0) ||
		nr_clients == 0 || nr_clients > NR_CLIENTS_MAX) {
		fprintf(stderr, "usage: bench-registry [--clients N] [--seconds S] register|get\n");
		return 2;
	}
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/targets.db", dir);
	if (xreg_store_open(&opts, &store, &err) != 0) {
		fprintf(stderr, "bench-registry: %s\n", err.text);
		return 1;
	}
	if (is_get) {
		run_threads(fill, NR_CLIENTS_MAX, 0);
	}
	run(is_get ? get_much : register_much, nr_clients, seconds);
	xreg_store_close(store);
	unlink(path);
	return rmdir(dir) != 0;
}
