/*
 * What programs do with the core: calls of all kinds, in bursts and one by one, some cancelled, some abandoned, some in a
 * hurry; signing in, signing out. In the calm at the end each process asks for each account of each person until all answer.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"get",   "denied", "write",   "unsent", "service",
                                         "timer", "load",   "sign_in", "mfa",    "forget"};

static void think(sim *w, void *self, int64_t arg);

/* Actions carry the process's life and a small number: the caller's, or the call's. */
static int64_t pack(const proc *p, int number)
{
    return (int64_t)p->life << 32 | (int64_t)number;
}

static bool is_of(const proc *p, int64_t arg)
{
    return p->life == arg >> 32 && !p->doomed && !p->exiting;
}

static void rest(sim *w, proc *p, int who, int64_t ms)
{
    sim_after(w, ms, think, p, pack(p, who));
}

/* --- starting ------------------------------------------------------------------------------------------------------------ */

static call *new_call(sim *w, proc *p, int who, call_kind kind, int person, int account)
{
    call *c = sim_alloc(NULL, 1, sizeof *c);

    *c = (call){.kind = kind,
                .number = w->call_count,
                .p = p,
                .life = p->life,
                .caller = who,
                .person = person,
                .account = account,
                .open = true,
                .started = w->now,
                .deadline_ms = -1,
                .family = -1};
    w->calls = sim_alloc(w->calls, (size_t)w->call_count + 1, sizeof(call *));
    w->calls[w->call_count++] = c;
    w->totals->calls++;
    p->open_calls++;
    if (who >= 0) p->callers[who].waiting_for++;
    return c;
}

static void later_cancel(sim *w, void *self, int64_t arg)
{
    proc *p = self;
    call *c = w->calls[arg & 0xffffffff];

    if (!is_of(p, arg) || !c->open || c->life != p->life || p->depth || w->calm) return;
    if (w->now < p->stands_until) return;
    sim_trace(w, p, "call %d is cancelled", c->number);
    c->cancelled = true;
    proc_enter(p);
    dpg_engine_cancel(p->engine, c->id);
    if (proc_leave(w, p)) proc_wake(w, p);
}

static void abandon(sim *w, proc *p, call *c)
{
    sim_trace(w, p, "call %d is abandoned", c->number);
    c->abandoned = true;
    c->open = false;
    p->open_calls--;
    if (c->caller >= 0) p->callers[c->caller].waiting_for--;
    dpg_engine_abandon(p->engine, c->id);
}

static void begun(sim *w, proc *p, call *c, dpg_status status, const dpg_error *err)
{
    proc_wake(w, p);
    if (p->doomed || w->failed) return;
    if (status != DPG_OK) {
        sim_fail(w, p, "a call of kind %s can't be started: %s", kind_names[c->kind], err->message);
        return;
    }
    sim_trace(w, p, "call %d (%s, person %d, account %c) starts%s%.0lld", c->number, kind_names[c->kind], c->person,
              'A' + c->account, c->deadline_ms > 0 ? ", ms left: " : "",
              (long long)(c->deadline_ms > 0 ? c->deadline_ms : 0));
    for (int i = w->first_call; i < w->call_count - 1; i++)
        if (w->calls[i]->open && w->calls[i]->p == p && w->calls[i]->life == p->life && w->calls[i]->id == c->id)
            sim_fail(w, p, "two calls have one id");
    if (w->calm) return;
    if (sim_chance(w, 60)) sim_after(w, sim_spread(w, 1, 8000), later_cancel, p, pack(p, c->number));
    else if (sim_chance(w, 40)) abandon(w, p, c);
}

static void start_request(sim *w, proc *p, int who, call_kind kind, int person, int account)
{
    static const char *const accounts[] = {"acc-a", "acc-b"};
    call *c = new_call(w, p, who, kind, person, account);
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_error err = DPG_ERROR_INIT;
    char url[96], key[24];
    dpg_header headers[2] = {{DPG_LIT("accept"), DPG_LIT("application/json")}, {DPG_LIT("idempotency-key"), {key, 0}}};

    snprintf(url, sizeof url, "%s/images/call-%d", SIM_ORIGIN, c->number);
    headers[1].value.len = (size_t)snprintf(key, sizeof key, "key-%d", c->number);
    spec.method = DPG_LIT("GET");
    spec.headers = headers;
    spec.header_count = 1;
    if (kind == CALL_WRITE || kind == CALL_UNSENT) {
        spec.method = DPG_LIT("POST");
        spec.body = DPG_LIT("{\"title\":\"Main Stage\"}");
        spec.has_body = true;
        if (kind == CALL_WRITE) spec.header_count = 2;
        else spec.repeat = DPG_REPEAT_UNSENT;
    }
    if (kind == CALL_TIMER) {
        spec.timer_ms = c->timer_ms = sim_spread(w, 1, 20000);
    } else {
        spec.url = dpg_cstr(url);
        spec.credential = kind == CALL_SERVICE ? p->service : p->credentials[person][account];
        if (kind != CALL_SERVICE) spec.account = dpg_cstr(accounts[account]);
        if (sim_chance(w, 250) && !w->calm) spec.deadline_ms = sim_spread(w, 300, 20000);
        else if (sim_chance(w, 50) && !w->calm) spec.deadline_ms = -1;
        c->deadline_ms = spec.deadline_ms ? spec.deadline_ms : 120000;
        if (sim_chance(w, 200)) spec.timeout_ms = sim_spread(w, 500, 10000);
    }
    begun(w, p, c, dpg_engine_start(p->engine, &spec, &c->id, &err), &err);
}

