/* SPDX-License-Identifier: BSD-3-Clause
 * Intrusive doubly linked list with a sentinel head.  Not thread-safe: one owner. */
#pragma once
#include "dataplane/base/check.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}

static inline void list_push_tail(struct list *head, struct list *node)
{
	list_insert_before(head, node);
}

static inline void list_push_head(struct list *head, struct list *node)
{
	list_insert_before(head->next, node);
}

/* Safe on a node that is on no list (initialised by list_init). */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

static inline struct list *list_pop_head(struct list *head)
{
	struct list *node = head->next;

	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_for_each(it, head)        for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_each_safe(it, tmp, head)                                                          \
	for (struct list *it = (head)->next, *tmp = it->next; it != (head);                        \
		it = tmp, tmp = it->next)
