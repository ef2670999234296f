/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics and their history through the public interface: every I/O is counted once, in the
 * right place and over the right time, whatever resets, removals and other threads do meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define BLOCK      4096u
#define MIB        (1u << 20)
#define PATIENCE_S 60

static bool is_embedded;

static int start_as(bool embedded)
{
	xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = 2, .is_embedded = embedded};

	is_embedded = embedded;
	assert_int_equal(xbdev_init_with(&options), 0);
	assert_int_equal(xbdev_config_malloc(16, BLOCK, "mem"), 0);
	return 0;
}

static int start_threads(void **state)
{
	return start_as(false);
}

static int start_embedded(void **state)
{
	return start_as(true);
}

static int stop(void **state)
{
	return xbdev_fini();
}

static void pass_ms(uint32_t ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};

	if (is_embedded) {
		struct timespec now, end;

		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += pause.tv_sec + (end.tv_nsec + pause.tv_nsec) / 1000000000l;
		end.tv_nsec = (end.tv_nsec + pause.tv_nsec) % 1000000000l;
		do {
			xbdev_poll(500);
			clock_gettime(CLOCK_MONOTONIC, &now);
		} while (now.tv_sec < end.tv_sec ||
			 (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
		return;
	}
	nanosleep(&pause, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static xbdev_stats_t get(const char *device)
{
	xbdev_stats_t stats;

	memset(&stats, 0xee, sizeof(stats));
	if (xbdev_stats_get(device, &stats) != 0) {
		fail_msg("%s", xbdev_last_error());
	}
	return stats;
}

static void do_reads(int fd, uint32_t count, size_t len)
{
	char *buf = xbdev_dma_buffer_alloc(len);

	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(xbdev_read(fd, buf, len, 0), (ssize_t)len);
	}
	xbdev_dma_buffer_free(buf);
}

/* ---- counting ---- */

static void test_stats_count_every_operation_once(void **state)
{
	int fd = xbdev_open("mem");
	char *buf = xbdev_dma_buffer_alloc(2 * BLOCK);
	xbdev_stats_t stats;

	do_reads(fd, 3, 2 * BLOCK);
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_write(fd, buf, 2 * BLOCK, BLOCK), 2 * BLOCK);
	assert_int_equal(xbdev_flush(fd), 0);
	assert_int_equal(xbdev_discard(fd, 4 * BLOCK, 3 * BLOCK), 0);
	assert_int_equal(xbdev_write_zeroes(fd, 0, 5 * BLOCK, 0), 0);
	assert_int_equal(xbdev_compare(fd, buf, BLOCK, 0), 0);
	buf[0] = 1;
	assert_int_equal(xbdev_compare(fd, buf, BLOCK, 0), -EBADE);

	stats = get("mem");
	assert_int_equal(stats.ops[XBDEV_OP_READ].count, 3);
	assert_int_equal(stats.ops[XBDEV_OP_READ].bytes, 6 * BLOCK);
	assert_int_equal(stats.ops[XBDEV_OP_WRITE].count, 2);
	assert_int_equal(stats.ops[XBDEV_OP_WRITE].bytes, 3 * BLOCK);
	assert_int_equal(stats.ops[XBDEV_OP_FLUSH].count, 1);
	assert_int_equal(stats.ops[XBDEV_OP_DISCARD].bytes, 3 * BLOCK);
	assert_int_equal(stats.ops[XBDEV_OP_WRITE_ZEROES].bytes, 5 * BLOCK);
	assert_int_equal(stats.ops[XBDEV_OP_COMPARE].count, 2);
	assert_int_equal(stats.ops[XBDEV_OP_COMPARE].errors, 1);
	assert_int_equal(stats.ops[XBDEV_OP_COMPARE].bytes, BLOCK);
	assert_int_equal(stats.all.count, 10);
	assert_int_equal(stats.all.errors, 1);
	assert_int_equal(stats.all.bytes, 9 * BLOCK);
	assert_int_equal(stats.queue_depth, 0);
	assert_int_equal(stats.queue_depth_max, 1);

	xbdev_dma_buffer_free(buf);
	assert_int_equal(xbdev_close(fd), 0); /* what it did stays known */
	assert_int_equal(get("mem").all.count, 10);
	assert_int_equal(xbdev_stats_reset("mem"), 0);
	stats = get("mem");
	assert_int_equal(stats.all.count, 0);
	assert_int_equal(stats.all.p50_ns, 0);
	assert_int_equal(stats.iops, 0);
	assert_int_equal(stats.avg_latency_us, 0);
}

static void test_stats_latencies_are_in_order_and_right(void **state)
{
	static const char slow[] = "{\"driver\": \"delay\", \"name\": \"slow\", \"base\": \"mem\", "
				   "\"avg_read_latency_us\": 3000}";
	xbdev_stats_t stats;
	int fd;

	assert_int_equal(xbdev_config_device(slow), 0);
	fd = xbdev_open("slow");
	do_reads(fd, 20, BLOCK);
	stats = get("slow");
	assert_in_range(stats.ops[XBDEV_OP_READ].p50_ns, 3000000, 500000000);
	assert_true(stats.all.p50_ns <= stats.all.p95_ns);
	assert_true(stats.all.p95_ns <= stats.all.p99_ns);
	assert_true(stats.all.p99_ns <= stats.all.p999_ns);
	assert_true(stats.all.p999_ns <= stats.all.max_ns);
	assert_in_range(stats.all.mean_ns, 3000000, stats.all.max_ns);
	assert_int_equal(stats.avg_latency_us, (stats.all.mean_ns + 500) / 1000);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_config_remove("slow"), 0);
}

