/*
 * json.c: what it takes, what it refuses and where, and what the tape says. Every text ends at an unreadable page.
 */
#include "check.h"
#include "guard.h"
#include "json.h"
#include "tape.h"

#include <locale.h>
#include <math.h>

/* --- the tape as text ---------------------------------------------------------------------------------------------- */

/* Writes the value at *at in a notation of its own: i7, f0.5, "bytes" (unescaped, then JSON again), [a b], {"k"=v}. */
static void show_value(const dpg_json *json, uint32_t *at, dpg_buf *out)
{
    const dpg_json_value *v = &json->values[(*at)++];
    bool object = v->type == DPG_JSON_OBJECT;
    dpg_buf bytes;

    switch ((dpg_json_type)v->type) {
    case DPG_JSON_NULL: dpg_buf_puts(out, "null"); break;
    case DPG_JSON_FALSE: dpg_buf_puts(out, "false"); break;
    case DPG_JSON_TRUE: dpg_buf_puts(out, "true"); break;
    case DPG_JSON_INTEGER: dpg_buf_printf(out, "i%" PRId64, v->as.integer); break;
    case DPG_JSON_NUMBER: dpg_buf_printf(out, "f%.17g", v->as.number); break;
    case DPG_JSON_STRING:
        dpg_buf_init(&bytes, 1000000);
        CHECK(dpg_json_unescape(json, *at - 1, &bytes));
        dpg_buf_put_json(out, dpg_buf_str(&bytes));
        dpg_buf_clear(&bytes);
        break;
    case DPG_JSON_ARRAY:
    case DPG_JSON_OBJECT:
        dpg_buf_puts(out, object ? "{" : "[");
        for (uint32_t i = 0; i < v->as.of.count; i++) {
            if (i) dpg_buf_puts(out, " ");
            if (object) {
                show_value(json, at, out);
                dpg_buf_puts(out, "=");
            }
            show_value(json, at, out);
        }
        dpg_buf_puts(out, object ? "}" : "]");
        break;
    }
}

static void check_taken(dpg_str text, const char *shown)
{
    dpg_json json;
    dpg_buf out;
    uint32_t at = 0;

    if (dpg_json_read(&json, guarded(text.ptr, text.len)) != DPG_OK) {
        CHECK_FAIL("%.*s: refused: %s, at %zu", (int)(text.len < 100 ? text.len : 100), text.ptr, json.error,
                   json.error_at);
        return;
    }
    if (!tape_ok(&json)) CHECK_FAIL("%.*s: the tape is wrong", (int)text.len, text.ptr);
    dpg_buf_init(&out, 1000000);
    show_value(&json, &at, &out);
    CHECK_STR(dpg_buf_str(&out).ptr, shown);
    CHECK_INT(at, json.count);
    dpg_buf_clear(&out);
    dpg_json_clear(&json);
}

static void check_refused(dpg_str text, size_t where, const char *sentence)
{
    dpg_json json;

    if (dpg_json_read(&json, guarded(text.ptr, text.len)) != DPG_E_INVALID) {
        CHECK_FAIL("%.*s: taken", (int)text.len, text.ptr);
        dpg_json_clear(&json);
        return;
    }
    if (json.error_at != where || !strstr(json.error, sentence))
        CHECK_FAIL("%.*s: \"%s\" at %zu, not \"%s\" at %zu", (int)text.len, text.ptr, json.error, json.error_at,
                   sentence, where);
    CHECK_NULL(json.values);
    CHECK_INT(json.count, 0);
    dpg_json_clear(&json);
}

typedef struct {
    dpg_str text;
    const char *shown;
} taken;
typedef struct {
    dpg_str text;
    size_t where;
    const char *sentence;
} refused;

#define T(literal)                      \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    }
#define CHECK_TAKEN(cases) \
    for (size_t i_ = 0; i_ < sizeof(cases) / sizeof *(cases); i_++) check_taken((cases)[i_].text, (cases)[i_].shown)
#define CHECK_REFUSED(cases)                                        \
    for (size_t i_ = 0; i_ < sizeof(cases) / sizeof *(cases); i_++) \
    check_refused((cases)[i_].text, (cases)[i_].where, (cases)[i_].sentence)

/* --- structure ----------------------------------------------------------------------------------------------------- */

TEST("takes every kind of value, alone and nested, with blanks anywhere")
{
    static const taken cases[] = {
        {T("null"), "null"},
        {T("true"), "true"},
        {T("false"), "false"},
        {T("0"), "i0"},
        {T("\"\""), "\"\""},
        {T("[]"), "[]"},
        {T("{}"), "{}"},
        {T(" \t\r\n[ \t\r\n] \t\r\n"), "[]"},
        {T(" {\n}\t"), "{}"},
        {T("[1,2,3]"), "[i1 i2 i3]"},
        {T("[[],[[]],{}]"), "[[] [[]] {}]"},
        {T("{\"a\":1}"), "{\"a\"=i1}"},
        {T(" { \"a\" : 1 , \"b\" : [ null , true ] } "), "{\"a\"=i1 \"b\"=[null true]}"},
        {T("{\"a\":{\"b\":{\"c\":[]}}}"), "{\"a\"={\"b\"={\"c\"=[]}}}"},
        {T("{\"\":0}"), "{\"\"=i0}"},
        {T("{\"a\":1,\"a\":2}"), "{\"a\"=i1 \"a\"=i2}"}, /* the tape keeps both */
        {T("[null,1,\"1\",{}]"), "[null i1 \"1\" {}]"},
        {T("[false,[true],{\"x\":[]}]"), "[false [true] {\"x\"=[]}]"},
    };

    CHECK_TAKEN(cases);
}

