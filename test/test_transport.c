/*
 * The transport over libcurl against servers that behave well and badly, on real sockets: what an answer becomes, what is
 * sent, how far a request that failed had gone, and that nobody waits, leaks or dies of it.
 */
#include "check.h"
#include "drivers.h"
#include "server.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#ifndef _WIN32
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#endif

/* --- the world of one test -------------------------------------------------------------------------------------------- */

static server *srv;
static dpg_transport transport;
static dpg_response answer; /* of the last run() */
static char big[10 << 20];

static dpg_status open_with(dpg_transport_options options)
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_status status = dpg_transport_curl_new(&options, &transport, &err);

    if (status != DPG_OK) printf("# %s: %s\n", err.code, err.message);
    return status;
}

static void serve_each(const server_step *const *scripts)
{
    srv = server_new(scripts);
    if (!transport.self) REQUIRE(open_with((dpg_transport_options){0}) == DPG_OK);
}

static void serve(const server_step *script)
{
    static const server_step *scripts[2];

    scripts[0] = script;
    serve_each(scripts);
}

static void done(void)
{
    dpg_response_clear(&answer);
    if (transport.self) transport.free(transport.self);
    memset(&transport, 0, sizeof transport);
    server_free(srv);
    srv = NULL;
}

static dpg_request get(const char *url)
{
    return (dpg_request){.method = DPG_LIT("GET"), .url = dpg_cstr(url)};
}

static dpg_request post(const char *url, const char *body)
{
    return (dpg_request){.method = DPG_LIT("POST"), .url = dpg_cstr(url), .body = dpg_cstr(body), .has_body = true};
}

static dpg_status start(uint64_t id, dpg_request request)
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_status status = transport.start(transport.self, id, &request, &err);

    if (status != DPG_OK) printf("# start: %s: %s\n", err.code, err.message);
    return status;
}

static void step(int64_t ms)
{
    dpg_error err = DPG_ERROR_INIT;

    if (transport.step(transport.self, ms, &err) != DPG_OK) CHECK_FAIL("step: %s: %s", err.code, err.message);
}

/* The next answer, whoever's. A test that never gets one is ended by check.h's alarm. */
static dpg_response *take(void)
{
    dpg_response_clear(&answer);
    while (!transport.next(transport.self, &answer)) step(1000);
    return &answer;
}

static dpg_response *run(dpg_request request)
{
    REQUIRE(start(7, request) == DPG_OK);
    take();
    CHECK_INT(answer.id, 7);
    return &answer;
}

/* Step until the server has seen `n` requests: the client has to move for that, and the server to read. */
static void step_until_requests(int n)
{
    while (server_requests(srv) < n) step(5);
}

static void check_body(const char *want)
{
    CHECK_MEM(answer.body.ptr ? answer.body.ptr : "", answer.body.len, want, strlen(want));
}

static const char *header(const char *name)
{
    static char value[512];

    for (size_t i = 0; i < answer.header_count; i++)
        if (dpg_str_eq(answer.headers[i].name, dpg_cstr(name))) {
            snprintf(value, sizeof value, "%.*s", (int)answer.headers[i].value.len, answer.headers[i].value.ptr);
            return value;
        }
    return NULL;
}

static void check_answer(int status, const char *body)
{
    if (answer.error.kind) CHECK_FAIL("%s: %s", answer.error.code, answer.error.message);
    CHECK_INT(answer.status, status);
    CHECK_INT(answer.sent, DPG_SENT_MAYBE);
    check_body(body);
}

static void check_failure(dpg_kind kind, const char *code, dpg_sent sent)
{
    CHECK_STR(dpg_kind_name(answer.error.kind), dpg_kind_name(kind));
    CHECK_STR(answer.error.code, code);
    CHECK_INT(answer.sent, sent);
    CHECK_INT(answer.status, 0);
    CHECK_INT(answer.body.len, 0);
    CHECK_INT(answer.header_count, 0);
    if (!answer.error.message[0]) CHECK_FAIL("no message");
    if (strcmp(answer.error.code, code) != 0) printf("# %s\n", answer.error.message);
}

#ifndef _WIN32
/* The output of a command, into `big`. */
static size_t output_of(const char *command)
{
    FILE *pipe = popen(command, "r");
    size_t len;

    REQUIRE(pipe != NULL);
    len = fread(big, 1, sizeof big, pipe);
    CHECK_INT(pclose(pipe), 0);
    return len;
}
#endif

#define HUNDRED TWENTY TWENTY TWENTY TWENTY TWENTY
#define TWENTY "01234567890123456789"
#define OK_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static const server_step hi[] = {READ, SEND(OK_HI), READ, SEND(OK_HI), READ, SEND(OK_HI), HOLD};

/* --- answers ------------------------------------------------------------------------------------------------------------ */

TEST("gives status, headers and body as they came, names in lower case and values trimmed")
{
    static const server_step script[] = {
        READ,
        SEND("HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Has-More:   true \t\r\nEmpty:\r\n"
             "Link: <a>; b=c:d\r\nlink: second\r\n\r\na\0b\r\n"),
        HOLD};

    serve(script);
    run(get(server_url(srv, "/v1/images?limit=2")));
    if (answer.error.kind) CHECK_FAIL("%s", answer.error.message);
    CHECK_INT(answer.status, 201);
    CHECK_MEM(answer.body.ptr, answer.body.len, "a\0b\r\n", 5);
    CHECK_INT(answer.header_count, 5);
    CHECK_STR(header("x-has-more"), "true");
    CHECK_STR(header("empty"), "");
    CHECK_STR(header("link"), "<a>; b=c:d");
    CHECK_STR(header("X-Has-More"), NULL);
    CHECK(answer.head.secret && answer.body.secret);
    done();
}

