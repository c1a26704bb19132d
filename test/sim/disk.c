/*
 * The store: one record for each person on a disk that all processes share and that outlives them. Answers at once or
 * later; can be full, read-only or broken. A lock belongs to a process and dies with it. A save that fails has left what
 * was stored as it was.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sim_store {
    dpg_store base;
    proc *p;
    int life, who;
} sim_store;

typedef struct pending { /* an ask that is answered later */
    proc *p;
    int life, who;
    dpg_store_request borrowed, request; /* the engine's own, and a copy of it */
} pending;

static const char *const op_names[] = {"lock", "load", "save", "unlock"};

static void refuse(dpg_store_reply *reply, const char *code, const char *message)
{
    dpg_fail(&reply->error, DPG_E_SYSTEM, DPG_KIND_STORAGE, code, "%s", message);
    reply->outcome = DPG_STORE_FAILED;
}

/* --- the bytes --------------------------------------------------------------------------------------------------------- */

static const char *find(const disk *d, const char *text)
{
    return d->len ? memmem(d->bytes, d->len, text, strlen(text)) : NULL;
}

static void read_record(sim *w, proc *p, int who)
{
    static const char member[] = "\"refresh_token\":\"";
    disk *d = &w->disks[who];
    const char *at = find(d, member);
    int owner;

    d->family = d->token = -1;
    d->marked = find(d, "\"in_flight\":true") != NULL;
    d->refused = find(d, "\"refused\":\"") != NULL;
    if (!at) return;
    if (!token_parse(at + sizeof member - 1, &owner, &d->family, &d->token) || owner != who)
        sim_fail(w, p, "saved a refresh token that is none of this person's");
}

static void save(sim *w, proc *p, int who, const dpg_store_request *request, dpg_store_reply *reply)
{
    disk *d = &w->disks[who];
    int family = d->family, token = d->token;
    bool spare = d->spare_of == p, news = !d->found || !dpg_str_eq(request->bytes, request->expected);

    if (d->found != request->had ||
        (d->found && (d->len != request->expected.len || memcmp(d->bytes, request->expected.ptr, d->len) != 0))) {
        reply->outcome = DPG_STORE_CHANGED;
        sim_fail(w, p, "what is stored is not what it expects, though nobody writes without the lock");
        return;
    }
    if (w->now < d->read_only_until) {
        refuse(reply, "store_read_only", "the disk is read-only");
    } else if (w->now < d->full_until && !(spare && !request->reserve)) {
        refuse(reply, "store_full", "no room on the disk");
    } else if (sim_fault(w, F_DISK_IO)) {
        refuse(reply, "store_io", "the disk answers with an error");
    }
    if (reply->outcome == DPG_STORE_FAILED) {
        d->failed_at = w->now;
        return;
    }
    d->bytes = sim_alloc(d->bytes, request->bytes.len + 1, 1);
    memcpy(d->bytes, request->bytes.ptr, request->bytes.len);
    d->bytes[request->bytes.len] = '\0';
    d->len = request->bytes.len;
    d->found = true;
    d->spare_of = request->reserve ? p : NULL;
    read_record(w, p, who);
    if (d->family >= 0) p->seen_family[who] = d->family;
    check_seen(w, p, who);
    check_save(w, p, who, family, token, news);
}

static void load(sim *w, proc *p, int who, dpg_store_reply *reply)
{
    disk *d = &w->disks[who];

    if (sim_fault(w, F_DISK_IO)) {
        refuse(reply, "store_io", "the disk answers with an error");
        return;
    }
    dpg_buf_init_secret(&reply->bytes, 1 << 20);
    reply->found = d->found;
    if (d->found) dpg_buf_put(&reply->bytes, d->bytes, d->len);
    p->seen_family[who] = d->family;
    check_seen(w, p, who);
}

static void lock(sim *w, proc *p, int who, dpg_store_reply *reply)
{
    disk *d = &w->disks[who];

    if (d->holder == p) {
        sim_fail(w, p, "asks for a lock that it holds");
    } else if (d->holder) {
        reply->outcome = DPG_STORE_BUSY;
        reply->again_ms = sim_spread(w, 5, 200);
        snprintf(reply->holder, sizeof reply->holder, "process %c", 'A' + d->holder->index);
    } else if (sim_fault(w, F_DISK_IO)) {
        refuse(reply, "store_io", "the lock file can't be opened");
    } else {
        d->holder = p;
    }
}

static void let_go(sim *w, int who)
{
    disk *d = &w->disks[who];
    known_token *k = d->family >= 0 ? sim_token(w, who, d->family, d->token) : NULL;

    d->holder = d->spare_of = NULL;
    if (k && d->marked) k->mark_left = true;
}

