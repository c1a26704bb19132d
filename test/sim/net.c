/*
 * The network: a dpg_transport for each process, over connections that refuse, cut, lose and delay. Its step() lets the
 * world go on while the engine waits. What the client may know (sent or not) is decided by when the request leaves.
 */
#include "sim.h"

#include "headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the way of one transfer ------------------------------------------------------------------------------------------- */

static void comes_back(sim *w, void *self, int64_t arg) /* something reaches the client's socket */
{
    transfer *t = self;

    (void)arg;
    if (!t->open) return;
    t->arrived = true;
    sim_trace(w, t->p, "net: %s comes back: %s", t->path, t->failed ? "cut" : "answer");
    proc_wake(w, t->p);
}

static void goes_back(sim *w, transfer *t, int64_t ms)
{
    if (t->fate == FATE_SILENCE) return;
    if (t->fate == FATE_ANSWER_LOST) t->failed = true;
    sim_after(w, ms + sim_spread(w, 1, w->latency_ms), comes_back, t, 0);
}

static void answered(sim *w, void *self, int64_t arg)
{
    goes_back(w, self, 0);
    (void)arg;
}

static void reaches_server(sim *w, void *self, int64_t trouble)
{
    transfer *t = self;
    int64_t work = sim_spread(w, 1, w->latency_ms);

    if (t->call) t->call->arrivals++;
    if (sim_fault(w, F_SLOW)) work = sim_spread(w, 2000, 100000);
    server_serve(w, t, (fault)trouble);
    sim_trace(w, NULL, "server: %s from %c -> %d%s", t->path, 'A' + t->p->index, t->status,
              t->means == MEANS_TOKENS ? " with tokens" : "");
    sim_after(w, work, answered, t, 0);
}

static bool leaves_too_late(const sim *w, const transfer *t)
{
    return t->request.leave_by_boot_ms && w->now - w->machines[t->p->machine].booted_at > t->request.leave_by_boot_ms;
}

static void leaves(sim *w, void *self, int64_t trouble)
{
    transfer *t = self;

    if (!t->open) return;
    if (w->now < t->p->stands_until && t->slow_hands) { /* stopped while it connected: it sends when it goes on */
        sim_after(w, t->p->stands_until - w->now, leaves, t, trouble);
        return;
    }
    if (t->fate == FATE_REFUSED || leaves_too_late(w, t)) {
        t->failed = true;
        comes_back(w, t, 0);
        return;
    }
    t->left = true;
    check_left(w, t);
    if (t->fate == FATE_CUT) {
        t->failed = true;
        sim_after(w, sim_spread(w, 1, w->latency_ms), comes_back, t, 0);
        return;
    }
    sim_after(w, sim_spread(w, 1, w->latency_ms), reaches_server, t, trouble);
}

/* --- what is asked ----------------------------------------------------------------------------------------------------- */

static char *copy(dpg_str s)
{
    char *text = sim_alloc(NULL, s.len + 1, 1);

    if (s.len) memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return text;
}

static void read_headers(transfer *t, const dpg_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const dpg_header *h = &request->headers[i];

        if (dpg_str_eq_nocase(h->name, DPG_LIT("authorization")) && h->value.len > 7)
            snprintf(t->bearer, sizeof t->bearer, "%.*s", (int)h->value.len - 7, h->value.ptr + 7);
        if (dpg_str_eq_nocase(h->name, DPG_LIT("idempotency-key")))
            snprintf(t->key, sizeof t->key, "%.*s", (int)h->value.len, h->value.ptr);
    }
}

/* Whose request is it? Calls have a number in their path or, when they sign in, in the device that they name. */
static void identify(sim *w, transfer *t)
{
    const char *found;
    int number = -1;

    t->kind = FOR_CALL;
    if (strcmp(t->path, "/auth/token") == 0) {
        t->kind = FOR_EXCHANGE;
        found = strstr(t->body, "\"refresh_token\":\"");
        if (!found || !token_parse(found + 17, &t->person, &t->family, &t->token)) {
            sim_fail(w, t->p, "an exchange without a readable refresh token");
            t->person = t->family = t->token = 0;
        }
        found = strstr(t->body, "\"account_uuid\":\"acc-");
        t->account = found ? found[20] - 'a' : -1;
        return;
    }
    if (strncmp(t->path, "/auth/", 6) == 0) {
        t->kind = FOR_SIGN_IN;
        found = strstr(t->body, "call-");
    } else {
        found = strstr(t->path, "call-");
    }
    if (found) number = atoi(found + 5);
    if (number < 0 || number >= w->call_count) {
        sim_fail(w, t->p, "a request that no call asked for: %s", t->path);
        number = 0;
    }
    t->call = w->call_count ? w->calls[number] : NULL;
    if (t->call) t->person = t->call->person;
}

