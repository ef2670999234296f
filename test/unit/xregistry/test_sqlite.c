/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's database: what is there after a restart and after SIGKILL at any moment, a full
 * disk, foreign and newer files, and that it belongs to one registry. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/xregistry/sqlite_file.h"
#include "test/unit/xregistry/fixture.h"

static int try_open(struct xu_error *err)
{
	const struct xreg_store_opts opts = {.backend = &xreg_sqlite, .where = fixture_path};
	struct xreg_store *store;
	int rc;

	*err = (struct xu_error){0};
	rc = xreg_store_open(&opts, &store, err);
	if (rc == 0) {
		xreg_store_close(store);
	}
	return rc;
}

static void run_sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(fixture_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_sqlite_gives_back_what_was_there(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_BUSY, .reason = "much to do"},
		.source = XREG_DIM};
	struct xreg_target *kept;
	const struct xreg_target *target;
	struct xreg_view *view;
	json_t *one, *other;

	fixture_register(store, "n1", 1);
	assert_int_equal(xreg_store_change(store, &change), 0);
	kept = change.result;
	xreg_store_close(store);

	store = fixture_open(NULL);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_revision(view), 2);
	assert_int_equal(xreg_view_count(view), 2);
	target = xreg_view_get(view, kept->origin.id);
	assert_non_null(target);
	one = xreg_target_to_json(kept);
	other = xreg_target_to_json(target);
	assert_true(json_equal(one, other));
	json_decref(one);
	json_decref(other);
	target = xreg_view_first(view, XREG_BY_TAG, "lab");
	assert_non_null(target);
	assert_ptr_equal(xreg_view_get(view, target->origin.id), target);
	assert_non_null(xreg_view_first(view, XREG_BY_NODE, "n1"));
	xreg_view_unref(view);
	xreg_target_unref(kept);
	/* Revisions go on. */
	fixture_register(store, "n1", 3);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_revision(view), 3);
	xreg_view_unref(view);
	xreg_store_close(store);
}

static void test_sqlite_is_for_one_registry(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xu_error err;

	assert_int_equal(try_open(&err), -EBUSY);
	assert_non_null(strstr(err.text, "another registry"));
	fixture_register(store, "n1", 1);
	xreg_store_close(store);
	assert_int_equal(try_open(&err), 0);
}

static void test_sqlite_leaves_others_files_alone(void **state)
{
	struct xu_error err;
	FILE *file;

	run_sql("CREATE TABLE mail(text TEXT)");
	assert_int_equal(try_open(&err), -EINVAL);
	assert_non_null(strstr(err.text, "another program"));
	run_sql("INSERT INTO mail VALUES('still here')");
	unlink(fixture_path);

	file = fopen(fixture_path, "w");
	assert_non_null(file);
	for (int i = 0; i < 1000; i++) {
		fputs("this is no database, and long enough to be sure\n", file);
	}
	fclose(file);
	assert_int_equal(try_open(&err), -EILSEQ);
}

static void test_sqlite_refuses_newer_files(void **state)
{
	struct xu_error err;

	assert_int_equal(try_open(&err), 0);
	run_sql("PRAGMA user_version = 99");
	assert_int_equal(try_open(&err), -EINVAL);
	assert_non_null(strstr(err.text, "version 99"));
}

static void test_sqlite_refuses_broken_records(void **state)
{
	static const char *const records[] = {"{", "{}", "[]", "{\"id\":\"x\",\"spec\":{}}"};
	struct xu_error err;
	char text[128];

	assert_int_equal(try_open(&err), 0);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		snprintf(text, sizeof(text), "INSERT OR REPLACE INTO targets VALUES('x', '%s')",
			records[i]);
		run_sql(text);
		assert_true(try_open(&err) < 0);
		assert_true(err.text[0] != '\0');
	}
	run_sql("DELETE FROM targets");
	assert_int_equal(try_open(&err), 0);
}

/* ---- a full disk ---- */

