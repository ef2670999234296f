/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write-intent bitmap, see bitmap.h.
 *
 *   a write begins   its bits are set in `wanted`; if they are not on every member yet, a round of
 *                    metadata writes the pages that changed (durably), and the write waits for it
 *   it ends          nobody uses the bit any more
 *   every sweep      a bit that nobody used for two sweeps is cleared, unless the array lacks a
 *                    member or a resync has yet to come there; the page is written in the next
 *                    round
 *   superblocks      page 0 goes before them with their event count, so that one who finds the
 *                    bitmap behind the superblocks knows that it was not kept
 *
 * A bit is on disk when it is set in `written`, which members have, and in the page of it that may
 * be on its way to them (`out`). Clearing bits also moves events_cleared to the current events, so
 * that a member which left before cannot be taken back by what remains (docs/raid.md).
 */
#include "lib/xbdev/raid/bitmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"

#define IDLE_SWEEPS 2u

/* ---- bits ---- */

static bool get_bit(const uint8_t *image, uint64_t bit)
{
	return (image[XBDEV_MD_BITMAP_HEADER_BYTES + bit / 8] & (1u << (bit % 8))) != 0;
}

static void touch(struct xbdev_md_bitmap *bitmap, size_t byte)
{
	uint32_t page = (uint32_t)(byte / XBDEV_MD_BITMAP_PAGE);

	if (bitmap->first_page == bitmap->end_page) {
		bitmap->first_page = page;
		bitmap->end_page = page + 1;
		return;
	}
	bitmap->first_page = page < bitmap->first_page ? page : bitmap->first_page;
	bitmap->end_page = page >= bitmap->end_page ? page + 1 : bitmap->end_page;
}

static void put_bit(struct xbdev_md_bitmap *bitmap, uint64_t bit, bool value)
{
	size_t byte = XBDEV_MD_BITMAP_HEADER_BYTES + bit / 8;
	uint8_t mask = (uint8_t)(1u << (bit % 8));

	bitmap->wanted[byte] =
		value ? bitmap->wanted[byte] | mask : (uint8_t)(bitmap->wanted[byte] & ~mask);
	touch(bitmap, byte);
}

struct range {
	uint64_t first, last;
};

/* The bits of a range of the array: of the rows of chunks that it touches, for parity levels. */
static struct range bits_of(const struct xbdev_md_bitmap *bitmap, uint64_t sector, uint64_t count)
{
	const struct xbdev_md_geometry *geo = &bitmap->array->geo;
	uint64_t first = sector, last = sector + count - 1;

	if (geo->nr_data != 0 && geo->nr_parity != 0) {
		uint64_t row = (uint64_t)geo->chunk * geo->nr_data;

		first = first / row * geo->chunk;
		last = last / row * geo->chunk + geo->chunk - 1;
	}
	return (struct range){first / bitmap->chunk_sectors, last / bitmap->chunk_sectors};
}

/* ---- life ---- */

static void on_sweep(struct xr_timer *timer);

size_t xbdev__md_bitmap_bytes(const struct xbdev_md_super *super, uint64_t dev_sectors)
{
	return xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)
		       ? (size_t)xbdev__md_super_bitmap_room(super, dev_sectors) * 512 /
				 XBDEV_MD_BITMAP_PAGE * XBDEV_MD_BITMAP_PAGE
		       : 0;
}

void xbdev__md_bitmap_make(uint8_t *bytes, size_t count, const struct xbdev_md_super *super,
	uint64_t sync_size, uint32_t chunk_bytes, uint32_t write_behind)
{
	const struct xbdev_md_bitmap_header header = {
		.version = 4,
		.uuid = super->set_uuid,
		.sync_size = sync_size,
		.chunksize = chunk_bytes,
		.daemon_sleep_s = 5,
		.write_behind = write_behind,
	};

	memset(bytes, 0xff, count);
	xbdev__md_bitmap_format(&header, bytes);
}

static int check(const struct xbdev_md_bitmap *bitmap, size_t room, struct xu_error *err)
{
	const struct xbdev_md_array *array = bitmap->array;
	uint64_t sync_size = array->geo.level == 10 ? array->geo.array_size : array->super.size;

	if (!xu_uuid_is_equal(&bitmap->header.uuid, &array->super.set_uuid)) {
		return xu_error_set(err, -EINVAL,
			"array '%s': the bitmap is another array's; let Linux remove it (mdadm "
			"--grow --bitmap=none)",
			array->dev.name);
	}
	if (bitmap->header.sync_size != sync_size ||
		XBDEV_MD_BITMAP_HEADER_BYTES + (bitmap->nr_bits + 7) / 8 > room) {
		return xu_error_set(err, -EINVAL,
			"array '%s': the bitmap covers %llu sectors with %llu bits; %llu sectors "
			"were expected, and bits that fit its place",
			array->dev.name, (unsigned long long)bitmap->header.sync_size,
			(unsigned long long)bitmap->nr_bits, (unsigned long long)sync_size);
	}
	return 0;
}