static void draw_fate(sim *w, transfer *t, fault *trouble)
{
    *trouble = F_COUNT;
    if (sim_fault(w, F_REFUSED)) t->fate = FATE_REFUSED;
    else if (sim_fault(w, F_CUT)) t->fate = FATE_CUT;
    else if (sim_fault(w, F_ANSWER_LOST)) t->fate = FATE_ANSWER_LOST;
    else if (sim_fault(w, F_SILENCE)) t->fate = FATE_SILENCE;
    else *trouble = server_draw(w, t);
}

static dpg_status net_start(void *self, uint64_t id, const dpg_request *request, dpg_error *err)
{
    proc *p = self;
    sim *w = p->w;
    transfer *t;
    fault trouble;
    size_t origin = sizeof SIM_ORIGIN - 1;

    if (p->doomed || w->failed || proc_may_die(w, p, "before a send"))
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_NETWORK, "no_network", "nobody sends this any more");
    p->activity++;
    if (request->url.len < origin || memcmp(request->url.ptr, SIM_ORIGIN, origin) != 0) {
        sim_fail(w, p, "a request to another origin");
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_NETWORK, "no_network", "another origin");
    }
    t = sim_alloc(NULL, 1, sizeof *t);
    memset(t, 0, sizeof *t);
    w->transfers = sim_alloc(w->transfers, (size_t)w->transfer_count + 1, sizeof *w->transfers);
    w->transfers[w->transfer_count++] = t;
    t->id = id;
    t->p = p;
    t->life = p->life;
    t->request = *request;
    t->path = copy(dpg_str_of(request->url.ptr + origin, request->url.len - origin));
    t->body = copy(request->has_body ? request->body : dpg_str_of("", 0));
    t->started = w->now;
    t->open = true;
    t->retry_after_ms = t->new_family = t->new_token = t->new_access = -1;
    dpg_buf_init_secret(&t->answer, 1 << 20);
    read_headers(t, request);
    identify(w, t);
    draw_fate(w, t, &trouble);
    w->totals->sends++;
    if (t->kind == FOR_EXCHANGE)
        sim_trace(w, p, "net: exchange of %d.%d.%d for account %c", t->person, t->family, t->token, 'A' + t->account);
    else sim_trace(w, p, "net: %s", t->path);
    check_leaving(w, t);
    t->slow_hands = sim_chance(w, 500);
    if (w->remote && t->kind == FOR_EXCHANGE && sim_fault(w, F_STOPS)) proc_stops(w, p);
    sim_after(w, sim_spread(w, 1, w->latency_ms), leaves, t, (int64_t)trouble);
    proc_may_die(w, p, "after a send");
    return DPG_OK;
}

/* --- the way back to the engine ----------------------------------------------------------------------------------------- */

static dpg_sent net_abort(void *self, uint64_t id)
{
    proc *p = self;
    sim *w = p->w;

    for (int i = w->transfer_count - 1; i >= w->first_transfer; i--) {
        transfer *t = w->transfers[i];

        if (!t->open || t->p != p || t->life != p->life || t->id != id) continue;
        p->activity++;
        if (!p->doomed && !w->failed) check_aborted(w, t);
        t->open = false;
        sim_trace(w, p, "net: %s aborted", t->path);
        return t->left ? DPG_SENT_MAYBE : DPG_SENT_NOT;
    }
    return DPG_SENT_NOT;
}

static bool lies_in_socket(const transfer *t, const proc *p)
{
    return t->open && t->arrived && !t->ready && t->p == p && t->life == p->life;
}

bool net_has_ended(const proc *p)
{
    for (int i = p->w->transfer_count - 1; i >= p->w->first_transfer; i--)
        if (lies_in_socket(p->w->transfers[i], p)) return true;
    return false;
}

