/*
 * What the engine's own files (engine*.c, flow*.c and store_host.c) share, and nobody else sees. Whoever turns an engine is its owner:
 * the host that steps it, or its thread. All that is not said to be shared is touched by the owner alone; what is shared is
 * touched under the engine's monitor, held for moments and never while libcurl, a disk or a store has control. A stepped
 * engine runs through the very same code.
 */
#ifndef DPG_ENGINE_INTERNAL_H
#define DPG_ENGINE_INTERNAL_H

#include "call.h"
#include "credential.h"
#include "engine.h"
#include "gate.h"
#include "os.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* --- timers: embedded in what they wake, so that arming one can't fail ------------------------------------------------ */

typedef struct dpg_timer {
    int64_t at_boot_ms;                    /* INT64_MAX, from birth: not armed */
    struct dpg_timer *child, *next, *prev; /* in the heap; prev: the one before it, or its parent */
    void (*fire)(dpg_engine *engine, void *owner);
    void *owner;
} dpg_timer;

typedef struct dpg_timers {
    dpg_timer *first; /* the next one that is due; NULL: none */
    size_t count;
} dpg_timers;

void dpg_timer_set(dpg_timers *t, dpg_timer *timer, int64_t at_boot_ms); /* INT64_MAX: disarm */

/* --- ids: which call is which --------------------------------------------------------------------------------------------- */

typedef struct dpg_ids {
    struct dpg_flow **slots; /* open addressing; NULL: free */
    size_t count, cap;
} dpg_ids;
bool dpg_ids_reserve(dpg_ids *ids, size_t count); /* so that as many as `count` can be put without memory */
void dpg_ids_put(dpg_ids *ids, struct dpg_flow *flow);
struct dpg_flow *dpg_ids_find(const dpg_ids *ids, dpg_id id);
void dpg_ids_remove(dpg_ids *ids, dpg_id id);

/* --- one origin, one named gate --------------------------------------------------------------------------------------------- */

typedef struct dpg_origin {
    dpg_list link;
    char name[300];
    dpg_budget budget;
    dpg_gate gate; /* of calls without a credential */
    bool met;      /* something was sent there, or a connection was made for what will be */
} dpg_origin;

typedef struct dpg_named_gate {
    dpg_list link;
    uint8_t key[32]; /* a digest: a key may hold a login */
    int users;
    dpg_gate gate;
} dpg_named_gate;

/* --- the outbox ----------------------------------------------------------------------------------------------------------- */

typedef struct dpg_out {
    dpg_list link;
    dpg_note_type type;    /* DONE, WANT or DATA of … */
    struct dpg_flow *flow; /* … this call; NULL: it is the head of an event */
    bool idles;            /* nobody is woken for it: it is told with the next one */
} dpg_out;

typedef struct dpg_outgoing { /* an event or an ask, on the heap */
    dpg_out outgoing;
    dpg_note note;
    struct dpg_credential *from; /* STORE: who asks */
} dpg_outgoing;

/* --- one call -------------------------------------------------------------------------------------------------------------- */

typedef enum dpg_flow_type {
    DPG_FLOW_CALL,
    DPG_FLOW_TIMER,
    DPG_FLOW_LOAD,
    DPG_FLOW_FORGET,
    DPG_FLOW_PROVING, /* a sign-in whose store is being proven … */
    DPG_FLOW_SIGN_IN, /* … that is on its way … */
    DPG_FLOW_ADOPTING /* … and whose tokens are being saved */
} dpg_flow_type;

/* The head of a good answer, in a copy of its own: the host reads it while the owner goes on. */
typedef struct dpg_head {
    size_t size; /* of this block, wiped when freed */
    int status;
    size_t count;
    dpg_header headers[];
} dpg_head;

