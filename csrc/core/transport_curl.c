/*
 * The transport over libcurl's multi interface: starts transfers, moves bytes, says how each ended and how far its
 * request had gone. It judges no timeouts, repeats nothing and queues nothing: the engine does. Used by engine.c, through
 * the table in drivers.h.
 *
 * Secrets: what is ours (header lines, heads, bodies, URLs) is wiped before it is freed. libcurl keeps copies of its own
 * (its request buffer, the URL) which can't be reached; they are freed with the handle.
 */
#include "transport_curl_internal.h"

#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
    ROUNDS = 64 /* see transport_step */
};

/* --- libcurl, once for the process --------------------------------------------------------------------------------- */

static CURLcode global_init(void) /* never undone: other users of libcurl in this process may count on it */
{
    static bool done;
    static CURLcode result;

    dpg_os_monitor_lock(dpg_os_global());
    if (!done) result = curl_global_init(CURL_GLOBAL_DEFAULT);
    done = true;
    dpg_os_monitor_unlock(dpg_os_global());
    return result;
}

/* --- what of libcurl may raise SIGPIPE runs between these two ------------------------------------------------------------ */

static int hold(const curl_transport *c)
{
    return c->quiet ? 0 : dpg_os_pipe_hold();
}

static void release(const curl_transport *c, int held)
{
    if (!c->quiet) dpg_os_pipe_release(held);
}

/* --- lists, handles, transfers ----------------------------------------------------------------------------------------- */

static void list_add(transfer_list *list, transfer *t)
{
    t->prev = list->last;
    t->next = NULL;
    *(list->last ? &list->last->next : &list->first) = t;
    list->last = t;
}

static void list_remove(transfer_list *list, transfer *t)
{
    *(t->prev ? &t->prev->next : &list->first) = t->next;
    *(t->next ? &t->next->prev : &list->last) = t->prev;
    t->prev = t->next = NULL;
}

static transfer *list_find(const transfer_list *list, uint64_t id)
{
    transfer *t = list->first;

    while (t && t->id != id) t = t->next;
    return t;
}

