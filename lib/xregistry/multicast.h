/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding targets by multicast (spec/registry.md 3.1, 7.1): what the registry and the nodes say to
 * each other, for both sides. The registry sends a query to a group; each node answers the sender
 * with what it exports, in as many datagrams as that takes. Numbers are in network order:
 *
 *   bytes  0 …  3  "XSMD"
 *          4       version, 1
 *          5       1: query, 2: answer
 *          6 …  7  length of the whole message
 *          8 … 23  nonce: of the query, random; an answer has that of its query
 *         24 … 31  query: when it was sent, Unix time in ms; answer: 0
 *   and in an answer
 *         32 … 33  which part of it this is, from 0
 *         34 … 35  how many parts there are
 *         36 … 37  how many targets are in this one
 *         38       length of the node's id, which follows
 *                  targets, each a length (2 bytes) and so many bytes of fields; a field is a tag,
 *                  a length (1 byte each) and a value; one with an unknown tag is passed over
 *   at the end
 *         32 bytes HMAC-SHA-256 of all before them, with the key that both sides share
 *
 * Nobody answers what has no valid code, is older than the window or was answered before, so that
 * a node cannot be made to flood others; and only an answer with a nonce of the question under way
 * is taken, so that old answers are worth nothing. What is read here is only known to be of the
 * right form and from somebody with the key: xreg_parsed_check() judges the rest.
 */
#ifndef LIB_XREGISTRY_MULTICAST_H
#define LIB_XREGISTRY_MULTICAST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/xregistry/mac.h"
#include "lib/xregistry/target.h"

#define XREG_MCAST_VERSION     1u
#define XREG_MCAST_BYTES_MAX   1400u /* of a message */
#define XREG_MCAST_PARTS_MAX   256u
#define XREG_MCAST_NONCE_BYTES 16u
#define XREG_MCAST_WINDOW_MS   60000u /* how far the clocks of two machines may be apart */
#define XREG_MCAST_QUERY_BYTES (32u + XREG_MAC_BYTES)

/* ---- queries ---- */

struct xreg_mcast_query {
	uint8_t nonce[XREG_MCAST_NONCE_BYTES];
	uint64_t time_ms;
};

/* `key` may be NULL. */
int xreg_mcast_query_write(const struct xreg_mcast_query *query, const char *key,
	uint8_t ret_bytes[XREG_MCAST_QUERY_BYTES]);

/* -EBADMSG: no query; -EPROTONOSUPPORT: of another version; -EKEYREJECTED: not with this key;
 * -ESTALE: too far from `now_ms`, `ret_query` is filled. */
int xreg_mcast_query_read(const uint8_t *bytes, size_t len, const char *key, uint64_t now_ms,
	struct xreg_mcast_query *ret_query);

/* ---- answers: a node's side ---- */

/* The targets of a node, made into as few datagrams as they fit in. One thread at a time. */
struct xreg_mcast_pack;

/* NULL: no memory, or the id is none (1 to XREG_NAME_MAX bytes). */
struct xreg_mcast_pack *xreg_mcast_pack_new(const char *node_id);
void xreg_mcast_pack_free(struct xreg_mcast_pack *pack); /* NULL is fine */

/* Adds a target, whose node_id is not looked at. 1: without its metadata and tags, which do not fit
 * into a datagram; -ENOSPC: there are too many; -EMSGSIZE: it does not fit at all; -ENOMEM. */
int xreg_mcast_pack_add(struct xreg_mcast_pack *pack, const struct xreg_spec *spec);

/* At least 1: that there is nothing is an answer, too. */
uint32_t xreg_mcast_pack_parts(const struct xreg_mcast_pack *pack);

/* Writes a part of the answer to a query; returns its length, or -ENOTSUP, -ENOMEM. */
int xreg_mcast_pack_write(const struct xreg_mcast_pack *pack, uint32_t part,
	const uint8_t nonce[XREG_MCAST_NONCE_BYTES], const char *key,
	uint8_t ret_bytes[XREG_MCAST_BYTES_MAX]);

/* ---- answers: the registry's side ---- */

struct xreg_mcast_answer {
	uint8_t nonce[XREG_MCAST_NONCE_BYTES];
	uint32_t part, nr_parts;
	char node_id[XREG_NAME_MAX + 1];
	uint32_t nr_targets; /* that are still to be read */
	const uint8_t *at;   /* borrowed from the message */
	size_t left;
};

/* Errors as those of xreg_mcast_query_read(), without -ESTALE. */
int xreg_mcast_answer_read(
	const uint8_t *bytes, size_t len, const char *key, struct xreg_mcast_answer *ret_answer);

/* A target, with the texts that it points to: not to be copied. */
struct xreg_mcast_target {
	struct xreg_parsed parsed;
	char texts[XREG_MCAST_BYTES_MAX];
};

/* Reads the next target of a part into one that is as xreg_parsed_init() makes it. 1: there is one;
 * 0: there are no more; -EBADMSG. What xreg_parsed_check() says of it is not asked yet. The node's
 * id is borrowed from `answer`. */
int xreg_mcast_answer_next(struct xreg_mcast_answer *answer, struct xreg_mcast_target *target);

#endif
