/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages as bytes. The wire format is walked once before protobuf-c unpacks it, only as far as
 * texts and messages inside messages have to be found (protobuf.dev, "Encoding"); a message that
 * the walk cannot follow is refused.
 */
#include <errno.h>
#include <stdlib.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>

#include "lib/rpc/grpc_message.h"
#include "lib/util/error.h"

#define DEPTH_MAX   16u
#define VARINT_SIZE 10u
#define FIELD_MAX   ((1u << 29) - 1)
#define UNREADABLE  "a message that cannot be read: it is cut or no Protocol Buffers at all"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct walk {
	const uint8_t *at, *end;
};

static int read_varint(struct walk *walk, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_SIZE && walk->at < walk->end; i++) {
		uint8_t byte = *walk->at++;

		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if ((byte & 0x80) == 0) {
			*ret_value = value;
			return 0;
		}
	}
	return -EINVAL;
}

static int skip(struct walk *walk, uint64_t len)
{
	if (len > (uint64_t)(walk->end - walk->at)) {
		return -EINVAL;
	}
	walk->at += len;
	return 0;
}

/* The length of the UTF-8 sequence at `text`; 0: it is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF), or a NUL. */
static size_t utf8_len(const uint8_t *text, size_t len)
{
	static const struct {
		uint8_t first, last, second_min, second_max, len;
	} forms[] = {
		{0x01, 0x7f, 0, 0, 1},
		{0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t form_len = forms[i].len;

		if (text[0] < forms[i].first || text[0] > forms[i].last) {
			continue;
		}
		if (form_len > len || (form_len > 1 && (text[1] < forms[i].second_min ||
							       text[1] > forms[i].second_max))) {
			return 0;
		}
		for (size_t k = 2; k < form_len; k++) {
			if ((text[k] & 0xc0) != 0x80) {
				return 0;
			}
		}
		return form_len;
	}
	return 0;
}

static int check_text(const char *name, const uint8_t *text, size_t len, struct xu_error *err)
{
	for (size_t at = 0; at < len;) {
		size_t step = utf8_len(text + at, len - at);

		if (step == 0) {
			return xu_error_set(err, -EINVAL,
				"%s: byte %zu is not of a text in UTF-8, or is NUL", name, at + 1);
		}
		at += step;
	}
	return 0;
}

static int check_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	unsigned depth, struct xu_error *err);

/* What has a length: a text, a message, or anything that is not looked into. */
static int check_bytes(const ProtobufCMessageDescriptor *type, uint64_t number, struct walk *walk,
	unsigned depth, struct xu_error *err)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field(type, (unsigned)number);
	const uint8_t *start;
	uint64_t len;

	if (read_varint(walk, &len) != 0) {
		return xu_error_set(err, -EINVAL, UNREADABLE);
	}
	start = walk->at;
	if (skip(walk, len) != 0) {
		return xu_error_set(err, -EINVAL, UNREADABLE);
	}
	if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING) {
		return check_text(field->name, start, len, err);
	}
	if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) {
		return check_message(field->descriptor, start, len, depth + 1, err);
	}
	return 0;
}

static int check_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	unsigned depth, struct xu_error *err)
{
	struct walk walk = {bytes, bytes + len};

	if (depth > DEPTH_MAX) {
		return xu_error_set(err, -EINVAL, "a message in more than %u others", DEPTH_MAX);
	}
	while (walk.at < walk.end) {
		uint64_t tag, number;
		int rc = read_varint(&walk, &tag);

		number = tag >> 3;
		if (rc != 0 || number == 0 || number > FIELD_MAX) {
			return xu_error_set(err, -EINVAL, UNREADABLE);
		}
		switch ((enum wire)(tag & 7)) {
		case WIRE_VARINT:
			rc = read_varint(&walk, &number);
			break;
		case WIRE_64:
			rc = skip(&walk, 8);
			break;
		case WIRE_32:
			rc = skip(&walk, 4);
			break;
		case WIRE_BYTES:
			rc = check_bytes(type, number, &walk, depth, err);
			if (rc != 0) {
				return rc;
			}
			break;
		default: /* groups, which proto3 does not have */
			rc = -EINVAL;
		}
		if (rc != 0) {
			return xu_error_set(err, -EINVAL, UNREADABLE);
		}
	}
	return 0;
}

int xrpc__message_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	struct xu_error *err)
{
	return check_message(type, bytes, len, 0, err);
}

int xrpc__message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	ProtobufCMessage **ret_message, struct xu_error *err)
{
	int rc = xrpc__message_check(type, bytes, len, err);

	if (rc != 0) {
		return rc;
	}
	*ret_message = protobuf_c_message_unpack(type, NULL, len, bytes);
	/* It does not say what was wrong, which may have been that there is no memory. */
	return *ret_message != NULL ? 0 : xu_error_set(err, -EINVAL, UNREADABLE);
}

int xrpc__message_receive(const ProtobufCMessageDescriptor *type, struct grpc_byte_buffer *buffer,
	ProtobufCMessage **ret_message, struct xu_error *err)
{
	grpc_byte_buffer_reader reader;
	grpc_slice slice;
	int rc;

	if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
		return xu_error_set(err, -EINVAL, "a message whose compression cannot be undone");
	}
	slice = grpc_byte_buffer_reader_readall(&reader);
	rc = xrpc__message_unpack(
		type, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice), ret_message, err);
	grpc_slice_unref(slice);
	grpc_byte_buffer_reader_destroy(&reader);
	return rc;
}

struct grpc_byte_buffer *xrpc__message_pack(const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	grpc_byte_buffer *buffer;

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}
