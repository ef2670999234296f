/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * New stores: the same bytes as SPDK writes, loadable by us and by the independent reader, at each
 * moment of their making either whole or not there, whatever was on the device before.
 */
#include "lib/xbdev/lvol/create.h"

#include "lib/xbdev/lvol/check.h"
#include "test/unit/xbdev/lvol/session.h"

#define PAGE XBDEV_LVS_PAGE_BYTES

static void on_made(void *arg, struct xbdev_lvs *store, const struct xu_error *err)
{
	struct lvol_session *t = arg;

	t->w.store = store;
	t->err = *err;
	t->nr_done++;
}

/* On a new disk with this content. */
static void create(struct lvol_session *t, const uint8_t *content, uint64_t size,
	uint32_t block_size, const struct xbdev_lvs_create_opts *opts)
{
	memset(t, 0, sizeof(*t));
	harness_start(&t->w.h, 1, 1);
	t->disk = lvol_disk_new(&t->w.h, "disk", content, size, block_size);
	lvol_world_use(&t->w, "disk");
	lvol_disk_begin(t->disk);
	xbdev__lvs_create(t->w.ch, "disk", opts, on_made, t);
	assert_int_equal(t->nr_done, 0);
	harness_wait(&t->w.h, t->nr_done == 1);
}

static void test_create_writes_what_spdk_writes(void **state)
{
	uint64_t size;
	uint32_t block_size;
	uint8_t *content = lvol_session_content("thin-thick-512-1m", &size, &block_size);
	uint8_t *other = malloc(size);
	struct xbdev_lvs_create_opts opts = {.name = "gold_a", .cluster_size = 1 << 20};
	struct lvol_session t;
	char *text, *expected;

	(void)state;
	assert_int_equal(xu_uuid_parse("af8552e2-2775-47aa-b89d-3d4f32c73a59", &opts.uuid), 0);
	memcpy(other, content, size); /* an old store, whose volumes must not come back */
	create(&t, other, size, block_size, &opts);
	assert_string_equal(t.err.text, "");
	content[16] = 0; /* not clean yet */
	lvol_fixture_fix(content);
	assert_memory_equal(t.disk->memory, content, PAGE);
	assert_memory_equal(t.disk->memory + 4 * PAGE, content + 4 * PAGE, PAGE);
	for (uint32_t page = 1; page < 4 + 64; page++) {
		assert_true(page == 4 || harness_is_zero(t.disk->memory + page * PAGE, PAGE));
	}
	/* Closed, it is clean and empty for both. */
	assert_int_equal(xbdev__lvs_write_init(t.w.store), 0);
	expected = lvol_session_expected(&t, false);
	lvol_session_unload(&t);
	assert_int_equal(t.err.code, 0);
	text = lvol_session_reader(t.disk->image, false);
	assert_string_equal(text, expected);
	assert_string_equal(text, "gold_a af8552e2-2775-47aa-b89d-3d4f32c73a59 63\n");
	assert_int_equal(t.disk->memory[16], 1);
	assert_memory_equal(t.disk->memory + PAGE, "\x00\x40\x00\x00\x00\x01\x00", 7);
	assert_memory_equal(t.disk->memory + 3 * PAGE, "\x02\x40\x00\x00\x00\x01\x00", 7);
	free(text);
	free(expected);
	free(other);
	free(content);
	lvol_session_stop(&t);
}

static void test_create_power_fails(void **state)
{
	uint64_t size;
	uint32_t block_size, nr_none = 0, nr_whole = 0;
	uint8_t *content = lvol_session_content("thin-thick-512-1m", &size, &block_size);
	const struct xbdev_lvs_create_opts opts = {
		.name = "new", .uuid = {{1, 2}}, .cluster_size = 65536};
	struct lvol_session t, after;

	(void)state;
	create(&t, content, size, block_size, &opts);
	assert_int_equal(t.err.code, 0);
	for (uint32_t n = 1; n <= t.disk->nr_log; n++) {
		const uint8_t *image = lvol_disk_crash(t.disk, n, NULL);

		memset(&after, 0, sizeof(after));
		harness_start(&after.w.h, 1, 1);
		after.disk = lvol_disk_new(&after.w.h, "disk", image, size, block_size);
		lvol_world_use(&after.w, "disk");
		lvol_world_load(&after.w);
		if (after.w.store == NULL) {
			assert_int_equal(after.w.err.code, -ENOENT);
			assert_int_equal(nr_whole, 0);
			nr_none++;
		} else {
			assert_string_equal(after.w.store->name, "new");
			assert_int_equal(lvol_world_nr_usable(&after.w), 0);
			nr_whole++;
		}
		lvol_world_stop(&after.w);
		lvol_disk_crash_free(image);
	}
	assert_true(nr_none > 3 && nr_whole >= 1);
	free(content);
	lvol_session_stop(&t);
}

