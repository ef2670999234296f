/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's data in an SQLite file, for one registry at a time. What is in it:
 *
 *   targets(id, record)   every target, its record as JSON
 *   events(revision, at_ms, kind, before, after)   the last changes
 *   state(name, value)    "revision": that of the last change
 *   documents(name, version, text)   small texts beside the targets, as JSON
 *
 * The schema's version is the file's user_version; older ones are brought up to date by `steps`
 * when the file is opened, in one transaction. The application_id says whose file it is, so nothing
 * of another program is touched.
 *
 * Write-ahead log with a sync at each commit: a transaction that was answered is there after a
 * crash, half a transaction never. The file stays locked while it is open, so a second registry is
 * refused instead of writing revisions of its own.
 */
#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/backend.h"
#include "lib/xregistry/sqlite_file.h"
#include "lib/xregistry/target.h"

#define PATIENCE_MS 3000

enum {
	PUT_TARGET,
	DROP_TARGET,
	ADD_EVENT,
	FORGET_EVENTS,
	SET_REVISION,
	PUT_DOCUMENT,
	NR_STATEMENTS
};

struct sqlite_backend {
	sqlite3 *db;
	char *where;
	struct xu_logger *log;
	sqlite3_stmt *statements[NR_STATEMENTS];
};

static const char *const texts[NR_STATEMENTS] = {
	[PUT_TARGET] = "INSERT OR REPLACE INTO targets(id, record) VALUES(?1, ?2)",
	[DROP_TARGET] = "DELETE FROM targets WHERE id = ?1",
	[ADD_EVENT] = "INSERT INTO events VALUES(?1, ?2, ?3, ?4, ?5)",
	[FORGET_EVENTS] = "DELETE FROM events WHERE revision <= ?1",
	[SET_REVISION] = "UPDATE state SET value = ?1 WHERE name = 'revision'",
	[PUT_DOCUMENT] = "INSERT OR REPLACE INTO documents VALUES(?1, ?2, ?3)",
};

static const char to_version_1[] =
	"CREATE TABLE targets(id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE events(revision INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL,"
	" kind INTEGER NOT NULL, before TEXT, after TEXT);"
	"CREATE TABLE state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO state VALUES('revision', 0);";

/* Step i brings version i to version i + 1. */
static const char to_version_2[] =
	"CREATE TABLE documents(name TEXT PRIMARY KEY, version INTEGER NOT NULL,"
	" text TEXT NOT NULL) WITHOUT ROWID;";

static const char *const steps[] = {to_version_1, to_version_2};
#define VERSION ((int)(sizeof(steps) / sizeof(steps[0])))
_Static_assert(VERSION == XREG_SQLITE_VERSION, "another schema is another version");

/* ---- errors ---- */

static int code_of(int result)
{
	switch (result & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EILSEQ;
	default:
		return -EIO;
	}
}

/* The database's own words. */
static int explain(struct sqlite_backend *b, int result, const char *what, struct xu_error *err)
{
	int code = code_of(result);

	return code == 0 ? 0 : xu_error_set(err, code, "%s: %s", what, sqlite3_errmsg(b->db));
}

static int run_text(
	struct sqlite_backend *b, const char *text, const char *what, struct xu_error *err)
{
	return explain(b, sqlite3_exec(b->db, text, NULL, NULL, NULL), what, err);
}

/* ---- opening ---- */

static int read_number(
	struct sqlite_backend *b, const char *text, int64_t *ret_number, struct xu_error *err)
{
	sqlite3_stmt *statement;
	int result = sqlite3_prepare_v2(b->db, text, -1, &statement, NULL);

	if (result == SQLITE_OK) {
		result = sqlite3_step(statement);
		*ret_number = result == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
		sqlite3_finalize(statement);
	}
	return explain(b, result, "reading the database", err);
}

