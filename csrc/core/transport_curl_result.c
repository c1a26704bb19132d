/*
 * How a transfer ended: libcurl's result code and words become an error's kind, code and message, or a response with its
 * headers; and how far the request had gone. Used by transport_curl.c.
 */
#include "transport_curl_internal.h"

#include <stdio.h>
#include <string.h>

/* What an end means. `text` goes before the host's name. */
typedef struct verdict {
    dpg_kind kind;
    bool unsent; /* it can only happen before the request is written */
    const char *code, *text;
} verdict;

static const verdict no_address = {DPG_KIND_NETWORK, true, "resolve_failed", "there is no address to be had for"};
static const verdict no_proxy = {DPG_KIND_NETWORK, true, "resolve_failed",
                                 "there is no address to be had for the proxy to"};
static const verdict no_connection = {DPG_KIND_NETWORK, true, "connect_failed", "could not connect to"};
static const verdict refused = {DPG_KIND_USAGE, true, "proxy_refused", "the proxy refuses to connect to"};
static const verdict lost = {DPG_KIND_NETWORK, false, "connection_lost",
                             "the connection was lost before the answer of"};
static const verdict cut = {DPG_KIND_NETWORK, false, "answer_cut", "only a part of the answer came from"};
static const verdict unknown = {DPG_KIND_NETWORK, false, "transfer_failed", "the transfer failed, with"};
static const verdict bad_bundle = {DPG_KIND_TLS, true, "ca_file_invalid",
                                   "the certificates in ca_file can't be used for"};
static const verdict unproven = {DPG_KIND_TLS, true, "certificate_invalid",
                                 "the certificate does not prove that this is"};
static const verdict insecure = {DPG_KIND_TLS, true, "tls_failed", "no secure connection to"};
static const verdict wants_certificate = {DPG_KIND_TLS, false, "tls_failed",
                                          "a client certificate, which dpg can't give, is wanted by"};
static const verdict unsupported = {DPG_KIND_USAGE, false, "unsupported",
                                    "this libcurl, or the proxy setting, allows no connection to"};
static const verdict not_http = {DPG_KIND_PROTOCOL, false, "bad_http", "what came is not proper HTTP, from"};
static const verdict body_too_large = {DPG_KIND_PROTOCOL, false, "response_too_large", "the answer is too large, from"};
static const verdict head_too_large = {DPG_KIND_PROTOCOL, false, "headers_too_large",
                                       "the headers are too large, from"};

static const struct {
    CURLcode result;
    const verdict *means;
} meanings[] = {
    {CURLE_COULDNT_RESOLVE_HOST, &no_address},
    {CURLE_COULDNT_RESOLVE_PROXY, &no_proxy},
    {CURLE_COULDNT_CONNECT, &no_connection},
    {DPG_CURLE_PROXY, &no_connection},
    {CURLE_GOT_NOTHING, &lost},
    {CURLE_SEND_ERROR, &lost},
    {CURLE_RECV_ERROR, &lost},
    {CURLE_HTTP2, &lost},
    {CURLE_HTTP2_STREAM, &lost},
    {CURLE_OPERATION_TIMEDOUT, &lost},
    {CURLE_ABORTED_BY_CALLBACK, &lost}, /* on_prereq refused to send a second time */
    {CURLE_PARTIAL_FILE, &cut},
    {CURLE_SSL_CACERT_BADFILE, &bad_bundle},
    {CURLE_PEER_FAILED_VERIFICATION, &unproven},
    {CURLE_SSL_ISSUER_ERROR, &unproven},
    {CURLE_SSL_INVALIDCERTSTATUS, &unproven},
    {CURLE_SSL_CONNECT_ERROR, &insecure},
    {CURLE_SSL_CERTPROBLEM, &insecure},
    {CURLE_SSL_CIPHER, &insecure},
    {CURLE_SSL_ENGINE_INITFAILED, &insecure},
    {CURLE_SSL_ENGINE_NOTFOUND, &insecure},
    {CURLE_SSL_ENGINE_SETFAILED, &insecure},
    {CURLE_USE_SSL_FAILED, &insecure},
    {DPG_CURLE_SSL_CLIENTCERT, &wants_certificate}, /* TLS 1.3 says so only after the request */
    {CURLE_UNSUPPORTED_PROTOCOL, &unsupported},
    {CURLE_URL_MALFORMAT, &unsupported},
    {CURLE_NOT_BUILT_IN, &unsupported},
    {CURLE_WEIRD_SERVER_REPLY, &not_http},
    {CURLE_BAD_CONTENT_ENCODING, &not_http},
    {CURLE_WRITE_ERROR,
     &not_http}, /* newer versions, of a body that can't be decoded: our own refusals are seen before */
    {DPG_CURLE_TOO_LARGE, &head_too_large},
};

