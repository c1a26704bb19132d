/*
 * The server: sign-in, two-factor, the token endpoint and everything else, as the API's description has them. A request is
 * committed at one instant; trouble comes before it (nothing was done) or after it (all was done, and the client doesn't
 * know). Strict: a spent refresh token ends its family. Lenient: for a while it answers the same successor once more.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- tokens ------------------------------------------------------------------------------------------------------------ */

bool token_parse(const char *text, int *who, int *fam, int *number)
{
    return sscanf(text, "rt~%d.%d.%d.", who, fam, number) == 3;
}

bool access_parse(const char *text, int *who, int *fam, int *sibling, int *account, int *serial)
{
    return sscanf(text, "at~%d.%d.%d.%d.%d.", who, fam, sibling, account, serial) == 5;
}

known_token *sim_token(sim *w, int who, int fam, int number)
{
    known_person *one = &w->persons[who];

    if (who >= w->person_count || fam < 0 || fam >= one->family_count) return NULL;
    if (number < 0 || number >= one->families[fam].token_count) return NULL;
    return &one->families[fam].tokens[number];
}

static int add_token(sim *w, known_family *f)
{
    f->tokens = sim_alloc(f->tokens, (size_t)f->token_count + 1, sizeof *f->tokens);
    f->tokens[f->token_count] = (known_token){.spent_at = -1, .handed_at = -1, .random = sim_random(w)};
    return f->token_count++;
}

static int add_access(sim *w, known_family *f, int account, int sibling)
{
    f->accesses = sim_alloc(f->accesses, (size_t)f->access_count + 1, sizeof *f->accesses);
    f->accesses[f->access_count] = (known_access){.account = account,
                                                  .sibling = sibling,
                                                  .life_ms = w->life_ms,
                                                  .expires_at = w->now + w->life_ms,
                                                  .handed_at = -1,
                                                  .random = sim_random(w)};
    return f->access_count++;
}

/* --- answers ----------------------------------------------------------------------------------------------------------- */

static void put_head(transfer *t, const char *name, const char *value)
{
    size_t used = strlen(t->head);

    snprintf(t->head + used, sizeof t->head - used, "%s: %s\n", name, value);
}

