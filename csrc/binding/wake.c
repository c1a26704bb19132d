/*
 * What wakes a host's own event loop, as userdata: core.wake, wake:fd, path, raise, lower, close. Handed to engines by
 * engine:thread(wake), which keep it alive; one for each Lua state serves all of its engines.
 */
#include "binding.h"

static dpg_wake *check_wake(lua_State *L, int index)
{
    dpg_wake **box = luaL_checkudata(L, index, DPG_WAKE);

    luaL_argcheck(L, *box, index, "the wake is closed");
    return *box;
}

dpg_wake *dpg_opt_wake(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? NULL : check_wake(L, index);
}

/* core.wake("fd" | "socket") -> wake | nil, err */
int dpg_l_wake(lua_State *L)
{
    static const char *const names[] = {"fd", "socket", NULL};
    int which = luaL_checkoption(L, 1, NULL, names);
    dpg_error err = DPG_ERROR_INIT;
    dpg_wake **box = lua_newuserdata(L, sizeof *box);

    *box = NULL;
    luaL_setmetatable(L, DPG_WAKE);
    if (dpg_wake_new(which ? DPG_WAKE_SOCKET : DPG_WAKE_FD, box, &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 1;
}

/* wake:close(), and __gc: engines that have it keep it */
static int l_close(lua_State *L)
{
    dpg_wake **box = luaL_checkudata(L, 1, DPG_WAKE);
    dpg_wake *wake = *box;

    *box = NULL;
    dpg_wake_free(wake);
    return 0;
}

static int l_tostring(lua_State *L)
{
    dpg_wake **box = luaL_checkudata(L, 1, DPG_WAKE);

    lua_pushstring(L, *box ? "dpg.wake" : "dpg.wake (closed)");
    return 1;
}

/* wake:fd() -> descriptor, readable while raised | nil for a socket */
static int l_fd(lua_State *L)
{
    int fd = dpg_wake_fd(check_wake(L, 1));

    if (fd < 0) return 0;
    lua_pushinteger(L, fd);
    return 1;
}

/* wake:path() -> where to connect | nil for an fd */
static int l_path(lua_State *L)
{
    const char *path = dpg_wake_path(check_wake(L, 1));

    if (!path[0]) return 0;
    lua_pushstring(L, path);
    return 1;
}

static int l_raise(lua_State *L)
{
    dpg_wake_raise(check_wake(L, 1));
    return 0;
}

/* wake:lower() -> are all who have connected heard? */
static int l_lower(lua_State *L)
{
    lua_pushboolean(L, dpg_wake_lower(check_wake(L, 1)));
    return 1;
}

static const luaL_Reg methods[] = {
    {"fd", l_fd}, {"path", l_path}, {"raise", l_raise}, {"lower", l_lower}, {"close", l_close}, {NULL, NULL},
};

void dpg_open_wake(lua_State *L)
{
    dpg_make_class(L, DPG_WAKE, methods, l_close, l_tostring, 0);
}
