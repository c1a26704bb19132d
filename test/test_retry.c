/*
 * retry.c: what is repeated and what is not, and how long one waits for it.
 */
#include "check.h"
#include "retry.h"

#define FAR INT64_MAX

static dpg_retry decide(dpg_repeat repeat, dpg_outcome o, int attempt, int64_t deadline, dpg_budget *budget)
{
    dpg_retry_policy p = {
        .repeat = repeat, .attempts = 6, .base_ms = 200, .cap_ms = 20000, .deadline_boot_ms = deadline};

    return dpg_retry_decide(&p, budget, &o, attempt, 1000, 12345678901234567u);
}

TEST("repeats what may be repeated: status and kind against repeat and sent")
{
    static const struct {
        int status;
        dpg_kind kind;
        dpg_sent sent;
        bool always, unsent;
    } cases[] = {
        {200, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {204, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {301, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {304, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {400, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {401, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {403, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {404, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {408, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {409, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {413, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {422, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {425, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {429, DPG_KIND_NONE, DPG_SENT_MAYBE, true, true},
        {500, DPG_KIND_NONE, DPG_SENT_MAYBE, true, false},   {501, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {502, DPG_KIND_NONE, DPG_SENT_MAYBE, true, false},   {503, DPG_KIND_NONE, DPG_SENT_MAYBE, true, false},
        {504, DPG_KIND_NONE, DPG_SENT_MAYBE, true, false},   {505, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},
        {599, DPG_KIND_NONE, DPG_SENT_MAYBE, false, false},  {0, DPG_KIND_NETWORK, DPG_SENT_MAYBE, true, false},
        {0, DPG_KIND_NETWORK, DPG_SENT_NOT, true, true},     {0, DPG_KIND_TIMEOUT, DPG_SENT_MAYBE, true, false},
        {0, DPG_KIND_TIMEOUT, DPG_SENT_NOT, true, true},     {0, DPG_KIND_TLS, DPG_SENT_NOT, false, false},
        {0, DPG_KIND_USAGE, DPG_SENT_NOT, false, false},     {0, DPG_KIND_PROTOCOL, DPG_SENT_MAYBE, false, false},
        {0, DPG_KIND_CANCELLED, DPG_SENT_NOT, false, false}, {500, DPG_KIND_NONE, DPG_SENT_NOT, true, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_outcome o = {cases[i].status, cases[i].kind, cases[i].sent, -1, false};
        dpg_budget budget = {100, 100};
        dpg_retry always = decide(DPG_REPEAT_ALWAYS, o, 1, FAR, &budget);
        dpg_retry unsent = decide(DPG_REPEAT_UNSENT, o, 1, FAR, &budget);

        if (always.again != cases[i].always || unsent.again != cases[i].unsent)
            CHECK_FAIL("case %zu: status %d, %s", i, cases[i].status, dpg_kind_name(cases[i].kind));
        CHECK_INT(always.rate_limited, cases[i].status == 429);
        CHECK(budget.left == 100 - cases[i].always - cases[i].unsent);
    }
}

TEST("repeats what was not handed over whole where that is allowed, and never what is used up")
{
    static const struct {
        dpg_outcome o;
        bool always, unsent, unfinished;
    } cases[] = {
        {{0, DPG_KIND_NETWORK, DPG_SENT_NOT, -1, false}, true, true, true},
        {{0, DPG_KIND_NETWORK, DPG_SENT_PART, -1, false}, true, false, true},
        {{0, DPG_KIND_TIMEOUT, DPG_SENT_PART, -1, false}, true, false, true},
        {{0, DPG_KIND_NETWORK, DPG_SENT_MAYBE, -1, false}, true, false, false},
        {{0, DPG_KIND_TIMEOUT, DPG_SENT_MAYBE, -1, false}, true, false, false},
        {{429, DPG_KIND_NONE, DPG_SENT_PART, -1, false}, true, true, true},
        {{429, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, false}, true, true, true},
        {{503, DPG_KIND_NONE, DPG_SENT_PART, -1, false}, true, false, false}, /* it may have been taken all the same */
        {{413, DPG_KIND_NONE, DPG_SENT_PART, -1, false}, false, false, false},
        {{0, DPG_KIND_USAGE, DPG_SENT_PART, -1, false}, false, false, false},
        {{0, DPG_KIND_STORAGE, DPG_SENT_MAYBE, -1, false}, false, false, false},
        {{0, DPG_KIND_NETWORK, DPG_SENT_PART, -1, true}, false, false, false},
        {{429, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, true}, false, false, false},
        {{503, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, true}, false, false, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_budget budget = {100, 100};

        if (decide(DPG_REPEAT_ALWAYS, cases[i].o, 1, FAR, &budget).again != cases[i].always ||
            decide(DPG_REPEAT_UNSENT, cases[i].o, 1, FAR, &budget).again != cases[i].unsent ||
            decide(DPG_REPEAT_UNFINISHED, cases[i].o, 1, FAR, &budget).again != cases[i].unfinished)
            CHECK_FAIL("case %zu", i);
    }
}

TEST("stops after as many attempts as it may make")
{
    dpg_outcome o = {503, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, false};
    dpg_budget budget = {100, 100};

    CHECK(decide(DPG_REPEAT_ALWAYS, o, 5, FAR, &budget).again);
    CHECK(!decide(DPG_REPEAT_ALWAYS, o, 6, FAR, &budget).again);
    CHECK(!decide(DPG_REPEAT_ALWAYS, o, 7, FAR, &budget).again);
    CHECK(budget.left == 99);
}

TEST("never shortens a Retry-After")
{
    dpg_budget budget = {1e9, 1e9};

    for (int status = 429; status <= 503; status += 74) {
        for (uint64_t r = 0; r < 3000; r++) {
            dpg_retry_policy p = {DPG_REPEAT_ALWAYS, 6, 200, 20000, FAR};
            dpg_outcome o = {status, DPG_KIND_NONE, DPG_SENT_MAYBE, (int64_t)(r * 37 % 9000), false};
            dpg_retry v = dpg_retry_decide(&p, &budget, &o, 1 + (int)(r % 5), 1000, r * UINT64_C(0x9e3779b97f4a7c15));

            CHECK(v.again);
            CHECK(v.wait_ms >= o.retry_after_ms);
        }
    }
}

TEST("does not begin a wait that would pass the deadline, nor one that ends with it")
{
    dpg_outcome o = {503, DPG_KIND_NONE, DPG_SENT_MAYBE, 5000, false};
    dpg_budget budget = {100, 100};

    CHECK(decide(DPG_REPEAT_ALWAYS, o, 1, 6001, &budget).again);
    CHECK(budget.left == 99);
    CHECK(!decide(DPG_REPEAT_ALWAYS, o, 1, 6000, &budget).again);
    CHECK(!decide(DPG_REPEAT_ALWAYS, o, 1, 5999, &budget).again);
    CHECK(!decide(DPG_REPEAT_ALWAYS, o, 1, 0, &budget).again);
    CHECK(budget.left == 99);
    o.status = 429;
    o.retry_after_ms = INT64_C(366) * 24 * 3600 * 1000;
    CHECK(!decide(DPG_REPEAT_ALWAYS, o, 1, 1000000, &budget).again);
    CHECK_INT(decide(DPG_REPEAT_ALWAYS, o, 1, 1000000, &budget).wait_ms,
              o.retry_after_ms); /* the gate still closes so long */
    CHECK(decide(DPG_REPEAT_ALWAYS, o, 1, FAR, &budget).again);
}

TEST("takes one from the budget for each retry, but for a 429 that says how long")
{
    dpg_outcome told = {429, DPG_KIND_NONE, DPG_SENT_MAYBE, 100, false};
    dpg_outcome untold = {429, DPG_KIND_NONE, DPG_SENT_MAYBE, -1, false};
    dpg_outcome busy = {503, DPG_KIND_NONE, DPG_SENT_MAYBE, 100, false};
    dpg_budget budget = {2, 2};

    CHECK(decide(DPG_REPEAT_ALWAYS, told, 1, FAR, &budget).again);
    CHECK(budget.left == 2);
    CHECK(decide(DPG_REPEAT_ALWAYS, busy, 1, FAR, &budget).again);
    CHECK(decide(DPG_REPEAT_ALWAYS, untold, 1, FAR, &budget).again);
    CHECK(budget.left == 0);
    CHECK(!decide(DPG_REPEAT_ALWAYS, busy, 1, FAR, &budget).again);
    CHECK(!decide(DPG_REPEAT_ALWAYS, untold, 1, FAR, &budget).again);
    CHECK(decide(DPG_REPEAT_ALWAYS, told, 1, FAR, &budget).again);
}

TEST("gives half a retry back with each success, and never more than there was")
{
    dpg_budget budget = {0, 2};

    dpg_budget_regain(&budget);
    CHECK(budget.left == 0.5);
    for (int i = 0; i < 10; i++) dpg_budget_regain(&budget);
    CHECK(budget.left == 2);
    budget = (dpg_budget){0, 0};
    dpg_budget_regain(&budget);
    CHECK(budget.left == 0);
}

TEST("backs off with full jitter: anything between 0 and the doubled base, up to the cap, evenly")
{
    static const int64_t most[] = {200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000};

    for (int attempt = 1; attempt <= 9; attempt++) {
        int64_t low = INT64_MAX, high = 0, sum = 0;

        for (uint64_t i = 0; i < 20000; i++) {
            int64_t wait = dpg_backoff_ms(200, 20000, attempt, i * UINT64_C(0x9e3779b97f4a7c15));

            low = wait < low ? wait : low;
            high = wait > high ? wait : high;
            sum += wait;
        }
        CHECK(low >= 0 && low <= most[attempt - 1] / 100);
        CHECK(high <= most[attempt - 1] && high >= most[attempt - 1] * 99 / 100);
        CHECK(sum / 20000 > most[attempt - 1] * 48 / 100 && sum / 20000 < most[attempt - 1] * 52 / 100);
    }
    CHECK_INT(dpg_backoff_ms(200, 20000, 1, 200), 200);
    CHECK_INT(dpg_backoff_ms(200, 20000, 1, 201), 0);
}

TEST("overflows with no base, cap or attempt")
{
    static const int64_t odd[] = {INT64_MIN, -1, 0, 1, 200, INT64_MAX / 2, INT64_MAX - 1, INT64_MAX};

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
            for (int attempt = 1; attempt < 300; attempt += 7) {
                int64_t wait = dpg_backoff_ms(odd[i], odd[k], attempt, UINT64_MAX);

                CHECK(wait >= 0 && (wait <= odd[k] || wait == 0));
            }
}

CHECK_MAIN()
