/*
 * The walk of a refresh token, decided. Read dpg_cred_store_replied(), dpg_cred_exchanged() and dpg_cred_timer(): all
 * that can happen comes in there, and each state's answer to it is one function. Nothing here touches the world.
 */
#include "credential.h"

#include "retry.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LOCK_LIMIT_MS 75000 /* longer than an exchange may take a sibling */
#define LOCK_AGAIN_MS 200
#define EXCHANGE_LIMIT_MS 60000 /* one walk's exchange, replays included */
#define UNSENT_TRIES 6
#define MARGIN_MS 60000    /* refresh this long before the end, but never earlier than a fraction of the life */
#define YOUNG_MS 60000     /* a 401 to a bearer this young is about something else than its age */
#define EARLY_WAIT_MS 3000 /* so long a call with a good token in hand waits for a better one */
#define MEMO_MS 1000       /* how long a "no" to an exchange that is no refusal answers those who come next */
#define CHANGED_MOST 3
#define SAVE_BASE_MS 100
#define SAVE_CAP_MS 5000

/* --- states ---------------------------------------------------------------------------------------------------------- */

static const char *const state_names[] = {"idle",   "locking",    "loading", "marking",   "exchanging", "again",
                                          "saving", "save_again", "noting",  "unlocking", "paused"};
#define BIT(state) (1u << (state))
static const unsigned may_follow[] = {
    [DPG_CRED_IDLE] = BIT(DPG_CRED_LOCKING) | BIT(DPG_CRED_PAUSED),
    [DPG_CRED_LOCKING] = BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_IDLE),
    [DPG_CRED_LOADING] = BIT(DPG_CRED_MARKING) | BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) |
                         BIT(DPG_CRED_NOTING) | BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_MARKING] = BIT(DPG_CRED_EXCHANGING) | BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_EXCHANGING] = BIT(DPG_CRED_AGAIN) | BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) |
                            BIT(DPG_CRED_NOTING) | BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_AGAIN] = BIT(DPG_CRED_EXCHANGING),
    [DPG_CRED_SAVING] = BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_SAVE_AGAIN) | BIT(DPG_CRED_LOADING),
    [DPG_CRED_SAVE_AGAIN] =
        BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) | BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_NOTING] = BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_UNLOCKING] = BIT(DPG_CRED_IDLE),
    [DPG_CRED_PAUSED] = BIT(DPG_CRED_IDLE),
};

static void enter(dpg_cred *c, dpg_cred_state to) /* the only writer of c->state */
{
    assert(may_follow[c->state] & BIT(to));
    c->state = to;
    c->timer_boot_ms = INT64_MAX;
}

const char *dpg_cred_state_name(dpg_cred_state state)
{
    return state_names[state];
}

bool dpg_cred_is_locked(const dpg_cred *c)
{
    return c->state >= DPG_CRED_LOADING && c->state <= DPG_CRED_UNLOCKING;
}

bool dpg_cred_has_session(const dpg_cred *c)
{
    return c->record.refresh_token && !c->record.tombstone && !c->record.refused[0];
}

bool dpg_cred_init(dpg_cred *c, dpg_str origin, bool no_replay)
{
    memset(c, 0, sizeof *c);
    dpg_list_init(&c->waiters);
    dpg_list_init(&c->jobs);
    dpg_list_init(&c->settled);
    dpg_list_init(&c->settled_jobs);
    dpg_buf_init_secret(&c->next_bytes, DPG_RECORD_MAX);
    dpg_buf_init_secret(&c->stored, DPG_RECORD_MAX);
    c->timer_boot_ms = INT64_MAX;
    c->no_replay = no_replay;
    c->origin = dpg_strndup(origin);
    return c->origin != NULL;
}

void dpg_cred_clear(dpg_cred *c)
{
    dpg_record_clear(&c->record);
    dpg_record_clear(&c->next);
    dpg_exchange_clear(&c->answer);
    dpg_buf_clear(&c->next_bytes);
    dpg_buf_clear(&c->stored);
    dpg_free(c->exchange_account);
    dpg_free(c->failed_account);
    dpg_free(c->origin);
    c->exchange_account = c->failed_account = c->origin = NULL;
}

static void say(dpg_cred *c, dpg_event event, const char *code, const char *message)
{
    int i = c->event_count < 4 ? c->event_count++ : 3;

    c->events[i].event = event;
    c->events[i].generation = c->record.generation;
    snprintf(c->events[i].code, sizeof c->events[i].code, "%s", code);
    snprintf(c->events[i].message, sizeof c->events[i].message, "%.159s", message);
}

/* --- access tokens ---------------------------------------------------------------------------------------------------- */

/* In memory every age is told by our own boot clock: see normalise(). */
static int64_t age_ms(const dpg_access *a, const dpg_moment *now)
{
    return now->boot_ms - a->got_boot_ms;
}

static bool lives(const dpg_access *a, const dpg_moment *now)
{
    int64_t skew = a->life_ms / 20 < 2000 ? a->life_ms / 20 : 2000; /* it has to arrive, too */

    return age_ms(a, now) >= 0 && age_ms(a, now) < a->life_ms - skew;
}

/* Between 75 % and 125 % of the margin, the same for a token's whole life, different from token to token. */
static bool ends_soon(const dpg_access *a, const dpg_moment *now)
{
    int64_t margin = a->life_ms / 5 < MARGIN_MS ? a->life_ms / 5 : MARGIN_MS;
    int64_t jitter = (int64_t)((a->serial * UINT64_C(0x9e3779b97f4a7c15)) >> 57); /* 0 to 127 */

    return age_ms(a, now) >= a->life_ms - margin * (192 + jitter) / 256;
}

