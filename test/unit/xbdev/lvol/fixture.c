/* SPDX-License-Identifier: BSD-3-Clause */
/* See fixture.h. */
#include "test/unit/xbdev/lvol/fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util/crc32c.h"

#define MAX_BYTES (256u << 20)

static json_t *manifest;

static void forget_manifest(void)
{
	json_decref(manifest);
}

static json_t *images(void)
{
	json_error_t error;

	if (manifest == NULL) {
		manifest = json_load_file(LVOL_FIXTURE_DIR "/manifest.json", 0, &error);
		if (manifest == NULL) {
			fail_msg("%s:%d: %s", error.source, error.line, error.text);
		}
		atexit(forget_manifest);
	}
	return json_object_get(manifest, "images");
}

uint32_t lvol_fixture_count(void)
{
	uint32_t count = (uint32_t)json_array_size(images());

	assert_true(count > 30); /* a loop over them is never empty */
	return count;
}

const char *lvol_fixture_name(uint32_t index)
{
	return lvol_fixture_text(json_array_get(images(), index), "name");
}

uint64_t lvol_fixture_u64(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_integer(value)) {
		fail_msg("the manifest has no number '%s' here", key);
	}
	return (uint64_t)json_integer_value(value);
}

const char *lvol_fixture_text(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_string(value)) {
		fail_msg("the manifest has no text '%s' here", key);
	}
	return json_string_value(value);
}

bool lvol_fixture_bool(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!json_is_boolean(value)) {
		fail_msg("the manifest has no boolean '%s' here", key);
	}
	return json_is_true(value);
}

bool lvol_fixture_opens(const struct lvol_fixture *f)
{
	return strcmp(lvol_fixture_text(f->json, "expect"), "opens") == 0;
}

json_t *lvol_fixture_volume(const struct lvol_fixture *f, const char *name)
{
	json_t *volume;
	size_t i;

	json_array_foreach (json_object_get(f->json, "lvols"), i, volume) {
		if (strcmp(lvol_fixture_text(volume, "name"), name) == 0) {
			return volume;
		}
	}
	return NULL;
}

/* zstd(1) itself leaves holes where there are zeroes. */
static void unpack(const struct lvol_fixture *f)
{
	char command[800];
	struct stat st;

	snprintf(command, sizeof(command), "zstd -dqf --sparse '%s/%s' -o '%s'", LVOL_FIXTURE_DIR,
		lvol_fixture_text(f->json, "file"), f->path);
	assert_int_equal(system(command), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, f->size_bytes);
}

void lvol_fixture_open(struct lvol_fixture *f, const char *name)
{
	json_t *image;
	size_t i;

	memset(f, 0, sizeof(*f));
	json_array_foreach (images(), i, image) {
		if (strcmp(lvol_fixture_text(image, "name"), name) == 0) {
			f->json = image;
		}
	}
	if (f->json == NULL) {
		fail_msg("there is no image '%s' in test/data/lvol", name);
	}
	f->name = lvol_fixture_text(f->json, "name");
	f->size_bytes = lvol_fixture_u64(f->json, "device_size");
	f->block_size = (uint32_t)lvol_fixture_u64(f->json, "block_size");
	assert_true(f->size_bytes <= MAX_BYTES);
	snprintf(f->path, sizeof(f->path), "%s/%s.img", harness_dir(), f->name);
	unpack(f);
}

void lvol_fixture_close(struct lvol_fixture *f)
{
	assert_int_equal(unlink(f->path), 0);
}

void lvol_fixture_read(const struct lvol_fixture *f, uint64_t offset, void *buf, size_t len)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
	close(fd);
}

uint8_t *lvol_fixture_content(const struct lvol_fixture *f)
{
	uint8_t *content = calloc(1, f->size_bytes);
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	off_t at = 0, end;

	assert_true(content != NULL && fd >= 0);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		assert_true(end > at);
		assert_int_equal(pread(fd, content + at, (size_t)(end - at), at), end - at);
		at = end;
	}
	assert_int_equal(errno, ENXIO); /* no more data */
	close(fd);
	return content;
}

void lvol_fixture_write(const struct lvol_fixture *f, uint64_t offset, const void *buf, size_t len)
{
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, len, (off_t)offset), len);
	assert_int_equal(close(fd), 0);
}

void lvol_fixture_fix(uint8_t *page)
{
	uint32_t crc = xu_crc32c(page, 4092);

	for (uint32_t i = 0; i < 4; i++) {
		page[4092 + i] = (uint8_t)(crc >> 8 * i);
	}
}
