/*
 * Stores that the host keeps, in the engine: how they are asked, what the host may answer, and what becomes of a session
 * when it answers late, never, twice or nonsense; and leases, with a process that stands still. The world keeps the record;
 * its host answers as each test has it.
 */
#include "check.h"
#include "credential.h"
#include "world_kit.h"

#define LEASE 45000

/* What the host of each client does. */
static struct host {
    char owner[160];     /* of the lock; "" : it is free */
    int64_t lease_until; /* INT64_MAX: it does not run out */
    char asked_as[160];  /* the owner of the last LOCK */
    int64_t ttl_ms;
    bool leases;
    int mute[4];            /* how many asks get no answer, by operation … */
    bool done_all_the_same; /* … and whether they are done */
    int fail[4];
    int counts[4];
    uint64_t last;    /* the number of the last ask */
    int64_t stops_ms; /* the process stands still for so long after the next … */
    int stops_at;     /* … of this operation; -1: none */
} host;

static void trace(world *w, const char *what)
{
    size_t had = strlen(w->trace);

    w->trace = realloc(w->trace, had + strlen(what) + 2);
    snprintf(w->trace + had, strlen(what) + 2, "%s%s", had ? " " : "", what);
}

static bool text_is(dpg_str s, const char *text)
{
    return dpg_str_eq(s, dpg_cstr(text));
}

static void keep(world *w, dpg_str bytes)
{
    char *copy = malloc(bytes.len + 1);

    memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = '\0';
    free(w->bytes);
    w->bytes = copy;
    w->len = bytes.len;
    w->found = true;
}

static void operate(world *w, const dpg_store_asked *a, dpg_store_answer *answer)
{
    bool held = host.owner[0] && w->now_ms < host.lease_until;

    switch (a->op) {
    case DPG_STORE_LOCK:
        snprintf(host.asked_as, sizeof host.asked_as, "%.*s", (int)a->owner.len, a->owner.ptr);
        host.ttl_ms = a->ttl_ms;
        if (held && strcmp(host.owner, host.asked_as) != 0) {
            answer->outcome = DPG_STORE_BUSY;
            answer->again_ms = 100;
            answer->holder = dpg_cstr(host.owner);
            return;
        }
        memcpy(host.owner, host.asked_as, sizeof host.owner);
        host.lease_until = host.leases ? w->now_ms + a->ttl_ms : INT64_MAX;
        return;
    case DPG_STORE_LOAD:
        answer->found = w->found;
        answer->bytes = dpg_str_of(w->bytes, w->len);
        return;
    case DPG_STORE_SAVE:
        if (w->found != a->had || (w->found && !dpg_str_eq(dpg_str_of(w->bytes, w->len), a->expected)))
            answer->outcome = DPG_STORE_CHANGED;
        else keep(w, a->bytes);
        return;
    default:
        if (held && text_is(a->owner, host.owner)) host.owner[0] = '\0';
    }
}

static void serve(world_client *c, dpg_store_asked *a)
{
    static const char *const names[] = {"lock", "load", "save", "unlock"};
    world *w = c->w;
    dpg_store_answer answer = {.outcome = DPG_STORE_DONE};
    int op = (int)a->op;

    CHECK(text_is(a->identity, "the store"));
    CHECK(a->ask > host.last);
    host.last = a->ask;
    host.counts[op]++;
    trace(w, a->op == DPG_STORE_SAVE && a->reserve ? "mark" : names[op]);
    if (host.mute[op] > 0 && !host.done_all_the_same) {
        host.mute[op]--;
        return;
    }
    if (host.fail[op] <= 0) operate(w, a, &answer);
    if (host.mute[op] > 0) {
        host.mute[op]--;
        return;
    }
    if (host.fail[op] > 0) {
        host.fail[op]--;
        answer.outcome = DPG_STORE_FAILED;
        answer.code = DPG_LIT("store_gone");
        answer.message = DPG_LIT("no luck\nat all");
    }
    if (host.stops_at == op) {
        host.stops_at = -1;
        w->now_ms += host.stops_ms;
    }
    CHECK(dpg_engine_answer(c->engine, a->ask, &answer, NULL) == DPG_OK);
}

