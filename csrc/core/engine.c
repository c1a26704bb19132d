/*
 * The engine: joins deciders and drivers. It owns the calls, turns the transport, fires the timers, and keeps the inbox and
 * the outbox. What a call does next stands in flow.c, what a credential does in flow_credential.c.
 */
#include "engine_internal.h"
#include "headers.h"
#include "os.h"

#include <stdio.h>
#include <string.h>

#define HOLD_MS 5000      /* how long a turn goes on while a refresh token is between its mark and its save */
#define STILL_TURNS 10000 /* in one and the same millisecond: then something is wrong, and nobody spins for ever */

void dpg_engine_now(const dpg_engine *e, dpg_moment *out)
{
    const dpg_drivers *d = &e->drivers;

    out->boot_ms = d->clock.boot_ms(d->clock.self);
    out->unix_ms = d->clock.unix_ms(d->clock.self);
    out->boot_id = d->clock.boot_id(d->clock.self);
    out->random = d->random.u64(d->random.self);
}

int64_t dpg_engine_now_ms(const dpg_engine *e)
{
    return e->drivers.clock.boot_ms(e->drivers.clock.self);
}

bool dpg_engine_is_mine(const dpg_engine *e)
{
    return e->process == dpg_os_process();
}

void dpg_engine_put(dpg_engine *e, dpg_out *out)
{
    dpg_list_push(&e->outbox, &out->link);
    e->outbox_count++;
}

void dpg_engine_say(dpg_engine *e, const dpg_note *note)
{
    dpg_outgoing *out;

    if (!e->events || (out = dpg_calloc(1, sizeof *out)) == NULL) return;
    out->note = *note;
    dpg_engine_put(e, &out->outgoing);
}

/* --- birth and death ----------------------------------------------------------------------------------------------------- */

dpg_status dpg_engine_new_with(const dpg_engine_options *options, const dpg_drivers *drivers, dpg_engine **out,
                               dpg_error *err)
{
    dpg_engine *e = dpg_calloc(1, sizeof *e);

    if (!e) {
        drivers->transport.free(drivers->transport.self);
        return dpg_fail_nomem(err);
    }
    e->drivers = *drivers;
    e->process = dpg_os_process();
    e->events = options->events;
    e->max_connections = options->max_connections > 0 ? options->max_connections : 16;
    e->budget = options->retry_budget > 0 ? options->retry_budget : options->retry_budget < 0 ? 0 : 100;
    dpg_list_init(&e->inbox);
    dpg_list_init(&e->answers);
    dpg_list_init(&e->outbox);
    dpg_list_init(&e->calls);
    dpg_list_init(&e->queue);
    dpg_list_init(&e->streams);
    dpg_list_init(&e->credentials);
    dpg_list_init(&e->origins);
    dpg_list_init(&e->gates);
    *out = e;
    return DPG_OK;
}

dpg_status dpg_engine_new(const dpg_engine_options *options, dpg_engine **out, dpg_error *err)
{
    dpg_transport_options transport = {.user_agent = options->user_agent,
                                       .ca_file = options->ca_file,
                                       .proxy = options->proxy,
                                       .proxy_set = options->proxy_set,
                                       .no_http2 = options->no_http2,
                                       .max_connections = options->max_connections > 0 ? options->max_connections : 16};
    dpg_drivers drivers = {.clock = dpg_clock_os, .random = dpg_random_os};
    uint64_t probe;
    dpg_status status;

    if (!transport.user_agent.len) transport.user_agent = DPG_LIT("libdpg/" DPG_VERSION);
    if ((status = dpg_os_random(&probe, sizeof probe, err)) != DPG_OK) return status; /* now, and not in the middle */
    status = dpg_transport_curl_new(&transport, &drivers.transport, err);
    return status == DPG_OK ? dpg_engine_new_with(options, &drivers, out, err) : status;
}

static void free_list(dpg_list *list, size_t offset)
{
    dpg_list *node;

    while ((node = dpg_list_first(list)) != NULL) {
        dpg_list_remove(node);
        dpg_free((char *)node - offset);
    }
}

