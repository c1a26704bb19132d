/*
 * The engine, whole, in a world of its own (support/world.h): what leaves and what is sent again, who hears of what, and
 * that nothing is left behind.
 */
#include "check.h"
#include "world_kit.h"

#ifndef _WIN32
#include <sys/wait.h>
#endif

#define SAID_NOTHING ((int64_t)-1)

/* --- retries, gate, deadline -------------------------------------------------------------------------------------------------------- */

TEST("waits as long as Retry-After says, and no less, and answers with it when that would pass the deadline")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_completion done;
    int64_t begun = w->now_ms;

    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 503, .headers = "retry-after: 40\n"});
    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 60000), 200);
    CHECK(w->now_ms - begun >= 40000);
    begun = w->now_ms;
    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 503, .headers = "retry-after: 400\n"});
    done = take(c, world_get(c, NULL, "/me"), 1000);
    CHECK_INT(done.status, 503);
    CHECK_INT(done.retry_after_ms, 400000);
    dpg_completion_clear(&done);
    finish(w);
}

TEST("holds everybody behind a gate that a 429 closed, then lets them leave one after the other")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    int64_t last = 0, opens;
    dpg_id ids[20];

    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 5\n"});
    ids[0] = world_get(c, NULL, "/me");
    world_turn(c, 100);
    opens = 1000000 + 10 + 5000;
    for (int i = 1; i < 20; i++) ids[i] = world_get(c, NULL, "/me");
    for (int i = 0; i < 20; i++) CHECK_INT(status_of(c, ids[i], 10000), 200);
    CHECK_INT(world_count(w, "/me"), 21);
    for (int i = 1; i < w->request_count; i++) {
        CHECK(w->requests[i].at_ms >= opens);
        CHECK(i == 1 || w->requests[i].at_ms > last);
        last = w->requests[i].at_ms;
    }
    CHECK(last <= opens + 200);
    finish(w);
}

TEST("lets those leave one after the other that were turned away together")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    int64_t last = 0;
    dpg_id ids[10];

    for (int i = 0; i < 10; i++) {
        world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 5\n"});
        ids[i] = world_get(c, NULL, "/me");
    }
    for (int i = 0; i < 10; i++) CHECK_INT(status_of(c, ids[i], 10000), 200);
    CHECK_INT(w->request_count, 20);
    for (int i = 10; i < 20; i++) {
        CHECK(w->requests[i].at_ms >= 1000000 + 10 + 5000);
        CHECK(w->requests[i].at_ms > last);
        last = w->requests[i].at_ms;
    }
    finish(w);
}

TEST("keeps one customer's 429 from another's calls")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_spec spec = world_spec(c, NULL, "GET", WORLD_BASE "/me");
    dpg_id first;

    spec.gate = DPG_LIT("jane");
    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 5\n"});
    first = world_start(c, &spec);
    world_turn(c, 50);
    spec.gate = DPG_LIT("joe");
    CHECK_INT(status_of(c, world_start(c, &spec), 100), 200);
    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 100), 200);
    CHECK_INT(status_of(c, first, 6000), 200);
    finish(w);
}

TEST("does not begin to wait at a gate that opens after the deadline")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_spec spec = world_spec(c, NULL, "GET", WORLD_BASE "/me");
    dpg_completion done;

    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 60\n"});
    dpg_engine_abandon(c->engine, world_start(c, &spec));
    world_turn(c, 50);
    spec.deadline_ms = 5000;
    done = take(c, world_start(c, &spec), 100);
    CHECK_STR(done.error.code, "rate_limited");
    CHECK_INT(done.error.http_status, 429);
    CHECK(done.error.retry_after_ms > 59000 && done.error.retry_after_ms <= 60000);
    CHECK_INT(done.sent, 0);
    dpg_completion_clear(&done);
    world_turn(c, 70000);
    finish(w);
}

