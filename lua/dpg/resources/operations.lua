-- session.operations: what became of a write. Contract: section 1. The Operation object itself is dpg.operation's.
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

methods(Operations, "operations")

return M