static dpg_status net_step(void *self, int64_t timeout_ms, dpg_error *err)
{
    proc *p = self;
    sim *w = p->w;
    int64_t until = timeout_ms > 600000 ? w->now + 600000 : w->now + timeout_ms;

    (void)err;
    p->stepped = true;
    if (p->doomed || w->failed) {
        p->doomed_ms += timeout_ms > 0 ? timeout_ms : 1;
        return DPG_OK;
    }
    while (timeout_ms > 0 && !p->woken && !p->doomed && !w->failed && (w->now < p->stands_until || !net_has_ended(p)))
        if (!sim_run_one(w, until > p->stands_until ? until : p->stands_until) && w->now >= until) break;
    p->woken = false;
    while (w->first_transfer < w->transfer_count && !w->transfers[w->first_transfer]->open) w->first_transfer++;
    for (int i = w->first_transfer; i < w->transfer_count; i++)
        if (lies_in_socket(w->transfers[i], p)) w->transfers[i]->ready = true;
    return DPG_OK;
}

static void write_head(transfer *t, dpg_response *out)
{
    char *at;
    size_t n = 0;

    dpg_buf_init_secret(&out->head, sizeof t->head);
    dpg_buf_puts(&out->head, t->head);
    for (const char *c = t->head; *c; c++) n += *c == '\n';
    out->headers = dpg_calloc(n + 1, sizeof *out->headers);
    at = out->head.ptr;
    while (at && *at && out->headers) {
        char *end = strchr(at, '\n');
        dpg_header *h = &out->headers[out->header_count];

        if (!end) break;
        if (dpg_header_line(dpg_str_of(at, (size_t)(end - at)), &h->name, &h->value)) out->header_count++;
        at = end + 1;
    }
}

static bool net_next(void *self, dpg_response *out)
{
    proc *p = self;
    sim *w = p->w;
    transfer *t = NULL;

    if (p->doomed || w->failed) return false;
    for (int i = w->first_transfer; i < w->transfer_count && !t; i++)
        if (w->transfers[i]->ready && w->transfers[i]->open && w->transfers[i]->p == p &&
            w->transfers[i]->life == p->life)
            t = w->transfers[i];
    if (!t || proc_may_die(w, p, "before an answer is read")) return false;
    p->activity++;
    t->open = false;
    memset(out, 0, sizeof *out);
    out->id = t->id;
    out->sent = t->left ? DPG_SENT_MAYBE : DPG_SENT_NOT;
    out->error.retry_after_ms = -1;
    dpg_buf_init_secret(&out->body, 1 << 20);
    /* what was lent must still be what it was */
    if (!dpg_str_eq(t->request.has_body ? t->request.body : dpg_str_of("", 0), dpg_cstr(t->body)))
        sim_fail(w, p, "the request's bytes changed while it was on its way");
    if (t->failed) {
        dpg_fail(&out->error, DPG_E_SYSTEM, DPG_KIND_NETWORK, t->left ? "connection_lost" : "connection_refused",
                 "the simulated connection %s", t->left ? "was cut" : "was refused");
    } else {
        out->status = t->status;
        write_head(t, out);
        if (t->answer.len) dpg_buf_put_str(&out->body, dpg_buf_str(&t->answer));
    }
    check_handed_over(w, t);
    proc_may_die(w, p, "after an answer is read");
    return true;
}

static void net_wakeup(void *self)
{
    ((proc *)self)->woken = true;
    ((proc *)self)->activity++;
}

static void net_done(void *self)
{
    (void)self;
}

dpg_transport net_transport(proc *p)
{
    return (dpg_transport){.self = p,
                           .start = net_start,
                           .abort = net_abort,
                           .step = net_step,
                           .next = net_next,
                           .wakeup = net_wakeup,
                           .free = net_done,
                           .forget = net_done};
}

void net_process_dies(sim *w, proc *p)
{
    for (int i = 0; i < w->transfer_count; i++) {
        transfer *t = w->transfers[i];

        if (!t->open || t->p != p || t->life != p->life) continue;
        t->open = false;
        if (t->kind == FOR_EXCHANGE && t->left) sim_token(w, t->person, t->family, t->token)->doubt = true;
    }
}

void net_free(sim *w)
{
    for (int i = 0; i < w->transfer_count; i++) {
        dpg_buf_clear(&w->transfers[i]->answer);
        free(w->transfers[i]->path);
        free(w->transfers[i]->body);
        free(w->transfers[i]);
    }
    free(w->transfers);
}
