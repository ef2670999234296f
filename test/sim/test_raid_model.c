/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays against a plain array in memory. A client reads, writes, discards and flushes at random,
 * several I/Os at a time, while all that an array can go through happens to it: members fail by
 * command, by a write error, by read errors here and there; they are removed, come back, are
 * replaced; checks and repairs run; the array is stopped and assembled; its process is killed; its
 * power fails. Every level and layout in turn, and arrays of arrays.
 *
 * I/Os in flight do not overlap a write, so each read has one right answer: the last version of
 * each sector. A crash leaves each sector with its last durable version or any that came later;
 * which one is read off, and from then on that is the only one. No I/O may fail: what the test does
 * to an array is always something that its redundancy covers. At the end of each life all is read,
 * and a check of each array finds nothing.
 *
 * XSAN_LONG=1 does millions of operations, XSAN_TEST_SEED=n begins with another seed, SIM_KIND=n
 * runs only that row of the table, SIM_OPS=n so many operations of each.
 */
#include "test/sim/test_op.h"

#include <errno.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/sim/sim_bdev.h"

#define SECTOR       512u
#define DATA_OFFSET  (1u << 20) /* what space.c takes for disks of this size */
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
};

/* One version that a sector may have after a crash. */
struct version {
	uint32_t number;  /* 0: zeroes */
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
	bool is_dead;
	uint64_t seq;
	uint32_t version;
	uint32_t nr_inflight;
	bool has_faults; /* rules of disks that are in force */
	struct request requests[MAX_SLOTS];
	struct sector sectors[MAX_SECTORS];
	uint64_t nr_ops, nr_crashes, nr_restarts, nr_failed, nr_commands, nr_refused;
};

static struct xbdev_md_array *md_of(const struct array *array)
{
	return xu_container_of(array->dev, struct xbdev_md_array, dev);
}

static struct array *top_of(struct run *run)
{
	return &run->arrays[run->nr_arrays - 1];
}

static bool is_parity(const struct array *array)
{
	return array->kind->level >= 4 && array->kind->level <= 6;
}

static uint64_t below(struct run *run, uint64_t bound)
{
	return xu_random_below(sim_random(run->sim), bound);
}

/* ---- commands ---- */

struct making {
	struct run *run;
	struct array *array;
	bool is_done;
	struct xu_error err;
	struct xbdev_md_command what;
};

static bool is_done(void *arg)
{
	return ((struct making *)arg)->is_done;
}

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct making *making = arg;

	making->array->dev = dev;
	if (dev == NULL) {
		making->err = *err;
	}
	making->is_done = true;
}

static void do_create(void *arg)
{
	struct making *making = arg;
	struct array *array = making->array;
	const char *members[MAX_DISKS];
	struct xbdev_md_create_opts opts = {
		.name = array->name,
		.level = array->kind->level,
		.layout = array->kind->layout,
		.chunk_bytes = array->kind->chunk_bytes,
		.members = members,
		.nr_members = array->kind->nr_members,
		.bitmap_chunk_bytes = array->kind->has_bitmap ? 65536 : 0,
	};

	for (uint32_t i = 0; i < array->nr_names; i++) {
		members[i] = array->names[i];
		array->was_member[i] = i < opts.nr_members;
	}
	xbdev__md_create(making->run->ctx, &opts, on_made, making);
}

static void do_assemble(void *arg)
{
	struct making *making = arg;
	struct array *array = making->array;
	const char *members[MAX_DISKS];
	struct xbdev_md_assemble_opts opts = {
		.name = array->name, .level = array->kind->level, .members = members};

	for (uint32_t i = 0; i < array->nr_names; i++) {
		if (array->was_member[i]) {
			members[opts.nr_members++] = array->names[i];
		}
	}
	xbdev__md_assemble(making->run->ctx, &opts, on_made, making);
}

