-- Makes doc/api.md of the endpoint catalog and of the doc comments above the resources' methods. For `make check` it
-- says whether the file still agrees; `lua tools/api_doc.lua --write` writes it. Run from the top of the tree.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path

-- The catalog is plain Lua, but for dpg.json, whose core it does not need here.
package.preload["dpg.core"] = function() return { null = {}, array_mt = {} } end
package.preload["cjson"] = function() return { new = function() return {} end } end

local catalog = require "dpg.catalog"

local FILE = "doc/api.md"

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

-- ---- what the sources say -----------------------------------------------------------------------------------------

-- row ("images.list") -> the methods that send it, each with the first sentence of its doc comment
local function methods_of(group)
  local found, comment, current = {}, {}, nil
  for line in (read("lua/dpg/resources/" .. group .. ".lua") or ""):gmatch "[^\n]+" do
    local said = line:match "^%-%-%-([^@].*)$"
    if said then comment[#comment + 1] = said end
    local signature = line:match "^function %u%w*:([%w_]+%b())"
    if signature then
      local text = table.concat(comment, " ")
      current = { signature = group .. ":" .. signature, says = text:match "^(.-%.)%s" or text }
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

-- ---- the page -----------------------------------------------------------------------------------------------------

local function names_of(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Fields with the same limits stand together.
local function limits_of(row)
  local required, order, sharing, parts = {}, {}, {}, {}
  for _, name in ipairs(row.required or {}) do required[name] = true end
  for _, fields in ipairs { row.query or {}, row.body or {} } do
    for _, name in ipairs(names_of(fields)) do
      local says = fields[name].says
      if not sharing[says] then
        sharing[says], order[#order + 1] = {}, says
      end
      table.insert(sharing[says], "`" .. name .. "`" .. (required[name] and "\\*" or ""))
    end
  end
  for i, says in ipairs(order) do parts[i] = table.concat(sharing[says], " ") .. " " .. says end
  if row.open then parts[#parts + 1] = "any other name " .. row.open.says end
  return #parts > 0 and table.concat(parts, "; ") or "none"
end

local function line_of(row, methods)
  local names, says = {}, nil
  for i, method in ipairs(methods or {}) do
    names[i] = "`" .. method.signature .. "`"
    says = says or method.says
  end
  if #names == 0 then names[1], says = "`session:request`", "" end
  return string.format("| `%s %s` | %s | %s | %s | %s |", row.method, row.path, table.concat(names, "<br>"),
    row.scope and "`" .. row.scope .. "`" or "none", limits_of(row), says)
end

local HEAD = [[
# The endpoints

Made by `tools/api_doc.lua` of the catalog ([lua/dpg/catalog.lua](../lua/dpg/catalog.lua)) and the methods' doc
comments; `make check` fails when it is out of date. Whatever stands under *limits* is checked before anything is sent:
a value out of them is `nil, err` of kind `usage`, with the field; a wrong type raises. \* marks what must be there.

| endpoint | method | scope | limits | what it does |
|---|---|---|---|---|
]]

local ORDER = { GET = 1, POST = 2, PUT = 3, PATCH = 4, DELETE = 5 } -- within one path

local function page()
  local me = { signature = "session:me(options)", says = "Who is calling and what they may do." }
  local lines = { line_of(catalog.me, { me }) }
  for _, group in ipairs(catalog.GROUPS) do
    local methods, rows = methods_of(group), {}
    for name, row in pairs(catalog[group]) do
      rows[#rows + 1] = { row = row, methods = methods[group .. "." .. name] }
    end
    table.sort(rows, function(a, b)
      if a.row.path ~= b.row.path then return a.row.path < b.row.path end
      return ORDER[a.row.method] < ORDER[b.row.method]
    end)
    for _, one in ipairs(rows) do lines[#lines + 1] = line_of(one.row, one.methods) end
  end
  return HEAD .. table.concat(lines, "\n") .. "\n"
end

local wanted = page()
if arg[1] == "--write" then
  local file = assert(io.open(FILE, "wb"))
  file:write(wanted)
  file:close()
elseif read(FILE) ~= wanted then
  print(FILE .. " does not agree with the catalog and the doc comments: lua tools/api_doc.lua --write")
  os.exit(1)
end
