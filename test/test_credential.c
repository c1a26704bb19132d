/*
 * credential.c, alone: the walk step by step, with a store and a server that answer when the test says so. What needs an
 * engine, a clock and a server is in test_engine.c.
 */
#include "check.h"
#include "credential.h"

typedef struct rig {
    dpg_cred c;
    dpg_moment now;
    dpg_action action; /* the last one that isn't an event */
    char events[400];
    char stored[4000]; /* the store's bytes */
    size_t stored_len;
} rig;

static char origin[] = "https://api.test:443";

static void put_session(rig *r, const char *token, int64_t generation, const char *access)
{
    dpg_record record = {.origin = origin, .generation = generation};
    dpg_access times = {.got_boot_ms = r->now.boot_ms, .got_unix_ms = r->now.unix_ms, .life_ms = 900000};
    dpg_buf bytes;

    snprintf(record.family, sizeof record.family, "family");
    snprintf(times.boot_id, sizeof times.boot_id, "boot-1");
    record.refresh_token = dpg_strndup(dpg_cstr(token));
    record.origin = dpg_strndup(dpg_cstr(origin));
    if (access) CHECK(dpg_record_put_access(&record, DPG_LIT("a"), dpg_cstr(access), &times));
    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    CHECK(dpg_record_write(&record, &bytes));
    CHECK(bytes.len < sizeof r->stored);
    memcpy(r->stored, bytes.ptr, bytes.len);
    r->stored_len = bytes.len;
    dpg_buf_clear(&bytes);
    dpg_record_clear(&record);
}

static void begin(rig *r, bool no_replay)
{
    memset(r, 0, sizeof *r);
    r->now = (dpg_moment){100000, INT64_C(1795000000000), "boot-1", 12345};
    CHECK(dpg_cred_init(&r->c, dpg_cstr(origin), no_replay));
    put_session(r, "rt-1", 1, NULL);
}

static void end(rig *r)
{
    CHECK(dpg_list_empty(&r->c.waiters) && dpg_list_empty(&r->c.jobs));
    dpg_cred_clear(&r->c);
}

/* What it asks for next: 'L'ock, loa'd', 'm'ark, 's'ave, 'u'nlock, e'x'change; '-': nothing. Events are noted. */
static char next(rig *r)
{
    while (dpg_cred_next(&r->c, &r->action)) {
        if (r->action.type == DPG_ACT_EVENT) {
            strcat(r->events, dpg_event_name(r->action.event));
            strcat(r->events, " ");
            continue;
        }
        if (r->action.type == DPG_ACT_EXCHANGE) return 'x';
        switch (r->action.store.op) {
        case DPG_STORE_LOCK: return 'L';
        case DPG_STORE_LOAD: return 'd';
        case DPG_STORE_SAVE: return r->action.store.reserve ? 'm' : 's';
        case DPG_STORE_UNLOCK: return 'u';
        }
    }
    return '-';
}

