/*
 * Retry rules. Pure; the numbers come from the call, the time and the random number from the engine.
 */
#include "retry.h"

int64_t dpg_backoff_ms(int64_t base_ms, int64_t cap_ms, int attempt, uint64_t random)
{
    int64_t most = base_ms;

    for (int i = 1; i < attempt && most > 0 && most < cap_ms; i++) most = most < INT64_MAX / 2 ? most * 2 : cap_ms;
    if (most > cap_ms) most = cap_ms;
    return most > 0 ? (int64_t)(random % ((uint64_t)most + 1)) : 0;
}

void dpg_budget_regain(dpg_budget *budget)
{
    budget->left = budget->left + 0.5 < budget->max ? budget->left + 0.5 : budget->max;
}

static bool is_passing(const dpg_outcome *o)
{
    switch (o->status) {
    case 0: return o->kind == DPG_KIND_NETWORK || o->kind == DPG_KIND_TIMEOUT;
    case 429:
    case 500:
    case 502:
    case 503:
    case 504: return true;
    default: return false;
    }
}

/* May what passes be tried again at all, as far as this call goes? */
static bool is_allowed(dpg_repeat repeat, const dpg_outcome *o)
{
    if (o->used_up) return false;
    if (repeat == DPG_REPEAT_ALWAYS || o->status == 429) return true;
    if (o->status) return false;
    return o->sent == DPG_SENT_NOT || (o->sent == DPG_SENT_PART && repeat == DPG_REPEAT_UNFINISHED);
}

dpg_retry dpg_retry_decide(const dpg_retry_policy *policy, dpg_budget *budget, const dpg_outcome *outcome, int attempt,
                           int64_t now_boot_ms, uint64_t random)
{
    dpg_retry verdict = {.rate_limited = outcome->status == 429};
    bool told = outcome->status && outcome->retry_after_ms >= 0, free_of_charge = verdict.rate_limited && told;

    verdict.wait_ms = dpg_backoff_ms(policy->base_ms, policy->cap_ms, attempt, random);
    if (told && outcome->retry_after_ms > verdict.wait_ms) verdict.wait_ms = outcome->retry_after_ms;
    if (told && verdict.rate_limited) verdict.wait_ms = outcome->retry_after_ms;

    if (!is_passing(outcome) || !is_allowed(policy->repeat, outcome) || attempt >= policy->attempts) return verdict;
    /* a wait that would pass the deadline is not begun */
    if (policy->deadline_boot_ms != INT64_MAX && verdict.wait_ms >= policy->deadline_boot_ms - now_boot_ms)
        return verdict;
    if (!free_of_charge) {
        if (budget->left < 1) return verdict;
        budget->left -= 1;
    }
    verdict.again = true;
    return verdict;
}
