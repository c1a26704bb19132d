/*
 * What the binding's files share: the userdata kinds, the engine's counted box, and how errors and times cross over.
 * The binding checks arguments, calls the core and pushes results; it decides nothing. Here, and only here, seconds
 * (Lua) and milliseconds (C) meet: going down they are rounded up, so that nobody wakes too early.
 */
#ifndef DPG_BINDING_H
#define DPG_BINDING_H

#include "base.h"
#include "compat.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_ENGINE "dpg.engine"
#define DPG_CREDENTIAL "dpg.credential"
#define DPG_STORE "dpg.store"
#define DPG_WAKE "dpg.wake"
#define DPG_PREPARED "dpg.spec"
#define DPG_LOCK "dpg.lock"

/* How long closing waits for an exchange that has left, when nobody says. */
#define DPG_CLOSE_GRACE_MS 5000

/*
 * An engine, held together by its own userdata and by each credential's. lua_close() runs finalisers in an order of its
 * own, so whoever goes last frees the engine; an explicit close frees it at once, and the others find NULL.
 */
typedef struct dpg_engine_box {
    size_t refs;
    dpg_engine *engine; /* NULL: closed */
} dpg_engine_box;

typedef struct dpg_credential_box {
    dpg_engine_box *engine;     /* a counted reference; NULL: nothing here */
    dpg_credential *credential; /* alive as long as engine->engine is */
} dpg_credential_box;

typedef struct dpg_store_box {
    dpg_store *store; /* NULL: it was never made */
    char *owner;      /* who has locked it through its methods; NULL: nobody */
} dpg_store_box;

dpg_engine_box *dpg_engine_box_ref(dpg_engine_box *box);
void dpg_engine_box_unref(dpg_engine_box *box, int64_t grace_ms); /* takes NULL */

/* Reads a spec table at `index` into `spec`, which borrows the table's strings: keep it on the stack. Raises at anything wrong. */
void dpg_read_spec(lua_State *L, int index, dpg_engine_box *engine, dpg_spec *spec);

/* core.spec(table) -> a spec that many calls are started from: all but what differs from one to the next. */
int dpg_l_spec(lua_State *L);

/* The prepared spec at `index`, and behind it what belongs to this call, as engine:start() takes them. Borrows likewise. */
void dpg_read_prepared(lua_State *L, int index, dpg_engine_box *engine, dpg_spec *spec);

void dpg_read_engine_options(lua_State *L, int index, dpg_engine_options *options); /* likewise */

/*
 * Makes the metatable `name` with `methods` in an __index of its own. The first upvalue of each is the metatable, for
 * dpg_check_self(); the others are `extra` values, which it takes off the stack.
 */
void dpg_make_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc, lua_CFunction tostring,
                    int extra);

/* The first argument of a method, which must be one of these; several times cheaper than luaL_checkudata(). */
void *dpg_check_self(lua_State *L, const char *name);

/*
 * A block of zeros on the stack for what is about to be pushed; `clear` ends it. An error while pushing leaks nothing, and a
 * finaliser that runs meanwhile and does the same has another. It may also close what the block is filled from, while the
 * block is made: look after it.
 */
void *dpg_push_held(lua_State *L, size_t size, void (*clear)(void *block));

dpg_wake *dpg_opt_wake(lua_State *L, int index);          /* borrowed; NULL: nil. Raises at a closed one */
dpg_str dpg_check_str(lua_State *L, int index);           /* borrows Lua's string */
int dpg_push_failure(lua_State *L, const dpg_error *err); /* nil, err: returns 2 */
int dpg_push_id(lua_State *L, dpg_status status, dpg_id id, const dpg_error *err); /* id, or nil, err */
void dpg_set_str(lua_State *L, const char *key, dpg_str s);                        /* t[key] = s, t on top */
void dpg_set_whole(lua_State *L, const char *key, int64_t n);
void dpg_set_seconds(lua_State *L, const char *key, int64_t ms);

/* The functions of module `dpg.core`, by file. */
int dpg_l_engine(lua_State *L);
int dpg_l_service(lua_State *L);
int dpg_l_person(lua_State *L);
int dpg_l_memory_store(lua_State *L);
int dpg_l_file_store(lua_State *L);
int dpg_l_host_store(lua_State *L);
int dpg_l_wake(lua_State *L);
int dpg_l_lock(lua_State *L);
void dpg_open_engine(lua_State *L);
void dpg_open_credential(lua_State *L);
void dpg_open_store(lua_State *L);
void dpg_open_wake(lua_State *L);
void dpg_open_lock(lua_State *L);
void dpg_open_spec(lua_State *L);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
