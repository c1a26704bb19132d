/*
 * The engine as userdata: engine:start, wait, next, tell_again, take, feed, read, head, progress, cancel, abandon, answer, is_holding,
 * counts, thread, is_threaded, listen, finish, close, is_mine, now. A call is a number that the engine owns, so there is no
 * finaliser for each call. The Lua layer's own files alone use it.
 */
#include "binding.h"

#include "base.h"
#include "json.h"

#include <math.h>
#include <string.h>

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
    dpg_engine_box **ud = dpg_check_self(L, DPG_ENGINE);

    if (!*ud) luaL_error(L, "the engine was never made");
    return *ud;
}

/*
 * Strings that are pushed for every call, made once: the methods' second upvalue. The third is the tape that take() uses,
 * the fourth what it and next() hold on to.
 */
enum {
    N_DONE = 1,
    N_WANT,
    N_DATA,
    N_EVENT,
    N_ID,
    N_CREDENTIAL,
    N_ATTEMPT,
    N_STATUS,
    N_METHOD,
    N_PATH,
    N_START,
    N_RESPONSE,
    N_ATTEMPTS,
    N_ANSWER,
    N_HEADERS,
    N_WANTED,
    N_LISTS,
    N_END
};
static const char *const texts[N_END] = {
    [N_DONE] = "done",         [N_WANT] = "want",     [N_DATA] = "data",
    [N_EVENT] = "event",       [N_ID] = "id",         [N_CREDENTIAL] = "credential",
    [N_ATTEMPT] = "attempt",   [N_STATUS] = "status", [N_METHOD] = "method",
    [N_PATH] = "path",         [N_START] = "start",   [N_RESPONSE] = "response",
    [N_ATTEMPTS] = "attempts", [N_ANSWER] = "answer", [N_HEADERS] = "headers",
    [N_WANTED] = "wanted",     [N_LISTS] = "lists",
};
#define TAPE lua_upvalueindex(3)
#define KEPT_HOLD lua_upvalueindex(4)

static void push_name(lua_State *L, int name)
{
    lua_rawgeti(L, lua_upvalueindex(2), name);
}

static void set_named(lua_State *L, int name, int64_t n) /* t[name] = n, t on top */
{
    push_name(L, name);
    dpg_lua_pushint(L, n);
    lua_rawset(L, -3);
}

static void set_text(lua_State *L, int name, const char *text)
{
    push_name(L, name);
    lua_pushstring(L, text);
    lua_rawset(L, -3);
}

/*
 * What take(), next() or read() is pushing: a userdata's, so that an error while pushing leaks nothing. A finaliser may run
 * meanwhile, and take another call, turn the engine, or close it: what is held here is not touched by that.
 */
#define HOLD "dpg.engine.hold"
typedef struct hold {
    dpg_completion taking;
    dpg_store_asked *asking; /* wiped when it is freed */
    dpg_buf reading;         /* its room is kept */
} hold;

static int l_hold_clear(lua_State *L)
{
    hold *h = lua_touserdata(L, 1);

    dpg_completion_clear(&h->taking);
    dpg_store_asked_free(h->asking);
    dpg_buf_clear(&h->reading);
    h->asking = NULL;
    return 0;
}

static hold *push_hold(lua_State *L)
{
    hold *h = lua_newuserdata(L, sizeof *h);

    memset(h, 0, sizeof *h);
    dpg_buf_init(&h->reading, SIZE_MAX / 2);
    luaL_setmetatable(L, HOLD);
    return h;
}

/* Pushes the one that is kept. If that holds something, a new one takes its place, and the old one goes with its user. */
static hold *use_hold(lua_State *L)
{
    hold *h = lua_touserdata(L, KEPT_HOLD);

    if (h->taking.owner || h->asking || h->reading.len) {
        h = push_hold(L);
        lua_pushvalue(L, -1);
        lua_replace(L, KEPT_HOLD);
    } else {
        lua_pushvalue(L, KEPT_HOLD);
    }
    return h;
}

static int push_closed(lua_State *L)
{
    dpg_error err = DPG_ERROR_INIT;

    dpg_fail(&err, DPG_E_CLOSED, DPG_KIND_USAGE, "closed", "the engine is closed");
    return dpg_push_failure(L, &err);
}

