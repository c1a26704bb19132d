/*
 * Tables as they come from Lua, read into the core's option structs: a spec, with its headers, parts and sink, and the
 * engine's options. An unknown key, or a value of the wrong type, raises.
 */
#include "binding.h"

#include <math.h>
#include <string.h>

/* --- reading tables ------------------------------------------------------------------------------------------------- */

typedef enum field_type {
    F_STR,     /* dpg_str */
    F_BODY,    /* dpg_str, and has_body */
    F_SECONDS, /* int64_t in ms; 0 means "the default" below, so a zero becomes 1 ms; false and math.huge: none (-1) */
    F_TIMER,   /* int64_t in ms, zero allowed, no "none" */
    F_INT,     /* int, above 0 */
    F_INT64,   /* int64_t, at least 0 */
    F_SIZE,    /* size_t, above 0 */
    F_NUMBER,  /* double; false: -1 */
    F_BOOL,    /* bool */
    F_NOT,     /* bool, the other way round */
    F_PROXY,   /* dpg_str, or false for none; and proxy_set */
    F_REPEAT,  /* "always", "unsent" or "unfinished" */
    F_HEADERS,
    F_PARTS,
    F_SINK,
    F_WINDOW, /* size_t, above 0; and the sink is one of chunks */
    F_FILE,   /* dpg_str; and the sink is a file */
    F_CREDENTIAL
} field_type;

typedef struct field {
    const char *name;
    field_type type;
    size_t offset;
} field;

static const field spec_fields[] = {
    {"method", F_STR, offsetof(dpg_spec, method)},
    {"url", F_STR, offsetof(dpg_spec, url)},
    {"headers", F_HEADERS, 0},
    {"body", F_BODY, offsetof(dpg_spec, body)},
    {"credential", F_CREDENTIAL, 0},
    {"account", F_STR, offsetof(dpg_spec, account)},
    {"gate", F_STR, offsetof(dpg_spec, gate)},
    {"repeats", F_REPEAT, 0},
    {"attempts", F_INT, offsetof(dpg_spec, attempts)},
    {"base", F_SECONDS, offsetof(dpg_spec, base_ms)},
    {"cap", F_SECONDS, offsetof(dpg_spec, cap_ms)},
    {"timeout", F_SECONDS, offsetof(dpg_spec, timeout_ms)},
    {"deadline", F_SECONDS, offsetof(dpg_spec, deadline_ms)},
    {"timer", F_TIMER, offsetof(dpg_spec, timer_ms)},
    {"max_response_bytes", F_SIZE, offsetof(dpg_spec, max_response_bytes)},
    {"idle", F_SECONDS, offsetof(dpg_spec, idle_ms)},
    {"parts", F_PARTS, 0},
    {"sink", F_SINK, 0},
    {NULL, F_STR, 0},
};

static const field part_fields[] = {
    {"name", F_STR, offsetof(dpg_part, name)},
    {"value", F_STR, offsetof(dpg_part, value)},
    {"path", F_STR, offsetof(dpg_part, path)},
    {"fed", F_BOOL, offsetof(dpg_part, fed)},
    {"size", F_INT64, offsetof(dpg_part, size)},
    {"filename", F_STR, offsetof(dpg_part, filename)},
    {"content_type", F_STR, offsetof(dpg_part, content_type)},
    {NULL, F_STR, 0},
};

static const field sink_fields[] = {
    {"file", F_FILE, offsetof(dpg_sink, path)},          {"offset", F_INT64, offsetof(dpg_sink, offset)},
    {"expected", F_INT64, offsetof(dpg_sink, expected)}, {"rename", F_STR, offsetof(dpg_sink, rename_to)},
    {"etag", F_STR, offsetof(dpg_sink, etag)},           {"note", F_STR, offsetof(dpg_sink, note)},
    {"chunks", F_WINDOW, offsetof(dpg_sink, window)},    {NULL, F_STR, 0},
};

