/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of multicast to bytes and back; see multicast.h for the format. Nothing here knows
 * sockets or clocks. A writer never goes beyond its room: what does not fit says so. A reader looks
 * at the code before it looks at anything that has a length in it.
 */
#include "lib/xregistry/multicast.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES   32u
#define ANSWER_BYTES (HEAD_BYTES + 7) /* up to the node's id */
#define TARGET_HEAD  2u

enum kind { KIND_QUERY = 1, KIND_ANSWER = 2 };

/* Fields of a target. Those of one number or text come once at most. */
enum tag {
	TAG_NQN = 1,
	TAG_ADDRESS = 2,
	TAG_INTERFACE = 3,
	TAG_DEVICE_PATH = 4,
	TAG_TRANSPORT = 5,
	TAG_SECURITY = 6,
	TAG_PORT = 7,
	TAG_CAPACITY = 8,
	TAG_BLOCK_SIZE = 9,
	TAG_NAMESPACE_ID = 10,
	TAG_READ_ONLY = 11,
	TAG_QUEUE_DEPTH = 12,
	TAG_LABEL = 13,    /* of config.tags, as often as there are */
	TAG_META_KEY = 14, /* … and its value is the next field */
	TAG_META_VALUE = 15,
};

static const uint8_t magic[4] = {'X', 'S', 'M', 'D'};

static const char *key_text(const char *key)
{
	return key != NULL ? key : "";
}

/* ---- heads and codes ---- */

static void put_u16(uint8_t *to, uint32_t value)
{
	uint16_t net = htons((uint16_t)value);

	memcpy(to, &net, sizeof(net));
}

static uint32_t get_u16(const uint8_t *from)
{
	return (uint32_t)from[0] << 8 | from[1];
}

static void put_head(uint8_t *to, enum kind kind, const uint8_t *nonce, uint64_t time_ms)
{
	uint64_t net = htobe64(time_ms);

	memcpy(to, magic, sizeof(magic));
	to[4] = XREG_MCAST_VERSION;
	to[5] = (uint8_t)kind;
	memcpy(to + 8, nonce, XREG_MCAST_NONCE_BYTES);
	memcpy(to + 24, &net, sizeof(net));
}

/* Ends a message of `len` bytes with its length and its code; returns the length. */
static int seal(uint8_t *bytes, size_t len, const char *key)
{
	int rc;

	put_u16(bytes + 6, (uint32_t)(len + XREG_MAC_BYTES));
	rc = xreg_mac(key_text(key), bytes, len, bytes + len);
	return rc == 0 ? (int)(len + XREG_MAC_BYTES) : rc;
}

/* Whether this is a message of that kind from somebody with the key. */
static int unseal(const uint8_t *bytes, size_t len, enum kind kind, size_t len_min, const char *key)
{
	uint8_t mac[XREG_MAC_BYTES];
	int rc;

	if (len < HEAD_BYTES + XREG_MAC_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0) {
		return -EBADMSG;
	}
	if (bytes[4] != XREG_MCAST_VERSION) {
		return -EPROTONOSUPPORT;
	}
	if (bytes[5] != kind || len > XREG_MCAST_BYTES_MAX || get_u16(bytes + 6) != len ||
		len < len_min) {
		return -EBADMSG;
	}
	rc = xreg_mac(key_text(key), bytes, len - XREG_MAC_BYTES, mac);
	if (rc == 0 && !xreg_mac_is_equal(mac, bytes + len - XREG_MAC_BYTES)) {
		rc = -EKEYREJECTED;
	}
	return rc;
}

/* ---- queries ---- */

int xreg_mcast_query_write(const struct xreg_mcast_query *query, const char *key,
	uint8_t ret_bytes[XREG_MCAST_QUERY_BYTES])
{
	put_head(ret_bytes, KIND_QUERY, query->nonce, query->time_ms);
	return seal(ret_bytes, HEAD_BYTES, key);
}

int xreg_mcast_query_read(const uint8_t *bytes, size_t len, const char *key, uint64_t now_ms,
	struct xreg_mcast_query *ret_query)
{
	struct xreg_mcast_query query;
	uint64_t net;
	int rc = unseal(bytes, len, KIND_QUERY, XREG_MCAST_QUERY_BYTES, key);

	if (rc != 0) {
		return rc;
	}
	if (len != XREG_MCAST_QUERY_BYTES) {
		return -EBADMSG;
	}
	memcpy(query.nonce, bytes + 8, sizeof(query.nonce));
	memcpy(&net, bytes + 24, sizeof(net));
	query.time_ms = be64toh(net);
	*ret_query = query;
	return (query.time_ms > now_ms ? query.time_ms - now_ms : now_ms - query.time_ms) >
			       XREG_MCAST_WINDOW_MS
		       ? -ESTALE
		       : 0;
}