static void reply(rig *r, dpg_store_outcome outcome)
{
    dpg_store_reply answer;

    memset(&answer, 0, sizeof answer);
    answer.outcome = outcome;
    if (outcome == DPG_STORE_FAILED) dpg_fail(&answer.error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_io", "no");
    if (outcome == DPG_STORE_DONE && r->action.store.op == DPG_STORE_LOAD && r->stored_len) {
        answer.found = true;
        dpg_buf_init_secret(&answer.bytes, DPG_RECORD_MAX);
        CHECK(dpg_buf_put(&answer.bytes, r->stored, r->stored_len));
    }
    if (outcome == DPG_STORE_DONE && r->action.store.op == DPG_STORE_SAVE) {
        CHECK(r->action.store.had == (r->stored_len > 0));
        CHECK_MEM(r->action.store.expected.ptr, r->action.store.expected.len, r->stored, r->stored_len);
        CHECK(r->action.store.bytes.len < sizeof r->stored);
        memcpy(r->stored, r->action.store.bytes.ptr, r->action.store.bytes.len);
        r->stored_len = r->action.store.bytes.len;
    }
    dpg_cred_store_replied(&r->c, &answer, &r->now);
}

/* Goes on, all well, as long as what is asked stands in `steps`; checks that it is just that. */
static void walk(rig *r, const char *steps)
{
    for (; *steps; steps++) {
        char asked = next(r);

        if (asked != *steps) {
            CHECK_FAIL("asks for %c, not %s", asked, steps);
            return;
        }
        if (asked != 'x' && asked != '-') reply(r, DPG_STORE_DONE);
    }
}

static void put(dpg_buf *b, const char *text)
{
    dpg_buf_init_secret(b, 1000);
    CHECK(dpg_buf_puts(b, text));
}

static void tokens(rig *r, const char *access, const char *refresh)
{
    dpg_exchange x = {.verdict = DPG_VERDICT_TOKENS, .life_ms = 900000, .retry_after_ms = -1};

    x.begun_boot_ms = r->now.boot_ms;
    x.begun_unix_ms = r->now.unix_ms;
    put(&x.access_token, access);
    put(&x.refresh_token, refresh);
    dpg_cred_exchanged(&r->c, &x, &r->now);
}

static void verdict(rig *r, dpg_verdict v, int status, int64_t retry_after_ms)
{
    dpg_exchange x = {.verdict = v, .retry_after_ms = retry_after_ms};

    dpg_fail(&x.error, DPG_E_SYSTEM, DPG_KIND_API, "http_error", "%d", status);
    x.error.http_status = status;
    dpg_cred_exchanged(&r->c, &x, &r->now);
}

static void later(rig *r, int64_t ms)
{
    r->now.boot_ms += ms;
    r->now.unix_ms += ms;
    r->now.random = r->now.random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    dpg_cred_timer(&r->c, &r->now);
}

/* What the flow does with those who have their verdict. */
static void collect(rig *r)
{
    dpg_list *node;

    while ((node = dpg_list_first(&r->c.settled)) != NULL) dpg_list_remove(node);
}

static dpg_waiter *want(rig *r, dpg_waiter *w, const char *account, uint64_t rejected)
{
    collect(r);
    memset(w, 0, sizeof *w);
    w->account = dpg_cstr(account);
    w->rejected = rejected;
    w->deadline_boot_ms = INT64_MAX;
    dpg_cred_want(&r->c, w, &r->now);
    return w;
}

static void start(rig *r, dpg_job *job, dpg_job_type type, const dpg_signed_in *s)
{
    memset(job, 0, sizeof *job);
    job->type = type;
    job->signed_in = s;
    dpg_cred_start_job(&r->c, job, &r->now);
}

static void check_bearer(rig *r, const dpg_waiter *w, const char *token)
{
    uint64_t serial = 0;
    bool lives = false;
    dpg_str bearer = dpg_cred_bearer(&r->c, w->account, &r->now, &serial, &lives);

    CHECK_INT(w->verdict, DPG_BEARER);
    CHECK(serial == w->serial);
    CHECK_MEM(bearer.ptr, bearer.len, token, strlen(token));
}

static dpg_record stored(rig *r)
{
    dpg_record record;

    memset(&record, 0, sizeof record);
    CHECK(dpg_record_read(dpg_str_of(r->stored, r->stored_len), &record) == DPG_OK);
    return record;
}

static void store(rig *r, dpg_record *record) /* takes it */
{
    dpg_buf bytes;

    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    CHECK(dpg_record_write(record, &bytes) && bytes.len < sizeof r->stored);
    memcpy(r->stored, bytes.ptr, bytes.len);
    r->stored_len = bytes.len;
    dpg_buf_clear(&bytes);
    dpg_record_clear(record);
}

static bool is_marked(rig *r)
{
    dpg_record record = stored(r);
    bool marked = record.in_flight;

    dpg_record_clear(&record);
    return marked;
}

/* --- the walk ------------------------------------------------------------------------------------------------------------ */

TEST("asks for one thing at a time, in this order, and presents the stored token")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    CHECK(is_marked(&r));
    CHECK_MEM(r.action.refresh_token.ptr, r.action.refresh_token.len, "rt-1", 4);
    CHECK_MEM(r.action.account.ptr, r.action.account.len, "a", 1);
    CHECK_INT(next(&r), '-');
    tokens(&r, "at-1", "rt-2");
    CHECK_INT(w.verdict, DPG_WAITING);
    walk(&r, "s");
    CHECK(!is_marked(&r));
    CHECK_INT(w.verdict, DPG_WAITING); /* saved, and still the lock is not back */
    walk(&r, "u-");
    check_bearer(&r, &w, "at-1");
    CHECK_INT(r.c.state, DPG_CRED_IDLE);
    CHECK_STR(r.events, "rotated ");
    end(&r);
}

TEST("goes on for the session's sake when all who waited have left")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    dpg_cred_leave(&r.c, &w);
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    want(&r, &w, "a", 0);
    check_bearer(&r, &w, "at-1");
    end(&r);
}

TEST("gives the lock back when nobody waits any more before the mark")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    CHECK_INT(next(&r), 'L');
    dpg_cred_leave(&r.c, &w);
    reply(&r, DPG_STORE_DONE);
    walk(&r, "du-");
    end(&r);
}

