/* SPDX-License-Identifier: BSD-3-Clause */
/* A lock on a whole file between processes. */
#ifndef XU_FILELOCK_H
#define XU_FILELOCK_H

#include <stdbool.h>

/*
 * Takes the lock (flock(2)) of an open file, to read with others or to write alone. It lasts until
 * the last descriptor is closed. A process that was killed keeps its locks for a moment, as long as
 * the kernel takes its io_uring apart, so a lock that is taken is tried again for two seconds. May
 * block that long; any thread. -EBUSY, or another -errno.
 */
int xu_file_lock(int fd, bool is_shared);

#endif
