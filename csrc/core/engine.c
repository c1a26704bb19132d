/*
 * The engine: joins deciders and drivers. Its birth and its end, and a turn: take in what has come, move bytes, fire the
 * timers. What a call does next stands in flow.c, what a credential does in flow_credential.c, what the host takes out in
 * engine_outbox.c, and how a thread turns it in engine_thread.c.
 */
#include "engine_internal.h"
#include "os.h"

#include <stdio.h>
#include <string.h>

#define HOLD_MS 5000      /* how long a turn goes on while a refresh token is between its mark and its save */
#define STILL_TURNS 10000 /* in one and the same millisecond: then something is wrong, and nobody spins for ever */
#define SLEEP_MOST_MS 10000
#define AGAIN_MS 50

void dpg_engine_time(const dpg_engine *e, dpg_moment *out)
{
    const dpg_drivers *d = &e->drivers;

    out->boot_ms = d->clock.boot_ms(d->clock.self);
    out->unix_ms = d->clock.unix_ms(d->clock.self);
    out->boot_id = d->clock.boot_id(d->clock.self);
    out->random = 0;
}

void dpg_engine_now(const dpg_engine *e, dpg_moment *out)
{
    dpg_engine_time(e, out);
    out->random = dpg_engine_random(e);
}

uint64_t dpg_engine_random(const dpg_engine *e)
{
    return e->drivers.random.u64(e->drivers.random.self);
}

int64_t dpg_engine_now_ms(const dpg_engine *e)
{
    return e->drivers.clock.boot_ms(e->drivers.clock.self);
}

bool dpg_engine_is_mine(const dpg_engine *e)
{
    return e->process == dpg_os_process();
}

/* --- birth and death ----------------------------------------------------------------------------------------------------- */

dpg_status dpg_engine_new_with(const dpg_engine_options *options, const dpg_drivers *drivers, dpg_engine **out,
                               dpg_error *err)
{
    dpg_engine *e = dpg_calloc(1, sizeof *e);

    if (!e || !(e->monitor = dpg_os_monitor_new())) {
        dpg_free(e);
        drivers->transport.free(drivers->transport.self);
        return dpg_fail_nomem(err);
    }
    e->drivers = *drivers;
    e->process = dpg_os_process();
    atomic_init(&e->listened, options->events);
    e->max_connections = options->max_connections > 0 ? options->max_connections : 16;
    e->budget = options->retry_budget > 0 ? options->retry_budget : options->retry_budget < 0 ? 0 : 100;
    dpg_list_init(&e->inbox);
    dpg_list_init(&e->commands);
    dpg_list_init(&e->waste);
    dpg_list_init(&e->answers);
    dpg_list_init(&e->outbox);
    dpg_list_init(&e->calls);
    dpg_list_init(&e->queue);
    dpg_list_init(&e->streams);
    dpg_list_init(&e->walking);
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

    dpg_outbox_free(e);
    while ((node = dpg_list_first(&e->waste)) != NULL) {
        dpg_list_remove(node);
        dpg_flow_free(DPG_LIST_ITEM(node, dpg_flow, command));
    }
    for (size_t i = 0; i < e->ids.cap; i++) dpg_flow_free(e->ids.slots[i]);
    while ((node = dpg_list_first(&e->credentials)) != NULL) {
        dpg_list_remove(node);
        dpg_credential_destroy(DPG_LIST_ITEM(node, dpg_credential, link));
    }
    free_list(&e->origins, offsetof(dpg_origin, link));
    free_list(&e->gates, offsetof(dpg_named_gate, link));
    dpg_free(e->ids.slots);
    dpg_wake_free(e->wake);
    dpg_os_monitor_free(e->monitor);
    dpg_free(e);
}

void dpg_engine_forget(dpg_engine *e)
{
    if (!e || (e->threaded && !e->played))
        return; /* its thread may have been in the middle of anything: nothing of it is touched */
    e->drivers.transport.forget(e->drivers.transport.self);
    free_memory(e);
}

/*
 * For how long a turn goes on, since somebody's lock is held; 0: it need not. Who waits for an answer of a store is not
 * counted: it is the host's turn then.
 */
static int64_t hold_left(const dpg_engine *e, int64_t now_ms)
{
    int64_t most = 0;

    for (const dpg_list *node = e->walking.next; node != &e->walking; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, walking);
        int64_t left = dpg_cred_is_locked(&c->cred) && !c->ask ? c->cred.hold_since + HOLD_MS - now_ms : 0;

        if (left > most) most = left;
    }
    return most;
}

int64_t dpg_engine_hold_until(const dpg_engine *e)
{
    int64_t until = 0;

    for (const dpg_list *node = e->walking.next; node != &e->walking; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, walking);

        if (c->store->hosted && dpg_cred_is_locked(&c->cred) && c->cred.hold_since + HOLD_MS > until)
            until = c->cred.hold_since + HOLD_MS;
    }
    return until;
}

