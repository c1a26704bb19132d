-- Reads the JSON bodies of writes: a table says which fields there are and how each is checked; what is not there, not
-- known or not allowed is a 400 that names its field. Checks get the value, the field's name and the request's context,
-- and return what is kept.

local answers = require "dpg.sandbox.answers"
local dates = require "dpg.sandbox.dates"
local json = require "dpg.sandbox.json"

local M = {}

local function characters(text)
  local _, count = text:gsub("[^\128-\191]", "")
  return count
end

---@param max? integer  characters
---@return function check
function M.text(max)
  return function(value, field)
    if type(value) ~= "string" then answers.invalid(field, field .. " must be text") end
    if max and characters(value) > max then
      answers.invalid(field, ("%s must be at most %d characters"):format(field, max))
    end
    return value
  end
end

---Text that is not empty.
---@param max? integer
---@return function check
function M.name(max)
  local check = M.text(max)
  return function(value, field)
    if check(value, field) == "" then answers.invalid(field, field .. " must not be empty") end
    return value
  end
end

---The same check, or null.
---@param check function
---@return function check
function M.or_null(check)
  return function(value, field, context)
    if value == json.null then return value end
    return check(value, field, context)
  end
end

---@param min integer
---@param max? integer
---@return function check
function M.whole(min, max)
  local range = max and ("from %d to %d"):format(min, max) or ("from %d on"):format(min)
  return function(value, field)
    local allowed = type(value) == "number" and value % 1 == 0 and value >= min and (not max or value <= max)
    if not allowed then answers.invalid(field, ("%s must be a whole number %s"):format(field, range)) end
    return value
  end
end

function M.boolean(value, field)
  if type(value) ~= "boolean" then answers.invalid(field, field .. " must be true or false") end
  return value
end

---@param choices any[]
---@return function check
function M.one_of(choices)
  local names = {}
  for index, choice in ipairs(choices) do
    names[index] = tostring(choice)
  end
  return function(value, field)
    for _, choice in ipairs(choices) do
      if value == choice then return value end
    end
    answers.invalid(field, ("%s must be one of %s"):format(field, table.concat(names, ", ")))
  end
end

---A date in any form that can be read; kept as ISO 8601.
function M.date(value, field)
  local time = dates.parse(value)
  if not time then answers.invalid(field, field .. " must be a date") end
  return dates.iso(time)
end

---A list that is not empty, each item checked.
---@param check function
---@param max? integer  items
---@return function check
function M.list(check, max)
  return function(value, field, context)
    if type(value) ~= "table" or value[1] == nil then
      answers.invalid(field, field .. " must be a list that is not empty")
    end
    if max and #value > max then answers.invalid(field, ("%s must be at most %d"):format(field, max)) end
    local kept = {}
    for index, item in ipairs(value) do
      kept[index] = check(item, field, context)
    end
    return kept
  end
end

---An image of the account, by its public_uuid.
function M.image(value, field, context)
  if type(value) ~= "string" then answers.invalid(field, field .. " must be text") end
  return context.library.image[value] or answers.reject(404, "image_not_found", "there is no image " .. value, field)
end

---A set of the account, by its public_uuid.
function M.set(value, field, context)
  if type(value) ~= "string" then answers.invalid(field, field .. " must be text") end
  return context.library.set[value] or answers.reject(404, "set_not_found", "there is no set " .. value, field)
end

local function sorted_names(body)
  local names = {}
  for name in pairs(body) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

---@param context table
---@param rows table<string, function>  field -> check
---@param required? string[]
---@return table<string, any> given  the fields that were sent, checked
function M.read(context, rows, required)
  local given = {}
  for _, name in ipairs(required or {}) do
    if context.body[name] == nil then answers.invalid(name, name .. " is required") end
  end
  for _, name in ipairs(sorted_names(context.body)) do
    if not rows[name] then answers.invalid(name, tostring(name) .. " can't be set here") end
    given[name] = rows[name](context.body[name], name, context)
  end
  return given
end

---As read; a body without any field is refused.
---@param context table
---@param rows table<string, function>
---@return table<string, any> given
function M.read_some(context, rows)
  if next(context.body) == nil then answers.invalid("body", "the body has no field") end
  return M.read(context, rows)
end

return M
