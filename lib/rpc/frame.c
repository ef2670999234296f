/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts brackets; see frame.h. It keeps nothing but the counts and never looks back. */
#include "lib/rpc/frame.h"

#include <errno.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* One byte inside of a string. */
static void scan_string(struct xrpc_frame *frame, char c)
{
	if (frame->is_escaped) {
		frame->is_escaped = false;
	} else if (c == '\\') {
		frame->is_escaped = true;
	} else if (c == '"') {
		frame->is_in_string = false;
	}
}

int xrpc_frame_next(
	struct xrpc_frame *frame, const char *text, size_t len, size_t *ret_start, size_t *ret_end)
{
	size_t start = 0;

	while (start < len && is_space(text[start])) {
		start++;
	}
	*ret_start = start;
	if (!frame->is_started) {
		if (start == len) {
			frame->scanned = len;
			return 0;
		}
		if (text[start] != '{' && text[start] != '[') {
			return -EBADMSG;
		}
		frame->is_started = true;
		frame->scanned = start;
	}
	while (frame->scanned < len) {
		char c = text[frame->scanned++];

		if (frame->is_in_string) {
			scan_string(frame, c);
		} else if (c == '"') {
			frame->is_in_string = true;
		} else if (c == '{' || c == '[') {
			if (++frame->depth > XRPC_MAX_DEPTH) {
				return -E2BIG;
			}
		} else if ((c == '}' || c == ']') && --frame->depth == 0) {
			*ret_end = frame->scanned;
			*frame = (struct xrpc_frame){0};
			return 1;
		}
	}
	return 0;
}
