/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The content of disks in memory, for tests that copy it thousands of times: after each write,
 * after each crash. Most of it is zeroes and most of a copy is what the last one was, so the memory
 * is kept for the next image of that size, which page of it holds anything is known, and of a copy
 * of what was copied before only those pages are copied that have changed since. All of it is the
 * test's own thread's. Whatever writes to an image says so with lvol_image_touch(), before or
 * after.
 */
#ifndef TEST_XBDEV_LVOL_IMAGE_H
#define TEST_XBDEV_LVOL_IMAGE_H

#include <stdint.h>

#define LVOL_IMAGE_PAGE 4096u

struct lvol_image;

/* A copy of these bytes, which may be an image's (which is quick) or other memory; NULL: zeroes. */
struct lvol_image *lvol_image_new(const uint8_t *content, uint64_t size_bytes);
/* The memory is kept for the next one. NULL is fine. */
void lvol_image_free(struct lvol_image *image);
uint8_t *lvol_image_bytes(struct lvol_image *image);
void lvol_image_touch(struct lvol_image *image, uint64_t offset, uint64_t len);
/* That whose bytes these are; NULL: nobody's. */
struct lvol_image *lvol_image_of(const uint8_t *bytes);
/* Writes it to a new file, with holes for zeroes; whatever fails fails the test. */
void lvol_image_save(const struct lvol_image *image, const char *path);

#endif
