/*
 * core.decode in a Lua whose memory fails: at the first allocation, at the second … until none does any more. Each time
 * it must raise for want of memory, or not notice; and when the collector has been by, nothing may be left.
 *
 *   failing_alloc CPATH TEXT    prints how many allocations there are, or what went wrong
 *
 * spec/json_limits_spec.lua compiles it for the Lua that it runs on.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
#include <malloc.h>
#define MALLOCED (mallinfo2().uordblks + mallinfo2().hblkhd)
#else
#define MALLOCED ((size_t)0) /* only Lua's own memory is looked at */
#endif

typedef struct heap {
    size_t in_use;
    long left; /* allocations until they fail, all of them, so that a collection in between does not help; -1: never */
    int failed;
} heap;

static void *alloc(void *ud, void *block, size_t old, size_t size)
{
    heap *h = ud;
    void *p;

    if (!block) old = 0; /* from 5.2 on it is the kind of the object */
    if (size == 0) {
        free(block);
        h->in_use -= old;
        return NULL;
    }
    if (size > old && h->left >= 0 && h->left-- <= 0) {
        h->left = 0;
        h->failed = 1;
        return NULL;
    }
    if ((p = realloc(block, size)) != NULL) h->in_use += size - old;
    return p;
}

static const char script[] = "local text, wanted = ...\n"
                             "local core = require 'dpg.core'\n"
                             "return core.decode, text, nil, wanted\n";

static int fail(const char *what, long n, const char *more)
{
    printf("allocation %ld: %s%s\n", n, what, more ? more : "");
    return 1;
}

/* One decode, with the function and its three arguments on the stack; leaves them there. */
static int decode(lua_State *L)
{
    int base = lua_gettop(L) - 3, status;

    for (int i = 0; i < 4; i++) lua_pushvalue(L, base + i);
    status = lua_pcall(L, 3, 1, 0);
    return status;
}

static void collect(lua_State *L)
{
    for (int i = 0; i < 3; i++) lua_gc(L, LUA_GCCOLLECT, 0);
}

static int torture(lua_State *L, heap *h)
{
    size_t lua_bytes, all_bytes;

    for (int i = 0; i < 3; i++) { /* what is made once is made now */
        if (decode(L) != 0) return fail("it fails by itself: ", 0, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    collect(L);
    lua_bytes = h->in_use;
    all_bytes = MALLOCED;
    for (long n = 0; n < 100000; n++) {
        int status, failed;

        h->failed = 0;
        h->left = n;
        status = decode(L);
        h->left = -1;
        failed = h->failed;
        if (status == 0 && !lua_istable(L, -1)) return fail("no table", n, NULL);
        if (status != 0 && !failed) return fail("raises without a reason: ", n, lua_tostring(L, -1));
        if (status != 0 && (!lua_tostring(L, -1) || !strstr(lua_tostring(L, -1), "not enough memory")))
            return fail("another error: ", n, lua_tostring(L, -1));
        lua_pop(L, 1);
        collect(L);
        if (h->in_use > lua_bytes + 4096) return fail("Lua's memory grows", n, NULL);
        if (MALLOCED > all_bytes + 16384) return fail("C's memory grows", n, NULL);
        if (!failed) {
            printf("%ld allocations\n", n);
            return 0;
        }
    }
    return fail("it does not end", 100000, NULL);
}

int main(int argc, char **argv)
{
    heap h = {.left = -1};
    lua_State *L = argc == 3 ? lua_newstate(alloc, &h) : NULL;
    int status = 1;

    if (!L) return fail("this Lua takes no allocator", 0, NULL);
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushstring(L, argv[1]);
    lua_setfield(L, -2, "cpath");
    lua_pop(L, 1);
    for (int wanted = 0; wanted < 2; wanted++) {
        if (luaL_loadstring(L, script) != 0) return fail("script: ", 0, lua_tostring(L, -1));
        lua_pushstring(L, argv[2]);
        if (wanted && luaL_dostring(L, "return { a = true, d = { b = true, x = { y = true } } }") != 0) return 1;
        if (!wanted) lua_pushnil(L);
        if (lua_pcall(L, 2, 4, 0) != 0) return fail("script: ", 0, lua_tostring(L, -1));
        if ((status = torture(L, &h)) != 0) break;
        lua_settop(L, 0);
    }
    lua_close(L);
    if (status == 0 && h.in_use != 0) return fail("Lua's memory is left", 0, NULL);
    return status;
}
