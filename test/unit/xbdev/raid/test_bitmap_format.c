/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/raid/bitmap_format.c on the bitmaps that Linux wrote: the header is what the manifest
 * says, the bits are where the format says and as many as the header counts, and written again the
 * header is the same bytes. Then headers that are refused.
 */
#include "lib/util/error.h"
#include "lib/xbdev/raid/bitmap_format.h"
#include "lib/xbdev/raid/super.h"
#include "test/unit/xbdev/raid/fixture.h"

#define HEAD 65536u
#define PAGE 4096u

/* ---- what Linux wrote ---- */

static void check_header(const struct md_fixture *f, json_t *json, const uint8_t *bytes,
	struct xbdev_md_bitmap_header *ret_header)
{
	struct xu_uuid uuid = md_fixture_uuid(f->json, "uuid");
	struct xbdev_md_bitmap_header header;
	uint8_t again[XBDEV_MD_BITMAP_HEADER_BYTES];

	assert_int_equal(xbdev__md_bitmap_parse(bytes, &header, NULL), 0);
	assert_true(xu_uuid_is_equal(&header.uuid, &uuid));
	assert_int_equal(header.version, md_fixture_u64(json, "version"));
	assert_int_equal(header.events, md_fixture_u64(json, "events"));
	assert_int_equal(header.events_cleared, md_fixture_u64(json, "events_cleared"));
	assert_int_equal(header.sync_size, md_fixture_u64(json, "sync_size"));
	assert_int_equal(header.state, md_fixture_u64(json, "state"));
	assert_int_equal(header.chunksize, md_fixture_u64(json, "chunksize"));
	assert_int_equal(header.daemon_sleep_s, md_fixture_u64(json, "daemon_sleep"));
	assert_int_equal(header.write_behind, md_fixture_u64(json, "write_behind"));
	assert_int_equal(header.sectors_reserved, md_fixture_u64(json, "sectors_reserved"));
	assert_int_equal(header.nodes, md_fixture_u64(json, "nodes"));
	assert_int_equal(xbdev__md_bitmap_nr_bits(&header), md_fixture_u64(json, "bits"));
	xbdev__md_bitmap_format(&header, again);
	assert_memory_equal(again, bytes, sizeof(again));
	*ret_header = header;
}

static void check_bits(
	json_t *json, const uint8_t *bytes, const struct xbdev_md_bitmap_header *header)
{
	json_t *dirty = json_object_get(json, "dirty");
	size_t nr_found = 0;

	for (uint64_t bit = 0; bit < xbdev__md_bitmap_nr_bits(header); bit++) {
		if ((bytes[XBDEV_MD_BITMAP_HEADER_BYTES + bit / 8] & 1u << bit % 8) != 0) {
			assert_int_equal(json_integer_value(json_array_get(dirty, nr_found)), bit);
			nr_found++;
		}
	}
	assert_int_equal(nr_found, json_array_size(dirty));
}

static void test_bitmap_of_linux(void **state)
{
	uint32_t nr_bitmaps = 0, nr_dirty = 0;
	uint8_t bytes[PAGE], sb[PAGE];
	struct md_fixture f;

	(void)state;
	for (uint32_t i = 0; i < md_fixture_count(); i++) {
		md_fixture_describe(&f, md_fixture_name(i));
		if (json_object_get(f.members[0].json, "bitmap") == NULL) {
			continue;
		}
		md_fixture_open_heads(&f, md_fixture_name(i), HEAD);
		for (uint32_t j = 0; j < f.nr_members; j++) {
			json_t *json = json_object_get(f.members[j].json, "bitmap");
			struct xbdev_md_bitmap_header header;
			struct xbdev_md_super super;
			uint64_t sectors = f.members[j].size_bytes / 512;

			md_fixture_read(&f, j, PAGE, sb, sizeof(sb));
			assert_int_equal(xbdev__md_super_parse(sb, sectors, &super, NULL), 0);
			md_fixture_read(&f, j,
				(uint64_t)(XBDEV_MD_SUPER_OFFSET + super.bitmap_offset) * 512,
				bytes, sizeof(bytes));
			check_header(&f, json, bytes, &header);
			check_bits(json, bytes, &header);
			assert_true(XBDEV_MD_BITMAP_HEADER_BYTES +
					    xbdev__md_bitmap_nr_bits(&header) / 8 <
				    xbdev__md_super_bitmap_room(&super, sectors) * 512);
			nr_dirty += json_array_size(json_object_get(json, "dirty")) != 0;
			nr_bitmaps++;
		}
		md_fixture_close(&f);
	}
	assert_true(nr_bitmaps >= 16 && nr_dirty >= 4);
}

