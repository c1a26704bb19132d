/*
 * The simulator's world: real engines over a virtual clock, network, server and disk, all of it drawn from one seed. What
 * the world knows stands here; world.c has time and chance, net.c the transport, server.c the API, disk.c and remote.c the
 * stores, process.c the programs that use the core, checks.c what must always hold. One thread, no real time, no address order.
 */
#ifndef DPG_SIM_H
#define DPG_SIM_H

#include "engine.h"

#define SIM_PERSONS 2
#define SIM_PROCS 4
#define SIM_MACHINES 2
#define SIM_CALLERS 4
#define SIM_ACCOUNTS 2
#define SIM_ORIGIN "https://api.sim.test/v1"
#define SIM_EXCHANGE_LIMIT_MS 20000 /* of one exchange; those that replay it have theirs */
#define SIM_YOUNG_MS 60000          /* a bearer younger than this is not exchanged for a 401 */
#define SIM_CLOSE_GRACE_MS 5000
#define SIM_LEASE_NEEDED_MS 30000 /* one exchange, and the save after it */
#define SIM_OWNER 160
#define SIM_EPOCH_S 1795000000 /* November 2026: when the virtual time begins */

typedef struct sim sim;
typedef struct proc proc;

typedef void (*sim_action)(sim *w, void *self, int64_t arg);

typedef struct event {
    int64_t at;
    uint64_t seq;
    sim_action run;
    void *self;
    int64_t arg;
} event;

/* --- what the server knows, and what becomes of it among the clients ----------------------------------------------- */

typedef struct known_token { /* a refresh token: rt~person.family.number.random */
    int64_t spent_at;        /* -1: the newest */
    unsigned lives_in;       /* a bit for each process that has been handed it in its present life */
    int64_t handed_at;       /* when that was last */
    bool on_disk;            /* it has been saved, and the store has not been wiped since */
    bool was_on_disk;        /* it has been saved, ever */
    bool doubt;              /* it may have been spent, as far as its clients can tell … */
    int64_t doubt_at;        /* … since then: when the last such exchange began … */
    unsigned doubt_known;    /* … as these know, a bit for each: a mark is wiped with its store */
    bool mark_left;          /* a lock ended while the disk said that it was in flight */
    uint64_t random;
} known_token;

typedef struct known_access { /* an access token: at~person.family.sibling.account.serial.random */
    int account, sibling;     /* sibling: the refresh token of the same answer */
    int64_t life_ms, expires_at, handed_at, asked_at;
    int machine, boot; /* where it was handed over */
    bool revoked, on_disk;
    uint64_t random;
} known_access;

typedef struct known_family {
    bool revoked;
    bool reused;   /* revoked for a spent token */
    bool buried;   /* a tombstone took its place on the disk */
    bool replaced; /* another session did */
    bool counted;
    unsigned refused_to;          /* a bit for each process that has read the refusal in its present life … */
    int refused_token[SIM_PROCS]; /* … of this token, and perhaps of older ones */
    unsigned left_by;             /* the same for each that has signed out of it, or after it */
    known_token *tokens;
    known_access *accesses;
    int token_count, access_count;
} known_family;

typedef struct known_person {
    known_family *families;
    int family_count;
    bool two_factor, no_replay;
    uint64_t secret;   /* of the password */
    bool heal_sign_in; /* the healing phase has signed in already */
} known_person;

/* --- the store: one record for a person, shared by all --------------------------------------------------------------- */

typedef struct disk {
    char *bytes;
    size_t len;
    bool found;
    int family, token; /* of the refresh token in it; -1: none */
    bool marked, refused;
    proc *holder; /* of the lock … */
    int holder_life;
    char owner[SIM_OWNER]; /* … and as the store knows it, if the programs keep it themselves */
    int64_t lease_until;
    int64_t lost_at;    /* when the store last forgot its locks … */
    int64_t wiped_at;   /* … and all else */
    int64_t outside_at; /* when somebody last wrote who did not hold the lock any more */
    int64_t full_until, read_only_until;
    proc *spare_of;                   /* who has room reserved for one more save */
    int64_t failed_at;                /* when a save last failed */
    int64_t gate_until[SIM_MACHINES]; /* Retry-After of an exchange, known to all under the boot … */
    int gate_boot[SIM_MACHINES];      /* … with this number */
} disk;