static bool is_usable(const dpg_access *a, const dpg_waiter *w, const dpg_moment *now)
{
    return a && a->serial != w->rejected && lives(a, now);
}

/* Bring what was stored by a sibling, perhaps under another boot or on another machine, to our own boot clock. */
static void normalise(dpg_record *r, const dpg_moment *now)
{
    int64_t wait;

    for (size_t i = 0; i < r->access_count; i++) {
        dpg_access *a = &r->access[i];
        bool same_boot = a->boot_id[0] && strcmp(a->boot_id, now->boot_id) == 0;
        int64_t age = same_boot ? now->boot_ms - a->got_boot_ms : now->unix_ms - a->got_unix_ms;

        if (age < 0) a->life_ms = 0; /* its age is unknown */
        if (same_boot) continue;
        a->got_boot_ms = now->boot_ms - age;
        snprintf(a->boot_id, sizeof a->boot_id, "%s", now->boot_id);
    }
    if (!r->not_before_unix_ms || (r->not_before_boot_id[0] && strcmp(r->not_before_boot_id, now->boot_id) == 0))
        return;
    wait = r->not_before_unix_ms - now->unix_ms;
    if (wait > r->not_before_wait_ms)
        wait = r->not_before_wait_ms; /* a clock was wrong: nobody asked for more than this */
    r->not_before_boot_ms = now->boot_ms + (wait > 0 ? wait : 0);
    snprintf(r->not_before_boot_id, sizeof r->not_before_boot_id, "%s", now->boot_id);
}

dpg_str dpg_cred_bearer(const dpg_cred *c, dpg_str account, const dpg_moment *now, uint64_t *serial, bool *alive)
{
    const dpg_access *a = dpg_record_access(&c->record, account);

    if (!a) return dpg_str_of("", 0);
    *serial = a->serial;
    *alive = lives(a, now);
    return dpg_cstr(a->token);
}

/* --- verdicts ---------------------------------------------------------------------------------------------------------- */

static void settle(dpg_cred *c, dpg_waiter *w)
{
    dpg_list_remove(&w->link);
    dpg_list_push(&c->settled, &w->link);
}

static void give_bearer(dpg_cred *c, dpg_waiter *w, const dpg_access *a)
{
    w->verdict = DPG_BEARER;
    w->serial = a->serial;
    settle(c, w);
}

static void give_error(dpg_cred *c, dpg_waiter *w, const dpg_error *err)
{
    w->verdict = DPG_NO_BEARER;
    w->error = *err;
    settle(c, w);
}

static int64_t pause_left(const dpg_cred *c, const dpg_moment *now)
{
    int64_t left = c->record.not_before_unix_ms ? c->record.not_before_boot_ms - now->boot_ms : 0;

    return left > 0 ? left : 0;
}

/* Is it time to ask for the next token, though this one still lives? */
static bool is_due_early(const dpg_cred *c, const dpg_access *a, const dpg_moment *now)
{
    return ends_soon(a, now) && now->boot_ms >= c->early_not_before && !pause_left(c, now) && dpg_cred_has_session(c);
}

/*
 * Everybody whose access token still lives goes on with it; true when somebody is left waiting. With `early`, who came
 * when it was time for the next one is left, too.
 */
static bool serve(dpg_cred *c, bool early, const dpg_moment *now)
{
    dpg_list *node, *next;

    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);
        const dpg_access *a = dpg_record_access(&c->record, w->account);

        next = node->next;
        if (is_usable(a, w, now) ? !(early && is_due_early(c, a, now))
                                 : a && c->fresh_serial && a->serial == c->fresh_serial && a->serial != w->rejected)
            give_bearer(c, w, a);
    }
    return !dpg_list_empty(&c->waiters);
}

static void serve_living(dpg_cred *c, const dpg_moment *now)
{
    serve(c, false, now);
}

static void settle_job(dpg_cred *c, dpg_job *job, const dpg_error *err) /* err NULL: done */
{
    if (c->job == job) c->job = NULL;
    job->settled = true;
    job->done = !err;
    if (err) job->error = *err;
    dpg_list_remove(&job->link);
    dpg_list_push(&c->settled_jobs, &job->link);
}

/*
 * There is no token to be had: a good one in hand is never taken away by that; who has none hears why. `account` not NULL:
 * for this one alone.
 */
static void fail_waiters(dpg_cred *c, const dpg_error *err, const char *account, const dpg_moment *now)
{
    dpg_error copy = *err; /* it may be one that settling changes */
    dpg_list *node, *next;

    c->early_not_before = now->boot_ms + 1000 + (int64_t)(now->random % 4000);
    serve_living(c, now);
    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);

        next = node->next;
        if (!account || dpg_str_eq(w->account, dpg_cstr(account))) give_error(c, w, &copy);
    }
}

/* The store has failed. What a sign-in brought is given up only with `adopt_too`: these tokens are nowhere else. */
static void fail_jobs(dpg_cred *c, const dpg_error *err, bool adopt_too)
{
    dpg_error copy = *err;
    dpg_list *node, *next;

    for (node = c->jobs.next; node != &c->jobs; node = next) {
        dpg_job *job = DPG_LIST_ITEM(node, dpg_job, link);

        next = node->next;
        if (adopt_too || job->type != DPG_JOB_ADOPT) settle_job(c, job, &copy);
    }
}

/* A sign-in whose tokens have yet to be saved; NULL: none. */
static dpg_job *adopting(const dpg_cred *c)
{
    for (dpg_list *node = c->jobs.next; node != &c->jobs; node = node->next) {
        dpg_job *job = DPG_LIST_ITEM(node, dpg_job, link);

        if (job->type == DPG_JOB_ADOPT) return job;
    }
    return NULL;
}

