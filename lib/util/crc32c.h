/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C (Castagnoli, reflected 82F63B78h), by ISA-L. */
#ifndef XU_CRC32C_H
#define XU_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#define XU_CRC32C_INIT 0xffffffffu

/*
 * Continues a running CRC over `len` bytes. Start with XU_CRC32C_INIT, finish with
 * xu_crc32c_final(); "123456789" gives E3069283h.
 */
uint32_t xu_crc32c_update(uint32_t crc, const void *buf, size_t len);

static inline uint32_t xu_crc32c_final(uint32_t crc)
{
	return ~crc;
}

static inline uint32_t xu_crc32c(const void *buf, size_t len)
{
	return xu_crc32c_final(xu_crc32c_update(XU_CRC32C_INIT, buf, len));
}

#endif
