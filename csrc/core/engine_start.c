/*
 * How a call begins: its spec is checked and copied, all that it will need is made, and it is put in the inbox. Used by
 * whoever has an engine, through dpg.h.
 */
#include "engine_internal.h"
#include "headers.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FOREVER_MS (INT64_C(36525) * 24 * 3600 * 1000) /* a hundred years: no sum of times overflows */
#define MAX_BODY ((size_t)64 << 20)
#define WINDOW ((size_t)1 << 20)      /* of bytes that are fed, and of chunks where the spec doesn't say */
#define WINDOW_MIN ((size_t)64 << 10) /* what a transport hands over at once must fit */
#define WINDOW_MAX ((size_t)64 << 20)

/* --- checking ----------------------------------------------------------------------------------------------------------- */

dpg_status dpg_engine_closed(dpg_error *err)
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

static bool has(dpg_str s, char c)
{
    return s.len && memchr(s.ptr, c, s.len) != NULL;
}

/* A part's name stands in a header line, between quotes: libcurl writes those as %22, but CR LF could end the line. */
static bool part_name_ok(dpg_str s)
{
    return !has(s, '\0') && !has(s, '\r') && !has(s, '\n');
}

static dpg_status check_part(const dpg_part *part, dpg_error *err)
{
    const char *wrong = NULL;

    if (!part->name.len || !part_name_ok(part->name)) wrong = "its name is empty, or holds CR, LF or NUL";
    else if (!part_name_ok(part->filename)) wrong = "its file name holds CR, LF or NUL";
    else if (!dpg_header_value_ok(part->content_type)) wrong = "its content type holds CR, LF or NUL";
    else if (has(part->path, '\0')) wrong = "its path holds NUL";
    else if ((part->path.len > 0) + (part->value.len > 0) + (int)part->fed > 1)
        wrong = "it has more than one of a value, a path and bytes that are fed";
    else if (part->size < 0) wrong = "its size is below 0";
    if (!wrong) return DPG_OK;
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "part", "a part of the form can't be sent: %s", wrong);
}

static dpg_status check_parts(const dpg_spec *spec, dpg_error *err)
{
    dpg_status status;
    int fed = 0;

    if (spec->part_count && spec->has_body)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "part", "a call has a body or a form, not both");
    for (size_t i = 0; i < spec->part_count; i++) {
        if ((status = check_part(&spec->parts[i], err)) != DPG_OK) return status;
        fed += spec->parts[i].fed;
    }
    if (fed > 1) return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "part", "only one part of a form can be fed");
    for (size_t i = 0; spec->part_count && i < spec->header_count; i++)
        if (dpg_str_eq_nocase(spec->headers[i].name, DPG_LIT("content-type")))
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "header",
                            "a form's Content-Type is not the caller's to set");
    return DPG_OK;
}

static dpg_status check_sink(const dpg_spec *spec, dpg_error *err)
{
    const dpg_sink *sink = &spec->sink;
    const char *wrong = NULL;

    if (sink->type == DPG_SINK_MEMORY) return DPG_OK;
    if (sink->type == DPG_SINK_FILE && (!sink->path.len || has(sink->path, '\0') || has(sink->rename_to, '\0')))
        wrong = "its path is empty, or a path holds NUL";
    else if (sink->offset < 0 || sink->expected < 0) wrong = "offset and expected are at least 0";
    else if (sink->window > WINDOW_MAX) wrong = "the window is at most 64 MiB";
    else if (dpg_str_eq(spec->method, DPG_LIT("HEAD"))) wrong = "the answer to HEAD has no body";
    if (!wrong) return DPG_OK;
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "sink", "the answer can't go to that sink: %s", wrong);
}

/* Where a call goes. */
typedef struct place {
    dpg_str origin, target;
    bool https, loopback;
    dpg_url url; /* what it was read into, where it had to be */
} place;

/* A URL below its credential's base_url is known as far as that goes: only what follows is looked at. */
static bool read_place(const dpg_credential *c, dpg_str url, place *out)
{
    if (c && url.len > c->site_len && memcmp(url.ptr, c->base_url, c->site_len) == 0 &&
        (url.ptr[c->site_len] == '/' || url.ptr[c->site_len] == '?')) {
        out->origin = dpg_str_of(NULL, 0);
        out->target = dpg_str_of(url.ptr + c->site_len, url.len - c->site_len);
        out->https = c->https;
        out->loopback = c->loopback;
        return dpg_url_chars_ok(out->target);
    }
    if (!dpg_url_read(url, &out->url)) return false;
    out->origin = dpg_cstr(out->url.origin);
    out->target = out->url.target;
    out->https = out->url.https;
    out->loopback = out->url.loopback;
    return true;
}

