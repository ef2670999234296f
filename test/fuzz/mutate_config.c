/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer's mutations of inputs that are JSON documents with a zero byte between them. Some
 * change bytes anywhere; the others change one value of one document and keep it JSON: leave it
 * out, repeat it, put another value in its place, often one from elsewhere in the input. Documents
 * are copied too, because a reload is between two that are nearly the same.
 *
 * A document that begins with a capital letter is a request (fuzz_rest): its head, up to the empty
 * line, goes with it, or is put in front of another.
 */
#include <jansson.h>

#include "lib/util/random.h"
#include "test/fuzz/fuzz.h"

#ifndef MAX_DOCUMENTS
#define MAX_DOCUMENTS 3u
#endif
#define MAX_NODES 256u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* A value and where it is: a member or an element. */
struct node {
	json_t *parent, *value;
	const char *key;
	size_t index;
};

struct documents {
	char *heads[MAX_DOCUMENTS];   /* NULL: it has none */
	json_t *roots[MAX_DOCUMENTS]; /* NULL: it is a head only */
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

/* The length of a document's head, with the empty line. */
static size_t head_len(const char *text, size_t len)
{
	const char *end;

	if (len == 0 || text[0] < 'A' || text[0] > 'Z') {
		return 0;
	}
	end = memmem(text, len, "\n\n", 2);
	return end != NULL ? (size_t)(end + 2 - text) : len;
}

static void read_all(struct documents *docs, const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size, *zero;

	do {
		uint32_t i = docs->count;
		size_t len, head;

		zero = at != end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
		len = (size_t)((zero != NULL ? zero : end) - at);
		head = head_len(at, len);
		docs->roots[i] = json_loadb(at + head, len - head, 0, NULL);
		if (docs->roots[i] == NULL && (head == 0 || head != len)) {
			return;
		}
		docs->heads[i] = head != 0 ? strndup(at, head) : NULL;
		at = zero != NULL ? zero + 1 : end;
	} while (++docs->count < MAX_DOCUMENTS && zero != NULL);
}

/* Returns the size, 0 when it does not fit. */
static size_t write_all(const struct documents *docs, uint8_t *data, size_t max_size)
{
	size_t size = 0;

	for (uint32_t i = 0; i < docs->count; i++) {
		char *text =
			docs->roots[i] != NULL ? json_dumps(docs->roots[i], JSON_COMPACT) : NULL;
		size_t len = text != NULL ? strlen(text) : 0;
		size_t head = docs->heads[i] != NULL ? strlen(docs->heads[i]) : 0;

		if (head + len == 0 || size + head + len + 1 > max_size) {
			free(text);
			return 0;
		}
		if (i != 0) {
			data[size++] = 0;
		}
		if (head != 0) {
			memcpy(data + size, docs->heads[i], head);
		}
		if (len != 0) {
			memcpy(data + size + head, text, len);
		}
		size += head + len;
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
		"raid", "raid5", "far=2", "192.0.2.1", "fd00::7", "fc", "available", "maintenance",
		"deny", "applied", "node:a", "sqlite", "identify"};
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

static void set_head(struct documents *docs, uint32_t to, uint32_t from)
{
	char *copy = docs->heads[from] != NULL ? strdup(docs->heads[from]) : NULL;

	free(docs->heads[to]);
	docs->heads[to] = copy;
}

static void copy_document(struct documents *docs, uint32_t from)
{
	uint32_t to = docs->count < MAX_DOCUMENTS ? docs->count : pick(docs, MAX_DOCUMENTS);
	json_t *copy = json_deep_copy(docs->roots[from]);

	if (to == docs->count) {
		docs->count++;
	} else {
		json_decref(docs->roots[to]);
	}
	docs->roots[to] = copy;
	set_head(docs, to, from);
}

static void mutate(struct documents *docs)
{
	uint32_t index = pick(docs, docs->count), other = pick(docs, docs->count);

	if (pick(docs, 4) == 0) {
		copy_document(docs, index);
	} else if (docs->heads[index] != NULL && pick(docs, 8) == 0) {
		set_head(docs, other, index);
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
		free(docs.heads[i]);
	}
	return new_size != 0 ? new_size : LLVMFuzzerMutate(data, size, max_size);
}
