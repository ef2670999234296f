/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An intrusive doubly linked list with a head. A node that is in no list points at itself, so
 * xu_list_del() may be called twice and xu_list_is_linked() answers.
 */
#ifndef XU_LIST_H
#define XU_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct xu_list {
	struct xu_list *next;
	struct xu_list *prev;
};

#define xu_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void xu_list_init(struct xu_list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool xu_list_is_empty(const struct xu_list *list)
{
	return list->next == list;
}

static inline bool xu_list_is_linked(const struct xu_list *node)
{
	return node->next != node;
}

static inline void xu_list_add_tail(struct xu_list *list, struct xu_list *node)
{
	node->prev = list->prev;
	node->next = list;
	list->prev->next = node;
	list->prev = node;
}

static inline void xu_list_add_head(struct xu_list *list, struct xu_list *node)
{
	xu_list_add_tail(list->next, node);
}

static inline void xu_list_del(struct xu_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	xu_list_init(node);
}

static inline struct xu_list *xu_list_first(const struct xu_list *list)
{
	return list->next == list ? NULL : list->next;
}

/* Takes the first node out of the list; NULL when the list is empty. */
static inline struct xu_list *xu_list_pop(struct xu_list *list)
{
	struct xu_list *node = xu_list_first(list);

	if (node != NULL) {
		xu_list_del(node);
	}
	return node;
}

/* Moves all nodes of `from` to the end of `to`; `from` is empty afterwards. */
static inline void xu_list_splice_tail(struct xu_list *to, struct xu_list *from)
{
	if (xu_list_is_empty(from)) {
		return;
	}
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	xu_list_init(from);
}

#define xu_list_entry(node, type, member) xu_container_of(node, type, member)

#define xu_list_for_each(pos, list) for ((pos) = (list)->next; (pos) != (list); (pos) = (pos)->next)

/* The current node may be removed in the body; `tmp` must not. */
#define xu_list_for_each_safe(pos, tmp, list)                                                      \
	for ((pos) = (list)->next, (tmp) = (pos)->next; (pos) != (list);                           \
		(pos) = (tmp), (tmp) = (pos)->next)

#endif
