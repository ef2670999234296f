/* SPDX-License-Identifier: BSD-3-Clause */
/* The intrusive list: order, removal, what an unlinked node answers. */
#include "lib/util/list.h"
#include "test/unit/util/test.h"

struct item {
	int value;
	struct xu_list node;
};

/* The list's values, first to last, as text; checks the backward links on the way. */
static void assert_list(const struct xu_list *list, const char *expected)
{
	const struct xu_list *node = list->next, *before = list;
	char text[64] = "";

	while (node != list) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d",
			xu_list_entry(node, const struct item, node)->value);
		assert_ptr_equal(node->prev, before);
		before = node;
		node = node->next;
	}
	assert_ptr_equal(list->prev, before);
	assert_string_equal(text, expected);
}

static void init_items(struct item *items, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		items[i].value = i;
		xu_list_init(&items[i].node);
	}
}

static void test_list_add_keeps_order(void **state)
{
	struct item items[4];
	struct xu_list list;

	init_items(items, 4);
	xu_list_init(&list);
	assert_true(xu_list_is_empty(&list));
	assert_null(xu_list_first(&list));
	xu_list_add_tail(&list, &items[0].node);
	xu_list_add_tail(&list, &items[1].node);
	xu_list_add_head(&list, &items[2].node);
	xu_list_add_head(&list, &items[3].node);
	assert_list(&list, "3201");
	assert_false(xu_list_is_empty(&list));
	assert_ptr_equal(xu_list_first(&list), &items[3].node);
}

static void test_list_del_may_be_repeated(void **state)
{
	struct item items[3];
	struct xu_list list;

	init_items(items, 3);
	xu_list_init(&list);
	assert_false(xu_list_is_linked(&items[1].node));
	xu_list_add_tail(&list, &items[0].node);
	xu_list_add_tail(&list, &items[1].node);
	xu_list_add_tail(&list, &items[2].node);
	assert_true(xu_list_is_linked(&items[1].node));
	xu_list_del(&items[1].node);
	assert_false(xu_list_is_linked(&items[1].node));
	assert_list(&list, "02");
	xu_list_del(&items[1].node);
	assert_list(&list, "02");
}

static void test_list_pop_takes_the_first(void **state)
{
	struct item items[2];
	struct xu_list list;

	init_items(items, 2);
	xu_list_init(&list);
	xu_list_add_tail(&list, &items[0].node);
	xu_list_add_tail(&list, &items[1].node);
	assert_ptr_equal(xu_list_pop(&list), &items[0].node);
	assert_false(xu_list_is_linked(&items[0].node));
	assert_ptr_equal(xu_list_pop(&list), &items[1].node);
	assert_null(xu_list_pop(&list));
	assert_true(xu_list_is_empty(&list));
}

static void test_list_splice_moves_all(void **state)
{
	struct item items[4];
	struct xu_list to, from;

	init_items(items, 4);
	xu_list_init(&to);
	xu_list_init(&from);
	xu_list_splice_tail(&to, &from);
	assert_list(&to, "");
	xu_list_add_tail(&from, &items[0].node);
	xu_list_add_tail(&from, &items[1].node);
	xu_list_splice_tail(&to, &from);
	assert_list(&to, "01");
	assert_list(&from, "");
	xu_list_add_tail(&from, &items[2].node);
	xu_list_add_tail(&from, &items[3].node);
	xu_list_splice_tail(&to, &from);
	assert_list(&to, "0123");
	assert_list(&from, "");
	xu_list_splice_tail(&to, &from);
	assert_list(&to, "0123");
}

static void test_list_for_each_safe_allows_removal(void **state)
{
	struct item items[5];
	struct xu_list list, *pos, *tmp;
	int sum = 0;

	init_items(items, 5);
	xu_list_init(&list);
	for (int i = 0; i < 5; i++) {
		xu_list_add_tail(&list, &items[i].node);
	}
	xu_list_for_each_safe (pos, tmp, &list) {
		if (xu_list_entry(pos, struct item, node)->value % 2 == 0) {
			xu_list_del(pos);
		}
	}
	assert_list(&list, "13");
	xu_list_for_each (pos, &list) {
		sum = sum * 10 + xu_list_entry(pos, struct item, node)->value;
	}
	assert_int_equal(sum, 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_add_keeps_order),
		cmocka_unit_test(test_list_del_may_be_repeated),
		cmocka_unit_test(test_list_pop_takes_the_first),
		cmocka_unit_test(test_list_splice_moves_all),
		cmocka_unit_test(test_list_for_each_safe_allows_removal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
