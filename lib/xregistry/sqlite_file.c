/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying, checking and restoring databases. A copy of one that is in use is made page by page on
 * its own connection, between transactions: SQLite carries what is written meanwhile over to the
 * copy. It is written to a file beside the database, of a fixed name, so that what a crash leaves
 * is one file, which the next copy replaces.
 *
 * A restore holds the lock of the old file, so no registry starts on it meanwhile, and brings its
 * log into it, so that it is whole by itself. The new one is made beside it and opened as a
 * registry would; then it takes the place by one rename. Whatever fails before that leaves the old
 * one alone.
 */
#include "lib/xregistry/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/store.h"

#define STEP_PAGES  256
#define COPY_BYTES  (256u << 10)
#define NR_ASIDES   100u
#define PATIENCE_MS 1000

/* ---- copies of one that is in use ---- */

struct xreg_sqlite_copy {
	sqlite3 *db;
	sqlite3_backup *backup;
	char *path;
};

static int code_of(int result)
{
	switch (result & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EILSEQ;
	default:
		return -EIO;
	}
}

void xreg_sqlite_copy_cancel(struct xreg_sqlite_copy *copy)
{
	if (copy != NULL) {
		sqlite3_backup_finish(copy->backup);
		sqlite3_close(copy->db);
		if (copy->path != NULL) {
			unlink(copy->path);
		}
		free(copy->path);
		free(copy);
	}
}

static int fail_copy(struct xreg_sqlite_copy **copy, int result, struct xu_error *err)
{
	int rc = xu_error_set(err, code_of(result), "copying the database to %.256s: %s",
		(*copy)->path, sqlite3_errstr(result));

	xreg_sqlite_copy_cancel(*copy);
	*copy = NULL;
	return rc;
}

