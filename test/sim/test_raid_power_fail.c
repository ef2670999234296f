/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power failures of RAID arrays. A client writes to an array on disks with volatile caches, some
 * writes FUA, with flushes between them; at a random moment all disks lose power, each keeps what
 * it likes of what was not durable, the machine comes back and assembles the array. That is one
 * life; a run is several, so that power also fails in the middle of the resync and of recoveries.
 * In some runs a disk stops working for the rest of a life and comes back, stale, in the next one;
 * in others a member is being replaced.
 *
 * In others disks are lost together with the power, as many as the level can be without.
 *
 * After each failure:
 *   - the array is assembled without force, unless it is a parity array that is both dirty and
 *     degraded and has no log, which must be refused;
 *   - each sector holds a value that was written there, or what it held before, and none older than
 *     what a FUA write or a flush has made durable; with a PPL, but for what was being written to a
 *     disk that was lost;
 *   - it reads the same twice, and after the resync; and then a check finds nothing.
 * In the beginning every disk is full of other garbage, so copies and parity that were not made to
 * agree show. Disks that only pretend to flush must be found out, logs that are not written, and
 * those that count on what a recovery has done before its turn: power then has to fail while whole
 * rows are written to just that.
 *
 * SIM_ROUNDS=n runs n seeds of each kind of array, SIM_SEED=n starts at that seed.
 */
#include "test/sim/test_op.h"

#include <errno.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/raid.h"
#include "test/sim/sim_bdev.h"

#define SECTOR       512u
#define DATA_OFFSET  (1u << 20) /* what space.c takes for disks of this size, */
#define LOG_BYTES    (1u << 20) /* and more with a log */
#define MAX_DISKS    10u
#define MAX_OPS      60u
#define MAX_INFLIGHT 8u
#define MAX_COUNT    40u /* sectors of one write, */
#define MAX_ROW      64u /* and of one that is a whole row */
#define NEAR_SECTORS 256u
#define NR_LIVES     4u
#define NR_WARMING   40u
#define PIECE        (64u << 10)
#define MAX_SIZE     (8u << 20)
#define NEVER        UINT64_MAX

struct kind {
	const char *name;
	int32_t level;
	uint32_t layout;
	uint32_t nr_members, nr_spares;
	uint32_t chunk_bytes;
	uint32_t data_bytes; /* of each disk */
	bool has_failures;
	struct sim_disk_opts opts;
	enum xbdev_md_policy policy;
	bool has_losses; /* disks are lost together with the power */
	bool is_log_off;
	bool has_bitmap;
	bool has_replace;      /* the spare is to replace a member when a life begins */
	uint32_t write_behind; /* the first disk is write-mostly, and slow */
	bool has_hot;  /* the end of the array is in use, so a slow rebuild is there first */
	bool is_warm;  /* has_hot: from the start, and most power failures are amid the rebuild */
	bool has_rows; /* power fails while whole rows are written to what is done early */
	bool is_log_rash;
};

struct request {
	struct xbdev_io io;
	struct iovec iov;
	struct run *run;
	uint32_t version;
	uint64_t first, count;     /* sectors */
	uint64_t sub_seq, ack_seq; /* the client's own order of events; NEVER: not yet */
	char *memory;
};

struct run {
	const struct kind *kind;
	struct sim *sim;
	struct sim_host *host;
	struct sim_disk *disks[MAX_DISKS];
	uint32_t nr_disks;
	struct xbdev_ctx *ctx;
	struct xbdev_device *dev;
	struct sim_bdev bdevs[2];
	bool is_dead;
	uint64_t size_bytes;
	char *before; /* what the array held when this life began */
	uint64_t seq;
	uint32_t version;
	uint32_t nr_requests, nr_inflight;
	struct request requests[MAX_OPS + MAX_INFLIGHT];
	/* What was found. */
	uint32_t nr_wrong, nr_stale, nr_refused, nr_degraded, nr_unlike, nr_mismatches;
	uint32_t nr_lost;   /* sectors in flight that were lost with their disk */
	uint32_t nr_behind; /* writes that were, when the power failed */
	uint32_t nr_early;  /* lives in which the power failed when some was done before its turn */
	uint32_t lost;      /* bit per disk that is not there any more */
	uint32_t absent;    /* bit per role that was not in sync when the array came back */
	uint32_t nr_lacking;  /* members that were not in sync when the array was last looked at, */
	uint64_t lacking_seq; /* and since when that is so */
};

static struct xbdev_md_array *array_of(const struct run *run)
{
	return xu_container_of(run->dev, struct xbdev_md_array, dev);
}

static bool is_parity(const struct run *run)
{
	return run->kind->level >= 4 && run->kind->level <= 6;
}

static bool has_broken_disks(const struct run *run)
{
	return run->kind->opts.drops_flush || run->kind->opts.drops_dsync;
}

/* ---- disks and devices ---- */

static uint32_t disk_bytes(const struct kind *kind)
{
	uint32_t log_bytes = 0;

	if (kind->policy == XBDEV_MD_POLICY_PPL) {
		log_bytes = LOG_BYTES;
	} else if (kind->policy == XBDEV_MD_POLICY_JOURNAL && kind->chunk_bytes > 16384) {
		log_bytes = 3 * LOG_BYTES;
	}
	return DATA_OFFSET + kind->data_bytes + log_bytes;
}

static void fill_garbage(struct run *run, struct sim_disk *disk)
{
	static uint64_t words[PIECE / 8];

	for (uint32_t at = 0; at < disk_bytes(run->kind); at += PIECE) {
		for (uint32_t i = 0; i < PIECE / 8; i++) {
			words[i] = xu_random_u64(sim_random(run->sim));
		}
		sim_disk_write(disk, at, words, PIECE);
	}
}

