/*
 * A credential, performed: asks its store, sends its exchanges and tells its waiters, as the decider says. When, why and
 * what next is decided in credential.c.
 */
#include "engine_internal.h"
#include "headers.h"

#include <stdio.h>
#include <string.h>

#define STORE_TIMEOUT_MS 10000 /* one ask of a store that answers later, from when it was taken */
#define TIMERS 3               /* of each person */

/* --- references -------------------------------------------------------------------------------------------------------- */

dpg_credential *dpg_credential_ref(dpg_credential *c)
{
    if (c) c->refs++;
    return c;
}

/* Nobody has it, and nothing is under way: then its memory can go. */
static void destroy_unused(dpg_credential *c)
{
    if (c->refs > 0 || c->pumping) return;
    if (c->person && c->cred.state != DPG_CRED_IDLE && c->cred.state != DPG_CRED_PAUSED) return;
    if (c->person) {
        dpg_timer_set(&c->engine->timers, &c->timer, INT64_MAX);
        dpg_timer_set(&c->engine->timers, &c->exchange_timer, INT64_MAX);
        dpg_timer_set(&c->engine->timers, &c->ask_timer, INT64_MAX);
        for (int i = 0; i < TIMERS; i++) dpg_timers_release(&c->engine->timers);
    }
    dpg_credential_destroy(c);
}

void dpg_credential_free(dpg_credential *c)
{
    if (!c) return;
    c->refs--;
    destroy_unused(c);
}

void dpg_credential_destroy(dpg_credential *c)
{
    dpg_list_remove(&c->link);
    if (c->person) {
        dpg_cred_clear(&c->cred);
        dpg_store_free(c->store);
    }
    dpg_buf_clear(&c->exchange_url);
    dpg_buf_clear(&c->exchange_body);
    if (c->token) dpg_free_secret(c->token, strlen(c->token));
    dpg_free(c->base_url);
    dpg_free(c);
}

dpg_str dpg_credential_service_token(const dpg_credential *c)
{
    return dpg_cstr(c->token);
}

/* --- what the decider asks ------------------------------------------------------------------------------------------------ */

static void say(dpg_credential *c, const dpg_action *action)
{
    dpg_note note = {.type = DPG_NOTE_EVENT,
                     .event = action->event,
                     .credential = c->number,
                     .generation = action->generation,
                     .wait_ms = action->wait_ms};

    snprintf(note.code, sizeof note.code, "%s", action->code);
    snprintf(note.message, sizeof note.message, "%s", action->message);
    dpg_engine_say(c->engine, &note);
}

static void ask_store(dpg_credential *c, dpg_store_request *request)
{
    dpg_store_reply reply;
    dpg_moment now;

    memset(&reply, 0, sizeof reply);
    reply.error.retry_after_ms = -1;
    request->from = c;
    request->ask = c->ask = ++c->engine->last_ask;
    if (!c->store->ask(c->store, request, &reply)) { /* the answer comes later, under this number */
        dpg_engine_now(c->engine, &now);
        c->ask_taken = now.boot_ms;
        dpg_cred_store_asked(&c->cred, &now);
        dpg_timer_set(&c->engine->timers, &c->ask_timer, now.boot_ms + STORE_TIMEOUT_MS);
        return;
    }
    c->ask = 0;
    dpg_engine_now(c->engine, &now); /* after the disk has taken its time */
    dpg_cred_store_replied(&c->cred, &reply, &now);
}

void dpg_credential_answered(dpg_credential *c, dpg_store_reply *reply)
{
    dpg_moment now;

    c->ask = 0;
    dpg_timer_set(&c->engine->timers, &c->ask_timer, INT64_MAX);
    dpg_engine_now(c->engine, &now);
    dpg_cred_store_replied(&c->cred, reply, &now);
    dpg_credential_pump(c);
}

/* A store that never answers stalls nobody for ever. Only a host that takes no notes at all is waited for: it hears nothing anyway. */
static void store_timed_out(dpg_engine *e, void *owner)
{
    dpg_credential *c = owner;
    dpg_store_reply reply = {.outcome = DPG_STORE_FAILED, .unsure = true};
    int64_t now = dpg_engine_now_ms(e), until = (c->ask_waits ? now : c->ask_taken) + STORE_TIMEOUT_MS;

    if (until > now) {
        dpg_timer_set(&e->timers, &c->ask_timer, until);
        return;
    }
    dpg_fail(&reply.error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_no_answer", "the store gave no answer within %d s",
             STORE_TIMEOUT_MS / 1000);
    dpg_credential_answered(c, &reply);
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
    dpg_note note = {.type = DPG_NOTE_EVENT,
                     .event = event,
                     .credential = c->number,
                     .http_status = status,
                     .attempt = c->cred.tries};
    dpg_moment now;
    dpg_url url;

    if (!c->engine->events) return;
    dpg_engine_now(c->engine, &now);
    if (event == DPG_EVENT_RESPONSE) note.elapsed_ms = now.boot_ms - c->begun_boot_ms;
    snprintf(note.method, sizeof note.method, "POST");
    if (dpg_url_read(dpg_buf_str(&c->exchange_url), &url))
        snprintf(note.path, sizeof note.path, "%.*s", (int)(url.target.len < 159 ? url.target.len : 159),
                 url.target.ptr);
    snprintf(note.code, sizeof note.code, "%s", code);
    dpg_engine_say(c->engine, &note);
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
    c->exchange_id = ++c->engine->last_id;
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

static void exchange_timed_out(dpg_engine *e, void *owner)
{
    dpg_credential *c = owner;
    dpg_error err;
    dpg_sent sent = e->drivers.transport.abort(e->drivers.transport.self, c->exchange_id);

    dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_TIMEOUT, "timeout", "the token endpoint gave no answer within %d s",
             DPG_EXCHANGE_MS / 1000);
    say_exchange(c, DPG_EVENT_RESPONSE, 0, err.code);
    exchange_failed(c, sent, &err);
}

