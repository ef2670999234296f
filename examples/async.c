/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * async FILE: asynchronous I/O with requests. Shows both ways to learn of a completion: waiting for
 * one request, and polling, which runs callbacks. The file must exist: truncate -s 64M FILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xbdev/xbdev.h>

#define BLOCK    4096u
#define NR_READS 8

static long check(const char *what, long rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

/* Runs in the thread that polls. It may submit again, but must not wait. */
static void my_completion_callback(xbdev_request_t *req, int result, void *my_context)
{
	int *nr_done = my_context;

	if (result < 0) {
		fprintf(stderr, "I/O at %llu: %s\n", (unsigned long long)req->offset,
			xbdev_strerror(result));
		exit(1);
	}
	(*nr_done)++;
}

static xbdev_request_t *make_request(int op_type, int fd, void *buf, uint64_t offset, int *nr_done)
{
	xbdev_request_t *req = xbdev_request_alloc();

	if (req == NULL) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	req->op_type = op_type;
	req->fd = fd;
	req->buf = buf;
	req->count = BLOCK;
	req->offset = offset;
	req->user_cb = my_completion_callback;
	req->user_arg = nr_done;
	return req;
}

/* Way 1: wait for a certain request. */
static void write_one(int fd, char *buf)
{
	int nr_done = 0;
	xbdev_request_t *req = make_request(XBDEV_OP_WRITE, fd, buf, 0, &nr_done);

	check("submitting", xbdev_request_submit(req));
	check("waiting", xbdev_request_wait(req, 1000000)); /* at most 1 s */
	printf("written: %d bytes, %d callback\n", req->result, nr_done);
	check("freeing", xbdev_request_free(req));
}

/* Way 2: have several in flight and take completions as they come. */
static void read_several(int fd, char *buf)
{
	xbdev_request_t *reqs[NR_READS];
	int nr_done = 0;

	for (int i = 0; i < NR_READS; i++) {
		reqs[i] = make_request(
			XBDEV_OP_READ, fd, buf + i * BLOCK, (uint64_t)i * BLOCK, &nr_done);
		check("submitting", xbdev_request_submit(reqs[i]));
	}
	while (nr_done < NR_READS) {
		/* Up to 10 at a time; 0 instead of 1000 would not wait at all. */
		check("polling", xbdev_poll_completions(10, 1000));
	}
	printf("read: %d blocks, the first begins with \"%s\"\n", nr_done, buf);
	for (int i = 0; i < NR_READS; i++) {
		check("freeing", xbdev_request_free(reqs[i]));
	}
}

int main(int argc, char **argv)
{
	char *buf;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: async FILE\n");
		return 2;
	}
	check("starting", xbdev_init());
	check("queues", xbdev_queue_init(1024, 8)); /* up to 8 threads' queues of 1024 I/Os */
	check(argv[1], xbdev_config_aio(argv[1], "data_vol"));
	fd = (int)check("opening", xbdev_open("data_vol"));

	/* Memory that reaches the device without a copy. */
	buf = xbdev_dma_buffer_alloc(NR_READS * BLOCK);
	if (buf == NULL) {
		fprintf(stderr, "out of memory\n");
		return 1;
	}
	strcpy(buf, "hello");
	write_one(fd, buf);
	memset(buf, 0, BLOCK);
	read_several(fd, buf);
	xbdev_dma_buffer_free(buf);

	check("closing", xbdev_close(fd));
	check("queues", xbdev_queue_fini());
	check("ending", xbdev_fini());
	return 0;
}
