/* SPDX-License-Identifier: BSD-3-Clause */
/* How long the records of fuzz_nvmetcp are. */
#include "test/fuzz/record.h"

const struct record_format record_formats[NR_RECORD_KINDS] = {
	[RECORD_RAW] = {0, true},
	[RECORD_PDU] = {6, true},
	[RECORD_ICREQ] = {5, false},
	[RECORD_CONNECT] = {8, false},
	[RECORD_COMMAND] = {25, true},
	[RECORD_SQE] = {4, true},
	[RECORD_ANSWER] = {3, false},
	[RECORD_H2C_DATA] = {12, false},
	[RECORD_OPEN] = {0, false},
	[RECORD_END] = {1, false},
	[RECORD_BLOCK] = {1, false},
	[RECORD_TIME] = {1, false},
	[RECORD_MANAGE] = {2, false},
};

size_t record_bytes(const uint8_t *at, size_t left)
{
	const struct record_format *format = &record_formats[RECORD_KIND(at[0])];
	size_t len = 1u + format->fixed_bytes;

	if (format->has_bytes) {
		len += 1u + (len < left ? at[len] : 0);
	}
	return len < left ? len : left;
}
