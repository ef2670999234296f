/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/util/param.c, and device creation through it: which values are taken, and that the sentence
 * of every refusal names the parameter, the value and what is accepted.
 */
#include "lib/util/param.h"
#include "test/unit/xbdev/harness.h"

struct opts {
	const char *text;
	bool flag;
	uint32_t small, any_small;
	uint64_t big, any_big;
	uint64_t size, any_size;
	uint32_t choice;
	struct xu_uuid uuid;
	json_t *json;
};

static const char *const choices[] = {"none", "Read-Ahead", "write", NULL};

static const struct xu_param params[] = {
	{"text", XU_PARAM_STRING, offsetof(struct opts, text), .help = "a text"},
	{"flag", XU_PARAM_BOOL, offsetof(struct opts, flag), .help = "a flag"},
	{"small", XU_PARAM_U32, offsetof(struct opts, small), .min = 2, .max = 10, .help = "2-10"},
	{"any_small", XU_PARAM_U32, offsetof(struct opts, any_small), .help = "any"},
	{"big", XU_PARAM_U64, offsetof(struct opts, big), .min = 5, .max = 1ull << 40,
		.help = "big"},
	{"any_big", XU_PARAM_U64, offsetof(struct opts, any_big), .help = "any"},
	{"size", XU_PARAM_SIZE, offsetof(struct opts, size), .min = 512, .max = 1ull << 30,
		.help = "bytes"},
	{"any_size", XU_PARAM_SIZE, offsetof(struct opts, any_size), .help = "bytes"},
	{"choice", XU_PARAM_ENUM, offsetof(struct opts, choice), .choices = choices,
		.help = "one of three"},
	{"uuid", XU_PARAM_UUID, offsetof(struct opts, uuid), .help = "identity"},
	{"json", XU_PARAM_JSON, offsetof(struct opts, json), .help = "anything"},
	{"off", XU_PARAM_OFF, .help = "only false is possible: there is none"},
	{0},
};

static const struct xu_param strict_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct opts, text), .is_required = true,
		.help = "name of the thing"},
	{0},
};

static json_t *load(const char *text)
{
	char copy[512];
	json_error_t error;
	json_t *value;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *c = copy; *c != '\0'; c++) {
		if (*c == '\'') {
			*c = '"';
		}
	}
	value = json_loads(copy, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (value == NULL) {
		fail_msg("%s: %s", copy, error.text);
	}
	return value;
}

