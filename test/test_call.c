/*
 * call.c: the order of things in a call's life.
 */
#include "call.h"
#include "check.h"

#define FAR INT64_MAX

static dpg_call a_call(bool person)
{
    dpg_call c = {.timeout_ms = 30000, .person = person};

    c.policy = (dpg_retry_policy){DPG_REPEAT_ALWAYS, 6, 200, 20000, FAR};
    c.wake_boot_ms = FAR;
    return c;
}

static dpg_budget budget;

static dpg_call_step ended(dpg_call *c, int status, dpg_kind kind, dpg_sent sent, int64_t retry_after, int64_t now)
{
    dpg_outcome o = {status, kind, sent, retry_after, false};
    dpg_retry retry;

    return dpg_call_ended(c, &o, &budget, now, 77, &retry);
}

/* To the wire, with bearer `serial`. */
static void send(dpg_call *c, uint64_t serial, int64_t now)
{
    CHECK_INT(dpg_call_authorized(c, serial), DPG_STEP_GATE);
    CHECK_INT(dpg_call_at_gate(c, 0, now), DPG_STEP_QUEUE);
    CHECK_INT(dpg_call_at_gate(c, 0, now), DPG_STEP_QUEUE); /* asked again when its turn has come */
    CHECK_INT(dpg_call_connected(c, now, true), DPG_STEP_SEND);
}

static dpg_call on_its_way(bool person)
{
    dpg_call c = a_call(person);

    budget = (dpg_budget){100, 100};
    CHECK_INT(dpg_call_begin(&c), DPG_STEP_AUTHORIZE);
    CHECK_INT(c.retry_after_ms, -1);
    send(&c, 1, 1000);
    CHECK_INT(c.wake_boot_ms, 31000);
    CHECK_INT(c.attempt, 1);
    return c;
}

TEST("goes authorize, gate, queue, send, done")
{
    dpg_call c = on_its_way(false);

    CHECK_INT(ended(&c, 200, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_ANSWER);
    CHECK_INT(c.sent, 1);
    CHECK_INT(c.wake_boot_ms, FAR);
}

TEST("counts what may have left, and not what certainly did not")
{
    dpg_call c = on_its_way(false);

    CHECK_INT(ended(&c, 0, DPG_KIND_NETWORK, DPG_SENT_NOT, -1, 1100), DPG_STEP_WAIT);
    CHECK_INT(c.sent, 0);
    CHECK_INT(dpg_call_woken(&c), DPG_STEP_AUTHORIZE);
    send(&c, 1, 1300);
    CHECK_INT(ended(&c, 0, DPG_KIND_TIMEOUT, DPG_SENT_MAYBE, -1, 1500), DPG_STEP_WAIT);
    CHECK_INT(c.attempt, 2);
    CHECK_INT(c.sent, 1);
}

TEST("backs off, then looks for a bearer and asks the gate again before it sends again")
{
    dpg_call c = on_its_way(true);

    CHECK_INT(ended(&c, 503, DPG_KIND_NONE, DPG_SENT_MAYBE, 5000, 1100), DPG_STEP_WAIT);
    CHECK_INT(c.state, DPG_CALL_BACKING_OFF);
    CHECK(c.wake_boot_ms >= 6100);
    CHECK_INT(dpg_call_woken(&c), DPG_STEP_AUTHORIZE);
    CHECK_INT(dpg_call_authorized(&c, 2), DPG_STEP_GATE);
    CHECK_INT(dpg_call_at_gate(&c, 9000, 6100), DPG_STEP_WAIT);
    CHECK_INT(c.state, DPG_CALL_GATED);
    CHECK_INT(c.wake_boot_ms, 9000);
    CHECK_INT(dpg_call_woken(&c), DPG_STEP_AUTHORIZE);
    send(&c, 2, 9000);
}

TEST("ends with the last answer when it may not go on, with the error when there was none")
{
    dpg_call c = on_its_way(false);

    c.policy.attempts = 1;
    CHECK_INT(ended(&c, 503, DPG_KIND_NONE, DPG_SENT_MAYBE, 7000, 1100), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_ANSWER);
    CHECK_INT(c.retry_after_ms, 7000);
    c = on_its_way(false);
    c.policy.attempts = 1;
    CHECK_INT(ended(&c, 0, DPG_KIND_NETWORK, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_ERROR);
    CHECK_INT(c.retry_after_ms, -1);
}

TEST("asks for another bearer after the first 401, and takes the second for the answer")
{
    dpg_call c = on_its_way(true);

    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_AUTHORIZE);
    CHECK_INT(c.rejected, 1);
    send(&c, 2, 1200);
    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1300), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_ANSWER);
    CHECK_INT(c.attempt, 2);
}

TEST("takes the second 401 for the answer also when a retry came between")
{
    dpg_call c = on_its_way(true);

    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_AUTHORIZE);
    send(&c, 2, 1200);
    CHECK_INT(ended(&c, 502, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1300), DPG_STEP_WAIT);
    CHECK_INT(dpg_call_woken(&c), DPG_STEP_AUTHORIZE);
    send(&c, 2, 1500);
    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1600), DPG_STEP_FINISH);
}

TEST("takes the first 401 for the answer when its bearer can't be replaced")
{
    dpg_call c = on_its_way(false);

    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_FINISH);
}

