/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xbdev-perf: a load generator for devices of libxbdev.
 *
 * A run: make and open the devices, cut them into regions for the jobs, run the jobs (the measured
 * phase), with --verify read back what they wrote, report. It uses what is installed of libxbdev
 * and nothing else of it. A signal ends the phase early; what has been measured is reported.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/device.h"
#include "common/progress.h"
#include "perf/perf.h"

#define PROGRESS_NS (TOOL_NS_PER_S / 2)

/* ---- phases ---- */

struct phase {
	void (*fn)(struct perf_job *job);
	pthread_barrier_t barrier;
};

struct worker {
	pthread_t thread;
	struct perf_job *job;
	struct phase *phase;
};

static void pin(const struct perf_job *job)
{
	const struct perf_options *o = &job->run->options;
	cpu_set_t set;

	if (o->nr_job_cpus == 0) {
		return;
	}
	CPU_ZERO(&set);
	CPU_SET((size_t)o->job_cpus[job->index % o->nr_job_cpus], &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		tool_say("--job-cpus: CPU %d: %s; the job runs anywhere",
			o->job_cpus[job->index % o->nr_job_cpus], strerror(errno));
	}
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	pin(worker->job);
	pthread_barrier_wait(&worker->phase->barrier); /* all are there */
	pthread_barrier_wait(&worker->phase->barrier); /* start_ns is set */
	worker->phase->fn(worker->job);
	return NULL;
}

static void usage_now(uint64_t *ret_user_ns, uint64_t *ret_system_ns)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	*ret_user_ns = (uint64_t)usage.ru_utime.tv_sec * TOOL_NS_PER_S +
		       (uint64_t)usage.ru_utime.tv_usec * 1000;
	*ret_system_ns = (uint64_t)usage.ru_stime.tv_sec * TOOL_NS_PER_S +
			 (uint64_t)usage.ru_stime.tv_usec * 1000;
}

static void begin_measuring(struct perf_run *run)
{
	usage_now(&run->user_ns, &run->system_ns);
	run->start_ns = tool_now_ns();
}

static void end_measuring(struct perf_run *run)
{
	uint64_t user_ns, system_ns;

	run->elapsed_ns = tool_now_ns() - run->start_ns;
	usage_now(&user_ns, &system_ns);
	run->user_ns = user_ns - run->user_ns;
	run->system_ns = system_ns - run->system_ns;
}

/* Runs `fn` in a thread for each job; the embedded job in this one, which is the reactor. */
static bool run_threads(struct perf_run *run, void (*fn)(struct perf_job *job), bool is_measured)
{
	struct worker *workers = calloc(run->nr_jobs, sizeof(*workers));
	struct phase phase = {.fn = fn};

	if (workers == NULL || pthread_barrier_init(&phase.barrier, NULL, run->nr_jobs + 1) != 0) {
		tool_say("no memory for %u threads", run->nr_jobs);
		free(workers);
		return false;
	}
	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		workers[i] = (struct worker){.job = &run->jobs[i], .phase = &phase};
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
			/* Those that wait at the barrier cannot be called back. */
			tool_say("no thread for job %u; fewer --jobs may do", i);
			exit(TOOL_FAILED);
		}
	}
	pthread_barrier_wait(&phase.barrier);
	if (is_measured) {
		begin_measuring(run);
	}
	pthread_barrier_wait(&phase.barrier);
	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		pthread_join(workers[i].thread, NULL);
	}
	if (is_measured) {
		end_measuring(run);
	}
	pthread_barrier_destroy(&phase.barrier);
	free(workers);
	return true;
}

static bool run_phase(struct perf_run *run, void (*fn)(struct perf_job *job), bool is_measured)
{
	if (run->options.mode != PERF_EMBEDDED) {
		return run_threads(run, fn, is_measured);
	}
	pin(&run->jobs[0]);
	if (is_measured) {
		begin_measuring(run);
	}
	fn(&run->jobs[0]);
	if (is_measured) {
		end_measuring(run);
	}
	return true;
}

/* ---- the progress line ---- */

struct progress {
	struct perf_run *run;
	uint64_t start_ns;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool is_over;
};

static void show(struct progress *progress, uint64_t before[2], uint64_t *before_ns)
{
	uint64_t now[2], now_ns = tool_now_ns();
	char text[200];

	perf_sum(progress->run, now);
	perf_progress_text(progress->run, before, now, now_ns - *before_ns,
		now_ns - progress->start_ns, text, sizeof(text));
	tool_progress_show(text);
	memcpy(before, now, sizeof(now));
	*before_ns = now_ns;
}

