/* SPDX-License-Identifier: BSD-3-Clause */
/* What a service found by mDNS is: the rules of TXT records, and which are left alone and why. */
#include <errno.h>
#include <stdio.h>

#include "lib/util/error.h"
#include "lib/xregistry/mdns/service.h"
#include "test/unit/xregistry/fixture.h"

#define WELL_KNOWN "nqn.2014-08.org.nvmexpress.discovery"
#define DISCOVERY  "nqn.2014-08.org.nvmexpress:uuid:8c4f0b52-5a50-4d0c-9d1b-0c2f3c1f7a11"
#define SUBSYSTEM  "nqn.2024-01.com.xdevice:nvme:001"

static struct xreg__mdns_txt read_txt(const char *const *strings)
{
	struct xreg__mdns_txt txt = {0};

	for (; *strings != NULL; strings++) {
		xreg__mdns_txt_add(&txt, *strings, strlen(*strings));
	}
	return txt;
}

#define TXT(...) read_txt((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static int judge(struct xreg__mdns_txt txt, const char *address, struct xreg__mdns_service *service,
	struct xu_error *err)
{
	const struct xreg__mdns_seen seen = {.name = "Array 1",
		.host = "array-1.local",
		.address = address,
		.port = 8009,
		.txt = &txt};

	return xreg__mdns_judge(&seen, service, err);
}

static void test_mdns_txt_keys_have_no_case_and_count_once(void **state)
{
	struct xreg__mdns_txt txt =
		TXT("P=TCP", "p=rdma", "=x", "", "NQN=" WELL_KNOWN, "nqn=other", "unknown=1");

	assert_true(txt.is_tcp && txt.has_nqn && !txt.has_subnqn && !txt.is_bad);
	assert_string_equal(txt.nqn, WELL_KNOWN);
	assert_false(TXT("p=rdma", "p=tcp").is_tcp);
	assert_false(TXT("p").is_tcp);
	assert_false(TXT("p=").is_tcp);
	assert_false(TXT("p=tcp4").is_tcp);
	assert_true(TXT("nqn").has_nqn);
	assert_string_equal(TXT("nqn").nqn, "");
}

static void test_mdns_txt_value_may_be_any_bytes(void **state)
{
	struct xreg__mdns_txt txt = {0};
	char string[255] = "nqn=";

	memset(string + 4, 'a', sizeof(string) - 4);
	xreg__mdns_txt_add(&txt, string, 4 + XNVMF_NQN_MAX);
	assert_false(txt.is_bad);
	assert_int_equal(strlen(txt.nqn), XNVMF_NQN_MAX);
	txt = (struct xreg__mdns_txt){0};
	xreg__mdns_txt_add(&txt, string, 5 + XNVMF_NQN_MAX);
	assert_true(txt.is_bad);
	txt = (struct xreg__mdns_txt){0};
	xreg__mdns_txt_add(&txt, "subnqn=n\0n", 10);
	assert_true(txt.is_bad);
}

static void test_mdns_service_is_a_discovery_controller(void **state)
{
	struct xreg__mdns_service service;
	struct xu_error err;

	assert_int_equal(judge(TXT("p=tcp"), "192.0.2.1", &service, &err), 0);
	assert_true(service.is_ddc && !service.is_target);
	assert_string_equal(service.ddc.nqn, "");
	assert_int_equal(judge(TXT("p=tcp", "nqn=" WELL_KNOWN), "2001:db8::1", &service, &err), 0);
	assert_true(service.is_ddc && !service.is_target);
	assert_string_equal(service.ddc.nqn, "");
	assert_string_equal(service.ddc.address, "2001:db8::1");
	assert_int_equal(service.ddc.port, 8009);
	/* By its form this could be a subsystem's; the key says what it is. */
	assert_int_equal(judge(TXT("p=tcp", "nqn=" DISCOVERY), "192.0.2.1", &service, &err), 0);
	assert_true(service.is_ddc && !service.is_target);
	assert_string_equal(service.ddc.nqn, DISCOVERY);
	assert_int_equal(judge(TXT("p=tcp", "subnqn=" WELL_KNOWN), "192.0.2.1", &service, &err), 0);
	assert_true(service.is_ddc && !service.is_target);
}

