/*
 * One call, performed: does what the call decider asks for, with the engine's gates, queue, timers and transport, and
 * puts the end of it in the outbox. Who is sent when, and whether again, is decided in call.c.
 */
#include "engine_internal.h"
#include "headers.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void run(dpg_flow *f, dpg_call_step step);
static void deadline(dpg_flow *f);

/* --- events ------------------------------------------------------------------------------------------------------------ */

static void say(dpg_flow *f, dpg_event event, int64_t wait_ms, const char *code)
{
    dpg_note *note = dpg_engine_event(f->engine, event);

    if (!note) return;
    note->id = f->id;
    note->attempt = f->call.attempt;
    note->wait_ms = wait_ms;
    if (f->credential) note->credential = f->credential->number;
    if (event == DPG_EVENT_RESPONSE || event == DPG_EVENT_RETRY) {
        note->http_status = f->response.status;
        note->elapsed_ms = dpg_engine_now_ms(f->engine) - f->sent_boot_ms;
    }
    dpg_str_copy(note->code, sizeof note->code, dpg_cstr(code));
    dpg_str_copy(note->method, sizeof note->method, f->method);
    dpg_str_copy(note->path, sizeof note->path, f->path);
    dpg_engine_say(f->engine, note);
}

/* --- the end -------------------------------------------------------------------------------------------------------------- */

static void arm(dpg_flow *f)
{
    int64_t wake = f->type == DPG_FLOW_CALL || f->type == DPG_FLOW_SIGN_IN ? f->call.wake_boot_ms : INT64_MAX;
    /* what has left this machine as a sign-in, and was answered, is saved whatever the deadline says */
    int64_t deadline = f->type == DPG_FLOW_ADOPTING ? INT64_MAX : f->deadline_boot_ms;

    dpg_timer_set(&f->engine->timers, &f->timer, wake < deadline ? wake : deadline);
}

static void let_go(dpg_flow *f) /* of everything that others count */
{
    dpg_list_remove(&f->link);
    dpg_list_remove(&f->queue);
    dpg_list_remove(&f->stream);
    dpg_timer_set(&f->engine->timers, &f->timer, INT64_MAX);
    if (f->named_gate) f->named_gate->users--;
    f->named_gate = NULL;
    dpg_credential_let_go(f->credential);
    f->credential = NULL;
}

/* The call has ended, once and for all, with f->response or f->error. From here on it is the host's, who may free it. */
static void complete(dpg_flow *f)
{
    dpg_engine *e = f->engine;
    bool abandoned;

    assert(!f->ended && !f->transferring);
    let_go(f);
    dpg_engine_lock(e);
    f->ended = true;
    f->shown = f->progress;
    e->live--;
    dpg_list_remove(&f->command);
    dpg_out_drop_locked(e, &f->want);
    dpg_out_drop_locked(e, &f->data);
    abandoned = f->abandoned;
    if (abandoned) {
        dpg_ids_remove(&e->ids, f->id);
    } else {
        if (f->chunks.bytes)
            dpg_out_put_locked(e, &f->data, DPG_NOTE_DATA, f); /* whoever waits for them waits no more */
        dpg_out_put_locked(e, &f->out, DPG_NOTE_DONE, f);
        e->untaken++;
    }
    dpg_engine_unlock(e);
    if (abandoned) dpg_flow_free(f);
}

static void complete_with_error(dpg_flow *f, const dpg_error *err)
{
    f->error = *err;
    if (f->sink.type == DPG_SINK_MEMORY) { /* else its head, if that was a good one, says what has come in part */
        dpg_response_clear(&f->response);
    }
    complete(f);
}

