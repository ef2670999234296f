/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A soak of the public interface: workers do all kinds of I/O in all manners, while this thread,
 * the controller, closes descriptors, removes devices and makes them anew, injects errors and
 * hangs, and ends and starts the library with other numbers of reactors, embedded or not. Every
 * block that is read must hold what its writer last acknowledged, or what may have been written;
 * every error must have a reason; everything must end in time (model.c).
 *
 *   soak-api [--seconds N] [--seed S]
 *
 * The seed is printed. It fixes what each thread does, not how threads interleave, so a failure may
 * need several runs to be seen again.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xbdev/stats.h>

#include "lib/xbdev/api/private.h"
#include "lib/xbdev/driver/delay.h"
#include "lib/xbdev/driver/error.h"
#include "test/soak/soak.h"

#define FILE_NAME     "soak-api.img"
#define WATCHDOG_S    180u /* after the end */
#define HANG_MS       300u
#define PATIENCE_MS   120000u
#define CLOSE_RETRIES 3

enum { DEV_MALLOC, DEV_FILE, DEV_DELAY, DEV_ERROR, DEV_SMALL };

struct device devices[NR_DEVICES] = {
	[DEV_MALLOC] = {.name = "memory", .is_volatile = true},
	[DEV_FILE] = {.name = "file"},
	[DEV_DELAY] = {.name = "slow", .is_volatile = true},
	[DEV_ERROR] = {.name = "bad", .is_volatile = true, .may_fail = true},
	[DEV_SMALL] = {.name = "small", .is_volatile = true}, /* 512-byte blocks */
};

static struct {
	uint64_t seed;
	uint64_t seconds;
	struct xu_random random;
	bool is_embedded;
	struct worker workers[NR_WORKERS];
	uint64_t hang_until_ms; /* 0: nothing hangs */
	uint32_t nr_closes, nr_removals, nr_rounds, nr_rules;
} soak;

void soak_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s is not so (--seed %llu)\n", file, line, what,
		(unsigned long long)soak.seed);
	tell_state();
	abort();
}

uint64_t soak_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t below(uint64_t bound)
{
	return xu_random_below(&soak.random, bound);
}

/* Rests, and drives the first reactor if that is this thread's. */
static void rest_us(uint64_t us)
{
	uint64_t end_ns = api_now_ns() + us * XU_NS_PER_US;

	do {
		if (soak.is_embedded) {
			MUST(xbdev_poll(us) >= 0);
		} else {
			const struct timespec ts = {.tv_sec = (time_t)(us / 1000000),
				.tv_nsec = (long)(us % 1000000 * 1000)};

			nanosleep(&ts, NULL);
		}
	} while (api_now_ns() < end_ns);
}

/* ---- devices ---- */

static void make_file(void)
{
	FILE *file = fopen(FILE_NAME, "a");

	MUST(file != NULL);
	MUST(ftruncate(fileno(file), (off_t)DEVICE_BLOCKS * BLOCK) == 0);
	fclose(file);
}

static void make(uint32_t device)
{
	const char *name = devices[device].name;
	const uint64_t size_mb = (uint64_t)DEVICE_BLOCKS * BLOCK >> 20;
	char base[64], json[512];

	snprintf(base, sizeof(base), "%s-base", name);
	switch (device) {
	case DEV_FILE:
		MUST(xbdev_config_aio(FILE_NAME, name) == 0);
		return;
	case DEV_MALLOC:
	case DEV_SMALL:
		MUST(xbdev_config_malloc(size_mb, device == DEV_SMALL ? 512 : BLOCK, name) == 0);
		return;
	default:
		break;
	}
	MUST(xbdev_config_malloc(size_mb, BLOCK, base) == 0);
	snprintf(json, sizeof(json), "{\"driver\": \"%s\", \"name\": \"%s\", \"base\": \"%s\"}",
		device == DEV_DELAY ? "delay" : "error", name, base);
	MUST(xbdev_config_device(json) == 0);
}

/* It goes when it has given back its I/O: on a busy machine that may be after the call's bound.
 * What the bounds are worth is test_api_bounds's matter. */
static int remove_with_patience(const char *name)
{
	uint64_t end_ms = soak_now_ms() + PATIENCE_MS;
	struct xr_reactor_stats before, after;
	int rc = xbdev_config_remove(name);

	if (rc != -EBUSY) {
		return rc;
	}
	xr_reactor_stats_get(api_lib.shards[0].reactor, &before);
	do {
		rest_us(1000);
		rc = xbdev_config_remove(name);
	} while (rc == -EBUSY && soak_now_ms() < end_ms);
	if (rc == -EBUSY) {
		xr_reactor_stats_get(api_lib.shards[0].reactor, &after);
		fprintf(stderr,
			"meanwhile the first reactor: %llu rounds, %llu sleeps, %llu spins\n",
			(unsigned long long)(after.nr_rounds - before.nr_rounds),
			(unsigned long long)(after.nr_sleeps - before.nr_sleeps),
			(unsigned long long)(after.nr_spins - before.nr_spins));
	}
	return rc == -ENODEV ? 0 : rc;
}