/* All that an engine has in memory; the world hears nothing of it. */
static void free_memory(dpg_engine *e)
{
    dpg_list *node;
    dpg_note note;

    while ((node = dpg_list_first(&e->inbox)) != NULL) {
        dpg_list_remove(node);
        dpg_flow_free(DPG_LIST_ITEM(node, dpg_flow, inbox));
    }
    while ((node = dpg_list_first(&e->calls)) != NULL) {
        dpg_list_remove(node);
        dpg_flow_free(DPG_LIST_ITEM(node, dpg_flow, link));
    }
    do {
        dpg_engine_next(e, &note);
        dpg_store_asked_free(note.asked);
    } while (note.type != DPG_NOTE_NONE);
    while ((node = dpg_list_first(&e->answers)) != NULL) {
        dpg_list_remove(node);
        dpg_buf_clear(&DPG_LIST_ITEM(node, dpg_incoming, link)->reply.bytes);
        dpg_free(DPG_LIST_ITEM(node, dpg_incoming, link));
    }
    for (size_t i = 0; i < e->ended.cap; i++) dpg_flow_free(e->ended.slots[i]);
    while ((node = dpg_list_first(&e->credentials)) != NULL)
        dpg_credential_destroy(DPG_LIST_ITEM(node, dpg_credential, link));
    free_list(&e->origins, offsetof(dpg_origin, link));
    free_list(&e->gates, offsetof(dpg_named_gate, link));
    dpg_free(e->live.slots);
    dpg_free(e->ended.slots);
    dpg_free(e->timers.heap);
    dpg_free(e);
}

void dpg_engine_forget(dpg_engine *e)
{
    if (!e) return;
    e->drivers.transport.forget(e->drivers.transport.self);
    free_memory(e);
}

/*
 * For how long a turn goes on, since somebody's lock is held; 0: it need not. Who waits for an answer of the host is not
 * counted, unless with `all`: it is the host's turn then.
 */
static int64_t hold_left(const dpg_engine *e, int64_t now_ms, bool all)
{
    int64_t most = 0;

    for (const dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);
        bool counts = c->person && dpg_cred_is_locked(&c->cred) && (all || !c->ask);
        int64_t left = counts ? c->cred.hold_since + HOLD_MS - now_ms : 0;

        if (left > most) most = left;
    }
    return most;
}

bool dpg_engine_is_holding(const dpg_engine *e)
{
    return !e->closed && dpg_engine_is_mine(e) && hold_left(e, dpg_engine_now_ms(e), true) > 0;
}

/* Is something under way that a closed engine still has to bring to its end? `hosted`: also with the help of the host */
static bool must_finish(const dpg_engine *e, bool hosted)
{
    for (const dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (c->person && (hosted || !c->store->hosted) && dpg_cred_must_finish(&c->cred)) return true;
    }
    return false;
}

/* A call that was not begun has to be, so that its end is told like any other's. */
static void bring_in(dpg_engine *e, dpg_flow *f)
{
    dpg_list_remove(&f->inbox);
    dpg_list_push(&e->calls, &f->link);
    f->deadline_boot_ms = INT64_MAX;
}

static void cancel_all(dpg_engine *e)
{
    dpg_list *node, *next;

    while ((node = dpg_list_first(&e->inbox)) != NULL) bring_in(e, DPG_LIST_ITEM(node, dpg_flow, inbox));
    for (node = e->calls.next; node != &e->calls; node = next) {
        next = node->next;
        DPG_LIST_ITEM(node, dpg_flow, link)->abandoned = true;
    }
    /* ending one may end others, so look from the front each time */
    for (node = e->calls.next; node != &e->calls;) {
        dpg_flow *f = DPG_LIST_ITEM(node, dpg_flow, link);

        node = node->next;
        if (f->cancelled) continue;
        dpg_flow_cancel(f);
        node = e->calls.next;
    }
}

static dpg_status turn(dpg_engine *e, int64_t timeout_ms, dpg_error *err);

static void begin_end(dpg_engine *e)
{
    e->closed = true;
    cancel_all(e);
}

