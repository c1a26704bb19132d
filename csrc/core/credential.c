/*
 * The walk of a refresh token, decided. Read dpg_cred_store_replied(), dpg_cred_exchanged() and dpg_cred_timer(): all
 * that can happen comes in there, and each state's answer to it is one function. Nothing here touches the world.
 */
#include "credential_internal.h"

#include "retry.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LOCK_LIMIT_MS 75000 /* longer than an exchange may take a sibling */
#define LOCK_AGAIN_MS 200
#define EXCHANGE_LIMIT_MS 60000 /* one walk's exchange, replays included */
#define LEASE_NEEDED_MS (DPG_EXCHANGE_MS + DPG_SAVE_MS)
#define UNSENT_TRIES 6
#define EARLY_WAIT_MS 3000 /* so long a call with a good token in hand waits for a better one */
#define MEMO_MS 1000       /* how long a "no" to an exchange that is no refusal answers those who come next */
#define CHANGED_MOST 3
#define UNLOCKS_MOST 3
#define SAVE_BASE_MS 100
#define SAVE_CAP_MS 5000

/* --- states ---------------------------------------------------------------------------------------------------------- */

static const char *const state_names[] = {"idle",     "locking", "loading",    "marking", "exchanging", "again",
                                          "renewing", "saving",  "save_again", "noting",  "unlocking",  "paused"};
#define BIT(state) (1u << (state))
static const unsigned may_follow[] = {
    [DPG_CRED_IDLE] = BIT(DPG_CRED_LOCKING) | BIT(DPG_CRED_PAUSED),
    [DPG_CRED_LOCKING] = BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_IDLE),
    [DPG_CRED_LOADING] = BIT(DPG_CRED_MARKING) | BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) |
                         BIT(DPG_CRED_NOTING) | BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_EXCHANGING) |
                         BIT(DPG_CRED_AGAIN) | BIT(DPG_CRED_RENEWING),
    [DPG_CRED_MARKING] = BIT(DPG_CRED_EXCHANGING) | BIT(DPG_CRED_RENEWING) | BIT(DPG_CRED_LOADING) |
                         BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_LOCKING),
    [DPG_CRED_EXCHANGING] = BIT(DPG_CRED_AGAIN) | BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) |
                            BIT(DPG_CRED_NOTING) | BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_AGAIN] = BIT(DPG_CRED_EXCHANGING) | BIT(DPG_CRED_RENEWING),
    [DPG_CRED_RENEWING] = BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) | BIT(DPG_CRED_LOADING) |
                          BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_LOCKING),
    [DPG_CRED_SAVING] =
        BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_SAVE_AGAIN) | BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_LOCKING),
    [DPG_CRED_SAVE_AGAIN] = BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) | BIT(DPG_CRED_LOADING) |
                            BIT(DPG_CRED_RENEWING) | BIT(DPG_CRED_UNLOCKING),
    [DPG_CRED_NOTING] = BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_UNLOCKING),
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
    dpg_free(c->ahead);
    dpg_free(c->origin);
    c->exchange_account = c->failed_account = c->ahead = c->origin = NULL;
}

/* --- the lock, which may be a lease ------------------------------------------------------------------------------------ */

static void ask_for_lock(dpg_cred *c, const dpg_moment *now)
{
    c->op = DPG_OP_LOCK;
    c->lock_asked = now->boot_ms;
}

static void got_lock(dpg_cred *c)
{
    c->lease_until = c->lease_ms ? c->lock_asked + c->lease_ms : INT64_MAX;
}

/* Does the lease outlive an exchange that is sent now, and the save after it? */
static bool lease_lasts(const dpg_cred *c, const dpg_moment *now)
{
    return c->lease_until == INT64_MAX || c->lease_until - now->boot_ms >= LEASE_NEEDED_MS;
}

static void renew(dpg_cred *c, dpg_cred_state what_for, const dpg_moment *now)
{
    enter(c, DPG_CRED_RENEWING);
    c->renewed_for = what_for;
    ask_for_lock(c, now);
}

/* --- the walk's ends ---------------------------------------------------------------------------------------------------- */

static void start_walk(dpg_cred *c, const dpg_moment *now)
{
    if (c->state == DPG_CRED_PAUSED) enter(c, DPG_CRED_IDLE);
    enter(c, DPG_CRED_LOCKING);
    ask_for_lock(c, now);
    c->walk_since = now->boot_ms;
    c->changed = 0;
    dpg_free(c->ahead);
    c->ahead = NULL;
    memset(&c->trouble, 0, sizeof c->trouble);
    c->trouble.retry_after_ms = -1;
}

