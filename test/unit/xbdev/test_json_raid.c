/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays in configuration documents, as an application uses them: made on blank members, assembled
 * from what is on others, changed at run time, taken back, saved. Everything goes through
 * <xbdev/xbdev.h>; what is on the members is looked at by xbdev_md_examine().
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

#define BLOCK 4096u
#define MIB   (1u << 20)

static char dir[] = "/var/tmp/xsan-test-json-raid-XXXXXX";

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
	"', 'size': '8MiB'}}"
#define MALLOC(name) "{'method': 'malloc', 'params': {'name': '" name "', 'size': '8MiB'}}"
#define RAID(level, name, members, more)                                                           \
	"{'method': '" level "', 'params': {'name': '" name "', 'base_bdevs': [" members "]" more  \
	"}}"
#define DOC(bases, arrays) "{'raid_devices': [" arrays "],\n'base_devices': [" bases "]}"
#define FOUR               AIO("a") "," AIO("b") "," AIO("c") "," AIO("d")

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

static void put(const char *name, char content)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd = xbdev_open(name);

	must(fd);
	memset(buf, content, BLOCK);
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 0), BLOCK);
	must(xbdev_close(fd));
	xbdev_dma_buffer_free(buf);
}

static char get(const char *name)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK), byte;
	int fd = xbdev_open_with(name, XBDEV_OPEN_READ);

	must(fd);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), BLOCK);
	must(xbdev_close(fd));
	byte = buf[0];
	xbdev_dma_buffer_free(buf);
	return byte;
}

static xbdev_md_detail_t detail_of(const char *name)
{
	xbdev_md_detail_t detail;

	must(xbdev_md_detail(name, &detail));
	return detail;
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

/* ---- making and assembling ---- */

#define ONE DOC(FOUR, RAID("raid5", "md0", "'a', 'b', 'c'", ", 'strip_size_kb': 64"))

static void test_made_once_and_assembled_from_then_on(void **state)
{
	char uuid[37];

	parse(ONE);
	assert_int_equal(detail_of("md0").raid_disks, 3);
	assert_int_equal(detail_of("md0").chunk_size, 64);
	memcpy(uuid, detail_of("md0").uuid, sizeof(uuid));
	put("md0", 'x');
	parse(ONE);
	begin_again();
	parse(ONE);
	assert_string_equal(detail_of("md0").uuid, uuid);
	assert_int_equal(get("md0"), 'x');
	begin_again();
	must(xbdev_open_from_json(document(ONE)));
	assert_string_equal(detail_of("md0").uuid, uuid);
	assert_int_equal(get("md0"), 'x');
	/* What a document has made goes with it, and stays on its members. */
	parse(DOC(FOUR, ""));
	assert_false(is_there("md0"));
	parse(ONE);
	assert_int_equal(get("md0"), 'x');
}

static void test_open_makes_nothing_and_create_assembles_nothing(void **state)
{
	parse(DOC(FOUR, ""));
	expect_error(xbdev_open_from_json(document(ONE)), -ENOENT,
		"c.json:1:19: raid_devices[0]: making RAID array 'md0': array 'md0': none of its "
		"members has a RAID superblock");
	assert_false(is_there("md0"));
	parse("{}");
	must(xbdev_create_from_json(document(ONE)));
	assert_true(is_there("md0"));
	begin_again();
	expect_error(xbdev_create_from_json(document(ONE)), -EEXIST,
		"raid_devices[0]: making RAID array 'md0': array 'md0': 'a' belongs to array 'md0' "
		"(");
	assert_false(is_there("a"));
	must(xbdev_open_from_json(document(ONE)));
}

static void test_arrays_on_arrays_in_any_order(void **state)
{
	static const char text[] =
		DOC(FOUR, RAID("raid0", "top", "'left', 'right'", "") "," RAID("raid1", "left",
				  "'a', 'b'", "") "," RAID("raid1", "right", "'c', 'd'", ""));

	parse(text);
	put("top", 'n');
	begin_again();
	parse(text);
	assert_int_equal(get("top"), 'n');
	assert_int_equal(detail_of("top").raid_disks, 2);
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

/* ---- what is foreign ---- */

static void test_what_is_foreign_is_not_written_over(void **state)
{
	xbdev_md_info_t info;
	int fd;

	parse(DOC(FOUR, RAID("raid1", "old", "'a', 'b'", "")));
	put("old", 'o');
	begin_again();
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid1", "md0", "'c', 'a'", "")))),
		-EINVAL,
		"array 'md0': 'c' does not belong to the array that others of its members carry");
	expect_error(xbdev_parse_config(document(DOC(
			     FOUR, RAID("raid1", "md0", "'c', 'a'",
					   ", 'uuid': '01234567-89ab-cdef-0011-223344556677'")))),
		-EEXIST, "'a' belongs to array 'old'");
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid5", "old", "'a', 'b'", "")))),
		-EINVAL, "is to be raid5, but its members are of a raid1 array");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	fd = open(in_dir("d"), O_WRONLY);
	assert_int_equal(pwrite(fd, "EFI PART", 8, 512), 8);
	close(fd);
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid1", "md0", "'c', 'd'", "")))),
		-EEXIST, "'d' is not blank: there is something at byte 512");
	fd = open(in_dir("d"), O_WRONLY);
	assert_int_equal(pwrite(fd, "\0\0\0\0\0\0\0\0", 8, 512), 8);
	assert_int_equal(pwrite(fd, "end", 3, 8 * MIB - 3), 3);
	close(fd);
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid1", "md0", "'c', 'd'", "")))),
		-EEXIST, "'d' is not blank: there is something at byte 8388605");
	parse(DOC(FOUR, RAID("raid1", "old", "'a', 'b'", "")));
	assert_int_equal(get("old"), 'o');
	expect_error(xbdev_md_examine("c", &info), -ENOENT, "no RAID superblock");
}

