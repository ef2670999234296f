/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A job: keeps its depth of I/Os in flight until the run is over. What completes together is
 * started anew together, with one reading of the clock before and one after, so at great depths a
 * latency may be wrong by the time of one such round; at depth 1 it is exact.
 *
 * The first error stops the run: after it a figure would mean nothing. An I/O that does not come
 * back within 10 s of the job's end is given up; its buffer stays.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "perf/perf.h"

#define LOOK_NS  (TOOL_NS_PER_S / 10) /* how often a waiting job looks whether it must stop */
#define DRAIN_NS (10 * TOOL_NS_PER_S) /* how long it waits for what is in flight at its end */

/* ---- memory ---- */

bool perf_job_init(struct perf_job *job)
{
	const struct perf_options *o = &job->run->options;
	struct perf_random random = {.state = o->seed ^ job->index};

	job->slots = calloc(o->depth, sizeof(*job->slots));
	job->events = calloc(o->depth, sizeof(*job->events));
	job->memory = xbdev_dma_buffer_alloc((size_t)o->depth * o->bs);
	if (job->slots == NULL || job->events == NULL || job->memory == NULL) {
		tool_say("no memory for %u buffers of %u bytes; lower --iodepth, --jobs or --bs",
			o->depth, o->bs);
		return false;
	}
	/* Not zeroes: a device might treat them as such. */
	for (size_t i = 0; i < (size_t)o->depth * o->bs / 8; i++) {
		((uint64_t *)(void *)job->memory)[i] = perf_random_u64(&random);
	}
	for (uint32_t i = 0; i < o->depth; i++) {
		job->slots[i].buf = job->memory + (size_t)i * o->bs;
		job->slots[i].next_free = job->free;
		job->free = &job->slots[i];
	}
	return !o->verifies || perf_verify_init(job);
}

void perf_job_fini(struct perf_job *job)
{
	if (job->is_stuck) {
		return; /* The library may still write there. */
	}
	free(job->slots);
	free(job->events);
	free(job->generations);
	xbdev_dma_buffer_free(job->memory);
}

/* ---- one I/O ---- */

void perf_job_fail(struct perf_job *job, const struct perf_slot *slot, int result)
{
	job->nr_errors++;
	if (!atomic_exchange(&job->run->must_stop, true)) {
		tool_say("device '%s': %s of %u bytes at %" PRIu64 ": %s", job->device,
			slot->is_read ? "reading" : "writing", job->run->options.bs,
			perf_offset(job, slot), xbdev_strerror(result));
	}
}

static void complete(struct perf_job *job, struct perf_slot *slot, int64_t result, uint64_t now_ns)
{
	struct perf_direction *direction = &job->directions[slot->is_read];
	bool is_good = result == (int64_t)job->run->options.bs;

	if (is_good) {
		tool_hist_add(&direction->latency, now_ns - slot->start_ns);
		atomic_store_explicit(&direction->nr_ios,
			atomic_load_explicit(&direction->nr_ios, memory_order_relaxed) + 1,
			memory_order_relaxed);
	} else {
		perf_job_fail(job, slot, result < 0 ? (int)result : -EIO);
	}
	if (job->generations != NULL) {
		perf_verify_complete(job, slot, is_good);
	}
}

static int stage(struct perf_job *job, struct perf_slot *slot)
{
	uint32_t bs = job->run->options.bs;
	uint64_t offset = perf_offset(job, slot);

	return slot->is_read ? xbdev_aio_read(job->fd, slot->buf, bs, offset, slot)
			     : xbdev_aio_write(job->fd, slot->buf, bs, offset, slot);
}

/* ---- many at a time ---- */

/* Starts a slot's I/O with the next submission. */
static void start(struct perf_job *job, struct perf_slot *slot, uint64_t now_ns)
{
	int rc;

	slot->start_ns = now_ns;
	rc = stage(job, slot);
	if (rc != 0) {
		complete(job, slot, rc, now_ns);
		slot->next_free = job->free;
		job->free = slot;
		return;
	}
	job->nr_in_flight++;
}

/* Fills the queue; returns how long nothing can be added because of the rate. */
static uint64_t fill_queue(struct perf_job *job)
{
	uint64_t now_ns = tool_now_ns(), wait_ns = UINT64_MAX;
	bool is_staged = false;

	while (job->free != NULL) {
		struct perf_slot *slot = job->free;

		if (!perf_choose(job, now_ns, slot, &wait_ns)) {
			break;
		}
		job->free = slot->next_free;
		start(job, slot, now_ns);
		is_staged = true;
	}
	if (is_staged) {
		xbdev_aio_submit();
	}
	return wait_ns;
}

/* Takes what has completed, waiting at most `wait_ns` for the first; returns how many. */
static uint32_t take_events(struct perf_job *job, uint64_t wait_ns)
{
	uint64_t timeout_us = (wait_ns < LOOK_NS ? wait_ns : LOOK_NS) / 1000;
	int count = xbdev_aio_get_events(job->events, job->run->options.depth, timeout_us);

	if (count < 0) {
		/* The library has gone from under its user. */
		tool_say("waiting for I/O: %s", xbdev_last_error());
		exit(TOOL_FAILED);
	}
	job->nr_in_flight -= (uint32_t)count;
	return (uint32_t)count;
}

