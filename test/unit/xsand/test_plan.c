/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps from one model to another: which, in which order, and what takes a restart. */
#include "daemon/xsand/plan.h"
#include "test/unit/xsand/model_text.h"

#include <errno.h>

struct plan_case {
	const char *from, *to;
	const char *steps[16];
	const char *restart[4];
};

static void check(const struct plan_case *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct plan_case *c = &table[i];
		json_t *from = model_of(c->from), *to = model_of(c->to);
		struct plan plan;
		size_t n = 0;

		assert_int_equal(plan_make(&plan, NULL, from, to), 0);
		json_decref(from); /* what is made changes while a plan is carried out */
		for (; n < ARRAY_SIZE(c->steps) && c->steps[n] != NULL; n++) {
			json_t *text;

			assert_true(n < plan.nr_steps);
			text = plan_describe(&plan.steps[n]);
			assert_string_equal(json_string_value(text), c->steps[n]);
			json_decref(text);
		}
		assert_int_equal(plan.nr_steps, n);
		for (n = 0; n < ARRAY_SIZE(c->restart) && c->restart[n] != NULL; n++) {
			assert_string_equal(
				json_string_value(json_array_get(plan.restart, n)), c->restart[n]);
		}
		assert_int_equal(json_array_size(plan.restart), n);
		plan_fini(&plan);
		json_decref(to);
	}
}

#define N(name)          "{'driver': 'null', 'name': '" name "', 'size': 1024}"
#define E(name, base)    "{'driver': 'error', 'name': '" name "', 'base': '" base "'}"
#define DEV(list)        "'devices': [" list "]"
#define L(address, port) "{'traddr': '" address "', 'trsvcid': '" port "'}"
#define NQN              "nqn.2026-11.x:a"
#define FULL                                                                                       \
	"{" DEV(N("n") "," E("e", "n") "," N("m")) ", " SUB(                                       \
		", 'hosts': ['nqn.2026-11.x:h'], 'namespaces': [" NS("1", "e") "," NS(             \
			"2", "m") "], 'listeners': [" L("127.0.0.1", "4420") "]") "}"

static void test_plan_builds_from_nothing_and_takes_all_away(void **state)
{
	static const struct plan_case table[] = {
		{"{}", "{}", {0}, {0}},
		{FULL, FULL, {0}, {0}},
		/* A filter may be listed before its base. */
		{"{}", "{" DEV(E("f", "e") "," E("e", "n") "," N("n")) "}",
			{"add device n", "add device e", "add device f"}, {0}},
		{"{}", FULL,
			{"add device n", "add device m", "add device e", "add subsystem " NQN,
				"allow host nqn.2026-11.x:h to use " NQN, "add namespace 1 to " NQN,
				"add namespace 2 to " NQN,
				"add listener tcp 127.0.0.1 4420 to " NQN},
			{0}},
		{FULL, "{}",
			{"remove subsystem " NQN, "remove device e", "remove device n",
				"remove device m"},
			{0}},
	};

	check(table, ARRAY_SIZE(table));
}

#define UUID          "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define NU(name)      "{'driver': 'null', 'name': '" name "', 'size': 1024, 'uuid': '" UUID "'}"
#define ON_UUID(base) "{" DEV(NU(base) "," E("f", "e") "," E("e", UUID)) ", " USE_OF_F "}"
#define USE_OF_F      SUB(", 'namespaces': [" NS("1", "f") "]")

/* A name that comes to mean another device: what stands on it goes and comes with it. */
static void test_plan_makes_anew_what_stands_on_another_device(void **state)
{
	static const struct plan_case table[] = {
		{ON_UUID("m"), ON_UUID("n"),
			{"remove namespace 1 from " NQN, "remove device f", "remove device e",
				"remove device m", "add device n", "add device e", "add device f",
				"add namespace 1 to " NQN},
			{0}},
		/* A name that was a device's is a volume's now, and the other way round. */
		{"{" DEV(N("s/v")) ", " SUB(", 'namespaces': [" NS("1", "s/v") "]") "}",
			"{" SUB(", 'namespaces': [" NS("1", "s/v") "]") "}",
			{"remove namespace 1 from " NQN, "remove device s/v",
				"add namespace 1 to " NQN},
			{0}},
		{"{" SUB(", 'namespaces': [" NS("1", "s/v") "]") "}",
			"{" DEV(N("s/v")) ", " SUB(", 'namespaces': [" NS("1", "s/v") "]") "}",
			{"remove namespace 1 from " NQN, "add device s/v",
				"add namespace 1 to " NQN},
			{0}},
	};

	check(table, ARRAY_SIZE(table));
}

