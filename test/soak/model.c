/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The soak's memory of what is on the devices. A write that has succeeded leaves one version in a
 * block; one that has failed, for whatever reason, leaves what was there or its own. What a read
 * has shown stays until the next write: it never goes back. An I/O in flight has its blocks for
 * itself, but for reads beside each other.
 *
 * An error must have a reason: the controller did something to the device since the I/O was
 * submitted, or the I/O had a timeout, was cancelled, or went to a device into which errors are
 * injected.
 */
#include <errno.h>
#include <string.h>

#include "test/soak/soak.h"

#define SECTOR     512u
#define MAGIC      0x78626465762d736bull
#define SLOW_MS    60000u
#define ALIGN_MASK 4095u

/* ---- content ---- */

static uint64_t word_of(uint64_t version, uint32_t i)
{
	return version * 0x9e3779b97f4a7c15ull + i;
}

static void fill_block(char *to, uint32_t device, uint64_t block, uint64_t version)
{
	for (uint32_t at = 0; at < BLOCK; at += SECTOR) {
		uint64_t words[SECTOR / 8];

		memset(words, 0, sizeof(words));
		if (version != 0) {
			words[0] = MAGIC ^ device;
			words[1] = block;
			words[2] = version;
			for (uint32_t i = 3; i < SECTOR / 8; i++) {
				words[i] = word_of(version, i);
			}
		}
		memcpy(to + at, words, sizeof(words));
	}
}

static bool holds(const char *buf, uint32_t device, uint64_t block, uint64_t version)
{
	char wanted[BLOCK];

	fill_block(wanted, device, block, version);
	return memcmp(buf, wanted, BLOCK) == 0;
}

static uint64_t version_at(const char *buf)
{
	uint64_t words[3];

	memcpy(words, buf, sizeof(words));
	return words[2];
}

void model_check_places(uint32_t device, uint64_t first_block, const char *buf, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += SECTOR) {
		uint64_t words[3];

		memcpy(words, buf + at, sizeof(words));
		MUST((words[0] == 0 && words[1] == 0 && words[2] == 0) ||
			(words[0] == (MAGIC ^ device) && words[1] == first_block + at / BLOCK));
	}
}

/* ---- an I/O begins ---- */

static uint64_t below(struct worker *worker, uint64_t bound)
{
	return xu_random_below(&worker->random, bound);
}

static bool is_writing(int type)
{
	return type == XBDEV_OP_WRITE || type == XBDEV_OP_DISCARD || type == XBDEV_OP_WRITE_ZEROES;
}

static struct block *blocks_of(const struct op *op)
{
	return &op->worker->regions[op->device].blocks[op->first];
}

static uint64_t number_of(const struct op *op, uint32_t i)
{
	return OP_OFFSET(op) / BLOCK + i;
}

/* The region of a device as it is now; false while I/O to the one before is in flight. */
static bool follow(struct worker *worker, uint32_t device)
{
	struct region *region = &worker->regions[device];
	uint32_t incarnation = atomic_load(&devices[device].incarnation);

	if (region->incarnation == incarnation) {
		return true;
	}
	if (region->nr_in_flight != 0) {
		return false;
	}
	region->incarnation = incarnation;
	for (uint32_t i = 0; i < WORKER_BLOCKS && devices[device].is_volatile; i++) {
		region->blocks[i] = (struct block){.nr_possible = 1};
	}
	return true;
}

static int choose_type(struct worker *worker)
{
	static const int types[] = {XBDEV_OP_READ, XBDEV_OP_READ, XBDEV_OP_READ, XBDEV_OP_READ,
		XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE,
		XBDEV_OP_COMPARE, XBDEV_OP_WRITE_ZEROES, XBDEV_OP_DISCARD, XBDEV_OP_FLUSH};

	return types[below(worker, sizeof(types) / sizeof(types[0]))];
}

static uint32_t choose_length(struct worker *worker)
{
	switch (below(worker, 16)) {
	case 0:
		return 1 + (uint32_t)below(worker, MAX_BLOCKS);
	case 1:
	case 2:
	case 3:
		return 1 + (uint32_t)below(worker, 16);
	default:
		return 1;
	}
}

/* Whether no other I/O is in the way; and a block about which too little is known is only read. */
static bool is_free(const struct op *op)
{
	const struct block *blocks = blocks_of(op);

	for (uint32_t i = 0; i < op->nr_blocks; i++) {
		if (blocks[i].is_written) {
			return false;
		}
		if (is_writing(op->type) &&
			(blocks[i].nr_readers != 0 || blocks[i].nr_possible == MAX_POSSIBLE)) {
			return false;
		}
	}
	return true;
}

