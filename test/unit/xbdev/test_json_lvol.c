/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores, volumes, snapshots and clones in configuration documents, as an application uses them:
 * made on blank devices, loaded from others, compared, grown, taken back, saved. Everything goes
 * through <xbdev/xbdev.h>.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define BLOCK   4096u
#define MIB     (1u << 20)
#define CLUSTER (64u << 10)
#define U1      "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

static char dir[] = "/var/tmp/xsan-test-json-lvol-XXXXXX";

static const char *in_dir(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static int make_dir(void **state)
{
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static void empty_dir(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/*", dir);
	assert_int_equal(system(command), 0);
}

static int remove_dir(void **state)
{
	empty_dir();
	return rmdir(dir);
}

static int start(void **state)
{
	xbdev_init_options_t options = {.size = sizeof(options), .nr_reactors = 2};

	return xbdev_init_with(&options);
}

static int stop(void **state)
{
	empty_dir();
	return xbdev_fini();
}

static void must(int rc)
{
	if (rc < 0) {
		fail_msg("%d: %s", rc, xbdev_last_error());
	}
}

static void begin_again(void)
{
	must(xbdev_fini());
	must(start(NULL));
}

/* Writes a document, in which ' stands for " and @ for the directory. Returns its path. */
static const char *document(const char *text)
{
	const char *path = in_dir("c.json");
	FILE *file = fopen(path, "w");

	for (; *text != '\0'; text++) {
		if (*text == '@') {
			fputs(dir, file);
		} else {
			fputc(*text == '\'' ? '"' : *text, file);
		}
	}
	assert_int_equal(fclose(file), 0);
	return path;
}

#define AIO(name)                                                                                  \
	"{'method': 'aio', 'params': {'name': '" name "', 'filename': '@/" name                    \
	"', 'size': '32MiB'}}"
#define MALLOC(name) "{'method': 'malloc', 'params': {'name': '" name "', 'size': '32MiB'}}"
#define BASES(list)  "'base_devices': [" list "]"
#define STORE(name, base, more)                                                                    \
	"{'name': '" name "', 'base_bdev': '" base "', 'cluster_size': 65536" more "}"
#define VOL(name, more)     "{'name': '" name "', 'lvs_name': 's'" more "}"
#define SNAP(name, source)  "{'name': '" name "', 'source_vol': 's/" source "'}"
#define CLONE(name, source) "{'name': '" name "', 'source_snap': 's/" source "'}"
#define STORES(list)        "'lvol_stores': [" list "]"
#define VOLUMES(list)       "'lvol_volumes': [" list "]"
#define SNAPS(list)         "'snapshots': [" list "]"
#define CLONES(list)        "'clones': [" list "]"
#define BASE                BASES(AIO("a"))
#define GROUND              BASE ",\n" STORES(STORE("s", "a", ""))
#define THIN                ", 'size_mb': 4, 'thin_provision': true"

static void parse(const char *text)
{
	must(xbdev_parse_config(document(text)));
}

static void expect_error(int rc, int code, const char *part)
{
	if (rc != code || strstr(xbdev_last_error(), part) == NULL) {
		fail_msg("got %d: %s\nexpected %d: %s", rc, xbdev_last_error(), code, part);
	}
}

static void refuse(const char *text, int code, const char *part)
{
	expect_error(xbdev_parse_config(document(text)), code, part);
}

static bool is_there(const char *name)
{
	xbdev_info_t infos[16];
	int count = xbdev_list(infos, 16);

	for (int i = 0; i < count && i < 16; i++) {
		if (strcmp(infos[i].name, name) == 0) {
			return true;
		}
	}
	return false;
}

static xbdev_lvol_info_t volume_of(const char *name)
{
	xbdev_lvol_info_t info = {.size = sizeof(info)};

	must(xbdev_lvol_info(name, &info));
	return info;
}

static xbdev_lvs_info_t store_of(const char *name)
{
	xbdev_lvs_info_t info = {.size = sizeof(info)};

	must(xbdev_lvs_info(name, &info));
	return info;
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
	xbdev_dma_buffer_free(buf);
	return byte;
}

static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	return text;
}

/* ---- making and loading ---- */

/* In the order in which nothing can be made; "copy2" is a clone of a clone's snapshot. */
static const char everything[] = "{" CLONES(CLONE("copy2", "q") "," CLONE("copy", "p")) ",\n" SNAPS(
	SNAP("q", "copy") "," SNAP("p", "v") "," SNAP("p2", "v")) ",\n" VOLUMES(VOL("v",
	THIN) "," VOL("w", ", 'size_mb': 2")) ",\n" GROUND "}";

static void test_made_once_and_loaded_from_then_on(void **state)
{
	char uuid[37];

	parse(everything);
	memcpy(uuid, volume_of("s/copy2").uuid, sizeof(uuid));
	assert_string_equal(volume_of("s/copy2").parent, "q");
	assert_string_equal(volume_of("s/q").parent, "p");
	assert_string_equal(volume_of("s/v").parent, "p2");
	assert_string_equal(volume_of("s/p2").parent, "p");
	assert_false(volume_of("s/w").is_thin);
	assert_int_equal(store_of("s").cluster_size, CLUSTER);
	put("s/copy2", 'c', 0);
	put("s/v", 'v', 0);
	parse(everything);
	assert_int_equal(get("s/copy2", 0), 'c');
	begin_again();
	parse(everything);
	assert_string_equal(volume_of("s/copy2").uuid, uuid);
	assert_int_equal(get("s/copy2", 0), 'c');
	assert_int_equal(get("s/copy", 0), 0);
	parse(everything);
	begin_again();
	must(xbdev_open_from_json(document(everything)));
	must(xbdev_open_from_json(document(everything)));
	assert_int_equal(get("s/v", 0), 'v');
	assert_int_equal(store_of("s").num_volumes, 7);
}

static void test_open_makes_nothing_and_create_loads_nothing(void **state)
{
	static const char text[] = "{" GROUND "," VOLUMES(VOL("v", THIN)) "}";
	static const char more[] = "{" GROUND "," VOLUMES(VOL("v", THIN) "," VOL("w", THIN)) "}";

	parse("{" BASE "}");
	expect_error(xbdev_open_from_json(document(text)), -ENOENT,
		"lvol_stores[0]: making store 's': ");
	parse("{}");
	must(xbdev_create_from_json(document(text)));
	put("s/v", 'x', 0);
	begin_again();
	expect_error(xbdev_create_from_json(document(text)), -EEXIST,
		"lvol_stores[0]: making store 's': ");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	expect_error(xbdev_open_from_json(document(more)), -ENOENT,
		"lvol_volumes[1]: making volume 's/w': it is not in its store, and not to be made");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	must(xbdev_open_from_json(document(text)));
	assert_int_equal(get("s/v", 0), 'x');
	expect_error(xbdev_create_from_json(document("{" VOLUMES(VOL("v", THIN)) "}")), -EEXIST,
		"\"s/v\" is there already");
	must(xbdev_create_from_json(document("{" VOLUMES(VOL("w", THIN)) "}")));
	assert_int_equal(store_of("s").num_volumes, 2);
}

/* The specification's own document, with devices that are here, each with one user. */
static void test_the_printed_document(void **state)
{
	static const char printed[] =
		"{'base_devices': [" AIO("nvme0") "," AIO("nvmf0") "," AIO("aio0") "," AIO(
			"nvme1") "],\n"
				 "'raid_devices': [{'method': 'raid0', 'params': {'name': "
				 "'raid0_dev', "
				 "'base_bdevs': ['nvme0', 'nvmf0'], 'strip_size_kb': 128}},\n"
				 "{'method': 'raid1', 'params': {'name': 'raid1_dev', "
				 "'base_bdevs': ['aio0', 'nvme1']}}],\n"
				 "'lvol_stores': [{'name': 'lvs_raid0', 'base_bdev': 'raid0_dev', "
				 "'cluster_size': 4096}],\n"
				 "'lvol_volumes': [{'name': 'data_vol', 'lvs_name': 'lvs_raid0', "
				 "'size_mb': 1024, 'thin_provision': true}],\n"
				 "'snapshots': [{'source_vol': 'lvs_raid0/data_vol', 'name': "
				 "'data_snap1'}],\n"
				 "'clones': [{'source_snap': 'lvs_raid0/data_snap1', 'name': "
				 "'data_clone1'}]}";

	parse(printed);
	assert_int_equal(volume_of("lvs_raid0/data_vol").size_bytes, 1024ull * MIB);
	put("lvs_raid0/data_vol", 'd', 8192);
	put("lvs_raid0/data_clone1", 'c', 8192);
	begin_again();
	parse(printed);
	assert_int_equal(get("lvs_raid0/data_vol", 8192), 'd');
	assert_int_equal(get("lvs_raid0/data_clone1", 8192), 'c');
	assert_int_equal(get("lvs_raid0/data_snap1", 8192), 0);
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

static void test_a_store_on_a_volume(void **state)
{
	static const char text[] =
		"{'lvol_stores': [{'name': 't', 'base_bdev': 's/v', 'cluster_size': 4096}," STORE(
			"s", "a", "") "],\n"
				      "'lvol_volumes': [{'name': 'inner', 'lvs_name': 't', "
				      "'size_mb': 1, 'thin_provision': true}," VOL(
					      "v", THIN) "]," BASE "}";

	parse(text);
	put("t/inner", 'i', 0);
	begin_again();
	parse(text);
	assert_int_equal(get("t/inner", 0), 'i');
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

/* ---- what is there ---- */

static void test_what_is_there_is_compared(void **state)
{
	static const char text[] = "{" GROUND "," VOLUMES(
		VOL("v", THIN) "," VOL("w", ", 'size_mb': 2")) "," SNAPS(SNAP("p", "v")) "}";

	parse(text);
	begin_again();
	refuse("{" BASE "," STORES(STORE("other", "a", "")) "}", -EEXIST,
		"lvol_stores[0]: making store 'other': 'a' holds the store 's'");
	refuse("{" BASE ",'lvol_stores': [{'name': 's', 'base_bdev': 'a', 'cluster_size': 4096}]}",
		-EEXIST, "with clusters of 65536 bytes");
	refuse("{" BASE "," STORES(STORE("s", "a", ", 'uuid': '" U1 "'")) "}", -EEXIST,
		"it is on 'a' already, with the UUID ");
	refuse("{" GROUND "," VOLUMES(VOL("v", ", 'size_mb': 1, 'thin_provision': true")) "}",
		-EOPNOTSUPP, "a document makes no volume smaller");
	refuse("{" GROUND "," VOLUMES(VOL("w", ", 'size_mb': 2, 'thin_provision': true")) "}",
		-EOPNOTSUPP, "making volume 's/w': it is there already, and has all of its space");
	refuse("{" GROUND "," VOLUMES(VOL("w", ", 'size_mb': 2, 'uuid': '" U1 "'")) "}", -EEXIST,
		"it is there already, with the UUID ");
	refuse("{" GROUND "," VOLUMES(VOL("p", THIN)) "}", -EEXIST,
		"it is there already, and a snapshot");
	refuse("{" GROUND "," VOLUMES(VOL("v", THIN)) "," SNAPS(SNAP("w", "v")) "}", -EEXIST,
		"making snapshot 's/w': it is there already, and no snapshot");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	/* The same words while it runs. */
	parse(text);
	refuse("{" GROUND "," VOLUMES(VOL("w", ", 'size_mb': 1")) "}", -EOPNOTSUPP,
		"lvol_volumes[0].size_mb: it is there already, with 2097152 bytes");
	refuse("{" BASE ",'lvol_stores': [{'name': 's', 'base_bdev': 'a', 'cluster_size': 4096}]}",
		-EEXIST, "lvol_stores[0].cluster_size: it is on 'a' already");
	parse(text);
	/* Sizes are whole clusters. */
	parse("{" GROUND "," VOLUMES(VOL("x", ", 'size': 70000, 'thin_provision': true")) "}");
	assert_int_equal(volume_of("s/x").size_bytes, 2 * CLUSTER);
	parse("{" GROUND "," VOLUMES(VOL("x", ", 'size': 131072, 'thin_provision': true")) "}");
	refuse("{" GROUND "," VOLUMES(VOL("y", ", 'size': 131072, 'size_mb': 1")) "}", -EINVAL,
		"lvol_volumes[0].size: size_mb says it already");
	refuse("{" GROUND "," VOLUMES(VOL("y", "")) "}", -EINVAL,
		"lvol_volumes[0]: 'size_mb' is missing");
}

static void test_a_volume_becomes_read_only(void **state)
{
	parse("{" GROUND "," VOLUMES(VOL("v", THIN)) "}");
	put("s/v", 'r', 0);
	parse("{" GROUND "," VOLUMES(VOL("v", THIN ", 'read_only': true")) "}");
	assert_true(volume_of("s/v").is_read_only);
	begin_again();
	parse("{" GROUND "," VOLUMES(
		VOL("v", THIN ", 'read_only': true") "," VOL("w", THIN ", 'read_only': true")) "}");
	assert_int_equal(get("s/v", 0), 'r');
	assert_true(volume_of("s/w").is_read_only);
}

static void test_a_volume_grows(void **state)
{
	static const char *const text[] = {
		"{" GROUND "," VOLUMES(VOL("v", ", 'size_mb': 4, 'thin_provision': true")) "}",
		"{" GROUND "," VOLUMES(VOL("v", ", 'size_mb': 8, 'thin_provision': true")) "}",
		"{" GROUND "," VOLUMES(VOL("v", ", 'size_mb': 12, 'thin_provision': true")) "}",
	};
	int fd;

	parse(text[0]);
	put("s/v", 'g', 0);
	fd = xbdev_open("s/v");
	must(fd);
	parse(text[1]);
	must(xbdev_close(fd));
	assert_int_equal(volume_of("s/v").size_bytes, 8 * MIB);
	put("s/v", 'h', 8 * MIB - BLOCK);
	begin_again();
	expect_error(xbdev_open_from_json(document(text[2])), -EINVAL,
		"it is different in \"size_mb\"; xbdev_parse_config() would change it");
	parse(text[2]);
	assert_int_equal(volume_of("s/v").size_bytes, 12 * MIB);
	assert_int_equal(get("s/v", 0), 'g');
	assert_int_equal(get("s/v", 8 * MIB - BLOCK), 'h');
	/* What has been changed since by other means stays while the words do. */
	must(xbdev_lvol_resize("s/v", 16));
	parse(text[2]);
	assert_int_equal(volume_of("s/v").size_bytes, 16 * MIB);
	refuse(text[1], -EOPNOTSUPP, "a document makes no volume smaller");
}

static void test_what_was_changed_at_run_time_stays(void **state)
{
	static const char text[] = "{" GROUND "," VOLUMES(VOL("v", THIN)) "}";

	parse(text);
	must(xbdev_lvol_create("s", "mine", 1, true));
	must(xbdev_snapshot_create("s/v", "p"));
	must(xbdev_clone_create("s/p", "c"));
	parse(text);
	parse("{" GROUND "}"); /* what a document lacks stays in its store */
	assert_true(is_there("s/v"));
	assert_int_equal(store_of("s").num_volumes, 4);
	begin_again();
	parse(text);
	assert_int_equal(store_of("s").num_volumes, 4);
	/* And goes with it, whoever made it. */
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	parse("{" BASE "}"); /* the store is found again by itself, sooner or later */
	parse(text);
	assert_true(is_there("s/mine"));
	parse("{" BASE "}");
	assert_true(is_there("s/mine"));
	parse(text);
}

static void test_what_is_open_does_not_go(void **state)
{
	static const char text[] =
		"{" GROUND "," VOLUMES(VOL("v", THIN)) "," SNAPS(SNAP("p", "v")) "}";
	int fd;

	parse(text);
	fd = xbdev_open("s/v");
	must(fd);
	refuse("{}", -EBUSY, "it is open; close it first");
	parse("{" GROUND "}");
	assert_true(is_there("s/v"));
	must(xbdev_close(fd));
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

static void test_devices_that_the_program_made(void **state)
{
	must(xbdev_config_malloc(32, 512, "m"));
	must(xbdev_lvs_create("m", "s", CLUSTER));
	must(xbdev_lvol_create("s", "v", 4, true));
	put("s/v", 'm', 0);
	parse("{" STORES(STORE("s", "m", "")) "," VOLUMES(
		VOL("v", THIN) "," VOL("w", THIN)) "," SNAPS(SNAP("p", "v")) "}");
	assert_int_equal(get("s/p", 0), 'm');
	parse("{" STORES(STORE("s", "m", "")) "," CLONES(CLONE("c", "p")) "}");
	assert_int_equal(get("s/c", 0), 'm');
	parse("{}");
	assert_true(is_there("s/w"));
	assert_true(is_there("m"));
	refuse("{" CLONES(CLONE("d", "none")) "}", -EINVAL, "there is no such device");
}

/* ---- failure ---- */

static void test_failure_takes_back_what_is_new(void **state)
{
	/* The last one does not fit. */
	static const char bad[] =
		"{" GROUND "," VOLUMES(VOL("v", THIN)) "," SNAPS(SNAP("p", "v")) "," CLONES(CLONE(
			"c", "p")) ",\n"
				   "'raid_devices': [{'method': 'raid6', 'params': {'name': 'r', "
				   "'base_bdevs': ['s/c'], 'raid_disks': 4}}]}";

	refuse(bad, -EINVAL, "making RAID array 'r'");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	parse("{" BASE "}");
	must(xbdev_lvs_create("a", "s", CLUSTER)); /* it is blank again */
	must(xbdev_lvol_create("s", "v", 4, true));
	put("s/v", 'k', 0);
	begin_again();
	refuse(bad, -EEXIST, "making RAID array 'r'");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	parse("{" GROUND "}");
	assert_int_equal(store_of("s").num_volumes, 1);
	assert_int_equal(get("s/v", 0), 'k');
	/* And with the store there. */
	refuse(bad, -EEXIST, "making RAID array 'r'");
	assert_int_equal(store_of("s").num_volumes, 1);
	assert_string_equal(volume_of("s/v").parent, "");
}

static void test_failure_takes_again_what_was_given_up(void **state)
{
	parse("{" GROUND "," VOLUMES(VOL("v", THIN)) "}");
	put("s/v", 'k', 0);
	refuse("{" BASES(
		       AIO("b")) ",\n'raid_devices': [{'method': 'raid6', 'params': {'name': 'r', "
				 "'base_bdevs': ['b'], 'raid_disks': 4}}]}",
		-EINVAL, "making RAID array 'r'");
	assert_int_equal(get("s/v", 0), 'k');
	assert_false(is_there("b"));
	parse("{" GROUND "," VOLUMES(VOL("v", THIN)) "}");
}

/* The device is made again, and with it all that lies on it. */
static void test_a_device_is_made_again_below_it(void **state)
{
	static const char text[] = "{" GROUND "," VOLUMES(VOL("v", THIN)) "}";
	int fd;

	parse(text);
	put("s/v", 'k', 0);
	must(xbdev_lvol_create("s", "mine", 1, true));
	fd = xbdev_open("s/mine");
	must(fd);
	refuse("{'base_devices': [{'method': 'aio', 'params': {'name': 'a', 'filename': '@/a', "
	       "'block_size': 4096}}]," STORES(STORE("s", "a", "")) "}",
		-EBUSY, "it is open; close it first");
	must(xbdev_close(fd));
	parse("{'base_devices': [{'method': 'aio', 'params': {'name': 'a', 'filename': '@/a', "
	      "'block_size': 4096}}]," STORES(STORE("s", "a", "")) "," VOLUMES(VOL("v", THIN)) "}");
	assert_int_equal(get("s/v", 0), 'k');
	assert_true(is_there("s/mine"));
}

static void test_what_is_foreign_is_not_written_over(void **state)
{
	int fd;

	parse("{" BASE "}");
	fd = open(in_dir("a"), O_WRONLY);
	assert_int_equal(pwrite(fd, "EFI PART", 8, 512), 8);
	close(fd);
	refuse("{" GROUND "}", -EEXIST, "lvol_stores[0]: making store 's': ");
	assert_int_equal(xbdev_lvs_list(NULL, 0), 0);
}

/* ---- clones of devices ---- */

#define IMAGE(more)                                                                                \
	"{'method': 'aio', 'params': {'name': 'image', 'filename': '@/image', 'size': '4MiB'" more \
	"}}"
#define IMAGE_UUID     ", 'uuid': '00000000-0000-4000-8000-0000000000e1'"
#define ON_IMAGE(bdev) "{'name': 'c', 'lvs_name': 's', 'source_bdev': '" bdev "'}"

/* A clone with a snapshot of it and a clone of that, in the order in which nothing can be made. */
static const char with_image[] = "{" CLONES(CLONE("d", "p") "," ON_IMAGE("image")) "," SNAPS(SNAP(
	"p", "c")) "," STORES(STORE("s", "a", "")) "," BASES(AIO("a") "," IMAGE(IMAGE_UUID)) "}";

static void make_with_image(void)
{
	parse("{" BASES(IMAGE(IMAGE_UUID)) "}");
	put("image", 'i', 0);
	put("image", 'j', 2ull * CLUSTER);
	parse(with_image);
	put("s/c", 'c', CLUSTER);
}

static void test_a_clone_of_a_device(void **state)
{
	char *first, *second;

	make_with_image();
	assert_int_equal(get("s/c", 0), 'i');
	assert_string_equal(volume_of("s/p").esnap, "image");
	assert_string_equal(volume_of("s/c").parent, "p");
	assert_string_equal(volume_of("s/d").parent, "p");
	must(xbdev_save_config(in_dir("s.json")));
	first = read_whole(in_dir("s.json"));
	assert_non_null(strstr(first, "\"source_bdev\": \"image\""));
	must(xbdev_parse_config(in_dir("s.json"))); /* changes nothing */
	parse(with_image);
	begin_again();
	must(xbdev_open_from_json(in_dir("s.json")));
	must(xbdev_parse_config(in_dir("s.json")));
	must(xbdev_save_config(in_dir("t.json")));
	second = read_whole(in_dir("t.json"));
	assert_string_equal(first, second);
	free(second);
	free(first);
	assert_int_equal(get("s/c", 0), 'i');
	assert_int_equal(get("s/c", CLUSTER), 'c');
	assert_int_equal(get("s/d", 2ull * CLUSTER), 'j');
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

static void test_a_clone_of_another_device(void **state)
{
	make_with_image();
	parse("{" BASES(AIO("a") "," IMAGE(IMAGE_UUID)) "," STORES(STORE("s", "a", "")) "}");
	refuse("{" BASES(AIO("a") "," IMAGE(IMAGE_UUID) "," MALLOC("m")) "," STORES(
		       STORE("s", "a", "")) "," CLONES(ON_IMAGE("m")) "}",
		-EEXIST, "stands on 'p'");
	refuse("{" BASES(AIO("a")) "," STORES(STORE("s", "a", "")) "," CLONES(
		       ON_IMAGE("image")) "}",
		-EINVAL, "there is no such device");
	refuse("{" GROUND "," CLONES(ON_IMAGE("s/c")) "}", -EINVAL, "is not accepted");
	/* What has been filled stands on nothing any more, and needs no device. */
	must(xbdev_lvol_destroy("s/d"));
	must(xbdev_lvol_destroy("s/p"));
	must(xbdev_lvol_inflate("s/c"));
	parse("{" BASES(AIO("a") "," IMAGE(IMAGE_UUID)) "," STORES(STORE("s", "a", "")) "," CLONES(
		ON_IMAGE("image")) "}");
	parse("{" GROUND "}");
	assert_int_equal(get("s/c", 2ull * CLUSTER), 'j');
}

/* Another identity is another device: the clone says what it lacks. */
static void test_a_clone_whose_device_has_gone(void **state)
{
	make_with_image();
	begin_again();
	refuse("{" BASES(AIO("a") "," IMAGE("")) "," STORES(STORE("s", "a", "")) "," CLONES(
		       ON_IMAGE("image")) "}",
		-ENODEV, "00000000-0000-4000-8000-0000000000e1");
	parse("{" BASES(AIO("a") "," IMAGE("")) "," STORES(STORE("s", "a", "")) "}");
	assert_false(is_there("s/c"));
	assert_string_equal(volume_of("s/p").esnap, "00000000-0000-4000-8000-0000000000e1");
}

/* ---- saving ---- */

static void test_saved_says_what_is_there(void **state)
{
	char *first, *second;
	char uuid[37];

	parse(everything);
	must(xbdev_lvol_create("s", "odd", 1, false));
	must(xbdev_lvol_set_read_only("s/odd"));
	put("s/v", 'x', 0);
	memcpy(uuid, volume_of("s/v").uuid, sizeof(uuid));
	must(xbdev_save_config(in_dir("s.json")));
	first = read_whole(in_dir("s.json"));
	must(xbdev_parse_config(in_dir("s.json")));
	must(xbdev_save_config(in_dir("t.json")));
	second = read_whole(in_dir("t.json"));
	assert_string_equal(first, second);
	free(second);
	begin_again();
	must(xbdev_open_from_json(in_dir("s.json")));
	assert_int_equal(get("s/v", 0), 'x');
	must(xbdev_parse_config(in_dir("s.json")));
	must(xbdev_save_config(in_dir("t.json")));
	second = read_whole(in_dir("t.json"));
	assert_string_equal(first, second);
	free(second);
	free(first);
	/* On a blank disk it makes the same again. */
	must(xbdev_fini());
	unlink(in_dir("a"));
	must(start(NULL));
	must(xbdev_create_from_json(in_dir("s.json")));
	assert_string_equal(volume_of("s/v").uuid, uuid);
	assert_int_equal(get("s/v", 0), 0);
	assert_string_equal(volume_of("s/copy2").parent, "q");
	assert_string_equal(volume_of("s/q").parent, "p");
	assert_string_equal(volume_of("s/v").parent, "p2");
	assert_string_equal(volume_of("s/p2").parent, "p");
	assert_true(volume_of("s/odd").is_read_only);
	assert_false(volume_of("s/odd").is_thin);
}

static void test_in_memory_it_is_made_each_time(void **state)
{
	static const char text[] = "{" BASES(MALLOC("m")) "," STORES(
		STORE("s", "m", "")) "," VOLUMES(VOL("v", THIN)) "," SNAPS(SNAP("p", "v")) "}";

	parse(text);
	put("s/v", 'x', 0);
	parse(text);
	assert_int_equal(get("s/v", 0), 'x');
	begin_again();
	parse(text);
	assert_int_equal(get("s/v", 0), 0);
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

/* ---- settings of a store ---- */

#define WITH(more) "{" BASE ",\n" STORES(STORE("s", "a", more)) "}"

static void assert_settings(uint32_t wait_ms, uint32_t low, uint32_t high)
{
	xbdev_lvs_info_t store = store_of("s");

	assert_int_equal(store.space_wait_ms, wait_ms);
	assert_int_equal(store.low_percent, low);
	assert_int_equal(store.high_percent, high);
}

static void test_settings_of_a_store(void **state)
{
	char *saved, *again;

	refuse(WITH(", 'low_percent': 10"), -EINVAL, "lvol_stores[0].low_percent");
	refuse(WITH(", 'high_percent': 10"), -EINVAL, "low_percent and high_percent go together");
	refuse(WITH(", 'low_percent': 10, 'high_percent': 10"), -EINVAL, "thresholds of 10 and 10");
	refuse(WITH(", 'high_percent': 101, 'low_percent': 1"), -EINVAL, "high_percent");
	refuse(WITH(", 'space_wait_ms': 86400001"), -EINVAL, "lvol_stores[0].space_wait_ms");
	parse(WITH(", 'space_wait_ms': 1500"));
	assert_settings(1500, 80, 95);
	parse(WITH(", 'low_percent': 10, 'high_percent': 20"));
	assert_settings(1500, 10, 20);
	/* What was set at run time stays while a document says the same as before. */
	must(xbdev_lvs_set_thresholds("s", 30, 40));
	parse(WITH(", 'low_percent': 10, 'high_percent': 20"));
	assert_settings(1500, 30, 40);
	parse(WITH(", 'space_wait_ms': 0, 'low_percent': 10, 'high_percent': 20"));
	assert_settings(0, 30, 40);
	parse(WITH(", 'space_wait_ms': 7, 'low_percent': 0, 'high_percent': 0"));
	assert_settings(7, 0, 0);

	/* Saved, and read again: nothing changes, not even what is saved. */
	must(xbdev_save_config(in_dir("saved.json")));
	saved = read_whole(in_dir("saved.json"));
	assert_non_null(strstr(saved, "\"space_wait_ms\": 7"));
	assert_non_null(strstr(saved, "\"low_percent\": 0"));
	must(xbdev_parse_config(in_dir("saved.json")));
	assert_settings(7, 0, 0);
	begin_again();
	must(xbdev_parse_config(in_dir("saved.json")));
	assert_settings(7, 0, 0);
	must(xbdev_save_config(in_dir("again.json")));
	again = read_whole(in_dir("again.json"));
	assert_string_equal(again, saved);
	free(again);
	free(saved);

	/* Loading changes nothing on the media, */
	begin_again();
	must(xbdev_open_from_json(document(WITH(", 'space_wait_ms': 9"))));
	assert_settings(7, 0, 0);
	/* and the first document of a program says what is to be. */
	begin_again();
	parse(WITH(", 'space_wait_ms': 9"));
	assert_settings(9, 0, 0);
}

static void test_settings_are_taken_back(void **state)
{
	static const char bad[] =
		"{" BASE ",\n" STORES(STORE("s", "a", ", 'space_wait_ms': 5")) "," VOLUMES(
			VOL("v", THIN) "," VOL("big", ", 'size_mb': 64")) "}";

	/* Of one that is there, of one that is found, */
	parse(WITH(", 'space_wait_ms': 3"));
	refuse(bad, -ENOSPC, "big");
	assert_settings(3, 80, 95);
	begin_again();
	refuse(bad, -ENOSPC, "big");
	parse(WITH(""));
	assert_settings(3, 80, 95);
	parse("{}");
	empty_dir();
	/* and of a new one, which goes as a whole. */
	refuse(bad, -ENOSPC, "big");
	parse(WITH(""));
	assert_settings(0, 80, 95);
}

#define lvol_test(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		lvol_test(test_made_once_and_loaded_from_then_on),
		lvol_test(test_open_makes_nothing_and_create_loads_nothing),
		lvol_test(test_the_printed_document),
		lvol_test(test_a_store_on_a_volume),
		lvol_test(test_what_is_there_is_compared),
		lvol_test(test_a_volume_becomes_read_only),
		lvol_test(test_a_volume_grows),
		lvol_test(test_what_was_changed_at_run_time_stays),
		lvol_test(test_what_is_open_does_not_go),
		lvol_test(test_devices_that_the_program_made),
		lvol_test(test_failure_takes_back_what_is_new),
		lvol_test(test_failure_takes_again_what_was_given_up),
		lvol_test(test_a_device_is_made_again_below_it),
		lvol_test(test_what_is_foreign_is_not_written_over),
		lvol_test(test_a_clone_of_a_device),
		lvol_test(test_a_clone_of_another_device),
		lvol_test(test_a_clone_whose_device_has_gone),
		lvol_test(test_saved_says_what_is_there),
		lvol_test(test_in_memory_it_is_made_each_time),
		lvol_test(test_settings_of_a_store),
		lvol_test(test_settings_are_taken_back),
	};

	return cmocka_run_group_tests_name("xbdev_json_lvol", tests, make_dir, remove_dir);
}
