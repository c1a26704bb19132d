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
#define FOREVER_MS (INT64_C(36525) * 24 * 3600 * 1000) /* a hundred years: no sum of times overflows */
#define MAX_BODY ((size_t)64 << 20)

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

void dpg_engine_say(dpg_engine *e, const dpg_note *note)
{
    dpg_outgoing *out;

    if (!e->events || (out = dpg_calloc(1, sizeof *out)) == NULL) return;
    out->note = *note;
    dpg_list_push(&e->outbox, &out->outgoing.link);
    e->outbox_count++;
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
    dpg_list_init(&e->outbox);
    dpg_list_init(&e->calls);
    dpg_list_init(&e->queue);
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
    } while (note.type != DPG_NOTE_NONE);
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

/* For how long a turn goes on, since somebody's lock is held; 0: it need not. */
static int64_t hold_left(const dpg_engine *e, int64_t now_ms)
{
    int64_t most = 0;

    for (const dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);
        int64_t left = c->person && dpg_cred_is_locked(&c->cred) ? c->cred.hold_since + HOLD_MS - now_ms : 0;

        if (left > most) most = left;
    }
    return most;
}

bool dpg_engine_is_holding(const dpg_engine *e)
{
    for (const dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (c->person && dpg_cred_is_locked(&c->cred)) return true;
    }
    return false;
}

/* Is something under way that a closed engine still has to bring to its end? */
static bool must_finish(const dpg_engine *e)
{
    for (const dpg_list *node = e->credentials.next; node != &e->credentials; node = node->next) {
        const dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (c->person && dpg_cred_must_finish(&c->cred)) return true;
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

void dpg_engine_free(dpg_engine *e, int64_t grace_ms)
{
    int64_t until, before;
    int still = 0, most = 0;

    if (!e) return;
    if (!dpg_engine_is_mine(e)) {
        dpg_engine_forget(e);
        return;
    }
    e->closed = true;
    cancel_all(e);
    until = dpg_engine_now_ms(e) + grace_ms;
    /* an exchange that has left is finished, and its successor saved, as is what a sign-in brought: nothing else is waited for */
    most = e->drivers.virtual_time ? 16 : STILL_TURNS;
    while (must_finish(e) && (before = dpg_engine_now_ms(e)) < until && still < most) {
        turn(e, until - before, NULL);
        still = dpg_engine_now_ms(e) == before ? still + 1 : 0;
    }
    e->drivers.transport.free(e->drivers.transport.self);
    free_memory(e);
}

/* --- starting ---------------------------------------------------------------------------------------------------------------- */

static dpg_status closed(dpg_error *err)
{
    return dpg_fail(err, DPG_E_CLOSED, DPG_KIND_USAGE, "engine_closed",
                    "this engine is closed, or belongs to another process");
}

static dpg_status check_headers(const dpg_spec *spec, dpg_error *err)
{
    for (size_t i = 0; i < spec->header_count; i++) {
        const dpg_header *h = &spec->headers[i];

        if (!dpg_header_name_ok(h->name))
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "header",
                            "a header's name is empty or holds a character that it may not");
        if (!dpg_header_value_ok(h->value))
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "header",
                            "the value of header %.*s holds CR, LF or NUL", (int)(h->name.len < 64 ? h->name.len : 64),
                            h->name.ptr);
        if (dpg_str_eq_nocase(h->name, DPG_LIT("authorization")))
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "header",
                            "the Authorization header is the credential's, and can't be given with a call");
    }
    return DPG_OK;
}

static dpg_status check_spec(const dpg_engine *e, const dpg_spec *spec, const dpg_credential *credential, dpg_url *url,
                             dpg_error *err)
{
    if (!dpg_header_name_ok(spec->method) || spec->method.len > 32)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "method",
                        "the method is not one: expected GET, POST or the like");
    if (!dpg_url_read(spec->url, url))
        return dpg_fail(
            err, DPG_E_INVALID, DPG_KIND_USAGE, "url",
            "the URL is not one: expected an absolute http(s) URL without blanks, control characters or a login");
    if (!url->https && !url->loopback)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "insecure_url",
                        "plain http to %.*s: only a loopback address may be spoken to without TLS",
                        (int)(url->host.len < 100 ? url->host.len : 100), url->host.ptr);
    for (size_t i = 0; i < spec->account.len; i++) /* it is a part of the record, and of the exchange */
        if (spec->account.ptr[i] <= 0x20 || spec->account.ptr[i] >= 0x7f || i > 200)
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "account",
                            "the account is not one: expected a uuid, at most 200 visible ASCII characters");
    if (credential && credential->engine != e)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "other_engine",
                        "this credential belongs to another engine");
    if (credential && strcmp(credential->origin, url->origin) != 0)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "other_origin", "a token for %.100s does not go to %.100s",
                        credential->origin, url->origin);
    return check_headers(spec, err);
}

