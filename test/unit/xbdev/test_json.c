/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration documents as an application uses them: parsed, opened, created, changed at run
 * time, saved. Everything goes through <xbdev/xbdev.h> only; what is on the disk is looked at
 * directly.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define BLOCK 4096u
#define MIB   (1u << 20)

static char dir[] = "/var/tmp/xsan-test-json-XXXXXX";
static int is_embedded;

/* ---- the world ---- */

/* A path in the directory; good until the fourth call after it. */
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

static int start(void)
{
	xbdev_init_options_t options = {
		.size = sizeof(options), .nr_reactors = 2, .is_embedded = is_embedded != 0};

	return xbdev_init_with(&options);
}

static int start_threads(void **state)
{
	is_embedded = 0;
	return start();
}

static int start_embedded(void **state)
{
	is_embedded = 1;
	return start();
}

static int stop(void **state)
{
	empty_dir();
	return xbdev_fini();
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

#define BASE(entries)           "{'base_devices': [" entries "]}"
#define DEV(method, name, more) "{'method': '" method "', 'params': {'name': '" name "'" more "}}"
#define SIZED(method, name)     DEV(method, name, ", 'size': '1MiB'")
#define FILE_DEV(name, more)    DEV("aio", name, ", 'filename': '@/" name "'" more)
#define DELAY(name, base)       DEV("delay", name, ", 'base': '" base "'")

static void must(int rc)
{
	if (rc != 0) {
		fail_msg("%d: %s", rc, xbdev_last_error());
	}
}

static void parse(const char *text)
{
	must(xbdev_parse_config(document(text)));
}

/* The call fails with this code, and this is in the sentence. */
static void expect_error(int rc, int code, const char *part)
{
	char text[512];

	for (size_t i = 0; part[i] != '\0' || i == 0; i++) {
		text[i] = part[i] == '\'' ? '"' : part[i];
		text[i + 1] = '\0';
	}
	if (rc != code || (strstr(xbdev_last_error(), part) == NULL &&
				  strstr(xbdev_last_error(), text) == NULL)) {
		fail_msg("got %d: %s\nexpected %d: %s", rc, xbdev_last_error(), code, part);
	}
}

/* The names of all devices, in order of creation. */
static const char *names(void)
{
	static char text[512];
	xbdev_info_t infos[16];
	int count = xbdev_list(infos, 16);

	text[0] = '\0';
	assert_true(count >= 0 && count <= 16);
	for (int i = 0; i < count; i++) {
		strcat(text, i == 0 ? "" : " ");
		strcat(text, infos[i].name);
	}
	return text;
}

static xbdev_info_t info_of(const char *name)
{
	xbdev_info_t infos[16], none = {0};
	int count = xbdev_list(infos, 16);

	for (int i = 0; i < count && i < 16; i++) {
		if (strcmp(infos[i].name, name) == 0) {
			return infos[i];
		}
	}
	return none;
}

static void assert_same_device(const xbdev_info_t *a, const xbdev_info_t *b)
{
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->driver, b->driver);
	assert_string_equal(a->uuid, b->uuid);
	assert_int_equal(a->size_bytes, b->size_bytes);
	assert_int_equal(a->block_size, b->block_size);
	assert_int_equal(a->is_read_only, b->is_read_only);
	assert_int_equal(a->is_claimed, b->is_claimed);
}

static long long file_size(const char *name)
{
	struct stat st;

	return stat(in_dir(name), &st) == 0 ? (long long)st.st_size : -1;
}

static void make_file(const char *name, long long size, char content)
{
	int fd = open(in_dir(name), O_CREAT | O_WRONLY | O_TRUNC, 0600);
	char block[BLOCK];

	memset(block, content, sizeof(block));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void write_block(const char *name, char content)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK);
	int fd = xbdev_open(name);

	memset(buf, content, BLOCK);
	assert_true(fd >= 0);
	assert_int_equal(xbdev_write(fd, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_close(fd), 0);
	xbdev_dma_buffer_free(buf);
}