static const char *doing(const dpg_flow *f)
{
    switch (f->type) {
    case DPG_FLOW_LOAD: return "while the session was being read from its store";
    case DPG_FLOW_FORGET: return "while the session was being taken out of its store";
    case DPG_FLOW_PROVING: return "while the store was being tried, and before anything was sent";
    default: break;
    }
    switch (f->call.state) {
    case DPG_CALL_AUTHORIZING: return "while its credential was being refreshed";
    case DPG_CALL_GATED: return "while it waited for a rate limit to pass";
    case DPG_CALL_QUEUED: return "while it waited for a connection";
    case DPG_CALL_SENDING: return "while it was on its way";
    case DPG_CALL_BACKING_OFF: return "while it waited to be sent again";
    default: return "before it was begun";
    }
}

static void finish(dpg_flow *f)
{
    dpg_error err = DPG_ERROR_INIT;

    switch (f->call.ending) {
    case DPG_END_ANSWER: complete(f); return;
    case DPG_END_ERROR: err = f->response.error; break;
    case DPG_END_NO_BEARER: err = f->as.waiter.error; break;
    case DPG_END_GATED:
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_API, "rate_limited",
                 "rate limited: the server asked to wait %lld s, which is longer than this call may take: "
                 "call again then, or give it a longer deadline",
                 (long long)((f->call.retry_after_ms + 999) / 1000));
        err.http_status = 429;
        err.retry_after_ms = f->call.retry_after_ms;
        break;
    case DPG_END_DEADLINE:
    case DPG_END_CANCELLED: err = f->error; break;
    }
    complete_with_error(f, &err);
}

/* End it from outside: whatever it is in the middle of is undone first. */
static void stop(dpg_flow *f, dpg_ending why, const dpg_error *err)
{
    dpg_engine *e = f->engine;
    bool used_up;

    f->error = *err;
    if (f->transferring) {
        if (dpg_flow_abort(f, &used_up) != DPG_SENT_NOT) f->call.sent++;
        f->transferring = false;
        f->engine->transfers--;
    }
    dpg_list_remove(&f->queue);
    if (f->type == DPG_FLOW_CALL && f->credential && f->credential->person) {
        dpg_cred_leave(&f->credential->cred, &f->as.waiter);
        dpg_credential_pump(f->credential);
    }
    run(f, dpg_call_stop(&f->call, why)); /* an abandoned one is gone afterwards */
    dpg_queue_pump(e);
}

/* A job can be left while it waits; once it is being done, its end comes soon, and is the end. */
static void stop_job(dpg_flow *f, const dpg_error *err)
{
    if (f->type == DPG_FLOW_ADOPTING) return;
    if (dpg_cred_leave_job(&f->credential->cred, &f->as.job)) {
        dpg_credential_pump(f->credential);
        complete_with_error(f, err);
    } else if (f->type == DPG_FLOW_PROVING && !f->stopped) { /* but what was to follow does not */
        f->stopped = true;
        f->error = *err;
    }
}

static void stop_any(dpg_flow *f, dpg_ending why, const dpg_error *err)
{
    if (f->type == DPG_FLOW_CALL || f->type == DPG_FLOW_SIGN_IN) stop(f, why, err);
    else if (f->type == DPG_FLOW_TIMER) complete_with_error(f, err);
    else stop_job(f, err);
}

void dpg_flow_cancel(dpg_flow *f)
{
    dpg_error err;

    dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_CANCELLED, "cancelled", "the call was cancelled");
    f->cancelled = true;
    if (!f->ended) stop_any(f, DPG_END_CANCELLED, &err);
}

/* --- sign-in ---------------------------------------------------------------------------------------------------------------- */

static void start_job(dpg_flow *f, dpg_flow_type type, dpg_job_type job)
{
    dpg_moment now;

    dpg_engine_now(f->engine, &now);
    f->type = type;
    memset(&f->as.job, 0, sizeof f->as.job);
    f->as.job.type = job;
    f->as.job.signed_in = &f->signed_in;
    arm(f);
    dpg_cred_start_job(&f->credential->cred, &f->as.job, &now);
    dpg_credential_pump(f->credential);
}

