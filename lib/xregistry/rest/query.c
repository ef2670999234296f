/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters behind the "?": each is checked, and one that nobody knows is refused by name, so that
 * a typing error does not look like an answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"

#define WAIT_MAX_MS (600u * 1000u)

static bool parse_number(const char *text, uint64_t *ret_value, char **ret_end)
{
	if (*text < '0' || *text > '9') {
		return false;
	}
	errno = 0;
	*ret_value = strtoull(text, ret_end, 10);
	return errno == 0;
}

bool rest_query_number(struct xrpc_http_call *call, const char *name, uint64_t min, uint64_t max,
	uint64_t *ret_value)
{
	const char *text = xrpc_http_query(call, name);
	uint64_t value;
	char *end;

	if (text == NULL) {
		return true;
	}
	if (!parse_number(text, &value, &end) || *end != '\0' || value < min || value > max) {
		xrpc_http_problem(call, 400, name,
			"%s is a whole number from %llu to %llu, not '%.64s'", name,
			(unsigned long long)min, (unsigned long long)max, text);
		return false;
	}
	*ret_value = value;
	return true;
}

bool rest_query_wait(struct xrpc_http_call *call, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}};
	const char *text = xrpc_http_query(call, "wait");
	uint64_t value;
	char *end;

	if (text == NULL) {
		return true;
	}
	if (parse_number(text, &value, &end) && value <= WAIT_MAX_MS) {
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			if (strcmp(end, units[i].unit) == 0) {
				value *= units[i].ms;
				*ret_ms = value < WAIT_MAX_MS ? value : WAIT_MAX_MS;
				return true;
			}
		}
	}
	xrpc_http_problem(call, 400, "wait",
		"wait is a time such as 30s, 500ms or 5m, at most 10m, not '%.64s'", text);
	return false;
}

struct check {
	struct xrpc_http_call *call;
	const char *const *known;
	bool is_good;
};

static bool check_one(void *arg, const char *name, const char *value)
{
	struct check *check = arg;

	for (const char *const *known = check->known; *known != NULL; known++) {
		if (strcmp(*known, name) == 0) {
			return true;
		}
	}
	check->is_good = false;
	xrpc_http_problem(check->call, 400, name, "there is no parameter '%.64s' here", name);
	return false;
}

bool rest_query_check(struct xrpc_http_call *call, const char *const *known)
{
	struct check check = {call, known, true};

	xrpc_http_each_query(call, check_one, &check);
	return check.is_good;
}

bool rest_query_bool(struct xrpc_http_call *call, const char *name, bool *ret_value)
{
	const char *text = xrpc_http_query(call, name);

	if (text == NULL) {
		return true;
	}
	if (text[0] == '\0' || strcmp(text, "true") == 0 || strcmp(text, "1") == 0) {
		*ret_value = true;
	} else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0) {
		*ret_value = false;
	} else {
		xrpc_http_problem(call, 400, name, "%s is true or false, not '%.64s'", name, text);
		return false;
	}
	return true;
}
