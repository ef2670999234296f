/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logical volumes as an application has them, through <xbdev/xbdev.h> only: stores and volumes
 * made, used, changed and ended, by one thread and by several, embedded and not; what is refused,
 * and how; what is there again after the library has ended and begun.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define BLOCK    4096u
#define MIB      (1024u * 1024)
#define CLUSTER  (64u << 10)
#define SIZE_MB  32
#define NR_ROUND 4

static bool is_embedded;
static _Atomic int failures;
static char dir[] = "/var/tmp/xsan-test-lvol-api-XXXXXX";

/* ---- the ground ---- */

static void must(int rc)
{
	if (rc < 0) {
		fail_msg("%d: %s", rc, xbdev_last_error());
	}
}

static void begin(void)
{
	const xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = 2, .is_embedded = is_embedded};

	must(xbdev_init_with(&options));
}

static int start(void **state)
{
	is_embedded = false;
	begin();
	must(xbdev_config_malloc(SIZE_MB, 512, "m"));
	must(xbdev_config_malloc(SIZE_MB, 4096, "n"));
	return 0;
}

static int start_embedded(void **state)
{
	is_embedded = true;
	begin();
	must(xbdev_config_malloc(SIZE_MB, 512, "m"));
	must(xbdev_config_malloc(SIZE_MB, 4096, "n"));
	return 0;
}

static int stop(void **state)
{
	must(xbdev_fini());
	return 0;
}

static int make_dir(void **state)
{
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static const char *make_file(const char *name, uint64_t size)
{
	static char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), (off_t)size), 0);
	fclose(file);
	return path;
}

static void expect_error(int rc, int code, const char *part)
{
	if (rc != code || strstr(xbdev_last_error(), part) == NULL) {
		fail_msg("got %d: %s\nexpected %d: %s", rc, xbdev_last_error(), code, part);
	}
}

static xbdev_lvs_info_t store_of(const char *name)
{
	xbdev_lvs_info_t info = {.size = sizeof(info)};

	must(xbdev_lvs_info(name, &info));
	return info;
}

static xbdev_lvol_info_t volume_of(const char *name)
{
	xbdev_lvol_info_t info = {.size = sizeof(info)};

	must(xbdev_lvol_info(name, &info));
	return info;
}

static bool is_there(const char *name)
{
	xbdev_lvol_info_t info = {.size = sizeof(info)};

	return xbdev_lvol_info(name, &info) == 0;
}

static void put(const char *name, char content, uint64_t at)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd = xbdev_open(name);

	must(fd);
	memset(buf, content, BLOCK);
	assert_int_equal(xbdev_write(fd, buf, BLOCK, at), BLOCK);
	must(xbdev_close(fd));
	xbdev_dma_buffer_free(buf);
}

static char get(const char *name, uint64_t at)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK), byte;
	int fd = xbdev_open_with(name, XBDEV_OPEN_READ);

	must(fd);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, at), BLOCK);
	must(xbdev_close(fd));
	byte = buf[0];
	for (uint32_t i = 0; i < BLOCK; i++) {
		assert_int_equal(buf[i], byte);
	}
	xbdev_dma_buffer_free(buf);
	return byte;
}

static void assert_no_writing(const char *name)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd = xbdev_open(name);

	must(fd);
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 0), -EROFS);
	must(xbdev_close(fd));
	xbdev_dma_buffer_free(buf);
}

/* A store "s" on "m" with a thin volume "s/v" that says 'a', 'b' at its first two clusters. */
static void make_volume(void)
{
	must(xbdev_lvs_create("m", "s", CLUSTER));
	must(xbdev_lvol_create("s", "v", 8, true));
	put("s/v", 'a', 0);
	put("s/v", 'b', CLUSTER);
}

/* ---- making ---- */

static void test_a_store_and_its_volumes(void **state)
{
	xbdev_lvs_info_t store, stores[2] = {{.size = sizeof(store)}};
	xbdev_lvol_info_t volume, volumes[2] = {{.size = sizeof(volume)}};
	uint64_t nr_free;

	assert_int_equal(xbdev_lvs_list(stores, 2), 0);
	must(xbdev_lvs_create("m", "s", CLUSTER));
	store = store_of("s");
	assert_string_equal(store.name, "s");
	assert_string_equal(store.bdev_name, "m");
	assert_int_equal(strlen(store.uuid), 36);
	assert_int_equal(store.cluster_size, CLUSTER);
	assert_int_equal(store.free_clusters, store.total_clusters);
	assert_in_range(store.total_clusters, SIZE_MB * 16 * 9 / 10, SIZE_MB * 16);
	assert_int_equal(store.num_volumes, 0);
	assert_int_equal(store.promised_clusters, 0);
	assert_false(store.is_read_only);
	assert_string_equal(store_of(store.uuid).name, "s");
	assert_int_equal(xbdev_lvs_list(stores, 2), 1);
	assert_string_equal(stores[0].uuid, store.uuid);

	must(xbdev_lvol_create("s", "thin", 8, true));
	assert_int_equal(store_of("s").free_clusters, store.total_clusters);
	assert_int_equal(store_of("s").promised_clusters, 128);
	must(xbdev_lvol_create("s", "thick", 4, false));
	nr_free = store_of("s").free_clusters;
	assert_int_equal(nr_free, store.total_clusters - 64);
	put("s/thin", 't', 3 * CLUSTER);
	assert_int_equal(store_of("s").free_clusters, nr_free - 1);

	volume = volume_of("s/thin");
	assert_string_equal(volume.name, "thin");
	assert_string_equal(volume.lvs_name, "s");
	assert_int_equal(volume.size_bytes, 8 * MIB);
	assert_int_equal(volume.cluster_size, CLUSTER);
	assert_int_equal(volume.num_clusters, 128);
	assert_int_equal(volume.num_allocated, 1);
	assert_int_equal(volume.num_clones, 0);
	assert_true(volume.is_thin);
	assert_false(volume.is_read_only);
	assert_string_equal(volume.parent, "");
	assert_string_equal(volume.esnap, "");
	assert_string_equal(volume.busy, "");
	assert_true(volume.progress == 100);
	assert_string_equal(volume_of(volume.uuid).name, "thin");
	volume = volume_of("s/thick");
	assert_false(volume.is_thin);
	assert_int_equal(volume.num_allocated, 64);

	assert_int_equal(get("s/thick", 0), 0);
	assert_int_equal(get("s/thin", 3 * CLUSTER), 't');
	assert_int_equal(xbdev_lvol_list(NULL, NULL, 0), 2);
	assert_int_equal(xbdev_lvol_list("s", volumes, 2), 2);
	assert_string_equal(volumes[0].name, "thin");
	assert_string_equal(volumes[1].name, "thick");

	must(xbdev_lvol_destroy("s/thick"));
	assert_int_equal(store_of("s").free_clusters, nr_free + 64 - 1);
	must(xbdev_lvol_destroy("s/thin"));
	assert_int_equal(xbdev_lvol_list("s", NULL, 0), 0);
	must(xbdev_lvs_destroy("s"));
	assert_int_equal(xbdev_lvs_list(NULL, 0), 0);
	must(xbdev_lvs_create("m", "s", 0));
	assert_int_equal(store_of("s").cluster_size, 4 * MIB);
	must(xbdev_lvs_destroy("s"));
}

