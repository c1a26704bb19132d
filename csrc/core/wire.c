/*
 * The core's assumptions about the wire (A), each in one line or one small table, and the liberal reading that goes with
 * them. Correct them here.
 */
#include "wire.h"

#include "headers.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

static const char exchange_path[] = "/auth/token";
static const char *const access_names[] = {"access_token", "token", NULL};
static const char refresh_name[] = "refresh_token", mfa_name[] = "mfa_token", accounts_name[] = "accounts";
static const char *const person_names[] = {"user", "person", NULL};
#define DEFAULT_LIFE_MS ((int64_t)900 * 1000)

/* A 400 or 403 in DPG's shape with one of these is a refusal too. */
static const char *const refusals[] = {"invalid_grant", "invalid_token", "token_expired", "token_revoked", NULL};

bool dpg_wire_exchange_url(dpg_str base_url, dpg_buf *out)
{
    return dpg_buf_put_str(out, base_url) && dpg_buf_puts(out, exchange_path);
}

bool dpg_wire_exchange_body(dpg_str refresh_token, dpg_str account, dpg_buf *out)
{
    dpg_buf_puts(out, "{\"refresh_token\":");
    dpg_buf_put_json(out, refresh_token);
    dpg_buf_puts(out, ",\"account_uuid\":");
    dpg_buf_put_json(out, account);
    return dpg_buf_puts(out, "}");
}

bool dpg_wire_token_ok(dpg_str token)
{
    if (token.len == 0 || token.len > 16384) return false;
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= 0x20 || token.ptr[i] >= 0x7f) return false;
    return true;
}

/* --- reading members ------------------------------------------------------------------------------------------------- */

static bool is_named(const char *const *names, dpg_str text)
{
    for (; *names; names++)
        if (dpg_str_eq(dpg_cstr(*names), text)) return true;
    return false;
}

static uint32_t string_member(const dpg_json *j, uint32_t object, const char *key)
{
    uint32_t i = dpg_json_member(j, object, key);

    return i && j->values[i].type == DPG_JSON_STRING ? i : 0;
}

/* As much of the string as fits; false without memory. */
static bool put_short(const dpg_json *j, uint32_t object, const char *key, char *out, size_t size)
{
    uint32_t i = string_member(j, object, key);
    bool fine = true;
    dpg_buf text;
    size_t len;

    if (!i) return true;
    dpg_buf_init(&text, 64 * 1024);
    if (dpg_json_unescape(j, i, &text)) {
        len = text.len < size - 1 ? text.len : size - 1;
        for (size_t k = 0; k < len; k++) out[k] = (unsigned char)text.ptr[k] < 0x20 ? ' ' : text.ptr[k];
        /* not in the middle of a character */
        while (len < text.len && len && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) len--;
        out[len] = '\0';
    } else {
        fine = text.failed != DPG_BUF_NO_MEMORY;
    }
    dpg_buf_clear(&text);
    return fine;
}

/* 1: there, and a token. 0: absent. -1: something else stands there. -2: no memory. */
static int take_token(const dpg_json *j, const char *key, dpg_buf *out)
{
    uint32_t i = dpg_json_member(j, 0, key);

    if (!i || j->values[i].type == DPG_JSON_NULL) return 0;
    if (j->values[i].type != DPG_JSON_STRING) return -1;
    if (!dpg_json_unescape(j, i, out)) return out->failed == DPG_BUF_NO_MEMORY ? -2 : -1;
    return dpg_wire_token_ok(dpg_buf_str(out)) ? 1 : -1;
}

/* A number, or a string that holds one; false for anything else. */
static bool number_member(const dpg_json *j, const char *key, double *out)
{
    uint32_t i = dpg_json_member(j, 0, key);
    int64_t n;

    if (!i) return false;
    switch (j->values[i].type) {
    case DPG_JSON_INTEGER: *out = (double)j->values[i].as.integer; return true;
    case DPG_JSON_NUMBER: *out = j->values[i].as.number; return true;
    case DPG_JSON_STRING:
        if (!dpg_header_number(dpg_str_of(j->text.ptr + j->values[i].start, j->values[i].as.len), INT64_MAX / 1000, &n))
            return false;
        *out = (double)n;
        return true;
    default: return false;
    }
}

