/*
 * The JSON reader: one pass over the text, no recursion, onto the tape that json.h describes. It knows no document of
 * ours; record.c, the credential and the binding's table builder read the tape.
 */
#include "json.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char byte;

typedef struct reader {
    dpg_json *json;
    const byte *begin, *p, *end; /* nothing at or behind `end` is ever read: the text has no NUL */
    dpg_status status;
    uint32_t depth;
    uint32_t open[DPG_JSON_MAX_DEPTH]; /* the containers that we are in */
} reader;

/* --- failing, and room on the tape --------------------------------------------------------------------------------- */

static bool fail_at(reader *r, const byte *at, const char *sentence)
{
    r->status = DPG_E_INVALID;
    r->json->error = sentence;
    r->json->error_at = (size_t)(at - r->begin);
    return false;
}

static bool grow(reader *r)
{
    dpg_json *json = r->json;
    size_t most = json->text.len; /* each value takes a byte at least */
    size_t cap = json->cap ? (size_t)json->cap + json->cap / 2 + 16 : json->text.len / 12 + 16;
    dpg_json_value *values;

    if (cap > most) cap = most;
    values =
        cap > json->cap && cap <= SIZE_MAX / sizeof *values ? dpg_realloc(json->values, cap * sizeof *values) : NULL;
    if (!values) {
        r->status = DPG_E_NOMEM;
        json->error = "out of memory";
        json->error_at = (size_t)(r->p - r->begin);
        return false;
    }
    json->values = values;
    json->cap = (uint32_t)cap;
    return true;
}

/* The next value on the tape, which spans no other; NULL: no memory. */
static dpg_json_value *push(reader *r, dpg_json_type type, const byte *start, size_t len)
{
    dpg_json *json = r->json;
    dpg_json_value *v;

    if (json->count == json->cap && !grow(r)) return NULL;
    v = &json->values[json->count++];
    v->type = (uint8_t)type;
    v->escaped = false;
    v->count = 0;
    v->next = json->count;
    v->start = (uint32_t)(start - r->begin);
    v->len = (uint32_t)len;
    v->as.integer = 0;
    return v;
}

static void skip_blanks(reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t')) r->p++;
}

/* --- strings ------------------------------------------------------------------------------------------------------- */

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* Does any of these eight bytes need a closer look: a control, a quote, a backslash, anything beyond ASCII? */
static bool eight_need_a_look(const byte *p)
{
    uint64_t w, quote, slash;

    memcpy(&w, p, sizeof w);
    quote = w ^ ONES * '"';
    slash = w ^ ONES * '\\';
    return ((w | (w - ONES * 0x20) | (quote - ONES) | (slash - ONES)) & HIGHS) != 0;
}

