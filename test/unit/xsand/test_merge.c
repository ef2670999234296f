/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The merge of the configuration file with what was changed at run time: what the operator has not
 * touched stays as the run time made it, what he has edited is as he wrote it, and nothing is lost
 * without a note.
 */
#include "daemon/xsand/merge.h"
#include "test/unit/xsand/json_fail.h"
#include "test/unit/xsand/model_text.h"

#include <errno.h>

#define UUID1     "'uuid': '11111111-1111-4111-8111-111111111111'"
#define UUID2     "'uuid': '22222222-2222-4222-8222-222222222222'"
#define A         "{'driver': 'null', 'name': 'a', 'size': 1024}"
#define A2        "{'driver': 'null', 'name': 'a', 'size': 2048}"
#define A3        "{'driver': 'null', 'name': 'a', 'size': 4096}"
#define B         "{'driver': 'null', 'name': 'b', 'size': 1024}"
#define C         "{'driver': 'null', 'name': 'c', 'size': 1024}"
#define F         "{'driver': 'file', 'name': 'f', 'filename': '/f'}"
#define DEV(list) "'devices': [" list "]"

struct merge_case {
	const char *what;
	const char *base, *file, *current, *expected;
	const char *notes[4];
};

static void check(const struct merge_case *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct merge_case *c = &table[i];
		json_t *base = model_of(c->base), *file = model_of(c->file);
		json_t *current = model_of(c->current), *expected = model_of(c->expected);
		json_t *notes = json_array(), *merged = NULL;
		struct xu_error err = {0};
		size_t n = 0;

		print_message("%s\n", c->what);
		if (merge_models(base, file, current, &merged, notes, &err) != 0) {
			fail_msg("%s", err.text);
		}
		assert_models_equal(merged, expected);
		for (; n < ARRAY_SIZE(c->notes) && c->notes[n] != NULL; n++) {
			assert_non_null(json_array_get(notes, n));
			assert_string_equal(
				json_string_value(json_array_get(notes, n)), c->notes[n]);
		}
		assert_int_equal(json_array_size(notes), n);
		json_decref(base);
		json_decref(file);
		json_decref(current);
		json_decref(expected);
		json_decref(merged);
		json_decref(notes);
	}
}

#define REPLACES                                                                                   \
	": the configuration file has been edited; its word replaces the change made at run time"

#define MADE       ", " UUID1 ", 'create': false, 'applied': true"
#define S(more)    "{" DEV(A) ", 'lvol_stores': [{'name': 's', 'base_bdev': 'a'" more "}]}"
#define VOLS(more) "{'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': 1" more "}]}"

static void test_merge_of_stores_and_volumes(void **state)
{
	static const struct merge_case table[] = {
		{"the first start", "{}", S(""), "{}", S(""), {0}},
		{"nothing has changed", S(""), S(""), S(MADE), S(MADE), {0}},
		{"edited: it is not made again, and its words count anew", S(""),
			S(", 'space_wait_ms': 5"), S(MADE),
			S(", 'space_wait_ms': 5, 'create': false, " UUID1), {0}},
		{"gone from the file", S(""), "{" DEV(A) "}", S(MADE), "{" DEV(A) "}", {0}},
		{"a volume that nobody touched", VOLS(""), VOLS(""), VOLS(MADE), VOLS(MADE), {0}},
		{"a volume that may be made anew", VOLS(""), VOLS(", 'create': true, " UUID2),
			VOLS(MADE), VOLS(", 'create': true, " UUID2), {0}},
	};

	check(table, ARRAY_SIZE(table));
}