static void test_param_takes_every_type(void **state)
{
	char path[XU_PARAM_PATH_SIZE], uuid[XU_UUID_TEXT_SIZE];
	struct xu_error err = {0};
	struct opts opts = {0};
	json_t *object;

	(void)state;
	object = load("{'text': 'hello', 'flag': true, 'small': 10, 'any_small': 4294967295,"
		      " 'big': 1099511627776, 'any_big': 9223372036854775807, 'size': '64KiB',"
		      " 'any_size': 12345, 'choice': 'read-ahead', 'json': [1, 2],"
		      " 'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8', '_comment': {'not': 1}}");
	assert_int_equal(xu_params_parse(params, &opts, object, path, &err), 0);
	assert_int_equal(err.code, 0);
	assert_string_equal(path, "");
	assert_string_equal(opts.text, "hello");
	assert_true(opts.flag);
	assert_int_equal(opts.small, 10);
	assert_int_equal(opts.any_small, UINT32_MAX);
	assert_int_equal(opts.big, 1ull << 40);
	assert_int_equal(opts.any_big, INT64_MAX);
	assert_int_equal(opts.size, 65536);
	assert_int_equal(opts.any_size, 12345);
	assert_int_equal(opts.choice, 1);
	xu_uuid_format(&opts.uuid, uuid);
	assert_string_equal(uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
	assert_int_equal(json_array_size(opts.json), 2);
	json_decref(object);
}

static void test_param_takes_what_is_off(void **state)
{
	static const char *const texts[] = {"{'off': false}", "{'off': 0}"};
	char path[XU_PARAM_PATH_SIZE];
	struct opts opts = {.text = "default"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *object = load(texts[i]);

		assert_int_equal(xu_params_parse(params, &opts, object, path, NULL), 0);
		assert_string_equal(opts.text, "default"); /* nothing is stored */
		json_decref(object);
	}
}

static void test_param_leaves_defaults_alone(void **state)
{
	char path[XU_PARAM_PATH_SIZE];
	struct opts opts = {.text = "default", .small = 7, .flag = true, .size = 99};
	json_t *object = load("{'any_small': 1}");

	(void)state;
	assert_int_equal(xu_params_parse(params, &opts, object, path, NULL), 0);
	assert_string_equal(opts.text, "default");
	assert_int_equal(opts.small, 7);
	assert_int_equal(opts.size, 99);
	assert_true(opts.flag);
	assert_int_equal(opts.any_small, 1);
	json_decref(object);
}

static void assert_refused(const struct xu_param *table, const char *text, const char *path_wanted,
	const char *message)
{
	char path[XU_PARAM_PATH_SIZE] = "?";
	struct xu_error err = {0};
	struct opts opts = {0};
	json_t *object = load(text);

	assert_int_equal(xu_params_parse(table, &opts, object, path, &err), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, message);
	assert_string_equal(path, path_wanted);
	json_decref(object);
}

static void test_param_refuses_with_a_sentence(void **state)
{
	static const char uuid_message[] = "uuid: \"x\" is not accepted; it takes a UUID such as "
					   "\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"";
	static const char size_message[] =
		"it takes a whole number of bytes or a text such as \"256MiB\", from 512 to "
		"1073741824";
	char message[256];

	(void)state;
	assert_refused(params, "{'text': 5}", "text",
		"text: 5 is not accepted; it takes a text that is not empty");
	assert_refused(params, "{'text': ''}", "text",
		"text: \"\" is not accepted; it takes a text that is not empty");
	assert_refused(params, "{'text': 'a\\u0000b'}", "text",
		"text: \"a\\u0000b\" is not accepted; it takes a text that is not empty");
	assert_refused(
		params, "{'flag': 1}", "flag", "flag: 1 is not accepted; it takes true or false");
	assert_refused(params, "{'flag': 'true'}", "flag",
		"flag: \"true\" is not accepted; it takes true or false");
	assert_refused(params, "{'off': true}", "off",
		"off: true is not accepted; only false is possible: there is none");
	assert_refused(params, "{'off': 8}", "off",
		"off: 8 is not accepted; only false is possible: there is none");
	assert_refused(params, "{'off': null}", "off",
		"off: null is not accepted; only false is possible: there is none");
	assert_refused(params, "{'small': 1}", "small",
		"small: 1 is not accepted; it takes a whole number from 2 to 10");
	assert_refused(params, "{'small': 11}", "small",
		"small: 11 is not accepted; it takes a whole number from 2 to 10");
	assert_refused(params, "{'small': 2.5}", "small",
		"small: 2.5 is not accepted; it takes a whole number from 2 to 10");
	assert_refused(params, "{'small': '5'}", "small",
		"small: \"5\" is not accepted; it takes a whole number from 2 to 10");
	assert_refused(params, "{'any_small': 4294967296}", "any_small",
		"any_small: 4294967296 is not accepted; it takes a whole number from 0 to "
		"4294967295");
	assert_refused(params, "{'any_big': -1}", "any_big",
		"any_big: -1 is not accepted; it takes a whole number from 0 to "
		"18446744073709551615");
	assert_refused(params, "{'big': 4}", "big",
		"big: 4 is not accepted; it takes a whole number from 5 to 1099511627776");
	snprintf(message, sizeof(message), "size: \"1 parsec\" is not accepted; %s", size_message);
	assert_refused(params, "{'size': '1 parsec'}", "size", message);
	snprintf(message, sizeof(message), "size: \"2GiB\" is not accepted; %s", size_message);
	assert_refused(params, "{'size': '2GiB'}", "size", message);
	snprintf(message, sizeof(message), "size: null is not accepted; %s", size_message);
	assert_refused(params, "{'size': null}", "size", message);
	assert_refused(params, "{'choice': 'rea'}", "choice",
		"choice: \"rea\" is not accepted; it takes one of: \"none\", \"Read-Ahead\", "
		"\"write\"");
	assert_refused(params, "{'choice': 1}", "choice",
		"choice: 1 is not accepted; it takes one of: \"none\", \"Read-Ahead\", \"write\"");
	assert_refused(params, "{'uuid': 'x'}", "uuid", uuid_message);
	assert_refused(params, "{'any_small': 1, 'tiny': 5}", "tiny",
		"'tiny' is not known here; accepted: text, flag, small, any_small, big, any_big, "
		"size, any_size, choice, uuid, json, off");
}

static void test_param_cuts_long_values_short(void **state)
{
	char path[XU_PARAM_PATH_SIZE], text[400];
	struct xu_error err = {0};
	struct opts opts = {0};
	json_t *object;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	object = json_pack("{s:s}", "flag", text);
	assert_int_equal(xu_params_parse(params, &opts, object, path, &err), -EINVAL);
	assert_non_null(strstr(err.text, "flag: \"xxxx"));
	assert_non_null(strstr(err.text, "x… is not accepted; it takes true or false"));
	json_decref(object);
	/* A name that nobody could have meant, longer than the place for its path. */
	object = json_pack("{s:i}", text, 1);
	assert_int_equal(xu_params_parse(params, &opts, object, path, &err), -EINVAL);
	assert_int_equal(strlen(path), XU_PARAM_PATH_SIZE - 1);
	assert_non_null(strstr(err.text, "xxxx' is not known here; accepted: text, flag"));
	json_decref(object);
}

static void test_param_asks_for_what_is_missing(void **state)
{
	(void)state;
	assert_refused(strict_params, "{}", "", "'name' is missing: name of the thing");
	assert_refused(strict_params, "{'_name': 'x'}", "", "'name' is missing: name of the thing");
	assert_refused(strict_params, "{'label': 'x'}", "label",
		"'label' is not known here; accepted: name");
}

static void test_param_wants_an_object(void **state)
{
	(void)state;
	assert_refused(strict_params, "[]", "", "an object { … } is needed here");
	assert_refused(strict_params, "null", "", "an object { … } is needed here");
	assert_refused(strict_params, "'name'", "", "an object { … } is needed here");
}

/* ---- the drivers' tables ---- */

static void test_drivers_are_found_by_name_and_alias(void **state)
{
	static const char *const names[] = {
		"null", "malloc", "file", "error", "delay", "nvme", "raid"};

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_non_null(xbdev_driver_find(names[i]));
		assert_string_equal(xbdev_driver_find(names[i])->name, names[i]);
	}
	assert_ptr_equal(xbdev_driver_find("aio"), xbdev_driver_find("file"));
	assert_null(xbdev_driver_find("nul"));
	assert_null(xbdev_driver_find(""));
}