static int begin_copy(
	sqlite3 *db, const char *where, struct xreg_sqlite_copy **ret_copy, struct xu_error *err)
{
	struct xreg_sqlite_copy *copy = calloc(1, sizeof(*copy));
	int result;

	if (copy == NULL || asprintf(&copy->path, "%s.backup", where) < 0) {
		free(copy);
		return xu_error_set_errno(err, -ENOMEM, "copying the database");
	}
	*ret_copy = copy;
	unlink(copy->path);
	result = sqlite3_open_v2(copy->path, &copy->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (result == SQLITE_OK) {
		/* It is of no use after a crash. */
		result = sqlite3_exec(copy->db,
			"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL);
	}
	if (result == SQLITE_OK) {
		copy->backup = sqlite3_backup_init(copy->db, "main", db, "main");
		result = copy->backup != NULL ? SQLITE_OK : sqlite3_errcode(copy->db);
	}
	return result == SQLITE_OK ? 0 : fail_copy(ret_copy, result, err);
}

static int end_copy(struct xreg_sqlite_copy **copy, int *ret_fd, struct xu_error *err)
{
	int result = sqlite3_backup_finish((*copy)->backup), fd;

	(*copy)->backup = NULL;
	if (result == SQLITE_OK) {
		/* The header says that it has a log, as the database does; the copy is one file. */
		result =
			sqlite3_exec((*copy)->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
	}
	if (result != SQLITE_OK) {
		return fail_copy(copy, result, err);
	}
	sqlite3_close((*copy)->db);
	(*copy)->db = NULL;
	fd = open((*copy)->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		xu_error_set_errno(err, -errno, "reading %.256s", (*copy)->path);
	}
	xreg_sqlite_copy_cancel(*copy);
	*copy = NULL;
	*ret_fd = fd;
	return fd >= 0 ? 0 : err->code;
}

int xreg_sqlite_copy_step(sqlite3 *db, const char *where, struct xreg_sqlite_copy **copy,
	int *ret_fd, struct xu_error *err)
{
	int result;

	if (*copy == NULL) {
		int rc = begin_copy(db, where, copy, err);

		return rc == 0 ? 1 : rc;
	}
	result = sqlite3_backup_step((*copy)->backup, STEP_PAGES);
	if (result == SQLITE_OK) {
		return 1;
	}
	return result == SQLITE_DONE ? end_copy(copy, ret_fd, err) : fail_copy(copy, result, err);
}

/* ---- checking ---- */

/* The file's name as a URI that says it does not change: no log is looked for or made. */
static int open_unchanging(const char *path, sqlite3 **ret_db)
{
	char *uri = malloc(3 * strlen(path) + 32), *at;
	int result = SQLITE_NOMEM;

	*ret_db = NULL;
	if (uri != NULL) {
		at = uri + sprintf(uri, "file:");
		for (; *path != '\0'; path++) {
			at += sprintf(at, strchr("%?#", *path) != NULL ? "%%%02X" : "%c",
				(unsigned char)*path);
		}
		strcpy(at, "?immutable=1");
		result = sqlite3_open_v2(uri, ret_db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
	}
	free(uri);
	return result;
}

/* One value; a text is compared with "ok" and gives 1 or 0. */
static int read_value(sqlite3 *db, const char *text, int64_t *ret_value)
{
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(db, text, -1, &statement, NULL);

	*ret_value = 0;
	if (result == SQLITE_OK) {
		result = sqlite3_step(statement);
	}
	if (result == SQLITE_ROW) {
		const char *word = (const char *)sqlite3_column_text(statement, 0);

		*ret_value = sqlite3_column_type(statement, 0) == SQLITE_TEXT
				     ? word != NULL && strcmp(word, "ok") == 0
				     : sqlite3_column_int64(statement, 0);
		result = SQLITE_OK;
	}
	sqlite3_finalize(statement);
	return result == SQLITE_DONE ? SQLITE_OK : result;
}

static int check_values(
	sqlite3 *db, const char *path, struct xreg_sqlite_info *ret_info, struct xu_error *err)
{
	int64_t owner = 0, version = 0, is_whole = 0, count = 0, revision = 0;
	int result = read_value(db, "PRAGMA application_id", &owner);

	if (result == SQLITE_OK && owner != XREG_SQLITE_ID) {
		return xu_error_set(err, -EINVAL,
			"%.256s is no registry's database; name a file of 'xsan registry backup'",
			path);
	}
	if (result == SQLITE_OK) {
		result = read_value(db, "PRAGMA user_version", &version);
	}
	if (result == SQLITE_OK && (version < 1 || version > XREG_SQLITE_VERSION)) {
		return xu_error_set(err, -EINVAL,
			"%.256s has version %lld, this program knows 1 to %d; use a newer one",
			path, (long long)version, XREG_SQLITE_VERSION);
	}
	if (result == SQLITE_OK) {
		result = read_value(db, "PRAGMA integrity_check(1)", &is_whole);
	}
	if (result == SQLITE_OK && !is_whole) {
		result = SQLITE_CORRUPT;
	}
	if (result == SQLITE_OK) {
		result = read_value(db, "SELECT count(*) FROM targets", &count);
	}
	if (result == SQLITE_OK) {
		result = read_value(
			db, "SELECT value FROM state WHERE name = 'revision'", &revision);
	}
	if (result != SQLITE_OK) {
		return xu_error_set(err, code_of(result) == -EIO ? -EILSEQ : code_of(result),
			"%.256s cannot be used, %s; use another backup", path,
			sqlite3_errstr(result));
	}
	*ret_info = (struct xreg_sqlite_info){(uint64_t)count, (uint64_t)revision};
	return 0;
}

int xreg_sqlite_check(const char *path, struct xreg_sqlite_info *ret_info, struct xu_error *err)
{
	char log[PATH_MAX];
	struct stat st;
	sqlite3 *db;
	int rc;

	if (stat(path, &st) != 0) {
		return xu_error_set_errno(err, -errno, "reading %.256s", path);
	}
	/* Its last changes would be missed. */
	if ((size_t)snprintf(log, sizeof(log), "%s-wal", path) < sizeof(log) &&
		stat(log, &st) == 0 && st.st_size != 0) {
		return xu_error_set(err, -EINVAL,
			"%.200s is not all of its database, some is in %.200s: it is in use, or "
			"was "
			"not closed; take a copy with 'xsan registry backup'",
			path, log);
	}
	if (open_unchanging(path, &db) != SQLITE_OK) {
		rc = xu_error_set(err, -EIO, "%.256s cannot be read: %s", path,
			db != NULL ? sqlite3_errmsg(db) : "no memory");
	} else {
		rc = check_values(db, path, ret_info, err);
	}
	sqlite3_close(db);
	return rc;
}

/* ---- restoring ---- */

struct restore {
	const char *from, *to;
	sqlite3 *old; /* which holds the lock; NULL: there is no old file, or it is damaged */
	char new_path[PATH_MAX];
	char *aside;
	size_t aside_size;
};

/* What may be replaced: a registry's database, or an empty file. */
static int check_old(struct restore *r, struct xu_error *err)
{
	int64_t owner = 0, nr_tables = 0;
	int result = read_value(r->old, "PRAGMA application_id", &owner);

	if (result == SQLITE_OK) {
		result = read_value(r->old, "SELECT count(*) FROM sqlite_master", &nr_tables);
	}
	if (result == SQLITE_OK && owner != XREG_SQLITE_ID && (owner != 0 || nr_tables != 0)) {
		return xu_error_set(err, -EINVAL,
			"%.256s is no registry's database; name the one that is to be replaced",
			r->to);
	}
	return 0;
}

/* Takes the lock of the old file. One that is damaged has no user, since no registry starts on it.
 */
static int lock_old(struct restore *r, struct xu_error *err)
{
	struct stat st;
	int result;

	if (stat(r->to, &st) != 0) {
		return errno == ENOENT ? 0
				       : xu_error_set_errno(err, -errno, "reading %.256s", r->to);
	}
	result = sqlite3_open_v2(r->to, &r->old, SQLITE_OPEN_READWRITE, NULL);
	if (result == SQLITE_OK) {
		sqlite3_busy_timeout(r->old, PATIENCE_MS);
		result = sqlite3_exec(r->old,
			"PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT", NULL, NULL,
			NULL);
	}
	switch (result & 0xff) {
	case SQLITE_OK:
		return check_old(r, err);
	case SQLITE_BUSY:
		return xu_error_set(err, -EBUSY,
			"a registry uses %.256s; stop it first (systemctl stop xsan-registry)",
			r->to);
	case SQLITE_NOTADB:
		return xu_error_set(err, -EINVAL,
			"%.256s is no database; move it away if another is to be there", r->to);
	case SQLITE_CORRUPT:
		sqlite3_close(r->old);
		r->old = NULL;
		return 0;
	default:
		return xu_error_set(
			err, code_of(result), "locking %.256s: %s", r->to, sqlite3_errmsg(r->old));
	}
}

/* Brings the log of the old file into it; the lock stays. */
static int seal_old(struct restore *r, struct xu_error *err)
{
	int result = SQLITE_OK;

	if (r->old != NULL) {
		result = sqlite3_exec(
			r->old, "PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE", NULL, NULL, NULL);
	}
	if ((result & 0xff) == SQLITE_CORRUPT) {
		sqlite3_close(r->old);
		r->old = NULL;
		result = SQLITE_OK;
	}
	return result == SQLITE_OK ? 0
				   : xu_error_set(err, code_of(result), "locking %.256s: %s", r->to,
					     sqlite3_errmsg(r->old));
}

static int copy_bytes(int from, int to)
{
	char *buf = malloc(COPY_BYTES);
	ssize_t len = 1, done;
	int rc = buf != NULL ? 0 : -ENOMEM;

	while (rc == 0 && len > 0) {
		len = read(from, buf, COPY_BYTES);
		rc = len < 0 ? -errno : 0;
		for (ssize_t at = 0; rc == 0 && at < len; at += done) {
			done = write(to, buf + at, (size_t)(len - at));
			if (done < 0) {
				rc = -errno;
				break;
			}
		}
	}
	free(buf);
	return rc;
}

/* Owner and mode are the old file's, or without one the directory's, so that the registry's user
 * can open it. */
static int give_owner(const struct restore *r, int fd)
{
	char copy[PATH_MAX];
	struct stat st;

	snprintf(copy, sizeof(copy), "%s", r->to);
	if (stat(r->to, &st) == 0) {
		if (fchmod(fd, st.st_mode & 0777) != 0) {
			return -errno;
		}
	} else if (stat(dirname(copy), &st) != 0) {
		return -errno;
	}
	if ((st.st_uid != geteuid() || st.st_gid != getegid()) &&
		fchown(fd, st.st_uid, st.st_gid) != 0) {
		return -errno;
	}
	return 0;
}

static int make_new(struct restore *r, struct xu_error *err)
{
	int from = open(r->from, O_RDONLY | O_CLOEXEC);
	int to = -1, rc = from < 0 ? -errno : 0;

	if (rc == 0) {
		to = open(r->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		rc = to < 0 ? -errno : copy_bytes(from, to);
	}
	if (rc == 0) {
		rc = give_owner(r, to);
	}
	if (rc == 0 && fsync(to) != 0) {
		rc = -errno;
	}
	if (from >= 0) {
		close(from);
	}
	if (to >= 0) {
		close(to);
	}
	return rc == 0 ? 0
		       : xu_error_set_errno(
				 err, rc, "copying %.200s to %.200s", r->from, r->new_path);
}

/* As a registry does it: all records and events are read and checked. */
static int try_new(const struct restore *r, struct xu_error *err)
{
	const struct xreg_store_opts opts = {
		.backend = &xreg_sqlite, .where = r->new_path, .nr_targets_max = UINT32_MAX};
	struct xreg_store *store;
	int rc = xreg_store_open(&opts, &store, err);

	if (rc == 0) {
		xreg_store_close(store);
	}
	return rc;
}

/* The old file gets a second name. Its log, which only a damaged one still has, must not be taken
 * for that of the new file. */
static int keep_old(struct restore *r, struct xu_error *err)
{
	char stamp[32], log[PATH_MAX], log_aside[PATH_MAX];
	time_t now = time(NULL);
	int rc = -EEXIST;
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	for (uint32_t i = 1; rc == -EEXIST && i <= NR_ASIDES; i++) {
		snprintf(r->aside, r->aside_size, i == 1 ? "%s.before-%s" : "%s.before-%s-%u",
			r->to, stamp, i);
		rc = link(r->to, r->aside) == 0 ? 0 : -errno;
	}
	if (rc == -ENOENT) {
		r->aside[0] = '\0';
		rc = 0;
	}
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "keeping %.200s as %.200s", r->to, r->aside);
	}
	snprintf(log, sizeof(log), "%s-wal", r->to);
	snprintf(log_aside, sizeof(log_aside), "%s-wal", r->aside[0] != '\0' ? r->aside : "");
	if (r->aside[0] != '\0' ? rename(log, log_aside) != 0 && errno != ENOENT
				: unlink(log) != 0 && errno != ENOENT) {
		return xu_error_set_errno(err, -errno, "putting %.200s aside", log);
	}
	snprintf(log, sizeof(log), "%s-shm", r->to);
	unlink(log);
	return 0;
}

static int replace(struct restore *r, struct xu_error *err)
{
	char copy[PATH_MAX];
	int fd, rc = rename(r->new_path, r->to) == 0 ? 0 : -errno;

	if (rc == 0) {
		snprintf(copy, sizeof(copy), "%s", r->to);
		fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 || fsync(fd) != 0 ? -errno : 0;
		if (fd >= 0) {
			close(fd);
		}
	}
	return rc == 0 ? 0
		       : xu_error_set_errno(err, rc, "putting it in the place of %.256s", r->to);
}

int xreg_sqlite_restore(const char *from, const char *to, char *aside, size_t aside_size,
	struct xreg_sqlite_info *ret_info, struct xu_error *err)
{
	struct restore r = {.from = from, .to = to, .aside = aside, .aside_size = aside_size};
	int rc = xreg_sqlite_check(from, ret_info, err);

	aside[0] = '\0';
	if (rc == 0 && (size_t)snprintf(r.new_path, sizeof(r.new_path), "%s.restore", to) + 64 >=
			       sizeof(r.new_path)) {
		rc = xu_error_set_errno(err, -ENAMETOOLONG, "restoring %.64s…", to);
	}
	if (rc == 0) {
		rc = lock_old(&r, err);
	}
	if (rc == 0) {
		rc = make_new(&r, err);
	}
	if (rc == 0) {
		rc = try_new(&r, err);
	}
	if (rc == 0) {
		rc = seal_old(&r, err);
	}
	if (rc == 0) {
		rc = keep_old(&r, err);
	}
	if (rc == 0) {
		rc = replace(&r, err);
	}
	if (rc != 0) {
		unlink(r.new_path);
	}
	sqlite3_close(r.old);
	return rc;
}
