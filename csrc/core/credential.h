/*
 * The decider of a person's refresh token: who waits, when to exchange, what to do with each end of an exchange.
 * Pure: it is told what happened, the time and a random number, and says through dpg_cred_next() what to do next. The
 * walk: lock, load, mark, exchange, save, unlock (doc/session.md). flow_credential.c performs it. Where the lock is a
 * lease, it is renewed before it can run out under an exchange; whoever slept past it sends nothing, and walks again.
 */
#ifndef DPG_CREDENTIAL_H
#define DPG_CREDENTIAL_H

#include "drivers.h"
#include "list.h"
#include "record.h"
#include "wire.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_EXCHANGE_MS 20000 /* one exchange is given up after this; a walk as a whole has a limit of its own */
#define DPG_LEASE_MS 45000    /* shorter than a sibling waits for a lock, so that a crash under a lease fails nobody */
#define DPG_SAVE_MS 10000     /* what a lease must have left when an exchange is over: time for the save */

typedef struct dpg_moment {
    int64_t boot_ms, unix_ms;
    const char *boot_id;
    uint64_t random;
} dpg_moment;

typedef enum dpg_cred_state {
    DPG_CRED_IDLE,       /* nothing under way; the access tokens in hand may be good */
    DPG_CRED_LOCKING,    /* waiting for the person's lock */
    DPG_CRED_LOADING,    /* has a sibling rotated meanwhile? */
    DPG_CRED_MARKING,    /* writing down that an exchange is about to leave */
    DPG_CRED_EXCHANGING, /* one exchange is out; everyone else waits for it */
    DPG_CRED_AGAIN,      /* waiting, under the lock, to send the same exchange again */
    DPG_CRED_RENEWING,   /* the lease would not last: asked for more of it, before anything else is done */
    DPG_CRED_SAVING,     /* a new record is being saved; nobody may use it yet */
    DPG_CRED_SAVE_AGAIN, /* that failed: it is safe in memory, the lock is kept, the save is tried again */
    DPG_CRED_NOTING,     /* saving what helps others but loses nothing when it fails: no mark any more, a refusal */
    DPG_CRED_UNLOCKING,  /* saved; the waiters are next */
    DPG_CRED_PAUSED      /* no lock held; the server asked for no exchange before a certain moment */
} dpg_cred_state;
const char *dpg_cred_state_name(dpg_cred_state state);

/* A call that waits for a bearer. Embedded in the call, so that waiting can't fail for memory. */
typedef struct dpg_waiter {
    dpg_list link;
    dpg_str account;   /* borrowed */
    uint64_t rejected; /* the serial of a bearer that the server answered with 401; 0: none */
    int64_t deadline_boot_ms;
    enum {
        DPG_WAITING,
        DPG_BEARER,   /* `serial` is the bearer to use */
        DPG_STANDS,   /* no other bearer is to be had without waste: the 401 is the answer */
        DPG_NO_BEARER /* `error` says why */
    } verdict;
    uint64_t serial;
    dpg_error error;
} dpg_waiter;

typedef enum dpg_job_type {
    DPG_JOB_LOAD,  /* is there a session in the store? */
    DPG_JOB_PROVE, /* can the store be written? asked before a password leaves */
    DPG_JOB_ADOPT, /* a new session, from a sign-in: save it */
    DPG_JOB_FORGET /* sign out */
} dpg_job_type;

/* Something else that is done under the lock. Embedded like a waiter. */
typedef struct dpg_job {
    dpg_list link;
    dpg_job_type type;
    const dpg_signed_in *signed_in; /* ADOPT: borrowed until the job is settled */
    bool settled, done;
    dpg_error error; /* when it is settled and not done */
} dpg_job;

typedef enum dpg_action_type {
    DPG_ACT_NONE,
    DPG_ACT_STORE,
    DPG_ACT_EXCHANGE,
    DPG_ACT_EVENT
} dpg_action_type;

/* What to do next. Views are borrowed until the decider is told how it went. */
typedef struct dpg_action {
    dpg_action_type type;
    dpg_store_request store;        /* STORE; without `ask` */
    dpg_str refresh_token, account; /* EXCHANGE … */
    int64_t leave_by_boot_ms;       /* … which must not leave later than this */
    dpg_event event;                /* EVENT */
    int64_t generation, wait_ms;
    char code[48], message[160];
} dpg_action;

