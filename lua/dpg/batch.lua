-- Many writes in few requests. session.prepare checks a write and keeps it instead of sending it; operations:batch
-- sends up to 50 of them, all or nothing; operations:batch_all sends any number, in several batches, and reports on
-- each. Contract: section 1.
local catalog = require "dpg.catalog"
local checks = require "dpg.checks"
local config = require "dpg.config"
local errors = require "dpg.errors"
local operations = require "dpg.operation"

local M = {}

-- --- writes that are prepared --------------------------------------------------------------------------------------

---@class dpg.Write
---@field method string  POST, PUT, PATCH or DELETE
---@field path string  behind the base URL
---@field body? table  as it is sent
local Write = {}
Write.__index = Write
Write.__name = "dpg.Write"

function Write:__tostring()
  return string.format("dpg.Write (%s %s)", self.method, self.path)
end

-- What resources have in place of a session.
local Preparer = {}
Preparer.__index = Preparer

function Preparer._call(_, where, row, values, fields, options)
  if row.result ~= "operation" or row.method == "GET" then
    errors.raise("prepare.%s: only a write that becomes an Operation can be part of a batch", where)
  end
  if options ~= nil then
    errors.raise("prepare.%s: options are the batch's: give them to operations:batch or operations:batch_all", where)
  end
  local request, err = catalog.request(where, row, values, fields)
  if not request then return nil, err end
  return setmetatable({ method = request.method, path = request.path, body = request.body }, Write)
end

Preparer._each = Preparer._call

---The resources again, with writes that are checked and kept.
---@param modules table<string, { new: fun(session: any): any }>
---@return table<string, any>
function M.prepare(modules)
  local preparer, prepared = setmetatable({}, Preparer), {}
  for name, module in pairs(modules) do prepared[name] = module.new(preparer) end
  return prepared
end

-- --- several batches -----------------------------------------------------------------------------------------------

---@class dpg.BatchReport
---@field items dpg.BatchItem[]  one for each write, in their order
---@field ok boolean  all have succeeded
---@field succeeded integer  how many
---@field failed integer  how many
---@field running integer  how many have not ended
---@field refused integer  how many the server did not take
---@field unknown integer  how many were sent, without an answer
---@field unsent integer  how many never left
local Report = {}
Report.__index = Report
Report.__name = "dpg.BatchReport"

function Report:__tostring()
  return string.format("dpg.BatchReport (%d writes, %d succeeded)", #self.items, self.succeeded)
end

---@class dpg.BatchItem
---@field write dpg.Write  as it was given
---@field outcome "succeeded"|"failed"|"running"|"refused"|"unknown"|"unsent"  what became of it
---@field operation? dpg.Operation  of what was taken
---@field err? dpg.Error  of what was refused, has failed, or is not known
---@field idempotency_key? string  of its batch

local OUTCOMES = { "succeeded", "failed", "running", "refused", "unknown", "unsent" }

local function set_all(items, first, last, values)
  for i = first, last do
    for name, value in pairs(values) do items[i][name] = value end
  end
end

-- What an error says of the writes of its batch; and whether the next batch may be tried.
local function outcome_of(err)
  if err.kind == "usage" then return "unsent", false end
  if err.kind == "auth" or err.status == 429 or err.code == "api_not_enabled" then return "refused", false end
  if err.kind == "api" and err.status < 500 then return "refused", true end
  return "unknown", false
end

-- Waits for all that was begun; `seconds` false: looks no further.
local function wait_for(session, items, seconds)
  local begun = {}
  for _, item in ipairs(items) do
    local operation = item.operation
    if operation and (seconds or operation:is_finished()) then begun[#begun + 1] = operation end
  end
  local errs, problem = operations.wait_all(session, begun, seconds or 0, {})
  for _, item in ipairs(items) do
    local operation = item.operation
    local err = operation and (errs and errs[operation] or problem)
    if operation and operation.status == "failed" then item.outcome = "failed"
    elseif operation then item.outcome = operation:is_finished() and not err and "succeeded" or "running"
    end
    item.err = err or item.err
  end
end

-- Sends the writes from `first` to `last`; false: the rest is better left alone.
local function send(session, items, first, last, options)
  local writes = {}
  for i = first, last do writes[#writes + 1] = items[i].write end
  local batch, answer = session.operations:batch(writes, options)
  if not batch then
    local outcome, go_on = outcome_of(answer)
    set_all(items, first, last, { outcome = outcome, err = answer, idempotency_key = answer.idempotency_key })
    return go_on
  end
  if #batch.operations ~= #writes then
    local err = errors.new {
      kind = "protocol", code = "unreadable", status = answer.status, request_id = answer.request_id,
      message = string.format("the batch is answered with %d Operations for %d writes", #batch.operations, #writes),
    }
    set_all(items, first, last, { outcome = "unknown", err = err, idempotency_key = answer.idempotency_key })
    return false
  end
  for i, operation in ipairs(batch.operations) do
    local item = items[first + i - 1]
    item.operation, item.idempotency_key = operation, answer.idempotency_key
  end
  return true
end

local function size_of(value)
  if type(value) ~= "number" or value ~= math.floor(value) or value < 1 or value > checks.MAX_BATCH then
    return "a whole number from 1 to " .. checks.MAX_BATCH
  end
end

local function seconds(value)
  return config.CALL.timeout(value)
end

local OPTIONS = { size = size_of, wait = seconds }
local WAIT = 120

-- The key of the nth batch: of a text, so that the same list in a later run is the same work.
local function nth_key(key, n)
  if type(key) == "string" then return string.format("%s.%d", key, n) end
  return key
end

local function counted(items)
  local report = setmetatable({ items = items }, Report)
  for _, outcome in ipairs(OUTCOMES) do report[outcome] = 0 end
  for _, item in ipairs(items) do report[item.outcome] = report[item.outcome] + 1 end
  report.ok = report.succeeded == #items
  return report
end

---@param session dpg.Session
---@param writes dpg.Write[]
---@param options? dpg.BatchAllOptions
---@return dpg.BatchReport? report
---@return dpg.Error? err
function M.all(session, writes, options)
  local where = "operations:batch_all"
  options = config.check(where, options, config.CALL, config.WRITE, OPTIONS)
  config.check_call_retry(where, options)
  local checked, err = catalog.check(where, { writes = checks.any_writes }, { writes = writes })
  if not checked then return nil, err end
  local items, size, call_options = {}, options.size or checks.MAX_BATCH, {}
  for i, write in ipairs(writes) do items[i] = { write = write, outcome = "unsent" } end
  for name in pairs(config.CALL) do call_options[name] = options[name] end
  for n = 1, math.ceil(#items / size) do
    call_options.idempotency_key = nth_key(options.idempotency_key, n)
    if not send(session, items, (n - 1) * size + 1, math.min(n * size, #items), call_options) then break end
  end
  local wait = options.wait == nil and WAIT or options.wait
  wait_for(session, items, wait)
  return counted(items)
end

return M