TEST("refuses broken structure, and says where")
{
    static const refused cases[] = {
        {T(""), 0, "ends where a value"},
        {T(" "), 1, "ends where a value"},
        {T("["), 1, "ends inside an array"},
        {T("{"), 1, "ends inside an object"},
        {T("]"), 0, "a value is expected"},
        {T("}"), 0, "a value is expected"},
        {T("[1"), 2, "ends inside an array"},
        {T("[1,"), 3, "ends where a value"},
        {T("[1,]"), 3, "a value is expected"},
        {T("[,1]"), 1, "a value is expected"},
        {T("[,]"), 1, "a value is expected"},
        {T("[1,,2]"), 3, "a value is expected"},
        {T("[1 2]"), 3, "a comma or ]"},
        {T("[1:2]"), 2, "a comma or ]"},
        {T("[1}"), 2, "a comma or ]"},
        {T("[}"), 1, "a value is expected"},
        {T("[]]"), 2, "something follows"},
        {T("[][]"), 2, "something follows"},
        {T("1 2"), 2, "something follows"},
        {T("{}x"), 2, "something follows"},
        {T("null,"), 4, "something follows"},
        {T("\"a\"\"b\""), 3, "something follows"},
        {T("[1]\0"), 3, "something follows"},
        {T("[\0]"), 1, "a value is expected"},
        {T("{\"a\""), 4, "ends inside an object"},
        {T("{\"a\":"), 5, "ends where a value"},
        {T("{\"a\":1"), 6, "ends inside an object"},
        {T("{\"a\":1,"), 7, "ends inside an object"},
        {T("{\"a\":1,}"), 7, "a name in quotes"},
        {T("{,\"a\":1}"), 1, "a name in quotes"},
        {T("{\"a\" 1}"), 5, "a colon"},
        {T("{\"a\"::1}"), 5, "a value is expected"},
        {T("{\"a\",1}"), 4, "a colon"},
        {T("{\"a\"}"), 4, "a colon"},
        {T("{\"a\":}"), 5, "a value is expected"},
        {T("{\"a\":1 \"b\":2}"), 7, "a comma or }"},
        {T("{\"a\":1]"), 6, "a comma or }"},
        {T("{a:1}"), 1, "a name in quotes"},
        {T("{1:1}"), 1, "a name in quotes"},
        {T("{null:1}"), 1, "a name in quotes"},
        {T("{'a':1}"), 1, "a name in quotes"},
        {T("{]"), 1, "a name in quotes"},
        {T("[1]//"), 3, "something follows"},
        {T("[1/**/]"), 2, "a comma or ]"},
        {T("#1"), 0, "a value is expected"},
        {T("<html>"), 0, "a value is expected"},
        {T("\xef\xbb\xbf[]"), 0, "a value is expected"}, /* a byte order mark */
        {T("\xff\xfe[\0]\0"), 0, "a value is expected"}, /* UTF-16 */
        {T("\x0c[]"), 0, "a value is expected"},         /* no blank of JSON's */
        {T("[\x0b]"), 1, "a value is expected"},
        {T("\xc2\xa0[]"), 0, "a value is expected"},
        {T("[]\xe2\x81\xa0"), 2, "something follows"},
    };

    CHECK_REFUSED(cases);
}

TEST("refuses words that are nearly literals")
{
    static const refused cases[] = {
        {T("nul"), 0, "a value is expected"},      {T("nulL"), 0, "a value is expected"},
        {T("Null"), 0, "a value is expected"},     {T("nullx"), 4, "something follows"},
        {T("tru"), 0, "a value is expected"},      {T("True"), 0, "a value is expected"},
        {T("truth"), 0, "a value is expected"},    {T("[true1]"), 5, "a comma or ]"},
        {T("fals"), 0, "a value is expected"},     {T("FALSE"), 0, "a value is expected"},
        {T("[n"), 1, "a value is expected"},       {T("undefined"), 0, "a value is expected"},
        {T("NaN"), 0, "a value is expected"},      {T("nan"), 0, "a value is expected"},
        {T("Infinity"), 0, "a value is expected"}, {T("inf"), 0, "a value is expected"},
    };

    CHECK_REFUSED(cases);
}

TEST("nests to its limit and no deeper")
{
    char text[2 * DPG_JSON_MAX_DEPTH + 3];
    dpg_json json;

    memset(text, '[', DPG_JSON_MAX_DEPTH + 1);
    memset(text + DPG_JSON_MAX_DEPTH, ']', DPG_JSON_MAX_DEPTH);
    REQUIRE(dpg_json_read(&json, guarded(text, 2 * DPG_JSON_MAX_DEPTH)) == DPG_OK);
    CHECK(tape_ok(&json));
    CHECK_INT(json.count, DPG_JSON_MAX_DEPTH);
    dpg_json_clear(&json);
    memset(text, '[', DPG_JSON_MAX_DEPTH + 1);
    memset(text + DPG_JSON_MAX_DEPTH + 1, ']', DPG_JSON_MAX_DEPTH + 1);
    check_refused(dpg_str_of(text, 2 * DPG_JSON_MAX_DEPTH + 2), DPG_JSON_MAX_DEPTH, "nested too deeply");
}

