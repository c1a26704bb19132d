/*
 * From a request to libcurl's options, and the callbacks that these name. Used by transport_curl.c.
 */
#include "transport_curl_internal.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* --- the request ----------------------------------------------------------------------------------------------------- */

static char line_no_expect[] = "Expect:";     /* never wait for a "100 Continue" */
static char line_no_type[] = "Content-Type:"; /* libcurl would call a body a form */
static char line_identity[] =
    "Accept-Encoding: identity"; /* for a body that is to arrive byte by byte as it is stored */

/* Headers that say how the message is framed or how the connection is used: libcurl's business, or they would lie. */
static bool is_framing(dpg_str name)
{
    static const dpg_str names[] = {{"connection", 10},
                                    {"content-length", 14},
                                    {"expect", 6},
                                    {"host", 4},
                                    {"keep-alive", 10},
                                    {"proxy-authorization", 19},
                                    {"proxy-connection", 16},
                                    {"te", 2},
                                    {"trailer", 7},
                                    {"transfer-encoding", 17},
                                    {"upgrade", 7}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (name.len == names[i].len && dpg_str_eq_nocase(name, names[i])) return true;
    return false;
}

static dpg_str trim(dpg_str s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s.ptr++, s.len--;
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) s.len--;
    return s;
}

/* Room for `size` bytes at t->block, in which nothing is. */
static bool make_room(transfer *t, size_t size)
{
    if (size > t->block_size) {
        dpg_free(t->block);
        t->block_size = 2 * size;
        t->block = dpg_malloc(t->block_size);
        if (!t->block) t->block_size = 0;
    }
    t->block_used = t->block ? size : 0;
    return t->block != NULL;
}

static char *put(char *at, dpg_str s)
{
    if (s.len) memcpy(at, s.ptr, s.len);
    return at + s.len;
}

/* Ours behind the caller's, which go first: User-Agent and Accept-Encoding too, which libcurl itself writes out twice. */
static size_t add_own(const transfer *t, const dpg_request *request, struct curl_slist *node, size_t n)
{
    curl_transport *c = t->owner;
    bool typed = request->part_count > 0, encoded = false, named = c->agent_line == NULL;

    for (size_t i = 0; i < request->header_count; i++) {
        dpg_str name = request->headers[i].name;

        typed = typed || dpg_str_eq_nocase(name, DPG_LIT("content-type"));
        encoded = encoded || dpg_str_eq_nocase(name, DPG_LIT("accept-encoding"));
        named = named || dpg_str_eq_nocase(name, DPG_LIT("user-agent"));
    }
    if (!named) node[n++].data = c->agent_line;
    if (!encoded && t->drain.to != DPG_TO_MEMORY) node[n++].data = line_identity;
    else if (!encoded && c->encoding_line[0]) node[n++].data = c->encoding_line;
    if (t->kind.posts) node[n++].data = line_no_expect;
    if (t->kind.posts && !typed) node[n++].data = line_no_type;
    return n;
}

/* libcurl never frees or changes this list, so nodes and text lie in one block of ours that can be wiped: Authorization is in it. */
dpg_status dpg_curl_make_text(transfer *t, const dpg_request *request, transfer_text *out, dpg_error *err)
{
    size_t nodes = request->header_count + 4, size = nodes * sizeof(struct curl_slist) + request->url.len + 1, n = 0;
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
        size += h->name.len + h->value.len + 3;
    }
    if (!make_room(t, size)) return dpg_fail_nomem(err);
    node = t->block;
    text = (char *)(node + nodes);
    out->url = text;
    text = put(text, request->url);
    *text++ = '\0';
    for (size_t i = 0; i < request->header_count; i++) {
        dpg_str value = trim(request->headers[i].value);

        node[n++].data = text;
        text = put(text, request->headers[i].name);
        if (value.len) {
            *text++ = ':';
            *text++ = ' ';
            text = put(text, value);
        } else {
            *text++ = ';'; /* libcurl's way to write a header without a value; a colon would take it out */
        }
        *text++ = '\0';
    }
    n = add_own(t, request, node, n);
    for (size_t i = 0; i < n; i++) node[i].next = i + 1 < n ? &node[i + 1] : NULL;
    out->lines = n ? node : NULL;
    return DPG_OK;
}

/* --- libcurl's callbacks: move bytes and count ------------------------------------------------------------------------- */

/* A program that the caller starts has no business on our connections. */
static curl_socket_t on_socket(void *self, curlsocktype purpose, struct curl_sockaddr *address)
{
    intptr_t fd = dpg_os_socket(address->family, address->socktype, address->protocol);

    (void)self;
    (void)purpose;
    return fd == -1 ? CURL_SOCKET_BAD : (curl_socket_t)fd;
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
    if (t->warm) return CURL_PREREQFUNC_ABORT; /* which an HTTP/2 connection survives */
    if (t->leave_by && dpg_clock_os.boot_ms(dpg_clock_os.self) > t->leave_by) { /* the process was stopped meanwhile */
        dpg_fail(
            &t->response.error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "lease_over",
            "the lease on the store was over before the exchange could leave, so it was not sent: nothing is lost, try "
            "again");
        return CURL_PREREQFUNC_ABORT;
    }
    t->left = true;
    t->resent = again;
    return again && t->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}
