-- Sandboxes for specs: start{} is dpg.sandbox.start{}, and whatever a spec leaves running is stopped when the suite
-- ends.

local at_end = require "support.at_end"
local sandbox = require "dpg.sandbox"

local M = {}

---@param options? table  those of dpg.sandbox.start
---@return dpg.sandbox.Box box
function M.start(options)
  local box = sandbox.start(options)
  at_end.add(box, box.stop)
  return box
end

return M
