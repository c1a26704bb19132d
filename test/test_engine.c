/*
 * The engine, whole, in a world of its own (support/world.h): what leaves, what is kept, who hears of what, and that
 * nothing is left behind.
 */
#include "check.h"
#include "record.h"
#include "world.h"

#define SAID_NOTHING ((int64_t)-1)

/* A world with one client and a session in its store. */
static world *begin(void)
{
    world *w = world_new();

    world_session(w);
    world_client_new(w, 0, NULL, NULL);
    return w;
}

/* Ends a test: nothing is left, no note held a secret, no spent token was presented. */
static void finish(world *w)
{
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        if (!w->clients[i].engine) continue;
        world_drain(&w->clients[i]);
        CHECK(world_is_clean(&w->clients[i]));
    }
    CHECK(!w->leaked);
    CHECK_INT(w->spent_presented, 0);
    world_free(w);
}

static dpg_completion take(world_client *c, dpg_id id, int64_t ms)
{
    dpg_completion done;

    memset(&done, 0, sizeof done);
    if (!world_ends(c, id, ms, &done)) {
        CHECK_FAIL("call %d has not ended within %d ms", (int)id, (int)ms);
        snprintf(done.error.code, sizeof done.error.code, "has_not_ended");
    }
    return done;
}

static int status_of(world_client *c, dpg_id id, int64_t ms)
{
    dpg_completion done = take(c, id, ms);
    int status = done.status;

    dpg_completion_clear(&done);
    return status;
}

static void expect_error(world_client *c, dpg_id id, int64_t ms, dpg_kind kind, const char *code)
{
    dpg_completion done = take(c, id, ms);

    CHECK_STR(dpg_kind_name(done.error.kind), dpg_kind_name(kind));
    CHECK_STR(done.error.code, code);
    dpg_completion_clear(&done);
}

static void signed_in(world_client *c) /* an access token for account a is in hand */
{
    CHECK_INT(status_of(c, world_get(c, "a", "/warm"), 5000), 200);
    c->w->trace[0] = '\0';
}

static dpg_record stored(world *w)
{
    dpg_record r;

    memset(&r, 0, sizeof r);
    CHECK(dpg_record_read(dpg_str_of(w->bytes, w->len), &r) == DPG_OK);
    return r;
}

/* --- the walk ---------------------------------------------------------------------------------------------------------- */

TEST("marks before it exchanges, saves before it unlocks, unlocks before the bearer is used")
{
    world *w = begin();

    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    CHECK_STR(w->trace, "lock load mark exchange save unlock call");
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-1");
    CHECK(world_last(w, "/auth/token")->once);
    CHECK_STR(w->events, "start response rotated start response");
    finish(w);
}

TEST("makes one exchange for a thousand waiters")
{
    world *w = begin();
    dpg_id ids[1000];

    for (int i = 0; i < 1000; i++) ids[i] = world_get(&w->clients[0], "a", "/me");
    for (int i = 0; i < 1000; i++) CHECK_INT(status_of(&w->clients[0], ids[i], 60000), 200);
    CHECK_INT(w->exchanges, 1);
    CHECK_INT(w->open_most, 16);
    finish(w);
}

TEST("exchanges once for each account, one after the other")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id a = world_get(c, "a", "/a"), b = world_get(c, "b", "/b"), a2 = world_get(c, "a", "/a2");

    CHECK_INT(status_of(c, a, 5000), 200);
    CHECK_INT(status_of(c, b, 5000), 200);
    CHECK_INT(status_of(c, a2, 5000), 200);
    CHECK_INT(w->exchanges, 2);
    CHECK_STR(world_last(w, "/b")->bearer, "at-b-2");
    CHECK_STR(world_last(w, "/a2")->bearer, "at-a-1");
    finish(w);
}

TEST("keeps the access token in the store, so that a sibling takes it over without an exchange")
{
    world *w = begin();

    signed_in(&w->clients[0]);
    world_client_new(w, 1, NULL, NULL);
    CHECK_INT(status_of(&w->clients[1], world_get(&w->clients[1], "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 1);
    CHECK_STR(w->trace, "lock load unlock call");
    finish(w);
}

TEST("takes a sibling's newer generation over instead of exchanging, and says so")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    signed_in(c);
    w->now_ms += 1000000; /* the first has nothing that lives any more */
    world_client_new(w, 1, NULL, NULL);
    signed_in(&w->clients[1]);
    CHECK_INT(w->exchanges, 2);
    w->events[0] = '\0';
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 2);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-2");
    CHECK_STR(w->events, "adopted start response");
    finish(w);
}

TEST("waits for a sibling's lock, and says who has it when that takes too long")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me");
    dpg_completion done;

    w->holder = &w->clients[2];
    spec.deadline_ms = 5000;
    done = take(c, world_start(c, &spec), 6000);
    CHECK_INT(done.error.kind, DPG_KIND_STORAGE);
    CHECK_STR(done.error.code, "store_busy");
    CHECK(strstr(done.error.detail, "process 4711") != NULL);
    CHECK(w->now_ms < 1000000 + 5100);
    dpg_completion_clear(&done);
    CHECK_INT(w->exchanges, 0);
    spec.deadline_ms = -1;
    done = take(c, world_start(c, &spec), 200000);
    CHECK_STR(done.error.code, "store_busy");
    CHECK(strstr(done.error.message, "process 4711") != NULL);
    dpg_completion_clear(&done);
    w->holder = NULL;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    finish(w);
}

