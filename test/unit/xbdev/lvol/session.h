/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store on a disk in memory that is loaded, changed and closed, for the tests of lib/xbdev/lvol.
 * Each call waits for the end of what it asks for.
 */
#ifndef TEST_XBDEV_LVOL_SESSION_H
#define TEST_XBDEV_LVOL_SESSION_H

#include "lib/xbdev/lvol/write.h"
#include "test/unit/xbdev/lvol/disk.h"
#include "test/unit/xbdev/lvol/world.h"

struct lvol_session {
	struct lvol_world w;
	struct lvol_disk *disk;
	struct xbdev_lvs_waiter waiter;
	uint32_t nr_done;
	int status;
	struct xu_error err;
};

/* Makes a disk with this content and loads the store, ready for changes. */
void lvol_session_start(
	struct lvol_session *t, const uint8_t *content, uint64_t size, uint32_t block_size);
/* Lets all of it go, without an unload. */
void lvol_session_stop(struct lvol_session *t);

int lvol_session_commit(struct lvol_session *t);
/* Must work. */
void lvol_session_recover(struct lvol_session *t);
/* t->err has its result. */
void lvol_session_unload(struct lvol_session *t);

/* The content of an image of test/data/lvol; the caller frees it. */
uint8_t *lvol_session_content(const char *name, uint64_t *ret_size, uint32_t *ret_block_size);

/* What the independent reader (lvol_reader.py) must say of the store as it is in memory: the line
 * of the store, then one for each volume. The caller frees it. */
char *lvol_session_expected(struct lvol_session *t, bool has_content);
/* What it says of this content of a disk. */
char *lvol_session_reader(const struct lvol_image *image, bool has_content);

#endif
