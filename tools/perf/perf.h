/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to xbdev-perf. A run has jobs; a job is a thread with a region of a device, so many I/Os
 * in flight, and counters of its own that others only read.
 *
 *   options.c  the command line           verify.c  what is in a block, and whether it is right
 *   choose.c   which I/O comes next       report.c  the result, for people and as JSON
 *   job.c      submitting and completing  main.c    devices, threads, phases
 */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <xbdev/xbdev.h>

#include "common/hist.h"
#include "common/tool.h"

#define PERF_MAX_DEVICES 64u
#define PERF_MAX_JOBS    256u
#define PERF_MAX_DEPTH   65536u

enum perf_mode { PERF_QUEUE, PERF_SYNC, PERF_EMBEDDED };

/* ---- options.c ---- */

struct perf_options {
	const char *devices[PERF_MAX_DEVICES];
	uint32_t nr_devices;
	const char *config; /* NULL: none */
	const char *rw;     /* its name, for the report */
	bool is_random;
	uint32_t read_percent; /* 100: reads only */
	uint32_t bs;
	uint32_t depth;
	uint32_t nr_jobs; /* per device */
	uint64_t runtime_ns;
	uint64_t offset;   /* the region that is used begins here */
	uint64_t size;     /* and is so long; 0: to the end */
	uint64_t io_bytes; /* of each job; 0: as many as its region has, or none when runtime is
			    * given */
	bool fills;
	bool verifies;
	uint64_t rate_iops; /* of all jobs together; 0: no limit */
	uint64_t rate_bytes;
	uint64_t seed;
	enum perf_mode mode;
	struct tool_library library;
	int job_cpus[TOOL_MAX_CPUS];
	uint32_t nr_job_cpus;
	bool is_json;
	bool is_quiet;
};

/* Reads the command line. TOOL_OK; else the run is over with *ret_exit (help, version, an error).
 */
bool perf_options_parse(struct perf_options *options, int argc, char **argv, int *ret_exit);

/* ---- jobs ---- */

struct perf_direction {
	_Atomic uint64_t nr_ios; /* the job's to write */
	struct tool_hist latency;
};

struct perf_random {
	uint64_t state;
};

static inline uint64_t perf_random_u64(struct perf_random *random)
{
	/* splitmix64 (Steele, Lea, Flood, 2014). */
	uint64_t z = random->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint64_t perf_random_below(struct perf_random *random, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)perf_random_u64(random) * bound >> 64);
}

/* One I/O in flight. */
struct perf_slot {
	void *buf;
	uint64_t block; /* of the job's region, in units of bs */
	uint64_t start_ns;
	uint32_t generation; /* with verify: that is written, or that must be read; 0: unknown */
	bool is_read;
	struct perf_slot *next_free;
};

struct perf_verify_counts {
	uint64_t nr_good, nr_bad;
	uint64_t nr_blank; /* zeroes where nobody knows whether something was written */
};

struct perf_run;

struct perf_job {
	struct perf_run *run;
	uint32_t index;
	int fd;
	const char *device;
	uint64_t first_byte; /* of the region */
	uint64_t nr_blocks;  /* of bs bytes */
	struct perf_slot *slots;
	struct perf_slot *free;
	uint32_t nr_in_flight;
	xbdev_aio_event_t *events;
	char *memory;
	uint64_t fill_begin, fill_end; /* the blocks that this job fills */
	bool is_stuck;                 /* I/Os did not come back: the memory must stay */

	/* choose.c */
	struct perf_random random;
	uint64_t next_block;
	uint64_t nr_left;  /* I/Os to be started; UINT64_MAX: no bound */
	uint64_t end_ns;   /* UINT64_MAX: none */
	uint64_t pause_ns; /* between two I/Os at the wanted rate; 0: none */
	uint64_t next_ns;  /* when the next may start */

	/* verify.c: of each block, how often it was written; 0: not in this run. */
	uint32_t *generations;
	struct perf_verify_counts verified;

	/* The result. */
	struct perf_direction directions[2]; /* writes, reads: indexed by is_read */
	uint64_t nr_errors;
};

struct perf_run {
	struct perf_options options;
	uint64_t id; /* goes into each block that is written */
	struct perf_job *jobs;
	uint32_t nr_jobs;
	_Atomic bool must_stop; /* a job has failed */
	_Atomic uint32_t nr_said;

	/* The measured phase. */
	uint64_t start_ns, elapsed_ns;
	uint64_t user_ns, system_ns;
	bool is_interrupted;
};

/* ---- choose.c ---- */

/* Sets the job up for the measured phase, which begins at `start_ns`. */
void perf_choose_init(struct perf_job *job, uint64_t start_ns);
/* Picks the next I/O and writes it to the slot. False: not now; *ret_wait_ns says when to ask again
 * (UINT64_MAX: never again, or when something has completed). */
bool perf_choose(
	struct perf_job *job, uint64_t now_ns, struct perf_slot *slot, uint64_t *ret_wait_ns);
/* Whether nothing will be started any more. */
bool perf_is_over(const struct perf_job *job, uint64_t now_ns);

static inline uint64_t perf_offset(const struct perf_job *job, const struct perf_slot *slot)
{
	return job->first_byte + slot->block * job->run->options.bs;
}

/* ---- job.c ---- */

/* Memory of a job. False: it was said why. */
bool perf_job_init(struct perf_job *job);
void perf_job_fini(struct perf_job *job);
/* Writes the job's share of the region once. */
void perf_job_fill(struct perf_job *job);
/* The measured phase, in the job's thread. */
void perf_job_run(struct perf_job *job);
/* Reads back and checks what the measured phase has written. */
void perf_job_read_back(struct perf_job *job);
/* Says that an I/O has failed and stops the run. */
void perf_job_fail(struct perf_job *job, const struct perf_slot *slot, int result);

/* ---- verify.c ---- */

/* False: out of memory, or too many blocks; it was said. */
bool perf_verify_init(struct perf_job *job);
/* Whether an I/O of the block is in flight. */
bool perf_verify_is_busy(const struct perf_job *job, uint64_t block);
/* Before an I/O starts: fills the buffer of a write, notes what a read must find. */
void perf_verify_prepare(struct perf_job *job, struct perf_slot *slot);
/* After it: checks what was read. */
void perf_verify_complete(struct perf_job *job, struct perf_slot *slot, bool is_good);

/* ---- report.c ---- */

void perf_report(const struct perf_run *run);
/* A line of what has happened so far; `before` and `now` are sums of I/Os, writes and reads, with
 * `span_ns` between them. The text has room for 100 characters at least. */
void perf_progress_text(const struct perf_run *run, const uint64_t before[2], const uint64_t now[2],
	uint64_t span_ns, uint64_t elapsed_ns, char *text, uint32_t text_size);
void perf_sum(const struct perf_run *run, uint64_t ret_ios[2]);

#endif