TEST("joins chunks and ignores trailers")
{
    static const server_step script[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n5\r\nhello\r\n"),
        SEND("1;x=y\r\n,\r\n6\r\n world\r\n0\r\nA: 2\r\nChecksum: 99\r\n\r\n"), HOLD};

    serve(script);
    run(get(server_url(srv, "/")));
    check_answer(200, "hello, world");
    CHECK_STR(header("a"), "1");
    CHECK_STR(header("checksum"), NULL);
    done();
}

TEST("takes an answer without a length up to the close")
{
    static const server_step script[] = {READ, SEND("HTTP/1.0 200 OK\r\n\r\nall of it"), END};

    serve(script);
    run(get(server_url(srv, "/")));
    check_answer(200, "all of it");
    done();
}

TEST("answers without a body end at once: HEAD, 204, 304")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\nETag: \"a\"\r\n\r\n"),
                                         READ, SEND("HTTP/1.1 204 No Content\r\n\r\n"),
                                         READ, SEND("HTTP/1.1 304 Not Modified\r\nETag: \"b\"\r\n\r\n"),
                                         HOLD};
    dpg_request head;

    serve(script);
    head = get(server_url(srv, "/"));
    head.method = DPG_LIT("HEAD");
    run(head);
    check_answer(200, "");
    CHECK_STR(header("etag"), "\"a\"");
    run(get(server_url(srv, "/")));
    check_answer(204, "");
    run(get(server_url(srv, "/")));
    check_answer(304, "");
    CHECK_STR(header("etag"), "\"b\"");
    CHECK_INT(server_connections(srv), 1);
    CHECK(strncmp(server_request(srv, 0), "HEAD / HTTP/1.1\r\n", 17) == 0);
    done();
}

TEST("drops 1xx answers and their headers")
{
    static const server_step script[] = {
        READ, SEND("HTTP/1.1 100 Continue\r\nX-A: no\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: no\r\n\r\n"),
        SEND("HTTP/1.1 200 OK\r\nX-B: yes\r\nContent-Length: 2\r\n\r\nhi"), HOLD};

    serve(script);
    run(get(server_url(srv, "/")));
    check_answer(200, "hi");
    CHECK_INT(answer.header_count, 2);
    CHECK_STR(header("x-b"), "yes");
    done();
}

TEST("does not follow a redirect")
{
    static const server_step script[] = {
        READ, SEND("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"), HOLD};

    serve(script);
    run(get(server_url(srv, "/")));
    check_answer(302, "");
    CHECK_STR(header("location"), "/elsewhere");
    CHECK_INT(server_requests(srv), 1);
    done();
}

TEST("takes a big body whole, and up to the very limit")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"),
                                         SEND_TIMES(50000, HUNDRED), HOLD};
    dpg_request request;

    serve(script);
    request = get(server_url(srv, "/"));
    request.max_response_bytes = 5000000;
    run(request);
    CHECK_INT(answer.status, 200);
    CHECK_INT(answer.body.len, 5000000);
    CHECK_MEM(answer.body.ptr + 4999990, 10, "0123456789", 10);
    done();
}

TEST("refuses a body beyond the limit, however it is framed")
{
    static const server_step sized[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"),
                                        SEND_TIMES(101, "x"), HOLD};
    static const server_step endless[] = {READ, SEND("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n"),
                                          SEND_TIMES((size_t)1 << 40, "a\r\n0123456789\r\n"), HOLD};
    dpg_request request;

    serve_each((const server_step *[]){sized, endless, NULL});
    request = get(server_url(srv, "/"));
    request.max_response_bytes = 100;
    run(request);
    check_failure(DPG_KIND_PROTOCOL, "response_too_large", DPG_SENT_MAYBE);
    CHECK_INT(answer.error.http_status, 200);
    run(request);
    check_failure(DPG_KIND_PROTOCOL, "response_too_large", DPG_SENT_MAYBE);
    CHECK_INT(answer.error.http_status, 503);
    done();
}

#ifndef _WIN32
static server_step zipped[4];

static void serve_zipped(const char *command)
{
    static char head[128];
    size_t len = output_of(command);

    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", len);
    zipped[0] = (server_step)READ;
    zipped[1] = (server_step){SERVER_SEND, head, strlen(head), 1};
    zipped[2] = (server_step){SERVER_SEND, big, len, 1};
    zipped[3] = (server_step)HOLD;
    serve(zipped);
}

TEST("decodes gzip")
{
    serve_zipped("printf 'hello, world' | gzip");
    run(get(server_url(srv, "/")));
    check_answer(200, "hello, world");
    done();
}

TEST("counts decoded bytes against the limit: a gzip bomb is refused")
{
    dpg_request request;

    serve_zipped("head -c 100000000 /dev/zero | gzip -9");
    request = get(server_url(srv, "/"));
    request.max_response_bytes = 1000000;
    run(request);
    check_failure(DPG_KIND_PROTOCOL, "response_too_large", DPG_SENT_MAYBE);
    done();
}
#endif

TEST("an answer that is cut is an error, never a short body")
{
    static const server_step sized[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":1}"), END};
    static const server_step chunked[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n"), END};
    static const server_step in_chunk[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"a\":1}"), END};
    static const server_step reset[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":1}"), WAIT,
                                        RESET};
    static const server_step in_line[] = {READ, SEND("HTTP/1.1 2"), END};
    static const server_step in_head[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Le"), END};

    serve_each((const server_step *[]){sized, chunked, in_chunk, reset, in_head, in_line, NULL});
    for (int i = 0; i < 6; i++) {
        REQUIRE(start(7, get(server_url(srv, "/"))) == DPG_OK);
        if (i == 3) { /* the RST must not overtake what was sent before */
            step_until_requests(4);
            CHECK(server_saw_sends(srv, 4));
            step(0);
            server_open(srv);
        }
        take();
        check_failure(DPG_KIND_NETWORK, i == 5 ? "connection_lost" : "answer_cut", DPG_SENT_MAYBE);
        CHECK_INT(answer.error.http_status, i >= 4 ? 0 : 200);
    }
    done();
}

