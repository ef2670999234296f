/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of DHCP: the question as RFC 2131 has it, answers that are put together in all ways that
 * are allowed, answers to others, damaged ones, and the list that the option holds.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/util/error.h"
#include "lib/xregistry/dhcp.h"
#include "test/unit/xregistry/fixture.h"

static const struct xreg_dhcp_inform inform = {.xid = 0x12345678,
	.address = {192, 0, 2, 1},
	.hardware_type = 1,
	.hardware_len = 6,
	.hardware = {2, 0, 0, 0, 0, 7},
	.option = XREG_DHCP_OPTION};

static void test_the_question(void **state)
{
	/* Type 8, size 1472, class "xsan-registry", wanted: 224, end. */
	static const char options[] = "\143\202\123\143\065\1\10\071\2\5\300\074\15xsan-registry"
				      "\067\1\340\377";
	uint8_t bytes[XREG_DHCP_INFORM_SIZE];

	xreg_dhcp_inform_write(&inform, bytes);
	assert_memory_equal(bytes, "\1\1\6\0\x12\x34\x56\x78\0\0\0\0\300\0\2\1", 16);
	assert_memory_equal(bytes + 28, "\2\0\0\0\0\7", 6);
	assert_memory_equal(bytes + 236, options, sizeof(options) - 1);
}

/* ---- answers ---- */

struct message {
	uint8_t bytes[XREG_DHCP_ACK_MAX + 1];
	size_t len;
};

static void put(struct message *m, uint8_t option, const void *value, size_t len)
{
	m->bytes[m->len++] = option;
	m->bytes[m->len++] = (uint8_t)len;
	memcpy(m->bytes + m->len, value, len);
	m->len += len;
}

/* An answer without options but its type and server. */
static struct message ack_of(uint8_t type)
{
	struct message m = {.len = 240};

	xreg_dhcp_inform_write(&inform, m.bytes);
	memset(m.bytes + 240, 0, XREG_DHCP_INFORM_SIZE - 240);
	m.bytes[0] = 2;
	put(&m, 53, &type, 1);
	put(&m, 54, "\300\0\2\376", 4);
	return m;
}

static int read_ack(const struct message *m, struct xreg_dhcp_ack *ack)
{
	struct xu_error err = {0};
	int rc = xreg_dhcp_ack_read(m->bytes, m->len, &inform, ack, &err);

	assert_true((rc == 0) == (err.text[0] == '\0'));
	return rc;
}

static void test_an_answer_with_the_list(void **state)
{
	struct message m = ack_of(5);
	struct xreg_dhcp_ack ack;

	put(&m, 1, "\377\377\377\0", 4);
	put(&m, 224, "a@b:1", 5);
	m.bytes[m.len++] = 0;
	m.bytes[m.len++] = 255;
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_true(ack.has_list);
	assert_string_equal(ack.list, "a@b:1");
	assert_memory_equal(ack.server, "\300\0\2\376", 4);
}

static void test_an_answer_without_the_list(void **state)
{
	struct message m = ack_of(5);
	struct xreg_dhcp_ack ack;

	put(&m, 225, "another", 7);
	m.bytes[m.len++] = 255;
	put(&m, 224, "beyond the end", 14);
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_false(ack.has_list);
	assert_string_equal(ack.list, "");
}

static void test_a_long_list_comes_in_pieces(void **state)
{
	struct message m = ack_of(5);
	struct xreg_dhcp_ack ack;
	uint8_t piece[255];

	memset(piece, 'x', sizeof(piece));
	for (uint32_t i = 0; i < XREG_DHCP_LIST_MAX / sizeof(piece); i++) {
		put(&m, 224, piece, sizeof(piece));
	}
	put(&m, 224, "yyyyyyyyy", XREG_DHCP_LIST_MAX % sizeof(piece));
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_int_equal(strlen(ack.list), XREG_DHCP_LIST_MAX);
	put(&m, 224, "z", 1);
	assert_int_equal(read_ack(&m, &ack), -EMSGSIZE);
}

/* RFC 2132 9.3: options also where the boot file and the server's name would be. */
static void test_options_in_other_places(void **state)
{
	struct message m = ack_of(5);
	struct xreg_dhcp_ack ack;

	memcpy(m.bytes + 108, "\340\4one,\377", 7);
	memcpy(m.bytes + 44, "\340\3two\377", 6);
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_false(ack.has_list);
	put(&m, 52, "\1", 1);
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_string_equal(ack.list, "one,");
	m = ack_of(5);
	memcpy(m.bytes + 108, "\340\4one,\377", 7);
	memcpy(m.bytes + 44, "\340\3two\377", 6);
	put(&m, 52, "\3", 1);
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_string_equal(ack.list, "one,two");
}

static void test_answers_to_others_are_none(void **state)
{
	static const struct {
		size_t at;
		const char *what;
	} cases[] = {{0, "op"}, {1, "htype"}, {2, "hlen"}, {4, "xid"}, {7, "xid"}, {28, "chaddr"},
		{33, "chaddr"}, {236, "cookie"}, {242, "type"}};
	struct xreg_dhcp_ack ack;
	struct message m;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		m = ack_of(5);
		assert_int_equal(read_ack(&m, &ack), 0);
		m.bytes[cases[i].at] ^= 1;
		assert_int_equal(read_ack(&m, &ack), -EBADMSG);
	}
	m = ack_of(6); /* DHCPNAK */
	assert_int_equal(read_ack(&m, &ack), -EBADMSG);
}

