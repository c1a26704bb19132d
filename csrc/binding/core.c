/*
 * luaopen_dpg_core: the module `dpg.core`, the one symbol that the shared object exports, and the small things that the
 * binding's files share. Everything else of ours is hidden, by the pragmas in the headers.
 */
#include "binding.h"

#include "drivers.h"
#include "json.h"
#include "os.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- shared by the binding's files ------------------------------------------------------------------------------------ */

void dpg_make_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc, lua_CFunction tostring,
                    int extra)
{
    const luaL_Reg meta[] = {{"__gc", gc}, {"__close", gc}, {"__tostring", tostring}, {NULL, NULL}};
    int first = lua_gettop(L) - extra + 1;

    if (luaL_newmetatable(L, name)) {
        lua_pushstring(L, name);
        lua_setfield(L, -2, "__name");
        lua_pushliteral(L, "protected"); /* what getmetatable() shows: nobody runs a finaliser by hand */
        lua_setfield(L, -2, "__metatable");
        luaL_setfuncs(L, meta, 0);
        lua_newtable(L);
        lua_pushvalue(L, -2);
        for (int i = 0; i < extra; i++) lua_pushvalue(L, first + i);
        luaL_setfuncs(L, methods, 1 + extra);
        lua_setfield(L, -2, "__index");
    }
    lua_settop(L, first - 1);
}

void *dpg_check_self(lua_State *L, const char *name)
{
    void *ud = lua_touserdata(L, 1);
    bool is_one = ud && lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(1));

    if (!is_one) return luaL_checkudata(L, 1, name); /* says what is wrong */
    lua_pop(L, 1);
    return ud;
}

#define HELD "dpg.held"
typedef struct held {
    void (*clear)(void *block);
    int64_t block[]; /* userdata is aligned for no more than this */
} held;

static int l_held_clear(lua_State *L)
{
    held *h = lua_touserdata(L, 1);

    h->clear(h->block);
    return 0;
}

void *dpg_push_held(lua_State *L, size_t size, void (*clear)(void *block))
{
    held *h = lua_newuserdata(L, sizeof *h + size);

    memset(h, 0, sizeof *h + size);
    h->clear = clear;
    if (luaL_newmetatable(L, HELD)) {
        lua_pushcfunction(L, l_held_clear);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return h->block;
}

dpg_str dpg_check_str(lua_State *L, int index)
{
    dpg_str s = {NULL, 0};

    luaL_checktype(L, index, LUA_TSTRING);
    s.ptr = lua_tolstring(L, index, &s.len);
    return s;
}

void dpg_set_str(lua_State *L, const char *key, dpg_str s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
    lua_setfield(L, -2, key);
}

void dpg_set_whole(lua_State *L, const char *key, int64_t n)
{
    dpg_lua_pushint(L, n);
    lua_setfield(L, -2, key);
}

void dpg_set_seconds(lua_State *L, const char *key, int64_t ms)
{
    if (ms % 1000 == 0) {
        dpg_set_whole(L, key, ms / 1000);
        return;
    }
    lua_pushnumber(L, (lua_Number)ms / 1000);
    lua_setfield(L, -2, key);
}

int dpg_push_failure(lua_State *L, const dpg_error *err)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 10);
    dpg_set_str(L, "kind", dpg_cstr(dpg_kind_name(err->kind != DPG_KIND_NONE ? err->kind : DPG_KIND_USAGE)));
    dpg_set_str(L, "code", dpg_cstr(err->code[0] ? err->code : "refused"));
    if (err->reason[0]) dpg_set_str(L, "reason", dpg_cstr(err->reason));
    dpg_set_str(L, "message", dpg_cstr(err->message[0] ? err->message : "the core refused"));
    if (err->detail[0]) dpg_set_str(L, "detail", dpg_cstr(err->detail));
    if (err->request_id[0]) dpg_set_str(L, "request_id", dpg_cstr(err->request_id));
    if (err->http_status) dpg_set_whole(L, "status", err->http_status);
    if (err->retry_after_ms >= 0) dpg_set_seconds(L, "retry_after", err->retry_after_ms);
    return 2;
}

int dpg_push_id(lua_State *L, dpg_status status, dpg_id id, const dpg_error *err)
{
    if (status != DPG_OK) return dpg_push_failure(L, err);
    dpg_lua_pushint(L, (int64_t)id);
    return 1;
}

/* --- the module ------------------------------------------------------------------------------------------------------- */

