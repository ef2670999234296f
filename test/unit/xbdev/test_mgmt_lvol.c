/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/mgmt/lvs.c, lvol.c: stores, volumes, snapshots and clones by JSON-RPC, called in the
 * process as a client's texts would be; what bdev_get_bdevs says of them; what is refused, and how.
 */
#include <unistd.h>

#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/mgmt/mgmt.h"
#include "test/unit/xbdev/harness.h"

#define STORE  "01234567-89ab-4def-8011-223344556677"
#define VOLUME "11234567-89ab-4def-8011-223344556677"

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
	harness_start(&w->h, 2, 1);
	assert_int_equal(xbdev__lvol_stores_init(w->h.ctx), 0);
	w->mgmt.ctx = w->h.ctx;
	assert_int_equal(xrpc_service_new(&w->service), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_methods, &w->mgmt), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_lvs_methods, &w->mgmt), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_lvol_methods, &w->mgmt), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_lvol_look_methods, &w->mgmt), 0);
	assert_int_equal(xrpc_service_add(w->service, xbdev_mgmt_lvol_copy_methods, &w->mgmt), 0);
	harness_create(&w->h, "malloc", "{'name':'d0','size':16777216,'block_size':512}");
	harness_create(&w->h, "malloc", "{'name':'d1','size':16777216,'block_size':4096}");
}