bool dpg_engine_finish(dpg_engine *e, int64_t ms)
{
    int64_t until = dpg_engine_now_ms(e) + ms, before;
    int still = 0, most = e->drivers.virtual_time ? 1 : STILL_TURNS;

    if (!dpg_engine_is_mine(e)) return false;
    if (!e->closed) begin_end(e);
    while (must_finish(e, true) && !e->outbox_count && (before = dpg_engine_now_ms(e)) < until && still < most) {
        turn(e, until - before, NULL);
        still = dpg_engine_now_ms(e) == before ? still + 1 : 0;
    }
    return must_finish(e, true);
}

void dpg_engine_free(dpg_engine *e, int64_t grace_ms)
{
    int64_t until, before;
    int still = 0, most = 0;

    if (!e) return;
    if (!dpg_engine_is_mine(e)) {
        dpg_engine_forget(e);
        return;
    }
    begin_end(e);
    until = dpg_engine_now_ms(e) + grace_ms;
    /* an exchange that has left is finished, and its successor saved, as is what a sign-in brought: nothing else is waited for */
    most = e->drivers.virtual_time ? 16 : STILL_TURNS;
    while (must_finish(e, false) && (before = dpg_engine_now_ms(e)) < until && still < most) {
        turn(e, until - before, NULL);
        still = dpg_engine_now_ms(e) == before ? still + 1 : 0;
    }
    e->drivers.transport.free(e->drivers.transport.self);
    free_memory(e);
}

/* --- turning ------------------------------------------------------------------------------------------------------------------ */

int64_t dpg_engine_due_ms(const dpg_engine *e)
{
    return e->timers.count ? e->timers.heap[1]->at_boot_ms : INT64_MAX;
}

static void drain_inbox(dpg_engine *e)
{
    dpg_list *node;

    dpg_engine_take_answers(e);
    while ((node = dpg_list_first(&e->inbox)) != NULL) {
        dpg_flow *f = DPG_LIST_ITEM(node, dpg_flow, inbox);

        dpg_list_remove(node);
        dpg_list_push(&e->calls, &f->link);
        dpg_flow_begin(f);
    }
}

static void deliver(dpg_engine *e, dpg_response *response)
{
    dpg_flow *f = dpg_ids_find(&e->live, response->id);

    if (f) {
        dpg_flow_responded(f, response);
        return;
    }
    for (dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) {
        dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (c->person && c->exchange_id == response->id) {
            dpg_credential_responded(c, response);
            return;
        }
    }
    dpg_response_clear(response);
}

static void fire_timers(dpg_engine *e)
{
    int64_t now = dpg_engine_now_ms(e);

    while (e->timers.count && e->timers.heap[1]->at_boot_ms <= now) {
        dpg_timer *timer = e->timers.heap[1];

        dpg_timer_set(&e->timers, timer, INT64_MAX);
        timer->fire(e, timer->owner);
    }
}

/* Bytes first, timers last: an answer that lay in the socket while nobody turned the engine is used, not timed out. */
static dpg_status turn(dpg_engine *e, int64_t timeout_ms, dpg_error *err)
{
    dpg_transport *t = &e->drivers.transport;
    dpg_response response;
    dpg_status status;
    int64_t left;

    drain_inbox(e);
    left = dpg_engine_due_ms(e);
    if (left != INT64_MAX) {
        left -= dpg_engine_now_ms(e);
        if (left < timeout_ms) timeout_ms = left > 0 ? left : 0;
    }
    status = t->step(t->self, timeout_ms, err);
    while (t->next(t->self, &response)) deliver(e, &response);
    for (dpg_list *node = e->streams.next; node != &e->streams; node = node->next)
        dpg_flow_tell(DPG_LIST_ITEM(node, dpg_flow, stream));
    fire_timers(e);
    return status;
}