static void test_merge_of_devices(void **state)
{
	static const struct merge_case table[] = {
		{"the first start", "{}", "{" DEV(A) "}", "{}", "{" DEV(A) "}", {0}},
		{"nothing has changed", "{" DEV(A) "}", "{" DEV(A) "}", "{" DEV(A) "}",
			"{" DEV(A) "}", {0}},
		{"made at run time", "{" DEV(A) "}", "{" DEV(A) "}", "{" DEV(A "," B) "}",
			"{" DEV(A "," B) "}", {0}},
		{"deleted at run time", "{" DEV(A "," B) "}", "{" DEV(A "," B) "}", "{" DEV(B) "}",
			"{" DEV(B) "}", {0}},
		{"resized at run time", "{" DEV(A) "}", "{" DEV(A) "}", "{" DEV(A2) "}",
			"{" DEV(A2) "}", {0}},
		{"added by the operator", "{" DEV(A) "}", "{" DEV(A "," C) "}",
			"{" DEV(A "," B) "}", "{" DEV(A "," C "," B) "}", {0}},
		{"removed by the operator", "{" DEV(A "," B) "}", "{" DEV(B) "}",
			"{" DEV(A "," B) "}", "{" DEV(B) "}", {0}},
		{"edited by the operator", "{" DEV(A) "}", "{" DEV(A2) "}", "{" DEV(A) "}",
			"{" DEV(A2) "}", {0}},
		{"edited by both", "{" DEV(A) "}", "{" DEV(A2) "}", "{" DEV(A3) "}",
			"{" DEV(A2) "}", {"devices a" REPLACES}},
		{"edited by both in the same way", "{" DEV(A) "}", "{" DEV(A2) "}", "{" DEV(A2) "}",
			"{" DEV(A2) "}", {0}},
		{"removed by the operator, resized at run time", "{" DEV(A) "}", "{}",
			"{" DEV(A2) "}", "{}", {"devices a" REPLACES}},
		{"edited by the operator, deleted at run time", "{" DEV(A) "}", "{" DEV(A2) "}",
			"{}", "{" DEV(A2) "}", {"devices a" REPLACES}},
		{"the same name by both", "{}", "{" DEV(A) "}", "{" DEV(A2) "}", "{" DEV(A) "}",
			{"devices a" REPLACES}},
	};

	check(table, ARRAY_SIZE(table));
}

/* What was generated stays with the name, whatever else is edited. */
static void test_merge_keeps_identities(void **state)
{
	static const struct merge_case table[] = {
		{"unchanged", "{" DEV(F) "}", "{" DEV(F) "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', 'block_size': "
				"4096, " UUID1 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', 'block_size': "
				"4096, " UUID1 "}") "}",
			{0}},
		{"edited: no conflict, for only the identity differs", "{" DEV(F) "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', 'size': "
				"8192}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', 'block_size': "
				"4096, " UUID1 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', 'size': 8192, "
				"'block_size': 4096, " UUID1 "}") "}",
			{0}},
		{"moved to another file: the block size is chosen again", "{" DEV(F) "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/g'}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', 'block_size': "
				"4096, " UUID1 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/g', " UUID1 "}") "}",
			{0}},
		{"another driver is another device", "{" DEV(F) "}",
			"{" DEV("{'driver': 'null', 'name': 'f', 'size': 512}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID1 "}") "}",
			"{" DEV("{'driver': 'null', 'name': 'f', 'size': 512}") "}", {0}},
		{"the operator gives another one", "{" DEV(F) "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID2 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID1 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID2 "}") "}",
			{0}},
		{"the saved configuration became the file", "{" DEV(F) "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID1 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID1 "}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID1 "}") "}",
			{0}},
	};

	check(table, ARRAY_SIZE(table));
}

#define DEVS DEV(A "," B "," C) ", "

