/*
 * One exchange, decided: marked, sent, and each way in which it can end. A part of the credential decider: pure. The walk
 * around it is credential.c's.
 */
#include "credential_internal.h"

#include "retry.h"

#include <stdio.h>
#include <string.h>

#define EXCHANGE_LIMIT_MS 60000 /* one walk's exchange, replays included */
#define UNSENT_TRIES 6

void dpg_cred_send(dpg_cred *c, const dpg_moment *now)
{
    if (!dpg_cred_lease_lasts(c, now)) {
        dpg_cred_renew(c, DPG_CRED_EXCHANGING, now);
        return;
    }
    c->unsent_mark = 0;
    dpg_cred_enter(c, DPG_CRED_EXCHANGING);
    c->op = DPG_OP_EXCHANGE;
    c->timer_boot_ms = now->boot_ms + DPG_EARLY_WAIT_MS;
}

void dpg_cred_begin_mark(dpg_cred *c, dpg_str account, const dpg_moment *now)
{
    char *copy = dpg_strndup(account);
    bool was = c->record.in_flight;
    dpg_error err;

    if (was && c->no_replay) { /* somebody's answer was lost, and we may not ask again */
        dpg_free(copy);
        dpg_cred_lose(c, "answer_lost", now);
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
        dpg_cred_fail_walk(c, &err, now);
        return;
    }
    dpg_cred_enter(c, DPG_CRED_MARKING);
    c->op = DPG_OP_MARK;
}

void dpg_cred_marked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_error err;

    if (reply->outcome == DPG_STORE_DONE) {
        dpg_cred_remember_stored(c);
        c->tries = 1;
        c->exchange_since = now->boot_ms;
        dpg_cred_send(c, now);
        return;
    }
    c->record.in_flight = c->in_doubt;
    if (dpg_cred_read_again(c, reply, now)) return;
    if (reply->outcome == DPG_STORE_FAILED) err = reply->error;
    else
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                 "the stored record keeps changing under our lock: something else writes to it; keep it elsewhere, or "
                 "end that");
    dpg_cred_say(c, DPG_EVENT_STORAGE, err.code, err.message);
    dpg_cred_fail_walk(c, &err, now);
}

void dpg_cred_lost(dpg_cred *c, const dpg_moment *now)
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
void dpg_cred_lose(dpg_cred *c, const char *reason, const dpg_moment *now)
{
    snprintf(c->record.refused, sizeof c->record.refused, "%s", reason);
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    c->record.in_flight = false;
    c->losing = true;
    dpg_cred_note(c);
    if (c->state != DPG_CRED_NOTING) dpg_cred_lost(c, now);
}

/* End this walk without a token. Where the mark tells the truth it stays, so that the next walk asks about the same token. */
static void give_up(dpg_cred *c, const dpg_error *err, const char *account, const dpg_moment *now)
{
    dpg_cred_fail_waiters(c, err, account, now);
    if (c->in_doubt) {
        dpg_cred_unlock(c);
        return;
    }
    c->record.in_flight = false;
    dpg_cred_note(c);
}

/* Until it is time to send, the lease is kept alive, or a sibling would ask meanwhile. */
void dpg_cred_await_again(dpg_cred *c)
{
    dpg_cred_enter(c, DPG_CRED_AGAIN);
    c->timer_boot_ms = c->again_at;
    if (c->lease_until != INT64_MAX && c->lease_until - DPG_LEASE_NEEDED_MS < c->again_at)
        c->timer_boot_ms = c->lease_until - DPG_LEASE_NEEDED_MS;
}

static void again(dpg_cred *c, int64_t wait_ms, const dpg_moment *now)
{
    c->again_at = now->boot_ms + wait_ms;
    dpg_cred_await_again(c);
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
    dpg_cred_note(c); /* without the lock: rest() */
}

static void not_taken(dpg_cred *c, const dpg_exchange *x, const dpg_moment *now)
{
    int64_t wait = x->retry_after_ms >= 0 ? x->retry_after_ms : 1000 + (int64_t)(now->random % 1000);

    if (x->error.http_status != 429) {
        c->failed_until = now->boot_ms + DPG_MEMO_MS;
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
        dpg_cred_lose(c, "answer_lost", now);
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
        dpg_cred_save_next(c, now);
        return;
    }
    c->trouble = x->error;
    switch (x->verdict) {
    case DPG_VERDICT_REFUSED: dpg_cred_lose(c, c->in_doubt ? "answer_lost" : "refused", now); break;
    case DPG_VERDICT_NOT_TAKEN: not_taken(c, x, now); break;
    default: exchange_failed(c, x, now);
    }
    dpg_exchange_clear(x);
}
