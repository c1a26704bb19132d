/*
 * Processes: each has an engine of its own, is turned when something is due, and can stand still, exit or be killed at any
 * step. A process that is killed inside a driver call goes on as a ghost, without effect, until the engine returns; then
 * its memory is given back. What programs do with the engine is in caller.c.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* --- its clock and its dice -------------------------------------------------------------------------------------------- */

static int64_t boot_ms(void *self)
{
    proc *p = self;

    return p->w->now - p->w->machines[p->machine].booted_at + p->doomed_ms;
}

static int64_t unix_ms(void *self)
{
    proc *p = self;

    return (int64_t)SIM_EPOCH_S * 1000 + p->w->now + p->w->machines[p->machine].wall_off + p->doomed_ms;
}

static const char *boot_id(void *self)
{
    proc *p = self;

    return p->w->machines[p->machine].boot_id;
}

static uint64_t dice(void *self)
{
    proc *p = self;

    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    return p->random ^ p->random >> 29;
}

/* --- turning ------------------------------------------------------------------------------------------------------------ */

void proc_enter(proc *p)
{
    p->depth++;
}

bool proc_leave(sim *w, proc *p)
{
    if (--p->depth == 0 && p->doomed) proc_bury(w, p);
    return p->life != 0;
}

static void turn(sim *w, void *self, int64_t life);

static void plan(sim *w, proc *p, int64_t at)
{
    if (at < p->stands_until) at = p->stands_until;
    if (at < w->now) at = w->now;
    if (p->turn_at >= 0 && p->turn_at <= at) return;
    p->turn_at = at;
    sim_after(w, at - w->now, turn, p, p->life);
}

void proc_wake(sim *w, proc *p)
{
    if (p->depth) p->woken = true;
    if (p->life && !p->doomed) plan(w, p, w->now + (sim_chance(w, 100) ? sim_between(w, 0, 16) : 0));
}

static bool drain(sim *w, proc *p)
{
    dpg_note note;
    bool any = false;

    for (;;) {
        dpg_engine_next(p->engine, &note);
        if (note.type == DPG_NOTE_NONE || w->failed) return any;
        any = true;
        proc_enter(p); /* the caller goes on at once, and may die of it */
        caller_note(w, p, &note);
        proc_leave(w, p);
        if (p->doomed || !p->life) return any;
    }
}

/* A host that was away comes back. */
static void look(sim *w, void *self, int64_t life)
{
    proc *p = self;
    bool notes;

    if (p->life != life || p->doomed || p->exiting || p->depth || w->failed) return;
    if (w->now < p->stands_until) {
        sim_after(w, p->stands_until - w->now, look, p, life);
        return;
    }
    proc_enter(p);
    notes = drain(w, p);
    if (proc_leave(w, p) && notes && !w->failed) plan(w, p, w->now);
}

/* What has come is told at once, or, with a thread, when its host next looks: it may be drawing a frame, or be fast asleep. */
static bool tell(sim *w, proc *p)
{
    if (!p->threaded || w->calm || !dpg_engine_counts(p->engine).notes || sim_chance(w, 600)) return drain(w, p);
    sim_after(w, sim_spread(w, 1, 5000), look, p, p->life);
    return false;
}

static dpg_status turn_engine(sim *w, proc *p, dpg_error *err)
{
    if (p->threaded) return dpg_engine_play_turn(p->engine, err);
    return dpg_engine_wait(p->engine, sim_chance(w, 20) ? sim_between(w, 1, 100) : 0, err);
}

static void turn(sim *w, void *self, int64_t life)
{
    proc *p = self;
    uint64_t before = p->activity;
    dpg_error err = DPG_ERROR_INIT;
    int64_t due;
    bool notes;

    if (p->life != life || p->doomed || p->turn_at < 0 || p->turn_at > w->now) return;
    p->turn_at = -1;
    if (p->depth) return; /* it is inside the engine already */
    if (w->now < p->stands_until) {
        plan(w, p, p->stands_until);
        return;
    }
    p->turns_now = p->turned_at == w->now ? p->turns_now + 1 : 0;
    p->turned_at = w->now;
    if (p->turns_now > 500) sim_fail(w, p, "turns and turns, and nothing moves");
    proc_enter(p);
    p->stepped = false;
    if (turn_engine(w, p, &err) != DPG_OK && !p->doomed && !w->failed)
        sim_fail(w, p, "the engine can't be turned: %s", err.message);
    notes = !p->doomed && !w->failed && tell(w, p);
    if (!proc_leave(w, p) || w->failed) return;
    if (!dpg_engine_counts(p->engine).notes) check_turned(w, p); /* else its host has yet to hear of some */
    due = dpg_engine_due_ms(p->engine);
    if (notes || p->activity != before || net_has_ended(p)) plan(w, p, w->now);
    else if (due != INT64_MAX) plan(w, p, due + w->machines[p->machine].booted_at);
}

/* --- life and death ----------------------------------------------------------------------------------------------------- */

static void must(sim *w, proc *p, dpg_status status, const dpg_error *err)
{
    if (status != DPG_OK) sim_fail(w, p, "can't begin: %s", err->message);
}

static void get_handle(sim *w, proc *p, int who, int account)
{
    dpg_person_options options = {w->persons[who].no_replay};
    dpg_error err = DPG_ERROR_INIT;

    p->stores[who][account] = w->remote ? remote_store_new(p, who) : disk_store_new(p, who);
    must(w, p,
         dpg_credential_person(p->engine, dpg_cstr(SIM_ORIGIN), p->stores[who][account], &options,
                               &p->credentials[who][account], &err),
         &err);
}

