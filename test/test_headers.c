/*
 * headers.c: what it reads, and everything that it calls "not said". Every text ends at an unreadable page.
 */
#include "check.h"
#include "guard.h"
#include "headers.h"

#include <time.h>

/* --- fields -------------------------------------------------------------------------------------------------------- */

TEST("finds the first header of a name, in any case, and counts them")
{
    const dpg_header headers[] = {
        {DPG_LIT("etag"), DPG_LIT("\"1\"")},
        {DPG_LIT("retry-after"), DPG_LIT("1")},
        {DPG_LIT("Retry-After"), DPG_LIT("2")},
        {DPG_LIT("x-retry-after"), DPG_LIT("3")},
    };
    size_t count = 99;

    CHECK(dpg_headers_find(headers, 4, "retry-after", &count) == &headers[1]);
    CHECK_INT(count, 2);
    CHECK(dpg_headers_find(headers, 4, "etag", NULL) == &headers[0]);
    CHECK_NULL(dpg_headers_find(headers, 4, "retry", &count));
    CHECK_INT(count, 0);
    CHECK_NULL(dpg_headers_find(NULL, 0, "etag", &count));
}

TEST("splits a header line, and calls everything else none")
{
    static const struct {
        const char *line, *name, *value; /* name NULL: not a field */
    } cases[] = {
        {"Content-Type: application/json", "Content-Type", "application/json"},
        {"etag:\"abc\"", "etag", "\"abc\""},
        {"X-Empty:", "X-Empty", ""},
        {"X-Empty: \t ", "X-Empty", ""},
        {"A: \t b c \t", "A", "b c"},
        {"Date: Sun, 06 Nov 1994 08:49:37 GMT", "Date", "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"location: https://a:1/b", "location", "https://a:1/b"},
        {"x: caf\xc3\xa9", "x", "caf\xc3\xa9"},
        {"!#$%&'*+-.^_`|~09AZaz: v", "!#$%&'*+-.^_`|~09AZaz", "v"},
        {"", NULL, NULL},
        {"HTTP/1.1 200 OK", NULL, NULL},
        {"HTTP/1.1 200 so: fine", NULL, NULL},
        {"no colon", NULL, NULL},
        {": no name", NULL, NULL},
        {":status: 200", NULL, NULL},
        {"blank : before the colon", NULL, NULL},
        {" folded: line", NULL, NULL},
        {"\tfolded: line", NULL, NULL},
        {"na\xc3\xafve: x", NULL, NULL},
        {"a: b\rc", NULL, NULL},
        {"a: b\nc: d", NULL, NULL},
        {"a(b): c", NULL, NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_str name = DPG_LIT("untouched"), value = DPG_LIT("untouched");
        bool field = dpg_header_line(guarded_text(cases[i].line), &name, &value);

        if (field != (cases[i].name != NULL)) CHECK_FAIL("%s: %s a field", cases[i].line, field ? "is" : "is not");
        CHECK_MEM(name.ptr, name.len, cases[i].name ? cases[i].name : "untouched",
                  strlen(cases[i].name ? cases[i].name : "untouched"));
        CHECK_MEM(value.ptr, value.len, cases[i].name ? cases[i].value : "untouched",
                  strlen(cases[i].name ? cases[i].value : "untouched"));
    }
    CHECK(!dpg_header_line(guarded("a: b\0c", 6), &(dpg_str){0}, &(dpg_str){0}));
    CHECK(!dpg_header_line(dpg_str_of(NULL, 0), &(dpg_str){0}, &(dpg_str){0}));
}

TEST("lets no name leave that is not a token, and no value that could end its line")
{
    CHECK(dpg_header_name_ok(DPG_LIT("X-Api_Key.2")));
    CHECK(!dpg_header_name_ok(DPG_LIT("")));
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c > ' ' && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c));

        if (dpg_header_name_ok(guarded(&byte, 1)) != token) CHECK_FAIL("name of byte %d", c);
        if (dpg_header_value_ok(guarded(&byte, 1)) != (c != '\r' && c != '\n' && c != 0))
            CHECK_FAIL("value of byte %d", c);
    }
    CHECK(dpg_header_value_ok(DPG_LIT("")));
    CHECK(!dpg_header_value_ok(DPG_LIT("a\r\nEvil: yes")));
    CHECK(!dpg_header_value_ok(DPG_LIT("a\0")));
}

