/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image.h. Every image has two sets of pages: `used`, behind which there is no page that is not
 * zeroes, and `changed`, those in which it may differ from its base. A base is the number of a
 * content that some image had; two images of one base differ at most where either has changed.
 */
#include "test/unit/xbdev/lvol/image.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "test/unit/xbdev/harness.h"

#define MAX_IMAGES 64u
#define MAX_KEPT   8u

struct lvol_image {
	uint8_t *bytes;
	uint64_t size_bytes;
	uint32_t nr_words;
	uint64_t *used, *changed;
	uint64_t base;   /* the content's that it was copied from; 0: none */
	uint64_t number; /* of its own content, once somebody has copied it; 0: nobody has */
	bool is_kept;    /* nobody's: memory for the next */
};

static struct lvol_image *images[MAX_IMAGES];
static uint64_t last_number;

struct lvol_image *lvol_image_of(const uint8_t *bytes)
{
	for (uint32_t i = 0; bytes != NULL && i < MAX_IMAGES; i++) {
		if (images[i] != NULL && !images[i]->is_kept && images[i]->bytes == bytes) {
			return images[i];
		}
	}
	return NULL;
}

uint8_t *lvol_image_bytes(struct lvol_image *image)
{
	return image->bytes;
}

void lvol_image_touch(struct lvol_image *image, uint64_t offset, uint64_t len)
{
	uint64_t page = offset / LVOL_IMAGE_PAGE;

	MUST(offset + len <= image->size_bytes);
	for (; len > 0 && page <= (offset + len - 1) / LVOL_IMAGE_PAGE; page++) {
		image->used[page / 64] |= UINT64_C(1) << page % 64;
		image->changed[page / 64] |= UINT64_C(1) << page % 64;
	}
	image->number = 0; /* what was copied from it is not what it holds now */
}

/* ---- memory ---- */

static void destroy(uint32_t slot)
{
	free(images[slot]->bytes);
	free(images[slot]->used);
	free(images[slot]->changed);
	free(images[slot]);
	images[slot] = NULL;
}

/* One with zeroes in it. */
static struct lvol_image *make(uint64_t size_bytes)
{
	struct lvol_image *image = calloc(1, sizeof(*image));
	uint32_t slot = 0;

	while (slot < MAX_IMAGES && images[slot] != NULL) {
		slot++;
	}
	MUST(image != NULL && slot < MAX_IMAGES);
	image->size_bytes = size_bytes;
	image->nr_words = (uint32_t)(size_bytes / LVOL_IMAGE_PAGE / 64 + 1);
	image->bytes = calloc(1, size_bytes);
	image->used = calloc(image->nr_words, sizeof(image->used[0]));
	image->changed = calloc(image->nr_words, sizeof(image->changed[0]));
	MUST(image->bytes != NULL && image->used != NULL && image->changed != NULL);
	images[slot] = image;
	return image;
}

static bool is_of_base(const struct lvol_image *image, const struct lvol_image *from)
{
	return image->base != 0 && (image->base == from->number || image->base == from->base);
}

/* Kept memory of that size, at best such as needs few pages to be a copy of `from`. */
static struct lvol_image *take(const struct lvol_image *from, uint64_t size_bytes)
{
	struct lvol_image *found = NULL;

	for (uint32_t i = 0; i < MAX_IMAGES; i++) {
		struct lvol_image *image = images[i];

		if (image != NULL && image->is_kept && image->size_bytes == size_bytes &&
			(found == NULL || (from != NULL && is_of_base(image, from)))) {
			found = image;
		}
	}
	if (found == NULL) {
		return make(size_bytes);
	}
	found->is_kept = false;
	found->number = 0;
	return found;
}

void lvol_image_free(struct lvol_image *image)
{
	uint32_t nr_kept = 0, other = MAX_IMAGES;

	if (image == NULL) {
		return;
	}
	MUST(!image->is_kept);
	image->is_kept = true;
	for (uint32_t i = 0; i < MAX_IMAGES; i++) {
		if (images[i] != NULL && images[i]->is_kept) {
			nr_kept++;
			other = images[i] != image ? i : other;
		}
	}
	if (nr_kept > MAX_KEPT) {
		destroy(other);
	}
}