static void test_everything_that_can_be_said(void **state)
{
	const xbdev_lvs_create_options_t store = {
		.size = sizeof(store),
		.cluster_size = CLUSTER,
		.md_ratio = 200,
		.clear = XBDEV_LVOL_CLEAR_ZEROES,
		.uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
	};
	const xbdev_lvol_create_options_t volume = {
		.size = sizeof(volume),
		.size_bytes = 3 * CLUSTER - 512,
		.thin_provision = true,
		.clear = XBDEV_LVOL_CLEAR_NONE,
		.uuid = "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
	};
	uint64_t few;

	must(xbdev_lvs_create("n", "t", CLUSTER));
	few = store_of("t").total_clusters;
	must(xbdev_lvs_create_with("m", "s", &store));
	assert_string_equal(store_of("s").uuid, store.uuid);
	assert_true(store_of("s").total_clusters < few);
	must(xbdev_lvol_create_with("s", "v", &volume));
	assert_string_equal(volume_of("s/v").uuid, volume.uuid);
	assert_int_equal(volume_of("s/v").size_bytes, 3 * CLUSTER);
	put(volume.uuid, 'u', 0);
	assert_int_equal(get("s/v", 0), 'u');
	assert_int_equal(store_of("t").block_size, 4096);
}

/* Small clusters are for devices of any size: their metadata takes a sixteenth. */
static void test_small_clusters_on_any_device(void **state)
{
	static const uint64_t sizes_mb[] = {1, 3, 64, 256};

	for (size_t i = 0; i < sizeof(sizes_mb) / sizeof(sizes_mb[0]); i++) {
		uint64_t nr_clusters = sizes_mb[i] * 256;

		must(xbdev_config_malloc(sizes_mb[i], 512, "d"));
		must(xbdev_lvs_create("d", "s", 4096));
		assert_in_range(store_of("s").total_clusters, nr_clusters * 88 / 100, nr_clusters);
		must(xbdev_lvol_create("s", "v", sizes_mb[i], true));
		put("s/v", 'x', 0);
		must(xbdev_snapshot_create("s/v", "p"));
		put("s/v", 'y', 0);
		assert_int_equal(get("s/p", 0), 'x');
		assert_int_equal(get("s/v", 0), 'y');
		must(xbdev_lvs_destroy("s"));
		must(xbdev_config_remove("d"));
	}
}

/* ---- snapshots and clones ---- */

static void test_snapshots_and_clones(void **state)
{
	int fd;

	make_volume();
	fd = xbdev_open("s/v");
	must(fd);
	must(xbdev_snapshot_create("s/v", "p"));
	must(xbdev_close(fd));
	assert_true(volume_of("s/p").is_read_only);
	assert_int_equal(volume_of("s/p").num_clones, 1);
	assert_string_equal(volume_of("s/v").parent, "p");
	put("s/v", 'A', 0);
	assert_no_writing("s/p");
	must(xbdev_clone_create("s/p", "c"));
	assert_int_equal(volume_of("s/p").num_clones, 2);
	put("s/c", 'C', CLUSTER);
	assert_int_equal(get("s/v", 0), 'A');
	assert_int_equal(get("s/v", CLUSTER), 'b');
	assert_int_equal(get("s/p", 0), 'a');
	assert_int_equal(get("s/p", CLUSTER), 'b');
	assert_int_equal(get("s/c", 0), 'a');
	assert_int_equal(get("s/c", CLUSTER), 'C');
	/* A clone's snapshot's clone. */
	must(xbdev_snapshot_create("s/c", "q"));
	must(xbdev_clone_create("s/q", "d"));
	assert_int_equal(get("s/d", CLUSTER), 'C');
	assert_string_equal(volume_of("s/d").parent, "q");
	assert_string_equal(volume_of("s/q").parent, "p");

	expect_error(xbdev_snapshot_destroy("s/v"), -EINVAL, "'s/v' is no snapshot");
	expect_error(xbdev_clone_create("s/v", "e"), -EINVAL, "volume 'v' can be written");
	must(xbdev_lvol_destroy("s/d"));
	must(xbdev_snapshot_destroy("s/q"));
	assert_int_equal(get("s/c", CLUSTER), 'C');
	must(xbdev_lvol_destroy("s/c"));
	must(xbdev_snapshot_destroy("s/p"));
	assert_int_equal(get("s/v", 0), 'A');
	assert_int_equal(get("s/v", CLUSTER), 'b');
	assert_string_equal(volume_of("s/v").parent, "");
}

