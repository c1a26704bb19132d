/*
 * What must hold for the tape of any text that dpg_json_read() took. The fuzz target and the C tests ask it of
 * everything that they read.
 */
#ifndef DPG_TAPE_H
#define DPG_TAPE_H

#include "json.h"

/* Whether the name at `at` has no number, or the number of a name with the same bytes. */
static inline bool tape_name_ok(const dpg_json *json, uint32_t at)
{
    uint16_t name = json->values[at].name;
    uint32_t other;

    if (name == 0) return true;
    if (name > json->name_count) return false;
    other = json->names[name - 1];
    return other < json->count && json->values[other].type == DPG_JSON_STRING && json->values[other].name == name &&
           json->values[other].escaped == json->values[at].escaped &&
           dpg_str_eq(dpg_json_text(json, other), dpg_json_text(json, at));
}

/* Whether the value at `at`, and all in it, is in order; *next is set to what comes behind it. */
static inline bool tape_value_ok(const dpg_json *json, uint32_t at, int depth, uint32_t *next)
{
    const dpg_json_value *v;
    dpg_str text;
    uint32_t child = at + 1;

    if (at >= json->count || depth > DPG_JSON_MAX_DEPTH) return false;
    v = &json->values[at];
    text = dpg_json_text(json, at);
    if (v->type > DPG_JSON_OBJECT || text.ptr < json->text.ptr || text.len == 0 ||
        (size_t)(text.ptr - json->text.ptr) + text.len > json->text.len)
        return false;
    if (v->name || (v->escaped && v->type != DPG_JSON_STRING)) return false;
    if (v->type == DPG_JSON_ARRAY || v->type == DPG_JSON_OBJECT) {
        if (text.ptr[0] != (v->type == DPG_JSON_ARRAY ? '[' : '{')) return false;
        if (text.ptr[text.len - 1] != (v->type == DPG_JSON_ARRAY ? ']' : '}')) return false;
        for (uint32_t i = 0; i < v->as.of.count; i++) {
            if (v->type == DPG_JSON_OBJECT) {
                if (child >= json->count || json->values[child].type != DPG_JSON_STRING) return false;
                if (!tape_name_ok(json, child)) return false;
                child++;
            }
            if (!tape_value_ok(json, child, depth + 1, &child)) return false;
        }
    }
    *next = child;
    return dpg_json_next(json, at) == child;
}

static inline bool tape_ok(const dpg_json *json)
{
    uint32_t next;

    return json->count > 0 && json->count <= json->cap && !json->error && json->name_count <= DPG_JSON_MAX_NAMES &&
           json->depth <= DPG_JSON_MAX_DEPTH && tape_value_ok(json, 0, 0, &next) && next == json->count;
}

#endif
