/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The treap. A node's priority is drawn when its entry comes and stays with it; a parent's is never
 * below its children's, so the expected depth is logarithmic whatever the order of the keys, which
 * strangers choose.
 *
 * Functions that build take borrowed nodes and return owned ones. Where memory ends they return
 * NULL and say so in `failed`; what was built by then is given back.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/random.h"
#include "lib/xregistry/target.h"
#include "lib/xregistry/tree.h"

struct xreg_node {
	_Atomic uint32_t nr_refs;
	uint32_t count; /* entries of this node and below */
	uint64_t priority;
	const char *key;
	struct xreg_target *target;
	struct xreg_node *left, *right;
};

struct xreg_node *xreg_tree_ref(struct xreg_node *root)
{
	if (root != NULL) {
		atomic_fetch_add_explicit(&root->nr_refs, 1, memory_order_relaxed);
	}
	return root;
}

void xreg_tree_unref(struct xreg_node *root)
{
	while (root != NULL &&
		atomic_fetch_sub_explicit(&root->nr_refs, 1, memory_order_acq_rel) == 1) {
		struct xreg_node *right = root->right;

		xreg_tree_unref(root->left);
		xreg_target_unref(root->target);
		free(root);
		root = right;
	}
}

uint32_t xreg_tree_count(const struct xreg_node *root)
{
	return root != NULL ? root->count : 0;
}

uint32_t xreg_tree_depth(const struct xreg_node *root)
{
	uint32_t left, right;

	if (root == NULL) {
		return 0;
	}
	left = xreg_tree_depth(root->left);
	right = xreg_tree_depth(root->right);
	return 1 + (left > right ? left : right);
}

static int compare(const char *key, const char *id, const struct xreg_node *node)
{
	int order = strcmp(key, node->key);

	return order != 0 ? order : strcmp(id, node->target->origin.id);
}

/* A node with these children, which it takes. */
static struct xreg_node *make(const char *key, struct xreg_target *target, uint64_t priority,
	struct xreg_node *left, struct xreg_node *right, bool *failed)
{
	struct xreg_node *node = *failed ? NULL : malloc(sizeof(*node));

	if (node == NULL) {
		*failed = true;
		xreg_tree_unref(left);
		xreg_tree_unref(right);
		return NULL;
	}
	atomic_init(&node->nr_refs, 1);
	node->count = 1 + xreg_tree_count(left) + xreg_tree_count(right);
	node->priority = priority;
	node->key = key;
	node->target = xreg_target_ref(target);
	node->left = left;
	node->right = right;
	return node;
}

/* The same entry with other children, which it takes. */
static struct xreg_node *remade(
	const struct xreg_node *node, struct xreg_node *left, struct xreg_node *right, bool *failed)
{
	return make(node->key, node->target, node->priority, left, right, failed);
}

/* What is before (key, id) and what is after it; the entry itself is in neither. */
static void split(struct xreg_node *node, const char *key, const char *id,
	struct xreg_node **ret_left, struct xreg_node **ret_right, bool *failed)
{
	struct xreg_node *middle;
	int order;

	*ret_left = *ret_right = NULL;
	if (node == NULL || *failed) {
		return;
	}
	order = compare(key, id, node);
	if (order == 0) {
		*ret_left = xreg_tree_ref(node->left);
		*ret_right = xreg_tree_ref(node->right);
	} else if (order < 0) {
		split(node->left, key, id, ret_left, &middle, failed);
		*ret_right = remade(node, middle, xreg_tree_ref(node->right), failed);
	} else {
		split(node->right, key, id, &middle, ret_right, failed);
		*ret_left = remade(node, xreg_tree_ref(node->left), middle, failed);
	}
}

/* All of `left` before all of `right`. */
static struct xreg_node *join(struct xreg_node *left, struct xreg_node *right, bool *failed)
{
	if (left == NULL || right == NULL || *failed) {
		return xreg_tree_ref(left != NULL ? left : right);
	}
	if (left->priority >= right->priority) {
		return remade(
			left, xreg_tree_ref(left->left), join(left->right, right, failed), failed);
	}
	return remade(right, join(left, right->left, failed), xreg_tree_ref(right->right), failed);
}

static struct xreg_node *put(struct xreg_node *node, const char *key, struct xreg_target *target,
	uint64_t priority, bool *failed)
{
	int order = node != NULL ? compare(key, target->origin.id, node) : 0;
	struct xreg_node *left, *right;

	if (node != NULL && order == 0) {
		return make(key, target, node->priority, xreg_tree_ref(node->left),
			xreg_tree_ref(node->right), failed);
	}
	if (node == NULL || priority > node->priority) {
		split(node, key, target->origin.id, &left, &right, failed);
		return make(key, target, priority, left, right, failed);
	}
	if (order < 0) {
		return remade(node, put(node->left, key, target, priority, failed),
			xreg_tree_ref(node->right), failed);
	}
	return remade(node, xreg_tree_ref(node->left),
		put(node->right, key, target, priority, failed), failed);
}

static struct xreg_node *drop(struct xreg_node *node, const char *key, const char *id, bool *failed)
{
	int order = compare(key, id, node);

	if (order == 0) {
		return join(node->left, node->right, failed);
	}
	return order < 0 ? remade(node, drop(node->left, key, id, failed),
				   xreg_tree_ref(node->right), failed)
			 : remade(node, xreg_tree_ref(node->left),
				   drop(node->right, key, id, failed), failed);
}

static int finish(struct xreg_node *root, bool failed, struct xreg_node **ret_root)
{
	if (failed) {
		xreg_tree_unref(root);
		return -ENOMEM;
	}
	*ret_root = root;
	return 0;
}

int xreg_tree_put(struct xreg_node *root, const char *key, struct xreg_target *target,
	struct xu_random *random, struct xreg_node **ret_root)
{
	bool failed = false;
	struct xreg_node *made = put(root, key, target, xu_random_u64(random), &failed);

	return finish(made, failed, ret_root);
}

int xreg_tree_drop(
	struct xreg_node *root, const char *key, const char *id, struct xreg_node **ret_root)
{
	const char *found_key;
	struct xreg_target *found = xreg_tree_first(root, key, id, &found_key);
	struct xreg_node *made;
	bool failed = false;

	if (found == NULL || strcmp(found_key, key) != 0 || strcmp(found->origin.id, id) != 0) {
		*ret_root = xreg_tree_ref(root);
		return 0;
	}
	made = drop(root, key, id, &failed);
	return finish(made, failed, ret_root);
}

struct xreg_target *xreg_tree_first(
	const struct xreg_node *root, const char *key, const char *id, const char **ret_key)
{
	const struct xreg_node *best = NULL;

	while (root != NULL) {
		if (compare(key, id, root) <= 0) {
			best = root;
			root = root->left;
		} else {
			root = root->right;
		}
	}
	if (best == NULL) {
		return NULL;
	}
	*ret_key = best->key;
	return best->target;
}

/* False when `fn` wants no more. */
static bool each(
	const struct xreg_node *node, const char *key, const char *id, xreg_tree_fn fn, void *arg)
{
	if (node == NULL) {
		return true;
	}
	if (compare(key, id, node) <= 0 &&
		(!each(node->left, key, id, fn, arg) || !fn(arg, node->key, node->target))) {
		return false;
	}
	return each(node->right, key, id, fn, arg);
}

void xreg_tree_each(
	const struct xreg_node *root, const char *key, const char *id, xreg_tree_fn fn, void *arg)
{
	each(root, key, id, fn, arg);
}
