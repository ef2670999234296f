/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application of the library on a device of another node, for test-host-restart.py:
 *
 *   nvmf-user ADDRESS PORT NQN SECONDS FILE
 *
 * For so long, and until a line comes on its input, it writes and reads blocks at random, sixteen
 * at a time, and flushes now and then; every read must show the last acknowledged write. A line
 * "N" comes for each thousand I/Os. Then
 * it reads all of it again, flushes, writes to FILE what the device must hold from now on, says
 * "idle", does nothing until its input ends, and says how much CPU time that took. Every wait has
 * a bound. Exit code 0 when all was right.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <xbdev/xbdev.h>

#define BLOCK     4096u
#define NR_BLOCKS 2048u
#define DEPTH     16
#define WAIT_US   60000000u /* for one I/O, reconnecting included */

struct slot {
	xbdev_request_t *req;
	uint64_t *buf;
	uint32_t block;
	int op;
};

static struct slot slots[DEPTH];
static uint64_t stamps[NR_BLOCKS];  /* of the last write that was acknowledged; 0: none */
static uint64_t writing[NR_BLOCKS]; /* of the write that is in flight; 0: none */
static bool is_busy[NR_BLOCKS];
static uint64_t next_stamp = 1, nr_done;
static int fd, nr_out;
static bool is_ending;

static void die(const char *what)
{
	fprintf(stderr, "nvmf-user: %s: %s\n", what, xbdev_last_error());
	exit(1);
}

/* What a block holds after the write of this stamp. */
static void fill(uint64_t *buf, uint32_t block, uint64_t stamp)
{
	for (uint32_t i = 0; i < BLOCK / sizeof(*buf); i++) {
		buf[i] = stamp == 0 ? 0 : stamp * 0x9e3779b97f4a7c15u + block + i;
	}
}

static void check(const uint64_t *buf, uint32_t block)
{
	uint64_t right[BLOCK / sizeof(uint64_t)];

	fill(right, block, stamps[block]);
	if (memcmp(buf, right, sizeof(right)) != 0) {
		fprintf(stderr, "nvmf-user: block %u does not hold write %llu\n", block,
			(unsigned long long)stamps[block]);
		exit(1);
	}
}

static void start(struct slot *slot);

static void on_done(xbdev_request_t *req, int result, void *arg)
{
	struct slot *slot = arg;

	(void)req;
	if (result != (slot->op == XBDEV_OP_FLUSH ? 0 : (int)BLOCK)) {
		fprintf(stderr, "nvmf-user: an I/O ended with %d\n", result);
		exit(1);
	}
	if (slot->op == XBDEV_OP_WRITE) {
		stamps[slot->block] = writing[slot->block];
	} else if (slot->op == XBDEV_OP_READ) {
		check(slot->buf, slot->block);
	}
	is_busy[slot->block] = false;
	nr_out--;
	if (++nr_done % 1000 == 0) {
		printf("%llu\n", (unsigned long long)nr_done);
		fflush(stdout);
	}
	if (!is_ending) {
		start(slot);
	}
}

static void start(struct slot *slot)
{
	do {
		slot->block = (uint32_t)random() % NR_BLOCKS;
	} while (is_busy[slot->block]);
	is_busy[slot->block] = true;
	slot->op = random() % 100 == 0 ? XBDEV_OP_FLUSH
		   : random() % 2 == 0 ? XBDEV_OP_WRITE
				       : XBDEV_OP_READ;
	if (slot->op == XBDEV_OP_WRITE) {
		writing[slot->block] = next_stamp++;
		fill(slot->buf, slot->block, writing[slot->block]);
	}
	slot->req->op_type = slot->op;
	slot->req->offset = (uint64_t)slot->block * BLOCK;
	nr_out++;
	if (xbdev_request_submit(slot->req) != 0) {
		die("submitting");
	}
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void poll_once(void)
{
	if (xbdev_poll_completions(DEPTH, WAIT_US) <= 0) {
		die("nothing completed for a minute");
	}
}

/* Whether a line or the end has come on the input. */
static bool is_told_to_end(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, 0) > 0;
}

static void work(double seconds)
{
	double end_s = now_s() + seconds;

	for (int i = 0; i < DEPTH; i++) {
		slots[i].req = xbdev_request_alloc();
		slots[i].buf = xbdev_dma_buffer_alloc(BLOCK);
		if (slots[i].req == NULL || slots[i].buf == NULL) {
			die("allocating");
		}
		slots[i].req->fd = fd;
		slots[i].req->buf = slots[i].buf;
		slots[i].req->count = BLOCK;
		slots[i].req->user_cb = on_done;
		slots[i].req->user_arg = &slots[i];
		start(&slots[i]);
	}
	while (now_s() < end_s || !is_told_to_end()) {
		poll_once();
	}
	is_ending = true;
	while (nr_out != 0) {
		poll_once();
	}
}

static void check_all(const char *path)
{
	FILE *file = fopen(path, "wb");
	uint64_t *buf = slots[0].buf;

	if (file == NULL) {
		die(path);
	}
	for (uint32_t i = 0; i < NR_BLOCKS; i++) {
		if (xbdev_read(fd, buf, BLOCK, (uint64_t)i * BLOCK) != (int)BLOCK) {
			die("reading");
		}
		check(buf, i);
		if (fwrite(buf, BLOCK, 1, file) != 1) {
			die(path);
		}
	}
	if (xbdev_flush(fd) != 0 || fclose(file) != 0) {
		die("flushing");
	}
}

int main(int argc, char **argv)
{
	double start_s, start_cpu_s;

	if (argc != 6) {
		fputs("usage: nvmf-user ADDRESS PORT NQN SECONDS FILE\n", stderr);
		return 2;
	}
	if (xbdev_init() != 0 || xbdev_config_nvmf(argv[1], atoi(argv[2]), argv[3], "far") != 0) {
		die("connecting");
	}
	fd = xbdev_open("far");
	if (fd < 0 || xbdev_queue_init(DEPTH, 2) != 0) {
		die("opening");
	}
	work(atof(argv[4]));
	check_all(argv[5]);
	puts("idle");
	fflush(stdout);
	start_s = now_s();
	start_cpu_s = cpu_s();
	while (getchar() != EOF) {
	}
	printf("%.4f\n", (cpu_s() - start_cpu_s) / (now_s() - start_s));
	return xbdev_close(fd) == 0 && xbdev_fini() == 0 ? 0 : 1;
}