static world_client *add_client(world *w, int n, const dpg_person_options *options)
{
    world_client *c = &w->clients[n];
    dpg_error err = DPG_ERROR_INIT;

    CHECK(dpg_store_host_new(DPG_LIT("the store"), host.leases, &c->store, &err) == DPG_OK);
    CHECK(world_client_open(c, NULL, options, &err) == DPG_OK);
    return c;
}

static world *begin_hosted(bool leases)
{
    world *w = world_new();

    memset(&host, 0, sizeof host);
    host.leases = leases;
    host.stops_at = -1;
    world_session(w);
    w->on_asked = serve;
    add_client(w, 0, NULL);
    return w;
}

/* Somebody else walks: he gets the lock, and what he does is done at once. */
static void sibling_rotates(world *w, const char *token)
{
    dpg_record r = stored(w);
    dpg_access times = {.got_boot_ms = w->now_ms, .got_unix_ms = w->now_ms + w->unix_off_ms, .life_ms = 900000};
    dpg_buf bytes;

    snprintf(times.boot_id, sizeof times.boot_id, "%s", w->boot_id);
    CHECK(dpg_record_rotate(&r, dpg_cstr(token), w->now_ms + w->unix_off_ms));
    r.in_flight = false;
    CHECK(dpg_record_put_access(&r, DPG_LIT("a"), DPG_LIT("at-a-9"), &times));
    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    CHECK(dpg_record_write(&r, &bytes));
    keep(w, dpg_buf_str(&bytes));
    dpg_buf_clear(&bytes);
    dpg_record_clear(&r);
}

/* --- asking and answering ------------------------------------------------------------------------------------------------ */

TEST("asks step by step, and each ask owns its bytes")
{
    world *w = begin_hosted(true);

    CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
    CHECK_STR(w->trace, "lock load mark exchange save unlock call");
    CHECK_INT(host.ttl_ms, LEASE);
    CHECK(!host.owner[0]);
    CHECK(strncmp(host.asked_as, "process ", 8) == 0);
    CHECK(strlen(host.asked_as) <= 120);
    finish(w);
}

TEST("takes another name for each lock that is a lease, and one for all that are not")
{
    for (int leases = 0; leases < 2; leases++) {
        world *w = begin_hosted(leases);
        char first[160];

        CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000), 200);
        memcpy(first, host.asked_as, sizeof first);
        CHECK_INT(status_of(&w->clients[0], world_get(&w->clients[0], "b", "/me"), 5000), 200);
        CHECK((strcmp(first, host.asked_as) != 0) == leases);
        finish(w);
    }
}

/* "/v1" and "/v2" of one API, or one host spelled in two ways: two credentials with one store, in one engine. */
TEST("is two holders for two credentials that share it, so that one of them waits")
{
    for (int leases = 0; leases < 2; leases++) {
        world *w = begin_hosted(leases);
        world_client *c = &w->clients[0];
        world_reply late = {.how = WORLD_SERVE, .after_ms = 1000};
        dpg_credential *other = NULL;
        dpg_error err = DPG_ERROR_INIT;
        dpg_id call, load;

        REQUIRE(dpg_credential_person(c->engine, DPG_LIT(WORLD_BASE "/v2"), c->store, NULL, &other, &err) == DPG_OK);
        REQUIRE(other != c->person);
        world_will(w, "/auth/token", late);
        call = world_get(c, "a", "/me");
        world_turn(c, 500);
        CHECK_STR(w->trace, "lock load mark exchange");
        CHECK(dpg_credential_load(other, 0, &load, &err) == DPG_OK);
        world_turn(c, 300);
        CHECK(host.counts[DPG_STORE_LOCK] > 1);
        CHECK_INT(host.counts[DPG_STORE_LOAD], 1); /* it does not go on under the other's lock … */
        CHECK_INT(status_of(c, call, 5000), 200);
        { /* … but after it */
            dpg_completion done = take(c, load, 5000);

            CHECK_INT(done.error.kind, DPG_KIND_NONE);
            dpg_completion_clear(&done);
        }
        CHECK(!host.owner[0]);
        CHECK_INT(world_count(w, "/auth/token"), 1);
        dpg_credential_free(other);
        finish(w);
    }
}