TEST("asks for the lock no more when nobody waits for it")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    CHECK_INT(next(&r), 'L');
    reply(&r, DPG_STORE_BUSY);
    CHECK_INT(r.c.state, DPG_CRED_LOCKING);
    later(&r, 100);
    CHECK_INT(next(&r), 'L');
    dpg_cred_leave(&r.c, &w);
    reply(&r, DPG_STORE_BUSY);
    CHECK_INT(r.c.state, DPG_CRED_IDLE);
    later(&r, 100);
    CHECK_INT(next(&r), '-');
    end(&r);
}

TEST("asks again for a lock that is taken, until a sibling's exchange must be over")
{
    rig r;
    dpg_waiter w;
    int asked = 0;

    begin(&r, false);
    want(&r, &w, "a", 0);
    while (w.verdict == DPG_WAITING && asked < 100000) {
        char op = next(&r);

        if (op == 'L') {
            asked++;
            reply(&r, DPG_STORE_BUSY);
        }
        later(&r, 1);
    }
    CHECK(r.now.boot_ms - 100000 >= 75000 && r.now.boot_ms - 100000 < 76000);
    CHECK_INT(w.verdict, DPG_NO_BEARER);
    CHECK_STR(w.error.code, "store_busy");
    end(&r);
}

TEST("takes the mark back in memory when it could not be written")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 'm');
    reply(&r, DPG_STORE_FAILED);
    CHECK_INT(w.verdict, DPG_NO_BEARER);
    CHECK(!r.c.record.in_flight);
    walk(&r, "u-");
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_REFUSED, 401, -1);
    walk(&r, "su-");
    CHECK_STR(w.error.reason, "refused"); /* and not that an answer was lost */
    end(&r);
}

TEST("loads again when the record is another than the one to be marked")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 'm');
    put_session(&r, "rt-7", 7, "at-7");
    reply(&r, DPG_STORE_CHANGED);
    walk(&r, "du-");
    check_bearer(&r, &w, "at-7");
    end(&r);
}

TEST("saves its successor over an older record, and lets a newer one stand")
{
    rig r;
    dpg_waiter w;
    dpg_record record;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    CHECK_INT(next(&r), 's');
    put_session(&r, "rt-0", 0, NULL); /* somebody restored a backup in the middle of it */
    reply(&r, DPG_STORE_CHANGED);
    walk(&r, "dsu-");
    check_bearer(&r, &w, "at-1");
    record = stored(&r);
    CHECK_STR(record.refresh_token, "rt-2");
    dpg_record_clear(&record);
    end(&r);

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    CHECK_INT(next(&r), 's');
    put_session(&r, "rt-9", 9, "at-9");
    reply(&r, DPG_STORE_CHANGED);
    walk(&r, "du-");
    check_bearer(&r, &w, "at-9");
    end(&r);
}

TEST("looks again at what is stored before it saves over it, when the look itself failed")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    CHECK_INT(next(&r), 's');
    put_session(&r, "rt-0", 0, NULL);
    reply(&r, DPG_STORE_CHANGED);
    CHECK_INT(next(&r), 'd');
    reply(&r, DPG_STORE_FAILED);
    CHECK_INT(next(&r), '-');
    CHECK_INT(r.c.state, DPG_CRED_SAVE_AGAIN);
    CHECK(dpg_cred_is_locked(&r.c));
    later(&r, 6000);
    walk(&r, "dsu-");
    end(&r);
}

TEST("puts the successor over a record that was damaged meanwhile: it is the one copy")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    CHECK_INT(next(&r), 's');
    strcpy(r.stored, "rubbish");
    r.stored_len = 7;
    reply(&r, DPG_STORE_CHANGED);
    walk(&r, "d-");
    later(&r, 6000);
    walk(&r, "su-");
    CHECK_INT(r.c.record.generation, 2);
    end(&r);
}

TEST("saves again and again with growing pauses, for as long as it takes")
{
    rig r;
    dpg_waiter w;
    int64_t pause = 0, longest = 0;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    for (int i = 0; i < 200; i++) {
        CHECK_INT(next(&r), 's');
        reply(&r, DPG_STORE_FAILED);
        CHECK_INT(next(&r), '-');
        pause = r.c.timer_boot_ms - r.now.boot_ms;
        CHECK(pause > 0 && pause <= 5100);
        longest = pause > longest ? pause : longest;
        later(&r, pause);
    }
    CHECK(longest > 2000);
    CHECK_STR(r.events, "storage ");
    CHECK_INT(w.verdict, DPG_NO_BEARER);
    walk(&r, "su-");
    CHECK_INT(r.c.rotations, 1);
    end(&r);
}

