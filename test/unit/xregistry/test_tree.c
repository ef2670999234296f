/* SPDX-License-Identifier: BSD-3-Clause */
/* The index against a sorted array, old roots beside new ones, and memory that ends anywhere. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/util/random.h"
#include "lib/xregistry/tree.h"
#include "test/unit/util/fail.h"
#include "test/unit/xregistry/fixture.h"

#define NR_TARGETS 64u
#define NR_STEPS   4000u

/* Targets by number: id "t07", and a key that several share. */
static struct xreg_target *targets[NR_TARGETS];
static struct xu_random rnd;

static int make_targets(void **state)
{
	struct xreg_spec spec = fixture_spec();
	char id[8], node[8];

	for (unsigned i = 0; i < NR_TARGETS; i++) {
		snprintf(id, sizeof(id), "t%02u", i);
		snprintf(node, sizeof(node), "n%u", i % 7);
		spec.node_id = node;
		targets[i] = xreg_target_new(&(struct xreg_origin){.id = id},
			&(struct xreg_status){.reason = ""}, &spec);
		assert_non_null(targets[i]);
	}
	xu_random_seed(&rnd, 7);
	return 0;
}

static int free_targets(void **state)
{
	for (unsigned i = 0; i < NR_TARGETS; i++) {
		/* The trees have given back what they had. */
		assert_int_equal(atomic_load(&targets[i]->nr_refs), 1);
		xreg_target_unref(targets[i]);
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct xreg_target *one = targets[*(const unsigned *)a];
	const struct xreg_target *other = targets[*(const unsigned *)b];
	int order = strcmp(one->spec.node_id, other->spec.node_id);

	return order != 0 ? order : strcmp(one->origin.id, other->origin.id);
}

struct walk {
	const unsigned *wanted;
	unsigned at, count;
};

static bool on_entry(void *arg, const char *key, struct xreg_target *target)
{
	struct walk *walk = arg;

	assert_true(walk->at < walk->count);
	assert_ptr_equal(target, targets[walk->wanted[walk->at++]]);
	assert_string_equal(key, target->spec.node_id);
	return true;
}

/* The tree holds those of `is_in`, in order. */
static void check(const struct xreg_node *root, const bool is_in[NR_TARGETS])
{
	unsigned wanted[NR_TARGETS];
	struct walk walk = {.wanted = wanted};

	for (unsigned i = 0; i < NR_TARGETS; i++) {
		if (is_in[i]) {
			wanted[walk.count++] = i;
		}
	}
	qsort(wanted, walk.count, sizeof(wanted[0]), compare);
	xreg_tree_each(root, "", "", on_entry, &walk);
	assert_int_equal(walk.at, walk.count);
	assert_int_equal(xreg_tree_count(root), walk.count);
}

static int change(struct xreg_node *root, unsigned i, bool put, struct xreg_node **ret_root)
{
	return put ? xreg_tree_put(root, targets[i]->spec.node_id, targets[i], &rnd, ret_root)
		   : xreg_tree_drop(
			     root, targets[i]->spec.node_id, targets[i]->origin.id, ret_root);
}

static void test_tree_is_a_sorted_set_and_old_roots_stay(void **state)
{
	struct xreg_node *root = NULL, *kept = NULL, *made;
	bool is_in[NR_TARGETS] = {0}, was_in[NR_TARGETS] = {0};

	for (unsigned step = 0; step < NR_STEPS; step++) {
		unsigned i = (unsigned)xu_random_below(&rnd, NR_TARGETS);
		bool put = xu_random_below(&rnd, 2) != 0;

		assert_int_equal(change(root, i, put, &made), 0);
		xreg_tree_unref(root);
		root = made;
		is_in[i] = put;
		if (step % 16 == 0) {
			check(root, is_in);
			check(kept, was_in);
		}
		if (step % 64 == 0) {
			xreg_tree_unref(kept);
			kept = xreg_tree_ref(root);
			memcpy(was_in, is_in, sizeof(is_in));
		}
	}
	xreg_tree_unref(root);
	check(kept, was_in);
	xreg_tree_unref(kept);
}

static void test_tree_first(void **state)
{
	struct xreg_node *root = NULL, *made;
	const char *key;

	assert_null(xreg_tree_first(NULL, "", "", &key));
	for (unsigned i = 0; i < NR_TARGETS; i += 2) {
		assert_int_equal(change(root, i, true, &made), 0);
		xreg_tree_unref(root);
		root = made;
	}
	assert_ptr_equal(xreg_tree_first(root, "", "", &key), targets[0]);
	assert_ptr_equal(xreg_tree_first(root, "n1", "", &key), targets[8]);
	assert_ptr_equal(xreg_tree_first(root, "n1", "t08", &key), targets[8]);
	assert_ptr_equal(xreg_tree_first(root, "n1", "t09", &key), targets[22]);
	assert_string_equal(key, "n1");
	assert_ptr_equal(xreg_tree_first(root, "n0", "t9", &key), targets[8]);
	assert_null(xreg_tree_first(root, "n7", "", &key));
	xreg_tree_unref(root);
}

/* Makes a change with every allocation of it refused in turn, then for good; returns how many were.
 */
static unsigned change_for_sure(struct xreg_node **root, unsigned i, bool put)
{
	struct xreg_node *made = NULL;

	for (unsigned n = 1;; n++) {
		int rc;

		fail_arm(n);
		rc = change(*root, i, put, &made);
		if (!fail_disarm()) {
			assert_int_equal(rc, 0);
			xreg_tree_unref(*root);
			*root = made;
			return n - 1;
		}
		assert_int_equal(rc, -ENOMEM);
		assert_null(made);
	}
}

static void test_tree_without_memory_is_as_it_was(void **state)
{
	struct xreg_node *root = NULL;
	bool is_in[NR_TARGETS] = {0};
	unsigned nr_refused = 0;

	for (unsigned i = 0; i < 2 * NR_TARGETS; i++) {
		bool put = i < NR_TARGETS;

		nr_refused += change_for_sure(&root, i % NR_TARGETS, put);
		is_in[i % NR_TARGETS] = put;
		check(root, is_in);
	}
	assert_null(root);
	assert_true(nr_refused > 2 * NR_TARGETS);
}

/* Keys in order are what strangers may send; the depth must not follow them. */
static void test_tree_of_ordered_keys_is_not_deep(void **state)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_node *root = NULL, *made;

	for (unsigned i = 0; i < 20000; i++) {
		struct xreg_target *target;
		char id[16];

		snprintf(id, sizeof(id), "%08u", i);
		target = xreg_target_new(&(struct xreg_origin){.id = id},
			&(struct xreg_status){.reason = ""}, &spec);
		assert_int_equal(xreg_tree_put(root, target->origin.id, target, &rnd, &made), 0);
		xreg_target_unref(target);
		xreg_tree_unref(root);
		root = made;
	}
	assert_int_equal(xreg_tree_count(root), 20000);
	assert_true(xreg_tree_depth(root) < 64);
	xreg_tree_unref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_tree_is_a_sorted_set_and_old_roots_stay, make_targets, free_targets),
		cmocka_unit_test_setup_teardown(test_tree_first, make_targets, free_targets),
		cmocka_unit_test_setup_teardown(
			test_tree_without_memory_is_as_it_was, make_targets, free_targets),
		cmocka_unit_test_setup_teardown(
			test_tree_of_ordered_keys_is_not_deep, make_targets, free_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