static void stop(struct world *w)
{
	json_decref(w->answer);
	xrpc_service_free(w->service);
	xbdev_mgmt_copies_free(w->mgmt.copies);
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

/* The call must fail with this code and these words. */
static void refused(
	struct world *w, int code, const char *words, const char *method, const char *params)
{
	json_t *err = call(w, "error", method, params);
	const char *message = json_string_value(json_object_get(err, "message"));

	if (json_integer_value(json_object_get(err, "code")) != code ||
		strstr(message, words) == NULL) {
		fail_msg("%s %s: %d %s", method, params,
			(int)json_integer_value(json_object_get(err, "code")), message);
	}
}

static const char *text_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t number_of(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool flag_of(json_t *object, const char *key)
{
	assert_true(json_is_boolean(json_object_get(object, key)));
	return json_is_true(json_object_get(object, key));
}

static json_t *lvol(struct world *w, const char *name)
{
	json_t *list = result(w, "bdev_lvol_get_lvols", "{}"), *object;
	size_t i;

	json_array_foreach (list, i, object) {
		if (strcmp(text_of(object, "alias"), name) == 0) {
			return object;
		}
	}
	return NULL;
}

/* What bdev_get_bdevs has of the driver. */
static json_t *specific(struct world *w, const char *name)
{
	char params[128];
	json_t *device;

	snprintf(params, sizeof(params), "{'name':'%s'}", name);
	device = json_array_get(result(w, "bdev_get_bdevs", params), 0);
	return json_object_get(json_object_get(device, "driver_specific"), "lvol");
}

static void make_store(struct world *w)
{
	json_t *uuid = result(w, "bdev_lvol_create_lvstore",
		"{'bdev_name':'d0','lvs_name':'s','cluster_sz':65536,'uuid':'" STORE "'}");

	assert_string_equal(json_string_value(uuid), STORE);
}

static void make_volume(struct world *w)
{
	json_t *uuid = result(w, "bdev_lvol_create",
		"{'lvs_name':'s','lvol_name':'v','size_in_mib':1,'thin_provision':true,"
		"'lvol_uuid':'" VOLUME "'}");

	assert_string_equal(json_string_value(uuid), VOLUME);
}

static void test_stores(void **state)
{
	struct world w;
	json_t *store;

	(void)state;
	start(&w);
	assert_int_equal(json_array_size(result(&w, "bdev_lvol_get_lvstores", "{}")), 0);
	make_store(&w);
	store = json_array_get(result(&w, "bdev_lvol_get_lvstores", "{'uuid':'" STORE "'}"), 0);
	assert_string_equal(text_of(store, "name"), "s");
	assert_string_equal(text_of(store, "uuid"), STORE);
	assert_string_equal(text_of(store, "base_bdev"), "d0");
	assert_int_equal(number_of(store, "cluster_size"), 65536);
	assert_int_equal(number_of(store, "block_size"), 512);
	assert_int_equal(number_of(store, "num_lvols"), 0);
	assert_true(number_of(store, "total_data_clusters") > 200);
	assert_int_equal(
		number_of(store, "free_clusters"), number_of(store, "total_data_clusters"));

	refused(&w, -EEXIST, "'s'", "bdev_lvol_create_lvstore",
		"{'bdev_name':'d1','lvs_name':'s'}");
	refused(&w, -ENODEV, "no device 'd9'", "bdev_lvol_create_lvstore",
		"{'bdev_name':'d9','lvs_name':'t'}");
	refused(&w, -ENODEV, "no store 't'; bdev_lvol_get_lvstores lists them",
		"bdev_lvol_delete_lvstore", "{'lvs_name':'t'}");
	refused(&w, XRPC_INVALID_PARAMS, "Either its UUID or its name", "bdev_lvol_delete_lvstore",
		"{}");
	refused(&w, XRPC_INVALID_PARAMS, "Either its UUID or its name", "bdev_lvol_delete_lvstore",
		"{'lvs_name':'s','uuid':'" STORE "'}");

	make_volume(&w);
	result(&w, "bdev_lvol_rename_lvstore", "{'old_name':'s','new_name':'t'}");
	assert_non_null(lvol(&w, "t/v"));
	assert_string_equal(text_of(specific(&w, "t/v"), "lvol_store_uuid"), STORE);
	result(&w, "bdev_lvol_rename_lvstore", "{'old_name':'t','new_name':'s'}");
	result(&w, "bdev_lvol_delete_lvstore", "{'uuid':'" STORE "'}");
	assert_int_equal(json_array_size(result(&w, "bdev_lvol_get_lvstores", "{}")), 0);
	assert_null(xbdev_device_find(w.h.ctx, VOLUME));
	refused(&w, -ENOENT, "", "bdev_examine", "{'name':'d0'}");
	stop(&w);
}

static void test_store_is_detached_and_attached(void **state)
{
	struct xbdev_desc *desc;
	struct world w;

	(void)state;
	start(&w);
	make_store(&w);
	make_volume(&w);
	desc = harness_open(&w.h, "s/v", true);
	refused(&w, -EBUSY, "'s/v' is in use", "bdev_lvol_detach_lvstore", "{'lvs_name':'s'}");
	xbdev_desc_close(desc);
	result(&w, "bdev_lvol_detach_lvstore", "{'lvs_name':'s'}");
	assert_int_equal(json_array_size(result(&w, "bdev_lvol_get_lvols", "{}")), 0);
	result(&w, "bdev_examine", "{'name':'d0'}");
	result(&w, "bdev_wait_for_examine", "{}");
	assert_string_equal(text_of(lvol(&w, "s/v"), "uuid"), VOLUME);
	assert_int_equal(json_array_size(result(&w, "bdev_lvol_get_refused_lvstores", "{}")), 0);
	stop(&w);
}

static void test_store_grows_and_has_options(void **state)
{
	struct world w;
	char params[512];
	json_int_t before;

	(void)state;
	start(&w);
	harness_create(
		&w.h, "file", "{'name':'f','filename':'%s/f','size':8388608}", harness_dir());
	result(&w, "bdev_lvol_create_lvstore",
		"{'bdev_name':'f','lvs_name':'g','cluster_sz':65536}");
	before = number_of(json_array_get(result(&w, "bdev_lvol_get_lvstores", "{}"), 0),
		"total_data_clusters");
	refused(&w, XRPC_INVALID_PARAMS, "", "bdev_lvol_grow_lvstore", "{'lvs_name':'g'}");
	snprintf(params, sizeof(params), "%s/f", harness_dir());
	assert_int_equal(truncate(params, 12 << 20), 0);
	result(&w, "bdev_aio_rescan", "{'name':'f'}");
	result(&w, "bdev_lvol_grow_lvstore", "{'lvs_name':'g'}");
	assert_int_equal(number_of(json_array_get(result(&w, "bdev_lvol_get_lvstores", "{}"), 0),
				 "total_data_clusters"),
		before + 64);

	refused(&w, XRPC_INVALID_PARAMS, "what is to be set?", "bdev_lvol_set_lvstore_options",
		"{'lvs_name':'g','low_percent':5}");
	refused(&w, XRPC_INVALID_PARAMS, "", "bdev_lvol_set_lvstore_options",
		"{'lvs_name':'g','low_percent':50,'high_percent':20}");
	result(&w, "bdev_lvol_set_lvstore_options",
		"{'lvs_name':'g','space_wait_ms':1500,'low_percent':50,'high_percent':70}");
	assert_int_equal(number_of(json_array_get(result(&w, "bdev_lvol_get_lvstores", "{}"), 0),
				 "space_wait_ms"),
		1500);
	stop(&w);
}

static void test_volumes(void **state)
{
	struct world w;
	json_t *object;

	(void)state;
	start(&w);
	make_store(&w);
	make_volume(&w);
	result(&w, "bdev_lvol_create", "{'uuid':'" STORE "','lvol_name':'thick','size':'128KiB'}");
	object = lvol(&w, "s/thick");
	assert_false(flag_of(object, "is_thin_provisioned"));
	assert_int_equal(number_of(object, "num_allocated_clusters"), 2);
	assert_int_equal(number_of(object, "size"), 131072);
	assert_string_equal(text_of(json_object_get(object, "lvs"), "uuid"), STORE);
	object = specific(&w, "s/v");
	assert_true(flag_of(object, "thin_provision"));
	assert_false(flag_of(object, "snapshot"));
	assert_false(flag_of(object, "clone"));
	assert_false(flag_of(object, "esnap_clone"));
	assert_string_equal(text_of(object, "base_bdev"), "d0");
	assert_int_equal(number_of(object, "num_allocated_clusters"), 0);
	assert_null(json_object_get(object, "base_snapshot"));
	assert_null(json_object_get(object, "clones"));

	refused(&w, XRPC_INVALID_PARAMS, "how large?", "bdev_lvol_create",
		"{'lvs_name':'s','lvol_name':'x'}");
	refused(&w, XRPC_INVALID_PARAMS, "how large?", "bdev_lvol_create",
		"{'lvs_name':'s','lvol_name':'x','size':1,'size_in_mib':1}");
	refused(&w, -EEXIST, "'s/v'", "bdev_lvol_create",
		"{'lvs_name':'s','lvol_name':'v','size_in_mib':1}");
	refused(&w, -ENOSPC, "", "bdev_lvol_create",
		"{'lvs_name':'s','lvol_name':'x','size_in_mib':64}");
	refused(&w, -ENODEV, "no volume 's/x'", "bdev_lvol_delete", "{'name':'s/x'}");
	refused(&w, -EINVAL, "no logical volume", "bdev_lvol_delete", "{'name':'d1'}");
	refused(&w, -ENODEV, "no store 't'", "bdev_lvol_get_lvols", "{'lvs_name':'t'}");

	result(&w, "bdev_lvol_resize", "{'name':'s/thick','size_in_mib':1}");
	assert_int_equal(number_of(lvol(&w, "s/thick"), "num_allocated_clusters"), 16);
	result(&w, "bdev_lvol_resize", "{'name':'s/thick','size':'64KiB'}");
	assert_int_equal(number_of(lvol(&w, "s/thick"), "size"), 65536);
	refused(&w, XRPC_INVALID_PARAMS, "how large?", "bdev_lvol_resize", "{'name':'s/thick'}");

	result(&w, "bdev_lvol_rename", "{'old_name':'s/thick','new_name':'other'}");
	assert_null(lvol(&w, "s/thick"));
	result(&w, "bdev_lvol_set_read_only", "{'name':'s/other'}");
	assert_true(flag_of(lvol(&w, "s/other"), "read_only"));
	assert_true(json_is_false(result(&w, "bdev_lvol_cancel", "{'name':'s/other'}")));
	result(&w, "bdev_lvol_delete", "{'name':'s/other'}");
	result(&w, "bdev_lvol_delete", "{'name':'" VOLUME "'}");
	assert_int_equal(
		json_array_size(result(&w, "bdev_lvol_get_lvols", "{'lvs_uuid':'" STORE "'}")), 0);
	stop(&w);
}

/* Writes one block of a volume, or compares it. */
static void touch_block(struct world *w, const char *name, bool is_write, uint64_t seed)
{
	struct xbdev_desc *desc = harness_open(&w->h, name, is_write);
	struct xbdev_channel *ch = harness_channel(&w->h, desc, 0);
	static uint8_t buf[4096] __attribute__((aligned(4096)));

	if (is_write) {
		harness_fill(buf, sizeof(buf), seed);
	}
	assert_int_equal(harness_io(&w->h, ch, is_write ? XBDEV_OP_WRITE : XBDEV_OP_READ, 0, buf,
				 sizeof(buf), 0),
		0);
	if (!is_write) {
		assert_true(harness_is_filled(buf, sizeof(buf), seed));
	}
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
}

static void test_snapshots_and_clones(void **state)
{
	struct world w;
	json_t *object;

	(void)state;
	start(&w);
	make_store(&w);
	make_volume(&w);
	touch_block(&w, "s/v", true, 1);
	result(&w, "bdev_lvol_snapshot", "{'lvol_name':'s/v','snapshot_name':'one'}");
	touch_block(&w, "s/v", true, 2);
	result(&w, "bdev_lvol_snapshot", "{'lvol_name':'" VOLUME "','snapshot_name':'two'}");
	refused(&w, XRPC_INVALID_PARAMS, "can be written", "bdev_lvol_clone",
		"{'snapshot_name':'s/v','clone_name':'c'}");
	result(&w, "bdev_lvol_clone", "{'snapshot_name':'s/one','clone_name':'c'}");
	touch_block(&w, "s/c", false, 1);

	object = specific(&w, "s/one");
	assert_true(flag_of(object, "snapshot"));
	assert_false(flag_of(object, "clone"));
	assert_int_equal(json_array_size(json_object_get(object, "clones")), 2);
	object = specific(&w, "s/two");
	assert_true(flag_of(object, "clone"));
	assert_string_equal(text_of(object, "base_snapshot"), "one");
	object = lvol(&w, "s/two");
	assert_true(flag_of(object, "is_snapshot"));
	assert_true(flag_of(object, "is_clone"));
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(object, "clones"), 0)), "v");

	/* Inflated and decoupled ones keep their content without what they stood on. */
	result(&w, "bdev_lvol_clone", "{'snapshot_name':'s/two','clone_name':'fat'}");
	result(&w, "bdev_lvol_inflate", "{'name':'s/fat'}");
	object = lvol(&w, "s/fat");
	assert_false(flag_of(object, "is_clone"));
	assert_int_equal(number_of(object, "num_allocated_clusters"), 16);
	touch_block(&w, "s/fat", false, 2);
	result(&w, "bdev_lvol_delete", "{'name':'s/fat'}");
	result(&w, "bdev_lvol_clone", "{'snapshot_name':'s/two','clone_name':'near'}");
	result(&w, "bdev_lvol_decouple_parent", "{'name':'s/near'}");
	object = lvol(&w, "s/near");
	assert_string_equal(text_of(object, "base_snapshot"), "one");
	assert_int_equal(number_of(object, "num_allocated_clusters"), 1);
	touch_block(&w, "s/near", false, 2);
	result(&w, "bdev_lvol_delete", "{'name':'s/near'}");

	/* The clone on the later snapshot, whose content it then has. */
	result(&w, "bdev_lvol_set_parent", "{'lvol_name':'s/c','parent_name':'s/two'}");
	touch_block(&w, "s/c", false, 2);
	touch_block(&w, "s/v", true, 3);
	result(&w, "bdev_lvol_restore", "{'name':'s/one'}");
	touch_block(&w, "s/v", false, 1);
	/* With two on it: its name is free, it is listed as hidden, and found by nobody. */
	assert_string_equal(text_of(lvol(&w, "s/v"), "base_snapshot"), "one");
	result(&w, "bdev_lvol_delete", "{'name':'s/one'}");
	assert_null(lvol(&w, "s/one"));
	touch_block(&w, "s/v", false, 1);
	touch_block(&w, "s/c", false, 2);
	assert_int_equal(json_array_size(json_object_get(w.answer, "result")), 4);
	result(&w, "bdev_lvol_snapshot", "{'lvol_name':'s/v','snapshot_name':'one'}");
	stop(&w);
}