TEST("waits for no timer that is not due, and minds none that comes late")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_UNSENT, 0, -1);
    CHECK_INT(next(&r), '-');
    CHECK(r.c.timer_boot_ms < INT64_MAX);
    dpg_cred_timer(&r.c, &r.now); /* too early, unless it is due at once */
    if (r.c.timer_boot_ms > r.now.boot_ms) CHECK_INT(next(&r), '-');
    later(&r, 1000000);
    CHECK_INT(next(&r), 'x');
    later(&r, 0);
    CHECK_INT(next(&r), '-');
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    end(&r);
}

TEST("ignores an end of an exchange that it does not wait for")
{
    rig r;

    begin(&r, false);
    tokens(&r, "at-1", "rt-2");
    CHECK_INT(next(&r), '-');
    CHECK_INT(r.c.state, DPG_CRED_IDLE);
    end(&r);
}

TEST("keeps the same serial for the same token, so that a 401 to it is remembered over a load")
{
    rig r;
    dpg_waiter w;
    uint64_t serial;

    begin(&r, false);
    put_session(&r, "rt-1", 1, "at-1");
    want(&r, &w, "a", 0);
    walk(&r, "Ldu-");
    check_bearer(&r, &w, "at-1");
    serial = w.serial;
    want(&r, &w, "a", serial);
    walk(&r, "Ldu-"); /* it is young: no exchange */
    CHECK_INT(w.verdict, DPG_STANDS);
    later(&r, 60001);
    want(&r, &w, "a", serial);
    walk(&r, "Ldmx");
    tokens(&r, "at-2", "rt-2");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-2");
    CHECK(w.serial != serial);
    end(&r);
}

TEST("calls a token of short life young for that life alone")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    put_session(&r, "rt-1", 1, "at-1");
    want(&r, &w, "a", 0);
    walk(&r, "Ldu-");
    later(&r, 59000);
    want(&r, &w, "a", w.serial);
    walk(&r, "Ldu-");
    CHECK_INT(w.verdict, DPG_STANDS);
    end(&r);
}

TEST("never takes a token for a good one whose age was below zero once, whatever time it gets")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    put_session(&r, "rt-1", 1, "at-1");
    r.now.boot_ms -= 50000;
    r.now.unix_ms -= 50000;
    want(&r, &w, "b", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-b", "rt-2");
    walk(&r, "su-");
    later(&r, 60000);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-2", "rt-3");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-2");
    end(&r);
}

/* --- in doubt --------------------------------------------------------------------------------------------------------------- */

TEST("knows its own mark again when clearing it failed, and doubts nothing")
{
    rig r;
    dpg_waiter w;

    begin(&r, true);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_NOT_TAKEN, 400, -1);
    CHECK_INT(next(&r), 's');
    reply(&r, DPG_STORE_FAILED); /* the mark stays in the store */
    walk(&r, "u-");
    CHECK(is_marked(&r));
    later(&r, 5000);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx"); /* with no_replay a mark of somebody else's would be the end */
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    end(&r);
}

/* The store's answer to what it was asked is lost: `done` says whether it was done. */
static void unheard(rig *r, bool done)
{
    dpg_store_reply answer = {.outcome = DPG_STORE_FAILED, .unsure = true};

    if (done) {
        CHECK(r->action.store.bytes.len < sizeof r->stored);
        memcpy(r->stored, r->action.store.bytes.ptr, r->action.store.bytes.len);
        r->stored_len = r->action.store.bytes.len;
    }
    dpg_fail(&answer.error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_no_answer", "no answer");
    dpg_cred_store_replied(&r->c, &answer, &r->now);
}

TEST("knows its first mark again, of which it heard nothing, after a second one that was not made")
{
    rig r;
    dpg_waiter w;

    begin(&r, true);
    want(&r, &w, "a", 0);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 'm');
    unheard(&r, true);
    later(&r, 5000);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 'm');
    unheard(&r, false);
    walk(&r, "u-");
    CHECK_STR(w.error.code, "store_no_answer");
    CHECK(is_marked(&r));
    later(&r, 5000);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx"); /* with no_replay a mark that is taken for somebody else's would be the end */
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-1");
    end(&r);
}