/* Bits behind the last one mean nothing; they are kept as they are. */
static int allocate(struct xbdev_md_bitmap *bitmap)
{
	size_t used = XBDEV_MD_BITMAP_HEADER_BYTES + (bitmap->nr_bits + 7) / 8;

	bitmap->bytes =
		(used + XBDEV_MD_BITMAP_PAGE - 1) / XBDEV_MD_BITMAP_PAGE * XBDEV_MD_BITMAP_PAGE;
	bitmap->written = malloc(bitmap->bytes);
	bitmap->wanted = malloc(bitmap->bytes);
	bitmap->out = xu_buf_alloc(bitmap->bytes);
	bitmap->nr_users = calloc(bitmap->nr_bits, sizeof(*bitmap->nr_users));
	bitmap->idle = calloc(bitmap->nr_bits, sizeof(*bitmap->idle));
	return bitmap->written != NULL && bitmap->wanted != NULL && bitmap->out != NULL &&
			       bitmap->nr_users != NULL && bitmap->idle != NULL
		       ? 0
		       : -ENOMEM;
}

int xbdev__md_bitmap_start(
	struct xbdev_md_array *array, uint8_t *bytes, size_t count, struct xu_error *err)
{
	struct xbdev_md_bitmap *bitmap = calloc(1, sizeof(*bitmap));
	int rc;

	if (bitmap == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "array '%s'", array->dev.name);
	}
	bitmap->array = array;
	array->bitmap = bitmap;
	rc = xbdev__md_bitmap_parse(bytes, &bitmap->header, err);
	if (rc != 0) {
		return xu_error_prefix(err, "array '%s': bitmap", array->dev.name);
	}
	bitmap->chunk_sectors = bitmap->header.chunksize / XBDEV_MD_SECTOR;
	bitmap->nr_bits = xbdev__md_bitmap_nr_bits(&bitmap->header);
	rc = check(bitmap, count, err);
	if (rc != 0) {
		return rc;
	}
	if (allocate(bitmap) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "array '%s'", array->dev.name);
	}
	memcpy(bitmap->wanted, bytes, bitmap->bytes);
	memcpy(bitmap->written, bytes, bitmap->bytes);
	if (bitmap->header.events < array->super.events ||
		(bitmap->header.state & XBDEV_MD_BITMAP_STALE) != 0) {
		xbdev__md_bitmap_set_all(array);
	}
	bitmap->header.state = 0;
	bitmap->sweep_timer.fn = on_sweep;
	return 0;
}

void xbdev__md_bitmap_watch(struct xbdev_md_array *array)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;

	if (bitmap != NULL && !array->is_read_only && !array->is_retiring &&
		!xr_timer_is_running(&bitmap->sweep_timer)) {
		xr_timer_start(array->reactor, &bitmap->sweep_timer,
			bitmap->header.daemon_sleep_s * XU_NS_PER_S);
	}
}

void xbdev__md_bitmap_free(struct xbdev_md_array *array)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;

	if (bitmap != NULL) {
		xr_timer_stop(array->reactor, &bitmap->sweep_timer);
		xu_buf_free(bitmap->out, bitmap->bytes);
		free(bitmap->written);
		free(bitmap->wanted);
		free(bitmap->nr_users);
		free(bitmap->idle);
		free(bitmap);
		array->bitmap = NULL;
	}
}

void xbdev__md_bitmap_set_all(struct xbdev_md_array *array)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;

	memset(bitmap->wanted + XBDEV_MD_BITMAP_HEADER_BYTES, 0xff,
		bitmap->bytes - XBDEV_MD_BITMAP_HEADER_BYTES);
	touch(bitmap, 0);
	touch(bitmap, bitmap->bytes - 1);
}

/* ---- writes ---- */

static bool is_bit_on_disk(const struct xbdev_md_bitmap *bitmap, uint64_t bit)
{
	uint32_t page = (uint32_t)((XBDEV_MD_BITMAP_HEADER_BYTES + bit / 8) / XBDEV_MD_BITMAP_PAGE);
	bool is_out = page >= bitmap->out_first && page < bitmap->out_end;

	return get_bit(bitmap->written, bit) && (!is_out || get_bit(bitmap->out, bit));
}

bool xbdev__md_bitmap_is_on_disk(
	const struct xbdev_md_array *array, uint64_t sector, uint64_t count)
{
	struct range range = bits_of(array->bitmap, sector, count);

	for (uint64_t bit = range.first; bit <= range.last; bit++) {
		if (!is_bit_on_disk(array->bitmap, bit)) {
			return false;
		}
	}
	return true;
}

void xbdev__md_bitmap_begin(struct xbdev_md_array *array, uint64_t sector, uint64_t count)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;
	struct range range = bits_of(bitmap, sector, count);

	for (uint64_t bit = range.first; bit <= range.last; bit++) {
		bitmap->nr_users[bit]++;
		bitmap->idle[bit] = 0;
		if (!get_bit(bitmap->wanted, bit)) {
			put_bit(bitmap, bit, true);
		}
	}
}