static void open_disks(struct run *run)
{
	static struct xu_logger *log;
	struct xu_error err = {0};
	char json[128];

	if (log == NULL && getenv("SIM_LOG") != NULL) {
		const struct xu_log_opts opts = {.level = XU_LOG_INFO};

		assert_int_equal(xu_logger_new(&opts, &log, &err), 0);
	}
	run->ctx = sim_ctx_new(run->host, 2, log);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		snprintf(json, sizeof(json), "{'name':'m%u','filename':'/d%u','block_size':512}", i,
			i);
		if (sim_bdev_create(run->sim, run->ctx, "file", json, &err) == NULL) {
			fail_msg("%s", err.text);
		}
	}
}

struct making {
	struct run *run;
	bool is_done;
	struct xu_error err;
};

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct making *making = arg;

	making->run->dev = dev;
	if (dev == NULL) {
		making->err = *err;
	}
	making->is_done = true;
}

static bool is_made(void *arg)
{
	return ((struct making *)arg)->is_done;
}

static const char *const names[MAX_DISKS] = {
	"m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"};

static void do_create(void *arg)
{
	struct making *making = arg;
	const struct kind *kind = making->run->kind;
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = kind->level,
		.layout = kind->layout,
		.chunk_bytes = kind->chunk_bytes,
		.members = names,
		.nr_members = kind->nr_members,
		.nr_spares = kind->nr_spares,
		.policy = kind->policy,
		.bitmap_chunk_bytes = kind->has_bitmap ? 65536 : 0,
		.write_behind = kind->write_behind,
		.write_mostly = kind->write_behind != 0 ? 1 : 0,
	};

	xbdev__md_create(making->run->ctx, &opts, on_made, making);
}

static void do_assemble(void *arg)
{
	struct making *making = arg;
	const struct run *run = making->run;
	const char *members[MAX_DISKS];
	struct xbdev_md_assemble_opts opts = {
		.name = "md0",
		.level = run->kind->level,
		.members = members,
		.run = run->lost != 0,
	};

	for (uint32_t i = 0; i < run->nr_disks; i++) {
		if ((run->lost >> i & 1) == 0) {
			members[opts.nr_members++] = names[i];
		}
	}
	xbdev__md_assemble(making->run->ctx, &opts, on_made, making);
}

/* Slow enough now and then for power to fail in the middle of it. */
static void set_pace(struct run *run)
{
	static const uint64_t speeds[] = {0, 0, 1024, 8192};
	struct xbdev_md_array *array = array_of(run);

	array->sync_speed_min = speeds[xu_random_below(sim_random(run->sim), ARRAY_SIZE(speeds))];
	if (run->kind->has_hot) {
		array->sync_speed_min = 1 + xu_random_below(sim_random(run->sim), 4096);
	}
	if (run->kind->is_warm) {
		array->sync_speed_min = 16u << xu_random_below(sim_random(run->sim), 7);
	}
	array->sync_speed_max = array->sync_speed_min;
	if (run->kind->has_hot && array->bitmap != NULL) {
		array->bitmap->header.daemon_sleep_s = 1;
	}
}

/* 0 or -errno of an assembly that was refused. */
static int make(struct run *run, void (*fn)(void *arg))
{
	struct making making = {.run = run};
	struct xu_error err = {0};

	run->is_dead = false;
	sim_call(run->sim, xbdev_ctx_control(run->ctx), fn, &making);
	assert_int_equal(sim_run(run->sim, is_made, &making, 60 * XU_NS_PER_S), 0);
	if (run->dev == NULL) {
		bool is_right = making.err.code == -EUCLEAN && is_parity(run) &&
				(run->kind->has_failures || run->kind->has_losses) &&
				run->kind->policy == XBDEV_MD_POLICY_RESYNC;

		if (!is_right && !has_broken_disks(run)) {
			fail_msg("%s", making.err.text);
		}
		return making.err.code;
	}
	set_pace(run);
	if (run->kind->is_log_off) {
		array_of(run)->log->is_off = true;
	}
	if (run->kind->is_log_rash) {
		array_of(run)->log->is_rash = true;
	}
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(
			sim_bdev_open(run->sim, run->ctx, "md0", i, &run->bdevs[i], &err), 0);
	}
	return 0;
}

static void close_all(struct run *run)
{
	for (uint32_t i = 0; i < 2 && run->dev != NULL; i++) {
		sim_bdev_close(&run->bdevs[i]);
	}
	run->dev = NULL;
	sim_ctx_free(run->sim, run->ctx);
	run->ctx = NULL;
}

/* ---- the client ---- */

static void fill_sector(void *buf, uint32_t version, uint64_t sector)
{
	uint64_t *words = buf;

	words[0] = 0x5ec7045e00000000ull | version;
	words[1] = sector;
	for (uint32_t i = 2; i < SECTOR / sizeof(*words); i++) {
		words[i] = (words[i - 1] ^ words[0]) * 0x9e3779b97f4a7c15ull + i;
	}
}

static void on_done(struct xbdev_io *io, int status)
{
	struct request *request = xu_container_of(io, struct request, io);
	struct run *run = request->run;

	run->nr_inflight--;
	if (run->is_dead) {
		return;
	}
	if (status != 0) {
		fail_msg("operation %u at %llu: %s", io->op, (unsigned long long)request->first,
			strerror(-status));
	}
	request->ack_seq = ++run->seq;
}

static void do_submit(void *arg)
{
	struct request *request = arg;

	request->sub_seq = ++request->run->seq;
	assert_int_equal(xbdev_io_submit(&request->io), 0);
}

