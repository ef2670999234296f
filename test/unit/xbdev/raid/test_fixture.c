/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The helper itself: what it unpacks and what it computes have the digests of the manifest, which
 * were taken of the kernel's arrays.
 */
#include "test/unit/xbdev/digest.h"
#include "test/unit/xbdev/raid/fixture.h"

#include <sys/stat.h>

#define PIECE (1u << 20)

static void must_be(struct digest *digest, const char *expected)
{
	char text[DIGEST_TEXT_SIZE];

	digest_end(digest, text);
	assert_string_equal(text, expected);
}

static void check_members(const char *name)
{
	struct digest *digest;
	struct md_fixture f;
	uint8_t *buf = malloc(PIECE);

	assert_non_null(buf);
	md_fixture_open(&f, name);
	for (uint32_t i = 0; i < f.nr_members; i++) {
		uint64_t size = f.members[i].size_bytes, len;

		digest = digest_new();
		for (uint64_t at = 0; at < size; at += len) {
			len = size - at < PIECE ? size - at : PIECE;
			md_fixture_read(&f, i, at, buf, len);
			digest_add(digest, buf, len);
		}
		must_be(digest, md_fixture_text(f.members[i].json, "sha256"));
	}
	md_fixture_close(&f);
	free(buf);
}

static void test_fixture_members_are_unpacked(void **state)
{
	(void)state;
	check_members("linear-3u");
	check_members("raid6-ls-6");
	check_members("state-raid5-ppl-dirty");
	check_members("state-raid1-splitbrain");
}

static void test_fixture_heads(void **state)
{
	struct md_fixture f;
	struct stat st;
	uint8_t sector[512];

	(void)state;
	md_fixture_open_heads(&f, "raid0-3u-default", 8192);
	assert_int_equal(f.nr_members, 3);
	assert_int_equal(f.members[2].role, 2);
	assert_string_equal(f.members[2].state, "in sync");
	assert_int_equal(stat(f.members[1].path, &st), 0);
	assert_int_equal(st.st_size, f.members[1].size_bytes);
	md_fixture_read(&f, 1, 4096, sector, sizeof(sector));
	assert_int_equal(sector[0], 0xfc); /* of the magic */
	md_fixture_read(&f, 1, 2048 * 512, sector, sizeof(sector));
	for (uint32_t i = 0; i < sizeof(sector); i++) {
		assert_int_equal(sector[i], 0);
	}
	memset(sector, 0x5a, sizeof(sector));
	md_fixture_write(&f, 1, 1024, sector, sizeof(sector));
	md_fixture_read(&f, 1, 1024, sector, sizeof(sector));
	assert_int_equal(sector[511], 0x5a);
	md_fixture_close(&f);
	assert_int_equal(stat(f.members[1].path, &st), -1);
}

static void clear_in_flight(const struct md_fixture *f, uint64_t offset, uint8_t *buf, size_t len)
{
	for (size_t at = 0; at < len; at += 512) {
		if (md_fixture_in_flight(f, offset + at) != 0) {
			memset(buf + at, 0, 512);
		}
	}
}

static void check_content(const struct md_fixture *f, const char *half, const char *expected)
{
	bool is_cleared = json_object_get(json_object_get(f->json, "content"),
				  "sha256_in_flight_zeroed") != NULL;
	uint64_t size = md_fixture_array_bytes(f), len;
	uint8_t *buf = malloc(PIECE);
	struct digest *digest;

	assert_non_null(buf);
	digest = digest_new();
	for (uint64_t at = 0; at < size; at += len) {
		len = size - at < PIECE ? size - at : PIECE;
		md_fixture_content(f, half, at, buf, len);
		if (is_cleared) {
			clear_in_flight(f, at, buf, len);
		}
		digest_add(digest, buf, len);
	}
	must_be(digest, expected);
	free(buf);
}

static void test_fixture_content_is_the_kernels(void **state)
{
	static const char *const digests[] = {
		"sha256_in_flight_zeroed", "sha256_before_damage", "sha256"};
	struct md_fixture f;
	json_t *content, *by_half, *digest;
	const char *half;

	(void)state;
	for (uint32_t i = 0; i < md_fixture_count(); i++) {
		md_fixture_describe(&f, md_fixture_name(i));
		content = json_object_get(f.json, "content");
		by_half = json_object_get(content, "sha256_by_half");
		json_object_foreach (by_half, half, digest) {
			check_content(&f, half, json_string_value(digest));
		}
		for (uint32_t j = 0; by_half == NULL; j++) {
			assert_true(j < 3);
			if (json_object_get(content, digests[j]) != NULL) {
				check_content(&f, NULL, md_fixture_text(content, digests[j]));
				break;
			}
		}
	}
}

static void test_fixture_content_from_any_place(void **state)
{
	struct md_fixture f;
	uint8_t all[16384], part[16384];

	(void)state;
	/* Overwritten from 9001 KiB on, which is no whole block. */
	md_fixture_describe(&f, "state-raid5-degraded-written");
	md_fixture_content(&f, NULL, 8996 * 1024, all, sizeof(all));
	for (uint32_t at = 0; at < sizeof(all); at += 512) {
		for (uint32_t end = at + 512; end <= sizeof(all); end += 1536) {
			md_fixture_content(&f, NULL, 8996 * 1024 + at, part, end - at);
			assert_memory_equal(part, all + at, end - at);
		}
	}
	md_fixture_pattern(147, 8996 * 1024, part, sizeof(part));
	assert_memory_equal(part, all, 5 * 1024);
	assert_memory_not_equal(part + 5 * 1024, all + 5 * 1024, 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixture_members_are_unpacked),
		cmocka_unit_test(test_fixture_heads),
		cmocka_unit_test(test_fixture_content_is_the_kernels),
		cmocka_unit_test(test_fixture_content_from_any_place),
	};

	return cmocka_run_group_tests_name("xbdev_raid_fixture", tests, NULL, NULL);
}
