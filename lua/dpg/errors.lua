-- The one shape of an error, however it came about: from the core, from an answer, from a wrong argument. Values in,
-- values out; it waits for nobody. Secrets that a caller knows of are cut out of whatever a server echoes.
local json = require "dpg.json"
local wire = require "dpg.wire"

local M = {}

---@class dpg.Error
local Error = {}
Error.__name = "dpg.Error"

local function one_line(text)
  return (tostring(text):gsub("[%c]+", " "))
end

-- "validation: title must be at most 191 characters (api, PATCH /images/…, status 400, request_id …)"
function Error.__tostring(err)
  local text = one_line(err.message or "something went wrong")
  if err.detail and err.detail ~= err.message then text = text:gsub("%.$", "") .. ": " .. one_line(err.detail) end
  local facts = { err.kind }
  if err.method and err.path then facts[#facts + 1] = err.method .. " " .. one_line(err.path) end
  if err.method and err.host then facts[#facts + 1] = err.method .. " to " .. one_line(err.host) end
  for _, name in ipairs { "status", "reason", "field", "operation_uuid", "request_id", "retry_after", "attempts" } do
    if err[name] ~= nil then facts[#facts + 1] = name .. " " .. one_line(err[name]) end
  end
  return string.format("%s: %s (%s)", one_line(err.code), text, table.concat(facts, ", "))
end

function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

---Makes an error object of a table of fields; the table becomes the object.
---@param fields table
---@return dpg.Error
function M.new(fields)
  return setmetatable(fields, Error)
end

---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Error
end

---An error of kind "usage": nothing was sent.
---@param code string
---@param message string
---@param fields? table
---@return dpg.Error
function M.usage(code, message, fields)
  local err = { kind = "usage", code = code, message = message }
  for key, value in pairs(fields or {}) do err[key] = value end
  return M.new(err)
end

-- Where our own files are, as debug.getinfo() names them: a slip is blamed on the first line outside.
local info = rawget(_G, "debug") and debug.getinfo(1, "S")
local root = info and info.source:match("^(@.*)errors%.lua$")

---Raises a programmer's slip at the line of the caller's program, whatever lies in between.
---@param message string
---@param ... any  for string.format
function M.raise(message, ...)
  if select("#", ...) > 0 then message = string.format(message, ...) end
  local level = 2
  while root do
    local frame = debug.getinfo(level, "S")
    if not frame then break end
    if frame.what ~= "C" and frame.what ~= "tail" and frame.source:sub(1, #root) ~= root then break end
    level = level + 1
  end
  error(message:find "^dpg%." and message or "dpg: " .. message, level)
end

---Called with each error object that is raised, before it is: a host whose log shows none of a raised table sets it.
---@type fun(err: dpg.Error)?
M.on_throw = nil

---Raises an error object, as iterators, dpg.assert and tasks do; or whatever else a task has raised.
---@param err any
function M.throw(err)
  if M.on_throw and M.is(err) then M.on_throw(err) end
  error(err, 0)
end

-- Cut every secret out of every string of `err`.
local function scrub(err, secrets)
  for _, secret in ipairs(secrets or {}) do
    if #secret >= 4 then
      local pattern = secret:gsub("%p", "%%%0")
      for key, value in pairs(err) do
        if type(value) == "string" then err[key] = value:gsub(pattern, "[secret]") end
      end
    end
  end
  return err
end

-- What is known of the call, where the error itself does not say it.
local CONTEXT = { "method", "path", "host", "attempts", "retry_after", "idempotency_key", "request_id" }
local function complete(err, context)
  for _, name in ipairs(CONTEXT) do
    if err[name] == nil then err[name] = context[name] end
  end
  return M.new(scrub(err, context.secrets))
end

---An error that the core made.
---@param err table
---@param context? table
---@return dpg.Error
function M.from_core(err, context)
  err.sent = nil
  return complete(err, context or {})
end

-- Our code for a refusal that bears none of DPG's.
local CODES = {
  [400] = "bad_request", [401] = "unauthorized", [403] = "forbidden", [404] = "not_found", [405] = "method_not_allowed",
  [409] = "conflict", [412] = "precondition_failed", [413] = "payload_too_large", [415] = "unsupported_media_type",
  [422] = "unprocessable", [429] = "rate_limited", [500] = "server_error", [502] = "bad_gateway",
  [503] = "unavailable", [504] = "gateway_timeout",
}

local function kind_of(status)
  if status == 401 then return "auth" end
  if status == 304 or (status >= 400 and status <= 599) then return "api" end
  return "protocol"
end

local function ours(status, problem, body)
  if status == 304 then return "not_modified", "unchanged since the ETag that was given" end
  if status >= 300 and status < 400 then
    return "redirect",
      "the server redirects, which is never followed, as a token goes to one origin only: is base_url right?"
  end
  if status >= 400 then
    return CODES[status] or "http_" .. status, "the server answered " .. status .. ", without saying why"
  end
  if body and body:find "^%s*<" then problem = "it is a web page: does a proxy answer, a portal, or another server?" end
  return "unreadable", "the server's answer could not be understood: " .. (problem or "it is no JSON")
end

---The error that an answer means. The status decides first, then the body; a 2xx comes here only when it can't be
---read.
---@param status integer
---@param body? string
---@param context? table  method, path, attempts, retry_after, idempotency_key, request_id, scope, secrets, problem
---@return dpg.Error
function M.from_response(status, body, context)
  context = context or {}
  local err = status >= 400 and body and body ~= "" and wire.read_error((json.decode(body))) or {}
  local code, message = ours(status, context.problem, body)
  err.kind = kind_of(status)
  err.status = status
  err.code = err.code or code
  err.message = err.message or err.detail or message
  -- a 403 names the scope, unless the whole API is off
  if status == 403 and context.scope and err.code ~= "api_not_enabled" then
    err.scope = context.scope
    err.message = err.message:gsub("%.%s*$", "") .. "; the call needs the scope " .. context.scope
  end
  return complete(err, context)
end

return M