static void test_clones_of_devices(void **state)
{
	xbdev_lvol_info_t info;

	make_volume();
	must(xbdev_config_malloc(4, 512, "image"));
	must(xbdev_config_malloc(8, 512, "other"));
	put("image", 'i', CLUSTER);
	put("other", 'o', CLUSTER);
	put("other", 'p', 2 * CLUSTER);
	must(xbdev_clone_create_external("image", "s", "c"));
	info = volume_of("s/c");
	assert_string_equal(info.esnap, "image");
	assert_string_equal(info.parent, "");
	assert_true(info.is_thin);
	assert_int_equal(info.size_bytes, 4 * MIB);
	assert_int_equal(info.num_allocated, 0);
	assert_int_equal(get("s/c", CLUSTER), 'i');
	put("s/c", 'C', CLUSTER + BLOCK);
	assert_int_equal(get("s/c", CLUSTER), 'i');
	assert_int_equal(get("s/c", CLUSTER + BLOCK), 'C');
	assert_int_equal(volume_of("s/c").num_allocated, 1);
	assert_int_equal(get("image", CLUSTER), 'i');
	expect_error(xbdev_open("image"), -EBUSY, "clones of it");
	expect_error(xbdev_config_remove("image"), -EBUSY, "clones of it");

	must(xbdev_lvol_set_parent_external("s/c", "other"));
	assert_string_equal(volume_of("s/c").esnap, "other");
	assert_int_equal(get("s/c", CLUSTER), 'i'); /* its own */
	assert_int_equal(get("s/c", 2 * CLUSTER), 'p');
	put("image", 'j', CLUSTER);
	must(xbdev_config_remove("image"));
	must(xbdev_lvol_inflate("s/c"));
	must(xbdev_config_remove("other"));
	assert_int_equal(get("s/c", 2 * CLUSTER), 'p');
	assert_string_equal(volume_of("s/c").esnap, "");

	expect_error(xbdev_clone_create_external("none", "s", "d"), -ENODEV, "'none'");
	expect_error(xbdev_clone_create_external("s/c", "s", "d"), -EINVAL, "'s/c'");
	expect_error(xbdev_clone_create_external("n", "s", "d"), -EINVAL, "blocks of 4096");
	expect_error(xbdev_clone_create_external(NULL, "s", "d"), -EINVAL, "is NULL");
	expect_error(xbdev_clone_create_external("n", "s", "a/b"), -EINVAL, "\"a/b\"");
	expect_error(xbdev_lvol_set_parent_external("s/c", "n"), -EINVAL, "thick");
	expect_error(xbdev_lvol_set_parent_external("s/none", "n"), -ENODEV, "s/none");
}

static void test_a_snapshot_is_restored(void **state)
{
	int fd;

	make_volume();
	must(xbdev_snapshot_create("s/v", "one"));
	put("s/v", '1', 0);
	must(xbdev_snapshot_create("s/v", "two"));
	put("s/v", '2', 0);
	fd = xbdev_open("s/v");
	must(fd);
	expect_error(xbdev_snapshot_restore("s/one"), -EBUSY, "s/v");
	must(xbdev_close(fd));
	must(xbdev_snapshot_restore("s/one"));
	assert_int_equal(get("s/v", 0), 'a');
	assert_int_equal(get("s/two", 0), '1');
	must(xbdev_snapshot_restore("s/two"));
	assert_int_equal(get("s/v", 0), '1');
}

/* ---- changing ---- */

static void test_names_are_changed(void **state)
{
	int fd;

	make_volume();
	must(xbdev_lvol_create("s", "w", 1, true));
	expect_error(xbdev_lvol_rename("s/v", "w"), -EEXIST, "w");
	expect_error(xbdev_lvol_rename("s/v", "a/b"), -EINVAL, "without '/'");
	fd = xbdev_open("s/v");
	must(fd);
	expect_error(xbdev_lvol_rename("s/v", "x"), -EBUSY, "s/v");
	expect_error(xbdev_lvs_rename("s", "t"), -EBUSY, "s/v");
	must(xbdev_close(fd));
	must(xbdev_lvol_rename("s/v", "x"));
	assert_false(is_there("s/v"));
	assert_int_equal(get("s/x", 0), 'a');
	must(xbdev_lvs_rename("s", "t"));
	assert_int_equal(get("t/x", 0), 'a');
	assert_true(is_there("t/w"));
	expect_error(xbdev_lvs_rename("s", "u"), -ENODEV, "no store of logical volumes named 's'");
	must(xbdev_lvs_unload("t"));
	must(xbdev_lvs_load("m", false));
	assert_int_equal(get("t/x", CLUSTER), 'b');
}

static void test_a_volume_becomes_read_only(void **state)
{
	int fd;

	make_volume();
	fd = xbdev_open("s/v");
	must(fd);
	expect_error(xbdev_lvol_set_read_only("s/v"), -EBUSY, "s/v");
	must(xbdev_close(fd));
	must(xbdev_lvol_set_read_only("s/v"));
	assert_true(volume_of("s/v").is_read_only);
	assert_no_writing("s/v");
	must(xbdev_clone_create("s/v", "c"));
	assert_int_equal(get("s/c", 0), 'a');
}

static void test_a_volume_changes_its_size(void **state)
{
	uint64_t nr_free;
	int fd;

	make_volume();
	nr_free = store_of("s").free_clusters;
	fd = xbdev_open("s/v");
	must(fd);
	must(xbdev_lvol_resize("s/v", 16));
	must(xbdev_close(fd));
	assert_int_equal(volume_of("s/v").size_bytes, 16 * MIB);
	put("s/v", 'z', 16 * MIB - BLOCK);
	assert_int_equal(store_of("s").free_clusters, nr_free - 1);
	must(xbdev_lvol_resize("s/v", 1));
	assert_int_equal(volume_of("s/v").size_bytes, MIB);
	assert_int_equal(store_of("s").free_clusters, nr_free);
	assert_int_equal(get("s/v", CLUSTER), 'b');
	must(xbdev_lvol_resize("s/v", 16));
	assert_int_equal(get("s/v", 16 * MIB - BLOCK), 0);
}

static void test_a_clone_stands_on_its_own(void **state)
{
	make_volume();
	must(xbdev_snapshot_create("s/v", "p"));
	put("s/v", 'B', CLUSTER);
	must(xbdev_snapshot_create("s/v", "q"));
	must(xbdev_clone_create("s/q", "c"));
	put("s/c", 'c', 2 * CLUSTER);
	must(xbdev_lvol_decouple("s/c"));
	assert_string_equal(volume_of("s/c").parent, "p");
	assert_int_equal(volume_of("s/c").num_allocated, 2);
	must(xbdev_lvol_inflate("s/c"));
	assert_string_equal(volume_of("s/c").parent, "");
	assert_false(volume_of("s/c").is_thin);
	assert_int_equal(volume_of("s/c").num_allocated, 128);
	assert_int_equal(get("s/c", 0), 'a');
	assert_int_equal(get("s/c", CLUSTER), 'B');
	assert_int_equal(get("s/c", 2 * CLUSTER), 'c');
	assert_int_equal(get("s/c", 3 * CLUSTER), 0);
	must(xbdev_lvol_destroy("s/v"));
	must(xbdev_snapshot_destroy("s/q"));
	must(xbdev_snapshot_destroy("s/p"));
	assert_int_equal(get("s/c", 0), 'a');
}

