/*
 * The table builder: one walk along the core's tape, each table made at its exact size. The walk has no recursion and
 * keeps its open tables on the Lua stack. Checks nothing about the text; that is the core's.
 */
#include "json.h"

#include "json_wanted.h"

#include <limits.h>

#if defined(__GNUC__)
#define HOT static inline __attribute__((always_inline)) /* done for every value */
#define COLD static __attribute__((noinline))
#else
#define HOT static inline
#define COLD static
#endif

#define TAPE "dpg.tape"
#define SHORT_STRING 256

static const char array_key; /* its address is where the registry keeps array_mt */

/* What the walk holds in C memory, in a userdata, so that an error in the middle of it leaks nothing. */
typedef struct tape {
    dpg_json json;
    char *scratch; /* room to unescape the longest string so far */
    size_t room;
    bool in_use;
} tape;

/* A container whose elements are being built; its table, and for a member its name, are on the Lua stack. */
typedef struct level {
    uint32_t left;      /* values to come */
    uint32_t index;     /* of the array's next element; 0: an object */
    dpg_wanted *wanted; /* of what it holds; NULL: all */
} level;

static void clear_tape(tape *t)
{
    dpg_json_clear(&t->json);
    dpg_free(t->scratch);
    t->scratch = NULL;
    t->room = 0;
    t->in_use = false;
}

static tape *push_tape(lua_State *L)
{
    tape *t = lua_newuserdata(L, sizeof *t); /* … tape */

    memset(t, 0, sizeof *t);
    luaL_setmetatable(L, TAPE);
    return t;
}

/*
 * Pushes the tape that an upvalue keeps, since making one for each text costs as much as reading a short one. It holds
 * nothing between two texts. While one is being read, a finaliser may read another; and an error may have come in the
 * middle: then a new one takes its place, and the old one goes with who uses it.
 */
static tape *use_tape(lua_State *L, int slot)
{
    tape *t = lua_touserdata(L, slot);

    if (t->in_use) {
        t = push_tape(L);
        lua_pushvalue(L, -1);
        lua_replace(L, slot);
    } else {
        lua_pushvalue(L, slot);
    }
    t->in_use = true;
    return t;
}

static int l_tape_clear(lua_State *L)
{
    clear_tape(lua_touserdata(L, 1));
    return 0;
}

COLD void push_escaped(lua_State *L, tape *t, dpg_str raw)
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

HOT void push_string(lua_State *L, tape *t, const dpg_json_value *v)
{
    dpg_str raw = dpg_str_of(t->json.text.ptr + v->start, v->as.len);

    if (v->escaped) push_escaped(L, t, raw);
    else lua_pushlstring(L, raw.ptr, raw.len);
}

COLD void push_empty_array(lua_State *L)
{
    lua_createtable(L, 0, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, -2);
}

static inline int size_of_object(const dpg_json_value *v, const dpg_wanted *wanted)
{
    uint32_t count = v->as.of.count;

    if (wanted && !wanted->others && wanted->count < count) count = wanted->count;
    return count < INT_MAX ? (int)count : INT_MAX;
}

/* A value without its elements; `null` is a stack index. */
HOT void push_value(lua_State *L, tape *t, const dpg_json_value *v, int null, const dpg_wanted *wanted)
{
    switch ((dpg_json_type)v->type) {
    case DPG_JSON_NULL: lua_pushvalue(L, null); break;
    case DPG_JSON_FALSE: lua_pushboolean(L, 0); break;
    case DPG_JSON_TRUE: lua_pushboolean(L, 1); break;
    case DPG_JSON_INTEGER: dpg_lua_pushint(L, v->as.integer); break;
    case DPG_JSON_NUMBER: lua_pushnumber(L, (lua_Number)v->as.number); break;
    case DPG_JSON_STRING: push_string(L, t, v); break;
    case DPG_JSON_ARRAY:
        if (v->as.of.count == 0) push_empty_array(L);
        else lua_createtable(L, v->as.of.count < INT_MAX ? (int)v->as.of.count : INT_MAX, 0);
        break;
    case DPG_JSON_OBJECT: lua_createtable(L, 0, size_of_object(v, wanted)); break;
    }
}

