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
#define CHANGED_MOST 3
#define UNLOCKS_MOST 3
#define OWED_AGAIN_MS 1000

/* --- states ---------------------------------------------------------------------------------------------------------- */

static const char *const state_names[] = {"idle",     "locking", "loading",    "marking", "exchanging", "again",
                                          "renewing", "saving",  "save_again", "noting",  "unlocking",  "paused"};
#define BIT(state) (1u << (state))
static const unsigned may_follow[] = {
    [DPG_CRED_IDLE] = BIT(DPG_CRED_LOCKING) | BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_PAUSED),
    [DPG_CRED_LOCKING] = BIT(DPG_CRED_LOADING) | BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_IDLE),
    [DPG_CRED_LOADING] = BIT(DPG_CRED_MARKING) | BIT(DPG_CRED_SAVING) | BIT(DPG_CRED_SAVE_AGAIN) |
                         BIT(DPG_CRED_NOTING) | BIT(DPG_CRED_UNLOCKING) | BIT(DPG_CRED_EXCHANGING) |
                         BIT(DPG_CRED_AGAIN) | BIT(DPG_CRED_RENEWING) | BIT(DPG_CRED_LOCKING),
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

void dpg_cred_enter(dpg_cred *c, dpg_cred_state to) /* the only writer of c->state */
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
    c->lock_unsure = false;
}

/* Does the lease outlive an exchange that is sent now, and the save after it? */
bool dpg_cred_lease_lasts(const dpg_cred *c, const dpg_moment *now)
{
    return c->lease_until == INT64_MAX || c->lease_until - now->boot_ms >= DPG_LEASE_NEEDED_MS;
}

void dpg_cred_renew(dpg_cred *c, dpg_cred_state what_for, const dpg_moment *now)
{
    dpg_cred_enter(c, DPG_CRED_RENEWING);
    c->renewed_for = what_for;
    ask_for_lock(c, now);
}

/* --- the walk's ends ---------------------------------------------------------------------------------------------------- */

/* Is there a lock of ours that may still be in the store, though nobody wants it? */
static bool owes_unlock(const dpg_cred *c, const dpg_moment *now)
{
    return c->owed_until > now->boot_ms;
}

static void start_walk(dpg_cred *c, const dpg_moment *now)
{
    if (c->state == DPG_CRED_PAUSED) dpg_cred_enter(c, DPG_CRED_IDLE);
    if (owes_unlock(c, now)) { /* or we would wait for ourselves: the next lock has another name */
        dpg_cred_unlock(c);
        return;
    }
    c->owed_until = 0;
    dpg_cred_enter(c, DPG_CRED_LOCKING);
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
             "the server asked for no token exchange in the next %lld s, which is longer than this call may take: "
             "call again then, or give it a longer deadline",
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
    dpg_cred_enter(c, DPG_CRED_IDLE);
    if (owes_unlock(c, now)) c->timer_boot_ms = now->boot_ms + OWED_AGAIN_MS;
    if (!dpg_list_empty(&c->jobs)) {
        start_walk(c, now);
        return;
    }
    if (dpg_list_empty(&c->waiters)) return;
    if (dpg_cred_pause_left(c, now) && dpg_cred_has_session(c)) {
        refuse_the_impatient(c, now);
        if (dpg_list_empty(&c->waiters)) return;
        dpg_cred_enter(c, DPG_CRED_PAUSED);
        c->timer_boot_ms = now->boot_ms + dpg_cred_pause_left(c, now);
        return;
    }
    start_walk(c, now);
}

