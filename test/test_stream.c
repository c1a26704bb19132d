/*
 * The engine with bodies that are large, on real sockets and a clock that moves when a test says so: notes for who feeds
 * and who reads, what is sent again and what is not, and that whoever stops pulling is timed out, not leaked.
 */
#include "check.h"
#include "engine.h"
#include "files.h"
#include "server.h"

/* --- the world of one test -------------------------------------------------------------------------------------------- */

static server *srv;
static dpg_engine *engine;
static char *folder;
static int64_t now_ms;
static int wants, datas; /* notes of the last turn_until() */
static char big[8 << 20];

static int64_t boot_ms(void *self)
{
    (void)self;
    return now_ms;
}

static const char *boot_id(void *self)
{
    (void)self;
    return "boot";
}

static uint64_t u64(void *self)
{
    (void)self;
    return 0; /* no back-off */
}

static void begin(const server_step *const *scripts)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_transport_options how = {.proxy_set = true};
    dpg_drivers drivers = {.clock = {NULL, boot_ms, boot_ms, boot_id}, .random = {NULL, u64}, .virtual_time = true};
    dpg_error err = DPG_ERROR_INIT;

    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7 + i / 251);
    now_ms = 1000000;
    folder = files_scratch();
    srv = server_new(scripts);
    REQUIRE(dpg_transport_curl_new(&how, &drivers.transport, &err) == DPG_OK);
    REQUIRE(dpg_engine_new_with(&options, &drivers, &engine, &err) == DPG_OK);
}

static void begin_one(const server_step *script)
{
    static const server_step *scripts[2];

    scripts[0] = script;
    begin(scripts);
}

static void finish(void)
{
    dpg_counts n = dpg_engine_counts(engine);

    CHECK_INT(n.calls, 0);
    CHECK_INT(n.transfers, 0);
    CHECK_INT(n.timers, 0);
    CHECK_INT(n.notes, 0);
    CHECK_INT(n.untaken, 0);
    dpg_engine_free(engine, 0);
    engine = NULL;
    server_free(srv);
    files_remove(folder);
}

static dpg_spec spec_of(const char *method, const char *path)
{
    static char url[200];
    dpg_spec spec = DPG_SPEC_INIT;

    snprintf(url, sizeof url, "%s", server_url(srv, path));
    spec.method = dpg_cstr(method);
    spec.url = dpg_cstr(url);
    spec.deadline_ms = -1;
    spec.idle_ms = 10000;
    return spec;
}

static dpg_id start(const dpg_spec *spec)
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;

    if (dpg_engine_start(engine, spec, &id, &err) != DPG_OK) CHECK_FAIL("%s: %s", err.code, err.message);
    return id;
}

/* Real waiting, without the clock moving. */
static dpg_note turn(void)
{
    dpg_note note;

    dpg_engine_wait(engine, 2, NULL);
    dpg_engine_next(engine, &note);
    wants += note.type == DPG_NOTE_WANT;
    datas += note.type == DPG_NOTE_DATA;
    return note;
}

static void turn_until(dpg_note_type type)
{
    wants = datas = 0;
    while (turn().type != type) continue;
}

/* Its end, while nobody feeds or reads it; the clock stands still unless `pace_ms` is above 0. */
static dpg_completion end_of(dpg_id id, int64_t pace_ms)
{
    dpg_completion done;

    memset(&done, 0, sizeof done);
    while (dpg_engine_take(engine, id, &done, NULL) != DPG_OK) {
        turn();
        now_ms += pace_ms;
    }
    for (int i = 0; i < 8; i++) turn();
    return done;
}

static void expect(dpg_id id, int64_t pace_ms, int status, const char *code, int attempts)
{
    dpg_completion done = end_of(id, pace_ms);

    CHECK_INT(done.status, status);
    CHECK_STR(done.error.code, code);
    CHECK_INT(done.attempts, attempts);
    if (strcmp(done.error.code, code) != 0) printf("# %s\n", done.error.message);
    dpg_completion_clear(&done);
}

static size_t feed(dpg_id id, size_t at, size_t len)
{
    dpg_error err = DPG_ERROR_INIT;
    size_t taken = 0;

    if (dpg_engine_feed(engine, id, dpg_str_of(big + at, len), &taken, &err) != DPG_OK)
        CHECK_FAIL("%s: %s", err.code, err.message);
    return taken;
}