static void make(struct run *run, struct array *array, void (*fn)(void *arg))
{
	struct making making = {.run = run, .array = array};

	sim_call(run->sim, xbdev_ctx_control(run->ctx), fn, &making);
	assert_int_equal(sim_run(run->sim, is_done, &making, 60 * XU_NS_PER_S), 0);
	if (array->dev == NULL) {
		fail_msg("%s", making.err.text);
	}
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct making *making = arg;

	if (err != NULL) {
		assert_true(err->text[0] != '\0');
		making->err = *err;
	}
	making->is_done = true;
}

static void do_manage(void *arg)
{
	struct making *making = arg;

	xbdev__md_manage(making->array->dev, &making->what, on_managed, making);
}

/* The command's error: many are refused, and rightly. */
static int manage(struct run *run, struct array *array, enum xbdev_md_command_kind kind,
	const char *device, const char *new_device)
{
	struct making making = {.run = run,
		.array = array,
		.what = {.kind = kind, .device = device, .new_device = new_device}};

	sim_call(run->sim, xbdev_ctx_control(run->ctx), do_manage, &making);
	assert_int_equal(sim_run(run->sim, is_done, &making, 60 * XU_NS_PER_S), 0);
	run->nr_commands++;
	run->nr_refused += making.err.code != 0;
	return making.err.code;
}

/* ---- disks and arrays ---- */

static void open_disks(struct run *run)
{
	static struct xu_logger *log;
	struct xu_error err = {0};
	char json[128];

	if (log == NULL && getenv("SIM_LOG") != NULL) {
		const struct xu_log_opts opts = {.level = XU_LOG_INFO};

		assert_int_equal(xu_logger_new(&opts, &log, &err), 0);
	}
	run->is_dead = false;
	run->ctx = sim_ctx_new(run->host, 2, log);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		snprintf(json, sizeof(json), "{'name':'m%u','filename':'/d%u','block_size':512}", i,
			i);
		if (sim_bdev_create(run->sim, run->ctx, "file", json, &err) == NULL) {
			fail_msg("%s", err.text);
		}
	}
}

/* Slow enough now and then for things to happen in the middle of a resync or recovery. */
static void set_pace(struct run *run, struct array *array)
{
	static const uint64_t speeds[] = {0, 0, 0, 4096, 16384};

	md_of(array)->sync_speed_min = speeds[below(run, sizeof(speeds) / sizeof(speeds[0]))];
	md_of(array)->sync_speed_max = md_of(array)->sync_speed_min;
}

static void open_top(struct run *run)
{
	struct xu_error err = {0};

	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(sim_bdev_open(run->sim, run->ctx, top_of(run)->name, i,
					 &run->bdevs[i], &err),
			0);
	}
}

static void make_all(struct run *run, void (*fn)(void *arg))
{
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		make(run, &run->arrays[i], fn);
		set_pace(run, &run->arrays[i]);
	}
	open_top(run);
}

static void close_top(struct run *run)
{
	for (uint32_t i = 0; i < 2; i++) {
		sim_bdev_close(&run->bdevs[i]);
	}
}

/* One more disk than members for each array of disks; an array of arrays has none. */
static void plan_arrays(struct run *run)
{
	const struct kind *inner = run->kind->inner;
	uint32_t nr_inner = inner != NULL ? run->kind->nr_members : 0;
	struct array *top;

	run->nr_arrays = nr_inner + 1;
	for (uint32_t i = 0; i < nr_inner; i++) {
		struct array *array = &run->arrays[i];

		array->kind = inner;
		snprintf(array->name, sizeof(array->name), "in%u", i);
		array->nr_names = inner->nr_members;
		for (uint32_t n = 0; n < array->nr_names; n++) {
			snprintf(array->names[n], sizeof(array->names[n]), "m%u", run->nr_disks++);
		}
	}
	top = top_of(run);
	top->kind = run->kind;
	snprintf(top->name, sizeof(top->name), "top");
	for (uint32_t i = 0; i < nr_inner; i++) {
		snprintf(top->names[top->nr_names++], sizeof(top->names[0]), "in%u", i);
	}
	for (uint32_t i = 0; i < run->kind->nr_members + 2 && nr_inner == 0; i++) {
		snprintf(
			top->names[top->nr_names++], sizeof(top->names[0]), "m%u", run->nr_disks++);
	}
	assert_true(run->nr_disks <= MAX_DISKS);
}