TEST("reads whole numbers up to a maximum, and nothing else")
{
    static const struct {
        const char *text;
        int64_t max, want; /* -1: refused */
    } cases[] = {
        {"0", 10, 0},
        {"10", 10, 10},
        {"11", 10, -1},
        {" \t7 ", 10, 7},
        {"007", 10, 7},
        {"9223372036854775807", INT64_MAX, INT64_MAX},
        {"9223372036854775808", INT64_MAX, -1},
        {"99999999999999999999999999", INT64_MAX, -1},
        {"00000000000000000000000000000001", INT64_MAX, 1},
        {"", 10, -1},
        {" ", 10, -1},
        {"-1", 10, -1},
        {"-0", 10, -1},
        {"+1", 10, -1},
        {"1.0", 10, -1},
        {"1e1", 10, -1},
        {"0x1", 10, -1},
        {"1 2", 10, -1},
        {"1,2", 10, -1},
        {"1;", 10, -1},
        {"one", 10, -1},
        {"\xd9\xa1", 10, -1},
        {"0", -1, -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got = -1;

        if (dpg_header_number(guarded_text(cases[i].text), cases[i].max, &got) != (cases[i].want >= 0) ||
            got != cases[i].want)
            CHECK_FAIL("\"%s\": %" PRId64, cases[i].text, got);
    }
    CHECK(!dpg_header_number(dpg_str_of(NULL, 0), 10, &(int64_t){0}));
}

/* --- dates --------------------------------------------------------------------------------------------------------- */

#define NOT_A_DATE INT64_MIN

static int64_t header_date(const char *text)
{
    int64_t at = NOT_A_DATE;

    if (!dpg_header_date(guarded_text(text), &at)) CHECK_INT(at, NOT_A_DATE);
    return at;
}

TEST("reads which part of the whole a Content-Range names, and nothing else")
{
    static const struct {
        const char *text;
        int64_t first, last, whole;
    } good[] = {{"bytes 0-0/1", 0, 0, 1},
                {"bytes 100-109/110", 100, 109, 110},
                {" Bytes  5-9/* ", 5, 9, -1},
                {"bytes 0-9223372036854775798/*", 0, INT64_C(9223372036854775798), -1}};
    static const char *const bad[] = {"",
                                      "bytes",
                                      "bytes ",
                                      "bytes 0-0",
                                      "bytes 0-0/",
                                      "bytes */5",
                                      "bytes 1-0/5",
                                      "bytes 0-5/5",
                                      "bytes 0-0/0",
                                      "bytes=0-0/1",
                                      "byte 0-0/1",
                                      "bytes -0/1",
                                      "bytes 0-/1",
                                      "bytes 0 -0/1",
                                      "bytes 0-0/1x",
                                      "bytes 0-0/**",
                                      "bytes +0-0/1",
                                      "bytes 0-0/1,",
                                      "bytes 0-9223372036854775808/*",
                                      "bytes 0-0/99999999999999999999"};
    int64_t first = -7, last = -7, whole = -7;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (dpg_header_range(guarded_text(bad[i]), &first, &last, &whole)) CHECK_FAIL("\"%s\" was read", bad[i]);
    CHECK(!dpg_header_range(dpg_str_of(NULL, 0), &first, &last, &whole));
    CHECK(first == -7 && last == -7 && whole == -7);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK(dpg_header_range(guarded_text(good[i].text), &first, &last, &whole));
        CHECK_INT(first, good[i].first);
        CHECK_INT(last, good[i].last);
        CHECK_INT(whole, good[i].whole);
    }
}

TEST("reads the three forms of an HTTP date")
{
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
        {"Tue Nov 24 20:00:00 2026", 1795550400},
        {"Tuesday, 24-Nov-26 20:00:00 GMT", 1795550400},
        {"Tue, 19 Jan 2038 03:14:08 GMT", 2147483648},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
        {"Friday, 31-Dec-99 23:59:59 GMT", 946684799},
        {"Thursday, 01-Jan-70 00:00:00 GMT", 0},
        {"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
        {"Tuesday, 31-Dec-69 23:59:59 GMT", 3155759999}, /* 00 to 69 are 2000 to 2069 */
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},   /* a leap second is the next second */
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},    /* it was a Sunday: the numbers count */
        {"  Sun, 06 Nov 1994 08:49:37 GMT\t", 784111777},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got = header_date(cases[i].text);

        if (got != cases[i].want) CHECK_FAIL("%s: %" PRId64 ", not %" PRId64, cases[i].text, got, cases[i].want);
    }
}

