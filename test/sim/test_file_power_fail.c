/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power-fail sweep of the file driver. A client does random writes, FUA writes, flushes, discards
 * and zeroings through the device graph, several at a time on two reactors, and keeps a log of what
 * it asked for and what was acknowledged. Then, for every crash point of the run, the disk as a
 * power failure could have left it is made (nothing, everything, and random torn parts of what was
 * not durable) and each sector compared with the log:
 *
 *   - it holds one value that was written there, or zeroes, and never anything else;
 *   - never an older one than what a FUA write or a flush has made durable: when d is durable and w
 *     had been acknowledged before d was submitted, w must not be seen any more.
 *
 * Some of these disks are put into a new world, opened by the file driver again, compared through
 * it, written anew, and crashed once more. The same sweep over disks that only pretend to flush
 * must find losses, else it would prove nothing.
 *
 * SIM_ROUNDS=n runs n rounds (a minimal run is one of each kind of disk); SIM_SEED=n starts at that
 * seed.
 */
#include "test/sim/test_op.h"

#include <errno.h>

#include "lib/util/error.h"
#include "test/sim/sim_bdev.h"

#define SECTOR       512u
#define NR_BLOCKS    24u
#define BLOCK_MAX    4096u
#define SIZE_MAX_    (NR_BLOCKS * BLOCK_MAX)
#define NR_OPS       70u
#define MAX_INFLIGHT 6u
#define MAX_COUNT    4u /* blocks of one write */
#define NR_RANDOM    3u /* random images of a crash point */
#define REBOOT_EVERY 4u /* crash points */
#define NEVER        UINT64_MAX

/* ---- what a client asked for ---- */

struct request {
	struct xbdev_io io;
	struct run *run;
	uint32_t version;              /* of what it writes; unique */
	uint32_t first, count;         /* blocks */
	uint64_t sub_seq, ack_seq;     /* the client's own order of events; NEVER: not yet */
	uint64_t sub_point, ack_point; /* the disk's log when that happened */
	struct iovec iov[2];
	char *memory;
};

struct run {
	struct sim *sim;
	struct sim_host *host;
	struct sim_disk *disk;
	struct xbdev_ctx *ctx;
	struct sim_bdev bdevs[2];
	uint32_t block_size;
	uint64_t seq;
	uint32_t nr_requests, nr_inflight;
	struct request requests[NR_OPS];
};

static bool is_zeroing(const struct request *request)
{
	return request->io.op == XBDEV_OP_DISCARD || request->io.op == XBDEV_OP_WRITE_ZEROES;
}

static bool covers(const struct request *request, uint32_t block)
{
	return request->io.op != XBDEV_OP_FLUSH && block >= request->first &&
	       block < request->first + request->count;
}

/* The content of one sector: its place and version, and bytes that follow from them. */
static void fill_sector(void *buf, uint32_t version, uint64_t sector)
{
	uint64_t *words = buf;

	words[0] = 0x5ec7045ec70400ull | version;
	words[1] = sector;
	for (uint32_t i = 2; i < SECTOR / sizeof(*words); i++) {
		words[i] = (words[i - 1] ^ words[0]) * 0x9e3779b97f4a7c15ull + i;
	}
}

static uint32_t version_of(const void *buf)
{
	return (uint32_t)(*(const uint64_t *)buf & 0xff);
}

/* ---- running the client ---- */

static void on_done(struct xbdev_io *io, int status)
{
	struct request *request = xu_container_of(io, struct request, io);
	struct run *run = request->run;

	assert_int_equal(status, 0);
	assert_true(request->ack_seq == NEVER);
	request->ack_seq = ++run->seq;
	request->ack_point = sim_disk_point(run->disk);
	run->nr_inflight--;
}

static void do_submit(void *arg)
{
	struct request *request = arg;
	struct run *run = request->run;

	request->sub_seq = ++run->seq;
	request->sub_point = sim_disk_point(run->disk);
	assert_int_equal(xbdev_io_submit(&request->io), 0);
}

