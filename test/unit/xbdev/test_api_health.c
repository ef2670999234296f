/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Health through the public interface, and the thread that tells of it: what is known of devices
 * without SMART, errors that become events, callbacks that come, go, call back, take long, or are
 * in the way when the library ends. What a real kernel says of real logs is shown in
 * test/e2e/test-health.sh.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define BLOCK      4096u
#define PATIENCE_S 60

static char file[64];

static int start(void **state)
{
	int fd;

	strcpy(file, "/tmp/xsan-test-health-XXXXXX");
	fd = mkstemp(file);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	assert_int_equal(xbdev_init(), 0);
	assert_int_equal(xbdev_config_aio(file, "disk"), 0);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "mem"), 0);
	return 0;
}

static int stop(void **state)
{
	unlink(file);
	return xbdev_fini();
}

static void pass_ms(uint32_t ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};

	nanosleep(&pause, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static xbdev_health_info_t get(const char *device)
{
	xbdev_health_info_t health;

	memset(&health, 0xee, sizeof(health));
	if (xbdev_health_status_get(device, &health) != 0) {
		fail_msg("%s", xbdev_last_error());
	}
	return health;
}

/* An I/O of the file device that fails, because the file is shorter than the device. */
static void fail_a_read(void)
{
	int fd = xbdev_open("disk");
	char *buf = xbdev_dma_buffer_alloc(BLOCK);

	assert_int_equal(truncate(file, 0), 0);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), -EIO);
	assert_int_equal(truncate(file, 1 << 20), 0);
	assert_int_equal(xbdev_close(fd), 0);
	xbdev_dma_buffer_free(buf);
}

/* ---- what is known ---- */

static void test_health_of_memory_is_our_own_statistics(void **state)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd = xbdev_open("mem");
	xbdev_health_info_t health;

	for (int i = 0; i < 7; i++) {
		assert_int_equal(xbdev_write(fd, buf, BLOCK, 0), BLOCK);
	}
	buf[0] = 1;
	assert_int_equal(xbdev_compare(fd, buf, BLOCK, 0), -EBADE); /* is no error of the device */
	health = get("mem");
	assert_int_equal(health.health_percentage, 100);
	assert_string_equal(health.reason, "");
	assert_int_equal(health.estimated_lifetime_days, -1);
	assert_string_equal(health.estimate_method, "unknown: there is no SMART data");
	assert_int_equal(health.total_bytes_written, 7 * BLOCK);
	assert_int_equal(health.temperature, XBDEV_HEALTH_UNKNOWN_TEMPERATURE);
	assert_int_equal(health.wear_level, -1);
	assert_int_equal(health.spare_percentage, -1);
	assert_int_equal(health.power_on_hours, -1);
	assert_int_equal(health.unsafe_shutdowns, -1);
	assert_int_equal(health.bad_sectors, -1);
	assert_int_equal(health.warnings, 0);
	assert_int_equal(health.io_errors, 0);
	assert_int_equal(health.io_operations, 7);
	assert_false(health.has_smart);
	assert_string_equal(health.source, "statistics of this library; it stands on no disk");
	assert_in_range(health.time_ms, 1600000000000, 10000000000000);
	assert_int_equal(xbdev_close(fd), 0);
	xbdev_dma_buffer_free(buf);
}

static void test_health_counts_errors(void **state)
{
	xbdev_health_info_t health;

	fail_a_read();
	health = get("disk");
	assert_int_equal(health.io_errors, 1);
	assert_int_equal(health.io_operations, 1);
	assert_int_equal(health.health_percentage, 0);
	assert_string_equal(health.reason, "1 of 1 operations have failed");
	/* Either this machine's disk tells something, or it is said why not. */
	assert_true(health.has_smart ||
		    strncmp(health.source, "statistics of this library; no SMART: ", 38) == 0);
}

static void test_health_of_a_filter_is_that_of_its_base(void **state)
{
	static const char delay[] =
		"{\"driver\": \"delay\", \"name\": \"slow\", \"base\": \"disk\", "
		"\"avg_read_latency_us\": 1}";
	char source[sizeof(((xbdev_health_info_t *)0)->source)];

	assert_int_equal(xbdev_config_device(delay), 0);
	strcpy(source, get("disk").source);
	assert_string_equal(get("slow").source, source);
	assert_int_equal(xbdev_config_remove("slow"), 0);
}

