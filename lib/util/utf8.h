/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts that strangers say are UTF-8. */
#ifndef XU_UTF8_H
#define XU_UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * The length of the UTF-8 character at the beginning of `len` bytes, at least one; 0 when it is
 * none (RFC 3629: no overlong forms, no surrogates, nothing above 10FFFFh). *ret_code is the
 * character.
 */
size_t xu_utf8_char(const void *bytes, size_t len, uint32_t *ret_code);

#endif