static void date_of(int64_t unix_s, char *out, size_t size)
{
    time_t at = (time_t)unix_s;
    struct tm parts;

    gmtime_r(&at, &parts);
    strftime(out, size, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

static void begin(sim *w, transfer *t, int status, const char *type)
{
    char date[48];

    dpg_buf_clear(&t->answer);
    t->head[0] = '\0';
    t->status = status;
    t->means = MEANS_NOTHING;
    t->new_family = t->new_token = t->new_access = -1;
    t->retry_after_ms = -1;
    date_of(SIM_EPOCH_S + w->now / 1000, date, sizeof date);
    put_head(t, "date", date);
    put_head(t, "content-type", type);
}

static void answer_error(sim *w, transfer *t, int status, const char *code)
{
    begin(w, t, status, "application/json");
    dpg_buf_printf(&t->answer,
                   "{\"error\":{\"code\":\"%s\",\"message\":\"The server says: %s.\",\"request_id\":\"req-%llu\"}}",
                   code, code, (unsigned long long)w->seq);
}

static void answer_html(sim *w, transfer *t, int status)
{
    begin(w, t, status, "text/html");
    dpg_buf_printf(&t->answer, "<html><body><h1>%d</h1></body></html>", status);
}

static void put_retry_after(sim *w, transfer *t)
{
    int64_t s = sim_chance(w, 900) ? sim_spread(w, 1, 20) : sim_spread(w, 20, 400);
    char text[48];

    if (sim_chance(w, 200)) date_of(SIM_EPOCH_S + w->now / 1000 + s, text, sizeof text);
    else snprintf(text, sizeof text, "%lld", (long long)s);
    put_head(t, "retry-after", text);
    if (sim_chance(w, 50)) put_head(t, "retry-after", "1"); /* twice: the longer one counts */
    t->retry_after_ms = s * 1000;
}

static void answer_limited(sim *w, transfer *t, bool readable)
{
    static const char *const nonsense[] = {"-5", "inf", "1e400", "", "soon", "0x10", "5 seconds", "NaN"};

    answer_error(w, t, 429, "rate_limited");
    t->means = MEANS_WAIT;
    if (readable) put_retry_after(w, t);
    else put_head(t, "retry-after", nonsense[sim_between(w, 0, 7)]);
}

static void answer_5xx(sim *w, transfer *t)
{
    static const int statuses[] = {500, 502, 503, 504};
    int status = statuses[sim_between(w, 0, 3)];

    if (sim_chance(w, 500)) answer_html(w, t, status);
    else answer_error(w, t, status, "internal_error");
    t->means = MEANS_DOUBT;
    if (status == 503 && sim_chance(w, 400)) put_retry_after(w, t);
}

/* --- what it does ------------------------------------------------------------------------------------------------------ */

static void refuse(sim *w, transfer *t)
{
    static const char *const codes[] = {"invalid_grant", "token_revoked"};

    if (sim_chance(w, 800)) answer_error(w, t, 401, "unauthorized");
    else answer_error(w, t, sim_chance(w, 500) ? 400 : 403, codes[sim_between(w, 0, 1)]);
    t->means = MEANS_REFUSED;
}

static void issue(sim *w, transfer *t, known_family *f, int number, bool with_refresh)
{
    int serial = add_access(w, f, t->account, number);

    begin(w, t, 200, "application/json");
    dpg_buf_printf(&t->answer,
                   "{\"access_token\":\"at~%d.%d.%d.%d.%d.%016llx\",\"token_type\":\"Bearer\",\"expires_in\":%lld",
                   t->person, t->family, number, t->account, serial, (unsigned long long)f->accesses[serial].random,
                   (long long)w->life_ms / 1000);
    if (with_refresh)
        dpg_buf_printf(&t->answer, ",\"refresh_token\":\"rt~%d.%d.%d.%016llx\"", t->person, t->family, number,
                       (unsigned long long)f->tokens[number].random);
    dpg_buf_puts(&t->answer, "}");
    t->means = MEANS_TOKENS;
    t->new_family = t->family;
    t->new_token = number;
    t->new_access = serial;
}

static void exchange(sim *w, transfer *t)
{
    known_token *k = sim_token(w, t->person, t->family, t->token);
    known_family *f = k ? &w->persons[t->person].families[t->family] : NULL;
    int newest = f ? f->token_count - 1 : 0;

    if (!f || f->revoked || t->account < 0 || t->account >= SIM_ACCOUNTS) {
        refuse(w, t);
    } else if (t->token == newest && w->lazy && sim_chance(w, 500)) {
        issue(w, t, f, newest, false);
    } else if (t->token == newest) {
        k->spent_at = w->now;
        w->totals->rotations++;
        newest = add_token(w, f); /* `k` may have moved */
        issue(w, t, f, newest, true);
    } else if (!w->strict && t->token == newest - 1 && w->now - k->spent_at <= w->grace_ms) {
        w->totals->graces++;
        issue(w, t, f, newest, true);
    } else {
        f->revoked = f->reused = true;
        sim_trace(w, NULL, "server: token %d.%d.%d was spent: the family ends", t->person, t->family, t->token);
        check_reuse(w, t);
        refuse(w, t);
    }
}

static void sign_in(sim *w, transfer *t)
{
    known_person *one = &w->persons[t->person];
    bool second = strcmp(t->path, "/auth/mfa") == 0;
    char secret[40];
    known_family *f;

    snprintf(secret, sizeof secret, "\"%s~%016llx\"", second ? "mt" : "pw", (unsigned long long)one->secret);
    if (!strstr(t->body, secret)) {
        answer_error(w, t, 401, "unauthorized");
        sim_fail(w, t->p, "a sign-in came without its secret");
        return;
    }
    begin(w, t, 200, "application/json");
    if (one->two_factor && !second) {
        dpg_buf_printf(&t->answer, "{\"mfa_token\":\"mt~%016llx\"}", (unsigned long long)one->secret);
        return;
    }
    one->families = sim_alloc(one->families, (size_t)one->family_count + 1, sizeof *one->families);
    f = &one->families[one->family_count];
    memset(f, 0, sizeof *f);
    t->family = t->new_family = one->family_count++;
    t->new_token = add_token(w, f);
    t->means = MEANS_TOKENS;
    dpg_buf_printf(
        &t->answer,
        "{\"refresh_token\":\"rt~%d.%d.%d.%016llx\",\"accounts\":[{\"uuid\":\"acc-a\",\"name\":\"A\",\"unique_id\":"
        "\"a\"},"
        "{\"uuid\":\"acc-b\",\"name\":\"B\",\"unique_id\":\"b\"}],\"user\":{\"uuid\":\"u-%d\",\"name\":\"P\"}}",
        t->person, t->family, t->new_token, (unsigned long long)f->tokens[0].random, t->person);
}

static bool is_welcome(sim *w, transfer *t)
{
    int who, fam, sibling, account, serial;
    known_family *f;

    if (t->call->kind == CALL_SERVICE) return strcmp(t->bearer, "st~5eed") == 0;
    if (!access_parse(t->bearer, &who, &fam, &sibling, &account, &serial)) return false;
    if (!sim_token(w, who, fam, sibling)) return false;
    f = &w->persons[who].families[fam];
    if (f->revoked || serial >= f->access_count) return false;
    return !f->accesses[serial].revoked && w->now < f->accesses[serial].expires_at;
}

static void other(sim *w, transfer *t)
{
    if (!is_welcome(w, t) || t->call->kind == CALL_DENIED) {
        answer_error(w, t, 401, "unauthorized");
    } else if (t->call->kind == CALL_WRITE || t->call->kind == CALL_UNSENT) {
        begin(w, t, 202, "application/json");
        dpg_buf_printf(&t->answer, "{\"uuid\":\"op-%d\",\"status\":\"succeeded\",\"type\":\"update\"}",
                       t->call->number);
    } else {
        begin(w, t, 200, "application/json");
        put_head(t, "etag", "\"e1\"");
        dpg_buf_printf(&t->answer, "{\"public_uuid\":\"call-%d\",\"title\":\"Main Stage\"}", t->call->number);
    }
}

/* --- trouble ------------------------------------------------------------------------------------------------------------ */

fault server_draw(sim *w, transfer *t)
{
    static const fault troubles[] = {F_429,      F_429_UNREADABLE, F_5XX,      F_5XX_AFTER,
                                     F_HTML_200, F_GARBAGE_AFTER,  F_HTML_401, F_403};

    (void)t;
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++)
        if (sim_fault(w, troubles[i])) return troubles[i];
    return F_COUNT;
}

void server_serve(sim *w, transfer *t, fault trouble)
{
    switch (trouble) {
    case F_429:
    case F_429_UNREADABLE: answer_limited(w, t, trouble == F_429); return;
    case F_5XX: answer_5xx(w, t); return;
    case F_HTML_200:
        answer_html(w, t, 200);
        t->means = MEANS_DOUBT;
        return;
    case F_HTML_401:
        answer_html(w, t, 401);
        t->means = MEANS_NOT_TAKEN;
        return;
    case F_403:
        if (sim_chance(w, 500)) answer_html(w, t, 403);
        else answer_error(w, t, 403, "api_not_enabled");
        t->means = MEANS_NOT_TAKEN;
        return;
    default: break;
    }
    if (t->kind == FOR_EXCHANGE) exchange(w, t);
    else if (t->kind == FOR_SIGN_IN) sign_in(w, t);
    else other(w, t);
    if (trouble == F_5XX_AFTER) answer_5xx(w, t);
    if (trouble == F_GARBAGE_AFTER && t->answer.len > 2) {
        t->answer.len /= 2;
        t->answer.ptr[t->answer.len] = '\0';
        t->means = t->status < 400 ? MEANS_DOUBT : MEANS_NOT_TAKEN; /* half a "no" is nobody's word */
        t->new_family = t->new_token = t->new_access = -1;
    }
}

void server_revoke(sim *w)
{
    known_person *one = &w->persons[sim_between(w, 0, w->person_count - 1)];
    known_family *f = one->family_count ? &one->families[one->family_count - 1] : NULL;

    if (f && sim_fault(w, F_ACCESS_REVOKED)) {
        for (int i = 0; i < f->access_count; i++) f->accesses[i].revoked = true;
        sim_trace(w, NULL, "server: all access tokens are revoked");
    }
    if (f && !f->revoked && sim_fault(w, F_SESSION_REVOKED)) {
        f->revoked = true;
        sim_trace(w, NULL, "server: the session is revoked");
    }
}

void server_free(sim *w)
{
    for (int i = 0; i < w->person_count; i++) {
        for (int k = 0; k < w->persons[i].family_count; k++) {
            free(w->persons[i].families[k].tokens);
            free(w->persons[i].families[k].accesses);
        }
        free(w->persons[i].families);
    }
}
