/*
 * The ring of pipe.h.
 */
#include "pipe.h"

#include <assert.h>
#include <string.h>

bool dpg_pipe_init(dpg_pipe *p, size_t cap)
{
    memset(p, 0, sizeof *p);
    p->bytes = dpg_malloc(cap);
    p->cap = p->bytes ? cap : 0;
    return p->bytes != NULL;
}

void dpg_pipe_clear(dpg_pipe *p)
{
    dpg_free(p->bytes);
    memset(p, 0, sizeof *p);
}

void dpg_pipe_put(dpg_pipe *p, const char *bytes, size_t len)
{
    size_t first = len < p->cap - p->end ? len : p->cap - p->end;

    assert(len <= dpg_pipe_room(p));
    if (!len) return;
    memcpy(p->bytes + p->end, bytes, first);
    memcpy(p->bytes, bytes + first, len - first);
    p->end += len;
    if (p->end >= p->cap) p->end -= p->cap;
    atomic_fetch_add(&p->in, (int64_t)len); /* from here on they can be taken */
}

dpg_str dpg_pipe_front(const dpg_pipe *p)
{
    size_t len = dpg_pipe_len(p), straight = p->cap - p->at;

    return dpg_str_of(p->bytes ? p->bytes + p->at : "", len < straight ? len : straight);
}

void dpg_pipe_drop(dpg_pipe *p, size_t len)
{
    assert(len <= dpg_pipe_len(p));
    p->at += len;
    if (p->at >= p->cap) p->at -= p->cap;
    atomic_fetch_add(&p->out, (int64_t)len); /* from here on their room is free */
}