/* An empty file is made ours; another program's is left alone. */
static int check_owner(struct sqlite_backend *b, int64_t version, struct xu_error *err)
{
	int64_t owner, nr_tables;
	int rc = read_number(b, "PRAGMA application_id", &owner, err);

	if (rc == 0) {
		rc = read_number(b, "SELECT count(*) FROM sqlite_master", &nr_tables, err);
	}
	if (rc != 0) {
		return rc;
	}
	if (owner != XREG_SQLITE_ID && (owner != 0 || nr_tables != 0 || version != 0)) {
		return xu_error_set(err, -EINVAL,
			"it is another program's database; give the registry a file of its own");
	}
	if (version > VERSION) {
		return xu_error_set(err, -EINVAL,
			"it has version %lld, this program knows up to %d; use a newer one",
			(long long)version, VERSION);
	}
	return 0;
}

/* In one transaction: after a crash the file has its old version or the new one. */
static int migrate(struct sqlite_backend *b, struct xu_error *err)
{
	int64_t version;
	char text[96];
	int rc = run_text(b, "BEGIN EXCLUSIVE", "locking the database", err);

	if (rc != 0) {
		return rc;
	}
	rc = read_number(b, "PRAGMA user_version", &version, err);
	if (rc == 0) {
		rc = check_owner(b, version, err);
	}
	if (rc == 0 && version < VERSION) {
		for (int64_t i = version; rc == 0 && i < VERSION; i++) {
			rc = run_text(b, steps[i], "bringing the database up to date", err);
		}
		snprintf(text, sizeof(text), "PRAGMA application_id = %d; PRAGMA user_version = %d",
			XREG_SQLITE_ID, VERSION);
		if (rc == 0) {
			rc = run_text(b, text, "bringing the database up to date", err);
		}
	}
	if (rc == 0) {
		rc = run_text(b, "COMMIT", "bringing the database up to date", err);
	}
	if (rc != 0) {
		sqlite3_exec(b->db, "ROLLBACK", NULL, NULL, NULL);
	}
	return rc;
}

static int prepare(struct sqlite_backend *b, struct xu_error *err)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < NR_STATEMENTS; i++) {
		rc = explain(b,
			sqlite3_prepare_v3(b->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
				&b->statements[i], NULL),
			"preparing the database", err);
	}
	return rc;
}

static void sqlite_close(void *backend)
{
	struct sqlite_backend *b = backend;

	for (int i = 0; i < NR_STATEMENTS; i++) {
		sqlite3_finalize(b->statements[i]);
	}
	sqlite3_close(b->db);
	free(b->where);
	free(b);
}

static int sqlite_open(
	const char *where, struct xu_logger *log, void **ret_backend, struct xu_error *err)
{
	struct sqlite_backend *b = calloc(1, sizeof(*b));
	int rc;

	if (b == NULL || (b->where = strdup(where)) == NULL) {
		free(b);
		return xu_error_set_errno(err, -ENOMEM, "opening '%.128s'", where);
	}
	b->log = log;
	rc = explain(b,
		sqlite3_open_v2(where, &b->db,
			SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
				SQLITE_OPEN_EXRESCODE,
			NULL),
		"opening the database", err);
	if (rc == 0) {
		sqlite3_busy_timeout(b->db, PATIENCE_MS);
		rc = run_text(b,
			"PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
			"PRAGMA synchronous = FULL",
			"opening the database", err);
	}
	if (rc == 0) {
		rc = migrate(b, err);
	}
	if (rc == 0) {
		rc = prepare(b, err);
	}
	if (rc != 0) {
		sqlite_close(b);
		if (rc == -EBUSY) {
			xu_error_set(err, rc, "another registry uses it");
		}
		return xu_error_prefix(err, "'%.128s'", where);
	}
	*ret_backend = b;
	return 0;
}

/* ---- loading ---- */

/* The record of a column; NULL in the column is no target. */
static int read_record(
	sqlite3_stmt *statement, int column, struct xreg_target **ret_target, struct xu_error *err)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	*ret_target = NULL;
	return text == NULL ? 0 : xreg_backend_decode(text, strlen(text), ret_target, err);
}

