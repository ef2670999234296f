/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/mgmt/raid.c: arrays by JSON-RPC, called in the process as a client's texts would be.
 */
#include "lib/xbdev/mgmt/mgmt.h"
#include "test/unit/xbdev/harness.h"

struct world {
	struct harness h;
	struct xbdev_mgmt mgmt;
	struct xrpc_service *service;
	bool is_done;
	json_t *answer;
};

static void start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, 1, 1);
	w->mgmt.ctx = w->h.ctx;
	assert_int_equal(xrpc_service_new(&w->service), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_raid_methods, &w->mgmt), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_raid_look_methods, &w->mgmt), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_raid_manage_methods, &w->mgmt), 0);
	for (int i = 0; i < 6; i++) {
		harness_create(
			&w->h, "malloc", "{'name':'d%d','size':8388608,'block_size':512}", i);
	}
}

static void stop(struct world *w)
{
	json_decref(w->answer);
	xrpc_service_free(w->service);
	harness_stop(&w->h);
}

static void on_answer(void *arg, char *text, bool is_broken)
{
	struct world *w = arg;

	assert_false(is_broken);
	w->answer = json_loads(text, 0, NULL);
	free(text);
	w->is_done = true;
}

/* The answer's "result" or "error", borrowed until the next call; parameters have ' for ". */
static json_t *call(struct world *w, const char *part, const char *method, const char *params)
{
	char text[1024], *at;

	snprintf(text, sizeof(text), "{'jsonrpc':'2.0','id':1,'method':'%s','params':%s}", method,
		params);
	for (at = text; *at != '\0'; at++) {
		*at = *at == '\'' ? '"' : *at;
	}
	json_decref(w->answer);
	w->answer = NULL;
	w->is_done = false;
	xrpc_call(w->service, text, strlen(text), on_answer, w);
	harness_wait(&w->h, w->is_done);
	if (json_object_get(w->answer, part) == NULL) {
		char *answer = json_dumps(w->answer, 0);

		fail_msg("%s %s: %s", method, params, answer);
	}
	return json_object_get(w->answer, part);
}

static json_t *result(struct world *w, const char *method, const char *params)
{
	return call(w, "result", method, params);
}

static int error(struct world *w, const char *method, const char *params)
{
	return (int)json_integer_value(json_object_get(call(w, "error", method, params), "code"));
}

