/*
 * What must always hold, judged by what the whole world knows and no process does. Each check runs at the moment at which
 * the promise could be broken: when a request leaves, when an answer is handed over, when bytes reach the disk, when a call
 * ends. The first one that fails ends the seed.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

void check_no_secret(sim *w, proc *p, const char *where, const char *text)
{
    static const char *const secrets[] = {"rt~", "at~", "pw~", "mt~", "st~"};

    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (strstr(text, secrets[i])) sim_fail(w, p, "%s holds a secret (%s…)", where, secrets[i]);
}

static unsigned bit(const proc *p)
{
    return 1u << p->index;
}

/* --- a refresh token leaves ------------------------------------------------------------------------------------------------ */

/*
 * Since this process was given the lock, has the store forgotten it, or has somebody written who slept past his own lease?
 * That is the bound of a lease: then it can't know better.
 */
static bool is_excused(const sim *w, const proc *p, int who)
{
    const disk *d = &w->disks[who];
    int64_t since = p->locked_at[who];

    return w->remote && (d->lost_at >= since || d->outside_at >= since || d->wiped_at >= since);
}

/*
 * A token whose successor is on the disk, or in the memory of anybody who lives, is known to be spent. (Under leases, also
 * of somebody who had the lock before and slept past it: but of nobody who gave it back, see check_unlock().)
 */
static void check_not_known_spent(sim *w, const transfer *t)
{
    known_family *f = &w->persons[t->person].families[t->family];
    bool excused = is_excused(w, t->p, t->person);

    for (int i = t->token + 1; i < f->token_count; i++) {
        if (f->tokens[i].on_disk && !excused)
            sim_fail(w, t->p, "presents token %d.%d.%d, known to be spent: %d has been on the disk", t->person,
                     t->family, t->token, i);
        else if (f->tokens[i].lives_in & bit(t->p))
            sim_fail(w, t->p, "presents token %d.%d.%d, known to be spent: it holds %d itself", t->person, t->family,
                     t->token, i);
        else if (f->tokens[i].lives_in && !w->remote)
            sim_fail(w, t->p, "presents token %d.%d.%d, whose successor lives in another process", t->person, t->family,
                     t->token);
    }
}

static void check_lock(sim *w, const transfer *t, int64_t needed_ms)
{
    disk *d = &w->disks[t->person];
    bool forgotten = w->remote && d->lost_at >= t->p->locked_at[t->person];

    if (forgotten) return;
    if (w->remote ? !remote_holds(w, t->p, t->person) : d->holder != t->p)
        sim_fail(w, t->p, "sends an exchange without the person's lock");
    else if (w->leases && d->lease_until - w->now < needed_ms)
        sim_fail(w, t->p, "sends an exchange under a lease that lasts %lld ms", (long long)(d->lease_until - w->now));
}

/* Under the lock, with the mark on the disk, one at a time. */
static void check_walk(sim *w, const transfer *t)
{
    disk *d = &w->disks[t->person];

    check_lock(w, t, SIM_LEASE_NEEDED_MS);
    if (is_excused(w, t->p, t->person)) return;
    if (d->family != t->family || d->token != t->token)
        sim_fail(w, t->p, "presents token %d.%d.%d while the disk has %d.%d", t->person, t->family, t->token, d->family,
                 d->token);
    if (!d->marked) sim_fail(w, t->p, "sends an exchange without a mark on the disk");
    for (int i = 0; i < w->transfer_count; i++) {
        const transfer *other = w->transfers[i];

        if (other != t && other->open && other->kind == FOR_EXCHANGE && other->person == t->person &&
            (!w->remote || other->p == t->p)) /* nobody else's lock can still be good */
            sim_fail(w, t->p, "two exchanges of one person are under way");
    }
}

/* Then what one machine writes about time tells another one little, and what it writes back tells the first one less. */
static bool clocks_disagree(const sim *w)
{
    return w->machine_count > 1 && w->rate[F_CLOCK_JUMP];
}

