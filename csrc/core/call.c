/*
 * The life of a call, decided.
 */
#include "call.h"

#include <assert.h>

#define BIT(state) (1u << (state))
static const unsigned may_follow[] = {
    [DPG_CALL_NEW] = BIT(DPG_CALL_AUTHORIZING) | BIT(DPG_CALL_DONE),
    [DPG_CALL_AUTHORIZING] = BIT(DPG_CALL_GATED) | BIT(DPG_CALL_QUEUED) | BIT(DPG_CALL_DONE),
    [DPG_CALL_GATED] = BIT(DPG_CALL_AUTHORIZING) | BIT(DPG_CALL_QUEUED) | BIT(DPG_CALL_DONE),
    [DPG_CALL_QUEUED] = BIT(DPG_CALL_AUTHORIZING) | BIT(DPG_CALL_SENDING) | BIT(DPG_CALL_GATED) | BIT(DPG_CALL_DONE),
    [DPG_CALL_SENDING] = BIT(DPG_CALL_AUTHORIZING) | BIT(DPG_CALL_BACKING_OFF) | BIT(DPG_CALL_DONE),
    [DPG_CALL_BACKING_OFF] = BIT(DPG_CALL_AUTHORIZING) | BIT(DPG_CALL_DONE),
    [DPG_CALL_DONE] = 0,
};

static void enter(dpg_call *c, dpg_call_state to) /* the only writer of c->state */
{
    assert(may_follow[c->state] & BIT(to));
    c->state = to;
    c->wake_boot_ms = INT64_MAX;
}

static dpg_call_step finish(dpg_call *c, dpg_ending ending)
{
    enter(c, DPG_CALL_DONE);
    c->ending = ending;
    return DPG_STEP_FINISH;
}

dpg_call_step dpg_call_begin(dpg_call *c)
{
    c->retry_after_ms = -1;
    enter(c, DPG_CALL_AUTHORIZING);
    return DPG_STEP_AUTHORIZE;
}

/* The gate is asked again after everything that may have taken time: somebody else's 429 may have closed it meanwhile. */
dpg_call_step dpg_call_authorized(dpg_call *c, uint64_t serial)
{
    assert(c->state == DPG_CALL_AUTHORIZING);
    c->serial = serial;
    return DPG_STEP_GATE;
}

dpg_call_step dpg_call_not_authorized(dpg_call *c, bool stands)
{
    assert(c->state == DPG_CALL_AUTHORIZING);
    return finish(c, stands && c->has_answer ? DPG_END_ANSWER : DPG_END_NO_BEARER);
}

dpg_call_step dpg_call_at_gate(dpg_call *c, int64_t opens_boot_ms, int64_t now_boot_ms)
{
    assert(c->state == DPG_CALL_AUTHORIZING || c->state == DPG_CALL_QUEUED);
    if (opens_boot_ms == 0) {
        if (c->state != DPG_CALL_QUEUED) enter(c, DPG_CALL_QUEUED);
        return DPG_STEP_QUEUE;
    }
    if (opens_boot_ms >= c->policy.deadline_boot_ms) { /* a wait that would pass the deadline is not begun */
        c->retry_after_ms = opens_boot_ms - now_boot_ms;
        return finish(c, DPG_END_GATED);
    }
    enter(c, DPG_CALL_GATED);
    c->wake_boot_ms = opens_boot_ms;
    return DPG_STEP_WAIT;
}

/* Bytes move too often to be told of each: so looks are taken, four in the time that nothing may move. */
static int64_t next_look(const dpg_call *c, int64_t now_boot_ms)
{
    int64_t look = now_boot_ms + (c->idle_ms + 3) / 4, end = c->moved_boot_ms + c->idle_ms;

    return look < end ? look : end;
}

dpg_call_step dpg_call_connected(dpg_call *c, int64_t now_boot_ms, bool bearer_good)
{
    assert(c->state == DPG_CALL_QUEUED);
    if (!bearer_good) { /* it ran out in the queue */
        enter(c, DPG_CALL_AUTHORIZING);
        return DPG_STEP_AUTHORIZE;
    }
    enter(c, DPG_CALL_SENDING);
    c->attempt++;
    c->moved = 0;
    c->moved_boot_ms = now_boot_ms;
    if (c->idle_ms > 0) c->wake_boot_ms = next_look(c, now_boot_ms);
    else if (c->timeout_ms != INT64_MAX) c->wake_boot_ms = now_boot_ms + c->timeout_ms;
    return DPG_STEP_SEND;
}

bool dpg_call_is_stalled(dpg_call *c, int64_t moved, int64_t now_boot_ms)
{
    assert(c->state == DPG_CALL_SENDING);
    if (moved != c->moved) {
        c->moved = moved;
        c->moved_boot_ms = now_boot_ms;
    } else if (now_boot_ms - c->moved_boot_ms >= c->idle_ms) {
        return true;
    }
    c->wake_boot_ms = next_look(c, now_boot_ms);
    return false;
}

dpg_call_step dpg_call_ended(dpg_call *c, const dpg_outcome *outcome, dpg_budget *budget, int64_t now_boot_ms,
                             uint64_t random, dpg_retry *retry)
{
    assert(c->state == DPG_CALL_SENDING);
    if (outcome->sent != DPG_SENT_NOT) c->sent++;
    c->has_answer = outcome->status != 0;
    c->retry_after_ms = outcome->status ? outcome->retry_after_ms : -1;
    *retry = (dpg_retry){0};
    if (outcome->status == 401 && c->person && !c->challenged && !outcome->used_up) {
        c->challenged = true;
        c->rejected = c->serial;
        enter(c, DPG_CALL_AUTHORIZING);
        return DPG_STEP_AUTHORIZE;
    }
    *retry = dpg_retry_decide(&c->policy, budget, outcome, c->attempt, now_boot_ms, random);
    if (!retry->again) return finish(c, c->has_answer ? DPG_END_ANSWER : DPG_END_ERROR);
    enter(c, DPG_CALL_BACKING_OFF);
    c->wake_boot_ms = now_boot_ms + retry->wait_ms;
    return DPG_STEP_WAIT;
}

dpg_call_step dpg_call_woken(dpg_call *c)
{
    assert(c->state == DPG_CALL_GATED || c->state == DPG_CALL_BACKING_OFF);
    enter(c, DPG_CALL_AUTHORIZING); /* the bearer may have run out while it waited */
    return DPG_STEP_AUTHORIZE;
}

dpg_call_step dpg_call_stop(dpg_call *c, dpg_ending why)
{
    return finish(c, why);
}