TEST("names who has the lock, for people")
{
    world *w = begin_hosted(true);

    snprintf(host.owner, sizeof host.owner, "process 4711 on moon, 0123456789abcdef-7");
    host.lease_until = INT64_MAX;
    expect_error(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 100000, DPG_KIND_STORAGE, "store_busy");
    CHECK_INT(world_count(w, "/auth/token"), 0);
    {
        dpg_completion done = take(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 100000);

        CHECK_STR(done.error.message, "the store is locked by process 4711 on moon, and was not let go in time: try "
                                      "again; if that goes on, look at "
                                      "who holds it");
        dpg_completion_clear(&done);
    }
    finish(w);
}

TEST("drops answers that nobody waits for, also the second one to an ask")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    dpg_store_answer answer = {.outcome = DPG_STORE_DONE, .found = true, .bytes = DPG_LIT("nonsense")};

    CHECK(dpg_engine_answer(c->engine, 0, &answer, NULL) == DPG_OK);
    CHECK(dpg_engine_answer(c->engine, 4711, &answer, NULL) == DPG_OK);
    signed_in(c);
    for (uint64_t ask = 1; ask <= host.last; ask++) CHECK(dpg_engine_answer(c->engine, ask, &answer, NULL) == DPG_OK);
    CHECK_INT(status_of(c, world_get(c, "b", "/me"), 5000), 200);
    finish(w);
}

TEST("refuses what is too long to be a record")
{
    world *w = begin_hosted(true);
    size_t size = (size_t)DPG_RECORD_MAX + 1;

    free(w->bytes);
    w->bytes = calloc(size, 1);
    w->len = size;
    expect_error(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000, DPG_KIND_STORAGE, "store_damaged");
    finish(w);
}

TEST("refuses an identity that is none")
{
    static char endless[5000];
    const dpg_str identities[] = {{"", 0}, {"a\0b", 3}, {endless, sizeof endless}};

    memset(endless, 'x', sizeof endless);
    for (size_t i = 0; i < sizeof identities / sizeof *identities; i++) {
        dpg_store *store = NULL;
        dpg_error err = DPG_ERROR_INIT;

        CHECK_INT(dpg_store_host_new(identities[i], false, &store, &err), DPG_E_INVALID);
        CHECK_STR(err.code, "store_identity");
        CHECK(!store);
    }
}

TEST("makes one line of what a store says")
{
    world *w = begin_hosted(true);
    dpg_completion done;

    host.fail[DPG_STORE_LOAD] = 1;
    done = take(&w->clients[0], world_get(&w->clients[0], "a", "/me"), 5000);
    CHECK_STR(done.error.code, "store_gone");
    CHECK_STR(done.error.message, "no luck?at all");
    dpg_completion_clear(&done);
    finish(w);
}

/* --- no answer ------------------------------------------------------------------------------------------------------------- */

TEST("waits ten seconds for an answer, from when the host took the question, and for none that it did not take")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    dpg_id id;
    dpg_note note;
    int64_t begun;

    host.mute[DPG_STORE_LOAD] = 1;
    begun = w->now_ms;
    expect_error(c, world_get(c, "a", "/me"), 60000, DPG_KIND_STORAGE, "store_no_answer");
    CHECK(w->now_ms - begun >= 10000 && w->now_ms - begun < 10500);

    id = world_get(c, "a", "/me");
    for (int i = 0; i < 10; i++) { /* a program that computes for a minute */
        dpg_engine_wait(c->engine, 0, NULL);
        w->now_ms += 6000;
    }
    CHECK_INT(status_of(c, id, 5000), 200);
    dpg_engine_next(c->engine, &note);
    CHECK_INT(note.type, DPG_NOTE_NONE);
    finish(w);
}

TEST("ends a load and a sign-out whose store never answers")
{
    for (int i = 0; i < 2; i++) {
        world *w = begin_hosted(true);
        world_client *c = &w->clients[0];
        dpg_id id = 0;

        for (int op = 0; op < 4; op++) host.mute[op] = 100;
        CHECK((i ? dpg_credential_forget(c->person, 0, &id, NULL) : dpg_credential_load(c->person, 0, &id, NULL)) ==
              DPG_OK);
        expect_error(c, id, 200000, DPG_KIND_STORAGE, "store_no_answer");
        world_turn(c, 200000); /* the lock, which may be ours, is given back */
        CHECK(host.counts[DPG_STORE_UNLOCK] > 0);
        finish(w);
    }
}

