/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of multicast: what is written is read back, and nothing is taken that has another key,
 * another time, another form, or one bit changed anywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/multicast.h"
#include "lib/xregistry/multicast_net.h"
#include "test/unit/xregistry/fixture.h"

#define KEY "a key of sixteen or more"
#define NOW 1700000000000ull

static const struct xreg_mcast_query question = {.nonce = "0123456789abcdef", .time_ms = NOW};

static void test_a_code_is_that_of_rfc_4231(void **state)
{
	/* Test case 2. */
	static const uint8_t expected[XREG_MAC_BYTES] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75,
		0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d,
		0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
	const char *text = "what do ya want for nothing?";
	uint8_t mac[XREG_MAC_BYTES];

	assert_int_equal(xreg_mac("Jefe", (const uint8_t *)text, strlen(text), mac), 0);
	assert_memory_equal(mac, expected, sizeof(mac));
	assert_true(xreg_mac_is_equal(mac, expected));
	mac[31] ^= 1;
	assert_false(xreg_mac_is_equal(mac, expected));
}

/* ---- queries ---- */

static void test_query_there_and_back(void **state)
{
	uint8_t bytes[XREG_MCAST_QUERY_BYTES];
	struct xreg_mcast_query query;

	assert_int_equal(xreg_mcast_query_write(&question, KEY, bytes), sizeof(bytes));
	assert_int_equal(xreg_mcast_query_read(bytes, sizeof(bytes), KEY, NOW, &query), 0);
	assert_memory_equal(query.nonce, question.nonce, sizeof(query.nonce));
	assert_int_equal(query.time_ms, NOW);
	/* Layout: another implementation must find things where the header says. */
	assert_memory_equal(bytes, "XSMD\1\1\0\100", 8);
	assert_memory_equal(bytes + 8, "0123456789abcdef", 16);
	assert_memory_equal(bytes + 24, "\0\0\1\213\317\345\150\0", 8);
}

static void test_query_of_another_time_is_late(void **state)
{
	uint8_t bytes[XREG_MCAST_QUERY_BYTES];
	struct xreg_mcast_query query;
	const size_t len = sizeof(bytes);
	const uint64_t window = XREG_MCAST_WINDOW_MS;

	xreg_mcast_query_write(&question, KEY, bytes);
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY, NOW + window, &query), 0);
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY, NOW - window, &query), 0);
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY, NOW + window + 1, &query), -ESTALE);
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY, NOW - window - 1, &query), -ESTALE);
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY, 0, &query), -ESTALE);
}

static void test_query_with_any_bit_changed_is_refused(void **state)
{
	uint8_t bytes[XREG_MCAST_QUERY_BYTES];
	struct xreg_mcast_query query;

	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		xreg_mcast_query_write(&question, KEY, bytes);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(xreg_mcast_query_read(bytes, sizeof(bytes), KEY, NOW, &query) < 0);
	}
}

static void test_query_says_why_it_is_refused(void **state)
{
	uint8_t bytes[XREG_MCAST_QUERY_BYTES + 1] = {0};
	struct xreg_mcast_query query;
	const size_t len = XREG_MCAST_QUERY_BYTES;

	xreg_mcast_query_write(&question, KEY, bytes);
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY "x", NOW, &query), -EKEYREJECTED);
	assert_int_equal(xreg_mcast_query_read(bytes, len, NULL, NOW, &query), -EKEYREJECTED);
	assert_int_equal(xreg_mcast_query_read(bytes, len - 1, KEY, NOW, &query), -EBADMSG);
	assert_int_equal(xreg_mcast_query_read(bytes, len + 1, KEY, NOW, &query), -EBADMSG);
	assert_int_equal(xreg_mcast_query_read(bytes, 0, KEY, NOW, &query), -EBADMSG);
	bytes[4] = XREG_MCAST_VERSION + 1;
	assert_int_equal(xreg_mcast_query_read(bytes, len, KEY, NOW, &query), -EPROTONOSUPPORT);
	xreg_mcast_query_write(&question, NULL, bytes);
	assert_int_equal(xreg_mcast_query_read(bytes, len, NULL, NOW, &query), 0);
}