static char first_byte(const char *name)
{
	char *buf = xbdev_dma_buffer_alloc(BLOCK), byte;
	int fd = xbdev_open_with(name, XBDEV_OPEN_READ);

	assert_true(fd >= 0);
	assert_int_equal(xbdev_read(fd, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_close(fd), 0);
	byte = buf[0];
	xbdev_dma_buffer_free(buf);
	return byte;
}

/* ---- making ---- */

static void test_parse_makes_what_the_document_says(void **state)
{
	parse(BASE(DELAY("slow", "f") "," FILE_DEV("f", ", 'size': '2MiB'") "," SIZED(
		"malloc", "m") "," DEV("null", "n", ", 'num_blocks': 8, 'block_size': 4096")));
	assert_string_equal(names(), "f m n slow");
	assert_int_equal(info_of("f").size_bytes, 2 * MIB);
	assert_int_equal(file_size("f"), 2 * MIB);
	assert_true(info_of("f").is_claimed);
	assert_int_equal(info_of("n").size_bytes, 8 * 4096);
	write_block("slow", 'x');
	assert_int_equal(first_byte("slow"), 'x');
}

static void test_an_empty_document_takes_all_away(void **state)
{
	parse(BASE(FILE_DEV("f", ", 'size': '2MiB'") "," SIZED("malloc", "m") "," DELAY("d", "m")));
	must(xbdev_config_null(1, 512, "mine"));
	parse("{}");
	assert_string_equal(names(), "mine");
	assert_int_equal(file_size("f"), 2 * MIB);
}

static void test_files_are_made_and_never_written_over(void **state)
{
	make_file("f", MIB, 'a');
	expect_error(xbdev_parse_config(document(BASE(FILE_DEV("missing", "")))), -ENOENT,
		"c.json:1:19: base_devices[0]: making device 'missing': opening");
	assert_int_equal(file_size("missing"), -1);
	parse(BASE(FILE_DEV("f", ", 'size': '2MiB'")));
	assert_int_equal(first_byte("f"), 'a');
	assert_int_equal(file_size("f"), 2 * MIB);
	parse("{}");
	must(xbdev_create_from_json(document(BASE(FILE_DEV("f", ", 'size': '4MiB'")))));
	assert_int_equal(first_byte("f"), 'a');
	assert_int_equal(file_size("f"), 4 * MIB);
	parse("{}");
	must(xbdev_open_from_json(document(BASE(FILE_DEV("f", ", 'size': '1MiB'")))));
	assert_int_equal(first_byte("f"), 'a');
	assert_int_equal(info_of("f").size_bytes, 4 * MIB);
	/* The same words again: that it is larger is no difference. Others are. */
	parse(BASE(FILE_DEV("f", ", 'size': '1MiB'")));
	assert_int_equal(info_of("f").size_bytes, 4 * MIB);
	expect_error(xbdev_parse_config(document(BASE(FILE_DEV("f", ", 'size': '2MiB'")))), -EINVAL,
		"base_devices[0]: changing device 'f': device 'f' has 4194304 bytes; shrinking it");
}

static void test_open_makes_no_file_and_none_larger(void **state)
{
	make_file("f", MIB, 'a');
	expect_error(xbdev_open_from_json(document(
			     BASE(SIZED("null", "n") "," FILE_DEV("missing", ", 'size': '1MiB'")))),
		-ENOENT, "base_devices[1]: making device 'missing': opening");
	assert_int_equal(file_size("missing"), -1);
	assert_string_equal(names(), "");
	expect_error(xbdev_open_from_json(document(BASE(FILE_DEV("f", ", 'size': '2MiB'")))),
		-EINVAL, "has 1048576 bytes and its entry says 2097152");
	assert_string_equal(names(), "");
	assert_int_equal(file_size("f"), MIB);
	must(xbdev_open_from_json(document(BASE(FILE_DEV("f", ", 'size': '1MiB'")))));
	assert_string_equal(names(), "f");
}

static void test_open_and_create_leave_alone_what_is_there(void **state)
{
	must(xbdev_config_null(1, 512, "mine"));
	must(xbdev_open_from_json(document(BASE(SIZED("null", "a")))));
	must(xbdev_open_from_json(document(BASE(SIZED("null", "a") "," SIZED("null", "mine")))));
	expect_error(xbdev_open_from_json(document(
			     BASE(SIZED("null", "b") "," DEV("null", "a", ", 'size': '2MiB'")))),
		-EEXIST, "base_devices[1].params.size: 'a' is there already and is different");
	must(xbdev_create_from_json(document(BASE(SIZED("null", "b")))));
	expect_error(
		xbdev_create_from_json(document(BASE(SIZED("null", "c") "," SIZED("null", "a")))),
		-EEXIST, "base_devices[1].params.name: \"a\" is there already");
	assert_string_equal(names(), "mine a b");
	parse(BASE(SIZED("null", "b"))); /* all three calls make the one configuration */
	assert_string_equal(names(), "mine b");
}

static void test_what_is_wrong_touches_nothing(void **state)
{
	expect_error(xbdev_parse_config(document(BASE(FILE_DEV("f", ", 'size': '1MiB'") "," DEV(
			     "null", "n", ", 'size': 5")))),
		-EINVAL,
		"base_devices[1].params.size: 5 bytes is not accepted; it takes a multiple of the "
		"block size 512");
	expect_error(xbdev_parse_config(document(BASE(SIZED("null", "n") "," DELAY("d", "no")))),
		-EINVAL,
		"base_devices[1].params.base: \"no\" is not accepted: there is no such device, in "
		"the document or made by the program; it takes one that there is");
	expect_error(
		xbdev_parse_config(document("{'base_devices': [" SIZED("null",
			"n") "],"
			     "'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': 1}]}")),
		-EINVAL,
		"lvol_volumes[0].lvs_name: \"s\" is not accepted: there is no such store, in the "
		"document or made by the program; it takes one that there is");
	assert_string_equal(names(), "");
	assert_int_equal(file_size("f"), -1);
}

/* The document as the specification prints it has one disk in two arrays. examples/ has another. */
static void test_the_printed_document_is_refused_by_name(void **state)
{
	static const char printed[] =
		"{'base_devices': [{'method': 'nvme', 'params': {'name': 'nvme0', "
		"'pci_addr': '0000:01:00.0'}},\n"
		"{'method': 'nvmf', 'params': {'name': 'nvmf0', 'addr': '192.168.1.100', "
		"'port': 4420, 'nqn': 'nqn.2016-06.io.spdk:cnode1'}},\n"
		"{'method': 'aio', 'params': {'name': 'aio0', 'filename': '@/aiofile'}}],\n"
		"'raid_devices': [{'method': 'raid0', 'params': {'name': 'raid0_dev', "
		"'base_bdevs': ['nvme0', 'nvmf0'], 'strip_size_kb': 128}},\n"
		"{'method': 'raid1', 'params': {'name': 'raid1_dev', "
		"'base_bdevs': ['aio0', 'nvme0']}}],\n"
		"'lvol_stores': [{'name': 'lvs_raid0', 'base_bdev': 'raid0_dev', "
		"'cluster_size': 4096}],\n"
		"'lvol_volumes': [{'name': 'data_vol', 'lvs_name': 'lvs_raid0', 'size_mb': 1024, "
		"'thin_provision': true}],\n"
		"'snapshots': [{'source_vol': 'lvs_raid0/data_vol', 'name': 'data_snap1'}],\n"
		"'clones': [{'source_snap': 'lvs_raid0/data_snap1', 'name': 'data_clone1'}]}";

	expect_error(xbdev_parse_config(document(printed)), -EBUSY,
		"c.json:5:76: raid_devices[1].params.base_bdevs[1]: \"nvme0\" is not accepted: "
		"raid_devices[0] 'raid0_dev' uses it already; it takes one that nothing else uses");
	assert_string_equal(names(), "");
}

static void test_calls_say_what_is_wrong_with_them(void **state)
{
	assert_int_equal(xbdev_parse_config(NULL), -EINVAL);
	assert_int_equal(xbdev_open_from_json(NULL), -EINVAL);
	assert_int_equal(xbdev_create_from_json(NULL), -EINVAL);
	assert_int_equal(xbdev_save_config(NULL), -EINVAL);
	expect_error(
		xbdev_parse_config(in_dir("none.json")), -ENOENT, "cannot read the configuration ");
	expect_error(xbdev_parse_config(dir), -EISDIR, "is not a regular file of at most 16 MiB");
	expect_error(xbdev_parse_config(document("{'base_devices':\n [}")), -EINVAL,
		"c.json:2:3: unexpected token near '}'");
}

static void test_calls_need_the_library(void **state)
{
	const char *path = document("{}");

	assert_int_equal(xbdev_parse_config(path), -ESHUTDOWN);
	assert_int_equal(xbdev_save_config(path), -ESHUTDOWN);
}

static void on_complete(xbdev_request_t *req, int result, void *user_arg)
{
	const char *path = user_arg;

	assert_int_equal(xbdev_parse_config(path), -EDEADLK);
	assert_int_equal(xbdev_save_config(path), -EDEADLK);
}

static void test_callbacks_may_not_wait(void **state)
{
	char buf[BLOCK];
	xbdev_request_t *req = xbdev_request_alloc();
	char path[128];

	parse(BASE(SIZED("null", "n")));
	snprintf(path, sizeof(path), "%s", in_dir("c.json"));
	*req = (xbdev_request_t){.op_type = XBDEV_OP_READ,
		.fd = xbdev_open("n"),
		.buf = buf,
		.count = sizeof(buf),
		.user_cb = on_complete,
		.user_arg = path};
	assert_int_equal(xbdev_request_submit(req), 0);
	assert_int_equal(xbdev_request_wait(req, UINT64_MAX), 0);
	assert_int_equal(xbdev_request_free(req), 0);
}

/* ---- changing ---- */

static void test_a_second_document_makes_the_difference(void **state)
{
	char uuid[37];
	int fd;

	make_file("f", MIB, 'a');
	must(xbdev_config_malloc(1, 512, "mine"));
	parse(BASE(FILE_DEV("f", "") "," SIZED("null", "n") "," SIZED("null", "old") "," DELAY(
		"d", "n")));
	fd = xbdev_open("d");
	memcpy(uuid, info_of("d").uuid, sizeof(uuid));
	parse(BASE(FILE_DEV("f", ", 'size': '3MiB'") "," DEV(
		"null", "n", ", 'size': '2MiB'") "," DEV("delay", "d",
		", 'base': 'n', 'avg_read_latency_us': 100") "," SIZED("malloc", "new")));
	assert_string_equal(names(), "mine f n d new");
	assert_int_equal(info_of("f").size_bytes, 3 * MIB);
	assert_int_equal(info_of("n").size_bytes, 2 * MIB);
	assert_int_equal(info_of("d").size_bytes, 2 * MIB);
	assert_string_equal(info_of("d").uuid, uuid);
	assert_int_equal(xbdev_read(fd, &(char[BLOCK]){0}, BLOCK, MIB), BLOCK);
	assert_int_equal(first_byte("f"), 'a');
}

static void test_what_is_open_neither_goes_nor_is_made_again(void **state)
{
	int fd;

	parse(BASE(FILE_DEV("f", ", 'size': '1MiB'") "," SIZED("null", "n") "," DELAY("d", "n")));
	fd = xbdev_open_with("d", XBDEV_OPEN_READ);
	expect_error(
		xbdev_parse_config(document(BASE(SIZED("null", "n") "," SIZED("null", "more")))),
		-EBUSY,
		"c.json:1:1: 'd' is not in the document any more and cannot go: it is open; close "
		"it first");
	/* What is below cannot be made again either. */
	expect_error(xbdev_parse_config(document(BASE(DEV("null", "n",
			     ", 'size': '1MiB', 'block_size': 4096") "," DELAY("d", "n")))),
		-EBUSY,
		"base_devices[1].params.base: 'd' cannot be changed in this while it is in "
		"use: it is open; close it first");
	assert_string_equal(names(), "f n d");
	assert_int_equal(info_of("n").block_size, 512);
	assert_int_equal(xbdev_read(fd, &(char[BLOCK]){0}, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_close(fd), 0);
}

static void test_what_nobody_has_open_is_made_again(void **state)
{
	char uuid[37];

	parse(BASE(SIZED("null", "n") "," DELAY("d", "n") "," DELAY("e", "d") "," SIZED(
		"null", "other")));
	memcpy(uuid, info_of("e").uuid, sizeof(uuid));
	parse(BASE(SIZED("null", "other") "," DELAY("e", "d") "," DEV(
		"null", "n", ", 'size': '1MiB', 'block_size': 4096") "," DELAY("d", "n")));
	assert_string_equal(names(), "other n d e");
	assert_int_equal(info_of("e").block_size, 4096);
	assert_string_equal(info_of("e").uuid, uuid);
	/* Another driver by the same name. */
	make_file("d", MIB, 'a');
	parse(BASE(SIZED("null", "other") "," FILE_DEV("d", "")));
	assert_string_equal(names(), "other d");
	assert_int_equal(first_byte("d"), 'a');
}

static void test_the_new_may_need_what_the_old_had(void **state)
{
	parse(BASE(FILE_DEV("f", ", 'size': '1MiB'") "," SIZED("malloc", "m") "," DELAY("d", "m")));
	write_block("d", 'm');
	parse(BASE(DEV("aio", "g", ", 'filename': '@/f'") "," SIZED("malloc", "m") "," DELAY(
		"e", "m")));
	assert_string_equal(names(), "m g e");
	assert_int_equal(first_byte("e"), 'm');
}

static void test_memory_is_not_lost_by_a_change(void **state)
{
	parse(BASE(SIZED("malloc", "m") "," SIZED("malloc", "gone")));
	write_block("m", 'm');
	write_block("gone", 'g');
	expect_error(xbdev_parse_config(document(BASE(
			     DEV("malloc", "m", ", 'size': '2MiB'") "," SIZED("malloc", "gone")))),
		-EBUSY,
		"base_devices[0].params.size: 'm' cannot be changed in this while it is "
		"there, and its content would be lost if it were made again");
	expect_error(xbdev_parse_config(
			     document(BASE(SIZED("malloc", "m") "," FILE_DEV("missing", "")))),
		-ENOENT, "base_devices[1]: making device 'missing'");
	assert_int_equal(first_byte("m"), 'm');
	assert_int_equal(first_byte("gone"), 'g');
}

static void test_what_the_program_made_is_its_own(void **state)
{
	int fd;

	must(xbdev_config_null(1, 512, "mine"));
	must(xbdev_config_malloc(1, 512, "base"));
	expect_error(xbdev_parse_config(document(
			     BASE(DEV("null", "mine", ", 'size': '1MiB', 'block_size': 4096")))),
		-EEXIST, "base_devices[0].params.block_size: 'mine' is there already");
	expect_error(xbdev_parse_config(document(BASE(SIZED("malloc", "mine")))), -EEXIST,
		"base_devices[0].method: 'mine' is there already");
	/* The same is fine, and what can be changed is; but it stays the program's. */
	parse(BASE(DEV("null", "mine", ", 'size': '2MiB'") "," DELAY("d", "base")));
	assert_int_equal(info_of("mine").size_bytes, 2 * MIB);
	must(xbdev_config_device("{\"driver\": \"delay\", \"name\": \"top\", \"base\": \"d\"}"));
	expect_error(xbdev_parse_config(document("{}")), -EBUSY,
		"'d' is to go, for it is not in the document any more, but 'top' stands on it, "
		"which the program made; remove that first");
	must(xbdev_config_remove("top"));
	must(xbdev_config_device(
		"{\"driver\": \"delay\", \"name\": \"other\", \"base\": \"mine\"}"));
	expect_error(xbdev_parse_config(document(BASE(DELAY("d", "base") "," DELAY("x", "mine")))),
		-EBUSY, "base_devices[1].params.base: \"mine\" is not accepted: 'other' uses it");
	fd = xbdev_open("base");
	assert_int_equal(fd, -EBUSY);
	parse("{}");
	assert_string_equal(names(), "mine base other");
}

static void test_what_went_by_other_ways_is_made_again(void **state)
{
	parse(BASE(SIZED("null", "a") "," SIZED("null", "b")));
	must(xbdev_config_remove("a"));
	must(xbdev_config_remove("b"));
	must(xbdev_config_null(1, 512, "b")); /* another one, the program's */
	parse(BASE(SIZED("null", "a") "," SIZED("null", "b")));
	assert_string_equal(names(), "b a");
	parse("{}");
	assert_string_equal(names(), "b");
}

static void test_uuids_may_stand_for_names(void **state)
{
#define U "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	char text[512];

	must(xbdev_config_null(1, 512, "mine"));
	parse(BASE(DELAY("d", U) "," DEV("null", "n", ", 'size': '1MiB', 'uuid': '" U "'")));
	assert_string_equal(names(), "mine n d");
	snprintf(text, sizeof(text), BASE(DELAY("e", "%s")), info_of("mine").uuid);
	parse(text);
	assert_string_equal(names(), "mine e");
	parse(text);
	expect_error(xbdev_parse_config(document(
			     BASE(DEV("null", "n", ", 'size': '1MiB', 'uuid': '" U "'") "," DEV(
				     "null", "o", ", 'size': '1MiB', 'uuid': '" U "'")))),
		-EINVAL, "base_devices[1].params.uuid: \"" U "\" is not accepted");
	snprintf(text, sizeof(text), BASE(DEV("null", "n", ", 'size': '1MiB', 'uuid': '%s'")),
		info_of("mine").uuid);
	expect_error(xbdev_parse_config(document(text)), -EEXIST, "'mine' has it, which is there");
	assert_string_equal(names(), "mine e");
}

/* ---- undoing ---- */

static void test_failure_takes_everything_back(void **state)
{
	char f_uuid[37], d_uuid[37];
	const char *path;

	make_file("f", MIB, 'a');
	make_file("old", MIB, 'o');
	parse(BASE(FILE_DEV("f", "") "," FILE_DEV("old", "") "," SIZED("null", "n") "," DELAY(
		"d", "old") "," SIZED("malloc", "m")));
	write_block("m", 'm');
	memcpy(f_uuid, info_of("old").uuid, sizeof(f_uuid));
	memcpy(d_uuid, info_of("d").uuid, sizeof(d_uuid));
	/* "new" is made, "old" with "d" and "m" go, and the last one cannot be. */
	path = document(
		BASE(FILE_DEV("new", ", 'size': '1MiB'") "," FILE_DEV("f", "") "," DEV("null", "n",
			", 'size': '2MiB'") "," DELAY("e", "new") "," FILE_DEV("missing", "")));
	expect_error(xbdev_parse_config(path), -ENOENT, "base_devices[4]: making device 'missing'");
	assert_int_equal(file_size("new"), -1);
	assert_int_equal(info_of("n").size_bytes, MIB);
	assert_string_equal(info_of("old").uuid, f_uuid);
	assert_string_equal(info_of("d").uuid, d_uuid);
	assert_int_equal(first_byte("d"), 'o');
	assert_int_equal(first_byte("m"), 'm');
	assert_string_equal(names(), "f n m old d");
	/* Nothing has been forgotten either: what was of the configuration still is. */
	parse("{}");
	assert_string_equal(names(), "");
}

static void test_a_file_that_was_there_stays(void **state)
{
	int fd = open(in_dir("empty"), O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
	make_file("full", MIB, 'a');
	expect_error(
		xbdev_parse_config(document(BASE(FILE_DEV("empty", ", 'size': '1MiB'") "," FILE_DEV(
			"full", ", 'size': '2MiB'") "," FILE_DEV("missing", "")))),
		-ENOENT, "making device 'missing'");
	assert_int_equal(file_size("empty"), MIB);
	assert_int_equal(file_size("full"), 2 * MIB);
	/* And one that cannot be made as it should leaves nothing. */
	expect_error(xbdev_parse_config(
			     document(BASE(FILE_DEV("huge", ", 'size': 4611686018427383808")))),
		-EFBIG, "making device 'huge': growing ");
	assert_int_equal(file_size("huge"), -1);
}

static void test_a_file_that_has_grown_is_named(void **state)
{
	make_file("f", MIB, 'a');
	make_file("g", MIB, 'b');
	parse(BASE(FILE_DEV("f", "") "," FILE_DEV("g", "") "," SIZED("null", "n")));
	expect_error(
		xbdev_parse_config(document(BASE(DEV("null", "n", ", 'size': '2MiB'") "," FILE_DEV(
			"f", ", 'size': '2MiB'") "," FILE_DEV("g",
			", 'size': 4611686018427383808")))),
		-EFBIG,
		"; and changing 'f' cannot be undone: device 'f' has 2097152 bytes; "
		"shrinking it to 1048576 would lose data");
	assert_int_equal(info_of("n").size_bytes, MIB);
	assert_int_equal(info_of("f").size_bytes, 2 * MIB);
	assert_int_equal(info_of("g").size_bytes, MIB);
}

/* ---- saving ---- */

#define STACK                                                                                      \
	BASE(FILE_DEV("f", ", 'size': '2MiB', 'block_size': 4096") "," FILE_DEV("r",               \
		", 'read_only': true, 'direct': false") "," SIZED("malloc", "m") "," DEV("delay",  \
		"d",                                                                               \
		", 'base': 'f', 'avg_read_latency_us': 7, 'p99_write_latency_us': 9,"              \
		" 'avg_write_latency_us': 8") "," DEV("error", "e",                                \
		", 'base': 'd'") "," DEV("null", "n", ", 'size': '1MiB', 'zero_reads': false"))

static char *read_whole(const char *path)
{
	char *text = calloc(1, 65536);
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	return text;
}

static void test_saved_and_parsed_changes_nothing(void **state)
{
	xbdev_info_t before[16], after[16];
	char *first, *second;
	int fd, count;

	make_file("r", MIB, 'r');
	make_file("mine", MIB, 'x');
	must(xbdev_config_aio(in_dir("mine"), "mine"));
	parse(STACK);
	fd = xbdev_open("e");
	assert_true(fd >= 0);
	must(xbdev_save_config(in_dir("s.json")));
	first = read_whole(in_dir("s.json"));
	count = xbdev_list(before, 16);
	must(xbdev_parse_config(in_dir("s.json")));
	must(xbdev_open_from_json(in_dir("s.json")));
	assert_int_equal(xbdev_read(fd, &(char[BLOCK]){0}, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_list(after, 16), count);
	for (int i = 0; i < count; i++) {
		assert_same_device(&after[i], &before[i]);
	}
	must(xbdev_save_config(in_dir("s.json")));
	second = read_whole(in_dir("s.json"));
	assert_string_equal(first, second);
	/* The program's stays the program's; the rest still is of the configuration. */
	assert_int_equal(xbdev_close(fd), 0);
	parse("{}");
	assert_string_equal(names(), "mine");
	free(first);
	free(second);
}

/* A process that begins with what another has saved. */
static void begin_again(const char *file, const xbdev_info_t *expected, int count)
{
	xbdev_info_t again;

	must(xbdev_fini());
	must(start());
	must(xbdev_open_from_json(in_dir(file)));
	assert_int_equal(xbdev_list(NULL, 0), count);
	for (int i = 0; i < count; i++) {
		again = info_of(expected[i].name);
		assert_same_device(&again, &expected[i]);
	}
	must(xbdev_parse_config(in_dir(file)));
}

static void test_saved_makes_the_same_again(void **state)
{
	xbdev_info_t infos[16];
	char *first, *second;
	int count;

	make_file("r", MIB, 'r');
	parse(STACK);
	must(xbdev_config_malloc(2, 4096, "mine"));
	count = xbdev_list(infos, 16);
	must(xbdev_save_config(in_dir("s.json")));
	begin_again("s.json", infos, count);
	must(xbdev_save_config(in_dir("t.json")));
	begin_again("t.json", infos, count);
	must(xbdev_save_config(in_dir("u.json")));
	first = read_whole(in_dir("t.json"));
	second = read_whole(in_dir("u.json"));
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static int count_in_dir(void)
{
	char command[160], text[16] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "ls -A %s | wc -l", dir);
	pipe = popen(command, "r");
	assert_non_null(fgets(text, sizeof(text), pipe));
	pclose(pipe);
	return atoi(text);
}

static void test_save_keeps_links_and_modes(void **state)
{
	struct stat st;
	char *text;

	parse(BASE(SIZED("null", "n")));
	must(xbdev_save_config(in_dir("s.json")));
	assert_int_equal(stat(in_dir("s.json"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(chmod(in_dir("s.json"), 0666), 0);
	assert_int_equal(symlink("s.json", in_dir("link")), 0);
	must(xbdev_save_config(in_dir("link")));
	assert_int_equal(lstat(in_dir("link"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(in_dir("s.json"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	text = read_whole(in_dir("s.json"));
	assert_non_null(strstr(text, "\"base_devices\""));
	free(text);
	assert_int_equal(count_in_dir(), 3); /* c.json, s.json, link */
}

static void test_save_writes_over_files_only(void **state)
{
	struct stat st;

	parse(BASE(SIZED("null", "n")));
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(symlink("nowhere", in_dir("broken")), 0);
	expect_error(xbdev_save_config(dir), -EINVAL, "it is not a file");
	expect_error(xbdev_save_config("/dev/null"), -EINVAL, "it is not a file");
	expect_error(xbdev_save_config(in_dir("fifo")), -EINVAL, "it is not a file");
	expect_error(xbdev_save_config(in_dir("broken")), -EINVAL, "it is not a file");
	expect_error(xbdev_save_config(in_dir("no/where.json")), -ENOENT, "No such file");
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(count_in_dir(), 3); /* c.json, fifo, broken */
}

/* A file cannot be as large as the document: the old one stays. */
static void test_save_that_fails_leaves_the_old_file(void **state)
{
	struct rlimit limit, tight;
	char *before, *after;
	void (*old)(int) = signal(SIGXFSZ, SIG_IGN);

	parse(BASE(SIZED("null", "n")));
	must(xbdev_save_config(in_dir("s.json")));
	before = read_whole(in_dir("s.json"));
	parse(BASE(SIZED("null", "n") "," SIZED("null", "o")));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	tight = limit;
	tight.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	expect_error(xbdev_save_config(in_dir("s.json")), -EFBIG, "cannot write the configuration");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, old);
	after = read_whole(in_dir("s.json"));
	assert_string_equal(before, after);
	assert_int_equal(count_in_dir(), 2); /* c.json, s.json */
	free(before);
	free(after);
}

/* In a process and a mount namespace of its own. 0: good, 77: it cannot be done here. */
static int save_on_full_disk(void)
{
	char before[4096] = "", after[4096] = "", filler[65536] = "";
	FILE *file;
	int fd, rc;

	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		mount("none", dir, "tmpfs", 0, "size=64k") != 0) {
		return 77;
	}
	if (xbdev_init() != 0 || xbdev_config_null(1, 512, "n") != 0 ||
		xbdev_save_config(in_dir("s.json")) != 0) {
		return 1;
	}
	file = fopen(in_dir("s.json"), "r");
	fread(before, 1, sizeof(before) - 1, file);
	fclose(file);
	fd = open(in_dir("filler"), O_CREAT | O_WRONLY, 0600);
	while (write(fd, filler, 4096) == 4096) {
	}
	close(fd);
	if (xbdev_config_null(1, 512, "o") != 0) {
		return 2;
	}
	rc = xbdev_save_config(in_dir("s.json"));
	file = fopen(in_dir("s.json"), "r");
	fread(after, 1, sizeof(after) - 1, file);
	fclose(file);
	if (rc != -ENOSPC || strcmp(before, after) != 0 || before[0] == '\0' ||
		count_in_dir() != 2) {
		return 3;
	}
	unlink(in_dir("filler"));
	return xbdev_save_config(in_dir("s.json")) == 0 && xbdev_fini() == 0 ? 0 : 4;
}

static void test_save_on_a_full_disk_leaves_the_old_file(void **state)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		_exit(save_on_full_disk());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("cannot mount a file system of its own\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Saves more and more devices, until it is killed. */
static void save_for_ever(void)
{
	char name[16];

	if (xbdev_init() != 0) {
		_exit(1);
	}
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		if (xbdev_config_null(1, 512, name) != 0 ||
			xbdev_save_config(in_dir("s.json")) != 0) {
			_exit(2);
		}
	}
	_exit(3);
}

static int load_saved(void)
{
	int count;

	if (xbdev_init() != 0 || xbdev_open_from_json(in_dir("s.json")) != 0) {
		fprintf(stderr, "%s\n", xbdev_last_error());
		return 1;
	}
	count = xbdev_list(NULL, 0);
	return count > 0 && xbdev_fini() == 0 ? 0 : 2;
}

/* Whenever it is killed, the file is a whole one: the old or the new. */
static void test_save_that_is_killed_leaves_a_whole_file(void **state)
{
	int status;
	pid_t pid;

	fflush(NULL);
	for (useconds_t round = 0; round < 20; round++) {
		pid = fork();
		if (pid == 0) {
			save_for_ever();
		}
		/* The first save of the first round is waited for, so that there is a file. */
		for (unsigned i = 0; round == 0 && i < 60000 && file_size("s.json") < 0; i++) {
			usleep(1000);
		}
		usleep(5000 + 1700 * round);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		pid = fork();
		if (pid == 0) {
			_exit(load_saved());
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	empty_dir();
}

/* ---- threads ---- */

#define NR_THREADS 4u
#define NR_ROUNDS  25u

struct worker {
	pthread_t thread;
	unsigned index;
	unsigned nr_wrong;
};

/* Each parses one of two documents or saves; whatever the order, there is one of the two. */
static void *work(void *arg)
{
	struct worker *worker = arg;
	char path[128];

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		int rc;

		snprintf(path, sizeof(path), "%s/%s.json", dir,
			worker->index == 0 ? "s"
			: i % 2 == 0       ? "a"
					   : "b");
		rc = worker->index == 0 ? xbdev_save_config(path) : xbdev_parse_config(path);
		worker->nr_wrong += rc != 0;
	}
	return NULL;
}

static void test_threads_take_turns(void **state)
{
	struct worker workers[NR_THREADS];

	document(BASE(SIZED("null", "n") "," DELAY("d", "n") "," FILE_DEV("f", ", 'size': 4096")));
	assert_int_equal(rename(in_dir("c.json"), in_dir("a.json")), 0);
	document(BASE(SIZED("null", "n") "," DELAY("e", "n") "," DEV(
		"aio", "g", ", 'filename': '@/f', 'size': 4096")));
	assert_int_equal(rename(in_dir("c.json"), in_dir("b.json")), 0);
	for (unsigned i = 0; i < NR_THREADS; i++) {
		workers[i] = (struct worker){.index = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].nr_wrong, 0);
	}
	must(xbdev_parse_config(in_dir("s.json")));
	assert_int_equal(xbdev_list(NULL, 0), 3);
	parse("{}");
	assert_string_equal(names(), "");
}

#define threads_test(f)  cmocka_unit_test_setup_teardown(f, start_threads, stop)
#define embedded_test(f) cmocka_unit_test_setup_teardown(f, start_embedded, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First, while this process has no threads. */
		cmocka_unit_test(test_save_on_a_full_disk_leaves_the_old_file),
		cmocka_unit_test(test_save_that_is_killed_leaves_a_whole_file),
		cmocka_unit_test(test_calls_need_the_library),
		threads_test(test_parse_makes_what_the_document_says),
		threads_test(test_an_empty_document_takes_all_away),
		threads_test(test_files_are_made_and_never_written_over),
		threads_test(test_open_makes_no_file_and_none_larger),
		threads_test(test_open_and_create_leave_alone_what_is_there),
		threads_test(test_what_is_wrong_touches_nothing),
		threads_test(test_the_printed_document_is_refused_by_name),
		threads_test(test_calls_say_what_is_wrong_with_them),
		threads_test(test_callbacks_may_not_wait),
		threads_test(test_a_second_document_makes_the_difference),
		threads_test(test_what_is_open_neither_goes_nor_is_made_again),
		threads_test(test_what_nobody_has_open_is_made_again),
		threads_test(test_the_new_may_need_what_the_old_had),
		threads_test(test_memory_is_not_lost_by_a_change),
		threads_test(test_what_the_program_made_is_its_own),
		threads_test(test_what_went_by_other_ways_is_made_again),
		threads_test(test_uuids_may_stand_for_names),
		threads_test(test_failure_takes_everything_back),
		threads_test(test_a_file_that_was_there_stays),
		threads_test(test_a_file_that_has_grown_is_named),
		threads_test(test_saved_and_parsed_changes_nothing),
		threads_test(test_saved_makes_the_same_again),
		threads_test(test_save_keeps_links_and_modes),
		threads_test(test_save_writes_over_files_only),
		threads_test(test_save_that_fails_leaves_the_old_file),
		threads_test(test_threads_take_turns),
		embedded_test(test_parse_makes_what_the_document_says),
		embedded_test(test_a_second_document_makes_the_difference),
		embedded_test(test_what_nobody_has_open_is_made_again),
		embedded_test(test_failure_takes_everything_back),
		embedded_test(test_saved_and_parsed_changes_nothing),
		embedded_test(test_saved_makes_the_same_again),
	};

	return cmocka_run_group_tests_name("xbdev_json", tests, make_dir, remove_dir);
}