TEST("no answer at all is a lost connection that may have carried the request")
{
    static const server_step closed[] = {READ, END};
    static const server_step reset[] = {READ, RESET};

    serve_each((const server_step *[]){closed, reset, NULL});
    for (int i = 0; i < 2; i++) {
        dpg_request request = post(server_url(srv, "/"), "token");

        request.once = true;
        run(request);
        check_failure(DPG_KIND_NETWORK, "connection_lost", DPG_SENT_MAYBE);
    }
    CHECK_INT(server_requests(srv), 2);
    done();
}

TEST("what is not HTTP is a protocol error")
{
    static const server_step garbage[] = {READ, SEND("\0\1\2\3 hello\r\n\r\n"), END};
    static const server_step html[] = {READ, SEND("<html><body>It works!</body></html>\n"), END}; /* HTTP/0.9 */
    static const server_step version[] = {READ, SEND("HTTP/7.3 200 OK\r\n\r\n"), END};
    static const server_step length[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), END};
    static const server_step chunk[] = {READ, SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello"),
                                        END};
    static const server_step zip[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\nnot gzipped!"), END};
    static const server_step nul[] = {READ, SEND("HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n"), END};
    static const server_step word[] = {READ, SEND("HTTP/1.1 abc OK\r\n\r\n"), END};
    static const server_step *const scripts[] = {garbage, html, version, length, chunk, zip, nul, word, NULL};

    serve_each(scripts);
    for (int i = 0; scripts[i]; i++) {
        run(get(server_url(srv, "/")));
        check_failure(DPG_KIND_PROTOCOL, "bad_http", DPG_SENT_MAYBE);
    }
    done();
}

TEST("a head without an end is refused, in many lines, in one, and in ever new 1xx answers")
{
    static const server_step lines[] = {
        READ, SEND("HTTP/1.1 200 OK\r\n"),
        SEND_TIMES((size_t)1 << 40, "X-Flood: 0123456789012345678901234567890123456789\r\n"), END};
    static const server_step one[] = {READ, SEND("HTTP/1.1 200 OK\r\nX-Flood: "),
                                      SEND_TIMES((size_t)1 << 40, "0123456789"), END};
    static const server_step hints[] = {READ, SEND_TIMES((size_t)1 << 40, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"),
                                        END};
    static const server_step short_ones[] = {READ, SEND("HTTP/1.1 200 OK\r\n"), SEND_TIMES(10000, "A:\r\n"),
                                             SEND("Content-Length: 0\r\n\r\n"), END};

    serve_each((const server_step *[]){lines, one, hints, short_ones, NULL});
    for (int i = 0; i < 4; i++) {
        run(get(server_url(srv, "/")));
        check_failure(DPG_KIND_PROTOCOL, "headers_too_large", DPG_SENT_MAYBE);
    }
    done();
}

/* --- what is sent --------------------------------------------------------------------------------------------------------- */

TEST("sends the headers that it was given, and hardly any of its own")
{
    static const dpg_header headers[] = {{{"Authorization", 13}, {"Bearer secret", 13}},
                                         {{"X-Empty", 7}, {"", 0}},
                                         {{"X-Blank", 7}, {"  \t", 3}},
                                         {{"X-Padded", 8}, {" a b ", 5}}};
    char want[512];
    dpg_request request;

    REQUIRE(open_with((dpg_transport_options){.user_agent = DPG_LIT("tester/1")}) == DPG_OK);
    serve(hi);
    request = post(server_url(srv, "/v1/a/../b?q=%20"), "a=b");
    request.headers = headers;
    request.header_count = sizeof headers / sizeof *headers;
    run(request);
    check_answer(200, "hi");
    snprintf(want, sizeof want,
             "POST /v1/a/../b?q=%%20 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nAuthorization: Bearer secret\r\n"
             "X-Empty:\r\nX-Blank:\r\nX-Padded: a b\r\nUser-Agent: tester/1\r\nAccept-Encoding: ",
             server_port(srv));
    REQUIRE(server_request(srv, 0) != NULL);
    CHECK_MEM(server_request(srv, 0), strlen(want), want, strlen(want));
    CHECK_STR(strchr(server_request(srv, 0) + strlen(want), '\r'), "\r\nContent-Length: 3\r\n\r\na=b");
    done();
}

/* Twice, since a handle that has sent one is kept for the next of its kind, and nothing of the one before may go with it. */
TEST("sends each method as its name says, with a length where one belongs, whatever was sent before")
{
    static const struct {
        const char *method;
        bool body;
        const char *length; /* NULL: none is sent */
    } cases[] = {{"GET", false, NULL},  {"DELETE", false, NULL}, {"POST", false, "0"}, {"PUT", false, "0"},
                 {"PATCH", false, "0"}, {"POST", true, "5"},     {"PUT", true, "5"},   {"PATCH", true, "5"},
                 {"DELETE", true, "5"}, {"GET", true, "5"}};
    static const dpg_header header = {{"X-Once", 6}, {"yes", 3}};
    static server_step script[41];

    for (size_t i = 0; i < 20; i++) {
        script[2 * i] = (server_step)READ;
        script[2 * i + 1] = (server_step)SEND(OK_HI);
    }
    script[40] = (server_step)HOLD;
    serve(script);
    for (int n = 0; n < 20; n++) {
        dpg_request request = get(server_url(srv, "/x"));
        bool first = n < 10;
        int i = n % 10;
        char line[32];
        const char *seen, *length;

        if (first) request.url = dpg_cstr(server_url(srv, "/x?page=1&secret=of-the-first"));
        request.method = dpg_cstr(cases[i].method);
        request.has_body = cases[i].body;
        if (cases[i].body) request.body = first ? DPG_LIT("hello, first") : DPG_LIT("he\0lo");
        request.headers = &header;
        request.header_count = first;
        run(request);
        check_answer(200, "hi");
        if (first) continue;
        seen = server_request(srv, n);
        REQUIRE(seen != NULL);
        snprintf(line, sizeof line, "%s /x HTTP/1.1\r\n", cases[i].method);
        CHECK_MEM(seen, strlen(line), line, strlen(line));
        length = strstr(seen, "Content-Length: ");
        if (!cases[i].length) CHECK_STR(length, NULL);
        else if (!length) CHECK_FAIL("%s without a length", cases[i].method);
        else CHECK_MEM(length + 16, 3, cases[i].length[0] == '5' ? "5\r\n" : "0\r\n", 3);
        CHECK_STR(strstr(seen, "Expect"), NULL);
        CHECK_STR(strstr(seen, "Content-Type"), NULL);
        CHECK_STR(strstr(seen, "X-Once"), NULL);
        if (cases[i].body) CHECK_MEM(strstr(seen, "\r\n\r\n") + 4, 5, "he\0lo", 5);
    }
    CHECK_INT(server_connections(srv), 1);
    done();
}

TEST("sends a body of megabytes at once, without asking for a 100")
{
    dpg_request request;

    serve(hi);
    memset(big, 'x', sizeof big);
    request = post(server_url(srv, "/"), "");
    request.body = dpg_str_of(big, sizeof big);
    run(request);
    check_answer(200, "hi");
    CHECK_INT(strlen(server_request(srv, 0)) -
                  (size_t)(strstr(server_request(srv, 0), "\r\n\r\n") + 4 - server_request(srv, 0)),
              sizeof big);
    CHECK_STR(strstr(server_request(srv, 0), "Expect"), NULL);
    done();
}

TEST("nothing leaves of a request that is not sound")
{
    static const dpg_header bad[] = {{{"X-A", 3}, {"a\r\nX-B: c", 9}},
                                     {{"X-A", 3}, {"a\nb", 3}},
                                     {{"X-A", 3}, {"a\0b", 3}},
                                     {{"X A", 3}, {"a", 1}},
                                     {{"", 0}, {"a", 1}},
                                     {{"X-A:", 4}, {"a", 1}},
                                     {{"Content-Length", 14}, {"9", 1}},
                                     {{"transfer-encoding", 17}, {"chunked", 7}},
                                     {{"Expect", 6}, {"100-continue", 12}}};
    static const char *const urls[] = {
        "", "/v1", "ftp://127.0.0.1/", "file:///etc/passwd", "http://user:pw@127.0.0.1/", "http:///"};
    dpg_request request;

    serve(hi);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        request = get(server_url(srv, "/"));
        request.headers = &bad[i];
        request.header_count = 1;
        CHECK_INT(transport.start(transport.self, 1, &request, NULL), DPG_E_INVALID);
    }
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        request = get(urls[i]);
        CHECK_INT(transport.start(transport.self, 1, &request, NULL), DPG_E_INVALID);
    }
    request = get(server_url(srv, "/"));
    request.url.len += 4; /* a NUL, and what lies behind it */
    CHECK_INT(transport.start(transport.self, 1, &request, NULL), DPG_E_INVALID);
    request = get(server_url(srv, "/"));
    request.method = DPG_LIT("GET /elsewhere HTTP/1.1\r\nX:");
    CHECK_INT(transport.start(transport.self, 1, &request, NULL), DPG_E_INVALID);
    step(0);
    CHECK_INT(server_connections(srv), 0);
    CHECK(!transport.next(transport.self, &answer));
    run(get(server_url(srv, "/"))); /* and the transport is none the worse for it */
    check_answer(200, "hi");
    done();
}