/* ---- writing targets ---- */

struct writer {
	uint8_t *at;
	size_t left;
	bool is_full;
};

static void put_field(struct writer *to, enum tag tag, const void *value, size_t len)
{
	if (len > UINT8_MAX || len + 2 > to->left) {
		to->is_full = true;
		return;
	}
	to->at[0] = (uint8_t)tag;
	to->at[1] = (uint8_t)len;
	memcpy(to->at + 2, value, len);
	to->at += len + 2;
	to->left -= len + 2;
}

static void put_text(struct writer *to, enum tag tag, const char *text)
{
	if (text[0] != '\0') {
		put_field(to, tag, text, strlen(text));
	}
}

/* In as few bytes as it has; 0 in none. */
static void put_number(struct writer *to, enum tag tag, uint64_t value)
{
	uint64_t net = htobe64(value);
	size_t skip = 0;

	while (skip < sizeof(net) && ((const uint8_t *)&net)[skip] == 0) {
		skip++;
	}
	if (value != 0) {
		put_field(to, tag, (const uint8_t *)&net + skip, sizeof(net) - skip);
	}
}

static void put_lists(struct writer *to, const struct xreg_spec *spec)
{
	for (uint32_t i = 0; i < spec->nr_tags; i++) {
		put_text(to, TAG_LABEL, spec->tags[i]);
	}
	for (uint32_t i = 0; i < spec->nr_metadata; i++) {
		put_field(to, TAG_META_KEY, spec->metadata[i].key, strlen(spec->metadata[i].key));
		put_field(to, TAG_META_VALUE, spec->metadata[i].value,
			strlen(spec->metadata[i].value));
	}
}

/* Writes a target into `room` bytes; its length, or 0: it does not fit. */
static size_t put_target(uint8_t *bytes, size_t room, const struct xreg_spec *spec, bool has_lists)
{
	struct writer to = {.at = bytes + TARGET_HEAD, .left = room - TARGET_HEAD};

	put_text(&to, TAG_NQN, spec->nqn);
	put_text(&to, TAG_ADDRESS, spec->address);
	put_number(&to, TAG_PORT, spec->port);
	put_number(&to, TAG_TRANSPORT, spec->transport);
	put_number(&to, TAG_SECURITY, spec->security);
	put_text(&to, TAG_INTERFACE, spec->interface);
	put_text(&to, TAG_DEVICE_PATH, spec->device_path);
	put_number(&to, TAG_CAPACITY, spec->capacity_bytes);
	put_number(&to, TAG_BLOCK_SIZE, spec->block_size);
	put_number(&to, TAG_NAMESPACE_ID, spec->namespace_id);
	put_number(&to, TAG_READ_ONLY, spec->is_read_only);
	put_number(&to, TAG_QUEUE_DEPTH, spec->queue_depth);
	if (has_lists) {
		put_lists(&to, spec);
	}
	if (to.is_full) {
		return 0;
	}
	put_u16(bytes, (uint32_t)(room - TARGET_HEAD - to.left));
	return room - to.left;
}

/* ---- packing ---- */

struct part {
	uint16_t len, count;
	uint8_t bytes[XREG_MCAST_BYTES_MAX]; /* of its targets */
};

struct xreg_mcast_pack {
	char node_id[XREG_NAME_MAX + 1];
	size_t room; /* of a part */
	struct part *parts;
	uint32_t nr_parts, nr_room;
};

struct xreg_mcast_pack *xreg_mcast_pack_new(const char *node_id)
{
	size_t len = strlen(node_id);
	struct xreg_mcast_pack *pack;

	if (len == 0 || len > XREG_NAME_MAX) {
		return NULL;
	}
	pack = calloc(1, sizeof(*pack));
	if (pack != NULL) {
		memcpy(pack->node_id, node_id, len);
		pack->room = XREG_MCAST_BYTES_MAX - ANSWER_BYTES - len - XREG_MAC_BYTES;
	}
	return pack;
}

void xreg_mcast_pack_free(struct xreg_mcast_pack *pack)
{
	if (pack != NULL) {
		free(pack->parts);
		free(pack);
	}
}

