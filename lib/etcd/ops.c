/* SPDX-License-Identifier: BSD-3-Clause */
/* What is asked of etcd: ranges, transactions and leases, as messages and back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "etcd.pb-c.h"
#include "lib/etcd/private.h"
#include "lib/util/error.h"

/* ---- replies ---- */

void xetcd_reply_free(struct xetcd_reply *reply)
{
	if (reply->message != NULL) {
		protobuf_c_message_free_unpacked(reply->message, NULL);
	}
	free(reply->kvs);
	*reply = (struct xetcd_reply){0};
}

static void add_kvs(struct xetcd_reply *reply, const Xsan__Etcd__RangeResponse *range)
{
	for (size_t i = 0; i < range->n_kvs; i++) {
		const Xsan__Etcd__KeyValue *kv = range->kvs[i];

		reply->kvs[reply->nr_kvs++] = (struct xetcd_kv){.key = (const char *)kv->key.data,
			.key_len = kv->key.len,
			.value = (const char *)kv->value.data,
			.len = kv->value.len,
			.create_revision = kv->create_revision,
			.mod_revision = kv->mod_revision};
	}
}

/* Room for so many; +1, for calloc() of nothing may say NULL. */
static int make_room(struct xetcd_reply *reply, size_t count, struct xu_error *err)
{
	reply->kvs = calloc(count + 1, sizeof(*reply->kvs));
	return reply->kvs != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "reading etcd's answer");
}

static ProtobufCBinaryData bytes_of(const char *text)
{
	return text != NULL ? (ProtobufCBinaryData){strlen(text), (uint8_t *)text}
			    : (ProtobufCBinaryData){0, NULL};
}

int xetcd_get(struct xetcd *client, const char *key, const char *end, uint32_t limit,
	int64_t revision, struct xetcd_reply *ret_reply, struct xu_error *err)
{
	Xsan__Etcd__RangeRequest request = XSAN__ETCD__RANGE_REQUEST__INIT;
	const struct xetcd__call call = {"/etcdserverpb.KV/Range", &request.base,
		&xsan__etcd__range_response__descriptor, false};
	Xsan__Etcd__RangeResponse *answer;
	ProtobufCMessage *message = NULL;
	int rc;

	*ret_reply = (struct xetcd_reply){0};
	request.key = bytes_of(key);
	request.range_end = bytes_of(end);
	request.limit = limit;
	request.revision = revision;
	rc = xetcd__run(client, &call, &message, err);
	if (rc != 0) {
		return rc;
	}
	answer = (Xsan__Etcd__RangeResponse *)message;
	ret_reply->message = message;
	ret_reply->revision = answer->header != NULL ? answer->header->revision : 0;
	ret_reply->more = answer->more;
	rc = make_room(ret_reply, answer->n_kvs, err);
	if (rc == 0) {
		add_kvs(ret_reply, answer);
	} else {
		xetcd_reply_free(ret_reply);
	}
	return rc;
}

/* ---- transactions ---- */

/* The request's parts, all of them in one piece of memory. */
struct txn_message {
	Xsan__Etcd__TxnRequest request;
	Xsan__Etcd__Compare compares[XETCD_OPS_MAX];
	Xsan__Etcd__Compare *compare_list[XETCD_OPS_MAX];
	struct txn_op {
		Xsan__Etcd__RequestOp op;
		union {
			Xsan__Etcd__RangeRequest range;
			Xsan__Etcd__PutRequest put;
			Xsan__Etcd__DeleteRequest remove;
		};
	} ops[2 * XETCD_OPS_MAX];
	Xsan__Etcd__RequestOp *op_lists[2 * XETCD_OPS_MAX];
};

static void write_compare(Xsan__Etcd__Compare *to, const struct xetcd_compare *from)
{
	xsan__etcd__compare__init(to);
	to->key = bytes_of(from->key);
	to->result = XSAN__ETCD__COMPARE__RESULT__EQUAL;
	if (from->what == XETCD_MOD_REVISION_IS) {
		to->target = XSAN__ETCD__COMPARE__TARGET__MOD;
		to->value_case = XSAN__ETCD__COMPARE__VALUE_MOD_REVISION;
		to->mod_revision = from->revision;
	} else {
		to->target = XSAN__ETCD__COMPARE__TARGET__CREATE;
		to->value_case = XSAN__ETCD__COMPARE__VALUE_CREATE_REVISION;
		to->create_revision = from->revision;
	}
}

static void write_op(struct txn_op *to, const struct xetcd_op *from)
{
	xsan__etcd__request_op__init(&to->op);
	switch (from->what) {
	case XETCD_GET:
		xsan__etcd__range_request__init(&to->range);
		to->range.key = bytes_of(from->key);
		to->range.range_end = bytes_of(from->end);
		to->op.request_case = XSAN__ETCD__REQUEST_OP__REQUEST_RANGE;
		to->op.range = &to->range;
		break;
	case XETCD_PUT:
		xsan__etcd__put_request__init(&to->put);
		to->put.key = bytes_of(from->key);
		to->put.value = (ProtobufCBinaryData){from->len, (uint8_t *)from->value};
		to->put.lease = from->lease;
		to->op.request_case = XSAN__ETCD__REQUEST_OP__REQUEST_PUT;
		to->op.put = &to->put;
		break;
	case XETCD_DELETE:
		xsan__etcd__delete_request__init(&to->remove);
		to->remove.key = bytes_of(from->key);
		to->remove.range_end = bytes_of(from->end);
		to->op.request_case = XSAN__ETCD__REQUEST_OP__REQUEST_REMOVE;
		to->op.remove = &to->remove;
		break;
	}
}