TEST("looks whether a save of which it heard nothing was made, before it makes it again")
{
    for (int done = 0; done < 2; done++) {
        rig r;
        dpg_waiter w;

        begin(&r, false);
        want(&r, &w, "a", 0);
        walk(&r, "Ldmx");
        tokens(&r, "at-1", "rt-2");
        CHECK_INT(next(&r), 's');
        unheard(&r, done);
        CHECK_INT(next(&r), '-');
        later(&r, 6000);
        want(&r, &w, "a", 0);
        walk(&r, done ? "du-" : "dsu-");
        check_bearer(&r, &w, "at-1");
        end(&r);
    }
}

TEST("doubts a mark that it does not know, and one that it gave up on")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    for (int i = 0; i < 100 && w.verdict == DPG_WAITING; i++) {
        verdict(&r, DPG_VERDICT_IN_DOUBT, 502, -1);
        later(&r, 5000);
        next(&r);
    }
    CHECK_INT(w.verdict, DPG_NO_BEARER);
    CHECK_INT(r.action.store.op, DPG_STORE_UNLOCK);
    reply(&r, DPG_STORE_DONE);
    CHECK(is_marked(&r));
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_REFUSED, 401, -1);
    walk(&r, "su-");
    CHECK_STR(w.error.reason, "answer_lost");
    end(&r);
}

TEST("an exchange that never left leaves the doubt of the one before it as it was")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_IN_DOUBT, 0, -1);
    later(&r, 0);
    walk(&r, "x");
    for (int i = 0; i < 8; i++) { /* more often than one without a doubt would be sent */
        verdict(&r, DPG_VERDICT_UNSENT, 0, -1);
        CHECK_INT(r.c.state, DPG_CRED_AGAIN);
        later(&r, 5000);
        walk(&r, "x");
    }
    verdict(&r, DPG_VERDICT_REFUSED, 401, -1);
    walk(&r, "su-");
    CHECK_STR(w.error.reason, "answer_lost");
    end(&r);
}

TEST("with no_replay an exchange that never left is sent again all the same")
{
    rig r;
    dpg_waiter w;

    begin(&r, true);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_UNSENT, 0, -1);
    later(&r, 5000);
    walk(&r, "x");
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-1");
    end(&r);
}

TEST("does not ask again where a certificate or an option is wrong, unless it is in doubt already")
{
    rig r;
    dpg_waiter w;
    dpg_exchange x = {.verdict = DPG_VERDICT_UNSENT, .retry_after_ms = -1};

    dpg_fail(&x.error, DPG_E_SYSTEM, DPG_KIND_TLS, "certificate_invalid", "no");
    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    dpg_cred_exchanged(&r.c, &x, &r.now);
    CHECK_STR(w.error.code, "certificate_invalid");
    walk(&r, "su-");
    CHECK(!is_marked(&r));
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_IN_DOUBT, 0, -1);
    later(&r, 0);
    walk(&r, "x");
    dpg_cred_exchanged(&r.c, &x, &r.now);
    CHECK_INT(r.c.state, DPG_CRED_AGAIN);
    later(&r, 5000);
    walk(&r, "x");
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    end(&r);
}

TEST("never presents a token that was refused, also when that could not be written down")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_REFUSED, 401, -1);
    CHECK_INT(next(&r), 's');
    reply(&r, DPG_STORE_FAILED);
    CHECK_STR(w.error.code, "sign_in_required");
    walk(&r, "u-");
    for (int i = 0; i < 3; i++) {
        want(&r, &w, "a", 0);
        walk(&r, "Ldu-");
        CHECK_STR(w.error.code, "sign_in_required");
        CHECK_STR(w.error.reason, "refused");
    }
    put_session(&r, "rt-9", 9, NULL); /* until a sibling has another */
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-10");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-1");
    end(&r);
}

TEST("says nothing of an earlier failure in a later one")
{
    rig r;
    dpg_waiter w;

    begin(&r, true);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_NOT_TAKEN, 403, -1);
    walk(&r, "su-");
    later(&r, 5000);
    {
        dpg_record record = stored(&r); /* a sibling was killed in the middle of it */
        dpg_buf bytes;

        record.in_flight = true;
        record.in_flight_id = 99;
        dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
        CHECK(dpg_record_write(&record, &bytes));
        memcpy(r.stored, bytes.ptr, bytes.len);
        r.stored_len = bytes.len;
        dpg_buf_clear(&bytes);
        dpg_record_clear(&record);
    }
    want(&r, &w, "a", 0);
    walk(&r, "Ldsu-");
    CHECK_STR(w.error.reason, "answer_lost");
    CHECK_INT(w.error.http_status, 0);
    end(&r);
}

/* --- jobs --------------------------------------------------------------------------------------------------------------------- */