/* ---- the model ---- */

static void fill_sector(void *buf, uint32_t version, uint64_t sector)
{
	uint64_t *words = buf;

	if (version == 0) {
		memset(buf, 0, SECTOR);
		return;
	}
	words[0] = 0x5ec7045e00000000ull | version;
	words[1] = sector;
	for (uint32_t i = 2; i < SECTOR / sizeof(*words); i++) {
		words[i] = (words[i - 1] ^ words[0]) * 0x9e3779b97f4a7c15ull + i;
	}
}

static bool is_version(const char *content, uint32_t version, uint64_t sector)
{
	uint64_t expected[SECTOR / 8];

	fill_sector(expected, version, sector);
	return memcmp(content, expected, SECTOR) == 0;
}

static void fail_sector(struct run *run, const char *what, uint64_t sector, const char *content)
{
	const struct sector *s = &run->sectors[sector];
	uint64_t words[2];

	memcpy(words, content, sizeof(words));
	fail_msg("%s: sector %llu holds %llx %llx; its newest version is %u, of %u that may be",
		what, (unsigned long long)sector, (unsigned long long)words[0],
		(unsigned long long)words[1], s->possible[s->nr_possible - 1].number,
		s->nr_possible);
}

static void check_read(
	struct run *run, const char *what, uint64_t first, uint64_t count, const char *content)
{
	for (uint64_t i = 0; i < count; i++) {
		const struct sector *s = &run->sectors[first + i];

		if (!is_version(content + i * SECTOR, s->possible[s->nr_possible - 1].number,
			    first + i)) {
			fail_sector(run, what, first + i, content + i * SECTOR);
		}
	}
}

/* What came before the newest version that was acknowledged before `seq` can be no more. */
static void make_durable(struct sector *s, uint64_t seq)
{
	uint8_t from = 0;

	for (uint8_t i = 0; i < s->nr_possible; i++) {
		if (s->possible[i].ack_seq < seq) {
			from = i;
		}
	}
	s->nr_possible = (uint8_t)(s->nr_possible - from);
	memmove(s->possible, s->possible + from, s->nr_possible * sizeof(s->possible[0]));
}

/* After a crash: which of the versions is it? What a killed process has left is not durable yet. */
static void settle_sector(struct run *run, uint64_t sector, const char *content, bool is_durable)
{
	struct sector *s = &run->sectors[sector];

	for (uint8_t i = 0; i < s->nr_possible; i++) {
		const struct version found = {s->possible[i].number, run->seq};

		if (is_version(content, found.number, sector)) {
			s->possible[i] = s->possible[s->nr_possible - 1];
			s->possible[s->nr_possible - 1] = found;
			if (is_durable) {
				s->possible[0] = found;
				s->nr_possible = 1;
			}
			return;
		}
	}
	fail_sector(run, "after a crash", sector, content);
}

/* ---- the client ---- */

static bool is_writer(const struct request *request)
{
	return request->io.op != XBDEV_OP_READ && request->io.op != XBDEV_OP_FLUSH;
}