TEST("goes on with the access token in hand while the store is busy or broken")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    signed_in(c);
    w->now_ms += 880000; /* it ends soon */
    w->holder = &w->clients[2];
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 100), 200);
    w->holder = NULL;
    w->fail[DPG_STORE_LOCK] = 1;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 100), 200);
    w->now_ms += 5000;
    w->fail[DPG_STORE_LOAD] = 1;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 100), 200);
    CHECK_INT(w->exchanges, 1);
    finish(w);
}

TEST("refreshes ahead of the end: one call waits, the others go on with the token that still works")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id first, second;

    signed_in(c);
    w->now_ms += 870000;
    world_will(w, "/auth/token", (world_reply){.after_ms = 3000});
    first = world_get(c, "a", "/first");
    second = world_get(c, "a", "/second");
    CHECK_INT(status_of(c, second, 100), 200);
    CHECK_STR(world_last(w, "/second")->bearer, "at-a-1");
    CHECK_INT(status_of(c, first, 4000), 200);
    CHECK_STR(world_last(w, "/first")->bearer, "at-a-2");
    CHECK_INT(w->exchanges, 2);
    finish(w);
}

TEST("does not refresh a token that has most of its life before it")
{
    world *w = begin();

    signed_in(&w->clients[0]);
    w->now_ms += 800000;
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    CHECK_STR(w->trace, "call");
    finish(w);
}

TEST("takes no good token away when an early refresh fails, and does not try again at once")
{
    static const world_reply ways[] = {
        {.how = WORLD_UNSENT},
        {.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 3\n"},
        {.how = WORLD_ANSWER, .status = 403, .body = "<html>"},
        {.how = WORLD_ANSWER, .status = 503},
        {.how = WORLD_CUT_BEFORE},
    };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        world *w = begin();
        world_client *c = &w->clients[0];

        signed_in(c);
        w->now_ms += 870000;
        for (int k = 0; k < 8; k++) world_will(w, "/auth/token", ways[i]);
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 200), 200);
        CHECK_STR(world_last(w, "/me")->bearer, "at-a-1");
        CHECK(world_count(w, "/auth/token") > 1);
        w->script_count = 0;
        world_turn(c, 100);
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 50), 200); /* at once: nobody waits for another try */
        world_turn(c, 60000);
        finish(w);
    }
}

TEST("lets an early refresh hold a call back for a moment only")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    int64_t begun;

    signed_in(c);
    w->now_ms += 870000;
    begun = w->now_ms;
    world_will(w, "/auth/token", (world_reply){.how = WORLD_SILENCE});
    w->grace = 1;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 60000), 200);
    CHECK(w->now_ms - begun < 6000);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-1");
    world_turn(c, 60000);
    CHECK_INT(w->exchanges, 3);
    finish(w);
}

TEST("counts a token's life from before the request for it was sent")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_record r;

    w->life_s = 10;
    world_will(w, "/auth/token", (world_reply){.after_ms = 4000});
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    r = stored(w);
    CHECK_INT(r.access[0].got_boot_ms, 1000000);
    CHECK_INT(r.access[0].got_unix_ms, 1000000 + w->unix_off_ms);
    CHECK_INT(r.access[0].life_ms, 10000);
    CHECK_STR(r.access[0].boot_id, "boot-1");
    dpg_record_clear(&r);
    w->now_ms = 1000000 + 9900;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 2);
    finish(w);
}

TEST("gives a token to those who waited for it, however short it lives")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    w->life_s = 0;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 2);
    finish(w);
}

TEST("tells an age by the boot clock under the same boot id, else by Unix time; below zero it is unknown")
{
    world *w = begin();

    signed_in(&w->clients[0]);
    w->unix_off_ms += 10000000; /* the wall clock jumps, the boot is the same */
    world_client_new(w, 1, NULL, NULL);
    CHECK_INT(status_of(&w->clients[1], world_get(&w->clients[1], "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 1);
    world_client_free(&w->clients[0], 0);
    world_client_free(&w->clients[1], 0);

    w->unix_off_ms -= 10000000 - 5000000; /* another boot: only Unix time can tell, and it says 5,000 s */
    w->now_ms = 1000;
    w->boot_id = "boot-2";
    world_client_new(w, 0, NULL, NULL);
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 2);
    world_client_free(&w->clients[0], 0);

    w->boot_id = "boot-3"; /* and a wall clock that stands before the token was got */
    w->unix_off_ms -= 100000000;
    world_client_new(w, 0, NULL, NULL);
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 3);
    finish(w);
}

TEST("takes a 2xx without a refresh_token for one that is not rotated")
{
    world *w = begin();
    dpg_record r;

    w->keeps = true;
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1001");
    CHECK_INT(r.generation, 2);
    CHECK(!r.in_flight);
    dpg_record_clear(&r);
    finish(w);
}

/* --- ends of an exchange ------------------------------------------------------------------------------------------------- */

TEST("spends nothing when the mark can't be written")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    w->fail_marks = 1;
    expect_error(c, world_get(c, "a", "/me"), 5000, DPG_KIND_STORAGE, "store_full");
    CHECK_INT(world_count(w, "/auth/token"), 0);
    CHECK_STR(w->trace, "lock load mark unlock");
    CHECK(strstr(w->events, "storage") != NULL);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    finish(w);
}

TEST("gives up on a record that changes under its lock again and again, unspent")
{
    world *w = begin();

    w->change_marks = true;
    expect_error(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000, DPG_KIND_STORAGE, "store_changed");
    CHECK_INT(world_count(w, "/auth/token"), 0);
    finish(w);
}