/* A proxy that will say the same again; asked often with a wrong password, it may lock the user out. */
static bool is_refusal(long status)
{
    return status >= 400 && status < 500 && status != 408 && status != 429;
}

/* The other side went away during the handshake, in the words of OpenSSL, or of libcurl on Windows: nothing is wrong with its TLS. */
static bool is_hung_up(const char *says)
{
    static const char *const words[] = {
        "SSL_ERROR_SYSCALL",           "unexpected eof",       "reset by peer", "Broken pipe",
        "failed to receive handshake", "handshake data: sent", "getpeername()", "Connection was "};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(says, words[i])) return true;
    return false;
}

static const verdict *judge(const transfer *t, CURLcode result)
{
    const char *says = t->says;
    const verdict *v = &unknown;
    bool unsent = t->owner->proof && !t->left;

    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].result == result) v = meanings[i].means;

    /* where libcurl has one code for several things */
    if (v == &insecure && is_hung_up(says)) return &no_connection;
    if (result == CURLE_UNSUPPORTED_PROTOCOL && !unsent) return &not_http;       /* HTTP/0.9 */
    if (result == CURLE_RECV_ERROR && strstr(says, "chunked")) return &not_http; /* a bad chunk, in 7.88 */
    if (result == CURLE_RECV_ERROR && strstr(says, "response headers")) return &head_too_large; /* its limit: 300 KB */
    if (v == &lost && unsent) { /* a proxy, say, that hung up */
        long proxy_said = 0;

        curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_said);
        return is_refusal(proxy_said) ? &refused : &no_connection;
    }
    if (v == &lost && t->head_total) return &cut;
    return v;
}

/*
 * libcurl's words where they are fit to be shown: never when they quote a URL (it quotes a proxy's, password and all),
 * and without control characters (it quotes names from certificates).
 */
static void quote(const transfer *t, CURLcode result, char *out, size_t size)
{
    const char *says = t->says;
    size_t len;

    if (!says[0] || strstr(says, "://") || strchr(says, '@')) says = curl_easy_strerror(result);
    snprintf(out, size, "%s", says);
    for (len = 0; out[len]; len++)
        if ((unsigned char)out[len] < ' ' || out[len] == 0x7f) out[len] = ' ';
    while (len && (out[len - 1] == ' ' || out[len - 1] == '.')) out[--len] = '\0';
}

/* Lines that are no field are left out. */
bool dpg_curl_read_head(transfer *t, bool *too_many)
{
    dpg_response *r = &t->response;
    char *at = r->head.ptr, *end = at + r->head.len;

    *too_many = t->head_lines > HEADERS_MAX;
    if (*too_many || !at || r->header_count) return true; /* read before */
    if (!r->headers || t->head_lines > ONCE_HEADERS) {    /* what is there was made for a `once` */
        dpg_free(r->headers);
        r->headers = dpg_malloc(t->head_lines * sizeof *r->headers);
        if (!r->headers) return false;
    }
    while (at < end) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        dpg_header *h = &r->headers[r->header_count];

        if (dpg_header_line(dpg_str_of(at, (size_t)(stop - at)), &h->name, &h->value)) {
            for (char *c = at; c < at + h->name.len; c++)
                if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + ('a' - 'A'));
            r->header_count++;
        }
        at = stop + 1;
    }
    return true;
}

static dpg_sent how_far(const transfer *t, const verdict *v)
{
    if (t->owner->proof && !t->left) return DPG_SENT_NOT;
    /* libcurl resends only on connections that it reuses, so on a fresh one these failures came before the first byte */
    if (!t->owner->proof && t->once && v && v->unsent) return DPG_SENT_NOT;
    return dpg_curl_form_is_whole(t) ? DPG_SENT_MAYBE : DPG_SENT_PART;
}

dpg_sent dpg_curl_how_far(const transfer *t)
{
    return how_far(t, NULL);
}