static dpg_chunk read_some(dpg_id id, size_t most)
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_chunk chunk;

    memset(&chunk, 0, sizeof chunk);
    if (dpg_engine_read(engine, id, most, &chunk, &err) != DPG_OK) CHECK_FAIL("%s: %s", err.code, err.message);
    return chunk;
}

static const char *put_file(const char *name, size_t size)
{
    const char *path = files_at(folder, name);

    REQUIRE(files_put(path, big, size, 0600));
    return path;
}

static dpg_part file_part(size_t size)
{
    return (dpg_part){.name = DPG_LIT("file"), .path = dpg_cstr(put_file("in", size)), .size = (int64_t)size};
}

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
#define CREATED "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
#define BUSY "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
#define LIMITED "HTTP/1.1 429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
#define FOUR_MB "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\nETag: \"a\"\r\n\r\n"

static const server_step created[] = {READ, SEND(CREATED), HOLD};
static const server_step four_mb[] = {READ, SEND(FOUR_MB), SEND_TIMES(4000, THOUSAND), HOLD};

/* --- feeding ----------------------------------------------------------------------------------------------------------- */

TEST("asks for the bytes of a fed part once it can send them, once for each time that it needs more")
{
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 5000000};
    size_t put = 0, asked = 0;
    dpg_progress progress;
    dpg_completion done;
    const char *body;
    dpg_spec spec;
    dpg_id id;

    begin_one(created);
    spec = spec_of("POST", "/up");
    spec.parts = &part;
    spec.part_count = 1;
    spec.repeat = DPG_REPEAT_UNFINISHED;
    id = start(&spec);
    while (put < 5000000) {
        turn_until(DPG_NOTE_WANT);
        CHECK_INT(wants, 1);
        for (int i = 0; i < 3; i++) CHECK_INT(turn().type, DPG_NOTE_NONE); /* told once, until something is fed */
        for (size_t taken = 1; taken && put < 5000000; put += taken)
            taken = feed(id, put, put + 300000 < 5000000 ? 300000 : 5000000 - put);
        asked++;
    }
    done = end_of(id, 0);
    CHECK_INT(done.status, 201);
    CHECK_INT(done.sent, 1);
    CHECK(asked >= 5 && asked <= 12);
    body = strstr(strstr(server_request(srv, 0), "\r\n\r\n") + 4, "\r\n\r\n") + 4;
    CHECK_MEM(body, 5000000, big, 5000000);
    CHECK_INT(dpg_engine_progress(engine, id, &progress), DPG_E_UNKNOWN);
    dpg_completion_clear(&done);
    finish();
}

TEST("takes no more bytes than were announced, and none for a call that isn't fed")
{
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 10};
    dpg_error err = DPG_ERROR_INIT;
    size_t taken = 99;
    dpg_spec spec;
    dpg_id id, other;

    begin_one(created);
    spec = spec_of("POST", "/up");
    other = start(&spec);
    spec.parts = &part;
    spec.part_count = 1;
    id = start(&spec);
    CHECK_INT(feed(id, 0, 8), 8); /* before it is begun, too */
    CHECK_INT(dpg_engine_feed(engine, id, DPG_LIT("123"), &taken, &err), DPG_E_INVALID);
    CHECK_STR(err.code, "too_many_bytes");
    CHECK_INT(dpg_engine_feed(engine, other, DPG_LIT("1"), &taken, &err), DPG_E_UNKNOWN);
    CHECK_INT(dpg_engine_feed(engine, 77, DPG_LIT("1"), &taken, &err), DPG_E_UNKNOWN);
    CHECK_INT(taken, 99);
    CHECK_INT(feed(id, 8, 2), 2);
    expect(id, 0, 201, "", 1);
    expect(other, 0, 201, "", 1);
    CHECK_INT(dpg_engine_feed(engine, id, DPG_LIT("1"), &taken, &err), DPG_E_UNKNOWN);
    finish();
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

