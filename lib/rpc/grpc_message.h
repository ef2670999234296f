/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of gRPC: from what strangers send to protobuf-c's structures and back. */
#ifndef XRPC_GRPC_MESSAGE_H
#define XRPC_GRPC_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct grpc_byte_buffer;
struct xu_error;

/*
 * Checks what protobuf-c does not: that texts are UTF-8 without NUL bytes (which would end a C
 * string early, so that what was checked is not what was said), and how deep messages nest. Says
 * nothing of the rest, which unpacking checks. -EINVAL with a sentence.
 */
int xrpc__message_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	struct xu_error *err);

/* Checks and unpacks; protobuf_c_message_free_unpacked() it. -EINVAL, -ENOMEM. */
int xrpc__message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	ProtobufCMessage **ret_message, struct xu_error *err);

/* The same from what the core received. */
int xrpc__message_receive(const ProtobufCMessageDescriptor *type, struct grpc_byte_buffer *buffer,
	ProtobufCMessage **ret_message, struct xu_error *err);

/* What the core sends; grpc_byte_buffer_destroy() it. The core ends the process without
 * memory. */
struct grpc_byte_buffer *xrpc__message_pack(const ProtobufCMessage *message);

#endif