/* How many bytes the UTF-8 character at `p` takes (RFC 3629: shortest form, no surrogates, to U+10FFFF); 0: it is none. */
static size_t utf8_length(const byte *p, const byte *end)
{
    size_t left = (size_t)(end - p), n;
    byte low = 0x80, high = 0xbf;

    if (*p < 0xc2 || *p > 0xf4) return 0;
    n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    if (left < n) return 0;
    if (*p == 0xe0) low = 0xa0;
    if (*p == 0xed) high = 0x9f;
    if (*p == 0xf0) low = 0x90;
    if (*p == 0xf4) high = 0x8f;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

static int hex_digit(byte c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four digits of a \u escape; -1: they aren't there. */
static int32_t hex4(const byte *p, const byte *end)
{
    int32_t code = 0;

    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);

        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

/* Checks the escape at r->p and goes behind it. A surrogate counts only as half of a pair. */
static bool read_escape(reader *r)
{
    const byte *p = r->p;
    int32_t code;

    if (r->end - p < 2) return fail_at(r, r->end, "the text ends inside a string");
    if (p[1] != 'u') {
        if (p[1] == '\0' || !strchr("\"\\/bfnrt", p[1])) return fail_at(r, p, "no such escape in a string");
        r->p = p + 2;
        return true;
    }
    if ((code = hex4(p + 2, r->end)) < 0) return fail_at(r, p, "\\u wants four hexadecimal digits");
    r->p = p + 6;
    if (code < 0xd800 || code > 0xdfff) return true;
    if (code <= 0xdbff && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
        code = hex4(r->p + 2, r->end);
        if (code >= 0xdc00 && code <= 0xdfff) {
            r->p += 6;
            return true;
        }
    }
    return fail_at(r, p, "half of a surrogate pair stands alone");
}

/* A string, r->p at its first quote. */
static bool read_string(reader *r)
{
    const byte *start = ++r->p;
    dpg_json_value *v;
    bool escaped = false;

    for (;;) {
        while (r->end - r->p >= 8 && !eight_need_a_look(r->p)) r->p += 8;
        if (r->p == r->end) return fail_at(r, r->p, "the text ends inside a string");
        if (*r->p == '"') break;
        if (*r->p == '\\') {
            escaped = true;
            if (!read_escape(r)) return false;
        } else if (*r->p < 0x20) {
            return fail_at(r, r->p, "a control character in a string must be escaped");
        } else if (*r->p < 0x80) {
            r->p++;
        } else {
            size_t n = utf8_length(r->p, r->end);

            if (n == 0) return fail_at(r, r->p, "a string is not UTF-8");
            r->p += n;
        }
    }
    if (!(v = push(r, DPG_JSON_STRING, start, (size_t)(r->p - start)))) return false;
    v->escaped = escaped;
    r->p++;
    return true;
}

/* --- numbers ------------------------------------------------------------------------------------------------------- */

/* What a number's text says: (-)digits with the point taken out, times ten to the `exponent`. */
typedef struct decimal {
    bool negative, whole;
    uint64_t mantissa; /* if digits <= 19 */
    size_t digits;     /* significant ones: without zeros in front */
    int64_t exponent;
} decimal;

#define ENOUGH_DIGITS 800          /* 767 settle any rounding to a double; one more says "and something" */
#define HUGE_EXPONENT 100000000000 /* beyond what any text below 4 GiB can make up for with its digits */

/*
 * The slow way, correctly rounded by strtod. It gets its digits without a point, so no locale has a say, and never more
 * than ENOUGH_DIGITS of them.
 */
static double convert_long(const decimal *d, const byte *p, const byte *end)
{
    char text[ENOUGH_DIGITS + 32];
    size_t n = 0, dropped = 0;
    bool rest = false;
    int64_t exponent = d->exponent;

    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '-' || *p == '.' || (n == 0 && *p == '0')) continue;
        if (n < ENOUGH_DIGITS) {
            text[n++] = (char)*p;
        } else {
            dropped++;
            rest = rest || *p != '0';
        }
    }
    if (n == 0) return 0.0;
    if (rest) {
        text[n++] = '1';
        dropped--;
    }
    exponent += (int64_t)dropped;
    if (exponent > 99999) exponent = 99999;
    if (exponent < -99999) exponent = -99999;
    text[n++] = 'e';
    if (exponent < 0) text[n++] = '-';
    if (exponent < 0) exponent = -exponent;
    for (int64_t place = 10000; place > 0; place /= 10) text[n++] = (char)('0' + exponent / place % 10);
    text[n] = '\0';
    return strtod(text, NULL);
}

static double convert(const decimal *d, const byte *p, const byte *end)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double value;

    /* Both operands are exact here, so the one operation rounds once (Clinger); x87 would round twice. */
    if (FLT_EVAL_METHOD == 0 && d->digits <= 19 && d->mantissa <= (uint64_t)1 << 53 && d->exponent >= -22 &&
        d->exponent <= 22) {
        value = (double)d->mantissa;
        value = d->exponent < 0 ? value / tens[-d->exponent] : value * tens[d->exponent];
    } else {
        value = convert_long(d, p, end);
    }
    return d->negative ? -value : value;
}

/* Digits from r->p on into `d`; false where there is none. */
static bool read_digits(reader *r, decimal *d, bool fraction)
{
    const byte *start = r->p;

    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
        if (d->digits || *r->p != '0') d->digits++;
        if (d->digits <= 19) d->mantissa = d->mantissa * 10 + (uint64_t)(*r->p - '0');
    }
    if (fraction) d->exponent -= r->p - start;
    return r->p > start;
}