/* A bearer that has just been got is not given away for a 401: one persistent 401 would be a rotation for each call. */
static void check_not_wasted(sim *w, const transfer *t)
{
    known_family *f = &w->persons[t->person].families[t->family];
    const known_access *last = NULL;
    int m = t->p->machine;

    if (clocks_disagree(w) || is_excused(w, t->p, t->person) || w->disks[t->person].wiped_at >= 0) return;
    for (int i = 0; i < f->access_count; i++)
        if (f->accesses[i].account == t->account && f->accesses[i].handed_at >= 0) last = &f->accesses[i];
    /* under another boot, or on another machine, its age can't be known for sure */
    if (!last || last->machine != m || last->boot != w->machines[m].boot || !last->on_disk) return;
    if (last->life_ms >= 5 * SIM_YOUNG_MS && w->now - last->asked_at < SIM_YOUNG_MS - 1000)
        sim_fail(w, t->p, "exchanges for account %c though a bearer was got %lld ms ago, which lives %lld ms",
                 'A' + t->account, (long long)(w->now - last->asked_at), (long long)last->life_ms);
}

static void check_exchange(sim *w, transfer *t)
{
    known_token *k = sim_token(w, t->person, t->family, t->token);
    disk *d = &w->disks[t->person];
    known_family *f;
    int m = t->p->machine;

    if (!k || t->account < 0) {
        sim_fail(w, t->p, "presents a token that was never issued");
        return;
    }
    f = &w->persons[t->person].families[t->family];
    check_not_known_spent(w, t);
    check_walk(w, t);
    check_not_wasted(w, t);
    if (f->buried && !is_excused(w, t->p, t->person))
        sim_fail(w, t->p, "presents a token of a session that was signed out");
    if (f->refused_to & bit(t->p) && (!w->remote || t->token <= f->refused_token[t->p->index]))
        sim_fail(w, t->p, "presents a token of a session that was refused to it");
    if (d->refused && !is_excused(w, t->p, t->person))
        sim_fail(w, t->p, "presents a token that the record calls refused");
    if (w->persons[t->person].no_replay && k->doubt && d->wiped_at < 0) /* then nobody can know of it */
        sim_fail(w, t->p, "presents a token again that may not be replayed");
    if (!clocks_disagree(w) && w->now < t->p->gates[t->person][GATE_EXCHANGE])
        sim_fail(w, t->p, "shortens a Retry-After of an exchange by %lld ms",
                 (long long)(t->p->gates[t->person][GATE_EXCHANGE] - w->now));
    if (!clocks_disagree(w) && d->gate_boot[m] == w->machines[m].boot && w->now < d->gate_until[m] &&
        !is_excused(w, t->p,
                    t->person)) /* else it can't know what was written since its lock was lost behind its back */
        sim_fail(w, t->p, "shortens a Retry-After that is in the record by %lld ms",
                 (long long)(d->gate_until[m] - w->now));
    w->totals->exchanges++;
    if (k->doubt || k->mark_left) w->totals->replays++;
}

void check_left(sim *w, transfer *t)
{
    if (t->kind == FOR_EXCHANGE && !w->failed) check_lock(w, t, 0);
}

/* --- a bearer leaves -------------------------------------------------------------------------------------------------------- */

static void check_bearer(sim *w, const transfer *t)
{
    int who, fam, sibling, account, serial;
    known_token *k;

    if (t->call->kind == CALL_SERVICE) {
        if (strcmp(t->bearer, "st~5eed") != 0) sim_fail(w, t->p, "call %d has another bearer", t->call->number);
        return;
    }
    if (!access_parse(t->bearer, &who, &fam, &sibling, &account, &serial) || !(k = sim_token(w, who, fam, sibling))) {
        sim_fail(w, t->p, "call %d has no bearer of ours", t->call->number);
        return;
    }
    if (who != t->call->person || account != t->call->account)
        sim_fail(w, t->p, "call %d is for person %d, account %c and has a bearer of person %d, account %c",
                 t->call->number, t->call->person, 'A' + t->call->account, who, 'A' + account);
    if (!k->was_on_disk)
        sim_fail(w, t->p, "uses an access token before its refresh token %d.%d.%d is on the disk", who, fam, sibling);
    if (w->persons[who].families[fam].left_by & bit(t->p))
        sim_fail(w, t->p, "uses a bearer of a session that it has signed out of");
}