/* Now and then a buffer that direct I/O does not take, in two pieces. */
static void make_buffer(struct request *request, struct xu_random *random)
{
	uint32_t block_size = request->run->block_size, len = request->count * block_size;
	uint32_t skew = xu_random_below(random, 4) == 0 ? 8 : 0, cut = 8;

	request->memory = aligned_alloc(BLOCK_MAX, (MAX_COUNT + 1) * BLOCK_MAX);
	assert_non_null(request->memory);
	for (uint32_t i = 0; i < len / SECTOR; i++) {
		fill_sector(request->memory + skew + (size_t)i * SECTOR, request->version,
			request->first * (block_size / SECTOR) + i);
	}
	request->iov[0].iov_base = request->memory + skew;
	request->iov[0].iov_len = skew != 0 ? cut : len;
	request->iov[1].iov_base = request->memory + skew + cut;
	request->iov[1].iov_len = len - cut;
	request->io.iov = request->iov;
	request->io.nr_iov = skew != 0 ? 2 : 1;
}

static void choose(struct request *request, struct xu_random *random)
{
	static const uint8_t ops[] = {XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE,
		XBDEV_OP_WRITE, XBDEV_OP_FLUSH, XBDEV_OP_FLUSH, XBDEV_OP_DISCARD,
		XBDEV_OP_WRITE_ZEROES};
	struct run *run = request->run;
	struct xbdev_io *io = &request->io;

	io->ch = run->bdevs[xu_random_below(random, 2)].ch;
	io->cb = on_done;
	io->op = ops[xu_random_below(random, ARRAY_SIZE(ops))];
	if (io->op == XBDEV_OP_DISCARD && !(io->ch->dev->ops_mask & (1u << XBDEV_OP_DISCARD))) {
		io->op = XBDEV_OP_WRITE_ZEROES;
	}
	if (io->op != XBDEV_OP_FLUSH) {
		request->count = 1 + (uint32_t)xu_random_below(random, MAX_COUNT);
		request->first = (uint32_t)xu_random_below(random, NR_BLOCKS - request->count);
		io->offset = (uint64_t)request->first * run->block_size;
		io->len = (uint64_t)request->count * run->block_size;
	}
	if (io->op == XBDEV_OP_WRITE) {
		make_buffer(request, random);
	}
	if ((io->op == XBDEV_OP_WRITE || io->op == XBDEV_OP_WRITE_ZEROES) &&
		xu_random_below(random, 3) == 0) {
		io->flags = XBDEV_IO_FUA;
	}
	if (io->op == XBDEV_OP_WRITE_ZEROES && xu_random_below(random, 2) == 0) {
		io->flags |= XBDEV_IO_MAY_UNMAP;
	}
}

static bool has_room(void *arg)
{
	return ((struct run *)arg)->nr_inflight < MAX_INFLIGHT;
}

static bool is_idle(void *arg)
{
	return ((struct run *)arg)->nr_inflight == 0;
}

static void run_client(struct run *run)
{
	struct xu_random *random = sim_random(run->sim);

	for (uint32_t i = 0; i < NR_OPS; i++) {
		struct request *request = &run->requests[i];

		request->run = run;
		request->version = i + 1;
		request->ack_seq = NEVER;
		request->ack_point = NEVER;
		choose(request, random);
		run->nr_requests++;
		run->nr_inflight++;
		sim_call(run->sim, request->io.ch->reactor, do_submit, request);
		assert_int_equal(sim_run(run->sim, has_room, run, XU_NS_PER_S), 0);
		if (xu_random_below(random, 3) == 0) {
			assert_int_equal(sim_run_for(run->sim, xu_random_below(random, 300000)), 0);
		}
	}
	assert_int_equal(sim_run(run->sim, is_idle, run, XU_NS_PER_S), 0);
}

/* ---- judging a disk ---- */

struct verdict {
	uint64_t nr_images;
	uint64_t nr_stale;   /* something durable is gone */
	uint64_t nr_foreign; /* nobody wrote that there */
};

/* What may be seen of one block at one crash point. */
struct block_rule {
	uint64_t floor_seq; /* what was acknowledged before this must not be seen */
	bool may_be_zero;
};

static bool is_durable(const struct run *run, const struct request *request, uint64_t point)
{
	if (request->ack_point > point) {
		return false;
	}
	if (request->io.flags & XBDEV_IO_FUA) {
		return true;
	}
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		const struct request *flush = &run->requests[i];

		if (flush->io.op == XBDEV_OP_FLUSH && flush->sub_seq > request->ack_seq &&
			flush->ack_point <= point) {
			return true;
		}
	}
	return false;
}