TEST("says that there is a head, then chunks, then the end, and hands all of them over in order")
{
    dpg_spec spec;
    dpg_chunk chunk;
    size_t total = 0;
    bool right = true;
    dpg_id id;

    begin_one(four_mb);
    spec = spec_of("GET", "/file");
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS, .window = 100000};
    id = start(&spec);
    CHECK_INT(read_some(id, 10).state, DPG_READ_LATER);
    CHECK_INT(read_some(id, 10).status, 0);
    do {
        dpg_progress progress;

        turn_until(DPG_NOTE_DATA);
        CHECK_INT(datas, 1);
        chunk = read_some(id, 0);
        CHECK_INT(chunk.status, 200);
        CHECK_INT(chunk.header_count, 2);
        CHECK_INT(dpg_engine_progress(engine, id, &progress), DPG_OK);
        CHECK_INT(progress.to_receive, 4000000);
        CHECK(progress.received <= (int64_t)total + 100000);
        while ((chunk = read_some(id, 7777)).state == DPG_READ_BYTES) {
            CHECK(chunk.bytes.len <= 7777);
            for (size_t i = 0; i < chunk.bytes.len; i++) right = right && chunk.bytes.ptr[i] == TEN[(total + i) % 10];
            total += chunk.bytes.len;
        }
    } while (chunk.state == DPG_READ_LATER);
    CHECK_INT(chunk.state, DPG_READ_END);
    CHECK_INT(total, 4000000);
    CHECK(right);
    CHECK_INT(read_some(id, 7777).state, DPG_READ_END);
    expect(id, 0, 200, "", 1);
    CHECK_INT(dpg_engine_read(engine, id, 1, &chunk, NULL), DPG_E_UNKNOWN);
    finish();
}

TEST("hands over what has come of an answer that was cut, and then its error")
{
    static const server_step script[] = {READ, SEND(FOUR_MB), SEND_TIMES(50, THOUSAND), END};
    size_t total = 0;
    dpg_chunk chunk;
    dpg_spec spec;
    dpg_id id;

    begin_one(script);
    spec = spec_of("GET", "/file");
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS};
    id = start(&spec);
    turn_until(DPG_NOTE_DONE);
    CHECK(datas >= 1);
    while ((chunk = read_some(id, 100000)).state == DPG_READ_BYTES) total += chunk.bytes.len;
    CHECK_INT(chunk.state, DPG_READ_END);
    CHECK_INT(total, 50000);
    expect(id, 0, 0, "answer_cut", 1); /* no second attempt: it would begin anew in the middle of what was read */
    CHECK_INT(server_requests(srv), 1);
    finish();
}

TEST("says at once that there is nothing to be read of an answer that is no good one")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone"), HOLD};
    dpg_completion done;
    dpg_spec spec;
    dpg_id id;

    begin_one(script);
    spec = spec_of("GET", "/file");
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS};
    id = start(&spec);
    turn_until(DPG_NOTE_DATA);
    CHECK_INT(read_some(id, 10).state, DPG_READ_END);
    CHECK_INT(read_some(id, 10).status, 0);
    done = end_of(id, 0);
    CHECK_INT(done.status, 404);
    CHECK_MEM(done.body.ptr, done.body.len, "none", 4);
    dpg_completion_clear(&done);
    finish();
}

/* --- when nothing moves -------------------------------------------------------------------------------------------------- */

TEST("times a reader out who stops pulling, and one who is slow it does not")
{
    size_t total = 0;
    int64_t received = 0;
    dpg_progress progress;
    dpg_chunk chunk;
    dpg_spec spec;
    dpg_id id;

    begin_one(four_mb);
    spec = spec_of("GET", "/file");
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS, .window = 100000};
    id = start(&spec);
    for (int i = 0; i < 10; i++) { /* 1000 bytes in 6 s: no new ones find room, and yet it moves */
        while (!read_some(id, 0).bytes.len) turn();
        total += read_some(id, 1000).bytes.len;
        now_ms += 6000;
        turn();
    }
    CHECK_INT(total, 10000);
    for (int64_t from = now_ms; dpg_engine_counts(engine).calls; now_ms += 100) {
        turn();
        CHECK_INT(dpg_engine_progress(engine, id, &progress), DPG_OK);
        if (progress.received > received) from = now_ms; /* they still fill the room, as fast as this machine is */
        received = progress.received;
        if (now_ms - from < 10000) CHECK_INT(dpg_engine_counts(engine).calls, 1);
        REQUIRE(now_ms - from < 13000);
    }
    while ((chunk = read_some(id, 100000)).state == DPG_READ_BYTES) total += chunk.bytes.len;
    CHECK(total <= 110000);
    expect(id, 0, 0, "stalled", 1);
    finish();
}

/* A host that was broken off has heard of nothing that it was told: it is told again, and of what it has dealt with it is not. */
static dpg_note_type heard(void)
{
    dpg_note note;

    dpg_engine_next(engine, &note);
    return note.type;
}