/* The part that has room for so many bytes: the last, or a new one. */
static int part_for(struct xreg_mcast_pack *pack, size_t len, struct part **ret_part)
{
	struct part *more;

	if (pack->nr_parts != 0 && pack->room - pack->parts[pack->nr_parts - 1].len >= len) {
		*ret_part = &pack->parts[pack->nr_parts - 1];
		return 0;
	}
	if (pack->nr_parts == XREG_MCAST_PARTS_MAX) {
		return -ENOSPC;
	}
	if (pack->nr_parts == pack->nr_room) {
		uint32_t nr_room = pack->nr_room != 0 ? 2 * pack->nr_room : 1;

		more = realloc(pack->parts, nr_room * sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		pack->parts = more;
		pack->nr_room = nr_room;
	}
	*ret_part = &pack->parts[pack->nr_parts++];
	(*ret_part)->len = 0;
	(*ret_part)->count = 0;
	return 0;
}

int xreg_mcast_pack_add(struct xreg_mcast_pack *pack, const struct xreg_spec *spec)
{
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	bool is_cut = false;
	size_t len = put_target(bytes, pack->room, spec, true);
	struct part *part;
	int rc;

	if (len == 0) {
		is_cut = true;
		len = put_target(bytes, pack->room, spec, false);
	}
	if (len == 0) {
		return -EMSGSIZE;
	}
	rc = part_for(pack, len, &part);
	if (rc != 0) {
		return rc;
	}
	memcpy(part->bytes + part->len, bytes, len);
	part->len = (uint16_t)(part->len + len);
	part->count++;
	return is_cut;
}

uint32_t xreg_mcast_pack_parts(const struct xreg_mcast_pack *pack)
{
	return pack->nr_parts != 0 ? pack->nr_parts : 1;
}

int xreg_mcast_pack_write(const struct xreg_mcast_pack *pack, uint32_t part,
	const uint8_t nonce[XREG_MCAST_NONCE_BYTES], const char *key,
	uint8_t ret_bytes[XREG_MCAST_BYTES_MAX])
{
	const struct part *from = part < pack->nr_parts ? &pack->parts[part] : NULL;
	size_t id_len = strlen(pack->node_id), len = ANSWER_BYTES + id_len;

	put_head(ret_bytes, KIND_ANSWER, nonce, 0);
	put_u16(ret_bytes + 32, part);
	put_u16(ret_bytes + 34, xreg_mcast_pack_parts(pack));
	put_u16(ret_bytes + 36, from != NULL ? from->count : 0);
	ret_bytes[38] = (uint8_t)id_len;
	memcpy(ret_bytes + ANSWER_BYTES, pack->node_id, id_len);
	if (from != NULL) {
		memcpy(ret_bytes + len, from->bytes, from->len);
		len += from->len;
	}
	return seal(ret_bytes, len, key);
}

/* ---- reading answers ---- */

/* A text without NUL bytes, and UTF-8; false: it is none. */
static bool is_text(const uint8_t *bytes, size_t len)
{
	json_t *text =
		memchr(bytes, '\0', len) == NULL ? json_stringn((const char *)bytes, len) : NULL;
	bool is_good = text != NULL;

	json_decref(text);
	return is_good;
}

int xreg_mcast_answer_read(
	const uint8_t *bytes, size_t len, const char *key, struct xreg_mcast_answer *ret_answer)
{
	struct xreg_mcast_answer answer = {.nr_targets = 0};
	size_t id_len;
	int rc = unseal(bytes, len, KIND_ANSWER, ANSWER_BYTES + XREG_MAC_BYTES, key);

	if (rc != 0) {
		return rc;
	}
	memcpy(answer.nonce, bytes + 8, sizeof(answer.nonce));
	answer.part = get_u16(bytes + 32);
	answer.nr_parts = get_u16(bytes + 34);
	answer.nr_targets = get_u16(bytes + 36);
	id_len = bytes[38];
	if (answer.nr_parts > XREG_MCAST_PARTS_MAX || answer.part >= answer.nr_parts ||
		id_len == 0 || id_len > XREG_NAME_MAX ||
		ANSWER_BYTES + id_len + XREG_MAC_BYTES > len ||
		!is_text(bytes + ANSWER_BYTES, id_len)) {
		return -EBADMSG;
	}
	memcpy(answer.node_id, bytes + ANSWER_BYTES, id_len);
	answer.at = bytes + ANSWER_BYTES + id_len;
	answer.left = len - ANSWER_BYTES - id_len - XREG_MAC_BYTES;
	*ret_answer = answer;
	return 0;
}

/* A field: where its text goes, or its number, and how long it may be. */
struct field {
	const char **text;
	uint64_t *u64;
	uint32_t *u32;
	bool *flag;
};

static struct field field_of(struct xreg_spec *spec, uint8_t tag)
{
	switch (tag) {
	case TAG_NQN:
		return (struct field){.text = &spec->nqn};
	case TAG_ADDRESS:
		return (struct field){.text = &spec->address};
	case TAG_INTERFACE:
		return (struct field){.text = &spec->interface};
	case TAG_DEVICE_PATH:
		return (struct field){.text = &spec->device_path};
	case TAG_TRANSPORT:
		return (struct field){.u32 = &spec->transport};
	case TAG_SECURITY:
		return (struct field){.u32 = &spec->security};
	case TAG_PORT:
		return (struct field){.u32 = &spec->port};
	case TAG_CAPACITY:
		return (struct field){.u64 = &spec->capacity_bytes};
	case TAG_BLOCK_SIZE:
		return (struct field){.u32 = &spec->block_size};
	case TAG_NAMESPACE_ID:
		return (struct field){.u32 = &spec->namespace_id};
	case TAG_READ_ONLY:
		return (struct field){.flag = &spec->is_read_only};
	case TAG_QUEUE_DEPTH:
		return (struct field){.u32 = &spec->queue_depth};
	default:
		return (struct field){.text = NULL};
	}
}

/* What is being read of a target. */
struct reader {
	struct xreg_parsed *parsed;
	char *texts;     /* where the next text goes; there is room for all that a message holds */
	uint32_t seen;   /* bit by tag */
	const char *key; /* of metadata, whose value is next; NULL: none */
};

static const char *take_text(struct reader *in, const uint8_t *value, size_t len)
{
	char *text = in->texts;

	if (!is_text(value, len)) {
		return NULL;
	}
	memcpy(text, value, len);
	text[len] = '\0';
	in->texts += len + 1;
	return text;
}

static int take_number(const struct field *field, const uint8_t *value, size_t len)
{
	uint64_t number = 0;

	for (size_t i = 0; i < len; i++) {
		number = number << 8 | value[i];
	}
	if (field->u64 != NULL && len <= sizeof(uint64_t)) {
		*field->u64 = number;
	} else if (field->u32 != NULL && len <= sizeof(uint64_t) && number <= UINT32_MAX) {
		*field->u32 = (uint32_t)number;
	} else if (field->flag != NULL && len <= 1 && number <= 1) {
		*field->flag = number != 0;
	} else {
		return -EBADMSG;
	}
	return 0;
}

/* Labels and metadata, which there may be several of. */
static int take_list(struct reader *in, uint8_t tag, const uint8_t *value, size_t len)
{
	struct xreg_parsed *parsed = in->parsed;
	struct xreg_spec *spec = &parsed->spec;
	const char *text = take_text(in, value, len);

	if (text == NULL || (tag == TAG_META_VALUE) != (in->key != NULL)) {
		return -EBADMSG;
	}
	if (tag == TAG_META_KEY) {
		in->key = text;
		return 0;
	}
	if (tag == TAG_META_VALUE) {
		if (spec->nr_metadata == XREG_METADATA_MAX) {
			return -EBADMSG;
		}
		parsed->metadata[spec->nr_metadata++] = (struct xreg_pair){in->key, text};
		in->key = NULL;
		return 0;
	}
	if (spec->nr_tags == XREG_TAGS_MAX) {
		return -EBADMSG;
	}
	parsed->tags[spec->nr_tags++] = text;
	return 0;
}

static int take_field(struct reader *in, uint8_t tag, const uint8_t *value, size_t len)
{
	struct field field;

	if (tag >= TAG_LABEL && tag <= TAG_META_VALUE) {
		return take_list(in, tag, value, len);
	}
	if (in->key != NULL) {
		return -EBADMSG;
	}
	if (tag == 0 || tag > TAG_META_VALUE) {
		return 0;
	}
	if ((in->seen & 1u << tag) != 0) {
		return -EBADMSG;
	}
	in->seen |= 1u << tag;
	field = field_of(&in->parsed->spec, tag);
	if (field.text == NULL) {
		return take_number(&field, value, len);
	}
	*field.text = take_text(in, value, len);
	return *field.text != NULL ? 0 : -EBADMSG;
}

static int take_target(struct reader *in, const uint8_t *at, size_t len)
{
	while (len != 0) {
		int rc = len < 2 || at[1] > len - 2u ? -EBADMSG
						     : take_field(in, at[0], at + 2, at[1]);

		if (rc != 0) {
			return rc;
		}
		len -= at[1] + 2u;
		at += at[1] + 2u;
	}
	return in->key == NULL ? 0 : -EBADMSG;
}

int xreg_mcast_answer_next(struct xreg_mcast_answer *answer, struct xreg_mcast_target *target)
{
	struct reader in = {.parsed = &target->parsed, .texts = target->texts};
	size_t len;
	int rc;

	if (answer->nr_targets == 0) {
		return answer->left == 0 ? 0 : -EBADMSG;
	}
	len = answer->left < TARGET_HEAD ? SIZE_MAX : get_u16(answer->at);
	if (answer->left < TARGET_HEAD || len > answer->left - TARGET_HEAD) {
		return -EBADMSG;
	}
	target->parsed.spec.node_id = answer->node_id;
	rc = take_target(&in, answer->at + TARGET_HEAD, len);
	answer->at += TARGET_HEAD + len;
	answer->left -= TARGET_HEAD + len;
	answer->nr_targets--;
	return rc == 0 ? 1 : rc;
}
