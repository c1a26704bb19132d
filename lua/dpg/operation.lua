-- Operations: what every write is answered with. An object of its own fields (unknown ones kept), and `wait`, which
-- polls cheaply until it has ended. What happened is the Operation's status, not the status of the answer.
local call = require "dpg.call"
local config = require "dpg.config"
local errors = require "dpg.errors"
local methods = require "dpg.methods"
local wire = require "dpg.wire"

local M = {}

---@class dpg.Operation
local Operation = {}
Operation.__index = Operation
Operation.__name = "dpg.Operation"

local FIRST_INTERVAL, GROWTH, LAST_INTERVAL = 0.2, 1.6, 5
local DEFAULT_TIMEOUT = 120

-- What an Operation needs and does not show: its session, and what its last answer said.
local hidden = setmetatable({}, { __mode = "k" })

---Makes an Operation of a decoded body.
---@param session dpg.Session
---@param value any
---@param answer dpg.Answer
---@return dpg.Operation?  nil: it is none
function M.read(session, value, answer)
  local fields = wire.operation(value)
  if not fields then return nil end
  local operation = {}
  for name, field in pairs(fields) do
    if not Operation[name] then operation[name] = field end
  end
  hidden[operation] = { session = session, etag = answer.etag, retry_after = answer.retry_after }
  return setmetatable(operation, Operation)
end

function Operation:__tostring()
  return string.format("dpg.Operation (%s, %s)", tostring(self.uuid), tostring(self.status))
end

---Has it ended, one way or the other?
---@return boolean
function Operation:is_finished()
  return wire.is_finished(self.status)
end

-- The newer state of the same Operation.
local function adopt(self, newer)
  for name in pairs(self) do self[name] = nil end
  for name, field in pairs(newer) do self[name] = field end
  hidden[self].etag = hidden[newer].etag
end

local function failure(self)
  local said = wire.operation_error(self)
  return errors.new {
    kind = "operation", code = said.code or "operation_failed", message = said.message or "the Operation failed",
    detail = said.detail, field = said.field, operation = self, operation_uuid = self.uuid,
  }
end

local function timed_out(self, timeout, retry_after)
  return errors.new {
    kind = "timeout", code = "operation_timeout", retry_after = retry_after,
    operation = self, operation_uuid = self.uuid,
    message = string.format("the Operation has not ended within %g s (it is %s); wait again, or look later",
      timeout, tostring(self.status)),
  }
end

-- One poll: true when the server has answered, be it that nothing has changed.
local function poll(self, left, options)
  local kept = hidden[self]
  local newer, answer = kept.session.operations:get(self.uuid, {
    if_none_match = kept.etag, on_event = options.on_event,
    deadline = left < math.huge and math.max(left, 1) or nil, -- the last look, too, gets a second
  })
  if newer then
    adopt(self, newer)
    kept.retry_after = answer.retry_after
    return true
  end
  if answer.code ~= "not_modified" then return nil, answer end
  kept.retry_after = answer.retry_after
  return true
end

---Waits until the Operation has ended. Polls with its ETag, at growing intervals, never earlier than a Retry-After
---asks for.
---@param options? {timeout?: number|false, on_event?: function}  `timeout` in seconds (120), false: for ever
---@return dpg.Operation? operation  this one, succeeded
---@return dpg.Error? err  kind "operation" when it failed; kind "timeout", code "operation_timeout" when it has not
---  ended in time (then it can be waited for again); else what a call can fail with
function Operation:wait(options)
  options = config.check("operation:wait", options, { timeout = config.CALL.timeout, on_event = config.CALL.on_event })
  local kept = hidden[self]
  local connection = kept.session._connection
  local timeout = options.timeout == nil and DEFAULT_TIMEOUT or options.timeout or math.huge
  local begun, err = call.now(connection)
  if not begun then return nil, err end
  local interval = FIRST_INTERVAL
  while not wire.is_finished(self.status) do
    local left = timeout - (call.now(connection) - begun)
    if left <= 0 then return nil, timed_out(self, timeout) end
    local pause = math.max(kept.retry_after or 0, interval)
    if kept.retry_after and kept.retry_after > left then return nil, timed_out(self, timeout, kept.retry_after) end
    kept.retry_after = nil
    local ok
    ok, err = call.sleep(connection, math.min(pause, left))
    if not ok then return nil, err end
    interval = math.min(interval * GROWTH, LAST_INTERVAL)
    left = timeout - (call.now(connection) - begun)
    ok, err = poll(self, left, options)
    if not ok then
      if err.kind == "timeout" and call.now(connection) - begun >= timeout then
        return nil, timed_out(self, timeout, err.retry_after)
      end
      return nil, err
    end
  end
  if self.status == "failed" then return nil, failure(self) end
  return self
end

methods(Operation, "operation")

return M