void dpg_cred_unlock(dpg_cred *c)
{
    dpg_cred_enter(c, DPG_CRED_UNLOCKING);
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

static bool may_pass(const dpg_error *err)
{
    return err->status == DPG_E_NOMEM || (err->kind == DPG_KIND_STORAGE && strcmp(err->code, "store_newer") != 0);
}

/*
 * Nobody knows whether the lock was given back. It is asked for again at once, or the siblings would wait for nothing; and
 * a lease then now and then until it is over, and before the next lock. True: the answer to that is awaited.
 */
static bool unlock_again(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    if (!c->owed_until) {
        if (++c->unlocks < UNLOCKS_MOST) c->op = DPG_OP_UNLOCK;
        else if (c->lease_ms) c->owed_until = now->boot_ms + c->lease_ms;
        return c->op == DPG_OP_UNLOCK;
    }
    if (!owes_unlock(c, now)) return false;
    dpg_cred_fail_waiters(c, &reply->error, NULL, now);
    dpg_cred_fail_jobs(c, &reply->error, !may_pass(&reply->error));
    if (dpg_list_empty(&c->jobs)) return false;
    c->timer_boot_ms = now->boot_ms + LOCK_AGAIN_MS;
    return true;
}

static void unlocked(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    bool failed = reply->outcome == DPG_STORE_FAILED;

    hand_out(c, now);
    if (failed && !c->unlocks && !c->owed_until)
        dpg_cred_say(c, DPG_EVENT_STORAGE, reply->error.code, reply->error.message);
    if (failed && reply->unsure) {
        if (unlock_again(c, reply, now)) return;
    } else {
        c->owed_until = 0;
    }
    c->unlocks = 0;
    rest(c, now);
}

/* Jobs that came meanwhile go on to a walk of their own: a sign-in that has been answered has a session to save. */
void dpg_cred_fail_walk(dpg_cred *c, const dpg_error *err, const dpg_moment *now)
{
    dpg_cred_fail_waiters(c, err, NULL, now);
    dpg_cred_unlock(c);
}

/* --- loading --------------------------------------------------------------------------------------------------------------- */

static void go_on(dpg_cred *c, const dpg_moment *now);

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
        dpg_cred_unlock(c);
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
    dpg_cred_save_next(c, now);
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
        if (goes_ahead(c, now)) dpg_cred_begin_mark(c, dpg_cstr(c->ahead), now);
        else dpg_cred_unlock(c);
        return;
    }
    if (!dpg_cred_has_session(c)) {
        dpg_cred_auth_error(c, &err);
        dpg_cred_fail_walk(c, &err, now);
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
    if (!node || dpg_cred_pause_left(c, now)) dpg_cred_unlock(c);
    else dpg_cred_begin_mark(c, DPG_LIST_ITEM(node, dpg_waiter, link)->account, now);
}

void dpg_cred_load(dpg_cred *c)
{
    dpg_cred_enter(c, DPG_CRED_LOADING);
    c->op = DPG_OP_LOAD;
    c->reload = false;
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
            dpg_cred_is_saved(c); /* by a save of which we heard no end */
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
            dpg_cred_save_failed(c, &err, now);
            return;
        }
        dpg_cred_fail_jobs(c, &err, true);
        dpg_cred_fail_walk(c, &err, now);
        return;
    }
    if (dpg_cred_must_keep(c) && dpg_cred_keep_ours(c, &r, as_before, now)) {
        dpg_record_clear(&r);
        return;
    }
    if (c->stored_found) dpg_cred_ingest(c, &r, now);
    if (c->lock_unsure) { /* whose mark would it be? */
        dpg_cred_walk_back(c, now);
        return;
    }
    if (!dpg_list_empty(&c->jobs)) do_job(c, DPG_LIST_ITEM(dpg_list_first(&c->jobs), dpg_job, link), now);
    else do_waiters(c, now);
}

/* --- walking again ------------------------------------------------------------------------------------------------------- */

/* The lock may be somebody else's by now: the walk begins anew, for who is there. */
void dpg_cred_walk_back(dpg_cred *c, const dpg_moment *now)
{
    c->job = NULL;
    c->walk_since = now->boot_ms;
    dpg_cred_enter(c, DPG_CRED_LOCKING);
    ask_for_lock(c, now);
}

/*
 * Read the store again, where it has another record than we thought, or where nobody knows what it has (nor, then, whether
 * the lock is still ours). False: not, or not any more.
 */