static void on_done(struct xbdev_io *io, int status)
{
	struct request *request = xu_container_of(io, struct request, io);
	struct run *run = request->run;
	bool is_durable = is_writer(request) && (io->flags & XBDEV_IO_FUA) != 0;

	run->nr_inflight--;
	request->is_busy = false;
	if (status != 0 && !run->is_dead) {
		fail_msg("operation %u at %llu: %s", io->op, (unsigned long long)request->first,
			strerror(-status));
	}
	for (uint64_t i = 0; i < request->count; i++) {
		struct sector *s = &run->sectors[request->first + i];

		if (!is_writer(request)) {
			s->nr_readers--;
			continue;
		}
		s->is_being_written = false;
		if (!run->is_dead) {
			s->possible[s->nr_possible - 1].ack_seq = run->seq;
		}
		if (!run->is_dead && is_durable) {
			make_durable(s, run->seq + 1);
		}
	}
	if (run->is_dead) {
		return;
	}
	run->seq++;
	if (io->op == XBDEV_OP_READ) {
		check_read(run, "a read", request->first, request->count, request->memory);
	}
	for (uint64_t i = 0; io->op == XBDEV_OP_FLUSH && i < run->nr_sectors; i++) {
		make_durable(&run->sectors[i], request->sub_seq);
	}
}

static void do_submit(void *arg)
{
	struct request *request = arg;

	assert_int_equal(xbdev_io_submit(&request->io), 0);
}

/* A range that no write in flight touches, nor a read if it is to be written; false: none found. */
static bool find_range(struct run *run, struct request *request)
{
	for (uint32_t n = 0; n < 4; n++) {
		uint64_t most = below(run, 4) == 0 ? MAX_COUNT : 24;
		uint64_t sectors = below(run, 3) != 0 ? 1024 : run->nr_sectors;
		bool is_free = true;

		sectors = sectors < run->nr_sectors ? sectors : run->nr_sectors;
		request->count = 1 + below(run, most);
		request->first = below(run, sectors - request->count + 1);
		for (uint64_t i = 0; i < request->count && is_free; i++) {
			const struct sector *s = &run->sectors[request->first + i];

			is_free = !s->is_being_written &&
				  !(is_writer(request) &&
					  (s->nr_readers > 0 || s->nr_possible == MAX_POSSIBLE));
		}
		if (is_free) {
			return true;
		}
	}
	return false;
}

static void enter(struct run *run, struct request *request)
{
	for (uint64_t i = 0; i < request->count; i++) {
		uint64_t sector = request->first + i;
		struct sector *s = &run->sectors[sector];

		if (!is_writer(request)) {
			s->nr_readers++;
			continue;
		}
		s->is_being_written = true;
		s->possible[s->nr_possible++] = (struct version){request->version, NEVER};
		fill_sector(request->memory + i * SECTOR, request->version, sector);
	}
}

static void choose_op(struct run *run, struct xbdev_io *io)
{
	bool can_discard = (top_of(run)->dev->ops_mask & (1u << XBDEV_OP_DISCARD)) != 0;
	uint64_t dice = below(run, 100);

	io->flags = 0;
	io->op = dice < 45   ? XBDEV_OP_WRITE
		 : dice < 50 ? XBDEV_OP_WRITE_ZEROES
		 : dice < 55 ? (can_discard ? XBDEV_OP_DISCARD : XBDEV_OP_WRITE)
		 : dice < 62 ? XBDEV_OP_FLUSH
			     : XBDEV_OP_READ;
	if (io->op == XBDEV_OP_WRITE && below(run, 6) == 0) {
		io->flags = XBDEV_IO_FUA;
	}
}

static struct request *free_slot(struct run *run)
{
	for (uint32_t i = 0; i < MAX_SLOTS; i++) {
		if (!run->requests[i].is_busy) {
			return &run->requests[i];
		}
	}
	return NULL;
}

static bool has_room(void *arg)
{
	return ((struct run *)arg)->nr_inflight < MAX_SLOTS;
}

static bool is_idle(void *arg)
{
	return ((struct run *)arg)->nr_inflight == 0;
}

static void wait_idle(struct run *run)
{
	assert_int_equal(sim_run(run->sim, is_idle, run, 600 * XU_NS_PER_S), 0);
}

