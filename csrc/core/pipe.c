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
    size_t end, first;

    assert(len <= dpg_pipe_room(p));
    if (!len) return;
    end = p->at < p->cap - p->len ? p->at + p->len : p->at - (p->cap - p->len);
    first = len < p->cap - end ? len : p->cap - end;
    memcpy(p->bytes + end, bytes, first);
    memcpy(p->bytes, bytes + first, len - first);
    p->len += len;
    p->in += (int64_t)len;
}

dpg_str dpg_pipe_front(const dpg_pipe *p)
{
    size_t straight = p->cap - p->at;

    return dpg_str_of(p->bytes ? p->bytes + p->at : "", p->len < straight ? p->len : straight);
}

void dpg_pipe_drop(dpg_pipe *p, size_t len)
{
    assert(len <= p->len);
    p->at += len;
    if (p->at >= p->cap) p->at -= p->cap;
    p->len -= len;
    p->out += (int64_t)len;
}
