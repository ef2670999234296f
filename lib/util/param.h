/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parameters from JSON objects. A table names each parameter, its type, its place in a struct, and
 * what is accepted; configuration files, RPC methods and the command line all read the same table,
 * so they check alike and explain alike.
 */
#ifndef XU_PARAM_H
#define XU_PARAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xu_error;

enum xu_param_type {
	XU_PARAM_STRING, /* const char *, borrowed from the JSON value */
	XU_PARAM_BOOL,   /* bool */
	XU_PARAM_U32,    /* uint32_t, min … max */
	XU_PARAM_U64,    /* uint64_t, min … max */
	XU_PARAM_SIZE,   /* uint64_t bytes: a number, or text such as "256 MiB"; min … max */
	XU_PARAM_REAL,   /* double, min … max; max 0: any */
	XU_PARAM_ENUM,   /* uint32_t: the index of the text in `choices` */
	XU_PARAM_UUID,   /* struct xu_uuid */
	XU_PARAM_JSON,   /* json_t *, borrowed: any value, for the caller to look into */
	XU_PARAM_OFF,    /* nothing: only false and 0 are taken; `help` says why */
};

struct xu_param {
	const char *name; /* NULL ends the table */
	enum xu_param_type type;
	size_t offset; /* in the struct of options */
	bool is_required;
	uint64_t min, max;          /* max 0: the type's largest */
	const char *const *choices; /* for ENUM, ends with NULL */
	const char *help;           /* one sentence, with the default */
};

#define XU_PARAM_PATH_SIZE 256u

/*
 * Reads the members of `object` into `opts`, which holds the defaults; members that are missing
 * leave them alone. On failure returns -EINVAL with a sentence that names the parameter, its
 * value and what is accepted, and writes the path of the culprit, relative to `object`, to `path`
 * ("block_size", or "" for the object itself). Keys beginning with "_" are comments.
 */
int xu_params_parse(const struct xu_param *params, void *opts, json_t *object,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err);

#endif