#define IMAGE "00000000-0000-4000-8000-0000000000e2"

static void make_image(struct world *w)
{
	harness_create(&w->h, "malloc",
		"{'name':'image','size':'4MiB','block_size':512,'uuid':'" IMAGE "'}");
}

static void test_clones_of_devices(void **state)
{
	struct world w;
	json_t *object;

	(void)state;
	start(&w);
	make_store(&w);
	make_volume(&w);
	make_image(&w);
	touch_block(&w, "image", true, 5);
	result(&w, "bdev_lvol_clone_bdev",
		"{'bdev':'image','lvs_name':'s','clone_name':'c',"
		"'uuid':'00000000-0000-4000-8000-0000000000e3'}");
	assert_string_equal(json_string_value(json_object_get(w.answer, "result")),
		"00000000-0000-4000-8000-0000000000e3");
	touch_block(&w, "s/c", false, 5);
	object = specific(&w, "s/c");
	assert_true(flag_of(object, "clone"));
	assert_true(flag_of(object, "esnap_clone"));
	assert_string_equal(text_of(object, "external_snapshot_name"), "image");
	object = lvol(&w, "s/c");
	assert_true(flag_of(object, "is_esnap_clone"));
	assert_false(flag_of(object, "is_degraded"));
	assert_string_equal(text_of(object, "external_snapshot_name"), "image");
	assert_string_equal(text_of(object, "external_snapshot_id"), IMAGE);

	object = json_array_get(result(&w, "bdev_get_bdevs", "{'name':'image'}"), 0);
	assert_string_equal(text_of(object, "claim_type"), "read_many_write_none");

	/* Without the device it is degraded, and with it as before. */
	harness_remove(&w.h, xbdev_device_find(w.h.ctx, "image"));
	object = lvol(&w, "s/c");
	assert_true(flag_of(object, "is_degraded"));
	assert_true(flag_of(object, "is_esnap_clone"));
	assert_string_equal(text_of(object, "external_snapshot_name"), IMAGE);
	assert_non_null(strstr(text_of(object, "reason"), IMAGE));
	assert_false(flag_of(lvol(&w, "s/v"), "is_degraded"));
	make_image(&w);
	harness_wait(&w.h, xbdev_device_find(w.h.ctx, "s/c") != NULL);
	assert_false(flag_of(lvol(&w, "s/c"), "is_degraded"));

	refused(&w, XRPC_INVALID_PARAMS, "is a volume of store", "bdev_lvol_clone_bdev",
		"{'bdev':'s/v','lvs_name':'s','clone_name':'d'}");
	refused(&w, -ENODEV, "no device named 'none'", "bdev_lvol_clone_bdev",
		"{'bdev':'none','lvs_name':'s','clone_name':'d'}");
	touch_block(&w, "s/v", true, 6);
	result(&w, "bdev_lvol_set_parent_bdev", "{'lvol_name':'s/v','parent_name':'" IMAGE "'}");
	assert_true(json_is_true(json_object_get(w.answer, "result")));
	assert_string_equal(text_of(lvol(&w, "s/v"), "external_snapshot_name"), "image");
	touch_block(&w, "s/v", false, 6);
	refused(&w, -ENODEV, "no device named 'none'", "bdev_lvol_set_parent_bdev",
		"{'lvol_name':'s/v','parent_name':'none'}");
	stop(&w);
}

