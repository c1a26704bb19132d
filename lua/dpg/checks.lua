-- What a single field may hold: checks, for the rows of dpg.catalog. A check has `says`, its limits in a few words for
-- people (doc/api.md), and read(value), which gives what goes on the wire, or nil and what is wrong: "type" (a
-- programmer's slip) or "value" (the API would refuse it), what is expected, and what was given where that is not the
-- value itself. Pure; a caller's tables are copied, never changed.
local json = require "dpg.json"
local url = require "dpg.url"
local wire = require "dpg.wire"

local M = {}

---@class dpg.Check
---@field says string
---@field read fun(value: any): any, string?, string?, string?

local function check(says, read)
  return { says = says, read = read }
end

---How many characters a text of UTF-8 has, as DPG counts.
---@param text string
---@return integer
function M.length(text)
  local _, n = text:gsub("[^\128-\191]", "")
  return n
end

-- Well-formed sequences of UTF-8 (Unicode, table 3-7). Each is replaced by a plain byte, so that nothing new is formed.
local SEQUENCES = {
  "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]", "[\225-\236\238\239][\128-\191][\128-\191]",
  "\237[\128-\159][\128-\191]", "\240[\144-\191][\128-\191][\128-\191]",
  "[\241-\243][\128-\191][\128-\191][\128-\191]", "\244[\128-\143][\128-\191][\128-\191]",
}

---@param text string
---@return boolean
function M.is_utf8(text)
  if not text:find "[\128-\255]" then return true end
  for _, sequence in ipairs(SEQUENCES) do text = text:gsub(sequence, ".") end
  return not text:find "[\128-\255]"
end

---What was given, for a message: short, on one line.
---@param value any
---@return string
function M.shown(value)
  if type(value) == "number" then return string.format("%.14g", value) end
  if type(value) ~= "string" then return value == json.null and "null" or "a " .. type(value) end
  if value == "" then return "an empty one" end
  local short = #value > 60 and value:sub(1, 57):gsub("[\192-\255]?[\128-\191]*$", "") .. "…" or value
  if not M.is_utf8(short) then short = short:gsub("[\128-\255]", "?") end
  return '"' .. short:gsub("%c", " ") .. '"'
end

-- --- texts ---------------------------------------------------------------------------------------------------------

-- What is wrong with a text, if anything.
local function text_problem(value)
  if type(value) ~= "string" then return "type", "a string" end
  if value:find "%z" or not M.is_utf8(value) then return "value", "must be text in UTF-8", "other bytes" end
end

---@param max? integer  characters
---@param is_needed? boolean  not empty, nor blank
---@return dpg.Check
function M.text(max, is_needed)
  local says = max and "at most " .. max .. " characters" or is_needed and "text, not empty" or "text"
  return check(says, function(value)
    local problem, expected, given = text_problem(value)
    if problem then return nil, problem, expected, given end
    if is_needed and not value:find "%S" then return nil, "value", "must be a text with something in it" end
    if max then
      local n = M.length(value)
      if n > max then return nil, "value", "must be at most " .. max .. " characters", tostring(n) end
    end
    return value
  end)
end

-- One text, or several, which all must match.
M.texts = check("one, or a list", function(value)
  if type(value) ~= "table" then
    local problem, expected, given = text_problem(value)
    if problem == "type" then expected = "a string or an array of strings" end
    if problem then return nil, problem, expected, given end
    return value
  end
  if #value == 0 then return nil, "value", "must hold at least one text" end
  local copy = {}
  for i, one in ipairs(value) do
    local problem, expected, given = text_problem(one)
    if problem == "type" then expected = "a string or an array of strings" end
    if problem then return nil, problem, expected, given end
    copy[i] = one
  end
  return copy
end)

---An id of DPG's: `public_uuid`s of images and sets, `uuid`s of Operations, profiles and snapshots.
M.uuid = check("a uuid", function(value)
  if type(value) ~= "string" then return nil, "type", "a string" end
  if not wire.is_uuid(value) then return nil, "value", "must be a uuid" end
  return value
end)

-- --- numbers, flags, choices ---------------------------------------------------------------------------------------

---@param min integer
---@param max integer
---@return dpg.Check
function M.whole(min, max)
  local range = max >= 1e9 and string.format("from %d", min) or string.format("from %d to %d", min, max)
  return check("whole, " .. range, function(value)
    if type(value) ~= "number" then return nil, "type", "a whole number" end
    if value ~= math.floor(value) or value < min or value > max then
      return nil, "value", "must be a whole number " .. range
    end
    return value
  end)
end

M.flag = check("true or false", function(value)
  if type(value) ~= "boolean" then return nil, "type", "a boolean (true or false)" end
  return value
end)

---@param ... any  what it may be; all of one type
---@return dpg.Check
function M.choice(...)
  local all, names = { ... }, {}
  for i, one in ipairs(all) do names[i] = tostring(one) end
  local listed = table.concat(names, ", ")
  return check(listed, function(value)
    if type(value) ~= type(all[1]) then return nil, "type", "a " .. type(all[1]) end
    for _, one in ipairs(all) do
      if value == one then return one end
    end
    return nil, "value", "must be one of " .. listed
  end)
end

---What `inner` takes, or dpg.null, which empties the field.
---@param inner dpg.Check
---@return dpg.Check
function M.nullable(inner)
  return check(inner.says .. ", or null", function(value)
    if value == json.null then return value end
    return inner.read(value)
  end)
end

-- --- times ---------------------------------------------------------------------------------------------------------

local function of_unix(value)
  if not (value > -6e10 and value < 3e11) then return nil, "value", "must be Unix seconds" end
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(value))
end

