/*
 * libdpg: the whole life of a call to the Digital Photo Gallery API, below any language. This header is its whole face.
 *
 * An engine starts calls, moves bytes, retries, rotates tokens, and puts completions in its outbox. Its host turns it with
 * dpg_engine_wait(), or hands it to a thread, and drains it with dpg_engine_next(). One thread of the host uses an engine
 * and its credentials at a time; stores and wakes may be shared by several. Objects are opaque, option structs plain. Each
 * function says who owns what with four words: borrows, copies, takes, returns. Out parameters are set on success only.
 */
#ifndef DPG_H
#define DPG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the whole project, which the rockspec and dpg._VERSION repeat (`make check` compares them). */
#define DPG_VERSION "0.1.0"

/* Bytes that somebody else owns; may hold NUL, and `ptr` may be NULL when `len` is 0. */
typedef struct dpg_str {
    const char *ptr;
    size_t len;
} dpg_str;

/* --- errors ------------------------------------------------------------------------------------------------------- */

typedef enum dpg_status {
    DPG_OK = 0,
    DPG_E_INVALID, /* the caller's arguments; nothing was done */
    DPG_E_NOMEM,   /* no memory; nothing was done */
    DPG_E_CLOSED,  /* the engine is closed, or belongs to another process */
    DPG_E_UNKNOWN, /* no such call */
    DPG_E_SYSTEM   /* the system or libcurl refused; the error says what */
} dpg_status;

/* What Lua calls err.kind. */
typedef enum dpg_kind {
    DPG_KIND_NONE = 0,
    DPG_KIND_USAGE,    /* nothing was sent */
    DPG_KIND_NETWORK,  /* resolve, connect, send, receive */
    DPG_KIND_TIMEOUT,  /* an attempt or the whole call ran out of time */
    DPG_KIND_TLS,      /* handshake or certificate */
    DPG_KIND_PROTOCOL, /* the answer could not be understood */
    DPG_KIND_API,      /* DPG said no to something that the core asked itself (an exchange) */
    DPG_KIND_AUTH,     /* sign in again */
    DPG_KIND_CANCELLED,
    DPG_KIND_STORAGE /* the token store, or the disk that a file is read from or written to */
} dpg_kind;

const char *dpg_kind_name(dpg_kind kind); /* "usage", "network" …, as in Lua */

/* Filled by whoever fails first, passed on unchanged by the rest. Owns nothing; never holds a secret. */
typedef struct dpg_error {
    dpg_status status;
    dpg_kind kind;
    char code[48];          /* a stable machine name: "store_busy", "sign_in_required" … */
    char reason[48];        /* why, where a code has several: "answer_lost", "refused" …; else empty */
    char message[320];      /* for people: what happened, and what to do */
    char detail[320];       /* more of it, or empty */
    char request_id[72];    /* the server's, where it gave one */
    int http_status;        /* 0: there was no answer */
    int64_t retry_after_ms; /* -1: nobody said */
} dpg_error;
#define DPG_ERROR_INIT       \
    {                        \
        .retry_after_ms = -1 \
    }

/* --- stores: where a person's record lives ------------------------------------------------------------------------- */

typedef struct dpg_store dpg_store; /* counted references: _new returns one, _free gives one back (takes NULL) */

/* A store in memory, for this process only: in a child made by fork, using it is a `usage` error. */
dpg_status dpg_store_memory_new(dpg_store **out, dpg_error *err);

/* A store in a file; `path` copied. Nothing is touched until it is used. */
dpg_status dpg_store_file_new(dpg_str path, dpg_store **out, dpg_error *err);

/* The same for bytes of any kind, which are stored and handed out as they are. */
dpg_status dpg_store_file_new_plain(dpg_str path, dpg_store **out, dpg_error *err);

void dpg_store_free(dpg_store *store); /* gives one reference back; takes NULL */

/*
 * A store that the host keeps: a database of its own, say, or a table in Lua. Each operation comes out of the engine as a
 * note of type DPG_NOTE_STORE, and the host answers by dpg_engine_answer(). `identity` (copied) is equal for two that keep
 * the very same record. `lease`: its lock runs out by itself after a time; else it lives as long as its holder.
 */
dpg_status dpg_store_host_new(dpg_str identity, bool lease, dpg_store **out, dpg_error *err);

typedef enum dpg_store_op {
    DPG_STORE_LOCK,
    DPG_STORE_LOAD,
    DPG_STORE_SAVE,
    DPG_STORE_UNLOCK
} dpg_store_op;