TEST("tells again what was told, until it has been dealt with")
{
    static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), HOLD};
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 10};
    dpg_completion done;
    dpg_spec spec;
    dpg_id id;

    begin_one(script);
    spec = spec_of("POST", "/up");
    spec.parts = &part;
    spec.part_count = 1;
    spec.sink.type = DPG_SINK_CHUNKS;
    id = start(&spec);
    turn_until(DPG_NOTE_WANT);
    CHECK_INT(heard(), DPG_NOTE_NONE);
    for (int i = 0; i < 2; i++) {
        dpg_engine_tell_again(engine);
        CHECK_INT(heard(), DPG_NOTE_WANT);
        CHECK_INT(heard(), DPG_NOTE_NONE);
    }
    CHECK_INT(feed(id, 0, 10), 10);
    turn_until(DPG_NOTE_DATA);
    dpg_engine_tell_again(engine);
    turn_until(DPG_NOTE_DATA);
    while (dpg_engine_counts(engine).calls) turn();
    while (heard() != DPG_NOTE_NONE) continue;
    dpg_engine_tell_again(engine);
    CHECK_INT(heard(), DPG_NOTE_DATA);
    CHECK_INT(heard(), DPG_NOTE_DONE);
    CHECK_INT(read_some(id, 10).bytes.len, 2);
    CHECK_INT(read_some(id, 10).state, DPG_READ_END);
    CHECK(dpg_engine_take(engine, id, &done, NULL) == DPG_OK);
    dpg_completion_clear(&done);
    dpg_engine_tell_again(engine);
    CHECK_INT(heard(), DPG_NOTE_NONE);
    finish();
}

TEST("times a form out that nobody feeds, and an answer that stands still")
{
    static const server_step script[] = {READ_HEAD, SEND("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123"), HOLD};
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 10};
    dpg_completion done;
    dpg_spec spec;
    dpg_id id;

    begin_one(script);
    spec = spec_of("POST", "/up");
    spec.parts = &part;
    spec.part_count = 1;
    spec.attempts = 1;
    id = start(&spec);
    turn_until(DPG_NOTE_WANT);
    done = end_of(id, 100);
    CHECK_STR(done.error.code, "stalled");
    CHECK(strstr(done.error.message, "not fed") != NULL);
    dpg_completion_clear(&done);
    for (int chunks = 0; chunks < 2; chunks++) {
        dpg_progress progress;

        spec = spec_of("GET", "/file");
        spec.sink =
            (dpg_sink){.type = chunks ? DPG_SINK_CHUNKS : DPG_SINK_FILE, .path = dpg_cstr(files_at(folder, "a"))};
        id = start(&spec);
        do {
            turn();
            CHECK_INT(dpg_engine_progress(engine, id, &progress), DPG_OK);
        } while (progress.received < 4);
        for (; dpg_engine_counts(engine).calls; now_ms += 100) turn();
        CHECK_INT(read_some(id, 0).status, 200); /* of which answer they are is known to whoever looks only now */
        if (chunks) CHECK_INT(read_some(id, 10).bytes.len, 4);
        expect(id, 0, 0, "stalled", 1);
    }
    CHECK(files_is(files_at(folder, "a"), "0123", 4));
    finish();
}