/* A wait that would pass the deadline is not begun. */
static void refuse_the_impatient(dpg_cred *c, const dpg_moment *now)
{
    int64_t until = now->boot_ms + dpg_cred_pause_left(c, now);
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
        if (w->deadline_boot_ms <= until) dpg_cred_give_error(c, w, &err);
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
    if (dpg_cred_pause_left(c, now) && dpg_cred_has_session(c)) {
        refuse_the_impatient(c, now);
        if (dpg_list_empty(&c->waiters)) return;
        enter(c, DPG_CRED_PAUSED);
        c->timer_boot_ms = now->boot_ms + dpg_cred_pause_left(c, now);
        return;
    }
    start_walk(c, now);
}

static void unlock(dpg_cred *c)
{
    enter(c, DPG_CRED_UNLOCKING);
    c->op = DPG_OP_UNLOCK;
}

/* All is saved, and everybody who can goes on. */
static void hand_out(dpg_cred *c, const dpg_moment *now)
{
    dpg_list *node, *next;

    if (c->job && c->job_done) dpg_cred_settle_job(c, c->job, NULL);
    c->job = NULL;
    c->job_done = false;
    dpg_cred_serve_living(c, now);
    for (node = c->waiters.next; c->fresh_serial && node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);

        next = node->next;
        if (w->rejected == c->fresh_serial)
            dpg_cred_let_stand(c, w); /* the exchange has brought the very same token again */
    }
    c->fresh_serial = 0;
}

static void unlocked(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    hand_out(c, now);
    if (reply->outcome == DPG_STORE_FAILED) {
        if (c->unlocks++ == 0) dpg_cred_say(c, DPG_EVENT_STORAGE, reply->error.code, reply->error.message);
        if (reply->unsure && c->unlocks < UNLOCKS_MOST) { /* else the siblings would wait for nothing */
            c->op = DPG_OP_UNLOCK;
            return;
        }
    }
    c->unlocks = 0;
    rest(c, now);
}

/* Jobs that came meanwhile go on to a walk of their own: a sign-in that has been answered has a session to save. */
static void fail_walk(dpg_cred *c, const dpg_error *err, const dpg_moment *now)
{
    dpg_cred_fail_waiters(c, err, NULL, now);
    unlock(c);
}

/* --- records in hand ----------------------------------------------------------------------------------------------------- */

/* Save `record` with what was just changed in it, for others to see; nothing is lost when that fails. */
static void note(dpg_cred *c)
{
    dpg_cred_write_next(c, &c->record);
    if (!c->written) {
        unlock(c);
        return;
    }
    enter(c, DPG_CRED_NOTING);
    c->op = DPG_OP_SAVE;
}

static void save_again(dpg_cred *c, const dpg_moment *now)
{
    enter(c, DPG_CRED_SAVE_AGAIN);
    c->timer_boot_ms =
        now->boot_ms + 1 + SAVE_BASE_MS / 2 + dpg_backoff_ms(SAVE_BASE_MS, SAVE_CAP_MS, ++c->save_tries, now->random);
}

/* A save could not be made: of what must be kept, the lock is kept too, and it is tried for as long as we live. */
static void save_failed(dpg_cred *c, const dpg_error *err, const dpg_moment *now)
{
    dpg_error copy = *err;
    bool whole = c->built; /* else the job's buffers are still needed to build it */

    if (dpg_cred_must_keep(c)) {
        if (c->save_tries == 0) dpg_cred_say(c, DPG_EVENT_STORAGE, copy.code, copy.message);
        c->trouble = copy;
        /* a moment without memory is nobody's failure yet */
        if (whole && (copy.status != DPG_E_NOMEM || c->save_tries > 3)) {
            dpg_cred_fail_waiters(c, &copy, NULL, now);
            dpg_cred_fail_jobs(c, &copy, true);
        }
        save_again(c, now);
        return;
    }
    dpg_cred_drop_next(c);
    if (c->job) dpg_cred_settle_job(c, c->job, &copy);
    unlock(c);
}