void check_leaving(sim *w, transfer *t)
{
    call *c = t->call;
    bool secret = t->kind != FOR_CALL;
    int64_t until;
    char key[24];

    if (w->failed) return;
    if (t->kind == FOR_EXCHANGE) check_exchange(w, t);
    if ((secret || c->kind == CALL_UNSENT) && !t->request.once)
        sim_fail(w, t->p, "%s is not guarded against being sent twice", t->path);
    if (secret && t->bearer[0]) sim_fail(w, t->p, "%s carries a bearer", t->path);
    if (!c) return;
    if (!c->open && !c->abandoned) sim_fail(w, t->p, "call %d has ended and sends a request", c->number);
    if (c->cancelled && t->started > c->started + 1000000)
        sim_fail(w, t->p, "call %d goes on though cancelled", c->number);
    if (c->spent) sim_fail(w, t->p, "call %d may have left already and is sent again", c->number);
    if (w->now < c->not_before)
        sim_fail(w, t->p, "call %d shortens a Retry-After of 503 by %lld ms", c->number,
                 (long long)(c->not_before - w->now));
    if (t->kind == FOR_SIGN_IN && !c->saved) sim_fail(w, t->p, "a sign-in leaves before the store is proven");
    if (t->kind == FOR_CALL) check_bearer(w, t);
    snprintf(key, sizeof key, "key-%d", c->number);
    if (c->kind == CALL_WRITE && strcmp(t->key, key) != 0)
        sim_fail(w, t->p, "call %d lost its Idempotency-Key", c->number);
    until = t->kind == FOR_SIGN_IN    ? t->p->gates[t->person][GATE_SIGN_IN]
            : c->kind == CALL_SERVICE ? t->p->service_gate
                                      : t->p->gates[t->person][GATE_CALLS];
    if (w->now < until)
        sim_fail(w, t->p, "call %d shortens a Retry-After by %lld ms", c->number, (long long)(until - w->now));
    c->starts++;
    if (c->starts > 8) sim_fail(w, t->p, "call %d is sent %d times", c->number, c->starts);
}

/* --- an answer is handed over ------------------------------------------------------------------------------------------------ */

static void note_wait(sim *w, const transfer *t)
{
    proc *p = t->p;
    int64_t until = w->now + t->retry_after_ms, *gate;

    if (t->retry_after_ms < 0) return;
    if (w->remote && t->kind == FOR_EXCHANGE && w->disks[t->person].token != t->token)
        return; /* it slept: the server has given a sibling the successor since */
    if (t->status == 503 && t->call) {
        t->call->not_before = until;
        return;
    }
    gate = t->kind == FOR_EXCHANGE                    ? &p->gates[t->person][GATE_EXCHANGE]
           : t->kind == FOR_SIGN_IN                   ? &p->gates[t->person][GATE_SIGN_IN]
           : t->call && t->call->kind == CALL_SERVICE ? &p->service_gate
                                                      : &p->gates[t->person][GATE_CALLS];
    if (until > *gate) *gate = until;
    if (t->kind == FOR_EXCHANGE) p->exchange_wait[t->person] = until;
}

static void note_doubt(sim *w, const transfer *t)
{
    known_token *k = sim_token(w, t->person, t->family, t->token);

    k->doubt = true;
    if (t->started > k->doubt_at) k->doubt_at = t->started;
    k->doubt_known |= bit(t->p);
}