/* Is something under way that a closed engine still has to bring to its end, with the host's help or without? */
bool dpg_engine_must_finish(const dpg_engine *e)
{
    bool hosted;

    dpg_engine_lock(e);
    hosted = e->hosted_end;
    dpg_engine_unlock(e);
    for (const dpg_list *node = e->walking.next; node != &e->walking; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, walking);

        if (dpg_cred_must_finish(&c->cred) && (hosted || !c->store->hosted)) return true;
    }
    return false;
}

void dpg_engine_cancel_now(dpg_engine *e, dpg_flow *f)
{
    bool begun;

    if (f->cancelled) return;
    dpg_engine_lock(e);
    begun = !dpg_list_linked(&f->inbox);
    dpg_list_remove(&f->inbox);
    dpg_engine_unlock(e);
    if (!begun) { /* it has to be, so that its end is told like any other's */
        dpg_list_push(&e->calls, &f->link);
        f->deadline_boot_ms = INT64_MAX;
    }
    dpg_flow_cancel(f);
}

static void cancel_all(dpg_engine *e)
{
    dpg_list *node;

    dpg_engine_lock(e);
    for (size_t i = 0; i < e->ids.cap; i++)
        if (e->ids.slots[i] && !e->ids.slots[i]->ended) e->ids.slots[i]->abandoned = true;
    while ((node = dpg_list_first(&e->inbox)) != NULL) {
        dpg_flow *f = DPG_LIST_ITEM(node, dpg_flow, inbox);

        dpg_list_remove(node);
        dpg_list_push(&e->calls, &f->link);
        f->deadline_boot_ms = INT64_MAX;
    }
    dpg_engine_unlock(e);
    /* ending one may end others, so look from the front each time */
    for (node = e->calls.next; node != &e->calls;) {
        dpg_flow *f = DPG_LIST_ITEM(node, dpg_flow, link);

        node = node->next;
        if (f->cancelled) continue;
        dpg_flow_cancel(f);
        node = e->calls.next;
    }
}

void dpg_engine_close(dpg_engine *e)
{
    dpg_engine_lock(e);
    e->closed = true;
    dpg_engine_unlock(e);
    e->winding_up = true;
    cancel_all(e);
}

void dpg_engine_wind_up(dpg_engine *e, int64_t grace_ms)
{
    int64_t until, before;
    int still = 0, most = e->drivers.virtual_time ? 16 : STILL_TURNS;

    dpg_engine_close(e);
    until = dpg_engine_now_ms(e) + grace_ms;
    /* an exchange that has left is finished, and its successor saved, as is what a sign-in brought: nothing else is waited for */
    while (dpg_engine_must_finish(e) && (before = dpg_engine_now_ms(e)) < until && still < most) {
        dpg_engine_turn(e, until - before, NULL);
        still = dpg_engine_now_ms(e) == before ? still + 1 : 0;
    }
}

bool dpg_engine_finish(dpg_engine *e, int64_t ms)
{
    int64_t until = dpg_engine_now_ms(e) + ms, before;
    int still = 0, most = e->drivers.virtual_time ? 1 : STILL_TURNS;

    if (!dpg_engine_is_mine(e)) return false;
    dpg_engine_lock(e);
    e->hosted_end = true;
    dpg_engine_unlock(e);
    if (e->threaded && !e->played) return dpg_engine_finish_thread(e, ms);
    if (!e->closed) dpg_engine_close(e);
    while (dpg_engine_must_finish(e) && !dpg_engine_has_news(e) && (before = dpg_engine_now_ms(e)) < until &&
           still < most) {
        dpg_engine_turn(e, until - before, NULL);
        still = dpg_engine_now_ms(e) == before ? still + 1 : 0;
    }
    return dpg_engine_must_finish(e);
}

void dpg_engine_free(dpg_engine *e, int64_t grace_ms)
{
    if (!e) return;
    if (!dpg_engine_is_mine(e)) {
        dpg_engine_forget(e);
        return;
    }
    dpg_engine_lock(e);
    e->hosted_end = false; /* from here on nobody answers */
    dpg_engine_unlock(e);
    if (e->threaded && !e->played) dpg_engine_end_thread(e, grace_ms);
    else dpg_engine_wind_up(e, grace_ms);
    e->drivers.transport.free(e->drivers.transport.self);
    free_memory(e);
}

/* --- turning ------------------------------------------------------------------------------------------------------------------ */

int64_t dpg_engine_due_ms(const dpg_engine *e)
{
    return e->timers.first ? e->timers.first->at_boot_ms : INT64_MAX;
}

/* One that nobody has, and that is doing nothing. Found under the lock, since hosts put theirs in the list at any time. */
static dpg_credential *find_unused(dpg_engine *e)
{
    dpg_credential *unused = NULL;

    dpg_engine_lock(e);
    for (dpg_list *node = e->credentials.next; node != &e->credentials && !unused; node = node->next) {
        dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (!c->refs && dpg_credential_is_idle(c)) unused = c;
    }
    dpg_engine_unlock(e);
    return unused;
}

static void free_unused(dpg_engine *e)
{
    dpg_credential *c;

    while ((c = find_unused(e)) != NULL) dpg_credential_free_unused(c); /* unless somebody has just taken it up again */
}