static void start_sign_in(sim *w, proc *p, int who, int person, bool second)
{
    call *c = new_call(w, p, who, second ? CALL_MFA : CALL_SIGN_IN, person, 0);
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_error err = DPG_ERROR_INIT;
    char url[96], body[240], gate[32];

    snprintf(url, sizeof url, "%s/auth/%s", SIM_ORIGIN, second ? "mfa" : "sign_in");
    if (second)
        snprintf(body, sizeof body, "{\"mfa_token\":\"mt~%016llx\",\"code\":\"123456\",\"for\":\"call-%d\"}",
                 (unsigned long long)w->persons[person].secret, c->number);
    else
        snprintf(body, sizeof body,
                 "{\"login\":\"p%d\",\"password\":\"pw~%016llx\",\"device\":{\"identifier\":\"call-%d\",\"name\":\"d\","
                 "\"platform\":\"linux\"}}",
                 person, (unsigned long long)w->persons[person].secret, c->number);
    snprintf(gate, sizeof gate, "sign-in:p%d", person);
    spec.method = DPG_LIT("POST");
    spec.url = dpg_cstr(url);
    spec.body = dpg_cstr(body);
    spec.has_body = true;
    spec.gate = dpg_cstr(gate);
    spec.repeat = DPG_REPEAT_UNSENT;
    begun(w, p, c, dpg_credential_sign_in(p->credentials[person][c->number % SIM_ACCOUNTS], &spec, &c->id, &err), &err);
}

static void start_plain(sim *w, proc *p, int who, call_kind kind, int person)
{
    call *c = new_call(w, p, who, kind, person, 0);
    dpg_error err = DPG_ERROR_INIT;

    if (kind == CALL_FORGET) {
        c->family = w->disks[person].family;
        begun(w, p, c, dpg_credential_forget(p->credentials[person][c->number % SIM_ACCOUNTS], 0, &c->id, &err), &err);
    } else {
        begun(w, p, c, dpg_credential_load(p->credentials[person][c->number % SIM_ACCOUNTS], 0, &c->id, &err), &err);
    }
}

/* --- choosing ------------------------------------------------------------------------------------------------------------ */

static void choose(sim *w, proc *p, int who)
{
    int person = (int)sim_between(w, 0, w->person_count - 1), account = (int)sim_between(w, 0, SIM_ACCOUNTS - 1);
    int64_t dice = sim_between(w, 0, 999);

    if (dice < 60) start_request(w, p, who, CALL_WRITE, person, account);
    else if (dice < 90) start_request(w, p, who, CALL_UNSENT, person, account);
    else if (dice < 170) start_request(w, p, who, CALL_SERVICE, 0, 0);
    else if (dice < 210) start_request(w, p, who, CALL_TIMER, 0, 0);
    else if (dice < 260) start_request(w, p, who, CALL_DENIED, person, account);
    else if (dice < 290) start_plain(w, p, who, CALL_LOAD, person);
    else if (dice < 310 && w->sign_outs) start_plain(w, p, who, CALL_FORGET, person);
    else if (dice < 370)
        for (int64_t n = sim_between(w, 2, 8); n && !p->doomed && !w->failed; n--)
            start_request(w, p, who, sim_chance(w, 100) ? CALL_DENIED : CALL_GET, person, (int)sim_between(w, 0, 1));
    else start_request(w, p, who, CALL_GET, person, account);
}

static void heal(sim *w, proc *p, int who)
{
    if (who != 0) return;
    for (int i = 0; i < w->person_count; i++)
        for (int k = 0; k < SIM_ACCOUNTS; k++)
            if (!p->healed[i][k]) {
                start_request(w, p, who, CALL_GET, i, k);
                return;
            }
}

static void think(sim *w, void *self, int64_t arg)
{
    proc *p = self;
    int who = (int)(arg & 0xffffffff);

    if (!is_of(p, arg) || w->ending || w->failed) return;
    if (p->depth || w->now < p->stands_until) { /* its script does not have control */
        rest(w, p, who, p->depth ? 20 : p->stands_until - w->now);
        return;
    }
    if (p->callers[who].waiting_for) return;
    proc_enter(p);
    if (w->calm) heal(w, p, who);
    else choose(w, p, who);
    if (!proc_leave(w, p)) return;
    if (!w->calm && p->callers[who].waiting_for == 0) rest(w, p, who, sim_spread(w, 1, w->think_ms));
}