TEST("keeps the lock when the successor can't be saved, tries again, and exchanges no more meanwhile")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_record r;

    w->fail[DPG_STORE_SAVE] = 1000;
    expect_error(c, world_get(c, "a", "/me"), 5000, DPG_KIND_STORAGE, "store_full");
    CHECK(w->holder == c);
    CHECK(dpg_engine_is_holding(c->engine));
    CHECK(!strstr(w->trace, "unlock"));
    CHECK_INT(world_count(w, "/me"), 0);
    world_client_new(w, 1, NULL, NULL);
    world_turn(c, 60000);
    CHECK(w->holder == c);
    CHECK_INT(w->exchanges, 1);
    w->fail[DPG_STORE_SAVE] = 0;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 30000), 200);
    CHECK_INT(w->exchanges, 1);
    CHECK(!w->holder);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1002");
    dpg_record_clear(&r);
    CHECK_INT(status_of(&w->clients[1], world_get(&w->clients[1], "a", "/me"), 5000), 200);
    CHECK_INT(w->exchanges, 1);
    finish(w);
}

TEST("sends an exchange that never left again, freely, with the same token")
{
    world *w = begin();

    for (int i = 0; i < 3; i++) world_will(w, "/auth/token", (world_reply){.how = WORLD_UNSENT});
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 30000), 200);
    CHECK_INT(world_count(w, "/auth/token"), 4);
    CHECK_INT(w->exchanges, 1);
    CHECK_INT(w->marks, 1);
    finish(w);
}

TEST("clears the mark of an exchange that never left, when it gives up")
{
    world *w = begin();
    dpg_record r;

    for (int i = 0; i < 6; i++) world_will(w, "/auth/token", (world_reply){.how = WORLD_UNSENT});
    expect_error(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 60000, DPG_KIND_NETWORK, "connect_failed");
    r = stored(w);
    CHECK(!r.in_flight);
    dpg_record_clear(&r);
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    finish(w);
}

TEST("presents the same token again under the same lock when the answer is in doubt, at once, then with back-off")
{
    static const world_reply lost[] = {
        {.how = WORLD_CUT_BEFORE},
        {.how = WORLD_ANSWER, .status = 502, .body = "<html>"},
        {.how = WORLD_ANSWER, .status = 200, .body = "<html>"},
        {.how = WORLD_ANSWER, .status = 200, .body = "{\"access_token\":\"a\\u0000b\",\"expires_in\":9}"},
    };
    world *w = begin();
    int64_t at[5];
    int n = 0;

    for (int i = 0; i < 4; i++) world_will(w, "/auth/token", lost[i]);
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 60000), 200);
    CHECK_STR(w->trace, "lock load mark exchange exchange exchange exchange exchange save unlock call");
    for (int i = 0; i < w->request_count; i++)
        if (strstr(w->requests[i].url, "/auth/token")) at[n++] = w->requests[i].at_ms;
    CHECK_INT(n, 5);
    CHECK_INT(at[1] - at[0], 10);
    for (int i = 2; i < 5; i++) CHECK(at[i] - at[i - 1] <= 10 + 200 * (1 << (i - 1)));
    finish(w);
}

TEST("brings the session through a lost answer where the server grants a grace")
{
    static const world_how ways[] = {WORLD_CUT_AFTER, WORLD_SILENCE};

    for (int i = 0; i < 2; i++) {
        world *w = begin();
        dpg_record r;

        w->grace = 1;
        world_will(w, "/auth/token", (world_reply){.how = ways[i]});
        CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 60000), 200);
        CHECK_INT(w->replays, 1);
        r = stored(w);
        CHECK_STR(r.refresh_token, "rt-1002");
        CHECK(!r.in_flight);
        dpg_record_clear(&r);
        finish(w);
    }
}

TEST("says that the answer was lost when a strict server takes the replay for a theft")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_completion done;
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.how = WORLD_CUT_AFTER});
    done = take(c, world_get(c, "a", "/me"), 60000);
    CHECK_INT(done.error.kind, DPG_KIND_AUTH);
    CHECK_STR(done.error.code, "sign_in_required");
    CHECK_STR(done.error.reason, "answer_lost");
    CHECK_INT(done.error.http_status, 401);
    CHECK_STR(done.error.request_id, "req-1");
    CHECK(strstr(done.error.detail, "digest") != NULL);
    dpg_completion_clear(&done);
    r = stored(w);
    CHECK_STR(r.refused, "answer_lost");
    CHECK_STR(r.refresh_token, "rt-1001"); /* the store is not wiped */
    dpg_record_clear(&r);
    CHECK_INT(w->spent_presented, 1);
    w->spent_presented = 0;
    /* and it is presented no more: not by this one, not by a sibling */
    expect_error(c, world_get(c, "a", "/me"), 5000, DPG_KIND_AUTH, "sign_in_required");
    world_client_new(w, 1, NULL, NULL);
    expect_error(&w->clients[1], world_get(&w->clients[1], "a", "/me"), 5000, DPG_KIND_AUTH, "sign_in_required");
    CHECK_INT(world_count(w, "/auth/token"), 2);
    finish(w);
}

TEST("with no_replay a lost answer ends the session, and nothing is presented again")
{
    world *w = world_new();
    dpg_person_options options = {.no_replay = true};
    dpg_completion done;

    world_session(w);
    world_client_new(w, 0, NULL, &options);
    world_will(w, "/auth/token", (world_reply){.how = WORLD_CUT_BEFORE});
    done = take(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 60000);
    CHECK_STR(done.error.reason, "answer_lost");
    dpg_completion_clear(&done);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    finish(w);
}