static void make_rules(const struct run *run, uint64_t point, struct block_rule rules[NR_BLOCKS])
{
	memset(rules, 0, NR_BLOCKS * sizeof(*rules));
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		const struct request *request = &run->requests[i];

		for (uint32_t b = 0; is_durable(run, request, point) && b < NR_BLOCKS; b++) {
			if (covers(request, b) && request->sub_seq > rules[b].floor_seq) {
				rules[b].floor_seq = request->sub_seq;
			}
		}
	}
	for (uint32_t b = 0; b < NR_BLOCKS; b++) {
		rules[b].may_be_zero = rules[b].floor_seq == 0; /* as it was in the beginning */
		for (uint32_t i = 0; i < run->nr_requests; i++) {
			const struct request *request = &run->requests[i];

			rules[b].may_be_zero |= covers(request, b) && is_zeroing(request) &&
						request->sub_point < point &&
						request->ack_seq > rules[b].floor_seq;
		}
	}
}

static void judge_sector(const struct run *run, uint64_t point, const struct block_rule *rule,
	uint64_t sector, const char *content, struct verdict *verdict)
{
	static const char zeroes[SECTOR];
	uint32_t version = version_of(content);
	const struct request *writer;
	char expected[SECTOR] __attribute__((aligned(8)));

	if (memcmp(content, zeroes, SECTOR) == 0) {
		verdict->nr_stale += !rule->may_be_zero;
		return;
	}
	fill_sector(expected, version, sector);
	writer = version != 0 && version <= run->nr_requests ? &run->requests[version - 1] : NULL;
	if (writer == NULL || memcmp(content, expected, SECTOR) != 0 ||
		writer->io.op != XBDEV_OP_WRITE || writer->sub_point >= point ||
		!covers(writer, (uint32_t)(sector * SECTOR / run->block_size))) {
		verdict->nr_foreign++;
	} else if (writer->ack_seq <= rule->floor_seq) {
		verdict->nr_stale++;
	}
}

static void judge(
	const struct run *run, uint64_t point, const char *content, struct verdict *verdict)
{
	uint32_t per_block = run->block_size / SECTOR;
	struct block_rule rules[NR_BLOCKS];

	make_rules(run, point, rules);
	for (uint32_t i = 0; i < NR_BLOCKS * per_block; i++) {
		judge_sector(run, point, &rules[i / per_block], i, content + (size_t)i * SECTOR,
			verdict);
	}
	verdict->nr_images++;
}

static void judge_image(const struct run *run, uint64_t point, const struct sim_image *image,
	struct verdict *verdict)
{
	static char content[SIZE_MAX_] __attribute__((aligned(8)));

	sim_image_read(image, 0, content, NR_BLOCKS * run->block_size);
	judge(run, point, content, verdict);
}

/* ---- worlds ---- */

/* Kinds of disks, and how the file driver is told to use them. */
struct kind {
	const char *name;
	uint32_t block_size;
	bool is_created;  /* the driver makes the file, so that its size is volatile too */
	bool is_short;    /* some transfers are cut short */
	bool is_refusing; /* fallocate() works a few times only */
	struct sim_disk_opts opts;
};

static const struct kind kinds[] = {
	{"file, 512", 512, .opts = {.block_size = 512}},
	{"file, 4096, sectors of 512", 4096, .opts = {.block_size = 4096, .sector_bytes = 512}},
	{"new file", 512, .is_created = true, .opts = {.block_size = 512}},
	{"short transfers", 4096, .is_short = true, .opts = {.block_size = 512}},
	{"no hole punching", 4096, .opts = {.block_size = 4096, .no_punch = true}},
	{"no fallocate at all", 512,
		.opts = {.block_size = 512, .no_punch = true, .no_zero_range = true}},
	{"no direct I/O", 512, .opts = {.no_direct = true}},
	{"block device", 512, .opts = {.block_size = 512, .is_block_device = true}},
	{"block device that cannot punch", 4096,
		.opts = {.block_size = 4096,
			.is_block_device = true,
			.no_punch = true,
			.no_zero_range = true}},
	{"write-through", 512, .opts = {.no_write_cache = true}},
	{"fallocate that stops working", 512, .is_refusing = true,
		.opts = {.block_size = 512, .no_punch = true}},
	{"block device that stops punching", 4096, .is_refusing = true,
		.opts = {.block_size = 4096, .is_block_device = true}},
};