static dpg_status check_spec(const dpg_engine *e, const dpg_spec *spec, const dpg_credential *credential, place *to,
                             dpg_error *err)
{
    dpg_status status;

    if (!dpg_header_name_ok(spec->method) || spec->method.len > 32)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "method",
                        "this is no method of HTTP's: GET, POST or the like expected");
    if (!read_place(credential, spec->url, to))
        return dpg_fail(
            err, DPG_E_INVALID, DPG_KIND_USAGE, "url",
            "this is no URL to call: an absolute http(s) URL without blanks, control characters or a login expected");
    if (!to->https && !to->loopback)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "insecure_url",
                        "plain http to %.*s: only a loopback address may be spoken to without TLS",
                        (int)(to->url.host.len < 100 ? to->url.host.len : 100), to->url.host.ptr);
    for (size_t i = 0; i < spec->account.len; i++) /* it is a part of the record, and of the exchange */
        if (spec->account.ptr[i] <= 0x20 || spec->account.ptr[i] >= 0x7f || i > 200)
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "account",
                            "this is no account's uuid: at most 200 visible ASCII characters expected");
    if (credential && credential->engine != e)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "other_engine",
                        "this credential belongs to another engine");
    if (credential && to->origin.len && strcmp(credential->origin, to->origin.ptr) != 0)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "other_origin", "a token for %.100s does not go to %.100s",
                        credential->origin, to->origin.ptr);
    if ((status = check_headers(spec, err)) != DPG_OK || (status = check_parts(spec, err)) != DPG_OK) return status;
    return check_sink(spec, err);
}

static dpg_str keep(dpg_flow *f, dpg_str s)
{
    char *at = f->arena + f->arena_size;

    if (s.len) memcpy(at, s.ptr, s.len);
    at[s.len] = '\0';
    f->arena_size += s.len + 1;
    return dpg_str_of(at, s.len);
}

static size_t size_of(const dpg_spec *spec, dpg_str origin)
{
    size_t size = origin.len + 1 + spec->method.len + spec->url.len + spec->body.len + spec->account.len +
                  spec->sink.path.len + spec->sink.rename_to.len + spec->sink.etag.len + spec->sink.note.len + 8;

    for (size_t i = 0; i < spec->header_count; i++) size += spec->headers[i].name.len + spec->headers[i].value.len + 2;
    for (size_t i = 0; i < spec->part_count; i++) {
        const dpg_part *p = &spec->parts[i];

        size += p->name.len + p->value.len + p->path.len + p->filename.len + p->content_type.len + 5;
    }
    return size;
}

static void keep_part(dpg_flow *f, dpg_part *to, const dpg_part *from)
{
    *to = *from;
    to->name = keep(f, from->name);
    to->value = keep(f, from->value);
    to->path = keep(f, from->path);
    to->filename = keep(f, from->filename);
    to->content_type = keep(f, from->content_type);
}

/* What a call will move bytes through, made now: on its way it needs no more memory. False without it. */
static bool make_pipes(dpg_flow *f, const dpg_spec *spec)
{
    size_t window = spec->sink.window ? spec->sink.window : WINDOW;

    if (spec->sink.type == DPG_SINK_CHUNKS && !dpg_pipe_init(&f->chunks, window > WINDOW_MIN ? window : WINDOW_MIN))
        return false;
    for (size_t i = 0; i < spec->part_count; i++) {
        if (!spec->parts[i].fed) continue;
        f->feeds = spec->parts[i].size;
        if (!dpg_pipe_init(&f->fed, WINDOW)) return false;
    }
    f->data_waits = f->want_waits = true;
    return true;
}

/* One block of memory for a call, the headers of its spec, and all of the spec's bytes. */
static dpg_flow *new_flow(const dpg_spec *spec, dpg_str origin)
{
    size_t headers = (spec->header_count + 1) * sizeof(dpg_header);
    dpg_flow *f = dpg_malloc(sizeof *f + headers + size_of(spec, origin));

    if (!f) return NULL;
    memset(f, 0, offsetof(dpg_flow, response));
    dpg_response_init(&f->response);
    dpg_error_clear(&f->error);
    f->headers = (dpg_header *)(void *)(f + 1);
    f->arena = (char *)f->headers + headers;
    return f;
}

