-- JSON as the API writes it: whole numbers without ".0" on every Lua, empty lists as [], keys in a fixed order (so
-- that an ETag can be a checksum of the body). Reading is lua-cjson's; whole numbers come back as integers where Lua
-- has them.

local cjson = require "cjson"

local M = { null = cjson.null }

local Array = { __name = "dpg.sandbox.array" }
local Raw = { __name = "dpg.sandbox.raw" }

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local tointeger = rawget(math, "tointeger") or function(number) return number end

---Marks a table as a list, so that an empty one is written as [].
---@param list? table
---@return table list  the same table
function M.array(list)
  return setmetatable(list or {}, Array)
end

---Wraps text that is JSON already.
---@param text string
---@return table
function M.raw(text)
  return setmetatable({ text = text }, Raw)
end

local function escape(char)
  return escapes[char] or string.format("\\u%04x", char:byte())
end

local function quote(text)
  return '"' .. text:gsub('[%z\1-\31"\\]', escape) .. '"'
end

local function number(value)
  if value == math.floor(value) and value > -2 ^ 53 and value < 2 ^ 53 then
    return string.format("%d", value)
  end
  return string.format("%.14g", value)
end

local encode

local function encode_list(list, numbers_as_strings)
  local parts = {}
  for index = 1, #list do
    parts[index] = encode(list[index], numbers_as_strings)
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_object(object, numbers_as_strings)
  local keys, parts = {}, {}
  for key in pairs(object) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for index, key in ipairs(keys) do
    parts[index] = quote(key) .. ":" .. encode(object[key], numbers_as_strings)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function encode_table(value, numbers_as_strings)
  local kind = getmetatable(value)
  if kind == Raw then return value.text end
  if kind == Array or value[1] ~= nil then return encode_list(value, numbers_as_strings) end
  return encode_object(value, numbers_as_strings)
end

---@param value any  a table, string, number, boolean or `null`
---@param numbers_as_strings? boolean  writes 5 as "5" (contract section 9)
---@return string
function encode(value, numbers_as_strings)
  local kind = type(value)
  if value == M.null then return "null" end
  if kind == "table" then return encode_table(value, numbers_as_strings) end
  if kind == "string" then return quote(value) end
  if kind == "number" then return numbers_as_strings and quote(number(value)) or number(value) end
  if kind == "boolean" then return tostring(value) end
  error("JSON has no " .. kind)
end
M.encode = encode

---Encodes by lua-cjson: fast, but keys in any order, and no way to tell an empty list from an empty object.
---@param value table
---@return string
function M.encode_quickly(value)
  return cjson.encode(value)
end

local function with_integers(value)
  if type(value) == "number" then return tointeger(value) or value end
  if type(value) == "table" then
    for key, inner in pairs(value) do
      value[key] = with_integers(inner)
    end
  end
  return value
end

---@param text string
---@return any value  nil where the text isn't JSON
function M.decode(text)
  local ok, value = pcall(cjson.decode, text)
  if not ok then return nil end
  return with_integers(value)
end

---Decodes text that must be a JSON object.
---@param text string
---@return table? object
function M.decode_object(text)
  if not text:find("^%s*{") then return nil end
  return M.decode(text)
end

return M