static void reap(struct perf_job *job, uint64_t wait_ns)
{
	uint32_t count = take_events(job, wait_ns);
	uint64_t now_ns = tool_now_ns();

	for (uint32_t i = 0; i < count; i++) {
		struct perf_slot *slot = job->events[i].cb_arg;

		complete(job, slot, job->events[i].result, now_ns);
		slot->next_free = job->free;
		job->free = slot;
	}
}

/* At the end of a phase: whether what is in flight has been waited for long enough. */
static bool is_stuck(struct perf_job *job, uint64_t *over_ns)
{
	uint64_t now_ns = tool_now_ns();

	if (*over_ns == 0) {
		*over_ns = now_ns;
	}
	if (now_ns - *over_ns < DRAIN_NS) {
		return false;
	}
	tool_say("device '%s' does not give back %u I/Os", job->device, job->nr_in_flight);
	job->is_stuck = true;
	return true;
}

/* Nothing is in flight and nothing may start yet. */
static void pause_for(const struct perf_job *job, uint64_t wait_ns)
{
	struct timespec ts = {.tv_nsec = (long)(wait_ns < LOOK_NS ? wait_ns : LOOK_NS)};

	if (job->run->options.mode == PERF_EMBEDDED) {
		xbdev_poll((uint64_t)ts.tv_nsec / 1000);
	} else {
		nanosleep(&ts, NULL);
	}
}

static void run_queue(struct perf_job *job)
{
	uint64_t over_ns = 0;

	for (;;) {
		uint64_t wait_ns = fill_queue(job);

		if (job->nr_in_flight != 0) {
			reap(job, wait_ns);
		} else if (wait_ns != UINT64_MAX) {
			pause_for(job, wait_ns);
		}
		if (wait_ns != UINT64_MAX || !perf_is_over(job, tool_now_ns())) {
			continue;
		}
		if (job->nr_in_flight == 0 || is_stuck(job, &over_ns)) {
			return;
		}
	}
}

/* ---- one at a time ---- */

static void run_sync(struct perf_job *job)
{
	struct perf_slot *slot = &job->slots[0];
	uint32_t bs = job->run->options.bs;
	uint64_t now_ns = tool_now_ns(), wait_ns;

	while (!perf_is_over(job, now_ns)) {
		int64_t result;

		if (!perf_choose(job, now_ns, slot, &wait_ns)) {
			pause_for(job, wait_ns);
			now_ns = tool_now_ns();
			continue;
		}
		slot->start_ns = job->generations != NULL ? tool_now_ns() : now_ns;
		result = slot->is_read
				 ? xbdev_read(job->fd, slot->buf, bs, perf_offset(job, slot))
				 : xbdev_write(job->fd, slot->buf, bs, perf_offset(job, slot));
		now_ns = tool_now_ns();
		complete(job, slot, result, now_ns);
	}
}

void perf_job_run(struct perf_job *job)
{
	perf_choose_init(job, job->run->start_ns);
	if (job->run->options.mode == PERF_SYNC) {
		run_sync(job);
	} else {
		run_queue(job);
	}
}

/* ---- what is not measured: filling before, reading back after ---- */

static bool must_end(const struct perf_job *job)
{
	return tool_must_stop() || atomic_load_explicit(&job->run->must_stop, memory_order_relaxed);
}

static void complete_silently(struct perf_job *job, struct perf_slot *slot, int64_t result)
{
	bool is_good = result == (int64_t)job->run->options.bs;

	if (!is_good) {
		perf_job_fail(job, slot, result < 0 ? (int)result : -EIO);
	}
	if (job->generations != NULL) {
		perf_verify_complete(job, slot, is_good);
	}
	slot->next_free = job->free;
	job->free = slot;
}

/* Starts an I/O of job->next_block. */
static void start_silently(struct perf_job *job, bool is_read)
{
	struct perf_slot *slot = job->free;
	int rc;

	job->free = slot->next_free;
	slot->block = job->next_block++;
	slot->is_read = is_read;
	if (job->generations != NULL) {
		perf_verify_prepare(job, slot);
	}
	rc = stage(job, slot);
	if (rc != 0) {
		complete_silently(job, slot, rc);
	} else {
		job->nr_in_flight++;
	}
}

/* Goes over the blocks from job->next_block as far as `has_next` leads. */
static void sweep(struct perf_job *job, bool (*has_next)(struct perf_job *job), bool is_read)
{
	uint64_t over_ns = 0;
	uint32_t count;

	do {
		while (job->free != NULL && has_next(job)) {
			start_silently(job, is_read);
		}
		xbdev_aio_submit();
		count = job->nr_in_flight != 0 ? take_events(job, LOOK_NS) : 0;
		for (uint32_t i = 0; i < count; i++) {
			complete_silently(job, job->events[i].cb_arg, job->events[i].result);
		}
		if (job->nr_in_flight != 0 && must_end(job) && is_stuck(job, &over_ns)) {
			return;
		}
	} while (job->nr_in_flight != 0 || has_next(job));
}

static bool next_written(struct perf_job *job)
{
	while (job->next_block < job->nr_blocks && job->generations[job->next_block] == 0) {
		job->next_block++;
	}
	return job->next_block < job->nr_blocks && !must_end(job);
}

void perf_job_read_back(struct perf_job *job)
{
	job->next_block = 0;
	sweep(job, next_written, true);
}

static bool next_to_fill(struct perf_job *job)
{
	return job->next_block < job->fill_end && !must_end(job);
}

void perf_job_fill(struct perf_job *job)
{
	job->next_block = job->fill_begin;
	sweep(job, next_to_fill, false);
}