static void easy_put(curl_transport *c, CURL *easy)
{
    if (!easy) return;
    if (c->pooled + c->idle_count < c->pool_size) {
        curl_easy_reset(easy); /* forgets every option: nothing of ours is pointed at any more */
        c->pool[c->pooled++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

void dpg_response_init(dpg_response *response)
{
    memset(&response->head, 0, sizeof response->head);
    memset(&response->body, 0, sizeof response->body);
    response->id = 0;
    response->sent = DPG_SENT_NOT;
    dpg_error_clear(&response->error);
    response->status = 0;
    response->headers = NULL;
    response->header_count = 0;
    response->progress = (dpg_progress){0, -1, 0, -1};
    response->used_up = false;
}

void dpg_response_clear(dpg_response *response)
{
    if (!response) return;
    dpg_free(response->headers);
    dpg_buf_clear(&response->head);
    dpg_buf_clear(&response->body);
    dpg_response_init(response);
}

/* Without its easy handle, which the caller has dealt with. */
static void transfer_free(transfer *t)
{
    dpg_curl_free_form(t);
    dpg_drain_clear(&t->drain);
    dpg_free_secret(t->block, t->block_used);
    curl_url_cleanup(t->parts);
    dpg_response_clear(&t->response);
    dpg_free(t);
}

/* --- idle transfers: each with its easy handle, in which all is set that requests of its kind have in common ------------------ */

static transfer *take_idle(curl_transport *c, const transfer_kind *kind)
{
    transfer *t = c->idle.last; /* the warmest */

    while (t && kind && memcmp(&t->kind, kind, sizeof *kind) != 0) t = t->prev;
    if (!t) return NULL;
    list_remove(&c->idle, t);
    c->idle_count--;
    return t;
}

/* Nobody wants what it came to any more. */
static void let_go(transfer *t)
{
    curl_transport *c = t->owner;

    if (!t->easy || c->pooled + c->idle_count >= c->pool_size) {
        if (t->easy) curl_easy_cleanup(t->easy);
        transfer_free(t);
        return;
    }
    dpg_response_clear(&t->response);
    list_add(&c->idle, t);
    c->idle_count++;
}

/* A handle with nothing set in it: there may be one, or one that was kept for requests of another kind. */
static CURL *easy_get(curl_transport *c)
{
    transfer *t;
    CURL *easy;

    if (c->pooled) return c->pool[--c->pooled];
    if (c->idle_count < c->pool_size || !(t = c->idle.first)) return curl_easy_init();
    list_remove(&c->idle, t);
    c->idle_count--;
    easy = t->easy;
    curl_easy_reset(easy);
    transfer_free(t);
    return easy;
}

/* --- the door ------------------------------------------------------------------------------------------------------------- */

static bool reserve_answer(dpg_response *r)
{
    r->headers = dpg_calloc(ONCE_HEADERS, sizeof *r->headers);
    return r->headers && dpg_buf_reserve(&r->head, ONCE_HEAD) &&
           dpg_buf_reserve(&r->body, r->body.max < ONCE_BODY ? r->body.max : ONCE_BODY);
}

/* Only what stays in memory, and may go out again by itself: nothing that is said once is kept. */
static transfer_kind kind_of(const curl_transport *c, const dpg_request *request)
{
    static const dpg_str with_length[] = {
        {"POST", 4}, {"PUT", 3}, {"PATCH", 5}}; /* "Content-Length: 0", if they have no body */
    bool plain = !request->once && !request->part_count && !request->sink;
    transfer_kind kind;

    memset(&kind, 0, sizeof kind); /* compared as bytes */
    kind.keeps = plain && !request->warm && request->method.len < sizeof kind.method;
    if (kind.keeps) memcpy(kind.method, request->method.ptr, request->method.len);
    kind.posts = request->has_body || request->part_count;
    for (size_t i = 0; i < sizeof with_length / sizeof *with_length; i++)
        kind.posts = kind.posts || dpg_str_eq(request->method, with_length[i]);
    kind.http2 = c->http2 && request->https && plain; /* a paused HTTP/2 download buffers without a bound */
    kind.loopback = request->loopback;
    return kind;
}

/* All in it that is of one request only: its files are open, its text written. */
static dpg_status begin(transfer *t, uint64_t id, const dpg_request *request, transfer_text *text, dpg_error *err)
{
    dpg_status status;

    memset(&t->id, 0, offsetof(transfer, response) - offsetof(transfer, id));
    t->drain.file = (dpg_os_file)DPG_OS_FILE_NONE; /* zero would be somebody else's */
    t->id = id;
    if (!request->warm) t->url = request->url;
    t->once = request->once || request->part_count;
    t->warm = request->warm;
    t->leave_by = request->leave_by_boot_ms;
    t->fed = request->fed;
    dpg_response_init(&t->response);
    t->response.id = id;
    dpg_buf_init_secret(&t->response.head, HEAD_MAX);
    dpg_buf_init_secret(&t->response.body, request->max_response_bytes ? request->max_response_bytes : RESPONSE_MAX);

    if ((status = dpg_drain_init(&t->drain, request->sink, request->chunks, err)) != DPG_OK) return status;
    if (t->drain.to != DPG_TO_MEMORY) t->response.body.max = DPG_EXCERPT_MAX;
    if (t->once && !reserve_answer(&t->response)) return dpg_fail_nomem(err);
    if ((status = dpg_curl_open_form(t, request, err)) != DPG_OK) return status;
    return dpg_curl_make_text(t, request, text, err);
}

/* A handle that has had a request of this kind; or a new one, with what they have in common set. */
static transfer *transfer_new(curl_transport *c, const transfer_kind *kind)
{
    transfer *t = kind->keeps ? take_idle(c, kind) : NULL;

    if (t || !(t = dpg_calloc(1, sizeof *t))) return t;
    t->owner = c;
    t->kind = *kind;
    t->drain.file = (dpg_os_file)DPG_OS_FILE_NONE;
    return t;
}

static dpg_status set_up(transfer *t, uint64_t id, const dpg_request *request, dpg_error *err)
{
    transfer_text text;
    dpg_status status = begin(t, id, request, &text, err);

    if (status != DPG_OK) return status;
    if (!t->easy) {
        if (!(t->easy = easy_get(t->owner))) return dpg_fail_nomem(err);
        if ((status = dpg_curl_set_kind(t, request, err)) != DPG_OK) return status;
    }
    return dpg_curl_set_request(t, request, &text, err);
}

static dpg_status read_url(dpg_request *request, dpg_error *err)
{
    dpg_url url;

    if (request->is_read) return DPG_OK;
    if (!dpg_url_read(request->url, &url))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_url", "the URL is not a whole http or https URL");
    request->https = url.https;
    request->loopback = url.loopback;
    return DPG_OK;
}

static dpg_status transport_start(void *self, uint64_t id, const dpg_request *asked, dpg_error *err)
{
    curl_transport *c = self;
    dpg_request request = *asked;
    dpg_status status = read_url(&request, err);
    transfer_kind kind;
    transfer *t;
    int held;
    CURLMcode added;

    if (status != DPG_OK) return status;
    if (!dpg_header_name_ok(request.method) || request.method.len > 20)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_method", "the method is not one of HTTP's");
    kind = kind_of(c, &request);
    if (!(t = transfer_new(c, &kind))) return dpg_fail_nomem(err);
    if ((status = set_up(t, id, &request, err)) != DPG_OK) goto fail;

    held = hold(c);
    added = curl_multi_add_handle(c->multi, t->easy);
    release(c, held);
    if (added != CURLM_OK) {
        status = added == CURLM_OUT_OF_MEMORY ? dpg_fail_nomem(err)
                                              : dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "libcurl_refused",
                                                         "libcurl refuses a transfer: %s", curl_multi_strerror(added));
        goto fail;
    }
    list_add(&c->active, t);
    c->fresh = true;
    return DPG_OK;

fail:
    easy_put(c, t->easy);
    transfer_free(t);
    return status;
}

/*
 * A connection is kept without a request only if it speaks HTTP/2, as a server over TLS is thought to do until it says
 * otherwise; what stops before its request needs libcurl's hook.
 */
static void transport_warm(void *self, dpg_str url)
{
    curl_transport *c = self;
    dpg_request request = {.method = DPG_LIT("GET"), .url = url, .warm = true};

    if (c->proof && c->http2 && read_url(&request, NULL) == DPG_OK && request.https) {
        request.is_read = true;
        transport_start(c, 0, &request, NULL);
    }
}

/* Takes it from libcurl, which closes the connection of one that isn't whole. Only one that ended well keeps its handle. */
static void detach(transfer *t, bool well)
{
    curl_transport *c = t->owner;

    list_remove(&c->active, t);
    curl_multi_remove_handle(c->multi, t->easy);
    dpg_wipe(t->block, t->block_used);
    t->block_used = 0;
    if (well && t->kind.keeps) return;
    easy_put(c, t->easy);
    t->easy = NULL;
    dpg_curl_free_form(t);
    dpg_drain_clear(&t->drain);
}

static dpg_sent transport_abort(void *self, uint64_t id)
{
    curl_transport *c = self;
    transfer *t = list_find(&c->active, id);
    dpg_sent sent = DPG_SENT_NOT;
    int held;

    if (t) {
        sent = dpg_curl_how_far(t);
        held = hold(c);
        detach(t, false);
        release(c, held);
        transfer_free(t);
    } else if ((t = list_find(&c->ended, id)) != NULL) {
        sent = t->response.sent;
        list_remove(&c->ended, t);
        let_go(t);
    }
    return sent;
}

/* It has ended, as `result` says: from here on it waits to be taken, unless nobody will. */
static void end(transfer *t, CURLcode result)
{
    if (t->warm) {
        detach(t, false);
        transfer_free(t);
        return;
    }
    dpg_curl_conclude(t, result);
    detach(t, result == CURLE_OK && t->response.error.kind == DPG_KIND_NONE && !t->resent);
    list_add(&t->owner->ended, t);
}

static void collect(curl_transport *c)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(c->multi, &left)) != NULL) {
        CURLcode result = message->data.result; /* the message goes with the handle */
        char *private = NULL;
        transfer *t;

        if (message->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        t = (transfer *)(void *)private;
        end(t, result);
    }
}

