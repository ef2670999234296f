/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what reads text: sizes, UUIDs, addresses, places in JSON, parameters by a table. The first
 * byte chooses, the rest is the text. Each has an oracle of its own: the text is read a second time
 * by other means, or what was read is written again and must read the same.
 */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <strings.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/util/jsonpos.h"
#include "lib/util/param.h"
#include "lib/util/size.h"
#include "lib/util/uuid.h"
#include "test/fuzz/fuzz.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

/* ---- sizes ---- */

/* The same by other means: 128-bit numbers, and the suffix looked up as a whole. */
static int read_size(const char *text, uint64_t *ret_bytes)
{
	static const char *const suffixes[] = {"", "k", "m", "g", "t", "p"};
	size_t nr_digits = strspn(text, "0123456789");
	unsigned __int128 value = 0;
	const char *rest = text + nr_digits;
	char suffix[8];

	if (nr_digits == 0) {
		return -EINVAL;
	}
	rest += rest[0] == ' ' && rest[1] != '\0';
	for (size_t i = 0; i < nr_digits; i++) {
		value = value * 10 + (unsigned)(text[i] - '0');
		value = value >> 64 != 0 ? (unsigned __int128)1 << 64 : value;
	}
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		static const char *const ends[] = {"", "b", "ib"};

		for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
			snprintf(suffix, sizeof(suffix), "%s%s", suffixes[i], ends[e]);
			if (strcasecmp(rest, suffix) != 0 || (i == 0 && e == 2)) {
				continue;
			}
			value <<= 10 * i;
			if (value >> 64 != 0) {
				return -ERANGE;
			}
			*ret_bytes = (uint64_t)value;
			return 0;
		}
	}
	return -EINVAL;
}

/* What xu_size_format() writes: a number with at most two decimals, a space, a unit. */
static void check_formatted(uint64_t bytes)
{
	static const char units[] = "KMGTP";
	unsigned long long whole;
	unsigned hundredths = 0, shift = 0;
	char text[64], *at, *end;
	uint64_t again;

	xu_size_format(bytes, text, sizeof(text));
	whole = strtoull(text, &end, 10);
	if (*end == '.') {
		at = end + 1;
		hundredths = (unsigned)strtoul(at, &end, 10) * (end - at == 1 ? 10 : 1);
	}
	FUZZ_CHECK(*end == ' ', "%s", text);
	if (strcmp(end, " B") != 0) {
		at = strchr(units, end[1]);
		FUZZ_CHECK(at != NULL && strcmp(end + 2, "iB") == 0, "%s", text);
		shift = 10 * (unsigned)(at - units + 1);
	}
	if (hundredths == 0) {
		FUZZ_CHECK(xu_size_parse(text, &again) == 0 && again == bytes, "%s", text);
	}
	FUZZ_CHECK((((unsigned __int128)whole * 100 + hundredths) << shift) / 100 == bytes,
		"%llu is written as %s", (unsigned long long)bytes, text);
}

static void fuzz_size(const char *text)
{
	uint64_t bytes = UNTOUCHED, expected = UNTOUCHED;
	int rc = xu_size_parse(text, &bytes), expected_rc = read_size(text, &expected);

	FUZZ_CHECK(rc == expected_rc && bytes == expected, "'%s' is read as %d, %llu", text, rc,
		(unsigned long long)bytes);
	if (rc == 0) {
		check_formatted(bytes);
	}
}

/* ---- UUIDs ---- */

static bool is_uuid(const char *text)
{
	for (size_t i = 0; i < XU_UUID_TEXT_SIZE - 1; i++) {
		bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_hyphen ? text[i] != '-' : !isxdigit((unsigned char)text[i])) {
			return false;
		}
	}
	return text[XU_UUID_TEXT_SIZE - 1] == '\0';
}