typedef enum dpg_store_outcome {
    DPG_STORE_DONE,
    DPG_STORE_BUSY,    /* LOCK: somebody else has it; ask again after `again_ms` */
    DPG_STORE_CHANGED, /* SAVE: what is stored is not what was expected; nothing was written */
    DPG_STORE_FAILED   /* an error says why */
} dpg_store_outcome;

/* What a store of the host is asked. Nothing in it waits: a lock that is taken is an answer, too. */
typedef struct dpg_store_asked {
    uint64_t ask; /* the number to answer under */
    dpg_store_op op;
    dpg_str identity;
    dpg_str owner;    /* LOCK, UNLOCK: who. The same owner again makes its own lock last longer */
    int64_t ttl_ms;   /* LOCK: for how long, where the lock is a lease */
    dpg_str bytes;    /* SAVE: the whole record; a secret */
    bool had;         /* SAVE: something is expected to be stored … */
    dpg_str expected; /* … and it is this; else: nothing is stored */
    bool reserve;     /* SAVE: another save follows soon and should find room */
} dpg_store_asked;
void dpg_store_asked_free(dpg_store_asked *asked); /* wiped; takes NULL */

/* --- the engine ----------------------------------------------------------------------------------------------------- */

typedef struct dpg_engine dpg_engine;
typedef struct dpg_credential dpg_credential;

/* A call's number: unique in its engine, below 2^53 so that a Lua number holds it, never 0. */
typedef uint64_t dpg_id;

typedef struct dpg_engine_options {
    dpg_str user_agent;  /* copied; empty: libdpg's own */
    dpg_str ca_file;     /* copied; empty: the system's */
    dpg_str proxy;       /* copied; used if proxy_set; empty: none at all */
    bool proxy_set;      /* false: the environment's, as curl takes it; loopback is never proxied */
    int max_connections; /* transfers at once (exchanges are not counted); 0: 16 */
    bool no_http2;       /* HTTP/1.1 only */
    double retry_budget; /* retries in store for each origin; 0: 100; below 0: none */
    bool events;         /* put events in the outbox, from the beginning: dpg_engine_listen() */
} dpg_engine_options;
#define DPG_ENGINE_OPTIONS_INIT \
    {                           \
        0                       \
    }

/*
 * An engine, which does nothing until something is started.
 *   options  copied
 *   out      returned: set to the engine, for dpg_engine_free()
 * Fails with DPG_E_INVALID (a proxy that is none, a ca_file that can't be read), DPG_E_SYSTEM (no random bytes, libcurl) or
 * DPG_E_NOMEM.
 */
dpg_status dpg_engine_new(const dpg_engine_options *options, dpg_engine **out, dpg_error *err);

/*
 * Close and free; takes NULL. New work is refused, calls are cancelled, an exchange that has left is finished and its
 * successor saved, for `grace_ms` at most. In a process that did not make the engine its memory alone is given back, and of
 * one with a thread not even that: the thread may have been in the middle of anything.
 */
void dpg_engine_free(dpg_engine *engine, int64_t grace_ms);

/* --- an engine with a thread of its own ------------------------------------------------------------------------------- */

/*
 * What wakes a host that waits somewhere else, in poll() or in an nginx worker: raised when an engine has put something
 * in its outbox, lowered by the host before it drains the outboxes of all engines that raise it. So what comes while it
 * drains raises it again, and nothing is missed. Counted references: _new returns one, _ref one more, _free gives one back
 * (both take NULL).
 */
typedef struct dpg_wake dpg_wake;

typedef enum dpg_wake_type {
    DPG_WAKE_FD,    /* a descriptor that is readable while it is raised */
    DPG_WAKE_SOCKET /* a unix socket for clients in this process: each connection gets one byte when it is raised */
} dpg_wake_type;

/* Fails with DPG_E_SYSTEM, code "no_wake"; on some systems there is no SOCKET. */
dpg_status dpg_wake_new(dpg_wake_type type, dpg_wake **out, dpg_error *err);
dpg_wake *dpg_wake_ref(dpg_wake *wake);
void dpg_wake_free(dpg_wake *wake);

/* From any thread; neither ever waits. Raised is raised: a second time does nothing. In a child made by fork both do nothing. */
void dpg_wake_raise(dpg_wake *wake); /* takes NULL */
bool dpg_wake_lower(dpg_wake *wake); /* false: a SOCKET's client hears nothing, since no descriptor was left for it */

