/* SPDX-License-Identifier: BSD-3-Clause */
/* Base64 (RFC 4648, section 4), as nodes send histograms. */
#ifndef XSAN_BASE64_H
#define XSAN_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of a padded text, to be freed; NULL when it is not base64, or without memory. */
uint8_t *base64_decode(const char *text, size_t *ret_len);

#endif
