/*
 * Which members of a document are wanted: a tree of names, read from a Lua table, that json.c asks while it builds.
 */
#ifndef DPG_BINDING_JSON_WANTED_H
#define DPG_BINDING_JSON_WANTED_H

#include "compat.h"

#include "../core/json.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* What is wanted of an object, and of each object in an array; NULL stands for all of it. */
typedef struct dpg_wanted dpg_wanted;

typedef struct dpg_wanted_name {
    dpg_str name;     /* borrowed from the Lua table */
    dpg_wanted *part; /* what is wanted of its value; NULL: all */
} dpg_wanted_name;

struct dpg_wanted {
    bool others; /* names that aren't here are wanted, too, and all of what they name */
    uint32_t count;
    dpg_wanted_name *names;
    int16_t known[DPG_JSON_MAX_NAMES +
                  1]; /* by a name's number on the tape: its place here from 1, -1: none, 0: not asked yet */
};

/*
 * Pushes a userdata that holds the tree, and returns its root. The table at `index` is { name = true or such a table, … },
 * where a table may hold itself ("the same again"); it must stay on the stack as long. `lists`, if not 0, is where a
 * sequence of names is: in an object document all this counts for the members of these names, and what stands beside
 * them is wanted whole. Raises at any other shape.
 */
dpg_wanted *dpg_push_wanted(lua_State *L, int index, int lists);

/* Is the member whose name is at `at` on the tape wanted? Then *part is what is wanted of its value. */
bool dpg_is_wanted(dpg_wanted *wanted, const dpg_json *json, uint32_t at, dpg_wanted **part);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