/* ---- copies ---- */

static uint64_t page_len(const struct lvol_image *image, uint64_t at)
{
	return image->size_bytes - at < LVOL_IMAGE_PAGE ? image->size_bytes - at : LVOL_IMAGE_PAGE;
}

static uint64_t count(const uint64_t *words, uint32_t nr_words)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < nr_words; i++) {
		nr += (uint32_t)__builtin_popcountll(words[i]);
	}
	return nr;
}

/* Makes 64 pages what they are in `from`. */
static void copy_pages(
	struct lvol_image *image, const struct lvol_image *from, uint32_t word, uint64_t pages)
{
	while (pages != 0) {
		uint32_t bit = (uint32_t)__builtin_ctzll(pages);
		uint64_t at = ((uint64_t)word * 64 + bit) * LVOL_IMAGE_PAGE;

		if ((from->used[word] >> bit & 1) != 0) {
			memcpy(image->bytes + at, from->bytes + at, page_len(image, at));
		} else if ((image->used[word] >> bit & 1) != 0) {
			memset(image->bytes + at, 0, page_len(image, at));
		}
		pages &= pages - 1;
	}
	image->used[word] = from->used[word];
}

static void copy_image(struct lvol_image *image, struct lvol_image *from)
{
	bool is_child = image->base != 0 && image->base == from->number;
	bool is_sibling = !is_child && image->base != 0 && image->base == from->base;
	/* With few changes it shall be the base's others' sibling; else it founds a family. */
	bool is_heir = is_sibling || (!is_child && from->base != 0 &&
					     4 * count(from->changed, from->nr_words) <=
						     count(from->used, from->nr_words));

	for (uint32_t i = 0; i < image->nr_words; i++) {
		uint64_t pages = is_child     ? image->changed[i]
				 : is_sibling ? image->changed[i] | from->changed[i]
					      : image->used[i] | from->used[i];

		copy_pages(image, from, i, pages);
		image->changed[i] = is_heir ? from->changed[i] : 0;
	}
	from->number = from->number != 0 ? from->number : ++last_number;
	image->base = is_heir ? from->base : from->number;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static void copy_memory(struct lvol_image *image, const uint8_t *content)
{
	for (uint64_t at = 0; at < image->size_bytes; at += LVOL_IMAGE_PAGE) {
		uint64_t page = at / LVOL_IMAGE_PAGE, bit = UINT64_C(1) << page % 64;
		uint64_t *used = &image->used[page / 64];
		size_t len = page_len(image, at);

		if (content != NULL && !is_zero(content + at, len)) {
			memcpy(image->bytes + at, content + at, len);
			*used |= bit;
		} else if ((*used & bit) != 0) {
			memset(image->bytes + at, 0, len);
			*used &= ~bit;
		}
	}
	image->base = 0;
}

struct lvol_image *lvol_image_new(const uint8_t *content, uint64_t size_bytes)
{
	struct lvol_image *from = lvol_image_of(content);
	struct lvol_image *image = take(from, size_bytes);

	if (from != NULL) {
		MUST(from->size_bytes >= size_bytes);
	}
	if (from != NULL && from->size_bytes == size_bytes) {
		copy_image(image, from);
	} else {
		copy_memory(image, content);
	}
	return image;
}

void lvol_image_save(const struct lvol_image *image, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)image->size_bytes), 0);
	for (uint64_t at = 0; at < image->size_bytes; at += LVOL_IMAGE_PAGE) {
		uint64_t page = at / LVOL_IMAGE_PAGE, len = page_len(image, at);

		if ((image->used[page / 64] >> page % 64 & 1) != 0) {
			assert_int_equal(pwrite(fd, image->bytes + at, len, (off_t)at), len);
		}
	}
	assert_int_equal(close(fd), 0);
}
