/*
 * The store on a disk that all processes share and that outlives them: one record for each person. Answers at once; can be
 * full, read-only or broken. A lock belongs to a process and dies with it. A save that fails has left what was stored as
 * it was. (Stores that answer later are in remote.c.)
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

/* These bytes are stored from now on. `lives`: who wrote them hears of it */
void disk_write(sim *w, proc *p, int who, dpg_str bytes, bool lives)
{
    disk *d = &w->disks[who];
    int family = d->family, token = d->token;
    bool news = !d->found || !dpg_str_eq(bytes, dpg_str_of(d->bytes, d->len));

    d->bytes = sim_alloc(d->bytes, bytes.len + 1, 1);
    memcpy(d->bytes, bytes.ptr, bytes.len);
    d->bytes[bytes.len] = '\0';
    d->len = bytes.len;
    d->found = true;
    read_record(w, p, who);
    if (lives && d->family >= 0) p->seen_family[who] = d->family;
    if (lives) check_seen(w, p, who);
    check_save(w, p, who, family, token, news, lives);
}

static void save(sim *w, proc *p, int who, const dpg_store_request *request, dpg_store_reply *reply)
{
    disk *d = &w->disks[who];
    bool spare = d->spare_of == p;

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
    d->spare_of = request->reserve ? p : NULL;
    disk_write(w, p, who, request->bytes, true);
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

static bool ask(dpg_store *base, const dpg_store_request *request, dpg_store_reply *reply)
{
    sim_store *s = (sim_store *)base;
    proc *p = s->p;
    sim *w = p->w;

    reply->error.retry_after_ms = -1;
    if (p->life != s->life || p->doomed || w->failed) { /* of the dead, or of a world that has ended */
        refuse(reply, "store_io", "no process asks this any more");
        return true;
    }
    p->activity++;
    if (!operate(w, p, s->who, request, reply)) refuse(reply, "store_io", "the process is dead");
    return true;
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
    *s = (sim_store){.base = {.refs = 1, .identity = dpg_strndup(dpg_cstr(identity)), .ask = ask, .free = store_free},
                     .p = p,
                     .life = p->life,
                     .who = who};
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

void disk_free(sim *w)
{
    for (int i = 0; i < w->person_count; i++) free(w->disks[i].bytes);
}