static void test_a_known_array_starts_without_what_is_not_its_own(void **state)
{
	static const char text[] =
		DOC(FOUR, RAID("raid5", "md0", "'a', 'b', 'c'",
				  ", 'uuid': '01234567-89ab-cdef-0011-223344556677'"));

	parse(text);
	put("md0", 'x');
	while (strcmp(detail_of("md0").sync_action, "idle") != 0) {
		usleep(1000);
	}
	must(xbdev_fini());
	unlink(in_dir("b")); /* another disk in its place */
	must(start(NULL));
	parse(text);
	assert_int_equal(get("md0"), 'x');
	assert_true(detail_of("md0").degraded);
	assert_int_equal(detail_of("md0").active_disks, 2);
	/* And two are too many. */
	must(xbdev_fini());
	unlink(in_dir("c"));
	must(start(NULL));
	assert_true(xbdev_parse_config(document(text)) < 0);
	assert_false(is_there("md0"));
}

/* ---- failure ---- */

static void test_failure_takes_new_arrays_off_their_members(void **state)
{
	xbdev_md_info_t info;

	parse(DOC(FOUR, RAID("raid1", "old", "'a', 'b'", "")));
	put("old", 'o');
	parse("{}");
	/* "new" is made, "old" assembled, and the third is not possible. */
	expect_error(
		xbdev_parse_config(document(DOC(FOUR "," AIO("e"),
			RAID("raid1", "new", "'c', 'd'", "") "," RAID("raid1", "old", "'a', 'b'",
				"") "," RAID("raid6", "bad", "'e'", ", 'raid_disks': 4")))),
		-EINVAL, "raid_devices[2]: making RAID array 'bad'");
	assert_int_equal(xbdev_list(NULL, 0), 0);
	parse(DOC(FOUR, RAID("raid1", "old", "'a', 'b'", "")));
	assert_int_equal(get("old"), 'o');
	expect_error(xbdev_md_examine("c", &info), -ENOENT, "no RAID superblock");
	expect_error(xbdev_md_examine("d", &info), -ENOENT, "no RAID superblock");
}

