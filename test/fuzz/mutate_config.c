/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer's mutations of fuzz_config's and fuzz_document's inputs. Some change bytes anywhere;
 * the others change one value of one document and keep it JSON: leave it out, repeat it, put
 * another value in its place, often one from elsewhere in the input. Documents are copied too,
 * because a reload is between two that are nearly the same.
 */
#include <jansson.h>

#include "lib/util/random.h"
#include "test/fuzz/fuzz.h"

#define MAX_DOCUMENTS 3u
#define MAX_NODES     256u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* A value and where it is: a member or an element. */
struct node {
	json_t *parent, *value;
	const char *key;
	size_t index;
};

struct documents {
	json_t *roots[MAX_DOCUMENTS];
	uint32_t count;
	struct node nodes[MAX_NODES]; /* of all documents */
	uint32_t nr_nodes;
	struct xu_random random;
};

static uint32_t pick(struct documents *docs, uint32_t bound)
{
	return (uint32_t)xu_random_below(&docs->random, bound);
}

/* ---- reading and writing ---- */

static void read_all(struct documents *docs, const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size, *zero;

	do {
		zero = at != end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
		docs->roots[docs->count] =
			json_loadb(at, (size_t)((zero != NULL ? zero : end) - at), 0, NULL);
		if (docs->roots[docs->count] == NULL) {
			return;
		}
		at = zero != NULL ? zero + 1 : end;
	} while (++docs->count < MAX_DOCUMENTS && zero != NULL);
}

/* Returns the size, 0 when it does not fit. */
static size_t write_all(const struct documents *docs, uint8_t *data, size_t max_size)
{
	size_t size = 0;

	for (uint32_t i = 0; i < docs->count; i++) {
		char *text = json_dumps(docs->roots[i], JSON_COMPACT);
		size_t len = text != NULL ? strlen(text) : 0;

		if (len == 0 || size + len + 1 > max_size) {
			free(text);
			return 0;
		}
		if (i != 0) {
			data[size++] = 0;
		}
		memcpy(data + size, text, len);
		size += len;
		free(text);
	}
	return size;
}

static void find_nodes(struct documents *docs, json_t *parent)
{
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach (parent, key, value) {
		if (docs->nr_nodes < MAX_NODES) {
			docs->nodes[docs->nr_nodes++] =
				(struct node){.parent = parent, .value = value, .key = key};
			find_nodes(docs, value);
		}
	}
	json_array_foreach (parent, i, value) {
		if (docs->nr_nodes < MAX_NODES) {
			docs->nodes[docs->nr_nodes++] =
				(struct node){.parent = parent, .value = value, .index = i};
			find_nodes(docs, value);
		}
	}
}

/* ---- mutations ---- */

static json_t *new_value(struct documents *docs)
{
	static const char *const texts[] = {"", "m", "n", "1MiB", "64KiB", "0", "4420", "65536",
		"malloc", "null", "delay", "error", "file", "tcp", "127.0.0.1", "::", "debug",
		"nqn.2026-11.io.xsan:a", "nqn.2026-11.io.xsan:b", "/f",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "aio", "o", "raid1", "s", "s/v", "nvmf",
		"raid", "raid5", "far=2"};
	static const json_int_t numbers[] = {
		0, 1, 2, 3, 16, 100, 512, 4096, 65536, 65537, 1ll << 32, INT64_MAX, -1};

	switch (pick(docs, 6)) {
	case 0:
		return json_integer(numbers[pick(docs, sizeof(numbers) / sizeof(numbers[0]))]);
	case 1:
		return json_boolean(pick(docs, 2));
	case 2:
		return pick(docs, 2) != 0 ? json_array() : json_object();
	default:
		return json_string(texts[pick(docs, sizeof(texts) / sizeof(texts[0]))]);
	}
}

static void replace(struct node *node, json_t *value)
{
	if (json_is_object(node->parent)) {
		json_object_set_new(node->parent, node->key, value);
	} else {
		json_array_set_new(node->parent, node->index, value);
	}
}

static void change_node(struct documents *docs, struct node *node)
{
	struct node *other = &docs->nodes[pick(docs, docs->nr_nodes)];

	switch (pick(docs, 5)) {
	case 0:
		if (json_is_object(node->parent)) {
			json_object_del(node->parent, node->key);
		} else {
			json_array_remove(node->parent, node->index);
		}
		break;
	case 1:
		if (json_is_array(node->parent)) {
			json_array_insert_new(node->parent, pick(docs, (uint32_t)node->index + 1),
				json_deep_copy(node->value));
		} else if (other->key != NULL) {
			json_object_set_new(node->parent, other->key, json_deep_copy(other->value));
		}
		break;
	case 2:
		replace(node, new_value(docs));
		break;
	default:
		replace(node, json_deep_copy(other->value));
		break;
	}
}

static void mutate(struct documents *docs)
{
	uint32_t index = pick(docs, docs->count);

	if (pick(docs, 4) == 0) {
		uint32_t to = docs->count < MAX_DOCUMENTS ? docs->count : pick(docs, MAX_DOCUMENTS);
		json_t *copy = json_deep_copy(docs->roots[index]);

		if (to == docs->count) {
			docs->count++;
		} else {
			json_decref(docs->roots[to]);
		}
		docs->roots[to] = copy;
	}
	docs->nr_nodes = 0;
	for (uint32_t i = 0; i < docs->count; i++) {
		find_nodes(docs, docs->roots[i]);
	}
	if (docs->nr_nodes != 0) {
		change_node(docs, &docs->nodes[pick(docs, docs->nr_nodes)]);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	struct documents docs = {0};
	size_t new_size = 0;

	xu_random_seed(&docs.random, seed);
	if (pick(&docs, 3) != 0) {
		read_all(&docs, data, size);
	}
	if (docs.count != 0) {
		for (uint32_t i = 0, count = 1 + pick(&docs, 3); i < count; i++) {
			mutate(&docs);
		}
		new_size = write_all(&docs, data, max_size);
	}
	for (uint32_t i = 0; i < docs.count; i++) {
		json_decref(docs.roots[i]);
	}
	return new_size != 0 ? new_size : LLVMFuzzerMutate(data, size, max_size);
}