/* What a process leaves that was killed while its exchange was out. */
static world *crashed(world_how how, const dpg_person_options *next)
{
    world *w = begin();
    world_client *c = &w->clients[0];

    world_will(w, "/auth/token", (world_reply){.how = how, .after_ms = 60000});
    world_get(c, "a", "/me");
    for (int i = 0; i < 20 && !w->requests; i++) dpg_engine_wait(c->engine, 0, NULL);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    dpg_engine_forget(c->engine);
    c->engine = NULL;
    c->person = NULL;
    world_client_free(c, 0);
    world_client_new(w, 0, NULL, next);
    w->trace[0] = '\0';
    return w;
}

TEST("replays a mark that it finds after a crash")
{
    world *w = crashed(WORLD_CUT_BEFORE, NULL);

    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    finish(w);
    w = crashed(WORLD_SERVE, NULL);
    w->grace = 1;
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    CHECK_INT(w->replays, 1);
    finish(w);
}

TEST("tells a refusal after a crash from a plain one, and with no_replay doesn't ask")
{
    dpg_person_options options = {.no_replay = true};
    world *w = crashed(WORLD_SERVE, NULL);
    dpg_completion done = take(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000);

    CHECK_STR(done.error.reason, "answer_lost");
    dpg_completion_clear(&done);
    w->spent_presented = 0;
    finish(w);

    w = crashed(WORLD_SERVE, &options);
    done = take(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000);
    CHECK_STR(done.error.reason, "answer_lost");
    CHECK_INT(done.error.http_status, 0);
    dpg_completion_clear(&done);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    finish(w);
}

TEST("keeps the mark through a 429 to a replay, and waits as long as it is told")
{
    world *w = begin();
    int64_t at[3];
    int n = 0;

    world_will(w, "/auth/token", (world_reply){.how = WORLD_CUT_BEFORE});
    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 7\n"});
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 60000), 200);
    for (int i = 0; i < w->request_count; i++)
        if (strstr(w->requests[i].url, "/auth/token")) at[n++] = w->requests[i].at_ms;
    CHECK_INT(n, 3);
    CHECK(at[2] - at[1] >= 7000);
    CHECK_STR(w->trace, "lock load mark exchange exchange exchange save unlock call");
    finish(w);
}

TEST("keeps the mark when a 429 to a replay asks for longer than a walk may take")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.how = WORLD_CUT_BEFORE});
    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 90\n"});
    world_get(c, "a", "/me");
    world_turn(c, 5000);
    r = stored(w);
    CHECK(r.in_flight);
    CHECK(r.not_before_unix_ms > 0);
    dpg_record_clear(&r);
    CHECK(!w->holder);
    world_turn(c, 80000);
    CHECK_INT(world_count(w, "/auth/token"), 2);
    world_turn(c, 20000);
    CHECK_INT(world_count(w, "/auth/token"), 3);
    CHECK_INT(world_last(w, "/me")->status, 200);
    world_free(w);
}

TEST("clears the mark and keeps the moment when an exchange is answered 429, for siblings too")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 30\n"});
    id = world_get(c, "a", "/me");
    world_turn(c, 1000);
    r = stored(w);
    CHECK(!r.in_flight);
    CHECK_INT(r.not_before_boot_ms, 1000000 + 10 + 30000);
    CHECK_INT(r.not_before_unix_ms, 1000000 + w->unix_off_ms + 10 + 30000);
    dpg_record_clear(&r);
    CHECK(!w->holder);
    world_client_new(w, 1, NULL, NULL);
    world_get(&w->clients[1], "a", "/sibling");
    world_turn(&w->clients[1], 20000);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    CHECK_INT(status_of(c, id, 30000), 200);
    CHECK_INT(world_count(w, "/auth/token"), 2);
    CHECK(world_last(w, "/auth/token")->at_ms >= 1000000 + 10 + 30000);
    CHECK(strstr(w->events, "gate_closed") && strstr(w->events, "gate_open"));
    r = stored(w);
    CHECK_INT(r.not_before_unix_ms, 0);
    dpg_record_clear(&r);
    world_free(w);
}

TEST("does not begin a wait for an exchange that would pass the deadline, and says how long it would be")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me");
    dpg_completion done;
    int64_t begun = w->now_ms;

    spec.deadline_ms = 10000;
    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 30\n"});
    for (int i = 0; i < 2; i++) { /* the second finds the pause in the record */
        done = take(c, world_start(c, &spec), 5000);
        CHECK_STR(done.error.code, "rate_limited");
        CHECK_INT(done.error.http_status, 429);
        CHECK(done.error.retry_after_ms > 29000 && done.error.retry_after_ms <= 30000);
        dpg_completion_clear(&done);
    }
    CHECK(w->now_ms - begun < 100);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    finish(w);
}

TEST("waits no longer than the server asked, wherever the wall clock has gone meanwhile")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 30\n"});
    dpg_engine_abandon(c->engine, world_get(c, "a", "/me"));
    world_turn(c, 1000);
    world_client_free(c, 0);
    w->boot_id = "boot-2";
    w->now_ms = 500;
    w->unix_off_ms -= INT64_C(30000000000); /* a year back */
    world_client_new(w, 0, NULL, NULL);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 40000), 200);
    CHECK(w->now_ms >= 30000);
    finish(w);
}

