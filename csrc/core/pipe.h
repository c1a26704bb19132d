/*
 * A bounded queue of bytes between a transfer and whoever feeds it or reads from it: a ring of fixed size, made once, so
 * that moving bytes never needs memory. One thread puts, one takes out; neither ever waits for the other. Pure.
 */
#ifndef DPG_PIPE_H
#define DPG_PIPE_H

#include "base.h"

#include <stdatomic.h>

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

typedef struct dpg_pipe {
    char *bytes; /* NULL: there is no pipe here */
    size_t cap;
    size_t end;              /* where the next byte is put: who puts knows it alone … */
    size_t at;               /* … and this, where the next is taken from, who takes */
    _Atomic int64_t in, out; /* bytes that ever went in, and that came out */
    /*
     * Its transfer stands still: for bytes, or for room. Whoever brings some looks here afterwards, and wakes it; a transfer
     * sets this first and looks for bytes or room once more before it sleeps. So one of the two sees the other.
     */
    _Atomic bool still;
    bool asked; /* its transfer has looked for bytes, and found none; the transfer's side alone */
} dpg_pipe;

bool dpg_pipe_init(dpg_pipe *p, size_t cap); /* false without memory */
void dpg_pipe_clear(dpg_pipe *p);            /* twice is fine */

static inline size_t dpg_pipe_len(const dpg_pipe *p)
{
    int64_t out = atomic_load(&p->out); /* first: what was taken had been put */

    return (size_t)(atomic_load(&p->in) - out);
}
static inline size_t dpg_pipe_room(const dpg_pipe *p)
{
    return p->cap - dpg_pipe_len(p);
}

/* Copies; `len` is at most the room. */
void dpg_pipe_put(dpg_pipe *p, const char *bytes, size_t len);

/* The bytes to come out next that lie in one piece: all of them, or those up to the ring's end. They stay until dropped. */
dpg_str dpg_pipe_front(const dpg_pipe *p);
void dpg_pipe_drop(dpg_pipe *p, size_t len); /* they have come out; at most what lies in front */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
