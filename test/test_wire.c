/*
 * wire.c: which answers bring tokens, which are a "no", and which leave everybody in doubt.
 */
#include "check.h"
#include "headers.h"
#include "wire.h"

#define NOW INT64_C(1795000000000)

static dpg_exchange read_exchange(int status, const char *body)
{
    dpg_exchange x;

    memset(&x, 0, sizeof x);
    CHECK(dpg_wire_read_exchange(status, NULL, 0, dpg_cstr(body), NOW, &x) == DPG_OK);
    return x;
}

TEST("finds the tokens of an answer, by either name, and how long they live")
{
    static const struct {
        const char *body, *access, *refresh;
        int64_t life_ms;
    } cases[] = {
        {"{\"access_token\":\"at\",\"expires_in\":900,\"refresh_token\":\"rt\"}", "at", "rt", 900000},
        {"{\"token\":\"at\",\"expires_in\":60,\"refresh_token\":\"rt\"}", "at", "rt", 60000},
        {"{\"access_token\":null,\"token\":\"at\",\"refresh_token\":\"rt\"}", "at", "rt", 900000},
        {"{\"access_token\":\"at\",\"token\":\"other\"}", "at", "", 900000},
        {"{\"access_token\":\"at\",\"refresh_token\":null}", "at", "", 900000},
        {"{\"access_token\":\"\\u0061t\",\"refresh_token\":\"r\\/t\"}", "at", "r/t", 900000},
        {"{\"access_token\":\"at\",\"expires_in\":\"900\"}", "at", "", 900000},
        {"{\"access_token\":\"at\",\"expires_in\":1.5}", "at", "", 1500},
        {"{\"access_token\":\"at\",\"expires_in\":0}", "at", "", 0},
        {"{\"access_token\":\"at\",\"expires_in\":-5}", "at", "", 0},
        {"{\"access_token\":\"at\",\"expires_in\":1e400}", "at", "", DPG_RETRY_AFTER_MAX_MS},
        {"{\"access_token\":\"at\",\"expires_in\":99999999999999}", "at", "", DPG_RETRY_AFTER_MAX_MS},
        {"{\"access_token\":\"at\",\"expires_in\":\"soon\"}", "at", "", 900000},
        {"{\"access_token\":\"at\",\"expires_in\":[]}", "at", "", 900000},
        {"{\"access_token\":\"at\",\"expires_at\":1795000100}", "at", "", 100000},
        {"{\"access_token\":\"at\",\"expires_at\":\"1795000100\"}", "at", "", 100000},
        {"{\"access_token\":\"at\",\"expires_at\":1794999999}", "at", "", 0},
        {"{\"access_token\":\"at\",\"expires_at\":\"2026-11-18T11:08:20Z\"}", "at", "", 100000},
        {"{\"access_token\":\"at\",\"expires_at\":\"tomorrow\"}", "at", "", 900000},
        {"{\"access_token\":\"at\",\"expires_in\":60,\"expires_at\":1}", "at", "", 60000},
        {" {\"access_token\":\"at\"} \n", "at", "", 900000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_exchange x = read_exchange(i % 2 ? 201 : 200, cases[i].body);

        CHECK_INT(x.verdict, DPG_VERDICT_TOKENS);
        CHECK_MEM(x.access_token.ptr ? x.access_token.ptr : "", x.access_token.len, cases[i].access,
                  strlen(cases[i].access));
        CHECK_MEM(x.refresh_token.ptr ? x.refresh_token.ptr : "", x.refresh_token.len, cases[i].refresh,
                  strlen(cases[i].refresh));
        if (x.life_ms != cases[i].life_ms) CHECK_FAIL("%s: %lld ms", cases[i].body, (long long)x.life_ms);
        dpg_exchange_clear(&x);
    }
}

TEST("measures a moment of expiry by the server's own clock")
{
    const dpg_header date = {DPG_LIT("date"), DPG_LIT("Sun, 06 Nov 1994 08:49:37 GMT")};
    dpg_exchange x;

    memset(&x, 0, sizeof x);
    CHECK(dpg_wire_read_exchange(200, &date, 1, DPG_LIT("{\"token\":\"t\",\"expires_at\":784111877}"), NOW, &x) ==
          DPG_OK);
    CHECK_INT(x.life_ms, 100000);
    dpg_exchange_clear(&x);
    memset(&x, 0, sizeof x);
    CHECK(dpg_wire_read_exchange(200, &date, 1, DPG_LIT("{\"token\":\"t\",\"expires_at\":\"1994-11-06T08:51:17Z\"}"),
                                 NOW, &x) == DPG_OK);
    CHECK_INT(x.life_ms, 100000);
    dpg_exchange_clear(&x);
}

TEST("is in doubt about a 2xx that holds no readable tokens")
{
    static const char *const bodies[] = {
        "",
        "<html>",
        "null",
        "[]",
        "{}",
        "{\"refresh_token\":\"rt\"}",
        "{\"access_token\":\"\"}",
        "{\"access_token\":7}",
        "{\"access_token\":{\"token\":\"t\"}}",
        "{\"access_token\":\"a b\"}",
        "{\"access_token\":\"a\\u0000b\"}",
        "{\"access_token\":\"a\\r\\nX: y\"}",
        "{\"access_token\":\"caf\\u00e9\"}",
        "{\"access_token\":\"at\",\"refresh_token\":\"\"}",
        "{\"access_token\":\"at\",\"refresh_token\":\"r t\"}",
        "{\"access_token\":\"at\",\"refresh_token\":\"r\\u0007\"}",
        "{\"access_token\":\"at\",\"refresh_token\":5}",
        "{\"access_token\":\"at\",\"refresh_token\":[\"rt\"]}",
        "{\"access_token\":\"at\",\"refresh_token\":\"rt\"",
        "{\"error\":{\"code\":\"unauthorized\"}}",
    };

    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        dpg_exchange x = read_exchange(200, bodies[i]);

        if (x.verdict != DPG_VERDICT_IN_DOUBT) CHECK_FAIL("not in doubt: %s", bodies[i]);
        CHECK_STR(x.error.code, "unreadable_answer");
        CHECK_INT(x.error.kind, DPG_KIND_PROTOCOL);
        CHECK_INT(x.error.http_status, 200);
        dpg_exchange_clear(&x);
    }
}