TEST("leaves a transfer alone as long as it moves, however long it takes")
{
    static const server_step script[] = {
        READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"), WAIT, SEND("b"), WAIT, SEND("c"), HOLD};
    dpg_spec spec;
    dpg_progress progress;
    dpg_id id;

    begin_one(script);
    spec = spec_of("GET", "/file");
    id = start(&spec);
    for (int n = 1; n <= 2; n++) {
        do {
            turn();
            CHECK_INT(dpg_engine_progress(engine, id, &progress), DPG_OK);
        } while (progress.received < n);
        for (int i = 0; i < 9; i++) {
            now_ms += 1000;
            turn();
        }
        server_open(srv);
    }
    expect(id, 0, 200, "", 1);
    finish();
}

/* --- again or not ---------------------------------------------------------------------------------------------------------- */

typedef struct again_case {
    const server_step *first;
    dpg_repeat repeat;
    int status;
    const char *code;
    int attempts;
} again_case;

TEST("sends a form again as long as nobody can have it whole, and not after that")
{
    static const server_step cut_early[] = {READ_HEAD, READ_BYTES(100000), RESET}, cut_late[] = {READ, RESET};
    static const server_step busy[] = {READ, SEND(BUSY), HOLD}, limited[] = {READ, SEND(LIMITED), HOLD};
    static const again_case cases[] = {
        {cut_early, DPG_REPEAT_UNFINISHED, 201, "", 2}, {cut_early, DPG_REPEAT_UNSENT, 0, "connection_lost", 1},
        {cut_early, DPG_REPEAT_ALWAYS, 201, "", 2},     {cut_late, DPG_REPEAT_UNFINISHED, 0, "connection_lost", 1},
        {cut_late, DPG_REPEAT_ALWAYS, 201, "", 2},      {busy, DPG_REPEAT_UNFINISHED, 503, "", 1},
        {limited, DPG_REPEAT_UNFINISHED, 201, "", 2}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const server_step *scripts[] = {cases[i].first, created, NULL};
        dpg_part part;
        dpg_spec spec;

        begin(scripts);
        part = file_part(sizeof big);
        spec = spec_of("POST", "/up");
        spec.parts = &part;
        spec.part_count = 1;
        spec.repeat = cases[i].repeat;
        expect(start(&spec), 1, cases[i].status, cases[i].code, cases[i].attempts);
        CHECK_INT(server_connections(srv), cases[i].attempts);
        finish();
    }
}

TEST("does not send a form again whose bytes were fed, and does before any was taken")
{
    static const server_step cut[] = {READ_HEAD, READ_BYTES(100), RESET};
    dpg_part part = {.name = DPG_LIT("f"), .fed = true, .size = 3000000};
    dpg_spec spec;
    dpg_id id;

    begin((const server_step *[]){cut, created, NULL});
    spec = spec_of("POST", "/up");
    spec.parts = &part;
    spec.part_count = 1;
    spec.repeat = DPG_REPEAT_ALWAYS;
    id = start(&spec);
    turn_until(DPG_NOTE_WANT);
    feed(id, 0, 500000);
    expect(id, 1, 0, "connection_lost", 1);
    spec.url = DPG_LIT("http://127.0.0.1:1/");
    spec.attempts = 3;
    id = start(&spec);
    feed(id, 0, 500000);
    expect(id, 1, 0, "connect_failed", 3);
    finish();
}

TEST("fetches a file again until its first byte has come, and not after that")
{
    static const server_step busy[] = {READ, SEND(BUSY), END}, cut_before[] = {READ, SEND(FOUR_MB), RESET};
    static const server_step cut_after[] = {READ, SEND(FOUR_MB), SEND_TIMES(3000, THOUSAND), END};
    static const again_case cases[] = {{busy, DPG_REPEAT_ALWAYS, 200, "", 2},
                                       {cut_before, DPG_REPEAT_ALWAYS, 200, "", 2},
                                       {cut_after, DPG_REPEAT_ALWAYS, 0, "answer_cut", 1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const server_step *scripts[] = {cases[i].first, four_mb, NULL};
        dpg_progress progress;
        dpg_spec spec;
        dpg_id id;

        begin(scripts);
        spec = spec_of("GET", "/file");
        spec.sink = (dpg_sink){.type = DPG_SINK_FILE,
                               .path = dpg_cstr(files_at(folder, "a.part")),
                               .rename_to = dpg_cstr(files_at(folder, "a"))};
        id = start(&spec);
        while (dpg_engine_counts(engine).calls) {
            turn();
            now_ms++;
        }
        CHECK_INT(dpg_engine_progress(engine, id, &progress), DPG_OK); /* until it is taken */
        CHECK_INT(progress.received, cases[i].status ? 4000000 : 3000000);
        expect(id, 1, cases[i].status, cases[i].code, cases[i].attempts);
        CHECK_INT(files_count(folder, "part"), cases[i].status ? 0 : 1);
        finish();
    }
}

/* --- the end, at any moment ---------------------------------------------------------------------------------------------- */

/* A call with everything: a file, fed bytes, chunks. */
static dpg_id start_all(dpg_part parts[2])
{
    dpg_spec spec = spec_of("POST", "/up");
    dpg_id id;

    parts[0] = file_part(100000);
    parts[1] = (dpg_part){.name = DPG_LIT("f"), .fed = true, .size = 1000};
    spec.parts = parts;
    spec.part_count = 2;
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS, .window = 65536};
    id = start(&spec);
    feed(id, 0, 500);
    return id;
}

TEST("cancelled, abandoned or closed at any moment, leaves nothing behind")
{
    static const server_step script[] = {READ_HEAD, SEND(FOUR_MB), SEND_TIMES(4000, THOUSAND), HOLD};

    for (int turns = 0; turns < 16; turns++)
        for (int how = 0; how < 4; how++) {
            dpg_part parts[2];
            int descriptors;
            dpg_id id;

            begin_one(script);
            descriptors = files_descriptors();
            id = start_all(parts);
            for (int i = 0; i < turns; i++) dpg_engine_wait(engine, 1, NULL); /* its notes stay where they are */
            if (how == 0) {
                dpg_engine_cancel(engine, id);
                expect(id, 0, 0, "cancelled", turns > 0);
            } else if (how == 1) {
                dpg_engine_abandon(engine, id);
                CHECK_INT(dpg_engine_counts(engine).calls, 0);
            } else if (how == 2) {
                dpg_engine_free(engine, 1000);
            } else {
                dpg_engine_forget(engine);
            }
            if (how < 2) {
                finish();
            } else {
                server_free(srv);
                files_remove(folder);
            }
            if (how != 3) CHECK(files_descriptors() <= descriptors); /* a child's connections stay open, as they must */
        }
}

TEST("refuses forms and sinks that can't be, before anything is done")
{
    static const dpg_part parts[] = {
        {.name = {"", sizeof("") - 1}},
        {.name = {"a\r\nb: c", sizeof("a\r\nb: c") - 1}},
        {.name = {"a\nb", sizeof("a\nb") - 1}},
        {.name = {"a\0b", sizeof("a\0b") - 1}},
        {.name = {"a", sizeof("a") - 1}, .filename = {"b\rc", sizeof("b\rc") - 1}},
        {.name = {"a", sizeof("a") - 1}, .content_type = {"b\nc", sizeof("b\nc") - 1}},
        {.name = {"a", sizeof("a") - 1}, .path = {"b\0c", sizeof("b\0c") - 1}},
        {.name = {"a", sizeof("a") - 1}, .path = {"b", sizeof("b") - 1}, .fed = true},
        {.name = {"a", sizeof("a") - 1}, .path = {"b", sizeof("b") - 1}, .value = {"c", sizeof("c") - 1}},
        {.name = {"a", sizeof("a") - 1}, .path = {"b", sizeof("b") - 1}, .size = -1}};
    static const dpg_sink sinks[] = {
        {.type = DPG_SINK_FILE},
        {.type = DPG_SINK_FILE, .path = {"a\0b", sizeof("a\0b") - 1}},
        {.type = DPG_SINK_FILE, .path = {"a", sizeof("a") - 1}, .rename_to = {"a\0b", sizeof("a\0b") - 1}},
        {.type = DPG_SINK_FILE, .path = {"a", sizeof("a") - 1}, .offset = -1},
        {.type = DPG_SINK_FILE, .path = {"a", sizeof("a") - 1}, .expected = -1},
        {.type = DPG_SINK_CHUNKS, .window = SIZE_MAX}};
    dpg_part two[2] = {{.name = DPG_LIT("a"), .fed = true}, {.name = DPG_LIT("b"), .fed = true}};
    dpg_header type = {DPG_LIT("content-type"), DPG_LIT("multipart/form-data")};
    dpg_error err = DPG_ERROR_INIT;
    dpg_spec spec;
    dpg_id id = 0;

    begin_one(created);
    spec = spec_of("POST", "/up");
    spec.part_count = 1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        spec.parts = &parts[i];
        CHECK_INT(dpg_engine_start(engine, &spec, &id, &err), DPG_E_INVALID);
        CHECK_STR(err.code, "part");
    }
    spec.parts = two;
    spec.part_count = 2;
    CHECK_INT(dpg_engine_start(engine, &spec, &id, &err), DPG_E_INVALID);
    spec.part_count = 1;
    spec.has_body = true;
    CHECK_INT(dpg_engine_start(engine, &spec, &id, &err), DPG_E_INVALID);
    spec.has_body = false;
    spec.headers = &type;
    spec.header_count = 1;
    CHECK_INT(dpg_engine_start(engine, &spec, &id, &err), DPG_E_INVALID);
    spec = spec_of("GET", "/file");
    for (size_t i = 0; i < sizeof sinks / sizeof *sinks; i++) {
        spec.sink = sinks[i];
        CHECK_INT(dpg_engine_start(engine, &spec, &id, &err), DPG_E_INVALID);
        CHECK_STR(err.code, "sink");
    }
    spec = spec_of("HEAD", "/file");
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS};
    CHECK_INT(dpg_engine_start(engine, &spec, &id, &err), DPG_E_INVALID);
    CHECK_INT(id, 0);
    finish();
}

CHECK_MAIN()