/* ---- answers ---- */

static void assert_specs_equal(const struct xreg_spec *a, const struct xreg_spec *b)
{
	json_t *one = xreg_spec_to_json(a), *other = xreg_spec_to_json(b);

	assert_non_null(one);
	assert_true(json_equal(one, other));
	json_decref(one);
	json_decref(other);
}

/* What of a specification is told. */
static struct xreg_spec told_of(const struct xreg_spec *spec)
{
	struct xreg_spec told = *spec;
	struct xreg_parsed plain;

	xreg_parsed_init(&plain);
	told.node_id = "node-7";
	told.max_iops = told.max_bandwidth_mbps = 0;
	told.avg_latency_us = told.max_connections = told.ttl_s = 0;
	told.weight = plain.spec.weight;
	told.has_auto_discovery = plain.spec.has_auto_discovery;
	told.discovery_interval_s = plain.spec.discovery_interval_s;
	return told;
}

static void test_answer_there_and_back(void **state)
{
	const struct xreg_spec spec = fixture_spec(), told = told_of(&spec);
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new("node-7");
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	struct xreg_mcast_target target;
	struct xreg_mcast_answer answer;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err;
	int len;

	assert_int_equal(xreg_mcast_pack_add(pack, &spec), 0);
	assert_int_equal(xreg_mcast_pack_parts(pack), 1);
	len = xreg_mcast_pack_write(pack, 0, question.nonce, KEY, bytes);
	assert_int_equal(xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer), 0);
	assert_string_equal(answer.node_id, "node-7");
	assert_memory_equal(answer.nonce, question.nonce, sizeof(answer.nonce));
	assert_int_equal(answer.part, 0);
	assert_int_equal(answer.nr_parts, 1);
	xreg_parsed_init(&target.parsed);
	assert_int_equal(xreg_mcast_answer_next(&answer, &target), 1);
	assert_int_equal(xreg_parsed_check(&target.parsed, path, &err), 0);
	assert_specs_equal(&target.parsed.spec, &told);
	assert_int_equal(xreg_mcast_answer_next(&answer, &target), 0);
	xreg_mcast_pack_free(pack);
}

static void test_nothing_is_an_answer_too(void **state)
{
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new("n");
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	struct xreg_mcast_target target;
	struct xreg_mcast_answer answer;
	int len = xreg_mcast_pack_write(pack, 0, question.nonce, KEY, bytes);

	assert_int_equal(xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer), 0);
	assert_int_equal(answer.nr_parts, 1);
	assert_int_equal(xreg_mcast_answer_next(&answer, &target), 0);
	/* A query is no answer, nor the other way round. */
	assert_int_equal(xreg_mcast_query_read(bytes, (size_t)len, KEY, NOW,
				 &(struct xreg_mcast_query){.time_ms = 0}),
		-EBADMSG);
	len = xreg_mcast_query_write(&question, KEY, bytes);
	assert_int_equal(xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer), -EBADMSG);
	xreg_mcast_pack_free(pack);
}

static void test_answer_with_any_bit_changed_is_refused(void **state)
{
	const struct xreg_spec spec = fixture_spec();
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new("node-7");
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	struct xreg_mcast_answer answer;
	int len;

	assert_int_equal(xreg_mcast_pack_add(pack, &spec), 0);
	len = xreg_mcast_pack_write(pack, 0, question.nonce, KEY, bytes);
	for (int bit = 0; bit < 8 * len; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer) < 0);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(
		xreg_mcast_answer_read(bytes, (size_t)len, KEY "x", &answer), -EKEYREJECTED);
	xreg_mcast_pack_free(pack);
}