/* Often close to what was written before. */
static void choose_range(struct run *run, struct request *request, struct xu_random *random)
{
	const struct xbdev_md_geometry *geo = &array_of(run)->geo;
	uint64_t all = run->size_bytes / SECTOR, sectors = all;
	uint64_t row = (uint64_t)geo->chunk * geo->nr_data;

	if (run->kind->has_rows && xu_random_below(random, 2) == 0) {
		request->count = row;
		request->first = all - row * (1 + xu_random_below(random, NEAR_SECTORS / row));
		return;
	}
	request->count = 1 + xu_random_below(random, MAX_COUNT);
	sectors = xu_random_below(random, 3) != 0 ? NEAR_SECTORS : sectors;
	request->first = xu_random_below(random, sectors - request->count);
	if (run->kind->has_hot) {
		request->first += all - sectors;
	}
}

static void choose(struct run *run, struct request *request, struct xu_random *random)
{
	struct xbdev_io *io = &request->io;

	memset(request, 0, sizeof(*request));
	request->run = run;
	request->ack_seq = NEVER;
	io->ch = run->bdevs[xu_random_below(random, 2)].ch;
	io->cb = on_done;
	io->op = xu_random_below(random, 4) == 0 ? XBDEV_OP_FLUSH : XBDEV_OP_WRITE;
	if (io->op == XBDEV_OP_FLUSH) {
		return;
	}
	request->version = ++run->version;
	choose_range(run, request, random);
	assert_true(request->count <= MAX_ROW);
	request->memory = aligned_alloc(4096, (size_t)MAX_ROW * SECTOR);
	assert_non_null(request->memory);
	for (uint64_t i = 0; i < request->count; i++) {
		fill_sector(request->memory + i * SECTOR, request->version, request->first + i);
	}
	request->iov = (struct iovec){request->memory, request->count * SECTOR};
	io->iov = &request->iov;
	io->nr_iov = 1;
	io->offset = request->first * SECTOR;
	io->len = request->count * SECTOR;
	io->flags = xu_random_below(random, 4) == 0 ? XBDEV_IO_FUA : 0;
}

static bool has_room(void *arg)
{
	return ((struct run *)arg)->nr_inflight < MAX_INFLIGHT;
}

static bool is_idle(void *arg)
{
	return ((struct run *)arg)->nr_inflight == 0;
}

static void break_disk(struct run *run, uint32_t index)
{
	const struct sim_fault fault = {.kind = SIM_FAULT_ERROR};

	sim_disk_fault_add(run->disks[index], &fault);
}

struct command {
	struct run *run;
	struct xbdev_md_command what;
	bool is_done;
};

static void on_commanded(void *arg, const struct xu_error *err)
{
	struct command *command = arg;

	if (err != NULL && command->what.kind != XBDEV_MD_COMMAND_REPLACE) {
		fail_msg("%s", err->text);
	}
	command->is_done = true;
}

static void do_command(void *arg)
{
	struct command *command = arg;

	xbdev__md_manage(command->run->dev, &command->what, on_commanded, command);
}

static bool is_commanded(void *arg)
{
	return ((struct command *)arg)->is_done;
}

static void do_and_wait(struct run *run, const struct xbdev_md_command *what)
{
	struct command command = {.run = run, .what = *what};

	sim_call(run->sim, xbdev_ctx_control(run->ctx), do_command, &command);
	assert_int_equal(sim_run(run->sim, is_commanded, &command, 60 * XU_NS_PER_S), 0);
}

/* Any member by the one disk that has no role, or by whatever takes it: some are refused. */
static void replace_some(struct run *run)
{
	struct xu_random *random = sim_random(run->sim);

	for (uint32_t i = 0; i < 3; i++) {
		const struct xbdev_md_command what = {.kind = XBDEV_MD_COMMAND_REPLACE,
			.device = names[xu_random_below(random, run->nr_disks)],
			.new_device = names[xu_random_below(random, run->nr_disks)]};

		do_and_wait(run, &what);
	}
}

static void note_lacking(struct run *run)
{
	if (array_of(run)->nr_degraded != run->nr_lacking) {
		run->nr_lacking = array_of(run)->nr_degraded;
		run->lacking_seq = ++run->seq;
	}
}

static void use_end(struct run *run)
{
	static char content[PIECE];

	for (uint32_t i = 0; i < NR_WARMING; i++) {
		assert_int_equal(sim_bdev_io(&run->bdevs[i % 2], XBDEV_OP_READ, 0,
					 run->size_bytes - PIECE, content, PIECE),
			0);
	}
}

static bool has_early(const struct run *run)
{
	const struct xbdev_md_array *array = array_of(run);
	bool has = array->early.size != 0;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		has |= array->members[i] != NULL && array->members[i]->early.size != 0;
	}
	return has;
}

static bool is_early_or_quiet(void *arg)
{
	return has_early(arg) || array_of(arg)->sync == NULL;
}

static void submit(struct run *run)
{
	struct request *request = &run->requests[run->nr_requests++];

	note_lacking(run);
	choose(run, request, sim_random(run->sim));
	run->nr_inflight++;
	sim_call(run->sim, request->io.ch->reactor, do_submit, request);
	assert_int_equal(sim_run(run->sim, has_room, run, 60 * XU_NS_PER_S), 0);
}

/* What is being written when the power fails; some of it as soon as a recovery has been there
 * before its turn. */
static void write_to_early(struct run *run)
{
	uint64_t nr = xu_random_below(sim_random(run->sim), MAX_INFLIGHT);

	assert_int_equal(sim_run(run->sim, is_early_or_quiet, run, 60 * XU_NS_PER_S), 0);
	for (uint64_t i = 0; i <= nr; i++) {
		submit(run);
	}
	assert_int_equal(sim_run_for(run->sim, xu_random_below(sim_random(run->sim), 1000000)), 0);
}

