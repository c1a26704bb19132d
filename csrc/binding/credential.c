/*
 * Credentials as userdata: core.service, core.person, and credential:load, sign_in, forget, info. No token can be read back;
 * what a person's record says of accounts comes as it came from the server.
 */
#include "binding.h"

#include "json.h"

#include <math.h>

static dpg_credential_box *check_open(lua_State *L)
{
    dpg_credential_box *box = luaL_checkudata(L, 1, DPG_CREDENTIAL);

    return box->engine && box->engine->engine && box->credential ? box : NULL;
}

static int push_closed(lua_State *L)
{
    dpg_error err = DPG_ERROR_INIT;

    dpg_fail(&err, DPG_E_CLOSED, DPG_KIND_USAGE, "closed", "the credential's engine is closed");
    return dpg_push_failure(L, &err);
}

/* A credential userdata on top of the stack, empty but for its hold on the engine. */
static dpg_credential_box *new_box(lua_State *L, dpg_engine_box *engine)
{
    dpg_credential_box *box = lua_newuserdata(L, sizeof *box);

    memset(box, 0, sizeof *box);
    luaL_setmetatable(L, DPG_CREDENTIAL);
    box->engine = dpg_engine_box_ref(engine);
    return box;
}

static dpg_engine_box *check_engine(lua_State *L)
{
    dpg_engine_box **ud = luaL_checkudata(L, 1, DPG_ENGINE);

    return *ud && (*ud)->engine ? *ud : NULL;
}

/* core.service(engine, base_url, token) -> credential | nil, err */
int dpg_l_service(lua_State *L)
{
    dpg_engine_box *engine = check_engine(L);
    dpg_str base_url = dpg_check_str(L, 2), token = dpg_check_str(L, 3);
    dpg_error err = DPG_ERROR_INIT;
    dpg_credential_box *box;

    if (!engine) return push_closed(L);
    box = new_box(L, engine);
    if (!engine->engine) return push_closed(L); /* by a finaliser; so below */
    if (dpg_credential_service(engine->engine, base_url, token, &box->credential, &err) != DPG_OK)
        return dpg_push_failure(L, &err);
    return 1;
}

/* core.person(engine, base_url, store, { replay = true }) -> credential | nil, err */
int dpg_l_person(lua_State *L)
{
    dpg_engine_box *engine = check_engine(L);
    dpg_str base_url = dpg_check_str(L, 2);
    dpg_store_box *store = luaL_checkudata(L, 3, DPG_STORE);
    dpg_person_options options = {false};
    dpg_error err = DPG_ERROR_INIT;
    dpg_credential_box *box;

    if (!lua_isnoneornil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 4); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !dpg_str_eq(dpg_check_str(L, -2), DPG_LIT("replay")))
                return luaL_error(L, "unknown field in a person's options");
            options.no_replay = !lua_toboolean(L, -1);
        }
    }
    if (!engine) return push_closed(L);
    if (!store->store) return luaL_argerror(L, 3, "the store was never made");
    box = new_box(L, engine);
    if (!engine->engine) return push_closed(L);
    if (dpg_credential_person(engine->engine, base_url, store->store, &options, &box->credential, &err) != DPG_OK)
        return dpg_push_failure(L, &err);
    return 1;
}

static int l_gc(lua_State *L)
{
    dpg_credential_box *box = luaL_checkudata(L, 1, DPG_CREDENTIAL);
    dpg_engine_box *engine = box->engine;
    dpg_credential *credential = box->credential;

    box->engine = NULL;
    box->credential = NULL;
    if (engine && engine->engine) dpg_credential_free(credential);
    dpg_engine_box_unref(engine, DPG_CLOSE_GRACE_MS);
    return 0;
}