bool dpg_cred_must_finish(const dpg_cred *c)
{
    return dpg_cred_is_locked(c) || adopting(c);
}

static void put_history(const dpg_cred *c, dpg_error *err)
{
    const dpg_record *r = &c->record;
    char digest[17] = "";
    int used;

    if (!r->refresh_token) return;
    dpg_digest_hex(dpg_cstr(r->refresh_token), digest);
    used =
        snprintf(err->detail, sizeof err->detail, "generation %lld, token digest %s", (long long)r->generation, digest);
    for (size_t i = 0; i < r->past_count && used > 0 && (size_t)used < sizeof err->detail - 1; i++)
        used += snprintf(err->detail + used, sizeof err->detail - (size_t)used, "%s %s until %lld",
                         i ? "," : "; before it", r->past[i].digest, (long long)(r->past[i].unix_ms / 1000));
}

static void auth_error(const dpg_cred *c, dpg_error *err)
{
    static const char *const texts[][2] = {
        {"no_session", "nobody is signed in: the store holds no session"},
        {"signed_out", "signed out: the tokens have been forgotten"},
        {"refused", "the server refused the refresh token: it was used elsewhere, was revoked or has expired"},
        {"answer_lost",
         "the answer to the last exchange was lost on its way, and the server takes the old token no more"},
    };
    const char *reason = c->reason[0] ? c->reason : "no_session", *text = texts[2][1];

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i][0], reason) == 0) text = texts[i][1];
    dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_AUTH, "sign_in_required", "%s; sign in again", text);
    snprintf(err->reason, sizeof err->reason, "%s", reason);
    put_history(c, err);
}

/* --- the walk's ends ---------------------------------------------------------------------------------------------------- */

static void start_walk(dpg_cred *c, const dpg_moment *now)
{
    if (c->state == DPG_CRED_PAUSED) enter(c, DPG_CRED_IDLE);
    enter(c, DPG_CRED_LOCKING);
    c->op = DPG_OP_LOCK;
    c->walk_since = now->boot_ms;
    c->changed = 0;
    memset(&c->trouble, 0, sizeof c->trouble);
    c->trouble.retry_after_ms = -1;
}

/* A wait that would pass the deadline is not begun. */
static void refuse_the_impatient(dpg_cred *c, const dpg_moment *now)
{
    int64_t until = now->boot_ms + pause_left(c, now);
    dpg_list *node, *next;
    dpg_error err;

    dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_API, "rate_limited",
             "the server asked for no token exchange in the next %lld s, which is longer than this call may take",
             (long long)((until - now->boot_ms + 999) / 1000));
    err.http_status = 429;
    err.retry_after_ms = until - now->boot_ms;
    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);

        next = node->next;
        if (w->deadline_boot_ms <= until) give_error(c, w, &err);
    }
}

/* No lock is held: rest, pause, or walk again for who is left. */
static void rest(dpg_cred *c, const dpg_moment *now)
{
    enter(c, DPG_CRED_IDLE);
    if (!dpg_list_empty(&c->jobs)) {
        start_walk(c, now);
        return;
    }
    if (dpg_list_empty(&c->waiters)) return;
    if (pause_left(c, now) && dpg_cred_has_session(c)) {
        refuse_the_impatient(c, now);
        if (dpg_list_empty(&c->waiters)) return;
        enter(c, DPG_CRED_PAUSED);
        c->timer_boot_ms = now->boot_ms + pause_left(c, now);
        return;
    }
    start_walk(c, now);
}

static void unlock(dpg_cred *c)
{
    enter(c, DPG_CRED_UNLOCKING);
    c->op = DPG_OP_UNLOCK;
}

static void let_stand(dpg_cred *c, dpg_waiter *w) /* its 401 is the answer */
{
    w->verdict = DPG_STANDS;
    settle(c, w);
}

static void unlocked(dpg_cred *c, const dpg_moment *now)
{
    dpg_list *node, *next;

    if (c->job && c->job_done) settle_job(c, c->job, NULL);
    c->job = NULL;
    c->job_done = false;
    serve_living(c, now);
    for (node = c->waiters.next; c->fresh_serial && node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);

        next = node->next;
        if (w->rejected == c->fresh_serial) let_stand(c, w); /* the exchange has brought the very same token again */
    }
    c->fresh_serial = 0;
    rest(c, now);
}

/* Jobs that came meanwhile go on to a walk of their own: a sign-in that has been answered has a session to save. */
static void fail_walk(dpg_cred *c, const dpg_error *err, const dpg_moment *now)
{
    fail_waiters(c, err, NULL, now);
    unlock(c);
}

/* --- records in hand ----------------------------------------------------------------------------------------------------- */

/* Take the place of what we know; the same token keeps its serial, so that a 401 to it is remembered. */
static void replace_record(dpg_cred *c, dpg_record *r)
{
    for (size_t i = 0; i < r->access_count; i++) {
        dpg_access *a = &r->access[i], *old = dpg_record_access(&c->record, dpg_cstr(a->account));

        if (old && dpg_str_eq_secret(dpg_cstr(old->token), dpg_cstr(a->token))) a->serial = old->serial;
        else a->serial = ++c->last_serial;
    }
    dpg_record_clear(&c->record);
    c->record = *r;
    memset(r, 0, sizeof *r);
    if (c->record.tombstone)
        snprintf(c->reason, sizeof c->reason, "%s", c->record.generation ? "signed_out" : "no_session");
    else snprintf(c->reason, sizeof c->reason, "%s", c->record.refused);
}