TEST("does the jobs one after the other, and first those, then the waiters")
{
    rig r;
    dpg_job load, forget, again;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    start(&r, &load, DPG_JOB_LOAD, NULL);
    start(&r, &forget, DPG_JOB_FORGET, NULL);
    start(&r, &again, DPG_JOB_LOAD, NULL);
    walk(&r, "LduLdsuLdu");
    CHECK(load.settled && load.done);
    CHECK(forget.settled && forget.done);
    CHECK(again.settled && !again.done);
    CHECK_STR(again.error.reason, "signed_out");
    walk(&r, "Ldu-");
    CHECK_INT(w.verdict, DPG_NO_BEARER);
    end(&r);
}

TEST("can be left by a job that waits, and not by the one that is being done")
{
    rig r;
    dpg_job prove, load;

    begin(&r, false);
    start(&r, &prove, DPG_JOB_PROVE, NULL);
    start(&r, &load, DPG_JOB_LOAD, NULL);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 's');
    CHECK(!dpg_cred_leave_job(&r.c, &prove));
    CHECK(dpg_cred_leave_job(&r.c, &load));
    reply(&r, DPG_STORE_DONE);
    walk(&r, "u-");
    CHECK(prove.settled && prove.done);
    CHECK(!load.settled);
    end(&r);
}

TEST("proves the store with the very bytes that are there")
{
    rig r;
    dpg_job prove;
    char before[4000];
    size_t len;

    begin(&r, false);
    memcpy(before, r.stored, r.stored_len);
    len = r.stored_len;
    start(&r, &prove, DPG_JOB_PROVE, NULL);
    walk(&r, "Ldsu-");
    CHECK(prove.done);
    CHECK_MEM(r.stored, r.stored_len, before, len);
    end(&r);
}

TEST("proves an empty store with a record that nobody takes for a session, nor for a sign-out")
{
    rig r;
    dpg_job prove, load;

    begin(&r, false);
    r.stored_len = 0;
    start(&r, &prove, DPG_JOB_PROVE, NULL);
    walk(&r, "Ldsu-");
    CHECK(prove.done && r.stored_len > 0);
    start(&r, &load, DPG_JOB_LOAD, NULL);
    walk(&r, "Ldu-");
    CHECK_STR(load.error.reason, "no_session");
    end(&r);
}

static dpg_signed_in a_sign_in(void)
{
    dpg_signed_in s;

    memset(&s, 0, sizeof s);
    put(&s.refresh_token, "rt-new");
    put(&s.accounts, "[{\"uuid\":\"a\"}]");
    return s;
}

TEST("lets the last sign-in win over a session that came into the store meanwhile")
{
    rig r;
    dpg_signed_in s = a_sign_in();
    dpg_job adopt;
    dpg_record record;

    begin(&r, false);
    r.stored_len = 0;
    start(&r, &adopt, DPG_JOB_ADOPT, &s);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 's');
    put_session(&r, "rt-other", 50, NULL);
    reply(&r, DPG_STORE_CHANGED);
    walk(&r, "dsu-");
    CHECK(adopt.done);
    record = stored(&r);
    CHECK_STR(record.refresh_token, "rt-new");
    CHECK_INT(record.generation, 51);
    dpg_record_clear(&record);
    dpg_signed_in_clear(&s);
    end(&r);
}

TEST("tells the person when a sign-in can't be saved, and saves it all the same once that is possible")
{
    rig r;
    dpg_signed_in s = a_sign_in();
    dpg_job adopt;
    dpg_waiter w;

    begin(&r, false);
    start(&r, &adopt, DPG_JOB_ADOPT, &s);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 's');
    reply(&r, DPG_STORE_FAILED);
    CHECK(adopt.settled && !adopt.done);
    dpg_signed_in_clear(&s); /* the call that it belongs to has gone */
    CHECK_INT(next(&r), '-');
    CHECK(dpg_cred_must_finish(&r.c));
    later(&r, 6000);
    walk(&r, "su-");
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    CHECK_MEM(r.action.refresh_token.ptr, r.action.refresh_token.len, "rt-new", 6);
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    end(&r);
}

TEST("asks for a lease again, before another's mark is taken for that of the dead, when somebody else has written")
{
    rig r;
    dpg_waiter w;
    dpg_record record;

    begin(&r, false);
    r.c.lease_ms = DPG_LEASE_MS;
    want(&r, &w, "a", 0);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 'm');
    put_session(&r, "rt-2", 2, NULL); /* its own lock forgotten, a sibling has it, and an exchange of rt-2 is out */
    record = stored(&r);
    record.in_flight = true;
    store(&r, &record);
    reply(&r, DPG_STORE_CHANGED);
    walk(&r, "d");
    CHECK_INT(next(&r), 'L');
    reply(&r, DPG_STORE_BUSY);
    CHECK_INT(w.verdict, DPG_WAITING);
    put_session(&r, "rt-3", 3, "at-3");
    later(&r, 1000);
    walk(&r, "Ldu-");
    check_bearer(&r, &w, "at-3");
    end(&r);
}