typedef struct dpg_flow {
    /* Shared, until it has ended; then all of it is the host's. */
    dpg_list inbox;     /* engine->inbox */
    dpg_list command;   /* engine->commands: it is to be cancelled */
    dpg_out out;        /* engine->outbox, once ended */
    dpg_out want, data; /* engine->outbox: at most one of each at a time */
    bool abandoned, ended;
    bool want_waits, data_waits; /* somebody waits for the next note of that kind; false: told, and not back yet */
    dpg_progress shown;          /* how far it has come, as of the end of the last turn */
    dpg_head *fresh;             /* the newest head, which the host has not looked at (NULL: none any more) … */
    bool is_fresh;               /* … if there is anything new at all */
    dpg_pipe fed, chunks;        /* without bytes: there is none. One end is the host's, the other the transport's */

    dpg_head *head; /* the host's: what it was last shown */

    dpg_list link;   /* engine->calls */
    dpg_list queue;  /* engine->queue */
    dpg_list stream; /* engine->streams */
    dpg_engine *engine;
    dpg_id id;
    dpg_flow_type type;
    dpg_call call;
    bool transferring, cancelled;
    bool stopped; /* as `error` says, when its job has let go of it */

    char *arena; /* the copied spec, in one block with this and its headers; wiped */
    size_t arena_size;
    dpg_str method, url, path, body, account;
    dpg_str origin_name; /* empty: its credential's */
    bool https, loopback;
    bool has_body;
    size_t max_response_bytes;
    dpg_part *parts;
    size_t part_count;
    dpg_sink sink;
    int64_t feeds;             /* how many bytes come through `fed` */
    bool head_made, head_told; /* of the attempt under way: there is a copy of its head; a note has said so */
    dpg_progress progress;     /* of the last attempt that has ended */
    dpg_header *headers;       /* the spec's, with a free one at the end for Authorization */
    size_t header_count;
    dpg_buf authorization;

    dpg_credential *credential; /* a reference */
    dpg_origin *origin;
    bool gated; /* by a name of the caller's, whose digest this is */
    uint8_t gate_key[32];
    dpg_named_gate *named_gate;
    dpg_gate *gate;
    int64_t authorized_boot_ms, sent_boot_ms;

    union {
        dpg_waiter waiter; /* DPG_FLOW_CALL */
        dpg_job job;       /* the others */
    } as;
    dpg_signed_in signed_in;

    dpg_timer timer;
    int64_t deadline_boot_ms, timer_ms, deadline_ms;

    /* Not zeroed when it is made: the first member of these stays the first. */
    dpg_response response;
    dpg_error error;
} dpg_flow;

/* --- one credential --------------------------------------------------------------------------------------------------------- */

/* What can be said of a person, as it was at one moment: never changed once made, freed with its last reference. */
typedef struct dpg_snapshot {
    atomic_int refs;
    const char *state; /* static */
    char reason[48];
    int64_t generation, rotations;
    char *accounts, *person; /* JSON, or NULL */
} dpg_snapshot;

struct dpg_credential {
    /* Shared. */
    dpg_list link; /* engine->credentials */
    int refs;
    uint64_t ask;      /* a store operation that is under way, answered later; 0: none */
    bool ask_waits;    /* it lies in the outbox, and the host has yet to take it */
    int64_t ask_taken; /* when the host took it */
    dpg_list answered; /* engine->answers: `reply` is here */
    dpg_store_reply reply;
    dpg_snapshot *snapshot; /* a reference; NULL: a service token */

    /* Never changed. */
    dpg_engine *engine;
    uint64_t number; /* unique in its engine; events name it */
    bool person;
    char *base_url;
    size_t site_len; /* of base_url: as far as its path */
    bool https, loopback;
    char origin[300];
    dpg_str bearer; /* of a service token: "Bearer …", owned */
    dpg_store *store;

    dpg_list walking;  /* engine->walking */
    dpg_origin *place; /* its origin; NULL: nothing was sent yet */
    dpg_gate gate;
    dpg_cred cred;
    bool pumping, pump_again;
    bool moved;               /* since the snapshot was made */
    dpg_timer timer;          /* the decider's */
    dpg_timer exchange_timer; /* one exchange's time limit */
    dpg_timer ask_timer;      /* one ask's */
    uint64_t exchange_id;     /* of the transfer; 0: none */
    uint64_t lock_period;     /* store_host.c: which of its locks this is … */
    bool lock_given_back;     /* … and whether the next one is another */
    dpg_buf exchange_url, exchange_body;
    int64_t begun_boot_ms, begun_unix_ms;
};

