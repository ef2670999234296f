/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * basic FILE FILE: two files become devices; a block goes from the first to the second and is made
 * durable. The files must exist: truncate -s 64M a b
 */
#include <stdio.h>
#include <stdlib.h>

#include <xbdev/xbdev.h>

#define BLOCK 4096u

/* Ends the program with the library's sentence when a call has failed. */
static long check(const char *what, long rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

int main(int argc, char **argv)
{
	int data_fd, log_fd;
	char buf[BLOCK];
	xbdev_info_t info;

	if (argc != 3) {
		fprintf(stderr, "usage: basic FILE FILE\n");
		return 2;
	}
	check("starting", xbdev_init());
	check(argv[1], xbdev_config_aio(argv[1], "data"));
	check(argv[2], xbdev_config_aio(argv[2], "log"));

	data_fd = (int)check("opening", xbdev_open("data"));
	log_fd = (int)check("opening", xbdev_open("log"));
	check("asking", xbdev_get_info(data_fd, &info));
	printf("%s: %llu bytes in blocks of %u\n", info.name, (unsigned long long)info.size_bytes,
		info.block_size);

	check("reading", xbdev_read(data_fd, buf, BLOCK, 0));
	check("writing", xbdev_write(log_fd, buf, BLOCK, BLOCK));
	check("flushing", xbdev_flush(log_fd));
	/* The same in one step: this write is durable when it returns. */
	check("writing", xbdev_write_with(log_fd, buf, BLOCK, 0, XBDEV_IO_FUA));
	printf("the second file holds the block twice: %s\n",
		xbdev_compare(log_fd, buf, BLOCK, 0) == 0 &&
				xbdev_compare(log_fd, buf, BLOCK, BLOCK) == 0
			? "yes"
			: "no");

	check("closing", xbdev_close(data_fd));
	check("closing", xbdev_close(log_fd));
	check("ending", xbdev_fini());
	return 0;
}
