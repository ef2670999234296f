/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * storage CONFIG DEVICE SAVED: a configuration document makes the devices; a block of one of them
 * is read, marked and written behind where it was; then what there is now is saved as a document,
 * from which the same comes again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void copy_block(const char *device)
{
	int fd = (int)check("opening", xbdev_open(device));
	char buf[BLOCK];

	check("reading", xbdev_read(fd, buf, BLOCK, 0));
	memcpy(buf, "seen", 4);
	check("writing", xbdev_write(fd, buf, BLOCK, 2 * BLOCK));
	check("flushing", xbdev_flush(fd));
	check("closing", xbdev_close(fd));
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: storage CONFIG DEVICE SAVED\n");
		return 2;
	}
	check("starting", xbdev_init());
	/* Loads what is there, creates what is missing, and changes nothing when it fails. */
	check("configuring", xbdev_parse_config(argv[1]));
	printf("%d devices\n", xbdev_list(NULL, 0));
	copy_block(argv[2]);
	check("saving", xbdev_save_config(argv[3]));
	check("ending", xbdev_fini());

	/* As the next process would begin: nothing is created any more. */
	check("starting", xbdev_init());
	check("opening all", xbdev_open_from_json(argv[3]));
	printf("%d devices again\n", xbdev_list(NULL, 0));
	check("ending", xbdev_fini());
	return 0;
}