static void save_next(dpg_cred *c, const dpg_moment *now)
{
    dpg_error err;

    if (!c->built) {
        c->written = false; /* what stands there may be a mark that could not be saved */
        c->built = dpg_cred_build_next(c, now);
    }
    if (c->built && !c->written) dpg_cred_write_next(c, &c->next);
    if (!c->written) {
        if (c->purpose == DPG_NEXT_ADOPT && c->next_bytes.failed == DPG_BUF_TOO_LONG) {
            dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "record_too_large",
                     "the sign-in answer is too large to be kept");
            dpg_cred_drop_next(c);
            dpg_cred_settle_job(c, c->job, &err);
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

/* --- loading --------------------------------------------------------------------------------------------------------------- */

static void begin_mark(dpg_cred *c, dpg_str account, const dpg_moment *now);
static void go_on(dpg_cred *c, const dpg_moment *now);
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
            dpg_cred_auth_error(c, &err);
            dpg_cred_settle_job(c, job, &err);
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

/* The store has spoken, nobody waits, and it is still time for the next token. */
static bool goes_ahead(const dpg_cred *c, const dpg_moment *now)
{
    const dpg_access *a = c->ahead ? dpg_record_access(&c->record, dpg_cstr(c->ahead)) : NULL;

    return a && dpg_cred_lives(a, now) && dpg_cred_is_due_early(c, a, now);
}

/* The store has spoken: who can go on, goes on; if somebody still needs a token, there has to be an exchange. */
static void do_waiters(dpg_cred *c, const dpg_moment *now)
{
    dpg_list *node, *next;
    dpg_error err;

    if (!dpg_cred_serve(c, true, now)) {
        if (goes_ahead(c, now)) begin_mark(c, dpg_cstr(c->ahead), now);
        else unlock(c);
        return;
    }
    if (!dpg_cred_has_session(c)) {
        dpg_cred_auth_error(c, &err);
        fail_walk(c, &err, now);
        return;
    }
    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);
        const dpg_access *a = dpg_record_access(&c->record, w->account);
        int64_t young = a && a->life_ms < DPG_YOUNG_MS ? a->life_ms : DPG_YOUNG_MS;

        next = node->next;
        if (a && w->rejected && a->serial == w->rejected && dpg_cred_lives(a, now) && dpg_cred_age_ms(a, now) < young)
            dpg_cred_let_stand(c, w);
    }
    node = dpg_list_first(&c->waiters);
    if (!node || dpg_cred_pause_left(c, now)) unlock(c);
    else begin_mark(c, DPG_LIST_ITEM(node, dpg_waiter, link)->account, now);
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

/* What was to be saved is stored. */
static void is_saved(dpg_cred *c)
{
    int purpose = c->purpose;

    dpg_cred_remember_stored(c);
    if (purpose != DPG_NEXT_TRIAL) dpg_cred_replace_record(c, &c->next);
    if (purpose == DPG_NEXT_SUCCESSOR) {
        dpg_access *a = dpg_record_access(&c->record, dpg_cstr(c->exchange_account));

        c->fresh_serial = a ? a->serial : 0;
        c->in_doubt = false;
        c->rotations++;
        dpg_cred_say(c, DPG_EVENT_ROTATED, "", "");
    } else if (purpose == DPG_NEXT_FORGET) {
        dpg_cred_say(c, DPG_EVENT_SIGNED_OUT, "signed_out", "");
    }
    dpg_cred_drop_next(c);
    if (c->job) c->job_done = true;
    unlock(c);
}

/*
 * Is what somebody stored while our lease was over newer than our successor? Not if it still has the token that we have
 * just spent: the server gave them an access token alone, before it gave us both.
 */
static bool is_newer(const dpg_cred *c, const dpg_record *r)
{
    if (r->tombstone || strcmp(r->family, c->next.family) != 0) return true;
    if (dpg_str_eq_secret(dpg_cstr(r->refresh_token), dpg_cstr(c->record.refresh_token)) &&
        !dpg_str_eq_secret(dpg_cstr(r->refresh_token), dpg_cstr(c->next.refresh_token)))
        return false;
    return r->generation >= c->next.generation;
}

/*
 * What is to be saved has met `r`, or nothing. False: `r` is what goes on, and ours is dropped. The last sign-in wins; but
 * one whose save may have been made, unheard, is not written over what came after it: its token may be spent.
 */
static bool keep_ours(dpg_cred *c, const dpg_record *r, bool as_before, const dpg_moment *now)
{
    bool ours_once = c->built && !r->tombstone && strcmp(r->family, c->next.family) == 0;
    dpg_error err;

    if (c->stored_found && c->purpose == DPG_NEXT_SUCCESSOR && is_newer(c, r)) {
        dpg_cred_drop_next(c);
        return false;
    }
    if (c->stored_found && c->purpose == DPG_NEXT_ADOPT && (ours_once || (c->unheard && !as_before))) {
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                 "another session was stored while it was not known whether this one was");
        dpg_cred_drop_next(c);
        if (c->job) dpg_cred_settle_job(c, c->job, ours_once ? NULL : &err);
        return false;
    }
    if (c->stored_found && c->built && r->generation >= c->next.generation) {
        c->next.generation = r->generation + 1;
        dpg_cred_write_next(c, &c->next);
    }
    save_next(c, now);
    return true;
}

