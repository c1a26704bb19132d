/*
 * Who waits for a bearer, and what they get: how old the tokens in hand are, who may go on with one, and what is said to
 * those who can't. A part of the credential decider: pure, and no state of the walk is changed here.
 */
#include "credential_internal.h"

#include <stdio.h>
#include <string.h>

#define MARGIN_MS 60000 /* refresh this long before the end, but never earlier than a fraction of the life */

void dpg_cred_say(dpg_cred *c, dpg_event event, const char *code, const char *message)
{
    int i = c->event_count < 4 ? c->event_count++ : 3;

    c->events[i].event = event;
    c->events[i].generation = c->record.generation;
    c->events[i].wait_ms = event == DPG_EVENT_GATE_CLOSED ? c->record.not_before_wait_ms : 0;
    snprintf(c->events[i].code, sizeof c->events[i].code, "%s", code);
    snprintf(c->events[i].message, sizeof c->events[i].message, "%.159s", message);
}

/* --- access tokens ---------------------------------------------------------------------------------------------------- */

/* In memory every age is told by our own boot clock: see dpg_cred_normalise(). */
int64_t dpg_cred_age_ms(const dpg_access *a, const dpg_moment *now)
{
    return now->boot_ms - a->got_boot_ms;
}

bool dpg_cred_lives(const dpg_access *a, const dpg_moment *now)
{
    int64_t skew = a->life_ms / 20 < 2000 ? a->life_ms / 20 : 2000; /* it has to arrive, too */

    return dpg_cred_age_ms(a, now) >= 0 && dpg_cred_age_ms(a, now) < a->life_ms - skew;
}

/* Between 75 % and 125 % of the margin, the same for a token's whole life, different from token to token. */
static bool ends_soon(const dpg_access *a, const dpg_moment *now)
{
    int64_t margin = a->life_ms / 5 < MARGIN_MS ? a->life_ms / 5 : MARGIN_MS;
    int64_t jitter = (int64_t)((a->serial * UINT64_C(0x9e3779b97f4a7c15)) >> 57); /* 0 to 127 */

    return dpg_cred_age_ms(a, now) >= a->life_ms - margin * (192 + jitter) / 256;
}

bool dpg_cred_is_usable(const dpg_access *a, const dpg_waiter *w, const dpg_moment *now)
{
    return a && a->serial != w->rejected && dpg_cred_lives(a, now);
}

/* Bring what was stored by a sibling, perhaps under another boot or on another machine, to our own boot clock. */
void dpg_cred_normalise(dpg_record *r, const dpg_moment *now)
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
    *alive = dpg_cred_lives(a, now);
    return dpg_cstr(a->token);
}

/* --- verdicts ---------------------------------------------------------------------------------------------------------- */

void dpg_cred_settle(dpg_cred *c, dpg_waiter *w)
{
    dpg_list_remove(&w->link);
    dpg_list_push(&c->settled, &w->link);
}

void dpg_cred_give_bearer(dpg_cred *c, dpg_waiter *w, const dpg_access *a)
{
    w->verdict = DPG_BEARER;
    w->serial = a->serial;
    dpg_cred_settle(c, w);
}

void dpg_cred_give_error(dpg_cred *c, dpg_waiter *w, const dpg_error *err)
{
    w->verdict = DPG_NO_BEARER;
    w->error = *err;
    dpg_cred_settle(c, w);
}

int64_t dpg_cred_pause_left(const dpg_cred *c, const dpg_moment *now)
{
    int64_t left = c->record.not_before_unix_ms ? c->record.not_before_boot_ms - now->boot_ms : 0;

    return left > 0 ? left : 0;
}

/* Is it time to ask for the next token, though this one still lives? */
bool dpg_cred_is_due_early(const dpg_cred *c, const dpg_access *a, const dpg_moment *now)
{
    return ends_soon(a, now) && now->boot_ms >= c->early_not_before && !dpg_cred_pause_left(c, now) &&
           dpg_cred_has_session(c);
}