/*
 * Whoever stood still for a pipe goes on when there are bytes, or when the half of it is free again. And once, when an
 * answer has come early: libcurl (7.88) stops sending after a refusal, but waits for ever for a form that stands still.
 */
static void go_on(curl_transport *c)
{
    for (transfer *t = c->active.first, *next; t; t = next) {
        bool early = t->send_paused && t->final && !t->nudged;
        bool fed = t->send_paused && (early || dpg_pipe_len(t->fed) > 0);
        bool read = t->recv_paused && dpg_pipe_len(t->drain.chunks) <= t->drain.chunks->cap / 2;
        CURLcode code;

        next = t->next;
        if (!fed && !read) continue;
        if (early) t->nudged = true;
        if (fed) atomic_store(&t->fed->still, t->send_paused = false);
        if (read) atomic_store(&t->drain.chunks->still, t->recv_paused = false);
        /* libcurl hands over from in here what it has kept */
        code = curl_easy_pause(t->easy, (t->send_paused ? CURLPAUSE_SEND : 0) | (t->recv_paused ? CURLPAUSE_RECV : 0));
        if (code != CURLE_OK) end(t, code);
    }
}

static bool transport_look(void *self, uint64_t id, dpg_glance *out)
{
    curl_transport *c = self;
    const transfer *t = list_find(&c->active, id);

    if (!t) return false;
    memset(out, 0, sizeof *out);
    dpg_curl_progress(t, &out->progress);
    out->moved = out->progress.sent + out->progress.received + (int64_t)t->head_total;
    if (t->fed) out->moved += t->fed->in;
    if (t->drain.chunks) out->moved += t->drain.chunks->out;
    out->used_up = dpg_curl_used_up(t);
    out->hungry = t->send_paused;
    out->full = t->recv_paused;
    if (t->drain.to == DPG_TO_FILE || t->drain.to == DPG_TO_CHUNKS) {
        out->status = t->response.status;
        out->headers = t->response.headers;
        out->header_count = t->response.header_count;
    }
    return true;
}