static void test_health_tells_what_is_wrong(void **state)
{
	static const xbdev_health_config_t wrong[] = {
		{.interval_s = XBDEV_HEALTH_INTERVAL_MAX_S + 1},
		{.temperature_threshold = 251},
		{.temperature_threshold = -101},
		{.wear_level_threshold = 256},
	};
	xbdev_health_info_t health;

	assert_int_equal(xbdev_health_status_get("nobody", &health), -ENODEV);
	assert_int_equal(xbdev_health_status_get(NULL, &health), -EINVAL);
	assert_int_equal(xbdev_health_status_get("mem", NULL), -EINVAL);
	assert_int_equal(xbdev_health_monitor_stop(), -ENOENT);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(xbdev_health_monitor_start(&wrong[i]), -EINVAL);
	}
	assert_int_equal(xbdev_health_monitor_start(NULL), 0);
	assert_int_equal(xbdev_health_monitor_start(NULL), -EALREADY);
	assert_int_equal(xbdev_health_monitor_stop(), 0);
	assert_int_equal(xbdev_health_monitor_start(&(xbdev_health_config_t){0}), 0);
	assert_string_equal(
		get("disk").source, "statistics of this library; SMART is switched off");
	assert_int_equal(xbdev_health_monitor_stop(), 0);
}

static void test_health_needs_the_library(void **state)
{
	xbdev_health_info_t health;

	assert_int_equal(xbdev_health_status_get("mem", &health), -ESHUTDOWN);
	assert_int_equal(xbdev_health_monitor_start(NULL), -ESHUTDOWN);
	assert_int_equal(xbdev_health_monitor_stop(), -ESHUTDOWN);
	assert_int_equal(
		xbdev_mgmt_register_notification_callback((xbdev_notification_cb)abort, NULL),
		-ESHUTDOWN);
}

/* ---- events ---- */

struct record {
	pthread_mutex_t mutex;
	xbdev_health_event_t events[16];
	xbdev_notification_t notifications[600];
	uint32_t nr_events, nr_notifications;
	pthread_t thread;
	_Atomic bool must_block, is_inside;
	_Atomic uint32_t nr_running;
};

static struct record record = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int start_recording(void **state)
{
	record.nr_events = record.nr_notifications = 0;
	atomic_store(&record.must_block, false);
	return start(state);
}

static void on_event(const xbdev_health_event_t *event, void *ctx)
{
	pthread_mutex_lock(&record.mutex);
	record.thread = pthread_self();
	record.events[record.nr_events++ % 16] = *event;
	pthread_mutex_unlock(&record.mutex);
	assert_ptr_equal(ctx, &record);
}

static void on_notification(const xbdev_notification_t *notification, void *arg)
{
	atomic_fetch_add(&record.nr_running, 1);
	atomic_store(&record.is_inside, true);
	while (atomic_load(&record.must_block)) {
		pass_ms(1);
	}
	pthread_mutex_lock(&record.mutex);
	record.thread = pthread_self();
	record.notifications[record.nr_notifications++ % 600] = *notification;
	pthread_mutex_unlock(&record.mutex);
	atomic_store(&record.is_inside, false);
	atomic_fetch_sub(&record.nr_running, 1);
}

/* Waits for the so manieth event or notification. */
static void wait_for(const uint32_t *counter, uint32_t count)
{
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;
	bool is_there = false;

	while (!is_there) {
		pthread_mutex_lock(&record.mutex);
		is_there = *counter >= count;
		pthread_mutex_unlock(&record.mutex);
		assert_true(now_ms() < end_ms);
		pass_ms(1);
	}
}