static void take_away(uint32_t device)
{
	char base[64];
	int rc = remove_with_patience(devices[device].name);

	if (rc != 0) {
		fprintf(stderr, "removing: %s\n", xbdev_last_error());
	}
	MUST(rc == 0);
	snprintf(base, sizeof(base), "%s-base", devices[device].name);
	rc = remove_with_patience(base);
	MUST(rc == (device == DEV_DELAY || device == DEV_ERROR ? 0 : -ENODEV));
	if (device == DEV_ERROR) {
		soak.hang_until_ms = 0;
	}
}

static void end_hangs_in_time(void);

/* Until no worker uses a descriptor that it has read before. */
static void wait_for_visits(void)
{
	for (uint32_t i = 0; i < NR_WORKERS; i++) {
		uint32_t visit = atomic_load(&soak.workers[i].visit);

		while ((visit & 1) != 0 && atomic_load(&soak.workers[i].visit) == visit) {
			rest_us(50);
			end_hangs_in_time(); /* it may be in a call that hangs */
		}
	}
}

static void begin_trouble(uint32_t device)
{
	MUST((atomic_fetch_add(&devices[device].trouble, 1) & 1) == 0);
}

static void end_trouble(uint32_t device)
{
	MUST((atomic_fetch_add(&devices[device].trouble, 1) & 1) == 1);
}

static void open_device(uint32_t device)
{
	static const int flags[] = {XBDEV_OPEN_READWRITE, XBDEV_OPEN_EXCL};
	int fd = xbdev_open_with(devices[device].name, flags[below(2)]);

	if (fd < 0) {
		fprintf(stderr, "opening: %s\n", xbdev_last_error());
	}
	MUST(fd >= 0);
	atomic_store(&devices[device].fd, fd);
}

static void close_device(uint32_t device)
{
	int fd = atomic_exchange(&devices[device].fd, -1), rc = -EBUSY;

	for (int i = 0; i < CLOSE_RETRIES && rc == -EBUSY; i++) {
		rc = xbdev_close(fd);
	}
	MUST(rc == 0);
	MUST(xbdev_close(fd) == -EBADF);
	wait_for_visits();
}

static void reopen(uint32_t device)
{
	begin_trouble(device);
	close_device(device);
	open_device(device);
	end_trouble(device);
	soak.nr_closes++;
}

/* Removed while it is open and in use; its descriptor is closed afterwards. */
static void renew(uint32_t device)
{
	xbdev_info_t info;

	begin_trouble(device);
	if (below(4) == 0) {
		close_device(device);
		take_away(device);
	} else {
		int fd = atomic_load(&devices[device].fd);

		/* An exclusive opener claims it; then it cannot be removed under it. */
		MUST(xbdev_get_info(fd, &info) == 0);
		if (info.is_claimed) {
			MUST(xbdev_config_remove(devices[device].name) == -EBUSY);
			close_device(device);
			take_away(device);
		} else {
			take_away(device);
			MUST(xbdev_get_info(fd, &info) == -ENODEV);
			close_device(device);
		}
	}
	make(device);
	atomic_fetch_add(&devices[device].incarnation, 1);
	open_device(device);
	end_trouble(device);
	soak.nr_removals++;
}

/* ---- errors and delays, by way of the control reactor ---- */

struct change {
	struct xr_msg msg;
	struct xbdev_error_rule rule;
	struct xbdev_delay_latency latency;
	int rc;
	_Atomic bool is_done;
};

static void on_changed(void *arg)
{
	atomic_store(&((struct change *)arg)->is_done, true);
}

static void on_inject(struct xr_msg *msg)
{
	struct change *change = xu_container_of(msg, struct change, msg);
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, devices[DEV_ERROR].name);

	change->rc = xbdev_error_inject(dev, &change->rule, on_changed, change, NULL);
	if (change->rc != 0) {
		on_changed(change);
	}
}

static void on_clear(struct xr_msg *msg)
{
	struct change *change = xu_container_of(msg, struct change, msg);
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, devices[DEV_ERROR].name);

	change->rc = xbdev_error_clear(dev, on_changed, change, NULL);
	if (change->rc != 0) {
		on_changed(change);
	}
}

static void on_latency(struct xr_msg *msg)
{
	struct change *change = xu_container_of(msg, struct change, msg);

	change->rc = xbdev_delay_set(
		xbdev_device_find(api_lib.ctx, devices[DEV_DELAY].name), &change->latency, NULL);
	on_changed(change);
}