static void mark(const struct op *op)
{
	struct block *blocks = blocks_of(op);

	for (uint32_t i = 0; i < op->nr_blocks; i++) {
		if (is_writing(op->type)) {
			blocks[i].is_written = true;
		} else {
			blocks[i].nr_readers++;
		}
	}
	op->worker->nr_in_flight++;
	op->worker->regions[op->device].nr_in_flight++;
}

/* A buffer, now and then unaligned; for writes and compares with their version in it. */
static void make_buffer(struct op *op)
{
	struct worker *worker = op->worker;
	bool has_content = op->type == XBDEV_OP_WRITE || op->type == XBDEV_OP_COMPARE;
	size_t skip = below(worker, 4) == 0 ? 1 + below(worker, ALIGN_MASK) : 0;

	op->memory = aligned_alloc(BLOCK, OP_BYTES(op) + BLOCK);
	MUST(op->memory != NULL);
	op->buf = op->memory + skip;
	memset(op->buf, 0xee, OP_BYTES(op));
	for (uint32_t i = 0; i < op->nr_blocks && has_content; i++) {
		fill_block(op->buf + i * BLOCK, op->device, number_of(op, i), op->version);
	}
}

static void choose_content(struct op *op)
{
	const struct block *first = blocks_of(op);

	switch (op->type) {
	case XBDEV_OP_WRITE:
		op->version = ++op->worker->next_version;
		break;
	case XBDEV_OP_COMPARE:
		/* With what the first block may hold, so that some of them are equal. */
		op->version = first->possible[below(op->worker, first->nr_possible)];
		break;
	default:
		op->version = 0;
		break;
	}
	make_buffer(op);
}

static bool choose(struct op *op)
{
	struct worker *worker = op->worker;

	op->type = choose_type(worker);
	op->nr_blocks = choose_length(worker);
	if (op->type == XBDEV_OP_FLUSH) {
		op->nr_blocks = 0;
		op->first = 0;
		mark(op);
		return true;
	}
	op->first = (uint32_t)below(worker, WORKER_BLOCKS - op->nr_blocks + 1);
	if (!is_free(op)) {
		return false;
	}
	choose_content(op);
	mark(op);
	return true;
}

struct op *model_begin(struct worker *worker)
{
	struct op *op = calloc(1, sizeof(*op));
	bool is_chosen = false;

	MUST(op != NULL);
	op->worker = worker;
	op->device = (uint32_t)below(worker, NR_DEVICES);
	op->trouble = atomic_load(&devices[op->device].trouble);
	op->fd = atomic_load(&devices[op->device].fd);
	op->start_ms = soak_now_ms();
	pthread_mutex_lock(&worker->mutex);
	if (op->fd >= 0 && follow(worker, op->device)) {
		is_chosen = choose(op);
	}
	pthread_mutex_unlock(&worker->mutex);
	if (!is_chosen) {
		free(op);
		op = NULL;
	}
	return op;
}

/* ---- and ends ---- */

static bool had_trouble(const struct op *op)
{
	uint32_t trouble = atomic_load(&devices[op->device].trouble);

	return (op->trouble & 1) != 0 || trouble != op->trouble;
}

static void check_error(const struct op *op, int result)
{
	bool is_expected = false;

	switch (result) {
	case -EIO:
		is_expected = devices[op->device].may_fail;
		break;
	case -ETIMEDOUT:
		is_expected = op->timeout_us != 0;
		break;
	case -EBADE:
		is_expected = op->type == XBDEV_OP_COMPARE;
		break;
	case -ECANCELED:
		is_expected = op->is_cancelled || had_trouble(op);
		break;
	case -ENODEV:
	case -EBADF:
	case -ESHUTDOWN:
		is_expected = had_trouble(op);
		break;
	case -EOPNOTSUPP:
		is_expected = op->type == XBDEV_OP_DISCARD; /* not every file system can */
		break;
	default:
		break;
	}
	if (!is_expected) {
		fprintf(stderr, "op %d of worker %u on %s, blocks %u + %u: result %d (%s)\n",
			op->type, op->worker->index, devices[op->device].name, op->first,
			op->nr_blocks, result, xbdev_strerror(result));
	}
	MUST(is_expected);
}

static void add_possible(struct block *block, uint64_t version)
{
	for (uint32_t i = 0; i < block->nr_possible; i++) {
		if (block->possible[i] == version) {
			return;
		}
	}
	MUST(block->nr_possible < MAX_POSSIBLE);
	block->possible[block->nr_possible++] = version;
}

static void settle(struct block *block, uint64_t version)
{
	block->possible[0] = version;
	block->nr_possible = 1;
}

