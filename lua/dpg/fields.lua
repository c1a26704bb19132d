-- The option `fields`: which members of what a read answers become tables; the rest is checked and skipped, which is
-- several times faster. Names, and paths into objects and lists of objects: "title", "versions.url".
local M = {}

-- The depth of the core's tree, but one for the list itself.
local MAX_STEPS, MAX_NAMES = 7, 200

-- What an object's methods, and walks along a tree of sets, can't do without.
local KEPT = { image = { "public_uuid" }, set = { "public_uuid" } }

local function is_path(value)
  return type(value) == "string" and not ("." .. value .. "."):find("..", 1, true)
    and select(2, value:gsub("%.", "")) < MAX_STEPS
end

---What is wrong with the option, if anything, as dpg.config wants it.
---@param value any
---@return string? expected
---@return string? given
function M.check(value)
  if type(value) ~= "table" then return "a list of names" end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  if count == 0 or count > MAX_NAMES then return "1 to " .. MAX_NAMES .. " names", tostring(count) end
  for i = 1, count do
    if not is_path(value[i]) then
      return 'names, as "title" or "versions.url"', type(value[i]) == "string" and '"' .. value[i] .. '"' or nil
    end
  end
end

local function add(tree, path)
  local parent, last = tree, nil
  for name in path:gmatch "[^.]+" do
    if last then
      if parent[last] == true then return end -- all of it is wanted already
      parent[last] = parent[last] or {}
      parent = parent[last]
    end
    last = name
  end
  parent[last] = true
end

---What dpg.json.decode is to build.
---@param fields? string[]  checked
---@param kind? "image"|"set"  what is read
---@return table? wanted  nil: everything
function M.wanted(fields, kind)
  if not fields then return nil end
  local tree = {}
  for _, path in ipairs(fields) do add(tree, path) end
  for _, name in ipairs(KEPT[kind] or {}) do tree[name] = true end
  if kind == "set" then tree.children = tree end -- chosen like the set itself
  return tree
end

return M