/* Up to the moment at which the power fails. */
static void run_client(struct run *run)
{
	struct xu_random *random = sim_random(run->sim);
	uint32_t nr_ops = (uint32_t)xu_random_below(random, MAX_OPS);
	uint32_t break_max = run->kind->is_warm ? 20 : 80;
	uint32_t break_at =
		run->kind->has_failures ? (uint32_t)xu_random_below(random, break_max) : UINT32_MAX;

	bool is_broken = false;

	run->nr_requests = 0;
	if (run->kind->is_warm) {
		use_end(run);
	}
	if (run->kind->has_replace) {
		replace_some(run);
	}
	for (uint32_t i = 0; i < nr_ops; i++) {
		/* What no resync has been at yet reads otherwise without its first copy. */
		if (i >= break_at && !is_broken && array_of(run)->nr_degraded == 0 &&
			array_of(run)->in_sync_below == XBDEV_MD_NEVER) {
			is_broken = true;
			break_disk(run, (uint32_t)xu_random_below(random, run->nr_disks));
		}
		submit(run);
		if (xu_random_below(random, 4) == 0) {
			assert_int_equal(
				sim_run_for(run->sim, xu_random_below(random, 3000000)), 0);
		} else if (xu_random_below(random, 20) == 0) {
			/* Long enough to be called clean. */
			assert_int_equal(sim_run_for(run->sim,
						 150000000 + xu_random_below(random, 150000000)),
				0);
		}
		if (run->kind->is_warm && xu_random_below(random, 8) == 0) {
			assert_int_equal(
				sim_run_for(run->sim, xu_random_below(random, 400000000)), 0);
		}
	}
	if (run->kind->has_rows) {
		write_to_early(run);
		return;
	}
	if (xu_random_below(random, 2) == 0) {
		assert_int_equal(sim_run(run->sim, is_idle, run, 60 * XU_NS_PER_S), 0);
		assert_int_equal(sim_run_for(run->sim, xu_random_below(random, 300000000)), 0);
	}
	if (run->kind->has_hot && xu_random_below(random, 2) == 0) {
		/* The rebuild goes on, and the bitmap is swept. */
		assert_int_equal(sim_run_for(run->sim, xu_random_below(random, 5000000000)), 0);
	}
	assert_int_equal(sim_run_for(run->sim, xu_random_below(random, 2000000)), 0);
}

/* ---- judging ---- */

static void read_all(struct run *run, char *content)
{
	for (uint64_t at = 0; at < run->size_bytes; at += PIECE) {
		uint64_t len = run->size_bytes - at < PIECE ? run->size_bytes - at : PIECE;

		assert_int_equal(sim_bdev_io(&run->bdevs[at / PIECE % 2], XBDEV_OP_READ, 0, at,
					 content + at, len),
			0);
	}
}

static bool is_durable(const struct run *run, const struct request *request)
{
	if (request->io.op != XBDEV_OP_WRITE || request->ack_seq == NEVER) {
		return false;
	}
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		const struct request *flush = &run->requests[i];

		if (flush->io.op == XBDEV_OP_FLUSH && flush->sub_seq > request->ack_seq &&
			flush->ack_seq != NEVER) {
			return true;
		}
	}
	return (request->io.flags & XBDEV_IO_FUA) != 0;
}

/* What was acknowledged before this must not be seen in the sector any more; 0: what it held in the
 * beginning may. */
static void make_floors(const struct run *run, uint64_t *floors)
{
	memset(floors, 0, run->size_bytes / SECTOR * sizeof(*floors));
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		const struct request *request = &run->requests[i];

		for (uint64_t s = 0; is_durable(run, request) && s < request->count; s++) {
			uint64_t *floor = &floors[request->first + s];

			*floor = request->sub_seq > *floor ? request->sub_seq : *floor;
		}
	}
}

static const struct request *writer_of(const struct run *run, uint64_t sector, const char *content)
{
	char expected[SECTOR] __attribute__((aligned(8)));
	uint32_t version;

	memcpy(&version, content, sizeof(version));
	fill_sector(expected, version, sector);
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		const struct request *request = &run->requests[i];

		if (request->io.op == XBDEV_OP_WRITE && request->version == version &&
			sector >= request->first && sector < request->first + request->count) {
			return memcmp(content, expected, SECTOR) == 0 ? request : NULL;
		}
	}
	return NULL;
}

/* Is there a write of it that is not durable, and was submitted by then? */
static bool is_in_flight(const struct run *run, uint64_t sector, uint64_t last)
{
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		const struct request *request = &run->requests[i];

		if (request->io.op == XBDEV_OP_WRITE && sector >= request->first &&
			sector < request->first + request->count && request->sub_seq <= last &&
			!is_durable(run, request)) {
			return true;
		}
	}
	return false;
}

/* What was being written to a member that is lost is neither old nor new: a PPL has only what is
 * not written; a journal has what is written, but not where that is all of a row. What was written
 * to it when it had been lost, or was being recovered, is in the log. */
static bool may_be_lost(const struct run *run, uint64_t sector)
{
	const struct xbdev_md_geometry *geo = &array_of(run)->geo;
	struct xbdev_md_row who;
	uint64_t row_sectors = (uint64_t)geo->chunk * geo->nr_data;
	uint64_t first = sector / row_sectors * row_sectors + sector % geo->chunk;
	uint64_t last = run->lost != 0 ? NEVER : run->lacking_seq;

	if (run->kind->policy == XBDEV_MD_POLICY_RESYNC || !is_in_flight(run, sector, last)) {
		return false;
	}
	for (uint32_t i = 0; i < geo->nr_data; i++) {
		if (run->kind->policy == XBDEV_MD_POLICY_JOURNAL &&
			!is_in_flight(run, first + (uint64_t)i * geo->chunk, NEVER)) {
			return false;
		}
	}
	xbdev__md_row(geo, sector / row_sectors, &who);
	return (run->absent >> who.data[sector % row_sectors / geo->chunk] & 1) != 0;
}

