/*
 * A lock that the system holds for this process, as userdata: core.lock, lock:close. It ends with the process, however that
 * ends, so that nobody has to tell the living from the dead by their numbers.
 */
#include "binding.h"

#include "os.h"

#include <inttypes.h>
#include <stdio.h>

static void close_lock(dpg_os_file *file)
{
    dpg_os_fault fault;

    dpg_os_file_close(file, &fault);
}

/* Who has it, for people: the digits that the holder has written; pushes "" when there are none. */
static void push_holder(lua_State *L, const char *path)
{
    dpg_os_file file = DPG_OS_FILE_NONE;
    char text[24];
    dpg_os_fault fault;
    int64_t size;
    size_t got = 0, digits = 0;

    if (dpg_os_file_open(path, &file, &size, &fault) != DPG_OS_FINE ||
        dpg_os_file_read(&file, text, sizeof text, 0, &got, &fault) != DPG_OS_FINE)
        got = 0;
    close_lock(&file);
    while (digits < got && text[digits] >= '0' && text[digits] <= '9') digits++;
    lua_pushlstring(L, text, digits);
}

/* For people alone: a full disk is no reason not to lock. */
static void write_holder(const dpg_os_file *file)
{
    char text[24];
    dpg_os_fault fault;
    int len = snprintf(text, sizeof text, "%" PRId64 "\n", dpg_os_pid());

    dpg_os_file_write(file, text, (size_t)len, 0, &fault);
    dpg_os_file_cut(file, len, &fault);
}

/*
 * core.lock(path) -> lock | nil, pid of who has it ("": not known) | nil, nil, why it can't be had. The file is made when it
 * is missing; who has the lock may remove it.
 */
int dpg_l_lock(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    dpg_os_file *file = lua_newuserdata(L, sizeof *file); /* path … file */
    dpg_os_fault fault;
    dpg_os_trouble trouble = DPG_OS_EXISTS;
    int64_t size;

    file->handle = -1;
    luaL_setmetatable(L, DPG_LOCK);
    for (int i = 0; i < 8 && trouble == DPG_OS_EXISTS; i++) {
        close_lock(file); /* of a file that its holder has removed meanwhile */
        trouble = dpg_os_file_make(path, file, &size, &fault);
        if (trouble == DPG_OS_FINE) trouble = dpg_os_file_lock(file, path, &fault);
    }
    if (trouble == DPG_OS_FINE) {
        write_holder(file);
        return 1;
    }
    lua_pushnil(L);
    if (trouble == DPG_OS_BUSY) {
        close_lock(file);
        push_holder(L, path);
        return 2;
    }
    close_lock(file);
    lua_pushnil(L);
    lua_pushstring(L, fault.text);
    return 3;
}

/* lock:close(), and __gc: twice is fine */
static int l_close(lua_State *L)
{
    close_lock(luaL_checkudata(L, 1, DPG_LOCK));
    return 0;
}

static int l_tostring(lua_State *L)
{
    dpg_os_file *file = luaL_checkudata(L, 1, DPG_LOCK);

    lua_pushstring(L, file->handle == -1 ? "dpg.lock (closed)" : "dpg.lock");
    return 1;
}

static const luaL_Reg methods[] = {{"close", l_close}, {NULL, NULL}};

void dpg_open_lock(lua_State *L)
{
    dpg_make_class(L, DPG_LOCK, methods, l_close, l_tostring, 0);
}
