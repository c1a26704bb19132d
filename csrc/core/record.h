/*
 * The record that a store keeps for a person: written and read here, opaque to everybody else. Pure: bytes in, struct out.
 */
#ifndef DPG_RECORD_H
#define DPG_RECORD_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_RECORD_MAX ((size_t)1 << 20)

typedef enum dpg_record_state {
    DPG_RECORD_DAMAGED, /* not a whole record of ours: truncated, changed, something else */
    DPG_RECORD_NEWER,   /* whole, but of a version that we don't know */
    DPG_RECORD_WHOLE
} dpg_record_state;

/* What kind of bytes these are, and, when whole, which generation of which family (NUL-terminated hex; "" for a tombstone). */
dpg_record_state dpg_record_peek(dpg_str bytes, int64_t *generation, char family[33]);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
