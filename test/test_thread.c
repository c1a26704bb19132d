/*
 * An engine with a thread of its own: what a host may do while it turns, and what it is told. How it ends is in
 * test_thread_end.c, what wakes a host elsewhere in test_wake.c.
 */
#include "engine_internal.h"
#include "thread_kit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* --- calls ---------------------------------------------------------------------------------------------------------------- */

TEST("answers thousands of calls that are started while it turns")
{
    int n = times("THREAD_CALLS", 3000), ended = 0, started = 0;

    begin();
    CHECK(dpg_engine_is_threaded(engine));
    while (ended < n && !check_faults) {
        dpg_completion done;
        dpg_note note;

        for (; started < n && started - ended < 64; started++) get("/me");
        note = next_note();
        REQUIRE(note.type == DPG_NOTE_DONE && dpg_engine_take(engine, note.id, &done, NULL) == DPG_OK);
        if (done.status != 200) CHECK_FAIL("%s: %s", done.error.code, done.error.message);
        dpg_completion_clear(&done);
        ended++;
    }
    CHECK_INT(dpg_engine_counts(engine).calls, 0);
    CHECK_INT(dpg_engine_counts(engine).untaken, 0);
    end();
}

/* Its notes are taken out, and what has ended is abandoned. */
static void forget_notes(void)
{
    dpg_note note;

    for (dpg_engine_next(engine, &note); note.type; dpg_engine_next(engine, &note))
        if (note.type == DPG_NOTE_DONE) dpg_engine_abandon(engine, note.id);
}

TEST("cancels, abandons and takes whatever is under way, ended or gone, and loses nothing")
{
    int n = times("THREAD_CALLS", 3000);
    uint64_t x = 88172645463325252u;

    begin();
    for (int i = 0; i < n; i++) {
        dpg_id id = get(i % 7 ? "/me" : "/hold");
        dpg_completion done;

        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (x % 5 == 0) dpg_engine_wait(engine, (int64_t)(x >> 8) % 2, NULL);
        if (x % 11 == 0) forget_notes();
        if (x % 3 == 0 || i % 7 == 0) dpg_engine_cancel(engine, id);
        if (x % 4 == 0) dpg_engine_cancel(engine, id - 3);
        if (x % 2) dpg_engine_abandon(engine, id);
        else if (dpg_engine_take(engine, id, &done, NULL) == DPG_OK) dpg_completion_clear(&done);
    }
    for (; dpg_engine_counts(engine).calls; a_moment()) forget_notes();
    forget_notes();
    CHECK_INT(dpg_engine_counts(engine).untaken, 0);
    CHECK_INT(dpg_engine_counts(engine).notes, 0);
    end();
}

TEST("takes large answers back from a host that is not to be held up, at its end too")
{
    begin();
    for (int i = 0; i < 20; i++) {
        dpg_id id = get(i % 2 ? "/me" : "/big/300000");
        dpg_completion done;
        dpg_note note;

        do note = next_note();
        while (note.type != DPG_NOTE_DONE);
        REQUIRE(dpg_engine_take(engine, id, &done, NULL) == DPG_OK);
        CHECK_INT(done.status, 200);
        CHECK(i % 2 || done.body.len == 300000);
        dpg_engine_dispose(engine, &done);
        CHECK_NULL(done.owner);
        dpg_engine_dispose(engine, &done); /* twice is fine */
    }
    end();
}

TEST("tells of a cancelled call at once, and not when its connection next has something to say")
{
    dpg_id id;
    int64_t begun;

    begin();
    id = get("/hold");
    CHECK(web_saw(server, "/hold", 1));
    begun = now_ms();
    dpg_engine_cancel(engine, id);
    expect_error(id, "cancelled");
    CHECK(now_ms() - begun < 5000);
    end();
}