/* --- making and closing ---------------------------------------------------------------------------------------------- */

/* core.engine{ user_agent, ca_file, proxy, max_connections, http2, retry_budget, events } -> engine | nil, err */
int dpg_l_engine(lua_State *L)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_engine_box **ud;

    dpg_read_engine_options(L, 1, &options);
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

/* engine:thread(wake) -> true | nil, err: for good; wake may be nil, and again with another one replaces it */
static int l_thread(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_wake *wake = dpg_opt_wake(L, 2);
    dpg_error err = DPG_ERROR_INIT;

    if (!box->engine) return push_closed(L);
    if (dpg_engine_thread(box->engine, wake, &err) != DPG_OK) return dpg_push_failure(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* engine:listen(events): are events told from now on? */
static int l_listen(lua_State *L)
{
    dpg_engine_box *box = check_box(L);

    if (box->engine) dpg_engine_listen(box->engine, lua_toboolean(L, 2) != 0);
    return 0;
}

static int l_is_threaded(lua_State *L)
{
    dpg_engine_box *box = check_box(L);

    lua_pushboolean(L, box->engine && dpg_engine_is_threaded(box->engine));
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

/*
 * engine:start(spec) -> id | nil, err
 * engine:start(prepared, credential, url, body, name, value …) -> the same: what core.spec() made, and what differs from
 * call to call. Credential and body may be nil; so may a header's value, and then there is no such header.
 */
static int l_start(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;
    dpg_status status;

    if (!box->engine) return push_closed(L);
    if (lua_istable(L, 2)) {
        lua_settop(L, 2);
        dpg_read_spec(L, 2, box, &spec);
    } else {
        dpg_read_prepared(L, 2, box, &spec);
    }
    if (!box->engine) return push_closed(L); /* by a finaliser, while it was read */
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

static bool has_wait(const dpg_note *note)
{
    return note->event == DPG_EVENT_RETRY || note->event == DPG_EVENT_GATE_CLOSED;
}

static void push_event(lua_State *L, const dpg_note *note)
{
    int fields = (note->id != 0) + (note->credential != 0) + (note->attempt != 0) + (note->http_status != 0) +
                 has_wait(note) + (note->event == DPG_EVENT_RESPONSE) + (note->generation != 0) + (note->code[0] != 0) +
                 (note->message[0] != 0) + (note->method[0] != 0) + (note->path[0] != 0);

    lua_createtable(L, 0, fields); /* exactly: there are two for each call */
    if (note->id) set_named(L, N_ID, (int64_t)note->id);
    if (note->credential) set_named(L, N_CREDENTIAL, (int64_t)note->credential);
    if (note->attempt) set_named(L, N_ATTEMPT, note->attempt);
    if (note->http_status) set_named(L, N_STATUS, note->http_status);
    if (has_wait(note)) dpg_set_seconds(L, "wait", note->wait_ms);
    if (note->event == DPG_EVENT_RESPONSE) dpg_set_seconds(L, "elapsed", note->elapsed_ms);
    if (note->generation) dpg_set_whole(L, "generation", note->generation);
    if (note->code[0]) dpg_set_str(L, "code", dpg_cstr(note->code));
    if (note->message[0]) dpg_set_str(L, "message", dpg_cstr(note->message));
    if (note->method[0]) set_text(L, N_METHOD, note->method);
    if (note->path[0]) set_text(L, N_PATH, note->path);
}

/* What a store that the host keeps is asked, as a table. */
static void push_asked(lua_State *L, const dpg_store_asked *asked)
{
    static const char *const names[] = {"lock", "load", "save", "unlock"};

    lua_createtable(L, 0, 8);
    dpg_set_whole(L, "ask", (int64_t)asked->ask);
    dpg_set_str(L, "op", dpg_cstr(names[asked->op]));
    dpg_set_str(L, "identity", asked->identity);
    if (asked->owner.len) dpg_set_str(L, "owner", asked->owner);
    if (asked->op == DPG_STORE_LOCK) dpg_set_seconds(L, "ttl", asked->ttl_ms);
    if (asked->op == DPG_STORE_SAVE) dpg_set_str(L, "bytes", asked->bytes);
    if (asked->had) dpg_set_str(L, "expected", asked->expected);
    lua_pushboolean(L, asked->reserve);
    lua_setfield(L, -2, "reserve");
}

/*
 * engine:next() -> nil | "done", id | "want", id | "data", id | "event", name, fields | "store", { ask, op, identity, owner,
 * ttl, bytes, expected, reserve }
 */
static int l_next(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_note note;
    hold *h;

    lua_settop(L, 1);
    h = use_hold(L);
    if (!box->engine) return 0;
    /* for DONE nothing is pushed that takes memory: running out of it here must not lose the end of a call */
    dpg_engine_next(box->engine, &note);
    switch (note.type) {
    case DPG_NOTE_DONE: push_name(L, N_DONE); break;
    case DPG_NOTE_WANT: push_name(L, N_WANT); break;
    case DPG_NOTE_DATA: push_name(L, N_DATA); break;
    case DPG_NOTE_EVENT:
        push_name(L, N_EVENT);
        if (note.event == DPG_EVENT_START) push_name(L, N_START);
        else if (note.event == DPG_EVENT_RESPONSE) push_name(L, N_RESPONSE);
        else lua_pushstring(L, dpg_event_name(note.event));
        push_event(L, &note);
        return 3;
    case DPG_NOTE_STORE:
        h->asking = note.asked; /* if pushing runs out of memory, its ask ends by itself */
        lua_pushliteral(L, "store");
        push_asked(L, h->asking);
        dpg_store_asked_free(h->asking);
        h->asking = NULL;
        return 2;
    default: return 0;
    }
    dpg_lua_pushint(L, (int64_t)note.id);
    return 2;
}

static void push_bytes(lua_State *L, dpg_str bytes)
{
    lua_pushlstring(L, bytes.ptr ? bytes.ptr : "", bytes.len);
}

/* … table: the headers by lower-case name; a repeated one is joined by ", " (RFC 9110 section 5.3). */
static void push_headers(lua_State *L, const dpg_header *headers, size_t n)
{
    lua_createtable(L, 0, n < 64 ? (int)n : 64);
    for (size_t i = 0; i < n; i++) {
        const dpg_header *h = &headers[i];

        push_bytes(L, h->name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push_bytes(L, h->value);
        } else {
            lua_pushliteral(L, ", ");
            push_bytes(L, h->value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

/* Pushes the value of the header whose name is at `index`, joined likewise; false: there is none, and nothing is pushed. */
static bool push_named(lua_State *L, const dpg_header *headers, size_t n, int index)
{
    size_t len;
    const char *name;
    bool found = false;

    if (lua_type(L, index) != LUA_TSTRING) luaL_error(L, "names of headers expected");
    name = lua_tolstring(L, index, &len);

    for (size_t i = 0; i < n; i++) {
        if (headers[i].name.len != len || memcmp(headers[i].name.ptr, name, len) != 0) continue;
        if (found) lua_pushliteral(L, ", ");
        push_bytes(L, headers[i].value);
        if (found) lua_concat(L, 3);
        found = true;
    }
    return found;
}

/* Pushes a table of those headers whose names stand in the sequence at this index. */
static void push_some_headers(lua_State *L, const dpg_header *headers, size_t n, int sequence)
{
    int count = (int)lua_rawlen(L, sequence);

    lua_createtable(L, 0, count < 64 ? count : 64);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, sequence, i);
        if (push_named(L, headers, n, -1)) lua_rawset(L, -3);
        else lua_pop(L, 1);
    }
}

/* … info: adds the headers that stand in the table at `fields`, each under the name that it has there, if they aren't empty. */
static void set_fields(lua_State *L, const dpg_header *headers, size_t n, int fields)
{
    for (lua_pushnil(L); lua_next(L, fields);) { /* … info, header, field */
        if (push_named(L, headers, n, -2)) {
            if (lua_rawlen(L, -1)) lua_rawset(L, -4);
            else lua_pop(L, 2);
        } else {
            lua_pop(L, 1);
        }
    }
}

static void set_info(lua_State *L, const dpg_completion *c)
{
    set_named(L, N_ATTEMPTS, c->attempts);
    if (c->retry_after_ms >= 0) dpg_set_seconds(L, "retry_after", c->retry_after_ms);
}

#define INFO_ROOM 8 /* also for what the Lua layer adds */

/* The field of `as`, a stack index or nothing at all, is left on the stack, and its index returned; 0: there is none. */
static int optional_table(lua_State *L, int as, int name)
{
    push_name(L, name);
    lua_rawget(L, as);
    if (!lua_istable(L, -1) && !lua_isnil(L, -1)) luaL_error(L, "field '%s': table expected", texts[name]);
    return lua_isnil(L, -1) ? 0 : lua_gettop(L);
}

/* Pushes an answer whole: status, headers, body, info. */
static int push_all(lua_State *L, const dpg_completion *c)
{
    dpg_lua_pushint(L, c->status);
    push_headers(L, c->headers, c->header_count);
    push_bytes(L, c->body);
    lua_createtable(L, 0, INFO_ROOM);
    set_info(L, c);
    dpg_set_whole(L, "sent", c->sent);
    return 4;
}

/* Pushes an answer as the table at `as` says: status, headers, body, info, value. */
static int push_as(lua_State *L, const dpg_completion *c, int as)
{
    int fields = optional_table(L, as, N_ANSWER), some = optional_table(L, as, N_HEADERS);
    int wanted = optional_table(L, as, N_WANTED), lists = optional_table(L, as, N_LISTS), body;

    dpg_lua_pushint(L, c->status);
    if (some) push_some_headers(L, c->headers, c->header_count, some);
    else lua_pushnil(L);
    lua_pushnil(L);
    body = lua_gettop(L);
    lua_createtable(L, 0, INFO_ROOM);
    set_info(L, c);
    if (fields) set_fields(L, c->headers, c->header_count, fields);
    if (c->status / 100 == 2) {
        int pushed = dpg_push_json_wanted(L, c->body, wanted, lists, TAPE);

        if (pushed == 1) return 5;
        lua_pop(L, pushed);
    }
    push_bytes(L, c->body);
    lua_replace(L, body);
    return 4;
}

/*
 * engine:take(id) -> status, headers, body, info { attempts, sent, retry_after } | nil, err
 * engine:take(id, as { answer, headers, wanted, lists }) -> status, headers, body, info { attempts, retry_after … }, value
 * | nil, err. The body of a 2xx is read as core.decode(body, nil, as.wanted, as.lists) would, without becoming a string
 * first: then it is nil, and `value` what it says; what is no JSON, or no 2xx, comes as a body. Of the headers those of
 * the sequence as.headers become a table, and those of as.answer (header = field) join `info`.
 */
static int l_take(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);
    dpg_error err = DPG_ERROR_INIT;
    dpg_completion *c;
    int results = 2;

    lua_settop(L, 3);
    if (!lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
    luaL_checkstack(L, 16, "take");
    c = &use_hold(L)->taking;
    if (!box->engine) return push_closed(L); /* not before a finaliser could close it */
    if (dpg_engine_take(box->engine, id, c, &err) != DPG_OK) return dpg_push_failure(L, &err);
    if (c->error.kind != DPG_KIND_NONE) {
        dpg_push_failure(L, &c->error);
        set_info(L, c);
        dpg_set_whole(L, "sent", c->sent);
    } else {
        results = lua_isnil(L, 3) ? push_all(L, c) : push_as(L, c, 3);
    }
    if (box->engine) dpg_engine_dispose(box->engine, c);
    else dpg_completion_clear(c);
    return results;
}

/* --- bytes on their way ------------------------------------------------------------------------------------------------ */

/* engine:feed(id, bytes) -> how many of them were taken | nil, err */
static int l_feed(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);
    dpg_str bytes = dpg_check_str(L, 3);
    dpg_error err = DPG_ERROR_INIT;
    size_t taken = 0;

    if (!box->engine) return push_closed(L);
    if (dpg_engine_feed(box->engine, id, bytes, &taken, &err) != DPG_OK) return dpg_push_failure(L, &err);
    dpg_lua_pushint(L, (int64_t)taken);
    return 1;
}

/* `n` of a chunk's bytes. Up to 5.2 the collector's turn comes before the copy is made: so there is one before that. */
static void push_chunk(lua_State *L, hold *h, const char *bytes, size_t n)
{
#if LUA_VERSION_NUM < 503
    if (!dpg_buf_put(&h->reading, bytes, n)) luaL_error(L, "not enough memory");
    bytes = h->reading.ptr;
#endif
    lua_pushlstring(L, bytes, n);
    h->reading.len = 0;
}

/* engine:read(id, most) -> "bytes", data | "later" | "end" | nil, err */
static int l_read(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);
    double most = (double)luaL_optnumber(L, 3, 65536);
    dpg_error err = DPG_ERROR_INIT;
    dpg_chunk chunk;
    hold *h;
    size_t n;

    luaL_argcheck(L, most >= 1, 3, "at least 1 expected");
    h = use_hold(L);
    lua_pushliteral(L, "bytes");
    if (!box->engine) return push_closed(L);
    if (dpg_engine_read(box->engine, id, 0, &chunk, &err) != DPG_OK) return dpg_push_failure(L, &err);
    if (chunk.state != DPG_READ_BYTES) {
        lua_pushstring(L, chunk.state == DPG_READ_LATER ? "later" : "end");
        return 1;
    }
    n = most < (double)chunk.bytes.len ? (size_t)most : chunk.bytes.len;
    push_chunk(L, h, chunk.bytes.ptr, n); /* first, since it may raise: then they are still there to be read */
    if (!box->engine) return push_closed(L);
    if (dpg_engine_read(box->engine, id, n, &chunk, &err) != DPG_OK) return dpg_push_failure(L, &err);
    return 2;
}

/* How much room a copy of the head takes. */
static size_t head_size(const dpg_chunk *chunk)
{
    size_t size = chunk->header_count * sizeof *chunk->headers;

    for (size_t i = 0; i < chunk->header_count; i++) size += chunk->headers[i].name.len + chunk->headers[i].value.len;
    return size;
}

static dpg_str copy_to(char **at, dpg_str s)
{
    dpg_str copied = dpg_str_of(*at, s.len);

    if (s.len) memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copied;
}

/* engine:head(id) -> status, headers, once a good answer to a file or chunks has begun | nil, err (err: no such call) */
static int l_head(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);
    dpg_error err = DPG_ERROR_INIT;
    dpg_header *copy = NULL;
    size_t room = 0;
    dpg_chunk chunk;
    char *at;

    /* What is pushed is a copy, since a finaliser may end the call meanwhile; so it may while room is made for that. */
    for (;;) {
        if (!box->engine) return push_closed(L);
        if (dpg_engine_read(box->engine, id, 0, &chunk, &err) != DPG_OK) return dpg_push_failure(L, &err);
        if (!chunk.status) return 0;
        if (copy && head_size(&chunk) <= room) break;
        room = head_size(&chunk);
        copy = lua_newuserdata(L, room + 1);
    }
    at = (char *)(copy + chunk.header_count);
    for (size_t i = 0; i < chunk.header_count; i++) {
        copy[i].name = copy_to(&at, chunk.headers[i].name);
        copy[i].value = copy_to(&at, chunk.headers[i].value);
    }
    dpg_lua_pushint(L, chunk.status);
    push_headers(L, copy, chunk.header_count);
    return 2;
}

/* engine:progress(id) -> sent, to_send, received, to_receive (bytes; a length that isn't known: nil) | nothing */
static int l_progress(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    dpg_id id = check_id(L, 2);
    dpg_progress p;

    if (!box->engine || dpg_engine_progress(box->engine, id, &p) != DPG_OK) return 0;
    dpg_lua_pushint(L, p.sent);
    if (p.to_send >= 0) dpg_lua_pushint(L, p.to_send);
    else lua_pushnil(L);
    dpg_lua_pushint(L, p.received);
    if (p.to_receive >= 0) dpg_lua_pushint(L, p.to_receive);
    else lua_pushnil(L);
    return 4;
}

/* engine:tell_again(): next() tells again of what was told and perhaps not heard (dpg.h) */
static int l_tell_again(lua_State *L)
{
    dpg_engine_box *box = check_box(L);

    if (box->engine) dpg_engine_tell_again(box->engine);
    return 0;
}

/* --- ending, counting -------------------------------------------------------------------------------------------------- */

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

/* --- stores that the host keeps ------------------------------------------------------------------------------------------ */

/*
 * engine:answer(ask, outcome, value, extra) -> true | nil, err. By outcome: "done" (value: the stored bytes, of a load),
 * "busy" (value: seconds, extra: the holder), "changed", "failed" (value: a message, extra: a code).
 */
static int l_answer(lua_State *L)
{
    static const char *const outcomes[] = {"done", "busy", "changed", "failed", NULL};
    dpg_engine_box *box = check_box(L);
    dpg_id ask = check_id(L, 2);
    dpg_store_answer answer = {.outcome = (dpg_store_outcome)luaL_checkoption(L, 3, NULL, outcomes)};
    dpg_error err = DPG_ERROR_INIT;

    switch (answer.outcome) {
    case DPG_STORE_DONE:
        answer.found = !lua_isnoneornil(L, 4);
        if (answer.found) answer.bytes = dpg_check_str(L, 4);
        break;
    case DPG_STORE_BUSY: {
        double again = (double)luaL_optnumber(L, 4, 0);

        answer.again_ms = again > 0 && again < 1e6 ? (int64_t)ceil(again * 1000.0) : 0;
        if (!lua_isnoneornil(L, 5)) answer.holder = dpg_check_str(L, 5);
        break;
    }
    case DPG_STORE_FAILED:
        answer.message = dpg_check_str(L, 4);
        if (!lua_isnoneornil(L, 5)) answer.code = dpg_check_str(L, 5);
        break;
    default: break;
    }
    if (!box->engine) return push_closed(L);
    if (dpg_engine_answer(box->engine, ask, &answer, &err) != DPG_OK) return dpg_push_failure(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* engine:is_holding() -> is a lock held, for which a program is kept waiting? */
static int l_is_holding(lua_State *L)
{
    dpg_engine_box *box = check_box(L);

    lua_pushboolean(L, box->engine && dpg_engine_is_holding(box->engine));
    return 1;
}

/* engine:finish(ms) -> is a refresh token still on its way? Calls are cancelled; what is asked is to be answered. */
static int l_finish(lua_State *L)
{
    dpg_engine_box *box = check_box(L);
    double ms = (double)luaL_checknumber(L, 2);

    luaL_argcheck(L, ms >= 0 && ms < 1e12, 2, "milliseconds expected");
    lua_pushboolean(L, box->engine && dpg_engine_finish(box->engine, (int64_t)ceil(ms)));
    return 1;
}

static const luaL_Reg methods[] = {
    {"start", l_start},
    {"wait", l_wait},
    {"next", l_next},
    {"tell_again", l_tell_again},
    {"take", l_take},
    {"feed", l_feed},
    {"read", l_read},
    {"head", l_head},
    {"progress", l_progress},
    {"cancel", l_cancel},
    {"abandon", l_abandon},
    {"answer", l_answer},
    {"is_holding", l_is_holding},
    {"counts", l_counts},
    {"finish", l_finish},
    {"close", l_close},
    {"is_mine", l_is_mine},
    {"now", l_now},
    {"thread", l_thread},
    {"is_threaded", l_is_threaded},
    {"listen", l_listen},
    {NULL, NULL},
};

void dpg_open_engine(lua_State *L)
{
    lua_createtable(L, N_END - 1, 0);
    for (int i = 1; i < N_END; i++) {
        lua_pushstring(L, texts[i]);
        lua_rawseti(L, -2, i);
    }
    dpg_new_tape(L);
    luaL_newmetatable(L, HOLD);
    lua_pushcfunction(L, l_hold_clear);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    push_hold(L);
    dpg_make_class(L, DPG_ENGINE, methods, l_gc, l_tostring, 3);
}
