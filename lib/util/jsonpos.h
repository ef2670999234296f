/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where in a JSON text a value stands. The JSON library tells line and column for what it cannot
 * parse, but not for a value that parses and is wrong; this walks the text once more, along a path
 * such as "devices[2].block_size", so that configuration errors can say file:line:column.
 */
#ifndef XU_JSONPOS_H
#define XU_JSONPOS_H

#include <stddef.h>
#include <stdint.h>

struct xu_jsonpos {
	uint32_t line;   /* from 1 */
	uint32_t column; /* from 1, in bytes */
};

/*
 * Finds the value at `path` in `text`, which must be valid JSON. Path steps are `.name` (or `name`
 * at the start) and `[index]`; "" is the whole document. When the path does not exist, the answer
 * is the position of its deepest part that does, and -ENOENT. Of equal keys the last counts.
 */
int xu_jsonpos_find(const char *text, size_t len, const char *path, struct xu_jsonpos *ret_pos);

#endif
