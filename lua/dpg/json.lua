-- JSON in one place. Reading is the core's strict reader; writing walks the table here and lets lua-cjson quote the
-- strings: lua-cjson itself keeps 14 digits of a number, prints 4.0 as 4.0 in no two versions alike, and has no
-- empty array.
local cjson = require("cjson").new()
local compat = require "dpg.compat"
local core = require "dpg.core"

local M = {}

-- JSON's null, equal to cjson.null.
M.null = core.null

local array_mt = core.array_mt
local MAX_DEPTH = 100

---Marks a table as an array, also when it is empty.
---@generic T
---@param t? T[]
---@return T[]
function M.array(t)
  return setmetatable(t or {}, array_mt)
end

---Is this a JSON array: a sequence, or an empty table that came or was marked as one?
---@param value any
---@return boolean
function M.is_array(value)
  return type(value) == "table" and (getmetatable(value) == array_mt or value[1] ~= nil)
end

---Is this a JSON object (an empty table that isn't marked as an array is one)?
---@param value any
---@return boolean
function M.is_object(value)
  return type(value) == "table" and value[1] == nil and getmetatable(value) ~= array_mt
end

---Reads JSON text.
---@param text string
---@param wanted? table  { name = true or such a table, … }: objects have only these members; arrays are looked through
---@param lists? string[]  in an object, `wanted` counts for the members of these names alone
---@return any value  null is dpg.null; nil when the text is no JSON
---@return string? problem
function M.decode(text, wanted, lists)
  local value, problem, at = core.decode(text, nil, wanted, lists)
  if value == nil then return nil, string.format("%s at byte %d", problem, at) end
  return value
end

local write

local function write_array(t, out, depth)
  local n = #t
  for key in pairs(t) do
    if type(key) ~= "number" or key < 1 or key > n or key ~= math.floor(key) then
      error("an array with the key " .. tostring(key), 0)
    end
  end
  out[#out + 1] = "["
  for i = 1, n do
    if i > 1 then out[#out + 1] = "," end
    write(t[i], out, depth + 1)
  end
  out[#out + 1] = "]"
end

-- Sorted, so that the same table is the same bytes: an Idempotency-Key goes with one body.
local function write_object(t, out, depth)
  local keys = {}
  for key in pairs(t) do
    if type(key) ~= "string" then error("an object with the key " .. tostring(key), 0) end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  out[#out + 1] = "{"
  for i, key in ipairs(keys) do
    if i > 1 then out[#out + 1] = "," end
    out[#out + 1] = cjson.encode(key)
    out[#out + 1] = ":"
    write(t[key], out, depth + 1)
  end
  out[#out + 1] = "}"
end

function write(value, out, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = cjson.encode(value)
  elseif kind == "number" then
    if value ~= value or value == math.huge or value == -math.huge then error("the number " .. tostring(value), 0) end
    out[#out + 1] = compat.number_text(value)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  elseif value == M.null then
    out[#out + 1] = "null"
  elseif kind == "table" then
    if depth > MAX_DEPTH then error("a table nested too deeply, or within itself", 0) end
    if M.is_array(value) then write_array(value, out, depth) else write_object(value, out, depth) end
  else
    error("a " .. kind, 0)
  end
end

---Writes JSON text. Keys are sorted; whole numbers have no ".0"; an empty table is {} unless it is marked by
---json.array.
---@param value any
---@return string? text
---@return string? problem  what can't be written: "a function", "the number nan" …
function M.encode(value)
  local out = {}
  local ok, problem = pcall(write, value, out, 0)
  if not ok then return nil, "JSON can't hold " .. tostring(problem) end
  return table.concat(out)
end

return M