void xbdev__md_bitmap_end(struct xbdev_md_array *array, uint64_t sector, uint64_t count)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;
	struct range range = bits_of(bitmap, sector, count);

	for (uint64_t bit = range.first; bit <= range.last; bit++) {
		bitmap->nr_users[bit]--;
	}
	xbdev__md_bitmap_watch(array);
}

/* ---- sweeping ---- */

static bool may_clear(const struct xbdev_md_array *array)
{
	return array->nr_degraded == 0 && !array->is_broken && !array->is_read_only;
}

/* A resync, if one is due, has been at all that the bit stands for. */
static bool is_agreed(const struct xbdev_md_bitmap *bitmap, uint64_t bit)
{
	uint64_t start = bit * bitmap->chunk_sectors, end = start + bitmap->chunk_sectors;

	end = end < bitmap->header.sync_size ? end : bitmap->header.sync_size;
	return bitmap->array->in_sync_below == XBDEV_MD_NEVER ||
	       xbdev__md_is_agreed(bitmap->array, start, end);
}

/* Clears what nobody uses; with is_patient only what has been idle for some sweeps. True: bits are
 * left that may be cleared later. */
static bool sweep(struct xbdev_md_bitmap *bitmap, bool is_patient)
{
	bool is_changed = false, has_more = false;

	for (uint64_t bit = 0; bit < bitmap->nr_bits; bit++) {
		if (!get_bit(bitmap->wanted, bit)) {
			continue;
		}
		if (bitmap->nr_users[bit] == 0 && is_agreed(bitmap, bit) &&
			(!is_patient || ++bitmap->idle[bit] >= IDLE_SWEEPS)) {
			put_bit(bitmap, bit, false);
			is_changed = true;
		} else {
			has_more = true;
		}
	}
	if (is_changed) {
		bitmap->header.events_cleared = bitmap->array->super.events;
		touch(bitmap, 0);
	}
	return has_more;
}

static void on_sweep(struct xr_timer *timer)
{
	struct xbdev_md_bitmap *bitmap =
		xu_container_of(timer, struct xbdev_md_bitmap, sweep_timer);
	struct xbdev_md_array *array = bitmap->array;
	bool has_more = true;

	if (may_clear(array)) {
		has_more = sweep(bitmap, true);
		if (bitmap->first_page != bitmap->end_page) {
			xbdev__md_meta_update_bits(array, true);
		}
	}
	if (has_more) {
		xr_timer_start(array->reactor, timer, bitmap->header.daemon_sleep_s * XU_NS_PER_S);
	}
}

void xbdev__md_bitmap_settle(struct xbdev_md_array *array)
{
	xr_timer_stop(array->reactor, &array->bitmap->sweep_timer);
	if (may_clear(array)) {
		sweep(array->bitmap, false);
	}
}

/* ---- for others ---- */

uint64_t xbdev__md_bitmap_clean_run(const struct xbdev_md_array *array, uint64_t sector)
{
	const struct xbdev_md_bitmap *bitmap = array->bitmap;
	uint64_t bit = sector / bitmap->chunk_sectors;

	if (bit >= bitmap->nr_bits || get_bit(bitmap->wanted, bit)) {
		return 0;
	}
	return bitmap->chunk_sectors - sector % bitmap->chunk_sectors;
}

bool xbdev__md_bitmap_take(struct xbdev_md_array *array, uint64_t events, uint8_t **ret_bytes,
	size_t *ret_offset, size_t *ret_count)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;

	if (events != 0) {
		bitmap->header.events = events;
		touch(bitmap, 0);
	}
	if (bitmap->first_page == bitmap->end_page) {
		return false;
	}
	if (bitmap->first_page == 0) {
		xbdev__md_bitmap_format(&bitmap->header, bitmap->wanted);
	}
	*ret_offset = (size_t)bitmap->first_page * XBDEV_MD_BITMAP_PAGE;
	*ret_count = (size_t)(bitmap->end_page - bitmap->first_page) * XBDEV_MD_BITMAP_PAGE;
	memcpy(bitmap->out + *ret_offset, bitmap->wanted + *ret_offset, *ret_count);
	*ret_bytes = bitmap->out + *ret_offset;
	bitmap->out_first = bitmap->first_page;
	bitmap->out_end = bitmap->end_page;
	bitmap->first_page = bitmap->end_page = 0;
	return true;
}

void xbdev__md_bitmap_taken(struct xbdev_md_array *array)
{
	struct xbdev_md_bitmap *bitmap = array->bitmap;
	size_t offset = (size_t)bitmap->out_first * XBDEV_MD_BITMAP_PAGE;

	memcpy(bitmap->written + offset, bitmap->out + offset,
		(size_t)(bitmap->out_end - bitmap->out_first) * XBDEV_MD_BITMAP_PAGE);
	bitmap->out_first = bitmap->out_end = 0;
}
