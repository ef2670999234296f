/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration files: each wrong document is refused with exactly this place and sentence, and
 * what is good is read with its defaults and its values.
 */
#include "daemon/xsand/config.h"
#include "daemon/xsand/config_check.h"
#include "daemon/xsand/model.h"
#include "lib/util/error.h"
#include "lib/xregistry/mac.h"
#include "test/unit/util/test.h"
#include "test/unit/xsand/json_fail.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct bad {
	const char *text;
	const char *expected; /* the whole error */
};

static void check_bad(const struct bad *table, size_t count)
{
	bool has_failed = false;

	for (size_t i = 0; i < count; i++) {
		struct config *config = NULL;
		struct xu_error err = {0};
		int rc =
			config_parse("x.json", table[i].text, strlen(table[i].text), &config, &err);

		if (rc != -EINVAL || err.code != -EINVAL || config != NULL ||
			strcmp(err.text, table[i].expected) != 0) {
			print_error("%s\n  got %d    %s\n  expected %s\n", table[i].text, rc,
				err.text, table[i].expected);
			has_failed = true;
		}
		config_free(config);
	}
	assert_false(has_failed);
}

static void test_config_parse_refuses_what_is_not_json(void **state)
{
	static const struct bad table[] = {
		{"", "x.json:1:0: '[' or '{' expected near end of file"},
		{"{\n  \"log\": {\"level\": \"info\"},,\n}",
			"x.json:2:28: string or '}' expected near ','"},
		{"{\n  \"log\": {},\n  \"log\": {}\n}",
			"x.json:3:7: duplicate object key near '\"log\"'"},
		{"{\"devices\": [\n  {\"driver\": \"null\"\n]}",
			"x.json:3:1: '}' expected near ']'"},
		{"{\"log\": {\"level\": \"in\nfo\"}}",
			"x.json:1:21: unexpected newline near '\"in'"},
		{"{} {}", "x.json:1:4: end of file expected near '{'"},
		{"{\"log\": \"\xff\"}", "x.json:1:9: unable to decode byte 0xff near '\"'"},
		{"{\"log\": 1e999}", "x.json:1:13: real number overflow near '1e999'"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_config_parse_refuses_a_wrong_registry(void **state)
{
	static const struct bad table[] = {
		{"{\"registry\": {}}",
			"x.json:1:14: registry: 'url' is missing: where the registry is, such as "
			"\"http://192.0.2.1:8080\"; or enable_multicast, with which a registry "
			"finds the node"},
		{"{\"registry\": {\"enable_multicast\": true}}",
			"x.json:1:14: registry.multicast_key_file: it is missing, and so is "
			"multicast_key_env: without a key multicast is only for a loopback "
			"interface (multicast_interface \"lo\"), for anybody could list targets "
			"that are not yours"},
		{"{\"registry\": {\"enable_multicast\": true,\n\"multicast_interface\": \"lo\",\n"
		 "\"multicast_group\": \"192.0.2.1\"}}",
			"x.json:3:20: registry.multicast_group: '192.0.2.1' is no numeric "
			"multicast address, such as 239.255.43.21 or ff02::4791"},
		{"{\"registry\": {\"enable_multicast\": true, \"multicast_port\": 0}}",
			"x.json:1:59: registry.multicast_port: 0 is not accepted; it takes a whole "
			"number from 1 to 65535"},
		{"{\"registry\": {\"enable_multicast\": true, \"multicast_key_file\": \"a\", "
		 "\"multicast_key_env\": \"B\"}}",
			"x.json:1:89: registry.multicast_key_env: multicast_key_file is given too, "
			"and one key is enough"},
	};
	struct config *config = NULL;
	struct xu_error err;
	const char good[] = "{\"registry\": {\"enable_multicast\": true, "
			    "\"multicast_interface\": \"lo\"}}";

	check_bad(table, ARRAY_SIZE(table));
	assert_int_equal(config_parse("x.json", good, strlen(good), &config, &err),
		xreg_mac_is_there() ? 0 : -EINVAL);
	config_free(config);
}

static void test_config_parse_refuses_wrong_sections(void **state)
{
	static const struct bad table[] = {
		{"[]", "x.json:1:1: an object { … } is needed here"},
		{"{\n  \"device\": []\n}",
			"x.json:2:13: device: 'device' is not known here; accepted: log, reactors, "
			"rpc, state_dir, stop_timeout_s, devices, lvol_stores, lvol_volumes, nvmf, "
			"registry"},
		{"{\"a\\nb\\u001b\": 1}",
			"x.json:1:16: a?b?: 'a?b?' is not known here; accepted: log, reactors, "
			"rpc, state_dir, stop_timeout_s, devices, lvol_stores, lvol_volumes, nvmf, "
			"registry"},
		{"{\"log\": []}", "x.json:1:9: log: an object { … } is needed here"},
		{"{\n\"log\": {\"level\": \"loud\"}}",
			"x.json:2:18: log.level: \"loud\" is not accepted; it takes one of: "
			"\"fatal\", \"error\", \"warn\", \"info\", \"debug\", \"trace\""},
		{"{\"log\": {\"level\": 3}}",
			"x.json:1:19: log.level: 3 is not accepted; it takes one of: \"fatal\", "
			"\"error\", \"warn\", \"info\", \"debug\", \"trace\""},
		{"{\"log\": {\"target\": \"file\"}}",
			"x.json:1:9: log: 'path' is missing: the log goes to a file"},
		{"{\"log\": {\"target\": \"file\", \"path\": \"\"}}",
			"x.json:1:36: log.path: \"\" is not accepted; it takes a text that is not "
			"empty"},
		{"{\"log\": {\"rotate_size\": \"12 parsecs\"}}",
			"x.json:1:25: log.rotate_size: \"12 parsecs\" is not accepted; it takes a "
			"whole number of bytes or a text such as \"256MiB\", from 0 to "
			"18446744073709551615"},
		{"{\"log\": {\"rotate_keep\": -1}}",
			"x.json:1:25: log.rotate_keep: -1 is not accepted; it takes a whole number "
			"from 0 to 1000"},
		{"{\"reactors\": {\"count\": 0}}",
			"x.json:1:24: reactors.count: 0 is not accepted; it takes a whole number "
			"from 1 to 64"},
		{"{\"reactors\": {\"count\": 65}}",
			"x.json:1:24: reactors.count: 65 is not accepted; it takes a whole number "
			"from 1 to 64"},
		{"{\"reactors\": {\"cpus\": 3}}",
			"x.json:1:23: reactors.cpus: a list [ … ] of 1 to 64 CPUs is needed here"},
		{"{\"reactors\": {\"cpus\": [0, 1, \"2\"]}}",
			"x.json:1:30: reactors.cpus[2]: a CPU is a whole number from 0 to 1023, "
			"see lscpu"},
		{"{\"reactors\": {\"cpus\": [0,\n 5000]}}",
			"x.json:2:2: reactors.cpus[1]: a CPU is a whole number from 0 to 1023, see "
			"lscpu"},
		{"{\"reactors\": {\"count\": 2, \"cpus\": [0]}}",
			"x.json:1:24: reactors.count: 2 is not accepted with a list of 1 CPUs; "
			"leave one of them out"},
		{"{\"reactors\": {\"buffer_size\": 4096}}",
			"x.json:1:30: reactors.buffer_size: 4096 is not accepted; it takes a whole "
			"number of bytes or a text such as \"256MiB\", from 4194304 to "
			"1099511627776"},
		{"{\"rpc\": {\"sokket\": \"/x\"}}",
			"x.json:1:20: rpc.sokket: 'sokket' is not known here; accepted: socket"},
		{"{\"state_dir\": true}", "x.json:1:15: state_dir: true is not accepted; it takes "
					  "a text that is not empty"},
		{"{\"stop_timeout_s\": 0}", "x.json:1:20: stop_timeout_s: 0 is not accepted; it "
					    "takes a whole number from 1 to 3600"},
		{"{\"nvmf\": {\"subsystem\": []}}",
			"x.json:1:24: nvmf.subsystem: 'subsystem' is not known here; accepted: "
			"transport, subsystems"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_config_parse_refuses_wrong_devices(void **state)
{
	static const struct bad table[] = {
		{"{\"devices\": {}}",
			"x.json:1:13: devices: a list [ … ] of devices is needed here"},
		{"{\"devices\": [3]}", "x.json:1:14: devices[0]: a device is an object { … }"},
		{"{\"devices\": [{\"name\": \"a\"}]}",
			"x.json:1:14: devices[0]: 'driver' is missing: one of \"null\", "
			"\"malloc\", \"file\", \"error\", \"delay\", \"nvme\", \"raid\""},
		{"{\"devices\": [{\"driver\": 7}]}",
			"x.json:1:25: devices[0].driver: a text is needed here, one of \"null\", "
			"\"malloc\", \"file\", \"error\", \"delay\", \"nvme\", \"raid\""},
		{"{\"devices\": [{\"driver\": \"raid7\"}]}",
			"x.json:1:25: devices[0].driver: \"raid7\" is not accepted; it takes one "
			"of: \"null\", \"malloc\", \"file\", \"error\", \"delay\", \"nvme\", "
			"\"raid\""},
		{"{\"devices\": [{\"driver\": \"null\"}]}",
			"x.json:1:14: devices[0]: 'name' is missing: name of the device"},
		{"{\"devices\": [\n{\"driver\": \"null\", \"name\": \"a b\"}]}",
			"x.json:2:28: devices[0].name: byte 2 is a space, a control character or "
			"not ASCII; it takes printable ASCII"},
		{"{\"devices\": [\n{\"driver\": \"null\", \"name\": \"\"}]}",
			"x.json:2:28: devices[0].name: \"\" is not accepted; it takes a text that "
			"is not empty"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\", \"block_size\": 513}]}",
			"x.json:1:60: devices[0].block_size: 513 is not accepted; it takes 512 or "
			"4096"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\", \"block_size\": 5}]}",
			"x.json:1:60: devices[0].block_size: 5 is not accepted; it takes a whole "
			"number from 512 to 4096"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\", \"size\": 1000}]}",
			"x.json:1:54: devices[0].size: 1000 bytes is not accepted; it takes a "
			"multiple of the block size 512"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\", \"size\": \"6KiB\","
		 " \"block_size\": 4096}]}",
			"x.json:1:54: devices[0].size: 6144 bytes is not accepted; it takes a "
			"multiple of the block size 4096"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\", \"size\": \"4KiB\","
		 " \"num_blocks\": 7}]}",
			"x.json:1:76: devices[0].num_blocks: 7 blocks of 512 bytes are 3584 bytes, "
			"but size is 4096; give one of the two"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\", \"bytes\": 1024}]}",
			"x.json:1:55: devices[0].bytes: 'bytes' is not known here; accepted: name, "
			"size, num_blocks, block_size, zero_reads, uuid"},
		{"{\"devices\": [{\"driver\": \"file\", \"name\": \"a\"}]}",
			"x.json:1:14: devices[0]: 'filename' is missing: path of a regular file or "
			"a block device"},
		{"{\"devices\": [{\"driver\": \"file\", \"name\": \"a\", \"filename\": \"/x\","
		 " \"uuid\": \"6ba7b810\"}]}",
			"x.json:1:72: devices[0].uuid: \"6ba7b810\" is not accepted; it takes a "
			"UUID such as \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\""},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"a\"},\n"
		 "{\"driver\": \"malloc\", \"name\": \"a\"}]}",
			"x.json:2:30: devices[1].name: devices[0] is called 'a' already; each "
			"device needs a name and a UUID of its own"},
		{"{\"devices\": [\n"
		 "{\"driver\": \"null\", \"name\": \"a\", \"uuid\": "
		 "\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"},\n"
		 "{\"driver\": \"null\", \"name\": \"b\", \"uuid\": "
		 "\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\"}]}",
			"x.json:3:41: devices[1].uuid: devices[0] is called "
			"'6BA7B810-9DAD-11D1-80B4-00C04FD430C8' already; each device needs a name "
			"and a UUID of its own"},
		{"{\"devices\": [{\"driver\": \"error\", \"name\": \"e\", \"base\": \"a\"}]}",
			"x.json:1:55: devices[0].base: there is no device 'a'; name one of the "
			"devices of this list"},
		{"{\"devices\": [{\"driver\": \"error\", \"name\": \"e\", \"base\": \"e\"}]}",
			"x.json:1:55: devices[0].base: 'e' stands on this device itself"},
		{"{\"devices\": [{\"driver\": \"error\", \"name\": \"e\", \"base\": \"f\"},\n"
		 "{\"driver\": \"delay\", \"name\": \"f\", \"base\": \"e\"}]}",
			"x.json:1:55: devices[0].base: 'f' stands on this device itself"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"n\"},\n"
		 "{\"driver\": \"error\", \"name\": \"e\", \"base\": \"n\"},\n"
		 "{\"driver\": \"delay\", \"name\": \"f\", \"base\": \"n\"}]}",
			"x.json:3:42: devices[2].base: 'n' is the base of devices[1] already; a "
			"device has one user"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

#define DEVICES                                                                                    \
	"\"devices\": [{\"driver\": \"null\", \"name\": \"n0\"}, "                                 \
	"{\"driver\": \"null\", \"name\": \"n1\"}],\n"
#define SUBSYSTEM(members)                                                                         \
	"{" DEVICES "\"nvmf\": {\"subsystems\": [{\"nqn\": \"nqn.2026-11.io.xsan:a\",\n" members   \
	"}]}}"

#define WITH_NULL "{\"devices\": [{\"driver\": \"null\", \"name\": \"n\", \"size\": 8192}], "
#define STORE     "{\"name\": \"s\", \"base_bdev\": \"n\"}"

static void test_config_parse_refuses_wrong_stores_and_volumes(void **state)
{
	static const struct bad table[] = {
		{"{\"lvol_stores\": 1}", "x.json:1:17: lvol_stores: a list [ … ] is needed here"},
		{"{\"lvol_volumes\": [1]}",
			"x.json:1:19: lvol_volumes[0]: an entry is an object { … }"},
		{"{\"lvol_stores\": [{\"name\": \"s\", \"base_bdev\": \"m\"}]}",
			"x.json:1:45: lvol_stores[0].base_bdev: there is no device 'm'; name one "
			"of the list \"devices\", or a logical volume as STORE/VOLUME"},
		{WITH_NULL "\"lvol_stores\": [" STORE ", {\"name\": \"t\", \"base_bdev\": \"n\"}]}",
			"x.json:1:138: lvol_stores[1].base_bdev: \"n\" is not accepted: "
			"lvol_stores[0] 's' uses it already; it takes one that nothing else uses"},
		{WITH_NULL "\"lvol_stores\": [" STORE ", " STORE "]}",
			"x.json:1:120: lvol_stores[1].name: \"s\" is not accepted: lvol_stores[0] "
			"is "
			"called so already; it takes one of its own"},
		{WITH_NULL "\"lvol_stores\": [{\"name\": \"s\", \"base_bdev\": \"n\", "
			   "\"create\": 1}]}",
			"x.json:1:120: lvol_stores[0].create: true or false is needed here"},
		{WITH_NULL "\"lvol_stores\": [{\"name\": \"s\", \"base_bdev\": \"n\", "
			   "\"low_percent\": 5}]}",
			"x.json:1:125: lvol_stores[0].low_percent: low_percent and high_percent "
			"go together; give both"},
		{"{\"lvol_volumes\": [{\"name\": \"v\"}]}",
			"x.json:1:19: lvol_volumes[0]: 'lvs_name' is missing: name of the store"},
		{"{\"lvol_volumes\": [{\"name\": \"v/w\", \"lvs_name\": \"s\", \"size_mb\": 1}]}",
			"x.json:1:28: lvol_volumes[0].name: \"v/w\" is not accepted; it takes a "
			"name "
			"without '/', which stands between a store and what is in it"},
		{"{\"lvol_volumes\": [{\"name\": \"v\", \"lvs_name\": \"s\", \"size_mb\": 1, "
		 "\"size\": 4096}]}",
			"x.json:1:72: lvol_volumes[0].size: size_mb says it already; give one of "
			"the two"},
		{WITH_NULL "\"lvol_stores\": [" STORE "], \"nvmf\": {\"subsystems\": [{\"nqn\": "
			   "\"nqn.2026-11.x:a\", \"namespaces\": [{\"nsid\": 1, \"device\": "
			   "\"n\"}]}]}}",
			"x.json:1:200: nvmf.subsystems[0].namespaces[0].device: 'n' is used by "
			"lvol_stores[0] already; a device has one user"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"n\", \"size\": 8192}, "
		 "{\"driver\": \"error\", \"name\": \"e\", \"base\": \"n\"}], \"lvol_stores\": "
		 "[" STORE "]}",
			"x.json:1:152: lvol_stores[0].base_bdev: 'n' is used by devices[1] "
			"already; a device has "
			"one user"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static void test_config_parse_refuses_wrong_exports(void **state)
{
	static const struct bad table[] = {
		{"{\"nvmf\": {\"transport\": {\"in_capsule_data_size\": 100}}}",
			"x.json:1:49: nvmf.transport.in_capsule_data_size: 100 is not accepted; it "
			"takes a multiple of 16"},
		{"{\"nvmf\": {\"transport\": {\"in_capsule_data_size\": 70000}}}",
			"x.json:1:49: nvmf.transport.in_capsule_data_size: 70000 is not accepted; "
			"it takes a whole number of bytes or a text such as \"256MiB\", from 0 to "
			"65536"},
		{"{\"nvmf\": {\"transport\": {\"max_io_size\": \"12KiB\"}}}",
			"x.json:1:40: nvmf.transport.max_io_size: 12288 is not accepted; it takes "
			"a power of two, such as \"1MiB\""},
		{"{\"nvmf\": {\"transport\": {\"max_h2c_data\": 4}}}",
			"x.json:1:41: nvmf.transport.max_h2c_data: 4 is not accepted; it takes 0 "
			"or a multiple of 4 from 4096 on"},
		{"{\"nvmf\": {\"transport\": {\"max_queue_depth\": 8}}}",
			"x.json:1:44: nvmf.transport.max_queue_depth: 8 is not accepted; it takes "
			"a whole number from 16 to 4096"},
		{"{\"nvmf\": {\"subsystems\": 1}}",
			"x.json:1:25: nvmf.subsystems: a list [ … ] of subsystems is needed here"},
		{"{\"nvmf\": {\"subsystems\": [{}]}}",
			"x.json:1:26: nvmf.subsystems[0]: 'nqn' is missing: NVMe qualified name"},
		{"{\"nvmf\": {\"subsystems\": [{\"nqn\": \"disk\"}]}}",
			"x.json:1:34: nvmf.subsystems[0].nqn: \"disk\" is not accepted; it takes "
			"an NQN such as \"nqn.2026-11.io.xsan:disk1\", at most 223 ASCII "
			"characters without space"},
		{"{\"nvmf\": {\"subsystems\": [{\"nqn\": "
		 "\"nqn.2014-08.org.nvmexpress.discovery\"}]}}",
			"x.json:1:34: nvmf.subsystems[0].nqn: the discovery subsystem is there by "
			"itself; choose another NQN"},
		{"{\"nvmf\": {\"subsystems\": [{\"nqn\": \"nqn.2026-11.x:a\"},\n"
		 "{\"nqn\": \"nqn.2026-11.x:a\"}]}}",
			"x.json:2:9: nvmf.subsystems[1].nqn: it is the nqn of subsystems[0] "
			"already; put their namespaces together"},
		{SUBSYSTEM("\"serial_number\": \"123456789012345678901\""),
			"x.json:3:18: nvmf.subsystems[0].serial_number: it takes 1 to 20 printable "
			"ASCII characters"},
		{SUBSYSTEM("\"model_number\": \"m\xc3\xbc\""),
			"x.json:3:17: nvmf.subsystems[0].model_number: it takes 1 to 40 printable "
			"ASCII characters"},
		{SUBSYSTEM("\"max_namespaces\": 2000"),
			"x.json:3:19: nvmf.subsystems[0].max_namespaces: 2000 is not accepted; it "
			"takes a whole number from 1 to 1024"},
		{SUBSYSTEM("\"allow_any_host\": \"yes\""),
			"x.json:3:19: nvmf.subsystems[0].allow_any_host: \"yes\" is not accepted; "
			"it takes true or false"},
		{SUBSYSTEM("\"hosts\": \"nqn.2026-11.x:h\""),
			"x.json:3:10: nvmf.subsystems[0].hosts: a list [ … ] of host NQNs is "
			"needed here"},
		{SUBSYSTEM("\"hosts\": [\"h\"]"),
			"x.json:3:11: nvmf.subsystems[0].hosts[0]: \"h\" is not accepted; it takes "
			"an NQN such as \"nqn.2026-11.io.xsan:disk1\", at most 223 ASCII "
			"characters without space"},
		{SUBSYSTEM("\"hosts\": [\"nqn.2026-11.x:a b\"]"),
			"x.json:3:11: nvmf.subsystems[0].hosts[0]: \"nqn.2026-11.x:a b\" is not "
			"accepted; it takes an NQN such as \"nqn.2026-11.io.xsan:disk1\", at most "
			"223 ASCII characters without space"},
		{SUBSYSTEM("\"hosts\": [\"nqn.2026-11.\"]"),
			"x.json:3:11: nvmf.subsystems[0].hosts[0]: \"nqn.2026-11.\" is not "
			"accepted; "
			"it takes an NQN such as \"nqn.2026-11.io.xsan:disk1\", at most 223 ASCII "
			"characters without space"},
		{SUBSYSTEM("\"hosts\": [3]"), "x.json:3:11: nvmf.subsystems[0].hosts[0]: a text "
					      "with the NQN of a host is needed here"},
		{SUBSYSTEM("\"hosts\": [\"nqn.2026-11.x:h\", \"nqn.2026-11.x:h\"]"),
			"x.json:3:30: nvmf.subsystems[0].hosts[1]: this host is in the list "
			"already, at [0]"},
		{SUBSYSTEM("\"namespaces\": {}"), "x.json:3:15: nvmf.subsystems[0].namespaces: a "
						  "list [ … ] of namespaces is needed here"},
		{SUBSYSTEM("\"namespaces\": [{\"device\": \"n0\"}]"),
			"x.json:3:16: nvmf.subsystems[0].namespaces[0]: 'nsid' is missing: "
			"namespace identifier"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 0, \"device\": \"n0\"}]"),
			"x.json:3:25: nvmf.subsystems[0].namespaces[0].nsid: 0 is not accepted; it "
			"takes a whole number from 1 to 1024"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 33, \"device\": \"n0\"}]"),
			"x.json:3:25: nvmf.subsystems[0].namespaces[0].nsid: 33 is not accepted; "
			"it takes 1 to 32 (max_namespaces of the subsystem)"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n2\"}]"),
			"x.json:3:38: nvmf.subsystems[0].namespaces[0].device: there is no device "
			"'n2'; name one of the list \"devices\", or a logical volume as "
			"STORE/VOLUME"},
		{SUBSYSTEM(
			 "\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\", \"nguid\": \"12\"}]"),
			"x.json:3:53: nvmf.subsystems[0].namespaces[0].nguid: it takes 32 "
			"hexadecimal digits, not all 0"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\",\n\"eui64\":"
			   " \"0000000000000000\"}]"),
			"x.json:4:10: nvmf.subsystems[0].namespaces[0].eui64: it takes 16 "
			"hexadecimal digits, not all 0"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\"},\n"
			   "{\"nsid\": 1, \"device\": \"n1\"}]"),
			"x.json:4:10: nvmf.subsystems[0].namespaces[1].nsid: 1 is the nsid of "
			"namespaces[0] already"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\"},\n"
			   "{\"nsid\": 2, \"device\": \"n0\"}]"),
			"x.json:4:23: nvmf.subsystems[0].namespaces[1].device: 'n0' is used by "
			"namespace 1 of nqn.2026-11.io.xsan:a already; a device has one user"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\", \"uuid\":"
			   " \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"},\n{\"nsid\": 2, \"device\":"
			   " \"n1\", \"uuid\": \"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\"}]"),
			"x.json:4:37: nvmf.subsystems[0].namespaces[1].uuid: the UUID "
			"6ba7b810-9dad-11d1-80b4-00c04fd430c8 is that of namespace 1 of "
			"nqn.2026-11.io.xsan:a already; an identifier names one namespace"},
		/* The NGUID of a namespace that has none of its own is its UUID. */
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\", \"uuid\":"
			   " \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"},\n{\"nsid\": 2, \"device\":"
			   " \"n1\", \"nguid\": \"6ba7b8109dad11d180B400C04FD430C8\"}]"),
			"x.json:4:38: nvmf.subsystems[0].namespaces[1].nguid: the NGUID "
			"6ba7b8109dad11d180b400c04fd430c8 is that of namespace 1 of "
			"nqn.2026-11.io.xsan:a already; an identifier names one namespace"},
		{SUBSYSTEM("\"namespaces\": [{\"nsid\": 1, \"device\": \"n0\", \"eui64\":"
			   " \"0011223344556677\"}]},\n{\"nqn\": \"nqn.2026-11.x:b\","
			   "\"namespaces\": [{\"nsid\": 1, \"device\": \"n1\", \"eui64\":"
			   " \"0011223344556677\"}]"),
			"x.json:4:79: nvmf.subsystems[1].namespaces[0].eui64: the EUI64 "
			"0011223344556677 is that of namespace 1 of nqn.2026-11.io.xsan:a "
			"already; an identifier names one namespace"},
		/* The UUID of a namespace that has none of its own is its device's. */
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"n0\"}, {\"driver\": \"null\","
		 " \"name\": \"n1\", \"uuid\": \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"}],\n"
		 "\"nvmf\": {\"subsystems\": [{\"nqn\": \"nqn.2026-11.x:a\", \"namespaces\": ["
		 "{\"nsid\": 1, \"device\": \"n0\", \"uuid\": "
		 "\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"},\n"
		 "{\"nsid\": 2, \"device\": \"n1\"}]}]}}",
			"x.json:3:23: nvmf.subsystems[0].namespaces[1].device: the UUID "
			"6ba7b810-9dad-11d1-80b4-00c04fd430c8 is that of namespace 1 of "
			"nqn.2026-11.x:a already; an identifier names one namespace"},
		{SUBSYSTEM("\"registry\": {\"::1 1\": {\"queue_depth\": 1}}"),
			"x.json:3:13: nvmf.subsystems[0].registry.queue_depth: 1 is not accepted; "
			"it takes a "
			"whole "
			"number from 2 to 65536"},
		{SUBSYSTEM("\"registry\": {\"::1 1\": {\"access\": {\"hosts\": [\"tom\"]}}}"),
			"x.json:3:13: nvmf.subsystems[0].registry.access.hosts[0]: \"tom\" is not "
			"accepted; it takes an NQN such as \"nqn.2026-11.io.xsan:disk1\", at most "
			"223 ASCII characters without space"},
		{SUBSYSTEM("\"registry\": {\"::1 1\": {\"queue_depth\": 2}, "
			   "\"::1 2\": {\"queue_depth\": 3}}"),
			"x.json:3:13: nvmf.subsystems[0].registry: queue_depth: different values "
			"are desired of listeners of one subsystem, ::1 2 and another, which share "
			"it"},
		{SUBSYSTEM("\"registry\": []"), "x.json:3:13: nvmf.subsystems[0].registry: an "
						"object { … } of targets is needed here"},
		{SUBSYSTEM("\"listeners\": [{}]"),
			"x.json:3:15: nvmf.subsystems[0].listeners[0]: 'traddr' is missing: "
			"numeric IPv4 or IPv6 address to listen on"},
		{SUBSYSTEM("\"listeners\": [{\"traddr\": \"localhost\"}]"),
			"x.json:3:26: nvmf.subsystems[0].listeners[0].traddr: \"localhost\" is not "
			"accepted; it takes a numeric IPv4 or IPv6 address such as \"192.0.2.1\" "
			"or \"::1\""},
		{SUBSYSTEM("\"listeners\": [{\"trtype\": \"rdma\", \"traddr\": \"::1\"}]"),
			"x.json:3:26: nvmf.subsystems[0].listeners[0].trtype: \"rdma\" is not "
			"accepted; it takes one of: \"tcp\""},
		{SUBSYSTEM("\"listeners\": [{\"traddr\": \"::1\", \"trsvcid\": 4420}]"),
			"x.json:3:44: nvmf.subsystems[0].listeners[0].trsvcid: 4420 is not "
			"accepted; it takes a text that is not empty"},
		{SUBSYSTEM("\"listeners\": [{\"traddr\": \"::1\", \"trsvcid\": \"66000\"}]"),
			"x.json:3:44: nvmf.subsystems[0].listeners[0].trsvcid: \"66000\" is not "
			"accepted; it takes a port from \"0\" to \"65535\""},
		{SUBSYSTEM("\"listeners\": [{\"traddr\": \"::1\", \"advertise\": \"::\"}]"),
			"x.json:3:46: nvmf.subsystems[0].listeners[0].advertise: \"::\" is not "
			"accepted; it takes an address that hosts can connect to"},
		{SUBSYSTEM("\"listeners\": [{\"traddr\": \"::1\"},\n"
			   "{\"traddr\": \"0:0::1\", \"trsvcid\": \"04420\"}]"),
			"x.json:4:1: nvmf.subsystems[0].listeners[1]: listeners[0] has this "
			"address and port already"},
		{"{\"devices\": [{\"driver\": \"null\", \"name\": \"n0\"}, {\"driver\": \"error\","
		 " \"name\": \"e\", \"base\": \"n0\"}],\n\"nvmf\": {\"subsystems\": ["
		 "{\"nqn\": \"nqn.2026-11.x:a\", \"namespaces\": [{\"nsid\": 1, \"device\": "
		 "\"n0\"}]}]}}",
			"x.json:2:89: nvmf.subsystems[0].namespaces[0].device: 'n0' is used by "
			"devices[1] already; a device has one user"},
	};

	check_bad(table, ARRAY_SIZE(table));
}

