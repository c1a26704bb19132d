-- What the sandbox can be told: the options of start{}, of the shell command and of box:set{}, with their defaults and
-- checks, in one table. Pure.

local M = {}

local function is_port(value) return type(value) == "number" and value % 1 == 0 and value >= 0 and value <= 65535 end
local function is_boolean(value) return type(value) == "boolean" end
local function is_seconds(value) return type(value) == "number" and value >= 0 and value < math.huge end
local function is_seconds_or_off(value) return value == false or is_seconds(value) end
local function is_count(value) return is_seconds(value) and value % 1 == 0 end
local function is_text(value) return type(value) == "string" and value ~= "" end
local function is_limit(value)
  return value == false or type(value) == "table" and is_count(value[1]) and value[1] >= 1 and is_seconds(value[2])
    and value[2] > 0
end

local function one_of(...)
  local choices = { ... }
  return function(value)
    for _, choice in ipairs(choices) do
      if value == choice then return true end
    end
    return false
  end
end

local is_variant = { -- contract section 9
  token = one_of("access_token", "token"),
  expiry = one_of("expires_in", "unix", "iso", "none"),
  list = one_of("array", "data", "items"),
  operation = one_of("bare", "operation"),
  numbers = one_of("numbers", "strings"),
}

local function is_variants(value)
  if type(value) ~= "table" then return false end
  for key, choice in pairs(value) do
    if not is_variant[key] or not is_variant[key](choice) then return false end
  end
  return true
end

---@class dpg.sandbox.Option
---@field name string
---@field default any
---@field check fun(value: any): boolean
---@field means string  what it is, for --help
---@field fixed? boolean  can't change while the sandbox runs

---@type dpg.sandbox.Option[]
M.list = {
  { name = "port", default = 0, check = is_port, fixed = true, means = "port on 127.0.0.1; 0 takes a free one" },
  { name = "tls", default = false, check = is_boolean, fixed = true,
    means = "HTTPS, with a certificate made at start" },
  { name = "images", default = 120, check = is_count, fixed = true, means = "images in the first account's library" },
  { name = "rotation", default = "strict", check = one_of("strict", "grace"),
    means = "a spent refresh token: 'strict' revokes its family, 'grace' answers the same successor for a while" },
  { name = "grace", default = 30, check = is_seconds, means = "how long that while is, in seconds" },
  { name = "access_token_life", default = 900, check = is_seconds, means = "seconds; fractions are fine" },
  { name = "refresh_token_life", default = 90 * 86400, check = is_seconds, means = "seconds" },
  { name = "operation_polls", default = 2, check = is_count,
    means = "polls until an Operation is done; 0: done in the 202" },
  { name = "operation_outcome", default = "succeeded", check = one_of("succeeded", "failed"),
    means = "how Operations end: 'succeeded' or 'failed'" },
  { name = "operation_retry_after", default = false, check = is_seconds_or_off,
    means = "seconds in the Retry-After of an Operation that still runs" },
  { name = "sign_in_limit", default = false, check = is_limit,
    means = "COUNT/SECONDS of sign-in and two-factor, each login" },
  { name = "rate_limit", default = false, check = is_limit, means = "COUNT/SECONDS of everything else, each token" },
  { name = "api_enabled", default = true, check = is_boolean,
    means = "off: every endpoint answers 403 api_not_enabled" },
  { name = "ticket_life", default = 300, check = is_seconds, means = "seconds in which an upload's ticket is good" },
  { name = "link_life", default = 600, check = is_seconds, means = "seconds in which a download's link works" },
  { name = "file_field", default = "file", check = is_text, means = "the part that an upload's file is to be" },
  { name = "etag", default = true, check = is_boolean, means = "off: no ETag and no 304" },
  { name = "variants", default = {}, check = is_variants,
    means = "near variants of assumed shapes: token, expiry, list, operation, numbers" },
}

-- These concern the process, not the API: start{} alone takes them.
local start_only = {
  lua = is_text, -- the interpreter to run
}

local by_name = {}
for _, option in ipairs(M.list) do
  by_name[option.name] = option
end

---@param name any
---@return dpg.sandbox.Option?
function M.find(name)
  return by_name[name]
end

---@return table<string, any>
function M.defaults()
  local values = {}
  for _, option in ipairs(M.list) do
    values[option.name] = option.default
  end
  return values
end

---Checks options by name and value; whoever calls raises the message.
---@param values table
---@param purpose "start"|"serve"|"set"
---@return string? problem
function M.problem(values, purpose)
  for name, value in pairs(values) do
    local option = by_name[name]
    local check = option and option.check or purpose == "start" and start_only[name]
    if not check then return "unknown sandbox option '" .. tostring(name) .. "'" end
    if purpose == "set" and option.fixed then return "sandbox option '" .. name .. "' can't change while it runs" end
    if not check(value) then return "sandbox option '" .. name .. "' can't be " .. tostring(value) end
  end
  return nil
end

return M
