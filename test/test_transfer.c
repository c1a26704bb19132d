/*
 * The transport when bodies are large: forms out of memory, files and pipes, answers into files and chunks. What goes over
 * the wire byte by byte, how far a form that failed had gone, and that a file holds nothing but bytes of the right answer.
 */
#define _FILE_OFFSET_BITS 64 /* as os_posix_file.c has it: so the lstat below is the one that it calls */
#include "check.h"
#include "drain.h"
#include "drivers.h"
#include "files.h"
#include "server.h"

#include <fcntl.h>
#include <unistd.h>
#ifndef _WIN32
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#endif

/* --- the world of one test -------------------------------------------------------------------------------------------- */

static server *srv;
static dpg_transport transport;
static dpg_response answer; /* of the last take() */
static char *folder;
static dpg_pipe fed, chunks;
static int descriptors;
static char big[24 << 20];

#ifndef _WIN32
/* A disk that has another number for a file than the one that it is open under: this stands before the C library's own. */
static bool has_odd_numbers;

int lstat(const char *path, struct stat *st)
{
    int rc = fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);

    if (rc == 0 && has_odd_numbers) st->st_ino++;
    return rc;
}
#endif

static void serve_each(const server_step *const *scripts)
{
    dpg_transport_options options = {.proxy_set = true};
    dpg_error err = DPG_ERROR_INIT;

    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7 + i / 251);
    folder = files_scratch();
    srv = server_new(scripts);
    REQUIRE(dpg_transport_curl_new(&options, &transport, &err) == DPG_OK);
    descriptors = 0;
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
    transport.free(transport.self);
    memset(&transport, 0, sizeof transport);
    server_free(srv);
    dpg_pipe_clear(&fed);
    dpg_pipe_clear(&chunks);
    files_remove(folder);
}

static dpg_status start(uint64_t id, const dpg_request *request, dpg_error *err)
{
    *err = (dpg_error)DPG_ERROR_INIT;
    return transport.start(transport.self, id, request, err);
}

static void step(int64_t ms)
{
    dpg_error err = DPG_ERROR_INIT;

    if (transport.step(transport.self, ms, &err) != DPG_OK) CHECK_FAIL("step: %s: %s", err.code, err.message);
}

static void take(void)
{
    dpg_response_clear(&answer);
    while (!transport.next(transport.self, &answer)) step(1000);
}

static void run(const dpg_request *request)
{
    dpg_error err;

    if (start(7, request, &err) != DPG_OK) CHECK_FAIL("start: %s: %s", err.code, err.message);
    take();
}

static dpg_glance look(void)
{
    dpg_glance glance = {0};

    CHECK(transport.look(transport.self, 7, &glance));
    return glance;
}

static void check_answer(int status, dpg_sent sent)
{
    if (answer.error.kind) CHECK_FAIL("%s: %s", answer.error.code, answer.error.message);
    CHECK_INT(answer.status, status);
    CHECK_INT(answer.sent, sent);
}

static void check_failure(dpg_kind kind, const char *code, dpg_sent sent)
{
    CHECK_STR(dpg_kind_name(answer.error.kind), dpg_kind_name(kind));
    CHECK_STR(answer.error.code, code);
    CHECK_INT(answer.sent, sent);
    CHECK_INT(answer.body.len, 0);
    /* only the head of a good answer stays, for who goes on with the file */
    CHECK(answer.status == 200 || answer.status == 206 || (answer.status == 0 && answer.header_count == 0));
    if (strcmp(answer.error.code, code) != 0) printf("# %s\n", answer.error.message);
}

static dpg_request form(const dpg_part *parts, size_t count)
{
    static char url[200];

    snprintf(url, sizeof url, "%s", server_url(srv, "/upload"));
    return (dpg_request){.method = DPG_LIT("POST"),
                         .url = dpg_cstr(url),
                         .parts = parts,
                         .part_count = count,
                         .fed = fed.bytes ? &fed : NULL};
}

static dpg_request get_into(const dpg_sink *sink)
{
    static char url[200];

    snprintf(url, sizeof url, "%s", server_url(srv, "/file"));
    return (dpg_request){
        .method = DPG_LIT("GET"), .url = dpg_cstr(url), .sink = sink, .chunks = chunks.bytes ? &chunks : NULL};
}

static dpg_part file_part(const char *path, size_t size)
{
    return (dpg_part){.name = DPG_LIT("file"),
                      .path = dpg_cstr(path),
                      .size = (int64_t)size,
                      .filename = DPG_LIT("a.bin"),
                      .content_type = DPG_LIT("image/jpeg")};
}

static const char *put_file(const char *name, size_t size)
{
    const char *path = files_at(folder, name);

    REQUIRE(files_put(path, big, size, 0600));
    return path;
}