TEST("calls everything else no date")
{
    static const char *const cases[] = {
        "",
        "now",
        "0",
        "784111777",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT+1",
        "Sun, 06 Nov 1994 08:49:37 GMT ; x",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 GMT",
        "Sonntag, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 32 Dec 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 08:49:37 GMT",
        "Thu, 29 Feb 1900 08:49:37 GMT",
        "Thu, 30 Feb 2024 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08-49-37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06  08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov 31 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (header_date(cases[i]) != NOT_A_DATE) CHECK_FAIL("\"%s\" was read", cases[i]);
    CHECK(!dpg_header_date(dpg_str_of(NULL, 0), &(int64_t){0}));
}

TEST("a date cut off anywhere is none")
{
    static const char *const whole[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    int64_t at;

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        for (size_t len = 0; len < strlen(whole[i]); len++)
            if (dpg_header_date(guarded(whole[i], len), &at)) CHECK_FAIL("%.*s", (int)len, whole[i]);
}

TEST("every day from 1900 to 2200 is where the C library puts it")
{
    int days = 0;
    char text[40];

    for (int64_t day = -25567; day < 84006; day++) {
        time_t at = (time_t)(day * 86400 + (day & 0x3fff));
        struct tm tm;

        if (!gmtime_r(&at, &tm)) continue; /* Windows' begins in 1970 */
        days++;
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if (header_date(text) != (int64_t)at) CHECK_FAIL("%s", text);
    }
    CHECK(days >= 84006);
}

TEST("reads ISO 8601 with its offset, to the millisecond")
{
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        {"2026-11-24T20:00:00Z", 1795550400000},
        {"2026-11-24t20:00:00z", 1795550400000},
        {"2026-11-24T20:00:00.5Z", 1795550400500},
        {"2026-11-24T20:00:00.123456789Z", 1795550400123},
        {"2026-11-24T20:00:00.0009Z", 1795550400000},
        {"2026-11-24T20:00:00.000000Z", 1795550400000},
        {"2026-11-24T21:30:00+01:30", 1795550400000},
        {"2026-11-24T21:30:00+0130", 1795550400000},
        {"2026-11-24T12:00:00-08:00", 1795550400000},
        {"2026-11-24T20:00:00-00:00", 1795550400000},
        {"2026-11-24T20:00:00.250+00:00", 1795550400250},
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.750Z", -250},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"0000-01-01T00:00:00Z", -62167219200000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
        {"", NOT_A_DATE},
        {"2026-11-24", NOT_A_DATE},
        {"2026-11-24T20:00:00", NOT_A_DATE}, /* whose noon? */
        {"2026-11-24 20:00:00Z", NOT_A_DATE},
        {"2026-11-24T20:00Z", NOT_A_DATE},
        {"20261124T200000Z", NOT_A_DATE},
        {"2026-11-24T20:00:00.Z", NOT_A_DATE},
        {"2026-11-24T20:00:00,5Z", NOT_A_DATE},
        {"2026-11-24T20:00:00 Z", NOT_A_DATE},
        {"2026-11-24T20:00:00Zx", NOT_A_DATE},
        {" 2026-11-24T20:00:00Z", NOT_A_DATE},
        {"2026-11-24T20:00:00+1", NOT_A_DATE},
        {"2026-11-24T20:00:00+01", NOT_A_DATE},
        {"2026-11-24T20:00:00+01:", NOT_A_DATE},
        {"2026-11-24T20:00:00+24:00", NOT_A_DATE},
        {"2026-11-24T20:00:00+01:60", NOT_A_DATE},
        {"2026-13-24T20:00:00Z", NOT_A_DATE},
        {"2026-00-24T20:00:00Z", NOT_A_DATE},
        {"2026-11-31T20:00:00Z", NOT_A_DATE},
        {"2023-02-29T20:00:00Z", NOT_A_DATE},
        {"2026-11-24T24:00:00Z", NOT_A_DATE},
        {"+2026-11-24T20:00:00Z", NOT_A_DATE},
        {"-026-11-24T20:00:00Z", NOT_A_DATE},
        {"2026-1-24T20:00:00Z", NOT_A_DATE},
        {"1795550400", NOT_A_DATE},
        {"null", NOT_A_DATE},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got = NOT_A_DATE;

        if (dpg_iso8601(guarded_text(cases[i].text), &got) != (cases[i].want != NOT_A_DATE) || got != cases[i].want)
            CHECK_FAIL("\"%s\": %" PRId64 ", not %" PRId64, cases[i].text, got, cases[i].want);
    }
}

