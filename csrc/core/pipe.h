/*
 * A bounded queue of bytes between a transfer and whoever feeds it or reads from it: a ring of fixed size, made once, so
 * that moving bytes never needs memory. Pure.
 */
#ifndef DPG_PIPE_H
#define DPG_PIPE_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

typedef struct dpg_pipe {
    char *bytes; /* NULL: there is no pipe here */
    size_t cap, at, len;
    int64_t in, out; /* bytes that ever went in, and that came out */
    bool asked;      /* its transfer has looked for bytes, and found none */
} dpg_pipe;

bool dpg_pipe_init(dpg_pipe *p, size_t cap); /* false without memory */
void dpg_pipe_clear(dpg_pipe *p);            /* twice is fine */

static inline size_t dpg_pipe_room(const dpg_pipe *p)
{
    return p->cap - p->len;
}

/* Copies; `len` is at most the room. */
void dpg_pipe_put(dpg_pipe *p, const char *bytes, size_t len);

/* The bytes to come out next that lie in one piece: all of them, or those up to the ring's end. Good until the next put. */
dpg_str dpg_pipe_front(const dpg_pipe *p);
void dpg_pipe_drop(dpg_pipe *p, size_t len); /* they have come out; at most what lies in front */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
