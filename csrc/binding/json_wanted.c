/*
 * The tree of wanted names: one userdata, nodes first, their names behind them. The collector owns it.
 */
#include "json_wanted.h"

#define MAX_DEPTH 8
#define MAX_NAMES 1000

/* The tables that we are in, outermost first: one that holds itself says "the same again". */
typedef struct path {
    const void *tables[MAX_DEPTH];
    dpg_wanted *nodes[MAX_DEPTH];
    int depth;
} path;

/* What is still to be handed out of the userdata. */
typedef struct room {
    dpg_wanted *nodes;
    dpg_wanted_name *names;
} room;

static int refuse(lua_State *L)
{
    return luaL_error(L, "decode: wanted members expected: { name = true or a table of such, … }");
}

/* The place of the table on top of the stack among those that we are in; -1: we aren't in it. */
static int place_in(const path *at, const void *table)
{
    for (int i = 0; i < at->depth; i++)
        if (at->tables[i] == table) return i;
    return -1;
}

/* Adds up the tables of the tree on top of the stack, and the names in them. */
static void count_tree(lua_State *L, path *at, size_t *nodes, size_t *names)
{
    const void *table = lua_topointer(L, -1);

    if (!lua_istable(L, -1) || (place_in(at, table) < 0 && at->depth == MAX_DEPTH)) refuse(L);
    if (place_in(at, table) >= 0) return;
    luaL_checkstack(L, 4, "wanted members");
    at->tables[at->depth++] = table;
    ++*nodes;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || ++*names > MAX_NAMES) refuse(L);
        if (lua_type(L, -1) != LUA_TBOOLEAN) count_tree(L, at, nodes, names);
    }
    at->depth--;
}

/* Fills in the tree on top of the stack, which count_tree() has found in order. */
static dpg_wanted *fill_tree(lua_State *L, path *at, room *left)
{
    const void *table = lua_topointer(L, -1);
    int place = place_in(at, table);
    dpg_wanted *node;
    uint32_t i = 0;

    if (place >= 0) return at->nodes[place];
    node = left->nodes++;
    at->tables[at->depth] = table;
    at->nodes[at->depth++] = node;
    node->names = left->names;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) left->names++, node->count++;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        dpg_wanted_name *n = &node->names[i++];

        n->name.ptr = lua_tolstring(L, -2, &n->name.len);
        if (lua_istable(L, -1)) n->part = fill_tree(L, at, left);
    }
    at->depth--;
    return node;
}

dpg_wanted *dpg_push_wanted(lua_State *L, int index, int lists)
{
    size_t nodes = 1, names = lists ? lua_rawlen(L, lists) : 0, size;
    uint32_t count = (uint32_t)names;
    path at = {.depth = 0};
    dpg_wanted *outer, *tree;
    room left;

    lua_pushvalue(L, index);
    count_tree(L, &at, &nodes, &names);
    size = nodes * sizeof *left.nodes + names * sizeof *left.names;
    left.nodes = lua_newuserdata(L, size);
    memset(left.nodes, 0, size);
    left.names = (dpg_wanted_name *)(left.nodes + nodes);

    outer = left.nodes++;
    outer->others = true;
    outer->names = left.names;
    outer->count = count;
    left.names += count;
    lua_insert(L, -2); /* … tree, wanted */
    tree = fill_tree(L, &at, &left);
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, lists, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING) refuse(L);
        outer->names[i].name.ptr = lua_tolstring(L, -1, &outer->names[i].name.len);
        outer->names[i].part = tree;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return lists ? outer : tree;
}

/* Its place among the names, from 1; -1: it is none of them. */
static int16_t find_name(const dpg_wanted *wanted, const dpg_json *json, uint32_t at)
{
    for (uint32_t i = 0; i < wanted->count; i++)
        if (dpg_json_is(json, at, wanted->names[i].name)) return (int16_t)(i + 1);
    return -1;
}

bool dpg_is_wanted(dpg_wanted *wanted, const dpg_json *json, uint32_t at, dpg_wanted **part)
{
    uint16_t number = json->values[at].name;
    int16_t place = number ? wanted->known[number] : 0;

    if (!place) place = find_name(wanted, json, at);
    if (number) wanted->known[number] = place;
    *part = place > 0 ? wanted->names[place - 1].part : NULL;
    return place > 0 || wanted->others;
}
