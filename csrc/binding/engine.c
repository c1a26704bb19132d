/*
 * The engine as userdata: engine:start, wait, next, take, cancel, abandon, counts, close, is_mine, now. A call is a number
 * that the engine owns, so there is no finaliser for each call. lua/dpg/call.lua alone uses it.
 */
#include "binding.h"

#include "base.h"

#include <math.h>

/* --- the counted box ------------------------------------------------------------------------------------------------ */

dpg_engine_box *dpg_engine_box_ref(dpg_engine_box *box)
{
    box->refs++;
    return box;
}

static void box_close(dpg_engine_box *box, int64_t grace_ms)
{
    dpg_engine *engine = box->engine;

    box->engine = NULL;
    dpg_completion_clear(&box->taking);
    memset(&box->taking, 0, sizeof box->taking);
    dpg_engine_free(engine, grace_ms);
}

void dpg_engine_box_unref(dpg_engine_box *box, int64_t grace_ms)
{
    if (!box || --box->refs) return;
    box_close(box, grace_ms);
    dpg_free(box);
}

static dpg_engine_box *check_box(lua_State *L)
{
    dpg_engine_box **ud = luaL_checkudata(L, 1, DPG_ENGINE);

    if (!*ud) luaL_error(L, "the engine was never made");
    return *ud;
}

static int push_closed(lua_State *L)
{
    dpg_error err = DPG_ERROR_INIT;

    dpg_fail(&err, DPG_E_CLOSED, DPG_KIND_USAGE, "closed", "the engine is closed");
    return dpg_push_failure(L, &err);
}

/* --- reading tables ------------------------------------------------------------------------------------------------- */

