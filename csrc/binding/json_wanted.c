/*
 * The tree of wanted names: one userdata, nodes first, their names behind them. The collector owns it.
 */
#include "json_wanted.h"

#define MAX_DEPTH 8
#define MAX_NAMES 1000

/* What is still to be handed out of the userdata. */
typedef struct room {
    dpg_wanted *nodes;
    dpg_wanted_name *names;
} room;

static void refuse(lua_State *L)
{
    luaL_error(L, "decode: wanted members expected: { name = true or a table of such, … }");
}

/* Adds up the tables of the tree, and the names in them. */
static void count_tree(lua_State *L, int index, int depth, size_t *nodes, size_t *names)
{
    if (!lua_istable(L, index) || depth > MAX_DEPTH) refuse(L);
    luaL_checkstack(L, 4, "wanted members");
    ++*nodes;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || ++*names > MAX_NAMES) refuse(L);
        if (lua_type(L, -1) != LUA_TBOOLEAN) count_tree(L, lua_gettop(L), depth + 1, nodes, names);
    }
}

static dpg_wanted *fill_tree(lua_State *L, int index, room *left)
{
    dpg_wanted *node = left->nodes++;
    uint32_t i = 0;

    node->names = left->names;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) left->names++, node->count++;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        dpg_wanted_name *n = &node->names[i++];

        n->name.ptr = lua_tolstring(L, -2, &n->name.len);
        if (lua_istable(L, -1)) n->part = fill_tree(L, lua_gettop(L), left);
    }
    return node;
}

dpg_wanted *dpg_push_wanted(lua_State *L, int index, int lists)
{
    size_t nodes = 1, names = lists ? lua_rawlen(L, lists) : 0, size;
    uint32_t count = (uint32_t)names;
    dpg_wanted *outer, *tree;
    room left;

    count_tree(L, index, 1, &nodes, &names);
    size = nodes * sizeof *left.nodes + names * sizeof *left.names;
    left.nodes = lua_newuserdata(L, size); /* … tree */
    memset(left.nodes, 0, size);
    left.names = (dpg_wanted_name *)(left.nodes + nodes);

    outer = left.nodes++;
    outer->others = true;
    outer->names = left.names;
    outer->count = count;
    left.names += count;
    tree = fill_tree(L, index, &left);
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, lists, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING) refuse(L);
        outer->names[i].name.ptr = lua_tolstring(L, -1, &outer->names[i].name.len);
        outer->names[i].part = tree;
        lua_pop(L, 1);
    }
    return lists ? outer : tree;
}

/* Its place among the names, from 1; -1: it is none of them. */
static int16_t place_of(const dpg_wanted *wanted, const dpg_json *json, uint32_t at)
{
    for (uint32_t i = 0; i < wanted->count; i++)
        if (dpg_json_is(json, at, wanted->names[i].name)) return (int16_t)(i + 1);
    return -1;
}

bool dpg_is_wanted(dpg_wanted *wanted, const dpg_json *json, uint32_t at, dpg_wanted **part)
{
    uint16_t number = json->values[at].name;
    int16_t place = number ? wanted->known[number] : 0;

    if (!place) place = place_of(wanted, json, at);
    if (number) wanted->known[number] = place;
    *part = place > 0 ? wanted->names[place - 1].part : NULL;
    return place > 0 || wanted->others;
}