TEST("a hundred thousand brackets neither crash nor nest")
{
    char *text = malloc(100000);

    REQUIRE(text);
    memset(text, '[', 100000);
    check_refused(dpg_str_of(text, 100000), DPG_JSON_MAX_DEPTH, "nested too deeply");
    for (size_t i = 0; i < 100000 / 5; i++) memcpy(text + 5 * i, "{\"\":", 4), text[5 * i + 4] = ' ';
    check_refused(dpg_str_of(text, 100000), DPG_JSON_MAX_DEPTH * 5, "nested too deeply");
    free(text);
}

TEST("a wide array grows the tape as far as it takes")
{
    const size_t n = 100000;
    char *text = malloc(2 * n + 1);
    dpg_json json;

    REQUIRE(text);
    for (size_t i = 0; i < n; i++) text[2 * i] = i ? ',' : '[', text[2 * i + 1] = '7';
    text[2 * n] = ']';
    REQUIRE(dpg_json_read(&json, guarded(text, 2 * n + 1)) == DPG_OK);
    CHECK(tape_ok(&json));
    CHECK_INT(json.values[0].as.of.count, n);
    CHECK_INT(json.values[n].as.integer, 7);
    CHECK(json.cap <= 2 * n + 1);
    dpg_json_clear(&json);
    free(text);
}

TEST("a text of 4 GiB is refused before it is looked at")
{
    dpg_json json;

    if (SIZE_MAX == UINT32_MAX) return;
    CHECK_INT(dpg_json_read(&json, dpg_str_of("[]", UINT32_MAX)), DPG_E_INVALID);
    CHECK_STR(json.error, "the text is too long");
    dpg_json_clear(&json);
}

TEST("no text at all is refused, and a zeroed struct can be cleared")
{
    dpg_json json;

    CHECK_INT(dpg_json_read(&json, dpg_str_of(NULL, 0)), DPG_E_INVALID);
    dpg_json_clear(&json);
    memset(&json, 0, sizeof json);
    dpg_json_clear(&json);
}

/* --- strings ------------------------------------------------------------------------------------------------------- */