/* core.random_bytes(n) -> n random bytes, from the system; n up to 1024 */
static int l_random_bytes(lua_State *L)
{
    lua_Number n = luaL_checknumber(L, 1);
    char bytes[1024];
    size_t len = 0, done = 0;

    luaL_argcheck(L, n >= 1 && n <= (lua_Number)sizeof bytes, 1, "1 to 1024 expected");
    len = (size_t)n;
    while (done < len) {
        uint64_t word = dpg_random_os.u64(dpg_random_os.self);
        size_t part = len - done < sizeof word ? len - done : sizeof word;

        memcpy(bytes + done, &word, part);
        done += part;
    }
    lua_pushlstring(L, bytes, len);
    dpg_wipe(bytes, sizeof bytes);
    return 1;
}

/* core.now() -> seconds on a clock for short spans, which nobody sets; only differences mean anything */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)dpg_os_now_us() / 1e6);
    return 1;
}

/* core.process() -> a number that is another one in a child made by fork */
static int l_process(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)dpg_os_process());
    return 1;
}

/* core.io_path(path) -> the path as Lua's io and os take it: another one on Windows, when it isn't ASCII */
static int l_io_path(lua_State *L)
{
    size_t len, room;
    const char *path = luaL_checklstring(L, 1, &len);
    char *out = lua_newuserdata(L, room = 4 * len + 1);

    dpg_os_io_path(path, out, room);
    lua_pushstring(L, out);
    return 1;
}

/* core.kind(path) -> "file" | "folder" | "other", a pipe or a device | nil */
static int l_kind(lua_State *L)
{
    static const char *const names[] = {NULL, "file", "folder", "other"};

    lua_pushstring(L, names[dpg_os_kind_of(luaL_checkstring(L, 1))]);
    return 1;
}

/*
 * core.fingerprint(bytes, before) -> 16 digits that tell contents apart: FNV-1a, 64 bits, as fast as a disk reads and not
 * for secrets. `before`: what it gave for the bytes that came earlier; nil: these are the first.
 */
static int l_fingerprint(lua_State *L)
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len), *before = luaL_optstring(L, 2, "cbf29ce484222325");
    char *end, out[17];
    uint64_t sum = strtoull(before, &end, 16);

    luaL_argcheck(L, strlen(before) == 16 && !*end, 2, "an earlier fingerprint expected");
    for (size_t i = 0; i < len; i++) sum = (sum ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    snprintf(out, sizeof out, "%016" PRIx64, sum);
    lua_pushstring(L, out);
    return 1;
}

/*
 * core.dress(list, metatable, name): each table of the sequence that has none gets the metatable, if it has a string under
 * that name. Here, since a page is a sequence of up to 200, and nothing but this is done for each of them in Lua.
 */
static int l_dress(lua_State *L)
{
    int n;

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TSTRING);
    lua_settop(L, 3);
    n = (int)lua_rawlen(L, 1);
    for (int i = 1; i <= n; i++, lua_settop(L, 3)) {
        lua_rawgeti(L, 1, i);
        if (!lua_istable(L, 4)) continue;
        if (lua_getmetatable(L, 4)) continue;
        lua_pushvalue(L, 3);
        lua_rawget(L, 4);
        if (lua_type(L, 5) != LUA_TSTRING) continue;
        lua_pushvalue(L, 2);
        lua_setmetatable(L, 4);
    }
    return 0;
}

static const luaL_Reg functions[] = {
    {"engine", dpg_l_engine},
    {"service", dpg_l_service},
    {"person", dpg_l_person},
    {"memory_store", dpg_l_memory_store},
    {"file_store", dpg_l_file_store},
    {"host_store", dpg_l_host_store},
    {"random_bytes", l_random_bytes},
    {"now", l_now},
    {"process", l_process},
    {"wake", dpg_l_wake},
    {"lock", dpg_l_lock},
    {"spec", dpg_l_spec},
    {"io_path", l_io_path},
    {"kind", l_kind},
    {"fingerprint", l_fingerprint},
    {"dress", l_dress},
    {NULL, NULL},
};

DPG_OS_EXPORT int luaopen_dpg_core(lua_State *L);

int luaopen_dpg_core(lua_State *L)
{
    dpg_open_engine(L);
    dpg_open_credential(L);
    dpg_open_store(L);
    dpg_open_wake(L);
    dpg_open_lock(L);
    dpg_open_spec(L);
    luaL_newlib(L, functions);
    dpg_open_json(L); /* decode, array_mt */
    lua_pushliteral(L, DPG_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushlightuserdata(L, NULL); /* what lua-cjson calls cjson.null */
    lua_setfield(L, -2, "null");
    return 1;
}