static const field engine_fields[] = {
    {"user_agent", F_STR, offsetof(dpg_engine_options, user_agent)},
    {"ca_file", F_STR, offsetof(dpg_engine_options, ca_file)},
    {"proxy", F_PROXY, 0},
    {"max_connections", F_INT, offsetof(dpg_engine_options, max_connections)},
    {"http2", F_NOT, offsetof(dpg_engine_options, no_http2)},
    {"retry_budget", F_NUMBER, offsetof(dpg_engine_options, retry_budget)},
    {"events", F_BOOL, offsetof(dpg_engine_options, events)},
    {NULL, F_STR, 0},
};

static void wrong(lua_State *L, const field *f, const char *expected)
{
    luaL_error(L, "field '%s': %s expected, got %s", f->name, expected, luaL_typename(L, -1));
}

static dpg_str read_str(lua_State *L, const field *f)
{
    dpg_str s = {NULL, 0};

    /* strings only: a number would be converted on the stack, and its bytes would go with it */
    if (lua_type(L, -1) != LUA_TSTRING) wrong(L, f, "string");
    s.ptr = lua_tolstring(L, -1, &s.len);
    return s;
}

static double read_number(lua_State *L, const field *f)
{
    double n = 0;

    if (lua_type(L, -1) != LUA_TNUMBER) wrong(L, f, "number");
    n = (double)lua_tonumber(L, -1);
    if (!(n >= 0)) luaL_error(L, "field '%s': a number of at least 0 expected", f->name); /* NaN too */
    return n;
}

static int64_t read_ms(lua_State *L, const field *f)
{
    double ms;

    if (f->type == F_SECONDS && lua_isboolean(L, -1) && !lua_toboolean(L, -1)) return -1;
    ms = ceil(read_number(L, f) * 1000.0);
    if (f->type == F_TIMER) return ms < 9e15 ? (int64_t)ms : (int64_t)9e15;
    if (ms >= 9e15) return -1;
    return ms < 1 ? 1 : (int64_t)ms;
}

static double read_whole(lua_State *L, const field *f, double max)
{
    double n = read_number(L, f);

    if (n < 1 || n != floor(n)) luaL_error(L, "field '%s': a whole number above 0 expected", f->name);
    return n < max ? n : max;
}

static int64_t read_int64(lua_State *L, const field *f)
{
    double n = read_number(L, f);

    if (n != floor(n) || n > 9007199254740992.0) luaL_error(L, "field '%s': a whole number expected", f->name);
    return (int64_t)n;
}

static bool read_bool(lua_State *L, const field *f)
{
    if (!lua_isboolean(L, -1)) wrong(L, f, "boolean");
    return lua_toboolean(L, -1) != 0;
}

static dpg_repeat read_repeat(lua_State *L, const field *f)
{
    const char *s = read_str(L, f).ptr;

    if (strcmp(s, "always") == 0) return DPG_REPEAT_ALWAYS;
    if (strcmp(s, "unfinished") == 0) return DPG_REPEAT_UNFINISHED;
    if (strcmp(s, "unsent") != 0)
        luaL_error(L, "field '%s': \"always\", \"unsent\" or \"unfinished\" expected", f->name);
    return DPG_REPEAT_UNSENT;
}

/* The header table on top; leaves the array behind under it, at `slot`, so that it lives as long as the spec is read. */
static void read_headers(lua_State *L, const field *f, int slot, dpg_spec *spec)
{
    size_t n = 0;
    dpg_header *headers;

    if (!lua_istable(L, -1)) wrong(L, f, "table");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) n++;
    if (n == 0) return;
    headers = lua_newuserdata(L, n * sizeof *headers);
    lua_replace(L, slot);
    n = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1), n++) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "field 'headers': names and values must be strings");
        headers[n].name.ptr = lua_tolstring(L, -2, &headers[n].name.len);
        headers[n].value.ptr = lua_tolstring(L, -1, &headers[n].value.len);
    }
    spec->headers = headers;
    spec->header_count = n;
}

