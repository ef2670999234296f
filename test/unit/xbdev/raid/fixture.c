/* SPDX-License-Identifier: BSD-3-Clause */
/* See fixture.h. The archives are read through zstd(1) and unpacked here, with holes for zeros. */
#include "test/unit/xbdev/raid/fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 4096u
#define TAR_BLOCK   512u
#define PIPE_BYTES  (1u << 20)
#define MAX_BYTES   (64u << 20) /* of one member */

static json_t *manifest;

/* ---- the manifest ---- */

static void forget_manifest(void)
{
	json_decref(manifest);
}

static json_t *arrays(void)
{
	json_error_t error;

	if (manifest == NULL) {
		manifest = json_load_file(MD_FIXTURE_DIR "/manifest.json", 0, &error);
		if (manifest == NULL) {
			fail_msg("%s:%d: %s", error.source, error.line, error.text);
		}
		atexit(forget_manifest);
	}
	return json_object_get(manifest, "arrays");
}

uint32_t md_fixture_count(void)
{
	uint32_t count = (uint32_t)json_array_size(arrays());

	assert_true(count > 60); /* a loop over them is never empty */
	return count;
}

const char *md_fixture_name(uint32_t index)
{
	return md_fixture_text(json_array_get(arrays(), index), "name");
}

uint64_t md_fixture_u64(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_integer(value)) {
		fail_msg("the manifest has no number '%s' here", key);
	}
	return (uint64_t)json_integer_value(value);
}

const char *md_fixture_text(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_string(value)) {
		fail_msg("the manifest has no text '%s' here", key);
	}
	return json_string_value(value);
}

struct xu_uuid md_fixture_uuid(json_t *object, const char *key)
{
	const char *text = md_fixture_text(object, key);
	struct xu_uuid uuid;
	size_t nr_digits = 0;

	memset(&uuid, 0, sizeof(uuid));
	for (; *text != '\0'; text++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, *text);

		if (*text != ':') {
			assert_true(digit != NULL && nr_digits < 32);
			uuid.bytes[nr_digits / 2] = (uint8_t)(uuid.bytes[nr_digits / 2] << 4 |
							      (uint8_t)(digit - digits));
			nr_digits++;
		}
	}
	assert_int_equal(nr_digits, 32);
	return uuid;
}

static void describe_member(struct md_fixture_member *member, json_t *json)
{
	json_t *role = json_object_get(json, "role");

	member->json = json;
	member->superblock = json_object_get(json, "superblock");
	member->file = md_fixture_text(json, "file");
	member->state = md_fixture_text(json, "state");
	member->role = json_is_integer(role) ? (int32_t)json_integer_value(role) : -1;
	member->size_bytes = md_fixture_u64(json, "size");
	assert_non_null(member->superblock);
	assert_true(member->size_bytes <= MAX_BYTES);
}

void md_fixture_describe(struct md_fixture *f, const char *name)
{
	json_t *array, *members;
	size_t i;

	memset(f, 0, sizeof(*f));
	json_array_foreach (arrays(), i, array) {
		if (strcmp(md_fixture_text(array, "name"), name) == 0) {
			f->json = array;
		}
	}
	if (f->json == NULL) {
		fail_msg("there is no array '%s' in test/data/md", name);
	}
	f->name = md_fixture_text(f->json, "name");
	members = json_object_get(f->json, "members");
	f->nr_members = (uint32_t)json_array_size(members);
	assert_in_range(f->nr_members, 1, MD_FIXTURE_MEMBERS);
	for (i = 0; i < f->nr_members; i++) {
		describe_member(&f->members[i], json_array_get(members, i));
	}
}

