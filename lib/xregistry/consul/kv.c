/* SPDX-License-Identifier: BSD-3-Clause */
/* Transactions of Consul (PUT /v1/txn) and lists of keys, in its JSON. Values are in base64. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/base64.h"
#include "lib/util/error.h"
#include "lib/xregistry/consul/private.h"

#define EACH_MAX XREG__CONSUL_OPS_MAX /* keys that are read at a time */

void xreg__consul_reply_free(struct xreg__consul_reply *reply)
{
	for (uint32_t i = 0; i < reply->nr_kvs; i++) {
		free((char *)(uintptr_t)reply->kvs[i].is.value);
	}
	free(reply->kvs);
	json_decref(reply->json);
	*reply = (struct xreg__consul_reply){0};
}

void xreg__consul_add(
	json_t *ops, const char *verb, const char *key, const char *text, uint64_t index)
{
	json_t *op =
		json_pack("{s:s, s:s, s:I}", "Verb", verb, "Key", key, "Index", (json_int_t)index);
	char *value = text != NULL ? xu_base64_encode(text, strlen(text)) : NULL;

	if (text != NULL && json_object_set_new(op, "Value", json_string(value)) != 0) {
		json_decref(op);
		op = NULL;
	}
	free(value);
	/* Without memory it is null, which Consul would refuse and dump_ops() does. */
	json_array_append_new(ops, op != NULL ? json_pack("{s:o}", "KV", op) : json_null());
}

static int dump_ops(json_t *ops, char **ret_text, struct xu_error *err)
{
	json_t *op;
	size_t i;

	json_array_foreach (ops, i, op) {
		if (!json_is_object(op)) {
			return xu_error_set_errno(err, -ENOMEM, "writing to Consul");
		}
	}
	*ret_text = json_dumps(ops, JSON_COMPACT);
	if (*ret_text == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "writing to Consul");
	}
	if (json_array_size(ops) > XREG__CONSUL_OPS_MAX ||
		strlen(*ret_text) > XREG__CONSUL_REQUEST_MAX) {
		free(*ret_text);
		return xu_error_set(err, -E2BIG,
			"a change is larger than Consul takes, %u KiB with its encoding",
			XREG__CONSUL_REQUEST_MAX >> 10);
	}
	return 0;
}

/* ---- answers ---- */

static int read_body(
	const struct xreg__consul_answer *answer, json_t **ret_json, struct xu_error *err)
{
	json_error_t problem;

	*ret_json = json_loadb(answer->len != 0 ? answer->body : "", answer->len, 0, &problem);
	return *ret_json != NULL
		       ? 0
		       : xu_error_set(err, -EIO, "Consul's answer is no JSON: %s", problem.text);
}

/* One of "Results". What has no key or a value that is none is not Consul's. */
static bool read_kv(const json_t *json, struct xreg__consul_kv *ret_kv)
{
	const json_t *kv = json_object_get(json, "KV");
	const char *key = json_string_value(json_object_get(kv, "Key"));
	const char *value = json_string_value(json_object_get(kv, "Value"));
	size_t len = 0;
	uint8_t *bytes = xu_base64_decode(value != NULL ? value : "", &len);

	if (key == NULL || bytes == NULL) {
		free(bytes);
		return false;
	}
	*ret_kv = (struct xreg__consul_kv){{"Consul", key, (const char *)bytes, strlen(key), len},
		(uint64_t)json_integer_value(json_object_get(kv, "ModifyIndex"))};
	return true;
}

/* Takes the memory of `json`. */
static int read_results(json_t *json, struct xreg__consul_reply *ret_reply, struct xu_error *err)
{
	json_t *results = json_object_get(json, "Results"), *result;
	struct xreg__consul_reply reply = {.json = json};
	size_t i;

	reply.kvs = calloc(json_array_size(results) + 1, sizeof(*reply.kvs));
	if (reply.kvs == NULL) {
		json_decref(json);
		return xu_error_set_errno(err, -ENOMEM, "reading from Consul");
	}
	json_array_foreach (results, i, result) {
		if (!read_kv(result, &reply.kvs[reply.nr_kvs])) {
			xreg__consul_reply_free(&reply);
			return xu_error_set(err, -EIO, "Consul's answer has a result that is none");
		}
		reply.nr_kvs++;
	}
	*ret_reply = reply;
	return 0;
}

