/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The content of a disk: a sparse array of bytes in pages of 4 KiB. Pages are shared between clones
 * until one is written, so taking an image at every crash point of a long run is cheap. A test's
 * memory running out ends the test.
 */
#ifndef TEST_SIM_IMAGE_H
#define TEST_SIM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_IMAGE_PAGE     4096u
#define SIM_IMAGE_SIZE_MAX (1ull << 46)

struct sim_image;

/* An image without pages: it reads as zeroes. At most SIM_IMAGE_SIZE_MAX bytes. */
struct sim_image *sim_image_new(uint64_t size_bytes);
struct sim_image *sim_image_clone(const struct sim_image *image);
void sim_image_free(struct sim_image *image); /* NULL is fine */

uint64_t sim_image_size(const struct sim_image *image);
/* What is cut off is gone: it reads as zeroes if the image grows again. */
void sim_image_resize(struct sim_image *image, uint64_t size_bytes);

/* Beyond the end there are zeroes to read and nothing to write (asserted). */
void sim_image_read(const struct sim_image *image, uint64_t offset, void *buf, size_t len);
void sim_image_write(struct sim_image *image, uint64_t offset, const void *buf, size_t len);
/* Zeroes a range. `is_punched` gives its whole pages back, else all its pages are allocated. */
void sim_image_zero(struct sim_image *image, uint64_t offset, uint64_t len, bool is_punched);
/* Pages that a write of this range would have to allocate. */
uint64_t sim_image_missing_pages(const struct sim_image *image, uint64_t offset, uint64_t len);
uint64_t sim_image_nr_pages(const struct sim_image *image);

/* Of size and content; a page of zeroes and a missing one are the same. */
uint64_t sim_image_hash(const struct sim_image *image);

#endif
