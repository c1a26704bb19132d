/*
 * Reading the response headers that steer a call: Retry-After, Date, numbers. Pure and strict: what can't be read is
 * "not said", never a guess, and no value, however absurd, overflows or hangs anybody.
 */
#ifndef DPG_HEADERS_H
#define DPG_HEADERS_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* The first header with this name (lower case); NULL when absent. `count` (may be NULL): how many there are. */
const dpg_header *dpg_headers_find(const dpg_header *headers, size_t n, const char *name, size_t *count);

/* A whole non-negative number, blanks around it allowed, at most `max`; false for anything else. */
bool dpg_header_number(dpg_str value, int64_t max, int64_t *out);

/*
 * A Content-Range of bytes (RFC 9110 section 14.4): the first and the last byte of this part, and how many there are
 * of the whole, -1 when that is not said. False for anything else, a part that lies outside of the whole included.
 */
bool dpg_header_range(dpg_str value, int64_t *first, int64_t *last, int64_t *whole);

/*
 * An HTTP date in any of the three forms of RFC 9110 section 5.6.7, as Unix seconds; false for anything else. Two digits
 * of a year are 1970 to 2069. Whether the weekday is the right one is not asked.
 */
bool dpg_header_date(dpg_str value, int64_t *unix_s);

/*
 * How long Retry-After asks to wait, in milliseconds from now; -1 when it isn't there or can't be read. Seconds
 * (RFC 9110 section 10.2.3) are taken up to DPG_RETRY_AFTER_MAX_MS, larger ones count as that; a fraction ("1.5") is
 * accepted and rounded up. A date is measured against the answer's own Date header when that is readable, else against
 * `now_unix_ms`; one in the past is 0. Negative, "inf", "1e400", empty, not a number: -1. Said several times: the longest
 * readable one.
 */
#define DPG_RETRY_AFTER_MAX_MS ((int64_t)366 * 24 * 3600 * 1000)
int64_t dpg_headers_retry_after(const dpg_header *headers, size_t n, int64_t now_unix_ms);

/*
 * ISO 8601 / RFC 3339 (`2026-11-24T20:00:00Z`, fraction allowed; an offset instead of the Z) as Unix milliseconds, cut
 * off; false for anything else, also without Z or offset.
 */
bool dpg_iso8601(dpg_str text, int64_t *unix_ms);

/*
 * One line of a response head as libcurl hands it over, without its line end: a field (name in `name`, value trimmed in
 * `value`, both views into the line), or not one (a status line, an empty line, a line without a colon): false.
 */
bool dpg_header_line(dpg_str line, dpg_str *name, dpg_str *value);

/* May this name, and this value, leave? A token (RFC 9110 section 5.6.2); no CR, LF or NUL. */
bool dpg_header_name_ok(dpg_str name);
bool dpg_header_value_ok(dpg_str value);

/*
 * The parts of an absolute http(s) URL, as views. Refuses what it can't read whole: another scheme, user info, an empty
 * host, a port that is none, control characters, blanks, backslashes, a fragment, a host outside ASCII or with percent
 * signs, and numbers that only some take for an address ("127.1"). An IPv6 host keeps its brackets. `origin` is normalised
 * ("https://host:port", lower case, the port always there) into the caller's buffer.
 */
typedef struct dpg_url {
    bool https;
    bool loopback; /* 127.0.0.0/8, [::1] or localhost */
    int port;
    dpg_str host, target; /* target: path and query, may be empty */
    char origin[300];
} dpg_url;
bool dpg_url_read(dpg_str text, dpg_url *out);
bool dpg_url_chars_ok(dpg_str part); /* none of the characters that may stand nowhere in it */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