static void test_errors_are_told_once_and_then_their_end(void **state)
{
	const xbdev_health_config_t config = {.interval_s = 1};

	assert_int_equal(xbdev_register_health_callback(on_event, &record), 0);
	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	fail_a_read(); /* before the monitor: is not told as new */
	assert_int_equal(xbdev_health_monitor_start(&config), 0);
	pass_ms(300);
	assert_int_equal(get("disk").warnings, 0);
	fail_a_read();
	assert_int_equal(get("disk").warnings, XBDEV_HEALTH_WARN_ERRORS);
	wait_for(&record.nr_events, 1);
	assert_string_equal(record.events[0].device, "disk");
	assert_int_equal(record.events[0].condition, XBDEV_HEALTH_WARN_ERRORS);
	assert_false(record.events[0].is_over);
	assert_string_equal(record.events[0].text,
		"1 operations have failed and 0 times the disk lost data since the last check");
	assert_int_equal(record.events[0].health.io_errors, 2);
	assert_int_equal(record.events[0].health.warnings, XBDEV_HEALTH_WARN_ERRORS);
	wait_for(&record.nr_events, 2);
	assert_int_equal(record.events[1].condition, XBDEV_HEALTH_WARN_ERRORS);
	assert_true(record.events[1].is_over);
	assert_int_equal(record.events[1].health.warnings, 0);
	wait_for(&record.nr_notifications, 2);
	assert_int_equal(record.notifications[0].type, XBDEV_NOTIFICATION_HEALTH);
	assert_string_equal(record.notifications[0].device, "disk");
	assert_non_null(record.notifications[0].health);
	pass_ms(1200);
	assert_int_equal(record.nr_events, 2);

	assert_int_equal(xbdev_health_monitor_stop(), 0);
	fail_a_read();
	pass_ms(1200);
	assert_int_equal(record.nr_events, 2);
	assert_false(pthread_equal(record.thread, pthread_self()));
}

/* ---- notifications ---- */

static void test_notifications_tell_of_devices(void **state)
{
	static const struct {
		int type;
		uint64_t size;
	} expected[] = {{XBDEV_NOTIFICATION_DEVICE_ADDED, 2 << 20},
		{XBDEV_NOTIFICATION_DEVICE_REMOVED, 2 << 20}};
	xbdev_info_t info;
	int fd;

	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	assert_int_equal(xbdev_config_malloc(2, BLOCK, "new"), 0);
	fd = xbdev_open("new");
	assert_int_equal(xbdev_get_info(fd, &info), 0);
	assert_int_equal(xbdev_close(fd), 0);
	assert_int_equal(xbdev_config_remove("new"), 0);
	wait_for(&record.nr_notifications, 2);
	for (int i = 0; i < 2; i++) {
		const xbdev_notification_t *n = &record.notifications[i];

		assert_int_equal(n->type, expected[i].type);
		assert_string_equal(n->device, "new");
		assert_string_equal(n->uuid, info.uuid);
		assert_int_equal(n->size_bytes, expected[i].size);
		assert_int_equal(n->nr_lost, 0);
		assert_null(n->health);
		assert_in_range(n->time_ms, 1600000000000, 10000000000000);
	}
	/* The devices that the library's end removes are not told. */
	assert_int_equal(xbdev_fini(), 0);
	assert_int_equal(record.nr_notifications, 2);
	assert_int_equal(start(NULL), 0);
	/* And nobody is registered any more. */
	assert_int_equal(
		xbdev_mgmt_unregister_notification_callback(on_notification, NULL), -ENOENT);
}

static void test_notifications_that_find_no_place_are_counted(void **state)
{
	enum { NR = 200 };
	uint64_t nr_told = 0, nr_lost = 0;

	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	atomic_store(&record.must_block, true);
	for (int i = 0; i < NR; i++) {
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "new"), 0);
		assert_int_equal(xbdev_config_remove("new"), 0);
	}
	atomic_store(&record.must_block, false);
	wait_for(&record.nr_notifications, 257); /* one was out of the queue */
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "last"), 0);
	wait_for(&record.nr_notifications, 258);
	pthread_mutex_lock(&record.mutex);
	for (uint32_t i = 0; i < record.nr_notifications; i++) {
		nr_told++;
		nr_lost += record.notifications[i].nr_lost;
	}
	pthread_mutex_unlock(&record.mutex);
	assert_int_equal(nr_told + nr_lost, 2 * NR + 1);
	assert_int_equal(record.notifications[257].nr_lost, 2 * NR - 257);
	assert_string_equal(record.notifications[257].device, "last");
}

