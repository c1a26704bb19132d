/*
 * Reading JSON (RFC 8259), strictly, in one pass, into a tape: token answers and store records in the core, whole pages
 * through the binding's table builder. Pure: bytes in, views out; it touches nothing but the tape that the caller owns.
 */
#ifndef DPG_JSON_H
#define DPG_JSON_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_JSON_MAX_DEPTH 128
#define DPG_JSON_MAX_NAMES 200

typedef enum dpg_json_type {
    DPG_JSON_NULL,
    DPG_JSON_FALSE,
    DPG_JSON_TRUE,
    DPG_JSON_INTEGER, /* no fraction, no exponent, fits int64_t */
    DPG_JSON_NUMBER,  /* any other number, "-0" too; infinite where no double is as large (1e400) */
    DPG_JSON_STRING,
    DPG_JSON_ARRAY,
    DPG_JSON_OBJECT
} dpg_json_type;

/*
 * One value. Values stand in the order of the text: an array is followed by its elements, an object by a STRING (the key)
 * and a value for each member.
 */
typedef struct dpg_json_value {
    uint8_t type;   /* dpg_json_type */
    bool escaped;   /* a string with escapes: dpg_json_unescape() */
    uint16_t name;  /* the number of a member's name, see dpg_json.names; 0: it has none */
    uint32_t start; /* where in the text: a string's first byte inside its quotes, any other value's first byte */
    union {
        int64_t integer;
        double number;
        uint32_t len; /* a string's, as it stands inside its quotes */
        struct {
            uint32_t count; /* elements of an array, members of an object */
            uint32_t next;  /* index of the first value behind this one and all that it holds */
        } of;
    } as;
} dpg_json_value;

typedef struct dpg_json {
    dpg_str text;           /* borrowed */
    dpg_json_value *values; /* values[0] is the document */
    uint32_t count, cap;
    uint32_t depth; /* of the deepest container; 0: there is none */
    /*
     * Objects repeat their names again and again. The first that are seen to do so have numbers, from 1: all that share a
     * number have the same bytes, and names[number - 1] is the index of one of them. Others have none, or several.
     */
    uint32_t name_count;
    uint32_t names[DPG_JSON_MAX_NAMES];
    const char *error; /* a static sentence: what is wrong */
    size_t error_at;   /* and at which byte */
} dpg_json;

/*
 * DPG_OK; DPG_E_INVALID with json->error and error_at; DPG_E_NOMEM. `text` is borrowed until dpg_json_clear(). What was
 * in `json` before is not looked at: clear it between two readings. After a failure there is nothing to free.
 */
dpg_status dpg_json_read(dpg_json *json, dpg_str text);
void dpg_json_clear(dpg_json *json); /* frees the tape; also right for one that was zeroed and never read */

/* The index of the first value behind the one at `index` and all that it holds. */
static inline uint32_t dpg_json_next(const dpg_json *json, uint32_t index)
{
    const dpg_json_value *v = &json->values[index];

    return v->type >= DPG_JSON_ARRAY ? v->as.of.next : index + 1;
}

/* The member `key` of the object at `object`: its value's index; 0, never a member's, when absent. The last of several wins. */
uint32_t dpg_json_member(const dpg_json *json, uint32_t object, const char *key);

/* Does the string at `index` say these bytes, once unescaped? */
bool dpg_json_is(const dpg_json *json, uint32_t index, dpg_str bytes);

/* The bytes of the string at `index`, unescaped into `out` (appended). False without memory or past its maximum. */
bool dpg_json_unescape(const dpg_json *json, uint32_t index, dpg_buf *out);

/* The same for raw bytes (inside the quotes) into `to`, which has room for raw.len bytes; returns how many it wrote. */
size_t dpg_json_unescape_to(dpg_str raw, char *to);

/* The text of the whole value at `index`, as it came. */
dpg_str dpg_json_text(const dpg_json *json, uint32_t index);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