static void fuzz_uuid(const char *text)
{
	struct xu_uuid uuid, untouched;
	char again[XU_UUID_TEXT_SIZE];
	int rc;

	memset(&uuid, 0x5a, sizeof(uuid));
	untouched = uuid;
	rc = xu_uuid_parse(text, &uuid);
	FUZZ_CHECK(rc == (is_uuid(text) ? 0 : -EINVAL), "'%s' is read as %d", text, rc);
	if (rc != 0) {
		FUZZ_CHECK(xu_uuid_is_equal(&uuid, &untouched), "changed by '%s'", text);
		return;
	}
	xu_uuid_format(&uuid, again);
	FUZZ_CHECK(strcasecmp(text, again) == 0, "'%s' is written as '%s'", text, again);
	for (const char *at = again; *at != '\0'; at++) {
		FUZZ_CHECK(!isupper((unsigned char)*at), "'%s'", again);
	}
}

/* ---- addresses ---- */

static void fuzz_address(const char *text)
{
	struct sockaddr_storage addr, again_addr;
	char again[XR_ADDRESS_SIZE];
	uint16_t port = 0;
	int len = xr_address_parse(text, 4420, &addr);

	if (len < 0) {
		FUZZ_CHECK(len == -EINVAL && !xr_address_is_wildcard(text), "%s", text);
		return;
	}
	FUZZ_CHECK(len == (addr.ss_family == AF_INET ? (int)sizeof(struct sockaddr_in)
						     : (int)sizeof(struct sockaddr_in6)),
		"%s", text);
	FUZZ_CHECK(xr_address_format(&addr, again, &port) == 0 && port == 4420, "%s", text);
	FUZZ_CHECK(xr_address_parse(again, 4420, &again_addr) == len &&
			   memcmp(&addr, &again_addr, sizeof(addr)) == 0,
		"'%s' is written as '%s'", text, again);
	FUZZ_CHECK(xr_address_is_wildcard(text) ==
			   (strcmp(again, "0.0.0.0") == 0 || strcmp(again, "::") == 0),
		"%s", again);
}

/* ---- places in JSON ---- */

#define JSON_FLAGS      (JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK)
#define MAX_JSON_PATH   512u
#define MAX_JSON_VALUES 2000u

struct walk {
	const char *text;
	size_t len;
	char path[MAX_JSON_PATH];
	uint32_t nr_values;
};

static const char *place_of(const struct walk *walk, const struct xu_jsonpos *pos)
{
	const char *at = walk->text, *end = walk->text + walk->len;

	for (uint32_t line = 1; line < pos->line; line++) {
		at = memchr(at, '\n', (size_t)(end - at));
		FUZZ_CHECK(at != NULL, "line %u", pos->line);
		at++;
	}
	FUZZ_CHECK(pos->column >= 1 && pos->column <= (size_t)(end - at) + 1, "column %u",
		pos->column);
	return at + pos->column - 1;
}

/* Reads the value again from the place that was found. */
static void check_place(const struct walk *walk, json_t *value)
{
	struct xu_jsonpos pos;
	const char *at;
	json_t *again;
	int rc = xu_jsonpos_find(walk->text, walk->len, walk->path, &pos);

	FUZZ_CHECK(rc == 0, "path '%s': %d", walk->path, rc);
	at = place_of(walk, &pos);
	again = json_loadb(at, walk->len - (size_t)(at - walk->text), JSON_FLAGS, NULL);
	FUZZ_CHECK(again != NULL && json_equal(again, value), "path '%s' is not at %u:%u",
		walk->path, pos.line, pos.column);
	json_decref(again);
}