int dpg_wake_fd(const dpg_wake *wake); /* FD: borrowed, to be polled and no more; SOCKET: -1 */
/* SOCKET: where to connect; FD: "". A client connects, lowers, drains, and only then waits for a byte; at any time it may close. */
const char *dpg_wake_path(const dpg_wake *wake);

/*
 * Hand the engine to a thread of its own, for good; `wake` may be NULL, and is kept by reference. Again with a wake: it
 * replaces the one before. No function below then waits for the network, a disk or TLS, but dpg_engine_wait() (for the
 * outbox) and dpg_engine_free(). At the process's exit the thread is ended as by dpg_engine_free(), within 5 s. Fails with
 * DPG_E_CLOSED, DPG_E_NOMEM, or DPG_E_SYSTEM, code "no_thread"; the engine then is as before.
 */
dpg_status dpg_engine_thread(dpg_engine *engine, dpg_wake *wake, dpg_error *err);
bool dpg_engine_is_threaded(const dpg_engine *engine);

/* Are events put in the outbox from now on? Where nobody listens, a call makes none. */
void dpg_engine_listen(dpg_engine *engine, bool events);

/* --- calls ------------------------------------------------------------------------------------------------------------ */

typedef struct dpg_header {
    dpg_str name, value;
} dpg_header;

typedef enum dpg_repeat {
    DPG_REPEAT_ALWAYS,    /* any attempt may follow any other: GET, or a write with an Idempotency-Key */
    DPG_REPEAT_UNSENT,    /* again only when the request certainly never left, or on a 429; on a fresh connection */
    DPG_REPEAT_UNFINISHED /* as UNSENT, and also as long as the body had certainly not been handed over whole */
} dpg_repeat;

/* One part of a multipart/form-data body (RFC 7578): bytes, a file that is read while it is sent, or bytes that are fed. */
typedef struct dpg_part {
    dpg_str name;
    dpg_str value;    /* the bytes, copied */
    dpg_str path;     /* instead: a file, opened with each attempt; its length must stay `size`, or "file_changed" */
    bool fed;         /* instead: `size` bytes that come through dpg_engine_feed(); once some are taken it is not
                             attempted again */
    int64_t size;     /* of a file or a fed part */
    dpg_str filename; /* empty: none */
    dpg_str content_type; /* empty: none; of a part with a filename: what its extension says to libcurl */
} dpg_part;

typedef enum dpg_sink_type {
    DPG_SINK_MEMORY, /* the completion's body */
    DPG_SINK_FILE,   /* a file; needs no memory, however long it is */
    DPG_SINK_CHUNKS  /* pulled by dpg_engine_read(); the transfer pauses while `window` bytes wait */
} dpg_sink_type;

/*
 * Where the body of a good answer goes. Of any answer but a 200 or a 206 it goes to memory (64 KiB of it), and a file is
 * left alone; so is it by a web page (text/html), which is a protocol error, code "unreadable". A 206 is good only when its
 * Content-Range begins at `offset` (and, with `expected`, names that length; and, with `etag`, no other): else it is a
 * protocol error, code "range_mismatch". A 200 starts the file over, before its first byte; without an offset, and with
 * `expected`, it must be of that length ("length_mismatch"). Bytes of a file or of chunks are never decoded
 * (Accept-Encoding: identity), and the answer must be as long as it says ("answer_cut"). A disk that refuses ends the call
 * with kind "storage"; what the file holds is the beginning of the right answer, whatever happens. Once some of it is there,
 * the core attempts no more: the caller goes on from where it ended.
 *
 * For whoever goes on in another process: with a note, `path`.json says from a 200's head on what file it is of which `path`
 * holds the beginning, {"dpg_part":1,"what":note,"etag":"…","length":n}; the length where it was said. It is gone once the
 * file is whole. Only a strong ETag vouches for bytes: with another, or none, or on a disk that takes no note, there is none.
 */
typedef struct dpg_sink {
    dpg_sink_type type;
    dpg_str path;      /* FILE: written here */
    int64_t offset;    /* FILE: how much is there already */
    int64_t expected;  /* the whole length; 0: not known */
    dpg_str rename_to; /* FILE: once whole: fsync, rename to this, fsync the folder; empty: neither */
    dpg_str etag;      /* FILE, CHUNKS: the strong ETag of what is there, if it is known */
    dpg_str note;      /* FILE: what it is, in UTF-8, for a note beside it; empty: no note. See above */
    size_t window;     /* CHUNKS; 0: 1 MiB */
} dpg_sink;