static void open_devices(struct run *run, const struct kind *kind)
{
	struct xu_error err = {0};
	char json[256];

	snprintf(json, sizeof(json), "{'name': 'f', 'filename': '/disk', 'block_size': %u %s%u}",
		kind->block_size, kind->opts.is_block_device ? ", '_': " : ", 'size': ",
		NR_BLOCKS * kind->block_size);
	run->ctx = sim_ctx_new(run->host, 2, NULL);
	if (sim_bdev_create(run->sim, run->ctx, "file", json, &err) == NULL) {
		fail_msg("%s", err.text);
	}
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(
			sim_bdev_open(run->sim, run->ctx, "f", i, &run->bdevs[i], &err), 0);
	}
}

/* With an image (taken): a disk that has had a life before. */
static void run_init(
	struct run *run, const struct kind *kind, uint64_t seed, struct sim_image *image)
{
	struct sim_disk_opts opts = kind->opts;
	const struct sim_fault cut = {.kind = SIM_FAULT_SHORT,
		.ops = 1u << XR_OP_WRITE | 1u << XR_OP_READ,
		.skip = 3,
		.count = 3}; /* the driver tries a transfer four times */
	const struct sim_fault refuse = {.kind = SIM_FAULT_ERROR,
		.ops = 1u << XR_OP_FALLOCATE,
		.skip = 3,
		.error = -EOPNOTSUPP};

	memset(run, 0, sizeof(*run));
	run->sim = sim_new(seed);
	run->host = sim_host_new(run->sim, "node", NULL);
	run->block_size = kind->block_size;
	opts.size_bytes = kind->is_created ? 0 : NR_BLOCKS * kind->block_size;
	run->disk = sim_disk_new(run->host, "/disk", &opts);
	if (image != NULL) {
		sim_disk_set_image(run->disk, image);
	}
	if (kind->is_short) {
		sim_disk_fault_add(run->disk, &cut);
	}
	if (kind->is_refusing) {
		sim_disk_fault_add(run->disk, &refuse);
	}
	open_devices(run, kind);
}

static void run_fini(struct run *run)
{
	for (uint32_t i = 0; i < 2; i++) {
		sim_bdev_close(&run->bdevs[i]);
	}
	sim_ctx_free(run->sim, run->ctx);
	assert_int_equal(sim_host_nr_open(run->host), 0);
	sim_free(run->sim);
	for (uint32_t i = 0; i < run->nr_requests; i++) {
		free(run->requests[i].memory);
	}
}

/* Puts the disk into a new world, compares through the file driver, and goes on using it. Takes the
 * image. */
static void reboot(const struct run *run, const struct kind *kind, uint64_t point,
	struct sim_image *image, struct verdict *verdict)
{
	static char content[SIZE_MAX_] __attribute__((aligned(8))), again[SIZE_MAX_];
	const struct sim_crash none = {.tail = SIM_TAIL_NONE};
	size_t size = NR_BLOCKS * run->block_size;
	static struct run next;

	run_init(&next, kind, sim_seed(run->sim) + point, image);
	for (uint32_t b = 0; b < NR_BLOCKS; b++) {
		uint64_t at = (uint64_t)b * run->block_size;

		assert_int_equal(sim_bdev_io(&next.bdevs[b % 2], XBDEV_OP_READ, 0, at, content + at,
					 run->block_size),
			0);
	}
	judge(run, point, content, verdict);

	memset(content, (int)(point % 255) + 1, size);
	assert_int_equal(sim_bdev_io(&next.bdevs[0], XBDEV_OP_WRITE, 0, 0, content, size), 0);
	assert_int_equal(sim_bdev_io(&next.bdevs[1], XBDEV_OP_FLUSH, 0, 0, NULL, 0), 0);
	if (!kind->opts.drops_flush) {
		image = sim_disk_crash_image(next.disk, sim_disk_point(next.disk), &none);
		sim_image_read(image, 0, again, size);
		assert_memory_equal(again, content, size);
		sim_image_free(image);
	}
	run_fini(&next);
}

static void sweep(struct run *run, const struct kind *kind, struct verdict *verdict)
{
	uint64_t end = sim_disk_point(run->disk);

	for (uint64_t point = 0; point <= end; point++) {
		struct sim_crash crash = {.tail = SIM_TAIL_NONE};
		struct sim_image *image = sim_disk_crash_image(run->disk, point, &crash);

		judge_image(run, point, image, verdict);
		sim_image_free(image);
		crash.tail = SIM_TAIL_ALL;
		image = sim_disk_crash_image(run->disk, point, &crash);
		judge_image(run, point, image, verdict);
		sim_image_free(image);
		for (uint32_t i = 0; i < NR_RANDOM; i++) {
			image = sim_disk_crash_image(run->disk, point, NULL);
			judge_image(run, point, image, verdict);
			if (i == 0 && point % REBOOT_EVERY == 0) {
				reboot(run, kind, point, image, verdict);
			} else {
				sim_image_free(image);
			}
		}
	}
}