static bool read_exponent(reader *r, decimal *d)
{
    const byte *start;
    int64_t value = 0;
    bool negative = false;

    if (r->p < r->end && (*r->p == '+' || *r->p == '-')) negative = *r->p++ == '-';
    for (start = r->p; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
        if (value < HUGE_EXPONENT) value = value * 10 + (*r->p - '0');
    d->exponent += negative ? -value : value;
    return r->p > start;
}

/* A number, r->p at its first byte. */
static bool read_number(reader *r)
{
    const byte *start = r->p, *first;
    decimal d = {.whole = true};
    dpg_json_value *v;

    if (*r->p == '-') d.negative = true, r->p++;
    first = r->p;
    if (!read_digits(r, &d, false)) return fail_at(r, r->p, "a number has no digits");
    if (*first == '0' && r->p - first > 1) return fail_at(r, first, "a number starts with a zero too many");
    if (r->p < r->end && *r->p == '.') {
        d.whole = false;
        r->p++;
        if (!read_digits(r, &d, true)) return fail_at(r, r->p, "a number has no digits behind its point");
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        d.whole = false;
        r->p++;
        if (!read_exponent(r, &d)) return fail_at(r, r->p, "a number has no digits in its exponent");
    }
    if (!(v = push(r, DPG_JSON_NUMBER, start, (size_t)(r->p - start)))) return false;
    /* 19 digits are below 2^64; -0 stays a number, since no integer has that sign */
    if (d.whole && d.digits <= 19 && d.mantissa <= (uint64_t)INT64_MAX + d.negative &&
        !(d.negative && d.mantissa == 0)) {
        v->type = DPG_JSON_INTEGER;
        if (!d.negative) v->as.integer = (int64_t)d.mantissa;
        else v->as.integer = -(int64_t)(d.mantissa - 1) - 1;
    } else {
        v->as.number = convert(&d, start, r->p);
    }
    return true;
}

/* --- values -------------------------------------------------------------------------------------------------------- */

static bool read_literal(reader *r, dpg_str word, dpg_json_type type)
{
    if ((size_t)(r->end - r->p) < word.len || memcmp(r->p, word.ptr, word.len) != 0)
        return fail_at(r, r->p, "a value is expected here");
    if (!push(r, type, r->p, word.len)) return false;
    r->p += word.len;
    return true;
}

static bool open_container(reader *r, dpg_json_type type)
{
    if (r->depth == DPG_JSON_MAX_DEPTH) return fail_at(r, r->p, "nested too deeply");
    r->open[r->depth++] = r->json->count;
    if (!push(r, type, r->p, 0)) return false;
    r->p++;
    return true;
}

static void close_container(reader *r)
{
    dpg_json_value *v = &r->json->values[r->open[--r->depth]];

    r->p++;
    v->next = r->json->count;
    v->len = (uint32_t)(r->p - r->begin) - v->start;
}

/* A value, or the head of a container. */
static bool read_value(reader *r)
{
    skip_blanks(r);
    if (r->p == r->end) return fail_at(r, r->p, "the text ends where a value is expected");
    switch (*r->p) {
    case '{': return open_container(r, DPG_JSON_OBJECT);
    case '[': return open_container(r, DPG_JSON_ARRAY);
    case '"': return read_string(r);
    case 'n': return read_literal(r, DPG_LIT("null"), DPG_JSON_NULL);
    case 't': return read_literal(r, DPG_LIT("true"), DPG_JSON_TRUE);
    case 'f': return read_literal(r, DPG_LIT("false"), DPG_JSON_FALSE);
    default: break;
    }
    if (*r->p == '-' || (*r->p >= '0' && *r->p <= '9')) return read_number(r);
    return fail_at(r, r->p, "a value is expected here");
}

static bool read_key(reader *r)
{
    skip_blanks(r);
    if (r->p == r->end) return fail_at(r, r->p, "the text ends inside an object");
    if (*r->p != '"') return fail_at(r, r->p, "a name in quotes is expected here");
    if (!read_string(r)) return false;
    skip_blanks(r);
    if (r->p == r->end) return fail_at(r, r->p, "the text ends inside an object");
    if (*r->p != ':') return fail_at(r, r->p, "a colon is expected here");
    r->p++;
    return true;
}

/* Reads all of it: after each value comes what its container says may follow. */
static bool document(reader *r)
{
    dpg_json *json = r->json;
    bool fresh; /* the last value is a container that was just opened */

    if (!read_value(r)) return false;
    fresh = r->depth > 0;
    while (r->depth > 0) {
        uint32_t at = r->open[r->depth - 1];
        bool object = json->values[at].type == DPG_JSON_OBJECT;
        uint32_t depth = r->depth;

        skip_blanks(r);
        if (r->p == r->end)
            return fail_at(r, r->p, object ? "the text ends inside an object" : "the text ends inside an array");
        if (*r->p == (object ? '}' : ']')) {
            close_container(r);
            fresh = false;
            continue;
        }
        if (!fresh) {
            if (*r->p != ',')
                return fail_at(r, r->p, object ? "a comma or } is expected here" : "a comma or ] is expected here");
            r->p++;
        }
        if ((object && !read_key(r)) || !read_value(r)) return false;
        json->values[at].count++;
        fresh = r->depth > depth;
    }
    skip_blanks(r);
    return r->p == r->end || fail_at(r, r->p, "something follows the value");
}

dpg_status dpg_json_read(dpg_json *json, dpg_str text)
{
    reader r = {.json = json, .status = DPG_OK};

    memset(json, 0, sizeof *json);
    json->text = text;
    if (!text.ptr) text.len = 0;
    r.begin = r.p = text.len ? (const byte *)text.ptr : (const byte *)"";
    r.end = r.begin + text.len;
    if (text.len >= UINT32_MAX) {
        json->error = "the text is too long";
        return DPG_E_INVALID;
    }
    if (document(&r)) return DPG_OK;
    dpg_free(json->values);
    json->values = NULL;
    json->count = json->cap = 0;
    return r.status;
}

void dpg_json_clear(dpg_json *json)
{
    dpg_free(json->values);
    memset(json, 0, sizeof *json);
}

/* --- reading the tape ---------------------------------------------------------------------------------------------- */

/* Unescapes the one escape at *p, which dpg_json_read() has checked, and goes behind it. Returns how many bytes it is. */
static size_t unescape_one(const byte **p, const byte *end, char out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const byte *at = *p;
    const char *simple;
    uint32_t code;

    if (at[1] != 'u') {
        simple = memchr(from, at[1], sizeof from - 1);
        out[0] = simple ? to[simple - from] : (char)at[1];
        *p = at + 2;
        return 1;
    }
    code = (uint32_t)hex4(at + 2, end);
    *p = at + 6;
    if (code >= 0xd800 && code <= 0xdbff) {
        code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)hex4(at + 8, end) - 0xdc00);
        *p = at + 12;
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* The next piece of a raw string: a run without escapes, in place, or one escape, in `room`. Empty at the end. */
static dpg_str next_piece(const byte **p, const byte *end, char room[4])
{
    const byte *start = *p, *slash;

    if (start == end) return dpg_str_of("", 0);
    if (*start == '\\') {
        size_t n = unescape_one(p, end, room);

        return dpg_str_of(room, n);
    }
    slash = memchr(start, '\\', (size_t)(end - start));
    *p = slash ? slash : end;
    return dpg_str_of((const char *)start, (size_t)(*p - start));
}

static dpg_str raw_of(const dpg_json *json, uint32_t index)
{
    const dpg_json_value *v = &json->values[index];

    return dpg_str_of(json->text.ptr + v->start, v->len);
}

size_t dpg_json_unescape_to(dpg_str raw, char *to)
{
    const byte *p = (const byte *)raw.ptr, *end = p + raw.len;
    char room[4];
    dpg_str piece;
    size_t n = 0;

    while ((piece = next_piece(&p, end, room)).len) {
        memcpy(to + n, piece.ptr, piece.len);
        n += piece.len;
    }
    return n;
}

bool dpg_json_unescape(const dpg_json *json, uint32_t index, dpg_buf *out)
{
    dpg_str raw = raw_of(json, index), piece;
    const byte *p = (const byte *)raw.ptr, *end = p + raw.len;
    char room[4];

    while ((piece = next_piece(&p, end, room)).len)
        if (!dpg_buf_put_str(out, piece)) return false;
    return dpg_buf_put(out, "", 0); /* an empty string, too, leaves a terminated buffer */
}

static bool key_is(const dpg_json *json, uint32_t index, dpg_str key)
{
    dpg_str raw = raw_of(json, index), piece;
    const byte *p = (const byte *)raw.ptr, *end = p + raw.len;
    char room[4];

    if (!json->values[index].escaped) return dpg_str_eq(raw, key);
    while ((piece = next_piece(&p, end, room)).len) {
        if (piece.len > key.len || memcmp(piece.ptr, key.ptr, piece.len) != 0) return false;
        key.ptr += piece.len;
        key.len -= piece.len;
    }
    return key.len == 0;
}

uint32_t dpg_json_member(const dpg_json *json, uint32_t object, const char *key)
{
    dpg_str wanted = dpg_cstr(key);
    uint32_t found = 0, at, left;

    if (object >= json->count || json->values[object].type != DPG_JSON_OBJECT) return 0;
    at = object + 1;
    for (left = json->values[object].count; left > 0; left--) {
        if (key_is(json, at, wanted)) found = at + 1;
        at = json->values[at + 1].next;
    }
    return found;
}

dpg_str dpg_json_text(const dpg_json *json, uint32_t index)
{
    const dpg_json_value *v = &json->values[index];
    dpg_str raw = raw_of(json, index);

    return v->type == DPG_JSON_STRING ? dpg_str_of(raw.ptr - 1, raw.len + 2) : raw;
}