/* --- the engine --------------------------------------------------------------------------------------------------------------- */

struct dpg_engine {
    /* Never changed. */
    dpg_drivers drivers;
    uint64_t process; /* the one that made it */
    int max_connections;
    double budget;
    dpg_os_monitor *monitor;

    /* Shared. */
    bool closed;                      /* no new work */
    bool hosted_end;                  /* the host goes on answering what its stores are asked, until all is finished */
    dpg_list inbox;                   /* calls that were started, and not begun */
    dpg_list commands;                /* calls that are to be cancelled */
    dpg_list waste;                   /* calls that were taken, to be freed: by their `command` */
    dpg_list answers;                 /* credentials whose store was answered by the host */
    bool unused;                      /* some credential may have lost its last user */
    dpg_list outbox;                  /* dpg_out: events and ended calls */
    size_t outbox_count, outbox_idle; /* all in it, and those of them that idle */
    atomic_bool listened;             /* somebody wants events */
    dpg_ids ids;                      /* all calls: under way, and ended but not taken */
    size_t live, untaken;
    dpg_id last_id;
    uint64_t last_credential;
    dpg_list credentials;
    size_t credential_count;

    /* Shared, of one that has a thread: engine_thread.c. */
    bool threaded; /* for good; written before the thread begins */
    bool played;   /* the caller plays the thread's part */
    bool asleep;   /* its owner is, or is about to be, in poll: whoever brings something wakes it */
    bool news;     /* something was put in the outbox since the host was last woken */
    int64_t
        hold_until; /* a lock of a store of the host's is held, and a program is kept waiting so long; 0: it is not */
    bool closing;
    bool wound_up; /* what had to be finished has been */
    int64_t grace_ms;
    dpg_wake *wake;        /* a reference, or NULL */
    dpg_counts shown;      /* the owner's numbers, as of the end of the last turn */
    dpg_error failure;     /* why it can't be turned at the moment; kind NONE: it can */
    dpg_os_thread *thread; /* under dpg_os_global(), like … */
    dpg_list threads;      /* … this link */

    int transfers;
    uint64_t last_ask;
    int64_t retries, sent;
    dpg_list calls, queue;
    dpg_list
        streams; /* calls whose bytes go to and from pipes and files: what they have to tell is looked after each turn */
    dpg_list walking; /* persons whose refresh token is on its walk */
    dpg_list origins, gates;
    dpg_timers timers;
    bool pumping_queue;
    bool winding_up; /* closed, and on its way to its end: what has not been sent is not sent any more */
    bool again;      /* something could not be copied for want of memory: a turn comes soon */
};

/* A stepped engine has one thread at a time: there is nobody to be kept out. */
static inline void dpg_engine_lock(const dpg_engine *e)
{
    if (e->threaded) dpg_os_monitor_lock(e->monitor);
}
static inline void dpg_engine_unlock(const dpg_engine *e)
{
    if (e->threaded) dpg_os_monitor_unlock(e->monitor);
}

/* engine.c */
void dpg_engine_time(const dpg_engine *e, dpg_moment *out); /* without a random number, which costs a system call */
void dpg_engine_now(const dpg_engine *e, dpg_moment *out);
uint64_t dpg_engine_random(const dpg_engine *e);
dpg_status dpg_engine_turn(dpg_engine *e, int64_t timeout_ms, dpg_error *err);
void dpg_engine_wind_up(dpg_engine *e, int64_t grace_ms); /* cancel all, finish what has to be finished */
void dpg_engine_cancel_now(dpg_engine *e, dpg_flow *f);
int64_t dpg_engine_hold_until(const dpg_engine *e); /* asked by the owner */
bool dpg_engine_must_finish(const dpg_engine *e);   /* likewise */
void dpg_engine_close(dpg_engine *e);               /* cancel all, take no more */