static void test_stats_take_names_and_uuids(void **state)
{
	xbdev_info_t info;
	xbdev_stats_t stats;
	int fd = xbdev_open("mem");

	assert_int_equal(xbdev_get_info(fd, &info), 0);
	do_reads(fd, 1, BLOCK);
	assert_int_equal(get(info.uuid).all.count, 1);
	assert_int_equal(xbdev_stats_get("nobody", &stats), -ENODEV);
	assert_non_null(strstr(xbdev_last_error(), "nobody"));
	assert_int_equal(xbdev_stats_get(NULL, &stats), -EINVAL);
	assert_int_equal(xbdev_stats_get("mem", NULL), -EINVAL);
	assert_int_equal(xbdev_stats_reset("nobody"), -ENODEV);
	assert_int_equal(xbdev_stats_reset(NULL), -EINVAL);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_stats_need_the_library(void **state)
{
	xbdev_stats_sample_t sample;
	xbdev_stats_t stats;

	assert_int_equal(xbdev_stats_get("mem", &stats), -ESHUTDOWN);
	assert_int_equal(xbdev_stats_reset("mem"), -ESHUTDOWN);
	assert_int_equal(xbdev_stats_collect_start("mem", NULL), -ESHUTDOWN);
	assert_int_equal(xbdev_stats_collect_stop("mem"), -ESHUTDOWN);
	assert_int_equal(xbdev_stats_history_get("mem", &sample, 1), -ESHUTDOWN);
}

/* ---- rates ---- */

static void assert_rate(uint64_t rate, uint64_t amount, uint64_t window_ms)
{
	/* The window is told in whole milliseconds and the rate is rounded. */
	assert_true(rate * window_ms / 1000 <= amount + rate / 1000 + 1);
	assert_true((rate + 1) * (window_ms + 1) / 1000 + 1 >= amount);
}

static void test_stats_rates_are_since_the_reset_without_a_collection(void **state)
{
	uint64_t before_ms = now_ms(), passed_ms;
	int fd = xbdev_open("mem");
	xbdev_stats_t stats;

	assert_int_equal(xbdev_stats_reset("mem"), 0);
	do_reads(fd, 200, MIB);
	pass_ms(50);
	stats = get("mem");
	passed_ms = now_ms() - before_ms;
	assert_in_range(stats.window_ms, 50, passed_ms);
	assert_int_equal(stats.window_ms, stats.since_ms);
	assert_rate(stats.iops, 200, stats.window_ms);
	assert_rate(stats.bytes_per_s / MIB, 200, stats.window_ms);
	assert_int_equal(stats.bandwidth_mbps, (stats.bytes_per_s + MIB / 2) / MIB);
	assert_true(stats.iops == stats.bandwidth_mbps || stats.iops == stats.bandwidth_mbps + 1 ||
		    stats.iops + 1 == stats.bandwidth_mbps);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_stats_rates_are_of_the_collections_interval(void **state)
{
	const xbdev_stats_config_t config = {.interval_ms = 3600000};
	const xbdev_stats_config_t quick = {.interval_ms = 20};
	int fd = xbdev_open("mem");
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;
	xbdev_stats_t stats;

	/* No whole interval yet: since it began. */
	do_reads(fd, 100, BLOCK);
	pass_ms(30);
	assert_int_equal(xbdev_stats_collect_start("mem", &config), 0);
	do_reads(fd, 10, BLOCK);
	pass_ms(10);
	stats = get("mem");
	assert_int_equal(stats.all.count, 110);
	assert_true(stats.window_ms + 29 <= stats.since_ms);
	assert_rate(stats.iops, 10, stats.window_ms);
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);

	/* In an interval without I/O nothing is done, however much was done before. */
	assert_int_equal(xbdev_stats_collect_start("mem", &quick), 0);
	do {
		pass_ms(25);
		stats = get("mem");
		assert_true(now_ms() < end_ms);
	} while (stats.iops != 0 || stats.window_ms < 20);
	assert_int_equal(stats.avg_latency_us, 0);
	assert_int_equal(stats.all.count, 110);
	/* And afterwards it counts since the beginning again. */
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
	stats = get("mem");
	assert_int_equal(stats.window_ms, stats.since_ms);
	assert_rate(stats.iops, 110, stats.window_ms);
	assert_int_equal(xbdev_close(fd), 0);
}

/* ---- the history ---- */

/* What the history has, summed up. */
static xbdev_stats_sample_t sum_of(const xbdev_stats_sample_t *samples, int count)
{
	xbdev_stats_sample_t sum = {0};

	for (int i = 0; i < count; i++) {
		const xbdev_stats_sample_t *s = &samples[i];

		assert_true(i == 0 || s->time_ms >= samples[i - 1].time_ms);
		assert_true(s->p50_ns <= s->p95_ns && s->p95_ns <= s->p99_ns);
		assert_true(s->p99_ns <= s->p999_ns && s->p999_ns <= s->max_ns);
		sum.nr_reads += s->nr_reads;
		sum.nr_writes += s->nr_writes;
		sum.nr_others += s->nr_others;
		sum.bytes_read += s->bytes_read;
		sum.bytes_written += s->bytes_written;
		sum.errors += s->errors;
		sum.interval_us += s->interval_us;
	}
	return sum;
}

/* Waits until the history has seen so many operations. */
static int wait_history(xbdev_stats_sample_t *samples, int max, uint64_t nr_ops)
{
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000, seen;
	int count;

	do {
		pass_ms(5);
		count = xbdev_stats_history_get("mem", samples, max);
		assert_true(count >= 0);
		seen = sum_of(samples, count).nr_reads + sum_of(samples, count).nr_writes +
		       sum_of(samples, count).nr_others;
		assert_true(now_ms() < end_ms);
	} while (seen < nr_ops);
	assert_int_equal(seen, nr_ops);
	return count;
}

static void test_history_has_every_operation_once(void **state)
{
	enum { MAX = 5000 };
	const xbdev_stats_config_t config = {.interval_ms = 10, .history = MAX};
	xbdev_stats_sample_t *samples = calloc(MAX, sizeof(*samples)), sum;
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd = xbdev_open("mem"), count;
	uint64_t begin_ms;

	do_reads(fd, 50, BLOCK); /* before it began */
	begin_ms = now_ms();
	assert_int_equal(xbdev_stats_collect_start("mem", &config), 0);
	for (int i = 0; i < 10; i++) {
		do_reads(fd, 7, 2 * BLOCK);
		assert_int_equal(xbdev_write(fd, buf, BLOCK, 0), BLOCK);
		assert_int_equal(xbdev_flush(fd), 0);
		buf[0] = 7;
		assert_int_equal(xbdev_compare(fd, buf, BLOCK, 8 * BLOCK), -EBADE);
		pass_ms(3);
	}
	count = wait_history(samples, MAX, 100);
	sum = sum_of(samples, count);
	assert_int_equal(sum.nr_reads, 70);
	assert_int_equal(sum.nr_writes, 10);
	assert_int_equal(sum.nr_others, 20);
	assert_int_equal(sum.bytes_read, 70 * 2 * BLOCK);
	assert_int_equal(sum.bytes_written, 10 * BLOCK);
	assert_int_equal(sum.errors, 10);
	assert_in_range(sum.interval_us, 10000, (now_ms() - begin_ms + 2) * 1000);
	assert_in_range(samples[count - 1].time_ms, 1600000000000, 10000000000000);
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
	assert_int_equal(xbdev_close(fd), 0);
	xbdev_dma_buffer_free(buf);
	free(samples);
}

static void test_history_is_bounded_and_gives_the_newest(void **state)
{
	const xbdev_stats_config_t config = {.interval_ms = 10, .history = 4};
	xbdev_stats_sample_t samples[8], last[2];
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;
	int count;

	assert_int_equal(xbdev_stats_collect_start("mem", &config), 0);
	do {
		pass_ms(10);
		assert_true(now_ms() < end_ms);
		assert_int_equal(xbdev_stats_history_get("mem", samples, 0), 0);
		count = xbdev_stats_history_get("mem", samples, 8);
		assert_in_range(count, 0, 4);
	} while (count < 4);
	pass_ms(30);
	assert_int_equal(xbdev_stats_history_get("mem", samples, 8), 4);
	/* One that came late and the next may share a millisecond. */
	do {
		assert_true(now_ms() < end_ms);
		pass_ms(5);
		assert_int_equal(xbdev_stats_history_get("mem", last, 2), 2);
		assert_true(last[0].time_ms >= samples[2].time_ms);
		assert_true(last[1].time_ms >= last[0].time_ms);
	} while (last[1].time_ms < last[0].time_ms + 5);
	assert_int_equal(xbdev_stats_history_get("mem", samples, -1), -EINVAL);
	assert_int_equal(xbdev_stats_history_get("mem", NULL, 1), -EINVAL);
	assert_int_equal(xbdev_stats_history_get(NULL, samples, 1), -EINVAL);
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
}

/* A part of it is copied at a time; together they are the whole, in order. */
static void test_history_may_be_long(void **state)
{
	enum { WANTED = 300, MAX = 2000 };
	const xbdev_stats_config_t config = {.interval_ms = 10, .history = MAX};
	xbdev_stats_sample_t *samples = calloc(MAX, sizeof(*samples));
	uint64_t end_ms = now_ms() + 3 * PATIENCE_S * 1000;
	int count;

	assert_int_equal(xbdev_stats_collect_start("mem", &config), 0);
	do {
		pass_ms(500);
		assert_true(now_ms() < end_ms);
		count = xbdev_stats_history_get("mem", samples, MAX);
	} while (count < WANTED);
	for (int i = 1; i < count; i++) {
		/* One that came late and the next may share a millisecond. */
		assert_true(samples[i].time_ms >= samples[i - 1].time_ms);
	}
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
	free(samples);
}

static void test_history_survives_a_reset(void **state)
{
	enum { MAX = 3000 };
	const xbdev_stats_config_t config = {.interval_ms = 10, .history = MAX};
	xbdev_stats_sample_t *samples = calloc(MAX, sizeof(*samples)), sum;
	int fd = xbdev_open("mem"), count;

	assert_int_equal(xbdev_stats_collect_start("mem", &config), 0);
	do_reads(fd, 20, BLOCK);
	wait_history(samples, MAX, 20);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(xbdev_stats_reset("mem"), 0);
		pass_ms(4);
	}
	do_reads(fd, 5, BLOCK);
	count = wait_history(samples, MAX, 25);
	sum = sum_of(samples, count);
	assert_int_equal(sum.bytes_read, 25 * BLOCK);
	assert_int_equal(get("mem").all.count, 5);
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
	assert_int_equal(xbdev_close(fd), 0);
	free(samples);
}