static void decider_timer(dpg_engine *e, void *owner)
{
    dpg_credential *c = owner;
    dpg_moment now;

    dpg_engine_now(e, &now);
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
        moved = true;
        if (action.type == DPG_ACT_STORE) ask_store(c, &action.store);
        else if (action.type == DPG_ACT_EXCHANGE) send_exchange(c, &action);
        else say(c, &action);
    }
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
    destroy_unused(c);
}

/* --- making them ---------------------------------------------------------------------------------------------------------------- */

/* The base URL, checked and copied. */
static dpg_status new_credential(dpg_engine *engine, dpg_str base_url, dpg_credential **out, dpg_error *err)
{
    dpg_credential *c;
    dpg_url url;

    if (!dpg_engine_is_mine(engine) || engine->closed)
        return dpg_fail(err, DPG_E_CLOSED, DPG_KIND_USAGE, "engine_closed",
                        "this engine is closed, or belongs to another process");
    if (!dpg_url_read(base_url, &url) || (base_url.len && base_url.ptr[base_url.len - 1] == '/'))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "base_url",
                        "base_url must be an absolute http(s) URL without a slash at its end, such as https://host/v1");
    if (!url.https && !url.loopback)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "insecure_url",
                        "base_url is plain http to another machine: tokens go over https only (http is for 127.0.0.1)");
    c = dpg_calloc(1, sizeof *c);
    if (!c || !(c->base_url = dpg_strndup(base_url))) {
        dpg_free(c);
        return dpg_fail_nomem(err);
    }
    c->refs = 1;
    c->engine = engine;
    c->number = ++engine->last_credential;
    memcpy(c->origin, url.origin, sizeof c->origin);
    dpg_buf_init(&c->exchange_url, 8192);
    dpg_buf_init_secret(&c->exchange_body, 256 * 1024);
    *out = c;
    return DPG_OK;
}

dpg_status dpg_credential_service(dpg_engine *engine, dpg_str base_url, dpg_str token, dpg_credential **out,
                                  dpg_error *err)
{
    dpg_credential *c;
    dpg_status status;

    if (!dpg_wire_token_ok(token))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "token",
                        "the service token is not one: expected 1 to 16384 visible ASCII characters, without blanks");
    if ((status = new_credential(engine, base_url, &c, err)) != DPG_OK) return status;
    if (!(c->token = dpg_strndup(token))) {
        dpg_credential_destroy(c);
        return dpg_fail_nomem(err);
    }
    dpg_list_push(&engine->credentials, &c->link);
    *out = c;
    return DPG_OK;
}

static dpg_credential *find_person(dpg_engine *engine, dpg_str base_url, const dpg_store *store)
{
    for (dpg_list *node = engine->credentials.next; node != &engine->credentials; node = node->next) {
        dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (c->person && dpg_str_eq(dpg_cstr(c->base_url), base_url) &&
            strcmp(c->store->identity, store->identity) == 0)
            return c;
    }
    return NULL;
}

dpg_status dpg_credential_person(dpg_engine *engine, dpg_str base_url, dpg_store *store,
                                 const dpg_person_options *options, dpg_credential **out, dpg_error *err)
{
    dpg_credential *c = find_person(engine, base_url, store);
    dpg_status status;
    int reserved = 0;

    if (c) {
        *out = dpg_credential_ref(c);
        return DPG_OK;
    }
    if ((status = new_credential(engine, base_url, &c, err)) != DPG_OK) return status;
    while (reserved < TIMERS && dpg_timers_reserve(&engine->timers)) reserved++;
    if (reserved < TIMERS || !dpg_wire_exchange_url(base_url, &c->exchange_url) ||
        !dpg_cred_init(&c->cred, dpg_cstr(c->origin), options && options->no_replay)) {
        while (reserved-- > 0) dpg_timers_release(&engine->timers);
        dpg_credential_destroy(c);
        return dpg_fail_nomem(err);
    }
    c->person = true;
    c->store = dpg_store_ref(store);
    if (store->lease) c->cred.lease_ms = DPG_LEASE_MS;
    c->timer.at_boot_ms = c->exchange_timer.at_boot_ms = c->ask_timer.at_boot_ms = INT64_MAX;
    c->timer.owner = c->exchange_timer.owner = c->ask_timer.owner = c;
    c->timer.fire = decider_timer;
    c->ask_timer.fire = store_timed_out;
    c->exchange_timer.fire = exchange_timed_out;
    dpg_list_push(&engine->credentials, &c->link);
    *out = c;
    return DPG_OK;
}

dpg_credential_info dpg_credential_get_info(const dpg_credential *c)
{
    dpg_credential_info info = {.state = "ready", .reason = "", .accounts_json = "", .person_json = ""};
    const dpg_cred *cred = &c->cred;

    info.number = c->number;
    info.person = c->person;
    if (!c->person) return info;
    if (cred->state != DPG_CRED_IDLE) info.state = dpg_cred_state_name(cred->state);
    else if (!dpg_cred_has_session(cred)) info.state = cred->reason[0] ? "sign_in" : "empty";
    info.reason = cred->reason;
    info.generation = cred->record.generation;
    info.rotations = cred->rotations;
    if (cred->record.accounts) info.accounts_json = cred->record.accounts;
    if (cred->record.person) info.person_json = cred->record.person;
    return info;
}
