/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the health monitor makes of what disks say, one check after the other: each condition is
 * told when it comes and when it goes, and a disk that could not be read has not become better. The
 * library is embedded, so that this thread is the control reactor and can hand in checks of its
 * own. How checks are made is shown in test_api_health.c and test/e2e/test-health.sh.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#include "lib/xbdev/api/services.h"

#define PATIENCE_S 60
#define MAX_EVENTS 32u

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	xbdev_health_event_t events[MAX_EVENTS];
	uint32_t count;
} record = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint32_t nr_seen; /* by the test */

static void on_event(const xbdev_health_event_t *event, void *ctx)
{
	pthread_mutex_lock(&record.mutex);
	if (record.count < MAX_EVENTS) {
		record.events[record.count] = *event;
	}
	record.count++;
	pthread_cond_broadcast(&record.changed);
	pthread_mutex_unlock(&record.mutex);
}

static int start(void **state)
{
	const xbdev_init_options_t options = {.size = sizeof(options), .is_embedded = true};
	const xbdev_health_config_t config = {
		.interval_s = XBDEV_HEALTH_INTERVAL_MAX_S, .smart_monitoring = true};

	record.count = nr_seen = 0;
	assert_int_equal(xbdev_init_with(&options), 0);
	assert_int_equal(xbdev_config_malloc(1, 4096, "mem"), 0);
	assert_int_equal(xbdev_register_health_callback(on_event, NULL), 0);
	assert_int_equal(xbdev_health_monitor_start(&config), 0);
	/* Its own check, of a device without a disk, is over then. */
	for (int i = 0; i < 50; i++) {
		assert_true(xbdev_poll(1000) >= 0);
	}
	return 0;
}

static int stop(void **state)
{
	assert_int_equal(record.count, nr_seen);
	return xbdev_fini();
}

/* A check of the device; `smart` NULL: its disk could not be read. */
static xbdev_health_info_t see(const struct xbdev_smart *smart)
{
	struct api_check check = {.is_monitors = true, .with_smart = true};
	xbdev_health_info_t info = {.temperature = XBDEV_HEALTH_UNKNOWN_TEMPERATURE,
		.wear_level = -1,
		.has_smart = smart != NULL};

	if (smart != NULL) {
		check.has_smart = true;
		check.smart = *smart;
		info.temperature = smart->has_temperature ? smart->temperature_c : info.temperature;
		info.wear_level = smart->has_wear ? (int)smart->wear_percent : -1;
		info.media_errors = smart->media_errors;
	}
	api_monitor_judge(xbdev_device_find(api_lib.ctx, "mem"), &check, &info);
	return info;
}

/* The next event; all that were told before it have been looked at. */
static void expect(uint32_t condition, bool is_over, const char *text)
{
	struct timespec end;
	xbdev_health_event_t event;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&record.mutex);
	while (record.count <= nr_seen) {
		assert_int_equal(pthread_cond_timedwait(&record.changed, &record.mutex, &end), 0);
	}
	event = record.events[nr_seen++];
	pthread_mutex_unlock(&record.mutex);
	assert_int_equal(event.condition, condition);
	assert_int_equal(event.is_over, is_over);
	assert_string_equal(event.text, text);
	assert_string_equal(event.device, "mem");
}

/* A disk of that temperature. */
#define DISK(celsius, ...)                                                                         \
	(&(const struct xbdev_smart){                                                              \
		.has_temperature = true, .temperature_c = celsius, __VA_ARGS__})

static void test_temperature_is_told_at_the_limit_and_below_it(void **state)
{
	assert_int_equal(see(DISK(69)).warnings, 0);
	assert_int_equal(see(DISK(70)).warnings, XBDEV_HEALTH_WARN_TEMPERATURE);
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, false,
		"the disk is too hot: it has 70 °C, the limit is 70");
	assert_int_equal(see(DISK(75)).warnings, XBDEV_HEALTH_WARN_TEMPERATURE);
	assert_int_equal(see(DISK(68)).warnings, XBDEV_HEALTH_WARN_TEMPERATURE);
	assert_int_equal(see(DISK(67)).warnings, 0);
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, true, "the disk is no longer too hot: it has 67 °C");
	assert_int_equal(see(DISK(69)).warnings, 0);
}