static dpg_origin *find_origin(dpg_engine *e, const char *name)
{
    dpg_origin *origin;

    for (dpg_list *node = e->origins.next; node != &e->origins; node = node->next) {
        origin = DPG_LIST_ITEM(node, dpg_origin, link);
        if (strcmp(origin->name, name) == 0) return origin;
    }
    origin = dpg_calloc(1, sizeof *origin);
    if (!origin) return NULL;
    snprintf(origin->name, sizeof origin->name, "%s", name);
    origin->budget.left = origin->budget.max = e->budget;
    dpg_list_push(&e->origins, &origin->link);
    return origin;
}

static dpg_named_gate *find_gate(dpg_engine *e, dpg_str key)
{
    int64_t now = dpg_engine_now_ms(e);
    dpg_named_gate *gate;
    dpg_list *node, *next;
    uint8_t digest[32];

    dpg_sha256(key.ptr, key.len, digest);
    for (node = e->gates.next; node != &e->gates; node = next) {
        gate = DPG_LIST_ITEM(node, dpg_named_gate, link);
        next = node->next;
        if (memcmp(gate->key, digest, sizeof digest) == 0) return gate;
        if (gate->users == 0 && now >= gate->gate.opens_boot_ms) { /* nobody needs to remember it */
            dpg_list_remove(node);
            dpg_free(gate);
        }
    }
    gate = dpg_calloc(1, sizeof *gate);
    if (!gate) return NULL;
    memcpy(gate->key, digest, sizeof digest);
    dpg_list_push(&e->gates, &gate->link);
    return gate;
}

/* One block of memory for all of a spec's bytes. */
static dpg_str keep(dpg_flow *f, dpg_str s)
{
    char *at = f->arena + f->arena_size;

    if (s.len) memcpy(at, s.ptr, s.len);
    at[s.len] = '\0';
    f->arena_size += s.len + 1;
    return dpg_str_of(at, s.len);
}

static bool copy_spec(dpg_flow *f, const dpg_spec *spec)
{
    size_t size = spec->method.len + spec->url.len + spec->body.len + spec->account.len + 4;

    for (size_t i = 0; i < spec->header_count; i++) size += spec->headers[i].name.len + spec->headers[i].value.len + 2;
    f->arena = dpg_malloc(size);
    f->headers = dpg_calloc(spec->header_count + 1, sizeof *f->headers);
    if (!f->arena || !f->headers) {
        dpg_free(f->arena);
        f->arena = NULL;
        return false;
    }
    f->method = keep(f, spec->method);
    f->url = keep(f, spec->url);
    f->body = keep(f, spec->body);
    f->account = keep(f, spec->account);
    for (size_t i = 0; i < spec->header_count; i++) {
        f->headers[i].name = keep(f, spec->headers[i].name);
        f->headers[i].value = keep(f, spec->headers[i].value);
    }
    f->header_count = spec->header_count;
    f->has_body = spec->has_body;
    return true;
}

static int64_t or_default(int64_t value, int64_t standard)
{
    if (!value) return standard;
    return value < FOREVER_MS ? value : FOREVER_MS;
}

static void copy_numbers(dpg_flow *f, const dpg_spec *spec)
{
    dpg_retry_policy *p = &f->call.policy;

    p->repeat = f->type == DPG_FLOW_PROVING ? DPG_REPEAT_UNSENT : spec->repeat;
    p->attempts = (int)or_default(spec->attempts, 6);
    p->base_ms = or_default(spec->base_ms, 200);
    p->cap_ms = or_default(spec->cap_ms, 20000);
    f->call.timeout_ms = spec->timeout_ms < 0 ? INT64_MAX : or_default(spec->timeout_ms, 30000);
    f->deadline_ms = or_default(spec->deadline_ms, 120000);
    f->timer_ms = spec->timer_ms > 0 ? or_default(spec->timer_ms, 0) : 0;
    f->max_response_bytes = spec->max_response_bytes ? spec->max_response_bytes : MAX_BODY;
    dpg_buf_init_secret(&f->authorization, 32 * 1024);
    /* from here on, and not from when somebody next turns the engine */
    f->deadline_boot_ms = dpg_engine_now_ms(f->engine);
    if (f->type == DPG_FLOW_TIMER) f->deadline_boot_ms += f->timer_ms;
    else if (f->deadline_ms < 0) f->deadline_boot_ms = INT64_MAX;
    else f->deadline_boot_ms += f->deadline_ms;
}

