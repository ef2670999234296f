/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ordered index of targets that never changes: each change makes a new tree that shares all but
 * a path with the old one (a treap, Seidel and Aragon 1996, with path copying). Whoever holds a
 * root sees what was there when it took it, for as long as it likes, without a lock.
 *
 * Entries are ordered by (key, id of the target). The key is a text of the target, which the tree
 * keeps by its reference. Any thread may read; making one needs no more than the roots it is made
 * from.
 */
#ifndef LIB_XREGISTRY_TREE_H
#define LIB_XREGISTRY_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct xreg_target;
struct xu_random;

struct xreg_node; /* a root; NULL is the empty tree */

struct xreg_node *xreg_tree_ref(struct xreg_node *root);
void xreg_tree_unref(struct xreg_node *root);
uint32_t xreg_tree_count(const struct xreg_node *root);
uint32_t xreg_tree_depth(const struct xreg_node *root); /* looks at every node */

/* A new root with `target` at (key, its id), in the place of what was there. `key` is a text of the
 * target's own. -ENOMEM, and *ret_root is not written. */
int xreg_tree_put(struct xreg_node *root, const char *key, struct xreg_target *target,
	struct xu_random *random, struct xreg_node **ret_root);

/* A new root without (key, id); the same tree when there is none. -ENOMEM. */
int xreg_tree_drop(
	struct xreg_node *root, const char *key, const char *id, struct xreg_node **ret_root);

/* The first entry at or after (key, id), id "" for the first of a key. NULL: none. Borrowed. */
struct xreg_target *xreg_tree_first(
	const struct xreg_node *root, const char *key, const char *id, const char **ret_key);

/* Calls `fn` for entries in order, from the first at or after (key, id) until it returns false. */
typedef bool (*xreg_tree_fn)(void *arg, const char *key, struct xreg_target *target);
void xreg_tree_each(
	const struct xreg_node *root, const char *key, const char *id, xreg_tree_fn fn, void *arg);

#endif
