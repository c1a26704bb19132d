-- A read that is begun before its caller wants it: the next page of a walk (dpg.page), while the one before is being
-- looked at. It is cancelled by close(), or when nobody holds it any more. dpg.session begins it and knows what its
-- answer means.
local M = {}

---@class dpg.Ahead
local Ahead = {}
Ahead.__index = Ahead
Ahead.__name = "dpg.Ahead"

---@param stream dpg.Stream  a call to memory
---@param as? table  how its answer is handed out
---@param conclude fun(...): any  what the call came to, as stream:take() says it, made a value or nil, err
---@return dpg.Ahead
function M.new(stream, as, conclude)
  stream.hub:nudge()
  return setmetatable({ _stream = stream, _as = as, _conclude = conclude }, Ahead)
end

-- Time may have stood still for these: a script's engine is turned only while the script waits.
local PASSING = { network = true, timeout = true, cancelled = true, storage = true }

-- Does it say nothing of now? A walk may look at a page for longer than a Retry-After.
local function has_passed(err)
  return PASSING[err.kind] or err.status == 429
end

---Waits for it and says what it came to.
---@return any? value  nil without an error: it says nothing of what a call made now would come to
---@return dpg.Answer|dpg.Error|nil answer_or_err
function Ahead:take()
  local stream = self._stream
  if not stream.hub.engine:is_mine() then return nil end -- a parent's
  local what, err = stream:wait()
  if not what then return nil, err end
  local value, answer_or_err = self._conclude(stream:take(self._as))
  if value == nil and has_passed(answer_or_err) then return nil end
  return value, answer_or_err
end

---Nobody wants it any more: it is cancelled, which costs a connection, if it is not here by now. Twice is fine.
function Ahead:close()
  self._stream.hub:nudge()
  self._stream:close()
end

return M