TEST("waits no longer than it is asked to, and not at all when there is something")
{
    dpg_spec spec = DPG_SPEC_INIT;
    int64_t begun;
    dpg_id id;

    begin();
    begun = now_ms();
    CHECK(dpg_engine_wait(engine, 50, NULL) == DPG_OK);
    CHECK(now_ms() - begun >= 49 && now_ms() - begun < 5000);
    spec.timer_ms = 20;
    id = start(&spec);
    begun = now_ms();
    while (dpg_engine_counts(engine).notes == 0) CHECK(dpg_engine_wait(engine, 30000, NULL) == DPG_OK);
    CHECK(now_ms() - begun < 10000);
    begun = now_ms();
    CHECK(dpg_engine_wait(engine, 30000, NULL) == DPG_OK);
    CHECK(now_ms() - begun < 10000);
    dpg_engine_abandon(engine, id);
    end();
}

TEST("goes on with what was begun before it had a thread")
{
    dpg_engine_options options = {.proxy_set = true};
    dpg_error err = DPG_ERROR_INIT;
    dpg_id early, late;

    w = world_new();
    server = web_new(w);
    REQUIRE(dpg_engine_new(&options, &engine, &err) == DPG_OK);
    CHECK(!dpg_engine_is_threaded(engine));
    early = get("/hold");
    while (dpg_engine_counts(engine).transfers == 0) CHECK(dpg_engine_wait(engine, 1, NULL) == DPG_OK);
    late = get("/me");
    CHECK(dpg_engine_thread(engine, NULL, &err) == DPG_OK);
    CHECK(dpg_engine_thread(engine, NULL, &err) == DPG_OK); /* it has one */
    CHECK_INT(status_of(late), 200);
    web_release(server);
    CHECK_INT(status_of(early), 200);
    end();
}

TEST("refuses in start() what a stepped one refuses, and keeps nothing of it")
{
    char url[200];
    dpg_spec spec;
    dpg_error err = DPG_ERROR_INIT;
    dpg_header header = {DPG_LIT("A"), DPG_LIT("b\r\nc")};
    dpg_id id = 0;

    begin();
    spec = spec_of("GET", "/me", url);
    spec.headers = &header;
    spec.header_count = 1;
    CHECK(dpg_engine_start(engine, &spec, &id, &err) == DPG_E_INVALID);
    CHECK_INT(id, 0);
    CHECK_INT(dpg_engine_counts(engine).calls, 0);
    end();
}

/* --- signals ---------------------------------------------------------------------------------------------------------------- */

static atomic_int signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

TEST("never takes a signal of its host")
{
    sigset_t one, before, pending;

    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    signal(SIGUSR1, count_signal);
    pthread_sigmask(SIG_BLOCK, &one, &before); /* for the server's threads */
    w = world_new();
    server = web_new(w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    engine = new_engine(NULL);
    CHECK_INT(status_of(get("/me")), 200);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    kill(getpid(), SIGUSR1); /* to whichever thread does not block it */
    CHECK_INT(status_of(get("/me")), 200);
    CHECK_INT(atomic_load(&signals), 0);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1) == 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK_INT(atomic_load(&signals), 1); /* it has waited for us */
    signal(SIGUSR1, SIG_DFL);
    end();
}

/* --- bytes on their way ------------------------------------------------------------------------------------------------------- */

static bool is_alphabet(const char *bytes, size_t len, size_t from)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != (char)('a' + (from + i) % (26 * 1024) % 26)) return false;
    return true;
}

TEST("hands chunks to a slow reader, as fast as he takes them, and no more than the window waits")
{
    char url[200];
    dpg_spec spec;
    dpg_chunk chunk;
    dpg_id id;
    size_t got = 0, whole = 5000000;
    uint64_t x = 7;
    int64_t most = 0;

    begin();
    spec = spec_of("GET", "/big/5000000", url);
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS, .window = 65536};
    id = start(&spec);
    for (;;) {
        dpg_progress p;

        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        REQUIRE(dpg_engine_progress(engine, id, &p) == DPG_OK);
        if (p.received - (int64_t)got > most) most = p.received - (int64_t)got;
        /* a look first, as the binding has it: what it shows must still be there afterwards */
        REQUIRE(dpg_engine_read(engine, id, 0, &chunk, NULL) == DPG_OK);
        if (chunk.state == DPG_READ_END) break;
        if (chunk.state == DPG_READ_LATER) {
            next_note();
            continue;
        }
        CHECK_INT(chunk.status, 200);
        if (x % 4 == 0) dpg_engine_wait(engine, 0, NULL);
        if (!is_alphabet(chunk.bytes.ptr, chunk.bytes.len, got)) CHECK_FAIL("other bytes after %zu", got);
        REQUIRE(dpg_engine_read(engine, id, x % 50000 + 1, &chunk, NULL) == DPG_OK);
        got += chunk.bytes.len;
        if (check_faults) break;
    }
    CHECK_INT(got, whole);
    CHECK(most <= 65536);
    CHECK_INT(status_of(id), 200);
    end();
}