TEST("asks for the lock again, before another's mark is taken for that of the dead, when a store that failed may have "
     "lost it")
{
    rig r;
    dpg_signed_in s = a_sign_in();
    dpg_job adopt;
    dpg_waiter w;
    dpg_record record;

    begin(&r, true);
    start(&r, &adopt, DPG_JOB_ADOPT, &s);
    walk(&r, "Ld");
    CHECK_INT(next(&r), 's');
    unheard(&r, true); /* it was done, and a sibling has come since: the lock went with the connection */
    CHECK_INT(next(&r), '-');
    put_session(&r, "rt-9", 9, NULL);
    record = stored(&r);
    record.in_flight = true;
    store(&r, &record);
    later(&r, 6000);
    want(&r, &w, "a", 0);
    walk(&r, "d");
    CHECK_INT(next(&r), 'L');
    reply(&r, DPG_STORE_BUSY);
    CHECK_INT(w.verdict, DPG_WAITING);
    CHECK(is_marked(&r));
    put_session(&r, "rt-10", 10, "at-10"); /* what the sibling's exchange brought */
    later(&r, 1000);
    walk(&r, "Ldu-");
    check_bearer(&r, &w, "at-10");
    dpg_signed_in_clear(&s);
    end(&r);
}

TEST("takes the successor of its token for newer, however many generations without one it has counted itself")
{
    rig r;
    dpg_waiter w;
    dpg_record record;

    begin(&r, false);
    put_session(&r, "rt-1", 5, NULL);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_NOT_TAKEN, 403, -1);
    walk(&r, "su-");
    put_session(&r, "rt-1", 3, NULL); /* a store that was lost, and that a sibling filled again from its memory … */
    record = stored(&r);
    CHECK(dpg_record_rotate(&record, DPG_LIT("rt-2"), r.now.unix_ms)); /* … and went on from */
    store(&r, &record);
    later(&r, 60000);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    CHECK_MEM(r.action.refresh_token.ptr, r.action.refresh_token.len, "rt-2", 4);
    tokens(&r, "at-1", "rt-3");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-1");
    end(&r);
}

TEST("never puts a sign-in over a record of a newer version, or of another origin")
{
    rig r;
    dpg_signed_in s = a_sign_in();
    dpg_job adopt;

    begin(&r, false);
    memcpy(strstr(r.stored, "-record 1") + 8, "9", 1);
    start(&r, &adopt, DPG_JOB_ADOPT, &s);
    walk(&r, "Ldu-");
    CHECK(adopt.settled && !adopt.done);
    CHECK_STR(adopt.error.code, "store_newer");
    dpg_signed_in_clear(&s);
    end(&r);
}

TEST("takes every walk that a job came into to its end first")
{
    rig r;
    dpg_signed_in s = a_sign_in();
    dpg_job adopt;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    start(&r, &adopt, DPG_JOB_ADOPT, &s);
    CHECK_INT(next(&r), '-');
    verdict(&r, DPG_VERDICT_REFUSED, 401, -1);
    walk(&r, "su");
    CHECK_INT(w.verdict, DPG_NO_BEARER);
    CHECK(!adopt.settled);
    walk(&r, "Ldsu-");
    CHECK(adopt.done);
    CHECK(dpg_cred_has_session(&r.c));
    dpg_signed_in_clear(&s);
    end(&r);
}

TEST("lets a job through while the exchanges pause, and then goes on pausing")
{
    rig r;
    dpg_waiter w;
    dpg_job load;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_NOT_TAKEN, 429, 10000);
    walk(&r, "su-");
    CHECK_INT(r.c.state, DPG_CRED_PAUSED);
    later(&r, 4000);
    start(&r, &load, DPG_JOB_LOAD, NULL);
    walk(&r, "Ldu-");
    CHECK(load.done);
    CHECK_INT(r.c.state, DPG_CRED_PAUSED);
    CHECK_INT(w.verdict, DPG_WAITING);
    later(&r, 5999);
    CHECK_INT(next(&r), '-');
    later(&r, 1);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-1");
    end(&r);
}

