/*
 * Calls whose bytes are fed or read while they are on their way, and how far any call has come: notes for who feeds and
 * reads, looks at what moves. Used by flow.c and engine.c, and by whoever has an engine.
 */
#include "engine_internal.h"

#include <string.h>

/* --- looking ------------------------------------------------------------------------------------------------------------ */

bool dpg_flow_look(dpg_flow *f, dpg_glance *out)
{
    const dpg_transport *t = &f->engine->drivers.transport;

    if (!f->transferring || !t->look || !t->look(t->self, f->id, out)) return false;
    f->progress = out->progress;
    return true;
}

bool dpg_flow_is_stalled(dpg_flow *f, const char **why)
{
    dpg_glance glance = {0};

    dpg_flow_look(f, &glance);
    *why = glance.full ? ": what has come was not read" : glance.hungry ? ": what it waits for was not fed" : "";
    return dpg_call_is_stalled(&f->call, glance.moved, dpg_engine_now_ms(f->engine));
}

/* --- what the host is shown -------------------------------------------------------------------------------------------------- */

void dpg_head_free(dpg_head *head)
{
    if (head) dpg_free_secret(head, head->size);
}

static dpg_str copy(char **to, dpg_str s)
{
    dpg_str at = dpg_str_of(*to, s.len);

    if (s.len) memcpy(*to, s.ptr, s.len);
    *to += s.len;
    return at;
}

static dpg_head *make_head(const dpg_glance *glance)
{
    size_t size = sizeof(dpg_head) + glance->header_count * sizeof(dpg_header);
    dpg_head *head;
    char *text;

    for (size_t i = 0; i < glance->header_count; i++)
        size += glance->headers[i].name.len + glance->headers[i].value.len;
    if (!(head = dpg_malloc(size))) return NULL;
    head->size = size;
    head->status = glance->status;
    head->count = glance->header_count;
    text = (char *)(head->headers + head->count);
    for (size_t i = 0; i < head->count; i++) {
        head->headers[i].name = copy(&text, glance->headers[i].name);
        head->headers[i].value = copy(&text, glance->headers[i].value);
    }
    return head;
}

static void show_head(dpg_flow *f, dpg_head *head)
{
    dpg_head *before;

    dpg_engine_lock(f->engine);
    before = f->fresh;
    f->fresh = head;
    f->is_fresh = true;
    dpg_engine_unlock(f->engine);
    dpg_head_free(before);
}

void dpg_flow_lose_head(dpg_flow *f)
{
    if (f->head_made) show_head(f, NULL);
    f->head_made = false;
}

/* How far it is; false: it is not under way. Without memory for its head it is looked at again soon. */
static bool look_and_show(dpg_flow *f, dpg_glance *glance)
{
    dpg_head *head;

    if (!dpg_flow_look(f, glance)) return false;
    if (glance->status && !f->head_made) {
        if ((head = make_head(glance)) != NULL) show_head(f, head);
        f->head_made = head != NULL;
        f->engine->again |= !head;
    }
    dpg_engine_lock(f->engine);
    f->shown = f->progress;
    dpg_engine_unlock(f->engine);
    return true;
}

/* Its head is shown first: what its file or its chunks hold by now is of that answer. */
dpg_sent dpg_flow_abort(dpg_flow *f, bool *used_up)
{
    const dpg_transport *t = &f->engine->drivers.transport;
    dpg_glance glance;

    *used_up = look_and_show(f, &glance) && glance.used_up;
    return t->abort(t->self, f->id);
}

void dpg_flow_tell(dpg_flow *f)
{
    dpg_engine *e = f->engine;
    dpg_glance glance;

    look_and_show(f, &glance);
    if (!f->fed.bytes && !f->chunks.bytes) return;
    dpg_engine_lock(e);
    /* half of it empty: there is time to bring more before it runs dry; but not before its connection asks for any */
    if (f->want_waits && !f->abandoned && f->fed.asked && f->fed.in < f->feeds &&
        dpg_pipe_len(&f->fed) <= f->fed.cap / 2) {
        f->want_waits = false;
        dpg_out_put_locked(e, &f->want, DPG_NOTE_WANT, f);
    }
    if (f->data_waits && !f->abandoned && f->chunks.bytes &&
        (dpg_pipe_len(&f->chunks) || (f->head_made && !f->head_told))) {
        f->data_waits = false;
        f->head_told = true;
        dpg_out_put_locked(e, &f->data, DPG_NOTE_DATA, f);
    }
    dpg_engine_unlock(e);
}

/* --- the host's side: how far, feeding and reading ---------------------------------------------------------------------------- */

static dpg_status unknown(dpg_error *err, const char *what)
{
    return dpg_fail(err, DPG_E_UNKNOWN, DPG_KIND_USAGE, "unknown_call", "no call with this number %s", what);
}