TEST("names what it was doing when a deadline passes, in every state")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_engine_options one = {.max_connections = 1};
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me");
    dpg_completion done;
    dpg_id id;

    spec.deadline_ms = 1000;
    world_will(w, "/auth/token", (world_reply){.after_ms = 5000});
    done = take(c, world_start(c, &spec), 2000);
    CHECK_STR(done.error.code, "deadline");
    CHECK(strstr(done.error.message, "refreshed") != NULL);
    dpg_completion_clear(&done);
    world_turn(c, 5000);
    world_will(w, "/me", (world_reply){.how = WORLD_SILENCE});
    done = take(c, world_start(c, &spec), 2000);
    CHECK_INT(done.error.kind, DPG_KIND_TIMEOUT);
    CHECK(strstr(done.error.message, "on its way") != NULL);
    CHECK_INT(done.sent, 1);
    dpg_completion_clear(&done);
    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 3\n"});
    dpg_engine_abandon(c->engine, world_get(c, "a", "/me"));
    spec.deadline_ms =
        3005; /* it is begun when 3 s are left to wait, and its place behind the gate is a little later */
    world_turn(c, 100);
    done = take(c, world_start(c, &spec), 4000);
    CHECK(done.status == 200 || strstr(done.error.message, "rate limit") != NULL);
    dpg_completion_clear(&done);
    world_turn(c, 5000);
    finish(w);

    w = begin();
    c = world_client_new(w, 1, &one, NULL);
    spec.deadline_ms = 1000;
    dpg_engine_abandon(c->engine, world_get(c, NULL, "/slow"));
    world_will(w, "/slow", (world_reply){.after_ms = 5000});
    world_turn(c, 10);
    spec.credential = NULL;
    done = take(c, world_start(c, &spec), 2000);
    CHECK(strstr(done.error.message, "waited for a connection") != NULL);
    CHECK_INT(done.sent, 0);
    dpg_completion_clear(&done);
    world_turn(c, 5000);

    w->holder = &w->clients[2];
    REQUIRE(dpg_credential_load(c->person, 0, &id, NULL) == DPG_OK);
    done = take(c, id, 130000);
    CHECK_INT(done.error.kind, DPG_KIND_STORAGE);
    CHECK_STR(done.error.code, "store_busy");
    dpg_completion_clear(&done);
    {
        dpg_spec in = world_sign_in_spec();

        in.deadline_ms = 1000;
        REQUIRE(dpg_credential_sign_in(c->person, &in, &id, NULL) == DPG_OK);
        done = take(c, id, 1100);
        CHECK_STR(done.error.code, "store_busy");
        CHECK(strstr(done.error.detail, "process 4711") != NULL);
        CHECK(!strstr(done.error.message, "before it was begun"));
        dpg_completion_clear(&done);
    }
    w->holder = NULL;
    CHECK_INT(world_count(w, "/auth/sign_in"), 0);
    world_turn(c, 100); /* the walk finds that nobody waits for the lock any more */
    finish(w);
}

TEST("sends nothing whose deadline has passed while nobody turned the engine")
{
    world *w = begin();
    dpg_engine_options one = {.max_connections = 1};
    world_client *c = world_client_new(w, 1, &one, NULL);
    dpg_spec spec = world_spec(c, NULL, "POST", WORLD_BASE "/write"), in = world_sign_in_spec();
    dpg_completion done;
    dpg_id id, queued, person, signing;

    spec.deadline_ms = in.deadline_ms = 1000;
    id = world_start(c, &spec);
    w->now_ms += 1000;
    done = take(c, id, 0);
    CHECK_STR(done.error.code, "deadline");
    CHECK_INT(done.sent, 0);
    dpg_completion_clear(&done);
    world_will(w, "/first", (world_reply){.after_ms = 100});
    dpg_engine_abandon(c->engine, world_get(c, NULL, "/first"));
    queued = world_start(c, &spec);
    world_turn(c, 10);
    REQUIRE(dpg_credential_sign_in(c->person, &in, &signing, NULL) == DPG_OK);
    spec = world_spec(c, "a", "GET", WORLD_BASE "/write");
    spec.deadline_ms = 1000;
    person = world_start(c, &spec);
    w->now_ms += 5000;
    expect_error(c, queued, 0, DPG_KIND_TIMEOUT, "deadline");
    expect_error(c, signing, 0, DPG_KIND_TIMEOUT, "deadline");
    expect_error(c, person, 5000, DPG_KIND_TIMEOUT, "deadline");
    CHECK_INT(world_count(w, "/write"), 0);
    CHECK_INT(world_count(w, "/auth/sign_in"), 0);
    world_turn(c, 100); /* the exchange that was begun all the same */
    finish(w);
}

TEST("times an attempt out, and sends it again")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_spec spec = world_spec(c, NULL, "GET", WORLD_BASE "/me");
    dpg_completion done;

    spec.timeout_ms = 1000;
    world_will(w, "/me", (world_reply){.how = WORLD_SILENCE});
    world_will(w, "/me", (world_reply){.how = WORLD_STUCK});
    done = take(c, world_start(c, &spec), 10000);
    CHECK_INT(done.status, 200);
    CHECK_INT(done.attempts, 3);
    CHECK_INT(done.sent, 2);
    dpg_completion_clear(&done);
    CHECK_INT(w->requests[1].at_ms - w->requests[0].at_ms >= 1000, 1);
    finish(w);
}