static void loaded(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_record r = {0};
    dpg_job *job;
    dpg_error err = DPG_ERROR_INIT;
    bool fine = reply->outcome == DPG_STORE_DONE;
    bool as_before = fine && reply->found == c->stored_found &&
                     dpg_str_eq_secret(dpg_buf_str(&reply->bytes), dpg_buf_str(&c->stored));

    if (c->verifying) {
        c->verifying = false;
        if (as_before) {
            go_on(c, now);
            return;
        }
        c->record.in_flight = c->in_doubt; /* our mark is gone, or will be taken for ours */
    }
    if (fine) {
        dpg_buf_clear(&c->stored);
        c->stored = reply->bytes;
        memset(&reply->bytes, 0, sizeof reply->bytes);
        if (!c->stored.max) dpg_buf_init_secret(&c->stored, DPG_RECORD_MAX);
        c->stored_found = reply->found;
        if (dpg_cred_must_keep(c) && c->built && c->written && c->stored_found &&
            dpg_str_eq_secret(dpg_buf_str(&c->stored), dpg_buf_str(&c->next_bytes))) {
            is_saved(c); /* by a save of which we heard no end */
            return;
        }
        fine = !c->stored_found || dpg_cred_read_stored(c, &r, &err);
    } else {
        err = reply->error;
    }
    if (!fine) {
        /* a sign-in's tokens are kept through a store that fails for a while, but never put over what isn't ours */
        if (!dpg_cred_must_keep(c) && (job = dpg_cred_adopting(c)) != NULL && may_pass(&err)) {
            c->job = job;
            c->purpose = DPG_NEXT_ADOPT;
        }
        if (dpg_cred_must_keep(c)) {
            c->reload =
                reply->outcome != DPG_STORE_DONE || err.status == DPG_E_NOMEM; /* else: it goes over what is damaged */
            save_failed(c, &err, now);
            return;
        }
        dpg_cred_fail_jobs(c, &err, true);
        fail_walk(c, &err, now);
        return;
    }
    if (dpg_cred_must_keep(c) && keep_ours(c, &r, as_before, now)) {
        dpg_record_clear(&r);
        return;
    }
    if (c->stored_found) dpg_cred_ingest(c, &r, now);
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
    if (!c->unsent_mark) c->unsent_mark = (int64_t)(now->random >> 2);
    c->record.in_flight_id = c->unsent_mark; /* what is stored of an earlier try is known for ours by it */
    if (copy) dpg_cred_write_next(c, &c->record);
    if (!copy || !c->written) {
        c->record.in_flight = was;
        dpg_fail_nomem(&err);
        fail_walk(c, &err, now);
        return;
    }
    enter(c, DPG_CRED_MARKING);
    c->op = DPG_OP_MARK;
}

static void send(dpg_cred *c, const dpg_moment *now)
{
    if (!lease_lasts(c, now)) {
        renew(c, DPG_CRED_EXCHANGING, now);
        return;
    }
    c->unsent_mark = 0;
    enter(c, DPG_CRED_EXCHANGING);
    c->op = DPG_OP_EXCHANGE;
    c->timer_boot_ms = now->boot_ms + EARLY_WAIT_MS;
}

/* The lock may be somebody else's by now: the walk begins anew, for who is there. */
static void walk_back(dpg_cred *c, const dpg_moment *now)
{
    c->job = NULL;
    c->walk_since = now->boot_ms;
    enter(c, DPG_CRED_LOCKING);
    ask_for_lock(c, now);
}

