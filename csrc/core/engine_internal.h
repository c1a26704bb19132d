/*
 * What engine.c, engine_start.c, flow.c, flow_stream.c, flow_credential.c and store_host.c share, and nobody else sees: the
 * engine's own things. All of it is touched by the engine's owner alone, but for the inbox and the outbox.
 */
#ifndef DPG_ENGINE_INTERNAL_H
#define DPG_ENGINE_INTERNAL_H

#include "call.h"
#include "credential.h"
#include "engine.h"
#include "gate.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* --- timers: embedded in what they wake; the heap's memory is reserved before one can be armed ------------------------- */

typedef struct dpg_timer {
    int64_t at_boot_ms;
    size_t place; /* in the heap, from 1; 0: not armed */
    void (*fire)(dpg_engine *engine, void *owner);
    void *owner;
} dpg_timer;

typedef struct dpg_timers {
    dpg_timer **heap; /* [1] is the next one */
    size_t count, cap, reserved;
} dpg_timers;

bool dpg_timers_reserve(dpg_timers *t); /* room for one more timer, for good; false without memory */
void dpg_timers_release(dpg_timers *t); /* gives that room back */
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
} dpg_out;

typedef struct dpg_outgoing { /* an event or an ask, on the heap */
    dpg_out outgoing;
    dpg_note note;
    struct dpg_credential *from; /* STORE: who asks */
} dpg_outgoing;

/* --- the answers of the host's stores: in the inbox, too ------------------------------------------------------------------ */

typedef struct dpg_incoming { /* on the heap */
    dpg_list link;            /* engine->answers */
    uint64_t ask;
    dpg_store_reply reply;
} dpg_incoming;

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

typedef struct dpg_flow {
    dpg_list link;      /* engine->calls */
    dpg_list queue;     /* engine->queue */
    dpg_list inbox;     /* engine->inbox */
    dpg_list stream;    /* engine->streams */
    dpg_out out;        /* engine->outbox, once ended */
    dpg_out want, data; /* engine->outbox: at most one of each at a time */
    dpg_engine *engine;
    dpg_id id;
    dpg_flow_type type;
    dpg_call call;
    bool transferring, abandoned, cancelled, ended;
    bool stopped; /* as `error` says, when its job has let go of it */

    char *arena; /* the copied spec; wiped */
    size_t arena_size;
    dpg_str method, url, path, body, account;
    bool has_body;
    size_t max_response_bytes;
    dpg_part *parts;
    size_t part_count;
    dpg_sink sink;
    dpg_pipe fed, chunks;        /* without bytes: there is none */
    int64_t feeds;               /* how many bytes come through `fed` */
    bool want_waits, data_waits; /* somebody waits for the next note of that kind; false: told, and not back yet */
    bool head_told;
    dpg_progress progress; /* of the last attempt that has ended */
    dpg_header *headers;   /* the spec's, with a free one at the end for Authorization */
    size_t header_count;
    dpg_buf authorization;

    dpg_credential *credential; /* a reference */
    dpg_origin *origin;
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
    dpg_response response;
    dpg_error error;
} dpg_flow;

/* --- one credential --------------------------------------------------------------------------------------------------------- */

struct dpg_credential {
    dpg_list link; /* engine->credentials */
    int refs;
    dpg_engine *engine;
    uint64_t number; /* unique in its engine; events name it */
    bool person;
    char *base_url;
    char origin[300];
    char *token; /* a service token */
    dpg_gate gate;

    dpg_cred cred;
    dpg_store *store;
    uint64_t ask;       /* a store operation that is under way, answered later; 0: none */
    bool ask_waits;     /* it lies in the outbox, and the host has yet to take it */
    int64_t ask_taken;  /* when the host took it */
    dpg_timer ask_timer; /* a store's time limit */
    bool pumping, pump_again;
    dpg_timer timer;          /* the decider's */
    dpg_timer exchange_timer; /* one exchange's time limit */
    uint64_t exchange_id;     /* of the transfer; 0: none */
    dpg_buf exchange_url, exchange_body;
    int64_t begun_boot_ms, begun_unix_ms;
};

/* --- the engine --------------------------------------------------------------------------------------------------------------- */

struct dpg_engine {
    dpg_drivers drivers;
    uint64_t process; /* the one that made it */
    bool closed, events;
    int max_connections, transfers;
    double budget;
    dpg_id last_id;
    uint64_t last_ask;
    uint64_t last_credential;
    int64_t retries, sent;

    dpg_list inbox;  /* calls that were started, and not begun */
    dpg_list answers; /* of the host's stores */
    dpg_list outbox; /* dpg_out: events and ended calls */
    size_t outbox_count;

    dpg_ids live, ended;
    size_t untaken;
    dpg_list calls, queue;
    dpg_list streams; /* calls that are fed or read */
    bool pumping_queue;
    dpg_list credentials, origins, gates;
    dpg_timers timers;
};

/* engine.c */
void dpg_engine_now(const dpg_engine *e, dpg_moment *out);
void dpg_engine_say(dpg_engine *e,
                    const dpg_note *note); /* an event; copied; dropped when nobody listens or there is no memory */

void dpg_engine_put(dpg_engine *e, dpg_out *out); /* into the outbox */

/* store_host.c */
void dpg_engine_take_answers(dpg_engine *e);

/* engine_start.c */
dpg_status dpg_engine_closed(dpg_error *err);

/* flow_stream.c */
void dpg_flow_tell(dpg_flow *f);                     /* is there something for who feeds or reads it? a note then */
void dpg_flow_tell_end(dpg_flow *f);                 /* it has ended: whoever waits for chunks waits no more */
void dpg_flow_untell(dpg_flow *f);                   /* takes its WANT and DATA notes out of the outbox */
bool dpg_flow_look(dpg_flow *f, dpg_glance *out);    /* at the attempt under way; keeps its progress */
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
dpg_str dpg_credential_service_token(const dpg_credential *c);
void dpg_credential_pump(dpg_credential *c); /* do what the decider asks, until it asks for nothing */
void dpg_credential_responded(dpg_credential *c, dpg_response *response);
void dpg_credential_answered(dpg_credential *c, dpg_store_reply *reply); /* takes it */
void dpg_credential_destroy(dpg_credential *c); /* whatever it is doing; its memory only */
dpg_credential *dpg_credential_ref(dpg_credential *c);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