TEST("uses an answer that lay there while the machine was busy for longer than any timeout")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;

    signed_in(c);
    id = world_get(c, "a", "/me");
    dpg_engine_wait(c->engine, 0, NULL);
    CHECK_INT(world_count(w, "/me"), 1);
    w->now_ms += 100000;
    CHECK_INT(status_of(c, id, 1000), 200);
    CHECK_INT(world_count(w, "/me"), 1);
    w->now_ms += 1000000;
    dpg_engine_abandon(c->engine, world_get(c, "a", "/me"));
    for (int i = 0; i < 5 && world_count(w, "/auth/token") < 2; i++) {
        dpg_engine_wait(c->engine, 0, NULL);
    }
    w->now_ms += 100000; /* of the exchange too */
    world_turn(c, 1000);
    CHECK_INT(w->exchanges, 2);
    CHECK_INT(world_count(w, "/auth/token"), 2);
    finish(w);
}

TEST("keeps to max_connections, and does not count exchanges")
{
    world *w = begin();
    dpg_engine_options two = {.max_connections = 2};
    world_client *c = world_client_new(w, 1, &two, NULL);
    dpg_id ids[10], person;

    for (int i = 0; i < 10; i++) ids[i] = world_get(c, NULL, "/x");
    for (int i = 0; i < 2; i++) world_will(w, "/x", (world_reply){.after_ms = 20000});
    world_turn(c, 100);
    CHECK_INT(dpg_engine_counts(c->engine).transfers, 2);
    person = world_get(c, "a", "/me");
    world_turn(c, 100);
    CHECK_INT(w->exchanges, 1);
    CHECK_INT(world_count(w, "/me"), 0);
    for (int i = 0; i < 10; i++) CHECK_INT(status_of(c, ids[i], 40000), 200);
    CHECK_INT(status_of(c, person, 1000), 200);
    CHECK_INT(w->open_most, 2);
    finish(w);
}

TEST("renews a bearer that ran out in the queue")
{
    world *w = begin();
    dpg_engine_options one = {.max_connections = 1};
    world_client *c = world_client_new(w, 1, &one, NULL);
    dpg_id id;

    w->life_s = 10;
    signed_in(c);
    world_will(w, "/slow", (world_reply){.after_ms = 20000});
    dpg_engine_abandon(c->engine, world_get(c, NULL, "/slow"));
    world_turn(c, 10);
    id = world_get(c, "a", "/me");
    CHECK_INT(status_of(c, id, 30000), 200);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-2");
    CHECK_INT(world_count(w, "/me"), 1);
    finish(w);
}

TEST("asks the gate again after the queue")
{
    world *w = begin();
    dpg_engine_options one = {.max_connections = 1};
    world_client *c = world_client_new(w, 1, &one, NULL);
    dpg_id a, b;

    world_will(w, "/a",
               (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 5\n", .after_ms = 500});
    a = world_get(c, NULL, "/a");
    b = world_get(c, NULL, "/b");
    CHECK_INT(status_of(c, b, 10000), 200);
    CHECK(world_last(w, "/b")->at_ms >= 1000000 + 5500);
    CHECK_INT(status_of(c, a, 10000), 200);
    finish(w);
}

TEST("spends its retries from a budget for each origin, and a 429 that says how long costs none")
{
    dpg_engine_options two = {.retry_budget = 2};
    world *w = world_new();
    world_client *c = world_client_new(w, 0, &two, NULL);

    for (int i = 0; i < 8; i++) world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 500});
    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 60000), 500);
    CHECK_INT(world_count(w, "/me"), 3);
    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 60000), 500);
    CHECK_INT(world_count(w, "/me"), 4);
    w->script_count = 0;
    for (int i = 0; i < 4; i++)
        world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 1\n"});
    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 60000), 200);
    CHECK_INT(dpg_engine_counts(c->engine).retries, 6);
    finish(w);
}

TEST("does not go back between mark and save, for five seconds at most")
{
    static const int64_t ends[] = {3000, 9000};

    for (int i = 0; i < 2; i++) {
        world *w = begin();
        world_client *c = &w->clients[0];
        int64_t begun;
        dpg_id id;

        world_client_free(c, 0);
        w->real_time = true;
        world_client_new(w, 0, NULL, NULL);
        world_will(w, "/auth/token", (world_reply){.after_ms = ends[i]});
        id = world_get(c, "a", "/me");
        dpg_engine_wait(c->engine, 0, NULL);
        begun = w->now_ms;
        dpg_engine_wait(c->engine, 10, NULL);
        CHECK_INT(w->now_ms - begun,
                  i == 0 ? 0 : 10); /* the first wait has done it all; or held for as long as it may */
        CHECK_INT(begun - 1000000, i == 0 ? 3000 : 5000);
        CHECK_INT(w->saves, i == 0);
        CHECK_INT(status_of(c, id, 20000), 200);
        finish(w);
    }
}

