/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration documents before anything is touched: each wrong one is refused with exactly this
 * place and sentence, and what is good is read into items with names, uses and levels. The first
 * argument is the source directory, for its examples.
 */
#include <errno.h>

#include "lib/util/error.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/document.h"
#include "lib/xbdev/config/replace.h"
#include "test/unit/util/test.h"
#include "test/unit/xsand/json_fail.h"

static const char *source_dir;

/* ' stands for ". */
static char *quoted(const char *text)
{
	char *copy = strdup(text);

	for (char *c = copy; *c != '\0'; c++) {
		*c = *c == '\'' ? '"' : *c;
	}
	return copy;
}

static int read_document(const char *text, struct xbdev_document **ret_doc, struct xu_error *err)
{
	struct xbdev_text *parsed = NULL;
	char path[XBDEV_TEXT_PATH_SIZE], *copy = quoted(text);
	int rc = xbdev_text_parse("x.json", copy, strlen(copy), &parsed, err);

	if (rc == 0) {
		rc = xbdev_document_new(xbdev_sections, parsed->root, ret_doc, path, err);
		if (rc == 0) {
			rc = xbdev_document_can(*ret_doc, path, err);
			if (rc != 0) {
				xbdev_document_free(*ret_doc);
				*ret_doc = NULL;
			}
		}
		if (rc != 0) {
			assert_int_equal(xbdev_text_fail(parsed, path, err), rc);
		}
		xbdev_text_free(parsed);
	}
	free(copy);
	return rc;
}

/* A document that is good but for what this version does not have. */
static struct xbdev_document *document_of(const char *text)
{
	struct xbdev_text *parsed = NULL;
	struct xbdev_document *doc = NULL;
	char path[XBDEV_TEXT_PATH_SIZE], *copy = quoted(text);
	struct xu_error err = {0};

	if (xbdev_text_parse("x.json", copy, strlen(copy), &parsed, &err) != 0 ||
		xbdev_document_new(xbdev_sections, parsed->root, &doc, path, &err) != 0) {
		fail_msg("%s: %s", text, err.text);
	}
	xbdev_text_free(parsed);
	free(copy);
	return doc;
}

struct bad {
	int rc;
	const char *text;
	const char *expected; /* the whole error */
};

static void check_bad(const struct bad *table, size_t count)
{
	bool has_failed = false;

	for (size_t i = 0; i < count; i++) {
		struct xbdev_document *doc = NULL;
		struct xu_error err = {0};
		int rc = read_document(table[i].text, &doc, &err);

		for (char *c = err.text; *c != '\0'; c++) {
			*c = *c == '"' ? '\'' : *c;
		}
		if (rc != table[i].rc || err.code != rc || doc != NULL ||
			strcmp(err.text, table[i].expected) != 0) {
			print_error("%s\n  got %d    %s\n  expected %s\n", table[i].text, rc,
				err.text, table[i].expected);
			has_failed = true;
		}
	}
	assert_false(has_failed);
}

#define BASE(entries)     "{'base_devices': [" entries "]}"
#define NULL_DEV(name)    "{'method': 'null', 'params': {'name': '" name "', 'size': 4096}}"
#define DELAY(name, base) "{'method': 'delay', 'params': {'name': '" name "', 'base': '" base "'}}"
#define NVME(name, more)                                                                           \
	"{'method': 'nvme', 'params': {'name': '" name "', 'pci_addr': '0000:01:00.0'" more "}}"
#define RAID(level, name, members)                                                                 \
	"{'method': '" level "', 'params': {'name': '" name "', 'base_bdevs': [" members "]}}"
#define METHODS "'null', 'malloc', 'file', 'aio', 'error', 'delay', 'nvme', 'nvmf', 'rbd'"
#define U1      "11111111-1111-4111-8111-111111111111"