TEST("takes a 401 in the API's own shape and the listed codes for a refusal, and nothing else")
{
    static const struct {
        int status;
        const char *body;
        bool refused;
    } cases[] = {
        {401, "{\"error\":{\"code\":\"unauthorized\"}}", true},
        {401, "{\"error\":{\"code\":\"anything\"}}", true},
        {400, "{\"error\":{\"code\":\"invalid_grant\"}}", true},
        {403, "{\"error\":{\"code\":\"token_revoked\"}}", true},
        {401, "<html>sign in to the hotel</html>", false},
        {401, "", false},
        {401, "{\"error\":\"unauthorized\"}", false},
        {400, "{\"error\":{\"code\":\"validation\"}}", false},
        {403, "{\"error\":{\"code\":\"api_not_enabled\"}}", false},
        {404, "{\"error\":{\"code\":\"invalid_grant\"}}", false},
        {407, "{\"error\":{\"code\":\"invalid_grant\"}}", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world *w = begin();
        world_client *c = &w->clients[0];
        dpg_record r;
        dpg_completion done;

        world_will(w, "/auth/token",
                   (world_reply){.how = WORLD_ANSWER, .status = cases[i].status, .body = cases[i].body});
        done = take(c, world_get(c, "a", "/me"), 5000);
        CHECK_STR(dpg_kind_name(done.error.kind), cases[i].refused ? "auth" : "api");
        CHECK_INT(done.error.http_status, cases[i].status);
        if (cases[i].refused) CHECK_STR(done.error.reason, "refused");
        dpg_completion_clear(&done);
        r = stored(w);
        CHECK(!r.in_flight);
        CHECK_STR(r.refused, cases[i].refused ? "refused" : "");
        dpg_record_clear(&r);
        world_turn(c, 2000);
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), cases[i].refused ? 0 : 200);
        finish(w);
    }
}

TEST("lets a \"no\" for one account be that account's alone")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id a, b;

    world_will(w, "/auth/token",
               (world_reply){.how = WORLD_ANSWER, .status = 403, .body = "{\"error\":{\"code\":\"api_not_enabled\"}}"});
    a = world_get(c, "a", "/a");
    b = world_get(c, "b", "/b");
    expect_error(c, a, 5000, DPG_KIND_API, "api_not_enabled");
    CHECK_INT(status_of(c, b, 5000), 200);
    expect_error(c, world_get(c, "a", "/a"), 100, DPG_KIND_API, "api_not_enabled"); /* for a moment, unasked */
    CHECK_INT(w->exchanges, 1);
    CHECK_INT(world_count(w, "/auth/token"), 2);
    finish(w);
}

TEST("ends an exchange that gives no answer, and asks again while the walk may last")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_spec spec = world_spec(c, "a", "GET", WORLD_BASE "/me");
    dpg_record r;
    int64_t begun = w->now_ms;

    for (int i = 0; i < 8; i++) world_will(w, "/auth/token", (world_reply){.how = WORLD_STUCK});
    spec.deadline_ms = -1;
    expect_error(c, world_start(c, &spec), 200000, DPG_KIND_TIMEOUT, "timeout");
    CHECK(w->now_ms - begun > 40000 && w->now_ms - begun < 85000);
    r = stored(w);
    CHECK(!r.in_flight);
    dpg_record_clear(&r);
    w->script_count = 0;
    for (int i = 0; i < 60; i++)
        world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 503, .after_ms = 100});
    begun = w->now_ms;
    expect_error(c, world_start(c, &spec), 200000, DPG_KIND_API, "http_error");
    CHECK(w->now_ms - begun > 50000 && w->now_ms - begun < 85000);
    CHECK(!w->holder);
    r = stored(w);
    CHECK(r.in_flight); /* the next one asks about the same token */
    dpg_record_clear(&r);
    w->script_count = 0;
    CHECK_INT(status_of(c, world_start(c, &spec), 5000), 200);
    finish(w);
}

/* --- 401 to a call --------------------------------------------------------------------------------------------------------- */

TEST("answers a 401 with one exchange; a second 401 is the answer")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_completion done;

    signed_in(c);
    w->now_ms += 61000;
    w->bad_bearer = "at-a-1";
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK_STR(w->trace, "call lock load mark exchange save unlock call");
    w->now_ms += 61000;
    for (int i = 0; i < 2; i++)
        world_will(w, "/me", (world_reply){.how = WORLD_ANSWER, .status = 401, .body = "{\"error\":{\"code\":\"x\"}}"});
    done = take(c, world_get(c, "a", "/me"), 5000);
    CHECK_INT(done.status, 401);
    CHECK_INT(done.error.kind, DPG_KIND_NONE);
    CHECK_INT(done.attempts, 2);
    CHECK_INT(done.sent, 2);
    CHECK_STR(done.body.ptr, "{\"error\":{\"code\":\"x\"}}");
    dpg_completion_clear(&done);
    CHECK_INT(w->exchanges, 3);
    finish(w);
}

TEST("lets a 401 to a bearer younger than 60 s stand, so that it never becomes a rotation for each call")
{
    world *w = begin();
    world_client *c = &w->clients[0];

    signed_in(c);
    w->bad_bearer = "*";
    for (int i = 0; i < 10; i++) CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 401);
    CHECK_INT(w->exchanges, 1);
    w->now_ms += 61000;
    for (int i = 0; i < 10; i++) CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 401);
    CHECK_INT(w->exchanges, 2);
    finish(w);
}

TEST("goes again with the new bearer, and no exchange, when the rejected one has been replaced since")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;

    signed_in(c);
    w->now_ms += 61000;
    w->bad_bearer = "at-a-1";
    world_will(w, "/slow", (world_reply){.after_ms = 2000});
    id = world_get(c, "a", "/slow");
    world_turn(c, 0);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 1000), 200); /* rotates meanwhile */
    CHECK_INT(status_of(c, id, 5000), 200);
    CHECK_INT(w->exchanges, 2);
    CHECK_STR(world_last(w, "/slow")->bearer, "at-a-2");
    world_client_new(w, 1, NULL, NULL); /* and when a sibling has replaced it */
    signed_in(&w->clients[1]);
    w->now_ms += 61000;
    w->bad_bearer = "at-a-2";
    CHECK_INT(status_of(&w->clients[1], world_get(&w->clients[1], "a", "/me"), 1000), 200);
    CHECK_INT(w->exchanges, 3);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 1000), 200);
    CHECK_INT(w->exchanges, 3);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-3");
    finish(w);
}