/* The same generation again: what we learned, and could not write down, still holds. */
static void keep_what_we_know(const dpg_cred *c, dpg_record *r)
{
    const dpg_record *ours = &c->record;

    if (ours->refused[0]) memcpy(r->refused, ours->refused, sizeof r->refused);
    if (r->in_flight && !ours->in_flight && r->in_flight_id == ours->in_flight_id)
        r->in_flight = false; /* our own mark */
    if (ours->not_before_unix_ms && (!r->not_before_unix_ms || ours->not_before_unix_ms == r->not_before_unix_ms ||
                                     ours->not_before_boot_ms > r->not_before_boot_ms)) {
        r->not_before_unix_ms = ours->not_before_unix_ms;
        r->not_before_boot_ms = ours->not_before_boot_ms;
        r->not_before_wait_ms = ours->not_before_wait_ms;
        memcpy(r->not_before_boot_id, ours->not_before_boot_id, sizeof r->not_before_boot_id);
    }
}

/* A sibling's record, or our own again: what of it is news? Takes it. */
static void ingest(dpg_cred *c, dpg_record *r, const dpg_moment *now)
{
    bool had = c->record.refresh_token != NULL, same = strcmp(r->family, c->record.family) == 0;
    int64_t before = c->record.generation;

    if (!r->tombstone && had && same && r->generation < before) { /* an older backup: ours is newer, and goes over it */
        dpg_record_clear(r);
        return;
    }
    normalise(r, now);
    if (!r->tombstone && had && same && r->generation == before) keep_what_we_know(c, r);
    replace_record(c, r);
    if (had && c->record.tombstone) say(c, DPG_EVENT_SIGNED_OUT, c->reason, "");
    else if (had && (!same || c->record.generation > before)) say(c, DPG_EVENT_ADOPTED, "", "");
}

static void write_next(dpg_cred *c, const dpg_record *r)
{
    dpg_buf_clear(&c->next_bytes);
    c->written = dpg_record_write(r, &c->next_bytes);
}

/* Save `record` with what was just changed in it, for others to see; nothing is lost when that fails. */
static void note(dpg_cred *c)
{
    write_next(c, &c->record);
    if (!c->written) {
        unlock(c);
        return;
    }
    enter(c, DPG_CRED_NOTING);
    c->op = DPG_OP_SAVE;
}

static bool build_successor(dpg_cred *c, const dpg_moment *now)
{
    const dpg_exchange *x = &c->answer;
    dpg_access times = {.got_boot_ms = x->begun_boot_ms, .got_unix_ms = x->begun_unix_ms, .life_ms = x->life_ms};
    dpg_str successor = dpg_buf_str(&x->refresh_token);

    if (!dpg_record_copy(&c->next, &c->record)) return false;
    if (successor.len == 0 || dpg_str_eq_secret(successor, dpg_cstr(c->record.refresh_token)))
        c->next.generation++; /* not rotated, but siblings must see that there is news */
    else if (!dpg_record_rotate(&c->next, successor, x->begun_unix_ms)) return false;
    snprintf(times.boot_id, sizeof times.boot_id, "%s", now->boot_id);
    c->next.in_flight = false;
    c->next.in_flight_unix_ms = c->next.not_before_unix_ms = 0;
    return dpg_record_put_access(&c->next, dpg_cstr(c->exchange_account), dpg_buf_str(&x->access_token), &times);
}

static bool build_adopted(dpg_cred *c, const dpg_moment *now)
{
    const dpg_signed_in *s = c->job->signed_in;
    dpg_record *r = &c->next;
    uint8_t digest[32];

    /* a family of our own naming: derived from the token, which is unique, so no randomness has to be kept */
    dpg_sha256(s->refresh_token.ptr, s->refresh_token.len, digest);
    for (size_t i = 0; i < 16; i++) snprintf(r->family + 2 * i, 3, "%02x", digest[i] ^ (uint8_t)(now->random >> 4 * i));
    r->origin = dpg_strndup(dpg_cstr(c->origin));
    r->refresh_token = dpg_strndup(dpg_buf_str(&s->refresh_token));
    if (s->accounts.len) r->accounts = dpg_strndup(dpg_buf_str(&s->accounts));
    if (s->person.len) r->person = dpg_strndup(dpg_buf_str(&s->person));
    return r->origin && r->refresh_token && (r->accounts || !s->accounts.len) && (r->person || !s->person.len);
}

/* Make `next` for the purpose. False: no memory; nothing is lost, and it can be tried again. */
static bool build_next(dpg_cred *c, const dpg_moment *now)
{
    dpg_record_clear(&c->next);
    switch (c->purpose) {
    case DPG_NEXT_SUCCESSOR: return build_successor(c, now);
    case DPG_NEXT_ADOPT: c->next.generation = c->record.generation + 1; return build_adopted(c, now);
    case DPG_NEXT_TRIAL: /* what is there again; what we have, if somebody took it away; else an empty record */
        if (c->record.refresh_token) return dpg_record_copy(&c->next, &c->record);
        break;
    default: c->next.generation = c->record.generation + 1;
    }
    c->next.tombstone = true;
    c->next.origin = dpg_strndup(dpg_cstr(c->origin));
    return c->next.origin != NULL;
}

static void save_again(dpg_cred *c, const dpg_moment *now)
{
    enter(c, DPG_CRED_SAVE_AGAIN);
    c->timer_boot_ms =
        now->boot_ms + 1 + SAVE_BASE_MS / 2 + dpg_backoff_ms(SAVE_BASE_MS, SAVE_CAP_MS, ++c->save_tries, now->random);
}

