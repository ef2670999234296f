/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sparse images: a flat table of leaves, each of 512 pointers to counted pages. A page is copied
 * when it is written while more than one image holds it. Nothing here fails but for memory.
 */
#include "test/sim/sim_image.h"

#include <assert.h>
#include <string.h>

#include "test/sim/sim_private.h"

#define LEAF_PAGES 512u
#define LEAF_BYTES ((uint64_t)LEAF_PAGES * SIM_IMAGE_PAGE)

struct page {
	uint32_t refs;
	unsigned char bytes[SIM_IMAGE_PAGE];
};

struct leaf {
	struct page *pages[LEAF_PAGES];
};

struct sim_image {
	uint64_t size_bytes;
	uint64_t nr_pages;
	uint64_t nr_leaves;
	struct leaf **leaves;
};

static uint64_t leaves_for(uint64_t size_bytes)
{
	return (size_bytes + LEAF_BYTES - 1) / LEAF_BYTES;
}

struct sim_image *sim_image_new(uint64_t size_bytes)
{
	struct sim_image *image = sim__alloc(sizeof(*image));

	assert(size_bytes <= SIM_IMAGE_SIZE_MAX);
	image->size_bytes = size_bytes;
	image->nr_leaves = leaves_for(size_bytes);
	image->leaves = sim__alloc((image->nr_leaves + 1) * sizeof(*image->leaves));
	return image;
}

static void page_put(struct page *page)
{
	if (page != NULL && --page->refs == 0) {
		free(page);
	}
}

struct sim_image *sim_image_clone(const struct sim_image *image)
{
	struct sim_image *clone = sim_image_new(image->size_bytes);

	clone->nr_pages = image->nr_pages;
	for (uint64_t i = 0; i < image->nr_leaves; i++) {
		if (image->leaves[i] == NULL) {
			continue;
		}
		clone->leaves[i] = sim__alloc(sizeof(struct leaf));
		*clone->leaves[i] = *image->leaves[i];
		for (uint32_t j = 0; j < LEAF_PAGES; j++) {
			if (clone->leaves[i]->pages[j] != NULL) {
				clone->leaves[i]->pages[j]->refs++;
			}
		}
	}
	return clone;
}

void sim_image_free(struct sim_image *image)
{
	if (image == NULL) {
		return;
	}
	for (uint64_t i = 0; i < image->nr_leaves; i++) {
		for (uint32_t j = 0; image->leaves[i] != NULL && j < LEAF_PAGES; j++) {
			page_put(image->leaves[i]->pages[j]);
		}
		free(image->leaves[i]);
	}
	free(image->leaves);
	free(image);
}

uint64_t sim_image_size(const struct sim_image *image)
{
	return image->size_bytes;
}

uint64_t sim_image_nr_pages(const struct sim_image *image)
{
	return image->nr_pages;
}

/* The place of a page, NULL when it has no leaf. */
static struct page **find(const struct sim_image *image, uint64_t offset)
{
	struct leaf *leaf = image->leaves[offset / LEAF_BYTES];

	return leaf == NULL ? NULL : &leaf->pages[offset % LEAF_BYTES / SIM_IMAGE_PAGE];
}

/* The page at `offset`, allocated if need be and not shared. */
static struct page *own(struct sim_image *image, uint64_t offset)
{
	struct leaf **leaf = &image->leaves[offset / LEAF_BYTES];
	struct page **place, *shared;

	if (*leaf == NULL) {
		*leaf = sim__alloc(sizeof(**leaf));
	}
	place = &(*leaf)->pages[offset % LEAF_BYTES / SIM_IMAGE_PAGE];
	shared = *place;
	if (shared != NULL && shared->refs == 1) {
		return shared;
	}
	*place = sim__alloc(sizeof(**place));
	if (shared != NULL) {
		memcpy((*place)->bytes, shared->bytes, SIM_IMAGE_PAGE);
		page_put(shared);
	} else {
		image->nr_pages++;
	}
	(*place)->refs = 1;
	return *place;
}

/* Bytes from `offset` to the end of its page, at most `len`. */
static size_t part_of_page(uint64_t offset, uint64_t len)
{
	uint64_t left = SIM_IMAGE_PAGE - offset % SIM_IMAGE_PAGE;

	return (size_t)(len < left ? len : left);
}