static void judge(struct run *run, const char *content)
{
	static uint64_t floors[MAX_SIZE / SECTOR];

	make_floors(run, floors);
	for (uint64_t s = 0; s < run->size_bytes / SECTOR; s++) {
		const char *sector = content + s * SECTOR;
		const struct request *writer = writer_of(run, s, sector);

		if (writer != NULL) {
			run->nr_stale += writer->ack_seq <= floors[s];
		} else if (memcmp(sector, run->before + s * SECTOR, SECTOR) == 0) {
			run->nr_stale += floors[s] != 0;
		} else if (may_be_lost(run, s)) {
			run->nr_lost++;
		} else {
			run->nr_wrong++;
		}
	}
}

static void compare(struct run *run, const char *content, const char *wanted)
{
	for (uint64_t at = 0; at < run->size_bytes; at += SECTOR) {
		run->nr_unlike += memcmp(content + at, wanted + at, SECTOR) != 0;
	}
}

/* ---- lives ---- */

static void power_fail(struct run *run)
{
	run->is_dead = true;
	note_lacking(run);
	run->nr_early += has_early(run);
	run->nr_behind += array_of(run)->behind.nr;
	sim_host_power_fail(run->host, NULL);
	sim_host_bury(run->host);
	assert_int_equal(sim_run(run->sim, is_idle, run, 60 * XU_NS_PER_S), 0);
	close_all(run);
	run->host = sim_host_reboot(run->host);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_find(run->host, path);
		sim_disk_faults_clear(run->disks[i]);
		sim_disk_log_trim(run->disks[i]);
	}
}

/* False: the array was refused, and rightly. */
static bool come_back(struct run *run)
{
	static char content[MAX_SIZE], again[MAX_SIZE];
	int rc;

	open_disks(run);
	rc = make(run, do_assemble);
	run->absent = 0;
	for (uint32_t i = 0; rc == 0 && i < run->kind->nr_members; i++) {
		const struct xbdev_md_member *member = array_of(run)->roles[i];

		if (member == NULL || member->state != XBDEV_MD_MEMBER_IN_SYNC) {
			run->absent |= 1u << i;
		}
	}
	if (rc != 0) {
		run->nr_refused++;
		return false;
	}
	if (is_parity(run) && array_of(run)->nr_degraded > 0) {
		assert_true(array_of(run)->in_sync_below == XBDEV_MD_NEVER);
	}
	run->nr_degraded += array_of(run)->nr_degraded > 0;
	assert_true(xbdev_device_size_bytes(run->dev) == run->size_bytes);
	read_all(run, content);
	judge(run, content);
	read_all(run, again);
	compare(run, again, content);
	memcpy(run->before, content, run->size_bytes);
	return true;
}

static void free_requests(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		free(run->requests[i].memory);
	}
	run->nr_requests = 0;
}

static bool is_quiet(void *arg)
{
	const struct xbdev_md_array *array = array_of(arg);

	return array->sync == NULL && !array->is_active;
}

/* The array at rest: what it has done to itself has changed nothing that can be read. */
static void judge_rest(struct run *run)
{
	const struct xbdev_md_command check = {.kind = XBDEV_MD_COMMAND_CHECK};
	static char content[MAX_SIZE];

	assert_int_equal(sim_run(run->sim, is_quiet, run, 600 * XU_NS_PER_S), 0);
	assert_true(array_of(run)->in_sync_below == XBDEV_MD_NEVER);
	read_all(run, content);
	compare(run, content, run->before);
	do_and_wait(run, &check);
	assert_int_equal(sim_run(run->sim, is_quiet, run, 600 * XU_NS_PER_S), 0);
	run->nr_mismatches += array_of(run)->mismatch_sectors != 0;
}

static void run_init(struct run *run, const struct kind *kind, uint64_t seed)
{
	struct sim_disk_opts opts = kind->opts;
	char path[16];

	memset(run, 0, sizeof(*run));
	run->kind = kind;
	run->sim = sim_new(seed);
	run->host = sim_host_new(run->sim, "node", NULL);
	run->nr_disks = kind->nr_members + kind->nr_spares;
	opts.size_bytes = disk_bytes(kind);
	opts.is_block_device = true;
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		snprintf(path, sizeof(path), "/d%u", i);
		opts.latency_min_ns = i == 0 && kind->write_behind != 0 ? 500000 : 0;
		opts.latency_max_ns = i == 0 && kind->write_behind != 0 ? 40000000 : 0;
		run->disks[i] = sim_disk_new(run->host, path, &opts);
		fill_garbage(run, run->disks[i]);
	}
	open_disks(run);
	assert_int_equal(make(run, do_create), 0);
	run->size_bytes = xbdev_device_size_bytes(run->dev);
	assert_true(run->size_bytes <= MAX_SIZE);
	run->before = calloc(1, run->size_bytes);
	assert_non_null(run->before);
	if (kind->has_failures || kind->has_losses) {
		assert_int_equal(sim_run(run->sim, is_quiet, run, 600 * XU_NS_PER_S), 0);
	}
	read_all(run, run->before);
}

static void run_fini(struct run *run)
{
	close_all(run);
	assert_int_equal(sim_host_nr_open(run->host), 0);
	sim_free(run->sim);
	free(run->before);
}

/* As many as the array can do without; where one may have failed before, one less. */
static void lose_disks(struct run *run)
{
	uint32_t nr = run->kind->level == 6 && !run->kind->has_failures ? 2 : 1;

	for (uint32_t i = 0; i < nr; i++) {
		run->lost |= 1u << xu_random_below(sim_random(run->sim), run->kind->nr_members);
	}
}

/* A disk that was lost comes back, with what it held. */
static void bring_back(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		struct command command = {
			.run = run,
			.what = {.kind = XBDEV_MD_COMMAND_ADD, .device = names[i]},
		};

		if ((run->lost >> i & 1) != 0) {
			sim_call(run->sim, xbdev_ctx_control(run->ctx), do_command, &command);
			assert_int_equal(
				sim_run(run->sim, is_commanded, &command, 60 * XU_NS_PER_S), 0);
		}
	}
}

