/*
 * An engine with a thread of its own: how it begins, sleeps, is woken, tells its host, and ends: when it is freed, and when
 * the process exits while it is inside TLS. Stepped engines pass through the small functions here, too, and find nothing to
 * do.
 */
#include "engine_internal.h"

#include <string.h>

#define FOREVER_MS INT32_MAX
#define EXIT_GRACE_MS 5000 /* how long a process that exits waits for an exchange that has left */
#define PAUSE_MS 100       /* between two tries, when the transport can't go on */

/* --- between the host and the thread --------------------------------------------------------------------------------------- */

void dpg_engine_unlock_and_wake(dpg_engine *e)
{
    bool sleeps = e->threaded && e->asleep;

    e->asleep = false; /* once is enough */
    dpg_engine_unlock(e);
    if (sleeps) e->drivers.transport.wakeup(e->drivers.transport.self); /* now that it will find the monitor free */
}

bool dpg_engine_may_sleep(dpg_engine *e)
{
    bool may;

    dpg_engine_lock(e);
    may = dpg_list_empty(&e->inbox) && dpg_list_empty(&e->commands) && dpg_list_empty(&e->waste) &&
          dpg_list_empty(&e->answers) && !e->unused && !(e->closing && !e->winding_up);
    e->asleep = may;
    dpg_engine_unlock(e);
    return may;
}

void dpg_engine_is_awake(dpg_engine *e)
{
    dpg_engine_lock(e);
    e->asleep = false;
    dpg_engine_unlock(e);
}

void dpg_engine_announce(dpg_engine *e)
{
    dpg_wake *wake = NULL;

    if (!e->threaded) return;
    dpg_engine_lock(e);
    e->shown.transfers = (size_t)e->transfers;
    e->shown.timers = e->timers.count;
    e->shown.retries = e->retries;
    e->shown.sent = e->sent;
    e->hold_until = dpg_engine_hold_until(e);
    if (e->news) {
        dpg_os_monitor_notify(e->monitor);
        wake = dpg_wake_ref(e->wake);
    }
    e->news = false;
    dpg_engine_unlock(e);
    dpg_wake_raise(wake); /* with no lock held: it makes system calls */
    dpg_wake_free(wake);
}

dpg_status dpg_engine_await(dpg_engine *e, int64_t ms, dpg_error *err)
{
    int64_t begun = dpg_engine_now_ms(e), left = ms;
    dpg_status status = DPG_OK;

    dpg_engine_lock(e);
    while (!dpg_engine_has_news(e) && !e->closed && !e->failure.kind && left > 0) {
        dpg_os_monitor_wait(e->monitor, left);
        left = ms - (dpg_engine_now_ms(e) - begun);
    }
    if (e->closed) {
        status = dpg_engine_closed(err);
    } else if (e->failure.kind) {
        status = e->failure.status;
        if (err) *err = e->failure;
    }
    dpg_engine_unlock(e);
    return status;
}

/* --- the thread ------------------------------------------------------------------------------------------------------------- */

static bool goes_on(dpg_engine *e)
{
    bool closing;

    dpg_engine_lock(e);
    closing = e->closing;
    dpg_engine_unlock(e);
    return !closing;
}

/* The transport can't go on, which its host hears from its next wait. */
static void pause_after(dpg_engine *e, const dpg_error *err)
{
    dpg_engine_lock(e);
    e->failure = *err;
    dpg_os_monitor_notify(e->monitor);
    if (!e->closing) dpg_os_monitor_wait(e->monitor, PAUSE_MS);
    dpg_engine_unlock(e);
}

static void went_well(dpg_engine *e)
{
    dpg_engine_lock(e);
    e->failure.kind = DPG_KIND_NONE;
    dpg_engine_unlock(e);
}

static void run(void *self)
{
    dpg_engine *e = self;
    bool failed = false;
    int64_t grace;

    while (goes_on(e)) {
        dpg_error err = DPG_ERROR_INIT;

        if (dpg_engine_turn(e, FOREVER_MS, &err) != DPG_OK) {
            failed = true;
            pause_after(e, &err);
        } else if (failed) {
            failed = false;
            went_well(e);
        }
    }
    dpg_engine_lock(e);
    grace = e->grace_ms;
    dpg_engine_unlock(e);
    dpg_engine_wind_up(e, grace);
    dpg_engine_lock(e);
    e->wound_up = true;
    dpg_os_monitor_notify(e->monitor);
    dpg_engine_unlock(e);
}

/* --- all engines of this process that have a thread --------------------------------------------------------------------------- */

/* Under dpg_os_global(). In a child made by fork the parent's engines stay listed: so what they hold is not lost, but held. */
static struct {
    dpg_list engines;
    uint64_t process; /* whose numbers these are: */
    size_t ending;    /* threads that somebody is waiting to see the end of */
    bool exiting, listening;
} threads;

static void look_where_we_are(void)
{
    uint64_t process = dpg_os_process();

    if (!threads.engines.next) dpg_list_init(&threads.engines);
    if (threads.process == process) return;
    threads.process = process;
    threads.ending = 0;
    threads.exiting = false;
}