TEST("takes nobody's good token away while a store takes its time")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    int64_t begun;

    signed_in(c);
    w->now_ms += 880000; /* it is time for the next one, and this one lives on */
    for (int op = 0; op < 4; op++) host.mute[op] = 1;
    begun = w->now_ms;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 60000), 200);
    CHECK(w->now_ms - begun <= 3100);
    world_turn(c, 100000);
    finish(w);
}

TEST("saves a successor though no answer comes, whether it was saved or not, and sends nothing again")
{
    for (int done = 0; done < 2; done++) {
        world *w = begin_hosted(true);
        world_client *c = &w->clients[0];
        dpg_record r;
        dpg_id id;

        world_will(w, "/auth/token", (world_reply){.how = WORLD_SERVE, .after_ms = 1000});
        id = world_get(c, "a", "/me");
        world_turn(c, 500); /* the exchange is out */
        host.done_all_the_same = done;
        host.mute[DPG_STORE_SAVE] = 2;
        world_turn(c, 60000);
        r = stored(w);
        CHECK_STR(r.refresh_token, "rt-1002");
        CHECK(!r.in_flight);
        dpg_record_clear(&r);
        expect_error(c, id, 1000, DPG_KIND_STORAGE, "store_no_answer");
        CHECK_INT(w->exchanges, 1);
        CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
        CHECK_INT(w->exchanges, 1);
        finish(w);
    }
}

TEST("knows its own mark again, of which it heard nothing, and takes no answer for lost")
{
    dpg_person_options no_replay = {true};
    world *w = begin_hosted(true);
    world_client *c;

    world_client_free(&w->clients[0], 0);
    c = add_client(w, 0, &no_replay);
    host.done_all_the_same = true;
    host.mute[DPG_STORE_SAVE] = 1;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 60000), 200);
    CHECK_INT(w->exchanges, 1);
    finish(w);
}

TEST("proves a store before a password leaves, and again when nobody knows whether it could be written")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    dpg_id id;

    host.fail[DPG_STORE_SAVE] = 1;
    id = sign_in(c);
    CHECK_INT(status_of(c, id, 60000), 200);
    host.fail[DPG_STORE_SAVE] = 100;
    w->requests[w->request_count - 1].url[0] = '\0';
    expect_error(c, sign_in(c), 60000, DPG_KIND_STORAGE, "store_gone");
    CHECK_INT(world_count(w, "/auth/sign_in"), 0);
    host.fail[DPG_STORE_SAVE] = 0;
    finish(w);
}

/* --- leases ------------------------------------------------------------------------------------------------------------------ */

TEST("renews a lease that would not outlive an exchange, and looks whether its mark is still there")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];

    host.stops_at = DPG_STORE_SAVE;
    host.stops_ms = LEASE - 20000; /* not over yet, and too short for an exchange */
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 60000), 200);
    CHECK_STR(w->trace, "lock load mark lock load exchange save unlock call");
    finish(w);
}

static void sibling_came(world_client *c, dpg_store_asked *a)
{
    world *w = c->w;

    if (a->op == DPG_STORE_LOCK && host.counts[DPG_STORE_SAVE] == 1 && host.counts[DPG_STORE_LOCK] == 1) {
        w->refresh = 1002; /* what the server has issued last */
        sibling_rotates(w, "rt-1002");
    }
    serve(c, a);
}

TEST("reads again when its lock comes back after a pause, and presents no token that is spent")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];

    w->on_asked = sibling_came;
    host.stops_at = DPG_STORE_SAVE;
    host.stops_ms = 2 * LEASE;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 119000), 200);
    CHECK_STR(w->trace, "lock load mark lock load call unlock");
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-9");
    finish(w);
}

static void somebody_has_it(world_client *c, dpg_store_asked *a)
{
    if (a->op == DPG_STORE_LOCK && host.counts[DPG_STORE_LOCK] == 1) {
        snprintf(host.owner, sizeof host.owner, "process 4711 on moon");
        host.lease_until = c->w->now_ms + 20000;
    }
    serve(c, a);
}

TEST("sends nothing while somebody else has the lock that it slept past, and goes on from the start")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    int64_t begun;

    w->on_asked = somebody_has_it;
    host.stops_at = DPG_STORE_SAVE;
    host.stops_ms = 2 * LEASE;
    begun = w->now_ms;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 119000), 200);
    CHECK(world_last(w, "/auth/token")->at_ms - begun >= 2 * LEASE + 20000);
    CHECK_INT(w->exchanges, 1);
    finish(w);
}