#endif

/* The head is whole: what is neither memory's alone looks at it before the first byte of the body comes. */
static bool begin_body(transfer *t)
{
    dpg_response *r = &t->response;
    bool too_many = false;
    long status = 0;

    if (t->drain.to == DPG_TO_MEMORY) return true;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (!dpg_curl_read_head(t, &too_many)) return dpg_fail_nomem(&r->error) == DPG_OK;
    if (too_many) return true; /* which ends it when it has ended */
    if (dpg_drain_head(&t->drain, (int)status, r->headers, r->header_count, &r->error) != DPG_OK) return false;
    r->status = (int)status;
    return true;
}

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

        if (t->response.head.len) dpg_wipe(t->response.head.ptr, t->response.head.len);
        else if (!dpg_buf_reserve(&t->response.head, HEAD_FIRST)) return 0;
        t->response.head.len = t->head_lines = 0; /* its room stays */
        t->in_head = true;
        t->interim = blank && blank + 1 < bytes + text && blank[1] == '1'; /* "HTTP/1.1 103 …", "HTTP/2 103" */
        return line;
    }
    if (text == 0) {
        t->in_head = false;
        t->final = !t->interim;
        return t->final && !begin_body(t) ? 0 : line;
    }
    t->head_lines++;
    return dpg_buf_put(&t->response.head, bytes, text) && dpg_buf_put(&t->response.head, "\n", 1) ? line : 0;
}

/* Room for a body as long as it says it is, before its first byte: it moves once less for each time that it would double. */
static void make_room_for_body(transfer *t)
{
    curl_off_t length = -1;

    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0 && (uint64_t)length < t->response.body.max) dpg_buf_reserve(&t->response.body, (size_t)length);
}

static size_t on_body(char *bytes, size_t one, size_t len, void *self)
{
    transfer *t = self;

    if (t->drain.to == DPG_TO_MEMORY && !t->response.body.ptr) make_room_for_body(t);
    switch (dpg_drain_put(&t->drain, bytes, one * len, &t->response.body, &t->response.error)) {
    case DPG_DRAINED: return one * len;
    case DPG_DRAIN_FULL:
        atomic_store(&t->drain.chunks->still, true);
        t->recv_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    case DPG_DRAIN_FAILED: break;
    }
    return 0;
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

/* The method, for a request of one kind only: what differs within it stands in set_body(). */
static dpg_status set_method(transfer *t, const dpg_request *request, dpg_error *err)
{
    char method[32];

    snprintf(method, sizeof method, "%.*s", (int)request->method.len, request->method.ptr);
    if (request->part_count) {
        CURLcode code = dpg_curl_make_form(t, request);

        if (code != CURLE_OK) return option_refused(err, "a form", code);
        SET(CURLOPT_MIMEPOST, t->mime);
        SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    } else if (t->kind.posts) {
        SET(CURLOPT_POST, 1L);
    } else if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return DPG_OK;
    } else {
        SET(CURLOPT_HTTPGET, 1L);
        if (strcmp(method, "GET") == 0) return DPG_OK;
    }
    SET(CURLOPT_CUSTOMREQUEST, method);
    return DPG_OK;
}

/* Who is called while a connection is used, each with `t`, which the handle stays with; and which connection that is. */
static dpg_status set_connection(transfer *t, dpg_error *err)
{
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->says);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    if (t->once) {
        SET(CURLOPT_FRESH_CONNECT, 1L);
        SET(CURLOPT_FORBID_REUSE, 1L);
    }
