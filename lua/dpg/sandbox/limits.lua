-- Rate limits in fixed windows: so many in so many seconds under one key. Pure; the time is handed in.

local M = {}

local Limits = {}
Limits.__index = Limits
Limits.__name = "dpg.sandbox.limits"

---@return table limits
function M.new()
  return setmetatable({ windows = {} }, Limits)
end

---Counts one under a key.
---@param key string
---@param limit false|{ [1]: integer, [2]: number }  how many in how many seconds
---@param now number
---@return integer? wait  whole seconds to wait; nil where this one is within the limit
function Limits:take(key, limit, now)
  if not limit then return nil end
  local window = self.windows[key]
  if not window or now >= window.ends_at then
    window = { count = 0, ends_at = now + limit[2] }
    self.windows[key] = window
  end
  if window.count >= limit[1] then return math.max(1, math.ceil(window.ends_at - now)) end
  window.count = window.count + 1
  return nil
end

return M