/* The one moment at which an operation has its effect. False: the process died of it. */
static bool operate(sim *w, proc *p, int who, const dpg_store_request *request, dpg_store_reply *reply)
{
    static const char *const outcomes[] = {"done", "busy", "changed", "failed"};
    disk *d = &w->disks[who];
    char where[40];

    snprintf(where, sizeof where, "before %s", op_names[request->op]);
    if (proc_may_die(w, p, where)) return false;
    reply->outcome = DPG_STORE_DONE;
    if (request->op == DPG_STORE_LOCK) lock(w, p, who, reply);
    else if (d->holder != p) sim_fail(w, p, "asks to %s without the lock", op_names[request->op]);
    else if (request->op == DPG_STORE_LOAD) load(w, p, who, reply);
    else if (request->op == DPG_STORE_SAVE) save(w, p, who, request, reply);
    else let_go(w, who);
    sim_trace(w, p, "disk %d: %s %s%s (token %d.%d%s)", who, op_names[request->op], outcomes[reply->outcome],
              request->reserve ? " with a spare" : "", d->family, d->token, d->marked ? ", in flight" : "");
    snprintf(where, sizeof where, "after %s", op_names[request->op]);
    if (!proc_may_die(w, p, where)) return true;
    dpg_buf_clear(&reply->bytes);
    memset(reply, 0, sizeof *reply);
    return false;
}

/* --- asking ------------------------------------------------------------------------------------------------------------ */

static dpg_str copy(dpg_str s)
{
    char *bytes = sim_alloc(NULL, s.len + 1, 1);

    if (s.len) memcpy(bytes, s.ptr, s.len);
    return dpg_str_of(bytes, s.len);
}

static bool same(dpg_str a, dpg_str b)
{
    return dpg_str_eq(a, b);
}

static void answer(sim *w, void *self, int64_t arg)
{
    pending *a = self;
    dpg_store_reply reply = {0};

    (void)arg;
    reply.error.retry_after_ms = -1;
    if (a->p->life == a->life && !a->p->doomed && !w->failed) {
        if (!same(a->borrowed.bytes, a->request.bytes) || !same(a->borrowed.expected, a->request.expected))
            sim_fail(w, a->p, "gave back what it lent to the store, before the answer");
        else if (operate(w, a->p, a->who, &a->request, &reply)) {
            a->p->activity++;
            proc_enter(a->p);
            dpg_engine_store_answer(a->p->engine, a->request.ask, &reply);
            if (proc_leave(w, a->p)) proc_wake(w, a->p);
        }
    }
    free((void *)(uintptr_t)a->request.bytes.ptr);
    free((void *)(uintptr_t)a->request.expected.ptr);
    free(a);
}

static bool ask(dpg_store *base, const dpg_store_request *request, dpg_store_reply *reply)
{
    sim_store *s = (sim_store *)base;
    proc *p = s->p;
    sim *w = p->w;
    pending *later;

    reply->error.retry_after_ms = -1;
    if (p->life != s->life || p->doomed || w->failed) { /* of the dead, or of a world that has ended */
        refuse(reply, "store_io", "no process asks this any more");
        return true;
    }
    p->activity++;
    if (!w->async_disk || sim_chance(w, 200)) {
        if (!operate(w, p, s->who, request, reply)) refuse(reply, "store_io", "the process is dead");
        return true;
    }
    later = sim_alloc(NULL, 1, sizeof *later);
    *later = (pending){p, s->life, s->who, *request, *request};
    later->request.bytes = copy(request->bytes);
    later->request.expected = copy(request->expected);
    sim_after(w, sim_fault(w, F_DISK_SLOW) ? sim_spread(w, 500, 30000) : sim_spread(w, 1, 50), answer, later, 0);
    return false;
}

static void store_free(dpg_store *base)
{
    dpg_free(base->identity);
    free(base);
}

dpg_store *disk_store_new(proc *p, int who)
{
    sim_store *s = sim_alloc(NULL, 1, sizeof *s);
    char identity[24];

    snprintf(identity, sizeof identity, "sim:person%d", who);
    *s = (sim_store){.p = p, .life = p->life, .who = who};
    s->base = (dpg_store){.refs = 1, .identity = dpg_strndup(dpg_cstr(identity)), .ask = ask, .free = store_free};
    return &s->base;
}

/* --- what happens to it ------------------------------------------------------------------------------------------------ */

void disk_process_dies(sim *w, proc *p)
{
    for (int i = 0; i < w->person_count; i++)
        if (w->disks[i].holder == p) let_go(w, i);
}

void disk_weather(sim *w)
{
    disk *d = &w->disks[sim_between(w, 0, w->person_count - 1)];

    if (sim_fault(w, F_DISK_FULL)) {
        d->full_until = w->now + sim_spread(w, 1000, 300000);
        sim_trace(w, NULL, "disk full until %.3f", (double)d->full_until / 1000);
    }
    if (sim_fault(w, F_DISK_READ_ONLY)) {
        d->read_only_until = w->now + sim_spread(w, 1000, 300000);
        sim_trace(w, NULL, "disk read-only until %.3f", (double)d->read_only_until / 1000);
    }
}

/* Answers that are still to come are in the queue of events, and so are their asks. */
void disk_free(sim *w)
{
    for (size_t i = 0; i < w->heap_count; i++)
        if (w->heap[i].run == answer) answer(w, w->heap[i].self, 0);
    for (int i = 0; i < w->person_count; i++) free(w->disks[i].bytes);
}
