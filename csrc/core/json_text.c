/*
 * Reading the tape: the bytes behind its strings, the text behind its values, members by name. All of it was checked when
 * the tape was made.
 */
#include "json.h"

#include <string.h>

typedef unsigned char byte;

static uint32_t hex4(const byte *p)
{
    uint32_t code = 0;

    for (int i = 0; i < 4; i++) code = code << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return code;
}

/* Unescapes the one escape at *p, which dpg_json_read() has checked, and goes behind it. Returns how many bytes it is. */
static size_t unescape_one(const byte **p, char out[4])
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
    code = hex4(at + 2);
    *p = at + 6;
    if (code >= 0xd800 && code <= 0xdbff) {
        code = 0x10000 + ((code - 0xd800) << 10) + (hex4(at + 8) - 0xdc00);
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
        size_t n = unescape_one(p, room);

        return dpg_str_of(room, n);
    }
    slash = memchr(start, '\\', (size_t)(end - start));
    *p = slash ? slash : end;
    return dpg_str_of((const char *)start, (size_t)(*p - start));
}

static dpg_str raw_of(const dpg_json *json, uint32_t index)
{
    const dpg_json_value *v = &json->values[index];

    return dpg_str_of(json->text.ptr + v->start, v->as.len);
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

bool dpg_json_is(const dpg_json *json, uint32_t index, dpg_str bytes)
{
    dpg_str raw = raw_of(json, index), piece;
    const byte *p = (const byte *)raw.ptr, *end = p + raw.len;
    char room[4];

    if (!json->values[index].escaped) return dpg_str_eq(raw, bytes);
    while ((piece = next_piece(&p, end, room)).len) {
        if (piece.len > bytes.len || memcmp(piece.ptr, bytes.ptr, piece.len) != 0) return false;
        bytes.ptr += piece.len;
        bytes.len -= piece.len;
    }
    return bytes.len == 0;
}

uint32_t dpg_json_member(const dpg_json *json, uint32_t object, const char *key)
{
    dpg_str wanted = dpg_cstr(key);
    uint32_t found = 0, at, left;

    if (object >= json->count || json->values[object].type != DPG_JSON_OBJECT) return 0;
    at = object + 1;
    for (left = json->values[object].as.of.count; left > 0; left--) {
        if (dpg_json_is(json, at, wanted)) found = at + 1;
        at = dpg_json_next(json, at + 1);
    }
    return found;
}

/* How many bytes the container at `p` takes, to its closing bracket. */
static size_t container_length(const byte *p)
{
    const byte *start = p;
    uint32_t depth = 0;

    do {
        if (*p == '"')
            for (p++; *p != '"'; p++)
                if (*p == '\\') p++;
        if (*p == '[' || *p == '{') depth++;
        if (*p == ']' || *p == '}') depth--;
        p++;
    } while (depth > 0);
    return (size_t)(p - start);
}

static size_t number_length(const byte *p, const byte *end)
{
    const byte *start = p;

    while (p < end && ((*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == '.' || (*p | 0x20) == 'e')) p++;
    return (size_t)(p - start);
}

dpg_str dpg_json_text(const dpg_json *json, uint32_t index)
{
    const dpg_json_value *v = &json->values[index];
    const char *p = json->text.ptr + v->start;

    switch ((dpg_json_type)v->type) {
    case DPG_JSON_NULL:
    case DPG_JSON_TRUE: return dpg_str_of(p, 4);
    case DPG_JSON_FALSE: return dpg_str_of(p, 5);
    case DPG_JSON_STRING: return dpg_str_of(p - 1, (size_t)v->as.len + 2);
    case DPG_JSON_INTEGER:
    case DPG_JSON_NUMBER:
        return dpg_str_of(p, number_length((const byte *)p, (const byte *)json->text.ptr + json->text.len));
    case DPG_JSON_ARRAY:
    case DPG_JSON_OBJECT: break;
    }
    return dpg_str_of(p, container_length((const byte *)p));
}