TEST("makes one exchange for many 401s at once")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id ids[50];

    signed_in(c);
    w->now_ms += 61000;
    w->bad_bearer = "at-a-1";
    for (int i = 0; i < 50; i++) ids[i] = world_get(c, "a", "/me");
    for (int i = 0; i < 50; i++) CHECK_INT(status_of(c, ids[i], 60000), 200);
    CHECK_INT(w->exchanges, 2);
    finish(w);
}

TEST("stops at a server that answers a 401 with the very same access token")
{
    static const char same[] = "{\"access_token\":\"at-a-1\",\"expires_in\":0}";
    world *w = begin();
    world_client *c = &w->clients[0];

    w->bad_bearer = "at-a-1";
    for (int i = 0; i < 60; i++)
        world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 200, .body = same});
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 401);
    CHECK(world_count(w, "/auth/token") <= 2);
    finish(w);
}

TEST("leaves a 401 to a service token as it is")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_credential *service;
    dpg_spec spec;

    REQUIRE(dpg_credential_service(c->engine, DPG_LIT(WORLD_BASE), DPG_LIT("st-1"), &service, NULL) == DPG_OK);
    spec = world_spec(c, "", "GET", WORLD_BASE "/me");
    spec.credential = service;
    CHECK_INT(status_of(c, world_start(c, &spec), 1000), 200);
    CHECK_STR(world_last(w, "/me")->bearer, "st-1");
    w->bad_bearer = "st-1";
    CHECK_INT(status_of(c, world_start(c, &spec), 1000), 401);
    CHECK_INT(world_count(w, "/me"), 2);
    dpg_credential_free(service);
    finish(w);
}

/* --- records ------------------------------------------------------------------------------------------------------------------ */

TEST("needs a session: an empty store and a tombstone say that nobody is signed in")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_completion done;
    dpg_id id;

    done = take(c, world_get(c, "a", "/me"), 5000);
    CHECK_STR(done.error.code, "sign_in_required");
    CHECK_STR(done.error.reason, "no_session");
    dpg_completion_clear(&done);
    REQUIRE(dpg_credential_load(c->person, &id, NULL) == DPG_OK);
    expect_error(c, id, 5000, DPG_KIND_AUTH, "sign_in_required");
    world_session(w);
    REQUIRE(dpg_credential_load(c->person, &id, NULL) == DPG_OK);
    done = take(c, id, 5000);
    CHECK_INT(done.error.kind, DPG_KIND_NONE);
    dpg_completion_clear(&done);
    finish(w);
}

TEST("lets a tombstone win over what is in memory, and an absent record not")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_completion done;
    dpg_record r;
    dpg_id id;

    signed_in(c);
    w->now_ms += 1000000;
    w->found = false; /* somebody removed the file: what is in memory is written back */
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1003");
    dpg_record_clear(&r);
    world_client_new(w, 1, NULL, NULL);
    REQUIRE(dpg_credential_forget(w->clients[1].person, &id, NULL) == DPG_OK);
    done = take(&w->clients[1], id, 5000);
    CHECK_INT(done.error.kind, DPG_KIND_NONE);
    dpg_completion_clear(&done);
    r = stored(w);
    CHECK(r.tombstone && !r.refresh_token && !r.access_count);
    dpg_record_clear(&r);
    w->now_ms += 1000000;
    w->events[0] = '\0';
    done = take(c, world_get(c, "a", "/me"), 5000);
    CHECK_STR(done.error.reason, "signed_out");
    dpg_completion_clear(&done);
    CHECK_STR(w->events, "signed_out");
    CHECK_STR(dpg_credential_get_info(c->person).state, "sign_in");
    CHECK_INT(w->exchanges, 2);
    finish(w);
}

TEST("leaves damaged and newer records and other origins alone, and lives on with what is in memory")
{
    static const char newer[] = "dpg-record 9 3 ";
    char bytes[400];
    uint8_t digest[32];
    char *other;

    for (int i = 0; i < 3; i++) {
        world *w = begin();
        world_client *c = &w->clients[0];

        signed_in(c);
        w->now_ms += 870000; /* it ends soon, and lives */
        if (i == 0) {
            w->bytes[w->len - 3] ^= 1;
        } else if (i == 1) {
            dpg_sha256("{}\n", 3, digest);
            memcpy(bytes, newer, sizeof newer);
            for (int k = 0; k < 32; k++) sprintf(bytes + strlen(bytes), "%02x", digest[k]);
            strcat(bytes, "\n{}\n");
            world_put_record(w, bytes, strlen(bytes));
        } else {
            dpg_record r = stored(w);
            dpg_buf text;

            other = strstr(r.origin, "api.");
            memcpy(other, "bad.", 4);
            dpg_buf_init(&text, DPG_RECORD_MAX);
            CHECK(dpg_record_write(&r, &text));
            world_put_record(w, text.ptr, text.len);
            dpg_buf_clear(&text);
            dpg_record_clear(&r);
        }
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 1000), 200);
        w->now_ms += 100000;
        expect_error(c, world_get(c, "a", "/me"), 1000, i == 2 ? DPG_KIND_USAGE : DPG_KIND_STORAGE,
                     i == 0   ? "store_damaged"
                     : i == 1 ? "store_newer"
                              : "store_other_origin");
        CHECK_INT(w->exchanges, 1);
        CHECK_INT(w->saves, 1);
        finish(w);
    }
}