/* --- Retry-After --------------------------------------------------------------------------------------------------- */

#define NOW_MS 1795550400500 /* Tue, 24 Nov 2026 20:00:00.500 GMT */

static int64_t retry_after(const char *value)
{
    const dpg_header header = {DPG_LIT("retry-after"), guarded_text(value)};

    return dpg_headers_retry_after(&header, 1, NOW_MS);
}

TEST("Retry-After in seconds, rounded up to milliseconds, at most a year and a day")
{
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        {"0", 0},
        {"1", 1000},
        {"120", 120000},
        {" 120\t", 120000},
        {"0120", 120000},
        {"1.5", 1500},
        {"0.0001", 1},
        {"1.0000", 1000},
        {"1.0001", 1001},
        {"1.9999", 2000},
        {"0.000000000000000000000000000000000000001", 1},
        {"31622400", DPG_RETRY_AFTER_MAX_MS},
        {"31622399.9999", DPG_RETRY_AFTER_MAX_MS},
        {"31622399", DPG_RETRY_AFTER_MAX_MS - 1000},
        {"31622401", DPG_RETRY_AFTER_MAX_MS},
        {"9223372036854775807", DPG_RETRY_AFTER_MAX_MS},
        {"9223372036854775808", DPG_RETRY_AFTER_MAX_MS},
        {"18446744073709551616", DPG_RETRY_AFTER_MAX_MS},
        {"99999999999999999999999999999999999999999999999999999999999999999999999999", DPG_RETRY_AFTER_MAX_MS},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got = retry_after(cases[i].text);

        if (got != cases[i].want) CHECK_FAIL("\"%s\": %" PRId64 ", not %" PRId64, cases[i].text, got, cases[i].want);
    }
}