static void walk_value(struct walk *walk, json_t *value)
{
	size_t path_len = strlen(walk->path), i;
	const char *key;
	json_t *inner;

	if (++walk->nr_values > MAX_JSON_VALUES) {
		return;
	}
	check_place(walk, value);
	json_object_foreach (value, key, inner) {
		/* Names with these in them have no path. */
		if (key[0] == '\0' || strpbrk(key, ".[") != NULL ||
			path_len + strlen(key) + 2 > MAX_JSON_PATH) {
			continue;
		}
		sprintf(walk->path + path_len, "%s%s", path_len != 0 ? "." : "", key);
		walk_value(walk, inner);
		walk->path[path_len] = '\0';
	}
	json_array_foreach (value, i, inner) {
		if (path_len + 24 > MAX_JSON_PATH) {
			break;
		}
		sprintf(walk->path + path_len, "[%zu]", i);
		walk_value(walk, inner);
		walk->path[path_len] = '\0';
	}
}

/* "PATH\n" and the document. Every value of the document is looked for, and the path. */
static void fuzz_jsonpos(const char *text, size_t len)
{
	const char *newline = memchr(text, '\n', len);
	struct walk walk = {.text = text, .len = len};
	struct xu_jsonpos pos = {0};
	char path[MAX_JSON_PATH];
	size_t path_len = newline != NULL ? (size_t)(newline - text) : 0;
	json_t *root;
	char *exact;
	int rc;

	if (newline == NULL || path_len >= sizeof(path)) {
		return;
	}
	memcpy(path, text, path_len);
	path[path_len] = '\0';
	walk.len = len - path_len - 1;
	exact = malloc(walk.len != 0 ? walk.len : 1); /* no NUL behind it */
	FUZZ_CHECK(exact != NULL, "out of memory");
	memcpy(exact, newline + 1, walk.len);
	walk.text = exact;
	rc = xu_jsonpos_find(exact, walk.len, path, &pos);
	FUZZ_CHECK(rc == 0 || rc == -ENOENT || rc == -EINVAL, "path '%s': %d", path, rc);
	place_of(&walk, &pos);
	root = json_loadb(exact, walk.len, JSON_DECODE_ANY, NULL);
	if (root != NULL) {
		walk_value(&walk, root);
		json_decref(root);
	}
	free(exact);
}

/* ---- parameters ---- */

struct options {
	const char *name;
	bool flag;
	uint32_t small, choice;
	uint64_t large, size, bounded;
	struct xu_uuid uuid;
	json_t *any;
};

static const char *const choices[] = {"tcp", "rdma", "Loop", NULL};

static const struct xu_param params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct options, name), .is_required = true, .help = "n"},
	{"flag", XU_PARAM_BOOL, offsetof(struct options, flag), .help = "f"},
	{"small", XU_PARAM_U32, offsetof(struct options, small), .min = 3, .max = 70000,
		.help = "s"},
	{"large", XU_PARAM_U64, offsetof(struct options, large), .help = "l"},
	{"size", XU_PARAM_SIZE, offsetof(struct options, size), .help = "z"},
	{"bounded", XU_PARAM_SIZE, offsetof(struct options, bounded), .min = 512, .max = 1u << 20,
		.help = "b"},
	{"choice", XU_PARAM_ENUM, offsetof(struct options, choice), .choices = choices,
		.help = "c"},
	{"uuid", XU_PARAM_UUID, offsetof(struct options, uuid), .help = "u"},
	{"any", XU_PARAM_JSON, offsetof(struct options, any), .help = "a"},
	{0},
};

static bool is_number(json_t *value, bool may_be_text, uint64_t min, uint64_t max, uint64_t got)
{
	uint64_t number = 0;

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		number = (uint64_t)json_integer_value(value);
	} else if (!may_be_text || !json_is_string(value) ||
		   read_size(json_string_value(value), &number) != 0) {
		return false;
	}
	return number >= min && number <= max && number == got;
}

static bool is_choice(json_t *value, uint32_t got)
{
	return got < 3 && json_is_string(value) &&
	       strcasecmp(json_string_value(value), choices[got]) == 0;
}

static bool is_same_uuid(json_t *value, const struct xu_uuid *got)
{
	char text[XU_UUID_TEXT_SIZE];

	xu_uuid_format(got, text);
	return json_is_string(value) && strcasecmp(json_string_value(value), text) == 0;
}

