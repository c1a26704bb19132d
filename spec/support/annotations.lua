-- What the LuaLS annotations of the sources say, as the reference of `make doc` reads them
-- (tools/site/annotations.lua), for the specs that compare it with the running library: classes with their fields by
-- name, functions with their doc comments, and the text of their bodies.
local path = package.path
package.path = "tools/?.lua;" .. path
local reader = require "site.annotations"
package.path = path

local M = {}

-- The lines of the function that begins at line `at`, without its own first one.
local function body_of(lines, at)
  if lines[at]:find "%f[%w]end%s*$" then return lines[at] end
  local indent, body = lines[at]:match "^%s*", {}
  for i = at + 1, #lines do
    if lines[i]:find("^" .. indent .. "end") then break end
    body[#body + 1] = lines[i]
  end
  return table.concat(body, "\n")
end

-- What is said of a part stands at 1.
local function said(parts)
  for _, part in ipairs(parts) do part[1] = part.text end
  return parts
end

local function read_function(made, lines)
  local one = {
    doc = { summary = { made.text }, params = said(made.params), returns = said(made.returns) }, path = made.path,
    line = made.line, name = made.name, is_method = made.is_method, class = made.class,
    body = body_of(lines, made.line), parameters = {},
  }
  for parameter in made.args:gmatch "[%w_.]+" do one.parameters[#one.parameters + 1] = parameter end
  return one
end

---Reads files; later ones add to the classes of earlier ones.
---@param paths string[]
---@return table  classes: name -> { fields, methods, bases }; functions: "path:line" -> function; aliases: name -> type
function M.read(paths)
  local model, texts = reader.new(), {}
  for _, name in ipairs(paths) do
    local lines = {}
    for line in io.lines(name) do lines[#lines + 1] = line end
    texts[name] = lines
    reader.read(model, name, table.concat(lines, "\n"))
  end
  local found = { classes = {}, functions = {}, aliases = {} }
  for place, made in pairs(model.functions) do
    if made.name then found.functions[place] = read_function(made, texts[made.path]) end
  end
  for name, class in pairs(model.classes) do
    local shape = { fields = {}, methods = {}, bases = table.concat(class.bases, ", ") }
    found.classes[name] = shape
    for _, field in ipairs(said(class.fields)) do shape.fields[field.name] = field end
    for _, made in ipairs(class.functions) do
      shape.methods[made.name] = found.functions[made.path .. ":" .. made.line]
    end
  end
  for name, alias in pairs(model.aliases) do found.aliases[name] = alias.type end
  return found
end

---Names of classes and aliases of ours that stand in a type.
---@param kind string
---@return fun(): string?
function M.names_in(kind)
  return kind:gmatch "%f[%w]dpg%.[%w_.]+"
end

---Everything that a class has: name -> { owner, field or method }; its bases' too.
function M.members(found, name, all)
  all = all or {}
  local class = found.classes[name]
  if not class then return all end
  for base in M.names_in(class.bases) do M.members(found, base, all) end
  for field, one in pairs(class.fields) do all[field] = { owner = name, field = one } end
  for method, one in pairs(class.methods) do all[method] = { owner = name, method = one } end
  return all
end

return M
