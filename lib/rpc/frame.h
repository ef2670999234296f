/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a JSON value ends in a stream. JSON-RPC over a stream socket has no delimiter between
 * requests, so the end of an object or array is found by counting brackets outside of strings; what
 * is between them is for the parser. The scan goes on where it stopped, so a request that arrives
 * byte by byte is looked at once.
 */
#ifndef XRPC_FRAME_H
#define XRPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XRPC_MAX_DEPTH 64u /* brackets inside of brackets */

/* Zeroed for the start of a value. */
struct xrpc_frame {
	size_t scanned; /* bytes of the buffer that have been looked at */
	uint32_t depth;
	bool is_started;
	bool is_in_string;
	bool is_escaped;
};

/*
 * Looks for the end of the first value in `text`, whose first frame->scanned bytes are those of the
 * last call. 1: it is text[*ret_start … *ret_end), and the frame is zeroed for the next value. 0:
 * it is not complete; what is before *ret_start is only space. -EBADMSG: neither an object nor an
 * array begins there. -E2BIG: nested deeper than XRPC_MAX_DEPTH.
 */
int xrpc_frame_next(
	struct xrpc_frame *frame, const char *text, size_t len, size_t *ret_start, size_t *ret_end);

#endif
