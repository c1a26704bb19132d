/*
 * The host's side of an engine: what it takes out (notes, ended calls, counts), and how it ends a call. Everything here may
 * be called while the engine's own thread turns it; nothing here waits for more than the engine's monitor.
 */
#include "engine_internal.h"

#include <string.h>

#define LARGE (64 * 1024)

/* --- the outbox ---------------------------------------------------------------------------------------------------------- */

static void put(dpg_engine *e, dpg_out *out)
{
    dpg_list_push(&e->outbox, &out->link);
    e->outbox_count++;
    if (out->idles) e->outbox_idle++;
    else e->news = true;
}

void dpg_out_put_locked(dpg_engine *e, dpg_out *out, dpg_note_type type, dpg_flow *f)
{
    if (dpg_list_linked(&out->link)) return;
    out->type = type;
    out->flow = f;
    put(e, out);
}

void dpg_out_drop_locked(dpg_engine *e, dpg_out *out)
{
    if (!dpg_list_linked(&out->link)) return;
    dpg_list_remove(&out->link);
    e->outbox_count--;
    if (out->idles) e->outbox_idle--;
}

void dpg_engine_listen(dpg_engine *e, bool events)
{
    atomic_store(&e->listened, events);
}

static void clear_note(dpg_note *note)
{
    note->type = DPG_NOTE_NONE;
    note->asked = NULL;
    note->id = note->credential = 0;
    note->event = DPG_EVENT_START;
    note->attempt = note->http_status = 0;
    note->wait_ms = note->elapsed_ms = note->generation = 0;
    note->code[0] = note->message[0] = note->method[0] = note->path[0] = '\0';
}

dpg_note *dpg_engine_event(dpg_engine *e, dpg_event event)
{
    dpg_outgoing *out;

    if (!atomic_load_explicit(&e->listened, memory_order_relaxed)) return NULL;
    if ((out = dpg_malloc(sizeof *out)) == NULL) return NULL;
    memset(&out->outgoing, 0, sizeof out->outgoing);
    out->outgoing.idles = event == DPG_EVENT_START;
    out->from = NULL;
    clear_note(&out->note);
    out->note.type = DPG_NOTE_EVENT;
    out->note.event = event;
    return &out->note;
}

void dpg_engine_say(dpg_engine *e, dpg_note *note)
{
    dpg_engine_lock(e);
    put(e, &DPG_LIST_ITEM(note, dpg_outgoing, note)->outgoing);
    dpg_engine_unlock(e);
}

void dpg_engine_put_ask(dpg_engine *e, dpg_outgoing *ask)
{
    dpg_engine_lock(e);
    ask->from->ask_waits = true;
    ask->outgoing.type = DPG_NOTE_STORE;
    put(e, &ask->outgoing);
    dpg_engine_unlock(e);
}

static bool next(dpg_engine *e, dpg_note *note)
{
    dpg_list *node = dpg_list_first(&e->outbox);
    dpg_out *out;

    if (!node) return false;
    out = DPG_LIST_ITEM(node, dpg_out, link);
    dpg_out_drop_locked(e, out);
    if (out->flow) {
        note->type = out->type;
        note->id = out->flow->id;
    } else {
        dpg_credential *from = DPG_LIST_ITEM(out, dpg_outgoing, outgoing)->from;

        *note = DPG_LIST_ITEM(out, dpg_outgoing, outgoing)->note;
        if (from) {
            from->ask_waits = false;
            from->ask_taken = dpg_engine_now_ms(e); /* its time limit counts from here */
        }
        dpg_free(DPG_LIST_ITEM(out, dpg_outgoing, outgoing));
    }
    return true;
}

void dpg_outbox_free(dpg_engine *e)
{
    dpg_note note;

    clear_note(&note);
    while (next(e, &note)) {
        dpg_store_asked_free(note.asked);
        note.asked = NULL;
    }
}

void dpg_engine_next(dpg_engine *e, dpg_note *note)
{
    clear_note(note);
    if (!dpg_engine_is_mine(e)) return;
    dpg_engine_lock(e);
    next(e, note);
    dpg_engine_unlock(e);
}

void dpg_engine_tell_again(dpg_engine *e)
{
    if (!dpg_engine_is_mine(e)) return;
    dpg_engine_lock(e);
    for (size_t i = 0; i < e->ids.cap; i++) {
        dpg_flow *f = e->ids.slots[i];

        if (!f || f->abandoned) continue;
        if (f->fed.bytes && !f->want_waits && !f->ended) dpg_out_put_locked(e, &f->want, DPG_NOTE_WANT, f);
        if (f->chunks.bytes && (!f->data_waits || f->ended)) dpg_out_put_locked(e, &f->data, DPG_NOTE_DATA, f);
        if (f->ended) dpg_out_put_locked(e, &f->out, DPG_NOTE_DONE, f);
    }
    dpg_engine_unlock(e);
}

/* --- calls that have ended ------------------------------------------------------------------------------------------------ */