void check_handed_over(sim *w, transfer *t)
{
    known_person *one = &w->persons[t->person];
    bool doubtful = t->failed ? t->left : t->means == MEANS_DOUBT;

    /* a 401 says that the request was turned away, and so it may be sent with another bearer */
    if (t->call && t->call->kind == CALL_UNSENT && (t->failed ? t->left : t->status != 429 && t->status != 401))
        t->call->spent = true;
    if (t->kind == FOR_SIGN_IN && (t->failed ? t->left : t->status != 429)) t->call->spent = true;
    if (t->kind == FOR_EXCHANGE && doubtful) note_doubt(w, t);
    if (t->failed) return;
    note_wait(w, t);
    if (t->kind == FOR_EXCHANGE && t->means == MEANS_REFUSED) {
        known_family *f = &one->families[t->family];

        if (!(f->refused_to & bit(t->p)) || t->token > f->refused_token[t->p->index])
            f->refused_token[t->p->index] = t->token;
        f->refused_to |= bit(t->p);
        check_seen(w, t->p, t->person);
    }
    if (t->means != MEANS_TOKENS) return;
    if (t->kind == FOR_EXCHANGE) {
        known_token *k = sim_token(w, t->person, t->family, t->token);

        k->doubt = false;
        k->doubt_known = 0;
    }
    if (t->kind == FOR_SIGN_IN) t->call->family = t->new_family;
    sim_token(w, t->person, t->new_family, t->new_token)->lives_in |= bit(t->p);
    sim_token(w, t->person, t->new_family, t->new_token)->handed_at = w->now;
    if (t->new_access >= 0) {
        known_access *a = &one->families[t->new_family].accesses[t->new_access];

        a->handed_at = w->now;
        a->asked_at = t->started;
        a->machine = t->p->machine;
        a->boot = w->machines[t->p->machine].boot;
    }
}

void check_aborted(sim *w, transfer *t)
{
    if (t->call && (t->call->kind == CALL_UNSENT || t->kind == FOR_SIGN_IN) && t->left) t->call->spent = true;
    if (t->kind != FOR_EXCHANGE) return;
    if (t->left) note_doubt(w, t);
    if (t->arrived) sim_fail(w, t->p, "throws away an exchange's answer that lies in its socket");
    if (t->p->exiting && w->now >= t->p->exit_until - 100) return;
    if (w->now - t->started < SIM_EXCHANGE_LIMIT_MS - 1000)
        sim_fail(w, t->p, "gives up an exchange after %lld ms", (long long)(w->now - t->started));
}

/* The server has ended a family for a spent token. Could anybody have kept the session? */
void check_reuse(sim *w, const transfer *t)
{
    known_family *f = &w->persons[t->person].families[t->family];

    if (!t->open || t->token + 1 >= f->token_count)
        return; /* what a dead process sent comes late: nobody can help it */
    for (int i = t->token + 1; i < f->token_count; i++)
        if (w->remote ? f->tokens[i].on_disk && remote_holds(w, t->p, t->person) && !is_excused(w, t->p, t->person)
                      : f->tokens[i].lives_in || f->tokens[i].on_disk)
            sim_fail(w, t->p,
                     "a session is lost that could have been kept: token %d.%d.%d was presented, and %d was known",
                     t->person, t->family, t->token, i);
}

/* --- bytes reach the disk ------------------------------------------------------------------------------------------------------ */

static void note_saved_bearers(sim *w, const disk *d)
{
    int who, fam, sibling, account, serial;

    for (const char *at = d->bytes; (at = strstr(at, "at~")) != NULL; at++)
        if (access_parse(at, &who, &fam, &sibling, &account, &serial) && sim_token(w, who, fam, sibling))
            w->persons[who].families[fam].accesses[serial].on_disk = true;
}

static void check_saved_token(sim *w, proc *p, int who, int old_family, int old_token, bool news, bool lives)
{
    disk *d = &w->disks[who];
    known_family *f = &w->persons[who].families[d->family];
    known_token *k = sim_token(w, who, d->family, d->token);

    if (!k) {
        sim_fail(w, p, "saves a token that was never issued");
        return;
    }
    k->on_disk = k->was_on_disk = true;
    note_saved_bearers(w, d);
    if (f->buried) sim_fail(w, p, "writes a session back that was signed out");
    if (f->replaced) sim_fail(w, p, "writes a session back that another one has replaced");
    if (d->family == old_family && d->token < old_token)
        sim_fail(w, p, "writes token %d.%d.%d over its successor %d", who, d->family, d->token, old_token);
    for (int i = d->token + 1; i < f->token_count; i++)
        if (news && lives && f->tokens[i].lives_in & bit(p)) /* a trial writes what is there */
            sim_fail(w, p, "saves token %d.%d.%d though it holds %d", who, d->family, d->token, i);
    if (d->family == old_family && d->token == old_token && !d->marked && !d->refused && k->doubt && !f->revoked &&
        !w->persons[who].no_replay && (d->wiped_at < k->doubt_at || k->doubt_known & bit(p)))
        sim_fail(w, p, "takes the mark away while token %d.%d.%d is in doubt", who, d->family, d->token);
}

