/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC calls: answers to good and bad texts, batches, notifications, and methods that answer
 * later. */
#include "lib/rpc/jsonrpc.h"
#include "lib/util/error.h"
#include "test/unit/util/test.h"
#include "test/unit/xsand/json_fail.h"

#include <errno.h>

/* ---- a service ---- */

struct sum_opts {
	uint32_t a, b;
	const char *text;
	json_t *inner;
};

static const struct xu_param sum_params[] = {
	{"a", XU_PARAM_U32, offsetof(struct sum_opts, a), .is_required = true, .max = 1000,
		.help = "a number"},
	{"b", XU_PARAM_U32, offsetof(struct sum_opts, b), .help = "another"},
	{"text", XU_PARAM_STRING, offsetof(struct sum_opts, text), .help = "a text"},
	{"inner", XU_PARAM_JSON, offsetof(struct sum_opts, inner), .help = "an object"},
	{0},
};

static const struct sum_opts sum_defaults = {.b = 5};

static struct {
	struct xrpc_request *held[8];
	const struct sum_opts *opts[8];
	size_t nr_held;
	unsigned nr_calls;
} world;

static void sum(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct sum_opts *opts = opts_ptr;

	world.nr_calls++;
	assert_string_equal(arg, "arg");
	xrpc_result(req, json_integer(opts->a + opts->b));
}

static void later(struct xrpc_request *req, void *arg, const void *opts)
{
	world.opts[world.nr_held] = opts;
	world.held[world.nr_held++] = req;
}

static void release(size_t index)
{
	const struct sum_opts *opts = world.opts[index];

	/* Texts of the parameters are there until the answer. */
	xrpc_result(world.held[index], json_string(opts->text));
}

static void failing(struct xrpc_request *req, void *arg, const void *opts)
{
	xrpc_error(req, -ENOSPC, "no %s left", "space");
}

static void failing_sentence(struct xrpc_request *req, void *arg, const void *opts)
{
	json_t *params = xrpc_request_params(req);
	struct xu_error err = {.code = (int)json_integer_value(json_object_get(params, "code")),
		.text = "a sentence"};

	xrpc_fail(req, &err, json_pack("[s]", xrpc_request_method(req)));
}

static void inner(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct sum_opts *opts = opts_ptr;
	struct sum_opts parsed = sum_defaults;

	if (xrpc_params(req, "inner", sum_params, &parsed, opts->inner)) {
		xrpc_result(req, json_integer(parsed.a));
	}
}

static void plain(struct xrpc_request *req, void *arg, const void *opts)
{
	assert_null(opts);
	xrpc_true(req);
}

static void nothing(struct xrpc_request *req, void *arg, const void *opts)
{
	xrpc_result(req, NULL);
}

static const struct xrpc_method methods[] = {
	{"sum", "Adds.", sum_params, sizeof(struct sum_opts), &sum_defaults, .fn = sum},
	{"later", "Answers later.", sum_params, sizeof(struct sum_opts), .fn = later},
	{"failing", "Fails.", .fn = failing},
	{"failing_sentence", "Fails.", .is_raw = true, .fn = failing_sentence},
	{0},
};

static const struct xrpc_method more_methods[] = {
	{"inner", "Has an object.", sum_params, sizeof(struct sum_opts), .fn = inner},
	{"plain", "Takes nothing.", .fn = plain},
	{"nothing", "Has no memory.", .fn = nothing},
	{0},
};

static struct xrpc_service *service;

