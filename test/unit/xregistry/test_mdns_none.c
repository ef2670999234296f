/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without Avahi: it starts where mDNS is not asked for by name, else it says what to do. */
#include <errno.h>

#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/mdns.h"
#include "lib/util/error.h"
#include "test/unit/xregistry/fixture.h"

static void test_mdns_none_refuses_what_is_asked_for(void **state)
{
	const struct mdns_part_opts opts = {.log = NULL};
	struct mdns_part *part = (struct mdns_part *)&opts;
	struct config config = {.has_central = true};
	struct xu_error err = {0};

	assert_int_equal(mdns_part_check(&config, &err), 0);
	/* The default on an address that others reach is not asked for. */
	config.publishes_mdns = true;
	assert_int_equal(mdns_part_check(&config, &err), 0);
	assert_int_equal(mdns_part_start(&opts, &part, &err), 0);
	assert_null(part);
	mdns_part_quiesce(part);
	mdns_part_stop(part);
	config.is_publish_said = true;
	assert_int_equal(mdns_part_check(&config, &err), -ENOSYS);
	assert_non_null(strstr(err.text, "discovery_controller.publish_mdns: "));
	assert_non_null(strstr(err.text, "libavahi-client"));
	/* There is nothing that could be announced. */
	config.has_central = false;
	assert_int_equal(mdns_part_check(&config, &err), 0);
	config = (struct config){.finds_mdns = true};
	assert_int_equal(mdns_part_check(&config, &err), -ENOSYS);
	assert_non_null(strstr(err.text, "discovery.enable_mdns: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mdns_none_refuses_what_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
