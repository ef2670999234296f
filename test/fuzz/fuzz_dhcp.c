/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what the registry makes of a DHCP server's answer. The first byte chooses: an answer as it
 * is; options behind a head that answers the question; or the option's text. What is taken of an
 * answer is printable text; an entry of a list is what it says: written again, it is read as the
 * same.
 */
#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xregistry/dhcp.h"
#include "test/fuzz/fuzz.h"

#define AT_OPTIONS 240u
#define AT_FILE    108u
#define AT_SNAME   44u

static const struct xreg_dhcp_inform inform = {.xid = 0x12345678,
	.address = {192, 0, 2, 1},
	.hardware_type = 1,
	.hardware_len = 6,
	.hardware = {2, 0, 0, 0, 0, 7},
	.option = XREG_DHCP_OPTION};

static void check_entry(const struct xreg_dhcp_entry *entry)
{
	struct xreg_dhcp_entry again[XREG_DHCP_ENTRIES_MAX];
	bool is_v6 = strchr(entry->place.address, ':') != NULL;
	struct sockaddr_storage addr;
	struct xu_error err;
	uint32_t count;
	char text[512];

	FUZZ_CHECK(
		xr_address_parse(entry->place.address, 0, &addr) > 0, "'%s'", entry->place.address);
	FUZZ_CHECK(!xr_address_is_wildcard(entry->place.address) && entry->place.port != 0, "'%s'",
		entry->place.address);
	FUZZ_CHECK(entry->is_discovery || xnvmf_nqn_check(entry->place.nqn, &err) == 0, "'%s'",
		entry->place.nqn);
	snprintf(text, sizeof(text), "%s%s%s%s%s:%u", entry->place.nqn,
		entry->place.nqn[0] != '\0' ? "@" : "", is_v6 ? "[" : "", entry->place.address,
		is_v6 ? "]" : "", entry->place.port);
	FUZZ_CHECK(xreg_dhcp_list_read(text, again, &count, &err) == 0, "%s", err.text);
	FUZZ_CHECK(count == 1 && strcmp(entry->place.address, again->place.address) == 0 &&
			   entry->place.port == again->place.port &&
			   strcmp(entry->place.nqn, again->place.nqn) == 0 &&
			   entry->is_discovery == again->is_discovery,
		"'%s'", text);
}

static void read_list(const char *list)
{
	struct xreg_dhcp_entry entries[XREG_DHCP_ENTRIES_MAX];
	struct xu_error err = {0};
	uint32_t count = UINT32_MAX;
	int rc = xreg_dhcp_list_read(list, entries, &count, &err);

	fuzz_say("list '%s': %d %s\n", list, rc, err.text);
	FUZZ_CHECK((rc == 0) == (err.text[0] == '\0'), "%d '%s'", rc, err.text);
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		check_entry(&entries[i]);
	}
}

static void read_answer(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len != 0 ? len : 1); /* nothing behind it */
	struct xu_error err = {0};
	struct xreg_dhcp_ack ack;
	int rc;

	FUZZ_CHECK(copy != NULL, "out of memory");
	memcpy(copy, bytes, len);
	rc = xreg_dhcp_ack_read(copy, len, &inform, &ack, &err);
	free(copy);
	fuzz_say("answer: %d %s\n", rc, err.text);
	FUZZ_CHECK((rc == 0) == (err.text[0] == '\0'), "%d '%s'", rc, err.text);
	if (rc == 0) {
		FUZZ_CHECK(memchr(ack.list, '\0', sizeof(ack.list)) != NULL, "no end");
		FUZZ_CHECK(ack.has_list || ack.list[0] == '\0', "a list that is none");
		read_list(ack.list);
	}
}

/* What answers the question, and options in all places. */
static void read_options(struct fuzz_input *in)
{
	uint8_t bytes[XREG_DHCP_ACK_MAX] = {0};
	const uint8_t *from;
	size_t len;

	xreg_dhcp_inform_write(&inform, bytes);
	memset(bytes + AT_OPTIONS, 0, XREG_DHCP_INFORM_SIZE - AT_OPTIONS);
	bytes[0] = 2;
	from = fuzz_take(in, fuzz_u8(in) % 128, &len);
	memcpy(bytes + AT_FILE, from, len);
	from = fuzz_take(in, fuzz_u8(in) % 64, &len);
	memcpy(bytes + AT_SNAME, from, len);
	memcpy(bytes + AT_OPTIONS, "\65\1\5", 3);
	from = fuzz_take(in, sizeof(bytes) - AT_OPTIONS - 3, &len);
	memcpy(bytes + AT_OPTIONS + 3, from, len);
	read_answer(bytes, AT_OPTIONS + 3 + len);
}

static void read_text(struct fuzz_input *in)
{
	char list[XREG_DHCP_LIST_MAX + 2];
	const uint8_t *from;
	size_t len;

	from = fuzz_take(in, sizeof(list) - 1, &len);
	memcpy(list, from, len);
	list[len] = '\0';
	read_list(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};

	switch (fuzz_u8(&in) % 3) {
	case 0:
		read_answer(in.at, in.left);
		break;
	case 1:
		read_options(&in);
		break;
	default:
		read_text(&in);
	}
	return 0;
}
