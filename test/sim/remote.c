/*
 * A store that the programs keep themselves, on a server somewhere: the engine asks by notes, the program sends what is
 * asked, the server does it some time later, and the answer comes back, or is late, or never comes. A lock is a lease that
 * runs out, or belongs to a connection. The server restarts and forgets its locks, and now and then all that it had.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct errand { /* an ask on its way */
    proc *p;
    int life, who;
    dpg_store_asked *asked;
    char owner[SIM_OWNER]; /* of the lock under which it is asked */
    bool deaf;             /* its answer is lost */
    bool fails;            /* its answer is an error, done or not */
    int64_t answer_ms;
    dpg_store_answer answer;
    char *bytes; /* of a load */
} errand;

static const char *const op_names[] = {"lock", "load", "save", "unlock"};

static bool lives(const errand *e)
{
    return e->p->life == e->life && !e->p->doomed;
}

bool remote_is_held(const sim *w, const disk *d)
{
    return d->owner[0] && w->now < d->lease_until;
}

/* Does this process hold the lock now, as the server sees it? */
bool remote_holds(const sim *w, const proc *p, int who)
{
    const disk *d = &w->disks[who];

    return remote_is_held(w, d) && d->holder == p && d->holder_life == p->life;
}

static void lock_ends(sim *w, int who)
{
    disk *d = &w->disks[who];
    known_token *k = d->family >= 0 ? sim_token(w, who, d->family, d->token) : NULL;

    if (k && d->marked) k->mark_left = true;
    d->owner[0] = '\0';
    d->holder = NULL;
}

/* --- what the server does ----------------------------------------------------------------------------------------------- */

static void lock(sim *w, errand *e)
{
    disk *d = &w->disks[e->who];
    const dpg_store_asked *a = e->asked;
    char owner[SIM_OWNER];

    snprintf(owner, sizeof owner, "%.*s", (int)a->owner.len, a->owner.ptr);
    if (remote_is_held(w, d) && strcmp(d->owner, owner) != 0) {
        e->answer.outcome = DPG_STORE_BUSY;
        e->answer.again_ms = sim_chance(w, 300) && w->leases ? d->lease_until - w->now : sim_spread(w, 5, 200);
        e->answer.holder = dpg_cstr(d->owner);
        return;
    }
    if (!w->leases && !lives(e)) return; /* its connection is gone */
    if (strcmp(d->owner, owner) != 0 || !remote_is_held(w, d)) {
        lock_ends(w, e->who); /* of whoever let it run out */
        e->p->locked_at[e->who] = w->now;
    }
    memcpy(d->owner, owner, sizeof owner);
    d->holder = e->p;
    d->holder_life = e->life;
    d->lease_until = w->leases ? w->now + a->ttl_ms : INT64_MAX;
}

static void load(sim *w, errand *e)
{
    disk *d = &w->disks[e->who];

    e->answer.found = d->found;
    if (!d->found) return;
    e->bytes = sim_alloc(NULL, d->len + 1, 1);
    memcpy(e->bytes, d->bytes, d->len);
    e->bytes[d->len] = '\0';
    e->answer.bytes = dpg_str_of(e->bytes, d->len);
}

static bool is_stored(const disk *d, dpg_str bytes)
{
    return d->found && dpg_str_eq(dpg_str_of(d->bytes, d->len), bytes);
}

static void save(sim *w, errand *e)
{
    disk *d = &w->disks[e->who];
    const dpg_store_asked *a = e->asked;

    if (is_stored(d, a->bytes)) { /* a trial, or again */
        disk_write(w, e->p, e->who, a->bytes, lives(e));
        return;
    }
    if (d->found != a->had || (d->found && !is_stored(d, a->expected))) {
        e->answer.outcome = DPG_STORE_CHANGED;
        return;
    }
    if (!remote_is_held(w, d) || strcmp(d->owner, e->owner) != 0) d->outside_at = w->now;
    disk_write(w, e->p, e->who, a->bytes, lives(e));
}