/* What to send, and how to go about it. All of it is copied by dpg_engine_start(). */
typedef struct dpg_spec {
    dpg_str method;
    dpg_str url;               /* empty: a timer of `timer_ms`, which completes with nothing */
    const dpg_header *headers; /* without Authorization, which the core adds */
    size_t header_count;
    dpg_str body;
    bool has_body;
    dpg_credential *credential; /* borrowed; the engine keeps a reference; NULL: none */
    dpg_str account;            /* for a person's credential: which account's access token */
    dpg_str gate;               /* who waits together after a 429; empty: the credential, else the origin */
    dpg_repeat repeat;
    int attempts;            /* sends at most; 0: 6 */
    int64_t base_ms, cap_ms; /* back-off; 0: 200 and 20,000 */
    int64_t timeout_ms;      /* one attempt; 0: 30,000; below 0: none */
    int64_t deadline_ms;     /* the whole call, waits included; 0: 120,000; below 0: none */
    int64_t timer_ms;
    size_t max_response_bytes; /* in memory; 0: 64 MiB */
    const dpg_part *parts;     /* instead of a body: a form; copied, all but its files */
    size_t part_count;
    dpg_sink sink;
    int64_t idle_ms; /* above 0: instead of timeout_ms; an attempt ends when no byte has moved for so long */
} dpg_spec;
#define DPG_SPEC_INIT \
    {                 \
        0             \
    }

/*
 * Start what `spec` describes and return at once.
 *   engine  borrowed
 *   spec    copied; the caller may free it on return
 *   out     set to the call's id, which the engine owns until dpg_engine_take()
 * Fails with DPG_E_INVALID (CR, LF or NUL in a header; a URL that is no URL, or plain http to another machine; a
 * credential of another origin), DPG_E_CLOSED or DPG_E_NOMEM.
 */
dpg_status dpg_engine_start(dpg_engine *engine, const dpg_spec *spec, dpg_id *out, dpg_error *err);

/*
 * Turn the engine until something is in the outbox or `ms` have passed, whichever comes first; 0 turns it once. It goes
 * on past `ms` (5 s at most) while a refresh token is between its mark and its save: a script may compute for minutes
 * once it has control back. With a thread it only waits for the outbox, `ms` at most.
 */
dpg_status dpg_engine_wait(dpg_engine *engine, int64_t ms, dpg_error *err);

typedef enum dpg_note_type {
    DPG_NOTE_NONE,  /* the outbox is empty */
    DPG_NOTE_DONE,  /* the call `id` has ended: take it */
    DPG_NOTE_EVENT, /* something worth a log line or a metric */
    DPG_NOTE_WANT,  /* the call `id` waits for bytes of its fed part: dpg_engine_feed() */
    DPG_NOTE_DATA,  /* the call `id` has a head, chunks or the end of them to be had by dpg_engine_read() */
    DPG_NOTE_STORE  /* a store of the host's is asked: `asked`, which is the receiver's, to be answered */
} dpg_note_type;

typedef enum dpg_event {
    DPG_EVENT_START, /* an attempt is sent; attempt. No wait ends for it, and no wake is raised: it comes with the next note */
    DPG_EVENT_RESPONSE,    /* an answer is here; http_status, attempt, elapsed_ms */
    DPG_EVENT_RETRY,       /* again after wait_ms; http_status or code say why */
    DPG_EVENT_ROTATED,     /* a refresh token was exchanged and its successor saved; generation */
    DPG_EVENT_ADOPTED,     /* a sibling's newer record was taken over; generation */
    DPG_EVENT_GATE_CLOSED, /* a 429 closed the gate for wait_ms */
    DPG_EVENT_GATE_OPEN,   /* it is open again */
    DPG_EVENT_STORAGE,     /* the store refused; code, message: said also when nobody waits for it */
    DPG_EVENT_SIGNED_OUT   /* the session has ended; reason */
} dpg_event;

const char *dpg_event_name(dpg_event event); /* "start", "response" … */

/* Plain values; owns nothing but what a STORE note brings, and no token, code or password is ever in another. */
typedef struct dpg_note {
    dpg_note_type type;
    dpg_store_asked *asked; /* STORE; the receiver ends it with dpg_store_asked_free() */
    dpg_id id;              /* the call, or 0 */
    uint64_t credential;    /* whose event it is: dpg_credential_info.number, or 0 */
    dpg_event event;
    int attempt;
    int http_status;
    int64_t wait_ms, elapsed_ms;
    int64_t generation;
    char code[48]; /* also a reason */
    char message[160];
    char method[12];
    char path[160]; /* without query */
} dpg_note;

