/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters from JSON objects by table; nothing is kept. */
#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/util/error.h"
#include "lib/util/param.h"
#include "lib/util/size.h"
#include "lib/util/uuid.h"

#define VALUE_TEXT_SIZE 64u

/* The value as it stands in the document, cut short when it is long. */
static void value_text(json_t *value, char text[VALUE_TEXT_SIZE])
{
	char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	size_t len = dump != NULL ? strlen(dump) : 0;

	snprintf(text, VALUE_TEXT_SIZE, "%.*s%s", (int)(VALUE_TEXT_SIZE - 8),
		dump != NULL ? dump : "?", len > VALUE_TEXT_SIZE - 8 ? "…" : "");
	free(dump);
}

static int reject(
	const struct xu_param *param, json_t *value, const char *accepted, struct xu_error *err)
{
	char text[VALUE_TEXT_SIZE];

	value_text(value, text);
	return xu_error_set(
		err, -EINVAL, "%s: %s is not accepted; it takes %s", param->name, text, accepted);
}

static int parse_number(
	const struct xu_param *param, json_t *value, uint64_t *ret_number, struct xu_error *err)
{
	uint64_t type_max = param->type == XU_PARAM_U32 ? UINT32_MAX : UINT64_MAX;
	uint64_t max = param->max != 0 ? param->max : type_max, number;
	char accepted[160];

	snprintf(accepted, sizeof(accepted), "a whole number%s from %llu to %llu",
		param->type == XU_PARAM_SIZE ? " of bytes or a text such as \"256MiB\"," : "",
		(unsigned long long)param->min, (unsigned long long)max);
	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		number = (uint64_t)json_integer_value(value);
	} else if (param->type != XU_PARAM_SIZE || !json_is_string(value) ||
		   xu_size_parse(json_string_value(value), &number) != 0) {
		return reject(param, value, accepted, err);
	}
	if (number < param->min || number > max) {
		return reject(param, value, accepted, err);
	}
	*ret_number = number;
	return 0;
}

static int parse_real(
	const struct xu_param *param, json_t *value, double *ret_number, struct xu_error *err)
{
	double max = param->max != 0 ? (double)param->max : DBL_MAX;
	double number = json_number_value(value);
	char accepted[96];

	if (json_is_number(value) && number >= (double)param->min && number <= max) {
		*ret_number = number;
		return 0;
	}
	snprintf(accepted, sizeof(accepted), "a number from %llu to %g",
		(unsigned long long)param->min, max);
	return reject(param, value, accepted, err);
}

static int parse_choice(
	const struct xu_param *param, json_t *value, uint32_t *ret_index, struct xu_error *err)
{
	char accepted[256] = "one of:";

	for (uint32_t i = 0; param->choices[i] != NULL; i++) {
		size_t len = strlen(accepted);

		if (json_is_string(value) &&
			strcasecmp(json_string_value(value), param->choices[i]) == 0) {
			*ret_index = i;
			return 0;
		}
		snprintf(accepted + len, sizeof(accepted) - len, "%s \"%s\"", i == 0 ? "" : ",",
			param->choices[i]);
	}
	return reject(param, value, accepted, err);
}

/* What others have and we have not; they send it also when it is off. */
static int parse_off(const struct xu_param *param, json_t *value, struct xu_error *err)
{
	char text[VALUE_TEXT_SIZE];

	if (json_is_false(value) || (json_is_integer(value) && json_integer_value(value) == 0)) {
		return 0;
	}
	value_text(value, text);
	return xu_error_set(
		err, -EINVAL, "%s: %s is not accepted; %s", param->name, text, param->help);
}

static int parse_value(const struct xu_param *param, json_t *value, void *ret, struct xu_error *err)
{
	uint64_t number;
	int rc;

	switch (param->type) {
	case XU_PARAM_STRING:
		if (!json_is_string(value) || json_string_length(value) == 0 ||
			strlen(json_string_value(value)) != json_string_length(value)) {
			return reject(param, value, "a text that is not empty", err);
		}
		*(const char **)ret = json_string_value(value);
		return 0;
	case XU_PARAM_BOOL:
		if (!json_is_boolean(value)) {
			return reject(param, value, "true or false", err);
		}
		*(bool *)ret = json_is_true(value);
		return 0;
	case XU_PARAM_U32:
		rc = parse_number(param, value, &number, err);
		if (rc == 0) {
			*(uint32_t *)ret = (uint32_t)number;
		}
		return rc;
	case XU_PARAM_U64:
	case XU_PARAM_SIZE:
		return parse_number(param, value, ret, err);
	case XU_PARAM_REAL:
		return parse_real(param, value, ret, err);
	case XU_PARAM_ENUM:
		return parse_choice(param, value, ret, err);
	case XU_PARAM_UUID:
		if (!json_is_string(value) || xu_uuid_parse(json_string_value(value), ret) != 0) {
			return reject(param, value,
				"a UUID such as \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"", err);
		}
		return 0;
	case XU_PARAM_JSON:
		*(json_t **)ret = value;
		return 0;
	case XU_PARAM_OFF:
		return parse_off(param, value, err);
	}
	return -EINVAL;
}

static const struct xu_param *find(const struct xu_param *params, const char *name)
{
	for (; params->name != NULL; params++) {
		if (strcmp(params->name, name) == 0) {
			return params;
		}
	}
	return NULL;
}

static int reject_unknown(const struct xu_param *params, const char *name, struct xu_error *err)
{
	char accepted[384] = "";

	for (; params->name != NULL; params++) {
		size_t len = strlen(accepted);

		snprintf(accepted + len, sizeof(accepted) - len, "%s%s", len == 0 ? "" : ", ",
			params->name);
	}
	return xu_error_set(err, -EINVAL, "'%.64s' is not known here; accepted: %s", name,
		accepted[0] != '\0' ? accepted : "nothing");
}

int xu_params_parse(const struct xu_param *params, void *opts, json_t *object,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	const struct xu_param *param;
	const char *name;
	json_t *value;
	int rc;

	path[0] = '\0';
	if (!json_is_object(object)) {
		return xu_error_set(err, -EINVAL, "an object { … } is needed here");
	}
	json_object_foreach (object, name, value) {
		if (name[0] == '_') {
			continue;
		}
		snprintf(path, XU_PARAM_PATH_SIZE, "%s", name);
		param = find(params, name);
		rc = param == NULL ? reject_unknown(params, name, err)
				   : parse_value(param, value, (char *)opts + param->offset, err);
		if (rc != 0) {
			return rc;
		}
	}
	path[0] = '\0';
	for (param = params; param->name != NULL; param++) {
		if (param->is_required && json_object_get(object, param->name) == NULL) {
			return xu_error_set(
				err, -EINVAL, "'%s' is missing: %s", param->name, param->help);
		}
	}
	return 0;
}