static void test_failure_starts_again_what_was_stopped(void **state)
{
	char uuid[37];

	parse(DOC(FOUR, RAID("raid1", "old", "'a', 'b'", "")));
	put("old", 'o');
	memcpy(uuid, detail_of("old").uuid, sizeof(uuid));
	expect_error(xbdev_parse_config(document(DOC(
			     FOUR "," AIO("e"), RAID("raid6", "bad", "'e'", ", 'raid_disks': 4")))),
		-EINVAL, "making RAID array 'bad'");
	assert_string_equal(detail_of("old").uuid, uuid);
	assert_int_equal(get("old"), 'o');
	assert_false(is_there("e"));
}

/* ---- changes ---- */

static void test_devices_come_and_go_while_it_runs(void **state)
{
	int fd;

	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", "")));
	put("md0", 'x');
	fd = xbdev_open("md0");
	must(fd);
	parse(DOC(FOUR, RAID("raid1", "md0", "'b', 'a'", "")));
	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b', 'c'", "")));
	assert_int_equal(detail_of("md0").spare_disks, 1);
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid1", "md0", "'a', 'c'", "")))),
		-EBUSY, "raid_devices[0]: changing RAID array 'md0'");
	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", "")));
	assert_int_equal(detail_of("md0").spare_disks, 0);
	must(xbdev_close(fd));
}

static void test_what_was_changed_at_run_time_stays(void **state)
{
	static const char text[] = DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", ""));

	parse(text);
	must(xbdev_md_manage("md0", XBDEV_MD_ADD_SPARE, "c"));
	parse(text);
	assert_int_equal(detail_of("md0").spare_disks, 1);
	/* A word about something else leaves it alone too. */
	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", ", 'assume_clean': true")));
	assert_int_equal(detail_of("md0").spare_disks, 1);
}

static void test_the_shape_of_what_is_there_is_not_changed(void **state)
{
	parse(ONE);
	expect_error(xbdev_parse_config(document(DOC(FOUR,
			     RAID("raid5", "md0", "'a', 'b', 'c'", ", 'strip_size_kb': 128")))),
		-EOPNOTSUPP,
		"raid_devices[0].params.strip_size_kb: array 'md0' is on its members already");
	expect_error(xbdev_parse_config(document(DOC(FOUR,
			     RAID("raid4", "md0", "'a', 'b', 'c'", ", 'strip_size_kb': 64")))),
		-EOPNOTSUPP, "raid_devices[0].method: array 'md0' is on its members already");
	parse(ONE);
	assert_int_equal(detail_of("md0").level, XBDEV_MD_LEVEL_RAID5);
}

static void test_of_other_members_it_is_another_array(void **state)
{
	int fd;

	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", "")));
	put("md0", 'x');
	fd = xbdev_open("md0");
	must(fd);
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid0", "md0", "'c', 'd'", "")))),
		-EBUSY,
		"raid_devices[0].method: 'md0' cannot be changed in this while it is in use");
	must(xbdev_close(fd));
	parse(DOC(FOUR, RAID("raid0", "md0", "'c', 'd'", "")));
	assert_int_equal(detail_of("md0").level, XBDEV_MD_LEVEL_RAID0);
	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", "")));
	assert_int_equal(get("md0"), 'x');
}

static void test_what_is_open_does_not_go(void **state)
{
	int fd;

	parse(ONE);
	fd = xbdev_open("md0");
	must(fd);
	expect_error(xbdev_parse_config(document("{}")), -EBUSY, "is open; close it first");
	assert_true(is_there("md0"));
	must(xbdev_close(fd));
	parse("{}");
}

/* ---- saving ---- */

