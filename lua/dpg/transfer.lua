-- What sending files and fetching them share: links to other hosts, which never get our token and never show in an
-- error; how long to wait and when to try again; telling of progress. dpg.upload and dpg.download use it.
local call = require "dpg.call"
local compat = require "dpg.compat"
local config = require "dpg.config"
local core = require "dpg.core"
local errors = require "dpg.errors"
local url = require "dpg.url"

local M = {}

-- Bodies of files have no time limit but this: seconds without a byte.
local IDLE_S = 60
local ATTEMPTS, BASE_S, CAP_S = 6, 0.2, 20
local PROGRESS_S = 0.05

---Options that every transfer takes, besides its own.
M.OPTIONS = {
  on_progress = config.is "function", on_event = config.CALL.on_event, timeout = config.CALL.timeout,
  deadline = config.CALL.deadline, retry = config.CALL.retry,
}

-- --- links ---------------------------------------------------------------------------------------------------------

---@class dpg.Link
---@field url string
---@field host string
---@field secrets string[]  what of it must be in no error

---Reads a link that the server gave: https, or plain http to this very machine.
---@param text any
---@param what string  "upload_url"
---@return dpg.Link? link
---@return dpg.Error? err  kind "protocol", code "unsafe_link"
function M.link(text, what)
  local host, problem
  if type(text) == "string" then host, problem = url.foreign(text) else problem = "it is no text" end
  if not host then
    return nil, errors.new { kind = "protocol", code = "unsafe_link",
      message = "the server's " .. what .. " is not used: " .. problem }
  end
  local tail = text:match("^[A-Za-z]+://[^/?#]*(.*)$")
  local secrets = { text, tail, (tail:match("^[^?#]*")), tail:match("%?([^#]*)") }
  for value in tail:gmatch("=([^&#]+)") do
    if #value >= 8 then
      secrets[#secrets + 1] = value
      secrets[#secrets + 1] = (value:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
    end
  end
  return { url = text, host = host, secrets = secrets }
end

---An error's context for a call to a link: its host is shown, its path is not.
---@param link dpg.Link
---@param method string
---@param more? string[]  further secrets
---@return table
function M.context(link, method, more)
  local secrets = {}
  for _, secret in ipairs(link.secrets) do secrets[#secrets + 1] = secret end
  for _, secret in ipairs(more or {}) do secrets[#secrets + 1] = secret end
  table.sort(secrets, function(a, b) return #a > #b end) -- the whole before its parts
  return { method = method, host = link.host, secrets = secrets }
end

---What another host's refusal means: never that somebody has to sign in.
---@param status integer
---@param body string
---@param context table
---@return dpg.Error
function M.refusal(status, body, context)
  local err = errors.from_response(status, body, context)
  if err.kind == "auth" then err.kind = "api" end
  return err
end

-- --- time ----------------------------------------------------------------------------------------------------------

---How a transfer goes about its calls: `small` are the options of those to the API, `bytes` the settings of those that
---move the file.
---@param session dpg.Session
---@param options table
---@return dpg.Plan
---@class dpg.Plan
---@field small table
---@field bytes table
function M.plan(session, options)
  local merged = config.merge({ retry = options.retry, on_event = options.on_event }, session._config)
  local idle = options.timeout
  if idle == nil then idle = IDLE_S end
  local plan = {
    connection = session._connection, retry = merged.retry, on_event = merged.on_event, idle = idle or nil,
    ends_at = options.deadline and call.now(session._connection) + options.deadline or nil,
    small = { retry = options.retry, on_event = options.on_event },
  }
  return plan
end

---The seconds that are left of the transfer's deadline.
---@param plan dpg.Plan
---@return number?  nil: it has none
function M.left(plan)
  return plan.ends_at and plan.ends_at - call.now(plan.connection)
end

local function out_of_time(retry_after)
  return errors.new { kind = "timeout", code = "deadline", retry_after = retry_after,
    message = "the transfer has not ended within its deadline: give it longer (a download goes on where it was)" }
end

---The options of a call to the API within this transfer.
---@param plan dpg.Plan
---@return table? options
---@return dpg.Error? err  kind "timeout"
function M.small(plan, more)
  local left = M.left(plan)
  if left and left <= 0 then return nil, out_of_time() end
  local options = { retry = plan.small.retry, on_event = plan.small.on_event }
  if left then options.deadline = left end
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

---The settings of a call that moves the file's bytes, sent once.
---@param plan dpg.Plan
---@return table? settings
---@return dpg.Error? err  kind "timeout"
function M.bytes(plan)
  local left = M.left(plan)
  if left and left <= 0 then return nil, out_of_time() end
  local settings = { idle = plan.idle, deadline = left or false, retry = { attempts = 1 }, on_event = plan.on_event }
  if not plan.idle then settings.timeout = false end
  return settings
end

local function random()
  local a, b = core.random_bytes(2):byte(1, 2)
  return (a * 256 + b) / 65535
end

---@class dpg.Backoff
local Backoff = {}
Backoff.__index = Backoff

---Counts attempts that came to nothing, and waits between them.
---@param plan dpg.Plan
---@return dpg.Backoff
function M.backoff(plan)
  return setmetatable({ plan = plan, failed = 0 }, Backoff)
end

---Waits until the transfer may be tried again. One that has moved bytes since begins to count anew.
---@param err dpg.Error  what went wrong; its retry_after is never shortened
---@param has_moved boolean
---@return boolean? ok
---@return dpg.Error? err  that same one: no more attempts, or its wait would pass the deadline
function Backoff:wait(err, has_moved)
  local plan = self.plan
  local retry = plan.retry or {}
  self.failed = has_moved and 1 or self.failed + 1
  if self.failed >= (retry.attempts or ATTEMPTS) then return nil, err end
  local pause = random() * math.min(retry.cap or CAP_S, (retry.base or BASE_S) * 2 ^ (self.failed - 1))
  if err.retry_after then pause = err.retry_after + random() * math.min(1, err.retry_after / 10) end
  local left = M.left(plan)
  if left and pause >= left then return nil, err end
  local ok, problem = call.sleep(plan.connection, pause)
  return ok, problem
end

-- --- progress ------------------------------------------------------------------------------------------------------

---Calls on_progress(done, total) at most 20 times a second, and at the end. What it raises ends the transfer.
---@param on_progress? function
---@param plan dpg.Plan
---@return fun(done: number, total?: number, last?: boolean)
function M.meter(on_progress, plan)
  local due, shown = 0, nil
  return function(done, total, last)
    if not on_progress then return end
    local now = call.now(plan.connection)
    if (now < due and not last) or done == shown then return end
    due, shown = now + PROGRESS_S, done
    on_progress(done, total)
  end
end

---Runs `step` with a stream; if it raises, the call is cancelled, and the error goes on.
---@param stream dpg.Stream
---@param step function
---@return any ...
function M.guarded(stream, step, ...)
  local results = compat.pack(compat.try(step, stream, ...))
  if not results[1] then
    stream:close()
    error(results[2], 0)
  end
  return compat.unpack(results, 2, results.n)
end

return M
