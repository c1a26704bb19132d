-- Sandboxes for specs: start{} is dpg.sandbox.start{}, and whatever a spec leaves running is stopped when the suite
-- ends.

local sandbox = require "dpg.sandbox"

local M = {}

local running, subscribed = {}, false

local function stop_all()
  for box in pairs(running) do
    running[box] = nil
    box:stop()
  end
end

local function subscribe()
  if subscribed then return end
  subscribed = true
  require "busted".subscribe({ "exit" }, function()
    stop_all()
    return nil, true -- others hear of it, too
  end)
end

---@param options? table  those of dpg.sandbox.start
---@return dpg.sandbox.Box box
function M.start(options)
  subscribe()
  local box = sandbox.start(options)
  running[box] = true
  return box
end

return M