/* ---- the members ---- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* One member's bytes out of the archive; up to len_bytes of them become the file. */
static void unpack_member(
	FILE *tar, const struct md_fixture_member *member, uint64_t size, uint64_t len_bytes)
{
	int fd = open(member->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	uint8_t block[BLOCK_BYTES];

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (uint64_t at = 0; at < size; at += BLOCK_BYTES) {
		size_t len = size - at < BLOCK_BYTES ? (size_t)(size - at) : BLOCK_BYTES;

		assert_int_equal(fread(block, 1, len, tar), len);
		if (at < len_bytes && !is_zero(block, len)) {
			assert_int_equal(pwrite(fd, block, len, (off_t)at), len);
		}
	}
	assert_int_equal(close(fd), 0);
	assert_int_equal(size % TAR_BLOCK, 0); /* no padding follows */
}

static void unpack(struct md_fixture *f, uint64_t len_bytes)
{
	char command[512], header[TAR_BLOCK];
	FILE *tar;

	snprintf(command, sizeof(command), "zstd -dcq '%s/%s/members.tar.zst'", MD_FIXTURE_DIR,
		f->name);
	tar = popen(command, "r");
	assert_non_null(tar);
	setvbuf(tar, NULL, _IOFBF, PIPE_BYTES);
	fcntl(fileno(tar), F_SETPIPE_SZ, PIPE_BYTES); /* in fewer pieces, if it may be so large */
	for (uint32_t i = 0; i < f->nr_members; i++) {
		assert_int_equal(fread(header, 1, sizeof(header), tar), sizeof(header));
		assert_string_equal(header, f->members[i].file); /* a ustar header: name, size */
		assert_int_equal(strtoull(header + 124, NULL, 8), f->members[i].size_bytes);
		unpack_member(tar, &f->members[i], f->members[i].size_bytes, len_bytes);
	}
	while (fread(header, 1, sizeof(header), tar) == sizeof(header)) {
		assert_true(
			is_zero((uint8_t *)header, sizeof(header))); /* no member is forgotten */
	}
	assert_int_equal(pclose(tar), 0);
}

void md_fixture_open_heads(struct md_fixture *f, const char *name, uint64_t len_bytes)
{
	md_fixture_describe(f, name);
	snprintf(f->dir, sizeof(f->dir), "md-fixture-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	for (uint32_t i = 0; i < f->nr_members; i++) {
		snprintf(f->members[i].path, sizeof(f->members[i].path), "%s/%s", f->dir,
			f->members[i].file);
	}
	unpack(f, len_bytes);
}

void md_fixture_open(struct md_fixture *f, const char *name)
{
	md_fixture_open_heads(f, name, UINT64_MAX);
}

void md_fixture_close(struct md_fixture *f)
{
	for (uint32_t i = 0; i < f->nr_members; i++) {
		unlink(f->members[i].path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	f->dir[0] = '\0';
}

void md_fixture_read(
	const struct md_fixture *f, uint32_t member, uint64_t offset, void *buf, size_t len_bytes)
{
	int fd = open(f->members[member].path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len_bytes, (off_t)offset), len_bytes);
	close(fd);
}

void md_fixture_write(const struct md_fixture *f, uint32_t member, uint64_t offset, const void *buf,
	size_t len_bytes)
{
	int fd = open(f->members[member].path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, len_bytes, (off_t)offset), len_bytes);
	assert_int_equal(close(fd), 0);
}

void md_fixture_fix_checksum(uint8_t *bytes)
{
	uint32_t max_dev = (uint32_t)bytes[220] | (uint32_t)bytes[221] << 8;
	uint64_t sum = 0;

	memset(bytes + 216, 0, 4);
	for (uint32_t i = 0; i < 256 + 2 * max_dev && i < 4096; i++) {
		sum += (uint64_t)bytes[i] << 8 * (i % 4);
	}
	sum = (sum & UINT32_MAX) + (sum >> 32);
	for (uint32_t i = 0; i < 4; i++) {
		bytes[216 + i] = (uint8_t)(sum >> 8 * i);
	}
}

/* ---- the content ---- */

static uint64_t splitmix64(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void md_fixture_pattern(uint64_t seed, uint64_t offset, void *buf, size_t len_bytes)
{
	uint8_t *to = buf;
	uint64_t words[BLOCK_BYTES / 8];

	while (len_bytes > 0) {
		uint64_t block = offset / BLOCK_BYTES, x = splitmix64(seed << 40 ^ block);
		size_t skip = (size_t)(offset % BLOCK_BYTES);
		size_t len = BLOCK_BYTES - skip < len_bytes ? BLOCK_BYTES - skip : len_bytes;

		for (size_t i = skip / 8; i * 8 < skip + len; i++) {
			words[i] = i == x >> 55 ? block : x;
		}
		memcpy(to, (uint8_t *)words + skip, len);
		to += len;
		offset += len;
		len_bytes -= len;
	}
}

/* The seed of the range that holds this KiB; 0: none. */
static uint64_t seed_in(json_t *ranges, uint64_t kib)
{
	json_t *range;
	size_t i;

	json_array_foreach (ranges, i, range) {
		uint64_t first = md_fixture_u64(range, "first_kib");

		if (kib >= first && kib - first < md_fixture_u64(range, "kib")) {
			return md_fixture_u64(range, "pattern_seed");
		}
	}
	return 0;
}

void md_fixture_content(
	const struct md_fixture *f, const char *half, uint64_t offset, void *buf, size_t len_bytes)
{
	json_t *content = json_object_get(f->json, "content");
	json_t *end = json_object_get(content, "pattern_kib");
	json_t *overwritten = json_object_get(content, "overwritten");
	uint64_t seed = md_fixture_u64(content, "pattern_seed");
	uint8_t *to = buf;

	if (half != NULL) {
		overwritten =
			json_object_get(json_object_get(content, "overwritten_by_half"), half);
		assert_non_null(overwritten);
	}
	for (size_t at = 0; at < len_bytes; at += 512) {
		uint64_t kib = (offset + at) / 1024, other = seed_in(overwritten, kib);

		if (other == 0 && end != NULL && kib >= (uint64_t)json_integer_value(end)) {
			memset(to + at, 0, 512);
		} else {
			md_fixture_pattern(other != 0 ? other : seed, offset + at, to + at, 512);
		}
	}
}

uint64_t md_fixture_in_flight(const struct md_fixture *f, uint64_t offset)
{
	json_t *content = json_object_get(f->json, "content");

	return seed_in(json_object_get(content, "in_flight"), offset / 1024);
}

uint64_t md_fixture_array_bytes(const struct md_fixture *f)
{
	return md_fixture_u64(f->json, "array_bytes");
}
