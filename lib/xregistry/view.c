/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Views: one tree of targets for each way to find them. They are made by the writer, which changes
 * the newest one until it is shown; from then on nothing in it changes.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/view.h"

struct xreg_view *xreg__view_new(struct xreg_view *base)
{
	struct xreg_view *view = calloc(1, sizeof(*view));

	if (view == NULL) {
		return NULL;
	}
	atomic_init(&view->nr_refs, 1);
	if (base != NULL) {
		view->revision = base->revision;
		for (uint32_t i = 0; i < XREG_NR_INDEXES; i++) {
			view->roots[i] = xreg_tree_ref(base->roots[i]);
		}
	}
	return view;
}

struct xreg_view *xreg_view_ref(struct xreg_view *view)
{
	atomic_fetch_add_explicit(&view->nr_refs, 1, memory_order_relaxed);
	return view;
}

static void unref_roots(struct xreg_node *const roots[XREG_NR_INDEXES])
{
	for (uint32_t i = 0; i < XREG_NR_INDEXES; i++) {
		xreg_tree_unref(roots[i]);
	}
}

void xreg_view_unref(struct xreg_view *view)
{
	if (view != NULL &&
		atomic_fetch_sub_explicit(&view->nr_refs, 1, memory_order_acq_rel) == 1) {
		unref_roots(view->roots);
		free(view);
	}
}

uint64_t xreg_view_revision(const struct xreg_view *view)
{
	return view->revision;
}

uint32_t xreg_view_count(const struct xreg_view *view)
{
	return xreg_tree_count(view->roots[XREG_BY_ID]);
}

/* ---- changing ---- */

/* The keys of a target in an index: one, or as many as it has tags. */
static uint32_t nr_keys(const struct xreg_target *target, enum xreg_index index)
{
	return index == XREG_BY_TAG ? target->spec.nr_tags : 1;
}

static const char *key_of(const struct xreg_target *target, enum xreg_index index, uint32_t i)
{
	switch (index) {
	case XREG_BY_PLACE:
		return target->place;
	case XREG_BY_NQN:
		return target->spec.nqn;
	case XREG_BY_NODE:
		return target->spec.node_id;
	case XREG_BY_ADDRESS:
		return target->spec.address;
	case XREG_BY_LOCATION:
		return target->location;
	case XREG_BY_TAG:
		return target->spec.tags[i];
	default:
		return target->origin.id;
	}
}

/* Takes the root that was made, in the place of the one before it. */
static int step(int rc, struct xreg_node **root, struct xreg_node *made)
{
	if (rc == 0) {
		xreg_tree_unref(*root);
		*root = made;
	}
	return rc;
}

static int replace_in(struct xreg_node **root, enum xreg_index index,
	const struct xreg_target *before, struct xreg_target *after, struct xu_random *random)
{
	struct xreg_node *made = NULL;
	int rc = 0;

	for (uint32_t i = 0; before != NULL && rc == 0 && i < nr_keys(before, index); i++) {
		rc = xreg_tree_drop(*root, key_of(before, index, i), before->origin.id, &made);
		rc = step(rc, root, made);
	}
	for (uint32_t i = 0; after != NULL && rc == 0 && i < nr_keys(after, index); i++) {
		rc = xreg_tree_put(*root, key_of(after, index, i), after, random, &made);
		rc = step(rc, root, made);
	}
	return rc;
}

int xreg__view_replace(struct xreg_view *view, const struct xreg_target *before,
	struct xreg_target *after, struct xu_random *random)
{
	struct xreg_node *roots[XREG_NR_INDEXES];
	int rc = 0;

	for (uint32_t i = 0; i < XREG_NR_INDEXES; i++) {
		roots[i] = xreg_tree_ref(view->roots[i]);
	}
	for (uint32_t i = 0; rc == 0 && i < XREG_NR_INDEXES; i++) {
		rc = replace_in(&roots[i], i, before, after, random);
	}
	if (rc != 0) {
		unref_roots(roots);
		return rc;
	}
	unref_roots(view->roots);
	memcpy(view->roots, roots, sizeof(roots));
	return 0;
}

/* ---- reading ---- */

const struct xreg_target *xreg_view_first(
	const struct xreg_view *view, enum xreg_index index, const char *key)
{
	const char *found_key;
	const struct xreg_target *found = xreg_tree_first(view->roots[index], key, "", &found_key);

	return found != NULL && strcmp(found_key, key) == 0 ? found : NULL;
}

const struct xreg_target *xreg_view_get(const struct xreg_view *view, const char *id)
{
	return xreg_view_first(view, XREG_BY_ID, id);
}

struct walk {
	const char *key;
	size_t prefix_len; /* compared of the key, with its NUL unless it is a prefix */
	xreg_each_fn fn;
	void *arg;
};

static bool on_entry(void *arg, const char *key, struct xreg_target *target)
{
	const struct walk *walk = arg;

	return strncmp(key, walk->key, walk->prefix_len) == 0 && walk->fn(walk->arg, target);
}

void xreg_view_each(const struct xreg_view *view, enum xreg_index index, const char *key,
	bool is_prefix, xreg_each_fn fn, void *arg)
{
	struct walk walk = {key, strlen(key) + !is_prefix, fn, arg};

	xreg_tree_each(view->roots[index], key, "", on_entry, &walk);
}