TEST("tells a refusal from what was not taken and from what is in doubt")
{
    static const char ours[] = "{\"error\":{\"code\":\"unauthorized\"}}", html[] = "<html>";
    static const struct {
        int status;
        const char *body;
        dpg_verdict verdict;
    } cases[] = {
        {401, ours, DPG_VERDICT_REFUSED},
        {401, html, DPG_VERDICT_NOT_TAKEN},
        {401, "", DPG_VERDICT_NOT_TAKEN},
        {401, "{\"error\":\"unauthorized\"}", DPG_VERDICT_NOT_TAKEN},
        {401, "{\"error\":{\"code\":401}}", DPG_VERDICT_NOT_TAKEN},
        {401, "{\"error\":{}}", DPG_VERDICT_NOT_TAKEN},
        {401, "[{\"error\":{\"code\":\"unauthorized\"}}]", DPG_VERDICT_NOT_TAKEN},
        {400, ours, DPG_VERDICT_NOT_TAKEN},
        {400, "{\"error\":{\"code\":\"invalid_grant\"}}", DPG_VERDICT_REFUSED},
        {403, "{\"error\":{\"code\":\"invalid_token\"}}", DPG_VERDICT_REFUSED},
        {403, "{\"error\":{\"code\":\"token_expired\"}}", DPG_VERDICT_REFUSED},
        {400, "{\"error\":{\"code\":\"token_revoked\"}}", DPG_VERDICT_REFUSED},
        {403, "{\"error\":{\"code\":\"api_not_enabled\"}}", DPG_VERDICT_NOT_TAKEN},
        {403, "{\"error\":{\"code\":\"INVALID_GRANT\"}}", DPG_VERDICT_NOT_TAKEN},
        {404, "{\"error\":{\"code\":\"invalid_grant\"}}", DPG_VERDICT_NOT_TAKEN},
        {429, ours, DPG_VERDICT_NOT_TAKEN},
        {429, html, DPG_VERDICT_NOT_TAKEN},
        {407, html, DPG_VERDICT_NOT_TAKEN},
        {422, ours, DPG_VERDICT_NOT_TAKEN},
        {408, html, DPG_VERDICT_IN_DOUBT},
        {500, ours, DPG_VERDICT_IN_DOUBT},
        {502, html, DPG_VERDICT_IN_DOUBT},
        {503, "{\"error\":{\"code\":\"invalid_grant\"}}", DPG_VERDICT_IN_DOUBT},
        {302, html, DPG_VERDICT_IN_DOUBT},
        {304, "", DPG_VERDICT_IN_DOUBT},
        {600, "", DPG_VERDICT_IN_DOUBT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_exchange x = read_exchange(cases[i].status, cases[i].body);

        if (x.verdict != cases[i].verdict) CHECK_FAIL("%d %s: %d", cases[i].status, cases[i].body, (int)x.verdict);
        CHECK_INT(x.error.http_status, cases[i].status);
        CHECK_INT(x.error.kind, DPG_KIND_API);
        dpg_exchange_clear(&x);
    }
}

TEST("passes on what the server says of its error, on one line and cut between characters")
{
    const dpg_header headers[] = {{DPG_LIT("x-request-id"), DPG_LIT("from-header")},
                                  {DPG_LIT("retry-after"), DPG_LIT("9")}};
    char body[2000], longest[1000];
    dpg_exchange x;

    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest + 318, "\xc3\xa9", 2);
    snprintf(body, sizeof body,
             "{\"error\":{\"code\":\"x\",\"message\":\"two\\nlines\\u0000\",\"detail\":\"%s\",\"request_id\":\"req\"}}",
             longest);
    memset(&x, 0, sizeof x);
    CHECK(dpg_wire_read_exchange(429, headers, 2, dpg_cstr(body), NOW, &x) == DPG_OK);
    CHECK_STR(x.error.code, "x");
    CHECK_STR(x.error.message, "the token exchange was turned down: two lines ");
    CHECK_INT(strlen(x.error.detail), 318);
    CHECK_STR(x.error.request_id, "req");
    CHECK_INT(x.retry_after_ms, 9000);
    CHECK_INT(x.error.retry_after_ms, 9000);
    dpg_exchange_clear(&x);
    memset(&x, 0, sizeof x);
    CHECK(dpg_wire_read_exchange(503, headers, 1, DPG_LIT(""), NOW, &x) == DPG_OK);
    CHECK_STR(x.error.request_id, "from-header");
    CHECK_STR(x.error.code, "http_error");
    CHECK_INT(x.retry_after_ms, -1);
    dpg_exchange_clear(&x);
}