static int set_up(void **state)
{
	memset(&world, 0, sizeof(world));
	assert_int_equal(xrpc_service_new(&service), 0);
	assert_int_equal(xrpc_service_add(service, methods, "arg"), 0);
	assert_int_equal(xrpc_service_add(service, more_methods, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	xrpc_service_free(service);
	return 0;
}

/* ---- calling ---- */

struct answer {
	unsigned count;
	bool is_broken;
	char *text;
};

static void on_done(void *arg, char *text, bool is_broken)
{
	struct answer *answer = arg;

	answer->count++;
	answer->text = text;
	answer->is_broken = is_broken;
}

/* Calls and expects exactly this answer at once; NULL: none. */
static void check(const char *call, const char *expected, bool is_broken)
{
	struct answer answer = {0};

	xrpc_call(service, call, strlen(call), on_done, &answer);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.is_broken, is_broken);
	if (expected == NULL) {
		assert_null(answer.text);
	} else {
		assert_non_null(answer.text);
		assert_string_equal(answer.text, expected);
	}
	free(answer.text);
}

#define RESULT(id, value) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":" value "}"
#define ERROR(id, code, text)                                                                      \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code ",\"message\":\"" text "\"" \
	"}}"
#define CALL(method, rest) "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\"" rest "}"
#define NOT_A_REQUEST                                                                              \
	"a request is an object with \\\"jsonrpc\\\": \\\"2.0\\\", a \\\"method\\\" and, if it "   \
	"is "                                                                                      \
	"to be answered, an \\\"id\\\" that is a string or a number"

static void test_call_answers_requests(void **state)
{
	check(CALL("sum", ",\"id\":1,\"params\":{\"a\":2}"), RESULT("1", "7"), false);
	check(CALL("sum", ",\"id\":\"x\",\"params\":{\"a\":2,\"b\":3,\"_why\":0}"),
		RESULT("\"x\"", "5"), false);
	check(CALL("sum", ",\"id\":null,\"params\":{\"a\":2}"), RESULT("null", "7"), false);
	check(CALL("sum", ",\"id\":1.5,\"params\":{\"a\":2}"), RESULT("1.5", "7"), false);
	check(CALL("plain", ",\"id\":1"), RESULT("1", "true"), false);
	check(CALL("plain", ",\"id\":1,\"params\":{}"), RESULT("1", "true"), false);
	check(CALL("plain", ",\"id\":1,\"params\":null"), RESULT("1", "true"), false);
	check(CALL("inner", ",\"id\":1,\"params\":{\"a\":1,\"inner\":{\"a\":9}}"), RESULT("1", "9"),
		false);
}

static void test_call_answers_errors(void **state)
{
	check(CALL("failing", ",\"id\":1"), ERROR("1", "-28", "no space left"), false);
	check(CALL("failing_sentence", ",\"id\":1,\"params\":{\"code\":-16}"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-16,\"message\":\"a "
		"sentence\",\"data\":[\"failing_sentence\"]}}",
		false);
	check(CALL("failing_sentence", ",\"id\":1,\"params\":{\"code\":-22}"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602,\"message\":\"a "
		"sentence\",\"data\":[\"failing_sentence\"]}}",
		false);
	check(CALL("failing_sentence", ",\"id\":1,\"params\":{\"code\":-12}"),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32603,\"message\":\"a "
		"sentence\",\"data\":[\"failing_sentence\"]}}",
		false);
	check(CALL("nothing", ",\"id\":1"), ERROR("1", "-32603", "out of memory for the answer"),
		false);
	check(CALL("no_such", ",\"id\":1"),
		ERROR("1", "-32601", "there is no method 'no_such'; rpc_get_methods lists them"),
		false);
}

static void test_call_refuses_parameters(void **state)
{
	check(CALL("sum", ",\"id\":1"), ERROR("1", "-32602", "'a' is missing: a number"), false);
	check(CALL("sum", ",\"id\":1,\"params\":{\"a\":-1}"),
		ERROR("1", "-32602",
			"a: -1 is not accepted; it takes a whole number from 0 to 1000"),
		false);
	check(CALL("sum", ",\"id\":1,\"params\":{\"a\":1,\"c\":1}"),
		ERROR("1", "-32602", "'c' is not known here; accepted: a, b, text, inner"), false);
	check(CALL("sum", ",\"id\":1,\"params\":[1,2]"),
		ERROR("1", "-32602", "parameters are given by name, in an object { \\u2026 }"),
		false);
	check(CALL("sum", ",\"id\":1,\"params\":3"),
		ERROR("1", "-32602", "parameters are given by name, in an object { \\u2026 }"),
		false);
	check(CALL("plain", ",\"id\":1,\"params\":{\"a\":1}"),
		ERROR("1", "-32602", "plain takes no parameters"), false);
	check(CALL("inner", ",\"id\":1,\"params\":{\"a\":1,\"inner\":{\"a\":\"x\"}}"),
		ERROR("1", "-32602",
			"inner: a: \\\"x\\\" is not accepted; it takes a whole number from 0 to "
			"1000"),
		false);
	assert_int_equal(world.nr_calls, 0);
}

static void test_call_refuses_what_is_no_request(void **state)
{
	check("{}", ERROR("null", "-32600", NOT_A_REQUEST), false);
	check("{\"jsonrpc\":\"1.0\",\"method\":\"plain\",\"id\":4}",
		ERROR("4", "-32600", NOT_A_REQUEST), false);
	check("{\"jsonrpc\":2.0,\"method\":\"plain\",\"id\":4}",
		ERROR("4", "-32600", NOT_A_REQUEST), false);
	check("{\"method\":\"plain\",\"id\":4}", ERROR("4", "-32600", NOT_A_REQUEST), false);
	check("{\"jsonrpc\":\"2.0\",\"method\":7,\"id\":4}", ERROR("4", "-32600", NOT_A_REQUEST),
		false);
	check("{\"jsonrpc\":\"2.0\",\"method\":\"plain\",\"id\":[4]}",
		ERROR("null", "-32600", NOT_A_REQUEST), false);
	check("[]", ERROR("null", "-32600", "a batch needs at least one request"), false);
}

static void test_call_tells_where_json_is_wrong(void **state)
{
	check("{\"jsonrpc\":\"2.0\",\"method\":tru}",
		ERROR("null", "-32700", "line 1, column 29: invalid token near 'tru'"), true);
	check("{\"a\":1,\"a\":2}",
		ERROR("null", "-32700", "line 1, column 10: duplicate object key near '\\\"a\\\"'"),
		true);
	check("{\"a\":\"\xc3\x28\"}",
		ERROR("null", "-32700", "line 1, column 6: unable to decode byte 0xc3 near '\\\"'"),
		true);
	check("{\"a\":1]", ERROR("null", "-32700", "line 1, column 7: '}' expected near ']'"),
		true);
}

static void test_call_answers_no_notification(void **state)
{
	check(CALL("sum", ",\"params\":{\"a\":2}"), NULL, false);
	assert_int_equal(world.nr_calls, 1);
	check(CALL("no_such", ""), NULL, false);
	check("[" CALL("sum", ",\"params\":{\"a\":2}") "," CALL("plain", "") "]", NULL, false);
	assert_int_equal(world.nr_calls, 2);
}

static void test_call_answers_batches_in_order(void **state)
{
	check("[" CALL("sum", ",\"id\":1,\"params\":{\"a\":1}") "," CALL("plain", "") ",3," CALL(
		      "failing", ",\"id\":2") "]",
		"[" RESULT("1", "6") "," ERROR("null", "-32600", NOT_A_REQUEST) "," ERROR(
			"2", "-28", "no space left") "]",
		false);
}

static void test_call_bounds_batches(void **state)
{
	struct answer answer = {0};
	char *text = calloc(1, 64 * (XRPC_BATCH_MAX + 1) + 8), *end = text;
	json_t *list;

	for (unsigned i = 0; i < XRPC_BATCH_MAX; i++) {
		end += sprintf(end, "%c" CALL("plain", ",\"id\":%u"), i == 0 ? '[' : ',', i);
	}
	strcpy(end, "]");
	xrpc_call(service, text, strlen(text), on_done, &answer);
	list = json_loads(answer.text, 0, NULL);
	assert_int_equal(json_array_size(list), XRPC_BATCH_MAX);
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(list, XRPC_BATCH_MAX - 1), "id")),
		XRPC_BATCH_MAX - 1);
	json_decref(list);
	free(answer.text);
	strcpy(end, ",1]");
	check(text, ERROR("null", "-32600", "a batch has at most 256 requests"), false);
	free(text);
}