/* --- processes -------------------------------------------------------------------------------------------------------- */

typedef enum call_kind {
    CALL_GET,
    CALL_DENIED, /* a GET that the server always answers with 401 */
    CALL_WRITE,  /* with an Idempotency-Key */
    CALL_UNSENT, /* a POST that must not be repeated */
    CALL_SERVICE,
    CALL_TIMER,
    CALL_LOAD,
    CALL_SIGN_IN,
    CALL_MFA,
    CALL_FORGET
} call_kind;

typedef struct call {
    dpg_id id;
    call_kind kind;
    int number; /* its place in the world's list, and in its URL */
    proc *p;
    int life;   /* of p */
    int caller; /* -1: nobody goes on from it */
    int person, account;
    bool open, cancelled, abandoned;
    int64_t started, deadline_ms, timer_ms;
    int64_t not_before; /* a 503 asked for this */
    int late_turns;     /* turns since the deadline passed */
    int starts, arrivals;
    bool spent; /* CALL_UNSENT: an attempt may have left and was not a 429 */
    bool saved; /* SIGN_IN: the store has been proven */
    int family; /* SIGN_IN, MFA: the one that was handed over; FORGET: the one on the disk before; -1: none */
} call;

typedef struct machine {
    int64_t booted_at, wall_off;
    int boot; /* how often it has booted */
    char boot_id[24];
} machine;

typedef struct caller {
    int waiting_for; /* calls under way */
    int heal_next;   /* which person and account it asks for next when all must be well */
} caller;

struct proc {
    sim *w;
    int index, machine;
    int life;          /* unique to each incarnation; 0: dead */
    bool doomed;       /* killed inside a driver call: what it still does has no effect */
    int64_t doomed_ms; /* by how much its own idea of time is ahead, from then on */
    int depth;         /* calls of the engine on the stack */
    bool woken, stepped;
    bool threaded; /* its engine is turned while its host does something else, or nothing */
    bool exiting;
    int64_t exit_until;
    int64_t stands_until;
    uint64_t activity; /* counts what it did to the world */
    int64_t turn_at;   /* the earliest turn that is planned; -1: none */
    int64_t turned_at;
    int turns_now; /* turns at this very moment */
    uint64_t random;
    dpg_engine *engine;
    /* a handle for each account, as programs get them: the core must see one person in them */
    dpg_store *stores[SIM_PERSONS][SIM_ACCOUNTS];
    dpg_credential *credentials[SIM_PERSONS][SIM_ACCOUNTS], *service;
    caller callers[SIM_CALLERS];
    char owner[SIM_PERSONS][SIM_OWNER]; /* under which it asked for the lock last */
    int64_t locked_at[SIM_PERSONS];     /* when it was given that */
    int seen_family[SIM_PERSONS];       /* the newest that it has read or written; -1: none */
    int64_t saw_lost_at[SIM_PERSONS];   /* when it last learned that there is no session to go on with */
    int open_calls;
    int64_t gates[SIM_PERSONS][3]; /* not before: calls, exchanges, sign-ins */
    int64_t service_gate;
    int64_t exchange_wait[SIM_PERSONS]; /* a Retry-After that is not yet on the disk */
    bool healed[SIM_PERSONS][SIM_ACCOUNTS];
};
enum {
    GATE_CALLS,
    GATE_EXCHANGE,
    GATE_SIGN_IN
};

/* --- the network ------------------------------------------------------------------------------------------------------ */

typedef enum transfer_kind {
    FOR_CALL,
    FOR_EXCHANGE,
    FOR_SIGN_IN
} transfer_kind;