---Any parseable date as text, as the API takes it; or Unix seconds (os.time()).
M.date = check("a date, or Unix seconds", function(value)
  if type(value) == "number" then return of_unix(value) end
  local problem, expected, given = text_problem(value)
  if problem == "type" then expected = "a date as text or in Unix seconds" end
  if problem then return nil, problem, expected, given end
  if not value:find "%S" then return nil, "value", "must be a date" end
  return value
end)

local function is_moment(text)
  local year, month, day, hour, minute, second, zone = text:match
    "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d)(:?[%d%.]*)([Zz+-].*)$"
  if not year then return false end
  local offset_hour, offset_minute = zone:match "^[+-](%d%d):?(%d%d)$"
  if not (zone:upper() == "Z" or (offset_hour and tonumber(offset_hour) < 24 and tonumber(offset_minute) < 60)) then
    return false
  end
  if second ~= "" and not (second:match "^:%d%d$" or second:match "^:%d%d%.%d+$") then return false end
  second = tonumber((second:gsub("^:", ""))) or 0
  return tonumber(month) >= 1 and tonumber(month) <= 12 and tonumber(day) >= 1 and tonumber(day) <= 31
    and tonumber(hour) < 24 and tonumber(minute) < 60 and second < 61
end

---A moment: Unix seconds, or ISO 8601 with its zone, since an embargo must not hang on whose clock is meant.
M.moment = check("Unix seconds, or ISO 8601 with a zone", function(value)
  if type(value) == "number" then return of_unix(value) end
  if type(value) ~= "string" then return nil, "type", "a time in Unix seconds or ISO 8601" end
  if not is_moment(value) then
    return nil, "value", "must be Unix seconds, or ISO 8601 with a zone, as 2025-07-01T18:00:00Z"
  end
  return value
end)

-- --- keywords ------------------------------------------------------------------------------------------------------

local KEYWORD = 'a keyword: "value", "axis:value" or { namespace =, value = }'

-- The parts of a keyword: its namespace (nil: none, or within the text) and its text.
local function keyword_parts(value)
  if type(value) == "string" then
    local problem, expected, given = text_problem(value)
    if problem then return nil, problem, expected, given end
    if not value:find "%S" then return nil, "value", "must be " .. KEYWORD end
    return { text = value }
  end
  if type(value) ~= "table" then return nil, "type", KEYWORD end
  local namespace, text = value.namespace, value.value
  if namespace == json.null then namespace = nil end
  if type(text) ~= "string" or (namespace ~= nil and type(namespace) ~= "string") then return nil, "type", KEYWORD end
  for _, part in ipairs { text, namespace } do
    local problem, expected, given = text_problem(part)
    if problem then return nil, problem, expected, given end
    if not part:find "%S" then return nil, "value", "must be " .. KEYWORD end
  end
  if namespace and namespace:find(":", 1, true) then
    return nil, "value", "must have a namespace without a colon", M.shown(namespace)
  end
  if not namespace and text:find(":", 1, true) then
    return nil, "value", "must have a namespace, or no colon in its value (it would be read as one)", M.shown(text)
  end
  return { namespace = namespace, text = text }
end

---A keyword in its full form.
M.keyword = check("`value`, `axis:value` or `{ namespace, value }`", function(value)
  local parts, problem, expected, given = keyword_parts(value)
  if not parts then return nil, problem, expected, given end
  return parts.namespace and parts.namespace .. ":" .. parts.text or parts.text
end)

---A keyword as the endpoint that removes one takes it.
M.keyword_body = check(M.keyword.says, function(value)
  local parts, problem, expected, given = keyword_parts(value)
  if not parts then return nil, problem, expected, given end
  return wire.keyword_body(parts.text, parts.namespace)
end)

-- --- lists ---------------------------------------------------------------------------------------------------------

local function is_sequence(value)
  if type(value) ~= "table" then return false end
  local n = #value
  for key in pairs(value) do
    if type(key) ~= "number" or key < 1 or key > n or key ~= math.floor(key) then return false end
  end
  return true
