/*
 * A credential, performed: asks its store, sends its exchanges and tells its waiters, as the decider says. When, why and
 * what next is decided in credential.c.
 */
#include "engine_internal.h"
#include "headers.h"

#include <string.h>

#define STORE_TIMEOUT_MS 10000 /* one ask of a store that answers later, from when it was taken */

/* --- what the decider asks ------------------------------------------------------------------------------------------------ */

static void say(dpg_credential *c, const dpg_action *action)
{
    dpg_note *note = dpg_engine_event(c->engine, action->event);

    if (!note) return;
    note->credential = c->number;
    note->generation = action->generation;
    note->wait_ms = action->wait_ms;
    dpg_str_copy(note->code, sizeof note->code, dpg_cstr(action->code));
    dpg_str_copy(note->message, sizeof note->message, dpg_cstr(action->message));
    dpg_engine_say(c->engine, note);
}

static void wait_for(dpg_credential *c, uint64_t ask) /* before it is asked: the host may answer at once */
{
    dpg_engine_lock(c->engine);
    c->ask = ask;
    c->ask_taken = dpg_engine_now_ms(c->engine);
    dpg_engine_unlock(c->engine);
}

static void ask_store(dpg_credential *c, dpg_store_request *request)
{
    dpg_store_reply reply;
    dpg_moment now;

    memset(&reply, 0, sizeof reply);
    reply.error.retry_after_ms = -1;
    request->from = c;
    request->ask = ++c->engine->last_ask;
    wait_for(c, request->ask);
    dpg_engine_announce(c->engine);                  /* a disk may take its time */
    if (!dpg_store_ask(c->store, request, &reply)) { /* the answer comes later, under this number */
        dpg_engine_now(c->engine, &now);
        dpg_cred_store_asked(&c->cred, &now);
        dpg_timer_set(&c->engine->timers, &c->ask_timer, now.boot_ms + STORE_TIMEOUT_MS);
        return;
    }
    wait_for(c, 0);
    c->moved = true;
    dpg_engine_now(c->engine, &now); /* after the disk has taken its time */
    dpg_cred_store_replied(&c->cred, &reply, &now);
}

void dpg_engine_store_answer(dpg_engine *e, uint64_t ask, dpg_store_reply *reply)
{
    dpg_credential *c = NULL;

    if (dpg_engine_is_mine(e) && ask) {
        dpg_engine_lock(e);
        for (dpg_list *node = e->credentials.next; node != &e->credentials && !c; node = node->next)
            if (DPG_LIST_ITEM(node, dpg_credential, link)->ask == ask) c = DPG_LIST_ITEM(node, dpg_credential, link);
        if (c) {
            c->ask = 0;
            c->reply = *reply;
            if (e->threaded) dpg_list_push(&e->answers, &c->answered);
        }
        dpg_engine_unlock_and_wake(e);
    }
    if (!c) dpg_buf_clear(&reply->bytes);
    else if (!e->threaded) dpg_credential_store_answered(c);
}

/* It waits for nothing else, so nobody touches its reply meanwhile. */
void dpg_credential_store_answered(dpg_credential *c)
{
    dpg_moment now;

    dpg_timer_set(&c->engine->timers, &c->ask_timer, INT64_MAX);
    dpg_engine_now(c->engine, &now);
    c->moved = true;
    dpg_cred_store_replied(&c->cred, &c->reply, &now); /* which takes it */
    dpg_credential_pump(c);
}

/* A store that never answers stalls nobody for ever. Only a host that takes no notes is waited for: it hears nothing anyway. */
void dpg_credential_store_late(dpg_engine *e, void *credential)
{
    dpg_credential *c = credential;
    int64_t now = dpg_engine_now_ms(e), until;

    dpg_engine_lock(e);
    until = (c->ask_waits ? now : c->ask_taken) + STORE_TIMEOUT_MS;
    if (until <= now && c->ask) c->ask = 0;   /* what comes now is dropped */
    else if (until <= now) until = INT64_MAX; /* it has just been answered */
    dpg_engine_unlock(e);
    if (until > now) {
        dpg_timer_set(&e->timers, &c->ask_timer, until);
        return;
    }
    memset(&c->reply, 0, sizeof c->reply);
    c->reply.outcome = DPG_STORE_FAILED;
    c->reply.unsure = true;
    dpg_fail(&c->reply.error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_no_answer",
             "the store gave no answer within %d s: is what keeps it (a disk, a server) up and reachable?",
             STORE_TIMEOUT_MS / 1000);
    dpg_credential_store_answered(c);
}

