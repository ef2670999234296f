/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of DHCP to bytes and back, and the list that the option holds; see dhcp.h. What comes in
 * may be from anybody: a length is compared with what is there before it is believed.
 */
#include "lib/xregistry/dhcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"

/* Where things are in a message (RFC 2131 2). */
#define AT_XID     4u
#define AT_CIADDR  12u
#define AT_CHADDR  28u
#define AT_SNAME   44u
#define AT_FILE    108u
#define AT_COOKIE  236u
#define AT_OPTIONS 240u

#define BOOTREQUEST 1u
#define BOOTREPLY   2u
#define DHCPACK     5u
#define DHCPINFORM  8u

#define OPTION_PAD      0u
#define OPTION_OVERLOAD 52u
#define OPTION_TYPE     53u
#define OPTION_SERVER   54u
#define OPTION_WANTED   55u
#define OPTION_SIZE_MAX 57u
#define OPTION_CLASS    60u
#define OPTION_END      255u

#define SIZE_MAX_TOLD 1472u
#define CLASS         "xsan-registry"

static const uint8_t cookie[4] = {99, 130, 83, 99};

/* ---- asking ---- */

static uint8_t *put_option(uint8_t *at, uint8_t option, const void *value, size_t len)
{
	at[0] = option;
	at[1] = (uint8_t)len;
	memcpy(at + 2, value, len);
	return at + 2 + len;
}

static void put_u32(uint8_t *to, uint32_t value)
{
	for (uint32_t i = 0; i < 4; i++) {
		to[i] = (uint8_t)(value >> (24 - 8 * i));
	}
}

void xreg_dhcp_inform_write(
	const struct xreg_dhcp_inform *inform, uint8_t ret_bytes[XREG_DHCP_INFORM_SIZE])
{
	const uint8_t type = DHCPINFORM, size[2] = {SIZE_MAX_TOLD >> 8, SIZE_MAX_TOLD & 0xff};
	uint8_t *at = ret_bytes + AT_OPTIONS;

	memset(ret_bytes, 0, XREG_DHCP_INFORM_SIZE);
	ret_bytes[0] = BOOTREQUEST;
	ret_bytes[1] = inform->hardware_type;
	ret_bytes[2] = inform->hardware_len;
	put_u32(ret_bytes + AT_XID, inform->xid);
	memcpy(ret_bytes + AT_CIADDR, inform->address, sizeof(inform->address));
	memcpy(ret_bytes + AT_CHADDR, inform->hardware, sizeof(inform->hardware));
	memcpy(ret_bytes + AT_COOKIE, cookie, sizeof(cookie));
	at = put_option(at, OPTION_TYPE, &type, 1);
	at = put_option(at, OPTION_SIZE_MAX, size, sizeof(size));
	at = put_option(at, OPTION_CLASS, CLASS, strlen(CLASS));
	at = put_option(at, OPTION_WANTED, &inform->option, 1);
	*at = OPTION_END;
}

/* ---- the answer ---- */

struct reader {
	uint8_t wanted;
	uint8_t type, overload;
	size_t list_len;
	struct xreg_dhcp_ack *ack;
};

static int take_option(
	struct reader *in, uint8_t option, const uint8_t *value, size_t len, struct xu_error *err)
{
	if (option == OPTION_TYPE && len == 1) {
		in->type = value[0];
	} else if (option == OPTION_OVERLOAD && len == 1) {
		in->overload = value[0];
	} else if (option == OPTION_SERVER && len == sizeof(in->ack->server)) {
		memcpy(in->ack->server, value, len);
	} else if (option == in->wanted) {
		if (len > XREG_DHCP_LIST_MAX - in->list_len) {
			return xu_error_set(err, -EMSGSIZE, "option %u is longer than %u bytes",
				in->wanted, XREG_DHCP_LIST_MAX);
		}
		memcpy(in->ack->list + in->list_len, value, len);
		in->list_len += len;
		in->ack->has_list = true;
	}
	return 0;
}

/* Options in one of the places where they may be, to the end of it. */
static int take_options(struct reader *in, const uint8_t *at, size_t left, struct xu_error *err)
{
	while (left != 0 && at[0] != OPTION_END) {
		int rc;

		if (at[0] == OPTION_PAD) {
			at++;
			left--;
			continue;
		}
		if (left < 2 || at[1] > left - 2) {
			return xu_error_set(
				err, -EBADMSG, "option %u of the answer is cut off", at[0]);
		}
		rc = take_option(in, at[0], at + 2, at[1], err);
		if (rc != 0) {
			return rc;
		}
		left -= at[1] + 2u;
		at += at[1] + 2u;
	}
	return 0;
}

/* Some servers end a text with NUL bytes. */
static int check_list(struct reader *in, struct xu_error *err)
{
	char *list = in->ack->list;

	while (in->list_len != 0 && list[in->list_len - 1] == '\0') {
		in->list_len--;
	}
	list[in->list_len] = '\0';
	for (size_t i = 0; i < in->list_len; i++) {
		if ((list[i] < ' ' && strchr("\t\r\n", list[i]) == NULL) || list[i] == '\0' ||
			list[i] > '~') {
			return xu_error_set(err, -EINVAL,
				"byte %zu of option %u is not printable ASCII; a text such as "
				"nqn.2026-11.io.xsan:disk1@192.0.2.10:4420 is needed",
				i + 1, in->wanted);
		}
	}
	return 0;
}

