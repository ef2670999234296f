/* SPDX-License-Identifier: BSD-3-Clause */
/* See digest.h. */
#include "test/unit/xbdev/digest.h"

#include <openssl/evp.h>

#include "test/unit/xbdev/harness.h"

struct digest {
	EVP_MD_CTX *ctx;
};

struct digest *digest_new(void)
{
	struct digest *digest = malloc(sizeof(*digest));

	assert_non_null(digest);
	digest->ctx = EVP_MD_CTX_new();
	assert_non_null(digest->ctx);
	assert_int_equal(EVP_DigestInit_ex(digest->ctx, EVP_sha256(), NULL), 1);
	return digest;
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
	assert_int_equal(EVP_DigestUpdate(digest->ctx, bytes, len), 1);
}

void digest_end(struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
	uint8_t sum[(DIGEST_TEXT_SIZE - 1) / 2];

	assert_int_equal(EVP_DigestFinal_ex(digest->ctx, sum, NULL), 1);
	for (uint32_t i = 0; i < sizeof(sum); i++) {
		snprintf(text + (size_t)2 * i, 3, "%02x", sum[i]);
	}
	EVP_MD_CTX_free(digest->ctx);
	free(digest);
}