/*
 * Read the store again, where it has another record than we thought, or where nobody knows what it has (nor, then, whether
 * the lock is still ours). False: not, or not any more.
 */
static bool read_again(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    bool unsure = reply->outcome == DPG_STORE_FAILED && reply->unsure;

    if (reply->outcome != DPG_STORE_CHANGED && !unsure) return false;
    c->changed += unsure ? 2 : 1; /* one more try where the store fails: somebody waits */
    if (c->changed > CHANGED_MOST) return false;
    if (unsure) walk_back(c, now);
    else load(c);
    return true;
}

static void marked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_error err;

    if (reply->outcome == DPG_STORE_DONE) {
        dpg_cred_remember_stored(c);
        c->tries = 1;
        c->exchange_since = now->boot_ms;
        send(c, now);
        return;
    }
    c->record.in_flight = c->in_doubt;
    if (read_again(c, reply, now)) return;
    if (reply->outcome == DPG_STORE_FAILED) err = reply->error;
    else
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                 "the stored record keeps changing under our lock");
    dpg_cred_say(c, DPG_EVENT_STORAGE, err.code, err.message);
    fail_walk(c, &err, now);
}

static void lost(dpg_cred *c, const dpg_moment *now)
{
    dpg_error err;

    c->losing = false;
    dpg_cred_auth_error(c, &err);
    if (c->trouble.request_id[0]) snprintf(err.request_id, sizeof err.request_id, "%s", c->trouble.request_id);
    err.http_status = c->trouble.http_status;
    dpg_cred_say(c, DPG_EVENT_SIGNED_OUT, c->reason, "");
    dpg_cred_fail_waiters(c, &err, NULL, now);
}

/*
 * The session is over: nobody presents this refresh token again, here or elsewhere. The waiters hear of it when that is
 * written down: under a lease that ran out meanwhile, somebody may have saved its successor.
 */
static void lose(dpg_cred *c, const char *reason, const dpg_moment *now)
{
    snprintf(c->record.refused, sizeof c->record.refused, "%s", reason);
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    c->record.in_flight = false;
    c->losing = true;
    note(c);
    if (c->state != DPG_CRED_NOTING) lost(c, now);
}

/* End this walk without a token. Where the mark tells the truth it stays, so that the next walk asks about the same token. */
static void give_up(dpg_cred *c, const dpg_error *err, const char *account, const dpg_moment *now)
{
    dpg_cred_fail_waiters(c, err, account, now);
    if (c->in_doubt) {
        unlock(c);
        return;
    }
    c->record.in_flight = false;
    note(c);
}

/* Until it is time to send, the lease is kept alive, or a sibling would ask meanwhile. */
static void await_again(dpg_cred *c)
{
    enter(c, DPG_CRED_AGAIN);
    c->timer_boot_ms = c->again_at;
    if (c->lease_until != INT64_MAX && c->lease_until - LEASE_NEEDED_MS < c->again_at)
        c->timer_boot_ms = c->lease_until - LEASE_NEEDED_MS;
}

