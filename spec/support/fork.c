/*
 * fork for specs, on each of the five Luas: spec/support/fork.lua compiles it for the Lua that it runs on, and says what the
 * functions do.
 */
#include <lauxlib.h>
#include <lua.h>

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static int l_fork(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)fork());
    return 1;
}

static int l_wait(lua_State *L)
{
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);

    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    return 0;
}

static int l_exit(lua_State *L)
{
    int status = (int)luaL_checkinteger(L, 1);

    if (lua_toboolean(L, 2)) execl("/bin/sh", "sh", "-c", lua_pushfstring(L, "exit %d", status), (char *)NULL);
    _exit(status);
}

int luaopen_fork(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, l_fork);
    lua_setfield(L, -2, "fork");
    lua_pushcfunction(L, l_wait);
    lua_setfield(L, -2, "wait");
    lua_pushcfunction(L, l_exit);
    lua_setfield(L, -2, "exit");
    return 1;
}
