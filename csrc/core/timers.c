/*
 * Timers, and the table of ids: the engine's two containers. The timers are a pairing heap (Fredman, Sedgewick, Sleator,
 * Tarjan 1986) whose nodes are members of what they wake, so arming one can't fail; the table can't once its room is
 * reserved.
 */
#include "engine_internal.h"

#include <string.h>

/* --- timers ---------------------------------------------------------------------------------------------------------- */

/* Two heaps, each NULL or a first without brothers, become one: who is later goes in front of the other's children. */
static dpg_timer *meld(dpg_timer *a, dpg_timer *b)
{
    if (!a || !b) return a ? a : b;
    if (b->at_boot_ms < a->at_boot_ms) {
        dpg_timer *first = b;

        b = a;
        a = first;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next) b->next->prev = b;
    a->child = b;
    return a;
}

/* Brothers become one heap: in pairs first, which is what keeps the next time cheap. However many, no stack is needed. */
static dpg_timer *meld_brothers(dpg_timer *timer)
{
    dpg_timer *pairs = NULL, *all = NULL;

    while (timer) {
        dpg_timer *a = timer, *b = a->next;

        timer = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b) b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        dpg_timer *next = pairs->next;

        pairs->next = NULL;
        all = meld(all, pairs);
        pairs = next;
    }
    return all;
}

static void disarm(dpg_timers *t, dpg_timer *timer)
{
    dpg_timer *children = meld_brothers(timer->child);

    if (timer == t->first) {
        t->first = children;
    } else {
        if (timer->prev->child == timer) timer->prev->child = timer->next;
        else timer->prev->next = timer->next;
        if (timer->next) timer->next->prev = timer->prev;
        t->first = meld(t->first, children);
    }
    timer->child = timer->next = timer->prev = NULL;
    t->count--;
}

void dpg_timer_set(dpg_timers *t, dpg_timer *timer, int64_t at_boot_ms)
{
    if (timer->at_boot_ms == at_boot_ms) return;
    if (timer->at_boot_ms != INT64_MAX) disarm(t, timer);
    timer->at_boot_ms = at_boot_ms;
    if (at_boot_ms == INT64_MAX) return;
    t->first = meld(t->first, timer);
    t->count++;
}

/* --- ids -------------------------------------------------------------------------------------------------------------- */

static size_t home(const dpg_ids *ids, dpg_id id)
{
    return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (ids->cap - 1);
}

bool dpg_ids_reserve(dpg_ids *ids, size_t count)
{
    dpg_ids wider = {.cap = ids->cap ? ids->cap : 16};

    while (count * 2 > wider.cap) wider.cap *= 2;
    if (wider.cap == ids->cap) return true;
    wider.slots = dpg_calloc(wider.cap, sizeof *wider.slots);
    if (!wider.slots) return false;
    for (size_t i = 0; i < ids->cap; i++)
        if (ids->slots[i]) dpg_ids_put(&wider, ids->slots[i]);
    dpg_free(ids->slots);
    *ids = wider;
    return true;
}

void dpg_ids_put(dpg_ids *ids, dpg_flow *flow)
{
    size_t i = home(ids, flow->id);

    while (ids->slots[i]) i = (i + 1) & (ids->cap - 1);
    ids->slots[i] = flow;
    ids->count++;
}

static size_t find(const dpg_ids *ids, dpg_id id) /* cap: not there */
{
    size_t i;

    if (!ids->cap) return 0;
    for (i = home(ids, id); ids->slots[i]; i = (i + 1) & (ids->cap - 1))
        if (ids->slots[i]->id == id) return i;
    return ids->cap;
}

dpg_flow *dpg_ids_find(const dpg_ids *ids, dpg_id id)
{
    size_t i = find(ids, id);

    return i < ids->cap ? ids->slots[i] : NULL;
}

void dpg_ids_remove(dpg_ids *ids, dpg_id id)
{
    size_t hole = find(ids, id), i;

    if (hole >= ids->cap) return;
    ids->slots[hole] = NULL;
    ids->count--;
    /* whoever stood behind because of it moves up, so that a search may stop at the first free slot */
    for (i = (hole + 1) & (ids->cap - 1); ids->slots[i]; i = (i + 1) & (ids->cap - 1)) {
        size_t from = home(ids, ids->slots[i]->id);

        if (((i - from) & (ids->cap - 1)) < ((i - hole) & (ids->cap - 1))) continue;
        ids->slots[hole] = ids->slots[i];
        ids->slots[i] = NULL;
        hole = i;
    }
}
