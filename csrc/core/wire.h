/*
 * What the core itself reads and writes on the wire: the token endpoint, and the tokens in sign-in answers. The
 * assumptions behind it (marked A in the API's description) stand in wire.c, and nowhere else in the core; those of the
 * Lua side stand in lua/dpg/wire.lua. Pure.
 */
#ifndef DPG_WIRE_H
#define DPG_WIRE_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* A token that may be sent as a bearer: 1 to 16 KiB of visible ASCII. */
bool dpg_wire_token_ok(dpg_str token);

bool dpg_wire_exchange_url(dpg_str base_url, dpg_buf *out);
bool dpg_wire_exchange_body(dpg_str refresh_token, dpg_str account, dpg_buf *out);

typedef enum dpg_verdict {
    DPG_VERDICT_TOKENS,    /* a new access token, and the next refresh token if it has changed */
    DPG_VERDICT_REFUSED,   /* "no", in DPG's own words: the refresh token is spent, revoked or unknown */
    DPG_VERDICT_NOT_TAKEN, /* the request was turned away before the token was looked at: 429, other 4xx */
    DPG_VERDICT_IN_DOUBT,  /* the token may have been spent: no answer, 5xx, something unreadable */
    DPG_VERDICT_UNSENT     /* the request certainly never left (said by the engine, never read from an answer) */
} dpg_verdict;

/* How one exchange ended. Buffers are secret. */
typedef struct dpg_exchange {
    dpg_verdict verdict;
    dpg_buf access_token, refresh_token; /* TOKENS; an empty refresh_token: not rotated */
    int64_t life_ms;
    int64_t retry_after_ms;               /* -1: not said */
    int64_t begun_boot_ms, begun_unix_ms; /* before it was sent */
    dpg_error error;                      /* anything but TOKENS: what to tell those who wait */
} dpg_exchange;
void dpg_exchange_clear(dpg_exchange *x);

/* Judge an answer to an exchange. DPG_E_NOMEM: ask again, the answer is still there; else *out is whole. */
dpg_status dpg_wire_read_exchange(int status, const dpg_header *headers, size_t header_count, dpg_str body,
                                  int64_t now_unix_ms, dpg_exchange *out);

typedef struct dpg_signed_in {
    dpg_buf refresh_token;    /* secret */
    dpg_buf accounts, person; /* JSON as it came; may be empty */
} dpg_signed_in;
void dpg_signed_in_clear(dpg_signed_in *s);

typedef enum dpg_sign_in_answer {
    DPG_SIGN_IN_DONE, /* *out holds the refresh token */
    DPG_SIGN_IN_MFA,  /* the second factor is asked for */
    DPG_SIGN_IN_UNREADABLE,
    DPG_SIGN_IN_NOMEM
} dpg_sign_in_answer;

/* Judge the body of a 2xx to sign_in or mfa. */
dpg_sign_in_answer dpg_wire_read_sign_in(dpg_str body, dpg_signed_in *out);

/*
 * An error in DPG's shape, for telling a server's own "no" from a middlebox's: DPG_OK, with what it says in *err;
 * DPG_E_INVALID: it is something else; DPG_E_NOMEM: ask again.
 */
dpg_status dpg_wire_read_error(dpg_str body, dpg_error *err);

/* Is it a web page? Then a proxy or a portal answers, whatever the status. */
bool dpg_wire_is_page(const dpg_header *headers, size_t header_count);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