static void test_a_clone_is_put_on_another_snapshot(void **state)
{
	make_volume();
	must(xbdev_snapshot_create("s/v", "p"));
	put("s/v", 'B', CLUSTER);
	must(xbdev_snapshot_create("s/v", "q"));
	must(xbdev_clone_create("s/p", "c"));
	put("s/c", 'c', 0);
	assert_int_equal(get("s/c", CLUSTER), 'b');
	must(xbdev_lvol_set_parent("s/c", "s/q"));
	assert_string_equal(volume_of("s/c").parent, "q");
	assert_int_equal(get("s/c", 0), 'c'); /* its own cluster wins */
	assert_int_equal(get("s/c", CLUSTER), 'B');
	expect_error(xbdev_lvol_set_parent("s/q", "s/p"), -EINVAL, "their content would change");
	expect_error(xbdev_lvol_set_parent("s/c", "s/v"), -EINVAL, "can be written");
	expect_error(xbdev_lvol_set_parent("s/c", "s/x"), -ENODEV, "s/x");
	expect_error(xbdev_lvol_set_parent("s/c", NULL), -EINVAL, "an argument is NULL");
}

static void test_a_store_grows_with_its_device(void **state)
{
	char path[128];
	uint64_t before;

	snprintf(path, sizeof(path), "%s", make_file("grows", 32 * MIB));
	must(xbdev_config_aio(path, "f"));
	must(xbdev_lvs_create("f", "g", CLUSTER));
	before = store_of("g").total_clusters;
	expect_error(xbdev_lvs_grow("g"), -EINVAL, "g");
	must(xbdev_lvs_unload("g"));
	must(xbdev_config_remove("f"));
	assert_int_equal(truncate(path, 48 * MIB), 0);
	must(xbdev_config_aio(path, "f"));
	assert_int_equal(store_of("g").total_clusters, before);
	must(xbdev_lvs_grow("g"));
	assert_int_equal(store_of("g").total_clusters, before + 16 * MIB / CLUSTER);
	must(xbdev_lvol_create("g", "v", 40, false));
	assert_int_equal(get("g/v", 40 * MIB - BLOCK), 0);
	expect_error(xbdev_lvs_grow("nobody"), -ENODEV, "nobody");
}

static void test_a_write_waits_for_space_if_asked(void **state)
{
	struct timespec begin, end;
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd;

	make_volume();
	must(xbdev_lvol_create("s", "rest", (store_of("s").free_clusters * CLUSTER) >> 20, false));
	while (xbdev_lvol_create("s", "r2", 1, false) == 0) {
		must(xbdev_lvol_rename("s/r2", "r3"));
	}
	must(xbdev_lvol_create("s", "thin", 64, true));
	fd = xbdev_open("s/thin");
	must(fd);
	for (uint64_t at = 0; xbdev_write(fd, buf, BLOCK, at) == BLOCK; at += CLUSTER) {
	}
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 63 * MIB), -ENOSPC);
	must(xbdev_lvs_set_space_wait("s", 200));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 63 * MIB), -ENOSPC);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >=
		    190);
	must(xbdev_lvol_destroy("s/rest"));
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 63 * MIB), BLOCK);
	must(xbdev_close(fd));
	xbdev_dma_buffer_free(buf);
	expect_error(xbdev_lvs_set_space_wait("nobody", 1), -ENODEV, "nobody");
}

/* ---- thresholds ---- */

static pthread_mutex_t told_mutex = PTHREAD_MUTEX_INITIALIZER;
static xbdev_lvs_threshold_t told[2];
static char told_device[256];
static int nr_told;

static void on_notification(const xbdev_notification_t *notification, void *cb_arg)
{
	pthread_mutex_lock(&told_mutex);
	if (notification->type == XBDEV_NOTIFICATION_LVS_THRESHOLD) {
		told[nr_told < 2 ? nr_told : 1] = *notification->lvs;
		memcpy(told_device, notification->device, sizeof(told_device));
		nr_told++;
	} else {
		failures += notification->lvs != NULL;
	}
	pthread_mutex_unlock(&told_mutex);
}

/* Fills a thin volume until so many have been told. */
static void fill_until_told(int fd, int count)
{
	static char buf[BLOCK];
	bool is_told = false;

	for (int i = 0; i < 60000 && !is_told; i++) {
		if (i < SIZE_MB * 16) {
			(void)xbdev_write(fd, buf, BLOCK, (uint64_t)i * CLUSTER);
		} else {
			usleep(1000);
		}
		if (is_embedded) {
			xbdev_poll(0);
		}
		pthread_mutex_lock(&told_mutex);
		is_told = nr_told >= count;
		pthread_mutex_unlock(&told_mutex);
	}
	assert_true(is_told);
}

static void test_thresholds_are_told(void **state)
{
	xbdev_lvs_info_t store;
	int fd;

	failures = 0;
	nr_told = 0;
	must(xbdev_mgmt_register_notification_callback(on_notification, NULL));
	must(xbdev_lvs_create("m", "s", CLUSTER));
	store = store_of("s");
	assert_int_equal(store.low_percent, 80);
	assert_int_equal(store.high_percent, 95);
	assert_int_equal(store.space_wait_ms, 0);
	expect_error(xbdev_lvs_set_thresholds("s", 90, 80), -EINVAL, "thresholds of 90 and 80");
	expect_error(xbdev_lvs_set_thresholds("nobody", 1, 2), -ENODEV, "nobody");
	must(xbdev_lvs_set_thresholds("s", 10, 100));
	must(xbdev_lvs_set_space_wait("s", 1));
	must(xbdev_lvol_create("s", "thin", 64, true));
	fd = xbdev_open("s/thin");
	must(fd);
	fill_until_told(fd, 1);
	assert_string_equal(told[0].lvs_name, "s");
	assert_string_equal(told[0].bdev_name, "m");
	assert_string_equal(told_device, "m");
	assert_true(told[0].percent == 10 || told[0].percent == 100); /* of that moment */
	assert_int_equal(told[0].total_clusters, store.total_clusters);
	assert_in_range(told[0].used_clusters, store.total_clusters / 10, store.total_clusters);
	assert_int_equal(told[0].promised_clusters, 1024);
	assert_non_null(strstr(told[0].text, "10 percent of the store are used"));
	fill_until_told(fd, 2);
	assert_int_equal(told[1].percent, 100);
	assert_int_equal(told[1].used_clusters, store.total_clusters);
	assert_int_equal(failures, 0);
	must(xbdev_close(fd));
	must(xbdev_mgmt_unregister_notification_callback(on_notification, NULL));
	/* They are on the device, not in the process. */
	must(xbdev_lvs_unload("s"));
	must(xbdev_lvs_load("m", false));
	store = store_of("s");
	assert_int_equal(store.low_percent, 10);
	assert_int_equal(store.high_percent, 100);
	assert_int_equal(store.space_wait_ms, 1);
}

