/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of a disk, and the disks that power failures could have left.
 *
 * At a crash point a write is durable when it had completed and was DSYNC, or when a flush that had
 * completed was submitted after the write's completion; a file's size also when a DSYNC write was.
 * Everything else that had been submitted is a possibility: in whole, in part, or not at all. The
 * image is the content before the log, then the durable writes and the chosen parts of the possible
 * ones in the order in which they reached the disk; those that had not reached it by then come
 * last, in any order.
 */
#include <assert.h>
#include <string.h>

#include "test/sim/sim_disk_private.h"

/* ---- writing it ---- */

struct sim_log_entry *sim__log_add(
	struct sim_disk *disk, enum sim_log_kind kind, uint64_t offset, uint64_t len, bool is_dsync)
{
	struct sim_log_entry *entry = sim__alloc(sizeof(*entry));

	if (disk->nr_log == disk->log_size) {
		disk->log_size = disk->log_size * 2 + 64;
		disk->log = realloc(disk->log, disk->log_size * sizeof(*disk->log));
		disk->applied = realloc(disk->applied, disk->log_size * sizeof(*disk->applied));
		if (disk->log == NULL || disk->applied == NULL) {
			abort();
		}
	}
	entry->kind = kind;
	entry->offset = offset;
	entry->len = len;
	entry->is_dsync = is_dsync;
	entry->submitted = disk->point++;
	entry->applied = SIM_NEVER;
	entry->completed = SIM_NEVER;
	disk->log[disk->nr_log++] = entry;
	return entry;
}

void sim__log_capture(struct sim_disk *disk, struct sim_log_entry *entry)
{
	(void)disk;
	if (entry->kind == SIM_LOG_WRITE && entry->data == NULL && entry->sop != NULL &&
		!entry->is_void) {
		entry->data = sim__alloc(entry->len);
		sim__op_gather(entry->sop->op, 0, entry->data, entry->len);
	}
}

/* Puts bytes from..to of the entry on the image, as far as the image goes. */
static void put(
	struct sim_image *image, const struct sim_log_entry *entry, uint64_t from, uint64_t to)
{
	uint64_t size = sim_image_size(image);

	if (to > size) {
		to = size;
	}
	if (from >= to) {
		return;
	}
	if (entry->kind == SIM_LOG_WRITE) {
		sim_image_write(image, from, (char *)entry->data + (from - entry->offset),
			(size_t)(to - from));
	} else {
		sim_image_zero(image, from, to - from, entry->kind == SIM_LOG_PUNCH);
	}
}

static void grow_for(struct sim_image *image, const struct sim_log_entry *entry)
{
	if (entry->is_growing && entry->offset + entry->len > sim_image_size(image)) {
		sim_image_resize(image, entry->offset + entry->len);
	}
}

static void put_whole(struct sim_image *image, const struct sim_log_entry *entry)
{
	if (entry->kind == SIM_LOG_RESIZE) {
		sim_image_resize(image, entry->offset);
		return;
	}
	grow_for(image, entry);
	put(image, entry, entry->offset, entry->offset + entry->len);
}

/* Each sector or not. */
static void put_torn(struct sim_image *image, const struct sim_log_entry *entry, uint32_t sector,
	struct xu_random *random)
{
	uint64_t end = entry->offset + entry->len;

	if (entry->kind == SIM_LOG_RESIZE) {
		return; /* a size is not torn: this time it is lost */
	}
	grow_for(image, entry);
	for (uint64_t from = entry->offset; from < end;) {
		uint64_t to = (from / sector + 1) * sector;

		to = to < end ? to : end;
		if (xu_random_below(random, 2) == 0) {
			put(image, entry, from, to);
		}
		from = to;
	}
}

void sim__log_apply(struct sim_disk *disk, struct sim_log_entry *entry)
{
	sim__log_capture(disk, entry);
	entry->sop = NULL;
	entry->is_growing = entry->kind == SIM_LOG_WRITE &&
			    entry->offset + entry->len > sim_image_size(disk->content);
	entry->applied = disk->point++;
	disk->applied[disk->nr_applied++] = entry;
	put_whole(disk->content, entry);
}

void sim__log_complete(struct sim_disk *disk, struct sim_log_entry *entry, int32_t result)
{
	entry->sop = NULL;
	entry->result = result;
	entry->completed = disk->point++;
}

/* ---- reading it ---- */

uint64_t sim_disk_point(const struct sim_disk *disk)
{
	return disk->point;
}

uint64_t sim_disk_log_count(const struct sim_disk *disk)
{
	return disk->nr_log;
}

const struct sim_log_entry *sim_disk_log_entry(const struct sim_disk *disk, uint64_t index)
{
	assert(index < disk->nr_log);
	return disk->log[index];
}

/* ---- making images ---- */

/* The submission of the latest flush (or DSYNC write) that had completed at `point`: 0: none. */
static uint64_t latest_at(const struct sim_disk *disk, uint64_t point, bool is_flush)
{
	uint64_t latest = 0;

	for (uint64_t i = 0; i < disk->nr_log; i++) {
		const struct sim_log_entry *entry = disk->log[i];
		bool is_wanted = is_flush ? entry->kind == SIM_LOG_FLUSH && !entry->is_void
					  : entry->is_dsync;

		if (is_wanted && entry->result >= 0 && entry->completed < point &&
			entry->submitted > latest) {
			latest = entry->submitted;
		}
	}
	return latest;
}

/* What is known of a crash point. */
struct moment {
	uint64_t point;
	uint64_t flushed; /* what had completed before is durable */
	uint64_t synced;  /* a size that was set before is durable: a DSYNC write needs it */
};

