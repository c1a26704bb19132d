/*
 * What wakes a host that waits somewhere else: a descriptor to poll, or a socket that clients of this process connect to.
 * Used by engine_thread.c, and by whoever has one, through dpg.h.
 */
#include "base.h"
#include "os.h"

#include <stdatomic.h>
#include <string.h>

struct dpg_wake {
    atomic_int refs;
    dpg_wake_type type;
    uint64_t process;
    dpg_os_event event;
    dpg_os_listener listener;

    dpg_os_monitor *monitor; /* over what follows; no engine's is taken under it */
    bool raised;
    intptr_t *peers; /* who has connected, and has not been seen to be gone */
    size_t count, cap;
};

dpg_status dpg_wake_new(dpg_wake_type type, dpg_wake **out, dpg_error *err)
{
    dpg_wake *w = dpg_calloc(1, sizeof *w);
    dpg_status status;

    if (!w || !(w->monitor = dpg_os_monitor_new())) {
        dpg_free(w);
        return dpg_fail_nomem(err);
    }
    atomic_init(&w->refs, 1);
    w->type = type;
    w->process = dpg_os_process();
    w->event = (dpg_os_event)DPG_OS_EVENT_NONE;
    w->listener = (dpg_os_listener)DPG_OS_LISTENER_NONE;
    status = type == DPG_WAKE_FD ? dpg_os_event_open(&w->event, err) : dpg_os_listener_open(&w->listener, err);
    if (status == DPG_OK) *out = w;
    else dpg_wake_free(w);
    return status;
}

dpg_wake *dpg_wake_ref(dpg_wake *w)
{
    if (w) atomic_fetch_add(&w->refs, 1);
    return w;
}

void dpg_wake_free(dpg_wake *w)
{
    if (!w || atomic_fetch_sub(&w->refs, 1) != 1) return;
    while (w->count) dpg_os_peer_close(w->peers[--w->count]);
    dpg_free(w->peers);
    dpg_os_event_close(&w->event);
    if (w->listener.handle >= 0) dpg_os_listener_close(&w->listener);
    dpg_os_monitor_free(w->monitor);
    dpg_free(w);
}

/* --- those who have connected ----------------------------------------------------------------------------------------------- */

static bool make_room(dpg_wake *w)
{
    size_t cap = w->cap ? w->cap * 2 : 4;
    intptr_t *peers;

    if (w->count < w->cap) return true;
    if (!(peers = dpg_realloc(w->peers, cap * sizeof *peers))) return false;
    w->peers = peers;
    w->cap = cap;
    return true;
}

/* Whoever waits in the backlog; false: not all. Without memory one is told at once and let go: it connects again. */
static bool let_in(dpg_wake *w)
{
    intptr_t peer;

    while ((peer = dpg_os_listener_accept(&w->listener)) >= 0) {
        if (make_room(w)) {
            w->peers[w->count++] = peer;
        } else {
            dpg_os_peer_tell(peer);
            dpg_os_peer_close(peer);
        }
    }
    return peer == -1;
}

/* Those of whom `is_there` says no are gone. */
static void visit(dpg_wake *w, bool (*is_there)(intptr_t peer))
{
    for (size_t i = 0; i < w->count;) {
        if (is_there(w->peers[i])) {
            i++;
        } else {
            dpg_os_peer_close(w->peers[i]);
            w->peers[i] = w->peers[--w->count];
        }
    }
}

/* --- raising and lowering ----------------------------------------------------------------------------------------------------- */

/* A child has copies of its parent's descriptors, which it must not touch; and the monitor may be held there for ever. */
static bool is_mine(const dpg_wake *w)
{
    return w->process == dpg_os_process();
}

void dpg_wake_raise(dpg_wake *w)
{
    if (!w || !is_mine(w)) return;
    dpg_os_monitor_lock(w->monitor);
    if (!w->raised) {
        w->raised = true;
        if (w->type == DPG_WAKE_FD) {
            dpg_os_event_set(&w->event);
        } else {
            let_in(w);
            visit(w, dpg_os_peer_tell);
        }
    }
    dpg_os_monitor_unlock(w->monitor);
}

/* Here, too, since clients that come and go would fill the backlog of one that is never raised. */
bool dpg_wake_lower(dpg_wake *w)
{
    bool all = true;

    if (!is_mine(w)) return true;
    dpg_os_monitor_lock(w->monitor);
    w->raised = false;
    if (w->type == DPG_WAKE_FD) {
        dpg_os_event_clear(&w->event);
    } else {
        all = let_in(w);
        visit(w, dpg_os_peer_is_here);
    }
    dpg_os_monitor_unlock(w->monitor);
    return all;
}

int dpg_wake_fd(const dpg_wake *w)
{
    return (int)w->event.read;
}

const char *dpg_wake_path(const dpg_wake *w)
{
    return w->listener.path;
}
