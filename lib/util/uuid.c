/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs: random ones (RFC 9562 section 5.4) and the text form of its section 4. */
#include "lib/util/uuid.h"

#include "lib/util/random.h"

#include <errno.h>
#include <string.h>

/* Where the text has a hyphen: in front of these bytes. */
static bool has_hyphen_before(int byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

struct xu_uuid xu_uuid_random(struct xu_random *rnd)
{
	struct xu_uuid uuid;

	xu_random_bytes(rnd, uuid.bytes, sizeof(uuid.bytes));
	uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* version 4 */
	uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* variant 10b */
	return uuid;
}

int xu_uuid_parse(const char *text, struct xu_uuid *ret_uuid)
{
	struct xu_uuid uuid;
	int i, high, low;

	for (i = 0; i < 16; i++) {
		if (has_hyphen_before(i) && *text++ != '-') {
			return -EINVAL;
		}
		high = hex_value(text[0]);
		if (high < 0) {
			return -EINVAL;
		}
		low = hex_value(text[1]);
		if (low < 0) {
			return -EINVAL;
		}
		uuid.bytes[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0') {
		return -EINVAL;
	}
	*ret_uuid = uuid;
	return 0;
}

void xu_uuid_format(const struct xu_uuid *uuid, char text[XU_UUID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	int i;

	for (i = 0; i < 16; i++) {
		if (has_hyphen_before(i)) {
			*text++ = '-';
		}
		*text++ = digits[uuid->bytes[i] >> 4];
		*text++ = digits[uuid->bytes[i] & 15];
	}
	*text = '\0';
}

bool xu_uuid_is_null(const struct xu_uuid *uuid)
{
	static const struct xu_uuid null_uuid;

	return xu_uuid_is_equal(uuid, &null_uuid);
}

bool xu_uuid_is_equal(const struct xu_uuid *a, const struct xu_uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