static void test_damaged_answers_are_refused(void **state)
{
	struct message m = ack_of(5);
	struct xreg_dhcp_ack ack;
	size_t len = m.len;

	put(&m, 224, "text", 4);
	/* Every length from nothing: either it is refused or it has no half of the option. */
	for (m.len = 0; m.len < len + 6; m.len++) {
		assert_true(read_ack(&m, &ack) == -EBADMSG || !ack.has_list);
	}
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_string_equal(ack.list, "text");
	m.len = sizeof(m.bytes);
	assert_int_equal(read_ack(&m, &ack), -EBADMSG);
}

static void test_the_list_is_text(void **state)
{
	struct xreg_dhcp_ack ack;
	struct message m = ack_of(5);

	put(&m, 224, "a\0\0", 3); /* as some servers end it */
	assert_int_equal(read_ack(&m, &ack), 0);
	assert_string_equal(ack.list, "a");
	m = ack_of(5);
	put(&m, 224, "a\0b", 3);
	assert_int_equal(read_ack(&m, &ack), -EINVAL);
	m = ack_of(5);
	put(&m, 224, "\300\0\2\12", 4); /* an address in binary */
	assert_int_equal(read_ack(&m, &ack), -EINVAL);
}

/* ---- lists ---- */

static void test_list_of_targets_and_controllers(void **state)
{
	struct xreg_dhcp_entry e[XREG_DHCP_ENTRIES_MAX];
	struct xu_error err;
	uint32_t count;

	assert_int_equal(xreg_dhcp_list_read("nqn.2026-11.io.xsan:a@192.0.2.1:4420, \n"
					     "nqn.2026-11.io.xsan:b@c@[2001:db8::1]:4421,,"
					     "192.0.2.3:8009 [2001:db8::3]:8010,"
					     "nqn.2014-08.org.nvmexpress.discovery@192.0.2.4:8009,",
				 e, &count, &err),
		0);
	assert_int_equal(count, 5);
	assert_string_equal(e[0].place.nqn, "nqn.2026-11.io.xsan:a");
	assert_string_equal(e[0].place.address, "192.0.2.1");
	assert_int_equal(e[0].place.port, 4420);
	assert_false(e[0].is_discovery);
	assert_string_equal(e[1].place.nqn, "nqn.2026-11.io.xsan:b@c");
	assert_string_equal(e[1].place.address, "2001:db8::1");
	assert_int_equal(e[1].place.port, 4421);
	assert_true(e[2].is_discovery && e[3].is_discovery && e[4].is_discovery);
	assert_string_equal(e[3].place.address, "2001:db8::3");
	assert_int_equal(e[3].place.port, 8010);
	assert_int_equal(xreg_dhcp_list_read(" , ", e, &count, &err), 0);
	assert_int_equal(count, 0);
}

static void test_what_is_no_entry_is_named(void **state)
{
	static const char *const bad[] = {"nqn.2026-11.io.xsan:a@192.0.2.1", "192.0.2.1",
		"nqn.2026-11.io.xsan:a", "nqn.2026-11.io.xsan:a@", "nqn.2026-11.io.xsan:a@:1",
		"@192.0.2.1:4420", "disk@192.0.2.1:4420", "nqn.2026-11.io.xsan:a@host:4420",
		"192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:4420x",
		"192.0.2.1:99999999999999999999", "2001:db8::1:4420", "[2001:db8::1]",
		"[192.0.2.1:4420", "192.0.2.1]:4420", "[]:1", ":1", "0.0.0.0:4420", "[::]:4420",
		"[fe80::1%eth0]:4420", "[fe80::1]:4420", "255.255.255.255:4420", "224.0.0.1:4420",
		"169.254.1.1:4420"};
	struct xreg_dhcp_entry e[XREG_DHCP_ENTRIES_MAX];
	struct xu_error err;
	char list[128];
	uint32_t count;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(list, sizeof(list), "192.0.2.9:8009,%s", bad[i]);
		assert_int_equal(xreg_dhcp_list_read(list, e, &count, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i]));
	}
}

static void test_a_list_is_bounded(void **state)
{
	struct xreg_dhcp_entry e[XREG_DHCP_ENTRIES_MAX];
	char list[XREG_DHCP_LIST_MAX + 2] = "";
	struct xu_error err;
	uint32_t count;

	for (uint32_t i = 0; i < XREG_DHCP_ENTRIES_MAX; i++) {
		strcat(list, "192.0.2.1:8009,");
	}
	assert_int_equal(xreg_dhcp_list_read(list, e, &count, &err), 0);
	assert_int_equal(count, XREG_DHCP_ENTRIES_MAX);
	strcat(list, "192.0.2.1:8009,");
	assert_int_equal(xreg_dhcp_list_read(list, e, &count, &err), -E2BIG);
	memset(list, ',', sizeof(list) - 1);
	assert_int_equal(xreg_dhcp_list_read(list, e, &count, &err), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_question),
		cmocka_unit_test(test_an_answer_with_the_list),
		cmocka_unit_test(test_an_answer_without_the_list),
		cmocka_unit_test(test_a_long_list_comes_in_pieces),
		cmocka_unit_test(test_options_in_other_places),
		cmocka_unit_test(test_answers_to_others_are_none),
		cmocka_unit_test(test_damaged_answers_are_refused),
		cmocka_unit_test(test_the_list_is_text),
		cmocka_unit_test(test_list_of_targets_and_controllers),
		cmocka_unit_test(test_what_is_no_entry_is_named),
		cmocka_unit_test(test_a_list_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