static const char *head_of(int n, const char *name)
{
    static char value[512];
    const char *at = strstr(server_request(srv, n), name), *end;

    if (!at) return NULL;
    at += strlen(name);
    end = strstr(at, "\r\n");
    snprintf(value, sizeof value, "%.*s", (int)(end - at), at);
    return value;
}

#define CREATED "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"

/* --- forms: what is sent ------------------------------------------------------------------------------------------------- */

static void expect_part(dpg_buf *b, const char *boundary, const char *disposition, const char *type, const void *bytes,
                        size_t len)
{
    dpg_buf_printf(b, "--%s\r\nContent-Disposition: form-data; %s\r\n", boundary, disposition);
    if (type) dpg_buf_printf(b, "Content-Type: %s\r\n", type);
    dpg_buf_puts(b, "\r\n");
    dpg_buf_put(b, bytes, len);
    dpg_buf_puts(b, "\r\n");
}

TEST("sends each field of a form exactly as given, files and fed bytes too")
{
    static const server_step script[] = {READ, SEND(CREATED), HOLD};
    static const char value[] = "a\0b\r\n--c\xff";
    char boundary[200];
    const char *request, *type, *body;
    dpg_part parts[5];
    dpg_request r;
    dpg_buf want;

    serve(script);
    REQUIRE(dpg_pipe_init(&fed, 100000));
    dpg_pipe_put(&fed, big + 5, 70000);
    parts[0] = (dpg_part){.name = DPG_LIT("x-amz-\"key\" \xc3\xa4"), .value = dpg_str_of(value, sizeof value - 1)};
    parts[1] = (dpg_part){.name = DPG_LIT("empty")};
    parts[2] = (dpg_part){.name = DPG_LIT("text"), .value = DPG_LIT("t"), .content_type = DPG_LIT("text/x")};
    parts[3] = file_part(put_file("a", 3000000), 3000000);
    parts[4] = (dpg_part){.name = DPG_LIT("f"),
                          .fed = true,
                          .size = 70000,
                          .filename = DPG_LIT("b \"c\".bin"),
                          .content_type = DPG_LIT("a/b")};
    r = form(parts, 5);
    run(&r);
    check_answer(201, DPG_SENT_MAYBE);
    request = server_request(srv, 0);
    REQUIRE(request != NULL);
    CHECK(strncmp(request, "POST /upload HTTP/1.1\r\n", 23) == 0);
    CHECK(!strstr(request, "\r\nExpect") && !strstr(request, "\r\nTransfer-Encoding"));
    type = head_of(0, "\r\nContent-Type: multipart/form-data; boundary=");
    REQUIRE(type != NULL);
    snprintf(boundary, sizeof boundary, "%s", type);
    dpg_buf_init(&want, sizeof big);
    expect_part(&want, boundary, "name=\"x-amz-%22key%22 \xc3\xa4\"", NULL, value, sizeof value - 1);
    expect_part(&want, boundary, "name=\"empty\"", NULL, "", 0);
    expect_part(&want, boundary, "name=\"text\"", "text/x", "t", 1);
    expect_part(&want, boundary, "name=\"file\"; filename=\"a.bin\"", "image/jpeg", big, 3000000);
    expect_part(&want, boundary, "name=\"f\"; filename=\"b %22c%22.bin\"", "a/b", big + 5, 70000);
    dpg_buf_printf(&want, "--%s--\r\n", boundary);
    CHECK_INT(atol(head_of(0, "\r\nContent-Length: ")), want.len);
    body = strstr(request, "\r\n\r\n") + 4;
    CHECK_MEM(body, want.len, want.ptr, want.len);
    CHECK_INT(answer.progress.sent, want.len);
    CHECK_INT(answer.progress.to_send, want.len);
    dpg_buf_clear(&want);
    done();
}

TEST("sends each form on a connection of its own, and follows no redirect with it")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 307 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"),
                                         READ, HOLD};
    dpg_part part = {.name = DPG_LIT("a"), .value = DPG_LIT("b")};
    dpg_request r;

    serve(script);
    r = form(&part, 1);
    for (int i = 1; i <= 2; i++) {
        run(&r);
        check_answer(307, DPG_SENT_MAYBE);
        CHECK_INT(server_connections(srv), i);
    }
    CHECK_INT(server_requests(srv), 2);
    done();
}