TEST("tells events where somebody listens, and does not wake anybody to say that a request has left")
{
    dpg_engine_options quiet = DPG_ENGINE_OPTIONS_INIT;
    world *w = world_new();
    world_client *c = world_client_new(w, 0, &quiet, NULL);
    dpg_note note;
    int64_t begun;
    dpg_id id;

    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 60000), 200);
    CHECK_STR(w->events, "");
    dpg_engine_listen(c->engine, true);
    w->real_time = true;
    world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 200, .after_ms = 500});
    id = world_get(c, NULL, "/me");
    begun = w->now_ms;
    dpg_engine_wait(c->engine, 100, NULL);
    CHECK_INT(w->now_ms - begun, 100);
    CHECK_INT(dpg_engine_counts(c->engine).notes, 1);
    dpg_engine_next(c->engine, &note);
    CHECK_INT(note.type, DPG_NOTE_EVENT);
    CHECK_INT(note.event, DPG_EVENT_START);
    CHECK_INT(note.id, id);
    CHECK_STR(note.path, "/v1/me");
    dpg_engine_wait(c->engine, 10000, NULL);
    CHECK_INT(w->now_ms - begun, 500); /* it ends for the answer */
    CHECK_INT(status_of(c, id, 60000), 200);
    dpg_engine_listen(c->engine, false);
    w->events[0] = '\0';
    CHECK_INT(status_of(c, world_get(c, NULL, "/me"), 60000), 200);
    CHECK_STR(w->events, "");
    finish(w);
}

TEST("does not wait when something has ended at once")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;

    w->found = false;
    id = world_get(c, "a", "/me");
    dpg_engine_wait(c->engine, 1000, NULL);
    CHECK_INT(w->now_ms, 1000000);
    expect_error(c, id, 0, DPG_KIND_AUTH, "sign_in_required");
    finish(w);
}

#ifndef _WIN32
TEST("refuses all new work once it is closed, and in a process that did not make it")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me"), in = world_sign_in_spec();
    dpg_credential *none = NULL;
    dpg_error err;
    dpg_id id = world_start(c, &spec);
    int status = 0;
    pid_t child;

    CHECK(dpg_engine_is_mine(c->engine));
    fflush(stdout);
    child = fork();
    if (child == 0) {
        bool fine =
            !dpg_engine_is_mine(c->engine) && dpg_engine_start(c->engine, &spec, &id, &err) == DPG_E_CLOSED &&
            err.kind == DPG_KIND_USAGE && dpg_credential_sign_in(c->person, &in, &id, &err) == DPG_E_CLOSED &&
            dpg_credential_load(c->person, 0, &id, &err) == DPG_E_CLOSED &&
            dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE), DPG_LIT("st"), &none, &err) == DPG_E_CLOSED &&
            dpg_engine_wait(c->engine, 0, &err) == DPG_E_CLOSED;

        dpg_engine_cancel(c->engine, id);
        dpg_engine_free(c->engine, 5000);
        _exit(fine && w->request_count == 0 ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_INT(status_of(c, id, 1000), 200);
    finish(w);
}
#endif

static dpg_status closing_says[4];
static size_t closing_calls;

static void start_more(world_client *c)
{
    dpg_spec timer = DPG_SPEC_INIT, in = world_sign_in_spec();
    dpg_credential *none = NULL;
    dpg_id id;

    closing_says[0] = dpg_engine_start(c->engine, &timer, &id, NULL);
    closing_says[1] = dpg_engine_wait(c->engine, 10, NULL);
    closing_says[2] = dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE), DPG_LIT("st"), &none, NULL);
    closing_says[3] = dpg_credential_sign_in(c->person, &in, &id, NULL);
    closing_calls = dpg_engine_counts(c->engine).calls;
}

TEST("refuses new work while it finishes what has left")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    memset(closing_says, 0, sizeof closing_says);
    world_will(w, "/auth/token", (world_reply){.after_ms = 1000});
    world_get(c, "a", "/me");
    world_turn(c, 100);
    world_get(c, "a", "/me"); /* this one is never begun */
    w->on_save = start_more;
    closing_calls = 99;
    dpg_engine_free(c->engine, 5000);
    c->engine = NULL;
    c->person = NULL;
    CHECK_INT(w->saves, 1);
    for (int i = 0; i < 4; i++) CHECK_INT(closing_says[i], DPG_E_CLOSED);
    CHECK_INT(closing_calls, 0);
    finish(w);
}

