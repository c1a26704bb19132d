/*
 * A person's session in the engine, whole, in a world of its own (support/world.h): what an exchange may and may not do to
 * the refresh token, who waits for whom, and what is in the store at each moment.
 */
#include "check.h"
#include "world_kit.h"

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
    CHECK_INT(dpg_engine_counts(c->engine).timers, 0); /* for nobody the store is not asked again */
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
        int sent;

        signed_in(c);
        w->now_ms += 870000;
        for (int k = 0; k < 8; k++) world_will(w, "/auth/token", ways[i]);
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 200), 200);
        CHECK_STR(world_last(w, "/me")->bearer, "at-a-1");
        CHECK(world_count(w, "/auth/token") > 1);
        w->script_count = 0;
        world_turn(c, 100);
        sent = world_count(w, "/auth/token");
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 50), 200); /* at once: nobody waits for another try */
        if (i < 3) CHECK_INT(world_count(w, "/auth/token"), sent);  /* the others go on by themselves, in doubt */
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

TEST("sends nothing more when it is closed, but finishes the exchange that has left")
{
    world *w = begin();
    world_client *c = &w->clients[0];
    dpg_record r;

    world_will(w, "/auth/token", (world_reply){.how = WORLD_SERVE, .after_ms = 1000});
    world_get(c, "a", "/me");
    world_get(c, "b", "/me"); /* it would need an exchange of its own */
    world_turn(c, 500);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    world_client_free(c, 5000);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1002");
    CHECK(!r.in_flight);
    dpg_record_clear(&r);
    CHECK_INT(world_count(w, "/auth/token"), 1);
    CHECK_INT(world_count(w, "/me"), 0);
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
    CHECK_INT(w->told_wait_ms, 30000);
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
    CHECK_INT(status_of(c, world_get(c, "c", "/c"), 5000), 200);
    world_turn(c, 1000);
    CHECK_INT(status_of(c, world_get(c, "a", "/a"), 5000), 200);
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
    REQUIRE(dpg_credential_load(c->person, 0, &id, NULL) == DPG_OK);
    expect_error(c, id, 5000, DPG_KIND_AUTH, "sign_in_required");
    world_session(w);
    REQUIRE(dpg_credential_load(c->person, 0, &id, NULL) == DPG_OK);
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
    REQUIRE(dpg_credential_forget(w->clients[1].person, 0, &id, NULL) == DPG_OK);
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
    {
        dpg_credential_info info = dpg_credential_get_info(c->person);

        CHECK_STR(info.state, "sign_in");
        dpg_credential_info_clear(&info);
    }
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
    {
        dpg_credential_info info = dpg_credential_get_info(c->person);

        CHECK_STR(info.accounts_json, "[{\"uuid\":\"a\",\"extra\":[1]},{\"uuid\":\"b\"}]");
        dpg_credential_info_clear(&info);
    }
    CHECK_INT(status_of(c, world_get(c, "b", "/me"), 5000), 200);
    finish(w);
}

TEST("keeps a sign-in that tells more of accounts than a record can hold, without them")
{
    static char body[DPG_RECORD_MAX + 100];
    world *w = begin();
    world_client *c = &w->clients[0];
    size_t head = (size_t)snprintf(body, sizeof body, "{\"refresh_token\":\"rt\",\"accounts\":[{\"name\":\"");
    dpg_record r;

    memset(body + head, 'x', DPG_RECORD_MAX);
    strcpy(body + head + DPG_RECORD_MAX, "\"}]}");
    world_will(w, "/auth/sign_in", (world_reply){.how = WORLD_ANSWER, .status = 200, .body = body});
    CHECK_INT(status_of(c, sign_in(c), 5000), 200);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt");
    CHECK(!r.accounts);
    dpg_record_clear(&r);
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
    REQUIRE(dpg_credential_forget(c->person, 0, &id, NULL) == DPG_OK);
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
    REQUIRE(dpg_credential_forget(c->person, 0, &out, NULL) == DPG_OK);
    done = take(c, out, 5000);
    CHECK_INT(done.error.kind, DPG_KIND_NONE);
    dpg_completion_clear(&done);
    expect_error(c, call, 5000, DPG_KIND_API, "http_error");
    r = stored(w);
    CHECK(r.tombstone);
    dpg_record_clear(&r);
    finish(w);
}

/* --- stores that answer later ------------------------------------------------------------------------------------------------------------ */

static void answer_stores(world_client *c, int n)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 50 && !c->asked; k++) dpg_engine_wait(c->engine, 1, NULL);
        if (c->asked) world_store_answer(c);
        dpg_engine_wait(c->engine, 0, NULL); /* which takes it */
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

CHECK_MAIN()