static void again(dpg_cred *c, int64_t wait_ms, const dpg_moment *now)
{
    c->again_at = now->boot_ms + wait_ms;
    await_again(c);
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
    dpg_cred_say(c, DPG_EVENT_GATE_CLOSED, "rate_limited", "");
    dpg_cred_serve_living(c, now);
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

/* Another try may end otherwise: not where a certificate or an option is wrong. */
static bool may_change(const dpg_error *err)
{
    return err->kind != DPG_KIND_TLS && err->kind != DPG_KIND_USAGE;
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
    dpg_cred_serve_living(c, now);
    /* at once the first time: if the answer alone was lost, a grace of the server may be short */
    wait = !unsent && c->tries == 1 ? 0 : dpg_backoff_ms(200, 5000, c->tries, now->random);
    if (!has_time(c, wait, now) || (!c->in_doubt && (c->tries >= UNSENT_TRIES || !may_change(&x->error) ||
                                                     (dpg_list_empty(&c->waiters) && dpg_list_empty(&c->jobs))))) {
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

    if (reply->outcome == DPG_STORE_DONE) {
        is_saved(c);
        return;
    }
    if (dpg_cred_must_keep(c) && reply->outcome == DPG_STORE_CHANGED) {
        load(c);
        return;
    }
    if (!dpg_cred_must_keep(c) && read_again(c, reply, now)) {
        dpg_cred_drop_next(c);
        return;
    }
    if (reply->outcome == DPG_STORE_FAILED) err = reply->error;
    else
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                 "the stored record keeps changing under our lock");
    c->reload = reply->unsure;
    c->unheard = c->unheard || reply->unsure;
    save_failed(c, &err, now);
}

/* Now, whatever has become of the lease: what is stored is compared, and each moment is one in which it could be lost. */
static void go_on_saving(dpg_cred *c, const dpg_moment *now)
{
    if (c->reload) load(c);
    else save_next(c, now);
}

/* The record was asked to say that the session is over. */
static void noted(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    c->written = false;
    if (reply->outcome == DPG_STORE_DONE) dpg_cred_remember_stored(c);
    if (c->losing && reply->outcome == DPG_STORE_CHANGED && read_again(c, reply, now)) {
        c->losing = false;
        return;
    }
    if (c->losing) lost(c, now);
    unlock(c);
}

/* --- what comes in ------------------------------------------------------------------------------------------------------------ */

static void locked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    int64_t wait = reply->again_ms > 0 ? reply->again_ms : 1;

    if (reply->outcome == DPG_STORE_DONE) {
        got_lock(c);
        c->hold_since = now->boot_ms;
        load(c);
        return;
    }
    if (reply->outcome == DPG_STORE_BUSY) {
        dpg_fail(&c->trouble, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_busy", "the store is locked%s%s",
                 reply->holder[0] ? " by " : "", reply->holder);
        dpg_cred_serve_living(c, now);
    } else { /* only what a sign-in brought is worth another try */
        wait = LOCK_AGAIN_MS;
        c->trouble = reply->error;
        dpg_cred_fail_waiters(c, &c->trouble, NULL, now);
        dpg_cred_fail_jobs(c, &c->trouble, !may_pass(&c->trouble));
    }
    if (!dpg_list_empty(&c->waiters) || !dpg_list_empty(&c->jobs)) {
        if (now->boot_ms - c->walk_since < LOCK_LIMIT_MS) {
            c->timer_boot_ms = now->boot_ms + wait + (int64_t)(now->random % (uint64_t)(wait / 2 + 1));
            return;
        }
        dpg_cred_fail_waiters(c, &c->trouble, NULL, now);
        dpg_cred_fail_jobs(c, &c->trouble, true);
    } else if (c->early_not_before <
               now->boot_ms + MEMO_MS) { /* ahead of time: whoever has the lock may bring the next one */
        c->early_not_before = now->boot_ms + MEMO_MS;
    }
    if (reply->unsure) unlock(c); /* it may have been given to us */
    else rest(c, now);
}

/* What the lease was renewed for, if nobody was there meanwhile. */
static void go_on(dpg_cred *c, const dpg_moment *now)
{
    if (c->renewed_for == DPG_CRED_AGAIN) await_again(c);
    else send(c, now);
}

/*
 * An exchange goes on only if what is stored is still our mark: we may have slept past the lease, or the store may have
 * forgotten it, and a sibling have come and gone. If the lease could not be renewed nothing is sent: somebody else may have
 * the lock, and have adopted our mark, so the walk begins anew.
 */
static void renewed(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    bool fine = reply->outcome == DPG_STORE_DONE;

    if (fine) got_lock(c);
    if (c->renewed_for == DPG_CRED_SAVE_AGAIN) {
        go_on_saving(c, now);
    } else if (fine) {
        load(c);
        c->verifying = true;
    } else {
        c->record.in_flight = c->in_doubt;
        walk_back(c, now);
        if (reply->outcome == DPG_STORE_BUSY) {
            c->op = DPG_OP_NONE;
            locked(c, reply, now);
        }
    }
}

void dpg_cred_store_asked(dpg_cred *c, const dpg_moment *now)
{
    c->asked = true; /* a store that takes its time takes nobody's good token away */
    c->timer_boot_ms = c->walk_since + EARLY_WAIT_MS > now->boot_ms ? c->walk_since + EARLY_WAIT_MS : now->boot_ms;
}

void dpg_cred_store_replied(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    c->asked = false;
    switch (c->state) {
    case DPG_CRED_LOCKING: locked(c, reply, now); break;
    case DPG_CRED_LOADING: loaded(c, reply, now); break;
    case DPG_CRED_MARKING: marked(c, reply, now); break;
    case DPG_CRED_RENEWING: renewed(c, reply, now); break;
    case DPG_CRED_SAVING: saved(c, reply, now); break;
    case DPG_CRED_NOTING: noted(c, reply, now); break;
    case DPG_CRED_UNLOCKING: unlocked(c, reply, now); break;
    default: break;
    }
    dpg_buf_clear(&reply->bytes);
}

