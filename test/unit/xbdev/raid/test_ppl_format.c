/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/raid/ppl_format.c on the logs that Linux wrote: one header after the other, each entry
 * of which names places that were being written when the machine was lost, and the checksum of its
 * parity; written again they are the same bytes. Then headers that are refused.
 */
#include "lib/util/error.h"
#include "lib/xbdev/raid/ppl_format.h"
#include "lib/xbdev/raid/super.h"
#include "test/unit/xbdev/raid/fixture.h"

#define HEAD       (2u << 20)
#define AREA       (XBDEV_MD_SUPER_OFFSET + 8) /* sectors: where mdadm puts it */
#define AREA_BYTES (2048u * 512)

/* ---- what Linux wrote ---- */

static uint32_t signature_of(const struct md_fixture *f)
{
	struct xu_uuid uuid = md_fixture_uuid(f->json, "uuid");

	return xbdev__md_ppl_signature(&uuid);
}

static void check_entries(const struct md_fixture *f, uint32_t role,
	const struct xbdev_md_ppl_header *header, const uint8_t *parity)
{
	bool is_dirty = strcmp(f->name, "state-raid5-ppl-dirty") == 0;

	for (uint32_t i = 0; i < header->nr_entries; i++) {
		const struct xbdev_md_ppl_entry *entry = &header->entries[i];
		uint64_t first = entry->data_sector * 512;

		assert_int_equal(entry->parity_disk, role);
		assert_true(first + entry->data_size <= md_fixture_array_bytes(f));
		assert_int_equal(entry->data_size % 4096, 0);
		/* Some bytes of the range were written, else it would not be there. */
		assert_true(!is_dirty || md_fixture_in_flight(f, first) != 0);
		if (entry->pp_size != 0) {
			assert_int_equal(
				xbdev__md_ppl_checksum(parity, entry->pp_size), entry->checksum);
		}
		parity += entry->pp_size;
	}
}

/* Reads header after header; returns how many there were. */
static uint32_t check_member(const struct md_fixture *f, uint32_t member, uint8_t *area)
{
	uint8_t again[XBDEV_MD_PPL_HEADER_BYTES];
	struct xbdev_md_ppl_header header;
	uint32_t at = 0, nr_headers = 0;
	uint64_t generation = 0;

	md_fixture_read(f, member, AREA * 512, area, AREA_BYTES);
	while (xbdev__md_ppl_parse(area + at, signature_of(f), &header, NULL) == 0) {
		assert_true(header.generation > generation);
		generation = header.generation;
		xbdev__md_ppl_format(&header, again);
		assert_memory_equal(again, area + at, sizeof(again));
		check_entries(
			f, (uint32_t)f->members[member].role, &header, area + at + sizeof(again));
		at += (uint32_t)sizeof(again);
		for (uint32_t i = 0; i < header.nr_entries; i++) {
			at += header.entries[i].pp_size;
		}
		nr_headers++;
		assert_true(at + sizeof(again) <= AREA_BYTES);
	}
	return nr_headers;
}

static void test_ppl_of_linux(void **state)
{
	static const char *const names[] = {"state-raid5-ppl", "state-raid5-ppl-dirty"};
	static const uint32_t nr_headers[2][4] = {{16, 16, 16, 16}, {2, 3, 1, 2}};
	uint8_t *area = malloc(AREA_BYTES);
	struct md_fixture f;

	(void)state;
	assert_non_null(area);
	for (uint32_t i = 0; i < 2; i++) {
		md_fixture_open_heads(&f, names[i], HEAD);
		assert_int_equal(f.nr_members, 4);
		for (uint32_t j = 0; j < f.nr_members; j++) {
			assert_int_equal(check_member(&f, j, area), nr_headers[i][j]);
		}
		md_fixture_close(&f);
	}
	free(area);
}

/* ---- what is refused ---- */

static const struct xbdev_md_ppl_header good = {
	.signature = 0x12345678,
	.generation = 0x1122334455667788,
	.nr_entries = 2,
	.entries = {{0x0102030405060708, 4096, 8192, 3, 0xdeadbeef}, {64, 0, 196608, 31, 0}},
};

