/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks of simulated hosts: a file or a block device by its path. Operations take a random time and
 * may overtake each other. What is written without DSYNC is volatile until an FSYNC that was
 * submitted after its completion has completed; a power failure keeps what is durable and of the
 * rest whatever it likes. Every write, discard, resize and flush is kept in a log, from which the
 * disk as a power failure at any moment of the run could have left it can be made.
 *
 * Simplified: a file that has been created stays (its size may not); metadata is as volatile as
 * data, and a discard can be torn like a write.
 */
#ifndef TEST_SIM_DISK_H
#define TEST_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/sim/sim_image.h"

struct sim_disk;
struct sim_host;

struct sim_disk_opts {
	uint64_t size_bytes;
	uint32_t block_size;     /* logical block; 0: 512 */
	uint32_t direct_align;   /* of buffers, offsets, lengths with O_DIRECT; 0: block_size */
	uint32_t sector_bytes;   /* what is never torn; 0: 512 */
	uint64_t latency_min_ns; /* both 0: 20 us … 2 ms, mostly short */
	uint64_t latency_max_ns;
	uint64_t space_bytes; /* writes that need more pages than this get -ENOSPC; 0: no bound */
	bool is_block_device;
	bool is_rotational;
	bool no_direct;      /* O_DIRECT is refused */
	bool no_punch;       /* no FALLOC_FL_PUNCH_HOLE */
	bool no_zero_range;  /* no FALLOC_FL_ZERO_RANGE */
	bool no_write_cache; /* what has completed is durable */
	/* Broken disks, to show that a test notices them. */
	bool drops_flush; /* FSYNC does nothing and succeeds */
	bool drops_dsync; /* DSYNC does nothing */
};

/* A disk of this host. Files that code creates by itself are disks too, with default options. */
struct sim_disk *sim_disk_new(
	struct sim_host *host, const char *path, const struct sim_disk_opts *opts);
/* NULL: there is none. */
struct sim_disk *sim_disk_find(struct sim_host *host, const char *path);
const struct sim_disk_opts *sim_disk_opts(const struct sim_disk *disk);

/* The content as a read would see it now, and a durable change behind everybody's back. */
const struct sim_image *sim_disk_content(const struct sim_disk *disk);
void sim_disk_read(const struct sim_disk *disk, uint64_t offset, void *buf, size_t len);
void sim_disk_write(struct sim_disk *disk, uint64_t offset, const void *buf, size_t len);
/* Replaces content and log. Takes the image. Nothing may be in flight (asserted). */
void sim_disk_set_image(struct sim_disk *disk, struct sim_image *image);

/* ---- faults ---- */

enum sim_fault_kind {
	SIM_FAULT_ERROR,   /* fails with `error`, without effect */
	SIM_FAULT_PARTIAL, /* a write gets some way, then fails with `error` */
	SIM_FAULT_SHORT,   /* a transfer of more than one block is cut short, which is no error */
	SIM_FAULT_FLIP,    /* one bit of what is read is wrong */
	SIM_FAULT_HANG,    /* does not end before sim_disk_release(); cannot be cancelled */
};

#define SIM_ALL_OPS 0u

/* A rule. The first rule that matches an operation when it is submitted decides about it. */
struct sim_fault {
	enum sim_fault_kind kind;
	uint32_t ops;         /* bits 1 << XR_OP_…; SIM_ALL_OPS */
	uint64_t offset, len; /* operations that touch this range; len 0: all, FSYNC too */
	uint64_t skip;        /* this many matching ones pass first */
	uint64_t count;       /* this many are hit; 0: all from then on */
	int error;            /* -errno; 0: -EIO */
};

void sim_disk_fault_add(struct sim_disk *disk, const struct sim_fault *fault);
void sim_disk_faults_clear(struct sim_disk *disk);
/* How many operations have been hit so far. */
uint64_t sim_disk_nr_faults(const struct sim_disk *disk);
/* Lets what hangs go on; it ends normally. */
void sim_disk_release(struct sim_disk *disk);

/* ---- the log ---- */

enum sim_log_kind { SIM_LOG_WRITE, SIM_LOG_ZERO, SIM_LOG_PUNCH, SIM_LOG_RESIZE, SIM_LOG_FLUSH };

#define SIM_NEVER UINT64_MAX

/*
 * What was done, in order of submission. The three points are positions on one scale of all log
 * events of the disk: an event at point P is in the past at crash point N when P < N.
 */
struct sim_log_entry {
	enum sim_log_kind kind;
	bool is_dsync;   /* durable when it has completed */
	bool is_void;    /* without effect: it fails, or the disk only pretends */
	bool is_growing; /* WRITE: it made the file larger */
	int32_t result;
	uint64_t offset, len;                   /* RESIZE: the new size is in offset */
	void *data;                             /* WRITE, once it is applied */
	uint64_t submitted, applied, completed; /* SIM_NEVER: not yet, or not at all */
	struct sim_op *sop;                     /* the simulator's, while not applied */
};

/* The current point: crash points are 0 … this one. */
uint64_t sim_disk_point(const struct sim_disk *disk);
uint64_t sim_disk_log_count(const struct sim_disk *disk);
const struct sim_log_entry *sim_disk_log_entry(const struct sim_disk *disk, uint64_t index);
/* Begins the log anew with the current content, all of it durable; points start again at 0. Nothing
 * may be in flight (asserted). */
void sim_disk_log_reset(struct sim_disk *disk);
/* Forgets what no power failure from now on can undo, so that a long run stays small; crash points
 * before now are lost, those after it count on. */
void sim_disk_log_trim(struct sim_disk *disk);

/* ---- power failures ---- */

enum sim_tail {
	SIM_TAIL_RANDOM, /* an arbitrary subset of what is not durable, torn at sectors */
	SIM_TAIL_NONE,   /* nothing that is not durable */
	SIM_TAIL_ALL,    /* everything that was submitted */
};

struct sim_crash {
	enum sim_tail tail;
	bool no_torn;  /* RANDOM: each write as a whole or not at all */
	uint64_t seed; /* RANDOM: of the choice; 0: from the world's */
};

/* The disk after a power failure at `point` (at most the current one). `crash` NULL: all random. */
struct sim_image *sim_disk_crash_image(
	struct sim_disk *disk, uint64_t point, const struct sim_crash *crash);

/* Its power fails, now: it holds the post-crash image, and what was in flight fails with -EIO. The
 * host goes on; see sim_host_power_fail() for all of it. */
void sim_disk_power_fail(struct sim_disk *disk, const struct sim_crash *crash);

#endif