static void on_nothing(const xbdev_notification_t *notification, void *arg)
{
}

static void on_no_event(const xbdev_health_event_t *event, void *arg)
{
}

static void test_callbacks_are_checked_and_bounded(void **state)
{
	char args[16];

	assert_int_equal(xbdev_mgmt_register_notification_callback(NULL, NULL), -EINVAL);
	assert_int_equal(xbdev_register_health_callback(NULL, NULL), -EINVAL);
	assert_int_equal(xbdev_unregister_health_callback(NULL, NULL), -EINVAL);
	assert_int_equal(xbdev_unregister_health_callback(on_no_event, NULL), -ENOENT);
	for (int i = 0; i < 15; i++) {
		assert_int_equal(
			xbdev_mgmt_register_notification_callback(on_nothing, &args[i]), 0);
	}
	assert_int_equal(xbdev_mgmt_register_notification_callback(on_nothing, &args[3]), -EEXIST);
	assert_int_equal(xbdev_register_health_callback(on_no_event, &args[3]), 0);
	assert_int_equal(xbdev_register_health_callback(on_no_event, &args[4]), -ENOSPC);
	assert_int_equal(xbdev_mgmt_unregister_notification_callback(on_nothing, &args[3]), 0);
	assert_int_equal(
		xbdev_mgmt_unregister_notification_callback(on_nothing, &args[3]), -ENOENT);
	assert_int_equal(xbdev_register_health_callback(on_no_event, &args[4]), 0);
}

static void test_unregistered_callbacks_do_not_run(void **state)
{
	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "new"), 0);
		assert_int_equal(xbdev_config_remove("new"), 0);
		assert_int_equal(
			xbdev_mgmt_unregister_notification_callback(on_notification, NULL), 0);
		assert_int_equal(atomic_load(&record.nr_running), 0);
		assert_int_equal(
			xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	}
}

static _Atomic int call_results[5];
static _Atomic bool has_called;

static void on_calling(const xbdev_notification_t *notification, void *arg)
{
	xbdev_stats_t stats;
	xbdev_health_info_t health;
	char buf[BLOCK];
	int fd = xbdev_open("mem");

	call_results[0] = xbdev_read(fd, buf, BLOCK, 0);
	call_results[1] = xbdev_stats_get("mem", &stats) | xbdev_health_status_get("mem", &health);
	xbdev_close(fd);
	call_results[2] = xbdev_fini();
	call_results[3] = xbdev_init();
	call_results[4] = xbdev_mgmt_unregister_notification_callback(on_calling, NULL);
	has_called = true;
}

static void test_callbacks_may_call_the_library(void **state)
{
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;

	assert_int_equal(xbdev_mgmt_register_notification_callback(on_calling, NULL), 0);
	has_called = false;
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "new"), 0);
	while (!has_called) {
		assert_true(now_ms() < end_ms);
		pass_ms(1);
	}
	assert_int_equal(call_results[0], BLOCK);
	assert_int_equal(call_results[1], 0);
	assert_int_equal(call_results[2], -EDEADLK);
	assert_int_equal(call_results[3], -EDEADLK);
	assert_int_equal(call_results[4], 0);
	has_called = false;
	assert_int_equal(xbdev_config_remove("new"), 0);
	pass_ms(50);
	assert_false(has_called);
}

/* ---- the end ---- */

static void *unblock_later(void *arg)
{
	pass_ms(300);
	atomic_store(&record.must_block, false);
	return NULL;
}

static void test_the_end_waits_for_a_callback(void **state)
{
	pthread_t thread;

	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	atomic_store(&record.must_block, true);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "new"), 0);
	while (!atomic_load(&record.is_inside)) {
		pass_ms(1);
	}
	assert_int_equal(pthread_create(&thread, NULL, unblock_later, NULL), 0);
	assert_int_equal(xbdev_fini(), 0);
	assert_false(atomic_load(&record.is_inside));
	pthread_join(thread, NULL);
	assert_int_equal(start(NULL), 0);
}

