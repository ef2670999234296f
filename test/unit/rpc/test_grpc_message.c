/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of gRPC from strangers: which texts are none, what is cut, what nests too deep, and any
 * bytes at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rpc/grpc.h"
#include "lib/rpc/grpc_message.h"
#include "lib/util/error.h"
#include "lib/util/random.h"
#include "proto/health.pb-c.h"
#include "proto/registry.pb-c.h"

#define GET  &xdevice__nvmeof__registry__get_target_request__descriptor
#define MAKE &xdevice__nvmeof__registry__register_target_request__descriptor

/* "target_id" of a GetTargetRequest is these bytes. */
static int check_text(const char *text, size_t len, struct xu_error *err)
{
	uint8_t bytes[64] = {0x0a, (uint8_t)len};

	memcpy(bytes + 2, text, len);
	return xrpc__message_check(GET, bytes, len + 2, err);
}

static void test_texts_are_utf8(void **state)
{
	static const char *const good[] = {"", "tgt-1", "\xc3\xa4\xc3\xb6", "\xe2\x82\xac",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\x7f\x01"};
	static const char *const bad[] = {"\x80", "\xc3", "\xc3(", "\xc0\xaf", "\xc1\xbf",
		"\xe0\x80\xaf", "\xe2\x82", "\xed\xa0\x80", "\xf0\x80\x80\xaf", "\xf0\x9f\x98",
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xfe"};
	struct xu_error err;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(check_text(good[i], strlen(good[i]), &err), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(check_text(bad[i], strlen(bad[i]), &err), -EINVAL);
		assert_non_null(strstr(err.text, "target_id"));
	}
	/* A NUL would hide what comes after it. */
	assert_int_equal(check_text("a\0b", 3, &err), -EINVAL);
	assert_non_null(strstr(err.text, "byte 2"));
	assert_int_equal(check_text("\0", 1, &err), -EINVAL);
}

static void test_cut_and_strange_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"\x0a", 1}, /* no length */
		{"\x0a\x05"
		 "ab",
			4},                                           /* too short */
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, /* a length of 2^64-1 */
		{"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11}, /* a number without an end */
		{"\x0b\x0c", 2},                                      /* a group */
		{"\x02", 1},                                          /* field 0 */
		{"\x09\x01\x02", 3},             /* 64 bits that are not there */
		{"\x0d\x01", 2},                 /* nor 32 */
		{"\xf8\xff\xff\xff\x7f\x01", 6}, /* a field beyond the last */
	};
	ProtobufCMessage *message;
	struct xu_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(xrpc__message_unpack(GET, (const uint8_t *)bad[i].bytes,
					 bad[i].len, &message, &err),
			-EINVAL);
	}
	/* Fields of the future are nobody's business, whatever is in them. */
	assert_int_equal(
		xrpc__message_unpack(GET, (const uint8_t *)"\xfa\x07\x01\xff", 4, &message, &err),
		0);
	assert_string_equal(
		((Xdevice__Nvmeof__Registry__GetTargetRequest *)message)->target_id, "");
	protobuf_c_message_free_unpacked(message, NULL);
}

static void test_texts_inside_messages(void **state)
{
	/* target_info { node_id: "\xff" }, and metadata { key: "k" value: "\xff" } of it. */
	static const char node[] = "\x0a\x03\x12\x01\xff",
			  value[] = "\x0a\x08\x52\x06\x0a\x01k\x12\x01\xff";
	struct xu_error err;

	assert_int_equal(
		xrpc__message_check(MAKE, (const uint8_t *)node, sizeof(node) - 1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "node_id"));
	assert_int_equal(xrpc__message_check(MAKE, (const uint8_t *)value, sizeof(value) - 1, &err),
		-EINVAL);
	assert_non_null(strstr(err.text, "value"));
}