/* The host's from here on, with nothing of it left in the engine; NULL: it has not ended, or there is none. */
static dpg_flow *take_locked(dpg_engine *e, dpg_id id)
{
    dpg_flow *f = dpg_ids_find(&e->ids, id);

    if (!f || !f->ended) return NULL;
    dpg_ids_remove(&e->ids, id);
    e->untaken--;
    dpg_out_drop_locked(e, &f->out); /* taken before it was told */
    dpg_out_drop_locked(e, &f->want);
    dpg_out_drop_locked(e, &f->data);
    return f;
}

static void forget(dpg_completion *c) /* it is most of a kilobyte, all of it texts that are not there */
{
    dpg_error_clear(&c->error);
    c->status = c->attempts = c->sent = 0;
    c->headers = NULL;
    c->header_count = 0;
    c->body = dpg_str_of(NULL, 0);
    c->retry_after_ms = -1;
    c->owner = NULL;
}

dpg_status dpg_engine_take(dpg_engine *e, dpg_id id, dpg_completion *out, dpg_error *err)
{
    dpg_flow *f = NULL;

    if (dpg_engine_is_mine(e)) {
        dpg_engine_lock(e);
        f = take_locked(e, id);
        dpg_engine_unlock(e);
    }
    if (!f)
        return dpg_fail(err, DPG_E_UNKNOWN, DPG_KIND_USAGE, "unknown_call",
                        "no call with this number has ended, or it was taken");
    forget(out);
    if (f->error.kind == DPG_KIND_NONE) {
        out->status = f->response.status;
        out->headers = f->response.headers;
        out->header_count = f->response.header_count;
        out->body = dpg_buf_str(&f->response.body);
    } else {
        out->error = f->error;
    }
    out->attempts = f->call.attempt;
    out->sent = f->call.sent;
    out->retry_after_ms = f->call.retry_after_ms;
    out->owner = f;
    return DPG_OK;
}

/* The host's, and not in the engine any more: on a thread of its own the engine frees what the system is slow to take back. */
static void dispose(dpg_engine *e, dpg_flow *f)
{
    if (!e->threaded || !f || f->response.body.cap + f->chunks.cap + f->fed.cap < LARGE) {
        dpg_flow_free(f);
        return;
    }
    dpg_engine_lock(e);
    dpg_list_push(&e->waste, &f->command);
    dpg_engine_unlock_and_wake(e);
}

void dpg_engine_dispose(dpg_engine *e, dpg_completion *completion)
{
    if (dpg_engine_is_mine(e)) dispose(e, completion->owner);
    else dpg_flow_free(completion->owner);
    memset(completion, 0, sizeof *completion);
}

void dpg_completion_clear(dpg_completion *completion)
{
    dpg_flow_free(completion->owner);
    forget(completion);
}

/* --- ending one early ----------------------------------------------------------------------------------------------------- */

/* With the monitor held, which is let go of: its owner ends `f`. Of a stepped engine that is the caller, who does it now. */
static void unlock_and_cancel(dpg_engine *e, dpg_flow *f)
{
    if (!e->threaded) {
        dpg_engine_unlock(e);
        dpg_engine_cancel_now(e, f);
        return;
    }
    if (!dpg_list_linked(&f->command)) dpg_list_push(&e->commands, &f->command);
    dpg_engine_unlock_and_wake(e);
}

void dpg_engine_cancel(dpg_engine *e, dpg_id id)
{
    dpg_flow *f;

    if (!dpg_engine_is_mine(e)) return;
    dpg_engine_lock(e);
    f = dpg_ids_find(&e->ids, id);
    if (f && !f->ended) unlock_and_cancel(e, f);
    else dpg_engine_unlock(e);
}

void dpg_engine_abandon(dpg_engine *e, dpg_id id)
{
    dpg_flow *f, *ended;

    if (!dpg_engine_is_mine(e)) return;
    dpg_engine_lock(e);
    ended = take_locked(e, id);
    f = ended ? NULL : dpg_ids_find(&e->ids, id);
    if (f) {
        f->abandoned = true; /* whoever completes it frees it */
        dpg_out_drop_locked(e, &f->want);
        dpg_out_drop_locked(e, &f->data);
    }
    if (f && (f->fed.bytes || f->chunks.bytes)) unlock_and_cancel(e, f); /* nobody feeds it, or reads it, any more */
    else dpg_engine_unlock(e);
    dispose(e, ended);
}

/* --- counting ------------------------------------------------------------------------------------------------------------- */

dpg_counts dpg_engine_counts(const dpg_engine *e)
{
    dpg_counts counts = {0};

    if (!dpg_engine_is_mine(e)) return counts;
    dpg_engine_lock(e);
    counts = e->shown;
    if (!e->threaded) {
        counts.transfers = (size_t)e->transfers;
        counts.timers = e->timers.count;
        counts.retries = e->retries;
        counts.sent = e->sent;
    }
    counts.calls = e->live;
    counts.notes = e->outbox_count;
    counts.untaken = e->untaken;
    counts.credentials = e->credential_count;
    dpg_engine_unlock(e);
    return counts;
}

bool dpg_engine_is_holding(const dpg_engine *e)
{
    int64_t until;

    if (!dpg_engine_is_mine(e)) return false;
    dpg_engine_lock(e);
    until = e->closed ? 0 : e->threaded ? e->hold_until : dpg_engine_hold_until(e);
    dpg_engine_unlock(e);
    return dpg_engine_now_ms(e) < until;
}