static void test_document_refuses_wrong_roots(void **state)
{
	static const struct bad table[] = {
		{-EINVAL, "", "x.json:1:0: '[' or '{' expected near end of file"},
		{-EINVAL, "{'base_devices': [],\n'base_devices': []}",
			"x.json:2:14: duplicate object key near ''base_devices''"},
		{-EINVAL, "[]",
			"x.json:1:1: a document is an object { … } with lists of: base_devices, "
			"raid_devices, lvol_stores, lvol_volumes, snapshots, clones"},
		{-EINVAL, "{'_a': 1,\n 'devices': []}",
			"x.json:2:13: devices: 'devices' is not known here; accepted: "
			"base_devices, "
			"raid_devices, lvol_stores, lvol_volumes, snapshots, clones"},
		{-EINVAL, "{'base_devices': {}}",
			"x.json:1:18: base_devices: a list [ … ] of entries is needed here"},
		{-EINVAL, "{'_deep': [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}",
			"x.json:1:11: _deep: there are more than 16 values in each other here"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_document_refuses_wrong_entries(void **state)
{
	static const struct bad table[] = {
		{-EINVAL, BASE("7"), "x.json:1:19: base_devices[0]: an entry is an object { … }"},
		{-EINVAL, BASE("{'method': 'null'}"),
			"x.json:1:19: base_devices[0]: 'params' is missing: an object { … } with "
			"its "
			"parameters"},
		{-EINVAL, BASE("{'params': {}}"),
			"x.json:1:19: base_devices[0]: 'method' is missing: the kind of device"},
		{-EINVAL, BASE("{'method': 3, 'params': {}}"),
			"x.json:1:30: base_devices[0].method: 3 is not accepted; it takes a text "
			"that is not empty"},
		{-EINVAL, BASE("{'method': 'disk', 'params': {}}"),
			"x.json:1:30: base_devices[0].method: 'disk' is not accepted; it takes one "
			"of: " METHODS},
		{-EINVAL, BASE("{'method': 'null', 'params': []}"),
			"x.json:1:48: base_devices[0].params: an object { … } is needed here"},
		{-EINVAL, BASE("{'method': 'null', 'params': {}, 'size': 1}"),
			"x.json:1:60: base_devices[0].size: 'size' is not known here; accepted: "
			"method, params"},
		{-EINVAL, BASE("{'method': 'null', 'params': {'size': 4096}}"),
			"x.json:1:48: base_devices[0].params: 'name' is missing: name of the "
			"device"},
		{-EINVAL, BASE("{'method': 'null', 'params': {'name': 'a b', 'size': 4096}}"),
			"x.json:1:57: base_devices[0].params.name: byte 2 is a space, a control "
			"character or not ASCII; it takes printable ASCII"},
		{-EINVAL,
			BASE("\n {'method': 'null', 'params': {'name': 'n',\n"
			     "   'size': 'lots'}}"),
			"x.json:3:12: base_devices[0].params.size: 'lots' is not accepted; it "
			"takes "
			"a whole number of bytes or a text such as '256MiB', from 0 to "
			"4611686018427387904"},
		{-EINVAL,
			BASE("{'method': 'null', 'params': {'name': 'n', 'size': 4097, "
			     "'block_size': 4096}}"),
			"x.json:1:70: base_devices[0].params.size: 4097 bytes is not accepted; it "
			"takes a multiple of the block size 4096"},
		{-EINVAL, BASE("{'method': 'null', 'params': {'name': 'n', 'driver': 'null'}}"),
			"x.json:1:72: base_devices[0].params.driver: 'driver' is not known here; "
			"the driver is what 'method' says"},
		{-EINVAL, BASE("{'method': 'aio', 'params': {'name': 'n', 'pci_addr': '1'}}"),
			"x.json:1:73: base_devices[0].params.pci_addr: 'pci_addr' is not known "
			"here; accepted: name, filename, size, block_size, read_only, direct, "
			"uuid"},
		{-EINVAL, BASE("{'method': 'nvmf', 'params': {'name': 'n', 'port': 70000}}"),
			"x.json:1:70: base_devices[0].params.port: 70000 is not accepted; it takes "
			"a whole number from 1 to 65535"},
		{-EINVAL, BASE("{'method': 'nvme', 'params': {'name': 'n'}}"),
			"x.json:1:48: base_devices[0].params: 'pci_addr' is missing: PCI address "
			"of "
			"the controller, such as '0000:01:00.0'"},
		{-EINVAL,
			BASE("{'method': 'nvme', 'params': {'name': 'n', 'device': 'nvme0', "
			     "'pci_addr': '0000:01:00.0'}}"),
			"x.json:1:72: base_devices[0].params.device: it takes this or 'pci_addr', "
			"one of the two"},
		{-EINVAL, BASE("{'method': 'rbd', 'params': {'name': 'n', 'image_name': 'i'}}"),
			"x.json:1:47: base_devices[0].params: 'pool_name' is missing: the Ceph "
			"pool"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_document_refuses_wrong_arrays(void **state)
{
	static const struct bad table[] = {
		{-EINVAL, "{'raid_devices': [" RAID("raid3", "r", "'a'") "]}",
			"x.json:1:30: raid_devices[0].method: 'raid3' is not accepted; it takes "
			"one "
			"of: 'linear', 'raid0', 'raid1', 'raid4', 'raid5', 'raid6', 'raid10'"},
		{-EINVAL, "{'raid_devices': [" RAID("raid6", "r", "'a', 'b', 'c'") "]}",
			"x.json:1:77: raid_devices[0].params.base_bdevs: there are 3; raid6 takes "
			"4 "
			"or more"},
		{-EINVAL, "{'raid_devices': [" RAID("raid0", "r", "'a', ''") "]}",
			"x.json:1:83: raid_devices[0].params.base_bdevs[1]: the name or UUID of a "
			"device is needed here"},
		{-EINVAL,
			"{'raid_devices': [{'method': 'raid1', 'params': {'name': 'r', "
			"'base_bdevs': 'a'}}]}",
			"x.json:1:77: raid_devices[0].params.base_bdevs: a list [ … ] of names or "
			"UUIDs of devices is needed here"},
		{-EINVAL,
			"{'raid_devices': [{'method': 'raid0', 'params': {'name': 'r', "
			"'base_bdevs': ['a'], 'strip_size_kb': 1}}]}",
			"x.json:1:101: raid_devices[0].params.strip_size_kb: 1 is not accepted; it "
			"takes a whole number from 4 to 65536"},
		{-EINVAL,
			"{'raid_devices': [{'method': 'raid0', 'params': {'name': 'r', "
			"'base_bdevs': ['a'], 'strip_size_kb': 5}}]}",
			"x.json:1:101: raid_devices[0].params.strip_size_kb: 5 is not accepted; it "
			"takes a power of two"},
		{-EINVAL,
			"{'raid_devices': [{'method': 'raid1', 'params': {'name': 'r', "
			"'base_bdevs': ['a'], 'raid_disks': 33}}]}",
			"x.json:1:98: raid_devices[0].params.raid_disks: 33 is not accepted; it "
			"takes a whole number from 1 to 32"},
		{-EINVAL,
			"{'raid_devices': [{'method': 'raid6', 'params': {'name': 'r', "
			"'base_bdevs': ['a'], 'raid_disks': 3}}]}",
			"x.json:1:77: raid_devices[0].params.base_bdevs: there are 3; raid6 takes "
			"4 to 32"},
		{-EINVAL,
			"{'raid_devices': [{'method': 'raid1', 'params': {'name': 'r', "
			"'base_bdevs': ['a'], 'stripe_cache_size': 64}}]}",
			"x.json:1:105: raid_devices[0].params.stripe_cache_size: raid1 has none; "
			"raid4, raid5 and raid6 have"},
		{-EINVAL,
			"{'base_devices': [{'method': 'raid', 'params': {'name': 'r', 'members': "
			"['a']}}]}",
			"x.json:1:30: base_devices[0].method: 'raid' is not accepted; it takes one "
			"of: 'null', 'malloc', 'file', 'aio', 'error', 'delay', 'nvme', 'nvmf', "
			"'rbd'"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_document_refuses_wrong_volumes(void **state)
{
	static const struct bad table[] = {
		{-EINVAL,
			"{'lvol_stores': [{'name': 's', 'base_bdev': 'a', 'cluster_size': 5000}]}",
			"x.json:1:66: lvol_stores[0].cluster_size: 5000 is not accepted; it takes "
			"a "
			"multiple of 4096 bytes"},
		{-EINVAL, "{'lvol_stores': [{'name': 's/t', 'base_bdev': 'a'}]}",
			"x.json:1:27: lvol_stores[0].name: 's/t' is not accepted; it takes a name "
			"without '/', which stands between a store and what is in it"},
		{-EINVAL, "{'lvol_stores': [{'name': 's'}]}",
			"x.json:1:18: lvol_stores[0]: 'base_bdev' is missing: name or UUID of the "
			"device that it is on"},
		{-EINVAL, "{'lvol_volumes': [{'name': 'v', 'lvs_name': 's'}]}",
			"x.json:1:19: lvol_volumes[0]: 'size_mb' is missing: size, MiB"},
		{-EINVAL,
			"{'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': 1, 'size': "
			"'1 MiB'}]}",
			"x.json:1:72: lvol_volumes[0].size: size_mb says it already; give one of "
			"the two"},
		{-EINVAL, "{'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': 0}]}",
			"x.json:1:61: lvol_volumes[0].size_mb: 0 is not accepted; it takes a whole "
			"number from 1 to 4398046511104"},
		{-EINVAL,
			"{'lvol_volumes': [{'name': "
			"'a123456789b123456789c123456789d123456789e1234567"
			"89f123456789g123', 'lvs_name': 's', 'size_mb': 1}]}",
			"x.json:1:28: lvol_volumes[0].name: it has 64 characters; it takes 1 to "
			"63"},
		{-EINVAL, "{'snapshots': [{'name': 'p', 'source_vol': 'v'}]}",
			"x.json:1:44: snapshots[0].source_vol: 'v' is not accepted; it takes the "
			"names of a store and of what is in it, as in 'lvs0/vol0'"},
		{-EINVAL, "{'clones': [{'name': 'c', 'source_snap': 's/p/q'}]}",
			"x.json:1:42: clones[0].source_snap: 's/p/q' is not accepted; it takes the "
			"names of a store and of what is in it, as in 'lvs0/vol0'"},
		{-EINVAL, "{'clones': [{'name': 'c'}]}",
			"x.json:1:13: clones[0]: 'source_snap' is missing: the snapshot, as "
			"STORE/NAME"},
		{-EINVAL, "{'clones': [{'name': 'c', 'source_bdev': 'd'}]}",
			"x.json:1:13: clones[0]: 'lvs_name' is missing: name of the store, with "
			"source_bdev"},
		{-EINVAL, "{'clones': [{'name': 'c', 'source_snap': 's/p', 'lvs_name': 's'}]}",
			"x.json:1:61: clones[0].lvs_name: source_snap says the store already; it "
			"goes with source_bdev"},
		{-EINVAL, "{'clones': [{'name': 'c', 'source_snap': 's/p', 'source_bdev': 'd'}]}",
			"x.json:1:64: clones[0].source_bdev: source_snap says what it is of "
			"already; give one of the two"},
		{-EINVAL, "{'clones': [{'name': 'c', 'lvs_name': 's', 'source_bdev': 's/c'}]}",
			"x.json:1:59: clones[0].source_bdev: 's/c' is not accepted: 's/c' would "
			"stand on itself; it takes something that does not need it"},
		{-EINVAL,
			"{'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': 1}], "
			"'clones': "
			"[{'name': 'c', 'source_snap': 's/v'}]}",
			"x.json:1:106: clones[0].source_snap: 's/v' is not accepted: it is a "
			"volume; it takes one of: snapshots"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_document_refuses_what_is_said_twice(void **state)
{
	static const struct bad table[] = {
		{-EINVAL, BASE(NULL_DEV("a") "," NULL_DEV("a")),
			"x.json:1:115: base_devices[1].params.name: 'a' is not accepted: "
			"base_devices[0] is called so already; it takes one of its own"},
		{-EINVAL,
			"{'base_devices': [" NULL_DEV("a") "], 'raid_devices': [" RAID(
				"raid1", "a", "'a'") "]}",
			"x.json:1:135: raid_devices[0].params.name: 'a' is not accepted: "
			"base_devices[0] is called so already; it takes one of its own"},
		{-EINVAL,
			BASE("{'method': 'null', 'params': {'name': 'a', 'size': 4096, 'uuid': '" U1
			     "'}}, {'method': 'null', 'params': {'name': '" U1 "', 'size': 4096}}"),
			"x.json:1:164: base_devices[1].params.name: '" U1
			"' is a UUID; give it as 'uuid', and another word as the name"},
		{-EBUSY, BASE(NULL_DEV("a") "," DELAY("d", "a") "," DELAY("e", "a")),
			"x.json:1:187: base_devices[2].params.base: 'a' is not accepted: "
			"base_devices[1] 'd' uses it already; it takes one that nothing else uses"},
		{-EBUSY, BASE(DELAY("d", "other") "," DELAY("e", "other")),
			"x.json:1:133: base_devices[1].params.base: 'other' is not accepted: "
			"base_devices[0] 'd' uses it already; it takes one that nothing else uses"},
		{-EBUSY, "{'raid_devices': [" RAID("raid1", "r", "'a', 'b', 'a'") "]}",
			"x.json:1:88: raid_devices[0].params.base_bdevs[2]: 'a' is not accepted: "
			"raid_devices[0] 'r' uses it already; it takes one that nothing else uses"},
		{-EBUSY,
			BASE("{'method': 'aio', 'params': {'name': 'a', 'filename': '/f'}},"
			     "{'method': 'file', 'params': {'name': 'b', 'filename': '/f', "
			     "'read_only': true}}"),
			"x.json:1:135: base_devices[1].params.filename: '/f' is not accepted: "
			"base_devices[0] 'a' uses it already; it takes one that nothing else uses, "
			"unless all are read_only"},
		{-EBUSY,
			BASE(NVME("a", ", 'nsid': 1") "," NVME("b", ", 'nsid': 2") "," NVME(
				"c", ", 'nsid': 1")),
			"x.json:1:240: base_devices[2].params.pci_addr: '0000:01:00.0' is not "
			"accepted: base_devices[0] 'a' uses it already; it takes one that nothing "
			"else uses, unless all are read_only"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_document_refuses_circles(void **state)
{
	static const struct bad table[] = {
		{-EINVAL, BASE(DELAY("d", "d")),
			"x.json:1:71: base_devices[0].params.base: 'd' is not accepted: 'd' would "
			"stand on itself; it takes something that does not need it"},
		{-EINVAL,
			"{'base_devices': [" DELAY("d", "r") "," NULL_DEV(
				"a") "], 'raid_devices': [" RAID("raid1", "r", "'a', 'd'") "]}",
			"x.json:1:218: raid_devices[0].params.base_bdevs[1]: 'd' is not accepted: "
			"'r' would stand on itself; it takes something that does not need it"},
		/* The first is not in the circle, it only leads there. */
		{-EINVAL,
			"{'snapshots': [{'name': 'q', 'source_vol': 's/c'}, {'name': 'p', "
			"'source_vol': 's/c'}], 'clones': [{'name': 'c', 'source_snap': 's/p'}]}",
			"x.json:1:129: clones[0].source_snap: 's/p' is not accepted: 's/c' would "
			"stand on itself; it takes something that does not need it"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

/* The example as the specification prints it: nvme0 is in two arrays. */
static void test_document_refuses_the_printed_example_by_name(void **state)
{
	static const struct bad table[] = {
		{-EBUSY,
			"{'base_devices': ["
			"{'method': 'nvme', 'params': {'name': 'nvme0', 'pci_addr': "
			"'0000:01:00.0'}},\n"
			"{'method': 'nvmf', 'params': {'name': 'nvmf0', 'addr': '192.168.1.100', "
			"'port': 4420, 'nqn': 'nqn.2016-06.io.spdk:cnode1'}},\n"
			"{'method': 'aio', 'params': {'name': 'aio0', 'filename': "
			"'/tmp/aiofile'}}],"
			"\n'raid_devices': ["
			"{'method': 'raid0', 'params': {'name': 'raid0_dev', 'base_bdevs': "
			"['nvme0', 'nvmf0'], 'strip_size_kb': 128}},\n"
			"{'method': 'raid1', 'params': {'name': 'raid1_dev', 'base_bdevs': "
			"['aio0', 'nvme0']}}],\n"
			"'lvol_stores': [{'name': 'lvs_raid0', 'base_bdev': 'raid0_dev', "
			"'cluster_size': 4096}],\n"
			"'lvol_volumes': [{'name': 'data_vol', 'lvs_name': 'lvs_raid0', 'size_mb': "
			"1024, 'thin_provision': true}],\n"
			"'snapshots': [{'source_vol': 'lvs_raid0/data_vol', 'name': "
			"'data_snap1'}],\n"
			"'clones': [{'source_snap': 'lvs_raid0/data_snap1', 'name': "
			"'data_clone1'}]}",
			"x.json:5:76: raid_devices[1].params.base_bdevs[1]: 'nvme0' is not "
			"accepted: raid_devices[0] 'raid0_dev' uses it already; it takes one that "
			"nothing else uses"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

/* What is right and what this version does not have is refused by name. */
static void test_document_refuses_what_there_is_not_by_name(void **state)
{
	static const struct bad table[] = {
		{-EOPNOTSUPP,
			BASE("{'method': 'rbd', 'params': {'name': 'r', 'pool_name': 'p', "
			     "'image_name': 'i'}}"),
			"x.json:1:30: base_devices[0].method: 'r' cannot be made: this version has "
			"no driver 'rbd'; it has: 'null', 'malloc', 'file', 'aio', 'error', "
			"'delay', 'nvme'"},
		/* Nobody here knows what else its driver takes. */
		{-EOPNOTSUPP,
			BASE("{'method': 'rbd', 'params': {'name': 'r', 'pool_name': 'p', "
			     "'image_name': 'i', 'user': 'u'}}"),
			"x.json:1:30: base_devices[0].method: 'r' cannot be made: this version has "
			"no driver 'rbd'; it has: 'null', 'malloc', 'file', 'aio', 'error', "
			"'delay', 'nvme'"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_document_has_limits(void **state)
{
	struct xbdev_document *doc = NULL;
	struct xu_error err = {0};
	char path[XBDEV_TEXT_PATH_SIZE];
	json_t *root = json_pack("{s:[]}", "base_devices"),
	       *list = json_object_get(root, "base_devices");

	/* As many entries as there may be, and so many on each other. */
	for (uint32_t i = 0; i < XBDEV_DOCUMENT_MAX_ITEMS; i++) {
		json_t *params = json_pack("{s:o}", "name", json_sprintf("d%u", i));
		bool is_first = i % XBDEV_CONFIG_MAX_DEPTH == 0;

		if (is_first) {
			json_object_set_new(params, "size", json_integer(4096));
		} else {
			json_object_set_new(params, "base", json_sprintf("d%u", i - 1));
		}
		json_array_append_new(list, json_pack("{s:s, s:o}", "method",
						    is_first ? "null" : "delay", "params", params));
	}
	assert_int_equal(xbdev_document_new(xbdev_sections, root, &doc, path, &err), 0);
	assert_int_equal(doc->nr_items, XBDEV_DOCUMENT_MAX_ITEMS);
	assert_int_equal(doc->nr_levels, XBDEV_CONFIG_MAX_DEPTH);
	assert_int_equal(doc->items[XBDEV_CONFIG_MAX_DEPTH + 3].level, 3);
	xbdev_document_free(doc);

	json_object_set_new(json_object_get(json_array_get(list, XBDEV_CONFIG_MAX_DEPTH), "params"),
		"base", json_sprintf("d%u", XBDEV_CONFIG_MAX_DEPTH - 1));
	json_object_del(
		json_object_get(json_array_get(list, XBDEV_CONFIG_MAX_DEPTH), "params"), "size");
	json_object_set_new(
		json_array_get(list, XBDEV_CONFIG_MAX_DEPTH), "method", json_string("delay"));
	assert_int_equal(xbdev_document_new(xbdev_sections, root, &doc, path, &err), -EINVAL);
	assert_string_equal(
		err.text, "\"d31\" is not accepted: more than 32 would stand on each other");
	assert_string_equal(path, "base_devices[32].params.base");

	json_array_append_new(list, json_object());
	assert_int_equal(xbdev_document_new(xbdev_sections, root, &doc, path, &err), -EINVAL);
	assert_string_equal(
		err.text, "with this list there are 4097 entries; a document takes 4096");
	json_decref(root);
}

static const char everything[] =
	"{'_comment': ['anything', {}], 'clones': [{'name': 'c', 'source_snap': 's/p'}],"
	"'snapshots': [{'name': 'p', 'source_vol': 's/v', '_': 1}],"
	"'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': 8, 'thin_provision': false}],"
	"'lvol_stores': [{'name': 's', 'base_bdev': '" U1 "', 'cluster_size': '1 MiB'}],"
	"'raid_devices': [" RAID("raid1", "r",
		"'m', 'd'") ","
			    "{'method': 'linear', 'params': {'name': 'l', 'uuid': '" U1
			    "', 'base_bdevs': ['r']}}],"
			    "'base_devices': [{'method': 'delay', 'params': {'name': 'd', 'base': "
			    "'f'}},"
			    "{'method': 'file', 'params': {'name': 'f', 'filename': '/f', 'size': "
			    "'1MiB', 'direct': "
			    "true, 'uuid': '6BA7B810-9DAD-11D1-80B4-00C04FD430C8'}},"
			    "{'method': 'malloc', '_why': 'x', 'params': {'name': 'm', "
			    "'num_blocks': 16, '_z': 0}}]}";

static void test_document_reads_everything(void **state)
{
	static const struct {
		const char *name;
		uint32_t level;
	} expected[] = {{"d", 1}, {"f", 0}, {"m", 0}, {"r", 2}, {"l", 3}, {"s", 4}, {"s/v", 5},
		{"s/p", 6}, {"s/c", 7}};
	struct xbdev_document *doc = document_of(everything);
	const struct xbdev_item *item;

	assert_int_equal(doc->nr_items, ARRAY_SIZE(expected));
	assert_int_equal(doc->nr_levels, 8);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_string_equal(doc->items[i].name, expected[i].name);
		assert_int_equal(doc->items[i].level, expected[i].level);
	}
	/* A store is no device, and a volume is found by its whole name only. */
	assert_null(xbdev_document_find(doc, XBDEV_SPACE_DEVICE, "s"));
	assert_ptr_equal(xbdev_document_find(doc, XBDEV_SPACE_STORE, "s"), &doc->items[5]);
	assert_null(xbdev_document_find(doc, XBDEV_SPACE_DEVICE, "v"));
	assert_ptr_equal(xbdev_document_find(
				 doc, XBDEV_SPACE_DEVICE, "11111111-1111-4111-8111-111111111111"),
		&doc->items[4]);
	item = &doc->items[5];
	assert_ptr_equal(item->uses[0].provider, &doc->items[4]);
	assert_ptr_equal(doc->items[4].user, item);
	assert_ptr_equal(doc->items[2].user, &doc->items[3]);
	xbdev_document_free(doc);
}

static void test_document_has_one_form(void **state)
{
	static const char expected[] =
		"{'base_devices': [{'method': 'delay', 'params': {'name': 'd', 'base': 'f'}}, "
		"{'method': 'aio', 'params': {'name': 'f', 'filename': '/f', 'size': 1048576, "
		"'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'}}, "
		"{'method': 'malloc', 'params': {'name': 'm', 'size': 8192}}], "
		"'raid_devices': [" RAID("raid1", "r",
			"'m', 'd'") ", "
				    "{'method': 'linear', 'params': {'name': 'l', 'base_bdevs': "
				    "['r'], 'uuid': '" U1 "'}}], "
				    "'lvol_stores': [{'name': 's', 'base_bdev': 'l', "
				    "'cluster_size': 1048576}], "
				    "'lvol_volumes': [{'name': 'v', 'lvs_name': 's', 'size_mb': "
				    "8}], "
				    "'snapshots': [{'name': 'p', 'source_vol': 's/v'}], "
				    "'clones': [{'name': 'c', 'source_snap': 's/p'}]}";
	struct xbdev_document *doc = document_of(everything), *again;
	json_t *root = xbdev_document_json(doc), *root_again;
	char *text = json_dumps(root, 0), *copy = quoted(expected);

	assert_string_equal(text, copy);
	again = document_of(text);
	root_again = xbdev_document_json(again);
	assert_true(json_equal(root, root_again));
	free(text);
	free(copy);
	json_decref(root);
	json_decref(root_again);
	xbdev_document_free(doc);
	xbdev_document_free(again);
}

static void test_document_lets_readers_share_a_file(void **state)
{
	xbdev_document_free(document_of(
		BASE("{'method': 'aio', 'params': {'name': 'a', 'filename': '/f', 'read_only': "
		     "true}}, {'method': 'aio', 'params': {'name': 'b', 'filename': '/f', "
		     "'read_only': true}}")));
}

/* What a device has when it is made again: the name's identity, unless the disk has one itself. */
static void test_identity_is_kept_with_the_name_or_the_disk(void **state)
{
	static const struct {
		const char *entry;
		bool is_kept;
	} table[] = {
		{"{'driver': 'nvme', 'name': 'n', 'pci_addr': '0000:01:00.0', 'engine': 'block'}",
			true},
		{"{'driver': 'nvme', 'name': 'n', 'pci_addr': '0000:01:00.0', 'nsid': 1}", true},
		{"{'driver': 'nvme', 'name': 'n', 'pci_addr': '0000:01:00.0', 'nsid': 2}", false},
		{"{'driver': 'nvme', 'name': 'n', 'pci_addr': '0000:02:00.0'}", false},
		{"{'driver': 'nvme', 'name': 'n', 'device': 'nvme0'}", false},
		{"{'driver': 'null', 'name': 'n', 'size': 4096}", false},
	};
	char *text =
		quoted("{'driver': 'nvme', 'name': 'n', 'pci_addr': '0000:01:00.0', 'nsid': 1, "
		       "'uuid': '" U1 "'}");
	json_t *older = json_loads(text, 0, NULL);

	free(text);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		json_t *entry;

		text = quoted(table[i].entry);
		entry = json_loads(text, 0, NULL);
		assert_non_null(entry);
		assert_int_equal(xbdev_config_keep(entry, older), 0);
		if ((json_object_get(entry, "uuid") != NULL) != table[i].is_kept) {
			fail_msg("%s", text);
		}
		json_decref(entry);
		free(text);
	}
	json_decref(older);
}

/* The corrected example is good; what it may lack here is a layer of this version. */
static void test_document_of_the_examples_is_good(void **state)
{
	char file[512], path[XBDEV_TEXT_PATH_SIZE];
	struct xbdev_document *doc = NULL;
	struct xbdev_text *text;
	struct xu_error err = {0};
	int rc;

	snprintf(file, sizeof(file), "%s/examples/storage_config.json", source_dir);
	if (xbdev_text_read(file, "example", &text, &err) != 0 ||
		xbdev_document_new(xbdev_sections, text->root, &doc, path, &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(doc->nr_items, 10);
	rc = xbdev_document_can(doc, path, &err);
	assert_true(rc == 0 || rc == -EOPNOTSUPP);
	assert_non_null(xbdev_document_find(doc, XBDEV_SPACE_DEVICE, "lvs_raid0/data_clone1"));
	xbdev_document_free(doc);
	xbdev_text_free(text);
}

/* Whichever allocation fails, what comes out is an error or the same document. */
static void test_document_survives_lack_of_memory(void **state)
{
	struct xbdev_document *good = document_of(everything), *doc;
	json_t *good_root = xbdev_document_json(good), *root;
	char path[XBDEV_TEXT_PATH_SIZE], *copy = quoted(everything);
	struct xbdev_text *text;
	unsigned n = 0, nr_failed = 0;
	bool was_refused;

	assert_int_equal(xbdev_text_parse("x", copy, strlen(copy), &text, NULL), 0);
	do {
		struct xu_error err = {0};
		int rc;

		doc = NULL;
		json_fail_arm(++n);
		rc = xbdev_document_new(xbdev_sections, text->root, &doc, path, &err);
		was_refused = json_fail_disarm();
		if (rc == 0) {
			root = xbdev_document_json(doc);
			assert_true(json_equal(root, good_root));
			json_decref(root);
		} else {
			assert_null(doc);
			assert_int_equal(rc, -ENOMEM);
			assert_int_equal(err.code, rc);
			nr_failed++;
		}
		xbdev_document_free(doc);
	} while (was_refused);
	assert_true(nr_failed > 50);
	free(copy);
	xbdev_text_free(text);
	json_decref(good_root);
	xbdev_document_free(good);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_document_refuses_wrong_roots),
		cmocka_unit_test(test_document_refuses_wrong_entries),
		cmocka_unit_test(test_document_refuses_wrong_arrays),
		cmocka_unit_test(test_document_refuses_wrong_volumes),
		cmocka_unit_test(test_document_refuses_what_is_said_twice),
		cmocka_unit_test(test_document_refuses_circles),
		cmocka_unit_test(test_document_refuses_the_printed_example_by_name),
		cmocka_unit_test(test_document_refuses_what_there_is_not_by_name),
		cmocka_unit_test(test_document_has_limits),
		cmocka_unit_test(test_document_reads_everything),
		cmocka_unit_test(test_document_has_one_form),
		cmocka_unit_test(test_document_lets_readers_share_a_file),
		cmocka_unit_test(test_identity_is_kept_with_the_name_or_the_disk),
		cmocka_unit_test(test_document_of_the_examples_is_good),
		cmocka_unit_test(test_document_survives_lack_of_memory),
	};

	source_dir = argc > 1 ? argv[1] : ".";
	return cmocka_run_group_tests_name("xbdev_document", tests, NULL, NULL);
}