/* ---- starting, stopping, going ---- */

static void test_collections_tell_what_is_wrong(void **state)
{
	static const xbdev_stats_config_t wrong[] = {{.interval_ms = 9},
		{.interval_ms = XBDEV_STATS_INTERVAL_MAX_MS + 1},
		{.history = XBDEV_STATS_HISTORY_MAX + 1}, {.history = UINT32_MAX}};
	const xbdev_stats_config_t defaults = {0};
	xbdev_stats_sample_t sample;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(xbdev_stats_collect_start("mem", &wrong[i]), -EINVAL);
		assert_non_null(strstr(xbdev_last_error(), "is not possible"));
	}
	assert_int_equal(xbdev_stats_collect_start("nobody", NULL), -ENODEV);
	assert_int_equal(xbdev_stats_collect_start(NULL, NULL), -EINVAL);
	assert_int_equal(xbdev_stats_collect_stop("mem"), -ENOENT);
	assert_int_equal(xbdev_stats_collect_stop(NULL), -EINVAL);
	assert_int_equal(xbdev_stats_history_get("mem", &sample, 1), -ENOENT);
	assert_non_null(strstr(xbdev_last_error(), "start that first"));

	assert_int_equal(xbdev_stats_collect_start("mem", NULL), 0);
	assert_int_equal(xbdev_stats_collect_start("mem", &defaults), -EALREADY);
	assert_int_equal(xbdev_stats_history_get("mem", &sample, 1), 0); /* one second each */
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
	assert_int_equal(xbdev_stats_collect_stop("mem"), -ENOENT);
	assert_int_equal(xbdev_stats_collect_start("mem", &defaults), 0);
	assert_int_equal(xbdev_stats_collect_stop("mem"), 0);
}

