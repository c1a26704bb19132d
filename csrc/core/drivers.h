/*
 * The four doors to the world, each a small table of functions: clock, random, store, transport. The engine knows these
 * alone, so that the simulator can put a world of its own behind them. The real ones: os_posix.c and os_windows.c (clock, random),
 * store_memory.c, store_file.c, transport_curl.c.
 */
#ifndef DPG_DRIVERS_H
#define DPG_DRIVERS_H

#include "base.h"
#include "os.h"
#include "pipe.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* --- clock and random ---------------------------------------------------------------------------------------------- */

typedef struct dpg_clock {
    void *self;
    int64_t (*boot_ms)(void *self);     /* runs on through suspend; only differences mean anything */
    int64_t (*unix_ms)(void *self);     /* may jump */
    const char *(*boot_id)(void *self); /* which boot `boot_ms` counts from; "" when unknown */
} dpg_clock;

typedef struct dpg_random {
    void *self;
    uint64_t (*u64)(void *self);
} dpg_random;

extern const dpg_clock dpg_clock_os;
extern const dpg_random dpg_random_os;

/* --- store --------------------------------------------------------------------------------------------------------- */

/* What the engine asks. All views are borrowed until the answer. */
typedef struct dpg_store_request {
    dpg_store_op op;
    uint64_t ask;                /* the number to answer under, when the answer comes later … */
    struct dpg_credential *from; /* … and who asks */
    int64_t ttl_ms;              /* LOCK: for how long, where the lock is a lease */
    dpg_str bytes;               /* SAVE: the whole record */
    bool had;                    /* SAVE: something is expected to be stored … */
    dpg_str expected;            /* … and it is this; without `had`: nothing is stored */
    bool reserve;                /* SAVE: another save will follow soon and must find room: make it now, or fail now */
} dpg_store_request;

typedef struct dpg_store_reply {
    dpg_store_outcome outcome;
    int64_t again_ms;
    char holder[96]; /* BUSY: who has it, for people ("process 4711"), or empty */
    bool found;      /* LOAD: is anything stored? */
    dpg_buf bytes;   /* LOAD: the stored bytes, a secret buffer; the receiver takes it */
    dpg_error error; /* FAILED: kind "storage" (or "usage"), code "store_…" … */
    bool unsure;     /* … and nobody knows whether it was done; else a SAVE that failed has left what was stored */
} dpg_store_reply;

/*
 * A store keeps one record of opaque bytes for one person. Operations on one store object come one at a time, also when two
 * engines on two threads share it: dpg_store_ask() sees to that. A LOCK is held across the others by one holder (this
 * object) until UNLOCK; it dies with the process, or, where it is a lease, when its time is over; then the holder may ask
 * for it again, to make it last longer. Nothing here waits for others.
 */
struct dpg_store {
    atomic_int refs;
    dpg_os_monitor *monitor; /* NULL: whoever has this store needs none; owned */
    uint64_t process;        /* the one that made the monitor: in a child it may be held for ever */
    char *identity;          /* equal for two objects that keep the very same record ("file:/real/path"); owned */
    bool lease;              /* the lock runs out after `ttl_ms`, whatever becomes of its holder */
    bool hosted;             /* the host answers (store_host.c): who closes the engine can't wait for that */
    /* True: answered in *reply (zeroed by the caller). False: the answer comes later, through dpg_engine_store_answer(). */
    bool (*ask)(dpg_store *store, const dpg_store_request *request, dpg_store_reply *reply);
    void (*free)(dpg_store *store); /* the object itself, when refs has gone to 0 */
};
dpg_store *dpg_store_ref(dpg_store *store);
bool dpg_store_ask(dpg_store *store, const dpg_store_request *request,
                   dpg_store_reply *reply); /* store->ask, one at a time */

/* --- transport ------------------------------------------------------------------------------------------------------ */

