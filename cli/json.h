/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading answers: a member that is missing, or of another type, is "", 0 or false, for a node may
 * be older or newer than its xsan. */
#ifndef XSAN_JSON_H
#define XSAN_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

static inline const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static inline uint64_t get_u64(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

/* A number of seconds as nanoseconds, at most so many that it is of no use any more. */
static inline uint64_t get_seconds_ns(const json_t *object, const char *key)
{
	double seconds = json_number_value(json_object_get(object, key));

	return seconds > 0 ? (uint64_t)(seconds < 9e9 ? seconds * 1e9 : 9e18) : 0;
}

static inline double get_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static inline bool get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

#endif
