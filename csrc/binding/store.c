/*
 * Stores as userdata: core.memory_store(), core.file_store(path), core.host_store(identity, lease). They are handed to
 * core.person(). Those that are kept in C have the operations of a store in Lua, too, for dpg.store's own use: lock, load,
 * save, unlock.
 */
#include "binding.h"

#include "base.h"
#include "drivers.h"

#include <string.h>

static dpg_store_box *new_box(lua_State *L)
{
    dpg_store_box *box = lua_newuserdata(L, sizeof *box);

    memset(box, 0, sizeof *box);
    luaL_setmetatable(L, DPG_STORE);
    return box;
}

/* core.memory_store() -> store | nil, err */
int dpg_l_memory_store(lua_State *L)
{
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_memory_new(&new_box(L)->store, &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 1;
}

/* core.file_store(path, plain) -> store | nil, err; `plain`: what it keeps need not be a record of ours */
int dpg_l_file_store(lua_State *L)
{
    dpg_str path = dpg_check_str(L, 1);
    bool plain = lua_toboolean(L, 2) != 0;
    dpg_error err = DPG_ERROR_INIT;

    if ((plain ? dpg_store_file_new_plain : dpg_store_file_new)(path, &new_box(L)->store, &err) != DPG_OK)
        return dpg_push_failure(L, &err);
    return 1;
}

/* core.host_store(identity, lease) -> store | nil, err */
int dpg_l_host_store(lua_State *L)
{
    dpg_str identity = dpg_check_str(L, 1);
    bool lease = lua_toboolean(L, 2) != 0;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_host_new(identity, lease, &new_box(L)->store, &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 1;
}

/* --- operations ------------------------------------------------------------------------------------------------------- */

/* The box, if its store answers at once. */
static dpg_store_box *check_own(lua_State *L)
{
    dpg_store_box *box = luaL_checkudata(L, 1, DPG_STORE);

    luaL_argcheck(L, box->store && !box->store->hosted, 1, "a store that is kept in C expected");
    return box;
}

static void ask(dpg_store_box *box, dpg_store_request *request, dpg_store_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    reply->error.retry_after_ms = -1;
    dpg_store_ask(box->store, request, reply);
}

static bool is_owner(const dpg_store_box *box, dpg_str owner)
{
    return box->owner && dpg_str_eq(dpg_cstr(box->owner), owner);
}

/* store:lock(owner, ttl) -> true | false, again (s), holder | nil, err; the same owner again: true */
static int l_lock(lua_State *L)
{
    dpg_store_box *box = check_own(L);
    dpg_str owner = dpg_check_str(L, 2);
    dpg_store_request request = {.op = DPG_STORE_LOCK};
    dpg_store_reply reply;
    char *name;

    if (is_owner(box, owner)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    name = dpg_strndup(owner);
    ask(box, &request, &reply);
    if (reply.outcome == DPG_STORE_DONE && !name) {
        request.op = DPG_STORE_UNLOCK;
        ask(box, &request, &reply);
        dpg_fail_nomem(&reply.error);
        reply.outcome = DPG_STORE_FAILED;
    }
    if (reply.outcome != DPG_STORE_DONE) dpg_free(name);
    if (reply.outcome == DPG_STORE_FAILED) return dpg_push_failure(L, &reply.error);
    if (reply.outcome == DPG_STORE_DONE) {
        dpg_free(box->owner);
        box->owner = name;
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_pushnumber(L, (lua_Number)reply.again_ms / 1000);
    lua_pushstring(L, reply.holder);
    return 3;
}

static void clear_bytes(void *bytes)
{
    dpg_buf_clear(bytes);
}

/* store:load() -> bytes | nil | nil, err */
static int l_load(lua_State *L)
{
    dpg_store_box *box = check_own(L);
    dpg_store_request request = {.op = DPG_STORE_LOAD};
    dpg_store_reply reply;
    dpg_buf *loaded = dpg_push_held(L, sizeof *loaded, clear_bytes);

    ask(box, &request, &reply);
    if (reply.outcome == DPG_STORE_FAILED) return dpg_push_failure(L, &reply.error);
    *loaded = reply.bytes;
    if (reply.found) lua_pushlstring(L, dpg_buf_str(loaded).ptr, loaded->len);
    else lua_pushnil(L);
    dpg_buf_clear(loaded);
    return 1;
}

/* store:save(bytes, expected, reserve) -> true | false (something else is stored) | nil, err */
static int l_save(lua_State *L)
{
    dpg_store_box *box = check_own(L);
    dpg_store_request request = {.op = DPG_STORE_SAVE, .bytes = dpg_check_str(L, 2)};
    dpg_store_reply reply;

    request.had = !lua_isnoneornil(L, 3);
    if (request.had) request.expected = dpg_check_str(L, 3);
    request.reserve = lua_toboolean(L, 4) != 0;
    ask(box, &request, &reply);
    if (reply.outcome == DPG_STORE_FAILED) return dpg_push_failure(L, &reply.error);
    lua_pushboolean(L, reply.outcome == DPG_STORE_DONE);
    return 1;
}

/* store:unlock(owner) -> true | nil, err; of somebody else's lock: true, and nothing happens */
static int l_unlock(lua_State *L)
{
    dpg_store_box *box = check_own(L);
    dpg_str owner = dpg_check_str(L, 2);
    dpg_store_request request = {.op = DPG_STORE_UNLOCK};
    dpg_store_reply reply;

    if (is_owner(box, owner)) {
        dpg_free(box->owner);
        box->owner = NULL;
        ask(box, &request, &reply);
        if (reply.outcome == DPG_STORE_FAILED) return dpg_push_failure(L, &reply.error);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int l_gc(lua_State *L)
{
    dpg_store_box *box = luaL_checkudata(L, 1, DPG_STORE);
    dpg_store *store = box->store;
    dpg_store_request request = {.op = DPG_STORE_UNLOCK};
    dpg_store_reply reply;

    if (store && box->owner) ask(box, &request, &reply); /* it may live on, and be locked for ever */
    box->store = NULL;
    dpg_free(box->owner);
    box->owner = NULL;
    dpg_store_free(store);
    return 0;
}

static int l_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, DPG_STORE);
    lua_pushliteral(L, "dpg.store");
    return 1;
}

static const luaL_Reg methods[] = {
    {"lock", l_lock}, {"load", l_load}, {"save", l_save}, {"unlock", l_unlock}, {NULL, NULL},
};

void dpg_open_store(lua_State *L)
{
    dpg_make_class(L, DPG_STORE, methods, l_gc, l_tostring, 0);
}