static bool is_answer(const uint8_t *bytes, size_t len, const struct xreg_dhcp_inform *inform)
{
	uint8_t xid[4];

	put_u32(xid, inform->xid);
	return len >= AT_OPTIONS && len <= XREG_DHCP_ACK_MAX && bytes[0] == BOOTREPLY &&
	       bytes[1] == inform->hardware_type && bytes[2] == inform->hardware_len &&
	       memcmp(bytes + AT_XID, xid, sizeof(xid)) == 0 &&
	       memcmp(bytes + AT_CHADDR, inform->hardware, sizeof(inform->hardware)) == 0 &&
	       memcmp(bytes + AT_COOKIE, cookie, sizeof(cookie)) == 0;
}

int xreg_dhcp_ack_read(const uint8_t *bytes, size_t len, const struct xreg_dhcp_inform *inform,
	struct xreg_dhcp_ack *ret_ack, struct xu_error *err)
{
	struct reader in = {.wanted = inform->option, .ack = ret_ack};
	int rc;

	memset(ret_ack, 0, sizeof(*ret_ack));
	if (!is_answer(bytes, len, inform)) {
		return xu_error_set(err, -EBADMSG, "it is no answer to this question");
	}
	rc = take_options(&in, bytes + AT_OPTIONS, len - AT_OPTIONS, err);
	if (rc == 0 && (in.overload & 1) != 0) {
		rc = take_options(&in, bytes + AT_FILE, AT_COOKIE - AT_FILE, err);
	}
	if (rc == 0 && (in.overload & 2) != 0) {
		rc = take_options(&in, bytes + AT_SNAME, AT_FILE - AT_SNAME, err);
	}
	if (rc == 0 && in.type != DHCPACK) {
		rc = xu_error_set(err, -EBADMSG, "it is no DHCPACK");
	}
	return rc == 0 ? check_list(&in, err) : rc;
}

/* ---- the list ---- */

static int bad_entry(const char *entry, const char *why, struct xu_error *err)
{
	return xu_error_set(err, -EINVAL,
		"'%.200s': %.200s; NQN@ADDRESS:PORT or ADDRESS:PORT is needed, an IPv6 address in "
		"brackets",
		entry, why);
}

/* Splits ADDRESS:PORT; NULL, or what is wrong. */
static const char *split_place(char *text, char **ret_address, uint32_t *ret_port)
{
	char *colon = strrchr(text, ':'), *end;
	unsigned long port;

	if (colon == NULL || colon[1] < '0' || colon[1] > '9') {
		return "there is no port";
	}
	port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || port == 0 || port > UINT16_MAX) {
		return "the port is none of 1 to 65535";
	}
	*colon = '\0';
	*ret_address = text;
	*ret_port = (uint32_t)port;
	if (text[0] == '[' && colon > text && colon[-1] == ']') {
		colon[-1] = '\0';
		*ret_address = text + 1;
	} else if (strchr(text, ':') != NULL) {
		return "the address has no brackets";
	}
	return NULL;
}

static int read_entry(const char *entry, struct xreg_dhcp_entry *ret_entry, struct xu_error *err)
{
	char text[XREG_DHCP_LIST_MAX + 1], *at, *address;
	const char *nqn = NULL, *why;
	struct xu_error inner;
	uint32_t port;

	strcpy(text, entry);
	at = strrchr(text, '@');
	if (at != NULL) {
		*at = '\0';
		nqn = text;
	}
	why = split_place(at != NULL ? at + 1 : text, &address, &port);
	if (why == NULL && nqn != NULL && xnvmf_nqn_check(nqn, &inner) != 0) {
		why = inner.text;
	}
	if (why == NULL && xreg_ddc_make(address, port, nqn, &ret_entry->place, &inner) != 0) {
		why = inner.text;
	}
	ret_entry->is_discovery = why == NULL && ret_entry->place.nqn[0] == '\0';
	return why == NULL ? 0 : bad_entry(entry, why, err);
}

int xreg_dhcp_list_read(const char *list, struct xreg_dhcp_entry ret_entries[XREG_DHCP_ENTRIES_MAX],
	uint32_t *ret_count, struct xu_error *err)
{
	char text[XREG_DHCP_LIST_MAX + 1], *rest = text, *entry;
	uint32_t count = 0;

	if (strlen(list) > XREG_DHCP_LIST_MAX) {
		return xu_error_set(
			err, -E2BIG, "the list is longer than %u bytes", XREG_DHCP_LIST_MAX);
	}
	strcpy(text, list);
	while ((entry = strsep(&rest, ", \t\r\n")) != NULL) {
		int rc;

		if (entry[0] == '\0') {
			continue;
		}
		if (count == XREG_DHCP_ENTRIES_MAX) {
			return xu_error_set(err, -E2BIG, "the list has more than %u entries",
				XREG_DHCP_ENTRIES_MAX);
		}
		rc = read_entry(entry, &ret_entries[count], err);
		if (rc != 0) {
			return rc;
		}
		count++;
	}
	*ret_count = count;
	return 0;
}
