-- session.operations: what became of a write, and many writes at once. Contract: section 1. The Operation object itself
-- is dpg.operation's.
local batch = require "dpg.batch"
local catalog = require "dpg.catalog"
local methods = require "dpg.methods"

local M = {}

---@class dpg.Operations
local Operations = {}
Operations.__index = Operations
Operations.__name = "dpg.Operations"

---@param session dpg.Session
---@return dpg.Operations
function M.new(session)
  return setmetatable({ _session = session }, Operations)
end

---An Operation by its uuid, as it stands now; one that has failed is returned too, with its status.
---@param uuid string
---@param options? dpg.ReadOptions
---@return dpg.Operation? operation
---@return dpg.Answer|dpg.Error answer_or_err
function Operations:get(uuid, options)
  return self._session:_call("operations:get", catalog.operations.get, { uuid }, nil, options)
end

---Runs up to 50 writes in one request, checked as a whole before any runs: all or nothing. Each needs its own scope.
---@param writes dpg.Write[]  what `session.prepare` makes, or tables { method =, path =, body = }
---@param options? dpg.WriteOptions
---@return dpg.Batch? batch  `summary`, and `operations` in the order of the writes
---@return dpg.Answer|dpg.Error answer_or_err
function Operations:batch(writes, options)
  return self._session:_call("operations:batch", catalog.operations.batch, {}, { operations = writes }, options)
end

---Runs any number of writes, in batches of up to 50, waits for them, and reports on each. All writes are checked
---before the first batch is sent; a batch that is refused doesn't stop the next, any other trouble does. With the same
---list and the same `idempotency_key` a later run goes on where an earlier one stopped.
---@param writes dpg.Write[]
---@param options? dpg.BatchAllOptions
---@return dpg.BatchReport? report  `items`, each with `write`, `outcome`, `operation`, `err`; how many of each outcome
---@return dpg.Error? err  kind "usage": nothing was sent
function Operations:batch_all(writes, options)
  return batch.all(self._session, writes, options)
end

methods(Operations, "operations")

return M