end

---A list of what `inner` takes.
---@param inner dpg.Check
---@param name string  what they are called: "keywords"
---@param max? integer
---@param hint? string  for those who have more
---@return dpg.Check
function M.list(inner, name, max, hint)
  local range = max and string.format("1 to %d %s", max, name) or "1 or more " .. name
  return check(range, function(value)
    if not is_sequence(value) then return nil, "type", "a list of " .. name end
    if #value == 0 or (max and #value > max) then
      return nil, "value", "must hold " .. range .. (hint or ""), tostring(#value)
    end
    local copy = {}
    for i, one in ipairs(value) do
      local read, problem, expected, given = inner.read(one)
      if problem == "type" then return nil, "type", string.format("a list of %s (item %d: %s)", name, i, expected) end
      if problem then
        return nil, "value", string.format("item %d %s", i, expected), given or M.shown(one)
      end
      copy[i] = read
    end
    return copy
  end)
end

-- The public_uuid of an image or a set that is given as an object.
local function uuid_of(inner)
  return check(inner.says, function(value)
    if type(value) == "table" and type(value.public_uuid) == "string" then value = value.public_uuid end
    return inner.read(value)
  end)
end

---A list of images or sets: their uuids, or the objects themselves.
---@param name string  "images"
---@return dpg.Check
function M.uuids(name)
  return M.list(uuid_of(M.uuid), name)
end

local KEYWORD_LIMIT = 200
local keyword_list = M.list(M.keyword, "keywords", KEYWORD_LIMIT)

---Up to 200 keywords; a single one counts as a list.
M.keywords = check(keyword_list.says, function(value)
  if type(value) == "string" or (type(value) == "table" and value.value ~= nil) then value = { value } end
  return keyword_list.read(value)
end)

-- --- batches -------------------------------------------------------------------------------------------------------

local WRITES = { POST = true, PUT = true, PATCH = true, DELETE = true }

---One write of a batch: what session.prepare makes, or a table { method =, path =, body = }.
M.write = check("a write", function(value)
  if type(value) ~= "table" or type(value.method) ~= "string" or type(value.path) ~= "string"
    or (value.body ~= nil and type(value.body) ~= "table") then
    return nil, "type", "a write: what session.prepare makes, or { method =, path =, body = }"
  end
  local method = value.method:upper()
  if not WRITES[method] then return nil, "value", "must be a POST, PUT, PATCH or DELETE", M.shown(value.method) end
  if not url.is_path(value.path) or value.path:find("?", 1, true) then
    return nil, "value", "must have a path such as /images/…", M.shown(value.path)
  end
  if value.body then
    local _, problem = json.encode(value.body)
    if problem then return nil, "value", "must have a body that is JSON", problem end
  end
  return { method = method, path = value.path, body = value.body }
end)

---As many writes as one batch takes; `any_writes`: as many as there are.
M.MAX_BATCH = 50
M.writes = M.list(M.write, "writes", M.MAX_BATCH, " (operations:batch_all takes more, in several batches)")
M.any_writes = M.list(M.write, "writes")

-- --- others --------------------------------------------------------------------------------------------------------

-- "west,south,east,north", or the four numbers.
M.bbox = check("west, south, east, north", function(value)
  if type(value) == "string" then
    local problem, expected, given = text_problem(value)
    if problem then return nil, problem, expected, given end
    return value
  end
  if type(value) ~= "table" then return nil, "type", "four numbers, or a string" end
  for i = 1, 4 do
    if type(value[i]) ~= "number" then return nil, "value", "must be four numbers: west, south, east, north" end
  end
  local box = string.format("%.10g %.10g %.10g %.10g", value[1], value[2], value[3], value[4])
  return (box:gsub(",", "."):gsub(" ", ",")) -- a locale's comma is no separator
end)

---What an IPTC field may hold: text, a number, true or false, a list of texts, or dpg.null.
M.metadata = check("text, a number, true or false, a list of texts, or null", function(value)
  local kind = type(value)
  if kind == "boolean" or value == json.null then return value end
  if kind == "number" then
    if value ~= value or value == math.huge or value == -math.huge then return nil, "value", "must be a number" end
    return value
  end
  if kind == "string" then
    local problem, expected, given = text_problem(value)
    if problem then return nil, problem, expected, given end
    return value
  end
  local expected = "text, a number, a boolean, a list of texts or null"
  if kind ~= "table" or not is_sequence(value) then return nil, "type", expected end
  local copy = json.array()
  for i, one in ipairs(value) do
    if type(one) ~= "string" then return nil, "type", expected end
    local problem, wanted, given = text_problem(one)
    if problem then return nil, problem, wanted, given end
    copy[i] = one
  end
  return copy
end)

return M