TEST("shows the head of an answer as soon as it is here, and how far it has come")
{
    char url[200], path[] = "/tmp/dpg-thread-XXXXXX";
    dpg_spec spec;
    dpg_chunk chunk;
    dpg_progress p = {0};
    dpg_id id;
    int fd = mkstemp(path);

    begin();
    REQUIRE(fd >= 0);
    close(fd);
    spec = spec_of("GET", "/big/3000000", url);
    spec.sink = (dpg_sink){.type = DPG_SINK_CHUNKS, .window = 65536};
    id = start(&spec);
    do {
        REQUIRE(dpg_engine_read(engine, id, 0, &chunk, NULL) == DPG_OK);
        if (!chunk.status) REQUIRE(next_note().type == DPG_NOTE_DATA);
    } while (!chunk.status);
    CHECK_INT(chunk.status, 200);
    CHECK_INT(chunk.header_count, 2);
    CHECK_MEM(chunk.headers[0].value.ptr, chunk.headers[0].value.len, "x/y", 3);
    for (; p.received == 0; a_moment()) REQUIRE(dpg_engine_progress(engine, id, &p) == DPG_OK);
    CHECK_INT(p.to_receive, 3000000);
    dpg_engine_abandon(engine, id); /* nobody reads it any more, so it ends */
    spec.sink = (dpg_sink){.type = DPG_SINK_FILE, .path = dpg_cstr(path)};
    id = start(&spec);
    CHECK_INT(status_of(id), 200);
    while (dpg_engine_counts(engine).calls) a_moment();
    unlink(path);
    end();
}

TEST("takes what it is fed, in whatever pieces and at whatever pace")
{
    static char bytes[400000];
    size_t whole = 6000000, fed = 0, taken;
    dpg_part part = {.name = DPG_LIT("file"), .fed = true, .size = (int64_t)whole};
    char url[200];
    dpg_spec spec;
    dpg_completion done;
    dpg_id id;
    uint64_t x = 99;

    begin();
    spec = spec_of("POST", "/sink", url);
    spec.parts = &part;
    spec.part_count = 1;
    id = start(&spec);
    while (fed < whole && !check_faults) {
        size_t n;

        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        n = x % sizeof bytes < whole - fed ? x % sizeof bytes : whole - fed;
        REQUIRE(dpg_engine_feed(engine, id, dpg_str_of(bytes, n), &taken, NULL) == DPG_OK);
        fed += taken;
        if (taken < n) CHECK_INT(next_note().type, DPG_NOTE_WANT);
        else if (x % 3 == 0) dpg_engine_wait(engine, 1, NULL);
    }
    done = take(id);
    CHECK_INT(done.status, 200);
    CHECK(done.body.len >= 7 && atoi(done.body.ptr) > (int)whole); /* and the form around it */
    dpg_completion_clear(&done);
    end();
}

/* --- persons ------------------------------------------------------------------------------------------------------------------ */

