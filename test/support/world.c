#include "world.h"

#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The world's own memory is no part of what is tested: it never fails, and tests that fail allocations don't count it. */
static void *must(void *p)
{
    if (!p) abort();
    return p;
}

static void trace(world *w, const char *word)
{
    size_t had = strlen(w->trace);

    w->trace = must(realloc(w->trace, had + strlen(word) + 2));
    sprintf(w->trace + had, "%s%s", had ? " " : "", word);
}

/* --- clock and random -------------------------------------------------------------------------------------------------- */

static int64_t boot_ms(void *self)
{
    return ((world *)self)->now_ms;
}
static int64_t unix_ms(void *self)
{
    return ((world *)self)->now_ms + ((world *)self)->unix_off_ms;
}
static const char *boot_id(void *self)
{
    return ((world *)self)->boot_id;
}
static uint64_t u64(void *self)
{
    uint64_t x = ((world *)self)->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* --- the server --------------------------------------------------------------------------------------------------------- */

static void answer(world_request *r, int status, const char *headers, const char *body)
{
    r->status = status;
    snprintf(r->head, sizeof r->head, "%s", headers ? headers : "");
    free(r->answer);
    r->answer = must(strdup(body ? body : ""));
}

static void refuse(world_request *r)
{
    answer(r, 401, "x-request-id: req-1\n", "{\"error\":{\"code\":\"unauthorized\",\"message\":\"no\"}}");
}

static void text_of(const char *body, const char *key, char *out, size_t size)
{
    const char *at = strstr(body, key), *end;

    out[0] = '\0';
    if (!at || !(at = strstr(at + strlen(key), ":\""))) return;
    end = strchr(at + 2, '"');
    if (end) snprintf(out, size, "%.*s", (int)(end - at - 2), at + 2);
}

static void exchange(world *w, world_request *r)
{
    char token[64], account[64], body[400];
    int number;

    w->exchanges++;
    text_of(r->body, "refresh_token", token, sizeof token);
    text_of(r->body, "account_uuid", account, sizeof account);
    number = strncmp(token, "rt-", 3) == 0 ? atoi(token + 3) : -1;
    if (w->revoked || number / 1000 != w->refresh / 1000 || number > w->refresh) {
        if (w->revoked && w->told) w->refused_presented++;
        w->told = w->revoked;
        refuse(r);
        return;
    }
    if (number < w->refresh) {
        if (number + 1 == w->refresh && w->grace > 0) {
            w->grace--;
            w->replays++;
        } else {
            w->spent_presented++;
            w->revoked = true;
            refuse(r);
            return;
        }
    } else if (!w->keeps) {
        w->refresh++;
    }
    w->access++;
    if (w->keeps)
        snprintf(body, sizeof body, "{\"access_token\":\"at-%s-%d\",\"expires_in\":%d}", account, w->access, w->life_s);
    else
        snprintf(body, sizeof body, "{\"access_token\":\"at-%s-%d\",\"expires_in\":%d,\"refresh_token\":\"rt-%d\"}",
                 account, w->access, w->life_s, w->refresh);
    answer(r, 200, "", body);
}

void world_serve(world *w, world_request *r)
{
    char body[300];

    if (strstr(r->url, "/auth/token")) {
        exchange(w, r);
    } else if (strstr(r->url, "/auth/sign_in") && w->two_factor) {
        answer(r, 200, "", "{\"mfa_token\":\"mt-1\"}");
    } else if (strstr(r->url, "/auth/")) {
        w->refresh = ++w->family * 1000 + 1;
        w->revoked = w->told = false;
        snprintf(body, sizeof body,
                 "{\"refresh_token\":\"rt-%d\",\"accounts\":[{\"uuid\":\"a\",\"extra\":[1]},{\"uuid\":\"b\"}],"
                 "\"user\":{\"name\":\"Jane\"}}",
                 w->refresh);
        answer(r, 200, "", body);
    } else if (w->bad_bearer && (w->bad_bearer[0] == '*' || strcmp(r->bearer, w->bad_bearer) == 0)) {
        refuse(r);
    } else {
        answer(r, 200, "etag: \"1\"\n", "[]");
    }
}

/* --- the network ---------------------------------------------------------------------------------------------------------- */

void world_will(world *w, const char *word, world_reply reply)
{
    if (w->script_count == 64) abort();
    w->script[w->script_count].word = word;
    w->script[w->script_count++].reply = reply;
}

static world_reply next_reply(world *w, const char *url)
{
    world_reply reply = {.how = WORLD_SERVE};

    for (int i = 0; i < w->script_count; i++) {
        if (!strstr(url, w->script[i].word)) continue;
        reply = w->script[i].reply;
        memmove(w->script + i, w->script + i + 1, (size_t)(--w->script_count - i) * sizeof *w->script);
        break;
    }
    return reply;
}

static void play(world *w, world_request *r, const world_reply *reply)
{
    r->ends_ms = w->now_ms + (reply->after_ms ? reply->after_ms : 10);
    r->sent = DPG_SENT_MAYBE;
    switch (reply->how) {
    case WORLD_SERVE: world_serve(w, r); break;
    case WORLD_ANSWER: answer(r, reply->status, reply->headers, reply->body); break;
    case WORLD_UNSENT:
        r->sent = DPG_SENT_NOT;
        r->error = "connect_failed";
        break;
    case WORLD_CUT_AFTER: world_serve(w, r); /* fall through */
    case WORLD_CUT_BEFORE: r->error = "connection_lost"; break;
    case WORLD_SILENCE:
        world_serve(w, r);
        r->ends_ms = INT64_MAX;
        break;
    case WORLD_STUCK:
        r->sent = DPG_SENT_NOT;
        r->ends_ms = INT64_MAX;
        break;
    }
}

static dpg_status start(void *self, uint64_t id, const dpg_request *q, dpg_error *err)
{
    world_client *c = self;
    world *w = c->w;
    world_request *r;
    world_reply reply;
    int open = 0;

    (void)err;
    w->requests = must(realloc(w->requests, (size_t)(w->request_count + 1) * sizeof *w->requests));
    r = memset(&w->requests[w->request_count++], 0, sizeof *r);
    r->client = c;
    r->id = id;
    r->once = q->once;
    r->open = true;
    r->at_ms = w->now_ms;
    snprintf(r->method, sizeof r->method, "%.*s", (int)q->method.len, q->method.ptr);
    snprintf(r->url, sizeof r->url, "%.*s", (int)q->url.len, q->url.ptr);
    for (size_t i = 0; i < q->header_count; i++) {
        const dpg_header *h = &q->headers[i];

        if (dpg_str_eq(h->name, DPG_LIT("Authorization")))
            snprintf(r->bearer, sizeof r->bearer, "%.*s", (int)(h->value.len - 7), h->value.ptr + 7);
        if (dpg_str_eq_nocase(h->name, DPG_LIT("idempotency-key")))
            snprintf(r->key, sizeof r->key, "%.*s", (int)h->value.len, h->value.ptr);
    }
    r->body = must(malloc(q->body.len + 1));
    if (q->body.len) memcpy(r->body, q->body.ptr, q->body.len);
    r->body[q->body.len] = '\0';
    trace(w, strstr(r->url, "/auth/token") ? "exchange" : strstr(r->url, "/auth/") ? "sign_in" : "call");
    reply = next_reply(w, r->url);
    play(w, r, &reply);
    for (int i = 0; i < w->request_count; i++)
        open += w->requests[i].open && !strstr(w->requests[i].url, "/auth/token");
    if (open > w->open_most) w->open_most = open;
    return DPG_OK;
}

static dpg_sent abort_transfer(void *self, uint64_t id)
{
    world_client *c = self;

    for (int i = 0; i < c->w->request_count; i++) {
        world_request *r = &c->w->requests[i];

        if (r->client != c || r->id != id || !r->open) continue;
        r->open = false;
        r->aborted = true;
        return r->sent;
    }
    return DPG_SENT_NOT;
}

static world_request *ready(world_client *c)
{
    world_request *first = NULL;

    for (int i = 0; i < c->w->request_count; i++) {
        world_request *r = &c->w->requests[i];

        if (r->client == c && r->open && r->ends_ms <= c->w->now_ms && (!first || r->ends_ms < first->ends_ms))
            first = r;
    }
    return first;
}

static dpg_status step(void *self, int64_t timeout_ms, dpg_error *err)
{
    world_client *c = self;
    world *w = c->w;
    int64_t until = w->now_ms + timeout_ms;

    (void)err;
    if (ready(c)) return DPG_OK;
    for (int i = 0; i < w->request_count; i++)
        if (w->requests[i].client == c && w->requests[i].open && w->requests[i].ends_ms < until)
            until = w->requests[i].ends_ms;
    if (until > w->limit_ms) until = w->limit_ms;
    if (until > w->now_ms) w->now_ms = until;
    return DPG_OK;
}

static void fill(dpg_buf *b, const char *text)
{
    size_t len = strlen(text);

    dpg_buf_init_secret(b, len);
    b->ptr = must(malloc(len + 1));
    memcpy(b->ptr, text, len + 1);
    b->len = len;
    b->cap = len + 1;
}

static bool next(void *self, dpg_response *out)
{
    world_client *c = self;
    world_request *r = ready(c);
    char *at, *end, *colon;

    if (!r) return false;
    r->open = false;
    r->ended = true;
    memset(out, 0, sizeof *out);
    out->error.retry_after_ms = -1;
    out->id = r->id;
    out->sent = r->sent;
    if (r->error) {
        dpg_fail(&out->error, DPG_E_SYSTEM, DPG_KIND_NETWORK, r->error, "%s", r->error);
        return true;
    }
    out->status = r->status;
    fill(&out->body, r->answer);
    fill(&out->head, r->head);
    out->headers = must(calloc(16, sizeof *out->headers));
    for (at = out->head.ptr; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        colon = strstr(at, ": ");
        out->headers[out->header_count].name = dpg_str_of(at, (size_t)(colon - at));
        out->headers[out->header_count++].value = dpg_str_of(colon + 2, (size_t)(end - colon - 2));
    }
    return true;
}

static void wakeup(void *self)
{
    (void)self;
}

static void free_transport(void *self)
{
    world_client *c = self;

    for (int i = 0; i < c->w->request_count; i++)
        if (c->w->requests[i].client == c) c->w->requests[i].open = false;
}

dpg_transport world_transport(world_client *c)
{
    dpg_transport t = {.self = c,
                       .start = start,
                       .abort = abort_transfer,
                       .step = step,
                       .next = next,
                       .wakeup = wakeup,
                       .free = free_transport,
                       .forget = free_transport};

    return t;
}

/* --- the disk --------------------------------------------------------------------------------------------------------------- */

typedef struct world_store {
    dpg_store base;
    world_client *client;
} world_store;

static void put(world *w, dpg_str bytes)
{
    free(w->bytes);
    w->bytes = must(malloc(bytes.len + 1));
    memcpy(w->bytes, bytes.ptr, bytes.len);
    w->len = bytes.len;
    w->found = true;
}

static void fail(dpg_store_reply *reply)
{
    reply->outcome = DPG_STORE_FAILED;
    dpg_fail(&reply->error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_full", "the disk is full");
}

static void save(world_client *c, const dpg_store_request *q, dpg_store_reply *reply)
{
    world *w = c->w;

    if (w->holder != c) abort(); /* saving without the lock */
    if (w->on_save && !q->reserve) w->on_save(c);
    if (q->reserve && w->change_marks) {
        reply->outcome = DPG_STORE_CHANGED;
        return;
    }
    if (q->reserve ? w->fail_marks > 0 : w->fail[DPG_STORE_SAVE] > 0) {
        if (q->reserve) w->fail_marks--;
        else w->fail[DPG_STORE_SAVE]--;
        fail(reply);
        return;
    }
    if (w->found != q->had || (w->found && !dpg_str_eq(dpg_str_of(w->bytes, w->len), q->expected))) {
        reply->outcome = DPG_STORE_CHANGED;
        return;
    }
    if (q->reserve) w->marks++;
    else w->saves++;
    put(w, q->bytes);
}

static void operate(world_client *c, const dpg_store_request *q, dpg_store_reply *reply)
{
    static const char *const names[] = {"lock", "load", "save", "unlock"};
    world *w = c->w;

    reply->outcome = DPG_STORE_DONE;
    reply->error.retry_after_ms = -1;
    trace(w, q->op == DPG_STORE_SAVE && q->reserve ? "mark" : names[q->op]);
    if (q->op == DPG_STORE_SAVE) {
        save(c, q, reply);
        return;
    }
    if (w->fail[q->op] > 0) {
        w->fail[q->op]--;
        fail(reply);
        return;
    }
    switch (q->op) {
    case DPG_STORE_LOCK:
        if (w->holder || w->busy > 0) {
            if (w->busy > 0) w->busy--;
            reply->outcome = DPG_STORE_BUSY;
            reply->again_ms = 20;
            snprintf(reply->holder, sizeof reply->holder, "process 4711");
            return;
        }
        w->holder = c;
        break;
    case DPG_STORE_LOAD:
        reply->found = w->found;
        if (!w->found) break;
        dpg_buf_init_secret(&reply->bytes, DPG_RECORD_MAX);
        reply->bytes.ptr = must(malloc(w->len + 1));
        memcpy(reply->bytes.ptr, w->bytes, w->len);
        reply->bytes.ptr[w->len] = '\0';
        reply->bytes.len = w->len;
        reply->bytes.cap = w->len + 1;
        break;
    default:
        if (w->holder == c) w->holder = NULL;
    }
}

static bool ask(dpg_store *store, const dpg_store_request *q, dpg_store_reply *reply)
{
    world_client *c = ((world_store *)store)->client;

    if (c->w->async) {
        if (c->asked) abort(); /* two at once */
        c->asked = true;
        c->ask = q->ask;
        c->request = *q;
        return false;
    }
    operate(c, q, reply);
    return true;
}

void world_store_answer(world_client *c)
{
    dpg_store_reply reply;

    if (!c->asked) abort();
    memset(&reply, 0, sizeof reply);
    c->asked = false;
    operate(c, &c->request, &reply);
    dpg_engine_store_answer(c->engine, c->ask, &reply);
}

static void free_store(dpg_store *store)
{
    free(store);
}

dpg_store *world_store_new(world_client *c)
{
    static char identity[] = "world:1";
    world_store *s = must(calloc(1, sizeof *s));

    s->base.refs = 1;
    s->base.identity = identity;
    s->base.ask = ask;
    s->base.free = free_store;
    s->client = c;
    return &s->base;
}

void world_put_record(world *w, const char *bytes, size_t len)
{
    put(w, dpg_str_of(bytes, len));
}

void world_session(world *w)
{
    static char origin[] = "https://api.test:443", token[16], accounts[] = "[{\"uuid\":\"a\"}]";
    dpg_record r = {.origin = origin, .refresh_token = token, .accounts = accounts, .generation = 1};
    dpg_buf bytes;

    w->refresh = ++w->family * 1000 + 1;
    w->revoked = w->told = false;
    snprintf(token, sizeof token, "rt-%d", w->refresh);
    snprintf(r.family, sizeof r.family, "%032d", w->family);
    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    if (!dpg_record_write(&r, &bytes)) abort();
    put(w, dpg_buf_str(&bytes));
    dpg_buf_clear(&bytes);
}

/* --- the world -------------------------------------------------------------------------------------------------------------- */

world *world_new(void)
{
    world *w = must(calloc(1, sizeof *w));

    w->now_ms = 1000000;
    w->limit_ms = INT64_MAX;
    w->unix_off_ms = INT64_C(1795000000000);
    w->boot_id = "boot-1";
    w->life_s = 900;
    w->trace = must(calloc(1, 1));
    for (int i = 0; i < WORLD_CLIENTS; i++) w->clients[i].w = w;
    return w;
}

void world_free(world *w)
{
    for (int i = 0; i < WORLD_CLIENTS; i++) world_client_free(&w->clients[i], 0);
    for (int i = 0; i < w->request_count; i++) {
        free(w->requests[i].body);
        free(w->requests[i].answer);
    }
    free(w->requests);
    free(w->trace);
    free(w->bytes);
    free(w);
}

dpg_status world_client_open(world_client *c, const dpg_engine_options *options, const dpg_person_options *person,
                             dpg_error *err)
{
    dpg_engine_options standard = {.events = true};
    dpg_drivers drivers = {.clock = {c->w, boot_ms, unix_ms, boot_id}, .random = {c->w, u64}};
    dpg_status status;

    drivers.transport = world_transport(c);
    drivers.virtual_time = !c->w->real_time;
    if (!c->store) c->store = world_store_new(c);
    status = dpg_engine_new_with(options ? options : &standard, &drivers, &c->engine, err);
    if (status != DPG_OK) return status;
    return dpg_credential_person(c->engine, DPG_LIT(WORLD_BASE), c->store, person, &c->person, err);
}

world_client *world_client_new(world *w, int n, const dpg_engine_options *options, const dpg_person_options *person)
{
    world_client *c = &w->clients[n];
    dpg_error err = DPG_ERROR_INIT;

    if (world_client_open(c, options, person, &err) != DPG_OK) abort();
    return c;
}

void world_client_free(world_client *c, int64_t grace_ms)
{
    dpg_credential_free(c->person);
    dpg_engine_free(c->engine, grace_ms);
    dpg_store_free(c->store);
    if (c->w->holder == c) c->w->holder = NULL; /* a lock dies with its process */
    c->person = NULL;
    c->engine = NULL;
    c->store = NULL;
    c->asked = false;
}

dpg_spec world_spec(world_client *c, const char *account, const char *method, const char *url)
{
    dpg_spec spec = DPG_SPEC_INIT;

    spec.method = dpg_cstr(method);
    spec.url = dpg_cstr(url);
    if (account) {
        spec.credential = c->person;
        spec.account = dpg_cstr(account);
    }
    return spec;
}

dpg_id world_start(world_client *c, const dpg_spec *spec)
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;

    if (dpg_engine_start(c->engine, spec, &id, &err) != DPG_OK) {
        printf("# a call can't be started: %s\n", err.message);
        abort();
    }
    return id;
}

dpg_id world_get(world_client *c, const char *account, const char *path)
{
    char url[200];
    dpg_spec spec;

    snprintf(url, sizeof url, "%s%s", WORLD_BASE, path);
    spec = world_spec(c, account, "GET", url);
    return world_start(c, &spec);
}

dpg_spec world_sign_in_spec(void)
{
    dpg_spec spec = DPG_SPEC_INIT;

    spec.method = DPG_LIT("POST");
    spec.url = DPG_LIT(WORLD_BASE "/auth/sign_in");
    spec.body = DPG_LIT("{\"login\":\"jane\",\"password\":\"" WORLD_PASSWORD "\"}");
    spec.has_body = true;
    return spec;
}

static bool looks_secret(const char *text)
{
    return strstr(text, "rt-") || strstr(text, "at-") || strstr(text, "mt-") || strstr(text, WORLD_PASSWORD);
}

void world_drain(world_client *c)
{
    dpg_note note;
    world *w = c->w;

    for (dpg_engine_next(c->engine, &note); note.type != DPG_NOTE_NONE; dpg_engine_next(c->engine, &note)) {
        size_t had = strlen(w->events);

        if (note.type == DPG_NOTE_STORE && w->on_asked) w->on_asked(c, note.asked);
        dpg_store_asked_free(note.asked);
        if (note.type != DPG_NOTE_EVENT) continue;
        if (note.wait_ms) w->told_wait_ms = note.wait_ms;
        if (looks_secret(note.code) || looks_secret(note.message) || looks_secret(note.path) ||
            looks_secret(note.method))
            w->leaked = true;
        if (had < sizeof w->events - 64)
            snprintf(w->events + had, sizeof w->events - had, "%s%s", had ? " " : "", dpg_event_name(note.event));
    }
}

bool world_turn(world_client *c, int64_t ms)
{
    int64_t until = c->w->now_ms + ms;
    bool fine;

    c->w->limit_ms = until;
    do {
        fine = dpg_engine_wait(c->engine, until - c->w->now_ms, NULL) == DPG_OK;
        world_drain(c);
    } while (fine && c->w->now_ms < until && !c->asked);
    c->w->limit_ms = INT64_MAX;
    return fine;
}

static bool ends(world_client *c, dpg_id id, int64_t until, dpg_completion *out)
{
    world *w = c->w;
    int still = 0;

    while (dpg_engine_take(c->engine, id, out, NULL) != DPG_OK) {
        int64_t before = w->now_ms;

        if (c->asked || still > 100 || dpg_engine_wait(c->engine, until - before, NULL) != DPG_OK) return false;
        world_drain(c);
        still = w->now_ms == before ? still + 1 : 0;
    }
    world_drain(c);
    if (looks_secret(out->error.message) || looks_secret(out->error.detail) || looks_secret(out->error.code))
        w->leaked = true;
    return true;
}

bool world_ends(world_client *c, dpg_id id, int64_t ms, dpg_completion *out)
{
    bool ended;

    c->w->limit_ms = c->w->now_ms + ms;
    ended = ends(c, id, c->w->limit_ms, out);
    c->w->limit_ms = INT64_MAX;
    return ended;
}

int world_count(const world *w, const char *word)
{
    int n = 0;

    for (int i = 0; i < w->request_count; i++) n += strstr(w->requests[i].url, word) != NULL;
    return n;
}

const world_request *world_last(const world *w, const char *word)
{
    for (int i = w->request_count; i-- > 0;)
        if (strstr(w->requests[i].url, word)) return &w->requests[i];
    return NULL;
}

bool world_is_clean(const world_client *c)
{
    dpg_counts n = dpg_engine_counts(c->engine);

    return !n.calls && !n.transfers && !n.timers && !n.notes && !n.untaken;
}