static void test_snapshots_and_clones_get_their_identity(void **state)
{
	xbdev_snapshot_create_options_t snapshot = {.size = sizeof(snapshot)};
	xbdev_clone_create_options_t clone = {.size = sizeof(clone)};

	make_volume();
	must(xbdev_snapshot_create_with("s/v", "one", &snapshot));
	snapshot.uuid = "11234567-89ab-4def-8011-223344556677";
	must(xbdev_snapshot_create_with("s/v", "two", &snapshot));
	assert_string_equal(volume_of("s/two").uuid, snapshot.uuid);
	assert_string_not_equal(volume_of("s/one").uuid, snapshot.uuid);
	expect_error(xbdev_snapshot_create_with("s/v", "three", &snapshot), -EEXIST, "11234567");
	must(xbdev_clone_create_with(snapshot.uuid, "c", &clone));
	clone.uuid = "21234567-89ab-4def-8011-223344556677";
	must(xbdev_clone_create_with("s/two", "d", &clone));
	assert_string_equal(volume_of(clone.uuid).name, "d");
	expect_error(xbdev_clone_create_with("s/two", "e", &clone), -EEXIST, "21234567");
	clone.uuid = "no";
	expect_error(xbdev_clone_create_with("s/two", "e", &clone), -EINVAL, "\"no\" is no UUID");
	expect_error(xbdev_clone_create_with("s/two", "e", NULL), -EINVAL, "the options are NULL");
	expect_error(xbdev_snapshot_create_with("s/v", "e", NULL), -EINVAL, "options are NULL");
	clone.size = 4;
	expect_error(xbdev_clone_create_with("s/two", "e", &clone), -EINVAL, "size is not that");
	snapshot.size = 4;
	expect_error(
		xbdev_snapshot_create_with("s/v", "e", &snapshot), -EINVAL, "size is not that");
}

static void test_what_a_volume_takes_and_where_two_differ(void **state)
{
	xbdev_lvol_usage_t usage = {.size = sizeof(usage)}, wrong = {0};
	xbdev_lvol_extent_t extents[4];

	make_volume();
	must(xbdev_snapshot_create("s/v", "p"));
	put("s/v", 'B', CLUSTER);
	put("s/v", 'B', 2 * CLUSTER);
	put("s/v", 'B', 5 * CLUSTER);
	must(xbdev_lvol_usage("s/v", &usage));
	assert_int_equal(usage.exclusive_bytes, 3 * CLUSTER);
	assert_int_equal(usage.shared_bytes, CLUSTER); /* the first; the second is overwritten */
	assert_int_equal(xbdev_snapshot_diff("s/p", "s/v", extents, 4), 2);
	assert_int_equal(extents[0].offset, CLUSTER);
	assert_int_equal(extents[0].len, 2 * CLUSTER);
	assert_int_equal(extents[1].offset, 5 * CLUSTER);
	assert_int_equal(extents[1].len, CLUSTER);
	assert_int_equal(xbdev_snapshot_diff("s/p", "s/v", NULL, 0), 2);
	expect_error(xbdev_lvol_usage("s/v", &wrong), -EINVAL, "size is not that");
	expect_error(xbdev_lvol_usage("s/x", &usage), -ENODEV, "s/x");
	expect_error(xbdev_snapshot_diff("s/v", "s/x", NULL, 0), -ENODEV, "s/x");
}

static void test_a_snapshot_is_copied_to_a_device(void **state)
{
	make_volume();
	must(xbdev_snapshot_create("s/v", "p"));
	must(xbdev_config_malloc(SIZE_MB, BLOCK, "target"));
	must(xbdev_snapshot_shallow_copy("s/p", "target"));
	assert_int_equal(get("target", 0), 'a');
	expect_error(xbdev_snapshot_shallow_copy("s/v", "target"), -EINVAL, "v");
	expect_error(xbdev_snapshot_shallow_copy("s/p", "nobody"), -ENODEV, "nobody");
}

static void test_a_store_is_given_up_and_taken_again(void **state)
{
	xbdev_lvs_info_t before;
	int fd;

	make_volume();
	before = store_of("s");
	fd = xbdev_open("s/v");
	must(fd);
	expect_error(xbdev_lvs_unload("s"), -EBUSY, "volume 's/v' is in use; close it first");
	expect_error(xbdev_lvs_destroy("s"), -EBUSY, "s/v");
	must(xbdev_close(fd));
	must(xbdev_lvs_unload("s"));
	assert_false(is_there("s/v"));
	expect_error(xbdev_lvs_unload("s"), -ENODEV, "no store of logical volumes named 's'");
	expect_error(xbdev_lvs_create("m", "t", 0), -EEXIST, "a store of logical volumes");
	must(xbdev_lvs_load("m", true));
	assert_true(store_of("s").is_read_only);
	assert_true(strlen(store_of("s").read_only_reason) > 0);
	assert_int_equal(get("s/v", 0), 'a');
	expect_error(xbdev_lvol_create("s", "w", 1, true), -EROFS, "s");
	must(xbdev_lvs_unload("s"));
	expect_error(xbdev_lvs_load("n", false), -ENOENT, "n");
	must(xbdev_lvs_load("m", false));
	expect_error(xbdev_lvs_load("m", false), -EBUSY, "m");
	assert_string_equal(store_of("s").uuid, before.uuid);
	assert_int_equal(store_of("s").free_clusters, before.free_clusters);
	put("s/v", 'z', 0);
	assert_int_equal(get("s/v", 0), 'z');
}

/* ---- what is refused ---- */

