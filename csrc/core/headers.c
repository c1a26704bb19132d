/*
 * Reading response headers, dates and URLs, as headers.h says: bytes in, values out. Each reader takes a cursor through
 * its text and succeeds only at the very end of it. Nothing here knows the time: who has a clock hands it in.
 */
#include "headers.h"

#include <stdio.h>
#include <string.h>

/* --- characters and cursors ---------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_token(char c) /* RFC 9110 section 5.6.2: letters, digits and !#$%&'*+-.^_`|~, a bit for each */
{
    static const uint32_t bits[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
    unsigned char at = (unsigned char)c;

    return bits[at >> 5] >> (at & 31) & 1;
}

static dpg_str trim(dpg_str s)
{
    while (s.len && is_blank(s.ptr[0])) s.ptr++, s.len--;
    while (s.len && is_blank(s.ptr[s.len - 1])) s.len--;
    return s;
}

/* The readers below go behind what they read, and leave the cursor anywhere when it isn't there. */
static bool take(dpg_str *s, dpg_str what)
{
    if (s->len < what.len || memcmp(s->ptr, what.ptr, what.len) != 0) return false;
    s->ptr += what.len;
    s->len -= what.len;
    return true;
}

static bool take_one_of(dpg_str *s, const char *set)
{
    if (!s->len || s->ptr[0] == '\0' || !strchr(set, s->ptr[0])) return false;
    s->ptr++;
    s->len--;
    return true;
}

/* Exactly `n` digits. */
static bool take_digits(dpg_str *s, size_t n, int *out)
{
    int value = 0;

    if (s->len < n) return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(s->ptr[i])) return false;
        value = value * 10 + (s->ptr[i] - '0');
    }
    s->ptr += n;
    s->len -= n;
    *out = value;
    return true;
}

/* One of `count` names; its place in the list, or -1. */
static int take_name(dpg_str *s, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (take(s, dpg_cstr(names[i]))) return i;
    return -1;
}

/* --- fields -------------------------------------------------------------------------------------------------------- */

const dpg_header *dpg_headers_find(const dpg_header *headers, size_t n, const char *name, size_t *count)
{
    const dpg_header *first = NULL;
    dpg_str wanted = dpg_cstr(name);
    size_t found = 0;

    for (size_t i = 0; i < n; i++) {
        if (!dpg_str_eq_nocase(headers[i].name, wanted)) continue;
        if (found++ == 0) first = &headers[i];
    }
    if (count) *count = found;
    return first;
}

bool dpg_header_name_ok(dpg_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_token(name.ptr[i])) return false;
    return name.len > 0;
}

bool dpg_header_value_ok(dpg_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] == '\r' || value.ptr[i] == '\n' || value.ptr[i] == '\0') return false;
    return true;
}

bool dpg_header_line(dpg_str line, dpg_str *name, dpg_str *value)
{
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    dpg_str before, after;

    if (!colon) return false;
    before = dpg_str_of(line.ptr, (size_t)(colon - line.ptr));
    after = trim(dpg_str_of(colon + 1, line.len - before.len - 1));
    /* a blank before the colon, a folded line, "HTTP/1.1 200 so: fine": none of them starts with a token */
    if (!dpg_header_name_ok(before) || !dpg_header_value_ok(after)) return false;
    *name = before;
    *value = after;
    return true;
}

