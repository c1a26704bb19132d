/*
 * Files, forms and chunks when memory runs out at the 1st, 2nd, 3rd … allocation: each call is refused or ends in an error,
 * a file is whole or has no name, and nothing is left behind.
 */
#include "check.h"
#include "engine.h"
#include "files.h"
#include "server.h"

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

static const server_step script[] = {
    READ, SEND("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n"),
    SEND_TIMES(200, THOUSAND), END};

static const char *folder, *in, *out, *part;

static dpg_spec upload(server *s, dpg_part parts[3])
{
    dpg_spec spec = DPG_SPEC_INIT;

    parts[0] = (dpg_part){.name = DPG_LIT("key"), .value = DPG_LIT("value"), .content_type = DPG_LIT("text/x")};
    parts[1] = (dpg_part){.name = DPG_LIT("file"), .path = dpg_cstr(in), .size = 100, .filename = DPG_LIT("a")};
    parts[2] = (dpg_part){.name = DPG_LIT("fed"), .fed = true, .size = 10};
    spec.method = DPG_LIT("POST");
    spec.url = dpg_cstr(server_url(s, "/up"));
    spec.parts = parts;
    spec.part_count = 3;
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS, .window = 65536};
    spec.idle_ms = 30000;
    spec.attempts = 1; /* else what failed for memory is tried again, and succeeds */
    return spec;
}

static dpg_spec download(server *s)
{
    dpg_spec spec = DPG_SPEC_INIT;

    spec.method = DPG_LIT("GET");
    spec.url = dpg_cstr(server_url(s, "/file"));
    spec.sink =
        (dpg_sink){.type = DPG_SINK_FILE, .path = dpg_cstr(part), .rename_to = dpg_cstr(out), .expected = 200000};
    spec.attempts = 1;
    return spec;
}

/* To its end; true when it went well, with as many bytes as there were. */
static bool end(dpg_engine *engine, dpg_id id, bool chunks)
{
    dpg_completion done;
    dpg_chunk chunk;
    size_t total = 0;
    bool fine;

    while (dpg_engine_take(engine, id, &done, NULL) != DPG_OK) {
        dpg_engine_wait(engine, 1000, NULL);
        while (chunks && dpg_engine_read(engine, id, 50000, &chunk, NULL) == DPG_OK && chunk.state == DPG_READ_BYTES)
            total += chunk.bytes.len;
        for (dpg_note note = {.type = DPG_NOTE_WANT}; note.type;) dpg_engine_next(engine, &note);
    }
    fine = done.error.kind == DPG_KIND_NONE && done.status == 200 && (!chunks || total == 200000);
    if (!fine) CHECK_STR(done.error.code, "out_of_memory");
    dpg_completion_clear(&done);
    return fine;
}

static bool play(server *s)
{
    dpg_engine_options options = {.proxy_set = true};
    dpg_part parts[3];
    dpg_error err = DPG_ERROR_INIT;
    dpg_engine *engine = NULL;
    int fine = 0;

    if (dpg_engine_new(&options, &engine, &err) != DPG_OK) {
        CHECK_INT(err.status, DPG_E_NOMEM);
        return false;
    }
    for (int up = 0; up < 2; up++) {
        dpg_spec spec = up ? upload(s, parts) : download(s);
        dpg_id id = 0;
        size_t taken = 0;

        if (dpg_engine_start(engine, &spec, &id, &err) != DPG_OK) {
            CHECK_INT(err.status, DPG_E_NOMEM);
            continue;
        }
        if (up) CHECK_INT(dpg_engine_feed(engine, id, DPG_LIT("0123456789"), &taken, &err), DPG_OK);
        fine += end(engine, id, up);
    }
    CHECK_INT(dpg_engine_counts(engine).calls, 0);
    dpg_engine_free(engine, 1000);
    return fine == 2;
}

TEST("each allocation that fails is refused or ends in an error, and names no file that is not whole")
{
    char *scratch = files_scratch();
    char bytes[100] = {1};
    int refused = 0, recovered = 0, named = 0;

    folder = scratch;
    in = files_at(folder, "in");
    out = files_at(folder, "out");
    part = files_at(folder, "out.part");
    REQUIRE(files_put(in, bytes, sizeof bytes, 0600));
    for (uint64_t n = 1;; n++) {
        server *s = server_new((const server_step *[]){script, NULL});
        bool fine, failed;

        dpg_alloc_fail(n);
        fine = play(s);
        failed = dpg_alloc_failed();
        dpg_alloc_fail(0);
        server_free(s);
        if (files_count(folder, "") > 1 && access(out, F_OK) == 0) {
            dpg_buf got;

            dpg_buf_init(&got, 1 << 20);
            CHECK(files_get(out, &got) && got.len == 200000);
            dpg_buf_clear(&got);
            named++;
        }
        unlink(out);
        unlink(part);
        if (!failed) {
            CHECK(fine);
            break;
        }
        if (fine) recovered++;
        else refused++;
    }
    CHECK(refused >= 30);
    CHECK(recovered <= 2); /* the head of each answer, which is shown with the next turn instead */
    CHECK(named > refused / 4);
    files_remove(scratch);
}

CHECK_MAIN()