#if DPG_CURL_PREREQ
    if (t->owner->proof) {
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

/* TLS: CAPATH must be unset for libcurl to keep the parsed bundle (else 31 to 37 ms of CPU for each new connection). */
static dpg_status set_tls(transfer *t, dpg_error *err)
{
    const curl_transport *c = t->owner;

    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET_IF_KNOWN(CURLOPT_SSL_OPTIONS, DPG_CURL_SSL_OPTIONS);
    SET_IF_KNOWN(CURLOPT_PROXY_SSL_OPTIONS, DPG_CURL_SSL_OPTIONS);
    if (!c->ca_file) return DPG_OK;
    SET(CURLOPT_CAINFO, c->ca_file);
    SET_IF_KNOWN(CURLOPT_CAPATH, NULL);
    SET_IF_KNOWN(CURLOPT_PROXY_CAINFO, c->ca_file);
    SET_IF_KNOWN(CURLOPT_PROXY_CAPATH, NULL);
    return DPG_OK;
}

dpg_status dpg_curl_set_kind(transfer *t, const dpg_request *request, dpg_error *err)
{
    curl_transport *c = t->owner;
    bool http2 = t->kind.http2;
    dpg_status status;

    SET(CURLOPT_NOSIGNAL, 1L);
#if DPG_CURL_QUICK_EXIT
    SET_IF_KNOWN(CURLOPT_QUICK_EXIT, 1L);
#endif

    /* where to, and nowhere else */
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(DPG_CURL_PROTOCOLS_OPTION, DPG_CURL_PROTOCOLS);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    if (t->kind.loopback) SET(CURLOPT_NOPROXY, "*"); /* nor does libcurl look into the environment then */
    else if (c->proxy) SET(CURLOPT_PROXY, c->proxy);
    SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* a proxy is not told our headers, but who we are */
    if (c->agent_line) SET(CURLOPT_PROXYHEADER, &c->agent);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

    /*
     * No timeouts of libcurl's: it judges them before it reads, so that a program which was busy or stopped for longer
     * would see an answer thrown away that lies in the socket (seen). The one for connecting has a default of 300 s.
     * But nobody waits for the end of a warm connection, and others wait for it (CURLOPT_PIPEWAIT): if it hung, so would they.
     */
    SET(CURLOPT_TIMEOUT_MS, t->warm ? (long)WARM_MS : 0L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)INT_MAX);
    if ((status = set_tls(t, err)) != DPG_OK) return status;

    /* HTTP */
    SET(CURLOPT_HTTP_VERSION, http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    /*
     * Many at once to a server that is new to us: the first one connects and the others wait to hear whether it speaks
     * HTTP/2, rather than make a connection each. For a server known to have HTTP/1.1 only libcurl doesn't wait.
     */
    SET(CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    if (t->drain.to == DPG_TO_MEMORY) SET(CURLOPT_ACCEPT_ENCODING, ""); /* decode; on_body counts decoded bytes */
    else SET(CURLOPT_BUFFERSIZE, (long)(t->drain.sink->type == DPG_SINK_FILE ? FILE_BUFFER : CHUNK_BUFFER));
    if ((status = set_method(t, request, err)) != DPG_OK) return status;
    return set_connection(t, err);
}

/* How much of a whole URL stands before its path. */
static size_t site_length(const char *url)
{
    return (size_t)(strstr(url, "//") - url) + 2 + strcspn(strstr(url, "//") + 2, "/?");
}

/* What libcurl takes as it is, in parts as in one: it has ways of its own with the rest. */
static bool is_simple(const char *target)
{
    while (*target && *target != '%' && (unsigned char)*target < 0x80) target++;
    return !*target;
}

/* A new path and query behind what is there; false: they, or what they would follow, are not so simple. */
static bool change_target(transfer *t, char *url)
{
    size_t site = site_length(url);
    char *query;
    bool fine;

    if (!t->site[0] || strncmp(t->site, url, site) != 0 || t->site[site] || url[site] != '/') return false;
    if (!is_simple(url + site)) return false;
    query = strchr(url + site, '?');
    if (query) *query = '\0';
    fine = curl_url_set(t->parts, CURLUPART_PATH, url + site, 0) == CURLUE_OK &&
           curl_url_set(t->parts, CURLUPART_QUERY, query ? query + 1 : NULL, 0) == CURLUE_OK;
    if (query) *query = '?';
    return fine;
}

/*
 * The URL in parts, so that libcurl need not take it apart, and print it again, for each request. False: it is to be given the
 * text alone, and does as it always does.
 */
static bool make_parts(transfer *t, char *url)
{
    size_t site = site_length(url);

    if (!t->parts && !(t->parts = curl_url())) return false;
    if (change_target(t, url)) return true;
    t->site[0] = '\0';
    if (curl_url_set(t->parts, CURLUPART_URL, url, CURLU_PATH_AS_IS | CURLU_DISALLOW_USER) != CURLUE_OK) return false;
    if (site < sizeof t->site) dpg_str_copy(t->site, sizeof t->site, dpg_str_of(url, site));
    return true;
}

/* What libcurl doesn't copy of these (body, header lines) lives as long as the transfer. */
dpg_status dpg_curl_set_request(transfer *t, const dpg_request *request, const transfer_text *text, dpg_error *err)
{
    t->says[0] = '\0';
    if (t->kind.keeps) SET(CURLOPT_CURLU, make_parts(t, text->url) ? t->parts : NULL);
    /* the text, too: from it libcurl sends again when a connection dies. Last, since a newer CURLOPT_CURLU forgets it */
    SET(CURLOPT_URL, text->url);
    SET(CURLOPT_HTTPHEADER, text->lines);
    if (!t->kind.posts || request->part_count) return DPG_OK;
    SET(CURLOPT_POSTFIELDSIZE_LARGE, request->has_body ? (curl_off_t)request->body.len : 0);
    SET(CURLOPT_POSTFIELDS, request->has_body && request->body.ptr ? request->body.ptr : "");
    return DPG_OK;
}
