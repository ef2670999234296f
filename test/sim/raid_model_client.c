/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plain array in memory of the model test, and the client. A sector is known by the versions
 * that it may have: the last one is what a read must give, and a crash leaves that or one before it
 * that was not durable yet. See raid_model.h.
 */
#include "test/sim/raid_model.h"

#include <errno.h>

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

void model_check_read(
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
static bool settle_sector(struct run *run, uint64_t sector, const char *content, bool is_durable)
{
	struct sector *s = &run->sectors[sector];

	for (uint8_t i = 0; i < s->nr_possible; i++) {
		const struct version found = {s->possible[i].number, run->seq, run->seq};

		if (is_version(content, found.number, sector)) {
			s->possible[i] = s->possible[s->nr_possible - 1];
			s->possible[s->nr_possible - 1] = found;
			if (is_durable) {
				s->possible[0] = found;
				s->nr_possible = 1;
			}
			return true;
		}
	}
	return false;
}

void model_note_degraded(struct run *run)
{
	uint32_t nr = model_md(model_top(run))->nr_degraded;

	if (nr != run->nr_degraded) {
		run->nr_degraded = nr;
		run->degraded_seq = ++run->seq;
	}
}

void model_note_lacking(struct run *run)
{
	const struct xbdev_md_array *md = model_md(model_top(run));

	run->lacking = 0;
	for (uint32_t role = 0; role < md->geo.raid_disks; role++) {
		const struct xbdev_md_member *member = md->roles[role];

		if (member == NULL || member->state != XBDEV_MD_MEMBER_IN_SYNC) {
			run->lacking |= 1u << role;
		}
	}
}

/* What was being written when a member was lost, of that member and not durable, is neither old nor
 * new where the power goes before the log's next unit: docs/raid.md, "Not covered". */
static bool may_be_lost(struct run *run, uint64_t sector)
{
	const struct xbdev_md_array *md = model_md(model_top(run));
	const struct xbdev_md_geometry *geo = &md->geo;
	const struct sector *s = &run->sectors[sector];
	uint64_t row_sectors = (uint64_t)geo->chunk * geo->nr_data;
	struct xbdev_md_row who;

	if (model_top(run)->kind->policy == XBDEV_MD_POLICY_RESYNC || s->nr_possible < 2 ||
		s->possible[s->nr_possible - 1].sub_seq > run->degraded_seq) {
		return false;
	}
	xbdev__md_row(geo, sector / row_sectors, &who);
	return (run->lacking >> who.data[sector % row_sectors / geo->chunk] & 1) != 0;
}

/* Whoever wrote it writes it again. */
static void rewrite(struct run *run, uint64_t sector)
{
	struct sector *s = &run->sectors[sector];
	char content[SECTOR] __attribute__((aligned(8)));

	s->possible[0] = (struct version){++run->version, run->seq, run->seq};
	s->nr_possible = 1;
	fill_sector(content, run->version, sector);
	assert_int_equal(sim_bdev_io(&run->bdevs[0], XBDEV_OP_WRITE, XBDEV_IO_FUA, sector * SECTOR,
				 content, SECTOR),
		0);
	run->nr_lost++;
}

void model_settle_content(struct run *run, const char *content, bool is_durable)
{
	for (uint64_t s = 0; s < run->nr_sectors; s++) {
		if (settle_sector(run, s, content + s * SECTOR, is_durable)) {
			continue;
		}
		if (!may_be_lost(run, s)) {
			fail_sector(run, "after a crash", s, content + s * SECTOR);
		}
		rewrite(run, s);
	}
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
		model_check_read(run, "a read", request->first, request->count, request->memory);
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
		uint64_t most = model_below(run, 4) == 0 ? MAX_COUNT : 24;
		uint64_t sectors = model_below(run, 3) != 0 ? 1024 : run->nr_sectors;
		bool is_free = true;

		sectors = sectors < run->nr_sectors ? sectors : run->nr_sectors;
		request->count = 1 + model_below(run, most);
		request->first = model_below(run, sectors - request->count + 1);
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
		s->possible[s->nr_possible++] =
			(struct version){request->version, request->sub_seq, NEVER};
		fill_sector(request->memory + i * SECTOR, request->version, sector);
	}
}

static void choose_op(struct run *run, struct xbdev_io *io)
{
	bool can_discard = (model_top(run)->dev->ops_mask & (1u << XBDEV_OP_DISCARD)) != 0;
	uint64_t dice = model_below(run, 100);

	io->flags = 0;
	io->op = dice < 45   ? XBDEV_OP_WRITE
		 : dice < 50 ? XBDEV_OP_WRITE_ZEROES
		 : dice < 55 ? (can_discard ? XBDEV_OP_DISCARD : XBDEV_OP_WRITE)
		 : dice < 62 ? XBDEV_OP_FLUSH
			     : XBDEV_OP_READ;
	if (io->op == XBDEV_OP_WRITE && model_below(run, 6) == 0) {
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

void model_wait_idle(struct run *run)
{
	assert_int_equal(sim_run(run->sim, is_idle, run, 600 * XU_NS_PER_S), 0);
}

void model_submit(struct run *run)
{
	struct request *request;
	struct xbdev_io *io;

	assert_int_equal(sim_run(run->sim, has_room, run, 600 * XU_NS_PER_S), 0);
	model_note_degraded(run);
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
	io->ch = run->bdevs[model_below(run, 2)].ch;
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

void model_read_all(struct run *run, char *content)
{
	for (uint64_t at = 0; at < run->nr_sectors * SECTOR; at += PIECE) {
		uint64_t len = run->nr_sectors * SECTOR - at;

		assert_int_equal(sim_bdev_io(&run->bdevs[at / PIECE % 2], XBDEV_OP_READ, 0, at,
					 content + at, len < PIECE ? len : PIECE),
			0);
	}
}