static void drop_next(dpg_cred *c)
{
    dpg_record_clear(&c->next);
    dpg_buf_clear(&c->next_bytes);
    dpg_exchange_clear(&c->answer);
    c->built = c->written = false;
    c->purpose = DPG_NEXT_NONE;
    c->save_tries = 0;
}

static bool must_keep(const dpg_cred *c)
{
    return c->purpose == DPG_NEXT_SUCCESSOR || c->purpose == DPG_NEXT_ADOPT;
}

/* A save could not be made: of what must be kept, the lock is kept too, and it is tried for as long as we live. */
static void save_failed(dpg_cred *c, const dpg_error *err, const dpg_moment *now)
{
    dpg_error copy = *err;
    bool whole = c->built; /* else the job's buffers are still needed to build it */

    if (must_keep(c)) {
        if (c->save_tries == 0) say(c, DPG_EVENT_STORAGE, copy.code, copy.message);
        c->trouble = copy;
        /* a moment without memory is nobody's failure yet */
        if (whole && (copy.status != DPG_E_NOMEM || c->save_tries > 3)) {
            fail_waiters(c, &copy, NULL, now);
            fail_jobs(c, &copy, true);
        }
        save_again(c, now);
        return;
    }
    drop_next(c);
    if (c->job) settle_job(c, c->job, &copy);
    unlock(c);
}

static void save_next(dpg_cred *c, const dpg_moment *now)
{
    dpg_error err;

    if (!c->built) {
        c->written = false; /* what stands there may be a mark that could not be saved */
        c->built = build_next(c, now);
    }
    if (c->built && !c->written) write_next(c, &c->next);
    if (!c->written) {
        if (c->purpose == DPG_NEXT_ADOPT && c->next_bytes.failed == DPG_BUF_TOO_LONG) {
            dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "record_too_large",
                     "the sign-in answer is too large to be kept");
            drop_next(c);
            settle_job(c, c->job, &err);
            unlock(c);
            return;
        }
        dpg_fail_nomem(&err);
        save_failed(c, &err, now);
        return;
    }
    enter(c, DPG_CRED_SAVING);
    c->op = DPG_OP_SAVE;
}

/* What we wrote is what is stored now. */
static void remember_stored(dpg_cred *c)
{
    dpg_buf old = c->stored;

    c->stored = c->next_bytes;
    c->next_bytes = old;
    dpg_buf_clear(&c->next_bytes);
    c->next_bytes.max = DPG_RECORD_MAX; /* a loaded buffer has the bounds of the store that made it */
    c->next_bytes.secret = true;
    c->stored_found = true;
    c->written = false;
}

/* --- loading --------------------------------------------------------------------------------------------------------------- */

static void begin_mark(dpg_cred *c, dpg_str account, const dpg_moment *now);
static void lose(dpg_cred *c, const char *reason, const dpg_moment *now);

static void do_job(dpg_cred *c, dpg_job *job, const dpg_moment *now)
{
    dpg_error err;

    c->job = job;
    switch (job->type) {
    case DPG_JOB_LOAD:
        if (dpg_cred_has_session(c)) {
            c->job_done = true;
        } else {
            auth_error(c, &err);
            settle_job(c, job, &err);
        }
        unlock(c);
        return;
    case DPG_JOB_PROVE:
        c->purpose = DPG_NEXT_TRIAL;
        if (c->stored_found) { /* the very same bytes again */
            dpg_buf_clear(&c->next_bytes);
            c->built = c->written = dpg_buf_put_str(&c->next_bytes, dpg_buf_str(&c->stored));
        }
        break;
    case DPG_JOB_ADOPT: c->purpose = DPG_NEXT_ADOPT; break;
    case DPG_JOB_FORGET: c->purpose = DPG_NEXT_FORGET; break;
    }
    save_next(c, now);
}

/* The store has spoken: who can go on, goes on; if somebody still needs a token, there has to be an exchange. */
static void do_waiters(dpg_cred *c, const dpg_moment *now)
{
    dpg_list *node, *next;
    dpg_error err;

    if (!serve(c, true, now)) {
        unlock(c);
        return;
    }
    if (!dpg_cred_has_session(c)) {
        auth_error(c, &err);
        fail_walk(c, &err, now);
        return;
    }
    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);
        const dpg_access *a = dpg_record_access(&c->record, w->account);
        int64_t young = a && a->life_ms < YOUNG_MS ? a->life_ms : YOUNG_MS;

        next = node->next;
        if (a && w->rejected && a->serial == w->rejected && lives(a, now) && age_ms(a, now) < young) let_stand(c, w);
    }
    node = dpg_list_first(&c->waiters);
    if (!node || pause_left(c, now)) unlock(c);
    else begin_mark(c, DPG_LIST_ITEM(node, dpg_waiter, link)->account, now);
}

/* Read the stored bytes into *r. False: *err says what is wrong with them. */
static bool read_stored(dpg_cred *c, dpg_record *r, dpg_error *err)
{
    int64_t generation;
    char family[DPG_FAMILY_SIZE];
    dpg_status status = dpg_record_read(dpg_buf_str(&c->stored), r);

    if (status == DPG_E_NOMEM) {
        dpg_fail_nomem(err);
    } else if (status != DPG_OK) {
        if (dpg_record_peek(dpg_buf_str(&c->stored), &generation, family) == DPG_RECORD_NEWER)
            dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_newer",
                     "the stored record was written by a newer version of dpg; use that version, or another store");
        else dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_damaged", "the stored record is damaged");
    } else if (!r->tombstone && strcmp(r->origin, c->origin) != 0) {
        dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "store_other_origin",
                 "the store holds a session of %.100s, and a token never goes to another origin: this is %.100s",
                 r->origin, c->origin);
        dpg_record_clear(r);
    } else {
        return true;
    }
    return false;
}