TEST("keeps a pause that could not be written down")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_NOT_TAKEN, 429, 10000);
    CHECK_INT(next(&r), 's');
    reply(&r, DPG_STORE_FAILED);
    walk(&r, "u-");
    CHECK_INT(r.c.state, DPG_CRED_PAUSED);
    later(&r, 9999);
    CHECK_INT(next(&r), '-');
    later(&r, 1);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    end(&r);
}

TEST("waits a little after a 429 that does not say for how long")
{
    rig r;
    dpg_waiter w;

    begin(&r, false);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_NOT_TAKEN, 429, -1);
    walk(&r, "su-");
    CHECK_INT(r.c.state, DPG_CRED_PAUSED);
    CHECK(r.c.timer_boot_ms - r.now.boot_ms >= 1000 && r.c.timer_boot_ms - r.now.boot_ms < 2000);
    later(&r, 2000);
    walk(&r, "Ldmx");
    tokens(&r, "at-1", "rt-2");
    walk(&r, "su-");
    end(&r);
}

TEST("names its states")
{
    CHECK_STR(dpg_cred_state_name(DPG_CRED_IDLE), "idle");
    CHECK_STR(dpg_cred_state_name(DPG_CRED_PAUSED), "paused");
    CHECK_STR(dpg_cred_state_name(DPG_CRED_SAVE_AGAIN), "save_again");
}

/* --- ahead of time, in the background ------------------------------------------------------------------------------------ */

/* A session whose token will end soon, known to a decider that is turned in the background. */
static void begin_ahead(rig *r)
{
    dpg_waiter w;

    begin(r, false);
    put_session(r, "rt-1", 1, "at-1");
    r->c.background = true;
    want(r, &w, "a", 0);
    walk(r, "Ldu-");
    check_bearer(r, &w, "at-1");
    collect(r);
    later(r, 870000);
}

TEST("refreshes ahead of time in the background, while whoever comes goes on with the token that lives")
{
    rig r;
    dpg_waiter w, other;

    begin_ahead(&r);
    want(&r, &w, "a", 0);
    check_bearer(&r, &w, "at-1"); /* before anything was asked */
    walk(&r, "Ldmx");
    CHECK_MEM(r.action.account.ptr, r.action.account.len, "a", 1);
    want(&r, &other, "a", 0);
    check_bearer(&r, &other, "at-1");
    CHECK_INT(next(&r), '-'); /* one at a time */
    tokens(&r, "at-2", "rt-2");
    walk(&r, "su-");
    want(&r, &w, "a", 0);
    check_bearer(&r, &w, "at-2");
    CHECK_INT(next(&r), '-');
    end(&r);
}

TEST("exchanges nothing in the background when a sibling has refreshed already")
{
    rig r;
    dpg_waiter w;

    begin_ahead(&r);
    want(&r, &w, "a", 0);
    put_session(&r, "rt-2", 2, "at-2");
    walk(&r, "Ldu-");
    want(&r, &w, "a", 0);
    check_bearer(&r, &w, "at-2");
    end(&r);
}

TEST("leaves a refresh in the background to whoever has the lock, and looks again a moment later")
{
    rig r;
    dpg_waiter w;

    begin_ahead(&r);
    want(&r, &w, "a", 0);
    CHECK_INT(next(&r), 'L');
    reply(&r, DPG_STORE_BUSY);
    CHECK_INT(r.c.state, DPG_CRED_IDLE);
    for (int i = 0; i < 9; i++) {
        want(&r, &w, "a", 0);
        check_bearer(&r, &w, "at-1");
        CHECK_INT(next(&r), '-');
        later(&r, 100);
    }
    later(&r, 100);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    tokens(&r, "at-2", "rt-2");
    walk(&r, "su-");
    end(&r);
}

TEST("takes no good token away when a refresh in the background fails, and does not try again at once")
{
    rig r;
    dpg_waiter w;

    begin_ahead(&r);
    want(&r, &w, "a", 0);
    walk(&r, "Ldmx");
    verdict(&r, DPG_VERDICT_UNSENT, 0, -1); /* nobody waits for another try */
    walk(&r, "su-");
    CHECK(!is_marked(&r));
    want(&r, &w, "a", 0);
    check_bearer(&r, &w, "at-1");
    CHECK_INT(next(&r), '-');
    later(&r, 29999); /* it has ended: now there is somebody who waits */
    want(&r, &w, "a", 0);
    CHECK_INT(w.verdict, DPG_WAITING);
    walk(&r, "Ldmx");
    tokens(&r, "at-2", "rt-2");
    walk(&r, "su-");
    check_bearer(&r, &w, "at-2");
    end(&r);
}

CHECK_MAIN()