/* --- sent once, or as often as it takes ------------------------------------------------------------------------------------ */

TEST("a POST that may leave once is seen once, by a server that closes a reused connection after reading it")
{
    /* the first request is answered; whatever comes next, on this connection or another, is read and hung up on */
    static const server_step first[] = {READ, SEND(OK_HI), READ, END};
    static const server_step others[] = {READ, END};
    dpg_request request;

    serve_each((const server_step *[]){first, others, NULL});
    run(get(server_url(srv, "/"))); /* pools a connection */
    check_answer(200, "hi");
    request = post(server_url(srv, "/token"), "refresh_token=1");
    request.once = true;
    run(request);
    check_failure(DPG_KIND_NETWORK, "connection_lost", DPG_SENT_MAYBE);
    CHECK_INT(server_requests(srv), 2);
    done();
}

TEST("libcurl does resend what may be repeated, in the same situation")
{
    static const server_step first[] = {READ, SEND(OK_HI), READ, END};

    serve_each((const server_step *[]){first, hi, NULL});
    run(get(server_url(srv, "/")));
    check_answer(200, "hi");
    run(post(server_url(srv, "/images"), "with a key"));
    check_answer(200, "hi");
    CHECK_INT(server_requests(srv), 3);
    done();
}

static void check_target(int n, const char *target)
{
    const char *seen = server_request(srv, n);
    char line[128];

    REQUIRE(seen != NULL);
    snprintf(line, sizeof line, "GET %s HTTP/1.1\r\n", target);
    CHECK_MEM(seen, strlen(line), line, strlen(line));
}

TEST("what libcurl sends again goes where it was going, not where its handle went before")
{
    static const server_step first[] = {READ, SEND(OK_HI), READ, END};

    serve_each((const server_step *[]){first, hi, NULL});
    run(get(server_url(srv, "/first?page=1")));
    check_answer(200, "hi");
    run(get(server_url(srv, "/second?page=2")));
    check_answer(200, "hi");
    CHECK_INT(server_requests(srv), 3);
    check_target(1, "/second?page=2");
    check_target(2, "/second?page=2");
    done();
}