/* One that waits for the thread that ends the library: that is told, and nothing is lost. */
static void test_a_callback_that_does_not_return_is_an_error(void **state)
{
	uint64_t begin_ms;

	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	atomic_store(&record.must_block, true);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "new"), 0);
	while (!atomic_load(&record.is_inside)) {
		pass_ms(1);
	}
	begin_ms = now_ms();
	assert_int_equal(xbdev_fini(), -EBUSY);
	assert_string_equal(xbdev_last_error(),
		"the library cannot end: a notification callback does not return; let it, and call "
		"xbdev_fini() again");
	assert_in_range(now_ms() - begin_ms, 9000, 25000);
	assert_int_equal(get("mem").health_percentage, 100); /* it runs on */
	atomic_store(&record.must_block, false);
	wait_for(&record.nr_notifications, 1);
	assert_int_equal(xbdev_config_remove("new"), 0);
	wait_for(&record.nr_notifications, 2);
	assert_int_equal(xbdev_fini(), 0);
	assert_int_equal(start(NULL), 0);
}

static void test_the_library_may_end_with_a_monitor(void **state)
{
	const xbdev_health_config_t config = {.interval_s = 1, .smart_monitoring = true};

	for (int i = 0; i < 10; i++) {
		assert_int_equal(xbdev_register_health_callback(on_event, &record), 0);
		assert_int_equal(xbdev_health_monitor_start(&config), 0);
		pass_ms((uint32_t)i);
		assert_int_equal(xbdev_fini(), 0);
		unlink(file);
		assert_int_equal(start(NULL), 0);
		assert_int_equal(xbdev_health_monitor_stop(), -ENOENT);
	}
}

/* ---- threads ---- */

static _Atomic bool must_end;

struct asker {
	pthread_t thread;
	_Atomic uint32_t nr_known;
};

static void *ask(void *arg)
{
	struct asker *asker = arg;
	xbdev_health_info_t health;

	while (!atomic_load(&must_end)) {
		asker->nr_known += xbdev_health_status_get("disk", &health) == 0;
		asker->nr_known += xbdev_health_status_get("mem", &health) == 0;
		xbdev_health_status_get("new", &health); /* comes and goes */
	}
	return NULL;
}

static void test_checks_of_several_threads_take_turns(void **state)
{
	const xbdev_health_config_t config = {.interval_s = 1, .smart_monitoring = true};
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;
	struct asker askers[3] = {0};

	atomic_store(&must_end, false);
	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	assert_int_equal(xbdev_health_monitor_start(&config), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(xbdev_config_malloc(1, BLOCK, "new"), 0);
		pass_ms(5);
		assert_int_equal(xbdev_config_remove("new"), 0);
	}
	for (int i = 0; i < 3; i++) {
		while (atomic_load(&askers[i].nr_known) == 0) {
			assert_true(now_ms() < end_ms);
			pass_ms(1);
		}
	}
	atomic_store(&must_end, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(askers[i].thread, NULL);
	}
	assert_int_equal(xbdev_health_monitor_stop(), 0);
}

static void test_the_library_ends_under_checks(void **state)
{
	struct asker askers[3] = {0};

	for (int round = 0; round < 5; round++) {
		atomic_store(&must_end, false);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(
				pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
		}
		pass_ms(20);
		assert_int_equal(xbdev_fini(), 0);
		atomic_store(&must_end, true);
		for (int i = 0; i < 3; i++) {
			pthread_join(askers[i].thread, NULL);
		}
		unlink(file);
		assert_int_equal(start(NULL), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_recording, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health_needs_the_library),
		TEST(test_health_of_memory_is_our_own_statistics),
		TEST(test_health_counts_errors),
		TEST(test_health_of_a_filter_is_that_of_its_base),
		TEST(test_health_tells_what_is_wrong),
		TEST(test_errors_are_told_once_and_then_their_end),
		TEST(test_notifications_tell_of_devices),
		TEST(test_notifications_that_find_no_place_are_counted),
		TEST(test_callbacks_are_checked_and_bounded),
		TEST(test_unregistered_callbacks_do_not_run),
		TEST(test_callbacks_may_call_the_library),
		TEST(test_the_end_waits_for_a_callback),
		TEST(test_a_callback_that_does_not_return_is_an_error),
		TEST(test_the_library_may_end_with_a_monitor),
		TEST(test_checks_of_several_threads_take_turns),
		TEST(test_the_library_ends_under_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