/*
 * What was started since the last step leaves first. After the wait, rounds of "move what can be moved" until no socket has
 * anything to say and libcurl has nothing due: only then is an answer that isn't here a late one. A fast peer could keep that up
 * for ever; but each round serves every transfer with what has come for it, so after ROUNDS of them whoever has only been waiting
 * has been served many times.
 */
static CURLMcode move(curl_transport *c, int64_t timeout_ms)
{
    CURLMcode code = CURLM_OK;
    int ready = 0, running;

    if (c->fresh) {
        c->fresh = false;
        if ((code = curl_multi_perform(c->multi, &running)) != CURLM_OK) return code;
        collect(c);
    }
    if (c->ended.first) timeout_ms = 0; /* somebody has yet to be told */
    if (timeout_ms < 0) timeout_ms = 0;
    if (timeout_ms > INT_MAX) timeout_ms = INT_MAX;
    if (c->ended.first && !c->active.first) return code;

    code = curl_multi_poll(c->multi, NULL, 0, (int)timeout_ms, NULL);
    for (int round = 0; code == CURLM_OK && round < ROUNDS; round++) {
        long due = -1;

        if ((code = curl_multi_perform(c->multi, &running)) != CURLM_OK) break;
        if (running == 0) break;
        if ((code = curl_multi_poll(c->multi, NULL, 0, 0, &ready)) != CURLM_OK) break;
        curl_multi_timeout(c->multi, &due); /* 0: bytes that TLS or HTTP/2 has read already, or a next state */
        if (ready == 0 && due != 0) break;
    }
    return code;
}

static dpg_status transport_step(void *self, int64_t timeout_ms, dpg_error *err)
{
    curl_transport *c = self;
    int held = hold(c);
    CURLMcode code;

    go_on(c);
    code = move(c, timeout_ms);
    collect(c);
    release(c, held);

    if (code == CURLM_OK) return DPG_OK;
    if (code == CURLM_OUT_OF_MEMORY) return dpg_fail_nomem(err);
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_NETWORK, "libcurl_refused", "libcurl can't go on: %s",
                    curl_multi_strerror(code));
}