TEST("puts its own newer record over an older backup of it")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    char *old = malloc(w->len);
    size_t len = w->len;
    dpg_record r;

    memcpy(old, w->bytes, len);
    signed_in(c);
    world_put_record(w, old, len);
    free(old);
    w->now_ms += 1000000;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1003");
    dpg_record_clear(&r);
    finish(w);
}

/* --- signing in and out --------------------------------------------------------------------------------------------------------- */

static dpg_id sign_in(world_client *c)
{
    dpg_spec spec = world_sign_in_spec();
    dpg_id id = 0;

    CHECK(dpg_credential_sign_in(c->person, &spec, &id, NULL) == DPG_OK);
    return id;
}

TEST("proves the store before the password leaves, holds no lock while it is on its way, and saves before it says so")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_completion done = take(c, sign_in(c), 5000);
    dpg_record r;

    CHECK_INT(done.status, 200);
    CHECK_INT(done.body.len, 0);
    dpg_completion_clear(&done);
    CHECK_STR(w->trace, "lock load save unlock sign_in lock load save unlock");
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1001");
    CHECK_STR(r.accounts, "[{\"uuid\":\"a\",\"extra\":[1]},{\"uuid\":\"b\"}]");
    CHECK_STR(r.person, "{\"name\":\"Jane\"}");
    CHECK(r.family[0] && !r.in_flight);
    dpg_record_clear(&r);
    CHECK(world_last(w, "/auth/sign_in")->once);
    CHECK(!world_last(w, "/auth/sign_in")->bearer[0]);
    CHECK_STR(dpg_credential_get_info(c->person).accounts_json, "[{\"uuid\":\"a\",\"extra\":[1]},{\"uuid\":\"b\"}]");
    CHECK_INT(status_of(c, world_get(c, "b", "/me"), 5000), 200);
    finish(w);
}

TEST("sends no password when the store can't be written")
{
    for (int op = 0; op < 3; op++) {
        world *w = world_new();
        world_client *c = world_client_new(w, 0, NULL, NULL);

        w->fail[op] = 1;
        expect_error(c, sign_in(c), 5000, DPG_KIND_STORAGE, "store_full");
        CHECK_INT(world_count(w, "/auth/"), 0);
        finish(w);
    }
}

TEST("hands the two-factor question on as it came, and holds no lock until it is answered")
{
    world *w = world_new();
    world_client *c = world_client_new(w, 0, NULL, NULL);
    dpg_completion done;

    w->two_factor = true;
    done = take(c, sign_in(c), 5000);
    CHECK_STR(done.body.ptr, "{\"mfa_token\":\"mt-1\"}");
    dpg_completion_clear(&done);
    CHECK(!w->holder);
    w->two_factor = false;
    CHECK_INT(status_of(c, sign_in(c), 5000), 200);
    finish(w);
}

TEST("repeats a sign-in only when it certainly never left, or on a 429 within the deadline")
{
    static const struct {
        world_reply reply;
        int sends;
        int status;
        const char *code;
    } cases[] = {
        {{.how = WORLD_UNSENT}, 2, 200, ""},
        {{.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 5\n"}, 2, 200, ""},
        {{.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 500\n"}, 1, 429, ""},
        {{.how = WORLD_CUT_BEFORE}, 1, 0, "connection_lost"},
        {{.how = WORLD_CUT_AFTER}, 1, 0, "connection_lost"},
        {{.how = WORLD_SILENCE}, 1, 0, "timeout"},
        {{.how = WORLD_STUCK}, 2, 200, ""},
        {{.how = WORLD_ANSWER, .status = 500}, 1, 500, ""},
        {{.how = WORLD_ANSWER, .status = 503, .headers = "retry-after: 1\n"}, 1, 503, ""},
        {{.how = WORLD_ANSWER, .status = 401, .body = "{}"}, 1, 401, ""},
        {{.how = WORLD_ANSWER, .status = 200, .body = "<html>"}, 1, 0, "unreadable_answer"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world *w = world_new();
        world_client *c = world_client_new(w, 0, NULL, NULL);
        dpg_completion done;

        world_will(w, "/auth/sign_in", cases[i].reply);
        done = take(c, sign_in(c), 100000);
        CHECK_INT(done.status, cases[i].status);
        CHECK_STR(done.error.code, cases[i].code);
        dpg_completion_clear(&done);
        CHECK_INT(world_count(w, "/auth/sign_in"), cases[i].sends);
        CHECK(!w->holder);
        finish(w);
    }
}

TEST("lets a new sign-in take the place of a session that was lost or signed out")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id id;

    w->revoked = true;
    expect_error(c, world_get(c, "a", "/me"), 5000, DPG_KIND_AUTH, "sign_in_required");
    CHECK_INT(status_of(c, sign_in(c), 5000), 200);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    REQUIRE(dpg_credential_forget(c->person, &id, NULL) == DPG_OK);
    CHECK_INT(status_of(c, id, 5000), 0);
    expect_error(c, world_get(c, "a", "/me"), 5000, DPG_KIND_AUTH, "sign_in_required");
    CHECK_INT(status_of(c, sign_in(c), 5000), 200);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    finish(w);
}

TEST("keeps the tokens of a sign-in that comes in while an exchange of the old session is being refused")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id call, in;

    w->revoked = true;
    world_will(w, "/auth/token", (world_reply){.after_ms = 1000});
    world_will(w, "/auth/sign_in", (world_reply){.after_ms = 300});
    in = sign_in(c);
    for (int i = 0; i < 10 && !world_count(w, "/auth/sign_in"); i++) dpg_engine_wait(c->engine, 0, NULL);
    call = world_get(c, "a", "/me");
    world_turn(c, 500);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    w->revoked = true; /* of the old family: the answer is on its way */
    CHECK_INT(status_of(c, in, 5000), 200);
    w->revoked = false;
    expect_error(c, call, 5000, DPG_KIND_AUTH, "sign_in_required");
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-1");
    finish(w);
}

TEST("keeps trying to save what a sign-in brought: the store that was proven may fail all the same")
{
    static const dpg_store_op ops[] = {DPG_STORE_LOCK, DPG_STORE_LOAD, DPG_STORE_SAVE};

    for (size_t i = 0; i < 3; i++) {
        world *w = world_new();
        world_client *c = world_client_new(w, 0, NULL, NULL);
        dpg_completion done;
        dpg_id id;

        world_will(w, "/auth/sign_in", (world_reply){.after_ms = 1000});
        id = sign_in(c);
        world_turn(c, 500);
        w->fail[ops[i]] = 3;
        done = take(c, id, 20000);
        dpg_completion_clear(&done);
        world_turn(c, 20000);
        w->fail[ops[i]] = 0;
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
        CHECK(!w->holder);
        finish(w);
    }
}

TEST("signs out in the middle of a rotation only when that has ended, and nobody writes the session back")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id call, out;
    dpg_completion done;
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 400, .body = "{}", .after_ms = 500});
    call = world_get(c, "a", "/me");
    world_turn(c, 100);
    REQUIRE(dpg_credential_forget(c->person, &out, NULL) == DPG_OK);
    done = take(c, out, 5000);
    CHECK_INT(done.error.kind, DPG_KIND_NONE);
    dpg_completion_clear(&done);
    expect_error(c, call, 5000, DPG_KIND_API, "http_error");
    r = stored(w);
    CHECK(r.tombstone);
    dpg_record_clear(&r);
    finish(w);
}

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
    REQUIRE(dpg_credential_load(c->person, &id, NULL) == DPG_OK);
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
        CHECK_INT(w->now_ms - begun, 0); /* the first wait has done it all */
        CHECK_INT(begun - 1000000, i == 0 ? 3000 : 5000);
        CHECK_INT(w->saves, i == 0);
        CHECK_INT(status_of(c, id, 20000), 200);
        finish(w);
    }
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
            if (kind == 2) CHECK(dpg_credential_load(c->person, &id, NULL) == DPG_OK);
            if (kind == 3) CHECK(dpg_credential_forget(c->person, &id, NULL) == DPG_OK);
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
        CHECK(dpg_credential_load(c->person, &id, NULL) == DPG_OK);
        CHECK(dpg_credential_forget(c->person, &id, NULL) == DPG_OK);
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
    CHECK_INT(dpg_credential_load(service, &id, &err), DPG_E_INVALID);
    CHECK_INT(dpg_credential_forget(service, &id, &err), DPG_E_INVALID);
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