TEST("ends with the 401 that stands, and with the credential's error when there is no bearer")
{
    dpg_call c = on_its_way(true);

    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_AUTHORIZE);
    CHECK_INT(dpg_call_not_authorized(&c, true), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_ANSWER);
    c = on_its_way(true);
    CHECK_INT(ended(&c, 401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100), DPG_STEP_AUTHORIZE);
    CHECK_INT(dpg_call_not_authorized(&c, false), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_NO_BEARER);
    c = a_call(true);
    dpg_call_begin(&c);
    CHECK_INT(dpg_call_not_authorized(&c, true), DPG_STEP_FINISH); /* nothing is there that could stand */
    CHECK_INT(c.ending, DPG_END_NO_BEARER);
}

TEST("does not begin to wait at a gate that opens at its deadline or later, and says for how long it would be")
{
    dpg_call c = a_call(false);

    c.policy.deadline_boot_ms = 5000;
    dpg_call_begin(&c);
    dpg_call_authorized(&c, 0);
    CHECK_INT(dpg_call_at_gate(&c, 5000, 1000), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_GATED);
    CHECK_INT(c.retry_after_ms, 4000);
    c = a_call(false);
    c.policy.deadline_boot_ms = 5000;
    dpg_call_begin(&c);
    dpg_call_authorized(&c, 0);
    CHECK_INT(dpg_call_at_gate(&c, 4999, 1000), DPG_STEP_WAIT);
}

TEST("leaves the queue for the gate when that has closed meanwhile, and for a new bearer when its own ran out")
{
    dpg_call c = a_call(true);

    dpg_call_begin(&c);
    dpg_call_authorized(&c, 1);
    CHECK_INT(dpg_call_at_gate(&c, 0, 1000), DPG_STEP_QUEUE);
    CHECK_INT(dpg_call_at_gate(&c, 2000, 1000), DPG_STEP_WAIT);
    CHECK_INT(dpg_call_woken(&c), DPG_STEP_AUTHORIZE);
    dpg_call_authorized(&c, 1);
    dpg_call_at_gate(&c, 0, 2000);
    CHECK_INT(dpg_call_connected(&c, 2000, false), DPG_STEP_AUTHORIZE);
    CHECK_INT(c.attempt, 0);
    send(&c, 2, 2100);
}

TEST("has no time limit for an attempt that has none")
{
    dpg_call c = a_call(false);

    c.timeout_ms = FAR;
    dpg_call_begin(&c);
    send(&c, 0, 1000);
    CHECK_INT(c.wake_boot_ms, FAR);
}

TEST("ends an attempt when nothing has moved for as long as may be, and not while something moves")
{
    dpg_call c = a_call(false);
    int64_t now = 1000;

    c.idle_ms = 1001;
    CHECK_INT(dpg_call_begin(&c), DPG_STEP_AUTHORIZE);
    send(&c, 0, now);
    CHECK_INT(c.wake_boot_ms, 1251); /* its timeout of 30 s counts for nothing */
    for (int64_t moved = 1; moved <= 100; moved++) {
        now += 900;
        CHECK(!dpg_call_is_stalled(&c, moved, now));
        CHECK_INT(c.wake_boot_ms, now + 251);
    }
    now = c.moved_boot_ms + 900;
    CHECK(!dpg_call_is_stalled(&c, 100, now));
    CHECK_INT(c.wake_boot_ms, c.moved_boot_ms + 1001); /* the last look is no later than it has to be */
    CHECK(!dpg_call_is_stalled(&c, 100, c.moved_boot_ms + 1000));
    CHECK(dpg_call_is_stalled(&c, 100, c.moved_boot_ms + 1001));
    CHECK_INT(ended(&c, 0, DPG_KIND_TIMEOUT, DPG_SENT_MAYBE, -1, now), DPG_STEP_WAIT);
    CHECK_INT(dpg_call_woken(&c), DPG_STEP_AUTHORIZE);
    send(&c, 0, 900000);
    CHECK(!dpg_call_is_stalled(&c, 0, 901000)); /* each attempt has a time of its own */
    CHECK(dpg_call_is_stalled(&c, 0, 901001));
}

TEST("takes a 401 for the answer when what was sent can't be sent again")
{
    dpg_call c = on_its_way(true);
    dpg_outcome o = {401, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, true};
    dpg_retry retry;

    CHECK_INT(dpg_call_ended(&c, &o, &budget, 1100, 77, &retry), DPG_STEP_FINISH);
    CHECK_INT(c.ending, DPG_END_ANSWER);
}

TEST("can be stopped in every state, once, and wakes nobody afterwards")
{
    for (int state = DPG_CALL_NEW; state < DPG_CALL_DONE; state++) {
        dpg_call c = a_call(false);

        budget = (dpg_budget){100, 100};
        if (state >= DPG_CALL_AUTHORIZING) dpg_call_begin(&c);
        if (state >= DPG_CALL_GATED) dpg_call_authorized(&c, 0);
        if (state == DPG_CALL_GATED) dpg_call_at_gate(&c, 2000, 1000);
        if (state >= DPG_CALL_QUEUED) dpg_call_at_gate(&c, 0, 1000);
        if (state >= DPG_CALL_SENDING) dpg_call_connected(&c, 1000, true);
        if (state >= DPG_CALL_BACKING_OFF) ended(&c, 503, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, 1100);
        CHECK_INT(c.state, state);
        CHECK_INT(dpg_call_stop(&c, state % 2 ? DPG_END_CANCELLED : DPG_END_DEADLINE), DPG_STEP_FINISH);
        CHECK_INT(c.ending, state % 2 ? DPG_END_CANCELLED : DPG_END_DEADLINE);
        CHECK_INT(c.state, DPG_CALL_DONE);
        CHECK_INT(c.wake_boot_ms, FAR);
    }
}

CHECK_MAIN()
