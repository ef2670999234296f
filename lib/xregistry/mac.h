/* SPDX-License-Identifier: BSD-3-Clause */
/* HMAC-SHA-256 (RFC 2104, FIPS 180-4) of what is said between those who share a key, by OpenSSL's
 * libcrypto. Any thread. */
#ifndef LIB_XREGISTRY_MAC_H
#define LIB_XREGISTRY_MAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XREG_MAC_BYTES 32u

/* Whether this build has it; without it nothing can be authenticated. */
bool xreg_mac_is_there(void);

/* The code of `bytes` with the key (a text; "" is one too). -ENOTSUP, -ENOMEM. */
int xreg_mac(const char *key, const uint8_t *bytes, size_t len, uint8_t ret_mac[XREG_MAC_BYTES]);

/* Compares in a time that does not depend on what is compared. */
bool xreg_mac_is_equal(const uint8_t a[XREG_MAC_BYTES], const uint8_t b[XREG_MAC_BYTES]);

#endif