TEST("keeps its lease alive while it waits to ask again, and counts it from before it was asked for")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    dpg_id id;

    world_will(w, "/auth/token",
               (world_reply){.how = WORLD_ANSWER, .status = 503, .headers = "retry-after: 50\n", .body = "{}"});
    id = world_get(c, "a", "/me");
    for (int i = 0; i < 49; i++) {
        world_turn(c, 1000);
        CHECK(host.owner[0] && w->now_ms < host.lease_until);
    }
    CHECK_INT(status_of(c, id, 60000), 200);
    CHECK_INT(w->exchanges, 1);
    CHECK(host.counts[DPG_STORE_LOCK] >= 3);
    finish(w);
}

TEST("has no lease to renew where a lock does not run out")
{
    world *w = begin_hosted(false);
    world_client *c = &w->clients[0];

    host.stops_at = DPG_STORE_SAVE;
    host.stops_ms = 2 * LEASE;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 119000), 200);
    CHECK_STR(w->trace, "lock load mark exchange save unlock call");
    finish(w);
}

TEST("gives a lease back by itself that it could not give back")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];

    host.fail[DPG_STORE_UNLOCK] = 5;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK(host.owner[0]);
    world_turn(c, 4000);
    CHECK(!host.owner[0] && w->now_ms < host.lease_until);
    CHECK_INT(host.counts[DPG_STORE_UNLOCK], 6);
    finish(w);
}

TEST("does not wait for a lease of its own that it could not give back")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    int64_t begun;

    host.fail[DPG_STORE_UNLOCK] = 3;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    CHECK(host.owner[0]);
    w->trace[0] = '\0';
    begun = w->now_ms;
    CHECK_INT(status_of(c, world_get(c, "b", "/me"), 5000), 200);
    CHECK_STR(w->trace, "unlock lock load mark exchange save unlock call");
    CHECK(w->now_ms - begun < 1000);
    finish(w);
}

TEST("says so at once when a store still does not take a lease back, and asks no more when it is over")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    int64_t begun;
    int asked;

    host.fail[DPG_STORE_UNLOCK] = 1000;
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    begun = w->now_ms;
    expect_error(c, world_get(c, "b", "/me"), 60000, DPG_KIND_STORAGE, "store_gone");
    CHECK(w->now_ms - begun < 1000);
    CHECK_INT(status_of(c, world_get(c, "a", "/me"), 5000), 200);
    world_turn(c, LEASE + 2000);
    asked = host.counts[DPG_STORE_UNLOCK];
    CHECK(asked < 100);
    world_turn(c, LEASE);
    CHECK_INT(host.counts[DPG_STORE_UNLOCK], asked);
    host.fail[DPG_STORE_UNLOCK] = 0;
    CHECK_INT(status_of(c, world_get(c, "b", "/me"), 5000), 200);
    finish(w);
}

/* What somebody who slept past his lease, or whose lease we slept past, does while our exchange is out. */
static world_client *with_exchange_out(world *w, world_reply reply, dpg_id *id)
{
    world_client *c = &w->clients[0];

    reply.after_ms = 1000;
    world_will(w, "/auth/token", reply);
    *id = world_get(c, "a", "/me");
    world_turn(c, 500);
    CHECK_INT(host.counts[DPG_STORE_SAVE], 1);
    return c;
}

TEST("goes on with what was saved meanwhile, when it is refused")
{
    static const char no[] = "{\"error\":{\"code\":\"unauthorized\",\"message\":\"no\"}}";
    world *w = begin_hosted(true);
    dpg_id id;
    world_client *c = with_exchange_out(w, (world_reply){.how = WORLD_ANSWER, .status = 401, .body = no}, &id);

    sibling_rotates(w, "rt-1002");
    w->refresh = 1002;
    CHECK_INT(status_of(c, id, 5000), 200);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-9");
    CHECK(!strstr(w->events, "signed_out"));
    finish(w);
}

TEST("takes what a sibling got and saved meanwhile for its own successor's better")
{
    world *w = begin_hosted(true);
    dpg_id id;
    world_client *c = with_exchange_out(w, (world_reply){.how = WORLD_SERVE}, &id);
    dpg_record r;

    sibling_rotates(w, "rt-1777");
    CHECK_INT(status_of(c, id, 5000), 200);
    CHECK_STR(world_last(w, "/me")->bearer, "at-a-9");
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1777");
    dpg_record_clear(&r);
    finish(w);
}

