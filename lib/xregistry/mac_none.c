/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without OpenSSL: nothing can be authenticated, so whoever needs that refuses. */
#include "lib/xregistry/mac.h"

#include <errno.h>

bool xreg_mac_is_there(void)
{
	return false;
}

int xreg_mac(const char *key, const uint8_t *bytes, size_t len, uint8_t ret_mac[XREG_MAC_BYTES])
{
	return -ENOTSUP;
}

bool xreg_mac_is_equal(const uint8_t a[XREG_MAC_BYTES], const uint8_t b[XREG_MAC_BYTES])
{
	return false;
}