/* One thing that the host has asked for. False: there is none. */
static bool take_in_one(dpg_engine *e)
{
    dpg_list *command, *answer, *call, *waste;
    bool unused;

    dpg_engine_lock(e);
    unused = e->unused;
    e->unused = false;
    if ((command = dpg_list_first(&e->commands)) != NULL) dpg_list_remove(command);
    if ((waste = dpg_list_first(&e->waste)) != NULL) dpg_list_remove(waste);
    if ((answer = dpg_list_first(&e->answers)) != NULL) dpg_list_remove(answer);
    if ((call = command ? NULL : dpg_list_first(&e->inbox)) != NULL) dpg_list_remove(call);
    dpg_engine_unlock(e);

    if (command) dpg_engine_cancel_now(e, DPG_LIST_ITEM(command, dpg_flow, command));
    if (waste) dpg_flow_free(DPG_LIST_ITEM(waste, dpg_flow, command));
    if (answer) dpg_credential_store_answered(DPG_LIST_ITEM(answer, dpg_credential, answered));
    if (call) {
        dpg_flow *f = DPG_LIST_ITEM(call, dpg_flow, inbox);

        dpg_list_push(&e->calls, &f->link);
        dpg_flow_begin(f);
    }
    if (unused) free_unused(e);
    return command || waste || answer || call;
}

static void take_in(dpg_engine *e)
{
    while (take_in_one(e)) continue;
}

static void deliver(dpg_engine *e, dpg_response *response)
{
    dpg_flow *f;

    for (dpg_list *node = e->walking.next; node != &e->walking; node = node->next) {
        dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, walking);

        if (c->exchange_id != response->id) continue;
        dpg_credential_responded(c, response);
        return;
    }
    dpg_engine_lock(e);
    f = dpg_ids_find(&e->ids, response->id);
    if (f && f->ended) f = NULL;
    dpg_engine_unlock(e);
    if (f) dpg_flow_responded(f, response);
    else dpg_response_clear(response);
}

static void fire_timers(dpg_engine *e)
{
    int64_t now = dpg_engine_now_ms(e);
    dpg_timer *timer;

    while ((timer = e->timers.first) != NULL && timer->at_boot_ms <= now) {
        dpg_timer_set(&e->timers, timer, INT64_MAX);
        timer->fire(e, timer->owner);
    }
}

/* Bytes first, timers last: an answer that lay in the socket while nobody turned the engine is used, not timed out. */
dpg_status dpg_engine_turn(dpg_engine *e, int64_t timeout_ms, dpg_error *err)
{
    dpg_transport *t = &e->drivers.transport;
    dpg_response response;
    dpg_status status;
    int64_t left;

    take_in(e);
    left = dpg_engine_due_ms(e);
    if (left != INT64_MAX) {
        left -= dpg_engine_now_ms(e);
        if (left < timeout_ms) timeout_ms = left > 0 ? left : 0;
        /* the system's waits stand still in suspend, our clock does not: look again soon after */
        if (timeout_ms > SLEEP_MOST_MS) timeout_ms = SLEEP_MOST_MS;
    }
    if (e->again && timeout_ms > AGAIN_MS) timeout_ms = AGAIN_MS;
    e->again = false;
    dpg_engine_announce(e); /* what has just come to its end is not told only after a sleep */
    if (!dpg_engine_may_sleep(e)) timeout_ms = 0;
    /* what has come in was the last of it; after the line above, so that who gives it up from now on wakes us */
    if (e->winding_up && !dpg_engine_must_finish(e)) timeout_ms = 0;
    status = t->step(t->self, timeout_ms, err);
    dpg_engine_is_awake(e);
    while (t->next(t->self, &response)) deliver(e, &response);
    for (dpg_list *node = e->streams.next; node != &e->streams; node = node->next)
        dpg_flow_tell(DPG_LIST_ITEM(node, dpg_flow, stream));
    fire_timers(e);
    dpg_engine_announce(e);
    return status;
}

dpg_status dpg_engine_wait(dpg_engine *e, int64_t ms, dpg_error *err)
{
    int64_t begun = dpg_engine_now_ms(e), now = begun, before, left, hold;
    int still = 0, most = e->drivers.virtual_time ? 1 : STILL_TURNS;
    dpg_status status;

    if (!dpg_engine_is_mine(e)) return dpg_engine_closed(err);
    if (e->threaded) return dpg_engine_await(e, ms, err);
    if (e->closed) return dpg_engine_closed(err);
    do {
        take_in(e); /* first, since some may end at once: then there is nothing to wait for */
        hold = hold_left(e, now);
        left = hold ? hold : dpg_engine_has_news(e) ? 0 : ms - (now - begun);
        before = now;
        status = dpg_engine_turn(e, left > 0 ? left : 0, err);
        now = dpg_engine_now_ms(e);
        still = now == before ? still + 1 : 0;
        hold = hold_left(e, now);
    } while (status == DPG_OK && still < most && (hold || (!dpg_engine_has_news(e) && now - begun < ms)));
    return status;
}