static const char *text_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t number_of(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static json_t *detail(struct world *w)
{
	return result(w, "bdev_raid_get_detail", "{'name':'md0'}");
}

static void wait_for_rest(struct world *w)
{
	for (int i = 0; i < 1000000; i++) {
		if (strcmp(text_of(json_object_get(detail(w), "sync"), "action"), "idle") == 0) {
			return;
		}
		harness_poll(&w->h);
	}
	fail_msg("the array does not come to rest");
}

/* What is not on the members is in the entry of the array, by which it is made again. */
static void test_spare_group_and_priority_are_in_the_entry(void **state)
{
	struct xbdev_device *dev;
	struct world w;
	json_t *entry;

	start(&w);
	result(&w, "bdev_raid_create",
		"{'name':'md0','raid_level':'raid1','base_bdevs':['d0','d1']}");
	dev = xbdev_device_find(w.h.ctx, "md0");
	entry = dev->ops->config(dev);
	assert_null(json_object_get(entry, "spare_group"));
	assert_null(json_object_get(entry, "priority"));
	json_decref(entry);
	result(&w, "bdev_raid_set_options", "{'name':'md0','spare_group':'shelf','priority':6}");
	assert_string_equal(text_of(detail(&w), "spare_group"), "shelf");
	assert_int_equal(number_of(detail(&w), "priority"), 6);
	entry = dev->ops->config(dev);
	assert_string_equal(text_of(entry, "spare_group"), "shelf");
	assert_int_equal(number_of(entry, "priority"), 6);
	wait_for_rest(&w);
	harness_remove(&w.h, dev);
	/* By its entry, as after a restart. */
	json_object_del(entry, "driver");
	{
		char *text = json_dumps(entry, 0);

		dev = harness_create(&w.h, "raid", "%s", text);
		free(text);
	}
	json_decref(entry);
	assert_string_equal(text_of(detail(&w), "spare_group"), "shelf");
	assert_int_equal(number_of(detail(&w), "priority"), 6);
	result(&w, "bdev_raid_set_options", "{'name':'md0','spare_group':'none'}");
	assert_string_equal(text_of(detail(&w), "spare_group"), "");
	assert_int_equal(number_of(detail(&w), "priority"), 6);
	assert_int_equal(error(&w, "bdev_raid_set_options",
				 "{'name':'md0','spare_group':"
				 "'a name that is longer than any group can have'}"),
		-32602);
	assert_int_equal(error(&w, "bdev_raid_set_options", "{'name':'md0','priority':8}"), -32602);
	stop(&w);
}

static void test_write_behind_is_made_and_told(void **state)
{
	struct world w;
	json_t *disk, *made;

	start(&w);
	assert_int_equal(error(&w, "bdev_raid_create",
				 "{'name':'md0','raid_level':'raid1','base_bdevs':['d0','d1'],"
				 "'bitmap_chunk_kb':64,'write_behind':16,'write_mostly':['d2']}"),
		-32602);
	assert_int_equal(error(&w, "bdev_raid_create",
				 "{'name':'md0','raid_level':'raid1','base_bdevs':['d0','d1'],"
				 "'write_behind':16,'write_mostly':['d1']}"),
		-32602);
	made = result(&w, "bdev_raid_create",
		"{'name':'md0','raid_level':'raid1','base_bdevs':['d0','d1'],"
		"'bitmap_chunk_kb':64,'write_behind':16,'write_mostly':['d1']}");
	assert_true(json_is_true(made));
	assert_int_equal(number_of(detail(&w), "write_behind"), 16);
	assert_int_equal(number_of(detail(&w), "writes_behind"), 0);
	disk = json_array_get(json_object_get(detail(&w), "disks"), 1);
	assert_true(json_object_get(disk, "is_write_mostly") == json_true());
	result(&w, "bdev_raid_set_member",
		"{'raid_bdev':'md0','base_bdev':'d1','write_mostly':false}");
	disk = json_array_get(json_object_get(detail(&w), "disks"), 1);
	assert_true(json_object_get(disk, "is_write_mostly") == json_false());
	result(&w, "bdev_raid_set_member",
		"{'raid_bdev':'md0','base_bdev':'d0','write_mostly':true}");
	assert_true(json_is_true(json_object_get(
		result(&w, "bdev_raid_examine", "{'name':'d0'}"), "is_write_mostly")));
	assert_int_equal(error(&w, "bdev_raid_set_member",
				 "{'raid_bdev':'md0','base_bdev':'d5','write_mostly':true}"),
		-ENOENT);
	stop(&w);
}

static void test_array_is_made_looked_at_and_assembled_again(void **state)
{
	struct world w;
	json_t *object;

	start(&w);
	object = result(&w, "bdev_raid_create",
		"{'name':'md0','raid_level':'raid5','base_bdevs':['d0','d1','d2'],'spares':['d3'],"
		"'strip_size_kb':64,'uuid':'01234567-89ab-cdef-0011-223344556677'}");
	assert_true(json_is_true(object));
	wait_for_rest(&w);
	object = detail(&w);
	assert_string_equal(text_of(object, "raid_level"), "raid5");
	assert_string_equal(text_of(object, "layout"), "left-symmetric");
	assert_string_equal(text_of(object, "uuid"), "01234567-89ab-cdef-0011-223344556677");
	assert_int_equal(number_of(object, "chunk_size"), 65536);
	assert_int_equal(number_of(object, "active_disks"), 3);
	assert_int_equal(number_of(object, "spare_disks"), 1);
	assert_int_equal(json_array_size(json_object_get(object, "disks")), 4);

	object = json_array_get(result(&w, "bdev_raid_get_bdevs", "{'category':'online'}"), 0);
	assert_string_equal(text_of(object, "name"), "md0");
	assert_string_equal(text_of(object, "state"), "online");
	assert_int_equal(number_of(object, "strip_size_kb"), 64);
	assert_int_equal(number_of(object, "num_base_bdevs_operational"), 3);
	assert_int_equal(json_array_size(json_object_get(object, "base_bdevs_list")), 3);
	assert_int_equal(
		json_array_size(result(&w, "bdev_raid_get_bdevs", "{'category':'offline'}")), 0);

	object = result(&w, "bdev_raid_examine", "{'name':'d1'}");
	assert_string_equal(text_of(object, "role"), "Active device 1");
	assert_string_equal(text_of(object, "used_by"), "a RAID array");
	assert_int_equal(error(&w, "bdev_raid_zero_superblock", "{'name':'d1'}"), -EBUSY);

	result(&w, "bdev_raid_delete", "{'name':'md0'}");
	assert_int_equal(json_array_size(result(&w, "bdev_raid_get_bdevs", "{}")), 0);
	assert_int_equal(error(&w, "bdev_raid_assemble", "{'name':'md0','base_bdevs':['d0','d2']}"),
		-EAGAIN);
	result(&w, "bdev_raid_assemble",
		"{'name':'md0','base_bdevs':['d3','d2','d0'],'raid_level':'5','run':true}");
	wait_for_rest(&w);
	assert_int_equal(number_of(detail(&w), "active_disks"), 3); /* the spare serves */
	result(&w, "bdev_raid_zero_superblock", "{'name':'d1'}");
	assert_int_equal(error(&w, "bdev_raid_examine", "{'name':'d1'}"), -ENOENT);
	stop(&w);
}

static void test_members_are_failed_replaced_and_removed(void **state)
{
	const json_t *disks;
	struct world w;

	start(&w);
	result(&w, "bdev_raid_create",
		"{'name':'md0','raid_level':'1','base_bdevs':['d0','d1'],'assume_clean':true}");
	result(&w, "bdev_raid_add_base_bdev", "{'raid_bdev':'md0','base_bdev':'d2'}");
	result(&w, "bdev_raid_fail", "{'raid_bdev':'md0','base_bdev':'d1'}");
	wait_for_rest(&w);
	assert_int_equal(number_of(detail(&w), "active_disks"), 2);
	assert_int_equal(number_of(detail(&w), "failed_disks"), 1);
	result(&w, "bdev_raid_remove_base_bdev", "{'name':'d1'}");
	result(&w, "bdev_raid_replace", "{'raid_bdev':'md0','base_bdev':'d0','new_bdev':'d3'}");
	wait_for_rest(&w);
	assert_string_equal(
		text_of(json_array_get(json_object_get(detail(&w), "disks"), 0), "name"), "d3");
	result(&w, "bdev_raid_add_base_bdev",
		"{'raid_bdev':'md0','base_bdev':'d4','write_mostly':true}");
	disks = json_object_get(detail(&w), "disks");
	assert_true(json_is_true(json_object_get(
		json_array_get(disks, json_array_size(disks) - 1), "is_write_mostly")));
	assert_int_equal(error(&w, "bdev_raid_replace",
				 "{'raid_bdev':'md0','base_bdev':'d3','new_bdev':'d2'}"),
		-EBUSY); /* that one serves in another place */
	harness_create(&w.h, "malloc", "{'name':'b','size':8388608,'block_size':4096}");
	assert_int_equal(
		error(&w, "bdev_raid_add_base_bdev", "{'raid_bdev':'md0','base_bdev':'b'}"),
		-32602);
	result(&w, "bdev_raid_remove_base_bdev", "{'name':'d4'}");
	result(&w, "bdev_raid_remove_base_bdev", "{'name':'d2'}"); /* one that serves */
	assert_true(json_is_true(json_object_get(detail(&w), "degraded")));
	assert_int_equal(error(&w, "bdev_raid_remove_base_bdev", "{'name':'d3'}"), -EBUSY);
	assert_int_equal(error(&w, "bdev_raid_remove_base_bdev", "{'name':'d5'}"), -EINVAL);
	stop(&w);
}

static void test_options_are_set_and_scrubs_begin(void **state)
{
	struct world w;
	json_t *sync;

	start(&w);
	result(&w, "bdev_raid_create",
		"{'name':'md0','raid_level':'raid10','base_bdevs':['d0','d1','d2','d3'],"
		"'layout':'far=2'}");
	result(&w, "bdev_raid_set_options",
		"{'name':'md0','speed_min':100,'speed_max':2000,'rebuild':'stop'}");
	wait_for_rest(&w);
	sync = json_object_get(detail(&w), "sync");
	assert_int_equal(number_of(sync, "speed_min"), 100);
	assert_int_equal(number_of(sync, "speed_max"), 2000);
	assert_true(json_is_true(json_object_get(sync, "frozen")));
	assert_true(json_is_true(json_object_get(sync, "resync_due")));
	result(&w, "bdev_raid_set_options",
		"{'name':'md0','speed_min':0,'speed_max':0,'rebuild':'start'}");
	wait_for_rest(&w);
	result(&w, "bdev_raid_check", "{'name':'md0'}");
	wait_for_rest(&w);
	result(&w, "bdev_raid_check", "{'name':'md0','repair':true}");
	wait_for_rest(&w);
	assert_string_equal(text_of(detail(&w), "layout"), "far=2");
	result(&w, "bdev_raid_set_options", "{'name':'md0','access':'read-only'}");
	assert_true(json_is_true(json_object_get(detail(&w), "read_only")));
	assert_int_equal(error(&w, "bdev_raid_check", "{'name':'md0'}"), -EROFS);
	result(&w, "bdev_raid_set_options", "{'name':'md0','access':'read-write'}");
	stop(&w);
}

static void test_wrong_parameters_are_refused(void **state)
{
	static const struct {
		const char *method, *params;
		int code;
	} calls[] = {
		{"bdev_raid_create", "{'name':'md0','raid_level':'raid3','base_bdevs':['d0']}",
			-32602},
		{"bdev_raid_create", "{'name':'md0','raid_level':'raid1','base_bdevs':'d0'}",
			-32602},
		{"bdev_raid_create", "{'name':'md0','raid_level':'raid1','base_bdevs':[7]}",
			-32602},
		{"bdev_raid_create",
			"{'name':'md0','raid_level':'raid1','base_bdevs':['d0','d1'],"
			"'superblock':false}",
			-EOPNOTSUPP},
		{"bdev_raid_create",
			"{'name':'md0','raid_level':'raid5','base_bdevs':['d0','d1','d2'],"
			"'layout':'sideways'}",
			-32602},
		{"bdev_raid_create",
			"{'name':'md0','raid_level':'raid5','base_bdevs':['d0','d1','d2'],"
			"'stripe_cache_size':15}",
			-32602},
		{"bdev_raid_create", "{'name':'d5','raid_level':'raid1','base_bdevs':['d0','d1']}",
			-EEXIST},
		{"bdev_raid_create",
			"{'name':'md0','raid_level':'raid1','base_bdevs':['d0','nobody']}",
			-ENODEV},
		{"bdev_raid_assemble", "{'name':'md0','base_bdevs':['d0','d1']}", -32602},
		{"bdev_raid_delete", "{'name':'nobody'}", -ENODEV},
		{"bdev_raid_delete", "{'name':'d0'}", -EINVAL},
		{"bdev_raid_get_detail", "{'name':'d0'}", -EINVAL},
		{"bdev_raid_examine", "{'name':'nobody'}", -ENODEV},
		{"bdev_raid_set_options", "{'name':'d0'}", -32602},
		{"bdev_raid_set_options", "{'name':'d0','speed_min':5}", -32602},
		{"bdev_raid_get_bdevs", "{'category':'odd'}", -32602},
	};
	struct world w;

	start(&w);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int code = error(&w, calls[i].method, calls[i].params);

		if (code != calls[i].code) {
			fail_msg("%s %s: %d", calls[i].method, calls[i].params, code);
		}
	}
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spare_group_and_priority_are_in_the_entry),
		cmocka_unit_test(test_write_behind_is_made_and_told),
		cmocka_unit_test(test_array_is_made_looked_at_and_assembled_again),
		cmocka_unit_test(test_members_are_failed_replaced_and_removed),
		cmocka_unit_test(test_options_are_set_and_scrubs_begin),
		cmocka_unit_test(test_wrong_parameters_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
