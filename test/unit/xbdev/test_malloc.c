/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/xbdev/driver/malloc.c. */
#include "lib/util/memory.h"
#include "test/unit/xbdev/model.h"

#define KIB 1024u
#define MIB (1024u * KIB)

struct fixture {
	struct harness h;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
};

static void start(struct fixture *f, const char *params)
{
	harness_start(&f->h, 1, 1);
	f->dev = harness_create(&f->h, "malloc", "{'name': 'm', %s}", params);
	f->desc = harness_open(&f->h, "m", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

static void stop(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
}

static void test_malloc_begins_with_zeroes(void **state)
{
	struct fixture f;
	char *buf = malloc(4 * MIB);

	(void)state;
	assert_non_null(buf);
	/* Twice, so that memory which was used before is seen too. */
	for (uint32_t i = 0; i < 2; i++) {
		start(&f, "'size': '4MiB'");
		memset(buf, 0x77, 4 * MIB);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, buf, 4 * MIB, 0), 0);
		assert_true(harness_is_zero(buf, 4 * MIB));
		memset(buf, 0x77, 4 * MIB);
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, buf, 4 * MIB, 0), 0);
		stop(&f);
	}
	free(buf);
}

static void test_malloc_keeps_what_is_written(void **state)
{
	static const char *const params[] = {"'size': '4MiB'",
		"'num_blocks': 1024, 'block_size': 4096", "'size': '4MiB', 'num_blocks': 8192"};
	uint64_t seed = harness_seed(5);

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(params); i++) {
		struct fixture f;

		start(&f, params[i]);
		assert_int_equal(xbdev_device_size_bytes(f.dev), 4 * MIB);
		model_run(&f.h, &(struct model_opts){.ch = f.ch,
					.seed = seed + i,
					.len = 4 * MIB,
					.max_io_bytes = 2 * MIB,
					.nr_ios = 2000,
					.nr_slots = 32});
		stop(&f);
	}
}

/* Every reactor has a way to the memory, and each sees what others wrote. */
static void test_malloc_is_reached_from_every_reactor(void **state)
{
	struct xbdev_channel *ch[4];
	struct xbdev_desc *desc;
	struct harness h;
	char buf[512];

	(void)state;
	harness_start(&h, 4, 2);
	harness_create(&h, "malloc", "{'name': 'm', 'size': '1MiB'}");
	desc = harness_open(&h, "m", true);
	for (uint32_t i = 0; i < 4; i++) {
		ch[i] = harness_channel(&h, desc, i);
		assert_int_equal(ch[i]->is_forwarding, ch[i]->reactor != ch[i]->dev->owner);
	}
	harness_fill(buf, 512, 1);
	assert_int_equal(harness_io(&h, ch[1], XBDEV_OP_WRITE, 512, buf, 512, 0), 0);
	memset(buf, 0, 512);
	assert_int_equal(harness_io(&h, ch[0], XBDEV_OP_READ, 512, buf, 512, 0), 0);
	assert_true(harness_is_filled(buf, 512, 1));
	for (uint32_t i = 0; i < 4; i++) {
		harness_put(&h, ch[i]);
	}
	xbdev_desc_close(desc);
	harness_stop(&h);
}

static void test_malloc_on_threads_keeps_what_is_written(void **state)
{
	struct xbdev_channel *ch[3];
	struct model *models[3];
	struct xbdev_desc *desc;
	struct harness h;

	(void)state;
	harness_start(&h, 3, 1);
	harness_create(&h, "malloc", "{'name': 'm', 'size': '3MiB'}");
	desc = harness_open(&h, "m", true);
	for (uint32_t i = 0; i < 3; i++) {
		ch[i] = harness_channel(&h, desc, i);
		models[i] = model_new(&(struct model_opts){.ch = ch[i],
			.seed = i,
			.offset = i * MIB,
			.len = MIB,
			.max_io_bytes = 128 * KIB,
			.nr_ios = 2000,
			.nr_slots = 24});
		model_start(models[i]);
	}
	for (uint32_t i = 0; i < 3; i++) {
		harness_wait(&h, atomic_load(&models[i]->is_done));
		model_free(models[i]);
		harness_put(&h, ch[i]);
	}
	xbdev_desc_close(desc);
	harness_stop(&h);
}

/* The last I/Os before removal end, once each. */
static void test_malloc_ends_what_is_in_flight_when_it_goes(void **state)
{
	struct harness_io hio[40];
	struct fixture f;
	char buf[512];

	(void)state;
	start(&f, "'size': '1MiB'");
	assert_int_equal(xbdev_device_remove(f.dev, NULL, NULL), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_READ, 0, buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, -ENODEV);
	}
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, xbdev_device_next(f.h.ctx, NULL) == NULL);
	harness_stop(&f.h);
}