static dpg_credential *check_credential(lua_State *L, int index, const dpg_engine_box *engine)
{
    dpg_credential_box *box = luaL_checkudata(L, index, DPG_CREDENTIAL);

    if (!box->engine || box->engine != engine || !box->credential)
        luaL_error(L, "field 'credential': it belongs to another engine");
    return box->credential;
}

static dpg_credential *read_credential(lua_State *L, const field *f, const dpg_engine_box *engine)
{
    if (!luaL_testudata(L, -1, DPG_CREDENTIAL)) wrong(L, f, "credential");
    return check_credential(L, -1, engine);
}

static const field *find_field(lua_State *L, const field *fields, const char *what)
{
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
    const field *f = fields;

    while (f->name && strcmp(f->name, key) != 0) f++;
    if (!f->name) luaL_error(L, "unknown field '%s' in %s", key, what);
    return f;
}

/* One field, whose value is on top, into the struct at `to`. */
static void read_plain(lua_State *L, const field *f, char *to)
{
    void *at = to + f->offset;

    switch (f->type) {
    case F_STR:
    case F_FILE: *(dpg_str *)at = read_str(L, f); break;
    case F_SECONDS:
    case F_TIMER: *(int64_t *)at = read_ms(L, f); break;
    case F_INT: *(int *)at = (int)read_whole(L, f, 1e9); break;
    case F_INT64: *(int64_t *)at = read_int64(L, f); break;
    case F_WINDOW:
    case F_SIZE: *(size_t *)at = (size_t)read_whole(L, f, 2e9); break;
    case F_NUMBER:
        *(double *)at = lua_isboolean(L, -1) && !lua_toboolean(L, -1) ? -1.0 : read_number(L, f);
        if (*(double *)at == 0) *(double *)at = -1; /* zero in store is none; below, 0 means the default */
        break;
    case F_BOOL: *(bool *)at = read_bool(L, f); break;
    case F_NOT: *(bool *)at = !read_bool(L, f); break;
    default: break;
    }
}

/* The list of parts on top; leaves the array behind at `slot`. The strings live in the parts' tables, the caller's own. */
static void read_parts(lua_State *L, const field *f, int slot, dpg_spec *spec)
{
    size_t n = 0;
    dpg_part *parts;

    if (!lua_istable(L, -1)) wrong(L, f, "table");
    n = lua_rawlen(L, -1);
    if (n == 0) return;
    if (n > 10000) luaL_error(L, "field 'parts': too many");
    parts = lua_newuserdata(L, n * sizeof *parts);
    lua_replace(L, slot);
    memset(parts, 0, n * sizeof *parts);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (!lua_istable(L, -1)) luaL_error(L, "field 'parts': a list of tables expected");
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
            read_plain(L, find_field(L, part_fields, "a part"), (char *)&parts[i]);
        lua_pop(L, 1);
    }
    spec->parts = parts;
    spec->part_count = n;
}

static void read_sink(lua_State *L, const field *f, dpg_sink *sink)
{
    if (!lua_istable(L, -1)) wrong(L, f, "table");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const field *inner = find_field(L, sink_fields, "a sink");
        dpg_sink_type type = inner->type == F_FILE     ? DPG_SINK_FILE
                             : inner->type == F_WINDOW ? DPG_SINK_CHUNKS
                                                       : DPG_SINK_MEMORY;

        read_plain(L, inner, (char *)sink);
        if (type == DPG_SINK_MEMORY) continue;
        if (sink->type != DPG_SINK_MEMORY) luaL_error(L, "field 'sink': either a file or chunks");
        sink->type = type;
    }
    if (sink->type == DPG_SINK_MEMORY) luaL_error(L, "field 'sink': either a file or chunks");
}