static void free_stores(sim *w, proc *p)
{
    for (int i = 0; i < w->person_count; i++)
        for (int k = 0; k < SIM_ACCOUNTS; k++) dpg_store_free(p->stores[i][k]);
}

void proc_spawn(sim *w, proc *p)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_drivers drivers = {{p, boot_ms, unix_ms, boot_id}, {p, dice}, true, net_transport(p)};
    int index = p->index, at = p->machine;

    memset(p, 0, sizeof *p);
    p->w = w;
    p->index = index;
    p->machine = at;
    p->life = ++w->next_life;
    p->turn_at = -1;
    p->random = sim_random(w);
    options.events = sim_chance(w, 900);
    options.max_connections = sim_chance(w, 200) ? 2 : 0;
    if (sim_chance(w, 300)) options.retry_budget = (double)sim_between(w, 1, 5);
    sim_trace(w, p, "begins, on machine %d", p->machine);
    proc_enter(p);
    must(w, p, dpg_engine_new_with(&options, &drivers, &p->engine, &err), &err);
    p->threaded = sim_chance(w, 500);
    if (p->threaded) dpg_engine_play_thread(p->engine);
    for (int i = 0; i < w->person_count; i++) {
        p->seen_family[i] = -1;
        p->saw_lost_at[i] = -1;
        for (int k = 0; k < SIM_ACCOUNTS; k++) get_handle(w, p, i, k);
    }
    if (!w->failed)
        must(w, p, dpg_credential_service(p->engine, dpg_cstr(SIM_ORIGIN), DPG_LIT("st~5eed"), &p->service, &err),
             &err);
    if (proc_leave(w, p) && !w->failed) caller_begin(w, p);
}

void proc_begins(sim *w, void *self, int64_t arg)
{
    proc *p = self;

    (void)arg;
    if (w->ending || w->failed) return;
    if (p->life == 0) proc_spawn(w, p);
    else if (p->doomed) sim_after(w, 50, proc_begins, p, 0); /* the ghost is still inside its engine */
}

/* What the world sees of an end: nobody hears its connections, and its locks are free. */
static void vanish(sim *w, proc *p)
{
    if (w->remote) remote_process_dies(w, p);
    else disk_process_dies(w, p);
    net_process_dies(w, p);
    caller_ends(p);
    for (int i = 0; i < w->person_count; i++)
        for (int f = 0; f < w->persons[i].family_count; f++) {
            known_family *one = &w->persons[i].families[f];

            one->refused_to &= ~(1u << p->index);
            one->left_by &= ~(1u << p->index);
            for (int k = 0; k < one->token_count; k++) {
                one->tokens[k].lives_in &= ~(1u << p->index);
                one->tokens[k].doubt_known &= ~(1u << p->index);
            }
        }
    if (!w->ending) sim_after(w, sim_spread(w, 10, 60000), proc_begins, p, 0);
}

void proc_kill(sim *w, proc *p)
{
    if (!p->life || p->doomed) return;
    sim_trace(w, p, "is killed");
    vanish(w, p);
    p->doomed = true;
    if (p->depth == 0) proc_bury(w, p);
}

void proc_stops(sim *w, proc *p)
{
    if (!p->life || p->doomed) return;
    p->stands_until = w->now + sim_spread(w, 500, 300000);
    sim_trace(w, p, "stands still until %.3f", (double)p->stands_until / 1000);
}

bool proc_may_die(sim *w, proc *p, const char *where)
{
    if (p->doomed) return true;
    if (!sim_fault(w, F_CRASH_IN_STEP)) return false;
    sim_trace(w, p, "dies %s", where);
    proc_kill(w, p);
    return true;
}

void proc_bury(sim *w, proc *p)
{
    if (!p->life) return;
    dpg_engine_forget(p->engine);
    free_stores(w, p);
    p->engine = NULL;
    p->life = 0;
    p->doomed = false;
    p->turn_at = -1;
}

void proc_exit(sim *w, proc *p)
{
    dpg_counts counts;

    if (!p->life || p->doomed || p->depth) return;
    sim_trace(w, p, "exits");
    counts = dpg_engine_counts(p->engine);
    if (w->ending && (counts.untaken || counts.notes)) /* abandoned calls may still be on their way */
        sim_fail(w, p, "%zu untaken calls and %zu notes are left over", counts.untaken, counts.notes);
    caller_ends(p);
    p->exiting = true;
    p->exit_until = w->now + SIM_CLOSE_GRACE_MS;
    proc_enter(p);
    for (int i = 0; i < w->person_count; i++)
        for (int k = 0; k < SIM_ACCOUNTS; k++) dpg_credential_free(p->credentials[i][k]);
    dpg_credential_free(p->service);
    while (w->remote && !w->failed && w->now < p->exit_until && !p->doomed &&
           dpg_engine_finish(p->engine, p->exit_until - w->now))
        drain(w, p);
    drain(w, p);
    dpg_engine_free(p->engine, w->now < p->exit_until ? p->exit_until - w->now : 0);
    p->engine = NULL;
    if (!p->doomed) {
        if (!w->failed) check_exited(w, p);
        vanish(w, p);
    }
    free_stores(w, p);
    p->depth--;
    p->life = 0;
    p->doomed = false;
    p->turn_at = -1;
}

bool proc_is_well(const proc *p)
{
    if (!p->life || p->open_calls) return false;
    for (int i = 0; i < p->w->person_count; i++)
        for (int k = 0; k < SIM_ACCOUNTS; k++)
            if (!p->healed[i][k]) return false;
    return true;
}
