/*
 * The transport over libcurl's multi interface: starts transfers, moves bytes, says how each ended and how far its
 * request had gone. It judges no timeouts, repeats nothing and queues nothing: the engine does. Used by engine.c, through
 * the table in drivers.h.
 *
 * Secrets: what is ours (header lines, heads, bodies, URLs) is wiped before it is freed. libcurl keeps copies of its own
 * (its request buffer, the URL) which can't be reached; they are freed with the handle.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#include "curl_compat.h"
#include "drivers.h"
#include "headers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD_MAX = 256 * 1024,   /* all header lines of an answer together, 1xx ones too */
    HEADERS_MAX = 2048,      /* … and how many of them the final answer may have */
    RESPONSE_MAX = 64 << 20, /* a body, where the request doesn't say */
    CONNECTIONS = 16,        /* where the options don't say */
    ROUNDS = 64,             /* see transport_step */
    SPARE = 8                /* connections kept beyond max_connections, and handles: exchanges aren't counted in it */
};

typedef struct curl_transport curl_transport;

/* One transfer: in `active` from start to its end, then in `ended` until somebody takes it. */
typedef struct transfer {
    struct transfer *prev, *next;
    curl_transport *owner;
    CURL *easy;
    uint64_t id;
    bool once;
    bool left;                /* libcurl was about to send: from here on bytes may have gone */
    bool in_head;             /* between a status line and its empty line */
    bool interim;             /* … of a 1xx answer, which another one follows */
    bool final;               /* the head of the final answer is whole; what follows are trailers */
    size_t head_total;        /* bytes of all header lines */
    struct curl_slist *lines; /* request headers: the nodes and their text in one block of `lines_size` bytes */
    size_t lines_size;
    char host[264];             /* for messages: "host" or "host:port" */
    char says[CURL_ERROR_SIZE]; /* libcurl's own words */
    dpg_response response;
} transfer;

typedef struct transfer_list {
    transfer *first, *last;
} transfer_list;

struct curl_transport {
    CURLM *multi;
    transfer_list active, ended;
    CURL **pool; /* idle easy handles */
    size_t pooled, pool_size;
    char *user_agent, *ca_file, *proxy; /* NULL: not set */
    bool http2;
    bool proof;                /* this libcurl calls on_prereq */
    curl_transport *forgotten; /* the next one that was forgotten */
};

/* --- libcurl, once for the process --------------------------------------------------------------------------------- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void) /* never undone: other users of libcurl in this process may count on it */
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- SIGPIPE --------------------------------------------------------------------------------------------------------- */

/*
 * libcurl writes to sockets that may be gone, by write() where OpenSSL does it, and with CURLOPT_NOSIGNAL it leaves the
 * signal to us. It is blocked in this thread while libcurl has control; one that came from there is taken out again.
 */
typedef struct pipe_hold {
    sigset_t mask;
    bool idle; /* nothing to undo: one was pending before */
} pipe_hold;

static void hold_sigpipe(pipe_hold *hold)
{
    sigset_t set;

    sigemptyset(&set);
    sigpending(&set);
    hold->idle = sigismember(&set, SIGPIPE) == 1;
    if (hold->idle) return;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &hold->mask);
}

static void release_sigpipe(const pipe_hold *hold)
{
    sigset_t set;

    if (hold->idle) return;
    sigemptyset(&set);
    sigpending(&set);
    if (sigismember(&set, SIGPIPE) == 1) {
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
#ifdef __APPLE__
        int sig;

        sigwait(&set, &sig);
#else
        static const struct timespec now = {0, 0};

        while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR) continue;
#endif
    }
    pthread_sigmask(SIG_SETMASK, &hold->mask, NULL);
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
    dpg_free_secret(t->lines, t->lines_size);
    dpg_response_clear(&t->response);
    dpg_free(t);
}

/* --- the request ----------------------------------------------------------------------------------------------------- */

static char line_no_expect[] = "Expect:";     /* never wait for a "100 Continue" */
static char line_no_type[] = "Content-Type:"; /* libcurl would call a body a form */

