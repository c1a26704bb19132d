/*
 * Time and chance: the virtual clock with its queue of events, the random numbers of a seed, the character of a world that
 * is drawn from them, and the course of one seed: some minutes of trouble, then calm, in which everything must heal.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const sim_fault_names[F_COUNT] = {
    [F_REFUSED] = "connection refused",
    [F_CUT] = "request lost",
    [F_ANSWER_LOST] = "answer lost",
    [F_SILENCE] = "no answer ever",
    [F_SLOW] = "slow answer",
    [F_429] = "429",
    [F_429_UNREADABLE] = "429, unreadable Retry-After",
    [F_5XX] = "5xx before the work",
    [F_5XX_AFTER] = "5xx after the work",
    [F_HTML_200] = "200 with HTML",
    [F_GARBAGE_AFTER] = "garbage after the work",
    [F_HTML_401] = "401 from a middlebox",
    [F_403] = "403, not taken",
    [F_ACCESS_REVOKED] = "access tokens revoked",
    [F_SESSION_REVOKED] = "session revoked",
    [F_CRASH] = "crash",
    [F_CRASH_IN_STEP] = "crash inside a step",
    [F_REBOOT] = "reboot",
    [F_DISK_FULL] = "disk full",
    [F_DISK_READ_ONLY] = "disk read-only",
    [F_DISK_IO] = "disk error",
    [F_DISK_SLOW] = "slow store",
    [F_STORE_SILENT] = "store never answers",
    [F_STORE_RESTART] = "store restarts",
    [F_STOPS] = "process stops in a step",
    [F_CLOCK_JUMP] = "clock jump",
    [F_STANDS_STILL] = "process stands still",
    [F_EXIT] = "clean exit",
};

void *sim_alloc(void *old, size_t count, size_t size)
{
    void *fresh = realloc(old, count * size);

    if (fresh) return fresh;
    fputs("sim: out of memory\n", stderr);
    exit(2);
}

/* --- chance ----------------------------------------------------------------------------------------------------------- */

uint64_t sim_random(sim *w) /* splitmix64 */
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int64_t sim_between(sim *w, int64_t low, int64_t high)
{
    return low + (int64_t)(sim_random(w) % (uint64_t)(high - low + 1));
}

bool sim_chance(sim *w, int per_thousand)
{
    return per_thousand > 0 && sim_between(w, 0, 999) < per_thousand;
}

int64_t sim_spread(sim *w, int64_t low, int64_t high)
{
    int powers = 0;
    int64_t top = low > 0 ? low : 1, from;

    for (int64_t v = top; v < high; v *= 2) powers++;
    from = top << sim_between(w, 0, powers > 0 ? powers - 1 : 0);
    from = sim_between(w, from, from * 2);
    return from > high ? high : from;
}

bool sim_fault(sim *w, fault f)
{
    if (w->calm || w->rate[f] == 0 || !sim_chance(w, w->rate[f])) return false;
    w->totals->faults[f]++;
    return true;
}

/* --- time ------------------------------------------------------------------------------------------------------------- */