/* An answer to sign_in or mfa: tokens go to the store, never to the caller. */
static void signed_in(dpg_flow *f)
{
    dpg_error err;

    for (int i = 0; i < 3; i++) { /* the answer is here; a moment without memory must not lose it */
        switch (dpg_wire_read_sign_in(dpg_buf_str(&f->response.body), &f->signed_in)) {
        case DPG_SIGN_IN_DONE: start_job(f, DPG_FLOW_ADOPTING, DPG_JOB_ADOPT); return;
        case DPG_SIGN_IN_MFA: complete(f); return;
        case DPG_SIGN_IN_UNREADABLE:
            dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "unreadable_answer",
                     "sign-in was answered %d with neither a refresh_token nor an mfa_token", f->response.status);
            err.http_status = f->response.status;
            complete_with_error(f, &err);
            return;
        case DPG_SIGN_IN_NOMEM: break;
        }
    }
    dpg_fail_nomem(&err);
    complete_with_error(f, &err);
}

void dpg_flow_job_settled(dpg_flow *f)
{
    if (!f->as.job.done) {
        dpg_error err = f->as.job.error;

        complete_with_error(f, &err);
    } else if (f->stopped) {
        dpg_error err = f->error;

        complete_with_error(f, &err);
    } else if (f->type == DPG_FLOW_PROVING) {
        f->type = DPG_FLOW_SIGN_IN;
        run(f, dpg_call_begin(&f->call));
    } else {
        dpg_buf_clear(&f->response.body); /* of a sign-in: its tokens stay here */
        complete(f);
    }
}

/* --- an attempt ---------------------------------------------------------------------------------------------------------------- */

static bool bears_token(const dpg_flow *f)
{
    return f->type == DPG_FLOW_CALL && f->credential;
}

/* The person's token that this call was authorized with, if it still stands. Of any other call all is as it was. */
static bool bearer(dpg_flow *f, dpg_str *token)
{
    dpg_moment now;
    uint64_t serial = 0;
    bool lives = false;

    *token = dpg_str_of("", 0);
    if (!bears_token(f) || !f->credential->person) return true;
    dpg_engine_time(f->engine, &now);
    *token = dpg_cred_bearer(&f->credential->cred, f->account, &now, &serial, &lives);
    if (!token->len || serial == f->call.rejected) return false;
    f->call.serial = serial;
    return lives || now.boot_ms - f->authorized_boot_ms < 1000; /* just got, however short it lives */
}

/* Our own bearer in the last header. False without memory. */
static bool put_authorization(dpg_flow *f, dpg_request *request)
{
    dpg_str token;

    if (!bears_token(f)) return true;
    f->headers[f->header_count].name = DPG_LIT("Authorization");
    f->headers[f->header_count].value = f->credential->bearer;
    request->header_count = f->header_count + 1;
    if (!f->credential->person) return true;
    bearer(f, &token);
    if (!token.len) request->header_count--;
    dpg_buf_clear(&f->authorization);
    dpg_buf_puts(&f->authorization, "Bearer ");
    dpg_buf_put_str(&f->authorization, token);
    f->headers[f->header_count].value = dpg_buf_str(&f->authorization);
    return !f->authorization.failed;
}

