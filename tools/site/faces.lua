-- The public face, found by itself: the functions of `dpg` and of `dpg.sandbox`, and every class that one can get to
-- from them by the types of parameters, results and fields. What begins with an underscore is private.
local annotations = require "site.annotations"

local M = {}

-- How a thing of a class is called in what is written: dpg.MetadataProfiles -> metadata_profiles.
function M.variable(class)
  if class == "dpg.LuaStore" then return "store" end
  local last = class:match "[^.]+$"
  return (last:gsub("(%l)(%u)", "%1_%2"):lower())
end

local function functions_of_dpg(model)
  local found = {}
  local function enter(name, value)
    local info = debug.getinfo(value, "S")
    local path = info.source:gsub("^@%.?/?", "")
    local made = model.functions[path .. ":" .. info.linedefined]
    if not made then error(name .. ": " .. path .. ":" .. info.linedefined .. " has no annotations", 0) end
    local copy = {}
    for k, v in pairs(made) do copy[k] = v end
    copy.name, copy.full, copy.path, copy.line, copy.is_method = name, name, path, info.linedefined, false
    found[#found + 1] = copy
  end
  for name, value in pairs(require "dpg") do
    if type(value) == "function" then
      enter("dpg." .. name, value)
    elseif type(value) == "table" and (name == "store" or name == "cache") then
      for inner, fn in pairs(value) do enter("dpg." .. name .. "." .. inner, fn) end
    end
  end
  local place = {} -- what one begins with goes first
  for i, name in ipairs { "service", "sign_in", "resume", "run", "spawn", "loop", "assert", "array" } do
    place["dpg." .. name] = i
  end
  table.sort(found, function(a, b)
    local p, q = place[a.name] or 99, place[b.name] or 99
    if p ~= q then return p < q end
    return a.name < b.name
  end)
  return found
end

local function is_function_type(kind) return kind:find "^fun%s*%(" ~= nil end
M.is_function_type = is_function_type

-- A method that a class shape has as a field: its parameters and results, of the type.
local function method_of_field(class, field)
  local args = field.type:match "^fun%s*(%b())":sub(2, -2)
  local made = { name = field.name, text = field.text, params = {}, returns = {}, class = class.name, is_method = true,
    path = field.path, line = field.line, of_field = true, generics = {}, overloads = {}, is_documented = true }
  local at = 1
  while at <= #args do
    local name, optional, after = args:match("^%s*([%w_.]+)(%??)()", at)
    if not name then break end
    local kind
    local typed = args:match("^:%s*()", after)
    if typed then
      kind = annotations.split_type(args:sub(typed))
      after = typed + #kind
    end
    if name ~= "self" then
      table.insert(made.params, { name = name, optional = optional == "?", type = kind or "any", text = "" })
    end
    at = args:match("^%s*,()", after) or #args + 1
  end
  local results = field.type:match "^fun%s*%b()%s*:%s*(.*)$"
  while results and results ~= "" do
    local kind, rest = annotations.split_type(results)
    if kind == "" then break end
    table.insert(made.returns, { type = kind, text = "" })
    results = rest:match "^,%s*(.*)$"
  end
  return made
end

local function types_of(fn)
  local types = {}
  for _, param in ipairs(fn.params) do types[#types + 1] = param.type end
  for _, value in ipairs(fn.returns) do types[#types + 1] = value.type end
  return types
end

-- A class's fields, what it has of its own, and its functions in the order of the source.
local function shape(class)
  local fields, functions, seen = {}, {}, {}
  for _, fn in ipairs(class.functions) do
    if not fn.name:find "^_" and fn.is_documented then
      seen[fn.name] = true
      functions[#functions + 1] = fn
    end
  end
  for _, field in ipairs(class.fields) do
    if is_function_type(field.type) and field.type:find "^fun%s*%(self" then
      if not seen[field.name] then functions[#functions + 1] = method_of_field(class, field) end
    elseif not field.name:find "^_" then
      local twice = seen[field.name] -- the source and types/ may both name it
      if not twice then
        fields[#fields + 1], seen[field.name] = field, field
      elseif twice.text == "" then
        twice.text = field.text
      end
    end
  end
  class.shown_fields, class.shown_functions = fields, functions
  for _, fn in ipairs(functions) do fn.full = M.variable(class.name) .. ":" .. fn.name end
end

---@param model table  of annotations
---@return table face  `functions` (of dpg), `sandbox`, `classes` and `aliases` by name
function M.find(model)
  local face = { functions = functions_of_dpg(model), sandbox = {}, classes = {}, aliases = {} }
  local queue = {}
  local function reach(kinds)
    for _, kind in ipairs(kinds) do
      for _, name in ipairs(annotations.names_in(kind)) do queue[#queue + 1] = name end
    end
  end
  for _, fn in ipairs(face.functions) do reach(types_of(fn)) end
  for place, fn in pairs(model.functions) do
    if place:find "^lua/dpg/sandbox%.lua:" and not fn.class and fn.is_documented and not fn.name:find "^_" then
      fn.full = "sandbox." .. fn.name
      table.insert(face.sandbox, fn)
      reach(types_of(fn))
    end
  end
  table.sort(face.sandbox, function(a, b) return a.line < b.line end)
  queue[#queue + 1] = "dpg.Error"
  while #queue > 0 do
    local name = table.remove(queue)
    local class, alias = model.classes[name], model.aliases[name]
    if alias and not face.aliases[name] then
      face.aliases[name] = alias
      reach { alias.type }
    elseif class and not face.classes[name] and name ~= "dpg" then
      face.classes[name] = class
      shape(class)
      reach(class.bases)
      for _, field in ipairs(class.shown_fields) do reach { field.type } end
      for _, fn in ipairs(class.shown_functions) do reach(types_of(fn)) end
    end
  end
  return face
end

return M
