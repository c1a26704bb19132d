/*
 * Is this outcome final, or again, and when: pure functions for the call decider. Design: what may be repeated.
 */
#ifndef DPG_RETRY_H
#define DPG_RETRY_H

#include "drivers.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* How one attempt ended. */
typedef struct dpg_outcome {
    int status;    /* 0: no answer */
    dpg_kind kind; /* without an answer: what went wrong */
    dpg_sent sent;
    int64_t retry_after_ms; /* -1: not said, or unreadable */
    bool used_up;           /* what it was fed, or the place its body went to, can't be begun anew */
} dpg_outcome;

typedef struct dpg_retry_policy {
    dpg_repeat repeat;
    int attempts;
    int64_t base_ms, cap_ms;
    int64_t deadline_boot_ms; /* INT64_MAX: none */
} dpg_retry_policy;

/* A store of retries for one origin, so that an outage is not made worse by everybody's retries. */
typedef struct dpg_budget {
    double left, max;
} dpg_budget;

typedef struct dpg_retry {
    bool again;
    int64_t wait_ms;
    bool rate_limited; /* a 429: everything under the same gate waits as long */
} dpg_retry;

/* `attempt` counts from 1: the one that just ended. Takes one from the budget when it says again (a 429 with Retry-After costs none). */
dpg_retry dpg_retry_decide(const dpg_retry_policy *policy, dpg_budget *budget, const dpg_outcome *outcome, int attempt,
                           int64_t now_boot_ms, uint64_t random);

/* Anything between 0 and min(cap, base * 2^(attempt - 1)): full jitter. */
int64_t dpg_backoff_ms(int64_t base_ms, int64_t cap_ms, int attempt, uint64_t random);

/* A success gives half a retry back. */
void dpg_budget_regain(dpg_budget *budget);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
