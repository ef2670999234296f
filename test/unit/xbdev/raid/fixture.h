/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of lib/xbdev/raid share: the arrays of test/data/md, made by Linux and mdadm. An
 * array's members are unpacked into a directory of their own under the working directory, so that
 * a test may write to them; what they should be is in the manifest (test/data/md/README.md) and in
 * the content, which is computed. Anything wrong with the data fails the test.
 */
#ifndef TEST_XBDEV_RAID_FIXTURE_H
#define TEST_XBDEV_RAID_FIXTURE_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/util/uuid.h"

#define MD_FIXTURE_MEMBERS 8u /* no array has more */

struct md_fixture_member {
	const char *file;  /* "m0.img" */
	const char *state; /* "in sync", "stale", "recovering", "spare", "replacement", "journal" */
	json_t *json;      /* its part of the manifest; borrowed */
	json_t *superblock; /* and of that, the fields of the superblock */
	int32_t role;       /* -1: none */
	uint64_t size_bytes;
	char path[128]; /* of the copy; only when the array was opened */
};

struct md_fixture {
	const char *name;
	json_t *json; /* its part of the manifest; borrowed */
	uint32_t nr_members;
	struct md_fixture_member members[MD_FIXTURE_MEMBERS];
	char dir[64]; /* "" when it was only described */
};

/* How many arrays there are, and the name of one. The manifest is read once and kept. */
uint32_t md_fixture_count(void);
const char *md_fixture_name(uint32_t index);

/* Fills `f` from the manifest alone; nothing is unpacked, nothing to close. */
void md_fixture_describe(struct md_fixture *f, const char *name);
/* The same, and unpacks the members. */
void md_fixture_open(struct md_fixture *f, const char *name);
/* The same with only the first bytes of each member; the rest of the file is a hole. */
void md_fixture_open_heads(struct md_fixture *f, const char *name, uint64_t len_bytes);
/* Removes the copies. */
void md_fixture_close(struct md_fixture *f);

/* Reads from or writes to a member's copy. */
void md_fixture_read(
	const struct md_fixture *f, uint32_t member, uint64_t offset, void *buf, size_t len_bytes);
void md_fixture_write(const struct md_fixture *f, uint32_t member, uint64_t offset, const void *buf,
	size_t len_bytes);

/* Makes the checksum of a superblock's 4096 bytes right again. */
void md_fixture_fix_checksum(uint8_t *bytes);

/* A number or text of the manifest, which must be there. */
uint64_t md_fixture_u64(json_t *object, const char *key);
const char *md_fixture_text(json_t *object, const char *key);
/* mdadm's spelling of a UUID: four groups of eight hex digits. */
struct xu_uuid md_fixture_uuid(json_t *object, const char *key);

/* The pattern of a seed, from any byte on. */
void md_fixture_pattern(uint64_t seed, uint64_t offset, void *buf, size_t len_bytes);
/*
 * What the array holds at `offset`, without `damage` and with the old content where a write was in
 * flight. Of an array whose halves went apart, what the named half ("m0.img") holds; else NULL.
 * Offset and length are multiples of 512 bytes.
 */
void md_fixture_content(
	const struct md_fixture *f, const char *half, uint64_t offset, void *buf, size_t len_bytes);
/* The seed of what was being written to these bytes' KiB when the machine was lost; 0: nothing. */
uint64_t md_fixture_in_flight(const struct md_fixture *f, uint64_t offset);
uint64_t md_fixture_array_bytes(const struct md_fixture *f);

#endif