static void submit_one(struct run *run)
{
	struct request *request;
	struct xbdev_io *io;

	assert_int_equal(sim_run(run->sim, has_room, run, 600 * XU_NS_PER_S), 0);
	request = free_slot(run);
	assert_non_null(request);
	memset(&request->io, 0, sizeof(request->io));
	io = &request->io;
	choose_op(run, io);
	request->run = run;
	request->first = request->count = 0;
	if (io->op != XBDEV_OP_FLUSH && !find_range(run, request)) {
		request->count = 0;
		io->op = XBDEV_OP_FLUSH;
	}
	request->version = io->op == XBDEV_OP_WRITE ? ++run->version : 0;
	request->sub_seq = ++run->seq;
	enter(run, request);
	request->iov = (struct iovec){request->memory, request->count * SECTOR};
	io->ch = run->bdevs[below(run, 2)].ch;
	io->cb = on_done;
	io->iov = &request->iov;
	io->nr_iov = io->op == XBDEV_OP_READ || io->op == XBDEV_OP_WRITE ? 1 : 0;
	io->offset = request->first * SECTOR;
	io->len = request->count * SECTOR;
	request->is_busy = true;
	run->nr_inflight++;
	run->nr_ops++;
	sim_call(run->sim, io->ch->reactor, do_submit, request);
}

/* ---- what happens to arrays ---- */

static bool is_quiet(void *arg)
{
	struct run *run = arg;

	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		const struct xbdev_md_array *md = md_of(&run->arrays[i]);

		if (md->sync != NULL || md->nr_repairs > 0 || md->is_active ||
			md->meta.is_writing) {
			return false;
		}
	}
	return true;
}

/* Without I/O, until all that arrays do to themselves is done. */
static void settle(struct run *run)
{
	wait_idle(run);
	assert_int_equal(sim_run(run->sim, is_quiet, run, 3600 * XU_NS_PER_S), 0);
}

/* Blocks that a member has refused are missing from it until they are written again. */
static bool has_bad_blocks(const struct array *array)
{
	const struct xbdev_md_array *md = md_of(array);

	for (uint32_t i = 0; i < md->nr_members; i++) {
		const struct xbdev_md_member *member = md->members[i];

		if (member != NULL && member->bad != NULL && member->bad->count > 0) {
			return true;
		}
	}
	return false;
}

static bool is_whole(const struct array *array)
{
	const struct xbdev_md_array *md = md_of(array);

	return md->nr_degraded == 0 && md->in_sync_below == XBDEV_MD_NEVER &&
	       !has_bad_blocks(array);
}

/* All arrays have all that they can have: one fault more is no loss. */
static bool is_all_whole(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		if (!is_whole(&run->arrays[i])) {
			return false;
		}
	}
	return !run->has_faults;
}

static struct array *any_array(struct run *run)
{
	return &run->arrays[below(run, run->nr_arrays)];
}

static const char *any_name(struct run *run, struct array *array)
{
	return array->names[below(run, array->nr_names)];
}

static void add(struct run *run, struct array *array)
{
	uint32_t i = (uint32_t)below(run, array->nr_names);

	if (manage(run, array, XBDEV_MD_COMMAND_ADD, array->names[i], NULL) == 0) {
		array->was_member[i] = true;
	}
}

static void replace(struct run *run, struct array *array)
{
	uint32_t i = (uint32_t)below(run, array->nr_names);

	if (manage(run, array, XBDEV_MD_COMMAND_REPLACE, any_name(run, array), array->names[i]) ==
		0) {
		array->was_member[i] = true;
	}
}

/* As many members as the level allows, never while copies or parity are not known to agree. */
static void set_faulty(struct run *run, struct array *array)
{
	if (md_of(array)->in_sync_below == XBDEV_MD_NEVER && !run->has_faults &&
		!has_bad_blocks(array)) {
		run->nr_failed +=
			manage(run, array, XBDEV_MD_COMMAND_FAIL, any_name(run, array), NULL) == 0;
	}
}

/* Some operations of one disk fail, or some sectors of all of them, never the same ones: only what
 * redundancy covers. Members whose metadata cannot be written are out; all else costs nothing. */