/* ---- what is refused ---- */

static const struct xbdev_md_bitmap_header good = {
	.version = 4,
	.uuid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
	.events = 0x1122334455667788,
	.events_cleared = 0x1122334455667700,
	.sync_size = 0x0102030405060708,
	.state = XBDEV_MD_BITMAP_STALE | XBDEV_MD_BITMAP_WRITE_ERROR,
	.chunksize = 65536,
	.daemon_sleep_s = 5,
	.write_behind = 256,
	.sectors_reserved = 8,
	.nodes = 0,
};

static const struct {
	uint32_t at; /* in the 256 bytes */
	uint32_t value;
	int rc;
	const char *text;
} wrongs[] = {
	{0, 0x6d746963, -ENOENT, "no write-intent bitmap"},
	{4, 2, -EOPNOTSUPP, "version 2"},
	{4, 3, 0, ""},
	{4, 5, -EOPNOTSUPP, "version 5"},
	{4, 6, -EOPNOTSUPP, "version 6"},
	{52, 0, -EINVAL, "chunks of 0 bytes"},
	{52, 256, -EINVAL, "chunks of 256 bytes"},
	{52, 512, 0, ""},
	{52, 65537, -EINVAL, "chunks of 65537 bytes"},
	{52, 0x80000000, 0, ""},
	{52, 0xc0000000, -EINVAL, "chunks of 3221225472 bytes"},
	{56, 0, -EINVAL, "every 0 seconds"},
	{56, 0xffffffff, 0, ""},
	{60, 16383, 0, ""},
	{60, 16384, -EINVAL, "16384 writes behind"},
};

static void test_bitmap_refuses_what_is_wrong(void **state)
{
	struct xbdev_md_bitmap_header header, untouched;
	uint8_t bytes[XBDEV_MD_BITMAP_HEADER_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct xu_error err = {0};
		int rc;

		memset(&header, 0x5a, sizeof(header));
		memset(&untouched, 0x5a, sizeof(untouched));
		xbdev__md_bitmap_format(&good, bytes);
		for (uint32_t j = 0; j < 4; j++) {
			bytes[wrongs[i].at + j] = (uint8_t)(wrongs[i].value >> 8 * j);
		}
		rc = xbdev__md_bitmap_parse(bytes, &header, &err);
		if (rc != wrongs[i].rc || strstr(err.text, wrongs[i].text) == NULL) {
			fail_msg("case %zu: %d '%s'", i, rc, err.text);
		}
		assert_int_equal(memcmp(&header, &untouched, sizeof(header)) == 0, rc != 0);
	}
}

static void test_bitmap_keeps_every_field(void **state)
{
	uint8_t bytes[XBDEV_MD_BITMAP_HEADER_BYTES], again[XBDEV_MD_BITMAP_HEADER_BYTES];
	struct xbdev_md_bitmap_header header;

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	xbdev__md_bitmap_format(&good, bytes);
	assert_int_equal(bytes[24], 0x88); /* little endian */
	assert_int_equal(bytes[8 + 15], 16);
	assert_int_equal(xbdev__md_bitmap_parse(bytes, &header, NULL), 0);
	assert_true(header.events == good.events && header.events_cleared == good.events_cleared &&
		    header.sync_size == good.sync_size);
	xbdev__md_bitmap_format(&header, again);
	assert_memory_equal(again, bytes, sizeof(bytes));
}

static void test_bitmap_counts_its_bits(void **state)
{
	struct xbdev_md_bitmap_header header = good;

	(void)state;
	header.chunksize = 4096;
	header.sync_size = 0;
	assert_int_equal(xbdev__md_bitmap_nr_bits(&header), 0);
	header.sync_size = 8;
	assert_int_equal(xbdev__md_bitmap_nr_bits(&header), 1);
	header.sync_size = 9;
	assert_int_equal(xbdev__md_bitmap_nr_bits(&header), 2);
	header.sync_size = UINT64_MAX;
	header.chunksize = 512;
	assert_true(xbdev__md_bitmap_nr_bits(&header) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bitmap_of_linux),
		cmocka_unit_test(test_bitmap_refuses_what_is_wrong),
		cmocka_unit_test(test_bitmap_keeps_every_field),
		cmocka_unit_test(test_bitmap_counts_its_bits),
	};

	return cmocka_run_group_tests_name("xbdev_raid_bitmap_format", tests, NULL, NULL);
}