TEST("writes the body of an exchange so that no token breaks out of it")
{
    dpg_buf body, url;

    dpg_buf_init_secret(&body, 1000);
    dpg_buf_init(&url, 1000);
    CHECK(dpg_wire_exchange_body(DPG_LIT("r\"t\\"), DPG_LIT("a"), &body));
    CHECK_STR(body.ptr, "{\"refresh_token\":\"r\\u0022t\\u005c\",\"account_uuid\":\"a\"}");
    CHECK(dpg_wire_exchange_url(DPG_LIT("https://h/v1"), &url));
    CHECK_STR(url.ptr, "https://h/v1/auth/token");
    dpg_buf_clear(&body);
    dpg_buf_clear(&url);
}

TEST("takes visible ASCII for a token, and nothing else")
{
    char big[16385];

    memset(big, 'x', sizeof big);
    CHECK(dpg_wire_token_ok(DPG_LIT("!~")));
    CHECK(dpg_wire_token_ok(dpg_str_of(big, 16384)));
    CHECK(!dpg_wire_token_ok(dpg_str_of(big, 16385)));
    CHECK(!dpg_wire_token_ok(DPG_LIT("")));
    for (int c = 0; c < 256; c++) {
        char one = (char)c;

        CHECK_INT(dpg_wire_token_ok(dpg_str_of(&one, 1)), c > 0x20 && c < 0x7f);
    }
}

