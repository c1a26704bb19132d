-- Operations and Idempotency-Keys (contract section 1). A write is checked and planned first; the plan is carried out
-- when its Operation ends, which takes `operation_polls` polls. A key belongs to its account, and remembers the
-- request it came with.

local answers = require "dpg.sandbox.answers"
local json = require "dpg.sandbox.json"
local random = require "dpg.sandbox.random"

local M = {}

local MAX_BATCH = 50

---@class dpg.sandbox.Plan
---@field type string  the Operation's
---@field image_public_uuids string[]
---@field message string
---@field set_public_uuid? string  of the set that is made or changed
---@field result? table  more of the result, once it has been carried out
---@field apply fun(now: number)

local Operations = {}
Operations.__index = Operations
Operations.__name = "dpg.sandbox.operations"

---@param settings table
---@param now fun(): number
---@return table operations
function M.new(settings, now)
  return setmetatable({ settings = settings, now = now, by_uuid = {}, keys = {}, made = 0 }, Operations)
end

local endings = {
  succeeded = function(operation, now)
    operation.plan.apply(now)
    operation.result = { message = operation.plan.message, set_public_uuid = operation.plan.set_public_uuid }
    for name, value in pairs(operation.plan.result or {}) do
      operation.result[name] = value
    end
  end,
  failed = function(operation)
    operation.result = { message = "The operation failed.", error = { code = "processing_failed" } }
  end,
}

function Operations:_advance(operation)
  if operation.polls_left == nil then return end
  if operation.polls_left <= 0 then
    operation.polls_left = nil
    operation.status = self.settings.operation_outcome
    endings[operation.status](operation, self.now())
  else
    operation.polls_left = operation.polls_left - 1
  end
end

---@param account table
---@param plan dpg.sandbox.Plan
---@return table operation
function Operations:start(account, plan)
  local polls = self.settings.operation_polls
  local operation = {
    uuid = "op-" .. random.uuid(), account = account, plan = plan, status = "queued", result = json.null,
    polls_left = polls - 1, -- the poll after the last of these finds it done
  }
  if polls == 0 then self:_advance(operation) end
  self.by_uuid[operation.uuid] = operation
  self.made = self.made + 1
  return operation
end

---Looks at an Operation, which moves it on.
---@param operation table
function Operations:poll(operation)
  if operation.status == "queued" then operation.status = "running" end
  self:_advance(operation)
end

---The answer that a key has had already, where it has.
---@param account table
---@param key string
---@param fingerprint string  method, path and body
---@return table? earlier
function Operations:recall(account, key, fingerprint)
  local entry = self.keys[account.uuid .. " " .. key]
  if not entry then return nil end
  if entry.fingerprint ~= fingerprint then
    answers.reject(409, "idempotency_key_conflict", nil, "Idempotency-Key")
  end
  return entry.answer
end

---@param account table
---@param key string
---@param fingerprint string
---@param answer fun(): integer, table, table  makes the answer anew, since Operations move on
function Operations:remember(account, key, fingerprint, answer)
  self.keys[account.uuid .. " " .. key] = { fingerprint = fingerprint, answer = answer }
end

local function as_json(operation)
  return {
    uuid = operation.uuid, status = operation.status, type = operation.plan.type, result = operation.result,
    image_public_uuids = json.array(operation.plan.image_public_uuids),
    set_public_uuid = operation.plan.set_public_uuid,
  }
end

local function wrapped(context, operation)
  if context.api.settings.variants.operation == "operation" then return { operation = as_json(operation) } end
  return as_json(operation)
end

local function headers_for(context, operation, headers)
  local wait = context.api.settings.operation_retry_after
  if wait and operation.polls_left then headers["Retry-After"] = string.format("%d", math.ceil(wait)) end
  return headers
end

---The 202 of a write.
---@param context table
---@param operation table
---@return integer status
---@return table body
---@return table headers
function M.accepted(context, operation)
  local headers = { Location = "/v1/operations/" .. operation.uuid }
  return 202, wrapped(context, operation), headers_for(context, operation, headers)
end

---GET /operations/{uuid}
function M.get(context)
  local operation = context.api.operations.by_uuid[context.params[1]]
  if not operation or operation.account ~= context.account then answers.reject(404, "operation_not_found") end
  context.api.operations:poll(operation)
  return 200, wrapped(context, operation), headers_for(context, operation, {})
end

local function check_items(items)
  if type(items) ~= "table" or #items == 0 then answers.invalid("operations", "operations must be a list") end
  if #items > MAX_BATCH then answers.invalid("operations", "at most 50 operations in one request") end
end

---POST /operations/batch: all are checked before any runs.
---@return fun(): integer, table, table answer
function M.batch(context)
  local items, plans, started = context.body.operations, {}, {}
  check_items(items)
  for index, item in ipairs(items) do
    plans[index] = context.api:plan(context, item, ("operations[%d]"):format(index - 1))
  end
  for index, plan in ipairs(plans) do
    started[index] = context.api.operations:start(context.account, plan)
  end
  return function()
    local list, summary = json.array {}, { total = #started, succeeded = 0, failed = 0, running = 0 }
    for index, operation in ipairs(started) do
      local state = operation.polls_left and "running" or operation.status
      summary[state] = summary[state] + 1
      list[index] = as_json(operation)
    end
    return 202, { summary = summary, operations = list }, {}
  end
end

return M