/* The next note; *note is always set. */
void dpg_engine_next(dpg_engine *engine, dpg_note *note);

/*
 * For a host that may have been broken off (Ctrl-C) between a note and what it does about it: DONE, WANT and DATA are told
 * again of each call that has ended and was not taken, and of each that has not been fed or read since it was told.
 */
void dpg_engine_tell_again(dpg_engine *engine);

/* How a store of the host's answers. All is copied. */
typedef struct dpg_store_answer {
    dpg_store_outcome outcome;
    bool found;       /* LOAD: is anything stored? */
    dpg_str bytes;    /* LOAD: what is */
    int64_t again_ms; /* BUSY: when to ask again */
    dpg_str holder;   /* BUSY: who has it, as owners call themselves, or for people */
    dpg_str code;     /* FAILED: "store_failed" if empty … */
    dpg_str message;  /* … and what happened, without secrets */
} dpg_store_answer;

/* Answer an ask. One that nobody waits for any more is dropped. DPG_E_NOMEM: answer again, or the ask ends by itself. */
dpg_status dpg_engine_answer(dpg_engine *engine, uint64_t ask, const dpg_store_answer *answer, dpg_error *err);

/*
 * Is a lock held, for no longer yet than a script may be kept waiting for it (5 s)? While dpg_engine_wait() returns for the
 * sake of a store's ask, who steps the engine answers and goes on, so that no program computes between mark and save.
 */
bool dpg_engine_is_holding(const dpg_engine *engine);

/*
 * The beginning of the end, where stores of the host's are in use: all calls are cancelled and no more are taken, and the
 * engine turns until something is in the outbox or `ms` have passed. True: a refresh token is still on its way; answer what
 * is asked, and come again. Then dpg_engine_free().
 */
bool dpg_engine_finish(dpg_engine *engine, int64_t ms);

/* How a call ended. `error.kind` is DPG_KIND_NONE when there was an answer, whatever its status. */
typedef struct dpg_completion {
    dpg_error error;
    int status;
    dpg_header *headers; /* name in lower case */
    size_t header_count;
    dpg_str body;
    int attempts;           /* how many were begun */
    int sent;               /* how many of them may have left this machine */
    int64_t retry_after_ms; /* what the last answer asked for; -1: nothing */
    void *owner;            /* libdpg's own: what the views above live in */
} dpg_completion;

/* Take the completion of a call that has ended; the caller ends it with dpg_completion_clear(). DPG_E_UNKNOWN: not ended, or taken. */
dpg_status dpg_engine_take(dpg_engine *engine, dpg_id id, dpg_completion *out, dpg_error *err);
void dpg_completion_clear(dpg_completion *completion);

/*
 * The same, for a host that may not be held up: where `engine` has a thread, that one frees what is large. The system takes
 * a while to take memory back.
 */
void dpg_engine_dispose(dpg_engine *engine, dpg_completion *completion);

/* End a call early; it completes with kind "cancelled". A rotation that it waited for goes on without it. Unknown ids are ignored. */
void dpg_engine_cancel(dpg_engine *engine, dpg_id id);

/* Nobody will take this call: when it ends it frees itself. It is not cancelled, unless it is one that is fed or read. */
void dpg_engine_abandon(dpg_engine *engine, dpg_id id);

/* Bytes of the body of the attempt under way, or of the last one; -1 for a length that is not known. */
typedef struct dpg_progress {
    int64_t sent, to_send, received, to_receive;
} dpg_progress;

/* DPG_E_UNKNOWN: no such call, or it was taken. With a thread: as of its last turn, and of calls in memory only their end. */
dpg_status dpg_engine_progress(dpg_engine *engine, dpg_id id, dpg_progress *out);

/*
 * Give a call some of the bytes of its fed part; copied. *taken says how many: fewer than given when enough wait already
 * (then a WANT note comes later). DPG_E_UNKNOWN: the call has ended or feeds nothing; DPG_E_INVALID: more than `size`.
 */
dpg_status dpg_engine_feed(dpg_engine *engine, dpg_id id, dpg_str bytes, size_t *taken, dpg_error *err);

typedef enum dpg_read_state {
    DPG_READ_LATER, /* nothing is here yet: a DATA note comes */
    DPG_READ_BYTES, /* bytes, in `bytes` */
    DPG_READ_END    /* all have been read, or the call failed: the DONE note has come or comes, take it */
} dpg_read_state;