static void test_saved_says_what_is_there(void **state)
{
	const char *spares[] = {"d"}, *members[] = {"a", "b", "c"};
	const xbdev_md_create_options_t options = {
		.size = sizeof(options),
		.level = XBDEV_MD_LEVEL_RAID5,
		.base_bdevs = members,
		.num_base_bdevs = 3,
		.spares = spares,
		.num_spares = 1,
		.config = {.chunk_size_kb = 16, .layout = XBDEV_MD_LAYOUT_LEFT_ASYMMETRIC},
	};
	xbdev_md_detail_t before, after;
	char *first, *second;

	parse(DOC(FOUR, ""));
	must(xbdev_md_create_with("md0", &options));
	put("md0", 's');
	while (strcmp(detail_of("md0").sync_action, "idle") != 0) {
		usleep(1000);
	}
	before = detail_of("md0");
	must(xbdev_save_config(in_dir("s.json")));
	first = read_whole(in_dir("s.json"));
	must(xbdev_parse_config(in_dir("s.json")));
	assert_string_equal(detail_of("md0").uuid, before.uuid);
	begin_again();
	must(xbdev_open_from_json(in_dir("s.json")));
	after = detail_of("md0");
	assert_string_equal(after.uuid, before.uuid);
	assert_string_equal(after.layout_name, "left-asymmetric");
	assert_int_equal(after.chunk_size, 16);
	assert_int_equal(after.spare_disks, 1);
	assert_int_equal(get("md0"), 's');
	must(xbdev_save_config(in_dir("s.json")));
	second = read_whole(in_dir("s.json"));
	assert_string_equal(first, second);
	must(xbdev_parse_config(in_dir("s.json")));
	free(first);
	free(second);
	/* On blank disks it makes the same again. */
	must(xbdev_fini());
	for (const char *name = "abcd"; *name != '\0'; name++) {
		unlink(in_dir((char[]){*name, '\0'}));
	}
	must(start(NULL));
	must(xbdev_create_from_json(in_dir("s.json")));
	after = detail_of("md0");
	assert_string_equal(after.uuid, before.uuid);
	assert_string_equal(after.layout_name, "left-asymmetric");
	assert_int_equal(after.raid_disks, 3);
	assert_int_equal(after.spare_disks, 1);
}

static void test_policy_of_what_is_made(void **state)
{
	static const char text[] =
		DOC(FOUR, RAID("raid5", "md0", "'a', 'b', 'c'",
				  ", 'strip_size_kb': 64, 'consistency_policy': 'ppl'"));
	xbdev_md_info_t info;

	parse(text);
	must(xbdev_md_examine("a", &info));
	assert_int_not_equal(info.ppl_size, 0);
	parse(text);
	put("md0", 'p');
	begin_again();
	parse(text);
	assert_int_equal(get("md0"), 'p');
	expect_error(
		xbdev_parse_config(document(DOC(FOUR,
			RAID("raid5", "md0", "'a', 'b', 'c'", ", 'consistency_policy': 'luck'")))),
		-EINVAL, "raid_devices[0].params.consistency_policy: \"luck\" is not accepted");
}