static int l_tostring(lua_State *L)
{
    dpg_credential_box *box = check_open(L);

    if (!box) {
        lua_pushliteral(L, "dpg.credential (closed)");
    } else {
        dpg_credential_info info = dpg_credential_get_info(box->credential);
        const char *state = info.state, *what = info.person ? "person" : "service"; /* static, both */

        dpg_credential_info_clear(&info);
        lua_pushfstring(L, "dpg.credential (%s, %s)", what, state);
    }
    return 1;
}

/* A deadline in seconds at `index`: nil for the usual one, false (or math.huge) for none. */
static int64_t opt_deadline(lua_State *L, int index)
{
    double seconds;

    if (lua_isnoneornil(L, index)) return 0;
    if (lua_isboolean(L, index) && !lua_toboolean(L, index)) return -1;
    seconds = (double)luaL_checknumber(L, index);
    luaL_argcheck(L, seconds > 0, index, "seconds above 0 expected");
    return seconds < 1e12 ? (int64_t)ceil(seconds * 1000.0) : -1;
}

/* credential:load(deadline) -> id | nil, err */
static int l_load(lua_State *L)
{
    dpg_credential_box *box = check_open(L);
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;
    dpg_status status;

    if (!box) return push_closed(L);
    status = dpg_credential_load(box->credential, opt_deadline(L, 2), &id, &err);
    return dpg_push_id(L, status, id, &err);
}

/* credential:sign_in(spec) -> id | nil, err */
static int l_sign_in(lua_State *L)
{
    dpg_credential_box *box = check_open(L);
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;
    dpg_status status;

    lua_settop(L, 2);
    if (!box) return push_closed(L);
    dpg_read_spec(L, 2, box->engine, &spec);
    if (!check_open(L)) return push_closed(L);
    status = dpg_credential_sign_in(box->credential, &spec, &id, &err);
    return dpg_push_id(L, status, id, &err);
}

/* credential:forget(deadline) -> id | nil, err */
static int l_forget(lua_State *L)
{
    dpg_credential_box *box = check_open(L);
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;
    dpg_status status;

    if (!box) return push_closed(L);
    status = dpg_credential_forget(box->credential, opt_deadline(L, 2), &id, &err);
    return dpg_push_id(L, status, id, &err);
}

/* t[key] = what `text` says, t on top; nothing when there is no text or it can't be read. */
static void set_json(lua_State *L, const char *key, const char *text)
{
    int pushed;

    if (!text || !text[0]) return;
    pushed = dpg_push_json(L, dpg_cstr(text)); /* value, or nil, message, offset */
    if (pushed == 1) lua_setfield(L, -2, key);
    else lua_pop(L, pushed);
}

static void clear_info(void *info)
{
    dpg_credential_info_clear(info);
}

/* credential:info() -> { number, person, state, reason, generation, rotations, accounts, user } | nil when closed */
static int l_info(lua_State *L)
{
    dpg_credential_info *info = dpg_push_held(L, sizeof *info, clear_info);
    dpg_credential_box *box = check_open(L);

    if (!box) return 0;
    *info = dpg_credential_get_info(box->credential);
    lua_createtable(L, 0, 8);
    dpg_set_whole(L, "number", (int64_t)info->number);
    lua_pushboolean(L, info->person);
    lua_setfield(L, -2, "person");
    dpg_set_str(L, "state", dpg_cstr(info->state));
    if (info->reason[0]) dpg_set_str(L, "reason", dpg_cstr(info->reason));
    dpg_set_whole(L, "generation", info->generation);
    dpg_set_whole(L, "rotations", info->rotations);
    set_json(L, "accounts", info->accounts_json);
    set_json(L, "user", info->person_json);
    dpg_credential_info_clear(info);
    return 1;
}

static const luaL_Reg methods[] = {
    {"load", l_load}, {"sign_in", l_sign_in}, {"forget", l_forget}, {"info", l_info}, {NULL, NULL},
};

void dpg_open_credential(lua_State *L)
{
    dpg_make_class(L, DPG_CREDENTIAL, methods, l_gc, l_tostring, 0);
}
