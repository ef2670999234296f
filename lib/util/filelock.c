/* SPDX-License-Identifier: BSD-3-Clause */
/* File locks that outwait a process which is being killed. */
#include "lib/util/filelock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

#define TRIES 40u
#define PAUSE ((struct timespec){.tv_nsec = 50000000}) /* 50 ms */

int xu_file_lock(int fd, bool is_shared)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (flock(fd, (is_shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) {
			return 0;
		}
		if (errno != EWOULDBLOCK && errno != EINTR) {
			return -errno;
		}
		nanosleep(&PAUSE, NULL);
	}
	return -EBUSY;
}
