-- The programs' on_event functions: telling them, and whether one of them is being told, for it may make no calls
-- meanwhile. dpg.hub tells; the hosts ask, and say when an interrupt has come.
local M = {}

local telling = false
-- In nginx an on_event function may wait (ngx.sleep, a cosocket), and the others go on meanwhile: who is telling there.
local tellers = package.loaded.ngx and setmetatable({}, { __mode = "k" })

---Is an on_event function being called right now?
---@return boolean
function M.is_telling()
  if tellers then return tellers[coroutine.running()] ~= nil end
  return telling
end

---An interrupt (Ctrl-C) came between two instructions of ours: nobody is being told any more.
function M.interrupted()
  telling = false
end

local reported = setmetatable({}, { __mode = "k" })

---An on_event that raises never breaks a call: said once for each function, on stderr. Ctrl-C, which `lua` and `luajit`
---raise as an error wherever the program is, goes on to the program.
---@param on_event function
---@param name string
---@param fields table
function M.tell(on_event, name, fields)
  local me = tellers and coroutine.running()
  local before = telling -- it may close a walk, which turns the engine
  if me then before, tellers[me] = tellers[me], true else telling = true end
  local ok, problem = pcall(on_event, name, fields)
  if me then tellers[me] = before else telling = before end
  if not ok and type(problem) == "string" and problem:find "interrupted!$" then error(problem, 0) end
  if ok or reported[on_event] then return end
  reported[on_event] = true
  local stderr = io and io.stderr
  if stderr then stderr:write("dpg: on_event raised (said once): ", tostring(problem), "\n") end
end

return M