typedef struct dpg_chunk {
    dpg_read_state state;
    dpg_str bytes;             /* borrowed until the next call of any function with this engine */
    int status;                /* 0: the head is not here yet */
    const dpg_header *headers; /* likewise borrowed; the good answer's */
    size_t header_count;
} dpg_chunk;

/*
 * What has come of a call with DPG_SINK_CHUNKS, at most `most` bytes; reading lets a paused transfer go on. With 0 it looks
 * and takes nothing: `bytes` then are all that can be had in one piece. So looks who wants the head of an answer to a file,
 * which is there, too, when what followed it was cut. DPG_E_UNKNOWN: no such call, or it was taken.
 */
dpg_status dpg_engine_read(dpg_engine *engine, dpg_id id, size_t most, dpg_chunk *out, dpg_error *err);

typedef struct dpg_counts {
    size_t calls;     /* started, not ended */
    size_t transfers; /* on a connection */
    size_t timers;
    size_t notes;   /* in the outbox */
    size_t untaken; /* ended, not taken */
    size_t credentials;
    int64_t retries, sent; /* since the engine was made */
} dpg_counts;              /* with a thread: transfers, timers, retries and sent as of its last turn */
dpg_counts dpg_engine_counts(const dpg_engine *engine);

bool dpg_engine_is_mine(const dpg_engine *engine); /* false in a process made by fork after the engine */

/* Milliseconds on the engine's clock, which runs on through suspend. Only differences mean anything. */
int64_t dpg_engine_now_ms(const dpg_engine *engine);

/* --- credentials ------------------------------------------------------------------------------------------------------ */

/* A service token for one origin; both copied, the token wiped when freed. `base_url` ends in /v1. */
dpg_status dpg_credential_service(dpg_engine *engine, dpg_str base_url, dpg_str token, dpg_credential **out,
                                  dpg_error *err);

typedef struct dpg_person_options {
    bool no_replay; /* an exchange whose answer was lost ends the session instead of being asked about again */
} dpg_person_options;

/*
 * A person: `store` is kept by reference. The same base_url and store in one engine give the same object, so that all
 * who share a record share one rotation. Each call returns a reference, given back with dpg_credential_free().
 */
dpg_status dpg_credential_person(dpg_engine *engine, dpg_str base_url, dpg_store *store,
                                 const dpg_person_options *options, dpg_credential **out, dpg_error *err);
void dpg_credential_free(
    dpg_credential *credential); /* takes NULL; before its engine's end; a rotation under way goes on */

/*
 * Each starts a call and sets its id; that it is done means that it is durable. All need a person's credential. A deadline is
 * as in dpg_spec; what is under way when it passes goes on to its end.
 */

/* Read the store: ends well when there is a session to go on with, else with kind "auth". */
dpg_status dpg_credential_load(dpg_credential *credential, int64_t deadline_ms, dpg_id *out, dpg_error *err);

/*
 * Send sign_in or mfa as `spec` says (its repeat is UNSENT whatever it says). The store is proven by a trial save before
 * anything leaves. From a 200 the core takes the refresh token and the accounts, saves them, and completes with an empty
 * body; a 200 with an mfa_token, and any other answer, completes with its body as it came.
 */
dpg_status dpg_credential_sign_in(dpg_credential *credential, const dpg_spec *spec, dpg_id *out, dpg_error *err);

/* Forget the tokens here and in the store, where a tombstone stays, so that no sibling writes the session back. */
dpg_status dpg_credential_forget(dpg_credential *credential, int64_t deadline_ms, dpg_id *out, dpg_error *err);

typedef struct dpg_credential_info {
    uint64_t number; /* unique in its engine; never 0 */
    bool person;
    const char *state;  /* a static name: "ready", "empty", "exchanging", "sign_in" … */
    const char *reason; /* why the person must sign in again, or "" */
    int64_t generation;
    int64_t rotations;         /* exchanges that this engine made for it */
    const char *accounts_json; /* the accounts as the server sent them (a JSON array, unknown fields kept), or "" */
    const char *person_json;   /* the person as the server sent it (a JSON object), or "" */
    void *owner;               /* libdpg's own: what the views above live in */
} dpg_credential_info;

/* As it is now, and stays until dpg_credential_info_clear(), whatever the engine does meanwhile. */
dpg_credential_info dpg_credential_get_info(const dpg_credential *credential);
void dpg_credential_info_clear(dpg_credential_info *info);

#ifdef __cplusplus
}
#endif

#endif