void dpg_curl_progress(const transfer *t, dpg_progress *out)
{
    curl_off_t n = 0;

    *out = (dpg_progress){0, -1, 0, -1};
    if (curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &n) == CURLE_OK) out->sent = (int64_t)n;
    if (curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_UPLOAD_T, &n) == CURLE_OK) out->to_send = (int64_t)n;
    out->received = t->drain.received; /* what is in its place; libcurl may hold some more */
    if (t->drain.to == DPG_TO_FILE || t->drain.to == DPG_TO_CHUNKS) out->to_receive = t->drain.length;
    else if (curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n) == CURLE_OK)
        out->to_receive = (int64_t)n;
}

bool dpg_curl_used_up(const transfer *t)
{
    return t->drain.begun || (t->fed && t->fed->out > 0);
}

/* An end that looks good to libcurl, up to here: is it whole, and is its head fit to be shown? */
static const verdict *look_again(transfer *t, long status, bool *nomem, char *words, size_t size)
{
    bool too_many = false;

    if (!t->final) { /* 7.88 takes a head that was cut for a whole answer */
        snprintf(words, size, "the head has no end");
        return &cut;
    }
    if (status < 200 || status > 999) {
        snprintf(words, size, "no status");
        return &not_http;
    }
    if (!dpg_curl_read_head(t, &too_many)) {
        *nomem = true;
    } else if (too_many) {
        snprintf(words, size, "more than %d of them", HEADERS_MAX);
        return &head_too_large;
    } else {
        dpg_drain_finish(&t->drain, &t->response.error);
    }
    return NULL;
}

/* The head of a good answer to a file or chunks stays: it says what it is that has come in part. */
static void forget_answer(transfer *t)
{
    dpg_response *r = &t->response;

    dpg_buf_clear(&r->body);
    if (r->status && (t->drain.to == DPG_TO_FILE || t->drain.to == DPG_TO_CHUNKS)) return;
    dpg_free(r->headers);
    r->headers = NULL;
    r->header_count = 0;
    r->status = 0;
    dpg_buf_clear(&r->head);
}

/* With its port only when it isn't the usual one; the query, which may hold a secret, is never shown. */
static void name_host(const transfer *t, char *out, size_t size)
{
    dpg_url url;

    if (!dpg_url_read(t->url, &url)) *out = '\0'; /* never: it was read when this began */
    else if (url.port == (url.https ? 443 : 80)) snprintf(out, size, "%.*s", (int)url.host.len, url.host.ptr);
    else snprintf(out, size, "%.*s:%d", (int)url.host.len, url.host.ptr, url.port);
}

static void fail(transfer *t, const verdict *v, const char *words)
{
    char host[264];

    name_host(t, host, sizeof host);
    dpg_fail(&t->response.error, DPG_E_SYSTEM, v->kind, v->code, "%s %s: %s", v->text, host, words);
}

void dpg_curl_conclude(transfer *t, CURLcode result)
{
    dpg_response *r = &t->response;
    const verdict *v = NULL;
    char words[CURL_ERROR_SIZE];
    bool nomem = false;
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    dpg_curl_progress(t, &r->progress);
    r->used_up = dpg_curl_used_up(t);
    if (r->error.kind) {
        /* said already, where it happened: by a file, a sink or the head of an answer to one */
    } else if (r->head.failed || (r->body.failed && !t->drain.enough)) {
        nomem = r->head.failed == DPG_BUF_NO_MEMORY || r->body.failed == DPG_BUF_NO_MEMORY;
        v = r->head.failed ? &head_too_large : &body_too_large;
        snprintf(words, sizeof words, "more than %zu bytes%s", r->head.failed ? (size_t)HEAD_MAX : r->body.max,
                 r->head.failed ? "" : " (max_response_bytes)");
    } else if (result == CURLE_OUT_OF_MEMORY) {
        /* also what it says (before 8.6) of one header line above its own limit of 100 KB */
        nomem = t->head_total == 0 || t->final;
        v = &head_too_large;
        quote(t, DPG_CURLE_TOO_LARGE, words, sizeof words);
    } else if (result != CURLE_OK && !t->drain.enough) {
        v = judge(t, result);
        quote(t, result, words, sizeof words);
    } else {
        v = look_again(t, status, &nomem, words, sizeof words);
    }

    r->sent = how_far(t, v);
    if (!v && !nomem && !r->error.kind) {
        r->status = (int)status;
        return;
    }
    forget_answer(t);
    if (nomem) dpg_fail_nomem(&r->error);
    else if (v) fail(t, v, words);
    if (t->final && status >= 200 && status <= 999) r->error.http_status = (int)status;
}
