/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved state: it comes back as it was saved; whichever system call fails, the file is the old
 * or the new one; what is damaged is refused with a sentence. The linker sends the system calls of
 * state.c through the wrappers below (see meson.build).
 */
#include "daemon/xsand/state.h"
#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "test/unit/xsand/json_fail.h"
#include "test/unit/xsand/model_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/stat.h>

/* ---- failing system calls ---- */

static atomic_int countdown; /* the call that fails; 0: none */
static atomic_bool has_failed, cut_writes;

static bool must_fail(void)
{
	if (atomic_load(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1) {
		return false;
	}
	atomic_store(&has_failed, true);
	errno = EIO;
	return true;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_close(int fd);
int __wrap_close(int fd);

static bool is_ours(const char *path)
{
	return strstr(path, "xsan-test-state") != NULL;
}

int __wrap_open64(const char *path, int flags, ...)
{
	return is_ours(path) && must_fail() ? -1 : __real_open64(path, flags, 0600);
}

int __wrap_open(const char *path, int flags, ...)
{
	return is_ours(path) && must_fail() ? -1 : __real_open64(path, flags, 0600);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	if (len > 8 && must_fail()) { /* shorter ones wake a reactor */
		return -1;
	}
	return __real_write(fd, buf, len > 100 && atomic_load(&cut_writes) ? 100 : len);
}

int __wrap_fsync(int fd)
{
	return must_fail() ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
	return must_fail() ? -1 : __real_rename(from, to);
}

int __wrap_close(int fd)
{
	int rc = __real_close(fd);

	return must_fail() ? -1 : rc;
}

/* ---- the world ---- */

static struct {
	char dir[64], state_dir[96], path[128];
	struct xr_reactor *reactor;
	struct xu_error err;
	bool is_saved;
} world;

static int set_up(void **state)
{
	struct xr_reactor_opts opts = {.cpu = -1};

	memset(&world, 0, sizeof(world));
	strcpy(world.dir, "/tmp/xsan-test-state-XXXXXX");
	assert_non_null(mkdtemp(world.dir));
	snprintf(world.state_dir, sizeof(world.state_dir), "%s/state", world.dir);
	snprintf(world.path, sizeof(world.path), "%s/state.json", world.state_dir);
	assert_int_equal(xr_reactor_new(&opts, &world.reactor, NULL), 0);
	atomic_store(&cut_writes, false);
	return 0;
}

static int tear_down(void **state)
{
	char path[160];

	xr_reactor_free(world.reactor);
	unlink(world.path);
	snprintf(path, sizeof(path), "%s.new", world.path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock", world.state_dir);
	unlink(path);
	rmdir(world.state_dir);
	rmdir(world.dir);
	return 0;
}

static struct state *open_state(void)
{
	struct state *state = NULL;
	struct xu_error err = {0};

	if (state_open(world.state_dir, &state, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return state;
}

static void on_saved(void *arg, const struct xu_error *err)
{
	world.err = *err;
	world.is_saved = true;
}

static int save(struct state *state, const json_t *file, const json_t *wanted)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + 20 * XU_NS_PER_S;

	world.is_saved = false;
	state_save(state, world.reactor, file, wanted, on_saved, NULL);
	while (!world.is_saved) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
	return world.err.code;
}

/* Opens the state as a new process would and compares. */
static void expect_saved(const json_t *file, const json_t *wanted)
{
	struct state *state = open_state();
	json_t *got_file, *got_wanted;
	struct xu_error err = {0};

	if (state_load(state, &got_file, &got_wanted, &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_models_equal(got_file, file);
	assert_models_equal(got_wanted, wanted);
	json_decref(got_file);
	json_decref(got_wanted);
	state_close(state);
}

#define N(name) "{'driver': 'null', 'name': '" name "', 'size': 1024}"
static const char small[] = "{'devices': [" N("a") "]}";
static const char full[] = "{'log': {'level': 'debug'}, 'devices': [" N("a") "," N(
	"b") ", {'driver': 'error', 'name': "
	     "'e', 'base': 'b', 'uuid': '11111111-1111-4111-8111-111111111111'}], 'nvmf': "
	     "{'transport': "
	     "{'max_queues': 7}, 'subsystems': [{'nqn': 'nqn.2026-11.x:a', 'serial_number': 'S', "
	     "'allow_any_host': true, 'hosts': ['nqn.2026-11.x:h'], 'namespaces': [" NS(
		     "3", "a") "], 'listeners': [{'traddr': '::1', 'advertise': '192.0.2.1'}]}]}}";

/* ---- tests ---- */

static void test_state_begins_empty(void **state_ptr)
{
	struct stat st;
	struct state *state = open_state();
	json_t *empty = model_new(), *file, *wanted;
	struct xu_error err;

	assert_int_equal(stat(world.state_dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(state_load(state, &file, &wanted, &err), 0);
	assert_models_equal(file, empty);
	assert_models_equal(wanted, empty);
	assert_int_equal(access(world.path, F_OK), -1);
	json_decref(file);
	json_decref(wanted);
	json_decref(empty);
	state_close(state);
}

static void test_state_comes_back_as_it_was_saved(void **state_ptr)
{
	json_t *file = model_of(small), *wanted = model_of(full);
	struct state *state = open_state();
	struct stat st;

	atomic_store(&cut_writes, true);
	assert_int_equal(save(state, file, wanted), 0);
	state_close(state);
	assert_int_equal(stat(world.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	expect_saved(file, wanted);
	json_decref(file);
	json_decref(wanted);
}

static void test_state_writes_only_what_is_new(void **state_ptr)
{
	json_t *a = model_of(small), *b = model_of(full);
	struct state *state = open_state();
	struct stat before, after;

	assert_int_equal(save(state, a, a), 0);
	assert_int_equal(stat(world.path, &before), 0);
	assert_int_equal(save(state, a, a), 0);
	assert_int_equal(stat(world.path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(save(state, a, b), 0);
	state_close(state);
	expect_saved(a, b);
	json_decref(a);
	json_decref(b);
}

static void test_state_has_one_user(void **state_ptr)
{
	struct state *state = open_state(), *second = NULL;
	struct xu_error err;

	assert_int_equal(state_open(world.state_dir, &second, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another xsand uses the state directory"));
	assert_null(second);
	state_close(state);
	state_close(open_state());
}

static void test_state_open_says_what_is_wrong(void **state_ptr)
{
	struct state *state = NULL;
	struct xu_error err;

	assert_int_equal(state_open("/no/such/place", &state, &err), -ENOENT);
	assert_string_equal(err.text,
		"cannot make the state directory /no/such/place: No such file or directory");
	assert_int_equal(state_open("/dev/null", &state, &err), -ENOTDIR);
	assert_null(state);
}

/* Whatever call fails, the file is the old or the new one, and the saver is told; after that the
 * next save works. */
static void test_state_is_old_or_new_whatever_fails(void **state_ptr)
{
	json_t *old = model_of(small), *new = model_of(full);
	int n = 0, nr_failed = 0;

	do {
		struct state *state = open_state();
		json_t *file, *wanted;
		struct xu_error err;
		int rc;

		assert_int_equal(save(state, old, old), 0);
		atomic_store(&has_failed, false);
		atomic_store(&countdown, ++n);
		rc = save(state, new, new);
		atomic_store(&countdown, 0);
		if (atomic_load(&has_failed)) {
			nr_failed++;
			/* A close of the directory that fails is of no consequence. */
			assert_true(rc == -EIO || n == 8);
		} else {
			assert_int_equal(rc, 0);
		}
		state_close(state);
		state = open_state();
		assert_int_equal(state_load(state, &file, &wanted, &err), 0);
		assert_true(json_equal(wanted, old) || json_equal(wanted, new));
		assert_true(rc != 0 || json_equal(wanted, new));
		json_decref(file);
		json_decref(wanted);
		assert_int_equal(save(state, new, new), 0);
		state_close(state);
		expect_saved(new, new);
		unlink(world.path);
	} while (atomic_load(&has_failed));
	/* open, write, fsync, close, rename; open, fsync, close of the directory */
	assert_int_equal(nr_failed, 8);
	json_decref(old);
	json_decref(new);
}

/* Whichever allocation fails, what is saved is what was to be saved, or the save is refused. */
static void test_state_save_survives_lack_of_memory(void **state_ptr)
{
	json_t *old = model_of(small), *new = model_of(full);
	unsigned n = 0, nr_failed = 0;
	bool was_refused;

	do {
		struct state *state = open_state();
		int rc;

		assert_int_equal(save(state, old, old), 0);
		json_fail_arm(++n);
		rc = save(state, new, new);
		was_refused = json_fail_disarm();
		nr_failed += rc != 0;
		assert_true(rc == 0 || rc == -ENOMEM);
		state_close(state);
		expect_saved(rc == 0 ? new : old, rc == 0 ? new : old);
	} while (was_refused);
	assert_true(nr_failed > 20);
	json_decref(old);
	json_decref(new);
}

static void expect_damaged(const char *text, const char *why)
{
	struct state *state = open_state();
	json_t *file, *wanted;
	char expected[512];
	struct xu_error err = {0};
	FILE *f = fopen(world.path, "w");

	fputs(text, f);
	fclose(f);
	assert_int_equal(state_load(state, &file, &wanted, &err), -EINVAL);
	assert_null(file);
	assert_null(wanted);
	snprintf(expected, sizeof(expected),
		"the saved state %s is damaged (%s); move it away to start from the configuration "
		"file alone, which loses changes made at run time and generated identifiers",
		world.path, why);
	assert_string_equal(err.text, expected);
	state_close(state);
}

static void test_state_load_refuses_damage(void **state_ptr)
{
	expect_damaged("", "'[' or '{' expected near end of file");
	expect_damaged("{\"version\": 1, \"fi", "premature end of input near '\"fi'");
	expect_damaged("{\"version\": 2, \"file\": {}, \"wanted\": {}}",
		"its version is not 1, perhaps a newer xsand wrote it");
	expect_damaged("{\"version\": 1, \"file\": {}}", "\"wanted\" is missing");
	expect_damaged("{\"version\": 1, \"file\": [], \"wanted\": {}}", "\"file\" is missing");
	expect_damaged(
		"{\"version\": 1, \"file\": {}, \"wanted\": {\"devices\": [{\"driver\": 3}]}}",
		"wanted.devices[0].driver: a text is needed here, one of \"null\", \"malloc\", "
		"\"file\", \"error\", \"delay\", \"nvme\", \"raid\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_begins_empty),
		cmocka_unit_test(test_state_comes_back_as_it_was_saved),
		cmocka_unit_test(test_state_writes_only_what_is_new),
		cmocka_unit_test(test_state_has_one_user),
		cmocka_unit_test(test_state_open_says_what_is_wrong),
		cmocka_unit_test(test_state_is_old_or_new_whatever_fails),
		cmocka_unit_test(test_state_save_survives_lack_of_memory),
		cmocka_unit_test(test_state_load_refuses_damage),
	};
	struct CMUnitTest with_world[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		with_world[i] = tests[i];
		with_world[i].setup_func = set_up;
		with_world[i].teardown_func = tear_down;
	}
	return cmocka_run_group_tests(with_world, NULL, NULL);
}
