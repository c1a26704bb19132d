/*
 * After a 429 everything under the same key waits until the gate opens, then leaves staggered. Pure functions.
 */
#ifndef DPG_GATE_H
#define DPG_GATE_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

typedef struct dpg_gate {
    int64_t opens_boot_ms; /* 0: it was never closed */
    int64_t told;          /* how many have been given a moment behind the opening */
    bool closed;           /* nobody has passed since it was closed: for the event */
} dpg_gate;

/* Close it for `wait_ms` from now; a gate that stays closed longer already stays so. True when it opens later than before. */
bool dpg_gate_close(dpg_gate *gate, int64_t now_boot_ms, int64_t wait_ms);

/* 0: pass. Else the moment at which to ask again, each caller a little behind the one before. */
int64_t dpg_gate_pass(dpg_gate *gate, int64_t now_boot_ms);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