static void test_merge_of_subsystems(void **state)
{
	static const struct merge_case table[] = {
		{"members change independently", "{" DEVS SUB("") "}",
			"{" DEVS SUB(", 'hosts': ['nqn.2026-11.x:h1'], 'serial_number': 'S'") "}",
			"{" DEVS SUB(", 'allow_any_host': true, 'hosts': ['nqn.2026-11.x:h2'], "
				     "'namespaces': [" NS("1", "a") "]") "}",
			"{" DEVS SUB(", 'allow_any_host': true, 'serial_number': 'S', 'hosts': "
				     "['nqn.2026-11.x:h1', 'nqn.2026-11.x:h2'], "
				     "'namespaces': [" NS("1", "a") "]") "}",
			{0}},
		{"a host that the run time forbade stays so",
			"{" SUB(", 'hosts': ['nqn.2026-11.x:h1']") "}",
			"{" SUB(", 'hosts': ['nqn.2026-11.x:h1', 'nqn.2026-11.x:h2']") "}",
			"{" SUB("") "}", "{" SUB(", 'hosts': ['nqn.2026-11.x:h2']") "}", {0}},
		{"a namespace on another device, by both",
			"{" DEVS SUB(", 'namespaces': [" NS("1", "a") "]") "}",
			"{" DEVS SUB(", 'namespaces': [" NS("1", "b") "]") "}",
			"{" DEVS SUB(", 'namespaces': [" NS("1", "c") "]") "}",
			"{" DEVS SUB(", 'namespaces': [" NS("1", "b") "]") "}",
			{"nvmf subsystems nqn.2026-11.x:a namespaces 1" REPLACES}},
		{"listeners, one by each", "{" SUB("") "}",
			"{" SUB(", 'listeners': [{'traddr': '::1'}]") "}",
			"{" SUB(", 'listeners': [{'traddr': '127.0.0.1'}]") "}",
			"{" SUB(", 'listeners': [{'traddr': '::1'}, {'traddr': '127.0.0.1'}]") "}",
			{0}},
		{"the subsystem removed by the operator", "{" SUB("") "}", "{}",
			"{" SUB(", 'hosts': ['nqn.2026-11.x:h1']") "}", "{}",
			{"nvmf subsystems nqn.2026-11.x:a" REPLACES}},
		{"the subsystem deleted at run time", "{" SUB("") "}", "{" SUB("") "}", "{}", "{}",
			{0}},
		{"log level and transport, value by value",
			"{'log': {'level': 'info'}, 'nvmf': {'transport': {'max_queues': 4}}}",
			"{'log': {'level': 'info'}, 'nvmf': {'transport': {'max_queues': 8}}}",
			"{'log': {'level': 'debug'}, 'nvmf': {'transport': {'max_queues': 4, "
			"'max_queue_depth': 32}}}",
			"{'log': {'level': 'debug'}, 'nvmf': {'transport': {'max_queues': 8, "
			"'max_queue_depth': 32}}}",
			{0}},
		{"the level set by both", "{'log': {'level': 'info'}}",
			"{'log': {'level': 'warn'}}", "{'log': {'level': 'debug'}}",
			"{'log': {'level': 'warn'}}", {"log level" REPLACES}},
	};

	check(table, ARRAY_SIZE(table));
}

/* Parts from both hands that do not fit are put right in favour of the file. */
static void test_merge_makes_parts_fit(void **state)
{
	static const struct merge_case table[] = {
		{"a run-time namespace on a device that the operator removed",
			"{" DEV(A) ", " SUB("") "}", "{" SUB("") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("1", "a") "]") "}",
			"{" SUB("") "}",
			{"nvmf subsystems nqn.2026-11.x:a namespaces 1: made at run time and "
			 "dropped, because its device is gone from the configuration file"}},
		{"a device deleted at run time that the operator now exports",
			"{" DEV(A) ", " SUB("") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("1", "a") "]") "}",
			"{" SUB("") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("1", "a") "]") "}",
			{"devices a: it was deleted at run time and is back, because the edited "
			 "configuration file uses it"}},
		{"one device exported by both", "{" DEV(A) ", " SUB("") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("2", "a") "]") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("1", "a") "]") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("2", "a") "]") "}",
			{"nvmf subsystems nqn.2026-11.x:a namespaces 1: made at run time and "
			 "dropped, because the edited configuration file uses its device "
			 "elsewhere"}},
		{"a run-time filter on a device that the operator removed", "{" DEV(A) "}", "{}",
			"{" DEV(A ", {'driver': 'error', 'name': 'e', 'base': 'a'}") "}", "{}",
			{"devices e: dropped, because its base a is gone from the configuration "
			 "file"}},
		{"a filter of the operator on a device deleted at run time", "{" DEV(A) "}",
			"{" DEV(A ", {'driver': 'error', 'name': 'e', 'base': 'a'}") "}", "{}",
			"{" DEV(A ", {'driver': 'error', 'name': 'e', 'base': 'a'}") "}",
			{"devices a: it was deleted at run time and is back, because the edited "
			 "configuration file uses it"}},
		{"a filter of the operator under a run-time namespace", "{" DEV(A) ", " SUB("") "}",
			"{" DEV(A ", {'driver': 'error', 'name': 'e', 'base': 'a'}") ", " SUB(
				"") "}",
			"{" DEV(A) ", " SUB(", 'namespaces': [" NS("1", "a") "]") "}",
			"{" DEV(A ", {'driver': 'error', 'name': 'e', 'base': 'a'}") ", " SUB(
				"") "}",
			{"nvmf subsystems nqn.2026-11.x:a namespaces 1: made at run time and "
			 "dropped, because the edited configuration file uses its device "
			 "elsewhere"}},
	};

	check(table, ARRAY_SIZE(table));
}