/* ---- looking into the maps ---- */

/* The entry of a list of usages. */
static json_t *usage_of(json_t *list, const char *name)
{
	json_t *object;
	size_t i;

	json_array_foreach (list, i, object) {
		if (strcmp(text_of(object, "alias"), name) == 0) {
			return object;
		}
	}
	fail_msg("no usage of '%s'", name);
	return NULL;
}

static void assert_usage(json_t *list, const char *name, json_int_t exclusive, json_int_t shared)
{
	json_t *object = usage_of(list, name);

	assert_int_equal(number_of(object, "exclusive_bytes"), exclusive << 16);
	assert_int_equal(number_of(object, "shared_bytes"), shared << 16);
}

static void test_usage_and_difference(void **state)
{
	struct world w;
	json_t *object;

	(void)state;
	start(&w);
	assert_int_equal(json_array_size(result(&w, "bdev_lvol_get_usage", "{}")), 0);
	make_store(&w);
	make_volume(&w);
	touch_block(&w, "s/v", true, 1);
	result(&w, "bdev_lvol_snapshot", "{'lvol_name':'s/v','snapshot_name':'one'}");
	result(&w, "bdev_lvol_create", "{'lvs_name':'s','lvol_name':'thick','size':'192KiB'}");
	object = result(&w, "bdev_lvol_get_usage", "{}");
	assert_int_equal(json_array_size(object), 3);
	assert_usage(object, "s/v", 0, 1);
	assert_usage(object, "s/one", 0, 1);
	assert_usage(object, "s/thick", 3, 0);
	touch_block(&w, "s/v", true, 2);
	object = result(&w, "bdev_lvol_get_usage", "{'lvs_name':'s'}");
	assert_usage(object, "s/v", 1, 0);
	assert_usage(object, "s/one", 1, 0);
	object = result(&w, "bdev_lvol_get_usage", "{'name':'" VOLUME "'}");
	assert_int_equal(json_array_size(object), 1);
	assert_usage(object, "s/v", 1, 0);
	assert_string_equal(text_of(json_array_get(object, 0), "uuid"), VOLUME);
	assert_int_equal(number_of(json_array_get(object, 0), "size"), 1 << 20);
	refused(&w, -ENODEV, "no volume 's/x'", "bdev_lvol_get_usage", "{'name':'s/x'}");
	refused(&w, -ENODEV, "no store 't'", "bdev_lvol_get_usage", "{'lvs_name':'t'}");
	refused(&w, XRPC_INVALID_PARAMS, "Not both", "bdev_lvol_get_usage",
		"{'name':'s/v','lvs_name':'s'}");

	object = result(&w, "bdev_lvol_diff", "{'name':'s/v','other_name':'s/one'}");
	assert_int_equal(number_of(object, "num_extents"), 1);
	assert_int_equal(number_of(object, "bytes"), 65536);
	assert_int_equal(number_of(object, "cluster_size"), 65536);
	object = json_array_get(json_object_get(object, "extents"), 0);
	assert_int_equal(number_of(object, "offset"), 0);
	assert_int_equal(number_of(object, "length"), 65536);
	object = result(&w, "bdev_lvol_diff", "{'name':'s/v','other_name':'s/one','offset':1}");
	assert_int_equal(number_of(object, "num_extents"), 1);
	assert_int_equal(json_array_size(json_object_get(object, "extents")), 0);
	object = result(&w, "bdev_lvol_diff", "{'name':'s/one','other_name':'s/one'}");
	assert_int_equal(number_of(object, "num_extents"), 0);
	refused(&w, -ENODEV, "no volume 's/x'", "bdev_lvol_diff",
		"{'name':'s/v','other_name':'s/x'}");
	result(&w, "bdev_lvol_create_lvstore", "{'bdev_name':'d1','lvs_name':'t'}");
	result(&w, "bdev_lvol_create",
		"{'lvs_name':'t','lvol_name':'v','size_in_mib':1,'thin_provision':true}");
	refused(&w, XRPC_INVALID_PARAMS, "two stores", "bdev_lvol_diff",
		"{'name':'s/v','other_name':'t/v'}");
	stop(&w);
}

