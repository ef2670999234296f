/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs (RFC 9562) as 16 bytes in network order. */
#ifndef XU_UUID_H
#define XU_UUID_H

#include <stdbool.h>
#include <stdint.h>

#define XU_UUID_TEXT_SIZE 37

struct xu_random;

struct xu_uuid {
	uint8_t bytes[16];
};

/* A version 4 UUID from `rnd`. */
struct xu_uuid xu_uuid_random(struct xu_random *rnd);

/* Parses the 36-character form, either case. -EINVAL (and *ret_uuid untouched) for anything else.
 */
int xu_uuid_parse(const char *text, struct xu_uuid *ret_uuid);

/* Writes the lower-case 36-character form and a NUL. */
void xu_uuid_format(const struct xu_uuid *uuid, char text[XU_UUID_TEXT_SIZE]);

bool xu_uuid_is_null(const struct xu_uuid *uuid);
bool xu_uuid_is_equal(const struct xu_uuid *a, const struct xu_uuid *b);

#endif