/* What cannot be put right is refused with a sentence, and nothing is returned. */
static void test_merge_refuses_contradictions(void **state)
{
	json_t *base = model_of("{" DEVS SUB(", 'max_namespaces': 64") "}");
	json_t *file = model_of("{" DEVS SUB(", 'max_namespaces': 8") "}");
	json_t *current = model_of(
		"{" DEVS SUB(", 'max_namespaces': 64, 'namespaces': [" NS("40", "a") "]") "}");
	json_t *notes = json_array(), *merged = NULL;
	struct xu_error err = {0};

	assert_int_equal(merge_models(base, file, current, &merged, notes, &err), -EINVAL);
	assert_null(merged);
	assert_string_equal(err.text,
		"the configuration file and the changes made at run time contradict each other: "
		"nvmf.subsystems[0].namespaces[0].nsid: 40 is not accepted; it takes 1 to 8 "
		"(max_namespaces of the subsystem)");
	json_decref(base);
	json_decref(file);
	json_decref(current);
	json_decref(notes);
}

/* The three models are only read, and the result shares nothing that can be changed with them. */
static void test_merge_leaves_its_models_alone(void **state)
{
	static const char text[] =
		"{" DEV(A "," F) ", " SUB(", 'namespaces': [" NS("1", "a") "]") "}";
	json_t *base = model_of(text), *file = model_of(text), *current = model_of(text);
	json_t *copy = json_deep_copy(base), *notes = json_array(), *merged = NULL;
	struct xu_error err = {0};

	assert_int_equal(merge_models(base, file, current, &merged, notes, &err), 0);
	json_object_set_new(model_find_device(merged, "a"), "size", json_integer(7));
	model_remove_device(merged, "f");
	json_object_clear(json_object_get(model_subsystem(merged, "nqn.2026-11.x:a"), "hosts"));
	assert_models_equal(base, copy);
	assert_models_equal(file, copy);
	assert_models_equal(current, copy);
	json_decref(base);
	json_decref(file);
	json_decref(current);
	json_decref(copy);
	json_decref(merged);
	json_decref(notes);
}

/* Whichever allocation fails, the merge is refused or right. */
static void test_merge_survives_lack_of_memory(void **state)
{
	json_t *base = model_of("{" DEV(A "," F) ", " SUB("") "}");
	json_t *file = model_of(
		"{" DEV(A2 "," F ",{'driver': 'error', 'name': 'e', 'base': 'c'}," C) ", " SUB(
			", 'namespaces': [" NS("2", "f") "]") "}");
	json_t *current = model_of("{" DEV(
		A3 ",{'driver': 'file', 'name': 'f', 'filename': '/f', " UUID1
		   "}," B) ", " SUB(", 'namespaces': [" NS("1", "f") "," NS("3", "b") "]") "}");
	json_t *notes = json_array(), *good = NULL;
	struct xu_error err = {0};
	unsigned n = 0, nr_failed = 0;
	bool has_failed;

	assert_int_equal(merge_models(base, file, current, &good, notes, &err), 0);
	assert_int_equal(json_array_size(notes), 2);
	do {
		json_t *merged = NULL, *some = json_array();
		int rc;

		json_fail_arm(++n);
		rc = merge_models(base, file, current, &merged, some, &err);
		has_failed = json_fail_disarm();
		if (rc == 0) {
			assert_models_equal(merged, good);
			assert_true(json_equal(some, notes));
		} else {
			assert_null(merged);
			nr_failed++;
		}
		json_decref(merged);
		json_decref(some);
	} while (has_failed);
	assert_true(nr_failed > 100);
	json_decref(base);
	json_decref(file);
	json_decref(current);
	json_decref(good);
	json_decref(notes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge_of_stores_and_volumes),
		cmocka_unit_test(test_merge_of_devices),
		cmocka_unit_test(test_merge_keeps_identities),
		cmocka_unit_test(test_merge_of_subsystems),
		cmocka_unit_test(test_merge_makes_parts_fit),
		cmocka_unit_test(test_merge_refuses_contradictions),
		cmocka_unit_test(test_merge_leaves_its_models_alone),
		cmocka_unit_test(test_merge_survives_lack_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
