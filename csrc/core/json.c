/*
 * The JSON reader: one pass over the text, no recursion, onto the tape that json.h describes. It knows no document of
 * ours; record.c, the credential and the binding's table builder read the tape.
 *
 * Pages hold the same shape over and over. So each object is expected to have the names of the one before it, in their
 * order: a name that comes as expected is compared, not read, and gets a number, so that who builds from the tape makes
 * it once. That is a guess from this very text; a wrong one costs a few comparisons.
 */
#include "json.h"

#include "json_number.h"

#include <string.h>

/* HOT is on the path of every value, where a call costs more than what is called. */
#if defined(__GNUC__)
#define HOT static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline))
#else
#define HOT static inline
#define COLD static
#endif

typedef unsigned char byte;

/* A container that we are in. */
typedef struct frame {
    int close;      /* its closing bracket; -1: the outermost, which is no container and has no end */
    uint32_t at;    /* where on the tape */
    uint32_t count; /* values so far */
    /*
     * In an array the container that its next element may look like; in an object the name that may come next, out of
     * the object that this one may look like, which ends at like_end. 0: no guess.
     */
    uint32_t like, like_end;
} frame;

typedef struct reader {
    dpg_json *json;
    const byte *begin, *end; /* nothing at or behind `end` is ever read: the text has no NUL */
    dpg_json_value *values;  /* the tape, and the end of its room */
    dpg_json_value *limit;
    dpg_status status;
    uint32_t depth;
    frame frames[DPG_JSON_MAX_DEPTH + 1];
} reader;

/* --- failing, and room on the tape --------------------------------------------------------------------------------- */

COLD const byte *fail_at(reader *r, const byte *at, const char *sentence)
{
    r->status = DPG_E_INVALID;
    r->json->error = sentence;
    r->json->error_at = (size_t)(at - r->begin);
    return NULL;
}

/* Makes room for two values more, a name and what it names; returns where `v`, the first free place, is now. */
COLD dpg_json_value *grow(reader *r, const dpg_json_value *v, const byte *p)
{
    size_t count = (size_t)(v - r->values), most = r->json->text.len + 2; /* each value takes a byte at least */
    size_t cap = count ? count + count / 2 + 16 : r->json->text.len / 10 + 16;
    dpg_json_value *values;

    if (cap > most) cap = most;
    values = cap <= SIZE_MAX / sizeof *values ? dpg_realloc(r->values, cap * sizeof *values) : NULL;
    if (!values) {
        r->status = DPG_E_NOMEM;
        r->json->error = "out of memory";
        r->json->error_at = (size_t)(p - r->begin);
        return NULL;
    }
    r->values = values;
    r->limit = values + cap;
    return values + count;
}

HOT void put(reader *r, dpg_json_value *v, dpg_json_type type, const byte *p)
{
    v->type = (uint8_t)type;
    v->escaped = false;
    v->name = 0;
    v->start = (uint32_t)(p - r->begin);
}

