/*
 * Lua values from JSON text, for all files of the binding. The core reads the text onto its tape, json.c here builds from
 * that; how text becomes values is said once, at dpg_push_json().
 */
#ifndef DPG_BINDING_JSON_H
#define DPG_BINDING_JSON_H

#include "compat.h"

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/*
 * Adds to the table on top of the stack:
 *   decode(text [, null [, wanted [, lists]]])  what dpg_push_json() says; `null` stands for null, unless it is nil
 *   array_mt                                    the metatable of empty arrays
 * With `wanted`, as dpg_push_wanted() takes it, objects have only those members. The whole text is read and checked all
 * the same. Arrays are looked through: { url = true } of [{…}, {…}] are two tables with a url each.
 * Must have run once in a state before dpg_push_json() does.
 */
void dpg_open_json(lua_State *L);

/*
 * Push what `text` says and return 1; or push nil, a message and the offset of the fault (bytes from 1, as in
 * string.sub), and return 3. Raises only for want of memory or stack, and then leaks nothing.
 *   text    borrowed: the caller keeps it alive, a Lua string on the stack, say; the values are copies
 *   null    lightuserdata NULL, which is cjson.null and ngx.null
 *   numbers without fraction and exponent: integers where Lua has them; else, and beyond int64_t, floats
 *   {}      a plain table; of two members with one name the last counts
 *   []      a table with the metatable core.array_mt, so that it can be told from {} when it is encoded again; an array
 *           with elements has none
 */
int dpg_push_json(lua_State *L, dpg_str text);

/*
 * The same of what is wanted alone, and with a tape that is kept: `wanted` and `lists` are stack indices, as
 * dpg_push_wanted() takes them, or 0; `slot` is the index of an upvalue that dpg_new_tape() was pushed for.
 */
int dpg_push_json_wanted(lua_State *L, dpg_str text, int wanted, int lists, int slot);
void dpg_new_tape(lua_State *L);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