TEST("sends a call that may be repeated again on what passes, and a call that may not only when it never left")
{
    static const struct {
        world_reply reply;
        int always, unsent; /* sends */
    } cases[] = {
        {{.how = WORLD_UNSENT}, 2, 2},
        {{.how = WORLD_STUCK}, 2, 2},
        {{.how = WORLD_CUT_BEFORE}, 2, 1},
        {{.how = WORLD_CUT_AFTER}, 2, 1},
        {{.how = WORLD_SILENCE}, 2, 1},
        {{.how = WORLD_ANSWER, .status = 429}, 2, 2},
        {{.how = WORLD_ANSWER, .status = 500}, 2, 1},
        {{.how = WORLD_ANSWER, .status = 501}, 1, 1},
        {{.how = WORLD_ANSWER, .status = 502}, 2, 1},
        {{.how = WORLD_ANSWER, .status = 503, .headers = "retry-after: 1\n"}, 2, 1},
        {{.how = WORLD_ANSWER, .status = 504}, 2, 1},
        {{.how = WORLD_ANSWER, .status = 404}, 1, 1},
        {{.how = WORLD_ANSWER, .status = 409}, 1, 1},
        {{.how = WORLD_ANSWER, .status = 304}, 1, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int unsent = 0; unsent < 2; unsent++) {
            world *w = world_new();
            world_client *c = world_client_new(w, 0, NULL, NULL);
            const dpg_header key = {DPG_LIT("Idempotency-Key"), DPG_LIT("k-1")};
            dpg_spec spec = world_spec(c, NULL, "POST", WORLD_BASE "/write");
            dpg_completion done;

            spec.repeat = unsent ? DPG_REPEAT_UNSENT : DPG_REPEAT_ALWAYS;
            spec.headers = &key;
            spec.header_count = 1;
            spec.body = DPG_LIT("{\"title\":\"x\"}");
            spec.has_body = true;
            world_will(w, "/write", cases[i].reply);
            done = take(c, world_start(c, &spec), 100000);
            CHECK_INT(world_count(w, "/write"), unsent ? cases[i].unsent : cases[i].always);
            CHECK_INT(done.attempts, world_count(w, "/write"));
            for (int k = 0; k < w->request_count; k++) {
                CHECK_STR(w->requests[k].key, "k-1");
                CHECK_STR(w->requests[k].body, "{\"title\":\"x\"}");
                CHECK_INT(w->requests[k].once, unsent);
            }
            dpg_completion_clear(&done);
            finish(w);
        }
    }
}

/* --- cancelling and closing ----------------------------------------------------------------------------------------------------------- */

TEST("ends a call once, and once only, wherever it is cancelled")
{
    /* turn n times, then cancel: n walks it through inbox, lock, exchange, queue, the wire, back-off, gate, the end */
    for (int kind = 0; kind < 6; kind++) {
        for (int turns = 0; turns < 12; turns++) {
            dpg_engine_options one = {.max_connections = 1};
            world *w = begin();
            world_client *c = world_client_new(w, 1, &one, NULL);
            dpg_completion done;
            dpg_error err = DPG_ERROR_INIT;
            dpg_spec spec = DPG_SPEC_INIT;
            dpg_id id = 0;
            int ends = 0;

            world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 1\n"});
            world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 503});
            world_will(w, "/auth/", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 1\n"});
            if (turns % 2) w->busy = 2;
            if (kind == 0) id = world_get(c, "a", "/me");
            if (kind == 1) id = sign_in(c);
            if (kind == 2) CHECK(dpg_credential_load(c->person, 0, &id, NULL) == DPG_OK);
            if (kind == 3) CHECK(dpg_credential_forget(c->person, 0, &id, NULL) == DPG_OK);
            if (kind == 4) {
                spec.timer_ms = 30;
                id = world_start(c, &spec);
            }
            if (kind == 5) {
                dpg_engine_abandon(c->engine, world_get(c, NULL, "/queue"));
                id = world_get(c, "a", "/me");
            }
            for (int i = 0; i < turns; i++) {
                dpg_engine_wait(c->engine, i % 3 ? 7 : 0, NULL);
                world_drain(c);
            }
            dpg_engine_cancel(c->engine, id);
            dpg_engine_cancel(c->engine, id);
            CHECK(world_ends(c, id, 100000, &done));
            ends++;
            dpg_completion_clear(&done);
            world_turn(c, 10000);
            if (dpg_engine_take(c->engine, id, &done, &err) == DPG_OK) ends++;
            CHECK_INT(ends, 1);
            CHECK_STR(err.code, "unknown_call");
            finish(w);
        }
    }
}

TEST("finishes the rotation that a cancelled call waited for")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.after_ms = 1000});
    id = world_get(c, "a", "/me");
    world_turn(c, 100);
    dpg_engine_cancel(c->engine, id);
    expect_error(c, id, 0, DPG_KIND_CANCELLED, "cancelled");
    world_turn(c, 2000);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1002");
    dpg_record_clear(&r);
    CHECK_INT(world_count(w, "/me"), 0);
    finish(w);
}