void dpg_cred_timer(dpg_cred *c, const dpg_moment *now)
{
    if (c->timer_boot_ms > now->boot_ms) return;
    c->timer_boot_ms = INT64_MAX;
    if (c->asked) {
        dpg_cred_serve_living(c, now);
        return;
    }
    switch (c->state) {
    case DPG_CRED_LOCKING: ask_for_lock(c, now); break;
    case DPG_CRED_AGAIN:
        if (now->boot_ms < c->again_at) {
            renew(c, DPG_CRED_AGAIN, now);
            break;
        }
        c->tries++;
        send(c, now);
        break;
    case DPG_CRED_SAVE_AGAIN:
        if (lease_lasts(c, now)) go_on_saving(c, now);
        else renew(c, DPG_CRED_SAVE_AGAIN, now);
        break;
    case DPG_CRED_EXCHANGING: /* a token endpoint that takes its time takes nobody's good token away */
        dpg_cred_serve_living(c, now);
        break;
    case DPG_CRED_PAUSED:
        dpg_cred_say(c, DPG_EVENT_GATE_OPEN, "", "");
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
    if (dpg_cred_is_usable(a, w, now)) {
        if (c->fresh_serial && a->serial == c->fresh_serial) return; /* saved, and handed out when the lock is back */
        if (!idle || !dpg_cred_is_due_early(c, a, now)) {
            dpg_cred_give_bearer(c, w, a);
            return;
        }
        if (c->background) {
            dpg_cred_give_bearer(c, w, a);
            start_walk(c, now);
            c->ahead = dpg_strndup(w->account); /* NULL: then this walk only looks what siblings have done */
            return;
        }
    } else if (now->boot_ms < c->failed_until && c->failed_account &&
               dpg_str_eq(w->account, dpg_cstr(c->failed_account))) {
        dpg_cred_give_error(c, w, &c->failure);
        return;
    }
    if (idle) start_walk(c, now);
    else if (c->state == DPG_CRED_PAUSED) refuse_the_impatient(c, now);
}

/* Nobody is left for whom to ask a busy store for its lock. From then on a walk goes on: it is for the session's sake, too. */
static void stop_asking(dpg_cred *c)
{
    if (c->state == DPG_CRED_LOCKING && !c->asked && c->timer_boot_ms != INT64_MAX && dpg_list_empty(&c->waiters) &&
        dpg_list_empty(&c->jobs))
        enter(c, DPG_CRED_IDLE);
}

void dpg_cred_leave(dpg_cred *c, dpg_waiter *w)
{
    dpg_list_remove(&w->link);
    stop_asking(c);
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
        stop_asking(c);
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
        action->wait_ms = c->events[0].wait_ms;
        memcpy(action->code, c->events[0].code, sizeof action->code);
        memcpy(action->message, c->events[0].message, sizeof action->message);
        memmove(c->events, c->events + 1, (size_t)--c->event_count * sizeof *c->events);
        return true;
    }
    action->type = c->op == DPG_OP_EXCHANGE ? DPG_ACT_EXCHANGE : DPG_ACT_STORE;
    switch (c->op) {
    case DPG_OP_NONE: return false;
    case DPG_OP_LOCK:
        action->store.op = DPG_STORE_LOCK;
        action->store.ttl_ms = c->lease_ms ? c->lease_ms : DPG_LEASE_MS;
        break;
    case DPG_OP_LOAD: action->store.op = DPG_STORE_LOAD; break;
    case DPG_OP_UNLOCK: action->store.op = DPG_STORE_UNLOCK; break;
    case DPG_OP_SAVE:
    case DPG_OP_MARK: put_save(c, action, c->op == DPG_OP_MARK); break;
    case DPG_OP_EXCHANGE:
        action->refresh_token = dpg_cstr(c->record.refresh_token);
        action->account = dpg_cstr(c->exchange_account);
        action->leave_by_boot_ms = c->lease_until == INT64_MAX ? 0 : c->lease_until - DPG_SAVE_MS;
        break;
    }
    c->op = DPG_OP_NONE;
    return true;
}