/* Goes on to the next value of the container that is wanted, its name, if it has one, included; false: there is none. */
HOT bool seek(const dpg_json *json, level *at, const dpg_json_value **v, dpg_wanted **part)
{
    *part = NULL;
    if (!at->wanted) return at->left > 0;
    if (at->index) *part = at->wanted;
    for (; at->left > 0; at->left--) {
        uint32_t i = (uint32_t)(*v - json->values);

        if (at->index || dpg_is_wanted(at->wanted, json, i, part)) return true;
        *v = &json->values[dpg_json_next(json, i + 1)];
    }
    return false;
}

/* … table [name] value: puts the value where it belongs. */
HOT void store(lua_State *L, level *at)
{
    if (at->index) lua_rawseti(L, -2, (int)at->index++);
    else lua_rawset(L, -3);
}

/* Pushes the value of the whole tape, on top of its numbered names: each of those is made once. */
static void build(lua_State *L, tape *t, int null, dpg_wanted *wanted)
{
    const dpg_json_value *v = t->json.values;
    level levels[DPG_JSON_MAX_DEPTH], *outer = levels, at = {.left = 0};
    int names = lua_gettop(L);

    luaL_checkstack(L, (int)(t->json.name_count + 2 * t->json.depth) + 8, "JSON");
    for (uint32_t i = 0; i < t->json.name_count; i++) push_string(L, t, &v[t->json.names[i]]);
    push_value(L, t, v, null, wanted);
    if (v->type >= DPG_JSON_ARRAY) at = (level){v->as.of.count, v->type == DPG_JSON_ARRAY, wanted};
    for (v++;;) {
        while (!seek(&t->json, &at, &v, &wanted)) { /* what is on top is whole */
            if (outer == levels) return;
            at = *--outer;
            store(L, &at);
        }
        at.left--;
        if (!at.index) {
            if (v->name) lua_pushvalue(L, names + v->name);
            else push_string(L, t, v);
            v++;
        }
        push_value(L, t, v, null, wanted);
        if (v->type >= DPG_JSON_ARRAY && v->as.of.count) {
            *outer++ = at;
            at = (level){v->as.of.count, v->type == DPG_JSON_ARRAY, wanted};
        } else {
            store(L, &at);
        }
        v++;
    }
}

/* Pushes what dpg_push_json() says. `wanted` and `lists` are stack indices, as dpg_push_wanted() takes them, or 0. */
static int push_json(lua_State *L, dpg_str text, int null, int wanted, int lists, int slot)
{
    int base = lua_gettop(L);
    dpg_wanted *tree = NULL;
    dpg_status status;
    tape *t;

    luaL_checkstack(L, 8, "JSON");
    t = slot ? use_tape(L, slot) : push_tape(L); /* … tape */
    status = dpg_json_read(&t->json, text);
    if (status == DPG_E_NOMEM) return luaL_error(L, "not enough memory");
    if (status != DPG_OK) {
        t->in_use = false;
        lua_pushnil(L);
        lua_pushstring(L, t->json.error);
        dpg_lua_pushint(L, (int64_t)t->json.error_at + 1);
        lua_remove(L, base + 1);
        return 3;
    }
    if (!null) {
        lua_pushlightuserdata(L, NULL);
        null = base + 2;
    }
    if (wanted) tree = dpg_push_wanted(L, wanted, t->json.values[0].type == DPG_JSON_OBJECT ? lists : 0);
    build(L, t, null, tree); /* … tape, …, value */
    clear_tape(t);           /* now, and not when the collector comes by */
    lua_replace(L, base + 1);
    lua_settop(L, base + 1);
    return 1;
}

int dpg_push_json(lua_State *L, dpg_str text)
{
    return push_json(L, text, 0, 0, 0, 0);
}

int dpg_push_json_wanted(lua_State *L, dpg_str text, int wanted, int lists, int slot)
{
    return push_json(L, text, 0, wanted, lists, slot);
}

void dpg_new_tape(lua_State *L)
{
    luaL_newmetatable(L, TAPE);
    lua_pushcfunction(L, l_tape_clear);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    push_tape(L);
}

static int l_decode(lua_State *L)
{
    dpg_str text;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    lua_settop(L, 4);
    return push_json(L, text, lua_isnil(L, 2) ? 0 : 2, lua_isnil(L, 3) ? 0 : 3, lua_isnil(L, 4) ? 0 : 4,
                     lua_upvalueindex(1));
}

void dpg_open_json(lua_State *L)
{
    dpg_new_tape(L);
    lua_pushcclosure(L, l_decode, 1);
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