#define ABC           N("a") "," N("b") "," N("c")
#define R(name, list) R2(name, list, "")
#define R2(name, list, more)                                                                       \
	"{'driver': 'raid', 'name': '" name "', 'level': 'raid1', 'members': [" list "]" more "}"
#define USED_MEMBERS DEV(ABC "," R("o", "'a', 'b', 'c'"))

static void test_plan_takes_members_off_before_they_go(void **state)
{
	static const struct plan_case table[] = {
		/* The array has three roles then, or as many as the file says. */
		{"{" USED_MEMBERS "}", "{" DEV(N("a") "," N("b") "," R("o", "'a', 'b'")) "}",
			{"take member c off o", "remove device c", "change device o"}, {0}},
		{"{" DEV(ABC "," R2("o", "'a', 'b', 'c'", ", 'raid_disks': 2")) "}",
			"{" DEV(N("a") "," N("b") "," R2("o", "'a', 'b'", ", 'raid_disks': 2")) "}",
			{"take member c off o", "remove device c"}, {0}},
		/* What stands below goes too; one that stays waits for the change. */
		{"{" DEV(ABC "," E("e", "c") "," R("o", "'a', 'b', 'e'")) "}",
			"{" DEV(N("a") "," N("b") "," R("o", "'a'")) "}",
			{"take member e off o", "remove device e", "remove device c",
				"change device o"},
			{0}},
		/* Another device has taken its place, maybe with its file or UUID. */
		{"{" DEV(N("a") "," NU("b") "," R("o", "'b', 'a'")) "}",
			"{" DEV(N("a") "," NU("d") "," R("o", "'a', 'd'")) "}",
			{"take member b off o", "remove device b", "add device d",
				"change device o"},
			{0}},
		/* By the same UUID it is another: all is made anew. */
		{"{" DEV(N("a") "," NU("b") "," R("o", "'a', '" UUID "'")) "}",
			"{" DEV(N("a") "," NU("d") "," R("o", "'a', '" UUID "'")) "}",
			{"remove device o", "remove device b", "add device d", "add device o"},
			{0}},
		/* It stays, and others take it: a filter, another array, each other. */
		{"{" USED_MEMBERS "}", "{" DEV(ABC "," E("e", "c") "," R("o", "'a', 'b'")) "}",
			{"take member c off o", "add device e", "change device o"}, {0}},
		{"{" DEV(R("o", "'a', 'b'") "," R("p", "'c', 'd'") "," ABC "," N("d")) "}",
			"{" DEV(R("o", "'a', 'd'") "," R("p", "'c', 'b'") "," ABC "," N("d")) "}",
			{"take member b off o", "take member d off p", "change device o",
				"change device p"},
			{0}},
		{"{" DEV(ABC "," R2("o", "'a', 'b', 'c'", ", 'write_mostly': ['b', 'c']")) "}",
			"{" DEV(R2("o", "'a'", ", 'raid_disks': 3, 'write_mostly': []") "," N(
				"a")) "}",
			{"take member b off o", "take member c off o", "remove device b",
				"remove device c"},
			{0}},
	};

	check(table, ARRAY_SIZE(table));
}

static void test_plan_leaves_what_waits_for_a_restart_its_bases(void **state)
{
	static const struct plan_case table[] = {
		{"{" DEV(N("n") "," E("e", "n") "," E("f", "e")) "}",
			"{" DEV(N("m") "," E("f", "m")) "}", {"add device m"},
			{"device e: removal", "device n: removal", "device f: base"}},
		/* It would lose all its members. */
		{"{" DEV(N("a") "," N("b") "," R("o", "'a', 'b'")) "}",
			"{" DEV(N("c") "," R("o", "'c'")) "}", {"add device c"},
			{"device a: removal", "device b: removal", "device o: members"}},
		/* What lies below and can change does. */
		{"{" DEV(E("e", "o") "," N("a") "," N("b") "," R("o", "'a', 'b'")) "}",
			"{" DEV(N("n") "," E("e", "n") "," N("a") "," R("o", "'a'")) "}",
			{"take member b off o", "remove device b", "add device n",
				"change device o"},
			{"device e: base"}},
	};

	check(table, ARRAY_SIZE(table));
}