/* `expires_in`, or `expires_at` as Unix seconds or ISO 8601 measured by the server's own Date, or neither. */
static int64_t read_life(const dpg_json *j, const dpg_header *headers, size_t n, int64_t now_unix_ms)
{
    const dpg_header *date = dpg_headers_find(headers, n, "date", NULL);
    int64_t date_s, at_ms;
    uint32_t i;
    double life;

    if (date && dpg_header_date(date->value, &date_s)) now_unix_ms = date_s * 1000;
    if (number_member(j, "expires_in", &life)) {
        life *= 1000;
    } else if (number_member(j, "expires_at", &life)) {
        life = life * 1000 - (double)now_unix_ms;
    } else if ((i = string_member(j, 0, "expires_at")) != 0 &&
               dpg_iso8601(dpg_str_of(j->text.ptr + j->values[i].start, j->values[i].as.len), &at_ms)) {
        life = (double)at_ms - (double)now_unix_ms;
    } else {
        return DEFAULT_LIFE_MS;
    }
    if (!(life >= 0)) return 0; /* also what is not a number */
    return life < (double)DPG_RETRY_AFTER_MAX_MS ? (int64_t)life : DPG_RETRY_AFTER_MAX_MS;
}

dpg_status dpg_wire_read_error(dpg_str body, dpg_error *err)
{
    dpg_json j = {0};
    dpg_status status = dpg_json_read(&j, body);
    uint32_t e = 0;

    if (status == DPG_OK) {
        if (j.values[0].type == DPG_JSON_OBJECT) e = dpg_json_member(&j, 0, "error");
        if (!e || j.values[e].type != DPG_JSON_OBJECT || !string_member(&j, e, "code")) status = DPG_E_INVALID;
        else if (!put_short(&j, e, "code", err->code, sizeof err->code) ||
                 !put_short(&j, e, "message", err->message, sizeof err->message) ||
                 !put_short(&j, e, "detail", err->detail, sizeof err->detail) ||
                 !put_short(&j, e, "request_id", err->request_id, sizeof err->request_id))
            status = DPG_E_NOMEM;
    }
    dpg_json_clear(&j);
    return status;
}

/* --- the token endpoint ------------------------------------------------------------------------------------------------ */

void dpg_exchange_clear(dpg_exchange *x)
{
    dpg_buf_clear(&x->access_token);
    dpg_buf_clear(&x->refresh_token);
}

static dpg_status read_tokens(dpg_str body, const dpg_header *headers, size_t n, int64_t now_unix_ms, dpg_exchange *out)
{
    dpg_json j = {0};
    dpg_status status = dpg_json_read(&j, body);
    int access = 0, refresh;

    out->verdict = DPG_VERDICT_IN_DOUBT;
    if (status == DPG_OK && j.values[0].type == DPG_JSON_OBJECT) {
        for (const char *const *name = access_names; *name && !access; name++)
            access = take_token(&j, *name, &out->access_token);
        refresh = take_token(&j, refresh_name, &out->refresh_token);
        out->life_ms = read_life(&j, headers, n, now_unix_ms);
        if (access == 1 && refresh >= 0) out->verdict = DPG_VERDICT_TOKENS;
        if (access == -2 || refresh == -2) status = DPG_E_NOMEM;
    }
    dpg_json_clear(&j);
    return status == DPG_E_NOMEM ? status : DPG_OK;
}