typedef enum transfer_fate {
    FATE_FINE,
    FATE_REFUSED,
    FATE_CUT,
    FATE_ANSWER_LOST,
    FATE_SILENCE
} transfer_fate;

/* What an answer means to whoever reads it. */
typedef enum meaning {
    MEANS_NOTHING,
    MEANS_TOKENS,
    MEANS_REFUSED,
    MEANS_WAIT,
    MEANS_NOT_TAKEN,
    MEANS_DOUBT
} meaning;

typedef struct transfer {
    uint64_t id;
    proc *p;
    int life;
    transfer_kind kind;
    transfer_fate fate;
    call *call;                         /* NULL for an exchange */
    int person, family, token, account; /* of the refresh token that an exchange presents */
    char *path, *body;
    dpg_request request; /* its bytes are borrowed; read again at the end, to see that they are still there */
    char bearer[96], key[48];
    int64_t started;
    bool slow_hands; /* while its process stands still it does not leave */
    bool open;       /* somebody waits for it */
    bool left;       /* it may have left the machine */
    bool arrived;    /* its end lies in the socket */
    bool ready;      /* a step has taken it out of there */
    bool failed;     /* its end is an error */
    int status;
    char head[400];
    dpg_buf answer;
    meaning means;
    int64_t retry_after_ms;                /* readable; -1: none */
    int new_family, new_token, new_access; /* -1: none */
} transfer;

/* --- the world -------------------------------------------------------------------------------------------------------- */

typedef enum fault {
    F_REFUSED,
    F_CUT,
    F_ANSWER_LOST,
    F_SILENCE,
    F_SLOW,
    F_429,
    F_429_UNREADABLE,
    F_5XX,
    F_5XX_AFTER,
    F_HTML_200,
    F_GARBAGE_AFTER,
    F_HTML_401,
    F_403,
    F_ACCESS_REVOKED,
    F_SESSION_REVOKED,
    F_CRASH,
    F_CRASH_IN_STEP,
    F_REBOOT,
    F_DISK_FULL,
    F_DISK_READ_ONLY,
    F_DISK_IO,
    F_DISK_SLOW,
    F_STORE_SILENT,
    F_STORE_RESTART,
    F_STOPS,
    F_CLOCK_JUMP,
    F_STANDS_STILL,
    F_EXIT,
    F_COUNT
} fault;

typedef struct totals {
    int64_t seeds, events, calls, ok, sends, exchanges, rotations, replays, graces, lost, lost_without_replay, sign_ins,
        sign_outs;
    int64_t faults[F_COUNT];
} totals;

struct sim {
    uint64_t seed, random;
    int64_t now;
    event *heap;
    size_t heap_count, heap_cap;
    uint64_t seq, steps;
    bool verbose, ending, calm; /* calm: no more faults; ending: engines are being closed */
    bool failed;
    char why[400];
    known_person persons[SIM_PERSONS];
    disk disks[SIM_PERSONS];
    machine machines[SIM_MACHINES];
    proc procs[SIM_PROCS];
    int person_count, proc_count, machine_count, caller_count;
    call **calls;
    int call_count, first_call; /* those before `first` have ended */
    transfer **transfers;
    int transfer_count, first_transfer;
    int next_life;
    totals *totals;
    /* the character of this world */
    int rate[F_COUNT]; /* per thousand, of what depends on the fault */
    bool strict, lazy; /* lazy: the server keeps a refresh token now and then */
    int64_t grace_ms, life_ms, think_ms, latency_ms;
    bool remote, leases; /* the programs keep their store themselves; its locks run out */
    bool sign_outs;
    int64_t chaos_until, heal_until;
};