/* Is there something to be told? */
static inline bool dpg_engine_has_news(const dpg_engine *e)
{
    return e->outbox_count > e->outbox_idle;
}

/* engine_outbox.c */
dpg_note *dpg_engine_event(dpg_engine *e,
                           dpg_event event);        /* to be filled in; NULL: nobody listens, or there is no memory */
void dpg_engine_say(dpg_engine *e, dpg_note *note); /* that one */
void dpg_engine_put_ask(dpg_engine *e, dpg_outgoing *ask);
/* Those with "locked" are called with the monitor held. */
void dpg_out_put_locked(dpg_engine *e, dpg_out *out, dpg_note_type type, dpg_flow *f); /* nothing if it is there */
void dpg_out_drop_locked(dpg_engine *e, dpg_out *out);                                 /* likewise if it isn't */
void dpg_outbox_free(dpg_engine *e);

/* engine_thread.c */
void dpg_engine_unlock_and_wake(dpg_engine *e); /* its thread, if it has one that sleeps */
bool dpg_engine_may_sleep(dpg_engine *e);       /* false: something has come in */
void dpg_engine_is_awake(dpg_engine *e);
void dpg_engine_announce(dpg_engine *e); /* what the owner has to say, to a host that waits */
dpg_status dpg_engine_await(dpg_engine *e, int64_t ms, dpg_error *err);
void dpg_engine_end_thread(dpg_engine *e, int64_t grace_ms);
bool dpg_engine_finish_thread(dpg_engine *e, int64_t ms);

/* engine_start.c */
dpg_status dpg_engine_closed(dpg_error *err);
bool dpg_flow_find_places(dpg_flow *f); /* its origin and its gate; false without memory */

/* flow_stream.c */
void dpg_flow_tell(dpg_flow *f);                  /* how far it has come; a note for who feeds or reads it */
void dpg_head_free(dpg_head *head);               /* takes NULL */
void dpg_flow_lose_head(dpg_flow *f);             /* what was shown of the attempt that has failed is not so any more */
bool dpg_flow_look(dpg_flow *f, dpg_glance *out); /* at the attempt under way; keeps its progress */
dpg_sent dpg_flow_abort(dpg_flow *f, bool *used_up); /* the attempt under way */
bool dpg_flow_is_stalled(dpg_flow *f, const char **why);

/* flow.c */
void dpg_flow_begin(dpg_flow *f);
void dpg_flow_responded(dpg_flow *f, dpg_response *response); /* takes it */
void dpg_flow_waiter_settled(dpg_flow *f);
void dpg_flow_job_settled(dpg_flow *f);
void dpg_flow_cancel(dpg_flow *f);
void dpg_flow_free(dpg_flow *f);
void dpg_queue_pump(dpg_engine *e);

/* flow_credential.c */
void dpg_credential_pump(dpg_credential *c); /* do what the decider asks, until it asks for nothing */
void dpg_credential_responded(dpg_credential *c, dpg_response *response);
void dpg_credential_store_answered(dpg_credential *c);
void dpg_credential_due(dpg_engine *e, void *credential);           /* its timers … */
void dpg_credential_exchange_late(dpg_engine *e, void *credential); /* … */
void dpg_credential_store_late(dpg_engine *e, void *credential);    /* … */

/* credential_handle.c */
void dpg_credential_let_go(dpg_credential *c);        /* the owner's reference; takes NULL */
bool dpg_credential_is_idle(const dpg_credential *c); /* nothing of it is under way */
void dpg_credential_free_unused(dpg_credential *c);   /* if nobody has it and nothing is under way */
void dpg_credential_destroy(dpg_credential *c);       /* whatever it is doing; its memory only; it is in no list */
void dpg_credential_show(dpg_credential *c);          /* a new snapshot, if something has moved */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