/* Headers that say how the message is framed or how the connection is used: libcurl's business, or they would lie. */
static bool is_framing(dpg_str name)
{
    static const char *const names[] = {"connection", "content-length",      "expect",           "host",
                                        "keep-alive", "proxy-authorization", "proxy-connection", "te",
                                        "trailer",    "transfer-encoding",   "upgrade"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (dpg_str_eq_nocase(name, dpg_cstr(names[i]))) return true;
    return false;
}

static dpg_str trim(dpg_str s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s.ptr++, s.len--;
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
    return s;
}

/*
 * The header lines as libcurl reads them. It never frees or changes this list, so nodes and text lie in one block of ours
 * that can be wiped: Authorization is in it.
 */
static dpg_status make_lines(transfer *t, const dpg_request *request, dpg_error *err)
{
    size_t nodes = request->header_count + 2, size = nodes * sizeof(struct curl_slist), n = 0;
    bool typed = false;
    struct curl_slist *node;
    char *text;

    for (size_t i = 0; i < request->header_count; i++) {
        const dpg_header *h = &request->headers[i];

        if (!dpg_header_name_ok(h->name) || !dpg_header_value_ok(h->value))
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_header", "header %zu can't be sent as it is",
                            i + 1);
        if (is_framing(h->name))
            return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_header",
                            "the header %.*s is not the caller's to set", (int)h->name.len, h->name.ptr);
        if (dpg_str_eq_nocase(h->name, DPG_LIT("content-type"))) typed = true;
        size += h->name.len + h->value.len + 3;
    }
    node = dpg_calloc(1, size);
    if (!node) return dpg_fail_nomem(err);
    t->lines = node;
    t->lines_size = size;
    text = (char *)(node + nodes);
    for (size_t i = 0; i < request->header_count; i++) {
        dpg_str name = request->headers[i].name, value = trim(request->headers[i].value);

        node[n++].data = text;
        memcpy(text, name.ptr, name.len);
        text += name.len;
        if (value.len) {
            *text++ = ':';
            *text++ = ' ';
            memcpy(text, value.ptr, value.len);
            text += value.len;
        } else {
            *text++ = ';'; /* libcurl's way to write a header without a value; a colon would take it out */
        }
        *text++ = '\0';
    }
    node[n++].data = line_no_expect;
    if (!typed) node[n++].data = line_no_type;
    for (size_t i = 0; i + 1 < n; i++) node[i].next = &node[i + 1];
    return DPG_OK;
}

/* --- libcurl's callbacks: move bytes and count ------------------------------------------------------------------------- */

static curl_socket_t on_socket(void *self, curlsocktype purpose, struct curl_sockaddr *address)
{
    int type = address->socktype, fd;

    (void)self;
    (void)purpose;
#ifdef SOCK_CLOEXEC
    type |= SOCK_CLOEXEC; /* a program that the caller starts has no business on our connections */
#endif
    fd = socket(address->family, type, address->protocol);
#ifndef SOCK_CLOEXEC
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

#if DPG_CURL_PREREQ
/*
 * Called when there is a connection and the request is about to be written, each time that libcurl does so: it sends
 * again by itself when a reused connection dies before the first byte of an answer (seen with 7.88).
 */
static int on_prereq(void *self, char *peer, char *local, int peer_port, int local_port)
{
    transfer *t = self;
    bool again = t->left;

    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    t->left = true;
    return again && t->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}
#endif

/* One whole line of a head, with its line end; a trailer, too. 1xx answers come first and are dropped. */
static size_t on_header(char *bytes, size_t one, size_t len, void *self)
{
    transfer *t = self;
    size_t line = one * len, text = line;

    t->head_total += line;
    if (t->head_total > HEAD_MAX) {
        t->response.head.failed = DPG_BUF_TOO_LONG;
        return 0;
    }
    while (text && (bytes[text - 1] == '\n' || bytes[text - 1] == '\r')) text--;
    if (t->final) return line; /* a trailer */
    if (!t->in_head) {         /* a status line */
        const char *blank = memchr(bytes, ' ', text);

        dpg_buf_clear(&t->response.head);
        t->in_head = true;
        t->interim = blank && blank + 1 < bytes + text && blank[1] == '1'; /* "HTTP/1.1 103 …", "HTTP/2 103" */
        return line;
    }
    if (text == 0) {
        t->in_head = false;
        t->final = !t->interim;
        return line;
    }
    return dpg_buf_put(&t->response.head, bytes, text) && dpg_buf_put(&t->response.head, "\n", 1) ? line : 0;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *self)
{
    transfer *t = self;

    return dpg_buf_put(&t->response.body, bytes, one * len) ? one * len : 0;
}

/* --- the options ------------------------------------------------------------------------------------------------------- */

static dpg_status option_refused(dpg_error *err, const char *option, CURLcode code)
{
    if (code == CURLE_OUT_OF_MEMORY) return dpg_fail_nomem(err);
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "libcurl_refused", "libcurl %s refuses %s: %s", curl_version(),
                    option, curl_easy_strerror(code));
}

