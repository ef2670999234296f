/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification. A block that is written begins with a header: which run wrote it, at which offset,
 * the how-manieth content of that place it is, and the CRC32C of the whole block; the rest is drawn
 * from those. So a lost write, a misdirected one, a torn one and a flipped bit can be told apart.
 *
 * A job knows the generation of each block of its region, which no other job writes. What an
 * earlier run has written is checked for everything but run and generation.
 */
#include <inttypes.h>
#include <isa-l/crc.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "perf/perf.h"

#define MAGIC      0x66726570u /* "perf" */
#define MAX_BLOCKS (1ull << 28)
#define MAX_SAID   10u
#define BUSY       0x80000000u
/* A write of it has failed: it may hold the old content or the new. */
#define UNCERTAIN 0x7fffffffu

struct header {
	uint32_t magic;
	uint32_t crc; /* of the block while this is 0 */
	uint64_t run;
	uint64_t offset;
	uint64_t generation;
};
_Static_assert(sizeof(struct header) == 32, "as it is on devices");

bool perf_verify_init(struct perf_job *job)
{
	if (job->nr_blocks > MAX_BLOCKS || job->nr_blocks <= job->run->options.depth) {
		tool_say("--verify: a region of %" PRIu64 " blocks of --bs per job; more than "
			 "--iodepth and at most %llu are possible: change --size or --bs",
			job->nr_blocks, MAX_BLOCKS);
		return false;
	}
	job->generations = calloc(job->nr_blocks, sizeof(*job->generations));
	if (job->generations == NULL) {
		tool_say("--verify: no memory for the state of %" PRIu64 " blocks; a smaller "
			 "--size needs less",
			job->nr_blocks);
		return false;
	}
	return true;
}

bool perf_verify_is_busy(const struct perf_job *job, uint64_t block)
{
	return (job->generations[block] & BUSY) != 0;
}

static uint32_t crc_of(void *buf, uint32_t len)
{
	return crc32_iscsi(buf, (int)len, UINT32_MAX);
}

static void fill(const struct perf_job *job, const struct perf_slot *slot)
{
	uint32_t len = job->run->options.bs;
	struct header *header = slot->buf;
	uint64_t *words = slot->buf;
	struct perf_random random;

	*header = (struct header){.magic = MAGIC,
		.run = job->run->id,
		.offset = perf_offset(job, slot),
		.generation = slot->generation};
	random.state = header->run ^ header->offset * 31 ^ header->generation << 48;
	for (uint32_t i = sizeof(*header) / 8; i < len / 8; i++) {
		words[i] = perf_random_u64(&random);
	}
	header->crc = crc_of(slot->buf, len);
}

void perf_verify_prepare(struct perf_job *job, struct perf_slot *slot)
{
	uint32_t *generation = &job->generations[slot->block];

	if (slot->is_read) {
		slot->generation = *generation;
	} else {
		slot->generation = *generation >= UNCERTAIN - 1 ? 1 : *generation + 1;
		fill(job, slot);
	}
	*generation |= BUSY;
}

static bool is_blank(const void *buf, uint32_t len)
{
	const char *bytes = buf;

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* What is wrong with a block, or NULL. */
static const char *find_fault(const struct perf_job *job, const struct perf_slot *slot)
{
	struct header *header = slot->buf;
	uint32_t crc = header->crc, found;

	if (header->magic != MAGIC) {
		return is_blank(slot->buf, job->run->options.bs) ? "it is all zeroes"
								 : "it has no header of xbdev-perf";
	}
	header->crc = 0;
	found = crc_of(slot->buf, job->run->options.bs);
	header->crc = crc;
	if (found != crc) {
		return "its checksum is wrong";
	}
	if (header->offset != perf_offset(job, slot)) {
		return "it belongs elsewhere";
	}
	if (slot->generation == 0) {
		return NULL;
	}
	if (header->run != job->run->id) {
		return "it is of an earlier run";
	}
	return header->generation == slot->generation ? NULL : "it is not what was written last";
}

static void say_fault(struct perf_job *job, const struct perf_slot *slot, const char *fault)
{
	const struct header *header = slot->buf;
	uint32_t nr_said = atomic_fetch_add(&job->run->nr_said, 1);

	if (nr_said == MAX_SAID) {
		tool_say("verify: more blocks are wrong; they are counted only");
	}
	if (nr_said >= MAX_SAID) {
		return;
	}
	if (header->magic == MAGIC) {
		tool_say("verify: device '%s', %u bytes at %" PRIu64 ": %s (offset %" PRIu64
			 ", generation %" PRIu64 ", wanted %u)",
			job->device, job->run->options.bs, perf_offset(job, slot), fault,
			header->offset, header->generation, slot->generation);
	} else {
		tool_say("verify: device '%s', %u bytes at %" PRIu64 ": %s", job->device,
			job->run->options.bs, perf_offset(job, slot), fault);
	}
}

static void check(struct perf_job *job, struct perf_slot *slot)
{
	const struct perf_options *o = &job->run->options;
	const char *fault;

	if (slot->generation == 0 && o->read_percent != 100) {
		return; /* A mixed run reads what it has not written yet: that can be anything. */
	}
	if (slot->generation == UNCERTAIN) {
		return;
	}
	fault = find_fault(job, slot);
	if (fault == NULL) {
		job->verified.nr_good++;
	} else if (slot->generation == 0 && is_blank(slot->buf, o->bs)) {
		job->verified.nr_blank++;
	} else {
		job->verified.nr_bad++;
		say_fault(job, slot, fault);
	}
}

void perf_verify_complete(struct perf_job *job, struct perf_slot *slot, bool is_good)
{
	uint32_t *generation = &job->generations[slot->block];

	if (slot->is_read) {
		*generation &= ~BUSY;
		if (is_good) {
			check(job, slot);
		}
	} else {
		*generation = is_good ? slot->generation : UNCERTAIN;
	}
}