static void test_plan_changes_what_differs_only(void **state)
{
	static const struct plan_case table[] = {
		{"{" DEV(N("n")) "}", "{" DEV("{'driver': 'null', 'name': 'n', 'size': 2048}") "}",
			{"change device n"}, {0}},
		{"{" DEV(N("n") ", {'driver': 'delay', 'name': 'd', 'base': 'n'}") "}",
			"{" DEV(N("n") ", {'driver': 'delay', 'name': 'd', 'base': 'n', "
				       "'avg_read_latency_us': 5}") "}",
			{"change device d"}, {0}},
		{"{" DEV(N("n")) ", " SUB(", 'namespaces': [" NS("1", "n") "]") "}",
			"{" DEV(N("n")) ", " SUB(", 'namespaces': [{'nsid': 1, 'device': 'n', "
						 "'read_only': true}]") "}",
			{"remove namespace 1 from " NQN, "add namespace 1 to " NQN}, {0}},
		/* What a device leaves comes before it goes, what it gets after it has come. */
		{"{" DEV(N("n")) ", " SUB(", 'namespaces': [" NS("1", "n") "]") "}",
			"{" DEV(N("m")) ", " SUB(", 'namespaces': [" NS("1", "m") "]") "}",
			{"remove namespace 1 from " NQN, "remove device n", "add device m",
				"add namespace 1 to " NQN},
			{0}},
		{"{" SUB(", 'listeners': [{'traddr': '::', 'advertise': '::1'}]") "}",
			"{" SUB(", 'listeners': [{'traddr': '::', 'advertise': '::2'}]") "}",
			{"remove listener tcp :: 4420 from " NQN,
				"add listener tcp :: 4420 to " NQN},
			{0}},
		/* New hosts are allowed before others lose their right. */
		/* What a registry has set comes before anybody can connect. */
		{"{}",
			"{" SUB(", 'registry': {'::1 4420': {'queue_depth': 9}}, "
				"'listeners': [{'traddr': '::1'}]") "}",
			{"add subsystem " NQN, "set what the registry wants of " NQN,
				"add listener tcp ::1 4420 to " NQN},
			{0}},
		{"{" SUB(", 'registry': {'::1 4420': {'queue_depth': 9}}") "}", "{" SUB("") "}",
			{"set what the registry wants of " NQN}, {0}},
		{"{" SUB(", 'allow_any_host': true, 'hosts': ['nqn.2026-11.x:old']") "}",
			"{" SUB(", 'hosts': ['nqn.2026-11.x:new']") "}",
			{"allow host nqn.2026-11.x:new to use " NQN, "set allow_any_host of " NQN,
				"forbid host nqn.2026-11.x:old to use " NQN},
			{0}},
		{"{'log': {'level': 'info'}}", "{'log': {'level': 'warn'}}", {"set the log level"},
			{0}},
		{"{'log': {'level': 'info'}}", "{}", {0}, {0}},
		{"{'log': {'level': 'debug'}}", "{}", {"set the log level"}, {0}},
		{"{}", "{'nvmf': {'transport': {'max_queues': 3}}}",
			{"set the options of the transport"}, {0}},
	};

	check(table, ARRAY_SIZE(table));
}

static void test_plan_names_what_takes_a_restart(void **state)
{
	static const struct plan_case table[] = {
		{"{" SUB("") "}",
			"{'nvmf': {'transport': {'max_queues': 3}, 'subsystems': [{'nqn': '" NQN
			"'}]}}",
			{0}, {"nvmf.transport.max_queues"}},
		{"{'nvmf': {'transport': {'max_queues': 3}, 'subsystems': [{'nqn': '" NQN "'}]}}",
			"{" SUB("") "}", {0}, {"nvmf.transport.max_queues"}},
		{"{" SUB(", 'serial_number': 'A', 'max_namespaces': 8") "}",
			"{" SUB(", 'serial_number': 'B', 'model_number': 'M'") "}", {0},
			{"subsystem " NQN ": serial_number", "subsystem " NQN ": model_number",
				"subsystem " NQN ": max_namespaces"}},
		{"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/f'}") "}",
			"{" DEV("{'driver': 'file', 'name': 'f', 'filename': '/g', 'size': "
				"512}") "}",
			{0}, {"device f: filename"}},
		{"{" DEV(N("n")) "}",
			"{" DEV("{'driver': 'malloc', 'name': 'n', 'size': 1024}") "}", {0},
			{"device n: driver"}},
		/* Latencies are a delay device's only. */
		{"{" DEV(N("n")) "}",
			"{" DEV("{'driver': 'null', 'name': 'n', 'size': 1024, 'zero_reads': "
				"false}") "}",
			{0}, {"device n: zero_reads"}},
	};

	check(table, ARRAY_SIZE(table));
}