typedef struct dpg_cred {
    dpg_cred_state state;
    char *origin;
    bool no_replay;
    int64_t lease_ms; /* how long a lock is asked for, where it is a lease; 0: it lives as long as its holder */
    bool background;  /* somebody turns us while callers are away: a refresh ahead of time needs nobody who waits */

    dpg_record record; /* what we know; empty (no origin) when nothing */
    uint64_t last_serial;
    uint64_t fresh_serial; /* the bearer that this walk brought: good for who waited, however short it lives */

    dpg_list waiters, jobs;         /* not settled */
    dpg_list settled, settled_jobs; /* for the flow to collect */
    dpg_job *job;                   /* the one that this walk is for */
    bool job_done;                  /* it is done, and settled when the lock is back */

    int64_t timer_boot_ms; /* INT64_MAX: none */
    int64_t walk_since, hold_since, exchange_since;
    int64_t lock_asked, lease_until; /* a lease counts from before it was asked for */
    bool lock_unsure;                /* the store failed since it gave us the lock: who knows whose that is now? */
    int64_t again_at;                /* AGAIN: when to send */
    dpg_cred_state renewed_for;      /* RENEWING: what goes on then … */
    bool verifying;                  /* LOADING: … if what is stored is still what we saw or wrote there */
    bool asked;                      /* a store has the last ask, and answers later */
    int tries, changed;              /* sends of this exchange; how often a save met another record */
    int64_t owed_until;              /* a lease that could not be given back is given back until it is over */
    int unlocks;                     /* how often this lock was given back: a store that fails is asked again */
    int64_t unsent_mark;             /* the id of a mark of ours after which nothing was sent; 0: there is none */
    bool losing;                     /* NOTING: that the session is over, which the waiters have yet to hear */
    bool in_doubt;                   /* the refresh token may have been spent by an exchange whose answer is lost */
    int64_t early_not_before;        /* no early refresh before this: the last one failed */
    char *ahead;                     /* whose next token this walk is for, while all go on with the one that lives */
    int64_t failed_until;            /* who comes before this gets the same failure … */
    dpg_error failure;               /* … this one, if it is about … */
    char *failed_account;            /* … this account */
    dpg_error trouble;               /* the last thing that went wrong in this walk; kind NONE: nothing */

    char *exchange_account; /* copied: the waiter may leave */
    dpg_exchange answer;    /* of a successful exchange, until its successor is saved */
    dpg_record next;        /* what is being saved … */
    enum {
        DPG_NEXT_NONE,
        DPG_NEXT_TRIAL,
        DPG_NEXT_FORGET,
        DPG_NEXT_ADOPT,
        DPG_NEXT_SUCCESSOR
    } purpose;
    bool built, written; /* `next` is whole; `next_bytes` are */
    bool reload;         /* … once we know again what is stored */
    bool unheard;        /* a save of `next` may have been made without our hearing of it */
    int save_tries;
    dpg_buf next_bytes, stored; /* secret; `stored`: the store's bytes as we last saw or wrote them */
    bool stored_found;

    enum {
        DPG_OP_NONE,
        DPG_OP_LOCK,
        DPG_OP_LOAD,
        DPG_OP_SAVE,
        DPG_OP_MARK,
        DPG_OP_UNLOCK,
        DPG_OP_EXCHANGE
    } op;
    struct {
        dpg_event event;
        int64_t generation, wait_ms;
        char code[48], message[160];
    } events[4];
    int event_count;
    int64_t rotations;
    char reason[48]; /* why there is no session; "" while there is, or when nothing is known */
} dpg_cred;

/* `origin` is copied. False without memory. */
bool dpg_cred_init(dpg_cred *c, dpg_str origin, bool no_replay);
void dpg_cred_clear(dpg_cred *c);

/* The waiter gets its verdict at once or later; either way it is then in `settled`. */
void dpg_cred_want(dpg_cred *c, dpg_waiter *w, const dpg_moment *now);
void dpg_cred_leave(dpg_cred *c, dpg_waiter *w);
void dpg_cred_start_job(dpg_cred *c, dpg_job *job, const dpg_moment *now);
bool dpg_cred_leave_job(dpg_cred *c, dpg_job *job); /* false: it is being done and can't be left */

/* What happened. The reply is taken, and so is the exchange (unless DPG_VERDICT_UNSENT and its like own nothing). */
void dpg_cred_store_asked(dpg_cred *c, const dpg_moment *now); /* the answer comes later */
void dpg_cred_store_replied(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now);
void dpg_cred_exchanged(dpg_cred *c, dpg_exchange *x, const dpg_moment *now);
void dpg_cred_timer(dpg_cred *c, const dpg_moment *now);

/* The next thing to do; false: there is none until something else has happened. */
bool dpg_cred_next(dpg_cred *c, dpg_action *action);

/* The bearer in hand for an account, an empty view when there is none; *lives: it has not run out. */
dpg_str dpg_cred_bearer(const dpg_cred *c, dpg_str account, const dpg_moment *now, uint64_t *serial, bool *lives);

bool dpg_cred_is_locked(const dpg_cred *c);   /* is the lock held, so that siblings wait? */
bool dpg_cred_must_finish(const dpg_cred *c); /* is something under way that would be lost, or leave a mark? */
bool dpg_cred_has_session(const dpg_cred *c);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