static struct moment moment_of(const struct sim_disk *disk, uint64_t point)
{
	struct moment moment = {
		.point = point,
		.flushed = latest_at(disk, point, true),
		.synced = latest_at(disk, point, false),
	};

	return moment;
}

static bool is_durable(
	const struct sim_disk *disk, const struct sim_log_entry *entry, const struct moment *moment)
{
	if (entry->completed >= moment->point) {
		return false;
	}
	return entry->completed < moment->flushed ||
	       (entry->kind == SIM_LOG_RESIZE && entry->completed < moment->synced) ||
	       (entry->result >= 0 && (entry->is_dsync || disk->opts.no_write_cache));
}

struct choice {
	struct sim_image *image;
	const struct sim_crash *crash;
	uint32_t sector;
	uint32_t keep_percent, torn_percent;
	struct xu_random random;
};

static void put_possible(struct choice *choice, const struct sim_log_entry *entry)
{
	uint64_t dice;

	if (entry->kind == SIM_LOG_WRITE && entry->data == NULL) {
		return;
	}
	if (choice->crash->tail != SIM_TAIL_RANDOM) {
		if (choice->crash->tail == SIM_TAIL_ALL) {
			put_whole(choice->image, entry);
		}
		return;
	}
	dice = xu_random_below(&choice->random, 100);
	if (!choice->crash->no_torn && dice < choice->torn_percent) {
		put_torn(choice->image, entry, choice->sector, &choice->random);
	} else if (xu_random_below(&choice->random, 100) < choice->keep_percent) {
		put_whole(choice->image, entry);
	}
}

/* What had been submitted and had not reached the disk: in any order. */
static void put_late(struct choice *choice, struct sim_disk *disk, uint64_t point)
{
	struct sim_log_entry **late =
		sim__alloc((disk->nr_log + 1) * sizeof(struct sim_log_entry *));
	uint64_t count = 0;

	for (uint64_t i = 0; i < disk->nr_log; i++) {
		struct sim_log_entry *entry = disk->log[i];

		if (entry->kind != SIM_LOG_FLUSH && !entry->is_void && entry->submitted < point &&
			entry->applied >= point && entry->completed >= point) {
			sim__log_capture(disk, entry);
			late[count++] = entry;
		}
	}
	while (count != 0) {
		uint64_t at = choice->crash->tail == SIM_TAIL_RANDOM
				      ? xu_random_below(&choice->random, count)
				      : count - 1;

		put_possible(choice, late[at]);
		late[at] = late[--count];
	}
	free(late);
}

struct sim_image *sim_disk_crash_image(
	struct sim_disk *disk, uint64_t point, const struct sim_crash *crash)
{
	static const struct sim_crash random_crash = {0};
	struct choice choice = {.crash = crash != NULL ? crash : &random_crash};
	struct moment moment = moment_of(disk, point);
	uint64_t seed = choice.crash->seed;

	assert(point <= disk->point);
	if (seed == 0 && choice.crash->tail == SIM_TAIL_RANDOM) {
		seed = xu_random_u64(&disk->host->sim->random);
	}
	choice.image = sim_image_clone(disk->base);
	choice.sector = disk->opts.sector_bytes;
	xu_random_seed(&choice.random, seed);
	choice.keep_percent = (uint32_t)xu_random_below(&choice.random, 5) * 25;
	choice.torn_percent = (uint32_t)xu_random_below(&choice.random, 3) * 30;
	for (uint64_t i = 0; i < disk->nr_applied; i++) {
		const struct sim_log_entry *entry = disk->applied[i];

		if (entry->applied >= point) {
			break;
		}
		if (is_durable(disk, entry, &moment)) {
			put_whole(choice.image, entry);
		} else {
			put_possible(&choice, entry);
		}
	}
	put_late(&choice, disk, point);
	return choice.image;
}

/* ---- forgetting ---- */

static void entry_free(struct sim_log_entry *entry)
{
	free(entry->data);
	free(entry);
}

void sim__log_clear(struct sim_disk *disk)
{
	for (uint64_t i = 0; i < disk->nr_log; i++) {
		entry_free(disk->log[i]);
	}
	disk->nr_log = 0;
	disk->nr_applied = 0;
	disk->point = 0;
}

void sim_disk_log_reset(struct sim_disk *disk)
{
	sim_disk_set_image(disk, sim_image_clone(disk->content));
}

void sim_disk_log_trim(struct sim_disk *disk)
{
	struct moment now = moment_of(disk, disk->point);
	uint64_t nr_folded = 0, kept = 0;

	while (nr_folded < disk->nr_applied && is_durable(disk, disk->applied[nr_folded], &now)) {
		disk->applied[nr_folded]->is_void = true; /* marks it for the loop below */
		put_whole(disk->base, disk->applied[nr_folded++]);
	}
	disk->nr_applied -= nr_folded;
	if (nr_folded > 0) {
		memmove(disk->applied, disk->applied + nr_folded,
			disk->nr_applied * sizeof(*disk->applied));
	}
	for (uint64_t i = 0; i < disk->nr_log; i++) {
		struct sim_log_entry *entry = disk->log[i];
		bool is_old_flush = entry->kind == SIM_LOG_FLUSH && entry->submitted != now.flushed;

		if (entry->completed != SIM_NEVER && (entry->is_void || is_old_flush)) {
			entry_free(entry);
		} else {
			disk->log[kept++] = entry;
		}
	}
	disk->nr_log = kept;
}