TEST("libcurl sends again as often as connections die: what it counted for one request does not count for the next")
{
    static const server_step one[] = {READ, SEND(OK_HI), READ, END};

    serve_each((const server_step *[]){one, one, one, one, one, one, one, one, NULL});
    for (int i = 0; i < 8; i++) {
        run(get(server_url(srv, "/")));
        check_answer(200, "hi");
    }
    CHECK_INT(server_requests(srv), 15);
    done();
}

TEST("one after the other, each URL is sent as it would be sent alone")
{
    static const char *const targets[] = {
        "/",      "/a/../b/./c", "/x?",    "/x",        "/x?y", "/%2F%2f/%c3%A9?q=%C3%a9",
        "/y?z=?", "//two//",     "/;a=b?", "/\xc3\xa9", "/x",   "?only=a-query"};
    enum {
        COUNT = sizeof targets / sizeof *targets
    };
    static server_step script[2 * COUNT + 1];

    for (int i = 0; i < COUNT; i++) {
        script[2 * i] = (server_step)READ;
        script[2 * i + 1] = (server_step)SEND(OK_HI);
    }
    script[2 * COUNT] = (server_step)HOLD;
    serve(script);
    for (int i = 0; i < COUNT; i++) {
        run(get(server_url(srv, targets[i])));
        check_answer(200, "hi");
        if (targets[i][0] == '?') check_target(i, "/?only=a-query");
        else if (targets[i][1] == '\xc3') check_target(i, "/%c3%a9");
        else check_target(i, targets[i]);
    }
    done();
}

TEST("a pooled connection that the server has dropped in silence hurts neither kind of request")
{
    static const server_step drops[] = {READ, SEND(OK_HI), WAIT, RESET};
    dpg_request request;

    for (int once = 0; once < 2; once++) {
        serve_each((const server_step *[]){drops, hi, NULL});
        run(get(server_url(srv, "/")));
        check_answer(200, "hi");
        server_open(srv);
        CHECK(server_saw_closes(srv, 1));
        request = once ? post(server_url(srv, "/token"), "refresh_token=1") : get(server_url(srv, "/"));
        request.once = once;
        run(request);
        check_answer(200, "hi");
        CHECK_INT(server_requests(srv), 2);
        CHECK_INT(server_connections(srv), 2);
        done();
    }
}

TEST("what may leave once takes no pooled connection and leaves none behind")
{
    dpg_request request;

    serve(hi);
    run(get(server_url(srv, "/a")));
    request = post(server_url(srv, "/b"), "x");
    request.once = true;
    run(request);
    check_answer(200, "hi");
    CHECK(server_saw_closes(srv, 1));
    run(get(server_url(srv, "/c")));
    check_answer(200, "hi");
    CHECK_INT(server_connections(srv), 2);
    done();
}

/* --- the proof that nothing left --------------------------------------------------------------------------------------------- */

TEST("sends nothing that should have left by now: whoever has slept past his lease has lost the lock")
{
    dpg_request request;

    serve(hi);
    request = post(server_url(srv, "/"), "x");
    request.once = true;
    request.leave_by_boot_ms = 1;
    run(request);
    check_failure(DPG_KIND_STORAGE, "lease_over", DPG_SENT_NOT);
    CHECK_INT(server_requests(srv), 0);
    done();
}

TEST("nothing left when nobody listens")
{
    static const server_step script[] = {END};

    for (int once = 0; once < 2; once++) {
        char url[64];
        dpg_request request;

        serve(script);
        snprintf(url, sizeof url, "http://127.0.0.1:%d/?key=secret", server_port(srv));
        server_free(srv); /* so that the port is nobody's */
        srv = NULL;
        request = post(url, "x");
        request.once = once;
        run(request);
        check_failure(DPG_KIND_NETWORK, "connect_failed", DPG_SENT_NOT);
        CHECK(strstr(answer.error.message, "127.0.0.1") != NULL);
        CHECK_STR(strstr(answer.error.message, "secret"), NULL);
        done();
    }
}

TEST("nothing left when the name is nobody's")
{
    /* a label of 64 letters: no resolver asks the network for it */
    dpg_request request = post("http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid/", "x");

    REQUIRE(open_with((dpg_transport_options){.proxy_set = true}) == DPG_OK);
    run(request);
    check_failure(DPG_KIND_NETWORK, "resolve_failed", DPG_SENT_NOT);
    request.once = true;
    run(request);
    check_failure(DPG_KIND_NETWORK, "resolve_failed", DPG_SENT_NOT);
    done();
}

TEST("nothing left when the other side speaks no TLS, or goes away during the handshake")
{
    static const server_step plain[] = {SEND("HTTP/1.1 400 Bad Request\r\n\r\n"), HOLD};
    static const server_step gone[] = {END};
    static const server_step reset[] = {RESET};
    char url[64];

#ifdef _WIN32 /* wine waits for more of what it takes for a TLS record */
    (void)plain;
    serve_each((const server_step *[]){gone, reset, NULL});
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server_port(srv));
#else
    serve_each((const server_step *[]){plain, gone, reset, NULL});
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server_port(srv));
    run(post(url, "x"));
    check_failure(DPG_KIND_TLS, "tls_failed", DPG_SENT_NOT);
#endif
    for (int i = 0; i < 2; i++) {
        run(post(url, "x"));
        check_failure(DPG_KIND_NETWORK, "connect_failed", DPG_SENT_NOT);
    }
    done();
}

/* --- abort -------------------------------------------------------------------------------------------------------------------- */

TEST("abort says whether the request may have left")
{
    static const server_step script[] = {READ, HOLD};
    dpg_request request;

    for (int once = 0; once < 2; once++) {
        serve(script);
        request = post(server_url(srv, "/"), "x");
        request.once = once;
        REQUIRE(start(1, request) == DPG_OK);
        CHECK_INT(transport.abort(transport.self, 1), DPG_SENT_NOT);
        CHECK_INT(transport.abort(transport.self, 1), DPG_SENT_NOT);
        CHECK_INT(transport.abort(transport.self, 99), DPG_SENT_NOT);

        REQUIRE(start(2, request) == DPG_OK);
        step_until_requests(1);
        CHECK_INT(transport.abort(transport.self, 2), DPG_SENT_MAYBE);
        CHECK(server_saw_closes(srv, 1)); /* it hangs up, and nobody hears of it again */
        step(0);
        CHECK(!transport.next(transport.self, &answer));
        done();
    }
}

