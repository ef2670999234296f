/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * md-pattern write|verify FILE SEED FIRST_KIB KIB: the content of the arrays of test/data/md in a
 * range of a device or file, for guests and for this machine. Block b of 4 KiB of a seed s is 512
 * times x = splitmix64(s << 40 ^ b), with b in the place of word x >> 55, so that every block tells
 * its number. Writes are synced. Exit code 1 with the first offset that differs or the error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096u
#define KIB   1024u

static uint64_t splitmix64(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void fill(uint64_t seed, uint64_t block, uint64_t words[BLOCK / 8])
{
	uint64_t x = splitmix64(seed << 40 ^ block);
	size_t i;

	for (i = 0; i < BLOCK / 8; i++) {
		words[i] = i == x >> 55 ? block : x;
	}
}

static int fail_at(const char *what, const char *file, uint64_t offset)
{
	fprintf(stderr, "md-pattern: %s: %s at byte %llu: %s\n", file, what,
		(unsigned long long)offset, errno != 0 ? strerror(errno) : "short");
	return 1;
}

/* One part of a block, the KiB [first, end). */
static int do_part(
	int fd, int is_write, const char *file, uint64_t seed, uint64_t first, uint64_t end)
{
	uint64_t words[BLOCK / 8];
	uint8_t found[BLOCK];
	size_t len = (size_t)(end - first) * KIB;
	const uint8_t *wanted = (const uint8_t *)words + first % 4 * KIB;

	fill(seed, first / 4, words);
	errno = 0;
	if (is_write) {
		if (pwrite(fd, wanted, len, (off_t)(first * KIB)) != (ssize_t)len) {
			return fail_at("write", file, first * KIB);
		}
		return 0;
	}
	if (pread(fd, found, len, (off_t)(first * KIB)) != (ssize_t)len) {
		return fail_at("read", file, first * KIB);
	}
	if (memcmp(found, wanted, len) != 0) {
		fprintf(stderr, "md-pattern: %s: not the pattern of seed %llu from byte %llu on\n",
			file, (unsigned long long)seed, (unsigned long long)(first * KIB));
		return 1;
	}
	return 0;
}

static int do_all(int fd, int is_write, char **argv)
{
	uint64_t seed = strtoull(argv[3], NULL, 0);
	uint64_t kib = strtoull(argv[4], NULL, 0), end = kib + strtoull(argv[5], NULL, 0);

	while (kib < end) {
		uint64_t next = (kib / 4 + 1) * 4 < end ? (kib / 4 + 1) * 4 : end;

		if (do_part(fd, is_write, argv[2], seed, kib, next) != 0) {
			return 1;
		}
		kib = next;
	}
	errno = 0;
	return is_write && fsync(fd) != 0 ? fail_at("sync", argv[2], 0) : 0;
}

int main(int argc, char **argv)
{
	int is_write = argc == 6 && strcmp(argv[1], "write") == 0;
	int fd, rc;

	if (argc != 6 || (!is_write && strcmp(argv[1], "verify") != 0)) {
		fprintf(stderr, "usage: md-pattern write|verify FILE SEED FIRST_KIB KIB\n");
		return 2;
	}
	fd = open(argv[2], is_write ? O_WRONLY : O_RDONLY);
	if (fd < 0) {
		return fail_at("open", argv[2], 0);
	}
	rc = do_all(fd, is_write, argv);
	close(fd);
	return rc;
}
