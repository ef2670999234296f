/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A registry's database as a file: copies of one that is in use, and what is done with such copies
 * while no registry runs. See sqlite.c for what is in it.
 */
#ifndef LIB_XREGISTRY_SQLITE_FILE_H
#define LIB_XREGISTRY_SQLITE_FILE_H

#include <stddef.h>
#include <stdint.h>

struct sqlite3;
struct xu_error;

#define XREG_SQLITE_ID      0x58524547 /* "XREG", the application_id */
#define XREG_SQLITE_VERSION 2          /* the newest user_version that is known */

/* ---- of one that is in use: the thread that uses `db`, which is at `where` ---- */

/* Copies a part; a NULL *copy begins. 1: call it again, other work on `db` may be between; 0: the
 * copy is whole, *ret_fd reads it, it has no name. -errno: it has ended. *copy is NULL after both.
 * What is changed meanwhile is in the copy too, all of a transaction or nothing. */
struct xreg_sqlite_copy;
int xreg_sqlite_copy_step(struct sqlite3 *db, const char *where, struct xreg_sqlite_copy **copy,
	int *ret_fd, struct xu_error *err);
void xreg_sqlite_copy_cancel(struct xreg_sqlite_copy *copy); /* NULL is fine */

/* ---- of one that nobody uses; these block ---- */

struct xreg_sqlite_info {
	uint64_t nr_targets, revision;
};

/* Whether a file is a registry's database without a fault, of a version that is known. It is only
 * read. -EINVAL: it is not, or it has a log beside it; -EILSEQ: it is damaged. */
int xreg_sqlite_check(const char *path, struct xreg_sqlite_info *ret_info, struct xu_error *err);

/*
 * Puts a copy of `from` in the place of `to` (which may be missing) after checking it and all of
 * its records. What was there before is kept beside it: its new name goes to `aside`, "" when there
 * was none. At any moment, also after a crash, `to` is the old file or the new one. -EBUSY: a
 * registry uses it.
 */
int xreg_sqlite_restore(const char *from, const char *to, char *aside, size_t aside_size,
	struct xreg_sqlite_info *ret_info, struct xu_error *err);

#endif