static void exchange_ended(dpg_credential *c, dpg_exchange *x)
{
    dpg_moment now;

    dpg_timer_set(&c->engine->timers, &c->exchange_timer, INT64_MAX);
    c->exchange_id = 0;
    dpg_buf_clear(&c->exchange_body);
    x->begun_boot_ms = c->begun_boot_ms;
    x->begun_unix_ms = c->begun_unix_ms;
    dpg_engine_now(c->engine, &now);
    c->moved = true;
    dpg_cred_exchanged(&c->cred, x, &now);
    dpg_credential_pump(c);
}

/* No answer. `sent` tells whether that is harmless. */
static void exchange_failed(dpg_credential *c, dpg_sent sent, const dpg_error *err)
{
    dpg_exchange x = {.verdict = sent == DPG_SENT_NOT ? DPG_VERDICT_UNSENT : DPG_VERDICT_IN_DOUBT,
                      .retry_after_ms = -1};

    x.error = *err;
    exchange_ended(c, &x);
}

static void say_exchange(dpg_credential *c, dpg_event event, int status, const char *code)
{
    dpg_note *note = dpg_engine_event(c->engine, event);
    dpg_url url;

    if (!note) return;
    note->credential = c->number;
    note->http_status = status;
    note->attempt = c->cred.tries;
    if (event == DPG_EVENT_RESPONSE) note->elapsed_ms = dpg_engine_now_ms(c->engine) - c->begun_boot_ms;
    dpg_str_copy(note->method, sizeof note->method, DPG_LIT("POST"));
    if (dpg_url_read(dpg_buf_str(&c->exchange_url), &url)) dpg_str_copy(note->path, sizeof note->path, url.target);
    dpg_str_copy(note->code, sizeof note->code, dpg_cstr(code));
    dpg_engine_say(c->engine, note);
}

static void send_exchange(dpg_credential *c, const dpg_action *action)
{
    dpg_header headers[] = {{DPG_LIT("Content-Type"), DPG_LIT("application/json")},
                            {DPG_LIT("Accept"), DPG_LIT("application/json")}};
    dpg_transport *t = &c->engine->drivers.transport;
    dpg_request request = {.method = DPG_LIT("POST"),
                           .headers = headers,
                           .header_count = 2,
                           .has_body = true,
                           .once = true,
                           .leave_by_boot_ms = action->leave_by_boot_ms,
                           .max_response_bytes = (size_t)1 << 20};
    dpg_error err = DPG_ERROR_INIT;
    dpg_status status = DPG_E_NOMEM;
    dpg_moment now;

    dpg_engine_now(c->engine, &now);
    c->begun_boot_ms = now.boot_ms; /* a token's life counts from before the request for it */
    c->begun_unix_ms = now.unix_ms;
    dpg_engine_lock(c->engine);
    c->exchange_id = ++c->engine->last_id;
    dpg_engine_unlock(c->engine);
    dpg_buf_clear(&c->exchange_body);
    say_exchange(c, DPG_EVENT_START, 0, "");
    if (dpg_wire_exchange_body(action->refresh_token, action->account, &c->exchange_body)) {
        request.url = dpg_buf_str(&c->exchange_url);
        request.body = dpg_buf_str(&c->exchange_body);
        status = t->start(t->self, c->exchange_id, &request, &err);
    } else {
        dpg_fail_nomem(&err);
    }
    if (status == DPG_OK) dpg_timer_set(&c->engine->timers, &c->exchange_timer, now.boot_ms + DPG_EXCHANGE_MS);
    else exchange_failed(c, DPG_SENT_NOT, &err);
}