TEST("signs in, and says of the person what is so by the time that it says so")
{
    dpg_store *store = NULL;
    dpg_credential *person;
    dpg_credential_info info, later;

    begin();
    REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
    person = new_person(engine, store);
    info = dpg_credential_get_info(person);
    CHECK_STR(info.state, "empty");
    dpg_credential_info_clear(&info);
    for (int i = 0; i < times("THREAD_ROUNDS", 200); i++) {
        CHECK_INT(sign_in(person), 200);
        info = dpg_credential_get_info(person); /* at once, while the walk's end is still being dealt with */
        CHECK_STR(info.accounts_json, "[{\"uuid\":\"a\",\"extra\":[1]},{\"uuid\":\"b\"}]");
        CHECK_INT(info.generation, i + 1);
        dpg_credential_info_clear(&info);
        if (check_faults) break;
    }
    info = dpg_credential_get_info(person);
    CHECK_INT(status_of(get_as(person, "/me")), 200);
    later = dpg_credential_get_info(person);
    CHECK(later.generation > info.generation);
    CHECK_STR(info.person_json, "{\"name\":\"Jane\"}"); /* as it was, whatever has become of it */
    dpg_credential_info_clear(&info);
    dpg_credential_info_clear(&later);
    dpg_credential_free(person);
    while (dpg_engine_counts(engine).credentials) a_moment();
    dpg_store_free(store);
    end();
}

TEST("presents each token once, with two engines on two threads and one store in memory")
{
    dpg_store *store = NULL;
    dpg_engine *engines[2];
    dpg_credential *people[2];

    begin();
    web_set(server, &w->life_s, 1);
    REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
    engines[0] = engine;
    engines[1] = new_engine(NULL);
    for (int i = 0; i < 2; i++) people[i] = new_person(engines[i], store);
    CHECK_INT(sign_in(people[0]), 200);
    for (int round = 0; round < times("THREAD_ROUNDS", 200) && !check_faults; round++) {
        dpg_id ids[2];

        for (int i = 0; i < 2; i++) {
            engine = engines[i];
            ids[i] = get_as(people[i], "/me");
        }
        for (int i = 0; i < 2; i++) {
            engine = engines[i];
            CHECK_INT(status_of(ids[i]), 200);
        }
    }
    dpg_engine_free(engines[1], 5000);
    engine = engines[0];
    dpg_store_free(store);
    end();
}

/* Makes and frees persons and service tokens, and calls with them, while the engine frees those of before. */
TEST("makes and frees credentials while the thread uses them")
{
    dpg_store *stores[3];
    dpg_id last = 0;

    begin();
    for (int i = 0; i < 3; i++) REQUIRE(dpg_store_memory_new(&stores[i], NULL) == DPG_OK);
    for (int i = 0; i < times("THREAD_ROUNDS", 200) * 3 && !check_faults; i++) {
        dpg_credential *person = new_person(engine, stores[i % 3]), *service = NULL;

        CHECK(dpg_credential_service(engine, dpg_cstr(web_base(server)), DPG_LIT("token"), &service, NULL) == DPG_OK);
        last = get_as(i % 2 ? person : service, "/me");
        dpg_credential_free(person);
        dpg_credential_free(service);
        if (i % 5) {
            dpg_engine_abandon(engine, last);
        } else {
            dpg_completion done = take(last);

            if (i % 2) CHECK_STR(done.error.code, "sign_in_required");
            else CHECK_INT(done.status, 200);
            dpg_completion_clear(&done);
        }
    }
    for (; dpg_engine_counts(engine).calls || dpg_engine_counts(engine).credentials; a_moment()) forget_notes();
    for (int i = 0; i < 3; i++) dpg_store_free(stores[i]);
    end();
}

static int64_t rotations_of(const dpg_credential *person)
{
    dpg_credential_info info = dpg_credential_get_info(person);
    int64_t rotations = info.rotations;

    dpg_credential_info_clear(&info);
    return rotations;
}

/* --- a transport that does as it is told: time that jumps, a libcurl that can't go on --------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t ahead_ms, longest_ms; /* how far the clock has jumped; the longest sleep that was asked for */
    int steps, woken, between;
    bool broken, beginning, alone, slept_over; /* alone: nobody but the thread itself starts calls */
} played = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static dpg_status stub_step(void *self, int64_t timeout_ms, dpg_error *err)
{
    bool broken, waits;

    (void)self;
    dpg_engine_lock(engine);
    waits = !dpg_list_empty(&engine->inbox);
    dpg_engine_unlock(engine);
    pthread_mutex_lock(&played.lock);
    played.steps++;
    if (waits && timeout_ms > 0 && played.alone) played.slept_over = true;
    if (timeout_ms > played.longest_ms) played.longest_ms = timeout_ms;
    while (timeout_ms > 0 && !played.woken && !played.broken) pthread_cond_wait(&played.changed, &played.lock);
    played.woken = 0;
    broken = played.broken;
    pthread_mutex_unlock(&played.lock);
    return broken ? dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_NETWORK, "libcurl_refused", "it can't go on") : DPG_OK;
}

