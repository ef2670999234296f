/* SPDX-License-Identifier: BSD-3-Clause */
/* One call of libcrypto each; see mac.h. */
#include "lib/xregistry/mac.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

bool xreg_mac_is_there(void)
{
	return true;
}

int xreg_mac(const char *key, const uint8_t *bytes, size_t len, uint8_t ret_mac[XREG_MAC_BYTES])
{
	unsigned int mac_len = XREG_MAC_BYTES;

	return HMAC(EVP_sha256(), key, (int)strlen(key), bytes, len, ret_mac, &mac_len) != NULL
		       ? 0
		       : -ENOMEM;
}

bool xreg_mac_is_equal(const uint8_t a[XREG_MAC_BYTES], const uint8_t b[XREG_MAC_BYTES])
{
	return CRYPTO_memcmp(a, b, XREG_MAC_BYTES) == 0;
}