static void load(dpg_cred *c)
{
    enter(c, DPG_CRED_LOADING);
    c->op = DPG_OP_LOAD;
    c->reload = false;
}

static bool may_pass(const dpg_error *err)
{
    return err->status == DPG_E_NOMEM || (err->kind == DPG_KIND_STORAGE && strcmp(err->code, "store_newer") != 0);
}

static void loaded(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_record r = {0};
    dpg_job *job;
    dpg_error err = DPG_ERROR_INIT;
    bool fine = reply->outcome == DPG_STORE_DONE, newer;

    if (fine) {
        dpg_buf_clear(&c->stored);
        c->stored = reply->bytes;
        memset(&reply->bytes, 0, sizeof reply->bytes);
        if (!c->stored.max) dpg_buf_init_secret(&c->stored, DPG_RECORD_MAX);
        c->stored_found = reply->found;
        fine = !c->stored_found || read_stored(c, &r, &err);
    } else {
        err = reply->error;
    }
    if (!fine) {
        /* a sign-in's tokens are kept through a store that fails for a while, but never put over what isn't ours */
        if (!must_keep(c) && (job = adopting(c)) != NULL && may_pass(&err)) {
            c->job = job;
            c->purpose = DPG_NEXT_ADOPT;
        }
        if (must_keep(c)) {
            c->reload =
                reply->outcome != DPG_STORE_DONE || err.status == DPG_E_NOMEM; /* else: it goes over what is damaged */
            save_failed(c, &err, now);
            return;
        }
        fail_jobs(c, &err, true);
        fail_walk(c, &err, now);
        return;
    }
    if (must_keep(c)) { /* our successor met a record that is not the one we marked */
        newer = c->stored_found &&
                (r.tombstone || strcmp(r.family, c->next.family) != 0 || r.generation >= c->next.generation);
        if (newer && c->purpose == DPG_NEXT_SUCCESSOR) {
            drop_next(c);
        } else {
            if (newer && c->built) { /* the last sign-in wins */
                c->next.generation = r.generation + 1;
                write_next(c, &c->next);
            }
            dpg_record_clear(&r);
            save_next(c, now);
            return;
        }
    }
    if (c->stored_found) ingest(c, &r, now);
    if (!dpg_list_empty(&c->jobs)) do_job(c, DPG_LIST_ITEM(dpg_list_first(&c->jobs), dpg_job, link), now);
    else do_waiters(c, now);
}

/* --- marking and exchanging ------------------------------------------------------------------------------------------------- */

static void begin_mark(dpg_cred *c, dpg_str account, const dpg_moment *now)
{
    char *copy = dpg_strndup(account);
    bool was = c->record.in_flight;
    dpg_error err;

    if (was && c->no_replay) { /* somebody's answer was lost, and we may not ask again */
        dpg_free(copy);
        lose(c, "answer_lost", now);
        return;
    }
    dpg_free(c->exchange_account);
    c->exchange_account = copy;
    c->in_doubt = was;
    c->record.in_flight = true;
    c->record.in_flight_unix_ms = now->unix_ms;
    c->record.in_flight_id = (int64_t)(now->random >> 2);
    if (copy) write_next(c, &c->record);
    if (!copy || !c->written) {
        c->record.in_flight = was;
        dpg_fail_nomem(&err);
        fail_walk(c, &err, now);
        return;
    }
    enter(c, DPG_CRED_MARKING);
    c->op = DPG_OP_MARK;
}

static void marked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_error err;

    if (reply->outcome == DPG_STORE_DONE) {
        remember_stored(c);
        c->tries = 1;
        c->exchange_since = now->boot_ms;
        enter(c, DPG_CRED_EXCHANGING);
        c->op = DPG_OP_EXCHANGE;
        c->timer_boot_ms = now->boot_ms + EARLY_WAIT_MS;
        return;
    }
    c->record.in_flight = c->in_doubt;
    if (reply->outcome == DPG_STORE_CHANGED && ++c->changed <= CHANGED_MOST) {
        load(c);
        return;
    }
    if (reply->outcome == DPG_STORE_FAILED) err = reply->error;
    else
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                 "the stored record keeps changing under our lock");
    say(c, DPG_EVENT_STORAGE, err.code, err.message);
    fail_walk(c, &err, now);
}

/* The session is over: nobody presents this refresh token again, here or elsewhere. */
static void lose(dpg_cred *c, const char *reason, const dpg_moment *now)
{
    dpg_error err;

    snprintf(c->record.refused, sizeof c->record.refused, "%s", reason);
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    c->record.in_flight = false;
    auth_error(c, &err);
    if (c->trouble.request_id[0]) snprintf(err.request_id, sizeof err.request_id, "%s", c->trouble.request_id);
    err.http_status = c->trouble.http_status;
    say(c, DPG_EVENT_SIGNED_OUT, reason, "");
    fail_waiters(c, &err, NULL, now);
    note(c);
}

/* End this walk without a token. Where the mark tells the truth it stays, so that the next walk asks about the same token. */
static void give_up(dpg_cred *c, const dpg_error *err, const char *account, const dpg_moment *now)
{
    fail_waiters(c, err, account, now);
    if (c->in_doubt) {
        unlock(c);
        return;
    }
    c->record.in_flight = false;
    note(c);
}

static void again(dpg_cred *c, int64_t wait_ms, const dpg_moment *now)
{
    enter(c, DPG_CRED_AGAIN);
    c->timer_boot_ms = now->boot_ms + wait_ms;
}

static bool has_time(const dpg_cred *c, int64_t wait_ms, const dpg_moment *now)
{
    return now->boot_ms + wait_ms - c->exchange_since < EXCHANGE_LIMIT_MS;
}