static int load_targets(
	sqlite3_stmt *statement, const struct xreg_loader *loader, struct xu_error *err)
{
	struct xreg_target *target;
	int rc = read_record(statement, 0, &target, err);

	if (rc == 0 && target != NULL) {
		rc = loader->target(loader->arg, target, err);
		xreg_target_unref(target);
	}
	return rc;
}

static int load_event(
	sqlite3_stmt *statement, const struct xreg_loader *loader, struct xu_error *err)
{
	struct xreg_event event = {.revision = (uint64_t)sqlite3_column_int64(statement, 0),
		.at_ms = (uint64_t)sqlite3_column_int64(statement, 1),
		.kind = (enum xreg_event_kind)sqlite3_column_int(statement, 2)};
	int rc = read_record(statement, 3, &event.before, err);

	if (rc == 0) {
		rc = read_record(statement, 4, &event.after, err);
	}
	if (rc == 0) {
		rc = loader->event(loader->arg, &event, err);
	}
	xreg_target_unref(event.before);
	xreg_target_unref(event.after);
	return rc;
}

static int load_document(
	sqlite3_stmt *statement, const struct xreg_loader *loader, struct xu_error *err)
{
	const char *text = (const char *)sqlite3_column_text(statement, 2);

	return loader->document(loader->arg, (const char *)sqlite3_column_text(statement, 0), text,
		strlen(text), (uint64_t)sqlite3_column_int64(statement, 1), err);
}

static int load_rows(struct sqlite_backend *b, const char *text,
	int (*fn)(sqlite3_stmt *, const struct xreg_loader *, struct xu_error *),
	const struct xreg_loader *loader, struct xu_error *err)
{
	sqlite3_stmt *statement;
	int rc = 0, result = sqlite3_prepare_v2(b->db, text, -1, &statement, NULL);

	if (result != SQLITE_OK) {
		return explain(b, result, "loading", err);
	}
	while (rc == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		rc = fn(statement, loader, err);
	}
	if (rc == 0) {
		rc = explain(b, result, "loading", err);
	}
	sqlite3_finalize(statement);
	return rc;
}

static int sqlite_load(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
	struct xu_error *err)
{
	struct sqlite_backend *b = backend;
	int64_t revision = 0;
	int rc = read_number(b, "SELECT value FROM state WHERE name = 'revision'", &revision, err);

	if (rc == 0) {
		rc = load_rows(b, "SELECT record FROM targets", load_targets, loader, err);
	}
	if (rc == 0) {
		rc = load_rows(b,
			"SELECT revision, at_ms, kind, before, after FROM events ORDER BY revision",
			load_event, loader, err);
	}
	if (rc == 0) {
		rc = load_rows(
			b, "SELECT name, version, text FROM documents", load_document, loader, err);
	}
	if (rc == 0) {
		*ret_revision = (uint64_t)revision;
	}
	return rc;
}

/* ---- committing ---- */

/* Runs a statement that was bound, and makes it ready for the next time. */
static int run(struct sqlite_backend *b, int which, struct xu_error *err)
{
	sqlite3_stmt *statement = b->statements[which];
	int rc = explain(b, sqlite3_step(statement), "writing", err);

	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc;
}

/* Borrows the text until the statement has run; NULL stays NULL. */
static int bind_text(struct sqlite_backend *b, sqlite3_stmt *statement, int index, const char *text,
	struct xu_error *err)
{
	return explain(b, sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC),
		"writing a record", err);
}

static int write_target(struct sqlite_backend *b, const struct xreg_event *event, const char *after,
	struct xu_error *err)
{
	const struct xreg_target *target = after != NULL ? event->after : event->before;
	int which = after != NULL ? PUT_TARGET : DROP_TARGET;
	int rc = bind_text(b, b->statements[which], 1, target->origin.id, err);

	if (rc == 0 && after != NULL) {
		rc = bind_text(b, b->statements[which], 2, after, err);
	}
	return rc == 0 ? run(b, which, err) : rc;
}

