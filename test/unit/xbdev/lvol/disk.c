/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk.h. */
#include "test/unit/xbdev/lvol/disk.h"

static struct lvol_disk *disk_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct lvol_disk, dev);
}

static void add_record(struct lvol_disk *disk, uint64_t offset, uint32_t len)
{
	struct lvol_record *record;

	if (disk->nr_log == disk->room_log) {
		disk->room_log = disk->room_log != 0 ? disk->room_log * 2 : 64;
		disk->log = realloc(disk->log, disk->room_log * sizeof(disk->log[0]));
		MUST(disk->log != NULL);
	}
	record = &disk->log[disk->nr_log++];
	*record = (struct lvol_record){.offset = offset, .len = len};
	if (len > 0) {
		record->bytes = malloc(len);
		MUST(record->bytes != NULL);
		memcpy(record->bytes, disk->memory + offset, len);
	}
}

static void disk_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct lvol_disk *disk = disk_of(ch->dev);
	uint8_t *at = disk->memory + io->offset;
	int status = 0;

	if (io->op != XBDEV_OP_READ) {
		disk->nr_writes++;
		if (disk->fail_at != 0 &&
			(disk->nr_writes == disk->fail_at ||
				(disk->is_sick && disk->nr_writes > disk->fail_at))) {
			status = -EIO;
			if (disk->is_tearing && io->op == XBDEV_OP_WRITE) {
				memcpy(at, io->iov[0].iov_base, disk->dev.limits.block_size);
			}
		}
	}
	for (uint32_t i = 0; i < io->nr_iov && status == 0; i++) {
		if (io->op == XBDEV_OP_READ) {
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		} else {
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		}
		at += io->iov[i].iov_len;
	}
	if (io->op != XBDEV_OP_READ && io->offset + io->len > disk->used_bytes) {
		disk->used_bytes = io->offset + io->len;
	}
	if (io->op != XBDEV_OP_READ && status == 0 && disk->begin != NULL) {
		add_record(disk, io->offset, (uint32_t)io->len);
	}
	xbdev_io_complete_later(io, status);
}

static void forget(struct lvol_disk *disk)
{
	for (uint32_t i = 0; i < disk->nr_log; i++) {
		free(disk->log[i].bytes);
	}
	disk->nr_log = 0;
}

static void disk_destroy(struct xbdev_device *dev)
{
	struct lvol_disk *disk = disk_of(dev);

	forget(disk);
	free(disk->log);
	free(disk->begin);
	free(disk->memory);
	free(disk);
}

static const struct xbdev_device_ops disk_ops = {
	.submit = disk_submit,
	.destroy = disk_destroy,
};

/* What lvol_disk_crash() has made last: to look where its zeroes begin would take longer than all
 * that is done with it. */
static const uint8_t *last_crash;
static uint64_t last_crash_used;

struct lvol_disk *lvol_disk_new(struct harness *h, const char *name, const void *content,
	uint64_t size_bytes, uint32_t block_size)
{
	struct lvol_disk *disk = calloc(1, sizeof(*disk));
	struct xu_error err = {0};

	MUST(disk != NULL);
	disk->memory = calloc(1, size_bytes);
	MUST(disk->memory != NULL);
	disk->size_bytes = size_bytes;
	if (content != NULL) {
		const uint8_t *from = content;

		disk->used_bytes = content == last_crash ? last_crash_used : size_bytes;
		last_crash = NULL; /* its memory may be another's next time */
		while (disk->used_bytes > 0 && from[disk->used_bytes - 1] == 0) {
			disk->used_bytes--;
		}
		memcpy(disk->memory, content, disk->used_bytes);
	}
	snprintf(disk->dev.name, sizeof(disk->dev.name), "%s", name);
	disk->dev.driver = "lvol-disk";
	disk->dev.product = "a disk of a test";
	disk->dev.ops = &disk_ops;
	disk->dev.limits = (struct xbdev_limits){
		.block_size = block_size,
		.buf_align = 1,
		.max_transfer = 1u << 20,
		.max_iov = 16,
		.max_zeroes = 1u << 20,
		.queue_depth = 64,
	};
	disk->dev.ops_mask = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH;
	disk->dev.has_write_cache = true;
	disk->dev.numa_node = -1;
	disk->dev.owner = xbdev_ctx_control(h->ctx);
	atomic_store(&disk->dev.nr_blocks, size_bytes / block_size);
	if (xbdev_device_register(h->ctx, &disk->dev, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return disk;
}

void lvol_disk_begin(struct lvol_disk *disk)
{
	forget(disk);
	free(disk->begin);
	disk->begin = calloc(1, disk->size_bytes);
	MUST(disk->begin != NULL);
	memcpy(disk->begin, disk->memory, disk->used_bytes);
}

/* A write that was not made durable: none of it, all, or some of its blocks. */
static void apply_some(const struct lvol_disk *disk, uint8_t *image,
	const struct lvol_record *record, struct xu_random *random)
{
	uint32_t block = disk->dev.limits.block_size;
	uint64_t choice = xu_random_below(random, 4);

	for (uint32_t at = 0; at < record->len; at += block) {
		if (choice == 1 || (choice >= 2 && xu_random_below(random, 2) == 0)) {
			memcpy(image + record->offset + at, record->bytes + at, block);
		}
	}
}

uint8_t *lvol_disk_crash(
	const struct lvol_disk *disk, uint32_t nr_records, struct xu_random *random)
{
	uint8_t *image = calloc(1, disk->size_bytes);
	uint32_t durable = 0;

	MUST(image != NULL && nr_records <= disk->nr_log);
	memcpy(image, disk->begin, disk->used_bytes);
	for (uint32_t i = 0; i < nr_records; i++) {
		durable = disk->log[i].len == 0 || random == NULL ? i + 1 : durable;
	}
	for (uint32_t i = 0; i < nr_records; i++) {
		const struct lvol_record *record = &disk->log[i];

		if (record->len == 0) {
			continue;
		}
		if (i < durable) {
			memcpy(image + record->offset, record->bytes, record->len);
		} else {
			apply_some(disk, image, record, random);
		}
	}
	last_crash = image;
	last_crash_used = disk->used_bytes;
	return image;
}
