/*
 * The engine's inner face: what the simulator, the binding's tests and the host of a store use beside dpg.h.
 */
#ifndef DPG_ENGINE_H
#define DPG_ENGINE_H

#include "drivers.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

typedef struct dpg_drivers {
    dpg_clock clock;
    dpg_random random;
    bool virtual_time;       /* the clock moves between turns alone, not while one waits */
    dpg_transport transport; /* taken: freed with the engine, also when making it fails */
} dpg_drivers;

/* dpg_engine_new() with a world of the caller's choosing. */
dpg_status dpg_engine_new_with(const dpg_engine_options *options, const dpg_drivers *drivers, dpg_engine **out,
                               dpg_error *err);

/* The answer of a store that returned false from ask(): `reply` is taken. Answers to asks that nobody waits for are dropped. */
void dpg_engine_store_answer(dpg_engine *engine, uint64_t ask, dpg_store_reply *reply);

/* When the next timer is due on the engine's clock; INT64_MAX: none. */
int64_t dpg_engine_due_ms(const dpg_engine *engine);

/*
 * As with a thread, whose part the caller plays by turning it: what the host asks for waits until then. For the simulator,
 * whose interleavings no real thread would repeat.
 */
void dpg_engine_play_thread(dpg_engine *engine);
dpg_status dpg_engine_play_turn(dpg_engine *engine, dpg_error *err); /* without waiting */

/* Free all memory and do nothing else: what is left of an engine in a child made by fork, and of a process that was killed. */
void dpg_engine_forget(dpg_engine *engine);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