static dpg_call_step ended(dpg_flow *f, dpg_outcome *outcome)
{
    int64_t now = dpg_engine_now_ms(f->engine), slot;
    bool good = outcome->status >= 200 && outcome->status < 400; /* and so final: nobody draws lots about it */
    dpg_retry retry;
    dpg_call_step step;

    f->transferring = false;
    f->engine->transfers--;
    if (outcome->sent != DPG_SENT_NOT) f->engine->sent++;
    say(f, DPG_EVENT_RESPONSE, 0, outcome->status ? "" : f->response.error.code);
    if (outcome->status >= 200 && outcome->status < 500 && outcome->status != 429)
        dpg_budget_regain(&f->origin->budget);
    step = dpg_call_ended(&f->call, outcome, &f->origin->budget, now, good ? 0 : dpg_engine_random(f->engine), &retry);
    if (retry.rate_limited) {
        if (dpg_gate_close(f->gate, now, retry.wait_ms)) say(f, DPG_EVENT_GATE_CLOSED, retry.wait_ms, "rate_limited");
        if (step == DPG_STEP_WAIT) { /* it leaves staggered, like everybody behind this gate */
            slot = dpg_gate_pass(f->gate, now);
            if (slot > f->call.wake_boot_ms && slot < f->call.policy.deadline_boot_ms) f->call.wake_boot_ms = slot;
        }
    }
    if (step != DPG_STEP_FINISH) dpg_flow_lose_head(f);
    if (step == DPG_STEP_WAIT) {
        f->engine->retries++;
        say(f, DPG_EVENT_RETRY, f->call.wake_boot_ms - now, outcome->status ? "" : f->response.error.code);
    }
    return step;
}

static dpg_call_step send(dpg_flow *f)
{
    dpg_transport *t = &f->engine->drivers.transport;
    dpg_request request = {.method = f->method,
                           .url = f->url,
                           .is_read = true,
                           .https = f->https,
                           .loopback = f->loopback,
                           .headers = f->headers,
                           .header_count = f->header_count,
                           .body = f->body,
                           .has_body = f->has_body,
                           .parts = f->parts,
                           .part_count = f->part_count,
                           .fed = f->fed.bytes ? &f->fed : NULL,
                           .sink = f->sink.type == DPG_SINK_MEMORY ? NULL : &f->sink,
                           .chunks = f->chunks.bytes ? &f->chunks : NULL,
                           .once = f->call.policy.repeat != DPG_REPEAT_ALWAYS,
                           .max_response_bytes = f->max_response_bytes};
    dpg_outcome outcome = {.kind = DPG_KIND_NETWORK, .sent = DPG_SENT_NOT, .retry_after_ms = -1};
    dpg_status status = DPG_E_NOMEM;

    f->sent_boot_ms = dpg_engine_now_ms(f->engine);
    dpg_response_clear(&f->response);
    f->progress = (dpg_progress){0, -1, 0, -1};
    f->head_made = f->head_told = false;
    f->transferring = true;
    f->engine->transfers++;
    say(f, DPG_EVENT_START, 0, "");
    f->origin->met |= !request.once;
    if (put_authorization(f, &request)) status = t->start(t->self, f->id, &request, &f->response.error);
    if (status == DPG_OK) {
        arm(f);
        return DPG_STEP_SEND; /* on its way: nothing more to do until it ends */
    }
    if (f->response.error.kind == DPG_KIND_NONE) dpg_fail_nomem(&f->response.error);
    outcome.kind = f->response.error.kind;
    return ended(f, &outcome);
}

void dpg_flow_responded(dpg_flow *f, dpg_response *response)
{
    dpg_engine *e = f->engine;
    const dpg_clock *clock = &e->drivers.clock;
    dpg_outcome outcome = {.used_up = response->used_up};

    if (!f->transferring) {
        dpg_response_clear(response);
        return;
    }
    dpg_response_clear(&f->response);
    f->response = *response;
    f->progress = response->progress;
    outcome.kind = response->error.kind;
    outcome.status = outcome.kind == DPG_KIND_NONE ? response->status : 0;
    outcome.sent = response->sent;
    outcome.retry_after_ms =
        outcome.status ? dpg_headers_retry_after(response->headers, response->header_count, clock->unix_ms(clock->self))
                       : -1;
    run(f, ended(f, &outcome));
    dpg_queue_pump(e);
}

/* --- waiting ---------------------------------------------------------------------------------------------------------------------- */