TEST("finishes an exchange that has left when it is closed, and saves the successor")
{
    static const world_reply ways[] = {{.after_ms = 2000}, {.how = WORLD_CUT_BEFORE, .after_ms = 500}};

    for (int i = 0; i < 2; i++) {
        world *w = begin();
        world_client *c = &w->clients[0];
        dpg_record r;

        world_will(w, "/auth/token", ways[i]);
        for (int k = 0; k < 40; k++) world_get(c, k % 2 ? "a" : "b", "/me");
        world_turn(c, 100);
        world_get(c, "a", "/me"); /* one that was never begun */
        world_client_free(c, 5000);
        r = stored(w);
        CHECK_STR(r.refresh_token, "rt-1002");
        CHECK(!r.in_flight);
        dpg_record_clear(&r);
        CHECK_INT(world_count(w, "/me"), 0);
        finish(w);
    }
}

TEST("waits for nothing else when it is closed, and not longer than its grace")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    int64_t begun;
    dpg_record r;

    world_will(w, "/slow", (world_reply){.after_ms = 60000});
    world_get(c, NULL, "/slow");
    world_turn(c, 10);
    begun = w->now_ms;
    world_client_free(c, 5000);
    CHECK_INT(w->now_ms, begun);
    world_client_new(w, 0, NULL, NULL);
    world_will(w, "/auth/token", (world_reply){.how = WORLD_SILENCE});
    world_get(c, "a", "/me");
    world_turn(c, 100);
    begun = w->now_ms;
    world_client_free(c, 3000);
    CHECK_INT(w->now_ms, begun + 3000);
    r = stored(w);
    CHECK(r.in_flight);
    dpg_record_clear(&r);
    w->spent_presented = 0;
    finish(w);
}

TEST("saves what a sign-in brought when it is closed while it waits for the lock")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_record r;

    world_will(w, "/auth/sign_in", (world_reply){.after_ms = 100});
    sign_in(c);
    world_turn(c, 50);
    w->busy = 10;
    world_turn(c, 80);
    world_client_free(c, 5000);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1001");
    dpg_record_clear(&r);
    finish(w);
}

TEST("is closed in any state without a trace of its calls")
{
    for (int turns = 0; turns < 24; turns++) {
        world *w = begin();
        world_client *c = &w->clients[0];
        dpg_spec timer = DPG_SPEC_INIT;
        dpg_id id;

        timer.timer_ms = 50;
        w->async = turns % 3 == 2;
        for (int i = 0; i < 30; i++) {
            world_get(c, "a", "/me");
            world_get(c, NULL, "/x");
            world_start(c, &timer);
        }
        sign_in(c);
        CHECK(dpg_credential_load(c->person, 0, &id, NULL) == DPG_OK);
        CHECK(dpg_credential_forget(c->person, 0, &id, NULL) == DPG_OK);
        for (int i = 0; i < turns; i++) {
            dpg_engine_wait(c->engine, i % 4, NULL);
            if (c->asked) world_store_answer(c);
        }
        world_get(c, "a", "/me");
        if (turns % 2) {
            dpg_engine_free(c->engine, 100);
        } else {
            dpg_engine_forget(c->engine);
        }
        c->engine = NULL;
        c->person = NULL;
        world_client_free(c, 0);
        world_free(w);
    }
}

TEST("abandons: a call that nobody will take frees itself, before and after its end")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id = world_get(c, "a", "/me"), other = world_get(c, "a", "/me");
    dpg_completion done;

    dpg_engine_abandon(c->engine, id);
    world_turn(c, 1000);
    dpg_engine_abandon(c->engine, other);
    CHECK_INT(dpg_engine_take(c->engine, id, &done, NULL), DPG_E_UNKNOWN);
    CHECK_INT(dpg_engine_take(c->engine, other, &done, NULL), DPG_E_UNKNOWN);
    CHECK_INT(world_count(w, "/me"), 2);
    dpg_engine_abandon(c->engine, 12345);
    dpg_engine_cancel(c->engine, 12345);
    finish(w);
}

TEST("abandons a call that is then cancelled, or runs out of time")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_spec spec = world_spec(c, NULL, "GET", WORLD_BASE "/me");
    dpg_id id;

    world_will(w, "/me", (world_reply){.how = WORLD_SILENCE});
    world_will(w, "/me", (world_reply){.how = WORLD_SILENCE});
    world_will(w, "/me", (world_reply){.how = WORLD_SILENCE});
    id = world_start(c, &spec);
    world_turn(c, 10);
    dpg_engine_abandon(c->engine, id);
    dpg_engine_cancel(c->engine, id);
    spec.deadline_ms = 1000;
    dpg_engine_abandon(c->engine, world_start(c, &spec));
    spec.timeout_ms = 500;
    spec.attempts = 1;
    dpg_engine_abandon(c->engine, world_start(c, &spec));
    world_turn(c, 2000);
    CHECK_INT(world_count(w, "/me"), 3);
    finish(w);
}

