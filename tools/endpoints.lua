-- What the catalog and the doc comments say of the endpoints, for doc/api.md (tools/api_doc.lua) and the reference of
-- the site (tools/site): the rows in order, the methods that send each, and the limits in words. Run from the top.
local M = {}

-- The modules as they are, without a core: none of them needs it to be read.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
package.preload["dpg.core"] = function()
  return setmetatable({ null = {}, array_mt = {}, version = "" }, { __index = function() return function() end end })
end
package.preload["cjson"] = function()
  return { new = function() return { encode_max_depth = function() end } end }
end

local catalog = require "dpg.catalog"
local made = require "made"

-- ---- what the sources say -----------------------------------------------------------------------------------------

-- row ("images.list") -> the methods that send it, each with the first sentence of its doc comment
local function methods_of(group)
  local found, comment, current = {}, {}, nil
  for line in (made.read("lua/dpg/resources/" .. group .. ".lua") or ""):gmatch "[^\n]+" do
    local said = line:match "^%-%-%-([^@].*)$"
    if said then comment[#comment + 1] = said end
    local name, args = line:match "^function %u%w*:([%w_]+)(%b())"
    if name then
      local text = table.concat(comment, " ")
      name = group .. ":" .. name
      current = { name = name, signature = name .. args, says = text:match "^(.-%.)%s" or text }
    end
    local row = line:match ":_call%(.-catalog%.([%w_]+%.[%w_]+)" or line:match ":_each%(.-catalog%.([%w_]+%.[%w_]+)"
      or line:find("batch.all(", 1, true) and "operations.batch" -- which sends several
      or line:find("upload.send(", 1, true) and "uploads.send" -- and the file after it
    if row and current then
      found[row] = found[row] or {}
      table.insert(found[row], current)
    end
    if line == "end" or line:match "^local " then
      comment, current = {}, nil
    end
  end
  return found
end

-- ---- the rows -----------------------------------------------------------------------------------------------------

local ORDER = { GET = 1, POST = 2, PUT = 3, PATCH = 4, DELETE = 5 } -- within one path

---@return { name: string, rows: { row: table, methods: { name: string, signature: string, says: string }[] }[] }[]
function M.groups()
  local me = { name = "session:me", signature = "session:me(options)", says = "Who is calling and what they may do." }
  local groups = { { name = "session", rows = { { row = catalog.me, methods = { me } } } } }
  for _, group in ipairs(catalog.GROUPS) do
    local methods, rows = methods_of(group), {}
    for name, row in pairs(catalog[group]) do
      rows[#rows + 1] = { row = row, methods = methods[group .. "." .. name] or {} }
    end
    table.sort(rows, function(a, b)
      if a.row.path ~= b.row.path then return a.row.path < b.row.path end
      return ORDER[a.row.method] < ORDER[b.row.method]
    end)
    groups[#groups + 1] = { name = group, rows = rows }
  end
  return groups
end

local function names_of(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---What may stand in a row's query and body: fields with the same limits stand together.
---@return { names: string[], required: table<string, boolean>, says: string }[]
function M.limits(row)
  local required, order, sharing = {}, {}, {}
  for _, name in ipairs(row.required or {}) do required[name] = true end
  for _, fields in ipairs { row.query or {}, row.body or {} } do
    for _, name in ipairs(names_of(fields)) do
      local says = fields[name].says
      if not sharing[says] then
        sharing[says] = { names = {}, required = required, says = says }
        order[#order + 1] = sharing[says]
      end
      table.insert(sharing[says].names, name)
    end
  end
  if row.open then order[#order + 1] = { names = {}, required = {}, says = "any other name " .. row.open.says } end
  return order
end

return M
