/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The token of a TCP server. A client's first call is {"method": "authenticate", "params":
 * {"token": ...}}; nothing else is looked at before. The comparison takes as long as the client's
 * token is long, whatever is right of it; a wrong one is answered late and ends the connection
 * after three, and all connections together may guess so often in a second and not more (conn.c).
 */
#include <errno.h>
#include <string.h>

#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/private.h"
#include "lib/util/error.h"

bool xrpc__token_is_same(const char *token, const char *given, size_t given_len)
{
	size_t token_len = strlen(token);
	volatile size_t difference = token_len ^ given_len;

	for (size_t i = 0; i < given_len; i++) {
		difference |= (size_t)(unsigned char)(given[i] ^ token[i % token_len]);
	}
	return difference == 0;
}

/* The answer to the call, when it wants one. */
static char *answer_to(const json_t *call, const char *key, json_t *value)
{
	json_t *id = json_object_get(call, "id");

	if (id == NULL && json_is_object(call) && strcmp(key, "result") == 0) {
		json_decref(value);
		return NULL;
	}
	return xrpc__answer_text(json_is_string(id) || json_is_number(id) ? id : NULL, key, value);
}

static char *refusal(const json_t *call, const char *sentence)
{
	return answer_to(call, "error", xrpc__error_object(-EACCES, sentence));
}

enum xrpc__verdict xrpc__auth_check(
	const char *token, const char *text, size_t len, char **ret_answer)
{
	json_t *call = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *method = json_string_value(json_object_get(call, "method"));
	const char *version = json_string_value(json_object_get(call, "jsonrpc"));
	json_t *given = json_object_get(json_object_get(call, "params"), "token");
	enum xrpc__verdict verdict = XRPC__AUTH_RIGHT;

	if (method == NULL || strcmp(method, "authenticate") != 0 || version == NULL ||
		strcmp(version, "2.0") != 0 || token == NULL) {
		verdict = XRPC__AUTH_OTHER;
		*ret_answer = refusal(call, "the first call on this connection is the method "
					    "authenticate with the server's token");
	} else if (!json_is_string(given) || !xrpc__token_is_same(token, json_string_value(given),
						     json_string_length(given))) {
		verdict = XRPC__AUTH_WRONG;
		*ret_answer = refusal(call, "this is not the server's token");
	} else {
		*ret_answer = answer_to(call, "result", json_true());
	}
	json_decref(call);
	return verdict;
}

int xrpc__token_check(const char *token, struct xu_error *err)
{
	size_t len = strlen(token);

	if (len < XRPC_TOKEN_MIN || len > XRPC_TOKEN_MAX) {
		return xu_error_set(err, -EINVAL,
			"the management token has %zu characters; it needs %u to %u of them", len,
			XRPC_TOKEN_MIN, XRPC_TOKEN_MAX);
	}
	for (size_t i = 0; i < len; i++) {
		if (token[i] <= ' ' || token[i] > '~') {
			return xu_error_set(err, -EINVAL,
				"the management token has a space, a control character or one that "
				"is not ASCII at place %zu",
				i + 1);
		}
	}
	return 0;
}