static void test_collections_go_with_their_devices(void **state)
{
	const xbdev_stats_config_t config = {.interval_ms = 10};
	xbdev_stats_sample_t sample;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "other"), 0);
		assert_int_equal(xbdev_stats_collect_start("other", &config), 0);
		pass_ms((uint32_t)i % 4 * 5);
		assert_int_equal(xbdev_config_remove("other"), 0);
		assert_int_equal(xbdev_stats_history_get("other", &sample, 1), -ENODEV);
	}
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "other"), 0);
	assert_int_equal(xbdev_stats_history_get("other", &sample, 1), -ENOENT);
	/* The library may end with collections. */
	assert_int_equal(xbdev_stats_collect_start("other", &config), 0);
	assert_int_equal(xbdev_stats_collect_start("mem", &config), 0);
}

/* ---- threads ---- */

struct racer {
	pthread_t thread;
	unsigned seed;
	_Atomic bool *must_end;
	uint64_t nr_reads;
};

static void *race(void *arg)
{
	static const xbdev_stats_config_t config = {.interval_ms = 10, .history = 3};
	struct racer *racer = arg;
	xbdev_stats_sample_t samples[4];
	int fd = xbdev_open("mem");
	char buf[BLOCK];
	xbdev_stats_t stats;

	while (!atomic_load(racer->must_end)) {
		switch (rand_r(&racer->seed) % 6) {
		case 0:
			xbdev_stats_collect_start("mem", &config);
			break;
		case 1:
			xbdev_stats_collect_stop("mem");
			break;
		case 2:
			xbdev_stats_history_get("mem", samples, 4);
			break;
		default:
			racer->nr_reads += xbdev_read(fd, buf, BLOCK, 0) == BLOCK;
			xbdev_stats_get("mem", &stats);
			break;
		}
	}
	xbdev_close(fd);
	return NULL;
}

