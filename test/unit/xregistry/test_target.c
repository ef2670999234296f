/* SPDX-License-Identifier: BSD-3-Clause */
/* Targets: the document's registration as printed, everything both ways, and what is refused. */
#include <errno.h>
#include <math.h>

#include "lib/util/error.h"
#include "lib/xregistry/live.h"
#include "test/unit/xregistry/fixture.h"

static void test_spec_of_the_document(void **state)
{
	json_t *body = fixture_body();
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	struct xu_error err = {0};

	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), 0);
	assert_string_equal(parsed.spec.node_id, "xdevice-node-001");
	assert_string_equal(parsed.spec.nqn, "nqn.2024-01.com.xdevice:nvme:001");
	assert_int_equal(parsed.spec.transport, XREG_TCP);
	assert_string_equal(parsed.spec.address, "192.168.1.100");
	assert_int_equal(parsed.spec.port, 4420);
	assert_int_equal(parsed.spec.capacity_bytes, 1073741824000);
	assert_int_equal(parsed.spec.max_bandwidth_mbps, 6000);
	assert_int_equal(parsed.spec.nr_metadata, 3);
	assert_string_equal(parsed.spec.metadata[0].key, "firmware_version"); /* sorted */
	assert_true(parsed.spec.has_auto_discovery && parsed.spec.weight == 1);
	assert_int_equal(parsed.spec.discovery_interval_s, 0);
	json_decref(body);
}

static void assert_specs_equal(const struct xreg_spec *a, const struct xreg_spec *b)
{
	json_t *one = xreg_spec_to_json(a), *other = xreg_spec_to_json(b);

	assert_non_null(one);
	assert_true(json_equal(one, other));
	json_decref(one);
	json_decref(other);
}

static void test_record_there_and_back(void **state)
{
	struct xreg_spec spec = fixture_spec();
	const struct xreg_origin origin = {.id = "tgt-1",
		.source = XREG_MDNS,
		.created_revision = 3,
		.revision = 9,
		.registered_ms = 1700000000123,
		.updated_ms = 1700000000456};
	const struct xreg_status status = {
		.state = XREG_MAINTENANCE, .reason = "new disks", .until_ms = 1700000099000};
	struct xreg_target *target = xreg_target_new(&origin, &status, &spec), *back;
	struct xu_error err = {0};
	json_t *object = xreg_target_to_json(target);

	assert_string_equal(target->location, "rack-1-slot-3");
	assert_int_equal(xreg_target_from_json(object, &back, &err), 0);
	assert_specs_equal(&back->spec, &spec);
	assert_string_equal(back->origin.id, "tgt-1");
	assert_int_equal(back->origin.source, XREG_MDNS);
	assert_int_equal(back->origin.created_revision, 3);
	assert_int_equal(back->origin.revision, 9);
	assert_int_equal(back->origin.registered_ms, 1700000000123);
	assert_int_equal(back->origin.updated_ms, 1700000000456);
	assert_int_equal(back->status.state, XREG_MAINTENANCE);
	assert_string_equal(back->status.reason, "new disks");
	assert_int_equal(back->status.until_ms, 1700000099000);
	assert_string_equal(back->place, target->place);
	assert_int_equal(back->spec.namespace_id, 1);
	assert_true(back->spec.is_read_only && back->spec.weight == 2.5);
	json_decref(object);
	xreg_target_unref(target);
	xreg_target_unref(back);
}

/* A member of the body is set to a JSON text; the path of the culprit and a word of the sentence.
 */
static const struct {
	const char *section, *member, *value, *path, *word;
} refused[] = {
	{NULL, "node_id", "\"\"", "node_id", "not empty"},
	{NULL, "node_id", "\"a node\"", "node_id", "letters"},
	{NULL, "node_id", "5", "node_id", "text"},
	{NULL, "nodeid", "\"x\"", "nodeid", "not known"},
	{NULL, "ttl_seconds", "-1", "ttl_seconds", "whole number"},
	{NULL, "target_info", "[]", "target_info", "object"},
	{"target_info", "nqn", "\"iqn.2024-01.com\"", "target_info.nqn", "not an NQN"},
	{"target_info", "transport", "\"iscsi\"", "target_info.transport", "\"rdma\""},
	{"target_info", "address", "\"storage.example\"", "target_info.address", "numeric"},
	{"target_info", "address", "\"0.0.0.0\"", "target_info.address", "every address"},
	{"target_info", "address", "\"::\"", "target_info.address", "every address"},
	{"target_info", "port", "0", "target_info.port", "port"},
	{"target_info", "port", "65536", "target_info.port", "65535"},
	{"target_info", "security_type", "\"ssl\"", "target_info.security_type", "ipsec"},
	{"target_info", "interface", "\"eth\\u0007\"", "target_info.interface", "control"},
	{"target_info", "transport", "\"fc\"", "target_info.address", "Fibre Channel"},
	{"performance_caps", "max_iops", "1.5", "performance_caps.max_iops", "whole number"},
	{"metadata", "location", "{}", "metadata", "no text"},
	{"metadata", "rack row", "\"x\"", "metadata", "letters"},
	{"metadata", "location", "\"a\\nb\"", "metadata", "control"},
	{"config", "weight", "\"heavy\"", "config.weight", "0 to 1000"},
	{"config", "weight", "1001", "config.weight", "0 to 1000"},
	{"config", "tags", "[\"ok\", 5]", "config.tags", "element 1"},
	{"config", "discovery_interval", "0", "config.discovery_interval", "1 to 86400"},
};