TEST("takes a call once")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id = world_get(c, "a", "/me");
    dpg_completion done, again;

    done = take(c, id, 5000);
    CHECK_INT(done.status, 200);
    CHECK_INT(done.header_count, 1);
    CHECK_STR(done.body.ptr, "[]");
    CHECK_INT(done.retry_after_ms, SAID_NOTHING);
    CHECK_INT(dpg_engine_take(c->engine, id, &again, NULL), DPG_E_UNKNOWN);
    dpg_completion_clear(&done);
    dpg_completion_clear(&done);
    CHECK(id < (UINT64_C(1) << 53));
    finish(w);
}

TEST("tells each end once, and a call that was taken before it was told is not told")
{
    world *w = world_new();
    dpg_engine_options quiet = {0};
    world_client *c = world_client_new(w, 0, &quiet, NULL);
    dpg_id a = world_get(c, NULL, "/a"), b = world_get(c, NULL, "/b");
    dpg_completion done;
    dpg_note note;

    for (int i = 0; i < 10; i++) dpg_engine_wait(c->engine, 5, NULL);
    CHECK_INT(dpg_engine_counts(c->engine).notes, 2);
    CHECK_INT(dpg_engine_counts(c->engine).untaken, 2);
    CHECK(dpg_engine_take(c->engine, a, &done, NULL) == DPG_OK);
    dpg_completion_clear(&done);
    dpg_engine_next(c->engine, &note);
    CHECK_INT(note.type, DPG_NOTE_DONE);
    CHECK_INT((int64_t)note.id, (int64_t)b);
    dpg_engine_next(c->engine, &note);
    CHECK_INT(note.type, DPG_NOTE_NONE);
    CHECK(dpg_engine_take(c->engine, b, &done, NULL) == DPG_OK);
    dpg_completion_clear(&done);
    finish(w);
}

TEST("completes a timer with nothing, when it is due and not before")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_completion done;

    spec.timer_ms = 250;
    done = take(c, world_start(c, &spec), 1000);
    CHECK_INT(w->now_ms, 1000250);
    CHECK_INT(done.status, 0);
    CHECK_INT(done.error.kind, DPG_KIND_NONE);
    dpg_completion_clear(&done);
    spec.timer_ms = 0;
    done = take(c, world_start(c, &spec), 0 + 1);
    dpg_completion_clear(&done);
    finish(w);
}

/* --- what is refused ------------------------------------------------------------------------------------------------------------------- */

TEST("refuses at the door what may not leave")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    const dpg_header bad[] = {{DPG_LIT("Authorization"), DPG_LIT("Bearer x")},
                              {DPG_LIT("AUTHORIZATION"), DPG_LIT("x")},
                              {DPG_LIT("X-A"), DPG_LIT("a\r\nb: c")},
                              {DPG_LIT("X-A"), DPG_LIT("a\nb")},
                              {DPG_LIT("X-A"), DPG_LIT("a\0b")},
                              {DPG_LIT("X A"), DPG_LIT("a")},
                              {DPG_LIT("X:A"), DPG_LIT("a")},
                              {DPG_LIT(""), DPG_LIT("a")}};
    static const struct {
        const char *url, *method, *code;
    } urls[] = {
        {"http://api.test/v1/me", "GET", "insecure_url"},
        {"https://api.test:444/v1/me", "GET", "other_origin"},
        {"http://127.0.0.1/v1/me", "GET", "other_origin"},
        {"https://api.test.evil/v1/me", "GET", "other_origin"},
        {"https://user:pw@api.test/v1/me", "GET", "url"},
        {"https://api.test/v1/\r\nme", "GET", "url"},
        {"ftp://api.test/v1", "GET", "url"},
        {"/v1/me", "GET", "url"},
        {WORLD_BASE "/me", "GE T", "method"},
        {WORLD_BASE "/me", "", "method"},
        {WORLD_BASE "/me", "GET\r\n", "method"},
    };
    dpg_error err;
    dpg_spec spec;
    dpg_id id = 77;

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        spec = world_spec(c, "a", urls[i].method, urls[i].url);
        CHECK_INT(dpg_engine_start(c->engine, &spec, &id, &err), DPG_E_INVALID);
        CHECK_STR(err.code, urls[i].code);
        CHECK_INT(err.kind, DPG_KIND_USAGE);
        CHECK(!strstr(err.message, "pw"));
    }
    spec = world_spec(c, "a", "GET", WORLD_BASE "/me");
    spec.header_count = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec.headers = &bad[i];
        CHECK_INT(dpg_engine_start(c->engine, &spec, &id, &err), DPG_E_INVALID);
        CHECK_STR(err.code, "header");
    }
    CHECK_INT((int64_t)id, 77);
    world_turn(c, 1000);
    CHECK_INT(w->request_count, 0);
    finish(w);
}