TEST("takes strings with every escape, and any UTF-8")
{
    static const taken cases[] = {
        {T("\"abc\""), "\"abc\""},
        {T("\"0123456789abcdefghijklmnopqrstuvwxyz\""), "\"0123456789abcdefghijklmnopqrstuvwxyz\""},
        {T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\u0022\\u005c/\\u0008\\u000c\\u000a\\u000d\\u0009\""},
        {T("\"\\u0041\\u00e9\\u20AC\\uFfFf\""), "\"A\xc3\xa9\xe2\x82\xac\xef\xbf\xbf\""},
        {T("\"\\u0000\""), "\"\\u0000\""},
        {T("\"a\\u0000b\""), "\"a\\u0000b\""},
        {T("\"\\u007f\\u0080\\u07ff\\u0800\""), "\"\\u007f\xc2\x80\xdf\xbf\xe0\xa0\x80\""},
        {T("\"\\uD83D\\uDE00\""), "\"\xf0\x9f\x98\x80\""},
        {T("\"\\ud800\\udc00\\udbff\\udfff\""), "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
        {T("\"\\ud7ff\\ue000\""), "\"\xed\x9f\xbf\xee\x80\x80\""},
        {T("\"\\uD834\\uDD1Ex\\n\""), "\"\xf0\x9d\x84\x9ex\\u000a\""},
        {T("\"\\\\u0041\""), "\"\\u005cu0041\""},
        {T("\"\\\\\\\\\""), "\"\\u005c\\u005c\""},
        {T("\"\x7f\""), "\"\\u007f\""},
        {T("\"\xc2\x80\xdf\xbf\""), "\"\xc2\x80\xdf\xbf\""},
        {T("\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
         "\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""},
        {T("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
        {T("\"\xef\xbb\xbf\""), "\"\xef\xbb\xbf\""},
        {T("\"\xe2\x80\xa8\xe2\x80\xa9\""), "\"\xe2\x80\xa8\xe2\x80\xa9\""},
        {T("\"/*x*/ , : [ ] { }\""), "\"/*x*/ , : [ ] { }\""},
        {T("{\"\\u0061\\n\":1}"), "{\"a\\u000a\"=i1}"},
    };

    CHECK_TAKEN(cases);
}

TEST("refuses bad escapes, and says where")
{
    static const refused cases[] = {
        {T("\"\\x41\""), 1, "no such escape"},
        {T("\"\\a\""), 1, "no such escape"},
        {T("\"\\v\""), 1, "no such escape"},
        {T("\"\\'\""), 1, "no such escape"},
        {T("\"\\0\""), 1, "no such escape"},
        {T("\"\\\0\""), 1, "no such escape"},
        {T("\"\\U0041\""), 1, "no such escape"},
        {T("\"\\\n\""), 1, "no such escape"},
        {T("\"\\\xc3\xa9\""), 1, "no such escape"},
        {T("\"\\"), 2, "ends inside a string"},
        {T("\"\\\""), 3, "ends inside a string"},
        {T("\"\\u\""), 1, "four hexadecimal"},
        {T("\"\\u1\""), 1, "four hexadecimal"},
        {T("\"\\u12\""), 1, "four hexadecimal"},
        {T("\"\\u123\""), 1, "four hexadecimal"},
        {T("\"\\u123g\""), 1, "four hexadecimal"},
        {T("\"\\u 123\""), 1, "four hexadecimal"},
        {T("\"\\u+123\""), 1, "four hexadecimal"},
        {T("\"\\u0x12\""), 1, "four hexadecimal"},
        {T("\"\\u00"), 1, "four hexadecimal"},
        {T("\"\\ud800\""), 1, "surrogate"},
        {T("\"\\udbff\""), 1, "surrogate"},
        {T("\"\\udc00\""), 1, "surrogate"},
        {T("\"\\udfff\""), 1, "surrogate"},
        {T("\"\\udc00\\ud800\""), 1, "surrogate"},
        {T("\"\\ud800\\ud800\""), 1, "surrogate"},
        {T("\"\\ud800x\""), 1, "surrogate"},
        {T("\"\\ud800\\n\""), 1, "surrogate"},
        {T("\"\\ud800\\u0041\""), 1, "surrogate"},
        {T("\"\\ud800\\udc0\""), 1, "surrogate"},
        {T("\"\\ud800\\u"), 1, "surrogate"},
        {T("\"\\ud800\\"), 1, "surrogate"},
        {T("\"ab\\ud83d\\ude00\\ud83d\""), 15, "surrogate"},
    };

    CHECK_REFUSED(cases);
}

TEST("refuses control characters and text that ends inside a string")
{
    static const refused cases[] = {
        {T("\""), 1, "ends inside a string"},
        {T("\"abc"), 4, "ends inside a string"},
        {T("\"0123456789abcdef"), 17, "ends inside a string"},
        {T("[\"a]"), 4, "ends inside a string"},
        {T("'a'"), 0, "a value is expected"},
        {T("\"a\nb\""), 2, "control character"},
        {T("\"\t\""), 1, "control character"},
        {T("\"\0\""), 1, "control character"},
        {T("\"\x1f\""), 1, "control character"},
        {T("\"01234567\x01"
           "89abcdef\""),
         9, "control character"},
    };

    CHECK_REFUSED(cases);
}

TEST("refuses what is not UTF-8, and says where")
{
    static const refused cases[] = {
        {T("\"\x80\""), 1, "not UTF-8"}, /* a tail without a head */
        {T("\"\xbf\""), 1, "not UTF-8"},
        {T("\"\xc0\x80\""), 1, "not UTF-8"}, /* overlong */
        {T("\"\xc1\xbf\""), 1, "not UTF-8"},
        {T("\"\xe0\x80\x80\""), 1, "not UTF-8"},
        {T("\"\xe0\x9f\xbf\""), 1, "not UTF-8"},
        {T("\"\xf0\x80\x80\x80\""), 1, "not UTF-8"},
        {T("\"\xf0\x8f\xbf\xbf\""), 1, "not UTF-8"},
        {T("\"\xed\xa0\x80\""), 1, "not UTF-8"}, /* surrogates */
        {T("\"\xed\xbf\xbf\""), 1, "not UTF-8"},
        {T("\"\xf4\x90\x80\x80\""), 1, "not UTF-8"}, /* above U+10FFFF */
        {T("\"\xf5\x80\x80\x80\""), 1, "not UTF-8"},
        {T("\"\xf8\x88\x80\x80\x80\""), 1, "not UTF-8"},
        {T("\"\xfe\""), 1, "not UTF-8"},
        {T("\"\xff\""), 1, "not UTF-8"},
        {T("\"\xc3\""), 1, "not UTF-8"}, /* cut short */
        {T("\"\xe2\x82\""), 1, "not UTF-8"},
        {T("\"\xf0\x9f\x98\""), 1, "not UTF-8"},
        {T("\"\xc3"), 1, "not UTF-8"},
        {T("\"\xe2\x82"), 1, "not UTF-8"},
        {T("\"\xf0\x9f\x98"), 1, "not UTF-8"},
        {T("\"\xe2\x28\xa1\""), 1, "not UTF-8"},
        {T("\"\xf0\x9f\x28\x80\""), 1, "not UTF-8"},
        {T("\"\xe9\""), 1, "not UTF-8"}, /* Latin-1 */
        {T("\"0123456789\xc3\xa9\xe9\""), 13, "not UTF-8"},
        {T("{\"\xe9\":1}"), 2, "not UTF-8"},
        {T("[\xff]"), 1, "a value is expected"}, /* outside strings */
        {T("[1\xc3\xa9]"), 2, "a comma or ]"},
    };

    CHECK_REFUSED(cases);
}

TEST("finds each byte that needs a look, wherever it stands in its eight")
{
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 24; at++) {
            char text[26];
            dpg_json json;
            bool fine = byte >= 0x20 && byte < 0x80 && byte != '\\' && byte != '"';

            memset(text, 'a', sizeof text);
            text[0] = text[25] = '"';
            text[1 + at] = (char)byte;
            if ((dpg_json_read(&json, guarded(text, sizeof text)) == DPG_OK) != fine)
                CHECK_FAIL("byte %d at %zu", byte, at);
            dpg_json_clear(&json);
        }
    }
}

TEST("UTF-8 is taken exactly where a slow reading of the standard takes it")
{
    /* two bytes of anything, then continuation bytes: the places where the ranges differ */
    for (int a = 0x80; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            for (int tails = 0; tails <= 2; tails++) {
                char text[6] = {'"', (char)a, (char)b, (char)0xbf, (char)0xbf, '"'};
                size_t len = 4 + (size_t)tails;
                unsigned long code = 0;
                bool fine;
                dpg_json json;

                text[len - 1] = '"';
                if (b < 0x80) continue;
                switch (tails) {
                case 0: code = (unsigned long)(a & 0x1f) << 6 | (b & 0x3f); break;
                case 1: code = (unsigned long)(a & 0x0f) << 12 | (unsigned long)(b & 0x3f) << 6 | 0x3f; break;
                default: code = (unsigned long)(a & 0x07) << 18 | (unsigned long)(b & 0x3f) << 12 | 0xfff; break;
                }
                fine = (b & 0xc0) == 0x80;
                if (tails == 0) fine = fine && (a & 0xe0) == 0xc0 && code >= 0x80;
                if (tails == 1) fine = fine && (a & 0xf0) == 0xe0 && code >= 0x800 && (code < 0xd800 || code > 0xdfff);
                if (tails == 2) fine = fine && (a & 0xf8) == 0xf0 && code >= 0x10000 && code <= 0x10ffff;
                if ((dpg_json_read(&json, guarded(text, len)) == DPG_OK) != fine)
                    CHECK_FAIL("%02x %02x and %d more", (unsigned)a, (unsigned)b, tails);
                dpg_json_clear(&json);
            }
        }
    }
}

static unsigned long code_of(const char *utf8, size_t n)
{
    unsigned long code = (unsigned char)utf8[0];

    if (n > 1) code &= 0xffu >> (n + 1);
    for (size_t i = 1; i < n; i++) code = code << 6 | ((unsigned char)utf8[i] & 0x3f);
    return code;
}

TEST("every \\u escape becomes its UTF-8")
{
    char text[40], bytes[16];

    for (unsigned long code = 0; code <= 0x10ffff; code += code < 0x11000 ? 1 : 0x101) {
        dpg_json json;
        size_t n;

        if (code >= 0xd800 && code <= 0xdfff) continue;
        if (code < 0x10000) snprintf(text, sizeof text, "\"\\u%04lx\"", code);
        else
            snprintf(text, sizeof text, "\"\\u%04lX\\u%04lx\"", 0xd800 + ((code - 0x10000) >> 10),
                     0xdc00 + ((code - 0x10000) & 0x3ff));
        REQUIRE(dpg_json_read(&json, guarded_text(text)) == DPG_OK);
        n = dpg_json_unescape_to(dpg_str_of(json.text.ptr + 1, json.text.len - 2), bytes);
        dpg_json_clear(&json);
        if (n < 1 || n > 4 || code_of(bytes, n) != code) CHECK_FAIL("U+%04lX", code);
        if (code < 0x80) continue;
        snprintf(text, sizeof text, "\"%.*s\"", (int)n, bytes); /* and is UTF-8 that we take */
        if (dpg_json_read(&json, guarded_text(text)) != DPG_OK) CHECK_FAIL("U+%04lX is refused as UTF-8", code);
        dpg_json_clear(&json);
    }
}

TEST("unescaping stops at the buffer's maximum and says so")
{
    dpg_json json;
    dpg_buf out;

    REQUIRE(dpg_json_read(&json, DPG_LIT("[\"abc\\nd\",\"\"]")) == DPG_OK);
    dpg_buf_init(&out, 4);
    CHECK(!dpg_json_unescape(&json, 1, &out));
    CHECK_INT(out.failed, DPG_BUF_TOO_LONG);
    dpg_buf_clear(&out);
    CHECK(dpg_json_unescape(&json, 2, &out));
    CHECK_INT(out.len, 0);
    CHECK_STR(out.ptr, "");
    dpg_buf_clear(&out);
    dpg_json_clear(&json);
}

/* --- numbers ------------------------------------------------------------------------------------------------------- */

TEST("whole numbers that fit are integers, the others are numbers")
{
    static const taken cases[] = {
        {T("0"), "i0"},
        {T("-1"), "i-1"},
        {T("10"), "i10"},
        {T("9007199254740993"), "i9007199254740993"},
        {T("9223372036854775807"), "i9223372036854775807"},
        {T("9223372036854775808"), "f9.2233720368547758e+18"},
        {T("-9223372036854775808"), "i-9223372036854775808"},
        {T("-9223372036854775809"), "f-9.2233720368547758e+18"},
        {T("18446744073709551616"), "f1.8446744073709552e+19"},
        {T("100000000000000000000"), "f1e+20"},
        {T("-0"), "f-0"}, /* no integer has that sign */
        {T("-0.0"), "f-0"},
        {T("0.0"), "f0"},
        {T("0e1"), "f0"},
        {T("1.0"), "f1"},
        {T("1e0"), "f1"},
        {T("1E+2"), "f100"},
        {T("1e-2"), "f0.01"},
        {T("12.5e1"), "f125"},
        {T("0.1"), "f0.10000000000000001"},
        {T("-0.5"), "f-0.5"},
        {T("123.456"), "f123.456"},
        {T("1e007"), "f10000000"},
        {T("1.7976931348623157e308"), "f1.7976931348623157e+308"},
        {T("4.9e-324"), "f4.9406564584124654e-324"},
        {T("2.2250738585072011e-308"), "f2.2250738585072009e-308"},
        {T("0.000000000000000000000000000001"), "f1.0000000000000001e-30"},
        {T("1e-400"), "f0"},
        {T("-1e-99999999999999999999"), "f-0"},
        {T("0e99999999999999999999"), "f0"},
        {T("1e400"), "finf"}, /* as other readers have it: a number beyond doubles is not the document's end */
        {T("-1e99999999999999999999"), "f-inf"},
        {T("123123e100000"), "finf"},
        {T("[1,-2,3.5]"), "[i1 i-2 f3.5]"},
    };

    CHECK_TAKEN(cases);
}

TEST("refuses what is nearly a number")
{
    static const refused cases[] = {
        {T("+1"), 0, "a value is expected"},
        {T("-"), 1, "no digits"},
        {T("--1"), 1, "no digits"},
        {T("- 1"), 1, "no digits"},
        {T("-x"), 1, "no digits"},
        {T("01"), 0, "a zero too many"},
        {T("00"), 0, "a zero too many"},
        {T("-01"), 1, "a zero too many"},
        {T("007.5"), 0, "a zero too many"},
        {T(".5"), 0, "a value is expected"},
        {T("-.5"), 1, "no digits"},
        {T("1."), 2, "behind its point"},
        {T("1.e5"), 2, "behind its point"},
        {T("1..5"), 2, "behind its point"},
        {T("[1.]"), 3, "behind its point"},
        {T("1e"), 2, "in its exponent"},
        {T("1e+"), 3, "in its exponent"},
        {T("1E-x"), 3, "in its exponent"},
        {T("1e1.5"), 3, "something follows"},
        {T("1e5e5"), 3, "something follows"},
        {T("1.5.5"), 3, "something follows"},
        {T("1,5"), 1, "something follows"},
        {T("1_000"), 1, "something follows"},
        {T("1f"), 1, "something follows"},
        {T("0x10"), 1, "something follows"},
        {T("1-2"), 1, "something follows"},
        {T("-Infinity"), 1, "no digits"},
        {T("-NaN"), 1, "no digits"},
        {T("\xef\xbc\x91"), 0, "a value is expected"}, /* a fullwidth 1 */
    };

    CHECK_REFUSED(cases);
}

static uint64_t random_bits(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15; /* xorshift64*: the same numbers in every run */

    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1d;
}

static double read_double(const char *text)
{
    dpg_json json;
    double d;

    if (dpg_json_read(&json, guarded_text(text)) != DPG_OK) return (double)NAN;
    d = json.values[0].type == DPG_JSON_INTEGER ? (double)json.values[0].as.integer : json.values[0].as.number;
    dpg_json_clear(&json);
    return d;
}

static void check_as_strtod(const char *text)
{
    double got = read_double(text), want = strtod(text, NULL);

    if (memcmp(&got, &want, sizeof got) != 0) CHECK_FAIL("%.60s: %.17g, not %.17g", text, got, want);
}

TEST("numbers come out to the last bit as strtod reads them")
{
    char text[80];

    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_bits();
        double d;

        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d)) continue;
        snprintf(text, sizeof text, "%.17g", d);
        CHECK(memcmp(&d, &(double){read_double(text)}, sizeof d) == 0);
        snprintf(text, sizeof text, "%.*e", (int)(bits % 30), d);
        check_as_strtod(text);
        snprintf(text, sizeof text, "%s%" PRIu64 ".%" PRIu64 "e%d", bits & 1 ? "-" : "", bits >> (bits & 63),
                 random_bits() >> (bits >> 6 & 63), (int)(random_bits() % 60) - 30);
        check_as_strtod(text);
        snprintf(text, sizeof text, "0.%0*d%" PRIu64, (int)(bits % 20) + 1, 0, random_bits() >> (bits >> 8 & 63));
        check_as_strtod(text);
    }
}

