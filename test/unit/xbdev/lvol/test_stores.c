/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores as a whole: made, found by themselves, renamed, grown, destroyed, given up, on disks in
 * memory. Power that fails at any moment of these leaves the store as it was or as it was to be,
 * and what our loading says the independent reader says too.
 */
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/lvol/volume.h"
#include "test/unit/xbdev/lvol/disk.h"
#include "test/unit/xbdev/lvol/session.h"

#define MIB   (UINT64_C(1) << 20)
#define SMALL (8 * MIB)
#define BIG   (16 * MIB)

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

static int grow(struct test *t, const char *name)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_store_grow(xbdev__lvol_store_find(t->h.ctx, name), on_done, t);
	return result(t, nr);
}

static int create_volume(
	struct test *t, const char *store, const char *name, uint64_t size, bool is_thin)
{
	const struct xbdev_lvol_create_opts opts = {.name = name, .size = size, .is_thin = is_thin};
	uint32_t nr = t->nr_done;

	xbdev__lvol_create(xbdev__lvol_store_find(t->h.ctx, store), &opts, on_done, t);
	return result(t, nr);
}

/* A store's bytes on a disk of BIG bytes, of which the store takes SMALL, with a thick volume of 2.
 */
static uint8_t *make_content(uint32_t block_size, bool is_clean)
{
	uint8_t *content = calloc(1, BIG);
	struct test t;

	assert_non_null(content);
	start(&t);
	t.disk = lvol_disk_new(&t.h, "disk", NULL, SMALL, block_size);
	assert_int_equal(create(&t, "disk", "lvs", 1 << 20), 0);
	assert_int_equal(create_volume(&t, "lvs", "vol", 2 * MIB, false), 0);
	if (is_clean) {
		assert_int_equal(detach(&t, "lvs"), 0);
	}
	memcpy(content, t.disk->memory, SMALL);
	harness_stop(&t.h);
	return content;
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

static void test_a_renamed_store_renames_its_devices(void **state)
{
	struct xbdev_desc *desc;
	struct test t;

	(void)state;
	start(&t);
	lvol_disk_new(&t.h, "disk", NULL, 64 * MIB, 4096);
	assert_int_equal(create(&t, "disk", "lvs", 1 << 20), 0);
	assert_int_equal(create_volume(&t, "lvs", "vol", 2 * MIB, true), 0);
	assert_int_equal(create_volume(&t, "lvs", "other", 2 * MIB, true), 0);
	harness_create(&t.h, "malloc", "{'name':'third/other','size':1048576}");
	wait_examined(&t, NULL);
	desc = harness_open(&t.h, "lvs/vol", false);
	assert_int_equal(rename_store(&t, "lvs", "second"), -EBUSY);
	assert_non_null(strstr(t.err.text, "volume 'lvs/vol' is in use"));
	assert_int_equal(destroy(&t, "lvs"), -EBUSY);
	xbdev_desc_close(desc);
	assert_int_equal(rename_store(&t, "lvs", "third"), -EEXIST);
	assert_non_null(xbdev_device_find(t.h.ctx, "lvs/vol"));
	assert_int_equal(rename_store(&t, "lvs", "second"), 0);
	assert_null(xbdev_device_find(t.h.ctx, "lvs/vol"));
	assert_non_null(xbdev_device_find(t.h.ctx, "second/vol"));
	assert_non_null(xbdev_device_find(t.h.ctx, "second/other"));
	assert_int_equal(detach(&t, "second"), 0);
	assert_int_equal(examine(&t, "disk"), 0);
	assert_non_null(xbdev_device_find(t.h.ctx, "second/vol"));
	harness_stop(&t.h);
}

static void test_a_store_is_found_when_its_device_appears(void **state)
{
	struct lvol_fixture f;
	struct test t;

	(void)state;
	lvol_fixture_open(&f, "thin-thick-512-64k-odd");
	start(&t);
	harness_create(&t.h, "file", "{'name':'base','filename':'%s','block_size':512}", f.path);
	wait_examined(&t, "base");
	assert_non_null(xbdev__lvol_store_next(t.h.ctx, NULL));
	assert_string_equal(xbdev_device_find(t.h.ctx, "base")->driver, "file");
	assert_non_null(xbdev_device_find(t.h.ctx, "base")->claim);
	harness_stop(&t.h);
	lvol_fixture_close(&f);
}

static uint64_t nr_reads(struct test *t, const char *device)
{
	struct xbdev_stats stats = harness_stats(&t->h, xbdev_device_find(t->h.ctx, device), false);

	return stats.ops[XBDEV_OP_READ].latency.count;
}

static void test_looks_are_not_counted_and_wait_while_held(void **state)
{
	uint8_t *content = make_content(512, true);
	struct test t;

	(void)state;
	start(&t);
	harness_create(&t.h, "malloc", "{'name':'blank','size':1048576}");
	wait_examined(&t, NULL);
	assert_int_equal(nr_reads(&t, "blank"), 0);
	xbdev__lvol_hold(t.h.ctx);
	lvol_disk_new(&t.h, "disk", content, SMALL, 512);
	wait_examined(&t, "disk");
	assert_null(xbdev__lvol_store_find(t.h.ctx, "lvs"));
	xbdev__lvol_release(t.h.ctx);
	wait_examined(&t, "disk");
	assert_non_null(xbdev__lvol_store_find(t.h.ctx, "lvs"));
	assert_non_null(xbdev_device_find(t.h.ctx, "lvs/vol"));
	harness_stop(&t.h);
	free(content);
}

static void test_what_cannot_be_attached_is_refused_with_the_reason(void **state)
{
	uint8_t *content = make_content(512, true);
	const struct xbdev_lvol_refused *refused;
	struct lvol_disk *damaged;
	struct test t;

	(void)state;
	start(&t);
	lvol_disk_new(&t.h, "disk", content, SMALL, 512);
	wait_examined(&t, "disk");
	lvol_disk_new(&t.h, "copy", content, SMALL, 512);
	wait_examined(&t, "copy");
	refused = xbdev__lvol_refused_next(t.h.ctx, NULL);
	assert_non_null(refused);
	assert_string_equal(refused->device, "copy");
	assert_int_equal(refused->why.code, -EEXIST);
	assert_null(xbdev__lvol_refused_next(t.h.ctx, refused));
	assert_null(xbdev_device_find(t.h.ctx, "copy")->claim);
	content[4092] ^= 1;
	damaged = lvol_disk_new(&t.h, "damaged", content, SMALL, 512);
	wait_examined(&t, "damaged");
	refused = xbdev__lvol_refused_next(t.h.ctx, refused);
	assert_non_null(refused);
	assert_string_equal(refused->device, "damaged");
	assert_int_equal(refused->why.code, -EILSEQ);
	harness_remove(&t.h, &damaged->dev);
	refused = xbdev__lvol_refused_next(t.h.ctx, NULL);
	assert_non_null(refused);
	assert_null(xbdev__lvol_refused_next(t.h.ctx, refused));
	assert_int_equal(detach(&t, "lvs"), 0);
	assert_int_equal(examine(&t, "copy"), 0);
	assert_null(xbdev__lvol_refused_next(t.h.ctx, NULL));
	harness_stop(&t.h);
	free(content);
}

static void test_the_store_of_an_array_is_not_its_members(void **state)
{
	static const uint8_t magic[4] = {0xfc, 0x4e, 0x2b, 0xa9};
	uint8_t *content = make_content(512, true);
	struct test t;

	(void)state;
	start(&t);
	memcpy(content + SMALL - 8192, magic, sizeof(magic));
	lvol_disk_new(&t.h, "member", content, SMALL, 512);
	wait_examined(&t, "member");
	assert_null(xbdev__lvol_store_next(t.h.ctx, NULL));
	assert_non_null(strstr(
		xbdev__lvol_refused_next(t.h.ctx, NULL)->why.text, "a member of a RAID array"));
	harness_stop(&t.h);
	free(content);
}

static void test_what_a_device_holds_is_named(void **state)
{
	static const struct {
		uint32_t at;
		const char *bytes, *what;
	} cases[] = {
		{512, "EFI PART", "a GUID partition table"},
		{1080, "\x53\xef", "an ext2, ext3 or ext4 file system"},
		{0, "XFSB", "an XFS file system"},
		{65600, "_BHRfS_M", "a btrfs file system"},
		{100, "x", "there is something at byte 100"},
	};
	uint8_t *content = calloc(1, 32 * MIB);
	struct test t;

	(void)state;
	assert_non_null(content);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start(&t);
		memset(content, 0, 1 * MIB);
		memcpy(content + cases[i].at, cases[i].bytes, strlen(cases[i].bytes));
		lvol_disk_new(&t.h, "disk", content, 32 * MIB, 512);
		assert_int_equal(create(&t, "disk", "lvs", 0), -EEXIST);
		if (strstr(t.err.text, cases[i].what) == NULL) {
			fail_msg("%s: %s", cases[i].what, t.err.text);
		}
		assert_null(xbdev_device_find(t.h.ctx, "disk")->claim);
		harness_stop(&t.h);
	}
	free(content);
}

