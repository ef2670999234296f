/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * batch [FILE]: many I/Os in one submission on a named queue that spins instead of sleeping, with
 * memory near one NUMA node. Without a file the device is one in memory.
 */
#include <stdio.h>
#include <stdlib.h>

#include <xbdev/xbdev.h>

#define BLOCK     4096u
#define NR_IOS    16
#define NR_ROUNDS 1000

static long check(const char *what, long rc)
{
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", what, xbdev_last_error());
		exit(1);
	}
	return rc;
}

/* The batch may be submitted again and again: it keeps its I/Os. */
static void run(int queue_id, xbdev_io_batch_t *batch)
{
	xbdev_stats_t stats;

	for (int i = 0; i < NR_ROUNDS; i++) {
		check("submitting", xbdev_io_queue_submit(queue_id, batch));
		check("waiting", xbdev_io_queue_wait(queue_id));
	}
	for (int i = 0; i < NR_IOS; i++) {
		check("an I/O", xbdev_io_batch_result(batch, i));
	}
	check("statistics", xbdev_stats_get("data_vol", &stats));
	printf("%llu reads: %u IOPS, %u MiB/s, mean latency %u us, 99 %% within %.1f us\n",
		(unsigned long long)stats.ops[XBDEV_OP_READ].count, stats.iops,
		stats.bandwidth_mbps, stats.avg_latency_us,
		(double)stats.ops[XBDEV_OP_READ].p99_ns / 1e3);
}

int main(int argc, char **argv)
{
	void *bufs[NR_IOS];
	xbdev_io_batch_t *batch;
	int queue_id, fd;

	if (argc > 2) {
		fprintf(stderr, "usage: batch [FILE]\n");
		return 2;
	}
	check("starting", xbdev_init());
	check("NUMA", xbdev_numa_set_preferred(0));
	check("NUMA", xbdev_memory_policy_set(XBDEV_MEMORY_PREFERRED));
	check("the device", argc == 2 ? xbdev_config_aio(argv[1], "data_vol")
				      : xbdev_config_malloc(64, BLOCK, "data_vol"));

	queue_id = (int)check(
		"the queue", xbdev_io_queue_create("high_perf_queue", 128, XBDEV_QUEUE_POLLING));
	fd = (int)check("opening", xbdev_open("data_vol"));
	batch = xbdev_io_batch_create(32); /* at most 32 I/Os */
	if (batch == NULL) {
		fprintf(stderr, "the batch: %s\n", xbdev_last_error());
		return 1;
	}
	for (int i = 0; i < NR_IOS; i++) {
		bufs[i] = xbdev_dma_buffer_alloc(BLOCK);
		if (bufs[i] == NULL) {
			fprintf(stderr, "out of memory\n");
			return 1;
		}
		check("adding", xbdev_io_batch_add(batch, fd, bufs[i], BLOCK, (uint64_t)i * BLOCK,
					XBDEV_OP_READ));
	}
	check("statistics", xbdev_stats_reset("data_vol"));
	run(queue_id, batch);

	check("freeing", xbdev_io_batch_free(batch));
	check("the queue", xbdev_io_queue_destroy(queue_id));
	check("closing", xbdev_close(fd));
	check("ending", xbdev_fini());
	for (int i = 0; i < NR_IOS; i++) {
		xbdev_dma_buffer_free(bufs[i]);
	}
	return 0;
}