/* To the next byte that is no blank, or to the end. */
HOT const byte *skip_blanks(const byte *p, const byte *end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* --- eight bytes at a time ----------------------------------------------------------------------------------------- */

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* The first byte lowest on every machine; a compiler makes one load of it. */
HOT uint64_t load(const byte *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
           (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Bytes that need a closer look: a control, a quote, a backslash, anything beyond ASCII. The lowest bit set is right. */
HOT uint64_t to_look_at(uint64_t w)
{
    uint64_t quote = w ^ ONES * '"', slash = w ^ ONES * '\\';

    return (w | (w - ONES * 0x20) | (quote - ONES) | (slash - ONES)) & HIGHS;
}

static inline unsigned first_set(uint64_t mask)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(mask) / 8;
#else
    unsigned n = 0;

    for (; !(mask & 0xff); mask >>= 8) n++;
    return n;
#endif
}

/* Are these n bytes the same? n is 2 or more; `a` may be followed by less than `b` is. */
HOT bool same_bytes(const byte *a, const byte *b, size_t n, const byte *end)
{
    size_t i = 0;

    if (n < 8) {
        if (end - a < 8) return memcmp(a, b, n) == 0;
        return (load(a) ^ load(b)) << (64 - 8 * n) == 0;
    }
    for (; i + 8 < n; i += 8)
        if (load(a + i) != load(b + i)) return false;
    return load(a + n - 8) == load(b + n - 8);
}

/* --- strings ------------------------------------------------------------------------------------------------------- */

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

/* Checks the escape at p; returns what follows it. A surrogate counts only as half of a pair. */
COLD const byte *read_escape(reader *r, const byte *p)
{
    const byte *end = r->end;
    int32_t code;

    if (end - p < 2) return fail_at(r, end, "the text ends inside a string");
    if (p[1] != 'u') {
        if (p[1] == '\0' || !strchr("\"\\/bfnrt", p[1])) return fail_at(r, p, "no such escape in a string");
        return p + 2;
    }
    if ((code = hex4(p + 2, end)) < 0) return fail_at(r, p, "\\u wants four hexadecimal digits");
    if (code < 0xd800 || code > 0xdfff) return p + 6;
    if (code <= 0xdbff && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
        code = hex4(p + 8, end);
        if (code >= 0xdc00 && code <= 0xdfff) return p + 12;
    }
    return fail_at(r, p, "half of a surrogate pair stands alone");
}

/* Reads to the quote that ends a string, p being behind the first one. */
HOT const byte *read_inside(reader *r, const byte *p, bool *escaped)
{
    const byte *end = r->end;

    for (;;) {
        while (end - p >= 8) {
            uint64_t look = to_look_at(load(p));

            if (look) {
                p += first_set(look);
                break;
            }
            p += 8;
        }
        if (p == end) return fail_at(r, p, "the text ends inside a string");
        if (*p == '"') return p;
        if (*p == '\\') {
            *escaped = true;
            if (!(p = read_escape(r, p))) return NULL;
        } else if (*p < 0x20) {
            return fail_at(r, p, "a control character in a string must be escaped");
        } else if (*p < 0x80) {
            p++;
        } else {
            size_t n = utf8_length(p, end);

            if (n == 0) return fail_at(r, p, "a string is not UTF-8");
            p += n;
        }
    }
}

/* A string, p at its first quote. */
HOT const byte *read_string(reader *r, const byte *p, dpg_json_value *v)
{
    bool escaped = false;
    const byte *end = read_inside(r, p + 1, &escaped);

    if (!end) return NULL;
    put(r, v, DPG_JSON_STRING, p + 1);
    v->escaped = escaped;
    v->as.len = (uint32_t)(end - p - 1);
    return end + 1;
}

/* --- values -------------------------------------------------------------------------------------------------------- */

HOT const byte *read_literal(reader *r, const byte *p, dpg_json_value *v, dpg_str word, dpg_json_type type)
{
    if ((size_t)(r->end - p) < word.len || memcmp(p, word.ptr, word.len) != 0)
        return fail_at(r, p, "a value is expected here");
    put(r, v, type, p);
    return p + word.len;
}

COLD const byte *read_any_number(reader *r, const byte *p, dpg_json_value *v)
{
    const byte *error_at;
    const char *error;

    put(r, v, DPG_JSON_NUMBER, p);
    p = dpg_json_read_number(p, r->end, v, &error, &error_at);
    return p ? p : fail_at(r, error_at, error);
}

/* Most numbers are short and whole: those here. */
HOT const byte *read_number(reader *r, const byte *p, dpg_json_value *v)
{
    const byte *start = p, *limit = r->end - p > 18 ? p + 18 : r->end;
    int64_t n = 0;

    for (; p < limit && (byte)(*p - '0') < 10; p++) n = n * 10 + (*p - '0');
    if (p == limit || p == start || *p == '.' || (*p | 0x20) == 'e' || (*start == '0' && p - start > 1))
        return read_any_number(r, start, v);
    put(r, v, DPG_JSON_INTEGER, start);
    v->as.integer = n;
    return p;
}

/* Opens the container `v`, which may look like the one at `like`. */
HOT const byte *open_container(reader *r, const byte *p, dpg_json_value *v, uint32_t like)
{
    dpg_json_type type = *p == '{' ? DPG_JSON_OBJECT : DPG_JSON_ARRAY;
    const dpg_json_value *model = &r->values[like];
    frame *f;

    if (r->depth == DPG_JSON_MAX_DEPTH) return fail_at(r, p, "nested too deeply");
    if (++r->depth > r->json->depth) r->json->depth = r->depth;
    f = &r->frames[r->depth];
    put(r, v, type, p);
    v->as.of.count = v->as.of.next = 0;
    f->close = *p + 2; /* ASCII has both brackets two behind their openings */
    f->at = (uint32_t)(v - r->values);
    f->count = 0;
    f->like = 0;
    if (like && model->type == type && model->as.of.count) {
        f->like = like + 1;
        f->like_end = model->as.of.next;
    }
    return p + 1;
}

/* A value, or the head of a container. */
HOT const byte *read_value(reader *r, const byte *p, dpg_json_value *v, uint32_t like)
{
    if (p == r->end || *p <= ' ') {
        p = skip_blanks(p, r->end);
        if (p == r->end) return fail_at(r, p, "the text ends where a value is expected");
    }
    switch (*p) {
    case '"': return read_string(r, p, v);
    case '{':
    case '[': return open_container(r, p, v, like);
    case 'n': return read_literal(r, p, v, DPG_LIT("null"), DPG_JSON_NULL);
    case 't': return read_literal(r, p, v, DPG_LIT("true"), DPG_JSON_TRUE);
    case 'f': return read_literal(r, p, v, DPG_LIT("false"), DPG_JSON_FALSE);
    case '-': return read_any_number(r, p, v);
    default: break;
    }
    return (byte)(*p - '0') < 10 ? read_number(r, p, v) : fail_at(r, p, "a value is expected here");
}

/* The index behind the value at `at`. */
HOT uint32_t behind(const reader *r, uint32_t at)
{
    const dpg_json_value *v = &r->values[at];

    return v->type >= DPG_JSON_ARRAY ? v->as.of.next : at + 1;
}

/* The name at index `at` has come again: gives it a number, unless there are too many. */
COLD void number_name(reader *r, uint32_t at)
{
    dpg_json *json = r->json;

    if (json->name_count == DPG_JSON_MAX_NAMES) return;
    json->names[json->name_count++] = at;
    r->values[at].name = (uint16_t)json->name_count;
}

/* Is the name at `p` the expected one? Then `v` becomes the like of it; returns what follows it, or NULL. */
HOT const byte *read_expected(reader *r, frame *f, const byte *p, dpg_json_value *v, uint32_t *like)
{
    const dpg_json_value *model = &r->values[f->like];
    size_t n = (size_t)model->as.len + 2;

    if ((size_t)(r->end - p) <= n || !same_bytes(p, r->begin + model->start - 1, n, r->end)) return NULL;
    if (!model->name) number_name(r, f->like);
    *v = *model;
    v->start = (uint32_t)(p + 1 - r->begin);
    *like = f->like + 1;
    f->like = behind(r, *like);
    if (f->like >= f->like_end) f->like = 0;
    return p + n;
}

/* A name that does not come as expected: the expected one is missing, or this one is new. */
HOT const byte *read_unexpected(reader *r, frame *f, const byte *p, dpg_json_value *v, uint32_t *like)
{
    uint32_t expected = f->like;

    for (int tries = 0; f->like && f->like < f->like_end && tries < 4; tries++) {
        const byte *q = read_expected(r, f, p, v, like);

        if (q) return q;
        f->like = behind(r, f->like + 1);
    }
    f->like = expected;
    *like = 0;
    return read_string(r, p, v);
}

COLD const byte *read_name_slowly(reader *r, frame *f, const byte *p, dpg_json_value *v, uint32_t *like)
{
    p = skip_blanks(p, r->end);
    if (p == r->end) return fail_at(r, p, "the text ends inside an object");
    if (*p != '"') return fail_at(r, p, "a name in quotes is expected here");
    if (!(p = read_unexpected(r, f, p, v, like))) return NULL;
    p = skip_blanks(p, r->end);
    if (p == r->end) return fail_at(r, p, "the text ends inside an object");
    if (*p != ':') return fail_at(r, p, "a colon is expected here");
    return p + 1;
}

/* The name of a member, and the colon. */
HOT const byte *read_name(reader *r, frame *f, const byte *p, dpg_json_value *v, uint32_t *like)
{
    const byte *colon;

    if (f->like && (colon = read_expected(r, f, p, v, like)) != NULL) {
        if (*colon == ':') return colon + 1;
        f->like = *like - 1; /* once more, with blanks */
    }
    return read_name_slowly(r, f, p, v, like);
}

/* Closes what ends at `p`, one container after the other, up to the next value or name; `top` is its index. */
COLD const byte *close_containers(reader *r, const byte *p, uint32_t top)
{
    for (; r->depth > 0; p++) {
        frame *f = &r->frames[r->depth];
        dpg_json_value *v = &r->values[f->at];
        bool object = f->close == '}';

        p = skip_blanks(p, r->end);
        if (p == r->end)
            return fail_at(r, p, object ? "the text ends inside an object" : "the text ends inside an array");
        if (*p == ',' && f->count > 0) return p + 1;
        if (*p != f->close) {
            if (f->count == 0) return p;
            return fail_at(r, p, object ? "a comma or } is expected here" : "a comma or ] is expected here");
        }
        v->as.of.count = f->count;
        v->as.of.next = top;
        r->depth--;
        if (f[-1].close == ']') f[-1].like = f->at;
    }
    return p;
}

/* Reads all of it: after each value comes what its container says may follow. */
static bool document(reader *r, uint32_t *count)
{
    dpg_json_value *v = NULL;
    const byte *p = r->begin;
    uint32_t like = 0;

    for (;;) {
        frame *f;
        byte next;

        if (r->limit - v < 2 && !(v = grow(r, v, p))) return false;
        if (!(p = read_value(r, p, v++, like))) return false;
        f = &r->frames[r->depth];
        next = p < r->end ? *p : 0;
        if (f->count > 0 && next == ',') {
            p++;
        } else if (f->count > 0 || (next != '"' && next != '{') || r->depth == 0) {
            if (!(p = close_containers(r, p, (uint32_t)(v - r->values)))) return false;
            if (r->depth == 0) break;
            f = &r->frames[r->depth];
        }
        f->count++;
        like = f->like;
        if (f->close == '}' && !(p = read_name(r, f, p, v++, &like))) return false;
    }
    *count = (uint32_t)(v - r->values);
    p = skip_blanks(p, r->end);
    return p == r->end || fail_at(r, p, "something follows the value");
}

dpg_status dpg_json_read(dpg_json *json, dpg_str text)
{
    reader r; /* its frames stay as they are: only those in use are ever looked at */

    memset(json, 0, sizeof *json);
    json->text = text;
    if (!text.ptr) json->text.len = text.len = 0;
    if (text.len >= UINT32_MAX) {
        json->error = "the text is too long";
        return DPG_E_INVALID;
    }
    r.json = json;
    r.values = r.limit = NULL;
    r.status = DPG_OK;
    r.depth = 0;
    r.frames[0] = (frame){.close = -1};
    r.begin = text.len ? (const byte *)text.ptr : (const byte *)"";
    r.end = r.begin + text.len;
    if (document(&r, &json->count)) {
        json->values = r.values;
        json->cap = (uint32_t)(r.limit - r.values);
        return DPG_OK;
    }
    json->count = 0;
    dpg_free(r.values);
    return r.status;
}

void dpg_json_clear(dpg_json *json)
{
    dpg_free(json->values);
    memset(json, 0, sizeof *json);
}