static void do_run(struct run *run, const struct kind *kind, uint64_t seed)
{
	run_init(run, kind, seed);
	for (uint32_t life = 0; life < NR_LIVES; life++) {
		bool is_back;

		if (kind->has_losses) {
			/* Without entries in its log an array is resynced. */
			assert_int_equal(sim_run(run->sim, is_quiet, run, 600 * XU_NS_PER_S), 0);
		}
		run_client(run);
		power_fail(run);
		if (kind->has_losses && life == NR_LIVES - 1) {
			lose_disks(run);
		}
		is_back = come_back(run);
		free_requests(run);
		if (!is_back) {
			run_fini(run);
			return;
		}
	}
	bring_back(run);
	judge_rest(run);
	run_fini(run);
}

/* ---- the tests ---- */

static const struct kind kinds[] = {
	{"raid1", 1, 0, 3, 0, 0, 1 << 20, false, {0}},
	{"raid1, failures", 1, 0, 3, 1, 0, 1 << 20, true, {0}},
	{"raid4", 4, 0, 4, 0, 4096, 256 << 10, false, {0}},
	{"raid5", 5, XBDEV_MD_LAYOUT_DEFAULT, 3, 0, 16384, 512 << 10, false, {0}},
	{"raid5, failures", 5, 0, 4, 1, 8192, 256 << 10, true, {0}},
	{"raid5, PPL", 5, XBDEV_MD_LAYOUT_DEFAULT, 3, 0, 16384, 512 << 10, false, {0},
		XBDEV_MD_POLICY_PPL},
	{"raid5, PPL, failures", 5, 0, 4, 1, 8192, 256 << 10, true, {0}, XBDEV_MD_POLICY_PPL},
	{"raid5, PPL, losses", 5, XBDEV_MD_LAYOUT_DEFAULT, 5, 0, 4096, 256 << 10, false, {0},
		XBDEV_MD_POLICY_PPL, true},
	{"raid5, PPL, losses, long stripes", 5, 3, 4, 0, 131072, 512 << 10, false, {0},
		XBDEV_MD_POLICY_PPL, true},
	{"raid6", 6, XBDEV_MD_LAYOUT_DEFAULT, 4, 0, 4096, 256 << 10, false, {0}},
	{"raid4, journal", 4, 0, 4, 0, 4096, 256 << 10, false, {0}, XBDEV_MD_POLICY_JOURNAL},
	{"raid4, journal, losses", 4, 0, 5, 0, 8192, 256 << 10, false, {0}, XBDEV_MD_POLICY_JOURNAL,
		true},
	{"raid6, journal", 6, XBDEV_MD_LAYOUT_DEFAULT, 5, 0, 8192, 256 << 10, false, {0},
		XBDEV_MD_POLICY_JOURNAL},
	{"raid6, journal, failures", 6, 9, 5, 1, 16384, 256 << 10, true, {0},
		XBDEV_MD_POLICY_JOURNAL},
	{"raid6, journal, losses", 6, XBDEV_MD_LAYOUT_DEFAULT, 6, 0, 4096, 128 << 10, false, {0},
		XBDEV_MD_POLICY_JOURNAL, true},
	{"raid6, journal, losses, long stripes", 6, 18, 5, 0, 131072, 512 << 10, false, {0},
		XBDEV_MD_POLICY_JOURNAL, true},
	{"raid6, failures", 6, 8, 5, 1, 16384, 512 << 10, true, {0}},
	{"raid10 near", 10, 0x102, 4, 0, 4096, 512 << 10, false, {0}},
	{"raid10 near, odd, failures", 10, 0x102, 5, 1, 16384, 256 << 10, true, {0}},
	{"raid10 far", 10, 0x201, 3, 0, 8192, 512 << 10, false, {0}},
	{"raid10 far, failures", 10, 0x201, 4, 1, 8192, 256 << 10, true, {0}},
	{"raid10 offset", 10, 0x10201, 4, 0, 16384, 512 << 10, false, {0}},
	{"raid10 offset, failures", 10, 0x10201, 3, 1, 4096, 512 << 10, true, {0}},
	{"raid1, bitmap", 1, 0, 3, 0, 0, 1 << 20, false, {0}, .has_bitmap = true},
	{"raid5, bitmap, failures", 5, 2, 4, 1, 8192, 256 << 10, true, {0}, .has_bitmap = true},
	{"raid6, bitmap", 6, 2, 5, 0, 4096, 256 << 10, false, {0}, .has_bitmap = true},
	{"raid10, bitmap, failures", 10, 0x102, 4, 1, 4096, 512 << 10, true, {0},
		.has_bitmap = true},
	{"raid1, replaced", 1, 0, 2, 1, 0, 1 << 20, false, {0}, .has_replace = true},
	{"raid5, replaced", 5, 2, 4, 1, 8192, 256 << 10, false, {0}, .has_replace = true},
	{"raid6, bitmap, replaced", 6, 2, 5, 1, 4096, 256 << 10, false, {0}, .has_bitmap = true,
		.has_replace = true},
	{"raid10, replaced", 10, 0x201, 4, 1, 8192, 256 << 10, false, {0}, .has_replace = true},
	{"raid1, behind", 1, 0, 2, 0, 0, 1 << 20, false, {0}, .has_bitmap = true,
		.write_behind = 16},
	{"raid1, behind, three", 1, 0, 3, 0, 0, 512 << 10, false, {0}, .has_bitmap = true,
		.write_behind = 3},
	{"raid1, behind, failures", 1, 0, 3, 1, 0, 512 << 10, true, {0}, .has_bitmap = true,
		.write_behind = 16},
	{"raid1, hot, failures", 1, 0, 3, 1, 0, 2 << 20, true, {0}, .has_hot = true},
	{"raid1, hot, bitmap", 1, 0, 2, 0, 0, 2 << 20, false, {0}, .has_bitmap = true,
		.has_hot = true},
	{"raid5, hot, failures", 5, 2, 4, 1, 8192, 1 << 20, true, {0}, .has_hot = true},
	{"raid5, hot, bitmap", 5, 2, 4, 0, 16384, 1 << 20, false, {0}, .has_bitmap = true,
		.has_hot = true},
	{"raid6, hot, replaced", 6, 2, 5, 1, 4096, 1 << 20, false, {0}, .has_replace = true,
		.has_hot = true},
	{"raid6, hot, failures", 6, 8, 5, 1, 65536, 1 << 20, true, {0}, .has_hot = true},
	{"raid10 near, hot, bitmap, failures", 10, 0x102, 4, 1, 8192, 1 << 20, true, {0},
		.has_bitmap = true, .has_hot = true},
	{"raid10 far, hot, failures", 10, 0x201, 3, 1, 16384, 1 << 20, true, {0}, .has_hot = true},
	{"raid5, PPL, hot, failures", 5, 2, 4, 1, 8192, 1 << 20, true, {0}, XBDEV_MD_POLICY_PPL,
		.has_hot = true},
	{"raid5, PPL, failures, replaced", 5, 2, 4, 1, 4096, 256 << 10, true, {0},
		XBDEV_MD_POLICY_PPL, .has_replace = true},
	{"raid5, PPL, losses, replaced", 5, 2, 4, 1, 4096, 256 << 10, false, {0},
		XBDEV_MD_POLICY_PPL, true, .has_replace = true},
	{"raid4, journal, failures, replaced", 4, 0, 4, 1, 4096, 256 << 10, true, {0},
		XBDEV_MD_POLICY_JOURNAL, .has_replace = true},
	{"raid5, PPL, warm", 5, 2, 3, 0, 16384, 1 << 20, false, {0}, XBDEV_MD_POLICY_PPL,
		.has_hot = true, .is_warm = true},
	{"raid5, PPL, warm, failures", 5, 2, 4, 1, 8192, 1 << 20, true, {0}, XBDEV_MD_POLICY_PPL,
		.has_hot = true, .is_warm = true},
	{"raid5, PPL, warm, failures, replaced", 5, 3, 5, 1, 4096, 1 << 20, true, {0},
		XBDEV_MD_POLICY_PPL, .has_replace = true, .has_hot = true, .is_warm = true},
	{"raid5, PPL, warm, failures, long stripes", 5, 2, 4, 2, 131072, 1 << 20, true, {0},
		XBDEV_MD_POLICY_PPL, .has_hot = true, .is_warm = true},
	{"raid4, journal, warm, failures", 4, 0, 4, 1, 8192, 1 << 20, true, {0},
		XBDEV_MD_POLICY_JOURNAL, .has_hot = true, .is_warm = true},
	{"raid6, journal, warm", 6, 2, 4, 0, 8192, 1 << 20, false, {0}, XBDEV_MD_POLICY_JOURNAL,
		.has_hot = true, .is_warm = true},
	{"raid6, journal, warm, failures, replaced", 6, 2, 5, 1, 4096, 1 << 20, true, {0},
		XBDEV_MD_POLICY_JOURNAL, .has_replace = true, .has_hot = true, .is_warm = true},
	{"raid6, journal, warm, failures, losses", 6, 9, 5, 2, 16384, 1 << 20, true, {0},
		XBDEV_MD_POLICY_JOURNAL, true, .has_hot = true, .is_warm = true},
	{"raid6, journal, warm, failures, losses, long stripes", 6, 18, 5, 1, 65536, 1 << 20, true,
		{0}, XBDEV_MD_POLICY_JOURNAL, true, .has_hot = true, .is_warm = true},
	{"raid4, journal, rows", 4, 0, 4, 1, 4096, 1 << 20, true, {0}, XBDEV_MD_POLICY_JOURNAL,
		.has_hot = true, .is_warm = true, .has_rows = true},
	{"raid4, journal, rows, wide", 4, 0, 9, 1, 4096, 512 << 10, true, {0},
		XBDEV_MD_POLICY_JOURNAL, .has_hot = true, .is_warm = true, .has_rows = true},
	{"raid6, journal, rows", 6, 2, 5, 1, 8192, 1 << 20, true, {0}, XBDEV_MD_POLICY_JOURNAL,
		.has_hot = true, .is_warm = true, .has_rows = true},
	{"raid5, PPL, rows", 5, 2, 4, 1, 4096, 1 << 20, true, {0}, XBDEV_MD_POLICY_PPL,
		.has_hot = true, .is_warm = true, .has_rows = true},
};