TEST("long numbers are rounded by all of their digits")
{
    static char text[3000];
    size_t n;

    /* 2^53 + 1 lies halfway between two doubles: any digit behind it, however far, tips it */
    for (size_t zeroes = 0; zeroes < 2000; zeroes += 37) {
        n = (size_t)snprintf(text, sizeof text, "9007199254740993.");
        memset(text + n, '0', zeroes);
        snprintf(text + n + zeroes, 2, "0");
        CHECK(read_double(text) == 9007199254740992.0);
        check_as_strtod(text);
        snprintf(text + n + zeroes, 2, "1");
        CHECK(read_double(text) == 9007199254740994.0);
        check_as_strtod(text);
    }
    memset(text, '1', 2000);
    snprintf(text + 2000, 20, "e-1990");
    check_as_strtod(text);
    memset(text, '0', 2000);
    text[1] = '.';
    snprintf(text + 2000, 20, "123456789e1995");
    check_as_strtod(text);
    memset(text, '9', 309);
    text[309] = '\0';
    check_as_strtod(text);
}

TEST("a locale with a decimal comma changes no number")
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "pt_BR.UTF-8", "ru_RU.UTF-8"};
    const char *set = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && !set; i++) set = setlocale(LC_NUMERIC, names[i]);
    CHECK(read_double("1.5") == 1.5);
    CHECK(read_double("1.2345678901234567890123e-200") == 1.2345678901234567890123e-200);
    setlocale(LC_NUMERIC, "C");
}