static void test_arguments_are_checked(void **state)
{
	static const char long_name[] =
		"0123456789012345678901234567890123456789012345678901234567890123";
	xbdev_lvs_create_options_t store = {.size = sizeof(store)};
	xbdev_lvol_create_options_t volume = {.size = sizeof(volume), .size_bytes = MIB};
	xbdev_lvol_info_t info = {0};
	xbdev_lvs_info_t store_info = {0};

	expect_error(xbdev_lvs_create(NULL, "s", 0), -EINVAL, "an argument is NULL");
	expect_error(xbdev_lvs_create("m", NULL, 0), -EINVAL, "an argument is NULL");
	expect_error(xbdev_lvs_create("none", "s", 0), -ENODEV, "none");
	expect_error(xbdev_lvs_create("m", "s", 5000), -EINVAL, "clusters of 5000 bytes");
	expect_error(xbdev_lvs_create("m", "s", UINT64_C(1) << 32), -EINVAL, "below 4 GiB");
	expect_error(xbdev_lvs_create("m", "a/b", 0), -EINVAL, "the store \"a/b\": ");
	expect_error(xbdev_lvs_create("m", "", 0), -EINVAL, "it has 0 characters");
	expect_error(xbdev_lvs_create("m", long_name, 0), -EINVAL, "it has 64 characters");
	expect_error(xbdev_lvs_create_with("m", "s", NULL), -EINVAL, "the options are NULL");
	store.size = 8;
	expect_error(xbdev_lvs_create_with("m", "s", &store), -EINVAL, "size is not that of");
	store.size = sizeof(store);
	store.clear = 4;
	expect_error(xbdev_lvs_create_with("m", "s", &store), -EINVAL, "XBDEV_LVOL_CLEAR_...");
	store.clear = 0;
	store.uuid = "no";
	expect_error(xbdev_lvs_create_with("m", "s", &store), -EINVAL, "\"no\" is no UUID");
	assert_int_equal(xbdev_lvs_list(NULL, 0), 0);

	must(xbdev_lvs_create("m", "s", CLUSTER));
	expect_error(xbdev_lvs_create("m", "t", 0), -EBUSY, "m");
	expect_error(xbdev_lvs_create("n", "s", 0), -EEXIST, "a store named 's'");
	expect_error(xbdev_lvol_create(NULL, "v", 1, true), -EINVAL, "an argument is NULL");
	expect_error(xbdev_lvol_create("s", NULL, 1, true), -EINVAL, "an argument is NULL");
	expect_error(xbdev_lvol_create("s", "v", 0, true), -EINVAL, "0 MiB are no size");
	expect_error(xbdev_lvol_create("s", "v", UINT64_C(1) << 44, true), -EINVAL, "no size");
	expect_error(xbdev_lvol_create("s", "a/b", 1, true), -EINVAL, "the volume \"a/b\": ");
	expect_error(xbdev_lvol_create("t", "v", 1, true), -ENODEV,
		"there is no store of logical volumes named 't'");
	expect_error(xbdev_lvol_create("s", "v", 1024, false), -ENOSPC, "v");
	expect_error(xbdev_lvol_create_with("s", "v", NULL), -EINVAL, "the options are NULL");
	volume.size = 1;
	expect_error(xbdev_lvol_create_with("s", "v", &volume), -EINVAL, "size is not that of");
	volume.size = sizeof(volume);
	volume.size_bytes = 0;
	expect_error(xbdev_lvol_create_with("s", "v", &volume), -EINVAL, "0 bytes are no size");
	must(xbdev_lvol_create("s", "v", 1, true));
	expect_error(xbdev_lvol_create("s", "v", 1, true), -EEXIST, "v");
	expect_error(xbdev_lvol_resize("s/v", 0), -EINVAL, "0 MiB are no size");

	expect_error(xbdev_lvol_destroy(NULL), -EINVAL, "xbdev_lvol_destroy: an argument is NULL");
	expect_error(xbdev_lvol_destroy("v"), -ENODEV, "it is named STORE/VOLUME");
	expect_error(xbdev_lvol_destroy("m"), -EINVAL, "device 'm' is no logical volume");
	expect_error(xbdev_snapshot_create("s/v", NULL), -EINVAL, "an argument is NULL");
	expect_error(xbdev_snapshot_create("s/v", "x/y"), -EINVAL, "the snapshot \"x/y\": ");
	expect_error(xbdev_snapshot_create("s/v", "v"), -EEXIST, "v");
	expect_error(xbdev_clone_create("s/none", "c"), -ENODEV, "there is no logical volume");
	expect_error(xbdev_lvol_cancel("s/v"), -ENOENT, "nothing is being done with 'v'");
	expect_error(xbdev_config_remove("s/v"), -EINVAL, "'s/v' is a logical volume");
	expect_error(xbdev_config_remove("m"), -EBUSY, "device 'm' is in use by");
	expect_error(xbdev_lvs_info("s", &store_info), -EINVAL, "size is not that of");
	expect_error(xbdev_lvs_info(NULL, &store_info), -EINVAL, "an argument is NULL");
	expect_error(xbdev_lvs_list(&store_info, 1), -EINVAL, "size is not that of");
	expect_error(xbdev_lvol_info("s/v", &info), -EINVAL, "size is not that of");
	expect_error(xbdev_lvol_info("s/v", NULL), -EINVAL, "an argument is NULL");
	expect_error(xbdev_lvol_list(NULL, &info, 1), -EINVAL, "size is not that of");
	expect_error(xbdev_lvol_list("t", NULL, 0), -ENODEV, "named 't'");
}

static void test_what_a_device_holds_is_not_written_over(void **state)
{
	const char *members[] = {"m", "n"};

	must(xbdev_md_create_raid1("md0", members, 2));
	must(xbdev_md_stop("md0"));
	expect_error(xbdev_lvs_create("m", "s", 0), -EEXIST, "m");
	must(xbdev_md_run("md0"));
	must(xbdev_lvs_create("md0", "s", CLUSTER));
	expect_error(xbdev_md_stop("md0"), -EBUSY, "md0");
	must(xbdev_lvol_create("s", "v", 1, false));
	put("s/v", 'r', 0);
	must(xbdev_lvs_unload("s"));
	must(xbdev_md_stop("md0"));
	must(xbdev_md_run("md0"));
	assert_int_equal(get("s/v", 0), 'r');
}

static void on_complete(xbdev_request_t *req, int result, void *user_arg)
{
	assert_int_equal(xbdev_lvol_destroy("s/v"), -EDEADLK);
	assert_int_equal(xbdev_lvs_list(NULL, 0), -EDEADLK);
}

static void test_callbacks_may_not_wait(void **state)
{
	char buf[BLOCK];
	xbdev_request_t *req = xbdev_request_alloc();

	make_volume();
	*req = (xbdev_request_t){.op_type = XBDEV_OP_READ,
		.fd = xbdev_open("s/v"),
		.buf = buf,
		.count = sizeof(buf),
		.user_cb = on_complete};
	must(xbdev_request_submit(req));
	must(xbdev_request_wait(req, UINT64_MAX));
	must(xbdev_request_free(req));
	assert_true(is_there("s/v"));
}