static bool copy_spec(dpg_flow *f, const dpg_spec *spec, dpg_str origin)
{
    if (spec->part_count && !(f->parts = dpg_calloc(spec->part_count, sizeof *f->parts))) return false;
    f->method = keep(f, spec->method);
    f->url = keep(f, spec->url);
    f->body = keep(f, spec->body);
    f->account = keep(f, spec->account);
    f->origin_name = keep(f, origin);
    f->sink = spec->sink;
    f->sink.path = keep(f, spec->sink.path);
    f->sink.rename_to = keep(f, spec->sink.rename_to);
    f->sink.etag = keep(f, spec->sink.etag);
    f->sink.note = keep(f, spec->sink.note);
    for (size_t i = 0; i < spec->header_count; i++) {
        f->headers[i].name = keep(f, spec->headers[i].name);
        f->headers[i].value = keep(f, spec->headers[i].value);
    }
    f->header_count = spec->header_count;
    for (size_t i = 0; i < spec->part_count; i++) keep_part(f, &f->parts[i], &spec->parts[i]);
    f->part_count = spec->part_count;
    f->has_body = spec->has_body;
    return make_pipes(f, spec);
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
    f->call.idle_ms = spec->idle_ms > 0 ? or_default(spec->idle_ms, 0) : 0;
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

/* A number and a place in the inbox; false: there is none to be had, `status` says why. */
static bool hand_over(dpg_engine *e, dpg_flow *f, dpg_id *id, dpg_status *status, dpg_error *err)
{
    bool closed, room;

    dpg_engine_lock(e);
    closed = e->closed;
    room = !closed && dpg_ids_reserve(&e->ids, e->ids.count + 1);
    if (room) {
        *id = f->id = ++e->last_id;
        dpg_ids_put(&e->ids, f);
        e->live++;
        if (f->credential) f->credential->refs++;
        dpg_list_push(&e->inbox, &f->inbox);
    }
    dpg_engine_unlock_and_wake(e);
    if (closed) *status = dpg_engine_closed(err);
    else if (!room) *status = dpg_fail_nomem(err);
    return room;
}

/* Once a call is in the inbox, its end can be told without any more memory. */
static dpg_status start(dpg_engine *e, dpg_flow_type type, const dpg_spec *spec, dpg_credential *credential,
                        dpg_id *out, dpg_error *err)
{
    dpg_flow *f;
    place to;
    dpg_status status;
    dpg_id id = 0;
    bool sends = type == DPG_FLOW_CALL || type == DPG_FLOW_PROVING;

    if (!dpg_engine_is_mine(e)) return dpg_engine_closed(err);
    if (type == DPG_FLOW_PROVING && (spec->part_count || spec->sink.type != DPG_SINK_MEMORY))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "sink",
                        "what is said at a sign-in goes through memory alone");
    to.origin = to.target = dpg_str_of(NULL, 0);
    to.https = to.loopback = false;
    if (sends && (status = check_spec(e, spec, credential, &to, err)) != DPG_OK) return status;
    if (!(f = new_flow(spec, to.origin))) return dpg_fail_nomem(err);
    f->engine = e;
    f->type = type;
    copy_numbers(f, spec);
    f->timer.at_boot_ms = INT64_MAX;
    f->call.retry_after_ms = -1;
    f->progress = f->shown = (dpg_progress){0, -1, 0, -1};
    if (!copy_spec(f, spec, to.origin)) {
        dpg_flow_free(f);
        return dpg_fail_nomem(err);
    }
    if (sends) {
        size_t path = 0;

        while (path < to.target.len && to.target.ptr[path] != '?') path++;
        f->path = dpg_str_of(f->url.ptr + (f->url.len - to.target.len), path);
    }
    f->https = to.https;
    f->loopback = to.loopback;
    f->gated = spec->gate.len > 0;
    if (f->gated) dpg_sha256(spec->gate.ptr, spec->gate.len, f->gate_key);
    f->credential = credential;
    f->call.person = credential && credential->person && type == DPG_FLOW_CALL;
    if (!hand_over(e, f, &id, &status, err)) {
        dpg_flow_free(f);
        return status;
    }
    *out = id;
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

/* --- where a call belongs: the owner's, who asks when it is begun ----------------------------------------------------------- */

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

static dpg_origin *place_of(const dpg_flow *f)
{
    dpg_credential *c = f->credential;

    if (!c) return find_origin(f->engine, f->origin_name.ptr);
    if (!c->place) c->place = find_origin(f->engine, c->origin);
    return c->place;
}

static dpg_named_gate *find_gate(dpg_engine *e, const uint8_t key[32])
{
    int64_t now = dpg_engine_now_ms(e);
    dpg_named_gate *gate;
    dpg_list *node, *next;

    for (node = e->gates.next; node != &e->gates; node = next) {
        gate = DPG_LIST_ITEM(node, dpg_named_gate, link);
        next = node->next;
        if (memcmp(gate->key, key, sizeof gate->key) == 0) return gate;
        if (gate->users == 0 && now >= gate->gate.opens_boot_ms) { /* nobody needs to remember it */
            dpg_list_remove(node);
            dpg_free(gate);
        }
    }
    gate = dpg_calloc(1, sizeof *gate);
    if (!gate) return NULL;
    memcpy(gate->key, key, sizeof gate->key);
    dpg_list_push(&e->gates, &gate->link);
    return gate;
}

bool dpg_flow_find_places(dpg_flow *f)
{
    dpg_engine *e = f->engine;
    bool sends = f->type == DPG_FLOW_CALL || f->type == DPG_FLOW_PROVING;

    if (sends && !(f->origin = place_of(f))) return false;
    if (f->gated) {
        if (!(f->named_gate = find_gate(e, f->gate_key))) return false;
        f->named_gate->users++;
    }
    if (sends)
        f->gate = f->named_gate                               ? &f->named_gate->gate
                  : f->credential && f->type == DPG_FLOW_CALL ? &f->credential->gate
                                                              : &f->origin->gate;
    return true;
}
