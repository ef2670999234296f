/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which I/O comes next: read or write, where, and not before its time. With verification a block
 * with an I/O in flight is passed over, because of two at once nobody can say who was first.
 */
#include "perf/perf.h"

#define MAX_TRIES  16u
#define MAX_LAG_NS (TOOL_NS_PER_S / 10) /* a device that was too slow is not caught up with */

static uint64_t interval_ns(const struct perf_run *run)
{
	const struct perf_options *o = &run->options;
	double iops = (double)o->rate_iops;

	if (o->rate_bytes != 0 && (iops == 0 || iops > (double)o->rate_bytes / o->bs)) {
		iops = (double)o->rate_bytes / o->bs;
	}
	return iops == 0 ? 0 : (uint64_t)(1e9 * run->nr_jobs / iops) + 1;
}

void perf_choose_init(struct perf_job *job, uint64_t start_ns)
{
	const struct perf_run *run = job->run;
	const struct perf_options *o = &run->options;

	job->random.state = o->seed + job->index * 0x632be59bd9b4e019ull;
	job->next_block = 0;
	job->end_ns = o->runtime_ns != 0 ? start_ns + o->runtime_ns : UINT64_MAX;
	job->nr_left = o->io_bytes != 0     ? (o->io_bytes + o->bs - 1) / o->bs
		       : o->runtime_ns != 0 ? UINT64_MAX
					    : job->nr_blocks;
	job->pause_ns = interval_ns(run);
	/* Jobs take turns from the start. */
	job->next_ns = start_ns + job->pause_ns / run->nr_jobs * job->index;
}

bool perf_is_over(const struct perf_job *job, uint64_t now_ns)
{
	return job->nr_left == 0 || now_ns >= job->end_ns ||
	       atomic_load_explicit(&job->run->must_stop, memory_order_relaxed) || tool_must_stop();
}

static uint64_t any_block(struct perf_job *job)
{
	uint64_t block;

	if (job->run->options.is_random) {
		return perf_random_below(&job->random, job->nr_blocks);
	}
	block = job->next_block++;
	if (job->next_block == job->nr_blocks) {
		job->next_block = 0;
	}
	return block;
}

/* There are more blocks than I/Os in flight, so one is free. */
static uint64_t idle_block(struct perf_job *job)
{
	uint64_t block = any_block(job);

	for (uint32_t i = 0; i < MAX_TRIES && perf_verify_is_busy(job, block); i++) {
		block = any_block(job);
	}
	while (perf_verify_is_busy(job, block)) {
		block = block + 1 < job->nr_blocks ? block + 1 : 0;
	}
	return block;
}

static bool is_time(struct perf_job *job, uint64_t now_ns)
{
	if (job->pause_ns == 0) {
		return true;
	}
	if (now_ns < job->next_ns) {
		return false;
	}
	if (now_ns - job->next_ns > MAX_LAG_NS) {
		job->next_ns = now_ns - MAX_LAG_NS;
	}
	job->next_ns += job->pause_ns;
	return true;
}

bool perf_choose(
	struct perf_job *job, uint64_t now_ns, struct perf_slot *slot, uint64_t *ret_wait_ns)
{
	const struct perf_options *o = &job->run->options;

	*ret_wait_ns = UINT64_MAX;
	if (perf_is_over(job, now_ns)) {
		return false;
	}
	if (!is_time(job, now_ns)) {
		*ret_wait_ns = job->next_ns - now_ns;
		return false;
	}
	slot->is_read =
		o->read_percent == 100 ||
		(o->read_percent != 0 && perf_random_below(&job->random, 100) < o->read_percent);
	slot->block = o->verifies ? idle_block(job) : any_block(job);
	slot->generation = 0;
	if (o->verifies) {
		perf_verify_prepare(job, slot);
	}
	if (job->nr_left != UINT64_MAX) {
		job->nr_left--;
	}
	return true;
}