/* The device goes after so many rounds; whatever has been begun ends, and the store with it. */
static void test_a_device_may_go_while_it_is_looked_at(void **state)
{
	uint8_t *content = make_content(512, false);

	(void)state;
	for (uint32_t rounds = 0; rounds < 60; rounds++) {
		struct lvol_disk *disk;
		struct test t;

		start(&t);
		disk = lvol_disk_new(&t.h, "disk", content, SMALL, 512);
		harness_poll_times(&t.h, rounds);
		xbdev_device_remove(&disk->dev, NULL, NULL);
		wait_examined(&t, NULL);
		harness_wait(&t.h, xbdev_device_next(t.h.ctx, NULL) == NULL);
		assert_null(xbdev__lvol_store_next(t.h.ctx, NULL));
		harness_stop(&t.h);
	}
	free(content);
}

/* As a process that ends does it. */
static void end_all(struct test *t)
{
	xbdev_device_remove_all(t->h.ctx);
	harness_wait(&t->h, xbdev_device_next(t->h.ctx, NULL) == NULL);
	harness_stop(&t->h);
}

/* All devices go in good order: the store is clean afterwards, that which is in it too. */
static void test_everything_goes_and_stores_are_clean(void **state)
{
	uint8_t *content = malloc(64 * MIB);
	struct xbdev_lvs_super super;
	struct xu_error err;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct test t;

	(void)state;
	assert_non_null(content);
	start(&t);
	harness_create(&t.h, "file", "{'name':'disk','filename':'%s/outer','size':%llu}",
		harness_dir(), (unsigned long long)(64 * MIB));
	wait_examined(&t, NULL);
	assert_int_equal(create(&t, "disk", "outer", 1 << 20), 0);
	assert_int_equal(create_volume(&t, "outer", "vol", 32 * MIB, true), 0);
	assert_int_equal(create(&t, "outer/vol", "inner", 1 << 20), 0);
	assert_int_equal(create_volume(&t, "inner", "vol", 2 * MIB, false), 0);
	end_all(&t);

	start(&t);
	harness_create(&t.h, "file", "{'name':'disk','filename':'%s/outer'}", harness_dir());
	wait_examined(&t, "disk");
	assert_non_null(xbdev_device_find(t.h.ctx, "outer/vol"));
	assert_non_null(xbdev_device_find(t.h.ctx, "inner/vol"));
	desc = harness_open(&t.h, "outer/vol", false);
	ch = harness_channel(&t.h, desc, 0);
	assert_int_equal(harness_io(&t.h, ch, XBDEV_OP_READ, 0, content, 4096, 0), 0);
	assert_int_equal(xbdev__lvs_super_parse(content, 32 * MIB, &super, &err), 0);
	assert_true(super.is_clean);
	harness_put(&t.h, ch);
	xbdev_desc_close(desc);
	assert_int_equal(detach(&t, "outer"), 0);
	assert_null(xbdev__lvol_store_next(t.h.ctx, NULL));
	desc = harness_open(&t.h, "disk", false);
	ch = harness_channel(&t.h, desc, 0);
	assert_int_equal(harness_io(&t.h, ch, XBDEV_OP_READ, 0, content, 4096, 0), 0);
	assert_int_equal(xbdev__lvs_super_parse(content, 64 * MIB, &super, &err), 0);
	assert_true(super.is_clean);
	harness_put(&t.h, ch);
	xbdev_desc_close(desc);
	harness_stop(&t.h);
	free(content);
}