static void stub_wake(void *self)
{
    (void)self;
    pthread_mutex_lock(&played.lock);
    played.woken = 1;
    pthread_cond_broadcast(&played.changed);
    pthread_mutex_unlock(&played.lock);
}

static void stub_break(bool broken)
{
    pthread_mutex_lock(&played.lock);
    played.broken = broken;
    pthread_cond_broadcast(&played.changed);
    pthread_mutex_unlock(&played.lock);
}

static dpg_id timer(int64_t ms);

/* While `between` counts down, a call is started each time that the thread looks at the clock: so in all its moments. */
static int64_t stub_clock(void *self)
{
    int64_t ahead;
    bool begins;

    (void)self;
    pthread_mutex_lock(&played.lock);
    ahead = played.ahead_ms;
    begins = played.between > 0 && !played.beginning; /* starting one looks at the clock, too */
    if (begins) played.between--;
    played.beginning = begins || played.beginning;
    pthread_mutex_unlock(&played.lock);
    if (begins) {
        timer(1);
        pthread_mutex_lock(&played.lock);
        played.beginning = false;
        pthread_mutex_unlock(&played.lock);
    }
    return now_ms() + ahead;
}

static bool stub_next(void *self, dpg_response *out)
{
    (void)self, (void)out;
    return false;
}

static void stub_free(void *self)
{
    (void)self;
}

static void begin_stub(void)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_drivers drivers = {.clock = dpg_clock_os, .random = dpg_random_os};

    played.steps = played.woken = 0;
    played.ahead_ms = played.longest_ms = 0;
    drivers.clock.boot_ms = stub_clock;
    drivers.transport = (dpg_transport){
        .step = stub_step, .next = stub_next, .wakeup = stub_wake, .free = stub_free, .forget = stub_free};
    REQUIRE(dpg_engine_new_with(&options, &drivers, &engine, NULL) == DPG_OK);
    REQUIRE(dpg_engine_thread(engine, NULL, NULL) == DPG_OK);
}

/* An engine on libcurl whose clock jumps. */
static void begin_ahead(void)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_transport_options how = {.proxy_set = true};
    dpg_drivers drivers = {.clock = dpg_clock_os, .random = dpg_random_os};

    w = world_new();
    server = web_new(w);
    played.ahead_ms = 0;
    drivers.clock.boot_ms = stub_clock;
    REQUIRE(dpg_transport_curl_new(&how, &drivers.transport, NULL) == DPG_OK);
    REQUIRE(dpg_engine_new_with(&options, &drivers, &engine, NULL) == DPG_OK);
    REQUIRE(dpg_engine_thread(engine, NULL, NULL) == DPG_OK);
}

TEST("refreshes in the background: a call within the margin goes on with the token that lives")
{
    dpg_store *store = NULL;
    dpg_credential *person;
    int64_t until;

    begin_ahead();
    REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
    person = new_person(engine, store);
    CHECK_INT(sign_in(person), 200);
    CHECK_INT(status_of(get_as(person, "/me")), 200);
    web_hold_exchanges(server);
    pthread_mutex_lock(&played.lock);
    played.ahead_ms = (900 - 40) * 1000; /* the margin begins 45 to 75 s before the token's end */
    pthread_mutex_unlock(&played.lock);
    CHECK_INT(status_of(get_as(person, "/me")), 200);
    CHECK(web_saw(server, "/auth/token", 2));
    CHECK_INT(status_of(get_as(person, "/me")), 200); /* calls go on while the exchange is out */
    CHECK_INT(web_number(server, &w->exchanges), 1);  /* it is held */
    web_release(server);
    until = now_ms() + 20000;
    for (; rotations_of(person) < 2 && now_ms() < until; a_moment()) forget_notes();
    CHECK_INT(rotations_of(person), 2);
    CHECK_INT(status_of(get_as(person, "/me")), 200);
    dpg_credential_free(person);
    dpg_store_free(store);
    end();
}