static void test_calls_need_the_library(void **state)
{
	assert_int_equal(xbdev_lvs_create("m", "s", 0), -ESHUTDOWN);
	assert_int_equal(xbdev_lvol_create("s", "v", 1, true), -ESHUTDOWN);
	assert_int_equal(xbdev_lvol_list(NULL, NULL, 0), -ESHUTDOWN);
}

/* ---- several rounds ---- */

/* The store is found when its device appears; that takes a moment. */
static void wait_for(const char *name)
{
	for (int i = 0; i < 60000 && !is_there(name); i++) {
		if (is_embedded) {
			must(xbdev_poll(1000));
		} else {
			usleep(1000);
		}
	}
	assert_true(is_there(name));
}

static void everything_is_found_again(void)
{
	char path[128], uuid[37] = "", name[16];

	snprintf(path, sizeof(path), "%s", make_file("rounds", 64 * MIB));
	for (int round = 0; round < NR_ROUND; round++) {
		begin();
		must(xbdev_config_aio(path, "f"));
		if (round == 0) {
			must(xbdev_lvs_create("f", "s", CLUSTER));
			must(xbdev_lvol_create("s", "v", 8, true));
			memcpy(uuid, volume_of("s/v").uuid, sizeof(uuid));
		}
		wait_for("s/v");
		assert_string_equal(volume_of("s/v").uuid, uuid);
		for (int i = 0; i < round; i++) {
			snprintf(name, sizeof(name), "s/p%d", i);
			assert_int_equal(get(name, 0), 'a' + i);
			assert_true(volume_of(name).is_read_only);
			assert_int_equal(get("s/v", (uint64_t)i * CLUSTER), 'a' + i);
		}
		assert_int_equal(xbdev_lvol_list("s", NULL, 0), 1 + round);
		put("s/v", (char)('a' + round), 0);
		snprintf(name, sizeof(name), "p%d", round);
		must(xbdev_snapshot_create("s/v", name));
		put("s/v", (char)('a' + round), (uint64_t)round * CLUSTER);
		put("s/v", 'a', 0);
		must(xbdev_fini());
	}
}

static void test_everything_is_found_again(void **state)
{
	is_embedded = false;
	everything_is_found_again();
}

static void test_everything_is_found_again_embedded(void **state)
{
	is_embedded = true;
	everything_is_found_again();
}

/* ---- threads ---- */

#define NR_THREADS 4
#define NR_TURNS   6

static _Atomic bool is_over;

static void *work(void *arg)
{
	int self = (int)(intptr_t)arg;
	char name[32], full[40], part[32];

	for (int turn = 0; turn < NR_TURNS; turn++) {
		snprintf(name, sizeof(name), "v%d", self);
		snprintf(full, sizeof(full), "s/%s", name);
		failures += xbdev_lvol_create("s", name, 1, turn % 2 == 0) != 0;
		snprintf(part, sizeof(part), "p%d", self);
		failures += xbdev_snapshot_create(full, part) != 0;
		snprintf(part, sizeof(part), "s/p%d", self);
		snprintf(name, sizeof(name), "c%d", self);
		failures += xbdev_clone_create(part, name) != 0;
		snprintf(name, sizeof(name), "s/c%d", self);
		failures += xbdev_lvol_destroy(name) != 0;
		failures += xbdev_snapshot_destroy(part) != 0;
		failures += xbdev_lvol_destroy(full) != 0;
	}
	return NULL;
}

static void *watch(void *arg)
{
	xbdev_lvol_info_t infos[3 * NR_THREADS] = {{.size = sizeof(infos[0])}};
	xbdev_lvs_info_t store = {.size = sizeof(store)};

	while (!is_over) {
		int count = xbdev_lvol_list("s", infos, 3 * NR_THREADS);

		failures += count < 0 || count > 3 * NR_THREADS;
		for (int i = 0; i < count; i++) {
			failures += infos[i].size_bytes != MIB ||
				    infos[i].num_allocated > infos[i].num_clusters;
		}
		failures += xbdev_lvs_info("s", &store) != 0 ||
			    store.free_clusters > store.total_clusters;
	}
	return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
	pthread_t threads[NR_THREADS], watcher;
	uint64_t nr_free;

	failures = 0;
	is_over = false;
	must(xbdev_lvs_create("m", "s", CLUSTER));
	nr_free = store_of("s").free_clusters;
	assert_int_equal(pthread_create(&watcher, NULL, watch, NULL), 0);
	for (int i = 0; i < NR_THREADS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i), 0);
	}
	for (int i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	is_over = true;
	pthread_join(watcher, NULL);
	assert_int_equal(failures, 0);
	assert_int_equal(xbdev_lvol_list(NULL, NULL, 0), 0);
	assert_int_equal(store_of("s").free_clusters, nr_free);
}

/* Of several that do the same, one succeeds. */
static _Atomic int nr_good;

static void *make_the_same(void *arg)
{
	int rc = xbdev_lvol_create("s", "same", 1, false);

	nr_good += rc == 0;
	failures += rc != 0 && rc != -EEXIST && rc != -EBUSY;
	return NULL;
}

static void test_one_of_several_has_the_name(void **state)
{
	pthread_t threads[NR_THREADS];

	failures = 0;
	nr_good = 0;
	must(xbdev_lvs_create("m", "s", CLUSTER));
	for (int i = 0; i < NR_THREADS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, make_the_same, NULL), 0);
	}
	for (int i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	assert_int_equal(nr_good, 1);
	assert_int_equal(failures, 0);
	assert_int_equal(volume_of("s/same").num_allocated, 16);
}

/* ---- what takes long ---- */

static _Atomic int filled; /* 1: it is under way */

static void *fill(void *arg)
{
	filled = xbdev_lvol_inflate("slow/v");
	return NULL;
}

/* Begins to fill a volume on a slow device, and waits until it can be seen. */
static pthread_t begin_to_fill(void)
{
	pthread_t thread;

	must(xbdev_config_device("{\"driver\": \"delay\", \"name\": \"d\", \"base\": \"m\", "
				 "\"avg_write_latency_us\": 100000}"));
	must(xbdev_lvs_create("d", "slow", CLUSTER));
	must(xbdev_lvol_create("slow", "v", 16, true));
	filled = 1;
	assert_int_equal(pthread_create(&thread, NULL, fill, NULL), 0);
	for (int i = 0; i < 120000 && volume_of("slow/v").progress == 100; i++) {
		usleep(500);
	}
	return thread;
}