static void make_image(struct test *t)
{
	harness_create(&t->h, "file",
		"{'name':'image','filename':'%s/image','size':%llu,"
		"'uuid':'6f1c9a52-60f1-4c8e-8a6d-0d1f9b1f7a01'}",
		harness_dir(), (unsigned long long)(24 * MIB));
	wait_examined(t, "image");
}

/* Every volume and store on it goes with it. */
static void remove_image(struct test *t)
{
	assert_int_equal(xbdev_device_remove(xbdev_device_find(t->h.ctx, "image"), NULL, NULL), 0);
	harness_wait(&t->h, xbdev_device_find(t->h.ctx, "image") == NULL);
	assert_null(xbdev_device_find(t->h.ctx, "outer/clone"));
}

/* A store on a clone of a device that comes late is found then, and again when the device has been
 * away; not once the clone was free for others to write. */
static void test_a_store_on_a_late_clone_is_found(void **state)
{
	struct test t;
	uint32_t nr;

	(void)state;
	start(&t);
	harness_create(&t.h, "file", "{'name':'disk','filename':'%s/late','size':%llu}",
		harness_dir(), (unsigned long long)(64 * MIB));
	wait_examined(&t, NULL);
	make_image(&t);
	assert_int_equal(create(&t, "disk", "outer", 1 << 20), 0);
	nr = t.nr_done;
	xbdev__lvol_clone_external(
		xbdev__lvol_store_find(t.h.ctx, "outer"), "image", "clone", NULL, on_done, &t);
	assert_int_equal(result(&t, nr), 0);
	assert_int_equal(create(&t, "outer/clone", "inner", 1 << 20), 0);
	assert_int_equal(create_volume(&t, "inner", "vol", 2 * MIB, false), 0);
	end_all(&t);

	start(&t);
	harness_create(&t.h, "file", "{'name':'disk','filename':'%s/late'}", harness_dir());
	wait_examined(&t, NULL);
	assert_non_null(xbdev__lvol_store_find(t.h.ctx, "outer"));
	assert_null(xbdev_device_find(t.h.ctx, "outer/clone"));
	for (uint32_t i = 0; i < 2; i++) {
		make_image(&t);
		assert_non_null(xbdev_device_find(t.h.ctx, "outer/clone"));
		assert_non_null(xbdev_device_find(t.h.ctx, "inner/vol"));
		remove_image(&t);
		harness_wait(&t.h, xbdev__lvol_store_find(t.h.ctx, "inner") == NULL);
	}
	make_image(&t);
	assert_int_equal(detach(&t, "inner"), 0);
	remove_image(&t);
	make_image(&t);
	assert_non_null(xbdev_device_find(t.h.ctx, "outer/clone"));
	wait_examined(&t, NULL);
	assert_null(xbdev__lvol_store_find(t.h.ctx, "inner"));
	assert_int_equal(examine(&t, "outer/clone"), 0);
	assert_non_null(xbdev_device_find(t.h.ctx, "inner/vol"));
	end_all(&t);
}