/* Whatever can fail for memory fails here: once a call is in the inbox, its end can always be told. */
static dpg_status start(dpg_engine *e, dpg_flow_type type, const dpg_spec *spec, dpg_credential *credential,
                        dpg_id *out, dpg_error *err)
{
    dpg_flow *f;
    dpg_url url = {0};
    dpg_status status;
    bool sends = type == DPG_FLOW_CALL || type == DPG_FLOW_PROVING;

    if (e->closed || !dpg_engine_is_mine(e)) return closed(err);
    if (sends && (status = check_spec(e, spec, credential, &url, err)) != DPG_OK) return status;
    f = dpg_calloc(1, sizeof *f);
    if (!f) return dpg_fail_nomem(err);
    f->engine = e;
    f->type = type;
    copy_numbers(f, spec);
    f->timer.at_boot_ms = INT64_MAX;
    f->call.retry_after_ms = -1;
    if (!copy_spec(f, spec) || (sends && !(f->origin = find_origin(e, url.origin))) ||
        (spec->gate.len && !(f->named_gate = find_gate(e, spec->gate))) ||
        !dpg_ids_reserve(&e->live, e->live.count + 1) || !dpg_ids_reserve(&e->ended, e->live.count + e->untaken + 1) ||
        !dpg_timers_reserve(&e->timers)) {
        dpg_flow_free(f);
        return dpg_fail_nomem(err);
    }
    if (sends) {
        size_t path = 0, offset = (size_t)(url.target.len ? url.target.ptr - spec->url.ptr : 0);

        while (path < url.target.len && url.target.ptr[path] != '?') path++;
        f->path = dpg_str_of(f->url.ptr + offset, path);
        f->gate = f->named_gate                         ? &f->named_gate->gate
                  : credential && type == DPG_FLOW_CALL ? &credential->gate
                                                        : &f->origin->gate;
    }
    if (f->named_gate) f->named_gate->users++;
    f->credential = dpg_credential_ref(credential);
    f->call.person = credential && credential->person && type == DPG_FLOW_CALL;
    f->id = ++e->last_id;
    dpg_ids_put(&e->live, f);
    dpg_list_push(&e->inbox, &f->inbox);
    *out = f->id;
    return DPG_OK;
}

dpg_status dpg_engine_start(dpg_engine *engine, const dpg_spec *spec, dpg_id *out, dpg_error *err)
{
    return start(engine, spec->url.len ? DPG_FLOW_CALL : DPG_FLOW_TIMER, spec, spec->url.len ? spec->credential : NULL,
                 out, err);
}

static dpg_status start_for_person(dpg_credential *c, dpg_flow_type type, const dpg_spec *spec, dpg_id *out,
                                   dpg_error *err)
{
    if (!c->person)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "not_a_person",
                        "this is a service token: it has no session to sign in, load or forget");
    return start(c->engine, type, spec, c, out, err);
}

dpg_status dpg_credential_load(dpg_credential *c, int64_t deadline_ms, dpg_id *out, dpg_error *err)
{
    dpg_spec spec = DPG_SPEC_INIT;

    spec.deadline_ms = deadline_ms;
    return start_for_person(c, DPG_FLOW_LOAD, &spec, out, err);
}

dpg_status dpg_credential_forget(dpg_credential *c, int64_t deadline_ms, dpg_id *out, dpg_error *err)
{
    dpg_spec spec = DPG_SPEC_INIT;

    spec.deadline_ms = deadline_ms;
    return start_for_person(c, DPG_FLOW_FORGET, &spec, out, err);
}

dpg_status dpg_credential_sign_in(dpg_credential *c, const dpg_spec *spec, dpg_id *out, dpg_error *err)
{
    return start_for_person(c, DPG_FLOW_PROVING, spec, out, err);
}

/* --- turning ------------------------------------------------------------------------------------------------------------------ */

int64_t dpg_engine_due_ms(const dpg_engine *e)
{
    return e->timers.count ? e->timers.heap[1]->at_boot_ms : INT64_MAX;
}

static void drain_inbox(dpg_engine *e)
{
    dpg_list *node;

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
    fire_timers(e);
    return status;
}

dpg_status dpg_engine_wait(dpg_engine *e, int64_t ms, dpg_error *err)
{
    int64_t begun = dpg_engine_now_ms(e), now = begun, before, left, hold;
    int still = 0, most = e->drivers.virtual_time ? 1 : STILL_TURNS;
    dpg_status status;

    if (e->closed || !dpg_engine_is_mine(e)) return closed(err);
    do {
        drain_inbox(e); /* first, since some may end at once: then there is nothing to wait for */
        hold = hold_left(e, now);
        left = hold ? hold : e->outbox_count ? 0 : ms - (now - begun);
        before = now;
        status = turn(e, left > 0 ? left : 0, err);
        now = dpg_engine_now_ms(e);
        still = now == before ? still + 1 : 0;
        hold = hold_left(e, now);
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
        note->type = DPG_NOTE_DONE;
        note->id = out->flow->id;
        return;
    }
    *note = DPG_LIST_ITEM(out, dpg_outgoing, outgoing)->note;
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

    if (f) f->abandoned = true;
    else if (dpg_engine_take(e, id, &completion, NULL) == DPG_OK) dpg_completion_clear(&completion);
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