TEST("sends nothing when a file is not there, is none, or has another length")
{
    static const server_step script[] = {HOLD};
    struct {
        const char *path, *code;
        size_t size;
    } cases[] = {{"none", "file_unreadable", 1},
                 {"", "file_unreadable", 1},
                 {"pipe", "file_unreadable", 0},
                 {"a", "file_changed", 9},
                 {"a", "file_changed", 11}};
    dpg_error err;

    serve(script);
    put_file("a", 10);
    CHECK_INT(mkfifo(files_at(folder, "pipe"), 0600), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_part part = file_part(files_at(folder, cases[i].path), cases[i].size);
        dpg_request r = form(&part, 1);

        CHECK_INT(start(7, &r, &err), DPG_E_INVALID);
        CHECK_INT(err.kind, DPG_KIND_USAGE);
        CHECK_STR(err.code, cases[i].code);
    }
    CHECK_INT(server_connections(srv), 0);
    done();
}

/* --- forms: how far they went -------------------------------------------------------------------------------------------- */

TEST("ends a form whose file grows or shrinks on the way, before its last byte")
{
    static const server_step script[] = {READ_HEAD, WAIT, HOLD};

    for (int grows = 0; grows < 2; grows++) {
        dpg_part part;
        dpg_request r;
        dpg_error err;

        serve(script);
        part = file_part(put_file("a", sizeof big), sizeof big);
        r = form(&part, 1);
        CHECK_INT(start(7, &r, &err), DPG_OK);
        while (server_requests(srv) < 1) step(5);
        REQUIRE(truncate(files_at(folder, "a"), grows ? (off_t)sizeof big + 1 : 1000) == 0);
        server_open(srv);
        take();
        check_failure(DPG_KIND_USAGE, "file_changed", DPG_SENT_PART);
        CHECK(!answer.used_up);
        done();
    }
}

TEST("knows that nobody has the whole form when the connection is cut in the middle")
{
    static const server_step script[] = {READ_HEAD, READ_BYTES(1000000), RESET};
    dpg_part part;
    dpg_request r;

    serve(script);
    part = file_part(put_file("a", sizeof big), sizeof big);
    r = form(&part, 1);
    run(&r);
    check_failure(DPG_KIND_NETWORK, "connection_lost", DPG_SENT_PART);
    CHECK(answer.progress.sent >= 1000000 && answer.progress.sent < (int64_t)sizeof big);
    CHECK_INT(server_connections(srv), 1);
    done();
}

TEST("does not know it once the last byte is out, and not before")
{
    static const server_step script[] = {READ, HOLD};

    for (int last = 0; last < 2; last++) {
        dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 1000};
        dpg_request r;
        dpg_error err;

        serve(script);
        REQUIRE(dpg_pipe_init(&fed, 4096));
        dpg_pipe_put(&fed, big, 999);
        r = form(&part, 1);
        CHECK_INT(start(7, &r, &err), DPG_OK);
        while (dpg_pipe_len(&fed) || !look().hungry) step(5);
        if (last) {
            dpg_pipe_put(&fed, big, 1);
            while (server_requests(srv) < 1) step(5);
        }
        CHECK(look().used_up);
        CHECK_INT(transport.abort(transport.self, 7), last ? DPG_SENT_MAYBE : DPG_SENT_PART);
        CHECK(server_saw_closes(srv, 1));
        CHECK_INT(server_requests(srv), last);
        done();
    }
}

TEST("knows that nothing of a form left when there was no connection")
{
    static const server_step script[] = {HOLD};
    dpg_part part = {.name = DPG_LIT("a"), .value = DPG_LIT("b")};
    dpg_request r;

    serve(script);
    r = form(&part, 1);
    r.url = DPG_LIT("http://127.0.0.1:1/");
    run(&r);
    check_failure(DPG_KIND_NETWORK, "connect_failed", DPG_SENT_NOT);
    done();
}

TEST("uses an answer that comes while the form is still being sent, and stops sending")
{
    static const server_step polite[] = {READ_HEAD, SEND("HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge"), HOLD};
    static const server_step rude[] = {READ_HEAD, READ_BYTES(100000),
                                       SEND("HTTP/1.1 403 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"),
                                       END};
    const server_step *scripts[] = {polite, rude};

    for (int i = 0; i < 2; i++) {
        dpg_part part;
        dpg_request r;

        serve(scripts[i]);
        part = file_part(put_file("a", sizeof big), sizeof big);
        r = form(&part, 1);
        run(&r);
        check_answer(i ? 403 : 413, DPG_SENT_PART);
        CHECK_MEM(answer.body.ptr, answer.body.len, "large", 5);
        CHECK(answer.progress.sent < (int64_t)sizeof big);
        done();
    }
}

