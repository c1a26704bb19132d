/*
 * An engine with a thread of its own, over libcurl, real sockets and the system's clock: what a host may do while it turns,
 * what wakes it, how it ends. The server is the strict one of the tests' small world.
 */
#include "check.h"
#include "os.h"
#include "web.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static world *w;
static web *server;
static dpg_engine *engine;
static dpg_wake *wake;

static int times(const char *variable, int standard)
{
    const char *text = getenv(variable);

    return text && atoi(text) > 0 ? atoi(text) : standard;
}

static void begin_with(dpg_engine_options options, int type)
{
    dpg_error err = DPG_ERROR_INIT;

    w = world_new();
    server = web_new(w);
    options.proxy_set = true;
    REQUIRE(dpg_engine_new(&options, &engine, &err) == DPG_OK);
    wake = NULL;
    if (type >= 0) REQUIRE(dpg_wake_new((dpg_wake_type)type, &wake, &err) == DPG_OK);
    REQUIRE(dpg_engine_thread(engine, wake, &err) == DPG_OK);
}

static void begin(void)
{
    begin_with((dpg_engine_options)DPG_ENGINE_OPTIONS_INIT, -1);
}

static void end(void)
{
    dpg_engine_free(engine, 5000);
    engine = NULL;
    dpg_wake_free(wake);
    web_free(server);
    CHECK_INT(w->spent_presented, 0);
    world_free(w);
}

static dpg_spec spec_of(const char *method, const char *path, char url[200])
{
    dpg_spec spec = DPG_SPEC_INIT;

    snprintf(url, 200, "%s%s", web_base(server), path);
    spec.method = dpg_cstr(method);
    spec.url = dpg_cstr(url);
    return spec;
}

static dpg_id start_get(const char *path)
{
    char url[200];
    dpg_spec spec = spec_of("GET", path, url);
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;

    if (dpg_engine_start(engine, &spec, &id, &err) != DPG_OK) CHECK_FAIL("%s: %s", err.code, err.message);
    return id;
}

static dpg_note next_note(int64_t ms)
{
    dpg_note note;

    for (int i = 0; i < 1000; i++) {
        dpg_engine_next(engine, &note);
        if (note.type != DPG_NOTE_NONE || dpg_engine_wait(engine, ms, NULL) != DPG_OK) break;
    }
    return note;
}

/* Waits until it has ended; its notes are taken out. */
static dpg_completion take(dpg_id id)
{
    dpg_completion done;
    dpg_note note;

    memset(&done, 0, sizeof done);
    while (dpg_engine_take(engine, id, &done, NULL) != DPG_OK) {
        note = next_note(30000);
        if (note.type != DPG_NOTE_NONE) continue;
        CHECK_FAIL("call %d has not ended", (int)id);
        break;
    }
    return done;
}

static int status_of(dpg_id id)
{
    dpg_completion done = take(id);
    int status = done.status;

    dpg_completion_clear(&done);
    return status;
}

static int entries(const char *path)
{
    DIR *folder = opendir(path);
    int n = 0;

    while (folder && readdir(folder)) n++;
    if (folder) closedir(folder);
    return n;
}

/* --- calls ---------------------------------------------------------------------------------------------------------------- */

TEST("answers thousands of calls that are started while it turns")
{
    int n = times("THREAD_CALLS", 3000), ended = 0, started = 0;

    begin();
    CHECK(dpg_engine_is_threaded(engine));
    while (ended < n) {
        dpg_note note;

        for (; started < n && started - ended < 64; started++) start_get("/me");
        REQUIRE(dpg_engine_wait(engine, 30000, NULL) == DPG_OK);
        for (dpg_engine_next(engine, &note); note.type == DPG_NOTE_DONE; dpg_engine_next(engine, &note), ended++) {
            dpg_completion done;

            REQUIRE(dpg_engine_take(engine, note.id, &done, NULL) == DPG_OK);
            if (done.status != 200) CHECK_FAIL("%s: %s", done.error.code, done.error.message);
            dpg_completion_clear(&done);
        }
        if (check_faults) break;
    }
    CHECK_INT(dpg_engine_counts(engine).calls, 0);
    CHECK_INT(dpg_engine_counts(engine).untaken, 0);
    CHECK_INT(dpg_engine_counts(engine).notes, 0);
    end();
}

TEST("cancels, abandons and takes whatever is under way, ended or gone, and loses nothing")
{
    int n = times("THREAD_CALLS", 3000);
    uint64_t x = 88172645463325252u;
    dpg_note note;

    begin();
    for (int i = 0; i < n; i++) {
        dpg_id id = start_get(i % 7 ? "/me" : "/hold");
        dpg_completion done;

        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (x % 5 == 0) dpg_engine_wait(engine, (int64_t)(x >> 8) % 2, NULL);
        dpg_engine_next(engine, &note);
        if (note.type == DPG_NOTE_DONE) dpg_engine_abandon(engine, note.id);
        if (x % 3 == 0 || i % 7 == 0) dpg_engine_cancel(engine, id);
        if (x % 4 == 0) dpg_engine_cancel(engine, id - 3);
        if (x % 2) {
            dpg_engine_abandon(engine, id);
        } else if (dpg_engine_take(engine, id, &done, NULL) == DPG_OK) {
            dpg_completion_clear(&done);
        }
    }
    while (dpg_engine_counts(engine).calls) {
        dpg_engine_wait(engine, 1000, NULL);
        dpg_engine_next(engine, &note);
        if (note.type == DPG_NOTE_DONE) dpg_engine_abandon(engine, note.id);
    }
    for (dpg_engine_next(engine, &note); note.type; dpg_engine_next(engine, &note)) dpg_engine_abandon(engine, note.id);
    CHECK_INT(dpg_engine_counts(engine).untaken, 0);
    CHECK_INT(dpg_engine_counts(engine).notes, 0);
    end();
}

CHECK_MAIN()