/* No exchange before `wait_ms` have passed: not by us, and not by a sibling. Whoever waits for a token goes on waiting. */
static void wait_as_told(dpg_cred *c, int64_t wait_ms, const dpg_moment *now)
{
    c->record.not_before_unix_ms = now->unix_ms + wait_ms;
    c->record.not_before_boot_ms = now->boot_ms + wait_ms;
    c->record.not_before_wait_ms = wait_ms;
    snprintf(c->record.not_before_boot_id, sizeof c->record.not_before_boot_id, "%s", now->boot_id);
    say(c, DPG_EVENT_GATE_CLOSED, "rate_limited", "");
    serve_living(c, now);
    if (c->in_doubt && has_time(c, wait_ms, now)) { /* the first exchange is still in doubt: the mark stays */
        again(c, wait_ms, now);
        return;
    }
    if (!c->in_doubt) c->record.in_flight = false;
    note(c); /* without the lock: rest() */
}

static void not_taken(dpg_cred *c, const dpg_exchange *x, const dpg_moment *now)
{
    int64_t wait = x->retry_after_ms >= 0 ? x->retry_after_ms : 1000 + (int64_t)(now->random % 1000);

    if (x->error.http_status != 429) {
        c->failed_until = now->boot_ms + MEMO_MS;
        c->failure = x->error;
        dpg_free(c->failed_account);
        c->failed_account = dpg_strndup(dpg_cstr(c->exchange_account)); /* NULL: then the next one asks again */
        give_up(c, &x->error, c->exchange_account, now);                /* it may be about this account alone */
        return;
    }
    wait_as_told(c, wait, now);
}

static void exchange_failed(dpg_cred *c, const dpg_exchange *x, const dpg_moment *now)
{
    bool unsent = x->verdict == DPG_VERDICT_UNSENT;
    int64_t wait;

    if (!unsent) c->in_doubt = true;
    if (c->in_doubt && c->no_replay && !unsent) {
        lose(c, "answer_lost", now);
        return;
    }
    if (x->retry_after_ms > 0) { /* a 503 that says when */
        wait_as_told(c, x->retry_after_ms, now);
        return;
    }
    serve_living(c, now);
    /* at once the first time: if the answer alone was lost, a grace of the server may be short */
    wait = !unsent && c->tries == 1 ? 0 : dpg_backoff_ms(200, 5000, c->tries, now->random);
    if (!has_time(c, wait, now) ||
        (!c->in_doubt && (c->tries >= UNSENT_TRIES || (dpg_list_empty(&c->waiters) && dpg_list_empty(&c->jobs))))) {
        give_up(c, &x->error, NULL, now);
        return;
    }
    again(c, wait, now);
}

void dpg_cred_exchanged(dpg_cred *c, dpg_exchange *x, const dpg_moment *now)
{
    if (c->state != DPG_CRED_EXCHANGING) {
        dpg_exchange_clear(x);
        return;
    }
    if (x->verdict == DPG_VERDICT_TOKENS) {
        c->answer = *x;
        c->purpose = DPG_NEXT_SUCCESSOR;
        save_next(c, now);
        return;
    }
    c->trouble = x->error;
    switch (x->verdict) {
    case DPG_VERDICT_REFUSED: lose(c, c->in_doubt ? "answer_lost" : "refused", now); break;
    case DPG_VERDICT_NOT_TAKEN: not_taken(c, x, now); break;
    default: exchange_failed(c, x, now);
    }
    dpg_exchange_clear(x);
}

/* --- saving ----------------------------------------------------------------------------------------------------------------- */

static void saved(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_error err;
    int purpose = c->purpose;

    if (reply->outcome == DPG_STORE_CHANGED && (must_keep(c) || ++c->changed <= CHANGED_MOST)) {
        if (!must_keep(c)) drop_next(c);
        load(c);
        return;
    }
    if (reply->outcome != DPG_STORE_DONE) {
        if (reply->outcome == DPG_STORE_FAILED) err = reply->error;
        else
            dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                     "the stored record keeps changing under our lock");
        save_failed(c, &err, now);
        return;
    }
    remember_stored(c);
    if (purpose != DPG_NEXT_TRIAL) replace_record(c, &c->next);
    if (purpose == DPG_NEXT_SUCCESSOR) {
        dpg_access *a = dpg_record_access(&c->record, dpg_cstr(c->exchange_account));

        c->fresh_serial = a ? a->serial : 0;
        c->in_doubt = false;
        c->rotations++;
        say(c, DPG_EVENT_ROTATED, "", "");
    } else if (purpose == DPG_NEXT_FORGET) {
        say(c, DPG_EVENT_SIGNED_OUT, "signed_out", "");
    }
    drop_next(c);
    if (c->job) c->job_done = true;
    unlock(c);
}

/* --- what comes in ------------------------------------------------------------------------------------------------------------ */

static void locked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    int64_t wait = reply->again_ms > 0 ? reply->again_ms : 1;

    if (reply->outcome == DPG_STORE_DONE) {
        c->hold_since = now->boot_ms;
        load(c);
        return;
    }
    if (reply->outcome == DPG_STORE_BUSY) {
        dpg_fail(&c->trouble, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_busy", "the store is locked%s%s",
                 reply->holder[0] ? " by " : "", reply->holder);
        serve_living(c, now);
    } else { /* only what a sign-in brought is worth another try */
        wait = LOCK_AGAIN_MS;
        c->trouble = reply->error;
        fail_waiters(c, &c->trouble, NULL, now);
        fail_jobs(c, &c->trouble, !may_pass(&c->trouble));
    }
    if (dpg_list_empty(&c->waiters) && dpg_list_empty(&c->jobs)) {
        rest(c, now);
        return;
    }
    if (now->boot_ms - c->walk_since < LOCK_LIMIT_MS) {
        c->timer_boot_ms = now->boot_ms + wait + (int64_t)(now->random % (uint64_t)(wait / 2 + 1));
        return;
    }
    fail_waiters(c, &c->trouble, NULL, now);
    fail_jobs(c, &c->trouble, true);
    rest(c, now);
}