static void break_disk(struct run *run)
{
	struct sim_fault fault = {.kind = SIM_FAULT_ERROR, .count = 1 + below(run, 3)};
	bool has_mirrors = run->kind->level == 10 || run->kind->inner != NULL;
	uint64_t kind = below(run, has_mirrors ? 3 : 4);

	if (!is_all_whole(run) || run->kind->level < 1 ||
		(run->kind->inner != NULL && run->kind->inner->level < 1)) {
		return;
	}
	fault.ops = 1u << (kind == 0 || kind == 3 ? XR_OP_READ : XR_OP_WRITE);
	fault.offset = DATA_OFFSET + below(run, 256) * SECTOR;
	fault.len = SECTOR << below(run, 6);
	if (kind == 1) {
		fault.offset = fault.len = 0;
		fault.skip = below(run, 40);
		fault.count = 1;
	} else if (kind == 2) {
		fault.count = 0;
	}
	for (uint32_t i = 0; i < run->nr_disks && kind == 3; i++) {
		fault.offset = DATA_OFFSET + (i + MAX_DISKS * below(run, 16)) * SECTOR;
		fault.len = SECTOR;
		fault.count = 0;
		sim_disk_fault_add(run->disks[i], &fault);
	}
	if (kind != 3) {
		sim_disk_fault_add(run->disks[below(run, run->nr_disks)], &fault);
	}
	run->has_faults = true;
}

static void mend_disks(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_disks && run->has_faults; i++) {
		sim_disk_faults_clear(run->disks[i]);
	}
	run->has_faults = false;
}

static void read_all(struct run *run, char *content)
{
	for (uint64_t at = 0; at < run->nr_sectors * SECTOR; at += PIECE) {
		uint64_t len = run->nr_sectors * SECTOR - at;

		assert_int_equal(sim_bdev_io(&run->bdevs[at / PIECE % 2], XBDEV_OP_READ, 0, at,
					 content + at, len < PIECE ? len : PIECE),
			0);
	}
}

static void restart(struct run *run)
{
	mend_disks(run);
	wait_idle(run);
	close_top(run);
	for (uint32_t i = run->nr_arrays; i-- > 0;) {
		sim_bdev_remove(run->sim, run->arrays[i].dev);
	}
	make_all(run, do_assemble);
	run->nr_restarts++;
}

/* A parity array that is both dirty and degraded is not started after a crash, and rightly. What
 * the disks say is behind what the array knows while they are being told. */
static bool may_crash(struct run *run)
{
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		const struct xbdev_md_array *md = md_of(&run->arrays[i]);
		bool is_lacking = md->nr_degraded > 0 || has_bad_blocks(&run->arrays[i]);

		if (is_parity(&run->arrays[i]) &&
			(md->meta.is_writing || (is_lacking && md->is_active))) {
			return false;
		}
	}
	return true;
}

static void crash(struct run *run)
{
	static char content[MAX_SECTORS * SECTOR];
	bool is_power_failure = below(run, 2) == 0;

	mend_disks(run);
	if (!may_crash(run)) {
		settle(run);
	}
	if (!may_crash(run)) {
		return;
	}
	run->is_dead = true;
	if (is_power_failure) {
		sim_host_power_fail(run->host, NULL);
	} else {
		sim_host_kill(run->host);
	}
	sim_host_bury(run->host);
	wait_idle(run);
	close_top(run);
	sim_ctx_free(run->sim, run->ctx);
	run->host = sim_host_reboot(run->host);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_find(run->host, path);
		sim_disk_log_trim(run->disks[i]);
	}
	open_disks(run);
	make_all(run, do_assemble);
	read_all(run, content);
	for (uint64_t s = 0; s < run->nr_sectors; s++) {
		settle_sector(run, s, content + s * SECTOR, is_power_failure);
	}
	run->nr_crashes++;
}