#define SET(option, value)                                                 \
    do {                                                                   \
        CURLcode code_ = curl_easy_setopt(t->easy, option, value);         \
        if (code_ != CURLE_OK) return option_refused(err, #option, code_); \
    } while (0)

/* For what a libcurl may have been built without. */
#define SET_IF_KNOWN(option, value)                                                            \
    do {                                                                                       \
        CURLcode code_ = curl_easy_setopt(t->easy, option, value);                             \
        if (code_ != CURLE_OK && code_ != CURLE_UNKNOWN_OPTION && code_ != CURLE_NOT_BUILT_IN) \
            return option_refused(err, #option, code_);                                        \
    } while (0)

static dpg_status set_method(transfer *t, const dpg_request *request, dpg_error *err)
{
    char method[32];
    bool body = request->has_body;

    snprintf(method, sizeof method, "%.*s", (int)request->method.len, request->method.ptr);
    if (!body && strcmp(method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
        return DPG_OK;
    }
    if (!body && strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return DPG_OK;
    }
    /* these say "Content-Length: 0" when they have none; DELETE and the like say nothing then */
    if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) body = true;
    if (body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, request->has_body ? (curl_off_t)request->body.len : 0);
        SET(CURLOPT_POSTFIELDS, request->has_body && request->body.ptr ? request->body.ptr : "");
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, method);
    return DPG_OK;
}

/* All options of one transfer. What libcurl doesn't copy (body, header lines, `t` itself) lives as long as the transfer. */
static dpg_status set_options(transfer *t, const dpg_request *request, const char *text, const dpg_url *url,
                              dpg_error *err)
{
    const curl_transport *c = t->owner;
    bool http2 = c->http2 && url->https && !request->once;
    dpg_status status;

    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->says);
    SET(CURLOPT_NOSIGNAL, 1L);
#if DPG_CURL_QUICK_EXIT
    SET_IF_KNOWN(CURLOPT_QUICK_EXIT, 1L);
#endif

    /* where to, and nowhere else */
    SET(CURLOPT_URL, text);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(DPG_CURL_PROTOCOLS_OPTION, DPG_CURL_PROTOCOLS);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    if (url->loopback) SET(CURLOPT_PROXY, "");
    else if (c->proxy) SET(CURLOPT_PROXY, c->proxy);
    SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* a proxy is not told our headers */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

    /*
     * No timeouts of libcurl's: it judges them before it reads, so that a program which was busy or stopped for longer
     * would see an answer thrown away that lies in the socket (seen). The one for connecting has a default of 300 s.
     */
    SET(CURLOPT_TIMEOUT_MS, 0L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)INT_MAX);

    /* TLS: CAPATH must be unset for libcurl to keep the parsed bundle (else 31 to 37 ms of CPU for each new connection) */
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (c->ca_file) {
        SET(CURLOPT_CAINFO, c->ca_file);
        SET_IF_KNOWN(CURLOPT_CAPATH, NULL);
        SET_IF_KNOWN(CURLOPT_PROXY_CAINFO, c->ca_file);
        SET_IF_KNOWN(CURLOPT_PROXY_CAPATH, NULL);
    }

    /* HTTP */
    SET(CURLOPT_HTTP_VERSION, http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    /*
     * Many at once to a server that is new to us: the first one connects and the others wait to hear whether it speaks
     * HTTP/2, rather than make a connection each. For a server known to have HTTP/1.1 only libcurl doesn't wait.
     */
    SET(CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    SET(CURLOPT_ACCEPT_ENCODING, ""); /* all that libcurl can decode; on_body counts decoded bytes */
    SET(CURLOPT_HTTPHEADER, t->lines);
    if (c->user_agent) SET(CURLOPT_USERAGENT, c->user_agent);
    if ((status = set_method(t, request, err)) != DPG_OK) return status;

    /* connections */
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    if (request->once) {
        SET(CURLOPT_FRESH_CONNECT, 1L);
        SET(CURLOPT_FORBID_REUSE, 1L);
    }
#if DPG_CURL_PREREQ
    if (c->proof) {
        SET(CURLOPT_PREREQFUNCTION, on_prereq);
        SET(CURLOPT_PREREQDATA, t);
    }
#endif

    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    return DPG_OK;
}

/* --- how a transfer ended ------------------------------------------------------------------------------------------------ */

/* What a result code of libcurl means. `text` goes before the host's name. */
typedef struct verdict {
    CURLcode result;
    dpg_kind kind;
    bool unsent; /* it can only happen before the request is written */
    const char *code, *text;
} verdict;

static const verdict verdicts[] = {
    {CURLE_COULDNT_RESOLVE_HOST, DPG_KIND_NETWORK, true, "resolve_failed", "there is no address to be had for"},
    {CURLE_COULDNT_RESOLVE_PROXY, DPG_KIND_NETWORK, true, "resolve_failed",
     "there is no address to be had for the proxy to"},
    {CURLE_COULDNT_CONNECT, DPG_KIND_NETWORK, true, "connect_failed", "could not connect to"},
    {DPG_CURLE_PROXY, DPG_KIND_NETWORK, true, "connect_failed", "the proxy did not connect to"},
    {CURLE_UNSUPPORTED_PROTOCOL, DPG_KIND_USAGE, true, "unsupported",
     "this libcurl or its proxy setting does not allow a connection to"},
    {CURLE_URL_MALFORMAT, DPG_KIND_USAGE, true, "unsupported",
     "this libcurl or its proxy setting does not allow a connection to"},
    {CURLE_NOT_BUILT_IN, DPG_KIND_USAGE, true, "unsupported",
     "this libcurl or its proxy setting does not allow a connection to"},
    {CURLE_SSL_CACERT_BADFILE, DPG_KIND_TLS, true, "ca_file_invalid", "the certificates in ca_file can't be used for"},
    {CURLE_PEER_FAILED_VERIFICATION, DPG_KIND_TLS, true, "certificate_invalid",
     "the certificate does not prove that this is"},
    {CURLE_SSL_ISSUER_ERROR, DPG_KIND_TLS, true, "certificate_invalid", "the certificate does not prove that this is"},
    {CURLE_SSL_INVALIDCERTSTATUS, DPG_KIND_TLS, true, "certificate_invalid",
     "the certificate does not prove that this is"},
    {CURLE_SSL_CONNECT_ERROR, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_SSL_CERTPROBLEM, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_SSL_CIPHER, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_SSL_CRL_BADFILE, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_SSL_ENGINE_INITFAILED, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_SSL_ENGINE_NOTFOUND, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_SSL_ENGINE_SETFAILED, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {CURLE_USE_SSL_FAILED, DPG_KIND_TLS, true, "tls_failed", "no secure connection to"},
    {DPG_CURLE_SSL_CLIENTCERT, DPG_KIND_TLS, false, "tls_failed", "no secure connection to"},
    {CURLE_PARTIAL_FILE, DPG_KIND_NETWORK, false, "answer_cut", "only a part of the answer came from"},
    {CURLE_GOT_NOTHING, DPG_KIND_NETWORK, false, "connection_lost", "the connection was lost before the answer of"},
    {CURLE_SEND_ERROR, DPG_KIND_NETWORK, false, "connection_lost", "the connection was lost before the answer of"},
    {CURLE_RECV_ERROR, DPG_KIND_NETWORK, false, "connection_lost", "the connection was lost before the answer of"},
    {CURLE_HTTP2, DPG_KIND_NETWORK, false, "connection_lost", "the connection was lost before the answer of"},
    {CURLE_HTTP2_STREAM, DPG_KIND_NETWORK, false, "connection_lost", "the connection was lost before the answer of"},
    {CURLE_ABORTED_BY_CALLBACK, DPG_KIND_NETWORK, false, "connection_lost",
     "the connection was lost before the answer of"},
    {CURLE_WEIRD_SERVER_REPLY, DPG_KIND_PROTOCOL, false, "bad_http", "what came is not proper HTTP, from"},
    {CURLE_BAD_CONTENT_ENCODING, DPG_KIND_PROTOCOL, false, "bad_http", "what came can't be decoded, from"},
    {CURLE_WRITE_ERROR, DPG_KIND_PROTOCOL, false, "bad_http", "what came can't be decoded, from"},
    {DPG_CURLE_TOO_LARGE, DPG_KIND_PROTOCOL, false, "headers_too_large", "the headers are too large, from"},
    {CURLE_OPERATION_TIMEDOUT, DPG_KIND_NETWORK, false, "connection_lost", "nothing was heard any more of"},
};
static const verdict not_http = {CURLE_OK, DPG_KIND_PROTOCOL, false, "bad_http", "what came is not proper HTTP, from"};
static const verdict cut = {CURLE_OK, DPG_KIND_NETWORK, false, "answer_cut", "only a part of the answer came from"};
static const verdict no_connection = {CURLE_OK, DPG_KIND_NETWORK, true, "connect_failed", "could not connect to"};
static const verdict body_too_large = {CURLE_OK, DPG_KIND_PROTOCOL, false, "response_too_large",
                                       "the answer is too large, from"};
static const verdict head_too_large = {CURLE_OK, DPG_KIND_PROTOCOL, false, "headers_too_large",
                                       "the headers are too large, from"};
static const verdict unknown = {CURLE_OK, DPG_KIND_NETWORK, false, "transfer_failed", "the transfer failed, with"};

static const verdict *judge(const transfer *t, CURLcode result)
{
    const char *says = t->says;
    const verdict *v = &unknown;

    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
        if (verdicts[i].result == result) v = &verdicts[i];

    /* where libcurl has one code for several things */
    if (result == CURLE_SSL_CONNECT_ERROR && (strstr(says, "SSL_ERROR_SYSCALL") || strstr(says, "unexpected eof") ||
                                              strstr(says, "reset by peer") || strstr(says, "Broken pipe")))
        return &no_connection; /* the other side went away during the handshake; nothing is wrong with its TLS */
    if (result == CURLE_UNSUPPORTED_PROTOCOL && t->left) return &not_http;       /* HTTP/0.9, HTTP/3.7 */
    if (result == CURLE_RECV_ERROR && strstr(says, "chunked")) return &not_http; /* a bad chunk, before 8.x */
    if (result == CURLE_RECV_ERROR && strstr(says, "response headers"))
        return &head_too_large; /* its own limit, 300 KB */
    if (v->kind == DPG_KIND_NETWORK && !v->unsent && t->owner->proof && !t->left) return &no_connection;
    if (v->kind == DPG_KIND_NETWORK && t->head_total) return &cut;
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

/* The lines of the head as headers; false without memory. Lines that are no field are left out. */
static bool read_head(dpg_response *response, bool *too_many)
{
    char *at = response->head.ptr, *end = at + response->head.len;
    size_t lines = 0;

    *too_many = false;
    if (!at) return true;
    for (const char *p = at; p < end; p++) lines += *p == '\n';
    if (lines > HEADERS_MAX) {
        *too_many = true;
        return true;
    }
    response->headers = dpg_calloc(lines, sizeof *response->headers);
    if (!response->headers) return false;
    while (at < end) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        dpg_header *h = &response->headers[response->header_count];

        if (dpg_header_line(dpg_str_of(at, (size_t)(stop - at)), &h->name, &h->value)) {
            for (char *c = at; c < at + h->name.len; c++)
                if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + ('a' - 'A'));
            response->header_count++;
        }
        at = stop + 1;
    }
    return true;
}

static dpg_sent how_far(const transfer *t, const verdict *v)
{
    if (t->owner->proof) return t->left ? DPG_SENT_MAYBE : DPG_SENT_NOT;
    /* libcurl resends only on connections that it reuses, so on a fresh one these failures came before the first byte */
    return t->once && v && v->unsent ? DPG_SENT_NOT : DPG_SENT_MAYBE;
}

/* Turn what libcurl says into the response. The handle is still the transfer's. */
static void conclude(transfer *t, CURLcode result)
{
    dpg_response *r = &t->response;
    const verdict *v = NULL;
    char words[CURL_ERROR_SIZE];
    bool nomem = false, too_many = false;
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (r->head.failed || r->body.failed) {
        nomem = r->head.failed == DPG_BUF_NO_MEMORY || r->body.failed == DPG_BUF_NO_MEMORY;
        v = r->head.failed ? &head_too_large : &body_too_large;
        snprintf(words, sizeof words, "more than %zu bytes", r->head.failed ? (size_t)HEAD_MAX : r->body.max);
    } else if (result == CURLE_OUT_OF_MEMORY) {
        /* also what it says (before 8.6) of one header line above its own limit of 100 KB */
        nomem = !t->left || t->final;
        v = &head_too_large;
        quote(t, DPG_CURLE_TOO_LARGE, words, sizeof words);
    } else if (result != CURLE_OK) {
        v = judge(t, result);
        quote(t, result, words, sizeof words);
    } else if (!t->final) { /* 7.88 takes a head that was cut for a whole answer */
        v = &cut;
        snprintf(words, sizeof words, "the head has no end");
    } else if (status < 200 || status > 999) {
        v = &not_http;
        snprintf(words, sizeof words, "no status");
    } else if (!read_head(r, &too_many)) {
        nomem = true;
    } else if (too_many) {
        v = &head_too_large;
        snprintf(words, sizeof words, "more than %d of them", HEADERS_MAX);
    }

    r->sent = how_far(t, v);
    if (!v && !nomem) {
        r->status = (int)status;
        return;
    }
    dpg_buf_clear(&r->head);
    dpg_buf_clear(&r->body);
    if (nomem) dpg_fail_nomem(&r->error);
    else dpg_fail(&r->error, DPG_E_SYSTEM, v->kind, v->code, "%s %s: %s", v->text, t->host, words);
    if (t->final && status >= 200 && status <= 999) r->error.http_status = (int)status;
}

/* --- the door ------------------------------------------------------------------------------------------------------------- */

static dpg_status transport_start(void *self, uint64_t id, const dpg_request *request, dpg_error *err)
{
    curl_transport *c = self;
    dpg_status status = DPG_OK;
    transfer *t = NULL;
    char *text = NULL;
    pipe_hold hold;
    CURLMcode added;
    dpg_url url;

    /* with its port only when it isn't the usual one; the query, which may hold a secret, is never shown */
    if (!dpg_url_read(request->url, &url))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_url", "the URL is not a whole http or https URL");
    if (!dpg_header_name_ok(request->method) || request->method.len > 20)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_method", "the method is not one of HTTP's");

    t = dpg_calloc(1, sizeof *t);
    text = dpg_strndup(request->url);
    if (!t || !text) {
        status = dpg_fail_nomem(err);
        goto fail;
    }
    t->owner = c;
    t->id = id;
    t->once = request->once;
    t->response.id = id;
    t->response.error.retry_after_ms = -1;
    dpg_buf_init_secret(&t->response.head, HEAD_MAX);
    dpg_buf_init_secret(&t->response.body, request->max_response_bytes ? request->max_response_bytes : RESPONSE_MAX);
    if (url.port == (url.https ? 443 : 80)) snprintf(t->host, sizeof t->host, "%.*s", (int)url.host.len, url.host.ptr);
    else snprintf(t->host, sizeof t->host, "%.*s:%d", (int)url.host.len, url.host.ptr, url.port);

    if ((status = make_lines(t, request, err)) != DPG_OK) goto fail;
    t->easy = easy_get(c);
    if (!t->easy) {
        status = dpg_fail_nomem(err);
        goto fail;
    }
    if ((status = set_options(t, request, text, &url, err)) != DPG_OK) goto fail;

    hold_sigpipe(&hold);
    added = curl_multi_add_handle(c->multi, t->easy);
    release_sigpipe(&hold);
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
}

static dpg_sent transport_abort(void *self, uint64_t id)
{
    curl_transport *c = self;
    transfer *t = list_find(&c->active, id);
    dpg_sent sent = DPG_SENT_NOT;
    pipe_hold hold;

    if (t) {
        sent = how_far(t, NULL);
        hold_sigpipe(&hold);
        detach(t);
        release_sigpipe(&hold);
        transfer_free(t);
    } else if ((t = list_find(&c->ended, id)) != NULL) {
        sent = t->response.sent;
        list_remove(&c->ended, t);
        transfer_free(t);
    }
    return sent;
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
        conclude(t, result);
        detach(t);
        list_add(&c->ended, t);
        dpg_free_secret(t->lines, t->lines_size);
        t->lines = NULL;
    }
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
    pipe_hold hold;
    int ready = 0, running;

    if (c->ended.first) timeout_ms = 0; /* somebody has yet to be told */
    if (timeout_ms < 0) timeout_ms = 0;
    if (timeout_ms > INT_MAX) timeout_ms = INT_MAX;

    hold_sigpipe(&hold);
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
    release_sigpipe(&hold);

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
    pipe_hold hold;

    if (!c) return;
    hold_sigpipe(&hold);
    for (transfer *t; (t = c->active.first) != NULL;) {
        detach(t);
        transfer_free(t);
    }
    while (c->pooled) curl_easy_cleanup(c->pool[--c->pooled]);
    if (c->multi) curl_multi_cleanup(c->multi);
    release_sigpipe(&hold);
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
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC), problem = errno;
    ssize_t got = -1;

    if (fd >= 0) {
        got = read(fd, &byte, 1);
        problem = errno;
        close(fd);
    }
    if (got > 0) return DPG_OK;
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_TLS, "ca_file_unreadable", "the ca_file %s can't be read: %s", path,
                    got == 0 ? "it is empty" : strerror(problem));
}

static dpg_status copy(char **to, dpg_str from, const char *what, dpg_error *err)
{
    if (from.len && memchr(from.ptr, '\0', from.len))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_option", "the %s has a NUL in it", what);
    *to = dpg_strndup(from);
    return *to ? DPG_OK : dpg_fail_nomem(err);
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

    if (pthread_once(&global_once, global_init) != 0 || global_result != CURLE_OK)
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "libcurl_refused", "libcurl could not be initialised: %s",
                        curl_easy_strerror(global_result));
    if (connections > 10000) connections = 10000;
    info = curl_version_info(CURLVERSION_NOW);

    c = dpg_calloc(1, sizeof *c);
    if (!c) return dpg_fail_nomem(err);
    c->http2 = !options->no_http2 && (info->features & CURL_VERSION_HTTP2) != 0;
    c->proof = DPG_CURL_PREREQ && info->version_num >= 0x075000;
    c->pool_size = (size_t)connections + SPARE;
    if (options->user_agent.len && (status = copy(&c->user_agent, options->user_agent, "user agent", err)) != DPG_OK)
        goto fail;
    if (options->proxy_set && (status = copy(&c->proxy, options->proxy, "proxy", err)) != DPG_OK) goto fail;
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
