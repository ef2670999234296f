/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the backends that several registries share have in common: the names of their keys and what
 * is kept under them, as key-value stores have it. Below the prefix:
 *
 *   meta                {"version", "revision", "documents"}: the schema's version, the revision
 *                       of the last change, and how often documents were put
 *   targets/<id>        every target, its record
 *   events/<20 digits>  the changes of one commit, by the revision of the first, with `batch`, a
 *                       name of its own
 *   documents/<name>    small texts beside the targets
 *
 * All of it is JSON. Every commit writes `meta` and holds only when `meta` is as the registry saw
 * it last: so the commits of all of them come one after the other, and revisions have no gaps.
 */
#ifndef LIB_XREGISTRY_SHARED_H
#define LIB_XREGISTRY_SHARED_H

#include "lib/xregistry/backend.h"

#define XREG_SHARED_VERSION    1
#define XREG_SHARED_KEY_SIZE   256u
#define XREG_SHARED_PREFIX_MAX 128u
#define XREG_SHARED_NAME_SIZE  64u /* of a document or a node */
#define XREG_SHARED_META_SIZE  128u

/* A key and what is under it, borrowed; no NUL bytes need to follow. */
struct xreg_kv {
	const char *service; /* whose it is, for errors: "etcd" */
	const char *key, *value;
	size_t key_len, len;
};

struct xreg_shared_meta {
	uint64_t revision, nr_documents;
};

/* ---- keys ---- */

void xreg_shared_key(
	const char *prefix, const char *kind, const char *name, char ret_key[XREG_SHARED_KEY_SIZE]);
void xreg_shared_event_key(
	const char *prefix, uint64_t revision, char ret_key[XREG_SHARED_KEY_SIZE]);
bool xreg_shared_is_key(const struct xreg_kv *kv, const char *key);

/* What follows "<prefix>/<kind>/" in a key; "" when it is no such key or the name is too long. */
void xreg_shared_name(const struct xreg_kv *kv, const char *prefix, const char *kind,
	char ret_name[XREG_SHARED_NAME_SIZE]);

/* ---- values; -EILSEQ where one is none of a registry's ---- */

void xreg_shared_write_meta(char text[XREG_SHARED_META_SIZE], const struct xreg_shared_meta *meta);
int xreg_shared_read_meta(
	const struct xreg_kv *kv, struct xreg_shared_meta *ret_meta, struct xu_error *err);
/* The error of one that is gone. */
int xreg_shared_no_meta(const char *service, const char *meta_key, struct xu_error *err);

/* The events of a commit as a text, to be freed. */
int xreg_shared_write_events(const char *batch, const struct xreg_event *events, uint32_t nr_events,
	char **ret_text, struct xu_error *err);
/* Whether the events under a key are those of that batch. */
bool xreg_shared_is_batch(const struct xreg_kv *kv, const char *batch);
/* Of several changes of a target the last one counts: a key is written once in a transaction. */
bool xreg_shared_is_last_of_its_target(
	const struct xreg_event *events, uint32_t nr_events, uint32_t index);
const char *xreg_shared_target_id(const struct xreg_event *event);

/* These hand over what is under a key. */
int xreg_shared_load_target(
	const struct xreg_kv *kv, const struct xreg_loader *loader, struct xu_error *err);
int xreg_shared_load_events(
	const struct xreg_kv *kv, const struct xreg_loader *loader, struct xu_error *err);
int xreg_shared_load_document(const struct xreg_kv *kv, const char *prefix, uint64_t version,
	const struct xreg_loader *loader, struct xu_error *err);

#endif
