/*
 * timers.c: the heap against a slow look, and the table of ids against an array; both with many random steps.
 */
#include "check.h"
#include "engine_internal.h"

static uint64_t seed;

static uint64_t draw(void)
{
    uint64_t x = seed += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 31;
}

/* Everybody under `timer` is as late as it is, or later, and points back at who points at it. Their number. */
static size_t heap_of(const dpg_timer *timer)
{
    size_t n = 1;

    for (const dpg_timer *child = timer->child, *before = timer; child; before = child, child = child->next) {
        CHECK(child->at_boot_ms >= timer->at_boot_ms);
        CHECK(child->prev == before);
        n += heap_of(child);
    }
    return n;
}

static void is_heap(const dpg_timers *t)
{
    if (t->first) CHECK(!t->first->next && !t->first->prev);
    CHECK_INT(t->first ? heap_of(t->first) : 0, t->count);
}

TEST("has the earliest timer first, whatever is set, moved and disarmed")
{
    enum {
        N = 200
    };
    static dpg_timer timers[N];

    for (seed = 1; seed < 60; seed++) {
        dpg_timers t = {0};
        uint64_t kept = seed;

        memset(timers, 0, sizeof timers);
        for (int i = 0; i < N; i++) timers[i].at_boot_ms = INT64_MAX;
        for (int step = 0; step < 600; step++) {
            dpg_timer *timer = &timers[draw() % N];
            int64_t least = INT64_MAX;
            size_t armed = 0;

            dpg_timer_set(&t, timer, draw() % 4 ? (int64_t)(draw() % 100) : INT64_MAX);
            for (int i = 0; i < N; i++) {
                if (timers[i].at_boot_ms < least) least = timers[i].at_boot_ms;
                armed += timers[i].at_boot_ms != INT64_MAX;
            }
            CHECK_INT(t.count, armed);
            if (armed) CHECK_INT(t.first->at_boot_ms, least);
            if (step % 50 == 0) is_heap(&t);
        }
        for (int i = 0; i < N; i++) {
            dpg_timer_set(&t, &timers[i], INT64_MAX);
            dpg_timer_set(&t, &timers[i], INT64_MAX); /* twice is fine */
        }
        CHECK_INT(t.count, 0);
        CHECK_NULL(t.first);
        seed = kept;
        if (check_faults) {
            printf("# seed %d\n", (int)kept);
            break;
        }
    }
}

TEST("gives all timers back in order")
{
    enum {
        N = 1000
    };
    static dpg_timer timers[N];
    dpg_timers t = {0};
    int64_t last = -1;

    seed = 7;
    memset(timers, 0, sizeof timers);
    for (int i = 0; i < N; i++) {
        timers[i].at_boot_ms = INT64_MAX;
        dpg_timer_set(&t, &timers[i], (int64_t)(draw() % 500));
    }
    is_heap(&t);
    for (int i = 0; i < N; i++) {
        dpg_timer *first = t.first;

        CHECK(first->at_boot_ms >= last);
        last = first->at_boot_ms;
        dpg_timer_set(&t, first, INT64_MAX);
        CHECK(!first->child && !first->next && !first->prev);
    }
    CHECK_INT(t.count, 0);
    CHECK_NULL(t.first);
}

TEST("finds each id that is there, and none that isn't, through any putting and removing")
{
    enum {
        N = 300
    };
    static dpg_flow flows[N];
    static bool there[N];

    for (seed = 100; seed < 130; seed++) {
        dpg_ids ids = {0};
        uint64_t kept = seed;
        size_t count = 0;

        CHECK_NULL(dpg_ids_find(&ids, 1));
        dpg_ids_remove(&ids, 1);
        memset(there, 0, sizeof there);
        for (int i = 0; i < N; i++) flows[i].id = draw() % 3 ? (dpg_id)(i + 1) : (dpg_id)(i + 1) * 4096; /* crowds */
        for (int step = 0; step < 1500; step++) {
            size_t i = draw() % N;

            if (there[i]) {
                dpg_ids_remove(&ids, flows[i].id);
                count--;
            } else {
                CHECK(dpg_ids_reserve(&ids, count + 1));
                dpg_ids_put(&ids, &flows[i]);
                count++;
            }
            there[i] = !there[i];
            CHECK_INT(ids.count, count);
            if (step % 20) continue;
            for (size_t k = 0; k < N; k++) CHECK(dpg_ids_find(&ids, flows[k].id) == (there[k] ? &flows[k] : NULL));
        }
        dpg_free(ids.slots);
        seed = kept;
        if (check_faults) {
            printf("# seed %d\n", (int)kept);
            break;
        }
    }
}

TEST("has room for as many ids as were reserved, with some to spare for a search to end at")
{
    for (size_t n = 1; n < 200; n++) {
        dpg_ids ids = {0};

        CHECK(dpg_ids_reserve(&ids, n));
        CHECK(ids.cap >= 2 * n);
        CHECK((ids.cap & (ids.cap - 1)) == 0);
        dpg_free(ids.slots);
    }
}

CHECK_MAIN()
