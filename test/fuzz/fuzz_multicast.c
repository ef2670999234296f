/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what the registry and a node make of datagrams of multicast. The first byte chooses: a
 * message as it is; a message that gets the right length and code, as from somebody with the key,
 * so that what is behind the code is reached; or fields of a target to be written. What is read is
 * text of the lengths that are promised; a target that is accepted is the same when it has been
 * written into an answer and read again.
 */
#include "lib/util/error.h"
#include "lib/xregistry/multicast.h"
#include "test/fuzz/fuzz.h"

#define KEY       "a key of sixteen or more"
#define NOW       1700000000000ull
#define ROOM      (XREG_MCAST_BYTES_MAX + 100)
#define HEAD      32u
#define NR_CHECKS 4096u

static const uint8_t nonce[XREG_MCAST_NONCE_BYTES] = "0123456789abcde";

static void check_text(const char *text, size_t max)
{
	json_t *copy = json_string(text);

	FUZZ_CHECK(strlen(text) <= max && copy != NULL, "%zu bytes of '%s'", strlen(text), text);
	json_decref(copy);
}

/* Writes an accepted target and reads it again. */
static void check_again(const struct xreg_spec *spec, const char *node_id)
{
	struct xreg_mcast_pack *pack = xreg_mcast_pack_new(node_id);
	uint8_t bytes[XREG_MCAST_BYTES_MAX];
	struct xreg_mcast_answer answer;
	struct xreg_mcast_target again;
	char path[XU_PARAM_PATH_SIZE];
	json_t *one, *two;
	struct xu_error err;
	int rc, len;

	FUZZ_CHECK(pack != NULL, "no answer of '%s'", node_id);
	rc = xreg_mcast_pack_add(pack, spec);
	FUZZ_CHECK(rc == 0, "what has fitted does not: %d", rc);
	len = xreg_mcast_pack_write(pack, 0, nonce, KEY, bytes);
	FUZZ_CHECK(len > 0 && xreg_mcast_answer_read(bytes, (size_t)len, KEY, &answer) == 0,
		"%d bytes", len);
	xreg_parsed_init(&again.parsed);
	FUZZ_CHECK(xreg_mcast_answer_next(&answer, &again) == 1 &&
			   xreg_parsed_check(&again.parsed, path, &err) == 0,
		"what was written is refused");
	one = xreg_spec_to_json(spec);
	two = xreg_spec_to_json(&again.parsed.spec);
	FUZZ_CHECK(one != NULL && json_equal(one, two), "it is another one");
	json_decref(one);
	json_decref(two);
	FUZZ_CHECK(xreg_mcast_answer_next(&answer, &again) == 0, "there are two");
	xreg_mcast_pack_free(pack);
}

static void read_targets(struct xreg_mcast_answer *answer)
{
	struct xreg_mcast_target target;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err;
	uint32_t count = 0;
	int rc;

	for (;;) {
		xreg_parsed_init(&target.parsed);
		rc = xreg_mcast_answer_next(answer, &target);
		if (rc != 1) {
			break;
		}
		FUZZ_CHECK(++count < NR_CHECKS, "no end");
		check_text(target.parsed.spec.nqn, UINT8_MAX);
		check_text(target.parsed.spec.address, UINT8_MAX);
		for (uint32_t i = 0; i < target.parsed.spec.nr_metadata; i++) {
			check_text(target.parsed.metadata[i].key, UINT8_MAX);
			check_text(target.parsed.metadata[i].value, UINT8_MAX);
		}
		if (xreg_parsed_check(&target.parsed, path, &err) == 0) {
			fuzz_say("target %s\n", target.parsed.spec.nqn);
			check_again(&target.parsed.spec, answer->node_id);
		}
	}
	fuzz_say("%u targets, then %d\n", count, rc);
}

static void read_message(const uint8_t *bytes, size_t len)
{
	struct xreg_mcast_answer answer;
	struct xreg_mcast_query query;
	int rc = xreg_mcast_query_read(bytes, len, KEY, NOW, &query);

	if (rc == 0) {
		FUZZ_CHECK(query.time_ms <= NOW + XREG_MCAST_WINDOW_MS &&
				   query.time_ms >= NOW - XREG_MCAST_WINDOW_MS,
			"%llu", (unsigned long long)query.time_ms);
	}
	if (xreg_mcast_answer_read(bytes, len, KEY, &answer) == 0) {
		FUZZ_CHECK(rc != 0, "a query and an answer");
		FUZZ_CHECK(answer.part < answer.nr_parts &&
				   answer.nr_parts <= XREG_MCAST_PARTS_MAX && answer.left < len,
			"part %u of %u", answer.part, answer.nr_parts);
		check_text(answer.node_id, XREG_NAME_MAX);
		FUZZ_CHECK(answer.node_id[0] != '\0', "no name");
		read_targets(&answer);
	}
}

/* The message with a good head, length and code. */
static void read_sealed(struct fuzz_input *in, uint8_t kind)
{
	uint8_t bytes[ROOM] = {'X', 'S', 'M', 'D', XREG_MCAST_VERSION, kind};
	size_t len;
	const uint8_t *from = fuzz_take(in, ROOM - 8 - XREG_MAC_BYTES, &len);
	uint8_t *copy;

	memcpy(bytes + 8, from, len);
	len += 8 + XREG_MAC_BYTES;
	bytes[6] = (uint8_t)(len >> 8);
	bytes[7] = (uint8_t)len;
	xreg_mac(KEY, bytes, len - XREG_MAC_BYTES, bytes + len - XREG_MAC_BYTES);
	copy = malloc(len); /* nothing behind it */
	FUZZ_CHECK(copy != NULL, "out of memory");
	memcpy(copy, bytes, len);
	read_message(copy, len);
	free(copy);
}

/* An answer of which only the targets are the input's, that the others are reached through. */
static void read_body(struct fuzz_input *in)
{
	uint8_t bytes[XREG_MCAST_BYTES_MAX] = {0};
	struct fuzz_input inner = {.at = bytes};
	size_t len;
	const uint8_t *from;

	bytes[HEAD - 8 + 3] = 1;
	bytes[HEAD - 8 + 5] = fuzz_u8(in);
	bytes[HEAD - 8 + 6] = 1;
	bytes[HEAD - 8 + 7] = 'n';
	from = fuzz_take(in, XREG_MCAST_BYTES_MAX - HEAD - 8 - XREG_MAC_BYTES, &len);
	memcpy(bytes + HEAD, from, len);
	inner.left = HEAD + len;
	read_sealed(&inner, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};

	switch (fuzz_u8(&in) % 4) {
	case 0:
		read_message(in.at, in.left);
		break;
	case 1:
		read_sealed(&in, 1);
		break;
	case 2:
		read_sealed(&in, 2);
		break;
	default:
		read_body(&in);
	}
	return 0;
}
