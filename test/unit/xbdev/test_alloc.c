/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that fail: a whole life of a context with a stack of devices, in which the Nth
 * allocation is refused, for every N. Each step either works or says -ENOMEM with a sentence, and
 * what has been made is taken down as always. That nothing leaks the address sanitizer says.
 */
#include <unistd.h>

#include "lib/xbdev/driver/delay.h"
#include "lib/xbdev/driver/error.h"
#include "test/unit/util/fail.h"
#include "test/unit/xbdev/harness.h"

enum { NR_CHANNELS = 4 };

struct life {
	struct harness h;
	uint32_t nr_failed; /* steps */
	struct xbdev_desc *desc[2];
	struct xbdev_channel *ch[NR_CHANNELS];
};

static void note(struct life *life, int rc, const struct xu_error *err)
{
	if (rc == 0) {
		return;
	}
	MUST(rc == -ENOMEM);
	MUST(err == NULL || (err->code == -ENOMEM && strlen(err->text) > 10));
	life->nr_failed++;
}

static struct xbdev_device *make(struct life *life, const char *driver, const char *params)
{
	struct xu_error err = {0};
	struct xbdev_device *dev = harness_try_create(&life->h, driver, &err, "%s", params);

	if (dev == NULL && err.code == -ENODEV) {
		return NULL; /* its base could not be made */
	}
	note(life, err.code, &err);
	return dev;
}

static void make_devices(struct life *life)
{
	char params[256];

	make(life, "null", "{'name': 'n', 'size': '1MiB'}");
	make(life, "malloc", "{'name': 'm', 'size': '4MiB'}");
	make(life, "error", "{'name': 'e', 'base': 'm'}");
	snprintf(params, sizeof(params), "{'name': 'f', 'filename': '%s/alloc', 'size': 65536}",
		harness_dir());
	make(life, "file", params);
	make(life, "delay", "{'name': 'd', 'base': 'f', 'avg_write_latency_us': 1}");
}

/* Channels of the owner and of the other reactor, and an I/O that has to be bounced. */
static void use(struct life *life, uint32_t which, const char *name)
{
	static char buf[8192 + 1];
	struct xu_error err = {0};
	int rc;

	rc = xbdev_desc_open(life->h.ctx, name, true, NULL, NULL, &life->desc[which], &err);
	if (rc == -ENODEV) {
		life->desc[which] = NULL;
		return;
	}
	note(life, rc, &err);
	for (uint32_t i = 0; i < 2 && rc == 0; i++) {
		struct xbdev_channel **ch = &life->ch[2 * which + i];

		rc = xbdev_channel_get(life->desc[which], xbdev_ctx_reactor(life->h.ctx, i), ch);
		note(life, rc, NULL);
		if (rc != 0) {
			*ch = NULL;
			continue;
		}
		rc = harness_io(&life->h, *ch, XBDEV_OP_WRITE, 4096, buf + 1, 8192, XBDEV_IO_FUA);
		note(life, rc, NULL);
		rc = 0;
	}
}

static void on_changed(void *arg)
{
	*(bool *)arg = true;
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	*(int *)arg = stats == NULL ? -ENOMEM : 0;
}

static void on_resized(void *arg, const struct xu_error *err)
{
	*(struct xu_error *)arg = *err;
}

static void change(struct life *life)
{
	const struct xbdev_error_rule rule = {.kind = XBDEV_ERROR_FAIL, .count = 1};
	struct xbdev_device *e = xbdev_device_find(life->h.ctx, "e");
	struct xbdev_device *f = xbdev_device_find(life->h.ctx, "f");
	struct xu_error err = {0};
	bool is_changed = false;
	int rc = 1;

	if (e != NULL) {
		rc = xbdev_error_inject(e, &rule, NULL, NULL, &err);
		note(life, rc, &err);
		rc = xbdev_error_clear(e, on_changed, &is_changed, &err);
		note(life, rc, &err);
		harness_wait(&life->h, rc != 0 || is_changed);
		rc = 1;
		xbdev_device_stats(e, true, on_stats, &rc);
		harness_wait(&life->h, rc != 1);
		note(life, rc, NULL);
	}
	if (f != NULL) {
		err.code = 1;
		f->ops->resize(f, 131072, on_resized, &err);
		harness_wait(&life->h, err.code != 1);
		note(life, err.code, &err);
	}
}