dpg_status dpg_engine_wait(dpg_engine *e, int64_t ms, dpg_error *err)
{
    int64_t begun = dpg_engine_now_ms(e), now = begun, before, left, hold;
    int still = 0, most = e->drivers.virtual_time ? 1 : STILL_TURNS;
    dpg_status status;

    if (e->closed || !dpg_engine_is_mine(e)) return dpg_engine_closed(err);
    do {
        drain_inbox(e); /* first, since some may end at once: then there is nothing to wait for */
        hold = hold_left(e, now, false);
        left = hold ? hold : e->outbox_count ? 0 : ms - (now - begun);
        before = now;
        status = turn(e, left > 0 ? left : 0, err);
        now = dpg_engine_now_ms(e);
        still = now == before ? still + 1 : 0;
        hold = hold_left(e, now, false);
    } while (status == DPG_OK && still < most && (hold || (!e->outbox_count && now - begun < ms)));
    return status;
}

/* --- the outbox ------------------------------------------------------------------------------------------------------------------ */

void dpg_engine_next(dpg_engine *e, dpg_note *note)
{
    dpg_list *node = dpg_list_first(&e->outbox);
    dpg_out *out;

    memset(note, 0, sizeof *note);
    if (!node) return;
    dpg_list_remove(node);
    e->outbox_count--;
    out = DPG_LIST_ITEM(node, dpg_out, link);
    if (out->flow) {
        note->type = out->type;
        note->id = out->flow->id;
        return;
    }
    *note = DPG_LIST_ITEM(out, dpg_outgoing, outgoing)->note;
    if (note->type == DPG_NOTE_STORE) {
        dpg_credential *from = DPG_LIST_ITEM(out, dpg_outgoing, outgoing)->from;

        from->ask_waits = false;
        from->ask_taken = dpg_engine_now_ms(e); /* its time limit counts from here */
    }
    dpg_free(DPG_LIST_ITEM(out, dpg_outgoing, outgoing));
}

dpg_status dpg_engine_take(dpg_engine *e, dpg_id id, dpg_completion *out, dpg_error *err)
{
    dpg_flow *f = dpg_ids_find(&e->ended, id);

    if (!f)
        return dpg_fail(err, DPG_E_UNKNOWN, DPG_KIND_USAGE, "unknown_call",
                        "no call with this number has ended, or it was taken");
    dpg_ids_remove(&e->ended, id);
    e->untaken--;
    if (dpg_list_linked(&f->out.link)) { /* taken before it was told */
        dpg_list_remove(&f->out.link);
        e->outbox_count--;
    }
    dpg_flow_untell(f);
    memset(out, 0, sizeof *out);
    out->error = f->error;
    if (f->error.kind == DPG_KIND_NONE) {
        out->status = f->response.status;
        out->headers = f->response.headers;
        out->header_count = f->response.header_count;
        out->body = dpg_buf_str(&f->response.body);
    }
    out->attempts = f->call.attempt;
    out->sent = f->call.sent;
    out->retry_after_ms = f->call.retry_after_ms;
    out->owner = f;
    return DPG_OK;
}

void dpg_completion_clear(dpg_completion *completion)
{
    dpg_flow_free(completion->owner);
    memset(completion, 0, sizeof *completion);
}

void dpg_engine_cancel(dpg_engine *e, dpg_id id)
{
    dpg_flow *f = dpg_ids_find(&e->live, id);

    if (!f || f->cancelled || !dpg_engine_is_mine(e)) return;
    if (dpg_list_linked(&f->inbox)) bring_in(e, f);
    dpg_flow_cancel(f);
}

void dpg_engine_abandon(dpg_engine *e, dpg_id id)
{
    dpg_flow *f = dpg_ids_find(&e->live, id);
    dpg_completion completion;

    if (f) {
        f->abandoned = true;
        dpg_flow_untell(f);
        if (f->fed.bytes || f->chunks.bytes) dpg_engine_cancel(e, id); /* nobody feeds it, or reads it, any more */
    } else if (dpg_engine_take(e, id, &completion, NULL) == DPG_OK) {
        dpg_completion_clear(&completion);
    }
}

dpg_counts dpg_engine_counts(const dpg_engine *e)
{
    dpg_counts counts = {.calls = e->live.count,
                         .transfers = (size_t)e->transfers,
                         .timers = e->timers.count,
                         .notes = e->outbox_count,
                         .untaken = e->untaken,
                         .retries = e->retries,
                         .sent = e->sent};

    for (const dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) counts.credentials++;
    return counts;
}