static int64_t longest_sleep(void)
{
    int64_t longest;

    pthread_mutex_lock(&played.lock);
    longest = played.longest_ms;
    pthread_mutex_unlock(&played.lock);
    return longest;
}

static dpg_id timer(int64_t ms)
{
    dpg_spec spec = DPG_SPEC_INIT;

    spec.timer_ms = ms;
    return start(&spec);
}

TEST("looks at the clock every few seconds, and after hours of suspend does once what has become late")
{
    dpg_id ids[50];
    int ended = 0, steps;
    dpg_note note;

    begin_stub();
    for (int i = 0; i < 50; i++) ids[i] = timer(3600000 + i * 1000);
    while (dpg_engine_counts(engine).timers < 50) a_moment();
    pthread_mutex_lock(&played.lock);
    played.longest_ms = 0; /* there was no timer at first */
    pthread_mutex_unlock(&played.lock);
    for (; longest_sleep() == 0; a_moment()) stub_wake(NULL);
    CHECK(longest_sleep() <= 10000);
    pthread_mutex_lock(&played.lock);
    played.ahead_ms = 8 * 3600000; /* the lid was shut */
    steps = played.steps;
    pthread_mutex_unlock(&played.lock);
    stub_wake(NULL); /* those seconds have passed */
    while (ended < 50 && (note = next_note()).type == DPG_NOTE_DONE) ended++;
    CHECK_INT(ended, 50);
    pthread_mutex_lock(&played.lock);
    CHECK(played.steps - steps < 10); /* no storm */
    pthread_mutex_unlock(&played.lock);
    for (int i = 0; i < 50; i++) dpg_engine_abandon(engine, ids[i]);
    dpg_engine_free(engine, 0);
}

TEST("does not sleep over a call that comes in at the very moment that it lies down")
{
    int n = 20, ended = 0;
    dpg_note note;

    begin_stub();
    timer(3600000); /* so that it looks at the clock before it sleeps */
    while (dpg_engine_counts(engine).timers < 1) a_moment();
    pthread_mutex_lock(&played.lock);
    played.between = n;
    played.alone = true;
    pthread_mutex_unlock(&played.lock);
    stub_wake(NULL);
    while (ended < n) { /* each tick lets one sleep pass */
        stub_wake(NULL);
        a_moment();
        dpg_engine_next(engine, &note);
        ended += note.type == DPG_NOTE_DONE;
    }
    dpg_engine_free(engine, 0);
    CHECK(!played.slept_over);
    played.alone = false;
}

TEST("says so when its transport can't go on, does not spin, and recovers when that does")
{
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id;
    int64_t begun;
    int steps;

    begin_stub();
    stub_break(true);
    while (dpg_engine_wait(engine, 30000, &err) == DPG_OK) continue;
    CHECK_STR(err.code, "libcurl_refused");
    pthread_mutex_lock(&played.lock);
    steps = played.steps;
    pthread_mutex_unlock(&played.lock);
    begun = now_ms();
    dpg_engine_counts(engine);
    nanosleep(&(struct timespec){0, 250000000}, NULL);
    pthread_mutex_lock(&played.lock);
    CHECK(played.steps - steps <= 2 + (now_ms() - begun) / 100); /* it pauses for so long after each */
    pthread_mutex_unlock(&played.lock);
    stub_break(false);
    id = timer(1);
    stub_wake(NULL);
    for (; dpg_engine_counts(engine).notes == 0; a_moment()) stub_wake(NULL);
    CHECK(dpg_engine_wait(engine, 0, NULL) == DPG_OK);
    dpg_engine_abandon(engine, id);
    dpg_engine_free(engine, 0);
}

CHECK_MAIN()
