/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C against known values and against the definition, bit by bit. */
#include "lib/util/crc32c.h"
#include "lib/util/random.h"
#include "test/unit/util/test.h"

#include <sys/mman.h>

static uint32_t slow_crc32c(const unsigned char *buf, size_t len)
{
	uint32_t crc = 0xffffffff;
	int bit;

	while (len-- > 0) {
		crc ^= *buf++;
		for (bit = 0; bit < 8; bit++) {
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
		}
	}
	return ~crc;
}

/* The first from the catalogues, the rest from RFC 3720 B.4. */
static void test_crc32c_known_values(void **state)
{
	unsigned char buf[32];
	int i;

	assert_int_equal(xu_crc32c("123456789", 9), 0xe3069283);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(xu_crc32c(buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(xu_crc32c(buf, sizeof(buf)), 0x62a8ab43);
	for (i = 0; i < 32; i++) {
		buf[i] = (unsigned char)i;
	}
	assert_int_equal(xu_crc32c(buf, sizeof(buf)), 0x46dd794e);
	for (i = 0; i < 32; i++) {
		buf[i] = (unsigned char)(31 - i);
	}
	assert_int_equal(xu_crc32c(buf, sizeof(buf)), 0x113fdb5c);
}

static void test_crc32c_of_nothing(void **state)
{
	assert_int_equal(xu_crc32c("", 0), 0);
	assert_int_equal(xu_crc32c(NULL, 0), 0);
	assert_int_equal(xu_crc32c_update(0x12345678, NULL, 0), 0x12345678);
}

static void test_crc32c_any_length_and_alignment(void **state)
{
	unsigned char buf[700];
	struct xu_random rnd;
	size_t start, len;

	xu_random_seed(&rnd, 3);
	xu_random_bytes(&rnd, buf, sizeof(buf));
	for (start = 0; start < 17; start++) {
		for (len = 0; len < 600; len += 1 + len / 64) {
			assert_int_equal(
				xu_crc32c(buf + start, len), slow_crc32c(buf + start, len));
		}
	}
}

static void test_crc32c_update_in_parts(void **state)
{
	unsigned char buf[300];
	struct xu_random rnd;
	uint32_t whole, crc;
	size_t cut;

	xu_random_seed(&rnd, 4);
	xu_random_bytes(&rnd, buf, sizeof(buf));
	whole = slow_crc32c(buf, sizeof(buf));
	for (cut = 0; cut <= sizeof(buf); cut++) {
		crc = xu_crc32c_update(XU_CRC32C_INIT, buf, cut);
		crc = xu_crc32c_update(crc, buf + cut, sizeof(buf) - cut);
		assert_int_equal(xu_crc32c_final(crc), whole);
	}
}

/* Longer than one call of ISA-L takes here, and than an int counts: 2 GiB and a bit of addresses,
 * all showing the same 2 MiB. */
static void test_crc32c_longer_than_int(void **state)
{
	const size_t tile = ((size_t)2 << 20) + 4096, nr_tiles = 1025, tail = 12345;
	unsigned char *buf;
	struct xu_random rnd;
	uint32_t crc = XU_CRC32C_INIT;
	size_t i;
	int fd = memfd_create("crc32c", 0);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)tile), 0);
	buf = mmap(NULL, nr_tiles * tile, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		-1, 0);
	assert_ptr_not_equal(buf, MAP_FAILED);
	for (i = 0; i < nr_tiles; i++) {
		assert_ptr_equal(mmap(buf + i * tile, tile, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_FIXED, fd, 0),
			buf + i * tile);
	}
	xu_random_seed(&rnd, 6);
	xu_random_bytes(&rnd, buf, tile);
	for (i = 0; i < nr_tiles - 1; i++) {
		crc = xu_crc32c_update(crc, buf, tile);
	}
	crc = xu_crc32c_update(crc, buf, tail);
	assert_int_equal(xu_crc32c(buf, (nr_tiles - 1) * tile + tail), xu_crc32c_final(crc));
	munmap(buf, nr_tiles * tile);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c_known_values),
		cmocka_unit_test(test_crc32c_of_nothing),
		cmocka_unit_test(test_crc32c_any_length_and_alignment),
		cmocka_unit_test(test_crc32c_update_in_parts),
		cmocka_unit_test(test_crc32c_longer_than_int),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