static void unlock(sim *w, errand *e)
{
    disk *d = &w->disks[e->who];

    if (!remote_is_held(w, d) || strlen(d->owner) != e->asked->owner.len ||
        memcmp(d->owner, e->asked->owner.ptr, e->asked->owner.len) != 0)
        return;
    if (lives(e)) check_unlock(w, e->p, e->who);
    lock_ends(w, e->who);
}

static void answered(sim *w, void *self, int64_t arg);

static void performed(sim *w, void *self, int64_t arg)
{
    static const char *const outcomes[] = {"done", "busy", "changed", "failed"};
    errand *e = self;
    disk *d = &w->disks[e->who];

    (void)arg;
    if (w->failed) {
        answered(w, e, 0);
        return;
    }
    e->answer.outcome = DPG_STORE_DONE;
    if (e->asked->op == DPG_STORE_LOCK) lock(w, e);
    else if (e->asked->op == DPG_STORE_LOAD) load(w, e);
    else if (e->asked->op == DPG_STORE_SAVE) save(w, e);
    else unlock(w, e);
    sim_trace(w, e->p, "store %d: %s %s%s (token %d.%d%s)", e->who, op_names[e->asked->op], outcomes[e->answer.outcome],
              lives(e) ? "" : " for the dead", d->family, d->token, d->marked ? ", in flight" : "");
    if (e->fails) {
        e->answer.outcome = DPG_STORE_FAILED;
        e->answer.message = DPG_LIT("the connection was cut");
    }
    sim_after(w, e->answer_ms, answered, e, 0);
}

/* --- the way back ------------------------------------------------------------------------------------------------------- */

static void free_errand(errand *e)
{
    dpg_store_asked_free(e->asked);
    free(e->bytes);
    free(e);
}

static void answered(sim *w, void *self, int64_t arg)
{
    errand *e = self;
    proc *p = e->p;
    dpg_error err = DPG_ERROR_INIT;

    (void)arg;
    if (!lives(e) || w->failed || e->deaf) {
        free_errand(e);
        return;
    }
    if (w->now < p->stands_until) { /* it lies in its socket */
        sim_after(w, p->stands_until - w->now, answered, e, 0);
        return;
    }
    if (proc_may_die(w, p, "before an answer of the store")) {
        free_errand(e);
        return;
    }
    p->activity++;
    if (e->asked->op == DPG_STORE_LOAD && e->answer.outcome == DPG_STORE_DONE) {
        int owner, family = -1, token;
        const char *at = e->bytes ? strstr(e->bytes, "\"refresh_token\":\"rt~") : NULL;

        if (at && !token_parse(at + 17, &owner, &family, &token)) family = -1;
        p->seen_family[e->who] = family;
        check_seen(w, p, e->who);
    }
    proc_enter(p);
    if (dpg_engine_answer(p->engine, e->asked->ask, &e->answer, &err) != DPG_OK)
        sim_fail(w, p, "an answer of the store is refused: %s", err.message);
    if (proc_leave(w, p)) proc_wake(w, p);
    free_errand(e);
}

/* --- the way there ------------------------------------------------------------------------------------------------------ */

/* Which trouble it meets, and when the server does it. False: it never gets there. */
static bool send(sim *w, errand *e, int64_t *ms)
{
    *ms = sim_spread(w, 1, 50);
    e->answer_ms = sim_spread(w, 1, 50);
    if (sim_fault(w, F_STORE_SILENT)) {
        if (!w->leases && w->disks[e->who].holder == e->p) { /* a lock of its connection, which is gone */
            w->disks[e->who].lost_at = w->now;
            lock_ends(w, e->who);
        }
        if (sim_chance(w, 500)) return false;
        e->deaf = true;
    }
    if (sim_fault(w, F_DISK_SLOW)) *(w->leases && sim_chance(w, 500) ? ms : &e->answer_ms) = sim_spread(w, 500, 30000);
    if (sim_fault(w, F_DISK_IO)) {
        e->fails = true;
        if (sim_chance(w, 500)) return false;
    }
    return true;
}