static int write_event(struct sqlite_backend *b, const struct xreg_event *event, const char *before,
	const char *after, struct xu_error *err)
{
	sqlite3_stmt *statement = b->statements[ADD_EVENT];
	int rc;

	sqlite3_bind_int64(statement, 1, (sqlite3_int64)event->revision);
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)event->at_ms);
	sqlite3_bind_int(statement, 3, (int)event->kind);
	rc = bind_text(b, statement, 4, before, err);
	if (rc == 0) {
		rc = bind_text(b, statement, 5, after, err);
	}
	return rc == 0 ? run(b, ADD_EVENT, err) : rc;
}

/* The target as it is now and what has happened to it. */
static int write_change(
	struct sqlite_backend *b, const struct xreg_event *event, struct xu_error *err)
{
	char *before = NULL, *after = NULL;
	int rc = xreg_backend_encode(event->before, &before, err);

	if (rc == 0) {
		rc = xreg_backend_encode(event->after, &after, err);
	}
	if (rc == 0) {
		rc = write_target(b, event, after, err);
	}
	if (rc == 0) {
		rc = write_event(b, event, before, after, err);
	}
	free(before);
	free(after);
	return rc;
}

static int write_number(struct sqlite_backend *b, int which, uint64_t number, struct xu_error *err)
{
	sqlite3_bind_int64(b->statements[which], 1, (sqlite3_int64)number);
	return run(b, which, err);
}

static int sqlite_commit(void *backend, const struct xreg_event *events, uint32_t nr_events,
	uint32_t nr_kept, struct xu_error *err)
{
	struct sqlite_backend *b = backend;
	uint64_t last = events[nr_events - 1].revision;
	int rc = run_text(b, "BEGIN IMMEDIATE", "writing", err);

	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; rc == 0 && i < nr_events; i++) {
		rc = write_change(b, &events[i], err);
	}
	if (rc == 0 && last > nr_kept) {
		rc = write_number(b, FORGET_EVENTS, last - nr_kept, err);
	}
	if (rc == 0) {
		rc = write_number(b, SET_REVISION, last, err);
	}
	if (rc == 0) {
		rc = run_text(b, "COMMIT", "writing", err);
	}
	if (rc != 0 && sqlite3_get_autocommit(b->db) == 0) {
		sqlite3_exec(b->db, "ROLLBACK", NULL, NULL, NULL);
	}
	return rc;
}

/* The store has checked the version: nobody else has the file. */
static int sqlite_put_document(void *backend, const char *name, const char *text,
	uint64_t if_version, uint64_t *ret_version, struct xu_error *err)
{
	struct sqlite_backend *b = backend;
	sqlite3_stmt *statement = b->statements[PUT_DOCUMENT];
	int rc = bind_text(b, statement, 1, name, err);

	sqlite3_bind_int64(statement, 2, (sqlite3_int64)if_version + 1);
	if (rc == 0) {
		rc = bind_text(b, statement, 3, text, err);
	}
	if (rc == 0) {
		rc = run(b, PUT_DOCUMENT, err);
	}
	*ret_version = if_version + 1;
	return rc;
}

/* ---- copies ---- */

static int sqlite_copy(void *backend, void **copy, int *ret_fd, struct xu_error *err)
{
	struct sqlite_backend *b = backend;
	struct xreg_sqlite_copy *at = *copy;
	int rc = xreg_sqlite_copy_step(b->db, b->where, &at, ret_fd, err);

	*copy = at;
	return rc;
}

static void sqlite_copy_cancel(void *backend, void *copy)
{
	xreg_sqlite_copy_cancel(copy);
}

const struct xreg_backend_ops xreg_sqlite = {
	.name = "sqlite",
	.open = sqlite_open,
	.load = sqlite_load,
	.commit = sqlite_commit,
	.put_document = sqlite_put_document,
	.copy = sqlite_copy,
	.copy_cancel = sqlite_copy_cancel,
	.close = sqlite_close,
};