/* ---- shallow copies ---- */

/* Until the copy is not under way any more. */
static json_t *wait_for_copy(struct world *w, const char *params)
{
	json_t *object;

	for (int i = 0; i < 60000; i++) {
		object = result(w, "bdev_lvol_check_shallow_copy", params);
		if (strcmp(text_of(object, "state"), "in progress") != 0) {
			return object;
		}
		harness_poll(&w->h);
		usleep(1000);
	}
	fail_msg("the copy does not end");
	return NULL;
}

static void test_shallow_copy(void **state)
{
	struct world w;
	json_t *object;

	(void)state;
	start(&w);
	make_store(&w);
	make_volume(&w);
	touch_block(&w, "s/v", true, 1);
	result(&w, "bdev_lvol_snapshot", "{'lvol_name':'s/v','snapshot_name':'one'}");
	harness_create(&w.h, "malloc", "{'name':'small','size':65536,'block_size':512}");
	refused(&w, XRPC_INVALID_PARAMS, "can be written", "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/v','dst_bdev_name':'d1'}");
	refused(&w, XRPC_INVALID_PARAMS, "choose a larger one", "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/one','dst_bdev_name':'small'}");
	refused(&w, -EBUSY, "", "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/one','dst_bdev_name':'d0'}");
	refused(&w, -ENODEV, "no device 'd9'", "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/one','dst_bdev_name':'d9'}");
	refused(&w, -ENOENT, "number 1", "bdev_lvol_check_shallow_copy", "{'operation_id':1}");

	object = result(&w, "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/one','dst_bdev_name':'d1'}");
	assert_int_equal(number_of(object, "operation_id"), 4);
	object = wait_for_copy(&w, "{'operation_id':4}");
	assert_string_equal(text_of(object, "state"), "complete");
	assert_int_equal(number_of(object, "copied_clusters"), 1);
	assert_int_equal(number_of(object, "total_clusters"), 1);
	assert_null(json_object_get(object, "error"));
	touch_block(&w, "d1", false, 1);
	/* It is remembered, but not for ever. */
	wait_for_copy(&w, "{'operation_id':4}");
	for (int i = 5; i < 5 + 64; i++) {
		char params[64];

		result(&w, "bdev_lvol_start_shallow_copy",
			"{'src_lvol_name':'s/one','dst_bdev_name':'d1'}");
		snprintf(params, sizeof(params), "{'operation_id':%d}", i);
		wait_for_copy(&w, params);
	}
	refused(&w, -ENOENT, "number 4", "bdev_lvol_check_shallow_copy", "{'operation_id':4}");
	wait_for_copy(&w, "{'operation_id':5}");
	stop(&w);
}

