/*
 * Stores as userdata: core.memory_store(), core.file_store(path). They are handed to core.person() and have no methods:
 * what they keep is the core's business.
 */
#include "binding.h"

static dpg_store **new_box(lua_State *L)
{
    dpg_store **box = lua_newuserdata(L, sizeof *box);

    *box = NULL;
    luaL_setmetatable(L, DPG_STORE);
    return box;
}

/* core.memory_store() -> store | nil, err */
int dpg_l_memory_store(lua_State *L)
{
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_memory_new(new_box(L), &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 1;
}

/* core.file_store(path) -> store | nil, err */
int dpg_l_file_store(lua_State *L)
{
    dpg_str path = dpg_check_str(L, 1);
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_file_new(path, new_box(L), &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 1;
}

static int l_gc(lua_State *L)
{
    dpg_store **box = luaL_checkudata(L, 1, DPG_STORE);
    dpg_store *store = *box;

    *box = NULL;
    dpg_store_free(store);
    return 0;
}

static int l_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, DPG_STORE);
    lua_pushliteral(L, "dpg.store");
    return 1;
}

static const luaL_Reg methods[] = {{NULL, NULL}};

void dpg_open_store(lua_State *L)
{
    dpg_make_class(L, DPG_STORE, methods, l_gc, l_tostring);
}