static uint64_t from_environment(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : fallback;
}

static void test_raid_power_fail_keeps_promises(void **state)
{
	uint64_t nr_rounds = from_environment("SIM_ROUNDS", 4);
	uint64_t first = from_environment("SIM_SEED", 1),
		 only = from_environment("SIM_KIND", NEVER);
	static struct run run;
	uint32_t nr_failed = 0, nr_early_all = 0, nr_behind_all = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint32_t nr_refused = 0, nr_degraded = 0, nr_lost = 0, nr_early = 0, nr_behind = 0;

		for (uint64_t seed = first; seed < first + nr_rounds; seed++) {
			if (only != NEVER && only != i) {
				continue;
			}
			do_run(&run, &kinds[i], seed);
			nr_refused += run.nr_refused;
			nr_degraded += run.nr_degraded;
			nr_lost += run.nr_lost;
			nr_early += run.nr_early;
			nr_behind += run.nr_behind;
			if (run.nr_wrong + run.nr_stale + run.nr_unlike + run.nr_mismatches != 0) {
				print_message("%s (%zu), seed %llu: %u foreign, %u stale, %u read "
					      "otherwise, %u mismatches\n",
					kinds[i].name, i, (unsigned long long)seed, run.nr_wrong,
					run.nr_stale, run.nr_unlike, run.nr_mismatches);
				nr_failed++;
			}
		}
		print_message("%s: %llu runs, %u refused, %u degraded, %u sectors lost in flight, "
			      "%u lives ended with some done early, %u writes behind\n",
			kinds[i].name, (unsigned long long)nr_rounds, nr_refused, nr_degraded,
			nr_lost, nr_early, nr_behind);
		nr_early_all += nr_early;
		nr_behind_all += nr_behind;
	}
	/* Else those that are for this show nothing. */
	assert_true((nr_early_all > 0 && nr_behind_all > 0) || nr_rounds < 6 || only != NEVER);
	assert_int_equal(nr_failed, 0);
}

