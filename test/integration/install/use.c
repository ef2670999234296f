/* SPDX-License-Identifier: BSD-3-Clause */
/* A program as a user writes it: every header by itself, and one write that is read back. */
#include <stdio.h>
#include <string.h>

#include <xbdev/xbdev.h>

int main(void)
{
	char out[4096] = "hello", in[4096];
	int fd;

	if (xbdev_init() != 0 || xbdev_config_malloc(1, 4096, "mem0") != 0 ||
		(fd = xbdev_open("mem0")) < 0 ||
		xbdev_write(fd, out, sizeof(out), 8192) != sizeof(out) ||
		xbdev_read(fd, in, sizeof(in), 8192) != sizeof(in) || xbdev_close(fd) != 0 ||
		xbdev_fini() != 0) {
		fprintf(stderr, "%s\n", xbdev_last_error());
		return 1;
	}
	return memcmp(in, out, sizeof(in)) != 0;
}