/*
 * A call that was not taken, and so stays until the host takes or abandons it; NULL: there is none. A stepped engine has
 * looked at it by then.
 */
static dpg_flow *find(dpg_engine *e, dpg_id id, bool *ended)
{
    dpg_flow *f = NULL;
    dpg_glance glance;

    if (!dpg_engine_is_mine(e)) return NULL;
    dpg_engine_lock(e);
    f = dpg_ids_find(&e->ids, id);
    if (f && f->abandoned) f = NULL;
    *ended = f && f->ended;
    dpg_engine_unlock(e);
    if (f && !*ended && !e->threaded) look_and_show(f, &glance);
    return f;
}

dpg_status dpg_engine_progress(dpg_engine *e, dpg_id id, dpg_progress *out)
{
    bool ended;
    dpg_flow *f = find(e, id, &ended);

    if (!f) return DPG_E_UNKNOWN;
    dpg_engine_lock(e);
    *out = f->shown;
    dpg_engine_unlock(e);
    return DPG_OK;
}

dpg_status dpg_engine_feed(dpg_engine *e, dpg_id id, dpg_str bytes, size_t *taken, dpg_error *err)
{
    bool ended;
    dpg_flow *f = find(e, id, &ended);
    size_t room;

    if (!f || ended || !f->fed.bytes) return unknown(err, "is under way and fed");
    if ((uint64_t)bytes.len > (uint64_t)(f->feeds - f->fed.in))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "too_many_bytes",
                        "more bytes are fed than the %lld that were announced", (long long)f->feeds);
    room = dpg_pipe_room(&f->fed);
    *taken = bytes.len < room ? bytes.len : room;
    dpg_pipe_put(&f->fed, bytes.ptr, *taken);
    dpg_engine_lock(e);
    f->want_waits = true;
    /* also when enough are there: a WANT that became due before this moment is told by a turn after it */
    if (atomic_load(&f->fed.still)) dpg_engine_unlock_and_wake(e);
    else dpg_engine_unlock(e);
    return DPG_OK;
}

/* What is to be shown of its head. An attempt that was broken off, by a limit of time say, has left no answer but this. */
static void put_head(dpg_flow *f, bool ended, dpg_chunk *out)
{
    if (ended && f->response.status) {
        if (f->response.status != 200 && f->response.status != 206) return;
        out->status = f->response.status;
        out->headers = f->response.headers;
        out->header_count = f->response.header_count;
    } else if (f->head) {
        out->status = f->head->status;
        out->headers = f->head->headers;
        out->header_count = f->head->count;
    }
}

/* The newest head becomes the host's, who alone touches it from here on. The one before it is returned. */
static dpg_head *take_head_locked(dpg_flow *f)
{
    dpg_head *before = f->head;

    if (!f->is_fresh) return NULL;
    f->head = f->fresh;
    f->fresh = NULL;
    f->is_fresh = false;
    return before;
}

/*
 * Its head and its bytes are looked at in one, and what is not there yet is asked for in the same moment: so what comes
 * after this look is told, and bytes that came before their head was shown come with it.
 */
static void look_in(dpg_engine *e, dpg_flow *f, bool ended, dpg_chunk *out)
{
    dpg_head *before = NULL;

    dpg_engine_lock(e);
    before = take_head_locked(f);
    put_head(f, ended, out);
    out->bytes = dpg_pipe_front(&f->chunks);
    if (!out->status) out->bytes.len = 0;
    if (!out->bytes.len) f->data_waits = true;
    dpg_engine_unlock(e);
    dpg_head_free(before);
}

dpg_status dpg_engine_read(dpg_engine *e, dpg_id id, size_t most, dpg_chunk *out, dpg_error *err)
{
    bool ended;
    dpg_flow *f = find(e, id, &ended);

    if (!f || (most && !f->chunks.bytes)) return unknown(err, "is read in chunks, or it was taken");
    memset(out, 0, sizeof *out);
    look_in(e, f, ended, out);
    if (!out->bytes.len) {
        out->state = ended ? DPG_READ_END : DPG_READ_LATER;
        return DPG_OK;
    }
    out->state = DPG_READ_BYTES;
    if (!most) return DPG_OK; /* just a look */
    if (out->bytes.len > most) out->bytes.len = most;
    dpg_pipe_drop(&f->chunks, out->bytes.len);
    if (!atomic_load(&f->chunks.still) || dpg_pipe_len(&f->chunks) > f->chunks.cap / 2) return DPG_OK;
    dpg_engine_lock(e);
    dpg_engine_unlock_and_wake(e); /* there is room for a transfer that stands still */
    return DPG_OK;
}
