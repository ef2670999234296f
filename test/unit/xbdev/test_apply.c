/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Documents carried out when things fail: whichever allocation or call of the kernel is refused,
 * what there was is there again, or the sentence says what is not. And the hand-over to sections
 * other than that of base devices, to one of this test which labels its members: it is there to see
 * in which order it is called, how what is on the media is told from what is blank, and what is
 * taken back.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "lib/xbdev/config/configuration.h"
#include "lib/xbdev/config/devices.h"
#include "test/unit/util/fail.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xsand/json_fail.h"

/* ---- the world ---- */

static struct world {
	struct harness h;
	struct xbdev_configuration config;
	struct xbdev_carry carry;
	bool is_done;
	struct xu_error err;
} world;

static struct xr_platform platform;
static atomic_uint countdown; /* of calls that may fail; 0: none does */
static atomic_bool has_failed;

static bool must_fail(void)
{
	if (atomic_load(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1) {
		return false;
	}
	atomic_store(&has_failed, true);
	return true;
}

static int fail_file_open(const struct xr_platform *p, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err)
{
	return must_fail() ? xu_error_set(err, -EIO, "opening %s: refused by the test", path)
			   : xr_platform_linux()->file_open(p, path, opts, ret_info, err);
}

static int fail_file_resize(const struct xr_platform *p, int fd, uint64_t size_bytes)
{
	return must_fail() ? -EIO : xr_platform_linux()->file_resize(p, fd, size_bytes);
}

static int fail_file_sync(const struct xr_platform *p, int fd)
{
	return must_fail() ? -EIO : xr_platform_linux()->file_sync(p, fd);
}

static void world_start(const struct xbdev_section *const *sections)
{
	platform = *xr_platform_linux();
	platform.file_open = fail_file_open;
	platform.file_resize = fail_file_resize;
	platform.file_sync = fail_file_sync;
	memset(&world, 0, sizeof(world));
	world.config.sections = sections;
	harness_start_opts(
		&world.h, &(struct xbdev_ctx_opts){.nr_reactors = 2, .platform = &platform}, 2);
}

static void world_stop(void)
{
	xbdev_configuration_fini(&world.config);
	harness_stop(&world.h);
}

static const char *file_path(const char *name)
{
	static char paths[4][512];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", harness_dir(), name);
	return path;
}

static long long file_size(const char *name)
{
	struct stat st;

	return stat(file_path(name), &st) == 0 ? (long long)st.st_size : -1;
}

static void make_file(const char *name, off_t size)
{
	int fd = open(file_path(name), O_CREAT | O_TRUNC | O_WRONLY, 0600);

	assert_true(fd >= 0 && ftruncate(fd, size) == 0);
	close(fd);
}

/* ' stands for ", @ for the directory. */
static struct xbdev_text *text_of(const char *text)
{
	struct xbdev_text *parsed = NULL;
	struct xu_error err = {0};
	char bytes[4096];
	size_t len = 0;

	for (; *text != '\0'; text++) {
		assert_true(len < sizeof(bytes) - 512);
		if (*text == '@') {
			len += (size_t)sprintf(bytes + len, "%s", harness_dir());
		} else {
			bytes[len++] = *text == '\'' ? '"' : *text;
		}
	}
	if (xbdev_text_parse("c.json", bytes, len, &parsed, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return parsed;
}

static void on_done(struct xbdev_carry *carry, const struct xu_error *err)
{
	MUST(!world.is_done);
	world.is_done = true;
	world.err = *err;
}

static int carry_out(enum xbdev_config_mode mode, struct xbdev_text *text)
{
	world.is_done = false;
	xbdev_configuration_carry_out(
		&world.config, &world.carry, world.h.ctx, mode, text, on_done);
	harness_wait(&world.h, world.is_done);
	MUST((world.err.code == 0) == (world.err.text[0] == '\0'));
	return world.err.code;
}

static int parse(const char *text)
{
	struct xbdev_text *parsed = text_of(text);
	int rc = carry_out(XBDEV_CONFIG_APPLY, parsed);

	xbdev_text_free(parsed);
	return rc;
}

static void must_parse(const char *text)
{
	if (parse(text) != 0) {
		fail_msg("%s", world.err.text);
	}
}

/* What there is, whatever the order of its creation: entries by their names. */
static json_t *what_there_is(void)
{
	json_t *root, *result = json_object(), *list, *entry;
	struct xu_error err = {0};
	const char *key;
	char *text = NULL;
	size_t i;

	if (xbdev_configuration_dump(&world.config, world.h.ctx, &text, &err) != 0) {
		fail_msg("%s", err.text);
	}
	root = json_loads(text, 0, NULL);
	assert_non_null(root);
	json_object_foreach (root, key, list) {
		json_array_foreach (list, i, entry) {
			json_t *members = json_object_get(entry, "params");

			assert_int_equal(
				json_object_set(result,
					json_string_value(json_object_get(members, "name")), entry),
				0);
		}
	}
	json_decref(root);
	free(text);
	return result;
}

static void show_difference(const json_t *got, const json_t *expected)
{
	char *a = json_dumps(got, JSON_SORT_KEYS | JSON_INDENT(1));
	char *b = json_dumps(expected, JSON_SORT_KEYS | JSON_INDENT(1));

	fail_msg("%s\ngot\n%s\nexpected\n%s", world.err.text, a, b);
}

#define BASE(entries)           "{'base_devices': [" entries "]}"
#define DEV(method, name, more) "{'method': '" method "', 'params': {'name': '" name "'" more "}}"
#define SIZED(method, name)     DEV(method, name, ", 'size': '1MiB'")
#define FILE_DEV(name, more)    DEV("aio", name, ", 'filename': '@/" name "'" more)
#define DELAY(name, base)       DEV("delay", name, ", 'base': '" base "'")

/* From one to the other something of each kind is to be done: a file and what stands on it go, a
 * device is made again with what stands on it, a file is made and stood upon, a latency and two
 * sizes change, and memory goes. */
static const char before[] = BASE(FILE_DEV("keep", "") "," FILE_DEV("old", "") "," DELAY(
	"d", "old") "," DEV("null", "n", ", 'size': '1MiB'") "," DELAY("e", "n") "," DELAY("s",
	"keep") "," SIZED("null", "z") "," SIZED("malloc", "m"));
static const char after[] = BASE(FILE_DEV("keep", ", 'size': '2MiB'") "," FILE_DEV(
	"new", ", 'size': '1MiB'") "," DELAY("d", "new") "," DEV("null", "n",
	", 'size': '1MiB', 'block_size': 4096") "," DELAY("e", "n") "," DEV("delay", "s",
	", 'base': 'keep', 'avg_read_latency_us': 5") "," DEV("null", "z", ", 'size': '2MiB'"));

static json_t *present; /* what there is, as long as everything fails */

static void sweep_begin(void)
{
	make_file("keep", 1 << 20);
	make_file("old", 1 << 20);
	unlink(file_path("new"));
	world_start(NULL);
	must_parse(before);
	present = what_there_is();
}

static void sweep_end(void)
{
	json_decref(present);
	world_stop();
}

/* It has failed, and all is as it was. */
static void check_unchanged(void)
{
	json_t *got = what_there_is();

	if (!json_equal(got, present)) {
		show_difference(got, present);
	}
	json_decref(got);
	assert_int_equal(file_size("keep"), 1 << 20);
	assert_int_equal(file_size("new"), -1);
}

/* The document can be carried out, whatever has happened before. */
static void check_after(void)
{
	must_parse(after);
	assert_int_equal(file_size("keep"), 2 << 20);
	assert_int_equal(file_size("new"), 1 << 20);
	assert_null(xbdev_device_find(world.h.ctx, "old"));
	assert_null(xbdev_device_find(world.h.ctx, "m"));
}

static bool is_left(void)
{
	return strstr(world.err.text, "cannot be undone") != NULL;
}

/* Tries again and again, until nothing is refused any more. Returns how often it failed. */
static unsigned sweep(void (*arm)(unsigned n), bool (*disarm)(void), int code, bool may_be_left,
	unsigned *ret_nr_left)
{
	unsigned n = 0, nr_failed = 0;
	struct xbdev_text *text;
	bool was_refused;
	int rc;

	*ret_nr_left = 0;
	sweep_begin();
	text = text_of(after);
	do {
		arm(++n);
		rc = carry_out(XBDEV_CONFIG_APPLY, text);
		was_refused = disarm();
		if (rc != 0 && (!was_refused || rc != code || (is_left() && !may_be_left))) {
			fail_msg("%u: %s", n, world.err.text);
		}
		nr_failed += rc != 0;
		if (rc != 0 && !is_left()) {
			check_unchanged();
			continue;
		}
		/* What is left, or done, is of no use for the next round. */
		*ret_nr_left += rc != 0;
		check_after();
		sweep_end();
		sweep_begin();
	} while (was_refused);
	xbdev_text_free(text);
	check_after();
	sweep_end();
	return nr_failed;
}

/* ---- refused allocations ---- */

static void test_apply_survives_lack_of_memory(void **state)
{
	unsigned nr_left;

	assert_true(sweep(fail_arm, fail_disarm, -ENOMEM, false, &nr_left) > 50);
}

static void test_apply_survives_lack_of_memory_for_json(void **state)
{
	unsigned nr_left;

	assert_true(sweep(json_fail_arm, json_fail_disarm, -ENOMEM, false, &nr_left) > 500);
}

/* Without any memory not everything can be taken back, and that is told. */
static void test_apply_tells_what_it_cannot_take_back(void **state)
{
	unsigned nr_left;

	assert_true(sweep(fail_arm_from, fail_disarm, -ENOMEM, true, &nr_left) > 50);
	assert_true(nr_left > 5);
}

/* ---- refused calls of the kernel ---- */

static void arm_calls(unsigned n)
{
	atomic_store(&has_failed, false);
	atomic_store(&countdown, n);
}

static bool disarm_calls(void)
{
	atomic_store(&countdown, 0);
	/* A file that has grown, and could not be made durable so, stays as it is. */
	if (world.err.code == -EIO && file_size("keep") == 2 << 20) {
		assert_non_null(strstr(world.err.text, "changing device 'keep': resizing "));
		assert_int_equal(truncate(file_path("keep"), 1 << 20), 0);
	}
	return atomic_load(&has_failed);
}

static void test_apply_survives_errors_of_the_kernel(void **state)
{
	unsigned nr_left;

	/* The new file: opened, its size made durable; the larger one: resized, made durable. */
	assert_int_equal(sweep(arm_calls, disarm_calls, -EIO, false, &nr_left), 4);
}

/* ---- a section of this test ---- */

#define MAX_ARRAYS  8u
#define MAX_MEMBERS 4u
#define MAX_LABELS  16u

struct array {
	char name[32];
	char member_names[MAX_MEMBERS][32];
	struct xbdev_desc *members[MAX_MEMBERS];
	size_t nr_members;
};

/* What is on the media: labels by the path of a file. It outlives a context. */
static struct label {
	char path[512], name[32];
} labels[MAX_LABELS];
static struct array arrays[MAX_ARRAYS];
static struct xbdev_desc *opened; /* what an array named "opener" has opened meanwhile: "m" */
static char calls[1024];          /* what has been asked for, in order */

struct array_job {
	struct xbdev_job *job;
	struct xr_msg msg;
	struct xu_error err;
	bool is_created;
};

static struct array *find_array(const char *name)
{
	for (size_t i = 0; i < MAX_ARRAYS; i++) {
		if (strcmp(arrays[i].name, name) == 0) {
			return &arrays[i];
		}
	}
	return NULL;
}

static const char *path_of_member(const char *member)
{
	struct xbdev_device *dev = xbdev_device_find(world.h.ctx, member);
	static char path[512];
	json_t *config = dev != NULL ? dev->ops->config(dev) : NULL;
	const char *text = json_string_value(json_object_get(config, "filename"));

	snprintf(path, sizeof(path), "%s", text != NULL ? text : member);
	json_decref(config);
	return path;
}

static struct label *label_of(const char *member, bool make)
{
	const char *path = path_of_member(member);
	struct label *label = labels;

	while (label->path[0] != '\0' && strcmp(label->path, path) != 0) {
		label++;
		assert_true(label < labels + MAX_LABELS);
	}
	if (make) {
		snprintf(label->path, sizeof(label->path), "%s", path);
	}
	return label;
}

static void stop_array(struct array *array)
{
	for (size_t i = 0; i < array->nr_members; i++) {
		xbdev_desc_close(array->members[i]);
	}
	memset(array, 0, sizeof(*array));
}

/* Claims the members, and says how many of them have which label. */
static int start_array(struct array *array, const char *name, json_t *members, size_t *ret_mine,
	size_t *ret_foreign, struct xu_error *err)
{
	json_t *member;
	size_t i;

	*ret_mine = *ret_foreign = 0;
	snprintf(array->name, sizeof(array->name), "%s", name);
	json_array_foreach (members, i, member) {
		const struct label *label;
		int rc = xbdev_desc_open(world.h.ctx, json_string_value(member), true, NULL, NULL,
			&array->members[i], err);

		if (rc == 0) {
			rc = xbdev_desc_claim(array->members[i], "array", err);
		}
		if (rc != 0) {
			return rc;
		}
		snprintf(array->member_names[i], sizeof(array->member_names[i]), "%.31s",
			array->members[i]->dev->name);
		array->nr_members++;
		label = label_of(json_string_value(member), false);
		*ret_mine += strcmp(label->name, name) == 0;
		*ret_foreign += label->name[0] != '\0' && strcmp(label->name, name) != 0;
	}
	return 0;
}

static void make_array(struct array_job *aj)
{
	struct xbdev_job *job = aj->job;
	json_t *members = json_object_get(json_object_get(job->to, "params"), "base_bdevs");
	struct array *array = find_array("");
	size_t nr_mine, nr_foreign;

	if (start_array(array, job->name, members, &nr_mine, &nr_foreign, &aj->err) != 0) {
		stop_array(array);
		return;
	}
	if (nr_foreign != 0 || (nr_mine != 0 && job->mode == XBDEV_CONFIG_CREATE)) {
		xu_error_set(&aj->err, -EEXIST, "a member is labelled already");
	} else if (nr_mine == 0 && job->mode == XBDEV_CONFIG_LOAD) {
		xu_error_set(&aj->err, -ENOENT, "its members are blank");
	} else if (nr_mine == 0) {
		aj->is_created = true;
		for (size_t i = 0; i < array->nr_members; i++) {
			strcpy(label_of(array->member_names[i], true)->name, job->name);
		}
	}
	if (aj->err.code != 0) {
		stop_array(array);
	}
}

static void note_call(const char *what, const struct xbdev_job *job)
{
	size_t len = strlen(calls);

	snprintf(
		calls + len, sizeof(calls) - len, "%s%s %s", len != 0 ? ", " : "", what, job->name);
}

static void on_array_msg(struct xr_msg *msg)
{
	struct array_job *aj = xu_container_of(msg, struct array_job, msg);

	xbdev_job_done(aj->job, &aj->err);
}

/* Jobs end later, or at once when the name says so. */
static void end_array_job(struct array_job *aj)
{
	if (strchr(aj->job->name, '!') != NULL) {
		xbdev_job_done(aj->job, &aj->err);
		return;
	}
	aj->msg.fn = on_array_msg;
	xr_msg_defer(xbdev_ctx_control(world.h.ctx), &aj->msg);
}

static void array_apply(struct xbdev_job *job)
{
	struct array_job *aj = calloc(1, sizeof(*aj));

	assert_non_null(aj);
	aj->job = job;
	job->state = aj;
	if (job->action == XBDEV_ACTION_MAKE) {
		make_array(aj);
		if (strcmp(job->name, "opener") == 0) {
			MUST(xbdev_desc_open(job->ctx, "m", true, NULL, NULL, &opened, NULL) == 0);
			MUST(xbdev_desc_claim(opened, "this test", NULL) == 0);
		}
		note_call(aj->err.code != 0 ? "refuse" : aj->is_created ? "create" : "load", job);
	} else {
		note_call("stop", job);
		stop_array(find_array(job->name));
	}
	end_array_job(aj);
}

static void array_undo(struct xbdev_job *job)
{
	struct array_job *aj = job->state;
	struct array *array = find_array(job->name);
	size_t nr_mine, nr_foreign;

	if (job->action == XBDEV_ACTION_MAKE) {
		note_call(aj->is_created ? "erase" : "stop", job);
		for (size_t i = 0; i < array->nr_members && aj->is_created; i++) {
			label_of(array->member_names[i], false)->name[0] = '\0';
		}
		stop_array(array);
	} else {
		note_call("restart", job);
		start_array(find_array(""), job->name,
			json_object_get(json_object_get(job->from, "params"), "base_bdevs"),
			&nr_mine, &nr_foreign, &aj->err);
	}
	end_array_job(aj);
}

static void array_forget(struct xbdev_job *job)
{
	free(job->state);
	job->state = NULL;
}

static int array_plan(struct xbdev_planning *planning)
{
	if (planning->wanted == NULL) {
		planning->action = XBDEV_ACTION_REMOVE;
		return 0;
	}
	planning->action = XBDEV_ACTION_MAKE;
	if (planning->now != NULL) {
		strcpy(planning->key, "base_bdevs");
		planning->action = json_equal(planning->wanted->entry, planning->now->entry)
					   ? XBDEV_ACTION_NONE
					   : XBDEV_ACTION_REMAKE;
	}
	planning->to = xbdev_config_copy(planning->wanted->entry);
	return 0;
}

static int array_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	for (size_t i = 0; i < MAX_ARRAYS; i++) {
		json_t *members = json_array();

		for (size_t m = 0; m < arrays[i].nr_members; m++) {
			json_array_append_new(members, json_string(arrays[i].member_names[m]));
		}
		if (arrays[i].nr_members != 0) {
			json_array_append_new(
				list, json_pack("{s:s, s:{s:s, s:O}}", "method", "raid1", "params",
					      "name", arrays[i].name, "base_bdevs", members));
		}
		json_decref(members);
	}
	return 0;
}

static struct xbdev_section array_section;
static const struct xbdev_section *const with_arrays[] = {
	&xbdev__section_base, &array_section, NULL};

static int start_arrays(void **state)
{
	array_section = xbdev__section_raid;
	array_section.plan = array_plan;
	array_section.apply = array_apply;
	array_section.undo = array_undo;
	array_section.forget = array_forget;
	array_section.save = array_save;
	memset(labels, 0, sizeof(labels));
	memset(arrays, 0, sizeof(arrays));
	calls[0] = '\0';
	for (const char *name = "abcd"; *name != '\0'; name++) {
		make_file((char[]){*name, '\0'}, 1 << 20);
	}
	unlink(file_path("new"));
	world_start(with_arrays);
	return 0;
}

static int stop_arrays(void **state)
{
	for (size_t i = 0; i < MAX_ARRAYS; i++) {
		stop_array(&arrays[i]);
	}
	world_stop();
	return 0;
}

/* A new process with what is on the media. */
static void begin_again(void)
{
	stop_arrays(NULL);
	world_start(with_arrays);
	calls[0] = '\0';
}

static void expect_calls(const char *expected)
{
	assert_string_equal(calls, expected);
	calls[0] = '\0';
}

static int run(enum xbdev_config_mode mode, const char *text)
{
	struct xbdev_text *parsed = text_of(text);
	int rc = carry_out(mode, parsed);

	xbdev_text_free(parsed);
	return rc;
}

#define FILES FILE_DEV("a", "") "," FILE_DEV("b", "") "," FILE_DEV("c", "")
#define ARRAY(name, members)                                                                       \
	"{'method': 'raid1', 'params': {'name': '" name "', 'base_bdevs': [" members "]}}"
#define STACK(bases, stack) "{'raid_devices': [" stack "], 'base_devices': [" bases "]}"

static void test_sections_create_load_and_stop(void **state)
{
	static const char text[] = STACK(FILES, ARRAY("r", "'a', 'b'") "," ARRAY("s!", "'c'"));

	assert_int_equal(run(XBDEV_CONFIG_LOAD, text), -ENOENT);
	assert_string_equal(world.err.text,
		"c.json:1:19: raid_devices[0]: making RAID array 'r': its members are blank");
	expect_calls("refuse r");
	assert_null(xbdev_device_next(world.h.ctx, NULL));

	assert_int_equal(run(XBDEV_CONFIG_APPLY, text), 0);
	expect_calls("create r, create s!");
	assert_int_equal(run(XBDEV_CONFIG_APPLY, text), 0);
	assert_int_equal(run(XBDEV_CONFIG_LOAD, text), 0);
	expect_calls("");
	assert_int_equal(run(XBDEV_CONFIG_APPLY, "{}"), 0);
	expect_calls("stop s!, stop r");
	assert_null(xbdev_device_next(world.h.ctx, NULL));

	begin_again();
	assert_int_equal(run(XBDEV_CONFIG_CREATE, text), -EEXIST);
	expect_calls("refuse r");
	assert_int_equal(run(XBDEV_CONFIG_LOAD, text), 0);
	expect_calls("load r, load s!");
	begin_again();
	assert_int_equal(run(XBDEV_CONFIG_APPLY, text), 0);
	expect_calls("load r, load s!");
}

static void test_sections_do_not_write_over_what_is_foreign(void **state)
{
	must_parse(STACK(FILES, ARRAY("r", "'a', 'b'")));
	begin_again();
	assert_int_equal(
		parse(STACK(FILES, ARRAY("new", "'c'") "," ARRAY("other", "'a', 'b'"))), -EEXIST);
	expect_calls("create new, refuse other, erase new");
	assert_string_equal(label_of(file_path("a"), false)->name, "r");
	assert_string_equal(label_of(file_path("c"), false)->name, "");
	assert_null(xbdev_device_next(world.h.ctx, NULL));
}

static void test_sections_take_back_what_they_created_only(void **state)
{
	json_t *expected, *got;

	must_parse(STACK(FILES, ARRAY("r", "'a'") "," ARRAY("s", "'b'")));
	must_parse(STACK(FILES, ARRAY("s", "'b'")));
	calls[0] = '\0';
	expected = what_there_is();
	/* r is there again, t is new, s is to go, and the last one fails. */
	assert_int_equal(
		parse(STACK(FILES "," FILE_DEV("new", ", 'size': '1MiB'"),
			ARRAY("r", "'a'") "," ARRAY("t", "'c', 'new'") "," ARRAY("u", "'b'"))),
		-EEXIST);
	expect_calls("stop s, load r, create t, refuse u, erase t, stop r, restart s");
	got = what_there_is();
	if (!json_equal(got, expected)) {
		show_difference(got, expected);
	}
	json_decref(got);
	json_decref(expected);
	assert_string_equal(label_of(file_path("a"), false)->name, "r");
	assert_string_equal(label_of(file_path("b"), false)->name, "s");
	assert_string_equal(label_of(file_path("c"), false)->name, "");
	assert_int_equal(file_size("new"), -1);
}

static void test_sections_go_with_what_they_stand_on(void **state)
{
	must_parse(STACK(FILES, ARRAY("r", "'a', 'b'") "," ARRAY("s", "'c'")));
	calls[0] = '\0';
	must_parse(STACK(
		FILE_DEV("a", ", 'block_size': 4096") "," FILE_DEV("b", "") "," FILE_DEV("c", ""),
		ARRAY("r", "'a', 'b'") "," ARRAY("s", "'c'")));
	expect_calls("stop r, load r");
	must_parse(
		STACK(FILES "," FILE_DEV("d", ""), ARRAY("r", "'a', 'b'") "," ARRAY("s", "'d'")));
	expect_calls("stop s, create s");
	/* What a document no longer has goes, and its members are free again. */
	must_parse(STACK(FILES "," FILE_DEV("d", "") "," DELAY("e", "d"), ARRAY("r", "'a', 'b'")));
	expect_calls("stop s");
}

/* Memory goes last, after a last look whether it may. */
static void test_what_is_opened_meanwhile_does_not_go(void **state)
{
	static const char with_memory[] =
		STACK(FILES "," SIZED("malloc", "m") "," SIZED("malloc", "n"), ARRAY("r", "'a'"));
	json_t *present_before, *got;

	must_parse(with_memory);
	present_before = what_there_is();
	calls[0] = '\0';
	assert_int_equal(parse(STACK(FILES, ARRAY("r", "'a'") "," ARRAY("opener", "'b'"))), -EBUSY);
	assert_string_equal(
		world.err.text, "c.json:1:1: removing device 'm': it is open; close it first");
	expect_calls("create opener, erase opener");
	got = what_there_is();
	if (!json_equal(got, present_before)) {
		show_difference(got, present_before);
	}
	json_decref(got);
	json_decref(present_before);
	xbdev_desc_close(opened);
	must_parse(STACK(FILES, ARRAY("r", "'a'")));
	assert_null(xbdev_device_find(world.h.ctx, "m"));
	assert_null(xbdev_device_find(world.h.ctx, "n"));
}

static void test_sections_are_saved(void **state)
{
	char *text = NULL, *again = NULL;
	struct xbdev_text *parsed = NULL;
	struct xu_error err;

	must_parse(STACK(FILES, ARRAY("r", "'a', 'b'")));
	assert_int_equal(xbdev_configuration_dump(&world.config, world.h.ctx, &text, &err), 0);
	calls[0] = '\0';
	assert_int_equal(xbdev_text_parse("s.json", text, strlen(text), &parsed, &err), 0);
	assert_int_equal(carry_out(XBDEV_CONFIG_APPLY, parsed), 0);
	expect_calls("");
	begin_again();
	assert_int_equal(carry_out(XBDEV_CONFIG_LOAD, parsed), 0);
	expect_calls("load r");
	assert_int_equal(xbdev_configuration_dump(&world.config, world.h.ctx, &again, &err), 0);
	assert_string_equal(text, again);
	xbdev_text_free(parsed);
	free(text);
	free(again);
}

#define array_test(f) cmocka_unit_test_setup_teardown(f, start_arrays, stop_arrays)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apply_survives_lack_of_memory),
		cmocka_unit_test(test_apply_survives_lack_of_memory_for_json),
		cmocka_unit_test(test_apply_tells_what_it_cannot_take_back),
		cmocka_unit_test(test_apply_survives_errors_of_the_kernel),
		array_test(test_sections_create_load_and_stop),
		array_test(test_sections_do_not_write_over_what_is_foreign),
		array_test(test_sections_take_back_what_they_created_only),
		array_test(test_sections_go_with_what_they_stand_on),
		array_test(test_what_is_opened_meanwhile_does_not_go),
		array_test(test_sections_are_saved),
	};

	return cmocka_run_group_tests_name("xbdev_apply", tests, NULL, NULL);
}