static void write_txn(struct txn_message *to, const struct xetcd_txn *from)
{
	xsan__etcd__txn_request__init(&to->request);
	for (uint32_t i = 0; i < from->nr_compares; i++) {
		write_compare(&to->compares[i], &from->compares[i]);
		to->compare_list[i] = &to->compares[i];
	}
	for (uint32_t i = 0; i < from->nr_then + from->nr_otherwise; i++) {
		write_op(&to->ops[i],
			i < from->nr_then ? &from->then[i] : &from->otherwise[i - from->nr_then]);
		to->op_lists[i] = &to->ops[i].op;
	}
	to->request.n_compare = from->nr_compares;
	to->request.compare = to->compare_list;
	to->request.n_success = from->nr_then;
	to->request.success = to->op_lists;
	to->request.n_failure = from->nr_otherwise;
	to->request.failure = to->op_lists + from->nr_then;
}

static int read_txn(ProtobufCMessage *message, struct xetcd_reply *ret_reply, struct xu_error *err)
{
	const Xsan__Etcd__TxnResponse *answer = (const Xsan__Etcd__TxnResponse *)message;
	size_t count = 0;
	int rc;

	for (size_t i = 0; i < answer->n_responses; i++) {
		const Xsan__Etcd__ResponseOp *op = answer->responses[i];

		count += op->response_case == XSAN__ETCD__RESPONSE_OP__RESPONSE_RANGE
				 ? op->range->n_kvs
				 : 0;
	}
	ret_reply->message = message;
	ret_reply->revision = answer->header != NULL ? answer->header->revision : 0;
	ret_reply->succeeded = answer->succeeded;
	rc = make_room(ret_reply, count, err);
	for (size_t i = 0; rc == 0 && i < answer->n_responses; i++) {
		if (answer->responses[i]->response_case ==
			XSAN__ETCD__RESPONSE_OP__RESPONSE_RANGE) {
			add_kvs(ret_reply, answer->responses[i]->range);
		}
	}
	if (rc != 0) {
		xetcd_reply_free(ret_reply);
	}
	return rc;
}

int xetcd_txn(struct xetcd *client, const struct xetcd_txn *txn, struct xetcd_reply *ret_reply,
	struct xu_error *err)
{
	struct txn_message *request;
	ProtobufCMessage *message = NULL;
	int rc;

	*ret_reply = (struct xetcd_reply){0};
	if (txn->nr_compares > XETCD_OPS_MAX || txn->nr_then > XETCD_OPS_MAX ||
		txn->nr_otherwise > XETCD_OPS_MAX) {
		return xu_error_set(
			err, -E2BIG, "a transaction of more than %u operations", XETCD_OPS_MAX);
	}
	request = malloc(sizeof(*request));
	if (request == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "writing a transaction");
	}
	write_txn(request, txn);
	rc = xetcd__run(client,
		&(const struct xetcd__call){"/etcdserverpb.KV/Txn", &request->request.base,
			&xsan__etcd__txn_response__descriptor, false},
		&message, err);
	free(request);
	return rc == 0 ? read_txn(message, ret_reply, err) : rc;
}

/* ---- leases ---- */

int xetcd_lease_grant(
	struct xetcd *client, uint32_t ttl_s, int64_t *ret_lease, struct xu_error *err)
{
	Xsan__Etcd__LeaseGrantRequest request = XSAN__ETCD__LEASE_GRANT_REQUEST__INIT;
	const struct xetcd__call call = {"/etcdserverpb.Lease/LeaseGrant", &request.base,
		&xsan__etcd__lease_grant_response__descriptor, false};
	ProtobufCMessage *message = NULL;
	int rc;

	request.ttl = ttl_s;
	rc = xetcd__run(client, &call, &message, err);
	if (rc == 0) {
		*ret_lease = ((Xsan__Etcd__LeaseGrantResponse *)message)->id;
		protobuf_c_message_free_unpacked(message, NULL);
	}
	return rc;
}

/* Both requests and both answers have the same form. */
static int run_lease(struct xetcd *client, const char *path, int64_t lease, int64_t *ret_ttl,
	struct xu_error *err)
{
	Xsan__Etcd__LeaseRequest request = XSAN__ETCD__LEASE_REQUEST__INIT;
	const struct xetcd__call call = {
		path, &request.base, &xsan__etcd__lease_response__descriptor, false};
	ProtobufCMessage *message = NULL;
	int rc;

	request.id = lease;
	rc = xetcd__run(client, &call, &message, err);
	if (rc == 0) {
		*ret_ttl = ((Xsan__Etcd__LeaseResponse *)message)->ttl;
		protobuf_c_message_free_unpacked(message, NULL);
	}
	return rc;
}

int xetcd_lease_keep(struct xetcd *client, int64_t lease, struct xu_error *err)
{
	int64_t ttl;
	/* A stream, of which one question and its answer are enough. */
	int rc = run_lease(client, "/etcdserverpb.Lease/LeaseKeepAlive", lease, &ttl, err);

	return rc != 0 || ttl > 0 ? rc : xu_error_set(err, -ENOENT, "the lease has run out");
}

int xetcd_lease_revoke(struct xetcd *client, int64_t lease, struct xu_error *err)
{
	int64_t ttl;

	return run_lease(client, "/etcdserverpb.Lease/LeaseRevoke", lease, &ttl, err);
}