TEST("saves its successor over the token that it has spent, though a sibling got a later access token for that")
{
    world *w = begin_hosted(true);
    dpg_id id;
    world_client *c = with_exchange_out(w, (world_reply){.how = WORLD_SERVE}, &id);
    dpg_record r = stored(w);
    dpg_buf bytes;

    r.generation += 3;
    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    CHECK(dpg_record_write(&r, &bytes));
    keep(w, dpg_buf_str(&bytes));
    dpg_buf_clear(&bytes);
    dpg_record_clear(&r);
    CHECK_INT(status_of(c, id, 5000), 200);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1002");
    CHECK(r.generation > 4);
    dpg_record_clear(&r);
    finish(w);
}

TEST("drops its successor where somebody has signed out meanwhile")
{
    world *w = begin_hosted(true);
    dpg_id id;
    world_client *c = with_exchange_out(w, (world_reply){.how = WORLD_SERVE}, &id);
    dpg_record r = {.tombstone = true, .generation = 9};
    dpg_buf bytes;

    r.origin = dpg_strndup(DPG_LIT("https://api.test:443"));
    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    CHECK(dpg_record_write(&r, &bytes));
    keep(w, dpg_buf_str(&bytes));
    dpg_buf_clear(&bytes);
    dpg_record_clear(&r);
    expect_error(c, id, 5000, DPG_KIND_AUTH, "sign_in_required");
    r = stored(w);
    CHECK(r.tombstone);
    dpg_record_clear(&r);
    finish(w);
}

TEST("writes no sign-in, of which nobody knows whether it was stored, over what has been stored since")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    dpg_id id = sign_in(c);
    dpg_record r;

    while (!world_count(w, "/auth/sign_in")) world_turn(c, 1);
    host.mute[DPG_STORE_SAVE] = 1;
    world_turn(c, 5000);
    sibling_rotates(w, "rt-1777");
    expect_error(c, id, 60000, DPG_KIND_STORAGE, "store_no_answer");
    world_turn(c, 60000);
    r = stored(w);
    CHECK_STR(r.refresh_token, "rt-1777");
    dpg_record_clear(&r);
    CHECK(!host.owner[0]);
    finish(w);
}

/* --- the engine's turns ------------------------------------------------------------------------------------------------------- */

TEST("gives control back to be answered, and says that it is holding, for five seconds at most")
{
    world *w = begin_hosted(true);
    world_client *c = &w->clients[0];
    dpg_id id = world_get(c, "a", "/me");
    int64_t begun = w->now_ms;

    dpg_engine_wait(c->engine, 100, NULL); /* the lock is asked for, and not taken out */
    CHECK_INT(w->now_ms, begun);
    CHECK(!dpg_engine_is_holding(c->engine));
    world_drain(c); /* which answers */
    CHECK(dpg_engine_is_holding(c->engine));
    w->now_ms += 5001;
    CHECK(!dpg_engine_is_holding(c->engine));
    CHECK_INT(status_of(c, id, 60000), 200);
    finish(w);
}

TEST("saves what is under way when its host finishes before it frees it, and waits for nothing that it can't have")
{
    for (int helped = 0; helped < 2; helped++) {
        world *w = begin_hosted(true);
        world_client *c = &w->clients[0];
        dpg_record r;
        int64_t begun;

        world_will(w, "/auth/token", (world_reply){.how = WORLD_SERVE, .after_ms = 1000});
        world_get(c, "a", "/me");
        world_turn(c, 500);
        begun = w->now_ms;
        while (helped && dpg_engine_finish(c->engine, 4000) && w->now_ms < begun + 4000) world_drain(c);
        dpg_credential_free(c->person);
        c->person = NULL;
        dpg_engine_free(c->engine, 5000);
        c->engine = NULL;
        CHECK(w->now_ms <= begun + 1500);
        r = stored(w);
        CHECK_STR(r.refresh_token, helped ? "rt-1002" : "rt-1001");
        CHECK(r.in_flight == !helped);
        dpg_record_clear(&r);
        world_free(w);
    }
}

CHECK_MAIN()