static bool transport_next(void *self, dpg_response *out)
{
    curl_transport *c = self;
    transfer *t = c->ended.first;

    if (!t) return false;
    list_remove(&c->ended, t);
    *out = t->response; /* with its buffers */
    dpg_response_init(&t->response);
    let_go(t);
    return true;
}

static void transport_wakeup(void *self)
{
    curl_multi_wakeup(((curl_transport *)self)->multi);
}

/* What is ours alone: everything but libcurl's handles, and where those are kept. */
static void free_own(curl_transport *c)
{
    for (transfer *t; (t = c->ended.first) != NULL;) {
        list_remove(&c->ended, t);
        let_go(t);
    }
    dpg_free(c->agent_line);
    dpg_free(c->ca_file);
    if (c->proxy) dpg_free_secret(c->proxy, strlen(c->proxy));
    c->agent_line = c->ca_file = c->proxy = NULL;
}

static void transport_free(void *self)
{
    curl_transport *c = self;
    int held;

    if (!c) return;
    held = hold(c);
    for (transfer *t; (t = c->active.first) != NULL;) {
        detach(t, false);
        transfer_free(t);
    }
    free_own(c);
    for (transfer *t; (t = take_idle(c, NULL)) != NULL;) {
        curl_easy_cleanup(t->easy);
        transfer_free(t);
    }
    while (c->pooled) curl_easy_cleanup(c->pool[--c->pooled]);
    if (c->multi) curl_multi_cleanup(c->multi);
    release(c, held);
    dpg_free(c->pool);
    dpg_free(c);
}

/*
 * In a child made by fork the connections are the parent's: closing one through libcurl would say goodbye on it. So the
 * handles stay as they are, open until the child ends or starts another program, and are kept where a leak checker finds them.
 */
static _Atomic(curl_transport *) forgotten;

static void transport_forget(void *self)
{
    curl_transport *c = self;

    if (!c) return;
    for (transfer *t; (t = c->active.first) != NULL;) {
        list_remove(&c->active, t);
        transfer_free(t);
    }
    free_own(c);
    c->forgotten = atomic_load(&forgotten);
    while (!atomic_compare_exchange_weak(&forgotten, &c->forgotten, c)) continue;
}

dpg_status dpg_transport_curl_new(const dpg_transport_options *options, dpg_transport *out, dpg_error *err)
{
    int connections = options->max_connections > 0 ? options->max_connections : CONNECTIONS;
    const curl_version_info_data *info;
    curl_transport *c = NULL;
    dpg_status status;
    CURLcode code;

    code = global_init();
    if (code != CURLE_OK)
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "libcurl_refused", "libcurl could not be initialised: %s",
                        curl_easy_strerror(code));
    if (connections > 10000) connections = 10000;
    info = curl_version_info(CURLVERSION_NOW);

    c = dpg_calloc(1, sizeof *c);
    if (!c) return dpg_fail_nomem(err);
    c->http2 = !options->no_http2 && (info->features & CURL_VERSION_HTTP2) != 0;
    c->proof = DPG_CURL_PREREQ && info->version_num >= 0x075000;
    c->pool_size = (size_t)connections + SPARE;
    c->quiet = dpg_curl_is_quiet(info);
    if ((status = dpg_curl_read_options(c, options, err)) != DPG_OK) goto fail;
    if (!(c->pool = dpg_calloc(c->pool_size, sizeof *c->pool)) || !(c->multi = curl_multi_init())) {
        status = dpg_fail_nomem(err);
        goto fail;
    }
    if (curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)connections + SPARE) != CURLM_OK ||
        curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX) != CURLM_OK) {
        status = dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "libcurl_refused", "libcurl %s refuses its own options",
                          curl_version());
        goto fail;
    }
    *out = (dpg_transport){.self = c,
                           .start = transport_start,
                           .look = transport_look,
                           .abort = transport_abort,
                           .step = transport_step,
                           .next = transport_next,
                           .wakeup = transport_wakeup,
                           .warm = transport_warm,
                           .free = transport_free,
                           .forget = transport_forget};
    return DPG_OK;

fail:
    transport_free(c);
    return status;
}
