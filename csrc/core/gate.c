/*
 * The gate. One for each key; the engine keeps them and asks.
 */
#include "gate.h"

#define STAGGER_MS 10        /* a hundred a second leave a gate that opens … */
#define STAGGER_MOST_MS 5000 /* … and nobody waits longer than this for the others */

bool dpg_gate_close(dpg_gate *gate, int64_t now_boot_ms, int64_t wait_ms)
{
    int64_t opens = now_boot_ms + wait_ms;

    if (opens <= gate->opens_boot_ms) return false;
    gate->opens_boot_ms = opens;
    gate->told = 0;
    gate->closed = true;
    return true;
}

int64_t dpg_gate_pass(dpg_gate *gate, int64_t now_boot_ms)
{
    int64_t behind = gate->told * STAGGER_MS;

    if (now_boot_ms >= gate->opens_boot_ms) return 0;
    gate->told++;
    return gate->opens_boot_ms + (behind < STAGGER_MOST_MS ? behind : STAGGER_MOST_MS);
}