static void test_model_remove_device_takes_its_users_along(void **state)
{
	json_t *model = model_of(FULL);
	json_t *expected = model_of(
		"{" DEV(N("m")) ", " SUB(", 'hosts': ['nqn.2026-11.x:h'], 'namespaces': [" NS(
			"2", "m") "], 'listeners': [" L("127.0.0.1", "4420") "]") "}");

	assert_int_equal(model_remove_device(model, "x"), -ENOENT);
	assert_int_equal(model_remove_device(model, "n"), 0);
	assert_models_equal(model, expected);
	json_decref(model);
	json_decref(expected);
}

static void make_uuid(void *arg, char text[37])
{
	snprintf(text, 37, "00000000-0000-4000-8000-%012u", ++*(unsigned *)arg);
}

static void test_model_make_uuids_fills_gaps(void **state)
{
	json_t *model = model_of("{" DEV(N("a") ", {'driver': 'malloc', 'name': 'b', 'size': 512, "
						"'uuid': '11111111-1111-4111-8111-111111111111'}"
						"," E("c", "a")) "}");
	unsigned count = 0;

	assert_int_equal(model_make_uuids(model, make_uuid, &count), 0);
	assert_int_equal(count, 2);
	assert_ptr_equal(model_find_device(model, "00000000-0000-4000-8000-000000000001"),
		model_find_device(model, "a"));
	assert_ptr_equal(model_find_device(model, "11111111-1111-4111-8111-111111111111"),
		model_find_device(model, "b"));
	assert_ptr_equal(model_find_device(model, "00000000-0000-4000-8000-000000000002"),
		model_find_device(model, "c"));
	assert_int_equal(model_make_uuids(model, make_uuid, &count), 0);
	assert_int_equal(count, 2);
	json_decref(model);
}

#define ST(name, base)  "{'name': '" name "', 'base_bdev': '" base "'}"
#define V(name, store)  "{'name': '" name "', 'lvs_name': '" store "', 'size_mb': 1}"
#define LVOLS(st, list) "'lvol_stores': [" st "], 'lvol_volumes': [" list "]"

static void test_plan_makes_stores_and_volumes_behind_devices(void **state)
{
	static const struct plan_case table[] = {
		/* A store on a volume waits for that; what the file does not name goes nowhere. */
		{"{}",
			"{" LVOLS(ST("t", "s/v") "," ST("s", "n"),
				V("w", "t") "," V("v", "s")) ", " DEV(N("n")) "}",
			{"add device n", "make store s", "make volume s/v", "make store t",
				"make volume t/w"},
			{0}},
		{"{" LVOLS(ST("s", "n"), V("v", "s")) ", " DEV(N("n")) "}", "{" DEV(N("n")) "}",
			{0}, {0}},
		{"{" LVOLS(ST("s", "n"), V("v", "s")) ", " DEV(N("n")) "}", "{}",
			{"remove device n"}, {0}},
		{"{" LVOLS(ST("s", "n"), V("v", "s")) ", " DEV(N("n")) "}",
			"{" LVOLS(ST("s", "n"), V("v", "s") "," V("w", "s")) ", " DEV(N("n")) "}",
			{"make volume s/w"}, {0}},
		/* What a store has is looked at again with it. */
		{"{" LVOLS(ST("s", "m"), V("v", "s")) "," DEV(N("m") "," N("n")) "}",
			"{" LVOLS(ST("s", "n"), V("v", "s")) "," DEV(N("m") "," N("n")) "}",
			{"make store s", "make volume s/v"}, {0}},
		/* A volume of a store that the file does not name, and a namespace behind it. */
		{"{}",
			"{'lvol_volumes': [" V("v", "x") "], " SUB(
				", 'namespaces': [" NS("1", "x/v") "]") "}",
			{"make volume x/v", "add subsystem " NQN, "add namespace 1 to " NQN}, {0}},
	};

	check(table, ARRAY_SIZE(table));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plan_makes_stores_and_volumes_behind_devices),
		cmocka_unit_test(test_plan_builds_from_nothing_and_takes_all_away),
		cmocka_unit_test(test_plan_makes_anew_what_stands_on_another_device),
		cmocka_unit_test(test_plan_takes_members_off_before_they_go),
		cmocka_unit_test(test_plan_leaves_what_waits_for_a_restart_its_bases),
		cmocka_unit_test(test_plan_changes_what_differs_only),
		cmocka_unit_test(test_plan_names_what_takes_a_restart),
		cmocka_unit_test(test_model_remove_device_takes_its_users_along),
		cmocka_unit_test(test_model_make_uuids_fills_gaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