/* Every target of every part, once each. */
static void assert_all_there(const struct xreg_mcast_pack *pack, uint32_t count)
{
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	struct xreg_mcast_target target;
	struct xreg_mcast_answer answer;
	uint32_t next = 0;
	char nqn[64];
	int len;

	for (uint32_t part = 0; part < xreg_mcast_pack_parts(pack); part++) {
		len = xreg_mcast_pack_write(pack, part, question.nonce, KEY, bytes);
		assert_in_range(len, 1, XREG_MCAST_BYTES_MAX);
		assert_int_equal(xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer), 0);
		assert_int_equal(answer.part, part);
		assert_int_equal(answer.nr_parts, xreg_mcast_pack_parts(pack));
		for (;;) {
			xreg_parsed_init(&target.parsed);
			if (xreg_mcast_answer_next(&answer, &target) != 1) {
				break;
			}
			snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%u", next++);
			assert_string_equal(target.parsed.spec.nqn, nqn);
		}
	}
	assert_int_equal(next, count);
}

static void test_many_targets_come_in_parts(void **state)
{
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new("node-7");
	struct xreg_spec spec = fixture_spec();
	uint32_t count = 0;
	char nqn[64];
	int rc;

	spec.nqn = nqn;
	do {
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%u", count);
		rc = xreg_mcast_pack_add(pack, &spec);
		count += rc == 0;
		if (count == 100) {
			assert_all_there(pack, count);
		}
	} while (rc == 0);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(xreg_mcast_pack_parts(pack), XREG_MCAST_PARTS_MAX);
	assert_in_range(count, 1000, 10000);
	assert_all_there(pack, count);
	xreg_mcast_pack_free(pack);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
	char node_id[XREG_NAME_MAX + 2], text[XREG_TEXT_MAX + 1];
	struct xreg_pair metadata[XREG_METADATA_MAX];
	struct xreg_spec spec = fixture_spec();
	struct xreg_mcast_pack *pack;

	memset(node_id, 'n', sizeof(node_id));
	node_id[XREG_NAME_MAX + 1] = '\0';
	assert_null(xreg_mcast_pack_new(node_id));
	assert_null(xreg_mcast_pack_new(""));
	node_id[XREG_NAME_MAX] = '\0';
	pack = xreg_mcast_pack_new(node_id);
	memset(text, 'm', sizeof(text));
	text[XREG_TEXT_MAX] = '\0';
	for (uint32_t i = 0; i < XREG_METADATA_MAX; i++) {
		metadata[i] = (struct xreg_pair){"key", text};
	}
	spec.metadata = metadata;
	spec.nr_metadata = XREG_METADATA_MAX;
	spec.device_path = text;
	assert_int_equal(xreg_mcast_pack_add(pack, &spec), 1);
	assert_int_equal(xreg_mcast_pack_parts(pack), 1);
	xreg_mcast_pack_free(pack);
}

/* Changes the inside of a message and gives it a good code again, as a node that is broken would.
 */
static int read_changed(size_t at, uint8_t value)
{
	const struct xreg_spec spec = fixture_spec();
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new("n");
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	struct xreg_mcast_target target;
	struct xreg_mcast_answer answer;
	int len, rc;

	assert_int_equal(xreg_mcast_pack_add(pack, &spec), 0);
	len = xreg_mcast_pack_write(pack, 0, question.nonce, KEY, bytes);
	bytes[at] = value;
	xreg_mac(KEY, bytes, (size_t)len - XREG_MAC_BYTES, bytes + len - XREG_MAC_BYTES);
	rc = xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer);
	while (rc == 0) {
		xreg_parsed_init(&target.parsed);
		rc = xreg_mcast_answer_next(&answer, &target);
		if (rc == 0) {
			break;
		}
		rc = rc == 1 ? 0 : rc;
	}
	xreg_mcast_pack_free(pack);
	return rc;
}

