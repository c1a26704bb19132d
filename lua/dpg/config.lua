-- The options that sessions and calls share: which there are, what they may hold, how they are merged (call beats
-- session beats default), and which of them choose an engine. Raises at a programmer's slip; the defaults
-- themselves are the core's.
local cache = require "dpg.cache"
local compat = require "dpg.compat"
local core = require "dpg.core"
local errors = require "dpg.errors"
local fields = require "dpg.fields"
local url = require "dpg.url"
local wire = require "dpg.wire"

local M = {}

-- A check answers nil when the value may stand, else what was expected; and where its type alone would not say it, what
-- was given, and in which part of the option.

---@param kind string  a type of Lua's
---@return fun(value: any): string?
function M.is(kind)
  return function(value)
    if type(value) ~= kind then return "a " .. kind end
  end
end

---@return string? expected
---@return string? given
function M.text(value)
  if type(value) ~= "string" then return "a string" end
  if value == "" then return "a string", "an empty one" end
end

local function number_or_kind(value)
  return type(value) == "number" and string.format("%.14g", value) or type(value)
end

local function seconds(value)
  if value == false then return nil end
  if type(value) ~= "number" or not (value > 0) then
    return "seconds above 0, or false for none", number_or_kind(value)
  end
end

---@param value any
---@return string? expected
function M.whole(value)
  if type(value) ~= "number" or value < 1 or value ~= math.floor(value) then
    return "a whole number above 0", number_or_kind(value)
  end
end

local function positive(value)
  if type(value) ~= "number" or not (value > 0) or value == math.huge then
    return "a number above 0", number_or_kind(value)
  end
end

local RETRY = { attempts = M.whole, base = positive, cap = positive, budget = function(value)
  if value ~= false and (type(value) ~= "number" or not (value >= 0)) then
    return "a number of at least 0, or false for no limit", number_or_kind(value)
  end
end }

local function retry(value)
  if value == false then return nil end
  if type(value) ~= "table" then return "a table, or false for no retries" end
  for name, one in pairs(value) do
    if not RETRY[name] then return "attempts, base, cap or budget", "'" .. tostring(name) .. "'" end
    local expected, given = RETRY[name](one)
    if expected then return expected, given, name end
  end
end

local function proxy(value)
  if value ~= false and (type(value) ~= "string" or value == "") then return "a URL, or false for none" end
end

-- The bytes of a header value, which travel as they are.
local function printable(value)
  if type(value) ~= "string" or not value:match("^[\33-\126][\32-\126]*$") then return "printable text" end
end

local function key(value)
  if type(value) ~= "function" and printable(value) then return "printable text, or a function" end
end

-- Said for one call.
M.CALL = {
  timeout = seconds, deadline = seconds, retry = retry, on_event = M.is "function", max_response_bytes = M.whole,
}
-- An ETag, as the server sent it (RFC 9110 section 8.8.3).
local function etag(value)
  if type(value) ~= "string" or not value:match("^[\33-\126\128-\255][\32-\126\128-\255]*$") then return "an ETag" end
end

-- Said for one call that reads, or that writes.
M.READ = { if_none_match = etag }
M.WRITE = { idempotency_key = key }

-- Said for one call that reads objects or lists of them.
M.SHAPE = { fields = fields.check }

-- Said for one walk over pages.
M.WALK = { prefetch = M.is "boolean" }

-- Said where a session begins.
M.SESSION = {
  base_url = M.text, ca_file = M.text, proxy = proxy, user_agent = printable, max_connections = M.whole,
  http2 = M.is "boolean", prefetch = M.WALK.prefetch,
  cache = function(value)
    if not cache.is(value) then return "what dpg.cache.memory makes" end
  end, idempotency_key = function(value)
    if type(value) ~= "function" then return "a function that makes a key (the same for all writes is a conflict)" end
  end,
}
for name, check in pairs(M.CALL) do M.SESSION[name] = check end

