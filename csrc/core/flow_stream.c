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

dpg_sent dpg_flow_abort(dpg_flow *f, bool *used_up)
{
    const dpg_transport *t = &f->engine->drivers.transport;
    dpg_glance glance;

    *used_up = dpg_flow_look(f, &glance) && glance.used_up;
    return t->abort(t->self, f->id);
}

bool dpg_flow_is_stalled(dpg_flow *f, const char **why)
{
    dpg_glance glance = {0};
    dpg_moment now;

    dpg_engine_now(f->engine, &now);
    dpg_flow_look(f, &glance);
    *why = glance.full ? ": what has come was not read" : glance.hungry ? ": what it waits for was not fed" : "";
    return dpg_call_is_stalled(&f->call, glance.moved, now.boot_ms);
}

/* --- notes -------------------------------------------------------------------------------------------------------------- */

static void put_note(dpg_flow *f, dpg_out *out, dpg_note_type type, bool *waits)
{
    *waits = false;
    if (f->abandoned || dpg_list_linked(&out->link)) return;
    out->type = type;
    out->flow = f;
    dpg_list_push(&f->engine->outbox, &out->link);
    f->engine->outbox_count++;
}

void dpg_flow_tell(dpg_flow *f)
{
    dpg_glance glance;

    /* half of it empty: there is time to bring more before it runs dry; but not before its connection asks for any */
    if (f->want_waits && f->fed.asked && f->fed.in < f->feeds && f->fed.len <= f->fed.cap / 2)
        put_note(f, &f->want, DPG_NOTE_WANT, &f->want_waits);
    if (!f->data_waits || !f->chunks.bytes) return;
    if (!f->chunks.len && (f->head_told || !dpg_flow_look(f, &glance) || !glance.status)) return;
    f->head_told = true;
    put_note(f, &f->data, DPG_NOTE_DATA, &f->data_waits);
}

void dpg_flow_tell_end(dpg_flow *f)
{
    if (f->chunks.bytes) put_note(f, &f->data, DPG_NOTE_DATA, &f->data_waits);
}

static void take_out(dpg_flow *f, dpg_out *out)
{
    if (!dpg_list_linked(&out->link)) return;
    dpg_list_remove(&out->link);
    f->engine->outbox_count--;
}

void dpg_flow_untell(dpg_flow *f)
{
    take_out(f, &f->want);
    take_out(f, &f->data);
}

/* --- feeding and reading ------------------------------------------------------------------------------------------------ */

static dpg_status unknown(dpg_error *err, const char *what)
{
    return dpg_fail(err, DPG_E_UNKNOWN, DPG_KIND_USAGE, "unknown_call", "no call with this number %s", what);
}

dpg_status dpg_engine_progress(const dpg_engine *e, dpg_id id, dpg_progress *out)
{
    dpg_flow *f = dpg_ids_find(&e->live, id);
    dpg_glance glance;

    if (f) dpg_flow_look(f, &glance);
    else if (!(f = dpg_ids_find(&e->ended, id))) return DPG_E_UNKNOWN;
    *out = f->progress;
    return DPG_OK;
}

dpg_status dpg_engine_feed(dpg_engine *e, dpg_id id, dpg_str bytes, size_t *taken, dpg_error *err)
{
    dpg_flow *f = dpg_ids_find(&e->live, id);
    size_t room;

    if (!f || !f->fed.bytes) return unknown(err, "is under way and fed");
    if ((uint64_t)bytes.len > (uint64_t)(f->feeds - f->fed.in))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "too_many_bytes",
                        "more bytes are fed than the %lld that were announced", (long long)f->feeds);
    room = dpg_pipe_room(&f->fed);
    *taken = bytes.len < room ? bytes.len : room;
    dpg_pipe_put(&f->fed, bytes.ptr, *taken);
    f->want_waits = true;
    return DPG_OK;
}

dpg_status dpg_engine_read(dpg_engine *e, dpg_id id, size_t most, dpg_chunk *out, dpg_error *err)
{
    dpg_flow *f = dpg_ids_find(&e->live, id), *ended = f ? NULL : dpg_ids_find(&e->ended, id);
    dpg_glance glance = {0};

    if (!f) f = ended;
    if (!f || (most && !f->chunks.bytes)) return unknown(err, "is read in chunks, or it was taken");
    memset(out, 0, sizeof *out);
    if (!ended) {
        dpg_flow_look(f, &glance);
        out->status = glance.status;
        out->headers = glance.headers;
        out->header_count = glance.header_count;
    } else if (f->response.status == 200 || f->response.status == 206) {
        out->status = f->response.status;
        out->headers = f->response.headers;
        out->header_count = f->response.header_count;
    }
    out->bytes = dpg_pipe_front(&f->chunks);
    if (!out->bytes.len) {
        out->state = ended ? DPG_READ_END : DPG_READ_LATER;
        f->data_waits = true;
        return DPG_OK;
    }
    out->state = DPG_READ_BYTES;
    if (!most) return DPG_OK; /* just a look */
    if (out->bytes.len > most) out->bytes.len = most;
    dpg_pipe_drop(&f->chunks, out->bytes.len);
    return DPG_OK;
}