/* What such runs have found and was repaired: the kind's number, and the seed that showed it. */
static void test_raid_power_fail_keeps_what_was_repaired(void **state)
{
	static const struct {
		size_t kind;
		uint64_t seed;
	} found[] = {
		{42, 1222}, /* a parity member broke when it was to take its log */
		/* Rows without a log, their parity's member being out: one member had the new
		 * data, and who was to replace it the old. */
		{43, 25},
		{44, 153}, /* a member with its log was lost, and who was to replace it had none */
		{45, 165}, /* half of the superblocks said that a member had been replaced */
	};
	static struct run run;

	for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
		do_run(&run, &kinds[found[i].kind], found[i].seed);
		assert_int_equal(run.nr_wrong + run.nr_stale, 0);
		assert_int_equal(run.nr_unlike + run.nr_mismatches, 0);
	}
}

/* Each of these disks acknowledges what it does not do; each must be found out. */
static void test_raid_power_fail_finds_broken_disks(void **state)
{
	static const struct kind broken[] = {
		{"raid1, drops flushes", 1, 0, 2, 0, 0, 1 << 20, false, {.drops_flush = true}},
		{"raid1, drops FUA", 1, 0, 2, 0, 0, 1 << 20, false, {.drops_dsync = true}},
		{"raid5, drops flushes", 5, XBDEV_MD_LAYOUT_DEFAULT, 3, 0, 4096, 256 << 10, false,
			{.drops_flush = true}},
		{"raid5, drops FUA", 5, XBDEV_MD_LAYOUT_DEFAULT, 3, 0, 4096, 256 << 10, false,
			{.drops_dsync = true}},
	};
	static struct run run;

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		uint32_t nr_found = 0;

		for (uint64_t seed = 101; seed < 105; seed++) {
			do_run(&run, &broken[i], seed);
			nr_found +=
				run.nr_stale + run.nr_unlike + run.nr_mismatches + run.nr_refused !=
				0;
		}
		print_message("%s: found in %u of 4 runs\n", broken[i].name, nr_found);
		assert_true(nr_found > 0);
	}
}

/* Without what it logs an array with a log is found out. */
static void test_raid_power_fail_finds_logs_that_are_off(void **state)
{
	static const struct kind off[] = {
		{"raid5, PPL off", 5, XBDEV_MD_LAYOUT_DEFAULT, 5, 0, 4096, 256 << 10, false, {0},
			XBDEV_MD_POLICY_PPL, true, true},
		{"raid4, journal off", 4, 0, 5, 0, 4096, 256 << 10, false, {0},
			XBDEV_MD_POLICY_JOURNAL, true, true},
		{"raid6, journal off", 6, XBDEV_MD_LAYOUT_DEFAULT, 6, 0, 4096, 128 << 10, false,
			{0}, XBDEV_MD_POLICY_JOURNAL, true, true},
	};
	static struct run run;

	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		uint32_t nr_found = 0;

		for (uint64_t seed = 201; seed < 211; seed++) {
			do_run(&run, &off[i], seed);
			nr_found += run.nr_wrong != 0;
		}
		print_message("%s: wrong blocks in %u of 10 runs\n", off[i].name, nr_found);
		assert_true(nr_found > 0);
	}
}

/* So is one that counts on what a recovery has in memory only: of whole rows a journal has nothing
 * but their place, and what the member gets of them is made from what else was being written. */
static void test_raid_power_fail_finds_logs_that_are_rash(void **state)
{
	static const struct kind rash[] = {
		{"raid4, journal rash", 4, 0, 4, 1, 4096, 1 << 20, true, {0},
			XBDEV_MD_POLICY_JOURNAL, .has_hot = true, .is_warm = true, .has_rows = true,
			.is_log_rash = true},
		{"raid4, journal rash, wide", 4, 0, 9, 1, 4096, 512 << 10, true, {0},
			XBDEV_MD_POLICY_JOURNAL, .has_hot = true, .is_warm = true, .has_rows = true,
			.is_log_rash = true},
		{"raid6, journal rash", 6, 2, 5, 1, 4096, 1 << 20, true, {0},
			XBDEV_MD_POLICY_JOURNAL, .has_hot = true, .is_warm = true, .has_rows = true,
			.is_log_rash = true},
		{"raid5, PPL rash", 5, 2, 4, 1, 4096, 1 << 20, true, {0}, XBDEV_MD_POLICY_PPL,
			.has_hot = true, .is_warm = true, .has_rows = true, .is_log_rash = true},
	};
	static struct run run;

	for (size_t i = 0; i < ARRAY_SIZE(rash); i++) {
		uint32_t nr_found = 0;

		for (uint64_t seed = 301; seed < 321; seed++) {
			do_run(&run, &rash[i], seed);
			nr_found += run.nr_wrong != 0;
		}
		print_message("%s: wrong blocks in %u of 20 runs\n", rash[i].name, nr_found);
		assert_true(nr_found > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raid_power_fail_keeps_promises),
		cmocka_unit_test(test_raid_power_fail_keeps_what_was_repaired),
		cmocka_unit_test(test_raid_power_fail_finds_broken_disks),
		cmocka_unit_test(test_raid_power_fail_finds_logs_that_are_off),
		cmocka_unit_test(test_raid_power_fail_finds_logs_that_are_rash),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