/* What was accepted must be what the document says, and what it does not say must be as it was. */
static void check_options(json_t *object, const struct options *got, const struct options *before)
{
	json_t *name = json_object_get(object, "name"), *flag = json_object_get(object, "flag");
	json_t *small = json_object_get(object, "small"), *large = json_object_get(object, "large");
	json_t *size = json_object_get(object, "size"), *uuid = json_object_get(object, "uuid");
	json_t *bounded = json_object_get(object, "bounded");
	json_t *choice = json_object_get(object, "choice");

	FUZZ_CHECK(json_is_string(name) && got->name == json_string_value(name) &&
			   json_string_length(name) != 0,
		"name");
	FUZZ_CHECK(flag != NULL ? json_is_boolean(flag) && got->flag == json_is_true(flag)
				: got->flag == before->flag,
		"flag");
	FUZZ_CHECK(small != NULL ? is_number(small, false, 3, 70000, got->small)
				 : got->small == before->small,
		"small");
	FUZZ_CHECK(large != NULL ? is_number(large, false, 0, UINT64_MAX, got->large)
				 : got->large == before->large,
		"large");
	FUZZ_CHECK(size != NULL ? is_number(size, true, 0, UINT64_MAX, got->size)
				: got->size == before->size,
		"size");
	FUZZ_CHECK(bounded != NULL ? is_number(bounded, true, 512, 1u << 20, got->bounded)
				   : got->bounded == before->bounded,
		"bounded");
	FUZZ_CHECK(choice != NULL ? is_choice(choice, got->choice) : got->choice == before->choice,
		"choice");
	FUZZ_CHECK(uuid != NULL ? is_same_uuid(uuid, &got->uuid)
				: xu_uuid_is_equal(&got->uuid, &before->uuid),
		"uuid");
	FUZZ_CHECK(got->any == json_object_get(object, "any"), "any");
}

static void fuzz_params(const char *text, size_t len)
{
	struct options got = {.small = 11, .large = 12, .size = 13, .bounded = 14, .choice = 77};
	const struct options before = got;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err = {0};
	json_t *object = json_loadb(text, len, JSON_DECODE_ANY, NULL), *as_json;
	int rc;

	if (object == NULL) {
		return;
	}
	memset(path, 'x', sizeof(path));
	rc = xu_params_parse(params, &got, object, path, &err);
	FUZZ_CHECK(memchr(path, '\0', sizeof(path)) != NULL, "the path has no end");
	if (rc == 0) {
		FUZZ_CHECK(path[0] == '\0' && err.code == 0, "path '%s', code %d", path, err.code);
		check_options(object, &got, &before);
	} else {
		FUZZ_CHECK(rc == -EINVAL && err.code == rc && err.text[0] != '\0', "%d '%s'", rc,
			err.text);
		as_json = json_string(err.text);
		FUZZ_CHECK(as_json != NULL, "the sentence is not UTF-8: %s", err.text);
		json_decref(as_json);
		FUZZ_CHECK(path[0] == '\0' || strlen(path) == sizeof(path) - 1 ||
				   json_object_get(object, path) != NULL,
			"path '%s' is not in the object", path);
	}
	json_decref(object);
}

/* ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	size_t len;

	if (size == 0) {
		return 0;
	}
	len = size - 1;
	text = malloc(len + 1);
	FUZZ_CHECK(text != NULL, "out of memory");
	memcpy(text, data + 1, len);
	text[len] = '\0';
	switch (data[0] % 5) {
	case 0:
		fuzz_size(text);
		break;
	case 1:
		fuzz_uuid(text);
		break;
	case 2:
		fuzz_address(text);
		break;
	case 3:
		fuzz_jsonpos(text, len);
		break;
	default:
		fuzz_params(text, len);
		break;
	}
	free(text);
	return 0;
}
