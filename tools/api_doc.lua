-- Makes doc/api.md of the endpoint catalog and of the doc comments above the resources' methods. For `make check` it
-- says whether the file still agrees; `lua tools/api_doc.lua --write` writes it. Run from the top of the tree.
package.path = "tools/?.lua;" .. package.path

local endpoints = require "endpoints"
local made = require "made"

local FILE = "doc/api.md"

local function limits_of(row)
  local parts = {}
  for i, limit in ipairs(endpoints.limits(row)) do
    local words = {}
    for j, name in ipairs(limit.names) do words[j] = "`" .. name .. "`" .. (limit.required[name] and "\\*" or "") end
    words[#words + 1] = limit.says
    parts[i] = table.concat(words, " ")
  end
  return #parts > 0 and "<br>" .. table.concat(parts, "; ") or ""
end

local function line_of(row, methods)
  local names = {}
  for i, method in ipairs(methods) do names[i] = "`" .. method.signature .. "`" end
  if #names == 0 then names[1] = "`session:request`" end
  return string.format("| %s | `%s %s`<br>%s | %s%s |", table.concat(names, "<br>"), row.method, row.path,
    row.scope and "`" .. row.scope .. "`" or "no scope", methods[1] and methods[1].says or "", limits_of(row))
end

local HEAD = [[
# The endpoints

Made by `tools/api_doc.lua` of the catalog ([lua/dpg/catalog.lua](../lua/dpg/catalog.lua)) and the methods' doc
comments; `make check` fails when it is out of date. Whatever stands below a sentence is checked before anything is
sent: a value out of it is `nil, err` of kind `usage`, with the field; a wrong type raises. \* marks what must be there.
]]

local TABLE = [[

## %s

| method | endpoint and scope | what it does, and what it takes |
|---|---|---|
]]

local function page()
  local parts = { HEAD }
  for _, group in ipairs(endpoints.groups()) do
    parts[#parts + 1] = TABLE:format(group.name)
    for _, one in ipairs(group.rows) do parts[#parts + 1] = line_of(one.row, one.methods) .. "\n" end
  end
  return table.concat(parts)
end

made.keep({ [FILE] = page() }, "the catalog and the doc comments")