TEST("uses such an answer too when the form stands still for want of bytes")
{
    static const server_step script[] = {READ_HEAD, SEND("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), HOLD};
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 1000};
    dpg_request r;

    serve(script);
    REQUIRE(dpg_pipe_init(&fed, 4096));
    r = form(&part, 1);
    run(&r);
    check_answer(403, DPG_SENT_PART);
    CHECK(!answer.used_up);
    done();
}

TEST("goes on with a form each time that it is fed")
{
    static const server_step script[] = {READ, SEND(CREATED), HOLD};
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 50000};
    const char *body;
    dpg_request r;
    dpg_error err;

    serve(script);
    REQUIRE(dpg_pipe_init(&fed, 1000));
    r = form(&part, 1);
    CHECK_INT(start(7, &r, &err), DPG_OK);
    dpg_response_clear(&answer);
    for (size_t put = 0; !transport.next(transport.self, &answer); step(5)) {
        size_t n = put + 777 < 50000 ? 777 : 50000 - put;

        if (dpg_pipe_len(&fed) || !n) continue;
        dpg_pipe_put(&fed, big + put, n);
        put += n;
    }
    check_answer(201, DPG_SENT_MAYBE);
    body = strstr(strstr(server_request(srv, 0), "\r\n\r\n") + 4, "\r\n\r\n") + 4;
    CHECK_MEM(body, 50000, big, 50000);
    done();
}

/* --- files --------------------------------------------------------------------------------------------------------------- */

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

TEST("writes the answer to a file, and gives it its name when it is whole")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nA: b\r\n\r\n"),
                                         SEND_TIMES(1000, THOUSAND), HOLD};
    dpg_sink sink = {.type = DPG_SINK_FILE};
    dpg_request r;
    dpg_buf got;

    serve(script);
    sink.path = dpg_cstr(files_at(folder, "a.part"));
    sink.rename_to = dpg_cstr(files_at(folder, "a"));
    sink.expected = 1000000;
    REQUIRE(files_put(files_at(folder, "a.part"), big, 2000000, 0600)); /* of another time */
    r = get_into(&sink);
    run(&r);
    check_answer(200, DPG_SENT_MAYBE);
    CHECK_INT(answer.body.len, 0);
    CHECK_INT(answer.header_count, 2);
    CHECK_INT(answer.progress.received, 1000000);
    CHECK_INT(answer.progress.to_receive, 1000000);
    CHECK(answer.used_up);
    CHECK_STR(head_of(0, "\r\nAccept-Encoding: "), "identity");
    dpg_buf_init(&got, sizeof big);
    CHECK(files_get(files_at(folder, "a"), &got));
    CHECK_INT(got.len, 1000000);
    for (size_t i = 0; i < got.len; i++)
        if (got.ptr[i] != TEN[i % 10]) {
            CHECK_FAIL("byte %zu", i);
            break;
        }
    dpg_buf_clear(&got);
    CHECK_INT(files_count(folder, ""), 1);
    done();
}

