/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores as a whole: made, found by themselves, renamed, destroyed, given up, on disks in memory.
 */
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/lvol/volume.h"
#include "test/unit/xbdev/lvol/disk.h"
#include "test/unit/xbdev/lvol/session.h"

#define MIB (UINT64_C(1) << 20)

struct test {
	struct harness h;
	struct lvol_disk *disk;
	struct xu_error err;
	uint32_t nr_done;
};

static void on_done(void *arg, const struct xu_error *err)
{
	struct test *t = arg;

	t->err = err != NULL ? *err : (struct xu_error){0};
	t->nr_done++;
}

static void on_examined(void *arg)
{
	((struct test *)arg)->nr_done++;
}

static void wait_examined(struct test *t, const char *device)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_examined(t->h.ctx, device, on_examined, t);
	harness_wait(&t->h, t->nr_done > nr);
	harness_poll_times(&t->h, 5);
	assert_int_equal(t->nr_done, nr + 1);
}

static void start(struct test *t)
{
	memset(t, 0, sizeof(*t));
	harness_start(&t->h, 1, 1);
	assert_int_equal(xbdev__lvol_stores_init(t->h.ctx), 0);
}

/* Waits for what was asked for; its error code. */
static int result(struct test *t, uint32_t nr)
{
	harness_wait(&t->h, t->nr_done > nr);
	harness_poll_times(&t->h, 5);
	assert_int_equal(t->nr_done, nr + 1);
	assert_int_equal(t->err.code == 0, t->err.text[0] == '\0');
	return t->err.code;
}

static int create(struct test *t, const char *device, const char *name, uint32_t cluster_size)
{
	const struct xbdev_lvs_create_opts opts = {.name = name, .cluster_size = cluster_size};
	uint32_t nr = t->nr_done;

	xbdev__lvol_store_create(t->h.ctx, device, &opts, on_done, t);
	return result(t, nr);
}

static int detach(struct test *t, const char *name)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_detach(xbdev__lvol_store_find(t->h.ctx, name), on_done, t);
	return result(t, nr);
}

static int destroy(struct test *t, const char *name)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_store_destroy(xbdev__lvol_store_find(t->h.ctx, name), on_done, t);
	return result(t, nr);
}

static int rename_store(struct test *t, const char *from, const char *to)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_store_rename(xbdev__lvol_store_find(t->h.ctx, from), to, on_done, t);
	return result(t, nr);
}

static int examine(struct test *t, const char *device)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_examine(t->h.ctx, device, on_done, t);
	return result(t, nr);
}

/* ---- life ---- */

static void test_a_store_is_made_found_and_destroyed(void **state)
{
	struct xbdev_lvol_store_info info;
	struct xbdev_lvol_store *store;
	char uuid[XU_UUID_TEXT_SIZE];
	struct test t;

	(void)state;
	start(&t);
	lvol_disk_new(&t.h, "disk", NULL, 64 * MIB, 4096);
	wait_examined(&t, "disk");
	assert_null(xbdev__lvol_store_next(t.h.ctx, NULL));
	assert_int_equal(create(&t, "disk", "lvs", 1 << 20), 0);
	store = xbdev__lvol_store_find(t.h.ctx, "lvs");
	assert_non_null(store);
	xbdev__lvol_store_info(store, &info);
	assert_string_equal(info.name, "lvs");
	assert_string_equal(info.device, "disk");
	assert_int_equal(info.cluster_size, 1 << 20);
	assert_int_equal(info.total_clusters, 63);
	assert_int_equal(info.free_clusters, 63);
	assert_int_equal(info.promised_clusters, 0);
	assert_int_equal(info.block_size, 4096);
	assert_int_equal(info.nr_volumes, 0);
	assert_null(info.read_only_reason);
	xu_uuid_format(&info.uuid, uuid);
	assert_ptr_equal(xbdev__lvol_store_find(t.h.ctx, uuid), store);
	assert_ptr_equal(xbdev__lvol_store_next(t.h.ctx, NULL), store);
	assert_null(xbdev__lvol_store_next(t.h.ctx, store));

	assert_int_equal(detach(&t, "lvs"), 0);
	assert_null(xbdev__lvol_store_find(t.h.ctx, "lvs"));
	assert_int_equal(examine(&t, "disk"), 0);
	assert_non_null(xbdev__lvol_store_find(t.h.ctx, uuid));
	assert_int_equal(destroy(&t, "lvs"), 0);
	assert_null(xbdev__lvol_store_next(t.h.ctx, NULL));
	assert_int_equal(examine(&t, "disk"), -ENOENT);
	assert_int_equal(create(&t, "disk", "lvs", 4096), 0);
	harness_stop(&t.h);
}

static void test_names_are_taken_once(void **state)
{
	struct test t;

	(void)state;
	start(&t);
	lvol_disk_new(&t.h, "a", NULL, 64 * MIB, 4096);
	lvol_disk_new(&t.h, "b", NULL, 64 * MIB, 512);
	assert_int_equal(create(&t, "a", "one", 0), 0);
	assert_int_equal(create(&t, "b", "one", 0), -EEXIST);
	assert_non_null(strstr(t.err.text, "there is a store named 'one' already, on a"));
	assert_int_equal(create(&t, "a", "two", 0), -EBUSY);
	assert_non_null(strstr(t.err.text, "the store of logical volumes 'one'"));
	assert_int_equal(create(&t, "b", "two", 0), 0);
	assert_int_equal(rename_store(&t, "two", "one"), -EEXIST);
	assert_int_equal(rename_store(&t, "two", ""), -EINVAL);
	assert_int_equal(rename_store(&t, "two", "three"), 0);
	assert_null(xbdev__lvol_store_find(t.h.ctx, "two"));
	assert_non_null(xbdev__lvol_store_find(t.h.ctx, "three"));
	assert_int_equal(detach(&t, "three"), 0);
	assert_int_equal(create(&t, "b", "four", 0), -EEXIST);
	assert_non_null(strstr(t.err.text, "it holds a store of logical volumes"));
	assert_int_equal(examine(&t, "b"), 0);
	assert_non_null(xbdev__lvol_store_find(t.h.ctx, "three"));
	harness_stop(&t.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_store_is_made_found_and_destroyed),
		cmocka_unit_test(test_names_are_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
