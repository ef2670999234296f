/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding targets by DHCP: the messages (RFC 2131, RFC 2132), without sockets or clocks. The
 * registry has an address already and asks for one more thing only (DHCPINFORM): a site-specific
 * option (RFC 3942: 224 to 254), whose value is a text:
 *
 *   nqn.2026-11.io.xsan:disk1@192.0.2.10:4420,nqn.2026-11.io.xsan:disk2@[2001:db8::1]:4420
 *
 * Entries are separated by commas, blanks or new lines. NQN@ADDRESS:PORT is a target; ADDRESS:PORT
 * alone is a discovery controller, and so is one with the NQN of one.
 */
#ifndef LIB_XREGISTRY_DHCP_H
#define LIB_XREGISTRY_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/xregistry/ddc.h"

struct xu_error;

#define XREG_DHCP_SERVER_PORT 67u
#define XREG_DHCP_CLIENT_PORT 68u
#define XREG_DHCP_OPTION      224u
#define XREG_DHCP_OPTION_MIN  224u
#define XREG_DHCP_OPTION_MAX  254u
#define XREG_DHCP_INFORM_SIZE 300u  /* what old relays want at least */
#define XREG_DHCP_ACK_MAX     4096u /* of an answer */
#define XREG_DHCP_LIST_MAX    2048u /* bytes of the option, which may come in pieces (RFC 3396) */
#define XREG_DHCP_ENTRIES_MAX 64u

/* A question. */
struct xreg_dhcp_inform {
	uint32_t xid;
	uint8_t address[4]; /* of the interface */
	uint8_t hardware_type, hardware_len;
	uint8_t hardware[16];
	uint8_t option;
};

void xreg_dhcp_inform_write(
	const struct xreg_dhcp_inform *inform, uint8_t ret_bytes[XREG_DHCP_INFORM_SIZE]);

/* An answer. */
struct xreg_dhcp_ack {
	uint8_t server[4]; /* its identifier; zeroes: it has none */
	bool has_list;
	char list[XREG_DHCP_LIST_MAX + 1];
};

/* -EBADMSG: no answer to this question, or a damaged one; -EMSGSIZE: the option is too long;
 * -EINVAL: the option is no text. Both with a sentence. */
int xreg_dhcp_ack_read(const uint8_t *bytes, size_t len, const struct xreg_dhcp_inform *inform,
	struct xreg_dhcp_ack *ret_ack, struct xu_error *err);

/* One entry of a list. */
struct xreg_dhcp_entry {
	struct xreg_ddc
		place; /* with the NQN, if there is one; checked as those of a controller are */
	bool is_discovery;
};

/* Reads all of a list or nothing: -EINVAL, -E2BIG with a sentence that names the entry. */
int xreg_dhcp_list_read(const char *list, struct xreg_dhcp_entry ret_entries[XREG_DHCP_ENTRIES_MAX],
	uint32_t *ret_count, struct xu_error *err);

#endif