static uint32_t live(void)
{
	const struct xbdev_ctx_opts opts = {.nr_reactors = 2};
	struct life life = {0};
	struct xu_error err = {0};
	int rc = xbdev_ctx_new(&opts, &life.h.ctx, &err);

	note(&life, rc, &err);
	if (rc != 0) {
		return life.nr_failed;
	}
	life.h.nr_polled = 2;
	make_devices(&life);
	use(&life, 0, "e");
	use(&life, 1, "d");
	change(&life);
	for (uint32_t i = 0; i < NR_CHANNELS; i++) {
		if (life.ch[i] != NULL) {
			xbdev_channel_put(life.ch[i]);
		}
	}
	for (uint32_t i = 0; i < 2; i++) {
		if (life.desc[i] != NULL) {
			xbdev_desc_close(life.desc[i]);
		}
	}
	harness_stop(&life.h);
	return life.nr_failed;
}

static void test_alloc_every_failure_is_reported_and_nothing_is_left(void **state)
{
	uint32_t n, nr_silent = 0;

	(void)state;
	assert_int_equal(live(), 0);
	for (n = 1;; n++) {
		uint32_t nr_failed;

		fail_arm(n);
		nr_failed = live();
		if (!fail_disarm()) {
			assert_int_equal(nr_failed, 0);
			break;
		}
		/* Memory for huge pages and for bounce buffers has a substitute or is waited for;
		 * everything else is told. */
		assert_true(nr_failed <= 4);
		nr_silent += nr_failed == 0;
	}
	print_message("%u allocations, %u failures without consequence\n", n - 1, nr_silent);
	assert_true(n > 60);
	assert_true(nr_silent < n / 4);
}

/* All from the Nth on: nothing can be made any more, and all that has been made can go. */
static void test_alloc_without_any_memory_devices_can_be_removed(void **state)
{
	(void)state;
	for (uint32_t n = 1; n < 40; n++) {
		const struct xbdev_ctx_opts opts = {.nr_reactors = 2};
		struct life life = {0};
		struct xu_error err = {0};

		MUST(xbdev_ctx_new(&opts, &life.h.ctx, &err) == 0);
		life.h.nr_polled = 2;
		fail_arm_from(n);
		make_devices(&life);
		harness_stop(&life.h);
		fail_disarm();
	}
}

/* ---- JSON ---- */

static uint32_t json_countdown;

static void *json_alloc(size_t size)
{
	return json_countdown != 0 && --json_countdown == 0 ? NULL : malloc(size);
}

/* A description that cannot be made in full crashes nobody. */
static void test_alloc_descriptions_survive(void **state)
{
	struct life life = {0};

	(void)state;
	harness_start(&life.h, 2, 2);
	make_devices(&life);
	json_set_alloc_funcs(json_alloc, free);
	for (uint32_t n = 1; n < 40; n++) {
		struct xbdev_device *dev = NULL;

		while ((dev = xbdev_device_next(life.h.ctx, dev)) != NULL) {
			json_countdown = n;
			json_decref(dev->ops->config(dev));
			json_countdown = n;
			json_decref(dev->ops->info != NULL ? dev->ops->info(dev) : NULL);
			json_countdown = 0;
		}
	}
	json_set_alloc_funcs(malloc, free);
	harness_stop(&life.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc_every_failure_is_reported_and_nothing_is_left),
		cmocka_unit_test(test_alloc_without_any_memory_devices_can_be_removed),
		cmocka_unit_test(test_alloc_descriptions_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
