// list.h -- Doubly linked lists whose links lie inside their members.
//
// A list is a ring through its head; an unlinked member has both links NULL,
// so whether it is in a list can be asked. The list's owner says under which
// lock it is.
#ifndef WEFT_BASE_LIST_H
#define WEFT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define container_of(ptr, type, member)                                        \
    ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *link)
{
    return link->next != NULL;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_remove(struct list *link)
{
    // The analyzer does not see that it is the head's `next` that changes here,
    // and takes a loop over the first of a list to meet the same one again.
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference)
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = NULL;
    link->prev = NULL;
}

// The first member, taken out; NULL if there is none.
static inline struct list *list_pop_front(struct list *head)
{
    struct list *link = head->next;

    if (link == head)
        return NULL;
    list_remove(link);
    return link;
}

#endif