static int try_parse(const uint8_t *bytes, struct xu_error *ret_err)
{
	struct xbdev_md_ppl_header header, untouched;
	int rc;

	memset(&header, 0x5a, sizeof(header));
	memset(&untouched, 0x5a, sizeof(untouched));
	memset(ret_err, 0, sizeof(*ret_err));
	rc = xbdev__md_ppl_parse(bytes, good.signature, &header, ret_err);
	assert_int_equal(rc, ret_err->code);
	assert_int_equal(memcmp(&header, &untouched, sizeof(header)) == 0, rc != 0);
	return rc;
}

static void test_ppl_any_byte_is_covered(void **state)
{
	uint8_t bytes[XBDEV_MD_PPL_HEADER_BYTES];
	struct xu_error err;

	(void)state;
	xbdev__md_ppl_format(&good, bytes);
	assert_int_equal(try_parse(bytes, &err), 0);
	for (uint32_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] ^= (uint8_t)(1 + i % 255);
		assert_int_equal(try_parse(bytes, &err), -EILSEQ);
		assert_non_null(strstr(err.text, "checksum"));
		bytes[i] ^= (uint8_t)(1 + i % 255);
	}
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(try_parse(bytes, &err), -EILSEQ);
}

static const struct {
	uint32_t at, value;
	int rc;
	const char *text;
} wrongs[] = {
	{512, 0x12345679, -ESTALE, "signature 12345679 of another array"},
	{528, 0, 0, ""},
	{528, 148, -EINVAL, "entry 2 "}, /* of zeros: no data */
	{528, 149, -EINVAL, "149 entries"},
	{528, 0xffffffff, -EINVAL, "4294967295 entries"},
	{544, 0, 0, ""},
	{544, 4097, -EINVAL, "entry 0 "},
	{544, 512, 0, ""},
	{548, 0, -EINVAL, "for 0 bytes of data"},
	{548, 1, -EINVAL, "for 1 bytes of data"},
	{552, 31, 0, ""},
	{552, 32, -EINVAL, "member 32"},
	{576, 0xffffffff, -EINVAL, "entry 1 "},
};

/* The checksum over the bytes, put right after a change. */
static void fix_checksum(uint8_t *bytes)
{
	uint32_t sum;

	memset(bytes + 532, 0, 4);
	sum = xbdev__md_ppl_checksum(bytes, XBDEV_MD_PPL_HEADER_BYTES);
	for (uint32_t i = 0; i < 4; i++) {
		bytes[532 + i] = (uint8_t)(sum >> 8 * i);
	}
}

static void test_ppl_refuses_what_is_wrong(void **state)
{
	uint8_t bytes[XBDEV_MD_PPL_HEADER_BYTES];
	struct xu_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		xbdev__md_ppl_format(&good, bytes);
		for (uint32_t j = 0; j < 4; j++) {
			bytes[wrongs[i].at + j] = (uint8_t)(wrongs[i].value >> 8 * j);
		}
		fix_checksum(bytes);
		if (try_parse(bytes, &err) != wrongs[i].rc ||
			strstr(err.text, wrongs[i].text) == NULL) {
			fail_msg("case %zu: %d '%s'", i, err.code, err.text);
		}
	}
}

static void test_ppl_keeps_every_field(void **state)
{
	uint8_t bytes[XBDEV_MD_PPL_HEADER_BYTES];
	struct xbdev_md_ppl_header header;

	(void)state;
	memset(bytes, 0x77, sizeof(bytes));
	xbdev__md_ppl_format(&good, bytes);
	assert_int_equal(xbdev__md_ppl_parse(bytes, good.signature, &header, NULL), 0);
	assert_memory_equal(&header, &good, sizeof(good));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ppl_of_linux),
		cmocka_unit_test(test_ppl_any_byte_is_covered),
		cmocka_unit_test(test_ppl_refuses_what_is_wrong),
		cmocka_unit_test(test_ppl_keeps_every_field),
	};

	return cmocka_run_group_tests_name("xbdev_raid_ppl_format", tests, NULL, NULL);
}