/* A copy to a device that takes its time is seen under way, and stopped. */
static void test_shallow_copy_is_stopped(void **state)
{
	struct world w;
	json_t *object;

	(void)state;
	start(&w);
	harness_create(&w.h, "delay",
		"{'name':'slow','base':'d1','avg_write_latency_us':50000,"
		"'p99_write_latency_us':50000}");
	make_store(&w);
	result(&w, "bdev_lvol_create", "{'lvs_name':'s','lvol_name':'v','size':'12MiB'}");
	result(&w, "bdev_lvol_set_read_only", "{'name':'s/v'}");
	object = result(&w, "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/v','dst_bdev_name':'slow'}");
	assert_int_equal(number_of(object, "operation_id"), 1);
	do {
		harness_poll(&w.h);
		object = result(&w, "bdev_lvol_check_shallow_copy", "{'operation_id':1}");
		assert_string_equal(text_of(object, "state"), "in progress");
		assert_int_equal(number_of(object, "total_clusters"), 192);
	} while (number_of(object, "copied_clusters") == 0);
	object = json_object_get(lvol(&w, "s/v"), "process");
	assert_string_equal(text_of(object, "type"), "copied");
	assert_true(json_number_value(json_object_get(object, "percent")) > 0);
	refused(&w, -EBUSY, "being copied", "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/v','dst_bdev_name':'slow'}");
	assert_true(json_is_true(result(&w, "bdev_lvol_cancel", "{'name':'s/v'}")));
	object = wait_for_copy(&w, "{'operation_id':1}");
	assert_string_equal(text_of(object, "state"), "error");
	assert_non_null(strstr(text_of(object, "error"), "was asked to stop"));
	assert_true(number_of(object, "copied_clusters") < 192);

	/* One that is under way when nobody can ask for it any more ends by itself. */
	result(&w, "bdev_lvol_start_shallow_copy",
		"{'src_lvol_name':'s/v','dst_bdev_name':'slow'}");
	xbdev_mgmt_copies_free(w.mgmt.copies);
	w.mgmt.copies = NULL;
	assert_true(json_is_true(result(&w, "bdev_lvol_cancel", "{'name':'s/v'}")));
	do {
		harness_poll(&w.h);
		object = json_object_get(lvol(&w, "s/v"), "process");
	} while (object != NULL);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stores),
		cmocka_unit_test(test_store_is_detached_and_attached),
		cmocka_unit_test(test_store_grows_and_has_options),
		cmocka_unit_test(test_volumes),
		cmocka_unit_test(test_snapshots_and_clones),
		cmocka_unit_test(test_clones_of_devices),
		cmocka_unit_test(test_usage_and_difference),
		cmocka_unit_test(test_shallow_copy),
		cmocka_unit_test(test_shallow_copy_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