/* Why a transaction does not hold: the first operation compares, and so does one that wants a key
 * that is not there; a token may not be enough. */
static int read_conflict(const struct xreg__consul_answer *answer, struct xu_error *err)
{
	const char *what = NULL;
	json_t *json, *errors;
	int rc = read_body(answer, &json, err);

	if (rc != 0) {
		return rc;
	}
	errors = json_object_get(json, "Errors");
	what = json_string_value(json_object_get(json_array_get(errors, 0), "What"));
	what = what != NULL ? what : "(no reason)";
	if (strstr(what, "ermission denied") != NULL) {
		rc = xu_error_set(err, -EACCES,
			"Consul does not let this registry write (%.200s); give it a token with "
			"key_prefix write",
			what);
	} else if (json_integer_value(json_object_get(json_array_get(errors, 0), "OpIndex")) == 0) {
		rc = xu_error_set(err, -EAGAIN, "Consul: %.200s", what);
	} else {
		rc = xu_error_set(err, -EIO, "Consul: %.200s", what);
	}
	json_decref(json);
	return rc;
}

int xreg__consul_txn(struct xreg__consul *b, json_t *ops, bool is_write,
	struct xreg__consul_reply *ret_reply, struct xu_error *err)
{
	struct xreg__consul_answer answer;
	char *text = NULL;
	json_t *json;
	int rc = dump_ops(ops, &text, err);

	json_decref(ops);
	if (rc != 0) {
		return rc;
	}
	rc = xreg__consul_request(
		b, is_write ? "/v1/txn" : "/v1/txn?consistent", text, strlen(text), &answer, err);
	free(text);
	if (rc != 0) {
		return rc;
	}
	if (answer.status == 409) {
		rc = read_conflict(&answer, err);
	} else if (answer.status != 200) {
		rc = xreg__consul_refused(&answer, "PUT /v1/txn", err);
	} else {
		rc = read_body(&answer, &json, err);
		rc = rc == 0 ? read_results(json, ret_reply, err) : rc;
	}
	xreg__consul_answer_free(&answer);
	return rc;
}

/* ---- all of a kind ---- */

/* The names of all keys of a kind, by name; an empty array when there are none. */
static int list_keys(
	struct xreg__consul *b, const char *kind, json_t **ret_keys, struct xu_error *err)
{
	struct xreg__consul_answer answer;
	char key[XREG_SHARED_KEY_SIZE], path[XREG_SHARED_KEY_SIZE + 32];
	int rc;

	xreg_shared_key(b->where.prefix, kind, "", key);
	snprintf(path, sizeof(path), "/v1/kv/%s?keys&consistent", key);
	rc = xreg__consul_request(b, path, NULL, 0, &answer, err);
	if (rc != 0) {
		return rc;
	}
	if (answer.status == 404) {
		*ret_keys = json_array();
	} else if (answer.status != 200) {
		rc = xreg__consul_refused(&answer, "GET /v1/kv", err);
	} else {
		rc = read_body(&answer, ret_keys, err);
	}
	xreg__consul_answer_free(&answer);
	return rc;
}

int xreg__consul_each(struct xreg__consul *b, const char *kind,
	int (*fn)(void *arg, const struct xreg__consul_kv *kv, struct xu_error *err), void *arg,
	struct xu_error *err)
{
	struct xreg__consul_reply reply;
	json_t *keys = NULL;
	int rc = list_keys(b, kind, &keys, err);

	for (size_t at = 0; rc == 0 && at < json_array_size(keys); at += EACH_MAX) {
		json_t *ops = json_array();

		/* A tree of one: "get" would fail of one that was deleted meanwhile. */
		for (size_t i = at; i < at + EACH_MAX && i < json_array_size(keys); i++) {
			const char *key = json_string_value(json_array_get(keys, i));

			xreg__consul_add(ops, "get-tree", key != NULL ? key : "?", NULL, 0);
		}
		rc = xreg__consul_txn(b, ops, false, &reply, err);
		if (rc != 0) {
			break;
		}
		for (uint32_t i = 0; rc == 0 && i < reply.nr_kvs; i++) {
			rc = fn(arg, &reply.kvs[i], err);
		}
		xreg__consul_reply_free(&reply);
	}
	json_decref(keys);
	return rc;
}