static void test_drivers_describe_every_parameter(void **state)
{
	(void)state;
	for (uint32_t i = 0; xbdev_drivers[i] != NULL; i++) {
		const struct xbdev_driver *driver = xbdev_drivers[i];
		bool has_name = false;

		assert_true(driver->help != NULL && driver->help[0] != '\0');
		for (const struct xu_param *p = driver->params; p->name != NULL; p++) {
			assert_true(p->help != NULL && p->help[0] != '\0');
			assert_true(p->offset < driver->opts_bytes);
			has_name |= strcmp(p->name, "name") == 0 && p->is_required;
		}
		assert_true(has_name);
	}
}

/* What a driver's config() says makes the same device again. */
static void test_drivers_make_the_device_again_from_its_config(void **state)
{
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	harness_create(&h, "malloc", "{'name': 'base1', 'size': '1MiB'}");
	harness_create(&h, "malloc", "{'name': 'base2', 'size': '1MiB'}");
	harness_create(&h, "null", "{'name': 'null', 'num_blocks': 9, 'block_size': 4096}");
	harness_create(&h, "malloc", "{'name': 'malloc', 'num_blocks': 3}");
	harness_create(&h, "file", "{'name': 'file', 'filename': '%s/again', 'size': 65536}",
		harness_dir());
	harness_create(&h, "error", "{'name': 'error', 'base': 'base1'}");
	harness_create(&h, "delay", "{'name': 'delay', 'base': 'base2', 'avg_read_latency_us': 3}");
	harness_create(&h, "malloc", "{'name': 'base3', 'size': '8MiB'}");
	harness_create(&h, "malloc", "{'name': 'base4', 'size': '8MiB'}");
	harness_create(&h, "raid",
		"{'name': 'raid', 'level': 'raid10', 'members': ['base3', 'base4'], "
		"'layout': 'far=2', 'chunk_size': '16KiB'}");
	for (uint32_t i = 0; xbdev_drivers[i] != NULL; i++) {
		const char *name = xbdev_drivers[i]->name;
		struct xbdev_device *dev = xbdev_device_find(h.ctx, name);
		json_t *config, *again;
		uint64_t size;
		char *text;

		if (strcmp(name, "nvme") == 0) {
			assert_null(dev);
			continue; /* needs a disk: test/e2e/test-nvme.sh */
		}
		config = dev->ops->config(dev);
		size = xbdev_device_size_bytes(dev);
		assert_string_equal(json_string_value(json_object_get(config, "driver")), name);
		harness_remove(&h, dev);
		again = json_copy(config);
		json_object_del(again, "driver");
		text = json_dumps(again, JSON_COMPACT);
		dev = harness_create(&h, name, "%s", text);
		free(text);
		json_decref(again);
		again = dev->ops->config(dev);
		assert_true(json_equal(config, again));
		assert_int_equal(xbdev_device_size_bytes(dev), size);
		json_decref(again);
		json_decref(config);
	}
	harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_param_takes_every_type),
		cmocka_unit_test(test_param_takes_what_is_off),
		cmocka_unit_test(test_param_leaves_defaults_alone),
		cmocka_unit_test(test_param_refuses_with_a_sentence),
		cmocka_unit_test(test_param_cuts_long_values_short),
		cmocka_unit_test(test_param_asks_for_what_is_missing),
		cmocka_unit_test(test_param_wants_an_object),
		cmocka_unit_test(test_drivers_are_found_by_name_and_alias),
		cmocka_unit_test(test_drivers_describe_every_parameter),
		cmocka_unit_test(test_drivers_make_the_device_again_from_its_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
