/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of lib/xbdev/lvol share: the device images of test/data/lvol, made by SPDK. An
 * image is unpacked into a sparse file under the working directory, so that a test may write to it;
 * what it holds is in the manifest (test/data/lvol/README.md). Anything wrong with the data fails
 * the test.
 */
#ifndef TEST_XBDEV_LVOL_FIXTURE_H
#define TEST_XBDEV_LVOL_FIXTURE_H

#include <jansson.h>

#include "test/unit/xbdev/harness.h"

struct lvol_fixture {
	const char *name;
	json_t *json; /* its part of the manifest; borrowed */
	uint64_t size_bytes;
	uint32_t block_size;
	char path[256]; /* of the copy */
};

/* How many images there are, and the name of one. */
uint32_t lvol_fixture_count(void);
const char *lvol_fixture_name(uint32_t index);

/* Unpacks an image; lvol_fixture_close() removes the copy. */
void lvol_fixture_open(struct lvol_fixture *f, const char *name);
void lvol_fixture_close(struct lvol_fixture *f);

void lvol_fixture_read(const struct lvol_fixture *f, uint64_t offset, void *buf, size_t len);
/* All of it; the caller frees it. */
uint8_t *lvol_fixture_content(const struct lvol_fixture *f);
void lvol_fixture_write(const struct lvol_fixture *f, uint64_t offset, const void *buf, size_t len);
/* Makes the checksum of a super block or metadata page right again. */
void lvol_fixture_fix(uint8_t *page);

uint64_t lvol_fixture_u64(json_t *object, const char *key);
const char *lvol_fixture_text(json_t *object, const char *key);
bool lvol_fixture_bool(json_t *object, const char *key);
/* Whether the image is to open. */
bool lvol_fixture_opens(const struct lvol_fixture *f);
/* A volume of the image by name; NULL: there is none. */
json_t *lvol_fixture_volume(const struct lvol_fixture *f, const char *name);

#endif