typedef enum field_type {
    F_STR,     /* dpg_str */
    F_BODY,    /* dpg_str, and has_body */
    F_SECONDS, /* int64_t in ms; 0 means "the default" below, so a zero becomes 1 ms; false and math.huge: none (-1) */
    F_TIMER,   /* int64_t in ms, zero allowed, no "none" */
    F_INT,     /* int, above 0 */
    F_SIZE,    /* size_t, above 0 */
    F_NUMBER,  /* double; false: -1 */
    F_BOOL,    /* bool */
    F_NOT,     /* bool, the other way round */
    F_PROXY,   /* dpg_str, or false for none; and proxy_set */
    F_REPEAT,  /* "always" or "unsent" */
    F_HEADERS,
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
    {NULL, F_STR, 0},
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

static bool read_bool(lua_State *L, const field *f)
{
    if (!lua_isboolean(L, -1)) wrong(L, f, "boolean");
    return lua_toboolean(L, -1) != 0;
}

static dpg_repeat read_repeat(lua_State *L, const field *f)
{
    const char *s = read_str(L, f).ptr;

    if (strcmp(s, "always") == 0) return DPG_REPEAT_ALWAYS;
    if (strcmp(s, "unsent") != 0) luaL_error(L, "field '%s': \"always\" or \"unsent\" expected", f->name);
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

static dpg_credential *read_credential(lua_State *L, const field *f, const dpg_engine_box *engine)
{
    dpg_credential_box *box = luaL_testudata(L, -1, DPG_CREDENTIAL);

    if (!box) wrong(L, f, "credential");
    if (!box->engine || box->engine != engine || !box->credential)
        luaL_error(L, "field 'credential': it belongs to another engine");
    return box->credential;
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
    case F_STR: *(dpg_str *)at = read_str(L, f); break;
    case F_SECONDS:
    case F_TIMER: *(int64_t *)at = read_ms(L, f); break;
    case F_INT: *(int *)at = (int)read_whole(L, f, 1e9); break;
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

void dpg_read_spec(lua_State *L, int index, dpg_engine_box *engine, dpg_spec *spec)
{
    int slot;

    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, 8, "spec");
    lua_pushnil(L); /* the headers' array comes here, and stays until the caller returns */
    slot = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const field *f = find_field(L, spec_fields, "a spec");

        switch (f->type) {
        case F_BODY:
            spec->body = read_str(L, f);
            spec->has_body = true;
            break;
        case F_REPEAT: spec->repeat = read_repeat(L, f); break;
        case F_HEADERS: read_headers(L, f, slot, spec); break;
        case F_CREDENTIAL: spec->credential = read_credential(L, f, engine); break;
        default: read_plain(L, f, (char *)spec); break;
        }
    }
}

static void read_engine_options(lua_State *L, int index, dpg_engine_options *options)
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

/* --- making and closing ---------------------------------------------------------------------------------------------- */

/* core.engine{ user_agent, ca_file, proxy, max_connections, http2, retry_budget, events } -> engine | nil, err */
int dpg_l_engine(lua_State *L)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_engine_box **ud;

    read_engine_options(L, 1, &options);
    ud = lua_newuserdata(L, sizeof *ud);
    *ud = NULL;
    luaL_setmetatable(L, DPG_ENGINE);
    *ud = dpg_calloc(1, sizeof **ud);
    if (!*ud) {
        dpg_fail_nomem(&err);
        return dpg_push_failure(L, &err);
    }
    (*ud)->refs = 1;
    if (dpg_engine_new(&options, &(*ud)->engine, &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 1;
}

static int l_gc(lua_State *L)
{
    dpg_engine_box **ud = luaL_checkudata(L, 1, DPG_ENGINE);
    dpg_engine_box *box = *ud;

    *ud = NULL;
    dpg_engine_box_unref(box, DPG_CLOSE_GRACE_MS);
    return 0;
}

/* engine:close(grace): calls are cancelled, an exchange that has left is finished within `grace` seconds (5). Twice is fine. */
static int l_close(lua_State *L)
{
    dpg_engine_box **ud = luaL_checkudata(L, 1, DPG_ENGINE);
    double grace = (double)luaL_optnumber(L, 2, (lua_Number)DPG_CLOSE_GRACE_MS / 1000);

    luaL_argcheck(L, grace >= 0 && grace < 1e9, 2, "seconds expected");
    if (*ud) box_close(*ud, (int64_t)ceil(grace * 1000.0));
    return 0;
}

static int l_tostring(lua_State *L)
{
    dpg_engine_box **ud = luaL_checkudata(L, 1, DPG_ENGINE);

    if (!*ud || !(*ud)->engine) {
        lua_pushliteral(L, "dpg.engine (closed)");
    } else {
        dpg_counts counts = dpg_engine_counts((*ud)->engine);

        lua_pushfstring(L, "dpg.engine (%d calls)", (int)counts.calls);
    }
    return 1;
}

/* --- calls ------------------------------------------------------------------------------------------------------------ */

/* engine:start(spec) -> id | nil, err */
static int l_start(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;
    dpg_status status;

    lua_settop(L, 2);
    if (!box->engine) return push_closed(L);
    dpg_read_spec(L, 2, box, &spec);
    status = dpg_engine_start(box->engine, &spec, &id, &err);
    return dpg_push_id(L, status, id, &err);
}

static dpg_id check_id(lua_State *L, int index)
{
    double id = (double)luaL_checknumber(L, index);

    luaL_argcheck(L, id >= 0 && id <= 9007199254740992.0, index, "a call's number expected");
    return (dpg_id)id;
}

/* engine:wait(ms) -> true | nil, err */
static int l_wait(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    double ms = (double)luaL_optnumber(L, 2, 0);
    dpg_error err = DPG_ERROR_INIT;

    luaL_argcheck(L, ms >= 0, 2, "milliseconds expected");
    if (!box->engine) return push_closed(L);
    if (dpg_engine_wait(box->engine, ms < 1e9 ? (int64_t)ceil(ms) : (int64_t)1e9, &err) != DPG_OK)
        return dpg_push_failure(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static void push_event(lua_State *L, const dpg_note *note)
{
    lua_createtable(L, 0, 11);
    if (note->id) dpg_set_whole(L, "id", (int64_t)note->id);
    if (note->credential) dpg_set_whole(L, "credential", (int64_t)note->credential);
    if (note->attempt) dpg_set_whole(L, "attempt", note->attempt);
    if (note->http_status) dpg_set_whole(L, "status", note->http_status);
    if (note->event == DPG_EVENT_RETRY || note->event == DPG_EVENT_GATE_CLOSED)
        dpg_set_seconds(L, "wait", note->wait_ms);
    if (note->event == DPG_EVENT_RESPONSE) dpg_set_seconds(L, "elapsed", note->elapsed_ms);
    if (note->generation) dpg_set_whole(L, "generation", note->generation);
    if (note->code[0]) dpg_set_str(L, "code", dpg_cstr(note->code));
    if (note->message[0]) dpg_set_str(L, "message", dpg_cstr(note->message));
    if (note->method[0]) dpg_set_str(L, "method", dpg_cstr(note->method));
    if (note->path[0]) dpg_set_str(L, "path", dpg_cstr(note->path));
}

/* engine:next(quiet) -> nil | "done", id | "event", name, fields (id first; nil when `quiet`: nobody listens) */
static int l_next(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    bool quiet = lua_toboolean(L, 2) != 0;
    dpg_note note;

    lua_settop(L, 1);
    if (!box->engine) return 0;
    /* pushed before the note leaves the outbox: running out of memory here must not lose the end of a call */
    lua_pushliteral(L, "done");
    dpg_engine_next(box->engine, &note);
    switch (note.type) {
    case DPG_NOTE_DONE: dpg_lua_pushint(L, (int64_t)note.id); return 2;
    case DPG_NOTE_EVENT:
        lua_pushliteral(L, "event");
        if (quiet) return 1;
        lua_pushstring(L, dpg_event_name(note.event));
        push_event(L, &note);
        return 3;
    default: return 0;
    }
}

/* The headers as a table by lower-case name; a repeated one is joined by ", " (RFC 9110 section 5.3). */
static void push_headers(lua_State *L, const dpg_header *headers, size_t n)
{
    lua_createtable(L, 0, n < 64 ? (int)n : 64);
    for (size_t i = 0; i < n; i++) {
        const dpg_header *h = &headers[i];

        lua_pushlstring(L, h->name.ptr ? h->name.ptr : "", h->name.len);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushlstring(L, h->value.ptr ? h->value.ptr : "", h->value.len);
        } else {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, h->value.ptr ? h->value.ptr : "", h->value.len);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static void set_info(lua_State *L, const dpg_completion *c)
{
    dpg_set_whole(L, "attempts", c->attempts);
    dpg_set_whole(L, "sent", c->sent);
    if (c->retry_after_ms >= 0) dpg_set_seconds(L, "retry_after", c->retry_after_ms);
}

/* engine:take(id) -> status, headers, body, info { attempts, sent, retry_after } | nil, err */
static int l_take(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);
    dpg_error err = DPG_ERROR_INIT;
    dpg_completion *c = &box->taking;
    bool failed;

    if (!box->engine) return push_closed(L);
    dpg_completion_clear(c); /* of one whose pushing ran out of memory */
    memset(c, 0, sizeof *c);
    luaL_checkstack(L, 12, "take");
    if (dpg_engine_take(box->engine, id, c, &err) != DPG_OK) return dpg_push_failure(L, &err);
    failed = c->error.kind != DPG_KIND_NONE;
    if (failed) {
        dpg_push_failure(L, &c->error);
        set_info(L, c);
    } else {
        dpg_lua_pushint(L, c->status);
        push_headers(L, c->headers, c->header_count);
        lua_pushlstring(L, c->body.ptr ? c->body.ptr : "", c->body.len);
        lua_createtable(L, 0, 3);
        set_info(L, c);
    }
    dpg_completion_clear(c);
    memset(c, 0, sizeof *c);
    return failed ? 2 : 4;
}

static int l_cancel(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);

    if (box->engine) dpg_engine_cancel(box->engine, id);
    return 0;
}

static int l_abandon(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);

    if (box->engine) dpg_engine_abandon(box->engine, id);
    return 0;
}

/* engine:counts() -> { calls, transfers, timers, notes, untaken, credentials, retries, sent } | nil when closed */
static int l_counts(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_counts n;

    if (!box->engine) return 0;
    n = dpg_engine_counts(box->engine);
    lua_createtable(L, 0, 8);
    dpg_set_whole(L, "calls", (int64_t)n.calls);
    dpg_set_whole(L, "transfers", (int64_t)n.transfers);
    dpg_set_whole(L, "timers", (int64_t)n.timers);
    dpg_set_whole(L, "notes", (int64_t)n.notes);
    dpg_set_whole(L, "untaken", (int64_t)n.untaken);
    dpg_set_whole(L, "credentials", (int64_t)n.credentials);
    dpg_set_whole(L, "retries", n.retries);
    dpg_set_whole(L, "sent", n.sent);
    return 1;
}

/* engine:is_mine() -> false in a process made by fork after the engine, and once it is closed */
static int l_is_mine(lua_State *L)
{
    dpg_engine_box *box = check_box(L);

    lua_pushboolean(L, box->engine && dpg_engine_is_mine(box->engine));
    return 1;
}

/* engine:now() -> seconds on a clock that runs on through suspend; only differences mean anything */
static int l_now(lua_State *L)
{
    dpg_engine_box *box = check_box(L);

    lua_pushnumber(L, box->engine ? (lua_Number)dpg_engine_now_ms(box->engine) / 1000 : 0);
    return 1;
}

static const luaL_Reg methods[] = {
    {"start", l_start},     {"wait", l_wait},       {"next", l_next},     {"take", l_take},
    {"cancel", l_cancel},   {"abandon", l_abandon}, {"counts", l_counts}, {"close", l_close},
    {"is_mine", l_is_mine}, {"now", l_now},         {NULL, NULL},
};

void dpg_open_engine(lua_State *L)
{
    dpg_make_class(L, DPG_ENGINE, methods, l_gc, l_tostring);
}
