/*
 * The decider of a call: authorize, gate, queue, send, back off, done. The one place that knows the order of things.
 * Pure: each function is told what happened and answers what to do next; flow.c does it.
 */
#ifndef DPG_CALL_H
#define DPG_CALL_H

#include "retry.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

typedef enum dpg_call_state {
    DPG_CALL_NEW,         /* not begun */
    DPG_CALL_AUTHORIZING, /* its credential looks for a bearer */
    DPG_CALL_GATED,       /* its gate is closed after a 429 */
    DPG_CALL_QUEUED,      /* waits for a connection */
    DPG_CALL_SENDING,     /* on the wire */
    DPG_CALL_BACKING_OFF, /* waits before it is sent again */
    DPG_CALL_DONE
} dpg_call_state;

typedef enum dpg_call_step {
    DPG_STEP_AUTHORIZE, /* ask the credential; `rejected` is the serial of a bearer that a 401 came to */
    DPG_STEP_GATE,      /* ask the gate */
    DPG_STEP_QUEUE,     /* get in line for a connection */
    DPG_STEP_SEND,
    DPG_STEP_WAIT,  /* until `wake_boot_ms` */
    DPG_STEP_FINISH /* complete with what is at hand: an answer, or the error */
} dpg_call_step;

typedef enum dpg_ending {
    DPG_END_ANSWER,    /* the last answer */
    DPG_END_ERROR,     /* the last attempt's error */
    DPG_END_NO_BEARER, /* what the credential said */
    DPG_END_GATED,     /* rate limited for longer than the deadline; `retry_after_ms` */
    DPG_END_DEADLINE,
    DPG_END_CANCELLED
} dpg_ending;

typedef struct dpg_call {
    dpg_call_state state;
    dpg_retry_policy policy;
    int64_t timeout_ms;           /* one attempt; INT64_MAX: none */
    int64_t idle_ms;              /* above 0: instead of it; an attempt ends when nothing has moved for so long */
    int64_t moved, moved_boot_ms; /* how much has moved when we last looked; since when it is so much */
    bool person;                  /* has a credential whose bearer can be replaced */
    int attempt, sent;            /* begun; of those, how many may have left */
    bool challenged;              /* a 401 has been answered by a new bearer already */
    bool has_answer; /* an answer is kept: it is what a 401 that stands, or a deadline in a back-off, ends with */
    uint64_t serial, rejected; /* the bearer in use; the one that a 401 came to */
    int64_t wake_boot_ms; /* GATED, BACKING_OFF, SENDING (its timeout, a look): when to look again; INT64_MAX: never */
    int64_t retry_after_ms; /* what the last answer asked for; -1: nothing */
    dpg_ending ending;
} dpg_call;

dpg_call_step dpg_call_begin(dpg_call *c);
dpg_call_step dpg_call_authorized(dpg_call *c, uint64_t serial);
dpg_call_step dpg_call_not_authorized(dpg_call *c, bool stands); /* `stands`: the 401 that we have is the answer */
dpg_call_step dpg_call_at_gate(dpg_call *c, int64_t opens_boot_ms, int64_t now_boot_ms); /* 0: it is open */
dpg_call_step dpg_call_connected(dpg_call *c, int64_t now_boot_ms, bool bearer_good);    /* its turn in the queue */
dpg_call_step dpg_call_ended(dpg_call *c, const dpg_outcome *outcome, dpg_budget *budget, int64_t now_boot_ms,
                             uint64_t random, dpg_retry *retry); /* an attempt; *retry says whether the gate closes */
bool dpg_call_is_stalled(dpg_call *c, int64_t moved, int64_t now_boot_ms); /* SENDING; false: look again when it says */
dpg_call_step dpg_call_woken(dpg_call *c);                                 /* GATED and BACKING_OFF only */
dpg_call_step dpg_call_stop(dpg_call *c, dpg_ending why);                  /* the deadline, or a cancel */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