static void happen(struct run *run)
{
	struct array *array = any_array(run);

	switch (below(run, 16)) {
	case 0:
	case 1:
		if (is_all_whole(run) || run->kind->inner == NULL) {
			set_faulty(run, array);
		}
		break;
	case 2:
	case 3:
		manage(run, array, XBDEV_MD_COMMAND_REMOVE, any_name(run, array), NULL);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		add(run, array);
		break;
	case 8:
	case 9:
		replace(run, array);
		break;
	case 10:
		manage(run, array,
			below(run, 2) == 0 ? XBDEV_MD_COMMAND_CHECK : XBDEV_MD_COMMAND_REPAIR, NULL,
			NULL);
		break;
	case 11:
	case 12:
		break_disk(run);
		break;
	case 13:
		restart(run);
		break;
	case 14:
		crash(run);
		break;
	default:
		settle(run);
		mend_disks(run);
		break;
	}
}

/* ---- one life ---- */

/* Nothing that was done has left copies or parity behind. */
static void judge_rest(struct run *run)
{
	static char content[MAX_SECTORS * SECTOR];

	mend_disks(run);
	settle(run);
	read_all(run, content);
	check_read(run, "at rest", 0, run->nr_sectors, content);
	for (uint32_t i = 0; i < run->nr_arrays; i++) {
		struct array *array = &run->arrays[i];

		if (array->kind->level < 1) {
			continue;
		}
		assert_int_equal(manage(run, array, XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
		settle(run);
		if (md_of(array)->mismatch_sectors != 0) {
			fail_msg("array %s: %llu sectors do not agree", array->name,
				(unsigned long long)md_of(array)->mismatch_sectors);
		}
		assert_false(md_of(array)->is_broken);
	}
}

static void run_init(struct run *run, const struct kind *kind, uint64_t seed)
{
	struct sim_disk_opts opts = {.is_block_device = true};

	memset(run, 0, sizeof(*run));
	run->kind = kind;
	run->sim = sim_new(seed);
	run->host = sim_host_new(run->sim, "node", NULL);
	plan_arrays(run);
	opts.size_bytes = DATA_OFFSET * (kind->inner != NULL ? 2 : 1) + (192 << 10);
	for (uint32_t i = 0; i < run->nr_disks; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/d%u", i);
		run->disks[i] = sim_disk_new(run->host, path, &opts);
	}
	open_disks(run);
	make_all(run, do_create);
	run->nr_sectors = xbdev_device_size_bytes(top_of(run)->dev) / SECTOR;
	assert_in_range(run->nr_sectors, MAX_COUNT, MAX_SECTORS);
	for (uint64_t i = 0; i < run->nr_sectors; i++) {
		run->sectors[i].nr_possible = 1;
	}
}

static void run_fini(struct run *run)
{
	close_top(run);
	sim_ctx_free(run->sim, run->ctx);
	assert_int_equal(sim_host_nr_open(run->host), 0);
	sim_free(run->sim);
}

static void live(struct run *run, uint64_t nr_ops)
{
	while (run->nr_ops < nr_ops) {
		submit_one(run);
		if (below(run, 25) == 0) {
			happen(run);
		}
		if (below(run, 8) == 0) {
			assert_int_equal(sim_run_for(run->sim, below(run, 3000000)), 0);
		}
		if (run->nr_ops % 512 == 0) {
			for (uint32_t i = 0; i < run->nr_disks; i++) {
				sim_disk_log_trim(run->disks[i]);
			}
		}
	}
	judge_rest(run);
}

/* ---- the tests ---- */

static const struct kind pair = {1, 0, 2, 0, false, NULL};
static const struct kind pair_with_bitmap = {1, 0, 2, 0, true, NULL};
static const struct kind stripes = {0, XBDEV_MD_LAYOUT_DEFAULT, 2, 8192, false, NULL};
static const struct kind five = {5, XBDEV_MD_LAYOUT_DEFAULT, 3, 8192, false, NULL};
static const struct kind six = {6, XBDEV_MD_LAYOUT_DEFAULT, 4, 4096, false, NULL};
static const struct kind ten = {10, 0x102, 3, 4096, false, NULL};

static const struct kind kinds[] = {
	{-1, 0, 3, 4096, false, NULL},
	{0, 1, 3, 4096, false, NULL},
	{0, 2, 4, 65536, false, NULL},
	{1, 0, 2, 0, false, NULL},
	{1, 0, 3, 0, true, NULL},
	{4, 0, 3, 4096, false, NULL},
	{4, 0, 5, 16384, true, NULL},
	{5, 0, 3, 4096, false, NULL},
	{5, 1, 4, 8192, true, NULL},
	{5, 2, 4, 16384, true, NULL},
	{5, 2, 5, 65536, false, NULL},
	{5, 3, 6, 4096, false, NULL},
	{5, 4, 4, 8192, false, NULL},
	{5, 5, 4, 8192, true, NULL},
	{6, 0, 4, 4096, true, NULL},
	{6, 1, 5, 8192, false, NULL},
	{6, 2, 6, 16384, true, NULL},
	{6, 3, 5, 65536, false, NULL},
	{6, 4, 5, 4096, false, NULL},
	{6, 5, 5, 8192, false, NULL},
	{6, 8, 5, 4096, false, NULL},
	{6, 9, 4, 8192, false, NULL},
	{6, 10, 6, 4096, false, NULL},
	{6, 16, 5, 8192, false, NULL},
	{6, 17, 5, 4096, false, NULL},
	{6, 18, 5, 8192, true, NULL},
	{6, 19, 4, 4096, false, NULL},
	{6, 20, 5, 8192, false, NULL},
	{10, 0x102, 4, 4096, true, NULL},
	{10, 0x103, 5, 8192, false, NULL},
	{10, 0x201, 4, 16384, false, NULL},
	{10, 0x301, 3, 4096, true, NULL},
	{10, 0x202, 5, 8192, false, NULL},
	{10, 0x10201, 3, 4096, true, NULL},
	{10, 0x10301, 5, 8192, false, NULL},
	{5, 2, 3, 8192, false, &pair},
	{0, 2, 2, 4096, false, &five},
	{1, 0, 2, 0, true, &six},
	{6, 2, 4, 4096, false, &pair_with_bitmap},
	{1, 0, 2, 0, true, &stripes},
	{10, 0x102, 3, 4096, false, &pair},
	{5, 2, 3, 4096, true, &ten},
};

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t from_environment(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : fallback;
}

static void test_arrays_hold_what_a_plain_array_holds(void **state)
{
	bool is_long = getenv("XSAN_LONG") != NULL;
	uint64_t nr_ops = from_environment("SIM_OPS", is_long ? 6000 : 1500);
	uint64_t nr_rounds = from_environment("SIM_ROUNDS", is_long ? 25 : 1);
	uint64_t only = from_environment("SIM_KIND", NEVER);
	uint64_t seed = from_environment("XSAN_TEST_SEED", 1), nr_all = 0;
	static struct run run;

	for (uint64_t round = 0; round < nr_rounds; round++, seed++) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (only != NEVER && only != i) {
				continue;
			}
			/* Said before it happens: it is what a failure is repeated with. */
			print_message("kind %zu (level %d layout %x), seed %llu\n", i,
				kinds[i].level, kinds[i].layout, (unsigned long long)seed);
			run_init(&run, &kinds[i], seed);
			live(&run, nr_ops);
			nr_all += run.nr_ops;
			print_message("  %llu crashes, %llu restarts, %llu failed, %llu commands, "
				      "%llu of them refused\n",
				(unsigned long long)run.nr_crashes,
				(unsigned long long)run.nr_restarts,
				(unsigned long long)run.nr_failed,
				(unsigned long long)run.nr_commands,
				(unsigned long long)run.nr_refused);
			run_fini(&run);
		}
	}
	print_message("%llu operations\n", (unsigned long long)nr_all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arrays_hold_what_a_plain_array_holds),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
