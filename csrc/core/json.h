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
 * and a value for each member. `next` is the index of the first value behind this one and all that it holds.
 */
typedef struct dpg_json_value {
    uint8_t type;   /* dpg_json_type */
    bool escaped;   /* a string with escapes: dpg_json_unescape() */
    uint32_t count; /* elements of an array, members of an object */
    uint32_t next;
    uint32_t start; /* where in the text: a string's first byte inside its quotes, a number's first byte */
    uint32_t len;   /* a string's raw length inside its quotes, a number's length */
    union {
        int64_t integer;
        double number;
    } as;
} dpg_json_value;

typedef struct dpg_json {
    dpg_str text;           /* borrowed */
    dpg_json_value *values; /* values[0] is the document */
    uint32_t count, cap;
    const char *error; /* a static sentence: what is wrong */
    size_t error_at;   /* and at which byte */
} dpg_json;

/*
 * DPG_OK; DPG_E_INVALID with json->error and error_at; DPG_E_NOMEM. `text` is borrowed until dpg_json_clear(). What was
 * in `json` before is not looked at: clear it between two readings. After a failure there is nothing to free.
 */
dpg_status dpg_json_read(dpg_json *json, dpg_str text);
void dpg_json_clear(dpg_json *json); /* frees the tape; also right for one that was zeroed and never read */

/* The member `key` of the object at `object`: its value's index; 0, never a member's, when absent. The last of several wins. */
uint32_t dpg_json_member(const dpg_json *json, uint32_t object, const char *key);

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