static void test_mdns_service_is_a_target(void **state)
{
	struct xreg__mdns_service service;
	struct xreg_parsed parsed;
	struct xu_error err;

	assert_int_equal(judge(TXT("p=tcp", "subnqn=" SUBSYSTEM), "192.0.2.1", &service, &err), 0);
	assert_true(service.is_target && !service.is_ddc);
	assert_int_equal(xreg__mdns_spec(&service, &parsed, &err), 0);
	assert_string_equal(parsed.spec.nqn, SUBSYSTEM);
	assert_string_equal(parsed.spec.node_id, "array-1");
	assert_string_equal(parsed.spec.address, "192.0.2.1");
	assert_int_equal(parsed.spec.port, 8009);
	assert_int_equal(parsed.spec.nr_metadata, 2);
	assert_string_equal(parsed.spec.metadata[0].key, XREG_MDNS_HOST);
	assert_string_equal(parsed.spec.metadata[0].value, "array-1.local");
	assert_string_equal(parsed.spec.metadata[1].value, "Array 1");
	assert_int_equal(judge(TXT("p=tcp", "nqn=" DISCOVERY, "subnqn=" SUBSYSTEM), "192.0.2.1",
				 &service, &err),
		0);
	assert_true(service.is_target && service.is_ddc);
	assert_string_equal(service.ddc.nqn, DISCOVERY);
	assert_string_equal(service.subnqn, SUBSYSTEM);
}

static void test_mdns_names_are_made_fit(void **state)
{
	struct xreg__mdns_txt txt = TXT("p=tcp", "subnqn=" SUBSYSTEM);
	struct xreg__mdns_seen seen = {.name = "bad \xff name",
		.host = "\xc3\xa4.b.local",
		.address = "192.0.2.1",
		.port = 1,
		.txt = &txt};
	struct xreg__mdns_service service;
	struct xreg_parsed parsed;
	struct xu_error err;

	assert_int_equal(xreg__mdns_judge(&seen, &service, &err), 0);
	assert_string_equal(service.name, "");
	assert_string_equal(service.host, "\xc3\xa4.b.local");
	assert_string_equal(service.node_id, "mdns");
	assert_int_equal(xreg__mdns_spec(&service, &parsed, &err), 0);
	assert_int_equal(parsed.spec.nr_metadata, 1);
	seen.name = "new\nline";
	seen.host = "a b/c.local";
	assert_int_equal(xreg__mdns_judge(&seen, &service, &err), 0);
	assert_string_equal(service.name, "");
	assert_string_equal(service.node_id, "abc");
}

static void test_mdns_service_that_is_left_alone(void **state)
{
	struct xreg__mdns_service service;
	struct xu_error err;

	assert_int_equal(judge(TXT("nqn=" WELL_KNOWN), "192.0.2.1", &service, &err), -EINVAL);
	assert_non_null(strstr(err.text, "p=tcp"));
	assert_int_equal(judge(TXT("p=tcp", "nqn=hello"), "192.0.2.1", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp", "subnqn=hello"), "192.0.2.1", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp", "subnqn"), "192.0.2.1", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp"), "0.0.0.0", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp"), "::", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp"), "", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp"), "fe80::1", &service, &err), -EINVAL);
	assert_non_null(strstr(err.text, "link-local"));
	assert_int_equal(judge(TXT("p=tcp"), "169.254.1.1", &service, &err), -EINVAL);
	assert_int_equal(judge(TXT("p=tcp"), "127.0.0.1", &service, &err), -EINVAL);
	assert_non_null(strstr(err.text, "means another machine to each host"));
}

static void test_mdns_loopback_is_fine_on_loopback(void **state)
{
	struct xreg__mdns_txt txt = TXT("p=tcp");
	const struct xreg__mdns_seen seen = {.name = "a",
		.host = "b",
		.address = "127.0.0.1",
		.port = 8009,
		.is_loopback = true,
		.txt = &txt};
	struct xreg__mdns_service service;
	struct xu_error err;

	assert_int_equal(xreg__mdns_judge(&seen, &service, &err), 0);
	assert_string_equal(service.ddc.address, "127.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mdns_txt_keys_have_no_case_and_count_once),
		cmocka_unit_test(test_mdns_txt_value_may_be_any_bytes),
		cmocka_unit_test(test_mdns_service_is_a_discovery_controller),
		cmocka_unit_test(test_mdns_service_is_a_target),
		cmocka_unit_test(test_mdns_names_are_made_fit),
		cmocka_unit_test(test_mdns_service_that_is_left_alone),
		cmocka_unit_test(test_mdns_loopback_is_fine_on_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