static void *show_progress(void *arg)
{
	struct progress *progress = arg;
	uint64_t before[2] = {0}, before_ns = tool_now_ns(), wake_ns;
	struct timespec ts;

	pthread_mutex_lock(&progress->mutex);
	while (!progress->is_over) {
		wake_ns = tool_now_ns() + PROGRESS_NS;
		ts.tv_sec = (time_t)(wake_ns / TOOL_NS_PER_S);
		ts.tv_nsec = (long)(wake_ns % TOOL_NS_PER_S);
		pthread_cond_timedwait(&progress->cond, &progress->mutex, &ts);
		if (!progress->is_over) {
			show(progress, before, &before_ns);
		}
	}
	pthread_mutex_unlock(&progress->mutex);
	return NULL;
}

/* Measures with the line on the terminal, if there is one. */
static bool measure(struct perf_run *run)
{
	struct progress progress = {.run = run, .mutex = PTHREAD_MUTEX_INITIALIZER};
	pthread_condattr_t attr;
	bool is_done;

	progress.start_ns = tool_now_ns();
	if (!tool_progress_is_shown()) {
		return run_phase(run, perf_job_run, true);
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&progress.cond, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&progress.thread, NULL, show_progress, &progress) != 0) {
		return run_phase(run, perf_job_run, true);
	}
	is_done = run_phase(run, perf_job_run, true);
	pthread_mutex_lock(&progress.mutex);
	progress.is_over = true;
	pthread_cond_signal(&progress.cond);
	pthread_mutex_unlock(&progress.mutex);
	pthread_join(progress.thread, NULL);
	tool_progress_end_line();
	return is_done;
}

/* ---- devices and jobs ---- */

/* The part of the device that the options name. */
static bool region(const struct perf_options *o, const xbdev_info_t *info, uint64_t *ret_bytes)
{
	uint64_t room = o->offset < info->size_bytes ? info->size_bytes - o->offset : 0;
	uint64_t bytes = o->size != 0 ? o->size : room;

	if (o->bs % info->block_size != 0 || o->offset % info->block_size != 0) {
		tool_say("--bs %u or --offset %" PRIu64 " is not a multiple of %u, the block size "
			 "of device '%s'",
			o->bs, o->offset, info->block_size, info->name);
		return false;
	}
	if (bytes > room) {
		tool_say("device '%s' has %" PRIu64
			 " bytes behind --offset, less than --size %" PRIu64,
			info->name, room, bytes);
		return false;
	}
	*ret_bytes = bytes;
	return true;
}

/*
 * Jobs that go through their region in order, or know what is in it, have a share of it each; jobs
 * that read and write anywhere have all of it.
 */
static bool add_jobs(struct perf_run *run, uint32_t device, int fd, const xbdev_info_t *info)
{
	const struct perf_options *o = &run->options;
	bool is_shared = o->is_random && !o->verifies;
	uint64_t bytes, nr_blocks;

	if (!region(o, info, &bytes)) {
		return false;
	}
	nr_blocks = bytes / o->bs / (is_shared ? 1 : o->nr_jobs);
	if (nr_blocks == 0) {
		tool_say("device '%s' is too small for %u jobs with a --bs of %u bytes", info->name,
			o->nr_jobs, o->bs);
		return false;
	}
	for (uint32_t i = 0; i < o->nr_jobs; i++) {
		struct perf_job *job = &run->jobs[run->nr_jobs];

		*job = (struct perf_job){.run = run,
			.index = run->nr_jobs++,
			.fd = fd,
			.device = o->devices[device],
			.first_byte = o->offset + (is_shared ? 0 : i * nr_blocks * o->bs),
			.nr_blocks = nr_blocks,
			.fill_begin = is_shared ? nr_blocks * i / o->nr_jobs : 0,
			.fill_end = is_shared ? nr_blocks * (i + 1) / o->nr_jobs : nr_blocks};
		if (!perf_job_init(job)) {
			return false;
		}
	}
	return true;
}