static void test_sqlite_on_a_full_disk(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct rlimit limit, full;
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};
	struct xreg_view *view;

	fixture_register(store, "n1", 1);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	full = limit;
	full.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	assert_true(xreg_store_change(store, &change) < 0);
	assert_null(change.result);
	assert_true(change.err.text[0] != '\0');
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_count(view), 1); /* reads go on */
	xreg_view_unref(view);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(xreg_store_change(store, &change), 0);
	assert_int_equal(change.revision, 2);
	xreg_target_unref(change.result);
	xreg_store_close(store);
	store = fixture_open(NULL);
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_count(view), 2);
	xreg_view_unref(view);
	xreg_store_close(store);
}

/* ---- SIGKILL ---- */

#define ROUNDS     (getenv("XSAN_LONG") != NULL ? 200 : 12)
#define NR_CLIENTS 8u
#define NR_AT_ONCE 40u

/* Registers and says so, change after change, in batches of several. */
struct client {
	struct xreg_change change;
	struct xreg_spec spec;
	struct xreg_store *store;
	unsigned number;
	int fd;
	char nqn[64];
};

static void register_next(struct client *client)
{
	snprintf(client->nqn, sizeof(client->nqn), "nqn.2026-11.io.xsan:%08u", client->number);
	client->spec = fixture_spec();
	client->spec.nqn = client->nqn;
	client->change.op = XREG_REGISTER;
	client->change.spec = &client->spec;
	client->change.status = (struct xreg_status){.state = XREG_AVAILABLE, .reason = ""};
	xreg_store_submit(client->store, &client->change);
}

static void on_registered(struct xreg_change *change)
{
	struct client *client = change->arg;

	if (change->rc != 0 || write(client->fd, &client->number, sizeof(client->number)) < 0) {
		_exit(1);
	}
	xreg_target_unref(change->result);
	client->number += NR_CLIENTS;
	register_next(client);
}

static void child(int fd, unsigned first)
{
	struct client clients[NR_CLIENTS];
	struct xreg_store *store = fixture_open(NULL);

	for (unsigned i = 0; i < NR_CLIENTS; i++) {
		clients[i] = (struct client){.store = store, .number = first + i, .fd = fd};
		clients[i].change.done = on_registered;
		clients[i].change.arg = &clients[i];
		register_next(&clients[i]);
	}
	for (;;) {
		pause();
	}
}

static void check_all(const unsigned *acknowledged, unsigned count)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xreg_view *view = xreg_store_view(store);
	struct xreg_event event;
	uint32_t nr_events;
	char nqn[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%08u", acknowledged[i]);
		assert_non_null(xreg_view_first(view, XREG_BY_NQN, nqn));
	}
	/* Nothing but registrations was done: none is half there. */
	assert_int_equal(xreg_view_revision(view), xreg_view_count(view));
	if (xreg_view_revision(view) != 0) {
		assert_int_equal(xreg_store_events(store, xreg_view_revision(view) - 1, &event, 1,
					 &nr_events),
			0);
		assert_int_equal(nr_events, 1);
		assert_non_null(xreg_view_get(view, event.after->origin.id));
		xreg_events_free(&event, 1);
	}
	xreg_view_unref(view);
	xreg_store_close(store);
}

static void test_sqlite_after_sigkill(void **state)
{
	unsigned *acknowledged = calloc(1u << 20, sizeof(*acknowledged)), count = 0, next = 0;

	srand(4);
	for (int round = 0; round < ROUNDS; round++) {
		struct timespec ts = {.tv_nsec = rand() % 150000000};
		int fds[2], status;
		unsigned number;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			close(fds[0]);
			child(fds[1], next);
		}
		close(fds[1]);
		nanosleep(&ts, NULL);
		kill(pid, SIGKILL);
		while (read(fds[0], &number, sizeof(number)) == sizeof(number)) {
			assert_true(count < 1u << 20);
			acknowledged[count++] = number;
			next = number + NR_CLIENTS > next ? number + NR_CLIENTS : next;
		}
		close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		/* What was under way may be there too: later numbers keep clear of it. */
		next += NR_AT_ONCE;
		check_all(acknowledged, count);
	}
	assert_true(count != 0);
	free(acknowledged);
}

#define sqlite_test(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

/* ---- copies ---- */

struct copying {
	struct xreg_copy copy;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool is_done, is_unwanted;
};

static bool copy_is_wanted(struct xreg_copy *copy)
{
	return !((struct copying *)copy)->is_unwanted;
}

