/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs: the bits of version 4, and the text form both ways. */
#include "lib/util/random.h"
#include "lib/util/uuid.h"
#include "test/unit/util/test.h"

#include <errno.h>

/* The example of RFC 9562 section 4 and its bytes. */
static const char rfc_text[] = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
static const struct xu_uuid rfc_uuid = {{0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x11, 0xd0, 0xa7, 0x65,
	0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6}};

static void test_uuid_random_has_version_and_variant(void **state)
{
	struct xu_uuid all_or = {{0}}, all_and;
	struct xu_random rnd;
	int i, k;

	memset(&all_and, 0xff, sizeof(all_and));
	xu_random_seed(&rnd, 5);
	for (i = 0; i < 1000; i++) {
		struct xu_uuid uuid = xu_uuid_random(&rnd);

		for (k = 0; k < 16; k++) {
			all_or.bytes[k] |= uuid.bytes[k];
			all_and.bytes[k] &= uuid.bytes[k];
		}
	}
	/* The fixed bits are fixed, and all others take both values. */
	for (k = 0; k < 16; k++) {
		assert_int_equal(all_or.bytes[k], k == 6 ? 0x4f : k == 8 ? 0xbf : 0xff);
		assert_int_equal(all_and.bytes[k], k == 6 ? 0x40 : k == 8 ? 0x80 : 0);
	}
}

static void test_uuid_random_follows_the_seed(void **state)
{
	struct xu_random a, b;
	struct xu_uuid uuid, other;

	xu_random_seed(&a, 5);
	xu_random_seed(&b, 5);
	uuid = xu_uuid_random(&a);
	other = xu_uuid_random(&b);
	assert_true(xu_uuid_is_equal(&uuid, &other));
	other = xu_uuid_random(&b);
	assert_false(xu_uuid_is_equal(&uuid, &other));
}

static void test_uuid_parse_reads_either_case(void **state)
{
	struct xu_uuid uuid;

	memset(&uuid, 0, sizeof(uuid));
	assert_int_equal(xu_uuid_parse(rfc_text, &uuid), 0);
	assert_memory_equal(uuid.bytes, rfc_uuid.bytes, 16);
	memset(&uuid, 0, sizeof(uuid));
	assert_int_equal(xu_uuid_parse("F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", &uuid), 0);
	assert_memory_equal(uuid.bytes, rfc_uuid.bytes, 16);
}

static void test_uuid_parse_refuses(void **state)
{
	static const char *const texts[] = {
		"",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf6 ",
		" f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf60",
		"f81d4fae7dec11d0a76500a0c91e6bf6",
		"{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
		"f81d4fa-e7dec-11d0-a765-00a0c91e6bf6",
		"f81d4fae-7dec-11d0-a765_00a0c91e6bf6",
		"g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6b`6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6b/6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6b:6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6b@6",
		"f81d4fae-7dec-11d0-a765-0x0a0c91e6bf",
		"f81d4fae-",
	};
	struct xu_uuid uuid, untouched;
	size_t i;

	memset(&uuid, 0x5a, sizeof(uuid));
	untouched = uuid;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(xu_uuid_parse(texts[i], &uuid), -EINVAL);
		assert_memory_equal(&uuid, &untouched, sizeof(uuid));
	}
}

/* Every beginning of a UUID stands in memory of its own size, where the sanitizer sees what is
 * read. */
static void test_uuid_parse_stops_at_the_end(void **state)
{
	struct xu_uuid uuid;
	size_t len;

	for (len = 0; len < strlen(rfc_text); len++) {
		char *text = strndup(rfc_text, len);

		assert_non_null(text);
		assert_int_equal(xu_uuid_parse(text, &uuid), -EINVAL);
		free(text);
	}
}

static void test_uuid_format_writes_lower_case(void **state)
{
	char text[XU_UUID_TEXT_SIZE + 1];

	memset(text, 'x', sizeof(text));
	xu_uuid_format(&rfc_uuid, text);
	assert_string_equal(text, rfc_text);
	assert_int_equal(text[XU_UUID_TEXT_SIZE], 'x');
}

static void test_uuid_is_null_looks_at_all_bytes(void **state)
{
	struct xu_uuid uuid = {{0}};
	int i;

	assert_true(xu_uuid_is_null(&uuid));
	for (i = 0; i < 16; i++) {
		uuid.bytes[i] = 1;
		assert_false(xu_uuid_is_null(&uuid));
		uuid.bytes[i] = 0;
	}
}

static void test_uuid_is_equal_looks_at_all_bytes(void **state)
{
	struct xu_uuid uuid = rfc_uuid;
	int i;

	assert_true(xu_uuid_is_equal(&uuid, &rfc_uuid));
	for (i = 0; i < 16; i++) {
		uuid.bytes[i] ^= 0x80;
		assert_false(xu_uuid_is_equal(&uuid, &rfc_uuid));
		uuid.bytes[i] ^= 0x80;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uuid_random_has_version_and_variant),
		cmocka_unit_test(test_uuid_random_follows_the_seed),
		cmocka_unit_test(test_uuid_parse_reads_either_case),
		cmocka_unit_test(test_uuid_parse_refuses),
		cmocka_unit_test(test_uuid_parse_stops_at_the_end),
		cmocka_unit_test(test_uuid_format_writes_lower_case),
		cmocka_unit_test(test_uuid_is_null_looks_at_all_bytes),
		cmocka_unit_test(test_uuid_is_equal_looks_at_all_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