static void test_call_waits_for_late_answers(void **state)
{
	static const char text[] =
		"[" CALL("later", ",\"id\":1,\"params\":{\"a\":1,\"text\":\"one\"}") "," CALL(
			"plain", ",\"id\":2") "," CALL("later",
			",\"params\":{\"a\":1,\"text\":\"note\"}") "," CALL("later",
			",\"id\":3,\"params\":{\"a\":1,\"text\":\"three\"}") "]";
	struct answer answer = {0};
	char *copy = strdup(text);

	xrpc_call(service, copy, strlen(copy), on_done, &answer);
	memset(copy, 'x', strlen(text)); /* the text is not needed any more */
	free(copy);
	assert_int_equal(answer.count, 0);
	assert_int_equal(world.nr_held, 1); /* the others wait for their turn */
	release(0);
	assert_int_equal(world.nr_held, 2);
	release(1);
	assert_int_equal(world.nr_held, 3);
	assert_int_equal(answer.count, 0);
	release(2);
	assert_int_equal(answer.count, 1);
	assert_string_equal(answer.text, "[" RESULT("1", "\"one\"") "," RESULT(
						 "2", "true") "," RESULT("3", "\"three\"") "]");
	free(answer.text);
}

static void test_calls_run_side_by_side(void **state)
{
	static const char text[] = CALL("later", ",\"id\":1,\"params\":{\"a\":1,\"text\":\"x\"}");
	struct answer first = {0}, second = {0};

	xrpc_call(service, text, strlen(text), on_done, &first);
	xrpc_call(service, text, strlen(text), on_done, &second);
	release(1);
	assert_int_equal(first.count, 0);
	assert_int_equal(second.count, 1);
	release(0);
	assert_int_equal(first.count, 1);
	free(first.text);
	free(second.text);
}