TEST("refuses an account that no record could hold")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    static const dpg_str bad[] = {{"a\0b", 3}, {"\xff", 1}, {"a b", 3}, {"caf\xc3\xa9", 5}};
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me");
    char longest[400];
    dpg_error err;
    dpg_id id;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec.account = bad[i];
        CHECK_INT(dpg_engine_start(c->engine, &spec, &id, &err), DPG_E_INVALID);
        CHECK_STR(err.code, "account");
    }
    memset(longest, 'a', sizeof longest);
    spec.account = dpg_str_of(longest, sizeof longest);
    CHECK_INT(dpg_engine_start(c->engine, &spec, &id, &err), DPG_E_INVALID);
    finish(w);
}

TEST("refuses a credential of another engine, a service token to sign in with, and plain http for tokens")
{
    world *w = begin();
    world_client *c = &w->clients[0], *d = world_client_new(w, 1, NULL, NULL);
    dpg_spec spec = world_spec(d, "a", "GET", WORLD_BASE "/me"), in = world_sign_in_spec();
    dpg_credential *service, *none = NULL;
    dpg_error err;
    dpg_id id;

    CHECK_INT(dpg_engine_start(c->engine, &spec, &id, &err), DPG_E_INVALID);
    REQUIRE(dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE), DPG_LIT("st-1"), &service, &err) == DPG_OK);
    CHECK_INT(dpg_credential_sign_in(service, &in, &id, &err), DPG_E_INVALID);
    CHECK_INT(dpg_credential_load(service, 0, &id, &err), DPG_E_INVALID);
    CHECK_INT(dpg_credential_forget(service, 0, &id, &err), DPG_E_INVALID);
    dpg_credential_free(service);
    CHECK_INT(dpg_credential_service(c->engine, DPG_LIT("http://api.test/v1"), DPG_LIT("st"), &none, &err),
              DPG_E_INVALID);
    CHECK_STR(err.code, "insecure_url");
    CHECK_INT(dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE), DPG_LIT("s t"), &none, &err), DPG_E_INVALID);
    CHECK_INT(dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE), DPG_LIT("s\r\nt"), &none, &err), DPG_E_INVALID);
    CHECK_INT(dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE "/"), DPG_LIT("st"), &none, &err), DPG_E_INVALID);
    CHECK_INT(dpg_credential_person(c->engine, DPG_LIT("http://api.test/v1"), c->store, NULL, &none, &err),
              DPG_E_INVALID);
    CHECK(!none);
    in.url = DPG_LIT("https://bad.test/v1/auth/sign_in");
    CHECK_INT(dpg_credential_sign_in(c->person, &in, &id, &err), DPG_E_INVALID);
    CHECK_STR(err.code, "other_origin");
    finish(w);
}

TEST("gives one object to all who name the same base URL and store")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_credential *same, *other;

    CHECK(dpg_credential_person(c->engine, DPG_LIT(WORLD_BASE), c->store, NULL, &same, NULL) == DPG_OK);
    CHECK(same == c->person);
    CHECK(dpg_credential_person(c->engine, DPG_LIT("https://api.test/v2"), c->store, NULL, &other, NULL) == DPG_OK);
    CHECK(other != c->person);
    CHECK_INT(dpg_engine_counts(c->engine).credentials, 2);
    dpg_credential_free(same);
    dpg_credential_free(other);
    CHECK_INT(dpg_engine_counts(c->engine).credentials, 1);
    finish(w);
}

TEST("lets a rotation go on when its credential is given back")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.after_ms = 1000});
    id = world_get(c, "a", "/me");
    world_turn(c, 100);
    dpg_engine_cancel(c->engine, id);
    dpg_engine_abandon(c->engine, id);
    dpg_credential_free(c->person);
    c->person = NULL;
    CHECK_INT(dpg_engine_counts(c->engine).credentials, 1);
    world_turn(c, 2000);
    CHECK_INT(dpg_engine_counts(c->engine).credentials, 0);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1002");
    dpg_record_clear(&r);
    finish(w);
}

TEST("takes huge numbers for what they are: a long time")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me");

    spec.deadline_ms = spec.timeout_ms = INT64_MAX;
    CHECK_INT(status_of(c, world_start(c, &spec), 1000), 200);
    spec.deadline_ms = spec.timeout_ms = INT64_MAX - 1;
    spec.base_ms = spec.cap_ms = INT64_MAX;
    spec.attempts = 2;
    CHECK_INT(status_of(c, world_start(c, &spec), 1000), 200);
    spec = (dpg_spec)DPG_SPEC_INIT;
    spec.timer_ms = INT64_MAX;
    dpg_engine_cancel(c->engine, world_start(c, &spec));
    dpg_engine_abandon(c->engine, world_start(c, &spec));
    CHECK(dpg_engine_wait(c->engine, INT64_MAX, NULL) == DPG_OK);
    world_drain(c);
    world_free(w);
}

CHECK_MAIN()