/* While a token is on its way to the first call to this origin, so is the connection that the call will use. */
static void warm(dpg_flow *f)
{
    const dpg_transport *t = &f->engine->drivers.transport;
    dpg_str token;

    if (f->origin->met || !t->warm || f->call.policy.repeat != DPG_REPEAT_ALWAYS || bearer(f, &token)) return;
    f->origin->met = true;
    t->warm(t->self, f->url);
}

static void authorize(dpg_flow *f)
{
    dpg_credential *c = f->credential;
    dpg_moment now;

    dpg_engine_now(f->engine, &now);
    memset(&f->as.waiter, 0, sizeof f->as.waiter);
    f->as.waiter.account = f->account;
    f->as.waiter.rejected = f->call.rejected;
    f->as.waiter.deadline_boot_ms = f->deadline_boot_ms;
    arm(f);
    warm(f);
    c->cred.background = f->engine->threaded;
    dpg_cred_want(&c->cred, &f->as.waiter, &now);
    dpg_credential_pump(c);
}

void dpg_flow_waiter_settled(dpg_flow *f)
{
    f->authorized_boot_ms = dpg_engine_now_ms(f->engine);
    if (f->as.waiter.verdict == DPG_BEARER) run(f, dpg_call_authorized(&f->call, f->as.waiter.serial));
    else run(f, dpg_call_not_authorized(&f->call, f->as.waiter.verdict == DPG_STANDS));
}

static dpg_call_step at_gate(dpg_flow *f)
{
    int64_t now = dpg_engine_now_ms(f->engine), opens = dpg_gate_pass(f->gate, now);

    if (!opens && f->gate->closed) {
        f->gate->closed = false;
        say(f, DPG_EVENT_GATE_OPEN, 0, "");
    }
    return dpg_call_at_gate(&f->call, opens, now);
}

void dpg_queue_pump(dpg_engine *e)
{
    dpg_list *node;

    if (e->pumping_queue || e->winding_up) return;
    e->pumping_queue = true;
    while (e->transfers < e->max_connections && (node = dpg_list_first(&e->queue)) != NULL) {
        dpg_flow *f = DPG_LIST_ITEM(node, dpg_flow, queue);
        dpg_call_step step;
        dpg_str token;

        dpg_list_remove(node);
        if (dpg_engine_now_ms(e) >=
            f->deadline_boot_ms) { /* nobody turned the engine for long: what is late does not leave */
            deadline(f);
            continue;
        }
        step = at_gate(f); /* it may have closed while this one stood in the queue */
        if (step == DPG_STEP_QUEUE) step = dpg_call_connected(&f->call, dpg_engine_now_ms(e), bearer(f, &token));
        run(f, step);
    }
    e->pumping_queue = false;
}

/* Do what the decider asks, until there is something to wait for. `f` may be gone afterwards. */
static void run(dpg_flow *f, dpg_call_step step)
{
    for (;;) {
        switch (step) {
        case DPG_STEP_AUTHORIZE:
            if (f->credential && f->credential->person && f->type == DPG_FLOW_CALL) {
                authorize(f);
                return;
            }
            step = dpg_call_authorized(&f->call, 0);
            break;
        case DPG_STEP_GATE: step = at_gate(f); break;
        case DPG_STEP_QUEUE:
            arm(f);
            dpg_list_push(&f->engine->queue, &f->queue);
            dpg_queue_pump(f->engine);
            return;
        case DPG_STEP_SEND:
            step = send(f);
            if (step == DPG_STEP_SEND) return;
            break;
        case DPG_STEP_WAIT: arm(f); return;
        case DPG_STEP_FINISH:
            if (f->type == DPG_FLOW_SIGN_IN && f->call.ending == DPG_END_ANSWER && f->response.status >= 200 &&
                f->response.status < 300)
                signed_in(f);
            else finish(f);
            return;
        }
    }
}

/* --- timers ------------------------------------------------------------------------------------------------------------------------ */