static void test_write_behind_of_what_is_made(void **state)
{
	static const char text[] = DOC(FOUR,
		RAID("raid1", "md0", "'a', 'b', 'c'",
			", 'bitmap_chunk_kb': 64, 'write_behind': 32, 'write_mostly': ['b']"));
	xbdev_md_info_t info;

	parse(text);
	assert_int_equal(detail_of("md0").write_behind, 32);
	must(xbdev_md_examine("b", &info));
	assert_true(info.is_write_mostly);
	must(xbdev_md_examine("a", &info));
	assert_false(info.is_write_mostly);
	put("md0", 'w');
	begin_again();
	parse(text);
	assert_int_equal(get("md0"), 'w');
	assert_int_equal(detail_of("md0").write_behind, 32);
	expect_error(xbdev_parse_config(document(
			     DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", ", 'write_behind': 32")))),
		-EINVAL, "raid_devices[0].params.write_behind");
	expect_error(xbdev_parse_config(document(DOC(
			     FOUR, RAID("raid1", "md0", "'a', 'b'", ", 'write_mostly': ['x']")))),
		-EINVAL, "raid_devices[0].params.write_mostly");
	expect_error(xbdev_parse_config(document(DOC(FOUR,
			     RAID("raid5", "md0", "'a', 'b', 'c'", ", 'write_mostly': ['a']")))),
		-EINVAL, "raid_devices[0].params.write_mostly");
}

/* Saves, and begins again with what was saved; then saving says the same. */
static char *save_and_begin_again(void)
{
	char *first, *second;

	must(xbdev_save_config(in_dir("s.json")));
	first = read_whole(in_dir("s.json"));
	must(xbdev_parse_config(in_dir("s.json")));
	begin_again();
	must(xbdev_parse_config(in_dir("s.json")));
	must(xbdev_save_config(in_dir("s.json")));
	second = read_whole(in_dir("s.json"));
	assert_string_equal(first, second);
	free(second);
	return first;
}

static void wait_for_rest(const char *name)
{
	while (strcmp(detail_of(name).sync_action, "idle") != 0) {
		usleep(1000);
	}
}

static void test_saved_says_everything(void **state)
{
	const char *members[] = {"a", XBDEV_MD_MISSING, "b"}, *spares[] = {"c"}, *mostly[] = {"b"};
	const char *four[] = {"d", "e", "f"};
	const int priority = 6;
	const xbdev_md_create_options_t mirror = {
		.size = sizeof(mirror),
		.level = XBDEV_MD_LEVEL_RAID1,
		.base_bdevs = members,
		.num_base_bdevs = 3,
		.config = {.bitmap_chunk_kb = 64, .write_behind = 32},
		.write_mostly = mostly,
		.num_write_mostly = 1,
		.spare_group = "shelf",
		.priority = &priority,
	};
	const xbdev_md_create_options_t parity = {
		.size = sizeof(parity),
		.level = XBDEV_MD_LEVEL_RAID5,
		.base_bdevs = four,
		.num_base_bdevs = 3,
		.config = {.consistency_policy = true, .stripe_cache_size = 100},
	};
	char *text;

	parse(DOC(FOUR "," AIO("e") "," AIO("f"), ""));
	must(xbdev_md_create_with("md0", &mirror));
	must(xbdev_md_create_with("md1", &parity));
	put("md0", 'e');
	wait_for_rest("md0");
	wait_for_rest("md1");
	text = save_and_begin_again();
	assert_non_null(strstr(text, "\"missing\""));
	assert_non_null(strstr(text, "\"ppl\""));
	assert_non_null(strstr(text, "\"stripe_cache_size\": 100"));
	free(text);
	assert_int_equal(get("md0"), 'e');
	assert_true(detail_of("md0").degraded);
	assert_string_equal(detail_of("md0").disks[1].role, "removed");
	assert_string_equal(detail_of("md0").spare_group, "shelf");
	assert_int_equal(detail_of("md0").priority, 6);
	assert_int_equal(detail_of("md0").write_behind, 32);
	assert_true(detail_of("md0").more[2].is_write_mostly);
	/* On blank disks it makes the same again. */
	must(xbdev_fini());
	for (const char *name = "abcdef"; *name != '\0'; name++) {
		unlink(in_dir((char[]){*name, '\0'}));
	}
	must(start(NULL));
	must(xbdev_create_from_json(in_dir("s.json")));
	assert_string_equal(detail_of("md0").disks[1].role, "removed");
	assert_string_equal(detail_of("md0").consistency, "bitmap");
	assert_int_equal(detail_of("md0").write_behind, 32);
	assert_true(detail_of("md0").more[2].is_write_mostly);
	assert_string_equal(detail_of("md1").consistency, "ppl");
	must(xbdev_md_manage("md0", XBDEV_MD_ADD_SPARE, (void *)spares[0]));
	wait_for_rest("md0");
	assert_string_equal(detail_of("md0").disks[1].name, "c");
}

static void test_group_priority_and_write_mostly_change_while_it_runs(void **state)
{
	int fd;

	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", ", 'priority': 5")));
	fd = xbdev_open("md0");
	must(fd);
	assert_int_equal(detail_of("md0").priority, 5);
	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'",
				", 'spare_group': 'shelf', 'write_mostly': ['b']")));
	assert_string_equal(detail_of("md0").spare_group, "shelf");
	assert_int_equal(detail_of("md0").priority, XBDEV_MD_PRIORITY_DEFAULT);
	assert_true(detail_of("md0").more[1].is_write_mostly);
	/* What was changed at run time stays where the words do. */
	must(xbdev_md_manage("md0", XBDEV_MD_SET_SPARE_GROUP, "drawer"));
	must(xbdev_md_manage("md0", XBDEV_MD_SET_WRITE_MOSTLY, "a"));
	parse(DOC(FOUR, RAID("raid1", "md0", "'a', 'b'",
				", 'spare_group': 'shelf', 'write_mostly': [], 'priority': 1")));
	assert_string_equal(detail_of("md0").spare_group, "drawer");
	assert_int_equal(detail_of("md0").priority, 1);
	assert_true(detail_of("md0").more[0].is_write_mostly);
	assert_false(detail_of("md0").more[1].is_write_mostly);
	must(xbdev_close(fd));
	free(save_and_begin_again());
	assert_true(detail_of("md0").more[0].is_write_mostly);
	assert_string_equal(detail_of("md0").spare_group, "drawer");
	expect_error(xbdev_parse_config(document(DOC(FOUR,
			     RAID("raid1", "md0", "'a', 'b', 'missing'", ", 'raid_disks': 2")))),
		-EINVAL, "raid_devices[0].params.base_bdevs[2]: a spare cannot be missing");
	expect_error(xbdev_parse_config(document(DOC(FOUR, RAID("raid1", "md0", "'missing'", "")))),
		-EINVAL, "nor can all members");
	expect_error(xbdev_parse_config(document(
			     DOC(FOUR, RAID("raid1", "md0", "'a', 'b'", ", 'priority': 8")))),
		-EINVAL, "raid_devices[0].params.priority");
}

