/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What alerts keep in the store, so that all registries which share its data have it, and the next
 * start of this one: silences, and which rules people have been told are firing. Two documents,
 * each an object with a member for each rule; the members of rules that nobody here knows are
 * another registry's. Any thread.
 */
#ifndef LIB_XREGISTRY_ALERT_KEPT_H
#define LIB_XREGISTRY_ALERT_KEPT_H

#include <jansson.h>
#include <stdint.h>

struct xreg_store;
struct xu_error;

#define XREG__COMMENT_SIZE 128u

/* RULE: {"until_ms", "comment"}. New reference; NULL: there is none, or no memory. */
json_t *xreg__silences(struct xreg_store *store);
/* Until when, in Unix time; 0: it is not silenced. *ret_comment borrows. */
uint64_t xreg__silence_of(const json_t *silences, const char *rule, const char **ret_comment);
/* 0 ends it. Durable when it returns 0; blocks. Silences that are over are dropped. -EBUSY: other
 * registries were always first; others as of xreg_store_put_document(). */
int xreg__silence(struct xreg_store *store, const char *rule, uint64_t until_ms,
	const char *comment, struct xu_error *err);
/* Takes over the file of earlier versions in `dir`, when there is one. A rule that is silenced both
 * there and in the store is so until the later of the two. */
int xreg__silences_take_file(struct xreg_store *store, const char *dir, struct xu_error *err);

/* RULE: {"told_ms"}, when it was told last (Unix time) that the rule is firing; no member: nobody
 * was told, or that it is resolved, too. New reference; NULL: nobody was ever, or no memory. */
json_t *xreg__told(struct xreg_store *store);
uint64_t xreg__told_ms(const json_t *told, const char *rule);
/* `changes`: RULE: when it was told, 0 takes it away. Durable and so on as xreg__silence(). */
int xreg__told_put(struct xreg_store *store, const json_t *changes, struct xu_error *err);

#endif