static bool may_hold(const struct block *block, uint64_t version)
{
	for (uint32_t i = 0; i < block->nr_possible; i++) {
		if (block->possible[i] == version) {
			return true;
		}
	}
	return false;
}

static void check_read(const struct op *op, uint32_t i)
{
	struct block *block = &blocks_of(op)[i];
	const char *buf = op->buf + (size_t)i * BLOCK;
	uint64_t version = version_at(buf);

	if (!may_hold(block, version) || !holds(buf, op->device, number_of(op, i), version)) {
		fprintf(stderr, "worker %u, %s block %llu holds version %llx, possible are:",
			op->worker->index, devices[op->device].name,
			(unsigned long long)number_of(op, i), (unsigned long long)version);
		for (uint32_t j = 0; j < block->nr_possible; j++) {
			fprintf(stderr, " %llx", (unsigned long long)block->possible[j]);
		}
		fprintf(stderr, "\n");
		MUST(!"a block holds what was never written there, or what has been overwritten");
	}
	settle(block, version);
}

static void check_compare(const struct op *op, int result)
{
	struct block *blocks = blocks_of(op);
	bool may_be_equal = true, must_be_equal = true;

	for (uint32_t i = 0; i < op->nr_blocks; i++) {
		may_be_equal &= may_hold(&blocks[i], op->version);
		must_be_equal &= blocks[i].nr_possible == 1;
	}
	must_be_equal &= may_be_equal;
	MUST(result == 0 ? may_be_equal : !must_be_equal);
	for (uint32_t i = 0; i < op->nr_blocks && result == 0; i++) {
		settle(&blocks[i], op->version);
	}
}

static void check_data(const struct op *op, int result)
{
	struct block *blocks = blocks_of(op);

	if (op->type == XBDEV_OP_COMPARE && (result == 0 || result == -EBADE)) {
		check_compare(op, result);
	}
	for (uint32_t i = 0; i < op->nr_blocks; i++) {
		if (is_writing(op->type) && result >= 0) {
			settle(&blocks[i], op->version);
		} else if (is_writing(op->type)) {
			add_possible(&blocks[i], op->version);
		} else if (op->type == XBDEV_OP_READ && result >= 0) {
			check_read(op, i);
		}
	}
}

static void unmark(const struct op *op)
{
	struct block *blocks = blocks_of(op);

	for (uint32_t i = 0; i < op->nr_blocks; i++) {
		if (is_writing(op->type)) {
			blocks[i].is_written = false;
		} else {
			blocks[i].nr_readers--;
		}
	}
	op->worker->nr_in_flight--;
	op->worker->regions[op->device].nr_in_flight--;
}

static void count(struct worker *worker, int result)
{
	worker->nr_done += result >= 0 || result == -EBADE;
	worker->nr_cancelled += result == -ECANCELED;
	worker->nr_late += result == -ETIMEDOUT;
	worker->nr_failed +=
		result < 0 && result != -EBADE && result != -ECANCELED && result != -ETIMEDOUT;
}

void model_end(struct op *op, int result)
{
	struct worker *worker = op->worker;
	bool has_count = op->type == XBDEV_OP_READ || op->type == XBDEV_OP_WRITE;

	MUST(soak_now_ms() - op->start_ms < SLOW_MS);
	pthread_mutex_lock(&worker->mutex);
	if (result < 0) {
		check_error(op, result);
	} else {
		MUST(result == (has_count ? (int)OP_BYTES(op) : 0));
	}
	check_data(op, result);
	unmark(op);
	count(worker, result);
	pthread_mutex_unlock(&worker->mutex);
	xbdev_request_free(op->req);
	free(op->memory);
	free(op);
}

void model_drop(struct op *op, int error)
{
	pthread_mutex_lock(&op->worker->mutex);
	if (error != 0) {
		check_error(op, error);
	}
	unmark(op);
	pthread_mutex_unlock(&op->worker->mutex);
	xbdev_request_free(op->req);
	free(op->memory);
	free(op);
}

void model_verify(struct worker *worker)
{
	MUST(worker->nr_in_flight == 0);
	for (uint32_t device = 0; device < NR_DEVICES; device++) {
		struct op op = {.worker = worker, .device = device, .nr_blocks = 1};
		char buf[BLOCK];

		MUST(follow(worker, device));
		op.buf = buf;
		for (op.first = 0; op.first < WORKER_BLOCKS; op.first++) {
			MUST(xbdev_read(atomic_load(&devices[device].fd), buf, BLOCK,
				     OP_OFFSET(&op)) == BLOCK);
			check_read(&op, 0);
		}
	}
}
