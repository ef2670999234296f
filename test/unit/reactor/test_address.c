/* SPDX-License-Identifier: BSD-3-Clause */
/* Numeric addresses: what is taken, what is refused, and that the text comes back. */
#include "lib/reactor/address.h"
#include "test/unit/reactor/test.h"

#include <net/if.h>
#include <netinet/in.h>

static void test_address_there_and_back(void **state)
{
	static const struct {
		const char *in, *out;
		bool is_wildcard;
	} cases[] = {
		{"127.0.0.1", "127.0.0.1", false},
		{"0.0.0.0", "0.0.0.0", true},
		{"255.255.255.255", "255.255.255.255", false},
		{"::", "::", true},
		{"0:0:0:0:0:0:0:0", "::", true},
		{"::1", "::1", false},
		{"2001:DB8:0:0::7", "2001:db8::7", false},
		{"::ffff:10.0.0.1", "::ffff:10.0.0.1", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sockaddr_storage addr;
		char text[XR_ADDRESS_SIZE];
		uint16_t port = 0;
		int len = xr_address_parse(cases[i].in, 4420, &addr);

		assert_int_equal(len, strchr(cases[i].in, ':') != NULL
					      ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in));
		assert_int_equal(xr_address_format(&addr, text, &port), 0);
		assert_string_equal(text, cases[i].out);
		assert_int_equal(port, 4420);
		assert_int_equal(xr_address_is_wildcard(cases[i].in), cases[i].is_wildcard);
	}
}

static void test_address_knows_what_only_this_machine_reaches(void **state)
{
	static const char *const loopback[] = {
		"127.0.0.1", "127.255.255.254", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"};
	static const char *const others[] = {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "126.0.0.1",
		"::2", "fe80::1", "::ffff:10.0.0.1", "::127.0.0.1", "1::1", "", "localhost"};

	for (size_t i = 0; i < ARRAY_SIZE(loopback); i++) {
		assert_true(xr_address_is_loopback(loopback[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_false(xr_address_is_loopback(others[i]));
	}
}

static void test_address_refuses_what_is_not_numeric(void **state)
{
	static const char *const wrong[] = {"", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1",
		"1.2.3.4 ", " 1.2.3.4", "1.2.3.4:80", "[::1]", "::1%lo", "1:2:3:4:5:6:7:8:9",
		":::", "0x7f.0.0.1", "010.0.0.1x"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct sockaddr_storage addr;

		assert_int_equal(xr_address_parse(wrong[i], 1, &addr), -EINVAL);
		assert_false(xr_address_is_wildcard(wrong[i]));
	}
}

static void test_address_of_another_family(void **state)
{
	struct sockaddr_storage addr = {.ss_family = AF_UNIX};
	char text[XR_ADDRESS_SIZE];
	uint16_t port;

	assert_int_equal(xr_address_format(&addr, text, &port), -EAFNOSUPPORT);
}

static void test_address_finds_its_interface(void **state)
{
	assert_int_equal(xr_address_interface("127.0.0.1"), if_nametoindex("lo"));
	assert_int_equal(xr_address_interface("192.0.2.1"), 0); /* for documentation only */
	assert_int_equal(xr_address_interface("lo"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address_there_and_back),
		cmocka_unit_test(test_address_knows_what_only_this_machine_reaches),
		cmocka_unit_test(test_address_refuses_what_is_not_numeric),
		cmocka_unit_test(test_address_of_another_family),
		cmocka_unit_test(test_address_finds_its_interface),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