void dpg_read_spec(lua_State *L, int index, dpg_engine_box *engine, dpg_spec *spec)
{
    int slot;

    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, 12, "spec");
    lua_pushnil(L); /* the arrays of headers and parts come here, and stay until the caller returns */
    lua_pushnil(L);
    slot = lua_gettop(L) - 1;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const field *f = find_field(L, spec_fields, "a spec");

        switch (f->type) {
        case F_BODY:
            spec->body = read_str(L, f);
            spec->has_body = true;
            break;
        case F_REPEAT: spec->repeat = read_repeat(L, f); break;
        case F_HEADERS: read_headers(L, f, slot, spec); break;
        case F_PARTS: read_parts(L, f, slot + 1, spec); break;
        case F_SINK: read_sink(L, f, &spec->sink); break;
        case F_CREDENTIAL: spec->credential = read_credential(L, f, engine); break;
        default: read_plain(L, f, (char *)spec); break;
        }
    }
}

/* --- prepared specs -------------------------------------------------------------------------------------------------- */

#define MORE_HEADERS 4 /* that a call may add to those of its prepared spec */

/* Its strings are Lua's, kept alive by its uservalue. */
typedef struct prepared {
    dpg_spec spec;
    dpg_header headers[]; /* spec.header_count, and room for MORE_HEADERS */
} prepared;

/* … pins: appends the strings of the table at `from`, and of the tables in it. */
static void pin_strings(lua_State *L, int from, int pins)
{
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
        if (lua_istable(L, -1)) {
            pin_strings(L, lua_gettop(L), pins);
            continue;
        }
        lua_pushvalue(L, -2);
        lua_rawseti(L, pins, (int)lua_rawlen(L, pins) + 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, pins, (int)lua_rawlen(L, pins) + 1);
    }
}

/* core.spec{ … } -> what engine:start() makes many calls of: a spec as there, but for url, credential, body, parts and sink */
int dpg_l_spec(lua_State *L)
{
    dpg_spec spec = DPG_SPEC_INIT;
    size_t size;
    prepared *p;

    lua_settop(L, 1);
    dpg_read_spec(L, 1, NULL, &spec);
    luaL_argcheck(L, !spec.url.len && !spec.has_body && !spec.parts && spec.sink.type == DPG_SINK_MEMORY, 1,
                  "url, body, parts and sink belong to a call");
    size = spec.header_count * sizeof *p->headers;
    p = lua_newuserdata(L, sizeof *p + size + MORE_HEADERS * sizeof *p->headers);
    if (size) memcpy(p->headers, spec.headers, size);
    p->spec = spec;
    lua_newtable(L);
    pin_strings(L, 1, lua_gettop(L));
    dpg_lua_setuservalue(L, -2);
    luaL_setmetatable(L, DPG_PREPARED);
    return 1;
}

void dpg_read_prepared(lua_State *L, int index, dpg_engine_box *engine, dpg_spec *spec)
{
    prepared *p = luaL_checkudata(L, index, DPG_PREPARED);
    size_t n = p->spec.header_count;

    *spec = p->spec;
    if (!lua_isnoneornil(L, index + 1)) spec->credential = check_credential(L, index + 1, engine);
    spec->url = dpg_check_str(L, index + 2);
    spec->has_body = !lua_isnoneornil(L, index + 3);
    if (spec->has_body) spec->body = dpg_check_str(L, index + 3);
    for (int name = index + 4; name < lua_gettop(L); name += 2) {
        if (lua_isnil(L, name + 1)) continue;
        if (n == p->spec.header_count + MORE_HEADERS) luaL_error(L, "too many headers");
        p->headers[n].name = dpg_check_str(L, name);
        p->headers[n++].value = dpg_check_str(L, name + 1);
    }
    spec->headers = p->headers;
    spec->header_count = n;
}

void dpg_open_spec(lua_State *L)
{
    luaL_newmetatable(L, DPG_PREPARED);
    lua_pushliteral(L, "protected");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* --- the engine's options -------------------------------------------------------------------------------------------- */

void dpg_read_engine_options(lua_State *L, int index, dpg_engine_options *options)
{
    if (lua_isnoneornil(L, index)) return;
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const field *f = find_field(L, engine_fields, "the engine's options");

        if (f->type != F_PROXY) {
            read_plain(L, f, (char *)options);
            continue;
        }
        options->proxy_set = true;
        if (!lua_isboolean(L, -1) || lua_toboolean(L, -1)) options->proxy = read_str(L, f);
    }
}
