/*
 * A binary heap of timers, and the table of ids: the engine's two containers. Neither can fail once its room is reserved.
 */
#include "engine_internal.h"

#include <assert.h>
#include <string.h>

/* --- timers ---------------------------------------------------------------------------------------------------------- */

bool dpg_timers_reserve(dpg_timers *t)
{
    size_t cap = t->cap ? t->cap * 2 : 16;
    dpg_timer **heap;

    if (t->reserved + 2 > t->cap) { /* place 0 is never used */
        heap = dpg_realloc(t->heap, cap * sizeof(dpg_timer *));
        if (!heap) return false;
        t->heap = heap;
        t->cap = cap;
    }
    t->reserved++;
    return true;
}

void dpg_timers_release(dpg_timers *t)
{
    assert(t->reserved > 0);
    t->reserved--;
}

static void place(dpg_timers *t, dpg_timer *timer, size_t at)
{
    t->heap[at] = timer;
    timer->place = at;
}

static void sift_up(dpg_timers *t, dpg_timer *timer, size_t at)
{
    for (; at > 1 && t->heap[at / 2]->at_boot_ms > timer->at_boot_ms; at /= 2) place(t, t->heap[at / 2], at);
    place(t, timer, at);
}

static void sift_down(dpg_timers *t, dpg_timer *timer, size_t at)
{
    for (size_t child; (child = 2 * at) <= t->count; at = child) {
        if (child < t->count && t->heap[child + 1]->at_boot_ms < t->heap[child]->at_boot_ms) child++;
        if (t->heap[child]->at_boot_ms >= timer->at_boot_ms) break;
        place(t, t->heap[child], at);
    }
    place(t, timer, at);
}

static void disarm(dpg_timers *t, dpg_timer *timer)
{
    size_t at = timer->place;
    dpg_timer *last;

    if (!at) return;
    timer->place = 0;
    last = t->heap[t->count--];
    if (last == timer) return;
    if (at > 1 && t->heap[at / 2]->at_boot_ms > last->at_boot_ms) sift_up(t, last, at);
    else sift_down(t, last, at);
}

void dpg_timer_set(dpg_timers *t, dpg_timer *timer, int64_t at_boot_ms)
{
    disarm(t, timer);
    timer->at_boot_ms = at_boot_ms;
    if (at_boot_ms == INT64_MAX) return;
    assert(t->count < t->reserved);
    sift_up(t, timer, ++t->count);
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
