/*
 * The Lua C API as the binding uses it, on PUC Lua 5.1 to 5.4 and LuaJIT. The only place that asks for a Lua version:
 * what an old one lacks is made here under the name that 5.3 gave it. Each binding file includes this instead of lua.h.
 *
 * LuaJIT says 501 and has some of these functions, in some of its releases; so under 501 all come from here.
 */
#ifndef DPG_COMPAT_H
#define DPG_COMPAT_H

#include <lauxlib.h>
#include <lua.h>

#include <stdint.h>
#include <string.h>

#if LUA_VERSION_NUM < 501
#error "dpg needs Lua 5.1 or newer"
#endif

#if LUA_VERSION_NUM == 501

#undef luaL_newlib
#undef lua_rawlen
#undef lua_absindex
#define luaL_setfuncs(L, l, nup) dpg_lua_setfuncs(L, l, nup)
#define luaL_newlib(L, l) (lua_createtable(L, 0, (int)(sizeof(l) / sizeof(*(l)) - 1)), luaL_setfuncs(L, l, 0))
#define luaL_setmetatable(L, name) (luaL_getmetatable(L, name), (void)lua_setmetatable(L, -2))
#define luaL_testudata(L, index, name) dpg_lua_testudata(L, index, name)
#define lua_absindex(L, index) dpg_lua_absindex(L, index)
#define lua_rawlen(L, index) lua_objlen(L, index)
#define lua_rawgetp(L, index, p) dpg_lua_rawgetp(L, index, p)
#define lua_rawsetp(L, index, p) dpg_lua_rawsetp(L, index, p)
#ifndef LUA_OK
#define LUA_OK 0
#endif

static inline int dpg_lua_absindex(lua_State *L, int index)
{
    return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

static inline void dpg_lua_setfuncs(lua_State *L, const luaL_Reg *l, int nup)
{
    luaL_checkstack(L, nup + 1, "too many upvalues");
    for (; l->name; l++) {
        for (int i = 0; i < nup; i++) lua_pushvalue(L, -nup);
        lua_pushcclosure(L, l->func, nup);
        lua_setfield(L, -(nup + 2), l->name);
    }
    lua_pop(L, nup);
}

static inline void *dpg_lua_testudata(lua_State *L, int index, const char *name)
{
    void *p = lua_touserdata(L, index);

    if (!p || !lua_getmetatable(L, index)) return NULL;
    luaL_getmetatable(L, name);
    if (!lua_rawequal(L, -1, -2)) p = NULL;
    lua_pop(L, 2);
    return p;
}

static inline void dpg_lua_rawgetp(lua_State *L, int index, const void *p)
{
    index = dpg_lua_absindex(L, index);
    lua_pushlightuserdata(L, (void *)(uintptr_t)p);
    lua_rawget(L, index);
}

static inline void dpg_lua_rawsetp(lua_State *L, int index, const void *p) /* takes the value off the stack */
{
    index = dpg_lua_absindex(L, index);
    lua_pushlightuserdata(L, (void *)(uintptr_t)p);
    lua_insert(L, -2);
    lua_rawset(L, index);
}

#endif

/*
 * One Lua value that lives as long as a userdata does: a table, since older Luas take nothing else. Set it before it is
 * asked for; until then 5.1 answers with an environment of its own.
 */
#if LUA_VERSION_NUM == 501
#define dpg_lua_setuservalue(L, index) ((void)lua_setfenv(L, index))
#define dpg_lua_getuservalue(L, index) lua_getfenv(L, index)
#elif LUA_VERSION_NUM < 504
#define dpg_lua_setuservalue(L, index) lua_setuservalue(L, index)
#define dpg_lua_getuservalue(L, index) ((void)lua_getuservalue(L, index))
#else
#define dpg_lua_setuservalue(L, index) ((void)lua_setiuservalue(L, index, 1))
#define dpg_lua_getuservalue(L, index) ((void)lua_getiuservalue(L, index, 1))
#endif

/*
 * Whole numbers. From 5.3 they are Lua integers, which print without a ".0"; elsewhere plain numbers, exact to 2^53.
 * Checking takes 3.0 for 3 everywhere, and raises at 1.5, NaN, infinity, or what int64_t can't hold.
 */
#if LUA_VERSION_NUM >= 503
static inline void dpg_lua_pushint(lua_State *L, int64_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
}
static inline int64_t dpg_lua_checkint(lua_State *L, int arg)
{
    return (int64_t)luaL_checkinteger(L, arg);
}
#else
static inline void dpg_lua_pushint(lua_State *L, int64_t n)
{
    lua_pushnumber(L, (lua_Number)n);
}
static inline int64_t dpg_lua_checkint(lua_State *L, int arg)
{
    lua_Number n = luaL_checknumber(L, arg);

    if (!(n >= -9223372036854775808.0 && n < 9223372036854775808.0) || (lua_Number)(int64_t)n != n)
        luaL_argerror(L, arg, "number has no integer representation");
    return (int64_t)n;
}
#endif

#endif