TEST("Retry-After that is neither seconds nor a date is not said")
{
    static const char *const cases[] = {
        "",
        " ",
        "-1",
        "-0",
        "-120",
        "+120",
        "inf",
        "-inf",
        "Infinity",
        "nan",
        "NaN",
        "1e400",
        "1e3",
        "1E3",
        "1.5e3",
        "1.",
        ".5",
        ".",
        "1..5",
        "1.5.5",
        "1,5",
        "1, 2",
        "1;2",
        "1 2",
        "120s",
        "120 s",
        "2m",
        "0x10",
        "1_000",
        "1'000",
        "\"120\"",
        "[120]",
        "null",
        "soon",
        "later",
        "tomorrow",
        "PT5M",
        "120;x=1",
        "120 ,",
        "\xd9\xa1",
        "12a",
        "a12",
        "1\v",
        "\xc2\xa0"
        "1",
        "Tue, 24 Nov 2026",
        "Tue, 24 Nov 2026 20:00:60",
        "2026-11-24T20:00:10Z",
        "Tue, 31 Nov 2026 20:00:10 GMT",
        "Tue, 24 Nov 2026 20:01:00 GMT, 5",
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (retry_after(cases[i]) != -1) CHECK_FAIL("\"%s\": %" PRId64, cases[i], retry_after(cases[i]));
    CHECK_INT(dpg_headers_retry_after(NULL, 0, NOW_MS), -1);
}

TEST("Retry-After of ten to the 400 in digits is a year and a day, and soon read")
{
    char text[100001];

    memset(text, '0', sizeof text);
    text[0] = '1';
    text[401] = '\0';
    CHECK_INT(retry_after(text), DPG_RETRY_AFTER_MAX_MS);
    text[401] = '0';
    text[sizeof text - 1] = '\0';
    CHECK_INT(retry_after(text), DPG_RETRY_AFTER_MAX_MS);
    text[1] = '.';
    CHECK_INT(retry_after(text), 1000);
    text[0] = 'x';
    CHECK_INT(retry_after(text), -1);
}

TEST("a Retry-After date is measured against the answer's own Date, else against our clock")
{
    static const struct {
        const char *date, *retry; /* date NULL: none */
        int64_t want;
    } cases[] = {
        {NULL, "Tue, 24 Nov 2026 20:00:10 GMT", 9500},
        {NULL, "Tue Nov 24 20:00:10 2026", 9500},
        {NULL, "Tuesday, 24-Nov-26 20:00:10 GMT", 9500},
        {NULL, "Tue, 24 Nov 2026 20:00:00 GMT", 0},
        {NULL, "Tue, 24 Nov 2020 20:00:00 GMT", 0},
        {NULL, "Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {NULL, "Fri, 31 Dec 9999 23:59:59 GMT", DPG_RETRY_AFTER_MAX_MS},
        {"Tue, 24 Nov 2026 20:00:00 GMT", "Tue, 24 Nov 2026 20:00:10 GMT", 10000},
        {"Fri, 01 Jan 2010 00:00:00 GMT", "Fri, 01 Jan 2010 00:00:05 GMT", 5000}, /* a server that lives in 2010 */
        {"Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:05 GMT", 5000},
        {"Tue, 24 Nov 2026 20:00:20 GMT", "Tue, 24 Nov 2026 20:00:10 GMT", 0},
        {"yesterday", "Tue, 24 Nov 2026 20:00:10 GMT", 9500},
        {"", "Tue, 24 Nov 2026 20:00:10 GMT", 9500},
        {"Tue, 24 Nov 2026 20:00:00 GMT", "7", 7000},
        {"Sat, 01 Jan 0000 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", DPG_RETRY_AFTER_MAX_MS},
        {"Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 0000 00:00:00 GMT", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dpg_header headers[] = {{DPG_LIT("retry-after"), dpg_cstr(cases[i].retry)},
                                      {DPG_LIT("date"), dpg_cstr(cases[i].date)}};
        int64_t got = dpg_headers_retry_after(headers, cases[i].date ? 2 : 1, NOW_MS);

        if (got != cases[i].want) CHECK_FAIL("%s: %" PRId64 ", not %" PRId64, cases[i].retry, got, cases[i].want);
    }
}

TEST("two Date headers are none: which one is the answer's?")
{
    const dpg_header headers[] = {{DPG_LIT("date"), DPG_LIT("Fri, 01 Jan 2010 00:00:00 GMT")},
                                  {DPG_LIT("date"), DPG_LIT("Tue, 24 Nov 2026 20:00:00 GMT")},
                                  {DPG_LIT("retry-after"), DPG_LIT("Tue, 24 Nov 2026 20:00:10 GMT")}};

    CHECK_INT(dpg_headers_retry_after(headers, 3, NOW_MS), 9500);
}

TEST("no clock, however wrong, overflows a date")
{
    const dpg_header past = {DPG_LIT("retry-after"), DPG_LIT("Sat, 01 Jan 0000 00:00:00 GMT")};
    const dpg_header future = {DPG_LIT("retry-after"), DPG_LIT("Fri, 31 Dec 9999 23:59:59 GMT")};

    CHECK_INT(dpg_headers_retry_after(&future, 1, INT64_MIN), DPG_RETRY_AFTER_MAX_MS);
    CHECK_INT(dpg_headers_retry_after(&future, 1, INT64_MAX), 0);
    CHECK_INT(dpg_headers_retry_after(&past, 1, INT64_MIN), DPG_RETRY_AFTER_MAX_MS);
    CHECK_INT(dpg_headers_retry_after(&past, 1, INT64_MAX), 0);
}

TEST("of several Retry-After headers the longest readable one counts")
{
    dpg_header headers[] = {{DPG_LIT("retry-after"), DPG_LIT("5")},
                            {DPG_LIT("retry-after"), DPG_LIT("Tue, 24 Nov 2026 20:00:10 GMT")},
                            {DPG_LIT("retry-after"), DPG_LIT("inf")},
                            {DPG_LIT("Retry-After"), DPG_LIT("-99")}};

    CHECK_INT(dpg_headers_retry_after(headers, 4, NOW_MS), 9500);
    headers[0].value = DPG_LIT("60");
    CHECK_INT(dpg_headers_retry_after(headers, 4, NOW_MS), 60000);
    CHECK_INT(dpg_headers_retry_after(headers + 2, 2, NOW_MS), -1);
}

/* --- URLs ---------------------------------------------------------------------------------------------------------- */

TEST("takes an absolute URL apart and normalises its origin")
{
    static const struct {
        const char *url, *origin, *host, *target;
        bool https, loopback;
        int port;
    } cases[] = {
        {"https://api.example.com/v1", "https://api.example.com:443", "api.example.com", "/v1", true, false, 443},
        {"https://api.example.com", "https://api.example.com:443", "api.example.com", "", true, false, 443},
        {"https://api.example.com:443/v1?a=b&c=%20/", "https://api.example.com:443", "api.example.com",
         "/v1?a=b&c=%20/", true, false, 443},
        {"HTTPS://API.Example.COM:8443/V1", "https://api.example.com:8443", "API.Example.COM", "/V1", true, false,
         8443},
        {"http://localhost:8080/v1", "http://localhost:8080", "localhost", "/v1", false, true, 8080},
        {"http://LocalHost/", "http://localhost:80", "LocalHost", "/", false, true, 80},
        {"http://127.0.0.1:1/", "http://127.0.0.1:1", "127.0.0.1", "/", false, true, 1},
        {"http://127.255.0.254", "http://127.255.0.254:80", "127.255.0.254", "", false, true, 80},
        {"http://128.0.0.1", "http://128.0.0.1:80", "128.0.0.1", "", false, false, 80},
        {"http://[::1]:8080/x", "http://[::1]:8080", "[::1]", "/x", false, true, 8080},
        {"http://[::1]", "http://[::1]:80", "[::1]", "", false, true, 80},
        {"https://[2001:DB8::1]/", "https://[2001:db8::1]:443", "[2001:DB8::1]", "/", true, false, 443},
        {"https://[1:2:3:4:5:6:7:8]:65535", "https://[1:2:3:4:5:6:7:8]:65535", "[1:2:3:4:5:6:7:8]", "", true, false,
         65535},
        {"https://[::ffff:10.0.0.1]/", "https://[::ffff:10.0.0.1]:443", "[::ffff:10.0.0.1]", "/", true, false, 443},
        {"https://[::]/", "https://[::]:443", "[::]", "/", true, false, 443},
        {"https://a?b", "https://a:443", "a", "?b", true, false, 443},
        {"https://a:5?b:c@d", "https://a:5", "a", "?b:c@d", true, false, 5},
        {"https://a/b:c@d", "https://a:443", "a", "/b:c@d", true, false, 443},
        {"https://my_bucket.s3-eu.example.com./k", "https://my_bucket.s3-eu.example.com.:443",
         "my_bucket.s3-eu.example.com.", "/k", true, false, 443},
        {"https://3scale/", "https://3scale:443", "3scale", "/", true, false, 443},
        {"https://0xyz/", "https://0xyz:443", "0xyz", "/", true, false, 443},
        {"http://localhost.example.com/", "http://localhost.example.com:80", "localhost.example.com", "/", false, false,
         80},
        {"http://127.0.0.1.example.com/", "http://127.0.0.1.example.com:80", "127.0.0.1.example.com", "/", false, false,
         80},
        {"https://a/\xc3\xa9", "https://a:443", "a", "/\xc3\xa9", true, false, 443},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_url url;

        if (!dpg_url_read(guarded_text(cases[i].url), &url)) {
            CHECK_FAIL("%s: refused", cases[i].url);
            continue;
        }
        CHECK_STR(url.origin, cases[i].origin);
        CHECK_MEM(url.host.ptr, url.host.len, cases[i].host, strlen(cases[i].host));
        CHECK_MEM(url.target.ptr, url.target.len, cases[i].target, strlen(cases[i].target));
        CHECK_INT(url.https, cases[i].https);
        CHECK_INT(url.loopback, cases[i].loopback);
        CHECK_INT(url.port, cases[i].port);
    }
}

TEST("refuses URLs that it can't read whole, or that others read another way")
{
    static const char *const cases[] = {
        "",
        "https",
        "https:",
        "https:/",
        "https://",
        "https:///x",
        "https://?x",
        "//a",
        "/v1",
        "a",
        "a.example.com/v1",
        "ftp://a",
        "file:///etc/passwd",
        "javascript:1",
        "httpss://a",
        "http//a",
        "http:a",
        "http:/a",
        "http:\\\\a",
        " https://a",
        "https://a ",
        "https://a b",
        "https://a/b c",
        "https://a/\tb",
        "https://a/\r\nEvil: 1",
        "https://a\n",
        "https://a/\x7f",
        "https://a\\b",
        "https://a/b\\c",
        "https://a#",
        "https://a/b#c",
        /* user info */
        "https://u@a",
        "https://u:p@a",
        "https://@a",
        "https://:@a",
        "https://a:b@c:1",
        "https://a.example.com@b",
        /* ports */
        "https://a:",
        "https://a:/",
        "https://a:0",
        "https://a:65536",
        "https://a:99999999999999999999",
        "https://a:-1",
        "https://a:+1",
        "https://a:080",
        "https://a:80x",
        "https://a:x",
        "https://a:1:2",
        "https://a:0x50",
        "https://:80",
        /* names */
        "https://.",
        "https://.a",
        "https://a..b",
        "https://..",
        "https://a%2eb",
        "https://a%00",
        "https://\xc3\xa9",
        "https://a,b",
        "https://a;b",
        "https://a*b",
        "https://a!b",
        "https://(a)",
        "https://a'",
        "https://$a",
        "https://<a>",
        /* addresses, as only some read them */
        "http://127.1",
        "http://127.0.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0x7f.0.0.1",
        "http://0177.0.0.1",
        "http://127.0.0.01",
        "http://127.0.0.256",
        "http://127.0.0.1.",
        "http://127.0.0.0.1",
        "http://1.2.3.4.5",
        "http://0",
        "http://a.1",
        "http://a.0x1",
        "http://0x",
        "http://256.0.0.1",
        /* addresses in brackets */
        "http://[",
        "http://]",
        "http://[]",
        "http://[::1",
        "http://::1]",
        "http://::1",
        "http://[::1]x",
        "http://[::1]:",
        "http://[::1]80",
        "http://[::1%25lo]",
        "http://[::1%lo]",
        "http://[1]",
        "http://[1:2:3:4:5:6:7]",
        "http://[1:2:3:4:5:6:7:8:9]",
        "http://[1:2:3:4:5:6:7::8:9]",
        "http://[1::2::3]",
        "http://[:::]",
        "http://[:1]",
        "http://[1:]",
        "http://[12345::]",
        "http://[g::]",
        "http://[::1.2.3]",
        "http://[::1.2.3.4:5]",
        "http://[localhost]",
        "http://[127.0.0.1]",
        "http://[v1.a]",
        "http://[[::1]]",
        "http://[::1]@a",
        "http://a[::1]",
    };
    dpg_url url;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&url, 'u', sizeof url);
        if (dpg_url_read(guarded_text(cases[i]), &url)) CHECK_FAIL("\"%s\" was read: %s", cases[i], url.origin);
        CHECK_INT(url.origin[0], 'u');
    }
    CHECK(!dpg_url_read(guarded("https://a\0b", 11), &url));
    CHECK(!dpg_url_read(guarded("https://a/\0b", 12), &url));
    CHECK(!dpg_url_read(dpg_str_of(NULL, 0), &url));
}

TEST("a host name of 253 bytes fits, a longer one is refused")
{
    char text[400];
    dpg_url url;

    memset(text, 'a', sizeof text);
    memcpy(text, "https://", 8);
    CHECK(dpg_url_read(guarded(text, 8 + 253), &url));
    CHECK_INT(strlen(url.origin), 8 + 253 + 4);
    CHECK(!dpg_url_read(guarded(text, 8 + 254), &url));
    memcpy(text + 8 + 253, ":65535", 6);
    CHECK(dpg_url_read(guarded(text, 8 + 253 + 6), &url));
    CHECK_INT(url.port, 65535);
}

CHECK_MAIN()
