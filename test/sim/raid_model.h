/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of test_raid_model.c: arrays against a plain array in memory, one life at a time.
 *
 *   raid_model_arrays.c   disks and arrays: made, assembled, commanded
 *   raid_model_client.c   the plain array, and the client that holds the arrays to it
 *   raid_model_events.c   what happens to arrays meanwhile: failures, restarts, crashes
 *   test_raid_model.c     which arrays, and their lives; test_raid_force.c uses the parts too
 */
#ifndef TEST_SIM_RAID_MODEL_H
#define TEST_SIM_RAID_MODEL_H

#include "test/sim/test_op.h"

#include "lib/util/error.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/raid.h"
#include "test/sim/sim_bdev.h"

#define SECTOR       512u
#define MAX_DISKS    12u
#define MAX_ARRAYS   5u
#define MAX_SLOTS    10u
#define MAX_COUNT    200u  /* sectors of one I/O */
#define MAX_SECTORS  8192u /* of the array at the top */
#define MAX_POSSIBLE 24u
#define PIECE        (64u << 10)
#define NEVER        UINT64_MAX

/* An array of disks, or with `nr_inner` of as many arrays like `inner`. */
struct kind {
	int32_t level;
	uint32_t layout;
	uint32_t nr_members;
	uint32_t chunk_bytes;
	bool has_bitmap;
	const struct kind *inner;
	enum xbdev_md_policy policy;
};

/* One version that a sector may have after a crash. */
struct version {
	uint32_t number;  /* 0: zeroes */
	uint64_t sub_seq; /* the client's own order of events */
	uint64_t ack_seq; /* NEVER: in flight */
};

struct sector {
	struct version possible[MAX_POSSIBLE]; /* the last one is what a read must give */
	uint8_t nr_possible;
	uint8_t nr_readers;
	bool is_being_written;
};

struct request {
	struct xbdev_io io;
	struct iovec iov;
	struct run *run;
	bool is_busy;
	uint32_t version;
	uint64_t first, count; /* sectors */
	uint64_t sub_seq;
	char memory[MAX_COUNT * SECTOR] __attribute__((aligned(4096)));
};

struct array {
	char name[8];
	const struct kind *kind;
	struct xbdev_device *dev;
	char names[MAX_DISKS][8]; /* members, spares, and what may become one */
	bool was_member[MAX_DISKS];
	uint32_t nr_names;
	bool is_lacking; /* a member, when it was interrupted: who was to take the place may not
			    know */
	bool may_lack;   /* one that was getting its content, and may not know of that either */
};

struct run {
	const struct kind *kind;
	struct sim *sim;
	struct sim_host *host;
	struct sim_disk *disks[MAX_DISKS];
	uint32_t nr_disks;
	struct xbdev_ctx *ctx;
	struct array arrays[MAX_ARRAYS]; /* the one at the top is the last */
	uint32_t nr_arrays;
	struct sim_bdev bdevs[2];
	uint64_t nr_sectors;
	uint64_t data_offset; /* bytes, of the disks */
	bool is_dead;
	uint64_t seq;
	uint32_t nr_degraded;  /* of the array at the top, when it was last looked at, */
	uint64_t degraded_seq; /* and since when that is so */
	uint32_t lacking;      /* bit per role of it that nobody filled after the last crash */
	uint32_t version;
	uint32_t nr_inflight;
	bool has_faults; /* rules of disks that are in force */
	struct request requests[MAX_SLOTS];
	struct sector sectors[MAX_SECTORS];
	uint64_t nr_ops, nr_crashes, nr_restarts, nr_failed, nr_commands, nr_refused;
	uint64_t nr_vanished, nr_lost;
};
static inline struct xbdev_md_array *model_md(const struct array *array)
{
	return xu_container_of(array->dev, struct xbdev_md_array, dev);
}

static inline struct array *model_top(struct run *run)
{
	return &run->arrays[run->nr_arrays - 1];
}

static inline bool model_is_parity(const struct array *array)
{
	return array->kind->level >= 4 && array->kind->level <= 6;
}

static inline uint64_t model_below(struct run *run, uint64_t bound)
{
	return xu_random_below(sim_random(run->sim), bound);
}

/* ---- raid_model_arrays.c ---- */

/* Names of all arrays and disks, as the kind wants them. */
void model_plan(struct run *run);
/* A context on the host, with the disks as devices. */
void model_open_disks(struct run *run);
/* One of them. */
void model_open_disk(struct run *run, uint32_t index);
/* Makes or assembles all arrays and opens the one at the top; what is refused ends the test. */
void model_make_all(struct run *run, bool is_new);
void model_open_top(struct run *run);
void model_close_top(struct run *run);
/* The command's error: many are refused, and rightly. */
int model_manage(struct run *run, struct array *array, enum xbdev_md_command_kind kind,
	const char *device, const char *new_device);

/* ---- raid_model_client.c ---- */

/* One random I/O, when there is room for it. */
void model_submit(struct run *run);
void model_wait_idle(struct run *run);
void model_read_all(struct run *run, char *content);
/* Each sector must hold its last version. */
void model_check_read(
	struct run *run, const char *what, uint64_t first, uint64_t count, const char *content);
/* After a crash: reads off which of its possible versions each sector has; what a killed process
 * has left is not durable yet. */
void model_settle_content(struct run *run, const char *content, bool is_durable);
/* Notes when the array has lost or got back a member. */
void model_note_degraded(struct run *run);
/* Notes which are missing after a crash: soon they may be there again. */
void model_note_lacking(struct run *run);

/* ---- raid_model_events.c ---- */

/* Something happens to one of the arrays. */
void model_happen(struct run *run);
/* Without I/O, until all that arrays do to themselves is done. */
void model_settle(struct run *run);
void model_mend_disks(struct run *run);

#endif