/* --- members and texts --------------------------------------------------------------------------------------------- */

TEST("finds a member by its name, escaped or not; the last of several wins")
{
    static const struct {
        const char *text, *key;
        int want; /* the member's integer; -1: absent */
    } cases[] = {
        {"{\"a\":1,\"b\":2}", "a", 1},
        {"{\"a\":1,\"b\":2}", "b", 2},
        {"{\"a\":1,\"b\":2}", "c", -1},
        {"{\"a\":1,\"b\":2}", "", -1},
        {"{\"a\":1,\"b\":2}", "ab", -1},
        {"{}", "a", -1},
        {"{\"\":3}", "", 3},
        {"{\"a\":1,\"a\":2,\"a\":3}", "a", 3},
        {"{\"a\":[1,{\"b\":9}],\"b\":2}", "b", 2},
        {"{\"x\":{\"a\":9},\"y\":[\"a\",9],\"a\":1}", "a", 1},
        {"{\"\\u0061\":5}", "a", 5},
        {"{\"access\\u005ftoken\":6}", "access_token", 6},
        {"{\"access\\u005ftoken\":6}", "access", -1},
        {"{\"access\\u005f\":6}", "access_token", -1},
        {"{\"\\u00e9\":7}", "\xc3\xa9", 7},
        {"{\"a\\u0000b\":8}", "a", -1},
        {"[\"a\",1]", "a", -1},
        {"\"a\"", "a", -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_json json;
        uint32_t at;

        REQUIRE(dpg_json_read(&json, guarded_text(cases[i].text)) == DPG_OK);
        at = dpg_json_member(&json, 0, cases[i].key);
        CHECK_INT(at ? json.values[at].as.integer : -1, cases[i].want);
        CHECK_INT(dpg_json_member(&json, json.count, cases[i].key), 0);
        dpg_json_clear(&json);
    }
}

TEST("names that come as expected, or not, come out as they are")
{
    static const taken cases[] = {
        {T("[{\"a\":1,\"b\":2},{\"a\":3,\"b\":4},{\"a\":5,\"b\":6}]"),
         "[{\"a\"=i1 \"b\"=i2} {\"a\"=i3 \"b\"=i4} {\"a\"=i5 \"b\"=i6}]"},
        {T("[{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5},{\"e\":1},{\"a\":1,\"e\":2},{\"d\":1,\"c\":2}]"),
         "[{\"a\"=i1 \"b\"=i2 \"c\"=i3 \"d\"=i4 \"e\"=i5} {\"e\"=i1} {\"a\"=i1 \"e\"=i2} {\"d\"=i1 \"c\"=i2}]"},
        {T("[{\"a\":1},{\"a\":1,\"b\":2,\"c\":3},{\"x\":0,\"a\":1,\"y\":0,\"b\":2},{}, {\"a\":1}]"),
         "[{\"a\"=i1} {\"a\"=i1 \"b\"=i2 \"c\"=i3} {\"x\"=i0 \"a\"=i1 \"y\"=i0 \"b\"=i2} {} {\"a\"=i1}]"},
        {T("[{\"a\":[{\"b\":{\"c\":1}},{\"b\":2}]},{\"a\":[{\"b\":{\"c\":3}}]},{\"a\":{\"b\":1}},{\"a\":[]}]"),
         "[{\"a\"=[{\"b\"={\"c\"=i1}} {\"b\"=i2}]} {\"a\"=[{\"b\"={\"c\"=i3}}]} {\"a\"={\"b\"=i1}} {\"a\"=[]}]"},
        {T("[{\"name\":1},{\"names\":2},{\"nam\":3},{\"name\" : 4},{ "
           "\"name\":5},{\"\\u006eame\":6},{\"\\u006eame\":7}]"),
         "[{\"name\"=i1} {\"names\"=i2} {\"nam\"=i3} {\"name\"=i4} {\"name\"=i5} {\"name\"=i6} {\"name\"=i7}]"},
        {T("{\"a\":{\"a\":{\"a\":{\"a\":{}}}},\"b\":{\"a\":{\"a\":1}}}"),
         "{\"a\"={\"a\"={\"a\"={\"a\"={}}}} \"b\"={\"a\"={\"a\"=i1}}}"},
        {T("[{\"a\":1,\"a\":2},{\"a\":3,\"a\":4,\"a\":5}]"), "[{\"a\"=i1 \"a\"=i2} {\"a\"=i3 \"a\"=i4 \"a\"=i5}]"},
        {T("[{\"long_name_1\":1},{\"long_name_2\":2},{\"long_name_2\":3}]"),
         "[{\"long_name_1\"=i1} {\"long_name_2\"=i2} {\"long_name_2\"=i3}]"},
    };
    static const refused broken[] = {
        {T("[{\"a\":1},{\"a\"1}]"), 13, "a colon is expected"},
        {T("[{\"a\":1},{\"a\""), 13, "the text ends inside an object"},
        {T("[{\"a\":1},{\"a\" "), 14, "the text ends inside an object"},
        {T("[{\"a\":1},{\"a"), 12, "the text ends inside a string"},
        {T("[{\"a\":1,\"b\":2},{\"a\":1,,"), 22, "a name in quotes"},
        {T("[{\"a\":1,\"b\":2},{\"a\":1,}"), 22, "a name in quotes"},
        {T("[{\"a\":1},{,\"a\":1}]"), 10, "a name in quotes"},
        {T("[{\"a\":[1]},{\"a\":[,1]}]"), 17, "a value is expected"},
    };

    CHECK_TAKEN(cases);
    CHECK_REFUSED(broken);
}

TEST("a name that objects share has one number, and there are only so many")
{
    const uint32_t n = DPG_JSON_MAX_NAMES + 50;
    dpg_json json;
    dpg_buf text;

    REQUIRE(dpg_json_read(&json, guarded_text("[{\"a\":\"a\",\"b\":1},{\"a\":\"b\",\"b\":2},{\"b\":3}]")) == DPG_OK);
    CHECK(json.values[2].name && json.values[2].name == json.values[7].name);
    CHECK(json.values[4].name && json.values[4].name == json.values[9].name);
    CHECK_INT(json.values[12].name, json.values[4].name);
    CHECK_INT(json.name_count, 2);
    CHECK_INT(json.values[3].name, 0); /* values have none */
    dpg_json_clear(&json);

    dpg_buf_init(&text, 1000000);
    for (uint32_t object = 0; object < 3; object++) {
        dpg_buf_puts(&text, object ? ",{\"n\":0" : "[{\"n\":0");
        for (uint32_t i = 0; i < n; i++) dpg_buf_printf(&text, ",\"n%" PRIu32 "\":%" PRIu32, i, i);
        dpg_buf_puts(&text, "}");
    }
    dpg_buf_puts(&text, "]");
    REQUIRE(dpg_json_read(&json, guarded(dpg_buf_str(&text).ptr, dpg_buf_str(&text).len)) == DPG_OK);
    CHECK(tape_ok(&json));
    CHECK_INT(json.name_count, DPG_JSON_MAX_NAMES);
    CHECK_INT(json.values[dpg_json_member(&json, 1, "n249")].as.integer, 249);
    dpg_json_clear(&json);
    dpg_buf_clear(&text);
}

TEST("expects the names of one object, and not what stands behind it")
{
    dpg_json json;

    REQUIRE(dpg_json_read(&json, guarded_text("[{\"a\":1},\"zz\",{\"a\":1,\"zz\":2}]")) == DPG_OK);
    CHECK(tape_ok(&json));
    CHECK_INT(json.values[4].name, 0); /* "zz", a value */
    CHECK_INT(json.name_count, 1);
    dpg_json_clear(&json);
}

TEST("looks a few names ahead for the one that has come, and no further: else it might look at all of them, each time")
{
    dpg_json json;

    REQUIRE(dpg_json_read(&json, guarded_text("[{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5},{\"d\":1}]")) == DPG_OK);
    CHECK_INT(json.name_count, 1);
    dpg_json_clear(&json);
    REQUIRE(dpg_json_read(&json, guarded_text("[{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5},{\"e\":1}]")) == DPG_OK);
    CHECK_INT(json.name_count, 0);
    dpg_json_clear(&json);
}

TEST("gives back the text of any value as it came")
{
    dpg_json json;
    dpg_str text;
    static const char *const want[] = {
        "{ \"a\\n\" : [ 1 , -2.50e0 ] , \"b\":{ } }", "\"a\\n\"", "[ 1 , -2.50e0 ]", "1", "-2.50e0", "\"b\"", "{ }",
    };

    REQUIRE(dpg_json_read(&json, guarded_text("  { \"a\\n\" : [ 1 , -2.50e0 ] , \"b\":{ } } ")) == DPG_OK);
    REQUIRE(json.count == sizeof want / sizeof *want);
    for (uint32_t i = 0; i < json.count; i++) {
        text = dpg_json_text(&json, i);
        CHECK_MEM(text.ptr, text.len, want[i], strlen(want[i]));
    }
    dpg_json_clear(&json);
}

/* --- broken on the way --------------------------------------------------------------------------------------------- */

static const char page[] =
    "{\"data\":[{\"uuid\":\"0192f3e4\",\"title\":\"caf\\u00e9 \xf0\x9f\x98\x80 \\ud83d\\ude00\",\"rating\":"
    "4,\"aspect\":-1.5e-3,\"colour\":null,\"tags\":[],\"alt\":{}}],\"meta\":{\"has_more\":false,\"next\":"
    "9223372036854775807,\"total\":true}}";

TEST("a page cut off anywhere is refused")
{
    dpg_json json;

    for (size_t len = 0; len < sizeof page - 1; len++) {
        if (dpg_json_read(&json, guarded(page, len)) != DPG_E_INVALID) CHECK_FAIL("taken when cut at %zu", len);
        if (json.error_at > len) CHECK_FAIL("cut at %zu, the fault is said to be at %zu", len, json.error_at);
        dpg_json_clear(&json);
    }
    REQUIRE(dpg_json_read(&json, guarded(page, sizeof page - 1)) == DPG_OK);
    dpg_json_clear(&json);
}

TEST("a page with any one byte changed is taken whole or refused, and never read past its end")
{
    char text[sizeof page - 1];
    dpg_json json;

    for (size_t at = 0; at < sizeof text; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(text, page, sizeof text);
            text[at] = (char)byte;
            if (dpg_json_read(&json, guarded(text, sizeof text)) == DPG_OK && !tape_ok(&json))
                CHECK_FAIL("byte %d at %zu: the tape is wrong", byte, at);
            dpg_json_clear(&json);
        }
    }
}

CHECK_MAIN()