/* ---- growing ---- */

static void test_a_store_grows_with_its_device(void **state)
{
	uint8_t *content = make_content(512, true);
	struct xbdev_lvol_store_info info;
	struct test t;

	(void)state;
	start(&t);
	t.disk = lvol_disk_new(&t.h, "disk", content, BIG, 512);
	wait_examined(&t, "disk");
	xbdev__lvol_store_info(xbdev__lvol_store_find(t.h.ctx, "lvs"), &info);
	assert_int_equal(info.total_clusters, 7);
	assert_int_equal(info.free_clusters, 5);
	assert_int_equal(create_volume(&t, "lvs", "large", 10 * MIB, false), -ENOSPC);
	assert_int_equal(grow(&t, "lvs"), 0);
	xbdev__lvol_store_info(xbdev__lvol_store_find(t.h.ctx, "lvs"), &info);
	assert_int_equal(info.total_clusters, 15);
	assert_int_equal(info.free_clusters, 13);
	assert_int_equal(grow(&t, "lvs"), -EINVAL);
	assert_int_equal(create_volume(&t, "lvs", "large", 10 * MIB, false), 0);
	assert_int_equal(detach(&t, "lvs"), 0);
	assert_int_equal(examine(&t, "disk"), 0);
	xbdev__lvol_store_info(xbdev__lvol_store_find(t.h.ctx, "lvs"), &info);
	assert_int_equal(info.total_clusters, 15);
	assert_int_equal(info.free_clusters, 3);
	assert_int_equal(info.nr_volumes, 2);
	harness_stop(&t.h);
	free(content);
}

/* ---- power ---- */

enum after { IS_AS_BEFORE = 1, IS_DONE = 2, IS_GONE = 4 };