static bool open_devices(struct perf_run *run)
{
	const struct perf_options *o = &run->options;
	bool writes = o->read_percent != 100 || o->fills;
	xbdev_info_t info;
	int fd;

	if (o->config != NULL && !tool_config_load(o->config)) {
		return false;
	}
	for (uint32_t i = 0; i < o->nr_devices; i++) {
		if (!tool_device_open(o->devices[i],
			    writes ? XBDEV_OPEN_READWRITE : XBDEV_OPEN_READ, &fd, &info)) {
			return false;
		}
		if (info.is_read_only && writes) {
			tool_say("device '%s' is read-only; --rw %s writes", info.name,
				o->fills ? "with --fill" : o->rw);
			return false;
		}
		if (!add_jobs(run, i, fd, &info)) {
			return false;
		}
	}
	return true;
}

/* What is read back comes from the device then, as far as it lets one. */
static bool flush_all(struct perf_run *run)
{
	for (uint32_t i = 0; i < run->nr_jobs; i += run->options.nr_jobs) {
		if (xbdev_flush(run->jobs[i].fd) != 0) {
			tool_say("device '%s': %s", run->jobs[i].device, xbdev_last_error());
			return false;
		}
	}
	return true;
}

static bool is_stuck(const struct perf_run *run)
{
	bool is_any_stuck = false;

	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		is_any_stuck |= run->jobs[i].is_stuck;
	}
	return is_any_stuck;
}

/* Whether the next phase makes sense. */
static bool may_go_on(const struct perf_run *run)
{
	return !tool_must_stop() && !atomic_load(&run->must_stop) && !is_stuck(run);
}

static int conclude(const struct perf_run *run)
{
	uint64_t nr_errors = 0, nr_bad = 0;

	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		nr_errors += run->jobs[i].nr_errors;
		nr_bad += run->jobs[i].verified.nr_bad;
	}
	return nr_bad != 0                       ? TOOL_DIFFERS
	       : nr_errors != 0 || is_stuck(run) ? TOOL_PARTIAL
	       : run->is_interrupted             ? TOOL_INTERRUPTED
						 : TOOL_OK;
}

static int run_all(struct perf_run *run)
{
	const struct perf_options *o = &run->options;
	int rc = TOOL_OK;

	if (xbdev_queue_init(o->depth, PERF_MAX_JOBS) != 0) {
		tool_say("%s", xbdev_last_error());
		return TOOL_FAILED;
	}
	if (!open_devices(run) || (o->fills && !run_phase(run, perf_job_fill, false))) {
		return TOOL_FAILED;
	}
	if (may_go_on(run) && !measure(run)) {
		return TOOL_FAILED;
	}
	if (o->verifies && o->read_percent != 100 && may_go_on(run)) {
		if (!flush_all(run)) {
			rc = TOOL_PARTIAL;
		} else {
			run_phase(run, perf_job_read_back, false);
		}
	}
	run->is_interrupted = tool_must_stop();
	perf_report(run);
	return rc != TOOL_OK ? rc : conclude(run);
}

/* The library cannot end with I/Os under way; nothing else is left to do. */
static int end(struct perf_run *run, int rc)
{
	if (!is_stuck(run) && !tool_library_end() && rc == TOOL_OK) {
		rc = TOOL_FAILED;
	}
	for (uint32_t i = 0; i < run->nr_jobs; i++) {
		perf_job_fini(&run->jobs[i]);
	}
	if ((fflush(stdout) != 0 || ferror(stdout)) && rc == TOOL_OK) {
		tool_say("cannot write the result: %s", strerror(errno));
		rc = TOOL_FAILED;
	}
	if (is_stuck(run)) {
		_exit(rc);
	}
	free(run->jobs);
	return rc;
}

int main(int argc, char **argv)
{
	static struct perf_run run;
	int rc;

	tool_name = "xbdev-perf";
	if (!perf_options_parse(&run.options, argc, argv, &rc)) {
		return rc;
	}
	tool_progress_init(!run.options.is_quiet);
	tool_signals_catch();
	run.options.library.is_embedded = run.options.mode == PERF_EMBEDDED;
	run.jobs = calloc(
		(size_t)run.options.nr_devices * run.options.nr_jobs, sizeof(struct perf_job));
	if (run.jobs == NULL || getrandom(&run.id, sizeof(run.id), 0) != sizeof(run.id)) {
		tool_say("no memory, or no random numbers");
		return TOOL_FAILED;
	}
	if (!tool_library_start(&run.options.library)) {
		return TOOL_FAILED;
	}
	return end(&run, run_all(&run));
}
