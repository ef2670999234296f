/* SPDX-License-Identifier: BSD-3-Clause */
/* A TCP port of 127.0.0.1 that nobody listens on now, for a server of a test. */
#ifndef TEST_UNIT_UTIL_FREE_PORT_H
#define TEST_UNIT_UTIL_FREE_PORT_H

#include <stdint.h>

uint16_t free_port(void);

#endif
