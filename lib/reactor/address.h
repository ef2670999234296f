/* SPDX-License-Identifier: BSD-3-Clause */
/* Numeric network addresses; names are never looked up here, because that blocks. */
#ifndef XR_ADDRESS_H
#define XR_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/reactor/platform.h"

/* Fills *ret_addr from a numeric IPv4 or IPv6 address (no brackets) and a port; returns its length
 * in bytes, or -EINVAL. */
int xr_address_parse(const char *text, uint16_t port, struct sockaddr_storage *ret_addr);

/* The reverse; -EAFNOSUPPORT for other families. */
int xr_address_format(
	const struct sockaddr_storage *addr, char text[XR_ADDRESS_SIZE], uint16_t *ret_port);

/* True for 0.0.0.0 and ::, which may be listened on but never be told to others. */
bool xr_address_is_wildcard(const char *text);

/* True for 127.0.0.0/8 and ::1, also when the former is written as an IPv6 address: only this
 * machine reaches what listens there. */
bool xr_address_is_loopback(const char *text);

/* The index of the interface of this machine that has this address, written as xr_address_format()
 * does; 0: none has it. Blocks for a moment. */
unsigned int xr_address_interface(const char *text);

#endif