static void test_lengths_are_not_believed(void **state)
{
	assert_int_equal(read_changed(33, 0), 0);
	assert_int_equal(read_changed(33, 1), -EBADMSG); /* part 1 of 1 */
	assert_int_equal(read_changed(34, 2), -EBADMSG); /* of 513 */
	assert_int_equal(read_changed(37, 2), -EBADMSG); /* more targets than there are */
	assert_int_equal(read_changed(37, 0), -EBADMSG); /* fewer */
	assert_int_equal(read_changed(38, 0), -EBADMSG);
	assert_int_equal(read_changed(38, 200), -EBADMSG);
	assert_int_equal(read_changed(39, 0), -EBADMSG);    /* a NUL in the node's id */
	assert_int_equal(read_changed(39, 0xff), -EBADMSG); /* no UTF-8 */
	assert_int_equal(read_changed(40, 0xff), -EBADMSG); /* a target beyond the end */
	assert_int_equal(read_changed(43, 0xff), -EBADMSG); /* a field beyond it */
	assert_int_equal(read_changed(44, 0), -EBADMSG);    /* a NUL in the NQN */
	assert_int_equal(read_changed(42, 200), 0);         /* a tag that is not known */
}

/* ---- the key ---- */

static void test_key_is_read_like_a_token(void **state)
{
	char path[] = "/tmp/xsan-mcast-key-XXXXXX", *key;
	int fd = mkstemp(path);
	struct xu_error err;

	assert_int_equal(write(fd, KEY "\nmore\n", sizeof(KEY) + 5), sizeof(KEY) + 5);
	close(fd);
	assert_int_equal(xreg_mcast_key_read(path, NULL, &key, &err), 0);
	assert_string_equal(key, KEY);
	free(key);
	unlink(path);
	assert_int_equal(xreg_mcast_key_read(path, NULL, &key, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	setenv("XSAN_TEST_MCAST_KEY", KEY, 1);
	assert_int_equal(xreg_mcast_key_read(NULL, "XSAN_TEST_MCAST_KEY", &key, &err), 0);
	assert_string_equal(key, KEY);
	free(key);
	unsetenv("XSAN_TEST_MCAST_KEY");
	assert_int_equal(xreg_mcast_key_read(NULL, "XSAN_TEST_MCAST_KEY", &key, &err), -ENOENT);
}

static void assert_blames(const struct xreg_mcast_opts *opts, const char *member)
{
	const char *blamed;
	struct xu_error err = {0};
	int rc = xreg_mcast_check(opts, &blamed, &err);

	assert_int_equal(rc, member != NULL ? -EINVAL : 0);
	if (member != NULL) {
		assert_string_equal(blamed, member);
		assert_true(err.text[0] != '\0');
	}
}

static void test_where_it_may_be_spoken(void **state)
{
	struct xreg_mcast_opts opts = {.group = XREG_MCAST_GROUP, .port = 1, .key = KEY};

	assert_blames(&opts, NULL);
	opts.group = "ff02::4791";
	assert_blames(&opts, NULL);
	opts.group = "192.0.2.1";
	assert_blames(&opts, "multicast_group");
	opts.group = "example";
	assert_blames(&opts, "multicast_group");
	opts.group = XREG_MCAST_GROUP;
	opts.interface = "sixteen-letters-";
	assert_blames(&opts, "multicast_interface");
	opts.interface = "eth0";
	opts.key = "too short";
	assert_blames(&opts, "multicast_key_file");
	/* Without a key, only by loopback. */
	opts.key = NULL;
	assert_blames(&opts, "multicast_key_file");
	opts.interface = NULL;
	assert_blames(&opts, "multicast_key_file");
	opts.interface = "lo";
	assert_blames(&opts, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_code_is_that_of_rfc_4231),
		cmocka_unit_test(test_query_there_and_back),
		cmocka_unit_test(test_query_of_another_time_is_late),
		cmocka_unit_test(test_query_with_any_bit_changed_is_refused),
		cmocka_unit_test(test_query_says_why_it_is_refused),
		cmocka_unit_test(test_answer_there_and_back),
		cmocka_unit_test(test_nothing_is_an_answer_too),
		cmocka_unit_test(test_answer_with_any_bit_changed_is_refused),
		cmocka_unit_test(test_many_targets_come_in_parts),
		cmocka_unit_test(test_what_does_not_fit_is_left_out),
		cmocka_unit_test(test_lengths_are_not_believed),
		cmocka_unit_test(test_key_is_read_like_a_token),
		cmocka_unit_test(test_where_it_may_be_spoken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
