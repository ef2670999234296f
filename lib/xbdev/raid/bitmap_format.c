/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The header of the bitmap from and to its bytes. Whose bitmap it is (uuid, events) and whether its
 * bits fit the room on the device are for the caller to compare.
 */
#include "lib/xbdev/raid/bitmap_format.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/ondisk.h"

#define VERSION_HOST     3u /* the same, in the byte order of the machine that made it */
#define VERSION_LITTLE   4u
#define MIN_CHUNK        512u
#define MAX_WRITE_BEHIND 16383u

/* Where the numbers would lead to a division by zero, or a sweep that never comes. */
static int check_numbers(const struct xbdev_md_bitmap_header *header, struct xu_error *err)
{
	uint32_t chunk = header->chunksize;

	if (chunk < MIN_CHUNK || (chunk & (chunk - 1)) != 0) {
		return xu_error_set(err, -EINVAL,
			"the bitmap has chunks of %" PRIu32
			" bytes; a power of two from %u on was expected",
			chunk, MIN_CHUNK);
	}
	if (header->daemon_sleep_s == 0) {
		return xu_error_set(err, -EINVAL,
			"the bitmap is to be swept every 0 seconds; 1 at least was expected");
	}
	if (header->write_behind > MAX_WRITE_BEHIND) {
		return xu_error_set(err, -EINVAL,
			"the bitmap allows %" PRIu32 " writes behind; %u are the most",
			header->write_behind, MAX_WRITE_BEHIND);
	}
	return 0;
}

int xbdev__md_bitmap_parse(
	const void *bytes, struct xbdev_md_bitmap_header *ret_header, struct xu_error *err)
{
	const struct md_bitmap_super *disk = bytes;
	struct xbdev_md_bitmap_header header = {
		.version = le32toh(disk->version),
		.events = le64toh(disk->events),
		.events_cleared = le64toh(disk->events_cleared),
		.sync_size = le64toh(disk->sync_size),
		.state = le32toh(disk->state),
		.chunksize = le32toh(disk->chunksize),
		.daemon_sleep_s = le32toh(disk->daemon_sleep),
		.write_behind = le32toh(disk->write_behind),
		.sectors_reserved = le32toh(disk->sectors_reserved),
		.nodes = le32toh(disk->nodes),
	};
	int rc;

	if (le32toh(disk->magic) != MD_BITMAP_MAGIC) {
		return xu_error_set(err, -ENOENT,
			"there is no write-intent bitmap where the "
			"superblock says");
	}
	if (header.version != VERSION_LITTLE && header.version != VERSION_HOST) {
		return xu_error_set(err, -EOPNOTSUPP,
			"the bitmap is of version %" PRIu32
			" (5: of a cluster, 6: lockless); only versions 3 and 4 are read",
			header.version);
	}
	memcpy(header.uuid.bytes, disk->uuid, sizeof(header.uuid.bytes));
	rc = check_numbers(&header, err);
	if (rc == 0) {
		*ret_header = header;
	}
	return rc;
}

void xbdev__md_bitmap_format(const struct xbdev_md_bitmap_header *header, void *ret_bytes)
{
	struct md_bitmap_super *disk = ret_bytes;

	memset(disk, 0, sizeof(*disk));
	disk->magic = htole32(MD_BITMAP_MAGIC);
	disk->version = htole32(header->version);
	memcpy(disk->uuid, header->uuid.bytes, sizeof(disk->uuid));
	disk->events = htole64(header->events);
	disk->events_cleared = htole64(header->events_cleared);
	disk->sync_size = htole64(header->sync_size);
	disk->state = htole32(header->state);
	disk->chunksize = htole32(header->chunksize);
	disk->daemon_sleep = htole32(header->daemon_sleep_s);
	disk->write_behind = htole32(header->write_behind);
	disk->sectors_reserved = htole32(header->sectors_reserved);
	disk->nodes = htole32(header->nodes);
}