static void test_malloc_refuses_what_it_cannot_be(void **state)
{
	static const struct {
		const char *params;
		int code;
		const char *text;
	} cases[] = {
		{"'size': 0", -EINVAL, "smaller than one block"},
		{"'block_size': 512", -EINVAL, "smaller than one block"},
		{"'size': 511", -EINVAL, "size 511 is not a multiple of the block size 512"},
		{"'size': 1048575", -EINVAL, "the next is 1048576"},
		{"'size': 6144, 'block_size': 4096", -EINVAL, "the next is 8192"},
		{"'size': 4096, 'num_blocks': 7", -EINVAL,
			"size 4096 and num_blocks 7 disagree, so many blocks of 512 bytes are "
			"3584"},
		{"'size': 1000, 'num_blocks': 2", -EINVAL, "size 1000 and num_blocks 2 disagree"},
		{"'size': 4096, 'block_size': 1024", -EINVAL, "block size 1024"},
		{"'size': '65TiB'", -EINVAL, "size"},
		{"'size': 'big'", -EINVAL, "size"},
	};
	struct xu_error err;
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_null(harness_try_create(
			&h, "malloc", &err, "{'name': 'm', %s}", cases[i].params));
		assert_int_equal(err.code, cases[i].code);
		if (strstr(err.text, cases[i].text) == NULL) {
			fail_msg("'%s' is not in '%s'", cases[i].text, err.text);
		}
	}
	harness_create(&h, "malloc", "{'name': 'm', 'size': 4096}");
	assert_null(harness_try_create(&h, "malloc", &err, "{'name': 'm', 'size': 4096}"));
	assert_int_equal(err.code, -EEXIST);
	harness_stop(&h);
}

static void assert_too_large(struct harness *h, uint64_t size, const char *text)
{
	struct xu_error err;

	assert_null(harness_try_create(
		h, "malloc", &err, "{'name': 'big', 'size': %llu}", (unsigned long long)size));
	assert_int_equal(err.code, -ENOMEM);
	if (strstr(err.text, text) == NULL) {
		fail_msg("'%s' is not in '%s'", text, err.text);
	}
}

/* No more than the machine has, or the control group of this test allows. */
static void test_malloc_larger_than_memory_is_refused(void **state)
{
	struct xu_memory memory;
	char text[512];
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	assert_int_equal(xu_memory_read("", &memory), 0);
	snprintf(text, sizeof(text), "%s%s has %llu bytes (",
		memory.group[0] != '\0' ? "control group " : "this machine", memory.group,
		(unsigned long long)memory.limit_bytes);
	assert_too_large(&h, memory.limit_bytes / MIB * MIB + MIB, text);
	assert_too_large(&h, 64ull << 40, text);
	assert_too_large(&h, 64ull << 40, "make it smaller or use a file");
	snprintf(text, sizeof(text), "device 'big' of %llu bytes is larger than memory",
		64ull << 40);
	assert_too_large(&h, 64ull << 40, text);
	harness_stop(&h);
}

static bool is_overcommit_off(void)
{
	FILE *file = fopen("/proc/sys/vm/overcommit_memory", "r");
	int mode = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &mode), 1);
	fclose(file);
	return mode == 2;
}

/* Two that fit alone may not fit together; what has gone makes room. */
static void test_malloc_devices_share_memory(void **state)
{
	struct xbdev_device *first;
	struct xu_memory memory;
	uint64_t size;
	char text[256];
	struct harness h;

	(void)state;
	if (is_overcommit_off()) {
		print_message("skipped: this machine gives no address space beyond its memory\n");
		skip();
	}
	harness_start(&h, 1, 1);
	assert_int_equal(xu_memory_read("", &memory), 0);
	size = memory.limit_bytes / 5 * 3 / MIB * MIB;
	if (size <= memory.huge_free_bytes) {
		print_message("skipped: most of this machine's memory is free huge pages\n");
		harness_stop(&h);
		skip();
	}
	first = harness_create(
		&h, "malloc", "{'name': 'first', 'size': %llu}", (unsigned long long)size);
	harness_create(&h, "null", "{'name': 'other', 'size': '1PiB'}");
	snprintf(text, sizeof(text), "bytes, other memory devices have %llu of them (",
		(unsigned long long)size);
	assert_too_large(&h, size, text);
	harness_create(&h, "malloc", "{'name': 'small', 'size': '64KiB'}");
	harness_remove(&h, first);
	harness_create(&h, "malloc", "{'name': 'big', 'size': %llu}", (unsigned long long)size);
	harness_stop(&h);
}

static void test_malloc_tells_its_parameters(void **state)
{
	json_t *config, *wanted;
	struct fixture f;

	(void)state;
	start(&f, "'num_blocks': 16, 'block_size': 4096,"
		  " 'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'");
	config = f.dev->ops->config(f.dev);
	wanted = json_pack("{s:s, s:s, s:s, s:i, s:i}", "driver", "malloc", "name", "m", "uuid",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "size", 65536, "block_size", 4096);
	assert_true(json_equal(config, wanted));
	json_decref(config);
	json_decref(wanted);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malloc_begins_with_zeroes),
		cmocka_unit_test(test_malloc_keeps_what_is_written),
		cmocka_unit_test(test_malloc_is_reached_from_every_reactor),
		cmocka_unit_test(test_malloc_on_threads_keeps_what_is_written),
		cmocka_unit_test(test_malloc_ends_what_is_in_flight_when_it_goes),
		cmocka_unit_test(test_malloc_refuses_what_it_cannot_be),
		cmocka_unit_test(test_malloc_larger_than_memory_is_refused),
		cmocka_unit_test(test_malloc_devices_share_memory),
		cmocka_unit_test(test_malloc_tells_its_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