static void test_the_disks_own_limit_counts_too(void **state)
{
	const struct xbdev_smart silent = {.warnings = XBDEV_SMART_HOT}, cool = {0};

	see(DISK(40, .warnings = XBDEV_SMART_HOT));
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, false,
		"the disk says that it is too hot; it has 40 °C");
	see(DISK(40));
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, true, "the disk is no longer too hot: it has 40 °C");
	see(&silent);
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, false, "the disk says that it is too hot");
	see(&cool);
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, true, "the disk is no longer too hot");
}

static void test_what_the_disk_says_is_told(void **state)
{
	see(DISK(40, .has_wear = true, .wear_percent = 89));
	see(DISK(40, .has_wear = true, .wear_percent = 90, .warnings = XBDEV_SMART_SPARE_LOW));
	expect(XBDEV_HEALTH_WARN_WEAR, false,
		"the disk is worn: 90 % of its endurance are used, the limit is 90");
	expect(XBDEV_HEALTH_WARN_SPARE, false, "the disk says that it has too few spare blocks");
	see(DISK(40, .has_wear = true, .wear_percent = 91, .warnings = XBDEV_SMART_READ_ONLY));
	expect(XBDEV_HEALTH_WARN_SPARE, true,
		"the disk no longer says that it has too few spare blocks");
	expect(XBDEV_HEALTH_WARN_FAILING, false,
		"the disk says that it is failing; replace it before data is lost");
	see(DISK(40, .has_wear = true, .wear_percent = 91, .warnings = XBDEV_SMART_FAILING));
	see(DISK(40, .warnings = XBDEV_SMART_FAILING));
	see(DISK(40, .has_wear = true, .wear_percent = 1));
	expect(XBDEV_HEALTH_WARN_WEAR, true,
		"the disk is no longer worn: 1 % of its endurance are used");
	expect(XBDEV_HEALTH_WARN_FAILING, true, "the disk no longer says that it is failing");
}

static void test_a_disk_that_was_not_read_has_not_become_better(void **state)
{
	const uint32_t both = XBDEV_HEALTH_WARN_FAILING | XBDEV_HEALTH_WARN_TEMPERATURE;

	see(DISK(80, .warnings = XBDEV_SMART_FAILING));
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, false,
		"the disk is too hot: it has 80 °C, the limit is 70");
	expect(XBDEV_HEALTH_WARN_FAILING, false,
		"the disk says that it is failing; replace it before data is lost");
	assert_int_equal(see(NULL).warnings, both);
	assert_int_equal(see(NULL).warnings, both);
	assert_int_equal(see(DISK(40, .warnings = XBDEV_SMART_FAILING)).warnings,
		both ^ XBDEV_HEALTH_WARN_TEMPERATURE);
	expect(XBDEV_HEALTH_WARN_TEMPERATURE, true, "the disk is no longer too hot: it has 40 °C");
}

static void test_errors_of_the_disk_are_counted_between_reads(void **state)
{
	/* What there was before the first look is not new. */
	see(NULL);
	assert_int_equal(see(DISK(40, .media_errors = 5)).warnings, 0);
	see(NULL);
	assert_int_equal(see(DISK(40, .media_errors = 5)).warnings, 0);
	see(NULL);
	assert_int_equal(see(DISK(40, .media_errors = 7)).warnings, XBDEV_HEALTH_WARN_ERRORS);
	expect(XBDEV_HEALTH_WARN_ERRORS, false,
		"0 operations have failed and 2 times the disk lost data since the last check");
	see(DISK(40, .media_errors = 7));
	expect(XBDEV_HEALTH_WARN_ERRORS, true, "no operation has failed since the last check");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_temperature_is_told_at_the_limit_and_below_it),
		TEST(test_the_disks_own_limit_counts_too),
		TEST(test_what_the_disk_says_is_told),
		TEST(test_a_disk_that_was_not_read_has_not_become_better),
		TEST(test_errors_of_the_disk_are_counted_between_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