void dpg_credential_responded(dpg_credential *c, dpg_response *response)
{
    dpg_exchange x;
    dpg_moment now;

    if (response->error.kind != DPG_KIND_NONE) {
        dpg_error err = response->error;
        dpg_sent sent = response->sent;

        dpg_response_clear(response);
        say_exchange(c, DPG_EVENT_RESPONSE, 0, err.code);
        exchange_failed(c, sent, &err);
        return;
    }
    say_exchange(c, DPG_EVENT_RESPONSE, response->status, "");
    dpg_engine_now(c->engine, &now);
    for (int i = 0;; i++) { /* the answer is here; a moment without memory must not lose it */
        memset(&x, 0, sizeof x);
        x.error.retry_after_ms = -1;
        if (dpg_wire_read_exchange(response->status, response->headers, response->header_count,
                                   dpg_buf_str(&response->body), now.unix_ms, &x) == DPG_OK)
            break;
        if (i == 3) {
            x.verdict = DPG_VERDICT_IN_DOUBT;
            dpg_fail_nomem(&x.error);
            break;
        }
    }
    dpg_response_clear(response);
    exchange_ended(c, &x);
}

void dpg_credential_exchange_late(dpg_engine *e, void *owner)
{
    dpg_credential *c = owner;
    dpg_error err;
    dpg_sent sent = e->drivers.transport.abort(e->drivers.transport.self, c->exchange_id);

    dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_TIMEOUT, "timeout", "the token endpoint gave no answer within %d s",
             DPG_EXCHANGE_MS / 1000);
    say_exchange(c, DPG_EVENT_RESPONSE, 0, err.code);
    exchange_failed(c, sent, &err);
}

void dpg_credential_due(dpg_engine *e, void *owner)
{
    dpg_credential *c = owner;
    dpg_moment now;

    dpg_engine_now(e, &now);
    c->moved = true;
    dpg_cred_timer(&c->cred, &now);
    dpg_credential_pump(c);
}

/* --- the pump ---------------------------------------------------------------------------------------------------------------- */

/* One round: what is to be done, and whom to tell. True when something moved. */
static bool pump_once(dpg_credential *c)
{
    dpg_action action;
    dpg_list *node;
    bool moved = false;

    while (dpg_cred_next(&c->cred, &action)) {
        moved = c->moved = true;
        if (action.type == DPG_ACT_STORE) ask_store(c, &action.store);
        else if (action.type == DPG_ACT_EXCHANGE) send_exchange(c, &action);
        else say(c, &action);
    }
    dpg_credential_show(c); /* before anybody hears that it is so */
    while ((node = dpg_list_first(&c->cred.settled)) != NULL) {
        dpg_list_remove(node);
        dpg_flow_waiter_settled(DPG_LIST_ITEM(node, dpg_flow, as.waiter.link));
        moved = true;
    }
    while ((node = dpg_list_first(&c->cred.settled_jobs)) != NULL) {
        dpg_list_remove(node);
        dpg_flow_job_settled(DPG_LIST_ITEM(node, dpg_flow, as.job.link));
        moved = true;
    }
    return moved;
}

static void mind(dpg_credential *c) /* whoever is on a walk is looked after by the engine */
{
    bool walks = c->cred.state != DPG_CRED_IDLE && c->cred.state != DPG_CRED_PAUSED;

    if (!walks) dpg_list_remove(&c->walking);
    else if (!dpg_list_linked(&c->walking)) dpg_list_push(&c->engine->walking, &c->walking);
}

void dpg_credential_pump(dpg_credential *c)
{
    if (c->pumping) { /* whoever pumps already sees what has just been asked */
        c->pump_again = true;
        return;
    }
    c->pumping = true;
    do {
        c->pump_again = false;
    } while (pump_once(c) || c->pump_again);
    c->pumping = false;
    dpg_timer_set(&c->engine->timers, &c->timer, c->cred.timer_boot_ms);
    mind(c);
    dpg_credential_free_unused(c);
}