local function names_of(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

---Several sets of names as one.
---@param ... table<string, function|boolean>
---@return table<string, function|boolean>
function M.union(...)
  local all = {}
  for _, set in ipairs { ... } do
    for name, check in pairs(set) do all[name] = check end
  end
  return all
end

M.NONE = {} -- what stands for no options: read, never written

---Checks an options table against the sets of names that are allowed here. Raises, and names what is wrong.
---@param where string  for the message: "dpg.service", "images:list"
---@param options any  nil counts as empty
---@param set table<string, function|boolean>  true: checked elsewhere
---@param ... table<string, function|boolean>  more of them
---@return table options  not to be changed
function M.check(where, options, set, ...)
  if options == nil then return M.NONE end
  if type(options) ~= "table" then errors.raise("%s: a table of options expected, got %s", where, type(options)) end
  if ... then set = M.union(set, ...) end
  for name, value in pairs(options) do
    local check = set[name]
    if not check then
      local hint = M.SESSION[name] and not M.CALL[name]
        and "is said where the session is made (dpg.service, dpg.sign_in, dpg.resume)" or "is unknown"
      errors.raise("%s: option '%s' %s; here are: %s", where, tostring(name), hint, names_of(set))
    end
    if type(check) == "function" then
      local expected, given, part = check(value)
      if expected then
        errors.raise("%s: option '%s': %s expected, got %s", where, part and name .. "." .. part or name, expected,
          given or type(value))
      end
    end
  end
  return options
end

---For one call: refuses what only an engine can have.
---@param where string
---@param options table
function M.check_call_retry(where, options)
  if type(options.retry) == "table" and options.retry.budget ~= nil then
    errors.raise("%s: option 'retry.budget' is said where the session is made, not for one call", where)
  end
end

local CALL_NAMES = {}
for name in pairs(M.CALL) do CALL_NAMES[#CALL_NAMES + 1] = name end

---Does a call go by its session's settings alone?
---@param options table  the call's
---@return boolean
function M.is_plain(options)
  for _, name in ipairs(CALL_NAMES) do
    if options[name] ~= nil then return false end
  end
  return true
end

local function merged_retry(over, under)
  if over == false or (over == nil and under == false) then return { attempts = 1 } end
  local all = {}
  for name, value in pairs(under or {}) do all[name] = value end
  for name, value in pairs(over or {}) do all[name] = value end
  return all
end

---The settings of one call: the call's own, else the session's.
---@param options table
---@param session table
---@return table
function M.merge(options, session)
  local all = {}
  for name in pairs(M.CALL) do
    all[name] = options[name]
    if all[name] == nil then all[name] = session[name] end
  end
  all.retry = merged_retry(options.retry, session.retry)
  return all
end

---The session's part of a table of options, copied, with the base URL read.
---@param where string
---@param options table
---@return table? config
---@return dpg.Error? err  kind "usage": a base URL that is none
function M.session(where, options)
  local config = {}
  for name in pairs(M.SESSION) do config[name] = options[name] end
  local base, origin = url.base(options.base_url or wire.DEFAULT_BASE_URL)
  if not base then
    return nil, errors.usage("invalid_value", where .. ": base_url: " .. origin, { field = "base_url" })
  end
  config.base_url, config.origin = base, origin
  return config
end

---What chooses an engine: its options, and the key that tells it from others.
---@param config table
---@return table options  for core.engine
---@return string key
function M.engine(config)
  local budget
  if type(config.retry) == "table" then budget = config.retry.budget end
  if budget == false then budget = math.huge end -- no limit
  local options = {
    user_agent = config.user_agent or string.format("dpg/%s (%s)", core.version, compat.name),
    ca_file = config.ca_file,
    proxy = config.proxy,
    max_connections = config.max_connections,
    http2 = config.http2,
    retry_budget = budget,
  }
  local parts = {}
  for _, name in ipairs { "user_agent", "ca_file", "proxy", "max_connections", "http2", "retry_budget" } do
    parts[#parts + 1] = name .. "=" .. tostring(options[name])
  end
  return options, table.concat(parts, "\n")
end

return M
