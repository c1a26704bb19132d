-- What a spec leaves running is stopped when the suite ends, the newest first: a server before the folder it lives in.
local M = {}

local list, is_heard = {}, false

local function stop_all()
  while #list > 0 do
    local one = table.remove(list)
    local ok, problem = pcall(one.stop, one.thing)
    if not ok then io.stderr:write(tostring(problem), "\n") end -- the others have to go, too
  end
  return nil, true -- others hear of the end, too
end

---@generic T
---@param thing T
---@param stop fun(thing: T)
function M.add(thing, stop)
  if not is_heard then
    is_heard = true
    require "busted".subscribe({ "exit" }, stop_all)
  end
  list[#list + 1] = { thing = thing, stop = stop }
end

---It has been stopped, or is about to be.
---@return boolean was_there
function M.remove(thing)
  for i = #list, 1, -1 do
    if list[i].thing == thing then
      table.remove(list, i)
      return true
    end
  end
  return false
end

return M
