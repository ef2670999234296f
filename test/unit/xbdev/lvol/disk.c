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
	uint8_t *at = lvol_image_bytes(disk->image) + io->offset;
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
	if (io->op != XBDEV_OP_READ) {
		lvol_image_touch(disk->image, io->offset, io->len);
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
	lvol_image_free(disk->begin);
	lvol_image_free(disk->image);
	free(disk);
}

static const struct xbdev_device_ops disk_ops = {
	.submit = disk_submit,
	.destroy = disk_destroy,
};

struct lvol_disk *lvol_disk_new(struct harness *h, const char *name, const void *content,
	uint64_t size_bytes, uint32_t block_size)
{
	struct lvol_disk *disk = calloc(1, sizeof(*disk));
	struct xu_error err = {0};

	MUST(disk != NULL);
	disk->image = lvol_image_new(content, size_bytes);
	disk->memory = lvol_image_bytes(disk->image);
	disk->size_bytes = size_bytes;
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
	lvol_image_free(disk->begin);
	disk->begin = lvol_image_new(disk->memory, disk->size_bytes);
}

/* A write that was not made durable: none of it, all, or some of its blocks. */
static void apply_some(const struct lvol_disk *disk, uint8_t *bytes,
	const struct lvol_record *record, struct xu_random *random)
{
	uint32_t block = disk->dev.limits.block_size;
	uint64_t choice = xu_random_below(random, 4);

	for (uint32_t at = 0; at < record->len; at += block) {
		if (choice == 1 || (choice >= 2 && xu_random_below(random, 2) == 0)) {
			memcpy(bytes + record->offset + at, record->bytes + at, block);
		}
	}
}

const uint8_t *lvol_disk_crash(
	const struct lvol_disk *disk, uint32_t nr_records, struct xu_random *random)
{
	struct lvol_image *image;
	uint32_t durable = 0;
	uint8_t *bytes;

	MUST(disk->begin != NULL && nr_records <= disk->nr_log);
	image = lvol_image_new(lvol_image_bytes(disk->begin), disk->size_bytes);
	bytes = lvol_image_bytes(image);
	for (uint32_t i = 0; i < nr_records; i++) {
		durable = disk->log[i].len == 0 || random == NULL ? i + 1 : durable;
	}
	for (uint32_t i = 0; i < nr_records; i++) {
		const struct lvol_record *record = &disk->log[i];

		if (record->len == 0) {
			continue;
		}
		lvol_image_touch(image, record->offset, record->len);
		if (i < durable) {
			memcpy(bytes + record->offset, record->bytes, record->len);
		} else {
			apply_some(disk, bytes, record, random);
		}
	}
	return bytes;
}

void lvol_disk_crash_free(const uint8_t *content)
{
	lvol_image_free(lvol_image_of(content));
}

void lvol_disk_fill(struct lvol_disk *disk, uint64_t offset, uint8_t byte, uint64_t len)
{
	lvol_image_touch(disk->image, offset, len);
	memset(lvol_image_bytes(disk->image) + offset, byte, len);
}