static void test_members_in_memory_are_made_each_time(void **state)
{
	static const char text[] =
		DOC(MALLOC("m") "," MALLOC("n"), RAID("raid1", "md0", "'m', 'n'", ""));

	parse(text);
	put("md0", 'x');
	begin_again();
	parse(text);
	assert_int_equal(get("md0"), 0);
	parse("{}");
	assert_int_equal(xbdev_list(NULL, 0), 0);
}

#define array_test(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		array_test(test_made_once_and_assembled_from_then_on),
		array_test(test_open_makes_nothing_and_create_assembles_nothing),
		array_test(test_arrays_on_arrays_in_any_order),
		array_test(test_what_is_foreign_is_not_written_over),
		array_test(test_a_known_array_starts_without_what_is_not_its_own),
		array_test(test_failure_takes_new_arrays_off_their_members),
		array_test(test_failure_starts_again_what_was_stopped),
		array_test(test_devices_come_and_go_while_it_runs),
		array_test(test_what_was_changed_at_run_time_stays),
		array_test(test_the_shape_of_what_is_there_is_not_changed),
		array_test(test_of_other_members_it_is_another_array),
		array_test(test_what_is_open_does_not_go),
		array_test(test_saved_says_what_is_there),
		array_test(test_policy_of_what_is_made),
		array_test(test_write_behind_of_what_is_made),
		array_test(test_saved_says_everything),
		array_test(test_group_priority_and_write_mostly_change_while_it_runs),
		array_test(test_members_in_memory_are_made_each_time),
	};

	return cmocka_run_group_tests_name("xbdev_json_raid", tests, make_dir, remove_dir);
}