TEST("abort while a handshake stands still: nothing has left, and nobody waits")
{
    static const server_step script[] = {HOLD};
    char url[64];

    serve(script);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server_port(srv));
    REQUIRE(start(1, post(url, "x")) == DPG_OK);
    while (server_connections(srv) < 1) step(5);
    step(0);
    CHECK_INT(transport.abort(transport.self, 1), DPG_SENT_NOT);
    CHECK(server_saw_closes(srv, 1));
    done();
}

TEST("abort of one that has ended but was not yet taken")
{
    serve(hi);
    REQUIRE(start(1, get(server_url(srv, "/"))) == DPG_OK);
    step_until_requests(1);
    CHECK(server_saw_sends(srv, 1));
    step(0);
    CHECK_INT(transport.abort(transport.self, 1), DPG_SENT_MAYBE);
    CHECK(!transport.next(transport.self, &answer));
    done();
}

/* --- stepping ------------------------------------------------------------------------------------------------------------------ */

TEST("one step that may not wait picks up an answer that has been lying in the socket")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"),
                                         SEND_TIMES(6000, "0123456789"), HOLD};

    serve(script);
    REQUIRE(start(1, get(server_url(srv, "/"))) == DPG_OK);
    step_until_requests(1);
    CHECK(server_saw_sends(srv, 2)); /* meanwhile the program is busy, for however long */
    step(0);
    REQUIRE(transport.next(transport.self, &answer));
    CHECK_INT(answer.status, 200);
    CHECK_INT(answer.body.len, 60000);
    done();
}

TEST("many at once: each gets its own answer, in whatever order they end")
{
    static const server_step echo[] = {READ, WAIT, SEND(OK_HI), HOLD};
    static const server_step slow[] = {READ, WAIT, WAIT, SEND("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"), HOLD};
    int answers = 0;
    bool seen[41] = {false};

    serve_each((const server_step *[]){slow, echo, NULL});
    for (uint64_t id = 1; id <= 40; id++) REQUIRE(start(id, get(server_url(srv, "/"))) == DPG_OK);
    step_until_requests(40);
    CHECK_INT(server_connections(srv), 40);
    for (int i = 0; i < 41; i++) server_open(srv);
    for (; answers < 40; answers++) {
        take();
        REQUIRE(answer.id >= 1 && answer.id <= 40);
        CHECK(!seen[answer.id]);
        seen[answer.id] = true;
        if (answer.status == 404) check_answer(404, "no");
        else check_answer(200, "hi");
    }
    CHECK(!transport.next(transport.self, &answer));
    done();
}

TEST("step returns at once while somebody has yet to take an answer")
{
    serve(hi);
    REQUIRE(start(1, get(server_url(srv, "/"))) == DPG_OK);
    step_until_requests(1);
    CHECK(server_saw_sends(srv, 1));
    step(0);
    step(1 << 30); /* hangs otherwise */
    CHECK(transport.next(transport.self, &answer));
    done();
}

static void *wake(void *unused)
{
    transport.wakeup(transport.self);
    return unused;
}

TEST("a step that waits is woken from another thread, also by a call that came before it")
{
    pthread_t thread;

    REQUIRE(open_with((dpg_transport_options){0}) == DPG_OK);
    transport.wakeup(transport.self);
    step(1 << 30);
    REQUIRE(pthread_create(&thread, NULL, wake, NULL) == 0);
    step(INT64_MAX);
    pthread_join(thread, NULL);
    done();
}

TEST("stopping with transfers under way, ended and untaken leaves nothing")
{
    static const server_step script[] = {READ, HOLD};

    serve_each((const server_step *[]){hi, script, NULL});
    REQUIRE(start(1, get(server_url(srv, "/"))) == DPG_OK);
    step_until_requests(1);
    CHECK(server_saw_sends(srv, 1));
    step(0);
    for (uint64_t id = 2; id < 6; id++) REQUIRE(start(id, post(server_url(srv, "/"), "x")) == DPG_OK);
    step_until_requests(3);
    done();
}

/* --- proxies -------------------------------------------------------------------------------------------------------------------- */

static const server_step proxy_script[] = {READ, SEND(OK_HI), END};

static dpg_str proxy_url(const char *who)
{
    static char url[128];

    snprintf(url, sizeof url, "http://%s127.0.0.1:%d", who, server_port(srv));
    return dpg_cstr(url);
}

TEST("goes by the environment's proxy, or the caller's, or none")
{
    dpg_transport_options options = {0};

    for (int i = 0; i < 3; i++) {
        serve(proxy_script);
        done();
        srv = server_new((const server_step *[]){proxy_script, NULL});
        setenv("http_proxy", i == 0 ? proxy_url("").ptr : "http://127.0.0.1:1", 1);
        options.proxy_set = i > 0;
        options.proxy = i == 1 ? proxy_url("jane:hunter2@") : DPG_LIT("");
        REQUIRE(open_with(options) == DPG_OK);
        run(get("http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid/x"));
        if (i == 2) {
            check_failure(DPG_KIND_NETWORK, "resolve_failed", DPG_SENT_NOT);
        } else {
            check_answer(200, "hi");
            REQUIRE(server_request(srv, 0) != NULL);
            CHECK(strncmp(server_request(srv, 0), "GET http://aaaa", 15) == 0);
            CHECK((strstr(server_request(srv, 0), "Proxy-Authorization: Basic amFuZTpodW50ZXIy\r\n") != NULL) ==
                  (i == 1));
        }
        done();
    }
    unsetenv("http_proxy");
}