static void copy_done(struct xreg_copy *copy)
{
	struct copying *copying = (struct copying *)copy;

	pthread_mutex_lock(&copying->mutex);
	copying->is_done = true;
	pthread_cond_signal(&copying->cond);
	pthread_mutex_unlock(&copying->mutex);
}

static void begin_copying(struct xreg_store *store, struct copying *copying)
{
	*copying = (struct copying){.copy = {.is_wanted = copy_is_wanted, .done = copy_done},
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
		.is_unwanted = copying->is_unwanted};
	assert_int_equal(xreg_store_copy(store, &copying->copy), 0);
}

static int end_copying(struct copying *copying)
{
	pthread_mutex_lock(&copying->mutex);
	while (!copying->is_done) {
		pthread_cond_wait(&copying->cond, &copying->mutex);
	}
	pthread_mutex_unlock(&copying->mutex);
	return copying->copy.rc;
}

/* Writes what the descriptor reads to `path`, and closes it. */
static void save(int fd, const char *path)
{
	FILE *out = fopen(path, "we");
	char buf[4096];
	ssize_t len;

	assert_non_null(out);
	while ((len = read(fd, buf, sizeof(buf))) > 0) {
		assert_int_equal(fwrite(buf, 1, (size_t)len, out), (size_t)len);
	}
	assert_int_equal(len, 0);
	assert_int_equal(fclose(out), 0);
	close(fd);
}

static void test_sqlite_copies_while_it_changes(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct xreg_sqlite_info info;
	struct copying copying[3] = {0};
	char path[80], name[80];
	struct xu_error err;

	for (unsigned i = 0; i < 2000; i++) {
		fixture_register(store, "n1", i);
	}
	for (unsigned i = 0; i < 3; i++) {
		begin_copying(store, &copying[i]);
		for (unsigned k = 0; k < 20; k++) {
			fixture_register(store, "n2", 10000 + 100 * i + k);
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(end_copying(&copying[i]), 0);
		snprintf(path, sizeof(path), "%s.copy", fixture_path);
		save(copying[i].copy.fd, path);
		assert_int_equal(xreg_sqlite_check(path, &info, &err), 0);
		/* Of each change all is there or nothing. */
		assert_int_equal(info.nr_targets, info.revision);
		assert_in_range(info.revision, 2000 + 20 * i, 2060);
		unlink(path);
	}
	snprintf(name, sizeof(name), "%s.backup", fixture_path);
	assert_int_not_equal(access(name, F_OK), 0);
	xreg_store_close(store);
}

static void test_sqlite_gives_up_copies(void **state)
{
	static struct xreg_backend_ops without;
	struct xreg_store *store = fixture_open(NULL);
	struct copying copying = {.is_unwanted = true}, last = {0};
	char name[80];

	fixture_register(store, "n1", 1);
	begin_copying(store, &copying);
	assert_int_equal(end_copying(&copying), -ECANCELED);
	/* What waits when the store closes is answered, whichever way. */
	begin_copying(store, &last);
	xreg_store_close(store);
	if (end_copying(&last) == 0) {
		close(last.copy.fd);
	} else {
		assert_int_equal(last.copy.rc, -ESHUTDOWN);
	}
	snprintf(name, sizeof(name), "%s.backup", fixture_path);
	assert_int_not_equal(access(name, F_OK), 0);

	without = xreg_sqlite;
	without.copy = NULL;
	store = fixture_open(&(struct xreg_store_opts){.backend = &without});
	assert_int_equal(xreg_store_copy(store, &copying.copy), -ENOTSUP);
	xreg_store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sqlite_test(test_sqlite_gives_back_what_was_there),
		sqlite_test(test_sqlite_is_for_one_registry),
		sqlite_test(test_sqlite_leaves_others_files_alone),
		sqlite_test(test_sqlite_refuses_newer_files),
		sqlite_test(test_sqlite_refuses_broken_records),
		sqlite_test(test_sqlite_on_a_full_disk),
		sqlite_test(test_sqlite_after_sigkill),
		sqlite_test(test_sqlite_copies_while_it_changes),
		sqlite_test(test_sqlite_gives_up_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