TEST("leaves a file alone when the answer is no good one, and keeps 64 KiB of that")
{
    static const server_step missing[] = {READ, SEND("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"), HOLD};
    static const server_step endless[] = {READ, SEND("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
                                          SEND_TIMES(100000, "a\r\n" TEN "\r\n"), HOLD};
    const server_step *scripts[] = {missing, endless};

    for (int i = 0; i < 2; i++) {
        dpg_sink sink = {.type = DPG_SINK_FILE};
        dpg_request r;

        serve(scripts[i]);
        sink.path = dpg_cstr(put_file("a", 100));
        r = get_into(&sink);
        run(&r);
        check_answer(i ? 503 : 404, DPG_SENT_MAYBE);
        CHECK_INT(answer.body.len, i ? 65536 : 2);
        CHECK(!answer.used_up);
        CHECK(files_is(files_at(folder, "a"), big, 100));
        done();
    }
}

TEST("goes on with a file where it ended, and starts it over when the whole comes")
{
    static const server_step part[] = {
        READ, SEND("HTTP/1.1 206 Part\r\nContent-Range: bytes 100-109/110\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    static const server_step whole[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    static const server_step none[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), HOLD};
    const server_step *scripts[] = {part, whole, none};

    for (int i = 0; i < 3; i++) {
        dpg_sink sink = {.type = DPG_SINK_FILE, .offset = 100, .expected = 110};
        char want[110];
        dpg_request r;

        serve(scripts[i]);
        memcpy(want, big, 100);
        memcpy(want + 100, TEN, 10);
        sink.path = dpg_cstr(put_file("a", 150)); /* what is behind the offset is not to be trusted */
        r = get_into(&sink);
        run(&r);
        check_answer(i ? 200 : 206, DPG_SENT_MAYBE);
        CHECK(files_is(files_at(folder, "a"), i ? want + 100 : want, i == 0 ? 110 : i == 1 ? 10 : 0));
        done();
    }
}

TEST("takes no part but the one that is missing, and then leaves the file alone")
{
    static const char *const ranges[] = {"Content-Range: bytes 99-109/110\r\n",
                                         "Content-Range: bytes 101-109/110\r\n",
                                         "Content-Range: bytes 100-109/111\r\n",
                                         "Content-Range: bytes 100-109/*\r\n",
                                         "Content-Range: bytes */110\r\n",
                                         "Content-Range: bytes 100-110/110\r\n",
                                         "Content-Range: bytes 109-100/110\r\n",
                                         "Content-Range: bytes 100-\r\n",
                                         "Content-Range: items 100-109/110\r\n",
                                         "Content-Range: bytes 100-108/110\r\n",
                                         "Content-Range: bytes 100-99999999999999999999/110\r\n",
                                         "Content-Range: bytes 100-109/110\r\nContent-Range: bytes 100-109/110\r\n",
                                         "Content-Range: bytes 100-109/110\r\nETag: \"another\"\r\n",
                                         ""};

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        char text[400];
        server_step script[] = {READ, {SERVER_SEND, text, 0, 1}, HOLD};
        dpg_sink sink = {.type = DPG_SINK_FILE, .offset = 100, .expected = 110, .etag = DPG_LIT("\"this\"")};
        dpg_request r;

        script[1].len =
            (size_t)snprintf(text, sizeof text, "HTTP/1.1 206 Part\r\n%sContent-Length: 10\r\n\r\n" TEN, ranges[i]);
        serve(script);
        sink.path = dpg_cstr(put_file("a", 100));
        sink.rename_to = dpg_cstr(files_at(folder, "b"));
        r = get_into(&sink);
        run(&r);
        check_failure(DPG_KIND_PROTOCOL, "range_mismatch", DPG_SENT_MAYBE);
        CHECK_INT(answer.error.http_status, 206);
        CHECK(!answer.used_up);
        CHECK(files_is(files_at(folder, "a"), big, 100));
        CHECK_INT(files_count(folder, ""), 1);
        done();
    }
}

TEST("keeps what has come of an answer that was cut, and gives it no name")
{
    static const server_step announced[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
                                            SEND_TIMES(50, TEN), END};
    static const server_step chunked[] = {READ, SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n"),
                                          SEND_TIMES(50, TEN), SEND("\r\n"), END};
    static const server_step silent[] = {READ, SEND("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
                                         SEND_TIMES(50, TEN), END};
    static const server_step short_range[] = {READ,
                                              SEND("HTTP/1.1 206 OK\r\nContent-Range: bytes 0-999/1000\r\n"
                                                   "Content-Length: 500\r\n\r\n"),
                                              SEND_TIMES(50, TEN), HOLD};
    const server_step *scripts[] = {announced, chunked, silent, short_range};

    for (int i = 0; i < 4; i++) {
        dpg_sink sink = {.type = DPG_SINK_FILE, .expected = 1000};
        dpg_request r;
        dpg_buf got;

        serve(scripts[i]);
        sink.path = dpg_cstr(files_at(folder, "a.part"));
        sink.rename_to = dpg_cstr(files_at(folder, "a"));
        r = get_into(&sink);
        run(&r);
        check_failure(DPG_KIND_NETWORK, "answer_cut", DPG_SENT_MAYBE);
        CHECK(answer.used_up);
        CHECK_INT(answer.progress.received, 500);
        CHECK_INT(answer.progress.to_receive, 1000);
        dpg_buf_init(&got, 1000);
        CHECK(files_get(files_at(folder, "a.part"), &got) && got.len == 500 && memcmp(got.ptr + 490, TEN, 10) == 0);
        dpg_buf_clear(&got);
        CHECK_INT(files_count(folder, ""), 1);
        done();
    }
}

TEST("starts a file over with the head of another whole, also when not a byte follows")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), END};

    for (int had = 0; had < 2; had++) {
        dpg_sink sink = {.type = DPG_SINK_FILE, .offset = had ? 100 : 0};
        dpg_request r;

        serve(script);
        sink.path = dpg_cstr(had ? put_file("a", 100) : files_at(folder, "a"));
        r = get_into(&sink);
        run(&r);
        check_failure(DPG_KIND_NETWORK, "answer_cut", DPG_SENT_MAYBE);
        CHECK_INT(answer.used_up, had); /* the same request would ask for what was behind the bytes that were there */
        CHECK(files_is(files_at(folder, "a"), "", 0));
        done();
    }
}

#define OLD "{\"dpg_part\":1,\"what\":\"of another time, and longer than the one that comes\",\"etag\":\"\\\"x\\\"\"}"