bool dpg_header_number(dpg_str value, int64_t max, int64_t *out)
{
    int64_t number = 0;

    value = trim(value);
    if (!value.len) return false;
    for (size_t i = 0; i < value.len; i++) {
        int digit = value.ptr[i] - '0';

        if (!is_digit(value.ptr[i]) || number > (INT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    if (number > max) return false;
    *out = number;
    return true;
}

/* A whole number, up to what an int64_t holds. */
static bool take_whole(dpg_str *s, int64_t *out)
{
    int64_t n = 0;
    size_t len = 0;

    while (len < s->len && is_digit(s->ptr[len])) {
        if (n > (INT64_MAX - 9) / 10) return false;
        n = n * 10 + (s->ptr[len++] - '0');
    }
    *s = dpg_str_of(s->ptr + len, s->len - len);
    *out = n;
    return len > 0;
}

bool dpg_header_range(dpg_str value, int64_t *first, int64_t *last, int64_t *whole)
{
    dpg_str s = trim(value);
    int64_t from, to, of = -1;

    if (s.len < 6 || !dpg_str_eq_nocase(dpg_str_of(s.ptr, 6), DPG_LIT("bytes "))) return false;
    s = trim(dpg_str_of(s.ptr + 6, s.len - 6));
    if (!take_whole(&s, &from) || !take(&s, DPG_LIT("-")) || !take_whole(&s, &to) || !take(&s, DPG_LIT("/")))
        return false;
    if (!take(&s, DPG_LIT("*")) && !take_whole(&s, &of)) return false;
    if (s.len || from > to || (of >= 0 && to >= of)) return false;
    *first = from;
    *last = to;
    *whole = of;
    return true;
}

/* --- dates --------------------------------------------------------------------------------------------------------- */

typedef struct date {
    int year, month, day, hour, minute, second; /* month and day from 1 */
} date;

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/*
 * Our own, since timegm() is not in C11. A leap second (60) counts as the first second of the next minute, as in POSIX.
 * The year counts from March, so that the leap day is its last.
 */
static bool date_to_unix(const date *d, int64_t *unix_s)
{
    int64_t year, days;

    if (d->month < 1 || d->month > 12 || d->day < 1 || d->day > days_in_month(d->year, d->month)) return false;
    if (d->hour > 23 || d->minute > 59 || d->second > 60) return false;
    year = d->year - (d->month <= 2) + 400; /* never negative, whole cycles of the calendar later */
    days = year * 365 + year / 4 - year / 100 + year / 400;
    days += (153 * ((d->month + 9) % 12) + 2) / 5 + d->day - 1;
    days -= 719468 + 146097; /* from 1 March of year 0 to 1970; and those 400 years */
    *unix_s = ((days * 24 + d->hour) * 60 + d->minute) * 60 + d->second;
    return true;
}

static bool take_time(dpg_str *s, date *d)
{
    return take_digits(s, 2, &d->hour) && take(s, DPG_LIT(":")) && take_digits(s, 2, &d->minute) &&
           take(s, DPG_LIT(":")) && take_digits(s, 2, &d->second);
}

static bool take_month(dpg_str *s, date *d)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    return (d->month = take_name(s, months, 12) + 1) > 0;
}

/* The weekday must be one; that it is the right one nobody checks, since the numbers say which day is meant. */
static bool take_weekday(dpg_str *s)
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

    return take_name(s, days, 7) >= 0;
}

static bool read_imf(dpg_str s, date *d) /* Sun, 06 Nov 1994 08:49:37 GMT */
{
    return take_weekday(&s) && take(&s, DPG_LIT(", ")) && take_digits(&s, 2, &d->day) && take(&s, DPG_LIT(" ")) &&
           take_month(&s, d) && take(&s, DPG_LIT(" ")) && take_digits(&s, 4, &d->year) && take(&s, DPG_LIT(" ")) &&
           take_time(&s, d) && take(&s, DPG_LIT(" GMT")) && s.len == 0;
}

/*
 * Sunday, 06-Nov-94 08:49:37 GMT. RFC 9110 measures the two digits against today, which a pure function doesn't know:
 * here 70 to 99 are 1970 to 1999, and 00 to 69 are 2000 to 2069. The two differ only for dates decades away.
 */
static bool read_rfc850(dpg_str s, date *d)
{
    static const char *const days[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};

    if (take_name(&s, days, 7) < 0 || !take(&s, DPG_LIT(", ")) || !take_digits(&s, 2, &d->day) ||
        !take(&s, DPG_LIT("-")) || !take_month(&s, d) || !take(&s, DPG_LIT("-")) || !take_digits(&s, 2, &d->year) ||
        !take(&s, DPG_LIT(" ")) || !take_time(&s, d) || !take(&s, DPG_LIT(" GMT")) || s.len)
        return false;
    d->year += d->year < 70 ? 2000 : 1900;
    return true;
}

static bool read_asctime(dpg_str s, date *d) /* Sun Nov  6 08:49:37 1994 */
{
    if (!take_weekday(&s) || !take(&s, DPG_LIT(" ")) || !take_month(&s, d) || !take(&s, DPG_LIT(" "))) return false;
    if (!take_digits(&s, take(&s, DPG_LIT(" ")) ? 1 : 2, &d->day)) return false;
    return take(&s, DPG_LIT(" ")) && take_time(&s, d) && take(&s, DPG_LIT(" ")) && take_digits(&s, 4, &d->year) &&
           s.len == 0;
}

bool dpg_header_date(dpg_str value, int64_t *unix_s)
{
    date d;

    value = trim(value);
    return (read_imf(value, &d) || read_rfc850(value, &d) || read_asctime(value, &d)) && date_to_unix(&d, unix_s);
}

/* The fraction of a second behind its point, in milliseconds: cut off, `more` says whether something was lost. */
static bool take_fraction(dpg_str *s, int *ms, bool *more)
{
    int value = 0, place = 100;

    *more = false;
    if (!s->len || !is_digit(s->ptr[0])) return false;
    for (; s->len && is_digit(s->ptr[0]); s->ptr++, s->len--) {
        value += (s->ptr[0] - '0') * place;
        if (place == 0 && s->ptr[0] != '0') *more = true;
        place /= 10;
    }
    *ms = value;
    return true;
}

bool dpg_iso8601(dpg_str s, int64_t *unix_ms)
{
    date d;
    int64_t unix_s;
    int ms = 0, hours = 0, minutes = 0;
    bool more, west;

    if (!take_digits(&s, 4, &d.year) || !take(&s, DPG_LIT("-")) || !take_digits(&s, 2, &d.month) ||
        !take(&s, DPG_LIT("-")) || !take_digits(&s, 2, &d.day) || !take_one_of(&s, "Tt") || !take_time(&s, &d))
        return false;
    if (take(&s, DPG_LIT(".")) && !take_fraction(&s, &ms, &more)) return false;
    if (!take_one_of(&s, "Zz")) { /* without an offset it would be a guess */
        west = s.len && s.ptr[0] == '-';
        if (!take_one_of(&s, "+-") || !take_digits(&s, 2, &hours)) return false;
        take(&s, DPG_LIT(":")); /* PHP's DATE_ISO8601 writes +0100 */
        if (!take_digits(&s, 2, &minutes) || hours > 23 || minutes > 59) return false;
        if (west) hours = -hours, minutes = -minutes;
    }
    if (s.len || !date_to_unix(&d, &unix_s)) return false;
    *unix_ms = (unix_s - hours * 3600 - minutes * 60) * 1000 + ms;
    return true;
}

/* --- Retry-After --------------------------------------------------------------------------------------------------- */

/* "120", "1.5": in milliseconds, rounded up, at most DPG_RETRY_AFTER_MAX_MS; -1: not that. */
static int64_t read_seconds(dpg_str s)
{
    int64_t ms = 0;
    int fraction = 0;
    bool more = false;

    if (!s.len || !is_digit(s.ptr[0])) return -1;
    for (; s.len && is_digit(s.ptr[0]); s.ptr++, s.len--)
        if (ms < DPG_RETRY_AFTER_MAX_MS) ms = ms * 10 + (int64_t)(s.ptr[0] - '0') * 1000;
    if (take(&s, DPG_LIT(".")) && !take_fraction(&s, &fraction, &more)) return -1;
    if (s.len) return -1;
    ms += fraction + more;
    return ms < DPG_RETRY_AFTER_MAX_MS ? ms : DPG_RETRY_AFTER_MAX_MS;
}

int64_t dpg_headers_retry_after(const dpg_header *headers, size_t n, int64_t now_unix_ms)
{
    size_t dates;
    const dpg_header *sent;
    int64_t base_ms = now_unix_ms, longest = -1, unix_s, wait;

    if (!dpg_headers_find(headers, n, "retry-after", NULL)) return -1; /* nearly always */
    sent = dpg_headers_find(headers, n, "date", &dates);
    if (sent && dates == 1 && dpg_header_date(sent->value, &unix_s)) base_ms = unix_s * 1000;
    for (size_t i = 0; i < n; i++) {
        if (!dpg_str_eq_nocase(headers[i].name, DPG_LIT("retry-after"))) continue;
        wait = read_seconds(trim(headers[i].value));
        if (wait < 0 && dpg_header_date(headers[i].value, &unix_s)) {
            uint64_t apart = (uint64_t)(unix_s * 1000) - (uint64_t)base_ms; /* no now, however absurd, overflows */

            if (unix_s * 1000 <= base_ms) wait = 0;
            else wait = apart < (uint64_t)DPG_RETRY_AFTER_MAX_MS ? (int64_t)apart : DPG_RETRY_AFTER_MAX_MS;
        }
        if (wait > longest) longest = wait;
    }
    return longest;
}

/* --- URLs ---------------------------------------------------------------------------------------------------------- */

/* Four numbers of 0 to 255, without zeros in front (which some read as octal); `first` is the first of them. */
static bool read_ipv4(dpg_str s, int *first)
{
    for (int i = 0; i < 4; i++) {
        size_t n = 0;
        int part;

        if (i > 0 && !take(&s, DPG_LIT("."))) return false;
        while (n < s.len && n < 3 && is_digit(s.ptr[n])) n++;
        if (n == 0 || (n > 1 && s.ptr[0] == '0') || !take_digits(&s, n, &part) || part > 255) return false;
        if (i == 0) *first = part;
    }
    return s.len == 0;
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What some take for a part of an IPv4 address: digits, or 0x and hex digits; a last dot doesn't count. */
static bool is_number(dpg_str label)
{
    bool hex = label.len >= 2 && label.ptr[0] == '0' && (label.ptr[1] == 'x' || label.ptr[1] == 'X');

    if (label.len && label.ptr[label.len - 1] == '.') label.len--;
    for (size_t i = hex ? 2 : 0; i < label.len; i++)
        if (hex ? !is_hex(label.ptr[i]) : !is_digit(label.ptr[i])) return false;
    return true;
}

/* Between its brackets: groups of one to four hex digits, eight of them or a "::"; an IPv4 tail counts as two. */
static bool read_ipv6(dpg_str s)
{
    int groups = 0, ipv4;
    bool gap = false;

    if (take(&s, DPG_LIT("::"))) gap = true;
    while (s.len && groups < 8) {
        size_t n = 0;

        if (groups <= 6 && read_ipv4(s, &ipv4)) {
            groups += 2;
            s.len = 0;
            break;
        }
        while (n < s.len && n < 5 && is_hex(s.ptr[n])) n++;
        if (n == 0 || n > 4) return false;
        s.ptr += n;
        s.len -= n;
        groups++;
        if (!s.len) break;
        if (take(&s, DPG_LIT("::"))) {
            if (gap) return false;
            gap = true;
        } else if (!take(&s, DPG_LIT(":")) || !s.len) {
            return false;
        }
    }
    return s.len == 0 && (gap ? groups <= 7 : groups == 8);
}

/*
 * A host name of letters, digits, "-", "_" and single dots, or an address. What ends in a number must be an address as
 * everybody writes it: libcurl and others read "127.1", "0x7f.1" and "2130706433" as 127.0.0.1, and so an origin of
 * ours would have two names.
 */
static bool read_host(dpg_str host, bool *loopback)
{
    size_t label = 0; /* where the last label that isn't empty starts */
    int first;

    *loopback = false;
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        *loopback = dpg_str_eq(host, DPG_LIT("[::1]"));
        return read_ipv6(dpg_str_of(host.ptr + 1, host.len - 2));
    }
    if (host.len == 0 || host.len > 253) return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];

        if (c == '.') {
            if (i == 0 || host.ptr[i - 1] == '.') return false;
            if (i + 1 < host.len) label = i + 1;
        } else if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_') {
            return false;
        }
    }
    if (read_ipv4(host, &first)) {
        *loopback = first == 127;
        return true;
    }
    *loopback = dpg_str_eq_nocase(host, DPG_LIT("localhost"));
    return !is_number(dpg_str_of(host.ptr + label, host.len - label));
}