static bool comes_first(const event *a, const event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_after(sim *w, int64_t ms, sim_action run, void *self, int64_t arg)
{
    event e = {w->now + (ms > 0 ? ms : 0), ++w->seq, run, self, arg};
    size_t i = w->heap_count++;

    if (w->heap_count > w->heap_cap) {
        w->heap_cap = w->heap_cap ? w->heap_cap * 2 : 256;
        w->heap = sim_alloc(w->heap, w->heap_cap, sizeof *w->heap);
    }
    for (; i && comes_first(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static event take_first(sim *w)
{
    event first = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < w->heap_count) {
        if (child + 1 < w->heap_count && comes_first(&w->heap[child + 1], &w->heap[child])) child++;
        if (!comes_first(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    if (w->heap_count) w->heap[i] = last;
    return first;
}

bool sim_run_one(sim *w, int64_t until)
{
    event e;

    if (w->failed || w->heap_count == 0 || w->heap[0].at > until) {
        if (w->now < until) w->now = until;
        return false;
    }
    e = take_first(w);
    if (e.at > w->now) w->now = e.at;
    if (++w->steps > 400000) sim_fail(w, NULL, "the world does not come to rest: %d calls", w->call_count);
    e.run(w, e.self, e.arg);
    return true;
}

/* --- telling ---------------------------------------------------------------------------------------------------------- */

static void say(const sim *w, const proc *p, const char *mark, const char *format, va_list args) DPG_PRINTF(4, 0);
static void say(const sim *w, const proc *p, const char *mark, const char *format, va_list args)
{
    printf("%9.3f ", (double)w->now / 1000);
    if (p) printf("%c%-3d ", 'A' + p->index, p->life);
    else printf("     ");
    fputs(mark, stdout);
    vprintf(format, args);
    putchar('\n');
}

void sim_trace(sim *w, const proc *p, const char *format, ...)
{
    va_list args;

    if (!w->verbose) return;
    va_start(args, format);
    say(w, p, "", format, args);
    va_end(args);
}

void sim_fail(sim *w, const proc *p, const char *format, ...)
{
    va_list args;
    int used;

    if (w->failed) return;
    w->failed = true;
    used = snprintf(w->why, sizeof w->why, "at %.3f s", (double)w->now / 1000);
    if (p) used += snprintf(w->why + used, sizeof w->why - (size_t)used, ", process %c", 'A' + p->index);
    used += snprintf(w->why + used, sizeof w->why - (size_t)used, ": ");
    va_start(args, format);
    vsnprintf(w->why + used, sizeof w->why - (size_t)used, format, args);
    va_end(args);
    if (w->verbose) {
        va_start(args, format);
        say(w, p, "*** ", format, args);
        va_end(args);
    }
}

/* --- the weather: what happens to machines, sessions and processes by itself ------------------------------------------- */

static void reboot(sim *w, machine *m)
{
    for (int i = 0; i < w->proc_count; i++)
        if (&w->machines[w->procs[i].machine] == m) proc_kill(w, &w->procs[i]);
    m->booted_at = w->now;
    m->boot++;
    snprintf(m->boot_id, sizeof m->boot_id, "boot-%d-%d", (int)(m - w->machines), m->boot);
    sim_trace(w, NULL, "machine %d reboots", (int)(m - w->machines));
}

static void weather(sim *w, void *self, int64_t arg)
{
    proc *p = &w->procs[sim_between(w, 0, w->proc_count - 1)];
    machine *m = &w->machines[sim_between(w, 0, w->machine_count - 1)];

    (void)self, (void)arg;
    if (w->calm) return;
    if (p->life && sim_fault(w, F_CRASH)) {
        proc_kill(w, p);
    } else if (p->life && !p->depth && sim_fault(w, F_EXIT)) {
        proc_exit(w, p);
    } else if (p->life && sim_fault(w, F_STANDS_STILL)) {
        proc_stops(w, p);
    }
    if (sim_fault(w, F_REBOOT)) reboot(w, m);
    if (sim_fault(w, F_CLOCK_JUMP)) {
        m->wall_off += sim_spread(w, 1000, (int64_t)40 * 86400000) * (sim_chance(w, 500) ? 1 : -1);
        sim_trace(w, NULL, "the clock of machine %d jumps to %+.3f s", (int)(m - w->machines),
                  (double)m->wall_off / 1000);
    }
    if (w->remote) remote_weather(w);
    else disk_weather(w);
    server_revoke(w);
    sim_after(w, sim_spread(w, 100, w->life_ms), weather, NULL, 0);
}

/* --- one seed ---------------------------------------------------------------------------------------------------------- */

static int one_of(sim *w, const int *values, int count)
{
    return values[sim_between(w, 0, count - 1)];
}

/* Most worlds have a few kinds of trouble and no others, so that each also meets the long quiet run of the rest. */
static void draw_character(sim *w)
{
    static const int answers[] = {0, 0, 0, 20, 80, 250}, rare[] = {0, 0, 0, 5, 15, 40},
                     weathers[] = {0, 0, 20, 80, 200};
    static const int lives[] = {2, 5, 20, 60, 300, 900};

    for (fault f = 0; f < F_COUNT; f++) w->rate[f] = f <= F_403 ? one_of(w, answers, 6) : one_of(w, weathers, 5);
    w->rate[F_HTML_401] /= 2;
    w->rate[F_403] /= 2;
    w->rate[F_SILENCE] /= 3;
    w->rate[F_CRASH_IN_STEP] = one_of(w, rare, 6) / 2;
    w->rate[F_ACCESS_REVOKED] = one_of(w, rare, 6);
    w->rate[F_SESSION_REVOKED] = one_of(w, rare, 6) / 5;
    w->rate[F_REBOOT] = one_of(w, rare, 6);
    w->rate[F_DISK_IO] = one_of(w, rare, 6);
    w->rate[F_CLOCK_JUMP] = sim_chance(w, 300) ? 60 : 0;
    w->rate[F_STANDS_STILL] /= 2;
    w->strict = sim_chance(w, 600);
    w->lazy = sim_chance(w, 80);
    w->grace_ms = sim_spread(w, 5000, 120000);
    w->life_ms = 1000 * one_of(w, lives, 6);
    w->think_ms = sim_spread(w, 200, w->life_ms);
    w->latency_ms = sim_spread(w, 2, 400);
    w->remote = sim_chance(w, 500);
    w->leases = w->remote && sim_chance(w, 700);
    w->rate[F_STORE_SILENT] /= 5;
    w->rate[F_STORE_RESTART] /= 2;
    w->rate[F_STOPS] /= 4;
    w->sign_outs = sim_chance(w, 300);
    w->person_count = sim_chance(w, 250) ? 2 : 1;
    w->proc_count = (int)sim_between(w, 1, SIM_PROCS);
    w->machine_count = w->proc_count > 1 && sim_chance(w, 300) ? 2 : 1;
    w->caller_count = (int)sim_between(w, 1, SIM_CALLERS);
    w->chaos_until = w->think_ms * sim_between(w, 3, 12);
}

static void draw_world(sim *w)
{
    draw_character(w);
    for (int i = 0; i < w->machine_count; i++) {
        w->machines[i].booted_at = -sim_between(w, 0, 1000000);
        w->machines[i].boot = 1;
        snprintf(w->machines[i].boot_id, sizeof w->machines[i].boot_id, "boot-%d-1", i);
    }
    for (int i = 0; i < w->person_count; i++) {
        w->persons[i].secret = sim_random(w);
        w->persons[i].two_factor = sim_chance(w, 300);
        w->persons[i].no_replay = sim_chance(w, 100);
        w->disks[i].family = w->disks[i].token = -1;
        w->disks[i].failed_at = w->disks[i].lost_at = w->disks[i].wiped_at = w->disks[i].outside_at = -1;
    }
    for (int i = 0; i < w->proc_count; i++) {
        w->procs[i].w = w;
        w->procs[i].index = i;
        w->procs[i].machine = (int)sim_between(w, 0, w->machine_count - 1);
        sim_after(w, i ? sim_spread(w, 1, 2 * w->think_ms) : 0, proc_begins, &w->procs[i], 0);
    }
    sim_trace(w, NULL,
              "%s server (grace %lld s), access tokens live %lld s, %d persons, %d processes on %d machines, %s",
              w->strict ? "strict" : "lenient", (long long)w->grace_ms / 1000, (long long)w->life_ms / 1000,
              w->person_count, w->proc_count, w->machine_count,
              !w->remote  ? "a file"
              : w->leases ? "a store with leases"
                          : "a store");
    for (fault f = 0; f < F_COUNT; f++)
        if (w->rate[f]) sim_trace(w, NULL, "  %s: %d in 1000", sim_fault_names[f], w->rate[f]);
}

static void begin_calm(sim *w)
{
    w->calm = true;
    w->heal_until = w->now + 600000;
    sim_trace(w, NULL, "--- calm: from here on all must heal");
    for (int i = 0; i < w->person_count; i++) {
        w->disks[i].full_until = w->disks[i].read_only_until = 0;
        for (int m = 0; m < SIM_MACHINES; m++)
            if (w->disks[i].gate_until[m] + 600000 > w->heal_until) w->heal_until = w->disks[i].gate_until[m] + 600000;
    }
    for (int i = 0; i < w->proc_count; i++) {
        proc *p = &w->procs[i];

        p->stands_until = 0;
        for (int k = 0; k < w->person_count; k++)
            for (int g = 0; g < 3; g++)
                if (p->gates[k][g] + 600000 > w->heal_until) w->heal_until = p->gates[k][g] + 600000;
        if (p->life == 0) proc_spawn(w, p);
        else caller_begin(w, p);
    }
}

static bool all_well(const sim *w)
{
    for (int i = 0; i < w->proc_count; i++)
        if (!proc_is_well(&w->procs[i])) return false;
    return true;
}

static void live(sim *w)
{
    sim_after(w, sim_spread(w, 1, w->think_ms), weather, NULL, 0);
    while (w->now < w->chaos_until && !w->failed) sim_run_one(w, w->chaos_until);
    if (!w->failed) begin_calm(w);
    while (!w->failed && w->now < w->heal_until && !all_well(w)) sim_run_one(w, w->heal_until);
    w->ending = true;
    for (int i = 0; i < w->proc_count && !w->failed; i++) {
        if (!proc_is_well(&w->procs[i])) sim_fail(w, &w->procs[i], "has not healed: it still can't do its calls");
        if (!w->failed) proc_exit(w, &w->procs[i]);
    }
}

bool sim_seed(uint64_t seed, bool verbose, totals *sum, char *why, size_t why_size)
{
    sim *w = sim_alloc(NULL, 1, sizeof *w);
    bool failed;

    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->random = seed * 0x2545f4914f6cdd1du + 1;
    w->verbose = verbose;
    w->totals = sum;
    draw_world(w);
    live(w);
    for (int i = 0; i < w->proc_count; i++) proc_bury(w, &w->procs[i]);
    sum->seeds++;
    sum->events += (int64_t)w->steps;
    failed = w->failed;
    snprintf(why, why_size, "%s", w->why);
    net_free(w);
    remote_free(w);
    disk_free(w);
    server_free(w);
    for (int i = 0; i < w->call_count; i++) free(w->calls[i]);
    free(w->calls);
    free(w->heap);
    free(w);
    return !failed;
}
