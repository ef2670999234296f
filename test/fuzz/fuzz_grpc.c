/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the requests of the registry's gRPC. The first byte chooses the method, the rest is its
 * message. What is unpacked is the same when it is packed and unpacked again; a registration that
 * is accepted can be stored, is the same when it has been read back, and can be told to others.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/grpc_message.h"
#include "lib/util/error.h"
#include "lib/xregistry/grpc/convert.h"
#include "lib/xregistry/live.h"
#include "test/fuzz/fuzz.h"

#define REQUEST(name) &xdevice__nvmeof__registry__##name##_request__descriptor

static const ProtobufCMessageDescriptor *const types[] = {REQUEST(register_target),
	REQUEST(update_target), REQUEST(unregister_target), REQUEST(get_target),
	REQUEST(list_targets), REQUEST(select_targets), REQUEST(health_report),
	REQUEST(health_status), REQUEST(event_subscription)};

static uint8_t *pack(const ProtobufCMessage *message, size_t *ret_len)
{
	uint8_t *bytes;

	*ret_len = protobuf_c_message_get_packed_size(message);
	bytes = malloc(*ret_len + 1);
	FUZZ_CHECK(bytes != NULL && protobuf_c_message_pack(message, bytes) == *ret_len,
		"packing %zu bytes", *ret_len);
	return bytes;
}

static void check_again(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message)
{
	size_t len, again_len;
	uint8_t *bytes = pack(message, &len), *again_bytes;
	ProtobufCMessage *again;
	struct xu_error err;

	FUZZ_CHECK(xrpc__message_unpack(type, bytes, len, &again, &err) == 0, "what we packed: %s",
		err.text);
	again_bytes = pack(again, &again_len);
	FUZZ_CHECK(len == again_len && memcmp(bytes, again_bytes, len) == 0, "%zu and %zu bytes",
		len, again_len);
	protobuf_c_message_free_unpacked(again, NULL);
	free(again_bytes);
	free(bytes);
}

/* A record of what was accepted, over the text that is stored. */
static void check_record(const struct xreg_spec *spec)
{
	const struct xreg_origin origin = {.id = "tgt-1",
		.created_revision = 1,
		.revision = 1,
		.registered_ms = 1,
		.updated_ms = 1};
	const struct xreg_status status = {.state = XREG_AVAILABLE, .reason = ""};
	struct xreg_target *target = xreg_target_new(&origin, &status, spec), *back;
	json_t *object = xreg_target_to_json(target), *stored, *told;
	char *text;
	pb_target *message;
	struct xreg_parsed parsed;
	struct xu_error err = {0};

	FUZZ_CHECK(object != NULL,
		"a text that JSON does not take"); /* every text is UTF-8 for jansson too */
	text = json_dumps(object, JSON_COMPACT);
	FUZZ_CHECK(text != NULL, "a record that JSON does not take");
	stored = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	FUZZ_CHECK(stored != NULL && xreg_target_from_json(stored, &back, &err) == 0,
		"what is stored cannot be loaded: %s", err.text);
	message = xreg__pb_target(back, NULL);
	FUZZ_CHECK(message != NULL, "no memory");
	message->info->target_id = xreg__pb_text("");
	FUZZ_CHECK(xreg__pb_read_spec(message->info, message->details, &parsed, &err) == 0,
		"what is told is not accepted: %s", err.text);
	told = xreg_spec_to_json(&parsed.spec);
	FUZZ_CHECK(json_equal(told, json_object_get(object, "spec")),
		"what is told is not what was stored");
	json_decref(told);
	free(message);
	xreg_target_unref(back);
	xreg_target_unref(target);
	json_decref(stored);
	json_decref(object);
	free(text);
}

static void check_spec(const pb_target_info *info, const pb_target_details *details)
{
	struct xreg_parsed parsed;
	struct xu_error err = {0};

	if (xreg__pb_read_spec(info, details, &parsed, &err) == 0) {
		check_record(&parsed.spec);
	} else {
		FUZZ_CHECK(err.text[0] != '\0', "refused without a sentence");
	}
}

static void check_report(const pb_health_report_request *request)
{
	struct xreg_metrics metrics;
	struct xu_error err = {0};

	if (xreg__pb_read_report(request, &metrics, &err) == 0) {
		FUZZ_CHECK(metrics.load_percentage <= 100 && metrics.error_rate >= 0 &&
				   metrics.error_rate <= 1 && metrics.cpu_usage <= 1 &&
				   metrics.memory_usage <= 1,
			"a report that cannot be");
	}
}

static void check_meaning(unsigned choice, const ProtobufCMessage *message)
{
	const pb_register_target_request *registration = (const void *)message;
	const pb_update_target_request *update = (const void *)message;

	if (choice == 0) {
		check_spec(registration->target_info, registration->details);
	} else if (choice == 1 &&
		   update->change_case == PB_VALUE(UPDATE_TARGET_REQUEST__CHANGE_SPECIFICATION)) {
		check_spec(update->specification->target_info, update->specification->details);
	} else if (choice == 6) {
		check_report((const void *)message);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned choice;
	ProtobufCMessage *message;
	struct xu_error err = {0};

	if (size == 0) {
		return 0;
	}
	choice = data[0] % (sizeof(types) / sizeof(types[0]));
	if (xrpc__message_unpack(types[choice], data + 1, size - 1, &message, &err) != 0) {
		FUZZ_CHECK(err.text[0] != '\0', "refused without a sentence");
		return 0;
	}
	check_again(types[choice], message);
	check_meaning(choice, message);
	protobuf_c_message_free_unpacked(message, NULL);
	return 0;
}
