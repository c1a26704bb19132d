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
---@param value any  ours to keep: the Operation is made of it
---@param answer dpg.Answer
---@return dpg.Operation?  nil: it is none
function M.read(session, value, answer)
  local operation = wire.operation(value)
  if not operation then return nil end
  for name in pairs(Operation) do
    if operation[name] ~= nil then operation[name] = nil end -- a method wins over a field
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
    kind = "operation", code = said.code or "operation_failed",
    message = said.message or "the Operation failed, without saying why",
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

-- When to look at one again; an error when there is no time for it.
local function plan(turn, clock)
  local kept, left = hidden[turn.operation], clock.left()
  local asked = kept.retry_after
  if left <= 0 then return timed_out(turn.operation, clock.timeout) end
  if asked and asked > left then return timed_out(turn.operation, clock.timeout, asked) end
  turn.due = clock.now() + math.min(math.max(asked or 0, turn.interval), left)
  turn.interval = math.min(turn.interval * GROWTH, LAST_INTERVAL)
  kept.retry_after = nil
end

-- Looks at one: true when it has ended, or an error when waiting for it has.
local function look(turn, clock, options)
  local operation = turn.operation
  local ok, err = poll(operation, clock.left(), options)
  if not ok then
    if err.kind == "timeout" and clock.left() <= 0 then err = timed_out(operation, clock.timeout, err.retry_after) end
    return nil, err
  end
  if wire.is_finished(operation.status) then return true end
  return nil, plan(turn, clock)
end

---Waits until all have ended, side by side, so that many take as long as the slowest of them. Polls each with its
---ETag, at growing intervals, never earlier than a Retry-After asks for.
---@param session dpg.Session
---@param operations dpg.Operation[]
---@param timeout number  seconds; math.huge: for ever
---@param options { on_event?: function }
---@return table<dpg.Operation, dpg.Error>? errs  of each that has not succeeded
---@return dpg.Error? err  waiting is not possible here
function M.wait_all(session, operations, timeout, options)
  local connection = session._connection
  local begun, problem = call.now(connection)
  if not begun then return nil, problem end
  local clock = { timeout = timeout, now = function() return call.now(connection) end }
  clock.left = function() return timeout - (clock.now() - begun) end
  local errs, turns = {}, {}
  for _, operation in ipairs(operations) do
    local turn = { operation = operation, interval = FIRST_INTERVAL }
    if not wire.is_finished(operation.status) then errs[operation] = plan(turn, clock) end
    if turn.due then turns[#turns + 1] = turn end
  end
  while #turns > 0 do
    local first = math.huge
    for _, turn in ipairs(turns) do first = math.min(first, turn.due) end
    local ok, err = call.sleep(connection, math.max(first - clock.now(), 0))
    if not ok then return nil, err end
    local rest = {}
    for _, turn in ipairs(turns) do
      local ended
      if turn.due <= clock.now() then ended, errs[turn.operation] = look(turn, clock, options) end
      if not ended and not errs[turn.operation] then rest[#rest + 1] = turn end
    end
    turns = rest
  end
  for _, operation in ipairs(operations) do
    if operation.status == "failed" then errs[operation] = failure(operation) end
  end
  return errs
end

---Waits until the Operation has ended. Polls with its ETag, at growing intervals, never earlier than a Retry-After
---asks for.
---@param options? {timeout?: number|false, on_event?: function}  `timeout` in seconds (120), false: for ever
---@return dpg.Operation? operation  this one, succeeded
---@return dpg.Error? err  kind "operation" when it failed; kind "timeout", code "operation_timeout" when it has not
---  ended in time (then it can be waited for again); else what a call can fail with
function Operation:wait(options)
  options = config.check("operation:wait", options, { timeout = config.CALL.timeout, on_event = config.CALL.on_event })
  local timeout = options.timeout == nil and DEFAULT_TIMEOUT or options.timeout or math.huge
  local errs, err = M.wait_all(hidden[self].session, { self }, timeout, options)
  err = errs and errs[self] or err
  if err then return nil, err end
  return self
end

methods(Operation, "operation")

return M