TEST("tells tokens, the two-factor question and the unreadable apart in a sign-in answer")
{
    static const struct {
        const char *body;
        dpg_sign_in_answer answer;
    } cases[] = {
        {"{\"refresh_token\":\"rt\",\"accounts\":[]}", DPG_SIGN_IN_DONE},
        {"{\"refresh_token\":\"rt\"}", DPG_SIGN_IN_DONE},
        {"{\"refresh_token\":\"rt\",\"mfa_token\":\"m\"}", DPG_SIGN_IN_DONE},
        {"{\"mfa_token\":\"m\"}", DPG_SIGN_IN_MFA},
        {"{\"mfa_token\":\"m\",\"refresh_token\":null}", DPG_SIGN_IN_MFA},
        {"{\"mfa_token\":5}", DPG_SIGN_IN_UNREADABLE},
        {"{\"mfa_token\":\"m\",\"refresh_token\":5}", DPG_SIGN_IN_UNREADABLE},
        {"{\"refresh_token\":\"r t\"}", DPG_SIGN_IN_UNREADABLE},
        {"{\"refresh_token\":\"\"}", DPG_SIGN_IN_UNREADABLE},
        {"{}", DPG_SIGN_IN_UNREADABLE},
        {"[]", DPG_SIGN_IN_UNREADABLE},
        {"", DPG_SIGN_IN_UNREADABLE},
        {"<html>", DPG_SIGN_IN_UNREADABLE},
    };
    dpg_signed_in s;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&s, 0, sizeof s);
        if (dpg_wire_read_sign_in(dpg_cstr(cases[i].body), &s) != cases[i].answer) CHECK_FAIL("%s", cases[i].body);
        dpg_signed_in_clear(&s);
    }
}

TEST("keeps accounts and person as the server sent them, and leaves out what is too large to keep")
{
    dpg_signed_in s;
    char *big;

    memset(&s, 0, sizeof s);
    CHECK_INT(
        dpg_wire_read_sign_in(DPG_LIT("{\"refresh_token\":\"rt\",\"accounts\":[ {\"uuid\":\"a\", \"later\":1e2} ],"
                                      "\"user\":{\"name\":\"\\u00e9\"},\"person\":{\"n\":2}}"),
                              &s),
        DPG_SIGN_IN_DONE);
    CHECK_STR(s.refresh_token.ptr, "rt");
    CHECK_STR(s.accounts.ptr, "[ {\"uuid\":\"a\", \"later\":1e2} ]");
    CHECK_STR(s.person.ptr, "{\"name\":\"\\u00e9\"}");
    dpg_signed_in_clear(&s);
    memset(&s, 0, sizeof s);
    CHECK_INT(
        dpg_wire_read_sign_in(DPG_LIT("{\"refresh_token\":\"rt\",\"accounts\":{},\"user\":[],\"person\":{}}"), &s),
        DPG_SIGN_IN_DONE);
    CHECK_INT(s.accounts.len, 0);
    CHECK_STR(s.person.ptr, "{}");
    dpg_signed_in_clear(&s);
    big = malloc(600 * 1024);
    memset(big, ' ', 600 * 1024);
    memcpy(big, "{\"refresh_token\":\"rt\",\"accounts\":[", 34);
    memcpy(big + 600 * 1024 - 3, "]}", 3);
    memset(&s, 0, sizeof s);
    CHECK_INT(dpg_wire_read_sign_in(dpg_cstr(big), &s), DPG_SIGN_IN_DONE);
    CHECK_INT(s.accounts.len, 0);
    CHECK_STR(s.refresh_token.ptr, "rt");
    dpg_signed_in_clear(&s);
    free(big);
}

CHECK_MAIN()