/* The lock is given back: what came under it is saved. */
void check_unlock(sim *w, proc *p, int who)
{
    disk *d = &w->disks[who];
    known_family *f = d->family >= 0 ? &w->persons[who].families[d->family] : NULL;

    if (!f || f->revoked || is_excused(w, p, who)) return;
    for (int i = d->token + 1; i < f->token_count; i++)
        if (f->tokens[i].lives_in & bit(p) && !f->tokens[i].was_on_disk)
            sim_fail(w, p, "gives the lock back though token %d.%d.%d is in its memory alone", who, d->family, i);
}

void check_save(sim *w, proc *p, int who, int old_family, int old_token, bool news, bool lives)
{
    disk *d = &w->disks[who];
    int m = p->machine;

    if (d->family >= 0) check_saved_token(w, p, who, old_family, old_token, news, lives);
    if (old_family >= 0 && d->family < 0) w->persons[who].families[old_family].buried = true;
    if (old_family >= 0 && d->family >= 0 && d->family != old_family)
        w->persons[who].families[old_family].replaced = true;
    for (int i = 0; i < w->call_count && lives; i++) { /* also those that were abandoned */
        call *c = w->calls[i];

        if ((c->kind == CALL_SIGN_IN || c->kind == CALL_MFA) && c->p == p && c->life == p->life && c->person == who)
            c->saved = true;
    }
    if (!news) return; /* a trial */
    if (old_family != d->family || old_token != d->token) {
        /* another session has a lane of its own, and with a successor the server has said that it goes on */
        memset(d->gate_until, 0, sizeof d->gate_until);
        for (int i = 0; i < w->proc_count; i++)
            w->procs[i].gates[who][GATE_EXCHANGE] = w->procs[i].exchange_wait[who] = 0;
    }
    if (!lives) return;
    if (p->exchange_wait[who] > w->now) { /* whoever reads the record now, under this boot, knows of it */
        d->gate_until[m] = p->exchange_wait[who];
        d->gate_boot[m] = w->machines[m].boot;
    }
    p->exchange_wait[who] = 0;
}

/* --- a call ends ---------------------------------------------------------------------------------------------------------------- */

/* Is there no session that this process could go on with, as far as it can know? */
static bool is_lost(sim *w, proc *p, int who)
{
    known_person *one = &w->persons[who];
    known_family *f = p->seen_family[who] >= 0 ? &one->families[p->seen_family[who]] : NULL;
    bool lost = !f || f->buried || f->revoked, without_replay = false;

    for (int i = 0; f && one->no_replay && !lost && i < f->token_count; i++)
        without_replay = without_replay || f->tokens[i].doubt || f->tokens[i].mark_left;
    if (f && (without_replay || f->reused) && !f->counted) {
        if (without_replay) w->totals->lost_without_replay++;
        else w->totals->lost++;
        f->counted = true;
    }
    return lost || without_replay;
}

void check_seen(sim *w, proc *p, int who)
{
    if (is_lost(w, p, who)) p->saw_lost_at[who] = w->now;
}

/* "Sign in again" is said only where the server, or a sign-out, has ended the session. */
static void check_lost(sim *w, const call *c, const char *reason)
{
    check_seen(w, c->p, c->person);
    if (c->p->saw_lost_at[c->person] < c->started)
        sim_fail(w, c->p, "gives up session %d.%d (%s) though the server has not ended it", c->person,
                 c->p->seen_family[c->person], reason);
}