/* world.c: time and chance */
uint64_t sim_random(sim *w);
int64_t sim_between(sim *w, int64_t low, int64_t high); /* both included */
bool sim_chance(sim *w, int per_thousand);
int64_t sim_spread(sim *w, int64_t low, int64_t high); /* each power of two as likely as the next */
bool sim_fault(sim *w, fault f);                       /* draws, and counts when it happens */
void sim_after(sim *w, int64_t ms, sim_action run, void *self, int64_t arg);
bool sim_run_one(sim *w, int64_t until); /* the next event, if it comes by then; else the time is `until` */
void sim_trace(sim *w, const proc *p, const char *format, ...) DPG_PRINTF(3, 4);
void sim_fail(sim *w, const proc *p, const char *format, ...) DPG_PRINTF(3, 4);
bool sim_seed(uint64_t seed, bool verbose, totals *sum, char *why, size_t why_size);
extern const char *const sim_fault_names[F_COUNT];
void *sim_alloc(void *old, size_t count, size_t size); /* grows; ends the program without memory */

/* net.c */
dpg_transport net_transport(proc *p);
bool net_has_ended(const proc *p); /* something lies in its sockets */
void net_process_dies(sim *w, proc *p);
void net_free(sim *w);

/* server.c */
void server_serve(sim *w, transfer *t, fault trouble); /* commits, and writes the answer into t */
fault server_draw(sim *w, transfer *t);                /* which fault it meets; F_COUNT: none */
void server_revoke(sim *w);
bool token_parse(const char *text, int *who, int *fam, int *number);
bool access_parse(const char *text, int *who, int *fam, int *sibling, int *account, int *serial);
known_token *sim_token(sim *w, int who, int fam, int number);
void server_free(sim *w);

/* disk.c */
dpg_store *disk_store_new(proc *p, int who);
void disk_process_dies(sim *w, proc *p);
void disk_weather(sim *w);
void disk_write(sim *w, proc *p, int who, dpg_str bytes, bool lives);
void disk_free(sim *w);

/* remote.c */
dpg_store *remote_store_new(proc *p, int who);
void remote_asked(sim *w, proc *p, dpg_store_asked *asked); /* takes it */
bool remote_is_held(const sim *w, const disk *d);
bool remote_holds(const sim *w, const proc *p, int who);
void remote_process_dies(sim *w, proc *p);
void remote_weather(sim *w);
void remote_free(sim *w);

/* process.c */
void proc_spawn(sim *w, proc *p);
void proc_begins(sim *w, void *p, int64_t arg);        /* the same, as an action */
void proc_kill(sim *w, proc *p);                       /* now, wherever it is; it starts again by itself */
bool proc_may_die(sim *w, proc *p, const char *where); /* a crash at this very step, if chance has it so */
void proc_stops(sim *w, proc *p);                      /* here, for a while */
void proc_exit(sim *w, proc *p);                       /* politely */
void proc_bury(sim *w, proc *p);                       /* its memory */
void proc_wake(sim *w, proc *p);                       /* something has happened that it should hear of */
bool proc_is_well(const proc *p);                      /* the calm phase has nothing more to ask of it */
void proc_enter(proc *p);                              /* around each call of the engine: a crash meanwhile … */
bool proc_leave(sim *w, proc *p);                      /* … takes effect here; false: it is dead */

/* caller.c: what programs do */
void caller_begin(sim *w, proc *p);
void caller_note(sim *w, proc *p, const dpg_note *note);
void caller_ends(proc *p); /* its calls will never be heard of */

/* checks.c: what must always hold */
void check_leaving(sim *w, transfer *t);
void check_reuse(sim *w, const transfer *t);
void check_handed_over(sim *w, transfer *t);
void check_aborted(sim *w, transfer *t);
void check_left(sim *w, transfer *t); /* an exchange, at the very moment at which it leaves */
void check_unlock(sim *w, proc *p, int who);
void check_save(sim *w, proc *p, int who, int old_family, int old_token, bool news, bool lives);
void check_done(sim *w, call *c, const dpg_completion *done);
void check_seen(sim *w, proc *p, int who); /* it has read the record, or written it, or heard of its session's end */
void check_turned(sim *w, proc *p);
void check_exited(sim *w, proc *p);
void check_no_secret(sim *w, proc *p, const char *where, const char *text);

#endif
