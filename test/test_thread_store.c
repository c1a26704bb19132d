/*
 * Stores that the host keeps, asked by engines with threads of their own: the host answers while they turn, waits for
 * nothing but notes, and brings what is under way to its end.
 */
#include "thread_kit.h"

static struct {
    char *bytes;
    size_t len;
    char owner[160];
    int asks, marks;
} kept;

static void lose_all(void)
{
    free(kept.bytes);
    memset(&kept, 0, sizeof kept);
}

static bool is_stored(dpg_str bytes)
{
    return kept.bytes && dpg_str_eq(dpg_str_of(kept.bytes, kept.len), bytes);
}

static void save(const dpg_store_asked *a)
{
    char *copy = malloc(a->bytes.len + 1);

    memcpy(copy, a->bytes.ptr, a->bytes.len);
    free(kept.bytes);
    kept.bytes = copy;
    kept.len = a->bytes.len;
    kept.marks += a->reserve;
}

/* Answers as a table in Lua does: on the host's own thread. */
static void serve(dpg_engine *e, dpg_store_asked *a)
{
    dpg_store_answer answer = {.outcome = DPG_STORE_DONE};
    char owner[160];

    kept.asks++;
    snprintf(owner, sizeof owner, "%.*s", (int)a->owner.len, a->owner.ptr);
    if (a->op == DPG_STORE_LOCK && kept.owner[0] && strcmp(owner, kept.owner) != 0) {
        answer.outcome = DPG_STORE_BUSY;
        answer.again_ms = 5;
    } else if (a->op == DPG_STORE_LOCK) {
        memcpy(kept.owner, owner, sizeof owner);
    } else if (a->op == DPG_STORE_UNLOCK) {
        if (strcmp(owner, kept.owner) == 0) kept.owner[0] = '\0';
    } else if (a->op == DPG_STORE_LOAD) {
        answer.found = kept.bytes != NULL;
        answer.bytes = dpg_str_of(kept.bytes, kept.len);
    } else if (a->had ? is_stored(a->expected) : !kept.bytes) {
        save(a);
    } else {
        answer.outcome = DPG_STORE_CHANGED;
    }
    CHECK(dpg_engine_answer(e, a->ask, &answer, NULL) == DPG_OK);
    CHECK(dpg_engine_answer(e, a->ask, &answer, NULL) == DPG_OK); /* the second one is dropped */
    dpg_store_asked_free(a);
}

/* One look at what an engine has to say. */
static void look(dpg_engine *e, int64_t ms)
{
    dpg_note note;

    dpg_engine_wait(e, ms, NULL);
    for (dpg_engine_next(e, &note); note.type != DPG_NOTE_NONE; dpg_engine_next(e, &note))
        if (note.type == DPG_NOTE_STORE) serve(e, note.asked);
}

static int status_within(dpg_engine *e, dpg_engine *other, dpg_id id)
{
    dpg_completion done;
    int64_t until = dpg_engine_now_ms(e) + 30000;
    int status;

    memset(&done, 0, sizeof done);
    while (dpg_engine_take(e, id, &done, NULL) != DPG_OK) {
        if (dpg_engine_now_ms(e) > until) {
            CHECK_FAIL("call %d has not ended", (int)id);
            return 0;
        }
        look(e, 5);
        if (other) look(other, 0);
    }
    if (done.error.kind != DPG_KIND_NONE) printf("# %s: %s\n", done.error.code, done.error.message);
    status = done.status;
    dpg_completion_clear(&done);
    return status;
}

static dpg_credential *person_of(dpg_engine *e)
{
    dpg_store *store = NULL;
    dpg_credential *person;

    REQUIRE(dpg_store_host_new(DPG_LIT("kept"), true, &store, NULL) == DPG_OK);
    person = new_person(e, store);
    dpg_store_free(store);
    return person;
}

static dpg_id begin_sign_in(dpg_credential *person)
{
    char url[200];
    dpg_spec spec = spec_of("POST", "/auth/sign_in", url), in = world_sign_in_spec();
    dpg_id id = 0;

    spec.body = in.body;
    spec.has_body = true;
    CHECK(dpg_credential_sign_in(person, &spec, &id, NULL) == DPG_OK);
    return id;
}

TEST("presents each token once, with two engines on two threads and one store of the host's")
{
    dpg_engine *engines[2];
    dpg_credential *people[2];

    begin();
    web_set(server, &w->life_s, 1);
    engines[0] = engine;
    engines[1] = new_engine(NULL);
    for (int i = 0; i < 2; i++) people[i] = person_of(engines[i]);
    CHECK_INT(status_within(engines[0], engines[1], begin_sign_in(people[0])), 200);
    for (int round = 0; round < times("THREAD_ROUNDS", 100) && !check_faults; round++) {
        dpg_id ids[2];

        for (int i = 0; i < 2; i++) {
            engine = engines[i];
            ids[i] = get_as(people[i], "/me");
        }
        for (int i = 0; i < 2; i++) CHECK_INT(status_within(engines[i], engines[1 - i], ids[i]), 200);
    }
    CHECK(kept.marks > 0);
    engine = engines[0];
    dpg_engine_free(engines[1], 5000);
    end();
    lose_all();
}

TEST("saves what is under way when its host finishes, and waits for no answer when it does not")
{
    for (int helped = 0; helped < 2; helped++) {
        dpg_credential *person;
        int64_t begun;

        begin();
        person = person_of(engine);
        CHECK_INT(status_within(engine, NULL, begin_sign_in(person)), 200);
        web_hold_exchanges(server);
        get_as(person, "/me");
        while (!web_has_seen(server, "/auth/token", 1)) look(engine, 5);
        CHECK(dpg_engine_is_holding(engine));
        CHECK(kept.owner[0]);
        web_release(server);
        begun = dpg_engine_now_ms(engine);
        while (helped && dpg_engine_finish(engine, 20000) && dpg_engine_now_ms(engine) < begun + 20000) {
            dpg_note note;

            dpg_engine_next(engine, &note);
            if (note.type == DPG_NOTE_STORE) serve(engine, note.asked);
        }
        CHECK_INT(kept.owner[0] == 0, helped);
        dpg_credential_free(person);
        dpg_engine_free(engine, 20000);
        engine = NULL;
        while (web_number(server, &w->exchanges) < 1) /* nobody has waited for its answer: it may still be at it */
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        CHECK_INT(web_number(server, &w->exchanges), 1);
        web_free(server);
        world_free(w);
        lose_all();
    }
}

CHECK_MAIN()