TEST("no proxy comes between us and this machine, whoever names it")
{
    dpg_transport_options options = {.proxy_set = true, .proxy = DPG_LIT("http://127.0.0.1:1")};
    char url[64];

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    for (int i = 0; i < 2; i++) {
        if (i) REQUIRE(open_with(options) == DPG_OK);
        serve(hi);
        run(get(server_url(srv, "/")));
        check_answer(200, "hi");
        snprintf(url, sizeof url, "http://localhost:%d/", server_port(srv));
        run(get(url));
        check_answer(200, "hi");
        done();
    }
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

TEST("a proxy is told the host and nothing else, and what it says is not the answer")
{
    static const server_step refuses[] = {
        READ, SEND("HTTP/1.1 403 Forbidden\r\nX-Proxy: yes\r\nContent-Length: 4\r\n\r\nnope"), END};
    dpg_header header = {DPG_LIT("Authorization"), DPG_LIT("Bearer secret")};
    dpg_request request = post("https://api.example.com/v1/x?y=secret", "secret");

    srv = server_new((const server_step *[]){refuses, NULL});
    REQUIRE(open_with((dpg_transport_options){.proxy_set = true, .proxy = proxy_url("jane:hunter2@")}) == DPG_OK);
    request.headers = &header;
    request.header_count = 1;
    run(request);
    check_failure(DPG_KIND_USAGE, "proxy_refused", DPG_SENT_NOT);
    CHECK_STR(strstr(answer.error.message, "hunter2"), NULL);
    REQUIRE(server_request(srv, 0) != NULL);
    CHECK(strncmp(server_request(srv, 0), "CONNECT api.example.com:443 ", 28) == 0);
    CHECK_STR(strstr(server_request(srv, 0), "secret"), NULL);
    done();
}

TEST("a proxy that can't be used is named without its password")
{
    static const char *const proxies[] = {"http://jane:hunter2@127.0.0.1:1", "jane:hunter2@127.0.0.1:1",
                                          "socks5://jane:hunter2@127.0.0.1:1"};

    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++) {
        REQUIRE(open_with((dpg_transport_options){.proxy_set = true, .proxy = dpg_cstr(proxies[i])}) == DPG_OK);
        run(get("https://api.example.com/"));
        CHECK(answer.error.kind == DPG_KIND_NETWORK || answer.error.kind == DPG_KIND_USAGE);
        CHECK_INT(answer.sent, DPG_SENT_NOT);
        CHECK_STR(strstr(answer.error.message, "hunter2"), NULL);
        CHECK_STR(strstr(answer.error.detail, "hunter2"), NULL);
        done();
    }
}

TEST("a proxy that is no URL is refused, without its password; libcurl would go without the last one")
{
    static const char *const proxies[] = {"nonsense://jane:hunter2@127.0.0.1:1",
                                          "http://jane:hunter2@:::", "http://jane:hunter2@127.0.0.1:999999",
                                          "http://jane:hunter2%00@127.0.0.1:1"};

    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++) {
        dpg_transport_options options = {.proxy_set = true, .proxy = dpg_cstr(proxies[i])};
        dpg_error err = DPG_ERROR_INIT;

        CHECK_INT(dpg_transport_curl_new(&options, &transport, &err), DPG_E_INVALID);
        CHECK_STR(dpg_kind_name(err.kind), "usage");
        CHECK_STR(err.code, "invalid_option");
        CHECK_NULL(strstr(err.message, "hunter2"));
        CHECK_NULL(transport.self);
    }
}

/* --- TLS ------------------------------------------------------------------------------------------------------------------------ */

#ifndef _WIN32
static char tls_dir[64], tls_ca[96];
static FILE *tls_server;
static int tls_port, tls_pid;

/* `openssl s_server` with a certificate of its own for `names`. It answers each request with a page of its own, and closes. */
static void tls_start(const char *names, const char *more)
{
    char command[1024], line[256];

    strcpy(tls_dir, "/tmp/dpg-tls-XXXXXX");
    REQUIRE(mkdtemp(tls_dir) != NULL);
    snprintf(tls_ca, sizeof tls_ca, "%s/cert.pem", tls_dir);
    snprintf(
        command, sizeof command,
        "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=dpg-test "
        "-addext subjectAltName=%s -keyout key.pem -out cert.pem 2>/dev/null && "
        "echo $$ && exec timeout 120 openssl s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem %s 2>&1 "
        "</dev/null",
        tls_dir, names, more);
    tls_server = popen(command, "re");
    REQUIRE(tls_server != NULL);
    tls_port = tls_pid = 0;
    while (tls_port == 0 && fgets(line, sizeof line, tls_server)) {
        if (!tls_pid) tls_pid = atoi(line);
        if (strncmp(line, "ACCEPT ", 7) == 0 && strrchr(line, ':')) tls_port = atoi(strrchr(line, ':') + 1);
    }
    REQUIRE(tls_pid > 0 && tls_port > 0);
}

static void tls_stop(void)
{
    char command[128];

    if (tls_pid > 0) kill(tls_pid, SIGTERM);
    pclose(tls_server);
    tls_pid = 0;
    snprintf(command, sizeof command, "rm -r %s", tls_dir);
    CHECK_INT(system(command), 0);
}

static const char *tls_url(const char *host)
{
    static char url[128];

    snprintf(url, sizeof url, "https://%s:%d/", host, tls_port);
    return url;
}

TEST("speaks TLS with a server whose certificate ca_file proves")
{
    dpg_request request;

    tls_start("IP:127.0.0.1", "-www");
    REQUIRE(open_with((dpg_transport_options){.ca_file = dpg_cstr(tls_ca)}) == DPG_OK);
    for (int once = 0; once < 2; once++) {
        request = get(tls_url("127.0.0.1"));
        request.once = once;
        run(request);
        if (answer.error.kind) CHECK_FAIL("%s", answer.error.message);
        CHECK_INT(answer.status, 200);
        CHECK(answer.body.len > 100);
    }
    done();
    tls_stop();
}