bool dpg_cred_read_again(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    bool unsure = reply->outcome == DPG_STORE_FAILED && reply->unsure;

    if (reply->outcome != DPG_STORE_CHANGED && !unsure) return false;
    c->changed += unsure ? 2 : 1; /* one more try where the store fails: somebody waits */
    if (c->changed > CHANGED_MOST) return false;
    if (unsure) dpg_cred_walk_back(c, now);
    else dpg_cred_load(c);
    return true;
}

/* --- what comes in ------------------------------------------------------------------------------------------------------------ */

static void locked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    int64_t wait = reply->again_ms > 0 ? reply->again_ms : 1;

    if (reply->outcome == DPG_STORE_DONE) {
        got_lock(c);
        c->hold_since = now->boot_ms;
        dpg_cred_load(c);
        return;
    }
    if (reply->outcome == DPG_STORE_BUSY) {
        dpg_fail(
            &c->trouble, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_busy",
            "the store is locked%s%s, and was not let go in time: try again; if that goes on, look at who holds it",
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
               now->boot_ms + DPG_MEMO_MS) { /* ahead of time: whoever has the lock may bring the next one */
        c->early_not_before = now->boot_ms + DPG_MEMO_MS;
    }
    if (reply->unsure) dpg_cred_unlock(c); /* it may have been given to us */
    else rest(c, now);
}

/* What the lease was renewed for, if nobody was there meanwhile. */
static void go_on(dpg_cred *c, const dpg_moment *now)
{
    if (c->renewed_for == DPG_CRED_AGAIN) dpg_cred_await_again(c);
    else dpg_cred_send(c, now);
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
        dpg_cred_go_on_saving(c, now);
    } else if (fine) {
        dpg_cred_load(c);
        c->verifying = true;
    } else {
        c->record.in_flight = c->in_doubt;
        dpg_cred_walk_back(c, now);
        if (reply->outcome == DPG_STORE_BUSY) {
            c->op = DPG_OP_NONE;
            locked(c, reply, now);
        }
    }
}

void dpg_cred_store_asked(dpg_cred *c, const dpg_moment *now)
{
    c->asked = true; /* a store that takes its time takes nobody's good token away */
    c->timer_boot_ms =
        c->walk_since + DPG_EARLY_WAIT_MS > now->boot_ms ? c->walk_since + DPG_EARLY_WAIT_MS : now->boot_ms;
}

void dpg_cred_store_replied(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    c->asked = false;
    /* a store that failed may have lost it; and somebody else wrote, who can only have had it since a lease went by */
    if ((reply->outcome == DPG_STORE_FAILED && reply->unsure) || (reply->outcome == DPG_STORE_CHANGED && c->lease_ms))
        c->lock_unsure = true;
    switch (c->state) {
    case DPG_CRED_LOCKING: locked(c, reply, now); break;
    case DPG_CRED_LOADING: loaded(c, reply, now); break;
    case DPG_CRED_MARKING: dpg_cred_marked(c, reply, now); break;
    case DPG_CRED_RENEWING: renewed(c, reply, now); break;
    case DPG_CRED_SAVING: dpg_cred_saved(c, reply, now); break;
    case DPG_CRED_NOTING: dpg_cred_noted(c, reply, now); break;
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
    case DPG_CRED_IDLE:
        if (owes_unlock(c, now)) dpg_cred_unlock(c);
        break;
    case DPG_CRED_UNLOCKING: c->op = DPG_OP_UNLOCK; break;
    case DPG_CRED_AGAIN:
        if (now->boot_ms < c->again_at) {
            dpg_cred_renew(c, DPG_CRED_AGAIN, now);
            break;
        }
        c->tries++;
        dpg_cred_send(c, now);
        break;
    case DPG_CRED_SAVE_AGAIN:
        if (dpg_cred_lease_lasts(c, now)) dpg_cred_go_on_saving(c, now);
        else dpg_cred_renew(c, DPG_CRED_SAVE_AGAIN, now);
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
        dpg_cred_enter(c, DPG_CRED_IDLE);
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