static void test_spec_refuses(void **state)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		json_t *body = fixture_body(), *section = body;
		char path[XU_PARAM_PATH_SIZE];
		struct xreg_parsed parsed;
		struct xu_error err = {0};

		if (refused[i].section != NULL) {
			section = json_object_get(body, refused[i].section);
			if (section == NULL) {
				section = json_object();
				json_object_set_new(body, refused[i].section, section);
			}
		}
		json_object_set_new(section, refused[i].member,
			json_loads(refused[i].value, JSON_DECODE_ANY, NULL));
		assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), -EINVAL);
		assert_string_equal(path, refused[i].path);
		if (strstr(err.text, refused[i].word) == NULL) {
			fail_msg("%s: '%s'", refused[i].path, err.text);
		}
		json_decref(body);
	}
}

static void test_spec_bounds(void **state)
{
	json_t *body = fixture_body(), *metadata = json_object(), *tags = json_array();
	char path[XU_PARAM_PATH_SIZE], name[16];
	struct xreg_parsed parsed;
	struct xu_error err;

	for (unsigned i = 0; i < XREG_METADATA_MAX; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		json_object_set_new(metadata, name, json_string("v"));
	}
	for (unsigned i = 0; i < XREG_TAGS_MAX; i++) {
		json_array_append_new(tags, json_string(i % 2 == 0 ? "even" : "odd"));
	}
	json_object_set(body, "metadata", metadata);
	json_object_set_new(body, "config", json_pack("{s:O}", "tags", tags));
	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), 0);
	assert_int_equal(parsed.spec.nr_metadata, XREG_METADATA_MAX);
	assert_int_equal(parsed.spec.nr_tags, 2); /* none twice */
	json_array_append_new(tags, json_string("more"));
	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), -EINVAL);
	assert_string_equal(path, "config.tags");
	json_object_del(body, "config");
	json_object_set_new(metadata, "more", json_string("v"));
	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), -EINVAL);
	assert_string_equal(path, "metadata");
	json_decref(metadata);
	json_decref(tags);
	json_decref(body);
}

/* What no JSON text can say, but a message can: the check is for all. */
static void set_port(struct xreg_spec *spec)
{
	spec->port = 65536;
}

static void set_transport(struct xreg_spec *spec)
{
	spec->transport = XREG_FC + 1;
}

static void set_security(struct xreg_spec *spec)
{
	spec->security = XREG_SECURITY_IPSEC + 1;
}

static void set_capacity(struct xreg_spec *spec)
{
	spec->capacity_bytes = UINT64_MAX;
}

static void set_iops(struct xreg_spec *spec)
{
	spec->max_iops = (uint64_t)INT64_MAX + 1;
}

static void set_ttl(struct xreg_spec *spec)
{
	spec->ttl_s = XREG_TTL_S_MAX + 1;
}

static void set_block_size(struct xreg_spec *spec)
{
	spec->block_size = XREG_BLOCK_SIZE_MAX + 1;
}

static void set_weight(struct xreg_spec *spec)
{
	spec->weight = NAN;
}

static void set_interval(struct xreg_spec *spec)
{
	spec->discovery_interval_s = XREG_INTERVAL_S_MAX + 1;
}