static void deadline(dpg_flow *f)
{
    dpg_error err;

    dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_TIMEOUT, "deadline", "the call's deadline of %.4g s passed %s",
             (double)f->deadline_ms / 1000, doing(f));
    if (f->credential && f->credential->person &&
        (f->call.state == DPG_CALL_AUTHORIZING || f->call.state == DPG_CALL_NEW)) {
        const dpg_error *trouble = &f->credential->cred.trouble;

        if (trouble->kind == DPG_KIND_STORAGE) { /* what stands in the way is the better name */
            snprintf(err.code, sizeof err.code, "%s", trouble->code);
            err.kind = trouble->kind;
        }
        if (trouble->kind) snprintf(err.detail, sizeof err.detail, "%s", trouble->message);
    }
    stop_any(f, DPG_END_DEADLINE, &err);
}

static void attempt_timed_out(dpg_flow *f, const char *why)
{
    dpg_engine *e = f->engine;
    dpg_outcome outcome = {.kind = DPG_KIND_TIMEOUT, .retry_after_ms = -1};

    outcome.sent = dpg_flow_abort(f, &outcome.used_up);
    if (f->call.idle_ms > 0)
        dpg_fail(&f->response.error, DPG_E_SYSTEM, DPG_KIND_TIMEOUT, "stalled", "nothing moved for %.4g s%s",
                 (double)f->call.idle_ms / 1000, why);
    else
        dpg_fail(&f->response.error, DPG_E_SYSTEM, DPG_KIND_TIMEOUT, "timeout", "no answer within %.4g s",
                 (double)f->call.timeout_ms / 1000);
    run(f, ended(f, &outcome));
    dpg_queue_pump(e);
}

static void fire(dpg_engine *e, void *owner)
{
    dpg_flow *f = owner;
    const char *why = "";

    if (f->type == DPG_FLOW_TIMER) complete(f);
    else if (dpg_engine_now_ms(e) >= f->deadline_boot_ms) deadline(f);
    else if (f->call.state == DPG_CALL_SENDING && f->call.idle_ms > 0 && !dpg_flow_is_stalled(f, &why)) arm(f);
    else if (f->call.state == DPG_CALL_SENDING) attempt_timed_out(f, why);
    else run(f, dpg_call_woken(&f->call));
}

/* --- birth and death ------------------------------------------------------------------------------------------------------------------ */

void dpg_flow_begin(dpg_flow *f)
{
    dpg_error err;

    f->timer.fire = fire;
    f->timer.owner = f;
    f->call.policy.deadline_boot_ms = f->deadline_boot_ms;
    f->call.wake_boot_ms = INT64_MAX;
    if (!dpg_flow_find_places(f)) {
        dpg_fail_nomem(&err);
        complete_with_error(f, &err);
        return;
    }
    if (f->part_count || f->sink.type != DPG_SINK_MEMORY) dpg_list_push(&f->engine->streams, &f->stream);
    switch (f->type) {
    case DPG_FLOW_TIMER: arm(f); break;
    case DPG_FLOW_LOAD: start_job(f, DPG_FLOW_LOAD, DPG_JOB_LOAD); break;
    case DPG_FLOW_FORGET: start_job(f, DPG_FLOW_FORGET, DPG_JOB_FORGET); break;
    case DPG_FLOW_PROVING: start_job(f, DPG_FLOW_PROVING, DPG_JOB_PROVE); break;
    default: run(f, dpg_call_begin(&f->call));
    }
}

void dpg_flow_free(dpg_flow *f)
{
    if (!f) return;
    dpg_head_free(f->head);
    dpg_head_free(f->fresh);
    dpg_pipe_clear(&f->fed);
    dpg_pipe_clear(&f->chunks);
    dpg_free(f->parts);
    dpg_signed_in_clear(&f->signed_in);
    dpg_response_clear(&f->response);
    dpg_buf_clear(&f->authorization);
    dpg_wipe(f->arena, f->arena_size);
    dpg_free(f);
}