void caller_begin(sim *w, proc *p)
{
    if (!w->calm) {
        proc_enter(p);
        for (int i = 0; i < w->person_count && !p->doomed && !w->failed; i++) {
            if (w->persons[i].family_count == 0 && p->index == 0) start_sign_in(w, p, -1, i, false);
            else start_plain(w, p, -1, CALL_LOAD, i);
        }
        if (!proc_leave(w, p)) return;
    }
    for (int i = 0; i < w->caller_count; i++) rest(w, p, i, sim_spread(w, 1, w->calm ? 1000 : w->think_ms));
}

void caller_ends(proc *p)
{
    for (int i = 0; i < p->w->call_count; i++)
        if (p->w->calls[i]->p == p && p->w->calls[i]->life == p->life) p->w->calls[i]->open = false;
    p->open_calls = 0;
}

/* --- hearing of the end --------------------------------------------------------------------------------------------------- */

static call *find(sim *w, const proc *p, dpg_id id)
{
    for (int i = w->call_count - 1; i >= 0; i--)
        if (w->calls[i]->p == p && w->calls[i]->life == p->life && w->calls[i]->id == id) return w->calls[i];
    return NULL;
}

/* Is there nothing on the disk that anybody could go on with? */
static bool is_over(sim *w, int person)
{
    const disk *d = &w->disks[person];
    const known_token *k = d->family < 0 ? NULL : sim_token(w, person, d->family, d->token);

    if (!k || d->refused || w->persons[person].families[d->family].revoked) return true;
    return w->persons[person].no_replay && (k->doubt || k->mark_left);
}

/* What its program does next. */
static void go_on(sim *w, proc *p, call *c, const dpg_completion *done)
{
    bool lost = done->error.kind == DPG_KIND_AUTH, again = false;
    bool fine =
        done->error.kind == DPG_KIND_NONE && (c->kind == CALL_TIMER || (done->status >= 200 && done->status < 300));
    bool signs_in = c->kind == CALL_SIGN_IN || c->kind == CALL_MFA;

    if (fine) w->totals->ok++;
    if (fine && c->kind == CALL_GET && w->calm) p->healed[c->person][c->account] = true;
    if (signs_in && fine && done->body.len) {
        start_sign_in(w, p, c->caller, c->person, true);
    } else if (signs_in) {
        w->persons[c->person].heal_sign_in = false;
    } else if (lost && !signs_in && c->kind != CALL_FORGET) {
        again = w->calm ? !w->persons[c->person].heal_sign_in && is_over(w, c->person)
                        : sim_chance(w, p->index == 0 ? 500 : 100);
        if (w->calm && again) w->persons[c->person].heal_sign_in = true;
    }
    if (p->doomed || w->failed) return;
    if (again) start_sign_in(w, p, w->calm ? 0 : c->caller, c->person, false);
    if (w->calm && c->caller != 0 && !again) return;
    if (p->doomed || w->failed || c->caller < 0 || p->callers[c->caller].waiting_for) return;
    rest(w, p, c->caller, w->calm ? (fine ? 1 : 3000) : sim_spread(w, 1, w->think_ms));
}

static void done(sim *w, proc *p, dpg_id id)
{
    call *c = find(w, p, id);
    dpg_completion completion;
    dpg_error err = DPG_ERROR_INIT;

    if (!c || !c->open) {
        sim_fail(w, p,
                 c ? "call %d ends twice, or though nobody asks for it" : "a call ends that was never started (%d)",
                 c ? c->number : (int)id);
        return;
    }
    memset(&completion, 0, sizeof completion);
    if (dpg_engine_take(p->engine, id, &completion, &err) != DPG_OK) {
        sim_fail(w, p, "call %d is done and can't be taken: %s", c->number, err.message);
        return;
    }
    c->open = false;
    p->open_calls--;
    if (c->caller >= 0) p->callers[c->caller].waiting_for--;
    sim_trace(w, p, "call %d (%s) ends: %s%s%s%s %d", c->number, kind_names[c->kind],
              dpg_kind_name(completion.error.kind), completion.error.code[0] ? " " : "", completion.error.code,
              completion.error.reason, completion.status);
    if (sim_chance(w, 30) && dpg_engine_take(p->engine, id, &completion, &err) != DPG_E_UNKNOWN)
        sim_fail(w, p, "call %d can be taken twice", c->number);
    check_done(w, c, &completion);
    if (!w->failed) go_on(w, p, c, &completion);
    dpg_completion_clear(&completion);
}

void caller_note(sim *w, proc *p, const dpg_note *note)
{
    if (note->type == DPG_NOTE_DONE) {
        if (!p->exiting) done(w, p, note->id);
        return;
    }
    if (note->type == DPG_NOTE_STORE) {
        remote_asked(w, p, note->asked);
        return;
    }
    check_no_secret(w, p, "an event", note->code);
    check_no_secret(w, p, "an event", note->message);
    check_no_secret(w, p, "an event", note->path);
    if (note->event == DPG_EVENT_ROTATED || note->event == DPG_EVENT_ADOPTED || note->event == DPG_EVENT_STORAGE ||
        note->event == DPG_EVENT_SIGNED_OUT)
        sim_trace(w, p, "event %s: generation %lld %s", dpg_event_name(note->event), (long long)note->generation,
                  note->code);
}