/*
 * Everybody whose access token still lives goes on with it; true when somebody is left waiting. With `early`, who came
 * when it was time for the next one is left, too.
 */
bool dpg_cred_serve(dpg_cred *c, bool early, const dpg_moment *now)
{
    dpg_list *node, *next;

    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);
        const dpg_access *a = dpg_record_access(&c->record, w->account);

        next = node->next;
        if (dpg_cred_is_usable(a, w, now)
                ? !(early && dpg_cred_is_due_early(c, a, now))
                : a && c->fresh_serial && a->serial == c->fresh_serial && a->serial != w->rejected)
            dpg_cred_give_bearer(c, w, a);
    }
    return !dpg_list_empty(&c->waiters);
}

void dpg_cred_serve_living(dpg_cred *c, const dpg_moment *now)
{
    dpg_cred_serve(c, false, now);
}

void dpg_cred_settle_job(dpg_cred *c, dpg_job *job, const dpg_error *err) /* err NULL: done */
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
void dpg_cred_fail_waiters(dpg_cred *c, const dpg_error *err, const char *account, const dpg_moment *now)
{
    dpg_error copy = *err; /* it may be one that settling changes */
    dpg_list *node, *next;

    c->early_not_before = now->boot_ms + 1000 + (int64_t)(now->random % 4000);
    dpg_cred_serve_living(c, now);
    for (node = c->waiters.next; node != &c->waiters; node = next) {
        dpg_waiter *w = DPG_LIST_ITEM(node, dpg_waiter, link);

        next = node->next;
        if (!account || dpg_str_eq(w->account, dpg_cstr(account))) dpg_cred_give_error(c, w, &copy);
    }
}

/* The store has failed. What a sign-in brought is given up only with `adopt_too`: these tokens are nowhere else. */
void dpg_cred_fail_jobs(dpg_cred *c, const dpg_error *err, bool adopt_too)
{
    dpg_error copy = *err;
    dpg_list *node, *next;

    for (node = c->jobs.next; node != &c->jobs; node = next) {
        dpg_job *job = DPG_LIST_ITEM(node, dpg_job, link);

        next = node->next;
        if (adopt_too || job->type != DPG_JOB_ADOPT) dpg_cred_settle_job(c, job, &copy);
    }
}

/* A sign-in whose tokens have yet to be saved; NULL: none. */
dpg_job *dpg_cred_adopting(const dpg_cred *c)
{
    for (dpg_list *node = c->jobs.next; node != &c->jobs; node = node->next) {
        dpg_job *job = DPG_LIST_ITEM(node, dpg_job, link);

        if (job->type == DPG_JOB_ADOPT) return job;
    }
    return NULL;
}

bool dpg_cred_must_finish(const dpg_cred *c)
{
    return dpg_cred_is_locked(c) || dpg_cred_adopting(c);
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

void dpg_cred_auth_error(const dpg_cred *c, dpg_error *err)
{
    static const char *const texts[][2] = {
        {"no_session", "nobody is signed in: the store holds no session; sign in"},
        {"signed_out", "signed out: the tokens have been forgotten; sign in again"},
        {"refused", "the server refused the refresh token: it was used elsewhere, was revoked or has expired; "
                    "sign in again"},
        {"answer_lost", "the answer to the last exchange was lost on its way, and the server takes the old token no "
                        "more; sign in again"},
    };
    const char *reason = c->reason[0] ? c->reason : "no_session", *text = texts[2][1];

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i][0], reason) == 0) text = texts[i][1];
    dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_AUTH, "sign_in_required", "%s", text);
    snprintf(err->reason, sizeof err->reason, "%s", reason);
    put_history(c, err);
}

void dpg_cred_let_stand(dpg_cred *c, dpg_waiter *w) /* its 401 is the answer */
{
    w->verdict = DPG_STANDS;
    dpg_cred_settle(c, w);
}
