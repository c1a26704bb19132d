/*
 * What tests of an engine with a thread begin and end with: libcurl, real sockets, the system's clock, and the small world's
 * strict server behind them (web.h).
 */
#ifndef DPG_THREAD_KIT_H
#define DPG_THREAD_KIT_H

#include "check.h"
#include "engine.h"
#include "os.h"
#include "web.h"

#include <dirent.h>
#include <time.h>

#if defined(__clang__) || defined(__GNUC__)
#define KIT static inline
#else
#define KIT static
#endif

static world *w;
static web *server;
static dpg_engine *engine;

/* How often something is done: more of it on demand, by the environment. */
KIT int times(const char *variable, int standard)
{
    const char *text = getenv(variable);

    return text && atoi(text) > 0 ? atoi(text) : standard;
}

KIT dpg_engine *new_engine(dpg_wake *wake)
{
    dpg_engine_options options = {.proxy_set = true, .events = true};
    dpg_error err = DPG_ERROR_INIT;
    dpg_engine *e = NULL;

    REQUIRE(dpg_engine_new(&options, &e, &err) == DPG_OK);
    REQUIRE(dpg_engine_thread(e, wake, &err) == DPG_OK);
    return e;
}

KIT void begin(void)
{
    w = world_new();
    server = web_new(w);
    engine = new_engine(NULL);
}

KIT void end(void)
{
    dpg_engine_free(engine, 5000);
    engine = NULL;
    web_free(server);
    CHECK_INT(w->spent_presented, 0);
    world_free(w);
}

KIT dpg_spec spec_of(const char *method, const char *path, char url[200])
{
    dpg_spec spec = DPG_SPEC_INIT;

    snprintf(url, 200, "%s%s", web_base(server), path);
    spec.method = dpg_cstr(method);
    spec.url = dpg_cstr(url);
    return spec;
}

KIT dpg_id start(const dpg_spec *spec)
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;

    if (dpg_engine_start(engine, spec, &id, &err) != DPG_OK) CHECK_FAIL("%s: %s", err.code, err.message);
    return id;
}

KIT dpg_id get(const char *path)
{
    char url[200];
    dpg_spec spec = spec_of("GET", path, url);

    return start(&spec);
}

KIT dpg_id get_as(dpg_credential *person, const char *path)
{
    char url[200];
    dpg_spec spec = spec_of("GET", path, url);

    spec.credential = person;
    spec.account = DPG_LIT("a");
    return start(&spec);
}

/* The next note that is no event, waited for; NONE: none has come in 30 s, or the engine is closed. */
KIT dpg_note next_note(void)
{
    dpg_note note;

    for (;;) {
        dpg_engine_next(engine, &note);
        if (note.type == DPG_NOTE_EVENT) continue;
        if (note.type != DPG_NOTE_NONE || dpg_engine_wait(engine, 30000, NULL) != DPG_OK) return note;
        dpg_engine_next(engine, &note);
        if (note.type != DPG_NOTE_EVENT) return note;
    }
}

/* Waits until it has ended; notes are forgotten. */
KIT dpg_completion take(dpg_id id)
{
    dpg_completion done;

    memset(&done, 0, sizeof done);
    while (dpg_engine_take(engine, id, &done, NULL) != DPG_OK) {
        if (next_note().type != DPG_NOTE_NONE) continue;
        CHECK_FAIL("call %d has not ended", (int)id);
        snprintf(done.error.code, sizeof done.error.code, "has_not_ended");
        break;
    }
    return done;
}

KIT int status_of(dpg_id id)
{
    dpg_completion done = take(id);
    int status = done.status;

    if (!status) printf("# %s: %s\n", done.error.code, done.error.message);
    dpg_completion_clear(&done);
    return status;
}

KIT void expect_error(dpg_id id, const char *code)
{
    dpg_completion done = take(id);

    CHECK_STR(done.error.code, code);
    dpg_completion_clear(&done);
}

KIT dpg_credential *new_person(dpg_engine *e, dpg_store *store)
{
    dpg_credential *person = NULL;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_credential_person(e, dpg_cstr(web_base(server)), store, NULL, &person, &err) != DPG_OK)
        CHECK_FAIL("%s: %s", err.code, err.message);
    return person;
}

KIT int sign_in(dpg_credential *person)
{
    char url[200];
    dpg_spec spec = spec_of("POST", "/auth/sign_in", url);
    dpg_id id = 0;

    spec.body = DPG_LIT("{\"password\":\"" WORLD_PASSWORD "\"}");
    spec.has_body = true;
    CHECK(dpg_credential_sign_in(person, &spec, &id, NULL) == DPG_OK);
    return status_of(id);
}

KIT int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* For loops that look for something which the engine does without a note. */
KIT void a_moment(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/* How many there are in /proc/self/fd or /proc/self/task; 0 where there is no /proc. */
KIT int entries(const char *path)
{
    DIR *folder = opendir(path);
    int n = 0;

    while (folder && readdir(folder)) n++;
    if (folder) closedir(folder);
    return n;
}

#endif
