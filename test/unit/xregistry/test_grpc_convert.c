/* SPDX-License-Identifier: BSD-3-Clause */
/* Targets as messages of gRPC: there and back, the bounds of lists, filters. */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xregistry/grpc/convert.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/live.h"
#include "test/unit/xregistry/fixture.h"

static struct xreg_target *new_target(const struct xreg_spec *spec)
{
	const struct xreg_origin origin = {.id = "tgt-1",
		.source = XREG_DIM,
		.created_revision = 3,
		.revision = 9,
		.registered_ms = 1700000000123,
		.updated_ms = 1700000000456};
	const struct xreg_status status = {
		.state = XREG_MAINTENANCE, .reason = "new disks", .until_ms = 1700000099000};
	struct xreg_target *target = xreg_target_new(&origin, &status, spec);

	assert_non_null(target);
	return target;
}

static void test_there_and_back(void **state)
{
	const struct xreg_spec spec = fixture_spec();
	struct xreg_target *target = new_target(&spec);
	pb_target *message = xreg__pb_target(target, NULL);
	struct xreg_parsed parsed;
	struct xu_error err = {0};
	json_t *before, *after;

	assert_string_equal(message->info->target_id, "tgt-1");
	assert_int_equal(message->status, PB_VALUE(TARGET_STATUS__MAINTENANCE));
	assert_string_equal(message->status_reason, "new disks");
	assert_int_equal(message->status_until_ms, 1700000099000);
	assert_int_equal(message->source, PB_VALUE(TARGET_SOURCE__SOURCE_DIM));
	assert_int_equal(message->created_revision, 3);
	assert_int_equal(message->revision, 9);
	assert_int_equal(message->registered_at_ms, 1700000000123);
	assert_int_equal(message->updated_at_ms, 1700000000456);
	assert_null(message->health);

	message->info->target_id = xreg__pb_text("");
	assert_int_equal(xreg__pb_read_spec(message->info, message->details, &parsed, &err), 0);
	before = xreg_spec_to_json(&spec);
	after = xreg_spec_to_json(&parsed.spec);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	free(message);
	xreg_target_unref(target);
}

static void test_health_of_a_target(void **state)
{
	const struct xreg_spec spec = fixture_spec();
	struct xreg_target *target = new_target(&spec);
	const struct xreg_metrics metrics = {
		.current_iops = 7, .load_percentage = 40, .error_rate = 0.5};
	struct xreg_health_config config;
	pb_target *message;

	xreg_health_config_default(&config);
	message = xreg__pb_target(target, &config);
	assert_null(message->health);
	assert_int_equal(message->last_seen_ms, 0);
	free(message);
	xreg_live_report(target, &metrics, 1700000000999);
	message = xreg__pb_target(target, &config);
	assert_int_equal(message->last_seen_ms, 1700000000999);
	assert_int_equal(message->health->last_updated, 1700000000);
	assert_int_equal(message->health->current_iops, 7);
	assert_int_equal(message->health->load_percentage, 40);
	assert_true(message->health->error_rate == 0.5);
	free(message);
	xreg_target_unref(target);
}

static void test_bounds_of_lists(void **state)
{
	pb_target_info info = PB_INIT(TARGET_INFO);
	pb_target_details details = PB_INIT(TARGET_DETAILS);
	pb_target_info_metadata_entry entries[XREG_METADATA_MAX + 1], *list[XREG_METADATA_MAX + 1];
	char keys[XREG_METADATA_MAX + 1][16], *tags[XREG_TAGS_MAX + 1];
	struct xreg_parsed parsed;
	struct xu_error err;

	info.node_id = xreg__pb_text("node-1");
	info.nqn = xreg__pb_text("nqn.2026-11.io.xsan:one");
	info.address = xreg__pb_text("192.0.2.7");
	info.port = 4420;
	for (size_t i = 0; i <= XREG_METADATA_MAX; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key-%zu", i);
		entries[i] = (pb_target_info_metadata_entry)PB_INIT(TARGET_INFO__METADATA_ENTRY);
		entries[i].key = keys[i];
		list[i] = &entries[i];
	}
	for (size_t i = 0; i <= XREG_TAGS_MAX; i++) {
		tags[i] = keys[i];
	}
	info.metadata = list;
	details.tags = tags;
	info.n_metadata = XREG_METADATA_MAX;
	details.n_tags = XREG_TAGS_MAX;
	assert_int_equal(xreg__pb_read_spec(&info, &details, &parsed, &err), 0);
	assert_int_equal(parsed.spec.nr_metadata, XREG_METADATA_MAX);
	details.n_tags++;
	assert_int_equal(xreg__pb_read_spec(&info, &details, &parsed, &err), -EINVAL);
	details.n_tags = 0;
	info.n_metadata++;
	assert_int_equal(xreg__pb_read_spec(&info, &details, &parsed, &err), -EINVAL);
	info.n_metadata = 2;
	entries[1].key = keys[0];
	assert_int_equal(xreg__pb_read_spec(&info, NULL, &parsed, &err), -EINVAL);
	assert_non_null(strstr(err.text, "twice"));
}

static void test_filters(void **state)
{
	const struct xreg_spec spec = fixture_spec();
	struct xreg_target *target = new_target(&spec);
	const pb_target_status states[] = {
		PB_VALUE(TARGET_STATUS__OFFLINE), PB_VALUE(TARGET_STATUS__MAINTENANCE)};
	const pb_transport_type transports[] = {PB_VALUE(TRANSPORT_TYPE__FC)};
	const struct xreg__pb_filter all = {
		.node_id = "", .nqn = "", .address = "", .location = "", .tag = ""};
	struct xreg__pb_filter filter = all;

	assert_true(xreg__pb_matches(&filter, target));
	filter.location = "rack-1";
	filter.tag = "lab";
	filter.node_id = "node-1";
	filter.states = states;
	filter.nr_states = 2;
	assert_true(xreg__pb_matches(&filter, target));
	filter.nr_states = 1;
	assert_false(xreg__pb_matches(&filter, target));
	filter = all;
	filter.location = "ack";
	assert_false(xreg__pb_matches(&filter, target));
	filter = all;
	filter.tag = "la";
	assert_false(xreg__pb_matches(&filter, target));
	filter = all;
	filter.transports = transports;
	filter.nr_transports = 1;
	assert_false(xreg__pb_matches(&filter, target));
	xreg_target_unref(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_health_of_a_target),
		cmocka_unit_test(test_bounds_of_lists),
		cmocka_unit_test(test_filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