/* Whichever allocation fails, there is one answer: the right one, an error, or none and the end of
 * the connection. */
static void test_call_survives_lack_of_memory(void **state)
{
	static const char text[] = "[" CALL("sum", ",\"id\":1,\"params\":{\"a\":1}") "," CALL(
		"failing", ",\"id\":2") "," CALL("plain", "") "]";
	static const char good[] = "[" RESULT("1", "6") "," ERROR("2", "-28", "no space left") "]";
	unsigned n = 0, nr_none = 0;
	bool has_failed;

	do {
		struct answer answer = {0};

		json_fail_arm(++n);
		xrpc_call(service, text, strlen(text), on_done, &answer);
		has_failed = json_fail_disarm();
		assert_int_equal(answer.count, 1);
		if (answer.text == NULL) {
			assert_true(answer.is_broken);
			nr_none++;
		} else if (strcmp(answer.text, good) != 0) {
			assert_non_null(strstr(answer.text, "\"error\""));
			assert_true(answer.is_broken || strstr(answer.text, "-32603") != NULL ||
				    strstr(answer.text, "could not be made") != NULL);
		}
		free(answer.text);
	} while (has_failed);
	assert_true(nr_none > 5);
}

static void count_method(void *arg, const struct xrpc_method *method)
{
	assert_non_null(method->help);
	++*(unsigned *)arg;
}

static void test_service_lists_its_methods(void **state)
{
	unsigned count = 0;

	xrpc_service_each(service, count_method, &count);
	assert_int_equal(count, ARRAY_SIZE(methods) + ARRAY_SIZE(more_methods) - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_answers_requests),
		cmocka_unit_test(test_call_answers_errors),
		cmocka_unit_test(test_call_refuses_parameters),
		cmocka_unit_test(test_call_refuses_what_is_no_request),
		cmocka_unit_test(test_call_tells_where_json_is_wrong),
		cmocka_unit_test(test_call_answers_no_notification),
		cmocka_unit_test(test_call_answers_batches_in_order),
		cmocka_unit_test(test_call_bounds_batches),
		cmocka_unit_test(test_call_waits_for_late_answers),
		cmocka_unit_test(test_calls_run_side_by_side),
		cmocka_unit_test(test_call_survives_lack_of_memory),
		cmocka_unit_test(test_service_lists_its_methods),
	};
	struct CMUnitTest with_service[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		with_service[i] = tests[i];
		with_service[i].setup_func = set_up;
		with_service[i].teardown_func = tear_down;
	}
	return cmocka_run_group_tests(with_service, NULL, NULL);
}