static int run_change(struct change *change, void (*fn)(struct xr_msg *msg))
{
	change->msg.fn = fn;
	atomic_store(&change->is_done, false);
	xr_msg_send(xbdev_ctx_control(api_lib.ctx), &change->msg);
	while (!atomic_load(&change->is_done)) {
		rest_us(50);
	}
	return change->rc;
}

static void inject(void)
{
	struct change change = {
		.rule = {.kind = below(4) == 0 ? XBDEV_ERROR_HANG : XBDEV_ERROR_FAIL,
			.ops_mask = below(2) == 0 ? 0 : 1u << below(XBDEV_NR_OPS),
			.skip = below(10),
			.count = 1 + below(20),
			.probability_ppm = below(2) == 0 ? 0 : 300000,
			.error = -EIO}};

	if (run_change(&change, on_inject) == 0) {
		soak.nr_rules++;
		if (change.rule.kind == XBDEV_ERROR_HANG && soak.hang_until_ms == 0) {
			soak.hang_until_ms = soak_now_ms() + HANG_MS;
		}
	} else {
		MUST(change.rc == -ENOSPC || change.rc == -EINVAL);
	}
}

static void clear_errors(void)
{
	struct change change = {0};

	MUST(run_change(&change, on_clear) == 0);
	soak.hang_until_ms = 0;
}

static void end_hangs_in_time(void)
{
	if (soak.hang_until_ms != 0 && soak_now_ms() > soak.hang_until_ms) {
		clear_errors();
	}
}

static void set_latency(void)
{
	uint64_t us = below(2) * below(3000);
	struct change change = {.latency = {.avg_read_us = us, .avg_write_us = us / 2}};

	MUST(run_change(&change, on_latency) == 0);
}

/* ---- the library ---- */

static void start_library(void)
{
	xbdev_init_options_t options = {.size = sizeof(options),
		.nr_reactors = 1 + (uint32_t)below(4),
		.never_spin = below(2) == 0,
		.is_embedded = below(4) == 0};

	MUST(xbdev_init_with(&options) == 0);
	soak.is_embedded = options.is_embedded;
	for (uint32_t i = 0; i < NR_DEVICES; i++) {
		make(i);
	}
}

static void open_all(void)
{
	for (uint32_t i = 0; i < NR_DEVICES; i++) {
		open_device(i);
	}
}

static void restart_library(void)
{
	uint64_t start_ms = soak_now_ms();

	for (uint32_t i = 0; i < NR_DEVICES; i++) {
		begin_trouble(i);
		atomic_store(&devices[i].fd, -1);
	}
	MUST(xbdev_fini() == 0);
	MUST(soak_now_ms() - start_ms < PATIENCE_MS);
	MUST(xbdev_fini() == -ESHUTDOWN);
	soak.is_embedded = false;
	soak.hang_until_ms = 0;
	wait_for_visits();
	start_library();
	for (uint32_t i = 0; i < NR_DEVICES; i++) {
		atomic_fetch_add(&devices[i].incarnation, 1);
	}
	open_all();
	for (uint32_t i = 0; i < NR_DEVICES; i++) {
		end_trouble(i);
	}
	soak.nr_rounds++;
}

static void look_at_devices(void)
{
	xbdev_info_t infos[16];
	int count = xbdev_list(infos, 16);

	MUST(count == NR_DEVICES + 2);
	for (int i = 0; i < count; i++) {
		MUST(xbdev_config_malloc(1, BLOCK, infos[i].name) == -EEXIST);
	}
	MUST(xbdev_open("nobody") == -ENODEV);
}

static void collect_statistics(void)
{
	const char *name = devices[below(NR_DEVICES)].name;
	const xbdev_stats_config_t config = {.interval_ms = 10, .history = 8};
	xbdev_stats_sample_t samples[8];
	xbdev_stats_t stats;
	int rc = xbdev_stats_collect_start(name, &config);

	MUST(rc == 0 || rc == -EALREADY);
	MUST(xbdev_stats_get(name, &stats) == 0);
	MUST(xbdev_stats_history_get(name, samples, 8) >= 0);
	if (below(2) == 0) {
		MUST(xbdev_stats_collect_stop(name) == 0);
	}
}

static void step(void)
{
	worker_burst(&soak.workers[NR_WORKERS - 1], (uint32_t)below(40));
	switch (below(21)) {
	case 0:
		restart_library();
		break;
	case 20:
		collect_statistics();
		break;
	case 1:
	case 2:
	case 3:
		renew((uint32_t)below(NR_DEVICES));
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		reopen((uint32_t)below(NR_DEVICES));
		break;
	case 8:
	case 9:
		set_latency();
		break;
	case 10:
		look_at_devices();
		break;
	case 11:
		clear_errors();
		break;
	default:
		inject();
		break;
	}
	end_hangs_in_time();
}

/* ---- workers ---- */