static void test_check_of_numbers(void **state)
{
	static const struct {
		void (*set)(struct xreg_spec *spec);
		const char *path, *word;
	} cases[] = {
		{set_port, "target_info.address", "65535"},
		{set_transport, "target_info.address", "transport 3"},
		{set_security, "target_info.address", "security type 3"},
		{set_capacity, "target_info.namespace_capacity", "too much"},
		{set_iops, "performance_caps", "max_iops"},
		{set_ttl, "ttl_seconds", "too much"},
		{set_block_size, "storage.device_path", "block_size"},
		{set_weight, "config.weight", "0 to 1000"},
		{set_interval, "config.discovery_interval", "1 to 86400"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char path[XU_PARAM_PATH_SIZE];
		struct xreg_parsed parsed;
		struct xu_error err = {0};

		xreg_parsed_init(&parsed);
		parsed.spec.node_id = "node-1";
		parsed.spec.nqn = "nqn.2026-11.io.xsan:one";
		parsed.spec.address = "192.0.2.7";
		parsed.spec.port = 4420;
		assert_int_equal(xreg_parsed_check(&parsed, path, &err), 0);
		cases[i].set(&parsed.spec);
		assert_int_equal(xreg_parsed_check(&parsed, path, &err), -EINVAL);
		assert_string_equal(path, cases[i].path);
		if (strstr(err.text, cases[i].word) == NULL) {
			fail_msg("%s: '%s'", path, err.text);
		}
	}
}

static void test_check_of_lists(void **state)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	struct xu_error err = {0};

	xreg_parsed_init(&parsed);
	parsed.spec.node_id = "node-1";
	parsed.spec.nqn = "nqn.2026-11.io.xsan:one";
	parsed.spec.address = "192.0.2.7";
	parsed.spec.port = 4420;
	parsed.metadata[0] = (struct xreg_pair){"rack", "2"};
	parsed.metadata[1] = (struct xreg_pair){"location", "rack-2"};
	parsed.spec.nr_metadata = 2;
	parsed.tags[0] = "slow";
	parsed.tags[1] = "lab";
	parsed.tags[2] = "slow";
	parsed.spec.nr_tags = 3;
	assert_int_equal(xreg_parsed_check(&parsed, path, &err), 0);
	assert_string_equal(parsed.spec.metadata[0].key, "location");
	assert_int_equal(parsed.spec.nr_tags, 2);
	assert_string_equal(parsed.spec.tags[1], "slow");
	parsed.metadata[1].key = "location";
	assert_int_equal(xreg_parsed_check(&parsed, path, &err), -EINVAL);
	assert_string_equal(path, "metadata");
	assert_non_null(strstr(err.text, "twice"));
}

static void test_check_of_reports(void **state)
{
	struct xreg_status status = {.state = XREG_DEGRADED, .reason = "slow"};
	struct xreg_metrics metrics = {.error_rate = 1, .cpu_usage = 0.5, .load_percentage = 100};
	struct xu_error err = {0};

	assert_int_equal(xreg_status_check(&status, &err), 0);
	status.state = XREG_DEGRADED + 1;
	assert_int_equal(xreg_status_check(&status, &err), -EINVAL);
	status = (struct xreg_status){.reason = "a\nb"};
	assert_int_equal(xreg_status_check(&status, &err), -EINVAL);
	status = (struct xreg_status){.reason = "", .until_ms = UINT64_MAX};
	assert_int_equal(xreg_status_check(&status, &err), -EINVAL);
	assert_int_equal(xreg_metrics_check(&metrics, &err), 0);
	metrics.load_percentage = 101;
	assert_int_equal(xreg_metrics_check(&metrics, &err), -EINVAL);
	assert_non_null(strstr(err.text, "load_percentage"));
	metrics = (struct xreg_metrics){.memory_usage = NAN};
	assert_int_equal(xreg_metrics_check(&metrics, &err), -EINVAL);
	assert_non_null(strstr(err.text, "memory_usage"));
	metrics = (struct xreg_metrics){.error_rate = -0.1};
	assert_int_equal(xreg_metrics_check(&metrics, &err), -EINVAL);
}

static void test_fc_has_an_address_of_its_own(void **state)
{
	json_t *body = fixture_body(), *info = json_object_get(body, "target_info");
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	struct xu_error err;

	json_object_set_new(info, "transport", json_string("fc"));
	json_object_set_new(
		info, "address", json_string("nn-0x200000109b7e1e5f:pn-0x100000109b7e1e5f"));
	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), -EINVAL);
	json_object_del(info, "port");
	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), 0);
	json_object_set_new(
		info, "address", json_string("nn-0x200000109b7e1e5f:pn-0x100000109b7e1e5"));
	assert_int_equal(xreg_spec_parse(body, &parsed, path, &err), -EINVAL);
	json_decref(body);
}

static void test_states(void **state)
{
	uint32_t value;

	for (uint32_t i = 0; i <= XREG_DEGRADED; i++) {
		assert_int_equal(xreg_state_parse(xreg_state_name(i), &value), 0);
		assert_int_equal(value, i);
	}
	assert_null(xreg_state_name(XREG_DEGRADED + 1));
	assert_int_equal(xreg_state_parse("Active", &value), 0);
	assert_int_equal(value, XREG_AVAILABLE);
	assert_int_equal(xreg_state_parse("well", &value), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec_of_the_document),
		cmocka_unit_test(test_record_there_and_back),
		cmocka_unit_test(test_spec_refuses),
		cmocka_unit_test(test_spec_bounds),
		cmocka_unit_test(test_check_of_numbers),
		cmocka_unit_test(test_check_of_lists),
		cmocka_unit_test(test_check_of_reports),
		cmocka_unit_test(test_fc_has_an_address_of_its_own),
		cmocka_unit_test(test_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