static void test_create_refuses(void **state)
{
	static const struct {
		struct xbdev_lvs_create_opts opts;
		uint64_t size;
		int code;
		const char *text;
	} wrong[] = {
		{{.name = ""}, 64 << 20, -EINVAL, "0 bytes"},
		{{.name = "0123456789012345678901234567890123456789012345678901234567890123"},
			64 << 20, -EINVAL, "64 bytes"},
		{{.name = "a", .cluster_size = 5000}, 64 << 20, -EINVAL, "clusters of 5000"},
		{{.name = "a", .page_size = 5000}, 64 << 20, -EINVAL, "pages of 5000"},
		{{.name = "a"}, 512 << 10, -ENOSPC, "too small"},
		{{.name = "a", .cluster_size = 4096, .md_ratio = 1000}, 4 << 20, -ENOSPC,
			"lower metadata ratio"},
	};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct lvol_session t;

		create(&t, NULL, wrong[i].size, 512, &wrong[i].opts);
		assert_null(t.w.store);
		assert_int_equal(t.err.code, wrong[i].code);
		if (strstr(t.err.text, wrong[i].text) == NULL) {
			fail_msg("'%s' lacks '%s'", t.err.text, wrong[i].text);
		}
		assert_int_equal(t.disk->nr_writes, 0);
		lvol_world_stop(&t.w);
	}
}

/* Each write fails in turn: an error, and no store. */
static void test_create_io_fails(void **state)
{
	const struct xbdev_lvs_create_opts opts = {.name = "new", .uuid = {{1}}};
	bool has_failed = true;

	(void)state;
	for (uint32_t n = 1; has_failed; n++) {
		struct lvol_session t;

		assert_true(n < 100);
		memset(&t, 0, sizeof(t));
		harness_start(&t.w.h, 1, 1);
		t.disk = lvol_disk_new(&t.w.h, "disk", NULL, 64 << 20, 512);
		t.disk->fail_at = n;
		lvol_world_use(&t.w, "disk");
		xbdev__lvs_create(t.w.ch, "disk", &opts, on_made, &t);
		harness_wait(&t.w.h, t.nr_done == 1);
		has_failed = t.w.store == NULL;
		assert_int_equal(t.err.code, has_failed ? -EIO : 0);
		assert_true(has_failed || n > 6);
		lvol_world_stop(&t.w);
	}
}

static void on_erased(void *arg, const struct xu_error *err)
{
	struct lvol_session *t = arg;

	t->err = *err;
	t->nr_done++;
}

static void test_create_and_erase(void **state)
{
	const struct xbdev_lvs_create_opts opts = {
		.name = "new", .uuid = {{1}}, .clear = XBDEV_LVS_CLEAR_DEVICE_ZEROES};
	uint8_t *content = malloc(16 << 20);
	struct lvol_session t;

	(void)state;
	memset(content, 0xa5, 16 << 20);
	create(&t, content, 16 << 20, 4096, &opts);
	assert_int_equal(t.err.code, 0);
	assert_true(harness_is_zero(t.disk->memory + (1 << 20), 15 << 20));
	lvol_world_forget(&t.w);
	xbdev__lvs_erase_super(t.w.ch, "disk", on_erased, &t);
	harness_wait(&t.w.h, t.nr_done == 2);
	assert_int_equal(t.err.code, 0);
	lvol_world_load(&t.w);
	assert_int_equal(t.w.err.code, -ENOENT);
	free(content);
	lvol_world_stop(&t.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_writes_what_spdk_writes),
		cmocka_unit_test(test_create_power_fails),
		cmocka_unit_test(test_create_refuses),
		cmocka_unit_test(test_create_io_fails),
		cmocka_unit_test(test_create_and_erase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