static void start_workers(void)
{
	int queue = xbdev_io_queue_create("batches", 64, 0);
	int shared = xbdev_io_queue_create("shared", 64, 0);

	MUST(queue >= 0 && shared >= 0);
	for (uint32_t i = 0; i < NR_WORKERS; i++) {
		struct worker *worker = &soak.workers[i];

		worker->index = i;
		worker->next_version = (uint64_t)(i + 1) << 48;
		worker->queue = i == 5 ? queue : i == 6 || i == 7 ? shared : -1;
		xu_random_seed(&worker->random, soak.seed + 1 + i);
		MUST(pthread_mutex_init(&worker->mutex, NULL) == 0);
		for (uint32_t device = 0; device < NR_DEVICES; device++) {
			for (uint32_t j = 0; j < WORKER_BLOCKS; j++) {
				worker->regions[device].blocks[j].nr_possible = 1;
			}
		}
		MUST(worker_kinds[i] == NULL ||
			pthread_create(&worker->thread, NULL, worker_kinds[i], worker) == 0);
	}
}

static void *join_all(void *arg)
{
	for (uint32_t i = 0; i < NR_WORKERS; i++) {
		if (worker_kinds[i] != NULL) {
			pthread_join(soak.workers[i].thread, NULL);
		}
	}
	atomic_store((_Atomic bool *)arg, true);
	return NULL;
}

/* They wait for their I/O, which may need this thread to drive a reactor. */
static void stop_workers(void)
{
	_Atomic bool is_done = false;
	pthread_t joiner;

	clear_errors();
	for (uint32_t i = 0; i < NR_WORKERS; i++) {
		atomic_store(&soak.workers[i].must_stop, true);
	}
	MUST(pthread_create(&joiner, NULL, join_all, &is_done) == 0);
	while (!atomic_load(&is_done)) {
		rest_us(1000);
	}
	pthread_join(joiner, NULL);
	while (worker_drain(&soak.workers[NR_WORKERS - 1]) != 0) {
		/* Nothing hangs any more. */
	}
}

static void verify(void)
{
	clear_errors();
	for (uint32_t i = 0; i < NR_WORKERS; i++) {
		model_verify(&soak.workers[i]);
	}
	MUST(xbdev_io_queue_destroy(soak.workers[5].queue) == 0);
	MUST(xbdev_io_queue_destroy(soak.workers[6].queue) == 0);
	MUST(xbdev_fini() == 0);
}

static void report(void)
{
	uint64_t nr_done = 0, nr_failed = 0, nr_cancelled = 0, nr_late = 0;

	for (uint32_t i = 0; i < NR_WORKERS; i++) {
		const struct worker *worker = &soak.workers[i];

		nr_done += worker->nr_done;
		nr_failed += worker->nr_failed;
		nr_cancelled += worker->nr_cancelled;
		nr_late += worker->nr_late;
		MUST(worker->nr_done != 0);
	}
	printf("%llu I/Os done, %llu failed, %llu cancelled, %llu too late; %u closes, %u "
	       "removals, "
	       "%u rules, %u restarts of the library\n",
		(unsigned long long)nr_done, (unsigned long long)nr_failed,
		(unsigned long long)nr_cancelled, (unsigned long long)nr_late, soak.nr_closes,
		soak.nr_removals, soak.nr_rules, soak.nr_rounds);
}

static bool parse(int argc, char **argv)
{
	soak.seconds = 10;
	soak.seed = (uint64_t)time(NULL);
	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t *number = strcmp(argv[i], "--seconds") == 0 ? &soak.seconds
				   : strcmp(argv[i], "--seed") == 0  ? &soak.seed
								     : NULL;
		char *end;

		if (number == NULL) {
			return false;
		}
		*number = strtoull(argv[i + 1], &end, 0);
		if (*end != '\0') {
			return false;
		}
	}
	return argc % 2 == 1 && soak.seconds < UINT32_MAX / 1000;
}

int main(int argc, char **argv)
{
	uint64_t end_ms;

	if (!parse(argc, argv)) {
		fprintf(stderr, "usage: %s [--seconds N] [--seed S]\n", argv[0]);
		return 2;
	}
	printf("--seconds %llu --seed %llu\n", (unsigned long long)soak.seconds,
		(unsigned long long)soak.seed);
	fflush(stdout);
	alarm((unsigned)soak.seconds + WATCHDOG_S);
	xu_random_seed(&soak.random, soak.seed);
	unlink(FILE_NAME);
	make_file();
	start_library();
	open_all();
	start_workers();
	end_ms = soak_now_ms() + soak.seconds * 1000;
	while (soak_now_ms() < end_ms) {
		rest_us(1000 + below(40000));
		step();
	}
	stop_workers();
	verify();
	unlink(FILE_NAME);
	report();
	return 0;
}
