/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SHA-256 of what tests read, to compare with what others have read: gigabytes in some of them, so
 * in this process, by libcrypto, rather than through a pipe. Whatever fails fails the test.
 */
#ifndef TEST_XBDEV_DIGEST_H
#define TEST_XBDEV_DIGEST_H

#include <stddef.h>

#define DIGEST_TEXT_SIZE 65u

struct digest;

struct digest *digest_new(void);
void digest_add(struct digest *digest, const void *bytes, size_t len);
/* Frees it; its sum in hexadecimal. */
void digest_end(struct digest *digest, char text[DIGEST_TEXT_SIZE]);

#endif