typedef struct dpg_request {
    dpg_str method, url;
    bool is_read; /* the URL was found to be one, and … */
    bool https, loopback;
    const dpg_header *headers; /* all of them, Authorization too */
    size_t header_count;
    dpg_str body;
    bool has_body;
    const dpg_part *parts; /* instead of a body */
    size_t part_count;
    dpg_pipe *fed;        /* what the fed part takes its bytes from */
    const dpg_sink *sink; /* NULL: memory */
    dpg_pipe *chunks;     /* what a sink of chunks puts its bytes in */
    bool once; /* never two times on the wire: a fresh connection, HTTP/1.1, guarded against libcurl's own resends */
    bool warm; /* connect and send nothing; the transport's own: see its warm() */
    int64_t leave_by_boot_ms; /* `once`: not sent later than this on the engine's clock; 0: whenever */
    size_t max_response_bytes;
} dpg_request;

/* How far a request certainly did, or may have, gone. */
typedef enum dpg_sent {
    DPG_SENT_NOT,  /* proof: not one byte of the request left this machine */
    DPG_SENT_PART, /* proof: not the last byte of its form left, so that nobody can have it whole */
    DPG_SENT_MAYBE
} dpg_sent;

/* The end of one transfer. The receiver takes what it owns and ends it with dpg_response_clear(). */
typedef struct dpg_response {
    uint64_t id;
    dpg_sent sent;
    dpg_error error; /* kind NONE: there was a whole answer */
    int status;
    dpg_header *headers; /* names in lower case; views into `head` */
    size_t header_count;
    dpg_buf head, body; /* both secret buffers: an answer may carry tokens */
    dpg_progress progress;
    bool used_up; /* bytes have come out of `fed`, or gone into its file or its chunks: nobody can begin it anew */
} dpg_response;
void dpg_response_init(dpg_response *response); /* with nothing in it, whatever it was */
void dpg_response_clear(dpg_response *response);

/* How a transfer is getting on. */
typedef struct dpg_glance {
    dpg_progress progress;
    int64_t moved; /* grows with each byte that moves, in either direction, into and out of its pipes too */
    bool used_up;
    bool hungry, full; /* it can't go on, because `fed` is empty; because `chunks` is full */
    int status;        /* of a good answer to a file or chunks, once its head is whole; borrowed until the next step */
    const dpg_header *headers;
    size_t header_count;
} dpg_glance;

typedef struct dpg_transport {
    void *self;
    /* Start a transfer under `id`. The request's bytes are borrowed until the transfer ends (next, abort). On failure nothing was sent. */
    dpg_status (*start)(void *self, uint64_t id, const dpg_request *request, dpg_error *err);
    /* False: no such transfer, or it has ended. NULL: this transport can't tell. */
    bool (*look)(void *self, uint64_t id, dpg_glance *out);
    /* End it now, and say how far it had gone. Unknown ids: DPG_SENT_NOT. */
    dpg_sent (*abort)(void *self, uint64_t id);
    /*
     * Wait until something can move, `timeout_ms` have passed or somebody wakes it; then move all that can be moved without
     * waiting. When it returns, no answer is left lying in a socket (so a timeout judged after it is a real one). A
     * transfer that stood still for its pipe goes on here, when there are bytes, or room.
     */
    dpg_status (*step)(void *self, int64_t timeout_ms, dpg_error *err);
    /* The next transfer that has ended; false when there is none. *out is the receiver's. */
    bool (*next)(void *self, dpg_response *out);
    void (*wakeup)(void *self); /* from any thread */
    /*
     * Somebody will want this URL soon, and has no connection to it yet: makes one, sends nothing on it, and tells nobody
     * what came of it. NULL: this transport can't.
     */
    void (*warm)(void *self, dpg_str url);
    void (*free)(void *self);
    void (*forget)(void *self); /* in a child made by fork: give back memory, speak to nobody, close nothing politely */
} dpg_transport;

typedef struct dpg_transport_options {
    dpg_str user_agent, ca_file, proxy;
    bool proxy_set, no_http2;
    int max_connections;
} dpg_transport_options;

/* libcurl's multi interface. Everything in the options is copied. */
dpg_status dpg_transport_curl_new(const dpg_transport_options *options, dpg_transport *out, dpg_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