static void ask_to_close(dpg_engine *e, int64_t grace_ms)
{
    dpg_engine_lock(e);
    e->closed = true;
    if (!e->closing) e->grace_ms = grace_ms;
    e->closing = true;
    dpg_os_monitor_notify(e->monitor); /* the host, if it waits; the thread, if it pauses */
    dpg_engine_unlock_and_wake(e);
}

/*
 * A thread that is inside TLS while the process takes its libraries down crashes it. So all of them end first: their calls
 * are cancelled, and an exchange that has left is finished and saved.
 */
static void at_exit(void)
{
    dpg_os_monitor *global = dpg_os_global();
    dpg_list *node;

    dpg_os_monitor_lock(global);
    look_where_we_are();
    threads.exiting = true;
    for (node = threads.engines.next; node != &threads.engines; node = node->next) {
        dpg_engine *e = DPG_LIST_ITEM(node, dpg_engine, threads);

        if (dpg_engine_is_mine(e)) ask_to_close(e, EXIT_GRACE_MS);
    }
    for (node = threads.engines.next; node != &threads.engines; node = node->next) {
        dpg_engine *e = DPG_LIST_ITEM(node, dpg_engine, threads);
        dpg_os_thread *thread = e->thread;

        if (!dpg_engine_is_mine(e)) continue;
        e->thread = NULL;
        dpg_os_thread_join(thread);
    }
    while (threads.ending) dpg_os_monitor_wait(global, 1000); /* those that another thread of the host is freeing */
    dpg_os_monitor_unlock(global);
}

static dpg_status begin_locked(dpg_engine *e, dpg_error *err)
{
    dpg_status status;

    look_where_we_are();
    if (threads.exiting) return dpg_engine_closed(err);
    if (!threads.listening && !dpg_os_at_exit(at_exit)) return dpg_fail_nomem(err);
    threads.listening = true;
    e->threaded = true;
    if ((status = dpg_os_thread_start(run, e, &e->thread, err)) != DPG_OK) {
        e->threaded = false;
        return status;
    }
    dpg_list_push(&threads.engines, &e->threads);
    return DPG_OK;
}

dpg_status dpg_engine_thread(dpg_engine *e, dpg_wake *wake, dpg_error *err)
{
    dpg_os_monitor *global = dpg_os_global();
    dpg_wake *before = NULL;
    dpg_status status = DPG_OK;
    bool closed, waiting;

    if (!dpg_engine_is_mine(e)) return dpg_engine_closed(err);
    dpg_engine_lock(e);
    closed = e->closed;
    if (!closed && wake) {
        before = e->wake;
        e->wake = dpg_wake_ref(wake);
    }
    waiting = !closed && wake && dpg_engine_has_news(e);
    dpg_engine_unlock(e);
    dpg_wake_free(before);
    if (closed) return dpg_engine_closed(err);
    if (waiting) dpg_wake_raise(wake); /* for what nobody was woken for */
    if (e->threaded) return DPG_OK;
    dpg_os_monitor_lock(global);
    status = begin_locked(e, err);
    dpg_os_monitor_unlock(global);
    return status;
}

bool dpg_engine_is_threaded(const dpg_engine *e)
{
    return e->threaded;
}

/* Its host waits for something to answer, or for the end. */
bool dpg_engine_finish_thread(dpg_engine *e, int64_t ms)
{
    int64_t begun = dpg_engine_now_ms(e), left = ms;
    bool over;

    ask_to_close(e, ms);
    dpg_engine_lock(e);
    while (!dpg_engine_has_news(e) && !e->wound_up && left > 0) {
        dpg_os_monitor_wait(e->monitor, left);
        left = ms - (dpg_engine_now_ms(e) - begun);
    }
    over = e->wound_up;
    dpg_engine_unlock(e);
    return !over;
}

void dpg_engine_end_thread(dpg_engine *e, int64_t grace_ms)
{
    dpg_os_monitor *global = dpg_os_global();
    dpg_os_thread *thread;

    ask_to_close(e, grace_ms);
    dpg_os_monitor_lock(global);
    look_where_we_are();
    dpg_list_remove(&e->threads);
    thread = e->thread;
    e->thread = NULL;
    threads.ending++;
    dpg_os_monitor_unlock(global);
    dpg_os_thread_join(thread); /* NULL: the process exits, and it has been */
    dpg_os_monitor_lock(global);
    threads.ending--;
    dpg_os_monitor_notify(global);
    dpg_os_monitor_unlock(global);
}

/* --- played ------------------------------------------------------------------------------------------------------------------ */

void dpg_engine_play_thread(dpg_engine *e)
{
    e->threaded = e->played = true;
}

dpg_status dpg_engine_play_turn(dpg_engine *e, dpg_error *err)
{
    dpg_status status = dpg_engine_turn(e, 0, err);

    dpg_engine_may_sleep(e); /* until the next one */
    return status;
}