TEST("nothing leaves for a server whose certificate proves nothing: unknown issuer, another host")
{
    tls_start("DNS:elsewhere.example", "-www");
    REQUIRE(open_with((dpg_transport_options){0}) == DPG_OK); /* the system's authorities */
    run(post(tls_url("127.0.0.1"), "x"));
    check_failure(DPG_KIND_TLS, "certificate_invalid", DPG_SENT_NOT);
    done();
    REQUIRE(open_with((dpg_transport_options){.ca_file = dpg_cstr(tls_ca)}) == DPG_OK);
    run(post(tls_url("127.0.0.1"), "x"));
    check_failure(DPG_KIND_TLS, "certificate_invalid", DPG_SENT_NOT);
    done();
    tls_stop();
}

TEST("refuses TLS before 1.2")
{
    tls_start("IP:127.0.0.1", "-www -tls1_1 -cipher DEFAULT@SECLEVEL=0");
    REQUIRE(open_with((dpg_transport_options){.ca_file = dpg_cstr(tls_ca)}) == DPG_OK);
    run(post(tls_url("127.0.0.1"), "x"));
    check_failure(DPG_KIND_TLS, "tls_failed", DPG_SENT_NOT);
    done();
    tls_stop();
}

TEST("a ca_file that can't be read is refused by name; one without certificates with the first connection")
{
    static const char *const unreadable[] = {"/nonexistent/ca.pem", "/tmp", "/dev/null"};
    static const server_step script[] = {HOLD};
    char path[] = "/tmp/dpg-ca-XXXXXX", url[64];
    int fd = mkstemp(path);

    REQUIRE(fd >= 0);
    for (int i = 0; i < 3; i++) {
        dpg_transport_options options = {.ca_file = dpg_cstr(unreadable[i])};
        dpg_error err = DPG_ERROR_INIT;

        CHECK_INT(dpg_transport_curl_new(&options, &transport, &err), DPG_E_INVALID);
        CHECK_STR(dpg_kind_name(err.kind), "tls");
        CHECK_STR(err.code, "ca_file_unreadable");
        CHECK(strstr(err.message, unreadable[i]) != NULL);
        CHECK_NULL(transport.self);
    }
    CHECK_INT(write(fd, "hello\n", 6), 6);
    close(fd);
    REQUIRE(open_with((dpg_transport_options){.ca_file = dpg_cstr(path)}) == DPG_OK);
    serve(script);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server_port(srv));
    run(post(url, "x"));
    check_failure(DPG_KIND_TLS, "ca_file_invalid", DPG_SENT_NOT);
    done();
    unlink(path);
}

/* --- signals, processes ------------------------------------------------------------------------------------------------------------ */

/* A request of so many bytes that some are on their way when the other side goes away. */
static void begin_to_send(const char *url)
{
    dpg_glance glance = {0};
    dpg_request request = post(url, "");

    request.body = dpg_str_of(big, sizeof big);
    request.once = true;
    signal(SIGPIPE, SIG_DFL); /* it would end this program */
    REQUIRE(start(7, request) == DPG_OK);
    while (glance.progress.sent < 200000 && transport.look(transport.self, 7, &glance)) step(5);
}

static void check_broken(void)
{
    sigset_t mask;

    take();
    CHECK_STR(dpg_kind_name(answer.error.kind), "network");
    done();
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    CHECK_INT(sigismember(&mask, SIGPIPE), 0);
    CHECK_INT(sigpending(&mask), 0);
    CHECK_INT(sigismember(&mask, SIGPIPE), 0);
}

TEST("what is written to a connection that is gone raises no SIGPIPE")
{
    static const server_step script[] = {READ_HEAD, WAIT, RESET, END};

    serve(script);
    begin_to_send(server_url(srv, "/"));
    server_open(srv);
    check_broken();
}

TEST("what is written to a TLS connection that is gone, its goodbye too, raises no SIGPIPE")
{
    tls_start("IP:127.0.0.1", ""); /* it shows us what it gets, and we don't look */
    REQUIRE(open_with((dpg_transport_options){.ca_file = dpg_cstr(tls_ca)}) == DPG_OK);
    begin_to_send(tls_url("127.0.0.1"));
    kill(tls_pid, SIGKILL);
    check_broken();
    tls_stop();
}

TEST("a SIGPIPE that was the program's own stays pending")
{
    sigset_t set, pending;
    int sig;

    serve(hi);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    run(get(server_url(srv, "/")));
    check_answer(200, "hi");
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE));
    CHECK_INT(sigwait(&set, &sig), 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    done();
}

TEST("a child made by fork forgets the connections, and the parent's work on")
{
    int status;
    pid_t child;

    serve(hi);
    run(get(server_url(srv, "/1")));
    check_answer(200, "hi");
    REQUIRE(start(2, get(server_url(srv, "/2"))) == DPG_OK);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        transport.forget(transport.self);
        execlp("true", "true", (char *)NULL); /* no leak checker asks it after the server's threads, which it has not */
        _exit(1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    take();
    check_answer(200, "hi");
    run(get(server_url(srv, "/3")));
    check_answer(200, "hi");
    CHECK_INT(server_connections(srv), 1);
    done();
}

TEST("a program that is started from here inherits no connection")
{
    int sockets = 0;

    serve(hi);
    run(get(server_url(srv, "/")));
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_storage name;
        socklen_t len = sizeof name;

        if (getsockname(fd, (struct sockaddr *)&name, &len) != 0 || name.ss_family != AF_INET) continue;
        sockets++;
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    CHECK(sockets >= 2); /* the connection, and the test's own server */
    done();
}
#endif

CHECK_MAIN()
