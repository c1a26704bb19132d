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

static CURL *easy_get(curl_transport *c)
{
    return c->pooled ? c->pool[--c->pooled] : curl_easy_init();
}

static void easy_put(curl_transport *c, CURL *easy)
{
    if (!easy) return;
    if (c->pooled < c->pool_size) {
        curl_easy_reset(easy); /* forgets every option: nothing of ours is pointed at any more */
        c->pool[c->pooled++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

void dpg_response_clear(dpg_response *response)
{
    if (!response) return;
    dpg_free(response->headers);
    dpg_buf_clear(&response->head);
    dpg_buf_clear(&response->body);
    memset(response, 0, sizeof *response);
    response->error.retry_after_ms = -1;
}

/* Without its easy handle, which the caller has dealt with. */
static void transfer_free(transfer *t)
{
    dpg_curl_free_form(t);
    dpg_drain_clear(&t->drain);
    dpg_free_secret(t->lines, t->lines_size);
    dpg_response_clear(&t->response);
    dpg_free(t);
}

/* --- the door ------------------------------------------------------------------------------------------------------------- */

static bool reserve_answer(dpg_response *r)
{
    r->headers = dpg_calloc(ONCE_HEADERS, sizeof *r->headers);
    return r->headers && dpg_buf_reserve(&r->head, ONCE_HEAD) &&
           dpg_buf_reserve(&r->body, r->body.max < ONCE_BODY ? r->body.max : ONCE_BODY);
}

/* With all in it that is ours: its files are open, its header lines written. Also returned when that failed, to be freed. */
static transfer *transfer_new(curl_transport *c, uint64_t id, const dpg_request *request, const dpg_url *url,
                              dpg_status *status, dpg_error *err)
{
    transfer *t = dpg_calloc(1, sizeof *t);
    int host = (int)url->host.len;

    if (!t) {
        *status = dpg_fail_nomem(err);
        return NULL;
    }
    t->drain.file = (dpg_os_file)DPG_OS_FILE_NONE; /* zero would be somebody else's */
    t->owner = c;
    t->id = id;
    t->once = request->once || request->part_count;
    t->leave_by = request->leave_by_boot_ms;
    t->fed = request->fed;
    t->response.id = id;
    t->response.error.retry_after_ms = -1;
    dpg_buf_init_secret(&t->response.head, HEAD_MAX);
    dpg_buf_init_secret(&t->response.body, request->max_response_bytes ? request->max_response_bytes : RESPONSE_MAX);
    /* with its port only when it isn't the usual one; the query, which may hold a secret, is never shown */
    if (url->port == (url->https ? 443 : 80)) snprintf(t->host, sizeof t->host, "%.*s", host, url->host.ptr);
    else snprintf(t->host, sizeof t->host, "%.*s:%d", host, url->host.ptr, url->port);

    if ((*status = dpg_drain_init(&t->drain, request->sink, request->chunks, err)) != DPG_OK) return t;
    if (t->drain.to != DPG_TO_MEMORY) t->response.body.max = DPG_EXCERPT_MAX;
    if (t->once && !reserve_answer(&t->response)) {
        *status = dpg_fail_nomem(err);
        return t;
    }
    if ((*status = dpg_curl_open_form(t, request, err)) != DPG_OK) return t;
    *status = dpg_curl_make_lines(t, request, err);
    return t;
}

static dpg_status transport_start(void *self, uint64_t id, const dpg_request *request, dpg_error *err)
{
    curl_transport *c = self;
    dpg_status status = DPG_OK;
    transfer *t = NULL;
    char *text = NULL;
    int held;
    CURLMcode added;
    dpg_url url;

    if (!dpg_url_read(request->url, &url))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_url", "the URL is not a whole http or https URL");
    if (!dpg_header_name_ok(request->method) || request->method.len > 20)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_method", "the method is not one of HTTP's");

    t = transfer_new(c, id, request, &url, &status, err);
    if (status != DPG_OK) goto fail;
    if (!(text = dpg_strndup(request->url)) || !(t->easy = easy_get(c))) {
        status = dpg_fail_nomem(err);
        goto fail;
    }
    if ((status = dpg_curl_set_options(t, request, text, &url, err)) != DPG_OK) goto fail;

    held = dpg_os_pipe_hold();
    added = curl_multi_add_handle(c->multi, t->easy);
    dpg_os_pipe_release(held);
    if (added != CURLM_OK) {
        status = added == CURLM_OUT_OF_MEMORY ? dpg_fail_nomem(err)
                                              : dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "libcurl_refused",
                                                         "libcurl refuses a transfer: %s", curl_multi_strerror(added));
        goto fail;
    }
    list_add(&c->active, t);
    dpg_free_secret(text, request->url.len);
    return DPG_OK;

fail:
    if (t) {
        easy_put(c, t->easy);
        transfer_free(t);
    }
    if (text) dpg_free_secret(text, request->url.len);
    return status;
}

/* Takes it from libcurl, which closes the connection of one that isn't whole. */
static void detach(transfer *t)
{
    curl_transport *c = t->owner;

    list_remove(&c->active, t);
    curl_multi_remove_handle(c->multi, t->easy);
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
        held = dpg_os_pipe_hold();
        detach(t);
        dpg_os_pipe_release(held);
        transfer_free(t);
    } else if ((t = list_find(&c->ended, id)) != NULL) {
        sent = t->response.sent;
        list_remove(&c->ended, t);
        transfer_free(t);
    }
    return sent;
}

/* It has ended, as `result` says: from here on it waits to be taken. */
static void end(transfer *t, CURLcode result)
{
    dpg_curl_conclude(t, result);
    detach(t);
    list_add(&t->owner->ended, t);
    dpg_free_secret(t->lines, t->lines_size);
    t->lines = NULL;
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
 * After the wait, rounds of "move what can be moved" until no socket has anything to say and libcurl has nothing due: only
 * then is an answer that isn't here a late one. A fast peer could keep that up for ever; but each round serves every
 * transfer with what has come for it, so after ROUNDS of them whoever has only been waiting has been served many times.
 */
static dpg_status transport_step(void *self, int64_t timeout_ms, dpg_error *err)
{
    curl_transport *c = self;
    CURLMcode code;
    int held;
    int ready = 0, running;

    held = dpg_os_pipe_hold();
    go_on(c);
    if (c->ended.first) timeout_ms = 0; /* somebody has yet to be told */
    if (timeout_ms < 0) timeout_ms = 0;
    if (timeout_ms > INT_MAX) timeout_ms = INT_MAX;

    code = curl_multi_poll(c->multi, NULL, 0, (int)timeout_ms, NULL);
    for (int round = 0; code == CURLM_OK && round < ROUNDS; round++) {
        long due = -1;

        if ((code = curl_multi_perform(c->multi, &running)) != CURLM_OK) break;
        if (running == 0) break;
        if ((code = curl_multi_poll(c->multi, NULL, 0, 0, &ready)) != CURLM_OK) break;
        curl_multi_timeout(c->multi, &due); /* 0: bytes that TLS or HTTP/2 has read already, or a next state */
        if (ready == 0 && due != 0) break;
    }
    collect(c);
    dpg_os_pipe_release(held);

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
    memset(&t->response, 0, sizeof t->response);
    transfer_free(t);
    return true;
}

static void transport_wakeup(void *self)
{
    curl_multi_wakeup(((curl_transport *)self)->multi);
}

/* What is ours alone: everything but libcurl's handles and the list of them. */
static void free_own(curl_transport *c)
{
    for (transfer *t; (t = c->ended.first) != NULL;) {
        list_remove(&c->ended, t);
        transfer_free(t);
    }
    dpg_free(c->user_agent);
    dpg_free(c->ca_file);
    if (c->proxy) dpg_free_secret(c->proxy, strlen(c->proxy));
    c->user_agent = c->ca_file = c->proxy = NULL;
}

static void transport_free(void *self)
{
    curl_transport *c = self;
    int held;

    if (!c) return;
    held = dpg_os_pipe_hold();
    for (transfer *t; (t = c->active.first) != NULL;) {
        detach(t);
        transfer_free(t);
    }
    while (c->pooled) curl_easy_cleanup(c->pool[--c->pooled]);
    if (c->multi) curl_multi_cleanup(c->multi);
    dpg_os_pipe_release(held);
    free_own(c);
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

/* An unreadable file would be noticed with the first connection, and by libcurl's words then. */
static dpg_status check_ca_file(const char *path, dpg_error *err)
{
    dpg_os_fault fault = {DPG_OS_FAILED, "it is empty"};
    dpg_os_file file = DPG_OS_FILE_NONE;
    int64_t size;
    size_t got = 0;
    char byte;

    if (dpg_os_file_open(path, &file, &size, &fault) == DPG_OS_FINE) {
        dpg_os_fault closing;

        dpg_os_file_read(&file, &byte, 1, 0, &got, &fault);
        dpg_os_file_close(&file, &closing);
    }
    if (got) return DPG_OK;
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_TLS, "ca_file_unreadable", "the ca_file %s can't be read: %s", path,
                    fault.text);
}

static dpg_status copy(char **to, dpg_str from, const char *what, dpg_error *err)
{
    if (from.len && memchr(from.ptr, '\0', from.len))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_option", "the %s has a NUL in it", what);
    *to = dpg_strndup(from);
    return *to ? DPG_OK : dpg_fail_nomem(err);
}

/* libcurl would find out with each connection, and go without the proxy when it can't decode a password. */
static bool is_proxy(CURLU *url)
{
    static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    static const CURLUPart decoded[] = {CURLUPART_USER, CURLUPART_PASSWORD};
    char *part = NULL;
    bool known = false;

    if (curl_url_get(url, CURLUPART_SCHEME, &part, 0) != CURLUE_OK) return false;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) known = known || strcmp(part, schemes[i]) == 0;
    curl_free(part);
    for (size_t i = 0; known && i < sizeof decoded / sizeof *decoded; i++) {
        CURLUcode got = curl_url_get(url, decoded[i], &part, CURLU_URLDECODE);

        known = got == CURLUE_OK || got == CURLUE_NO_USER || got == CURLUE_NO_PASSWORD;
        if (got != CURLUE_OK) continue;
        dpg_wipe(part, strlen(part));
        curl_free(part);
    }
    return known;
}

static dpg_status check_proxy(const char *text, dpg_error *err)
{
    CURLU *url;
    CURLUcode code;
    bool good;

    if (!*text) return DPG_OK; /* none */
    url = curl_url();
    if (!url) return dpg_fail_nomem(err);
    code = curl_url_set(url, CURLUPART_URL, text, CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME);
    good = code == CURLUE_OK && is_proxy(url);
    curl_url_cleanup(url);
    if (good) return DPG_OK;
    if (code == CURLUE_OUT_OF_MEMORY) return dpg_fail_nomem(err);
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_option",
                    "the proxy is no URL like http://user:password@host:port (http, https, socks4, socks4a, socks5, "
                    "socks5h; what is special in a password is written as %%40)");
}

/* The caller's ca_file; else the bundle that libcurl was built for, if it is there; else whatever libcurl does by itself. */
static dpg_status choose_ca_file(curl_transport *c, dpg_str asked, dpg_error *err)
{
    const char *usual = dpg_curl_default_cainfo();
    dpg_status status;

    if (asked.len) {
        if ((status = copy(&c->ca_file, asked, "ca_file", err)) != DPG_OK) return status;
        return check_ca_file(c->ca_file, err);
    }
    if (!usual || check_ca_file(usual, NULL) != DPG_OK) return DPG_OK;
    return copy(&c->ca_file, dpg_cstr(usual), "ca_file", err);
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
    if (options->user_agent.len && (status = copy(&c->user_agent, options->user_agent, "user agent", err)) != DPG_OK)
        goto fail;
    if (options->proxy_set && ((status = copy(&c->proxy, options->proxy, "proxy", err)) != DPG_OK ||
                               (status = check_proxy(c->proxy, err)) != DPG_OK))
        goto fail;
    if ((status = choose_ca_file(c, options->ca_file, err)) != DPG_OK) goto fail;
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
                           .free = transport_free,
                           .forget = transport_forget};
    return DPG_OK;

fail:
    transport_free(c);
    return status;
}
