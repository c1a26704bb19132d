/*
 * Any bytes as the body of an answer of the token endpoint, under each kind of status, and as that of a sign-in.
 */
#include "must.h"

#include "headers.h"
#include "wire.h"

#include <string.h>

static bool is_line(const char *text, size_t size)
{
    MUST(memchr(text, '\0', size));
    for (; *text; text++)
        if ((unsigned char)*text < 0x20) return false;
    return true;
}

static void check_exchange(int status, dpg_str body)
{
    const dpg_header date = {DPG_LIT("date"), DPG_LIT("Sun, 06 Nov 1994 08:49:37 GMT")};
    dpg_exchange x;

    memset(&x, 0, sizeof x);
    MUST(dpg_wire_read_exchange(status, &date, body.len & 1, body, 784111777000, &x) == DPG_OK);
    switch (x.verdict) {
    case DPG_VERDICT_TOKENS:
        MUST(status >= 200 && status < 300);
        MUST(dpg_wire_token_ok(dpg_buf_str(&x.access_token)));
        MUST(!x.refresh_token.len || dpg_wire_token_ok(dpg_buf_str(&x.refresh_token)));
        MUST(x.life_ms >= 0 && x.life_ms <= DPG_RETRY_AFTER_MAX_MS);
        break;
    case DPG_VERDICT_REFUSED: MUST(status == 400 || status == 401 || status == 403); break;
    case DPG_VERDICT_NOT_TAKEN: MUST(status >= 400 && status < 500 && status != 408); break;
    case DPG_VERDICT_IN_DOUBT: MUST(status < 400 || status >= 500 || status == 408); break;
    default: MUST(false); /* no answer can bring another one */
    }
    if (x.verdict != DPG_VERDICT_TOKENS) {
        MUST(x.error.kind != DPG_KIND_NONE && x.error.http_status == status);
        MUST(is_line(x.error.code, sizeof x.error.code) && is_line(x.error.message, sizeof x.error.message));
        MUST(is_line(x.error.detail, sizeof x.error.detail) && is_line(x.error.request_id, sizeof x.error.request_id));
    }
    dpg_exchange_clear(&x);
}

static void check_sign_in(dpg_str body)
{
    dpg_signed_in s;

    memset(&s, 0, sizeof s);
    switch (dpg_wire_read_sign_in(body, &s)) {
    case DPG_SIGN_IN_DONE: MUST(dpg_wire_token_ok(dpg_buf_str(&s.refresh_token))); break;
    case DPG_SIGN_IN_NOMEM: MUST(false); break;
    default: MUST(!s.refresh_token.ptr && !s.accounts.ptr && !s.person.ptr);
    }
    dpg_signed_in_clear(&s);
}

static void check_request(dpg_str token)
{
    dpg_buf body;

    dpg_buf_init_secret(&body, (size_t)8 << 20);
    MUST(dpg_wire_exchange_body(token, token, &body));
    MUST(!memchr(body.ptr, '\n', body.len));
    dpg_buf_clear(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 302, 400, 401, 403, 404, 408, 429, 500};
    dpg_str body = dpg_str_of((const char *)data, size);

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) check_exchange(statuses[i], body);
    check_sign_in(body);
    check_request(body);
    return 0;
}