static bool read_scheme(dpg_str *s, bool *https)
{
    const dpg_str schemes[] = {DPG_LIT("http://"), DPG_LIT("https://")};

    for (size_t i = 0; i < 2; i++) {
        size_t len = schemes[i].len;

        if (s->len < len || !dpg_str_eq_nocase(dpg_str_of(s->ptr, len), schemes[i])) continue;
        *s = dpg_str_of(s->ptr + len, s->len - len);
        *https = i == 1;
        return true;
    }
    return false;
}

static bool read_port(dpg_str s, int *port)
{
    int64_t number;

    if (s.len == 0 || !is_digit(s.ptr[0]) || s.ptr[0] == '0' || is_blank(s.ptr[s.len - 1])) return false;
    if (!dpg_header_number(s, 65535, &number)) return false;
    *port = (int)number;
    return true;
}

bool dpg_url_chars_ok(dpg_str text)
{
    for (size_t i = 0; i < text.len; i++) { /* a fragment is not for the server, so it is refused too */
        unsigned char c = (unsigned char)text.ptr[i];

        if (c <= ' ' || c == 0x7f || c == '\\' || c == '#') return false;
    }
    return true;
}

bool dpg_url_read(dpg_str text, dpg_url *out)
{
    dpg_url url;
    size_t end = 0, colon;

    memset(&url, 0, sizeof url);
    if (!dpg_url_chars_ok(text)) return false;
    if (!read_scheme(&text, &url.https)) return false;
    while (end < text.len && text.ptr[end] != '/' && text.ptr[end] != '?') end++;
    url.target = dpg_str_of(text.ptr + end, text.len - end);
    /* the port's colon is the last one, unless that stands inside the brackets of an IPv6 address */
    for (colon = end; colon > 0 && text.ptr[colon - 1] != ':' && text.ptr[colon - 1] != ']'; colon--) continue;
    url.port = url.https ? 443 : 80;
    if (colon > 0 && text.ptr[colon - 1] == ':') {
        if (!read_port(dpg_str_of(text.ptr + colon, end - colon), &url.port)) return false;
        end = colon - 1;
    }
    url.host = dpg_str_of(text.ptr, end);
    if (!read_host(url.host, &url.loopback)) return false;
    snprintf(url.origin, sizeof url.origin, "%s://%.*s:%d", url.https ? "https" : "http", (int)url.host.len,
             url.host.ptr, url.port);
    for (char *c = url.origin; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + ('a' - 'A'));
    *out = url;
    return true;
}