static struct config *parse(const char *text)
{
	struct config *config = NULL;
	struct xu_error err = {0};

	if (config_parse("x.json", text, strlen(text), &config, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return config;
}

static void test_config_parse_gives_defaults(void **state)
{
	struct config *config = parse("{}");
	const struct config_settings *s = &config->settings;

	assert_int_equal(s->log.level, XU_LOG_INFO);
	assert_int_equal(s->log.target, XU_LOG_TO_STDERR);
	assert_int_equal(s->log.format, XU_LOG_TEXT);
	assert_int_equal(s->nr_reactors, 1);
	assert_false(s->has_cpus);
	assert_int_equal(s->spin_max_ns, XR_SPIN_MAX_NS_DEFAULT);
	assert_string_equal(s->socket, "/run/xsan/xsand.sock");
	assert_string_equal(s->state_dir, "/var/lib/xsan");
	assert_int_equal(s->stop_timeout_s, 10);
	assert_int_equal(json_object_size(model_devices(config->model)), 0);
	assert_int_equal(json_object_size(model_subsystems(config->model)), 0);
	config_free(config);
}

static void test_config_parse_gives_settings(void **state)
{
	struct config *config =
		parse("{\"_comment\": [1], \"log\": {\"level\": \"DEBUG\", \"target\": \"file\", "
		      "\"path\": \"/l\", \"format\": \"json\", \"rotate_size\": \"1MiB\", "
		      "\"rotate_keep\": 2}, \"reactors\": {\"cpus\": [1, 0], \"spin_max_us\": 0, "
		      "\"buffer_size\": \"8MiB\"}, \"rpc\": {\"socket\": \"/s\"}, \"state_dir\": "
		      "\"/d\", \"stop_timeout_s\": 3}");
	const struct config_settings *s = &config->settings;

	assert_int_equal(s->log.level, XU_LOG_DEBUG);
	assert_int_equal(s->log.target, XU_LOG_TO_FILE);
	assert_int_equal(s->log.format, XU_LOG_JSON);
	assert_string_equal(s->log.path, "/l");
	assert_int_equal(s->log.rotate_bytes, 1u << 20);
	assert_int_equal(s->log.rotate_keep, 2);
	assert_int_equal(s->nr_reactors, 2);
	assert_true(s->has_cpus);
	assert_int_equal(s->cpus[0], 1);
	assert_int_equal(s->cpus[1], 0);
	assert_int_equal(s->spin_max_ns, 0);
	assert_int_equal(s->buffer_bytes, 8u << 20);
	assert_string_equal(s->socket, "/s");
	assert_string_equal(s->state_dir, "/d");
	assert_int_equal(s->stop_timeout_s, 3);
	config_free(config);
}

/* The model has everything in one form: what was said in two ways is equal. */
static void test_config_model_has_one_form(void **state)
{
	struct config *a = parse(
		"{\"devices\": [{\"driver\": \"aio\", \"name\": \"d\", \"filename\": \"/f\", "
		"\"size\": \"1GiB\", \"direct\": true, \"_why\": 1, \"uuid\": "
		"\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\"}, {\"driver\": \"null\", \"name\": "
		"\"n\", \"num_blocks\": 16, \"size\": 8192}], \"nvmf\": {\"transport\": "
		"{\"max_io_size\": "
		"1048576, \"max_queue_depth\": 64}, \"subsystems\": [{\"nqn\": "
		"\"nqn.2026-11.x:a\", \"max_namespaces\": 32, \"hosts\": [\"nqn.2026-11.x:h\"], "
		"\"namespaces\": [{\"nsid\": 1, \"device\": \"d\", \"read_only\": false}], "
		"\"listeners\": [{\"traddr\": \"0::1\"}]}]}}");
	struct config *b = parse(
		"{\"devices\": [{\"driver\": \"file\", \"name\": \"d\", \"filename\": \"/f\", "
		"\"size\": 1073741824, \"uuid\": \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"}, "
		"{\"driver\": \"null\", \"name\": \"n\", \"size\": \"8KiB\", \"block_size\": "
		"512}], \"nvmf\": {\"transport\": {\"max_queue_depth\": 64}, \"subsystems\": "
		"[{\"nqn\": \"nqn.2026-11.x:a\", \"allow_any_host\": false, \"hosts\": "
		"[\"nqn.2026-11.x:h\"], \"namespaces\": [{\"nsid\": 1, \"device\": \"d\"}], "
		"\"listeners\": [{\"trtype\": \"TCP\", \"traddr\": \"::1\", \"trsvcid\": "
		"\"04420\"}]}]}}");
	json_t *expected = json_pack(
		"{s:{s:s}, s:{s:{s:s, s:s, s:s, s:i, s:s}, s:{s:s, s:s, s:i}}, s:{}, s:{}, "
		"s:{s:{s:i}, s:{s:{s:b, s:{s:b}, s:{s:{s:i, s:s}}, "
		"s:{s:{s:s, s:s, s:s}}}}}}",
		"log", "level", "info", "devices", "d", "driver", "file", "name", "d", "filename",
		"/f", "size", 1 << 30, "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "n",
		"driver", "null", "name", "n", "size", 8192, "lvol_stores", "lvol_volumes", "nvmf",
		"transport", "max_queue_depth", 64, "subsystems", "nqn.2026-11.x:a",
		"allow_any_host", 0, "hosts", "nqn.2026-11.x:h", 1, "namespaces", "1", "nsid", 1,
		"device", "d", "listeners", "tcp ::1 4420", "trtype", "tcp", "traddr", "::1",
		"trsvcid", "4420");
	json_t *again, *model;

	assert_non_null(expected);
	assert_true(json_equal(a->model, expected));
	assert_true(json_equal(b->model, expected));
	/* And it survives the way to a configuration file and back. */
	again = model_to_config(a->model);
	model = model_from_config(again);
	assert_true(json_equal(model, expected));
	json_decref(again);
	json_decref(model);
	json_decref(expected);
	config_free(a);
	config_free(b);
}

static void test_config_default_text_is_good(void **state)
{
	struct config *config = parse(config_default_text);

	assert_int_equal(json_object_size(model_devices(config->model)), 1);
	assert_int_equal(json_object_size(model_subsystems(config->model)), 1);
	config_free(config);
}

static void test_config_settings_diff_names_what_takes_a_restart(void **state)
{
	struct config *a = parse("{\"log\": {\"level\": \"info\"}, \"reactors\": {\"count\": 1}}");
	struct config *b = parse("{\"log\": {\"level\": \"warn\", \"format\": \"json\"}, "
				 "\"reactors\": {\"count\": 2}, \"state_dir\": \"/d\", "
				 "\"rpc\": {\"_x\": 1, \"socket\": \"/s\"}, "
				 "\"devices\": [{\"driver\": \"null\", \"name\": \"n\"}]}");
	json_t *expected = json_pack(
		"[s, s, s, s]", "log.format", "reactors.count", "rpc.socket", "state_dir");
	json_t *diff = config_settings_diff(a, b), *none = config_settings_diff(b, b);

	assert_true(json_equal(diff, expected));
	assert_int_equal(json_array_size(none), 0);
	json_decref(diff);
	diff = config_settings_diff(b, a);
	assert_true(json_equal(diff, expected));
	json_decref(diff);
	json_decref(none);
	json_decref(expected);
	config_free(a);
	config_free(b);
}

static void test_config_read_says_what_is_wrong_with_the_file(void **state)
{
	char dir[] = "/tmp/xsan-test-config-XXXXXX", path[64], expected[256];
	struct config *config = NULL;
	struct xu_error err = {0};

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.json", dir);
	assert_int_equal(config_read(path, &config, &err), -ENOENT);
	snprintf(expected, sizeof(expected),
		"cannot read the configuration %s: No such file or directory", path);
	assert_string_equal(err.text, expected);

	assert_int_equal(config_read(dir, &config, &err), -EISDIR);
	assert_int_equal(mkfifo(path, 0600), 0); /* nothing writes there: it must not wait */
	assert_int_equal(config_read(path, &config, &err), -EFBIG);
	unlink(path);

	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(truncate(path, XBDEV_TEXT_MAX + 1), 0);
	assert_int_equal(config_read(path, &config, &err), -EFBIG);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(config_read(path, &config, &err), -EINVAL);
	assert_null(config);
	unlink(path);
	rmdir(dir);
}

/* A text may hold anything, and the sentence has one line. */
static void test_config_parse_survives_any_cut(void **state)
{
	struct config *config = NULL;
	struct xu_error err = {0};
	size_t len = strlen(config_default_text);

	for (size_t cut = 0; cut < len - 2; cut++) {
		char *copy = malloc(cut + 1);

		memcpy(copy, config_default_text, cut);
		assert_int_equal(config_parse("x", copy, cut, &config, &err), -EINVAL);
		assert_null(strchr(err.text, '\n'));
		free(copy);
	}
	assert_null(config);
}

/* Whichever allocation fails, what comes out is an error or the same configuration, never another.
 */
static void test_config_parse_survives_lack_of_memory(void **state)
{
	static const char text[] =
		"{\"log\": {\"level\": \"warn\"}, \"reactors\": {\"cpus\": [0]}, \"devices\": "
		"[{\"driver\": \"malloc\", \"name\": \"m\", \"num_blocks\": 8, \"uuid\": "
		"\"6BA7B810-9DAD-11D1-80B4-00C04FD430C8\"}, {\"driver\": \"error\", \"name\": "
		"\"e\", \"base\": \"m\"}], \"nvmf\": {\"transport\": {\"max_queues\": 2}, "
		"\"subsystems\": [{\"nqn\": \"nqn.2026-11.x:a\", \"hosts\": "
		"[\"nqn.2026-11.x:h\"], \"namespaces\": [{\"nsid\": 1, \"device\": \"e\"}], "
		"\"listeners\": [{\"traddr\": \"::1\", \"advertise\": \"10.0.0.1\"}]}]}}";
	struct config *good = parse(text);
	unsigned n = 0, nr_failed = 0;
	bool has_failed;

	do {
		struct config *config = NULL;
		struct xu_error err = {0};
		int rc;

		json_fail_arm(++n);
		rc = config_parse("x.json", text, strlen(text), &config, &err);
		has_failed = json_fail_disarm();
		if (rc == 0) {
			assert_true(json_equal(config->model, good->model));
		} else {
			assert_null(config);
			assert_string_not_equal(err.text, "");
			nr_failed++;
		}
		config_free(config);
	} while (has_failed);
	assert_true(nr_failed > 100);
	config_free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_parse_refuses_what_is_not_json),
		cmocka_unit_test(test_config_parse_refuses_wrong_sections),
		cmocka_unit_test(test_config_parse_refuses_a_wrong_registry),
		cmocka_unit_test(test_config_parse_refuses_wrong_devices),
		cmocka_unit_test(test_config_parse_refuses_wrong_stores_and_volumes),
		cmocka_unit_test(test_config_parse_refuses_wrong_exports),
		cmocka_unit_test(test_config_parse_gives_defaults),
		cmocka_unit_test(test_config_parse_gives_settings),
		cmocka_unit_test(test_config_model_has_one_form),
		cmocka_unit_test(test_config_default_text_is_good),
		cmocka_unit_test(test_config_settings_diff_names_what_takes_a_restart),
		cmocka_unit_test(test_config_read_says_what_is_wrong_with_the_file),
		cmocka_unit_test(test_config_parse_survives_any_cut),
		cmocka_unit_test(test_config_parse_survives_lack_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