void remote_asked(sim *w, proc *p, dpg_store_asked *asked)
{
    errand *e = sim_alloc(NULL, 1, sizeof *e);
    char identity[24];
    int64_t ms;

    memset(e, 0, sizeof *e);
    e->p = p;
    e->life = p->life;
    e->asked = asked;
    snprintf(identity, sizeof identity, "%.*s", (int)asked->identity.len, asked->identity.ptr);
    if (sscanf(identity, "person%d", &e->who) != 1 || e->who >= w->person_count) {
        sim_fail(w, p, "asks a store that nobody made");
        e->who = 0;
    }
    if (asked->op == DPG_STORE_LOCK)
        snprintf(p->owner[e->who], SIM_OWNER, "%.*s", (int)asked->owner.len, asked->owner.ptr);
    memcpy(e->owner, p->owner[e->who], SIM_OWNER);
    p->activity++;
    if (w->failed || proc_may_die(w, p, "before it asks the store")) {
        free_errand(e);
        return;
    }
    if (sim_fault(w, F_STOPS)) proc_stops(w, p);
    if (send(w, e, &ms)) {
        sim_after(w, ms, performed, e, 0);
    } else if (e->fails) {
        e->answer.outcome = DPG_STORE_FAILED;
        e->answer.message = DPG_LIT("no connection");
        sim_trace(w, p, "store %d: %s can't be asked", e->who, op_names[asked->op]);
        sim_after(w, ms, answered, e, 0);
    } else {
        sim_trace(w, p, "store %d: %s gets lost", e->who, op_names[asked->op]);
        free_errand(e);
    }
    proc_may_die(w, p, "after it has asked the store");
}

dpg_store *remote_store_new(proc *p, int who)
{
    char identity[24];
    dpg_store *store = NULL;
    dpg_error err = DPG_ERROR_INIT;

    snprintf(identity, sizeof identity, "person%d", who);
    if (dpg_store_host_new(dpg_cstr(identity), p->w->leases, &store, &err) != DPG_OK)
        sim_fail(p->w, p, "a store can't be made: %s", err.message);
    return store;
}

/* --- what happens to it ------------------------------------------------------------------------------------------------- */

void remote_process_dies(sim *w, proc *p)
{
    for (int i = 0; i < w->person_count && !w->leases; i++)
        if (w->disks[i].holder == p) lock_ends(w, i);
}

void remote_weather(sim *w)
{
    int who = (int)sim_between(w, 0, w->person_count - 1);
    disk *d = &w->disks[who];
    bool wiped;

    if (!sim_fault(w, F_STORE_RESTART)) return;
    wiped = sim_chance(w, 200);
    sim_trace(w, NULL, "store %d restarts, and has lost its locks%s", who, wiped ? " and all else" : "");
    lock_ends(w, who);
    d->lost_at = w->now;
    if (!wiped) return;
    /* what is in memory anywhere may come back now: nobody can know that it is old */
    d->found = d->marked = d->refused = false;
    d->len = 0;
    d->family = d->token = -1;
    d->wiped_at = w->now;
    for (int f = 0; f < w->persons[who].family_count; f++) {
        known_family *one = &w->persons[who].families[f];

        one->buried = one->replaced = false;
        one->left_by = 0;
        for (int k = 0; k < one->token_count; k++) one->tokens[k].on_disk = false;
        for (int k = 0; k < one->access_count; k++) one->accesses[k].on_disk = false;
    }
}

void remote_free(sim *w)
{
    for (size_t i = 0; i < w->heap_count; i++)
        if (w->heap[i].run == performed || w->heap[i].run == answered) free_errand(w->heap[i].self);
}