TEST("says in a note beside the file what it is the beginning of, until it is whole")
{
    static const struct {
        int offset;
        const char *head, *note; /* NULL: none */
    } cases[] = {
        {0, "200 OK\r\nContent-Length: 20\r\nETag: \"v\\1\"\r\n",
         "{\"dpg_part\":1,\"what\":\"image \\u0022a\\u0022\",\"etag\":\"\\u0022v\\u005c1\\u0022\",\"length\":20}\n"},
        {0, "200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"v2\"\r\n\r\n14",
         "{\"dpg_part\":1,\"what\":\"image \\u0022a\\u0022\",\"etag\":\"\\u0022v2\\u0022\"}\n"},
        {5, "206 Part\r\nContent-Length: 15\r\nContent-Range: bytes 5-19/20\r\nETag: \"v3\"\r\n", OLD},
        {0, "206 Part\r\nContent-Length: 20\r\nContent-Range: bytes 0-19/20\r\nETag: \"v3\"\r\n", NULL},
        {0, "200 OK\r\nContent-Length: 20\r\n", NULL},
        {0, "200 OK\r\nContent-Length: 20\r\nETag: W/\"v4\"\r\n", NULL},
        {0, "200 OK\r\nContent-Length: 20\r\nETag: v5\r\n", NULL},
        {0, "200 OK\r\nContent-Length: 20\r\nETag: \"v5\", \"v6\"\r\n", NULL},
        {0, "200 OK\r\nContent-Length: 20\r\nETag: \"\"\r\n", NULL},
        {0, "200 OK\r\nContent-Length: 20\r\nETag: \"v6\"\r\nETag: \"v7\"\r\n", NULL},
        {0, "404 No\r\nContent-Length: 10\r\nETag: \"v8\"\r\n", OLD},
        {0, "200 OK\r\nContent-Length: 10\r\nETag: \"v9\"\r\n", NULL}, /* whole */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        server_step script[] = {READ, {SERVER_SEND, text, 0, 1}, END};
        dpg_sink sink = {.type = DPG_SINK_FILE, .offset = cases[i].offset, .note = DPG_LIT("image \"a\"")};
        const char *note;
        dpg_request r;

        script[1].len = (size_t)snprintf(text, sizeof text, "HTTP/1.1 %s\r\n" TEN, cases[i].head);
        serve(script);
        REQUIRE(files_put(files_at(folder, "a.part.json"), OLD, strlen(OLD), 0600));
        sink.path = dpg_cstr(put_file("a.part", (size_t)cases[i].offset));
        sink.rename_to = dpg_cstr(files_at(folder, "a"));
        r = get_into(&sink);
        run(&r);
        note = files_at(folder, "a.part.json");
        if (cases[i].note) CHECK(files_is(note, cases[i].note, strlen(cases[i].note)));
        else CHECK_INT(files_count(folder, "json"), 0);
        done();
    }
}

TEST("writes to no file that another download has in hand, and to one that has been given its name makes another")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    dpg_os_file other = DPG_OS_FILE_NONE;
    dpg_os_fault fault;
    dpg_request r;
    int64_t size;

    for (int busy = 1; busy >= 0; busy--) {
        dpg_sink sink = {.type = DPG_SINK_FILE};

        serve(script);
        sink.path = dpg_cstr(put_file("a", 5));
        CHECK_INT(dpg_os_file_make(files_at(folder, "a"), &other, &size, &fault), DPG_OS_FINE);
        CHECK_INT(dpg_os_file_lock(&other, files_at(folder, "a"), &fault), DPG_OS_FINE);
        if (!busy) CHECK_INT(rename(files_at(folder, "a"), files_at(folder, "whole")), 0);
        r = get_into(&sink);
        run(&r);
        if (busy) check_failure(DPG_KIND_USAGE, "busy", DPG_SENT_MAYBE);
        CHECK(files_is(files_at(folder, "a"), busy ? big : TEN, busy ? 5 : 10));
        if (!busy) CHECK(files_is(files_at(folder, "whole"), big, 5));
        dpg_os_file_close(&other, &fault);
        done();
    }
}

#ifndef _WIN32
TEST("writes also to a disk that numbers its files anew for each look")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    dpg_sink sink = {.type = DPG_SINK_FILE};
    dpg_request r;

    serve(script);
    sink.path = dpg_cstr(files_at(folder, "a.part"));
    sink.rename_to = dpg_cstr(files_at(folder, "a"));
    has_odd_numbers = true;
    r = get_into(&sink);
    run(&r);
    has_odd_numbers = false;
    CHECK_INT(answer.status, 200);
    CHECK(files_is(files_at(folder, "a"), TEN, 10));
    done();
}
#endif

TEST("takes no web page for a file")
{
    static const server_step script[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\ncontent-type: Text/HTML; charset=utf-8\r\n\r\n" TEN),
        HOLD};
    dpg_sink sink = {.type = DPG_SINK_FILE, .offset = 5};
    dpg_request r;

    serve(script);
    sink.path = dpg_cstr(put_file("a", 5));
    r = get_into(&sink);
    run(&r);
    check_failure(DPG_KIND_PROTOCOL, "unreadable", DPG_SENT_MAYBE);
    CHECK(files_is(files_at(folder, "a"), big, 5));
    done();
}