dpg_status dpg_wire_read_exchange(int status, const dpg_header *headers, size_t header_count, dpg_str body,
                                  int64_t now_unix_ms, dpg_exchange *out)
{
    const dpg_header *id = dpg_headers_find(headers, header_count, "x-request-id", NULL);
    dpg_status read;

    dpg_buf_init_secret(&out->access_token, 32 * 1024);
    dpg_buf_init_secret(&out->refresh_token, 32 * 1024);
    out->retry_after_ms = dpg_headers_retry_after(headers, header_count, now_unix_ms);
    if (status >= 200 && status < 300) {
        if (read_tokens(body, headers, header_count, now_unix_ms, out) != DPG_OK) {
            dpg_exchange_clear(out);
            return DPG_E_NOMEM;
        }
        if (out->verdict == DPG_VERDICT_TOKENS) return DPG_OK;
        dpg_fail(&out->error, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "unreadable_answer",
                 "the token endpoint answered %d with something that is not a token answer", status);
    } else {
        dpg_fail(&out->error, DPG_E_SYSTEM, DPG_KIND_API, status == 429 ? "rate_limited" : "http_error",
                 "the token endpoint answered %d", status);
        if ((read = dpg_wire_read_error(body, &out->error)) == DPG_E_NOMEM) {
            dpg_exchange_clear(out);
            return DPG_E_NOMEM;
        }
        if (read == DPG_OK) { /* whoever reads it asked for something else: say whose answer this is */
            char words[sizeof out->error.message];

            memcpy(words, out->error.message, sizeof words);
            snprintf(out->error.message, sizeof out->error.message, "the token exchange was turned down: %.280s",
                     words);
        }
        if (read == DPG_OK &&
            (status == 401 || ((status == 400 || status == 403) && is_named(refusals, dpg_cstr(out->error.code)))))
            out->verdict = DPG_VERDICT_REFUSED;
        else /* 408: the server gave up on a request that it may have had */
            out->verdict =
                status >= 400 && status < 500 && status != 408 ? DPG_VERDICT_NOT_TAKEN : DPG_VERDICT_IN_DOUBT;
    }
    out->error.http_status = status;
    out->error.retry_after_ms = out->retry_after_ms;
    if (id && !out->error.request_id[0])
        snprintf(out->error.request_id, sizeof out->error.request_id, "%.*s",
                 (int)(id->value.len < 71 ? id->value.len : 71), id->value.ptr);
    return DPG_OK;
}

/* --- files -------------------------------------------------------------------------------------------------------------- */

bool dpg_wire_is_page(const dpg_header *headers, size_t header_count)
{
    const dpg_str page = DPG_LIT("text/html"); /* A: none of DPG's files is one */
    const dpg_header *h = dpg_headers_find(headers, header_count, "content-type", NULL);

    return h && h->value.len >= page.len && dpg_str_eq_nocase(dpg_str_of(h->value.ptr, page.len), page);
}

/* --- sign-in ------------------------------------------------------------------------------------------------------------ */

void dpg_signed_in_clear(dpg_signed_in *s)
{
    dpg_buf_clear(&s->refresh_token);
    dpg_buf_clear(&s->accounts);
    dpg_buf_clear(&s->person);
}

static bool put_text(const dpg_json *j, const char *key, dpg_json_type type, dpg_buf *out)
{
    uint32_t i = dpg_json_member(j, 0, key);

    if (out->len || !i || j->values[i].type != type) return true;
    return dpg_buf_put_str(out, dpg_json_text(j, i)) || out->failed != DPG_BUF_NO_MEMORY;
}

dpg_sign_in_answer dpg_wire_read_sign_in(dpg_str body, dpg_signed_in *out)
{
    dpg_json j = {0};
    dpg_status status = dpg_json_read(&j, body);
    dpg_sign_in_answer answer = DPG_SIGN_IN_UNREADABLE;
    bool fine = true;
    int token;

    dpg_buf_init_secret(&out->refresh_token, 32 * 1024);
    dpg_buf_init(&out->accounts, 512 * 1024);
    dpg_buf_init(&out->person, 64 * 1024);
    if (status == DPG_OK && j.values[0].type == DPG_JSON_OBJECT) {
        token = take_token(&j, refresh_name, &out->refresh_token);
        if (token == 1) {
            answer = DPG_SIGN_IN_DONE;
            fine = put_text(&j, accounts_name, DPG_JSON_ARRAY, &out->accounts);
            for (const char *const *name = person_names; *name; name++)
                fine = put_text(&j, *name, DPG_JSON_OBJECT, &out->person) && fine;
        } else if (token == 0 && string_member(&j, 0, mfa_name)) {
            answer = DPG_SIGN_IN_MFA;
        }
        fine = fine && token != -2;
    }
    if (status == DPG_E_NOMEM || !fine) answer = DPG_SIGN_IN_NOMEM;
    dpg_json_clear(&j);
    if (answer != DPG_SIGN_IN_DONE) dpg_signed_in_clear(out);
    return answer;
}
