/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are replaced as a whole: written beside, synced, renamed, their directory synced. So
 * after any failure and any crash a file is the old one or the new one. Blocks; any thread.
 */
#ifndef XBDEV_CONFIG_REPLACE_H
#define XBDEV_CONFIG_REPLACE_H

#include <jansson.h>
#include <sys/types.h>

/* The value as a text of several lines in new memory; NULL: out of memory. (The JSON library's own
 * json_dumps() may silently leave out a member then.) */
char *xbdev_config_dump(const json_t *value);

/*
 * Replaces `path`, in which symbolic links are not followed, by way of `new_path`, which must be in
 * the same directory; a file that is there is written over with O_TRUNC, so that what a crash left
 * behind is used again. -errno: `path` is what it was, or the new text is there and may not survive
 * a power failure (the last step, syncing the directory, has failed). `new_path` is gone then.
 */
int xbdev_config_replace(const char *path, const char *new_path, mode_t mode, const char *text);

#endif