TEST("takes no answer that has another length than it must have")
{
    static const server_step announced[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    static const server_step chunked[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" TEN "\r\n0\r\n\r\n"), HOLD};
    const server_step *scripts[] = {announced, chunked};

    for (int i = 0; i < 2; i++) {
        dpg_sink sink = {.type = DPG_SINK_FILE, .expected = 9};
        dpg_request r;

        serve(scripts[i]);
        sink.path = dpg_cstr(files_at(folder, "a.part"));
        sink.rename_to = dpg_cstr(files_at(folder, "a"));
        r = get_into(&sink);
        run(&r);
        check_failure(DPG_KIND_PROTOCOL, "length_mismatch", DPG_SENT_MAYBE);
        CHECK_INT(files_count(folder, "a"), i); /* with its length ahead nothing is touched at all */
        done();
    }
}

TEST("does not put bytes behind a hole")
{
    static const server_step script[] = {
        READ, SEND("HTTP/1.1 206 Part\r\nContent-Range: bytes 100-109/110\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    dpg_sink sink = {.type = DPG_SINK_FILE, .offset = 100};
    dpg_request r;

    serve(script);
    sink.path = dpg_cstr(put_file("a", 99));
    r = get_into(&sink);
    run(&r);
    check_failure(DPG_KIND_STORAGE, "file_changed", DPG_SENT_MAYBE);
    CHECK(files_is(files_at(folder, "a"), big, 99));
    done();
}

#ifndef _WIN32
TEST("says what is wrong with a place that can't be written to")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN), READ,
                                         SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" TEN), HOLD};
    static const struct {
        const char *path, *rename_to, *code;
    } cases[] = {{"none/a", "", "file_missing"}, {"link", "", "file_denied"},    {"sub", "", "file_denied"},
                 {"pipe", "", "file_denied"},    {"real/a", "", "file_missing"}, {"a", "none/a", "file_missing"},
                 {"b", "sub", "file_denied"}};

    serve(script);
    put_file("real", 3);
    CHECK_INT(symlink(files_at(folder, "real"), files_at(folder, "link")), 0);
    CHECK_INT(mkdir(files_at(folder, "sub"), 0700), 0);
    CHECK_INT(mkfifo(files_at(folder, "pipe"), 0600), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_sink sink = {.type = DPG_SINK_FILE, .path = dpg_cstr(files_at(folder, cases[i].path))};
        dpg_request r = get_into(&sink);

        if (cases[i].rename_to[0]) sink.rename_to = dpg_cstr(files_at(folder, cases[i].rename_to));
        run(&r);
        check_failure(DPG_KIND_STORAGE, cases[i].code, DPG_SENT_MAYBE);
    }
    CHECK(files_is(files_at(folder, "real"), big, 3));
    CHECK(files_is(files_at(folder, "a"), TEN, 10)); /* whole, under the name that it had */
    done();
}

TEST("takes no bytes beside a note of others that can't be removed")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v\"\r\n\r\n" TEN),
                                         HOLD};
    dpg_sink sink = {.type = DPG_SINK_FILE, .note = DPG_LIT("image a")};
    dpg_request r;

    serve(script);
    put_file("real", 3);
    CHECK_INT(symlink(files_at(folder, "real"), files_at(folder, "a.json")), 0);
    sink.path = dpg_cstr(files_at(folder, "a"));
    r = get_into(&sink);
    run(&r);
    check_failure(DPG_KIND_STORAGE, "file_denied", DPG_SENT_MAYBE);
    CHECK(strstr(answer.error.message, "a.json can't be removed") != NULL);
    CHECK(files_is(files_at(folder, "real"), big, 3));
    CHECK(files_is(files_at(folder, "a"), "", 0));
    done();
}

TEST("ends when the disk is full, and what fitted is right")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
                                         SEND_TIMES(1000, THOUSAND), HOLD};
    struct rlimit old, tight;
    dpg_sink sink = {.type = DPG_SINK_FILE};
    dpg_request r;
    dpg_buf got;

    serve(script);
    sink.path = dpg_cstr(files_at(folder, "a.part"));
    sink.rename_to = dpg_cstr(files_at(folder, "a"));
    r = get_into(&sink);
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
    tight = old;
    tight.rlim_cur = 300001;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &tight) == 0);
    run(&r);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    check_failure(DPG_KIND_STORAGE, "disk_full", DPG_SENT_MAYBE);
    CHECK(answer.used_up);
    dpg_buf_init(&got, sizeof big);
    CHECK(files_get(files_at(folder, "a.part"), &got));
    CHECK_INT(got.len, 300001);
    for (size_t i = 0; i < got.len; i++)
        if (got.ptr[i] != TEN[i % 10]) {
            CHECK_FAIL("byte %zu", i);
            break;
        }
    dpg_buf_clear(&got);
    CHECK_INT(files_count(folder, ""), 1);
    done();
}
#endif

