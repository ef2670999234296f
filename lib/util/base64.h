/* SPDX-License-Identifier: BSD-3-Clause */
/* Base64 with padding (RFC 4648, section 4): how JSON carries bytes. */
#ifndef XU_BASE64_H
#define XU_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* The text of `len` bytes, to be freed; NULL without memory. */
char *xu_base64_encode(const void *bytes, size_t len);

/* The bytes of a padded text, to be freed; NULL when it is not base64, or without memory. */
uint8_t *xu_base64_decode(const char *text, size_t *ret_len);

#endif