/* Loads what a crash has left, and closes it clean, so that the other reader can be asked too. */
static enum after look_after(const uint8_t *image, uint32_t block_size, const char *name,
	uint64_t nr_clusters, bool ask_reader)
{
	struct xbdev_lvol_store_info info;
	struct xbdev_lvol_store *store;
	enum after after = IS_GONE;
	struct test t;
	char *text;

	start(&t);
	t.disk = lvol_disk_new(&t.h, "disk", image, BIG, block_size);
	wait_examined(&t, "disk");
	if (xbdev__lvol_refused_next(t.h.ctx, NULL) != NULL) {
		fail_msg("%s", xbdev__lvol_refused_next(t.h.ctx, NULL)->why.text);
	}
	store = xbdev__lvol_store_next(t.h.ctx, NULL);
	if (store != NULL) {
		xbdev__lvol_store_info(store, &info);
		after = strcmp(info.name, name) == 0 && info.total_clusters == nr_clusters
				? IS_DONE
				: IS_AS_BEFORE;
		assert_int_equal(info.free_clusters, info.total_clusters - 2 * info.nr_volumes);
		assert_int_equal(detach(&t, info.name), 0);
		if (!ask_reader) {
			harness_stop(&t.h);
			return after;
		}
		text = lvol_session_reader(t.disk->image, true);
		if (strncmp(text, after == IS_DONE ? name : "lvs", strcspn(text, " ")) != 0) {
			fail_msg("the other reader says: %s", text);
		}
		free(text);
	}
	harness_stop(&t.h);
	return after;
}

static int do_create(struct test *t)
{
	return create(t, "disk", "lvs", 1 << 20);
}

static int do_rename(struct test *t)
{
	return rename_store(t, "lvs", "renamed");
}

static int do_grow(struct test *t)
{
	return grow(t, "lvs");
}

static int do_destroy(struct test *t)
{
	return destroy(t, "lvs");
}

static void sweep(int (*fn)(struct test *t), bool has_store, const char *name, uint64_t nr_clusters,
	uint32_t expected, enum after at_end)
{
	struct xu_random random;
	uint32_t seen = 0, block_size;

	xu_random_seed(&random, harness_seed(5));
	for (uint32_t i = 0; i < 4; i++) {
		uint8_t *content =
			has_store ? make_content(i % 2 == 0 ? 512 : 4096, i < 2) : calloc(1, BIG);
		struct test t;
		uint32_t nr;

		block_size = i % 2 == 0 ? 512 : 4096;
		start(&t);
		t.disk = lvol_disk_new(&t.h, "disk", content, BIG, block_size);
		wait_examined(&t, "disk");
		lvol_disk_begin(t.disk);
		assert_int_equal(fn(&t), 0);
		nr = t.disk->nr_log;
		for (uint32_t k = 0; k <= nr; k++) {
			const uint8_t *image = lvol_disk_crash(t.disk, k, k == nr ? NULL : &random);
			enum after after = look_after(
				image, block_size, name, nr_clusters, k % 3 == 0 || k == nr);

			seen |= after;
			assert_true((after & expected) != 0);
			assert_true(k < nr || after == at_end);
			lvol_disk_crash_free(image);
		}
		harness_stop(&t.h);
		free(content);
	}
	assert_int_equal(seen, expected);
}

static void test_power_fails_amid_creation(void **state)
{
	(void)state;
	sweep(do_create, false, "lvs", 15, IS_GONE | IS_DONE, IS_DONE);
}

static void test_power_fails_amid_renaming(void **state)
{
	(void)state;
	sweep(do_rename, true, "renamed", 7, IS_AS_BEFORE | IS_DONE, IS_DONE);
}

static void test_power_fails_amid_growing(void **state)
{
	(void)state;
	sweep(do_grow, true, "lvs", 15, IS_AS_BEFORE | IS_DONE, IS_DONE);
}

static void test_power_fails_amid_destruction(void **state)
{
	(void)state;
	sweep(do_destroy, true, "lvs", 7, IS_DONE | IS_GONE, IS_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_store_is_made_found_and_destroyed),
		cmocka_unit_test(test_names_are_taken_once),
		cmocka_unit_test(test_a_renamed_store_renames_its_devices),
		cmocka_unit_test(test_a_store_is_found_when_its_device_appears),
		cmocka_unit_test(test_looks_are_not_counted_and_wait_while_held),
		cmocka_unit_test(test_what_cannot_be_attached_is_refused_with_the_reason),
		cmocka_unit_test(test_the_store_of_an_array_is_not_its_members),
		cmocka_unit_test(test_what_a_device_holds_is_named),
		cmocka_unit_test(test_a_device_may_go_while_it_is_looked_at),
		cmocka_unit_test(test_everything_goes_and_stores_are_clean),
		cmocka_unit_test(test_a_store_on_a_late_clone_is_found),
		cmocka_unit_test(test_a_store_grows_with_its_device),
		cmocka_unit_test(test_power_fails_amid_creation),
		cmocka_unit_test(test_power_fails_amid_renaming),
		cmocka_unit_test(test_power_fails_amid_growing),
		cmocka_unit_test(test_power_fails_amid_destruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