/* --- chunks -------------------------------------------------------------------------------------------------------------- */

TEST("holds an answer back while nobody reads it, and loses no byte of it")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\nA: b\r\n\r\n"),
                                         SEND_TIMES(50000, THOUSAND), HOLD};
    dpg_sink sink = {.type = DPG_SINK_CHUNKS};
    size_t total = 0, most = 0;
    bool right = true, ended = false;
    dpg_request r;
    dpg_error err;

    serve(script);
    REQUIRE(dpg_pipe_init(&chunks, 100000));
    r = get_into(&sink);
    CHECK_INT(start(7, &r, &err), DPG_OK);
    while (!look().status) step(5);
    CHECK_INT(look().header_count, 2);
    while (!look().full) step(5);
    for (int i = 0; i < 50; i++) step(1);
    CHECK(look().progress.received <= 100000);
    CHECK_INT(look().progress.to_receive, 50000000);
    dpg_response_clear(&answer);
    while (!ended || dpg_pipe_len(&chunks)) {
        dpg_str front = dpg_pipe_front(&chunks);

        if (front.len > most) most = front.len;
        if (front.len > 7001) front.len = 7001;
        for (size_t i = 0; i < front.len; i++) right = right && front.ptr[i] == TEN[(total + i) % 10];
        total += front.len;
        dpg_pipe_drop(&chunks, front.len);
        if (ended || dpg_pipe_len(&chunks)) continue;
        step(5);
        ended = transport.next(transport.self, &answer);
    }
    check_answer(200, DPG_SENT_MAYBE);
    CHECK_INT(total, 50000000);
    CHECK(right && most <= 100000);
    done();
}

TEST("cuts a form or an answer off at any moment, and closes all that it had opened")
{
    static const server_step script[] = {READ_HEAD, READ_BYTES(100000),
                                         SEND("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"),
                                         SEND_TIMES(50000, THOUSAND), HOLD};

    for (int steps = 0; steps < 12; steps++)
        for (int kind = 0; kind < 2; kind++) {
            dpg_sink sink = {.type = kind ? DPG_SINK_FILE : DPG_SINK_CHUNKS};
            dpg_part parts[2];
            dpg_request r;
            dpg_error err;

            serve(script);
            descriptors = files_descriptors();
            REQUIRE(dpg_pipe_init(&chunks, 100000) && dpg_pipe_init(&fed, 1000));
            dpg_pipe_put(&fed, big, 500);
            sink.path = dpg_cstr(files_at(folder, "out"));
            parts[0] = file_part(put_file("a", 200000), 200000);
            parts[1] = (dpg_part){.name = DPG_LIT("f"), .fed = true, .size = kind ? 500 : 501};
            r = form(parts, 2);
            r.sink = &sink;
            r.chunks = &chunks;
            CHECK_INT(start(7, &r, &err), DPG_OK);
            for (int i = 0; i < steps; i++) step(2);
            transport.abort(transport.self, 7);
            CHECK(!transport.next(transport.self, &answer));
            server_free(srv);
            srv = NULL;
            CHECK(files_descriptors() <= descriptors);
            done();
        }
}

#ifndef _WIN32
TEST("forgets forms and answers in a child made by fork")
{
    static const server_step script[] = {READ_HEAD, HOLD};
    dpg_sink sink = {.type = DPG_SINK_FILE};
    dpg_part parts[2];
    dpg_request r;
    dpg_error err;
    pid_t child;
    int how;

    serve(script);
    REQUIRE(dpg_pipe_init(&fed, 1000));
    parts[0] = file_part(put_file("a", sizeof big), sizeof big);
    parts[1] = (dpg_part){.name = DPG_LIT("f"), .fed = true, .size = 1}; /* all else may go into the sockets' buffers */
    sink.path = dpg_cstr(files_at(folder, "out"));
    r = form(parts, 2);
    r.sink = &sink;
    CHECK_INT(start(7, &r, &err), DPG_OK);
    while (server_requests(srv) < 1) step(5);
    child = fork();
    if (child == 0) {
        transport.forget(transport.self);
        _exit(0);
    }
    REQUIRE(waitpid(child, &how, 0) == child);
    CHECK_INT(how, 0);
    CHECK_INT(transport.abort(transport.self, 7), DPG_SENT_PART);
    done();
}
#endif

CHECK_MAIN()
