/*
 * The table builder: one walk along the core's tape, each table made at its exact size. The walk has no recursion and
 * keeps its open tables on the Lua stack. Checks nothing about the text; that is the core's.
 */
#include "json.h"

/* after the system's and Lua's headers */
#include "../core/json.h"

#include <limits.h>

#define TAPE "dpg.tape"
#define SHORT_STRING 256

static const char array_key; /* its address is where the registry keeps array_mt */

/* What the walk holds in C memory, in a userdata, so that an error in the middle of it leaks nothing. */
typedef struct tape {
    dpg_json json;
    char *scratch; /* room to unescape the longest string so far */
    size_t room;
} tape;

/* A container whose elements are being built; its table, and for a member its key, are on the Lua stack. */
typedef struct level {
    uint32_t left;  /* values to come */
    uint32_t index; /* of the array's last element so far */
    bool object;
} level;

static int l_tape_clear(lua_State *L)
{
    tape *t = lua_touserdata(L, 1);

    dpg_json_clear(&t->json);
    dpg_free(t->scratch);
    t->scratch = NULL;
    t->room = 0;
    return 0;
}

static tape *push_tape(lua_State *L)
{
    tape *t = lua_newuserdata(L, sizeof *t); /* … tape */

    memset(t, 0, sizeof *t);
    luaL_setmetatable(L, TAPE);
    return t;
}

static void push_escaped(lua_State *L, tape *t, dpg_str raw)
{
    char brief[SHORT_STRING], *to = brief;

    if (raw.len > sizeof brief) {
        if (raw.len > t->room) {
            if (!(to = dpg_realloc(t->scratch, raw.len))) luaL_error(L, "not enough memory");
            t->scratch = to;
            t->room = raw.len;
        }
        to = t->scratch;
    }
    lua_pushlstring(L, to, dpg_json_unescape_to(raw, to));
}

static void push_string(lua_State *L, tape *t, const dpg_json_value *v)
{
    dpg_str raw = dpg_str_of(t->json.text.ptr + v->start, v->len);

    if (v->escaped) push_escaped(L, t, raw);
    else lua_pushlstring(L, raw.ptr, raw.len);
}

static void push_table(lua_State *L, const dpg_json_value *v)
{
    bool object = v->type == DPG_JSON_OBJECT;

    if (v->count > INT_MAX) luaL_error(L, "not enough memory");
    luaL_checkstack(L, 4, "JSON");
    lua_createtable(L, object ? 0 : (int)v->count, object ? (int)v->count : 0);
    if (!object && v->count == 0) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
        lua_setmetatable(L, -2);
    }
}

/* A value without its elements. `null` is a stack index, 0: lightuserdata NULL. */
static void push_value(lua_State *L, tape *t, const dpg_json_value *v, int null)
{
    switch ((dpg_json_type)v->type) {
    case DPG_JSON_NULL:
        if (null) lua_pushvalue(L, null);
        else lua_pushlightuserdata(L, NULL);
        break;
    case DPG_JSON_FALSE: lua_pushboolean(L, 0); break;
    case DPG_JSON_TRUE: lua_pushboolean(L, 1); break;
    case DPG_JSON_INTEGER: dpg_lua_pushint(L, v->as.integer); break;
    case DPG_JSON_NUMBER: lua_pushnumber(L, (lua_Number)v->as.number); break;
    case DPG_JSON_STRING: push_string(L, t, v); break;
    case DPG_JSON_ARRAY:
    case DPG_JSON_OBJECT: push_table(L, v); break;
    }
}

static void build(lua_State *L, tape *t, int null)
{
    const dpg_json_value *v = t->json.values;
    level levels[DPG_JSON_MAX_DEPTH + 1], *at = levels; /* levels[0] is outside the document */

    at->left = 1;
    for (;;) {
        if (at->left == 0) { /* … table [key] value: the value is whole, and goes where it belongs */
            if (at == levels) return;
            at--;
        } else {
            at->left--;
            if (at > levels && at->object) push_string(L, t, v++);
            push_value(L, t, v, null);
            if (v->count) {
                at++;
                at->left = v->count;
                at->index = 0;
                at->object = v->type == DPG_JSON_OBJECT;
                v++;
                continue;
            }
            v++;
        }
        if (at == levels) continue;
        if (at->object) lua_rawset(L, -3);
        else lua_rawseti(L, -2, (int)++at->index);
    }
}

/* Pushes what dpg_push_json() says. */
static int push_json(lua_State *L, dpg_str text, int null)
{
    tape *t;
    dpg_status status;

    luaL_checkstack(L, 8, "JSON");
    t = push_tape(L); /* … tape */
    status = dpg_json_read(&t->json, text);
    if (status == DPG_E_NOMEM) return luaL_error(L, "not enough memory");
    if (status != DPG_OK) {
        lua_pushnil(L);
        lua_pushstring(L, t->json.error);
        dpg_lua_pushint(L, (int64_t)t->json.error_at + 1);
        lua_remove(L, -4);
        return 3;
    }
    build(L, t, null);
    dpg_json_clear(&t->json); /* now, and not when the collector comes by */
    dpg_free(t->scratch);
    t->scratch = NULL;
    t->room = 0;
    lua_remove(L, -2);
    return 1;
}

int dpg_push_json(lua_State *L, dpg_str text)
{
    return push_json(L, text, 0);
}

static int l_decode(lua_State *L)
{
    dpg_str text;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    lua_settop(L, 2);
    return push_json(L, text, lua_isnil(L, 2) ? 0 : 2);
}

void dpg_open_json(lua_State *L)
{
    luaL_newmetatable(L, TAPE);
    lua_pushcfunction(L, l_tape_clear);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);

    lua_pushcfunction(L, l_decode);
    lua_setfield(L, -2, "decode");

    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    if (lua_isnil(L, -1)) { /* the first of several in one state */
        lua_pop(L, 1);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "dpg.array");
        lua_setfield(L, -2, "__name");
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
    }
    lua_setfield(L, -2, "array_mt");
}