/* A message that may contain itself. */
static void test_depth(void **state)
{
	ProtobufCFieldDescriptor field = {
		.name = "inner", .id = 1, .type = PROTOBUF_C_TYPE_MESSAGE};
	const unsigned by_name[] = {0};
	const ProtobufCIntRange ranges[] = {{1, 0}, {0, 1}};
	const ProtobufCMessageDescriptor type = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
		.name = "Nested",
		.n_fields = 1,
		.fields = &field,
		.fields_sorted_by_name = by_name,
		.n_field_ranges = 1,
		.field_ranges = ranges};
	uint8_t bytes[2 * 40];
	struct xu_error err;

	field.descriptor = &type;
	for (unsigned i = 0; i < 40; i++) {
		bytes[2 * i] = 0x0a;
		bytes[2 * i + 1] = (uint8_t)(2 * (39 - i));
	}
	assert_int_equal(xrpc__message_check(&type, bytes + 2 * 24, 2 * 16, &err), 0);
	assert_int_equal(xrpc__message_check(&type, bytes + 2 * 23, 2 * 17, &err), -EINVAL);
	assert_int_equal(xrpc__message_check(&type, bytes, sizeof(bytes), &err), -EINVAL);
}

/* Registrations that are changed here and there: each is refused or is what it says it is. */
static void test_any_bytes(void **state)
{
	Xdevice__Nvmeof__Registry__RegisterTargetRequest request =
		XDEVICE__NVMEOF__REGISTRY__REGISTER_TARGET_REQUEST__INIT;
	Xdevice__Nvmeof__Registry__TargetInfo info = XDEVICE__NVMEOF__REGISTRY__TARGET_INFO__INIT;
	Xdevice__Nvmeof__Registry__TargetInfo__MetadataEntry
		entry = XDEVICE__NVMEOF__REGISTRY__TARGET_INFO__METADATA_ENTRY__INIT,
		*entries[] = {&entry, &entry};
	char node[] = "node-1", key[] = "location", value[] = "rack-1";
	uint8_t packed[128], bytes[128];
	struct xu_random random;
	unsigned nr_good = 0;
	size_t len;

	info.node_id = node;
	entry.key = key;
	entry.value = value;
	info.metadata = entries;
	info.n_metadata = 2;
	request.target_info = &info;
	len = protobuf_c_message_pack(&request.base, packed);
	xu_random_seed(&random, 7);
	for (unsigned round = 0; round < 20000; round++) {
		ProtobufCMessage *message;
		struct xu_error err;
		size_t cut = xu_random_u64(&random) % 8 == 0 ? xu_random_u64(&random) % len : len;

		memcpy(bytes, packed, len);
		for (unsigned i = 0; i < xu_random_u64(&random) % 4; i++) {
			bytes[xu_random_u64(&random) % len] = (uint8_t)xu_random_u64(&random);
		}
		if (xrpc__message_unpack(MAKE, bytes, cut, &message, &err) != 0) {
			assert_int_equal(err.code, -EINVAL);
			continue;
		}
		nr_good++;
		assert_in_range(protobuf_c_message_get_packed_size(message), 0, 2 * sizeof(bytes));
		protobuf_c_message_free_unpacked(message, NULL);
	}
	assert_in_range(nr_good, 100, 19900);
}

static void test_codes(void **state)
{
	assert_int_equal(xrpc_grpc_code_of(0), XRPC_GRPC_OK);
	assert_int_equal(xrpc_grpc_code_of(-EINVAL), XRPC_GRPC_INVALID_ARGUMENT);
	assert_int_equal(xrpc_grpc_code_of(-ENOENT), XRPC_GRPC_NOT_FOUND);
	assert_int_equal(xrpc_grpc_code_of(-EEXIST), XRPC_GRPC_ALREADY_EXISTS);
	assert_int_equal(xrpc_grpc_code_of(-ESTALE), XRPC_GRPC_ABORTED);
	assert_int_equal(xrpc_grpc_code_of(-ENOSPC), XRPC_GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(xrpc_grpc_code_of(-ESHUTDOWN), XRPC_GRPC_UNAVAILABLE);
	assert_int_equal(xrpc_grpc_code_of(-EIO), XRPC_GRPC_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_are_utf8),
		cmocka_unit_test(test_cut_and_strange_bytes),
		cmocka_unit_test(test_texts_inside_messages),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