void sim_image_read(const struct sim_image *image, uint64_t offset, void *buf, size_t len)
{
	char *out = buf;

	while (len != 0) {
		struct page **place;
		size_t part = part_of_page(offset, len);

		if (offset >= image->size_bytes) {
			memset(out, 0, len);
			return;
		}
		if (part > image->size_bytes - offset) {
			part = (size_t)(image->size_bytes - offset);
		}
		place = find(image, offset);
		if (place == NULL || *place == NULL) {
			memset(out, 0, part);
		} else {
			memcpy(out, (*place)->bytes + offset % SIM_IMAGE_PAGE, part);
		}
		offset += part;
		out += part;
		len -= part;
	}
}

void sim_image_write(struct sim_image *image, uint64_t offset, const void *buf, size_t len)
{
	const char *in = buf;

	assert(offset <= image->size_bytes && len <= image->size_bytes - offset);
	while (len != 0) {
		size_t part = part_of_page(offset, len);

		memcpy(own(image, offset)->bytes + offset % SIM_IMAGE_PAGE, in, part);
		offset += part;
		in += part;
		len -= part;
	}
}

void sim_image_zero(struct sim_image *image, uint64_t offset, uint64_t len, bool is_punched)
{
	assert(offset <= image->size_bytes && len <= image->size_bytes - offset);
	while (len != 0) {
		uint64_t part = part_of_page(offset, len);
		struct page **place = find(image, offset);
		bool has_page = place != NULL && *place != NULL;

		if (is_punched && place == NULL) {
			part = LEAF_BYTES - offset % LEAF_BYTES;
			part = len < part ? len : part;
		} else if (is_punched && has_page && part == SIM_IMAGE_PAGE) {
			page_put(*place);
			*place = NULL;
			image->nr_pages--;
		} else if (!is_punched || has_page) {
			memset(own(image, offset)->bytes + offset % SIM_IMAGE_PAGE, 0,
				(size_t)part);
		}
		offset += part;
		len -= part;
	}
}

uint64_t sim_image_missing_pages(const struct sim_image *image, uint64_t offset, uint64_t len)
{
	uint64_t missing = 0;

	while (len != 0) {
		size_t part = part_of_page(offset, len);
		struct page **place;

		place = offset < image->size_bytes ? find(image, offset) : NULL;
		missing += place == NULL || *place == NULL;
		offset += part;
		len -= part;
	}
	return missing;
}

void sim_image_resize(struct sim_image *image, uint64_t size_bytes)
{
	uint64_t nr_leaves = leaves_for(size_bytes), old = image->size_bytes, part;
	struct leaf **leaves;

	assert(size_bytes <= SIM_IMAGE_SIZE_MAX);
	if (size_bytes < old) {
		/* Whole pages go; of the last page that stays the rest is zeroed. */
		part = part_of_page(size_bytes, old - size_bytes);
		if (part != SIM_IMAGE_PAGE) {
			sim_image_zero(image, size_bytes, part, true);
		}
		image->size_bytes = leaves_for(old) * LEAF_BYTES;
		part = (size_bytes + SIM_IMAGE_PAGE - 1) / SIM_IMAGE_PAGE * SIM_IMAGE_PAGE;
		sim_image_zero(image, part, image->size_bytes - part, true);
	}
	leaves = sim__alloc((nr_leaves + 1) * sizeof(*leaves));
	for (uint64_t i = 0; i < image->nr_leaves; i++) {
		if (i < nr_leaves) {
			leaves[i] = image->leaves[i];
		} else {
			free(image->leaves[i]);
		}
	}
	free(image->leaves);
	image->leaves = leaves;
	image->nr_leaves = nr_leaves;
	image->size_bytes = size_bytes;
}

uint64_t sim_image_hash(const struct sim_image *image)
{
	static const unsigned char zeroes[SIM_IMAGE_PAGE];
	uint64_t hash = sim__mix(0, image->size_bytes);

	for (uint64_t i = 0; i < image->nr_leaves; i++) {
		for (uint32_t j = 0; image->leaves[i] != NULL && j < LEAF_PAGES; j++) {
			const struct page *page = image->leaves[i]->pages[j];

			if (page != NULL && memcmp(page->bytes, zeroes, SIM_IMAGE_PAGE) != 0) {
				hash = sim__mix(hash, i * LEAF_PAGES + j);
				hash = sim__mix(hash, sim__hash(page->bytes, SIM_IMAGE_PAGE));
			}
		}
	}
	return hash;
}