/* --- stores that answer later ------------------------------------------------------------------------------------------------------------ */

static void answer_stores(world_client *c, int n)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 50 && !c->asked; k++) dpg_engine_wait(c->engine, 1, NULL);
        if (c->asked) world_store_answer(c);
    }
    world_drain(c);
}

TEST("hands a new bearer out when the lock is back, and not before, also to who comes meanwhile")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_id a, b;

    w->async = true;
    a = world_get(c, "a", "/one");
    answer_stores(c, 4); /* lock load mark save: the unlock is out */
    CHECK(c->asked && c->request.op == DPG_STORE_UNLOCK);
    b = world_get(c, "a", "/two");
    world_turn(c, 100);
    CHECK_INT(world_count(w, "/one") + world_count(w, "/two"), 0);
    world_store_answer(c);
    w->async = false;
    CHECK_INT(status_of(c, a, 1000), 200);
    CHECK_INT(status_of(c, b, 1000), 200);
    CHECK_INT(w->exchanges, 1);
    finish(w);
}

TEST("sends no password for a sign-in that was cancelled, or ran out of time, while its store was being proven")
{
    for (int i = 0; i < 2; i++) {
        world *w = world_new();
        world_client *c = world_client_new(w, 0, NULL, NULL);
        dpg_spec spec = world_sign_in_spec();
        dpg_completion done;
        dpg_id id;

        w->async = true;
        spec.deadline_ms = 1000;
        REQUIRE(dpg_credential_sign_in(c->person, &spec, &id, NULL) == DPG_OK);
        answer_stores(c, 2); /* lock load: the save is out */
        for (int k = 0; k < 50 && !c->asked; k++) dpg_engine_wait(c->engine, 1, NULL);
        CHECK(c->asked && c->request.op == DPG_STORE_SAVE);
        if (i == 0) dpg_engine_cancel(c->engine, id);
        else w->now_ms += 2000;
        dpg_engine_wait(c->engine, 1, NULL);
        answer_stores(c, 2);
        w->async = false;
        done = take(c, id, 1000);
        CHECK_INT(done.error.kind, i == 0 ? DPG_KIND_CANCELLED : DPG_KIND_TIMEOUT);
        dpg_completion_clear(&done);
        CHECK_INT(world_count(w, "/auth/"), 0);
        finish(w);
    }
}

TEST("drops an answer of a store that nobody waits for")
{
    world *w = begin();
    dpg_store_reply reply;

    memset(&reply, 0, sizeof reply);
    reply.bytes.ptr = malloc(10);
    reply.bytes.cap = 10;
    reply.found = true;
    dpg_engine_store_answer(w->clients[0].engine, 0, &reply);
    memset(&reply, 0, sizeof reply);
    dpg_engine_store_answer(w->clients[0].engine, 999, &reply);
    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 1000), 200);
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