static void check_signed_in(sim *w, const call *c, const dpg_completion *done)
{
    bool fine = done->error.kind == DPG_KIND_NONE && done->status == 200;
    known_token *k = c->family >= 0 ? sim_token(w, c->person, c->family, 0) : NULL;

    if (fine && !done->body.len && (!k || !k->was_on_disk))
        sim_fail(w, c->p, "is signed in, and the session is not on the disk");
    if (k && !k->was_on_disk && !c->cancelled && done->error.kind != DPG_KIND_STORAGE &&
        done->error.kind != DPG_KIND_TIMEOUT)
        sim_fail(w, c->p, "the sign-in was answered, not saved, and ends as %s", dpg_kind_name(done->error.kind));
    if (fine && !done->body.len) w->totals->sign_ins++;
}

void check_done(sim *w, call *c, const dpg_completion *done)
{
    const char *texts[] = {done->error.code, done->error.reason, done->error.message, done->error.detail};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_no_secret(w, c->p, "an error", texts[i]);
    if (done->body.len && memmem(done->body.ptr, done->body.len, "rt~", 3))
        sim_fail(w, c->p, "a body holds a refresh token");
    if (done->error.kind == DPG_KIND_NONE && !done->status && (c->kind < CALL_TIMER))
        sim_fail(w, c->p, "call %d ends with neither an answer nor an error", c->number);
    if (done->sent < c->arrivals && c->kind <= CALL_SERVICE && !c->cancelled)
        sim_fail(w, c->p, "call %d says that %d attempts may have left, and %d came", c->number, done->sent,
                 c->arrivals);
    if (done->error.kind == DPG_KIND_USAGE)
        sim_fail(w, c->p, "call %d ends as a usage error: %s", c->number, done->error.message);
    if (done->error.kind == DPG_KIND_CANCELLED && !c->cancelled)
        sim_fail(w, c->p, "call %d was never cancelled", c->number);
    if (c->kind == CALL_TIMER && !c->cancelled && w->now < c->started + c->timer_ms)
        sim_fail(w, c->p, "timer %d ends early", c->number);
    if (c->kind == CALL_SIGN_IN || c->kind == CALL_MFA) check_signed_in(w, c, done);
    else if (done->error.kind == DPG_KIND_AUTH) check_lost(w, c, done->error.reason);
    if (c->kind == CALL_FORGET && done->error.kind == DPG_KIND_NONE) {
        if (c->family >= 0 && !w->persons[c->person].families[c->family].buried &&
            w->disks[c->person].family == c->family && w->disks[c->person].wiped_at < c->started)
            sim_fail(w, c->p, "is signed out, and the session is still on the disk");
        if (c->family >= 0) w->totals->sign_outs++;
        for (int i = 0; i < w->persons[c->person].family_count; i++)
            if (w->persons[c->person].families[i].buried) w->persons[c->person].families[i].left_by |= bit(c->p);
    }
}

/* --- after a turn, at the end ---------------------------------------------------------------------------------------------------- */

void check_turned(sim *w, proc *p)
{
    while (w->first_call < w->call_count && !w->calls[w->first_call]->open) w->first_call++;
    for (int i = w->call_count - 1; i >= w->first_call; i--) {
        call *c = w->calls[i];
        int64_t limit = c->kind == CALL_TIMER ? c->timer_ms : c->deadline_ms;

        if (!c->open || c->p != p || c->life != p->life || limit < 0 || w->now < c->started + limit + 50) continue;
        if (++c->late_turns > 3)
            sim_fail(w, p, "call %d has not ended %lld ms after its deadline", c->number,
                     (long long)(w->now - c->started - limit));
    }
}

void check_exited(sim *w, proc *p)
{
    if (w->remote) return; /* there it may run out of time for good reason */
    for (int who = 0; who < w->person_count; who++)
        for (int f = 0; f < w->persons[who].family_count; f++)
            for (int i = 1; i < w->persons[who].families[f].token_count; i++) {
                known_token *k = sim_token(w, who, f, i);

                if (k->lives_in & bit(p) && !k->on_disk && k->spent_at < 0 && w->disks[who].failed_at < k->handed_at &&
                    !w->persons[who].families[f].revoked)
                    sim_fail(w, p, "exits and takes token %d.%d.%d with it, which is nowhere else", who, f, i);
            }
}
