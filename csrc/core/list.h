/*
 * Intrusive doubly linked lists: the node is a member of what is listed, so putting something in a list can't fail.
 */
#ifndef DPG_LIST_H
#define DPG_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct dpg_list {
    struct dpg_list *next, *prev; /* of a node that is in no list: both NULL */
} dpg_list;

#define DPG_LIST_ITEM(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void dpg_list_init(dpg_list *head)
{
    head->next = head->prev = head;
}
static inline bool dpg_list_empty(const dpg_list *head)
{
    return head->next == head;
}
static inline bool dpg_list_linked(const dpg_list *node)
{
    return node->next != NULL;
}
static inline void dpg_list_push(dpg_list *head, dpg_list *node) /* at the end */
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void dpg_list_remove(dpg_list *node) /* from whatever list it is in, if any */
{
    if (!node->next) return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}
static inline dpg_list *dpg_list_first(const dpg_list *head) /* NULL when empty */
{
    return head->next == head ? NULL : head->next;
}

#endif