static struct verdict do_round(const struct kind *kind, uint64_t seed)
{
	struct verdict verdict = {0};
	static struct run run;

	run_init(&run, kind, seed, NULL);
	run_client(&run);
	if (kind->is_refusing) {
		assert_true(sim_disk_nr_faults(run.disk) > 0);
	}
	sweep(&run, kind, &verdict);
	run_fini(&run);
	return verdict;
}

static uint64_t from_environment(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : fallback;
}

/* ---- the tests ---- */

static void test_file_power_fail_sweep(void **state)
{
	uint64_t nr_rounds = from_environment("SIM_ROUNDS", ARRAY_SIZE(kinds));
	uint64_t seed = from_environment("SIM_SEED", 1);

	for (uint64_t i = 0; i < nr_rounds; i++, seed++) {
		const struct kind *kind = &kinds[seed % ARRAY_SIZE(kinds)];
		struct verdict verdict = do_round(kind, seed);

		print_message("seed %llu, %s: %llu disks, %llu stale, %llu foreign\n",
			(unsigned long long)seed, kind->name, (unsigned long long)verdict.nr_images,
			(unsigned long long)verdict.nr_stale,
			(unsigned long long)verdict.nr_foreign);
		assert_true(verdict.nr_images > 500);
		assert_int_equal(verdict.nr_stale, 0);
		assert_int_equal(verdict.nr_foreign, 0);
	}
}

/* Each of these disks acknowledges what it does not do; each must be found out. */
static void test_file_power_fail_sweep_finds_broken_disks(void **state)
{
	static const struct kind broken[] = {
		{"drops flushes", 512, .opts = {.drops_flush = true}},
		{"drops FUA", 512, .opts = {.drops_dsync = true}},
		{"drops flushes, 4096", 4096, .opts = {.block_size = 4096, .drops_flush = true}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		for (uint64_t seed = 101; seed < 104; seed++) {
			struct verdict verdict = do_round(&broken[i], seed);

			print_message("seed %llu, %s: %llu disks, %llu stale\n",
				(unsigned long long)seed, broken[i].name,
				(unsigned long long)verdict.nr_images,
				(unsigned long long)verdict.nr_stale);
			assert_true(verdict.nr_stale > 0);
			assert_int_equal(verdict.nr_foreign, 0);
		}
	}
}

/* A sector in the wrong place, a torn sector and a wrong bit are foreign. */
static void test_file_power_fail_judge_knows_foreign_data(void **state)
{
	static char content[SIZE_MAX_] __attribute__((aligned(8)));
	size_t size = NR_BLOCKS * 512;
	struct verdict verdict = {0};
	static struct run run;
	uint32_t at = 0;

	run_init(&run, &kinds[0], 7, NULL);
	run_client(&run);
	sim_disk_read(run.disk, 0, content, size);
	judge(&run, sim_disk_point(run.disk), content, &verdict);
	assert_int_equal(verdict.nr_stale + verdict.nr_foreign, 0);
	while (version_of(content + (size_t)at * SECTOR) == 0) {
		assert_true(++at < NR_BLOCKS - 1);
	}
	content[at * SECTOR + 300] = (char)(content[at * SECTOR + 300] ^ 1);
	judge(&run, sim_disk_point(run.disk), content, &verdict);
	assert_int_equal(verdict.nr_foreign, 1);
	content[at * SECTOR + 300] = (char)(content[at * SECTOR + 300] ^ 1);
	memcpy(content + (size_t)(at + 1) * SECTOR, content + (size_t)at * SECTOR, SECTOR);
	judge(&run, sim_disk_point(run.disk), content, &verdict);
	assert_int_equal(verdict.nr_foreign, 2);
	memset(content + (size_t)(at + 1) * SECTOR, 0, SECTOR / 2);
	judge(&run, sim_disk_point(run.disk), content, &verdict);
	assert_int_equal(verdict.nr_foreign, 3);
	run_fini(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_power_fail_sweep),
		cmocka_unit_test(test_file_power_fail_sweep_finds_broken_disks),
		cmocka_unit_test(test_file_power_fail_judge_knows_foreign_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