static void test_progress_is_seen_and_stopped(void **state)
{
	pthread_t thread = begin_to_fill();
	xbdev_lvol_info_t first = volume_of("slow/v"), later = first;

	assert_string_not_equal(first.busy, "");
	for (int i = 0; i < 120000 && later.progress <= first.progress && filled == 1; i++) {
		usleep(500);
		later = volume_of("slow/v");
	}
	assert_true(later.progress > first.progress && later.progress < 100);
	expect_error(xbdev_lvol_inflate("slow/v"), -EBUSY, "v");
	must(xbdev_lvol_cancel("slow/v"));
	pthread_join(thread, NULL);
	assert_int_equal(filled, -ECANCELED);
	later = volume_of("slow/v");
	assert_string_equal(later.busy, "");
	assert_true(later.is_thin);
	put("slow/v", 'x', 0);
}

static void test_the_end_stops_what_takes_long(void **state)
{
	pthread_t thread;

	start(NULL);
	thread = begin_to_fill();
	must(xbdev_fini());
	pthread_join(thread, NULL);
	assert_int_equal(filled, -ECANCELED);
}

/* ---- a thick volume that is being made ---- */

static _Atomic int created; /* 1: it is under way */

static void *create(void *arg)
{
	created = xbdev_lvol_create("slow", "thick", 400, false);
	return NULL;
}

static bool is_being_made(void)
{
	xbdev_lvol_info_t info = {.size = sizeof(info)};

	return xbdev_lvol_info("slow/thick", &info) == 0;
}

/* Begins to make one on a slow device, and waits until it can be seen. */
static pthread_t begin_to_create(void)
{
	char json[512];
	pthread_t thread;

	snprintf(json, sizeof(json),
		"{\"driver\": \"file\", \"name\": \"f\", \"filename\": \"%s\"}",
		make_file("thick", 512 * MIB));
	must(xbdev_config_device(json));
	must(xbdev_config_device("{\"driver\": \"delay\", \"name\": \"d\", \"base\": \"f\", "
				 "\"avg_write_latency_us\": 150000}"));
	must(xbdev_lvs_create("d", "slow", 1 << 20));
	created = 1;
	assert_int_equal(pthread_create(&thread, NULL, create, NULL), 0);
	for (int i = 0; i < 120000 && !is_being_made(); i++) {
		usleep(500);
	}
	return thread;
}

static void test_a_thick_volume_is_seen_while_it_is_made(void **state)
{
	uint64_t nr_free;
	pthread_t thread = begin_to_create();
	xbdev_lvol_info_t first = volume_of("slow/thick"), later = first, list[2];

	assert_string_equal(first.busy, "created");
	assert_int_equal(first.size_bytes, 400 * MIB);
	assert_false(first.is_thin);
	for (int i = 0; i < 120000 && later.progress <= first.progress && created == 1; i++) {
		usleep(500);
		later = volume_of("slow/thick");
	}
	assert_true(later.progress > first.progress && later.progress < 100);
	list[0].size = sizeof(list[0]);
	assert_int_equal(xbdev_lvol_list("slow", list, 2), 1);
	assert_string_equal(list[0].uuid, first.uuid);
	expect_error(xbdev_open("slow/thick"), -ENODEV, "slow/thick");
	must(xbdev_lvol_cancel(first.uuid));
	pthread_join(thread, NULL);
	assert_int_equal(created, -ECANCELED);
	assert_false(is_being_made());
	nr_free = store_of("slow").free_clusters;
	assert_int_equal(nr_free, store_of("slow").total_clusters);
	expect_error(xbdev_lvol_cancel("slow/thick"), -ENODEV, "slow/thick");
}

static void test_the_end_stops_the_making_of_a_volume(void **state)
{
	pthread_t thread;

	start(NULL);
	thread = begin_to_create();
	must(xbdev_fini());
	pthread_join(thread, NULL);
	assert_int_equal(created, -ECANCELED);
}

#define both(f)                                                                                    \
	cmocka_unit_test_setup_teardown(f, start, stop),                                           \
		cmocka_unit_test_setup_teardown(f, start_embedded, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(test_a_store_and_its_volumes),
		both(test_everything_that_can_be_said),
		cmocka_unit_test_setup_teardown(test_small_clusters_on_any_device, start, stop),
		both(test_snapshots_and_clones),
		both(test_clones_of_devices),
		both(test_a_snapshot_is_restored),
		both(test_names_are_changed),
		both(test_a_volume_becomes_read_only),
		both(test_a_volume_changes_its_size),
		both(test_a_clone_stands_on_its_own),
		both(test_a_clone_is_put_on_another_snapshot),
		both(test_a_store_grows_with_its_device),
		both(test_a_write_waits_for_space_if_asked),
		both(test_thresholds_are_told),
		both(test_snapshots_and_clones_get_their_identity),
		both(test_what_a_volume_takes_and_where_two_differ),
		both(test_a_snapshot_is_copied_to_a_device),
		both(test_a_store_is_given_up_and_taken_again),
		cmocka_unit_test_setup_teardown(test_arguments_are_checked, start, stop),
		cmocka_unit_test_setup_teardown(
			test_what_a_device_holds_is_not_written_over, start, stop),
		cmocka_unit_test_setup_teardown(test_callbacks_may_not_wait, start, stop),
		cmocka_unit_test(test_calls_need_the_library),
		cmocka_unit_test(test_everything_is_found_again),
		cmocka_unit_test(test_everything_is_found_again_embedded),
		cmocka_unit_test_setup_teardown(
			test_threads_do_not_disturb_each_other, start, stop),
		cmocka_unit_test_setup_teardown(test_one_of_several_has_the_name, start, stop),
		cmocka_unit_test_setup_teardown(test_progress_is_seen_and_stopped, start, stop),
		cmocka_unit_test(test_the_end_stops_what_takes_long),
		cmocka_unit_test_setup_teardown(
			test_a_thick_volume_is_seen_while_it_is_made, start, stop),
		cmocka_unit_test(test_the_end_stops_the_making_of_a_volume),
	};

	return cmocka_run_group_tests_name("xbdev_lvol_api", tests, make_dir, remove_dir);
}