void dpg_cred_store_replied(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    switch (c->state) {
    case DPG_CRED_LOCKING: locked(c, reply, now); break;
    case DPG_CRED_LOADING: loaded(c, reply, now); break;
    case DPG_CRED_MARKING: marked(c, reply, now); break;
    case DPG_CRED_SAVING: saved(c, reply, now); break;
    case DPG_CRED_NOTING:
        if (reply->outcome == DPG_STORE_DONE) remember_stored(c);
        c->written = false;
        unlock(c);
        break;
    case DPG_CRED_UNLOCKING: unlocked(c, now); break;
    default: break;
    }
    dpg_buf_clear(&reply->bytes);
}

void dpg_cred_timer(dpg_cred *c, const dpg_moment *now)
{
    if (c->timer_boot_ms > now->boot_ms) return;
    c->timer_boot_ms = INT64_MAX;
    switch (c->state) {
    case DPG_CRED_LOCKING: c->op = DPG_OP_LOCK; break;
    case DPG_CRED_AGAIN:
        c->tries++;
        enter(c, DPG_CRED_EXCHANGING);
        c->op = DPG_OP_EXCHANGE;
        break;
    case DPG_CRED_SAVE_AGAIN:
        if (c->reload) load(c);
        else save_next(c, now);
        break;
    case DPG_CRED_EXCHANGING: /* a token endpoint that takes its time takes nobody's good token away */
        serve_living(c, now);
        break;
    case DPG_CRED_PAUSED:
        say(c, DPG_EVENT_GATE_OPEN, "", "");
        rest(c, now);
        break;
    default: break;
    }
}

void dpg_cred_want(dpg_cred *c, dpg_waiter *w, const dpg_moment *now)
{
    const dpg_access *a = dpg_record_access(&c->record, w->account);
    bool idle = c->state == DPG_CRED_IDLE;

    w->verdict = DPG_WAITING;
    dpg_list_push(&c->waiters, &w->link);
    if (is_usable(a, w, now)) {
        if (c->fresh_serial && a->serial == c->fresh_serial) return; /* saved, and handed out when the lock is back */
        if (!(idle && is_due_early(c, a, now))) {
            give_bearer(c, w, a);
            return;
        }
    } else if (now->boot_ms < c->failed_until && c->failed_account &&
               dpg_str_eq(w->account, dpg_cstr(c->failed_account))) {
        give_error(c, w, &c->failure);
        return;
    }
    if (idle) start_walk(c, now);
    else if (c->state == DPG_CRED_PAUSED) refuse_the_impatient(c, now);
}

void dpg_cred_leave(dpg_cred *c, dpg_waiter *w)
{
    (void)c; /* the walk goes on: it is for the session's sake as much as for theirs */
    dpg_list_remove(&w->link);
}

void dpg_cred_start_job(dpg_cred *c, dpg_job *job, const dpg_moment *now)
{
    job->settled = job->done = false;
    dpg_list_push(&c->jobs, &job->link);
    if (c->state == DPG_CRED_IDLE || c->state == DPG_CRED_PAUSED) start_walk(c, now);
}

bool dpg_cred_leave_job(dpg_cred *c, dpg_job *job)
{
    if (job->settled || (job != c->job && job->type != DPG_JOB_ADOPT)) {
        dpg_list_remove(&job->link);
        return true;
    }
    return false;
}

/* --- what goes out -------------------------------------------------------------------------------------------------------------- */

static void put_save(const dpg_cred *c, dpg_action *action, bool reserve)
{
    action->store.op = DPG_STORE_SAVE;
    action->store.bytes = dpg_buf_str(&c->next_bytes);
    action->store.had = c->stored_found;
    action->store.expected = dpg_buf_str(&c->stored);
    action->store.reserve = reserve;
}

bool dpg_cred_next(dpg_cred *c, dpg_action *action)
{
    memset(action, 0, sizeof *action);
    if (c->event_count) {
        action->type = DPG_ACT_EVENT;
        action->event = c->events[0].event;
        action->generation = c->events[0].generation;
        memcpy(action->code, c->events[0].code, sizeof action->code);
        memcpy(action->message, c->events[0].message, sizeof action->message);
        memmove(c->events, c->events + 1, (size_t)--c->event_count * sizeof *c->events);
        return true;
    }
    action->type = c->op == DPG_OP_EXCHANGE ? DPG_ACT_EXCHANGE : DPG_ACT_STORE;
    switch (c->op) {
    case DPG_OP_NONE: return false;
    case DPG_OP_LOCK: action->store.op = DPG_STORE_LOCK; break;
    case DPG_OP_LOAD: action->store.op = DPG_STORE_LOAD; break;
    case DPG_OP_UNLOCK: action->store.op = DPG_STORE_UNLOCK; break;
    case DPG_OP_SAVE:
    case DPG_OP_MARK: put_save(c, action, c->op == DPG_OP_MARK); break;
    case DPG_OP_EXCHANGE:
        action->refresh_token = dpg_cstr(c->record.refresh_token);
        action->account = dpg_cstr(c->exchange_account);
        break;
    }
    c->op = DPG_OP_NONE;
    return true;
}