static void test_stats_of_several_threads_are_exact(void **state)
{
	enum { NR = 3 };
	_Atomic bool must_end = false;
	struct racer racers[NR] = {0};
	uint64_t nr_reads = 0;

	for (unsigned i = 0; i < NR; i++) {
		racers[i] = (struct racer){.seed = i, .must_end = &must_end};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	pass_ms(500);
	atomic_store(&must_end, true);
	for (unsigned i = 0; i < NR; i++) {
		pthread_join(racers[i].thread, NULL);
		nr_reads += racers[i].nr_reads;
	}
	assert_true(nr_reads > 0);
	assert_int_equal(get("mem").ops[XBDEV_OP_READ].count, nr_reads);
}

#define IN_THREADS(name) cmocka_unit_test_setup_teardown(name, start_threads, stop)
#define EMBEDDED(name)   cmocka_unit_test_setup_teardown(name, start_embedded, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stats_need_the_library),
		IN_THREADS(test_stats_count_every_operation_once),
		EMBEDDED(test_stats_count_every_operation_once),
		IN_THREADS(test_stats_latencies_are_in_order_and_right),
		IN_THREADS(test_stats_take_names_and_uuids),
		IN_THREADS(test_stats_rates_are_since_the_reset_without_a_collection),
		IN_THREADS(test_stats_rates_are_of_the_collections_interval),
		EMBEDDED(test_stats_rates_are_of_the_collections_interval),
		IN_THREADS(test_history_has_every_operation_once),
		EMBEDDED(test_history_has_every_operation_once),
		IN_THREADS(test_history_is_bounded_and_gives_the_newest),
		IN_THREADS(test_history_may_be_long),
		IN_THREADS(test_history_survives_a_reset),
		IN_THREADS(test_collections_tell_what_is_wrong),
		IN_THREADS(test_collections_go_with_their_devices),
		EMBEDDED(test_collections_go_with_their_devices),
		IN_THREADS(test_stats_of_several_threads_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
